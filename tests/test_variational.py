"""VariationalAutoencoder: its bound is a bound, its samples follow the distribution, its results repeat."""

import numpy as np
import pytest

import aefast
from aefast import LinearSchedule, VariationalAutoencoder
from aefast.estimators.files import to_bytes
from messages import raises_exactly
from variants import drawn_code

RNG = np.random.default_rng(0)
X = RNG.normal(size=(1500, 2)) @ RNG.normal(size=(2, 6)) + 0.1 * RNG.normal(size=(1500, 6))
FAST = {"max_epochs": 30, "learning_rate": 0.01, "random_state": 0}


@pytest.fixture(scope="module")
def model():
    settings = {"activation": "relu", "scaler": "standard", "score_metric": "mse"}
    return VariationalAutoencoder((16, 2), **FAST, **settings, dtype="float64").fit(X)


def test_the_last_encoder_layer_has_means_and_log_variances(model):
    assert [w.shape for w in model.coefs_] == [(6, 16), (16, 4), (2, 16), (16, 6)]
    assert model.transform(X).shape == (1500, 2)
    assert model.get_feature_names_out().tolist() == ["variationalautoencoder0", "variationalautoencoder1"]


def test_the_distribution_of_a_code_is_the_output_of_the_encoder(model):
    mean, log_variance = model.encode_distribution(X)
    scaled = (X - model.scaler_shift_) / model.scaler_scale_
    hidden = np.maximum(scaled @ model.coefs_[0] + model.intercepts_[0], 0)
    moments = hidden @ model.coefs_[1] + model.intercepts_[1]
    np.testing.assert_allclose(mean, moments[:, :2], rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(log_variance, moments[:, 2:], rtol=1e-9, atol=1e-9)
    np.testing.assert_array_equal(mean, model.transform(X))
    np.testing.assert_allclose(model.inverse_transform(mean), model.reconstruct(X), rtol=1e-12)


def test_scores_repeat_and_do_not_depend_on_neighbours(model):
    scores = model.score_samples(X)
    np.testing.assert_array_equal(model.score_samples(X), scores)
    np.testing.assert_array_equal(model.score_samples(X[700:]), scores[700:])
    residual = (model.reconstruct(X) - X) / model.scaler_scale_
    np.testing.assert_allclose(scores, -(residual**2).mean(axis=1), rtol=1e-9)


def expected_elbo(model, rows, draws):
    """By its formula, from what the model shows."""
    mean, log_variance = model.encode_distribution(rows)
    divergence = 0.5 * (mean**2 + np.exp(log_variance) - log_variance - 1).sum(axis=1)
    z = mean + np.exp(log_variance / 2) * draws
    residual = (model.inverse_transform(z) - rows) / model.scaler_scale_
    return -0.5 * (residual**2).sum(axis=1) - divergence


def test_the_elbo_is_its_formula_on_average_over_draws(model):
    rows, n_draws = X[:200], 400
    rng = np.random.default_rng(1)
    many = np.array([expected_elbo(model, rows, rng.normal(size=(200, 2))) for _ in range(n_draws)])
    got = model.elbo(rows, n_draws=n_draws)
    error = np.sqrt(2 * many.var(axis=0, ddof=1) / n_draws)
    assert (np.abs(got - many.mean(axis=0)) < 5 * error + 1e-9).all()
    assert np.abs(((got - many.mean(axis=0)) / error).mean()) < 5 / np.sqrt(200)


def test_the_elbo_repeats_and_other_seeds_draw_anew(model):
    first = model.elbo(X)
    assert first.dtype == np.float64
    np.testing.assert_array_equal(model.elbo(X), first)
    assert (model.elbo(X, random_state=1) != first).mean() > 0.99
    model.n_threads = 2
    np.testing.assert_array_equal(model.elbo(X), first)


def test_the_objective_of_training_is_minus_the_elbo():
    settings = {"max_epochs": 0, "validation_fraction": 0, "random_state": 0, "dtype": "float64"}
    settings |= {"score_metric": "mse"}  # which looks at all rows
    model = VariationalAutoencoder((16, 2), **settings).fit(X)
    # The mean over rows of one draw each; rows are many.
    elbo = model.elbo(X)
    assert model.best_loss_ == pytest.approx(-elbo.mean(), abs=5 * elbo.std() / np.sqrt(len(X)))
    mean, log_variance = model.encode_distribution(X)
    divergence = 0.5 * (mean**2 + np.exp(log_variance) - log_variance - 1).sum(axis=1).mean()
    weighted = VariationalAutoencoder((16, 2), beta=3.0, **settings).fit(X)
    assert weighted.best_loss_ - model.best_loss_ == pytest.approx(2 * divergence, rel=1e-9)


def test_a_bernoulli_bound_is_below_the_likelihood_that_could_be():
    # 2 equal bits, drawn with probability 1/2: no model has more than log(1/2) a row.
    bits = np.repeat(np.random.default_rng(0).integers(0, 2, size=(2000, 1)), 2, axis=1).astype(float)
    settings = {"loss": "binary_crossentropy", "output_activation": "sigmoid", "scaler": None}
    model = VariationalAutoencoder((16, 1), **settings, **{**FAST, "max_epochs": 150}).fit(bits)
    elbo = model.elbo(bits, n_draws=20)
    assert elbo.mean() < np.log(0.5)
    assert elbo.mean() > 2 * np.log(0.5) + 0.2  # better than bits that know nothing of each other
    assert -model.validation_curve_[-1] == pytest.approx(elbo.mean(), abs=0.1)


def test_more_beta_is_less_divergence():
    divergences = []
    for beta in (0.1, 1.0, 5.0):
        mean, log_variance = VariationalAutoencoder((16, 2), beta=beta, **FAST).fit(X).encode_distribution(X)
        divergences.append(0.5 * (mean**2 + np.exp(log_variance) - log_variance - 1).sum(axis=1).mean())
    assert divergences[0] > 1.2 * divergences[1] > 1.44 * divergences[2]


def test_samples_look_like_the_training_rows(model):
    new = model.sample(4000, random_state=0)
    assert new.shape == (4000, 6)
    np.testing.assert_array_equal(model.sample(4000, random_state=0), new)
    assert (model.sample(10) != model.sample(10)).any()
    # The rows' codes together are about standard normal, so what is made of normal codes is like what is made of them.
    given_back = model.reconstruct(X)
    np.testing.assert_allclose(new.mean(axis=0), given_back.mean(axis=0), atol=0.2 * X.std())
    np.testing.assert_allclose(np.cov(new.T), np.cov(given_back.T), atol=0.3 * X.var())


@pytest.mark.parametrize("n_codes", [1, 3, 8])
def test_codes_are_drawn_from_the_standard_normal(n_codes):
    draws = np.concatenate([drawn_code(300, n_codes, seed=2, epoch=epoch) for epoch in range(5)])
    n = draws.size
    assert abs(draws.mean()) < 5 / np.sqrt(n)
    assert draws.var() == pytest.approx(1, abs=5 * np.sqrt(2 / n))
    assert np.unique(draws.round(7)).size > 0.99 * n


def test_beta_may_follow_a_schedule():
    warm = VariationalAutoencoder((16, 2), beta=LinearSchedule(0.0, 1.0, n_epochs=5), **{**FAST, "max_epochs": 8}).fit(
        X
    )
    cold = VariationalAutoencoder((16, 2), **{**FAST, "max_epochs": 8}).fit(X)
    assert warm.loss_curve_[0] < 0.9 * cold.loss_curve_[0]
    # Held-out rows are evaluated with the whole objective from the first epoch.
    assert warm.validation_curve_[0] > warm.loss_curve_[0]
    assert warm.best_loss_ == min(warm.validation_curve_[4:])


def test_no_epoch_of_the_warm_up_is_the_last_or_the_best():
    beta = LinearSchedule(0.0, 5.0, n_epochs=20)
    settings = {**FAST, "max_epochs": 24, "n_epochs_no_change": 2, "validation_fraction": 0}
    model = VariationalAutoencoder((16, 2), beta=beta, **settings).fit(X)
    assert model.n_epochs_ > 20
    assert model.best_loss_ == min(model.loss_curve_[20:])
    assert min(model.loss_curve_) < model.best_loss_


def test_log_variances_stay_finite_and_come_back():
    model = VariationalAutoencoder((16, 2), **{**FAST, "max_epochs": 1}, warm_start=True).fit(X)
    model.intercepts_[1] = np.append(model.intercepts_[1][:2], [200.0] * 2)
    assert (model.encode_distribution(X)[1] == 20).all()
    assert np.isfinite(model.elbo(X)).all()
    # Far outside, the divergence still pulls.
    model.intercepts_[1] = np.append(model.intercepts_[1][:2], [25.0] * 2)
    model.set_params(max_epochs=30, learning_rate=0.1, clip_norm=1.0, early_stopping=False).fit(X)
    assert (model.encode_distribution(X)[1] < 20).all()


@pytest.mark.parametrize("loss", ["mse", "mae", "huber"])
def test_other_likelihoods_train(loss):
    model = VariationalAutoencoder((16, 2), loss=loss, dropout=0.1, batch_norm=True, **FAST).fit(X)
    assert model.validation_curve_[-1] < 0.8 * model.validation_curve_[0]
    assert model.norms_[1] is None  # log-variances are not normalised


def test_a_loaded_model_has_the_same_bound_and_samples(model):
    again = aefast.load(to_bytes(model))
    np.testing.assert_array_equal(again.elbo(X), model.elbo(X))
    np.testing.assert_array_equal(again.sample(3, random_state=0), model.sample(3, random_state=0))
    np.testing.assert_array_equal(again.encode_distribution(X)[1], model.encode_distribution(X)[1])


HELD = "in a VariationalAutoencoder, whose code is means and log-variances and is held by beta, got"
WRONG = {
    "ties": (lambda m: VariationalAutoencoder(tied_weights=True).fit(X), f"tied_weights must be False {HELD} True"),
    "a bent code": (
        lambda m: VariationalAutoencoder(code_activation="relu").fit(X),
        f"code_activation must be 'identity' {HELD} 'relu'",
    ),
    "a penalty on what is drawn": (
        lambda m: VariationalAutoencoder(activity_l2=0.1).fit(X),
        f"activity_l2 must be 0 {HELD} 0.1",
    ),
    "a negative beta": (
        lambda m: VariationalAutoencoder(beta=-1.0).fit(X),
        (
            "The 'beta' parameter of VariationalAutoencoder must be a float in the range [0.0, inf) or an instance of "
            "'aefast.schedules.Schedule'. Got -1.0 instead."
        ),
    ),
    "no draws": (lambda m: m.elbo(X, n_draws=0), "n_draws must be an integer of at least 1, got 0"),
    "no samples": (lambda m: m.sample(0), "n must be an integer of at least 1, got 0"),
    "half a sample": (lambda m: m.sample(0.5), "n must be an integer of at least 1, got 0.5"),
    "rows that are not finite": (
        lambda m: m.elbo(np.full((2, 6), np.inf)),
        "X contains NaN or infinity: 12 values are not finite, the first (inf) in row 0, column 'x0'",
    ),
}


@pytest.mark.parametrize("use", WRONG)
def test_wrong_uses_are_answered_in_one_line(use, model):
    do, message = WRONG[use]
    with raises_exactly(ValueError, message):
        do(model)


def test_the_bound_is_that_of_the_likelihood_in_fit(model):
    rows, bound = X[:50], model.elbo(X[:50])
    changed = aefast.load(to_bytes(model)).set_params(loss="mae")
    np.testing.assert_array_equal(changed.elbo(rows), bound)
    again = aefast.load(to_bytes(changed))
    assert again.loss == "mae"
    np.testing.assert_array_equal(again.elbo(rows), bound)
