"""Fleets on the command line: one model for each group of rows."""

import json

import numpy as np
import pandas as pd
import pytest

import aefast
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
