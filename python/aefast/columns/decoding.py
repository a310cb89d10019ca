"""Converts outputs of a network back to values of columns, and cells of a table to what reasons show."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aefast.columns.column import MISSING, Column, starts
from aefast.columns.times import in_zone
from aefast.columns.values import cells, levels_of, numbers_of, parts_of
from aefast.tables.arrow import arrow_text, arrow_values
from aefast.tables.groups import take

Array = NDArray[Any]

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")


def decode(rows: Array, columns: Sequence[Column]) -> Array:
    """Return rows of numbers (n, D) as values of the columns (n, C), an array of objects.

    Numbers become floats, categories the most probable level, times a weekday and a time of day.
    """
    values = np.empty((len(rows), len(columns)), dtype=object)
    for index, (begin, column) in enumerate(zip(starts(columns), columns, strict=True)):
        part = rows[:, begin : begin + column.width]
        if column.kind == "numeric":
            values[:, index] = part[:, 0].astype(np.float64)
        elif column.kind == "categorical":
            values[:, index] = np.asarray(column.level_names, dtype=object)[part.argmax(axis=1)]
        else:
            values[:, index] = as_objects(_times(part, column))
    return values


#: Cells as reasons show them: numbers, or texts (a list or an Arrow array) and the position of each cell among them.
Shown = Array | tuple[Any, NDArray[np.int64]]


def by_column(
    columns: Sequence[Column], numbers: Array, rows: Array, expected: Array, table: Any
) -> Iterator[tuple[Array, Shown, Shown]]:
    """Yield, for each column with reasons, the positions of its reasons, their cells and the expected values.

    Parameters
    ----------
    columns : sequence of Column
    numbers, rows : arrays of shape (m,)
        The column and the row of each reason.
    expected : array of shape (m, 4 or fewer)
        The outputs of the network: the numbers of a column in input units, or the position of a level.
    table : data frame or Arrow table
    """
    order = np.argsort(numbers.astype(np.min_scalar_type(len(columns))), kind="stable")
    ends = np.searchsorted(numbers[order], np.arange(len(columns)), side="right")
    for column, part, places in zip(columns, parts_of(table), np.split(order, ends[:-1]), strict=True):
        if len(places):
            yield places, _shown_cells(take(part, rows[places]), column), _shown_outputs(expected[places], column)


def shown(table: Any, columns: Sequence[Column]) -> Array:
    """Return the cells of a table as reasons show them (n, C), an array of objects: floats and text."""
    values = np.empty((len(table), len(columns)), dtype=object)
    for index, (column, part) in enumerate(zip(columns, parts_of(table), strict=True)):
        values[:, index] = as_objects(_shown_cells(part, column))
    return values


def as_objects(part: Shown) -> Array:
    """Return cells as an array of numbers or of text."""
    if not isinstance(part, tuple):
        return part
    texts, which = part
    return np.asarray(texts if isinstance(texts, list) else texts.to_pylist(), dtype=object)[which]


def _shown_cells(values: Any, column: Column) -> Shown:
    values = in_zone(values, column.zone)
    if column.kind == "numeric":
        return numbers_of(values).astype(np.float64)
    if column.kind == "categorical":
        codes, names = levels_of(values)
        return [*names, MISSING], codes
    return _time_texts(values), np.arange(len(values))


def _shown_outputs(outputs: Array, column: Column) -> Shown:
    if column.kind == "numeric":
        return outputs[:, 0].astype(np.float64)
    if column.kind == "categorical":
        return column.level_names, outputs[:, 0].astype(np.int64)
    return _times(outputs, column)


def _time_texts(values: Any) -> Any:
    """Return times as text in Python's form; missing times by their name.

    Arrow writes whole seconds in the same form; then the result is an Arrow array, else a list.
    """
    if hasattr(values, "iloc"):
        found, is_missing = values.tolist(), values.isna().to_numpy()
    else:
        import pyarrow as pa

        if not pa.types.is_timestamp(values.type) or values.type.tz is None:
            with suppress(pa.ArrowInvalid):  # raised for fractions of seconds
                if pa.types.is_timestamp(values.type):
                    whole = values.cast(pa.timestamp("s"))
                else:
                    whole = values.cast(pa.time32("s")) if pa.types.is_time(values.type) else values
                texts = whole.cast(pa.string())
                if isinstance(texts, pa.ChunkedArray):
                    texts = pa.concat_arrays([arrow_text([]), *texts.chunks])
                return texts.fill_null(MISSING) if texts.null_count else texts
        found, is_missing = cells(values), arrow_values(values.is_null())
    return [MISSING if no else str(cell) for cell, no in zip(found, is_missing, strict=True)]


def times_alike(points: Array, expected: Array, column: Column) -> NDArray[np.bool_]:
    """Return which times (n, 4) are less than a minute from expected ones, on the same weekday if it is known."""
    turns = [_turns(each) for each in (points, expected)]
    difference = np.abs(turns[0][0] - turns[1][0])
    alike: NDArray[np.bool_] = np.minimum(difference, 1 - difference) * 1440 < 1
    if column.knows_week:
        days = [np.round(of_week * 7 - of_day) % 7 for of_day, of_week in turns]
        alike &= days[0] == days[1]
    return alike


def _turns(points: Array) -> tuple[Array, Array]:
    """Return the parts of the day and of the week, in [0, 1), of points on their circles (n, 4)."""
    sines, cosines = points[:, ::2], points[:, 1::2]
    of_day, of_week = (np.arctan2(sines, cosines) / (2 * np.pi) % 1).T
    return of_day, of_week


def _times(points: Array, column: Column) -> Shown:
    """Return points on the circles of the day and the week (n, 4) as a weekday, if it is known, and a time of day."""
    of_day, of_week = _turns(points)
    minutes = np.round(of_day * 1440).astype(np.int64) % 1440
    if not column.knows_week:
        return [text[-5:] for text in _minutes_of_the_week()[:1440]], minutes
    # The weekday on which this time of day is closest to the point on the circle of the week.
    days = np.round(of_week * 7 - minutes / 1440).astype(np.int64) % 7
    return _minutes_of_the_week(), days * 1440 + minutes


@lru_cache(maxsize=1)
def _minutes_of_the_week() -> list[str]:
    """Return the texts of all minutes of a week, from Monday on."""
    return [f"{day} {hour:02d}:{minute:02d}" for day in _DAYS for hour in range(24) for minute in range(60)]
