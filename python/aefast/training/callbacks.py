"""The callback protocol: functions that are called after every epoch of training.

A callback is any callable that accepts an `EpochInfo`. Training stops after the epoch in which a callback returns True
or raises `StopTraining`. Any other exception also ends ``fit``; the estimator then has the weights that it would have
had if training had stopped there.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray


@dataclass
class TrainingState:
    """The whole state of a training between two epochs, apart from its data and settings.

    Random numbers are functions of the seed and of the number of the pass, so they need no state.
    """

    seed: int
    n_passes: int
    step: int
    parameters: list[NDArray[Any]]
    best: list[NDArray[Any]]
    slots: list[NDArray[Any]]
    loss_curve: list[float]
    validation_curve: list[float]
    monitored: list[float]


class StopTraining(Exception):
    """Raised by a callback to stop training after this epoch, as if it had been the last.

    See Also
    --------
    EpochInfo : What a callback gets. A callback that returns True stops training too.

    Examples
    --------
    >>> import numpy as np
    >>> from aefast import Autoencoder, StopTraining
    >>> def stop(info):
    ...     raise StopTraining
    >>> X = np.random.default_rng(0).normal(size=(500, 4))
    >>> Autoencoder((2,), callbacks=[stop], random_state=0).fit(X).n_epochs_
    1
    """


@dataclass(frozen=True)
class EpochInfo:
    """Argument of a callback: the state of training after an epoch.

    Parameters
    ----------
    epoch : int
        Number of epochs in this call so far, 1 after the first.
    max_epochs : int
        Largest number of epochs.
    loss : float
        Mean training loss during the epoch, without penalties.
    validation_loss : float or None
        Mean loss of the held-out rows after the epoch; None if no rows are held out.
    best_loss : float
        Lowest monitored loss so far: of the held-out rows, or of training if there are none, with the penalties on
        their codes.
    learning_rate : float
        Learning rate of the epoch.
    seconds : float
        Time since training began.
    weights : callable
        ``weights()`` returns copies of the current ``(coefs, intercepts)``, shaped as the estimator's attributes.
    state : callable
        ``state()`` returns the state that `Checkpoint` saves.

    See Also
    --------
    Checkpoint : A callback that saves the state of training.

    Examples
    --------
    Stop after three epochs:

    >>> import numpy as np
    >>> from aefast import Autoencoder
    >>> X = np.random.default_rng(0).normal(size=(500, 4))
    >>> model = Autoencoder((2,), callbacks=[lambda info: info.epoch == 3], random_state=0).fit(X)
    >>> model.n_epochs_
    3
    """

    epoch: int
    max_epochs: int
    loss: float
    validation_loss: float | None
    best_loss: float
    learning_rate: float
    seconds: float
    weights: Callable[[], tuple[list[NDArray[Any]], list[NDArray[Any]]]] = field(repr=False)
    state: Callable[[], TrainingState] = field(repr=False)

    def __str__(self) -> str:
        validation = "" if self.validation_loss is None else f"  validation {self.validation_loss:.6g}"
        return (
            f"epoch {self.epoch}/{self.max_epochs}  loss {self.loss:.6g}{validation}  "
            f"learning rate {self.learning_rate:.3g}  {self.seconds:.1f} s"
        )


Callback = Callable[[EpochInfo], bool | None]
