"""The commands: what they write and print, which wrong uses they refuse, and that no output is left half-written."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from sklearn.metrics import confusion_matrix, roc_auc_score

import aefast
from aefast.cli.app import COMMANDS
from aefast.model.false_discoveries import benjamini_hochberg
from aefast.model.variants import KINDS
from aefast.tables.source import Source
from small_tables import FEATURES, features_of, run_command, small_model, small_table, write_table


def done(*arguments: object):
    result = run_command(*arguments)
    assert result.exit_code == 0, result.stderr
    assert result.stderr == ""
    return result


def refused(code: int, *arguments: object) -> str:
    """The one line on standard error that the command ends with."""
    result = run_command(*arguments)
    assert (result.exit_code, result.stdout) == (code, "")
    assert result.stderr.endswith("\n")
    assert result.stderr.count("\n") == 1
    return result.stderr


def read_table(path) -> pa.Table:
    source = Source([path])
    return pa.Table.from_batches(list(source.batches(source.schema.names)), source.schema)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working folder with the model ``m.safetensors``, fitted on the table in ``t.parquet``."""
    monkeypatch.chdir(tmp_path)
    small_model().save("m.safetensors")
    write_table(small_table(), tmp_path / "t.parquet")
    return tmp_path


def test_a_model_fitted_by_the_command_is_the_one_fitted_in_python(folder):
    done(
        "fit",
        "t.parquet",
        "-o",
        "new.safetensors",
        "--exclude",
        "id,name,label",
        "--layers",
        "8,2",
        "--epochs",
        5,
        "--seed",
        7,
    )
    expected = aefast.Autoencoder((8, 2), max_epochs=5, random_state=7).fit(features_of(small_table()))
    model = aefast.load("new.safetensors")
    for ours, theirs in zip(model.coefs_, expected.coefs_, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert model.threshold_ == expected.threshold_
    assert list(model.feature_names_in_) == FEATURES
    assert model.verbose == 0


@pytest.mark.parametrize("kind", ["denoising", "sparse", "contractive", "variational"])
def test_every_kind_is_fitted_scored_and_described(folder, kind):
    common = ["--exclude", "id,name,label", "--layers", "8,2", "--epochs", 2]
    done("fit", "t.parquet", "-o", "new.safetensors", "--kind", kind, *common)
    model = aefast.load("new.safetensors")
    assert type(model).__name__ == f"{kind.capitalize()}Autoencoder"
    done("score", "new.safetensors", "t.parquet", "-o", "scores.parquet")
    scores = read_table("scores.parquet")["anomaly_score"].to_numpy()
    rows = small_table().select(FEATURES).to_pandas()
    np.testing.assert_array_equal(scores, model.reconstruction_error(rows))
    told = json.loads(done("info", "new.safetensors", "--json").stdout)
    assert told["kind"] == type(model).__name__
    assert told["layers"] == [len(FEATURES), 8, 2, 8, len(FEATURES)]


def test_fit_reports_the_columns_that_it_uses_and_leaves_out(folder):
    printed = done("fit", "t.parquet", "-o", "new.safetensors", "--columns", "a,b,c", "--epochs", 2).stdout
    assert "300 rows of 3 columns: a, b, c" in printed
    assert "id, name, d, label (not in --columns)" in printed
    assert "threshold" in printed


def test_fit_reports_which_rows_set_the_threshold(folder):
    command = ["fit", "t.parquet", "-o", "new.safetensors", "--columns", "a", "--epochs", 1]
    assert "10 % of rows like these are above it" in done(*command).stdout
    printed = done(*command, "--stream").stdout
    assert "10 % of rows like the 300 that were kept are above it" in printed
    assert "300 rows (read again in every epoch) of 1 column: a\n" in printed
    model = aefast.load("new.safetensors")
    assert model.calibration_.n_rows == 300
    assert (model.calibration_.p_values(np.array([model.threshold_])) <= 31 / 301).all()


def test_fit_takes_many_files_and_formats(folder):
    write_table(small_table(50, seed=1), folder / "more.csv")
    options = ["--exclude", "id,name,label", "--epochs", 1, "--json"]
    summary = json.loads(done("fit", "t.parquet", "more.csv", "-o", "new.safetensors", *options).stdout)
    assert (summary["rows"], summary["columns"], summary["epochs"]) == (350, FEATURES, 1)
    assert summary["excluded"] == dict.fromkeys(("id", "name", "label"), "--exclude")


def test_fit_learns_arrays_without_names(folder):
    np.save("t.npy", features_of(small_table()))
    done("fit", "t.npy", "-o", "new.safetensors", "--epochs", 1)
    assert not hasattr(aefast.load("new.safetensors"), "feature_names_in_")
    done("score", "new.safetensors", "t.npy", "-o", "scores.npy")
    np.testing.assert_array_equal(
        np.load("scores.npy"), aefast.load("new.safetensors").reconstruction_error(np.load("t.npy")).astype(float)
    )


def test_a_model_recalibrated_by_the_command_is_the_one_recalibrated_in_python(folder):
    printed = done(
        "recalibrate", "m.safetensors", "t.parquet", "-o", "m2.safetensors", "--contamination", 0.2, "--batch-rows", 70
    ).stdout
    rows = small_table().select(FEATURES).to_pandas()
    expected = aefast.load("m.safetensors").set_params(contamination=0.2).recalibrate(rows)
    model = aefast.load("m2.safetensors")
    assert model.threshold_ == expected.threshold_ != small_model().threshold_
    np.testing.assert_array_equal(model.p_values(rows), expected.p_values(rows))
    np.testing.assert_array_equal(model.coefs_[0], expected.coefs_[0])
    assert f"{expected.threshold_:.6g}: 20 % of these rows are above it" in printed
    above = int(np.sum(small_model().reconstruction_error(rows) > small_model().threshold_))
    told = json.loads(done("recalibrate", "m.safetensors", "t.parquet", "-o", "m.safetensors", "--json").stdout)
    assert (told["rows"], told["above_before"], told["contamination"]) == (300, above, 0.1)


@pytest.mark.parametrize("contamination", [0, 0.6])
def test_recalibration_refuses_an_invalid_contamination(folder, contamination):
    message = refused(2, "recalibrate", "m.safetensors", "t.parquet", "-o", "x", "--contamination", contamination)
    assert f"'--contamination': {contamination} is not above 0 and at most 0.5" in message


@pytest.mark.parametrize("data", [".parquet", ".csv", ".feather", ".arrows"])
@pytest.mark.parametrize("out", [".parquet", ".csv", ".feather"])
def test_rows_come_back_in_order_with_the_scores_they_have_in_memory(folder, data, out):
    table = small_table()
    path = write_table(table, folder / f"in{data}")
    done("score", "m.safetensors", path, "-o", f"out{out}", "--keep", "id", "--batch-rows", 47)
    result = read_table(folder / f"out{out}")
    assert result.column_names == ["id", "anomaly_score", "p_value", "is_anomaly"]
    is_text = data == ".csv" and out != ".csv"
    assert result["id"].to_pylist() == [str(i) if is_text else i for i in table["id"].to_pylist()]
    errors = small_model().reconstruction_error(read_table(path).select(FEATURES)).astype(float)
    np.testing.assert_array_equal(result["anomaly_score"].to_numpy(), errors)
    np.testing.assert_array_equal(result["p_value"].to_numpy(), small_model().p_values_of(errors))
    np.testing.assert_array_equal(result["is_anomaly"].to_numpy(), errors > small_model().threshold_)


def test_files_folders_and_patterns_are_scored_one_after_the_other(folder):
    (folder / "parts").mkdir()
    tables = [small_table(n, seed=n) for n in (30, 1, 50)]
    for i, table in enumerate(tables):
        write_table(table, folder / "parts" / f"{i}.parquet")
    expected = pa.concat_tables(tables)["name"].to_pylist()
    for data in ("parts", "parts/*.parquet"):
        done("score", "m.safetensors", data, "-o", "out.parquet")
        assert read_table("out.parquet")["name"].to_pylist() == expected


def test_by_default_the_columns_that_the_model_does_not_read_are_kept(folder):
    done("score", "m.safetensors", "t.parquet", "-o", "out.parquet")
    assert read_table("out.parquet").column_names == ["id", "name", "label", "anomaly_score", "p_value", "is_anomaly"]


def test_a_scored_file_can_be_scored_again(folder):
    done("score", "m.safetensors", "t.parquet", "-o", "out.parquet", "--keep", "id,a,b,c,d")
    done("score", "m.safetensors", "out.parquet", "-o", "again.parquet")
    assert read_table("again.parquet").column_names == ["id", "anomaly_score", "p_value", "is_anomaly"]


def test_columns_that_cannot_be_kept_are_named(folder):
    more = small_table(40).append_column("zz", pa.array(range(40))).append_column("p_value", pa.array(range(40)))
    write_table(more, folder / "more.parquet")
    for data in (["more.parquet", "t.parquet"], ["t.parquet", "more.parquet"]):
        command = ["score", "m.safetensors", *data, "-o", "out.parquet"]
        printed = done(*command).stdout
        assert "zz (not in every file)" in printed
        assert "p_value (the scores have a column of that name)" in printed
        told = json.loads(done(*command, "--json").stdout)
        assert set(told["left_out"]) == {"zz", "p_value"}
        names = ["id", "name", "label", "anomaly_score", "p_value", "is_anomaly"]
        assert read_table("out.parquet").column_names == names
    done("score", "m.safetensors", "more.parquet", "t.parquet", "-o", "out")
    assert read_table("out/t.parquet").num_rows == 300
    assert json.loads(done("score", "m.safetensors", "t.parquet", "-o", "out.csv", "--json").stdout)["left_out"] == {}


def test_reasons_are_lists_or_text_in_csv(folder):
    done("score", "m.safetensors", "t.parquet", "-o", "out.parquet", "--top-features", 2)
    done("score", "m.safetensors", "t.parquet", "-o", "out.csv", "--top-features", 2)
    lists, text = (read_table(f"out{e}")["top_features"].to_pylist() for e in (".parquet", ".csv"))
    assert [row[0]["feature"] for row in lists] == [row.partition("=")[0] for row in text]


@pytest.mark.parametrize("rule", [[], ["--fdr", 0.2], ["--fdr", 0.001]])
def test_labels_judge_the_scores(folder, rule):
    arguments = ["score", "m.safetensors", "t.parquet", "-o", "out.parquet", "--label", "label", *rule]
    summary = json.loads(done(*arguments, "--json").stdout)
    labels = small_table()["label"].to_numpy()
    result = read_table("out.parquet")
    scores, flagged = result["anomaly_score"].to_numpy(), result["is_anomaly"].to_numpy()
    quality = summary["quality"]
    assert quality == aefast.evaluate(labels, scores, quality["threshold"])
    assert quality["aucroc"] == roc_auc_score(labels, scores)
    assert quality["confusion_matrix"] == confusion_matrix(labels, flagged).tolist()
    assert summary["anomalies"] == int(flagged.sum())
    printed = done(*arguments).stdout
    (_, wrong), (missed, right) = quality["confusion_matrix"]
    assert f"{quality['aucroc']:.4f}, average precision {quality['average_precision']:.4f}" in printed
    found = f"{right} of {right + missed} anomalies and {wrong} other rows"
    assert f"{found}: precision {quality['precision']:.4f}" in printed
    assert f"F1 {quality['best']['f1']:.4f}, score above {quality['best']['threshold']:.6g}" in printed


def test_labels_of_one_kind_judge_nothing(folder):
    write_table(small_table(20).slice(1, 1), folder / "calm.parquet")
    arguments = ["score", "m.safetensors", "calm.parquet", "-o", "out.parquet", "--label", "label"]
    assert json.loads(done(*arguments, "--json").stdout)["quality"] is None
    assert "all of one kind in column label" in done(*arguments).stdout


def with_labels(labels) -> pa.Table:
    return small_table().drop_columns("label").append_column("label", pa.array(labels))


@pytest.mark.parametrize("ending", [".parquet", ".csv"])
def test_rows_without_a_label_are_scored_and_not_judged(folder, ending):
    labels = small_table()["label"].to_numpy()
    known = np.arange(300) % 3 > 0
    partly = [bool(label) if k else None for label, k in zip(labels, known, strict=True)]
    path = write_table(with_labels(partly), folder / f"partly{ending}")
    arguments = ["score", "m.safetensors", path, "-o", "out.parquet", "--label", "label"]
    summary = json.loads(done(*arguments, "--json").stdout)
    result = read_table("out.parquet")
    assert (summary["rows"], summary["unlabelled"]) == (300, 100)
    scores = result["anomaly_score"].to_numpy()
    assert summary["quality"] == aefast.evaluate(labels[known], scores[known], small_model().threshold_)
    assert "100 rows without a label, not judged" in done(*arguments).stdout
    told = json.loads(done("report", "m.safetensors", path, "--label", "label", "--json").stdout)
    assert (told["unlabelled"], told["quality"]) == (100, summary["quality"])
    assert "100 rows without a label are left out" in Path("report.html").read_text()


def test_labels_that_begin_late_in_a_text_file_are_labels(folder):
    labels = [None] * 200_000 + [0, 1]
    table = pa.table({n: np.zeros(len(labels)) for n in FEATURES} | {"label": pa.array(labels, pa.int8())})
    write_table(table, folder / "late.csv")
    arguments = ["score", "m.safetensors", "late.csv", "-o", "out.parquet", "--label", "label", "--json"]
    summary = json.loads(done(*arguments).stdout)
    assert (summary["unlabelled"], summary["quality"]["n_anomalies"]) == (200_000, 1)


@pytest.mark.parametrize(("ending", "n_scored"), [(".parquet", 0), (".feather", 0), (".csv", 3)])
def test_a_wrong_label_is_refused_with_its_row_before_scoring_if_that_is_cheap(folder, monkeypatch, ending, n_scored):
    from aefast.scoring.scorer import Scorer

    at_once, scored = Scorer.judge, []
    monkeypatch.setattr(Scorer, "judge", lambda *a, **k: scored.append(1) or at_once(*a, **k))
    shown = "'2'" if ending == ".csv" else "2"
    write_table(with_labels([2 if i == 133 else i % 2 for i in range(300)]), folder / f"b{ending}")
    line = refused(1, "score", "m.safetensors", f"b{ending}", "-o", "o.csv", "--label", "label", "--batch-rows", 50)
    assert f"b{ending}, row 133 (the first is row 0), label column 'label': {shown}; it must hold 0 and 1" in line
    assert len(scored) == n_scored


def test_a_wrong_label_among_text_is_named_with_its_row(folder):
    labels = ["", "1", "0", "TRUE", "false", "maybe", "1"]
    table = small_table().slice(0, 7).drop_columns("label").append_column("label", pa.array(labels))
    path = write_table(table, folder / "x.csv")
    command = ["score", "m.safetensors", path, "-o", "out.csv", "--label", "label"]
    line = refused(1, *command)
    assert "x.csv, row 5 (the first is row 0), label column 'label': 'maybe'; it must hold 0 and 1" in line
    path.write_text(path.read_text().replace("maybe", "0"))
    summary = json.loads(done(*command, "--json").stdout)
    assert (summary["unlabelled"], summary["quality"]["n_rows"], summary["quality"]["n_anomalies"]) == (1, 6, 3)


def test_a_label_is_no_feature(folder):
    # A model without names takes all columns of numbers but the label and those kept.
    aefast.Autoencoder((2,), max_epochs=1, random_state=0).fit(features_of(small_table())).save("nameless.safetensors")
    options = ["t.parquet", "-o", "out.parquet", "--keep", "id,name", "--label", "label"]
    done("score", "nameless.safetensors", *options)
    expected = aefast.load("nameless.safetensors").reconstruction_error(features_of(small_table()))
    np.testing.assert_array_equal(read_table("out.parquet")["anomaly_score"].to_numpy(), expected)


def test_false_discovery_control_over_all_rows_is_that_of_the_procedure_in_memory(folder):
    table = pa.concat_tables([small_table(), small_table().slice(0, 1)])
    strange = table.set_column(4, "c", pa.array(table["c"].to_numpy() + np.repeat([0.0, 5.0], [61, 240])))
    write_table(strange, folder / "many.parquet")
    done("score", "m.safetensors", "many.parquet", "-o", "out.parquet", "--fdr", 0.2, "--batch-rows", 50)
    result = read_table("out.parquet")
    expected = benjamini_hochberg(result["p_value"].to_numpy(), 0.2)
    assert 100 < expected.sum() < 301
    np.testing.assert_array_equal(result["is_anomaly"].to_numpy(), expected)


def test_a_table_without_rows_gives_one_without_rows(folder):
    write_table(small_table(10).slice(0, 0), folder / "empty.parquet")
    done("score", "m.safetensors", "empty.parquet", "-o", "out.csv", "--label", "label")
    assert read_table("out.csv").num_rows == 0


def test_the_number_of_threads_changes_no_score(folder):
    for n in (1, 2):
        done("score", "m.safetensors", "t.parquet", "-o", f"out{n}.parquet", "--threads", n)
    assert read_table("out1.parquet").equals(read_table("out2.parquet"))


def test_info_tells_the_model_as_text_and_as_json(folder):
    printed = done("info", "m.safetensors").stdout
    assert "Autoencoder 4–8–2–8–4" in printed
    assert "a, b, c, d" in printed
    summary = json.loads(done("info", "m.safetensors", "--json").stdout)
    assert summary["layers"] == [4, 8, 2, 8, 4]
    assert summary["features"] == FEATURES
    assert summary["threshold"] == small_model().threshold_
    assert summary["parameters"]["max_epochs"] == 15


def test_bench_sets_training_and_scoring_beside_numpy(monkeypatch):
    monkeypatch.setattr("aefast.jobs.bench.SHAPES", ((6, 4, 2, 4, 6),))
    monkeypatch.setattr("aefast.jobs.bench.VALUES", 60_000)
    # On a busy machine, a limit that is measured may be below what is reached a moment later.
    limit = {"flops": 1e9, "bytes": 1e9}
    monkeypatch.setattr("aefast.engine.limits.measure", lambda *_: limit)
    result = json.loads(done("bench", "--seconds", 0.01, "--threads", 1, "--json").stdout)
    [network] = result["networks"]
    # Two operations for each weight; training takes three products a layer, and no gradient of the input.
    flops = {"scoring": 2 * (24 + 8 + 8 + 24), "training": 2 * (3 * (24 + 8 + 8 + 24) - 24)}
    for work in ("scoring", "training"):
        assert set(network[work]) == {"rows_per_second", "numpy", "share_of_limit"}
        assert all(v > 0 for v in network[work].values())
        at_limit = min(1e9 / flops[work], 1e9 / (6 * 4))
        assert network[work]["share_of_limit"] == pytest.approx(network[work]["rows_per_second"] / at_limit)
    assert "6-4-2-4-6" in done("bench", "--seconds", 0.01, "--threads", 1).stdout


def test_report_writes_a_page(folder):
    printed = done("report", "m.safetensors", "t.parquet", "-o", "page.html", "--label", "label").stdout
    assert "300 rows" in printed
    assert (folder / "page.html").read_text().startswith("<!doctype html>")


def test_without_a_command_the_help_is_printed():
    printed = done().stdout
    for command in ("demo", "fit", "score", "report", "info", "bench"):
        assert command in printed


def test_the_version_is_printed():
    assert done("--version").stdout == f"aefast {aefast.__version__}\n"


# Wrong uses: the exit status, a part of the message, the command.
WRONG = [
    (2, "No such command 'scroe'", "scroe"),
    (2, "Missing argument 'MODEL'", "score"),
    (2, "Missing option '-o'", "score m.safetensors t.parquet"),
    (2, "No such option: --colour", "info m.safetensors --colour"),
    (2, "there is no file or folder none.parquet", "score m.safetensors none.parquet -o out.csv"),
    (2, "no file matches none*.csv", "score m.safetensors none*.csv -o out.csv"),
    (2, "no tables in the folder void", "score m.safetensors void -o out.csv"),
    (
        2,
        "notes.doc has neither the suffix of a table nor rows of text; these can be",
        "score m.safetensors notes.doc -o out.csv",
    ),
    (2, "there is no model file none.safetensors", "score none.safetensors t.parquet -o out.csv"),
    (2, "void is a folder, not a model file", "info void"),
    (2, "out.xlsx must end in one of .parquet", "score m.safetensors t.parquet -o out.xlsx"),
    (2, "the folder none of out.csv does not exist", "score m.safetensors t.parquet -o none/out.csv"),
    (2, "t.parquet is also the input", "score m.safetensors t.parquet -o t.parquet"),
    (2, "link.parquet is also the input", "score m.safetensors t.parquet -o link.parquet"),
    (2, "m.parquet is also the model", "score m.parquet t.parquet -o ./m.parquet"),
    (2, "t.parquet is also the input", "fit t.parquet --columns a,b -o void/../t.parquet"),
    (2, "new is also the checkpoint", "fit t.parquet --columns a,b -o new --checkpoint ./new"),
    (2, "t.parquet is also the input", "fit t.parquet --columns a,b -o new --checkpoint t.parquet"),
    (2, "t.parquet is also the input", "recalibrate m.safetensors t.parquet -o t.parquet"),
    (2, "link.html is also the input", "report m.safetensors t.parquet -o link.html"),
    (2, "m.html is also the model", "report m.html t.parquet -o m.html"),
    (2, "- is not a regular file; an output is renamed", "score m.safetensors t.parquet -o -"),
    (2, "/dev/null is not a regular file; an output", "fit t.parquet --columns a,b -o /dev/null"),
    (2, "notes is a file; give a folder", "score m.safetensors t.parquet -o notes"),
    (1, "stdin.csv cannot be read: Empty CSV file", "score m.safetensors - -o out.csv"),
    (2, "/dev/null is not a regular file; rows are read", "fit /dev/null -o new"),
    (2, "lacks column 'lable' (did you mean 'label'?)", "score m.safetensors t.parquet -o out.csv --label lable"),
    (2, "lacks column 'ix'", "score m.safetensors t.parquet -o out.csv --keep ix"),
    (2, ".npy holds the scores alone", "score m.safetensors t.parquet -o out.npy --keep id"),
    (2, "'--fdr': 2 is not above 0 and below 1", "score m.safetensors t.parquet -o out.csv --fdr 2"),
    (
        2,
        "'--precision': 'half' is not one of 'float32', 'bfloat16', 'int8'; see aefast score",
        "score m.safetensors t.parquet -o out.csv --precision half",
    ),
    (2, "--batch-rows", "score m.safetensors t.parquet -o out.csv --batch-rows 0"),
    (2, "--batch-rows", "score m.safetensors t.parquet -o out.csv --batch-rows 99999999999999999999"),
    (2, "--threads", "score m.safetensors t.parquet -o out.csv --threads 99999999999"),
    (2, "--seed", "fit t.parquet -o new --seed 5000000000"),
    (2, "--layers must be at most 16,777,216 each", "fit t.parquet -o new --layers 99999999999"),
    (2, "has 9999999999800000000001 pixels", "report m.safetensors t.parquet --image 99999999999x99999999999"),
    (2, "--threads", "score m.safetensors t.parquet -o out.csv --threads many"),
    (2, "t.npy has no named columns", "score m.safetensors t.npy -o out.csv --keep id"),
    (
        2,
        "'--kind': 'convolved' is not one of 'plain', 'denoising'",
        "fit t.parquet -o new.safetensors --kind convolved",
    ),
    (2, "--layers must be whole numbers", "fit t.parquet -o new.safetensors --layers 64;32"),
    (2, "--layers must be at least 1 each", "fit t.parquet -o new.safetensors --layers 64,0"),
    (
        2,
        "'--contamination': 0.7 is not above 0 and at most 0.5",
        "fit t.parquet -o new.safetensors --contamination 0.7",
    ),
    (2, "lacks column 'e'", "fit t.parquet -o new.safetensors --columns a,e"),
    (2, "--columns, --exclude and --kind-of need named columns", "fit t.npy -o new.safetensors --exclude x1"),
    (2, "got 'a'", "fit t.parquet -o new --kind-of a"),
    (2, "id=numeric: 'id' is not learned (--exclude)", "fit t.parquet -o x --exclude id --kind-of id=numeric"),
    (2, "page.pdf must end in one of .html", "report m.safetensors t.parquet -o page.pdf"),
    (2, "--image must be HEIGHTxWIDTH", "report m.safetensors t.parquet --image large"),
    (2, "--image 3x3 has 9 pixels, the model has 4", "report m.safetensors t.parquet --image 3x3"),
    (2, "notes.txt is a file; name a folder", "demo -o notes.txt"),
    (1, "notes.safetensors", "info notes.safetensors"),
    (1, "no columns are left to learn", "fit t.parquet -o new.safetensors --columns a --exclude a"),
    (1, "lacks columns the model was fitted on: 'b', 'c', 'd'", "score m.safetensors few.csv -o out.csv"),
    (1, "few.csv has no rows to learn from", "fit few.csv -o new.safetensors"),
    (
        1,
        "bad.parquet, row 7 (the first is row 0), column 'c'",
        "fit bad.parquet -o new.safetensors --columns a,c --missing error",
    ),
    (1, "bad.parquet, row 7 (the first is row 0), column 'c'; fill", "score m.safetensors bad.parquet -o out.csv"),
    (
        1,
        "t.parquet, row 0 (the first is row 0), label column 'id': 1000; it must hold 0 and 1",
        "score m.safetensors t.parquet -o out.csv --label id",
    ),
    (1, "the model scores column 'a', so it cannot be the label", "score m.safetensors t.parquet -o out.csv --label a"),
    (1, "t.parquet: label column 'name' is string; it must hold", "report m.safetensors t.parquet --label name"),
    (1, "t.parquet: label column 'name' is string", "score m.safetensors t.parquet -o out.csv --label name"),
    (1, "cut.parquet cannot be read", "score m.safetensors cut.parquet -o out.csv"),
    (1, "text.csv, row 1 (the first is row 0), column 'b'", "score m.safetensors text.csv -o out.csv"),
    (1, "thin.npy: the rows have 3 columns of numbers", "score m.safetensors thin.npy -o out.csv"),
    (1, "latin.csv, row 0 (the first is row 0), column 'name', cannot be read: it is not UTF-8", "fit latin.csv -o x"),
    (1, "column 'name', cannot be read: it is not UTF-8", "score mixed.safetensors latin.csv -o out.csv"),
    (1, "t.parquet: the table has 6 columns of numbers", "score nameless.safetensors t.parquet -o out.csv"),
    (2, "the columns of this model are of several kinds", "report mixed.safetensors t.parquet --image 2x4"),
]


@pytest.mark.parametrize(("code", "says", "command"), WRONG, ids=[c for _, _, c in WRONG])
def test_wrong_use_ends_in_one_line_and_writes_nothing(folder, code, says, command):
    (folder / "void").mkdir()
    (folder / "notes.txt").write_text("not a table")
    (folder / "notes.doc").write_bytes(b"not\0a\0table")
    (folder / "notes.safetensors").write_text("not a model")
    (folder / "notes").write_text("not a folder")
    for name in ("m.parquet", "m.html"):
        (folder / name).write_bytes((folder / "m.safetensors").read_bytes())
    for name in ("link.parquet", "link.html"):
        (folder / name).symlink_to("t.parquet")
    (folder / "few.csv").write_text("a,id\n")
    (folder / "text.csv").write_text("a,b,c,d\n1,2,3,4\n1,x,3,4\n")
    (folder / "cut.parquet").write_bytes((folder / "t.parquet").read_bytes()[:-9])
    aefast.Autoencoder((2,), max_epochs=0).fit(features_of(small_table())).save("nameless.safetensors")
    mixed = small_table().select(["a", "name"])
    aefast.Autoencoder((2,), max_epochs=0, column_kinds={"name": "categorical"}).fit(mixed).save("mixed.safetensors")
    (folder / "latin.csv").write_bytes(b"a,name\n1,Z\xfc\x81rich\n")
    np.save("t.npy", features_of(small_table()))
    np.save("thin.npy", features_of(small_table())[:, :3])
    values = small_table()["c"].to_pylist()
    values[7] = None
    write_table(small_table().set_column(4, "c", pa.array(values)), folder / "bad.parquet")
    before = {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    line = refused(code, *command.split())
    assert says in line
    assert line.startswith("aefast")
    assert {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()} == before


def test_a_traceback_is_shown_only_on_request(folder):
    (folder / "bad.safetensors").write_text("no model")
    result = run_command("info", "bad.safetensors", "--debug")
    assert result.exit_code == 1
    assert "Traceback" in result.stderr
    assert result.stderr.splitlines()[-1] in run_command("info", "bad.safetensors").stderr


def test_an_error_within_aefast_is_one_line_too(folder, monkeypatch):
    monkeypatch.setattr("aefast.jobs.score.ScoreJob.run", lambda *arguments: {}["key"])
    assert "a bug in aefast; repeat the command with --debug to see where" in refused(
        1, "score", "m.safetensors", "t.parquet", "-o", "o.csv"
    )


PACKAGE = str(Path(aefast.__file__).resolve().parents[1])


@pytest.fixture
def start():
    """Starts the command in a process of its own, after ``setup``."""
    with ExitStack() as processes:

        def start(*arguments: object, setup: str = "") -> subprocess.Popen:
            code = f"{setup}\nfrom aefast.__main__ import main\nmain()"
            process = subprocess.Popen(
                [sys.executable, "-c", code, *map(str, arguments)],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                env={**os.environ, "PYTHONPATH": PACKAGE},
            )
            processes.enter_context(process)
            processes.callback(process.kill)
            return process

        yield start


SLOWLY = """
import time, aefast.scoring.scorer
at_once = aefast.scoring.scorer.Scorer.judge
def slowly(self, batch, *, first_row=0):
    time.sleep(0.2)
    return at_once(self, batch, first_row=first_row)
aefast.scoring.scorer.Scorer.judge = slowly
"""


TELLING = """
import aefast
at_once = aefast.Autoencoder.fit
def fit(self, X):
    open("fitting", "w").close()
    return at_once(self.set_params(early_stopping=False), X)
aefast.Autoencoder.fit = fit
"""


def wait_for(condition, process: subprocess.Popen) -> None:
    while not condition():
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.02)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_while_scoring_leaves_nothing_but_one_line(folder, start, number):
    process = start("score", "m.safetensors", "t.parquet", "-o", "out.csv", "--batch-rows", 5, setup=SLOWLY)
    wait_for(lambda: list(folder.glob(".out.csv.*.part")), process)
    process.send_signal(number)
    stdout, stderr = process.communicate(timeout=60)
    assert (process.returncode, stdout) == (1, "")
    after = "no output is half-written; repeat the command with --resume to continue"
    what = "interrupted" if number == signal.SIGINT else f"ended by {number.name}"
    assert stderr == f"aefast score: {what}; {after}\n"
    assert sorted(os.listdir(folder)) == ["m.safetensors", "out.csv.partial", "t.parquet"]


def test_a_signal_that_is_ignored_ends_nothing(folder, start):
    ignoring = f"import signal; signal.signal(signal.SIGHUP, signal.SIG_IGN); {SLOWLY.strip()}"
    process = start("score", "m.safetensors", "t.parquet", "-o", "out.csv", "--batch-rows", 50, setup=ignoring)
    wait_for(lambda: list(folder.glob(".out.csv.*.part")), process)
    process.send_signal(signal.SIGHUP)
    process.communicate(timeout=60)
    assert process.returncode == 0
    assert (folder / "out.csv").exists()


def test_a_full_standard_output_is_a_one_line_error(folder):
    with open("/dev/full", "w") as full:
        code = "from aefast.__main__ import main; main()"
        run = subprocess.run(
            [sys.executable, "-c", code, "info", "m.safetensors"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": PACKAGE},
            check=False,
        )
    assert (run.returncode, run.stderr) == (1, "aefast info: standard output: No space left on device\n")


def test_a_kill_while_scoring_leaves_no_output(folder, start):
    process = start("score", "m.safetensors", "t.parquet", "-o", "out.parquet", "--batch-rows", 5, setup=SLOWLY)
    wait_for(lambda: list(folder.glob(".out.parquet.*.part")), process)
    process.kill()
    process.communicate(timeout=60)
    assert not (folder / "out.parquet").exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_while_fitting_leaves_no_model(folder, start, number):
    options = ["--exclude", "id,name,label", "--epochs", 10_000_000]
    process = start("fit", "t.parquet", "-o", "new.safetensors", *options, setup=TELLING)
    wait_for((folder / "fitting").exists, process)
    time.sleep(0.2)
    process.send_signal(number)
    stdout, stderr = process.communicate(timeout=60)
    assert (process.returncode, stdout) == (1, "")
    assert stderr.startswith("aefast fit: ")
    assert stderr.count("\n") == 1
    assert sorted(os.listdir(folder)) == ["fitting", "m.safetensors", "t.parquet"]


def test_a_full_disk_is_a_one_line_error(folder, start):
    write_table(pa.concat_tables([small_table()] * 30), folder / "long.parquet")
    small_disk = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))"
    process = start("score", "m.safetensors", "long.parquet", "-o", "out.csv", "--batch-rows", 500, setup=small_disk)
    stdout, stderr = process.communicate(timeout=60)
    assert (process.returncode, stdout) == (1, "")
    assert stderr.count("\n") == 1
    assert "out.csv: File too large; make room and repeat the command with --resume" in stderr
    assert sorted(os.listdir(folder)) == ["long.parquet", "m.safetensors", "out.csv.partial", "t.parquet"]


