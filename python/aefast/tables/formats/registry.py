"""Files of rows: what is in a Parquet, CSV, Arrow IPC or ``.npy`` file, in record batches of bounded size."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa

from aefast.columns.learner import AS_NUMBER
from aefast.exceptions import AefastError
from aefast.tables.arrow import arrow_array, plain_rows, plain_schema
from aefast.tables.formats.csv_bytes import goes_to_the_end, is_compressed, is_utf16, unpacked

__all__ = [
    "FORMATS",
    "CsvTable",
    "NpyTable",
    "TableError",
    "TableFile",
    "open_table",
    "rebatch",
    "repeated",
    "skip_rows",
    "table_class",
]

_WHOLE = re.compile(r"\s*[-+]?\d+\s*")
FORMATS = "Parquet (.parquet, .pq), CSV (.csv, .tsv, also .gz, .zst), Arrow IPC (.feather, .arrow, .ipc) and .npy"


T = TypeVar("T")


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

    def read_as_text(self, columns: Collection[str]) -> None:
        """From now on these columns are text, with empty cells missing, where a format has no types of its own."""

    def hand_on(self, columns: Collection[str]) -> None:
        """From now on these columns are their cells as they are written, where a format has no types of its own."""

    def batches(
        self, columns: Sequence[str], batch_rows: int, as_numbers: Collection[str] = (), *, first_row: int = 0
    ) -> Iterator[pa.RecordBatch]:
        """The rows from ``first_row`` on in order, ``batch_rows`` at a time. ``as_numbers`` names the columns that a
        format without types of its own reads as float64."""
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
                self.schema, self.n_rows = plain_schema(file.schema_arrow), file.metadata.num_rows
        except (pa.ArrowException, OSError) as error:
            raise self.unreadable(error) from error

    def batches(
        self, columns: Sequence[str], batch_rows: int, as_numbers: Collection[str] = (), *, first_row: int = 0
    ) -> Iterator[pa.RecordBatch]:
        # A buffer size makes column chunks stream; without it a whole row group would be held.
        with self._module.ParquetFile(self.path, buffer_size=1 << 16, pre_buffer=False) as file:
            groups, before = self._groups_from(file, first_row)
            try:
                pieces = map(_sound, file.iter_batches(batch_rows, groups, columns=list(columns)))
                yield from rebatch(skip_rows(pieces, before), batch_rows)
            except (pa.ArrowException, OSError) as error:
                raise self._diagnosis(columns, error) from error

    @staticmethod
    def _groups_from(file: Any, first_row: int) -> tuple[list[int], int]:
        """The row groups from the one with ``first_row`` on, and how many of their rows stand before it."""
        sizes = [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)]
        ends = np.cumsum(sizes, dtype=np.int64)
        first = int(np.searchsorted(ends, first_row, side="right"))
        return list(range(first, len(sizes))), first_row - int(ends[first - 1] if first else 0)

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
        self._as_text: frozenset[str] = frozenset()
        import pyarrow.csv as csv

        self._module = csv
        stem = path.name[: -len(path.suffix)] if is_compressed(path) else path.name
        self._delimiter = delimiter = "\t" if stem.lower().endswith(".tsv") else ","
        try:
            if is_utf16(path):
                raise TableError(f"{path} is UTF-16; convert it, with iconv -f utf-16 -t utf-8 for instance")
            with self._open({}) as reader:
                self.guessed = frozenset(f.name for f in reader.schema if pa.types.is_null(f.type))
                self.schema = pa.schema([(f.name, _csv_type(f.type)) for f in reader.schema])
        except (pa.ArrowException, OSError) as error:
            raise self._diagnosis({}, error) from error
        names = self.schema.names
        # Whole numbers are what nameless columns are called by pandas.
        if all(map(AS_NUMBER.fullmatch, names)) and not all(map(_WHOLE.fullmatch, names)):
            shown = ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
            raise TableError(
                f"{path}: its first line should name the columns, but holds numbers ({shown}); put a line of names "
                "before it"
            )
        other = [c for c in ",;\t|" if c != delimiter and c in self.schema.names[0]]
        if len(self.schema) == 1 and other:
            raise TableError(
                f"{path}: its columns seem to be separated by {other[0]!r} and not by {delimiter!r}; write it with "
                "commas as .csv, or with tabs as .tsv"
            )

    def check_text(self, columns: Collection[str]) -> None:
        """Raise `TableError` with the row where one of the columns is not UTF-8, which Arrow gives as bytes."""
        no_text = [c for c in columns if pa.types.is_binary(self.schema.field(c).type)]
        if no_text:
            raise self._diagnosis(dict.fromkeys(no_text, pa.string()), TableError("invalid UTF8 data"))

    def read_as_text(self, columns: Collection[str]) -> None:
        self._as_text |= frozenset(columns) & frozenset(self.schema.names)
        self.hand_on(columns)

    def hand_on(self, columns: Collection[str]) -> None:
        self.guessed -= frozenset(columns)
        self.schema = pa.schema([(f.name, pa.string() if f.name in columns else f.type) for f in self.schema])

    def batches(
        self, columns: Sequence[str], batch_rows: int, as_numbers: Collection[str] = (), *, first_row: int = 0
    ) -> Iterator[pa.RecordBatch]:
        types = {c: self.schema.field(c).type for c in columns}
        types |= {c: pa.float64() for c in columns if c in as_numbers and _may_be_number(types[c])}
        last, cell = self.schema.names[-1], None
        types.setdefault(last, pa.binary())  # an open quote would be there

        def chosen(batch: pa.RecordBatch) -> pa.RecordBatch:
            nonlocal cell
            if batch.num_rows and types[last] in (pa.string(), pa.binary()):
                cell = batch.column(last)[-1].cast(pa.binary()).as_py()
            return self._with_missing(batch.select(columns))

        try:
            with self._open(types) as reader:
                yield from rebatch(skip_rows(map(chosen, reader), first_row), batch_rows)
        except (pa.ArrowException, OSError) as error:
            raise self._diagnosis(types, error) from error
        if cell is not None and goes_to_the_end(self.path, cell):
            raise self._diagnosis(types, TableError(_UNCLOSED))

    def _with_missing(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """The batch, where text is asked for by name with no value in empty cells."""
        import pyarrow.compute as pc

        for index, name in enumerate(batch.schema.names):
            if name in self._as_text:
                cells = batch.column(index)
                is_empty = pc.equal(pc.binary_length(cells), 0)
                batch = batch.set_column(index, name, pc.if_else(is_empty, pa.scalar(None, cells.type), cells))
        return batch

    def _open(self, types: Mapping[str, pa.DataType], use_threads: bool = True) -> Any:
        """The columns of ``types``, or all with those that Arrow guesses where there are none."""
        module = self._module
        return module.open_csv(
            unpacked(self.path),
            module.ReadOptions(block_size=self._BLOCK, use_threads=use_threads),
            module.ParseOptions(delimiter=self._delimiter, newlines_in_values=True),
            module.ConvertOptions(include_columns=list(types), column_types=types),
        )

    def _diagnosis(self, types: Mapping[str, pa.DataType], error: BaseException) -> TableError:
        """The same error with its place: Arrow numbers rows only where one thread reads them."""
        n_rows = 0
        try:
            with self._open(types, use_threads=False) as reader:
                for batch in reader:
                    n_rows += batch.num_rows
        except (pa.ArrowException, OSError) as found:
            error = found
        text = str(error)
        line = re.search(r"Row #(\d+): ", text)
        column = re.search(r"CSV column #(\d+): ", text)
        row = int(line[1]) - 2 if line else None
        if text == _UNCLOSED:  # so that the last row goes to the end
            row = n_rows - 1
        elif "straddling object" in text:
            row, text = n_rows, f"{_UNCLOSED}, or the row is longer than {self._BLOCK >> 20} MB"
        elif line and "\n" in text:
            text += f"; where a cell has lines of other rows, {_UNCLOSED}"
        place = "" if row is None else f", row {row} (the first is row 0)"
        if column:  # numbered as in the file, whatever was asked for
            place += f", column {self.schema.names[int(column[1])]!r}"
        for match in (column, line):
            text = text.replace("In " + match[0], "").replace(match[0], "") if match else text
        if "invalid UTF8" in text:
            text = "it is not UTF-8; convert the file, with iconv -f latin1 -t utf-8 for instance"
        return self.unreadable(TableError(text), place + "," if place else "")


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
                chosen = (_sound(batch.select(list(columns))) for batch in _all_batches(reader))
                yield from rebatch(skip_rows(chosen, first_row), batch_rows)
        except (pa.ArrowException, OSError) as error:
            raise self.unreadable(error) from error


class NpyTable(TableFile):
    """An array of rows: one column ``x``, whose values are the rows. Further axes are flattened."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        try:
            array = np.load(path, mmap_mode="r", allow_pickle=False)
        except Exception as error:  # NumPy reads the header as Python, and passes on what the tokenizer raises
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
        self, columns: Sequence[str], batch_rows: int, as_numbers: Collection[str] = (), *, first_row: int = 0
    ) -> Iterator[pa.RecordBatch]:
        assert self.n_rows is not None
        with self.path.open("rb") as file:
            for start in range(first_row, self.n_rows, batch_rows):
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
                flat = arrow_array(values.astype(values.dtype.newbyteorder("="), copy=False))
                yield pa.record_batch([pa.FixedSizeListArray.from_arrays(flat, self.width)], schema=self.schema)


