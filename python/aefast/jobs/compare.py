"""Scores files with two models and compares what they say."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from aefast.columns.values import cells
from aefast.jobs.clock import Clock, Progress, no_progress
from aefast.jobs.plan import ScorePlan, located, plan_scoring
from aefast.scoring.comparison import Comparer, Comparison
from aefast.tables.arrow import arrow_array
from aefast.tables.formats.base import TableError
from aefast.tables.source import Source

#: Columns shown beside the examples unless they are named.
_MOST_ABOUT = 3


def compare_job(
    first: Any,
    second: Any,
    source: Source,
    *,
    keep: Sequence[str] | None = None,
    n_examples: int = 3,
    batch_rows: int | None = None,
    progress: Progress = no_progress,
) -> dict[str, Any]:
    """Compare two models on every row of ``source``; returns a summary as plain data.

    Parameters
    ----------
    first, second : estimator or Model
    source : Source
    keep : list of str, optional
        Columns to show beside the examples. Default: the first three that neither model reads.
    n_examples : int
        Examples of rows that one model flags and the other does not, and of rows with other reasons.
    batch_rows, progress
        As of the other jobs.
    """
    plans = [plan_scoring(model, source, keep=keep, batch_rows=batch_rows) for model in (first, second)]
    comparer = Comparer(plans[0].model, plans[1].model)
    n_rows = 0
    for a, b in _side_by_side(plans):
        with located(source):
            comparer.add(plans[0].scorer.matrix(a), plans[1].scorer.matrix(b))
        n_rows += a.num_rows
        progress(a.num_rows)
    if n_rows == 0:
        raise TableError(f"{source.title} has no rows to compare the models on")
    found = comparer.result()
    read_by_one = {*(plans[0].features or ()), *(plans[1].features or ())}
    about = [name for name in plans[0].keep if name not in read_by_one][:_MOST_ABOUT] if keep is None else list(keep)
    wanted = {
        "first_only": found.only_first[:n_examples],
        "second_only": found.only_second[:n_examples],
        "other_reason": found.other_reason[:n_examples],
    }
    rows = _examples(plans, found, np.unique(np.concatenate(list(wanted.values()))), about)
    models = [
        {"threshold": plan.model.threshold, "flagged": n}
        for plan, n in zip(plans, (found.n_first, found.n_second), strict=True)
    ]
    examples = {name: [rows[int(row)] for row in numbers] for name, numbers in wanted.items()}
    return {**found.as_plain(), "first": models[0], "second": models[1], "examples": examples}


def _side_by_side(plans: Sequence[ScorePlan]) -> Iterator[tuple[pa.RecordBatch, pa.RecordBatch]]:
    """The batches that each plan reads of the same rows."""
    widths = [len(plan.features or plan.source.schema.names) + len(plan.keep) for plan in plans]
    batch_rows = plans[0].batch_rows or plans[0].source.batch_rows(max(widths))
    with ExitStack() as stack:
        batches = [
            stack.enter_context(closing(replace(plan, batch_rows=batch_rows).batches(plan.source, Clock())))
            for plan in plans
        ]
        yield from zip(*batches, strict=True)


def _examples(
    plans: Sequence[ScorePlan], found: Comparison, numbers: NDArray[np.int64], about: Sequence[str]
) -> dict[int, dict[str, Any]]:
    """Return a dict by row number: the kept values of the row, and its score and reasons by each model.

    The files are read again for it.
    """
    examples: dict[int, dict[str, Any]] = {}
    begin = 0
    for pair in _side_by_side(plans) if len(numbers) else ():
        end = begin + pair[0].num_rows
        here = numbers[(numbers >= begin) & (numbers < end)]
        begin = end
        if len(here) == 0:
            continue
        said = []
        for index, (plan, batch) in enumerate(zip(plans, pair, strict=True)):
            part = batch.take(arrow_array(here - (end - batch.num_rows)))
            scores = found.scores[index][here]
            p_values = plan.scorer.p_values(scores)
            reasons = plan.scorer.reasons(plan.scorer.matrix(part), 3).to_pylist()
            said.append(
                [
                    {"score": float(score), "p_value": float(p), "reasons": why}
                    for score, p, why in zip(scores, p_values, reasons, strict=True)
                ]
            )
        shown = pair[0].take(arrow_array(here - (end - pair[0].num_rows)))
        values = {name: cells(shown.column(name)) for name in about}
        for place, row in enumerate(here.tolist()):
            columns = {name: column[place] for name, column in values.items()}
            examples[row] = {"row": row, "columns": columns, "first": said[0][place], "second": said[1][place]}
    return examples
