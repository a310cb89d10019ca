"""A careful script without aefast that scores a large Parquet file with pyarrow and ONNX Runtime.

    python benchmarks/onnx_job.py NETWORK.onnx TABLE.parquet OUT.parquet --threshold T [--ahead | --plain]

The script reads the file in batches, decodes columns and runs the network on all CPUs. Scaling and error are part of
the graph. It writes `id`, score and flag with the options that `aefast score` uses. With ``--ahead``, one thread reads
the next batches and another one writes. With ``--plain``, the reader and the writer use their defaults, and the network
runs on whole batches.
"""

from __future__ import annotations

import argparse
import os
import queue
import threading

import numpy as np
import onnxruntime
import pyarrow as pa
import pyarrow.parquet as pq

BATCH_ROWS = 65_536
RUN_ROWS = 8_192  # rows per call of the network, few enough for activations to stay in the second-level cache


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("network")
    parser.add_argument("table")
    parser.add_argument("output")
    parser.add_argument("--threshold", type=float, required=True)
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--ahead", action="store_true")
    how.add_argument("--plain", action="store_true")
    options = parser.parse_args()

    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = len(os.sched_getaffinity(0))
    settings.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    session = onnxruntime.InferenceSession(options.network, settings, providers=["CPUExecutionProvider"])

    careful = {} if options.plain else {"buffer_size": 1 << 16, "pre_buffer": False}
    file = pq.ParquetFile(options.table, **careful)
    features = [name for name in file.schema_arrow.names if name != "id"]
    batches = file.iter_batches(BATCH_ROWS, columns=["id", *features])
    schema = pa.schema([("id", pa.int64()), ("anomaly_score", pa.float64()), ("is_anomaly", pa.bool_())])
    compression = {"id": "snappy", "anomaly_score": "none", "is_anomaly": "snappy"}
    writing = {} if options.plain else {"use_dictionary": False, "compression": compression}
    run_rows = BATCH_ROWS if options.plain else RUN_ROWS
    with pq.ParquetWriter(options.output, schema, **writing) as writer:
        write, finish = (behind(writer.write_batch)) if options.ahead else (writer.write_batch, lambda: None)
        for batch in ahead(batches) if options.ahead else batches:
            X = np.empty((batch.num_rows, len(features)), dtype=np.float32)
            for j, name in enumerate(features):
                X[:, j] = batch.column(name).to_numpy()
            parts = [session.run(None, {"x": X[i : i + run_rows]})[0] for i in range(0, len(X), run_rows)]
            errors = np.concatenate(parts).astype(np.float64)
            arrays = [batch.column("id"), pa.array(errors), pa.array(errors > options.threshold)]
            write(pa.record_batch(arrays, schema=schema))
        finish()


def ahead(items):
    """Yield the same items, made by a thread."""
    slots = queue.Queue(2)

    def work():
        for item in items:
            slots.put(item)
        slots.put(None)

    threading.Thread(target=work, daemon=True).start()
    while (item := slots.get()) is not None:
        yield item


def behind(write):
    """Return a function that makes the same call in a thread, and one that waits for it."""
    slots = queue.Queue(2)

    def work():
        while (item := slots.get()) is not None:
            write(item)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()

    def finish():
        slots.put(None)
        thread.join()

    return slots.put, finish


if __name__ == "__main__":
    main()
