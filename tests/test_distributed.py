"""Spark, Dask and Ray give the bits of one machine: scores, reasons, p-values, anomalies, samples and errors."""

from __future__ import annotations

import importlib
import inspect
import pickle
import re
import textwrap
import warnings
from functools import lru_cache

import numpy as np
import pyarrow as pa
import pyarrow.compute
import pytest

import aefast
from aefast.distributed.tasks import BadRowError
from aefast.model.false_discoveries import benjamini_hochberg
from aefast.scoring.fleet_scorer import FleetScorer
from aefast.tables.formats.base import TableError
from engines import ENGINES, THEIR_WARNINGS, running
from pages import run_page
from small_tables import FEATURES, features_of, mixed_model, mixed_table, small_model, small_table

pytestmark = [pytest.mark.filterwarnings(each) for each in THEIR_WARNINGS]


@pytest.fixture(scope="module", params=ENGINES)
def engine(request):
    with running(request.param) as engine:
        yield engine


def local(table: pa.Table, model=None, **options) -> pa.Table:
    scorer = aefast.Scorer(small_model() if model is None else model, **{"keep": ["id"], **options})
    return pa.Table.from_batches(list(scorer.score(table)))


def alike(found: pa.Table, expected: pa.Table) -> bool:
    """Whether two tables have the same rows, bit for bit, in any order."""
    found = found.sort_by("id") if len(found) else found
    return found.cast(expected.schema).equals(expected.sort_by("id"))


def with_values(table: pa.Table, column: str, values: dict[int, float | None]) -> pa.Table:
    changed = [values.get(row, value) for row, value in enumerate(table[column].to_pylist())]
    return table.set_column(table.column_names.index(column), column, pa.array(changed, pa.float64()))


@pytest.mark.parametrize(
    "options", [{}, {"top_features": 2, "keep": ["id", "name", "a"]}, {"p_value_cutoff": 0.1, "precision": "int8"}]
)
def test_scores_are_those_of_one_machine(engine, options):
    table = small_table(500, seed=1)
    scored = engine.module.score(engine.data(table), small_model(), **{"keep": ["id"], **options})
    assert alike(engine.table(scored), local(table, **options))


def test_also_of_several_kinds_of_columns_with_missing_values_and_reasons(engine):
    table = mixed_table(400, seed=2)
    scored = engine.module.score(engine.data(table), mixed_model(), keep=["id"], top_features=3)
    assert alike(engine.table(scored), local(table, mixed_model(), top_features=3))


def test_a_model_without_names_takes_the_numbers_that_are_not_kept(engine):
    table = small_table(200)
    model = aefast.Autoencoder((2,), max_epochs=1, random_state=0).fit(features_of(table))
    scored = engine.module.score(engine.data(table), model, keep=["id", "label"])
    assert alike(engine.table(scored), local(table, model, keep=["id", "label"]))
    with pytest.raises(TableError, match="has 5 columns of numbers to score, .* needs 4"):
        engine.table(engine.module.score(engine.data(table), model, keep=["id"]))


def test_the_model_is_given_in_any_form(engine, tmp_path):
    path, data = tmp_path / "m.safetensors", engine.data(small_table(50))
    small_model().save(path)
    for model in (small_model().model_, path, path.read_bytes()):
        assert alike(engine.table(engine.module.score(data, model, keep=["id"])), local(small_table(50)))


def test_empty_partitions_and_partitions_of_one_row(engine):
    table = small_table(3)
    scored = engine.module.score(engine.data(table, 8 if engine.name == "spark" else 3), small_model(), keep=["id"])
    assert alike(engine.table(scored), local(table))
    with pytest.warns(UserWarning, match="nothing is reported"):
        none = engine.module.detect(engine.data(small_table(20)), calibrated(), fdr=1e-9, keep=["id"])
    assert len(engine.table(none)) == 0


@lru_cache
def calibrated():
    """A model with so many held-out rows that some can be reported."""
    rows = small_table(5000, seed=9)
    usual = rows.filter(pa.compute.equal(rows["label"], 0)).select(FEATURES)
    return small_model().model_.with_calibration(small_model().model_.errors(usual), 0.1)


@pytest.mark.parametrize("fdr", [0.02, 0.2])
def test_detect_reports_the_rows_of_one_machine(engine, fdr):
    table, model = small_table(600, seed=4), calibrated()
    p_values = model.p_values(table.select(FEATURES))
    mask = benjamini_hochberg(p_values, fdr)
    assert 0 < mask.sum() < 600
    found = engine.table(engine.module.detect(engine.data(table), model, fdr=fdr, keep=["id"]))
    expected = local(table, model, p_value_cutoff=float(p_values[mask].max())).filter(pa.array(mask))
    assert alike(found, expected)


