"""The model behind what users give: an estimator, a model, or a model file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from aefast.model.model import Model


def model_of(model: Any) -> Model:
    """Return the `Model` of an estimator, or of a model file given by its content or its path."""
    if isinstance(model, (bytes, bytearray, memoryview, str, Path)):
        return Model.load(model)
    if isinstance(model, Model):
        return model
    if not hasattr(type(model), "model_"):
        raise TypeError(f"model must be an estimator of aefast, or the path or bytes of a model file, got {model!r}")
    found: Model = model.model_
    return found
