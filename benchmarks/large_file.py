"""A large file: `aefast score` beside pyarrow with ONNX Runtime, and `aefast score` killed half-way.

    python benchmarks/large_file.py [--rows 10000000] [--dtype float32] [--compression snappy] [--work FOLDER]

Writes a Parquet file with an id and 40 columns of numbers with some structure, and trains 40-80-6-80-40 on its first
200,000 rows. Scores all rows with the command and with `onnx_job.py`, and measures wall time, CPU time, peak memory and
the share of decoding. Then it checks that the scores have the same bits as those of the rows in memory, and that a run
killed half-way leaves no output and continues to the same bytes. A `table.parquet` in FOLDER is used as it is.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from onnx import TensorProto, helper, numpy_helper

import aefast
import results

N_COLUMNS, N_TRAINING, GROUP = 40, 200_000, 1 << 20
FEATURES = [f"f{j}" for j in range(N_COLUMNS)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--dtype", choices=["float32", "float64"], default="float32")
    parser.add_argument("--compression", default="snappy", help="compression of the Parquet file (%(default)s)")
    parser.add_argument(
        "--rounds",
        type=int,
        default=3,
        help="number of runs of each job, in turn; the lowest wall and CPU times count (%(default)s)",
    )
    parser.add_argument("--work", type=Path, help="folder for the files (default: a temporary one)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        work = options.work or Path(temporary)
        needed = 3 * options.rows * N_COLUMNS * np.dtype(options.dtype).itemsize
        if shutil.disk_usage(work).free < needed:
            sys.exit(f"{work} has less than {needed / 1e9:.0f} GB of free space; name another folder with --work")
        run(options, work)


def run(options: argparse.Namespace, work: Path) -> None:
    table, model, network = work / "table.parquet", work / "model.safetensors", work / "network.onnx"
    if not table.exists():
        make_table(table, options.rows, np.dtype(options.dtype), options.compression)
    first = next(pq.ParquetFile(table).iter_batches(N_TRAINING, columns=FEATURES))
    estimator = aefast.Autoencoder(
        (80, 6), activation="relu", code_activation="relu", score_metric="mse", max_epochs=5, random_state=0
    ).fit(pa.Table.from_batches([first]))
    estimator.save(model)
    network.write_bytes(onnx_model(estimator))
    print(
        f"{options.rows:,} rows, {N_COLUMNS} columns of {options.dtype}, {options.compression}: "
        f"{table.stat().st_size / 1e9:.2f} GB; aefast {aefast.__version__}, {aefast.config()['isa_level']}, "
        f"{len(os.sched_getaffinity(0))} CPUs, {results.processor()}"
    )

    score = [sys.executable, "-m", "aefast", "score", model, table, "--keep", "id", "--json", "-o"]
    onnx = [sys.executable, Path(__file__).with_name("onnx_job.py"), network, table, work / "onnx.parquet"]
    onnx += ["--threshold", str(estimator.threshold_)]
    jobs = {
        "aefast score": [*score, work / "scores.parquet"],
        "pyarrow + ONNX Runtime": onnx,
        "… reading and writing by threads": [*onnx, "--ahead"],
        "… with the libraries' defaults": [*onnx, "--plain"],
        "decoding alone": [sys.executable, "-c", DECODE, table],
    }
    runs: dict[str, list[tuple[float, float, float]]] = {name: [] for name in jobs}
    for _ in range(options.rounds):
        for name, command in jobs.items():
            runs[name].append(measured(command))
    best = {name: tuple(map(min, zip(*found, strict=True))) for name, found in runs.items()}
    ours, rows = best["aefast score"], []
    for name, (seconds, cpu, _) in best.items():
        peak = max(peak for *_, peak in runs[name])
        ratios = seconds / ours[0], cpu / ours[1]
        rows.append([name, f"{seconds:.2f}", f"{cpu:.2f}", f"{peak / 1e6:.0f}", *(f"{ratio:.2f}" for ratio in ratios)])
    headers = ["job", "seconds", "CPU seconds", "peak MB", "seconds / aefast's", "CPU / aefast's"]
    print(results.markdown(headers, rows), flush=True)

    compare(estimator, table, work / "scores.parquet", work / "onnx.parquet")
    kill_at_half([*score, work / "resumed.parquet"], best["aefast score"][0], work)


DECODE = """
import sys, pyarrow.parquet as pq
for _ in pq.ParquetFile(sys.argv[1], buffer_size=1 << 16, pre_buffer=False).iter_batches(65_536): pass
"""


# A forked process inherits the peak memory of its parent, so a small process starts the job.
LAUNCH = """
import os, sys, time
begin = time.perf_counter()
silent = [(os.POSIX_SPAWN_OPEN, 1, "/dev/null", os.O_WRONLY, 0)]
_, status, usage = os.wait4(os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ, file_actions=silent), 0)
print(time.perf_counter() - begin, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024)
sys.exit(os.waitstatus_to_exitcode(status))
"""


def measured(command: list[object]) -> tuple[float, float, float]:
    """Run a command and return its wall seconds, CPU seconds and peak memory in bytes."""
    launch = [sys.executable, "-S", "-c", LAUNCH, *map(str, command)]
    seconds, cpu, peak = subprocess.run(launch, stdout=subprocess.PIPE, check=True).stdout.split()
    return float(seconds), float(cpu), float(peak)


def make_table(path: Path, n_rows: int, dtype: np.dtype, compression: str) -> None:
    rng = np.random.default_rng(0)
    mix = rng.normal(size=(8, N_COLUMNS)).astype(np.float32)
    schema = pa.schema([("id", pa.int64()), *((name, pa.from_numpy_dtype(dtype)) for name in FEATURES)])
    with pq.ParquetWriter(path, schema, compression=compression) as writer:
        for start in range(0, n_rows, GROUP):
            n = min(GROUP, n_rows - start)
            X = np.tanh(rng.standard_normal((n, 8), dtype=np.float32) @ mix)
            X = (X + 0.1 * rng.standard_normal(X.shape, dtype=np.float32)).astype(dtype)
            columns = [np.arange(start, start + n), *(np.ascontiguousarray(column) for column in X.T)]
            writer.write_table(pa.table([pa.array(c) for c in columns], schema=schema), row_group_size=GROUP)


def onnx_model(estimator: aefast.Autoencoder) -> bytes:
    """Return a graph from rows ``x`` (n, d) in input units to ``error`` (n,), the mean squared error after scaling."""
    shift, scale = estimator.scaler_shift_.astype(np.float32), (1 / estimator.scaler_scale_).astype(np.float32)
    constants = [numpy_helper.from_array(shift, "shift"), numpy_helper.from_array(scale, "scale")]
    nodes = [helper.make_node("Sub", ["x", "shift"], ["shifted"]), helper.make_node("Mul", ["shifted", "scale"], ["s"])]
    last = "s"
    for i, (w, b) in enumerate(zip(estimator.coefs_, estimator.intercepts_, strict=True)):
        constants += [numpy_helper.from_array(np.ascontiguousarray(a), f"{k}{i}") for k, a in (("w", w), ("b", b))]
        nodes.append(helper.make_node("Gemm", [last, f"w{i}", f"b{i}"], [f"z{i}"]))
        last = f"z{i}"
        if i < len(estimator.coefs_) - 1:
            nodes.append(helper.make_node("Relu", [last], [f"y{i}"]))
            last = f"y{i}"
    nodes += [
        helper.make_node("Sub", [last, "s"], ["residual"]),
        helper.make_node("Mul", ["residual", "residual"], ["square"]),
        helper.make_node("ReduceMean", ["square", "axes"], ["error"], keepdims=0),
    ]
    constants.append(numpy_helper.from_array(np.array([1]), "axes"))
    x, error = (
        helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", N_COLUMNS]),
        helper.make_tensor_value_info("error", TensorProto.FLOAT, ["n"]),
    )
    graph = helper.make_graph(nodes, "autoencoder", [x], [error], constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10).SerializeToString()


def compare(estimator: aefast.Autoencoder, table: Path, scores: Path, onnx: Path) -> None:
    """Check that the written scores equal those of the rows in memory and are close to the peer's."""
    ours, theirs = pq.read_table(scores), pq.read_table(onnx)
    file, start, off = pq.ParquetFile(table), 0, 0.0
    for group in range(file.num_row_groups):
        rows = file.read_row_group(group)
        part = ours.slice(start, rows.num_rows)
        assert part["id"].equals(rows["id"]), "rows are missing or out of order"
        errors = estimator.reconstruction_error(rows.select(FEATURES)).astype(np.float64)
        np.testing.assert_array_equal(part["anomaly_score"].to_numpy(), errors)
        np.testing.assert_array_equal(part["is_anomaly"].to_numpy(), errors > estimator.threshold_)
        np.testing.assert_array_equal(part["p_value"].to_numpy(), estimator.p_values_of(errors))
        peer = theirs["anomaly_score"].slice(start, rows.num_rows).to_numpy()
        off = max(off, float(np.abs(peer / errors - 1).max()))
        start += rows.num_rows
    assert off < 1e-3, f"the networks differ: errors are off by {off:.1e}"
    assert start == ours.num_rows == theirs.num_rows
    print(f"\nAll {start:,} scores, flags and p-values equal those in memory; ONNX Runtime's are off by {off:.1e}.")


