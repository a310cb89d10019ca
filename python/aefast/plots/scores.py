"""Pictures of anomaly scores: their histogram, their course over the rows, their calibration and their drift."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import cycle
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from aefast.plots.drawing import (
    BLUE,
    GREY,
    ORANGE,
    bin_edges,
    finish,
    new_axes,
    on_time_axis,
    spans_decades,
    thresholds_by_name,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from aefast.model.calibration import Calibration


def error_histogram(
    errors: ArrayLike,
    *,
    threshold: float | Mapping[str, float] | None = None,
    labels: ArrayLike | None = None,
    bins: int = 60,
    ax: Axes | None = None,
) -> Axes:
    """Draw a histogram of the anomaly scores, with the threshold as a vertical line.

    Both axes become logarithmic if the scores span decades.

    Parameters
    ----------
    errors : array-like of shape (n,)
        Anomaly scores: reconstruction errors, higher for more abnormal rows.
    threshold : float or mapping of str to float, optional
        Scores above it are anomalies. A mapping draws one labelled line for each name.
    labels : array-like of shape (n,), optional
        Nonzero for anomalies. With labels, anomalies and normal rows get histograms of their own.
    bins : int
        Number of bins.
    ax : matplotlib.axes.Axes, optional
        The axes to draw into. Default: new ones.

    Returns
    -------
    matplotlib.axes.Axes
        The axes with the picture.

    See Also
    --------
    scores_over_rows : The scores in the order of the rows.

    Examples
    --------
    >>> import numpy as np
    >>> from aefast import plots
    >>> ax = plots.error_histogram(np.random.default_rng(0).exponential(size=100), threshold=2.0)
    >>> int(sum(bar.get_height() for bar in ax.patches))
    100
    """
    ax = new_axes(ax)
    errors = np.asarray(errors, dtype=float)
    if len(errors):
        edges, logarithmic = bin_edges(errors, bins)
        if logarithmic:
            ax.set_xscale("log")
        clipped = np.maximum(errors, edges[0])
        if labels is None:
            groups = [(clipped, BLUE, "rows")]
        else:
            anomalous = np.asarray(labels).astype(bool)
            groups = [(clipped[~anomalous], BLUE, "normal"), (clipped[anomalous], ORANGE, "labelled anomalous")]
        for values, colour, label in groups:
            ax.hist(values, bins=edges.tolist(), color=colour, alpha=0.75, label=label)
        highest = max((p.get_height() for p in ax.patches if hasattr(p, "get_height")), default=0)
        if highest > 300:  # a few anomalies would be invisible beside thousands of rows on a linear scale
            ax.set_yscale("log")
            ax.set_ylim(bottom=0.7)
    lines = thresholds_by_name(threshold)
    for (name, place), style in zip(lines.items(), cycle(("--", ":", "-.")), strict=False):
        if np.isfinite(place):
            ax.axvline(place, color=GREY, linestyle=style, linewidth=1.4, label=name)
    finish(ax, "anomaly score", "rows")
    if lines or labels is not None:
        # The legend stands above the axes, so that it hides no bar.
        ax.legend(frameon=False, ncols=3, columnspacing=1.2, loc="lower left", bbox_to_anchor=(-0.02, 0.98))
    return ax


def scores_over_rows(
    errors: ArrayLike,
    *,
    threshold: float | None = None,
    times: ArrayLike | None = None,
    columns: int = 600,
    ax: Axes | None = None,
) -> Axes:
    """Draw the anomaly score of every row, in the order of the rows or of time.

    A table of more than ``2 * columns`` rows is cut into ``columns`` equal slices, and each slice is drawn as its range
    and its median. A single high score stays visible that way.

    Parameters
    ----------
    errors : array-like of shape (n,)
        Anomaly scores: reconstruction errors, higher for more abnormal rows.
    threshold : float, optional
        Drawn as a horizontal line; points above it are highlighted.
    times : array-like of shape (n,), datetime64, optional
        Time of each row. Rows are numbered instead if it is None or holds years that Matplotlib cannot draw (before
        200 or after 9799).
    columns : int
        Largest number of slices.
    ax : matplotlib.axes.Axes, optional
        The axes to draw into. Default: new ones.

    Returns
    -------
    matplotlib.axes.Axes
        The axes with the picture.

    See Also
    --------
    error_histogram : The distribution of the scores.

    Examples
    --------
    >>> import numpy as np
    >>> from aefast import plots
    >>> plots.scores_over_rows(np.arange(10.0), threshold=8.5).get_xlabel()
    'row'
    """
    ax = new_axes(ax)
    errors = np.asarray(errors, dtype=float)
    at = np.arange(len(errors), dtype=float)
    is_timed = times is not None and on_time_axis(times)
    if is_timed:
        from matplotlib import dates

        at = dates.date2num(np.asarray(times, dtype="datetime64[us]"))  # type: ignore[no-untyped-call]
        order = np.argsort(at, kind="stable")
        at, errors = at[order], errors[order]
    if len(errors) > 2 * columns:
        bounds = np.linspace(0, len(errors), columns + 1).astype(int)
        slices = [errors[a:b] for a, b in zip(bounds[:-1], bounds[1:], strict=True)]
        middle = at[(bounds[:-1] + bounds[1:]) // 2]
        low, high = np.array([s.min() for s in slices]), np.array([s.max() for s in slices])
        ax.vlines(middle, low, high, color=BLUE, linewidth=1, alpha=0.45, label="range of a slice")
        ax.plot(middle, [np.median(s) for s in slices], color=BLUE, linewidth=1.4, label="median")
        x, y = middle, high
    else:
        x, y = at, errors
        ax.plot(x, y, ".", color=BLUE, markersize=4, alpha=0.7, label="row")
    if threshold is not None and np.isfinite(threshold):
        over = y > threshold
        ax.plot(x[over], y[over], ".", color=ORANGE, markersize=5, label="above the threshold")
        ax.axhline(threshold, color=GREY, linestyle="--", linewidth=1.4, label="threshold")
    if len(errors) and spans_decades(errors):
        ax.set_yscale("log")
    if is_timed:
        # Labels are up to 0.5 inches wide. With fewer than five, the locator has no interval for some ranges.
        width = ax.figure.figure.get_size_inches()[0]
        most = max(5, int(width * 0.9))
        locator = dates.AutoDateLocator(minticks=2, maxticks=most)  # type: ignore[no-untyped-call]
        ax.xaxis.set_major_locator(locator)
        ax.xaxis.set_major_formatter(dates.ConciseDateFormatter(locator))  # type: ignore[no-untyped-call]
    ax.margins(x=0.01)
    untimed = "row" if times is None else "row (some times are out of range)"
    finish(ax, "time" if is_timed else untimed, "anomaly score")
    ax.legend(frameon=False, ncols=4, loc="lower right", bbox_to_anchor=(1, 1))
    return ax


def calibration(p_values: ArrayLike, *, ax: Axes | None = None) -> Axes:
    """Draw the share of rows whose p-value is at most α, against α.

    P-values of rows like those held out in training lie on the diagonal. Above the diagonal, scores are higher than in
    calibration; a jump near 0 suggests anomalies. Below the diagonal, scores are lower than in calibration.

    Parameters
    ----------
    p_values : array-like of shape (n,)
        P-values of the rows, in (0, 1].
    ax : matplotlib.axes.Axes, optional
        The axes to draw into. Default: new ones.

    Returns
    -------
    matplotlib.axes.Axes
        The axes with the picture.

    See Also
    --------
    score_drift : The distributions of the scores themselves.

    Examples
    --------
    >>> import numpy as np
    >>> from aefast import plots
    >>> plots.calibration(np.linspace(0.01, 1, 100)).get_xlabel()
    'p-value α'
    """
    ax = new_axes(ax)
    values = np.sort(np.asarray(p_values, dtype=float))
    shares = np.arange(1, len(values) + 1) / max(len(values), 1)
    if len(values) > 2000:
        chosen = np.unique(np.geomspace(1, len(values), 2000).astype(int) - 1)
        values, shares = values[chosen], shares[chosen]
    ax.plot([0, 1], [0, 1], color=GREY, linestyle="--", linewidth=1.4, label="rows like training")
    ax.plot(values, shares, color=BLUE, linewidth=1.8, label="these rows")
    finish(ax, "p-value α", "share of rows with p ≤ α")
    ax.legend(frameon=False, loc="lower right")
    return ax


def score_drift(errors: ArrayLike, calibration: Calibration, *, bins: int = 50, ax: Axes | None = None) -> Axes:
    """Draw the distribution of anomaly scores beside that of the rows that calibrated the model.

    Parameters
    ----------
    errors : array-like of shape (n,)
        Anomaly scores: reconstruction errors, higher for more abnormal rows.
    calibration : aefast.model.calibration.Calibration
        ``calibration_`` of a fitted estimator.
    bins : int
        Number of bins.
    ax : matplotlib.axes.Axes, optional
        The axes to draw into. Default: new ones.

    Returns
    -------
    matplotlib.axes.Axes
        The axes with the picture.

    See Also
    --------
    calibration : The p-values, which would be uniform.

    Examples
    --------
    >>> import numpy as np
    >>> from aefast import plots
    >>> from aefast.model.calibration import Calibration
    >>> rng = np.random.default_rng(0)
    >>> ax = plots.score_drift(rng.exponential(size=300), Calibration.of(rng.exponential(size=200)))
    >>> [text.get_text() for text in ax.get_legend().get_texts()]
    ['calibration', 'these rows']
    """
    ax = new_axes(ax)
    errors, known = np.asarray(errors, dtype=float), calibration.errors.astype(float)
    edges, logarithmic = bin_edges(np.concatenate([errors, known]), bins)
    if logarithmic:
        ax.set_xscale("log")
    weights = calibration.weights() / calibration.n_rows
    before, _ = np.histogram(np.maximum(known, edges[0]), edges, weights=weights)
    now, _ = np.histogram(np.maximum(errors, edges[0]), edges)
    ax.stairs(before, edges, color=GREY, fill=True, alpha=0.4, label="calibration")
    ax.stairs(now / max(len(errors), 1), edges, color=BLUE, linewidth=1.8, label="these rows")
    finish(ax, "anomaly score", "share of rows")
    ax.legend(frameon=False)
    return ax
