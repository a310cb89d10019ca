"""Rows for a fitted model, from arrays, data frames and Arrow tables, without scikit-learn."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aefast.columns.column import Column, encode, input_starts
from aefast.columns.values import names_of
from aefast.engine.threads import resolve_threads
from aefast.model.scaling import column_statistics
from aefast.tables.collect import collected, table_of
from aefast.tables.numbers import nonfinite_error, numpy_frame, readable, table_values, why_unreadable

Array = NDArray[Any]

# Names that scikit-learn's message lists.
_MOST_NAMES = 5


def read_rows(
    X: Any, kind: str, n_columns: int, names: Sequence[str] | None, columns: Sequence[Column] | None, missing: str
) -> Array:
    """Return rows (n, d), or encoded rows (n, m), of a dtype that the engine reads.

    Parameters
    ----------
    X : array-like of shape (n, n_columns), data frame or Arrow table
        Tables of models with column names must have these names, in this order.
    kind : str
        Name of the model's class, for messages.
    n_columns : int
        Columns that the model was fitted on.
    names : sequence of str, optional
        Their names, if there were any.
    columns : sequence of Column, optional
        Their kinds, if not all columns are numbers; ``X`` must then be a table.
    missing : {"error", "mask", "mean"}
        How the model treats missing values.

    Raises
    ------
    ValueError
        If the shape, the names or the contents of a column do not fit.
    """
    X = collected(X)
    table = table_of(X)
    if table is not None:
        check_names(names_of(table), kind, n_columns, names)
        if names is None:
            check_order(table)
    if columns is not None:
        if table is None:
            raise ValueError(
                f"this {kind} was fitted to columns of several kinds: give a data frame or an Arrow table, got "
                f"{type(X).__name__}"
            )
        return encode(table, columns, masks_missing=missing != "mean")
    if table is not None:
        X = numpy_frame(table) if hasattr(table, "iloc") else table_values(table)
    values = np.asarray(X)
    if values.dtype.kind == "O":
        reason = why_unreadable(X)
        if reason:
            raise ValueError(reason)
        values = values.astype(np.float64)
    rows = readable(values)
    if rows.ndim != 2 or rows.shape[1] != n_columns:
        raise ValueError(f"X must be rows of {n_columns} values, got an array of shape {rows.shape}")
    return rows


def check_names(got: Sequence[str], kind: str, n_columns: int, expected: Sequence[str] | None) -> None:
    """Raise ValueError, in scikit-learn's words, if the columns of a table are not those that the model knows."""
    if expected is not None and list(got) != list(expected):
        message = "The feature names should match those that were passed during fit.\n"
        unseen, lacking = sorted(set(got) - set(expected)), sorted(set(expected) - set(got))
        if unseen:
            message += f"Feature names unseen at fit time:\n{_listed(unseen)}"
        if lacking:
            message += f"Feature names seen at fit time, yet now missing:\n{_listed(lacking)}"
        if not unseen and not lacking:
            message += f"Feature names must be in the same order as they were in fit. {moved_columns(got, expected)}"
        raise ValueError(message)
    if len(got) != n_columns:
        raise ValueError(f"X has {len(got)} features, but {kind} is expecting {n_columns} features as input.")


def check_order(table: Any) -> None:
    """Raise ValueError if the labels of a data frame are 0, 1, ... in another order, for models without names."""
    labels = list(table.columns) if hasattr(table, "iloc") else []
    expected = list(range(len(labels)))
    if labels != expected and set(labels) == set(expected):
        raise ValueError(f"The columns must be in the order of their labels. {moved_columns(labels, expected)}")


def _listed(names: Sequence[str]) -> str:
    lines = [f"- {name}\n" for name in names[:_MOST_NAMES]]
    return "".join(lines) + ("- ...\n" if len(names) > _MOST_NAMES else "")


def moved_columns(got: Sequence[Any], expected: Sequence[Any]) -> str:
    """Say which columns are out of order."""
    moved = [f"{a!r} where fit had {b!r}" for a, b in zip(got, expected, strict=False) if a != b]
    more = f" and {len(moved) - 8} more" if len(moved) > 8 else ""
    return f"There is {', '.join(moved[:8])}{more}."


def element_names(names: Sequence[str], columns: Sequence[Column] | None) -> list[str]:
    """Return the name of the column that each of the network's inputs stands for."""
    return list(names) if columns is None else [column.name for column in columns for _ in range(column.width)]


def input_names(names: Sequence[str], columns: Sequence[Column] | None) -> list[str]:
    """Return the name of the column that each value of an encoded row stands for."""
    return list(names) if columns is None else [column.name for column in columns for _ in range(column.n_inputs)]


def require_finite(
    X: Array,
    what: str,
    names: Sequence[str] | None,
    columns: Sequence[Column] | None,
    *,
    may_miss: bool,
    n_threads: int | None,
) -> None:
    """Raise ValueError for NaN, unless values ``may_miss``, and for infinity in encoded rows ``X`` (n, m)."""
    if X.dtype.kind != "f":
        return
    if may_miss or column_statistics(X, None, resolve_threads(n_threads))["n_nonfinite"].any():
        shown_columns = X if columns is None else X[:, input_starts(columns)]
        error = nonfinite_error(shown_columns, names, what, may_miss=may_miss)
        if error is not None:
            raise error


def overflow_error(column: str, dtype: np.dtype[Any]) -> ValueError:
    """Return the error that the reconstruction of a column is too large for its dtype."""
    remedy = {"float32": "use dtype='float64'", "float64": "divide it by a constant before fit"}[dtype.name]
    return ValueError(f"the reconstruction of column {column!r} does not fit into {dtype}: {remedy}")
