"""Fleets: each group's estimator is the one fitted to its rows alone, whatever the order and the threads."""

import doctest
import pickle
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

import aefast
from aefast import Autoencoder, Fleet
from aefast.model.false_discoveries import benjamini_hochberg

COLUMNS = ["a", "b", "c", "d"]
N = {"m-1": 130, "m-2": 90, "m-3": 200, "small": 12}
FAST = {"encoder_layer_sizes": (6, 2), "max_epochs": 8, "random_state": 0}


def table_of(seed=0, sizes=N, shuffled=True):
    """A table of numbers in which each group has a correlation and a place of its own."""
    rng = np.random.default_rng(seed)
    parts = []
    for place, (name, n) in enumerate(sizes.items()):
        X = rng.normal(size=(n, 2)) @ np.random.default_rng(place).normal(size=(2, 4)) + place
        parts.append(pd.DataFrame(X + 0.2 * rng.normal(size=X.shape), columns=COLUMNS).assign(machine=name))
    table = pd.concat(parts, ignore_index=True)
    return table.sample(frac=1, random_state=seed).reset_index(drop=True) if shuffled else table


TABLE = table_of()


def rows_of(table, key, by="machine"):
    return table[table[by] == key].drop(columns=by)


def assert_same_model(one, other):
    one, other = one.model_, other.model_
    assert one.to_bytes() == other.to_bytes()


@pytest.fixture(scope="module")
def fleet():
    return Fleet(Autoencoder(**FAST), by="machine", min_rows=50).fit(TABLE)


ESTIMATORS = {
    "plain": Autoencoder(**FAST),
    "float64": Autoencoder(**FAST, dtype="float64"),
    "mse": Autoencoder(**FAST, score_metric="mse"),
    "starts": Autoencoder(**FAST, n_init=2),
    "denoising": aefast.DenoisingAutoencoder(**FAST),
    "sparse": aefast.SparseAutoencoder((12,), max_epochs=8, random_state=0),
    "contractive": aefast.ContractiveAutoencoder(**FAST),
    "variational": aefast.VariationalAutoencoder(**FAST),
    "generator": Autoencoder(**{**FAST, "random_state": np.random.RandomState(3)}),
    "callback": Autoencoder(**FAST, callbacks=lambda info: info.epoch == 4),
}


@pytest.mark.parametrize("kind", ESTIMATORS)
def test_every_group_is_as_if_fitted_and_scored_alone(kind):
    fleet = Fleet(ESTIMATORS[kind], by="machine", min_rows=50).fit(TABLE)
    assert list(fleet) == ["m-1", "m-2", "m-3"]
    found = {
        "reconstruction_error": fleet.reconstruction_error(TABLE),
        "score_samples": fleet.score_samples(TABLE),
        "decision_function": fleet.decision_function(TABLE),
        "predict": fleet.predict(TABLE),
        "p_values": fleet.p_values(TABLE),
    }
    for key, estimator in fleet.items():
        own = rows_of(TABLE, key)
        alone = clone(ESTIMATORS[kind]).fit(own)
        assert_same_model(alone, estimator)
        for method, values in found.items():
            np.testing.assert_array_equal(values[own.index], getattr(alone, method)(own))


def as_arrow(table):
    return pa.Table.from_pandas(table, preserve_index=False)


def mixed(table):
    rng = np.random.default_rng(1)
    kinds = np.where(table["a"] > table["b"], "high", "low")
    kinds[table["machine"] == "m-2"] = rng.choice(["x", "y", "z"], size=(table["machine"] == "m-2").sum())
    when = pd.Timestamp("2024-01-01") + pd.to_timedelta(rng.integers(0, 10**6, size=len(table)), unit="s")
    return table.assign(kind=kinds, when=when, flag=table["c"] > 0)


def with_gaps(table):
    gaps = np.random.default_rng(2).random((len(table), 4)) < 0.1
    return table.assign(**table[COLUMNS].mask(gaps))


KINDS = {
    "frame": (Autoencoder(**FAST), TABLE),
    "float32": (Autoencoder(**FAST), TABLE.astype(dict.fromkeys(COLUMNS, np.float32))),
    "integers": (Autoencoder(**FAST), (100 * TABLE[COLUMNS]).astype(int).assign(machine=TABLE["machine"])),
    "arrow": (Autoencoder(**FAST), as_arrow(TABLE)),
    "missing": (Autoencoder(**FAST, missing="mask"), with_gaps(TABLE)),
    "means": (Autoencoder(**FAST, missing="mean"), as_arrow(with_gaps(TABLE))),
    "mixed": (Autoencoder(**FAST), mixed(TABLE)),
    "mixed arrow": (Autoencoder(**FAST, missing="mask"), as_arrow(mixed(with_gaps(TABLE)))),
}


