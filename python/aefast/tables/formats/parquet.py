"""Parquet files: reading and writing."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from aefast.tables.arrow import plain_schema, valid_rows
from aefast.tables.formats.base import TableError, Writer, rebatch, skip_rows
from aefast.tables.formats.typed import TypedTable

#: A row group is written when it has this many rows or bytes.
GROUP_ROWS, GROUP_BYTES = 1 << 16, 1 << 24
#: A file of at most this many bytes is read at once.
_FEW_BYTES = 1 << 18
#: Up to this many rows, one thread decodes faster than several.
_FEW_ROWS = 1 << 12
#: The header of a page that claims at least 128 MB: its kind, its size without and with compression, what comes next.
_LARGE_PAGE = re.compile(
    rb"\x15[\x00\x04\x06]\x15([\x80-\xff]{4}[\x01-\x0f])\x15[\x80-\xff]{0,4}[\x00-\x7f]"
    rb"(?:\x15[\x80-\xff]{0,4}[\x00-\x7f][\x1c\x3c\x4c]|[\x2c\x4c\x5c])"
)
#: Largest allowed ratio of the size that a page claims to the size of its file.
_MOST_RATIO = 256


class ParquetTable(TypedTable):
    """A Parquet file."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        try:
            with _opened(path) as source, pq.ParquetFile(source) as file:
                self.schema: pa.Schema = plain_schema(file.schema_arrow)
                self.n_rows: int | None = file.metadata.num_rows
                sizes, end = _group_sizes(file), _end_of_data(file.metadata)
                small = source.read_at(source.size(), 0) if isinstance(source, pa.BufferReader) else None
        except (pa.ArrowException, OSError) as error:
            raise self.unreadable(error) from error
        if min(sizes, default=0) < 0 or sum(sizes) != self.n_rows:
            raise TableError(
                f"{path} states {self.n_rows:,} rows, but its row groups {sum(sizes):,}; it is damaged: write it again"
            )
        if small is not None:
            self._check_content(small, end)
        else:
            with path.open("rb") as stream, mmap(stream.fileno(), 0, access=ACCESS_READ) as content:
                self._check_content(content, end)

    def _check_content(self, content: bytes | mmap, end: int) -> None:
        """Raise `TableError` if another file follows after ``end``, or if a page claims a size that is not explained.

        Arrow allocates what the header of a page claims. A page has at most 2 GB, which larger files explain.
        """
        if content.find(b"PAR1PAR1", end) >= 0:
            raise TableError(f"{self.path} holds one Parquet file after another; give each a file of its own")
        size = len(content)
        if size * _MOST_RATIO >= 1 << 31:
            return
        for claim in _LARGE_PAGE.findall(content):
            # Thrift's compact numbers: seven bits a byte, and the lowest bit of the number is its sign.
            n_bytes = sum((byte & 127) << 7 * place for place, byte in enumerate(claim)) >> 1
            if n_bytes > size * _MOST_RATIO:
                raise TableError(
                    f"{self.path} has {size:,} bytes, but one of its pages claims {n_bytes:,}; write it again with "
                    "smaller row groups"
                )

    def batches(
        self, columns: Sequence[str], batch_rows: int, as_numbers: Collection[str] = (), *, first_row: int = 0
    ) -> Iterator[pa.RecordBatch]:
        # With a buffer size, column chunks are streamed; without it, a whole row group would be held in memory.
        options = {"buffer_size": 1 << 16, "pre_buffer": False}
        with _opened(self.path) as source, pq.ParquetFile(source, **options) as file:
            groups, n_before = self._groups_from(file, first_row)
            try:
                threaded = self.n_rows is None or self.n_rows > _FEW_ROWS
                found = file.iter_batches(batch_rows, groups, columns=list(columns), use_threads=threaded)
                pieces = map(valid_rows, found)
                yield from rebatch(skip_rows(pieces, n_before), batch_rows)
            except (pa.ArrowException, OSError) as error:
                raise self._diagnosis(columns, error) from error

    @staticmethod
    def _groups_from(file: Any, first_row: int) -> tuple[list[int], int]:
        """Return the row groups from the one with ``first_row`` on, and how many of their rows come before it."""
        sizes = _group_sizes(file)
        ends = np.cumsum(sizes, dtype=np.int64)
        first = int(np.searchsorted(ends, first_row, side="right"))
        return list(range(first, len(sizes))), first_row - int(ends[first - 1] if first else 0)

    def _diagnosis(self, columns: Sequence[str], error: BaseException) -> TableError:
        """Return the error with the row group and the column that cannot be read."""
        with pq.ParquetFile(self.path) as file:
            for group in range(file.num_row_groups):
                for column in columns:
                    try:
                        file.read_row_group(group, columns=[column])
                    except (pa.ArrowException, OSError) as found:
                        return self.unreadable(found, f", row group {group}, column {column!r},")
        return self.unreadable(error)


def _opened(path: Path) -> pa.NativeFile:
    """Open a file. A small one is read at once: Arrow takes several calls for each column."""
    file = pa.OSFile(str(path))
    if file.size() > _FEW_BYTES:
        return file
    with file:
        return pa.BufferReader(file.read_buffer())


def _group_sizes(file: Any) -> list[int]:
    """Return the number of rows of each row group."""
    return [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)]


def _end_of_data(metadata: Any) -> int:
    """Return where the last column of the last row group ends; indexes and the footer follow."""
    if not metadata.num_row_groups or not metadata.num_columns:
        return 0
    chunk = metadata.row_group(metadata.num_row_groups - 1).column(metadata.num_columns - 1)
    begin = min(chunk.data_page_offset, chunk.dictionary_page_offset or chunk.data_page_offset)
    return max(0, int(begin + chunk.total_compressed_size))


class ParquetWriter(Writer):
    """Collects batches into row groups: those of a wide table have few rows, and small row groups are slow to read."""

    def __init__(self, target: Path | pa.NativeFile, schema: pa.Schema) -> None:
        # Scores and ids hardly ever repeat, so a dictionary of them would cost time and save no space. P-values take a
        # few thousand different values. Compression does not make scores much smaller. The setting applies to leaves,
        # and nested columns have several.
        texts = [f.name for f in schema if pa.types.is_string(f.type) or pa.types.is_large_string(f.type)]
        by_name = {name: "none" if name == "anomaly_score" else "snappy" for name in schema.names}
        compression = "snappy" if any(pa.types.is_nested(f.type) for f in schema) else by_name
        self._writer = pq.ParquetWriter(target, schema, use_dictionary=[*texts, "p_value"], compression=compression)
        self._start_group()

    def _start_group(self) -> None:
        self._held: list[pa.RecordBatch] = []
        self._n_rows = self._n_bytes = 0

    def write(self, batch: pa.RecordBatch) -> None:
        self._held.append(batch)
        self._n_rows += batch.num_rows
        self._n_bytes += batch.nbytes
        if self._n_rows >= GROUP_ROWS or self._n_bytes >= GROUP_BYTES:
            self._write_group()

    def _write_group(self) -> None:
        group = self._held
        self._start_group()
        if group:
            self._writer.write_table(pa.Table.from_batches(group))

    def close(self) -> None:
        self._write_group()
        self._writer.close()
