"""
How wide should the code be?
============================

The code should be as wide as the number of independent causes in the table. A wider code also copies anomalies; a
narrower one loses information.

Twelve columns follow four hidden causes. The held-out mean squared error falls until the code has four units; the
curve is the usual way to find the number when there are no labels.
"""

import matplotlib.pyplot as plt
import numpy as np

import aefast

# %%
# The table
# ---------

rng = np.random.default_rng(0)
weights = rng.normal(size=(4, 12))


def rows(n):
    """Return n rows that follow four hidden causes."""
    return np.tanh(rng.normal(size=(n, 4)) @ weights) + 0.1 * rng.normal(size=(n, 12))


train, test = rows(6000), rows(2000)
shifted = test.copy()
shifted[np.arange(2000), rng.integers(12, size=2000)] += 0.5
labels = np.repeat([0, 1], 2000)

# %%
# One to eight units
# ------------------
# ``metric="mse"`` depends on residuals alone and can compare models. The area under the ROC curve shows how well each
# model finds values that are off by .5.

sizes = (1, 2, 3, 4, 5, 6, 8)
mse, areas = [], []
for size in sizes:
    model = aefast.Autoencoder((32, size), learning_rate=5e-3, random_state=0).fit(train)
    mse.append(model.reconstruction_error(test, metric="mse").mean())
    scores = model.reconstruction_error(np.vstack([test, shifted]))
    areas.append(aefast.evaluate(labels, scores, model.threshold_).aucroc)

fig, (left, right) = plt.subplots(1, 2, figsize=(10, 3.4), layout="constrained")
left.plot(sizes, mse, "o-")
left.set(xlabel="units of the code", ylabel="mean squared error of held-out rows", ylim=(0, None))
right.plot(sizes, areas, "o-")
right.set(xlabel="units of the code", ylabel="area under the ROC curve")
for ax in (left, right):
    ax.spines[["top", "right"]].set_visible(False)
plt.show()

# %%
# With fewer than four units the error grows quickly. With more, faulty values are copied as well, and fewer are found.

print(dict(zip(sizes, np.round(areas, 3).tolist(), strict=True)))
