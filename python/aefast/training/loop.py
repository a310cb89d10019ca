"""The loop over epochs: schedules, early stopping, callbacks, progress and divergence."""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aefast.engine import core
from aefast.exceptions import ConvergenceError, with_remedies
from aefast.training.callbacks import Callback, EpochInfo, StopTraining, TrainingState
from aefast.training.progress import progress
from aefast.training.schedules import ConstantSchedule, Plateau, Schedule

Array = NDArray[Any]


def poll() -> None:
    """Do nothing. The engine calls this during an epoch, so that Python can raise a pending KeyboardInterrupt."""


@dataclass
class Settings:
    """When to stop, and what to call after an epoch.

    ``losses`` are the losses of the epochs before ``first_epoch``, for the schedule. The objective still changes until
    ``settled(epoch)`` is true; before that, epochs are not compared with each other and training does not stop early.
    ``poll`` is called about ten times a second; an exception that it raises ends training.
    """

    max_epochs: int
    schedule: Schedule
    early_stopping: bool
    n_epochs_no_change: int
    tol: float
    first_epoch: int = 0
    settled: Callable[[int], bool] = lambda epoch: True
    callbacks: Iterable[Callback] = ()
    verbose: int = 0
    losses: Sequence[float] = ()
    poll: Callable[[], None] = poll

    @property
    def needs_python(self) -> bool:
        """Whether something has to be called between two epochs, so that the engine cannot run all of them at once."""
        return bool(tuple(self.callbacks)) or bool(self.verbose) or type(self.schedule) is not ConstantSchedule


