"""Mahalanobis distances of a row's residual and code from those of most training rows, as a linear map."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

#: Share of the rows that covariances are computed from; the others may be anomalies.
KEPT = 0.8
#: Largest number of concentration steps; few are needed.
MAX_STEPS = 10
# Smallest variance, as a share of the mean variance. With it, distances in directions without variance stay exact in
# float32.
FLOOR = 1e-6
_LARGEST = 1e70
# Deviation below which a feature is constant.
_LEAST = 1e-9
# Effect of a feature, relative to that of its own residual, below which it counts as none.
_LEAST_EFFECT = 1e-6


class Whitening(NamedTuple):
    """The squared length of ``matrix @ (v - centre)``, for a residual and a code in one vector v, is a distance.

    ``centre`` (p,) and ``matrix`` (p, p) have p = d + q. ``usual`` and ``deviation`` (d,) are mean and standard
    deviation of the features over the closest rows.
    """

    centre: NDArray[np.float64]
    matrix: NDArray[np.float64]
    usual: NDArray[np.float64]
    deviation: NDArray[np.float64]


def joint_whitening(residuals: NDArray[Any], codes: NDArray[Any], rows: NDArray[Any]) -> Whitening:
    """Return robust Mahalanobis distances of residuals and codes together.

    A residual alone cannot detect rows far out along directions that the network has learned; a code alone cannot
    detect rows that leave these directions. With v = [r; h], the residual and the code of a row, the distance is
    (v - m)' S^-1 (v - m). For a linear network it is the Mahalanobis distance of the row itself.

    Anomalies among the training rows would distort m and S. Therefore both come from the closest 80 % of the rows.
    These are found by concentration steps that begin with all rows (Rousseeuw and Van Driessen 1999, theorem 1), with S
    shrunk in each step (Boudt et al. 2020, section 3, with the shrinkage of `shrunk_covariance`), until the rows stay
    the same.

    Several matrices W have W'W = S^-1. This is W = P^(-1/2) V^(-1/2) with correlations P and variances V, for which
    each component of W (v - m) is closest to its own element of v (Kessy, Lewin and Strimmer 2018, section 3.2).
    `turned_to_features` turns these components into the features' parts of the distance.

    Parameters
    ----------
    residuals : ndarray of shape (n, d)
        Rows minus their reconstructions in the scaled space.
    codes : ndarray of shape (n, q)
        Codes of the rows.
    rows : ndarray of shape (n, d)
        The rows in the scaled space.

    Returns
    -------
    Whitening
        m, W, and the mean and standard deviation of each feature over the closest rows; 1 for constant features.

    Examples
    --------
    >>> import numpy as np
    >>> from aefast.model.whitening import joint_whitening
    >>> r = np.random.default_rng(0).normal(size=(1000, 2)) @ [[3.0, 1.0], [0.0, 0.5]]
    >>> h = np.random.default_rng(1).normal(size=(1000, 1))
    >>> whitening = joint_whitening(r, h, r)
    >>> whitening.matrix.shape, whitening.usual.shape
    ((3, 3), (2,))
    """
    joint = np.hstack([residuals, codes]).astype(np.float64)
    # Weights that have nearly diverged can give values whose squares overflow.
    usable = (np.abs(joint) < _LARGEST).all(axis=1)
    if not usable.all():
        joint, codes, rows = (
            part[usable] if usable.any() else np.zeros_like(part[:1]) for part in (joint, codes, rows)
        )
    n_kept = max(1, int(np.ceil(KEPT * len(joint))))
    kept = np.arange(len(joint))
    for _ in range(MAX_STEPS):
        centre = joint[kept].mean(axis=0)
        away = joint - centre
        covariance = shrunk_covariance(away[kept])
        distances = np.einsum("ij,ij->i", away @ np.linalg.inv(covariance), away)
        closest = np.sort(np.argsort(distances, kind="stable")[:n_kept])
        if np.array_equal(closest, kept):
            break
        kept = closest

    spread = np.sqrt(np.diag(covariance))
    eigenvalues, vectors = np.linalg.eigh(covariance / np.outer(spread, spread))
    eigenvalues = np.maximum(eigenvalues, np.finfo(np.float64).eps * len(spread))
    matrix = (vectors / np.sqrt(eigenvalues)) @ vectors.T / spread
    usual, deviation = rows[kept].mean(axis=0), rows[kept].std(axis=0)
    return Whitening(centre, matrix, usual, np.where(deviation > _LEAST, deviation, 1.0))


def turned_to_features(whitening: Whitening, effects: NDArray[np.float64]) -> Whitening:
    """Return the same distances with one component of W (v - m) for each feature.

    If one value of a row is wrong, the network reconstructs other values wrongly too, so that the residual alone does
    not show which value it is. Therefore W is rotated, which changes no length, until its first d components lie along
    the directions in which single features move W (v - m). Of all orthogonal directions these are the closest in the
    sum of squares, by the polar decomposition (Fan and Hoffman 1955, theorem 1). The square of a component is its
    feature's part of the distance (Garthwaite and Koch 2016). For a linear network these parts depend on the covariance
    of the rows alone, however the network divides a change between residual and code.

    The squares of the other q components, which no single feature moves, are divided among the features in proportion
    to the square of each feature's distance from its mean, in its deviations.

    Parameters
    ----------
    whitening : Whitening
        From `joint_whitening`.
    effects : ndarray of shape (d, p)
        Change of v for a change of each feature. A feature without effect counts as one that changes its own residual.

    Returns
    -------
    Whitening
        The same, with another W.

    Examples
    --------
    A network that replaces three measurements of one quantity by their mean:

    >>> import numpy as np
    >>> from aefast.model.whitening import joint_whitening, turned_to_features
    >>> rng = np.random.default_rng(0)
    >>> rows = rng.normal(size=(1000, 1)) + 0.1 * rng.normal(size=(1000, 3))
    >>> codes = rows.mean(axis=1, keepdims=True)
    >>> effects = np.hstack([np.eye(3) - 1 / 3, np.full((3, 1), 1 / 3)])
    >>> whitening = turned_to_features(joint_whitening(rows - codes, codes, rows), effects)
    >>> wrong = np.array([1.0, 0.0, 0.0])
    >>> v = np.append(wrong - wrong.mean(), wrong.mean())
    >>> int(np.square(whitening.matrix @ (v - whitening.centre)).argmax())
    0
    """
    matrix, n_features = whitening.matrix, len(effects)
    directions, own = effects @ matrix.T, matrix[:, :n_features].T
    lengths, own_lengths = (np.linalg.norm(each, axis=1, keepdims=True) for each in (directions, own))
    directions = np.where(lengths > _LEAST_EFFECT * own_lengths, directions, own)
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    left, _, right = np.linalg.svd(directions.T)
    turn = np.vstack([(left[:, :n_features] @ right).T, left[:, n_features:].T])
    return whitening._replace(matrix=turn @ matrix)


def shrunk_covariance(centred: NDArray[np.float64], weights: NDArray[np.float64] | None = None) -> NDArray[np.float64]:
    r"""Return the covariance (d, d) of centred rows (n, d), shrunk towards a multiple of the identity.

    S = (1 - a) C + a m I, C being the rows' covariance, m its mean variance and a = min(b^2 / e^2, 1) with the distance
    e^2 = \|C - m I\|^2 and the estimate b^2 = sum_i \|x_i x_i' - C\|^2 / n^2 of the error of C (Ledoit and Wolf
    2004, equation 14). Variances are at least a millionth of m; where m is zero, S is the identity. With ``weights``
    (n,) of the rows, n is (sum w)^2 / sum w^2.

    Examples
    --------
    >>> import numpy as np
    >>> from aefast.model.whitening import shrunk_covariance
    >>> shrunk_covariance(np.array([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]])).round(3).tolist()
    [[0.5, 0.0], [0.0, 0.5]]
    """
    n_rows, n_features = centred.shape
    fourth = (centred**2).sum(axis=1) ** 2
    if weights is None:
        covariance, mean_fourth, n_effective = centred.T @ centred / n_rows, float(fourth.sum()) / n_rows, float(n_rows)
    else:
        share = weights / weights.sum()
        covariance, mean_fourth = (centred.T * share) @ centred, float(share @ fourth)
        n_effective = 1 / float(share @ share)
    mean_variance = float(np.trace(covariance)) / n_features
    if not mean_variance > 0:
        return np.eye(n_features)
    squared_norm = float((covariance**2).sum())
    distance = squared_norm - n_features * mean_variance**2
    error = (mean_fourth - squared_norm) / n_effective
    share_of_identity = min(error / distance, 1.0) if distance > 0 else 0.0
    shrunk: NDArray[np.float64] = (1 - share_of_identity) * covariance
    shrunk[np.diag_indices(n_features)] += (share_of_identity + FLOOR) * mean_variance
    return shrunk


def shrinkage(centred: NDArray[np.float64], share: NDArray[np.float64]) -> tuple[float, float, NDArray[np.float64]]:
    """Return the weight a of the identity in `shrunk_covariance`, the mean variance m, and the variances (d,).

    The covariance itself is never computed: its norm comes from products of at most 1,024 rows, for wide tables.
    ``share`` (n,) are the weights of the rows, which add up to 1.
    """
    squares = np.square(centred)
    variances = share @ squares
    d, mean_variance, n_effective = centred.shape[1], float(variances.mean()), 1 / float(share @ share)
    if not mean_variance > 0:
        return 1.0, 1.0, np.ones(d)
    few = slice(None, None, 1 + (len(centred) - 1) // 1024)
    some, part = centred[few], share[few] / share[few].sum()
    n_some, of_some = 1 / float(part @ part), part @ squares[few]
    products = np.square(some @ some.T)
    squared_norm = float(part @ products @ part)
    error = (float(part @ np.diag(products)) - squared_norm) / n_some
    distance = squared_norm - d * float(of_some.mean()) ** 2
    # The distance of the true covariance does not depend on the number of rows; the error does.
    error_of_all = error * n_some / n_effective
    distance_of_all = distance - error + error_of_all
    return min(max(error_of_all / distance_of_all, 0.0), 1.0) if distance_of_all > 0 else 1.0, mean_variance, variances
