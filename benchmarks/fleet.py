"""Cost of a fleet: fitting, scoring, the file, and the load of one group, beside a loop over groups.

    python benchmarks/fleet.py [--groups 1000] [--rows 500] [--columns 20] [--loop 100]

The targets are 4 CPU seconds for 1,000 groups of 500 rows of 20 columns, 60 seconds on two cores for 10,000 groups of
1,000 rows, 40 kB a model and 5 ms to load a group.

Rows are standard normal, or lie near a plane of five dimensions. The loop fits some of the groups one after the other
with one thread, and checks that their weights and errors are those of the fleet.
"""

import argparse
import os
import tempfile
import time

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--groups", type=int, default=1000)
parser.add_argument("--rows", type=int, default=500, help="rows of a group (%(default)s)")
parser.add_argument("--columns", type=int, default=20)
parser.add_argument("--loop", type=int, default=100, help="groups to fit alone (%(default)s)")
parser.add_argument("--data", choices=["normal", "plane"], default="normal")
options = parser.parse_args()

import numpy as np  # noqa: E402

import aefast  # noqa: E402


def rows_of(groups):
    """Return the rows of all groups, one group after the other."""
    rng = np.random.default_rng(0)
    shape = (groups, options.rows, options.columns)
    if options.data == "normal":
        return rng.normal(size=shape).reshape(-1, options.columns)
    plane = rng.normal(size=(groups, options.rows, 5)) @ rng.normal(size=(groups, 5, options.columns))
    return (plane + 0.3 * rng.normal(size=shape)).reshape(-1, options.columns)


class Clock:
    """Measures wall and CPU seconds of a ``with`` block."""

    def __enter__(self):
        self.began = time.perf_counter(), time.process_time()
        return self

    def __exit__(self, *error):
        self.wall, self.cpu = time.perf_counter() - self.began[0], time.process_time() - self.began[1]


def line(what, value):
    print(f"| {what:<58} | {value:>18} |", flush=True)


def main():
    X = rows_of(options.groups)
    groups = np.repeat(np.arange(options.groups), options.rows)
    mixed = np.random.default_rng(1).permutation(len(X))
    estimator = aefast.Autoencoder(random_state=0)
    aefast.Fleet(estimator).fit(X[: 2 * options.rows], groups=groups[: 2 * options.rows])  # imports what is needed

    line(f"{options.groups:,} groups of {options.rows:,} x {options.columns}, {options.data}", "")
    line("---", "---:")
    with Clock() as fit:
        fleet = aefast.Fleet(estimator, unseen="error").fit(X[mixed], groups=groups[mixed])
    line("fit, wall seconds", f"{fit.wall:.2f}")
    line("fit, CPU seconds", f"{fit.cpu:.2f}")
    line("fit, CPU seconds of 1,000 groups", f"{fit.cpu * 1000 / options.groups:.2f}")
    line("epochs of a group, mean", f"{np.mean([fleet[key].n_epochs_ for key in range(min(100, len(fleet)))]):.1f}")

    with Clock() as first:
        errors = fleet.reconstruction_error(X[mixed], groups=groups[mixed])
    with Clock() as score:
        fleet.reconstruction_error(X[mixed], groups=groups[mixed])
    line("score, first time, rows a second (wall)", f"{len(X) / first.wall:,.0f}")
    line("score, later, rows a second (wall)", f"{len(X) / score.wall:,.0f}")

    path = os.path.join(tempfile.mkdtemp(), "fleet.safetensors")
    with Clock() as save:
        fleet.save(path)
    line("save, wall seconds", f"{save.wall:.2f}")
    line("file, kB a model", f"{os.path.getsize(path) / options.groups / 1e3:.1f}")
    with Clock() as opened:
        again = aefast.load(path)
    line("open the file, ms", f"{1e3 * opened.wall:.2f}")
    some = np.random.default_rng(2).choice(options.groups, min(50, options.groups), replace=False).tolist()
    seconds = []
    for key in some:
        with Clock() as load:
            again[key]
        seconds.append(load.wall)
    line("load one group, ms, median", f"{1e3 * np.median(seconds):.2f}")
    os.remove(path)

    n_alone = min(options.loop, options.groups)
    with Clock() as loop, aefast.threads(1):
        alone = [aefast.Autoencoder(random_state=0).fit(X[groups == key]) for key in range(n_alone)]
    line("fit alone in a loop, CPU seconds of 1,000 groups", f"{loop.cpu * 1000 / n_alone:.2f}")
    back = np.empty(len(X), dtype=errors.dtype)
    back[mixed] = errors
    in_order = np.argsort(groups[mixed], kind="stable")
    same = 0
    for key, model in enumerate(alone):
        own = mixed[in_order[key * options.rows : (key + 1) * options.rows]]
        model = aefast.Autoencoder(random_state=0, n_threads=1).fit(X[own])
        same += all(np.array_equal(*pair) for pair in zip(model.coefs_, fleet[key].coefs_, strict=True)) and (
            np.array_equal(model.reconstruction_error(X[own]), back[own])
        )
    line("of these, bit-identical weights and errors", f"{same} of {n_alone}")


if __name__ == "__main__":
    main()
