"""Tables in: Parquet, CSV, Arrow IPC and ``.npy`` files as one stream of Arrow record batches.

A `Source` is a row of files read in order. Nothing here holds more than a few batches, so memory follows
``batch_rows`` and not the files.
"""

from __future__ import annotations

import difflib
import queue
import re
import threading
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Sequence
from glob import glob, has_magic
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from aefast.exceptions import AefastError

__all__ = [
    "Source",
    "TableError",
    "TableFile",
    "feature_matrix",
    "find_files",
    "is_number",
    "open_table",
    "prefetch",
    "read_matrix",
]

T = TypeVar("T")

DEFAULT_BATCH_ROWS = 65_536
ROW_BLOCK = 2_048  # rows transposed at once by read_matrix: their columns fit the second-level cache
_COMPRESSED = (".gz", ".bz2", ".zst", ".lz4")
FORMATS = "Parquet (.parquet, .pq), CSV (.csv, .tsv, also .gz, .zst), Arrow IPC (.feather, .arrow, .ipc) and .npy"


class TableError(AefastError, ValueError):
    """A file that is no table, or not the table that was asked for."""


class TableFile:
    """One file of rows. ``schema`` is known without reading the rows, ``n_rows`` where the format stores it.
    ``guessed`` names the columns whose first rows are blank, so that their type could be any."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.schema: pa.Schema = pa.schema([])
        self.n_rows: int | None = None
        self.guessed: frozenset[str] = frozenset()

    def batches(
        self, columns: Sequence[str], batch_rows: int, as_numbers: Collection[str] = ()
    ) -> Iterator[pa.RecordBatch]:
        """The rows in order, at most ``batch_rows`` at a time. ``as_numbers`` names the columns that a format
        without types of its own reads as float64."""
        raise NotImplementedError

    def unreadable(self, error: BaseException, place: str = "") -> TableError:
        return TableError(f"{self.path}{place} cannot be read: {_one_line(error)}")


class ParquetTable(TableFile):
    def __init__(self, path: Path) -> None:
        super().__init__(path)
        import pyarrow.parquet as pq

        self._module = pq
        try:
            with pq.ParquetFile(path) as file:
                self.schema, self.n_rows = file.schema_arrow, file.metadata.num_rows
        except (pa.ArrowException, OSError) as error:
            raise self.unreadable(error) from error

    def batches(
        self, columns: Sequence[str], batch_rows: int, as_numbers: Collection[str] = ()
    ) -> Iterator[pa.RecordBatch]:
        # A buffer size makes column chunks stream; without it a whole row group would be held.
        with self._module.ParquetFile(self.path, buffer_size=1 << 20, pre_buffer=False) as file:
            try:
                yield from rebatch(file.iter_batches(batch_rows, columns=list(columns)), batch_rows)
            except (pa.ArrowException, OSError) as error:
                raise self._diagnosis(columns, error) from error

    def _diagnosis(self, columns: Sequence[str], error: BaseException) -> TableError:
        with self._module.ParquetFile(self.path) as file:
            for group in range(file.num_row_groups):
                for column in columns:
                    try:
                        file.read_row_group(group, columns=[column])
                    except (pa.ArrowException, OSError) as found:
                        return self.unreadable(found, f", row group {group}, column {column!r},")
        return self.unreadable(error)


class CsvTable(TableFile):
    """Types come from the first block; integers read ``as_numbers`` may turn out to have decimals further down."""

    _BLOCK = 4 << 20

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        import pyarrow.csv as csv

        self._module = csv
        stem = path.name[: -len(path.suffix)] if path.suffix in _COMPRESSED else path.name
        self._parse = csv.ParseOptions(delimiter="\t" if stem.lower().endswith(".tsv") else ",")
        try:
            with csv.open_csv(path, self._read_options(), self._parse) as reader:
                self.guessed = frozenset(f.name for f in reader.schema if pa.types.is_null(f.type))
                self.schema = pa.schema([(f.name, _csv_type(f.type)) for f in reader.schema])
        except (pa.ArrowException, OSError) as error:
            raise self._diagnosis((), {}, error) from error

    def _read_options(self, use_threads: bool = True) -> Any:
        return self._module.ReadOptions(block_size=self._BLOCK, use_threads=use_threads)

    def batches(
        self, columns: Sequence[str], batch_rows: int, as_numbers: Collection[str] = ()
    ) -> Iterator[pa.RecordBatch]:
        types = {c: self.schema.field(c).type for c in columns}
        types |= {c: pa.float64() for c in columns if c in as_numbers and not pa.types.is_boolean(types[c])}
        try:
            with self._open(columns, types) as reader:
                yield from rebatch(reader, batch_rows)
        except (pa.ArrowException, OSError) as error:
            raise self._diagnosis(columns, types, error) from error

    def _open(self, columns: Sequence[str], types: dict[str, pa.DataType], use_threads: bool = True) -> Any:
        convert = self._module.ConvertOptions(include_columns=list(columns), column_types=types)
        return self._module.open_csv(self.path, self._read_options(use_threads), self._parse, convert)

    def _diagnosis(self, columns: Sequence[str], types: dict[str, pa.DataType], error: BaseException) -> TableError:
        """The same error with its place: Arrow numbers rows only where one thread reads them."""
        try:
            with self._open(columns, types, use_threads=False) as reader:
                for _ in reader:
                    pass
        except (pa.ArrowException, OSError) as found:
            error = found
        text = str(error)
        line = re.search(r"Row #(\d+): ", text)
        column = re.search(r"CSV column #(\d+): ", text)
        place = f", row {int(line[1]) - 2} (the first is row 0)" if line else ""
        if column:  # numbered as in the file, whatever was asked for
            place += f", column {self.schema.names[int(column[1])]!r}"
        for match in (column, line):
            text = text.replace("In " + match[0], "").replace(match[0], "") if match else text
        return self.unreadable(TableError(text), place + "," if place else "")


class IpcTable(TableFile):
    """Arrow IPC in its file form (Feather 2) or its stream form."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        try:
            with pa.memory_map(str(path)) as memory, self._open(memory) as reader:
                self.schema = reader.schema
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
        self, columns: Sequence[str], batch_rows: int, as_numbers: Collection[str] = ()
    ) -> Iterator[pa.RecordBatch]:
        fields = [self.schema.get_field_index(c) for c in columns]
        options = pa.ipc.IpcReadOptions(included_fields=fields)
        try:
            with pa.memory_map(str(self.path)) as memory, self._open(memory, options) as reader:
                yield from rebatch((batch.select(list(columns)) for batch in _all_batches(reader)), batch_rows)
        except (pa.ArrowException, OSError) as error:
            raise self.unreadable(error) from error


