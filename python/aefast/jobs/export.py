"""Reads the texts that an export needs from files."""

from __future__ import annotations

from contextlib import closing
from typing import Any

import pyarrow as pa

from aefast.jobs.clock import Clock
from aefast.jobs.plan import located, plan_scoring
from aefast.tables.source import Source


def read_values(estimator: Any, source: Source) -> pa.Table:
    """Return the text columns of a model from all rows of ``source``, each value once in each batch."""
    plan = plan_scoring(estimator, source, keep=[])
    names = [column.name for column in plan.model.columns or () if column.kind == "categorical"]
    parts = [plan.source.schema.empty_table().select(names)]
    if not names:
        return parts[0]
    with closing(plan.batches(plan.source, Clock())) as batches, located(plan.source):
        for batch in batches:
            parts.append(pa.table(batch.select(names)).group_by(names, use_threads=False).aggregate([]))
    return pa.concat_tables(parts, promote_options="permissive")
