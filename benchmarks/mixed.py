"""Detection in tables of numbers, text, flags, gaps and times: anomalies of known kinds planted in real tables.

    python benchmarks/mixed.py FOLDER [--seeds 3] [--forest] [--speed]

FOLDER has the tables as Parquet files, and `plant.py`, whose function `plant(table, seed)` returns a table in which
about 1 % of the rows are changed, one thing each, and the kind of each change. The default `Autoencoder(missing="mask",
contamination=0.01)` is fitted to the changed table and scores it. The first reason is right if it is the column that
was changed; it counts for rows that are flagged, of the kinds that change one column.

`--forest` adds an isolation forest on one-hot columns. `--speed` adds the time and the memory of scoring 200,000 rows
of 20 text columns with 64 levels each.
"""

import argparse
import importlib.util
import pathlib
import time
import tracemalloc
import warnings

import numpy as np
import pandas as pd
from sklearn.metrics import average_precision_score, roc_auc_score

import results
from aefast import Autoencoder


def planting(folder):
    """Return the module that plants anomalies."""
    spec = importlib.util.spec_from_file_location("plant", folder / "plant.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def changed_columns(table, changed):
    """Return the name of each row's changed column; empty if none or several are."""
    differ = np.column_stack(
        [~((table[c] == changed[c]) | (table[c].isna() & changed[c].isna())).to_numpy() for c in table]
    )
    names = np.asarray(table.columns, dtype=object)
    return np.where(differ.sum(axis=1) == 1, names[differ.argmax(axis=1)], "")


def figures(kinds, errors, all_kinds):
    """Return AUC and AP of all anomalies, and the AUC of each kind among the rows left alone."""
    odd = kinds != ""
    found = {"AUC": roc_auc_score(odd, errors), "AP": average_precision_score(odd, errors)}
    for kind in all_kinds:
        rows = (kinds == kind) | ~odd
        if (kinds == kind).any():
            found[kind] = roc_auc_score(kinds[rows] == kind, errors[rows])
    return found


def judged(plant, table, seed):
    """Return the figures of aefast on one planted table."""
    changed, kinds = plant.plant(table, seed)
    begin = time.perf_counter()
    model = Autoencoder(missing="mask", contamination=0.01, random_state=seed).fit(changed)
    fitted = time.perf_counter()
    errors = model.reconstruction_error(changed)
    found = {**figures(kinds, errors, plant.KINDS), "fit s": fitted - begin}
    found["µs/row"] = (time.perf_counter() - fitted) / len(changed) * 1e6
    columns = changed_columns(table, changed)
    rows = np.flatnonzero((columns != "") & (errors > model.threshold_))
    reasons = model.explain(changed.iloc[rows].reset_index(drop=True), top=1)
    first = np.full(len(rows), "", dtype=object)
    first[np.asarray(reasons["row"])] = np.asarray(reasons["feature"])
    found["reason"] = np.mean(first == columns[rows]) if len(rows) else np.nan
    for kind in plant.KINDS:
        of_kind = kinds[rows] == kind
        if of_kind.any():
            found[f"reason {kind}"] = np.mean((first == columns[rows])[of_kind])
    return found


def forest(plant, table, seed):
    """Return the figures of an isolation forest."""
    changed, kinds = plant.plant(table, seed)
    return figures(kinds, plant.forest(changed, seed)[0], plant.KINDS)


def speed(n_rows=200_000, n_columns=20, n_levels=64):
    """Print what it costs to score many rows of text."""
    rng = np.random.default_rng(0)
    names = [f"level {i}" for i in range(n_levels)]
    table = pd.DataFrame({f"c{j}": rng.choice(names, n_rows) for j in range(n_columns)}).astype("category")
    for title, frame in {"text": table, "text and numbers": table.assign(x=rng.normal(size=n_rows), y=0.5)}.items():
        model = Autoencoder(max_epochs=1, random_state=0, n_threads=1).fit(frame[:20_000])
        model.reconstruction_error(frame[:1000])
        begin = time.perf_counter()
        model.reconstruction_error(frame)
        seconds = time.perf_counter() - begin
        tracemalloc.start()
        model.reconstruction_error(frame)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        print(f"{title}: {seconds / n_rows * 1e6:.2f} µs a row, {peak / 1e6:.0f} MB of arrays")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--seeds", type=int, default=3, help="number of plantings of each table (%(default)s)")
    parser.add_argument("--forest", action="store_true", help="add an isolation forest")
    parser.add_argument("--speed", action="store_true", help="add time and memory of scoring")
    options = parser.parse_args()
    warnings.filterwarnings("ignore")
    plant, rows = planting(options.folder), []
    for path in sorted(options.folder.glob("*.parquet")):
        table = plant.read(path)
        for seed in range(options.seeds):
            for name, found in {"aefast": judged, **({"forest": forest} if options.forest else {})}.items():
                rows.append({"table": path.stem, "by": name, **found(plant, table, seed)})
    data = pd.DataFrame(rows)
    measures = [c for c in data if c not in ("table", "by")]
    means = [*((f"{t} {b}", part) for (t, b), part in data.groupby(["table", "by"]))]
    means += [(f"mean {b}", part) for b, part in data.groupby("by")]
    lines = [
        [name, *(f"{part[m].mean():.3f}" if part[m].notna().any() else "" for m in measures)] for name, part in means
    ]
    print(results.markdown(["table", *measures], lines))
    if options.speed:
        speed()


if __name__ == "__main__":
    main()
