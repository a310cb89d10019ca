"""Constructor parameters of the estimators: their constraints, and how a variant adds to those of its parents."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from numbers import Integral, Real
from typing import Any

from sklearn.utils._param_validation import Interval, InvalidParameterError, StrOptions, validate_parameter_constraints

from aefast.engine.threads import MOST_THREADS
from aefast.model.layers import ACTIVATIONS, OUTPUT_ACTIVATIONS
from aefast.model.metrics import DTYPES, LOSSES, METRICS, MISSING
from aefast.model.parameters import WEIGHT_INITS
from aefast.model.scaling import SCALERS
from aefast.training.optimizers import OPTIMIZERS, Optimizer
from aefast.training.schedules import Schedule

Parameters = Mapping[str, inspect.Parameter]
Constraints = dict[str, list[Any]]

_BY_POSITION, _BY_NAME = inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY


def one_of(names: Iterable[str]) -> StrOptions:
    """Return the constraint that a parameter is one of these strings."""
    # The keys of a dict are a set that keeps its order, so that messages list the names in order.
    return StrOptions(dict.fromkeys(names).keys())


#: Constraints of the parameters that all estimators have.
CONSTRAINTS: Constraints = {
    "encoder_layer_sizes": [one_of(("auto",)), Interval(Integral, 1, None, closed="left"), "array-like"],
    "decoder_layer_sizes": [None, Interval(Integral, 1, None, closed="left"), "array-like"],
    "activation": [one_of(ACTIVATIONS)],
    "code_activation": [one_of(ACTIVATIONS)],
    "output_activation": [one_of(OUTPUT_ACTIVATIONS)],
    "tied_weights": ["boolean"],
    "batch_norm": ["boolean"],
    "dropout": [Interval(Real, 0, 1, closed="left"), "array-like"],
    "loss": [one_of(LOSSES)],
    "optimizer": [one_of(OPTIMIZERS), Optimizer],
    "learning_rate": [Interval(Real, 0, None, closed="neither"), Schedule],
    "l1": [Interval(Real, 0, None, closed="left")],
    "l2": [Interval(Real, 0, None, closed="left")],
    "activity_l1": [Interval(Real, 0, None, closed="left")],
    "activity_l2": [Interval(Real, 0, None, closed="left")],
    "clip_norm": [None, Interval(Real, 0, None, closed="neither")],
    "weight_init": [one_of(WEIGHT_INITS)],
    "batch_size": [Interval(Integral, 1, None, closed="left")],
    "max_epochs": [Interval(Integral, 0, None, closed="left")],
    "n_init": [Interval(Integral, 1, None, closed="left")],
    "shuffle": ["boolean"],
    "drop_last": ["boolean"],
    "validation_fraction": [Interval(Real, 0, 1, closed="left")],
    "early_stopping": ["boolean"],
    "n_epochs_no_change": [Interval(Integral, 1, None, closed="left")],
    "tol": [Interval(Real, 0, None, closed="left")],
    "scaler": [None, one_of(SCALERS)],
    "missing": [one_of(MISSING)],
    "column_kinds": [None, dict],
    "contamination": [Interval(Real, 0, 0.5, closed="right")],
    "score_metric": [one_of(("auto", *METRICS))],
    "warm_start": ["boolean"],
    "random_state": ["random_state"],
    "n_threads": [None, Interval(Integral, 1, MOST_THREADS, closed="both")],
    "dtype": [one_of(DTYPES)],
    "verbose": ["verbose"],
    "callbacks": [tuple, list, callable],
}


#: Parameters that name a function of the compiled engine.
_COMPILED = {
    "loss": LOSSES,
    "score_metric": ("auto", *METRICS),
    "activation": ACTIVATIONS,
    "code_activation": ACTIVATIONS,
    "output_activation": OUTPUT_ACTIVATIONS,
}


def merged(added: Sequence[tuple[Parameters, Constraints]]) -> tuple[inspect.Signature, Constraints]:
    """Return the signature and the constraints of a class from what it and its parents add, the class first."""
    parameters: dict[str, inspect.Parameter] = {}
    constraints: Constraints = {}
    for given, own in added:
        # Positional parameters are those of the first class that has any.
        by_position = any(each.kind == _BY_POSITION and name != "self" for name, each in parameters.items())
        for name, each in given.items():
            if each.kind in (_BY_POSITION, _BY_NAME):
                parameters.setdefault(name, each.replace(kind=_BY_NAME) if by_position else each)
        constraints = {**own, **constraints}
    return inspect.Signature(sorted(parameters.values(), key=lambda each: each.kind)), constraints


@cache
def defaults_of(cls: Any) -> dict[str, Any]:
    """Return the constructor parameters of an estimator class with their defaults, by name in alphabetical order."""
    given = inspect.signature(cls).parameters.values()
    return {each.name: each.default for each in sorted(given, key=lambda each: each.name)}


def parameters_of(estimator: Any) -> dict[str, Any]:
    """Return the parameters of an estimator, as ``get_params(deep=False)`` does in a tenth of the time."""
    cls: Any = type(estimator)
    return {name: getattr(estimator, name) for name in defaults_of(cls)}


def validate(estimator: Any) -> None:
    """Raise scikit-learn's error for a parameter that violates its constraints. Defaults are not checked again.

    A function in place of a name gets an error with the reason.
    """
    cls: Any = type(estimator)
    defaults = defaults_of(cls)
    given = {name: value for name, value in parameters_of(estimator).items() if value is not defaults[name]}
    for name, names in _COMPILED.items():
        if callable(given.get(name)):
            raise InvalidParameterError(
                f"{name} must be one of {', '.join(names)}, not a function: the engine computes it in compiled code, "
                "with several threads and without Python"
            )
    validate_parameter_constraints(estimator._parameter_constraints, given, caller_name=cls.__name__)


def forwarding_constructor(cls: Any) -> Callable[..., None]:
    """Return a constructor that passes all arguments to the parents of ``cls``."""

    def __init__(self: Any, *sizes: Any, **parameters: Any) -> None:
        super(cls, self).__init__(*sizes, **parameters)

    return __init__
