"""The registry of layer kinds: for each kind one class with its description, its sizes and the checks of a model file.

A description (``LayerSpec``) is the plain dictionary that the engine reads. A new kind of layer needs its C++ header
and one class here, listed in `LAYERS`.
"""

from __future__ import annotations

from math import prod
from typing import Any, ClassVar, NamedTuple

import numpy as np

from aefast.engine import core

Image = tuple[int, int, int]  # height, width, channels

ACTIVATIONS = (
    "identity", "sigmoid", "tanh", "relu", "leaky_relu", "elu", "selu", "gelu", "silu", "softplus",
)  # fmt: skip
OUTPUT_ACTIVATIONS = (*ACTIVATIONS, "softmax")
#: The largest ``kernel_size``.
MOST_TAPS = 1 << 14
_MOST_UNITS = 1 << 31


class Context(NamedTuple):
    """The context in which a layer is checked: the layers before it and the width of the network."""

    before: list[core.LayerSpec]
    n_features: int

    @property
    def n_in(self) -> int:
        """Inputs of the layer."""
        return self.before[-1]["units"] if self.before else self.n_features

    @property
    def name(self) -> str:
        """The layer's name in messages."""
        return f"layer {len(self.before)}"


class Layer:
    """A kind of layer. Every method takes the layer's description."""

    kind: ClassVar[str]
    #: True if the layer has weights, biases and an activation.
    has_weights: ClassVar[bool] = False
    #: True if the layer always has as many outputs as inputs.
    keeps_width: ClassVar[bool] = False

    @classmethod
    def weight_shape(cls, layer: core.LayerSpec, n_in: int) -> tuple[int, ...]:
        """Return the shape of the weights of a layer with ``n_in`` inputs."""
        raise NotImplementedError

    @classmethod
    def n_biases(cls, layer: core.LayerSpec) -> int:
        """Return the number of biases."""
        raise NotImplementedError

    @classmethod
    def fans(cls, shape: tuple[int, ...]) -> tuple[int, int]:
        """Return fan_in and fan_out of weights of this shape."""
        raise NotImplementedError

    @classmethod
    def append_width(cls, layer: core.LayerSpec, widths: list[int]) -> None:
        """Add the layer's outputs to the list of widths that a person is shown."""
        if not cls.keeps_width:
            widths.append(layer["units"])

    @classmethod
    def checked(cls, layer: dict[str, Any], context: Context) -> core.LayerSpec:
        """Build the description anew from values of a file; raise ValueError or KeyError if one is not valid."""
        raise NotImplementedError


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
        units = integer(layer["units"], 1, _MOST_UNITS)
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
        units = integer(layer["units"], 1, _MOST_UNITS)
        if context.n_in != 2 * units or context.before[-1].get("activation") != "identity":
            raise ValueError(f"{context.name} does not come after as many means and log-variances")
        return {"kind": cls.kind, "units": units}


class ImageLayer(Layer):
    """Base of the layers whose inputs are images, with the channel running fastest."""

    @classmethod
    def output_image(cls, layer: core.LayerSpec) -> Image:
        """Return height, width and channels of the outputs."""
        raise NotImplementedError

    @classmethod
    def checked(cls, layer: dict[str, Any], context: Context) -> core.LayerSpec:
        n_in, before, n_features = context.n_in, context.before, context.n_features
        height, width, channels = (integer(side, 1, n_in) for side in layer["image"])
        if height * width * channels != n_in:
            raise ValueError(f"an image of {height} x {width} x {channels} does not have {n_in} values")
        image = (height, width, channels)
        if before and issubclass(LAYERS[before[-1]["kind"]], ImageLayer) and image != output_image(before[-1]):
            raise ValueError(f"the layer before gives images of {output_image(before[-1])}, not {image}")
        found = cls._described(layer, image, n_features)
        # No image inside a network has more pixels than there are features, however small the file.
        height, width, _ = output_image(found)
        if min(height, width) < 1 or height * width > n_features:
            raise ValueError(f"an image of {height} x {width} pixels cannot be")
        # A small file can ask for many channels of many pixels.
        integer(found["units"], 1, most_values(n_features))
        return found

    @classmethod
    def _described(cls, layer: dict[str, Any], image: Image, n_features: int) -> core.LayerSpec:
        raise NotImplementedError


class Convolution(ImageLayer):
    """A convolution with a square kernel and stride 1."""

    kind = "conv2d"
    has_weights = True

    @classmethod
    def weight_shape(cls, layer: core.LayerSpec, n_in: int) -> tuple[int, ...]:
        return layer["kernel_size"], layer["kernel_size"], layer["image"][2], layer["channels"]

    @classmethod
    def n_biases(cls, layer: core.LayerSpec) -> int:
        return layer["channels"]

    @classmethod
    def fans(cls, shape: tuple[int, ...]) -> tuple[int, int]:
        taps = shape[0] * shape[1]
        return taps * shape[2], taps * shape[3]

    @classmethod
    def output_image(cls, layer: core.LayerSpec) -> Image:
        height, width, _ = layer["image"]
        lost = layer["kernel_size"] - 1 if layer["padding"] == "valid" else 0
        return height - lost, width - lost, layer["channels"]

    @classmethod
    def _described(cls, layer: dict[str, Any], image: Image, n_features: int) -> core.LayerSpec:
        channels, taps = integer(layer["channels"], 1, _MOST_UNITS), integer(layer["kernel_size"], 1, 2 * MOST_TAPS)
        if layer["padding"] not in ("same", "valid") or layer["tied_to"] != -1 or layer["batch_norm"] is not False:
            raise ValueError("a convolution is tied, normalised or padded")
        return cls._made(layer, image, channels, taps, n_features)

    @classmethod
    def _made(cls, layer: dict[str, Any], image: Image, channels: int, taps: int, n_features: int) -> core.LayerSpec:
        return convolution(image, channels, taps, layer["activation"], padding=layer["padding"])


