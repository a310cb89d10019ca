"""A random choice of a bounded number of rows from a stream of blocks."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


class Reservoir:
    """A uniform random choice of at most ``capacity`` of all rows added: those with the smallest random keys.

    Rows are replaced in place, so that the cost of a block depends on its size and not on that of the choice.
    """

    def __init__(self, rng: np.random.Generator, capacity: int) -> None:
        self._rng = rng
        self._capacity = capacity
        self._rows: Array | None = None
        self._keys = np.empty(0)
        self._places = np.empty(0, dtype=np.int64)
        self._n_seen = 0

    @property
    def n_rows(self) -> int:
        """Number of rows chosen."""
        return len(self._keys)

    def add(self, rows: Array) -> None:
        """Add rows to choose from."""
        keys = self._rng.random(len(rows))
        places = np.arange(self._n_seen, self._n_seen + len(rows))
        self._n_seen += len(rows)
        n_free = min(self._capacity - self.n_rows, len(rows))
        if n_free > 0 or self._rows is None:
            self._rows = np.array(rows[:n_free]) if self._rows is None else np.concatenate([self._rows, rows[:n_free]])
            self._keys = np.concatenate([self._keys, keys[:n_free]])
            self._places = np.concatenate([self._places, places[:n_free]])
        self._replace(rows[n_free:], keys[n_free:], places[n_free:])

    def _replace(self, rows: Array, keys: NDArray[np.float64], places: NDArray[np.int64]) -> None:
        offered = np.flatnonzero(keys < self._keys.max(initial=0.0))
        if len(offered) == 0 or self._rows is None:
            return
        n = self.n_rows
        stays = np.zeros(n + len(offered), dtype=np.bool_)
        stays[np.argpartition(np.concatenate([self._keys, keys[offered]]), n - 1)[:n]] = True
        slots, chosen = np.flatnonzero(~stays[:n]), offered[stays[n:]]
        self._rows = self._rows.astype(np.result_type(self._rows, rows), copy=False)
        self._rows[slots], self._keys[slots], self._places[slots] = rows[chosen], keys[chosen], places[chosen]

    def rows(self) -> Array:
        """Return the rows chosen so far, in the order in which they were added."""
        assert self._rows is not None
        return self._rows[np.argsort(self._places)]
