"""DenoisingAutoencoder: the effect of each noise, and the clean row as the target."""

import numpy as np
import pandas as pd
import pytest

import aefast
from aefast import ConvergenceError, DenoisingAutoencoder
from aefast.engine import core
from aefast.estimators.files import to_bytes
from messages import TAKES_MISSING, raises_exactly
from variants import corrupted

RNG = np.random.default_rng(0)
X = RNG.normal(size=(400, 2)) @ RNG.normal(size=(2, 6))
NOISES = ("gaussian", "masking", "salt_pepper")
N = 400


def noisy_rows(kind, level, x=None, epoch=0, lowest=-3.0, highest=5.0):
    x = np.tile([0.5, 1.0, -1.0, 2.0], (N, 1)) if x is None else x
    bounds = {"noise_lowest": [lowest] * x.shape[1], "noise_highest": [highest] * x.shape[1]}
    return x, corrupted(x, {"noise": kind, "noise_level": level, **bounds}, seed=1, epoch=epoch)


def near(share, n):
    """An observed share of n draws is within five standard deviations."""
    return pytest.approx(share, abs=5 * np.sqrt(share * (1 - share) / n))


@pytest.mark.parametrize("level", [0.1, 2.0])
def test_gaussian_noise_has_its_deviation(level):
    x, noisy = noisy_rows("gaussian", level)
    z = (noisy - x) / level
    n = z.size
    assert abs(z.mean()) < 5 / np.sqrt(n)
    assert z.var() == pytest.approx(1, abs=5 * np.sqrt(2 / n))
    assert (z**4).mean() == pytest.approx(3, abs=5 * np.sqrt(96 / n))
    assert (np.abs(z) > 2).mean() == near(0.0455, n)
    assert np.abs(np.corrcoef(z.T)[np.triu_indices(4, 1)]).max() < 5 / np.sqrt(N)


@pytest.mark.parametrize("level", [0.1, 0.7])
def test_masking_sets_its_share_to_zero_and_leaves_the_others(level):
    x, noisy = noisy_rows("masking", level)
    changed = np.abs(noisy) < 1e-9
    assert changed.mean() == near(level, x.size)
    np.testing.assert_allclose(noisy[~changed], x[~changed], rtol=1e-12)


@pytest.mark.parametrize("level", [0.1, 0.7])
def test_salt_and_pepper_sets_its_share_to_the_ends_of_the_feature(level):
    x, noisy = noisy_rows("salt_pepper", level)
    pepper, salt = np.abs(noisy + 3) < 1e-9, np.abs(noisy - 5) < 1e-9
    assert pepper.mean() == near(level / 2, x.size)
    assert salt.mean() == near(level / 2, x.size)
    np.testing.assert_allclose(noisy[~pepper & ~salt], x[~pepper & ~salt], rtol=1e-12)


