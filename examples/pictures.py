"""What the examples share: their options, digits to work on, and rows of small pictures."""

import argparse
import os
from pathlib import Path

import matplotlib as mpl
import numpy as np

mpl.use("Agg")
import matplotlib.pyplot as plt


def options(about, picture, arguments=None):
    """The folder of real data, which may be None, and where the picture goes."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", default=os.environ.get("AEFAST_DATA"), help="of real data (AEFAST_DATA)")
    parser.add_argument("-o", "--picture", default=picture, help="file to write (%(default)s)")
    given = parser.parse_args(arguments)
    return (Path(given.folder) if given.folder else None), given.picture


def digits(folder, name="mnist"):
    """X_train, y_train, X_test, y_test: rows of pixels in [0, 1].

    Of 28 x 28 from ``mnist.npz`` in ``folder``, or, without one, the 1797 of 8 x 8 that come with scikit-learn.
    """
    if folder is None:
        from sklearn.datasets import load_digits
        from sklearn.model_selection import train_test_split

        X, y = load_digits(return_X_y=True)
        X_train, X_test, y_train, y_test = train_test_split(np.float32(X / 16), y, random_state=0, stratify=y)
        return X_train, y_train, X_test, y_test
    with np.load(folder / f"{name}.npz", allow_pickle=False) as data:
        images = [np.float32(data[key].reshape(len(data[key]), -1)) / 255 for key in ("x_train", "x_test")]
        return images[0], data["y_train"], images[1], data["y_test"]


def show(rows, names=(), ax=None):
    """Rows of square pictures, ink on paper, each row with its name to the left."""
    ax = ax or plt.subplots(figsize=(len(rows[0]) * 0.62 + 1.4, len(rows) * 0.7), layout="constrained")[1]
    side = round(rows[0].shape[1] ** 0.5)
    tiles = [[np.pad(image.reshape(side, side), (0, max(1, side // 14))) for image in row] for row in rows]
    ax.imshow(np.block(tiles), cmap="gray_r", vmin=0, vmax=1)
    ax.set_yticks([(r + 0.5) * len(tiles[0][0]) for r in range(len(names))], names)
    ax.set_xticks([])
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    return ax
