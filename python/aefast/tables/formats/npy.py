"""NumPy's array files (``.npy``): reading and writing."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from aefast.tables.arrow import arrow_array, arrow_values, dtype_of
from aefast.tables.formats.base import TableError, TableFile, Writer


class NpyTable(TableFile):
    """An array of rows: one column ``x`` of lists. Axes after the second are flattened into the rows."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        try:
            array = np.load(path, mmap_mode="r", allow_pickle=False)
        except Exception as error:  # NumPy parses the header as Python and passes on what the tokenizer raises
            raise self.unreadable(error) from error
        if isinstance(array, np.lib.npyio.NpzFile):
            raise TableError(f"{path} holds a .npz archive; save one of its arrays as .npy")
        if array.dtype.kind not in "fiub" or array.dtype.itemsize > 8:
            raise TableError(f"{path} holds {array.dtype} values; numbers of at most 64 bits are needed")
        if array.ndim == 0:
            raise TableError(f"{path} holds a single value; an array of rows is needed")
        n_more = path.stat().st_size - array.offset - array.nbytes if isinstance(array, np.memmap) else 0
        if n_more:
            raise TableError(f"{path} has {n_more:,} bytes after its array; save each array to a file of its own")
        rows = array.reshape(len(array), -1) if array.size else array.reshape(len(array), array[:1].size)
        self._row_bytes = rows.dtype.itemsize * rows.shape[1]
        self._offset = array.offset if array.flags.c_contiguous else None
        self._dtype = rows.dtype
        self.row_width: int | None = rows.shape[1]
        self.n_rows: int | None = rows.shape[0]
        value_type = pa.uint8() if self._dtype.kind == "b" else pa.from_numpy_dtype(self._dtype.newbyteorder("="))
        self.schema: pa.Schema = pa.schema([pa.field("x", pa.list_(value_type, self.row_width))])

    def batches(
        self, columns: Sequence[str], batch_rows: int, as_numbers: Collection[str] = (), *, first_row: int = 0
    ) -> Iterator[pa.RecordBatch]:
        assert self.n_rows is not None
        assert self.row_width is not None
        width = self.row_width
        with self.path.open("rb") as file:
            for start in range(first_row, self.n_rows, batch_rows):
                count = min(batch_rows, self.n_rows - start) * width
                if self._offset is None:
                    array = np.load(self.path, mmap_mode="r", allow_pickle=False)
                    values = np.ascontiguousarray(array[start : start + batch_rows]).reshape(-1)
                else:
                    file.seek(self._offset + start * self._row_bytes)
                    values = np.fromfile(file, self._dtype, count)
                if len(values) != count:
                    raise TableError(f"{self.path} ends within row {start + len(values) // max(width, 1)}")
                if self._dtype.kind == "b":
                    values = values.view(np.uint8)
                flat = arrow_array(values.astype(values.dtype.newbyteorder("="), copy=False))
                yield pa.record_batch([pa.FixedSizeListArray.from_arrays(flat, width)], schema=self.schema)


class NpyWriter(Writer):
    """Writes the first column as a 1-d array.

    The header is rewritten at the end, when the number of rows is known: NumPy pads the shape so that it may grow in
    place.
    """

    holds_nested = False
    holds_one_column = True
    takes_streams = False

    def __init__(self, target: Path | pa.NativeFile, schema: pa.Schema) -> None:
        self._dtype = dtype_of(schema.field(0).type)
        self._file = target.open("wb")
        self._n_rows = 0
        self._write_header()

    def _write_header(self) -> None:
        header: dict[str, Any] = {"descr": self._dtype.str, "fortran_order": False, "shape": (self._n_rows,)}
        np.lib.format.write_array_header_1_0(self._file, header)

    def write(self, batch: pa.RecordBatch) -> None:
        self._n_rows += batch.num_rows
        self._file.write(arrow_values(batch.column(0)).tobytes())

    def close(self) -> None:
        self._file.seek(0)
        self._write_header()
        self._file.close()

    def abandon(self) -> None:
        self._file.close()
