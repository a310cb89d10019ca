"""Batches that are cut into slices and chunks give the step of the whole batch, with any number of threads."""

import numpy as np
import pytest

import engine
import reference

N_ROWS = 9000  # more than two slices of every network here, with one thread and with many
BATCH_SIZES = [N_ROWS, 4400, 300, 256, 255]  # with slices left over, chunks of two sizes, and the least that has chunks
NETWORKS = {
    "plain": reference.network_spec((64, 48, 16, 48, 64), "tanh"),
    "thin": reference.network_spec((300, 5, 300), "relu"),
    "tied, dropout": reference.network_spec((61, 70, 5, 70, 61), "gelu", tied=True, dropout=0.2),
    "wide": reference.network_spec((70, 300, 70), "silu"),  # too many parameters for chunks
    "softmax": reference.network_spec((64, 120, 64), "silu", output_activation="softmax", groups=[(0, 30), (30, 64)]),
}
OBJECTIVE = {"loss": "mse", "l1": 1e-4, "l2": 1e-3, "activity_l2": 1e-3}


def stepped(name, optimizer, n_threads=1, dtype="float64", batch_size=N_ROWS, n_rows=N_ROWS, **options):
    """The trainer, the rows and the loss after one epoch in the order of the rows, unless options say otherwise."""
    network, rng = NETWORKS[name], np.random.default_rng(0)
    parameters = reference.random_parameters(network, rng)
    X = rng.normal(size=(n_rows, network["n_features"]))
    weight = rng.uniform(0.5, 2.0, size=n_rows)
    trainer = engine.trainer(network, parameters, OBJECTIVE, optimizer, dtype, seed=7, n_threads=n_threads)
    before = engine.trainer(network, parameters, OBJECTIVE, optimizer, dtype, seed=7)
    options = {"learning_rate": 0.1, "shuffle": False, **options}
    scaling = engine.identity_scaling(network["n_features"])
    loss = trainer.train_epoch(X, scaling, sample_weight=weight, epoch=3, batch_size=batch_size, **options)
    _, gradient = before.gradient(X, scaling, sample_weight=weight, epoch=3)
    return trainer, parameters, gradient, loss, before.evaluate(X, scaling, sample_weight=weight)


@pytest.mark.parametrize("n_threads", [1, 3])
@pytest.mark.parametrize("n_rows", BATCH_SIZES)
@pytest.mark.parametrize("name", NETWORKS)
def test_a_step_in_parts_follows_the_gradient_of_the_whole_batch(name, n_rows, n_threads):
    trainer, parameters, gradient, loss, evaluated = stepped(name, engine.SGD, n_threads, n_rows=n_rows)
    for after, start, slope in zip(trainer.parameters(), parameters, gradient, strict=True):
        np.testing.assert_allclose(after, start - 0.1 * slope, rtol=1e-11, atol=1e-13)
    if "dropout" not in name:
        assert loss == pytest.approx(evaluated, rel=1e-12)


@pytest.mark.parametrize("batch_size", BATCH_SIZES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", NETWORKS)
def test_parts_of_any_number_of_threads_give_the_same_bits(name, dtype, batch_size):
    def bits(n_threads):
        optimizer = {"kind": "adam"}
        trainer, _, _, loss, _ = stepped(name, optimizer, n_threads, dtype, batch_size, shuffle=True)
        arrays = [*trainer.parameters(), *trainer.optimizer_state()[1], np.array(loss)]
        assert all(np.isfinite(array).all() for array in arrays)
        return b"".join(array.tobytes() for array in arrays)

    one = bits(1)
    for n_threads in (2, 5, 11):
        assert bits(n_threads) == one
