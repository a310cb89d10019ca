"""The demo finds the digit that it was not trained on, with nothing but the installed packages."""

from __future__ import annotations

import json

import numpy as np
import pyarrow.parquet as pq
import pytest
from sklearn.datasets import load_digits

import aefast
from aefast.jobs.demo import HELD_OUT, N_STRANGERS, PIXELS, digit_tables, run_demo
from small_tables import run_command


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo") / "out"
    (folder.parent / "summary.json").write_text(json.dumps(run_demo(folder)))
    return folder


@pytest.fixture(scope="module")
def summary(folder):
    return json.loads((folder.parent / "summary.json").read_text())


def test_training_and_test_rows_are_disjoint_and_training_has_no_stranger():
    training, test = digit_tables()
    assert not set(training["id"].to_pylist()) & set(test["id"].to_pylist())
    assert HELD_OUT not in training["digit"].to_pylist()
    assert test["stranger"].to_pylist() == [digit == HELD_OUT for digit in test["digit"].to_pylist()]
    assert sum(test["stranger"].to_pylist()) == N_STRANGERS


def test_the_rows_are_those_of_scikit_learn():
    digits = load_digits()
    table = digit_tables()[1]
    rows = table["id"].to_numpy()
    np.testing.assert_array_equal(np.column_stack([table[p].to_numpy() for p in PIXELS]), digits.data[rows])
    np.testing.assert_array_equal(table["digit"].to_numpy(), digits.target[rows])


def test_the_anomaly_is_found(summary):
    assert summary["aucroc"] > 0.98
    assert summary["rows_per_second"] > 0


def test_everything_named_is_written_and_fits_together(folder, summary):
    assert sorted(p.name for p in folder.iterdir()) == sorted(summary["files"])
    model = aefast.load(folder / "digits.safetensors")
    test, scores = pq.read_table(folder / "test.parquet"), pq.read_table(folder / "scores.parquet")
    assert scores["id"].to_pylist() == test["id"].to_pylist()
    np.testing.assert_array_equal(
        scores["anomaly_score"].to_numpy(), model.reconstruction_error(test.select(PIXELS)).astype(float)
    )
    assert "as images" in (folder / "report.html").read_text()


def test_the_command_prints_auc_speed_and_what_to_try_next(folder):
    result = run_command("demo", "-o", folder)
    assert result.exit_code == 0, result.stderr
    assert result.stderr == ""
    for text in ("AUC", "rows a second", "What to try next", "aefast score", "report.html"):
        assert text in result.stdout
