"""Residuals and codes of rows, and how they change if one feature of a row changes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aefast.engine import core
from aefast.model.scaling import FeatureScaling
from aefast.model.whitening import KEPT, Whitening

Array = NDArray[Any]
Doubles = NDArray[np.float64]

#: Number of rows whose residuals and codes covariances are computed from, in double precision and more than once.
MAX_JOINT_ROWS = 8192
#: Number of usual rows in which each feature is changed to see its effect, and the change in its deviations.
EFFECT_ROWS, EFFECT_STEP = 32, 0.1


def scaled_rows(rows: Array, scaling: FeatureScaling, missing: str) -> tuple[Doubles, NDArray[np.bool_]]:
    """Return rows in the scaled space as the network reads them, and which of their values are missing."""
    scaled = scaling.apply(rows.astype(np.float64, copy=False))
    is_missing = np.isnan(scaled)
    if is_missing.any():
        scaled = np.where(is_missing, scaling.fill(missing), scaled)
    return scaled, is_missing


def residuals_and_codes(predictor: core.Predictor, rows: Array, scaled: Doubles) -> tuple[Array, Array]:
    """Return residuals and codes of rows, which are ``scaled`` in the scaled space."""
    both = predictor.outputs_and_codes(rows)
    n_features = scaled.shape[1]
    return scaled - both[:, :n_features], both[:, n_features:]


def effects(
    whitening: Whitening,
    joint: Doubles,
    scaled: Doubles,
    elements: NDArray[np.int64],
    joint_of: Callable[[Doubles], Doubles],
) -> Doubles:
    """Return how residual and code (m, p) change, on average over usual rows, if one of m features changes.

    Parameters
    ----------
    whitening : Whitening
        Tells which rows are usual, and the deviation of each feature.
    joint, scaled : ndarray of shape (n, p) and (n, d)
        Residuals and codes of rows, and the rows in the scaled space.
    elements : ndarray of shape (m,), int64
        The features to change.
    joint_of : callable
        Returns residuals and codes (k, p) of scaled rows (k, d).
    """
    distances = np.square((joint - whitening.centre) @ whitening.matrix.T).sum(axis=1)
    usual = np.argsort(distances, kind="stable")[: max(1, int(KEPT * len(scaled)))]
    base, m = scaled[usual[:: 1 + (len(usual) - 1) // EFFECT_ROWS]], len(elements)
    found = np.empty((m, len(whitening.centre)))
    at_once = max(1, MAX_JOINT_ROWS // (2 * len(base)))
    for first in range(0, m, at_once):
        places = np.arange(first, min(first + at_once, m))
        step = EFFECT_STEP * whitening.deviation[places]
        changed = np.tile(base, (2, len(places), 1, 1))
        for sign, rows in zip((1, -1), changed, strict=True):
            rows[np.arange(len(places)), :, elements[places]] += sign * step[:, None]
        moved = joint_of(changed.reshape(-1, scaled.shape[1]))
        up, down = moved.reshape(*changed.shape[:3], -1).mean(axis=2)
        found[places] = (up - down) / (2 * step[:, None])
    return found
