"""
Missing values
==============

Tables have gaps. ``missing="mask"`` trains and scores on the values that are there.

Without the parameter, missing values are refused with the place of the first one, because a gap is often the fault
itself. With it, anomalies in the remaining values are still found.
"""

import matplotlib.pyplot as plt
import numpy as np

import aefast

# %%
# The table
# ---------
# Twelve sensors follow three hidden causes. In 100 of the new rows one sensor is off by four standard deviations.

rng = np.random.default_rng(0)
mixing = rng.normal(size=(3, 12))


def sensors(n):
    """Return n rows of twelve correlated sensors."""
    return np.tanh(rng.normal(size=(n, 3)) @ mixing) + 0.05 * rng.normal(size=(n, 12))


train, new = sensors(6000), sensors(2000)
anomalous = np.arange(2000) < 100
new[np.arange(100), rng.integers(12, size=100)] += rng.choice([-1, 1], size=100) * 4 * train.std()


def with_gaps(X, share):
    """Return a copy of X in which this share of the values is missing."""
    return np.where(rng.random(X.shape) < share, np.nan, X)


# %%
# Two ways to treat gaps
# ----------------------
# "mask" leaves missing values out of the loss and the score. "mean" replaces them by the mean of the column.

shares = (0.0, 0.02, 0.05, 0.1, 0.2)
areas = {"mask": [], "mean": []}
for share in shares:
    train_gaps, new_gaps = with_gaps(train, share), with_gaps(new, share)
    for missing, found in areas.items():
        model = aefast.Autoencoder(missing=missing, random_state=0).fit(train_gaps)
        scores = model.reconstruction_error(new_gaps)
        found.append(aefast.evaluate(anomalous, scores, model.threshold_).aucroc)

fig, ax = plt.subplots(figsize=(7, 3.6), layout="constrained")
for (missing, found), style in zip(areas.items(), ("o-", "s--"), strict=True):
    ax.plot(shares, found, style, label=f'missing="{missing}"')
ax.set(xlabel="share of values missing", ylabel="area under the ROC curve")
ax.spines[["top", "right"]].set_visible(False)
ax.legend(frameon=False)
plt.show()

# %%
# A missing value is not a reason
# -------------------------------
# ``explain`` names only columns that have a value. The first anomalous row, with a gap in its first column:

row = new[[0]].copy()
row[0, 0] = np.nan
model = aefast.Autoencoder(missing="mask", random_state=0).fit(with_gaps(train, 0.1))
model.explain(row, top=3)
