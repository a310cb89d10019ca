"""Autoencoders on CPUs, trained and scored in compiled code, as scikit-learn estimators.

Names are imported when they are first used: the command that scores a file needs no scikit-learn, whose
import takes longer than scoring a million rows.
"""

from importlib.util import find_spec as _find_spec
from typing import Any as _Any

import lazy_loader as _lazy_loader

from aefast import renamed as _renamed
from aefast.engine.config import config
from aefast.engine.core import __version__
from aefast.engine.threads import threads
from aefast.exceptions import AefastError, ConvergenceError, ModelFileError
from aefast.model.variants import VARIANTS as _VARIANTS

_renamed.install()

_HOMES = {
    "callbacks": ["Checkpoint", "CheckpointError", "EpochInfo", "StopTraining"],
    "estimators.fleet": ["Fleet"],
    "estimators.load": ["load"],
    "schedules": [
        "ConstantSchedule",
        "CosineSchedule",
        "ExponentialSchedule",
        "LinearSchedule",
        "ReduceOnPlateau",
        "StepSchedule",
    ],
    "scoring.comparison": ["compare"],
    "scoring.evaluation": ["evaluate"],
    "scoring.scorer": ["Scorer"],
    "scoring.sketch": ["ScoreSketch"],
    "training.optimizers": ["SGD", "Adam", "AdamW", "RMSprop"],
}
for _name, _variant in _VARIANTS.items():
    _HOMES.setdefault(f"estimators.{_variant.module}", []).append(_name)

_MODULES = {"callbacks", "dask", "export", "plots", "pyod", "ray", "report", "schedules", "spark"}
_load_name, _, _lazy_names = _lazy_loader.attach(__name__, submodules=_MODULES, submod_attrs=_HOMES)

__all__ = ["AefastError", "ConvergenceError", "ModelFileError", "__version__", "config", "threads"]
__all__ += [name for names in _HOMES.values() for name in names]
try:
    _has_pyarrow = _find_spec("pyarrow") is not None
except ImportError:  # a module that refuses to be looked up
    _has_pyarrow = False
if not _has_pyarrow:  # which Scorer needs, and a star import would import it
    __all__.remove("Scorer")
__all__.sort()


def __getattr__(name: str) -> _Any:
    if name not in _lazy_names:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        return _load_name(name)
    except ImportError as error:
        if name != "Scorer":
            raise
        raise ImportError('aefast.Scorer needs pyarrow; pip install "aefast[cli]"') from error


def __dir__() -> list[str]:
    return sorted({*__all__, *_lazy_names, *(name for name in globals() if name.startswith("__"))})
