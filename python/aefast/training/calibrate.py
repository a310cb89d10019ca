"""The end of every training: input ranges, what distances are measured from, threshold and calibration."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aefast.columns.column import expanded
from aefast.engine import core
from aefast.engine.threads import one_blas_thread
from aefast.model.calibration import decisions, fresh_decisions
from aefast.model.predictors import Predictors
from aefast.model.scaling import FeatureScaling
from aefast.model.whitening import Whitening, joint_whitening, turned_to_features
from aefast.training.data import CalibrationRows, Choices, Rows
from aefast.training.effects import MAX_JOINT_ROWS, effects, residuals_and_codes, scaled_rows
from aefast.training.gaps import calibrate_gaps, without_gaps
from aefast.training.joined import fit_joined
from aefast.training.standardise import calibrated_distances

Array = NDArray[Any]

#: Number of rows that suffices for the ranges of activations.
RANGE_ROWS = 4096


def calibrate(
    predictors: Predictors,
    rows: CalibrationRows,
    *,
    choices: Choices,
    scaling: FeatureScaling,
    missing: str,
    score_metric: str,
    dtype: str,
    contamination: float,
    in_haste: bool,
    refit: Callable[[Rows], Predictors | None] | None = None,
    is_heavy: bool = False,
) -> dict[str, Any]:
    """Return what the score of a model follows from, its ``offset`` and its ``calibration``.

    If ``in_haste``, a random choice of the rows decides. ``refit(rows)`` returns the predictors of the network trained
    on those rows instead, or None if it cannot be; ``is_heavy`` if this takes long.
    """
    X, train, columns, predictor = rows.X, rows.train, predictors.columns, predictors.get()
    found: dict[str, Any] = dict.fromkeys(("input_ranges", "whitening", "distances", "evidence"))
    if dtype == "float32":
        few = choices.few(train, len(X))
        few = few[:: 1 + (len(few) - 1) // RANGE_ROWS]
        found["input_ranges"] = tuple(predictor.input_ranges(X[few], len(few) // 2000))
    if score_metric == "mahalanobis":
        of_elements = replace(predictors, columns=None).get()
        elements = expanded(X[choices.few(train, len(X), MAX_JOINT_ROWS)], columns)
        found["whitening"] = _whitening(of_elements, elements, scaling, missing)
    rows = rows.few(choices) if in_haste else rows
    if score_metric == "calibrated":
        again, gapped, gaps, is_missing = None if in_haste else refit, rows, None, None
        if missing == "mask" and columns is None:
            elements = np.arange(X.shape[1])
            rows, gaps, is_missing = without_gaps(predictor, rows, elements=elements, scaling=scaling, choices=choices)
        with one_blas_thread():
            if columns is None:
                found["distances"], scores, weights = calibrated_distances(
                    predictor,
                    rows,
                    choices=choices,
                    scaling=scaling,
                    missing=missing,
                    refit=None if again is None else lambda rows: _first(again(rows)),
                    is_heavy=is_heavy,
                )
            else:
                found["distances"], found["evidence"], gaps, scores, weights = fit_joined(
                    predictors, rows, columns, choices=choices, refit=again, is_heavy=is_heavy
                )
        if gaps is not None and columns is None:
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


def _first(predictors: Predictors | None) -> core.Predictor | None:
    return None if predictors is None else predictors.get()


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
