"""From errors to decisions: the contamination threshold, conformal p-values and false-discovery control.

Errors are higher for more abnormal rows. Scores are minus the errors, which is scikit-learn's convention. P-values come
from a `Calibration`, a sketch of the errors of held-out rows.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray


def contamination_offset(scores: ArrayLike, contamination: float) -> float:
    """Return the score below which a row is an outlier: the ``contamination`` quantile of the training scores.

    Parameters
    ----------
    scores : array-like of shape (n,)
        Scores of the training rows, lower for more abnormal rows; finite.
    contamination : float in (0, 0.5]
        Share of the training rows that are outliers. Between two scores the quantile is interpolated linearly, as in
        scikit-learn's ``IsolationForest``.

    Returns
    -------
    float
        The offset.

    Examples
    --------
    >>> from aefast.model.calibration import contamination_offset
    >>> contamination_offset([-5.0, -1.0, -2.0], 0.5)
    -2.0
    """
    return float(np.percentile(np.asarray(scores, dtype=np.float64), 100.0 * contamination))


#: A p-value is exact if at most N_EXACT calibration errors are at least as large; otherwise it is too large by at most
#: 1 / RESOLUTION. The sketch of a billion errors has 2,800 numbers.
N_EXACT, RESOLUTION = 1024, 128
# Number of rows that are looked up at once, so that intermediate results stay in cache.
_BLOCK = 1 << 14


@dataclass(frozen=True)
class Calibration:
    """A sketch of the errors of held-out rows for conformal p-values: all of the largest and some of the others.

    The 1025 largest of n errors are kept, and the smaller ones with decreasing density. The p-value of an error uses
    the count of the largest kept error below it, which is the largest possible number of calibration errors that are at
    least as large. So no p-value is too small, p-values up to 1025 / (n + 1) are exact, and all are below 129/128 of
    the exact ones.

    Attributes
    ----------
    errors : ndarray of shape (k,), float32 or float64
        The kept errors, ascending and without repetition.
    counts : ndarray of shape (k,), int64
        ``counts[i]`` is the number of calibration errors above ``errors[i - 1]``; the first one is n, the number of
        all. Strictly descending.

    Examples
    --------
    >>> from aefast.model.calibration import Calibration
    >>> calibration = Calibration.of([3.0, 1.0, 2.0, 2.0])
    >>> calibration.errors.tolist(), calibration.counts.tolist()
    ([1.0, 2.0, 3.0], [4, 3, 1])
    >>> calibration.p_values([0.5, 2.0, 9.0])
    array([1. , 0.8, 0.2])
    """

    errors: NDArray[Any]
    counts: NDArray[np.int64]

    @classmethod
    def of(cls, errors: ArrayLike) -> Calibration:
        """Return the sketch of these errors.

        Parameters
        ----------
        errors : array-like of shape (n,)
            Finite, at least one, in any order. float32 stays float32; anything else becomes float64.
        """
        values = np.asarray(errors)
        # Adding zero makes -0.0 and 0.0 one value.
        ascending = np.sort(values.astype(np.float32 if values.dtype == np.float32 else np.float64)) + 0
        n = len(ascending)
        kept = ascending[n - 1 - _kept_ranks(n)[::-1]]
        kept = kept[np.append(True, kept[1:] != kept[:-1])]
        n_above = n - np.searchsorted(ascending, kept, side="right")
        return cls(kept, np.concatenate([[n], n_above[:-1]]).astype(np.int64))

    @classmethod
    def of_counts(cls, errors: NDArray[Any], counts: NDArray[np.int64]) -> Calibration:
        """Return the sketch of errors with their counts: what `of` returns if each error is repeated that often.

        Parameters
        ----------
        errors : ndarray of shape (k,), float32 or float64
            Finite, at least one, in any order.
        counts : ndarray of shape (k,), int64
            How often each occurs, at least once.
        """
        values, which = np.unique(errors + 0, return_inverse=True)
        weights = np.zeros(len(values), dtype=np.int64)
        np.add.at(weights, which, counts)
        n = int(weights.sum())
        n_above = n - np.cumsum(weights)
        # The ranks of an error, counted from the largest, are those from n_above on.
        kept = np.unique(len(values) - np.searchsorted(n_above[::-1], _kept_ranks(n), side="right"))
        return cls(values[kept], np.concatenate([[n], n_above[kept][:-1]]).astype(np.int64))

    @classmethod
    def merge(cls, calibrations: Iterable[Calibration]) -> Calibration:
        """Return the sketch of the errors of several calibrations together, in any order.

        Parameters
        ----------
        calibrations : iterable of Calibration
            Of parts of the rows; at least one.

        Returns
        -------
        Calibration
            With the same 1,025 largest errors as that of all rows at once. No p-value is too small; other p-values are
            below (129/128)^2 of the exact ones. `ScoreSketch` gives the same result for any parts.

        Raises
        ------
        ValueError
            If there is no calibration.

        Examples
        --------
        >>> from aefast.model.calibration import Calibration
        >>> merged = Calibration.merge([Calibration.of([1.0, 3.0]), Calibration.of([2.0, 2.0])])
        >>> merged.errors.tolist(), merged.counts.tolist()
        ([1.0, 2.0, 3.0], [4, 3, 1])
        """
        parts = list(calibrations)
        if not parts:
            raise ValueError("merge needs at least one calibration, got none")
        return cls.of_counts(
            np.concatenate([each.errors for each in parts]), np.concatenate([each.weights() for each in parts])
        )

    @property
    def n_rows(self) -> int:
        """Number of all calibration errors, n."""
        return int(self.counts[0])

    @property
    def least(self) -> float:
        """Smallest possible p-value, 1 / (n + 1)."""
        return 1.0 / (1.0 + self.n_rows)

    def weights(self) -> NDArray[np.int64]:
        """Return how many calibration errors each kept error represents: those above the one before, up to itself."""
        return -np.diff(self.counts, append=0)

    def distance(self, errors: ArrayLike) -> float:
        """Return the Kolmogorov-Smirnov distance of other errors from these, at the kept errors.

        Parameters
        ----------
        errors : array-like of shape (n,)
            At least one.

        Returns
        -------
        float
            In [0, 1]: the largest difference between the shares of both up to any kept error. The exact distance is
            larger by at most 1/128.

        Examples
        --------
        >>> from aefast.model.calibration import Calibration
        >>> Calibration.of([1.0, 2.0, 3.0, 4.0]).distance([3.5, 4.5])
        0.75
        """
        return float(self.distance_of_counts(np.bincount(self.places(errors), minlength=len(self.errors) + 1)))

    def distance_of_counts(self, counts: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return the `distance` (...) of errors, given how many of them (..., k + 1) have each p-value of `levels`."""
        shares = np.cumsum(counts[..., :-1], axis=-1) / counts.sum(axis=-1, keepdims=True)
        distances: NDArray[np.float64] = np.abs(shares - np.cumsum(self.weights()) / self.n_rows).max(axis=-1)
        return distances

    def chance_distance(self, n: int) -> float:
        """Return the largest `distance` of ``n`` errors, at least one, that chance explains.

        The critical value of the two-sample Kolmogorov-Smirnov test at level 0.001 (Smirnov 1948), and what the kept
        errors may hide.
        """
        return 1.95 * float(np.sqrt((n + self.n_rows) / (n * self.n_rows))) + 1 / RESOLUTION

    def excess(self, errors: ArrayLike) -> tuple[float, float]:
        """Return how much larger other errors are than these, and the p-value of that if both have one distribution.

        The first number, in [0, 1], is the largest difference by which the share of these errors up to some value
        exceeds that of the others. The p-value is that of the one-sided Kolmogorov-Smirnov test for large numbers of
        errors (Smirnov 1939), with the correction of Stephens (1970) for smaller ones. Errors that are smaller are no
        excess: rows that a model has learned have such errors.

        Parameters
        ----------
        errors : array-like of shape (n,)
            At least one.

        Examples
        --------
        >>> import numpy as np
        >>> from aefast.model.calibration import Calibration
        >>> errors = np.random.default_rng(0).normal(size=(2, 300))
        >>> calibration = Calibration.of(errors[0])
        >>> [bool(calibration.excess(errors[1] + shift)[1] < 0.01) for shift in (-1, 0, 1)]
        [False, False, True]
        """
        counts = np.bincount(self.places(errors), minlength=len(self.errors) + 1)
        others = np.cumsum(counts[:-1]) / counts.sum()
        distance = max(0.0, float((np.cumsum(self.weights()) / self.n_rows - others).max()))
        root = np.sqrt(counts.sum() * self.n_rows / (counts.sum() + self.n_rows))
        scaled = (root + 0.12 + 0.11 / root) * distance
        return distance, float(np.exp(-2 * scaled**2))

    def levels(self) -> NDArray[np.float64]:
        """Return all possible p-values in descending order, from 1 to 1 / (n + 1)."""
        return np.asarray((1.0 + np.append(self.counts, 0)) / (1.0 + self.n_rows), dtype=np.float64)

    def places(self, errors: ArrayLike) -> NDArray[np.intp]:
        """Return the index of each error's p-value in `levels`: the number of kept errors below it."""
        return self._look_up(errors, np.arange(len(self.errors) + 1))

    def p_values(self, errors: ArrayLike) -> NDArray[np.float64]:
        """Return conformal p-values: how often a held-out normal row is at least as abnormal.

        p = (1 + #{calibration errors >= error}) / (1 + #calibration) (Vovk, Gammerman and Shafer 2005; Bates et al.
        2023), rounded up as described above. If a row and the calibration rows are exchangeable, P(p <= a) <= a for
        every a, whatever the model. Equal errors count as at least as large, so that no randomness is needed.

        Parameters
        ----------
        errors : array-like of shape (n,)
            Errors of rows.

        Returns
        -------
        ndarray of shape (n,), float64
            In [1 / (#calibration + 1), 1]; lower for more abnormal rows.
        """
        return self._look_up(errors, self.levels())

    def _look_up(self, errors: ArrayLike, answers: NDArray[Any]) -> NDArray[Any]:
        """Return for each error the element of ``answers`` at its place."""
        values = np.asarray(errors)
        kind = np.float32 if values.dtype == self.errors.dtype == np.float32 else np.float64
        values = values.astype(kind, copy=False)
        if values.size < 4096:
            return np.asarray(answers[np.searchsorted(self.errors.astype(kind), values)])
        search = self._search.get(kind)
        if search is None:
            search = self._search[kind] = _Search(self.errors.astype(kind))
        found = np.empty(len(values), answers.dtype)
        for begin in range(0, len(values), _BLOCK):
            found[begin : begin + _BLOCK] = answers[search.places(values[begin : begin + _BLOCK])]
        return found

    @cached_property
    def _search(self) -> dict[type, _Search]:
        return {}

    def __getstate__(self) -> dict[str, Any]:
        return {"errors": self.errors, "counts": self.counts}


