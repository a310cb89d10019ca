"""The default score of tables of numbers: no column hides another, scores mean the same for all tables and variants."""

import numpy as np
import pytest

import aefast
from aefast import Autoencoder
from aefast.estimators.files import to_bytes
from aefast.exceptions import ModelFileError
from aefast.model import file
from aefast.training.distances import MAX_FULL

VARIANTS = [
    Autoencoder,
    aefast.DenoisingAutoencoder,
    aefast.SparseAutoencoder,
    aefast.ContractiveAutoencoder,
    aefast.VariationalAutoencoder,
]


def related(n_rows=600, n_columns=6, seed=0, n_causes=2, noise=0.2):
    """Rows whose columns hang together."""
    rng = np.random.default_rng(seed)
    mixing = np.random.default_rng(7).normal(size=(n_causes, n_columns))
    return rng.normal(size=(n_rows, n_causes)) @ mixing + noise * rng.normal(size=(n_rows, n_columns))


def quick(cls=Autoencoder, *sizes, **parameters):
    return cls(*sizes, **{"max_epochs": 8, "random_state": 0, "n_threads": 1, **parameters})


@pytest.mark.parametrize("n_columns", [1, 2, 7, 300, 700])
def test_auto_is_one_metric_for_all_numbers_of_columns(n_columns):
    model = quick(max_epochs=2).fit(related(250, n_columns))
    assert model.score_metric_ == "calibrated"
    assert model.whitening_ is None


def test_auto_is_the_same_metric_for_images():
    images = np.random.default_rng(0).random((60, 8, 8, 1))
    model = aefast.ConvolutionalAutoencoder(max_epochs=1, random_state=0).fit(images)
    assert model.score_metric_ == "calibrated"
    images[3, 2, 5] = 40.0
    assert model.reconstruction_error(images).argmax() == 3


def test_usual_rows_have_scores_around_zero():
    for n_columns in (3, 30, 300):
        model = quick().fit(related(2500, n_columns, n_causes=3))
        scores = model.reconstruction_error(related(1000, n_columns, seed=1, n_causes=3))
        assert abs(np.median(scores)) < 1
        assert 0.5 < (np.quantile(scores, 0.9) - np.quantile(scores, 0.1)) / 2.563 < 2


@pytest.mark.parametrize("cls", VARIANTS, ids=lambda cls: cls.__name__)
@pytest.mark.parametrize("seed", [0, 1])
def test_a_value_far_beyond_its_range_is_on_top_and_its_column_is_the_reason(cls, seed):
    X = related(800, 12, seed)
    model = quick(cls, random_state=seed).fit(X)
    rows = related(200, 12, seed + 10)
    at, low, high = seed + 3, X[:, seed + 3].min(), X[:, seed + 3].max()
    for value in (high + 0.6 * (high - low), low - 0.6 * (high - low), 1e6, -1e9):
        rows[0, at] = value
        scores = model.reconstruction_error(rows)
        assert scores.argmax() == 0
        assert scores[0] > model.reconstruction_error(X).max()
        assert model.p_values(rows[:1])[0] == model.calibration_.least
        explained = model.model_.explanation(rows[:1], top=1)
        assert explained["feature"][0] == f"x{at}"


@pytest.mark.parametrize("sizes", [(2,), (64, 8), (30, 20, 10)])
@pytest.mark.parametrize("n_columns", [2, 40, 280])
def test_no_number_of_columns_and_no_size_of_the_network_hides_a_value(sizes, n_columns):
    X = related(400, n_columns, n_causes=3)
    model = quick(Autoencoder, sizes, max_epochs=3).fit(X)
    rows = related(50, n_columns, seed=5, n_causes=3)
    rows[7, 1] = 1e5
    assert model.reconstruction_error(rows).argmax() == 7
    assert model.p_values(rows)[7] == model.calibration_.least
    assert model.model_.explanation(rows[7:8], top=1)["feature"][0] == "x1"