@dataclass
class EpochLoop:
    """One run of epochs on a trainer. After `run`, also if it raised, ``parameters`` are the parameters to keep.

    Parameters
    ----------
    trainer : Trainer
        Holds the current parameters.
    epoch : callable
        ``epoch(number, learning_rate)`` makes one pass over the training rows and returns their mean loss.
    validate : callable or None
        Returns the mean loss of the held-out rows. None if there are none; the training loss is then monitored.
    penalty : callable
        Returns the mean penalty on the codes of the monitored rows, which is added to their loss.
    as_weights : callable
        Returns ``(coefs, intercepts)`` for the engine's parameters, for callbacks.
    settings : Settings
    seed : int
        Seed of the trainer.
    n_passes : callable
        Returns the number of passes over the rows so far.
    at_once : callable or None
        ``at_once(history)`` runs all epochs in the engine, to the same bits, and leaves what they have led to in the
        dict ``history``, also if it raises. None if that is not possible.
    """

    trainer: core.Trainer
    epoch: Callable[[int, float], float]
    validate: Callable[[], float] | None
    penalty: Callable[[], float]
    as_weights: Callable[[list[Array]], tuple[list[Array], list[Array]]]
    settings: Settings
    seed: int = 0
    n_passes: Callable[[], int] = lambda: 0
    at_once: Callable[[dict[str, Any]], None] | None = None
    loss_curve: list[float] = field(default_factory=list)
    validation_curve: list[float] = field(default_factory=list)
    monitored: list[float] = field(default_factory=list)
    best_loss: float = float("inf")
    #: Number of the epoch whose parameters are kept, from 1 on; 0 before the first.
    best_epoch: int = 0

    def __post_init__(self) -> None:
        self.parameters: list[Array] = self.trainer.parameters()
        self._plateau = self._new_plateau()

    def resume(self, state: TrainingState) -> None:
        """Continue after the epochs of another run."""
        self.trainer.set_parameters(state.parameters)
        self.trainer.set_optimizer_state(state.step, state.slots)
        self.parameters = state.best
        self.loss_curve, self.validation_curve = state.loss_curve, state.validation_curve
        for epoch, monitored in enumerate(state.monitored):
            self._prepare(epoch)
            self._watch(monitored)

    def run(self) -> None:
        """Run epochs until the last one, until the monitored loss stops falling, or until a callback stops training.

        Raises
        ------
        ConvergenceError
            If a loss or a parameter is no longer finite.
        """
        try:
            if self.at_once is None or self.settings.needs_python or self.monitored:
                self._run()
            else:
                self._run_at_once(self.at_once)
        except KeyboardInterrupt:
            # Parameters after part of a first epoch are better than initial ones.
            parameters = self.trainer.parameters()
            if not self.loss_curve and _all_finite(parameters):
                self.parameters = parameters
            raise

    def _run(self) -> None:
        settings = self.settings
        began = time.perf_counter()
        with progress(settings.verbose, settings.max_epochs) as show:
            for epoch in range(len(self.monitored), settings.max_epochs):
                if self._stays(epoch - 1):
                    break
                number = settings.first_epoch + epoch
                self._prepare(epoch)
                rate = float(settings.schedule.rate(number, [*settings.losses, *self.monitored]))
                loss = self.epoch(number, rate)
                validation = None if self.validate is None else self.validate()
                self._take(epoch, rate, loss, validation)
                info = EpochInfo(
                    epoch=epoch + 1,
                    max_epochs=settings.max_epochs,
                    loss=loss,
                    validation_loss=validation,
                    best_loss=self.best_loss,
                    learning_rate=rate,
                    seconds=time.perf_counter() - began,
                    weights=lambda: self.as_weights(self.trainer.parameters()),
                    state=self._state,
                )
                show(info)
                if self._asked_to_stop(info):
                    break

    def _run_at_once(self, at_once: Callable[[dict[str, Any]], None]) -> None:
        history: dict[str, Any] = {}
        try:
            at_once(history)
        finally:
            if history:
                self.loss_curve, self.validation_curve = history["losses"], history["held_out_losses"]
                self.monitored, self.best_loss = history["monitored"], history["best_loss"]
                self.parameters = history["best"]
                stops_early = self.settings.early_stopping and self.monitored
                self.best_epoch = int(np.argmin(self.monitored)) + 1 if stops_early else len(self.monitored)
        if history["diverged"] is not None:
            loss, held_out = history["diverged"]
            rate = float(self.settings.schedule.rate(self.settings.first_epoch, []))
            raise _diverged(len(self.monitored), rate, loss, None if self.validate is None else held_out)

    def _new_plateau(self) -> Plateau:
        return Plateau(self.settings.n_epochs_no_change, self.settings.tol)

    def _prepare(self, epoch: int) -> None:
        """Forget the losses of a different objective."""
        if epoch > 0 and not self.settings.settled(self.settings.first_epoch + epoch - 1):
            self._plateau, self.best_loss = self._new_plateau(), float("inf")

    def _watch(self, monitored: float) -> None:
        self.monitored.append(monitored)
        if monitored < self.best_loss or not self.settings.early_stopping:
            self.best_epoch = len(self.monitored)
        self.best_loss = min(self.best_loss, monitored)
        self._plateau.reached_with(monitored)

    def _stays(self, epoch: int) -> bool:
        """Return whether the monitored loss has stopped falling with this epoch."""
        reached = self._plateau.wait >= self._plateau.patience
        return reached and self.settings.early_stopping and self.settings.settled(self.settings.first_epoch + epoch)

    def _state(self) -> TrainingState:
        step, slots = self.trainer.optimizer_state()
        return TrainingState(
            seed=self.seed,
            n_passes=self.n_passes(),
            step=step,
            parameters=self.trainer.parameters(),
            best=self.parameters,
            slots=slots,
            loss_curve=self.loss_curve,
            validation_curve=self.validation_curve,
            monitored=self.monitored,
        )

    def _take(self, epoch: int, rate: float, loss: float, validation: float | None) -> None:
        """Record an epoch, and keep its parameters if they are the best ones."""
        monitored = (loss if validation is None else validation) + self.penalty()
        parameters = self.trainer.parameters()
        if not np.isfinite([loss, monitored]).all() or not _all_finite(parameters):
            raise _diverged(epoch, rate, loss, validation)
        self.loss_curve.append(loss)
        if validation is not None:
            self.validation_curve.append(validation)
        if monitored < self.best_loss or not self.settings.early_stopping:
            self.parameters = parameters
        self._watch(monitored)

    def _asked_to_stop(self, info: EpochInfo) -> bool:
        stop = False
        for callback in self.settings.callbacks:
            try:
                answer = callback(info)
            except StopTraining:
                answer = True
            # Callbacks written as a lambda often return a value by accident, so only True counts.
            stop = stop or (isinstance(answer, bool | np.bool_) and bool(answer))
        return stop


def _diverged(epoch: int, rate: float, loss: float, validation: float | None) -> ConvergenceError:
    name = "loss" if validation is None or not np.isfinite(loss) else "validation loss"
    value = loss if name == "loss" else validation
    return with_remedies(
        ConvergenceError,
        f"training diverged in epoch {epoch + 1} ({name} {value:g}, learning rate {rate:g}), and the last good "
        "weights are kept",
        {"learning_rate": "lower learning_rate", "clip_norm": "set clip_norm=1.0"},
    )


def _all_finite(arrays: list[Array]) -> bool:
    return all(bool(np.isfinite(array).all()) for array in arrays)
