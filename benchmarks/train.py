"""Training: rows per second of shuffled epochs with Adam, for every peer, network and batch size.

    python benchmarks/train.py [--threads 1,all] [--shapes 30-16-8-16-30] [--batches 32,256,1024] [--peers numpy,jax]

The weights of every peer are first compared with NumPy's, after training from the same start in the same order of rows.
"""

import command

options = command.parse(__doc__, batches={"default": "32,256,1024", "help": "minibatch sizes (%(default)s)"})

import numpy as np  # noqa: E402

import peers  # noqa: E402
import results  # noqa: E402
import shapes  # noqa: E402
import timing  # noqa: E402
from aefast.engine import limits  # noqa: E402

# Relative to the mean change of a weight. The first steps of Adam are g / |g|; rounding can flip their sign if g is
# nearly 0. Also, scikit-learn adds epsilon before the bias correction and the others add it after.
TOLERANCE = 0.02
SLOW_ROWS = 16384  # for peers with a row limit
SINGLE = "aefast, one thread"  # takes turns with all threads, because the speed of the machine changes by the minute


def flat(weights):
    """Return all weights in one vector."""
    return np.concatenate([np.ravel(array) for pair in weights for array in pair])


def verify(found, widths):
    """Stop if the training steps of a peer differ from NumPy's."""
    weights, X = shapes.random_weights(widths), shapes.random_rows(4 * 256, widths[0])
    expected = peers.load(["numpy"])[0]["numpy"](weights, 1)
    expected.train(X, 256, 1, shuffle=False)
    move = np.abs(flat(expected.weights()) - flat(weights)).mean()
    for name, make in found.items():
        peer = make(weights, options.threads)
        peer.train(X, 256, 1, shuffle=False)
        difference = np.abs(flat(peer.weights()) - flat(expected.weights())).mean() / move
        if not difference < TOLERANCE:
            raise SystemExit(f"{name} takes different steps: off by {difference:.2g} of a step")


def measure(widths, batch, found):
    """Return {peer: {"rows_per_second", "median_rows_per_second"}} for one network and batch size."""
    weights, X = shapes.random_weights(widths), shapes.random_rows(shapes.training_rows(widths), widths[0])
    running, n_rows_of = {}, {}
    for name, make in found.items():
        peer = make(weights, options.threads)
        rows = X[:SLOW_ROWS] if peer.row_limit < len(X) else X
        n_rows_of[name] = len(rows)
        running[name] = lambda peer=peer, rows=rows: peer.train(rows, batch, 1)
    if options.threads > 1:
        single = found["aefast"](weights, 1)
        running[SINGLE] = lambda: single.train(X, batch, 1)
        n_rows_of[SINGLE] = len(X)
    seconds = timing.interleave(running, options.rounds)
    rates = {
        name: {"rows_per_second": n_rows_of[name] / best, "median_rows_per_second": n_rows_of[name] / median}
        for name, (best, median) in seconds.items()
    }
    if SINGLE in rates:
        rates["aefast"]["rows_per_second_of_one_thread"] = rates.pop(SINGLE)["rows_per_second"]
    return rates


def main():
    found, missing = peers.load(options.peers and ["aefast", *options.peers.split(",")])
    found = {name: make for name, make in found.items() if make.trains}
    others = [name for name in found if name != "aefast"]
    environment = results.environment(found)
    machine = limits.measure(options.threads)
    threads = f"{options.threads} thread" + "s" * (options.threads > 1)
    print(f"\n## Training, Adam, float32, {threads}, {environment['isa']}, {environment['processor']}\n")
    for name, reason in missing.items():
        print(f"- {name} is left out: {reason}")
    print("Rows per second, whole shuffled epochs.\n")

    headers = ["network, batch", *found, "GFLOP/s", "of peak", "to the best peer"]
    table, ratios, record = [], [], {}
    for shape in command.chosen(options.shapes, shapes.SHAPES):
        widths = shapes.SHAPES[shape]
        verify(found, widths)
        for batch in map(int, options.batches.split(",")):
            rates = record[f"{shape}, {batch}"] = measure(widths, batch, found)
            ours = rates["aefast"]["rows_per_second"]
            best = max((rates[name]["rows_per_second"] for name in others), default=float("nan"))
            ratios.append(ours / best)
            flops = ours * shapes.flops_per_row(widths, training=True)
            share = f"{flops / machine['flops']:.2f}"
            cells = [results.rate(rates[name]["rows_per_second"]) for name in others]
            table.append(
                [f"{shape}, {batch}", results.rate(ours), *cells, f"{flops / 1e9:.0f}", share, f"{ours / best:.2f}"]
            )
    print(results.markdown(headers, table))
    print("\n" + results.summary(ratios))
    if options.json:
        what = {"what": "train", "threads": options.threads, "limits": machine, "missing": missing}
        results.append_json(options.json, {**what, **environment, "shapes": record})


if __name__ == "__main__":
    main()
