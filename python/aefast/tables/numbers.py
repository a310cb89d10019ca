"""Arrays of numbers from arrays and tables, without scikit-learn: views where there are some to be had.

Non-finite values are not looked for where arrays are read: the engine meets them in the pass it makes anyway, and
`nonfinite_message` then says where they are.
"""

from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from aefast.tables.arrow import arrow_values, plain_rows

Array = NDArray[Any]

#: The end of a message about NaN, for estimators that can take it.
TAKES_MISSING = "; missing='mask' or 'mean' takes NaN for missing values"


def table_of(X: Any) -> Any:
    """``X`` where it is a data frame, else as an Arrow table where it can be one, else None."""
    return X if hasattr(X, "iloc") and getattr(X, "ndim", 0) == 2 else _arrow_table(X)


def readable(rows: Array) -> Array:
    """The same numbers in a dtype the engine reads: native byte order, at most eight bytes."""
    if rows.dtype.kind not in "biuf":
        raise ValueError(f"X must hold numbers, got dtype {rows.dtype}")
    if rows.dtype.kind == "b":
        return rows.view(np.uint8)
    if rows.dtype.itemsize > 8:
        return rows.astype(np.float64)
    return rows if rows.dtype.isnative else rows.astype(rows.dtype.newbyteorder("="))


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
    remedy = TAKES_MISSING if n_missing and what != "Z" else ""
    return f"{what} contains {'' if may_miss else 'NaN or '}infinity: {values} not finite, {first}{remedy}"


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
            return plain_rows(pa.table(X))
        except (TypeError, pa.ArrowInvalid):
            # One column on its own; scikit-learn has the words for that.
            return None
    from pyarrow.interchange import from_dataframe

    return plain_rows(pa.table(from_dataframe(X)))


def table_values(table: Any) -> Array:
    """The columns of an Arrow table side by side; nulls become NaN."""
    columns = []
    for name, column in zip(table.column_names, table.columns, strict=True):
        numbers = _column_values(column)
        if numbers is None:
            raise ValueError(not_numbers(name, column.type))
        columns.append(numbers)
    values = np.empty((table.num_rows, len(columns)), dtype=np.result_type(np.uint8, *columns), order="F")
    for index, column in enumerate(columns):
        values[:, index] = column
    return values


def numpy_frame(frame: Any) -> Any:
    """A data frame, whose numbers of Arrow's types are NumPy's; nulls become NaN."""
    found = frame
    for index, dtype in enumerate(frame.dtypes):
        numbers = (
            _column_values(frame.iloc[:, index].array.__arrow_array__()) if hasattr(dtype, "pyarrow_dtype") else None
        )
        if numbers is not None:
            found = frame.copy(deep=False) if found is frame else found
            found.isetitem(index, numbers)
    return found


def _column_values(column: Any) -> Array | None:
    """The numbers of an Arrow array, None where it holds none."""
    import pyarrow as pa

    kind = column.type
    if pa.types.is_boolean(kind):
        return arrow_values(column.cast(pa.uint8()))
    if pa.types.is_decimal(kind) or pa.types.is_null(kind):
        return arrow_values(column.cast(pa.float64()))
    return arrow_values(column) if pa.types.is_integer(kind) or pa.types.is_floating(kind) else None


def unreadable_column(X: Any) -> tuple[Any, Any] | None:
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


def not_numbers(column: Any, dtype: Any) -> str:
    """The message that a column does not hold numbers."""
    return f"column {column!r} does not hold numbers (its type is {dtype}): encode it as numbers or leave it out"
