"""What scoring in Spark costs over a function that does nothing, on this machine with two tasks at once.

Usage: python benchmarks/spark.py [--rows N] [--columns N] [--repeats N]

Needs pyspark and Java. Rows are read from Parquet and results are dropped (Spark's "noop" format). The cases take
turns; the shortest time of each counts. One function that does nothing returns all columns, the other one three, as
scoring returns few.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

import aefast


def seconds(frame: Any) -> float:
    """Compute all rows of a DataFrame, and return the time."""
    begin = time.perf_counter()
    frame.write.format("noop").mode("overwrite").save()
    return time.perf_counter() - begin


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=2_000_000)
    parser.add_argument("--columns", type=int, default=30)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()

    os.environ["PYSPARK_PYTHON"] = sys.executable
    warnings.simplefilter("ignore", FutureWarning)
    from pyspark.sql import SparkSession

    settings = {"spark.ui.enabled": "false", "spark.ui.showConsoleProgress": "false", "spark.driver.memory": "2g"}
    builder = SparkSession.builder.master("local[2]")
    for name, value in settings.items():
        builder = builder.config(name, value)
    spark = builder.getOrCreate()
    spark.sparkContext.setLogLevel("ERROR")

    mixing = np.random.default_rng(0).normal(size=(6, options.columns))
    with tempfile.TemporaryDirectory() as folder:
        sources = [f"randn({seed}) as z{seed}" for seed in range(len(mixing))]
        sums = [
            " + ".join(f"{weight:.3f} * z{row}" for row, weight in enumerate(column)) + f" + randn({100 + place}) / 10"
            for place, column in enumerate(mixing.T)
        ]
        rows = spark.range(options.rows, numPartitions=8).selectExpr("id", *sources)
        rows.selectExpr("id", *(f"{total} as x{place}" for place, total in enumerate(sums))).write.parquet(
            f"{folder}/rows"
        )
        data = spark.read.parquet(f"{folder}/rows")
        model = aefast.spark.fit(data.drop("id"), aefast.Autoencoder(random_state=0), rows=20_000)
        few = ["id", "x0", "x1"]
        cases: dict[str, Callable[[], Any]] = {
            "all columns back": lambda: data.mapInArrow(lambda batches: batches, data.schema),
            "3 columns back": lambda: data.mapInArrow(
                lambda batches: (batch.select(few) for batch in batches), data.select(few).schema
            ),
            "score": lambda: aefast.spark.score(data, model, keep=["id"]),
            "score, 3 reasons": lambda: aefast.spark.score(data, model, keep=["id"], top_features=3),
            "score, on_bad='null'": lambda: aefast.spark.score(data, model, keep=["id"], on_bad="null"),
        }
        for case in cases.values():  # starts workers, which import aefast and load the model
            seconds(case())
        found = dict.fromkeys(cases, float("inf"))
        for _ in range(options.repeats):
            found = {name: min(found[name], seconds(case())) for name, case in cases.items()}
    spark.stop()

    print(f"{options.rows:,} rows of {options.columns} columns, local[2], shortest of {options.repeats}:")
    print(f"{'':22} {'seconds':>7}  M rows/s  beside {', beside '.join(list(cases)[:2])}")
    for name, value in found.items():
        overheads = "  ".join(f"{value / found[other] - 1:+20.1%}" for other in list(cases)[:2])
        print(f"{name:22} {value:7.2f}  {options.rows / value / 1e6:8.2f}  {overheads}")


if __name__ == "__main__":
    main()
