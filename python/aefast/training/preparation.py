"""The start of every training: initial weights, checks of rows and targets, the scaler, and rows not to learn."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aefast.columns.column import first_elements, is_level, n_levels_of_inputs
from aefast.engine.threads import one_blas_thread, resolve_threads
from aefast.model.metrics import PROBABILITIES
from aefast.model.numbers import input_order, scored_inputs
from aefast.model.parameters import initial_parameters, join_parameters, level_biases
from aefast.model.rows import element_names, input_names, require_finite
from aefast.model.scaling import FeatureScaling, Statistics, column_statistics, fit_scaler, merged, scaled_range
from aefast.training.data import SCORE, WEIGHTS, Choices, Rows, TrainingRows
from aefast.training.loop import Settings
from aefast.training.recipe import Recipe, Start
from aefast.training.reference_rows import ReferenceRows
from aefast.training.targets import check_range, check_sums
from aefast.training.trust import Trust

Array = NDArray[Any]

#: Rows that a scaler follows when rows come in calls or blocks: a first block may be unlike the rest.
ENOUGH_ROWS = 2000
#: Rows that tell whether a scaler still fits.
FEW_ROWS = 4096


@dataclass
class Preparation:
    """What a training decides before its first epoch: initial weights, scaler, and the rows that it does not learn.

    Attributes
    ----------
    recipe, settings, start
        What to train, when to stop, and where to start.
    continues_epochs : bool
        True in ``partial_fit``: the epochs of its calls are one sequence, and the optimizer keeps its state.
    keeps_scaler : bool
        True if the scaler is that of earlier training.
    """

    recipe: Recipe
    settings: Settings
    start: Start
    continues_epochs: bool = False
    keeps_scaler: bool = field(init=False, default=False)

    def __post_init__(self) -> None:
        recipe, start = self.recipe, self.start
        self._choices = Choices(start.seed)
        self._n_passes = start.n_passes
        self._reference_rows = ReferenceRows(recipe.columns, self._choices)
        self._early: tuple[Array, Array, ReferenceRows] | None = None
        network, dtype = recipe.network, self._of("dtype")
        if start.weights is not None:
            coefs, intercepts, norms = start.weights
            self._parameters = join_parameters(network, coefs, intercepts, dtype, norms)
            return
        self._parameters = initial_parameters(
            network, self._of("weight_init"), Choices(start.attempt_seed).rng(WEIGHTS), dtype
        )
        if recipe.columns is not None:
            self._parameters[-1] = level_biases(recipe.columns, self._parameters[-1])

    def _of(self, parameter: str) -> Any:
        return self.recipe.parameters[parameter]

    @property
    def score_metric(self) -> str:
        """The metric of the model's scores."""
        metric: str = self._of("score_metric")
        return "calibrated" if metric == "auto" else metric

    @property
    def _n_threads(self) -> int:
        return resolve_threads(self._of("n_threads"))

    def _trust(
        self, X: Array, rows: Rows | None, ranges: tuple[Array, Array], weights: Array | None = None, *key: int
    ) -> tuple[Trust | None, Rows | None]:
        """Return the rule that tells which rows to distrust, and these rows; None if all scores are errors alone."""
        scaling, columns = self._scaling, self.recipe.columns
        if columns is not None:
            elements = first_elements(columns)[scored_inputs(columns)]
            X, scaling = self._scored(X), scaling.part(elements)
            ranges = ranges[0][elements], ranges[1][elements]
        if self.score_metric != "calibrated" or X.shape[1] == 0:
            return None, None
        with one_blas_thread():
            return Trust.of(
                X,
                rows,
                scaling=scaling,
                missing=self._of("missing"),
                ranges=ranges,
                contamination=self._of("contamination"),
                rng=self._choices.rng(SCORE, 0, *key),
                weights=weights,
            )

    @property
    def _trains_on_trusted(self) -> bool:
        """Whether the network learns from trusted rows only. Rows are trusted by their numbers, which would be no
        reason to leave out their levels."""
        columns = self.recipe.columns
        return columns is None or all(column.kind == "numeric" for column in columns)

    def _ranges(self, statistics: Statistics) -> tuple[Array, Array]:
        """Return the least and largest value of each column, of earlier calls as well in `partial_fit`."""
        low, high = statistics["min"], statistics["max"]
        before = self.start.model.distances if self.continues_epochs and self.start.model is not None else None
        if before is None or len(before.elements) > len(low):
            return low, high
        low, high, at = low.copy(), high.copy(), before.elements
        low[at], high[at] = np.minimum(low[at], before.low), np.maximum(high[at], before.high)
        return low, high

    def _scored(self, X: Array) -> Array:
        """Return the numbers of rows by which they are trusted: all of them, without those of levels and weekdays."""
        return X if self.recipe.columns is None else X[:, scored_inputs(self.recipe.columns)]

    def statistics(self, data: TrainingRows, what: str = "X") -> Statistics:
        """Return statistics of elements; raise ValueError for values that are neither finite nor may be missing."""
        statistics = column_statistics(data.X, data.rows, self._n_threads)
        if statistics["n_nonfinite"].any():
            self.require_finite(data.X, what)
        if self.recipe.columns is None:
            return statistics
        n_levels = np.array(n_levels_of_inputs(self.recipe.columns))
        statistics["min"][n_levels > 0], statistics["max"][n_levels > 0] = 0, 1
        return {name: np.repeat(values, np.maximum(n_levels, 1)) for name, values in statistics.items()}

    def require_finite(self, X: Array, what: str) -> None:
        """Raise ValueError for NaN, unless values may be missing, and for infinity."""
        recipe, may_miss = self.recipe, self._of("missing") != "error"
        names, n_threads = recipe.column_names, self._of("n_threads")
        require_finite(X, what, names, recipe.columns, may_miss=may_miss, n_threads=n_threads)

    def _fit_scaling(
        self, data: TrainingRows, statistics: Statistics, targets: TrainingRows, held_out: Statistics | None = None
    ) -> None:
        """Fit the scaler, unless the weights to start from were trained behind one of the same kind that still fits.

        ``targets`` and the statistics are checked for values that the loss is not defined for.
        """
        kind, before = self._of("scaler"), self.start.model
        self.keeps_scaler = (
            before is not None and before.scaling.kind == kind and not self._outgrows(before.scaling, data)
        )
        if before is not None and self.keeps_scaler:
            scaling = before.scaling
        else:
            columns = self.recipe.columns
            names = input_names(self.recipe.column_names, columns)
            # These losses refuse rows beyond the range, and further training may train on the rows held out here.
            takes_all = held_out is not None and kind == "minmax" and self._of("loss") in PROBABILITIES
            ranges = merged(statistics, held_out) if held_out is not None and takes_all else statistics
            if columns is None:
                shift, scale = fit_scaler(kind, data.X, data.rows, ranges, names, data.sample_weight)
            else:
                inputs, n_levels = first_elements(columns), n_levels_of_inputs(columns)
                of_inputs = {key: part[inputs] for key, part in ranges.items()}
                fitted = fit_scaler(kind, data.X, data.rows, of_inputs, names, data.sample_weight)
                shift, scale = (np.repeat(part, np.maximum(n_levels, 1)) for part in fitted)
                shift[is_level(columns)], scale[is_level(columns)] = 0, 1
            scaling = FeatureScaling(kind, shift, scale, statistics["mean"])
        self._scaling = scaling
        # A scaler does not know the held-out rows, some of which may lie a little beyond the others.
        beyond = [held_out] if held_out is not None and kind is None else []
        self._check_targets(targets, [statistics, *beyond])

    def _outgrows(self, scaling: FeatureScaling, data: TrainingRows) -> bool:
        """Return whether the scaler has to be fitted anew: to few rows so far, or if many rows lie far beyond it."""
        if scaling.kind is None or self.continues_epochs:
            return self._early is not None
        rows = data.X[self._choices.few(data.rows, len(data.X), FEW_ROWS)]
        columns = self.recipe.columns
        if columns is not None:
            numbers = input_order(columns)[0]
            rows, scaling = rows[:, numbers], scaling.part(first_elements(columns)[numbers])
        return scaling.is_outgrown(rows)

    def _check_targets(self, targets: TrainingRows, statistics: Iterable[Statistics]) -> None:
        """Raise ValueError for rows, or columns with these statistics, that the loss is not defined for."""
        loss, kind, scaling = self._of("loss"), self._of("scaler"), self._scaling
        names = element_names(self.recipe.column_names, self.recipe.columns)
        for known in statistics:
            check_range(loss, kind, *scaled_range(known, scaling.shift, scaling.scale), names)
        check_sums(loss, kind, targets, scaling.shift, scaling.scale, self.recipe.network["groups"])
