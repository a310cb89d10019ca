"""Writes record batches to a table file, which appears whole or not at all."""

from __future__ import annotations

import os
import queue
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from glob import escape
from pathlib import Path

import pyarrow as pa

from aefast.tables.files import atomic_path, naming, write_whole
from aefast.tables.formats.base import TableError, Writer
from aefast.tables.formats.registry import ENDINGS, writer_class
from aefast.tables.text import repeated

#: Called with what a batch was made of, before the batch is written.
Record = Callable[[pa.RecordBatch], None]


def check_writable(path: str | Path, endings: tuple[str, ...] | None = None) -> None:
    """Raise now, and not after hours of work, if ``path`` cannot be written to."""
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
        raise ValueError(f"{path} is not a regular file; an output is renamed when it is complete, so name a file")


def _check_parent(path: Path) -> None:
    file = next((parent for parent in path.parents if parent.is_file()), None)
    if file is not None:
        raise NotADirectoryError(f"{file} is a file, not a folder, so that {path} cannot be in it; name another")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"the folder {path.parent} of {path.name} does not exist; make it first")


def check_folder(folder: Path) -> None:
    """Raise if files cannot be written into a folder, which need not exist yet."""
    _check_file(folder)
    if folder.exists() and not folder.is_dir():
        raise NotADirectoryError(f"{folder} is a file; give a folder, or a file that ends in {', '.join(ENDINGS)}")
    _check_parent(folder)
    if not os.access(folder if folder.is_dir() else folder.parent, os.W_OK):
        raise PermissionError(f"the folder {folder} cannot be written to")


def outputs_in(folder: Path, names: Sequence[Path]) -> list[Path]:
    """Return the paths of these names in a folder.

    Raises
    ------
    ValueError
        If two names are the same, if their suffixes differ, or if they have no suffix of `ENDINGS`.
    """
    twice = sorted(map(str, repeated(names)))
    if twice:
        raise ValueError(f"more than one input would be written to {folder / twice[0]}; score them one by one")
    endings = sorted({name.suffix.lower() for name in names})
    if len(endings) > 1:
        raise ValueError(
            f"files that end in {' and '.join(endings)} cannot be scored into one folder; score them separately"
        )
    if endings[0] not in ENDINGS:
        raise ValueError(f"{folder / names[0]} cannot be written: it must end in one of {', '.join(ENDINGS)}")
    return [folder / name for name in names]


class DirectSink:
    """Writes batches at once, for files of few rows, for which a thread would cost more than it gains.

    Attributes
    ----------
    seconds : float
        The time spent writing.
    content : pyarrow.Buffer or None
        The file's content if it is held in memory.
    """

    def __init__(self, writer: Writer, path: Path, columns: list[str]) -> None:
        self.seconds: float = 0.0
        self.content: pa.Buffer | None = None
        self._writer, self._path, self._columns = writer, path, columns

    def write(self, batch: pa.RecordBatch, origin: pa.RecordBatch | None = None) -> None:
        """Write a batch; ``origin`` is not recorded."""
        begin = time.perf_counter()
        with _naming(self._path):
            self._writer.write(batch if batch.schema.names == self._columns else batch.select(self._columns))
        self.seconds += time.perf_counter() - begin

    def finish(self) -> None:
        """Wait until everything is written."""

    def place(self) -> None:
        """Write the content that is held, if it is; `open_sink` has written the file otherwise."""
        if self.content is not None:
            begin = time.perf_counter()
            write_whole(self._path, self.content, sync_folder=False)
            self.seconds += time.perf_counter() - begin

    def _stop(self) -> None:
        """End the thread, if there is one."""


