"""What every table format provides: a class that reads its files and one that writes them.

Nothing here imports pyarrow until rows are read, so that the command's help starts fast.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aefast.exceptions import AefastError
from aefast.tables.dialect import CellFormat, Dialect, Reading
from aefast.tables.files import MISFITS
from aefast.tables.text import one_line, shorten

if TYPE_CHECKING:
    import pyarrow as pa

#: Suffixes of compressed files.
COMPRESSED = (".gz", ".bz2", ".zst", ".lz4")


class TableError(AefastError, ValueError):
    """A file is not a table, or not the table that was asked for."""


class TableFile:
    """One file of rows. Its columns and types never change; `with_text` gives another file. A pass only updates
    counts, and whether rows are uneven.

    Attributes
    ----------
    schema : pyarrow.Schema
        Known without reading the rows.
    n_rows : int or None
        None if the format does not store the number of rows.
    row_width : int or None
        The number of values in a row of a nameless array; None for a table with named columns.
    guessed : frozenset of str
        Columns whose first cells are blank, in a format whose types are guessed: their type could be any.
    dialect : Dialect or None
        How a file of text is written.
    meanings : mapping of str to CellFormat, or None
        Columns of a file with types that are converted to times or codes; None for files of text and arrays.
    n_dropped : int
        Rows with too many cells that the last complete pass left out.
    n_short : int
        Rows with too few cells, whose last cells the last complete pass took for missing.
    n_notes : int
        Lines that are no rows, which the last complete pass left out.
    """

    #: The format stores no types: they are guessed from the first rows, and later cells may not fit them.
    types_are_guessed = False
    #: Reading one column takes as long as reading all of them.
    reads_all_columns = False
    dialect: Dialect | None = None
    meanings: Mapping[str, CellFormat] | None = None

    def __init__(self, path: Path) -> None:
        self.path = path
        self.schema: pa.Schema = None
        self.n_rows: int | None = None
        self.row_width: int | None = None
        self.guessed: frozenset[str] = frozenset()
        self.n_dropped: int = 0
        self.n_short: int = 0
        self.n_notes: int = 0

    @property
    def n_bytes(self) -> int:
        """The size of the file, or an estimate of its uncompressed size."""
        return self.path.stat().st_size

    @property
    def about_rows(self) -> int | None:
        """The number of rows, or an estimate of it; None if nothing is known about it."""
        return self.n_rows

    @classmethod
    def read_by(cls, path: Path, reading: Reading | None) -> TableFile:
        """Return the table in a file. ``reading`` has what is known about a file of text; other formats ignore it."""
        return cls(path)

    def with_text(
        self,
        columns: Collection[str],
        *,
        blank_is_missing: bool,
        levels: Mapping[str, Collection[str | None]] | None = None,
    ) -> TableFile:
        """Return the same file with these columns read as text, if the types of the format are guessed.

        Parameters
        ----------
        columns : collection of str
        blank_is_missing : bool
            Whether empty cells and words such as NA are missing values; otherwise they are text.
        levels : mapping of str to collection of str, optional
            Cells of a column that are text in any case.
        """
        return self

    def check_text(self, columns: Collection[str]) -> None:
        """Raise `TableError` with the row if the text in one of the columns is not UTF-8."""

    def batches(
        self, columns: Sequence[str], batch_rows: int, as_numbers: Collection[str] = (), *, first_row: int = 0
    ) -> Iterator[pa.RecordBatch]:
        """Yield the rows from ``first_row`` on in order, ``batch_rows`` at a time.

        ``as_numbers`` names the columns to read as float64, if the types of the format are guessed.
        """
        raise NotImplementedError

    def checked_batches(
        self, columns: Sequence[str], batch_rows: int, as_numbers: Collection[str] = (), *, first_row: int = 0
    ) -> Iterator[pa.RecordBatch]:
        """Yield the `batches`; raise `TableError` if they cannot be read or are not as many rows as the file states."""
        n_rows = first_row
        try:
            for batch in self.batches(columns, batch_rows, as_numbers, first_row=first_row):
                n_rows += batch.num_rows
                yield batch
        except TableError:
            raise
        except MISFITS as error:
            raise self.unreadable(error) from error
        if self.n_rows not in (None, n_rows):
            raise TableError(f"{self.path} states {self.n_rows:,} rows, but {n_rows:,} can be read; write it again")

    def unreadable(self, error: BaseException, place: str = "") -> TableError:
        """Return the error that this file, or a ``place`` in it, cannot be read."""
        return TableError(f"{self.path}{place} cannot be read: {shorten(one_line(error), 120)}")


#: A further column, of truth values, that marks rows of text files that cannot be scored whatever their cells are.
BAD_ROW = "\x1abad row"


class Writer:
    """Writes record batches to one file."""

    #: Whether lists and structs can be written.
    holds_nested = True
    #: Whether the file holds one column of numbers alone.
    holds_one_column = False
    #: Whether the target may be a stream instead of a path.
    takes_streams = True

    _writer: Any

    def __init__(self, target: Path | pa.NativeFile, schema: pa.Schema) -> None:
        raise NotImplementedError

    def write(self, batch: pa.RecordBatch) -> None:
        self._writer.write(batch)

    def close(self) -> None:
        self._writer.close()

    def abandon(self) -> None:
        """Close the file after an error, when nothing more can be written."""
        self._writer.close()


def is_compressed(path: Path) -> bool:
    """Whether a file is compressed, by its suffix in any case."""
    return path.suffix.lower() in COMPRESSED


def rebatch(batches: Iterable[pa.RecordBatch], batch_rows: int) -> Iterator[pa.RecordBatch]:
    """Yield the same rows in batches of exactly ``batch_rows``; the last batch may be shorter."""
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
    """Yield the batches without their first ``n_rows`` rows."""
    for batch in batches:
        skipped = min(n_rows, batch.num_rows)
        n_rows -= skipped
        yield batch.slice(skipped)


def _joined(batches: list[pa.RecordBatch]) -> pa.RecordBatch:
    import pyarrow as pa

    return batches[0] if len(batches) == 1 else pa.Table.from_batches(batches).combine_chunks().to_batches()[0]
