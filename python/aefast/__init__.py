"""Autoencoders on CPUs, trained and scored in compiled code, as scikit-learn estimators."""

from aefast._config import config
from aefast._core import __version__
from aefast._threads import threads
from aefast.autoencoder import Autoencoder
from aefast.callbacks import EpochInfo, StopTraining
from aefast.exceptions import AefastError, ConvergenceError, ModelFileError
from aefast.model_file import load
from aefast.optimizers import SGD, Adam, AdamW, RMSprop
from aefast.schedules import ConstantSchedule, CosineSchedule, ExponentialSchedule, ReduceOnPlateau, StepSchedule

__all__ = [
    "SGD",
    "Adam",
    "AdamW",
    "AefastError",
    "Autoencoder",
    "ConstantSchedule",
    "ConvergenceError",
    "CosineSchedule",
    "EpochInfo",
    "ExponentialSchedule",
    "ModelFileError",
    "RMSprop",
    "ReduceOnPlateau",
    "StepSchedule",
    "StopTraining",
    "__version__",
    "config",
    "load",
    "threads",
]