class Sink(DirectSink):
    """Writes batches on its own thread, at most two batches behind."""

    def __init__(self, writer: Writer, path: Path, columns: list[str], record: Record | None = None) -> None:
        super().__init__(writer, path, columns)
        self._record = record
        self._slots: queue.Queue[tuple[pa.RecordBatch, pa.RecordBatch | None] | None] = queue.Queue(2)
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._work, name="aefast-writer", daemon=True)
        self._thread.start()

    def _work(self) -> None:
        while (slot := self._slots.get()) is not None:
            if self._error is None:
                try:
                    self._write(*slot)
                except BaseException as error:  # raised in the caller's thread by its next call
                    self._error = error

    def _write(self, batch: pa.RecordBatch, origin: pa.RecordBatch | None) -> None:
        if self._record is not None and origin is not None:
            begin = time.perf_counter()
            self._record(origin)
            self.seconds += time.perf_counter() - begin
        super().write(batch)

    def write(self, batch: pa.RecordBatch, origin: pa.RecordBatch | None = None) -> None:
        """Write a batch, after recording its ``origin``: what it was made of."""
        if self._error is not None:
            raise self._error
        self._slots.put((batch, origin))

    def finish(self) -> None:
        self._stop()
        if self._error is not None:
            raise self._error

    def _stop(self) -> None:
        if self._thread.is_alive():
            self._slots.put(None)
            self._thread.join()


def remove_unfinished(outputs: Iterable[Path]) -> None:
    """Remove temporary files beside outputs, left by a killed run; nothing else may be writing these outputs."""
    names: dict[Path, set[str]] = {}
    for output in outputs:
        names.setdefault(output.parent, set()).add(output.name)
    for folder, known in names.items():
        for left in folder.glob(".*.part") if folder.is_dir() else ():
            if left.name[1:].rsplit(".", 2)[0] in known:
                left.unlink()


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Add ``path`` to errors of writing that name no file."""
    try:
        with naming(path):
            yield
    except pa.ArrowException as error:
        raise TableError(f"{path} cannot be written: {error}") from error


@contextmanager
def open_sink(
    path: str | Path, schema: pa.Schema, record: Record | None = None, *, threaded: bool = True, held: bool = False
) -> Iterator[DirectSink]:
    """Open a `Sink` in the format of the suffix of ``path``, or a `DirectSink` if it is not ``threaded``.

    The file appears when the block ends without an error.

    Parameters
    ----------
    path : str or path
    schema : pyarrow.Schema
        The columns to write. Batches may have more columns, which are left out.
    record : callable, optional
        Called on the writing thread with the origin of each batch before the batch is written. Only a job that locks
        ``path`` may record: temporary files beside ``path``, left by a killed run, are removed.
    threaded : bool
        Write on a thread, and sync the folder.
    held : bool
        Hold the content of a `DirectSink` in memory until its method ``place``, if the format can.
    """
    path = Path(path)
    make = writer_class(path)
    if record is not None:
        for left in Path(os.path.realpath(path)).parent.glob(f".{escape(path.name)}.*.part"):
            left.unlink()
    stream = pa.BufferOutputStream() if held and make.takes_streams else None
    with nullcontext(stream) if stream is not None else atomic_path(path, sync_folder=threaded) as target:
        try:
            with naming(path):
                writer = make(target, schema)
        except pa.ArrowException as error:
            refused = ", ".join(f"{f.name!r} ({f.type})" for f in schema if not _can_write(make, target, f))
            raise TableError(f"{path} cannot hold column {refused}; leave it out with --keep ({error})") from error
        names = schema.names
        sink = Sink(writer, path, names, record) if threaded else DirectSink(writer, path, names)
        try:
            yield sink
            sink.finish()
            begin = time.perf_counter()
            with _naming(path):
                writer.close()
            sink.seconds += time.perf_counter() - begin
        except BaseException:
            sink._stop()
            with suppress(Exception):  # the caller needs the first error
                writer.abandon()
            raise
    if stream is not None:
        sink.content = stream.getvalue()


def _can_write(make: type[Writer], target: Path | pa.NativeFile, field: pa.Field) -> bool:
    """Whether a format can write a column of this type."""
    try:
        make(target, pa.schema([field])).abandon()
    except pa.ArrowException:
        return False
    return True
