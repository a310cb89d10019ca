"""
Filling in missing pixels
=========================

A third of the pixels of each digit are missing, in training too. The network fills them in.

With ``missing="mask"``, the loss is over the pixels that are there. The network never sees a whole image, and still
learns what digits look like.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from aefast import DenoisingAutoencoder

# %%
# Digits with holes
# -----------------

X, X_test = train_test_split(np.float32(load_digits().data / 16), random_state=0)
rng = np.random.default_rng(0)


def with_holes(images):
    """Return the images with a third of their pixels missing."""
    return np.where(rng.random(images.shape) < 1 / 3, np.nan, images)


X_holes, test_holes = with_holes(X), with_holes(X_test)

# %%
# Train
# -----
# ``noise="masking"`` hides further pixels that are known, so that the network has to learn to fill them in.

model = DenoisingAutoencoder(
    (128, 32),
    noise="masking",
    noise_level=0.2,
    missing="mask",
    scaler="standard",
    max_epochs=200,
    early_stopping=False,
    random_state=0,
).fit(X_holes)
rebuilt = np.clip(model.reconstruct(test_holes), 0, 1)
filled = np.where(np.isnan(test_holes), rebuilt, test_holes)

# %%
# Result
# ------
# Squared errors of the missing pixels, beside those of the mean of each pixel.

gaps = np.isnan(test_holes)
means = np.broadcast_to(np.nanmean(X_holes, axis=0), X_test.shape)
errors = {
    "mean of the pixel": float(np.mean((means - X_test)[gaps] ** 2)),
    "autoencoder": float(np.mean((filled - X_test)[gaps] ** 2)),
}

fig, axes = plt.subplots(3, 10, figsize=(8, 2.8), layout="constrained")
palette = plt.get_cmap("gray_r").with_extremes(bad="#f5b58a")
for images, name, row in zip((test_holes, filled, X_test), ("holes", "filled in", "true"), axes, strict=True):
    for image, ax in zip(images, row, strict=False):
        ax.imshow(image.reshape(8, 8), cmap=palette, vmin=0, vmax=1)
        ax.set(xticks=[], yticks=[])
    row[0].set_ylabel(name)
plt.show()
print({name: round(value, 4) for name, value in errors.items()})
