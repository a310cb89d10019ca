"""Scores files into files: reading, scoring and writing overlap, outputs appear whole, ended jobs can be resumed."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from aefast.engine import core
from aefast.jobs.clock import Clock, Progress, no_progress
from aefast.jobs.discoveries import find_cutoff, recorded_cutoff, resolution
from aefast.jobs.drift import DriftCounter
from aefast.jobs.journal import Journal, ResumeError, batch_from, journal_path
from aefast.jobs.judging import MOST_TOGETHER, judged_batch, judged_together
from aefast.jobs.plan import ScorePlan, plan_scoring
from aefast.jobs.provenance import check_unchanged, from_record, read_provenance, stamps_of, to_record, write_provenance
from aefast.jobs.tally import Choice, Tally
from aefast.scoring.fleet_scorer import FleetScorer
from aefast.scoring.labels import UNLABELLED, Labels, judgement
from aefast.scoring.passthrough import TypeClashError
from aefast.tables.formats.registry import writer_class
from aefast.tables.sink import DirectSink, open_sink, remove_unfinished
from aefast.tables.source import Source

#: A file, its output, and what the output depends on, with stamps of the file that were taken before it is read.
_Part = tuple[Source, Path, dict[str, Any]]
#: An output, what it depends on, the counts of its rows, and what has written it or holds its content.
_Made = tuple[Path, dict[str, Any], dict[str, int], DirectSink]


class ScoreJob:
    """Score the rows of ``source`` into files that appear whole or not at all.

    Reading, scoring and writing overlap, a few batches of ``batch_rows`` rows apart. Columns are checked when the job
    is made, before any row is read. Journals beside the outputs record what is done; a run that is killed leaves them
    behind, and a run with ``resume`` continues from them.

    Parameters
    ----------
    estimator : fitted estimator
    source : Source
    output : path, or list of paths
        One file for all rows, or one file for each file of ``source``; then all have the same ending. The ending
        decides the format.
    folder : path, optional
        The folder of the outputs, if there are many: the journal of the whole job is kept there. Files that cannot be
        scored then cost no other file; the summary names them in ``failed``.
    failed : mapping of str to str, optional
        Files that are not in ``source`` because they cannot be read, and why.
    keep : list of str or None
        Input columns to copy to the output. None keeps every column that the model does not read, if all files have
        it and no result has its name; ``plan.left_out`` names the others. Cells of CSV files are copied as they are
        written. If many files become one, a column gets a type that holds the values of all of them.
    label : str, optional
        A column that is 1 or true for known anomalies and 0 or false for other rows; the scores are judged by it.
        Rows without a label are scored and not judged. Labels and scores are held in memory.
    top_features, batch_rows, precision
        As in `Scorer` and `Source.batches`.
    fdr : float, optional
        Flag rows by the procedure of Benjamini and Hochberg over all rows. Takes a second pass, to count p-values.
    resume : bool
        Continue a run of the same job that was ended, if there was one: recorded rows are not scored again, and
        finished outputs stay. A finished output is known by its provenance, or by the folder's journal, and stays only
        if model, options and input are the same. With ``label``, finished outputs are made again, because judging
        takes all scores. The outputs are byte-identical to those of a run that was not ended.
    on_bad : {"error", "null", "skip"}
        As in `Scorer`. The summary counts such rows.
    only_anomalies, sort : bool
        Write the anomalies alone; with ``sort``, from the highest score to the lowest, held in memory until then.
    """

    def __init__(
        self,
        estimator: Any,
        source: Source,
        output: str | Path | Sequence[Path],
        *,
        folder: Path | None = None,
        failed: Mapping[str, str] | None = None,
        keep: Sequence[str] | None = None,
        label: str | None = None,
        top_features: int = 0,
        batch_rows: int | None = None,
        precision: str = "float32",
        fdr: float | None = None,
        resume: bool = False,
        on_bad: str = "error",
        only_anomalies: bool = False,
        sort: bool = False,
    ) -> None:
        outputs = [Path(output)] if isinstance(output, str | Path) else list(output)
        writer = writer_class(outputs[0])
        plan = plan_scoring(
            estimator,
            source,
            keep=[] if writer.holds_one_column else keep,
            label=label,
            top_features=top_features,
            precision=precision,
            on_bad=on_bad,
            batch_rows=batch_rows,
            flat=not writer.holds_nested,
            scores_only=writer.holds_one_column,
        )
        self.plan: ScorePlan = plan
        self._failed = dict(failed or {})
        self._folder, self._fdr, self._resume = folder, fdr, resume
        self._choice = partial(Choice, only_anomalies=only_anomalies, sort=sort)
        sources = [plan.source] if isinstance(output, str | Path) else plan.source.split()
        self._parts = list(zip(sources, outputs, strict=True))
        self._schemas = {output: plan.output_schema(part) for part, output in self._parts}
        about_rows, n_passes = source.about_rows, 1 if fdr is None else 2
        self.about_rows: int | None = None if about_rows is None else about_rows * n_passes
        options = {"keep": list(plan.keep), "label": label, "top_features": top_features, "batch_rows": batch_rows}
        chosen = {"on_bad": on_bad, "only_anomalies": only_anomalies, "sort": sort}
        # Earlier versions had none of these, and their journals stay valid.
        chosen = {name: value for name, value in chosen.items() if value not in (False, "error")}
        self._identity = {
            "model": plan.digest(),
            "options": {**options, "precision": precision, "fdr": fdr, **chosen},
            "version of aefast": f"{core.__version__} {core.isa_level}",
        }

    def run(self, progress: Progress = no_progress) -> dict[str, Any]:
        """Score all rows; returns a summary as plain data."""
        begin = time.perf_counter()
        tally = Tally(progress, DriftCounter(self.plan.scorer))
        if self.plan.label is not None:
            Labels(self.plan.source, self.plan.label).check()
        if self._folder is None:
            self._score_one(tally)
        else:
            tally.is_many = len(self._parts) + len(self._failed) > 1
            self._score_files(self._folder, tally)
        return self._summary(tally, time.perf_counter() - begin)

    def _score_one(self, tally: Tally) -> None:
        """Score all rows into one output."""
        [(source, output)] = self._parts
        with self._journal(output, stamps_of(source)) as journal:
            finished = self._finished(source, output)
            if finished:
                tally.skip(finished)
            else:
                frames = journal.replay()
                plan = self._decided(journal, frames, tally)
                found = self._judged(plan, source, journal, frames, tally)
                _finish(self._write(plan, (source, output, self._job(source)), journal, found, tally), tally)

    def _score_files(self, folder: Path, tally: Tally) -> None:
        """Score each file into one output of its own. The folder's journal records every finished output."""
        stamps = stamps_of(self.plan.source) if self._fdr is not None else None
        with self._journal(folder / "aefast", stamps, keep=True) as journal:
            finished = {output: self._finished(source, output) for source, output in self._parts}
            plan, records = self.plan, {}
            if not all(finished.values()):
                frames = journal.replay()
                plan = self._decided(journal, frames, tally)
                records = {r["output"]: r for r in (journal.read(from_record, frame) for frame in frames)}
            remove_unfinished(output for _, output in self._parts)
            small: list[_Part] = []
            for source, output in self._parts:
                with tally.failing(source):
                    job, counts = self._job(source), finished[output]
                    if counts is None and plan.label is None:
                        record = records.get(str(output))
                        counts = record if record and record["input"] == job["input"] and output.exists() else None
                    if counts is not None:
                        tally.skip(counts)
                    elif plan.is_one_batch(source):
                        small.append((source, output, job))
                    else:
                        with self._journal(output, job["input"]) as own:
                            found = self._judged(plan, source, own, own.replay(), tally)
                            counts = _finish(self._write(plan, (source, output, job), own, found, tally), tally)
                        journal.append(to_record(output, job, counts))
                if len(small) == MOST_TOGETHER or not plan.is_small(source):
                    self._score_small(plan, small, journal, tally)
                    small = []
            self._score_small(plan, small, journal, tally)
            journal.has_more = bool(tally.failed)

    def _score_small(self, plan: ScorePlan, small: Sequence[_Part], journal: Journal, tally: Tally) -> None:
        """Score files of one batch each: read all, judge all, make all outputs, write all.

        A call costs as much as many rows, and the same calls one after the other cost less than different ones.
        """
        read: list[tuple[_Part, list[pa.RecordBatch]]] = []
        made: list[_Made] = []
        for part in small:
            with tally.failing(part[0]), closing(plan.batches(part[0], tally.reading, ahead=False)) as batches:
                read.append((part, list(batches)))
        together = judged_together(plan, [batches for _, batches in read], tally)
        written: list[tuple[pa.RecordBatch, pa.RecordBatch]] = []
        for (part, rows), known in zip(read, together, strict=True):
            with tally.failing(part[0]):
                found = ((known or judged_batch(plan, part[0], batch, 0, tally), batch, None) for batch in rows)
                made.append(self._write(plan, part, None, found, tally))
                written += [] if known is None else [(rows[0], known)]
        if written:
            [batch], [judged] = (
                pa.Table.from_batches(each).combine_chunks().to_batches() for each in zip(*written, strict=True)
            )
            tally.drift.add(batch, judged)
        for each in made:
            counts = _finish(each, tally)
            journal.append(to_record(each[0], each[1], counts))

    def _write(
        self,
        plan: ScorePlan,
        part: _Part,
        journal: Journal | None,
        judged_batches: Generator[tuple[pa.RecordBatch, pa.RecordBatch, pa.RecordBatch | None], None, None],
        tally: Tally,
    ) -> _Made:
        """Write what `_judged` yields of a file; `_finish` does the rest.

        Without a journal, which one batch does not need, reading and writing do not overlap, and the sink may hold a
        small output.
        """
        source, output, job = part
        schema, choice = self._schemas[output], self._choice()
        labels = None if plan.label is None else Labels(source, plan.label)
        before = tally.counts
        record_batch = None if journal is None else journal.append_batch
        is_alone = {"threaded": False, "held": plan.is_small(source)} if journal is None else {}
        with (
            open_sink(output, plan.written(schema), record_batch, **is_alone) as sink,
            closing(judged_batches) as found,
        ):
            for judged, batch, record in found:
                with tally.scoring, _naming_types(source, tally.n_rows - before[0]):
                    scored = plan.scorer.results(judged, batch, schema)
                sink.write(choice(scored), record)
                tally.add_batch(judged, scored, None if labels is None else labels(batch))
            for rest in choice.rest(source.batch_rows(len(schema))):
                sink.write(rest)
            n_dropped = sum(file.n_dropped for file in source.files)
            tally.add(n_dropped, 0, n_dropped)
            counts = tally.counts_since(before)
            check_unchanged(source, job["input"], counts["rows"])
        return output, job, counts, sink

    def _job(self, source: Source) -> dict[str, Any]:
        """Everything that an output depends on. With ``fdr``, it depends on every row of every file."""
        return {**self._identity, "input": stamps_of(source), "all": None if self._fdr is None else self._all}

    @cached_property
    def _all(self) -> str:
        """A digest of the stamps of all files. There may be thousands, and every output names them."""
        return hashlib.sha256(json.dumps(stamps_of(self.plan.source)).encode()).hexdigest()

    def _finished(self, source: Source, output: Path) -> dict[str, int] | None:
        """The counts of an output that an earlier run finished and that can stay, else None."""
        return read_provenance(output, self._job(source)) if self._resume and self.plan.label is None else None

    def _judged(
        self, plan: ScorePlan, source: Source, journal: Journal, frames: Iterator[bytes], tally: Tally
    ) -> Generator[tuple[pa.RecordBatch, pa.RecordBatch, pa.RecordBatch | None], None, None]:
        """Errors and reasons, the rows they belong to, and what to record of them (None if it is recorded already)."""
        n_done = 0
        for judged, batch in self._replayed(plan, source, journal, frames, tally.reading):
            n_done += judged.num_rows
            yield judged, batch, None
        tally.n_resumed += n_done
        with closing(plan.batches(source, tally.reading, n_done)) as batches:
            for batch in batches:
                judged = judged_batch(plan, source, batch, n_done, tally)
                n_done += judged.num_rows
                yield judged, batch, judged

    def _replayed(
        self, plan: ScorePlan, source: Source, journal: Journal, frames: Iterator[bytes], clock: Clock
    ) -> Iterator[tuple[pa.RecordBatch, pa.RecordBatch]]:
        """The errors and reasons that an earlier run recorded, with the kept columns of their rows, which are read."""
        schema = plan.scorer.judged_schema
        with closing(plan.batches(source, clock, unscored=True)) as batches:
            for frame in frames:
                judged = journal.read(lambda frame: batch_from(frame, schema), frame)
                batch = next(batches, None) if plan.keep or plan.label is not None else judged
                if batch is None or batch.num_rows != judged.num_rows:
                    raise journal.unfit("more or other rows than there are")
                yield judged, batch

    @contextmanager
    def _journal(self, output: Path, stamps: Any, *, keep: bool = False) -> Iterator[Journal]:
        """The journal of one output. It is removed at the end, and after an error that would occur again.

        It stays if resuming can help: after a signal or a full disk, and after any error with ``keep``.
        """
        output.parent.mkdir(parents=True, exist_ok=True)
        journal = Journal(journal_path(output), {**self._identity, "input": stamps}, resume=self._resume)
        try:
            yield journal
        except BaseException as error:
            journal.has_more = keep or isinstance(error, OSError | ResumeError) or not isinstance(error, Exception)
            raise
        finally:
            if journal.has_more:
                journal.close()
            else:
                journal.remove()

    def _decided(self, journal: Journal, frames: Iterator[bytes], tally: Tally) -> ScorePlan:
        """The plan with the cutoff of p-values, which takes all rows to find unless the journal has it."""
        if self._fdr is None:
            return self.plan
        record = next(frames, None)
        if record is None:
            sources = [source for source, _ in self._parts]
            record = json.dumps(find_cutoff(self.plan, sources, self._fdr, tally)).encode()
            journal.append(record)
        cutoff, tally.keeps_fdr = journal.read(recorded_cutoff, record)
        self.plan = replace(self.plan, p_value_cutoff=cutoff)
        return self.plan

    def _summary(self, tally: Tally, seconds: float) -> dict[str, Any]:
        threshold = float(self.plan.model.threshold)
        rule = f"score above {threshold:.6g}" if self.plan.fleet is None else "score above the threshold of the group"
        summary: dict[str, Any] = {
            "output": str(self._folder or self._parts[0][1]),
            "files": len(self._parts) + len(self._failed),
            "left_out": self.plan.left_out,
            "rows": tally.n_rows,
            "resumed_rows": tally.n_resumed,
            "skipped_files": tally.n_skipped_files,
            "anomalies": tally.n_flagged,
            "flagged": tally.n_flagged,
            "bad_rows": tally.n_bad,
            **self.plan.source.other_rows,
            "on_bad": self.plan.on_bad,
            "dialect": self.plan.source.spoken_dialect,
            "threshold": threshold if self.plan.fleet is None else None,
            "drift": tally.drift.drift().as_plain(),
            "rule": rule if self._fdr is None else f"false-discovery rate {self._fdr:g}",
            "seconds": seconds,
            "rows_per_second": (tally.n_rows - tally.n_resumed) / seconds,
            "reading_seconds": tally.reading.seconds,
            "scoring_seconds": tally.scoring.seconds,
            "writing_seconds": tally.writing,
        }
        if isinstance(self.plan.scorer, FleetScorer):
            pooled = self.plan.scorer.pooled_rows
            summary |= {"pooled_groups": len(pooled), "pooled_rows": sum(pooled.values())}
        if self._fdr is not None:
            summary |= resolution(self.plan, self._fdr, tally)
        if self._folder is not None:
            summary["failed"] = self._failed | tally.failed
        if self.plan.label is not None and tally.n_rows:
            labels, scores = np.concatenate(tally.labels), np.concatenate(tally.scores)
            if self._fdr is not None:
                # Rows flagged by p-value are the rows above some score.
                threshold = float(scores[~np.concatenate(tally.flags)].max(initial=scores.min() - 1))
            summary["unlabelled"] = int(np.count_nonzero(labels == UNLABELLED))
            summary["quality"] = judgement(labels, scores, threshold)
        return summary


def _finish(made: _Made, tally: Tally) -> dict[str, int]:
    """Put an output at its place with the record of its job; returns its counts."""
    output, job, counts, sink = made
    sink.place()
    tally.writing += sink.seconds
    write_provenance(output, job, counts)
    return counts


@contextmanager
def _naming_types(source: Source, row: int) -> Iterator[None]:
    """Name two files in errors about a kept column of the batch from ``row`` on that does not convert."""
    try:
        yield
    except TypeClashError as error:
        raise error.among(source, row) from error
