"""Rows to train or evaluate on, and what the engine says of them."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aefast.engine import core

Array = NDArray[Any]
Rows = NDArray[np.int64]


@dataclass
class Data:
    """Rows of an array to train or evaluate on; ``rows`` None is all of them."""

    X: Array
    rows: Rows | None
    sample_weight: NDArray[np.float64] | None = None
    target: Array | None = None

    @property
    def n_rows(self) -> int:
        """How many rows."""
        return len(self.X) if self.rows is None else len(self.rows)

    def evaluate(self, trainer: core.Trainer, scaling: core.Scaling, beta: float) -> float:
        """Mean loss without training."""
        return trainer.evaluate(self.X, scaling, self.rows, self.sample_weight, self.target, beta)

    def penalty(self, trainer: core.Trainer, scaling: core.Scaling) -> float:
        """Mean penalty on the codes."""
        penalties = trainer.penalties(self.X, scaling, self.rows)
        if self.sample_weight is not None:
            penalties = penalties * (self.sample_weight if self.rows is None else self.sample_weight[self.rows])
        return float(penalties.mean(dtype=np.float64))
