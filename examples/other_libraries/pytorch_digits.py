"""
PyTorch: three numbers for a digit
==================================

The autoencoder of many PyTorch tutorials, 784-128-64-12-3, with a few lines and no loop.

The executed part uses scikit-learn's digits of 8 x 8 pixels. The table at the end compares loss and time on MNIST, the
data of the original.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from aefast import Autoencoder, plots

digits = load_digits()
X, X_test, _, y_test = train_test_split(np.float32(digits.data / 8 - 1), digits.target, random_state=0)

# %%
# Train
# -----
# PyTorch's ``weight_decay`` of Adam is ``l2`` here, ``nn.MSELoss`` is ``loss="mse"``, the last ``nn.Tanh`` is
# ``output_activation``. Pixels are in [-1, 1], as after ``Normalize([0.5], [0.5])``.

model = Autoencoder(
    (128, 64, 12, 3),
    activation="relu",
    output_activation="tanh",
    scaler=None,
    batch_size=128,
    learning_rate=1e-3,
    l2=1e-5,
    max_epochs=300,
    early_stopping=False,
    score_metric="mse",
    random_state=0,
).fit(X)
loss = float(model.reconstruction_error(X_test).mean())
print(f"mean squared error on test: {loss:.4f}")

fig, (left, right) = plt.subplots(1, 2, figsize=(10, 3.6), layout="constrained", width_ratios=(1, 1.4))
plots.loss_curves(model, ax=left)
plots.reconstruction_grid(model, X_test[:10], image_shape=(8, 8), ax=right)
plt.show()

# %%
# The code
# --------
# Three numbers for each image of the test set.

codes = model.transform(X_test)
fig = plt.figure(figsize=(6, 5), layout="constrained")
ax = fig.add_subplot(projection="3d")
points = ax.scatter(*codes.T, c=y_test, cmap="tab10", vmin=-0.5, vmax=9.5, s=10)
fig.colorbar(points, ticks=range(10), label="digit", shrink=0.7, pad=0.12)
plt.show()

# %%
# Loss and time on MNIST
# ----------------------
# Twenty epochs of 60,000 images, with one thread (``python benchmarks/tutorials.py``, PyTorch 2.13, a busy machine with
# AMD EPYC). The loss is the mean squared error of the test images.
#
# ============ ======= ===========
# library      loss    CPU seconds
# ============ ======= ===========
# PyTorch      0.1308  48.9
# aefast       0.1271  17.1
# ============ ======= ===========
