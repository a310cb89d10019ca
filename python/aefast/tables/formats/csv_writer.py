"""Writes CSV files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
from pyarrow import csv as arrow_csv

from aefast.tables.formats.base import Writer

_LAST_YEAR = 32_767  # the last year, and the first with a minus sign, that Arrow writes as text


class CsvWriter(Writer):
    """Writes CSV; lists and structs have no place in it."""

    holds_nested = False

    def __init__(self, target: Path | pa.NativeFile, schema: pa.Schema) -> None:
        # Raise for a type that cannot be written now, and not after the first batch.
        arrow_csv.write_csv(schema.empty_table(), pa.BufferOutputStream())
        self._writer = arrow_csv.CSVWriter(target, schema)

    def write(self, batch: pa.RecordBatch) -> None:
        for name, column in zip(batch.schema.names, batch.columns, strict=True):
            if _has_far_years(column):
                raise _no_text(name, column, "has times so far from now that CSV has no text for them")
        try:
            self._writer.write(batch)
        except pa.ArrowException:
            for name, column in zip(batch.schema.names, batch.columns, strict=True):
                try:
                    arrow_csv.write_csv(pa.record_batch([column], [name]), pa.BufferOutputStream())
                except pa.ArrowException as error:
                    raise _no_text(name, column, f"cannot be written as text ({error})") from error
            raise


def _no_text(name: str, column: pa.Array, reason: str) -> pa.ArrowInvalid:
    return pa.ArrowInvalid(f"column {name!r} ({column.type}) {reason}; leave it out with --keep")


def _has_far_years(column: pa.Array) -> bool:
    """Whether a column has times of years that Arrow does not write as numbers."""
    kind = column.type
    if pa.types.is_timestamp(kind) or pa.types.is_date64(kind):
        unit = "ms" if pa.types.is_date64(kind) else kind.unit
    elif pa.types.is_date32(kind):
        unit = "D"
    else:
        return False
    if unit == "ns" or column.null_count == len(column):
        return False
    import pyarrow.compute as pc

    years = np.array([f"{-_LAST_YEAR}-01-01", f"{_LAST_YEAR + 1}-01-01"], f"datetime64[{unit}]")
    first, beyond = years.astype(np.int64).tolist()
    found = pc.min_max(column)
    return bool(found["min"].value < first or found["max"].value >= beyond)
