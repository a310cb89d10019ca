"""The part of a network that the score of a table's numbers needs: numbers in, numbers out.

Levels are inputs of the first layer only, as numbers of rows of its weights; probabilities of levels are not computed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aefast.columns.column import Column, first_elements, is_level, n_levels_of_inputs
from aefast.engine import core
from aefast.model.distances import Distances
from aefast.model.parameters import inference_network
from aefast.model.scaling import FeatureScaling

Array = NDArray[Any]
Integers = NDArray[np.int64]

#: The engine reads numbers of levels divided by this, so that no limit of inputs clips them (``kLevelUnit``).
_LEVELS = float(1 << 24)


def input_order(columns: Sequence[Column]) -> tuple[Integers, Integers]:
    """Return the values of an encoded row that are numbers, times included, and those that are levels."""
    n_levels = np.array(n_levels_of_inputs(columns))
    return np.flatnonzero(n_levels == 0), np.flatnonzero(n_levels > 0)


def scored_inputs(columns: Sequence[Column]) -> Integers:
    """Return the values of an encoded row whose residuals are scored: numbers, and hours of times if they are known.

    The day of the week is never evidence, only context.
    """
    found, at = [], 0
    for column in columns:
        if column.kind == "numeric":
            found.append(at)
        elif column.kind == "timestamp" and column.knows_day:
            found += [at, at + 1]
        at += column.n_inputs
    return np.array(found, dtype=np.int64)


def numbers_network(
    network: core.NetworkSpec,
    coefs: Sequence[Array],
    intercepts: Sequence[Array],
    dtype: str,
    columns: Sequence[Column],
) -> tuple[core.NetworkSpec, list[Array]]:
    """Return the network of a model without the outputs of levels, and its parameters.

    Its features are numbers, in the order of `input_order`, and then one for each column of levels, whose output is 0.
    """
    found, parameters = inference_network(network, coefs, intercepts, dtype)
    first, (numbers, levels) = first_elements(columns), input_order(columns)
    elements = first[numbers]
    n_levels = [n_levels_of_inputs(columns)[at] for at in levels]
    layers = list(found["layers"])
    n_features = len(numbers) + len(levels)
    weights = parameters[0]
    if n_levels:
        of_levels = np.flatnonzero(is_level(columns))
        layers[0] = {**layers[0], "kind": "level_dense", "n_levels": n_levels}  # type: ignore[call-overload]
        parameters = [weights[elements], parameters[1], weights[of_levels], *parameters[2:]]
    else:
        parameters[0] = weights[elements]
    layers[-1] = {**layers[-1], "units": n_features}
    none = np.zeros((len(parameters[-2]), len(levels)), parameters[-2].dtype)
    parameters[-2] = np.hstack([parameters[-2][:, elements], none])
    parameters[-1] = np.concatenate([parameters[-1][elements], none[0]])
    plain = {"n_features": n_features, "layers": layers, "n_encoder_layers": found["n_encoder_layers"], "groups": []}
    return plain, parameters  # type: ignore[return-value]


def numbers_scaling(scaling: FeatureScaling, columns: Sequence[Column]) -> FeatureScaling:
    """Return the scaling of the inputs of `numbers_network`."""
    numbers, levels = input_order(columns)
    part, n = scaling.part(first_elements(columns)[numbers]), len(levels)
    return FeatureScaling(
        scaling.kind,
        np.append(part.shift, np.full(n, -1.0)),
        np.append(part.scale, np.full(n, _LEVELS)),
        np.append(part.means, np.full(n, -1.0)),
    )


def numbers_ranges(ranges: Sequence[Array], columns: Sequence[Column]) -> list[Array]:
    """Return the ranges of the inputs of the dense layers of `numbers_network` from those of the model."""
    numbers, levels = input_order(columns)
    first = ranges[0][:, first_elements(columns)[numbers]]
    return list(ranges[1:]) if len(levels) else [np.ascontiguousarray(first), *ranges[1:]]


def numbers_distances(distances: Distances, columns: Sequence[Column]) -> Distances:
    """Return distances whose elements are features of `numbers_network`."""
    elements = first_elements(columns)[input_order(columns)[0]]
    return distances._replace(elements=np.searchsorted(elements, distances.elements).astype(np.int64))
