"""Methods of a fitted estimator: codes, reconstructions, errors, decisions, reasons and the model file.

Every method hands its input to the estimator's ``model_`` after scikit-learn's checks.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import ClassNamePrefixFeaturesOutMixin, OutlierMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from aefast.estimators import files
from aefast.estimators.attributes import (
    arrays,
    computed,
    listed,
    names_in,
    of_model,
    of_scaling,
    with_names,
)
from aefast.estimators.inputs import read_codes, rows_to_score
from aefast.model.calibration import Calibration, benjamini_hochberg, too_few_held_out
from aefast.model.model import Model
from aefast.model.whitening import Whitening

if TYPE_CHECKING:
    from typing_extensions import Self

    from aefast.columns.column import Column
    from aefast.engine.core import NetworkSpec

Array = NDArray[Any]


class FittedMethods(OutlierMixin, ClassNamePrefixFeaturesOutMixin, TransformerMixin):
    """What an estimator answers once it is fitted, with scikit-learn's signs."""

    contamination: float
    n_threads: int | None
    dtype: str
    missing: str

    coefs_: list[Array] = of_model("coefs", put=arrays)
    intercepts_: list[Array] = of_model("intercepts", put=arrays)
    norms_: list[Array | None] = of_model("norms", put=arrays)
    network_: NetworkSpec = of_model("network")
    scaler_shift_: NDArray[np.float64] = of_scaling("shift")
    scaler_scale_: NDArray[np.float64] = of_scaling("scale")
    column_means_: NDArray[np.float64] = of_scaling("means")
    columns_: tuple[Column, ...] | None = of_model("columns")
    n_features_in_: int = computed(lambda model: model.n_features_in)
    feature_names_in_: NDArray[np.object_] = computed(names_in, with_names)
    n_epochs_: int = computed(lambda model: len(model.loss_curve))
    loss_curve_: list[float] = of_model("loss_curve", listed, put=tuple)
    validation_curve_: list[float] = of_model("validation_curve", listed, put=tuple)
    best_loss_: float = of_model("best_loss")
    offset_: float = of_model("offset")
    threshold_: float = computed(lambda model: model.threshold, Model.with_threshold)
    score_metric_: str = of_model("score_metric")
    input_ranges_: list[Array] | None = of_model("input_ranges", listed, put=arrays)
    whitening_: Whitening | None = of_model("whitening")
    calibration_: Calibration = of_model("calibration")

    @property
    def model_(self) -> Model:
        """The immutable `Model`; it follows the parameters ``n_threads``, ``dtype`` and ``missing``."""
        model: Model | None = vars(self).get("model_")
        if model is None:
            check_is_fitted(self)
        assert model is not None
        if model.n_threads != self.n_threads or model.dtype != self.dtype or model.missing != self.missing:
            model = model.replace(n_threads=self.n_threads, dtype=self.dtype, missing=self.missing)
            self.__dict__["model_"] = model
        return model

    @model_.setter
    def model_(self, model: Model) -> None:
        self.__dict__["model_"] = model

    def restore(self, model: Model) -> None:
        """Take over the model of a file; ValueError if it is not one of this class."""
        self.model_ = model

    def __sklearn_is_fitted__(self) -> bool:
        return "model_" in vars(self)

    def _rows(self, X: Any) -> Any:
        """Return ``X`` as ``model_`` reads it; variants with other shapes of input extend this."""
        return rows_to_score(self, self.model_, X)

    def _top_k(self) -> int | None:
        """Return how many outputs of a top-k code `transform` keeps; None is as in training."""
        return None

    @property
    def _n_features_out(self) -> int:
        """Width of the code, for ``get_feature_names_out``."""
        return self.model_.n_codes

    def transform(self, X: Any) -> Array:
        """The codes of rows.

        Parameters
        ----------
        X : array-like of shape (n, d)
            Finite numbers in the units of the training data: array, data frame or Arrow table. NaN, or null in a
            table, where ``missing`` lets values be missing.

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
        return self.model_.codes(self._rows(X), top_k=self._top_k())

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
            If ``Z`` has not q columns, a value is not finite, or a row does not fit into ``dtype``.
        NotFittedError
            Before `fit`.
        """
        model = self.model_
        return model.decode(read_codes(Z, model.n_codes, self))

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
        return self.model_.reconstruct(self._rows(X))

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
        return self.model_.errors(self._rows(X), metric, precision)

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
        return self.model_.feature_errors(self._rows(X))

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
        return -self.model_.errors(self._rows(X)).astype(np.float64)

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
        """Minus the mean `reconstruction_error`, by the metric that ``score_metric`` was in `fit`.

        Models can be compared by it only where that metric is one of residuals alone, such as "mse". With
        ``score_metric="mahalanobis"``, which "auto" mostly is, it says nothing of which model is better: each measures
        by its own training rows' residuals and codes, so that it is near -1 for good models and bad ones. For model
        selection (GridSearchCV, cross_val_score) set ``score_metric="mse"`` or, to keep the detector as it is, give
        ``scoring`` a function of ``reconstruction_error(X, metric="mse")``. Errors are in the scaled space: compare
        models of one scaler.

        Parameters
        ----------
        X : array-like of shape (n, d)
            As in `transform`.
        y : ignored
            For scikit-learn's conventions.

        Returns
        -------
        float
            At most 0.

        Raises
        ------
        ValueError
            As in `transform`.
        NotFittedError
            Before `fit`.

        Examples
        --------
        >>> import numpy as np
        >>> from sklearn.model_selection import GridSearchCV
        >>> from aefast import Autoencoder
        >>> rng = np.random.default_rng(0)
        >>> X = rng.normal(size=(400, 3)) @ rng.normal(size=(3, 8))
        >>> def closeness(model, X, y=None):
        ...     return -model.reconstruction_error(X, metric="mse").mean()
        >>> model = Autoencoder(learning_rate=0.01, random_state=0)
        >>> search = GridSearchCV(model, {"encoder_layer_sizes": [(16, 1), (16, 3)]}, scoring=closeness, cv=2).fit(X)
        >>> search.best_params_
        {'encoder_layer_sizes': (16, 3)}
        """
        return -float(self.model_.errors(self._rows(X)).mean(dtype=np.float64))

    def p_values(self, X: Any) -> NDArray[np.float64]:
        """Conformal p-values against the rows held out in `fit` (see `aefast.model.calibration.Calibration`).

        A row gets p = (1 + #{held-out errors >= its error}) / (1 + m) for m held-out rows: exactly for p up to
        1025 / (1 + m), and at most 1/128 above it elsewhere. If the row is exchangeable with the held-out rows,
        P(p <= a) <= a.

        With ``early_stopping`` the held-out rows have also chosen the epoch, and their errors may be a little smaller
        for it. Simulations show no trace of that with the defaults and 300 rows; where the best of 300 epochs of a
        network that overfits is kept, 12.0 % of normal rows get p <= 0.1. Free of it are ``early_stopping=False`` and
        `recalibrate` on rows of their own. Without held-out rows (``validation_fraction=0``) the training rows stand
        in, and the p-values are too small.

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
        return self.model_.p_values(self._rows(X))

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
        return self.model_.p_values_of(errors)

    def detect(self, X: Any, fdr: float = 0.05) -> NDArray[np.bool_]:
        """Rows to report, with the expected share of false reports among them at most ``fdr``.

        Benjamini and Hochberg's procedure on `p_values` (see `aefast.model.calibration.benjamini_hochberg`).

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

        Warns
        -----
        UserWarning
            If nothing is reported, and one row could not have been, however abnormal.
        """
        found = benjamini_hochberg(self.p_values(X), fdr)
        remark = "" if found.any() else too_few_held_out(self.calibration_.least, len(found), fdr)
        if remark:
            warnings.warn(remark, stacklevel=2)
        return found

    def recalibrate(self, X: Any) -> Self:
        """Set the threshold and the rows for `p_values` anew, without training again.

        For rows that have drifted since `fit`, another ``contamination`` (``set_params`` first), or p-values against
        rows that training has never seen. The weights and scores stay as they are.

        Parameters
        ----------
        X : array-like of shape (n, d)
            As in `transform`; rows like those to be judged, best none that were trained on.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            As in `transform`; also if ``contamination`` is out of range.
        NotFittedError
            Before `fit`.

        Examples
        --------
        >>> import numpy as np
        >>> from aefast import Autoencoder
        >>> rng = np.random.default_rng(0)
        >>> model = Autoencoder(max_epochs=2, random_state=0).fit(rng.normal(size=(500, 9)))
        >>> X = rng.normal(size=(200, 9))
        >>> model = model.set_params(contamination=0.02).recalibrate(X)
        >>> int((model.predict(X) == -1).sum())
        4
        """
        model = self.model_
        self._validate_params()
        self.model_ = model.recalibrated(self._rows(X), self.contamination)
        return self

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
            and ``share`` of the row's error, in [0, 1]. A missing value is no reason, so that a row has fewer where
            less is known of it, or none. With ``missing="mean"`` the means that stand for numbers and times have their
            part of the error in `feature_errors`, which then is in no reason's share; a category that is missing is a
            level like others, and may be a reason.

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
        return self.model_.explain(self._rows(X), top)

    def save(self, path: Any) -> None:
        """Write the model to one data-only file (see `aefast.model.file`), which `aefast.load` reads.

        The file appears whole or not at all; one that is there is replaced. Callbacks are left out, and so is the
        state of a ``numpy.random.RandomState``; a loaded estimator has the defaults there.

        Parameters
        ----------
        path : str or path-like
            Where to; ``.safetensors`` is the customary ending.

        Raises
        ------
        ValueError
            If another parameter is no data (a noise or a schedule of one's own), or has been set to what it may not
            be, naming it.
        OSError
            If the file cannot be written.
        NotFittedError
            Before `fit`.
        """
        files.save(self, path)