def alone_of(table, key):
    frame = table if isinstance(table, pd.DataFrame) else table.to_pandas()
    numbers = np.flatnonzero(frame["machine"] == key)
    if isinstance(table, pd.DataFrame):
        return numbers, frame.iloc[numbers].drop(columns="machine")
    return numbers, table.take(pa.array(numbers)).drop_columns(["machine"])


@pytest.mark.parametrize("kind", KINDS)
def test_groups_of_every_kind_of_table_are_as_if_alone(kind):
    estimator, table = KINDS[kind]
    fleet = Fleet(estimator, by="machine", min_rows=50).fit(table)
    errors, p_values, explained = fleet.reconstruction_error(table), fleet.p_values(table), fleet.explain(table, top=2)
    for key in ("m-1", "m-2", "m-3"):
        numbers, own = alone_of(table, key)
        alone = clone(estimator).fit(own)
        assert_same_model(alone, fleet[key])
        np.testing.assert_array_equal(errors[numbers], alone.reconstruction_error(own))
        np.testing.assert_array_equal(p_values[numbers], alone.p_values(own))
        expected = alone.explain(own, top=2)
        expected["row"] = numbers[expected["row"]]
        found = explained[explained["row"].isin(numbers)].reset_index(drop=True)
        pd.testing.assert_frame_equal(found, expected)
    assert explained["row"].is_monotonic_increasing


def test_one_row_is_scored_by_its_group(fleet):
    for row in (0, 7, 100):
        one = TABLE.iloc[[row]]
        assert fleet.reconstruction_error(one)[0] == fleet.reconstruction_error(TABLE)[row]
        assert fleet.p_values(one).shape == (1,)


@pytest.mark.parametrize("n_threads", [1, 2, 5])
def test_threads_and_order_of_groups_do_not_matter(fleet, n_threads):
    rng = np.random.default_rng(n_threads)
    # Groups are mixed anew, while the rows of each group keep their order.
    order = np.lexsort([np.arange(len(TABLE)), rng.permutation(len(TABLE))])
    places = {key: iter(np.flatnonzero(TABLE["machine"] == key)) for key in N}
    order = np.array([next(places[key]) for key in TABLE["machine"].iloc[order]])
    other = TABLE.iloc[order].reset_index(drop=True)
    with aefast.threads(n_threads):
        again = Fleet(Autoencoder(**FAST), by="machine", min_rows=50).fit(other)
    for key in fleet:
        assert_same_model(fleet[key], again[key])
    assert_same_model(fleet.pooled_, again.pooled_)
    np.testing.assert_array_equal(again.reconstruction_error(other), fleet.reconstruction_error(TABLE)[order])


def test_the_number_of_threads_of_the_estimator_is_kept():
    fleet = Fleet(Autoencoder(**FAST, n_threads=2), by="machine", unseen="error").fit(
        TABLE[TABLE["machine"] != "small"]
    )
    assert fleet["m-1"].n_threads == fleet["m-1"].model_.n_threads == 2
    assert_same_model(fleet["m-1"], Autoencoder(**FAST, n_threads=2).fit(rows_of(TABLE, "m-1")))


def test_groups_beside_arrays_and_tuples_of_columns():
    X, machine = TABLE[COLUMNS].to_numpy(), TABLE["machine"].to_numpy()
    fleet = Fleet(Autoencoder(**FAST)).fit(X, groups=machine)
    errors = fleet.reconstruction_error(X, groups=machine)
    alone = Autoencoder(**FAST).fit(X[machine == "m-2"])
    np.testing.assert_array_equal(errors[machine == "m-2"], alone.reconstruction_error(X[machine == "m-2"]))

    parity = np.arange(len(X)) % 2
    pairs = Fleet(Autoencoder(**FAST), by=["machine", "parity"], min_rows=40).fit(TABLE.assign(parity=parity))
    beside = Fleet(Autoencoder(**FAST), min_rows=40).fit(X, groups=TABLE[["machine"]].assign(parity=parity))
    assert list(pairs) == list(beside)
    assert ("m-3", 1) in pairs
    np.testing.assert_array_equal(pairs["m-3", 1].coefs_[0], beside["m-3", 1].coefs_[0])
    assert list(pairs.by_group(TABLE.assign(parity=parity)).columns[:2]) == ["machine", "parity"]
    with pytest.raises(ValueError, match="groups must have several values for each row, as in fit"):
        beside.predict(X, groups=machine)


