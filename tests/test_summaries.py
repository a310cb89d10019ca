"""The JSON summary of each command has the fields of docs/commands.md, of the types that stand there."""

from __future__ import annotations

import json
import math
import re
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from aefast.cli.app import COMMANDS
from small_tables import done, small_model, small_table, write_table

PAGE = Path(__file__).parents[1] / "docs" / "commands.md"
TYPES = {
    "whole number": lambda value: isinstance(value, int) and not isinstance(value, bool),
    "number": lambda value: isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value),
    "truth": lambda value: isinstance(value, bool),
    "text": lambda value: isinstance(value, str),
    "list": lambda value: isinstance(value, list),
    "object": lambda value: isinstance(value, dict),
    "null": lambda value: value is None,
}
FIELD = re.compile(r"^\| (?:(\w+) \| )?`(\w+)` \| ([a-z ]+) \| (.*) \|$", re.MULTILINE)

pytestmark = pytest.mark.skipif(not PAGE.exists(), reason="the documents are not beside the tests")


def documented() -> dict[str, dict[str, tuple[list[str], bool]]]:
    """Return, for each command ("" for all), the fields with their types and whether they are always there."""
    found: dict[str, dict[str, tuple[list[str], bool]]] = {}
    text = PAGE.read_text(encoding="utf-8")
    for command, field, kinds, meaning in FIELD.findall(text[text.index("## JSON summary") :]):
        found.setdefault(command, {})[field] = (kinds.split(" or "), not meaning.startswith("if "))
    return found


def check(summary: dict[str, Any]) -> None:
    """Fail unless a summary is as documented."""
    fields = documented()[""] | documented().get(summary["command"], {})
    assert set(summary) <= set(fields)
    assert {name for name, (_, always) in fields.items() if always} <= set(summary)
    for name, value in summary.items():
        kinds, _ = fields[name]
        assert any(TYPES[kind](value) for kind in kinds), (name, value, kinds)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    small_model().save("m")
    write_table(small_table(), tmp_path / "t.parquet")
    write_table(small_table(), tmp_path / "t.csv")
    (tmp_path / "job.toml").write_text("[job]\ninput = 't.csv'\nmodel = 'm'\noutput = 'scores/{date}.csv'\n")
    return tmp_path


RUNS = [
    "fit t.parquet -o m2 --epochs 1",
    "fit t.csv -o m2 --epochs 0 --columns name,a --kind-of name=categorical",
    "fit t.parquet -o m2 --epochs 1 --sample 100 --threads 1",
    "score m t.parquet -o o.parquet",
    "score m t.csv -o out --label label --fdr 0.2 --top-features 2 --keep id --on-bad skip",
    "score m t.parquet -o o.npy --only-anomalies --sort",
    "score m t.parquet -o o.csv --fdr 0.001",
    "report m t.parquet",
    "report m t.csv --label label",
    "compare m m t.parquet --examples 1",
    "recalibrate m t.parquet -o m2",
    "info m",
    "compare m m t.parquet",
    "export m -o m.sql",
    "run new.toml --init t.csv",
    "run job.toml --date 2026-03-01",
    "run job.toml --date 2026-03-01 --print",
    "bench --seconds 0.01 --threads 1",
    "demo -o demo",
]


@pytest.mark.parametrize("run", RUNS)
def test_summaries_are_as_documented(folder, run):
    summary = json.loads(done(*run.split(), "--json"))
    check(summary)
    assert (summary["schema"], summary["command"], summary["status"]) == (1, run.split()[0], 0)
    assert datetime.fromisoformat(summary["started"]).utcoffset().total_seconds() == 0


def test_the_documents_describe_every_command():
    assert set(documented()) == {"", *COMMANDS}
    assert {run.split()[0] for run in RUNS} == set(COMMANDS)


def test_rows_flagged_and_threshold_are_those_of_the_output(folder):
    scored = json.loads(done("score", "m", "t.parquet", "-o", "o.parquet", "--json"))
    reported = json.loads(done("report", "m", "t.parquet", "--json"))
    for field in ("rows", "flagged", "bad_rows", "threshold", "dialect"):
        assert scored[field] == reported[field]
    assert scored["threshold"] == float(small_model().threshold_)


def test_the_dialect_is_said(folder):
    Path("t.csv").write_text(Path("t.csv").read_text().replace(",", ";"))
    assert json.loads(done("score", "m", "t.csv", "-o", "o.csv", "--json"))["dialect"] == "separated by ';'"
