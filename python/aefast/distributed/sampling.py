"""Rows that an engine draws or streams, on which the driver fits an estimator."""

from __future__ import annotations

import pickle
import zlib
from collections.abc import Callable, Iterable, Iterator
from numbers import Integral
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pyarrow as pa

from aefast.tables.arrow import batch_to_bytes
from aefast.tables.groups import take


def fraction_of(rows: int, count: Callable[[], int]) -> float:
    """Return the share of all rows to draw, so that practically never fewer than ``rows`` are drawn; at most 1.

    ``count`` returns the number of all rows. Engines draw each row by itself; `fit_sample` drops the surplus.
    """
    if isinstance(rows, bool) or not isinstance(rows, Integral) or rows < 1:
        raise ValueError(f"rows must be None or an integer of at least 1, got {rows!r}")
    wanted = rows + 8 * np.sqrt(rows) + 8  # eight standard deviations
    return float(min(1.0, wanted / max(count(), 1)))


def generator(*seeds: int) -> np.random.Generator:
    """Return a generator for these seeds; its numbers differ from those that a user draws with the same seeds.

    Otherwise a sample could depend on the rows: on a column of random numbers that the user drew with the same seed.
    """
    return np.random.default_rng([0xAEFA57, *seeds])


def fit_sample(estimator: Any, table: Any, rows: int, seed: int) -> Any:
    """Fit on a random choice of ``rows`` of the rows drawn, in their order, or on all if they are no more."""
    n_drawn = len(table)
    if n_drawn > rows:
        chosen = np.sort(generator(seed).choice(n_drawn, rows, replace=False))
        table = take(table, chosen)
    return estimator.fit(table)


def fit_stream(estimator: Any, tables: Iterable[Any]) -> Any:
    """Fit on all rows, which are kept in a temporary file: the engine computes them once, training reads them often.

    ``tables`` are data frames or Arrow tables. Minibatches are made within one of them, so they should not be small.
    """
    with TemporaryDirectory(prefix="aefast-") as folder:
        path = Path(folder) / "rows.pickle"
        with path.open("wb") as file:
            for table in tables:
                if len(table):
                    pickle.dump(table, file, pickle.HIGHEST_PROTOCOL)
        if path.stat().st_size == 0:
            raise ValueError("data has no rows to fit on")
        return estimator.fit_batches(_Blocks(path))


class _Blocks:
    """The tables of a file, which can be iterated over repeatedly."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __iter__(self) -> Iterator[Any]:
        with self._path.open("rb") as file:
            size = self._path.stat().st_size
            while file.tell() < size:
                yield pickle.load(file)


def joined(batches: Iterable[pa.RecordBatch], rows: int = 1 << 17) -> Iterator[pa.Table]:
    """Join batches to tables of at least this many rows; the last one may have fewer."""
    held: list[pa.RecordBatch] = []
    for batch in batches:
        held += [batch] if batch.num_rows else []
        if sum(b.num_rows for b in held) >= rows:
            yield pa.Table.from_batches(held).combine_chunks()
            held = []
    if held:
        yield pa.Table.from_batches(held).combine_chunks()


def drawn(table: Any, fraction: float, *seeds: int) -> Any:
    """Draw each row of a data frame or Arrow table with a probability; ``seeds`` differ between partitions."""
    return take(table, np.flatnonzero(generator(*seeds).random(len(table)) < fraction))


def packed(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Yield each batch as one value of a column: an Arrow stream, which engines can bring to the driver row by row."""
    for batch in batches:
        yield pa.record_batch([pa.array([batch_to_bytes(batch).to_pybytes()], pa.binary())], names=["batch"])


def unpacked(value: bytes) -> Iterator[pa.RecordBatch]:
    """Yield the batches of a `packed` value."""
    yield from pa.ipc.open_stream(value)


def checksum(table: pa.Table) -> int:
    """Return a number that follows from the rows of a table: a seed, for engines that do not number their parts."""
    value = 0
    for part in packed(table.combine_chunks().to_batches()):
        value = zlib.crc32(part.column(0)[0].as_buffer(), value)
    return value
