"""Building blocks of the pictures: colours, axes, histogram bins, mosaics of images.

The colours are those of Okabe and Ito (2008). People with any kind of colour vision can tell them apart.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BLUE, ORANGE, GREEN, PURPLE, SKY, YELLOW = "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00"
GREY = "#8a8a8a"
SERIES = (BLUE, ORANGE, GREEN, PURPLE, SKY, YELLOW)


def new_axes(ax: Axes | None) -> Axes:
    """Return ``ax``, or the axes of a new figure if it is None."""
    if ax is not None:
        return ax
    import matplotlib.pyplot as plt

    return plt.subplots(layout="constrained")[1]


def finish(ax: Axes, x_label: str, y_label: str, axis: str = "y") -> None:
    """Label the axes, remove the top and right frame lines and draw faint grid lines across ``axis``."""
    ax.set(xlabel=x_label, ylabel=y_label)
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(axis=axis, color=GREY, alpha=0.25, linewidth=0.7)  # type: ignore[arg-type]
    ax.set_axisbelow(True)


def mosaic(rows: list[NDArray[Any]], ax: Axes | None) -> Axes:
    """Draw rows of images with values in [0, 1] as one picture, with a transparent pixel between them."""
    ax = new_axes(ax)
    n, height, width = rows[0].shape[:3]
    canvas = np.zeros((len(rows) * (height + 1) - 1, n * (width + 1) - 1, 4))
    for r, images in enumerate(rows):
        for c, image in enumerate(np.clip(images, 0, 1)):
            spot = canvas[r * (height + 1) :, c * (width + 1) :][:height, :width]
            # Grey images are inverted, like ink on paper: 0 is white.
            coloured = image.ndim == 3 and image.shape[-1] >= 3
            spot[..., :3] = image[..., :3] if coloured else 1 - image.reshape(height, width, 1)
            spot[..., 3] = 1
    ax.imshow(canvas, interpolation="nearest", extent=(0, canvas.shape[1], canvas.shape[0], 0))
    ax.set_axis_off()
    return ax


def spans_decades(values: NDArray[Any]) -> bool:
    """Return True if a linear scale would squeeze most values together: the largest exceeds 30 medians."""
    positive = values[values > 0]
    return len(positive) > 0 and float(positive.max()) > 30 * float(np.median(positive))


def bin_edges(errors: NDArray[Any], bins: int) -> tuple[NDArray[Any], bool]:
    """Return the edges of the histogram bins and whether they are logarithmic.

    The last edge is above all errors. With logarithmic edges the smallest errors may lie below the first edge; callers
    count them in the first bin.
    """
    low, high = float(errors.min()), float(errors.max())
    if spans_decades(errors):
        low = max(low, float(np.quantile(errors[errors > 0], 0.001)))
        return np.geomspace(low, high * (1 + 1e-9), bins + 1), True
    if high <= low:
        low, high = low - 0.5, high + 0.5
    return np.linspace(low, high, bins + 1), False


def on_time_axis(times: ArrayLike) -> bool:
    """Return True if Matplotlib can draw all these times.

    Matplotlib knows the years 1 to 9999 and needs a margin at both ends of the axis. Tables often use the first or the
    last day of the calendar for "never", and such times cannot be drawn.
    """
    at = np.asarray(times, dtype="datetime64[us]")
    within = (at >= np.datetime64("0200-01-01")) & (at < np.datetime64("9800-01-01"))
    return bool(within.all())


def thresholds_by_name(threshold: float | Mapping[str, float] | None) -> Mapping[str, float]:
    """Return the thresholds to draw by the name of each; a single one is named "threshold"."""
    return threshold if isinstance(threshold, Mapping) else {} if threshold is None else {"threshold": threshold}