def test_a_value_a_little_outside_its_range_does_not_outrank_all_rows():
    X = related(800, 12)
    X[5, 0] = 60  # so that the largest score of training is large
    model = quick().fit(X)
    row = related(1, 12, seed=9)
    low, high = X[:, 3].min(), X[:, 3].max()
    scores = []
    for beyond in (0, 1e-8, 0.03, 0.5, 0.6):
        row[0, 3] = high + beyond * (high - low)
        scores.append(model.reconstruction_error(row)[0])
    assert scores[1] == pytest.approx(scores[0], abs=1e-3)
    assert scores[2] < scores[0] + 0.5
    assert scores[4] > scores[3] >= model.reconstruction_error(X).max()


def test_models_saved_without_the_slope_of_the_guard_keep_the_one_they_had():
    distances = quick().fit(related(300, 4)).model_.distances
    tensors = {f"distances.{name}": each for name, each in distances._asdict().items() if name != "slope"}
    again = file._distances(tensors, 4, len(distances.centre) - 4)
    assert (distances.slope.tolist(), again.slope.tolist()) == ([6.0], [2.0])


def test_beyond_the_clip_further_out_is_stranger():
    X = related(500, 5)
    model = quick().fit(X)
    rows = np.tile(X[0], (30, 1))
    rows[:, 2] = np.geomspace(50, 1e8, 30)
    assert (np.diff(model.reconstruction_error(rows)) > 0).all()


@pytest.mark.parametrize("constant", [0.0005, 0.5, 500.0, -3e7])
def test_a_constant_that_changes_is_on_top_in_any_unit(constant):
    X = related(500, 5)
    X[:, 3] = constant
    model = quick().fit(X)
    rows = related(100, 5, seed=3)
    rows[:, 3] = constant
    rows[4, 3] = 1.2 * constant
    assert model.p_values(rows)[4] == model.calibration_.least
    assert model.reconstruction_error(rows).argmax() == 4
    assert model.model_.explanation(rows[4:5], top=1)["feature"][0] == "x3"


def test_values_that_differ_by_rounding_are_not_beyond_a_range():
    X = related(400, 4)
    X[:, 2] = np.where(X[:, 1] > 0, 21.61, 21.61 * (1 + 1e-7))
    model = quick(dtype="float64").fit(X)
    rows = related(200, 4, seed=1)
    rows[:, 2] = 21.61 * (1 + 2e-7)
    assert (model.model_._predictors.get().parts(rows)[:, 3] < 0.5).all()


def test_anomalies_among_the_training_rows_are_not_learned():
    X = related(1000, 6, noise=0.3)
    X[:60] = 0.05 * X[:60] + [4, -4, 4, -4, 4, -4]
    model = quick(max_epochs=30).fit(X)
    fresh = related(1000, 6, seed=3, noise=0.3)
    flock = 0.05 * related(60, 6, seed=4) + [4, -4, 4, -4, 4, -4]
    assert np.median(model.reconstruction_error(flock)) > np.quantile(model.reconstruction_error(fresh), 0.99)


@pytest.mark.parametrize("n_columns", [100, 150])
def test_the_low_rank_form_ranks_nearly_like_the_full_one(n_columns, monkeypatch):
    X, T = related(1500, n_columns, n_causes=5), related(500, n_columns, seed=2, n_causes=5)
    T[:25] += 0.5 * np.random.default_rng(0).normal(size=(25, n_columns))
    assert n_columns + 40 < MAX_FULL
    full = quick().fit(X)
    monkeypatch.setattr("aefast.training.distances.MAX_FULL", 4)
    low = quick().fit(X)
    assert len(low.distances_.rest) > 0 == len(full.distances_.rest)
    scores = [model.reconstruction_error(T) for model in (full, low)]
    assert np.corrcoef(*scores)[0, 1] > 0.95
    for score in scores:
        assert (np.argsort(-score)[:25] < 25).mean() > 0.9


