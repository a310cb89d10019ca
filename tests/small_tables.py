"""Small tables in every format, and a model that is quickly fitted on them."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from functools import lru_cache
from inspect import signature
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.feather
import pyarrow.parquet

from aefast.tables.source import Source

FEATURES = ["a", "b", "c", "d"]


def small_table(n_rows: int = 300, seed: int = 0) -> pa.Table:
    """Return ``id``, a text column, four correlated features, and ``label``, 1 for the few rows without correlation."""
    rng = np.random.default_rng(seed)
    a, b = rng.normal(size=(2, n_rows))
    features = {"a": a, "b": b, "c": a - b, "d": 2 * a + b}
    label = np.zeros(n_rows, dtype=np.int8)
    label[:: max(n_rows // 8, 1)] = 1
    features["c"] = features["c"] + 9.0 * label
    about = {"id": np.arange(1000, 1000 + n_rows), "name": [f"row {i}" for i in range(n_rows)]}
    return pa.table(about | features | {"label": label})


@lru_cache
def small_model(**parameters: Any) -> Any:
    """Return a model fitted on the features of `small_table` without its anomalies. Tests must not change it."""
    import aefast

    table = small_table()
    normal = table.filter(pa.compute.equal(table["label"], 0)).select(FEATURES)
    settings = {"encoder_layer_sizes": (8, 2), "max_epochs": 15, "random_state": 0, "n_threads": 1} | parameters
    return aefast.Autoencoder(**settings).fit(normal)


def mixed_table(n_rows: int = 300, seed: int = 0) -> pa.Table:
    """Return ``id``, the features of `small_table`, and columns of other kinds, with missing values."""
    table, rng = small_table(n_rows, seed).select(["id", *FEATURES]), np.random.default_rng(seed)
    start = datetime(2024, 5, 6, tzinfo=timezone.utc)
    columns = {
        "number": pa.array([None if i % 23 == 5 else x for i, x in enumerate(rng.normal(size=n_rows))]),
        "word": pa.array([None if i % 17 == 3 else ["north", "south"][i % 2] for i in range(n_rows)]),
        "on": pa.array((rng.random(n_rows) < 0.5).tolist()),
        "time": pa.array([start + timedelta(minutes=37 * i) for i in range(n_rows)], pa.timestamp("us", "UTC")),
    }
    for name, column in columns.items():
        table = table.append_column(name, column)
    return table


@lru_cache
def mixed_model() -> Any:
    """Return a model fitted on the columns of `mixed_table` but ``id``. Tests must not change it."""
    import aefast

    settings = {"encoder_layer_sizes": (8, 2), "max_epochs": 3, "random_state": 0, "missing": "mask"}
    return aefast.Autoencoder(**settings).fit(mixed_table().drop_columns(["id"]))


def write_table(table: pa.Table, path: Path) -> Path:
    """Write ``table`` in the format of the path's suffix."""
    if path.suffix == ".parquet":
        pa.parquet.write_table(table, path, row_group_size=70)
    elif path.suffix == ".csv":
        pa.csv.write_csv(table, path)
    elif path.suffix == ".feather":
        pa.feather.write_feather(table, path, chunksize=64)
    elif path.suffix == ".arrows":
        with pa.ipc.new_stream(str(path), table.schema) as writer:
            writer.write_table(table, max_chunksize=50)
    elif path.suffix == ".npy":
        np.save(path, features_of(table))
    else:
        raise ValueError(path)
    return path


def write_text(folder: Path, text: str, name: str = "t.csv", encoding: str = "utf-8") -> Path:
    """Write a text file and return its path."""
    path = folder / name
    path.write_bytes(text.encode(encoding))
    return path


def read_columns(path: Path, reading: Any = None) -> dict[str, list[Any]]:
    """Return the values of each column of a file."""
    source = Source([path], reading)
    return {n: [c for b in source.batches([n], 1000) for c in b.column(0).to_pylist()] for n in source.schema.names}


def run_command(*arguments: object) -> Any:
    """Run the command line in this process; return its output and its exit code."""
    from typer.testing import CliRunner

    from aefast.cli.app import app

    # Older versions of click mix the streams by default; newer ones lack the option.
    separate = {"mix_stderr": False} if "mix_stderr" in signature(CliRunner).parameters else {}
    return CliRunner(**separate).invoke(app, [str(a) for a in arguments])


def done(*arguments: object) -> str:
    """Return the output of a command that must succeed without warnings."""
    result = run_command(*arguments)
    assert (result.exit_code, result.stderr) == (0, "")
    return result.stdout


def features_of(table: pa.Table, names: list[str] = FEATURES) -> np.ndarray:
    """Return the features as an array, in order."""
    return np.column_stack([table[name].to_numpy() for name in names])
