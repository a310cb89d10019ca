"""
Drift and recalibration
=======================

A sensor ages, and more rows are flagged every week. ``recalibrate`` sets the threshold anew, without training.

The scores of normal rows rise slowly over 60 days, because the noise of one column grows. The ranking of the rows
stays useful, but the threshold and the p-values belong to the first day.
"""

import matplotlib.pyplot as plt
import numpy as np

import aefast
from aefast import plots

# %%
# Sixty days
# ----------

rng = np.random.default_rng(0)
mixing = rng.normal(size=(3, 8))


def rows(day, n=500):
    """Return n rows of a day: the noise of the last column grows by 6 % of its first value a day."""
    noise = 0.2 * rng.normal(size=(n, 8))
    noise[:, 7] *= 1 + 0.06 * day
    return rng.normal(size=(n, 3)) @ mixing + noise


model = aefast.Autoencoder(contamination=0.02, random_state=0).fit(rows(0, 5000))
days = np.arange(60)
tables = [rows(day) for day in days]
before = [(model.predict(X) == -1).mean() for X in tables]

# %%
# Look at the drift
# -----------------
# The scores of day 59 beside those of the rows that calibrated the model, and their p-values: the curve would follow
# the diagonal if the day were like training.

last = tables[-1]
fig, (left, right) = plt.subplots(1, 2, figsize=(10, 3.6), layout="constrained")
plots.score_drift(model.reconstruction_error(last), model.calibration_, ax=left)
plots.calibration(model.p_values(last), ax=right)
plt.show()

# %%
# Recalibrate every two weeks
# ---------------------------
# The last seven days set the threshold. Weights and scores stay as they are, so that scores of different weeks remain
# comparable. Keep rows that are known to be anomalous out of it.

after = []
for day, X in zip(days, tables, strict=True):
    if day and day % 14 == 0:
        model = model.recalibrate(np.vstack(tables[day - 7 : day]))
    after.append((model.predict(X) == -1).mean())

fig, ax = plt.subplots(figsize=(9, 3.4), layout="constrained")
ax.plot(days, before, "o-", markersize=3, label="threshold of day 0")
ax.plot(days, after, "o-", markersize=3, label="recalibrated every 14 days")
ax.axhline(0.02, color="0.5", linestyle="--", label="contamination")
ax.set(xlabel="day", ylabel="share of rows flagged")
ax.spines[["top", "right"]].set_visible(False)
ax.legend(frameon=False)
plt.show()

# %%
# Recalibration accepts the new noise as normal. That is right if the change is harmless, and wrong if the ageing sensor
# is the fault to be found. Train anew if the relations between columns have changed.
