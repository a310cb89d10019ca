"""Which training rows to distrust: those that stand apart from the others, before anything is learned from them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aefast.model.scaling import FeatureScaling, quantiles
from aefast.training.clusters import LocalMeans, centres_of, local_means
from aefast.training.data import Rows
from aefast.training.effects import scaled_rows

Array = NDArray[Any]
Doubles = NDArray[np.float64]

#: Rows that suffice for centres and local means.
MAX_ROWS = 4096
#: Centres, and share of the rows in each local mean.
N_CENTRES, MASS = 64, 0.05
#: Lower deviations of the log distance beyond which a row stands apart.
CUTOFF = 2.5
# First decile of a standard normal distribution.
_DECILE = 1.2816
_LEAST = 1e-12
# Rows in a block.
_BLOCK = 8192
#: Smallest range of a column in the scaled space that is taken as a unit.
LEAST_SPAN = 1e-6


def spans_of(least: Doubles, largest: Doubles) -> Doubles:
    """Return the ranges of columns as units of distance; 1 for constant columns."""
    span = largest - least
    return np.where(span > LEAST_SPAN, span, 1.0)


@dataclass(frozen=True)
class Trust:
    """The rule that tells which rows stand apart.

    The log power distance t of a row from local means of its table says how far it is from what is usual. The lower
    side of t belongs to normal rows alone, so its spread s is that of normal rows: rows with t - median > 2.5 s stand
    apart, but at most the share ``contamination`` of all rows. Tables without a tail lose next to no row.

    Attributes
    ----------
    scaling : FeatureScaling
    missing : {"error", "mask", "mean"}
    span : ndarray of shape (d,)
        Ranges of the columns in the scaled space.
    near : LocalMeans
        In units of ``span``.
    cutoff : float
        The log distance beyond which a row is distrusted.
    """

    scaling: FeatureScaling
    missing: str
    span: Doubles
    near: LocalMeans
    cutoff: float = 0.0

    @classmethod
    def of(
        cls,
        X: Array,
        rows: Rows | None,
        *,
        scaling: FeatureScaling,
        missing: str,
        ranges: tuple[Array, Array],
        contamination: float,
        rng: np.random.Generator,
        weights: Doubles | None = None,
    ) -> tuple[Trust, Rows]:
        """Return the rule for rows of ``X`` and the numbers of the rows that it distrusts.

        Parameters
        ----------
        X : ndarray of shape (n, d)
        rows : ndarray of int64, optional
            Numbers of the rows to use; None is all.
        scaling : FeatureScaling
        missing : {"error", "mask", "mean"}
        ranges : tuple of two ndarrays of shape (d,)
            Least and largest value of each column.
        contamination : float in [0, 0.5]
            The largest share of rows to distrust.
        rng : Generator
        weights : ndarray of shape (n,), optional
            Weights of the rows of ``X``.
        """
        rows = np.arange(len(X)) if rows is None else rows
        of_rows = None if weights is None else np.asarray(weights, dtype=np.float64)[rows]
        span = spans_of(*(scaling.apply(each) for each in ranges))
        few, few_weights = chosen_rows(len(rows), rng, of_rows)
        z = scaled_rows(X[rows[few]], scaling, missing)[0] / span
        anchors = centres_of(z, N_CENTRES, rng, few_weights, trimmed=contamination)
        rule = cls(scaling, missing, span, local_means(z, anchors, MASS, few_weights))
        t = rule._logs(z) if len(few) == len(rows) else rule.log_distances(X, rows)
        decile, median, most = quantiles(t, (0.1, 0.5, 1 - contamination), of_rows)
        cutoff = max(median + CUTOFF * max((median - decile) / _DECILE, 1e-6), most)
        return replace(rule, cutoff=float(cutoff)), rows[t > cutoff]

    def log_distances(self, X: Array, rows: Rows | None = None) -> Doubles:
        """Return the log power distance of rows of ``X``; None is all rows."""
        rows = np.arange(len(X)) if rows is None else rows
        found = np.empty(len(rows))
        for begin in range(0, len(rows), _BLOCK):
            part = rows[begin : begin + _BLOCK]
            found[begin : begin + _BLOCK] = self._logs(scaled_rows(X[part], self.scaling, self.missing)[0] / self.span)
        return found

    def _logs(self, z: Doubles) -> Doubles:
        """Return the log power distances of rows in units of ``span``."""
        logs: Doubles = np.log(np.maximum(self.near.distances(z), _LEAST))
        return logs

    def distrusts(self, X: Array) -> NDArray[np.bool_]:
        """Return which of the rows (n, d) stand apart."""
        return self.log_distances(X) > self.cutoff


def chosen_rows(
    n_rows: int, rng: np.random.Generator, weights: Doubles | None = None, n_most: int = MAX_ROWS
) -> tuple[NDArray[np.int64], Doubles | None]:
    """Return the numbers of at most ``n_most`` random rows and their weights, which are None if all are equal.

    Of more rows with weights, rows are drawn with these as probabilities, so that those drawn have equal weights.
    """
    if n_rows <= n_most:
        return np.arange(n_rows), weights
    if weights is None:
        return np.unique(rng.integers(n_rows, size=n_most)), None
    ends = np.cumsum(weights)
    places = np.searchsorted(ends, rng.random(n_most) * ends[-1], side="right")
    return np.sort(np.minimum(places, n_rows - 1)), None
