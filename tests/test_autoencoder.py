"""Autoencoder as users see it: the fitted attributes, and results that follow their formulas."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.decomposition import PCA
from sklearn.metrics import roc_auc_score

import reference
from aefast import SGD, Autoencoder, threads
from aefast.model.scaling import clip_limit
from messages import raises_exactly

RNG = np.random.default_rng(0)
X = RNG.normal(size=(300, 7)) @ RNG.normal(size=(7, 7)) + 5
UNIT = np.clip(RNG.beta(0.5, 0.5, size=(300, 7)), 0, 1)


def fitted(data=X, **parameters):
    settings = {"encoder_layer_sizes": (6, 3), "dtype": "float64", "max_epochs": 5, "random_state": 0}
    settings |= {"scaler": "standard", "score_metric": "mse"}
    return Autoencoder(**settings | parameters).fit(data)


def oracle(model):
    """The network, parameters and scaling of a model, for `reference`."""
    network = {**model.network_, "layers": [{**layer, "tied_to": -1} for layer in model.network_["layers"]]}
    parameters = [array for pair in zip(model.coefs_, model.intercepts_, strict=True) for array in pair]
    return network, parameters, (model.scaler_shift_, model.scaler_scale_, clip_limit(model.scaler))


def same_weights(first, second):
    pairs = zip(first.coefs_ + first.intercepts_, second.coefs_ + second.intercepts_, strict=True)
    return all(np.array_equal(a, b) for a, b in pairs)


# What fit leaves behind.


def test_coefs_are_encoder_then_decoder():
    model = fitted()
    assert [w.shape for w in model.coefs_] == [(7, 6), (6, 3), (3, 6), (6, 7)]
    assert [b.shape for b in model.intercepts_] == [(6,), (3,), (6,), (7,)]
    assert {w.dtype for w in model.coefs_ + model.intercepts_} == {np.dtype("float64")}
    assert {w.dtype for w in fitted(dtype="float32").coefs_} == {np.dtype("float32")}


def test_tied_coefs_are_transposed():
    model = fitted(tied_weights=True)
    np.testing.assert_array_equal(model.coefs_[3], model.coefs_[0].T)
    np.testing.assert_array_equal(model.coefs_[2], model.coefs_[1].T)


def test_curves_have_an_entry_for_each_epoch():
    model = fitted()
    assert model.n_epochs_ == len(model.loss_curve_) == len(model.validation_curve_) == 5
    assert model.best_loss_ == min(model.validation_curve_)
    assert fitted(validation_fraction=0).validation_curve_ == []


def test_training_lowers_the_loss():
    model = fitted(max_epochs=200, learning_rate=0.01)
    assert model.best_loss_ < 0.5 * model.loss_curve_[0]


def test_nothing_of_the_engine_stays_on_the_estimator():
    model = fitted()
    model.score_samples(X)
    assert not [name for name, value in vars(model).items() if "_engine" in type(value).__module__]


def test_one_step_is_the_oracles():
    start = fitted(max_epochs=0, validation_fraction=0)
    model = fitted(
        max_epochs=1,
        validation_fraction=0,
        optimizer=SGD(),
        learning_rate=0.1,
        batch_size=300,
        l2=0.01,
        activity_l1=0.02,
    )
    network, parameters, scaling = oracle(start)
    objective = {"loss": "mse", "l2": 0.01, "activity_l1": 0.02}
    expected = reference.train(
        network,
        parameters,
        objective,
        reference.Optimizer({"kind": "sgd"}),
        [(reference.scale_rows(X, scaling), None)],
        0.1,
    )
    for got, wanted in zip(oracle(model)[1], expected, strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-12, atol=1e-14)


def test_validation_curve_is_the_loss_of_the_held_out_rows():
    model = fitted(max_epochs=1, loss="mae", score_metric="mae")
    np.testing.assert_allclose(model.validation_curve_[-1], np.mean(model.calibration_.errors), rtol=1e-12)
    assert model.calibration_.n_rows == 30


def test_a_linear_network_finds_the_principal_components():
    codes = 2
    model = fitted(
        encoder_layer_sizes=(codes,),
        validation_fraction=0,
        early_stopping=False,
        max_epochs=1500,
        learning_rate=0.01,
        batch_size=300,
    )
    scaled = (X - X.mean(axis=0)) / X.std(axis=0)
    pca = PCA(codes).fit(scaled)
    floor = np.mean((scaled - pca.inverse_transform(pca.transform(scaled))) ** 2)
    assert floor <= model.reconstruction_error(X).mean() < 1.001 * floor


# Answers.


@pytest.mark.parametrize("scaler", ["standard", "minmax", "robust", "deciles", None])
def test_codes_and_reconstructions_are_the_oracles(scaler):
    model = fitted(scaler=scaler)
    network, parameters, scaling = oracle(model)
    codes = reference.encode(network, parameters, scaling, X)
    rows = reference.reconstruct(network, parameters, scaling, X)
    np.testing.assert_allclose(model.transform(X), codes, rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(model.reconstruct(X), rows, rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(model.inverse_transform(model.transform(X)), rows, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("metric", ["mse", "mae", "max", "huber", "mahalanobis"])
def test_errors_are_the_oracles(metric):
    model = fitted(score_metric=metric)
    expected = reference.errors(*oracle(model), X, metric, model.whitening_)
    np.testing.assert_allclose(model.reconstruction_error(X), expected, rtol=1e-9)
    shares = reference.feature_errors(*oracle(model), X, metric, model.whitening_)
    np.testing.assert_allclose(model.feature_errors(X), shares, rtol=1e-8, atol=1e-10)
    np.testing.assert_allclose(model.feature_errors(X).sum(axis=1), expected, rtol=1e-9)


@pytest.mark.parametrize("metric", ["binary_crossentropy", "categorical_crossentropy"])
def test_crossentropies_are_the_oracles(metric):
    data = UNIT / UNIT.sum(axis=1, keepdims=True)
    model = fitted(data, scaler=None, loss=metric, output_activation="softmax", score_metric=metric)
    expected = reference.errors(*oracle(model), data, metric)
    np.testing.assert_allclose(model.reconstruction_error(data), expected, rtol=1e-9)


def test_any_metric_can_be_asked_for():
    model = fitted(UNIT, scaler="minmax", output_activation="sigmoid")
    for metric in ("mse", "mae", "max", "huber", "binary_crossentropy"):
        expected = reference.errors(*oracle(model), UNIT, metric)
        np.testing.assert_allclose(model.reconstruction_error(UNIT, metric=metric), expected, rtol=1e-9, err_msg=metric)
    np.testing.assert_array_equal(model.reconstruction_error(UNIT), model.reconstruction_error(UNIT, metric="mse"))


def test_signs_are_scikit_learns():
    model = fitted(dtype="float32")
    errors = model.reconstruction_error(X)
    assert errors.dtype == np.float32
    assert model.score_samples(X).dtype == np.float64
    np.testing.assert_array_equal(model.score_samples(X), -errors.astype(float))
    np.testing.assert_array_equal(model.decision_function(X), model.score_samples(X) - model.offset_)
    np.testing.assert_array_equal(model.predict(X), np.where(errors.astype(float) > model.threshold_, -1, 1))
    assert model.threshold_ == -model.offset_
    assert model.score(X) == pytest.approx(-errors.astype(float).mean())


@pytest.mark.parametrize("contamination", [0.01, 0.1, 0.5])
def test_contamination_is_the_share_of_training_rows_called_outliers(contamination):
    assert (fitted(contamination=contamination).fit_predict(X) == -1).sum() == contamination * 300


def test_outliers_are_ranked_first():
    # Rows on a plane, and other rows with the same means and variances off it.
    rng = np.random.default_rng(1)
    normal = rng.normal(size=(1000, 2)) @ rng.normal(size=(2, 8))
    odd = np.array([rng.permutation(column) for column in normal[:50].T]).T
    model = Autoencoder((16, 2), random_state=0, learning_rate=0.01).fit(normal)
    errors = model.reconstruction_error(np.vstack([normal, odd]))
    assert roc_auc_score(np.repeat([0, 1], [1000, 50]), errors) > 0.95


def test_anomalies_that_it_was_trained_on_are_ranked_first():
    rng = np.random.default_rng(2)
    data = rng.normal(size=(1000, 2)) @ rng.normal(size=(2, 8)) + 0.1 * rng.normal(size=(1000, 8))
    # They break the relations between the columns, and are within the range of each column.
    data[:20] = data.std(axis=0) * [1, -1, 1, -1, 1, -1, 1, -1] + 0.1 * rng.normal(size=(20, 8))
    errors = Autoencoder(random_state=0).fit(data).reconstruction_error(data)
    assert roc_auc_score(np.arange(1000) < 20, errors) > 0.95


@pytest.mark.parametrize("n_columns", [20, 700])
def test_automatic_scores_are_one_metric_in_narrow_tables_and_in_wide_ones(n_columns):
    data = RNG.normal(size=(50, n_columns))
    model = Autoencoder((4,), max_epochs=1, random_state=0).fit(data)
    assert model.score_metric_ == "calibrated"
    errors = model.reconstruction_error(data)
    np.testing.assert_array_equal(errors, model.reconstruction_error(data, metric="calibrated"))
    asked = Autoencoder((4,), max_epochs=1, random_state=0, score_metric="calibrated").fit(data)
    np.testing.assert_array_equal(errors, asked.reconstruction_error(data))


def test_behind_deciles_values_are_clipped_at_ten_deviations():
    model = fitted(scaler="deciles")
    far, limit = X[:3].copy(), X[:3].copy()
    far[:, 2] = 1e9
    limit[:, 2] = model.scaler_shift_[2] + 10 * model.scaler_scale_[2]
    np.testing.assert_allclose(model.reconstruction_error(far), model.reconstruction_error(limit), rtol=1e-9)
    expected = reference.errors(*oracle(model), far, "mse")
    np.testing.assert_allclose(model.reconstruction_error(far, metric="mse"), expected, rtol=1e-9)


def test_p_values_compare_with_the_held_out_rows():
    model = fitted(validation_fraction=0.2)
    errors = model.reconstruction_error(X)
    expected = [(1 + np.sum(model.calibration_.errors >= error)) / 61 for error in errors]
    np.testing.assert_allclose(model.p_values(X), expected)
    np.testing.assert_array_equal(model.p_values_of(errors), model.p_values(X))


def test_p_values_are_valid_for_new_rows_of_the_same_kind():
    data = np.random.default_rng(2).normal(size=(6000, 5))
    model = Autoencoder((4, 2), validation_fraction=0.5, early_stopping=False, max_epochs=3, random_state=0).fit(
        data[:3000]
    )
    p = model.p_values(data[3000:])
    for level in (0.01, 0.1, 0.5):
        # Both the new rows and the held-out ones vary.
        deviation = np.sqrt(level * (1 - level) * (1 / 3000 + 1 / 1500))
        assert abs(np.mean(p <= level) - level) < 4 * deviation


def test_detect_reports_anomalies_and_few_other_rows():
    rng = np.random.default_rng(3)
    model = Autoencoder((4, 2), random_state=0, max_epochs=10).fit(rng.normal(size=(4000, 5)))
    mask = model.detect(np.vstack([rng.normal(size=(200, 5)), rng.normal(size=(40, 5)) + 30]), fdr=0.1)
    assert mask.dtype == bool
    assert mask[200:].all()
    assert mask[:200].sum() <= 15


# Randomness and threads.


def test_the_same_state_gives_the_same_model():
    assert same_weights(fitted(dropout=0.2), fitted(dropout=0.2))
    assert not same_weights(fitted(), fitted(random_state=1))
    assert not same_weights(fitted(random_state=None), fitted(random_state=None))


def test_a_random_state_object_moves_on():
    state = np.random.RandomState(0)
    assert not same_weights(fitted(random_state=state), fitted(random_state=state))


def test_initial_weights_depend_on_the_state_alone():
    first = fitted(max_epochs=0)
    others = [
        fitted(X[::-1], max_epochs=0),
        fitted(X[:20] * 100, max_epochs=0, n_threads=2, scaler="robust", validation_fraction=0, batch_size=7),
    ]
    assert all(same_weights(first, other) for other in others)


@pytest.mark.parametrize("options", [{}, {"tied_weights": True}, {"dropout": 0.3, "clip_norm": 0.5}])
def test_threads_do_not_change_a_bit(options):
    data = np.random.default_rng(0).normal(size=(5000, 40)).astype("float32")
    models = [
        fitted(data, encoder_layer_sizes=(64, 16), dtype="float32", max_epochs=2, n_threads=n, **options)
        for n in (1, 2, 3)
    ]
    with threads(2):
        models.append(fitted(data, encoder_layer_sizes=(64, 16), dtype="float32", max_epochs=2, **options))
    for other in models[1:]:
        assert same_weights(models[0], other)
        assert other.loss_curve_ == models[0].loss_curve_
        np.testing.assert_array_equal(other.score_samples(data), models[0].score_samples(data))


@given(st.permutations(range(100)), st.integers(0, 99))
def test_a_score_does_not_depend_on_the_rows_beside_it(order, one):
    scores = SCORED.score_samples(X[:100])
    np.testing.assert_array_equal(SCORED.score_samples(X[list(order)]), scores[list(order)])
    assert SCORED.score_samples(X[one : one + 1])[0] == scores[one]


SCORED = fitted(dtype="float32")


# Starting from weights that are there.


def test_no_epochs_leave_the_initial_weights():
    model = fitted(max_epochs=0)
    assert model.n_epochs_ == 0
    assert model.loss_curve_ == []
    assert all((b == 0).all() for b in model.intercepts_)
    assert np.isfinite(model.best_loss_)
    assert (model.predict(X) == -1).sum() == 30


def test_weights_that_were_replaced_are_used():
    model = fitted(max_epochs=0, scaler=None, encoder_layer_sizes=(7,))
    model.coefs_ = [np.eye(7), 2 * np.eye(7)]
    np.testing.assert_allclose(model.reconstruct(X), 2 * X)
    model.set_params(warm_start=True).fit(X)
    np.testing.assert_allclose(model.reconstruct(X), 2 * X)
    assert (model.predict(X) == -1).sum() == 30


def test_warm_start_continues_from_the_weights_and_keeps_the_scaler():
    model = fitted(warm_start=True, optimizer=SGD(), learning_rate=0.1, validation_fraction=0, batch_size=300)
    shift = model.scaler_shift_
    once = clone_weights(model)
    model.set_params(max_epochs=1).fit(X + 1)
    assert model.n_epochs_ == len(model.loss_curve_) == 6
    np.testing.assert_array_equal(model.scaler_shift_, shift)
    network, parameters, scaling = oracle(once)
    rows = reference.scale_rows(X + 1, scaling)
    expected = reference.train(
        network, parameters, {"loss": "mse"}, reference.Optimizer({"kind": "sgd"}), [(rows, None)], 0.1
    )
    for got, wanted in zip(oracle(model)[1], expected, strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-10, atol=1e-12)


def clone_weights(model):
    copy = Autoencoder(**model.get_params())
    vars(copy).update({**vars(model), "coefs_": [w.copy() for w in model.coefs_]})
    return copy


def test_without_warm_start_fit_begins_anew():
    model = fitted()
    first = clone_weights(model)
    assert same_weights(model.fit(X), first)


def test_warm_start_draws_new_orders_in_its_later_epochs():
    # Two fits of one epoch are one fit of two, with an optimiser that remembers nothing.
    options = {"optimizer": SGD(), "learning_rate": 0.1, "batch_size": 32, "dropout": 0.2}
    twice = fitted(max_epochs=1, warm_start=True, **options).fit(X)
    assert same_weights(twice, fitted(max_epochs=2, early_stopping=False, **options))


def test_partial_fit_takes_an_epoch_a_call_and_remembers_the_optimiser():
    rows = np.tile(X, (7, 1))  # enough to settle the scaler
    model = Autoencoder((6, 3), dtype="float64", scaler="standard", score_metric="mse", random_state=0)
    for _ in range(3):
        model.partial_fit(rows)
    assert model.n_epochs_ == len(model.loss_curve_) == 3
    assert same_weights(model, fitted(rows, max_epochs=3, validation_fraction=0, early_stopping=False))


def test_partial_fit_keeps_the_scaler_once_it_has_seen_enough_rows():
    model = Autoencoder((6, 3), scaler="standard", random_state=0)
    for first in range(0, 300, 100):
        model.partial_fit(X[first : first + 100])
    np.testing.assert_allclose(model.scaler_shift_, X.mean(axis=0))
    np.testing.assert_allclose(model.scaler_scale_, X.std(axis=0))
    model.partial_fit(np.tile(X, (6, 1)))
    shift = model.scaler_shift_
    model.partial_fit(X + 100)
    np.testing.assert_array_equal(model.scaler_shift_, shift)


def test_partial_fit_continues_after_fit():
    model = fitted()
    model.partial_fit(X)
    assert model.n_epochs_ == 6


# Blocks of rows.


def test_blocks_that_can_be_read_again_are_trained_for_epochs():
    blocks = np.array_split(np.random.default_rng(0).permutation(X), 4)
    options = {"scaler": "standard", "max_epochs": 30, "learning_rate": 0.01, "validation_fraction": 0.2}
    model = Autoencoder((6, 3), random_state=0, score_metric="mse", **options).fit_batches(blocks)
    assert 1 < model.n_epochs_ <= 30
    assert len(model.validation_curve_) == model.n_epochs_
    assert model.loss_curve_[-1] < model.loss_curve_[0]
    np.testing.assert_allclose(model.scaler_shift_, X.mean(axis=0))
    np.testing.assert_allclose(model.scaler_scale_, X.std(axis=0))
    assert model.calibration_.n_rows == 60


def test_an_iterator_of_blocks_is_gone_through_once():
    read = []

    def blocks():
        for index, block in enumerate(np.array_split(X, 3)):
            read.append(index)
            yield block

    model = Autoencoder((6, 3), scaler="standard", score_metric="mse", random_state=0).fit_batches(blocks())
    assert read == [0, 1, 2]
    assert model.n_epochs_ == 1
    np.testing.assert_allclose(model.scaler_shift_, X.mean(axis=0))
    assert model.calibration_.n_rows == 30
    long = [np.tile(X, (7, 1)), X + 100]
    model = Autoencoder((6, 3), scaler="standard", random_state=0).fit_batches(iter(long))
    np.testing.assert_allclose(model.scaler_shift_, X.mean(axis=0))


@pytest.mark.parametrize("given", [list, iter])
def test_blocks_may_be_frames_with_names(given):
    frames = [pd.DataFrame(block, columns=list("abcdefg")) for block in np.array_split(X, 3)]
    model = Autoencoder((6, 3), random_state=0, max_epochs=2).fit_batches(given(frames))
    assert model.feature_names_in_.tolist() == list("abcdefg")
    assert np.isfinite(model.score_samples(frames[0])).all()
    with pytest.raises(ValueError, match="The feature names should match"):
        model.fit_batches(given([frames[0], frames[1][list("bacdefg")]]))


def test_one_block_is_a_fit_without_held_out_rows():
    options = {"encoder_layer_sizes": (6, 3), "validation_fraction": 0, "dtype": "float64", "random_state": 0}
    options |= {"max_epochs": 3, "early_stopping": False, "score_metric": "mse"}
    model = Autoencoder(**options).fit_batches([X])
    other = Autoencoder(**options).fit(X)
    assert same_weights(model, other)
    assert model.threshold_ == other.threshold_


def test_many_rows_are_remembered_by_a_bounded_choice():
    data = np.random.default_rng(0).normal(size=(50_000, 3)).astype("float32")
    model = Autoencoder((2,), max_epochs=1, random_state=0, validation_fraction=0.5).fit_batches(
        np.array_split(data, 5)
    )
    # As many rows that were held out as rows that were learned.
    assert model.calibration_.n_rows == 40_000
    assert np.mean(model.predict(data) == -1) == pytest.approx(0.1, abs=0.01)


# Weights of rows.


def test_rows_of_no_weight_might_as_well_not_be_there():
    weights = np.random.default_rng(0).integers(0, 2, size=300)
    junk = np.where(weights[:, None] == 0, 1e6, X)
    weighted = Autoencoder((6, 3), random_state=0, max_epochs=3).fit(junk, sample_weight=weights)
    alone = Autoencoder((6, 3), random_state=0, max_epochs=3).fit(X[weights > 0])
    assert same_weights(weighted, alone)
    assert weighted.threshold_ == alone.threshold_
    np.testing.assert_array_equal(weighted.calibration_.errors, alone.calibration_.errors)


def test_only_the_ratio_of_weights_counts():
    weights = np.random.default_rng(0).uniform(1, 2, size=300)
    first, second = (
        Autoencoder((6, 3), random_state=0, max_epochs=3, dtype="float64").fit(X, sample_weight=factor * weights)
        for factor in (1, 1024)
    )
    assert same_weights(first, second)


def test_a_weight_of_two_is_a_row_twice_in_a_full_batch():
    options = {"encoder_layer_sizes": (6, 3), "dtype": "float64", "random_state": 0, "max_epochs": 3, "scaler": None}
    options |= {"validation_fraction": 0, "batch_size": 1000, "optimizer": SGD(), "learning_rate": 0.01}
    options |= {"score_metric": "mse"}
    weights = np.repeat([1, 2], 150)
    weighted = Autoencoder(**options).fit(X, sample_weight=weights)
    repeated = Autoencoder(**options).fit(np.repeat(X, weights, axis=0))
    for first, second in zip(weighted.coefs_, repeated.coefs_, strict=True):
        np.testing.assert_allclose(first, second, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(weighted.loss_curve_, repeated.loss_curve_, rtol=1e-12)


# Unusual tables.


@pytest.mark.parametrize(
    "data",
    [
        np.ones((1, 1)),
        np.array([[3.0, 1.0, 4.0]]),
        np.arange(9.0).reshape(-1, 1),
        np.full((40, 3), 7.5),
        np.column_stack([np.arange(30.0), np.full(30, 1e9), np.zeros(30)]),
        np.repeat(RNG.normal(size=(1, 4)), 25, axis=0),
        RNG.normal(size=(40, 3)) * 1e-310,
        RNG.normal(size=(40, 3)) * 1e30,
        (RNG.normal(size=(40, 3)) * 1e4).astype("float16"),
        np.array([[2**62, -(2**62)], [1, 2], [3, 4]]),
    ],
    ids=[
        "one value",
        "one row",
        "one column",
        "one value all over",
        "constants",
        "equal rows",
        "denormal",
        "huge",
        "half",
        "long integers",
    ],
)
@pytest.mark.parametrize("scaler", ["standard", "minmax", "robust", "deciles"])
@pytest.mark.parametrize("metric", ["mse", "max", "mahalanobis"])
def test_every_table_trains_and_scores_finitely(data, scaler, metric):
    model = Autoencoder(max_epochs=5, random_state=0, scaler=scaler, score_metric=metric, drop_last=True).fit(data)
    assert np.isfinite(model.score_samples(data)).all()
    assert np.isfinite(model.reconstruct(data)).all()
    assert np.isfinite(model.threshold_)
    assert np.isfinite(model.p_values(data)).all()
    assert set(model.predict(data)) <= {-1, 1}


def test_values_never_seen_before_score_finitely():
    model = fitted(dtype="float32", max_epochs=2)
    rows = np.array([[1e300] * 7, [-1e308] * 7, [5e-324] * 7, [0.0] * 7])
    errors = model.reconstruction_error(rows)
    assert np.isfinite(errors).all()
    assert errors[0] > model.threshold_
    assert errors[1] > model.threshold_


def test_overcomplete_codes_are_allowed():
    model = fitted(encoder_layer_sizes=(20,), max_epochs=2)
    assert model.transform(X).shape == (300, 20)
    expected = reference.errors(*oracle(model), X, "mse")
    np.testing.assert_allclose(model.reconstruction_error(X), expected, rtol=1e-9)


def test_rows_too_small_for_single_precision_are_refused_as_such():
    rows = (np.random.default_rng(0).normal(size=(200, 4)) * 1e-40).astype(np.float32)
    model = Autoencoder((2,), scaler=None, max_epochs=1, score_metric="mahalanobis", random_state=0).fit(rows)
    message = (
        "the error of row 0 is nan: the training rows' residuals were so small that one over them does not fit into "
        "float32; fit with a scaler, or score_metric='mse'"
    )
    with raises_exactly(ValueError, message):
        model.predict(rows)
    for metric in ("mse", "auto"):
        assert np.isfinite(model.set_params(score_metric=metric).fit(rows).score_samples(rows)).all()
