"""Estimates how often rows of low confidence are rejected, and at what cost (Perini and Davis 2023, section 3)."""

from __future__ import annotations

import numpy as np
from scipy.special import betainccinv, betaincinv


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
