"""
Parts of digits
===============

A sparse autoencoder describes each digit by ten strokes out of a hundred.

The code is wider than the image, but only the ``k`` largest units of a row are kept (Makhzani and Frey 2013). Each unit
then stands for a part that occurs in many images.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits

from aefast import SparseAutoencoder

X = np.float32(load_digits().data / 16)

# %%
# Train
# -----

model = SparseAutoencoder(
    (100,), sparsity="topk", k=10, activation="relu", learning_rate=5e-3, scaler=None, random_state=0
).fit(X)
codes = model.transform(X)
active = (codes != 0).sum(axis=1)
print(f"units active in a row: {active.min()} to {active.max()}")

# %%
# What a unit draws
# -----------------
# The decoder's weights of the sixty units that are used most: what each adds to the image.

used = np.argsort(-(codes != 0).mean(axis=0))[:60]
parts = model.coefs_[1][used]
limit = np.abs(parts).max()

fig, axes = plt.subplots(5, 12, figsize=(8, 3.6), layout="constrained")
for part, ax in zip(parts, axes.flat, strict=True):
    ax.imshow(part.reshape(8, 8), cmap="PuOr", vmin=-limit, vmax=limit)
    ax.axis("off")
plt.show()

# %%
# A digit, and the ten parts it is made of
# ----------------------------------------

row = 5
strongest = np.argsort(-np.abs(codes[row]))[:10]
fig, axes = plt.subplots(1, 12, figsize=(10, 1.3), layout="constrained")
axes[0].imshow(X[row].reshape(8, 8), cmap="gray_r")
axes[0].set_title("digit", fontsize="small")
axes[1].imshow(model.reconstruct(X[[row]])[0].reshape(8, 8), cmap="gray_r")
axes[1].set_title("ten parts", fontsize="small")
for unit, ax in zip(strongest, axes[2:], strict=True):
    ax.imshow((codes[row, unit] * model.coefs_[1][unit]).reshape(8, 8), cmap="PuOr", vmin=-0.5, vmax=0.5)
for ax in axes:
    ax.axis("off")
plt.show()
