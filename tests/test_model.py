"""The model that an estimator holds: what it answers, that it stays as it is, and that its predictor is kept."""

import copy
import dataclasses
import pickle
import re
import subprocess
import sys

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

import aefast
from aefast.engine import core
from aefast.model.model import Model
from messages import raises_exactly

X = np.random.default_rng(0).normal(size=(300, 5)) @ np.random.default_rng(1).normal(size=(5, 5))
NAMES = list("abcde")
FRAME = pd.DataFrame(X, columns=NAMES)
MIXED = FRAME.assign(f=["a", "b", "c", *99 * ["d", "e", "f"]])  # some values of f are rare


def fitted(rows=X, **parameters):
    return aefast.Autoencoder((4, 2), **{"max_epochs": 2, "random_state": 0, **parameters}).fit(rows)


@pytest.fixture(scope="module")
def estimator():
    return fitted()


@pytest.fixture(scope="module")
def named():
    return fitted(FRAME)


def test_a_model_comes_without_scikit_learn():
    code = "import sys, aefast.model.model; print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"sklearn", "scipy", "pandas", "pyarrow"} & set(run.stdout.split())


def test_a_model_answers_as_its_estimator(estimator):
    model = estimator.model_
    np.testing.assert_array_equal(model.errors(X), estimator.reconstruction_error(X))
    np.testing.assert_array_equal(model.errors(X, "mae"), estimator.reconstruction_error(X, metric="mae"))
    np.testing.assert_array_equal(
        model.errors(X, precision="int8"), estimator.reconstruction_error(X, precision="int8")
    )
    np.testing.assert_array_equal(model.codes(X), estimator.transform(X))
    np.testing.assert_array_equal(model.decode(model.codes(X)), estimator.inverse_transform(model.codes(X)))
    np.testing.assert_array_equal(model.reconstruct(X), estimator.reconstruct(X))
    np.testing.assert_array_equal(model.feature_errors(X), estimator.feature_errors(X))
    np.testing.assert_array_equal(model.p_values(X), estimator.p_values(X))
    np.testing.assert_array_equal(model.p_values_of(model.errors(X)), model.p_values(X))
    np.testing.assert_array_equal(model.is_anomaly(X), estimator.predict(X) == -1)
    pd.testing.assert_frame_equal(model.explain(X, top=2), estimator.explain(X, top=2))
    errors, columns, shares, expected, values = model.reasons(X, 2)
    np.testing.assert_array_equal(errors, model.errors(X))
    table = model.explain(X, top=2)
    assert table["feature"].tolist() == [f"x{j}" for j in columns.ravel()]
    for found, name in ((shares, "share"), (expected, "expected"), (values, "value")):
        np.testing.assert_array_equal(found.ravel(), table[name])
    assert (model.threshold, model.n_codes, model.n_features_in) == (estimator.threshold_, 2, 5)


@pytest.mark.parametrize("rows", [FRAME, pa.Table.from_pandas(FRAME), FRAME.convert_dtypes(dtype_backend="pyarrow")])
def test_a_model_reads_tables_by_itself(named, rows):
    np.testing.assert_array_equal(named.model_.errors(rows), named.reconstruction_error(FRAME))
    np.testing.assert_array_equal(named.model_.errors(X), named.reconstruction_error(FRAME))
    assert named.model_.explain(rows, top=1)["feature"].isin(NAMES).all()


