"""Numbers and text between Arrow and NumPy, without copies if possible; types that all formats can hold.

`pyarrow.array` and `to_numpy` convert too, but import pandas if it is installed, which takes longer than scoring a
million rows.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pyarrow as pa


#: The name of the type of views of text.
_VIEW = "string_view"

_A_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}


def arrow_values(array: Any) -> NDArray[Any]:
    """Return the numbers or booleans of an Arrow array or chunked array, as a view if possible; nulls become NaN."""
    import pyarrow as pa

    if isinstance(array, pa.ChunkedArray):
        parts = [arrow_values(chunk) for chunk in array.chunks]
        if len(parts) == 1:
            return parts[0]
        return np.concatenate(parts) if parts else np.empty(0, dtype_of(array.type))
    if pa.types.is_boolean(array.type):
        return arrow_values(array.cast(pa.uint8())).astype(np.bool_ if array.null_count == 0 else np.float64)
    dtype, buffer = dtype_of(array.type), array.buffers()[1]
    if buffer is None:
        return np.full(len(array), np.nan) if len(array) else np.empty(0, dtype)
    values = np.frombuffer(buffer, dtype, len(array), array.offset * dtype.itemsize)
    if array.null_count == 0:
        return values
    return np.where(arrow_values(array.is_valid()), values, np.asarray(np.nan, dtype if dtype.kind == "f" else "f8"))


def is_time(kind: pa.DataType) -> bool:
    """Whether an Arrow type holds points in time, dates, or times of the day."""
    from pyarrow import types

    return any(holds(kind) for holds in (types.is_timestamp, types.is_date, types.is_time))


def number_values(array: Any) -> NDArray[Any] | None:
    """Return the numbers of an Arrow array or chunked array, or None if it holds none.

    Booleans become 0 and 1 (uint8), decimals float64, durations seconds (float64), nulls NaN.
    """
    import pyarrow as pa

    kind = array.type
    if pa.types.is_duration(kind):
        return seconds_of_durations(array)
    if pa.types.is_boolean(kind):
        return arrow_values(array.cast(pa.uint8()))
    if pa.types.is_decimal(kind) or pa.types.is_null(kind):
        return arrow_values(array.cast(pa.float64()))
    return arrow_values(array) if pa.types.is_integer(kind) or pa.types.is_floating(kind) else None


def seconds_of_durations(values: Any) -> NDArray[np.float64]:
    """Return durations of pandas or Arrow in seconds, the same for every unit; missing durations are NaN."""
    if hasattr(values, "iloc"):
        spans = values.to_numpy()
        unit, is_missing, counts = np.datetime_data(spans.dtype)[0], np.isnat(spans), spans.astype(np.int64)
    else:
        import pyarrow as pa

        unit, is_missing = values.type.unit, np.asarray(arrow_values(values.is_null()))
        counts = arrow_values(values.cast(pa.int64()).fill_null(0))
    whole, rest = np.divmod(counts, _A_SECOND[unit])
    return np.where(is_missing, np.nan, whole + rest / _A_SECOND[unit])


def dtype_of(kind: pa.DataType) -> np.dtype[Any]:
    """Return the dtype for an Arrow type of numbers."""
    from pyarrow import types

    # Before version 26, `to_pandas_dtype` of pyarrow needs pandas.
    letter = "f" if types.is_floating(kind) else "i" if types.is_signed_integer(kind) else "u"
    return np.dtype(f"{letter}{kind.bit_width // 8}")


def is_text(kind: pa.DataType) -> bool:
    """Whether an Arrow type is a type of text."""
    from pyarrow import types

    return types.is_string(kind) or types.is_large_string(kind) or _is_view(kind)


def _is_view(kind: pa.DataType) -> bool:
    return str(kind) == _VIEW  # older versions of pyarrow have no such type


def plain_type(kind: pa.DataType) -> pa.DataType:
    """Return the type with plain text for views of text, also in dictionaries: Arrow has no `take` for views."""
    import pyarrow as pa

    if pa.types.is_dictionary(kind):
        return pa.dictionary(kind.index_type, plain_type(kind.value_type), kind.ordered)
    return pa.string() if _is_view(kind) else kind


def plain_schema(schema: pa.Schema) -> pa.Schema:
    """Return the schema with the `plain_type` of each column; the same object if all are plain."""
    import pyarrow as pa

    if _VIEW not in schema.to_string(show_schema_metadata=False, show_field_metadata=False):
        return schema
    return pa.schema([field.with_type(plain_type(field.type)) for field in schema], schema.metadata)


def plain_rows(rows: Any) -> Any:
    """Return a table or record batch in its `plain_schema`."""
    given = rows.schema
    schema = plain_schema(given)
    if schema is given or schema.equals(given):
        return rows
    return type(rows).from_arrays([plain_array(column) for column in rows.columns], schema=schema)


def valid_rows(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Return a batch in its `plain_schema`, after checking it: readers trust the offsets and the text of a file."""
    batch.validate(full=True)
    return plain_rows(batch)


