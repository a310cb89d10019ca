"""Tables out: record batches to a file that appears whole or not at all."""

from __future__ import annotations

import os
import queue
import re
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from glob import escape
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from aefast.jobs.journal import Journal, batch_to_bytes
from aefast.model.container import naming
from aefast.tables.arrow import arrow_values, dtype_of
from aefast.tables.formats.registry import TableError, repeated

GROUP_ROWS, GROUP_BYTES = 1 << 16, 1 << 24
_LAST_YEAR = 32_767  # that Arrow writes as text, before and after the year 0

__all__ = ["ENDINGS", "Sink", "atomic_path", "check_folder", "check_writable", "open_sink", "outputs_in"]


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """A file name beside ``path`` to write to. It is synced and renamed to ``path`` when the block ends, and
    removed when the block raises; until then whatever was at ``path`` stays."""
    path = Path(os.path.realpath(path))  # through a link, so that the file it points to is replaced and not the link
    part = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.part")
    try:
        yield part
        with naming(path), part.open("rb+") as file:
            os.fsync(file.fileno())
        os.replace(part, path)
    except BaseException:
        with suppress(FileNotFoundError):
            part.unlink()
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def check_writable(path: str | Path, endings: tuple[str, ...] | None = None) -> None:
    """Raise what is wrong with writing to ``path`` before hours of work, not after."""
    path = Path(path)
    _check_file(path)
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder; give the name of a file in it")
    _check_parent(path)
    if not os.access(path.parent, os.W_OK):
        raise PermissionError(f"the folder {path.parent} cannot be written to")
    if endings is not None and path.suffix.lower() not in endings:
        raise ValueError(f"{path} must end in one of {', '.join(endings)}")


def _check_file(path: Path) -> None:
    if str(path) == "-" or (path.exists() and not path.is_file() and not path.is_dir()):
        raise ValueError(f"{path} is no file; an output gets its name when it is whole, so name a file")


def _check_parent(path: Path) -> None:
    file = next((parent for parent in path.parents if parent.is_file()), None)
    if file is not None:
        raise NotADirectoryError(f"{file} is a file, not a folder, so that {path} cannot be in it; name another")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"the folder {path.parent} of {path.name} does not exist; make it first")


def check_folder(folder: Path) -> None:
    """Raise what is wrong with writing files into a folder, which may have to be made."""
    _check_file(folder)
    if folder.exists() and not folder.is_dir():
        raise NotADirectoryError(f"{folder} is a file; give a folder, or a file that ends in {', '.join(ENDINGS)}")
    _check_parent(folder)
    if not os.access(folder if folder.is_dir() else folder.parent, os.W_OK):
        raise PermissionError(f"the folder {folder} cannot be written to")


def outputs_in(folder: Path, names: Sequence[Path]) -> list[Path]:
    """The files of these names in a folder, if they can be written: ValueError where two are the same, where their
    endings differ, or are none of `ENDINGS`."""
    twice = sorted(map(str, repeated(names)))
    if twice:
        raise ValueError(f"more than one input would be written to {folder / twice[0]}; score them one by one")
    endings = sorted({name.suffix.lower() for name in names})
    if len(endings) > 1:
        raise ValueError(f"files that end in {' and '.join(endings)} cannot be scored into one folder; do it apart")
    if endings[0] not in ENDINGS:
        raise ValueError(f"{folder / names[0]} cannot be written: it must end in one of {', '.join(ENDINGS)}")
    return [folder / name for name in names]


class _Writer:
    """Batches to one file. ``abandon`` closes it after an error, when nothing more can be written."""

    _writer: Any

    def write(self, batch: pa.RecordBatch) -> None:
        self._writer.write(batch)

    def close(self) -> None:
        self._writer.close()

    def abandon(self) -> None:
        self._writer.close()


class _ParquetWriter(_Writer):
    def __init__(self, path: Path, schema: pa.Schema) -> None:
        import pyarrow.parquet as pq

        # Scores and ids hardly ever repeat, so that a dictionary of them would cost time and save no space; p-values
        # are from a few thousand levels. Compression makes scores little smaller; it is set by leaf, of which
        # nested columns have several.
        texts = [f.name for f in schema if pa.types.is_string(f.type) or pa.types.is_large_string(f.type)]
        by_name = {name: "none" if name == "anomaly_score" else "snappy" for name in schema.names}
        compression = "snappy" if any(pa.types.is_nested(f.type) for f in schema) else by_name
        self._writer = pq.ParquetWriter(path, schema, use_dictionary=[*texts, "p_value"], compression=compression)
        self._hold_none()

    def _hold_none(self) -> None:
        self._held: list[pa.RecordBatch] = []
        self._n_rows = self._n_bytes = 0

    def write(self, batch: pa.RecordBatch) -> None:
        # Batches of a wide table have few rows; row groups of as few would be slow to read.
        self._held.append(batch)
        self._n_rows += batch.num_rows
        self._n_bytes += batch.nbytes
        if self._n_rows >= GROUP_ROWS or self._n_bytes >= GROUP_BYTES:
            self._write_group()

    def _write_group(self) -> None:
        group = self._held
        self._hold_none()
        if group:
            self._writer.write_table(pa.Table.from_batches(group))

    def close(self) -> None:
        self._write_group()
        self._writer.close()


