"""
New digits
==========

A variational autoencoder draws images that are in no data set, and morphs one digit into another.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.neighbors import NearestNeighbors

from aefast import VariationalAutoencoder, plots

digits = load_digits()
X, y = np.float32(digits.data / 16), digits.target

# %%
# Train
# -----

model = VariationalAutoencoder(
    (128, 6),
    activation="relu",
    output_activation="sigmoid",
    loss="binary_crossentropy",
    learning_rate=3e-3,
    batch_size=64,
    max_epochs=200,
    early_stopping=False,
    scaler=None,
    random_state=0,
).fit(X)

# %%
# Draw
# ----
# ``sample`` draws codes from the standard normal distribution and decodes them.

new = model.sample(60, random_state=0)

fig, axes = plt.subplots(5, 12, figsize=(8, 3.6), layout="constrained")
for image, ax in zip(new, axes.flat, strict=True):
    ax.imshow(image.reshape(8, 8), cmap="gray_r", vmin=0, vmax=1)
    ax.axis("off")
plt.show()

# %%
# Are they copies? The distance to the nearest real digit is far from 0, and much smaller than that of images whose
# pixels are drawn independently, each from its own distribution.

pixels = np.take_along_axis(X, np.random.default_rng(0).integers(len(X), size=(60, 64)), axis=0)
nearest = NearestNeighbors(n_neighbors=1).fit(X)
distances = {
    "drawn digits": float(nearest.kneighbors(new)[0].mean()),
    "independent pixels": float(nearest.kneighbors(pixels)[0].mean()),
}
print({name: round(value, 2) for name, value in distances.items()})

# %%
# From a zero to a seven
# ----------------------
# The images on the straight line between two codes.

fig, ax = plt.subplots(figsize=(8, 1), layout="constrained")
plots.latent_walk(model, X[y == 0][0], X[y == 7][0], image_shape=(8, 8), steps=12, ax=ax)
plt.show()
