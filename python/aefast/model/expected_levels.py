"""Levels that stand for missing ones in the network's input, if training hardly ever had rows without them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from aefast.columns.column import Column

Array = NDArray[Any]


class ExpectedLevel(NamedTuple):
    """The most probable level of a column, given the state of one other column.

    Attributes
    ----------
    column : int
    context : int
        Number of the context that tells most about the level (see `aefast.model.evidence.contexts_of`); -1 for none.
    levels : ndarray of int64
        The level for each state of the context, and at the end the most frequent one, for a state that is not known.
    """

    column: int
    context: int
    levels: NDArray[np.int64]

    def packed(self) -> Array:
        """Return an array for the model file."""
        return np.array([self.column, self.context, *self.levels], dtype=np.float64)

    @classmethod
    def unpacked(cls, packed: Array, columns: Sequence[Column], contexts: Sequence[Any]) -> ExpectedLevel:
        """Return what `packed` has packed; raise ValueError if it does not fit the columns and their contexts."""
        if packed.ndim != 1 or len(packed) < 3 or not (packed == np.floor(packed)).all():
            raise ValueError("an expected level needs a column, a context and levels")
        column, context, *levels = packed.astype(np.int64).tolist()
        if not (0 <= column < len(columns) and -1 <= context < len(contexts)):
            raise ValueError("an expected level names a column or a context that is not there")
        n_states = contexts[context].n if context >= 0 else 0
        is_own = context >= 0 and contexts[context].column == column
        if columns[column].kind != "categorical" or is_own or len(levels) != n_states + 1:
            raise ValueError("an expected level does not fit its column or its context")
        if min(levels) < 0 or max(levels) >= len(columns[column].levels):
            raise ValueError("an expected level is none of its column's levels")
        return cls(column, context, np.array(levels, dtype=np.int64))
