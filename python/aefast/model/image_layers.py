"""The kinds of layers whose inputs are images: their descriptions, sizes and checks."""

from __future__ import annotations

from math import prod
from typing import Any

from aefast.engine import core
from aefast.model.layer import MOST_UNITS, Array, Context, Layer, integer

Image = tuple[int, int, int]  # height, width, channels

#: The largest ``kernel_size``.
MOST_TAPS = 1 << 14


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
        if before and before[-1]["kind"] in IMAGE_LAYERS and image != output_image(before[-1]):
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
    """A convolution with a square kernel."""

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
        lost = layer["kernel_size"] - 1 if layer["padding"] == "valid" else 0
        height, width = (_n_parts(side - lost, layer.get("stride", 1)) for side in layer["image"][:2])
        return height, width, layer["channels"]

    @classmethod
    def _described(cls, layer: dict[str, Any], image: Image, n_features: int) -> core.LayerSpec:
        channels = integer(layer["channels"], 1, MOST_UNITS)
        taps = integer(layer["kernel_size"], 1, MOST_TAPS + 2 * n_features)
        if layer["padding"] not in ("same", "valid") or layer["tied_to"] != -1 or type(layer["batch_norm"]) is not bool:
            raise ValueError("a convolution is tied, or how it is padded or normalised is unknown")
        return {**cls._made(layer, image, channels, taps, n_features), "batch_norm": layer["batch_norm"]}

    @classmethod
    def _made(cls, layer: dict[str, Any], image: Image, channels: int, taps: int, n_features: int) -> core.LayerSpec:
        stride = integer(layer.get("stride", 1), 1, n_features)
        return convolution(image, channels, taps, layer["activation"], padding=layer["padding"], stride=stride)


class TransposedConvolution(Convolution):
    """The transpose of a convolution with a stride, which enlarges an image."""

    kind = "conv2d_transpose"

    @classmethod
    def weight_shape(cls, layer: core.LayerSpec, n_in: int) -> tuple[int, ...]:
        return layer["kernel_size"], layer["kernel_size"], layer["channels"], layer["image"][2]

    @classmethod
    def by_output(cls, values: Array) -> Array:
        return values[:, None]

    @classmethod
    def fans(cls, shape: tuple[int, ...]) -> tuple[int, int]:
        taps = shape[0] * shape[1]
        return taps * shape[3], taps * shape[2]

    @classmethod
    def output_image(cls, layer: core.LayerSpec) -> Image:
        gained = layer["kernel_size"] - layer["factor"] if layer["padding"] == "valid" else 0
        return _enlarged(layer, gained, layer["channels"])

    @classmethod
    def _made(cls, layer: dict[str, Any], image: Image, channels: int, taps: int, n_features: int) -> core.LayerSpec:
        padding, factor = layer["padding"], integer(layer["factor"], 1, 2 * n_features)
        made = transposed_convolution(image, channels, taps, layer["activation"], padding=padding, factor=factor)
        return _checked_cut(made, layer.get("output"))


class MaxPooling(ImageLayer):
    """The largest of each square of pixels, of which the last may be smaller."""

    kind = "max_pool2d"

    @classmethod
    def output_image(cls, layer: core.LayerSpec) -> Image:
        height, width, channels = layer["image"]
        return _n_parts(height, layer["factor"]), _n_parts(width, layer["factor"]), channels

    @classmethod
    def _described(cls, layer: dict[str, Any], image: Image, n_features: int) -> core.LayerSpec:
        return pooling(image, integer(layer["factor"], 1, n_features))


class Upsampling(ImageLayer):
    """Repeats each pixel in both directions; the last repetitions may be left out."""

    kind = "upsample2d"

    @classmethod
    def output_image(cls, layer: core.LayerSpec) -> Image:
        return _enlarged(layer, 0, layer["image"][2])

    @classmethod
    def _described(cls, layer: dict[str, Any], image: Image, n_features: int) -> core.LayerSpec:
        return _checked_cut(upsampling(image, integer(layer["factor"], 1, 2 * n_features)), layer.get("output"))


