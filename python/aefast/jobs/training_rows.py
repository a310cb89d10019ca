"""The rows that a model is trained on: all of them in memory, a random sample, or all of them block by block."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from aefast.engine.memory import available_memory
from aefast.jobs.clock import Progress, no_progress
from aefast.tables.arrow import arrow_array, arrow_values
from aefast.tables.formats.base import TableError
from aefast.tables.numbers import feature_matrix, is_number
from aefast.tables.source import Source, prefetch
from aefast.training.data import NamedRows
from aefast.training.reservoir import Reservoir

Array = NDArray[Any]

#: Rows that `read_matrix` transposes at once: their columns fit the second-level cache.
ROW_BLOCK = 2_048

#: Called with each block and the position of its first row. Raises for values that cannot be learned, or returns which
#: rows can be learned, or None if all can.
Check = Callable[[Array, int], NDArray[np.bool_] | None]


class Blocks:
    """The rows of files as matrices of at most 64 MB. Each iteration reads the files again.

    Attributes
    ----------
    source : Source
        The files, with the columns' types decided.
    numeric : sequence of str
        The columns that are numbers.
    n_rows, n_bad : int
        Rows that are there, and those of them that are left out. Known after the first iteration.
    on_pass : callable
        Called at the beginning of each iteration; what it returns is called with the number of rows of each block.
    """

    def __init__(self, source: Source, columns: Sequence[str] | None, check: Check) -> None:
        self.source: Source = source
        self._columns, self._check = columns, check
        self._names = source.schema.names if columns is None else list(columns)
        self.numeric: Sequence[str] = self._names
        self.n_rows: int = 0
        self.n_bad: int = 0
        self.on_pass: Callable[[], Progress] = lambda: no_progress

    def __iter__(self) -> Iterator[Any]:
        block_rows = max(1024, self.source.batch_rows(len(self._names)))
        n_read = n_learned = 0
        progress = self.on_pass()
        for batch in prefetch(self.source.batches(self._names, block_rows, self.numeric), depth=1):
            block = self._block(batch, n_read)
            n_read += batch.num_rows
            n_learned += len(block)
            progress(batch.num_rows)
            yield block
        self._count(n_read, n_learned)

    def _block(self, batch: pa.RecordBatch, first_row: int) -> Any:
        X = np.ascontiguousarray(feature_matrix(batch, self._columns))
        good = self._check(X, first_row)
        return self._named(X if good is None else X[good])

    def _named(self, X: Array) -> Array | NamedRows:
        return X if self._columns is None else NamedRows(X, tuple(self._names))

    def _count(self, n_rows: int, n_learned: int) -> None:
        if n_learned == 0:
            bad = f": all {n_rows:,} are bad" if n_rows else ""
            raise TableError(f"{self.source.title} has no rows to learn from{bad}")
        n_dropped = sum(file.n_dropped for file in self.source.files)
        self.n_rows, self.n_bad = n_rows + n_dropped, n_rows - n_learned + n_dropped

    def read(self, progress: Progress = no_progress) -> Any:
        """All rows."""
        X = read_matrix(self.source, self._columns, progress=progress)
        n_rows, good = len(X), self._check(X, 0)
        X = X if good is None else X[good]
        self._count(n_rows, len(X))
        return self._named(X)

    def sample(self, n_rows: int, seed: int, progress: Progress = no_progress) -> Any:
        """A uniform random sample of at most ``n_rows`` rows, in their order, read in one pass."""
        sample = Reservoir(np.random.default_rng(seed), n_rows)
        for block in self:
            sample.add(block if self._columns is None else block.values)
            progress(len(block))
        return self._named(sample.rows())


class TableBlocks(Blocks):
    """The rows of files as Arrow tables, for columns of several kinds; ``numeric`` names those that are numbers.

    The check gets a matrix with every column: NaN marks missing values, and a value that is not a number is 0.
    """

    def __init__(self, source: Source, columns: Sequence[str], numeric: Sequence[str], check: Check) -> None:
        super().__init__(source, columns, check)
        self.numeric: Sequence[str] = list(numeric)

    def only(self, columns: Sequence[str]) -> TableBlocks:
        """Return blocks with some of the columns, unchecked; they can be read while the others are read."""
        numeric = [name for name in self.numeric if name in columns]
        return TableBlocks(self.source, columns, numeric, lambda X, first_row: None)

    def _block(self, batch: pa.RecordBatch, first_row: int) -> Any:
        good = self._check(_checkable(batch), first_row)
        return pa.Table.from_batches([batch if good is None else batch.filter(arrow_array(good))])

    def read(self, progress: Progress = no_progress) -> Any:
        """All rows as one table."""
        return self._table(progress, lambda block, first_row: block)

    def sample(self, n_rows: int, seed: int, progress: Progress = no_progress) -> Any:
        """A uniform random sample of at most ``n_rows`` rows, in their order. Takes two passes: one counts the rows."""
        n_there = sum(len(block) for block in self)
        chosen = np.sort(np.random.default_rng(seed).choice(n_there, min(n_rows, n_there), replace=False))

        def chosen_of(block: pa.Table, first_row: int) -> pa.Table:
            first, last = np.searchsorted(chosen, [first_row, first_row + len(block)])
            return block.take(arrow_array(chosen[first:last] - first_row))

        return self._table(progress, chosen_of)

    def _table(self, progress: Progress, choose: Callable[[pa.Table, int], pa.Table]) -> pa.Table:
        parts, n_read = [], 0
        for block in self:
            parts.append(choose(block, n_read))
            n_read += len(block)
            progress(len(block))
        # The type of a column may differ between files: dictionaries or text, or null if a file has no value.
        fields = [
            pa.field(field.name, _common_type([part.schema.field(field.name).type for part in parts]))
            for field in parts[0].schema
        ]
        return pa.concat_tables([part.cast(pa.schema(fields)) for part in parts])


def _checkable(batch: pa.RecordBatch) -> Array:
    """The numbers of a batch; other columns are NaN if a value is missing and else 0."""
    columns = [
        column if is_number(column.type) else arrow_array(np.where(arrow_values(column.is_null()), np.nan, 0.0))
        for column in batch.columns
    ]
    return feature_matrix(pa.record_batch(columns, batch.schema.names), batch.schema.names)


def _common_type(types: Sequence[pa.DataType]) -> pa.DataType:
    """The first type that is not null; the type of its values if it is a dictionary."""
    kind = next((kind for kind in types if not pa.types.is_null(kind)), types[0])
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def read_matrix(source: Source, columns: Sequence[str] | None, *, progress: Progress = no_progress) -> Array:
    """Return all rows as one C-ordered (n, d) array: float32 if that holds every column exactly, else float64.

    In C order the values of a row are adjacent, because training gathers rows at random.
    """
    names = source.schema.names if columns is None else list(columns)
    blocks: list[Array] = []
    whole: Array | None = None
    n_read = 0
    for batch in prefetch(source.batches(names, as_numbers=names)):
        X = feature_matrix(batch, columns)
        wanted = np.result_type(X.dtype, np.float32)
        if whole is None and source.n_rows is not None and len(source.files) == 1:
            whole = np.empty((source.n_rows, X.shape[1]), dtype=wanted)
        block = np.empty(X.shape, dtype=wanted) if whole is None else whole[n_read : n_read + len(X)]
        if block.dtype != wanted:  # a batch with missing values may need a wider dtype
            whole = None if whole is None else whole.astype(wanted)
            block = np.empty(X.shape, dtype=wanted) if whole is None else whole[n_read : n_read + len(X)]
        for start in range(0, len(X), ROW_BLOCK):
            block[start : start + ROW_BLOCK] = X[start : start + ROW_BLOCK]
        if whole is None:
            blocks.append(block)
        n_read += len(X)
        progress(len(X))
    if whole is not None:
        return whole
    if not blocks:
        width = source.schema.field(0).type.list_size if columns is None else len(names)
        return np.empty((0, width), dtype=np.float64)
    return np.concatenate(blocks)


def fits_in_memory(source: Source, columns: Sequence[str] | None) -> bool:
    """True if the rows as float64 take at most half of the memory that is available to this process."""
    free = available_memory()
    if free is None:
        return True
    if source.n_rows is None:
        # Text takes about as much room as the numbers in it.
        n_bytes = sum(file.n_bytes for file in source.files)
    else:
        width = source.schema.field(0).type.list_size if columns is None else len(columns)
        n_bytes = source.n_rows * width * 8
    return n_bytes <= free // 2


def count_missing(blocks: Iterable[Any], columns: Sequence[str] | None) -> dict[str, int]:
    """Return the number of missing values of each column of blocks, which are matrices or Arrow tables."""
    counts: dict[str, int] = {}
    for block in blocks:
        if isinstance(block, pa.Table):
            found = [_n_missing(column) for column in block.columns]
            names: Sequence[str] = block.column_names
        else:
            values = block.values if isinstance(block, NamedRows) else block
            names = [f"x{j}" for j in range(values.shape[1])] if columns is None else columns
            found = [0] * len(names) if values.dtype.kind != "f" else _n_nan(values)
        for name, count in zip(names, found, strict=True):
            counts[name] = counts.get(name, 0) + count
    return counts


def _n_nan(X: Array) -> list[int]:
    """Return the number of NaN in each column; the sum of a column shows fast that there is none."""
    with np.errstate(all="ignore"):
        if np.isfinite(X.sum()):
            return [0] * X.shape[1]
    return [int(count) for count in np.isnan(X).sum(axis=0)]


def _n_missing(column: pa.ChunkedArray) -> int:
    if not pa.types.is_floating(column.type):
        return int(column.null_count)
    return int(np.isnan(arrow_values(column)).sum())
