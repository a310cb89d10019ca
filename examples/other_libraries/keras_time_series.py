"""
Keras: anomalies in a time series
=================================

Keras' tutorial "Timeseries anomaly detection using an Autoencoder", with windows as rows of a table.

The original trains a convolutional network on windows of a day and takes the largest mean absolute error in training
as the threshold. A measurement is an anomaly if all windows that contain it are. The tutorial's series is artificial
(NAB, art_daily); this one is made in the same way.

`Original: keras.io/examples/timeseries/timeseries_anomaly_detection
<https://keras.io/examples/timeseries/timeseries_anomaly_detection/>`_
"""

import matplotlib.pyplot as plt
import numpy as np

import aefast

# %%
# The series
# ----------
# A value every five minutes: about 20 by night and 80 from 9 to 18 o'clock, for 14 days. On the eleventh day of the
# test series, the values jump up.

rng = np.random.default_rng(0)


def series(n_days):
    """Return values at every five minutes."""
    hours = np.arange(n_days * 288) % 288 / 12
    return np.where((hours >= 9) & (hours < 18), 80.0, 20.0) + rng.uniform(-4, 4, size=len(hours))


train, test = series(14), series(14)
jump = slice(10 * 288 + 9 * 12, 10 * 288 + 18 * 12)
test[jump] += 80

# %%
# Windows
# -------
# All windows of 288 values. The array is a view: the engine reads rows of any stride, so the windows are not copied.

mean, spread = train.mean(), train.std()
windows, test_windows = (
    np.lib.stride_tricks.sliding_window_view(np.float32((values - mean) / spread), 288) for values in (train, test)
)

# %%
# Train
# -----
# The last tenth of the windows is the validation set, as ``validation_split=0.1`` in Keras.

held_out = len(windows) // 10
model = aefast.Autoencoder(
    256,
    scaler=None,
    max_epochs=50,
    n_epochs_no_change=5,
    score_metric="mae",
    random_state=0,
).fit(windows[:-held_out], validation_data=windows[-held_out:])

# %%
# Score
# -----
# The tutorial's rule: the threshold is the largest error in training, and a value is an anomaly if all windows that
# contain it are.

scores = model.reconstruction_error(test_windows)
threshold = model.reconstruction_error(windows).max()
above = scores > threshold
anomalous = np.zeros(len(test), dtype=bool)
for k in range(287, len(test) - 287):
    anomalous[k] = above[k - 287 : k + 1].all()

fig, ax = plt.subplots(figsize=(10, 3.4), layout="constrained")
ax.plot(np.arange(len(test)) / 288, test, linewidth=0.8)
ax.plot(np.flatnonzero(anomalous) / 288, test[anomalous], ".", color="C3", markersize=3, label="anomaly")
ax.set(xlabel="day", ylabel="value")
ax.spines[["top", "right"]].set_visible(False)
ax.legend(frameon=False)
plt.show()

found = float(anomalous[jump].mean())
false_alarms = int(anomalous.sum() - anomalous[jump].sum())
print(f"{found:.0%} of the jump is found, with {false_alarms} false alarms among {len(test)} values")

# %%
# Loss and time
# -------------
# Both on the same series, with one thread (``python benchmarks/tutorials.py``, Keras 3 on PyTorch 2.13, a busy machine
# with AMD EPYC). The networks differ: the original has a code of 72 x 16 numbers, found by convolutions along time,
# which aefast does not have. Both train at most 50 epochs; the loss is the mean squared error of the held-out windows.
#
# ============ ======= ===========
# library      loss    CPU seconds
# ============ ======= ===========
# Keras        0.0044  78.7
# aefast       0.0039  1.4
# ============ ======= ===========
