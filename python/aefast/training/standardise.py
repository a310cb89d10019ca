"""Puts the parts of the calibrated score on one scale, and gives the scores that fresh rows are compared with."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aefast.engine import core
from aefast.model.distances import SLOPE, Distances
from aefast.model.scaling import quantiles
from aefast.training.data import SCORE, CalibrationRows, Rows
from aefast.training.distances import FEW, fit_distances, units_of
from aefast.training.effects import TrainedNetwork

Array = NDArray[Any]
Doubles = NDArray[np.float64]

#: Numbers of folds for fewer than ENOUGH_ROWS rows, and for more or large networks. Of ENOUGH_ROWS, one fold is enough.
FOLDS, FEW_FOLDS, ENOUGH_ROWS = 5, 3, 450
#: The quantiles by which scores of learned rows are moved, and the least and largest slope of the line through them.
UPPER, SLOPES = tuple(np.linspace(0.5, 0.95, 10)), (0.8, 1.5)
#: With fewer rows, each row's own range without it is looked at.
MOST_ALONE = 20_000
#: Smallest spread of a part.
LEAST_SPREAD = 1e-6
# Levels of the upper end of scores.
_END = tuple(np.linspace(0.9, 0.99, 10))
# Weight, in fresh rows beyond the ninth decile, of the prior assumption that both upper ends are equally wide.
_ALIKE = 25
_SPREAD_OF_DECILES = 2.563
_LARGEST = float(np.finfo(np.float32).max)
# Values of columns in a block.
_VALUES = 1 << 20


def calibrated_distances(
    network: TrainedNetwork, rows: CalibrationRows, few: int = FEW, **scored: Any
) -> tuple[Distances, Doubles, Doubles | None]:
    """Return the calibrated score, and the scores and weights (n,) that fresh rows are compared with.

    Scores of rows that were learned are lower than those of fresh rows. Therefore

    - if at least ``few`` rows were held out, the parts are standardised by these. Scores of rows that were learned are
      moved to their distribution, so that they calibrate as well.
    - else the parts are standardised by all rows, and these are cross-fitted: in turn some rows are left out, network
      and distances are fitted to the others, and give the parts of those left out (Barber et al. 2021, CV+). Of enough
      rows, a third is left out once. The parts of the other rows that were learned are moved as those of this third.

    Rows that a user gave as held out are those that fresh rows are compared with, however few they are. In all cases a
    row that has the least or largest value of a column is judged by the range of the others. ``scored`` says what is
    scored: ``elements`` and ``uses_code`` of `fit_distances`.
    """
    found = fit_distances(network, rows, **scored)
    used = np.arange(len(rows.X)) if rows.used is None else rows.used
    weights = None if rows.weights is None else np.asarray(rows.weights, dtype=np.float64)
    parts = _parts(network.predictor, rows.X, found)
    is_fresh = np.zeros(len(parts), dtype=np.bool_)
    is_crossed = rows.held_out is None or (len(rows.held_out) < few and not rows.alone)
    is_standard = rows.held_out is not None and len(rows.held_out) >= FEW
    judged = rows.held_out if is_standard and rows.held_out is not None else used
    of_judged = None if weights is None else weights[judged]
    shares = (0.1, 0.5, 0.9)
    lower, median, upper = quantiles(parts[judged].T.astype(np.float64), shares, of_judged).T
    spread = np.maximum((upper - lower) / _SPREAD_OF_DECILES, LEAST_SPREAD)
    top = float(_largest(parts, median, spread)[used].max())
    if is_crossed:
        _cross_fit(parts, network, rows, used, scored)
    else:
        is_fresh[rows.held_out] = True

    scores = _largest(parts, median, spread)
    if not is_crossed:
        is_trusted = _trusted(rows)
        learned, fresh = used[is_trusted[used] & ~is_fresh[used]], used[is_trusted[used] & is_fresh[used]]
        if len(learned) and len(fresh):
            scores[learned] = as_fresh(scores, learned, fresh, weights)
    top = max(top, float(scores[used].max()))
    found = found._replace(calibration=np.column_stack([median, spread]), top=np.array([top]))
    if len(used) <= MOST_ALONE:
        beyond = _beyond_others(rows.X, used, found)
        with np.errstate(divide="ignore"):
            scores[used] = np.maximum(scores[used], top + SLOPE * np.log(2 * beyond)) + np.log1p(beyond)
    compared = rows.held_out if rows.alone and rows.held_out is not None else used
    return found, scores[compared], None if weights is None else weights[compared]


def _trusted(rows: CalibrationRows) -> NDArray[np.bool_]:
    """Return which rows (n,) are trusted."""
    found = np.ones(len(rows.X), dtype=np.bool_)
    if rows.distrusted is not None:
        found[rows.distrusted] = False
    return found


def _parts(predictor: core.Predictor, X: Array, distances: Distances) -> Array:
    """Return D, J and P (n, 3) of rows, as logarithms and finite."""
    parts = predictor.parts(X, distances)
    if not np.isfinite(parts).all():
        np.nan_to_num(parts, copy=False, nan=0.0, posinf=_LARGEST, neginf=-_LARGEST)
    return parts[:, :3]


def _largest(parts: Array, median: Doubles, spread: Doubles) -> Doubles:
    """Return the largest of each row's standardised parts (n,), one part after the other to save memory."""
    found = np.full(len(parts), -np.inf)
    for part, middle, unit in zip(parts.T, median, spread, strict=True):
        np.maximum(found, (part.astype(np.float64) - middle) / unit, out=found)
    return found