def test_detect_warns_if_too_few_rows_were_held_out_and_of_rows_without_scores(engine):
    table = small_table(300)
    with pytest.warns(UserWarning, match="nothing is reported: no p-value is below"):
        engine.module.detect(engine.data(table), small_model(), fdr=0.01)
    bad = with_values(table, "c", {7: None, 99: float("inf")})
    with pytest.warns(UserWarning, match="2 of 300 rows could not be scored and were left out"):
        found = engine.module.detect(engine.data(bad), calibrated(), fdr=0.2, on_bad="null", keep=["id"])
    good = engine.data(table.filter(pa.array([row not in (7, 99) for row in range(300)])))
    expected = engine.table(engine.module.detect(good, calibrated(), fdr=0.2, keep=["id"]))
    assert len(expected) > 0
    assert alike(engine.table(found), expected)


def test_a_bad_row_is_named_by_its_key_or_null(engine):
    table = with_values(small_table(500), "c", {401: None, 402: float("nan")})
    scored = engine.module.score(engine.data(table), small_model(), keep=["id", "name"])
    name, _, kind = engine.failure.rpartition(".")
    with pytest.raises(getattr(importlib.import_module(name), kind)) as caught:
        engine.table(scored)
    assert re.search(
        r"the row with .*id=140[12], name='row 40[12]' cannot be scored: column 'c' is nan", str(caught.value)
    )
    null = engine.table(engine.module.score(engine.data(table), small_model(), keep=["id"], on_bad="null"))
    null = null.sort_by("id")
    assert np.flatnonzero(null["anomaly_score"].is_null()).tolist() == [401, 402]
    assert null["is_anomaly"].null_count == null["p_value"].null_count == 2
    good = pa.array(np.setdiff1d(np.arange(500), [401, 402]))
    assert alike(null.take(good), local(table.take(good)))


def test_wrong_calls_are_refused_before_any_row(engine):
    data, score = engine.data(small_table(50)), engine.module.score
    for change, kind, said in [
        ({"on_bad": "skip"}, ValueError, "on_bad must be one of 'error', 'null', got 'skip'"),
        ({"keep": "id"}, ValueError, r"keep must be a sequence of names, got 'id': write \['id'\]"),
        ({"keep": ["zzz"]}, TableError, "lacks columns to keep: 'zzz'"),
        ({"keep": ["p_value"]}, TableError, "'p_value' cannot be kept"),
        ({"precision": "foo"}, ValueError, "precision must be one of"),
        ({"model": None}, TypeError, "model must be an estimator"),
        ({"data": small_table(5)}, TypeError, "data must be a .*got Table"),
        ({"data": engine.data(small_table(50).drop_columns(["b"]))}, TableError, "lacks columns .*fitted on: 'b'"),
    ]:
        with pytest.raises(kind, match=said):
            score(**{"data": data, "model": small_model(), **change})
    with pytest.raises(ValueError, match=r"fdr must be in \(0, 1\), got 2"):
        engine.module.detect(data, small_model(), fdr=2)


def estimator():
    return aefast.Autoencoder((2,), max_epochs=2, random_state=0)


def test_fit_on_a_sample_that_the_engine_draws(engine):
    table = small_table(4000).select(FEATURES)
    data = engine.data(table)
    first, again, other = (engine.module.fit(data, estimator(), rows=600, seed=seed) for seed in (0, 0, 1))
    bits = [model.model_.to_bytes() for model in (first, again, other)]
    assert bits[0] == bits[1] != bits[2]
    assert first.feature_names_in_.tolist() == FEATURES
    everything = engine.module.fit(data, estimator(), rows=10**6)
    for model, n_rows in ((first, 600), (everything, 4000)):
        assert model.model_.calibration.n_rows == estimator().fit(table[:n_rows]).model_.calibration.n_rows


def test_fit_on_all_rows_streams_them(engine):
    table = small_table(700).select(FEATURES)
    data = engine.data(table, 1)
    fitted = engine.module.fit(data, estimator())
    assert fitted.model_.to_bytes() == estimator().fit_batches([engine.table(data)]).model_.to_bytes()
    with pytest.raises(ValueError, match="rows must be None or an integer of at least 1, got 0"):
        engine.module.fit(data, estimator(), rows=0)


