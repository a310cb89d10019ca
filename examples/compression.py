"""Compression of images to eight numbers: a convolutional network beside eight principal components.

A convolutional layer combines a pixel and its neighbours with the same weights everywhere. A few weights are therefore
enough for whole images.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.decomposition import PCA

from aefast import ConvolutionalAutoencoder, CosineSchedule
from pictures import digits, options, show


def main(arguments=None):
    folder, picture = options(__doc__, "compression.png", arguments)
    X, _, X_test, y_test = digits(folder)
    side = round(X.shape[1] ** 0.5)

    n_epochs = 5 if folder else 60
    model = ConvolutionalAutoencoder(
        (side, side, 1),
        channels=(32, 16),
        code_size=8,
        activation="relu",
        # Most pixels are 0. With the squared error, training could get stuck with sigmoids that are 0 everywhere.
        output_activation="sigmoid",
        loss="binary_crossentropy",
        learning_rate=CosineSchedule(5e-3, n_epochs=n_epochs),
        batch_size=64 if folder else 32,
        max_epochs=n_epochs,
        early_stopping=False,
        scaler=None,
        random_state=0,
    ).fit(X)
    pca = PCA(8).fit(X)

    chosen = [int(np.flatnonzero(y_test == digit)[0]) for digit in range(10)]
    reconstructed = {
        "principal components": np.clip(pca.inverse_transform(pca.transform(X_test)), 0, 1),
        "convolutional network": model.reconstruct(X_test),
    }
    errors = {name: float(np.mean((images - X_test) ** 2)) for name, images in reconstructed.items()}
    names = [f"{name}\n(squared error {errors[name]:.4f})" for name in reconstructed]
    _, ax = plt.subplots(figsize=(8, 2), layout="constrained")
    show(
        [X_test[chosen], *(images[chosen] for images in reconstructed.values())], [f"{side * side} pixels", *names], ax
    )
    plt.savefig(picture, dpi=120, bbox_inches="tight")
    return errors


if __name__ == "__main__":
    print(main())
