"""Pictures of scores against labels: the ROC curve and the precision-recall curve."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import cycle
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from aefast.plots.drawing import BLUE, GREEN, GREY, ORANGE, PURPLE, finish, new_axes, thresholds_by_name

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def roc_curve(
    labels: ArrayLike,
    scores: ArrayLike,
    *,
    threshold: float | Mapping[str, float] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw the ROC curve: the share of anomalies found against the share of normal rows flagged, over all thresholds.

    Parameters
    ----------
    labels : array-like of shape (n,)
        1 for anomalies, 0 for normal rows; both must occur.
    scores : array-like of shape (n,)
        Anomaly scores, higher for more abnormal rows.
    threshold : float or mapping of str to float, optional
        Marks the point of the curve where rows with scores above the threshold are flagged. A mapping marks one
        labelled point for each name.
    ax : matplotlib.axes.Axes, optional
        The axes to draw into. Default: new ones.

    Returns
    -------
    matplotlib.axes.Axes
        The axes with the picture.

    See Also
    --------
    precision_recall_curve : Shows more if anomalies are rare.
    aefast.evaluate : The measures as numbers.

    Examples
    --------
    >>> import numpy as np
    >>> from aefast import plots
    >>> plots.roc_curve([0, 0, 1], [0.1, 0.2, 0.9]).get_legend().get_texts()[0].get_text()
    'AUC 1.0000'
    """
    from sklearn.metrics import roc_auc_score
    from sklearn.metrics import roc_curve as curve

    ax = new_axes(ax)
    false, true, _ = curve(np.asarray(labels), np.asarray(scores))
    ax.plot([0, 1], [0, 1], color=GREY, linestyle="--", linewidth=1.4)
    ax.plot(false, true, color=BLUE, linewidth=1.8, label=f"AUC {roc_auc_score(labels, scores):.4f}")
    anomalous = np.asarray(labels).astype(bool)
    _mark(ax, scores, threshold, lambda found: (np.mean(found[~anomalous]), np.mean(found[anomalous])))
    finish(ax, "share of normal rows flagged", "share of anomalies found")
    ax.legend(frameon=False, loc="lower right")
    return ax


def precision_recall_curve(
    labels: ArrayLike,
    scores: ArrayLike,
    *,
    threshold: float | Mapping[str, float] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw the precision-recall curve over all thresholds.

    Parameters
    ----------
    labels : array-like of shape (n,)
        1 for anomalies, 0 for normal rows; both must occur.
    scores : array-like of shape (n,)
        Anomaly scores, higher for more abnormal rows.
    threshold : float or mapping of str to float, optional
        Marks the point of the curve where rows with scores above the threshold are flagged. A mapping marks one
        labelled point for each name.
    ax : matplotlib.axes.Axes, optional
        The axes to draw into. Default: new ones.

    Returns
    -------
    matplotlib.axes.Axes
        The axes with the picture.

    See Also
    --------
    roc_curve : The curve that does not depend on how rare anomalies are.
    aefast.evaluate : The measures as numbers.

    Examples
    --------
    >>> import numpy as np
    >>> from aefast import plots
    >>> plots.precision_recall_curve([0, 0, 1], [0.1, 0.2, 0.9]).get_legend().get_texts()[0].get_text()
    'AP 1.0000'
    """
    from sklearn.metrics import average_precision_score
    from sklearn.metrics import precision_recall_curve as curve

    ax = new_axes(ax)
    precision, recall, _ = curve(np.asarray(labels), np.asarray(scores))
    ax.plot(recall, precision, color=BLUE, linewidth=1.8, label=f"AP {average_precision_score(labels, scores):.4f}")
    anomalous = np.asarray(labels).astype(bool)
    _mark(
        ax,
        scores,
        {name: place for name, place in thresholds_by_name(threshold).items() if (np.asarray(scores) > place).any()},
        lambda found: (np.mean(found[anomalous]), np.mean(anomalous[found])),
    )
    ax.set_ylim(-0.03, 1.03)
    finish(ax, "recall", "precision")
    ax.legend(frameon=False)
    return ax


def _mark(ax: Axes, scores: ArrayLike, threshold: Any, point: Callable[[Any], tuple[Any, Any]]) -> None:
    """Mark the point of the curve at each threshold; ``point`` computes it from the mask of flagged rows."""
    marks = zip((ORANGE, GREEN, PURPLE), "oDs", strict=True)
    for (name, place), (colour, marker) in zip(thresholds_by_name(threshold).items(), cycle(marks), strict=False):
        x, y = point(np.asarray(scores) > place)
        ax.plot([float(x)], [float(y)], marker, color=colour, markersize=6, label=name)
