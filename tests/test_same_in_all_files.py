"""A table has the same kinds of columns and the same scores as Parquet, Arrow IPC and CSV."""

from __future__ import annotations

import datetime
import json
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.feather
import pyarrow.parquet as pq
import pytest

from small_tables import run_command

N_ROWS = 80
FILES = ("t.parquet", "t.arrow", "t.csv")
START = datetime.datetime(2024, 3, 1, 7, 30)


def column(rng, kind):
    """Return a name and values of a kind."""
    steps = np.cumsum(rng.integers(1, 9_000, N_ROWS)).tolist()
    small, words = rng.integers(-9, 9, N_ROWS).tolist(), rng.choice(["red", "green", "blue"], N_ROWS).tolist()
    days = [START.date() + datetime.timedelta(days=step // 9_000 * 3) for step in steps]
    times = [START + datetime.timedelta(seconds=step) for step in steps]
    return {
        "int": ("count", small),
        "wide int": ("amount", rng.integers(-(2**40), 2**40, N_ROWS).tolist()),
        "float": ("v", rng.normal(size=N_ROWS).tolist()),
        "tiny float": ("w", (rng.normal(size=N_ROWS) * 1e-12).tolist()),
        "decimal": ("price", [Decimal(int(x)) / 100 for x in rng.integers(-(10**6), 10**6, N_ROWS)]),
        "bool": ("on", [bool(x < 0) for x in small]),
        "word": ("colour", words),
        "text of times": ("seen", [f"{time:%d/%m/%Y %H:%M}" for time in times]),
        "text of ISO times": ("noted", [time.isoformat() for time in times]),
        "code": ("zip", rng.choice([12345, 99950, 60606], N_ROWS).tolist()),
        "text code": ("part", [f"{x + 9:05d}" for x in small]),
        "epoch": ("ts", [1_700_000_000 + step for step in steps]),
        "epoch ms": ("timestamp", [1_700_000_000_000 + 1_000 * step for step in steps]),
        "compact date": ("day", [int(f"{day:%Y%m%d}") for day in days]),
        "date": ("date", days),
        "time": ("at", times),
        "clock": ("clock", [time.time().replace(microsecond=0) for time in times]),
        "id": ("id", list(range(N_ROWS))),
        "constant": ("constant", [7] * N_ROWS),
        "empty": ("empty", [None] * N_ROWS),
    }[kind]


KINDS = (
    *("int", "wide int", "float", "tiny float", "decimal", "bool", "word", "text of times", "text of ISO times"),
    *("code", "text code", "epoch", "epoch ms", "compact date", "date", "time", "clock", "id", "constant", "empty"),
)


def table(seed):
    """Return a table of columns of random kinds, some with missing values."""
    rng = np.random.default_rng(seed)
    columns = dict(column(rng, kind) for kind in rng.choice(KINDS, 6, replace=False))
    columns["x"] = rng.normal(size=N_ROWS).tolist()
    for name in rng.choice([name for name in columns if name != "id"], 2):
        rows = rng.random(N_ROWS) < 0.1
        columns[name] = [None if is_missing else value for value, is_missing in zip(columns[name], rows, strict=True)]
    return pa.table({name: pa.array(values) for name, values in columns.items()})


def write(table, folder):
    pq.write_table(table, folder / "t.parquet")
    pa.feather.write_feather(table, folder / "t.arrow")
    pa.csv.write_csv(table, folder / "t.csv")


def summary(*arguments):
    result = run_command(*arguments, "--json")
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("seed", range(12))
def test_a_table_has_the_same_kinds_and_scores_in_all_files(tmp_path, seed):
    write(table(seed), tmp_path)
    scores, kinds, left_out = {}, [], []
    for fitted in FILES:
        model = tmp_path / f"{fitted}.safetensors"
        told = summary("fit", tmp_path / fitted, "-o", model, "--epochs", 1, "--threads", 1)
        kinds.append(told["kinds"] or dict.fromkeys(told["columns"], "numeric"))
        left_out.append(told["excluded"])
        for scored in FILES:
            summary("score", model, tmp_path / scored, "-o", tmp_path / "s.parquet", "--threads", 1)
            found = pq.read_table(tmp_path / "s.parquet")["anomaly_score"].to_numpy()
            scores[fitted, scored] = found
    assert kinds[1:] == kinds[:1] * 2
    assert left_out[1:] == left_out[:1] * 2
    wanted = scores["t.parquet", "t.parquet"]
    for files, found in scores.items():
        np.testing.assert_array_equal(found, wanted, err_msg=" ".join(files))
