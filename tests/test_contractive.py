"""ContractiveAutoencoder: its penalty is the Jacobian's norm, and training reduces it."""

import numpy as np
import pytest

from aefast import Autoencoder, ContractiveAutoencoder
from messages import raises_exactly

RNG = np.random.default_rng(0)
X = RNG.normal(size=(600, 3)) @ RNG.normal(size=(3, 8)) + 0.1 * RNG.normal(size=(600, 8))
FAST = {"max_epochs": 40, "learning_rate": 0.01, "random_state": 0}


@pytest.mark.parametrize("sizes", [(5,), (12, 4), (12, 9, 4)])
@pytest.mark.parametrize("activation", ["tanh", "relu", "gelu"])
def test_the_norm_is_that_of_differences_of_the_code(sizes, activation):
    model = ContractiveAutoencoder(
        sizes, activation=activation, code_activation="sigmoid", scaler="robust", dtype="float64", max_epochs=2
    ).fit(X)
    step = 1e-6
    norms = np.zeros(50)
    for direction in np.eye(8) * model.scaler_scale_ * step:  # a step in the scaled space
        norms += (((model.transform(X[:50] + direction) - model.transform(X[:50] - direction)) / (2 * step)) ** 2).sum(
            1
        )
    np.testing.assert_allclose(model.jacobian_norm(X[:50]), norms, rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_rows_norm_is_its_own(dtype):
    model = ContractiveAutoencoder((12, 4), activation="tanh", dtype=dtype, max_epochs=2, random_state=0).fit(X)
    norms = model.jacobian_norm(X)
    assert norms.shape == (600,)
    assert norms.dtype == dtype
    np.testing.assert_array_equal(model.jacobian_norm(X[257:]), norms[257:])
    np.testing.assert_array_equal(model.jacobian_norm(X[::-1]), norms[::-1])
    model.n_threads = 2
    np.testing.assert_array_equal(model.jacobian_norm(X), norms)


def test_more_contraction_is_a_smaller_norm():
    norms = [
        ContractiveAutoencoder((16, 4), activation="tanh", contraction=weight, **FAST).fit(X).jacobian_norm(X).mean()
        for weight in (0.0, 0.01, 0.1)
    ]
    assert norms[0] > 1.2 * norms[1] > 1.4 * norms[2]


def test_no_contraction_is_a_plain_autoencoder():
    plain = Autoencoder((16, 4), **FAST).fit(X)
    model = ContractiveAutoencoder((16, 4), contraction=0, dropout=0.1, **FAST).fit(X)
    assert model.n_epochs_ > 0  # dropout in the encoder is then no matter
    model.set_params(dropout=0).fit(X)
    for a, b in zip(model.coefs_, plain.coefs_, strict=True):
        np.testing.assert_array_equal(a, b)


def test_of_one_linear_layer_it_is_a_penalty_on_its_squares():
    # For a linear encoder the penalty is contraction * sum w^2, the same as l2 = 2 * contraction on its weights.
    settings = {"optimizer": "sgd", "learning_rate": 0.1, "batch_size": 600, "max_epochs": 1, "dtype": "float64"}
    settings |= {"validation_fraction": 0, "random_state": 0}
    model = ContractiveAutoencoder((3,), contraction=0.5, **settings).fit(X)
    plain = Autoencoder((3,), **settings).fit(X)
    start = Autoencoder((3,), **{**settings, "max_epochs": 0}).fit(X)
    np.testing.assert_allclose(model.coefs_[0] - plain.coefs_[0], -0.1 * start.coefs_[0], rtol=1e-9)
    np.testing.assert_allclose(model.coefs_[1], plain.coefs_[1], rtol=1e-12)


def test_curves_are_without_the_penalty_and_the_best_loss_is_with_it():
    model = ContractiveAutoencoder((16, 4), contraction=1.0, early_stopping=False, **FAST).fit(X)
    plain = ContractiveAutoencoder((16, 4), contraction=0.0, **{**FAST, "max_epochs": 1}, shuffle=False).fit(X)
    first = ContractiveAutoencoder((16, 4), contraction=1e-9, **{**FAST, "max_epochs": 1}, shuffle=False).fit(X)
    assert first.loss_curve_[0] == pytest.approx(plain.loss_curve_[0], rel=1e-5)
    assert model.best_loss_ > min(model.validation_curve_)


def test_it_works_with_tied_weights_dropout_and_sample_weights():
    model = ContractiveAutoencoder((16, 4), tied_weights=True, dropout=(0, 0, 0.2), **FAST)
    model.fit(X, sample_weight=np.linspace(0.5, 2, 600))
    assert model.validation_curve_[-1] < model.validation_curve_[0]
    np.testing.assert_array_equal(model.coefs_[3], model.coefs_[0].T)


WRONG = {
    "batch normalisation": (
        lambda: ContractiveAutoencoder(batch_norm=True).fit(X),
        (
            "contraction=0.001 does not go with batch_norm=True: a row's code would depend on the other rows of its "
            "batch"
        ),
    ),
    "dropout everywhere": (
        lambda: ContractiveAutoencoder((5, 2), dropout=0.3).fit(X),
        (
            "contraction=0.001 does not go with dropout in the encoder: give one rate for each hidden layer, the first "
            "2 of them 0, got 0.3"
        ),
    ),
    "a negative weight": (
        lambda: ContractiveAutoencoder(contraction=-1.0).fit(X),
        (
            "The 'contraction' parameter of ContractiveAutoencoder must be a float in the range [0.0, inf). Got -1.0 "
            "instead."
        ),
    ),
}


@pytest.mark.parametrize("use", WRONG)
def test_wrong_uses_are_answered_in_one_line(use):
    do, message = WRONG[use]
    with raises_exactly(ValueError, message):
        do()
