"""Model: a trained network with its scaling, threshold and calibration, as one finished, immutable object.

A model is complete when training ends or `Model.load` returns. Nothing here needs scikit-learn, so the command that
scores a file starts in a fraction of the time that importing an estimator takes.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from aefast.columns.column import starts
from aefast.columns.decoding import decode
from aefast.engine import core
from aefast.engine.threads import resolve_threads
from aefast.model import file
from aefast.model.data import ModelData
from aefast.model.joined import Joined
from aefast.model.metrics import checked_metric, likelihood_scale
from aefast.model.numbers import numbers_scaling
from aefast.model.predictors import Predictors
from aefast.model.reasons import MOST_REASONS, Reasons, as_frame, explanation_in_blocks, explanation_of, telling
from aefast.model.rows import element_names, overflow_error, read_rows, require_finite
from aefast.model.scaling import column_statistics
from aefast.tables.collect import collected, table_of
from aefast.tables.files import write_whole
from aefast.tables.numbers import readable

Array = NDArray[Any]


class Model(ModelData):
    """A trained network and everything that scores and decisions follow from.

    A model is immutable: its arrays are read-only, and the ``with_`` methods return new models. It may be used from
    several threads at once. The compiled predictor is built when it is first needed and kept.
    """

    _predictors: Predictors
    _row_shape: tuple[int, int] | None
    _joined: Joined | None

    def _start(self) -> None:
        """Start without compiled predictors."""
        weights = (self.network, self.coefs, self.intercepts, self.scaling, self.dtype, self.missing)
        arrays = (self.whitening, self.distances)
        predictors = Predictors(*weights, self.n_threads, self.input_ranges, *arrays, self.columns)
        is_plain = self.columns is None and self.missing == "error"
        self.__dict__.update(_predictors=predictors, _row_shape=(1, self.n_features_in) if is_plain else None)
        self.__dict__["_joined"] = None if self.evidence is None else self._join()

    def adopt(self, predictor: core.Predictor) -> None:
        """Score with a predictor that was compiled from the same weights, instead of compiling them again."""
        self._predictors.adopt(predictor)

    def recalibrated(self, X: Any, contamination: float) -> Model:
        """Return a model with threshold and calibration from the rows of ``X``; see `with_calibration`."""
        return self.with_calibration(self.errors(X), contamination)

    # Errors and decisions.

    def errors(self, X: Any, metric: str | None = None, precision: str = "float32") -> Array:
        """Return the anomaly score of each row, its reconstruction error; higher is more abnormal.

        Parameters
        ----------
        X : array-like of shape (n, d), data frame or Arrow table
            Finite numbers, or NaN and null if ``missing`` is not "error". Tables must have the columns of training.
        metric : str, optional
            See `Autoencoder.reconstruction_error`; default ``score_metric``.
        precision : {"float32", "bfloat16", "int8"}, default "float32"
            See `Autoencoder.reconstruction_error`.

        Returns
        -------
        ndarray of shape (n,), of ``dtype``

        Raises
        ------
        ValueError
            If the rows, the metric or the precision do not fit the model.
        """
        if type(X) is np.ndarray and X.shape == self._row_shape and metric is None and precision == "float32":
            # Fast path for one row. It needs one thread, so any predictor serves; no check takes a microsecond.
            finite_errors = self._predictors.finite_errors
            found = finite_errors(X, self.score_metric) if finite_errors and X.dtype.char in "fd" else None
            if found is not None:
                return found
        name = self._metric(metric)
        score = partial(self._errors, metric=name, precision=precision)
        errors: Array = self._scored_rows(self.read(X), precision, lambda rows: (score(rows),))[0]
        return errors

    def _filled(self, predictor: core.Predictor, rows: Array, metric: str) -> tuple[Array, NDArray[np.bool_] | None]:
        """Return rows with expected values in their gaps, if the model knows any, and which values were missing."""
        if self.gaps is None or self.distances is None or metric != "calibrated":
            return rows, None
        return self.gaps.filled_rows(rows, self.distances.elements, predictor, self.scaling, self.distances.limits)

    def _errors(self, rows: Array, metric: str, precision: str = "float32") -> Array:
        if self._joined is not None and metric == "calibrated":
            return self._joined.errors(rows, precision).astype(self.dtype)
        predictor = self._predictors.get(precision=precision)
        rows, is_missing = self._filled(predictor, rows, metric)
        errors = predictor.errors(rows, metric)
        return errors if is_missing is None or self.gaps is None else self.gaps.calibrated(errors, is_missing)

    def _feature_errors(self, predictor: core.Predictor, rows: Array, metric: str) -> Array:
        rows, is_missing = self._filled(predictor, rows, metric)
        errors = self._by_column(predictor.feature_errors(rows, metric))
        return errors if is_missing is None or self.gaps is None else self.gaps.of_known(errors, is_missing)

    def errors_of_columns(self, columns: Sequence[Array], precision: str = "float32") -> Array | None:
        """Return the errors of rows given as contiguous columns (n,) of one dtype, which are read in place.

        Returns None if `errors` has to be called instead: if values may be missing, columns are of several kinds, or a
        value is not finite.
        """
        if self.missing != "error" or self.columns is not None:
            return None
        errors = self._predictors.get(precision=precision).errors(columns, self._metric(None))
        return errors if np.isfinite(errors).all() else None

    def errors_of_inputs(self, rows: Array) -> Array:
        """Return the errors of rows (n, D) that `rows` has returned, without a check."""
        return self._errors(rows, self.score_metric)

    def is_anomaly(self, X: Any) -> NDArray[np.bool_]:
        """Return which rows have an error above the threshold."""
        return self.errors(X).astype(np.float64) > self.threshold

    def p_values(self, X: Any) -> NDArray[np.float64]:
        """Return conformal p-values of rows (see `aefast.model.calibration.Calibration`)."""
        return self.p_values_of(self.errors(X))

    def p_values_of(self, errors: ArrayLike) -> NDArray[np.float64]:
        """Return conformal p-values of rows whose `errors` are known."""
        return self.calibration.p_values(errors)

    def check_precision(self, precision: str) -> None:
        """Raise ValueError if the model cannot compute in the precision."""
        self._predictors.ranges_for(precision)

    # Codes and reconstructions.

    def codes(self, X: Any, *, part: str = "mean", top_k: int | None = None) -> Array:
        """Return the codes (n, q) of rows.

        Parameters
        ----------
        X : array-like of shape (n, d), data frame or Arrow table
            As in `errors`.
        part : {"mean", "log_variance"}, default "mean"
            Which part of a code that training draws.
        top_k : int, optional
            Outputs that a top-k code keeps in a row; default as in training.
        """
        predictor = self._predictors.get(part, top_k=top_k)
        return self._finite(predictor.encode(self.rows(X)), "code")

    def decode(self, Z: ArrayLike) -> Array:
        """Return the rows (n, d), in input units, that the decoder makes of codes (n, q)."""
        predictor = self._predictors.get()
        codes = readable(np.asarray(Z))
        if codes.ndim != 2 or codes.shape[1] != self.n_codes:
            raise ValueError(f"Z has {codes.shape[-1]} columns, but the code of this {self.kind} has {self.n_codes}")
        self.require_finite(codes, "Z")
        return self._as_values(predictor.decode(codes))

    def reconstruct(self, X: Any) -> Array:
        """Return the reconstructions (n, d) of rows in input units; see `Autoencoder.reconstruct`."""
        predictor = self._predictors.get()
        return self._as_values(predictor.reconstruct(self.rows(X)))

    def row_losses(self, X: Any, seed: int) -> Array:
        """Return minus the evidence lower bound (n,) of each row, for a code that ``seed`` draws."""
        predictor = self._predictors.get("draw")
        scale = likelihood_scale(self.loss)
        losses = predictor.losses(self.rows(X), self.loss, scale=scale, beta=1.0, seed=seed)
        return self._finite(losses, "evidence lower bound")

    # Reasons.

    def feature_errors(self, X: Any) -> Array:
        """Return each feature's part (n, d) of its row's error by ``score_metric``."""
        rows, metric = self.rows(X), self._metric(None)
        if self._joined is not None and metric == "calibrated":
            return self._finite(self._joined.parts(rows).astype(self.dtype), "error")
        return self._finite(self._feature_errors(self._predictors.get(), rows, metric), "error")

    def has_reasons(self, top: int) -> bool:
        """Return whether `reasons` gives ``top`` reasons a row; `explain` gives any number.

        With ``missing="mean"`` it does not: a mean that stands for a missing value is no reason.
        """
        if self._joined is not None and self.score_metric == "calibrated":
            return top > 0
        return 0 < top <= MOST_REASONS and self.missing != "mean"

    def reasons(self, X: Any, top: int, precision: str = "float32") -> Reasons:
        """Return errors and, in the same pass, the ``top`` features with the largest shares of each; see `has_reasons`.

        Parameters
        ----------
        X : array-like of shape (n, d), data frame or Arrow table
            As in `errors`.
        top : int in [1, 16]
            Features a row, at most as many as there are.
        precision : {"float32", "bfloat16", "int8"}, default "float32"
            As in `errors`.
        """
        rows, metric = self.read(X), self._metric(None)
        if self._joined is not None and metric == "calibrated":
            joined = self._joined
            found = Reasons(*self._scored_rows(rows, precision, lambda rows: joined.reasons(rows, top, precision)))
            return found._replace(errors=found.errors.astype(self.dtype))
        found = self._reasons(rows, top, precision)
        most = min(MOST_REASONS, self.n_features_in)
        return telling(found, rows, self.columns, top, lambda some: self._reasons(rows[some], most, precision))

    def _reasons(self, X: Array, top: int, precision: str) -> Reasons:
        """Return the ``top`` reasons of rows as `read` returns them, with expected values that occur in training."""
        metric, predictor = self._metric(None), self._predictors.get(precision=precision)

        def reasons(rows: Array) -> Reasons:
            rows, is_missing = self._filled(predictor, rows, metric)
            found = Reasons(*predictor.reasons(rows, metric, top=top))
            if is_missing is None or self.gaps is None:
                return found
            hidden = np.take_along_axis(is_missing, found.columns.astype(np.intp), axis=1)
            errors = self.gaps.calibrated(found.errors, is_missing)
            return found._replace(errors=errors, values=np.where(hidden, np.nan, found.values))

        found: Reasons = self._scored_rows(X, precision, reasons)
        fits = np.isfinite(found.expected).reshape(*found.columns.shape, -1).all(axis=2)
        overflowing = found.columns[~fits & (found.columns >= 0)]
        if len(overflowing):
            raise overflow_error(self.column_names[overflowing[0]], found.expected.dtype)
        if self.distances is None or self.columns is not None:
            return found
        low, high = (each[found.columns] for each in (self.distances.low, self.distances.high))
        return found._replace(expected=np.clip(found.expected, low, high).astype(found.expected.dtype))

    def explain(self, X: Any, top: Any = 3) -> Any:
        """Return a table of the ``top`` features of each row; see `Autoencoder.explain`."""
        return as_frame(self.explanation(X, top))

    def explanation(self, X: Any, top: Any = 3) -> Array:
        """Return the table of `explain` as a structured array."""
        if isinstance(top, bool) or not isinstance(top, int | np.integer) or top < 1:
            raise ValueError(f"top must be an integer of at least 1, got {top!r}")
        X = collected(X)  # a stream can be read only once
        names, table = self.column_names, table_of(X)
        top = min(int(top), len(names))
        if not self.has_reasons(top):
            predictor, metric = self._predictors.get(), self._metric(None)

            def feature_errors(block: Array, first_row: int) -> Array:
                # A calibrated score may be below zero; its shares are not.
                errors = self._finite(self._feature_errors(predictor, block, metric), "error", first_row)
                return np.abs(errors) if metric == "calibrated" else errors

            return explanation_in_blocks(
                self.rows(X),
                top,
                names,
                self.columns,
                table,
                feature_errors,
                lambda block: self._in_range(
                    self._fitting(predictor.reconstruct(self._filled(predictor, block, metric)[0]))
                ),
            )
        return explanation_of(self.reasons(X, top), names, self.columns, table)

    # The model file.

    @classmethod
    def load(cls, source: str | os.PathLike[str] | bytes | bytearray | memoryview) -> Model:
        """Return the model of a model file, given by its path or its bytes; errors as of `aefast.load`."""
        with file.opened(source) as (document, tensors):
            return cls(**file.model_fields(document, tensors))

    def to_bytes(self) -> bytes:
        """Return the content of a model file, which `load` and `aefast.load` read.

        Raises
        ------
        ValueError
            If `load` would refuse the content, for instance because weights do not fit the network.
        """
        return file.content_of(*file.describe(self), file.model_fields)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a model file, whole or not at all; ValueError as of `to_bytes`, OSError if it cannot be written."""
        write_whole(path, self.to_bytes())

    def digest(self) -> str:
        """Return a SHA-256 digest of everything that scores and decisions follow from."""
        return file.digest(self)

    # What the methods share.

    def read(self, X: Any) -> Array:
        """Return ``X`` as rows (n, D) of the network's inputs, whose values are not checked yet."""
        return read_rows(X, self.kind, self.n_features_in, self.feature_names, self.columns, self.missing)

    def rows(self, X: Any) -> Array:
        """Return ``X`` as rows (n, D) of the network's inputs; raise ValueError for values that are not finite."""
        rows = self.read(X)
        self.require_finite(rows, "X")
        return rows

    def require_finite(self, X: Array, what: str = "X") -> None:
        """Raise ValueError for NaN, unless the model takes missing values, and for infinity; ``what`` names ``X``."""
        is_codes = what == "Z"
        require_finite(
            X,
            what,
            None if is_codes else self.column_names,
            None if is_codes else self.columns,
            may_miss=self.missing != "error" and not is_codes,
            n_threads=self.n_threads,
        )

    def _scored_rows(self, rows: Array, precision: str, score: Callable[[Array], Any]) -> Any:
        """Return ``score(rows)``, errors first, once these are known to be finite."""
        self._predictors.ranges_for(precision)
        if self.missing != "error" or self._joined is not None:
            # The engine would read infinity as a missing value.
            self.require_finite(rows)
        found = score(rows)
        errors = found[0]
        if not np.isfinite(errors).all():
            self.require_finite(rows)
            row = int(np.argmin(np.isfinite(errors)))
            raise ValueError(f"the error of row {row} is {errors[row]}: {self._why_not_finite()}")
        return found

    def _finite(self, values: Array, what: str, first_row: int = 0) -> Array:
        """Return the values of rows; raise ValueError with the row if one is not finite."""
        is_finite = np.isfinite(values)
        if not is_finite.all():
            row = first_row + int(is_finite.reshape(len(values), -1).all(axis=1).argmin())
            raise ValueError(f"the {what} of row {row} is not finite: {self._why_not_finite()}")
        return values

    def _why_not_finite(self) -> str:
        """Say why errors of finite rows are not finite."""
        if self.whitening is not None and np.abs(self.whitening.matrix).max() > np.finfo(self.dtype).max:
            return (
                f"the training rows' residuals were so small that one over them does not fit into {self.dtype}; fit "
                "with a scaler, or score_metric='mse'"
            )
        return "the network's weights or outputs are too large"

    def _join(self) -> Joined:
        """Return what computes the joined score."""
        assert self.columns is not None
        assert self.evidence is not None
        engine = self.evidence.for_engine(
            self.columns, masks_missing=self.missing != "mean", n_threads=resolve_threads(self.n_threads)
        )
        scaling = numbers_scaling(self.scaling, self.columns)
        numbers = partial(self._predictors.get, "numbers")
        return Joined(self.columns, self.distances, engine, numbers, self.gaps, scaling, self.evidence)

    def _metric(self, metric: str | None) -> str:
        return checked_metric(metric, self.score_metric, self.network, has=self.compares)

    def _by_column(self, errors: Array) -> Array:
        """Return errors (n, C) of columns from the errors of the network's inputs."""
        return errors if self.columns is None else np.add.reduceat(errors, starts(self.columns), axis=1)

    def _as_values(self, rows: Array) -> Array:
        """Return rows (n, C) in the columns' units; raise ValueError if a value does not fit into the dtype."""
        rows = self._fitting(rows)
        return rows if self.columns is None else decode(rows, self.columns)

    def _fitting(self, rows: Array) -> Array:
        """Return reconstructions (n, D); raise ValueError if a value does not fit into the dtype."""
        overflowing = column_statistics(rows, None, resolve_threads(self.n_threads))["n_nonfinite"] > 0
        if overflowing.any():
            names = element_names(self.column_names, self.columns)
            raise overflow_error(names[int(overflowing.argmax())], rows.dtype)
        return rows

    def _in_range(self, rows: Array) -> Array:
        """Return expected values (n, D) inside their columns' ranges in training, if these are known."""
        if self.distances is None:
            return rows
        low, high, at = self.distances.low, self.distances.high, self.distances.elements
        rows[:, at] = np.clip(rows[:, at], low, high)
        return rows