def kill_at_half(command: list[object], seconds: float, work: Path) -> None:
    output, journal = work / "resumed.parquet", work / "resumed.parquet.partial"
    # The journal stores each error in four bytes.
    half = pq.read_metadata(work / "scores.parquet").num_rows * 4 / 2
    output.unlink(missing_ok=True)
    with subprocess.Popen([str(c) for c in command], stdout=subprocess.DEVNULL) as process:
        while not (journal.exists() and journal.stat().st_size > half):
            if process.poll() is not None:
                sys.exit("the job ended before it could be killed; set a larger --rows")
            time.sleep(0.01)
        process.kill()
    assert not output.exists(), "a killed run left an output"
    begin = time.perf_counter()
    done = subprocess.run([*map(str, command), "--resume"], capture_output=True, text=True, check=True)
    summary = json.loads(done.stdout)
    digests = [hashlib.sha256((work / name).read_bytes()).hexdigest() for name in ("scores.parquet", output.name)]
    assert digests[0] == digests[1], "the resumed run wrote different bytes"
    assert not list(work.glob("*.part*t.partial")), "a journal remained"
    print(
        f"Killed after {summary['resumed_rows']:,} rows: no output; --resume scored the other "
        f"{summary['rows'] - summary['resumed_rows']:,} in {time.perf_counter() - begin:.2f} s (uninterrupted: "
        f"{seconds:.2f} s), to the same bytes."
    )


if __name__ == "__main__":
    main()
