"""Columns of a table: their kinds and levels, and how their values become numbers for a network.

A ``numeric`` column stays one number. A ``categorical`` column (text, booleans, categories) becomes one element for
each of its levels: 1 for the level of the row, 0 for the others. The first layer multiplies these elements with a
learned vector for each level, an embedding (Guo and Berkhahn 2016), and the network returns a probability for each
level. A ``timestamp`` becomes two points on circles, its place in the day and in the week, so that Sunday night is
close to Monday morning. The date itself is left out, because every future row is later than all training rows; the kind
``numeric`` keeps it, in seconds since 1970.

Levels are compared by their text, whatever type a table has for them: a whole number is the same with and without
decimals, and if all levels are true and false, then yes and no, 1 and 0 are the same too. A column of numbers or
booleans is refused if none of the levels can be one: every row would be equally abnormal.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aefast.columns.times import seconds_since_1970
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
_DAY, _WEEK = 86_400.0, 604_800.0
_MONDAY = 3 * _DAY  # 1 January 1970 was a Thursday, three days after a Monday


@dataclass(frozen=True)
class Column:
    """A column of a table.

    ``levels`` are the levels of a categorical column, most frequent first; None is the level of missing values.
    ``counts`` are the training rows with each level, and last the rows with none of them.
    """

    name: str
    kind: str
    levels: tuple[str | None, ...] = ()
    counts: tuple[int, ...] = ()

    @property
    def width(self) -> int:
        """The number of elements: for a categorical column, one for each level and one for unknown levels."""
        return {"numeric": 1, "timestamp": 4}.get(self.kind, len(self.levels) + 1)

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
            whole = name.partition(".")[0] if _WHOLE.fullmatch(name) else name
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


def encode(table: Any, columns: Sequence[Column], *, masks_missing: bool) -> Array:
    """Return the rows as numbers (n, D). Missing values are NaN; in categorical columns only with ``masks_missing``.

    Raises
    ------
    ValueError
        If the values of a column are not of its kind, or their type cannot be its levels. The message names the column.
    """
    parts = [_encoded(values, column, masks_missing) for values, column in zip(parts_of(table), columns, strict=True)]
    numbers = [part for column, part in zip(columns, parts, strict=True) if column.kind != "categorical"]
    rows = np.zeros((len(table), sum(column.width for column in columns)), np.result_type(np.float32, *numbers))
    for begin, column, part in zip(starts(columns), columns, parts, strict=True):
        if column.kind != "categorical":
            rows[:, begin : begin + column.width] = part.reshape(len(rows), -1)
            continue
        is_known = part >= 0
        rows[np.flatnonzero(is_known), begin + part[is_known]] = 1
        rows[~is_known, begin : begin + column.width] = np.nan
    return rows


def is_level(columns: Sequence[Column]) -> NDArray[np.bool_]:
    """Return which elements (D,) are levels."""
    return np.repeat([column.kind == "categorical" for column in columns], [column.width for column in columns])


def unknown_levels(rows: Array, columns: Sequence[Column]) -> dict[str, int]:
    """Return for each categorical column how many encoded rows have an unknown level."""
    last = {
        c.name: begin + c.width - 1
        for begin, c in zip(starts(columns), columns, strict=True)
        if c.kind == "categorical"
    }
    return {name: int(np.count_nonzero(rows[:, element] == 1)) for name, element in last.items()}


def by_kind(columns: Sequence[Column], of: str = "") -> list[tuple[str, str]]:
    """Return for each kind its columns, in words; ``of`` is added to the numbers of levels."""
    found = []
    for kind in KINDS:
        levels = [
            f" ({pluralise(len(column.levels), 'levels')}{of})" if kind == "categorical" else "" for column in columns
        ]
        names = [column.name + text for column, text in zip(columns, levels, strict=True) if column.kind == kind]
        found += [(kind, list_names(names))] if names else []
    return found


def levels_of_each(columns: Sequence[Column], most: int = 8) -> list[tuple[str, str]]:
    """Return for each categorical column its first levels, in words."""
    found = []
    for column in columns:
        if column.kind == "categorical":
            *levels, _ = column.level_names
            more = f" and {len(levels) - most} more" if len(levels) > most else ""
            found.append((f"levels of {column.name}", (", ".join(levels[:most]) or "none") + more))
    return found


def _encoded(values: Any, column: Column, masks_missing: bool) -> Array:
    """Return numbers (n,), points on circles (n, 4), or the levels of a categorical column (n,), -1 if masked."""
    try:
        if column.kind == "numeric":
            return numbers_of(values)
        if column.kind == "timestamp":
            return _circles(seconds_since_1970(values))
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
    missing = column.levels.index(None) if None in column.levels else len(column.levels)
    return np.asarray([*column.places_of(names), -1 if masks_missing else missing], dtype=np.int64)[codes]


def _circles(seconds: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return points (n, 4) on the circles of the day and the week: sine and cosine of each."""
    day, week = (2 * np.pi * seconds / _DAY) % (2 * np.pi), (2 * np.pi * (seconds + _MONDAY) / _WEEK) % (2 * np.pi)
    return np.column_stack([np.sin(day), np.cos(day), np.sin(week), np.cos(week)])
