"""Scoring: rows per second of every peer on every network, and aefast's share of the roofline.

    python benchmarks/score.py [--threads 1,all] [--shapes 30-16-8-16-30,784-8-784] [--peers numpy,jax] [--json FILE]
    python benchmarks/score.py --reduced [...]      aefast in bfloat16 and int8 beside OpenVINO in bfloat16

The errors of every peer are first compared with those of float64 NumPy. Each peer gets its own best batch size.
"""

import command

REDUCED = {"action": "store_true", "help": "bfloat16 and int8"}
options = command.parse(__doc__, reduced=REDUCED)  # before any numerical library is imported

import numpy as np  # noqa: E402

import peers  # noqa: E402
import results  # noqa: E402
import shapes  # noqa: E402
import timing  # noqa: E402
from aefast.engine.limits import Probes, rows_per_second  # noqa: E402

# Largest allowed differences from errors of order one: for words of 8 bits, and for float32 sums of 2048 products.
TOLERANCES = {"bfloat16": 0.02, "int8": 0.25}
TOLERANCE = 2e-4


def exact_errors(weights, X):
    """Return the mean squared errors in float64."""
    h = X = X.astype(np.float64)
    for index, (w, b) in enumerate(weights):
        h = h @ w + b
        h = np.maximum(h, 0) if index < len(weights) - 1 else h
    return ((h - X) ** 2).mean(axis=1)


def verify(name, peer, weights, X):
    """Stop if the peer computes wrong errors; the rows include an incomplete last batch."""
    expected = exact_errors(weights, X)
    for batch in {min(batch, 1024) for batch in peer.scoring_batches}:
        difference = np.abs(peer.score(X, batch) - expected).max() / expected.max()
        if not difference < TOLERANCES.get(name.rpartition(" ")[2], TOLERANCE):
            raise SystemExit(f"{name} computes wrong errors: off by {difference:.2g}")


def measure_shape(widths, found, probes=None):
    """Return the rates of all peers on one network and the machine's limits.

    The rates are {peer: {"rows_per_second", "median_rows_per_second", "batch"}}. The limits are measured in turn with
    the peers, because the processor's clock changes.
    """
    weights, X = shapes.random_weights(widths), shapes.random_rows(shapes.scoring_rows(widths), widths[0])
    running, batch_of, n_rows_of = {}, {}, {}
    for name, make in found.items():
        peer = make(weights, options.threads)
        verify(name, peer, weights, X[:2053])
        rows = X[: peer.row_limit]
        tried = [batch for batch in peer.scoring_batches if batch <= len(rows)] or [peer.scoring_batches[0]]
        sample = rows[: max(65536, tried[-1])] if len(tried) > 1 else rows
        batch = timing.best_argument(lambda b, peer=peer, sample=sample: peer.score(sample, b), tried)
        batch_of[name], n_rows_of[name] = min(batch, len(rows)), len(rows)
        running[name] = lambda peer=peer, rows=rows, batch=batch: peer.score(rows, batch)
    if probes:
        running |= {"multiply-adds": probes.multiply_adds, "memory": probes.read_memory}
    seconds = timing.interleave(running, options.rounds)
    limits = probes and probes.limits(seconds.pop("multiply-adds")[0], seconds.pop("memory")[0])
    rates = {
        name: {
            "rows_per_second": n_rows_of[name] / best,
            "median_rows_per_second": n_rows_of[name] / median,
            "batch": batch_of[name],
        }
        for name, (best, median) in seconds.items()
    }
    return rates, limits


def main_reduced():
    """Measure and print the table of reduced precisions."""
    found, missing = peers.load_reduced()
    environment = results.environment(found)
    threads = f"{options.threads} thread" + "s" * (options.threads > 1)
    print(f"\n## Scoring in reduced precision, {threads}, {environment['isa']}, {environment['processor']}\n")
    for name, reason in missing.items():
        print(f"- {name} is left out: {reason}")
    print("Rows per second (GFLOP/s), and the ratio to OpenVINO in bfloat16.\n")
    ours, other = ["aefast bfloat16", "aefast int8"], "openvino bfloat16"
    table, ratios, record = [], {name: [] for name in ours}, {}
    for shape in command.chosen(options.shapes, shapes.SHAPES):
        widths = shapes.SHAPES[shape]
        record[shape], _ = measure_shape(widths, found)
        rates = {name: measured["rows_per_second"] for name, measured in record[shape].items()}
        flops = shapes.flops_per_row(widths)
        cells = [f"{results.rate(rates[name])} ({rates[name] * flops / 1e9:.0f})" for name in found]
        for name, found_ratios in ratios.items():
            found_ratios.append(rates[name] / rates.get(other, float("nan")))
            cells.append(f"{found_ratios[-1]:.2f}")
        table.append([shape, *cells])
    print(results.markdown(["network", *found, *(f"{name}: ratio" for name in ours)], table))
    for name, found_ratios in ratios.items():
        print(f"\n{name}: {results.summary(found_ratios)}")
    if options.json:
        what = {"what": "score reduced", "threads": options.threads, "missing": missing}
        results.append_json(options.json, {**what, **environment, "shapes": record})


def main():
    found, missing = peers.load(options.peers and ["aefast", *options.peers.split(",")])
    found = {name: make for name, make in found.items() if make.scores}
    others = [name for name in found if name != "aefast"]
    environment = results.environment(found)
    probes = Probes(options.threads)
    threads = f"{options.threads} thread" + "s" * (options.threads > 1)
    print(f"\n## Scoring, float32, {threads}, {environment['isa']}, {environment['processor']}\n")
    for name, reason in missing.items():
        print(f"- {name} is left out: {reason}")
    print("Rows per second (best batch size of each peer).\n")

    headers = ["network", *found, "GFLOP/s", "limit", "GB/s", "of the roofline", "to the best peer"]
    table, ratios, record, limits = [], [], {}, {}
    for shape in command.chosen(options.shapes, shapes.SHAPES):
        widths = shapes.SHAPES[shape]
        rates, machine = record[shape], limits[shape] = measure_shape(widths, found, probes)
        ours = rates["aefast"]["rows_per_second"]
        best = max((rates[name]["rows_per_second"] for name in others), default=float("nan"))
        ratios.append(ours / best)
        flops = shapes.flops_per_row(widths)
        bound = rows_per_second(machine, flops, shapes.bytes_per_row(widths))
        cells = [f"{results.rate(rates[n]['rows_per_second'])} ({rates[n]['batch']})" for n in others]
        limited = [f"{ours * flops / 1e9:.0f}", f"{machine['flops'] / 1e9:.0f}", f"{machine['bytes'] / 1e9:.0f}"]
        table.append([shape, results.rate(ours), *cells, *limited, f"{ours / bound:.2f}", f"{ours / best:.2f}"])
    print(results.markdown(headers, table))
    print("\n" + results.summary(ratios))
    if options.json:
        what = {"what": "score", "threads": options.threads, "limits": limits, "missing": missing}
        results.append_json(options.json, {**what, **environment, "shapes": record})


if __name__ == "__main__":
    main_reduced() if options.reduced else main()
