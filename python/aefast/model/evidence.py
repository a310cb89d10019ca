"""Evidence of the columns of a table that are not numbers alone: how rare a value is, by itself and beside others.

`docs/scores.md` describes the method. `aefast.training.evidence` fits what is here, the engine evaluates it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from aefast.columns.column import Column, hours_and_days, input_starts
from aefast.engine import core
from aefast.model.expected_levels import ExpectedLevel
from aefast.model.tail import Tail

Array = NDArray[Any]

HOURS, DAYS = 24, 7
#: The families of evidence: levels and numbers by themselves, states given others, and the numbers together.
FAMILIES = ("level", "number", "pair", "joint")
#: The steepest slope of a number's tails beyond their knots. The surprise of text and states is in nats already.
STEEPEST = 8.0
_SPREAD_OF_DECILES = 2.563
# Unit of a constant number, as a share of it, or of a constant 0.
_CONSTANT_SHARE, _CONSTANT_UNIT = 1e-6, 1e-9


class Context(NamedTuple):
    """One way to read a column as one of a few states: its level, the bin of its number, its hour or its weekday."""

    column: int
    kind: str  # level, number, hour or day
    input: int  # its first value in an encoded row
    n: int  # number of states; of a categorical column the learned levels, then one for all rare values


class Margin(NamedTuple):
    """How far out a number lies by itself: tails of asinh((x - centre) / scale) above and below."""

    centre: float
    scale: float
    above: Tail
    below: Tail

    @classmethod
    def of(cls, values: Array, weights: Array | None = None) -> Margin:
        """Return the margin of a column's known values, of which there is at least one."""
        low, centre, high = np.quantile(values, (0.1, 0.5, 0.9))
        scale = (high - low) / _SPREAD_OF_DECILES
        if not scale > 0:
            scale = float(np.abs(values - centre).mean())
        if not scale > _CONSTANT_SHARE * abs(centre):
            scale = _CONSTANT_SHARE * abs(centre) or _CONSTANT_UNIT
        at = np.arcsinh((values - centre) / scale)
        above, below = (Tail.of(each, weights, steepest=STEEPEST) for each in (at, -at))
        return cls(float(centre), float(scale), above, below)


class Target(NamedTuple):
    """A context whose state is evidence, given the states of other contexts, its parents.

    With the states a_c of the parents, log p(l | a) = log margin_l + sum_c log table_c[a_c, l] + constant: the table
    of a parent has its conditional probabilities over the margin, to the power of its weight.

    Attributes
    ----------
    context : int
    margin : ndarray of shape (n,), float32
    parents : tuple of int
        Numbers of contexts of other columns.
    tables : tuple of ndarray of shape (n of the parent, n), float32
    tail : Tail
        Of the surprise of training rows.
    left_margin, left_tables
        Factors of ``margin`` and ``tables`` for the own state of a training row that is left out, while a model is
        fitted.
    """

    context: int
    margin: NDArray[np.float32]
    parents: tuple[int, ...]
    tables: tuple[NDArray[np.float32], ...]
    tail: Tail
    left_margin: NDArray[np.float32] = np.empty(0, np.float32)
    left_tables: tuple[NDArray[np.float32], ...] = ()


