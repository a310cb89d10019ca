"""A trained network as its score is fitted to it: residuals and codes of rows, and the effect of single features."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aefast.engine import core
from aefast.model.numbers import numbers_scaling
from aefast.model.predictors import Predictors
from aefast.model.scaling import FeatureScaling
from aefast.model.whitening import KEPT, Whitening
from aefast.training.data import Choices, Rows

Array = NDArray[Any]
Doubles = NDArray[np.float64]

#: Number of rows whose residuals and codes covariances are computed from, in double precision and more than once.
MAX_JOINT_ROWS = 8192
#: Number of usual rows in which each feature is changed to see its effect, and the change in its deviations.
EFFECT_ROWS, EFFECT_STEP = 32, 0.1


def scaled_rows(rows: Array, scaling: FeatureScaling, missing: str) -> tuple[Doubles, NDArray[np.bool_] | None]:
    """Return rows in the scaled space as the network reads them, and which of their values are missing, if any may."""
    scaled = scaling.apply(rows.astype(np.float64, copy=False))
    if missing == "error":
        return scaled, None
    is_missing = np.isnan(scaled)
    return np.where(is_missing, scaling.fill(missing), scaled), is_missing


@dataclass(frozen=True)
class TrainedNetwork:
    """A trained network, and how it is trained on other rows.

    Attributes
    ----------
    predictors : Predictors
    choices : Choices
        The random choices of the training.
    refit : callable
        Returns the predictors of the network trained on some rows instead, or None if it cannot be.
    is_heavy : bool
        Whether that takes long.
    code : {"mean", "numbers"}
        As of `Predictors.get`. "numbers" is the part that reads and reconstructs the numbers of a table.
    """

    predictors: Predictors
    choices: Choices
    refit: Callable[[Rows], Predictors | None]
    is_heavy: bool
    code: str = "mean"

    @property
    def predictor(self) -> core.Predictor:
        """The engine's predictor."""
        return self.predictors.get(self.code)

    @property
    def missing(self) -> str:
        """The treatment of missing values."""
        return self.predictors.missing

    @cached_property
    def scaling(self) -> FeatureScaling:
        """The map of the predictor's inputs into the scaled space."""
        scaling = self.predictors.scaling
        return scaling if self.code == "mean" else numbers_scaling(scaling, self.predictors.columns or ())

    def joint(self, rows: Array, scaled: Doubles) -> Doubles:
        """Return residuals and codes (n, d + q) of rows, which are ``scaled`` in the scaled space."""
        return self.predictor.residuals_and_codes(rows, scaled)

    def inputs(self, scaled: Doubles) -> Doubles:
        """Return rows of the scaled space in the units of the predictor's inputs."""
        rows = scaled * self.scaling.scale
        rows += self.scaling.shift
        return rows


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
