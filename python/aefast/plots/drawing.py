"""What the pictures share: colours, axes, bins, mosaics of images.

The colours are those of Okabe and Ito (2008), which people of all colour visions tell apart.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BLUE, ORANGE, GREEN, PURPLE, SKY, YELLOW = "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00"
GREY = "#8a8a8a"
SERIES = (BLUE, ORANGE, GREEN, PURPLE, SKY, YELLOW)


def new_axes(ax: Axes | None) -> Axes:
    """The axes given, or those of a new figure."""
    if ax is not None:
        return ax
    import matplotlib.pyplot as plt

    return plt.subplots(layout="constrained")[1]


def finish(ax: Axes, axis: str = "y") -> None:
    """No frame where there is no scale, and faint lines across ``axis``."""
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(axis=axis, color=GREY, alpha=0.25, linewidth=0.7)  # type: ignore[arg-type]
    ax.set_axisbelow(True)


def mosaic(rows: list[NDArray[Any]], ax: Axes | None) -> Axes:
    """Rows of images in [0, 1] as one picture, a transparent pixel between them."""
    ax = new_axes(ax)
    n, height, width = rows[0].shape[:3]
    canvas = np.zeros((len(rows) * (height + 1) - 1, n * (width + 1) - 1, 4))
    for r, images in enumerate(rows):
        for c, image in enumerate(np.clip(images, 0, 1)):
            spot = canvas[r * (height + 1) :, c * (width + 1) :][:height, :width]
            # Grey images as ink on paper: light where there is nothing.
            coloured = image.ndim == 3 and image.shape[-1] >= 3
            spot[..., :3] = image[..., :3] if coloured else 1 - image.reshape(height, width, 1)
            spot[..., 3] = 1
    ax.imshow(canvas, interpolation="nearest", extent=(0, canvas.shape[1], canvas.shape[0], 0))
    ax.set_axis_off()
    return ax


def spans_decades(values: NDArray[Any]) -> bool:
    """Whether the largest value leaves the others indistinguishable on a linear scale."""
    positive = values[values > 0]
    return len(positive) > 0 and float(positive.max()) > 30 * float(np.median(positive))


def bin_edges(errors: NDArray[Any], bins: int) -> tuple[NDArray[Any], bool]:
    """Edges that hold all errors (those below the first go into the first bin), and whether they are logarithmic."""
    low, high = float(errors.min()), float(errors.max())
    if spans_decades(errors):
        low = max(low, float(np.quantile(errors[errors > 0], 0.001)))
        return np.geomspace(low, high * (1 + 1e-9), bins + 1), True
    if high <= low:
        low, high = low - 0.5, high + 0.5
    return np.linspace(low, high, bins + 1), False


def on_time_axis(times: ArrayLike) -> bool:
    """Whether Matplotlib, which knows the years 1 to 9999, can draw all these times and a margin of a hundredth: not
    the first or the last day of the calendar, say, that stand for never."""
    at = np.asarray(times, dtype="datetime64[us]")
    within = (at >= np.datetime64("0200-01-01")) & (at < np.datetime64("9800-01-01"))
    return bool(within.all())
