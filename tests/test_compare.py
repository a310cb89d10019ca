"""Two models side by side: ranks, rows that only one flags, and reasons that changed."""

import json

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from scipy import stats

import aefast
from aefast import Autoencoder
from small_tables import FEATURES, done, run_command, small_table, write_table

QUICK = {"encoder_layer_sizes": (8, 2), "max_epochs": 5, "n_threads": 1}
X = np.random.default_rng(0).normal(size=(800, 4)) @ np.random.default_rng(1).normal(size=(4, 6))


@pytest.fixture(scope="module")
def models():
    return [Autoencoder(random_state=seed, **QUICK).fit(X) for seed in (0, 1)]


def test_ranks_and_flags_are_those_of_the_scores(models):
    found = aefast.compare(*models, X)
    scores = [model.reconstruction_error(X) for model in models]
    flags = [model.predict(X) == -1 for model in models]
    assert found.n_rows == 800
    assert found.rank_correlation == pytest.approx(stats.spearmanr(*scores).statistic)
    assert (found.n_first, found.n_second) == (flags[0].sum(), flags[1].sum())
    assert found.n_both == (flags[0] & flags[1]).sum()
    assert sorted(found.only_first) == np.flatnonzero(flags[0] & ~flags[1]).tolist()
    assert sorted(found.only_second) == np.flatnonzero(flags[1] & ~flags[0]).tolist()
    both = np.flatnonzero(flags[0] & flags[1])
    reasons = [model.feature_errors(X[both]).argmax(axis=1) for model in models]
    assert sorted(found.other_reason) == both[reasons[0] != reasons[1]].tolist()
    assert found.n_other_reason == len(found.other_reason)
    assert sum(found.reasons.values()) == found.n_both
    ranks = [stats.rankdata(each) for each in scores]
    gaps = (ranks[0] - ranks[1])[found.only_first]
    assert (np.diff(gaps) <= 0).all()


def test_a_model_agrees_with_itself(models):
    found = aefast.compare(models[0], models[0].model_, X)
    assert found.rank_correlation == pytest.approx(1)
    n_flagged = np.count_nonzero(models[0].predict(X) == -1)
    assert (found.n_both, len(found.only_first), len(found.only_second), found.n_other_reason) == (n_flagged, 0, 0, 0)
    assert n_flagged > 50
    assert found.as_plain()["changed_reasons"] == []


def test_one_row_and_rows_of_one_score_have_no_correlation(models):
    assert np.isnan(aefast.compare(*models, X[:1]).rank_correlation)
    assert aefast.compare(*models, np.tile(X[:1], (5, 1))).as_plain()["rank_correlation"] is None


@pytest.mark.parametrize("as_table", [lambda frame: frame, pa.Table.from_pandas], ids=["frame", "arrow"])
def test_columns_are_found_by_name(as_table):
    frame = pd.DataFrame(X, columns=list("abcdef")).assign(kind=np.where(X[:, 0] > 0, "x", "y"), other=1.0)
    names = [["a", "b", "c", "kind"], ["kind", "f", "e", "a"]]
    models = [Autoencoder(random_state=0, **QUICK).fit(frame[each]) for each in names]
    found = aefast.compare(*models, as_table(frame))
    expected = aefast.compare(*models, frame[names[0]], frame[names[1]])
    assert found.as_plain() == expected.as_plain()
    assert np.isfinite(found.rank_correlation)


def test_models_of_other_columns_are_compared_on_the_same_rows():
    frame = pd.DataFrame(X, columns=list("abcdef")).assign(kind=np.where(X[:, 0] > 0, "x", "y"))
    mixed = Autoencoder(random_state=0, **QUICK).fit(frame)
    plain = Autoencoder(random_state=0, **QUICK).fit(frame[list("abc")])
    found = aefast.compare(mixed, plain, frame, frame[list("abc")])
    assert found.n_rows == 800
    assert {name for pair in found.reasons for name in pair} <= {*"abcdef", "kind"}
    with pytest.raises(ValueError, match="same rows"):
        aefast.compare(mixed, plain, frame, frame[list("abc")][:7])


@pytest.fixture(scope="module", params=[".parquet", ".csv", ".npy"])
def files(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("compare")
    data = write_table(small_table(900), folder / f"t{request.param}")
    without = [] if request.param == ".npy" else ["--exclude", "id,name,label"]
    narrow = [] if request.param == ".npy" else ["--exclude", "id,name,label,b"]
    for name, options in {"a": without, "b": narrow}.items():
        done("fit", data, "-o", folder / name, "--epochs", 4, "--seed", len(name + "b" * (name == "b")), *options)
    return data, folder / "a", folder / "b"


def test_the_command_says_what_the_function_says(files):
    data, first, second = files
    summary = json.loads(done("compare", first, second, data, "--json", "--batch-rows", 130))
    table = small_table(900)
    rows = [
        table.select(FEATURES if data.suffix == ".npy" else list(aefast.load(path).feature_names_in_))
        for path in (first, second)
    ]
    if data.suffix == ".npy":
        rows = [np.load(data)] * 2
    models = [aefast.load(path) for path in (first, second)]
    found = aefast.compare(*models, *rows)
    assert {key: summary[key] for key in found.as_plain()} == found.as_plain()
    assert summary["first"] == {"model": str(first), "threshold": models[0].threshold_, "flagged": found.n_first}
    example = summary["examples"]["first_only"][0]
    assert example["row"] == found.only_first[0]
    assert example["first"]["score"] == pytest.approx(found.scores[0][example["row"]])
    assert example["second"]["p_value"] == pytest.approx(float(models[1].p_values_of(found.scores[1])[example["row"]]))
    assert len(example["first"]["reasons"]) == 3
    if data.suffix != ".npy":
        assert str(example["columns"]["id"]) == str(1000 + example["row"])


def test_the_text_names_both_models_and_examples(files):
    data, first, second = files
    text = done("compare", first, second, data, "--examples", 1)
    for words in ("rank correlation", str(first), str(second), "first only", "second only", "other reason", "expected"):
        assert words in text
    if data.suffix != ".npy":
        assert "id=" in text
        assert "name=" not in done("compare", first, second, data, "--keep", "id")
    assert "row " not in done("compare", first, second, data, "--examples", 0).replace("rows", "")


def test_wrong_uses_are_refused(files, tmp_path):
    data, first, second = files
    assert run_command("compare", first, tmp_path / "none", data).exit_code == 2
    assert run_command("compare", first, second).exit_code == 2
    empty = write_table(small_table(10).slice(0, 0), tmp_path / "empty.parquet")
    if data.suffix != ".npy":
        result = run_command("compare", first, second, empty)
        assert (result.exit_code, "no rows to compare" in result.stderr) == (1, True)
        other = pa.table({"z": [1.0]})
        result = run_command("compare", first, second, write_table(other, tmp_path / "other.parquet"))
        assert (result.exit_code, "lacks columns" in result.stderr) == (1, True)
