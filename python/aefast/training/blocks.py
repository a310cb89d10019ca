"""A training on blocks of rows that need not fit into memory together."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aefast.columns.learner import UnknownLevels
from aefast.model.scaling import Statistics, merged
from aefast.training.checkpoint import digest_of
from aefast.training.data import MAX_ROWS, RESERVOIR, CalibrationRows, Rows, TrainingRows, without
from aefast.training.fit import Fit
from aefast.training.preparation import ENOUGH_ROWS
from aefast.training.reference_rows import MOST_SCORES
from aefast.training.reservoir import Reservoir

Array = NDArray[Any]


@dataclass
class FitBlocks(Fit):
    """A training on blocks, of which a random choice of rows is kept to monitor and to calibrate on.

    Attributes
    ----------
    first : tuple of the first block and an ndarray of shape (n, d)
        The first block as a user gave it, and as the network reads it.
    others : iterator
        The blocks after it, as a user gave them.
    again : callable or None
        Returns all blocks again. None if they can be read only once; training is then one epoch.
    read : callable
        Turns a block into rows that the network reads.
    keeps_levels : bool
        True if the levels of columns are those of earlier training.
    unknown : UnknownLevels
        Counts later rows with other levels.
    """

    first: tuple[Any, Array] = field(kw_only=True)
    others: Iterator[Any] = field(kw_only=True)
    again: Callable[[], Iterable[Any]] | None = field(kw_only=True)
    read: Callable[[Any], Array] = field(kw_only=True)
    keeps_levels: bool = False
    unknown: UnknownLevels = field(init=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.unknown = UnknownLevels(self.recipe.columns)
        self._held_out = Reservoir(self._choices.rng(RESERVOIR, 0), MAX_ROWS)
        self._trained_on = Reservoir(self._choices.rng(RESERVOIR, 1), MAX_ROWS)
        self._digest = ""
        statistics, n_rows = self._look_at(0, *self.first, 0), len(self.first[1])
        #: The first blocks, which are read before training: all of them if they can be read again.
        self._ahead = [self.first]
        for index, given in enumerate(self.others if self.again is not None else (), start=1):
            block = self.read(given)
            statistics = merged(statistics, self._look_at(index, given, block, n_rows))
            n_rows += len(block)
        while self.again is None and n_rows < ENOUGH_ROWS and (given := self._next()) is not None:
            block = self.read(given)
            statistics = merged(statistics, self._look_at(len(self._ahead), given, block, n_rows))
            self._ahead.append((given, block))
            n_rows += len(block)
        self._fit_scaling(TrainingRows(self._trained_on.rows(), None), statistics, TrainingRows(self.first[1], None))
        self._statistics = statistics
        self._distrusted: dict[int, Array] = {}
        rows = self._calibration_rows() if self.again is not None else None
        self._rule = None if rows is None else self._trust(rows.X, None, self._ranges(statistics))[0]
        monitored = self._kept()
        if self._rule is not None and self._trains_on_trusted:
            trusted = ~self._rule.distrusts(self._scored(monitored))
            monitored = monitored[trusted] if trusted.any() else monitored
        self._prepare(
            statistics,
            TrainingRows(monitored, None),
            validates=self.again is not None and self._held_out.n_rows > 0,
            digest=None if self.again is None else lambda: self._digest,
        )

    def _next(self) -> Any:
        """Return the next block, None after the last one. An error of the iterator is raised when training is there."""
        try:
            return next(self.others, None)
        except Exception as error:  # of any kind, as it is a user's
            self.others = _raising(error)
            return None

    def _look_at(self, index: int, given: Any, block: Array, before: int) -> Statistics:
        """Keep a random choice of a block's rows and return its statistics; ``before`` rows came earlier."""
        self._reference_rows.add(given, block)
        if self.checkpoint is not None:
            self._digest = digest_of([block], self._digest)
        if self.keeps_levels or (self.again is None and index > 0):
            self.unknown.add(block)
        train, out = self._split(index, block, before)
        self._trained_on.add(block if train is None else block[train])
        if out is not None:
            self._held_out.add(block[out])
        return self.statistics(TrainingRows(block, None), f"block {index}")

    @property
    def follows_part(self) -> bool:
        """True if the scaler was not fitted on all of the rows."""
        return self.keeps_scaler or self.again is None

    def _split(self, index: int, block: Array, before: int) -> tuple[Any, Any]:
        return self._choices.split(len(block), self._of("validation_fraction"), index, before=before)

    def _epoch(self, number: int, rate: float) -> float:
        total, n_trained, before = 0.0, 0, 0
        ahead = self._ahead if self.again is None else []
        blocks = chain((given for given, _ in ahead), self.others) if self.again is None else self.again()
        for index, given in enumerate(blocks):
            block = ahead[index][1] if index < len(ahead) else self.read(given)
            if index > 0:
                is_new = self.again is None and index >= len(ahead)
                statistics = [self._look_at(index, given, block, before)] if is_new else []
                for known in statistics:
                    self._statistics = merged(self._statistics, known)
                self._check_targets(TrainingRows(block, None), statistics)
            data = TrainingRows(block, self._trusted(index, block, self._split(index, block, before)[0]))
            before += len(block)
            if data.n_rows:
                total += data.n_rows * self._pass(data, number, rate)
                n_trained += data.n_rows
        return total / n_trained

    def _kept(self) -> Array:
        return (self._held_out if self._held_out.n_rows else self._trained_on).rows()

    def _comparable_rows(self) -> tuple[Array, NDArray[np.int64] | None] | None:
        rows = self._held_out.rows() if self._held_out.n_rows else None
        return None if rows is None else (rows[:: 1 + (len(rows) - 1) // MOST_SCORES], None)

    def _trusted(self, index: int, block: Array, rows: Rows | None) -> Rows | None:
        """Return those of a block's rows to learn from. Blocks that are read again are judged once, by one rule."""
        if not self._trains_on_trusted:
            return rows
        packed = self._distrusted.get(index)
        if packed is None:
            if self._rule is not None:
                is_far = self._rule.distrusts(self._scored(block))
            else:
                statistics = self.statistics(TrainingRows(block, None))
                _, far = self._trust(block, None, self._ranges(statistics), None, index)
                if far is None:
                    return rows
                is_far = np.zeros(len(block), dtype=np.bool_)
                is_far[far] = True
            packed = np.packbits(is_far)
            if self.again is not None:
                self._distrusted[index] = packed
        return without(rows, np.flatnonzero(np.unpackbits(packed, count=len(block))), len(block))

    def _calibration_rows(self) -> CalibrationRows:
        held_out, trained = self._held_out, self._trained_on.rows()
        if self.score_metric != "calibrated":
            return CalibrationRows(self._kept())
        n = len(trained)
        rows = np.concatenate([trained, held_out.rows()]) if held_out.n_rows else trained
        ranges = self._ranges(self._statistics)
        distrusted = self._trust(rows, None, ranges)[1]
        return CalibrationRows(
            rows,
            None,
            without(np.arange(n), distrusted, len(rows)),
            np.arange(n, len(rows)) if held_out.n_rows else None,
            distrusted,
            ranges,
        )


def _raising(error: Exception) -> Iterator[Any]:
    """Return an iterator that raises the error."""
    raise error
    yield