def _cross_fit(
    parts: Array, network: TrainedNetwork, rows: CalibrationRows, used: Rows, scored: dict[str, Any]
) -> None:
    """Replace the parts of the used rows by those of networks and distances that were fitted without them."""
    is_trusted, fitted = _trusted(rows), parts.copy()
    is_enough = len(used) >= ENOUGH_ROWS
    n_folds = min(FEW_FOLDS if network.is_heavy or is_enough else FOLDS, len(used))
    fold = network.choices.rng(SCORE, 2).permutation(len(used)) % n_folds
    for number in range(1 if is_enough else n_folds):
        out, others = used[fold == number], used[fold != number]
        learned = others[is_trusted[others]]
        if len(learned) == 0:
            continue
        again = replace(network, predictors=network.refit(learned) or network.predictors)
        apart = CalibrationRows(rows.X, others, learned, None, rows.distrusted, rows.ranges, rows.weights)
        found = fit_distances(again, apart, explains=False, **scored)
        parts[out] = _parts(again.predictor, rows.X[out], found)
    if is_enough:
        is_known, is_out = is_trusted[used], fold == 0
        _move(parts, fitted, used[is_known & is_out], used[is_known & ~is_out], rows.weights)


def _move(parts: Array, fitted: Array, out: Rows, learned: Rows, weights: Array | None) -> None:
    """Move the parts of ``learned`` rows to where they would be if the rows had not been learned.

    The rows ``out`` show how: ``fitted`` has their parts as learned rows, ``parts`` as rows that were left out. Learned
    rows are closer than fresh ones, those far out more so. Each part moves along the line through its upper quantiles
    with and without learning. These are correlated, so that few rows determine the line well.
    """
    if len(out) == 0:
        return
    of_out = None if weights is None else np.asarray(weights, dtype=np.float64)[out]
    befores, afters = quantiles(np.stack([fitted[out].T, parts[out].T]).astype(np.float64), UPPER, of_out)
    for part, before, x, y in zip(parts.T, fitted.T, befores, afters, strict=True):
        away = x - x.mean()
        slope = np.clip(away @ y / max(away @ away, LEAST_SPREAD), *SLOPES)
        moved = y.mean() + slope * (before[learned].astype(np.float64) - x.mean())
        part[learned] = np.clip(moved, -_LARGEST, _LARGEST)


def as_fresh(scores: Doubles, learned: Rows, fresh: Rows, weights: Doubles | None) -> Doubles:
    """Return the scores of rows that were learned, moved to where they would be if they had not been learned.

    Their upper half gets the mean of that of the fresh rows. Beyond the ninth decile, they are stretched to the width
    of the fresh rows' upper end, as far as there are enough of these to know it.
    """

    def levels_of(rows: Rows) -> tuple[float, float, float]:
        levels = quantiles(scores[rows], UPPER + _END, None if weights is None else weights[rows])
        upper, end = levels[: len(UPPER)], levels[len(UPPER) :]
        return float(upper.mean()), float(end[0]), float(end.mean() - end[0])

    (middle, ninth, width), (middle_of_fresh, _, width_of_fresh) = levels_of(learned), levels_of(fresh)
    n_beyond = 0.1 * len(fresh)
    stretch = max(0.0, width_of_fresh / max(width, LEAST_SPREAD) - 1) * n_beyond / (n_beyond + _ALIKE)
    moved: Doubles = scores[learned] + middle_of_fresh - middle + stretch * np.maximum(scores[learned] - ninth, 0)
    return moved


def _beyond_others(X: Array, used: Rows, distances: Distances) -> Doubles:
    """Return how far each used row lies beyond the ranges of the others, as B of the score."""
    beyond, n_columns = np.zeros(len(used)), len(distances.elements)
    if len(used) < 3:
        return beyond
    at_once = max(1, _VALUES // len(X))
    for part in (slice(begin, begin + at_once) for begin in range(0, n_columns, at_once)):
        low, high = distances.low[part], distances.high[part]
        # Columns side by side, as they are looked at.
        values = X.T[distances.elements[part]][:, used].astype(np.float64, order="C", copy=False)
        known = np.isfinite(values)
        counts = (known.sum(axis=1) >= 3) & (low < high)
        for sign, end in ((1.0, high), (-1.0, -low)):
            outward = np.where(known, sign * values, np.inf)[counts]
            columns, place = np.arange(len(outward)), outward.argmin(axis=1)
            first = outward[columns, place]
            outward[columns, place] = np.inf
            second = outward.min(axis=1)
            np.maximum.at(beyond, place, (second - first) / units_of(second, end[counts]))
    return beyond