# Expected values and reasons.


def test_expected_values_lie_in_the_range_of_training():
    rng = np.random.default_rng(0)
    X = related(600, 5)
    X[:, 1] = rng.poisson(0.7, 600)
    model = quick(Autoencoder, (2,)).fit(X)
    rows = related(300, 5, seed=1)
    rows[:, 1] = rng.poisson(3, 300)
    for top in (2, 5):
        table = model.model_.explanation(rows, top=top)
        of_count = table[table["feature"] == "x1"]
        assert of_count["expected"].min() >= 0
        assert of_count["expected"].max() <= X[:, 1].max()


def test_a_reason_is_never_a_value_that_was_expected_as_printed():
    X = related(500, 6)
    X[:, 2] = np.where(X[:, 0] > 0.5, 21.61, 21.61000001)
    X[:, 4] = 7.0
    model = quick(dtype="float64").fit(X)
    rows = related(300, 6, seed=1)
    rows[:, 2], rows[:, 4] = X[:300, 2], 7.0
    for top in (1, 3, 6):
        table = model.model_.explanation(rows, top=top)
        alike = [f"{v:.6g}" == f"{e:.6g}" for v, e in zip(table["value"], table["expected"], strict=True)]
        assert not any(alike)
    assert set(np.unique(table["row"])) == set(range(300))


def test_shares_add_up_to_the_score_below_zero_too():
    X = related(400, 5)
    model = quick(dtype="float64").fit(X)
    errors, parts = model.reconstruction_error(X), model.feature_errors(X)
    assert (errors < 0).any()
    np.testing.assert_allclose(parts.sum(axis=1), errors, rtol=1e-9)
    table = model.model_.explanation(X, top=5)
    shares = table["share"].reshape(-1, 5)
    np.testing.assert_allclose(shares.sum(axis=1), 1, rtol=1e-6)
    assert (np.diff(shares, axis=1) <= 0).all()


# The ways to fit.


def test_blocks_give_the_same_score_as_rows_in_memory():
    X, T = related(3000, 6), related(800, 6, seed=1)
    T[:40] += 3 * np.random.default_rng(0).normal(size=(40, 6))
    whole = quick(max_epochs=15).fit(X)
    blocks = quick(max_epochs=15).fit_batches(np.array_split(X, 7))
    once = quick().fit_batches(iter(np.array_split(np.tile(X, (8, 1)), 60)))
    few = quick()
    for part in np.array_split(np.tile(X, (8, 1)), 60):
        few.partial_fit(part)
    for model in (whole, blocks, once, few):
        assert model.score_metric_ == "calibrated"
        scores = model.reconstruction_error(T)
        assert (np.argsort(-scores)[:30] < 40).mean() > 0.9
        assert 0.05 < (model.predict(related(2000, 6, seed=9)) == -1).mean() < 0.15


@pytest.mark.parametrize("n_rows", [1, 2, 3, 5, 20])
def test_a_few_rows_can_be_learned(n_rows):
    model = quick().fit(related(n_rows, 3))
    assert np.isfinite(model.reconstruction_error(related(50, 3))).all()
    assert np.isfinite(quick().partial_fit(related(n_rows, 3)).reconstruction_error(related(50, 3))).all()


@pytest.mark.parametrize("X", [np.zeros((50, 3)), np.repeat(np.eye(4), 30, axis=0), np.ones((5, 1))])
def test_tables_of_few_different_rows_have_finite_scores(X):
    model = quick().fit(X)
    assert np.isfinite(model.reconstruction_error(X)).all()
    assert (model.reconstruction_error(X + 5) > model.reconstruction_error(X).max()).all()


