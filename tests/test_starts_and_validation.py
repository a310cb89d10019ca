"""Several starts keep the best one, and validation rows of the user take the place of held-out rows."""

import numpy as np
import pytest

import aefast
from aefast import Autoencoder, DenoisingAutoencoder
from aefast.callbacks import Checkpoint

rng = np.random.default_rng(0)
X = rng.normal(size=(300, 2)) @ rng.normal(size=(2, 8)) + 0.1 * rng.normal(size=(300, 8))


def options(**more):
    return {"activation": "relu", "code_activation": "relu", "max_epochs": 4, "random_state": 0, **more}


def test_several_starts_keep_the_model_of_least_loss():
    alone, best = Autoencoder((2,), **options()).fit(X), Autoencoder((2,), n_init=6, **options()).fit(X)
    seen = []
    Autoencoder((2,), n_init=6, **options(callbacks=[lambda info: seen.append(info)])).fit(X)
    losses = [min(each.validation_loss for each in seen[i : i + 4]) for i in range(0, 24, 4)]
    assert len(seen) == 24
    assert len(set(losses)) == 6
    assert losses[0] == pytest.approx(alone.best_loss_)
    assert best.best_loss_ == pytest.approx(min(losses))
    assert best.best_loss_ < alone.best_loss_
    assert best.calibration_.n_rows == alone.calibration_.n_rows


def test_one_start_is_the_first_of_several(monkeypatch):
    """The held-out rows and the first start do not depend on the number of starts."""
    one = Autoencoder((2,), **options()).fit(X)
    several = []
    Autoencoder((2,), n_init=2, **options(callbacks=[lambda info: several.append(info.validation_loss)])).fit(X)
    np.testing.assert_allclose(several[:4], one.validation_curve_)


def test_several_starts_repeat_and_are_saved():
    model, again = (Autoencoder((2,), n_init=3, **options()).fit(X) for _ in range(2))
    np.testing.assert_array_equal(model.coefs_[0], again.coefs_[0])
    assert aefast.load(model.model_.to_bytes()).n_init == 3


def test_a_checkpoint_of_several_starts_is_refused(tmp_path):
    model = Autoencoder((2,), n_init=2, callbacks=[Checkpoint(tmp_path / "c")])
    with pytest.raises(ValueError, match="n_init above 1 does not go with a Checkpoint: it holds one training"):
        model.fit(X)


@pytest.mark.parametrize("estimator", [Autoencoder, DenoisingAutoencoder])
@pytest.mark.parametrize("weighted", [False, True])
def test_validation_rows_are_monitored_and_calibrate(estimator, weighted):
    weights = np.repeat([0.0, 1.0, 2.0], [10, 90, 100]) if weighted else None
    model = estimator((2,), **options(), score_metric="mse").fit(
        X[:200], sample_weight=weights, validation_data=X[200:]
    )
    errors = model.reconstruction_error(X[200:])
    assert model.calibration_.n_rows == 100
    np.testing.assert_array_equal(model.p_values(X[200:]), model.p_values_of(errors))
    assert model.p_values(X[200:]).min() == 1 / 101 + 1 / 101
    loss = model.reconstruction_error(X[200:], metric="mse").mean(dtype=np.float64)
    assert min(model.validation_curve_) == pytest.approx(loss, rel=1e-5)
    assert not np.isin(X[200:], X[:200]).any()


def test_validation_rows_do_not_reach_the_scaler_and_are_checked():
    far = X[200:] * 1000
    model = Autoencoder((2,), scaler="standard", **options()).fit(X[:200], validation_data=far)
    np.testing.assert_allclose(model.model_.scaling.shift, X[:200].mean(axis=0))
    with pytest.raises(ValueError, match="validation_data contains NaN"):
        Autoencoder((2,)).fit(X, validation_data=np.full((5, 8), np.nan))
    with pytest.raises(ValueError, match="has 7 features, but Autoencoder is expecting 8"):
        Autoencoder((2,)).fit(X, validation_data=X[:, 1:])
