"""What the commands do: train on files, score files into a file, report on files. Printing is not done here."""

from __future__ import annotations

import copy
import hashlib
import json
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

import aefast
from aefast import _core, model_file
from aefast.checkpoints import Checkpoint
from aefast.exceptions import AefastError
from aefast.formats import CsvTable, TableError
from aefast.journal import Journal, batch_from, journal_path
from aefast.networks import layer_widths
from aefast.report import examine, judgement, render
from aefast.scorer import RESULT_NAMES, BadValueError, Scorer
from aefast.sinks import atomic_path, open_sink
from aefast.tables import Source, feature_matrix, is_number, prefetch, read_matrix
from aefast.training_rows import Blocks, fits_in_memory, read_sample

__all__ = ["ScoreJob", "fit_job", "recalibrate_job", "report_job", "training_columns"]

Progress = Callable[[int], None]


def _no_progress(rows: int) -> None:
    pass


class Clock:
    """Time spent inside iterators and blocks; one for each thing that goes on beside the others."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __enter__(self) -> None:
        self._begin = time.perf_counter()

    def __exit__(self, *error: object) -> None:
        self.seconds += time.perf_counter() - self._begin

    def timed(self, items: Iterable[Any]) -> Iterator[Any]:
        """The same items; making each is counted."""
        iterator = iter(items)
        done = object()
        while True:
            with self:
                item = next(iterator, done)
            if item is done:
                return
            yield item


def training_columns(
    source: Source, columns: Sequence[str] | None, exclude: Sequence[str]
) -> tuple[list[str] | None, dict[str, str]]:
    """The columns to learn, and those left out with the reason.

    Nothing is left out in silence: a column that holds no numbers is refused until it is excluded by name. The
    nameless columns of an array are all learned; the first value is then None.
    """
    if source.is_matrix:
        return None, {}
    names = [n for n in (source.schema.names if columns is None else columns) if n not in exclude]
    others = [n for n in names if not source.holds_numbers(n)]
    if others:
        kinds = ", ".join(f"{n!r} is {source.schema.field(n).type}" for n in others[:8])
        raise TableError(
            f"{source.files[0].path}: only columns of numbers can be learned, but {kinds}; leave out what is not to be "
            f"learned with --exclude {','.join(others)}"
        )
    if not names:
        raise TableError(f"{source.files[0].path}: no columns are left to learn")
    source.require(names, "column")
    left_out = {n: "--exclude" if n in exclude else "not in --columns" for n in source.schema.names if n not in names}
    return names, left_out


def fit_job(
    estimator: Any,
    source: Source,
    output: str | Path,
    *,
    columns: Sequence[str] | None,
    sample: int | None = None,
    stream: bool | None = None,
    checkpoint: str | Path | None = None,
    progress: Progress = _no_progress,
    verbose: int = 0,
) -> dict[str, Any]:
    """Fit ``estimator`` on the named columns and save it; what happened, as plain data.

    It learns a random choice of ``sample`` rows, or all of them: from memory, or with ``stream`` from the files in
    every epoch. None lets the memory there is decide. With ``checkpoint`` a job that was killed goes on from there.
    """
    reading, training = Clock(), Clock()
    callbacks = estimator.callbacks
    estimator.set_params(verbose=verbose)
    if checkpoint is not None:
        estimator.set_params(callbacks=(Checkpoint(checkpoint, keep=True),))
    may_miss = estimator.missing != "error"

    def check(X: NDArray[Any], first_row: int) -> None:
        _check_finite(X, columns, source, may_miss=may_miss, first_row=first_row)

    if sample is None and (stream or (stream is None and not fits_in_memory(source, columns))):
        how, blocks = "streamed", Blocks(source, columns, check)
        with training:
            estimator.fit_batches(blocks)
        n_rows = n_learned = blocks.n_rows
    else:
        with reading:
            if sample is None:
                how, X = "in memory", read_matrix(source, columns, progress=progress)
                n_rows = len(X)
            else:
                how, (X, n_rows) = (
                    "sampled",
                    read_sample(source, columns, sample, estimator.random_state, check, progress),
                )
        if len(X) == 0:
            raise TableError(f"{source.title} has no rows to learn from")
        if sample is None:
            check(X, 0)
        n_learned = len(X)
        with training:
            estimator.fit(X)
    estimator.set_params(verbose=0, callbacks=callbacks)
    if columns is not None:
        # Set as scikit-learn sets it from a data frame: the rows were gathered into a nameless array.
        estimator.feature_names_in_ = np.asarray(columns, dtype=object)
    estimator.save(output)
    if checkpoint is not None:
        Path(checkpoint).unlink(missing_ok=True)
    validation = list(getattr(estimator, "validation_curve_", None) or [])
    n_epochs = int(estimator.n_epochs_)
    return {
        "model": str(output),
        "kind": type(estimator).__name__,
        "layers": layer_widths(estimator.network_),
        "rows": n_learned,
        "rows_there": n_rows,
        "how": how,
        "n_features": int(estimator.n_features_in_),
        "columns": None if columns is None else list(columns),
        "epochs": n_epochs,
        "loss": float(estimator.loss_curve_[-1]) if len(estimator.loss_curve_) else None,
        "validation_loss": float(min(validation)) if validation else None,
        "threshold": float(estimator.threshold_),
        "contamination": float(estimator.contamination),
        "reading_seconds": reading.seconds,
        "training_seconds": training.seconds,
        "rows_per_second": n_learned * n_epochs / training.seconds,
    }


def recalibrate_job(
    estimator: Any,
    source: Source,
    output: str | Path,
    *,
    batch_rows: int | None = None,
    progress: Progress = _no_progress,
) -> dict[str, Any]:
    """`recalibrate` the estimator on every row of ``source`` and save it; what happened, as plain data."""
    begin = time.perf_counter()
    scorer = make_scorer(estimator, source, keep=[])
    parts: list[NDArray[Any]] = []
    n_read = 0
    with closing(_read(scorer, source, None, batch_rows, Clock())) as batches, located(source):
        for batch in batches:
            parts.append(scorer.errors(scorer.matrix(batch), first_row=n_read).astype(estimator.dtype))
            n_read += batch.num_rows
            progress(batch.num_rows)
    if n_read == 0:
        raise TableError(f"{source.title} has no rows to calibrate with")
    errors, before = np.concatenate(parts), float(estimator.threshold_)
    n_above = int(np.count_nonzero(errors > before))
    estimator._decide_by(errors, errors)
    estimator.save(output)
    return {
        "model": str(output),
        "rows": n_read,
        "contamination": float(estimator.contamination),
        "threshold_before": before,
        "above_before": n_above,
        "threshold": float(estimator.threshold_),
        "seconds": time.perf_counter() - begin,
    }


def _check_finite(
    X: NDArray[Any], columns: Sequence[str] | None, source: Source, *, may_miss: bool, first_row: int = 0
) -> None:
    count, first = 0, -1
    for start in range(0, len(X), 65_536):
        block = X[start : start + 65_536]
        bad = np.isinf(block) if may_miss else ~np.isfinite(block)
        if bad.any():
            first = start * X.shape[1] + int(np.argmax(bad.ravel())) if first < 0 else first
            count += int(bad.sum())
    if count:
        row, column = divmod(first, X.shape[1])
        name = columns[column] if columns is not None else f"x{column}"
        values = "it is the only such value" if count == 1 else f"it is the first of {count} such values"
        what = "infinite" if may_miss else "missing or infinite"
        raise TableError(
            f"{source.place(first_row + row)} (the first is row 0), column {name!r}: {what}; "
            f"{values}; fill or drop such rows, --exclude the column"
            + ("" if may_miss else ", or take them as missing with --missing mask or mean")
        )


class Tally:
    """What a scoring job has done."""

    def __init__(self, progress: Progress) -> None:
        self.progress = progress
        self.reading, self.scoring, self.writing = Clock(), Clock(), 0.0
        self.n_rows = self.n_flagged = self.n_resumed = 0
        self.labels: list[NDArray[np.bool_]] = []
        self.scores: list[NDArray[np.float64]] = []
        self.flags: list[NDArray[np.bool_]] = []

    def add(self, n_rows: int, n_flagged: int, *, resumed: int = 0) -> None:
        """Count rows."""
        self.n_rows += n_rows
        self.n_flagged += n_flagged
        self.n_resumed += resumed
        self.progress(n_rows)

    def take(self, scored: pa.RecordBatch, *, hold: bool) -> None:
        """Count a batch, and hold its scores where they will be judged."""
        self.add(scored.num_rows, scored.column("is_anomaly").true_count)
        if hold:
            self.scores.append(scored.column("anomaly_score").to_numpy())
            self.flags.append(scored.column("is_anomaly").to_numpy(zero_copy_only=False))


class ScoreJob:
    """Score the rows of ``source`` into files that appear whole or not at all.

    Reading, scoring and writing go on side by side, a few batches of ``batch_rows`` rows apart. What can be said
    about the columns is said when the job is made, before any row is read. What is done is recorded in journals
    beside the outputs, which a run that is killed leaves behind for one with ``resume``.

    Parameters
    ----------
    estimator : fitted estimator
    source : Source
    output : path, or list of paths
        One file for all rows, or one for each file of ``source``, whose endings are the same and say the format.
    folder : path, optional
        Of the outputs where they are many: the journal of the whole job is kept there.
    keep : list of str or None
        Input columns to hand on; None: those the model does not read.
    label : str, optional
        A column that is 1 or true for known anomalies, to judge the scores by. Labels and scores are held.
    top_features, batch_rows, precision
        As in `Scorer` and `Source.batches`.
    fdr : float, optional
        Flag by Benjamini and Hochberg's procedure over all rows, which takes a pass of its own to count p-values.
    resume : bool
        Go on where a run of the same job was ended, if there was one: keep the outputs that are whole and the rows
        that are recorded. The outputs are the same bytes as those of an undisturbed run.
    """

    def __init__(
        self,
        estimator: Any,
        source: Source,
        output: str | Path | Sequence[Path],
        *,
        folder: Path | None = None,
        keep: Sequence[str] | None = None,
        label: str | None = None,
        top_features: int = 0,
        batch_rows: int | None = None,
        precision: str = "float32",
        fdr: float | None = None,
        resume: bool = False,
    ) -> None:
        self.folder, self.resume = folder, resume
        if isinstance(output, str | Path):
            self._parts = [(source, Path(output))]
        else:
            self._parts = list(zip(source.split(), output, strict=True))
        suffix = self._parts[0][1].suffix.lower()
        if suffix == ".npy" and (keep or top_features):
            raise TableError(f"{output}: .npy holds the scores alone; write .parquet to keep columns or reasons")
        self.source, self.label, self.batch_rows, self.fdr = source, label, batch_rows, fdr
        kept = [] if suffix == ".npy" else keep
        self.scorer = make_scorer(
            estimator, source, keep=kept, label=label, top_features=top_features, precision=precision,
            flat=suffix == ".csv",
        )  # fmt: skip
        self._scores_only = suffix == ".npy"
        self.n_rows_to_read = None if source.n_rows is None else source.n_rows * (2 if fdr is not None else 1)
        options = {"keep": self.scorer.keep, "label": label, "top_features": top_features, "batch_rows": batch_rows}
        self._identity = {
            "model": _digest(estimator),
            "options": {**options, "precision": precision, "fdr": fdr},
            "version of aefast": f"{aefast.__version__} {_core.isa_level}",
        }

    def run(self, progress: Progress = _no_progress) -> dict[str, Any]:
        """Do it; what happened, as plain data."""
        begin = time.perf_counter()
        tally = Tally(progress)
        if self.folder is None:
            source, output = self._parts[0]
            with self._journal(output, _stamps(source)) as journal:
                frames = journal.replay()
                self._settle(journal, frames, tally)
                self._score_into(source, output, journal, frames, tally)
        else:
            self._score_files(self.folder, tally)
        return self._summary(tally, time.perf_counter() - begin)

    def _score_files(self, folder: Path, tally: Tally) -> None:
        """One output for each file. The folder's journal names those that are whole, whatever stops the others."""
        stamps = _stamps(self.source) if self.fdr is not None else None
        with self._journal(folder / "aefast", stamps, keep=True) as journal:
            frames = journal.replay()
            self._settle(journal, frames, tally)
            records = [json.loads(frame) for frame in frames]
            # Judging by labels takes the scores of all rows.
            whole = {} if self.label is not None else {r["output"]: r for r in records}
            for source, output in self._parts:
                stamp, done = _stamps(source), whole.get(str(output))
                if done is not None and done["input"] == stamp and output.exists():
                    tally.add(done["rows"], done["anomalies"], resumed=done["rows"])
                    continue
                before = tally.n_rows, tally.n_flagged
                with self._journal(output, stamp) as own:
                    self._score_into(source, output, own, own.replay(), tally)
                rows, flagged = tally.n_rows - before[0], tally.n_flagged - before[1]
                record = {"output": str(output), "input": stamp, "rows": rows, "anomalies": flagged}
                journal.append(json.dumps(record).encode())

    def _score_into(
        self, source: Source, output: Path, journal: Journal, frames: Iterator[bytes], tally: Tally
    ) -> None:
        """All rows of ``source`` into one file: those recorded, then the others."""
        schema = self.scorer.schema(self.source.schema)
        written = pa.schema([schema.field("anomaly_score")]) if self._scores_only else schema
        n_done = 0
        with open_sink(output, written, journal) as sink:
            for scored in map(batch_from, frames):
                sink.write(scored, recorded=True)
                n_done += scored.num_rows
                tally.take(scored, hold=self.label is not None)
            tally.n_resumed += n_done
            if self.label is not None and n_done:
                tally.labels += self._labels(source, n_done)
            with closing(self._batches(source, tally.reading, n_done)) as batches:
                for batch in batches:
                    with tally.scoring, located(source):
                        scored = self.scorer.score_batch(batch, first_row=n_done)
                    sink.write(scored)
                    n_done += scored.num_rows
                    tally.take(scored, hold=self.label is not None)
                    if self.label is not None:
                        tally.labels.append(read_labels(batch, self.label))
        tally.writing += sink.seconds

    @contextmanager
    def _journal(self, output: Path, stamps: Any, *, keep: bool = False) -> Iterator[Journal]:
        """The journal of one output. It stays where going on may help: after a signal or a full disk, or to
        ``keep`` it; not where the same rows would fail again."""
        output.parent.mkdir(parents=True, exist_ok=True)
        journal = Journal(journal_path(output), {**self._identity, "input": stamps}, resume=self.resume)
        try:
            yield journal
        except BaseException as error:
            if keep or isinstance(error, OSError) or not isinstance(error, Exception):
                journal.close()
            else:
                journal.remove()
            raise
        journal.remove()

    def _settle(self, journal: Journal, frames: Iterator[bytes], tally: Tally) -> None:
        """Find the cutoff of p-values that all rows together decide, or the record of it."""
        if self.fdr is None:
            return
        record = next(frames, None)
        if record is None:
            record = json.dumps(self._cutoff(tally)).encode()
            journal.append(record)
        self.scorer.p_value_cutoff = float(json.loads(record))

    def _summary(self, tally: Tally, seconds: float) -> dict[str, Any]:
        threshold = float(self.scorer.estimator.threshold_)
        summary: dict[str, Any] = {
            "output": str(self.folder or self._parts[0][1]),
            "files": len(self._parts),
            "rows": tally.n_rows,
            "resumed_rows": tally.n_resumed,
            "anomalies": tally.n_flagged,
            "threshold": threshold,
            "rule": f"score above {threshold:.6g}" if self.fdr is None else f"false-discovery rate {self.fdr:g}",
            "seconds": seconds,
            "rows_per_second": (tally.n_rows - tally.n_resumed) / seconds,
            "reading_seconds": tally.reading.seconds,
            "scoring_seconds": tally.scoring.seconds,
            "writing_seconds": tally.writing,
        }
        if self.fdr is not None:
            summary["fdr"] = self.fdr
            summary["least_p_value"] = float(self.scorer.p_values(np.array([np.inf]))[0])
        if self.label is not None and tally.n_rows:
            scores = np.concatenate(tally.scores)
            if self.fdr is not None:
                # What is flagged by p-value is what is above some score, too.
                threshold = float(scores[~np.concatenate(tally.flags)].max(initial=scores.min() - 1))
            summary["quality"] = judgement(np.concatenate(tally.labels), scores, threshold)
        return summary

    def _batches(self, source: Source, clock: Clock, first_row: int = 0) -> Generator[pa.RecordBatch, None, None]:
        return _read(self.scorer, source, self.label, self.batch_rows, clock, first_row)

    def _labels(self, source: Source, n_rows: int) -> list[NDArray[np.bool_]]:
        """Of the first rows."""
        assert self.label is not None
        labels: list[NDArray[np.bool_]] = []
        for batch in source.batches([self.label], self.batch_rows, [self.label]):
            labels.append(read_labels(batch, self.label)[:n_rows])
            n_rows -= len(labels[-1])
            if n_rows == 0:
                break
        return labels

    def _cutoff(self, tally: Tally) -> float:
        """The largest p-value that Benjamini and Hochberg's procedure (1995) reports, or -1 for none. Calibrated
        p-values take few different values, so counts of each stand for all rows."""
        assert self.fdr is not None
        calibration = self.scorer.estimator.calibration_
        levels = calibration.levels()
        counts = np.zeros(len(levels), dtype=np.int64)
        n_rows = 0
        with closing(self._batches(self.source, tally.reading)) as batches:
            for batch in batches:
                with tally.scoring, located(self.source):
                    errors = self.scorer.errors(self.scorer.matrix(batch), first_row=n_rows)
                    counts += np.bincount(calibration.places(errors), minlength=len(levels))
                n_rows += batch.num_rows
                tally.progress(batch.num_rows)
        n_at_most = np.cumsum(counts[::-1])[::-1]
        holds = (n_at_most > 0) & (levels <= self.fdr * n_at_most / max(n_rows, 1))
        return float(levels[holds].max(initial=-1.0))


