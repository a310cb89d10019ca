"""Networks of images: from what a user asks for, layer by layer, to the descriptions of encoder and decoder."""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Integral
from typing import Any

import numpy as np

from aefast.engine import core
from aefast.model.image_layers import (
    MOST_TAPS,
    Image,
    convolution,
    output_image,
    pooling,
    transposed_convolution,
    upsampling,
)


@dataclass(frozen=True)
class Stage:
    """A convolution of the encoder with its pooling, and the part of the decoder that undoes both.

    Parameters
    ----------
    image : (int, int, int)
        The image before the convolution.
    channels, taps, stride, pool : int
        Channels, side of the kernel and stride of the convolution; factor of the pooling after it, 1 for none.
    padding : {"same", "valid"}
        That of the convolution.
    """

    image: Image
    channels: int
    taps: int
    stride: int
    pool: int
    padding: str

    @property
    def factor(self) -> int:
        """The factor by which the stage divides height and width."""
        return self.stride * self.pool

    @property
    def positions(self) -> tuple[int, int]:
        """The positions of the kernel along height and width with stride 1."""
        lost = self.taps - 1 if self.padding == "valid" else 0
        return self.image[0] - lost, self.image[1] - lost

    def encoder(self, activation: str) -> list[core.LayerSpec]:
        """Return the convolution and its pooling."""
        layers = [
            convolution(self.image, self.channels, self.taps, activation, padding=self.padding, stride=self.stride)
        ]
        return [*layers, pooling(output_image(layers[0]), self.pool)] if self.pool > 1 else layers

    def upsampled(self, image: Image) -> list[core.LayerSpec]:
        """Return what enlarges the stage's output to one pixel a position of the kernel."""
        return [upsampling(image, self.factor, self.positions)] if self.factor > 1 else []

    def widened(self, image: Image, activation: str) -> core.LayerSpec:
        """Return the convolution that makes the stage's image from one of its ``positions``."""
        channels = self.image[2]
        if self.padding == "valid":
            return transposed_convolution(image, channels, self.taps, activation, padding="valid", factor=1)
        return convolution(image, channels, self.taps, activation, padding="same")

    def transposed(self, image: Image, activation: str) -> core.LayerSpec:
        """Return the transposed convolution that gives the stage's output the size of its image.

        With "valid", a kernel as wide as convolution and pooling together undoes both. With strides, the kernel is at
        least as wide as a step, so that every pixel has weights.
        """
        taps, factor = self.taps, self.factor
        if self.padding == "valid":
            taps += factor - 1
        elif self.stride > 1:
            taps = max(taps, factor)
        return transposed_convolution(
            image, self.channels, taps, activation, padding=self.padding, factor=factor, output=self.image[:2]
        )

    def check(self, shape: Image, name: str) -> None:
        """Raise ValueError if the stage is larger than its image; ``shape`` and ``name`` are for the message."""
        height, width, _ = self.image
        left = f"the {height} x {width} pixels that are left of image_shape={shape} before {name}"
        if min(self.positions) < 1:
            raise ValueError(
                f"kernel_size={self.taps} with padding='valid' does not fit {left}: use a smaller kernel_size, strides "
                "or pool, fewer channels or padding='same'"
            )
        if self.stride > max(height, width):
            raise ValueError(
                f"strides={self.stride} does not fit {left}: use smaller strides or pool, or fewer channels"
            )
        height, width, _ = output_image(self.encoder("identity")[0])
        if self.pool > max(height, width):
            raise ValueError(
                f"pool={self.pool} does not fit the {height} x {width} pixels that are left of image_shape={shape} "
                f"after {name}: use smaller strides or pool, or fewer channels"
            )


def image_stages(
    image: Image, channels: tuple[int, ...], kernel_size: Any, strides: Any, pool: Any, padding: str
) -> list[Stage]:
    """Return the encoder's stages for images of that shape.

    ``kernel_size``, ``strides`` and ``pool`` are as in `ConvolutionalAutoencoder`.

    Raises
    ------
    ValueError
        If a value does not count something, or a stage is larger than what the stages before it leave of the image.
    """
    n = len(channels)
    taps = per_layer("kernel_size", kernel_size, n, MOST_TAPS)
    stages: list[Stage] = []
    before = image
    for index, sizes in enumerate(
        zip(channels, taps, per_layer("strides", strides, n), per_layer("pool", pool, n), strict=True)
    ):
        stage = Stage(before, *sizes, padding)
        stage.check(image, f"convolution {index + 1} of {n}")
        before = output_image(stage.encoder("identity")[-1])
        stages.append(stage)
    return stages


def image_decoder(
    stages: list[Stage], image: Image, upsampling: str, activation: str, output_activation: str
) -> list[core.LayerSpec]:
    """Return the layers that make images from the last stage's output, ``image``."""
    layers: list[core.LayerSpec] = []
    if upsampling == "transposed":
        for stage in reversed(stages):
            layers.append(stage.transposed(image, activation))
            image = output_image(layers[-1])
        first = stages[0]
        return [*layers, convolution(image, first.image[2], first.taps, output_activation, padding="same")]
    last = stages[-1]
    layers.append(convolution(image, last.channels, last.taps, activation, padding="same"))
    for stage in reversed(stages):
        layers += stage.upsampled(output_image(layers[-1]))
        is_end = stage is stages[0]
        layers.append(stage.widened(output_image(layers[-1]), output_activation if is_end else activation))
    return layers


def per_layer(name: str, value: Any, n: int, most: int | None = None) -> tuple[int, ...]:
    """Return a parameter's value for each of the ``n`` convolutions of an encoder; one integer stands for all.

    Raises
    ------
    ValueError
        If there are not ``n`` values, or one is not an integer from 1 to ``most``.
    """
    values = [value] * n if isinstance(value, Integral) else list(value)
    if len(values) != n or not all(is_count(each) and (most is None or each <= most) for each in values):
        counts = "an integer of at least 1" if most is None else f"an integer from 1 to {most}"
        raise ValueError(f"{name} must be {counts}, or {n} of them, one for each of the channels, got {value!r}")
    return tuple(int(each) for each in values)


def is_count(value: Any) -> bool:
    """Return whether a value is an integer of at least 1."""
    return isinstance(value, int | np.integer) and not isinstance(value, bool) and bool(value >= 1)
