"""Columns of a table: their kinds and levels, and how their values become numbers for a network.

A ``numeric`` column stays one number. A ``categorical`` column (text, booleans, categories) becomes the number of the
row's level. The engine reads it as one element for each level: 1 for the level of the row, 0 for the others. The first
layer multiplies these elements with a learned vector for each level, an embedding (Guo and Berkhahn 2016), and the
network returns a probability for each level. A ``timestamp`` becomes two points on circles, its place in the day and in
the week, so that Sunday night is close to Monday morning. The date itself is left out, because every future row is
later than all training rows; the kind ``numeric`` keeps it, in seconds since 1970.

Levels are compared by their text, whatever type a table has for them: a whole number is the same with and without
decimals, and if all levels are true and false, then yes and no, 1 and 0 are the same too. A column of numbers or
booleans is refused if none of the levels can be one: every row would be equally abnormal.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aefast.columns.times import in_zone, seconds_since_1970
from aefast.columns.values import (
    has_values,
    holds_numbers_or_booleans,
    is_number_name,
    levels_of,
    missing_values,
    numbers_of,
    parts_of,
    type_of,
)
from aefast.tables.numbers import odd_values
from aefast.tables.text import list_names, pluralise

Array = NDArray[Any]

KINDS = ("numeric", "categorical", "timestamp")
#: The most levels that a column keeps, the most frequent ones; all others are unknown.
MAX_LEVELS = 64
#: Levels of a column that training counts before the rarest are dropped.
MAX_COUNTED = 1 << 18
#: The share of training rows with values that are no levels, from which on it is mentioned.
LEAST_OTHERS = 0.01
#: The name of a level that is not among the kept ones.
UNKNOWN = "(unknown)"
MISSING = "(missing)"

#: The spellings of true and false, in any case.
_BOOLEANS = {
    spelling: name
    for name, spellings in {"true": ["t", "yes", "y", "on", "1"], "false": ["f", "no", "n", "off", "0"]}.items()
    for spelling in (name, *spellings)
}
_WHOLE = re.compile(r"-?\d+\.0+")
_CONTENT = {"numeric": "numbers", "categorical": "categories", "timestamp": "times"}
DAY, WEEK = 86_400.0, 604_800.0
MONDAY = 3 * DAY  # 1 January 1970 was a Thursday, three days after a Monday


@dataclass(frozen=True, eq=False)
class RareLevels:
    """The values of a categorical column that training has seen, but that are too rare to be levels.

    Attributes
    ----------
    hashes : ndarray of shape (k,), uint32
        Hashes of the values, ascending.
    counts : ndarray of shape (k,), int64
        Training rows with each.
    """

    hashes: NDArray[np.uint32]
    counts: NDArray[np.int64]

    @classmethod
    def of(cls, counts: Mapping[str | None, int]) -> RareLevels:
        """Return the values with these counts; None is a missing value."""
        hashes = np.fromiter(map(hash_of, counts), np.uint32, len(counts))
        unique, places = np.unique(hashes, return_inverse=True)
        totals = np.bincount(places, np.fromiter(counts.values(), np.float64, len(counts)), len(unique))
        return cls(unique, totals.astype(np.int64))

    def places_of(self, names: Sequence[str | None]) -> NDArray[np.int64]:
        """Return the position of each name; -1 for a value that training has not seen."""
        wanted = np.fromiter(map(hash_of, names), np.uint32, len(names))
        places = np.minimum(np.searchsorted(self.hashes, wanted), len(self.hashes) - 1)
        return np.where(self.hashes[places] == wanted, places, -1) if len(self.hashes) else np.full(len(names), -1)


def hash_of(name: str | None) -> int:
    """Return the CRC-32 of a value's text; the text of missing values has a byte that UTF-8 does not."""
    return zlib.crc32(b"\xff" if name is None else _whole(name).encode(errors="surrogatepass"))


def _whole(name: str) -> str:
    """Return the name of a number without decimals if these are zeros."""
    return name.partition(".")[0] if _WHOLE.fullmatch(name) else name


#: What a column without rare values has.
NO_LEVELS = RareLevels(np.empty(0, np.uint32), np.empty(0, np.int64))


