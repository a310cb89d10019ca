"""The registry of layer kinds: for each kind one class with its description, its sizes and the checks of a model file.

A description (``LayerSpec``) is the plain dictionary that the engine reads. A new kind of layer needs its C++ header
and one class here, listed in `LAYERS`.
"""

from __future__ import annotations

from typing import Any

from aefast.engine import core
from aefast.model.image_layers import IMAGE_LAYERS
from aefast.model.layer import MOST_UNITS, Context, Layer, integer, number

ACTIVATIONS = (
    "identity", "sigmoid", "tanh", "relu", "leaky_relu", "elu", "selu", "gelu", "silu", "softplus",
)  # fmt: skip
OUTPUT_ACTIVATIONS = (*ACTIVATIONS, "softmax")


class Dense(Layer):
    """A matrix product, optional batch normalisation and an activation."""

    kind = "dense"
    has_weights = True

    @classmethod
    def weight_shape(cls, layer: core.LayerSpec, n_in: int) -> tuple[int, ...]:
        return n_in, layer["units"]

    @classmethod
    def n_biases(cls, layer: core.LayerSpec) -> int:
        return layer["units"]

    @classmethod
    def fans(cls, shape: tuple[int, ...]) -> tuple[int, int]:
        return shape[0], shape[1]

    @classmethod
    def checked(cls, layer: dict[str, Any], context: Context) -> core.LayerSpec:
        owner = integer(layer["tied_to"], -1, len(context.before) - 1)
        if type(layer["batch_norm"]) is not bool:
            raise ValueError(f"batch_norm of {context.name} must be true or false")
        owners = context.before[: owner + 1]
        if any(each["kind"] != "dense" or each["tied_to"] >= 0 or each["batch_norm"] for each in owners) or (
            owners and layer["batch_norm"]
        ):
            raise ValueError(f"{context.name} is tied to a layer without weights of its own")
        units = integer(layer["units"], 1, MOST_UNITS)
        return dense_layer(units, layer["activation"], tied_to=owner, batch_norm=layer["batch_norm"])


class TopK(Layer):
    """Keeps the k largest outputs of a row and sets the others to 0."""

    kind = "top_k"
    keeps_width = True

    @classmethod
    def checked(cls, layer: dict[str, Any], context: Context) -> core.LayerSpec:
        return {"kind": cls.kind, "units": context.n_in, "k": integer(layer["k"], 1, context.n_in)}


class KlSparsity(Layer):
    """Adds a penalty on the mean activations in training; passes its inputs on."""

    kind = "kl_sparsity"
    keeps_width = True

    @classmethod
    def checked(cls, layer: dict[str, Any], context: Context) -> core.LayerSpec:
        target, weight = number(layer["target"]), number(layer["weight"])
        return {"kind": cls.kind, "units": context.n_in, "target": target, "weight": weight}


class GaussianCode(Layer):
    """Draws a code from means and log-variances, which the layer before it gives."""

    kind = "gaussian_code"

    @classmethod
    def append_width(cls, layer: core.LayerSpec, widths: list[int]) -> None:
        """Replace the width of means and log-variances by that of the means."""
        widths[-1] = layer["units"]

    @classmethod
    def checked(cls, layer: dict[str, Any], context: Context) -> core.LayerSpec:
        units = integer(layer["units"], 1, MOST_UNITS)
        if context.n_in != 2 * units or context.before[-1].get("activation") != "identity":
            raise ValueError(f"{context.name} does not come after as many means and log-variances")
        return {"kind": cls.kind, "units": units}


_KINDS: tuple[type[Layer], ...] = (Dense, TopK, KlSparsity, GaussianCode)
#: Kinds of layers by their names in descriptions.
LAYERS: dict[str, type[Layer]] = {**{layer.kind: layer for layer in _KINDS}, **IMAGE_LAYERS}


def has_weights(layer: core.LayerSpec) -> bool:
    """Return whether a layer has weights and biases."""
    return LAYERS[layer["kind"]].has_weights


def checked_layer(layer: dict[str, Any], context: Context, *, is_last: bool) -> core.LayerSpec:
    """Return a layer of a file, built anew from values that were checked one by one.

    Raises
    ------
    ValueError, TypeError, KeyError, IndexError or AttributeError
        If a value is missing or not valid.
    """
    units, dropout = integer(layer["units"], 1, MOST_UNITS), number(layer["dropout"])
    if not 0 <= dropout < 1:
        raise ValueError(f"dropout of {context.name} is not in [0, 1)")
    if layer["kind"] not in LAYERS:
        raise ValueError(f"{context.name} is of an unknown kind")
    kind = LAYERS[layer["kind"]]
    if kind.has_weights and layer["activation"] not in (OUTPUT_ACTIVATIONS if is_last else ACTIVATIONS):
        raise ValueError(f"{context.name} has an unknown activation")
    checked = kind.checked(layer, context)
    if units != checked["units"]:
        raise ValueError(f"{context.name} does not have {units} units")
    checked["dropout"] = dropout
    return checked


def dense_layer(
    units: int, activation: str, *, tied_to: int = -1, batch_norm: bool = False, dropout: float = 0.0
) -> core.LayerSpec:
    """Describe a dense layer. ``tied_to`` is the index of the layer whose transposed weights it uses, or -1."""
    return {
        "kind": "dense",
        "units": units,
        "activation": activation,
        "tied_to": tied_to,
        "batch_norm": batch_norm,
        "dropout": dropout,
    }
