"""From an estimator's parameters to a network: layer sizes, the engine's description, initial weights.

``coefs`` and ``intercepts`` are what an estimator shows, one of each for every layer with weights; ``parameters`` is
the engine's flat list, where a tied layer has no weights of its own and a batch-normalised one has four vectors more.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod, sqrt
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from aefast.engine.core import LayerSpec, NetworkSpec

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
#: Kinds of layers that have weights and biases.
WEIGHTED = ("dense", "conv2d", "conv2d_transpose")
#: What the engine adds to a variance before its root (``BatchNorm::kEpsilon``).
EPSILON = 1e-5
INITIALIZERS = ("glorot_uniform", "glorot_normal", "he_uniform", "he_normal", "lecun_uniform", "lecun_normal")


def auto_layer_sizes(n_features: int) -> tuple[int, ...]:
    """The encoder's widths for ``encoder_layer_sizes="auto"``: a hidden layer of 2 d, within 8 and 256, and a code of
    the root of d.

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
    """Outputs of the encoder's layers (the last is the code) and of the decoder's (the last is the input's width).

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
    """Widths of layers as Python's integers; ValueError that gives their ``name`` where one is none."""
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
    code_layers: Callable[[LayerSpec], list[LayerSpec]] = lambda code: [code],
) -> NetworkSpec:
    """A network of dense layers as the engine reads it.

    Batch normalisation and dropout are for the hidden layers, of which the code is one. ``code_layers`` makes of the
    plain code layer the layers that a variant has in its place, which end in the code.

    Raises
    ------
    ValueError
        If ``dropout`` has not one rate for each hidden layer (the code's included), or ``tied_weights`` meets a
        decoder that does not mirror the encoder.
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


def dense_layer(
    units: int, activation: str, *, tied_to: int = -1, batch_norm: bool = False, dropout: float = 0.0
) -> LayerSpec:
    """A dense layer as the engine reads it."""
    return {
        "kind": "dense",
        "units": units,
        "activation": activation,
        "tied_to": tied_to,
        "batch_norm": batch_norm,
        "dropout": dropout,
    }


def dropout_rates(dropout: float | Sequence[float], n_hidden: int) -> list[float]:
    """One rate for each of the hidden layers.

    Raises
    ------
    ValueError
        If there are not as many, or one is not in [0, 1).
    """
    if isinstance(dropout, int | float | Real):
        return [float(dropout)] * n_hidden
    rates = list(dropout)
    if len(rates) != n_hidden:
        raise ValueError(f"dropout must be one rate, or one for each of the {n_hidden} hidden layers, got {len(rates)}")
    for rate in rates:
        if isinstance(rate, bool) or not isinstance(rate, Real) or not 0 <= rate < 1:
            raise ValueError(f"dropout must hold rates in [0, 1), got {rate!r}")
    return [float(rate) for rate in rates]


def weight_shapes(network: NetworkSpec) -> list[tuple[LayerSpec, tuple[int, ...]]]:
    """The layers that have weights, each with the shape of these: (inputs, outputs) or, of a convolution, (height,
    width, channels in, channels out), of a transposed one with the channels in the other order."""
    shapes: list[tuple[LayerSpec, tuple[int, ...]]] = []
    n_in = network["n_features"]
    for layer in network["layers"]:
        if layer["kind"] == "dense":
            shapes.append((layer, (n_in, layer["units"])))
        elif layer["kind"] in WEIGHTED:
            channels = (layer["image"][2], layer["channels"])
            size = (layer["kernel_size"], layer["kernel_size"])
            shapes.append((layer, (*size, *(channels if layer["kind"] == "conv2d" else channels[::-1]))))
        n_in = layer["units"]
    return shapes


def layer_widths(network: NetworkSpec) -> list[int]:
    """Inputs, then the outputs of each layer that gives others than it gets; of a drawn code, its mean's."""
    widths = [network["n_features"]]
    for layer in network["layers"]:
        if layer["kind"] == "gaussian_code":
            widths[-1] = layer["units"]
        elif layer["kind"] not in ("top_k", "kl_sparsity"):
            widths.append(layer["units"])
    return widths


def n_biases(layer: LayerSpec) -> int:
    """Biases of a layer with weights: one a unit or, in a convolution, a channel."""
    return layer["units"] if layer["kind"] == "dense" else layer["channels"]


