"""Learns the kinds and levels of columns from training rows, which may come in blocks."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aefast.columns.column import DAY, KINDS, MAX_COUNTED, MAX_LEVELS, Column, RareLevels, unknown_levels
from aefast.columns.times import in_zone, seconds_since_1970, zone_of
from aefast.columns.values import has_values, infer_kind, levels_of, names_of, parts_of, type_of
from aefast.tables.collect import Blocks, table_of
from aefast.tables.numbers import odd_values
from aefast.tables.text import NUMBER_CELL, option_of

Array = NDArray[Any]

#: The distinct dates in training that suffice to know what is usual on a day of the week: those of two weeks.
WEEK_DATES = 14
#: The date of times of the day alone, in days since 1970.
CLOCK_DATE = 0
#: The least share of rows with a value that occurs more than once, for text to be learned.
LEAST_REPEATED = 0.1


def learn_from_blocks(
    first: Any, blocks: Iterable[Any], kinds: Mapping[str, str] | None
) -> tuple[tuple[Column, ...] | None, str] | None:
    """Learn columns from all of the ``blocks``, of which ``first`` is the first.

    Blocks with a method ``only`` are asked for the columns that further blocks can change; others are read whole.

    Returns
    -------
    columns, refusal
        See `ColumnLearner`. None if the first block decides everything.
    """
    table = table_of(first)
    learner = None if table is None else ColumnLearner(table, kinds)
    if learner is None or not learner.unsettled:
        return None
    for index, block in enumerate(Blocks(blocks).only(learner.unsettled)):
        table = table_of(block)
        if index > 0 and table is not None:
            learner.add(table)
    return learner.columns(), learner.refusal()


class ColumnLearner:
    """Learns columns from a table that comes in blocks. It keeps only the counts of levels.

    The first block in which a column has a value decides its kind.
    """

    def __init__(self, table: Any, kinds: Mapping[str, str] | None) -> None:
        names, given = names_of(table), {str(name): kind for name, kind in (kinds or {}).items()}
        for name, kind in given.items():
            if name not in names:
                raise ValueError(f"column_kinds names {name!r}, which is not a column: they are {', '.join(names)}")
            if kind not in KINDS:
                raise ValueError(f"column_kinds: {name!r} must be one of {', '.join(KINDS)}, got {kind!r}")
        self._given = given
        self._kinds: dict[str, str] = {}
        self._zones: dict[str, str | None] = {}
        self._counts: dict[str, LevelCounts] = {name: LevelCounts() for name in names}
        self._dates: dict[str, Dates] = {}
        self.add(table)

    @property
    def unsettled(self) -> list[str]:
        """The columns that further blocks can change: categorical ones, times, and those without a value so far."""
        return [n for n, counts in self._counts.items() if self._kinds[n] != "numeric" or not counts.has_values]

    def add(self, table: Any) -> None:
        """Learn from another block, which may have the unsettled columns only."""
        parts = {
            name: values for name, values in zip(names_of(table), parts_of(table), strict=True) if name in self._counts
        }
        for name, values in parts.items():
            if not self._counts[name].has_values:
                kind = self._given.get(name) or infer_kind(values)
                if kind is None:
                    raise ValueError(
                        odd_values(name, values)
                        or f"column {name!r} can be learned neither as numbers nor as levels nor as times (its type is "
                        f"{type_of(values)}): convert it or leave it out (--exclude {option_of([name])})"
                    )
                if name not in self._kinds or has_values(values):
                    self._kinds[name], self._zones[name] = kind, zone_of(values)
        for name, values in parts.items():
            self._counts[name].add(values, of_levels=self._kinds[name] == "categorical")
            if self._kinds[name] == "timestamp":
                self._dates.setdefault(name, Dates()).add(in_zone(values, self._zones[name]))

    def refusal(self) -> str:
        """Return why a column, inferred to be categorical, should not be learned; empty if all columns are fine."""
        for name, kind in self._kinds.items():
            if kind == "categorical" and name not in self._given:
                reason = self._counts[name].refusal()
                if reason:
                    return (
                        f"column {name!r} {reason}; leave it out (--exclude {option_of([name])}) or set its kind "
                        f"(column_kinds, --kind-of {option_of([name], '=categorical')})"
                    )
        return ""

    def columns(self) -> tuple[Column, ...] | None:
        """Return the columns learned so far; None if all of them are numbers already."""
        if not self._given and set(self._kinds.values()) <= {"numeric"}:
            return None
        found = []
        for name, kind in self._kinds.items():
            zone = self._zones[name]
            if kind == "timestamp":
                dates = self._dates[name]
                found.append(Column(name, kind, knows_week=dates.knows_week, knows_day=dates.knows_day, zone=zone))
            elif kind == "categorical":
                found.append(self._counts[name].column(name))
            else:
                found.append(Column(name, kind, zone=zone))
        return tuple(found)


class Dates:
    """What a column of times spans in training: the distinct dates, up to `WEEK_DATES` of them, and the time."""

    def __init__(self) -> None:
        self._dates: set[int] = set()
        self._first, self._last = np.inf, -np.inf

    def add(self, values: Any) -> None:
        """Look at the times of a block."""
        try:
            seconds = seconds_since_1970(values)
        except (ValueError, TypeError, OverflowError, NotImplementedError):
            return  # encode raises the error with the column's name
        seconds = seconds[np.isfinite(seconds)]
        if len(seconds):
            self._first, self._last = min(self._first, seconds.min()), max(self._last, seconds.max())
        if len(self._dates) < WEEK_DATES:
            self._dates.update(np.unique(seconds // DAY).astype(np.int64)[:WEEK_DATES].tolist())

    @property
    def knows_week(self) -> bool:
        """Whether there were enough dates to tell what is usual on each day of the week."""
        return len(self._dates) >= WEEK_DATES

    @property
    def knows_day(self) -> bool:
        """Whether the times span a day. Times of the day alone are of any day."""
        return bool(self._last - self._first >= DAY) or self._dates == {CLOCK_DATE}


class LevelCounts:
    """Counts the rows of a column with each level, in memory that does not grow with the rows.

    If there are more than ``MAX_COUNTED`` levels, the rarest are dropped, and all counts are reduced by the count of
    the most frequent dropped level (Agarwal et al. 2012, section 3): at most 2 / ``MAX_COUNTED`` of the rows.
    """

    def __init__(self) -> None:
        self.has_values: bool = False
        self._by_name: dict[str | None, int] = {}
        self._n_rows = self._n_missing = 0
        #: The number of levels that do not look like numbers, and the first such level.
        self._n_words, self._word = 0, ""

    def add(self, values: Any, *, of_levels: bool) -> None:
        """Count the rows of a block; unless ``of_levels``, only note whether there are values."""
        self._n_rows += len(values)
        if not has_values(values):
            self._by_name[None] = self._by_name.get(None, 0) + len(values)
            self._n_missing += len(values)
            return
        self.has_values = True
        if not of_levels:
            return
        codes, names = levels_of(values)
        words = [name for name in names if name not in self._by_name and not NUMBER_CELL.fullmatch(name)]
        self._n_words, self._word = self._n_words + len(words), self._word or (words[0] if words else "")
        self._n_missing += int(np.count_nonzero(codes == len(names)))
        for name, count in zip([*names, None], np.bincount(codes, minlength=len(names) + 1), strict=True):
            if count:
                self._by_name[name] = self._by_name.get(name, 0) + int(count)
        if len(self._by_name) > MAX_COUNTED:
            least = sorted(self._by_name.values())[-MAX_COUNTED // 2]
            self._by_name = {name: count - least for name, count in self._by_name.items() if count > least}

    @property
    def are_names(self) -> bool:
        """Whether nearly every value occurs once, as in identifiers, and the values do not look like numbers."""
        return self._differ and self._n_words >= LEAST_REPEATED * (self._n_rows - self._n_missing)

    @property
    def _differ(self) -> bool:
        n_values = self._n_rows - self._n_missing
        n_repeated = sum(count for name, count in self._by_name.items() if count > 1 and name is not None)
        # Two rows may well have different levels.
        return n_values > 2 and n_repeated < LEAST_REPEATED * n_values

    @property
    def odd_numbers(self) -> str:
        """How many levels are no numbers, if nearly all levels differ and most look like numbers; else empty."""
        if not self._differ or self.are_names or not self._n_words:
            return ""
        return f"all but {self._n_words}, like {self._word!r}, look like numbers"

    def refusal(self) -> str:
        """Return why the levels cannot be learned: nearly every value occurs once. Empty if they can."""
        n_values = self._n_rows - self._n_missing
        if not self._differ:
            return ""
        if not self.are_names:
            numbers = f"{self.odd_numbers}: correct or drop those rows" if self.odd_numbers else "numbers"
            return f"is text of {n_values} values that nearly all differ ({numbers})"
        return f"is text of {n_values} values that nearly all differ, like {self._word[:30]!r}"

    def column(self, name: str) -> Column:
        """Return the column of these levels; a level of a single row counts as unknown."""
        ordered = sorted(self._by_name.items(), key=lambda item: (-item[1], item[0] is None, item[0] or ""))
        n_kept = min(MAX_LEVELS, sum(count > 1 for _, count in ordered))
        kept, rare = ordered[:n_kept], ordered[n_kept:]
        counts = [count for _, count in kept]
        levels = tuple(level for level, _ in kept)
        rows = (*counts, self._n_rows - sum(counts))
        return Column(name, "categorical", levels, rows, rare=RareLevels.of(dict(rare)))


class UnknownLevels:
    """Counts training rows with levels that the columns do not have."""

    def __init__(self, columns: tuple[Column, ...] | None) -> None:
        self._columns = columns
        self._counts: Counter[str] = Counter()
        self._n_rows = 0

    def add(self, rows: Array) -> None:
        """Count the unknown levels of encoded rows."""
        if self._columns is not None:
            self._counts.update(unknown_levels(rows, self._columns))
            self._n_rows += len(rows)

    def warn(self, where: str, remedy: str, *, stacklevel: int = 3) -> None:
        """Warn if there were any; ``where`` names the rows that the levels come from."""
        found = [f"{name!r} ({count})" for name, count in self._counts.items() if count]
        if found:
            warnings.warn(
                f"levels come from {where}: of {self._n_rows} later rows, some have levels that were not learned "
                f"there and count as unknown, in {', '.join(found)}; {remedy}",
                stacklevel=stacklevel,
            )
