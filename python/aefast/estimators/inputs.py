"""What users give to estimators (arrays, data frames, Arrow tables), with scikit-learn's checks.

Arrays of numbers pass through as they are, whatever their dtype and layout.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils.validation import _check_sample_weight, check_array, validate_data

from aefast.columns.column import Column, encode
from aefast.columns.learner import ColumnLearner
from aefast.columns.values import names_of
from aefast.model.model import Model
from aefast.model.rows import check_names, check_order, moved_columns
from aefast.tables.collect import collected, table_of
from aefast.tables.numbers import numpy_frame, readable, table_values, why_unreadable
from aefast.training.data import NamedRows

Array = NDArray[Any]


def rows_to_score(estimator: Any, model: Model, X: Any) -> Any:
    """Return what ``model`` reads of ``X``: an array (n, d) or, if its columns are of several kinds, a table.

    Raises
    ------
    ValueError, TypeError
        As `sklearn.utils.validation.validate_data` raises them; a ValueError that names the column if a table holds
        something else than numbers.
    """
    if is_plain(X) and X.shape[1] == model.n_features_in and model.feature_names is None and model.columns is None:
        return X
    X = collected(X)
    if model.columns is None:
        return read_rows(estimator, X, reset=False)
    return _checked_table(estimator, X, table_of(X), reset=False)


def is_plain(X: Any) -> bool:
    """Return whether rows need none of scikit-learn's checks and conversions."""
    return type(X) is np.ndarray and X.ndim == 2 and X.size > 0 and X.dtype.char in "fd"


def read_rows(estimator: Any, X: Any, *, reset: bool) -> Array:
    """Return ``X`` as an array (n, D) of a dtype that the engine reads; columns of several kinds are encoded.

    With ``reset`` the width, the column names and the kinds of columns are recorded on the estimator, which is a copy
    that only reads (see `BaseAutoencoder`); else ``X`` is compared with what the estimator has. Errors as of
    `rows_to_score`.
    """
    if isinstance(X, NamedRows):
        return _read_named(estimator, X, reset=reset)
    checks: dict[str, Any] = {"dtype": "numeric", "ensure_all_finite": False, "estimator": estimator}
    X = collected(X)
    table = table_of(X)
    if reset:
        estimator.columns_, estimator.refusal = _learned_columns(estimator, table)
        if is_plain(X):
            estimator.n_features_in_ = X.shape[1]
            vars(estimator).pop("feature_names_in_", None)
            return readable(X)
    if hasattr(table, "iloc"):
        X = table = _named(estimator, table, reset=reset)
    if estimator.columns_ is not None:
        table = _checked_table(estimator, X, table, reset=reset)
        return encode(table, estimator.columns_, masks_missing=estimator.missing != "mean")
    if table is not None and not hasattr(table, "iloc"):
        _check_names(estimator, table, reset=reset)
        return readable(check_array(table_values(table), input_name="X", **checks))
    if table is not None and not reset and hasattr(estimator, "feature_names_in_"):
        _check_names(estimator, table, reset=reset)
    if hasattr(table, "iloc"):
        X = numpy_frame(table)
    try:
        return readable(validate_data(estimator, X, reset=reset, dtype="numeric", ensure_all_finite=False))
    except (ValueError, TypeError) as error:
        reason = why_unreadable(X)
        if not reason:
            raise
        raise ValueError(reason) from error


def _read_named(estimator: Any, X: NamedRows, *, reset: bool) -> Array:
    if reset:
        estimator.columns_, estimator.refusal = None, ""
        estimator.n_features_in_, estimator.feature_names_in_ = len(X.names), np.asarray(X.names, dtype=object)
    else:
        names = getattr(estimator, "feature_names_in_", None)
        check_names(X.names, type(estimator).__name__, estimator.n_features_in_, names)
    return readable(X.values)


def _learned_columns(estimator: Any, table: Any) -> tuple[tuple[Column, ...] | None, str]:
    """Return the columns, and why one of them cannot be learned if other blocks of rows do not change that."""
    if table is not None:
        learner = ColumnLearner(table, estimator.column_kinds)
        return learner.columns(), learner.refusal()
    if estimator.column_kinds:
        raise ValueError("column_kinds needs columns with names: give a data frame or an Arrow table")
    return None, ""


def _named(estimator: Any, frame: Any, *, reset: bool) -> Any:
    """Return a data frame whose labels are text, which scikit-learn takes for names.

    The labels 0, 1, ... that a frame of numbers has by itself stay numbers, which scikit-learn does not take for names.

    Raises
    ------
    ValueError
        If two labels have the same text, or the labels 0, 1, ... are in another order than in training.
    """
    labels, names = list(frame.columns), names_of(frame)
    if all(isinstance(label, str) for label in labels):
        return frame
    if not reset and not hasattr(estimator, "feature_names_in_"):
        check_order(frame)
        return frame
    if labels == list(range(len(labels))):
        known = estimator.columns_ and names if reset else list(estimator.feature_names_in_)
        if known != names:
            return frame
    if len(set(names)) < len(set(labels)):
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"two columns have labels of the same text {twice!r}: rename one of them")
    named: Any = frame.set_axis(names, axis=1)
    return named


def _check_names(estimator: Any, table: Any, *, reset: bool) -> None:
    """Make scikit-learn's checks of names and width; say which columns are out of order."""
    try:
        validate_data(estimator, table, reset=reset, skip_check_array=True)
    except ValueError as error:
        expected, got = list(getattr(estimator, "feature_names_in_", ())), names_of(table)
        if sorted(got) != sorted(expected) or got == expected:
            raise
        raise ValueError(f"{str(error).rstrip()} {moved_columns(got, expected)}") from None


def _checked_table(estimator: Any, X: Any, table: Any, *, reset: bool) -> Any:
    """Return the table if it is one, has rows and the columns of `fit`."""
    if table is None:
        raise ValueError(
            f"this {type(estimator).__name__} was fitted to columns of several kinds: give a data frame or an Arrow "
            f"table, got {type(X).__name__}"
        )
    if not reset and hasattr(table, "iloc"):
        table = _named(estimator, table, reset=False)
    _check_names(estimator, table, reset=reset)
    if len(table) == 0:
        raise ValueError(
            f"Found array with 0 sample(s) while a minimum of 1 is required by {type(estimator).__name__}."
        )
    return table


def read_codes(Z: ArrayLike, n_codes: int, estimator: Any) -> Array:
    """Return ``Z`` as an array (n, q) of a dtype that the engine reads."""
    codes = readable(
        check_array(collected(Z), dtype="numeric", ensure_all_finite=False, input_name="Z", estimator=estimator)
    )
    if codes.shape[1] != n_codes:
        raise ValueError(
            f"Z has {codes.shape[1]} columns, but the code of this {type(estimator).__name__} has {n_codes}"
        )
    return codes


def read_sample_weight(sample_weight: ArrayLike | None, X: Array) -> NDArray[np.float64] | None:
    """Return weights (n,) as float64 with a mean of 1 over rows of weight, or None.

    Raises
    ------
    ValueError
        If a weight is below zero, or all are zero.
    """
    if sample_weight is None:
        return None
    if not np.any(np.asarray(sample_weight)):
        raise ValueError("sample_weight is zero for every row")
    weights: NDArray[np.float64] = _check_sample_weight(sample_weight, X, dtype=np.float64, ensure_non_negative=True)
    weights = weights / weights.max()
    return np.ascontiguousarray(weights * (np.count_nonzero(weights) / weights.sum()))
