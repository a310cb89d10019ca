"""Pictures of models and scores. Every function draws on the Matplotlib axes it is given, or on new ones, and
returns them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import cycle
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from aefast.plots.drawing import (
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    PURPLE,
    SERIES,
    bin_edges,
    finish,
    mosaic,
    new_axes,
    on_time_axis,
    spans_decades,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from aefast.model.calibration import Calibration

__all__ = [
    "calibration",
    "code_scatter",
    "error_histogram",
    "feature_error_bars",
    "latent_walk",
    "loss_curves",
    "precision_recall_curve",
    "reconstruction_grid",
    "roc_curve",
    "score_drift",
    "scores_over_rows",
]


def loss_curves(estimator: Any, *, ax: Axes | None = None) -> Axes:
    """Training and validation loss by epoch, with the epoch whose weights were kept.

    Parameters
    ----------
    estimator : fitted autoencoder
    ax : matplotlib.axes.Axes, optional

    Returns
    -------
    matplotlib.axes.Axes

    Examples
    --------
    >>> import numpy as np, aefast
    >>> from aefast import plots
    >>> X = np.random.default_rng(0).normal(size=(300, 4))
    >>> model = aefast.Autoencoder((2,), max_epochs=3, random_state=0).fit(X)
    >>> plots.loss_curves(model).get_xlabel()
    'epoch'
    """
    ax = new_axes(ax)
    training = np.asarray(estimator.loss_curve_, dtype=float)
    epochs = np.arange(1, len(training) + 1)
    ax.plot(epochs, training, color=BLUE, linewidth=1.8, label="training")
    validation = np.asarray(getattr(estimator, "validation_curve_", None) or [], dtype=float)
    if len(validation):
        ax.plot(np.arange(1, len(validation) + 1), validation, color=ORANGE, linewidth=1.8, label="validation")
        best = int(np.argmin(validation))
        ax.plot([best + 1], [validation[best]], "o", color=ORANGE, markersize=6, label=f"best, epoch {best + 1}")
    both = np.concatenate([training, validation])
    if len(both) and both.min() > 0 and both.max() > 8 * both.min():
        ax.set_yscale("log")
    ax.set_xlabel("epoch")
    ax.set_ylabel("loss")
    finish(ax)
    if len(training):
        ax.legend(frameon=False)
    return ax


def error_histogram(
    errors: ArrayLike,
    *,
    threshold: float | Mapping[str, float] | None = None,
    labels: ArrayLike | None = None,
    bins: int = 60,
    ax: Axes | None = None,
) -> Axes:
    """How often each reconstruction error occurs, and where the threshold cuts.

    Errors that span decades are drawn on logarithmic axes.

    Parameters
    ----------
    errors : array-like of shape (n,)
    threshold : float or mapping of str to float, optional
        Drawn as a line, or as one for each name.
    labels : array-like of shape (n,), optional
        Nonzero for anomalies, which are then drawn apart.
    bins : int
    ax : matplotlib.axes.Axes, optional

    Returns
    -------
    matplotlib.axes.Axes

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
        if highest > 300:  # a few strange rows would not be seen beside thousands
            ax.set_yscale("log")
            ax.set_ylim(bottom=0.7)
    lines = _by_name(threshold)
    for (name, place), style in zip(lines.items(), cycle(("--", ":", "-.")), strict=False):
        if np.isfinite(place):
            ax.axvline(place, color=GREY, linestyle=style, linewidth=1.4, label=name)
    ax.set_xlabel("reconstruction error")
    ax.set_ylabel("rows")
    finish(ax)
    if lines or labels is not None:
        # Above the bars, where it hides none.
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
    """The error of every row in the order of rows or time. Longer tables are drawn as the range and the median of
    equal slices, so that no single strange row is lost.

    Parameters
    ----------
    errors : array-like of shape (n,)
    threshold : float, optional
    times : array-like of shape (n,), datetime64, optional
        When each row was; without, or where some are near the years 1 or 9999, rows are numbered.
    columns : int
        How many slices at most.
    ax : matplotlib.axes.Axes, optional

    Returns
    -------
    matplotlib.axes.Axes

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
    if not is_timed:
        ax.set_xlabel("row" if times is None else "row (some times are beyond the calendar)")
    else:
        locator = dates.AutoDateLocator()  # type: ignore[no-untyped-call]
        ax.xaxis.set_major_locator(locator)
        ax.xaxis.set_major_formatter(dates.ConciseDateFormatter(locator))  # type: ignore[no-untyped-call]
        ax.set_xlabel("time")
    ax.margins(x=0.01)
    ax.set_ylabel("reconstruction error")
    finish(ax)
    ax.legend(frameon=False, ncols=4, loc="lower right", bbox_to_anchor=(1, 1))
    return ax


def reconstruction_grid(
    estimator: Any,
    X: ArrayLike,
    *,
    image_shape: tuple[int, ...],
    titles: Sequence[str] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Images, their reconstructions below them, and below those what the two differ by.

    Parameters
    ----------
    estimator : fitted autoencoder
    X : array-like of shape (n, d)
        A row an image; about a dozen fit.
    image_shape : (height, width) or (height, width, channels)
    titles : sequence of str, optional
        One a row, written above its image.
    ax : matplotlib.axes.Axes, optional

    Returns
    -------
    matplotlib.axes.Axes

    Examples
    --------
    >>> import numpy as np, aefast
    >>> from aefast import plots
    >>> X = np.random.default_rng(0).normal(size=(300, 4))
    >>> model = aefast.Autoencoder((2,), max_epochs=3, random_state=0).fit(X)
    >>> ax = plots.reconstruction_grid(model, X[:3], image_shape=(2, 2))
    >>> [text.get_text() for text in ax.texts]
    ['row', 'reconstruction', 'difference']
    """
    rebuilt = np.asarray(estimator.reconstruct(X), dtype=float)
    X = np.asarray(X, dtype=float)
    low, high = float(X.min()), float(X.max())
    span = high - low or 1.0
    rows = [(X - low) / span, (rebuilt - low) / span, np.abs(X - rebuilt) / span]
    ax = mosaic([row.reshape(len(X), *image_shape) for row in rows], ax)
    height, width = image_shape[:2]
    for k, name in enumerate(("row", "reconstruction", "difference")):
        ax.text(-0.4, (k + 0.5) * (height + 1), name, ha="right", va="center", fontsize="small")
    for k, title in enumerate(titles or ()):
        ax.text((k + 0.5) * (width + 1), -0.5, title, ha="center", va="bottom", fontsize="small")
    return ax


