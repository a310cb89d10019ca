"""Translates PyOD's parameters into those of the estimators, and the estimators' errors into PyOD's names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from numbers import Real
from typing import Any

from aefast.exceptions import ConvergenceError, with_remedies
from aefast.model.network import widths
from aefast.training.optimizers import SGD, Adam, Optimizer

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


def optimizer_of(name: str, parameters: Mapping[str, Any]) -> tuple[Optimizer, float]:
    """Return the optimiser and the weight of the L2 penalty, which PyTorch calls ``weight_decay``."""
    left = dict(parameters)
    l2 = float(left.pop("weight_decay", 0.0 if parameters else 1e-5))
    optimizer: Optimizer
    if known("optimizer_name", name, ("adam", "sgd")) == "adam":
        beta_1, beta_2 = left.pop("betas", (0.9, 0.999))
        optimizer = Adam(beta_1, beta_2, left.pop("eps", 1e-8))
    else:
        optimizer = SGD(left.pop("momentum", 0.0), left.pop("nesterov", False))
    if left:
        raise ValueError(f"optimizer_params has {', '.join(map(repr, left))}, unknown to optimizer_name={name!r}")
    return optimizer, l2
