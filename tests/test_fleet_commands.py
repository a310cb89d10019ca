"""Fleets on the command line: one model for each group of rows."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import aefast
from aefast.scoring.fleet_scorer import FleetScorer
from small_tables import run_command


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    table = pd.DataFrame(rng.normal(size=(400, 4)).round(5), columns=list("abcd"))
    table.insert(0, "machine", rng.choice(["m-1", "m-2", "m-3"], size=400))
    table.loc[:9, "machine"] = "few"
    table.to_csv("rows.csv", index=False)
    table.to_parquet("rows.parquet", index=False)
    return table


def fit(*words):
    return run_command("fit", *words, "--epochs", 3, "--threads", 1)


@pytest.mark.parametrize("name", ["rows.csv", "rows.parquet"])
def test_fit_by_writes_a_fleet(folder, name):
    result = fit(name, "--by", "machine", "-o", "fleet", "--json")
    assert result.exit_code == 0, result.stderr
    summary = json.loads(result.stdout)
    assert (summary["groups"], summary["fitted_groups"], summary["small_groups"]) == (4, 3, 1)
    assert summary["columns"] == list("abcd")
    assert summary["excluded"] == {"machine": "--by"}
    fleet = aefast.load("fleet")
    assert set(fleet) == {"m-1", "m-2", "m-3"}
    assert fleet.by == "machine"
    alone = aefast.Autoencoder(max_epochs=3, random_state=0).fit(
        folder[folder["machine"] == "m-2"].drop(columns="machine")
    )
    if name.endswith(".parquet"):
        np.testing.assert_array_equal(alone.coefs_[0], fleet["m-2"].coefs_[0])
    assert np.isfinite(fleet.reconstruction_error(folder)).all()


def test_fit_by_several_columns_of_numbers_and_text(folder):
    folder.assign(line=np.arange(400) % 2, kind=np.where(folder["a"] > 0, "x", "y")).to_parquet("more.parquet")
    result = fit("more.parquet", "--by", "machine,line", "--min-rows", 20, "-o", "fleet")
    assert result.exit_code == 0, result.stderr
    assert "6 groups by machine, line" in " ".join(result.stdout.split())
    assert "with fewer than 20 rows" in result.stdout
    fleet = aefast.load("fleet")
    assert ("m-2", 1) in fleet
    assert fleet["m-2", 1].columns_[-1].kind == "categorical"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--by", "machines"), "rows.csv lacks column 'machines'"),
        (("--min-rows", 5), "--min-rows goes with --by, which names the columns of the groups"),
        (("--by", "machine", "--stream"), "--by holds all rows in memory and fits many models"),
        (("--by", "machine", "--sample", 9), "leave --sample, --stream, --checkpoint out"),
        (("--by", "machine", "--checkpoint", "c"), "leave --sample, --stream, --checkpoint out"),
    ],
)
def test_wrong_uses(folder, words, message):
    result = fit("rows.csv", "-o", "fleet", *words)
    assert result.exit_code == 2
    assert message in result.stderr
    assert result.stderr.count("\n") == 1


def test_arrays_have_no_groups(folder):
    np.save("rows.npy", folder[list("abcd")].to_numpy())
    result = fit("rows.npy", "--by", "machine", "-o", "fleet")
    assert result.exit_code == 2
    assert "--by needs named columns, which .npy files do not have" in result.stderr


def scored(model, data, output, *words):
    result = run_command("score", model, data, "-o", output, "--threads", 1, *words)
    assert result.exit_code == 0, result.stderr
    return pd.read_parquet(output) if str(output).endswith(".parquet") else pd.read_csv(output)


@pytest.mark.parametrize("name", ["rows.csv", "rows.parquet"])
@pytest.mark.parametrize("batch_rows", [256, 131_072])
def test_score_with_a_fleet_gives_each_row_what_its_group_gives(folder, name, batch_rows):
    assert fit("rows.parquet", "--by", "machine", "-o", "fleet").exit_code == 0
    table = scored("fleet", name, "out.parquet", "--top-features", 2, "--batch-rows", batch_rows)
    fleet = aefast.load("fleet")
    assert list(table) == ["machine", "anomaly_score", "p_value", "is_anomaly", "top_features"]
    assert table["machine"].tolist() == folder["machine"].tolist()
    np.testing.assert_array_equal(table["anomaly_score"], fleet.reconstruction_error(folder).astype(float))
    np.testing.assert_array_equal(table["p_value"], fleet.p_values(folder))
    np.testing.assert_array_equal(table["is_anomaly"], fleet.predict(folder) == -1)
    reasons = [reason["feature"] for row in table["top_features"] for reason in row]
    assert reasons == fleet.explain(folder, top=2)["feature"].tolist()


def test_score_with_a_fleet_of_several_kinds_of_columns(folder):
    table = folder.assign(kind=np.where(folder["a"] > 0, "x", "y"), line=np.arange(400) % 2)
    table.to_parquet("mixed.parquet", index=False)
    assert fit("mixed.parquet", "--by", "machine,line", "--min-rows", 20, "-o", "fleet").exit_code == 0
    found = scored("fleet", "mixed.parquet", "out.parquet", "--keep", "line", "--top-features", 1)
    assert list(found) == ["line", "anomaly_score", "p_value", "is_anomaly", "top_features"]
    np.testing.assert_array_equal(found["p_value"], aefast.load("fleet").p_values(table))


def test_groups_of_numbers_are_found_in_files_of_text(folder):
    table = folder.assign(machine=np.arange(400) % 3)
    table.to_parquet("numbers.parquet", index=False)
    table.to_csv("numbers.csv", index=False)
    for fitted in ("numbers.parquet", "numbers.csv"):
        assert fit(fitted, "--by", "machine", "-o", "fleet").exit_code == 0
        scores = [scored("fleet", name, "out.parquet")["p_value"] for name in ("numbers.parquet", "numbers.csv")]
        np.testing.assert_array_equal(*scores)
        result = run_command("score", "fleet", "numbers.csv", "-o", "out.csv", "--json")
        assert json.loads(result.stdout)["pooled_rows"] == 0


def test_false_discovery_rate_is_over_all_groups(folder):
    table = pd.concat([folder, folder.iloc[:200].assign(a=99.0, b=-99.0)])
    table.to_parquet("odd.parquet", index=False)
    assert fit("rows.parquet", "--by", "machine", "-o", "fleet").exit_code == 0
    found = scored("fleet", "odd.parquet", "out.parquet", "--fdr", 0.3)
    mask = aefast.load("fleet").detect(table, fdr=0.3)
    assert mask.sum() > 100
    np.testing.assert_array_equal(found["is_anomaly"], mask)


def test_the_summary_counts_rows_of_groups_without_a_model(folder):
    assert fit("rows.parquet", "--by", "machine", "-o", "fleet").exit_code == 0
    folder.assign(machine=folder["machine"].replace("m-1", "new")).to_parquet("new.parquet", index=False)
    summary = json.loads(run_command("score", "fleet", "new.parquet", "-o", "out.csv", "--json").stdout)
    n_others = int((folder["machine"].isin(["m-1", "few"])).sum())
    assert (summary["pooled_groups"], summary["pooled_rows"], summary["threshold"]) == (2, n_others, None)
    text = run_command("score", "fleet", "new.parquet", "-o", "out.csv").stdout
    assert f"{n_others} rows of 2 groups without a model of their own" in text
    assert "score above the threshold of the group" in text


def test_an_interrupted_job_resumes_to_the_same_bytes(folder, monkeypatch):
    assert fit("rows.parquet", "--by", "machine", "-o", "fleet").exit_code == 0
    words = ("score", "fleet", "rows.csv", "--batch-rows", 100, "--fdr", 0.5)
    assert run_command(*words, "-o", "whole.csv").exit_code == 0
    judge, n_left = FleetScorer.judge, 2

    def interrupted(scorer, batch, *, first_row=0):
        nonlocal n_left
        n_left -= 1
        if n_left < 0:
            raise KeyboardInterrupt
        return judge(scorer, batch, first_row=first_row)

    with monkeypatch.context() as patch:
        patch.setattr(FleetScorer, "judge", interrupted)
        assert run_command(*words, "-o", "part.csv").exit_code != 0
    result = run_command(*words, "-o", "part.csv", "--resume", "--json")
    assert json.loads(result.stdout)["resumed_rows"] == 200
    assert Path("part.csv").read_bytes() == Path("whole.csv").read_bytes()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("score", "fleet", "other.csv", "-o", "o.csv"), "other.csv lacks columns that name groups: 'machine'"),
        (("score", "fleet", "bad.csv", "-o", "o.csv"), "bad.csv, row 7"),
        (("score", "fleet", "rows.npy", "-o", "o.csv"), "the fleet needs columns that name groups"),
        (("score", "fleet", "rows.csv", "-o", "o.csv", "--label", "b"), "labels judge the scores of one model"),
        (("recalibrate", "fleet", "rows.csv", "-o", "new"), "fleet is a fleet, one model for each group"),
        (("info", "damaged"), "damaged is altered"),
        (("report", "damaged", "rows.csv", "-o", "o.html"), "damaged is altered"),
        (("score", "damaged", "rows.csv", "-o", "o.csv"), "damaged is altered"),
    ],
)
def test_refusals_are_one_line(folder, words, message):
    assert fit("rows.csv", "--by", "machine", "-o", "fleet").exit_code == 0
    content = bytearray(Path("fleet").read_bytes())
    content[-30] ^= 1
    Path("damaged").write_bytes(content)
    folder.drop(columns="machine").to_csv("other.csv", index=False)
    bad = folder.copy()
    bad.loc[7, "c"] = np.inf
    bad.to_csv("bad.csv", index=False)
    np.save("rows.npy", folder[list("abcd")].to_numpy())
    result = run_command(*words)
    assert result.exit_code in (1, 2)
    assert message in result.stderr
    assert result.stderr.count("\n") == 1
    assert not Path("o.csv").exists()


def test_a_fleet_that_refuses_other_groups_fails_the_job(folder):
    known = folder[folder["machine"] != "few"]
    aefast.Fleet(aefast.Autoencoder(max_epochs=1, random_state=0), by="machine", unseen="error").fit(known).save(
        "fleet"
    )
    result = run_command("score", "fleet", "rows.csv", "-o", "out.csv")
    assert result.exit_code == 1
    assert "10 rows belong to 1 group ('few') without a model" in result.stderr


def test_report_names_the_groups_that_are_odd(folder):
    assert fit("rows.parquet", "--by", "machine", "-o", "fleet").exit_code == 0
    later = folder.assign(machine=folder["machine"].replace("few", "<new> & odd"), note="<b>")
    later.loc[later["machine"] == "m-2", "b"] += 9.0
    later.to_parquet("later.parquet", index=False)
    result = run_command("report", "fleet", "later.parquet", "-o", "groups.html", "--json")
    assert result.exit_code == 0, result.stderr
    summary = json.loads(result.stdout)
    assert (summary["rows"], summary["groups"], summary["odd_groups"]) == (400, 4, ["m-2"])
    flagged = aefast.load("fleet").predict(later.drop(columns="note")) == -1
    assert summary["anomalies"] == flagged.sum()
    page = Path("groups.html").read_text(encoding="utf-8")
    assert "{{" not in page
    assert "<b>&lt;b&gt;" not in page
    assert "&lt;new&gt; &amp; odd" in page
    assert "<new>" not in page
    assert '<span class="dot">m-2</span>' in page
    assert page.index("m-2") < page.index("m-1")
    assert "b = " in page
    result = run_command("report", "fleet", "later.parquet", "-o", "groups.html", "--keep", "note")
    assert result.stdout == f"400 rows, 1 odd group, {flagged.sum()} above the threshold; open groups.html\n"


def test_report_of_a_fleet_has_no_images(folder):
    assert fit("rows.parquet", "--by", "machine", "-o", "fleet").exit_code == 0
    result = run_command("report", "fleet", "rows.parquet", "-o", "groups.html", "--image", "2x2")
    assert result.exit_code == 2
    assert "--image needs one model, not a fleet" in result.stderr


def test_info_describes_a_fleet(folder):
    assert fit("rows.parquet", "--by", "machine", "-o", "fleet").exit_code == 0
    summary = json.loads(run_command("info", "fleet", "--json").stdout)
    counts = folder["machine"].value_counts()
    own = [int(counts[key]) for key in ("m-1", "m-2", "m-3")]
    assert (summary["groups"], summary["groups_without_a_model"], summary["by"]) == (3, 1, ["machine"])
    assert summary["rows_of_groups"] == [min(own), max(own)]
    text = run_command("info", "fleet").stdout
    assert "3 groups by machine" in text
    assert "4: a, b, c, d" in text
