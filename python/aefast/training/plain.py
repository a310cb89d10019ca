"""Parameters of estimators as plain data, and back: the closed list of values that a file may hold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np

from aefast.training.optimizers import OPTIMIZERS
from aefast.training.schedules import SCHEDULES

#: Objects that may be among the parameters.
OBJECTS: dict[str, type[Any]] = {kind.__name__: kind for kind in (*OPTIMIZERS.values(), *SCHEDULES)}


def plain_parameters(parameters: Mapping[str, Any], *, strict: bool = True) -> dict[str, Any]:
    """Return an estimator's parameters as JSON, without those that belong to one process.

    Callbacks are left out, and the state of a ``numpy.random.RandomState`` becomes None.

    Raises
    ------
    ValueError
        If a parameter is not data. Unless ``strict``, it is left out instead.
    """
    found = {}
    for name, value in parameters.items():
        if name == "callbacks":
            continue
        is_generator = name == "random_state" and isinstance(value, np.random.RandomState)
        try:
            found[name] = plain_value(None if is_generator else value)
        except TypeError:
            if strict:
                raise ValueError(
                    f"cannot save parameter {name}={value!r}: a model file holds data only; "
                    f"set_params({name}=...) to a plain value first, which changes no score"
                ) from None
    return found


def plain_value(value: Any) -> Any:
    """Return a parameter's value as JSON; raise TypeError for a value that is not data."""
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, bool | int | str) or (isinstance(value, float) and np.isfinite(value)):
        return value
    if isinstance(value, np.ndarray):
        value = tuple(value.tolist())
    if isinstance(value, dict) and all(isinstance(key, str | int | np.integer) for key in value):
        return {"mapping": [[plain_value(key), plain_value(item)] for key, item in value.items()]}
    if isinstance(value, tuple | list):
        items = [plain_value(item) for item in value]
        return {"tuple": items} if isinstance(value, tuple) else items
    if type(value) in OBJECTS.values():
        return {"object": type(value).__name__, "fields": asdict(value)}
    raise TypeError(f"{value!r} is not data")


def decoded_value(value: Any) -> Any:
    """Return the value that `plain_value` encoded as ``value``; raise ValueError for anything else."""
    if isinstance(value, list):
        return [decoded_value(item) for item in value]
    if isinstance(value, dict):
        if value.keys() == {"tuple"}:
            return tuple(decoded_value(value["tuple"]))
        if value.keys() == {"mapping"}:
            return {key: decoded_value(item) for key, item in value["mapping"]}
        if value.keys() == {"object", "fields"} and value["object"] in OBJECTS:
            return OBJECTS[value["object"]](**value["fields"])
        raise ValueError(f"a parameter's value has unknown parts {sorted(value)}")
    return value
