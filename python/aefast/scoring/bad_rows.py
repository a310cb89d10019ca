"""Rows that cannot be scored, because a value is infinite, or missing where the model needs one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from aefast.columns.column import input_starts
from aefast.model.model import Model
from aefast.tables.arrow import arrow_array, arrow_values
from aefast.tables.formats.base import BAD_ROW

#: What `Scorer` does with such rows.
ON_BAD = ("error", "null", "skip")


def bad_rows(model: Model, X: Any) -> NDArray[np.bool_]:
    """Return which rows (n,) of a matrix or table, which fits the model otherwise, have such a value."""
    rows = model.read(X)
    if model.columns is not None:
        rows = rows[:, np.array(input_starts(model.columns))]
    bad = np.isinf(rows) if model.missing != "error" else ~np.isfinite(rows)
    return np.asarray(bad.any(axis=1))


def marked_rows(batch: pa.RecordBatch) -> NDArray[np.bool_] | None:
    """Return which rows (n,) the reader marked as bad ones; None if none are."""
    marks = batch.column(BAD_ROW) if BAD_ROW in batch.schema.names else None
    return np.asarray(arrow_values(marks), bool) if marks is not None and marks.true_count else None


def spread(columns: Sequence[pa.Array], bad: NDArray[np.bool_]) -> list[pa.Array]:
    """Return columns of all rows from those of the good rows, with null in the ``bad`` ones."""
    places = arrow_array(np.cumsum(~bad) - 1, ~bad)
    return [column.take(places) for column in columns]


def with_nulls(values: NDArray[Any], bad: NDArray[np.bool_] | None) -> pa.Array:
    """Return values as an Arrow array, with null in the ``bad`` rows, if there are any."""
    return arrow_array(values, None if bad is None else ~bad)


def rows_without_score(judged: pa.RecordBatch) -> NDArray[np.bool_] | None:
    """Return which rows of what `Scorer.judge` returned are bad; None if all are good."""
    errors = judged.column(0)
    return arrow_values(errors.is_null()) if errors.null_count else None
