"""Counts of p-values, which partitions produce and a driver adds up: a false-discovery rate without moving rows."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from aefast.distributed.isa import remark_on
from aefast.engine import core
from aefast.model.false_discoveries import reported_up_to, too_few_held_out
from aefast.scoring.fleet_scorer import FleetScorer
from aefast.scoring.scorer import Scorer

#: The p-value is null for rows that cannot be scored.
SCHEMA = pa.schema([("p_value", pa.float64()), ("rows", pa.int64()), ("isa_level", pa.string())])


def count_batch(scorer: Scorer, batch: pa.RecordBatch) -> pa.RecordBatch:
    """Return how many rows of a batch have each p-value, and the instruction-set level that computed them.

    The smallest p-value that the model can give is always among them.
    """
    if batch.num_rows == 0:
        return pa.RecordBatch.from_pylist([], schema=SCHEMA)
    found, counts = scorer.counted_p_values(batch)
    models = [part.model for part in scorer.parts(batch)] if isinstance(scorer, FleetScorer) else [scorer.model]
    least = min(model.calibration.least for model in models)
    n_rows = [*counts.tolist(), 0, batch.num_rows - int(counts.sum())]
    p_values = pa.array([*found.tolist(), least, None], pa.float64())
    return pa.record_batch([p_values, pa.array(n_rows), pa.array([core.isa_level] * len(n_rows))], SCHEMA)


@dataclass(frozen=True)
class Counts:
    """The counts of all rows.

    Attributes
    ----------
    rows : dict
        Number of rows with each p-value.
    n_bad : int
        Number of rows that cannot be scored.
    isa_levels : frozenset of str
        Instruction-set levels of the workers.
    """

    rows: dict[float, int]
    n_bad: int
    isa_levels: frozenset[str]

    @classmethod
    def of(cls, parts: Iterable[pa.RecordBatch]) -> Counts:
        """Return the sum of what `count_batch` returned for all batches."""
        rows: Counter[float | None] = Counter()
        levels: set[str] = set()
        for part in parts:
            p_values, counts, of_part = (part.column(name).to_pylist() for name in SCHEMA.names)
            for p_value, count in zip(p_values, counts, strict=True):
                rows[None if p_value is None or p_value != p_value else p_value] += count
            levels.update(of_part)
        n_bad = rows.pop(None, 0)
        return cls({p: n for p, n in rows.items() if p is not None}, n_bad, frozenset(levels))

    def cutoff(self, fdr: float) -> float:
        """Return the largest p-value to report, 0 if there is none; warn of what the caller should know.

        Warns
        -----
        UserWarning
            If rows could not be scored, if workers computed with unlike instruction-set levels, or if no row is
            reported and a single row could not be, however abnormal it is.
        """
        levels = np.array(sorted(self.rows, reverse=True))
        counts, n_rows = np.array([self.rows[p] for p in levels.tolist()]), sum(self.rows.values())
        found = reported_up_to(levels, counts, fdr) if n_rows else 0.0
        remarks = [remark_on(self.isa_levels)]
        if self.n_bad:
            remarks.append(f"{self.n_bad:,} of {n_rows + self.n_bad:,} rows could not be scored and were left out")
        if found == 0 and n_rows:
            remarks.append(too_few_held_out(float(levels[-1]), n_rows, fdr))
        for remark in filter(None, remarks):
            warnings.warn(remark, stacklevel=3)
        return found