@pytest.mark.parametrize(("missing", "where"), [("typer", "aefast"), ("pyarrow", "aefast score")])
def test_without_its_extra_the_command_says_how_to_get_it(start, missing, where):
    without = f"""
import sys
class Nowhere:
    def find_spec(self, name, *others):
        if name == {missing!r}:
            raise ModuleNotFoundError(f"No module named {missing!r}", name=name)
sys.meta_path.insert(0, Nowhere())
"""
    process = start("score", "m.safetensors", "t.parquet", "-o", "scores.csv", setup=without)
    stdout, stderr = process.communicate(timeout=60)
    assert (process.returncode, stdout) == (1, "")
    assert stderr == f'{where}: the command line needs {missing}; run: pip install "aefast[cli]"\n'


def test_memory_does_not_follow_the_file(folder, monkeypatch):
    table = small_table(1000)
    with pa.parquet.ParquetWriter("long.parquet", table.schema) as writer:
        for _ in range(300):
            writer.write_table(table)
    peak = 0
    before = pa.total_allocated_bytes()
    from aefast.scoring.scorer import Scorer

    at_once = Scorer.judge

    def watched(self, batch, *, first_row=0):
        nonlocal peak
        peak = max(peak, pa.total_allocated_bytes() - before)
        return at_once(self, batch, first_row=first_row)

    monkeypatch.setattr(Scorer, "judge", watched)
    done("score", "m.safetensors", "long.parquet", "-o", "out.parquet", "--keep", "id", "--batch-rows", 1000)
    assert read_table("out.parquet").num_rows == 300_000
    assert peak < 6_000_000 < pa.parquet.read_table("long.parquet").nbytes


