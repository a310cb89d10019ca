"""Which rows to report so that the expected share of false alarms among them is limited."""

from __future__ import annotations

from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray


def rows_flagged_together(least: float, n_rows: int, fdr: float) -> int:
    """Return how many of ``n_rows`` rows at least are flagged together, if any, at a false-discovery rate ``fdr``.

    ``least`` is the smallest p-value that a row can have. The result may exceed ``n_rows``: then no row is flagged.

    Examples
    --------
    >>> from aefast.model.false_discoveries import rows_flagged_together
    >>> rows_flagged_together(least=0.001, n_rows=10_000, fdr=0.05)
    200
    """
    return int(np.ceil(least * n_rows / fdr - 1e-9))


def too_few_held_out(least: float, n_rows: int, fdr: float) -> str:
    """Return advice if too few rows were held out to report a single row, else "".

    ``least`` is the smallest p-value of ``n_rows`` rows.
    """
    n_together = rows_flagged_together(least, n_rows, fdr)
    if n_together <= 1:
        return ""
    why = f"nothing is reported: no p-value is below {least:.3g}, so with fdr={fdr:g}"
    if n_together > n_rows:
        return f"{why} no row can be, however abnormal; fit or recalibrate on more rows, or give a larger fdr"
    return (
        f"{why} at least {n_together:,} of {n_rows:,} rows would have to be flagged together; fit or recalibrate on "
        "more rows, or score fewer rows at a time"
    )


def benjamini_hochberg(p_values: ArrayLike, fdr: float) -> NDArray[np.bool_]:
    """Return which rows to report so that the expected share of false alarms among them is at most ``fdr``.

    The k rows with the smallest p-values are reported, for the largest k with p_(k) <= fdr k / n (Benjamini and
    Hochberg 1995, section 3.1). Conformal p-values from one calibration set depend on each other, and the guarantee
    holds for them too (Bates et al. 2023, theorem 2).

    Parameters
    ----------
    p_values : array-like of shape (n,)
        In [0, 1].
    fdr : float in (0, 1)
        The false-discovery rate to allow.

    Returns
    -------
    ndarray of shape (n,), bool
        True for rows to report.

    Raises
    ------
    ValueError
        If ``fdr`` is not in (0, 1).

    Examples
    --------
    >>> from aefast.model.false_discoveries import benjamini_hochberg
    >>> benjamini_hochberg([0.01, 0.9, 0.03, 0.4], fdr=0.1)
    array([ True, False,  True, False])
    """
    check_fdr(fdr)
    p = np.asarray(p_values, dtype=np.float64)
    ascending = np.sort(p)
    holds = np.flatnonzero(ascending <= fdr * np.arange(1, len(p) + 1) / len(p))
    if len(holds) == 0:
        return np.zeros(len(p), dtype=np.bool_)
    mask: NDArray[Any] = p <= ascending[holds[-1]]
    return mask


def reported_up_to(levels: ArrayLike, counts: ArrayLike, fdr: float) -> float:
    """Return the largest p-value that `benjamini_hochberg` reports of counted p-values; 0 if it reports none.

    Calibrated p-values take few different values, so that their counts stand for any number of rows, and counts of
    parts of the rows add up.

    Parameters
    ----------
    levels : array-like of shape (k,)
        Different p-values in descending order, as `Calibration.levels` returns.
    counts : array-like of shape (k,)
        Number of rows with each.
    fdr : float in (0, 1)
        The false-discovery rate to allow.

    Examples
    --------
    >>> from aefast.model.false_discoveries import reported_up_to
    >>> reported_up_to([0.9, 0.4, 0.03, 0.01], [1, 1, 1, 1], fdr=0.1)
    0.03
    """
    check_fdr(fdr)
    p, n_at_most = np.asarray(levels, dtype=np.float64), np.cumsum(np.asarray(counts)[::-1])[::-1]
    holds = (n_at_most > 0) & (p <= fdr * n_at_most / max(n_at_most.max(initial=1), 1))
    return float(p[holds].max(initial=0.0))


def summed_counts(
    first: tuple[NDArray[Any], NDArray[Any]], second: tuple[NDArray[Any], NDArray[Any]]
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return the different p-values of two lists, descending, and the sum of their counts; see `reported_up_to`."""
    levels, places = np.unique(np.concatenate([first[0], second[0]]), return_inverse=True)
    counts = np.bincount(places, np.concatenate([first[1], second[1]]), len(levels)).astype(np.int64)
    return levels[::-1], counts[::-1]


def check_fdr(fdr: float) -> None:
    """Raise ValueError if ``fdr`` is not in (0, 1)."""
    if not isinstance(fdr, Real) or not 0 < fdr < 1:
        raise ValueError(f"fdr must be in (0, 1), got {fdr!r}")
