"""Weights of a network: drawn at the start, shown as ``coefs`` and ``intercepts``, listed as the engine reads them.

``coefs`` and ``intercepts`` have one array for each layer with weights. The engine has one flat list, ``parameters``:
a tied layer adds no weights to it, and a batch-normalised layer adds four more vectors.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aefast.columns.column import Column, starts
from aefast.engine import core
from aefast.model.layers import LAYERS, has_weights

Array = NDArray[Any]

INITIALIZERS = ("glorot_uniform", "glorot_normal", "he_uniform", "he_normal", "lecun_uniform", "lecun_normal")
#: The values of ``weight_init``: these, and the scheme of PyOD's ``AutoEncoder``.
WEIGHT_INITS = (*INITIALIZERS, "pyod")
#: What the engine adds to a variance before it takes the root (``BatchNorm::kEpsilon``).
EPSILON = 1e-5


def weight_shapes(network: core.NetworkSpec) -> list[tuple[core.LayerSpec, tuple[int, ...]]]:
    """Return the layers that have weights, each with the shape of its weights.

    Shapes are (inputs, outputs) for dense layers, (height, width, channels in, channels out) for convolutions, and
    (height, width, channels out, channels in) for transposed convolutions.
    """
    shapes: list[tuple[core.LayerSpec, tuple[int, ...]]] = []
    n_in = network["n_features"]
    for layer in network["layers"]:
        if has_weights(layer):
            shapes.append((layer, LAYERS[layer["kind"]].weight_shape(layer, n_in)))
        n_in = layer["units"]
    return shapes


def n_biases(layer: core.LayerSpec) -> int:
    """Return the number of biases of a layer with weights: one a unit or, in a convolution, one a channel."""
    return LAYERS[layer["kind"]].n_biases(layer)


def initial_parameters(
    network: core.NetworkSpec, weight_init: str, rng: np.random.Generator, dtype: str
) -> list[Array]:
    """Draw weights; biases are zero, except with "pyod".

    With fan_in inputs and fan_out outputs of a layer (for a convolution: channels times taps of the kernel), the
    variance of a weight is 2 / (fan_in + fan_out) for ``glorot`` (Glorot and Bengio 2010, equation 16), 2 / fan_in for
    ``he`` (He et al. 2015, equation 10) and 1 / fan_in for ``lecun`` (LeCun et al. 1998, equation 16). Weights are
    drawn in float64, so that ``dtype`` only rounds. "pyod" is "he_uniform", but the weights of the last layer and all
    biases are uniform in +-1 / sqrt(fan_in), as PyTorch's ``Linear`` draws them.
    """
    parameters: list[Array] = []
    layers = weight_shapes(network)
    for index, (layer, shape) in enumerate(layers):
        family = weight_init
        if weight_init == "pyod":
            family = "linear_uniform" if index + 1 == len(layers) else "he_uniform"
        if layer["tied_to"] < 0:
            parameters.append(_engine_shape(_initial_weights(family, layer, shape, rng).astype(dtype)))
        biases = np.zeros(n_biases(layer))
        if weight_init == "pyod":
            bound = 1 / sqrt(LAYERS[layer["kind"]].fans(shape)[0])
            biases = rng.uniform(-bound, bound, len(biases))
        parameters.append(biases.astype(dtype))
        if layer["batch_norm"]:
            parameters += [np.full(len(biases), start, dtype=dtype) for start in (1.0, 0.0, 0.0, 1.0)]
    return parameters


def _initial_weights(
    weight_init: str, layer: core.LayerSpec, shape: tuple[int, ...], rng: np.random.Generator
) -> NDArray[np.float64]:
    n_in, n_out = LAYERS[layer["kind"]].fans(shape)
    family, distribution = weight_init.rsplit("_", 1)
    variance = {"glorot": 2.0 / (n_in + n_out), "he": 2.0 / n_in, "lecun": 1.0 / n_in, "linear": 1.0 / (3 * n_in)}[
        family
    ]
    if distribution == "normal":
        return rng.normal(scale=sqrt(variance), size=shape)
    bound = sqrt(3.0 * variance)
    return rng.uniform(-bound, bound, size=shape)


def level_biases(columns: Sequence[Column], biases: Array) -> Array:
    """Return initial biases (D,) of the last layer with which levels are as probable as they are frequent.

    Half a row is added to each count, so that a level without rows starts at a small probability above 0.
    """
    biases = biases.copy()
    for begin, column in zip(starts(columns), columns, strict=True):
        if column.kind == "categorical":
            counts = np.asarray(column.counts) + 0.5
            biases[begin : begin + column.width] = np.log(counts / counts.sum())
    return biases


def split_parameters(network: core.NetworkSpec, parameters: Sequence[Array]) -> tuple[list[Array], list[Array]]:
    """Return ``coefs`` and ``intercepts`` from the engine's list.

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
            weights = (weights * LAYERS[layer["kind"]].by_output(factor)).astype(weights.dtype)
        coefs.append(weights)
        intercepts.append(biases)
    return coefs, intercepts


