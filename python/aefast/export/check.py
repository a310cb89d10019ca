"""Compares an export with its model on made-up rows, by running it."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aefast.engine import core
from aefast.export.decision import OUTPUTS, TOLERANCE
from aefast.export.program import ExportError, Program, evaluate
from aefast.export.rows import N_ROWS, Columns, made_up_rows, table_of_columns
from aefast.model.model import Model

Array = NDArray[Any]
Outputs = dict[str, Array]

_NOT_RUN = "its operations were run with NumPy"


def require_agreement(
    model: Model, program: Program, run: Callable[[Columns], tuple[Outputs, str] | None]
) -> tuple[float, str]:
    """Return the largest relative difference of scores on made-up rows, and what ran the export.

    ``run`` returns the outputs of the export for columns, and what computed them, or None if nothing here can run it.
    A model in single precision may have rounded a score by more than the tolerance. The export then has to agree with
    the same model in double precision.

    Raises
    ------
    ExportError
        If scores or flags differ by more than the tolerance.
    """
    columns, rows = made_up_rows(model, program)
    expected = model.errors(rows).astype(np.float64)
    found, engine = run(columns) or (evaluate(program, columns), _NOT_RUN)
    scores = np.asarray(found["anomaly_score"], dtype=np.float64)
    differences = _differences(scores, expected)
    agrees = differences <= TOLERANCE
    if not agrees.all() and model.dtype == "float32":
        agrees |= _differences(scores, in_double(model).errors(rows)) <= TOLERANCE
    if not agrees.all():
        row = int(agrees.argmin())
        raise ExportError(
            f"the export was not written: its score of a row is {scores[row]:.9g}, the model's is {expected[row]:.9g}"
        )
    flags = np.asarray(found["is_anomaly"], dtype=bool)
    far = np.maximum(TOLERANCE, differences) * np.maximum(1, np.abs(expected))
    is_clear = np.abs(expected - model.threshold) > far
    if (flags != (expected > model.threshold))[is_clear].any():
        raise ExportError("the export was not written: it flags other rows than the model")
    return float(differences.max()), engine


def _differences(scores: Array, expected: Array) -> Array:
    """Return differences of scores as shares of the larger of 1 and the score; infinite for NaN."""
    found = np.abs(scores - expected) / np.maximum(1, np.abs(expected))
    return np.asarray(np.where(np.isnan(found), np.inf, found))


def in_double(model: Model) -> Model:
    """Return the same model, with the same weights, that computes in double precision."""
    coefs, intercepts = (tuple(w.astype(np.float64) for w in part) for part in (model.coefs, model.intercepts))
    return model.replace(dtype="float64", coefs=coefs, intercepts=intercepts)


def describe(model: Model, largest: float, engine: str) -> dict[str, str]:
    """Return what an export says about itself."""
    compared = " from the model in double precision" if largest > TOLERANCE else ""
    return {
        "model": f"{model.kind} of aefast {core.__version__}, {model.digest()[:16]}",
        "columns": ", ".join(model.column_names),
        "anomaly_score": f"{model.score_metric}; rows above {model.threshold:.9g} are anomalies",
        "checked": f"{N_ROWS} rows, {engine}",
        "largest difference": f"{largest:.1e} of max(1, score), allowed {TOLERANCE:g}{compared}",
    }


def run_onnx(proto: Any, columns: Columns) -> tuple[Outputs, str]:
    """Run a graph with ONNX Runtime, or with the evaluator of the package onnx."""
    feed = {name: values.reshape(-1, 1) for name, values in columns.items()}
    names = [output.name for output in proto.graph.output]
    try:
        import onnxruntime
    except ImportError:
        from onnx.reference import ReferenceEvaluator

        found = ReferenceEvaluator(proto).run(names, feed)
        engine = "run with the evaluator of onnx"
    else:
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        options.intra_op_num_threads = 1
        found = onnxruntime.InferenceSession(proto.SerializeToString(), options).run(names, feed)
        engine = f"run with ONNX Runtime {onnxruntime.__version__}"
    return {name: values[:, 0] for name, values in zip(names, found, strict=True)}, engine


def run_c(
    program: Program, text: str, prefix: str, columns: Columns, flags: Sequence[str] = ()
) -> tuple[Outputs, str] | None:
    """Compile a header and score rows with it; None without a compiler."""
    compiler = shutil.which("cc")
    if compiler is None:
        return None
    texts = [each.column for each in program.inputs if each.value.kind == "text"]
    numbers = [columns[each.column] for each in program.inputs if each.value.kind != "text"]
    n_rows = len(next(iter(columns.values())))
    source = f"""#include "model.h"
void run(long n, const double *x, const char *const *t, double *work, double *e, double *p, int *flag) {{
  for (long i = 0; i < n; ++i)
    flag[i] = {prefix}_score(x + i * {prefix.upper()}_NUMBERS, t + i * {prefix.upper()}_TEXTS, work, e + i, p + i);
}}
int n_work(void) {{ return {prefix.upper()}_WORK; }}
"""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "model.h").write_text(text)
        (Path(folder) / "run.c").write_text(source)
        command = [compiler, "-std=c99", *flags, "-O0", "-shared", "-fPIC", "-o", "run.so", "run.c", "-lm"]
        made = subprocess.run(command, cwd=folder, capture_output=True, text=True)
        if made.returncode:
            return None
        library = ctypes.CDLL(str(Path(folder) / "run.so"))
        rows = np.ascontiguousarray(np.column_stack(numbers) if numbers else np.zeros((n_rows, 1)), dtype=np.float64)
        cells = [str(columns[name][i]).encode() or None for i in range(n_rows) for name in texts]
        pointers = (ctypes.c_char_p * max(1, len(cells)))(*cells)
        work = np.zeros(library.n_work())
        found: list[Array] = [np.zeros(n_rows), np.zeros(n_rows), np.zeros(n_rows, np.int32)]
        addresses = [ctypes.c_void_p(each.ctypes.data) for each in (work, *found)]
        library.run(ctypes.c_long(n_rows), ctypes.c_void_p(rows.ctypes.data), pointers, *addresses)
    return dict(zip(OUTPUTS, found, strict=True)), f"compiled with {Path(compiler).name}"


def run_sql(program: Program, text: str, columns: Columns, can_run: bool) -> tuple[Outputs, str] | None:
    """Run a query with DuckDB on a table ``aefast_rows``; None without DuckDB, or for another database."""
    try:
        import duckdb
    except ImportError:
        return None
    if not can_run:
        return None
    import pyarrow as pa

    table = table_of_columns(program, columns)
    table = table.append_column("aefast_row", pa.array(np.arange(len(table))))
    with duckdb.connect() as connection:
        connection.register("aefast_rows", table)
        found = connection.execute(text).fetchnumpy()
    order = np.argsort(found["aefast_row"])
    return {
        name: found[name][order] for name in ("anomaly_score", "p_value", "is_anomaly")
    }, f"run with DuckDB {duckdb.__version__}"