@dataclass(frozen=True)
class Column:
    """A column of a table.

    ``levels`` are the levels of a categorical column, most frequent first; None is the level of missing values.
    ``counts`` are the training rows with each level, and last the rows with none of them. ``rare`` has the values
    of these last rows.

    ``knows_week`` is False for a column of times that spans too few dates in training to tell what is usual on each
    day of the week: all its times are then encoded as times of a Monday. ``knows_day`` is False if it spans less than a
    day, so that hours without training rows are not unusual.

    ``zone`` is the time zone that times had in training. Times with a zone, any zone, are read on its clock, so that
    the same instant scores the same. None reads them on the clock of their own zone.
    """

    name: str
    kind: str
    levels: tuple[str | None, ...] = ()
    counts: tuple[int, ...] = ()
    knows_week: bool = True
    knows_day: bool = True
    rare: RareLevels = field(default=NO_LEVELS, compare=False, repr=False)
    zone: str | None = None

    @property
    def width(self) -> int:
        """The number of elements: for a categorical column, one for each level and one for unknown levels."""
        return {"numeric": 1, "timestamp": 4}.get(self.kind, len(self.levels) + 1)

    @property
    def n_inputs(self) -> int:
        """The number of values in an encoded row."""
        return 4 if self.kind == "timestamp" else 1

    @property
    def level_names(self) -> list[str]:
        """The names of the levels, and of unknown levels last."""
        return [*(MISSING if level is None else level for level in self.levels), UNKNOWN]

    def places_of(self, names: Sequence[str]) -> list[int]:
        """Return the position of each name among the levels, or the number of levels for an unknown one.

        A whole number is the same with and without decimals, and a boolean is the same in all its spellings.
        """
        known = [level for level in self.levels if level is not None]
        is_boolean = bool(known) and {level.lower() for level in known} <= {"true", "false"}

        def normalised(name: str) -> str:
            whole = _whole(name)
            return _BOOLEANS.get(whole.strip().lower(), name) if is_boolean else whole

        places = {level: place for place, level in enumerate(self.levels) if level is not None}
        places = {normalised(level): place for level, place in places.items()} | places
        unknown = len(self.levels)
        return [places.get(name, places.get(normalised(name), unknown)) for name in names]

    def refusal(self, kind: Any, *, guessed: bool = False) -> str:
        """Return why no value of a type (of Arrow or pandas) can be a level of this column; empty if some can.

        If the type is ``guessed`` from text, the values may be codes that look like numbers.
        """
        known = [level for level in self.levels if level is not None]
        held = holds_numbers_or_booleans(kind)
        if not known or held is None:
            return ""
        named = ["1", "0"] if held == "numbers" else ["True", "False"]
        named += [name.lower() for name in named] if guessed else []
        unknown = len(self.levels)
        if min(self.places_of(named)) < unknown or (
            held == "numbers" and any(is_number_name(c, guessed) for c in known)
        ):
            return ""
        shown = ", ".join(known[:4]) + (", ..." if len(known) > 4 else "")
        return (
            f"column {self.name!r} holds {held} (its type is {kind}), which none of its levels in training is "
            f"({shown}): convert it to these levels, or fit again"
        )


def starts(columns: Sequence[Column]) -> list[int]:
    """Return the first element of each column."""
    return [0, *accumulate(column.width for column in columns)][:-1]


def input_starts(columns: Sequence[Column]) -> list[int]:
    """Return the first value of each column in an encoded row."""
    return [0, *accumulate(column.n_inputs for column in columns)][:-1]


def first_elements(columns: Sequence[Column]) -> NDArray[np.int64]:
    """Return the first element of each value of an encoded row."""
    return np.append(0, np.maximum(n_levels_of_inputs(columns), 1).cumsum())[:-1]


def n_levels_of_inputs(columns: Sequence[Column]) -> list[int]:
    """Return for each value of an encoded row how many elements it has as a level, or 0 if it is a number."""
    return [column.width if column.kind == "categorical" else 0 for column in columns for _ in range(column.n_inputs)]


def encode(table: Any, columns: Sequence[Column], *, masks_missing: bool) -> Array:
    """Return the rows as numbers (n, m). Missing values are NaN; in categorical columns only with ``masks_missing``.

    A number is one value, a time four (see `_circles`). A categorical column is the position of its level, the number
    of levels for a value that training has not seen, and one more than this plus the position in ``rare`` for a rare
    one.

    Raises
    ------
    ValueError
        If the values of a column are not of its kind, or their type cannot be its levels. The message names the column.
    """
    parts = [_encoded(values, column, masks_missing) for values, column in zip(parts_of(table), columns, strict=True)]
    rows = np.empty((len(table), sum(column.n_inputs for column in columns)), np.result_type(np.float32, *parts))
    for begin, column, part in zip(input_starts(columns), columns, parts, strict=True):
        rows[:, begin : begin + column.n_inputs] = part.reshape(len(rows), -1)
    return rows


def expanded(rows: Array, columns: Sequence[Column] | None) -> Array:
    """Return encoded rows (n, m) as the elements (n, D) that the network reads, before they are scaled.

    It is what the engine does with the rows of a block, for the few places that need elements in Python.
    """
    if columns is None:
        return rows
    elements = np.zeros((len(rows), sum(column.width for column in columns)), rows.dtype)
    for begin, at, column in zip(starts(columns), input_starts(columns), columns, strict=True):
        part = rows[:, at : at + column.n_inputs]
        if column.kind == "categorical":
            is_known = ~np.isnan(part[:, 0])
            level = np.minimum(part[is_known, 0].astype(np.int64), column.width - 1)
            elements[np.flatnonzero(is_known), begin + level] = 1
            elements[~is_known, begin : begin + column.width] = np.nan
        else:
            elements[:, begin : begin + column.width] = part
    return elements


