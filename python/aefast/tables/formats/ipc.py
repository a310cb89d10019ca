"""Arrow IPC files (Feather 2) and streams: reading and writing."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from aefast.tables.arrow import plain_schema, valid_rows
from aefast.tables.formats.base import TableError, TableFile, Writer, rebatch, skip_rows


class IpcTable(TableFile):
    """Arrow IPC in its file form (Feather 2) or its stream form."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        try:
            with pa.memory_map(str(path)) as memory, self._open(memory) as reader:
                self.schema = plain_schema(reader.schema)
        except (pa.ArrowException, OSError) as error:
            raise self.unreadable(error) from error

    @staticmethod
    def _open(memory: Any, options: Any = None) -> Any:
        try:
            return pa.ipc.open_file(memory, options=options)
        except pa.ArrowInvalid:
            memory.seek(0)
            return pa.ipc.open_stream(memory, options=options)

    def batches(
        self, columns: Sequence[str], batch_rows: int, as_numbers: Collection[str] = (), *, first_row: int = 0
    ) -> Iterator[pa.RecordBatch]:
        fields = [self.schema.get_field_index(c) for c in columns]
        options = pa.ipc.IpcReadOptions(included_fields=fields)
        try:
            with pa.memory_map(str(self.path)) as memory, self._open(memory, options) as reader:
                chosen = (valid_rows(batch.select(list(columns))) for batch in _all_batches(reader))
                yield from rebatch(skip_rows(chosen, first_row), batch_rows)
                n_more = 0 if _is_file(reader) else memory.size() - memory.tell()
        except (pa.ArrowException, OSError) as error:
            raise self.unreadable(error) from error
        if n_more:
            raise TableError(f"{self.path} has {n_more:,} bytes after the end of its stream; give each stream a file")


def _is_file(reader: Any) -> bool:
    """Whether Arrow IPC is in its file form."""
    return hasattr(reader, "num_record_batches")


def _all_batches(reader: Any) -> Iterator[pa.RecordBatch]:
    """Yield the batches of a file, which are read by their number, or of a stream."""
    if _is_file(reader):
        for i in range(reader.num_record_batches):
            yield reader.get_batch(i)
    else:
        yield from reader


class IpcWriter(Writer):
    """Writes the file form (Feather 2)."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self._writer = pa.ipc.new_file(str(path), schema, options=pa.ipc.IpcWriteOptions(compression="lz4"))