def test_a_first_block_unlike_the_rest_does_not_end_learning():
    rng = np.random.default_rng(0)
    mixing = rng.normal(size=(3, 8))

    def block(n=100):
        return np.tanh(rng.normal(size=(n, 3)) @ mixing) * 50 + 300 + rng.normal(size=(n, 8))

    blocks = [np.zeros((100, 8)), *(block() for _ in range(30))]
    T = block(1000)
    T[:100] = rng.permuted(T[:100], axis=0)
    is_odd = np.arange(1000) < 100

    def auc(model):
        ranks = model.reconstruction_error(T).argsort().argsort()
        return (ranks[is_odd].mean() - ranks[~is_odd].mean()) / 1000 + 0.5

    calls = quick(max_epochs=20)
    for each in blocks:
        calls.partial_fit(each)
    once = quick().fit_batches(iter(blocks))
    drifted = quick(warm_start=True, max_epochs=1).fit(blocks[0]).fit(np.concatenate(blocks[1:]))
    whole = quick(max_epochs=1).fit(np.concatenate(blocks))
    for model in (calls, once, drifted):
        assert len(np.unique(model.reconstruction_error(T))) > 900
        assert auc(model) > auc(whole) - 0.05


def test_weights_reach_the_scaler_the_score_and_the_threshold():
    X = related(500, 4)
    odd = X.copy()
    odd[:150] = 40 * odd[:150] + 500
    weights = np.where(np.arange(500) < 150, 1e-9, 1.0)
    light, without = quick().fit(odd, sample_weight=weights), quick().fit(odd[150:])
    np.testing.assert_allclose(light.scaler_shift_, without.scaler_shift_, atol=0.3)
    np.testing.assert_allclose(light.scaler_scale_, without.scaler_scale_, rtol=0.2)
    T = related(1000, 4, seed=5)
    assert abs((light.predict(T) == -1).mean() - 0.1) < 0.06
    assert abs((without.predict(T) == -1).mean() - 0.1) < 0.06


def test_equal_weights_are_no_weights():
    X = related(300, 4)
    plain, weighted = quick().fit(X), quick().fit(X, sample_weight=np.full(300, 1.0))
    np.testing.assert_array_equal(plain.reconstruction_error(X), weighted.reconstruction_error(X))
    assert plain.threshold_ == weighted.threshold_


@pytest.mark.parametrize("precision", ["bfloat16", "int8"])
def test_low_precision_ranks_nearly_as_single(precision):
    X, T = related(1500, 60, n_causes=5), related(300, 60, seed=1, n_causes=5)
    model = quick(Autoencoder, (48, 8)).fit(X)
    single, low = (model.reconstruction_error(T, precision=each) for each in ("float32", precision))
    assert np.corrcoef(single, low)[0, 1] > 0.98


def test_the_best_epoch_is_the_one_of_the_kept_weights():
    X = related(400, 6)
    model = quick(max_epochs=30).fit(X)
    assert model.validation_curve_[model.best_epoch_ - 1] == min(model.validation_curve_) == model.best_loss_
    assert aefast.load(to_bytes(model)).best_epoch_ == model.best_epoch_
    assert quick(max_epochs=3, early_stopping=False).fit(X).best_epoch_ == 3


# The file.


def test_a_loaded_model_has_the_same_scores_to_the_bit():
    X = related(300, 5)
    model = quick().fit(X)
    again = aefast.load(to_bytes(model))
    np.testing.assert_array_equal(again.reconstruction_error(X), model.reconstruction_error(X))
    np.testing.assert_array_equal(again.feature_errors(X), model.feature_errors(X))
    assert to_bytes(again) == to_bytes(model)


@pytest.mark.parametrize("name", ["elements", "centre", "matrix", "means", "unit", "calibration"])
def test_distances_that_do_not_fit_are_refused(name):
    model = quick(max_epochs=1).fit(related(100, 4))
    array = getattr(model.distances_, name)
    for wrong in (array[:-1], np.full_like(array, -7)):
        model.model_ = model.model_.replace(distances=model.distances_._replace(**{name: wrong}))
        if name in ("centre", "matrix", "means") and wrong.shape == array.shape:
            continue
        with pytest.raises((ValueError, ModelFileError)):
            to_bytes(model)