def make_scorer(
    estimator: Any,
    source: Source,
    *,
    keep: Sequence[str] | None,
    label: str | None = None,
    **options: Any,
) -> Scorer:
    """A `Scorer` for the rows of ``source``, whose columns are checked against the model and the options."""
    names = getattr(estimator, "feature_names_in_", None)
    if source.is_matrix:
        if keep or label:
            raise TableError(f"{source.files[0].path} has no named columns to keep or to take labels from")
        scorer = Scorer(estimator, **options)
        scorer.columns(source.schema)
        return scorer
    present = source.schema.names
    source.require([*(keep or []), *([label] if label else [])], "column")
    if names is not None:
        features = [str(n) for n in names]
        source.require(features, "columns the model was fitted on:")
        if label in features:
            raise TableError(
                f"column {label!r} is one that the model judges rows by, so it cannot be their label; fit a model with "
                f"--exclude {label}"
            )
    else:
        unread = set(keep or []) | {label}
        features = [n for n in present if source.holds_numbers(n) and n not in unread]
    if keep is None:
        keep = [n for n in present if n not in features and n not in RESULT_NAMES]
    for file in source.files:
        for name in features:
            kind = file.schema.field(name).type
            # A text file may hold a single cell that is no number, of which the reader will tell the row.
            if not is_number(kind) and not isinstance(file, CsvTable):
                raise TableError(f"{file.path}: column {name!r} is {kind}; the model was fitted on numbers there")
    return Scorer(estimator, columns=features, keep=keep, **options)


