"""
Keras: a variational autoencoder of digits
==========================================

The variational autoencoder of Keras' blog, 784-64-2, on scikit-learn's small digits.

The code has two units, so that the whole space of digits can be drawn. The table at the end compares loss and time on
MNIST, the data of the original.

`Original: "Building autoencoders in Keras" <https://blog.keras.io/building-autoencoders-in-keras.html>`_
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits

from aefast import VariationalAutoencoder

digits = load_digits()
X, y = np.float32(digits.data / 16), digits.target

# %%
# Train
# -----
# The objective is the original's: the binary crossentropy summed over pixels, plus the divergence of the code from the
# standard normal distribution.

model = VariationalAutoencoder(
    (64, 2),
    activation="relu",
    output_activation="sigmoid",
    loss="binary_crossentropy",
    scaler=None,
    batch_size=32,
    learning_rate=3e-3,
    max_epochs=100,
    early_stopping=False,
    random_state=0,
).fit(X)

# %%
# The space of digits
# -------------------
# Left: the codes of the digits. Right: what the decoder makes of a grid of codes, at equal steps of probability.

from scipy.stats import norm

side = 14
quantiles = norm.ppf(np.linspace(0.03, 0.97, side))
grid = np.stack(np.meshgrid(quantiles, quantiles[::-1]), axis=-1).reshape(-1, 2)
images = model.inverse_transform(grid).reshape(side, side, 8, 8)

fig, (left, right) = plt.subplots(1, 2, figsize=(10, 4.6), layout="constrained")
points = left.scatter(*model.transform(X).T, c=y, cmap="tab10", vmin=-0.5, vmax=9.5, s=8)
left.set(xlabel="code 1", ylabel="code 2")
fig.colorbar(points, ax=left, ticks=range(10), label="digit")
right.imshow(images.transpose(0, 2, 1, 3).reshape(side * 8, side * 8), cmap="gray_r")
right.axis("off")
plt.show()

elbo = float(model.elbo(X).mean())
print(f"evidence lower bound {elbo:.2f} nats an image")

# %%
# Loss and time on MNIST
# ----------------------
# Two epochs of 60,000 images in batches of 32, with one thread (``python benchmarks/tutorials.py``, Keras 3 on PyTorch
# 2.13, a busy machine with AMD EPYC). The loss is minus the evidence lower bound of the test images, in nats. The
# original trains 100 epochs; ten with aefast take 5.3 CPU seconds and reach 159.9.
#
# ============ ======= ===========
# library      loss    CPU seconds
# ============ ======= ===========
# Keras        168.7   25.4
# aefast       169.0   1.2
# ============ ======= ===========
