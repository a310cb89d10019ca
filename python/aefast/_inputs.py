"""From what users have (arrays, data frames, Arrow tables) to arrays that the engine reads in place.

Arrays of numbers pass through untouched, whatever their dtype and layout. Non-finite values are not looked for here:
the engine meets them in the pass it makes anyway, and `nonfinite_message` then says where they are.
"""

from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils.validation import _check_sample_weight, check_array, validate_data

from aefast.columns import Column, encode, learn_columns

Array = NDArray[Any]


def read_rows(estimator: Any, X: Any, *, reset: bool) -> Array:
    """``X`` as an array (n, d) of a dtype that the engine reads.

    With ``reset`` the width, the column names and, where they are not all numbers, the columns' kinds are recorded on
    the estimator, else compared with the recorded ones. Columns of several kinds are encoded (see `aefast.columns`).

    Raises
    ------
    ValueError, TypeError
        As `sklearn.utils.validation.validate_data` raises them; a ValueError that names the column where a table
        holds something else than numbers.
    """
    checks: dict[str, Any] = {"dtype": "numeric", "ensure_all_finite": False, "estimator": estimator}
    table = table_of(X)
    if reset:
        estimator.columns_ = _learned_columns(estimator, table)
    if estimator.columns_ is not None:
        return _encoded_rows(estimator, X, table, reset=reset)
    if table is not None and table is not X:
        validate_data(estimator, table, reset=reset, skip_check_array=True)
        return _readable(check_array(_table_values(table), input_name="X", **checks))
    try:
        return _readable(validate_data(estimator, X, reset=reset, dtype="numeric", ensure_all_finite=False))
    except (ValueError, TypeError) as error:
        culprit = _unreadable_column(X)
        if culprit is None:
            raise
        raise ValueError(_not_numbers(*culprit)) from error


def table_of(X: Any) -> Any:
    """``X`` where it is a data frame, else as an Arrow table where it can be one, else None."""
    return X if hasattr(X, "iloc") and getattr(X, "ndim", 0) == 2 else _arrow_table(X)


def _learned_columns(estimator: Any, table: Any) -> tuple[Column, ...] | None:
    if table is not None:
        return learn_columns(table, estimator.column_kinds)
    if estimator.column_kinds:
        raise ValueError("column_kinds needs columns with names: give a data frame or an Arrow table")
    return None


def _encoded_rows(estimator: Any, X: Any, table: Any, *, reset: bool) -> Array:
    if table is None:
        raise ValueError(
            f"this {type(estimator).__name__} was fitted to columns of several kinds: give a data frame or an Arrow "
            f"table, got {type(X).__name__}"
        )
    validate_data(estimator, table, reset=reset, skip_check_array=True)
    if len(table) == 0:
        raise ValueError(
            f"Found array with 0 sample(s) while a minimum of 1 is required by {type(estimator).__name__}."
        )
    return encode(table, estimator.columns_, masks_missing=estimator.missing == "mask")


def read_codes(Z: ArrayLike, n_codes: int, estimator: Any) -> Array:
    """``Z`` as an array (n, q) of a dtype that the engine reads."""
    codes = _readable(check_array(Z, dtype="numeric", ensure_all_finite=False, input_name="Z", estimator=estimator))
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


def nonfinite_message(X: Array, names: ArrayLike | None, what: str = "X", *, may_miss: bool = False) -> str:
    """How many values of ``X`` are NaN (unless they ``may_miss``) or infinite, and where the first one stands.

    Empty where none are.
    """
    if X.dtype.kind != "f":
        return ""
    count, first, n_missing = 0, "", 0
    n_rows_a_block = max(1, (1 << 20) // X.shape[1])
    for begin in range(0, len(X), n_rows_a_block):
        block = X[begin : begin + n_rows_a_block]
        is_bad = np.isinf(block) if may_miss else ~np.isfinite(block)
        if not is_bad.any():
            continue
        n_missing += 0 if may_miss else int(np.isnan(block).sum())
        rows, columns = np.nonzero(is_bad)
        if count == 0:
            column = int(columns[0]) if names is None else str(np.asarray(names)[columns[0]])
            first = f"the first ({block[rows[0], columns[0]]}) in row {begin + rows[0]}, column {column!r}"
        count += len(rows)
    if count == 0:
        return ""
    values = "1 value is" if count == 1 else f"{count} values are"
    remedy = "; missing='mask' or 'mean' takes NaN for missing values" if n_missing and what != "Z" else ""
    return f"{what} contains {'' if may_miss else 'NaN or '}infinity: {values} not finite, {first}{remedy}"


def _readable(rows: Array) -> Array:
    """The same numbers in a dtype the engine reads: native byte order, at most eight bytes."""
    if rows.dtype.kind not in "biuf":
        raise ValueError(f"X must hold numbers, got dtype {rows.dtype}")
    if rows.dtype.kind == "b":
        return rows.view(np.uint8)
    if rows.dtype.itemsize > 8:
        return rows.astype(np.float64)
    return rows if rows.dtype.isnative else rows.astype(rows.dtype.newbyteorder("="))


def _arrow_table(X: Any) -> Any:
    """``X`` as a ``pyarrow.Table`` where it is or offers one, else None. Pandas frames are left to NumPy."""
    if isinstance(X, np.ndarray) or hasattr(X, "iloc"):
        return None
    offers_arrow = hasattr(X, "__arrow_c_stream__") or hasattr(X, "__arrow_c_array__")
    if not offers_arrow and not hasattr(X, "__dataframe__"):
        return None
    if find_spec("pyarrow") is None:
        if hasattr(X, "__array__"):
            return None
        raise ImportError(f"reading a {type(X).__name__} needs pyarrow: pip install pyarrow")
    import pyarrow as pa

    if offers_arrow:
        try:
            return pa.table(X)
        except (TypeError, pa.ArrowInvalid):
            # One column on its own; scikit-learn has the words for that.
            return None
    from pyarrow.interchange import from_dataframe

    return pa.table(from_dataframe(X))


def _table_values(table: Any) -> Array:
    """The columns of an Arrow table side by side; nulls become NaN."""
    import pyarrow as pa

    columns = []
    for name, column in zip(table.column_names, table.columns, strict=True):
        kind = column.type
        if pa.types.is_boolean(kind):
            column = column.cast(pa.uint8())
        elif pa.types.is_decimal(kind) or pa.types.is_null(kind):
            column = column.cast(pa.float64())
        elif not (pa.types.is_integer(kind) or pa.types.is_floating(kind)):
            raise ValueError(_not_numbers(name, kind))
        columns.append(column.to_numpy())
    values = np.empty((table.num_rows, len(columns)), dtype=np.result_type(np.uint8, *columns), order="F")
    for index, column in enumerate(columns):
        values[:, index] = column
    return values


def _unreadable_column(X: Any) -> tuple[Any, Any] | None:
    """Name and type of the first column of a data frame that does not turn into numbers, or None."""
    if not hasattr(X, "iloc") or getattr(X, "ndim", 0) != 2:
        return None
    for position, column in enumerate(X.columns):
        values = X.iloc[:, position]
        try:
            np.asarray(values, dtype=np.float64)
            # Times do turn into numbers, but into what depends on their unit.
            readable = values.dtype.kind not in "mM"
        except (ValueError, TypeError):
            readable = False
        if not readable:
            return column, values.dtype
    return None


def _not_numbers(column: Any, dtype: Any) -> str:
    return f"column {column!r} does not hold numbers (its type is {dtype}): encode it as numbers or leave it out"
