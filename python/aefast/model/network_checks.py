"""A network as a model file describes it, looked at value by value before anything is made of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from aefast.model.layers import (
    IMAGE_LAYERS,
    MOST_TAPS,
    convolution,
    most_values,
    output_image,
    pooling,
    transposed_convolution,
    upsampling,
)
from aefast.model.network import ACTIVATIONS, OUTPUT_ACTIVATIONS, WEIGHTED, dense_layer

if TYPE_CHECKING:
    from aefast.engine.core import LayerSpec, NetworkSpec


def checked_network(network: dict[str, Any]) -> NetworkSpec:
    """The network built anew from values that have been looked at one by one.

    Raises
    ------
    ValueError, TypeError, KeyError, IndexError or AttributeError
        Whatever is wrong with it.
    """
    n_features = integer(network["n_features"], 1, 1 << 31)
    layers: list[LayerSpec] = []
    for index, layer in enumerate(network["layers"]):
        is_last = index == len(network["layers"]) - 1
        n_in = layers[-1]["units"] if layers else n_features
        layers.append(_checked_layer(layer, layers, n_in, n_features, is_last))
    if len(layers) < 2 or network["groups"] != [] or "columns" in network:
        raise ValueError("a network has at least two layers, and no groups")
    if layers[-1]["units"] != n_features:
        raise ValueError("the last layer must have as many outputs as there are features")
    if layers[0]["kind"] not in WEIGHTED or layers[-1]["kind"] not in WEIGHTED:
        raise ValueError("the first and the last layer must have weights")
    return {
        "n_features": n_features,
        "layers": layers,
        "n_encoder_layers": integer(network["n_encoder_layers"], 1, len(layers) - 1),
        "groups": [],
    }


def _checked_layer(
    layer: dict[str, Any], before: list[LayerSpec], n_in: int, n_features: int, is_last: bool
) -> LayerSpec:
    """A layer of ``n_in`` inputs after those ``before``."""
    kind, name = layer["kind"], f"layer {len(before)}"
    units, dropout = integer(layer["units"], 1, 1 << 31), number(layer["dropout"])
    if not 0 <= dropout < 1:
        raise ValueError(f"{name} drops all or none")
    if kind in WEIGHTED and layer["activation"] not in (OUTPUT_ACTIVATIONS if is_last else ACTIVATIONS):
        raise ValueError(f"{name} has an unknown activation")
    checked: LayerSpec
    if kind == "dense":
        owner = integer(layer["tied_to"], -1, len(before) - 1)
        if type(layer["batch_norm"]) is not bool:
            raise ValueError(f"{name} says neither that it is batch-normalised nor that it is not")
        owners = before[: owner + 1]
        if any(each["kind"] != "dense" or each["tied_to"] >= 0 or each["batch_norm"] for each in owners) or (
            owners and layer["batch_norm"]
        ):
            raise ValueError(f"{name} is tied to a layer without weights of its own")
        checked = dense_layer(units, layer["activation"], tied_to=owner, batch_norm=layer["batch_norm"])
    elif kind in IMAGE_LAYERS:
        checked = _checked_image_layer(layer, before, n_in, n_features)
    elif kind == "gaussian_code":
        if n_in != 2 * units or before[-1].get("activation") != "identity":
            raise ValueError(f"{name} does not come after as many means and log-variances")
        checked = {"kind": kind, "units": units}
    elif kind == "top_k":
        checked = {"kind": kind, "units": n_in, "k": integer(layer["k"], 1, n_in)}
    elif kind == "kl_sparsity":
        target, weight = number(layer["target"]), number(layer["weight"])
        checked = {"kind": kind, "units": n_in, "target": target, "weight": weight}
    else:
        raise ValueError(f"{name} is of an unknown kind")
    if units != checked["units"]:
        raise ValueError(f"{name} does not have {units} units")
    checked["dropout"] = dropout
    return checked


def _checked_image_layer(layer: dict[str, Any], before: list[LayerSpec], n_in: int, n_features: int) -> LayerSpec:
    height, width, channels_in = (integer(side, 1, n_in) for side in layer["image"])
    if height * width * channels_in != n_in:
        raise ValueError(f"an image of {height} x {width} x {channels_in} does not have {n_in} values")
    image, kind = (height, width, channels_in), layer["kind"]
    if before and before[-1]["kind"] in IMAGE_LAYERS and image != output_image(before[-1]):
        raise ValueError(f"the layer before gives images of {output_image(before[-1])}, not {image}")
    if kind in ("max_pool2d", "upsample2d"):
        factor = integer(layer["factor"], 1, n_features)
        checked = pooling(image, factor) if kind == "max_pool2d" else upsampling(image, factor)
        if kind == "max_pool2d" and (height % factor or width % factor):
            raise ValueError(f"pooling by {factor} does not divide {height} x {width}")
    else:
        channels, taps = integer(layer["channels"], 1, 1 << 31), integer(layer["kernel_size"], 1, 2 * MOST_TAPS)
        activation, padding = layer["activation"], layer["padding"]
        if padding not in ("same", "valid") or layer["tied_to"] != -1 or layer["batch_norm"] is not False:
            raise ValueError("a convolution is tied, normalised or padded")
        if kind == "conv2d":
            checked = convolution(image, channels, taps, activation, padding=padding)
        else:
            factor = integer(layer["factor"], 1, n_features)
            checked = transposed_convolution(image, channels, taps, activation, padding=padding, factor=factor)
    # No image in between has more pixels than there are features, however small the file.
    height, width, _ = output_image(checked)
    if min(height, width) < 1 or height * width > n_features:
        raise ValueError(f"an image of {height} x {width} pixels cannot be")
    # A small file can ask for many channels of many pixels.
    integer(checked["units"], 1, most_values(n_features))
    return checked


def integer(value: Any, low: int, high: int) -> int:
    """The value, if it is an integer within the bounds; else ValueError."""
    if type(value) is not int or not low <= value <= high:
        raise ValueError(f"{value!r} is not an integer from {low} to {high}")
    return value


def number(value: Any) -> float:
    """The value, if it is a finite number; else ValueError."""
    if type(value) not in (int, float) or not np.isfinite(value):
        raise ValueError(f"{value!r} is not a finite number")
    return float(value)
