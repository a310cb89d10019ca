"""Reads one or more table files as a stream of Arrow record batches.

Nothing here holds more than a few batches, so memory depends on ``batch_rows`` and not on the size of the files.
"""

from __future__ import annotations

import difflib
import queue
import threading
from collections.abc import Collection, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa

from aefast.tables.arrow import is_time
from aefast.tables.dialect import Dialect, Reading
from aefast.tables.formats.base import TableError, TableFile
from aefast.tables.formats.registry import open_table
from aefast.tables.numbers import is_number
from aefast.tables.text import pluralise, quote_names, repeated

T = TypeVar("T")

#: The most bytes and rows of a batch, unless the size is given: a batch costs the decoder some time for every column.
BATCH_BYTES, BATCH_ROWS = 1 << 26, 1 << 17


class Source:
    """The rows of one or more files, one file after the other. Columns and types do not change after it was opened.

    With ``failed``, files that cannot be opened are left out, and it gets their paths with the reasons.

    Attributes
    ----------
    schema : pyarrow.Schema
        The schema of the first file. The other files may have more columns, in another order.
    n_rows : int or None
        None if a format (CSV, Arrow IPC) does not store the number of rows.
    """

    def __init__(
        self,
        paths: Iterable[str | Path | TableFile],
        reading: Reading | None = None,
        failed: dict[str, str] | None = None,
    ) -> None:
        self.files: list[TableFile] = []
        for path in paths:
            try:
                file = path if isinstance(path, TableFile) else open_table(path, reading)
            except (TableError, OSError) as error:
                if failed is None:
                    raise
                failed[str(path)] = str(error)
                continue
            self.files.append(file)
            if file.dialect is not None and file.dialect.describe() and (reading is None or reading.learned is None):
                reading = replace(reading or Reading(), learned=file.dialect)  # later files are read alike
            if file.meanings is not None and (reading is None or reading.meanings is None):
                reading = replace(reading or Reading(), meanings=file.meanings)
        if not self.files:
            raise TableError(next(iter(failed.values())) if failed else "no files to read")
        self.schema: pa.Schema = self.files[0].schema
        counts = [f.n_rows for f in self.files]
        self.n_rows: int | None = None if None in counts else sum(n for n in counts if n is not None)
        # The first row of each file, known as soon as the files before it have been read. Every pass finds the same.
        self._starts: list[int | None] = [0] + [None] * (len(self.files) - 1)
        self._check_widths()
        for file in self.files:
            twice = sorted(repeated(file.schema.names))
            if twice:
                raise TableError(f"{file.path} has more than one column named {quote_names(twice)}; rename them")

    def _check_widths(self) -> None:
        """Raise `TableError` if nameless arrays are mixed with tables, or with arrays of another width."""
        first = self.files[0]
        for file in self.files:
            if file.row_width == first.row_width:
                continue
            if file.row_width is None or first.row_width is None:
                array, table = (first, file) if file.row_width is None else (file, first)
                raise TableError(f"{array.path} has no named columns, but {table.path} has; give files of one kind")
            raise TableError(
                f"{file.path} has rows of {pluralise(file.row_width, 'values')}, but {first.path} of "
                f"{first.row_width:,}; give arrays of one width"
            )

    @property
    def about_rows(self) -> int | None:
        """The number of rows, or an estimate of it; None if nothing is known about a file."""
        counts = [file.about_rows for file in self.files]
        return None if None in counts else sum(n for n in counts if n is not None)

    def split(self) -> list[Source]:
        """Return a source for each file, with columns read as in this one."""
        return [Source([file]) for file in self.files]

    def read_as_text(
        self, columns: Collection[str], levels: Mapping[str, Collection[str | None]] | None = None
    ) -> Source:
        """Return a source of the same rows with these columns as text and cells such as NA as missing values.

        Only files without types of their own differ. The ``levels`` of a column are never missing values.
        """
        return Source([file.with_text(columns, blank_is_missing=True, levels=levels) for file in self.files])

    def keep_raw(self, columns: Collection[str], *, except_times: bool = False) -> Source:
        """Return a source of the same rows with the cells of these columns as text, just as they are written.

        Only files without types of their own differ. With ``except_times``, columns of times stay as they are.
        """
        files = []
        for file in self.files:
            types = {f.name: f.type for f in file.schema} if except_times else {}
            times = [n for n, kind in types.items() if is_time(kind)]
            raw = [name for name in columns if name not in times]
            files.append(file.with_text(raw, blank_is_missing=False))
        return Source(files)

    @property
    def paths(self) -> list[Path]:
        """The paths of the files."""
        return [file.path for file in self.files]

    @property
    def dialect(self) -> Dialect | None:
        """How the first file of text is written, with the formats of all files' columns; None if all are plain."""
        found = [file.dialect for file in self.files if file.dialect is not None and file.dialect.describe()]
        if not found:
            return None
        formats = {name: each for one in reversed(found) for name, each in one.formats.items()}
        return replace(found[0], formats=formats)

    @property
    def spoken_dialect(self) -> str:
        """How the files of text are written, in words; empty if there are none or all are plain."""
        return "" if self.dialect is None else self.dialect.describe()

    @property
    def other_rows(self) -> dict[str, int]:
        """What the last complete pass found in CSV files: rows with too few cells, and lines that are no rows."""
        return {
            "short_rows": sum(file.n_short for file in self.files),
            "other_lines": sum(file.n_notes for file in self.files),
        }

    @property
    def row_width(self) -> int | None:
        """The number of values in a row of a nameless array; None for tables with named columns."""
        return self.files[0].row_width

    @property
    def is_matrix(self) -> bool:
        """Whether the rows come as one nameless array (``.npy``)."""
        return self.row_width is not None

    @property
    def all_columns(self) -> list[str]:
        """The columns that at least one file has."""
        return list(dict.fromkeys(name for file in self.files for name in file.schema.names))

    @property
    def folder_columns(self) -> list[str]:
        """The columns that only folder names hold (``day=1``, as Hive writes them). They are not read."""
        parts = (part for path in self.paths for part in path.parts[:-1])
        names = dict.fromkeys(part.partition("=")[0] for part in parts if "=" in part[1:])
        present = set(self.all_columns) if names else ()
        return [name for name in names if name not in present]

    @property
    def title(self) -> str:
        """A short name for all files together."""
        more = len(self.files) - 1
        return self.files[0].path.name + (f" and {more} more" if more else "")

    def require(self, columns: Sequence[str], why: str) -> None:
        """Raise `TableError` with the file and the columns that it lacks, and similar names that it has."""
        for file in self.files:
            lacking = [c for c in columns if c not in file.schema.names]
            if lacking:
                raise TableError(
                    f"{file.path} lacks {why} {quote_names(lacking)}{_similar(lacking, file.schema.names)}"
                )

    def require_in_some(self, columns: Sequence[str]) -> None:
        """Raise `TableError` with the columns that neither a file nor the name of a folder has."""
        present = [*self.all_columns, *self.folder_columns]
        lacking = [c for c in columns if c not in present]
        if lacking:
            lack = "lacks" if len(self.files) == 1 else "lack"
            raise TableError(f"{self.title} {lack} column {quote_names(lacking)}{_similar(lacking, present)}")

    def batches(
        self,
        columns: Sequence[str],
        batch_rows: int | None = None,
        as_numbers: Collection[str] = (),
        *,
        first_row: int = 0,
    ) -> Iterator[pa.RecordBatch]:
        """Yield the named columns of every row, in order.

        Parameters
        ----------
        columns : sequence of str
        batch_rows : int, optional
            The most rows of a batch; by default, those of the method `batch_rows`. A batch never spans files.
        as_numbers : collection of str
            Columns to read as float64 in files without types of their own.
        first_row : int
            The row to begin with, which must be the first row of a batch.
        """
        batch_rows = batch_rows or self.batch_rows(len(columns))
        n_read = 0
        for index, file in enumerate(self.files):
            self._starts[index] = n_read
            known = 0 if file.n_rows is None else min(max(first_row - n_read, 0), file.n_rows)
            n_read += known
            for batch in file.checked_batches(columns, batch_rows, as_numbers, first_row=known):
                n_read += batch.num_rows
                if n_read > first_row or first_row == 0:
                    yield batch

    def batch_rows(self, n_columns: int) -> int:
        """Return the default number of rows of a batch: 64 MB of them, at most 131,072."""
        width = n_columns if self.row_width is None else self.row_width
        return min(max(BATCH_BYTES // (8 * max(width, 1)), 256), BATCH_ROWS)

    def holds_numbers(self, column: str) -> bool:
        """Whether a column of the first file holds numbers, or could hold them because its first cells are blank."""
        return is_number(self.schema.field(column).type) or column in self.files[0].guessed

    def type_of(self, column: str) -> pa.DataType:
        """Return the type of a column in the first file in which it has values, as far as the schemas show."""
        types = [
            f.schema.field(column).type for f in self.files if column in f.schema.names and column not in f.guessed
        ]
        known = [kind for kind in types if not pa.types.is_null(kind)]
        return known[0] if known else self.schema.field(column).type

    def place(self, row: int) -> str:
        """Return ``"file, row i"`` for a row counted over all files. The files before it must have been read."""
        index = self._file_index(row)
        return f"{self.files[index].path}, row {row - (self._starts[index] or 0)}"

    def file_of(self, row: int) -> TableFile:
        """Return the file of a row counted over all files. The files before it must have been read."""
        return self.files[self._file_index(row)]

    def _file_index(self, row: int) -> int:
        return max(i for i, start in enumerate(self._starts) if start is not None and start <= row)


def prefetch(items: Iterable[T], depth: int = 2) -> Generator[T, None, None]:
    """Yield the same items, which a thread makes up to ``depth`` ahead, so that reading overlaps with their use."""
    slots: queue.Queue[tuple[str, Any]] = queue.Queue(depth)
    stopped = threading.Event()

    def offer(kind: str, value: Any) -> bool:
        while not stopped.is_set():
            try:
                slots.put((kind, value), timeout=0.05)
                return True
            except queue.Full:
                continue
        return False

    def work() -> None:
        try:
            for item in items:
                if not offer("item", item):
                    return
            offer("end", None)
        except BaseException as error:  # raised in the consumer
            offer("error", error)

    thread = threading.Thread(target=work, name="aefast-reader", daemon=True)
    thread.start()
    try:
        while True:
            kind, value = slots.get()
            if kind == "item":
                yield value
            elif kind == "error":
                raise value
            else:
                return
    finally:
        stopped.set()
        thread.join()


def _similar(lacking: Sequence[str], present: Sequence[str]) -> str:
    """Suggest existing columns for misspelt names."""
    similar = [m for name in lacking[:3] for m in difflib.get_close_matches(name, present, n=1)]
    if similar:
        return f" (did you mean {quote_names(similar)}?)"
    return f" (it has {quote_names(list(present))})" if present else ""
