"""Rows that cannot be scored: refused, written with null scores, or left out; all other rows stay as they would be."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pyarrow.parquet import read_table

import aefast
from aefast.scoring.errors import BadValueError
from aefast.scoring.scorer import Scorer
from small_tables import FEATURES, done, mixed_table, run_command, small_model, small_table, write_table

BAD = [0, 3, 64, 65, 199]
RESULTS = ["anomaly_score", "p_value", "is_anomaly"]


def damaged(table: pa.Table, value: float | None = None, column: str = "c", rows: list[int] = BAD) -> pa.Table:
    """Return the table with this value in some rows of a column."""
    values = table[column].to_pylist()
    for row in rows:
        values[row] = value
    kind = table.schema.field(column).type
    return table.set_column(table.column_names.index(column), column, pa.array(values, kind))


def scored(scorer: Scorer, table: pa.Table, batch_rows: int = 64) -> pa.Table:
    return pa.Table.from_batches(list(scorer.score(table.to_batches(max_chunksize=batch_rows))))


def mixed_model():
    table = small_table().append_column("word", [["even", "odd"] * 150])
    settings = {"encoder_layer_sizes": (8, 2), "max_epochs": 3, "random_state": 0, "n_threads": 1}
    return aefast.Autoencoder(**settings).fit(table.select([*FEATURES, "word"]))


@pytest.mark.parametrize("value", [None, float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("options", [{}, {"top_features": 2}, {"top_features": 2, "flat": True}, {"precision": "int8"}])
def test_bad_rows_are_null_or_left_out_and_others_as_before(value, options):
    table = small_table(200)
    good = np.setdiff1d(np.arange(200), BAD)
    expected = scored(Scorer(small_model(), keep=["id"], **options), table).take(good)
    null, skip = (Scorer(small_model(), keep=["id"], on_bad=on_bad, **options) for on_bad in ("null", "skip"))
    found = scored(null, damaged(table, value))
    assert found.take(good).equals(expected)
    assert found["id"].equals(table["id"])
    assert all(found[name].take(pa.array(BAD)).null_count == len(BAD) for name in found.column_names[1:])
    assert scored(skip, damaged(table, value)).equals(expected)
    assert found.schema.equals(null.schema(table.schema))


@pytest.mark.parametrize("options", [{}, {"top_features": 1}])
def test_a_batch_of_bad_rows_alone(options):
    table = damaged(small_table(100), rows=list(range(64)))
    null, skip = (scored(Scorer(small_model(), on_bad=on_bad, **options), table) for on_bad in ("null", "skip"))
    assert (len(null), len(skip)) == (100, 36)
    assert null["p_value"].null_count == null["is_anomaly"].null_count == 64


@pytest.mark.parametrize("missing", ["mask", "mean"])
def test_a_missing_value_is_no_bad_row_for_a_model_that_accepts_it(missing):
    model = small_model(missing=missing)
    table = damaged(small_table(200), None)
    expected = scored(Scorer(model), table)
    assert scored(Scorer(model, on_bad="null"), table).equals(expected)
    infinite = damaged(table, float("inf"), "d", [7])
    found = scored(Scorer(model, on_bad="null"), infinite)
    assert found["anomaly_score"].is_null().to_pylist().index(True) == 7
    assert found["anomaly_score"].null_count == 1
    assert len(scored(Scorer(model, on_bad="skip"), infinite)) == 199


@pytest.mark.parametrize("options", [{}, {"top_features": 2}])
def test_tables_of_several_kinds_of_columns(options):
    table = small_table(200).append_column("word", [["even", "odd"] * 100])
    model, good = mixed_model(), np.setdiff1d(np.arange(200), BAD)
    expected = scored(Scorer(model, **options), table).take(good)
    assert scored(Scorer(model, on_bad="skip", **options), damaged(table)).equals(expected)
    assert scored(Scorer(model, on_bad="null", **options), damaged(table)).take(good).equals(expected)


@pytest.mark.parametrize("column", ["a", "d"])
def test_bad_numbers_behind_texts_and_times(column):
    table = mixed_table(200).select(["on", "time", *FEATURES])
    model = aefast.Autoencoder((4, 2), max_epochs=2, random_state=0, n_threads=1).fit(table)
    bad, good = damaged(table, column=column), np.setdiff1d(np.arange(200), BAD)
    found = scored(Scorer(model, on_bad="null"), bad)
    assert np.flatnonzero(found["anomaly_score"].is_null()).tolist() == list(BAD)
    assert found.take(good).equals(scored(Scorer(model), table).take(good))


def test_rows_of_lists_too():
    X = np.column_stack([small_table(50)[name] for name in FEATURES])
    X[[4, 9], 1] = np.nan
    lists = pa.table({"x": pa.FixedSizeListArray.from_arrays(pa.array(X.ravel()), 4)})
    found = scored(Scorer(small_model(), on_bad="null"), lists)
    assert np.flatnonzero(found["anomaly_score"].is_null()).tolist() == [4, 9]


def test_a_null_row_is_no_anomaly_by_a_cutoff_of_p_values():
    found = scored(Scorer(small_model(), p_value_cutoff=1.0, on_bad="null"), damaged(small_table(200)))
    assert found["is_anomaly"].null_count == len(BAD)


def test_the_default_refuses_and_other_words_are_refused():
    with pytest.raises(BadValueError, match="row 0"):
        scored(Scorer(small_model()), damaged(small_table(200)))
    with pytest.raises(ValueError, match="on_bad must be one of 'error', 'null', 'skip', got 'drop'"):
        Scorer(small_model(), on_bad="drop")


def test_columns_of_other_types_are_refused_in_any_case():
    table = small_table().set_column(2, "a", pa.array(["x"] * 300))
    with pytest.raises(ValueError, match="column 'a' is string"):
        scored(Scorer(small_model(), on_bad="skip"), table)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    small_model().save("m")
    return tmp_path


def summary_of(*arguments: object) -> dict[str, Any]:
    return json.loads(done("score", *arguments, "--json"))


@pytest.mark.parametrize("ending", [".parquet", ".csv", ".feather"])
@pytest.mark.parametrize("data", ["t", "many"])
def test_the_command_writes_null_scores_or_leaves_rows_out_with_counts(folder, ending, data):
    table, good = small_table(200), np.setdiff1d(np.arange(200), BAD)
    source = write_table(damaged(table), folder / f"{data}{ending}")
    done("score", "m", write_table(table, folder / "whole.parquet"), "-o", "expected.parquet", "--keep", "id")
    expected = read_table("expected.parquet").take(good)
    for on_bad, n_rows in (("null", 200), ("skip", 195)):
        options = [source, "-o", "o.parquet", "--keep", "id", "--batch-rows", 64, "--on-bad", on_bad]
        told = summary_of("m", *options)
        assert (told["rows"], told["bad_rows"]) == (200, len(BAD))
        assert told["flagged"] == expected["is_anomaly"].to_pylist().count(True)
        found = read_table("o.parquet")
        assert len(found) == n_rows
        found = found.take(good) if on_bad == "null" else found
        assert found.select(RESULTS).equals(expected.select(RESULTS))
        assert f"{len(BAD)} with missing, infinite or unreadable values" in done("score", "m", *options)
    refused = run_command("score", "m", source, "-o", "o.parquet")
    assert (refused.exit_code, refused.stdout) == (1, "")


def test_null_scores_in_every_format_that_is_written(folder):
    write_table(damaged(small_table(200)), folder / "t.parquet")
    for ending in (".csv", ".feather", ".npy", ".parquet"):
        done("score", "m", "t.parquet", "-o", f"o{ending}", "--on-bad", "null")
    scores = np.load("o.npy")
    assert np.flatnonzero(np.isnan(scores)).tolist() == BAD
    assert pa.csv.read_csv("o.csv")["is_anomaly"].null_count == len(BAD)


WRONG = {70: "oops", 71: "1.2.3", 150: "1e999", 160: "12 km"}


def with_wrong_cells(table: pa.Table, path: Path, ragged: dict[int, str]) -> None:
    """Write a CSV file with text in some cells of column c, and other rows cut short or too long."""
    lines = write_table(table, path).read_text().splitlines()
    place = table.column_names.index("c")
    for row, cell in WRONG.items():
        cells = lines[row + 1].split(",")
        cells[place] = cell
        lines[row + 1] = ",".join(cells)
    for row, line in ragged.items():
        lines[row + 1] = line
    path.write_text("\n".join(lines) + "\n")


@pytest.mark.parametrize("batch_rows", [50, 1000])
def test_cells_of_text_files_that_are_no_numbers_make_their_row_a_bad_one(folder, batch_rows):
    table = small_table(200)
    expected = scored(Scorer(small_model()), table).take(np.setdiff1d(np.arange(200), [*WRONG]))
    with_wrong_cells(table, folder / "t.csv", {})
    assert run_command("score", "m", "t.csv", "-o", "o.parquet").exit_code == 1
    told = summary_of("m", "t.csv", "-o", "o.parquet", "--on-bad", "skip", "--batch-rows", batch_rows)
    assert (told["rows"], told["bad_rows"]) == (200, len(WRONG))
    assert read_table("o.parquet").select(RESULTS).equals(expected)
    told = summary_of("m", "t.csv", "-o", "o.parquet", "--on-bad", "null", "--batch-rows", batch_rows)
    found = read_table("o.parquet")
    assert np.flatnonzero(found["anomaly_score"].is_null()).tolist() == [*WRONG]
    assert found["name"].equals(table["name"])


@pytest.mark.filterwarnings("ignore:.*fewer cells")
def test_rows_with_too_many_or_too_few_cells_are_bad_rows(folder):
    table, ragged = small_table(200), {10: "1,2", 20: "a,b,c,d,e,f,g,h,i", 199: "1199,row 1"}
    with_wrong_cells(table, folder / "t.csv", ragged)
    told = summary_of("m", "t.csv", "-o", "o.parquet", "--on-bad", "skip")
    assert (told["rows"], told["bad_rows"]) == (200, len(WRONG) + len(ragged))
    assert len(read_table("o.parquet")) == 200 - len(WRONG) - len(ragged)
    told = summary_of("m", "t.csv", "-o", "o.parquet", "--on-bad", "null")
    assert (told["rows"], told["bad_rows"]) == (200, len(WRONG) + len(ragged))
    found = read_table("o.parquet")
    assert np.flatnonzero(found["anomaly_score"].is_null()).tolist() == sorted({*WRONG, *ragged})
    assert found["name"][20].as_py() == "b"
    refused = run_command("score", "m", "t.csv", "-o", "o.parquet")
    assert refused.exit_code == 1
    assert "row 20" in refused.stderr
    assert "--on-bad null or skip" in refused.stderr


@pytest.mark.filterwarnings("ignore:.*fewer cells")
def test_rows_left_out_are_counted_once_in_files_of_many_blocks(folder, monkeypatch):
    monkeypatch.setattr("aefast.tables.formats.csv.CsvTable._BLOCK", 1 << 12)
    with_wrong_cells(small_table(300), folder / "t.csv", dict.fromkeys(range(5, 300, 30), "1,2"))
    told = summary_of("m", "t.csv", "-o", "o.parquet", "--on-bad", "skip", "--fdr", 0.5)
    assert told["bad_rows"] == len(WRONG) + 10


def test_times_that_cannot_be_read_are_missing(folder):
    rng = np.random.default_rng(0)
    lines = [f"2024-01-{1 + i % 28:02d} {i % 24:02d}:00:00,{x:.3f}" for i, x in enumerate(rng.normal(size=300))]
    (folder / "train.csv").write_text("t,x\n" + "\n".join(lines) + "\n")
    done("fit", "train.csv", "-o", "timed", "--epochs", 1, "--layers", 2)
    lines[7], lines[8] = "2024-13-01 00:00:00,1", "yesterday,1"
    (folder / "t.csv").write_text("t,x\n" + "\n".join(lines) + "\n")
    assert summary_of("timed", "t.csv", "-o", "o.parquet", "--on-bad", "null")["bad_rows"] == 2
    assert np.flatnonzero(read_table("o.parquet")["p_value"].is_null()).tolist() == [7, 8]


@pytest.mark.parametrize("options", [[], ["--fdr", 0.5], ["--top-features", 1]])
def test_resuming_with_bad_rows_gives_the_same_bytes(folder, options, monkeypatch):
    write_table(damaged(small_table(200)), folder / "t.parquet")
    command = ["score", "m", "t.parquet", "--batch-rows", 40, "--on-bad", "null", *options]
    done(*command, "-o", "whole.parquet")
    write = pa.parquet.ParquetWriter.write_table

    def fail(self, *arguments, **more):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pyarrow.parquet.ParquetWriter.write_table", fail)
    assert run_command(*command, "-o", "o.parquet").exit_code == 1
    monkeypatch.setattr("pyarrow.parquet.ParquetWriter.write_table", write)
    told = json.loads(done(*command, "-o", "o.parquet", "--resume", "--json"))
    assert (told["resumed_rows"], told["bad_rows"]) == (200, len(BAD))
    assert Path("o.parquet").read_bytes() == Path("whole.parquet").read_bytes()
    other = run_command(*command[:-2], "--on-bad", "skip", "-o", "o.parquet", "--resume")
    assert other.exit_code == (0 if options == [] else other.exit_code)


def test_labels_judge_the_rows_that_have_scores(folder):
    write_table(damaged(small_table(200)), folder / "t.parquet")
    for on_bad in ("null", "skip"):
        told = summary_of("m", "t.parquet", "-o", "o.parquet", "--on-bad", on_bad, "--label", "label")
        assert told["quality"]["n_rows"] == 195


@pytest.mark.parametrize("ending", [".parquet", ".csv", ".npy"])
def test_only_anomalies_are_written_and_sorted_if_asked_for(folder, ending):
    write_table(damaged(small_table(300)), folder / "t.parquet")
    done("score", "m", "t.parquet", "-o", "all.parquet", "--on-bad", "skip")
    wanted = read_table("all.parquet")
    wanted = wanted.filter(wanted["is_anomaly"])
    told = summary_of("m", "t.parquet", "-o", f"o{ending}", "--on-bad", "null", "--only-anomalies", "--batch-rows", 30)
    assert (told["rows"], told["flagged"]) == (300, len(wanted))
    scores = wanted["anomaly_score"].to_numpy()
    np.testing.assert_allclose(scores_in(folder / f"o{ending}"), scores, rtol=1e-12)
    done("score", "m", "t.parquet", "-o", f"o{ending}", "--on-bad", "null", "--only-anomalies", "--sort")
    np.testing.assert_allclose(scores_in(folder / f"o{ending}"), np.sort(scores)[::-1], rtol=1e-12)
    if ending == ".parquet":
        order = np.argsort(-scores, kind="stable")
        assert read_table(f"o{ending}").equals(wanted.take(pa.array(order)))


def scores_in(path: Path) -> np.ndarray:
    if path.suffix == ".npy":
        return np.load(path)
    table = pa.csv.read_csv(path) if path.suffix == ".csv" else read_table(str(path))
    return table["anomaly_score"].to_numpy()


def test_no_anomalies_make_an_empty_table(folder):
    write_table(small_table(40).slice(1, 4), folder / "calm.parquet")
    assert summary_of("m", "calm.parquet", "-o", "o.parquet", "--only-anomalies", "--sort")["flagged"] == 0
    assert read_table("o.parquet").num_rows == 0


def test_sorting_needs_the_anomalies_alone(folder):
    write_table(small_table(40), folder / "t.parquet")
    refused = run_command("score", "m", "t.parquet", "-o", "o.parquet", "--sort")
    assert (refused.exit_code, "--sort needs --only-anomalies" in refused.stderr) == (2, True)


@pytest.mark.parametrize(
    ("names", "status"),
    [
        ([], 0), (["anomalies"], 3), (["bad"], 5), (["anomalies,bad"], 5), (["bad", "anomalies"], 5), (["drift"], 0),
    ],
)  # fmt: skip
def test_the_exit_status_says_what_was_found_if_asked_to(folder, names, status):
    write_table(damaged(small_table(200)), folder / "t.parquet")
    options = [part for name in names for part in ("--fail-on", name)]
    result = run_command("score", "m", "t.parquet", "-o", "o.parquet", "--on-bad", "skip", *options, "--json")
    assert (result.exit_code, result.stderr) == (status, "")
    assert json.loads(result.stdout)["status"] == status
    assert read_table("o.parquet").num_rows == 195


def test_nothing_to_find_is_status_zero_and_other_names_are_refused(folder):
    write_table(small_table(40).slice(1, 4), folder / "calm.parquet")
    score = ["score", "m", "calm.parquet", "-o", "o.parquet", "--fail-on"]
    assert run_command(*score, "anomalies,drift,bad").exit_code == 0
    refused = run_command(*score, "odd")
    assert refused.exit_code == 2
    assert "--fail-on must be some of anomalies, drift, bad, got 'odd'" in refused.stderr
    report = ["report", "m", write_table(small_table(), folder / "t.parquet"), "--fail-on", "anomalies"]
    assert run_command(*report).exit_code == 3


def test_the_log_has_one_line_for_each_event(folder):
    write_table(small_table(40), folder / "t.parquet")
    done("score", "m", "t.parquet", "-o", "o.parquet", "--log-file", "night.log")
    assert run_command("score", "m", "none.parquet", "-o", "o.parquet", "--log-file", "night.log").exit_code == 2
    lines = Path("night.log").read_text().splitlines()
    assert all(re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ (INFO|WARNING|ERROR) \d+ \S", line) for line in lines)
    assert "rows 40" in lines[1]
    assert "wrote o.parquet" in lines[1]
    assert " ERROR " in lines[-1]
    assert "there is no file or folder none.parquet" in lines[-1]
    refused = run_command("info", "m", "--log-file", "no/night.log")
    assert (refused.exit_code, "no/night.log: No such file" in refused.stderr) == (2, True)


@pytest.mark.parametrize("ending", [".parquet", ".feather"])
def test_result_columns_have_the_same_types_for_all_models(folder, ending):
    table = small_table(200).append_column("word", [["even", "odd"] * 100])
    write_table(table, folder / "t.parquet")
    models = {"m": [], "mixed": [], "mean": []}
    mixed_model().save("mixed")
    small_model(missing="mean").save("mean")
    for model in models:
        done("score", model, "t.parquet", "-o", f"{model}{ending}", "--top-features", 2, "--keep", "id")
        schema = (pa.parquet.read_schema if ending == ".parquet" else read_feather_schema)(f"{model}{ending}")
        models[model] = [(field.name, str(field.type).replace("element", "item")) for field in schema]
    reasons = "list<item: struct<feature: string, value: string, expected: string, share: double>>"
    results = [("anomaly_score", "double"), ("p_value", "double"), ("is_anomaly", "bool"), ("top_features", reasons)]
    assert all(columns == [("id", "int64"), *results] for columns in models.values())


def read_feather_schema(path: str) -> pa.Schema:
    return pa.feather.read_table(path).schema


@pytest.mark.parametrize("ending", [".parquet", ".csv"])
def test_recalibration_and_report_leave_bad_rows_out(folder, ending):
    good = np.setdiff1d(np.arange(200), BAD)
    write_table(damaged(small_table(200)), folder / f"t{ending}")
    write_table(small_table(200).take(good), folder / f"good{ending}")
    for command, output in (("recalibrate", "m2"), ("report", "r.html")):
        assert run_command(command, "m", f"t{ending}", "-o", output).exit_code == 1
        options = ["-o", output, "--on-bad", "skip", "--json"]
        told = json.loads(done(command, "m", f"t{ending}", *options))
        without = json.loads(done(command, "m", f"good{ending}", *options))
        assert (told["rows"], told["bad_rows"], without["bad_rows"]) == (200, len(BAD), 0)
        assert (told["threshold"], told["flagged"]) == (without["threshold"], without["flagged"])


def test_the_report_numbers_rows_as_the_table_does(folder):
    table = damaged(small_table(200), rows=[0, 1, 2])
    write_table(table, folder / "t.parquet")
    done("score", "m", "t.parquet", "-o", "s.parquet", "--on-bad", "null", "--keep", "id")
    scores = read_table("s.parquet")
    strangest = int(np.nanargmax(scores["anomaly_score"].to_numpy()))
    done("report", "m", "t.parquet", "--on-bad", "skip", "--keep", "id")
    row = rf"<td[^>]*>\s*{strangest:,}\s*</td>\s*<td[^>]*>\s*{scores['id'][strangest].as_py()}\s*</td>"
    assert re.search(row, Path("report.html").read_text()), Path("report.html").read_text()[:20000]


@pytest.mark.filterwarnings("ignore:.*more cells")
@pytest.mark.parametrize("kind", ["text", "times", "truth", "by shop"])
def test_rows_with_too_many_cells_are_bad_rows_of_models_without_numbers(folder, kind):
    times, truth = [f"2024-01-{i % 28 + 1:02d} {i % 24:02d}:00" for i in range(120)], ["true", "false", "true"] * 40
    column = {"times": times, "truth": truth}.get(kind, [f"c{i % 4}" for i in range(120)])
    lines = [f"s{i % 2},{cell},k{i % 3}" for i, cell in enumerate(column)]
    Path("t.csv").write_text("\n".join(["shop,a,b", *lines]) + "\n")
    options = ["--columns", "a,b", "--by", "shop", "--min-rows", 20] if kind == "by shop" else ["--columns", "a"]
    done("fit", "t.csv", "-o", "n", "--epochs", 1, "--missing", "mask", *options)
    lines[17] += ",more"
    lines[90] += ",more,cells"
    Path("t.csv").write_text("\n".join(["shop,a,b", *lines]) + "\n")
    for options in ([], ["--top-features", 1], ["--fdr", 0.2]):
        told = summary_of("n", "t.csv", "-o", "o.parquet", "--on-bad", "null", *options)
        assert (told["rows"], told["bad_rows"]) == (120, 2)
        found = read_table("o.parquet")
        assert np.flatnonzero(found["anomaly_score"].is_null()).tolist() == [17, 90]
        assert found["is_anomaly"].null_count == found["p_value"].null_count == 2
        told = summary_of("n", "t.csv", "-o", "o.parquet", "--on-bad", "skip", *options)
        assert (told["rows"], told["bad_rows"], len(read_table("o.parquet"))) == (120, 2, 118)
