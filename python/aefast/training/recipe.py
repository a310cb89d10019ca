"""The recipe of a training, where the training starts, and what it keeps for further training."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from aefast.columns.column import Column
from aefast.engine import core
from aefast.model.model import Model

Array = NDArray[Any]


@dataclass(frozen=True)
class Recipe:
    """What to train, as plain data.

    Attributes
    ----------
    kind : str
        Name of the estimator's class.
    parameters : mapping
        Its constructor parameters.
    network : dict
        The layers, with the columns if they are of several kinds.
    objective : dict
        Loss and penalties.
    optimizer : dict
    columns : tuple of Column, or None
        Kinds and levels of the columns, if not all are numbers.
    names : tuple of str, or None
        Names of the columns, if they have any.
    n_columns : int
    beta : callable
        Weight of a drawn code's divergence in an epoch; of None, in the objective that training leads to.
    corrupt : callable or None
        A user's noise for minibatches.
    """

    kind: str
    parameters: Mapping[str, Any]
    network: core.NetworkSpec
    objective: core.ObjectiveSpec
    optimizer: core.OptimizerSpec
    columns: tuple[Column, ...] | None
    names: tuple[str, ...] | None
    n_columns: int
    beta: Callable[[int | None], float]
    corrupt: Callable[[Array], Array] | None = None

    @property
    def column_names(self) -> list[str]:
        """Names of the columns; x0, x1, ... if they have none."""
        return [f"x{j}" for j in range(self.n_columns)] if self.names is None else list(self.names)


@dataclass(frozen=True)
class Continuation:
    """What further training needs beside the model: random numbers drawn so far, and the optimizer's state.

    ``seed`` is None for a model from a file; a new seed is then drawn. ``early`` are the rows so far, as long as the
    scaler follows them: their inputs (n, D), their weights (n,), and a ``ReferenceRows`` of them.
    """

    seed: int | None
    n_passes: int
    optimizer: tuple[Any, ...] | None = None
    early: tuple[Array, Array, Any] | None = None


@dataclass(frozen=True)
class Start:
    """Where training starts.

    Attributes
    ----------
    seed, n_passes : int
        Seed of all random numbers, and passes over rows that have used it.
    weights : (coefs, intercepts, norms) or None
        Weights of earlier training; None draws new ones.
    model : Model or None
        The model of earlier training, whose scaler stays and whose curves go on.
    optimizer : tuple or None
        Specification and state of the optimizer after earlier training.
    early : tuple or None
        As of `Continuation`.
    attempt : int
        Number of this start among several: initial weights, order of rows and noise differ, held-out rows do not.
    """

    seed: int
    n_passes: int = 0
    weights: tuple[Any, Any, Any] | None = None
    model: Model | None = None
    optimizer: tuple[Any, ...] | None = None
    attempt: int = 0
    early: tuple[Array, Array, Any] | None = None

    @property
    def attempt_seed(self) -> int:
        """Seed of initial weights, order of rows and noise: another one for each attempt."""
        return (self.seed + self.attempt * 0x9E3779B97F4A7C15) % (1 << 63)