class NpyTable(TableFile):
    """An array of rows: one column ``x``, whose values are the rows. Further axes are flattened."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        try:
            array = np.load(path, mmap_mode="r", allow_pickle=False)
        except (ValueError, OSError, EOFError) as error:
            raise self.unreadable(error) from error
        if array.dtype.kind not in "fiub" or array.dtype.itemsize > 8:
            raise TableError(f"{path} holds {array.dtype} values; numbers of at most 64 bits are needed")
        if array.ndim == 0:
            raise TableError(f"{path} holds a single value; an array of rows is needed")
        rows = array.reshape(len(array), -1) if array.size else array.reshape(len(array), array[:1].size)
        self._row_bytes = rows.dtype.itemsize * rows.shape[1]
        self._offset = array.offset if array.flags.c_contiguous else None
        self._dtype, self.width, self.n_rows = rows.dtype, rows.shape[1], rows.shape[0]
        value_type = pa.uint8() if self._dtype.kind == "b" else pa.from_numpy_dtype(self._dtype.newbyteorder("="))
        self.schema = pa.schema([pa.field("x", pa.list_(value_type, self.width))])

    def batches(
        self, columns: Sequence[str], batch_rows: int, as_numbers: Collection[str] = ()
    ) -> Iterator[pa.RecordBatch]:
        assert self.n_rows is not None
        with self.path.open("rb") as file:
            for start in range(0, self.n_rows, batch_rows):
                count = min(batch_rows, self.n_rows - start) * self.width
                if self._offset is None:
                    array = np.load(self.path, mmap_mode="r", allow_pickle=False)
                    values = np.ascontiguousarray(array[start : start + batch_rows]).reshape(-1)
                else:
                    file.seek(self._offset + start * self._row_bytes)
                    values = np.fromfile(file, self._dtype, count)
                if len(values) != count:
                    raise TableError(f"{self.path} ends within row {start + len(values) // max(self.width, 1)}")
                if self._dtype.kind == "b":
                    values = values.view(np.uint8)
                flat = pa.array(values.astype(values.dtype.newbyteorder("="), copy=False))
                yield pa.record_batch([pa.FixedSizeListArray.from_arrays(flat, self.width)], schema=self.schema)


_FORMATS: dict[str, type[TableFile]] = {
    ".parquet": ParquetTable,
    ".pq": ParquetTable,
    ".csv": CsvTable,
    ".tsv": CsvTable,
    ".feather": IpcTable,
    ".arrow": IpcTable,
    ".arrows": IpcTable,
    ".ipc": IpcTable,
    ".npy": NpyTable,
}


def table_class(path: Path) -> type[TableFile] | None:
    """What reads a file of this ending; None for an ending that no table has."""
    suffixes = [s.lower() for s in path.suffixes]
    if suffixes and suffixes[-1] in _COMPRESSED:
        suffixes.pop()
        return CsvTable if suffixes and suffixes[-1] in (".csv", ".tsv") else None
    return _FORMATS.get(suffixes[-1]) if suffixes else None


def open_table(path: str | Path) -> TableFile:
    """The table in one file, by the file's ending."""
    path = Path(path)
    reader = table_class(path)
    if reader is None:
        raise TableError(f"{path}: a table's ending is needed; these can be read: {FORMATS}")
    return reader(path)


