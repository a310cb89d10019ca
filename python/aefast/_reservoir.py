"""A bounded random choice of rows from a stream of blocks."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


class Reservoir:
    """A uniform random choice of at most ``capacity`` of the rows it was given."""

    def __init__(self, rng: np.random.Generator, capacity: int) -> None:
        self._rng = rng
        self._capacity = capacity
        self._rows: Array | None = None
        self._keys = np.empty(0)

    @property
    def n_rows(self) -> int:
        """Rows in it."""
        return len(self._keys)

    def add(self, rows: Array) -> None:
        """Offer more rows; those with the smallest random keys stay."""
        keys = np.concatenate([self._keys, self._rng.random(len(rows))])
        together = np.array(rows) if self._rows is None else np.concatenate([self._rows, rows])
        chosen = np.sort(np.argpartition(keys, self._capacity)[: self._capacity]) if len(keys) > self._capacity else ...
        self._keys, self._rows = keys[chosen], together[chosen]

    def rows(self) -> Array:
        """The rows chosen so far."""
        assert self._rows is not None
        return self._rows
