"""Trains a fleet, one model for each group of rows, on the rows of files and saves it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aefast.estimators.fleet import Fleet
from aefast.jobs.clock import Clock
from aefast.jobs.fit import about_fit, accept_missing, good_rows, naming_table, training_rows
from aefast.jobs.training_rows import TableBlocks, count_missing
from aefast.tables.source import Source
from aefast.training.display import Silence


def fit_fleet_job(
    estimator: Any,
    source: Source,
    output: str | Path,
    *,
    by: Sequence[str],
    columns: Sequence[str],
    min_rows: int,
    finds_missing: bool = False,
    on_bad: str = "error",
    display: Silence | None = None,
) -> dict[str, Any]:
    """Fit a `Fleet` of ``estimator`` on the named columns and save it; returns a summary as plain data.

    Parameters
    ----------
    estimator : estimator
    source : Source
        All rows are held in memory.
    output : path
        The fleet file.
    by : sequence of str
        The columns that name a row's group. In files without types of their own they are text, as it is
        written.
    columns : sequence of str
        The columns to learn.
    min_rows : int
        Groups with fewer rows use the pooled model.
    finds_missing, on_bad
        As in `fit_job`.
    display : Silence, optional
        Shows the progress of reading and fitting.
    """
    display = display or Silence()
    reading, training = Clock(), Clock()
    check = partial(good_rows, finds_missing or estimator.missing != "error", on_bad)
    decided, _ = training_rows(estimator, source, columns, check)

    def check_features(X: NDArray[Any], first_row: int) -> NDArray[np.bool_] | None:
        return check(columns, decided.source, X[:, : len(columns)], first_row)

    rows = TableBlocks(decided.source.keep_raw(by), [*columns, *by], decided.numeric, check_features)
    with reading:
        table = rows.read(display.rows("reading", source.about_rows))
        X = table.select(list(columns))
        n_missing = count_missing([X], columns)
    if finds_missing:
        accept_missing(estimator, n_missing)
    fleet = Fleet(estimator, by[0] if len(by) == 1 else list(by), min_rows=min_rows)
    with training, naming_table(source):
        fleet.fit_rows(X, {name: table.column(name) for name in by}, display.rows("fitting", len(X)))
    if rows.source.dialect is not None:
        fleet.pooled_.model_ = fleet.pooled_.model_.replace(dialect=rows.source.dialect)
    fleet.save(output)
    small = sum(count < min_rows for count in fleet.counts_.values())
    return {
        "model": str(output),
        **about_fit(fleet.pooled_, rows, len(X), columns, n_missing, reading, training),
        "by": list(by),
        "groups": len(fleet.counts_),
        "fitted_groups": len(fleet),
        "small_groups": small,
        "unlearned_groups": len(fleet.counts_) - len(fleet) - small,
        "min_rows": min_rows,
    }
