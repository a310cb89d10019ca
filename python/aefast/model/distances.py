"""The calibrated score: distances of a row from what the training rows have in common, on one scale.

`docs/scores.md` describes the score, `aefast.training.distances` fits it, and the engine computes it.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Doubles = NDArray[np.float64]

#: A row with a value half a range beyond its column's range scores at least this much more than any training row.
BEYOND = float(np.log(1.5))
#: Units by which the guard falls if a value lies nearer to its column's range by a factor e. Fresh rows of many columns
#: often have a value a few percent outside; with this slope, the distances outrank it.
SLOPE = 6.0


class Distances(NamedTuple):
    r"""Everything that the calibrated score of a row follows from, for m elements of the network's inputs.

    v = [r; h] has the residuals of the elements and the code, p numbers; without the code p = m. y are the elements in
    the scaled space, clipped. Each part is standardised: its logarithm less a median, over a spread.

    - D = \|w\|^2 / p with w = W (v - m): the joint distance of residual and code
    - J = the mean of the three smallest \|w - c_k\|^2: the distance from the nearest of the centres c_k
    - P = min_k \|y / span - m_k\|^2 + s_k: the distance of the row itself from local means m_k
    - B = the farthest that a value lies beyond its column's range in training, in units of its column

    The score is max(D, J, P, top + slope log(2 B)) + log(1 + B).

    Attributes
    ----------
    elements : ndarray of shape (m,), int64
        Numbers of the inputs of the network that are scored, ascending.
    centre : ndarray of shape (p,)
    matrix : ndarray of shape (p, p), or (k, p) in the low-rank form
        W. In the low-rank form, for many columns, \|w\|^2 = \|rest (v - m)\|^2 - \|matrix (v - m)\|^2 and
        w = rest (v - m) - matrix' (back matrix (v - m)) / rest.
    rest, back : ndarray of shape (p,) and (k,); empty in the full form
    centres : ndarray of shape (n, p)
        In the space of w.
    span : ndarray of shape (m,)
    means, spreads : ndarray of shape (n, m) and (n,)
    calibration : ndarray of shape (3, 2)
        Median and spread of the logarithms of D, J and P over held-out rows.
    low, high, unit : ndarray of shape (m,)
        Least and largest value in training, and the unit in which a value lies beyond; in units of the input.
    top : ndarray of shape (1,)
        The largest standardised part of any training row.
    slope : ndarray of shape (1,)
    """

    elements: NDArray[np.int64]
    centre: Doubles
    matrix: Doubles
    rest: Doubles
    back: Doubles
    centres: Doubles
    span: Doubles
    means: Doubles
    spreads: Doubles
    calibration: Doubles
    low: Doubles
    high: Doubles
    unit: Doubles
    top: Doubles
    slope: Doubles

    @property
    def limits(self) -> tuple[Doubles, Doubles]:
        """Least and largest value of each element in training."""
        return self.low, self.high


def checked_distances(distances: Distances, n_features: int, n_codes: int) -> Distances:
    """Return distances whose shapes and values fit a network; raise ValueError if they do not."""
    elements, centre, matrix = distances.elements, distances.centre, distances.matrix
    m, p = len(elements), len(centre)
    n_directions = matrix.shape[0] if matrix.ndim == 2 else -1
    is_low_rank = len(distances.rest) > 0
    n_centres, n_means = len(distances.centres), len(distances.means)
    shapes = {
        "elements": (m,),
        "centre": (p,),
        "matrix": (n_directions if is_low_rank else p, p),
        "rest": (p if is_low_rank else 0,),
        "back": (n_directions if is_low_rank else 0,),
        "centres": (n_centres, p),
        "span": (m,),
        "means": (n_means, m),
        "spreads": (n_means,),
        "calibration": (3, 2),
        **dict.fromkeys(("low", "high", "unit"), (m,)),
        "top": (1,),
        "slope": (1,),
    }
    for name, array in distances._asdict().items():
        if array.shape != shapes[name] or not np.isfinite(array).all():
            raise ValueError(f"distances.{name} has a wrong shape or holds NaN or infinity")
    ascends = m > 0 and elements[0] >= 0 and elements[-1] < n_features and (np.diff(elements) > 0).all()
    if not ascends or p not in (m, m + n_codes) or n_centres < 3 or n_means < 1:
        raise ValueError("the distances do not fit the network")
    above_zero = (distances.span, distances.unit, distances.calibration[:, 1], distances.rest, distances.slope)
    if not all((array > 0).all() for array in above_zero) or (distances.high < distances.low).any():
        raise ValueError("a spread or a range of the distances is not above zero")
    return distances


def require_known(scores: NDArray[Any], distances: Distances, tail: Callable[[float], Any] = float) -> None:
    """Raise ValueError if most scores are above those of all rows that were learned: nothing is known of such rows.

    ``tail`` maps the score of numbers to that of the rows.
    """
    share = float((scores > tail(distances.top[0] + BEYOND)).mean())
    if share > 0.5:
        raise ValueError(
            f"{share:.0%} of the rows are more anomalous than any row that the model learned, so it knows nothing "
            "about them: fit a model on rows like them"
        )
