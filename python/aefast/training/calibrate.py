"""The end of every training: input ranges, what distances are measured from, threshold and calibration."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aefast.engine import core
from aefast.engine.threads import one_blas_thread
from aefast.model.calibration import decisions, fresh_decisions
from aefast.model.scaling import FeatureScaling
from aefast.model.whitening import Whitening, joint_whitening, turned_to_features
from aefast.training.data import CalibrationRows, Choices, Rows
from aefast.training.effects import MAX_JOINT_ROWS, effects, residuals_and_codes, scaled_rows
from aefast.training.gaps import calibrate_gaps, without_gaps
from aefast.training.standardise import calibrated_distances

Array = NDArray[Any]

#: Number of rows that suffices for the ranges of activations.
RANGE_ROWS = 4096


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
    refit: Callable[[Rows], core.Predictor | None] | None = None,
    is_heavy: bool = False,
) -> dict[str, Any]:
    """Return ``input_ranges``, ``whitening``, ``distances``, ``gaps``, ``offset`` and ``calibration`` of a model.

    If ``in_haste``, a random choice of the rows decides. ``refit(rows)`` returns the network trained on those rows
    instead, or None if it cannot be; ``is_heavy`` if this takes long.
    """
    X, train = rows.X, rows.train
    found: dict[str, Any] = dict.fromkeys(("input_ranges", "whitening", "distances"))
    if dtype == "float32":
        few = choices.few(train, len(X))
        few = few[:: 1 + (len(few) - 1) // RANGE_ROWS]
        found["input_ranges"] = tuple(predictor.input_ranges(X[few], len(few) // 2000))
    if score_metric == "mahalanobis":
        found["whitening"] = _whitening(predictor, X[choices.few(train, len(X), MAX_JOINT_ROWS)], scaling, missing)
    rows = rows.few(choices) if in_haste else rows
    if score_metric == "calibrated":
        again, gapped, gaps, is_missing = None if in_haste else refit, rows, None, None
        if missing == "mask":
            elements = np.arange(X.shape[1])
            rows, gaps, is_missing = without_gaps(predictor, rows, elements=elements, scaling=scaling, choices=choices)
        with one_blas_thread():
            found["distances"], scores, weights = calibrated_distances(
                predictor, rows, choices=choices, scaling=scaling, missing=missing, refit=again, is_heavy=is_heavy
            )
        if gaps is not None:
            distances = found["distances"]
            gaps = calibrate_gaps(predictor, gaps, distances, gapped, scaling=scaling, choices=choices)
            if is_missing is not None:
                scores = gaps.calibrated(scores, is_missing if rows.used is None else is_missing[rows.used])
        offset, calibration = fresh_decisions(scores.astype(dtype), contamination, weights)
        return {**found, "gaps": gaps, "offset": offset, "calibration": calibration}
    X, used, held_out = rows.X, rows.used, rows.held_out
    errors = predictor.errors(X, score_metric, found["whitening"])
    compared = held_out if held_out is not None else used
    offset, calibration = decisions(
        errors if used is None else errors[used], contamination, errors if compared is None else errors[compared]
    )
    return {**found, "offset": offset, "calibration": calibration}


def _whitening(predictor: core.Predictor, rows: Array, scaling: FeatureScaling, missing: str) -> Whitening:
    scaled, is_missing = scaled_rows(rows, scaling, missing)
    residuals, codes = residuals_and_codes(predictor, rows, scaled)
    if missing == "mask":
        residuals[is_missing] = 0
    whitening = joint_whitening(residuals, codes, scaled)

    def joint_of(flat: Array) -> Array:
        return np.hstack(residuals_and_codes(predictor, flat * scaling.scale + scaling.shift, flat))

    joint = np.hstack([residuals, codes])
    return turned_to_features(whitening, effects(whitening, joint, scaled, np.arange(scaled.shape[1]), joint_of))
