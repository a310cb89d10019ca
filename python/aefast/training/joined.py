"""Fits the calibrated score of a table with columns of several kinds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aefast.columns.column import Column, first_elements
from aefast.engine.threads import resolve_threads
from aefast.model.distances import Distances
from aefast.model.evidence import Evidence
from aefast.model.gaps import Gaps
from aefast.model.joined import GAP_ROUNDS
from aefast.model.numbers import input_order, scored_inputs
from aefast.model.tail import Tail
from aefast.model.weekdays import shifted, weekday_shifts, weekdays_of
from aefast.training.data import SCORE, CalibrationRows, Rows
from aefast.training.effects import TrainedNetwork
from aefast.training.evidence import expected_levels, fit_evidence
from aefast.training.gaps import calibrate_gaps, without_gaps
from aefast.training.standardise import calibrated_distances

Array = NDArray[Any]
Doubles = NDArray[np.float64]

#: Held-out rows that suffice to calibrate the score of numbers; with fewer, all rows do (see `calibrated_distances`).
#: Networks with levels as inputs fit the rows that they learn more closely than networks of numbers alone.
FEW = 500


def fit_joined(
    network: TrainedNetwork, rows: CalibrationRows, columns: Sequence[Column]
) -> tuple[Distances | None, Evidence, Gaps | None, Doubles, Doubles | None]:
    """Return the distances of the numbers, the evidence, the gaps, and scores and weights (n,) to compare rows with.

    Each of these rows is judged as if training had not had it: its values and pairs of values are taken out of the
    counts, and for its numbers see `calibrated_distances`.

    Parameters
    ----------
    network : TrainedNetwork
    rows : CalibrationRows
        Encoded rows.
    columns : sequence of Column
    """
    used = np.arange(len(rows.X)) if rows.used is None else rows.used
    # Rows that a user gave as held out are no training rows.
    compared = rows.held_out if rows.alone and rows.held_out is not None else used
    learned = np.setdiff1d(used, compared) if rows.alone else used
    weights = None if rows.weights is None else np.asarray(rows.weights, dtype=np.float64)[compared]
    masks_missing, n_threads = network.missing != "mean", resolve_threads(network.predictors.n_threads)
    # Numbers alone keep the score that they have without `column_kinds`, on another scale. With other columns the code
    # would hold levels and weekdays.
    is_plain = all(column.kind == "numeric" for column in columns)
    distances, gaps, joint = _of_numbers(replace(network, code="numbers"), rows, columns, compared, uses_code=is_plain)
    rng = network.choices.rng(SCORE, 3)
    if is_plain:
        found = Evidence((np.empty(0),) * len(columns), (None,) * len(columns))
    else:
        found = fit_evidence(rows.X[learned], columns, masks_missing=masks_missing, rng=rng, n_threads=n_threads)
        if network.missing == "mask" and distances is not None:
            found = replace(found, expected=expected_levels(rows.X[learned], columns, found))
    if joint is not None and np.isfinite(joint).any():
        is_known = np.isfinite(joint)
        tail = Tail.of(joint[is_known], None if weights is None else weights[is_known])
        found = replace(found, tails=(*found.tails[:-1], tail))
    engine = found.for_engine(columns, masks_missing=masks_missing, n_threads=n_threads, leaves_out=True)
    scores = engine.errors(rows.X[compared], joint, not rows.alone)
    days = weekdays_of(rows.X[compared], columns)
    if days is not None:
        found = replace(found, shifts=weekday_shifts(scores, days, weights))
        scores = shifted(scores, days, found.shifts)
    return distances, found, gaps, scores, weights


def _of_numbers(
    network: TrainedNetwork, rows: CalibrationRows, columns: Sequence[Column], compared: Rows, *, uses_code: bool
) -> tuple[Distances | None, Gaps | None, Doubles | None]:
    """Return the distances of the numbers, the gaps, and scores of the numbers, NaN for rows without any."""
    scored, (numbers, levels), first = scored_inputs(columns), input_order(columns), first_elements(columns)
    if len(scored) == 0:
        return None, None, None
    elements = np.searchsorted(numbers, scored)
    assert rows.ranges is not None
    low, high = (np.append(each[first[numbers]], np.zeros(len(levels))) for each in rows.ranges)
    of_numbers = rows._replace(X=rows.X[:, np.concatenate([numbers, levels])], ranges=(low, high))
    gapped, gaps, is_missing = of_numbers, None, None
    if network.missing == "mask":
        of_numbers, gaps, is_missing = without_gaps(network, of_numbers, elements, GAP_ROUNDS)
    distances, joint, _ = calibrated_distances(network, of_numbers, FEW, elements=elements, uses_code=uses_code)
    if gaps is not None:
        gaps = calibrate_gaps(network, gaps, distances, gapped, GAP_ROUNDS)
        joint = joint if is_missing is None else gaps.calibrated(joint, is_missing[compared])
    joint[np.isnan(rows.X[compared][:, scored]).all(axis=1)] = np.nan
    return distances._replace(elements=first[scored]), gaps, joint