def find_files(sources: Iterable[str | Path]) -> list[Path]:
    """Files for names that may be files, folders (their tables at any depth) or patterns; sorted within each."""
    files: list[Path] = []
    for source in sources:
        path = Path(source)
        if path.is_dir():
            inside = (p for p in path.rglob("*") if p.is_file() and table_class(p))
            found = [p for p in inside if not any(part.startswith((".", "_")) for part in p.relative_to(path).parts)]
            if not found:
                raise FileNotFoundError(f"no tables in the folder {path}; these can be read: {FORMATS}")
        elif path.exists():
            found = [path]
        elif has_magic(str(source)):
            found = [Path(p) for p in glob(str(source), recursive=True) if Path(p).is_file()]
            if not found:
                raise FileNotFoundError(f"no file matches {source}")
        else:
            raise FileNotFoundError(f"there is no file or folder {source}")
        files.extend(sorted(found))
    return files


class Source:
    """The rows of one or more files, one after the other.

    Attributes
    ----------
    schema : pyarrow.Schema
        Of the first file. The others may order their columns differently and have more.
    n_rows : int or None
        None where a format (CSV, Arrow IPC) does not say before it is read.
    """

    def __init__(self, paths: Iterable[str | Path]) -> None:
        self.files = [open_table(path) for path in paths]
        if not self.files:
            raise TableError("no files to read")
        self.schema: pa.Schema = self.files[0].schema
        counts = [f.n_rows for f in self.files]
        self.n_rows = None if None in counts else sum(n for n in counts if n is not None)
        self._starts: list[int] = []
        for file in self.files:
            names = file.schema.names
            twice = sorted({n for n in names if names.count(n) > 1})
            if twice:
                raise TableError(f"{file.path} has more than one column named {_listed(twice)}; rename them")

    @property
    def is_matrix(self) -> bool:
        """Whether the rows come as one nameless array (``.npy``)."""
        return isinstance(self.files[0], NpyTable)

    @property
    def title(self) -> str:
        """A short name of it all."""
        more = len(self.files) - 1
        return self.files[0].path.name + (f" and {more} more" if more else "")

    def require(self, columns: Sequence[str], why: str) -> None:
        """Raise `TableError` naming the file, the columns it lacks and what it has that looks like them."""
        for file in self.files:
            lacking = [c for c in columns if c not in file.schema.names]
            if lacking:
                raise TableError(f"{file.path} lacks {why} {_listed(lacking)}{_alike(lacking, file.schema.names)}")

    def batches(
        self, columns: Sequence[str], batch_rows: int = DEFAULT_BATCH_ROWS, as_numbers: Collection[str] = ()
    ) -> Iterator[pa.RecordBatch]:
        """The named columns of every row, in order, at most ``batch_rows`` rows at a time; never across files."""
        self._starts = []
        n_read = 0
        for file in self.files:
            self._starts.append(n_read)
            for batch in file.batches(columns, batch_rows, as_numbers):
                n_read += batch.num_rows
                yield batch

    def holds_numbers(self, column: str) -> bool:
        """Whether a column of the first file holds numbers, or may."""
        return is_number(self.schema.field(column).type) or column in self.files[0].guessed

    def place(self, row: int) -> str:
        """``"file, row i"`` of a row counted over all files read by the last call of `batches`."""
        k = max((i for i, start in enumerate(self._starts) if start <= row), default=0)
        start = self._starts[k] if self._starts else 0
        return f"{self.files[k].path}, row {row - start}"


