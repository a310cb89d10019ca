"""From an estimator's parameters, or from a file, to the description of a network that the engine reads."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import sqrt
from numbers import Integral, Real
from typing import Any

import numpy as np

from aefast.columns.column import Column, starts
from aefast.engine import core
from aefast.model.layer import Context, integer
from aefast.model.layers import LAYERS, checked_layer, dense_layer, has_weights
from aefast.model.metrics import likelihood_scale


def auto_layer_sizes(n_features: int) -> tuple[int, ...]:
    """Return the encoder's widths for ``encoder_layer_sizes="auto"``.

    The hidden layer has 2 d units, at least 8 and at most 256; the code has the square root of d, for d features.

    Examples
    --------
    >>> from aefast.model.network import auto_layer_sizes
    >>> auto_layer_sizes(30)
    (60, 5)
    """
    return max(8, min(2 * n_features, 256)), max(1, round(sqrt(n_features)))


def layer_sizes(
    encoder_layer_sizes: str | int | Sequence[int], decoder_layer_sizes: int | Sequence[int] | None, n_features: int
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the widths of the encoder's layers, the code last, and of the decoder's, the output last.

    Raises
    ------
    ValueError
        If a width is not an integer of at least 1, or there is no code.

    Examples
    --------
    >>> from aefast.model.network import layer_sizes
    >>> layer_sizes((64, 8), None, 784)
    ((64, 8), (64, 784))
    """
    if isinstance(encoder_layer_sizes, str):
        encoder = auto_layer_sizes(n_features)
    else:
        encoder = widths(encoder_layer_sizes, "encoder_layer_sizes")
        if not encoder:
            raise ValueError("encoder_layer_sizes must have at least one width, that of the code, got ()")
    hidden = encoder[-2::-1] if decoder_layer_sizes is None else widths(decoder_layer_sizes, "decoder_layer_sizes")
    return encoder, (*hidden, n_features)


def widths(sizes: int | Sequence[int], name: str) -> tuple[int, ...]:
    """Return widths of layers as Python integers; raise ValueError with the parameter's ``name`` for anything else."""
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
    batch_norm: bool = False,
    dropout: float | Sequence[float] = 0.0,
    code_layers: Callable[[core.LayerSpec], list[core.LayerSpec]] = lambda code: [code],
) -> core.NetworkSpec:
    """Describe a network of dense layers.

    Batch normalisation and dropout apply to the hidden layers, of which the code is one. ``code_layers`` replaces the
    plain code layer by the layers of a variant; the last of them gives the code.

    Raises
    ------
    ValueError
        If ``dropout`` does not have one rate for each hidden layer, code included, or if ``tied_weights`` is given and
        the decoder does not mirror the encoder.
    """
    n_hidden = len(encoder) + len(decoder) - 1
    if tied_weights and tuple(decoder[:-1]) != tuple(encoder[-2::-1]):
        raise ValueError(
            f"tied_weights=True needs a decoder that mirrors the encoder: decoder_layer_sizes must be None or "
            f"{tuple(encoder[-2::-1])}, got {tuple(decoder[:-1])}"
        )
    rates = iter(dropout_rates(dropout, n_hidden))
    layers = [dense_layer(units, activation, batch_norm=batch_norm, dropout=next(rates)) for units in encoder[:-1]]
    layers += code_layers(dense_layer(encoder[-1], code_activation, batch_norm=batch_norm))
    layers[-1]["dropout"] = next(rates)
    n_encoder_layers = len(layers)
    owners = range(len(encoder) - 1, -1, -1) if tied_weights else [-1] * len(decoder)
    for units, owner in zip(decoder[:-1], owners, strict=False):
        layers.append(dense_layer(units, activation, tied_to=owner, batch_norm=batch_norm, dropout=next(rates)))
    layers.append(dense_layer(decoder[-1], output_activation, tied_to=owners[-1]))
    return {"n_features": n_features, "layers": layers, "n_encoder_layers": n_encoder_layers, "groups": []}


def dropout_rates(dropout: float | Sequence[float], n_hidden: int, name: str = "dropout") -> list[float]:
    """Return one dropout rate for each of ``n_hidden`` hidden layers; ``name`` is the parameter in messages.

    Raises
    ------
    ValueError
        If the number of rates differs from ``n_hidden``, or a rate is not in [0, 1).
    """
    if isinstance(dropout, int | float | Real):
        return [float(dropout)] * n_hidden
    rates = list(dropout)
    if len(rates) != n_hidden:
        raise ValueError(f"{name} must be one rate, or one for each of the {n_hidden} hidden layers, got {len(rates)}")
    for rate in rates:
        if isinstance(rate, bool) or not isinstance(rate, Real) or not 0 <= rate < 1:
            raise ValueError(f"{name} must hold rates in [0, 1), got {rate!r}")
    return [float(rate) for rate in rates]


def with_columns(network: core.NetworkSpec, columns: Sequence[Column] | None, loss: str) -> core.NetworkSpec:
    """Return the network with a softmax over the levels of each categorical column, and every column counted once.

    A numeric column has weight 1, a timestamp's four elements share weight 1. A categorical column has weight 1 too;
    if the code is drawn, it has the full weight of a likelihood. The network is returned as it is if ``columns`` is
    None, which means that all columns are numbers.
    """
    if columns is None:
        return network
    is_drawn = any(layer["kind"] == "gaussian_code" for layer in network["layers"])
    level_weight = 1 / likelihood_scale(loss) if is_drawn else 1.0
    ends = [begin + column.width for begin, column in zip(starts(columns), columns, strict=True)]
    places = list(zip(starts(columns), ends, strict=True))
    weights = [level_weight if column.kind == "categorical" else 1.0 / column.width for column in columns]
    return {
        **network,
        "groups": [place for place, column in zip(places, columns, strict=True) if column.kind == "categorical"],
        "columns": [(*place, weight) for place, weight in zip(places, weights, strict=True)],
    }


def layer_widths(network: core.NetworkSpec) -> list[int]:
    """Return the number of inputs and the widths of the layers as a person is shown them; a drawn code counts once."""
    found = [network["n_features"]]
    for layer in network["layers"]:
        LAYERS[layer["kind"]].append_width(layer, found)
    return found


def code_size(network: core.NetworkSpec) -> int:
    """Return the width of the code."""
    return int(network["layers"][network["n_encoder_layers"] - 1]["units"])


def checked_network(network: dict[str, Any]) -> core.NetworkSpec:
    """Return the network of a model file, built anew from values that were checked one by one.

    Raises
    ------
    ValueError, TypeError, KeyError, IndexError or AttributeError
        If a value is missing or not valid.
    """
    n_features = integer(network["n_features"], 1, 1 << 31)
    layers: list[core.LayerSpec] = []
    for index, layer in enumerate(network["layers"]):
        is_last = index == len(network["layers"]) - 1
        layers.append(checked_layer(layer, Context(layers, n_features), is_last=is_last))
    if len(layers) < 2 or network["groups"] != [] or "columns" in network:
        raise ValueError("a network has at least two layers, and no groups")
    if layers[-1]["units"] != n_features:
        raise ValueError("the last layer must have as many outputs as there are features")
    if not has_weights(layers[0]) or not has_weights(layers[-1]):
        raise ValueError("the first and the last layer must have weights")
    return {
        "n_features": n_features,
        "layers": layers,
        "n_encoder_layers": integer(network["n_encoder_layers"], 1, len(layers) - 1),
        "groups": [],
    }
