"""The end of every training: input ranges, what distances are measured from, threshold and calibration."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aefast.columns.column import expanded
from aefast.engine.threads import one_blas_thread
from aefast.model.calibration import decisions, fresh_decisions
from aefast.model.whitening import Whitening, joint_whitening, turned_to_features
from aefast.training.data import CalibrationRows
from aefast.training.effects import MAX_JOINT_ROWS, TrainedNetwork, effects, scaled_rows
from aefast.training.gaps import calibrate_gaps, without_gaps
from aefast.training.joined import fit_joined
from aefast.training.standardise import calibrated_distances

Array = NDArray[Any]

#: Number of rows that suffices for the ranges of activations.
RANGE_ROWS = 4096


def calibrate(
    network: TrainedNetwork, rows: CalibrationRows, *, score_metric: str, contamination: float, in_haste: bool
) -> dict[str, Any]:
    """Return what the score of a model follows from, its ``offset`` and its ``calibration``.

    If ``in_haste``, a random choice of the rows decides, and no network is trained on other rows.
    """
    predictors, predictor, choices = network.predictors, network.predictor, network.choices
    X, train, columns, dtype = rows.X, rows.train, predictors.columns, predictors.dtype
    found: dict[str, Any] = dict.fromkeys(("input_ranges", "whitening", "distances", "evidence"))
    if dtype == "float32":
        few = choices.few(train, len(X))
        few = few[:: 1 + (len(few) - 1) // RANGE_ROWS]
        found["input_ranges"] = tuple(predictor.input_ranges(X[few], len(few) // 2000))
    if score_metric == "mahalanobis":
        elements = expanded(X[choices.few(train, len(X), MAX_JOINT_ROWS)], columns)
        found["whitening"] = _whitening(replace(network, predictors=replace(predictors, columns=None)), elements)
    if in_haste:
        rows, network = rows.few(choices), replace(network, refit=lambda rows: None)
    if score_metric == "calibrated":
        gapped, gaps, is_missing = rows, None, None
        if network.missing == "mask" and columns is None:
            rows, gaps, is_missing = without_gaps(network, rows, np.arange(X.shape[1]))
        with one_blas_thread():
            if columns is None:
                found["distances"], scores, weights = calibrated_distances(network, rows)
            else:
                found["distances"], found["evidence"], gaps, scores, weights = fit_joined(network, rows, columns)
        if gaps is not None and columns is None:
            gaps = calibrate_gaps(network, gaps, found["distances"], gapped)
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


def _whitening(network: TrainedNetwork, rows: Array) -> Whitening:
    scaled, is_missing = scaled_rows(rows, network.scaling, network.missing)
    joint, n_features = network.joint(rows, scaled), scaled.shape[1]
    if network.missing == "mask":
        joint[:, :n_features][is_missing] = 0
    whitening = joint_whitening(joint[:, :n_features], joint[:, n_features:], scaled)

    def joint_of(flat: Array) -> Array:
        return network.joint(network.inputs(flat), flat)

    return turned_to_features(whitening, effects(whitening, joint, scaled, np.arange(n_features), joint_of))
