"""What users give, as a model and the rows that it reads: an estimator, a model or a file; a table with its columns."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from aefast.model.model import Model
from aefast.tables.collect import table_of


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


def columns_for(model: Model, X: Any) -> Any:
    """Return a table's columns that the model knows, in the model's order; anything else as it is."""
    table, names = table_of(X), model.feature_names
    if table is None:
        return X
    present = list(table.columns) if hasattr(table, "iloc") else table.column_names
    if names is None or present == list(names) or not set(names) <= set(present):
        return table
    return table[list(names)] if hasattr(table, "iloc") else table.select(list(names))
