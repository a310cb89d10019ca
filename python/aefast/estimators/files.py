"""Model files of estimators: the estimator's parameters beside its model."""

from __future__ import annotations

from importlib import import_module
from math import prod
from typing import Any

from aefast.model import file
from aefast.model.model import Model
from aefast.model.parameters import weight_shapes
from aefast.model.variants import VARIANTS, known_class
from aefast.tables.files import MISFITS
from aefast.training.plain import decoded_value, plain_parameters

#: Largest ratio of the network that a file's parameters describe to its own, and the size up to which any is allowed.
_MOST_GROWTH, _LEAST_GROWN = 64, 1 << 20


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
    unknown = set(parameters) - set(estimator.get_params(deep=False))
    if unknown:
        raise ValueError(f"parameter {min(unknown)!r} is unknown; aefast {version} wrote the file")
    estimator.set_params(**{key: decoded_value(value) for key, value in parameters.items()})
    estimator.check_parameters()
    return estimator


def check_refit(estimator: Any) -> None:
    """Raise ValueError if the parameters describe a network far larger than the one that the file holds."""
    own = estimator.model_.network
    try:
        described = estimator._network(own["n_features"])
    except MISFITS:
        return  # `fit` refuses such parameters too
    n_weights = [sum(prod(shape) for _, shape in weight_shapes(network)) for network in (described, own)]
    n_outputs = [sum(layer["units"] for layer in network["layers"]) for network in (described, own)]
    for what, (wanted, held) in (("weights", n_weights), ("outputs", n_outputs)):
        most = max(_LEAST_GROWN, _MOST_GROWTH * held)
        if wanted > most:
            raise ValueError(
                f"its parameters describe a network of {wanted:,} {what}; for the {held:,} of its own network there "
                f"may be at most {most:,}"
            )
