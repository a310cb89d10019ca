"""What a fitted autoencoder answers: codes, reconstructions, errors, decisions, p-values and reasons."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import ClassNamePrefixFeaturesOutMixin, OutlierMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from aefast import _core, model_file
from aefast._inputs import nonfinite_message, read_codes, read_rows
from aefast._threads import resolve_threads
from aefast.explanations import as_frame, explanation_table
from aefast.networks import join_parameters, untied
from aefast.scaling import LIMIT, column_statistics
from aefast.thresholds import benjamini_hochberg, conformal_p_values

if TYPE_CHECKING:
    from aefast._core import NetworkSpec

Array = NDArray[Any]

METRICS = ("mse", "mae", "max", "huber", "binary_crossentropy", "categorical_crossentropy", "mahalanobis")
PRECISIONS = ("float32", "bfloat16", "int8")
#: Output activations whose values a crossentropy can take for probabilities.
PROBABILITIES = {"binary_crossentropy": ("sigmoid", "softmax"), "categorical_crossentropy": ("softmax",)}


def check_probabilities(name: str, value: str, output_activation: str) -> None:
    """Raise ValueError where the loss or metric ``name=value`` is a crossentropy of what are no probabilities."""
    allowed = PROBABILITIES.get(value, (output_activation,))
    if output_activation not in allowed:
        raise ValueError(
            f"{name}={value!r} needs output_activation={' or '.join(map(repr, allowed))}, got {output_activation!r}"
        )


class ScoringMixin(ClassNamePrefixFeaturesOutMixin, TransformerMixin, OutlierMixin):
    """Methods of a fitted autoencoder. The engine's objects live for one call; the arrays here are the model."""

    dtype: str
    n_threads: int | None
    n_features_in_: int
    network_: NetworkSpec
    coefs_: list[Array]
    intercepts_: list[Array]
    scaler_shift_: NDArray[np.float64]
    scaler_scale_: NDArray[np.float64]
    score_metric_: str
    whitening_: Array | None
    offset_: float
    calibration_errors_: NDArray[np.float64]

    def _predictor(self) -> _core.Predictor:
        check_is_fitted(self, ["coefs_", "network_"])
        # What is read are the coefs_ as they are, so a decoder that was tied in training brings its own.
        network = untied(self.network_)
        parameters = join_parameters(network, self.coefs_, self.intercepts_, self.dtype)
        scaling = _core.Scaling(self.scaler_shift_, self.scaler_scale_, LIMIT)
        return _core.Predictor(network, parameters, scaling, self.dtype, resolve_threads(self.n_threads))

    def _read(self, X: Any, *, reset: bool = False) -> Array:
        """``X`` as rows (n, d); variants with other shapes of input change this."""
        return read_rows(self, X, reset=reset)

    def _names(self) -> list[str]:
        """What to call the columns: ``feature_names_in_``, else x0, x1, ..."""
        names = getattr(self, "feature_names_in_", None)
        return [f"x{j}" for j in range(self.n_features_in_)] if names is None else [str(name) for name in names]

    def _require_finite(self, X: Array, what: str) -> None:
        if X.dtype.kind != "f":
            return
        if column_statistics(X, None, resolve_threads(self.n_threads))["n_nonfinite"].any():
            raise ValueError(nonfinite_message(X, self._names() if what == "X" else None, what))

    def _metric(self, metric: str | None) -> tuple[str, Array | None]:
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

    def transform(self, X: Any) -> Array:
        """The codes of rows.

        Parameters
        ----------
        X : array-like of shape (n, d)
            Finite numbers in the units of the training data: array, data frame or Arrow table.

        Returns
        -------
        ndarray of shape (n, q), of the estimator's ``dtype``
            Outputs of the code layer, or what `set_output` asked for.

        Raises
        ------
        ValueError
            If the width or the column names differ from those of the training data, or a value is not finite.
        NotFittedError
            Before `fit`.

        Examples
        --------
        >>> import numpy as np
        >>> from aefast import Autoencoder
        >>> X = np.random.default_rng(0).normal(size=(200, 9))
        >>> Autoencoder(max_epochs=2, random_state=0).fit(X).transform(X).shape
        (200, 3)
        """
        predictor = self._predictor()
        rows = self._read(X)
        self._require_finite(rows, "X")
        return predictor.encode(rows)

    def inverse_transform(self, Z: ArrayLike) -> Array:
        """Rows from codes.

        Parameters
        ----------
        Z : array-like of shape (n, q)
            Codes, finite.

        Returns
        -------
        ndarray of shape (n, d), of the estimator's ``dtype``
            Outputs of the decoder in the units of the training data.

        Raises
        ------
        ValueError
            If ``Z`` has not q columns, or a value is not finite.
        NotFittedError
            Before `fit`.
        """
        predictor = self._predictor()
        codes = read_codes(Z, self._n_features_out, self)
        self._require_finite(codes, "Z")
        return predictor.decode(codes)

    def reconstruct(self, X: Any) -> Array:
        """Rows through the whole network: ``inverse_transform(transform(X))`` in one pass.

        Parameters
        ----------
        X : array-like of shape (n, d)
            As in `transform`.

        Returns
        -------
        ndarray of shape (n, d), of the estimator's ``dtype``
            Reconstructions in the units of the training data.

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
        result = predictor.reconstruct(rows)
        self._require_finite(result, f"the reconstruction in {result.dtype}")
        return result

    def _errors(self, X: Any, metric: str | None) -> Array:
        predictor = self._predictor()
        rows = self._read(X)
        errors = predictor.errors(rows, *self._metric(metric))
        if not np.isfinite(errors).all():
            self._require_finite(rows, "X")
            row = int(np.argmin(np.isfinite(errors)))
            raise ValueError(f"the error of row {row} is {errors[row]}: the network's weights or outputs are too large")
        return errors

    def reconstruction_error(self, X: Any, *, metric: str | None = None, precision: str = "float32") -> Array:
        r"""How badly each row is reconstructed; higher is more abnormal.

        Computed in the scaled space that the network sees: with z the scaled row, y the network's output and r = y - z,
        the error is the mean over features of r^2 (``mse``), \|r\| (``mae``), r^2 / 2 where \|r\| <= 1 and
        \|r\| - 1/2 elsewhere (``huber``), -z log y - (1 - z) log(1 - y) (``binary_crossentropy``) or -z log y
        (``categorical_crossentropy``), the largest \|r\| (``max``), or r' S^-1 r / d with the shrunk covariance S of
        training residuals (``mahalanobis``, see `aefast.whitening`).

        Parameters
        ----------
        X : array-like of shape (n, d)
            As in `transform`.
        metric : str, optional
            One of those above; default what ``score_metric`` was in `fit`. Crossentropies need an output activation
            that gives probabilities, ``mahalanobis`` a fit with it as ``score_metric``.
        precision : {"float32", "bfloat16", "int8"}, default "float32"
            Of the products; "float32" is the estimator's own ``dtype``.

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
        NotImplementedError
            For a precision other than "float32".

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
        if precision not in PRECISIONS:
            raise ValueError(f"precision must be one of {', '.join(PRECISIONS)}, got {precision!r}")
        if precision != "float32":
            raise NotImplementedError(f"precision={precision!r} is not supported yet")
        return self._errors(X, metric)

    def feature_errors(self, X: Any) -> Array:
        """Each feature's part of its row's error, by the metric that ``score_metric`` was in `fit`.

        Parameters
        ----------
        X : array-like of shape (n, d)
            As in `transform`.

        Returns
        -------
        ndarray of shape (n, d), of the estimator's ``dtype``
            A row sums to its `reconstruction_error`. For ``max`` the whole error stands at the largest residual.

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
        return predictor.feature_errors(rows, *self._metric(None))

    def score_samples(self, X: Any) -> NDArray[np.float64]:
        """Minus `reconstruction_error`: lower is more abnormal, as scikit-learn counts.

        Parameters
        ----------
        X : array-like of shape (n, d)
            As in `transform`.

        Returns
        -------
        ndarray of shape (n,), float64
            One score a row.

        Raises
        ------
        ValueError
            As in `transform`.
        NotFittedError
            Before `fit`.
        """
        return -self._errors(X, None).astype(np.float64)

    def decision_function(self, X: Any) -> NDArray[np.float64]:
        """`score_samples` minus ``offset_``: below zero for outliers.

        Parameters
        ----------
        X : array-like of shape (n, d)
            As in `transform`.

        Returns
        -------
        ndarray of shape (n,), float64
            One value a row.

        Raises
        ------
        ValueError
            As in `transform`.
        NotFittedError
            Before `fit`.
        """
        return self.score_samples(X) - self.offset_

    def predict(self, X: Any) -> NDArray[np.int64]:
        """Which rows are outliers: -1 where the error exceeds ``threshold_``, else 1.

        Parameters
        ----------
        X : array-like of shape (n, d)
            As in `transform`.

        Returns
        -------
        ndarray of shape (n,), int64
            -1 and 1.

        Raises
        ------
        ValueError
            As in `transform`.
        NotFittedError
            Before `fit`.

        Examples
        --------
        >>> import numpy as np
        >>> from aefast import Autoencoder
        >>> X = np.random.default_rng(0).normal(size=(200, 9))
        >>> model = Autoencoder(max_epochs=2, contamination=0.05, random_state=0).fit(X)
        >>> int((model.predict(X) == -1).sum())
        10
        """
        return np.where(self.decision_function(X) < 0, -1, 1).astype(np.int64)

    def score(self, X: Any, y: Any = None) -> float:
        """Minus the mean `reconstruction_error`, so that model selection can maximise it.

        Parameters
        ----------
        X : array-like of shape (n, d)
            As in `transform`.
        y : ignored
            For scikit-learn's conventions.

        Returns
        -------
        float
            At most 0 for every metric but crossentropies of data outside [0, 1].

        Raises
        ------
        ValueError
            As in `transform`.
        NotFittedError
            Before `fit`.
        """
        return -float(self._errors(X, None).mean(dtype=np.float64))

    def p_values(self, X: Any) -> NDArray[np.float64]:
        """Conformal p-values against the rows held out in `fit` (see `aefast.thresholds.conformal_p_values`).

        A row gets p = (1 + #{held-out errors >= its error}) / (1 + #held-out). If it is exchangeable with the held-out
        rows, P(p <= a) <= a. Held-out rows that also chose the epoch (``early_stopping``) are that much less held out,
        and without any (``validation_fraction=0``) the training rows stand in and the p-values are too small.

        Parameters
        ----------
        X : array-like of shape (n, d)
            As in `transform`.

        Returns
        -------
        ndarray of shape (n,), float64
            Lower for more abnormal rows, never 0.

        Raises
        ------
        ValueError
            As in `transform`.
        NotFittedError
            Before `fit`.

        Examples
        --------
        >>> import numpy as np
        >>> from aefast import Autoencoder
        >>> X = np.random.default_rng(0).normal(size=(1000, 9))
        >>> model = Autoencoder(max_epochs=2, random_state=0).fit(X)
        >>> bool(model.p_values(np.full((1, 9), 50.0))[0] == 1 / 101)
        True
        """
        return self.p_values_of(self._errors(X, None))

    def p_values_of(self, errors: ArrayLike) -> NDArray[np.float64]:
        """`p_values` of rows whose `reconstruction_error` is already known.

        Parameters
        ----------
        errors : array-like of shape (n,)
            By the metric that ``score_metric`` was in `fit`.

        Returns
        -------
        ndarray of shape (n,), float64
            As `p_values`.

        Raises
        ------
        NotFittedError
            Before `fit`.
        """
        check_is_fitted(self, ["coefs_", "network_"])
        return conformal_p_values(self.calibration_errors_, errors)

    def detect(self, X: Any, fdr: float = 0.05) -> NDArray[np.bool_]:
        """Rows to report, with the expected share of false reports among them at most ``fdr``.

        Benjamini and Hochberg's procedure on `p_values` (see `aefast.thresholds.benjamini_hochberg`).

        Parameters
        ----------
        X : array-like of shape (n, d)
            As in `transform`; the rows are judged together.
        fdr : float in (0, 1), default 0.05
            The false-discovery rate to allow. With m held-out rows nothing can be reported below n / (k (m + 1)) for k
            reports, so small rates need many held-out rows.

        Returns
        -------
        ndarray of shape (n,), bool
            True for the rows to report.

        Raises
        ------
        ValueError
            As in `transform`; also if ``fdr`` is not in (0, 1).
        NotFittedError
            Before `fit`.
        """
        return benjamini_hochberg(self.p_values(X), fdr)

    def explain(self, X: Any, top: Any = 3) -> Any:
        """Which features made rows abnormal.

        Parameters
        ----------
        X : array-like of shape (n, d)
            As in `transform`.
        top : int, at least 1, default 3
            Features a row; all if there are fewer.

        Returns
        -------
        pandas.DataFrame, or a structured ndarray with the same fields where pandas is not installed
            For each row its ``top`` features by share of the error, largest first: ``row`` (position in ``X``),
            ``feature`` (name, or x0, x1, ...), ``value`` and ``expected`` (the reconstruction), both in input units,
            and ``share`` of the row's error, in [0, 1].

        Raises
        ------
        ValueError
            As in `transform`; also if ``top`` is less than 1.
        NotFittedError
            Before `fit`.

        Examples
        --------
        >>> import numpy as np
        >>> from aefast import Autoencoder
        >>> X = np.random.default_rng(0).normal(size=(200, 9))
        >>> model = Autoencoder(max_epochs=2, random_state=0).fit(X)
        >>> odd = np.zeros((1, 9))
        >>> odd[0, 4] = 30.0
        >>> str(model.explain(odd, top=1)["feature"][0])
        'x4'
        """
        if isinstance(top, bool) or not isinstance(top, int | np.integer) or top < 1:
            raise ValueError(f"top must be an integer of at least 1, got {top!r}")
        predictor = self._predictor()
        rows = self._read(X)
        self._require_finite(rows, "X")
        metric, names = self._metric(None), self._names()
        # Blocks bound the memory: three arrays as wide as the input, of which a few columns stay.
        n_rows_a_block = max(1, (1 << 20) // rows.shape[1])
        tables = []
        for begin in range(0, len(rows), n_rows_a_block):
            block = rows[begin : begin + n_rows_a_block]
            errors, expected = predictor.feature_errors(block, *metric), predictor.reconstruct(block)
            tables.append(explanation_table(errors, block, expected, names, int(top), begin))
        return as_frame(np.concatenate(tables))

    def save(self, path: Any) -> None:
        """Write the model to one data-only file (see `aefast.model_file`), which `aefast.load` reads.

        The file appears whole or not at all; one that is there is replaced.

        Parameters
        ----------
        path : str or path-like
            Where to; ``.safetensors`` is the customary ending.

        Raises
        ------
        ValueError
            If a parameter is no data (a callable, say), naming it.
        OSError
            If the file cannot be written.
        NotFittedError
            Before `fit`.
        """
        check_is_fitted(self, ["coefs_", "network_"])
        model_file.save(self, path)

    @property
    def _n_features_out(self) -> int:
        """Width of the code, for ``get_feature_names_out``."""
        return int(self.network_["layers"][self.network_["n_encoder_layers"] - 1]["units"])
