"""A training on rows in memory."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, field, replace
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aefast.columns.contents import days_of
from aefast.engine import core
from aefast.model.predictors import Predictors
from aefast.model.scaling import merged_ranges
from aefast.training.checkpoint import digest_of
from aefast.training.data import REFERENCE, CalibrationRows, Rows, TrainingRows, without
from aefast.training.fit import Fit
from aefast.training.reference_rows import MOST_SCORES
from aefast.training.schedules import ConstantSchedule

Array = NDArray[Any]


@dataclass
class FitRows(Fit):
    """A training on rows in memory.

    Attributes
    ----------
    X : ndarray of shape (n, d)
    sample_weight : ndarray of shape (n,), float64, optional
        Rows of weight 0 are left out of everything.
    X_noisy : ndarray of shape (n, d), optional
        What the network gets in place of ``X``, its target.
    validation : ndarray of shape (m, d), optional
        Rows that are held out in place of a share of ``X``.
    table : data frame or Arrow table, optional
        The rows of ``X`` as they were given, if their columns are of several kinds.
    """

    X: Array = field(kw_only=True)
    sample_weight: NDArray[np.float64] | None = None
    X_noisy: Array | None = None
    validation: Array | None = None
    table: Any = None

    def __post_init__(self) -> None:
        super().__post_init__()
        X, weights, noisy = self.X, self.sample_weight, self.X_noisy
        if noisy is not None:
            self.require_finite(noisy, "X_noisy")
        used = None if weights is None else np.flatnonzero(weights)
        before = self._join_early(X)
        share = 0.0 if self.continues_epochs else self._of("validation_fraction")
        train, held_out = self._choices.split(len(X) if used is None else len(used), share)
        if self.validation is not None:
            self.require_finite(self.validation, "validation_data")
            n, rows = len(X), self.validation
            train, held_out = np.arange(n) if used is None else used, np.arange(n, n + len(rows))
            used = None if used is None else np.concatenate([used, held_out])
            X, noisy = np.concatenate([X, rows]), None if noisy is None else np.concatenate([noisy, rows])
            weights = None if weights is None else np.concatenate([weights, np.ones(len(rows))])
        elif used is not None:
            train = used if train is None else used[train]
            held_out = None if held_out is None else used[held_out]
        # Equal weights are none, except in the training itself.
        differ = weights if weights is not None and np.ptp(weights[used]) > 0 else None
        clean = TrainingRows(X, train, differ)
        statistics = self.statistics(clean)
        beyond = None if held_out is None else self.statistics(TrainingRows(X, held_out))
        scaled = clean if before is None else self._follow(clean, *before)
        of_scaled = statistics if scaled is clean else self.statistics(scaled)
        self._fit_scaling(scaled, of_scaled, TrainingRows(X, used), beyond)
        ranges = self._ranges(statistics if beyond is None else merged_ranges(statistics, beyond))
        distrusted = self._trust(X, used, ranges, differ)[1]
        learned, monitored = without(train, distrusted, len(X)), without(held_out, distrusted, len(X))
        if self.validation is not None or (monitored is not None and len(monitored) == 0):
            monitored = held_out
        trained, watched = (learned, monitored) if self._trains_on_trusted else (train, held_out)
        self._data = TrainingRows(X if noisy is None else noisy, trained, weights, None if noisy is None else X)
        self._rows = CalibrationRows(
            X, used, learned, held_out, distrusted, ranges, differ, alone=self.validation is not None
        )
        self._prepare(
            statistics,
            self._data if watched is None else replace(self._data, rows=watched),
            validates=held_out is not None,
            digest=None if self.continues_epochs else lambda: digest_of([X, noisy, weights]),
        )

    def _keep_reference_rows(self) -> None:
        chosen = None if self.sample_weight is None else self._by_weight(self.sample_weight)
        self._reference_rows.add(self.table, self.X, chosen)

    def _join_early(self, X: Array) -> tuple[Array, Array] | None:
        """Return rows and weights of earlier calls, if the scaler follows the rows, and go on with their reference."""
        if not self.continues_epochs:
            return None
        if self.start.early is None:
            return (X[:0], np.empty(0)) if self.start.weights is None else None
        rows, weights, self._reference_rows = deepcopy(self.start.early)
        return rows, weights

    def _follow(self, data: TrainingRows, rows: Array, weights: Array) -> TrainingRows:
        """Return the rows to fit the scaler to: those of earlier calls with their weights, and ``data``."""
        chosen = slice(None) if data.rows is None else data.rows
        rows = np.concatenate([rows, data.X[chosen]])
        new = np.ones(len(data.X)) if data.sample_weight is None else data.sample_weight
        weights = np.concatenate([weights, new[chosen]])
        self._early = rows, weights, self._reference_rows
        return TrainingRows(rows, None, None if (weights == weights[0]).all() else weights)

    def _by_weight(self, weights: NDArray[np.float64]) -> NDArray[np.int64]:
        """Return a random choice of rows, each with a probability in proportion to its weight."""
        largest = int(np.argmax(weights))
        chosen = self._choices.rng(REFERENCE, 3).random(len(weights)) * weights[largest] < weights
        chosen[largest] = True
        return np.flatnonzero(chosen)

    def _comparable_rows(self) -> tuple[Array, NDArray[np.int64] | None] | None:
        X, train, held_out = self._rows.X, self._rows.train, self._rows.held_out
        if held_out is None:
            return None
        few = self._choices.few(train, len(X), MOST_SCORES)
        days = None if self.recipe.columns is None else days_of(self.table, self.recipe.columns)
        return X[few], None if days is None else days[few]

    def _refit(self, rows: Rows) -> Predictors | None:
        """Return the predictors of the network after as many epochs on other rows, without early stopping."""
        if self.continues_epochs:
            return None
        trainer, data, n_epochs = self._new_trainer(), replace(self._data, rows=rows), self._loop.best_epoch
        if self._is_constant and type(self.settings.schedule) is ConstantSchedule:
            history: dict[str, Any] = {}
            self._run_on(trainer, history, data, first_pass=0, max_epochs=n_epochs, stops_early=False)
            return None if history["diverged"] is not None else self._network_of(history["best"])[2]
        schedule, before, losses = self.settings.schedule, self.settings.losses, self._loop.monitored
        for epoch in range(n_epochs):
            self._train(trainer, data, epoch, epoch, float(schedule.rate(epoch, [*before, *losses[:epoch]])))
        parameters = trainer.parameters()
        return self._network_of(parameters)[2] if all(np.isfinite(each).all() for each in parameters) else None

    def _epoch(self, number: int, rate: float) -> float:
        return self._pass(self._data, number, rate)

    @property
    def _is_constant(self) -> bool:
        """Whether the objective is the same in all epochs: no weight of a drawn code's divergence is scheduled."""
        return isinstance(self.recipe.parameters.get("beta", 1.0), Real)

    def _at_once(self) -> Callable[[dict[str, Any]], None] | None:
        return self._run_epochs if self._is_constant else None

    def _run_epochs(self, history: dict[str, Any]) -> None:
        """Run all epochs in the engine."""
        first_pass, settings = self._n_passes, self.settings
        try:
            self._run_on(
                self._trainer,
                history,
                self._data,
                first_pass=first_pass,
                max_epochs=settings.max_epochs,
                stops_early=settings.early_stopping,
                held_out=None if self._rows.held_out is None else self._monitored.rows,
                penalised=self._few.rows if self._has_penalty else None,
            )
        finally:
            self._n_passes = first_pass + history.get("n_passes", 0)

    def _run_on(
        self, trainer: core.Trainer, history: dict[str, Any], data: TrainingRows, *, first_pass: int, **options: Any
    ) -> None:
        """Run epochs of a trainer in the engine, at the rate of the first; ``options`` as of its ``run_epochs``."""
        settings, first_epoch = self.settings, first_pass if self.continues_epochs else 0
        trainer.run_epochs(
            history,
            data.X,
            self._engine_scaling,
            data.rows,
            data.sample_weight,
            data.target,
            first_pass=first_pass,
            learning_rate=float(settings.schedule.rate(first_epoch, [])),
            beta=self.recipe.beta(first_epoch),
            patience=settings.n_epochs_no_change,
            tol=settings.tol,
            **options,
            **self._batches(data),
        )

    def _calibration_rows(self) -> CalibrationRows:
        return self._rows
