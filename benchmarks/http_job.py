"""A whole nightly job: 567,498 rows of network connections through ``aefast fit`` and ``aefast score``.

    python benchmarks/http_job.py FOLDER_WITH_adbench/16_http.npz [--work FOLDER]

Writes the data set as Parquet with an ``id`` column, trains and scores with the command line, and checks that all rows
are in order in the output. Reading is also timed alone: the same reader reads the same columns and discards them.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder of data sets")
    parser.add_argument("--work", type=Path, help="folder for the files (default: a temporary one)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        run(options.data, options.work or Path(temporary))


def run(data: Path, work: Path) -> None:
    source = data / "16_http.npz"
    with np.load(source if source.exists() else data / "adbench" / "16_http.npz", allow_pickle=False) as arrays:
        X, y = np.asarray(arrays["X"], dtype=np.float64), np.asarray(arrays["y"], dtype=np.int8)
    table, model, scores = work / "http.parquet", work / "http.safetensors", work / "scores.parquet"
    names = [f"x{j}" for j in range(X.shape[1])]
    columns = {"id": np.arange(len(X)), **dict(zip(names, X.T, strict=True)), "anomaly": y}
    pq.write_table(pa.table(columns), table)
    print(f"{table.name}: {len(X):,} rows, {y.sum():,} of them anomalies, {table.stat().st_size / 1e6:.1f} MB")

    fitted = aefast("fit", table, "-o", model, "--exclude", "id,anomaly")
    print(f"fit: {fitted['epochs']} epochs in {fitted['training_seconds']:.1f} s")
    scored = aefast("score", model, table, "-o", scores, "--keep", "id", "--label", "anomaly")
    result = pq.read_table(scores)
    assert result["id"].to_numpy().tolist() == list(range(len(X))), "rows are missing or out of order"
    assert {"anomaly_score", "is_anomaly"} <= set(result.column_names)
    print(
        f"score: {scored['rows']:,} rows in {scored['seconds']:.3f} s, {scored['rows_per_second']:,.0f} rows per second"
        f"; reading {scored['reading_seconds']:.3f} s, scoring {scored['scoring_seconds']:.3f} s,"
        f" writing {scored['writing_seconds']:.3f} s, in parallel"
    )
    print(f"reading alone: {reading_alone(table, [*names, 'id', 'anomaly']):.3f} s")
    print(f"AUC {scored['quality']['aucroc']:.4f}, average precision {scored['quality']['average_precision']:.4f}")


def aefast(*arguments: object) -> dict:
    command = [sys.executable, "-m", "aefast", *map(str, arguments), "--json"]
    begin = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stderr)
    print(f"$ aefast {' '.join(map(str, arguments))}    ({time.perf_counter() - begin:.1f} s including start-up)")
    return json.loads(done.stdout)


def reading_alone(path: Path, columns: list[str]) -> float:
    from aefast.tables.source import Source

    best = float("inf")
    for _ in range(3):
        begin = time.perf_counter()
        for _ in Source([path]).batches(columns):
            pass
        best = min(best, time.perf_counter() - begin)
    return best


if __name__ == "__main__":
    main()
