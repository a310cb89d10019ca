"""What the columns of the training rows held: counts that other rows are compared with, to see what has drifted.

For each column the shares of missing values, of levels that were not learned and of clipped values are counted, and a
histogram: 14 bins between quantiles and one bin on either side beyond the least and the largest value for numbers; the
15 most frequent levels and all others for categories. All are sums over rows, so that counts of parts of a table add up
to those of the table.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aefast.columns.column import Column, starts
from aefast.engine import core
from aefast.engine.threads import resolve_threads
from aefast.model.scaling import FeatureScaling, clip_limit

Array = NDArray[Any]

#: Bins of a column's histogram.
BINS = 16
#: Values that decide the bins of a number, in all columns together and in one column.
_MOST_VALUES, _MOST_ROWS, _LEAST_ROWS = 1 << 20, 2048, 256
#: How a column is measured, in the order of `Reference.worst`.
MEASURES = ("missing", "unknown", "clipped", "index")


@dataclass(frozen=True, eq=False)
class ColumnCounts:
    """Counts of the values in columns.

    Attributes
    ----------
    n_rows : int
    missing, unknown, clipped : ndarray of shape (C,), int64
        Rows without a value, with a level that was not learned, and with a number beyond the limit of the scaler.
    bins : ndarray of shape (C, 16), int64
        Rows with a value in each bin.
    """

    n_rows: int
    missing: NDArray[np.int64]
    unknown: NDArray[np.int64]
    clipped: NDArray[np.int64]
    bins: NDArray[np.int64]

    @classmethod
    def none(cls, n_columns: int) -> ColumnCounts:
        """Return the counts of no row."""
        zeros = np.zeros(n_columns, dtype=np.int64)
        return cls(0, zeros, zeros, zeros, np.zeros((n_columns, BINS), dtype=np.int64))

    def __add__(self, other: ColumnCounts) -> ColumnCounts:
        return ColumnCounts(
            self.n_rows + other.n_rows,
            self.missing + other.missing,
            self.unknown + other.unknown,
            self.clipped + other.clipped,
            self.bins + other.bins,
        )

    def shares(self) -> NDArray[np.float64]:
        """Return the shares (C, 3) of missing, unknown and clipped values among the rows."""
        return np.stack([self.missing, self.unknown, self.clipped], axis=1) / max(self.n_rows, 1)

    def packed(self) -> NDArray[np.float64]:
        """Return all counts as one array (C, 19)."""
        return np.column_stack([self.missing, self.unknown, self.clipped, self.bins]).astype(np.float64)

    @classmethod
    def unpacked(cls, n_rows: int, packed: NDArray[Any]) -> ColumnCounts:
        """Return the counts that `packed` has made an array of.

        Raises
        ------
        ValueError
            If they are not the counts of ``n_rows`` rows.
        """
        is_count = ((packed >= 0) & (packed <= n_rows) & (packed == np.floor(packed))).all()
        if not is_count or (packed[:, 0] + packed[:, 3:].sum(axis=1) != n_rows).any():
            raise ValueError(f"the counts of columns are not those of {n_rows} rows")
        counts = packed.astype(np.int64)
        return cls(n_rows, counts[:, 0], counts[:, 1], counts[:, 2], counts[:, 3:])


@dataclass(frozen=True, eq=False)
class Reference:
    """What the columns of the training rows held.

    Attributes
    ----------
    edges : ndarray of shape (C, 15), float64
        Upper ends of the bins of each column, but for the last bin.
    counts : ColumnCounts
        Of the training rows, or of a random choice of them.
    worst : ndarray of shape (C, 4), float64
        How far parts of the training rows (days, or runs of consecutive rows) differ from all of them, beyond chance:
        the largest difference of the shares of missing, unknown and clipped values, and the largest stability index.
    distance : float
        The same for scores: the largest Kolmogorov-Smirnov distance. 1 if scores cannot be compared, because no rows
        were held out.
    """

    edges: NDArray[np.float64]
    counts: ColumnCounts
    worst: NDArray[np.float64]
    distance: float

    def merged(self, other: ColumnCounts, worst: NDArray[np.float64]) -> Reference:
        """Return the reference of these rows and others; ``worst`` says how far parts of the others differ from all."""
        return Reference(self.edges, self.counts + other, np.maximum(self.worst, worst), self.distance)


class ColumnCounter:
    """Counts the values of columns.

    Parameters
    ----------
    edges : ndarray of shape (C, 15)
        As of `Reference`.
    columns : sequence of Column, or None
        Kinds of the columns, if not all of them are numbers.
    scaling : FeatureScaling
    n_threads : int or None
    """

    def __init__(
        self,
        edges: NDArray[np.float64],
        columns: Sequence[Column] | None,
        scaling: FeatureScaling,
        n_threads: int | None,
    ) -> None:
        self.edges: NDArray[np.float64] = edges
        self._n_threads = n_threads
        limit = clip_limit(scaling.kind)
        with np.errstate(over="ignore"):
            low, high = scaling.shift - limit * scaling.scale, scaling.shift + limit * scaling.scale
        unknown = np.full(len(edges), np.inf)
        if columns is not None:
            kinds = np.array([column.kind for column in columns])
            low = np.where(kinds == "numeric", low[starts(columns)], -np.inf)
            high = np.where(kinds == "numeric", high[starts(columns)], np.inf)
            unknown[kinds == "categorical"] = [len(c.levels) - 0.5 for c in columns if c.kind == "categorical"]
        # A value at the limit itself is not clipped, even if rounding moves it a little beyond.
        slack = 1e-6 * limit * (scaling.scale if columns is None else scaling.scale[starts(columns)])
        self._limits = np.ascontiguousarray(np.column_stack([edges, low - slack, high + slack, unknown]))

    @classmethod
    def of(cls, model: Any) -> ColumnCounter:
        """Return the counter of a `Model`; without a reference it counts shares, and its bins say nothing."""
        known = model.reference
        edges = np.zeros((model.n_features_in, BINS - 1)) if known is None else known.edges
        return cls(edges, model.columns, model.scaling, model.n_threads)

    def __call__(self, values: Array | list[Array]) -> ColumnCounts:
        """Return the counts of rows (n, C): an array, or contiguous columns of one dtype."""
        n_rows = len(values[0]) if isinstance(values, list) else len(values)
        return self.of_parts([values], [n_rows])[0] if n_rows else ColumnCounts.none(len(self.edges))

    def of_parts(self, parts: Sequence[Array | list[Array]], n_rows: Sequence[int]) -> list[ColumnCounts]:
        """Return the counts of several blocks of rows, each of at least one."""
        n_threads = resolve_threads(self._n_threads)
        counted = [core.count_above(part, self._limits, n_threads) for part in parts]
        above, missing = np.stack([each[0] for each in counted]), np.stack([each[1] for each in counted])
        present = np.array(n_rows)[:, None] - missing
        bins = np.empty((*present.shape, BINS), dtype=np.int64)
        bins[:, :, 0], bins[:, :, 1:] = present, above[:, :, : BINS - 1]
        bins[:, :, :-1] -= above[:, :, : BINS - 1]
        above_low, above_high, unknown = above[:, :, BINS - 1 :].transpose(2, 0, 1)
        counts = (n_rows, missing, unknown, present - above_low + above_high, bins)
        return [ColumnCounts(*each) for each in zip(*counts, strict=True)]


def edges_of(values: Array, columns: Sequence[Column] | None) -> NDArray[np.float64]:
    """Return the edges (C, 15) of the bins of columns with these contents (n, C).

    An edge lies between two different values, so that a value is in the same bin in float32 and float64.
    """
    n_columns = values.shape[1]
    edges = np.tile(np.arange(BINS - 1) + 0.5, (n_columns, 1))
    numeric = np.array([column.kind == "numeric" for column in columns or ()] or [True] * n_columns)
    most = min(max(_MOST_VALUES // max(n_columns, 1), _LEAST_ROWS), _MOST_ROWS)
    few = values[:: 1 + (len(values) - 1) // most]
    ascending = np.sort(np.ascontiguousarray(few[:, numeric].T), axis=1)
    places = np.flatnonzero(numeric)
    n_missing = np.count_nonzero(np.isnan(ascending), axis=1)
    n = ascending.shape[1]
    wanted = np.arange(1, BINS - 2) * n // (BINS - 2)
    below, above = (ascending[:, np.maximum(wanted - step, 0)].astype(np.float64) for step in (1, 0))
    is_simple = (n_missing == 0) & (below < above).all(axis=1)
    if is_simple.any():
        edges[places[is_simple], 1:-1] = (below / 2 + above / 2)[is_simple]
        ends = ascending[is_simple][:, [0, -1]].astype(np.float64)
        edges[places[is_simple][:, None], [0, -1]] = ends + _slack(*ends.T)[:, None] * [-1, 1]
    for row in np.flatnonzero(~is_simple):
        present = ascending[row, : n - n_missing[row]].astype(np.float64)
        edges[places[row]] = _tied_edges(present) if len(present) else 0.0
    return edges


def _tied_edges(ascending: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the edges (15,) for numbers (n,) of which some are equal: bins between different values."""
    n = len(ascending)
    wanted = np.arange(1, BINS - 2) * n // (BINS - 2)
    after = np.unique(np.searchsorted(ascending, ascending[wanted[wanted > 0] - 1], side="right"))
    after = after[after < n]
    slack = _slack(ascending[0], ascending[-1])
    edges = np.full(BINS - 1, ascending[-1] + slack)
    edges[0] = ascending[0] - slack
    edges[1 : 1 + len(after)] = ascending[after - 1] / 2 + ascending[after] / 2
    return edges


def _slack(least: Any, largest: Any) -> Any:
    """Return how far beyond these values a value counts as outside: a little more than rounding to float32."""
    size = np.maximum(np.abs(least), np.abs(largest))
    return np.maximum(np.maximum(1e-6 * (largest / 2 - least / 2), 4e-7 * size), 1e-9)


def runs(n_rows: int, most: int, least_rows: int) -> Iterator[slice]:
    """Yield at most ``most`` runs of consecutive rows of about the same length, each of at least ``least_rows``."""
    n_runs = min(most, n_rows // least_rows)
    ends = np.linspace(0, n_rows, n_runs + 1).astype(int)
    yield from (slice(begin, end) for begin, end in zip(ends[:-1], ends[1:], strict=True)) if n_runs > 1 else ()
