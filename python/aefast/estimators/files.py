"""Model files of estimators: the estimator's parameters beside its model."""

from __future__ import annotations

import os
from importlib import import_module
from math import prod
from typing import Any

from aefast.model import file
from aefast.model.model import Model
from aefast.model.parameters import weight_shapes
from aefast.model.variants import VARIANTS, known_class
from aefast.tables.files import MISFITS, write_whole
from aefast.training.plain import decoded_value, plain_parameters

#: Largest ratio of the network that a file's parameters describe to its own, and the size up to which any is allowed.
_MOST_GROWTH, _LEAST_GROWN = 64, 1 << 20


def save(estimator: Any, path: str | os.PathLike[str]) -> None:
    """Write a fitted estimator to ``path``, whole or not at all; see `FittedMethods.save`."""
    write_whole(path, to_bytes(estimator))


def to_bytes(estimator: Any) -> bytes:
    """Return the content of a fitted estimator's model file; ValueError for what `load` would refuse."""
    return file.content_of(*describe(estimator), restored)


def describe(estimator: Any) -> tuple[file.Document, file.Tensors]:
    """Return document and tensors of a fitted estimator; ValueError names a parameter that is not data."""
    parameters = plain_parameters(estimator.get_params(deep=False))
    return file.describe(estimator.model_.replace(kind=type(estimator).__name__, parameters=parameters))


def restored(document: file.Document, tensors: file.Tensors) -> Any:
    """Return the estimator; raise ValueError, TypeError or KeyError for whatever does not fit together."""
    estimator = unfitted(document["class"], document["parameters"], document["library_version"])
    estimator.restore(Model(**file.model_fields(document, tensors)))
    check_refit(estimator)
    return estimator


def unfitted(kind: Any, parameters: dict[str, Any], version: str) -> Any:
    """Return an estimator with the parameters of a file that aefast ``version`` wrote; errors as of `restored`."""
    name = known_class(kind)
    estimator: Any = getattr(import_module(f"aefast.estimators.{VARIANTS[name].module}"), name)()
    estimator.set_params(**_known_parameters(parameters, version, estimator))
    estimator.check_parameters()
    return estimator


def check_refit(estimator: Any) -> None:
    """Raise ValueError if the parameters describe a network far larger than the one that the file holds."""
    own = estimator.model_.network
    try:
        described = estimator._network(own["n_features"])
    except MISFITS:
        return  # `fit` refuses such parameters too
    for what, size in (("weights", _n_weights), ("outputs", _n_outputs)):
        most = max(_LEAST_GROWN, _MOST_GROWTH * size(own))
        if size(described) > most:
            raise ValueError(
                f"its parameters describe a network of {size(described):,} {what}; for the {size(own):,} of its own "
                f"network there may be at most {most:,}"
            )


def _n_weights(network: Any) -> int:
    return sum(prod(shape) for _, shape in weight_shapes(network))


def _n_outputs(network: Any) -> int:
    return sum(layer["units"] for layer in network["layers"])


def _known_parameters(plain: dict[str, Any], version: str, estimator: Any) -> dict[str, Any]:
    parameters = {key: decoded_value(value) for key, value in plain.items()}
    unknown = set(parameters) - set(estimator.get_params(deep=False))
    if unknown:
        raise ValueError(f"parameter {min(unknown)!r} is unknown; aefast {version} wrote the file")
    return parameters
