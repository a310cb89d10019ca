"""A trained network and what it says of rows, without scikit-learn: reconstructions and errors.

Estimators are such networks; so is what scoring a file makes of a model file, which is there in a fraction of the time
that importing an estimator takes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from aefast.columns.column import Column, encode, starts
from aefast.columns.decoding import as_objects, by_column, decode, shown
from aefast.engine import core
from aefast.engine.threads import resolve_threads
from aefast.model.calibration import Calibration
from aefast.model.network import reading
from aefast.model.reasons import explanation_table, reasons_table
from aefast.model.scaling import clip_limit, column_statistics
from aefast.model.whitening import Whitening
from aefast.tables.numbers import nonfinite_message, readable, table_of
from aefast.training.targets import check_probabilities

if TYPE_CHECKING:
    from aefast.engine.core import NetworkSpec

Array = NDArray[Any]

METRICS = ("mse", "mae", "max", "huber", "binary_crossentropy", "categorical_crossentropy", "mahalanobis")
LOSSES = ("mse", "mae", "huber", "binary_crossentropy", "categorical_crossentropy")
PRECISIONS = ("float32", "bfloat16", "int8")
MISSING = ("error", "mask", "mean")
#: As many reasons as come with the errors in one pass; more cost passes of their own.
MOST_REASONS = 16
# For reconstructions that overflow.
_REMEDY = {"float32": "use dtype='float64'", "float64": "divide it by a constant before fit"}


class FittedNetwork:
    """A network with its weights, scaling and decisions. The engine's objects live for one call; the arrays here are
    the model."""

    dtype: str
    missing: str
    n_threads: int | None
    n_features_in_: int
    _called: Sequence[str] | None = None
    feature_names_in_: NDArray[np.object_]
    network_: NetworkSpec
    coefs_: list[Array]
    intercepts_: list[Array]
    norms_: list[Array | None]
    scaler_shift_: NDArray[np.float64]
    scaler_scale_: NDArray[np.float64]
    column_means_: NDArray[np.float64]
    score_metric_: str
    offset_: float
    calibration_: Calibration
    best_loss_: float
    loss_curve_: list[float]
    validation_curve_: list[float]
    n_epochs_: int
    _scaler_kind: str | None
    _loss_kind: str
    whitening_: Whitening | None
    input_ranges_: list[Array] | None
    columns_: tuple[Column, ...] | None = None

    @property
    def threshold_(self) -> float:
        """Minus ``offset_``; setting the one sets the other."""
        return -self.offset_

    @threshold_.setter
    def threshold_(self, threshold: float) -> None:
        self.offset_ = -threshold

    def _predictor(self, code: str = "mean", precision: str = "float32") -> core.Predictor:
        predictor = self._predictor_of(self.network_, code)
        if precision != "float32":
            predictor.reduce(precision, self._ranges_for(precision))
        return predictor

    def _read(self, X: Any) -> Array:
        """Rows (n, d) of a dtype that the engine reads, from an array of as many columns or, where the columns are of
        several kinds, a table of them in their order."""
        if self.columns_ is not None:
            return encode(X, self.columns_, masks_missing=self.missing != "mean")
        rows = readable(np.asarray(X))
        if rows.ndim != 2 or rows.shape[1] != self.n_features_in_:
            raise ValueError(f"X must be rows of {self.n_features_in_} values, got an array of shape {rows.shape}")
        return rows

    def _predictor_of(self, network: NetworkSpec, code: str = "mean") -> core.Predictor:
        network, parameters = reading(network, self.coefs_, self.intercepts_, self.dtype, code)
        return core.Predictor(network, parameters, self._scaling(), self.dtype, resolve_threads(self.n_threads))

    def _ranges_for(self, precision: str) -> list[Array] | None:
        """What the engine needs for a precision other than float32, which is checked."""
        if precision not in PRECISIONS:
            raise ValueError(f"precision must be one of {', '.join(PRECISIONS)}, got {precision!r}")
        if self.dtype != "float32":
            raise ValueError(
                f"precision={precision!r} is for estimators of dtype='float32', not {self.dtype!r}: leave precision "
                "out, or fit with dtype='float32'"
            )
        if precision == "bfloat16":
            return None
        ranges: list[Array] | None = getattr(self, "input_ranges_", None)
        if ranges is None:
            raise ValueError(
                "precision='int8' needs the ranges that fit keeps, and this model, of an earlier version, has none: "
                "use precision='bfloat16', or fit again"
            )
        return ranges

    def _scaling(self) -> core.Scaling:
        """The map into the space that the network sees."""
        fill = self._fill() if self.missing == "mean" else None
        return core.Scaling(
            self.scaler_shift_, self.scaler_scale_, clip_limit(self._scaler_kind), fill, self.missing == "mask"
        )

    def _fill(self) -> NDArray[np.float64]:
        """What the network is given for missing values (d,), in the scaled space."""
        if self.missing != "mean":
            return np.zeros(len(self.scaler_shift_))
        return self._scaled(self.column_means_)

    def _scaled(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Values of the features (..., d) in the scaled space, as the engine has them but in double precision."""
        limit = clip_limit(self._scaler_kind)
        return np.clip((values - self.scaler_shift_) / self.scaler_scale_, -limit, limit)

    def _names(self) -> list[str]:
        """What to call the columns: ``feature_names_in_``, else as whoever gave the rows does, else x0, x1, ..."""
        names = getattr(self, "feature_names_in_", self._called)
        return [f"x{j}" for j in range(self.n_features_in_)] if names is None else [str(name) for name in names]

    def _element_names(self) -> list[str]:
        """Of each element that the network sees, the name of its column."""
        if self.columns_ is None:
            return self._names()
        return [column.name for column in self.columns_ for _ in range(column.width)]

    def _by_column(self, errors: Array) -> Array:
        """The errors (n, C) of columns from those of what the network sees."""
        return errors if self.columns_ is None else np.add.reduceat(errors, starts(self.columns_), axis=1)

    def _as_values(self, rows: Array) -> Array:
        """Rows (n, C) in the columns' units from those of what the network sees."""
        return self._fitting_in(rows) if self.columns_ is None else decode(self._fitting_in(rows), self.columns_)

    def _require_finite(self, X: Array, what: str) -> None:
        """Refuse NaN and infinity; of rows that may have missing values, infinity."""
        if X.dtype.kind != "f":
            return
        is_codes = what == "Z"
        may_miss = self.missing != "error" and not is_codes
        if may_miss or column_statistics(X, None, resolve_threads(self.n_threads))["n_nonfinite"].any():
            names = None if is_codes else self._names()
            columns = X if self.columns_ is None or is_codes else X[:, starts(self.columns_)]
            message = nonfinite_message(columns, names, what, may_miss=may_miss)
            if message:
                raise ValueError(message)

    def _fitting_in(self, rows: Array) -> Array:
        """The rows, unless their units are too large for their dtype."""
        overflowing = column_statistics(rows, None, resolve_threads(self.n_threads))["n_nonfinite"] > 0
        if overflowing.any():
            column = self._element_names()[int(overflowing.argmax())]
            raise ValueError(
                f"the reconstruction of column {column!r} does not fit into {rows.dtype}: {_REMEDY[rows.dtype.name]}"
            )
        return rows

    def _metric(self, metric: str | None) -> tuple[str, Whitening | None]:
        """The engine's metric and whitening for a user's ``metric``."""
        name = self.score_metric_ if metric is None else metric
        if name not in METRICS:
            raise ValueError(f"metric must be None or one of {', '.join(METRICS)}, got {metric!r}")
        check_probabilities("metric", name, self.network_["layers"][-1]["activation"])
        if name != "mahalanobis":
            return name, None
        if self.whitening_ is None:
            raise ValueError("metric='mahalanobis' needs a model that was fitted with score_metric='mahalanobis'")
        return name, self.whitening_

    def reconstruct(self, X: Any) -> Array:
        """Rows through the whole network: ``inverse_transform(transform(X))`` in one pass.

        Parameters
        ----------
        X : array-like of shape (n, d)
            As in `transform`.

        Returns
        -------
        ndarray of shape (n, d), of the estimator's ``dtype``
            Reconstructions in the units of the training data. Where columns are of several kinds, an array of objects:
            numbers, the most probable levels, and times as a weekday and a time of day.

        Raises
        ------
        ValueError
            As in `transform`; also if the reconstruction does not fit into ``dtype``.
        NotFittedError
            Before `fit`.
        """
        predictor = self._predictor()
        rows = self._read(X)
        self._require_finite(rows, "X")
        return self._as_values(predictor.reconstruct(rows))

    def _errors(self, X: Any, metric: str | None, precision: str = "float32") -> Array:
        errors: Array = self._judged(
            X, precision, lambda predictor, rows: (predictor.errors(rows, *self._metric(metric)),)
        )[0]
        return errors

    def _errors_of_columns(self, columns: Sequence[Array], precision: str = "float32") -> Array | None:
        """The errors of rows whose columns (n,) are contiguous and of one dtype, which are read where they lie; None
        where `_errors` has to tell what is wrong with them, or where values may be missing."""
        if self.missing != "error" or self.columns_ is not None:
            return None
        errors = self._predictor(precision=precision).errors(columns, *self._metric(None))
        return errors if np.isfinite(errors).all() else None

    def _gives_reasons(self, top: int) -> bool:
        """Whether `_errors_and_reasons` does, so many. What means stand for is no reason, and it would be one there."""
        return 0 < top <= MOST_REASONS and self.missing != "mean"

    def _errors_and_reasons(self, X: Any, top: int, precision: str = "float32") -> tuple[Array, ...]:
        """In one pass errors (n,) and, of the ``top`` features that weigh most in each, columns, shares, expected
        values in input units and values (n, top).

        Where columns are of several kinds it is these that are told, -1 for one whose value is missing; what is
        expected is (n, top, 4 or fewer), a column's outputs or, of a categorical one, the number of a level; and there
        are no values.
        """
        found: tuple[Array, ...] = self._judged(
            X, precision, lambda predictor, rows: predictor.reasons(rows, *self._metric(None), top=top)
        )
        return found

    def _judged(self, X: Any, precision: str, judge: Callable[[core.Predictor, Array], Any]) -> Any:
        """What ``judge`` says of the rows, errors first, once these are known to be finite."""
        predictor = self._predictor(precision=precision)
        rows = self._read(X)
        if self.missing != "error":
            # Else infinity would pass for a missing value.
            self._require_finite(rows, "X")
        found = judge(predictor, rows)
        errors = found[0]
        if not np.isfinite(errors).all():
            self._require_finite(rows, "X")
            row = int(np.argmin(np.isfinite(errors)))
            raise ValueError(f"the error of row {row} is {errors[row]}: {self._beyond()}")
        return found

    def _beyond(self) -> str:
        """Why errors are no numbers, where the rows are."""
        if self.whitening_ is not None and np.abs(self.whitening_.matrix).max() > np.finfo(self.dtype).max:
            return (
                f"the training rows' residuals were so small that one over them does not fit into {self.dtype}; fit "
                "with a scaler, or score_metric='mse'"
            )
        return "the network's weights or outputs are too large"

    def reconstruction_error(self, X: Any, *, metric: str | None = None, precision: str = "float32") -> Array:
        r"""How badly each row is reconstructed; higher is more abnormal.

        Computed in the scaled space that the network sees: with z the scaled row, y the network's output and r = y - z,
        the error is the mean over features of r^2 (``mse``), \|r\| (``mae``), r^2 / 2 where \|r\| <= 1 and
        \|r\| - 1/2 elsewhere (``huber``), or, with t the value of z held to [0, 1],
        \|z - t\| - t log y - (1 - t) log(1 - y) (``binary_crossentropy``) or \|z - t\| - t log y
        (``categorical_crossentropy``); the largest \|r\| (``max``); or the Mahalanobis distance of the
        residual and the code from those of most training rows, over d + q (``mahalanobis``,
        see `aefast.model.whitening`).
        With ``missing="mask"`` the mean is over the features that a row has (of ``mahalanobis``: the others' residuals
        are 0 and do not count in d), and 0 for a row that has none: nothing in it is abnormal.

        Parameters
        ----------
        X : array-like of shape (n, d)
            As in `transform`.
        metric : str, optional
            One of those above; default what ``score_metric`` was in `fit`. Crossentropies need an output activation
            that gives probabilities, ``mahalanobis`` a fit with it as ``score_metric``.
        precision : {"float32", "bfloat16", "int8"}, default "float32"
            Of the operands of dense layers; "float32" is the estimator's own ``dtype``. Activations and the error
            itself stay float32. "int8" holds each input of a layer to the range that it had in `fit`
            (``input_ranges_``), in 255 steps, and weights to 127 steps of their output's largest (Jacob et al. 2018,
            section 2.1); layers of fewer than 32 inputs it computes in bfloat16. Layers of fewer than 16, which gain
            nothing, stay float32, and so do layers of images. Both rank rows nearly as float32 does, faster where
            `aefast.config` says "native"; where it says "emulated", mostly not. They take a little time to
            prepare, so give them many rows in a call.

        Returns
        -------
        ndarray of shape (n,), of the estimator's ``dtype``
            One error a row. It does not depend on the rows beside it, nor on the number of threads.

        Raises
        ------
        ValueError
            As in `transform`; also for a metric or precision that is unknown or does not suit the network.
        NotFittedError
            Before `fit`.

        Examples
        --------
        >>> import numpy as np
        >>> from aefast import Autoencoder
        >>> X = np.random.default_rng(0).normal(size=(200, 9))
        >>> model = Autoencoder(max_epochs=2, random_state=0).fit(X)
        >>> errors = model.reconstruction_error(np.vstack([X, np.full((1, 9), 50.0)]))
        >>> int(errors.argmax())
        200
        """
        return self._errors(X, metric, precision)

    def feature_errors(self, X: Any) -> Array:
        """Each feature's part of its row's error, by the metric that ``score_metric`` was in `fit`.

        Parameters
        ----------
        X : array-like of shape (n, d)
            As in `transform`.

        Returns
        -------
        ndarray of shape (n, d), of the estimator's ``dtype``
            A row sums to its `reconstruction_error`. For ``max`` the whole error stands at the largest residual, for
            ``mahalanobis`` it is the square of a feature's whitened residual, and of the code's squares the part that
            the feature's squared distance from usual rows has in the sum of these, over d + q (see
            `aefast.model.whitening`).

        Raises
        ------
        ValueError
            As in `transform`.
        NotFittedError
            Before `fit`.
        """
        predictor = self._predictor()
        rows = self._read(X)
        self._require_finite(rows, "X")
        return self._by_column(predictor.feature_errors(rows, *self._metric(None)))

    def _explanation(self, X: Any, top: int) -> Array:
        """For each row its ``top`` features by share of the error (see `explanation_table`)."""
        names, table = self._names(), table_of(X)
        top = min(top, len(names))
        if not self._gives_reasons(top):
            return self._long_explanation(X, top)
        _, columns, shares, expected, values = self._errors_and_reasons(X, top)
        if self.columns_ is None:
            return reasons_table(columns, shares, values, expected, names, 0, ~np.isnan(values))
        is_known = columns >= 0
        rows = np.nonzero(is_known)[0]
        cells = np.empty((2, len(rows)), dtype=object)
        for places, *parts in by_column(self.columns_, columns[is_known], rows, expected[is_known], table):
            for of_all, part in zip(cells, parts, strict=True):
                of_all[places] = as_objects(part)
        cells_of_all, outputs = np.empty((2, *columns.shape), dtype=object)
        cells_of_all[is_known], outputs[is_known] = cells
        return reasons_table(columns, shares, cells_of_all, outputs, names, 0, is_known)

    def _long_explanation(self, X: Any, top: int) -> Array:
        """The same for any number of features, in passes of their own."""
        predictor = self._predictor()
        rows = self._read(X)
        self._require_finite(rows, "X")
        metric, names = self._metric(None), self._names()
        # Blocks bound the memory: three arrays as wide as the input, of which a few columns stay.
        n_rows_a_block = max(1, (1 << 20) // rows.shape[1])
        tables = []
        for begin in range(0, len(rows), n_rows_a_block):
            block = rows[begin : begin + n_rows_a_block]
            errors = self._by_column(predictor.feature_errors(block, *metric))
            if not np.isfinite(errors).all():
                row = begin + int(np.isfinite(errors).all(axis=1).argmin())
                raise ValueError(f"the error of row {row} is not finite: {self._beyond()}")
            expected, values, is_missing = predictor.reconstruct(block), block, np.isnan(block)
            if self.columns_ is not None:
                table = table_of(X)
                part = (
                    table[begin : begin + n_rows_a_block] if hasattr(table, "iloc") else table.slice(begin, len(block))
                )
                expected, values = decode(expected, self.columns_), shown(part, self.columns_)
                is_missing = is_missing[:, starts(self.columns_)]
            tables.append(explanation_table(errors, values, expected, names, top, begin, is_missing))
        explained: Array = np.concatenate(tables)
        return explained

    @property
    def _n_features_out(self) -> int:
        """Width of the code, for ``get_feature_names_out``."""
        return int(self.network_["layers"][self.network_["n_encoder_layers"] - 1]["units"])
