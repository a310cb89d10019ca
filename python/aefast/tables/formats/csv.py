"""CSV files: reading and writing."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from copy import copy
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import csv as arrow_csv

from aefast.tables.formats.base import TableError, TableFile, Writer, is_compressed, rebatch, skip_rows
from aefast.tables.formats.csv_bytes import ends_with_cell, is_utf16, uncompressed
from aefast.tables.text import NUMBER_CELL

_WHOLE_NUMBER = re.compile(r"\s*[-+]?\d+\s*")
#: How Arrow begins the message about a cell that does not fit the type of its column.
_CELL = re.compile(r"In CSV column #(\d+): (?:Row #(\d+): )?")
_UNCLOSED = "a quote is not closed"
_LAST_YEAR = 32_767  # the last year, and the first with a minus sign, that Arrow writes as text


class CsvTable(TableFile):
    """A CSV file, whose types are guessed from its first block.

    Integers that are read ``as_numbers`` may have decimals further down.
    """

    types_are_guessed = True
    reads_all_columns = True

    _BLOCK = 4 << 20

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        #: Columns in which an empty cell is a missing value.
        self._blank_is_missing: frozenset[str] = frozenset()
        stem = path.name[: -len(path.suffix)] if is_compressed(path) else path.name
        self._delimiter = "\t" if stem.lower().endswith(".tsv") else ","
        try:
            if is_utf16(path):
                raise TableError(f"{path} is UTF-16; convert it, with iconv -f utf-16 -t utf-8 for instance")
            with self._open({}) as reader:
                self.guessed = frozenset(f.name for f in reader.schema if pa.types.is_null(f.type))
                self.schema = pa.schema([(f.name, _type_of(f.type)) for f in reader.schema])
        except (pa.ArrowException, OSError) as error:
            raise self._diagnosis({}, error) from error
        self._check_header()

    def _check_header(self) -> None:
        """Raise `TableError` if the first line names no columns, or is separated by something else."""
        names = self.schema.names
        # Whole numbers are allowed: pandas names nameless columns 0, 1, 2 and so on.
        if all(map(NUMBER_CELL.fullmatch, names)) and not all(map(_WHOLE_NUMBER.fullmatch, names)):
            shown = ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
            raise TableError(
                f"{self.path}: its first line should name the columns, but holds numbers ({shown}); put a line of "
                "names before it"
            )
        other = [c for c in ",;\t|" if c != self._delimiter and c in names[0]]
        if len(names) == 1 and other:
            raise TableError(
                f"{self.path}: its columns seem to be separated by {other[0]!r} and not by {self._delimiter!r}; write "
                "it with commas as .csv, or with tabs as .tsv"
            )

    @property
    def n_bytes(self) -> int:
        # Text seldom compresses to less than a tenth.
        return super().n_bytes * (10 if is_compressed(self.path) else 1)

    def with_text(self, columns: Collection[str], *, blank_is_missing: bool) -> CsvTable:
        table = copy(self)
        table.guessed = self.guessed - frozenset(columns)
        table.schema = pa.schema([(f.name, pa.string() if f.name in columns else f.type) for f in self.schema])
        if blank_is_missing:
            table._blank_is_missing = self._blank_is_missing | frozenset(columns)
        return table

    def check_text(self, columns: Collection[str]) -> None:
        # Arrow's guess for text that is not UTF-8 is binary.
        not_text = [c for c in columns if pa.types.is_binary(self.schema.field(c).type)]
        if not_text:
            raise self._diagnosis(dict.fromkeys(not_text, pa.string()), TableError("invalid UTF8 data"))

    def batches(
        self, columns: Sequence[str], batch_rows: int, as_numbers: Collection[str] = (), *, first_row: int = 0
    ) -> Iterator[pa.RecordBatch]:
        types = {c: self.schema.field(c).type for c in columns}
        types |= {c: pa.float64() for c in columns if c in as_numbers and _may_be_number(types[c])}
        # The last column is read in any case: its last cell shows whether a quote is not closed.
        last, cell = self.schema.names[-1], None
        types.setdefault(last, pa.binary())

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
        if cell is not None and ends_with_cell(self.path, cell):
            raise self._diagnosis(types, TableError(_UNCLOSED))

    def _with_missing(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Return the batch with null in empty cells, in the columns in which these are missing values."""
        for index, name in enumerate(batch.schema.names):
            if name in self._blank_is_missing:
                import pyarrow.compute as pc  # takes a tenth of the start of a command

                cells = batch.column(index)
                is_empty = pc.equal(pc.binary_length(cells), 0)
                batch = batch.set_column(index, name, pc.if_else(is_empty, pa.scalar(None, cells.type), cells))
        return batch

    def _open(
        self,
        types: Mapping[str, pa.DataType],
        use_threads: bool = True,
        on_invalid_row: Callable[[Any], str] | None = None,
    ) -> Any:
        """Open the columns of ``types``, or all columns with the types that Arrow guesses if there are none."""
        return arrow_csv.open_csv(
            uncompressed(self.path),
            arrow_csv.ReadOptions(block_size=self._BLOCK, use_threads=use_threads),
            arrow_csv.ParseOptions(
                delimiter=self._delimiter, newlines_in_values=True, invalid_row_handler=on_invalid_row
            ),
            arrow_csv.ConvertOptions(include_columns=list(types), column_types=types),
        )

    def _diagnosis(self, types: Mapping[str, pa.DataType], error: BaseException) -> TableError:
        """Return the error with its row and column: Arrow numbers rows only if one thread reads them."""
        n_rows = 0
        invalid: list[Any] = []

        def stop(row: Any) -> str:
            invalid.append(row)
            return "error"

        try:
            with self._open(types, use_threads=False, on_invalid_row=stop) as reader:
                for batch in reader:
                    n_rows += batch.num_rows
        except (pa.ArrowException, OSError) as found:
            error = found
        text = str(error)
        row = column = None
        in_cell = _CELL.search(text)
        # Arrow counts lines from 1, that of the names included.
        if in_cell:
            column = self.schema.names[int(in_cell[1])]  # numbered as in the file, whichever columns are read
            row = int(in_cell[2]) - 2 if in_cell[2] else None
            text = text.replace(in_cell[0], "")
        elif invalid:
            row = invalid[0].number - 2
            text = f"Expected {invalid[0].expected_columns} columns, got {invalid[0].actual_columns}: {invalid[0].text}"
        elif text == _UNCLOSED:  # Arrow takes the rest of the file for the last cell of the last row
            row = n_rows - 1
        elif "straddling object" in text:
            row, text = n_rows, f"{_UNCLOSED}, or the row is longer than {self._BLOCK >> 20} MB"
        if row is not None and "\n" in text:
            text += f"; if a cell contains lines of other rows, {_UNCLOSED}"
        if "invalid UTF8" in text:
            text = "it is not UTF-8; convert the file, with iconv -f latin1 -t utf-8 for instance"
        place = "" if row is None else f", row {row} (the first is row 0)"
        place += "" if column is None else f", column {column!r}"
        return self.unreadable(TableError(text), place and place + ",")


