"""
Columns of numbers, text and times
==================================

One model for a table of payments: an amount, a currency, a shop, a channel and a time.

Faults are planted in 60 of 2000 new payments. Some have an impossible value; others combine values that are usual by
themselves, such as a usual amount in the wrong currency.
"""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

import aefast
from aefast import plots

# %%
# The table
# ---------
# Shops sell in one currency each and have prices of their own. Branches are open by day, the web shop all day.


def payments(n, rng):
    """Return n payments."""
    shop = rng.choice(["Bern", "Lyon", "Oslo", "York"], size=n, p=[0.4, 0.3, 0.2, 0.1])
    currency = pd.Series(shop).map({"Bern": "CHF", "Lyon": "EUR", "Oslo": "NOK", "York": "GBP"})
    level = pd.Series(shop).map({"Bern": 60, "Lyon": 55, "Oslo": 600, "York": 45}).to_numpy()
    channel = rng.choice(["branch", "web"], size=n, p=[0.7, 0.3])
    hour = np.where(channel == "web", rng.uniform(0, 24, n), rng.normal(14, 2, n).clip(8, 20))
    day = rng.integers(0, 28, n)
    return pd.DataFrame(
        {
            "amount": level * rng.lognormal(sigma=0.35, size=n),
            "currency": currency,
            "shop": shop,
            "channel": channel,
            "time": pd.Timestamp("2025-03-01") + pd.to_timedelta(day * 24 + hour, unit="h"),
        }
    )


rng = np.random.default_rng(0)
history, today = payments(8000, rng), payments(2000, rng)
today.head(3)

# %%
# Planted faults
# --------------

fault = np.full(len(today), "", dtype=object)
fault[:20], fault[20:40], fault[40:60] = "amount x 100", "wrong currency", "branch at night"
today.loc[:19, "amount"] *= 100
today.loc[20:39, "currency"] = np.where(today.loc[20:39, "currency"] == "CHF", "GBP", "CHF")
today.loc[40:59, "channel"] = "branch"
today.loc[40:59, "time"] = today.loc[40:59, "time"].dt.normalize() + pd.Timedelta(hours=3)

# %%
# Train and score
# ---------------
# Text becomes a column of levels, the time its place in the day and in the week. Nothing has to be encoded by hand.

model = aefast.Autoencoder(contamination=0.01, random_state=0).fit(history)
scores = model.reconstruction_error(today)

fig, ax = plt.subplots(figsize=(8, 3.6), layout="constrained")
plots.error_histogram(scores, threshold=model.threshold_, labels=fault != "", ax=ax)
plt.show()

# %%
# What was found, and why
# -----------------------
# The share of each kind of fault above the threshold, and its most frequent first reason.

first = model.explain(today, top=1).set_index("row")["feature"]
found = scores > model.threshold_
summary = pd.DataFrame({"fault": fault, "found": found, "reason": first}).query("fault != ''")
summary = summary.groupby("fault").agg(found=("found", "mean"), reason=("reason", lambda names: names.mode()[0]))
summary
