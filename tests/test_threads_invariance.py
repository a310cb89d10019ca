"""Training has the same bits with any number of threads."""

import numpy as np
import pytest

import engine
import reference

WIDTHS = (64, 48, 16, 48, 64)
N_ROWS = 700
OPTIMIZERS = {
    "sgd": {"kind": "sgd", "momentum": 0.9, "nesterov": True},
    "rmsprop": {"kind": "rmsprop", "rho": 0.9, "epsilon": 1e-8},
    "adam": {"kind": "adam"},
    "adamw": {"kind": "adamw", "weight_decay": 0.01},
}
NETWORKS = {
    "plain": reference.network_spec(WIDTHS, "relu"),
    "tied, dropout": reference.network_spec(WIDTHS, "gelu", "tanh", tied=True, dropout=0.2),
    "softmax": reference.network_spec(WIDTHS, "silu", output_activation="softmax", groups=[(0, 30), (30, 64)]),
    "odd sizes": reference.network_spec((67, 129, 5, 61, 67), "sigmoid"),
}


def trained(network, objective, optimizer, n_threads, dtype="float32", batch_size=128):
    """(parameters, optimiser slots, epoch losses, evaluation) after two shuffled epochs."""
    rng = np.random.default_rng(0)
    parameters = reference.random_parameters(network, rng)
    X = rng.normal(size=(N_ROWS, network["n_features"]))
    scaling = engine.identity_scaling(network["n_features"])
    trainer = engine.trainer(network, parameters, objective, optimizer, dtype, seed=7, n_threads=n_threads)
    losses = [
        trainer.train_epoch(X, scaling, epoch=epoch, learning_rate=0.01, batch_size=batch_size) for epoch in range(2)
    ]
    return [*trainer.parameters(), *trainer.optimizer_state()[1], np.array([*losses, trainer.evaluate(X, scaling)])]


def assert_same_bits(first, second):
    for a, b in zip(first, second, strict=True):
        assert np.isfinite(a).all()
        np.testing.assert_array_equal(a.view(np.uint8), b.view(np.uint8))


@pytest.mark.parametrize("n_threads", [2, 3, 5])
@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_any_number_of_threads_trains_the_same_network(name, dtype, n_threads):
    network, objective = NETWORKS[name], {"loss": "mse", "l1": 1e-4, "l2": 1e-3, "activity_l2": 1e-3}
    one = trained(network, objective, OPTIMIZERS["adam"], 1, dtype)
    assert_same_bits(one, trained(network, objective, OPTIMIZERS["adam"], n_threads, dtype))


@pytest.mark.parametrize("clip_norm", [0.0, 0.01])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_every_optimizer_moves_the_same_way_with_threads(optimizer, clip_norm):
    objective = {"loss": "huber", "clip_norm": clip_norm}
    one, two = (trained(NETWORKS["plain"], objective, OPTIMIZERS[optimizer], n) for n in (1, 2))
    assert_same_bits(one, two)


@pytest.mark.parametrize("batch_size", [1, 31, 33, 100, 255, 257, N_ROWS, 10 * N_ROWS])
def test_threads_do_not_show_for_any_batch_size(batch_size):
    one, two, three = (
        trained(NETWORKS["plain"], {"loss": "mse"}, OPTIMIZERS["adam"], n, batch_size=batch_size) for n in (1, 2, 3)
    )
    assert_same_bits(one, two)
    assert_same_bits(one, three)


@pytest.mark.parametrize("n_threads", [2, 3, 5])
@pytest.mark.parametrize("loss", ["mse", "mae"])
@pytest.mark.parametrize("name", ["relu", "silu, tied", "one layer"])
def test_threads_that_share_layers_in_place_of_rows_do_not_show(name, loss, n_threads):
    # So few rows that each thread would have a register of them, and layers large enough for a barrier each.
    network = {
        "relu": reference.network_spec((300, 137, 5, 261, 300), "relu"),
        "silu, tied": reference.network_spec((300, 131, 33, 131, 300), "silu", tied=True),
        "one layer": reference.network_spec((301, 301), "relu"),
    }[name]
    one, more = (trained(network, {"loss": loss}, OPTIMIZERS["adam"], n, batch_size=32) for n in (1, n_threads))
    assert_same_bits(one, more)


def test_training_twice_gives_the_same_network_and_another_seed_another():
    network, X = NETWORKS["tied, dropout"], np.random.default_rng(0).normal(size=(200, 64))
    parameters = reference.random_parameters(network, np.random.default_rng(1))
    results = []
    for seed in (3, 3, 4):
        trainer = engine.trainer(network, parameters, seed=seed)
        trainer.train_epoch(X, engine.identity_scaling(64), epoch=0, learning_rate=0.1, batch_size=50)
        results.append(trainer.parameters())
    assert_same_bits(results[0], results[1])
    assert any((a != b).any() for a, b in zip(results[0], results[2], strict=True))


@pytest.mark.parametrize("rate", [0.1, 0.5])
def test_dropout_drops_its_share_and_keeps_the_mean(rate):
    # One weight of one leads each of many code units to one output of a linear network of constant input.
    n_units, n_rows = 256, 200
    network = reference.network_spec((1, n_units, 1), "identity")
    network["layers"][0]["dropout"] = rate
    parameters = [np.ones((1, n_units)), np.zeros(n_units), np.ones((n_units, 1)), np.zeros(1)]
    trainer = engine.trainer(network, parameters)
    _, gradient = trainer.gradient(np.ones((n_rows, 1)), engine.identity_scaling(1))
    # The output's bias feels 2 (y - 1), where y is the sum of the units that are left, each 1 / (1 - rate).
    mean_sum = gradient[3][0] / 2 + 1
    deviation = np.sqrt(n_units * rate / (1 - rate) / n_rows)
    assert abs(mean_sum - n_units) < 5 * deviation
    assert abs(mean_sum - n_units) > 0
