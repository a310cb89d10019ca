"""The registry of losses and metrics, and the names of the other choices that scoring offers.

A new loss is one struct in the engine's ``losses.hpp`` and one row here.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

from aefast.engine import core


class Metric(NamedTuple):
    """One row of the registry."""

    name: str
    #: True if networks can be trained with it; False if it only scores rows.
    is_loss: bool = True
    #: Output activations whose values are probabilities; empty if the metric accepts every activation.
    output_activations: tuple[str, ...] = ()
    #: Factor that turns a row's summed loss into minus its log-likelihood.
    likelihood_scale: float = 1.0


_ROWS = (
    Metric("mse", likelihood_scale=0.5),
    Metric("mae"),
    Metric("max", is_loss=False),
    Metric("huber"),
    Metric("binary_crossentropy", output_activations=("sigmoid", "softmax")),
    Metric("categorical_crossentropy", output_activations=("softmax",)),
    Metric("mahalanobis", is_loss=False),
    Metric("calibrated", is_loss=False),
)
_BY_NAME = {row.name: row for row in _ROWS}
METRICS = tuple(_BY_NAME)
LOSSES = tuple(row.name for row in _ROWS if row.is_loss)
#: The losses that compare probabilities, each with the output activations that it accepts.
PROBABILITIES = {row.name: row.output_activations for row in _ROWS if row.output_activations}
#: The metrics that compare a row with the training rows, so that a model has arrays for them.
COMPARING = ("mahalanobis", "calibrated")
PRECISIONS = ("float32", "bfloat16", "int8")
MISSING = ("error", "mask", "mean")
DTYPES = ("float32", "float64")


def likelihood_scale(loss: str) -> float:
    """Return the factor that turns a row's summed loss into minus its log-likelihood."""
    return _BY_NAME[loss].likelihood_scale


def check_probabilities(name: str, value: str, output_activation: str) -> None:
    """Raise ValueError if the loss or metric ``name=value`` needs probabilities and the outputs are not."""
    allowed = PROBABILITIES.get(value, (output_activation,))
    if output_activation not in allowed:
        raise ValueError(
            f"{name}={value!r} needs output_activation={' or '.join(map(repr, allowed))}, got {output_activation!r}"
        )


def checked_metric(metric: str | None, score_metric: str, network: core.NetworkSpec, *, has: Collection[str]) -> str:
    """Return the engine's metric for a user's ``metric``; None is ``score_metric``.

    ``has`` names those of the metrics that compare a row with training rows whose arrays the model has.

    Raises
    ------
    ValueError
        If the metric is unknown, or the network or missing arrays rule it out.
    """
    name = score_metric if metric is None else metric
    if name not in METRICS:
        raise ValueError(f"metric must be None or one of {', '.join(METRICS)}, got {metric!r}")
    check_probabilities("metric", name, network["layers"][-1]["activation"])
    if name in COMPARING and name not in has:
        wanted = "auto" if name == "calibrated" else name
        raise ValueError(f"metric={name!r} needs a model that was fitted with score_metric={wanted!r}")
    return name