def latent_walk(
    estimator: Any,
    start: ArrayLike,
    stop: ArrayLike,
    *,
    image_shape: tuple[int, ...],
    steps: int = 10,
    ax: Axes | None = None,
) -> Axes:
    """What the decoder makes of the codes on the straight line between the codes of two rows.

    Parameters
    ----------
    estimator : fitted autoencoder
    start, stop : array-like of shape (d,)
        Rows in input units.
    image_shape : (height, width) or (height, width, channels)
    steps : int
    ax : matplotlib.axes.Axes, optional

    Returns
    -------
    matplotlib.axes.Axes

    Examples
    --------
    >>> import numpy as np, aefast
    >>> from aefast import plots
    >>> X = np.random.default_rng(0).normal(size=(300, 4))
    >>> model = aefast.Autoencoder((2,), max_epochs=3, random_state=0).fit(X)
    >>> ax = plots.latent_walk(model, X[0], X[1], image_shape=(2, 2), steps=5)
    >>> len(ax.get_images())
    1
    """
    codes = np.asarray(estimator.transform(np.stack([np.asarray(start), np.asarray(stop)])), dtype=float)
    share = np.linspace(0, 1, steps)[:, np.newaxis]
    images = np.asarray(estimator.inverse_transform((1 - share) * codes[0] + share * codes[1]), dtype=float)
    low, high = images.min(), images.max()
    return mosaic([((images - low) / (high - low or 1.0)).reshape(steps, *image_shape)], ax)


