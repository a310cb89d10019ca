"""What is usual on each weekday: scores are moved so that as many usual rows of a Saturday as of a Monday are flagged.

A level that occurs in every third row on weekdays and in every seventh on a Saturday is rarer evidence on Saturdays.
Without this, clean Saturdays would be flagged more than other days.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aefast.columns.column import Column, hours_and_days, input_starts
from aefast.model.evidence import DAYS
from aefast.model.scaling import quantiles

Array = NDArray[Any]
Doubles = NDArray[np.float64]

#: The quantile that is made equal, and rows of a weekday that suffice to know it.
LEVEL, ENOUGH = 0.9, 50
#: The share of a score that stays if more is taken away from it.
LEAST_SHARE = 0.1


def weekdays_of(rows: Array, columns: Sequence[Column]) -> NDArray[np.int64] | None:
    """Return the weekday (n,) of encoded rows, -1 if the time is missing; None if no column knows weekdays."""
    for at, column in zip(input_starts(columns), columns, strict=True):
        if column.kind == "timestamp" and column.knows_week:
            points = rows[:, at : at + column.n_inputs]
            return np.where(np.isnan(points).any(axis=1), -1, hours_and_days(points)[1])
    return None


def weekday_shifts(scores: Doubles, days: NDArray[np.int64], weights: Doubles | None = None) -> Doubles:
    """Return what is added to the scores of each weekday (7,); empty if the weekdays do not differ.

    The differences between the weekdays' quantiles are shrunk by the share of their dispersion that chance explains
    (James and Stein 1961).

    Parameters
    ----------
    scores : ndarray of shape (n,)
        Of rows that are like fresh ones.
    days : ndarray of shape (n,)
        From 0 for Monday; -1 is unknown.
    weights : ndarray of shape (n,), optional

    Examples
    --------
    >>> import numpy as np
    >>> from aefast.model.weekdays import weekday_shifts
    >>> scores, days = np.tile(np.arange(1000.0), 7), np.repeat(np.arange(7), 1000)
    >>> weekday_shifts(scores, days)
    array([], dtype=float64)
    >>> weekday_shifts(scores + 100 * (days == 5), days).round().tolist()
    [14.0, 14.0, 14.0, 14.0, 14.0, -80.0, 14.0]
    """
    known = [day for day in range(DAYS) if np.count_nonzero(days == day) >= ENOUGH]
    if len(known) < 2:
        return np.empty(0)

    def quantile(rows: NDArray[np.bool_] | slice) -> float:
        return float(quantiles(scores[rows], (LEVEL,), None if weights is None else weights[rows])[0])

    overall, shifts, surprise = quantile(slice(None)), np.zeros(DAYS), 0.0
    for day in known:
        rows = days == day
        share = np.average(scores[rows] > overall, weights=None if weights is None else weights[rows])
        n = np.count_nonzero(rows) if weights is None else weights[rows].sum() ** 2 / np.square(weights[rows]).sum()
        shifts[day] = overall - quantile(rows)
        surprise += (share - (1 - LEVEL)) ** 2 * n / (LEVEL * (1 - LEVEL))
    kept = 1 - (len(known) - 1) / max(surprise, 1e-9)
    return shifts * kept if kept > 0 else np.empty(0)


def shifted(scores: Doubles, days: NDArray[np.int64] | None, shifts: Doubles) -> Doubles:
    """Return the scores (n,) of rows of these weekdays with the ``shifts`` of `weekday_shifts` added.

    Scores are at least 0. A part of them stays, `LEAST_SHARE`, so that the order of a day's rows does.
    """
    if days is None or len(shifts) == 0:
        return scores
    found: Doubles = np.maximum(scores + np.append(shifts, 0.0)[days], LEAST_SHARE * scores)
    return found