def test_images_have_fleets_too():
    images, groups = np.random.default_rng(0).random((160, 4, 4, 1)), np.repeat(["a", "b"], 80)
    estimator = aefast.ConvolutionalAutoencoder((4, 4, 1), channels=(3,), max_epochs=2, random_state=0)
    fleet = Fleet(estimator).fit(images, groups=groups)
    alone = clone(estimator).fit(images[80:])
    np.testing.assert_array_equal(
        fleet.reconstruction_error(images, groups=groups)[80:], alone.reconstruction_error(images[80:])
    )
    assert fleet["a"].image_shape_ == (4, 4, 1)


# Groups without an estimator.


def test_small_and_unseen_groups_use_the_pooled_model(fleet):
    assert fleet.counts_ == N
    assert "small" not in fleet
    table = TABLE.assign(machine=TABLE["machine"].replace("m-1", "new"))
    errors = fleet.reconstruction_error(table)
    others = table["machine"].isin(["new", "small"]).to_numpy()
    own = table[others].drop(columns="machine")
    np.testing.assert_array_equal(errors[others], fleet.pooled_.reconstruction_error(own))
    np.testing.assert_array_equal(fleet.p_values(table)[others], fleet.pooled_.p_values(own))
    np.testing.assert_array_equal(fleet.predict(table)[others], fleet.pooled_.predict(own))
    np.testing.assert_array_equal(errors[~others], fleet.reconstruction_error(TABLE)[~others])
    counted = fleet.by_group(table).set_index("machine")
    assert counted["is_own"].to_dict() == {"m-2": True, "m-3": True, "new": False, "small": False}
    assert counted["rows"].to_dict() == {"m-2": 90, "m-3": 200, "new": 130, "small": 12}


def test_small_and_unseen_groups_are_refused_and_counted():
    estimator = Fleet(Autoencoder(**FAST), by="machine", min_rows=50, unseen="error")
    with pytest.raises(ValueError, match=r"1 group \('small'\) with fewer than min_rows=50 rows: lower min_rows"):
        estimator.fit(TABLE)
    with pytest.raises(NotFittedError):
        estimator.predict(TABLE)
    fleet = estimator.fit(TABLE[TABLE["machine"] != "small"])
    assert fleet.pooled_ is None
    for method in ("reconstruction_error", "predict", "decision_function", "p_values", "detect", "explain", "by_group"):
        with pytest.raises(
            ValueError, match=r"12 rows belong to 1 group \('small'\) without a model; leave these rows"
        ):
            getattr(fleet, method)(TABLE)


def test_the_pooled_model_learns_evenly_from_all_groups(monkeypatch):
    monkeypatch.setattr("aefast.estimators.group_fits.POOLED_ROWS", 100)
    sizes = {"large": 400, "middle": 60, "few": 10}
    seen = []
    estimator = aefast.DenoisingAutoencoder(
        noise=lambda batch: seen.append(len(batch)) or batch, **{**FAST, "max_epochs": 1, "score_metric": "mse"}
    )
    Fleet(estimator, by="machine", min_rows=1000).fit(table_of(sizes=sizes))
    # 10 + 45 + 45 rows, of which a tenth is held out.
    assert sum(seen) == 90


def test_all_groups_may_be_too_small():
    fleet = Fleet(Autoencoder(**FAST), by="machine", min_rows=1000).fit(TABLE)
    assert len(fleet) == 0
    own = TABLE.drop(columns="machine")
    np.testing.assert_array_equal(fleet.reconstruction_error(TABLE), fleet.pooled_.reconstruction_error(own))


def test_a_group_that_cannot_be_learned_is_left_to_the_pooled_model():
    table = with_gaps(TABLE)
    table.loc[table["machine"] == "m-2", "c"] = np.nan
    fleet = Fleet(Autoencoder(**FAST, missing="mask"), by="machine")
    with pytest.warns(UserWarning, match="1 group could not be learned, the first is 'm-2': column 'c' has no value"):
        fleet.fit(table)
    assert list(fleet) == ["m-1", "m-3"]
    assert np.isfinite(fleet.reconstruction_error(table)).all()
    with pytest.raises(ValueError, match="could not be learned, the first is 'm-2'"):
        clone(fleet).set_params(unseen="error", min_rows=1).fit(table)


def test_a_missing_group_is_a_group():
    table = TABLE.assign(machine=TABLE["machine"].replace("m-2", None))
    fleet = Fleet(Autoencoder(**FAST), by="machine").fit(table)
    assert list(fleet) == [None, "m-1", "m-3"]
    np.testing.assert_array_equal(fleet[None].coefs_[0], Autoencoder(**FAST).fit(rows_of(TABLE, "m-2")).coefs_[0])


