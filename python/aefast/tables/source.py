"""Tables in: files as one stream of Arrow record batches, and batches as arrays of numbers.

A `Source` is a row of files read in order. Nothing here holds more than a few batches, so memory follows
``batch_rows`` and not the files.
"""

from __future__ import annotations

import difflib
import queue
import threading
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from aefast.cli.terminal import counted
from aefast.tables.arrow import arrow_values, dtype_of
from aefast.tables.formats.registry import NpyTable, TableError, TableFile, open_table, repeated

__all__ = [
    "Source",
    "feature_columns",
    "feature_matrix",
    "is_number",
    "may_be_numbers",
    "prefetch",
    "read_matrix",
]

T = TypeVar("T")

# Of a batch whose size nobody chose: each costs the decoder something for every column.
BATCH_BYTES, BATCH_ROWS = 1 << 26, 1 << 17
ROW_BLOCK = 2_048  # rows transposed at once by read_matrix: their columns fit the second-level cache


class Source:
    """The rows of one or more files, one after the other.

    Attributes
    ----------
    schema : pyarrow.Schema
        Of the first file. The others may order their columns differently and have more.
    n_rows : int or None
        None where a format (CSV, Arrow IPC) does not say before it is read.
    """

    def __init__(self, paths: Iterable[str | Path | TableFile]) -> None:
        self.files = [path if isinstance(path, TableFile) else open_table(path) for path in paths]
        if not self.files:
            raise TableError("no files to read")
        self.schema: pa.Schema = self.files[0].schema
        counts = [f.n_rows for f in self.files]
        self.n_rows = None if None in counts else sum(n for n in counts if n is not None)
        self._starts: list[int] = []
        self.as_text: frozenset[str] = frozenset()
        self._check_alike()
        for file in self.files:
            twice = sorted(repeated(file.schema.names))
            if twice:
                raise TableError(f"{file.path} has more than one column named {_listed(twice)}; rename them")

    def _check_alike(self) -> None:
        """Raise `TableError` where arrays are beside tables, or rows of arrays have other widths."""
        first = self.files[0]
        for file in self.files:
            if isinstance(file, NpyTable) != isinstance(first, NpyTable):
                array, table = (file, first) if isinstance(file, NpyTable) else (first, file)
                raise TableError(f"{array.path} has no named columns, but {table.path} has; give files of one kind")
            if isinstance(file, NpyTable) and isinstance(first, NpyTable) and file.width != first.width:
                raise TableError(
                    f"{file.path} has rows of {counted(file.width, 'values')}, but {first.path} of {first.width:,}; "
                    "give arrays of one width"
                )

    def split(self) -> list[Source]:
        """A source for each file, whose columns are read as here."""
        return [Source([file]) for file in self.files]

    @property
    def paths(self) -> list[Path]:
        """Of the files."""
        return [file.path for file in self.files]

    @property
    def is_matrix(self) -> bool:
        """Whether the rows come as one nameless array (``.npy``)."""
        return isinstance(self.files[0], NpyTable)

    @property
    def all_columns(self) -> list[str]:
        """Those that any file has."""
        return list(dict.fromkeys(name for file in self.files for name in file.schema.names))

    @property
    def folder_columns(self) -> list[str]:
        """Those that names of folders tell (``day=1``, as Hive writes them), which are not read, and no file has."""
        parts = (part for path in self.paths for part in path.parts[:-1])
        names = dict.fromkeys(part.partition("=")[0] for part in parts if "=" in part[1:])
        present = set(self.all_columns) if names else ()
        return [name for name in names if name not in present]

    @property
    def title(self) -> str:
        """A short name of it all."""
        more = len(self.files) - 1
        return self.files[0].path.name + (f" and {more} more" if more else "")

    def read_as_text(self, columns: Collection[str]) -> None:
        """From now on these columns are text, with empty cells missing, in files without types of their own."""
        self.as_text = frozenset(columns)
        for file in self.files:
            file.read_as_text(columns)

    def hand_on(self, columns: Collection[str]) -> None:
        """From now on these columns are their cells as they are written, in files without types of their own."""
        for file in self.files:
            file.hand_on(columns)

    def require(self, columns: Sequence[str], why: str) -> None:
        """Raise `TableError` naming the file, the columns it lacks and what it has that looks like them."""
        for file in self.files:
            lacking = [c for c in columns if c not in file.schema.names]
            if lacking:
                raise TableError(f"{file.path} lacks {why} {_listed(lacking)}{_alike(lacking, file.schema.names)}")

    def require_in_some(self, columns: Sequence[str]) -> None:
        """Raise `TableError` naming the columns that no file has, nor the name of a folder."""
        present = [*self.all_columns, *self.folder_columns]
        lacking = [c for c in columns if c not in present]
        if lacking:
            lack = "lacks" if len(self.files) == 1 else "lack"
            raise TableError(f"{self.title} {lack} column {_listed(lacking)}{_alike(lacking, present)}")

    def batches(
        self,
        columns: Sequence[str],
        batch_rows: int | None = None,
        as_numbers: Collection[str] = (),
        *,
        first_row: int = 0,
    ) -> Iterator[pa.RecordBatch]:
        """The named columns of every row, in order, at most ``batch_rows`` rows at a time (default: `batch_rows`);
        never across files. ``first_row``, which a batch must begin with, is where to go on."""
        batch_rows = batch_rows or self.batch_rows(len(columns))
        self._starts = []
        n_read = 0
        for file in self.files:
            self._starts.append(n_read)
            known = 0 if file.n_rows is None else min(max(first_row - n_read, 0), file.n_rows)
            n_read += known
            for batch in file.batches(columns, batch_rows, as_numbers, first_row=known):
                n_read += batch.num_rows
                if n_read > first_row or first_row == 0:
                    yield batch

    def batch_rows(self, n_columns: int) -> int:
        """Rows of a batch whose size nobody chose: as many as make 64 MB, 131,072 at most."""
        first = self.files[0]
        width = first.width if isinstance(first, NpyTable) else n_columns
        return int(np.clip(BATCH_BYTES // (8 * max(width, 1)), 256, BATCH_ROWS))

    def holds_numbers(self, column: str) -> bool:
        """Whether a column of the first file holds numbers, or may."""
        return is_number(self.schema.field(column).type) or column in self.files[0].guessed

    def type_of(self, column: str) -> pa.DataType:
        """That of the first file that has a value of the column to tell it by, as far as files say."""
        types = [
            f.schema.field(column).type for f in self.files if column in f.schema.names and column not in f.guessed
        ]
        told = [kind for kind in types if not pa.types.is_null(kind)]
        return told[0] if told else self.schema.field(column).type

    def place(self, row: int) -> str:
        """``"file, row i"`` of a row counted over all files read by the last call of `batches`."""
        start = max((start for start in self._starts if start <= row), default=0)
        return f"{self.file_of(row).path}, row {row - start}"

    def file_of(self, row: int) -> TableFile:
        """The file that such a row is in."""
        return self.files[max((i for i, start in enumerate(self._starts) if start <= row), default=0)]


def is_number(kind: pa.DataType) -> bool:
    """Whether a column of this type is read as numbers as it stands."""
    kinds = (pa.types.is_integer, pa.types.is_floating, pa.types.is_boolean, pa.types.is_decimal)
    return any(is_kind(kind) for is_kind in kinds)


def may_be_numbers(kind: pa.DataType) -> bool:
    """The same, or of nothing but missing values, as a column of text may be too."""
    return is_number(kind) or pa.types.is_null(kind)


def _numpy_dtype(kind: pa.DataType) -> np.dtype[Any]:
    if pa.types.is_boolean(kind):
        return np.dtype(np.uint8)
    if pa.types.is_decimal(kind) or pa.types.is_null(kind):
        return np.dtype(np.float64)
    return dtype_of(kind)


def feature_matrix(batch: pa.RecordBatch, columns: Sequence[str] | None = None) -> NDArray[Any]:
    """The named columns as one (n, d) array; missing values are NaN.

    Parameters
    ----------
    batch : pyarrow.RecordBatch
    columns : sequence of str or None
        None: the batch is one column of fixed-size lists, whose values become the rows without a copy.

    Returns
    -------
    ndarray of shape (n, d)
        In Fortran order, because every column is copied once and as a whole. The dtype is the smallest that
        holds all columns exactly (NumPy's promotion), so that scores equal those of the table in memory.
    """
    if columns is None:
        kind = batch.schema.field(0).type
        lists = batch.column(0)
        if lists.null_count:
            raise TableError(f"{lists.null_count} rows of column {batch.schema.names[0]!r} are missing")
        return _numbers(lists.flatten()).reshape(batch.num_rows, kind.list_size)
    arrays = [batch.column(c) for c in columns]
    dtype = np.result_type(*(_numpy_dtype(a.type) for a in arrays))
    if dtype.kind != "f" and any(a.null_count for a in arrays):
        dtype = np.result_type(dtype, np.float32)
    X = np.empty((batch.num_rows, len(arrays)), dtype=dtype, order="F")
    for j, array in enumerate(arrays):
        X[:, j] = _numbers(array)
    return X


def feature_columns(batch: pa.RecordBatch, columns: Sequence[str]) -> list[NDArray[Any]] | None:
    """The named columns where they lie; None where they are of several types or not plain numbers, or values are
    missing."""
    arrays = [batch.column(c) for c in columns]
    kind = arrays[0].type
    is_plain = pa.types.is_integer(kind) or pa.types.is_floating(kind)
    if not is_plain or any(a.null_count or not a.type.equals(kind) for a in arrays):
        return None
    values = [arrow_values(a) for a in arrays]
    return values if all(v.flags.aligned for v in values) else None


def _numbers(array: pa.Array) -> NDArray[Any]:
    """A view of the values where there is one to be had."""
    kind = array.type
    if pa.types.is_boolean(kind):
        array = array.cast(pa.uint8())
    elif pa.types.is_decimal(kind) or pa.types.is_null(kind):
        array = array.cast(pa.float64())
    return arrow_values(array)


def read_matrix(
    source: Source, columns: Sequence[str] | None, *, progress: Callable[[int], None] | None = None
) -> NDArray[Any]:
    """All rows as one C-ordered (n, d) array: float32 where that holds every column exactly, else float64.

    Rows are gathered at random in training, so they lie together.
    """
    names = source.schema.names if columns is None else list(columns)
    blocks: list[NDArray[Any]] = []
    whole: NDArray[Any] | None = None
    n_read = 0
    for batch in prefetch(source.batches(names, as_numbers=names)):
        X = feature_matrix(batch, columns)
        wanted = np.result_type(X.dtype, np.float32)
        if whole is None and source.n_rows is not None and len(source.files) == 1:
            whole = np.empty((source.n_rows, X.shape[1]), dtype=wanted)
        block = np.empty(X.shape, dtype=wanted) if whole is None else whole[n_read : n_read + len(X)]
        if block.dtype != wanted:  # a batch with missing values needs more room than those before it
            whole = None if whole is None else whole.astype(wanted)
            block = np.empty(X.shape, dtype=wanted) if whole is None else whole[n_read : n_read + len(X)]
        for start in range(0, len(X), ROW_BLOCK):
            block[start : start + ROW_BLOCK] = X[start : start + ROW_BLOCK]
        if whole is None:
            blocks.append(block)
        n_read += len(X)
        if progress is not None:
            progress(len(X))
    if whole is not None:
        return whole
    if not blocks:
        width = source.schema.field(0).type.list_size if columns is None else len(names)
        return np.empty((0, width), dtype=np.float64)
    return np.concatenate(blocks)


def prefetch(items: Iterable[T], depth: int = 2) -> Generator[T, None, None]:
    """The same items, made up to ``depth`` ahead by a thread, so that reading overlaps with what is done to them."""
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
        except BaseException as error:  # handed to the consumer, whose error it is
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


def _listed(names: Sequence[str], most: int = 8) -> str:
    shown = ", ".join(repr(n) for n in names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"


def _alike(lacking: Sequence[str], present: Sequence[str]) -> str:
    alike = [m for name in lacking[:3] for m in difflib.get_close_matches(name, present, n=1)]
    if alike:
        return f" (did you mean {_listed(alike)}?)"
    return f" (it has {_listed(list(present))})" if present else ""