def batch_norms(network: core.NetworkSpec, parameters: Sequence[Array]) -> list[Array | None]:
    """Return what `split_parameters` folds in: per layer with weights gamma, beta, running mean and variance, or None.

    The four vectors are the rows of one array (4, number of biases).
    """
    norms: list[Array | None] = []
    remaining = iter(parameters)
    for layer, _ in weight_shapes(network):
        for _own in range(2 if layer["tied_to"] < 0 else 1):
            next(remaining)
        norms.append(np.stack([next(remaining) for _ in range(4)]) if layer["batch_norm"] else None)
    return norms


def join_parameters(
    network: core.NetworkSpec,
    coefs: Sequence[Array],
    intercepts: Sequence[Array],
    dtype: str,
    norms: Sequence[Array | None] | None = None,
) -> list[Array]:
    """Return the engine's list from ``coefs`` and ``intercepts``, which a user may have replaced.

    ``norms`` takes the batch normalisation out again, so that training continues where it stopped. A layer without an
    entry in ``norms`` gets a batch normalisation that changes nothing.

    Raises
    ------
    ValueError
        If an array has the wrong shape or is not finite, or if tied weights differ from their owner's, transposed.
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
            # Weights that gamma = 0 has folded to zero cannot be recovered.
            factor = np.where(factor == 0, 1.0, factor)
            weights = (weights / LAYERS[layer["kind"]].by_output(factor)).astype(dtype)
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


def inference_network(
    network: core.NetworkSpec, coefs: Sequence[Array], intercepts: Sequence[Array], dtype: str, code: str = "mean"
) -> tuple[core.NetworkSpec, list[Array]]:
    """Return the network of a fitted model as it is scored, and its parameters.

    Everything that only training needs is left out: no layer is tied, normalised or held to a mean activation. ``code``
    selects what is read of a code that training draws: its "mean", its "log_variance", or a "draw".

    Raises
    ------
    ValueError
        As `join_parameters`.
    """
    plain: list[core.LayerSpec] = [
        {**layer, "tied_to": -1, "batch_norm": False} if has_weights(layer) else layer for layer in network["layers"]
    ]
    parameters = join_parameters({**network, "layers": plain}, coefs, intercepts, dtype)
    layers: list[core.LayerSpec] = []
    n_encoder_layers = n_parameters = 0
    for index, layer in enumerate(plain):
        if has_weights(layer):
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


def _engine_shape(weights: Array) -> Array:
    """Return weights in the two dimensions that the engine reads."""
    return weights.reshape(-1, weights.shape[-1])


def _affine(norm: Array | Sequence[Array]) -> tuple[Array, Array, Array]:
    """Return (f, beta, mean) of a batch normalisation f (x - mean) + beta in scoring, float64."""
    gamma, beta, mean, variance = np.asarray(norm, dtype=np.float64)
    return gamma / np.sqrt(variance + EPSILON), beta, mean


def _norm_of(layer: core.LayerSpec, norm: Array | None, dtype: str) -> Array | None:
    """Return the batch normalisation of a layer: ``norm`` if it fits, else one that changes nothing."""
    if not layer["batch_norm"]:
        return None
    if norm is not None and norm.shape == (4, n_biases(layer)):
        return np.ascontiguousarray(norm, dtype=dtype)
    return np.repeat(np.array([[sqrt(1 + EPSILON)], [0.0], [0.0], [1.0]], dtype=dtype), n_biases(layer), axis=1)


def _checked(values: Array, shape: tuple[int, ...], name: str, dtype: str) -> Array:
    array = np.ascontiguousarray(values, dtype=dtype)
    if array.shape != shape:
        raise ValueError(f"{name} has shape {array.shape}, but its layer needs {shape}")
    if not np.isfinite(array).all():
        raise ValueError(f"{name} holds NaN or infinity")
    return array