@dataclass(frozen=True, eq=False)
class Evidence:
    """What a model knows about columns by themselves and given each other, and how it joins this with other evidence.

    Attributes
    ----------
    edges : tuple of ndarray
        For each numeric column the ascending edges between its bins, in input units.
    margins : tuple of Margin or None
        For each numeric column; None for one without values.
    targets : tuple of Target
        Levels, hours and numbers, given other columns.
    tails : tuple of Tail or None
        For each of `FAMILIES` the tail of its largest evidence; None if there is no such evidence.
    shifts : ndarray of shape (7,) or (0,)
        What is added to the scores of each weekday (see `aefast.model.weekdays`); empty if nothing is.
    hours : ndarray of shape (T, 24) or (0, 24)
        Training rows in each hour of the day, for each of T columns of times; 0 for columns whose hours are not known.
        Empty if no hour is evidence by itself.
    expected : tuple of ExpectedLevel
        What the network reads in place of missing levels; none for columns that training often lacked.
    """

    edges: tuple[NDArray[np.float64], ...]
    margins: tuple[Margin | None, ...]
    targets: tuple[Target, ...] = ()
    tails: tuple[Tail | None, ...] = (None,) * len(FAMILIES)
    shifts: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))
    hours: NDArray[np.float64] = field(default_factory=lambda: np.empty((0, HOURS)))
    expected: tuple[ExpectedLevel, ...] = ()

    def with_expected_levels(self, rows: Array, columns: Sequence[Column]) -> Array:
        """Return encoded rows with an expected level in place of each missing one that is ``expected``."""
        if not self.expected:
            return rows
        filled, starts = rows, input_starts(columns)
        for column, context, levels in self.expected:
            at = starts[column]
            gaps = np.flatnonzero(np.isnan(rows[:, at]))
            if len(gaps) == 0:
                continue
            states: Any = -1
            if context >= 0:
                contexts = contexts_of(columns, self.edges)
                n_before = sum(each.kind == "number" for each in contexts[:context])
                states = states_of(rows[gaps], [contexts[context]], self.edges[n_before:])[:, 0]
            filled = rows.copy() if filled is rows else filled
            filled[gaps, at] = levels[states]
        return filled

    def for_engine(
        self, columns: Sequence[Column], *, masks_missing: bool, n_threads: int, leaves_out: bool = False
    ) -> core.Evidence:
        """Return the evidence as the engine computes it; with ``leaves_out`` it can leave out training rows."""
        contexts, of_number, of_times = [], iter(zip(self.edges, self.margins, strict=True)), iter(self.hours)
        for context in contexts_of(columns, self.edges):
            spec: dict[str, Any] = context._asdict()
            if context.kind == "level":
                own = OwnEvidence.of(columns[context.column], masks_missing=masks_missing)
                spec["own"] = own.of_value
                if leaves_out:
                    spec["left_own"], spec["left_state"] = own.left_out, own.left_state
            elif context.kind == "number":
                spec["edges"], margin = next(of_number)
                if margin is not None:
                    spec["margin"] = tuple(margin)
            elif context.kind == "hour" and (counts := next(of_times, np.empty(0))).any():
                spec["own"], left_out = rarities(counts)
                spec |= {"left_own": left_out} if leaves_out else {}
            contexts.append(spec)
        none = np.empty(0, np.float32)
        targets = []
        for each in self.targets:
            left = each.left_tables if leaves_out else [none] * len(each.parents)
            parents = list(zip(each.parents, each.tables, left, strict=True))
            targets.append((each.context, each.margin, each.left_margin if leaves_out else none, parents, each.tail))
        n_inputs = sum(column.n_inputs for column in columns)
        return core.Evidence(len(columns), n_inputs, contexts, targets, list(self.tails), n_threads)

    def tensors(self) -> dict[str, Array]:
        """Return everything as arrays for the model file."""
        found: dict[str, Array] = {}
        for j, (edges, margin) in enumerate(zip(self.edges, self.margins, strict=True)):
            found[f"evidence.edges.{j}"] = edges
            if margin is not None:
                found[f"evidence.margin.{j}"] = np.array(margin[:2])
                found |= {f"evidence.margin.{j}.{side}": _packed(getattr(margin, side)) for side in ("above", "below")}
        for j, target in enumerate(self.targets):
            found[f"evidence.target.{j}"] = np.array([target.context, *target.parents], dtype=np.float64)
            found[f"evidence.target.{j}.margin"] = target.margin
            found[f"evidence.target.{j}.tail"] = _packed(target.tail)
            found |= {f"evidence.target.{j}.table.{i}": table for i, table in enumerate(target.tables)}
        found |= {"evidence.shifts": self.shifts} if len(self.shifts) else {}
        found |= {"evidence.hours": self.hours} if len(self.hours) else {}
        found |= {f"evidence.expected.{j}": each.packed() for j, each in enumerate(self.expected)}
        tails = zip(FAMILIES, self.tails, strict=True)
        return found | {f"evidence.tail.{name}": _packed(tail) for name, tail in tails if tail is not None}

    @classmethod
    def from_tensors(cls, tensors: dict[str, Array], columns: Sequence[Column]) -> Evidence | None:
        """Take the evidence out of the arrays of a model file; None if there is none.

        Raises
        ------
        ValueError or KeyError
            If an array does not fit the columns or the others.
        """
        if not any(name.startswith("evidence.") for name in tensors):
            return None
        n_numeric = sum(column.kind == "numeric" for column in columns)
        edges = tuple(_ascending(tensors.pop(f"evidence.edges.{j}")) for j in range(n_numeric))
        margins: list[Margin | None] = []
        for j in range(n_numeric):
            if f"evidence.margin.{j}" not in tensors:
                margins.append(None)
                continue
            centre, scale = tensors.pop(f"evidence.margin.{j}").astype(np.float64)
            if not (np.isfinite(centre) and 0 < scale < np.inf):
                raise ValueError("a margin needs a finite centre and a scale above 0")
            sides = (_unpacked(tensors.pop(f"evidence.margin.{j}.{side}")) for side in ("above", "below"))
            margins.append(Margin(float(centre), float(scale), *sides))
        contexts = contexts_of(columns, edges)
        targets: list[Target] = []
        while f"evidence.target.{len(targets)}" in tensors:
            targets.append(_target(tensors, f"evidence.target.{len(targets)}", contexts))
        names = [f"evidence.tail.{name}" for name in FAMILIES]
        tails = tuple(_unpacked(tensors.pop(name)) if name in tensors else None for name in names)
        shifts = tensors.pop("evidence.shifts", np.empty(0)).astype(np.float64)
        if shifts.shape not in ((0,), (DAYS,)) or not np.isfinite(shifts).all():
            raise ValueError("evidence.shifts has a wrong shape or holds NaN or infinity")
        hours = tensors.pop("evidence.hours", np.empty((0, HOURS))).astype(np.float64)
        n_times = sum(column.kind == "timestamp" for column in columns)
        if hours.shape not in ((0, HOURS), (n_times, HOURS)) or not (np.isfinite(hours) & (hours >= 0)).all():
            raise ValueError("evidence.hours has a wrong shape, or counts that are no counts")
        expected: list[ExpectedLevel] = []
        while (packed := tensors.pop(f"evidence.expected.{len(expected)}", None)) is not None:
            expected.append(ExpectedLevel.unpacked(packed, columns, contexts))
        return cls(edges, tuple(margins), tuple(targets), tails, shifts, hours, tuple(expected))


