"""Arrays of numbers from arrays, data frames and Arrow tables: views if possible, without scikit-learn.

Reading does not look for non-finite values. The engine meets them in the pass that it makes anyway; `find_nonfinite`
then locates them for the message.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from aefast.exceptions import with_remedies
from aefast.tables.arrow import dtype_of, number_values, seconds_of_durations
from aefast.tables.formats.base import TableError

if TYPE_CHECKING:
    import pyarrow as pa

Array = NDArray[Any]

#: The remedy for NaN: the parameter that helps, and what to do with it.
ACCEPT_MISSING = {"missing": "missing='mask' or 'mean' takes NaN for missing values"}


def readable(rows: Array) -> Array:
    """Return the same numbers in a dtype that the engine reads: native byte order, at most eight bytes."""
    if rows.dtype.kind not in "biuf":
        raise ValueError(f"X must hold numbers, got dtype {rows.dtype}")
    if rows.dtype.kind == "b":
        return rows.view(np.uint8)
    if rows.dtype.itemsize > 8:
        return rows.astype(np.float64)
    return rows if rows.dtype.isnative else rows.astype(rows.dtype.newbyteorder("="))


@dataclass(frozen=True)
class NonFinite:
    """The values of an array that are not finite: how many, how many of them are NaN, and the first."""

    count: int
    n_nan: int
    row: int
    column: int
    value: float

    @property
    def are_missing(self) -> bool:
        """Whether all of them are NaN, so that a model that allows missing values helps."""
        return self.n_nan == self.count

    def message(self, subject: str, place: str, column: object, remedy: str) -> str:
        """Return the message for users.

        Parameters
        ----------
        subject : str
            What has which values, such as "X contains NaN or infinity".
        place : str
            The row of the first value, such as "row 3".
        column : str or int
            The column of the first value.
        remedy : str
            What to do, empty or with a semicolon before it.
        """
        values = "1 value is" if self.count == 1 else f"{self.count} values are"
        first = f"the first ({self.value}) in {place}, column {column!r}"
        return f"{subject}: {values} not finite, {first}{remedy}"


def find_nonfinite(X: Array, *, may_miss: bool) -> NonFinite | None:
    """Find the values of ``X`` that are infinite, or NaN unless values ``may_miss``; None if there are none."""
    if X.dtype.kind != "f":
        return None
    count = n_nan = 0
    first: tuple[int, int, float] | None = None
    n_rows_a_block = max(1, (1 << 20) // X.shape[1])
    for begin in range(0, len(X), n_rows_a_block):
        block = X[begin : begin + n_rows_a_block]
        is_bad = np.isinf(block) if may_miss else ~np.isfinite(block)
        if not is_bad.any():
            continue
        n_nan += 0 if may_miss else int(np.isnan(block).sum())
        rows, columns = np.nonzero(is_bad)
        first = first or (begin + int(rows[0]), int(columns[0]), block[rows[0], columns[0]])
        count += len(rows)
    return None if first is None else NonFinite(count, n_nan, *first)


def nonfinite_error(X: Array, names: ArrayLike | None, what: str = "X", *, may_miss: bool = False) -> ValueError | None:
    """Make the error for values of ``X`` that are infinite, or NaN unless values ``may_miss``; None without any."""
    found = find_nonfinite(X, may_miss=may_miss)
    if found is None:
        return None
    column = found.column if names is None else str(np.asarray(names)[found.column])
    subject = f"{what} contains {'' if may_miss else 'NaN or '}infinity"
    problem = found.message(subject, f"row {found.row}", column, "")
    return with_remedies(ValueError, problem, ACCEPT_MISSING if found.n_nan and what != "Z" else {})


def table_values(table: Any) -> Array:
    """Return the columns of an Arrow table side by side; nulls become NaN."""
    columns = []
    for name, column in zip(table.column_names, table.columns, strict=True):
        numbers = number_values(column)
        if numbers is None:
            raise ValueError(odd_values(name, column) or not_numbers(name, column.type))
        columns.append(numbers)
    values = np.empty((table.num_rows, len(columns)), dtype=np.result_type(np.uint8, *columns), order="F")
    for index, column in enumerate(columns):
        values[:, index] = column
    return values


def numpy_frame(frame: Any) -> Any:
    """Return a data frame with NumPy's types for Arrow's types of numbers and for durations; nulls become NaN."""
    found = frame
    for index in range(frame.shape[1]):
        numbers = _numbers_of_series(frame.iloc[:, index])
        if numbers is not None:
            found = frame.copy(deep=False) if found is frame else found
            found.isetitem(index, numbers)
    return found


def _numbers_of_series(values: Any) -> Array | None:
    """Return the numbers of a pandas column of Arrow's types or of durations, and None for any other."""
    if hasattr(values.dtype, "pyarrow_dtype"):
        return number_values(values.array.__arrow_array__())
    if values.dtype.kind == "O":
        import pandas as pd

        if pd.api.types.infer_dtype(values, skipna=True).startswith("timedelta"):
            values = pd.to_timedelta(values)
    return seconds_of_durations(values) if values.dtype.kind == "m" else None