class _CsvWriter(_Writer):
    def __init__(self, path: Path, schema: pa.Schema) -> None:
        import pyarrow.csv as csv

        # Found out now, and not after the first batch.
        csv.write_csv(schema.empty_table(), pa.BufferOutputStream())
        self._writer = csv.CSVWriter(path, schema)
        self._module = csv

    def write(self, batch: pa.RecordBatch) -> None:
        parts = list(zip(batch.schema, batch.columns, strict=True))
        for field, column in parts:
            if _is_beyond_text(column):
                raise pa.ArrowInvalid(
                    f"column {field.name!r} ({field.type}) has times so far from now that CSV has no text for them; "
                    "leave it out with --keep"
                )
        try:
            self._writer.write(batch)
        except pa.ArrowException:
            for field, column in parts:
                try:
                    self._module.write_csv(pa.record_batch([column], [field.name]), pa.BufferOutputStream())
                except pa.ArrowException as error:
                    raise pa.ArrowInvalid(
                        f"column {field.name!r} ({field.type}): {error}; leave it out with --keep"
                    ) from error
            raise


def _is_beyond_text(column: pa.Array) -> bool:
    """Whether times are of years that Arrow writes as a remark."""
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


class _IpcWriter(_Writer):
    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self._writer = pa.ipc.new_file(str(path), schema, options=pa.ipc.IpcWriteOptions(compression="lz4"))


class _NpyWriter(_Writer):
    """The first column as a 1-d array. The header is written last, when the number of rows is known, into space
    left for it: NumPy pads the shape so that it may grow in place."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self._dtype = dtype_of(schema.field(0).type)
        self._file = path.open("wb")
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


_WRITERS: dict[str, Callable[[Path, pa.Schema], _Writer]] = {
    ".parquet": _ParquetWriter,
    ".pq": _ParquetWriter,
    ".csv": _CsvWriter,
    ".feather": _IpcWriter,
    ".arrow": _IpcWriter,
    ".ipc": _IpcWriter,
    ".npy": _NpyWriter,
}


ENDINGS = tuple(_WRITERS)


class Sink:
    """Writes batches on a thread of its own, at most two behind. ``seconds`` is the time the writing took.

    With a ``journal`` what a batch was made of may be recorded there first.
    """

    def __init__(self, writer: _Writer, path: Path, columns: list[str], journal: Journal | None = None) -> None:
        self.seconds = 0.0
        self._writer, self._path, self._columns, self._journal = writer, path, columns, journal
        self._slots: queue.Queue[tuple[pa.RecordBatch, pa.RecordBatch | None] | None] = queue.Queue(2)
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._work, name="aefast-writer", daemon=True)
        self._thread.start()

    def _work(self) -> None:
        while (slot := self._slots.get()) is not None:
            if self._error is None:
                try:
                    begin = time.perf_counter()
                    self._take(*slot)
                    self.seconds += time.perf_counter() - begin
                except BaseException as error:  # raised in the caller's thread by its next call
                    self._error = error

    def _take(self, batch: pa.RecordBatch, record: pa.RecordBatch | None) -> None:
        if self._journal is not None and record is not None:
            self._journal.append(batch_to_bytes(record))
        with _naming(self._path):
            self._writer.write(batch if batch.schema.names == self._columns else batch.select(self._columns))

    def write(self, batch: pa.RecordBatch, record: pa.RecordBatch | None = None) -> None:
        """Hand over a batch, and a record of it for the journal."""
        if self._error is not None:
            raise self._error
        self._slots.put((batch, record))

    def finish(self) -> None:
        """Wait until everything is written."""
        self._stop()
        if self._error is not None:
            raise self._error

    def _stop(self) -> None:
        if self._thread.is_alive():
            self._slots.put(None)
            self._thread.join()


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Errors that do not say which file they are about say it is ``path``."""
    try:
        with naming(path):
            yield
    except pa.ArrowException as error:
        raise TableError(f"{path} cannot be written: {error}") from error


@contextmanager
def open_sink(path: str | Path, schema: pa.Schema, journal: Journal | None = None) -> Iterator[Sink]:
    """A `Sink` for the ending of ``path``; the file appears when the block ends without an error.

    CSV holds no nested values, so ``schema`` must be flat for it; ``.npy`` takes one column of numbers. Batches may
    have more columns, which are left out.
    """
    path = Path(path)
    make = _WRITERS.get(path.suffix.lower())
    if make is None:
        raise TableError(f"{path} must end in one of {', '.join(ENDINGS)}")
    if journal is not None:
        # No other run is at it, so that these are of one that was killed.
        for left in Path(os.path.realpath(path)).parent.glob(f".{escape(path.name)}.*.part"):
            left.unlink()
    with atomic_path(path) as part:
        try:
            writer = make(part, schema)
        except pa.ArrowException as error:
            named = ", ".join(
                f"{f.name!r} ({f.type})" for f in schema if re.search(rf"[ :]{re.escape(str(f.type))}$", str(error))
            )
            raise TableError(f"{path} cannot hold column {named}; leave it out with --keep ({error})") from error
        sink = Sink(writer, path, schema.names, journal)
        try:
            yield sink
            sink.finish()
            begin = time.perf_counter()
            with _naming(path):
                writer.close()
            sink.seconds += time.perf_counter() - begin
        except BaseException:
            sink._stop()
            with suppress(Exception):  # what broke before is what the caller needs to hear
                writer.abandon()
            raise
