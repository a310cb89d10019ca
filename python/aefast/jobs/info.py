"""Describes a model file: its network, its columns, its threshold and its parameters."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from aefast.model.fleet_file import StoredModels
from aefast.model.network import layer_widths

_PLAIN = (bool, int, float, str, type(None))


def describe_model(estimator: Any, path: Path) -> dict[str, Any]:
    """Return a description of a model as plain data."""
    names = getattr(estimator, "feature_names_in_", None)
    parameters = _parameters(estimator)
    return {
        "model": str(path),
        "bytes": path.stat().st_size,
        "kind": type(estimator).__name__,
        "layers": layer_widths(estimator.network_),
        "n_parameters": int(sum(np.size(a) for a in (*estimator.coefs_, *estimator.intercepts_))),
        "n_features": int(estimator.n_features_in_),
        "features": None if names is None else [str(n) for n in names],
        "kinds": None if estimator.columns_ is None else {c.name: c.kind for c in estimator.columns_},
        "levels": {c.name: list(c.levels) for c in estimator.columns_ or () if c.kind == "categorical"},
        "threshold": float(estimator.threshold_),
        "calibration_rows": estimator.calibration_.n_rows,
        "least_p_value": estimator.calibration_.least,
        "epochs": int(estimator.n_epochs_),
        "parameters": {k: v if isinstance(v, _PLAIN) else repr(v) for k, v in parameters.items()},
    }


def describe_fleet(models: StoredModels, path: Path) -> dict[str, Any]:
    """Return a description of a fleet file as plain data; it reads one model."""
    document = models.document
    template = models.pooled if models.pooled is not None else models[document.keys[0]]
    own = [document.counts[key] for key in document.keys]
    return {
        "fleet": str(path),
        "bytes": path.stat().st_size,
        "kind": document.kind,
        "layers": layer_widths(template.network),
        "by": None if document.by is None else list(document.by),
        "groups": len(document.keys),
        "rows_of_groups": [min(own), max(own)] if own else None,
        "groups_without_a_model": len(document.counts) - len(own),
        "min_rows": document.min_rows,
        "unseen": document.unseen,
        "features": None if template.feature_names is None else list(template.feature_names),
        "n_features": template.n_features_in,
    }


def changed_parameters(estimator: Any) -> list[str]:
    """Return the parameters that differ from the defaults, as ``name=value``."""
    defaults = type(estimator)().get_params(deep=False)
    return [f"{k}={v!r}" for k, v in _parameters(estimator).items() if repr(v) != repr(defaults[k])]


def _parameters(estimator: Any) -> dict[str, Any]:
    return {k: v for k, v in estimator.get_params(deep=False).items() if k != "callbacks"}
