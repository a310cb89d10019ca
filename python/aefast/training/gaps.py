"""Missing values at the end of a training: filled before distances are fitted, calibrated after it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from aefast.engine import core
from aefast.model.distances import Distances
from aefast.model.gaps import MOST_COLUMNS, ROUNDS, Gaps, calibrated_gaps, uncalibrated_gaps
from aefast.model.scaling import FeatureScaling
from aefast.training.data import SCORE, CalibrationRows, Choices

Array = NDArray[Any]

#: Held-out rows that suffice to hide values in; with fewer, all rows serve.
_FEW = 200


def without_gaps(
    predictor: core.Predictor,
    rows: CalibrationRows,
    *,
    elements: NDArray[np.int64],
    scaling: FeatureScaling,
    choices: Choices,
    rounds: int = ROUNDS,
) -> tuple[CalibrationRows, Gaps | None, NDArray[np.bool_] | None]:
    """Return the rows with expected values in the gaps of ``elements``, what computed these, and the gaps (n, m)."""
    if len(elements) > MOST_COLUMNS:
        return rows, None, None
    learned = choices.few(rows.train, len(rows.X))
    gaps = uncalibrated_gaps(_scaled(rows.X[learned], elements, scaling), choices.rng(SCORE, 2))
    assert rows.ranges is not None
    limits = rows.ranges[0][elements], rows.ranges[1][elements]
    filled, is_missing = gaps.filled_rows(rows.X, elements, predictor, scaling, limits, rounds)
    return rows._replace(X=filled), gaps, is_missing


def calibrate_gaps(
    predictor: core.Predictor,
    gaps: Gaps,
    distances: Distances,
    rows: CalibrationRows,
    *,
    scaling: FeatureScaling,
    choices: Choices,
    rounds: int = ROUNDS,
) -> Gaps:
    """Return ``gaps`` with the effect of hidden values on scores; ``rows`` have their gaps."""
    held_out = rows.held_out
    judged = choices.few(rows.used if held_out is None or len(held_out) < _FEW else held_out, len(rows.X))
    elements = distances.elements
    first = rows.X[judged[:1]]

    def inputs(filled: NDArray[np.float64]) -> Array:
        found = np.repeat(first, len(filled), axis=0)
        expected = filled * scaling.scale[elements] + scaling.shift[elements]
        found[:, elements] = np.clip(expected, distances.low, distances.high)
        return found

    return calibrated_gaps(
        gaps,
        _scaled(rows.X[judged], elements, scaling),
        lambda filled: predictor.errors(inputs(filled), "calibrated", distances),
        lambda filled: np.asarray(predictor.reconstruct(inputs(filled), scaled=True)[:, elements], dtype=np.float64),
        choices.rng(SCORE, 3),
        rounds,
    )


def _scaled(rows: Array, elements: NDArray[np.int64], scaling: FeatureScaling) -> NDArray[np.float64]:
    found: NDArray[np.float64] = scaling.apply(rows.astype(np.float64))[:, elements]
    return found