REFUSED = {
    "another width": (lambda model: model.errors(X[:, :3]), "rows of 5 values, got an array of shape (300, 3)"),
    "one row": (lambda model: model.errors(X[0]), "X must be rows of 5 values, got an array of shape (5,)"),
    "text": (lambda model: model.errors(FRAME.assign(c="x")), "column 'c' does not hold numbers (its type is "),
    "another name": (lambda model: model.errors(FRAME.rename(columns={"b": "z"})), "yet now missing:\n- b\n"),
    "another order": (
        lambda model: model.errors(FRAME[list("bacde")]),
        "There is 'b' where fit had 'a', 'a' where fit had 'b'.",
    ),
    "infinity": (
        lambda model: model.errors(np.where(np.eye(300, 5), np.inf, X)),
        "X contains NaN or infinity: 5 values are not finite, the first (inf) in row 0, column 'a'",
    ),
    "infinity in one row": (
        lambda model: model.errors([[0.0, 0, -np.inf, 0, 0]]),
        "X contains NaN or infinity: 1 value is not finite, the first (-inf) in row 0, column 'c'",
    ),
    "codes": (lambda model: model.decode(X), "Z has 5 columns, but the code of this Autoencoder has 2"),
    "no reasons": (lambda model: model.explain(X, top=0), "top must be an integer of at least 1, got 0"),
    "metric": (lambda model: model.errors(X, "rmse"), "metric must be None or one of mse, mae, max, huber, binary"),
    "precision": (lambda model: model.errors(X, precision="int4"), "one of float32, bfloat16, int8, got 'int4'"),
}


