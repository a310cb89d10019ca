"""The end of every training: input ranges, whitening, threshold and the errors that p-values compare with."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from aefast.engine import core
from aefast.model.calibration import decisions
from aefast.model.scaling import FeatureScaling
from aefast.model.whitening import KEPT, Whitening, joint_whitening, turned_to_features
from aefast.training.data import Choices, Rows

Array = NDArray[Any]

#: Number of rows that suffices for the ranges of activations.
RANGE_ROWS = 4096
#: Number of rows whose residuals and codes `aefast.model.whitening` reads, in double precision and more than once.
MAX_JOINT_ROWS = 8192
#: Number of usual rows in which each feature is changed to see its effect, and the change in its deviations.
EFFECT_ROWS, EFFECT_STEP = 32, 0.1


class CalibrationRows(NamedTuple):
    """Rows (n, d) and the numbers of those that decide the threshold, were trained on, and were held out.

    None for ``used`` and ``train`` is all rows, None for ``held_out`` is no row.
    """

    X: Array
    used: Rows | None = None
    train: Rows | None = None
    held_out: Rows | None = None

    def few(self, choices: Choices) -> CalibrationRows:
        """Return a random choice of the rows that decide, for a training that was interrupted."""
        X, used, held_out = self.X, choices.few(self.used, len(self.X)), self.held_out
        held_out = None if held_out is None else choices.few(held_out, len(X))
        numbers = used if held_out is None else np.union1d(used, held_out)
        X, used = X[numbers], np.searchsorted(numbers, used)
        return CalibrationRows(X, used, None, None if held_out is None else np.searchsorted(numbers, held_out))


def calibrate(
    predictor: core.Predictor,
    rows: CalibrationRows,
    *,
    choices: Choices,
    scaling: FeatureScaling,
    missing: str,
    score_metric: str,
    dtype: str,
    contamination: float,
    in_haste: bool,
) -> dict[str, Any]:
    """Return ``input_ranges``, ``whitening``, ``offset`` and ``calibration`` of a model.

    If ``in_haste``, a random choice of the rows decides.
    """
    X, train = rows.X, rows.train
    input_ranges = whitening = None
    if dtype == "float32":
        few = choices.few(train, len(X))
        few = few[:: 1 + (len(few) - 1) // RANGE_ROWS]
        input_ranges = tuple(predictor.input_ranges(X[few], len(few) // 2000))
    if score_metric == "mahalanobis":
        whitening = _whitening(predictor, X[choices.few(train, len(X), MAX_JOINT_ROWS)], scaling, missing)
    X, used, _, held_out = rows.few(choices) if in_haste else rows
    errors = predictor.errors(X, score_metric, whitening)
    compared = held_out if held_out is not None else used
    offset, calibration = decisions(
        errors if used is None else errors[used], contamination, errors if compared is None else errors[compared]
    )
    return {"input_ranges": input_ranges, "whitening": whitening, "offset": offset, "calibration": calibration}


def _whitening(predictor: core.Predictor, rows: Array, scaling: FeatureScaling, missing: str) -> Whitening:
    scaled = scaling.apply(rows.astype(np.float64))
    is_missing = np.isnan(scaled)
    scaled = np.where(is_missing, scaling.fill(missing), scaled)
    residuals, codes = _residuals_and_codes(predictor, rows, scaled)
    if missing == "mask":
        residuals[is_missing] = 0
    whitening = joint_whitening(residuals, codes, scaled)
    return turned_to_features(whitening, _effects(predictor, whitening, np.hstack([residuals, codes]), scaled, scaling))


def _residuals_and_codes(predictor: core.Predictor, rows: Array, scaled: NDArray[np.float64]) -> tuple[Array, Array]:
    """Return residuals and codes of rows, which are ``scaled`` in the scaled space."""
    return scaled - predictor.reconstruct(rows, scaled=True), predictor.encode(rows)


def _effects(
    predictor: core.Predictor,
    whitening: Whitening,
    joint: Array,
    scaled: NDArray[np.float64],
    scaling: FeatureScaling,
) -> NDArray[np.float64]:
    """Return how residual and code (d, p) change, on average over usual rows, if one feature changes.

    ``joint`` (n, p) are the residuals and codes of the rows ``scaled`` (n, d).
    """
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
        inputs = flat * scaling.scale + scaling.shift
        moved = np.hstack(_residuals_and_codes(predictor, inputs, flat))
        up, down = moved.reshape(*changed.shape[:3], -1).mean(axis=2)
        effects[features] = (up - down) / (2 * step[:, None])
    return effects
