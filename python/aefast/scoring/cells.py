"""The cells in which a `ScoreSketch` counts scores."""

from __future__ import annotations

import hashlib
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import NDArray

from aefast.model.calibration import Calibration
from aefast.model.model import Model
from aefast.model.reference import ColumnCounter

# Scores are counted in cells: between the errors of the calibration, and between numbers of 8 significant bits.
_EXPONENTS, _STEPS = (-32, 96), 128


class ScoreGrid:
    """What sketches of one model share: the cells of scores, and the counter of columns."""

    def __init__(self, model: Model) -> None:
        self._model = model
        kept = model.calibration.errors
        numbers = _short_numbers().astype(kept.dtype)
        ends = np.insert(numbers, np.searchsorted(numbers, kept), kept)
        ends = ends[np.append(True, ends[1:] != ends[:-1])]
        #: The upper ends of the cells, as errors to look up; the counts are not used.
        self.ends: Calibration = Calibration(ends, np.arange(len(ends), 0, -1))
        #: For each cell, the place of its p-value among the calibration's levels.
        self.places: NDArray[np.int64] = np.concatenate([[0], np.searchsorted(kept, ends, side="right")])
        self.counter: ColumnCounter = ColumnCounter.of(model)

    @cached_property
    def digest(self) -> str:
        """A SHA-256 digest of everything that the counts depend on."""
        return hashlib.sha256(self._model.digest().encode() + self.counter.edges.tobytes()).hexdigest()


@lru_cache(maxsize=1)
def _short_numbers() -> NDArray[np.float64]:
    """Return all numbers of 8 significant bits between 2^-32 and 2^96, those below zero, and zero, ascending."""
    steps = (1 + np.arange(_STEPS) / _STEPS) * np.exp2(np.arange(*_EXPONENTS, dtype=np.float64))[:, None]
    return np.concatenate([-steps.ravel()[::-1], [0.0], steps.ravel()])
