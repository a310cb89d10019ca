"""ScoreSketch: counts of the rows that each partition has scored, which a driver adds up."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from aefast.columns.contents import contents
from aefast.exceptions import ModelFileError
from aefast.model.calibration import N_EXACT, Calibration
from aefast.model.container import pack, unpack
from aefast.model.drift import Drift, beyond_range, drift_of
from aefast.model.false_discoveries import reported_up_to
from aefast.model.layer import integer
from aefast.model.model import Model
from aefast.model.reference import BINS, ColumnCounts
from aefast.scoring.cells import ScoreGrid
from aefast.scoring.models import columns_for, model_of
from aefast.tables.collect import collected
from aefast.tables.files import MISFITS

Array = NDArray[Any]

FORMAT_VERSION = 1


class ScoreSketch:
    """Counts of scored rows that can be added up: of scores, of p-values, and of the values of each column.

    Partitions of a table make a sketch each, a driver merges them, and reads drift, a false-discovery cutoff or a new
    calibration from the sum. No row moves. Everything in a sketch is a sum over rows, or the largest 1,025 scores, so
    that partitions of any number and in any order give the same bytes.

    Scores are counted in cells between the errors of the model's calibration and between numbers of 8 significant
    bits. P-values and the cutoff are therefore exact. The p-values of a `calibration` from a sketch are not too small;
    they are exact up to 1025 / (n + 1).

    Parameters
    ----------
    model : estimator, Model, bytes, str or path
        As for `Scorer`. Sketches can be merged if they have the same model.

    Attributes
    ----------
    n_rows, n_scored : int
        Rows that were counted, and those of them that have a score.
    n_flagged : int
        Rows with a score above the model's threshold.

    See Also
    --------
    Scorer : Scores the rows of partitions.
    aefast.Autoencoder.recalibrate : The same for rows in memory.

    Examples
    --------
    >>> import numpy as np, aefast
    >>> rng = np.random.default_rng(0)
    >>> model = aefast.Autoencoder(max_epochs=2, random_state=0).fit(rng.normal(size=(2000, 4)))
    >>> day = rng.normal(size=(1000, 4))
    >>> day[:, 2] *= 100
    >>> parts = [aefast.ScoreSketch(model).update(part) for part in np.array_split(day, 5)]
    >>> sketch = aefast.ScoreSketch.from_bytes(parts[0].to_bytes(), model)
    >>> for part in parts[1:]:
    ...     sketch = sketch.merge(part)
    >>> sketch.n_rows
    1000
    >>> [column.name for column in sketch.drift().drifted]
    ['x2']
    """

    def __init__(self, model: Any) -> None:
        self.model: Model = model_of(model)
        self._grid = ScoreGrid(self.model)
        self.n_flagged: int = 0
        self._cells = np.zeros(len(self._grid.ends.errors) + 1, dtype=np.int64)
        self._largest = np.empty(0)
        self._columns = ColumnCounts.none(self.model.n_features_in)

    @property
    def n_rows(self) -> int:
        """Rows that were counted."""
        return self._columns.n_rows

    @property
    def columns(self) -> ColumnCounts:
        """Counts of the values in each column."""
        return self._columns

    @property
    def n_scored(self) -> int:
        """Rows that were counted and have a score."""
        return int(self._cells.sum())

    # Counting and adding up.

    def update(self, X: Any, errors: ArrayLike | None = None) -> ScoreSketch:
        """Count rows.

        Parameters
        ----------
        X : array-like of shape (n, d), data frame, Arrow table or record batch
            Rows as `Autoencoder.reconstruction_error` reads them. A table may have further columns, in any order.
        errors : array-like of shape (n,), optional
            The scores of these rows, NaN for a row without one, if they are known already. Default: they are computed.

        Returns
        -------
        ScoreSketch
            This sketch.

        Raises
        ------
        ValueError
            If the rows do not fit the model, or there is not one score for each.
        """
        X = collected(X)
        X = np.asarray(X) if isinstance(X, list | tuple) else columns_for(self.model, X)
        if len(X) == 0:
            return self
        scores = self.model.errors(X) if errors is None else np.asarray(errors)
        if scores.shape != (len(X),):
            raise ValueError(f"errors must be {len(X)} numbers, one for each row, got an array of shape {scores.shape}")
        columns = self.model.columns
        self.add(self.model.read(X) if columns is None else contents(X, columns), scores)
        return self

    def add(self, values: Any, scores: Array) -> None:
        """Count rows that were read and scored already; `update` reads and scores them.

        Parameters
        ----------
        values : ndarray of shape (n, C), or sequence of C contiguous arrays (n,) of one dtype
            The contents of the model's columns.
        scores : ndarray of shape (n,)
            Rows whose score is not finite count as rows without one.
        """
        self._columns = self._columns + self._grid.counter(values)
        scores = scores[np.isfinite(scores)]
        self.n_flagged += int(np.count_nonzero(scores.astype(np.float64) > self.model.threshold))
        self._cells += np.bincount(self._grid.ends.places(scores), minlength=len(self._cells))
        self._largest = _largest_of([self._largest, scores])

    def merge(self, *others: ScoreSketch) -> ScoreSketch:
        """Return the sketch of the rows of this sketch and of others; none of them changes.

        Parameters
        ----------
        *others : ScoreSketch
            Sketches that were made with the same model.

        Returns
        -------
        ScoreSketch
            A new sketch.

        Raises
        ------
        ValueError
            If a sketch was made with another model.
        """
        merged = ScoreSketch(self.model)
        merged._grid = self._grid
        for each in (self, *others):
            if each._grid is not self._grid and each._grid.digest != self._grid.digest:
                raise ValueError("sketches of different models cannot be merged: score all partitions with one model")
            merged.n_flagged += each.n_flagged
            merged._cells += each._cells
            merged._columns = merged._columns + each._columns
        merged._largest = _largest_of([each._largest for each in (self, *others)])
        return merged

    # What the counts say.

    def drift(self) -> Drift:
        """Return how the rows differ from the training rows.

        Returns
        -------
        Drift
            What changed in each column, and in the scores.
        """
        distance, critical, is_lower = None, 0.0, False
        if self.n_scored:
            calibration, counts = self.model.calibration, self.p_value_counts()
            distance = float(calibration.distance_of_counts(counts))
            critical = calibration.chance_distance(self.n_scored)
            is_lower = bool(counts[calibration.levels() > 0.5].sum() > self.n_scored / 2)
        return drift_of(self.model.column_names, self._columns, self.model.reference, distance, critical, is_lower)

    def quantile(self, q: float) -> float:
        """Return a quantile of the scores: the least counted score with a share of at least ``q`` up to it.

        Parameters
        ----------
        q : float in [0, 1]
            The share; 0.5 is the median.

        Returns
        -------
        float
            The score.

        Raises
        ------
        ValueError
            If no row was counted, or ``q`` is out of range.
        """
        if not 0 <= q <= 1:
            raise ValueError(f"q must be in [0, 1], got {q!r}")
        known = self.calibration()
        share = np.cumsum(known.weights()) / known.n_rows
        return float(known.errors[min(int(np.searchsorted(share, q - 1e-12)), len(share) - 1)])

    def p_value_counts(self) -> NDArray[np.int64]:
        """Count rows by p-value.

        Returns
        -------
        ndarray of shape (k,), int64
            The number of rows with each of the p-values ``model.calibration.levels()``.
        """
        counts = np.zeros(len(self.model.calibration.errors) + 1, dtype=np.int64)
        np.add.at(counts, self._grid.places, self._cells)
        return counts

    def p_value_cutoff(self, fdr: float) -> float | None:
        """Return the largest p-value to report by Benjamini and Hochberg's procedure; None if no row is reported.

        Rows with a p-value up to it are those that `Autoencoder.detect` reports among all rows together; give it to
        `Scorer` as ``p_value_cutoff``.

        Parameters
        ----------
        fdr : float in (0, 1)
            The false-discovery rate to allow.

        Returns
        -------
        float or None
            The p-value.

        Raises
        ------
        ValueError
            If ``fdr`` is not in (0, 1).
        """
        return reported_up_to(self.model.calibration.levels(), self.p_value_counts(), fdr) or None

    def calibration(self) -> Calibration:
        """Return a calibration with the scores of these rows.

        Returns
        -------
        Calibration
            From it, `recalibrated` takes threshold and p-values.

        Raises
        ------
        ValueError
            If no row has a score.
        """
        if self.n_scored == 0:
            raise ValueError("the sketch has no rows with scores")
        # The other scores are at most the least of the largest ones.
        others = self._cells - np.bincount(self._grid.ends.places(self._largest), minlength=len(self._cells))
        cells = np.flatnonzero(others)
        ends = np.minimum(np.append(self._grid.ends.errors.astype(np.float64), np.inf)[cells], self._largest[0])
        errors = np.concatenate([ends, self._largest]).astype(self._grid.ends.errors.dtype)
        return Calibration.of_counts(errors, np.concatenate([others[cells], np.ones(len(self._largest), np.int64)]))

    def recalibrated(self, contamination: float | None = None) -> Model:
        """Return the model with threshold and p-values from these rows, like `Autoencoder.recalibrate`.

        Parameters
        ----------
        contamination : float in (0, 0.5], optional
            At most this share of the rows is above the threshold. Default: as the model's parameter.

        Returns
        -------
        Model
            A new model, which differs in nothing else.

        Raises
        ------
        ValueError
            If ``contamination`` is out of range, no row was counted, or most rows are beyond what the model learned.
        """
        share = float(self.model.parameters.get("contamination", 0.1)) if contamination is None else contamination
        if not 0 < share <= 0.5:
            raise ValueError(f"contamination must be in (0, 0.5], got {contamination!r}")
        calibration = self.calibration()
        self.require_in_range()
        above = np.append(calibration.counts[1:], 0)
        threshold = calibration.errors[np.flatnonzero(above <= share * calibration.n_rows)[0]]
        return self.model.replace(offset=-float(threshold), calibration=calibration)

    def require_in_range(self) -> None:
        """Raise ValueError if most rows are beyond what the model learned, so that no threshold is sensible."""
        refusal = beyond_range(self.model.column_names, self._columns, self.model.reference)
        if refusal:
            raise ValueError(refusal)

    # Bytes.

    def to_bytes(self) -> bytes:
        """Return the sketch as bytes, which `from_bytes` reads.

        Returns
        -------
        bytes
            At most some 50 kB for rows like those of training.
        """
        cells = np.flatnonzero(self._cells)
        document = {"model": self._grid.digest, "rows": self.n_rows, "flagged": self.n_flagged}
        tensors = {
            "cells": cells.astype(np.float64),
            "counts": self._cells[cells].astype(np.float64),
            "largest": self._largest,
            "columns": self._columns.packed(),
        }
        return pack("sketch", FORMAT_VERSION, document, tensors)

    @classmethod
    def from_bytes(cls, data: bytes | bytearray | memoryview, model: Any) -> ScoreSketch:
        """Return the sketch that `to_bytes` has written.

        Parameters
        ----------
        data : bytes
            What `to_bytes` returned.
        model : estimator, Model, bytes, str or path
            The model that the sketch was made with.

        Returns
        -------
        ScoreSketch
            A sketch of the same rows.

        Raises
        ------
        ModelFileError
            If the bytes are no sketch, damaged, or of a sketch of another model.
        """
        sketch = cls(model)
        document, tensors, name = unpack(data, "sketch", FORMAT_VERSION)
        if document.get("model") != sketch._grid.digest:
            raise ModelFileError(f"{name} was made with another model: give the model that scored its rows")
        try:
            sketch._restore(integer(document["rows"], 0, 1 << 53), document, tensors)
        except MISFITS as error:
            raise ModelFileError(f"{name} is not valid: {type(error).__name__}: {error}") from error
        return sketch

    def _restore(self, n_rows: int, document: dict[str, Any], tensors: dict[str, Array]) -> None:
        """Take over what a file has; raise ValueError if its parts do not fit each other."""
        cells, counts = tensors["cells"].astype(np.int64), tensors["counts"].astype(np.int64)
        in_order = len(cells) == 0 or (cells[0] >= 0 and cells[-1] < len(self._cells) and (np.diff(cells) > 0).all())
        if cells.shape != counts.shape or not in_order or (counts <= 0).any() or counts.sum() > n_rows:
            raise ValueError("the counts of scores are not those of its rows")
        largest = tensors["largest"].astype(np.float64)
        if (
            len(largest) != min(int(counts.sum()), N_EXACT + 1)
            or not np.isfinite(largest).all()
            or (np.diff(largest) < 0).any()
        ):
            raise ValueError("the largest scores are not in order")
        if tensors["columns"].shape != (self.model.n_features_in, 3 + BINS):
            raise ValueError("the counts of columns have a wrong shape")
        self.n_flagged = integer(document["flagged"], 0, n_rows)
        self._cells[cells], self._largest = counts, largest
        self._columns = ColumnCounts.unpacked(n_rows, tensors["columns"])


def _largest_of(parts: list[Array]) -> NDArray[np.float64]:
    """Return the largest scores, ascending: as many as a calibration keeps exactly."""
    scores = np.concatenate([part.astype(np.float64) for part in parts])
    most = N_EXACT + 1
    if len(scores) > most:
        scores = np.partition(scores, len(scores) - most)[-most:]
    return np.sort(scores)
