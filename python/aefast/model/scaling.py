"""The scaled space that a network sees, (x - shift) / scale: fitted once and folded into the kernels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aefast.columns.column import Column, n_levels_of_inputs
from aefast.engine import core
from aefast.exceptions import with_remedies

Array = NDArray[Any]
Statistics = dict[str, Array]

SCALERS = ("standard", "minmax", "robust", "deciles")

#: Limit of absolute values in the scaled space, so that no value of a row overflows float32 in the network.
LIMIT = 1e6
#: The limit behind the scaler "deciles". Values beyond the deciles can be far out there, and a few of them would
#: dominate the loss.
DECILES_LIMIT = 10.0
# From the first decile of a normal distribution to the ninth, in standard deviations.
_NORMAL_DECILES = 2.5631031310892007
# Values of columns whose percentiles are computed at once.
_MOST_VALUES = 1 << 18
# Rows of which sorting takes less time than to look for percentiles.
_FEW_ROWS = 2048
# Share of values beyond ten deviations with which a scaler no longer fits.
_MOST_FAR = 0.2
# Squares of smaller deviations underflow.
_SMALLEST_SPAN = 1e-140
#: Largest absolute value that a scaler can be fitted to: differences of two such doubles do not overflow.
LARGEST = 1e290


@dataclass(frozen=True, eq=False)
class FeatureScaling:
    """The map of a fitted model into the scaled space: (x - shift) / scale, clipped.

    Attributes
    ----------
    kind : {"standard", "minmax", "robust", "deciles"} or None
        The scaler that was fitted.
    shift, scale : ndarray of shape (d,), float64
    means : ndarray of shape (d,), float64
        Means of the training values, which replace missing values with ``missing="mean"``.
    """

    kind: str | None
    shift: NDArray[np.float64]
    scale: NDArray[np.float64]
    means: NDArray[np.float64]

    def apply(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return values (..., d) in the scaled space, in double precision."""
        limit, scaled = clip_limit(self.kind), values - self.shift
        scaled /= self.scale
        return np.clip(scaled, -limit, limit, out=scaled)

    def is_outgrown(self, rows: Array) -> bool:
        """Return whether more than a fifth of the values of a column of rows lie beyond ten deviations."""
        with np.errstate(invalid="ignore"):
            is_far = np.abs((rows.astype(np.float64) - self.shift) / self.scale) > DECILES_LIMIT
        return bool((is_far.mean(axis=0) > _MOST_FAR).any())

    def part(self, elements: NDArray[np.int64]) -> FeatureScaling:
        """Return the map of some of the elements."""
        return FeatureScaling(self.kind, self.shift[elements], self.scale[elements], self.means[elements])

    def fill(self, missing: str) -> NDArray[np.float64]:
        """Return what the network sees in place of missing values (d,), in the scaled space."""
        return self.apply(self.means) if missing == "mean" else np.zeros(len(self.shift))

    def for_engine(self, missing: str, columns: Sequence[Column] | None = None) -> core.Scaling:
        """Return the map as the engine reads it.

        Parameters
        ----------
        missing : {"error", "mask", "mean"}
            The estimator's parameter.
        columns : sequence of Column, optional
            Columns of several kinds, if rows come as `aefast.columns.column.encode` returns them.
        """
        fill = self.fill(missing) if missing == "mean" else None
        n_levels = [] if columns is None else n_levels_of_inputs(columns)
        return core.Scaling(self.shift, self.scale, clip_limit(self.kind), fill, missing == "mask", n_levels)


def quantiles(
    values: NDArray[np.float64], shares: Sequence[float], weights: NDArray[np.float64] | None = None
) -> NDArray[np.float64]:
    """Return quantiles (..., k) of values (..., n): interpolated or, with weights (n,), the least value with a share at
    or below it.

    Examples
    --------
    >>> import numpy as np
    >>> from aefast.model.scaling import quantiles
    >>> quantiles(np.array([1.0, 2.0, 3.0]), [0.5], np.array([1.0, 1.0, 8.0])).tolist()
    [3.0]
    """
    if weights is None:
        ascending = np.sort(values)
        found = _interpolated(ascending, shares)
        found[np.isnan(ascending[..., -1])] = np.nan
        return found
    if values.ndim > 1:
        return np.stack([quantiles(each, shares, weights) for each in values])
    order = np.argsort(values, kind="stable")
    reached = np.cumsum(weights[order])
    places = np.searchsorted(reached, np.asarray(shares) * reached[-1] * (1 - 1e-12))
    return np.asarray(values[order[np.minimum(places, len(values) - 1)]])


