"""Translates PyOD's parameters and scales into the estimators', and the estimators' errors into PyOD's names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from numbers import Real
from typing import TYPE_CHECKING, Any

import numpy as np

from aefast.exceptions import ConvergenceError, with_remedies
from aefast.model.network import widths
from aefast.training.optimizers import SGD, Adam, Optimizer

if TYPE_CHECKING:
    from aefast.estimators.base import BaseAutoencoder

#: The estimator's parameter behind each parameter of a detector.
NAMES = {
    "lr": "learning_rate",
    "epoch_num": "max_epochs",
    "batch_size": "batch_size",
    "random_state": "random_state",
    "verbose": "verbose",
    "batch_norm": "batch_norm",
    "dropout_rate": "dropout",
    "n_threads": "n_threads",
}
#: What to do with a detector about errors for which the estimator has remedies with these parameters.
REMEDIES = {"learning_rate": "lower lr", "scaler": "set preprocessing=True", "missing": "fill or drop missing values"}


@contextmanager
def own_remedies() -> Iterator[None]:
    """Raise the estimator's errors again with the remedies that a detector has."""
    try:
        yield
    except (ValueError, ConvergenceError) as error:
        details = vars(error)
        if "remedies" not in details:
            raise
        own = {name: REMEDIES[name] for name in details["remedies"] if name in REMEDIES}
        raise with_remedies(type(error), details["problem"], own) from None


def check_contamination(contamination: Any) -> None:
    """Raise ValueError unless this is a number in (0, 0.5], or a thresholder with PyOD's interface."""
    is_rule = callable(getattr(contamination, "fit", None)) and callable(getattr(contamination, "predict", None))
    if not is_rule and not (isinstance(contamination, Real) and 0 < float(contamination) <= 0.5):
        raise ValueError(f"contamination must be a number in (0, 0.5], got {contamination!r}")


def known(parameter: str, name: str, names: Sequence[str]) -> str:
    """Return ``name``; raise ValueError if it is not among ``names``."""
    if name not in names:
        raise ValueError(f"{parameter} must be one of {', '.join(names)}, got {name!r}")
    return name


def widths_of(parameter: str, sizes: Sequence[int], least: int = 0) -> tuple[int, ...]:
    """Return the widths of the layers; raise ValueError if there are fewer than ``least``."""
    found = widths(sizes, parameter)
    if len(found) < least:
        raise ValueError(f"{parameter} must have at least one width, that of the code, got {sizes!r}")
    return found


#: PyOD's names of parameters of optimisers, and PyTorch's.
OPTIMIZER_NAMES = {"adam_eps": "eps", "sgd_momentum": "momentum", "sgd_nesterov": "nesterov"}


def optimizer_of(name: str, parameters: Mapping[str, Any] | None) -> tuple[Optimizer, float]:
    """Return the optimiser and the weight of the L2 penalty, which PyTorch calls ``weight_decay``.

    As in PyOD, the penalty has weight 1e-5 if ``parameters`` is None and 0 if they do not name it, and an optimiser
    ignores the parameters with the other one's prefix.
    """
    left: dict[str, Any] = {"weight_decay": 1e-5} if parameters is None else dict(parameters)
    l2 = float(left.pop("weight_decay", 0.0))
    known("optimizer_name", name, ("adam", "sgd"))
    for theirs, usual in OPTIMIZER_NAMES.items():
        if theirs in left:
            value = left.pop(theirs)
            if theirs.startswith(name):
                left[usual] = value
    optimizer: Optimizer
    if name == "adam":
        beta_1, beta_2 = left.pop("betas", (0.9, 0.999))
        optimizer = Adam(beta_1, beta_2, left.pop("eps", 1e-8))
    else:
        optimizer = SGD(left.pop("momentum", 0.0), left.pop("nesterov", False))
    if left:
        raise ValueError(f"optimizer_params has {', '.join(map(repr, left))}, unknown to optimizer_name={name!r}")
    return optimizer, l2


def rescale_constants(model: BaseAutoencoder) -> None:
    """Make any other value of a column that was constant in training very large in the scaled space.

    PyOD divides by the standard deviation plus 1e-8, the estimators by 1 if a column is constant. The unit here is at
    least a millionth of the constant, so that single and double precision agree. Scores of training rows do not change.
    """
    ranges = model.input_ranges_
    if ranges is None:
        return
    low, high = ranges[0].astype(np.float64)
    shift, scale = model.scaler_shift_.copy(), model.scaler_scale_.copy()
    is_constant = (scale == 1) & (low == high)
    if model.columns_ is not None:  # levels are not scaled
        kinds, widths = zip(*((column.kind, column.width) for column in model.columns_), strict=True)
        is_constant &= np.repeat(np.array(kinds) == "numeric", widths)
    if is_constant.any():
        shift[is_constant] += low[is_constant]  # the mean of equal values may differ from them by rounding
        scale[is_constant] = np.maximum(1e-8, 1e-6 * np.abs(shift[is_constant]))
        model.scaler_shift_, model.scaler_scale_ = shift, scale
