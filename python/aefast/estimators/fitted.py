"""Methods of a fitted estimator: codes, reconstructions, errors, decisions, reasons and the model file.

Every method hands its input to the estimator's ``model_`` after scikit-learn's checks.
"""

from __future__ import annotations

from typing import Any

from numpy.typing import ArrayLike, NDArray
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin

from aefast.estimators import files
from aefast.estimators.attributes import FittedAttributes
from aefast.estimators.decisions import DecisionMethods
from aefast.estimators.inputs import read_codes, rows_to_score

Array = NDArray[Any]


class FittedMethods(DecisionMethods, FittedAttributes, ClassNamePrefixFeaturesOutMixin, TransformerMixin):
    """What an estimator answers once it is fitted, with scikit-learn's signs."""

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
