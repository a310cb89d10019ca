"""Kinds and levels of columns, learned from training rows that may come in blocks."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from aefast.columns.column import (
    KINDS,
    MAX_LEVELS,
    Column,
    has_values,
    infer_kind,
    levels_of,
    names_of,
    parts_of,
    type_of,
)

#: Levels of a column that are counted before the rarest are forgotten.
MAX_COUNTED = 1 << 18
#: Of text whose values come more than once in so few of the rows, there is nothing to learn.
LEAST_REPEATED = 0.1
#: How numbers are written, and as cells of text, where blanks may stand beside them.
NUMBER = r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?"
AS_NUMBER = re.compile(rf"\s*{NUMBER}\s*")


def learn_columns(table: Any, kinds: Mapping[str, str] | None) -> tuple[Column, ...] | None:
    """The columns of a pandas data frame or an Arrow table; None where all of them are numbers as they stand.

    Parameters
    ----------
    table : pandas.DataFrame or pyarrow.Table
        The training rows.
    kinds : mapping of str to str, or None
        Kinds of columns that are not to be inferred.

    Raises
    ------
    ValueError
        If a column is of no kind that can be learned, or ``kinds`` names something that is not there.
    """
    return ColumnLearner(table, kinds).columns()


class ColumnLearner:
    """The same from a table that comes in blocks, of which only the counts of levels are kept.

    A column's kind is that of the first block in which it has a value.
    """

    def __init__(self, table: Any, kinds: Mapping[str, str] | None) -> None:
        names, given = names_of(table), dict(kinds or {})
        for name, kind in given.items():
            if name not in names:
                raise ValueError(f"column_kinds names {name!r}, which is not a column: they are {', '.join(names)}")
            if kind not in KINDS:
                raise ValueError(f"column_kinds: {name!r} must be one of {', '.join(KINDS)}, got {kind!r}")
        self._given = given
        self._kinds: dict[str, str] = {}
        self._counts: dict[str, LevelCounts] = {name: LevelCounts() for name in names}
        self.add(table)

    @property
    def unsettled(self) -> list[str]:
        """The columns of which other blocks may say something new."""
        return [n for n, counts in self._counts.items() if self._kinds[n] == "categorical" or not counts.has_values]

    def add(self, table: Any) -> None:
        """Take in another block, which may have the unsettled columns alone."""
        parts = {
            name: values for name, values in zip(names_of(table), parts_of(table), strict=True) if name in self._counts
        }
        for name, values in parts.items():
            if not self._counts[name].has_values:
                kind = self._given.get(name) or infer_kind(values)
                if kind is None:
                    raise ValueError(
                        f"column {name!r} can neither be learned as numbers nor as levels nor as times (its type is "
                        f"{type_of(values)}): convert it or leave it out (--exclude {name})"
                    )
                if name not in self._kinds or has_values(values):
                    self._kinds[name] = kind
        for name, values in parts.items():
            self._counts[name].add(values, of_levels=self._kinds[name] == "categorical")

    def refusal(self) -> str:
        """Why a column that would be categorical by its type alone is not to be learned, empty where all are."""
        for name, kind in self._kinds.items():
            if kind == "categorical" and name not in self._given:
                reason = self._counts[name].refusal()
                if reason:
                    return (
                        f"column {name!r} {reason}: leave it out (--exclude {name}), or say that it is numeric, a "
                        f"timestamp or categorical all the same (column_kinds, --kind-of {name}=...)"
                    )
        return ""

    def columns(self) -> tuple[Column, ...] | None:
        """What was learned; None where all columns are numbers as they stand."""
        if not self._given and set(self._kinds.values()) <= {"numeric"}:
            return None
        found = []
        for name, kind in self._kinds.items():
            levels, counts = self._counts[name].most_frequent() if kind == "categorical" else ((), ())
            found.append(Column(name, kind, levels, counts))
        return tuple(found)


class LevelCounts:
    """How many rows of a column have each level, in memory that does not grow with the rows.

    Of more than ``MAX_COUNTED`` levels the rarest are forgotten, and all counts fall by that of the most frequent of
    those (Agarwal et al. 2012, section 3), which is at most 2 / ``MAX_COUNTED`` of the rows.
    """

    def __init__(self) -> None:
        self.has_values = False
        self._by_name: dict[str | None, int] = {}
        self._n_rows = self._n_missing = 0
        #: Levels that do not look like numbers, and the first of them.
        self._n_words, self._word = 0, ""

    def add(self, values: Any, *, of_levels: bool) -> None:
        """Count the rows of a block, or only ask whether there are values."""
        self._n_rows += len(values)
        if not has_values(values):
            self._by_name[None] = self._by_name.get(None, 0) + len(values)
            self._n_missing += len(values)
            return
        self.has_values = True
        if not of_levels:
            return
        codes, names = levels_of(values)
        words = [name for name in names if name not in self._by_name and not AS_NUMBER.fullmatch(name)]
        self._n_words, self._word = self._n_words + len(words), self._word or (words[0] if words else "")
        self._n_missing += int(np.count_nonzero(codes == len(names)))
        for name, count in zip([*names, None], np.bincount(codes, minlength=len(names) + 1), strict=True):
            if count:
                self._by_name[name] = self._by_name.get(name, 0) + int(count)
        if len(self._by_name) > MAX_COUNTED:
            least = sorted(self._by_name.values())[-MAX_COUNTED // 2]
            self._by_name = {name: count - least for name, count in self._by_name.items() if count > least}

    def refusal(self) -> str:
        """Why there is next to nothing to learn, if so: nearly every value is there once, as in names of rows."""
        n_values = self._n_rows - self._n_missing
        n_repeated = sum(count for name, count in self._by_name.items() if count > 1 and name is not None)
        # Of two rows each may well have a level of its own.
        if n_values <= 2 or n_repeated >= LEAST_REPEATED * n_values:
            return ""
        if self._n_words < LEAST_REPEATED * n_values:
            numbers = (
                f"all but {self._n_words}, like {self._word!r}, look like numbers: mend or drop those rows"
                if self._n_words
                else "numbers"
            )
            return f"is text of {n_values} values that nearly all differ ({numbers})"
        return f"is text of {n_values} values that nearly all differ, like {self._word!r}, so that none can be learned"

    def most_frequent(self) -> tuple[tuple[str | None, ...], tuple[int, ...]]:
        """The levels to tell apart, and how many rows have each; a level of one row is as good as unknown."""
        ordered = sorted(self._by_name.items(), key=lambda item: (-item[1], item[0] is None, item[0] or ""))
        kept = [(name, count) for name, count in ordered if count > 1][:MAX_LEVELS]
        counts = [count for _, count in kept]
        return tuple(name for name, _ in kept), (*counts, self._n_rows - sum(counts))
