"""Layers of images as the engine reads them, with the sizes of what they give."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from aefast.engine.core import LayerSpec

Image = tuple[int, int, int]  # height, width, channels

IMAGE_LAYERS = ("conv2d", "conv2d_transpose", "max_pool2d", "upsample2d")
#: The largest ``kernel_size``.
MOST_TAPS = 1 << 14


def most_values(n_features: int) -> int:
    """Pixels times channels that an image inside a network of so many features may have, in `fit` as in a file."""
    return max(1 << 26, 256 * n_features)


def output_image(layer: LayerSpec) -> Image:
    """Height, width and channels of what a layer of images gives.

    Examples
    --------
    >>> from aefast.model.layers import convolution, output_image
    >>> output_image(convolution((28, 28, 1), 16, 5, "relu", padding="valid"))
    (24, 24, 16)
    """
    height, width, channels = layer["image"]
    if layer["kind"] == "max_pool2d":
        return height // layer["factor"], width // layer["factor"], channels
    if layer["kind"] == "upsample2d":
        return height * layer["factor"], width * layer["factor"], channels
    size, is_valid = layer["kernel_size"], layer["padding"] == "valid"
    if layer["kind"] == "conv2d":
        lost = size - 1 if is_valid else 0
        return height - lost, width - lost, layer["channels"]
    factor = layer["factor"]
    gained = size - factor if is_valid else 0
    return height * factor + gained, width * factor + gained, layer["channels"]


def convolution(image: Image, channels: int, kernel_size: int, activation: str, *, padding: str) -> LayerSpec:
    """A convolution of ``image``, with stride 1."""
    layer: LayerSpec = {
        "kind": "conv2d",
        "units": 0,
        "image": image,
        "channels": channels,
        "kernel_size": kernel_size,
        "padding": padding,
        "activation": activation,
        "tied_to": -1,
        "batch_norm": False,
        "dropout": 0.0,
    }
    layer["units"] = prod(output_image(layer))
    return layer


def transposed_convolution(
    image: Image, channels: int, kernel_size: int, activation: str, *, padding: str, factor: int
) -> LayerSpec:
    """The transpose of a convolution with stride ``factor``, to an image that much larger."""
    layer = convolution(image, channels, kernel_size, activation, padding="same")
    layer["kind"], layer["padding"], layer["factor"] = "conv2d_transpose", padding, factor
    layer["units"] = prod(output_image(layer))
    return layer


def pooling(image: Image, factor: int) -> LayerSpec:
    """The largest of each square of ``factor`` times ``factor`` pixels."""
    return _resized("max_pool2d", image, factor)


def upsampling(image: Image, factor: int) -> LayerSpec:
    """Each pixel repeated ``factor`` times in both directions."""
    return _resized("upsample2d", image, factor)


def _resized(kind: str, image: Image, factor: int) -> LayerSpec:
    layer: LayerSpec = {"kind": kind, "units": 0, "image": image, "factor": factor, "dropout": 0.0}
    layer["units"] = prod(output_image(layer))
    return layer