def test_names_with_commas_stand_in_quotes_as_in_csv(folder):
    table = small_table().rename_columns(["id", "name", "a,1", 'b "x"', "c", "d", "label"])
    write_table(table, folder / "c.parquet")
    done("fit", "c.parquet", "-o", "c.safetensors", "--columns", '"a,1",c', "--columns", 'b "x"', "--epochs", 1)
    assert aefast.load("c.safetensors").feature_names_in_.tolist() == ["a,1", "c", 'b "x"']
    done("score", "c.safetensors", "c.parquet", "-o", "s.parquet", "--keep", 'id, "a,1"')
    assert read_table("s.parquet").column_names[:2] == ["id", "a,1"]


def test_info_shows_levels_and_calibration(folder):
    table = small_table().append_column("word", pa.array(["x", "y", "z"] * 100))
    write_table(table, folder / "w.parquet")
    done("fit", "w.parquet", "-o", "w.safetensors", "--exclude", "id,name,label", "--epochs", 1)
    told = json.loads(done("info", "w.safetensors", "--json").stdout)
    assert told["levels"] == {"word": ["x", "y", "z"]}
    assert (told["calibration_rows"], told["least_p_value"]) == (300, 1 / 301)
    text = " ".join(done("info", "w.safetensors").stdout.split())
    assert "levels of word x, y, z" in text
    assert "from 300 rows, so none is below 0.00332" in text
    assert json.loads(done("info", "m.safetensors", "--json").stdout)["levels"] == {}


