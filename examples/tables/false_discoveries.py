"""
False discoveries
=================

A threshold flags a fixed share of normal rows. ``detect`` instead limits the share of false alarms among the rows that
it flags.

With a threshold, the number of false alarms grows with the table, whether or not it has anomalies. ``detect(X,
fdr=q)`` uses the procedure of Benjamini and Hochberg on p-values: on average over many tables, at most a share q of
the flagged rows are false alarms.
"""

import matplotlib.pyplot as plt
import numpy as np

import aefast

# %%
# One model, many days
# --------------------
# The model is trained once on 40,000 rows. Each of 60 days has 2000 new rows; 0 to 60 of them are anomalous.

rng = np.random.default_rng(0)
mixing = rng.normal(size=(3, 10))


def rows(n):
    """Return n normal rows of ten correlated columns."""
    return rng.normal(size=(n, 3)) @ mixing + 0.3 * rng.normal(size=(n, 10))


model = aefast.Autoencoder(contamination=0.01, random_state=0).fit(rows(40_000))

counts = np.repeat([0, 5, 20, 60], 15)
flagged = {"threshold": [], "fdr 0.1": []}
false = {"threshold": [], "fdr 0.1": []}
for n_anomalies in counts:
    X = rows(2000)
    X[:n_anomalies] += rng.normal(scale=3, size=(n_anomalies, 10))
    masks = {"threshold": model.predict(X) == -1, "fdr 0.1": model.detect(X, fdr=0.1)}
    for name, mask in masks.items():
        flagged[name].append(mask.sum())
        false[name].append(mask[n_anomalies:].sum())

# %%
# False alarms
# ------------
# The threshold flags about 20 normal rows on every day. ``detect`` flags few rows on days without anomalies, and about
# a tenth of what it flags on the other days is false.

fig, axes = plt.subplots(1, 2, figsize=(10, 3.6), layout="constrained", sharey=True)
for ax, name in zip(axes, flagged, strict=True):
    for n_anomalies, position in zip((0, 5, 20, 60), range(4), strict=True):
        days = counts == n_anomalies
        wrong, right = np.mean(np.array(false[name])[days]), np.mean(np.array(flagged[name])[days])
        ax.bar(position, wrong, color="C1", label="false alarms" if position == 0 else None)
        ax.bar(position, right - wrong, bottom=wrong, color="C0", label="anomalies" if position == 0 else None)
    ax.set_xticks(range(4), ["0", "5", "20", "60"])
    ax.set(title=name, xlabel="anomalies among 2000 rows")
    ax.spines[["top", "right"]].set_visible(False)
axes[0].set_ylabel("rows flagged on a day")
axes[0].legend(frameon=False, loc="upper left")
plt.show()

# %%
# The share of false alarms among the flagged rows, averaged over days (0 if nothing is flagged):

share = {name: float(np.mean(np.array(false[name]) / np.maximum(flagged[name], 1))) for name in flagged}
print({name: round(value, 3) for name, value in share.items()})

# %%
# Enough rows are needed
# ----------------------
# The smallest p-value is 1 / (1 + number of calibration rows), here 1/40001. With few of them, a small ``fdr`` can flag
# nothing, however abnormal a row is; ``detect`` then warns.

print(f"{model.calibration_.n_rows} calibration rows, smallest p-value {model.calibration_.least:.5f}")