def contexts_of(columns: Sequence[Column], edges: Sequence[Array]) -> list[Context]:
    """Return the contexts of columns; ``edges`` are those of the numeric ones."""
    found, of_number = [], iter(edges)
    for index, (at, column) in enumerate(zip(input_starts(columns), columns, strict=True)):
        if column.kind == "categorical":
            found.append(Context(index, "level", at, column.width))
        elif column.kind == "numeric":
            found.append(Context(index, "number", at, len(next(of_number)) + 1))
        else:
            found.append(Context(index, "hour", at, HOURS))
            found += [Context(index, "day", at, DAYS)] if column.knows_week else []
    return found


def states_of(rows: Array, contexts: Sequence[Context], edges: Sequence[Array]) -> NDArray[np.int32]:
    """Return the state (n, K) of each context in encoded rows; -1 if it is missing or a value never seen."""
    states = np.empty((len(rows), len(contexts)), dtype=np.int32, order="F")
    of_number = iter(edges)
    for k, (_, kind, at, n) in enumerate(contexts):
        values = rows[:, at]
        is_missing = np.isnan(values)
        if kind == "level":
            found = np.where(is_missing | (values == n - 1), -1, np.minimum(np.nan_to_num(values), n - 1))
        elif kind == "number":
            found = np.where(is_missing, -1, np.searchsorted(next(of_number), values, side="right"))
        else:
            found = np.where(is_missing, -1, hours_and_days(rows[:, at : at + 4])[kind == "day"])
        states[:, k] = found
    return states


