"""The rows a file is learned from: all of them in memory, a random choice of them, or all of them block by block."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from aefast.engine.memory import available_memory
from aefast.tables.arrow import arrow_array, arrow_values
from aefast.tables.formats.base import TableError
from aefast.tables.numbers import feature_matrix, is_number
from aefast.tables.source import Source, prefetch
from aefast.training.reservoir import Reservoir

__all__ = ["Blocks", "TableBlocks", "fits_in_memory", "read_sample", "read_table"]

Array = NDArray[Any]

#: What is done to each block: it raises for values that cannot be learned.
Check = Callable[[Array, int], None]


class Blocks:
    """The rows of files as matrices of at most 64 MB, read anew each time it is gone through."""

    def __init__(self, source: Source, columns: Sequence[str] | None, check: Check) -> None:
        self._source, self._columns, self._check = source, columns, check
        self.n_rows = 0

    def __iter__(self) -> Iterator[Array]:
        names = self._source.schema.names if self._columns is None else list(self._columns)
        block_rows = max(1024, self._source.batch_rows(len(names)))
        n_read = 0
        for batch in prefetch(self._source.batches(names, block_rows, names), depth=1):
            X = np.ascontiguousarray(feature_matrix(batch, self._columns))
            self._check(X, n_read)
            n_read += len(X)
            yield X
        if n_read == 0:
            raise TableError(f"{self._source.title} has no rows to learn from")
        self.n_rows = n_read


class TableBlocks:
    """The same as Arrow tables, for columns of several kinds; ``numeric`` names those that are numbers.

    What is checked has a column for each: of what is no number, NaN where a value is missing and else 0.
    """

    def __init__(self, source: Source, columns: Sequence[str], numeric: Sequence[str], check: Check) -> None:
        self._source, self._columns, self._numeric, self._check = source, list(columns), list(numeric), check
        self.n_rows = 0

    def only(self, columns: Sequence[str]) -> TableBlocks:
        """The same rows with some of the columns, whose values are not checked."""
        numeric = [name for name in self._numeric if name in columns]
        return TableBlocks(self._source, columns, numeric, lambda X, first_row: None)

    def __iter__(self) -> Iterator[pa.Table]:
        block_rows = max(1024, self._source.batch_rows(len(self._columns)))
        n_read = 0
        for batch in prefetch(self._source.batches(self._columns, block_rows, self._numeric), depth=1):
            self._check(_checkable(batch), n_read)
            n_read += batch.num_rows
            yield pa.Table.from_batches([batch])
        if n_read == 0:
            raise TableError(f"{self._source.title} has no rows to learn from")
        self.n_rows = n_read


def _checkable(batch: pa.RecordBatch) -> Array:
    """The numbers of a batch, and of its other columns which values are missing."""
    columns = [
        column if is_number(column.type) else arrow_array(np.where(arrow_values(column.is_null()), np.nan, 0.0))
        for column in batch.columns
    ]
    return feature_matrix(pa.record_batch(columns, batch.schema.names), batch.schema.names)


def read_table(
    blocks: TableBlocks, sample: int | None, seed: int, progress: Callable[[int], None] = lambda rows: None
) -> pa.Table:
    """All rows of the blocks as one table, or a uniform random choice of at most ``sample`` of them, in their order.

    The choice takes two passes: one counts the rows.
    """
    chosen: NDArray[np.int64] | None = None
    if sample is not None:
        n_rows = sum(len(block) for block in blocks)
        chosen = np.sort(np.random.default_rng(seed).choice(n_rows, min(sample, n_rows), replace=False))
    parts, n_read = [], 0
    for block in blocks:
        if chosen is None:
            parts.append(block)
        else:
            first, last = np.searchsorted(chosen, [n_read, n_read + len(block)])
            parts.append(block.take(arrow_array(chosen[first:last] - n_read)))
        n_read += len(block)
        progress(len(block))
    # Files may say the same things in other types, dictionaries and text for instance, or have no value to say.
    kinds = [
        pa.field(field.name, _told_type([part.schema.field(field.name).type for part in parts]))
        for field in parts[0].schema
    ]
    return pa.concat_tables([part.cast(pa.schema(kinds)) for part in parts])


def _told_type(types: Sequence[pa.DataType]) -> pa.DataType:
    kind = next((kind for kind in types if not pa.types.is_null(kind)), types[0])
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def read_sample(
    source: Source,
    columns: Sequence[str] | None,
    n_rows: int,
    seed: int,
    check: Check,
    progress: Callable[[int], None] = lambda rows: None,
) -> tuple[Array, int]:
    """A uniform random choice of at most ``n_rows`` rows, in their order, in one pass; and how many rows there are."""
    sample = Reservoir(np.random.default_rng(seed), n_rows)
    blocks = Blocks(source, columns, check)
    for X in blocks:
        sample.add(X)
        progress(len(X))
    return sample.rows(), blocks.n_rows


def fits_in_memory(source: Source, columns: Sequence[str] | None) -> bool:
    """Whether the rows as float64 take at most half of the memory that this process may have now."""
    free = available_memory()
    if free is None:
        return True
    if source.n_rows is None:
        # Text takes about as much room as the numbers it says.
        n_bytes = sum(f.n_bytes for f in source.files)
    else:
        width = source.schema.field(0).type.list_size if columns is None else len(columns)
        n_bytes = source.n_rows * width * 8
    return n_bytes <= free // 2
