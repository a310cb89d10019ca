"""The training rows that describe the columns of a model: a random choice of all rows, and of the rows of some days."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aefast.columns.column import Column
from aefast.columns.contents import contents, days_of
from aefast.model.calibration import Calibration, known_errors
from aefast.model.drift import Drift, drift_of, structural
from aefast.model.model import Model
from aefast.model.reference import ColumnCounter, ColumnCounts, Reference, edges_of, runs
from aefast.model.scaling import FeatureScaling
from aefast.tables.groups import take
from aefast.tables.text import quote_names
from aefast.training.data import MAX_ROWS, REFERENCE, Choices
from aefast.training.reservoir import Reservoir

Array = NDArray[Any]

#: Values that are kept, in all columns together, and the rows that are kept in any case.
MAX_VALUES, LEAST_ROWS = 1 << 22, 1000
#: The fewest days that are compared, the most (of more days, some are chosen), and the rows of each.
LEAST_DAYS, MOST_DAYS, ROWS_OF_A_DAY = 14, 64, 512
#: Without days, runs of consecutive rows are compared: their number for columns and scores, and the least rows of a run
#: and of consecutive days.
RUNS, SCORE_RUNS, LEAST_ROWS_OF_A_RUN, LEAST_ROWS_OF_DAYS = 20, 64, 100, 50
#: The share of a column's values that may be clipped without a warning.
MANY_CLIPPED = 0.05
#: Rows whose scores are compared.
MOST_SCORES = 8192


class ReferenceRows:
    """Keeps the contents of a bounded number of training rows, which may come in blocks.

    Parameters
    ----------
    columns : tuple of Column, or None
        Kinds of the columns, if not all are numbers.
    choices : Choices
    """

    def __init__(self, columns: tuple[Column, ...] | None, choices: Choices) -> None:
        self._columns, self._choices = columns, choices
        n_columns = 1 if columns is None else len(columns)
        self._most = max(LEAST_ROWS, min(MAX_ROWS, MAX_VALUES // n_columns))
        # The only block so far; with a second one, a reservoir.
        self._block: Array | None = None
        self._reservoir: Reservoir | None = None
        self._by_day: dict[int, Reservoir] = {}
        self._n_days: set[int] = set()

    def add(self, source: Any, rows: Array, chosen: NDArray[np.int64] | None = None) -> None:
        """Add a block of rows.

        Parameters
        ----------
        source : array, data frame or Arrow table
            The rows as a user gave them; only used if columns are of several kinds.
        rows : ndarray of shape (n, D)
            The same rows as the network reads them.
        chosen : ndarray of int64, optional
            Numbers of the rows to choose from.
        """
        columns = self._columns
        days = None if columns is None else days_of(source, columns)
        if days is not None and chosen is not None:
            days = days[chosen]
        n_rows = len(rows) if chosen is None else len(chosen)
        if self._columns is None:
            self._most = max(LEAST_ROWS, min(MAX_ROWS, MAX_VALUES // rows.shape[1]))
        few = self._choices.few(chosen, len(rows), self._most)
        self._add(self._contents(source, rows, few))
        if days is not None:
            numbers = np.arange(n_rows) if chosen is None else chosen
            self._add_days(source, rows, days, numbers)

    def _add(self, values: Array) -> None:
        if self._block is None and self._reservoir is None:
            self._block = values
            return
        if self._reservoir is None:
            self._reservoir = Reservoir(self._choices.rng(REFERENCE, 0), self._most)
            assert self._block is not None
            self._reservoir.add(self._block)
            self._block = None
        self._reservoir.add(values)

    @property
    def _rows(self) -> Array:
        """The rows so far, in their order."""
        if self._reservoir is not None:
            return self._reservoir.rows()
        assert self._block is not None
        return self._block

    def _contents(self, source: Any, rows: Array, numbers: NDArray[np.int64]) -> Array:
        if self._columns is None:
            # Few rows are kept for further calls, in which a user's array may be another one.
            some = rows if len(numbers) == len(rows) >= LEAST_ROWS else rows[numbers]
            return np.asarray(some, dtype=np.float64 if rows.dtype.itemsize > 4 else np.float32)
        return contents(take(source, numbers), self._columns)

    def _add_days(self, source: Any, rows: Array, days: NDArray[np.int64], numbers: NDArray[np.int64]) -> None:
        found = {int(day) for day in np.unique(days[days >= 0])}
        # Rows of a bounded number of days are kept: those with the least random keys.
        self._n_days |= set(sorted(found - self._n_days)[: max(0, LEAST_DAYS - len(self._n_days))])
        kept = set(sorted(self._by_day.keys() | found, key=self._key)[:MOST_DAYS])
        self._by_day = {day: rows for day, rows in self._by_day.items() if day in kept}
        order = np.argsort(days, kind="stable")
        for day in sorted(kept & found):
            first, last = np.searchsorted(days[order], [day, day + 1])
            of_day = numbers[order[first:last]]
            few = self._choices.few(of_day, len(rows), ROWS_OF_A_DAY)
            reservoir = self._by_day.get(day)
            if reservoir is None:
                reservoir = self._by_day[day] = Reservoir(self._choices.rng(REFERENCE, 1, day), ROWS_OF_A_DAY)
            reservoir.add(self._contents(source, rows, few))

    def _key(self, day: int) -> float:
        return float(self._choices.rng(REFERENCE, 2, day).random())

    def reference(self, scaling: FeatureScaling, n_threads: int | None, distance: float) -> Reference:
        """Return the reference of the rows so far; ``distance`` is that of their scores."""
        rows = self._rows
        edges = edges_of(rows, self._columns)
        counter = ColumnCounter(edges, self._columns, scaling, n_threads)
        counts = counter(rows)
        parts = list(self._parts(rows))
        worst = structural(counts, counter.of_parts(parts, list(map(len, parts))) if parts else [])
        return Reference(edges, counts, worst, distance)

    def counts(self, counter: ColumnCounter) -> ColumnCounts:
        """Return the counts of the rows so far."""
        return counter(self._rows)

    def _parts(self, rows: Array) -> Iterable[Array]:
        """Return the rows of days if there are enough days, else runs of consecutive rows."""
        if len(self._n_days) < LEAST_DAYS:
            return [rows[run] for run in runs(len(rows), RUNS, LEAST_ROWS_OF_A_RUN)]
        return _joined(self._by_day[day].rows() for day in sorted(self._by_day))


def worst_distance(errors: Callable[[Array], Array], rows: Array, days: NDArray[np.int64] | None) -> float:
    """Return how far the scores of days, or of runs of consecutive rows, differ from those of all rows."""
    scores = known_errors(errors(rows))
    known = Calibration.of(scores)
    places = known.places(scores)
    if days is None or len(np.unique(days)) < LEAST_DAYS:
        parts = [places[run] for run in runs(len(rows), SCORE_RUNS, LEAST_ROWS_OF_A_RUN)]
    else:
        parts = _joined([places[days == day] for day in np.unique(days)])
    if not parts:
        return 0.0
    counts = np.stack([np.bincount(part, minlength=len(known.errors) + 1) for part in parts])
    # 0.87 is the mean of Kolmogorov's distribution: what chance makes of the distance.
    chance = 0.87 / np.sqrt([len(part) for part in parts])
    return max(0.0, float((known.distance_of_counts(counts) - chance).max()))


def _joined(parts: Iterable[Array]) -> list[Array]:
    """Join consecutive parts to such of enough rows; the last ones are left out if they have too few."""
    joined: list[Array] = []
    waiting: list[Array] = []
    for part in parts:
        waiting.append(part)
        if sum(map(len, waiting)) >= LEAST_ROWS_OF_DAYS:
            joined.append(np.concatenate(waiting))
            waiting = []
    return joined


def with_reference(
    model: Model,
    before: Model | None,
    rows: ReferenceRows,
    comparable: tuple[Array, NDArray[np.int64] | None] | None,
    *,
    is_further: bool,
) -> tuple[Model, Drift | None]:
    """Return a trained model with what its training columns held, and how these differ from earlier training.

    The difference is None without earlier training.

    Parameters
    ----------
    model : Model
    before : Model or None
        The model of earlier training.
    rows : ReferenceRows
        The training rows.
    comparable : tuple of an ndarray of shape (n, D) and the rows' days (n,) or None; or None
        Training rows whose scores are compared with each other; None if no rows are held out.
    is_further : bool
        True if earlier rows count as training rows too, as in ``partial_fit``.
    """
    drift = None
    if before is not None:
        known, counts = before.reference, rows.counts(ColumnCounter.of(before))
        drift = drift_of(model.column_names, counts, known)
        if is_further:
            # The bins stay those of the first calls. A model that knows none keeps none.
            more = None if known is None else known.merged(counts, structural(known.counts, [counts]))
            return model.replace(reference=more), drift
    distance = 1.0 if comparable is None else worst_distance(model.errors_of_inputs, *comparable)
    reference = rows.reference(model.scaling, model.n_threads, distance)
    return model.replace(reference=reference), drift


def warn_if_clipped(drift: Drift | None, stacklevel: int) -> None:
    """Warn if many values of training rows lie beyond the limit of a scaler that was not fitted on all of them."""
    found = [column for column in (() if drift is None else drift.columns) if column.clipped > MANY_CLIPPED]
    if found:
        names = quote_names([column.name for column in found], 3)
        warnings.warn(
            f"up to {max(column.clipped for column in found):.0%} of the values are clipped, in {names}: they lie "
            "beyond the limit of the scaler, which was fitted on the first rows, and cannot be told apart; fit again, "
            "with rows like these among the first",
            stacklevel=stacklevel,
        )
