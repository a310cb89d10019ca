"""Columns of a table in a program: what the network reads of them, and the states that evidence is about."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aefast.columns.column import DAY, MONDAY, NO_LEVELS, WEEK, Column, hash_of
from aefast.columns.values import levels_of, names_of, parts_of
from aefast.export.program import Program, Value
from aefast.model.evidence import DAYS, HOURS, Context, OwnEvidence
from aefast.tables.collect import collected, table_of

Array = NDArray[Any]

_HOUR = 3600.0
# Times are rounded to tenths of a millisecond before their hour is taken.
_HALF_A_STEP = 0.5e-4
_SPELLINGS = ("true", "false", "True", "False", "TRUE", "FALSE", "yes", "no", "1", "0")


class ReadColumn:
    """A column as values of a program.

    Parameters
    ----------
    program : Program
    column : Column
    masks_missing : bool
        Whether a missing level is NaN, and not a level.
    is_joined : bool
        Whether the score tells rare values from those never seen.
    texts : sequence of str
        Texts that may be rare values. The model knows these by their hashes only.

    Attributes
    ----------
    value : Value
        The number, the seconds since 1970, or the number of the level: the learned levels, then the value never seen,
        then groups of rare values that are equally rare.
    evidence : ndarray
        Of a categorical column, if ``is_joined``: the evidence of each of these numbers, and 0 for a missing value.
    """

    def __init__(
        self, program: Program, column: Column, *, masks_missing: bool, is_joined: bool, texts: Sequence[str]
    ) -> None:
        self.column: Column = column
        self._program = program
        if column.kind != "categorical":
            is_time = column.kind == "timestamp"
            self.value: Value = program.read(column.name, "double", is_time=is_time, zone=column.zone)
            return
        unseen, levels = len(column.levels), _spellings(column)
        missing: float = column.levels.index(None) if None in column.levels else unseen
        rare = NO_LEVELS
        groups = np.empty(0, np.int64)
        if is_joined:
            rare = column.rare
            own = OwnEvidence.of(column, masks_missing=masks_missing).of_value
            of_rare, groups = np.unique(own[unseen + 1 :], return_inverse=True)
            self.evidence: NDArray[np.float64] = np.concatenate([own[: unseen + 1], of_rare, [0.0]])
        groups = unseen + 1 + groups
        if rare.places_of([None])[0] >= 0:
            missing = groups[rare.places_of([None])[0]]
        texts = [*texts, *_with_decimal(texts)]
        found = [(text, at) for text, at in zip(texts, rare.places_of(texts), strict=True) if at >= 0]
        levels |= {text: int(groups[at]) for text, at in found}
        is_hidden = ~np.isin(np.arange(len(groups)), [at for _, at in found])
        is_hidden &= rare.hashes != hash_of(None)
        self.value = program.add(
            "level",
            program.read(column.name, "text"),
            kind="double",
            levels=levels,
            missing=np.nan if masks_missing else float(missing),
            unseen=unseen,
            hashes=rare.hashes[is_hidden],
            places=groups[is_hidden],
        )

    def elements(self, expected: Value | None = None) -> Value:
        """Return the elements that the network reads; ``expected`` is the number of the level if it is missing."""
        program, column = self._program, self.column
        if column.kind == "numeric":
            return self.value
        if column.kind == "categorical":
            value = self.value
            if expected is not None:
                value = program.add("choose", program.add("is_known", value), value, expected)
            return program.add("one_hot", value, width=column.width, n=column.width)
        of_day, of_week = program.modulo(self.value, DAY), program.modulo(program.affine(self.value, 1, MONDAY), WEEK)
        if not column.knows_week:
            of_week = of_day
        angles = [program.affine(seconds, 2 * np.pi / length) for seconds, length in ((of_day, DAY), (of_week, WEEK))]
        return program.join(*(program.add(op, angle) for angle in angles for op in ("sin", "cos")))

    def state(self, context: Context, edges: Array) -> Value:
        """Return the state of the column in a context; NaN or less than 0 if it is not known."""
        program, n = self._program, context.n
        if context.kind == "number":  # the number of edges at or below it
            steps = np.nextafter(edges, -np.inf)
            return program.add("look_up", self.value, steps=steps, answers=np.arange(n, dtype=np.float64))
        if context.kind == "level":
            states = np.full(len(self.evidence), n - 1.0)
            states[: n - 1] = np.arange(n - 1)
            states[[n - 1, -1]] = -1  # a value never seen, and a missing one
            return program.row_of(self.value, states[:, None])
        return self.hour() if context.kind == "hour" else self.weekday()

    def hour(self) -> Value:
        """Return the hour of the times; NaN if it is not known."""
        return self._whole_units(0.0, _HOUR, HOURS)

    def weekday(self) -> Value:
        """Return the weekday of the times, 0 for Monday; NaN if it is not known."""
        return self._whole_units(MONDAY, DAY, DAYS)

    def _whole_units(self, start: float, unit: float, n_units: int) -> Value:
        program = self._program
        seconds = program.modulo(program.affine(self.value, 1, start + _HALF_A_STEP), unit * n_units)
        return program.clip(program.add("floor", program.affine(seconds, 1 / unit)), 0, n_units - 1)


def texts_of(values: Any, columns: Sequence[Column]) -> dict[str, list[str]]:
    """Return the texts in the categorical columns of a data frame or an Arrow table."""
    table = table_of(collected(values))
    if table is None:
        raise TypeError(f"values must be a data frame or an Arrow table, got {type(values).__name__}")
    found = dict(zip(names_of(table), parts_of(table), strict=True))
    wanted = [column.name for column in columns if column.kind == "categorical"]
    lacking = [name for name in wanted if name not in found]
    if lacking:
        raise ValueError(f"values has no column {lacking[0]!r}, which the model was fitted on")
    return {name: levels_of(found[name])[1] for name in wanted}


def _spellings(column: Column) -> dict[str, int]:
    """Return the place of each level by its text, of numbers also with a decimal, of truth values as usual."""
    names = [level for level in column.levels if level is not None]
    names += [*_with_decimal(names), *_SPELLINGS]
    return {name: at for name, at in zip(names, column.places_of(names), strict=True) if at < len(column.levels)}


def _with_decimal(names: Sequence[str]) -> list[str]:
    """Return the names of whole numbers as they are written with a decimal."""
    return [f"{name}.0" for name in names if re.fullmatch(r"-?\d+", name)]
