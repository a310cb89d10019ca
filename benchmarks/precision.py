"""Ranking in reduced precision: whether bfloat16 and int8 rank the rows of ADBench's sets as float32 does.

    python benchmarks/precision.py FOLDER [--metrics mse,mahalanobis] [--seeds 2] [--sets 12_fault,44_Wilt]

FOLDER has files `*.npz` with `X` and `y` (1: anomaly). Each set has at most 10,000 rows and is split 70 to 30 by class.
The default estimator, except for `score_metric`, is fitted on the larger part, scaled to [0, 1], without labels. The
errors of the smaller part are compared between precisions: Spearman's correlation, and the change of the area under the
ROC curve.
"""

import argparse
from pathlib import Path

import numpy as np
from scipy.stats import spearmanr
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import train_test_split

import aefast
import results

MOST_ROWS = 10_000
#: precision: (least correlation of a set, largest mean change of the area)
BARS = {"bfloat16": (0.999, 0.002), "int8": (0.99, 0.005)}


def parts(path, seed):
    """Return (training rows, other rows, labels of the other rows)."""
    with np.load(path, allow_pickle=False) as file:
        X, y = file["X"].astype(np.float64), file["y"].astype(int)
    if len(X) > MOST_ROWS:
        X, _, y, _ = train_test_split(X, y, train_size=MOST_ROWS, stratify=y, random_state=seed)
    train, test, _, labels = train_test_split(X, y, test_size=0.3, stratify=y, random_state=seed)
    low, high = train.min(axis=0), train.max(axis=0)
    span = np.where(high > low, high - low, 1.0)
    return (train - low) / span, (test - low) / span, labels


def compare(path, metric, seed):
    """Return {"n_features", "float32": area, precision: (correlation, change of the area)}."""
    train, test, labels = parts(path, seed)
    model = aefast.Autoencoder(score_metric=metric, random_state=seed).fit(train)
    exact = model.reconstruction_error(test)
    area = roc_auc_score(labels, exact)
    found = {"n_features": train.shape[1], "float32": area}
    for precision in BARS:
        errors = model.reconstruction_error(test, precision=precision)
        found[precision] = spearmanr(exact, errors).statistic, roc_auc_score(labels, errors) - area
    return found


def table(paths, metric, seeds):
    """Print the rows of one metric and their targets: the lowest correlation and the mean change over seeds."""
    rows, every = [], {precision: [] for precision in BARS}
    for path in paths:
        runs = [compare(path, metric, seed) for seed in range(seeds)]
        cells = [path.stem, runs[0]["n_features"], f"{np.mean([run['float32'] for run in runs]):.4f}"]
        for precision, found in every.items():
            correlation = min(run[precision][0] for run in runs)
            change = np.mean([abs(run[precision][1]) for run in runs])
            found.append((correlation, change))
            cells += [f"{correlation:.5f}", f"{change:.4f}"]
        rows.append(cells)
    print(f"\n### score_metric={metric!r}, {aefast.config()['isa_level']}\n")
    headers = ["set", "features", "AUC, float32"]
    print(results.markdown(headers + [f"{p}: {what}" for p in BARS for what in ("Spearman", "change of AUC")], rows))
    print()
    for precision, found in every.items():
        correlations, changes = np.array(found).T
        least, most = BARS[precision]
        print(
            f"- {precision}: Spearman at least {correlations.min():.5f} (bar {least}, "
            f"{(correlations < least).sum()} of {len(found)} sets below), mean {correlations.mean():.5f}; "
            f"AUC changes by {changes.mean():.4f} on average (bar {most}), at most {changes.max():.4f}"
        )


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--metrics", default="mse,mahalanobis", help="comma-separated (%(default)s)")
    parser.add_argument("--seeds", type=int, default=2, help="how many (%(default)s)")
    parser.add_argument("--sets", help="names, comma-separated (all)")
    options = parser.parse_args()
    chosen = options.sets and options.sets.split(",")
    paths = sorted(path for path in options.folder.glob("*.npz") if not chosen or path.stem in chosen)
    if not paths:
        raise SystemExit(f"{options.folder} has no such sets")
    for metric in options.metrics.split(","):
        table(paths, metric, options.seeds)


if __name__ == "__main__":
    main()
