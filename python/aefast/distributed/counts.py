"""Counts of p-values, which partitions produce and a driver adds up: a false-discovery rate without moving rows."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from aefast.distributed.isa import remark_on
from aefast.engine import core
from aefast.model.false_discoveries import reported_up_to, too_few_held_out
from aefast.model.model import Model
from aefast.scoring.scorer import Scorer
from aefast.tables.arrow import arrow_array, arrow_values

#: ``place`` is the index of a p-value in `Calibration.levels`, -1 for rows that cannot be scored.
SCHEMA = pa.schema([("place", pa.int64()), ("rows", pa.int64()), ("isa_level", pa.string())])


def count_batch(scorer: Scorer, batch: pa.RecordBatch) -> pa.RecordBatch:
    """Return how many rows of a batch have each p-value, and the instruction-set level that computed them."""
    if batch.num_rows == 0:
        return pa.RecordBatch.from_pylist([], schema=SCHEMA)
    errors = scorer.batch_errors(batch)
    is_bad = np.isnan(errors)
    places = np.where(is_bad, -1, scorer.model.calibration.places(np.where(is_bad, 0, errors)))
    found, n_rows = np.unique(places, return_counts=True)
    levels = pa.array([core.isa_level] * len(found), pa.string())
    return pa.record_batch([arrow_array(found.astype(np.int64)), arrow_array(n_rows.astype(np.int64)), levels], SCHEMA)


@dataclass(frozen=True)
class Counts:
    """The counts of all rows.

    Attributes
    ----------
    rows : ndarray of shape (k,), int64
        Number of rows with each of the `Calibration.levels`.
    n_bad : int
        Number of rows that cannot be scored.
    isa_levels : frozenset of str
        Instruction-set levels of the workers.
    """

    rows: NDArray[np.int64]
    n_bad: int
    isa_levels: frozenset[str]

    @classmethod
    def of(cls, model: Model, parts: Iterable[pa.RecordBatch]) -> Counts:
        """Return the sum of what `count_batch` returned for all batches."""
        rows = np.zeros(len(model.calibration.levels()) + 1, dtype=np.int64)  # the last one, -1, is for bad rows
        levels: set[str] = set()
        for part in parts:
            np.add.at(rows, arrow_values(part.column("place")), arrow_values(part.column("rows")))
            levels.update(part.column("isa_level").to_pylist())
        return cls(rows[:-1], int(rows[-1]), frozenset(levels))

    def cutoff(self, model: Model, fdr: float) -> float:
        """Return the largest p-value to report, 0 if there is none; warn of what the caller should know.

        Warns
        -----
        UserWarning
            If rows could not be scored, if workers computed with unlike instruction-set levels, or if no row is
            reported and a single row could not be, however abnormal it is.
        """
        found, n_rows = reported_up_to(model.calibration.levels(), self.rows, fdr), int(self.rows.sum())
        remarks = [remark_on(self.isa_levels)]
        if self.n_bad:
            remarks.append(f"{self.n_bad:,} of {n_rows + self.n_bad:,} rows could not be scored and were left out")
        if found == 0 and n_rows:
            remarks.append(too_few_held_out(model.calibration.least, n_rows, fdr))
        for remark in filter(None, remarks):
            warnings.warn(remark, stacklevel=3)
        return found
