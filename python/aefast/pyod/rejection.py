"""Confidence of predictions, and rejection of rows of low confidence, as PyOD has them."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import bdtr, betainccinv, betaincinv
from sklearn.utils.validation import check_is_fitted

#: Label that `predict_with_rejection` returns for rejected rows.
REJECTED = -2


class RejectionMethods:
    """Methods of detectors that ask how certain a prediction is."""

    decision_scores_: NDArray[np.float64]

    def decision_function(self, X: Any, batch_size: int | None = None) -> NDArray[np.float64]:
        """Return the scores of rows."""
        raise NotImplementedError

    def _labels(self, scores: NDArray[np.float64]) -> NDArray[np.int64]:
        """Return 1 for scores of outliers, else 0."""
        raise NotImplementedError

    @property
    def _share(self) -> float:
        """The share of the training rows that are outliers."""
        raise NotImplementedError

    def predict_confidence(self, X: Any) -> NDArray[np.float64]:
        """Return the probability that each row's prediction stays the same with other training rows of the same kind.

        Of n training rows let k have scores up to that of the row. The confidence of an outlier is the probability that
        a binomial variable of n trials with probability (1 + k) / (2 + n) exceeds n - floor(contamination n). The
        confidence of a normal row is one minus that probability (Perini, Vercruyssen and Davis 2020).

        Parameters
        ----------
        X : array-like of shape (n, d)
            As in `decision_function`.

        Returns
        -------
        ndarray of shape (n,), float64
            In [0, 1].
        """
        return self._confidence(self.decision_function(X))

    def _confidence(self, scores: NDArray[np.float64]) -> NDArray[np.float64]:
        n = len(self.decision_scores_)
        n_up_to = np.searchsorted(np.sort(self.decision_scores_), scores, side="right")
        as_outlier = 1 - bdtr(n - int(n * self._share), n, (1 + n_up_to) / (2 + n))
        confidence: NDArray[np.float64] = np.where(self._labels(scores) == 1, as_outlier, 1 - as_outlier)
        return confidence

    def predict_with_rejection(
        self,
        X: Any,
        T: float = 32,
        return_stats: bool = False,
        delta: float = 0.1,
        c_fp: float = 1,
        c_fn: float = 1,
        c_r: float = -1,
    ) -> Any:
        """Classify rows as `predict` does, but return -2 for rows of low confidence (Perini and Davis 2023).

        Parameters
        ----------
        X : array-like of shape (n, d)
            As in `decision_function`.
        T : float, default 32
            A row of confidence p is rejected if ``2 |p - 1/2| <= 1 - 2 exp(-T)``.
        return_stats : bool, default False
            Also return the result of `compute_rejection_stats`.
        delta, c_fp, c_fn, c_r : float
            Passed to `compute_rejection_stats`.

        Returns
        -------
        ndarray of shape (n,), int64; with ``return_stats`` a pair of it and a list of three numbers
            1 for outliers, 0 for normal rows, -2 for rows that are rejected.
        """
        scores = self.decision_function(X)
        labels = self._labels(scores)
        self.rejection_threshold_: float = 1 - 2 * np.exp(-T)
        labels[2 * np.abs(self._confidence(scores) - 0.5) <= self.rejection_threshold_] = REJECTED
        if not return_stats:
            return labels
        return labels, list(self.compute_rejection_stats(T=T, delta=delta, c_fp=c_fp, c_fn=c_fn, c_r=c_r))

    def compute_rejection_stats(
        self,
        T: float = 32,
        delta: float = 0.1,
        c_fp: float = 1,
        c_fn: float = 1,
        c_r: float = -1,
        verbose: bool = False,
    ) -> tuple[float, float, float]:
        """Estimate how often `predict_with_rejection` rejects rows and at what cost (Perini and Davis 2023, section 3).

        Parameters
        ----------
        T : float, default 32
            As in `predict_with_rejection`.
        delta : float in (0, 1), default 0.1
            The bound on the rejection rate holds with probability ``1 - delta``.
        c_fp, c_fn, c_r : float
            Costs of a false alarm, a missed anomaly and a rejection. A negative ``c_r`` stands for ``contamination``.
        verbose : bool, default False
            Also print the results.

        Returns
        -------
        (float, float, float)
            Expected rejection rate, upper bound of the rejection rate, upper bound of the expected cost of a row.

        Raises
        ------
        ValueError
            If ``delta`` is not in (0, 1).
        """
        check_is_fitted(self, "decision_scores_")
        if not 0 < delta < 1:
            raise ValueError(f"delta must be in (0, 1), got {delta!r}")
        share = self._share
        n = len(self.decision_scores_)
        rate, bound, cost = rejection_stats(n, share, T, delta, c_fp, c_fn, share if c_r < 0 else c_r)
        if verbose:
            bounds = f"upper bounds: rate {bound:.4g}, cost of a row {cost:.4g}"
            sys.stdout.write(f"expected rejection rate {rate:.4g}, {bounds}\n")
        return rate, bound, cost


def rejection_stats(
    n: int, share: float, T: float, delta: float, c_fp: float, c_fn: float, c_r: float
) -> tuple[float, float, float]:
    """Return the expected rejection rate, a bound of it, and a bound of the expected cost of a row.

    ``n`` is the number of training rows, and ``share`` the share of outliers among them. The other parameters are those
    of `Detector.compute_rejection_stats`.
    """
    # Shares of scores above at which the binomial distribution function is 1 - e^-T and e^-T.
    n_outliers = int(n * share)
    shape = (n_outliers, n - n_outliers + 1)
    low, high = float(betaincinv(*shape, np.exp(-T))), float(betainccinv(*shape, np.exp(-T)))
    root = 2 * n * (-3 * share**2 - 2 * n * (1 - share) ** 2 + 4 * share - 3) + T * (n + 2) ** 2 - 8
    first = (2 + n * (1 - share) * (n + 1)) / n**2 - np.sqrt(max(0.0, root / (2 * n**3)))
    last = 1 - share + (1 - 2 * share) / n + np.sqrt(T / (2 * n)) * (n + 2) / n
    bound = min(1.0, last) - max(0.0, first) + 2 * np.sqrt(np.log(2 / delta) / (2 * n))
    cost = min(share, low) * c_fp + min(1 - high, share) * c_fn + (high - low) * c_r
    return high - low, float(bound), float(cost)