def _may_be_number(kind: pa.DataType) -> bool:
    """Whether cells of this type, as guessed from the first of them, can be read as numbers."""
    return not (pa.types.is_boolean(kind) or pa.types.is_timestamp(kind) or pa.types.is_date(kind))


def _type_of(kind: pa.DataType) -> pa.DataType:
    """Return the type of a column for Arrow's guess: text, if its first cells are blank."""
    return pa.string() if pa.types.is_null(kind) else kind


class CsvWriter(Writer):
    """Writes CSV; lists and structs have no place in it."""

    holds_nested = False

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        # Raise for a type that cannot be written now, and not after the first batch.
        arrow_csv.write_csv(schema.empty_table(), pa.BufferOutputStream())
        self._writer = arrow_csv.CSVWriter(path, schema)

    def write(self, batch: pa.RecordBatch) -> None:
        for name, column in zip(batch.schema.names, batch.columns, strict=True):
            if _has_far_years(column):
                raise _no_text(name, column, "has times so far from now that CSV has no text for them")
        try:
            self._writer.write(batch)
        except pa.ArrowException:
            for name, column in zip(batch.schema.names, batch.columns, strict=True):
                try:
                    arrow_csv.write_csv(pa.record_batch([column], [name]), pa.BufferOutputStream())
                except pa.ArrowException as error:
                    raise _no_text(name, column, f"cannot be written as text ({error})") from error
            raise


def _no_text(name: str, column: pa.Array, reason: str) -> pa.ArrowInvalid:
    return pa.ArrowInvalid(f"column {name!r} ({column.type}) {reason}; leave it out with --keep")


def _has_far_years(column: pa.Array) -> bool:
    """Whether a column has times of years that Arrow does not write as numbers."""
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
