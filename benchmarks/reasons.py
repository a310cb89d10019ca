"""Accuracy of the reasons: whether the changed column is the first reason, in tables of several kinds.

    python benchmarks/reasons.py [--seeds 3] [--columns 3,6,10,20,50]

In each of 400 rows one value is moved up or down by some standard deviations of its column, or replaced by another
row's value ("other"). The default `Autoencoder` is trained on 4000 rows without changes. Its reasons are compared with
the largest squared residual of the same network, and with the value furthest from its mean in standard deviations.
"""

import argparse

import numpy as np

import results
from aefast import Autoencoder

N_TRAINING, N_CHANGED = 4000, 400
CHANGES = ("other", 1, 3, 6, 30)


def independent(rng, n, mixing):
    """Independent normal columns."""
    return rng.normal(size=(n, mixing.shape[1]))


def skewed(rng, n, mixing):
    """Independent columns with long tails."""
    return rng.lognormal(size=(n, mixing.shape[1]))


def linear(rng, n, mixing, noise=0.3):
    """Linear factors, a quarter as many as columns, plus noise."""
    return rng.normal(size=(n, len(mixing))) @ mixing + noise * rng.normal(size=(n, mixing.shape[1]))


def tight(rng, n, mixing):
    """Linear factors with less noise."""
    return linear(rng, n, mixing, noise=0.02)


def curved(rng, n, mixing):
    """Linear factors through tanh."""
    return np.tanh(rng.normal(size=(n, len(mixing))) @ mixing) + 0.1 * rng.normal(size=(n, mixing.shape[1]))


def repeated(rng, n, mixing):
    """Linear factors with the first column repeated; one of the two is changed."""
    X = linear(rng, n, mixing)
    X[:, 1] = X[:, 0]
    return X


KINDS = (independent, skewed, linear, tight, curved, repeated)


def found(kind, d, seed):
    """Return {change: share of the rows in which the changed column comes first, for each method}."""
    rng = np.random.default_rng(seed)
    mixing = rng.normal(size=(max(1, d // 4), d))
    X = kind(rng, N_TRAINING, mixing)
    mean, deviation = X.mean(axis=0), X.std(axis=0)
    model = Autoencoder(random_state=seed, n_threads=1).fit(X)
    shares, every = {}, np.arange(N_CHANGED)
    for change in CHANGES:
        rows = kind(rng, N_CHANGED, mixing)
        column = rng.integers(2 if kind is repeated else d, size=N_CHANGED)
        if change == "other":
            rows[every, column] = X[rng.integers(N_TRAINING, size=N_CHANGED), column]
        else:
            rows[every, column] += change * deviation[column] * rng.choice([-1, 1], size=N_CHANGED)
        first = (
            model.feature_errors(rows).argmax(axis=1),
            np.abs((rows - model.reconstruct(rows)) / model.scaler_scale_).argmax(axis=1),
            np.abs((rows - mean) / deviation).argmax(axis=1),
        )
        shares[change] = [np.mean(each == column) for each in first]
    return shares


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3, help="number of tables of each kind and width (%(default)s)")
    parser.add_argument("--columns", default="3,6,10,20,50", help="widths (%(default)s)")
    options = parser.parse_args()
    widths, seeds = [int(d) for d in options.columns.split(",")], range(options.seeds)
    headers = ["table", *(f"{change} deviations" if change != "other" else change for change in CHANGES)]
    rows, all_shares = [], []
    for kind in KINDS:
        shares = [found(kind, d, seed) for d in widths for seed in seeds]
        mean = np.mean([[each[change] for change in CHANGES] for each in shares], axis=0)
        all_shares.append(mean)
        rows.append([kind.__name__, *(" / ".join(f"{share:.2f}" for share in change) for change in mean)])
    rows.append(["mean", *(" / ".join(f"{share:.2f}" for share in change) for change in np.mean(all_shares, axis=0))])
    print("The changed column comes first by: aefast / squared residual / deviations from the mean.\n")
    print(results.markdown(headers, rows))


if __name__ == "__main__":
    main()