def is_level(columns: Sequence[Column]) -> NDArray[np.bool_]:
    """Return which elements (D,) are levels."""
    return np.repeat([column.kind == "categorical" for column in columns], [column.width for column in columns])


def unknown_levels(rows: Array, columns: Sequence[Column]) -> dict[str, int]:
    """Return for each categorical column how many encoded rows have an unknown level."""
    return {
        column.name: int(np.count_nonzero(rows[:, at] >= len(column.levels)))
        for at, column in zip(input_starts(columns), columns, strict=True)
        if column.kind == "categorical"
    }


def by_kind(columns: Sequence[Column], of: str = "") -> list[tuple[str, str]]:
    """Return for each kind its columns, in words; ``of`` is added to the numbers of levels."""
    found = []
    for kind in KINDS:
        levels = [
            f" ({pluralise(len(column.levels), 'levels')}{of}{_others_of(column)})" if kind == "categorical" else ""
            for column in columns
        ]
        names = [column.name + text for column, text in zip(columns, levels, strict=True) if column.kind == kind]
        found += [(kind, list_names(names))] if names else []
    return found


def _others_of(column: Column) -> str:
    """Say how many training rows have other values than the levels; empty if hardly any."""
    share = column.counts[-1] / max(sum(column.counts), 1) if column.counts else 0.0
    return f"; {share:.0%} of the rows have others" if share >= LEAST_OTHERS else ""


def levels_of_each(columns: Sequence[Column]) -> list[tuple[str, str]]:
    """Return for each categorical column its first eight levels, in words."""
    found = []
    for column in columns:
        if column.kind == "categorical":
            *levels, _ = column.level_names
            more = f" and {len(levels) - 8} more" if len(levels) > 8 else ""
            found.append((f"levels of {column.name}", (", ".join(levels[:8]) or "none") + more))
    return found


def _encoded(values: Any, column: Column, masks_missing: bool) -> Array:
    """Return numbers (n,), points on circles (n, 4), or the levels of a categorical column (n,), NaN if masked."""
    try:
        values = in_zone(values, column.zone)
        if column.kind == "numeric":
            return numbers_of(values)
        if column.kind == "timestamp":
            seconds = seconds_since_1970(values)
            return _circles(seconds if column.knows_week else seconds % DAY - MONDAY)
        codes, names = levels_of(values)
    except (ValueError, TypeError, OverflowError, NotImplementedError) as error:
        if not has_values(values):  # then the type does not matter
            return _encoded(missing_values(len(values)), column, masks_missing)
        odd = odd_values(column.name, values) if column.kind == "numeric" else ""
        raise ValueError(
            odd
            or f"column {column.name!r} does not hold {_CONTENT[column.kind]} (its type is {type_of(values)}): "
            f"{' '.join(str(error).split())}"
        ) from error
    refusal = column.refusal(type_of(values)) if names else ""
    if refusal:
        raise ValueError(refusal)
    places = np.asarray([*column.places_of(names), len(column.levels)], dtype=np.float32)
    if None in column.levels:
        places[-1] = column.levels.index(None)
    unknown = np.flatnonzero(places == len(column.levels))
    if len(column.rare.hashes) and len(unknown):
        rare = column.rare.places_of([[*names, None][at] for at in unknown])
        places[unknown[rare >= 0]] += 1 + rare[rare >= 0]
    if masks_missing:
        places[-1] = np.nan
    found: Array = places[codes]
    return found


def hours_and_days(points: Array) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the hour, 0 to 23, and the day of the week, 0 for Monday, of times (n, 4) as `encode` returns them.

    The values for missing times have no meaning.
    """
    turns = np.nan_to_num(np.arctan2(points[:, ::2], points[:, 1::2]).astype(np.float64) / (2 * np.pi) % 1)
    # Whole hours come back with rounding errors.
    of_day, of_week = np.round(turns * [DAY, WEEK], 1 if points.dtype == np.float32 else 4).T
    return (of_day // 3600).astype(np.int64) % 24, (of_week // DAY).astype(np.int64) % 7


def moved_to_hours(points: Array, hours: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return times (n, 4), as `encode` returns them, at the beginning of other hours (n,) of their day of the week."""
    _, days = hours_and_days(points)
    return _circles(days * DAY + hours * 3600.0 - MONDAY)


def _circles(seconds: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return points (n, 4) on the circles of the day and the week: sine and cosine of each."""
    day, week = 2 * np.pi * (seconds % DAY) / DAY, 2 * np.pi * ((seconds + MONDAY) % WEEK) / WEEK  # midnight is 0
    return np.column_stack([np.sin(day), np.cos(day), np.sin(week), np.cos(week)])