class TransposedConvolution(Convolution):
    """The transpose of a convolution with a stride, which enlarges an image."""

    kind = "conv2d_transpose"

    @classmethod
    def weight_shape(cls, layer: core.LayerSpec, n_in: int) -> tuple[int, ...]:
        return layer["kernel_size"], layer["kernel_size"], layer["channels"], layer["image"][2]

    @classmethod
    def fans(cls, shape: tuple[int, ...]) -> tuple[int, int]:
        taps = shape[0] * shape[1]
        return taps * shape[3], taps * shape[2]

    @classmethod
    def output_image(cls, layer: core.LayerSpec) -> Image:
        height, width, _ = layer["image"]
        size, factor = layer["kernel_size"], layer["factor"]
        gained = size - factor if layer["padding"] == "valid" else 0
        return height * factor + gained, width * factor + gained, layer["channels"]

    @classmethod
    def _made(cls, layer: dict[str, Any], image: Image, channels: int, taps: int, n_features: int) -> core.LayerSpec:
        factor = integer(layer["factor"], 1, n_features)
        padding = layer["padding"]
        return transposed_convolution(image, channels, taps, layer["activation"], padding=padding, factor=factor)


class MaxPooling(ImageLayer):
    """The largest of each square of pixels."""

    kind = "max_pool2d"

    @classmethod
    def output_image(cls, layer: core.LayerSpec) -> Image:
        height, width, channels = layer["image"]
        return height // layer["factor"], width // layer["factor"], channels

    @classmethod
    def _described(cls, layer: dict[str, Any], image: Image, n_features: int) -> core.LayerSpec:
        factor = integer(layer["factor"], 1, n_features)
        if image[0] % factor or image[1] % factor:
            raise ValueError(f"pooling by {factor} does not divide {image[0]} x {image[1]}")
        return pooling(image, factor)


class Upsampling(ImageLayer):
    """Repeats each pixel in both directions."""

    kind = "upsample2d"

    @classmethod
    def output_image(cls, layer: core.LayerSpec) -> Image:
        height, width, channels = layer["image"]
        return height * layer["factor"], width * layer["factor"], channels

    @classmethod
    def _described(cls, layer: dict[str, Any], image: Image, n_features: int) -> core.LayerSpec:
        return upsampling(image, integer(layer["factor"], 1, n_features))


_KINDS: tuple[type[Layer], ...] = (
    Dense,
    TopK,
    KlSparsity,
    GaussianCode,
    Convolution,
    TransposedConvolution,
    MaxPooling,
    Upsampling,
)
#: Kinds of layers by their names in descriptions.
LAYERS: dict[str, type[Layer]] = {layer.kind: layer for layer in _KINDS}


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
    units, dropout = integer(layer["units"], 1, _MOST_UNITS), number(layer["dropout"])
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


def convolution(image: Image, channels: int, kernel_size: int, activation: str, *, padding: str) -> core.LayerSpec:
    """Describe a convolution of ``image`` with stride 1."""
    geometry: core.LayerSpec = {"kind": "conv2d", "units": 0, "image": image, "channels": channels}
    weights: core.LayerSpec = {"kernel_size": kernel_size, "padding": padding, "activation": activation}
    return _with_units({**geometry, **weights, "tied_to": -1, "batch_norm": False, "dropout": 0.0})


def transposed_convolution(
    image: Image, channels: int, kernel_size: int, activation: str, *, padding: str, factor: int
) -> core.LayerSpec:
    """Describe the transpose of a convolution with stride ``factor``; its outputs are ``factor`` times as large."""
    layer = convolution(image, channels, kernel_size, activation, padding="same")
    return _with_units({**layer, "kind": "conv2d_transpose", "padding": padding, "factor": factor})


def pooling(image: Image, factor: int) -> core.LayerSpec:
    """Describe max-pooling over squares of ``factor`` times ``factor`` pixels."""
    return _with_units({"kind": "max_pool2d", "units": 0, "image": image, "factor": factor, "dropout": 0.0})


def upsampling(image: Image, factor: int) -> core.LayerSpec:
    """Describe a layer that repeats each pixel ``factor`` times in both directions."""
    return _with_units({"kind": "upsample2d", "units": 0, "image": image, "factor": factor, "dropout": 0.0})


def _with_units(layer: core.LayerSpec) -> core.LayerSpec:
    layer["units"] = prod(output_image(layer))
    return layer


def output_image(layer: core.LayerSpec) -> Image:
    """Return height, width and channels of the outputs of a layer of images.

    Examples
    --------
    >>> from aefast.model.layers import convolution, output_image
    >>> output_image(convolution((28, 28, 1), 16, 5, "relu", padding="valid"))
    (24, 24, 16)
    """
    kind = LAYERS[layer["kind"]]
    assert issubclass(kind, ImageLayer)
    return kind.output_image(layer)


def most_values(n_features: int) -> int:
    """Return how many values an image inside a network of ``n_features`` features may have, in `fit` and in files."""
    return max(1 << 20, 256 * n_features)


def integer(value: Any, low: int, high: int) -> int:
    """Return ``value`` if it is an integer in [``low``, ``high``]; raise ValueError otherwise."""
    if type(value) is not int or not low <= value <= high:
        raise ValueError(f"{value!r} is not an integer from {low} to {high}")
    return value


def number(value: Any) -> float:
    """Return ``value`` as a float if it is a finite number; raise ValueError otherwise."""
    if type(value) not in (int, float) or not np.isfinite(value):
        raise ValueError(f"{value!r} is not a finite number")
    return float(value)
