"""Validity of p-values if the rows that calibrate them have also chosen the epoch.

    python benchmarks/p_values.py [--runs 1000]

Each run draws rows near a plane with heavy tails, fits, and draws 500 rows of the same kind. These rows are normal, so
a share of at most a of them should get p <= a. With m rows held out, exchangeable rows reach the largest multiple of
1 / (m + 1) up to a on average. Standard errors are over runs, which are independent.
"""

import argparse

import numpy as np

import aefast
import results

LEVELS = (0.05, 0.1, 0.2)
LONG = {"n_epochs_no_change": 1000, "max_epochs": 1000}
WIDE = {"encoder_layer_sizes": (32, 4), "learning_rate": 0.02, "batch_size": 32, "score_metric": "mse"}
#: name: (rows, columns, parameters)
CASES = {
    "defaults, 300 rows of 8 columns": (300, 8, {}),
    "defaults, 300 rows of 30 columns": (300, 30, {}),
    "1000 epochs whatever comes": (300, 8, LONG),
    "1000 epochs whatever comes, `score_metric=\"mse\"`": (300, 8, {**LONG, "score_metric": "mse"}),
    "a wide network at 20 times the rate, 300 epochs": (300, 8, {**WIDE, "n_epochs_no_change": 300, "max_epochs": 300}),
    "the same, the last epoch kept": (300, 8, {**WIDE, "early_stopping": False, "max_epochs": 300}),
}  # fmt: skip


def rows_near_a_plane(rng, n_rows, plane):
    """Draw rows: Student's t with 5 degrees of freedom on the plane, plus unit noise."""
    return rng.standard_t(5, size=(n_rows, len(plane))) @ plane + rng.normal(size=(n_rows, plane.shape[1]))


def shares(case, n_runs):
    """Return the number of held-out rows, and for each run the share of normal rows with p at most each level."""
    n_rows, n_columns, parameters = CASES[case]
    rng, found = np.random.default_rng(0), []
    for run in range(n_runs):
        plane = rng.normal(size=(max(2, n_columns // 4), n_columns))
        rows = rows_near_a_plane(rng, n_rows + 500, plane)
        model = aefast.Autoencoder(random_state=run, n_threads=1, **parameters).fit(rows[:n_rows])
        found.append(np.mean(model.p_values(rows[n_rows:])[:, None] <= LEVELS, axis=0))
    return model.calibration_.n_rows, np.array(found)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=1000, help="number of training sets of each case (%(default)s)")
    options = parser.parse_args()
    table = []
    for case in CASES:
        m, found = shares(case, options.runs)
        mean, error = found.mean(axis=0), found.std(axis=0) / np.sqrt(options.runs)
        best = np.floor(np.array(LEVELS) * (m + 1) + 1e-9) / (m + 1)
        table.append([case, m, *(f"{s:.4f} ± {e:.4f} ({b:.4f})" for s, e, b in zip(mean, error, best, strict=True))])
        print(table[-1], flush=True)
    print(results.markdown(["", "held out", *(f"p ≤ {level}" for level in LEVELS)], table))


if __name__ == "__main__":
    main()