def code_scatter(estimator: Any, X: ArrayLike, *, labels: ArrayLike | None = None, ax: Axes | None = None) -> Axes:
    """Rows as points in the code: its two units, or where there are more the two principal components.

    Parameters
    ----------
    estimator : fitted autoencoder
    X : array-like of shape (n, d)
    labels : array-like of shape (n,), optional
        Groups to colour.
    ax : matplotlib.axes.Axes, optional

    Returns
    -------
    matplotlib.axes.Axes

    Examples
    --------
    >>> import numpy as np, aefast
    >>> from aefast import plots
    >>> X = np.random.default_rng(0).normal(size=(300, 4))
    >>> model = aefast.Autoencoder((2,), max_epochs=3, random_state=0).fit(X)
    >>> plots.code_scatter(model, X, labels=X[:, 0] > 0).get_ylabel()
    'code 2'
    """
    ax = new_axes(ax)
    codes = np.asarray(estimator.transform(X), dtype=float)
    names = ["code 1", "code 2"]
    if codes.shape[1] == 1:
        codes, names[1] = np.column_stack([codes[:, 0], np.zeros(len(codes))]), ""
    elif codes.shape[1] > 2:
        centred = codes - codes.mean(axis=0)
        _, _, directions = np.linalg.svd(centred, full_matrices=False)
        codes, names = centred @ directions[:2].T, ["first component of the code", "second component of the code"]
    groups = np.zeros(len(codes), dtype=int) if labels is None else np.asarray(labels)
    kinds = np.unique(groups)
    colours: Any = SERIES
    if len(kinds) > len(SERIES):
        import matplotlib

        # Ten colours can be told apart; more are a scale.
        few, scale = matplotlib.colormaps["tab10"], matplotlib.colormaps["viridis"]
        colours = few(range(len(kinds))) if len(kinds) <= few.N else scale(np.linspace(0, 0.95, len(kinds)))
    for kind, colour in zip(kinds, colours, strict=False):
        chosen = groups == kind
        ax.scatter(codes[chosen, 0], codes[chosen, 1], s=10, alpha=0.7, linewidths=0, color=colour, label=str(kind))
    ax.set_xlabel(names[0])
    ax.set_ylabel(names[1])
    finish(ax)
    if labels is not None:
        ax.legend(frameon=False, markerscale=2, fontsize="small", ncols=1 + len(kinds) // 12)
    return ax


def feature_error_bars(estimator: Any, X: ArrayLike, *, top: int = 12, ax: Axes | None = None) -> Axes:
    """The features that rows are strange in: each feature's share of the rows' summed error, largest first.

    Parameters
    ----------
    estimator : fitted autoencoder
    X : array-like of shape (n, d)
    top : int
        How many features to draw.
    ax : matplotlib.axes.Axes, optional

    Returns
    -------
    matplotlib.axes.Axes

    Examples
    --------
    >>> import numpy as np, aefast
    >>> from aefast import plots
    >>> X = np.random.default_rng(0).normal(size=(300, 4))
    >>> model = aefast.Autoencoder((2,), max_epochs=3, random_state=0).fit(X)
    >>> ax = plots.feature_error_bars(model, X, top=3)
    >>> len(ax.patches)
    3
    """
    ax = new_axes(ax)
    sums = np.asarray(estimator.feature_errors(X), dtype=float).sum(axis=0)
    shares = sums / (sums.sum() or 1.0)
    names = getattr(estimator, "feature_names_in_", None)
    names = [f"x{j}" for j in range(len(shares))] if names is None else [str(n) for n in names]
    order = np.argsort(-shares, kind="stable")[:top]
    ax.barh(np.arange(len(order)), shares[order], color=BLUE, height=0.7)
    ax.set_yticks(np.arange(len(order)), [names[j] for j in order])
    ax.invert_yaxis()
    ax.set_xlabel("share of the error")
    finish(ax, axis="x")
    return ax


def calibration(p_values: ArrayLike, *, ax: Axes | None = None) -> Axes:
    """The share of rows whose p-value is at most α, against α. Rows like those of training lie on the diagonal;
    a curve above it at the left is what anomalies add.

    Parameters
    ----------
    p_values : array-like of shape (n,)
    ax : matplotlib.axes.Axes, optional

    Returns
    -------
    matplotlib.axes.Axes

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
    ax.set_xlabel("p-value α")
    ax.set_ylabel("share of rows with p ≤ α")
    finish(ax)
    ax.legend(frameon=False, loc="lower right")
    return ax


def score_drift(errors: ArrayLike, calibration: Calibration, *, bins: int = 50, ax: Axes | None = None) -> Axes:
    """The spread of errors beside that of the rows the model was calibrated on, as shares of rows.

    Parameters
    ----------
    errors : array-like of shape (n,)
    calibration : aefast.model.calibration.Calibration
        An estimator's ``calibration_``.
    bins : int
    ax : matplotlib.axes.Axes, optional

    Returns
    -------
    matplotlib.axes.Axes

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
    ax.set_xlabel("reconstruction error")
    ax.set_ylabel("share of rows")
    finish(ax)
    ax.legend(frameon=False)
    return ax


def roc_curve(
    labels: ArrayLike,
    scores: ArrayLike,
    *,
    threshold: float | Mapping[str, float] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """True against false positives over all thresholds.

    Parameters
    ----------
    labels : array-like of shape (n,)
        1 for anomalies, 0 for the others; both must occur.
    scores : array-like of shape (n,)
        Higher for what is more abnormal.
    threshold : float or mapping of str to float, optional
        Where on the curve the rows with scores above it are; a point for each name.
    ax : matplotlib.axes.Axes, optional

    Returns
    -------
    matplotlib.axes.Axes

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
    ax.set_xlabel("share of normal rows flagged")
    ax.set_ylabel("share of anomalies found")
    finish(ax)
    ax.legend(frameon=False, loc="lower right")
    return ax


def precision_recall_curve(
    labels: ArrayLike,
    scores: ArrayLike,
    *,
    threshold: float | Mapping[str, float] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Precision against recall over all thresholds.

    Parameters
    ----------
    labels : array-like of shape (n,)
        1 for anomalies, 0 for the others; both must occur.
    scores : array-like of shape (n,)
        Higher for what is more abnormal.
    threshold : float or mapping of str to float, optional
        Where on the curve the rows with scores above it are; a point for each name.
    ax : matplotlib.axes.Axes, optional

    Returns
    -------
    matplotlib.axes.Axes

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
        {name: place for name, place in _by_name(threshold).items() if (np.asarray(scores) > place).any()},
        lambda found: (np.mean(found[anomalous]), np.mean(anomalous[found])),
    )
    ax.set_ylim(-0.03, 1.03)
    ax.set_xlabel("share of anomalies found")
    ax.set_ylabel("share of flags that are right")
    finish(ax)
    ax.legend(frameon=False)
    return ax


def _by_name(threshold: float | Mapping[str, float] | None) -> Mapping[str, float]:
    return threshold if isinstance(threshold, Mapping) else {} if threshold is None else {"threshold": threshold}


def _mark(ax: Axes, scores: ArrayLike, threshold: Any, point: Callable[[Any], tuple[Any, Any]]) -> None:
    """Draw the ``point`` of the rows that are found above each threshold."""
    marks = zip((ORANGE, GREEN, PURPLE), "oDs", strict=True)
    for (name, place), (colour, marker) in zip(_by_name(threshold).items(), cycle(marks), strict=False):
        x, y = point(np.asarray(scores) > place)
        ax.plot([float(x)], [float(y)], marker, color=colour, markersize=6, label=name)
