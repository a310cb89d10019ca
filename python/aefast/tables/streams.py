"""Record batches of everything that gives Arrow tables in parts: streams, data frames, datasets, lists of batches."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pyarrow as pa

Columns = Callable[[pa.Schema], list[str]]


def record_batches(data: Any, columns: Columns) -> Iterator[pa.RecordBatch]:
    """Yield the record batches of ``data``, one at a time and in order.

    Parameters
    ----------
    data : object with ``__arrow_c_stream__``, pyarrow.Table, Dataset, Scanner or RecordBatch, or iterable of these
        Data frames of pandas (from 2.2) and polars, relations of DuckDB and readers of pyarrow have
        ``__arrow_c_stream__``.
    columns : callable
        Returns for a schema the columns that are needed. A dataset reads only these.

    Raises
    ------
    TypeError
        If ``data`` is anything else.
    """
    found = _one(data, columns)
    if found is not None:
        yield from found
    elif isinstance(data, Iterable) and not isinstance(data, str | bytes) and not hasattr(data, "columns"):
        for item in data:
            found = _one(item, columns)
            if found is None:
                raise _refusal(f"{_name(data)} of {_name(item)}")
            yield from found
    else:
        raise _refusal(_name(data))


def _one(data: Any, columns: Columns) -> Iterable[pa.RecordBatch] | None:
    """Return the batches of one table or stream, or None if ``data`` is neither."""
    batches: Iterable[pa.RecordBatch]
    if isinstance(data, pa.RecordBatch):
        return [data]
    if hasattr(data, "to_batches"):  # tables, scanners and datasets; to import pyarrow.dataset takes long
        is_dataset = hasattr(data, "scanner")
        batches = (
            data.to_batches(columns=list(dict.fromkeys(columns(data.schema)))) if is_dataset else data.to_batches()
        )
        return batches
    if not hasattr(data, "__arrow_c_stream__"):
        return None
    try:
        batches = pa.RecordBatchReader.from_stream(data)
    except pa.ArrowInvalid as error:
        raise _refusal(f"{_name(data)}, which is a single column") from error
    return batches


def _name(data: Any) -> str:
    return type(data).__name__


def _refusal(given: str) -> TypeError:
    return TypeError(
        "score takes a table, a data frame or a stream of Arrow (with __arrow_c_stream__), a dataset, or record "
        f"batches, got {given}; compute a lazy frame first, with collect() or compute()"
    )
