"""Files as they arrive are fitted and scored by one command, and what an error advises works when pasted."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import aefast
from aefast.model.model import Model
from small_tables import run_command, write_table

RNG = np.random.default_rng(0)
N = 200
NUMBERS = RNG.normal(20, 3, N).round(1)


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*arguments):
    result = run_command(*arguments)
    assert result.exit_code == 0, result.stderr
    return result.stdout


def fit(*arguments):
    return json.loads(run("fit", *arguments, "-o", "m", "--epochs", 1, "--json"))


def lines(path, header, row, n=N):
    rows = [row(i, NUMBERS[i % N]) for i in range(n)]
    path.write_text("\n".join([*([header] if header else []), *rows]) + "\n")
    return path.name


def comma(value):
    return str(value).replace(".", ",")


CASES = {
    "noheader": ("", lambda i, x: f"{'MFI'[i % 3]},{x},{x / 2:.3f}", ["x0", "x1", "x2"], "no header"),
    "qmark": ("age,x", lambda i, x: f"{'?' if i % 10 == 3 else i % 60},{x}", ["age", "x"], "missing: '?'"),
    "thousands": ("amount,x", lambda i, x: f'"{i % 40 + 1},200",{x}', ["amount", "x"], "',' between thousands"),
    "units": ("p,x", lambda i, x: f'"${i % 40 + 1},200.00",{x}%', ["p", "x"], "$, % beside numbers"),
    "semi": ("v;w", lambda i, x: f"{comma(x)};{comma(x / 2)}", ["v", "w"], "separated by ';', decimal comma"),
    "apache": ("t,b", lambda i, x: f"[29/Nov/2017:06:{i % 60:02d}:08,{x}", ["t", "b"], "[%d/%b/%Y:%H:%M:%S"),
    "syslog": ("t,b", lambda i, x: f"Nov  9 06:{i % 60:02d}:08,{x}", ["t", "b"], "times as %b %d %H:%M:%S"),
    "day first": ("t,b", lambda i, x: f"{i % 28 + 1}/02/2024,{x}", ["t", "b"], "times as %d/%m/%Y"),
    "blanks": ("", lambda i, x: f" {x}  {x / 2:.3f}", ["x0", "x1"], "separated by blanks, no header"),
}


@pytest.mark.parametrize("case", CASES)
def test_files_as_they_arrive_are_fitted_and_scored(folder, case):
    header, row, columns, described = CASES[case]
    name = lines(folder / "history.csv", header, row)
    summary = fit(name, "--missing", "mask")
    assert summary["columns"] == columns
    assert described in summary["dialect"]
    stored = Model.load("m").dialect
    assert stored.describe() == summary["dialect"]
    assert aefast.load("m").model_.dialect == stored
    run("recalibrate", "m", name, "-o", "m2")
    assert Model.load("m2").dialect == stored
    whole = run_scores("m", name)
    # A later file of few rows is read as the first one was.
    later = lines(folder / "later.csv", header, row, 12)
    np.testing.assert_array_equal(run_scores("m", later), whole[:12])
    run("report", "m", later, "-o", "r.html")


def run_scores(model, name):
    run("score", model, name, "-o", "s.parquet")
    return pq.read_table("s.parquet")["anomaly_score"].to_numpy()


def test_a_plain_file_stores_no_dialect_and_is_described_by_nothing(folder):
    assert fit(lines(folder / "t.csv", "a,b", lambda i, x: f"{x},{x / 3}"))["dialect"] == ""
    assert Model.load("m").dialect is None
    assert b"dialect" not in (folder / "m").read_bytes()


def test_parquet_csv_and_arrow_of_a_table_have_the_same_scores():
    city = np.array(["Bern", None, "Zug", "Genf"], dtype=object)[RNG.integers(0, 4, N)]
    frame = pd.DataFrame({"x": np.where(RNG.random(N) < 0.1, np.nan, NUMBERS), "city": city})
    table = pa.Table.from_pandas(frame, preserve_index=False)
    write_table(table, Path("t.parquet"))
    write_table(table, Path("t.feather"))
    frame.to_csv("t.csv", index=False, na_rep="NA")
    scores = {}
    for ending in ("parquet", "csv", "feather"):
        fit(f"t.{ending}", "--missing", "mask")
        scores[ending] = run_scores("m", f"t.{ending}")
        np.testing.assert_array_equal(run_scores("m", "t.csv"), scores[ending])
    np.testing.assert_array_equal(scores["csv"], scores["parquet"])
    np.testing.assert_array_equal(scores["feather"], scores["parquet"])


def test_options_set_what_the_sample_would_decide(folder):
    lines(folder / "t.csv", "", lambda i, x: f"{comma(x)}!{i % 12 + 1}/{i % 11 + 1}/2024!{'x' if i % 3 else i % 7}")
    options = ["--delimiter", "!", "--decimal", ",", "--names", "v,when,k", "--na", "x", "--encoding", "utf-8"]
    summary = fit("t.csv", *options, "--time-format", "%d/%m/%Y", "--missing", "mask")
    assert summary["kinds"] == {"v": "numeric", "when": "timestamp", "k": "numeric"}
    run("score", "m", "t.csv", "-o", "s.parquet", *options)
    assert "--delimiter" in run_command("fit", "t.csv", "-o", "m", "--delimiter", "123456789").stderr
    assert fit("t.csv", "--no-header", "--delimiter", "!", "--columns", "x0")["columns"] == ["x0"]
    for option, value in (("--quote", "ab"), ("--widths", "3,x"), ("--widths", "3,0")):
        result = run_command("fit", "t.csv", "-o", "m", option, value)
        assert (result.exit_code, option in result.stderr) == (2, True)


def test_widths_and_quote_are_options_and_stored_with_the_model(folder):
    lines(folder / "w.txt", "", lambda i, x: f"{i % 3}{x:5.1f}{i % 7:3d}")
    dialect = fit("w.txt", "--widths", "1,5,3", "--no-header", "--names", "k,x,n")["dialect"]
    assert "columns at the positions 0, 1, 6" in dialect
    run("score", "m", "w.txt", "-o", "s.csv")
    lines(folder / "q.csv", "k;x", lambda i, x: f"'a;{i % 3}';{x}")
    assert "quotes '" in fit("q.csv", "--quote", "single", "--delimiter", ";")["dialect"]
    run("score", "m", "q.csv", "-o", "s.csv", "--quote", "'")
    Path("job.toml").write_text(
        "[job]\ninput = 'w.txt'\nmodel = 'm'\noutput = 's.parquet'\n"
        "[all]\nwidths = [1, 5, 3]\nquote = 'none'\nnames = ['k', 'x', 'n']\n"
    )
    shown = run("run", "job.toml", "--print")
    assert "--widths 1,5,3" in shown
    assert "--quote none" in shown


def test_columns_that_say_nothing_are_left_out_together_and_named_once(folder):
    frame = pd.DataFrame({"x": NUMBERS, "id": np.arange(N) * 3, "host": [f"h{i}" for i in range(N)]})
    frame = frame.assign(user=[f"u{i}" for i in range(N)], unit="C", void=np.nan)
    frame.to_csv("t.csv")
    frame.to_parquet("t.parquet", index=True)
    pa_table = pa.table({"__index_level_0__": np.arange(N), **{n: pa.array(frame[n].to_numpy()) for n in frame}})
    write_table(pa_table, Path("i.parquet"))
    shown = run("fit", "t.csv", "-o", "m", "--epochs", 1)
    left = '"" (an index), id (it only grows), host, user (nearly all values differ), unit (constant), void (no values)'
    assert left in shown
    assert "of 1 column: x" in shown
    assert "__index_level_0__ (an index)" in run("fit", "i.parquet", "-o", "m", "--epochs", 1)
    assert fit("t.csv", "--columns", "x,id")["columns"] == ["x", "id"]
    assert fit("t.csv", "--kind-of", "host=categorical")["kinds"].keys() == {"x", "host"}
    frame[["id", "host"]].to_csv("none.csv", index=False)
    message = run_command("fit", "none.csv", "-o", "m").stderr
    assert "--columns id,host" in message


@pytest.mark.parametrize("name", ["name, first", "row  name", 'say "x"', "it's", " blank", "a=b", "$HOME"])
def test_what_an_error_advises_works_when_pasted(name):
    frame = pd.DataFrame({name: [f"n{i}" for i in range(N)], "x": NUMBERS, "y": NUMBERS / 3})
    frame.to_csv("t.csv", index=False)
    quoted = '"' + name.replace('"', '""') + '"'
    message = run_command("fit", "t.csv", "-o", "m", "--columns", f"{quoted},x").stderr
    advice = message.partition("(--exclude ")[2].partition(") or set its kind")[0]
    [option] = shlex.split(advice)
    assert fit("t.csv", "--exclude", option)["columns"] == ["x", "y"]
    kind = message.partition("--kind-of ")[2].strip().removesuffix(")")
    [option] = shlex.split(kind)
    assert fit("t.csv", "--kind-of", option)["kinds"][name] == "categorical"


def test_missing_words_are_named_when_missing_values_are_refused(folder):
    lines(folder / "t.csv", "age,x", lambda i, x: f"{'?' if i % 10 == 3 else i % 60},{x}")
    message = run_command("fit", "t.csv", "-o", "m", "--missing", "error").stderr
    assert "column 'age'" in message
    assert "--missing mask" in message
    assert "'?' is missing" in message


def test_lists_of_kinds_are_short(folder):
    names = [f"sensor_{i}" for i in range(300)]
    table = pa.table({n: RNG.normal(size=40) for n in names} | {"k": ["a", "b"] * 20})
    write_table(table, Path("wide.parquet"))
    shown = run("fit", "wide.parquet", "-o", "m", "--epochs", 0)
    assert max(map(len, shown.splitlines())) < 200


def test_warnings_of_other_libraries_are_not_shown(monkeypatch):
    import warnings

    from aefast.jobs import fit as job

    def noisy(*arguments, **options):
        warnings.warn("invalid value encountered in subtract", RuntimeWarning, stacklevel=1)
        return training_columns(*arguments, **options)

    training_columns = job.training_columns
    monkeypatch.setattr(job, "training_columns", noisy)
    write_table(pa.table({"x": NUMBERS}), Path("t.parquet"))
    assert run_command("fit", "t.parquet", "-o", "m", "--epochs", 0).stderr == ""


def test_text_files_archives_and_standard_input_are_read(folder, tmp_path):
    lines(folder / "t.txt", "a,b", lambda i, x: f"{x},{x / 3:.4f}")
    fit("t.txt")
    expected = run_scores("m", "t.txt")
    with zipfile.ZipFile("t.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write("t.txt", "deep/t.csv")
        archive.writestr("readme.md", "about it")
    np.testing.assert_array_equal(run_scores("m", "t.zip"), expected)
    (tmp_path / "copies").mkdir()
    pq.write_table(pd.read_csv("t.txt").pipe(pa.Table.from_pandas), "t.parquet")
    for name in ("t.txt", "t.parquet"):
        command = [sys.executable, "-m", "aefast", "score", "m", "-", "-o", "s.parquet"]
        environment = {**os.environ, "TMPDIR": str(tmp_path / "copies")}
        subprocess.run(command, input=Path(name).read_bytes(), check=True, capture_output=True, env=environment)
        np.testing.assert_array_equal(pq.read_table("s.parquet")["anomaly_score"].to_numpy(), expected)
    assert list((tmp_path / "copies").iterdir()) == []


@pytest.mark.parametrize(("content", "message"), [(None, "holds 2 tables"), (b"PK\x03\x04junk", "cannot be unpacked")])
def test_archives_without_exactly_one_table_are_refused(content, message):
    with zipfile.ZipFile("t.zip", "w") as archive:
        archive.writestr("a.csv", "a\n1\n")
        archive.writestr("b.csv", "a\n1\n")
    if content is not None:
        Path("t.zip").write_bytes(content)
    result = run_command("fit", "t.zip", "-o", "m")
    assert (result.exit_code, message in result.stderr) == (1, True)


def test_a_folder_does_not_count_text_files_as_tables(folder):
    lines(folder / "t.csv", "a,b", lambda i, x: f"{x},{x / 3:.4f}")
    (folder / "README.txt").write_text("these are tables")
    assert fit(".")["rows"] == N
