"""Training rows and the random choices among them. Each choice depends only on the seed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from aefast.engine import core

Array = NDArray[Any]
Rows = NDArray[np.int64]

# One stream of random numbers for each purpose, so that no stream depends on how many numbers another one has drawn.
WEIGHTS, HELD_OUT, FEW, RESERVOIR, SCORE, REFERENCE = range(6)

#: Number of rows that suffices for a covariance or a threshold if not all rows can be read.
MAX_ROWS = 20_000


@dataclass(frozen=True)
class NamedRows:
    """Rows of an array with the names of its columns; `fit` and `fit_batches` accept it in place of a data frame."""

    values: Array
    names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.values)


@dataclass
class TrainingRows:
    """Rows of an array to train or evaluate on.

    Attributes
    ----------
    X : ndarray of shape (n, d)
    rows : ndarray of int64, or None
        Numbers of the rows to use; None is all of them.
    sample_weight : ndarray of shape (n,), float64, optional
    target : ndarray of shape (n, d), optional
        Rows to compare the outputs with; default ``X``.
    """

    X: Array
    rows: Rows | None
    sample_weight: NDArray[np.float64] | None = None
    target: Array | None = None

    @property
    def n_rows(self) -> int:
        """Number of rows to use."""
        return len(self.X) if self.rows is None else len(self.rows)

    def evaluate(self, trainer: core.Trainer, scaling: core.Scaling, beta: float) -> float:
        """Return the mean loss without training."""
        return trainer.evaluate(self.X, scaling, self.rows, self.sample_weight, self.target, beta)

    def penalty(self, trainer: core.Trainer, scaling: core.Scaling) -> float:
        """Return the mean penalty on the codes."""
        return trainer.mean_penalty(self.X, scaling, self.rows, self.sample_weight)


@dataclass(frozen=True)
class Choices:
    """The random choices of one training."""

    seed: int

    def rng(self, purpose: int, *key: int) -> np.random.Generator:
        """Return the generator of a stream."""
        return np.random.default_rng([self.seed, purpose, *key])

    def few(self, rows: Rows | None, n_rows: int, n_most: int = MAX_ROWS) -> Rows:
        """Return a random choice of at most ``n_most`` row numbers, ascending; ``rows`` None is all ``n_rows``."""
        n = n_rows if rows is None else len(rows)
        chosen = np.arange(n)
        if n > n_most:
            # Generator.choice would shuffle all of them.
            chosen = np.unique(self.rng(FEW).integers(n, size=n_most))
        return chosen if rows is None else rows[chosen]

    def split(self, n_rows: int, share: float, *key: int, before: int = 0) -> tuple[Rows | None, Rows | None]:
        """Return row numbers to train on (None: all) and to hold out (None: none), both ascending.

        The rows come after ``before`` others. In total, ``share`` of all rows so far are held out, rounded down.
        """
        n_held_out = int(share * (before + n_rows)) - int(share * before)
        if n_held_out == 0:
            return None, None
        held_out = np.zeros(n_rows, dtype=np.bool_)
        held_out[self.rng(HELD_OUT, *key).choice(n_rows, n_held_out, replace=False)] = True
        return np.flatnonzero(~held_out), np.flatnonzero(held_out)


def without(rows: Rows | None, others: Rows | None, n_rows: int) -> Rows | None:
    """Return the row numbers that are not among others; ``rows`` None stays None if there are no others."""
    if rows is None and (others is None or len(others) == 0 or len(others) == n_rows):
        return None
    if others is None or len(others) == 0:
        return rows
    kept = np.ones(n_rows, dtype=np.bool_)
    kept[others] = False
    return np.flatnonzero(kept) if rows is None else rows[kept[rows]]


class CalibrationRows(NamedTuple):
    """Rows (n, d) and the numbers of those that decide the threshold, were trained on, and were held out.

    None for ``used`` and ``train`` is all rows, None for ``held_out`` is no row. ``distrusted`` are rows that were not
    learned from, among all. ``ranges`` are the least and largest value (d,) of each column, and ``weights`` (n,) the
    weights of the rows. If ``alone``, the rows held out are all that scores of fresh rows are compared with.
    """

    X: Array
    used: Rows | None = None
    train: Rows | None = None
    held_out: Rows | None = None
    distrusted: Rows | None = None
    ranges: tuple[Array, Array] | None = None
    weights: Array | None = None
    alone: bool = False

    def few(self, choices: Choices, n_most: int = MAX_ROWS) -> CalibrationRows:
        """Return a random choice of the rows that decide, at most ``n_most``, and as many that were held out."""
        used, held_out = choices.few(self.used, len(self.X), n_most), self.held_out
        held_out = None if held_out is None else choices.few(held_out, len(self.X), n_most)
        numbers = used if held_out is None else np.union1d(used, held_out)

        def places(rows: Rows | None) -> Rows | None:
            return None if rows is None else np.searchsorted(numbers, np.intersect1d(rows, numbers))

        return CalibrationRows(
            self.X[numbers],
            places(used),
            places(self.train),
            places(held_out),
            places(self.distrusted),
            self.ranges,
            None if self.weights is None else self.weights[numbers],
            self.alone,
        )
