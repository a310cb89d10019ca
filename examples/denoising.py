"""Denoising: an autoencoder reconstructs clean digits from noisy digits that it has not seen before."""

import matplotlib.pyplot as plt
import numpy as np

from aefast import CosineSchedule, DenoisingAutoencoder
from pictures import digits, options, show


def main(arguments=None):
    folder, picture = options(__doc__, "denoising.png", arguments)
    X, _, X_test, y_test = digits(folder)
    rng = np.random.default_rng(0)

    def noisy(images):
        return np.float32(np.clip(images + rng.normal(scale=0.4, size=images.shape), 0, 1))

    n_epochs = 300 if len(X) < 10_000 else 20
    model = DenoisingAutoencoder(
        (256, 64) if folder else (128, 32),
        noise=noisy,
        activation="relu",
        output_activation="sigmoid",
        loss="binary_crossentropy",
        learning_rate=CosineSchedule(3e-3, n_epochs=n_epochs),
        batch_size=256,
        max_epochs=n_epochs,
        early_stopping=False,
        scaler=None,
        random_state=0,
    ).fit(X)

    X_noisy = noisy(X_test)
    X_denoised = model.reconstruct(X_noisy)
    chosen = [int(np.flatnonzero(y_test == digit)[0]) for digit in range(10)]
    show([X_test[chosen], X_noisy[chosen], X_denoised[chosen]], ["clean", "noisy", "denoised"])
    plt.savefig(picture, dpi=120)
    return {"noisy": float(np.mean((X_noisy - X_test) ** 2)), "denoised": float(np.mean((X_denoised - X_test) ** 2))}


if __name__ == "__main__":
    print(main())
