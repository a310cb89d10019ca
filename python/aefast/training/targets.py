"""Checks of the rows that a crossentropy compares outputs with: values in [0, 1], and groups that sum to 1."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aefast.model.metrics import PROBABILITIES
from aefast.training.data import TrainingRows

Array = NDArray[Any]

#: Tolerances of values and of sums, for rounding: shares may be float16, or have three decimals.
OUTSIDE, OFF = 1e-6, 2e-3
BLOCK_ROWS = 4096


def check_range(loss: str, scaler: str | None, low: Array, high: Array, names: Sequence[str]) -> None:
    """Raise ValueError if ``loss`` is a crossentropy and a column, from ``low`` to ``high``, leaves [0, 1]."""
    outside = (low < -OUTSIDE) | (high > 1 + OUTSIDE)
    if loss not in PROBABILITIES or not outside.any():
        return
    column = int(outside.argmax())
    remedy = "use scaler='minmax', or scaler=None for values that are in [0, 1] already"
    if scaler == "minmax":
        remedy = "it was fitted to earlier rows; bring all rows into [0, 1] beforehand and use scaler=None"
    raise ValueError(
        f"loss={loss!r} needs values in [0, 1] after scaling, but with scaler={scaler!r} column {names[column]!r} lies "
        f"in [{low[column]:.6g}, {high[column]:.6g}]: {remedy}"
    )


def check_sums(
    loss: str, scaler: str | None, data: TrainingRows, shift: Array, scale: Array, groups: Sequence[tuple[int, int]]
) -> None:
    """Raise ValueError if ``loss`` is categorical crossentropy and a row's values in a group do not sum to 1.

    ``groups`` has (begin, end) of each group's columns; if it is empty, all columns are one group.
    """
    if loss != "categorical_crossentropy":
        return
    for first in range(0, data.n_rows, BLOCK_ROWS):
        block = slice(first, first + BLOCK_ROWS)
        rows = data.X[block if data.rows is None else data.rows[block]]
        scaled = (rows.astype(np.float64) - shift) / scale
        for begin, end in groups or [(0, scaled.shape[1])]:
            sums = scaled[:, begin:end].sum(axis=1)
            off = np.abs(sums - 1) > OFF
            if off.any():
                at = int(off.argmax())
                row = first + at if data.rows is None else int(data.rows[first + at])
                where = f" in columns {begin} to {end - 1}" if groups else ""
                raise ValueError(
                    f"loss={loss!r} needs rows of shares that sum to 1, but with scaler={scaler!r} row {row} sums to "
                    f"{sums[at]:.6g}{where}: give shares or one-hot columns with scaler=None, or use "
                    "loss='binary_crossentropy' if each column is a probability of its own"
                )
