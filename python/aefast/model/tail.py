"""Tail: the map from a statistic of a row to the evidence against it, in nats."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[Any]

#: Shares of the reference rows at whose quantiles a tail has its knots, if at least `BEHIND` rows lie beyond.
SHARES = (0.98, 0.9, 0.7, 0.5, 0.3, 0.2, 0.1, 0.05, 0.02, 0.01, 0.005)
BEHIND = 5
# Factors of the share over which the slope beyond the last knot is measured; a fifth less suffices for few rows.
_BACK, _ENOUGH = (2.0, 5.0), 0.8


class Tail(NamedTuple):
    """A statistic's evidence -log(share of usual rows that reach it): linear between knots, with a bounded slope.

    Attributes
    ----------
    knots : ndarray of shape (k,), float64
        Values of the statistic, ascending.
    nats : ndarray of shape (k,), float64
        The evidence at the knots, ascending and above 0.
    slope : float
        The evidence for each unit beyond the last knot.
    """

    knots: NDArray[np.float64]
    nats: NDArray[np.float64]
    slope: float

    @classmethod
    def of(cls, values: ArrayLike, weights: ArrayLike | None = None, *, steepest: float = np.inf) -> Tail:
        """Return the tail of a statistic's values on rows that it was not fitted to.

        A knot is the value with a share p of the rows at or above it; equal knots are one, so equal values count as at
        least as large. Beyond the last knot the evidence rises as slowly as it does over the last factor 2 or 5 of the
        share, whichever is slower: a few anomalies among the rows stretch the end of the tail alone, and a heavy tail
        must not outrun all other evidence.

        Parameters
        ----------
        values : array-like of shape (n,)
            At least one, finite.
        weights : array-like of shape (n,), optional
            Weights of the rows.
        steepest : float
            Upper bound of the slope beyond the last knot.
        """
        found = np.asarray(values, dtype=np.float64)
        weight = np.ones(len(found)) if weights is None else np.asarray(weights, dtype=np.float64)
        order = np.argsort(-found, kind="stable")
        ordered, reached = found[order], np.cumsum(weight[order])
        n = reached[-1] ** 2 / np.square(weight).sum()
        shares = [share for share in SHARES if share * n >= BEHIND] or [0.5]
        at = np.minimum(np.searchsorted(reached, np.multiply(shares, reached[-1]) * (1 - 1e-12)), len(ordered) - 1)
        knots = np.unique(ordered[at])
        # The rows at or above each knot.
        last = np.searchsorted(-ordered, -knots, side="right") - 1
        share = reached[last] / reached[-1]
        nats = -np.log((n * share + 0.5) / (n + 1))
        slopes = []
        for factor in _BACK:
            n_before = np.count_nonzero(share >= _ENOUGH * factor * share[-1])
            if n_before:
                slopes.append((nats[-1] - nats[n_before - 1]) / (knots[-1] - knots[n_before - 1]))
        return cls(knots, nats, float(min([*(slopes or [1.0]), steepest])))

    def __call__(self, values: ArrayLike) -> NDArray[np.float64]:
        """Return the evidence of values of the statistic."""
        x = np.asarray(values, dtype=np.float64)
        beyond = self.nats[-1] + self.slope * (x - self.knots[-1])
        below = self.nats[0] * np.exp(np.minimum(x - self.knots[0], 0))
        inside = np.interp(x, self.knots, self.nats)
        return np.where(x > self.knots[-1], beyond, np.where(x < self.knots[0], below, inside))
