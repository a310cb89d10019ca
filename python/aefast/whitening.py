"""The covariance of training residuals as a linear map, for errors that know how features err together."""

from typing import Any

import numpy as np
from numpy.typing import NDArray


def residual_whitening(residuals: NDArray[Any]) -> NDArray[np.float64]:
    """The map W with W'W = S^-1, S being the shrunk covariance of the residuals around zero.

    The squared length of W r is then the squared Mahalanobis distance of a residual r. Of the many such maps this one,
    W = P^(-1/2) V^(-1/2) with correlations P and variances V, keeps each whitened component closest to its own feature
    (Kessy, Lewin and Strimmer 2018, "ZCA-cor"), so that its square is that feature's part of the distance (Garthwaite
    and Koch 2016, "corr-max"). It does not depend on the order of the features.

    Parameters
    ----------
    residuals : ndarray of shape (n, d)
        Differences between rows and their reconstructions in the scaled space.

    Returns
    -------
    ndarray of shape (d, d), float64
        W. S is shrunk towards a multiple of the identity by the share of Ledoit and Wolf (2004); where all
        residuals are zero, W is the identity.

    Examples
    --------
    >>> import numpy as np
    >>> from aefast.whitening import residual_whitening
    >>> r = np.random.default_rng(0).normal(size=(1000, 2)) @ [[3.0, 1.0], [0.0, 0.5]]
    >>> W = residual_whitening(r)
    >>> bool(np.allclose(np.mean((r @ W.T) ** 2), 1, atol=0.05))
    True
    """
    from sklearn.covariance import ledoit_wolf

    residuals = np.asarray(residuals, dtype=np.float64)
    n_features = residuals.shape[1]
    mean_variance = float(np.mean(residuals**2))
    if not mean_variance > 0:
        return np.eye(n_features)
    # One row says nothing of how features err together.
    alone = len(residuals) == 1
    covariance = np.eye(n_features) * mean_variance if alone else ledoit_wolf(residuals, assume_centered=True)[0]
    covariance = np.reshape(covariance, (n_features, n_features))
    # Shrinkage may be nothing (one feature, or rows that repeat), and a feature may always be met exactly.
    covariance[np.diag_indices(n_features)] += 1e-9 * mean_variance
    deviation = np.sqrt(np.diag(covariance))
    eigenvalues, vectors = np.linalg.eigh(covariance / np.outer(deviation, deviation))
    root = (vectors / np.sqrt(np.maximum(eigenvalues, np.finfo(np.float64).eps * n_features))) @ vectors.T
    whitening: NDArray[np.float64] = root / deviation
    return whitening
