"""What a fitted estimator gives besides errors: codes, and rows from codes; with scikit-learn's checks of input."""

from __future__ import annotations

from typing import Any

from numpy.typing import ArrayLike, NDArray
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from aefast.engine import core
from aefast.estimators.inputs import read_codes, read_rows
from aefast.model.model import FittedNetwork

Array = NDArray[Any]


class ReadingMixin(FittedNetwork, ClassNamePrefixFeaturesOutMixin, TransformerMixin):
    """Methods of a fitted autoencoder that read rows and codes."""

    def _predictor(self, code: str = "mean", precision: str = "float32") -> core.Predictor:
        check_is_fitted(self, ["coefs_", "network_"])
        return super()._predictor(code, precision)

    def _encoder(self) -> core.Predictor:
        """What gives the codes of `transform`."""
        return self._predictor()

    def _read(self, X: Any, *, reset: bool = False) -> Array:
        """``X`` as rows (n, d); variants with other shapes of input change this."""
        return read_rows(self, X, reset=reset)

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
        predictor = self._encoder()
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
            If ``Z`` has not q columns, a value is not finite, or a row does not fit into ``dtype``.
        NotFittedError
            Before `fit`.
        """
        predictor = self._predictor()
        codes = read_codes(Z, self._n_features_out, self)
        self._require_finite(codes, "Z")
        return self._as_values(predictor.decode(codes))