def reading(
    network: NetworkSpec, coefs: Sequence[Array], intercepts: Sequence[Array], dtype: str, code: str = "mean"
) -> tuple[NetworkSpec, list[Array]]:
    """The network of a fitted model as it is scored, and its parameters: ``coefs`` and ``intercepts`` as they are.

    What matters in training alone is not in it: no layer is tied, normalised or held to a mean activation. Of a code
    that is drawn in training, ``code`` says what is read: its "mean", its "log_variance", or a "draw".

    Raises
    ------
    ValueError
        As `join_parameters`.
    """
    plain: list[LayerSpec] = [
        {**layer, "tied_to": -1, "batch_norm": False} if layer["kind"] in WEIGHTED else layer
        for layer in network["layers"]
    ]
    parameters = join_parameters({**network, "layers": plain}, coefs, intercepts, dtype)
    layers: list[LayerSpec] = []
    n_encoder_layers = n_parameters = 0
    for index, layer in enumerate(plain):
        if layer["kind"] in WEIGHTED:
            n_parameters += 2
        if layer["kind"] == "gaussian_code" and code != "draw":
            part = slice(0, layer["units"]) if code == "mean" else slice(layer["units"], None)
            layers[-1] = {**layers[-1], "units": layer["units"]}
            for position in (n_parameters - 2, n_parameters - 1):
                parameters[position] = np.ascontiguousarray(parameters[position][..., part])
        elif layer["kind"] != "kl_sparsity":
            layers.append(layer)
        if index + 1 == network["n_encoder_layers"]:
            n_encoder_layers = len(layers)
    return {**network, "layers": layers, "n_encoder_layers": n_encoder_layers}, parameters


def likelihood_scale(loss: str) -> float:
    """What makes a row's summed loss minus its log-likelihood."""
    return 0.5 if loss == "mse" else 1.0


def level_weight(network: NetworkSpec, loss: str) -> float:
    """Weight of a categorical column's loss beside a numeric one's: where a code is drawn, the bound has every
    column's likelihood in full."""
    is_drawn = any(layer["kind"] == "gaussian_code" for layer in network["layers"])
    return 1 / likelihood_scale(loss) if is_drawn else 1.0


def initial_parameters(network: NetworkSpec, weight_init: str, rng: np.random.Generator, dtype: str) -> list[Array]:
    """Weights drawn for the activation's sake, biases of zero.

    With fan_in inputs and fan_out outputs of a layer (of a convolution: channels times taps of the kernel), the
    variance of a weight is 2 / (fan_in + fan_out) for ``glorot`` (Glorot and Bengio 2010, equation 16), 2 / fan_in for
    ``he`` (He et al. 2015, equation 10) and 1 / fan_in for ``lecun`` (LeCun et al. 1998, equation 16). Drawn in
    float64, so that ``dtype`` only rounds.
    """
    parameters: list[Array] = []
    for layer, shape in weight_shapes(network):
        if layer["tied_to"] < 0:
            parameters.append(_engine_shape(_initial_weights(weight_init, layer, shape, rng).astype(dtype)))
        parameters.append(np.zeros(n_biases(layer), dtype=dtype))
        if layer["batch_norm"]:
            parameters += [np.full(layer["units"], start, dtype=dtype) for start in (1.0, 0.0, 0.0, 1.0)]
    return parameters


def _engine_shape(weights: Array) -> Array:
    """Weights in the two dimensions that the engine takes."""
    return weights.reshape(-1, weights.shape[-1])


def _initial_weights(
    weight_init: str, layer: LayerSpec, shape: tuple[int, ...], rng: np.random.Generator
) -> NDArray[np.float64]:
    n_in, n_out = (prod(shape[:-2]) * n for n in (shape[-2:] if layer["kind"] != "conv2d_transpose" else shape[:1:-1]))
    family, distribution = weight_init.rsplit("_", 1)
    variance = {"glorot": 2.0 / (n_in + n_out), "he": 2.0 / n_in, "lecun": 1.0 / n_in}[family]
    if distribution == "normal":
        return rng.normal(scale=sqrt(variance), size=shape)
    bound = sqrt(3.0 * variance)
    return rng.uniform(-bound, bound, size=shape)