def plain_array(array: Any) -> Any:
    """Return an array or chunked array in its `plain_type`."""
    import pyarrow as pa

    kind = plain_type(array.type)
    if kind.equals(array.type):
        return array
    if isinstance(array, pa.ChunkedArray):
        return pa.chunked_array([plain_array(chunk) for chunk in array.chunks], kind)
    if pa.types.is_dictionary(kind):
        return pa.DictionaryArray.from_arrays(array.indices, plain_array(array.dictionary), ordered=kind.ordered)
    return array.cast(kind)


def arrow_array(values: NDArray[Any], valid: NDArray[np.bool_] | None = None) -> pa.Array:
    """Return an Arrow array of numbers or booleans; contiguous numbers are not copied. ``valid`` is false for nulls."""
    import pyarrow as pa

    present = None if valid is None else pa.py_buffer(np.packbits(valid, bitorder="little"))
    if values.dtype.kind == "b":
        bits = pa.py_buffer(np.packbits(values, bitorder="little"))
        return pa.Array.from_buffers(pa.bool_(), len(values), [present, bits])
    kind = pa.from_numpy_dtype(values.dtype)
    return pa.Array.from_buffers(kind, len(values), [present, pa.py_buffer(np.ascontiguousarray(values))])


def arrow_text(values: Sequence[str]) -> pa.Array:
    """Return an Arrow array of text."""
    import pyarrow as pa

    encoded = [value.encode() for value in values]
    offsets = np.cumsum([0, *map(len, encoded)])
    if offsets[-1] > np.iinfo(np.int32).max:
        return pa.array(values, pa.string())
    buffers = [None, pa.py_buffer(offsets.astype(np.int32)), pa.py_buffer(b"".join(encoded))]
    return pa.Array.from_buffers(pa.string(), len(encoded), buffers)


def batch_to_bytes(batch: pa.RecordBatch) -> pa.Buffer:
    """Return a batch as bytes: an IPC stream of its own, which can also hold dictionaries."""
    import pyarrow as pa

    stream = pa.BufferOutputStream()
    with pa.ipc.new_stream(stream, batch.schema) as writer:
        writer.write_batch(batch)
    return stream.getvalue()


@contextmanager
def arrow_for(threads: int | None) -> Iterator[None]:
    """Let Arrow use this many threads, and an allocator that reuses the memory of one batch for the next.

    With the default allocator, the system clears that memory anew, which takes a tenth of the time of scoring a large
    file.
    """
    import pyarrow as pa

    before = pa.cpu_count(), pa.default_memory_pool()
    if threads is not None:
        pa.set_cpu_count(threads)
    if "jemalloc" in pa.supported_memory_backends() and "ARROW_DEFAULT_MEMORY_POOL" not in os.environ:
        pa.set_memory_pool(pa.jemalloc_memory_pool())
    try:
        yield
    finally:
        pa.set_cpu_count(before[0])
        pa.set_memory_pool(before[1])


def number_text(values: NDArray[Any]) -> pa.Array:
    """Return an Arrow array with the numbers as text of six significant digits."""
    import pyarrow as pa

    lines = ("%.6g\n" * len(values) % tuple(values.tolist())).encode()
    ends = np.flatnonzero(np.frombuffer(lines, np.uint8) == ord("\n")) - np.arange(len(values))
    buffers = [None, pa.py_buffer(np.append(0, ends).astype(np.int32)), pa.py_buffer(lines.replace(b"\n", b""))]
    return pa.Array.from_buffers(pa.string(), len(values), buffers)
