"""
Faults of a server
==================

A model of a server's usual behaviour scores every minute and names the anomalous metric.

Eight simulated metrics follow the load of the day. Two faults break their correlation for an hour: the values by
themselves stay usual.
"""

import matplotlib.pyplot as plt
import numpy as np

import aefast
from aefast import plots

# %%
# The metrics
# -----------


def server(n_rows, rng):
    """Return n_rows minutes of eight metrics."""
    load = 0.5 + 0.3 * np.sin(2 * np.pi * np.arange(n_rows) / 720) + 0.05 * rng.normal(size=n_rows)
    metrics = load[:, np.newaxis] ** np.linspace(0.5, 2, 8) * np.linspace(1, 0.3, 8)
    return metrics + 0.02 * rng.normal(size=metrics.shape)


rng = np.random.default_rng(0)
train, test, labels = server(4000, rng), server(2000, rng), np.zeros(2000, dtype=bool)
for begin, metric in ((600, 2), (1400, 6)):
    test[begin : begin + 60, metric] += 0.25
    labels[begin : begin + 60] = True

# %%
# Windows
# -------
# aefast scores rows. A row that also holds the four minutes before it shows sudden changes.

WINDOW = 5


def windows(rows):
    """Return each row together with the rows before it."""
    return np.hstack([rows[k : len(rows) - WINDOW + 1 + k] for k in range(WINDOW)])


labels = labels[WINDOW - 1 :]
model = aefast.Autoencoder(contamination=0.01, random_state=0).fit(windows(train))
scores = model.reconstruction_error(windows(test))

fig, ax = plt.subplots(figsize=(10, 3.6), layout="constrained")
plots.scores_over_rows(scores, threshold=model.threshold_, ax=ax)
ax.fill_between(np.arange(len(scores)), 0, 1, where=labels, transform=ax.get_xaxis_transform(), color="0.85", lw=0)
ax.set_xlabel("minute (faults grey)")
plt.show()

result = aefast.evaluate(labels, scores, model.threshold_)
print(f"area under the ROC curve {result.aucroc:.4f}, recall at the threshold {result.recall:.2f}")

# %%
# Which metric?
# -------------
# The shares of the five minutes of a metric are added up. During the second fault, metric 6 has most of the score.

shares = model.feature_errors(windows(test)[1400:1456]).reshape(-1, WINDOW, 8).sum(axis=(0, 1))
faulty_metric = int(shares.argmax())

fig, ax = plt.subplots(figsize=(6, 3), layout="constrained")
ax.bar(range(8), shares / shares.sum())
ax.set(xlabel="metric", ylabel="share of the score in the second fault")
ax.spines[["top", "right"]].set_visible(False)
plt.show()
