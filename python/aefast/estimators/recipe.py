"""From an estimator's parameters and state to a training: what to train, when to stop, and where to start."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from sklearn.utils import check_random_state

from aefast.estimators.constraints import parameters_of
from aefast.model.network import with_columns
from aefast.training.callbacks import Callback
from aefast.training.checkpoint import Checkpoint
from aefast.training.loop import Settings
from aefast.training.optimizers import optimizer_spec
from aefast.training.recipe import Continuation, Recipe, Start
from aefast.training.schedules import as_schedule


def recipe_of(estimator: Any, reader: Any, n_inputs: int, *, has_noise: bool = True) -> Recipe:
    """Return what to train on rows of ``n_inputs`` values that ``reader``, a copy of the estimator, has read.

    ``has_noise`` is False for rows with recorded noise.

    Raises
    ------
    ValueError
        If parameters do not go with the columns or with each other.
    """
    columns, names = reader.columns_, getattr(reader, "feature_names_in_", None)
    network = reader._network(n_inputs if columns is None else sum(column.width for column in columns))
    if columns is not None and (
        network["layers"][-1].get("activation") == "softmax" or estimator.loss == "categorical_crossentropy"
    ):
        raise ValueError(
            "output_activation='softmax' and loss='categorical_crossentropy' are for columns that are shares "
            "of a whole: leave them out; categorical columns get both automatically"
        )
    estimator._check_network(network)
    return Recipe(
        kind=type(estimator).__name__,
        parameters=parameters_of(estimator),
        network=with_columns(network, columns, estimator.loss),
        objective=estimator._objective(has_noise=has_noise),
        optimizer=optimizer_spec(estimator.optimizer),
        columns=columns,
        names=None if names is None else tuple(str(name) for name in names),
        n_columns=n_inputs if columns is None else len(columns),
        beta=estimator._beta,
        corrupt=estimator._corrupt() if has_noise else None,
    )


def callbacks_of(estimator: Any) -> tuple[Callback, ...]:
    """Return the callbacks as a tuple."""
    callbacks = estimator.callbacks
    return (callbacks,) if callable(callbacks) else tuple(callbacks)


def settings_of(estimator: Any, max_epochs: int | None = None) -> Settings:
    """Return when to stop; ``max_epochs`` replaces the parameter."""
    return Settings(
        max_epochs=estimator.max_epochs if max_epochs is None else max_epochs,
        schedule=as_schedule(estimator.learning_rate),
        early_stopping=estimator.early_stopping,
        n_epochs_no_change=estimator.n_epochs_no_change,
        tol=estimator.tol,
        callbacks=callbacks_of(estimator),
        verbose=estimator.verbose,
    )


def _drawn(random_state: Any) -> int:
    return int(random_state.randint(np.iinfo(np.int64).max, dtype=np.int64))


@lru_cache(maxsize=1024)
def _seed_of(random_state: int) -> int:
    """Return the number that a new generator with this seed draws first."""
    return _drawn(np.random.RandomState(random_state))


def start_of(estimator: Any, *, go_on: bool) -> Start:
    """Return where training starts: from the estimator's weights if ``go_on``, else from new weights."""
    state, go_on = vars(estimator), go_on and hasattr(estimator, "coefs_")
    before = state.get("continuation_") if go_on else None
    if before is None:
        before = Continuation(None, getattr(estimator, "n_epochs_", 0) if go_on else 0)
    seed = before.seed
    if seed is None:
        state_or_seed = estimator.random_state
        seed = _seed_of(state_or_seed) if type(state_or_seed) is int else _drawn(check_random_state(state_or_seed))
        checkpoint = next((each for each in callbacks_of(estimator) if isinstance(each, Checkpoint)), None)
        if checkpoint is not None and estimator.random_state is None:
            seed = checkpoint.seed(seed)
    if not go_on:
        return Start(seed)
    weights = (estimator.coefs_, estimator.intercepts_, getattr(estimator, "norms_", None))
    early = getattr(before, "early", None)  # pickles of earlier versions have none
    return Start(seed, before.n_passes, weights, state.get("model_"), before.optimizer, early=early)
