"""Drift by column: what a model keeps of its training columns, and what it says about rows that differ from them."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score

import aefast
from aefast import Autoencoder, ScoreSketch
from aefast.engine import core
from aefast.jobs.drift import shares_in_training
from aefast.model.drift import LEAST_ROWS, drift_of, stability_index
from aefast.model.reference import BINS, ColumnCounter, ColumnCounts, edges_of, runs
from aefast.model.scaling import FeatureScaling
from small_tables import done, run_command, write_table

QUICK = {"encoder_layer_sizes": (8, 3), "max_epochs": 2, "random_state": 0, "n_threads": 1}


def table(n_rows, seed=0, start="2024-01-01", minutes=20):
    """Numbers, levels, gaps and times, whose amounts and levels depend on the weekday."""
    rng = np.random.default_rng(seed)
    times = pd.Timestamp(start) + pd.to_timedelta(np.arange(n_rows) * minutes, unit="min")
    is_weekend = times.day_of_week.to_numpy() > 4
    hours = times.hour.to_numpy() / 24 * 2 * np.pi
    amount = np.exp(rng.normal(3 + 0.5 * is_weekend, 0.5))
    kind = np.where(rng.random(n_rows) < 0.4 + 0.3 * is_weekend, "x", "y")
    gaps = np.where(rng.random(n_rows) < 0.05, np.nan, rng.normal(size=n_rows))
    return pd.DataFrame(
        {
            "at": times,
            "amount": amount,
            "heat": 20 + 5 * np.sin(hours) + rng.normal(size=n_rows),
            "gaps": gaps,
            "kind": kind,
            "city": rng.choice(list("abcdef"), n_rows),
        }
    )


@pytest.fixture(scope="module")
def history():
    return Autoencoder(missing="mask", **QUICK).fit(table(28 * 72))


def day(number, seed=0):
    """One day after the 28 days of history."""
    start = pd.Timestamp("2024-01-29") + pd.Timedelta(days=number)
    return table(1440, seed=100 * seed + number, start=start, minutes=1)


def drift(model, rows):
    return ScoreSketch(model).update(rows).drift()


# The measures, against plain formulas.


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16, np.int16, np.int64])
def test_values_above_limits_are_counted(dtype):
    rng = np.random.default_rng(0)
    X = (10 * rng.normal(size=(5000, 3))).astype(dtype)
    limits = np.sort(10 * rng.normal(size=(3, 4)), axis=1)
    if np.issubdtype(dtype, np.floating):
        X[7, 1] = np.nan
    seen = limits.astype(np.float32 if np.dtype(dtype).itemsize < 4 or dtype is np.float32 else np.float64)
    expected = (X[:, :, None] > seen).sum(axis=0)
    for rows in (X, np.asfortranarray(X), X[::-1], [np.ascontiguousarray(column) for column in X.T]):
        above, missing = core.count_above(rows, limits, 2)
        np.testing.assert_array_equal(above, expected)
        np.testing.assert_array_equal(missing, np.isnan(X.astype(float)).sum(axis=0))


def test_the_engine_refuses_limits_for_other_columns():
    with pytest.raises(ValueError, match="limits"):
        core.count_above(np.zeros((3, 2)), np.zeros((3, 2)), 1)


def scaling(kind, d):
    return FeatureScaling(kind, np.zeros(d), np.ones(d), np.zeros(d))


def test_bins_are_the_quantiles_of_training_and_what_lies_beyond_them():
    values = np.random.default_rng(0).permutation(np.arange(1, 1401.0))[:, None]
    counter = ColumnCounter(edges_of(values, None), None, scaling(None, 1), 1)
    assert counter(values).bins.tolist() == [[0, *[100] * 14, 0]]
    assert counter(np.array([[-5.0], [0.5], [1500.0]])).bins[0, [0, -1]].tolist() == [2, 1]


@pytest.mark.parametrize("unit", [1e-3, 1.0, 0.1, 1e6])
def test_a_value_has_the_same_bin_in_single_and_double_precision(unit):
    values = unit * np.random.default_rng(0).integers(0, 40, size=(3000, 1)).astype(float)
    counter = ColumnCounter(edges_of(values, None), None, scaling(None, 1), 1)
    bins = counter(values).bins
    np.testing.assert_array_equal(counter(values.astype(np.float32)).bins, bins)
    assert bins[0, [0, -1]].tolist() == [0, 0]
    assert bins.sum() == 3000


def test_a_constant_that_changes_is_outside_its_bins():
    for value in (0.0, 0.0005, 500.0):
        values = np.full((400, 1), value)
        counter = ColumnCounter(edges_of(values, None), None, scaling(None, 1), 1)
        others = counter(values * 1.2 + (value == 0))
        assert counter(values).bins[0, -1] == 0
        assert others.bins[0, -1] == 400


def test_clipped_values_are_those_beyond_the_limit_of_the_scaler():
    X = np.array([[-11.0], [-10.0], [0.0], [10.0], [10.1], [np.nan]])
    assert ColumnCounter(np.zeros((1, 15)), None, scaling("deciles", 1), 1)(X).clipped.tolist() == [2]
    assert ColumnCounter(np.zeros((1, 15)), None, scaling("standard", 1), 1)(X).clipped.tolist() == [0]


def test_the_stability_index_is_that_of_the_literature_less_its_expectation():
    before, after = np.array([[100, 200, 300, 400]]), np.array([[40, 30, 20, 10]])
    p, q = (before[0] + 5) / 1020, (after[0] + 0.5) / 102
    expected = ((p - q) * np.log(p / q)).sum() - 3 * (1 / 1000 + 1 / 100)
    index, is_beyond_chance = stability_index(before, after)
    np.testing.assert_allclose(index, [expected])
    assert is_beyond_chance.tolist() == [stats.chi2_contingency([before[0], after[0]]).pvalue < 0.001]


def test_an_empty_bin_counts_the_same_however_many_rows_there_are():
    before, after = np.array([[2000, 2000, 2000, 2000]]), np.array([[0, 30, 30, 40]])
    few, many, most = (stability_index(before, after * n)[0] + 3 / (100 * n) for n in (1, 10, 200))
    np.testing.assert_allclose([many, most], [few, few], rtol=1e-12)


def test_chance_is_excluded_as_often_as_the_test_says():
    rng = np.random.default_rng(0)
    shares = np.arange(1, 17) / 136
    before, after = (rng.multinomial(n, shares, size=4000) for n in (5000, 300))
    _, beyond = stability_index(before, after, 0.01)
    assert 0.003 < beyond.mean() < 0.02
    exact = [stats.chi2_contingency(pair).pvalue < 0.01 for pair in np.stack([before, after], axis=1)[:500]]
    assert (beyond[:500] == exact).mean() > 0.98


def test_counts_of_parts_add_up_and_survive_packing():
    X = np.random.default_rng(0).normal(size=(500, 3))
    counter = ColumnCounter(edges_of(X, None), None, scaling("deciles", 3), 1)
    added = ColumnCounts.none(3) + counter(X[:100]) + counter(X[100:])
    np.testing.assert_array_equal(added.packed(), counter(X).packed())
    again = ColumnCounts.unpacked(500, added.packed())
    assert again.packed().tolist() == added.packed().tolist()
    with pytest.raises(ValueError, match="499"):
        ColumnCounts.unpacked(499, added.packed())


def test_runs_are_consecutive_and_long_enough():
    assert [(r.start, r.stop) for r in runs(200, 20, 50)] == [(0, 50), (50, 100), (100, 150), (150, 200)]
    assert list(runs(99, 20, 50)) == []


# What a model keeps.


def test_a_model_keeps_what_its_columns_held(history, tmp_path):
    reference = history.model_.reference
    assert reference.counts.n_rows == 28 * 72
    by_name = dict(zip(history.feature_names_in_, reference.counts.missing / reference.counts.n_rows, strict=True))
    assert by_name["amount"] == 0
    assert by_name["gaps"] == pytest.approx(0.05, abs=0.02)
    history.save(tmp_path / "m")
    again = aefast.load(tmp_path / "m").model_.reference
    np.testing.assert_array_equal(again.edges, reference.edges)
    np.testing.assert_array_equal(again.counts.packed(), reference.counts.packed())
    np.testing.assert_allclose(again.worst, reference.worst, rtol=1e-6)
    assert again.distance == reference.distance


def test_a_model_file_of_before_has_no_reference_and_says_so(tmp_path):
    model = Autoencoder(**QUICK).fit(np.random.default_rng(0).normal(size=(300, 4)))
    old = model.model_.replace(reference=None)
    old.save(tmp_path / "old")
    again = aefast.load(tmp_path / "old")
    assert again.model_.reference is None
    found = drift(again, 100 * np.ones((50, 4)))
    assert (found.verdict, bool(found)) == ("unknown", False)
    assert "fit again" in str(found)
    assert "100 %" in str(found)
    assert again.model_.digest() == model.model_.digest()


def test_a_damaged_reference_is_refused():
    model = Autoencoder(**QUICK).fit(np.random.default_rng(0).normal(size=(300, 4))).model_
    for change in (
        {"edges": model.reference.edges[:, ::-1].copy()},
        {"worst": model.reference.worst - 1},
        {"distance": 2.0},
        {"edges": np.full_like(model.reference.edges, np.nan)},
    ):
        with pytest.raises(ValueError, match="could not be loaded again"):
            model.replace(reference=replace(model.reference, **change)).to_bytes()


def test_the_days_of_training_say_how_much_days_differ(history):
    worst = dict(zip(history.feature_names_in_, history.model_.reference.worst[:, 3], strict=True))
    assert worst["amount"] > 0.1  # weekends differ
    assert worst["city"] < 0.15


def test_a_stream_keeps_the_same_as_the_rows_in_memory(history):
    rows = table(28 * 72)
    blocks = [rows[:500], rows[500:600], rows[600:]]
    for given in (blocks, iter(blocks)):
        streamed = Autoencoder(missing="mask", **QUICK).fit_batches(given).model_.reference
        assert streamed.counts.n_rows == 28 * 72
        np.testing.assert_allclose(streamed.worst[:, 3], history.model_.reference.worst[:, 3], atol=0.08)


def test_rows_of_weight_zero_are_not_part_of_it():
    X = np.random.default_rng(0).normal(size=(600, 3))
    X[:300] += 50
    weights = np.repeat([0.0, 1.0], 300)
    model = Autoencoder(**QUICK).fit(X, sample_weight=weights)
    assert model.model_.reference.counts.n_rows == 300
    assert drift(model, X[:300]).verdict == "drift"
    heavy = Autoencoder(**QUICK).fit(X, sample_weight=np.repeat([0.01, 1.0], 300))
    assert 300 <= heavy.model_.reference.counts.n_rows < 320


# What is said.


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_clean_days_do_not_drift(history, seed):
    for number in range(7):
        found = drift(history, day(number, seed))
        assert found.verdict == "no drift", str(found)


CHANGES = {
    "unit": ("amount", "clipped", lambda x: x.assign(amount=x.amount * 100)),
    "shift": ("heat", "index", lambda x: x.assign(heat=x.heat + 5)),
    "stuck": ("heat", "index", lambda x: x.assign(heat=20.0)),
    "outage": ("gaps", "missing", lambda x: x.assign(gaps=np.nan)),
    "level": ("city", "unknown", lambda x: x.assign(city="elsewhere")),
    "some": ("city", "unknown", lambda x: x.assign(city=np.where(np.arange(len(x)) % 10, x.city, "elsewhere"))),
    "share": ("kind", "index", lambda x: x.assign(kind="x")),
}


@pytest.mark.parametrize(("column", "measure", "change"), CHANGES.values(), ids=CHANGES)
@pytest.mark.parametrize("number", [1, 5])
def test_drift_names_the_column(history, column, measure, change, number):
    found = drift(history, change(day(number)))
    assert found.verdict == "drift"
    assert [each.name for each in found.drifted] == [column]
    assert measure in found.drifted[0].drifted
    assert f"drift in 1 of 6 columns: '{column}'" in str(found)
    plain = found.as_plain()
    assert (plain["verdict"], plain["drifted"]) == ("drift", [column])


def test_frames_arrow_tables_and_batches_say_the_same(history):
    rows = CHANGES["unit"][2](day(0))
    arrow = pa.Table.from_pandas(rows, preserve_index=False)
    texts = {str(drift(history, given)) for given in (rows, arrow, arrow.to_batches()[0])}
    assert len(texts) == 1


def test_one_row_and_few_rows_are_not_compared(history):
    odd = CHANGES["unit"][2](day(0))
    for n_rows in (1, LEAST_ROWS - 1):
        assert drift(history, odd[:n_rows]).verdict == "too few rows"
    assert drift(history, odd[:LEAST_ROWS]).verdict == "drift"


def test_scores_can_drift_while_no_column_does():
    rng = np.random.default_rng(0)

    def rows(n, sign):
        a = rng.normal(size=(n, 1))
        return np.hstack([a, sign * a, a, a]) + 0.05 * rng.normal(size=(n, 4))

    model = Autoencoder((8, 1), max_epochs=30, random_state=0, n_threads=1).fit(rows(3000, 1))
    assert drift(model, rows(1000, 1)).verdict == "no drift"
    found = drift(model, rows(1000, -1))
    assert (found.verdict, found.scores, found.drifted) == ("drift", True, ())
    assert "the scores are higher (distance" in str(found)


def test_scores_of_rows_that_were_learned_are_said_to_be_lower():
    X = np.random.default_rng(0).normal(size=(400, 20))
    model = Autoencoder(random_state=0, n_threads=1).fit(X)
    found = drift(model, X)
    assert found.scores
    assert "the scores are lower, as of rows that were learned" in str(found)


def test_a_table_of_many_columns_says_at_most_so_many():
    counts = ColumnCounts(50, *np.zeros((3, 300), dtype=np.int64), np.tile([50, *[0] * (BINS - 1)], (300, 1)))
    found = drift_of([f"x{j}" for j in range(300)], counts, None)
    assert len(found.as_plain()["columns"]) == 100


# Estimators.


def test_fit_shows_the_shares_of_training():
    rows = table(600).assign(city=[f"place {i // 2}" for i in range(600)])
    model = Autoencoder(missing="mask", **QUICK).fit(rows)
    city = next(column for column in model.drift_.columns if column.name == "city")
    assert model.drift_.verdict == "no drift"
    assert city.unknown == pytest.approx(1 - 128 / 600)
    assert not hasattr(Autoencoder(), "drift_")


def test_further_training_and_recalibration_say_what_differs():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(2000, 4))
    changed = X * [1, 1, 5, 1]
    model = Autoencoder(**QUICK).fit(X)
    assert model.recalibrate(X[:500]).drift_.verdict == "no drift"
    ways = (
        lambda model: model.recalibrate(changed),
        lambda model: model.partial_fit(changed),
        lambda model: model.set_params(warm_start=True).fit(changed),
        lambda model: model.set_params(warm_start=True).fit_batches([changed[:900], changed[900:]]),
    )
    for further in ways:
        again = further(Autoencoder(**QUICK).fit(X))
        assert [column.name for column in again.drift_.drifted] == ["x2"]
    # The last training was on such rows.
    assert again.recalibrate(changed).drift_.verdict == "no drift"


@pytest.mark.parametrize("scaler", ["deciles", "standard", "robust", None])
@pytest.mark.parametrize("score_metric", ["mse", "auto"])
def test_recalibration_on_rows_beyond_the_range_is_refused(scaler, score_metric):
    X = np.random.default_rng(0).normal(size=(600, 4))
    model = Autoencoder(scaler=scaler, score_metric=score_metric, **QUICK).fit(X)
    before = model.model_
    with pytest.raises(ValueError, match="most of these rows are beyond the range that the model learned"):
        model.recalibrate(X * 400 + 5000)
    assert model.model_ is before
    model.recalibrate(X * 1.5 + 0.3)


def test_one_column_in_another_unit_refuses_recalibration_by_its_name():
    X = np.random.default_rng(0).normal(size=(600, 20))
    model = Autoencoder(**QUICK).fit(X)
    X[:, 7] = 1000 + X[:, 7]
    with pytest.raises(ValueError, match="'x7' has values beyond the limit of the scaler"):
        model.recalibrate(X)
    old = Autoencoder(**QUICK).fit(X[:, :7])
    old.model_ = old.model_.replace(reference=None)
    with pytest.raises(ValueError, match="beyond the range"):
        old.recalibrate(X[:, :7] * 1000)


# A first block that is unlike the rest.


def correlated(n_rows, seed):
    rng = np.random.default_rng(seed)
    return 300 + 50 * (rng.normal(size=(n_rows, 3)) @ np.random.default_rng(9).normal(size=(3, 8)))


def quality(model):
    odd = correlated(50, 1) + 80 * np.random.default_rng(2).normal(size=(50, 8))
    rows = np.vstack([correlated(500, 3), odd])
    return roc_auc_score(np.repeat([0, 1], [500, 50]), model.reconstruction_error(rows))


def test_the_scaler_follows_the_first_rows_of_a_stream():
    first, others = np.zeros((100, 8)), [correlated(100, 10 + i) for i in range(30)]
    whole = Autoencoder(random_state=0, n_threads=1).fit(np.vstack([first, *others]))
    model = Autoencoder(random_state=0, n_threads=1)
    for block in (first, *others):
        model.partial_fit(block)
    assert quality(model) > quality(whole) - 0.02
    assert model.continuation_.early is None
    scale = model.scaler_scale_
    assert model.partial_fit(others[0] * 2).scaler_scale_ is scale
    streamed = Autoencoder(random_state=0, n_threads=1).fit_batches(iter([first, *others]))
    assert quality(streamed) > quality(whole) - 0.02


def test_a_refused_call_leaves_the_rows_so_far():
    model = Autoencoder(**QUICK).partial_fit(correlated(100, 0))
    bad = correlated(100, 1)
    bad[3, 2] = np.inf
    with pytest.raises(ValueError, match="infinity"):
        model.partial_fit(bad)
    assert len(model.continuation_.early[0]) == 100
    model.partial_fit(correlated(100, 1))
    assert len(model.continuation_.early[0]) == 200
    assert model.model_.reference.counts.n_rows == 200


def test_clipped_training_rows_are_warned_of():
    zeros, rows = np.zeros((2500, 8)), correlated(500, 0)
    with pytest.warns(
        UserWarning, match=r"up to 100% of the values are clipped, in 'x0', 'x1', 'x2' and 5 more"
    ) as told:
        Autoencoder(**QUICK).partial_fit(zeros).partial_fit(rows)
    assert told[0].filename == __file__
    with pytest.warns(UserWarning, match=r"up to 17% of the values are clipped.*first rows"):
        Autoencoder(**QUICK).fit_batches(iter([zeros, rows]))
    model = Autoencoder(warm_start=True, **QUICK).fit(rows)
    scale = model.scaler_scale_
    assert len(model.fit(rows * 100).drift_.drifted) == 8
    np.testing.assert_allclose(model.scaler_scale_, 100 * scale)  # a warm start outgrows its scaler
    with pytest.warns(UserWarning, match="are clipped"):
        Autoencoder(**QUICK).fit(rows).partial_fit(rows * 100)
    Autoencoder(**QUICK).fit_batches([zeros, rows])  # a list is read for the scaler first
    Autoencoder(**QUICK).fit(np.vstack([zeros, rows]))


# Commands.


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("drift")
    for name, rows in {"history": table(28 * 72), "clean": day(0), "unit": CHANGES["unit"][2](day(0))}.items():
        write_table(pa.Table.from_pandas(rows, preserve_index=False), folder / f"{name}.parquet")
    done("fit", folder / "history.parquet", "-o", folder / "m", "--epochs", 2, "--missing", "mask")
    return folder


@pytest.mark.parametrize("name", ["clean", "unit"])
def test_commands_say_in_one_line_what_differs(folder, name):
    import json

    model, rows = folder / "m", folder / f"{name}.parquet"
    says = {"clean": "no drift in 1,440 rows", "unit": "1 of 6 columns: 'amount' (100 % clipped"}[name]
    text = done("score", model, rows, "-o", folder / "out.parquet")
    assert says in next(line for line in text.splitlines() if line.strip().startswith("drift"))
    plain = json.loads(done("score", model, rows, "-o", folder / "out.parquet", "--json"))["drift"]
    assert (plain["verdict"], plain["rows"]) == ({"clean": "no drift", "unit": "drift"}[name], 1440)
    assert set(plain["columns"]["amount"]) == {"missing", "unknown", "clipped", "index", "training", "drifted"}
    recalibrated = run_command("recalibrate", model, rows, "-o", folder / "m2")
    if name == "clean":
        assert says in recalibrated.stdout
    else:
        assert recalibrated.exit_code == 1
        assert "'amount' has values beyond the limit" in recalibrated.stderr


def test_fit_says_which_columns_have_values_that_were_not_learned(tmp_path):
    rows = table(600).assign(city=[f"place {i // 2}" for i in range(600)])
    write_table(pa.Table.from_pandas(rows, preserve_index=False), tmp_path / "t.parquet")
    text = done("fit", tmp_path / "t.parquet", "-o", tmp_path / "m", "--epochs", 1, "--missing", "mask")
    assert "city (78.7 % not among its levels), gaps (7 % missing)" in text


def test_a_long_job_compares_a_share_of_its_rows(folder, monkeypatch):
    import json

    from aefast.jobs import drift as counting

    monkeypatch.setattr(counting, "_ALL", 300)
    arguments = ("score", folder / "m", folder / "unit.parquet", "-o", folder / "out.parquet", "--json")
    plain = json.loads(done(*arguments, "--batch-rows", 160))["drift"]
    assert plain["rows"] == 9 * 10
    assert plain["drifted"] == ["amount"]


def test_a_resumed_job_compares_the_rows_that_it_reads(folder, tmp_path):
    import json

    arguments = ("score", folder / "m", folder / "unit.parquet", "-o", tmp_path / "out.parquet", "--json")
    assert json.loads(done(*arguments))["drift"]["rows"] == 1440
    again = json.loads(done(*arguments, "--resume"))["drift"]
    assert (again["rows"], again["verdict"]) == (0, "too few rows")
    assert "drift" not in done(*arguments[:-1], "--resume")


@pytest.mark.parametrize(("n_columns", "end"), [(4, ""), (5, " and 1 column more"), (7, " and 3 columns more")])
def test_few_columns_with_gaps_in_training_are_named(n_columns, end):
    rows = np.random.default_rng(0).normal(size=(400, n_columns))
    rows[:20] = np.nan
    found = shares_in_training(Autoencoder(missing="mask", **QUICK).fit(rows).drift_)
    assert found == ", ".join(f"x{j} (5 % missing)" for j in range(4)) + end