def test_a_rate_that_is_too_low_for_so_few_held_out_rows_is_remarked(folder):
    command = ["score", "m.safetensors", "t.parquet", "-o", "s.parquet", "--fdr"]
    calibration = aefast.load("m.safetensors").calibration_
    text = " ".join(done(*command, "0.001").stdout.split())
    assert f"--fdr 0.001 is out of reach: only {calibration.n_rows} rows were held out, so no p-value is below" in text
    assert "no row alone or with all others can be flagged" in text
    assert "above it by chance; fit or recalibrate on more rows" in text
    told = json.loads(done(*command, "0.001", "--json").stdout)
    scores = read_table("s.parquet")
    gross = scores["anomaly_score"].to_numpy() > calibration.errors[-1]
    np.testing.assert_array_equal(scores["is_anomaly"].to_numpy(), gross)
    assert (told["flagged"], told["fdr_kept"], told["held_out_rows"]) == (gross.sum(), False, calibration.n_rows)
    assert told["least_flagged"] == np.ceil(300 / (1 + calibration.n_rows) / 0.001)
    assert told["expected_false_alarms"] == pytest.approx(300 / (1 + calibration.n_rows))
    assert told["rule"].startswith("score above ")


def test_a_rate_that_some_rows_can_reach_says_how_many_it_takes(folder):
    write_table(small_table().filter(pa.compute.equal(small_table()["label"], 0)), folder / "calm.parquet")
    command = ["score", "m.safetensors", "calm.parquet", "-o", "s.parquet", "--fdr", "0.1"]
    told = json.loads(done(*command, "--json").stdout)
    n_rows = told["rows"]
    assert (told["fdr_kept"], told["least_flagged"]) == (False, np.ceil(n_rows * told["least_p_value"] / 0.1))
    assert f"at least {told['least_flagged']} of {n_rows} rows would have to be flagged" in done(*command).stdout
    write_table(small_table().filter(pa.compute.equal(small_table()["label"], 1)), folder / "calm.parquet")
    assert json.loads(done(*command[:-1], "0.5", "--json").stdout)["fdr_kept"]


