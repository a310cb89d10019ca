"""Centres and local means of rows, for distances from what is usual."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from aefast.engine import core

Doubles = NDArray[np.float64]

#: Steps of k-means; few suffice where centres only have to lie among the rows.
STEPS = 8
#: Fewest centres: the engine looks at the three nearest ones of a row.
NEAREST = 3
# The least double that rounds to infinity in float32.
_BEYOND_FLOAT32 = 2.0**128 - 2.0**103


class LocalMeans(NamedTuple):
    """Means (k, d) of the rows nearest to some anchors, and these rows' mean squared distances (k,) from them."""

    means: Doubles
    spreads: Doubles

    def distances(self, rows: Doubles) -> Doubles:
        """Return the power distance (n,) of each row: the least of its squared distance from a mean plus its spread."""
        return core.power_distances(rows, self.means, self.spreads)


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
    return _rounded(core.centres(rows, rows[rng.choice(n, n_centres, replace=False)], weights, STEPS, trimmed))


def local_means(rows: Doubles, anchors: Doubles, mass: float, weights: Doubles | None = None) -> LocalMeans:
    """Return the local means of rows (n, d) around anchors (k, d).

    Each is the mean of the rows nearest to an anchor that together have the share ``mass`` of all. With the power
    distance (see `LocalMeans`) this is the distance to a measure of this mass (Chazal, Cohen-Steiner and Merigot 2011)
    in its version of k points (Brecheteau and Levrard 2020). A group of fewer rows cannot make itself usual: its local
    mean also has rows from elsewhere and pays for their distance.
    """
    means, spreads = core.local_means(rows, anchors, mass, weights)
    return LocalMeans(_rounded(means), spreads)


def _rounded(centres: Doubles) -> Doubles:
    """Return centres whose float32 is exact, so that files have half of the bytes, unless they are too large."""
    fits = np.abs(centres).max() < _BEYOND_FLOAT32
    return centres.astype(np.float32).astype(np.float64) if fits else centres