_UNCLOSED = "a quote is not closed"
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


def repeated(names: Iterable[T]) -> list[T]:
    """Of names that should differ, those that come more than once."""
    return [name for name, count in Counter(names).items() if count > 1]


def table_class(path: Path) -> type[TableFile] | None:
    """What reads a file of this ending; None for an ending that no table has."""
    suffixes = [s.lower() for s in path.suffixes]
    if is_compressed(path):
        suffixes.pop()
        return CsvTable if suffixes and suffixes[-1] in (".csv", ".tsv") else None
    return _FORMATS.get(suffixes[-1]) if suffixes else None


def open_table(path: str | Path) -> TableFile:
    """The table in one file, by the file's ending."""
    path = Path(path)
    reader = table_class(path)
    if reader is None:
        raise TableError(f"{path}: a table's ending is needed; these can be read: {FORMATS}")
    try:
        table = reader(path)
        table.schema.names  # noqa: B018
    except UnicodeDecodeError as error:
        raise TableError(f"{path} cannot be read: the name of a column is not UTF-8 ({error})") from error
    return table


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


def skip_rows(batches: Iterable[pa.RecordBatch], n_rows: int) -> Iterator[pa.RecordBatch]:
    """The batches without their first ``n_rows`` rows."""
    for batch in batches:
        skipped = min(n_rows, batch.num_rows)
        n_rows -= skipped
        yield batch.slice(skipped)


def _joined(batches: list[pa.RecordBatch]) -> pa.RecordBatch:
    return batches[0] if len(batches) == 1 else pa.Table.from_batches(batches).combine_chunks().to_batches()[0]


def _sound(batch: pa.RecordBatch) -> pa.RecordBatch:
    """The batch, whose text is UTF-8 and does not point beyond it; Arrow takes a file's word for it."""
    batch.validate(full=True)
    return plain_rows(batch)


def _all_batches(reader: Any) -> Iterator[pa.RecordBatch]:
    if hasattr(reader, "num_record_batches"):
        for i in range(reader.num_record_batches):
            yield reader.get_batch(i)
    else:
        yield from reader


def _may_be_number(kind: pa.DataType) -> bool:
    """Whether cells of this type, as guessed from the first of them, can be read as numbers."""
    return not (pa.types.is_boolean(kind) or pa.types.is_timestamp(kind) or pa.types.is_date(kind))


def _csv_type(kind: pa.DataType) -> pa.DataType:
    return pa.string() if pa.types.is_null(kind) else kind


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