def _interpolated(ascending: NDArray[np.float64], shares: Sequence[float]) -> NDArray[np.float64]:
    """Return quantiles (..., k) of ascending values (..., n), to the bits of NumPy's."""
    last = ascending.shape[-1] - 1
    at = last * np.asarray(shares)
    below = at.astype(np.int64)
    low, high, part = ascending[..., below], ascending[..., np.minimum(below + 1, last)], at - below
    # From the nearer end, as NumPy interpolates.
    found: NDArray[np.float64] = np.where(part < 0.5, low + (high - low) * part, high - (high - low) * (1 - part))
    return found


def fit_scaler(
    kind: str | None,
    X: Array,
    rows: NDArray[np.int64] | None,
    statistics: Statistics,
    names: Sequence[str],
    weights: NDArray[np.float64] | None = None,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return shift and scale (d,) of the columns of ``X``.

    - ``standard``: mean and standard deviation.
    - ``minmax``: least value and range, so that the rows lie in [0, 1].
    - ``robust``: median and distance between the quartiles; the standard deviation if the quartiles are equal.
    - ``deciles``: median and the distance between the first and the ninth decile, divided by 2.563, which is the
      standard deviation of a normal distribution; the standard deviation if the deciles are equal.
    - None: 0 and 1.

    A constant column has scale 1. Missing values are ignored.

    Parameters
    ----------
    kind : {"standard", "minmax", "robust", "deciles"} or None
        The scaler.
    X : array of shape (n, d)
        The data; only ``rows`` of it are used.
    rows : ndarray of int64 or None
        Row numbers to fit on; None is all rows.
    statistics : dict
        `column_statistics` of the same rows, or of more rows of which these are a sample.
    names : sequence of d str
        Column names for messages.
    weights : ndarray of shape (n,), optional
        Weights of the rows of ``X``.

    Raises
    ------
    ValueError
        If a column has values that are too large for a finite map, or no value at all.
    """
    if (statistics["n_finite"] == 0).any():
        column = int(np.argmin(statistics["n_finite"]))
        raise ValueError(f"column {names[column]!r} has no value in any row to learn from: leave it out")
    low, high = statistics["min"], statistics["max"]
    magnitude = np.maximum(np.abs(low), np.abs(high))
    too_large = magnitude > (LIMIT if kind is None else LARGEST)
    if too_large.any():
        column = int(too_large.argmax())
        problem = f"column {names[column]!r} has values from {low[column]:g} to {high[column]:g}, too large to train on"
        if kind is None:
            raise with_remedies(ValueError, f"{problem} without a scaler", {"scaler": "set scaler='standard'"})
        raise ValueError(f"{problem}; divide it by a constant first")
    if kind is None:
        shift, scale = np.zeros(len(low)), np.ones(len(low))
    elif kind == "minmax":
        shift, scale = low.copy(), high - low
    else:
        shift, scale = statistics["mean"].copy(), statistics["std"].copy()
        if weights is not None:
            weights = np.asarray(weights, dtype=np.float64)[slice(None) if rows is None else rows]
            for column in range(len(low)):
                shift[column], scale[column] = _weighted_moments(
                    X[:, column] if rows is None else X[rows, column], weights
                )
        if kind in ("robust", "deciles"):
            outer, normal = (25, 1.0) if kind == "robust" else (10, _NORMAL_DECILES)
            if weights is None:
                lower, shift, upper = _percentiles(X, rows, statistics, (outer, 50, 100 - outer))
            else:
                shares = (outer / 100, 0.5, 1 - outer / 100)
                lower, shift, upper = _weighted_quantiles(X, rows, statistics, shares, weights)
            spreads = upper > lower
            scale[spreads] = ((upper - lower) / normal)[spreads]
            magnitude[spreads] = np.maximum(np.abs(lower), np.abs(upper))[spreads]

    # Equal values leave a spread of rounding errors, and the reciprocal of a denormal overflows in the precision in
    # which the engine reads such rows.
    smallest = 4.0 / np.finfo(np.float64 if X.dtype.itemsize == 8 else np.float32).max
    constant = (low == high) | (scale <= 10 * np.finfo(np.float64).eps * magnitude) | (scale < smallest)
    scale[constant] = 1.0
    return shift, scale


def _percentiles(
    X: Array, rows: NDArray[np.int64] | None, statistics: Statistics, percents: Sequence[int]
) -> NDArray[np.float64]:
    """Return percentiles (len(percents), d) of each column's finite values; its mean if there are none.

    The statistics may be those of more rows, of which these are a sample.
    """
    n_rows = len(X) if rows is None else len(rows)
    has_gaps = statistics["n_nonfinite"] > 0
    found = np.empty((len(percents), len(has_gaps)))
    complete = np.flatnonzero(~has_gaps)
    at_once = max(1, _MOST_VALUES // len(X))
    for columns in (complete[first : first + at_once] for first in range(0, len(complete), at_once)):
        values = X.T[columns] if rows is None else X.T[columns][:, rows]
        # Each column is one contiguous block, of which nothing is copied again.
        values = values.astype(np.float64, order="C", copy=False)
        if n_rows <= _FEW_ROWS:
            found[:, columns] = _interpolated(np.sort(values, axis=1), [percent / 100 for percent in percents]).T
        else:
            found[:, columns] = np.percentile(values, percents, axis=1, overwrite_input=True)
    for column in np.flatnonzero(has_gaps):
        values = X[:, column] if rows is None else X[rows, column]
        values = values[np.isfinite(values)].astype(np.float64)
        found[:, column] = np.percentile(values, percents) if len(values) else statistics["mean"][column]
    return found


def _weighted_quantiles(
    X: Array,
    rows: NDArray[np.int64] | None,
    statistics: Statistics,
    shares: Sequence[float],
    weights: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Return quantiles (len(shares), d) of each column's finite values by the weights of the rows."""
    found = np.empty((len(shares), len(statistics["mean"])))
    for column in range(found.shape[1]):
        values = X[:, column] if rows is None else X[rows, column]
        is_known = np.isfinite(values)
        known, of_known = values[is_known].astype(np.float64), weights[is_known]
        found[:, column] = quantiles(known, shares, of_known) if len(known) else statistics["mean"][column]
    return found


def _weighted_moments(values: Array, weights: NDArray[np.float64]) -> tuple[float, float]:
    """Return mean and standard deviation of the finite values."""
    is_known = np.isfinite(values)
    known, of_known = values[is_known].astype(np.float64), weights[is_known]
    mean = float(np.average(known, weights=of_known))
    return mean, float(np.sqrt(np.average(np.square(known - mean), weights=of_known)))


def clip_limit(kind: str | None) -> float:
    """Return the largest absolute value in the scaled space of a scaler."""
    return DECILES_LIMIT if kind == "deciles" else LIMIT


def merged(first: Statistics, second: Statistics) -> Statistics:
    """Return the column statistics of two blocks of rows together (Chan, Golub and LeVeque 1983)."""
    n_finite = first["n_finite"] + second["n_finite"]
    share = second["n_finite"] / np.maximum(n_finite, 1)
    mean, mean_of_second = _of_values("mean", first, second)
    step = mean_of_second - mean
    # hypot adds squares without overflow.
    within = np.hypot(first["std"] * np.sqrt(1 - share), second["std"] * np.sqrt(share))
    return {
        **merged_ranges(first, second),
        "mean": mean + step * share,
        "std": np.hypot(within, step * np.sqrt(share * (1 - share))),
        "n_nonfinite": first["n_nonfinite"] + second["n_nonfinite"],
        "n_finite": n_finite,
    }


def merged_ranges(first: Statistics, second: Statistics) -> Statistics:
    """Return ``min`` and ``max`` of `merged`."""
    low, high = (_of_values(name, first, second) for name in ("min", "max"))
    return {"min": np.minimum(*low), "max": np.maximum(*high)}


def _of_values(name: str, first: Statistics, second: Statistics) -> list[Array]:
    """Return a statistic of both blocks; that of a column without values is the other block's."""
    pairs = ((first, second), (second, first))
    return [np.where(each["n_finite"] > 0, each[name], other[name]) for each, other in pairs]


def column_statistics(X: Array, rows: NDArray[np.int64] | None, n_threads: int) -> Statistics:
    """Return ``mean``, ``std``, ``min``, ``max`` of each column's finite values, ``n_finite`` and ``n_nonfinite``."""
    statistics = core.column_statistics(X, rows, n_threads)
    n_rows = len(X) if rows is None else len(rows)
    low = statistics["min"]
    with np.errstate(over="ignore", invalid="ignore"):
        span = statistics["max"] - low
    for column in np.flatnonzero((span > 0) & (span < _SMALLEST_SPAN)):
        values = X[:, column] if rows is None else X[rows, column]
        values = values[np.isfinite(values)].astype(np.float64)
        statistics["std"][column] = span[column] * np.std((values - low[column]) / span[column])
    return {**statistics, "n_finite": n_rows - statistics["n_nonfinite"]}


def scaled_range(
    statistics: Statistics, shift: NDArray[np.float64], scale: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the least and largest value (d,) of each column in the scaled space."""
    return (statistics["min"] - shift) / scale, (statistics["max"] - shift) / scale
