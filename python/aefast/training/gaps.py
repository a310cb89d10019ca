"""Missing values at the end of a training: filled before distances are fitted, calibrated after it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from aefast.model.distances import Distances
from aefast.model.gaps import MOST_COLUMNS, ROUNDS, Gaps, calibrated_gaps, uncalibrated_gaps
from aefast.training.data import SCORE, CalibrationRows
from aefast.training.effects import TrainedNetwork

Array = NDArray[Any]

#: Held-out rows that suffice to hide values in; with fewer, all rows serve.
_FEW = 200


def without_gaps(
    network: TrainedNetwork, rows: CalibrationRows, elements: NDArray[np.int64], rounds: int = ROUNDS
) -> tuple[CalibrationRows, Gaps | None, NDArray[np.bool_] | None]:
    """Return the rows with expected values in the gaps of ``elements``, what computed these, and the gaps (n, m)."""
    if len(elements) > MOST_COLUMNS:
        return rows, None, None
    learned = network.choices.few(rows.train, len(rows.X))
    gaps = uncalibrated_gaps(_scaled(network, rows.X[learned], elements), network.choices.rng(SCORE, 2))
    assert rows.ranges is not None
    limits = rows.ranges[0][elements], rows.ranges[1][elements]
    filled, is_missing = gaps.filled_rows(rows.X, elements, network.predictor, network.scaling, limits, rounds)
    return rows._replace(X=filled), gaps, is_missing


def calibrate_gaps(
    network: TrainedNetwork, gaps: Gaps, distances: Distances, rows: CalibrationRows, rounds: int = ROUNDS
) -> Gaps:
    """Return ``gaps`` with the effect of hidden values on scores; ``rows`` have their gaps."""
    held_out, choices, predictor = rows.held_out, network.choices, network.predictor
    judged = choices.few(rows.used if held_out is None or len(held_out) < _FEW else held_out, len(rows.X))
    elements = distances.elements
    first = rows.X[judged[:1]]

    def inputs(filled: NDArray[np.float64]) -> Array:
        found = np.repeat(first, len(filled), axis=0)
        expected = filled * network.scaling.scale[elements] + network.scaling.shift[elements]
        found[:, elements] = np.clip(expected, distances.low, distances.high)
        return found

    return calibrated_gaps(
        gaps,
        _scaled(network, rows.X[judged], elements),
        lambda filled: predictor.errors(inputs(filled), "calibrated", distances),
        lambda filled: np.asarray(predictor.reconstruct(inputs(filled), scaled=True)[:, elements], dtype=np.float64),
        choices.rng(SCORE, 3),
        rounds,
    )


def _scaled(network: TrainedNetwork, rows: Array, elements: NDArray[np.int64]) -> NDArray[np.float64]:
    found: NDArray[np.float64] = network.scaling.apply(rows.astype(np.float64))[:, elements]
    return found