@pytest.mark.parametrize("kind", NOISES)
def test_every_epoch_has_its_own_noise(kind):
    (x, first), (_, again), (_, other) = (noisy_rows(kind, 0.5, epoch=epoch) for epoch in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert ((first != x) != (other != x)).any() or (first != other).any()


@pytest.mark.parametrize("kind", NOISES)
def test_no_noise_is_a_plain_autoencoder(kind):
    plain = aefast.Autoencoder((4,), max_epochs=3, random_state=0).fit(X)
    model = DenoisingAutoencoder((4,), noise=kind, noise_level=0, max_epochs=3, random_state=0).fit(X)
    for a, b in zip(model.coefs_, plain.coefs_, strict=True):
        np.testing.assert_array_equal(a, b)


def linear_gain(model):
    """Return the factor by which a linear autoencoder of one feature multiplies."""
    return float((model.coefs_[0] @ model.coefs_[1])[0, 0])


@pytest.mark.parametrize("level", [0.5, 1.0])
def test_a_linear_network_shrinks_as_much_as_the_noise_asks(level):
    # E (x - g (x + s e))^2 is least at g = 1 / (1 + s^2) for x of unit variance: only with the clean row as the target.
    rows = np.random.default_rng(1).normal(size=(4000, 1))
    settings = {"max_epochs": 60, "learning_rate": 0.02, "random_state": 0, "n_epochs_no_change": 60}
    settings |= {"score_metric": "mse"}  # which learns all rows
    model = DenoisingAutoencoder(
        (1,), noise_level=level, early_stopping=False, dtype="float64", batch_size=1000, **settings
    ).fit(rows)
    assert linear_gain(model) == pytest.approx(1 / (1 + level**2), abs=0.04)


def test_recorded_noise_takes_the_place_of_drawn_noise():
    rows = np.random.default_rng(1).normal(size=(4000, 1))
    settings = {"max_epochs": 60, "learning_rate": 0.02, "batch_size": 1000, "random_state": 0, "dtype": "float64"}
    settings |= {"score_metric": "mse"}
    recorded = rows + np.random.default_rng(2).normal(size=rows.shape)
    # This level of noise would destroy the rows if it were used.
    models = [
        DenoisingAutoencoder((1,), noise_level=level, early_stopping=False, **settings).fit(rows, X_noisy=recorded)
        for level in (0.0, 100.0)
    ]
    assert linear_gain(models[0]) == pytest.approx(0.5, abs=0.04)
    assert linear_gain(models[1]) == linear_gain(models[0])


def test_held_out_rows_are_reconstructed_from_themselves_or_from_recorded_noise():
    settings = {"max_epochs": 0, "random_state": 0, "validation_fraction": 0, "dtype": "float64", "scaler": None}
    model = DenoisingAutoencoder((4,), score_metric="mse", **settings).fit(X)
    assert model.best_loss_ == pytest.approx(-model.score(X), rel=1e-12)
    X_noisy = X + 1
    model.fit(X, X_noisy=X_noisy)
    assert model.best_loss_ == pytest.approx(((model.reconstruct(X_noisy) - X) ** 2).mean(), rel=1e-12)


def test_threshold_and_scaler_come_from_the_clean_rows():
    settings = {"scaler": "standard", "max_epochs": 2, "validation_fraction": 0, "random_state": 0}
    settings |= {"score_metric": "mse"}
    model = DenoisingAutoencoder((4,), **settings).fit(X, X_noisy=100 * X)
    np.testing.assert_allclose(model.scaler_scale_, X.std(axis=0))
    assert (model.predict(X) == -1).mean() == pytest.approx(0.1)


def test_fit_transform_and_fit_predict_take_recorded_noise():
    model = DenoisingAutoencoder((4,), max_epochs=2, random_state=0)
    codes, labels = model.fit_transform(X, X_noisy=X + 1), model.fit_predict(X, X_noisy=X + 1)
    np.testing.assert_array_equal(codes, model.transform(X))
    np.testing.assert_array_equal(labels, model.predict(X))


def test_a_callable_gets_scaled_batches_and_its_rows_are_what_the_network_sees():
    seen = []

    def noise(batch):
        seen.append(batch.copy())
        batch *= 0  # its own copy: the target stays
        return batch

    settings = {"max_epochs": 1, "random_state": 0, "validation_fraction": 0, "batch_size": 150, "dtype": "float64"}
    settings |= {"score_metric": "mse"}
    model = DenoisingAutoencoder((4,), noise=noise, shuffle=False, **settings).fit(X)
    assert [batch.shape for batch in seen] == [(150, 6), (150, 6), (100, 6)]
    scaled = (X - model.scaler_shift_) / model.scaler_scale_
    np.testing.assert_allclose(np.concatenate(seen), scaled, rtol=1e-12)
    # From an empty input the network can reconstruct only the mean, so the loss is the variance.
    assert model.loss_curve_[0] == pytest.approx(1, abs=0.01)


def test_a_callable_is_not_called_for_recorded_noise_and_scoring():
    def noise(batch):
        raise AssertionError("called")

    model = DenoisingAutoencoder((4,), noise=noise, max_epochs=2, random_state=0).fit(X, X_noisy=X)
    model.predict(X)
    with pytest.raises(AssertionError, match="called"):
        model.fit(X)


def test_an_error_in_a_callable_leaves_the_estimator_usable():
    calls = []

    def noise(batch):
        calls.append(1)
        if len(calls) > 3:
            raise RuntimeError("the microphone is unplugged")
        return batch

    model = DenoisingAutoencoder((4,), noise=noise, random_state=0)
    with pytest.raises(RuntimeError, match="unplugged"):
        model.fit(X)
    assert np.isfinite(model.score_samples(X)).all()


def test_noise_helps_to_undo_noise():
    rng = np.random.default_rng(3)
    angle = rng.uniform(0, 2 * np.pi, size=(3000, 1))
    rows = np.concatenate([np.cos(angle), np.sin(angle), np.cos(2 * angle), np.sin(2 * angle)], axis=1)
    X_test, rows = rows[:1000], rows[1000:]
    noisy = X_test + 0.4 * rng.normal(size=X_test.shape)
    errors = {}
    for level in (0.0, 0.4):
        model = DenoisingAutoencoder(
            (64, 16), noise_level=level, scaler=None, max_epochs=60, learning_rate=3e-3, random_state=0
        ).fit(rows)
        errors[level] = ((model.reconstruct(noisy) - X_test) ** 2).mean()
    # The noise has a variance of 0.16 per element; a network trained without noise leaves most of it.
    assert errors[0.4] < 0.7 * errors[0.0] < 0.7 * 0.16


def test_partial_fit_and_fit_batches_corrupt_as_well():
    settings = {"noise": "salt_pepper", "noise_level": 0.5, "random_state": 0}
    for fit in (
        lambda model: model.partial_fit(X).partial_fit(X),
        lambda model: model.fit_batches([X[:200], X[200:]]),
    ):
        noisy = fit(DenoisingAutoencoder((4,), max_epochs=2, **settings))
        clean = fit(DenoisingAutoencoder((4,), max_epochs=2, **{**settings, "noise_level": 0.0}))
        assert noisy.loss_curve_[0] > 1.05 * clean.loss_curve_[0]


def noise_range(monkeypatch, model, rows):
    """Least and largest values that the engine is given for a noise, when the model is fitted."""
    given, trainer = [], core.Trainer

    class Trainer:
        def __new__(cls, network, parameters, objective, *arguments):
            given.append((objective["noise_lowest"], objective["noise_highest"]))
            return trainer(network, parameters, objective, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(core, "Trainer", Trainer)
        model.fit(rows)
    return np.array(given[0])


def test_salt_and_pepper_knows_the_range_of_every_feature(monkeypatch):
    rows = np.random.default_rng(0).uniform(size=(300, 3)) * [1, 10, 100] + [0, 5, -50]
    model = DenoisingAutoencoder((2,), noise="salt_pepper", scaler="minmax", max_epochs=1, random_state=0)
    np.testing.assert_allclose(noise_range(monkeypatch, model, rows), [np.zeros(3), np.ones(3)], atol=1e-12)


def test_saving_a_model_with_a_callable_raises_with_the_reason(tmp_path):
    model = DenoisingAutoencoder((4,), noise=abs, max_epochs=1).fit(X)
    message = (
        "cannot save parameter noise=<built-in function abs>: a model file holds data only; set_params(noise=...) to a "
        "plain value first, which changes no score"
    )
    with raises_exactly(ValueError, message):
        model.save(tmp_path / "model")
    assert not list(tmp_path.iterdir())
    model.set_params(noise="masking")
    assert aefast.load(to_bytes(model)).noise == "masking"


def not_finite(batch):
    batch[0, 0] = np.nan
    return batch


WRONG = {
    "unknown noise": (
        lambda: DenoisingAutoencoder(noise="pink").fit(X),
        (
            "The 'noise' parameter of DenoisingAutoencoder must be a str among {'gaussian', 'masking', 'salt_pepper'} "
            "or a callable. Got 'pink' instead."
        ),
    ),
    "a share above one": (
        lambda: DenoisingAutoencoder(noise="masking", noise_level=1.5).fit(X),
        "noise_level is the share of elements that noise='masking' changes: it must be in [0, 1], got 1.5",
    ),
    "fewer noisy rows": (
        lambda: DenoisingAutoencoder().fit(X, X_noisy=X[:10]),
        "X_noisy must have a row for each of the 400 of X, got 10",
    ),
    "narrower noisy rows": (
        lambda: DenoisingAutoencoder().fit(X, X_noisy=X[:, :3]),
        "X has 3 features, but DenoisingAutoencoder is expecting 6 features as input.",
    ),
    "noisy rows that are not finite": (
        lambda: DenoisingAutoencoder().fit(X, X_noisy=np.where(X[3, 2] == X, np.nan, X)),
        "X_noisy contains NaN or infinity: 1 value is not finite, the first (nan) in row 3, column 'x2'"
        + TAKES_MISSING,
    ),
    "a callable that changes the shape": (
        lambda: DenoisingAutoencoder(noise=lambda batch: batch[:, 1:]).fit(X),
        "noise must return finite numbers of the batch's shape (128, 6), got shape (128, 5)",
    ),
    "a callable that gives no numbers": (
        lambda: DenoisingAutoencoder(noise=not_finite).fit(X),
        "noise must return finite numbers of the batch's shape (128, 6), got NaN or infinity",
    ),
}


@pytest.mark.parametrize("use", WRONG)
def test_wrong_uses_are_answered_in_one_line(use):
    do, message = WRONG[use]
    with raises_exactly(ValueError, message):
        do()


def test_noisy_columns_are_matched_by_name():
    frame = pd.DataFrame(X, columns=list("abcdef"))
    with pytest.raises(ValueError, match="feature names should match"):
        DenoisingAutoencoder(max_epochs=1).fit(frame, X_noisy=frame[list("fedcba")])


def test_noise_beyond_all_bounds_is_a_divergence():
    with pytest.raises(ConvergenceError, match="training diverged in epoch 1"):
        DenoisingAutoencoder(noise_level=1e30).fit(X)


def test_one_wild_value_does_not_become_pepper(monkeypatch):
    wild = X.copy()
    wild[3, 0] = 1e9
    model = DenoisingAutoencoder((3,), noise="salt_pepper", max_epochs=0, validation_fraction=0)
    lowest, highest = noise_range(monkeypatch, model, wild)
    assert (lowest.min() >= -10, highest.max()) == (True, 10)
    trained, other = (
        DenoisingAutoencoder((3,), noise="salt_pepper", max_epochs=5, random_state=0, validation_fraction=0).fit(rows)
        for rows in (X, wild)
    )
    assert other.loss_curve_[-1] < 5 * trained.loss_curve_[-1]