_KINDS: tuple[type[ImageLayer], ...] = (Convolution, TransposedConvolution, MaxPooling, Upsampling)
#: Kinds of layers of images by their names in descriptions.
IMAGE_LAYERS: dict[str, type[ImageLayer]] = {layer.kind: layer for layer in _KINDS}


def convolution(
    image: Image, channels: int, kernel_size: int, activation: str, *, padding: str, stride: int = 1
) -> core.LayerSpec:
    """Describe a convolution of ``image``."""
    geometry: core.LayerSpec = {"kind": "conv2d", "units": 0, "image": image, "channels": channels}
    weights: core.LayerSpec = {"kernel_size": kernel_size, "padding": padding, "activation": activation}
    # A stride of 1 is left out, so that versions without strides read networks without strides.
    strides: core.LayerSpec = {"stride": stride} if stride > 1 else {}
    return _with_units({**geometry, **weights, "tied_to": -1, "batch_norm": False, "dropout": 0.0, **strides})


def transposed_convolution(
    image: Image,
    channels: int,
    kernel_size: int,
    activation: str,
    *,
    padding: str,
    factor: int,
    output: tuple[int, int] | None = None,
) -> core.LayerSpec:
    """Describe the transpose of a convolution with stride ``factor``; its outputs are ``factor`` times as large.

    ``output`` is their height and width if the last lines or columns, at most ``factor`` - 1, are to be left out.
    """
    layer = convolution(image, channels, kernel_size, activation, padding="same")
    return _cut({**layer, "kind": "conv2d_transpose", "padding": padding, "factor": factor}, output)


def pooling(image: Image, factor: int) -> core.LayerSpec:
    """Describe max-pooling over squares of ``factor`` times ``factor`` pixels; those at the end may be smaller."""
    return _with_units({"kind": "max_pool2d", "units": 0, "image": image, "factor": factor, "dropout": 0.0})


def upsampling(image: Image, factor: int, output: tuple[int, int] | None = None) -> core.LayerSpec:
    """Describe a layer that repeats each pixel ``factor`` times in both directions.

    ``output`` is as in `transposed_convolution`.
    """
    return _cut({"kind": "upsample2d", "units": 0, "image": image, "factor": factor, "dropout": 0.0}, output)


def _n_parts(n: int, size: int) -> int:
    """Return n / size, rounded up."""
    return -(-n // size)


def _enlarged(layer: core.LayerSpec, gained: int, channels: int) -> Image:
    """Return the output of a layer that multiplies height and width by its factor."""
    height, width = layer.get("output") or [side * layer["factor"] + gained for side in layer["image"][:2]]
    return height, width, channels


def _cut(layer: core.LayerSpec, output: tuple[int, int] | None) -> core.LayerSpec:
    """Return the layer with that height and width of its output, which are left out if nothing is cut off."""
    if output is None or output == output_image(layer)[:2]:
        return _with_units(layer)
    return _with_units({**layer, "output": output})


def _checked_cut(layer: core.LayerSpec, output: Any) -> core.LayerSpec:
    """Return the layer of a file with the height and width of its output, if the file has them."""
    if output is None:
        return layer
    height, width = (
        integer(side, max(1, whole - layer["factor"] + 1), whole)
        for side, whole in zip(output, output_image(layer)[:2], strict=True)
    )
    return _cut(layer, (height, width))


def _with_units(layer: core.LayerSpec) -> core.LayerSpec:
    layer["units"] = prod(output_image(layer))
    return layer


def output_image(layer: core.LayerSpec) -> Image:
    """Return height, width and channels of the outputs of a layer of images.

    Examples
    --------
    >>> from aefast.model.image_layers import convolution, output_image
    >>> output_image(convolution((28, 28, 1), 16, 5, "relu", padding="valid"))
    (24, 24, 16)
    """
    return IMAGE_LAYERS[layer["kind"]].output_image(layer)


def most_values(n_features: int) -> int:
    """Return how many values an image inside a network of ``n_features`` features may have, in `fit` and in files."""
    return max(1 << 20, 256 * n_features)