@pytest.mark.parametrize("folder_of", [False, True])
def test_a_resumed_job_knows_that_the_rate_was_out_of_reach(folder, folder_of):
    command = ["score", "m.safetensors", "t.parquet", "-o", "out" if folder_of else "s.parquet", "--fdr", "0.001"]
    first = json.loads(done(*command, "--json").stdout)
    again = json.loads(done(*command, "--resume", "--json").stdout)
    assert (again["fdr_kept"], again["flagged"], again["resumed_rows"]) == (False, first["flagged"], 300)


def test_help_lists_the_kinds_of_autoencoder():
    text = " ".join(run_command("fit", "--help").stdout.replace("│", " ").split())
    assert "plain, denoising, sparse, contractive, variational." in text
    for kind in KINDS:
        assert run_command("fit", "none.csv", "-o", "m", "--kind", kind).exit_code == 2


def test_help_shows_the_defaults_of_the_estimator():
    text = " ".join(run_command("fit", "--help").stdout.replace("│", " ").split())
    for name in ("max_epochs", "contamination"):
        assert f"[default: {aefast.Autoencoder().get_params()[name]}]" in text


@pytest.mark.parametrize("command", COMMANDS)
def test_help_shows_no_ranges_and_no_types_of_python(command):
    text = run_command(command, "--help").stdout
    assert "<=x<=" not in text
    assert str(1 << 62) not in text
    assert "NoneType" not in text
    assert "bool" not in text


