"""Dimensionality reduction to two numbers per image: a non-linear code beside principal components.

Both reconstruct 64 or 784 pixels from two numbers. The autoencoder has the smaller error, and its map separates the
digits better.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.decomposition import PCA

from aefast import Autoencoder, CosineSchedule
from pictures import digits, options


def main(arguments=None):
    folder, picture = options(__doc__, "dimensionality_reduction.png", arguments)
    X, _, X_test, y_test = digits(folder)

    n_epochs = 200 if len(X) < 10_000 else 20
    model = Autoencoder(
        (256, 64, 2),
        activation="tanh",
        activity_l2=1e-4,
        output_activation="sigmoid",
        learning_rate=CosineSchedule(3e-3, n_epochs=n_epochs),
        batch_size=64 if len(X) < 10_000 else 256,
        max_epochs=n_epochs,
        early_stopping=False,
        scaler=None,
        random_state=0,
    ).fit(X)
    pca = PCA(2).fit(X)

    errors = {}
    _, axes = plt.subplots(1, 2, figsize=(10, 4.6), layout="constrained")
    for ax, name, method, back in (
        (axes[0], "principal components", pca, pca.inverse_transform),
        (axes[1], "autoencoder", model, model.inverse_transform),
    ):
        codes = method.transform(X_test)
        errors[name] = float(np.mean((back(codes) - X_test) ** 2))
        points = ax.scatter(*codes.T, c=y_test, cmap="tab10", vmin=-0.5, vmax=9.5, s=4 if len(codes) > 1000 else 12)
        ax.set(title=f"{name}: squared error {errors[name]:.4f} per pixel", xticks=[], yticks=[])
    plt.colorbar(points, ax=axes, ticks=range(10), label="digit", pad=0.01)
    plt.savefig(picture, dpi=120)
    return errors


if __name__ == "__main__":
    print(main())
