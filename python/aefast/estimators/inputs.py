"""From what users have (arrays, data frames, Arrow tables) to arrays that the engine reads in place.

Arrays of numbers pass through untouched, whatever their dtype and layout.
"""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils.validation import _check_sample_weight, check_array, validate_data

from aefast.columns.column import Column, encode
from aefast.columns.learner import ColumnLearner
from aefast.columns.values import names_of
from aefast.tables.numbers import not_numbers, numpy_frame, readable, table_of, table_values, unreadable_column

Array = NDArray[Any]


def read_rows(estimator: Any, X: Any, *, reset: bool) -> Array:
    """``X`` as an array (n, d) of a dtype that the engine reads.

    With ``reset`` the width, the column names and, where they are not all numbers, the columns' kinds are recorded on
    the estimator, else compared with the recorded ones. Columns of several kinds are encoded: `aefast.columns`.

    Raises
    ------
    ValueError, TypeError
        As `sklearn.utils.validation.validate_data` raises them; a ValueError that names the column where a table
        holds something else than numbers.
    """
    checks: dict[str, Any] = {"dtype": "numeric", "ensure_all_finite": False, "estimator": estimator}
    table = table_of(X)
    if reset:
        estimator.columns_, estimator._refusal = _learned_columns(estimator, table)
    if estimator.columns_ is not None:
        return _encoded_rows(estimator, X, table, reset=reset)
    if table is not None and table is not X:
        _check_names(estimator, table, reset=reset)
        return readable(check_array(table_values(table), input_name="X", **checks))
    if table is not None and not reset and hasattr(estimator, "feature_names_in_"):
        _check_names(estimator, table, reset=reset)
    if hasattr(table, "iloc"):
        X = numpy_frame(table)
    try:
        return readable(validate_data(estimator, X, reset=reset, dtype="numeric", ensure_all_finite=False))
    except (ValueError, TypeError) as error:
        culprit = unreadable_column(X)
        if culprit is None:
            raise
        raise ValueError(not_numbers(*culprit)) from error


def _learned_columns(estimator: Any, table: Any) -> tuple[tuple[Column, ...] | None, str]:
    """The columns, and why one of them is not to be learned, where that is what all rows say."""
    if table is not None:
        learner = ColumnLearner(table, estimator.column_kinds)
        return learner.columns(), learner.refusal()
    if estimator.column_kinds:
        raise ValueError("column_kinds needs columns with names: give a data frame or an Arrow table")
    return None, ""


def _check_names(estimator: Any, table: Any, *, reset: bool) -> None:
    """The checks of scikit-learn, and which columns are out of order, where that is what is wrong."""
    try:
        validate_data(estimator, table, reset=reset, skip_check_array=True)
    except ValueError as error:
        expected, got = list(getattr(estimator, "feature_names_in_", ())), names_of(table)
        moved = [f"{a!r} where fit had {b!r}" for a, b in zip(got, expected, strict=False) if a != b]
        if sorted(got) != sorted(expected) or not moved:
            raise
        more = f" and {len(moved) - 8} more" if len(moved) > 8 else ""
        raise ValueError(f"{str(error).rstrip()} There is {', '.join(moved[:8])}{more}.") from None


def _encoded_rows(estimator: Any, X: Any, table: Any, *, reset: bool) -> Array:
    if table is None:
        raise ValueError(
            f"this {type(estimator).__name__} was fitted to columns of several kinds: give a data frame or an Arrow "
            f"table, got {type(X).__name__}"
        )
    _check_names(estimator, table, reset=reset)
    if len(table) == 0:
        raise ValueError(
            f"Found array with 0 sample(s) while a minimum of 1 is required by {type(estimator).__name__}."
        )
    return encode(table, estimator.columns_, masks_missing=estimator.missing != "mean")


def read_codes(Z: ArrayLike, n_codes: int, estimator: Any) -> Array:
    """``Z`` as an array (n, q) of a dtype that the engine reads."""
    codes = readable(check_array(Z, dtype="numeric", ensure_all_finite=False, input_name="Z", estimator=estimator))
    if codes.shape[1] != n_codes:
        raise ValueError(
            f"Z has {codes.shape[1]} columns, but the code of this {type(estimator).__name__} has {n_codes}"
        )
    return codes


def read_sample_weight(sample_weight: ArrayLike | None, X: Array) -> NDArray[np.float64] | None:
    """Weights (n,) as float64 whose mean over rows of weight is 1, or None; ValueError below zero, or all zero."""
    if sample_weight is None:
        return None
    if not np.any(np.asarray(sample_weight)):
        raise ValueError("sample_weight is zero for every row")
    weights: NDArray[np.float64] = _check_sample_weight(sample_weight, X, dtype=np.float64, ensure_non_negative=True)
    weights = weights / weights.max()
    return np.ascontiguousarray(weights * (np.count_nonzero(weights) / weights.sum()))
