"""The demo: a table, a model, scores and a report, from scikit-learn's handwritten digits."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from aefast.engine.threads import resolve_threads
from aefast.estimators.autoencoder import Autoencoder
from aefast.jobs.fit import fit_job
from aefast.jobs.report import report_job
from aefast.jobs.score import ScoreJob
from aefast.tables.files import atomic_path, naming
from aefast.tables.source import Source

HELD_OUT = 4
N_STRANGERS = 20
PIXELS = [f"p{row}{column}" for row in range(8) for column in range(8)]


def digit_tables() -> tuple[pa.Table, pa.Table]:
    """Two tables of the 8 × 8 digits of Alpaydin and Kaynak (1998): to train, without one digit, and to test, with it.

    Columns: ``id`` (position in the data set), ``digit``, ``stranger`` (True for the digit that is left out of
    training) and the 64 pixels, 0 to 16.
    """
    from sklearn.datasets import load_digits

    digits = load_digits()
    rng = np.random.default_rng(0)
    order = rng.permutation(len(digits.target))
    known = order[digits.target[order] != HELD_OUT]
    strangers = order[digits.target[order] == HELD_OUT][:N_STRANGERS]
    n_training = len(known) * 3 // 4
    test = rng.permutation(np.concatenate([known[n_training:], strangers]))
    return _table(digits.data, digits.target, known[:n_training]), _table(digits.data, digits.target, test)


def _table(pixels: NDArray[Any], digits: NDArray[Any], rows: NDArray[np.int64]) -> pa.Table:
    about = {"id": rows, "digit": digits[rows].astype(np.int8), "stranger": digits[rows] == HELD_OUT}
    return pa.table(about | {name: pixels[rows, j].astype(np.uint8) for j, name in enumerate(PIXELS)})


def run_demo(folder: str | Path) -> dict[str, Any]:
    """Train on digits without one of the ten, score rows with it, and write everything into ``folder``.

    Runs the same jobs as the commands, from files to files. Returns a summary as plain data.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    training, test = digit_tables()
    _write(training, folder / "train.parquet")
    _write(test, folder / "test.parquet")

    # All pixels have the same unit, so errors of the same size count the same.
    estimator = Autoencoder(scaler="minmax", score_metric="mse", random_state=0, contamination=0.02)
    fitted = fit_job(estimator, Source([folder / "train.parquet"]), folder / "digits.safetensors", columns=PIXELS)
    source = Source([folder / "test.parquet"])
    about = ["id", "digit", "stranger"]
    scored = ScoreJob(estimator, source, folder / "scores.parquet", keep=about, label="stranger", top_features=3).run()
    report_job(
        estimator,
        source,
        folder / "report.html",
        title=f"A stranger among the digits: the {HELD_OUT}",
        subtitle=f"An autoencoder learned {training.num_rows:,} handwritten digits without a single {HELD_OUT}. "
        f"Here it scores {test.num_rows} others, of which {N_STRANGERS} are {HELD_OUT}s.",
        keep=["id", "digit"],
        label="stranger",
        image_shape=(8, 8),
    )
    return {
        "folder": str(folder),
        "files": ["train.parquet", "test.parquet", "digits.safetensors", "scores.parquet", "report.html"],
        "held_out": HELD_OUT,
        "training_rows": fitted["rows"],
        "n_features": fitted["n_features"],
        "epochs": fitted["epochs"],
        "training_seconds": fitted["training_seconds"],
        "test_rows": scored["rows"],
        "anomalies": N_STRANGERS,
        "aucroc": scored["quality"]["aucroc"],
        "average_precision": scored["quality"]["average_precision"],
        "rows_per_second": _speed(estimator, test),
        "threads": resolve_threads(None),
    }


def _write(table: pa.Table, path: Path) -> None:
    import pyarrow.parquet as pq

    with atomic_path(path) as part, naming(path):
        pq.write_table(table, part)


def _speed(estimator: Any, table: pa.Table) -> float:
    """Rows scored per second, in memory. The table is repeated, because it is too short to be timed."""
    X = np.column_stack([table.column(name).to_numpy() for name in PIXELS]).astype(np.float32)
    X = np.tile(X, (1 + 200_000 // len(X), 1))
    best = float("inf")
    for _ in range(3):
        begin = time.perf_counter()
        estimator.model_.errors(X)
        best = min(best, time.perf_counter() - begin)
    return len(X) / best