@pytest.mark.parametrize(("call", "message"), REFUSED.values(), ids=REFUSED)
def test_a_model_refuses_what_does_not_fit(named, call, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        call(named.model_)


@pytest.mark.parametrize("change", [{"b": "z"}, {"a": "b", "b": "a"}, dict(zip("abcde", "fghijk", strict=False))])
def test_names_that_do_not_fit_are_told_in_the_words_of_scikit_learn(named, change):
    frame = FRAME.rename(columns=change)
    messages = []
    for score in (named.reconstruction_error, named.model_.errors):
        with pytest.raises(ValueError, match="The feature names should match") as error:
            score(frame)
        messages.append(str(error.value))
    assert messages[0] == messages[1]


def test_a_model_of_several_kinds_of_columns_asks_for_a_table():
    frame = FRAME.assign(kind=["x", "y", "z"] * 100)
    model = fitted(frame).model_
    np.testing.assert_array_equal(model.errors(pa.Table.from_pandas(frame)), model.errors(frame))
    with raises_exactly(
        ValueError,
        "this Autoencoder was fitted to columns of several kinds: give a data frame or an Arrow table, got ndarray",
    ):
        model.errors(np.zeros((2, 6)))


# What does not change.


def arrays_of(part):
    """All arrays in a model, or in a part of it."""
    if isinstance(part, np.ndarray):
        yield part
    elif dataclasses.is_dataclass(part):
        for each in dataclasses.fields(part):
            yield from arrays_of(getattr(part, each.name))
    elif isinstance(part, tuple | list | dict):
        for each in part.values() if isinstance(part, dict) else part:
            yield from arrays_of(each)


@pytest.mark.parametrize(
    "change",
    [
        lambda model: model.network.update(n_features=3),
        lambda model: model.network["layers"].pop(),
        lambda model: model.network["layers"][0].__setitem__("units", 1),
        lambda model: model.parameters.clear(),
    ],
)
def test_network_and_parameters_of_a_model_cannot_be_changed(estimator, change):
    with pytest.raises(TypeError, match="a model cannot be changed"):
        change(estimator.model_)
    own = copy.deepcopy(estimator.model_.network)
    own["layers"][0]["units"] = 1
    assert type(own) is dict
    assert estimator.model_.network["layers"][0]["units"] == 4


def test_attributes_of_a_model_cannot_be_set_or_deleted(estimator):
    for name in ("coefs", "threshold", "no_field"):
        with pytest.raises(AttributeError, match=f"^{name} of a model cannot be set|assign to field '{name}'"):
            setattr(estimator.model_, name, 1)
        with pytest.raises(AttributeError, match=f"^{name} of a model cannot be deleted|delete field '{name}'"):
            delattr(estimator.model_, name)


@pytest.mark.parametrize("name", ["threshold_", "offset_"])
def test_a_threshold_is_a_number(name):
    estimator = fitted()
    with pytest.raises(ValueError, match="must be a number, got nan"):
        setattr(estimator, name, float("nan"))
    setattr(estimator, name, float("inf"))


@pytest.mark.parametrize(
    "made",
    [
        lambda model: model,
        lambda model: Model.load(model.to_bytes()),
        lambda model: pickle.loads(pickle.dumps(model)),
        copy.deepcopy,
        lambda model: model.with_weights([w.tolist() for w in model.coefs], model.intercepts),
        lambda model: model.recalibrated(MIXED if model.columns else X, 0.2),
    ],
    ids=["fitted", "loaded", "unpickled", "copied", "with weights", "recalibrated"],
)
@pytest.mark.parametrize("rows", [X, MIXED], ids=["numbers", "several kinds"])
def test_the_arrays_of_a_model_are_read_only(made, rows):
    model = made(fitted(rows, batch_norm=True).model_)
    for array in arrays_of(model):
        with pytest.raises(ValueError, match="read-only"):
            array[...] = 0
    with pytest.raises(AttributeError):
        model.offset = 0.0


def test_other_versions_of_a_model_leave_it_as_it_is(estimator):
    model, errors = estimator.model_, estimator.model_.errors(X)
    assert model.with_threshold(3.0).threshold == 3.0
    assert model.with_calibration([1.0, 2.0, 3.0], 0.5).threshold == 2.0
    assert model.with_calibration([1.0, 2.0, 3.0], 0.5, held_out=[5.0]).calibration.errors.tolist() == [5.0]
    zero = model.with_weights([0 * w for w in model.coefs], [0 * b for b in model.intercepts])
    assert (zero.codes(X) == 0).all()
    assert model.recalibrated(X[:50], 0.1).calibration.n_rows == 50
    np.testing.assert_array_equal(model.errors(X), errors)
    assert model.threshold == estimator.threshold_


def test_weights_that_are_set_stay_the_users_own(estimator):
    model, mine = copy.deepcopy(estimator), [np.array(w) for w in estimator.coefs_]
    model.coefs_ = mine
    mine[0][:] = 7
    assert (model.coefs_[0] != 7).any()
    np.testing.assert_array_equal(model.reconstruction_error(X), estimator.reconstruction_error(X))


# Setting attributes of an estimator.


def test_setting_an_attribute_gives_the_estimator_another_model(estimator):
    model = copy.deepcopy(estimator)
    for name, value in {
        "threshold_": 2.0,
        "offset_": -3.0,
        "score_metric_": "mse",
        "whitening_": None,
        "feature_names_in_": np.array(NAMES, dtype=object),
        "best_loss_": 0.5,
    }.items():
        before = model.model_
        setattr(model, name, value)
        assert model.model_ is not before
        assert np.array_equal(getattr(model, name), value)
    assert model.threshold_ == 3.0
    before = model.model_
    model.coefs_[0] = 2 * model.coefs_[0]
    assert model.model_ is not before
    np.testing.assert_array_equal(model.coefs_[0], 2 * estimator.coefs_[0])
    for found, given in zip(pickle.loads(pickle.dumps(model.coefs_)), model.coefs_, strict=True):
        np.testing.assert_array_equal(found, given)
    with pytest.raises(AttributeError, match="n_features_in_ follows from the other attributes"):
        model.n_features_in_ = 3
    with pytest.raises(ValueError, match="read-only"):
        model.coefs_[0][0, 0] = 1.0


def test_parameters_that_scoring_uses_can_be_set_after_fit(estimator):
    model = copy.deepcopy(estimator)
    kept = model.model_
    assert model.set_params(contamination=0.2).model_ is kept
    assert model.set_params(n_threads=1).model_.n_threads == 1
    assert model.set_params(dtype="float64").transform(X).dtype == np.float64
    assert np.isfinite(model.set_params(missing="mask").reconstruction_error(np.where(np.eye(300, 5), np.nan, X))).all()


def test_an_unfitted_estimator_has_no_model_and_no_attributes():
    model = aefast.Autoencoder()
    for name in ("model_", "coefs_", "threshold_", "n_features_in_", "calibration_"):
        assert not hasattr(model, name)
    with pytest.raises(AttributeError, match="'Autoencoder' object has no attribute 'coefs_'"):
        model.coefs_  # noqa: B018


def test_weights_set_before_the_first_fit_are_those_that_it_starts_from(estimator):
    model = aefast.Autoencoder((4, 2), max_epochs=0, warm_start=True, random_state=0)
    model.coefs_, model.intercepts_ = list(estimator.coefs_), list(estimator.intercepts_)
    model.fit(X)
    for found, given in zip(model.coefs_, estimator.coefs_, strict=True):
        np.testing.assert_array_equal(found, given)


# The predictor.


@pytest.fixture
def built(monkeypatch):
    """The numbers of threads of the predictors that are built."""
    found, predictor = [], core.Predictor

    class Predictor:
        def __new__(cls, *arguments):
            found.append(arguments[-1])
            return predictor(*arguments)

    monkeypatch.setattr(core, "Predictor", Predictor)
    return found


def test_the_compiled_predictor_is_built_once_and_kept(built):
    model = fitted(n_threads=2).model_
    built.clear()
    for rows in (X, X[:1], X[:1].astype(np.float32), X):
        model.errors(rows)
        model.reconstruct(rows)
        model.codes(rows)
    assert built == [2]
    model.errors(X, precision="bfloat16")
    model.errors(X, precision="bfloat16")
    assert built == [2, 2]


def test_a_predictor_is_built_for_each_number_of_threads(built):
    model = fitted().model_
    built.clear()
    for n in (1, 1, 2, 2):
        with aefast.threads(n):
            model.errors(X)
    assert built == [1, 2]


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16, np.int32, ">f8"])
@pytest.mark.parametrize("metric", ["mahalanobis", "mse"])
def test_one_row_has_the_error_that_it_has_among_others(dtype, metric):
    model, rows = fitted(score_metric=metric).model_, (8 * X).astype(dtype)
    expected = model.errors(rows)
    for i in range(20):
        assert model.errors(rows[i : i + 1]).tobytes() == expected[i : i + 1].tobytes()
        assert model.errors(rows[:, ::-1][i : i + 1, ::-1]).tobytes() == expected[i : i + 1].tobytes()