@pytest.mark.parametrize("command", [[], *([name] for name in COMMANDS)])
def test_every_option_belongs_to_a_panel_and_each_panel_stands_once(command):
    text = run_command(*command, "--help").stdout
    titles = [line.strip("╭╮─ ") for line in text.splitlines() if line.startswith("╭")]
    known = {"Input", "Output", "Rows and columns", "CSV files", "Network and training", "Running"}
    assert set(titles) <= known | set(COMMANDS.values())
    assert len(set(titles)) == len(titles)
    assert "--help" in text.partition(" Running ")[2].partition("╰")[0]


def test_help_fits_narrow_and_wide_terminals(monkeypatch):
    for columns in (80, 120):
        monkeypatch.setenv("COLUMNS", str(columns))
        for command in COMMANDS:
            lines = run_command(command, "--help").stdout.splitlines()
            assert max(map(len, lines)) == columns
            names = [word for line in lines for word in line.split() if word.startswith("--")]
            assert "--help" in names
            assert not any(name.endswith("…") for name in names)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("aefast score --precision ", ["float32", "bfloat16", "int8"]),
        ("aefast fit --kind ", list(KINDS)),
        ("aefast fit --missing m", ["mask", "mean"]),
        ("aefast ", list(COMMANDS)),
        ("aefast score --pre", ["--precision"]),
    ],
)
def test_shells_complete_commands_options_and_choices(start, words, expected):
    setup = f"""
import os
position = len({words!r}.split()) - (not {words!r}.endswith(" "))
os.environ |= {{"_AEFAST_COMPLETE": "complete_bash", "COMP_WORDS": {words!r}, "COMP_CWORD": str(position)}}
"""
    stdout, stderr = start(setup=setup).communicate(timeout=60)
    assert stderr == ""
    assert stdout.split() == expected
