"""From an estimator's parameters to a network: layer sizes, the engine's description, initial weights.

``coefs`` and ``intercepts`` are what an estimator shows, one of each a layer; ``parameters`` is the engine's flat
list, where a tied layer has no weights of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from aefast._core import LayerSpec, NetworkSpec

Array = NDArray[Any]

ACTIVATIONS = (
    "identity",
    "sigmoid",
    "tanh",
    "relu",
    "leaky_relu",
    "elu",
    "selu",
    "gelu",
    "silu",
    "softplus",
)
OUTPUT_ACTIVATIONS = (*ACTIVATIONS, "softmax")
INITIALIZERS = ("glorot_uniform", "glorot_normal", "he_uniform", "he_normal", "lecun_uniform", "lecun_normal")


def auto_layer_sizes(n_features: int) -> tuple[int, ...]:
    """The encoder's widths for ``encoder_layer_sizes="auto"``: a hidden layer of 2 d, within 8 and 256, and a code of
    the root of d.

    Examples
    --------
    >>> from aefast.networks import auto_layer_sizes
    >>> auto_layer_sizes(30)
    (60, 5)
    """
    return max(8, min(2 * n_features, 256)), max(1, round(sqrt(n_features)))


def layer_sizes(
    encoder_layer_sizes: str | int | Sequence[int], decoder_layer_sizes: int | Sequence[int] | None, n_features: int
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Outputs of the encoder's layers (the last is the code) and of the decoder's (the last is the input's width).

    Raises
    ------
    ValueError
        If a width is not an integer of at least 1, or there is no code.

    Examples
    --------
    >>> from aefast.networks import layer_sizes
    >>> layer_sizes((64, 8), None, 784)
    ((64, 8), (64, 784))
    """
    if isinstance(encoder_layer_sizes, str):
        encoder = auto_layer_sizes(n_features)
    else:
        encoder = _widths(encoder_layer_sizes, "encoder_layer_sizes")
        if not encoder:
            raise ValueError("encoder_layer_sizes must have at least one width, that of the code, got ()")
    hidden = encoder[-2::-1] if decoder_layer_sizes is None else _widths(decoder_layer_sizes, "decoder_layer_sizes")
    return encoder, (*hidden, n_features)


def _widths(sizes: int | Sequence[int], name: str) -> tuple[int, ...]:
    values = [sizes] if isinstance(sizes, Integral) else list(np.atleast_1d(np.asarray(sizes, dtype=object)))
    for value in values:
        if isinstance(value, bool | np.bool_) or not isinstance(value, Integral) or value < 1:
            raise ValueError(f"{name} must hold integers of at least 1, got {value!r}")
    return tuple(int(value) for value in values)


def dense_network(
    n_features: int,
    encoder: Sequence[int],
    decoder: Sequence[int],
    *,
    activation: str,
    code_activation: str,
    output_activation: str,
    tied_weights: bool = False,
    dropout: float | Sequence[float] = 0.0,
) -> NetworkSpec:
    """A network of dense layers as the engine reads it.

    Raises
    ------
    ValueError
        If ``dropout`` has not one rate for each hidden layer (the code's included), or ``tied_weights`` meets a
        decoder that does not mirror the encoder.
    """
    n_layers, n_encoder_layers = len(encoder) + len(decoder), len(encoder)
    if tied_weights and tuple(decoder[:-1]) != tuple(encoder[-2::-1]):
        raise ValueError(
            f"tied_weights=True needs a decoder that mirrors the encoder: decoder_layer_sizes must be None or "
            f"{tuple(encoder[-2::-1])}, got {tuple(decoder[:-1])}"
        )
    rates = _dropout_rates(dropout, n_layers - 1)
    layers: list[LayerSpec] = []
    for index, units in enumerate((*encoder, *decoder)):
        is_code, is_output = index == n_encoder_layers - 1, index == n_layers - 1
        layers.append(
            {
                "kind": "dense",
                "units": units,
                "activation": output_activation if is_output else code_activation if is_code else activation,
                "tied_to": n_layers - 1 - index if tied_weights and index >= n_encoder_layers else -1,
                "dropout": 0.0 if is_output else rates[index],
            }
        )
    return {"n_features": n_features, "layers": layers, "n_encoder_layers": n_encoder_layers, "groups": []}


def _dropout_rates(dropout: float | Sequence[float], n_hidden: int) -> list[float]:
    if isinstance(dropout, int | float | Real):
        return [float(dropout)] * n_hidden
    rates = list(dropout)
    if len(rates) != n_hidden:
        raise ValueError(f"dropout must be one rate, or one for each of the {n_hidden} hidden layers, got {len(rates)}")
    for rate in rates:
        if isinstance(rate, bool) or not isinstance(rate, Real) or not 0 <= rate < 1:
            raise ValueError(f"dropout must hold rates in [0, 1), got {rate!r}")
    return [float(rate) for rate in rates]


