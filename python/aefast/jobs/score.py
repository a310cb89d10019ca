"""Scoring files into files: side by side, whole or not at all, and going on after a kill."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from aefast.engine import core
from aefast.jobs.journal import Journal, ResumeError, batch_from, batch_to_bytes, journal_path
from aefast.jobs.plan import (
    Clock,
    Progress,
    columns_left_out,
    handed_on,
    located,
    make_scorer,
    no_progress,
    read_batches,
)
from aefast.jobs.provenance import leave_receipt, read_receipt
from aefast.model.file import digest
from aefast.scoring.labels import UNLABELLED, Labels, judgement
from aefast.scoring.passthrough import TypeClashError, kept_schema
from aefast.tables.arrow import arrow_values
from aefast.tables.formats.base import TableError
from aefast.tables.formats.registry import writer_class
from aefast.tables.sink import open_sink
from aefast.tables.source import Source

__all__ = ["ScoreJob"]


class Tally:
    """What a scoring job has done."""

    def __init__(self, progress: Progress) -> None:
        self.progress = progress
        self.reading, self.scoring, self.writing = Clock(), Clock(), 0.0
        self.n_rows = self.n_flagged = self.n_resumed = self.n_whole = 0
        self.labels: list[NDArray[np.int8]] = []
        self.scores: list[NDArray[np.float64]] = []
        self.flags: list[NDArray[np.bool_]] = []

    def add(self, n_rows: int, n_flagged: int, *, resumed: int = 0) -> None:
        """Count rows."""
        self.n_rows += n_rows
        self.n_flagged += n_flagged
        self.n_resumed += resumed
        self.progress(n_rows)

    def skip(self, about: dict[str, Any]) -> None:
        """Count the rows of an output that is whole from a run before."""
        self.n_whole += 1
        self.add(about["rows"], about["anomalies"], resumed=about["rows"])

    def take(self, scored: pa.RecordBatch, *, hold: bool) -> None:
        """Count a batch, and hold its scores where they will be judged."""
        self.add(scored.num_rows, scored.column("is_anomaly").true_count)
        if hold:
            self.scores.append(arrow_values(scored.column("anomaly_score")))
            self.flags.append(arrow_values(scored.column("is_anomaly")))


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
        Input columns to hand on; None: those the model does not read and every file has, but for results of a scoring
        before this one, whose names are taken. ``left_out`` says which these are. Cells of CSV stay as they are
        written; in one output of many files a column has the type that holds what is in all.
    label : str, optional
        A column that is 1 or true for known anomalies, 0 or false for other rows, to judge the scores by; rows without
        a label are scored and not judged. Labels and scores are held.
    top_features, batch_rows, precision
        As in `Scorer` and `Source.batches`.
    fdr : float, optional
        Flag by Benjamini and Hochberg's procedure over all rows, which takes a pass of its own to count p-values.
    resume : bool
        Go on where a run of the same job was ended, if there was one: with the rows that are recorded, and outputs
        that are whole stay as they are. Those are known by a receipt, or in a folder where not all are whole by its
        journal, and are of the same model, options and unchanged input; with ``label``, which takes all scores, they
        are made again. The outputs are the same bytes as those of an undisturbed run.
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
        outputs = [Path(output)] if isinstance(output, str | Path) else list(output)
        writer = writer_class(outputs[0])
        if writer.holds_one_column and (keep or top_features):
            raise TableError(
                f"{output}: {outputs[0].suffix} holds the scores alone; write .parquet to keep columns or reasons"
            )
        kept = [] if writer.holds_one_column else keep
        self.scorer, source = make_scorer(
            estimator, source, keep=kept, label=label, top_features=top_features, precision=precision,
            flat=not writer.holds_nested,
        )  # fmt: skip
        source = source.keep_raw(handed_on(self.scorer, label))
        self.source, self.label, self.batch_rows, self.fdr = source, label, batch_rows, fdr
        sources = [source] if isinstance(output, str | Path) else source.split()
        self._parts = list(zip(sources, outputs, strict=True))
        self._schemas = {
            output: self.scorer.schema(kept_schema(part, self.scorer.keep)) for part, output in self._parts
        }
        self._scores_only = writer.holds_one_column
        by_default = kept is None and not source.is_matrix
        self.left_out = columns_left_out(source, self.scorer.feature_names) if by_default else {}
        self.n_rows_to_read = None if source.n_rows is None else source.n_rows * (2 if fdr is not None else 1)
        options = {"keep": self.scorer.keep, "label": label, "top_features": top_features, "batch_rows": batch_rows}
        self._identity = {
            "model": digest(estimator),
            "options": {**options, "precision": precision, "fdr": fdr},
            "version of aefast": f"{core.__version__} {core.isa_level}",
        }

    def run(self, progress: Progress = no_progress) -> dict[str, Any]:
        """Do it; what happened, as plain data."""
        begin = time.perf_counter()
        tally = Tally(progress)
        if self.label is not None:
            Labels(self.source, self.label).check()
        if self.folder is None:
            source, output = self._parts[0]
            with self._journal(output, _stamps(source)) as journal:
                whole = self._receipt(source, output)
                if whole:
                    tally.skip(whole)
                else:
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
            whole = {output: self._receipt(source, output) for source, output in self._parts}
            if not all(whole.values()):
                frames = journal.replay()
                self._settle(journal, frames, tally)
                records = {r["output"]: r for r in (journal.read(_record, frame) for frame in frames)}
            for source, output in self._parts:
                stamp, done = _stamps(source), whole[output]
                if done is None and self.label is None:
                    record = records.get(str(output))
                    done = record if record and record["input"] == stamp and output.exists() else None
                if done is not None:
                    tally.skip(done)
                    continue
                with self._journal(output, stamp) as own:
                    about = self._score_into(source, output, own, own.replay(), tally)
                journal.append(json.dumps({"output": str(output), "input": stamp, **about}).encode())

    def _score_into(
        self, source: Source, output: Path, journal: Journal, frames: Iterator[bytes], tally: Tally
    ) -> dict[str, int]:
        """All rows of ``source`` into one file: those recorded, then the others. Gives how many, and anomalies."""
        schema = self._schemas[output]
        written = pa.schema([schema.field("anomaly_score")]) if self._scores_only else schema
        labels = None if self.label is None else Labels(source, self.label)
        job, n_rows, n_flagged = self._job(source), tally.n_rows, tally.n_flagged
        with (
            open_sink(output, written, lambda batch: journal.append(batch_to_bytes(batch))) as sink,
            closing(self._judged(source, journal, frames, tally)) as found,
        ):
            for judged, batch, record in found:
                with tally.scoring, _telling_types(source, tally.n_rows - n_rows):
                    scored = self.scorer.results(judged, batch, schema)
                sink.write(scored, record)
                tally.take(scored, hold=labels is not None)
                if labels is not None:
                    tally.labels.append(labels(batch))
        tally.writing += sink.seconds
        about = {"rows": tally.n_rows - n_rows, "anomalies": tally.n_flagged - n_flagged}
        leave_receipt(output, job, about)
        return about

    def _job(self, source: Source) -> dict[str, Any]:
        """All that an output depends on: with ``fdr``, every row."""
        return {**self._identity, "input": _stamps(source), "all": None if self.fdr is None else self._all}

    @cached_property
    def _all(self) -> str:
        """A digest of the stamps of all files: there may be thousands, and each output depends on them."""
        return hashlib.sha256(json.dumps(_stamps(self.source)).encode()).hexdigest()

    def _receipt(self, source: Source, output: Path) -> dict[str, int] | None:
        """What is known of an output that can stay; judging by labels takes the scores of all rows."""
        return read_receipt(output, self._job(source)) if self.resume and self.label is None else None

    def _judged(
        self, source: Source, journal: Journal, frames: Iterator[bytes], tally: Tally
    ) -> Generator[tuple[pa.RecordBatch, pa.RecordBatch, pa.RecordBatch | None], None, None]:
        """What is judged, the rows it is of, and what of it is to be recorded: rows that are, then the others."""
        n_done = 0
        for judged, batch in self._recorded(source, journal, frames, tally.reading):
            n_done += judged.num_rows
            yield judged, batch, None
        tally.n_resumed += n_done
        with closing(self._batches(source, tally.reading, n_done)) as batches:
            for batch in batches:
                with tally.scoring, located(source):
                    judged = self.scorer.judge(batch, first_row=n_done)
                n_done += judged.num_rows
                yield judged, batch, judged

    def _recorded(
        self, source: Source, journal: Journal, frames: Iterator[bytes], clock: Clock
    ) -> Iterator[tuple[pa.RecordBatch, pa.RecordBatch]]:
        """What a run before this one has judged, with the columns of those rows that are handed on, read anew."""
        schema = self.scorer.judged_schema
        with closing(self._batches(source, clock, unscored=True)) as batches:
            for frame in frames:
                judged = journal.read(lambda frame: batch_from(frame, schema), frame)
                batch = next(batches, None) if self.scorer.keep or self.label is not None else judged
                if batch is None or batch.num_rows != judged.num_rows:
                    raise journal.unfit("more or other rows than there are")
                yield judged, batch

    @contextmanager
    def _journal(self, output: Path, stamps: Any, *, keep: bool = False) -> Iterator[Journal]:
        """The journal of one output. It stays where going on may help: after a signal or a full disk, or to
        ``keep`` it; not where the same rows would fail again."""
        output.parent.mkdir(parents=True, exist_ok=True)
        journal = Journal(journal_path(output), {**self._identity, "input": stamps}, resume=self.resume)
        try:
            yield journal
        except BaseException as error:
            if keep or isinstance(error, OSError | ResumeError) or not isinstance(error, Exception):
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
        self.scorer.p_value_cutoff = journal.read(lambda frame: float(json.loads(frame)), record)

    def _summary(self, tally: Tally, seconds: float) -> dict[str, Any]:
        threshold = float(self.scorer.estimator.threshold_)
        summary: dict[str, Any] = {
            "output": str(self.folder or self._parts[0][1]),
            "files": len(self._parts),
            "left_out": self.left_out,
            "rows": tally.n_rows,
            "resumed_rows": tally.n_resumed,
            "skipped_files": tally.n_whole,
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
            labels, scores = np.concatenate(tally.labels), np.concatenate(tally.scores)
            if self.fdr is not None:
                # What is flagged by p-value is what is above some score, too.
                threshold = float(scores[~np.concatenate(tally.flags)].max(initial=scores.min() - 1))
            summary["unlabelled"] = int(np.count_nonzero(labels == UNLABELLED))
            summary["quality"] = judgement(labels, scores, threshold)
        return summary

    def _batches(
        self, source: Source, clock: Clock, first_row: int = 0, *, unscored: bool = False
    ) -> Generator[pa.RecordBatch, None, None]:
        return read_batches(self.scorer, source, self.label, self.batch_rows, clock, first_row, unscored=unscored)

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
                    errors = self.scorer.batch_errors(batch, first_row=n_rows)
                    counts += np.bincount(calibration.places(errors), minlength=len(levels))
                n_rows += batch.num_rows
                tally.progress(batch.num_rows)
        n_at_most = np.cumsum(counts[::-1])[::-1]
        holds = (n_at_most > 0) & (levels <= self.fdr * n_at_most / max(n_rows, 1))
        return float(levels[holds].max(initial=-1.0))


@contextmanager
def _telling_types(source: Source, row: int) -> Iterator[None]:
    """A kept column of the batch from that row on that does not convert is named with two files."""
    try:
        yield
    except TypeClashError as error:
        raise error.among(source, row) from error


def _record(frame: bytes) -> dict[str, Any]:
    """Of an output that is whole."""
    record = json.loads(frame)
    return {
        "output": str(record["output"]),
        "input": record["input"],
        "rows": int(record["rows"]),
        "anomalies": int(record["anomalies"]),
    }


def _stamps(source: Source) -> dict[str, list[int]]:
    """Size and time of each file: what is not the same when a file has changed."""
    stats = {str(file.path.absolute()): file.path.stat() for file in source.files}
    return {path: [stat.st_size, stat.st_mtime_ns] for path, stat in stats.items()}
