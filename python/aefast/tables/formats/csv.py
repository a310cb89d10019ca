"""Reads CSV files."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import csv as arrow_csv

from aefast.tables.dialect import MISSING_NUMBERS, MISSING_TEXTS, CellFormat, Dialect, Reading, is_blank
from aefast.tables.fixed_width import FixedColumns
from aefast.tables.formats.base import BAD_ROW, TableError, TableFile, is_compressed, rebatch, skip_rows
from aefast.tables.formats.csv_bytes import SingleMarks, ends_with_cell, in_utf8, sample_text
from aefast.tables.formats.csv_cells import (
    BadCellError,
    converted_type,
    format_of_type,
    may_be_number,
    needs_conversion,
    read_cells,
    read_what_can_be,
    type_of_guess,
    widened_formats,
    with_separators,
    without_marks,
    without_tokens,
)
from aefast.tables.formats.csv_errors import UNCLOSED, explained, is_about_cell, remedy_of
from aefast.tables.formats.csv_rows import EvenRows
from aefast.tables.sniffer import find_dialect
from aefast.tables.time_words import has_names


class _UnfitCellError(Exception):
    """A cell does not fit the type of its column, but bad rows are allowed."""


class _UnevenRowError(Exception):
    """A row has fewer or more cells than there are columns."""


class CsvTable(TableFile):
    """A CSV file. Its dialect is found in a sample, and the types of its columns in its first block.

    Integers that are read ``as_numbers`` may have decimals further down, and times may have fractions of seconds.
    """

    dialect: Dialect
    types_are_guessed = True
    reads_all_columns = True

    _BLOCK = 4 << 20

    def __init__(self, path: Path, reading: Reading | None = None) -> None:
        super().__init__(path)
        #: The cells that are missing values in a column of text.
        self._missing: dict[str, frozenset[str]] = {}
        #: The columns that Arrow reads as text and that are converted afterwards.
        self._converted: dict[str, CellFormat] = {}
        reading = reading or Reading()
        self._on_bad = reading.on_bad
        stem = path.name[: -len(path.suffix)] if is_compressed(path) else path.name
        self.dialect = Dialect("\t" if stem.lower().endswith(".tsv") else ",")
        try:
            text, encoding = sample_text(path, reading.encoding)
            self._line_length = max(1.0, len(text) / (text.count("\n") + 1))
            self.dialect = find_dialect(text, reading, encoding=encoding, usual=self.dialect.delimiter)
            self._is_uneven = self.dialect.is_uneven or self.dialect.has_left_out
            # The header, if it has one line, may stand between the rows beyond the sample.
            line = next(iter(text.splitlines()[self.dialect.n_above :]), "")
            may_repeat = (
                self.dialect.has_header and not self.dialect.repeated and line.count(self.dialect.quote) % 2 == 0
            )
            self._header = line if may_repeat else ""
            # A model of rows of one width has longer ones refused.
            self._drops_long = self.dialect.is_uneven or self._on_bad != "error" or not reading.columns
            self._drops_cut = self._on_bad != "error" and not reading.columns
            self._marks_long = self._on_bad == "null" and bool(reading.columns)
            self._read_by_model = reading.columns
            fields = self._guess(None if reading.columns or reading.learned else reading)
        except LookupError as error:
            if reading.encoding is None:
                raise
            raise TableError(
                f"{path}: the encoding {reading.encoding} is unknown; give another with --encoding"
            ) from error
        except (pa.ArrowException, OSError) as error:
            raise self._diagnosis({}, error) from error
        #: The last column of the file, which may have no name.
        self._last = fields[-1].name
        fields = fields[: len(fields) - self.dialect.n_surplus]
        self.guessed: frozenset[str] = frozenset(f.name for f in fields if pa.types.is_null(f.type))
        for each in fields:
            cells = self.dialect.formats.get(each.name)
            if cells is not None and needs_conversion(cells, each.type):
                self._converted[each.name] = cells
            elif reading.kinds.get(each.name) == "timestamp" and pa.types.is_string(each.type):
                self._converted[each.name] = CellFormat("time")
        types = {f.name: type_of_guess(f.type) for f in fields}
        types |= {name: pa.string() for name, cells in self.dialect.formats.items() if cells.kind == "code"}
        types |= {name: converted_type(cells) for name, cells in self._converted.items()}
        self.schema: Any = pa.schema([(f.name, types[f.name]) for f in fields])

    def _guess(self, reading: Reading | None = None) -> list[pa.Field]:
        """Return the columns with the types that Arrow guesses from the first block.

        With ``reading``, cells of this block that the sample lacks may change the formats of columns.
        """
        try:
            with self._opened({}, self._even_rows()) as reader:
                fields = list(reader.schema)
        except _UnevenRowError:
            return self._guess(reading)
        texts = {each.name for each in fields if pa.types.is_string(each.type)}
        formats = {name: of for name, of in self.dialect.formats.items() if of.kind in ("number", "time")}
        formats = {name: of for name, of in formats.items() if name in texts}
        if reading is None or not formats:
            return fields
        with self._opened(dict.fromkeys(formats, pa.string()), self._even_rows()) as reader:
            block = reader.read_next_batch()
        if self._header and any(block.column(name).index(pa.scalar(name)).as_py() >= 0 for name in formats):
            n_skipped = self.dialect.n_skipped or 1
            self.dialect = replace(self.dialect, repeated=self._header, n_skipped=n_skipped)
            self._header, self._is_uneven = "", True
            return self._guess(reading)
        found = widened_formats(block, formats, reading, self.dialect.delimiter)
        self.dialect = replace(self.dialect, formats={**self.dialect.formats, **found})
        return fields if found == formats else self._guess()

    @classmethod
    def read_by(cls, path: Path, reading: Reading | None) -> CsvTable:
        return cls(path, reading)

    @property
    def n_bytes(self) -> int:
        # Text seldom compresses to less than a tenth.
        return super().n_bytes * (10 if is_compressed(self.path) else 1)

    @property
    def about_rows(self) -> int | None:
        return None if is_compressed(self.path) else int(self.n_bytes / self._line_length)

    def with_text(
        self,
        columns: Collection[str],
        *,
        blank_is_missing: bool,
        levels: Mapping[str, Collection[str | None]] | None = None,
    ) -> CsvTable:
        table = copy(self)
        table._converted = {name: cells for name, cells in self._converted.items() if name not in columns}
        table.guessed = self.guessed - frozenset(columns)
        table.schema = pa.schema([(f.name, pa.string() if f.name in columns else f.type) for f in self.schema])
        if blank_is_missing:
            tokens = frozenset((*MISSING_TEXTS, *self.dialect.na))
            table._missing = self._missing | {name: tokens - set((levels or {}).get(name, ())) for name in columns}
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
        types |= {c: pa.float64() for c in columns if c in as_numbers and may_be_number(types[c])}
        types |= {c: pa.string() for c in columns if c in self._converted}
        n_given, tolerant = first_row, False
        while True:
            try:
                for batch in self._batches(columns, types, batch_rows, n_given, as_numbers, tolerant=tolerant):
                    n_given += batch.num_rows
                    yield batch
                return
            except _UnfitCellError:
                tolerant = True
            except _UnevenRowError:
                self._is_uneven = True

    def _batches(
        self,
        columns: Sequence[str],
        types: dict[str, pa.DataType],
        batch_rows: int,
        first_row: int,
        as_numbers: Collection[str],
        *,
        tolerant: bool = False,
    ) -> Iterator[pa.RecordBatch]:
        """Yield the columns in these types. If ``tolerant``, cells that do not fit them make their row a bad one.

        Raise `_UnfitCellError` at the first such cell if the table was opened to leave out or mark bad rows, and
        `_UnevenRowError` at the first row of another width unless they are evened.
        """
        converted = dict(self._converted)
        if tolerant:
            formats = {c: self._converted.get(c) or format_of_type(types[c], self.dialect) for c in columns}
            converted = {c: cells for c, cells in formats.items() if cells is not None}
            types = types | dict.fromkeys(converted, pa.string())
        marker = self._marker(as_numbers)
        if marker is not None and marker in types:
            converted |= {marker: cells} if (cells := format_of_type(types[marker], self.dialect)) else {}
            types = types | {marker: pa.string()}
        n_read, even = 0, self._even_rows(as_numbers)
        # The last column is read in any case: its last cell shows whether a quote is not closed.
        last, cell = self._last, None
        types.setdefault(last, pa.binary())

        def chosen(batch: pa.RecordBatch) -> pa.RecordBatch:
            nonlocal cell, n_read
            if batch.num_rows and types[last] in (pa.string(), pa.binary()):
                cell = batch.column(last)[-1].cast(pa.binary()).as_py()
            first, n_read = n_read, n_read + batch.num_rows
            marks = None
            if marker is not None and marker in columns:
                batch, marks = without_marks(batch, marker)
            batch = self._read(batch.select(columns), first, converted, tolerant=tolerant)
            return batch if marks is None else batch.append_column(BAD_ROW, marks)

        try:
            with self._opened(types, even) as reader:
                yield from rebatch(skip_rows(map(chosen, reader), first_row), batch_rows)
        except (pa.ArrowException, OSError) as error:
            if self._on_bad != "error" and not tolerant and is_about_cell(error):
                raise _UnfitCellError from error
            raise self._diagnosis(types, error) from error
        if even is not None:
            self.n_short, self.n_dropped = even.n_short, even.n_long + even.n_cut
            self.n_notes = even.n_notes + even.n_repeats + even.n_totals
            self.dialect = replace(self.dialect, is_uneven=self.dialect.is_uneven or even.n_long > 0)
            if said := even.describe():
                warnings.warn(f"{self.path}: {said}", stacklevel=2)
        if cell is not None and ends_with_cell(
            self.path, cell, self.dialect.encoding, self.dialect.quote, *self._marks()
        ):
            raise self._diagnosis(types, TableError(UNCLOSED))

    def _read(
        self, batch: pa.RecordBatch, first_row: int, converted: Mapping[str, CellFormat], *, tolerant: bool
    ) -> pa.RecordBatch:
        """Return the batch with null in missing cells of text, and with converted numbers and times."""
        for index, name in enumerate(batch.schema.names):
            if len(self.dialect.delimiter) > 1 and pa.types.is_string(batch.column(index).type):
                batch = batch.set_column(index, name, with_separators(batch.column(index), self.dialect))
            if name in self._missing:
                batch = batch.set_column(index, name, without_tokens(batch.column(index), self._missing[name]))
            elif name in converted:
                read = read_what_can_be if tolerant else read_cells
                try:
                    batch = batch.set_column(index, name, read(batch.column(index), converted[name]))
                except BadCellError as error:
                    if self._on_bad != "error":
                        raise _UnfitCellError from error
                    place = f", row {first_row + error.row} (the first is row 0), column {name!r},"
                    raise self.unreadable(TableError(f"{error}; {remedy_of(name, error.cell)}"), place) from None
        return batch

    def _even_rows(self, as_numbers: Collection[str] = ()) -> EvenRows | None:
        """Return what gives the rows the same width; None if the reader finds out whether they have it.

        If rows with more cells are bad ones, these columns are infinite in them, or there is a mark in the `_marker`.
        """
        if not self._is_uneven:
            return None
        dialect = self.dialect
        width = len(dialect.names) + dialect.n_surplus
        marker = self._marker(as_numbers)
        marked = as_numbers if self._marks_long else []
        bad = [k for k, name in enumerate(dialect.names) if name in marked or name == marker]
        return EvenRows(
            dialect.mark,
            width,
            dialect.n_skipped,
            quote=dialect.quote,
            drops_long=self._drops_long,
            drops_cut=self._drops_cut,
            bad=bad,
            bad_cell="inf" if marker is None else BAD_ROW,
            header=dialect.repeated,
            has_empty=dialect.has_empty,
            totals=dialect.totals,
            begins_with_digits=bool(dialect.names) and self._begins_with_digits(dialect.names[0]),
        )

    def _begins_with_digits(self, column: str) -> bool:
        cells = self.dialect.formats.get(column)
        return cells is not None and cells.kind in ("number", "time") and not has_names(cells.time_format)

    def _marker(self, as_numbers: Collection[str]) -> str | None:
        """Return the column in which rows with more cells are marked, if the model reads no numbers."""
        names = [name for name in self._read_by_model if name in self.dialect.names]
        is_needed = self._is_uneven and self._marks_long and not {*as_numbers} & {*self.dialect.names}
        return names[0] if is_needed and names else None

    def _marks(self) -> list[Callable[[Any], bytes]]:
        """Return what separates cells by one character: those of fixed width, or of other separators."""
        if self.dialect.starts:
            return [FixedColumns(self.dialect.starts)]
        delimiter = self.dialect.delimiter
        return [SingleMarks(delimiter)] if is_blank(delimiter) or len(delimiter) > 1 else []

    @contextmanager
    def _opened(self, types: Mapping[str, pa.DataType], even: EvenRows | None) -> Iterator[Any]:
        """Open the columns; raise `_UnevenRowError` for a row of another width unless they are evened."""

        def stop(row: Any) -> str:
            self._is_uneven = True
            return "error"

        try:
            with self._open(types, even, on_invalid_row=stop) as reader:
                yield reader
        except pa.ArrowInvalid as error:
            if even is None and self._is_uneven:
                raise _UnevenRowError from error
            raise

    def _open(
        self,
        types: Mapping[str, pa.DataType],
        even: EvenRows | None,
        use_threads: bool = True,
        on_invalid_row: Callable[[Any], str] | None = None,
    ) -> Any:
        """Open the columns of ``types``, or all columns with the types that Arrow guesses if there are none."""
        dialect = self.dialect
        changes: list[Callable[[Any], bytes]] = [*self._marks(), *([even] if even else [])]
        surplus = [f"(surplus {k})" for k in range(dialect.n_surplus)]
        names = [*dialect.names, *surplus] if dialect.n_skipped or not dialect.has_header else None
        return arrow_csv.open_csv(
            in_utf8(self.path, dialect.encoding, *changes),
            arrow_csv.ReadOptions(
                block_size=self._BLOCK, use_threads=use_threads, column_names=names, skip_rows=dialect.n_skipped
            ),
            arrow_csv.ParseOptions(
                delimiter=dialect.mark,
                quote_char=dialect.quote,
                newlines_in_values=True,
                invalid_row_handler=on_invalid_row,
            ),
            arrow_csv.ConvertOptions(
                include_columns=list(types),
                column_types=types,
                null_values=list(dict.fromkeys((*MISSING_TEXTS, *MISSING_NUMBERS, *dialect.missing))),
                decimal_point=dialect.decimal,
            ),
        )

    def _diagnosis(self, types: Mapping[str, pa.DataType], error: BaseException) -> TableError:
        """Return the error with its row and column: Arrow numbers rows only if one thread reads them."""
        n_rows = 0
        invalid: list[Any] = []

        def stop(row: Any) -> str:
            invalid.append(row)
            return "error"

        try:
            with self._open(types, self._even_rows(), use_threads=False, on_invalid_row=stop) as reader:
                for batch in reader:
                    n_rows += batch.num_rows
        except (pa.ArrowException, OSError) as found:
            error = found
        # Arrow counts lines from 1, that of the names included.
        first = 1 + (self.dialect.n_skipped or self.dialect.has_header)
        row, column, text = explained(error, self.dialect.names, first, n_rows, invalid, self.dialect.encoding)
        place = "" if row is None else f", row {row} (the first is row 0)"
        place += "" if column is None else f", column {column!r}"
        return self.unreadable(TableError(text), place and place + ",")