def _stamps(source: Source) -> dict[str, list[int]]:
    """Size and time of each file: what is not the same when a file has changed."""
    stats = {str(file.path.absolute()): file.path.stat() for file in source.files}
    return {path: [stat.st_size, stat.st_mtime_ns] for path, stat in stats.items()}


def _digest(estimator: Any) -> str:
    """Of the model; the number of threads, which changes no score, is no part of it."""
    model = copy.copy(estimator).set_params(n_threads=None)
    return hashlib.sha256(model_file.to_bytes(model)).hexdigest()


def _read(
    scorer: Scorer, source: Source, label: str | None, batch_rows: int | None, clock: Clock, first_row: int = 0
) -> Generator[pa.RecordBatch, None, None]:
    """What the scorer needs of the rows, read ahead by a thread."""
    features = [] if source.is_matrix else scorer.feature_names
    wanted = source.schema.names if source.is_matrix else [*features, *scorer.keep, *([label] if label else [])]
    batches = source.batches(list(dict.fromkeys(wanted)), batch_rows, features, first_row=first_row)
    return prefetch(clock.timed(batches))


def read_labels(batch: pa.RecordBatch, column: str) -> NDArray[np.bool_]:
    """The label column as booleans.

    Raises
    ------
    TableError
        Where a label is neither 0, 1, true nor false.
    """
    array = batch.column(column)
    if not is_number(array.type):
        raise TableError(f"label column {column!r} is {array.type}; it must hold 0 and 1 or true and false")
    values = feature_matrix(batch.select([column]), [column])[:, 0]
    bad = ~np.isin(values, (0, 1))
    if bad.any():
        raise TableError(f"label column {column!r} holds {values[bad][0]:g}; it must hold 0 and 1 or true and false")
    return np.asarray(values, dtype=bool)