# Decisions.


def test_detection_is_over_the_rows_of_all_groups():
    table = table_of(sizes={"m-1": 400, "m-2": 600, "new": 20})
    fleet = Fleet(Autoencoder(**FAST), by="machine").fit(table)
    table = pd.concat([table, table.iloc[:300].assign(a=50.0, b=-50.0)], ignore_index=True)
    p_values = fleet.p_values(table)
    found = fleet.detect(table, fdr=0.2)
    np.testing.assert_array_equal(found, benjamini_hochberg(p_values, 0.2))
    assert found[-300:].mean() > 0.9
    with pytest.raises(ValueError, match="fdr must be in"):
        fleet.detect(table, fdr=2)


def test_a_detection_that_cannot_report_a_row_warns(fleet):
    with pytest.warns(UserWarning, match="nothing is reported: no p-value is below"):
        assert not fleet.detect(TABLE, fdr=0.01).any()


def test_by_group_finds_the_group_that_is_odd():
    sizes = dict.fromkeys([f"m-{i}" for i in range(8)], 300)
    fleet = Fleet(Autoencoder(**FAST), by="machine").fit(table_of(sizes=sizes))
    later = table_of(seed=1, sizes=sizes)
    assert not fleet.by_group(later)["is_odd"].any()
    later.loc[later["machine"] == "m-5", "a"] += 2.0
    found = fleet.by_group(later)
    assert found["machine"][0] == "m-5"
    assert found["is_odd"][0]
    assert found["is_odd"].sum() <= 2  # a false alarm is possible
    flagged = fleet.predict(later) == -1
    assert found.set_index("machine")["anomalies"].to_dict() == {
        key: int(flagged[later["machine"] == key].sum()) for key in sizes
    }


# The mapping.


def test_a_fleet_is_a_mapping_to_estimators(fleet):
    assert len(fleet) == len(fleet.models_) == 3
    assert isinstance(fleet["m-1"], Autoencoder)
    assert fleet["m-1"] is fleet["m-1"] is fleet.models_["m-1"]
    assert dict(fleet.items()).keys() == {"m-1", "m-2", "m-3"}
    assert fleet.get("small") is None
    with pytest.raises(KeyError):
        fleet["unknown"]
    assert "Fleet(by='machine'" in repr(fleet)


def test_an_estimator_that_a_user_changes_counts():
    fleet = Fleet(Autoencoder(**FAST), by="machine").fit(TABLE)
    before = fleet.predict(TABLE)
    fleet["m-1"].threshold_ = -np.inf
    fleet.pooled_.threshold_ = -np.inf
    after = fleet.predict(TABLE)
    changed = TABLE["machine"].isin(["m-1", "small"]).to_numpy()
    assert (after[changed] == -1).all()
    np.testing.assert_array_equal(after[~changed], before[~changed])


def test_before_fit():
    fleet = Fleet(Autoencoder(**FAST), by="machine")
    for call in (fleet.predict, fleet.update, fleet.by_group):
        with pytest.raises(NotFittedError):
            call(TABLE)
    with pytest.raises(NotFittedError):
        fleet["m-1"]
    with pytest.raises(NotFittedError):
        fleet.save("nowhere")
    assert len(fleet) == 0


def test_copies_and_pickles(fleet):
    assert clone(fleet).get_params()["estimator__encoder_layer_sizes"] == (6, 2)
    again = pickle.loads(pickle.dumps(fleet))
    np.testing.assert_array_equal(again.p_values(TABLE), fleet.p_values(TABLE))


# Refused input.


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"min_rows": 0}, "min_rows must be an integer of at least 1, got 0"),
        ({"min_rows": True}, "min_rows must be an integer of at least 1, got True"),
        ({"unseen": "ignore"}, "unseen must be one of pooled, error, got 'ignore'"),
        ({"by": []}, "by must name at least one column"),
        ({"by": "maschine"}, "X has no column 'maschine', which by names; its columns are a, b, c, d, machine"),
        ({"estimator": Autoencoder(warm_start=True)}, "cannot have warm_start=True"),
        ({"estimator": Autoencoder(callbacks=[aefast.Checkpoint("f")])}, "cannot have a Checkpoint"),
        ({"estimator": Autoencoder(l1=-1)}, "The 'l1' parameter of Autoencoder"),
    ],
)
def test_parameters_that_are_not_valid(options, message):
    with pytest.raises(ValueError, match=message):
        Fleet(**{"estimator": Autoencoder(**FAST), "by": "machine", **options}).fit(TABLE)


