"""
A boot among digits
===================

One boot among hundreds of handwritten digits has by far the largest error.

The model is trained on digits only, without labels.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from aefast import Autoencoder, plots

BOOT = "00001777 00002676 00003676 00014787 01267887 67788889 89999889 55555000"

X, X_test = train_test_split(np.float32(load_digits().data / 16), random_state=0)
boot = np.float32([int(pixel) / 9 for pixel in BOOT.replace(" ", "")])
rows = np.vstack([X_test, boot])

# %%
# Train on digits
# ---------------

model = Autoencoder(
    (16,),
    activation="relu",
    code_activation="relu",
    output_activation="sigmoid",
    loss="binary_crossentropy",
    learning_rate=5e-3,
    batch_size=256,
    contamination=0.001,
    score_metric="mse",
    scaler=None,
    random_state=0,
).fit(X)

# %%
# Score all rows
# --------------

errors = model.reconstruction_error(rows)
rank = 1 + int(np.sum(errors[:-1] >= errors[-1]))

fig, ax = plt.subplots(figsize=(7, 3.2), layout="constrained")
plots.error_histogram(errors, threshold=model.threshold_, ax=ax)
ax.annotate("the boot", (errors[-1], 1), (errors[-1], 8), ha="center", arrowprops={"arrowstyle": "->"})
ax.margins(x=0.08)
plt.show()

# %%
# The six rows with the largest errors
# ------------------------------------
# The network reconstructs the boot as something like a digit: it has learned nothing else.

highest = np.argsort(-errors)[:6]
titles = [f"{error:.3f}" for error in errors[highest]]
fig, ax = plt.subplots(figsize=(7, 3.4), layout="constrained")
plots.reconstruction_grid(model, rows[highest], image_shape=(8, 8), titles=titles, ax=ax)
plt.show()
