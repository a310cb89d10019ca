"""What a fitted autoencoder says of rows: scores, which are outliers, p-values and reasons; and saving it."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import OutlierMixin
from sklearn.utils.validation import check_is_fitted

from aefast.estimators.reading import ReadingMixin
from aefast.model import file as model_file
from aefast.model.calibration import Calibration, benjamini_hochberg, contamination_offset, too_few_held_out
from aefast.model.reasons import as_frame

if TYPE_CHECKING:
    from typing_extensions import Self


class DecisionMixin(ReadingMixin, OutlierMixin):
    """Methods that judge rows by their errors, with scikit-learn's signs."""

    contamination: float

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
        return -float(self._errors(X, None).mean(dtype=np.float64))

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
        return self.calibration_.p_values(errors)

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
        check_is_fitted(self, ["coefs_", "network_"])
        self._validate_params()
        errors = self._errors(X, None)
        self._decide_by(errors, errors)
        return self

    def _decide_by(self, errors: NDArray[Any], held_out: NDArray[Any]) -> None:
        """Set the threshold by some rows' errors and the calibration by those of held-out rows."""
        # Weights that have nearly diverged can give errors beyond every number.
        errors, held_out = (np.nan_to_num(e, nan=np.finfo(e.dtype).max) for e in (errors, held_out))
        self.offset_ = contamination_offset(-errors.astype(np.float64), self.contamination)
        self.calibration_ = Calibration.of(held_out)

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
        if isinstance(top, bool) or not isinstance(top, int | np.integer) or top < 1:
            raise ValueError(f"top must be an integer of at least 1, got {top!r}")
        check_is_fitted(self, ["coefs_", "network_"])
        return as_frame(self._explanation(X, int(top)))

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
        check_is_fitted(self, ["coefs_", "network_"])
        model_file.save(self, path)
