"""What one writes without aefast to score a large Parquet file: pyarrow and ONNX Runtime, with care.

    python benchmarks/onnx_job.py NETWORK.onnx TABLE.parquet OUT.parquet --threshold T [--ahead | --plain]

The file is read in batches, columns are decoded and the network is run on all CPUs, scaling and error are in the
graph, and `id`, score and flag are written with the options that `aefast score` uses. With ``--ahead`` a thread reads
the next batches and another writes, so that nothing waits for either. With ``--plain`` it is what one writes without
measuring: the reader's and the writer's defaults, and the network run on whole batches.
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
RUN_ROWS = 8_192  # in one call of the network, whose activations then stay in the second-level cache


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
    """The same items, made by a thread."""
    slots = queue.Queue(2)

    def work():
        for item in items:
            slots.put(item)
        slots.put(None)

    threading.Thread(target=work, daemon=True).start()
    while (item := slots.get()) is not None:
        yield item


def behind(write):
    """The same call made by a thread, and what waits for it."""
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