def test_a_view_of_an_array_that_can_be_written_is_copied():
    model = aefast.Autoencoder(max_epochs=1, random_state=0).fit(np.random.default_rng(0).normal(size=(100, 4))).model_
    owner = model.coefs[0].copy()
    view = owner.view()
    view.flags.writeable = False
    other = model.replace(coefs=(view, *model.coefs[1:]))
    owner[:] = 0
    assert np.array_equal(other.coefs[0], model.coefs[0])


def test_lists_of_weights_keep_each_others_assignments():
    model = aefast.Autoencoder(max_epochs=1, random_state=0).fit(np.random.default_rng(0).normal(size=(100, 4)))
    one, other = model.coefs_, model.coefs_
    first, second = 2 * one[0], 3 * one[1]
    one[0] = first
    other[1] = second
    assert np.array_equal(model.coefs_[0], first)
    assert np.array_equal(model.coefs_[1], second)


def test_a_fitted_attribute_cannot_be_deleted():
    model = aefast.Autoencoder(max_epochs=1, random_state=0).fit(np.random.default_rng(0).normal(size=(100, 4)))
    with raises_exactly(AttributeError, "coefs_ of a fitted estimator cannot be deleted"):
        del model.coefs_


def test_too_few_weights_are_named_by_save(tmp_path):
    model = aefast.Autoencoder((2,), max_epochs=1, random_state=0).fit(np.random.default_rng(0).normal(size=(100, 4)))
    model.coefs_ = model.coefs_[:1]
    with pytest.raises(ValueError, match="there are 1 coefs_, 2 intercepts_ and 2 norms_"):
        model.save(tmp_path / "m.safetensors")
