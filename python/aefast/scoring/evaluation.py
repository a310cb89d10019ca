"""Scores judged against labels: how well they rank, and how well thresholds cut."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import Bunch


def evaluate(y: ArrayLike, scores: ArrayLike, threshold: float) -> Bunch:
    """Measure how well scores rank labelled anomalies first and what a threshold finds, with scikit-learn's metrics.

    Parameters
    ----------
    y : array-like of shape (n,)
        1 or True for anomalies, 0 or False for other rows; both must occur.
    scores : array-like of shape (n,)
        Higher for more abnormal rows, as `reconstruction_error` gives; finite.
    threshold : float
        Rows with scores above it count as found, as with a model's ``threshold_``.

    Returns
    -------
    Bunch
        A dictionary of plain numbers, whose values are attributes too: ``n_rows``, ``n_anomalies``, ``aucroc``
        (area under the ROC curve), ``average_precision``, and at the threshold ``threshold``, ``precision`` (0 if
        nothing is found), ``recall``, ``f1`` and ``confusion_matrix``, which is [[true negatives, false positives],
        [false negatives, true positives]]. ``best`` has the same five at the threshold with the largest F1. If several
        thresholds tie, it is the highest: the largest score of the rows that are not found.

    Raises
    ------
    ValueError
        If the lengths differ, a label is neither 0 nor 1, only one kind of label occurs, or a score or the threshold
        is not finite; the message says where.

    See Also
    --------
    plots.roc_curve : Draws the ROC curve.
    plots.precision_recall_curve : Draws the precision-recall curve.

    Examples
    --------
    >>> import aefast
    >>> result = aefast.evaluate([0, 0, 1, 0, 1], [0.1, 0.4, 0.9, 0.7, 0.8], threshold=0.5)
    >>> result.aucroc, round(result.precision, 3), result.recall, result.confusion_matrix
    (1.0, 0.667, 1.0, [[2, 1], [0, 2]])
    >>> result.best
    {'threshold': 0.7, 'precision': 1.0, 'recall': 1.0, 'f1': 1.0, 'confusion_matrix': [[3, 0], [0, 2]]}
    """
    labels, values = _labels(y), np.asarray(scores)
    if values.ndim != 1 or len(values) != len(labels):
        raise ValueError(f"y and scores must be of one length, got {len(labels)} labels and scores of {values.shape}")
    if not np.isfinite(values).all():
        row = int(np.argmin(np.isfinite(values)))
        raise ValueError(f"scores must be finite, but that of row {row} is {values[row]}")
    if not np.isfinite(threshold):
        raise ValueError(f"threshold must be finite, got {threshold!r}")
    n_anomalies = int(np.count_nonzero(labels))
    if len(labels) == 0:
        raise ValueError("y must have labels of both kinds, but it is empty")
    if n_anomalies in (0, len(labels)):
        raise ValueError(f"y must have labels of both kinds, but all {len(labels)} are {n_anomalies and 1}")
    # Imported here because the metrics take longer to import than aefast does.
    from sklearn.metrics import precision_recall_curve, roc_auc_score

    # Sorted rows keep the two metrics' own, slower sorts short.
    order = np.argsort(values)
    labels, values = labels[order], values[order]
    precision, recall, levels = precision_recall_curve(labels, values)
    return Bunch(
        n_rows=len(labels),
        n_anomalies=n_anomalies,
        aucroc=float(roc_auc_score(labels, values)),
        # Equal to scikit-learn's average_precision_score, without computing the curve again.
        average_precision=float(-np.sum(np.diff(recall) * precision[:-1])),
        **_at(labels, values, float(threshold)),
        best=_at(labels, values, _best_threshold(values, precision[:-1], recall[:-1], levels)),
    )


def _labels(y: ArrayLike) -> NDArray[np.bool_]:
    given = np.asarray(y)
    if given.ndim != 1:
        raise ValueError(f"y must have one dimension, got shape {given.shape}")
    if given.dtype == np.bool_:
        return given
    # Compared one by one, so that a value that is not a number equals neither.
    known = (
        np.asarray([value in (0, 1) for value in given.tolist()]) if given.dtype == object else np.isin(given, (0, 1))
    )
    if not known.all():
        row = int(np.argmin(known))
        raise ValueError(f"y must hold 0 and 1 (1 for anomalies), but row {row} has {given.tolist()[row]!r}")
    return given.astype(np.bool_)


def _best_threshold(values: NDArray[Any], precision: Any, recall: Any, levels: Any) -> float:
    """Return the highest threshold with the largest F1: the largest score below those that are found."""
    both = precision + recall
    f1 = np.divide(2 * precision * recall, both, out=np.zeros_like(both), where=both > 0)
    lowest_found = levels[len(f1) - 1 - int(np.argmax(f1[::-1]))]
    below = values[values < lowest_found]
    return float(below.max()) if len(below) else float(np.nextafter(lowest_found, -np.inf, dtype=levels.dtype))


def _at(labels: NDArray[np.bool_], values: NDArray[Any], threshold: float) -> dict[str, Any]:
    found = values > threshold
    n_found, n_right = int(np.count_nonzero(found)), int(np.count_nonzero(found & labels))
    n_anomalies = int(np.count_nonzero(labels))
    n_missed, n_wrong = n_anomalies - n_right, n_found - n_right
    return {
        "threshold": threshold,
        "precision": n_right / n_found if n_found else 0.0,
        "recall": n_right / n_anomalies,
        "f1": 2 * n_right / (n_found + n_anomalies),
        "confusion_matrix": [[len(labels) - n_found - n_missed, n_wrong], [n_missed, n_right]],
    }