@pytest.fixture(scope="module")
def grouped():
    """Rows of groups of unlike sizes, mixed, with their keys; "m-3" is too small for a model."""
    rng = np.random.default_rng(5)
    table = small_table(900, seed=6).select(["id", *FEATURES])
    names = rng.choice(["m-0", "m-1", "m-2", "m-3"], p=[0.5, 0.3, 0.18, 0.02], size=900)
    return table.append_column("machine", pa.array(names.tolist())).append_column(
        "site", pa.array((names == "m-0") * 7)
    )


def local_fleet(table: pa.Table, by, **options):
    return aefast.Fleet(estimator(), by, **options).fit(table.drop_columns(["id"]))


@pytest.mark.parametrize("by", ["machine", ["site", "machine"]])
def test_groups_are_fitted_to_the_bits_of_a_local_fleet(engine, grouped, by):
    table = grouped.drop_columns(["id"])
    fleet = engine.module.fit_groups(engine.data(table, 2), estimator(), by=by)
    expected = aefast.Fleet(estimator(), by).fit(in_order_of(engine, table))
    assert dict(fleet.counts_) == dict(expected.counts_)
    assert list(fleet) == list(expected)
    assert len(fleet) == 3
    for key in expected:
        assert fleet[key].model_.to_bytes() == expected[key].model_.to_bytes()
    assert fleet.pooled_.model_.to_bytes() == expected.pooled_.model_.to_bytes()


def in_order_of(engine, table: pa.Table) -> pa.Table:
    """The rows in the order that they have in the engine: Spark deals them out."""
    if engine.name != "spark":
        return table
    return engine.table(engine.data(table, 2))


def test_groups_too_small_are_refused_if_asked(engine, grouped):
    data = engine.data(grouped.drop_columns(["id"]))
    with pytest.raises(ValueError, match=r"1 group \('m-3'\) with fewer than min_rows=50 rows: lower min_rows"):
        engine.module.fit_groups(data, estimator(), "machine", unseen="error")
    with pytest.raises(TableError, match="data lacks columns that name groups: 'zzz'"):
        engine.module.fit_groups(data, estimator(), "zzz")


def test_scores_of_a_fleet_are_those_of_one_machine(engine, grouped, tmp_path):
    fleet = local_fleet(grouped, ["site", "machine"])
    data, scorer = engine.data(grouped), FleetScorer(fleet, keep=["id"], top_features=2)
    expected = pa.Table.from_batches(list(scorer.score(grouped)))
    fleet.save(tmp_path / "fleet.safetensors")
    for given in (fleet, tmp_path / "fleet.safetensors"):
        scored = engine.module.score_groups(data, given, keep=["id"], top_features=2)
        assert alike(engine.table(scored), expected)
    with pytest.raises(TypeError, match=r"fleet must be an aefast.Fleet, or the path or bytes of a fleet file"):
        engine.module.score_groups(data, small_model())


def test_detect_with_a_fleet_controls_the_rate_over_all_groups(engine, grouped):
    fleet = local_fleet(grouped, "machine")
    grouped = with_values(grouped, "c", dict.fromkeys(range(0, 900, 30), 50.0))
    mask = fleet.detect(grouped.drop_columns(["id"]), fdr=0.3)
    found = engine.table(engine.module.detect(engine.data(grouped), fleet, fdr=0.3, keep=["id"]))
    assert 0 < mask.sum() < 300
    assert sorted(found["id"].to_pylist()) == grouped.filter(pa.array(mask))["id"].to_pylist()


def test_examples_of_the_docstrings_run(engine):
    names = {}
    for name in ("score", "detect", "fit", "fit_groups", "score_groups"):
        function = getattr(engine.module, name)
        code = inspect.getdoc(function).partition("Examples\n--------\n::\n")[2]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            exec(textwrap.dedent(code), names)
    assert engine.table(names["scored"]).column_names == ["id", "anomaly_score", "p_value", "is_anomaly"]
    assert isinstance(names["model"], aefast.Autoencoder)
    assert len(names["fleet"]) == 3


def test_the_page_of_the_documentation_runs_and_finds_the_faults(engine, tmp_path, monkeypatch, capsys):
    found = engine.table(run_page(engine.name, tmp_path, monkeypatch)["found"])
    assert set(range(10_995, 11_000)) <= set(found["id"].to_pylist())
    assert len(found) < 20


def test_errors_of_rows_can_be_pickled():
    assert str(pickle.loads(pickle.dumps(BadRowError("row")))) == "row"