class located:
    """Names the file in which a bad value was met."""

    def __init__(self, source: Source) -> None:
        self._source = source

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, BadValueError):
            raise AefastError(error.describe(self._source.place(error.row))) from error


def report_job(
    estimator: Any,
    source: Source,
    output: str | Path,
    *,
    title: str,
    keep: Sequence[str] | None = None,
    label: str | None = None,
    image_shape: tuple[int, ...] | None = None,
    batch_rows: int | None = None,
    subtitle: str = "",
    notes: Sequence[str] = (),
    progress: Progress = _no_progress,
) -> dict[str, Any]:
    """Write the page of `report.render` about every row of ``source``; what happened, as plain data."""
    scorer = make_scorer(estimator, source, keep=keep, label=label)
    labels = None if label is None else (lambda batch: read_labels(batch, label))
    with closing(_read(scorer, source, label, batch_rows, Clock())) as batches, located(source):
        findings = examine(scorer, batches, label=labels, progress=progress)
    page = render(findings, title=title, subtitle=subtitle, image_shape=image_shape, notes=notes)
    with atomic_path(output) as part:
        part.write_text(page, encoding="utf-8")
    return {
        "report": str(output),
        "rows": len(findings.errors),
        "anomalies": findings.n_flagged,
        "seconds": findings.seconds,
        "quality": findings.quality,
    }
