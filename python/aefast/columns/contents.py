"""What the columns of a table hold, as numbers that can be counted, and the days that its rows are from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aefast.columns.column import DAY, Column
from aefast.columns.times import in_zone, seconds_since_1970
from aefast.columns.values import has_values, levels_of, numbers_of, parts_of


def contents(table: Any, columns: Sequence[Column]) -> NDArray[np.float64]:
    """Return the contents (n, C) of a data frame or an Arrow table, in Fortran order; missing values are NaN.

    A number stays as it is. A level becomes its position in ``levels``, or their number if it was not learned. A time
    becomes 0.
    """
    found = np.empty((len(table), len(columns)), order="F")
    for index, (values, column) in enumerate(zip(parts_of(table), columns, strict=True)):
        found[:, index] = _contents(values, column)
    return found


def _contents(values: Any, column: Column) -> Any:
    if not has_values(values):
        return np.nan
    if column.kind == "numeric":
        return numbers_of(in_zone(values, column.zone))
    if column.kind == "timestamp":
        return np.where(np.isnan(seconds_since_1970(values)), np.nan, 0.0)
    codes, names = levels_of(values)
    return np.array([*column.places_of(names), np.nan])[codes]


def days_of(table: Any, columns: Sequence[Column] | None) -> NDArray[np.int64] | None:
    """Return the day of each row (n,) by the first column of times, -1 if it is missing; None without such a column.

    Times of the day alone, which are those of the first day, are no such column.
    """
    for index, column in enumerate(columns or ()):
        if column.kind == "timestamp" and has_values(values := parts_of(table)[index]):
            days = np.floor(seconds_since_1970(in_zone(values, column.zone)) / DAY)
            days = np.where(np.isnan(days), -1, days).astype(np.int64)
            if not np.isin(days, (0, -1)).all():
                return days
    return None
