"""Fits the calibrated score (see `aefast.model.distances`) to a trained network and its training rows."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from aefast.model.distances import SLOPE, Distances
from aefast.model.whitening import Whitening, shrinkage, shrunk_covariance, turned_to_features
from aefast.training.clusters import centres_of, local_means
from aefast.training.data import SCORE, CalibrationRows, Rows
from aefast.training.effects import MAX_JOINT_ROWS, TrainedNetwork, effects, scaled_rows
from aefast.training.trust import chosen_rows, spans_of

Array = NDArray[Any]
Doubles = NDArray[np.float64]

#: Largest number of residuals and code units with a full matrix; with more, the matrix has `RANK` directions.
MAX_FULL, RANK = 256, 64
#: Numbers of centres and of local means, for tables of fewer than NARROW columns and for others.
NARROW, FEWER, MORE = 20, (24, 16), (32, 32)
#: Share of the rows in each local mean.
MASS = 0.1
#: Rows that centres and local means are computed from.
MAX_CENTRE_ROWS = 4096
#: Held-out rows that suffice to calibrate; with fewer, all rows do, each by distances that were fitted without it.
FEW = 200
#: Smallest eigenvalue of the correlations, as a share of the largest.
FLOOR = 1e-6
#: Smallest deviation in the scaled space; below it, rounding is all there is.
LEAST_DEVIATION = 1e-12
#: Unit in which a constant column lies beyond its value: a share of the value, or a number if the value is 0.
CONSTANT_SHARE, CONSTANT_UNIT = 0.01, 1e-3
# Numbers of a wide table that its directions are computed from.
_WIDE = 1 << 24
_LARGEST = 1e70
_SMALLEST = float(np.finfo(np.float64).tiny)


def fit_distances(
    network: TrainedNetwork,
    rows: CalibrationRows,
    *,
    elements: NDArray[np.int64] | None = None,
    uses_code: bool = True,
    explains: bool = True,
) -> Distances:
    """Return the distances of a network, which are not standardised yet.

    Parameters
    ----------
    network : TrainedNetwork
    rows : CalibrationRows
        With the trusted rows as ``train``, and with ``ranges``.
    elements : ndarray of shape (m,), int64, optional
        Inputs of the network to score; default all.
    uses_code : bool, default True
        Whether the code is part of the joint distance.
    explains : bool, default True
        Whether W is rotated to align with the features, for reasons. Scores do not depend on it.
    """
    rng = network.choices.rng(SCORE, 1)
    n_features = rows.X.shape[1]
    scores_all = elements is None and uses_code
    elements = np.arange(n_features, dtype=np.int64) if elements is None else elements
    learned, weights = _learning_rows(rows)

    def joint_of(inputs: Array, scaled: Doubles, is_missing: NDArray[np.bool_] | None = None) -> Doubles:
        joint = network.joint(inputs, scaled)
        residuals, codes = joint[:, :n_features], joint[:, n_features:]
        if network.missing == "mask" and is_missing is not None:
            residuals[is_missing] = 0
        if scores_all:
            return joint
        return np.hstack([residuals[:, elements], codes]) if uses_code else residuals[:, elements]

    few, few_weights = chosen_rows(len(learned), rng, weights, MAX_JOINT_ROWS)
    inputs = rows.X[learned[few]]
    scaled, is_missing = scaled_rows(inputs, network.scaling, network.missing)
    joint = joint_of(inputs, scaled, is_missing)
    # Weights that have nearly diverged can give values whose squares overflow.
    if not np.abs(joint).max() < _LARGEST:
        usable = (np.abs(joint) < _LARGEST).all(axis=1)
        joint, scaled = (each[usable] if usable.any() else np.zeros_like(each[:1]) for each in (joint, scaled))
        few_weights = None if few_weights is None or not usable.any() else few_weights[usable]

    own = scaled[:, elements]
    centre = np.average(joint, axis=0, weights=few_weights)
    centred = joint - centre
    rest = back = np.empty(0)
    if joint.shape[1] <= MAX_FULL:
        matrix = _full(centred, few_weights)
        if explains:
            whitening = Whitening(centre, matrix, *_usual(own, few_weights))
            changes = effects(whitening, joint, scaled, elements, lambda flat: joint_of(network.inputs(flat), flat))
            matrix = turned_to_features(whitening, changes).matrix
    else:
        matrix, rest, back = _low_rank(centred, few_weights, rng)

    span = spans_of(own.min(axis=0), own.max(axis=0))
    some, some_weights = rng.permutation(len(joint)), few_weights
    if len(joint) > MAX_CENTRE_ROWS:
        some = np.sort(some[:MAX_CENTRE_ROWS])
        centred, own, some_weights = centred[some], own[some], None if few_weights is None else few_weights[some]
    w = _whitened(centred, matrix, rest, back)
    z = np.ascontiguousarray(own / span)
    n_centres, n_means = FEWER if len(elements) < NARROW else MORE
    near = local_means(z, centres_of(z, n_means, rng, some_weights), MASS, some_weights)
    low, high, unit = _ranges(rows, elements)
    return Distances(
        elements=elements,
        centre=centre,
        matrix=np.ascontiguousarray(matrix),
        rest=rest,
        back=back,
        centres=centres_of(w, n_centres, rng, some_weights),
        span=span,
        means=near.means,
        spreads=near.spreads,
        calibration=np.array([[0.0, 1.0]] * 3),
        low=low,
        high=high,
        unit=unit,
        top=np.zeros(1),
        slope=np.array([SLOPE]),
    )


def _learning_rows(rows: CalibrationRows) -> tuple[Rows, Doubles | None]:
    """Return the trusted rows that distances are learned from and their weights: without the held-out rows, if these
    suffice to calibrate."""
    is_learned = np.zeros(len(rows.X), dtype=np.bool_)
    is_learned[slice(None) if rows.train is None else rows.train] = True
    if rows.held_out is not None and len(rows.held_out) < FEW and not rows.alone:
        is_learned[rows.held_out] = True
    if rows.distrusted is not None:
        is_learned[rows.distrusted] = False
    learned = np.flatnonzero(is_learned)
    return learned, None if rows.weights is None else np.asarray(rows.weights, dtype=np.float64)[learned]


def _full(centred: Doubles, weights: Doubles | None) -> Doubles:
    """Return the half-whitening matrix (p, p) of centred rows.

    It is L^(-1/4) of the correlations L on either side, with their deviations: whitening to the power of a half.
    Directions of large variance keep a part of their weight, and noise in directions that rows hardly ever take is not
    blown up.
    """
    covariance = shrunk_covariance(centred, weights)
    spread = np.maximum(np.sqrt(np.diag(covariance)), LEAST_DEVIATION)
    eigenvalues, vectors = np.linalg.eigh(covariance / np.outer(spread, spread))
    eigenvalues = np.maximum(eigenvalues, FLOOR * max(eigenvalues[-1], 1.0))
    matrix: Doubles = (vectors * eigenvalues**-0.25) @ vectors.T / spread
    return matrix


def _low_rank(centred: Doubles, weights: Doubles | None, rng: np.random.Generator) -> tuple[Doubles, Doubles, Doubles]:
    """Return ``matrix``, ``rest`` and ``back`` of `Distances`: `_full` with all but the largest eigenvalues equal.

    The largest directions come from a random range finder (Halko, Martinsson and Tropp 2011, algorithm 4.4).
    """
    p = centred.shape[1]
    chosen = np.sort(rng.permutation(len(centred))[: max(RANK, _WIDE // p)])
    rows, weights = centred[chosen], None if weights is None else weights[chosen]
    share = np.full(len(rows), 1 / len(rows)) if weights is None else weights / weights.sum()
    shrunk, mean_variance, variances = shrinkage(rows, share)
    deviation = np.maximum(np.sqrt((1 - shrunk) * variances + (shrunk + FLOOR) * mean_variance), LEAST_DEVIATION)
    rows = rows * np.sqrt(share)[:, None] / deviation
    sketch = rows.T @ (rows @ rng.normal(size=(p, RANK + 16)))
    for _ in range(2):
        sketch = rows.T @ (rows @ np.linalg.qr(sketch)[0])
    basis = np.linalg.qr(sketch)[0]
    _, singular, right = np.linalg.svd(rows @ basis, full_matrices=False)
    vectors, values = (right @ basis.T)[:RANK], (1 - shrunk) * singular[:RANK] ** 2
    # The variances of the correlations add up to p; what shrinking adds is the same in all directions.
    values = values + (p - (1 - shrunk) * np.square(rows).sum()) / p
    others = max((p - values.sum()) / (p - len(values)), FLOOR * values[0])
    values = np.maximum(values, others * (1 + 1e-6))
    matrix = np.sqrt(others**-0.5 - values**-0.5)[:, None] * vectors / deviation
    return matrix, others**-0.25 / deviation, others**-0.25 / (others**-0.25 + values**-0.25)


def _whitened(centred: Doubles, matrix: Doubles, rest: Doubles, back: Doubles) -> Doubles:
    """Return w (n, p) of centred rows."""
    w: Doubles = centred @ matrix.T
    return w if len(rest) == 0 else centred * rest - (w * back) @ matrix / rest


def _usual(rows: Doubles, weights: Doubles | None) -> tuple[Doubles, Doubles]:
    """Return mean and deviation of columns, 1 for constant ones."""
    mean = np.average(rows, axis=0, weights=weights)
    deviation = np.sqrt(np.average(np.square(rows - mean), axis=0, weights=weights))
    return mean, np.where(deviation > 1e-9, deviation, 1.0)


def _ranges(rows: CalibrationRows, elements: NDArray[np.int64]) -> tuple[Doubles, Doubles, Doubles]:
    """Return least and largest value of the elements, and the unit in which a value lies beyond them."""
    assert rows.ranges is not None
    low, high = (np.asarray(each, dtype=np.float64)[elements] for each in rows.ranges)
    return low, high, units_of(low, high)


def units_of(low: Doubles, high: Doubles) -> Doubles:
    """Return the units in which a value lies beyond the ranges of columns."""
    magnitude = np.maximum(np.abs(low), np.abs(high))
    # Values that differ by rounding have no range of their own.
    unit = np.maximum(high - low, FLOOR * magnitude)
    constant = np.where(magnitude > 0, CONSTANT_SHARE * magnitude, CONSTANT_UNIT)
    # The hundredth part of a value near the smallest double is zero.
    units: Doubles = np.maximum(np.where(high > low, unit, constant), _SMALLEST)
    return units
