"""Autoencoders on CPUs, trained and scored in compiled code, as scikit-learn estimators."""

from typing import TYPE_CHECKING, Any

from aefast._config import config
from aefast._core import __version__
from aefast._threads import threads
from aefast.autoencoder import Autoencoder
from aefast.callbacks import Checkpoint, CheckpointError, EpochInfo, StopTraining
from aefast.contractive import ContractiveAutoencoder
from aefast.convolutional import (
    ConvolutionalAutoencoder,
    ConvolutionalDenoisingAutoencoder,
    ConvolutionalVariationalAutoencoder,
)
from aefast.denoising import DenoisingAutoencoder
from aefast.evaluation import evaluate
from aefast.exceptions import AefastError, ConvergenceError, ModelFileError
from aefast.model_file import load
from aefast.optimizers import SGD, Adam, AdamW, RMSprop
from aefast.schedules import (
    ConstantSchedule,
    CosineSchedule,
    ExponentialSchedule,
    LinearSchedule,
    ReduceOnPlateau,
    StepSchedule,
)
from aefast.sparse import SparseAutoencoder
from aefast.variational import VariationalAutoencoder

if TYPE_CHECKING:
    from aefast.scorer import Scorer as Scorer

__all__ = [
    "SGD",
    "Adam",
    "AdamW",
    "AefastError",
    "Autoencoder",
    "Checkpoint",
    "CheckpointError",
    "ConstantSchedule",
    "ContractiveAutoencoder",
    "ConvergenceError",
    "ConvolutionalAutoencoder",
    "ConvolutionalDenoisingAutoencoder",
    "ConvolutionalVariationalAutoencoder",
    "CosineSchedule",
    "DenoisingAutoencoder",
    "EpochInfo",
    "ExponentialSchedule",
    "LinearSchedule",
    "ModelFileError",
    "RMSprop",
    "ReduceOnPlateau",
    "SparseAutoencoder",
    "StepSchedule",
    "StopTraining",
    "VariationalAutoencoder",
    "__version__",
    "config",
    "evaluate",
    "load",
    "threads",
]


def __getattr__(name: str) -> Any:
    """`Scorer`, which needs pyarrow: imported when it is first asked for."""
    if name != "Scorer":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        from aefast.scorer import Scorer
    except ImportError as error:
        raise ImportError('aefast.Scorer needs pyarrow; pip install "aefast[cli]"') from error
    return Scorer


def __dir__() -> list[str]:
    return [*globals(), "Scorer"]
