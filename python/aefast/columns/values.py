"""Values of pandas and Arrow columns: their kinds by type, as numbers, as levels and as Python objects."""

from __future__ import annotations

from math import inf
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aefast.columns.times import of_first_day, seconds_since_1970
from aefast.tables.arrow import arrow_values, is_text, is_time, plain_array, seconds_of_durations

Array = NDArray[Any]


def cells(values: Any) -> list[Any]:
    """Return Arrow values as Python objects, or as text if Python has none for them (unknown time zones, bad UTF-8)."""
    try:
        return list(values.to_pylist())
    except (ValueError, OverflowError):
        return [_cell(values.slice(index, 1)) for index in range(len(values))]


def _cell(value: Any) -> Any:
    """Return the value of an array of length 1."""
    import pyarrow as pa

    try:
        return value[0].as_py()
    except (ValueError, OverflowError):
        kind = value.type
    try:
        if pa.types.is_timestamp(kind):
            value = value.cast(pa.timestamp(kind.unit))
        elif pa.types.is_string(kind) or pa.types.is_large_string(kind):
            return value.cast(pa.binary())[0].as_py().decode(errors="replace")
        return value.cast(pa.string())[0].as_py()
    except (pa.ArrowException, ValueError):
        return f"({kind})"


def level_name(value: Any) -> str:
    """Return the name of a level, which is the same for all types of tables."""
    if isinstance(value, bool | np.bool_):
        return str(bool(value))
    if isinstance(value, Real) and not isinstance(value, str):
        number = float(value)
        return str(int(number)) if number.is_integer() and abs(number) < inf else repr(number)
    return str(value)


def infer_kind(values: Any) -> str | None:
    """Return the kind of a pandas or Arrow column by its type, None if it cannot be learned."""
    if not hasattr(values, "iloc"):
        return kind_of_type(values.type)
    kind = values.dtype.kind
    if kind in "iufm":
        return "numeric"
    if kind == "M":
        return "timestamp"
    if str(values.dtype) == "category" or kind == "b":
        return "categorical"
    if kind not in "OTUS":
        return None
    import pandas as pd

    found = pd.api.types.infer_dtype(values, skipna=True)
    if found in ("integer", "floating", "mixed-integer-float", "decimal", "timedelta", "timedelta64", "empty"):
        return "numeric"
    if found in ("string", "boolean"):
        return "categorical"
    return "timestamp" if found in ("datetime", "datetime64", "date", "time") else None


def kind_of_type(kind: Any) -> str | None:
    """Return the kind of a column by its Arrow type, None if it cannot be learned."""
    from pyarrow import types

    if types.is_dictionary(kind):
        return kind_of_type(kind.value_type) and "categorical"
    holds_numbers = types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind)
    if holds_numbers or types.is_duration(kind) or types.is_null(kind):
        return "numeric"
    if types.is_boolean(kind) or is_text(kind):
        return "categorical"
    return "timestamp" if is_time(kind) else None


def holds_numbers_or_booleans(kind: Any) -> str | None:
    """Return "numbers" or "booleans" if values of an Arrow or pandas type, or its categories, are; else None."""
    if hasattr(kind, "num_fields"):
        from pyarrow import types

        kind = kind.value_type if types.is_dictionary(kind) else kind
        holds_numbers = types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind)
        holds_booleans = types.is_boolean(kind)
    else:
        kind = kind.categories.dtype if str(kind) == "category" else kind
        holds_numbers, holds_booleans = kind.kind in "iuf", kind.kind == "b"
    return "numbers" if holds_numbers else "booleans" if holds_booleans else None


def is_number_name(level: str, as_text: bool) -> bool:
    """Whether a level is the name of a number, in any spelling if numbers are compared ``as_text``."""
    try:
        number = float(level)
        return as_text or level_name(number) == level
    except (ValueError, OverflowError):
        return False


def names_of(table: Any) -> list[str]:
    """Return the column names of a data frame or an Arrow table."""
    return [str(name) for name in (table.columns if hasattr(table, "iloc") else table.column_names)]


def parts_of(table: Any) -> list[Any]:
    """Return the columns of a data frame or an Arrow table; columns of a frame with Arrow types as Arrow arrays."""
    if not hasattr(table, "iloc"):
        return list(table.columns)
    parts = [table.iloc[:, index] for index in range(table.shape[1])]
    return [
        plain_array(part.array.__arrow_array__()) if hasattr(part.dtype, "pyarrow_dtype") else part for part in parts
    ]


def type_of(values: Any) -> Any:
    """Return the type of a pandas or Arrow column."""
    return values.dtype if hasattr(values, "iloc") else values.type


def has_values(values: Any) -> bool:
    """Whether at least one value of a column is not missing."""
    return bool(values.notna().any() if hasattr(values, "iloc") else values.null_count < len(values))


def missing_values(n: int) -> Any:
    """Return an Arrow column of ``n`` missing values."""
    import pyarrow as pa

    return pa.chunked_array([pa.nulls(n)])


def levels_of(values: Any) -> tuple[NDArray[np.int64], list[str]]:
    """Return the level of each row, and the names of the levels. Missing values have the level after the last."""
    if hasattr(values, "iloc"):
        codes, uniques = values.factorize()
        names = [level_name(level) for level in uniques]
    else:
        import pyarrow as pa

        encoded = values if pa.types.is_dictionary(values.type) else values.dictionary_encode()
        encoded = encoded.unify_dictionaries().combine_chunks() if isinstance(encoded, pa.ChunkedArray) else encoded
        if isinstance(encoded, pa.ChunkedArray):  # older versions of pyarrow leave one chunk, or none
            encoded = encoded.chunk(0) if encoded.num_chunks else pa.array([], encoded.type)
        names = [level_name(level) for level in cells(encoded.dictionary)]
        codes = np.nan_to_num(arrow_values(encoded.indices), nan=-1)
    codes = codes.astype(np.int64)
    return np.where(codes < 0, len(names), codes), names


def numbers_of(values: Any) -> Array:
    """Return a column as float64, or as float32 if it is float32 or float16; missing values become NaN.

    Times become seconds since 1970, durations seconds.
    """
    if hasattr(values, "iloc"):
        if values.dtype.kind in "OTUS":
            values = _objects(values)
        if values.dtype.kind == "M":
            return seconds_since_1970(values)
        if values.dtype.kind == "m":
            return seconds_of_durations(values)
        if values.dtype == np.float32:
            return np.asarray(values)
        numbers: Array = values.to_numpy(dtype=np.float64, na_value=np.nan)
        return numbers
    import pyarrow as pa

    if pa.types.is_duration(values.type):
        return seconds_of_durations(values)
    if is_time(values.type):
        return seconds_since_1970(values)
    if not (pa.types.is_float32(values.type) or pa.types.is_float16(values.type)):
        values = values.cast(pa.float64(), safe=False)
    return arrow_values(values)


def _objects(values: Any) -> Any:
    """Return a pandas column of objects as times, durations or float64."""
    import pandas as pd

    values = values.astype(object)
    held = pd.api.types.infer_dtype(values, skipna=True)
    if held == "time":
        return pd.to_datetime(values.map(of_first_day))
    if held in ("datetime", "datetime64", "date"):
        return pd.to_datetime(values)
    return pd.to_timedelta(values) if held in ("timedelta", "timedelta64") else values.astype("float64")
