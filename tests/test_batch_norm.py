"""Batch normalisation: the layer agrees with the oracle and PyTorch, and is folded into a fitted estimator."""

import copy

import numpy as np
import pytest

import aefast
import engine
from aefast import Autoencoder
from aefast.estimators.files import describe, to_bytes
from aefast.model.container import pack
from aefast.model.file import FORMAT_VERSION
from messages import raises_exactly
from variants import dense, forward, network_of, random_parameters

RNG = np.random.default_rng(0)
X = RNG.normal(size=(700, 3)) @ RNG.normal(size=(3, 8)) + 0.1 * RNG.normal(size=(700, 8))
FAST = {"max_epochs": 10, "learning_rate": 0.01, "score_metric": "mse", "random_state": 0}
EPSILON, MOMENTUM = 1e-5, 0.1


def normalised_network(rng, activation="tanh"):
    network = network_of(
        8,
        [dense(17, activation, batch_norm=True), dense(5, "identity", batch_norm=True)],
        [dense(17, activation, batch_norm=True), dense(8, "identity")],
    )
    return network, random_parameters(network, rng)


@pytest.mark.parametrize("batch_size", [1, 2, 31, 64, 200, 700])
def test_running_statistics_are_averages_over_batches(batch_size):
    network, parameters = normalised_network(np.random.default_rng(0))
    trainer = engine.trainer(network, parameters)
    trainer.train_epoch(X, engine.identity_scaling(8), epoch=0, learning_rate=0.0, batch_size=batch_size, shuffle=False)
    mean, variance = parameters[4].copy(), parameters[5].copy()
    for begin in range(0, len(X), batch_size):
        z = X[begin : begin + batch_size] @ parameters[0] + parameters[1]
        mean += MOMENTUM * (z.mean(axis=0) - mean)
        variance += MOMENTUM * (z.var(axis=0, ddof=int(len(z) > 1)) - variance)
    after = trainer.parameters()
    np.testing.assert_allclose(after[4], mean, rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(after[5], variance, rtol=1e-11)
    for index in set(range(len(parameters))) - {4, 5, 10, 11, 16, 17}:
        np.testing.assert_array_equal(after[index], parameters[index])


def test_training_looks_at_the_batch_and_scoring_at_the_running_statistics():
    network, parameters = normalised_network(np.random.default_rng(0))
    trainer, scaling = engine.trainer(network, parameters), engine.identity_scaling(8)
    for loss, training in ((trainer.evaluate(X, scaling), False), (trainer.gradient(X, scaling)[0], True)):
        expected = ((forward(network, parameters, X, training=training).z - X) ** 2).mean()
        assert loss == pytest.approx(expected, rel=1e-11)


def test_steps_are_those_of_pytorch():
    torch = pytest.importorskip("torch", reason="compares with PyTorch where it is installed")
    network, parameters = normalised_network(np.random.default_rng(0))
    for at in (4, 10, 16):  # PyTorch starts its running statistics at 0 and 1
        parameters[at], parameters[at + 1] = np.zeros_like(parameters[at]), np.ones_like(parameters[at])
    layers, at, n_in = [], 0, 8
    for layer in network["layers"]:
        linear = torch.nn.Linear(n_in, layer["units"], dtype=torch.float64)
        linear.weight.data, linear.bias.data = torch.tensor(parameters[at].T), torch.tensor(parameters[at + 1])
        layers.append(linear)
        at, n_in = at + 2, layer["units"]
        if layer.get("batch_norm"):
            norm = torch.nn.BatchNorm1d(n_in, eps=EPSILON, momentum=MOMENTUM, dtype=torch.float64)
            norm.weight.data, norm.bias.data = torch.tensor(parameters[at]), torch.tensor(parameters[at + 1])
            layers.append(norm)
            at += 4
        if layer["activation"] == "tanh":
            layers.append(torch.nn.Tanh())
    model = torch.nn.Sequential(*layers)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    trainer, scaling = engine.trainer(network, parameters), engine.identity_scaling(8)
    for epoch in range(3):
        trainer.train_epoch(X, scaling, epoch=epoch, learning_rate=0.1, batch_size=100, shuffle=False)
        for begin in range(0, len(X), 100):
            batch = torch.tensor(X[begin : begin + 100])
            optimizer.zero_grad()
            torch.nn.functional.mse_loss(model(batch), batch).backward()
            optimizer.step()

    expected = []
    for layer in layers:
        if isinstance(layer, torch.nn.Linear):
            expected += [layer.weight.detach().numpy().T, layer.bias.detach().numpy()]
        elif isinstance(layer, torch.nn.BatchNorm1d):
            expected += [a.detach().numpy() for a in (layer.weight, layer.bias, layer.running_mean, layer.running_var)]
    for got, wanted in zip(trainer.parameters(), expected, strict=True):
        np.testing.assert_allclose(got, wanted, rtol=0, atol=1e-10 * max(1, np.abs(wanted).max()))
    model.eval()
    with torch.no_grad():
        loss = torch.nn.functional.mse_loss(model(torch.tensor(X)), torch.tensor(X)).item()
    assert trainer.evaluate(X, scaling) == pytest.approx(loss, rel=1e-10)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_scoring_is_dense_and_matches_the_end_of_training(dtype):
    model = Autoencoder((16, 4), batch_norm=True, dtype=dtype, **FAST, early_stopping=False).fit(X)
    assert [w.shape for w in model.coefs_] == [(8, 16), (16, 4), (4, 16), (16, 8)]
    assert [None if norm is None else norm.shape for norm in model.norms_] == [(4, 16), (4, 4), (4, 16), None]
    # An estimator without batch normalisation has the same weights.
    plain = Autoencoder((16, 4), dtype=dtype, score_metric="mse", max_epochs=0, random_state=0).fit(X)
    plain.coefs_, plain.intercepts_ = model.coefs_, model.intercepts_
    plain.scaler_shift_, plain.scaler_scale_ = model.scaler_shift_, model.scaler_scale_
    np.testing.assert_array_equal(model.score_samples(X), plain.score_samples(X))
    assert -model.score(X[:0:-1]) == pytest.approx(model.validation_curve_[-1], rel=0.2)


def test_it_helps_deep_sigmoid_networks():
    settings = {**FAST, "activation": "sigmoid", "max_epochs": 60, "early_stopping": False}
    errors = [-Autoencoder((16, 16, 16, 4), batch_norm=norm, **settings).fit(X).score(X) for norm in (False, True)]
    assert errors[1] < 0.7 * errors[0]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_no_training_leaves_the_function_as_it_is(dtype):
    model = Autoencoder((16, 4), batch_norm=True, dtype=dtype, warm_start=True, **FAST).fit(X)
    before, rounding = model.reconstruct(X), 64 * np.finfo(dtype).eps
    model.set_params(max_epochs=0).fit(X)
    np.testing.assert_allclose(model.reconstruct(X), before, rtol=0, atol=rounding * np.abs(before).max())


def test_training_in_two_parts_equals_training_in_one():
    settings = {"batch_norm": True, "optimizer": "sgd", "dtype": "float64", "shuffle": False, "random_state": 0}
    settings |= {"learning_rate": 0.05, "early_stopping": False, "validation_fraction": 0}
    one = Autoencoder((16, 4), max_epochs=6, **settings).fit(X)
    two = Autoencoder((16, 4), max_epochs=3, warm_start=True, **settings).fit(X).fit(X)
    for a, b in zip([*one.coefs_, *one.intercepts_], [*two.coefs_, *two.intercepts_], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(one.loss_curve_, two.loss_curve_, rtol=1e-10)


def test_a_loaded_model_continues_training_like_the_saved_one():
    model = Autoencoder((16, 4), batch_norm=True, dtype="float64", **FAST).fit(X)
    again = aefast.load(to_bytes(model))
    for a, b in zip(again.norms_, model.norms_, strict=True):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(again.score_samples(X), model.score_samples(X))
    for each in (again, model):
        each.set_params(warm_start=True, shuffle=False, validation_fraction=0, max_epochs=1).fit(X)
    for a, b in zip(again.coefs_, model.coefs_, strict=True):
        np.testing.assert_array_equal(a, b)


def test_partial_fit_keeps_optimiser_and_statistics():
    model = Autoencoder((16, 4), batch_norm=True, score_metric="mse", random_state=0)
    for _ in range(60):
        model.partial_fit(X)
    assert model.loss_curve_[-1] < 0.3 * model.loss_curve_[0]
    assert -model.score(X) < 0.3 * model.loss_curve_[0]


def test_replaced_weights_are_used_by_scoring_and_training():
    model = Autoencoder((16, 4), batch_norm=True, warm_start=True, dtype="float64", **FAST).fit(X)
    model.coefs_ = [2 * w for w in model.coefs_]
    replaced = copy.deepcopy(model).score(X)
    model.set_params(max_epochs=0).fit(X)
    assert model.score(X) == pytest.approx(replaced, rel=1e-9)


def test_normalisation_may_be_switched_on_and_off_between_fits():
    model = Autoencoder((16, 4), warm_start=True, dtype="float64", **FAST).fit(X)
    score = model.score(X)
    for batch_norm in (True, False):
        model.set_params(batch_norm=batch_norm, max_epochs=0).fit(X)
        assert model.score(X) == pytest.approx(score, rel=1e-9)
        assert (model.norms_[0] is not None) == batch_norm


def test_a_callback_sees_folded_weights():
    seen = []

    def callback(info):
        coefs, intercepts = info.weights()
        seen.append([coefs, intercepts])

    model = Autoencoder((16, 4), batch_norm=True, callbacks=callback, **FAST, early_stopping=False).fit(X)
    for a, b in zip(seen[-1][0], model.coefs_, strict=True):
        np.testing.assert_array_equal(a, b)


def test_batches_of_one_row_and_constant_columns_stay_finite():
    rows = np.tile(X[:5], (1, 1))
    rows[:, 3] = 7.0
    for batch_size in (1, 2, 5):
        model = Autoencoder((6, 2), batch_norm=True, batch_size=batch_size, max_epochs=5, random_state=0).fit(rows)
        assert np.isfinite(model.score_samples(rows)).all()


def test_ties_are_refused():
    message = "batch_norm=True does not go with tied_weights=True: folded into the weights, it would untie them"
    with raises_exactly(ValueError, message):
        Autoencoder(batch_norm=True, tied_weights=True).fit(X)


def changed(model, place, value):
    norm = model.norms_[0].copy()
    norm[place] = value
    model.norms_[0] = norm


def forged_norm(model, change):
    model = copy.deepcopy(model)
    change(model)
    return pack("model", FORMAT_VERSION, *describe(model))


@pytest.mark.parametrize(
    "change",
    [
        lambda model: changed(model, (3, 0), -1.0),
        lambda model: changed(model, (1, 0), np.nan),
        lambda model: model.norms_.__setitem__(0, model.norms_[0][:3]),
        lambda model: model.norms_.__setitem__(0, None),
        lambda model: model.norms_.__setitem__(3, np.ones((4, 8))),
    ],
    ids=["variance below zero", "nan", "three vectors", "missing", "for a layer without"],
)
def test_statistics_that_cannot_be_are_refused(change):
    model = Autoencoder((16, 4), batch_norm=True, max_epochs=1, random_state=0).fit(X)
    with pytest.raises(aefast.ModelFileError, match="is not a valid model"):
        aefast.load(forged_norm(model, change))