def split_parameters(network: NetworkSpec, parameters: Sequence[Array]) -> tuple[list[Array], list[Array]]:
    """``coefs`` and ``intercepts`` from the engine's list.

    A tied layer shows its owner's weights transposed. Batch normalisation is folded in: with its factor f = gamma /
    sqrt(variance + epsilon), the weights are f w and the biases f (b - mean) + beta.
    """
    coefs: list[Array] = []
    intercepts: list[Array] = []
    remaining = iter(parameters)
    for layer, shape in weight_shapes(network):
        owner = layer["tied_to"]
        weights = next(remaining).reshape(shape) if owner < 0 else np.ascontiguousarray(coefs[owner].T)
        biases = next(remaining)
        if layer["batch_norm"]:
            factor, shift, mean = _affine([next(remaining) for _ in range(4)])
            biases = ((biases - mean) * factor + shift).astype(biases.dtype)
            weights = (weights * factor).astype(weights.dtype)
        coefs.append(weights)
        intercepts.append(biases)
    return coefs, intercepts


def batch_norms(network: NetworkSpec, parameters: Sequence[Array]) -> list[Array | None]:
    """What `split_parameters` folds in: for each layer with weights gamma, beta, running mean and variance (4, n_out),
    or None."""
    norms: list[Array | None] = []
    remaining = iter(parameters)
    for layer, _ in weight_shapes(network):
        for _own in range(2 if layer["tied_to"] < 0 else 1):
            next(remaining)
        norms.append(np.stack([next(remaining) for _ in range(4)]) if layer["batch_norm"] else None)
    return norms


def _affine(norm: Array | Sequence[Array]) -> tuple[Array, Array, Array]:
    """(f, beta, mean) of a batch normalisation f (x - mean) + beta in scoring, float64."""
    gamma, beta, mean, variance = np.asarray(norm, dtype=np.float64)
    return gamma / np.sqrt(variance + EPSILON), beta, mean


def join_parameters(
    network: NetworkSpec,
    coefs: Sequence[Array],
    intercepts: Sequence[Array],
    dtype: str,
    norms: Sequence[Array | None] | None = None,
) -> list[Array]:
    """The engine's list from ``coefs`` and ``intercepts``, which the user may have replaced.

    Batch normalisation is taken out again as ``norms`` says, so that training goes on where it was; a layer for which
    they say nothing gets one that changes nothing.

    Raises
    ------
    ValueError
        If an array has not the shape its layer needs, is not finite, or if tied weights are not the transposed of
        their owner's.
    """
    layers = weight_shapes(network)
    if len(coefs) != len(layers) or len(intercepts) != len(layers):
        raise ValueError(
            f"the network has {len(layers)} layers, but there are {len(coefs)} coefs_ and {len(intercepts)} intercepts_"
        )
    parameters: list[Array] = []
    for index, (layer, shape) in enumerate(layers):
        weights = _checked(coefs[index], shape, f"coefs_[{index}]", dtype)
        biases = _checked(intercepts[index], (n_biases(layer),), f"intercepts_[{index}]", dtype)
        norm = _norm_of(layer, norms[index] if norms is not None and index < len(norms) else None, dtype)
        if norm is not None:
            factor, shift, mean = _affine(norm)
            # Weights that gamma = 0 has folded to nothing are lost.
            factor = np.where(factor == 0, 1.0, factor)
            weights = (weights / factor).astype(dtype)
            biases = ((biases - shift) / factor + mean).astype(dtype)
        owner = layer["tied_to"]
        if owner < 0:
            parameters.append(_engine_shape(weights))
        elif not np.array_equal(weights, np.asarray(coefs[owner], dtype=dtype).T):
            raise ValueError(f"with tied_weights=True coefs_[{index}] must be coefs_[{owner}] transposed")
        parameters.append(biases)
        if norm is not None:
            parameters += list(norm)
    return parameters


def _norm_of(layer: LayerSpec, norm: Array | None, dtype: str) -> Array | None:
    """The batch normalisation of a layer: the one given, where it fits, else one that changes nothing."""
    if not layer["batch_norm"]:
        return None
    if norm is not None and norm.shape == (4, layer["units"]):
        return np.ascontiguousarray(norm, dtype=dtype)
    return np.repeat(np.array([[sqrt(1 + EPSILON)], [0.0], [0.0], [1.0]], dtype=dtype), layer["units"], axis=1)


def _checked(values: Array, shape: tuple[int, ...], name: str, dtype: str) -> Array:
    array = np.ascontiguousarray(values, dtype=dtype)
    if array.shape != shape:
        raise ValueError(f"{name} has shape {array.shape}, but its layer needs {shape}")
    if not np.isfinite(array).all():
        raise ValueError(f"{name} holds NaN or infinity")
    return array
