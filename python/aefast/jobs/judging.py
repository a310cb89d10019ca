"""Judges the batches of a scoring job: those of one file, or those of many small files at once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from aefast.exceptions import AefastError
from aefast.jobs.plan import ScorePlan, located
from aefast.jobs.tally import Tally
from aefast.tables.source import Source

#: Small files that are judged together.
MOST_TOGETHER = 64


def judged_batch(
    plan: ScorePlan, source: Source, batch: pa.RecordBatch, first_row: int, tally: Tally
) -> pa.RecordBatch:
    """Errors and reasons of a batch, which are counted."""
    with tally.scoring, located(source):
        judged = plan.scorer.judge(batch, first_row=first_row)
        tally.drift.add(batch, judged)
    return judged


def judged_together(
    plan: ScorePlan, files: Sequence[Sequence[pa.RecordBatch]], tally: Tally
) -> Sequence[pa.RecordBatch | None]:
    """Errors and reasons of files of one batch each; None for each of them if they must be judged one by one.

    They do not count for drift before they are written.
    That is so if their columns differ, or if a value is missing or cannot be scored: a message names its file.
    """
    alone = [None] * len(files)
    batches = [file[0] for file in files if len(file) == 1]
    if plan.fleet is not None or len(batches) < 2:
        return alone
    schema = batches[0].schema
    if any(not batch.schema.equals(schema) or any(c.null_count for c in batch.columns) for batch in batches):
        return alone
    joined = pa.Table.from_batches(batches).combine_chunks().to_batches()[0]
    try:
        with tally.scoring:
            judged = plan.scorer.judge(joined)
    except AefastError:
        return alone
    begins = np.cumsum([0] + [batch.num_rows for batch in batches]).tolist()
    parts = iter([judged.slice(begin, batch.num_rows) for begin, batch in zip(begins, batches, strict=False)])
    return [next(parts) if len(file) == 1 else None for file in files]
