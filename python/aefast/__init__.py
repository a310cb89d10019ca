"""Autoencoders on CPUs, trained and scored in compiled code, as scikit-learn estimators.

Names are imported when they are first asked for: the command that scores a file needs no scikit-learn, which takes
longer to import than a million rows to score.
"""

from contextlib import suppress
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from aefast.engine.config import config
from aefast.engine.core import __version__
from aefast.engine.threads import threads
from aefast.exceptions import AefastError, ConvergenceError, ModelFileError

if TYPE_CHECKING:
    from aefast.estimators.autoencoder import Autoencoder
    from aefast.estimators.contractive import ContractiveAutoencoder
    from aefast.estimators.convolutional import (
        ConvolutionalAutoencoder,
        ConvolutionalDenoisingAutoencoder,
        ConvolutionalVariationalAutoencoder,
    )
    from aefast.estimators.denoising import DenoisingAutoencoder
    from aefast.estimators.sparse import SparseAutoencoder
    from aefast.estimators.variational import VariationalAutoencoder
    from aefast.model.file import load
    from aefast.scoring.evaluation import evaluate
    from aefast.scoring.scorer import Scorer
    from aefast.training.callbacks import Checkpoint, CheckpointError, EpochInfo, StopTraining
    from aefast.training.optimizers import SGD, Adam, AdamW, RMSprop
    from aefast.training.schedules import (
        ConstantSchedule,
        CosineSchedule,
        ExponentialSchedule,
        LinearSchedule,
        ReduceOnPlateau,
        StepSchedule,
    )

#: Where the other names are.
_HOMES = {
    "estimators.autoencoder": "Autoencoder",
    "callbacks": "Checkpoint CheckpointError EpochInfo StopTraining",
    "estimators.contractive": "ContractiveAutoencoder",
    "estimators.convolutional": (
        "ConvolutionalAutoencoder ConvolutionalDenoisingAutoencoder ConvolutionalVariationalAutoencoder"
    ),
    "estimators.denoising": "DenoisingAutoencoder",
    "scoring.evaluation": "evaluate",
    "model.file": "load",
    "training.optimizers": "SGD Adam AdamW RMSprop",
    "schedules": ("ConstantSchedule CosineSchedule ExponentialSchedule LinearSchedule ReduceOnPlateau StepSchedule"),
    "scoring.scorer": "Scorer",
    "estimators.sparse": "SparseAutoencoder",
    "estimators.variational": "VariationalAutoencoder",
}
_MODULE_OF = {name: module for module, names in _HOMES.items() for name in names.split()}

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
with suppress(ImportError):
    if find_spec("pyarrow") is not None:  # which it needs, and a star would import it
        __all__ += ["Scorer"]


def __getattr__(name: str) -> Any:
    """A name of `_HOMES`, or a module of this package."""
    if name in _MODULE_OF:
        try:
            return getattr(import_module(f"aefast.{_MODULE_OF[name]}"), name)
        except ImportError as error:
            if name != "Scorer":
                raise
            raise ImportError('aefast.Scorer needs pyarrow; pip install "aefast[cli]"') from error
    if not name.startswith("_") and find_spec(f"aefast.{name}") is not None:
        return import_module(f"aefast.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_MODULE_OF})
