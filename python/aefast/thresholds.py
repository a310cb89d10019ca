"""From errors to decisions: the contamination threshold, conformal p-values and false-discovery control.

Errors are higher for more abnormal rows; scores are their negatives, as scikit-learn counts.
"""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray


def contamination_offset(scores: ArrayLike, contamination: float) -> float:
    """The score below which a row is called an outlier: the ``contamination`` quantile of the training scores.

    Parameters
    ----------
    scores : array-like of shape (n,)
        Scores of the training rows, lower for more abnormal rows; finite.
    contamination : float in (0, 0.5]
        Share of the training rows to call outliers. Between two scores the quantile is interpolated linearly, as
        in scikit-learn's ``IsolationForest``.

    Returns
    -------
    float
        The offset.

    Examples
    --------
    >>> from aefast.thresholds import contamination_offset
    >>> contamination_offset([-5.0, -1.0, -2.0], 0.5)
    -2.0
    """
    return float(np.percentile(np.asarray(scores, dtype=np.float64), 100.0 * contamination))


def conformal_p_values(calibration: ArrayLike, errors: ArrayLike) -> NDArray[np.float64]:
    """Conformal p-values: how often a held-out normal row is at least as abnormal.

    p = (1 + #{calibration errors >= error}) / (1 + #calibration) (Vovk, Gammerman and Shafer 2005;
    Bates et al. 2023). If a row and the calibration rows are exchangeable, P(p <= a) <= a for every a, whatever the
    model.

    Parameters
    ----------
    calibration : array-like of shape (m,)
        Errors of rows that the model was not trained on, in ascending order.
    errors : array-like of shape (n,)
        Errors of the rows to judge.

    Returns
    -------
    ndarray of shape (n,), float64
        In [1 / (m + 1), 1]; lower for more abnormal rows.

    Examples
    --------
    >>> from aefast.thresholds import conformal_p_values
    >>> conformal_p_values([1.0, 2.0, 3.0], [0.5, 2.0, 9.0])
    array([1.  , 0.75, 0.25])
    """
    ascending = np.asarray(calibration, dtype=np.float64)
    n_at_least = len(ascending) - np.searchsorted(ascending, np.asarray(errors, dtype=np.float64), side="left")
    return np.asarray((1.0 + n_at_least) / (1.0 + len(ascending)), dtype=np.float64)


def benjamini_hochberg(p_values: ArrayLike, fdr: float) -> NDArray[np.bool_]:
    """Rows to report so that the expected share of false reports among them is at most ``fdr``.

    The k least p-values are reported, k being the largest with p_(k) <= fdr k / n (Benjamini and Hochberg 1995,
    section 3.1). Conformal p-values from one calibration set depend on each other in a way that keeps the guarantee
    (Bates et al. 2023, theorem 2).

    Parameters
    ----------
    p_values : array-like of shape (n,)
        In [0, 1].
    fdr : float in (0, 1)
        The false-discovery rate to allow.

    Returns
    -------
    ndarray of shape (n,), bool
        True for the rows to report.

    Raises
    ------
    ValueError
        If ``fdr`` is not in (0, 1).

    Examples
    --------
    >>> from aefast.thresholds import benjamini_hochberg
    >>> benjamini_hochberg([0.01, 0.9, 0.03, 0.4], fdr=0.1)
    array([ True, False,  True, False])
    """
    if not 0 < fdr < 1:
        raise ValueError(f"fdr must be in (0, 1), got {fdr!r}")
    p = np.asarray(p_values, dtype=np.float64)
    ascending = np.sort(p)
    holds = np.flatnonzero(ascending <= fdr * np.arange(1, len(p) + 1) / len(p))
    if len(holds) == 0:
        return np.zeros(len(p), dtype=np.bool_)
    mask: NDArray[Any] = p <= ascending[holds[-1]]
    return mask
