"""Old names of modules that pickles of earlier development versions contain, so that these pickles still load."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

from aefast import columns
from aefast.model.variants import VARIANTS

if TYPE_CHECKING:
    from importlib.machinery import ModuleSpec
    from types import ModuleType

#: Where the contents of a module are now.
_PLACES = {
    **{f"aefast.{variant.module}": f"aefast.estimators.{variant.module}" for variant in VARIANTS.values()},
    "aefast.optimizers": "aefast.training.optimizers",
    "aefast.checkpoints": "aefast.training.checkpoint",
    "aefast.scorer": "aefast.scoring.scorer",
    "aefast.thresholds": "aefast.model.calibration",
    "aefast.whitening": "aefast.model.whitening",
}


class _Finder:
    """Finds a module under its old name and loads it from its place."""

    def find_spec(self, name: str, path: Any = None, target: ModuleType | None = None) -> ModuleSpec | None:
        if name not in _PLACES:
            return None
        from importlib.util import spec_from_loader

        return spec_from_loader(name, self)  # type: ignore[arg-type]

    def create_module(self, spec: ModuleSpec) -> None:
        """Let the import system make the module."""

    def exec_module(self, module: ModuleType) -> None:
        sys.modules[module.__name__] = import_module(_PLACES[module.__name__])


def _column(name: str) -> Any:
    """Return ``Column``, which was in ``aefast.columns`` when that was a module and not a package."""
    if name == "Column":
        return import_module("aefast.columns.column").Column
    raise AttributeError(f"module 'aefast.columns' has no attribute {name!r}")


def install() -> None:
    """Let imports and pickles find the old names; call once."""
    sys.meta_path.append(_Finder())
    vars(columns)["__getattr__"] = _column