def rarities(counts: Array, n_lost: float = 0.0) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return how rare values that these numbers of training rows have are by themselves, in nats.

    It is -log of the share of training rows whose value is at most as frequent. ``n_lost`` further rows each had a
    value of its own.

    Returns
    -------
    of_value, left_out : ndarray of the shape of ``counts``
        The latter for a training row, as if training had not had it.
    """
    n = counts.sum() + n_lost
    sizes, at = np.unique(counts, return_inverse=True)
    up_to = np.bincount(at, counts).cumsum() + np.where(sizes >= 1, n_lost, 0)
    before = np.append(0.0, up_to)[at]  # rows of the values that are rarer
    left_out = np.maximum(-np.log((before + np.maximum(counts - 1, 0) + 0.5) / max(n, 1)), 0)
    return -np.log((up_to[at] + 0.5) / (n + 1)), left_out


class OwnEvidence(NamedTuple):
    """How rare each value of a categorical column is by itself, in nats.

    The evidence is that of `rarities`. A value that training has not seen has the probability of all such values
    together (Good 1953), halved, so that it is rarer than any other.

    Attributes
    ----------
    of_value : ndarray of shape (L + 1 + K,), float64
        Evidence of the learned levels, of a value never seen, and of the K rare values: the order of `encode`.
    left_out : ndarray of the same shape
        The same for a training row, as if training had not had it.
    left_state : ndarray of the same shape, int32
        The state of its value then: a level that is left with one row is rare, and a value with none was never seen.
    """

    of_value: NDArray[np.float64]
    left_out: NDArray[np.float64]
    left_state: NDArray[np.int32]

    @classmethod
    def of(cls, column: Column, *, masks_missing: bool) -> OwnEvidence:
        """Return the evidence of a column's values; a missing value is none of them if it is masked."""
        learned = np.array(column.counts[:-1], dtype=np.float64)
        if masks_missing and None in column.levels:
            learned[column.levels.index(None)] = 0
        rare = column.rare.counts.astype(np.float64)
        # Values of single rows whose text was not kept.
        n_lost = max(0.0, column.counts[-1] - rare.sum()) if column.counts else 0.0
        counts = np.concatenate([learned, [0.0], rare])
        n, n_single = counts.sum() + n_lost, np.count_nonzero(counts == 1) + n_lost
        of_value, left_out = rarities(counts, n_lost)
        of_value[len(learned)] = -np.log(0.5 * (n_single + 1) / (n + 1))
        left_out[counts <= 1] = -np.log(0.5 * max(n_single, 1) / max(n, 1))
        left_state = np.minimum(np.arange(len(counts)), len(learned))
        left_state[: len(learned)][learned == 2] = len(learned)
        left_state[counts <= 1] = -1
        return cls(of_value, left_out, left_state.astype(np.int32))


def _packed(tail: Tail) -> Array:
    return np.array([[*tail.knots, tail.slope], [*tail.nats, 0.0]])


def _unpacked(packed: Array) -> Tail:
    if packed.ndim != 2 or packed.shape[0] != 2 or packed.shape[1] < 2 or not np.isfinite(packed).all():
        raise ValueError("a tail has the wrong shape or holds NaN or infinity")
    packed = packed.astype(np.float64)
    tail = Tail(packed[0, :-1], packed[1, :-1], float(packed[0, -1]))
    if (np.diff(tail.knots) <= 0).any() or (np.diff(tail.nats) < 0).any() or tail.nats[0] < 0 or tail.slope < 0:
        raise ValueError("the knots of a tail must ascend")
    return tail


def _ascending(edges: Array) -> NDArray[np.float64]:
    if edges.ndim != 1 or len(edges) > 255 or not np.isfinite(edges).all() or (np.diff(edges) <= 0).any():
        raise ValueError("the edges of bins must ascend")
    return edges.astype(np.float64)


def _target(tensors: dict[str, Array], name: str, contexts: Sequence[Context]) -> Target:
    numbers = tensors.pop(name)
    is_sound = numbers.ndim == 1 and 2 <= len(numbers) <= 4 and (numbers == np.floor(numbers)).all()
    if not is_sound or (numbers < 0).any() or (numbers >= len(contexts)).any():
        raise ValueError(f"tensor {name!r} does not name contexts")
    context, *parents = numbers.astype(int).tolist()
    margin = tensors.pop(f"{name}.margin").astype(np.float32)
    tables = [tensors.pop(f"{name}.table.{i}").astype(np.float32) for i in range(len(parents))]
    n = contexts[context].n
    fits = margin.shape == (n,) and all(
        table.shape == (contexts[parent].n, n) for parent, table in zip(parents, tables, strict=True)
    )
    if not fits or not all((each > 0).all() and np.isfinite(each).all() for each in (margin, *tables)):
        raise ValueError(f"the tables of {name!r} do not fit its contexts")
    return Target(context, margin, tuple(parents), tuple(tables), _unpacked(tensors.pop(f"{name}.tail")))
