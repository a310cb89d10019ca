"""Draws the measurements of `bars.py --json FILE`: `python benchmarks/charts.py FILE -o FOLDER`.

`roofline.png`: what each network reaches of what the machine allows; `ratios.png`: aefast beside every peer.
"""

import argparse
import json
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np

import shapes

OURS = "#c2410c"
PEERS = {
    "numpy": "#64748b",
    "torch": "#a78bfa",
    "torch.compile": "#6d28d9",
    "jax": "#0d9488",
    "scikit-learn": "#a3a3a3",
    "onnxruntime": "#2563eb",
    "openvino": "#0369a1",
    "pyod": "#d4d4d8",
}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path, help="file of bars.py, or of score.py and train.py")
    parser.add_argument("-o", "--output", type=Path, default=Path("."), help="folder for the pictures")
    parser.add_argument(
        "--threads", type=int, default=1, help="number of threads of the measurements to draw (%(default)s)"
    )
    options = parser.parse_args()
    records = [r for r in json.loads(options.file.read_text()) if r["threads"] == options.threads]
    score = next(r for r in records if r["what"] == "score")
    train = next((r for r in records if r["what"] == "train"), None)
    roofline(score, options.output / "roofline.png")
    ratios(score, train, options.output / "ratios.png")


def roofline(record, path):
    """Draw GFLOP/s over operations per byte (Williams, Waterman and Patterson 2009)."""
    peak, bandwidth = (max(limits[what] for limits in record["limits"].values()) / 1e9 for what in ("flops", "bytes"))
    figure, axes = plt.subplots(figsize=(8, 4.5), layout="constrained")
    intensity = np.geomspace(4, 2000, 200)
    axes.plot(intensity, np.minimum(peak, bandwidth * intensity), color="black", lw=1.5)
    axes.text(1900, peak * 1.06, f"{peak:.0f} GFLOP/s, multiply-adds in registers", ha="right", va="bottom", fontsize=9)
    axes.text(4.2, bandwidth * 4.9, f"{bandwidth:.0f} GB/s", rotation=32, fontsize=9)
    for shape, rates in record["shapes"].items():
        flops, n_bytes = shapes.flops_per_row(shapes.SHAPES[shape]), shapes.bytes_per_row(shapes.SHAPES[shape])
        others = [r["rows_per_second"] for name, r in rates.items() if name != "aefast"]
        ours = rates["aefast"]["rows_per_second"] * flops / 1e9
        axes.plot(flops / n_bytes, ours, "o", color=OURS, zorder=3)
        axes.plot(flops / n_bytes, max(others) * flops / 1e9, "_", color="#475569", ms=10, mew=2)
        below = max(others) * flops / 1e9
        axes.annotate(
            shape,
            (flops / n_bytes, below),
            xytext=(0, -6),
            textcoords="offset points",
            fontsize=7,
            rotation=-50,
            va="top",
        )
    axes.plot([], [], "o", color=OURS, label="aefast")
    axes.plot([], [], "_", color="#475569", ms=10, mew=2, label="best peer")
    axes.set(xscale="log", yscale="log", xlabel="operations a byte", ylabel="GFLOP/s, scoring in float32")
    axes.set_yticks([10, 20, 50, 100, 200], ["10", "20", "50", "100", "200"])
    axes.set_yticks([], minor=True)
    axes.set_ylim(bottom=8)
    axes.legend(frameon=False, loc="lower right")
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=130)


def ratios(score, train, path):
    """Draw the speed of aefast relative to each peer."""
    panels = [("scoring", score)] + ([("training", train)] if train else [])
    heights = [len(record["shapes"]) for _, record in panels]
    figure, all_axes = plt.subplots(
        len(panels), 1, figsize=(8, 0.3 * sum(heights) + 1.6), height_ratios=heights, sharex=True, layout="constrained"
    )
    for axes, (what, record) in zip(np.atleast_1d(all_axes), panels, strict=True):
        cases = list(record["shapes"])[::-1]
        for y, case in enumerate(cases):
            rates = {name: r["rows_per_second"] for name, r in record["shapes"][case].items()}
            for name, color in PEERS.items():
                if name in rates:
                    axes.plot(rates["aefast"] / rates[name], y, "o", color=color, ms=6)
        axes.axvline(1, color="black", lw=0.8)
        axes.set_ylim(-0.7, len(cases) - 0.3)
        axes.set(xscale="log", yticks=range(len(cases)), yticklabels=cases, title=f"{what}: aefast / peer")
        axes.tick_params(labelsize=8)
        axes.spines[["top", "right"]].set_visible(False)
        axes.set_xticks([1, 2, 5, 10, 20, 50, 100], ["1", "2", "5", "10", "20", "50", "100"])
    seen = {name for _, record in panels for rates in record["shapes"].values() for name in rates}
    handles = [plt.Line2D([], [], marker="o", ls="", color=c, label=n) for n, c in PEERS.items() if n in seen]
    figure.legend(handles=handles, loc="outside lower center", ncols=4, frameon=False, fontsize=8)
    figure.savefig(path, dpi=130)


if __name__ == "__main__":
    main()
