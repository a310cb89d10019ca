"""
Planted faults
==============

Which faults does a model find, and does it name the right column? Plant some, and see.

This is the best test of a model for your own table: take rows that are normal, change one value in some of them as a
real fault would, and count what is found.
"""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

import aefast

# %%
# The table
# ---------
# A pump: speed and valve are set, the other columns follow from them.


def pump(n, rng):
    """Return n rows of a pump's measurements."""
    speed, valve = rng.uniform(20, 60, n), rng.uniform(0.2, 1, n)
    flow = speed * valve * rng.normal(1, 0.03, n)
    pressure = 0.05 * speed**2 / (0.5 + valve) * rng.normal(1, 0.03, n)
    power = 0.02 * flow * pressure + 5 + rng.normal(0, 1, n)
    heat = 20 + 0.3 * power + rng.normal(0, 1, n)
    return pd.DataFrame(
        {"speed": speed, "valve": valve, "flow": flow, "pressure": pressure, "power": power, "heat": heat}
    )


rng = np.random.default_rng(0)
train, test = pump(6000, rng), pump(1500, rng)
model = aefast.Autoencoder(contamination=0.01, random_state=0).fit(train)

# %%
# Five kinds of fault
# -------------------
# Each changes one column of every test row.

faults = {
    "stuck at its mean": lambda values: np.full(len(values), values.mean()),
    "10 % too high": lambda values: values * 1.1,
    "30 % too high": lambda values: values * 1.3,
    "of another row": lambda values: rng.permutation(values),
    "unit: x 1000": lambda values: values * 1000,
}

found = pd.DataFrame(index=list(faults), columns=list(test), dtype=float)
named = found.copy()
for kind, change in faults.items():
    for column in test:
        faulty = test.assign(**{column: change(test[column].to_numpy())})
        flagged = model.predict(faulty) == -1
        found.loc[kind, column] = flagged.mean()
        if flagged.any():
            first = model.explain(faulty[flagged], top=1)["feature"]
            named.loc[kind, column] = (first == column).mean()

# %%
# What is found
# -------------
# On the left, the share of faulty rows above the threshold; about one in a hundred normal rows is. On the right, the
# share of the flagged rows whose first reason is the faulty column. Small faults of a column that hardly depends on
# the others cannot be found by anybody.

fig, axes = plt.subplots(1, 2, figsize=(11, 3.8), layout="constrained", sharey=True)
for ax, table, title in ((axes[0], found, "found"), (axes[1], named, "first reason is the faulty column")):
    ax.imshow(table, cmap="Blues", vmin=0, vmax=1.3, aspect="auto")
    ax.set_xticks(range(len(test.columns)), test.columns)
    ax.set_yticks(range(len(faults)), list(faults))
    ax.set_title(title, fontsize="medium")
    for (row, column), value in np.ndenumerate(table.to_numpy()):
        ax.text(column, row, f"{value:.0%}", ha="center", va="center")
    ax.spines[:].set_visible(False)
    ax.tick_params(length=0)
plt.show()
