"""How often clean rows are called drift, and how often changed ones are, by the number of rows.

    python benchmarks/drift.py [--seeds 5] [--sizes 100,1000,10000,100000] [FOLDER]

"days": four weeks of history with a column of times, four numbers and two texts, of which some depend on the hour and
on the weekday; then single days. "rows": 3,000 rows without times of ten columns; then as many other rows. One column
of the rows to judge is changed, or none. With a FOLDER of Parquet files, each file is cut into two random halves and
into two consecutive ones: the first is learned and the second judged.
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd

import results
from aefast import Autoencoder, ScoreSketch

N_HISTORY = 1500  # rows a day


def day(number, n_rows, rng):
    """One day, the number counted from a Monday."""
    start = pd.Timestamp("2024-01-01") + pd.Timedelta(days=number)
    seconds = np.sort(rng.integers(0, 86_400, n_rows))
    angle, weekend = seconds / 86_400 * 2 * np.pi, number % 7 > 4
    amount = np.exp(rng.normal(3 + 0.3 * np.sin(angle) + 0.2 * weekend, 0.6))
    shares = [0.4, 0.4, 0.2] if weekend else [0.6, 0.3, 0.1]
    return pd.DataFrame(
        {
            "ts": start + pd.to_timedelta(seconds, unit="s"),
            "amount": amount,
            "temperature": 20 + 5 * np.sin(angle) + rng.normal(size=n_rows),
            "load": 0.3 * amount + rng.normal(0, 2, n_rows),
            "count": rng.poisson(4, n_rows).astype(float),
            "city": rng.choice(list("abcdefgh"), n_rows, p=np.arange(1, 9) / 36),
            "kind": rng.choice(["x", "y", "z"], n_rows, p=shares),
        }
    )


def rows(n_rows, rng):
    """Rows without times: eight numbers, two texts."""
    frame = pd.DataFrame(rng.normal(size=(n_rows, 8)), columns=[f"n{j}" for j in range(8)])
    frame["load"], frame["temperature"] = frame.pop("n0") * 3, frame.pop("n1")
    frame["amount"] = np.exp(frame.pop("n2"))
    return frame.assign(city=rng.choice(list("abcdefgh"), n_rows), kind=rng.choice(["x", "y"], n_rows))


def shifted(deviations):
    return lambda x, rng: x.assign(load=x.load + deviations * x.load.std())


def partly(column, value, share):
    return lambda x, rng: x.assign(**{column: np.where(rng.random(len(x)) < share, value, x[column])})


CHANGES = {
    "none (false alarms)": (None, lambda x, rng: x),
    "shift by 0.25 deviations": ("load", shifted(0.25)),
    "shift by 0.5 deviations": ("load", shifted(0.5)),
    "shift by 1 deviation": ("load", shifted(1)),
    "unit, times 100": ("amount", lambda x, rng: x.assign(amount=x.amount * 100)),
    "stuck at one value": ("temperature", lambda x, rng: x.assign(temperature=x.temperature.iloc[0])),
    "5 % missing": ("load", partly("load", np.nan, 0.05)),
    "all missing": ("load", lambda x, rng: x.assign(load=np.nan)),
    "5 % a new level": ("city", partly("city", "new", 0.05)),
    "all a new level": ("city", lambda x, rng: x.assign(city="new")),
}


def fitted(frame, seed):
    return Autoencoder((8, 2), max_epochs=3, missing="mask", random_state=seed, n_threads=1).fit(frame)


def judged(model, frame):
    return ScoreSketch(model).update(frame).drift()


def rates(table, sizes, seeds):
    """For each change and size: the share of tables whose verdict is right, and that name the changed column alone."""
    counts = {(change, size): [] for change in CHANGES for size in sizes}
    for seed in range(seeds):
        rng = np.random.default_rng(seed)
        history = (
            pd.concat([day(d, N_HISTORY, rng) for d in range(28)], ignore_index=True)
            if table == "days"
            else rows(3000, rng)
        )
        model = fitted(history, seed)
        for size in sizes:
            for number in range(28, 35):
                fresh = day(number, size, rng) if table == "days" else rows(size, rng)
                for change, (column, changed) in CHANGES.items():
                    found = judged(model, changed(fresh, rng))
                    counts[change, size].append((bool(found), [c.name for c in found.drifted] == [column]))
    return {key: np.mean(found, axis=0) for key, found in counts.items()}


def halves(folder):
    """Print the verdicts on real files."""
    for path in sorted(Path(folder).rglob("*.parquet")):
        frame = pd.read_parquet(path)
        order = np.random.default_rng(0).permutation(len(frame))
        for name, index in (("random", order), ("consecutive", np.arange(len(frame)))):
            half = len(frame) // 2
            first, second = (frame.iloc[part].reset_index(drop=True) for part in (index[:half], index[half:]))
            try:
                print(f"{path.name}, {name} halves: {judged(fitted(first, 0), second)}")
            except ValueError as error:
                print(f"{path.name}, {name} halves: {error}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--sizes", default="100,1000,10000,100000")
    options = parser.parse_args()
    sizes = [int(size) for size in options.sizes.split(",")]
    for table in ("days", "rows"):
        found = rates(table, sizes, options.seeds)
        cells = [
            [change, *(f"{100 * found[change, size][0]:.0f} / {100 * found[change, size][1]:.0f}" for size in sizes)]
            for change in CHANGES
        ]
        print(f"\n{table}: called drift / named the changed column alone, % of {7 * options.seeds} tables")
        print(results.markdown(["change", *(f"{size:,} rows" for size in sizes)], cells))
    if options.folder:
        halves(options.folder)


if __name__ == "__main__":
    main()