def test_other_estimators_and_missing_groups_are_refused():
    with pytest.raises(TypeError, match="estimator must be one of aefast's estimators, got str"):
        Fleet("Autoencoder", by="machine").fit(TABLE)
    X = TABLE[COLUMNS].to_numpy()
    with pytest.raises(
        ValueError, match="X must be a data frame or an Arrow table with the column 'machine', got ndarray"
    ):
        Fleet(Autoencoder(**FAST), by="machine").fit(X)
    with pytest.raises(ValueError, match="groups= is needed"):
        Fleet(Autoencoder(**FAST)).fit(X)
    with pytest.raises(ValueError, match="groups must have a value for each of the 432 rows, got 10"):
        Fleet(Autoencoder(**FAST)).fit(X, groups=np.zeros(10))
    with pytest.raises(ValueError, match="groups= goes with by=None, but by names the column 'machine'"):
        Fleet(Autoencoder(**FAST), by="machine").fit(TABLE, groups=np.zeros(432))


@pytest.mark.parametrize("method", ["fit", "predict", "update"])
def test_bad_values_are_named_with_their_row_in_the_table(fleet, method):
    table = TABLE.copy()
    table.loc[311, "c"] = np.nan
    own = clone(fleet) if method == "fit" else fleet
    with pytest.raises(
        ValueError, match=r"X contains NaN or infinity: 1 value is not finite, the first \(nan\) in row 311, column 'c'"
    ):
        getattr(own, method)(table)


def test_a_table_with_other_columns_is_refused(fleet):
    with pytest.raises(ValueError, match=r"seen at fit time, yet now missing:\n- d"):
        fleet.predict(TABLE.drop(columns="d"))
    with pytest.raises(ValueError, match="Found array with 0 sample"):
        fleet.predict(TABLE.iloc[:0])


def test_an_interrupted_fit_ends_and_leaves_the_fleet_as_it_was():
    def stop(info):
        raise KeyboardInterrupt

    fleet = Fleet(Autoencoder(**FAST, callbacks=stop), by="machine", unseen="error", min_rows=5)
    with pytest.raises(KeyboardInterrupt):
        fleet.fit(TABLE)
    with pytest.raises(NotFittedError):
        fleet.predict(TABLE)


# Updates.


def test_update_fits_new_groups_and_those_that_drifted():
    sizes = {**dict.fromkeys(["m-1", "m-2", "m-3"], 300), "small": 20}
    fleet = Fleet(Autoencoder(**FAST), by="machine").fit(table_of(sizes=sizes))
    before = {key: estimator.model_ for key, estimator in fleet.items()}
    today = table_of(seed=1, sizes={**sizes, "small": 60, "new": 80, "tiny": 5})
    drifted = today["machine"] == "m-2"
    today.loc[drifted, COLUMNS] = today.loc[drifted, COLUMNS[::-1]].to_numpy() + 1
    assert fleet.update(today) is fleet
    assert fleet.updated_ == {"m-2": "drifted", "new": "new", "small": "new"}
    assert set(fleet) == {"m-1", "m-2", "m-3", "new", "small"}
    assert fleet.counts_ == {"m-1": 300, "m-2": 300, "m-3": 300, "new": 80, "small": 60, "tiny": 5}
    for key in ("m-1", "m-3"):
        assert fleet[key].model_ is before[key]
    for key in ("m-2", "new", "small"):
        assert_same_model(fleet[key], Autoencoder(**FAST).fit(rows_of(today, key)))
    fleet.update(today)
    assert fleet.updated_ == {}


def test_update_of_a_table_of_several_kinds_of_columns():
    table = mixed(table_of(sizes={"m-1": 120, "m-2": 120}))
    fleet = Fleet(Autoencoder(**FAST), by="machine").fit(table)
    fleet.update(mixed(table_of(seed=3, sizes={"m-1": 10, "m-4": 90})))
    assert fleet.updated_ == {"m-4": "new"}
    assert np.isfinite(fleet.reconstruction_error(table)).all()


DOCUMENT = Path(__file__).parents[1] / "docs/fleets.md"


@pytest.mark.skipif(not DOCUMENT.exists(), reason="the documents are not beside the tests")
def test_the_example_of_the_documentation_runs():
    results = doctest.testfile(str(DOCUMENT), module_relative=False, optionflags=doctest.NORMALIZE_WHITESPACE)
    assert results.failed == 0
    assert results.attempted > 20