def decisions(errors: ArrayLike, contamination: float, held_out: ArrayLike) -> tuple[float, Calibration]:
    """Return the offset by some rows' errors and the calibration by those of held-out rows."""
    values, others = known_errors(np.asarray(errors)), known_errors(np.asarray(held_out))
    return contamination_offset(-values.astype(np.float64), contamination), Calibration.of(others)


def known_errors(errors: NDArray[Any]) -> NDArray[Any]:
    """Return errors of which none is NaN or infinite: weights that have nearly diverged can give such errors."""
    return errors if np.isfinite(errors).all() else np.nan_to_num(errors, nan=np.finfo(errors.dtype).max)


def _kept_ranks(n: int) -> NDArray[np.int64]:
    """Return the ranks, from 0 for the largest of n errors, of those that a calibration keeps."""
    if n <= N_EXACT + 1:
        return np.arange(n)
    ranks = list(range(N_EXACT + 1))
    while ranks[-1] < n - 1:
        ranks.append(min((ranks[-1] + 2) * (RESOLUTION + 1) // RESOLUTION - 1, n - 1))
    return np.array(ranks)


def fresh_decisions(
    scores: ArrayLike,
    contamination: float,
    weights: NDArray[np.float64] | None = None,
    held_out: ArrayLike | None = None,
) -> tuple[float, Calibration]:
    """Return the offset that flags ``contamination`` of fresh rows, and the calibration, from the same scores.

    Of n scores the threshold is the k-th smallest with k = ceil((n + 1) (1 - contamination)): of rows that are
    exchangeable with theirs, at most ``contamination`` exceed it (Vovk, Gammerman and Shafer 2005).

    Parameters
    ----------
    scores : array-like of shape (n,)
        Scores of rows that are like fresh ones; higher for more abnormal rows.
    contamination : float in (0, 0.5]
    weights : ndarray of shape (n,), optional
        Weights of the rows.
    held_out : array-like of shape (m,), optional
        Scores that p-values compare with instead.

    Examples
    --------
    >>> from aefast.model.calibration import fresh_decisions
    >>> fresh_decisions([1.0, 2.0, 3.0, 4.0], 0.25)[0]
    -4.0
    """
    values = known_errors(np.asarray(scores))
    chosen = values if weights is None else _equally_weighted(values, weights)
    ascending = np.sort(chosen)
    k = int(np.ceil((len(ascending) + 1) * (1 - contamination) - 1e-9))
    calibration = Calibration.of(chosen if held_out is None else held_out)
    return -float(ascending[min(max(k, 1), len(ascending)) - 1]), calibration


def _equally_weighted(values: NDArray[Any], weights: NDArray[np.float64]) -> NDArray[Any]:
    """Return a sample of equal weights with the distribution of weighted values: as many as the weights are worth."""
    n = max(1, round(float(weights.sum() ** 2 / np.square(weights).sum())))
    order = np.argsort(values, kind="stable")
    reached = np.cumsum(weights[order])
    places = np.searchsorted(reached, (np.arange(n) + 0.5) / n * reached[-1])
    return np.asarray(values[order[np.minimum(places, len(values) - 1)]])


class _Search:
    """``np.searchsorted(ascending, values)`` in an eighth of its time for many values.

    A table has one entry for each cell of floats that differ in their last bits only. It has the answer for every cell
    without an element of ``ascending``, so that most values need no binary search.
    """

    def __init__(self, ascending: NDArray[Any]) -> None:
        self._ascending = ascending
        known = _in_order(ascending)
        # The outermost elements may be far away. Their cells are searched, like all cells with an element.
        self._low, self._high = known[min(1, len(known) - 1)], known[-1 - len(known) // 64]
        self._shift = max(0, (int(self._high) - int(self._low)).bit_length() - 16)
        n_inside = np.bincount(self._cells(known))
        self._answers = np.where(n_inside > 0, -1, np.cumsum(n_inside))

    def _cells(self, numbers: NDArray[Any]) -> NDArray[Any]:
        inside: NDArray[Any] = np.clip(numbers, self._low, self._high)
        inside >>= self._shift
        inside -= self._low >> self._shift
        return inside

    def places(self, values: NDArray[Any]) -> NDArray[np.intp]:
        found: NDArray[np.intp] = self._answers[self._cells(_in_order(values))]
        unsure = np.flatnonzero(found < 0)
        found[unsure] = np.searchsorted(self._ascending, values[unsure])
        return found


def _in_order(values: NDArray[Any]) -> NDArray[Any]:
    """Return integers in the order of these floats: their bits, with those below the sign inverted for negative
    ones."""
    bits: NDArray[Any] = np.ascontiguousarray(values).view(np.int32 if values.dtype == np.float32 else np.int64)
    turned: NDArray[Any] = (bits >> (8 * bits.itemsize - 1)) & np.iinfo(bits.dtype).max
    turned ^= bits
    return turned
