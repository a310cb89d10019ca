"""What makes decisions of a trained network's errors: whitening, threshold, and what p-values compare with."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from aefast.engine import core
from aefast.estimators.fitted import DecisionMixin
from aefast.model.whitening import KEPT, Whitening, joint_whitening, turned_to_features
from aefast.training.data import Rows

Array = NDArray[Any]

# One stream of random numbers for each purpose, so that none depends on how many another has drawn.
WEIGHTS, HELD_OUT, FEW, RESERVOIR = range(4)

#: Rows that are enough for a covariance or a threshold, where not all can be looked at.
MAX_ROWS = 20_000
#: Rows that are enough for the ranges of activations.
RANGE_ROWS = 4096
#: And those whose residuals and codes `aefast.model.whitening` looks at, in double precision and more than once.
MAX_JOINT_ROWS = 8192
#: Usual rows in which each feature is changed, to see what it moves, and by how many of its deviations.
EFFECT_ROWS, EFFECT_STEP = 32, 0.1


def _residuals_and_codes(predictor: core.Predictor, rows: Array, scaled: NDArray[np.float64]) -> tuple[Array, Array]:
    """Of rows, which are ``scaled`` in the scaled space."""
    return scaled - predictor.reconstruct(rows, scaled=True), predictor.encode(rows)


class CalibratingMixin(DecisionMixin):
    """The end of every `fit`."""

    _seed: int

    def _rng(self, purpose: int, *key: int) -> np.random.Generator:
        return np.random.default_rng([self._seed, purpose, *key])

    def _few(self, rows: Rows | None, n_rows: int, n_most: int = MAX_ROWS) -> Rows:
        """A random choice of at most ``n_most`` of the row numbers (None: all of ``n_rows``), ascending."""
        n = n_rows if rows is None else len(rows)
        chosen = np.arange(n)
        if n > n_most:
            # Not Generator.choice, which would shuffle all of them.
            chosen = np.unique(self._rng(FEW).integers(n, size=n_most))
        return chosen if rows is None else rows[chosen]

    def _calibrate(
        self, X: Array, used: Rows | None, train: Rows | None, held_out: Rows | None, *, hurry: bool
    ) -> None:
        """What turns errors into decisions: whitening, threshold, and the errors that p-values compare with.

        In a ``hurry`` a few of the rows have to do.
        """
        predictor = self._predictor()
        self.input_ranges_ = None
        if self.dtype == "float32":
            few = self._few(train, len(X))
            few = few[:: 1 + (len(few) - 1) // RANGE_ROWS]
            self.input_ranges_ = predictor.input_ranges(X[few], len(few) // 2000)
        self.whitening_ = None
        if self.score_metric_ == "mahalanobis":
            rows = X[self._few(train, len(X), MAX_JOINT_ROWS)]
            scaled = self._scaled(rows.astype(np.float64))
            is_missing = np.isnan(scaled)
            scaled = np.where(is_missing, self._fill(), scaled)
            residuals, codes = _residuals_and_codes(predictor, rows, scaled)
            if self.missing == "mask":
                residuals[is_missing] = 0
            whitening = joint_whitening(residuals, codes, scaled)
            effects = self._effects(predictor, whitening, np.hstack([residuals, codes]), scaled)
            self.whitening_ = turned_to_features(whitening, effects)
        if hurry:
            used = self._few(used, len(X))
            held_out = None if held_out is None else self._few(held_out, len(X))
            numbers = used if held_out is None else np.union1d(used, held_out)
            X, used = X[numbers], np.searchsorted(numbers, used)
            held_out = None if held_out is None else np.searchsorted(numbers, held_out)
        errors = predictor.errors(X, *self._metric(None))
        calibration = held_out if held_out is not None else used
        self._decide_by(
            errors if used is None else errors[used], errors if calibration is None else errors[calibration]
        )

    def _effects(
        self, predictor: core.Predictor, whitening: Whitening, joint: Array, scaled: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """How residual and code (d, p) change, on average over usual rows, where one feature does; those of ``scaled``
        are ``joint`` (n, p)."""
        distances = np.square((joint - whitening.centre) @ whitening.matrix.T).sum(axis=1)
        usual = np.argsort(distances, kind="stable")[: max(1, int(KEPT * len(scaled)))]
        base, d = scaled[usual[:: 1 + (len(usual) - 1) // EFFECT_ROWS]], scaled.shape[1]
        effects = np.empty((d, len(whitening.centre)))
        at_once = max(1, MAX_JOINT_ROWS // (2 * len(base)))
        for first in range(0, d, at_once):
            features = np.arange(first, min(first + at_once, d))
            step = EFFECT_STEP * whitening.deviation[features]
            changed = np.tile(base, (2, len(features), 1, 1))
            for sign, rows in zip((1, -1), changed, strict=True):
                rows[np.arange(len(features)), :, features] += sign * step[:, None]
            flat = changed.reshape(-1, d)
            inputs = flat * self.scaler_scale_ + self.scaler_shift_
            moved = np.hstack(_residuals_and_codes(predictor, inputs, flat))
            up, down = moved.reshape(*changed.shape[:3], -1).mean(axis=2)
            effects[features] = (up - down) / (2 * step[:, None])
        return effects
