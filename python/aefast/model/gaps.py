"""Anomaly scores of rows with missing values: a gap gets its expected value, and is no evidence by itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from aefast.engine import core
from aefast.model.scaling import FeatureScaling

Array = NDArray[Any]
Floats = NDArray[np.float64]

#: Number of times that gaps take over what the network reconstructs from the filled row.
ROUNDS = 3
#: Rows that the moments are estimated from, and rows in which values are hidden.
MOMENT_ROWS, HIDDEN_ROWS = 4096, 2000
#: Most numbers of a row that have a covariance; of wider tables, a gap is 0 in the scaled space.
MOST_COLUMNS = 1024
#: Widest table for which the effect of hiding each single column is measured.
SINGLE_COLUMNS = 64
# Complete rows that suffice to hide values in.
_ENOUGH = 100
# Least eigenvalue of a correlation matrix of pairs, which need not be positive definite.
_FLOOR = 1e-3
# Expectation-maximisation steps after the moments of available pairs.
_STEPS = 2
# Least distance between the median and the ninth decile of scores.
_LEAST_SPREAD = 1e-6


class Gaps(NamedTuple):
    """What a model knows about missing values in the scaled space, where ``m`` numbers of a row are scored.

    ``mean`` (m,) and ``precision`` (m, m) are mean and inverse covariance. ``whole`` (2,) is the median of the scores
    of whole rows and its distance to their ninth decile. ``shifts`` and ``ratios`` (m,) say how the median and the
    logarithm of the distance change if one value is hidden. ``counts`` (k,) are numbers of hidden values;
    ``remainders`` (k, 2) are median and distance of scores without the effects of the single values.
    """

    mean: Floats
    precision: Floats
    whole: Floats
    shifts: Floats
    ratios: Floats
    counts: Floats
    remainders: Floats

    def filled_rows(
        self,
        rows: Array,
        elements: NDArray[np.int64],
        predictor: core.Predictor,
        scaling: FeatureScaling,
        limits: tuple[Array, Array],
        rounds: int = ROUNDS,
    ) -> tuple[Array, NDArray[np.bool_] | None]:
        """Return rows (n, d) of the network's inputs, in input units, without gaps in ``elements``.

        Also returns which of these elements (n, m) were missing, or None if no value was. ``limits`` are the least and
        the largest value (m,) of each element in training: no expected value is beyond them.
        """
        is_missing = np.isnan(rows[:, elements])
        gapped = np.flatnonzero(is_missing.any(axis=1))
        if len(gapped) == 0:
            return rows, None
        some = rows[gapped]
        shift, scale = scaling.shift[elements], scaling.scale[elements]

        def as_rows(filled: Floats) -> Array:
            found: Array = some.copy()
            expected = np.clip(filled * scale + shift, *limits)
            found[:, elements] = np.where(is_missing[gapped], expected, some[:, elements])
            return found

        def reconstruct(filled: Floats) -> Array:
            return np.asarray(predictor.reconstruct(as_rows(filled), scaled=True)[:, elements], dtype=np.float64)

        scaled = scaling.apply(some.astype(np.float64))[:, elements]
        found = rows.copy()
        found[gapped] = as_rows(self.filled(scaled, reconstruct, rounds))
        return found, is_missing

    def filled(self, scaled: Floats, reconstruct: Callable[[Floats], Array], rounds: int = ROUNDS) -> Floats:
        """Return rows (n, m) of the scaled space with an expected value in place of each NaN.

        The values are first the conditional means of a normal distribution with the mean and covariance of the training
        rows, given the values that the row has. Then the reconstruction of the filled row replaces them, several times
        (Rezende, Mohamed and Wierstra 2014, appendix F).

        Parameters
        ----------
        scaled : ndarray of shape (n, m)
        reconstruct : callable
            The reconstruction (n, m), in the scaled space, of filled rows.
        rounds : int
            Number of times that it replaces the values.
        """
        is_missing = np.isnan(scaled)
        filled = conditional_means(scaled, self.mean, self.precision)
        for _ in range(rounds):
            filled = np.where(is_missing, reconstruct(filled), scaled)
        return filled

    def calibrated(self, scores: Array, is_missing: NDArray[np.bool_]) -> Array:
        """Return scores of filled rows on the scale of whole rows.

        A filled value is never unusual, so rows with gaps have other scores than whole rows, mostly lower ones. The
        scores of rows in which values were hidden show by how much: their median and ninth decile are moved to those of
        whole rows.

        Parameters
        ----------
        scores : ndarray of shape (n,)
            Scores of `filled` rows.
        is_missing : ndarray of bool of shape (n, m)
        """
        n_missing = is_missing.sum(axis=1)
        z = self._without_singles(scores.astype(np.float64), is_missing)
        level = np.log2(np.maximum(n_missing, 1))
        centre, spread = (np.interp(level, np.log2(self.counts), each) for each in self.remainders.T)
        moved = (z - centre) / spread * self.whole[1] + self.whole[0]
        found: Array = np.where(n_missing > 0, moved, scores).astype(scores.dtype)
        return found

    def of_known(self, errors: Array, is_missing: NDArray[np.bool_]) -> Array:
        """Return features' parts (n, m) of the scores of filled rows, as parts of the calibrated scores.

        Missing values have no part.
        """
        parts = np.where(is_missing, 0, np.abs(errors))
        total = parts.sum(axis=1, keepdims=True)
        scores = self.calibrated(errors.sum(axis=1), is_missing)
        found = parts / np.where(total > 0, total, 1) * scores[:, None]
        has_gaps = np.asarray(is_missing.any(axis=1, keepdims=True))
        return np.asarray(np.where(has_gaps, found, errors), dtype=errors.dtype)

    def _without_singles(self, scores: Floats, is_missing: NDArray[np.bool_]) -> Floats:
        """Return scores without the effects of hiding each of the missing values by itself."""
        centre = self.whole[0]
        root = np.sqrt(np.maximum(is_missing.sum(axis=1), 1))
        effects = is_missing @ self.shifts, np.exp(is_missing @ self.ratios / root)
        return np.asarray((scores - centre - effects[0]) / effects[1] + centre)


def conditional_means(scaled: Floats, mean: Floats, precision: Floats) -> Floats:
    """Return rows (n, m) with the conditional mean of each missing value, given the others of its row.

    For a normal distribution with ``mean`` m and inverse covariance ``precision`` K, the mean of the values M given the
    values O is m_M - K_MM^(-1) K_MO (x_O - m_O).

    Examples
    --------
    >>> import numpy as np
    >>> from aefast.model.gaps import conditional_means
    >>> precision = np.linalg.inv([[1.0, 0.8], [0.8, 1.0]])
    >>> conditional_means(np.array([[2.0, np.nan]]), np.zeros(2), precision).round(3).tolist()
    [[2.0, 1.6]]
    """
    is_missing = np.isnan(scaled)
    away = np.where(is_missing, 0.0, scaled - mean)
    for missing, rows in _patterns(is_missing):
        if len(missing):
            pull = away[rows] @ precision[:, missing]
            away[np.ix_(rows, missing)] = -np.linalg.solve(precision[np.ix_(missing, missing)], pull.T).T
    return np.where(is_missing, away + mean, scaled)


def uncalibrated_gaps(scaled: Floats, rng: np.random.Generator) -> Gaps:
    """Return what `Gaps.filled` needs, from training rows (n, m) in the scaled space with NaN for missing values."""
    chosen = np.sort(rng.permutation(len(scaled))[:MOMENT_ROWS])
    mean, precision = _moments(scaled[chosen])
    nothing = np.zeros(len(mean))
    return Gaps(mean, precision, np.array([0.0, 1.0]), nothing, nothing, np.ones(1), np.array([[0.0, 1.0]]))


def calibrated_gaps(
    gaps: Gaps,
    scaled: Floats,
    score: Callable[[Floats], Array],
    reconstruct: Callable[[Floats], Array],
    rng: np.random.Generator,
    rounds: int = ROUNDS,
) -> Gaps:
    """Return the same with what `Gaps.calibrated` needs.

    Parameters
    ----------
    gaps : Gaps
        From `uncalibrated_gaps`.
    scaled : ndarray of shape (n, m)
        Rows in the scaled space in which values are hidden: held-out rows, if there are enough.
    score, reconstruct : callable
        Scores (n,) and reconstructions (n, m), in the scaled space, of rows without gaps.
    rng : numpy.random.Generator
    rounds : int
        As of `Gaps.filled`.
    """
    n_columns = scaled.shape[1]
    rows = scaled[np.sort(rng.permutation(len(scaled))[: 4 * HIDDEN_ROWS])]
    n_missing = np.isnan(rows).sum(axis=1)
    enough = (n_missing == 0).sum() >= min(_ENOUGH, len(rows))
    rows = rows[n_missing == 0 if enough else np.argsort(n_missing, kind="stable")][:HIDDEN_ROWS]
    rows = gaps.filled(rows, reconstruct, rounds)

    def scores_without(hidden: NDArray[np.bool_]) -> Floats:
        hidden = np.broadcast_to(hidden, rows.shape)
        return np.asarray(score(gaps.filled(np.where(hidden, np.nan, rows), reconstruct, rounds)), dtype=np.float64)

    gaps = gaps._replace(whole=_centre_and_spread(np.asarray(score(rows), dtype=np.float64)))
    if 1 < n_columns <= SINGLE_COLUMNS:
        every = (np.arange(n_columns) == j for j in range(n_columns))
        singles = np.array([_centre_and_spread(scores_without(hidden)) for hidden in every])
        shifts, ratios = singles[:, 0] - gaps.whole[0], np.log(singles[:, 1] / gaps.whole[1])
        gaps = gaps._replace(shifts=shifts, ratios=ratios)
    # Rows take part several times, each time without other values.
    rows = np.tile(rows, (-(-HIDDEN_ROWS // len(rows)), 1))
    counts: list[int] = []
    remainders: list[Floats] = []
    while (count := 2 ** len(counts)) < max(n_columns, 2):
        order = rng.random(rows.shape).argsort(axis=1)
        hidden = order < count
        remainders.append(_centre_and_spread(gaps._without_singles(scores_without(hidden), hidden)))
        counts.append(count)
    return gaps._replace(counts=np.array(counts, dtype=np.float64), remainders=np.array(remainders))


def checked_gaps(gaps: Gaps, n_elements: int) -> Gaps:
    """Return gaps whose shapes and values fit a model of ``n_elements``; raise ValueError if they do not."""
    n_counts = len(gaps.counts)
    shapes = {
        **dict.fromkeys(("mean", "shifts", "ratios"), (n_elements,)),
        "precision": (n_elements, n_elements),
        "whole": (2,),
        "counts": (n_counts,),
        "remainders": (n_counts, 2),
    }
    for name, array in gaps._asdict().items():
        if array.shape != shapes[name] or not np.isfinite(array).all():
            raise ValueError(f"gaps.{name} has a wrong shape or holds NaN or infinity")
    if n_counts == 0 or (gaps.counts < 1).any() or (np.diff(gaps.counts) <= 0).any() or np.abs(gaps.ratios).max() > 50:
        raise ValueError("the counts or ratios of gaps are not valid")
    if not (gaps.whole[1] > 0 and (gaps.remainders[:, 1] > 0).all()):
        raise ValueError("a spread of gaps is not above zero")
    return gaps


def _centre_and_spread(scores: Floats) -> Floats:
    """Return the median of scores and the distance from it to the ninth decile."""
    median, ninth = np.percentile(scores, (50, 90))
    return np.array([median, max(ninth - median, _LEAST_SPREAD)])


def _moments(scaled: Floats) -> tuple[Floats, Floats]:
    """Return mean (m,) and inverse covariance (m, m) of rows (n, m) with NaN for missing values.

    They begin with the moments of available pairs of values, and are improved by steps of expectation-maximisation
    (Little and Rubin 2019, section 11.2).
    """
    known = ~np.isnan(scaled)
    n_known = np.maximum(known.sum(axis=0), 1)
    mean = np.where(known, scaled, 0).sum(axis=0) / n_known
    away = np.where(known, scaled - mean, 0)
    as_float = known.astype(np.float64)
    covariance = away.T @ away / np.maximum(as_float.T @ as_float, 1)
    precision = _inverse(covariance)
    if known.all():
        return mean, precision
    for _ in range(_STEPS):
        filled = conditional_means(scaled, mean, precision)
        left = np.zeros_like(precision)
        for missing, rows in _patterns(~known):
            if len(missing):
                left[np.ix_(missing, missing)] += len(rows) * np.linalg.inv(precision[np.ix_(missing, missing)])
        mean = filled.mean(axis=0)
        away = filled - mean
        precision = _inverse((away.T @ away + left) / len(scaled))
    return mean, precision


def _inverse(covariance: Floats) -> Floats:
    """Return the inverse of a covariance whose correlations have eigenvalues of at least a floor."""
    deviation = np.sqrt(np.maximum(np.diag(covariance), np.finfo(np.float64).tiny))
    deviation = np.where(deviation > 1e-9, deviation, 1.0)
    correlation = covariance / np.outer(deviation, deviation)
    np.fill_diagonal(correlation, 1.0)
    eigenvalues, vectors = np.linalg.eigh(correlation)
    inverse: Floats = (vectors / np.maximum(eigenvalues, _FLOOR)) @ vectors.T / np.outer(deviation, deviation)
    return inverse


def _patterns(is_missing: NDArray[np.bool_]) -> list[tuple[NDArray[np.intp], NDArray[np.intp]]]:
    """Return the columns of each pattern of missing values, with the numbers of its rows."""
    patterns, which = np.unique(np.packbits(is_missing, axis=1), axis=0, return_inverse=True)
    order = np.argsort(which.reshape(-1), kind="stable")
    ends = np.cumsum(np.bincount(which.reshape(-1), minlength=len(patterns)))
    rows = np.split(order, ends[:-1])
    return [(np.flatnonzero(is_missing[each[0]]), each) for each in rows if len(each)]
