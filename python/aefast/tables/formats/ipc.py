"""Arrow IPC files (Feather 2) and streams: reading and writing."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pyarrow as pa

from aefast.tables.arrow import plain_schema, valid_rows
from aefast.tables.formats.base import TableError, Writer, rebatch, skip_rows
from aefast.tables.formats.typed import TypedTable


class IpcTable(TypedTable):
    """Arrow IPC in its file form (Feather 2) or its stream form."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        try:
            with pa.memory_map(str(path)) as memory, self._open(memory) as reader:
                self.schema: Any = plain_schema(reader.schema)
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
                n_more = _n_more(memory, _is_file(reader))
        except (pa.ArrowException, OSError) as error:
            raise self.unreadable(error) from error
        if n_more:
            raise TableError(f"{self.path} has {n_more:,} bytes after its end; give each table a file of its own")


def _n_more(memory: Any, is_file: bool) -> int:
    """Return how many bytes follow the first table of a file, after its rows were read."""
    if is_file:
        memory.seek(8)
        with suppress(pa.ArrowException, OSError):  # some writers leave out the mark between messages and footer
            for _ in pa.ipc.MessageReader.open_stream(memory):
                pass
        found = re.search(rb"ARROW1(?=ARROW1\0\0)", memoryview(memory.read_buffer()))
        return 0 if found is None else len(found.string) - found.end()
    return int(memory.size() - memory.tell())


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

    def __init__(self, target: Path | pa.NativeFile, schema: pa.Schema) -> None:
        where = str(target) if isinstance(target, Path) else target
        self._writer = pa.ipc.new_file(where, schema, options=pa.ipc.IpcWriteOptions(compression="lz4"))
