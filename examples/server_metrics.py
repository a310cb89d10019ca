"""Faults of a server: a model of its usual behaviour scores every step and names the anomalous metrics.

The data are 19 metrics of a real server if the folder has ``asd/omi-2_*.npy`` (Application Server Dataset). Otherwise
they are eight simulated metrics that follow the load of the day, with two faults that break their correlation.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.metrics import roc_auc_score

from aefast import Autoencoder, plots
from pictures import options

WINDOW = 5


def simulated_server(n_rows, rng):
    load = 0.5 + 0.3 * np.sin(2 * np.pi * np.arange(n_rows) / 720) + 0.05 * rng.normal(size=n_rows)
    metrics = load[:, np.newaxis] ** np.linspace(0.5, 2, 8) * np.linspace(1, 0.3, 8)
    return metrics + 0.02 * rng.normal(size=metrics.shape)


def windows(rows):
    """Return each row together with the rows before it, so that sudden changes show."""
    return np.hstack([rows[k : len(rows) - WINDOW + 1 + k] for k in range(WINDOW)])


def main(arguments=None):
    folder, picture = options(__doc__, "server_metrics.png", arguments)
    if folder:
        train, test, labels = (np.load(folder / f"asd/omi-2_{part}.npy") for part in ("train", "test", "test_label"))
    else:
        rng = np.random.default_rng(0)
        train, test, labels = simulated_server(4000, rng), simulated_server(2000, rng), np.zeros(2000)
        for begin, metric in ((600, 2), (1400, 6)):
            test[begin : begin + 60, metric] += 0.25
            labels[begin : begin + 60] = 1
    labels = labels.ravel()[WINDOW - 1 :].astype(bool)

    model = Autoencoder(contamination=0.01, random_state=0).fit(windows(train))
    errors = model.reconstruction_error(windows(test))

    _, ax = plt.subplots(figsize=(10, 3.6), layout="constrained")
    plots.scores_over_rows(errors, threshold=model.threshold_, ax=ax)
    ax.fill_between(np.arange(len(errors)), 0, 1, where=labels, transform=ax.get_xaxis_transform(), color="0.85", lw=0)
    ax.set_xlabel("time step (labelled faults grey)")
    plt.savefig(picture, dpi=120)

    worst = windows(test)[[np.argmax(errors)]]
    shares = model.feature_errors(worst).reshape(WINDOW, -1).sum(axis=0)
    return {
        "AUC": float(roc_auc_score(labels, errors)),
        "most anomalous metric of the worst step": int(np.argmax(shares)),
    }


if __name__ == "__main__":
    print(main())
