"""Helpers of the examples: options, digits to train on, and rows of small pictures."""

import argparse
import os
from pathlib import Path

import matplotlib as mpl
import numpy as np

mpl.use("Agg")
import matplotlib.pyplot as plt


def options(about, picture, arguments=None):
    """Parse the options; return the folder of real data, or None, and the file of the picture."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "folder", nargs="?", default=os.environ.get("AEFAST_DATA"), help="folder of real data (AEFAST_DATA)"
    )
    parser.add_argument("-o", "--picture", default=picture, help="file to write (%(default)s)")
    given = parser.parse_args(arguments)
    return (Path(given.folder) if given.folder else None), given.picture


def digits(folder, name="mnist"):
    """Return X_train, y_train, X_test, y_test; rows are images with pixels in [0, 1].

    They are those of 28 x 28 in ``mnist.npz`` in ``folder``. Without a folder they are scikit-learn's 1797 digits of
    8 x 8.
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
    """Draw rows of square pictures, dark on white, each row with its name to the left."""
    ax = ax or plt.subplots(figsize=(len(rows[0]) * 0.62 + 1.4, len(rows) * 0.7), layout="constrained")[1]
    side = round(rows[0].shape[1] ** 0.5)
    tiles = [[np.pad(image.reshape(side, side), (0, max(1, side // 14))) for image in row] for row in rows]
    ax.imshow(np.block(tiles), cmap="gray_r", vmin=0, vmax=1)
    ax.set_yticks([(r + 0.5) * len(tiles[0][0]) for r in range(len(names))], names)
    ax.set_xticks([])
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    return ax
