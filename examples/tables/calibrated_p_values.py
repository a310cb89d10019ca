"""
Can a p-value be trusted?
=========================

The p-value of a normal row is below .01 in one of a hundred rows: measured on many models.

P-values are conformal: the share of calibration rows whose score is at least as high. If a new row comes from the same
source, p ≤ α has a probability of about α, whatever the model is worth.
"""

import matplotlib.pyplot as plt
import numpy as np

import aefast

# %%
# Fifty models
# ------------
# Each is trained on 2000 rows of its own and computes p-values of 2000 fresh rows.

rng = np.random.default_rng(0)
weights = rng.normal(size=(3, 8))


def rows(n):
    """Return n rows of one source, with heavy tails."""
    return rng.standard_t(4, size=(n, 3)) @ weights + 0.3 * rng.normal(size=(n, 8))


levels = np.array([0.01, 0.02, 0.05, 0.1, 0.2, 0.5])
shares = []
for seed in range(50):
    model = aefast.Autoencoder(max_epochs=20, random_state=seed).fit(rows(2000))
    p = model.p_values(rows(2000))
    shares.append([(p <= level).mean() for level in levels])
shares = np.array(shares)

# %%
# The share of normal rows at or below each level
# -----------------------------------------------
# Points are single models. They scatter around the level; the mean is close to it.

fig, ax = plt.subplots(figsize=(7, 3.8), layout="constrained")
ax.plot([0.005, 0.7], [0.005, 0.7], "--", color="0.5", label="exact")
for level, column in zip(levels, shares.T, strict=True):
    ax.plot(np.full(50, level), column, ".", color="C0", alpha=0.3)
ax.plot(levels, shares.mean(axis=0), "o", color="C1", label="mean of 50 models")
ax.set(xscale="log", yscale="log", xlabel="level α", ylabel="share of normal rows with p ≤ α", ylim=(1e-3, 1))
ax.spines[["top", "right"]].set_visible(False)
ax.legend(frameon=False)
plt.show()

for level, share in zip(levels, shares.mean(axis=0), strict=True):
    print(f"p <= {level:4}: {share:.4f}")

# %%
# More rows make single models scatter less.
