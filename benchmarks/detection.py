"""Detection of anomalies: AUCROC on labelled tables, beside other detectors, all with their defaults.

    python benchmarks/detection.py FOLDER [--only aefast,kNN] [--seeds 0,1] [--json FILE] [--reuse FILE] [--missing .05]

FOLDER holds ADBench's tables (.npz files with ``X`` and ``y``, 1 being an anomaly; https://github.com/Minqi824/ADBench).
At most 10,000 rows of each are used. There are two protocols, with the same splits for all detectors:

- contaminated: train on 70 % of the rows, anomalies included, and rank the other 30 % (a stratified split);
- normals: train on normal rows, and rank all anomalies and as many other normal rows.

With --missing, this share of all values, in training and ranked rows, is missing at random. aefast then has
``missing="mask"``; the other detectors get the mean of the column's known training values instead.

Figures are means over tables and seeds. Columns are scaled to [0, 1] with the training rows. Each detector has one
thread. Times are the wall and CPU seconds of fitting and scoring; CPU seconds are compared, because they do not depend
on other work on the machine.
"""

import argparse
import json
from pathlib import Path

import numpy as np
from sklearn.model_selection import train_test_split

import command
import results
from detectors import DETECTORS, measure, min_max_scaled, warm_up, with_gaps

PROTOCOLS = ("contaminated", "normals")
MAX_ROWS = 10_000


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder of .npz files")
    parser.add_argument("--only", help="detectors, comma-separated (all)")
    parser.add_argument("--tables", help="parts of the names of the files to use, comma-separated (all)")
    parser.add_argument("--seeds", default="0,1", help="comma-separated (%(default)s)")
    parser.add_argument("--missing", type=float, default=0.0, help="share of the values that are missing (%(default)s)")
    parser.add_argument("--json", type=Path, help="file to write the results to")
    parser.add_argument("--reuse", type=Path, help="file of earlier results, which are not measured again")
    options = parser.parse_args()
    seeds = [int(seed) for seed in options.seeds.split(",")]
    files = sorted(options.data.glob("*.npz"), key=lambda path: int(path.stem.split("_")[0]))
    if options.tables:
        files = [path for path in files if any(name in path.stem for name in options.tables.split(","))]
    if not files:
        parser.error(f"{options.data} holds no such .npz file")
    known = json.loads(options.reuse.read_text()) if options.reuse else {}
    names = command.chosen(options.only, DETECTORS)

    warm_up(names)
    found = {}
    for path in files:
        X, y = read(path)
        for protocol in PROTOCOLS:
            for seed in seeds:
                train, test, labels = split(X, y, protocol, seed)
                train, test = with_gaps(train, test, options.missing, seed)
                for name in names:
                    key = f"{name}|{path.stem}|{protocol}|{seed}"
                    found[key] = known.get(key) or measure(name, train, test, labels, seed)
        if options.json:
            options.json.write_text(json.dumps(found, indent=0))
    tables = [path.stem for path in files]
    print(f"\n{len(tables)} tables, seeds {options.seeds}, {results.processor()}\n")
    print(means(found, names) + "\n")
    for protocol in PROTOCOLS:
        print(f"AUCROC, {protocol}\n\n{by_table(found, names, tables, protocol)}\n")
    print(bars(found))


def read(path):
    with np.load(path, allow_pickle=False) as arrays:
        return np.asarray(arrays["X"], dtype=np.float64), np.asarray(arrays["y"]).astype(int)


def split(X, y, protocol, seed):
    """Return training rows, test rows and the labels of the test rows."""
    if len(X) > MAX_ROWS:
        some, _ = train_test_split(np.arange(len(X)), train_size=MAX_ROWS, stratify=y, random_state=seed)
        X, y = X[some], y[some]
    if protocol == "contaminated":
        train, test, _, labels = train_test_split(X, y, test_size=0.3, stratify=y, random_state=seed)
    else:
        normal = np.random.default_rng(seed).permutation(np.flatnonzero(y == 0))
        strange = np.flatnonzero(y == 1)
        n_held_out = min(len(strange), len(normal) // 2)
        ranked = np.concatenate([normal[:n_held_out], strange])
        train, test, labels = X[normal[n_held_out:]], X[ranked], y[ranked]
    return *min_max_scaled(train, test), labels


def mean(found, what, name, protocol="", table=""):
    """Return the mean over the results of the detector, or NaN if there are none."""
    values = [
        result[what]
        for key, result in found.items()
        for who, which, how, _ in [key.split("|")]
        if who == name and how.startswith(protocol) and which.startswith(table)
    ]
    return float(np.mean(values)) if values else float("nan")


def total(found, what, name):
    """Return the seconds of all tables together, or NaN if there are no results."""
    return sum(result[what] for key, result in found.items() if key.split("|")[0] == name) or float("nan")


def means(found, names):
    headers = ["mean", *(f"{protocol}: {what}" for protocol in PROTOCOLS for what in ("AUCROC", "AP"))]
    rows = [
        [
            name,
            *(f"{mean(found, what, name, protocol):.4f}" for protocol in PROTOCOLS for what in ("auc", "ap")),
            *(f"{total(found, what, name):.1f}" for what in ("wall", "cpu")),
        ]
        for name in names
    ]
    return results.markdown([*headers, "wall s", "CPU s"], rows)


def by_table(found, names, tables, protocol):
    rows = [[table, *(f"{mean(found, 'auc', name, protocol, table):.3f}" for name in names)] for table in tables]
    return results.markdown(["", *names], rows)


def bars(found):
    """Return the table of targets for the defaults of `aefast.Autoencoder`; a missing peer leaves a target unknown."""
    ours = {protocol: mean(found, "auc", "aefast", protocol) for protocol in PROTOCOLS}
    ratio = total(found, "cpu", "aefast") / total(found, "cpu", "PyOD AutoEncoder")
    wanted = [
        ("contaminated: isolation forest + .015", ours["contaminated"], peer(found, "isolation forest", 0) + 0.015),
        ("contaminated: robust covariance of the inputs", ours["contaminated"], peer(found, "robust covariance", 0)),
        ("normals: kNN - .01", ours["normals"], peer(found, "kNN", 1) - 0.01),
        ("CPU time: a tenth of PyOD AutoEncoder's", -ratio, -0.1),
    ]
    rows = [
        [
            what,
            f"{abs(bar):.4f}",
            f"{abs(value):.4f}",
            "?" if np.isnan(value - bar) else "yes" if value >= bar else "no",
        ]
        for what, value, bar in wanted
    ]
    return results.markdown(["bar", "at", "aefast", "met"], rows)


def peer(found, name, protocol):
    return mean(found, "auc", name, PROTOCOLS[protocol])


if __name__ == "__main__":
    main()
