"""The callback protocol: what is called after every epoch of training.

A callback is any callable that takes an `EpochInfo`. Training stops after the epoch in which one returns True or
raises `StopTraining`; any other exception also ends ``fit``, and leaves the estimator with the weights it would
have kept had it stopped there.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray

from aefast.training.state import TrainingState

__all__ = ["Callback", "EpochInfo", "StopTraining"]


class StopTraining(Exception):
    """Raised by a callback: stop after this epoch, as if training had come to its end."""


@dataclass(frozen=True)
class EpochInfo:
    """What a callback is told after each epoch.

    Parameters
    ----------
    epoch : int
        Epochs done in this call, 1 after the first.
    max_epochs : int
        Epochs there may be.
    loss : float
        Mean training loss as seen during the epoch, without penalties.
    validation_loss : float or None
        Mean loss of the held-out rows after the epoch; None where none are held out.
    best_loss : float
        Least monitored loss so far: of the held-out rows, else of training, with the penalties on their codes.
    learning_rate : float
        The rate used in the epoch.
    seconds : float
        Since training began.
    weights : callable
        ``weights()`` gives copies of the current ``(coefs, intercepts)``, shaped as the estimator's attributes.
    state : callable
        ``state()`` gives what `Checkpoint` saves.

    Examples
    --------
    Stop when the loss is small enough:

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
