"""Detection of server faults row by row: AUCROC and average precision beside other detectors.

    python benchmarks/asd.py FOLDER [--only aefast,kNN] [--seeds 0,1] [--servers 1,2,3]

FOLDER holds the Application Server Dataset (omi-N_train.npy, omi-N_test.npy and omi-N_test_label.npy;
https://github.com/zhhlee/InterFusion): 19 metrics per sampling step. Detectors see single rows, not the steps before
them. They use their libraries' defaults and one thread. Columns are scaled to [0, 1] with the training rows.
"""

import argparse
from pathlib import Path

import numpy as np

import command
import results
from detectors import DETECTORS, measure, min_max_scaled, warm_up


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder of .npy files")
    parser.add_argument("--only", help="detectors, comma-separated (all)")
    parser.add_argument("--seeds", default="0,1", help="comma-separated (%(default)s)")
    parser.add_argument("--servers", default="1,2,3", help="comma-separated (%(default)s)")
    options = parser.parse_args()
    names, servers = command.chosen(options.only, DETECTORS), options.servers.split(",")
    seeds = [int(seed) for seed in options.seeds.split(",")]
    warm_up(names)
    tables = [read(options.data, server) for server in servers]
    rows = []
    for name in names:
        found = [[measure(name, *table, seed) for seed in seeds] for table in tables]
        each = [[np.mean([run[what] for run in runs]) for what in ("auc", "ap")] for runs in found]
        seconds = sum(run["cpu"] for runs in found for run in runs)
        figures = [f"{value:.4f}" for pair in [*each, np.mean(each, axis=0)] for value in pair]
        rows.append([name, *figures, f"{seconds:.1f}"])
    headers = [f"{where} {what}" for where in [*(f"server {n}:" for n in servers), "mean"] for what in ("AUCROC", "AP")]
    print(f"\nServers {options.servers}, seeds {options.seeds}, {results.processor()}\n")
    print(results.markdown(["", *headers, "CPU s"], rows))


def read(folder, server):
    """Return training rows, test rows and the labels of the test rows."""
    train, test, labels = (np.load(folder / f"omi-{server}_{part}.npy") for part in ("train", "test", "test_label"))
    return *min_max_scaled(train.astype(np.float64), test.astype(np.float64)), labels.ravel().astype(int)


if __name__ == "__main__":
    main()
