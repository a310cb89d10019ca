"""Hostile tables: damaged files and unusual columns, and what every command may do with them.

`tests/test_hostile.py` makes some of them from fixed seeds; the fuzzers in `tests/fuzz/` search for more.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Callable
from decimal import Decimal
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

import aefast
from hostile import NUMBERS
from small_tables import FEATURES, run_command, small_model, small_table, write_table

ENDINGS = (".parquet", ".csv", ".feather", ".arrows", ".npy")
FIT = ("--epochs", 1, "--layers", "3", "--threads", 1)
#: What each command is called with; MODEL, MIXED, ROWS and OUT stand for files.
COMMANDS: tuple[tuple[Any, ...], ...] = (
    ("score", "MODEL", "ROWS", "-o", "OUT.parquet", "--top-features", 1, "--threads", 1),
    ("score", "MIXED", "ROWS", "-o", "OUT.csv", "--top-features", 2, "--threads", 1),
    ("score", "MODEL", "ROWS", "-o", "OUT.npy", "--fdr", 0.1, "--batch-rows", 7, "--label", "label", "--threads", 1),
    ("fit", "ROWS", "-o", "OUT.safetensors", *FIT, "--missing", "mask"),
    ("fit", "ROWS", "-o", "OUT.safetensors", *FIT, "--missing", "mean", "--stream"),
    ("fit", "ROWS", "-o", "OUT.safetensors", *FIT, "--columns", "a,kind", "--sample", 20),
    ("fit", "ROWS", "-o", "OUT.safetensors", *FIT, "--exclude", "id", "--kind-of", "a=categorical,when=timestamp"),
    ("recalibrate", "MIXED", "ROWS", "-o", "OUT.safetensors", "--threads", 1),
    ("report", "MIXED", "ROWS", "-o", "OUT.html", "--threads", 1),
    ("report", "MODEL", "ROWS", "-o", "OUT.html", "--label", "label", "--threads", 1),
)  # fmt: skip
#: How many of them draw no pictures.
N_QUICK = sum(words[0] != "report" for words in COMMANDS)


def mixed_table(n_rows: int = 90) -> pa.Table:
    """Return `small_table` with columns of every kind."""
    times = np.datetime64("2024-01-01T00:00", "us") + np.arange(n_rows) * np.timedelta64(97, "m")
    others = {
        "kind": pa.array(["x", "y", None] * (n_rows // 3)),
        "when": pa.array(times),
        "flag": pa.array(np.arange(n_rows) % 5 == 0),
        "day": pa.array(times.astype("datetime64[D]")),
    }
    table = small_table(n_rows)
    return pa.table({name: table[name] for name in table.column_names} | others)


@lru_cache
def mixed_model() -> Any:
    """Return a model fitted on columns of every kind. Tests must not change it."""
    table = mixed_table().select([*FEATURES, "kind", "when", "flag"])
    return aefast.Autoencoder((8, 2), max_epochs=2, missing="mask", random_state=0, n_threads=1).fit(table)


def table_seeds(folder: Path) -> list[bytes]:
    """Return a table in every format; the first byte encodes the suffix (`ENDINGS`) and the command (`COMMANDS`)."""
    return [of_table(mixed_table(), ending, 0, folder) for ending in ENDINGS]


def of_table(table: pa.Table, ending: str, command: int, folder: Path) -> bytes:
    """Return the input of `check_table` for a table; columns that the format cannot hold are left out."""
    kept: list[int] = []
    for place in range(table.num_columns if ending != ".npy" else 0):
        try:
            write_table(table.select([place]), folder / f"seed{ending}")
            kept.append(place)
        except (pa.ArrowException, ValueError, TypeError, OverflowError):
            continue
    path = folder / f"seed{ending}"
    if ending == ".npy":
        np.save(path, np.column_stack([np.asarray(table[name].to_numpy()) for name in FEATURES]).astype(np.float64))
    else:
        write_table(table.select(kept), path)
    return bytes([command * len(ENDINGS) + ENDINGS.index(ending)]) + path.read_bytes()


def for_command(content: bytes, command: int) -> bytes:
    """Return the same table for another command."""
    return bytes([command * len(ENDINGS) + content[0] % len(ENDINGS)]) + content[1:]


def changed_table(content: bytes, rng: random.Random) -> bytes:
    """Return the table with a few bytes changed, repeated or removed."""
    changed = bytearray(content)
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(1, len(changed))
        kind = rng.random()
        if kind < 0.4:
            changed[at] = rng.randrange(256)
        elif kind < 0.6:
            changed[at] ^= 1 << rng.randrange(8)
        elif kind < 0.75:
            number = rng.choice(NUMBERS) % (1 << 64)
            changed[at : at + 8] = struct.pack("<Q", number)[: rng.choice((1, 2, 4, 8))]
        elif kind < 0.85:
            changed[at:at] = changed[at : at + rng.randrange(1, 40)]
        else:
            del changed[at : at + rng.choice((1, 3, 40))]
        if len(changed) < 3:
            break
    return bytes(changed)


# Unusual columns in valid files.

FLOATS = (0.0, -0.0, 1.5, -3.0, 5e-324, 1e-40, 3e38, -3e38, 1e300, 1.7e308, np.inf, -np.inf, np.nan, None)
INTEGERS = (0, 1, -1, 7, 127, 255, -(1 << 31), (1 << 53) + 1, (1 << 63) - 1, -(1 << 63), None)
ZONES = ("UTC", "Europe/Berlin", "Nowhere/At_all", "+25:99", "")
TEXTS = ("", "x", "y", " x", "1", "nan", "None", "(missing)", "(unknown)", "é", "\n", "=1+1", "🂡" * 40, "\x00", None)
NAMES = ("", "a ", "A", "x,y", "a\nb", "é", "anomaly_score", "is_anomaly", "x0", "[bold]", "<b>", "$x^$", "n" * 3000)


def _arrays(n: int, rng: random.Random) -> dict[str, Callable[[], pa.Array]]:
    """Return functions that make a column of ``n`` rows."""

    def some(values: tuple[Any, ...]) -> list[Any]:
        few = rng.sample(values, min(len(values), rng.choice((1, 2, 4, len(values)))))
        return [rng.choice(few) for _ in range(n)]

    def within(kind: pa.DataType, low: int, high: int) -> pa.Array:
        return pa.array([v if v is None else min(max(v, low), high) for v in some(INTEGERS)], kind)

    def stamps(kind: pa.DataType) -> pa.Array:
        return pa.array(some(INTEGERS), pa.int64()).view(kind)

    def coded(kind: pa.DataType, values: list[Any]) -> pa.Array:
        codes = [rng.choice((*range(len(values)), None)) if values else None for _ in range(n)]
        return pa.DictionaryArray.from_arrays(pa.array(codes, pa.int8()), pa.array(values, kind))

    made: dict[str, Callable[[], pa.Array]] = {
        "double": lambda: pa.array(some(FLOATS), pa.float64()),
        "usual": lambda: pa.array([rng.gauss(0, 1) for _ in range(n)], rng.choice((pa.float64(), pa.float32()))),
        "float": lambda: pa.array(some(FLOATS), pa.float64()).cast(pa.float32(), safe=False),
        "half": lambda: pa.array(some(FLOATS), pa.float64()).cast(pa.float16(), safe=False),
        "int8": lambda: within(pa.int8(), -128, 127),
        "int64": lambda: within(pa.int64(), -(1 << 63), (1 << 63) - 1),
        "uint64": lambda: within(pa.uint64(), 0, (1 << 64) - 1),
        "bool": lambda: pa.array(some((True, False, None)), pa.bool_()),
        "text": lambda: pa.array(some(TEXTS), rng.choice((pa.string(), pa.large_string(), pa.string_view()))),
        "broken text": lambda: pa.array([b"x", b"\xff\xfe", b"y"] * n, pa.binary())[:n].view(pa.string()),
        "binary": lambda: pa.array([None if v is None else v.encode() for v in some(TEXTS)], pa.binary()),
        "null": lambda: pa.nulls(n),
        "stamp": lambda: stamps(pa.timestamp(rng.choice(("s", "ms", "us", "ns")))),
        "zoned": lambda: stamps(pa.timestamp("us", rng.choice(ZONES))),
        "time": lambda: pa.array([i % 86_400 for i in range(n)], pa.int32()).view(pa.time32("s")),
        "date": lambda: within(pa.int32(), -(1 << 31), (1 << 31) - 1).view(pa.date32()),
        "date64": lambda: stamps(pa.date64()),
        "duration": lambda: stamps(pa.duration("us")),
        "decimal": lambda: pa.array(some((Decimal("1.25"), Decimal("-" + "9" * 30), None)), pa.decimal128(38, 2)),
        "wide decimal": lambda: pa.array(some((Decimal(0), Decimal("9" * 70), None)), pa.decimal256(76, 3)),
        "levels": lambda: coded(pa.string(), rng.choice((["x", "y"], ["x", "x"], ["x", None], [], ["é"] * 9))),
        "numbered levels": lambda: coded(rng.choice((pa.int64(), pa.float64())), [3, 4, None]),
        "timed levels": lambda: coded(pa.timestamp("s"), [0, 1 << 40]),
        "list": lambda: pa.array([[1.0], None, []] * n, pa.list_(pa.float64()))[:n],
        "struct": lambda: pa.array([{"a": 1}] * n, pa.struct([("a", pa.int8())])),
        "pairs": lambda: pa.array([[1.0, None]] * n, pa.list_(pa.float32(), 2)),
        "map": lambda: pa.array([[("k", 1)]] * n, pa.map_(pa.string(), pa.int8())),
        "runs": lambda: pa.RunEndEncodedArray.from_arrays([n], pa.array([1.0])) if n else pa.nulls(0),
    }  # fmt: skip
    return made


def strange_table(rng: random.Random) -> pa.Table:
    """Return some columns of `mixed_table` in any order, some with other types and values, and further columns."""
    n = rng.choice((0, 1, 2, 3, 30, 90))
    table = mixed_table().slice(0, n)
    arrays = _arrays(n, rng)
    columns = {name: table[name] for name in table.column_names}
    for _ in range(rng.randint(1, 3)):
        name = rng.choice((*columns, *NAMES)) if rng.random() < 0.9 else rng.choice(NAMES)
        columns[name] = arrays[rng.choice(list(arrays))]()
    names = list(columns)
    if rng.random() < 0.2:
        rng.shuffle(names)
    if rng.random() < 0.1:
        names.remove(rng.choice(names))
    made = pa.table([columns[name] for name in names], names=names)
    return made.append_column(names[0], columns[names[0]]) if rng.random() < 0.03 else made


def strange_file(rng: random.Random, folder: Path) -> bytes:
    """Return a `strange_table` for a command."""
    ending = rng.choice(ENDINGS[:-1])
    # The pictures of a report take longer than everything else.
    command = rng.randrange(N_QUICK if rng.random() < 0.95 else len(COMMANDS))
    return of_table(strange_table(rng), ending, command, folder)


def check_table(content: bytes, folder: Path) -> int:
    """Return the exit code of a command on a table; it must be 0, 1 or 2, with a one-line message if it is not 0."""
    first = content[0] if content else 1
    command, ending = COMMANDS[first // len(ENDINGS) % len(COMMANDS)], ENDINGS[first % len(ENDINGS)]
    files = {"MODEL": folder / "model", "MIXED": folder / "mixed", "ROWS": folder / f"rows{ending}"}
    for name, make in (("MODEL", small_model), ("MIXED", mixed_model)):
        if not files[name].exists():
            make().save(files[name])
    files["ROWS"].write_bytes(content[1:])
    words = [folder / word if str(word).startswith("OUT") else files.get(word, word) for word in command]
    result = run_command(*words)
    assert result.exit_code in (0, 1, 2), result
    lines = [line for line in result.stderr.splitlines() if line.startswith(f"aefast {command[0]}: ")]
    if result.exit_code:
        assert len(lines) == 1, result.stderr
        assert "a bug in aefast" not in lines[0], result.stderr
        assert result.exit_code == 2 or any(word in lines[0] for word in ("rows.", "OUT.", "column ")), result.stderr
    return int(result.exit_code)
