"""Commands use every row of the tables that DATA names, and use every column or report it as left out."""

from __future__ import annotations

import json
import os
import re
import resource
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest

from small_tables import done, run_command, small_table, write_table


def refused(code: int, *arguments: object) -> str:
    result = run_command(*arguments)
    assert (result.exit_code, result.stdout) == (code, "")
    assert result.stderr.count("\n") == 1
    return result.stderr


def fit(*arguments: object) -> dict:
    return json.loads(done("fit", *arguments, "-o", "m.aef", "--epochs", 1, "--layers", "2", "--json"))


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """A working folder with two tables of different columns: ext/1 (a, b) and ext/2 (b, a, c)."""
    monkeypatch.chdir(tmp_path)
    Path("ext").mkdir()
    write_table(small_table(40).select(["a", "b"]), Path("ext/1.parquet"))
    write_table(small_table(40, seed=1).select(["b", "a", "c"]), Path("ext/2.parquet"))
    return tmp_path


@pytest.mark.parametrize(
    ("options", "why"),
    [([], "not in every file"), (["--exclude", "c"], "--exclude"), (["--columns", "a,b"], "not in --columns")],
)
def test_fit_reports_columns_that_only_later_files_have(options, why):
    summary = fit("ext", *options)
    assert (summary["columns"], summary["excluded"]) == (["a", "b"], {"c": why})


def test_a_column_that_a_later_file_lacks_may_be_excluded():
    assert fit("ext/2.parquet", "ext/1.parquet", "--exclude", "c")["columns"] == ["b", "a"]


def test_excluding_an_unknown_column_is_wrong_usage():
    said = refused(2, "fit", "ext", "--exclude", "d", "-o", "m.aef")
    assert "1.parquet and 1 more lack column 'd' (it has 'a', 'b', 'c')" in said


def test_columns_in_folder_names_are_reported_as_left_out():
    for day in (1, 2):
        Path(f"hive/day={day}").mkdir(parents=True)
        write_table(small_table(40, seed=day).select(["a", "b"]), Path(f"hive/day={day}/p.parquet"))
    assert fit("hive")["excluded"] == {"day": "in folder names"}
    assert "day (in folder names)" in done("score", "m.aef", "hive", "-o", "s.parquet")
    assert "day=1/p.parquet" in refused(2, "score", "m.aef", "hive", "-o", "s.parquet", "--keep", "day")
    write_table(small_table(40).select(["a", "b"]).append_column("day", pa.array([1] * 40)), Path("ext/1.parquet"))
    Path("ext").rename("day=3")
    assert fit("day=3/1.parquet")["excluded"] == {"day": "constant"}


@pytest.mark.parametrize("command", ["fit", "score", "recalibrate", "report"])
def test_an_empty_name_of_data_is_wrong_usage(command):
    fit("ext")
    model = [] if command == "fit" else ["m.aef"]
    assert "a name of DATA is empty" in refused(
        2, command, *model, "", "-o", "x.html" if command == "report" else "x.csv"
    )


def test_a_report_shows_every_column_that_it_is_asked_for(folder):
    fit("ext")
    rows = small_table(40)
    for name in "klmn":
        rows = rows.append_column(name, rows["name"])
    write_table(rows, folder / "wide.parquet")
    heads = {}
    for keep in ([], ["--keep", "id,k,l,m,n"]):
        done("report", "m.aef", "wide.parquet", "-o", "page.html", *keep)
        table = Path("page.html").read_text().split("Most anomalous rows")[1]
        heads[len(keep)] = re.findall("<th>([^<]*)</th>", table)[:-1]
    assert heads == {0: ["id", "name", "c"], 2: ["id", "k", "l", "m", "n"]}


def test_columns_that_cannot_be_used_are_named_with_their_table(folder):
    rows = small_table(40).select(["a", "b", "c"]).rename_columns(["id", "cpu", "mem"])
    write_table(rows.set_column(2, "mem", pa.array([1e300] * 40)), folder / "large.parquet")
    write_table(rows.set_column(1, "cpu", pa.nulls(40, pa.float64())), folder / "void.parquet")
    options = ["--columns", "cpu,mem", "-o", "m.aef", "--epochs", 0, "--missing", "mask"]
    for way in ([], ["--stream"], ["--kind-of", "cpu=numeric"]):
        said = refused(1, "fit", "large.parquet", *options, *way)
        assert said.startswith("aefast fit: large.parquet: column 'mem' has values from 1e+300 to 1e+300, too large")
        said = refused(1, "fit", "void.parquet", *options, *way)
        assert said.startswith("aefast fit: void.parquet: column 'cpu' has no value in any row")


