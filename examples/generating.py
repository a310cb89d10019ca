"""New digits: a variational autoencoder draws images that are in no data set, and morphs one digit into another."""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.neighbors import NearestNeighbors

from aefast import VariationalAutoencoder, plots
from pictures import digits, options, show


def main(arguments=None):
    folder, picture = options(__doc__, "generating.png", arguments)
    X, y, _, _ = digits(folder)
    side = round(X.shape[1] ** 0.5)

    model = VariationalAutoencoder(
        (400, 10) if folder else (128, 6),
        activation="relu",
        output_activation="sigmoid",
        loss="binary_crossentropy",
        learning_rate=1e-3 if folder else 3e-3,
        batch_size=128 if folder else 64,
        max_epochs=20 if folder else 200,
        early_stopping=False,
        scaler=None,
        random_state=0,
    ).fit(X)
    new = model.sample(60, random_state=0)

    _, (upper, lower) = plt.subplots(2, 1, figsize=(7, 4.0), layout="constrained", height_ratios=(5, 1))
    show(new.reshape(5, 12, -1), ax=upper).set_title("drawn", fontsize="medium")
    start, stop = X[np.flatnonzero(y == 0)[0]], X[np.flatnonzero(y == 7)[0]]
    plots.latent_walk(model, start, stop, image_shape=(side, side), steps=12, ax=lower)
    lower.set_title("from a zero to a seven", fontsize="medium")
    plt.savefig(picture, dpi=120)

    # For comparison: images whose pixels are drawn independently, each from its own distribution.
    pixels = np.take_along_axis(X, np.random.default_rng(0).integers(len(X), size=(60, X.shape[1])), axis=0)
    nearest = NearestNeighbors(n_neighbors=1).fit(X)
    return {
        "distance to the nearest real digit": float(nearest.kneighbors(new)[0].mean()),
        "distance of independent pixels": float(nearest.kneighbors(pixels)[0].mean()),
    }


if __name__ == "__main__":
    print(main())