def why_unreadable(X: Any) -> str:
    """Return why a data frame or an array of objects cannot be converted to numbers; empty for anything else."""
    if isinstance(X, np.ndarray) and X.dtype.kind == "O" and X.ndim == 2:
        for row, column in np.ndindex(X.shape):
            if isinstance(X[row, column], str) and not _is_number(X[row, column]):
                return f"X does not hold numbers only: {X[row, column]!r} in row {row}, column {column}, is none"
        return ""
    if not hasattr(X, "iloc") or getattr(X, "ndim", 0) != 2:
        return ""
    for position, column in enumerate(X.columns):
        values = X.iloc[:, position]
        try:
            np.asarray(values, dtype=np.float64)
            # NumPy converts times too, but the numbers depend on their unit.
            readable = values.dtype.kind not in "mM"
        except (ValueError, TypeError):
            readable = False
        if not readable:
            return odd_values(column, values) or not_numbers(column, values.dtype)
    return ""


def odd_values(name: Any, values: Any) -> str:
    """Return which values of a pandas or Arrow column are not numbers; empty if none is a number, or all are."""
    try:
        cells = values.tolist() if hasattr(values, "iloc") else values.to_pylist()
    except (ValueError, OverflowError):  # Python has no values for these
        return ""
    is_there = ~values.isna().to_numpy() if hasattr(values, "iloc") else np.array([cell is not None for cell in cells])
    rows = [row for row in np.flatnonzero(is_there) if not _is_number(cells[row])]
    n_values = int(is_there.sum())
    if not 0 < len(rows) < n_values:
        return ""
    others = "1 value is not a number" if len(rows) == 1 else f"{len(rows)} of {n_values} values are not numbers"
    dtype = values.dtype if hasattr(values, "iloc") else values.type
    return (
        f"column {name!r} does not hold numbers only (its type is {dtype}): {others}, the first is {cells[rows[0]]!r} "
        f"in row {rows[0]}; replace such values by numbers or, if they are missing, by None, or leave the column out"
    )


def _is_number(cell: Any) -> bool:
    try:
        float(cell)
    except (TypeError, ValueError):
        return False
    return True


def not_numbers(column: Any, dtype: Any) -> str:
    """Return the message that a column does not hold numbers."""
    return f"column {column!r} does not hold numbers (its type is {dtype}): encode it as numbers or leave it out"


def is_number(kind: pa.DataType) -> bool:
    """Whether a column of this Arrow type can be read as numbers."""
    import pyarrow as pa

    of_numbers = (pa.types.is_integer, pa.types.is_floating, pa.types.is_boolean, pa.types.is_decimal)
    return any(is_kind(kind) for is_kind in (*of_numbers, pa.types.is_duration))


def may_be_numbers(kind: pa.DataType) -> bool:
    """Whether a column of this Arrow type can be read as numbers, or has only missing values."""
    import pyarrow as pa

    return is_number(kind) or bool(pa.types.is_null(kind))


def _numpy_dtype(kind: pa.DataType) -> np.dtype[Any]:
    """Return the dtype of `number_values` of an Arrow type, if no value is missing."""
    import pyarrow as pa

    if pa.types.is_boolean(kind):
        return np.dtype(np.uint8)
    if any(holds(kind) for holds in (pa.types.is_decimal, pa.types.is_null, pa.types.is_duration)):
        return np.dtype(np.float64)
    return dtype_of(kind)


def feature_matrix(batch: pa.RecordBatch, columns: Sequence[str] | None = None) -> NDArray[Any]:
    """Return the named columns as one (n, d) array; missing values become NaN.

    Parameters
    ----------
    batch : pyarrow.RecordBatch
    columns : sequence of str or None
        With None, the batch is one column of fixed-size lists, whose values become the rows without a copy.

    Returns
    -------
    ndarray of shape (n, d)
        In Fortran order, because every column is copied once and as a whole. The dtype is the smallest that
        holds all columns exactly (NumPy's promotion), so that scores equal those of the table in memory.
    """
    if columns is None:
        kind = batch.schema.field(0).type
        lists = batch.column(0)
        if lists.null_count:
            raise TableError(f"{lists.null_count} rows of column {batch.schema.names[0]!r} are missing")
        return _numbers(lists.flatten()).reshape(batch.num_rows, kind.list_size)
    arrays = [batch.column(c) for c in columns]
    dtype = np.result_type(*(_numpy_dtype(a.type) for a in arrays))
    if dtype.kind != "f" and any(a.null_count for a in arrays):
        dtype = np.result_type(dtype, np.float32)
    X = np.empty((batch.num_rows, len(arrays)), dtype=dtype, order="F")
    for j, array in enumerate(arrays):
        X[:, j] = _numbers(array)
    return X


def feature_columns(batch: pa.RecordBatch, columns: Sequence[str]) -> list[NDArray[Any]] | None:
    """Return views of the named columns; None if their types differ or are not plain numbers, or values are missing."""
    import pyarrow as pa

    arrays = [batch.column(c) for c in columns]
    kind = arrays[0].type
    is_plain = pa.types.is_integer(kind) or pa.types.is_floating(kind)
    if not is_plain or any(a.null_count or not a.type.equals(kind) for a in arrays):
        return None
    dtype = dtype_of(kind)
    places = ((a.buffers()[1], a.offset * dtype.itemsize) for a in arrays) if batch.num_rows else ()
    values = [np.frombuffer(buffer, dtype, batch.num_rows, offset) for buffer, offset in places]
    values = values or [np.empty(0, dtype) for _ in arrays]
    return values if all(v.flags.aligned for v in values) else None


def _numbers(array: pa.Array) -> Array:
    values = number_values(array)
    assert values is not None  # callers have checked the types
    return values
