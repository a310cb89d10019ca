"""A training on rows in memory."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aefast.training.calibrate import CalibrationRows
from aefast.training.checkpoint import digest_of
from aefast.training.data import TrainingRows
from aefast.training.fit import Fit

Array = NDArray[Any]


@dataclass
class FitRows(Fit):
    """A training on rows in memory.

    Attributes
    ----------
    X : ndarray of shape (n, d)
    sample_weight : ndarray of shape (n,), float64, optional
        Rows of weight 0 are left out of everything.
    X_noisy : ndarray of shape (n, d), optional
        What the network gets in place of ``X``, its target.
    validation : ndarray of shape (m, d), optional
        Rows that are held out in place of a share of ``X``.
    """

    X: Array = field(kw_only=True)
    sample_weight: NDArray[np.float64] | None = None
    X_noisy: Array | None = None
    validation: Array | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        X, weights, noisy = self.X, self.sample_weight, self.X_noisy
        if noisy is not None:
            self.require_finite(noisy, "X_noisy")
        used = None if weights is None else np.flatnonzero(weights)
        share = 0.0 if self.continues_epochs else self._of("validation_fraction")
        train, held_out = self._choices.split(len(X) if used is None else len(used), share)
        if self.validation is not None:
            self.require_finite(self.validation, "validation_data")
            n, rows = len(X), self.validation
            train, held_out = np.arange(n) if used is None else used, np.arange(n, n + len(rows))
            used = None if used is None else np.concatenate([used, held_out])
            X, noisy = np.concatenate([X, rows]), None if noisy is None else np.concatenate([noisy, rows])
            weights = None if weights is None else np.concatenate([weights, np.ones(len(rows))])
        elif used is not None:
            train = used if train is None else used[train]
            held_out = None if held_out is None else used[held_out]
        clean = TrainingRows(X, train, weights)
        statistics = self.statistics(clean)
        beyond = None if held_out is None else self.statistics(TrainingRows(X, held_out))
        self._fit_scaling(clean, statistics, TrainingRows(X, used), beyond)
        self._data = clean if noisy is None else TrainingRows(noisy, train, weights, X)
        self._rows = CalibrationRows(X, used, train, held_out)
        self._prepare(
            statistics,
            self._data if held_out is None else replace(self._data, rows=held_out),
            validates=held_out is not None,
            digest=None if self.continues_epochs else lambda: digest_of([X, noisy, weights]),
        )

    def _epoch(self, number: int, rate: float) -> float:
        return self._pass(self._data, number, rate)

    def _calibration_rows(self) -> CalibrationRows:
        return self._rows
