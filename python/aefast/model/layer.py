"""The base class of the kinds of layers, and checks of single values of a description.

A description (``LayerSpec``) is the plain dictionary that the engine reads.
"""

from __future__ import annotations

from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from aefast.engine import core

Array = NDArray[Any]

#: The most units or channels of a layer.
MOST_UNITS = 1 << 31


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
    def by_output(cls, values: Array) -> Array:
        """Return values, one for each bias, in a shape in which they multiply the weights."""
        return values

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
