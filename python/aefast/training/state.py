"""The whole state of a training between two epochs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

Array = NDArray[Any]


@dataclass
class TrainingState:
    """Everything that training depends on after an epoch, apart from its data and settings.

    Random numbers are functions of the seed and the number of the pass, so that they need no state.
    """

    seed: int
    n_passes: int
    step: int
    parameters: list[Array]
    best: list[Array]
    slots: list[Array]
    loss_curve: list[float]
    validation_curve: list[float]
    monitored: list[float]
