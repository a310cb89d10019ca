"""The calibrated score of a table with columns of several kinds: the score of its numbers joined with other evidence.

`docs/scores.md` describes it. Rows are encoded (see `aefast.columns.column.encode`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from aefast.columns.column import Column, hours_and_days, input_starts, moved_to_hours
from aefast.engine import core
from aefast.model.distances import Distances
from aefast.model.evidence import Evidence
from aefast.model.gaps import Gaps
from aefast.model.numbers import input_order, scored_inputs
from aefast.model.reasons import Reasons, as_expected
from aefast.model.scaling import FeatureScaling
from aefast.model.weekdays import shifted, weekdays_of

Array = NDArray[Any]
Doubles = NDArray[np.float64]

#: Rows that are judged at once, so that memory does not grow with the rows.
BLOCK_ROWS = 1 << 15
#: Gaps get the expected value given the other numbers. The network is not asked for it (see `Gaps.filled`): beside text
#: that says whether a number was measured, it has never learned what the number would have been.
GAP_ROUNDS = 0


class Judged(NamedTuple):
    """Joined scores of rows, and each column's part.

    Attributes
    ----------
    errors : ndarray of shape (n,)
    parts : ndarray of shape (n, C)
        Parts of the columns, at least 0, which add up to the error.
    states : ndarray of shape (n, C), int32
        The most probable level or hour of each column given the others; -1 if they do not tell it.
    outputs : ndarray of shape (n, m)
        Outputs of the network for the numbers of encoded rows (0 for levels), in input units.
    """

    errors: Doubles
    parts: Doubles
    states: NDArray[np.int32]
    outputs: Array


class Joined:
    """Scores encoded rows with the joined score.

    Parameters
    ----------
    columns : sequence of Column
    distances : Distances or None
        None if no column has numbers to score.
    engine : core.Evidence
    numbers : callable
        Returns the predictor of the numbers for a precision.
    gaps : Gaps or None
        Expected values of missing numbers.
    scaling : FeatureScaling
        Of the predictor's inputs.
    evidence : Evidence
        What ``engine`` computes. It also has the expected levels, and what is added to the scores of each weekday.
    """

    def __init__(
        self,
        columns: Sequence[Column],
        distances: Distances | None,
        engine: core.Evidence,
        numbers: Callable[[str], core.Predictor],
        gaps: Gaps | None,
        scaling: FeatureScaling,
        evidence: Evidence,
    ) -> None:
        self._columns, self._distances, self._engine, self._numbers = columns, distances, engine, numbers
        self._gaps, self._scaling, self._evidence, self._shifts = gaps, scaling, evidence, evidence.shifts
        self._of_numbers, of_levels = input_order(columns)
        self._order = np.concatenate([self._of_numbers, of_levels])
        self._scored = scored_inputs(columns)
        owner = np.repeat(np.arange(len(columns)), [column.n_inputs for column in columns])
        self._owners = owner[self._order]
        self._elements = np.searchsorted(self._of_numbers, self._scored)

    def joint(self, rows: Array, precision: str = "float32") -> Doubles | None:
        """Return the score (n,) of the numbers together, NaN for rows without any; None if none is scored."""
        if self._distances is None:
            return None
        predictor = self._numbers(precision)
        return self._scores(rows, predictor, *self._filled(rows, predictor))

    def errors(self, rows: Array, precision: str = "float32") -> Doubles:
        """Return the scores (n,)."""
        found = np.empty(len(rows))
        for begin in range(0, len(rows), BLOCK_ROWS):
            block = rows[begin : begin + BLOCK_ROWS]
            found[begin : begin + BLOCK_ROWS] = self._shifted(
                self._engine.errors(block, self.joint(block, precision)), block
            )
        return found

    def _shifted(self, scores: Doubles, rows: Array) -> Doubles:
        return shifted(scores, weekdays_of(rows, self._columns), self._shifts) if len(self._shifts) else scores

    def judge(self, rows: Array, precision: str = "float32") -> Judged:
        """Return the scores of a block of rows with each column's part."""
        joint, shares, outputs = None, None, np.zeros_like(rows)
        if self._distances is not None:
            predictor = self._numbers(precision)
            inputs, is_missing = self._filled(rows, predictor)
            # The score of usual rows is below zero, and so are its parts.
            parts = np.abs(predictor.feature_errors(inputs, "calibrated").astype(np.float64))
            shares = np.zeros((len(rows), len(self._columns)))
            if is_missing is not None:
                parts[:, self._elements] *= ~is_missing
            np.add.at(shares.T, self._owners, parts.T)
            total = shares.sum(axis=1, keepdims=True)
            shares /= np.where(total > 0, total, 1)
            joint = self._scores(rows, predictor, inputs, is_missing)
            outputs[:, self._order] = predictor.reconstruct(inputs)
        parts, states = self._engine.contributions(rows, joint, shares)
        scores = self._engine.errors(rows, joint)
        errors = self._shifted(scores, rows)
        if len(self._shifts):
            parts = parts * (errors / np.where(scores > 0, scores, 1))[:, None]
        return Judged(errors, parts, states, outputs)

    def parts(self, rows: Array) -> Doubles:
        """Return each column's part (n, C) of the scores."""
        blocks = range(0, max(len(rows), 1), BLOCK_ROWS)
        return np.concatenate([self.judge(rows[begin : begin + BLOCK_ROWS]).parts for begin in blocks])

    def limited(self, outputs: Array) -> Array:
        """Return outputs for the numbers within their range in training."""
        if self._distances is None:
            return outputs
        is_number = np.array([self._columns[at].kind == "numeric" for at in self._owners[: len(self._of_numbers)]])
        numbers = self._of_numbers[is_number]
        ranges = self._distances.low, self._distances.high
        low, high = (part[np.searchsorted(self._scored, numbers)] for part in ranges)
        outputs = outputs.copy()
        outputs[:, numbers] = np.clip(outputs[:, numbers], low, high)
        return outputs

    def reasons(self, rows: Array, top: int, precision: str = "float32") -> Reasons:
        """Return the columns with the largest parts of each row's score.

        A column whose value is missing is no reason, nor is one whose value is what is expected, at the precision at
        which it is shown.
        """
        blocks = [
            self._reasons(rows[begin : begin + BLOCK_ROWS], top, precision)
            for begin in range(0, max(len(rows), 1), BLOCK_ROWS)
        ]
        return Reasons(*map(np.concatenate, zip(*blocks, strict=True)))

    def _reasons(self, rows: Array, top: int, precision: str) -> Reasons:
        judged, n = self.judge(rows, precision), max(column.n_inputs for column in self._columns)
        outputs, ranked = self.limited(judged.outputs), judged.parts.copy()
        expected = np.zeros((len(rows), len(self._columns), n), dtype=rows.dtype)
        hours = iter(self._evidence.hours)
        for index, (at, column) in enumerate(zip(input_starts(self._columns), self._columns, strict=True)):
            values, usual = rows[:, at : at + column.n_inputs], judged.states[:, index].astype(np.int64)
            here = expected[:, index, : column.n_inputs]
            here[:] = outputs[:, at : at + column.n_inputs]
            # The most frequent level or hour, if other columns do not tell it.
            if column.kind == "categorical":
                here[:, 0] = np.maximum(usual, 0)
            is_expected = as_expected(values, here, column)
            if column.kind == "timestamp":
                counts = next(hours, np.empty(0))
                usual = np.where(usual < 0, counts.argmax() if counts.any() else -1, usual)
                here[usual >= 0] = moved_to_hours(values, usual)[usual >= 0]
                is_unknown = is_expected | (self._distances is None)
                is_expected = np.where(usual < 0, is_unknown, hours_and_days(values)[0] == usual)
            ranked[is_expected | np.isnan(values[:, 0]), index] = 0
        numbers = np.argsort(-ranked, axis=1, kind="stable")[:, :top]
        shares = np.take_along_axis(ranked, numbers, axis=1)
        shown = np.take_along_axis(expected, numbers[:, :, None], axis=1)
        columns = np.where(shares > 0, numbers, -1).astype(np.int32)
        shares = shares / np.where(judged.errors > 0, judged.errors, 1)[:, None]
        return Reasons(judged.errors, columns, shares, shown, np.empty((0, top)))

    def _filled(self, rows: Array, predictor: core.Predictor) -> tuple[Array, NDArray[np.bool_] | None]:
        """Return the predictor's inputs with expected values in gaps, and which elements were missing if any was."""
        inputs = self._evidence.with_expected_levels(rows, self._columns)[:, self._order]
        if self._gaps is None or self._distances is None:
            return inputs, None
        limits = self._distances.limits
        return self._gaps.filled_rows(inputs, self._elements, predictor, self._scaling, limits, GAP_ROUNDS)

    def _scores(
        self, rows: Array, predictor: core.Predictor, inputs: Array, is_missing: NDArray[np.bool_] | None
    ) -> Doubles:
        """Return the scores of the numbers, NaN for rows without a known number."""
        scores = predictor.errors(inputs, "calibrated").astype(np.float64)
        if self._gaps is not None and is_missing is not None:
            scores = self._gaps.calibrated(scores, is_missing)
        scores[np.isnan(rows[:, self._scored]).all(axis=1)] = np.nan
        return scores
