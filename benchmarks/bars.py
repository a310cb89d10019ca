"""Measures every target of aefast in one run and marks the targets that are missed.

    python benchmarks/bars.py [--json FILE] [--from FILE] [--rounds 5] [--shapes ...]

Runs `score.py` and `train.py` with one thread and with all, in float32 and in reduced precision, and times the import.
`--json FILE` stores the measurements; `--from FILE` evaluates such a file without measuring again.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import results
import shapes
from aefast.engine import limits

HERE = Path(__file__).parent
NARROWEST = 64  # networks whose layers are all at least this wide are bound by arithmetic alone
LONG_STEP = 100e-6  # seconds from which a step must gain from a second thread


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", help="file to store the measurements in")
    parser.add_argument("--from", dest="given", help="evaluate the measurements in this file")
    parser.add_argument("--rounds", default="5", help="number of measurements, of which the best counts (%(default)s)")
    parser.add_argument("--shapes", help="networks, comma-separated (all)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(options.given or options.json or Path(folder) / "bars.json")
        if not options.given:
            path.unlink(missing_ok=True)
            measure(path, options)
        records = json.loads(path.read_text())
    verdicts = judge(records)
    print("\n## Bars\n")
    print(results.markdown(["bar", "at least", "measured", "where", "met"], verdicts))
    missed = sum(row[-1] != "yes" for row in verdicts)
    print(f"\n{len(verdicts) - missed} of {len(verdicts)} met.")


def measure(path, options):
    """Run the commands and append their measurements to ``path``."""
    shared = ["--json", str(path), "--rounds", options.rounds]
    shared += ["--shapes", options.shapes] if options.shapes else []
    for command in (["score.py"], ["score.py", "--reduced"], ["train.py"]):
        subprocess.run([sys.executable, HERE / command[0], *command[1:], *shared], check=True)
    results.append_json(path, {"what": "import", "seconds": import_seconds(), "threads": 1})


def import_seconds(rounds=7):
    """Seconds of importing aefast and an estimator, beyond those of importing scikit-learn."""
    timed = "t = time.perf_counter(); import aefast; aefast.Autoencoder; print(time.perf_counter() - t)"
    code = f"import time, sklearn.base; {timed}"
    return min(
        float(subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout)
        for _ in range(rounds)
    )


def rate(rates, name="aefast"):
    """Rows per second of one peer."""
    return rates[name]["rows_per_second"]


def ratios(record, ours="aefast", theirs=None):
    """Return {network: rate of aefast / rate of the best peer, or of the peer ``theirs``}."""
    found = {}
    for shape, rates in record["shapes"].items():
        others = [theirs] if theirs else [name for name in rates if not name.startswith("aefast")]
        if ours in rates and all(name in rates for name in others):
            found[shape] = rate(rates, ours) / max(rate(rates, name) for name in others)
    return found


def verdict(bar, least, value, where=""):
    """Return one row of the table of targets."""
    return [bar, f"{least:g}", f"{value:.2f}", where, "yes" if value >= least else "**no**"]


def worst_and_mean(bar, found, everywhere, mean):
    """Return two rows of the table: the lowest ratio and the geometric mean."""
    shape = min(found, key=found.get)
    return [
        verdict(f"{bar}, everywhere", everywhere, found[shape], shape),
        verdict(f"{bar}, geometric mean", mean, results.geometric_mean(found.values())),
    ]


def judge(records):
    """Return the rows of the table of targets that the records allow."""
    rows = []
    for record in records:
        threads = record["threads"]
        name = f"{threads} thread" + "s" * (threads > 1)
        if record["what"] == "score":
            rows += worst_and_mean(f"scoring / best peer, {name}", ratios(record), 1.0, 1.5)
            rows += roofline(record, name)
        elif record["what"] == "score reduced":
            for precision in ("bfloat16", "int8"):
                found = ratios(record, f"aefast {precision}", "openvino bfloat16")
                if found:
                    rows += worst_and_mean(f"scoring {precision} / OpenVINO bfloat16, {name}", found, 1.0, 1.5)
        elif record["what"] == "train":
            rows += worst_and_mean(f"training / best peer, {name}", ratios(record), 1.2, 3.0)
            if threads > 1:
                rows += scaling(record["shapes"], name)
        elif record["what"] == "import":
            seconds = record["seconds"]
            rows.append(["import aefast, s beyond scikit-learn", "at most 0.3", f"{seconds:.2f}", ""])
            rows[-1].append("yes" if seconds <= 0.3 else "**no**")
    return rows


def roofline(record, name):
    """Return the lowest shares of the roofline: of networks whose layers are all wide, and of the others."""
    shares = {True: {}, False: {}}
    for shape, rates in record["shapes"].items():
        widths = shapes.SHAPES[shape]
        flops, n_bytes = shapes.flops_per_row(widths), shapes.bytes_per_row(widths)
        bound = limits.rows_per_second(record["limits"][shape], flops, n_bytes)
        shares[min(widths) >= NARROWEST][shape] = rate(rates) / bound
    found = []
    for is_wide, least in ((True, 0.85), (False, 0.5)):
        if shares[is_wide]:
            shape = min(shares[is_wide], key=shares[is_wide].get)
            kind = "every layer at least 64 wide" if is_wide else "narrower"
            found.append(verdict(f"share of the roofline, {kind}, {name}", least, shares[is_wide][shape], shape))
    return found


def scaling(shapes_of, name):
    """Return the rows about the gain of more threads in training."""
    one = {case: rates["aefast"]["rows_per_second_of_one_thread"] for case, rates in shapes_of.items()}
    gains = {case: rate(shapes_of[case]) / one[case] for case in one}
    steps = {case: int(case.rsplit(", ", 1)[1]) / one[case] for case in one}
    found = []
    for bar, least, cases in (
        (f"training, {name} / 1, steps over 100 µs", 1.8, [case for case in gains if steps[case] > LONG_STEP]),
        (f"training, {name} / 1, any step", 1.0, list(gains)),
    ):
        if cases:
            worst = min(cases, key=gains.get)
            found.append(verdict(bar, least, gains[worst], worst))
    return found


if __name__ == "__main__":
    main()