# Thresholds hold for fresh rows.


def flagged(fits, contamination, n_columns=6, n_fresh=2000):
    """Return the mean share of fresh rows that are flagged, over some fits."""
    shares = []
    for seed, fit in fits:
        model = fit.set_params(contamination=contamination, random_state=seed)
        fresh = related(n_fresh, n_columns, seed=1000 + seed)
        shares.append((model.fit(related(fit.n_rows, n_columns, seed)).predict(fresh) == -1).mean())
    return np.mean(shares)


def fits_of(n_rows, seeds=8, **parameters):
    for seed in range(seeds):
        model = quick(**parameters)
        model.n_rows = n_rows
        yield seed, model


@pytest.mark.parametrize("contamination", [0.05, 0.1, 0.3])
@pytest.mark.parametrize("n_rows", [60, 250, 460, 1000])
def test_the_threshold_of_a_few_rows_flags_its_share_of_fresh_rows(n_rows, contamination):
    chance = 3 * np.sqrt(contamination * (1 - contamination) / (n_rows * 8))
    assert abs(flagged(fits_of(n_rows), contamination) - contamination) < chance + 0.01


@pytest.mark.parametrize("contamination", [0.05, 0.2])
def test_the_threshold_of_many_rows_flags_its_share_of_fresh_rows(contamination):
    assert abs(flagged(fits_of(2500, 3), contamination) - contamination) < 0.025


OVERFITS = {"encoder_layer_sizes": (64, 16), "max_epochs": 150, "early_stopping": False, "learning_rate": 0.01}


def test_a_network_that_overfits_flags_no_more_fresh_rows():
    assert abs(flagged(fits_of(150, 4, **OVERFITS), 0.1) - 0.1) < 0.05


def test_rows_that_were_learned_are_moved_to_scores_of_fresh_ones():
    # Without the move .113 of the fresh rows are flagged.
    assert 0.07 < flagged(fits_of(500, 4, **OVERFITS), 0.1, 40) < 0.105


def test_p_values_of_fresh_rows_are_uniform():
    p = np.concatenate(
        [quick(random_state=s).fit(related(200, 5, s)).p_values(related(1000, 5, 100 + s)) for s in range(6)]
    )
    for level in (0.02, 0.05, 0.1, 0.3, 0.7):
        assert abs((p <= level).mean() - level) < 0.05


def test_flagged_rows_are_those_with_small_p_values():
    for n in (80, 2500):
        model = quick(contamination=0.1).fit(related(n, 5))
        fresh = related(1000, 5, seed=3)
        assert (model.predict(fresh) == -1).sum() == pytest.approx((model.p_values(fresh) <= 0.1).sum(), abs=15)


def test_a_weight_counts_as_so_many_rows():
    X = related(400, 4)
    weights = np.where(np.arange(400) < 100, 3.0, 1.0)
    weighted = quick().fit(X, sample_weight=weights)
    repeated = quick().fit(np.repeat(X, weights.astype(int), axis=0))
    np.testing.assert_allclose(weighted.scaler_shift_, repeated.scaler_shift_, atol=0.06)
    np.testing.assert_allclose(weighted.scaler_scale_, repeated.scaler_scale_, rtol=0.05)
    fresh = related(1500, 4, seed=8)
    assert abs((weighted.predict(fresh) == -1).mean() - (repeated.predict(fresh) == -1).mean()) < 0.07


def test_most_rows_beyond_training_are_refused_by_recalibrate():
    X = related(500, 5)
    model = quick().fit(X)
    before = model.threshold_
    with pytest.raises(ValueError, match="most of these rows are beyond the range that the model learned"):
        model.recalibrate(X * 400 + 5000)
    assert model.threshold_ == before
    model.recalibrate(X * 1.3)
    assert 0.05 < (model.predict(X * 1.3) == -1).mean() < 0.15
