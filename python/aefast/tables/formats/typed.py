"""Files whose format has types. Integers and text that stand for times or codes are read as in a CSV file.

So a table has columns of the same kinds whether it is stored as Parquet, Arrow IPC or CSV: a column of numbers such as
1700000000 or 20240131, or text such as "2024-01-31", is a column of times.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path

import pyarrow as pa

from aefast.tables.arrow import is_text
from aefast.tables.cell_formats import format_of_cells
from aefast.tables.dialect import CellFormat, Dialect, Reading
from aefast.tables.formats.base import TableError, TableFile
from aefast.tables.formats.csv_cells import BadCellError, converted_type, read_cells
from aefast.tables.text import option_of, repeated

#: Rows whose values show what a column may mean; all rows must then agree.
_ROWS = 1 << 10


class TypedTable(TableFile):
    """A file with types. ``meanings`` are the formats of the columns that are converted when they are read."""

    meanings: Mapping[str, CellFormat]

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.meanings = {}

    @classmethod
    def read_by(cls, path: Path, reading: Reading | None) -> TypedTable:
        table, reading = cls(path), reading or Reading()
        found = table._known(reading) if reading.columns or reading.meanings is not None else table._found(reading)
        table.meanings = found
        if found:
            table.dialect = Dialect(formats=found)
            fields = [pa.field(f.name, _type_of(found[f.name])) if f.name in found else f for f in table.schema]
            table.schema = pa.schema(fields)
        return table

    def checked_batches(
        self, columns: Sequence[str], batch_rows: int, as_numbers: Collection[str] = (), *, first_row: int = 0
    ) -> Iterator[pa.RecordBatch]:
        n_read = first_row
        for batch in super().checked_batches(columns, batch_rows, as_numbers, first_row=first_row):
            yield self._converted(batch, n_read)
            n_read += batch.num_rows

    def _converted(self, batch: pa.RecordBatch, first_row: int) -> pa.RecordBatch:
        for index, name in enumerate(batch.schema.names):
            if name in self.meanings:
                try:
                    batch = batch.set_column(index, name, _read(batch.column(index), self.meanings[name]))
                except BadCellError as error:
                    place = f", row {first_row + error.row} (the first is row 0), column {name!r},"
                    remedy = f"mend it, or fit a model with --kind-of {option_of([name], '=categorical')}"
                    raise self.unreadable(TableError(f"{error}; {remedy}"), place) from None
        return batch

    def _known(self, reading: Reading) -> dict[str, CellFormat]:
        """Return the meanings of an earlier file, or of the columns of a model."""
        names = [name for name in self._candidates(reading) if not reading.columns or name in reading.columns]
        known = reading.meanings or (reading.learned.formats if reading.learned else {})
        times = [name for name in names if name not in known and reading.kinds.get(name) == "timestamp"]
        return {n: known[n] for n in names if n in known and _has_meaning(known[n])} | self._found(reading, times)

    def _found(self, reading: Reading, names: Sequence[str] | None = None) -> dict[str, CellFormat]:
        """Return the meanings that the values of columns show, by the first rows and then by all."""
        names = self._candidates(reading) if names is None else names
        first = next(self.batches(names, _ROWS), None) if names else None
        if first is None:
            return {}
        found = {}
        for name, column in zip(names, first.columns, strict=True):
            cells = _texts(column).drop_null().to_pylist()
            meaning = format_of_cells(cells, reading, ",", name) if cells else CellFormat("text")
            if _has_meaning(meaning) and (meaning.kind == "time" or pa.types.is_integer(column.type)):
                found[name] = meaning
        for batch in self.batches(list(found), 1 << 16) if found else ():
            for name in [*found]:
                try:
                    _read(batch.column(name), found[name])
                except BadCellError:
                    del found[name]
        return found

    def _candidates(self, reading: Reading) -> list[str]:
        """Return the columns of integers or text that may be times; a name that occurs twice is refused later."""
        fields = [f for f in self.schema if reading.kinds.get(f.name, "timestamp") == "timestamp"]
        names = [f.name for f in fields if pa.types.is_integer(f.type) or is_text(f.type)]
        return [] if repeated(self.schema.names) else names


def _has_meaning(cells: CellFormat) -> bool:
    return cells.kind in ("time", "code")


def _type_of(cells: CellFormat) -> pa.DataType:
    return pa.string() if cells.kind == "code" else converted_type(cells)


def _texts(column: pa.Array) -> pa.Array:
    """Return integers or text as plain text."""
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    return column.cast(pa.string())


def _read(column: pa.Array, cells: CellFormat) -> pa.Array:
    return _texts(column) if cells.kind == "code" else read_cells(_texts(column), cells)
