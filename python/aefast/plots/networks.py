"""Pictures of a fitted network: its training, its reconstructions, its codes and the features it errs in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from aefast.plots.drawing import BLUE, ORANGE, SERIES, finish, mosaic, new_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def loss_curves(estimator: Any, *, ax: Axes | None = None) -> Axes:
    """Draw the training and validation loss by epoch and mark the epoch with the lowest validation loss.

    Parameters
    ----------
    estimator : fitted autoencoder
        A fitted estimator.
    ax : matplotlib.axes.Axes, optional
        The axes to draw into. Default: new ones.

    Returns
    -------
    matplotlib.axes.Axes
        The axes with the picture.

    See Also
    --------
    aefast.EpochInfo : The losses during training.

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
    model = getattr(estimator, "model_", estimator)
    training = np.asarray(model.loss_curve, dtype=float)
    epochs = np.arange(1, len(training) + 1)
    ax.plot(epochs, training, color=BLUE, linewidth=1.8, label="training")
    validation = np.asarray(model.validation_curve, dtype=float)
    if len(validation):
        ax.plot(np.arange(1, len(validation) + 1), validation, color=ORANGE, linewidth=1.8, label="validation")
        best = int(np.argmin(validation))
        ax.plot([best + 1], [validation[best]], "o", color=ORANGE, markersize=6, label=f"best, epoch {best + 1}")
    both = np.concatenate([training, validation])
    if len(both) and both.min() > 0 and both.max() > 8 * both.min():
        ax.set_yscale("log")
    finish(ax, "epoch", "loss")
    if len(training):
        ax.legend(frameon=False)
    return ax


def reconstruction_grid(
    estimator: Any,
    X: ArrayLike,
    *,
    image_shape: tuple[int, ...],
    titles: Sequence[str] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw images, their reconstructions below them, and the absolute differences below those.

    Parameters
    ----------
    estimator : fitted autoencoder
        A fitted estimator.
    X : array-like of shape (n, d)
        One image per row of ``X``. About a dozen images fit.
    image_shape : (height, width) or (height, width, channels)
        Sides of the images in pixels.
    titles : sequence of str, optional
        One title per image, written above it.
    ax : matplotlib.axes.Axes, optional
        The axes to draw into. Default: new ones.

    Returns
    -------
    matplotlib.axes.Axes
        The axes with the picture.

    See Also
    --------
    latent_walk : Images between the codes of two rows.

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
    """Draw the images that the decoder makes of codes on the straight line between the codes of two rows.

    Parameters
    ----------
    estimator : fitted autoencoder
        A fitted estimator.
    start, stop : array-like of shape (d,)
        The two rows, in input units.
    image_shape : (height, width) or (height, width, channels)
        Sides of the images in pixels.
    steps : int
        Number of images.
    ax : matplotlib.axes.Axes, optional
        The axes to draw into. Default: new ones.

    Returns
    -------
    matplotlib.axes.Axes
        The axes with the picture.

    See Also
    --------
    reconstruction_grid : Images beside their reconstructions.

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
    """Draw each row as a point: its code, or the first two principal components of a code of more than two units.

    Parameters
    ----------
    estimator : fitted autoencoder
        A fitted estimator.
    X : array-like of shape (n, d)
        Rows, in input units.
    labels : array-like of shape (n,), optional
        Group of each row; each group gets its own colour.
    ax : matplotlib.axes.Axes, optional
        The axes to draw into. Default: new ones.

    Returns
    -------
    matplotlib.axes.Axes
        The axes with the picture.

    See Also
    --------
    aefast.Autoencoder.transform : The codes.

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

        # Up to ten groups get distinct colours; more get a continuous colour scale.
        few, scale = matplotlib.colormaps["tab10"], matplotlib.colormaps["viridis"]
        colours = few(range(len(kinds))) if len(kinds) <= few.N else scale(np.linspace(0, 0.95, len(kinds)))
    for kind, colour in zip(kinds, colours, strict=False):
        chosen = groups == kind
        ax.scatter(codes[chosen, 0], codes[chosen, 1], s=10, alpha=0.7, linewidths=0, color=colour, label=str(kind))
    finish(ax, names[0], names[1])
    if labels is not None:
        ax.legend(frameon=False, markerscale=2, fontsize="small", ncols=1 + len(kinds) // 12)
    return ax


def feature_error_bars(estimator: Any, X: ArrayLike, *, top: int = 12, ax: Axes | None = None) -> Axes:
    """Draw each feature's share of the summed error of the rows, largest first.

    Parameters
    ----------
    estimator : fitted autoencoder
        A fitted estimator.
    X : array-like of shape (n, d)
        Rows, in input units.
    top : int
        Number of features to draw.
    ax : matplotlib.axes.Axes, optional
        The axes to draw into. Default: new ones.

    Returns
    -------
    matplotlib.axes.Axes
        The axes with the picture.

    See Also
    --------
    aefast.Autoencoder.explain : The reasons of single rows.

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
    finish(ax, "share of the error", "", axis="x")
    return ax