def layer_shapes(network: NetworkSpec) -> list[tuple[int, int]]:
    """(inputs, outputs) of each layer."""
    widths = [network["n_features"], *(layer["units"] for layer in network["layers"])]
    return list(zip(widths[:-1], widths[1:], strict=True))


def untied(network: NetworkSpec) -> NetworkSpec:
    """The same network with every layer owning its weights, to be read with the ``coefs`` as they are."""
    layers: list[LayerSpec] = [{**layer, "tied_to": -1} for layer in network["layers"]]
    return {**network, "layers": layers}


def initial_parameters(network: NetworkSpec, weight_init: str, rng: np.random.Generator, dtype: str) -> list[Array]:
    """Weights drawn for the activation's sake, biases of zero.

    With fan_in inputs and fan_out outputs of a layer, the variance of a weight is 2 / (fan_in + fan_out) for
    ``glorot`` (Glorot and Bengio 2010, equation 16), 2 / fan_in for ``he`` (He et al. 2015, equation 10) and
    1 / fan_in for ``lecun`` (LeCun et al. 1998, equation 16). Drawn in float64, so that ``dtype`` only rounds.
    """
    parameters: list[Array] = []
    for layer, (n_in, n_out) in zip(network["layers"], layer_shapes(network), strict=True):
        if layer["tied_to"] < 0:
            parameters.append(_initial_weights(weight_init, n_in, n_out, rng).astype(dtype))
        parameters.append(np.zeros(n_out, dtype=dtype))
    return parameters


def _initial_weights(weight_init: str, n_in: int, n_out: int, rng: np.random.Generator) -> NDArray[np.float64]:
    family, distribution = weight_init.rsplit("_", 1)
    variance = {"glorot": 2.0 / (n_in + n_out), "he": 2.0 / n_in, "lecun": 1.0 / n_in}[family]
    if distribution == "normal":
        return rng.normal(scale=sqrt(variance), size=(n_in, n_out))
    bound = sqrt(3.0 * variance)
    return rng.uniform(-bound, bound, size=(n_in, n_out))


def split_parameters(network: NetworkSpec, parameters: Sequence[Array]) -> tuple[list[Array], list[Array]]:
    """``coefs`` and ``intercepts`` from the engine's list; a tied layer shows its owner's weights transposed."""
    coefs: list[Array] = []
    intercepts: list[Array] = []
    remaining = iter(parameters)
    for layer in network["layers"]:
        owner = layer["tied_to"]
        coefs.append(next(remaining) if owner < 0 else np.ascontiguousarray(coefs[owner].T))
        intercepts.append(next(remaining))
    return coefs, intercepts


def join_parameters(
    network: NetworkSpec, coefs: Sequence[Array], intercepts: Sequence[Array], dtype: str
) -> list[Array]:
    """The engine's list from ``coefs`` and ``intercepts``, which the user may have replaced.

    Raises
    ------
    ValueError
        If an array has not the shape its layer needs, is not finite, or if tied weights are not the transposed of
        their owner's.
    """
    shapes = layer_shapes(network)
    if len(coefs) != len(shapes) or len(intercepts) != len(shapes):
        raise ValueError(
            f"the network has {len(shapes)} layers, but there are {len(coefs)} coefs_ and {len(intercepts)} intercepts_"
        )
    parameters: list[Array] = []
    for index, (layer, (n_in, n_out)) in enumerate(zip(network["layers"], shapes, strict=True)):
        weights = _checked(coefs[index], (n_in, n_out), f"coefs_[{index}]", dtype)
        owner = layer["tied_to"]
        if owner < 0:
            parameters.append(weights)
        elif not np.array_equal(weights, np.asarray(coefs[owner], dtype=dtype).T):
            raise ValueError(f"with tied_weights=True coefs_[{index}] must be coefs_[{owner}] transposed")
        parameters.append(_checked(intercepts[index], (n_out,), f"intercepts_[{index}]", dtype))
    return parameters


def _checked(values: Array, shape: tuple[int, ...], name: str, dtype: str) -> Array:
    array = np.ascontiguousarray(values, dtype=dtype)
    if array.shape != shape:
        raise ValueError(f"{name} has shape {array.shape}, but its layer needs {shape}")
    if not np.isfinite(array).all():
        raise ValueError(f"{name} holds NaN or infinity")
    return array
