"""Methods of a fitted estimator: codes, reconstructions, errors, decisions, reasons and the model file.

Every method hands its input to the estimator's ``model_`` after scikit-learn's checks.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.metadata_routing import UNUSED

from aefast.estimators import files
from aefast.estimators.attributes import FittedAttributes
from aefast.estimators.decisions import DecisionMethods
from aefast.estimators.inputs import read_codes, rows_to_score
from aefast.tables.collect import collected
from aefast.tables.files import write_whole

Array = NDArray[Any]


class FittedMethods(DecisionMethods, FittedAttributes, ClassNamePrefixFeaturesOutMixin, TransformerMixin):
    """Methods of a fitted estimator, with scikit-learn's signs."""

    #: Codes are no metadata: scikit-learn would make `set_inverse_transform_request` of the parameter ``Z``.
    __metadata_request__inverse_transform: ClassVar[dict[str, str]] = {"Z": UNUSED}

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

    def fit_predict(self, X: Any, y: Any = None, **parameters: Any) -> NDArray[np.int64]:
        """Fit, then `predict` the same rows, which are read only once if they are a stream.

        Parameters
        ----------
        X : array-like of shape (n, d)
            As in `fit`.
        y : ignored
            Exists for scikit-learn's conventions.
        **parameters
            Further parameters of `fit`.

        Returns
        -------
        ndarray of shape (n,), int64
            -1 or 1 for each row.
        """
        found: NDArray[np.int64] = super().fit_predict(collected(X), y, **parameters)
        return found

    def fit_transform(self, X: Any, y: Any = None, **parameters: Any) -> Any:
        """Fit, then `transform` the same rows, which are read only once if they are a stream.

        Parameters
        ----------
        X : array-like of shape (n, d)
            As in `fit`.
        y : ignored
            Exists for scikit-learn's conventions.
        **parameters
            Further parameters of `fit`.

        Returns
        -------
        ndarray of shape (n, q), of the estimator's ``dtype``
            As `transform` returns them.
        """
        return super().fit_transform(collected(X), y, **parameters)

    def transform(self, X: Any) -> Array:
        """Return the codes of rows.

        Parameters
        ----------
        X : array-like of shape (n, d)
            Finite numbers in the units of the training data: an array, a data frame or an Arrow table. NaN, and null in
            a table, are accepted unless ``missing="error"``.

        Returns
        -------
        ndarray of shape (n, q), of the estimator's ``dtype``
            Outputs of the code layer, in the container that `set_output` selected.

        Raises
        ------
        ValueError
            If the width or the column names differ from those of the training data, or a value is not finite.
        NotFittedError
            Before `fit`.

        See Also
        --------
        inverse_transform : Rows that belong to codes.
        reconstruct : Both in one step.

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
        """Return the rows that the decoder makes of codes.

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
            If ``Z`` does not have q columns, a value is not finite, or a result does not fit into ``dtype``.
        NotFittedError
            Before `fit`.

        See Also
        --------
        transform : Codes of rows.
        """
        model = self.model_
        return model.decode(read_codes(Z, model.n_codes, self))

    def reconstruct(self, X: Any) -> Array:
        """Return the reconstructions of rows: ``inverse_transform(transform(X))`` in one pass.

        Parameters
        ----------
        X : array-like of shape (n, d)
            As in `transform`.

        Returns
        -------
        ndarray of shape (n, d), of the estimator's ``dtype``
            Reconstructions in the units of the training data. If columns are of several kinds, an array of objects:
            numbers, the most probable levels, and times as weekday and time of day.

        Raises
        ------
        ValueError
            As in `transform`; also if the reconstruction does not fit into ``dtype``.
        NotFittedError
            Before `fit`.

        See Also
        --------
        transform : Codes of rows.
        reconstruction_error : How far rows are from their reconstructions.
        """
        return self.model_.reconstruct(self._rows(X))

    def reconstruction_error(self, X: Any, *, metric: str | None = None, precision: str = "float32") -> Array:
        r"""Return the anomaly score of each row, its reconstruction error; higher is more abnormal.

        The default, ``calibrated``, is the largest of three standardised log distances of the row from the training
        rows, and of a guard of single columns; ``docs/scores.md`` describes it. It is about 0 for a usual row, and one
        unit is the spread of usual rows. Other errors are those of the reconstruction, in the scaled space. With the
        scaled row z, the network's output y, the residual r = y - z, and t, which is z clipped to [0, 1], they are:

        - ``mse``: the mean over features of r^2
        - ``mae``: the mean of \|r\|
        - ``huber``: the mean of r^2 / 2 for \|r\| <= 1, and of \|r\| - 1/2 otherwise
        - ``max``: the largest \|r\|
        - ``binary_crossentropy``: the mean of \|z - t\| - t log y - (1 - t) log(1 - y), in nats
        - ``categorical_crossentropy``: the mean of \|z - t\| - t log y, in nats
        - ``mahalanobis``: the squared Mahalanobis distance of residual and code from those of most training rows,
          divided by d + q (see `aefast.model.whitening`)

        With ``missing="mask"`` the mean is over the features that a row has. For ``mahalanobis`` the residuals of the
        others are 0, and d does not count them. The error of a row without any value is 0, except by ``calibrated``.

        Parameters
        ----------
        X : array-like of shape (n, d)
            As in `transform`.
        metric : str, optional
            One of the metrics above; default ``score_metric_``. Crossentropies require an output activation whose
            values are probabilities; ``calibrated`` and ``mahalanobis`` require a fit with it as ``score_metric``.
        precision : {"float32", "bfloat16", "int8"}, default "float32"
            Precision of the operands of dense layers. "float32" is the estimator's own ``dtype``. Activations and the
            error itself stay float32. "int8" limits each input of a layer to its range in `fit` (``input_ranges_``), in
            255 steps, and rounds weights to 127 steps of the largest weight of their output (Jacob et al. 2018, section
            2.1). It computes layers of fewer than 32 inputs in bfloat16. Layers of fewer than 16 inputs, which gain
            nothing, stay float32, and so do layers of images. Both precisions rank rows nearly as float32 does. They
            are faster if `aefast.config` reports "native", and mostly not if it reports "emulated".

        Returns
        -------
        ndarray of shape (n,), of the estimator's ``dtype``
            One error for each row. It depends neither on the other rows nor on the number of threads.

        Raises
        ------
        ValueError
            As in `transform`; also if a metric or precision is unknown or does not fit the network.
        NotFittedError
            Before `fit`.

        See Also
        --------
        p_values : The same on a scale with a meaning.
        predict : Rows above the threshold.
        explain : The columns that are the reason.
        aefast.evaluate : Compares errors with labels.

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
        """Return each feature's part of its row's error, by the metric ``score_metric_``.

        Parameters
        ----------
        X : array-like of shape (n, d)
            As in `transform`.

        Returns
        -------
        ndarray of shape (n, d), of the estimator's ``dtype``
            The sum of a row is its `reconstruction_error`. For ``max`` the feature with the largest residual has the
            whole error. For ``mahalanobis`` a feature has the square of its whitened residual and a part of the code's
            squares, in proportion to its squared distance from usual rows, divided by d + q (see
            `aefast.model.whitening`). For ``calibrated`` it is the feature's share of the score, and negative if the
            score is.

        Raises
        ------
        ValueError
            As in `transform`.
        NotFittedError
            Before `fit`.

        See Also
        --------
        explain : The largest of them, with values and expected values.
        aefast.plots.feature_error_bars : Draws their sum over rows.
        """
        return self.model_.feature_errors(self._rows(X))

    def explain(self, X: Any, top: Any = 3) -> Any:
        """Return the features with the largest shares of each row's error.

        Parameters
        ----------
        X : array-like of shape (n, d)
            As in `transform`.
        top : int, at least 1, default 3
            Number of features for each row, or all if there are fewer.

        Returns
        -------
        pandas.DataFrame, or a structured ndarray with the same fields if pandas is not installed
            The ``top`` features of each row, largest share first, with the fields ``row`` (position in ``X``),
            ``feature`` (name, or x0, x1, ...), ``value`` and ``expected`` (the reconstruction), both in input units,
            and ``share`` of the row's error, in [0, 1]. A missing value is not a reason, so that a row with few values
            has fewer reasons, or none. With ``missing="mean"``, `feature_errors` has a part for the means that replace
            missing numbers and times, and no reason includes this part. A missing category is a level like others and
            may be a reason.

        Raises
        ------
        ValueError
            As in `transform`; also if ``top`` is less than 1.
        NotFittedError
            Before `fit`.

        See Also
        --------
        feature_errors : The parts of all columns.

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

        The file appears whole or not at all; an existing file is replaced. Callbacks and the state of a
        ``numpy.random.RandomState`` are not saved; a loaded estimator has the defaults for them.

        Parameters
        ----------
        path : str or path-like
            The file; ``.safetensors`` is the customary suffix.

        Raises
        ------
        ValueError
            If another parameter is not data (a user's own noise or schedule) or is not valid; the message names it.
        OSError
            If the file cannot be written.
        NotFittedError
            Before `fit`.

        See Also
        --------
        aefast.load : Reads the file.
        aefast.Checkpoint : Saves the state of training.
        """
        write_whole(path, files.to_bytes(self))
