"""One training, from a recipe and rows to a finished `Model`: the base of `FitRows` and `FitBlocks`.

The constructor of a `Fit` raises for rows and parameters that cannot be trained on; `run` is then called once. Neither
changes the estimator, so a fit that raises leaves it as it was.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aefast.engine import core
from aefast.exceptions import ConvergenceError
from aefast.model.drift import Drift
from aefast.model.model import Model
from aefast.model.parameters import batch_norms, split_parameters
from aefast.model.predictors import Predictors
from aefast.model.scaling import Statistics, clip_limit, scaled_range
from aefast.training.calibrate import calibrate
from aefast.training.checkpoint import Checkpoint, identity_of
from aefast.training.data import CalibrationRows, Rows, TrainingRows
from aefast.training.effects import TrainedNetwork
from aefast.training.loop import EpochLoop
from aefast.training.plain import plain_parameters
from aefast.training.preparation import ENOUGH_ROWS, Preparation
from aefast.training.progress import calibrating
from aefast.training.recipe import Continuation
from aefast.training.reference_rows import with_reference

Array = NDArray[Any]

#: Weights times epochs above which a training is repeated for fewer folds.
MOST_WORK = 10_000_000


@dataclass
class Fit(Preparation):
    """A training; `run` makes ``model``, also if training ends early. Subclasses read the rows.

    Attributes
    ----------
    model : Model or None
        The result of `run`; None before.
    drift : Drift or None
        How the training rows differ from those of earlier training, if there was any; None before `run`.
    """

    model: Model | None = field(init=False, default=None)
    drift: Drift | None = field(init=False, default=None)

    @property
    def continuation(self) -> Continuation:
        """Return what further training needs."""
        state = (self.recipe.optimizer, *self._trainer.optimizer_state()) if self.continues_epochs else None
        early = self._early if self._early is not None and len(self._early[0]) < ENOUGH_ROWS else None
        return Continuation(self.start.seed, self._n_passes, state, early)

    # What each subclass provides.

    def _epoch(self, number: int, rate: float) -> float:
        """Make one pass over the training rows and return their mean loss."""
        raise NotImplementedError

    def _calibration_rows(self) -> CalibrationRows:
        """Return the rows that decide the threshold."""
        raise NotImplementedError

    def _keep_reference_rows(self) -> None:
        """Keep rows that describe the columns, unless they were kept when they were read."""

    def _comparable_rows(self) -> tuple[Array, NDArray[np.int64] | None] | None:
        """Return training rows whose scores are compared, and their days if known; None if no rows are held out."""
        raise NotImplementedError

    def _at_once(self) -> Callable[[dict[str, Any]], None] | None:
        """Return what runs all epochs in the engine, as of `EpochLoop`; None if the rows do not allow it."""
        return None

    def _prepare(
        self, statistics: Statistics, monitored: TrainingRows, *, validates: bool, digest: Callable[[], str] | None
    ) -> None:
        """Make trainer and loop; go on from a checkpoint if there is one.

        Parameters
        ----------
        statistics : dict
            Column statistics of the training rows.
        monitored : TrainingRows
            Rows whose loss decides when to stop, if ``validates``, and which weights are best.
        validates : bool
            True if these rows are held out.
        digest : callable or None
            Digest of all rows, for checkpoints; None if there can be none.
        """
        recipe, start, network = self.recipe, self.start, self.recipe.network
        self._goal = objective = self._objective(statistics)
        self._trainer = trainer = self._new_trainer()
        if self.continues_epochs and start.optimizer is not None and start.optimizer[0] == recipe.optimizer:
            trainer.set_optimizer_state(*start.optimizer[1:])
        self._monitored, self._engine_scaling = monitored, self._scaling.for_engine(self._of("missing"), recipe.columns)
        self._few = replace(monitored, rows=self._choices.few(monitored.rows, len(monitored.X)))
        self._has_penalty = any(objective.get(name, 0) for name in ("activity_l1", "activity_l2", "contraction"))
        self._has_penalty |= any(layer["kind"] == "kl_sparsity" for layer in network["layers"])
        earlier = start.model.loss_curve if self.continues_epochs and start.model is not None else ()
        settings = replace(
            self.settings,
            first_epoch=self._n_passes if self.continues_epochs else 0,
            losses=earlier,
            settled=lambda number: recipe.beta(number) == recipe.beta(None),
        )
        self._loop = EpochLoop(
            trainer,
            epoch=self._epoch,
            validate=(lambda: self._loss_of(monitored)) if validates else None,
            penalty=self._penalty,
            as_weights=lambda parameters: split_parameters(network, parameters),
            settings=settings,
            seed=start.attempt_seed,
            n_passes=lambda: self._n_passes,
            at_once=self._at_once(),
        )
        self._resume(digest)

    def _new_trainer(self) -> core.Trainer:
        recipe, seed = self.recipe, self.start.attempt_seed
        dtype, n_threads = self._of("dtype"), self._n_threads
        return core.Trainer(recipe.network, self._parameters, self._goal, recipe.optimizer, dtype, seed, n_threads)

    def _objective(self, statistics: Statistics) -> core.ObjectiveSpec:
        """Return the objective, in which a noise gets the ranges of the features in the scaled space."""
        objective = self.recipe.objective.copy()
        if "noise" in objective:
            limit = clip_limit(self._scaling.kind)
            ranges = scaled_range(statistics, self._scaling.shift, self._scaling.scale)
            lowest, highest = (np.clip(bounds, -limit, limit).tolist() for bounds in ranges)
            objective["noise_lowest"], objective["noise_highest"] = lowest, highest
        return objective

    def _resume(self, digest: Callable[[], str] | None) -> None:
        checkpoint = self.checkpoint
        if checkpoint is None:
            return
        if digest is None:
            raise ValueError("a Checkpoint is for fit, and for fit_batches with blocks that can be read again")
        identity = identity_of(
            self.recipe.kind,
            self.recipe.parameters,
            self.start.seed,
            self.recipe.network,
            self._parameters,
            self._scaling,
            digest(),
        )
        saved = checkpoint.begin(identity, self._trainer.parameters(), self._trainer.optimizer_state()[1])
        if saved is not None:
            self._n_passes = saved.n_passes
            self._loop.resume(saved)

    @property
    def checkpoint(self) -> Checkpoint | None:
        """The checkpoint among the callbacks, if there is one."""
        return next((each for each in self.settings.callbacks if isinstance(each, Checkpoint)), None)

    @property
    def follows_part(self) -> bool:
        """True if the scaler was not fitted on all of the rows."""
        return self.keeps_scaler

    # Training.

    def run(self) -> None:
        """Run the epochs and make the model of the best weights so far, also if training ends early.

        Raises
        ------
        ConvergenceError
            If a loss or a weight is no longer finite.
        KeyboardInterrupt, Exception
            What ends training: Ctrl-C, or an exception of a callback. ``model`` is then there, too.
        """
        checkpoint, in_haste = self.checkpoint, False
        try:
            self._loop.run()
        except BaseException as error:
            if checkpoint is not None and isinstance(error, ConvergenceError):
                checkpoint.end(diverged=True)
            # Training was interrupted. A pass over all rows would keep the user waiting.
            in_haste = True
            raise
        finally:
            try:
                with calibrating(self.settings.verbose, self.settings.callbacks):
                    self.model = self._finished(in_haste=in_haste)
            except KeyboardInterrupt:
                self.model = self._finished(in_haste=True)
                raise
        if checkpoint is not None:
            checkpoint.end()

    def _pass(self, data: TrainingRows, epoch: int, learning_rate: float) -> float:
        """Make one pass over rows. Passes are numbered through, so that none repeats the random draws of another."""
        number, self._n_passes = self._n_passes, self._n_passes + 1
        return self._train(self._trainer, data, number, epoch, learning_rate)

    def _train(self, trainer: core.Trainer, data: TrainingRows, number: int, epoch: int, learning_rate: float) -> float:
        return trainer.train_epoch(
            data.X,
            self._engine_scaling,
            data.rows,
            data.sample_weight,
            data.target,
            epoch=number,
            learning_rate=learning_rate,
            beta=self.recipe.beta(epoch),
            **self._batches(data),
        )

    def _batches(self, data: TrainingRows) -> dict[str, Any]:
        """Return how each epoch makes minibatches of the rows."""
        return {
            "batch_size": min(self._of("batch_size"), data.n_rows),
            "shuffle": self._of("shuffle"),
            "drop_last": self._of("drop_last"),
            "corrupt": self.recipe.corrupt,
            "poll": self.settings.poll,
        }

    def _loss_of(self, rows: TrainingRows) -> float:
        return rows.evaluate(self._trainer, self._engine_scaling, self.recipe.beta(None))

    def _penalty(self) -> float:
        return self._few.penalty(self._trainer, self._engine_scaling) if self._has_penalty else 0.0

    def _refit(self, rows: Rows) -> Predictors | None:
        """Return the predictors of the network trained in the same way on other rows, or None if it cannot be."""
        return None

    def _network_of(self, parameters: list[Array]) -> tuple[list[Array], list[Array], Predictors]:
        """Return weights and biases of the engine's parameters, and the predictors with them."""
        network, columns = self.recipe.network, self.recipe.columns
        coefs, intercepts = split_parameters(network, parameters)
        dtype, missing, n_threads = (self._of(name) for name in ("dtype", "missing", "n_threads"))
        built = Predictors(network, coefs, intercepts, self._scaling, dtype, missing, n_threads, columns=columns)
        return coefs, intercepts, built

    def _finished(self, *, in_haste: bool) -> Model:
        """Return the model of the weights that the loop has kept."""
        recipe, loop, network = self.recipe, self._loop, self.recipe.network
        coefs, intercepts, predictors = self._network_of(loop.parameters)
        best_loss = loop.best_loss
        if not loop.monitored:
            self._trainer.set_parameters(loop.parameters)
            best_loss = self._loss_of(self._few if in_haste else self._monitored) + self._penalty()
        score_metric, contamination = self.score_metric, self._of("contamination")
        is_heavy = loop.best_epoch * sum(map(np.size, coefs)) > MOST_WORK
        calibrated = calibrate(
            TrainedNetwork(predictors, self._choices, self._refit, is_heavy),
            self._calibration_rows(),
            score_metric=score_metric,
            contamination=contamination,
            in_haste=in_haste,
        )
        before = self.start.model
        model = Model(
            kind=recipe.kind,
            network=network,
            coefs=tuple(coefs),
            intercepts=tuple(intercepts),
            norms=tuple(batch_norms(network, loop.parameters)),
            scaling=self._scaling,
            columns=recipe.columns,
            feature_names=recipe.names,
            loss=self._of("loss"),
            score_metric=score_metric,
            dtype=predictors.dtype,
            missing=predictors.missing,
            n_threads=predictors.n_threads,
            loss_curve=(*(before.loss_curve if before else ()), *loop.loss_curve),
            validation_curve=(*(before.validation_curve if before else ()), *loop.validation_curve),
            best_loss=best_loss,
            best_epoch=(len(before.loss_curve) if before else 0) + loop.best_epoch,
            parameters=plain_parameters(recipe.parameters, strict=False),
            **calibrated,
        )
        self._keep_reference_rows()
        comparable = None if in_haste else self._comparable_rows()
        if comparable is not None:
            model.adopt(predictors.get())
        before = before if self.keeps_scaler or not self.continues_epochs else None
        found = with_reference(model, before, self._reference_rows, comparable, is_further=self.continues_epochs)
        model, self.drift = found
        return model
