"""Writes results: Markdown tables for readers, JSON for plots and comparisons."""

import json
import platform
from math import exp, log
from pathlib import Path


def geometric_mean(ratios):
    """Return the geometric mean of positive numbers, or NaN if there are none."""
    ratios = list(ratios)
    return exp(sum(map(log, ratios)) / len(ratios)) if ratios else float("nan")


def summary(ratios):
    """State the geometric mean and the lowest ratio, which the targets are about."""
    mean = geometric_mean(ratios)
    return f"Geometric mean of the ratios to the best peer: {mean:.2f}; lowest: {min(ratios):.2f}."


def markdown(headers, rows):
    """Return a Markdown table; the first column is left-aligned, the others right-aligned."""
    cells = [[str(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(headers, *cells, strict=True)]

    def line(row):
        first, *others = zip(row, widths, strict=True)
        return "| " + " | ".join([first[0].ljust(first[1]), *(cell.rjust(width) for cell, width in others)]) + " |"

    ruler = "| " + " | ".join("-" * w if i == 0 else "-" * (w - 1) + ":" for i, w in enumerate(widths)) + " |"
    return "\n".join([line(headers), ruler, *map(line, cells)])


def rate(rows_per_second):
    """Format rows per second in thousands or millions, with three digits."""
    for unit, name in ((1e6, "M"), (1e3, "k")):
        if rows_per_second >= unit:
            return f"{rows_per_second / unit:.3g} {name}"
    return f"{rows_per_second:.3g}"


def processor():
    """Return the processor's name, or its architecture if the system does not state the name."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def environment(peers):
    """Return the context of the figures: processor, instruction-set level and versions."""
    from importlib.metadata import PackageNotFoundError, version

    from aefast.engine import core

    versions = {}
    for name in ["aefast", *peers]:
        try:
            versions[name] = version(name.removesuffix(".compile"))
        except PackageNotFoundError:
            versions[name] = core.__version__ if name == "aefast" else "?"
    return {"processor": processor(), "isa": core.isa_level, "python": platform.python_version(), "versions": versions}


def append_json(path, record):
    """Append a record to a file that holds a JSON list of records."""
    path = Path(path)
    records = json.loads(path.read_text()) if path.exists() else []
    path.write_text(json.dumps([*records, record], indent=1))
