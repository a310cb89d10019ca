"""Many files scored into a folder: one that cannot be scored costs no other, and is named."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pyarrow.parquet import read_table

from aefast.tables.formats.base import TableError
from small_tables import FEATURES, done, run_command, small_model, small_table, write_table

N_FILES = 6


@pytest.fixture(params=[".parquet", ".csv"])
def folder(request, tmp_path, monkeypatch):
    """A working folder with a model and tables of 50 rows in ``in``."""
    monkeypatch.chdir(tmp_path)
    Path("in").mkdir()
    small_model().save("m")
    for i in range(N_FILES):
        write_table(part(i), Path(f"in/{i}{request.param}"))
    return request.param


def part(i: int) -> pa.Table:
    return small_table(300).slice(50 * i, 50)


def damage(how: str, path: Path) -> str:
    """Damage a table; return what the message about it has."""
    table = part(3)
    if how == "nan":
        values = table["c"].to_pylist()
        values[7] = None
        write_table(table.set_column(4, "c", pa.array(values)), path)
        return "row 7"
    if how == "lacks a column":
        write_table(table.drop_columns("b"), path)
        return "lacks columns the model was fitted on: 'b'"
    if how == "text":
        write_table(table.set_column(4, "c", pa.array([f"w{i}" for i in range(50)])), path)
        return "c"
    path.write_bytes(path.read_bytes()[:150])  # half-written
    return path.name


@pytest.mark.parametrize("how", ["nan", "lacks a column", "text", "half-written"])
@pytest.mark.parametrize("options", [[], ["--batch-rows", 20], ["--fdr", 0.3], ["--label", "label"]])
def test_one_bad_file_costs_no_other(folder, how, options):
    said = damage(how, Path(f"in/3{folder}"))
    if how == "half-written" and folder == ".csv":
        said = "row"
    result = run_command("score", "m", "in", "-o", "out", *options, "--json")
    told = json.loads(result.stdout)
    assert result.exit_code == told["status"] == 1
    assert result.stderr.startswith("aefast score: ")
    assert result.stderr.count("\n") == 1
    assert list(told["failed"]) == [f"in/3{folder}"]
    assert said in told["failed"][f"in/3{folder}"]
    assert (told["rows"], told["files"]) == (250, N_FILES)
    written = sorted(path.name for path in Path("out").iterdir() if path.suffix == folder)
    assert written == [f"{i}{folder}" for i in range(N_FILES) if i != 3]
    if not options:
        for i in (0, 5):
            scores_are_those_of(i, folder)
    # When the file is mended, the others are not scored again.
    write_table(part(3), Path(f"in/3{folder}"))
    if options != ["--label", "label"] and options != ["--fdr", 0.3]:
        again = json.loads(done("score", "m", "in", "-o", "out", *options, "--resume", "--json"))
        assert (again["rows"], again["resumed_rows"], again["failed"]) == (300, 250, {})
        assert not Path("out/aefast.partial").exists()


def scores_are_those_of(i: int, ending: str) -> None:
    expected = small_model().reconstruction_error(part(i).select(FEATURES)).astype(np.float64)
    path = f"out/{i}{ending}"
    found = pa.csv.read_csv(path) if ending == ".csv" else read_table(path)
    np.testing.assert_array_equal(found["anomaly_score"].to_numpy(), expected)


def test_the_text_names_how_many_files_failed(folder):
    for i in (1, 4):
        damage("nan", Path(f"in/{i}{folder}"))
    result = run_command("score", "m", "in", "-o", "out")
    assert "2 of 6 files" in result.stdout
    assert "2 files failed, the first: " in result.stderr
    assert f"in/1{folder}, row 7" in result.stderr


def test_if_all_files_fail_nothing_is_written(folder):
    for i in range(N_FILES):
        damage("lacks a column", Path(f"in/{i}{folder}"))
    result = run_command("score", "m", "in", "-o", "out")
    assert (result.exit_code, "lacks columns the model was fitted on" in result.stderr) == (1, True)
    assert not Path("out").exists() or list(Path("out").iterdir()) == []


def test_bad_rows_may_be_skipped_file_by_file(folder):
    damage("nan", Path(f"in/3{folder}"))
    told = json.loads(done("score", "m", "in", "-o", "out", "--on-bad", "skip", "--json"))
    assert (told["rows"], told["bad_rows"], told["failed"]) == (300, 1, {})


def test_what_a_killed_run_left_is_removed(folder):
    Path("out").mkdir()
    left = [Path(f"out/.0{folder}.123-abcd.part"), Path(f"out/.other{folder}.123-abcd.part")]
    for path in left:
        path.touch()
    done("score", "m", "in", "-o", "out")
    assert [path.exists() for path in left] == [False, True]


def test_one_model_serves_files_of_several_schemas(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("in").mkdir()
    small_model().save("m")
    kinds: list[Any] = [pa.float64(), pa.float32(), pa.float64(), pa.string(), pa.float64()]
    for i, kind in enumerate(kinds):
        table = part(i)
        column = table["c"].cast(kind) if kind != pa.string() else pa.array(["x"] * 50)
        write_table(table.set_column(4, "c", column), Path(f"in/{i}.parquet"))
    told = json.loads(run_command("score", "m", "in", "-o", "out", "--json").stdout)
    assert list(told["failed"]) == ["in/3.parquet"]
    assert "column 'c' is string" in told["failed"]["in/3.parquet"]


@pytest.mark.parametrize("options", [[], ["--top-features", 2], ["--on-bad", "skip"], ["--only-anomalies", "--sort"]])
def test_files_scored_together_have_the_bytes_of_files_scored_alone(folder, options):
    done("score", "m", "in", "-o", "out", *options)
    for i in range(N_FILES):
        done("score", "m", f"in/{i}{folder}", "-o", "alone", *options)
        assert Path(f"out/{i}{folder}").read_bytes() == Path(f"alone/{i}{folder}").read_bytes()


def test_small_files_are_judged_in_groups(tmp_path, monkeypatch):
    from aefast.jobs.judging import MOST_TOGETHER
    from aefast.scoring.scorer import Scorer

    monkeypatch.chdir(tmp_path)
    small_model().save("m")
    Path("in").mkdir()
    n_files = MOST_TOGETHER + 5
    for i in range(n_files):
        write_table(small_table(300).slice(3 * i, 3), Path(f"in/{i:03}.parquet"))
    write_table(small_table(8000), Path("in/large.parquet"))
    write_table(small_table(300).slice(0, 0), Path("in/010-none.parquet"))
    n_rows = []
    judge = Scorer.judge
    monkeypatch.setattr(
        Scorer, "judge", lambda self, batch, **more: n_rows.append(len(batch)) or judge(self, batch, **more)
    )
    told = json.loads(done("score", "m", "in", "-o", "out", "--json"))
    assert (told["rows"], told["files"]) == (3 * n_files + 8000, n_files + 2)
    assert n_rows == [3 * (MOST_TOGETHER - 1), 3 * 6 + 8000]  # the empty file is of the first group
    assert told["drift"]["rows"] == told["rows"]
    expected = small_model().reconstruction_error(small_table(300).slice(0, 3 * n_files).select(FEATURES))
    found = [read_table(f"out/{i:03}.parquet")["anomaly_score"].to_pylist() for i in range(n_files)]
    np.testing.assert_array_equal(np.concatenate(found), expected.astype(np.float64))
    assert read_table("out/010-none.parquet").num_rows == 0


def test_a_bad_file_is_named_when_files_are_judged_together(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    small_model().save("m")
    Path("in").mkdir()
    for i in range(9):
        table = small_table(300).slice(3 * i, 3)
        if i == 4:
            table = table.set_column(2, "a", pa.array([1.0, np.inf, 2.0]))
        write_table(table, Path(f"in/{i}.parquet"))
    result = run_command("score", "m", "in", "-o", "out", "--json")
    told = json.loads(result.stdout)
    assert (result.exit_code, told["rows"], list(told["failed"])) == (1, 24, ["in/4.parquet"])
    assert "in/4.parquet, row 1" in told["failed"]["in/4.parquet"]
    assert sorted(path.stem for path in Path("out").glob("*.parquet")) == [str(i) for i in range(9) if i != 4]
    assert told["drift"]["rows"] == 24


@pytest.mark.parametrize("options", [[], ["--batch-rows", 20]])
def test_a_file_that_fails_after_it_was_judged_does_not_count_for_drift(folder, options, monkeypatch):
    score = partial(run_command, "score", "m", "in", "-o", "out", *options, "--json")
    before = {path: path.read_bytes() for path in Path("in").iterdir()}
    Path(f"in/3{folder}").unlink()
    expected = json.loads(score().stdout)["drift"]
    assert expected["rows"] == 250
    for path, content in before.items():
        path.write_bytes(content)
    far = part(3).set_column(4, "c", pa.array([1e4] * 50))
    write_table(far, Path(f"in/3{folder}"))
    assert json.loads(score().stdout)["drift"] != expected

    def changed(source: Any, *arguments: Any) -> None:
        if source.files[0].path.name == f"3{folder}":
            raise TableError(f"{source.files[0].path} changed while it was read")

    monkeypatch.setattr("aefast.jobs.score.check_unchanged", changed)
    told = json.loads(score().stdout)
    assert (list(told["failed"]), told["drift"]) == ([f"in/3{folder}"], expected)
