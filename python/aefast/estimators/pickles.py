"""Pickles of earlier versions, whose estimators had each fitted attribute by itself instead of a model."""

from __future__ import annotations

from typing import Any

from aefast.estimators.constraints import defaults_of
from aefast.model.model import Model
from aefast.model.scaling import FeatureScaling
from aefast.training.plain import plain_parameters
from aefast.training.recipe import Continuation


def upgraded(state: dict[str, Any], cls: Any) -> dict[str, Any]:
    """Return the state of a pickled estimator as this version would have it.

    Parameters that the earlier version lacked get their defaults. A model replaces the single fitted attributes.
    """
    state = defaults_of(cls) | state
    if "network_" not in state or "model_" in state:
        return state
    parameters = {name: value for name, value in state.items() if not name.endswith("_") and not name.startswith("_")}
    names, ranges = state.get("feature_names_in_"), state.get("input_ranges_")
    model = Model(
        kind=cls.__name__,
        network=state["network_"],
        coefs=tuple(state["coefs_"]),
        intercepts=tuple(state["intercepts_"]),
        norms=tuple(state["norms_"]),
        scaling=FeatureScaling(
            state["_scaler_kind"], state["scaler_shift_"], state["scaler_scale_"], state["column_means_"]
        ),
        columns=state["columns_"],
        feature_names=None if names is None else tuple(map(str, names)),
        loss=state["_loss_kind"],
        score_metric=state["score_metric_"],
        dtype=state["dtype"],
        missing=state["missing"],
        n_threads=state["n_threads"],
        calibration=state["calibration_"],
        offset=state["offset_"],
        whitening=state["whitening_"],
        input_ranges=None if ranges is None else tuple(ranges),
        loss_curve=tuple(state["loss_curve_"]),
        validation_curve=tuple(state["validation_curve_"]),
        best_loss=state["best_loss_"],
        parameters=plain_parameters(parameters, strict=False),
    )
    continuation = Continuation(state.get("_seed"), state["_n_passes"], state.get("_optimizer_state"))
    return {**parameters, "model_": model, "continuation_": continuation}
