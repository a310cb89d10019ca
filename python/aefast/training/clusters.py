"""Centres and local means of rows, for distances from what is usual."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Doubles = NDArray[np.float64]

#: Steps of k-means; few suffice where centres only have to lie among the rows.
STEPS = 8
#: Number of nearest centres whose mean distance counts.
NEAREST = 3
# Rows that are compared with all centres at once.
_BLOCK = 8192


class LocalMeans(NamedTuple):
    """Means (k, d) of the rows nearest to some anchors, and these rows' mean squared distances (k,) from them."""

    means: Doubles
    spreads: Doubles

    def distances(self, rows: Doubles) -> Doubles:
        """Return the power distance (n,) of each row: the least of its squared distance from a mean plus its spread."""
        found = np.empty(len(rows))
        for begin in range(0, len(rows), _BLOCK):
            block = rows[begin : begin + _BLOCK]
            found[begin : begin + _BLOCK] = (squared_distances(block, self.means) + self.spreads).min(axis=1)
        return found


def squared_distances(rows: Doubles, centres: Doubles) -> Doubles:
    """Return the squared distances (n, k) of rows (n, d) from centres (k, d), at least 0."""
    found: Doubles = rows @ (-2 * centres.T)
    found += np.square(rows).sum(axis=1)[:, None]
    found += np.square(centres).sum(axis=1)
    return np.maximum(found, 0, out=found)


def nearest_mean(distances: Doubles) -> Doubles:
    """Return the mean (n,) of the `NEAREST` smallest of each row's distances (n, k)."""
    n = min(NEAREST, distances.shape[1])
    mean: Doubles = np.partition(distances, n - 1, axis=1)[:, :n].mean(axis=1)
    return mean


def centres_of(
    rows: Doubles, n_centres: int, rng: np.random.Generator, weights: Doubles | None = None, trimmed: float = 0.0
) -> Doubles:
    """Return centres (k, d) of rows (n, d) by Lloyd's algorithm (k-means), which begins at random rows.

    Parameters
    ----------
    rows : ndarray of shape (n, d)
        At least one.
    n_centres : int
        Centres wanted; fewer if there are fewer rows, but at least `NEAREST`.
    rng : Generator
    weights : ndarray of shape (n,), optional
        Weights of the rows.
    trimmed : float, default 0
        From the second step on, this share of the rows, those with the largest mean distance from their three nearest
        centres, moves no centre (impartial trimming, Cuesta-Albertos, Gordaliza and Matran 1997).

    Examples
    --------
    >>> import numpy as np
    >>> from aefast.training.clusters import centres_of
    >>> rows = np.array([[0.0], [0.1], [0.2], [9.0], [9.1], [9.2]])
    >>> np.sort(centres_of(rows, 3, np.random.default_rng(0)), axis=0).shape
    (3, 1)
    """
    n = len(rows)
    if n <= n_centres:
        return np.resize(rows, (max(n, NEAREST), rows.shape[1]))
    centres = rows[rng.choice(n, n_centres, replace=False)]
    weights = np.ones(n) if weights is None else weights
    for step in range(STEPS):
        distances = squared_distances(rows, centres)
        labels, counted = distances.argmin(axis=1), weights
        if step > 0 and trimmed > 0:
            counted = np.where(_farthest(nearest_mean(distances), trimmed, weights), 0.0, weights)
        member = np.zeros((len(centres), n))
        member[labels, np.arange(n)] = counted
        total = member.sum(axis=1)
        has_rows = total > 0
        centres[has_rows] = (member @ rows)[has_rows] / total[has_rows, None]
    return centres


def _farthest(distances: Doubles, share: float, weights: Doubles) -> NDArray[np.bool_]:
    """Return which rows have the largest distances, ``share`` of the weight of all."""
    order = np.argsort(-distances, kind="stable")
    taken = np.cumsum(weights[order]) <= share * weights.sum() * (1 + 1e-9)
    is_far = np.zeros(len(distances), dtype=np.bool_)
    is_far[order[taken]] = True
    return is_far


def local_means(rows: Doubles, anchors: Doubles, mass: float, weights: Doubles | None = None) -> LocalMeans:
    """Return the local means of rows (n, d) around anchors (k, d).

    Each is the mean of the rows nearest to an anchor that together have the share ``mass`` of all. With the power
    distance (see `LocalMeans`) this is the distance to a measure of this mass (Chazal, Cohen-Steiner and Merigot 2011)
    in its version of k points (Brecheteau and Levrard 2020). A group of fewer rows cannot make itself usual: its local
    mean also has rows from elsewhere and pays for their distance.
    """
    n = len(rows)
    distances = squared_distances(anchors, rows)
    if weights is None:
        n_near = max(1, int(np.ceil(mass * n - 1e-9)))
        near = np.argpartition(distances, n_near - 1, axis=1)[:, :n_near]
        members = np.zeros((len(anchors), n))
        np.put_along_axis(members, near, 1.0, axis=1)
    else:
        order = np.argsort(distances, axis=1, kind="stable")
        before = np.cumsum(weights[order], axis=1) - weights[order]
        members = np.zeros((len(anchors), n))
        np.put_along_axis(members, order, np.where(before < mass * weights.sum(), weights[order], 0.0), axis=1)
    members /= members.sum(axis=1, keepdims=True)
    means = members @ rows
    spreads = members @ np.square(rows).sum(axis=1) - np.square(means).sum(axis=1)
    return LocalMeans(means, np.maximum(spreads, 0))
