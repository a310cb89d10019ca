"""
A map of digits
===============

Two numbers for each image: a non-linear code beside principal components.

Both reconstruct 64 pixels from two numbers. The autoencoder has the smaller error, and its map separates the digits
better.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.model_selection import train_test_split

from aefast import Autoencoder, CosineSchedule

images, digits = load_digits(return_X_y=True)
X, X_test, _, y_test = train_test_split(np.float32(images / 16), digits, random_state=0, stratify=digits)

# %%
# Train
# -----
# ``activity_l2`` keeps the codes near 0, so that the map has no far outliers.

model = Autoencoder(
    (256, 64, 2),
    activation="tanh",
    activity_l2=1e-4,
    output_activation="sigmoid",
    learning_rate=CosineSchedule(3e-3, n_epochs=200),
    batch_size=64,
    max_epochs=200,
    early_stopping=False,
    scaler=None,
    random_state=0,
).fit(X)
pca = PCA(2).fit(X)

# %%
# The maps
# --------
# Images that training has not seen.

errors = {}
fig, axes = plt.subplots(1, 2, figsize=(10, 4.6), layout="constrained")
for ax, (name, method) in zip(axes, {"principal components": pca, "autoencoder": model}.items(), strict=True):
    codes = method.transform(X_test)
    errors[name] = float(np.mean((method.inverse_transform(codes) - X_test) ** 2))
    points = ax.scatter(*codes.T, c=y_test, cmap="tab10", vmin=-0.5, vmax=9.5, s=12)
    ax.set(title=f"{name}: squared error {errors[name]:.4f} per pixel", xticks=[], yticks=[])
fig.colorbar(points, ax=axes, ticks=range(10), label="digit", pad=0.01)
plt.show()
