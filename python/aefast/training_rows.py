"""The rows a file is learned from: all of them in memory, a random choice of them, or all of them block by block."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aefast._memory import available_memory
from aefast._reservoir import Reservoir
from aefast.formats import TableError
from aefast.tables import Source, feature_matrix, prefetch

__all__ = ["Blocks", "fits_in_memory", "read_sample"]

Array = NDArray[Any]

#: What is done to each block: it raises for values that cannot be learned.
Check = Callable[[Array, int], None]


class Blocks:
    """The rows of files as matrices of at most 32 MB, read anew each time it is gone through."""

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
        # Text takes about as much room as the numbers it says, and no more than a tenth of it when compressed.
        packed = (".gz", ".bz2", ".zst", ".lz4")
        n_bytes = sum(f.path.stat().st_size * (10 if f.path.suffix in packed else 1) for f in source.files)
    else:
        width = source.schema.field(0).type.list_size if columns is None else len(columns)
        n_bytes = source.n_rows * width * 8
    return n_bytes <= free // 2
