"""Decisions of a fitted estimator by the errors of rows: scores, outliers, p-values, detection, recalibration."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import OutlierMixin

from aefast.model.drift import Drift
from aefast.model.false_discoveries import benjamini_hochberg, too_few_held_out
from aefast.model.model import Model
from aefast.scoring.sketch import ScoreSketch
from aefast.tables.collect import collected

if TYPE_CHECKING:
    from typing_extensions import Self


class DecisionMethods(OutlierMixin):
    """Methods that judge rows by their errors, with scikit-learn's signs: lower scores are more abnormal."""

    contamination: float
    model_: Model
    drift_: Drift

    def _rows(self, X: Any) -> Any:
        """Return ``X`` as ``model_`` reads it."""
        raise NotImplementedError

    def score_samples(self, X: Any) -> NDArray[np.float64]:
        """Return minus `reconstruction_error`: lower is more abnormal, which is scikit-learn's convention.

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

        See Also
        --------
        reconstruction_error : The error itself: higher is more abnormal.
        """
        return -self.model_.errors(self._rows(X)).astype(np.float64)

    def decision_function(self, X: Any) -> NDArray[np.float64]:
        """Return `score_samples` minus ``offset_``, which is below zero for outliers.

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

        See Also
        --------
        score_samples : The scores before ``offset_`` is subtracted.
        """
        return self.score_samples(X) - self.model_.offset

    def predict(self, X: Any) -> NDArray[np.int64]:
        """Return -1 for outliers, rows whose error exceeds ``threshold_``, and 1 for other rows.

        Parameters
        ----------
        X : array-like of shape (n, d)
            As in `transform`.

        Returns
        -------
        ndarray of shape (n,), int64
            -1 or 1 for each row.

        Raises
        ------
        ValueError
            As in `transform`.
        NotFittedError
            Before `fit`.

        See Also
        --------
        detect : Limits the share of false alarms instead.
        recalibrate : Sets the threshold with other rows.

        Examples
        --------
        >>> import numpy as np
        >>> from aefast import Autoencoder
        >>> X = np.random.default_rng(0).normal(size=(200, 9))
        >>> model = Autoencoder(max_epochs=2, contamination=0.05, random_state=0).fit(X)
        >>> int((model.predict(X) == -1).sum())
        8
        """
        return np.where(self.decision_function(X) < 0, -1, 1).astype(np.int64)

    def score(self, X: Any, y: Any = None) -> float:
        """Return minus the mean `reconstruction_error`, by the metric ``score_metric_``.

        The score can compare models only if the metric depends on residuals alone, like "mse". With the metric
        "calibrated", which "auto" selects, it cannot: each model measures distances by its own training
        rows' residuals and codes, so the score is near 0 for good and bad models. For model selection
        (GridSearchCV, cross_val_score) set ``score_metric="mse"``. To keep the detector as it is, pass as ``scoring`` a
        function of ``reconstruction_error(X, metric="mse")``. Errors are in the scaled space, so compare only models
        with the same scaler.

        Parameters
        ----------
        X : array-like of shape (n, d)
            As in `transform`.
        y : ignored
            Exists for scikit-learn's conventions.

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

        See Also
        --------
        aefast.evaluate : Compares scores with labels, which is better if there are any.

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
        """Return conformal p-values: how often a usual row scores at least as high.

        The p-value of a row is p = (1 + #{calibration scores >= its score}) / (1 + m) for m calibration scores, those
        of rows that were not learned (``docs/scores.md`` says how `fit` gets them). It is exact for p up to
        1025 / (1 + m), and at most 1/128 too large above. If the row is exchangeable with the calibration rows,
        P(p <= a) <= a, however good the model is.

        With another ``score_metric`` than "calibrated", the calibration scores are those of the held-out rows. As these
        rows also choose the epoch, p-values may be slightly too small. Without held-out rows the scores of the training
        rows are used, and p-values are too small. `recalibrate` on separate rows avoids both.

        Parameters
        ----------
        X : array-like of shape (n, d)
            As in `transform`.

        Returns
        -------
        ndarray of shape (n,), float64
            In (0, 1]; lower is more abnormal.

        Raises
        ------
        ValueError
            As in `transform`.
        NotFittedError
            Before `fit`.

        See Also
        --------
        p_values_of : The same of errors.
        detect : Decides by p-values.
        aefast.plots.calibration : Draws whether they are uniform.

        Examples
        --------
        >>> import numpy as np
        >>> from aefast import Autoencoder
        >>> X = np.random.default_rng(0).normal(size=(1000, 9))
        >>> model = Autoencoder(max_epochs=2, random_state=0).fit(X)
        >>> bool(model.p_values(np.full((1, 9), 50.0))[0] == 1 / 1001)
        True
        """
        return self.model_.p_values(self._rows(X))

    def p_values_of(self, errors: ArrayLike) -> NDArray[np.float64]:
        """Return `p_values` of rows whose `reconstruction_error` is already known.

        Parameters
        ----------
        errors : array-like of shape (n,)
            Errors by the metric ``score_metric_``.

        Returns
        -------
        ndarray of shape (n,), float64
            As `p_values`.

        Raises
        ------
        NotFittedError
            Before `fit`.

        See Also
        --------
        p_values : The same of rows.
        """
        return self.model_.p_values_of(errors)

    def detect(self, X: Any, fdr: float = 0.05) -> NDArray[np.bool_]:
        """Return a mask of anomalies whose expected share of false alarms is at most ``fdr``.

        The mask comes from Benjamini and Hochberg's procedure on `p_values` (see
        `aefast.model.false_discoveries.benjamini_hochberg`).

        Parameters
        ----------
        X : array-like of shape (n, d)
            As in `transform`; the result for a row depends on the other rows.
        fdr : float in (0, 1), default 0.05
            The false-discovery rate to allow. With m calibration scores, k of n rows can be reported together only if
            ``fdr`` is at least n / (k (m + 1)), so that small rates need many training rows.

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
            If no row is reported, and a single row could not be, however abnormal it is.

        See Also
        --------
        p_values : What it decides by.
        predict : Decides by the threshold.
        """
        found = benjamini_hochberg(self.p_values(X), fdr)
        remark = "" if found.any() else too_few_held_out(self.model_.calibration.least, len(found), fdr)
        if remark:
            warnings.warn(remark, stacklevel=2)
        return found

    def recalibrate(self, X: Any) -> Self:
        """Set the threshold and the errors that `p_values` compare with anew, without training.

        Use it for rows that have drifted since `fit`, for another ``contamination`` (call ``set_params`` first), or for
        p-values against rows that training has not seen. Weights and scores stay as they are. ``drift_`` says how these
        rows differ from the training rows.

        Parameters
        ----------
        X : array-like of shape (n, d)
            As in `transform`; rows like those to be scored, preferably none that were trained on.

        Returns
        -------
        self
            The estimator, with a new threshold and new p-values.

        Raises
        ------
        ValueError
            As in `transform`; also if ``contamination`` is out of range, or if most rows are beyond the range of
            training, so that no threshold among them could flag a row.
        NotFittedError
            Before `fit`.

        See Also
        --------
        aefast.plots.score_drift : Draws scores beside those of calibration.

        Examples
        --------
        >>> import numpy as np
        >>> from aefast import Autoencoder
        >>> rng = np.random.default_rng(0)
        >>> model = Autoencoder(max_epochs=2, random_state=0).fit(rng.normal(size=(500, 9)))
        >>> X = rng.normal(size=(200, 9))
        >>> model = model.set_params(contamination=0.02).recalibrate(X)
        >>> int((model.predict(X) == -1).sum())
        3
        """
        model = self.model_
        self._validate_params()
        rows = collected(self._rows(X))
        sketch = ScoreSketch(model).update(rows, errors := model.errors(rows))
        sketch.require_in_range()
        self.model_, self.drift_ = model.with_calibration(errors, self.contamination), sketch.drift()
        return self
