"""
Compression to eight numbers
============================

A convolutional network beside eight principal components.

A convolutional layer combines a pixel and its neighbours with the same weights everywhere, so that a few weights are
enough for whole images.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.model_selection import train_test_split

from aefast import ConvolutionalAutoencoder, CosineSchedule

X, X_test = train_test_split(np.float32(load_digits().data / 16), random_state=0)

# %%
# Train
# -----
# Most pixels are 0. With the squared error, training can get stuck with sigmoids that are 0 everywhere; the binary
# crossentropy prevents this.

model = ConvolutionalAutoencoder(
    (8, 8, 1),
    channels=(32, 16),
    code_size=8,
    activation="relu",
    output_activation="sigmoid",
    loss="binary_crossentropy",
    learning_rate=CosineSchedule(5e-3, n_epochs=60),
    batch_size=32,
    max_epochs=60,
    early_stopping=False,
    scaler=None,
    random_state=0,
).fit(X)
pca = PCA(8).fit(X)

# %%
# Result
# ------

reconstructions = {
    "principal components": np.clip(pca.inverse_transform(pca.transform(X_test)), 0, 1),
    "convolutional network": model.reconstruct(X_test),
}
errors = {name: float(np.mean((images - X_test) ** 2)) for name, images in reconstructions.items()}

fig, axes = plt.subplots(3, 10, figsize=(9, 2.8), layout="constrained")
for (name, images), row in zip([("64 pixels", X_test), *reconstructions.items()], axes, strict=True):
    for image, ax in zip(images, row, strict=False):
        ax.imshow(image.reshape(8, 8), cmap="gray_r", vmin=0, vmax=1)
        ax.set(xticks=[], yticks=[])
    row[0].set_ylabel(name.replace(" ", "\n"), rotation=0, ha="right", va="center")
plt.show()
print({name: round(value, 4) for name, value in errors.items()})
