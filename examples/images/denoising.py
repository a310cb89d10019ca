"""
Denoising
=========

An autoencoder that was trained on noisy digits removes the noise of digits that it has not seen.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from aefast import CosineSchedule, DenoisingAutoencoder

# %%
# Digits and noise
# ----------------
# 1797 images of 8 x 8 pixels in [0, 1], as rows of 64 values.

X, X_test = train_test_split(np.float32(load_digits().data / 16), random_state=0)
rng = np.random.default_rng(0)


def noisy(images):
    """Return the images with normal noise, clipped to [0, 1]."""
    return np.float32(np.clip(images + rng.normal(scale=0.4, size=images.shape), 0, 1))


# %%
# Train
# -----
# ``noise`` may be a function: it gets every minibatch and returns it corrupted. The target is always the clean image.

model = DenoisingAutoencoder(
    (128, 32),
    noise=noisy,
    activation="relu",
    output_activation="sigmoid",
    loss="binary_crossentropy",
    learning_rate=CosineSchedule(3e-3, n_epochs=300),
    batch_size=256,
    max_epochs=300,
    early_stopping=False,
    scaler=None,
    random_state=0,
).fit(X)

# %%
# Result
# ------

X_noisy = noisy(X_test)
X_denoised = model.reconstruct(X_noisy)
errors = {"noisy": float(np.mean((X_noisy - X_test) ** 2)), "denoised": float(np.mean((X_denoised - X_test) ** 2))}

fig, axes = plt.subplots(3, 10, figsize=(8, 2.8), layout="constrained")
for images, name, row in zip((X_test, X_noisy, X_denoised), ("clean", "noisy", "denoised"), axes, strict=True):
    for image, ax in zip(images, row, strict=False):
        ax.imshow(image.reshape(8, 8), cmap="gray_r", vmin=0, vmax=1)
        ax.set(xticks=[], yticks=[])
    row[0].set_ylabel(name)
plt.show()
print({name: round(value, 4) for name, value in errors.items()})
