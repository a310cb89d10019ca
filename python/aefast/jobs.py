"""What the commands do: train on files, score files into a file, report on files. Printing is not done here."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from aefast.exceptions import AefastError
from aefast.formats import CsvTable, TableError
from aefast.networks import layer_widths
from aefast.report import examine, quality, render
from aefast.scorer import RESULT_NAMES, BadValueError, Scorer
from aefast.sinks import atomic_path, open_sink
from aefast.tables import Source, feature_matrix, is_number, prefetch, read_matrix

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
    progress: Progress = _no_progress,
    verbose: int = 0,
) -> dict[str, Any]:
    """Fit ``estimator`` on the named columns of every row and save it; what happened, as plain data."""
    reading, training = Clock(), Clock()
    with reading:
        X = read_matrix(source, columns, progress=progress)
    if len(X) == 0:
        raise TableError(f"{source.title} has no rows to learn from")
    _check_finite(X, columns, source)
    estimator.set_params(verbose=verbose)
    with training:
        estimator.fit(X)
    estimator.set_params(verbose=0)
    if columns is not None:
        # Set as scikit-learn sets it from a data frame: the rows were gathered into a nameless array.
        estimator.feature_names_in_ = np.asarray(columns, dtype=object)
    estimator.save(output)
    validation = list(getattr(estimator, "validation_curve_", None) or [])
    n_epochs = int(estimator.n_epochs_)
    return {
        "model": str(output),
        "kind": type(estimator).__name__,
        "layers": layer_widths(estimator.network_),
        "rows": len(X),
        "n_features": X.shape[1],
        "columns": None if columns is None else list(columns),
        "epochs": n_epochs,
        "loss": float(estimator.loss_curve_[-1]) if len(estimator.loss_curve_) else None,
        "validation_loss": float(min(validation)) if validation else None,
        "threshold": float(estimator.threshold_),
        "contamination": float(estimator.contamination),
        "reading_seconds": reading.seconds,
        "training_seconds": training.seconds,
        "rows_per_second": len(X) * n_epochs / training.seconds,
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


def _check_finite(X: NDArray[Any], columns: Sequence[str] | None, source: Source) -> None:
    count, first = 0, -1
    for start in range(0, len(X), 65_536):
        bad = ~np.isfinite(X[start : start + 65_536])
        if bad.any():
            first = start * X.shape[1] + int(np.argmax(bad.ravel())) if first < 0 else first
            count += int(bad.sum())
    if count:
        row, column = divmod(first, X.shape[1])
        name = columns[column] if columns is not None else f"x{column}"
        values = "it is the only such value" if count == 1 else f"it is the first of {count} such values"
        raise TableError(
            f"{source.place(row)} (the first is row 0), column {name!r}: missing or infinite; {values}; fill or drop "
            f"such rows, or --exclude the column"
        )


class ScoreJob:
    """Score the rows of ``source`` into the file ``output``, which appears whole or not at all.

    Reading, scoring and writing go on side by side, a few batches of ``batch_rows`` rows apart. What can be said
    about the columns is said when the job is made, before any row is read.

    Parameters
    ----------
    estimator : fitted estimator
    source : Source
    output : path
        Its ending says the format.
    keep : list of str or None
        Input columns to hand on; None: those the model does not read.
    label : str, optional
        A column that is 1 or true for known anomalies, to judge the scores by. Labels and scores are held.
    top_features, batch_rows, precision
        As in `Scorer` and `Source.batches`.
    fdr : float, optional
        Flag by Benjamini and Hochberg's procedure over all rows, which takes a pass of its own to count p-values.
    """

    def __init__(
        self,
        estimator: Any,
        source: Source,
        output: str | Path,
        *,
        keep: Sequence[str] | None = None,
        label: str | None = None,
        top_features: int = 0,
        batch_rows: int | None = None,
        precision: str = "float32",
        fdr: float | None = None,
    ) -> None:
        self.output = Path(output)
        suffix = self.output.suffix.lower()
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

    def run(self, progress: Progress = _no_progress) -> dict[str, Any]:
        """Do it; what happened, as plain data."""
        begin = time.perf_counter()
        reading, scoring = Clock(), Clock()
        if self.fdr is not None:
            self.scorer.p_value_cutoff = self._cutoff(reading, scoring, progress)
        judged: list[tuple[NDArray[Any], ...]] = []
        n_rows = n_flagged = 0
        schema = self.scorer.schema(self.source.schema)
        written = pa.schema([schema.field("anomaly_score")]) if self._scores_only else schema
        with closing(self._batches(reading)) as batches, open_sink(self.output, written) as sink:
            for batch in batches:
                with scoring:
                    scored = self._score(batch, n_rows)
                sink.write(scored.select(written.names) if self._scores_only else scored)
                n_rows += scored.num_rows
                n_flagged += scored.column("is_anomaly").true_count
                if self.label is not None:
                    results = (scored.column(c).to_numpy(zero_copy_only=False) for c in ("anomaly_score", "is_anomaly"))
                    judged.append((read_labels(batch, self.label), *results))
                progress(scored.num_rows)
        seconds = time.perf_counter() - begin
        threshold = float(self.scorer.estimator.threshold_)
        summary: dict[str, Any] = {
            "output": str(self.output),
            "rows": n_rows,
            "anomalies": n_flagged,
            "threshold": threshold,
            "rule": f"score above {threshold:.6g}" if self.fdr is None else f"false-discovery rate {self.fdr:g}",
            "seconds": seconds,
            "rows_per_second": n_rows / seconds,
            "reading_seconds": reading.seconds,
            "scoring_seconds": scoring.seconds,
            "writing_seconds": sink.seconds,
        }
        if self.fdr is not None:
            summary["fdr"] = self.fdr
            summary["least_p_value"] = float(self.scorer.p_values(np.array([np.inf]))[0])
        if self.label is not None and n_rows:
            summary["quality"] = quality(*(np.concatenate(parts) for parts in zip(*judged, strict=True)))
        return summary

    def _batches(self, clock: Clock) -> Generator[pa.RecordBatch, None, None]:
        return _read(self.scorer, self.source, self.label, self.batch_rows, clock)

    def _score(self, batch: pa.RecordBatch, first_row: int) -> pa.RecordBatch:
        with located(self.source):
            return self.scorer.score_batch(batch, first_row=first_row)

    def _cutoff(self, reading: Clock, scoring: Clock, progress: Progress) -> float:
        """The largest p-value that Benjamini and Hochberg's procedure (1995) reports, or -1 for none. Calibrated
        p-values take few different values, so counts of each stand for all rows."""
        assert self.fdr is not None
        calibration = self.scorer.estimator.calibration_
        levels = calibration.levels()
        counts = np.zeros(len(levels), dtype=np.int64)
        n_rows = 0
        with closing(self._batches(reading)) as batches:
            for batch in batches:
                with scoring, located(self.source):
                    errors = self.scorer.errors(self.scorer.matrix(batch), first_row=n_rows)
                    counts += np.bincount(calibration.places(errors), minlength=len(levels))
                n_rows += batch.num_rows
                progress(batch.num_rows)
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


def _read(
    scorer: Scorer, source: Source, label: str | None, batch_rows: int | None, clock: Clock
) -> Generator[pa.RecordBatch, None, None]:
    """What the scorer needs of the rows, read ahead by a thread."""
    features = [] if source.is_matrix else scorer.feature_names
    wanted = source.schema.names if source.is_matrix else [*features, *scorer.keep, *([label] if label else [])]
    return prefetch(clock.timed(source.batches(list(dict.fromkeys(wanted)), batch_rows, features)))


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
        "quality": None if findings.labels is None else quality(findings.labels, findings.errors, findings.flagged),
    }