def is_number(kind: pa.DataType) -> bool:
    """Whether a column of this type is read as numbers as it stands."""
    kinds = (pa.types.is_integer, pa.types.is_floating, pa.types.is_boolean, pa.types.is_decimal)
    return any(is_kind(kind) for is_kind in kinds)


def _numpy_dtype(kind: pa.DataType) -> np.dtype[Any]:
    if pa.types.is_boolean(kind):
        return np.dtype(np.uint8)
    if pa.types.is_decimal(kind) or pa.types.is_null(kind):
        return np.dtype(np.float64)
    dtype: np.dtype[Any] = np.dtype(kind.to_pandas_dtype())
    return dtype


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


def _numbers(array: pa.Array) -> NDArray[Any]:
    """A view of the values where there is one to be had."""
    kind = array.type
    if pa.types.is_boolean(kind):
        array = array.cast(pa.uint8())
    elif pa.types.is_decimal(kind) or pa.types.is_null(kind):
        array = array.cast(pa.float64())
    values: NDArray[Any] = array.to_numpy(zero_copy_only=False)
    return values


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


def rebatch(batches: Iterable[pa.RecordBatch], batch_rows: int) -> Iterator[pa.RecordBatch]:
    """The same rows in batches of exactly ``batch_rows`` (the last may be shorter), however they came."""
    held: list[pa.RecordBatch] = []
    n_held = 0
    for batch in batches:
        while batch.num_rows:
            taken = batch.slice(0, batch_rows - n_held)
            batch = batch.slice(taken.num_rows)
            held.append(taken)
            n_held += taken.num_rows
            if n_held == batch_rows:
                yield _joined(held)
                held, n_held = [], 0
    if held:
        yield _joined(held)


def _joined(batches: list[pa.RecordBatch]) -> pa.RecordBatch:
    return batches[0] if len(batches) == 1 else pa.concat_batches(batches)


def _all_batches(reader: Any) -> Iterator[pa.RecordBatch]:
    if hasattr(reader, "num_record_batches"):
        for i in range(reader.num_record_batches):
            yield reader.get_batch(i)
    else:
        yield from reader


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


def _csv_type(kind: pa.DataType) -> pa.DataType:
    return pa.string() if pa.types.is_null(kind) else kind


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _listed(names: Sequence[str], most: int = 8) -> str:
    shown = ", ".join(repr(n) for n in names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"


def _alike(lacking: Sequence[str], present: Sequence[str]) -> str:
    alike = [m for name in lacking[:3] for m in difflib.get_close_matches(name, present, n=1)]
    if alike:
        return f" (did you mean {_listed(alike)}?)"
    return f" (it has {_listed(list(present))})" if present else ""
