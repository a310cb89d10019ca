"""Counts what a scoring job has done, and chooses the rows that it writes."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from aefast.exceptions import AefastError
from aefast.jobs.clock import Clock, Progress
from aefast.jobs.drift import DriftCounter
from aefast.jobs.journal import ResumeError
from aefast.scoring.bad_rows import rows_without_score
from aefast.tables.arrow import arrow_array, arrow_values
from aefast.tables.source import Source

LOG = logging.getLogger("aefast.jobs")


@dataclass
class Tally:
    """Counts what a scoring job has done. Rows are those of the input, also if they are not written."""

    progress: Progress
    drift: DriftCounter
    reading: Clock = field(default_factory=Clock)
    scoring: Clock = field(default_factory=Clock)
    writing: float = 0.0
    n_rows: int = 0
    n_flagged: int = 0
    n_bad: int = 0
    n_resumed: int = 0
    n_skipped_files: int = 0
    keeps_fdr: bool = True
    is_many: bool = False
    failed: dict[str, str] = field(default_factory=dict)
    labels: list[NDArray[np.int8]] = field(default_factory=list)
    scores: list[NDArray[np.float64]] = field(default_factory=list)
    flags: list[NDArray[np.bool_]] = field(default_factory=list)

    def add(self, n_rows: int, n_flagged: int, n_bad: int, *, resumed: int = 0) -> None:
        """Count rows."""
        self.n_rows += n_rows
        self.n_flagged += n_flagged
        self.n_bad += n_bad
        self.n_resumed += resumed
        self.progress(n_rows)

    @contextmanager
    def failing(self, source: Source) -> Iterator[None]:
        """Record an error about one of many files, whose rows then do not count; raise it if there is one file only."""
        before, n_labels = (*self.counts, self.n_resumed, self.n_skipped_files), len(self.labels)
        try:
            with self.drift.unless_failed():
                yield
        except (AefastError, FileNotFoundError) as error:
            if isinstance(error, ResumeError) or not self.is_many:
                raise
            self.n_rows, self.n_flagged, self.n_bad, self.n_resumed, self.n_skipped_files = before
            for kept in (self.labels, self.scores, self.flags):
                del kept[n_labels:]
            path = str(source.files[0].path)
            self.failed[path] = str(error)
            LOG.error("score: %s", error)

    def skip(self, counts: dict[str, Any]) -> None:
        """Count the rows of an output that an earlier run finished."""
        self.n_skipped_files += 1
        self.keeps_fdr = self.keeps_fdr and not counts.get("beyond_fdr", 0)
        self.add(counts["rows"], counts["anomalies"], counts.get("bad", 0), resumed=counts["rows"])

    def counts_since(self, before: tuple[int, int, int]) -> dict[str, int]:
        """Return the counts of an output, given the `counts` before its first row."""
        now = self.counts
        counts = {name: now[i] - before[i] for i, name in enumerate(("rows", "anomalies", "bad"))}
        return counts if self.keeps_fdr else {**counts, "beyond_fdr": 1}

    @property
    def counts(self) -> tuple[int, int, int]:
        """Rows, anomalies and bad rows so far."""
        return self.n_rows, self.n_flagged, self.n_bad

    def add_batch(self, judged: pa.RecordBatch, scored: pa.RecordBatch, labels: NDArray[np.int8] | None) -> None:
        """Count a scored batch; with labels, hold the scores of its rows until all rows are compared with them."""
        bad = rows_without_score(judged)
        n_bad = 0 if bad is None else int(np.count_nonzero(bad))
        self.add(judged.num_rows, scored.column("is_anomaly").true_count, n_bad)
        if labels is None:
            return
        if bad is not None:
            labels = labels[~bad]
            scored = scored if scored.num_rows == len(labels) else scored.filter(arrow_array(~bad))
        self.labels.append(labels)
        self.scores.append(arrow_values(scored.column("anomaly_score")))
        self.flags.append(arrow_values(scored.column("is_anomaly")))


class Choice:
    """Chooses the rows to write: all, or the anomalies alone, sorted by their score if ``sort`` is set.

    Sorted anomalies are held in memory until all rows are scored.
    """

    def __init__(self, *, only_anomalies: bool, sort: bool) -> None:
        self._only_anomalies, self._sort = only_anomalies, sort
        self._held: list[pa.RecordBatch] = []

    def __call__(self, scored: pa.RecordBatch) -> pa.RecordBatch:
        """Return the rows of a batch to write now."""
        if not self._only_anomalies:
            return scored
        found = scored.filter(scored.column("is_anomaly"))
        if not self._sort:
            return found
        if found.num_rows:
            self._held.append(found)
        return found.slice(0, 0)

    def rest(self, batch_rows: int) -> Iterator[pa.RecordBatch]:
        """Yield the held rows, highest score first; equal scores stay in the order of the input."""
        if self._held:
            table = pa.Table.from_batches(self._held)
            order = np.argsort(-arrow_values(table.column("anomaly_score")), kind="stable")
            yield from table.take(arrow_array(order)).to_batches(max_chunksize=batch_rows)