@pytest.mark.parametrize(("command", "remedy"), [("fit", "narrower --layers"), ("recalibrate", "fewer --batch-rows")])
def test_too_little_memory_is_an_error_that_names_options(monkeypatch, command, remedy):
    fit("ext")

    def no_room(*arguments, **options):
        raise MemoryError

    monkeypatch.setattr(f"aefast.jobs.{command}.{command}_job", no_room)
    model = [] if command == "fit" else ["m.aef"]
    assert f"out of memory; try {remedy}" in refused(1, command, *model, "ext", "-o", "new.aef")


@pytest.mark.parametrize("command", [["fit", "ext"], ["report", "m.aef", "ext"]])
def test_a_disk_full_error_names_the_file(folder, command):
    fit("ext")
    run_command("report", "m.aef", "ext", "-o", "warm.html")  # Matplotlib keeps a list of fonts
    before = sorted(os.listdir(folder))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        said = refused(1, *command, "-o", "new.html")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert said == f"aefast {command[0]}: new.html: File too large\n"
    assert sorted(os.listdir(folder)) == before


@pytest.mark.parametrize(
    ("name", "option"),
    [
        ("", ""),
        ("", '""'),
        (" mem", '" mem"'),
        ("Temp\n(C)", "Temp\n(C)"),
        ("Temp\n(C)", '"Temp\n(C)"'),
        ('say "x", y', '"say ""x"", y"'),
    ],
)
def test_every_column_can_be_named(folder, name, option):
    table = small_table(40).select(["label", "b", "c"]).rename_columns([name, "b", "c"])
    write_table(table, folder / "named.parquet")
    assert fit("named.parquet", "--exclude", option)["excluded"] == {name: "--exclude"}
    done("score", "m.aef", "named.parquet", "-o", "s.parquet", "--keep", option)
    assert pa.parquet.read_schema("s.parquet").names[0] == name
    assert fit("named.parquet", "--columns", option)["columns"] == [name]
    with_b = "b," + (option or '""')
    assert fit("named.parquet", "--columns", with_b)["columns"] == ["b", name]
    kinds = fit("named.parquet", "--kind-of", f"{option}=categorical")["kinds"]
    assert kinds == {name: "categorical", "b": "numeric", "c": "numeric"}


def test_the_index_that_pandas_writes_is_left_out(folder):
    small_table(40).select(["a", "b"]).to_pandas().to_csv("t.csv")
    shown = done("fit", "t.csv", "-o", "m.aef", "--epochs", 1)
    assert '"" (an index)' in shown
    assert '3 columns: "", a, b' in done("fit", "t.csv", "-o", "m.aef", "--epochs", 1, "--columns", '"",a,b')
    shown = done("fit", "t.csv", "-o", "m.aef", "--epochs", 1, "--exclude", "")
    assert '"" (--exclude)' in shown


def test_a_label_without_a_name_is_a_column_like_others(folder):
    fit("ext")
    rows = small_table(40)
    write_table(rows.rename_columns([n if n != "label" else "" for n in rows.column_names]), folder / "t.parquet")
    for command, output in (("score", "s.csv"), ("report", "s.html")):
        assert "lacks column ''" in refused(2, command, "m.aef", "ext/1.parquet", "-o", output, "--label", "")
        done(command, "m.aef", "t.parquet", "-o", output, "--label", "")
    assert json.loads(done("score", "m.aef", "t.parquet", "-o", "s.csv", "--label", "", "--json"))["quality"]


def test_an_empty_keep_keeps_nothing(folder):
    fit("ext")
    write_table(small_table(40), folder / "t.parquet")
    done("score", "m.aef", "t.parquet", "-o", "s.parquet", "--keep", "")
    assert pa.parquet.read_schema("s.parquet").names == ["anomaly_score", "p_value", "is_anomaly"]


def test_names_that_are_not_utf_8_are_refused_only_if_arrow_opens_them(folder):
    name = os.fsdecode(b"caf\xe9")
    done("fit", "ext", "-o", f"{name}.aef", "--epochs", 0)
    assert r"caf\udce9.aef" in done("info", f"{name}.aef")
    done("report", f"{name}.aef", "ext", "-o", f"{name}.html")
    done("score", f"{name}.aef", "ext", "-o", f"{name}.npy")
    for output in (f"{name}.csv", name):
        said = refused(2, "score", f"{name}.aef", "ext", "-o", output)
        assert r"caf\udce9" in said
        assert "is not UTF-8, as that of a table must be; rename it" in said


def test_arrays_of_other_widths_are_named():
    fit("ext")
    for width in (2, 4):
        np.save(f"w{width}.npy", np.zeros((9, width)))
    for command in (["fit", "-o", "new.aef"], ["score", "m.aef", "-o", "s.npy"]):
        said = refused(1, command[0], *command[1:], "w2.npy", "w4.npy")
        assert "w4.npy has rows of 4 values, but w2.npy of 2" in said
