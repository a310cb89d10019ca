"""Behaviour that all variants share: scikit-learn's contract, copies and files, threads, fitting, combination."""

import copy
import inspect
import json
import pickle
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.utils.estimator_checks import parametrize_with_checks

import aefast
import engine
from aefast import (
    Autoencoder,
    ContractiveAutoencoder,
    ConvolutionalAutoencoder,
    DenoisingAutoencoder,
    LinearSchedule,
    SparseAutoencoder,
    VariationalAutoencoder,
)
from aefast.estimators.files import to_bytes
from messages import raises_exactly
from test_estimator import OF_FRESH_ROWS
from test_model_file import forged, set_path
from variants import dense, network_of, random_parameters

VARIANTS = (DenoisingAutoencoder, SparseAutoencoder, ContractiveAutoencoder, VariationalAutoencoder)
RNG = np.random.default_rng(0)
X = RNG.normal(size=(300, 3)) @ RNG.normal(size=(3, 6)) + 0.1 * RNG.normal(size=(300, 6))
FRAME = pd.DataFrame(X, columns=list("abcdef"))
FAST = {"encoder_layer_sizes": (10, 4), "max_epochs": 4, "random_state": 0}
CASES = {
    "denoising": DenoisingAutoencoder(**FAST),
    "denoising, salt and pepper": DenoisingAutoencoder(noise="salt_pepper", noise_level=0.2, tied_weights=True, **FAST),
    "sparse, kl": SparseAutoencoder(sparsity_target=0.1, **FAST),
    "sparse, kl, tied": SparseAutoencoder(tied_weights=True, dropout=0.2, **FAST),
    "sparse, l1": SparseAutoencoder(sparsity="l1", **FAST),
    "sparse, topk": SparseAutoencoder(sparsity="topk", k=2, **FAST),
    "sparse, topk, normalised": SparseAutoencoder(sparsity="topk", k=2, batch_norm=True, **FAST),
    "sparse, threshold": SparseAutoencoder(sparsity="threshold", **FAST),
    "contractive": ContractiveAutoencoder(activation="tanh", **FAST),
    "variational": VariationalAutoencoder(**FAST),
    "variational, warmed up": VariationalAutoencoder(beta=LinearSchedule(0.0, 1.0, 3), batch_norm=True, **FAST),
    "normalised": Autoencoder(batch_norm=True, dropout=0.1, **FAST),
}


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.SkipTestWarning")
@parametrize_with_checks(
    [variant(max_epochs=5) for variant in VARIANTS] + [Autoencoder(batch_norm=True, max_epochs=5)],
    expected_failed_checks=lambda estimator: OF_FRESH_ROWS,
)
def test_scikit_learn_checks(estimator, check):
    check(estimator)


# One constructor in parts.


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_variant_has_all_parameters_of_the_plain_one_and_its_own(variant):
    plain, own = inspect.signature(Autoencoder).parameters, inspect.signature(variant).parameters
    assert set(plain) < set(own)
    assert next(iter(own)) == "encoder_layer_sizes"
    assert all(own[name].kind == plain[name].kind for name in plain)
    assert set(variant().get_params()) == set(own) == set(variant._parameter_constraints)
    changed = {name for name in plain if own[name].default != plain[name].default}
    assert changed <= {"code_activation"}


@pytest.mark.parametrize("variant", VARIANTS)
def test_sizes_may_come_by_position_and_unknown_parameters_may_not(variant):
    assert variant((3, 2)).encoder_layer_sizes == (3, 2)
    with pytest.raises(TypeError, match="unexpected keyword argument 'learning_rat'"):
        variant(learning_rat=0.1)
    with pytest.raises(TypeError):
        variant((3, 2), "gaussian")


def test_a_representation_shows_what_differs_from_the_defaults():
    assert repr(DenoisingAutoencoder((8,), noise="masking")) == (
        "DenoisingAutoencoder(encoder_layer_sizes=(8,), noise='masking')"
    )


class DenoisingSparse(DenoisingAutoencoder, SparseAutoencoder):
    """A combination as a user would write it."""


class Shallow(SparseAutoencoder):
    """A variant of a variant, with another default."""

    def __init__(self, *sizes: Any, k: int = 2, depth: int = 1, **parameters: Any) -> None:
        super().__init__(*sizes, k=k, **parameters)
        self.depth = depth


def test_variants_combine():
    own = set(inspect.signature(DenoisingSparse).parameters)
    assert {"noise", "noise_level", "sparsity", "k", "tied_weights"} < own
    assert inspect.signature(DenoisingSparse).parameters["code_activation"].default == "auto"
    model = DenoisingSparse((20,), sparsity="topk", k=3, noise="masking", noise_level=0.3, max_epochs=5, random_state=0)
    assert clone(model).get_params() == model.get_params()
    model.fit(X)
    assert set((model.transform(X) != 0).sum(axis=1)) == {3}
    assert model.loss_curve_[0] > SparseAutoencoder((20,), sparsity="topk", k=3, random_state=0).fit(X).loss_curve_[0]
    with pytest.raises(ValueError, match="'noise_level' parameter of DenoisingSparse must be a float"):
        DenoisingSparse(noise_level=-1.0).fit(X)


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
@pytest.mark.parametrize(
    ("variants", "message"),
    [
        (
            (VariationalAutoencoder, SparseAutoencoder),
            (
                "sparsity='kl' does not go with beta=1.0 in a Both: a code that is drawn from a normal distribution is "
                "not sparse, so derive it from one of the two"
            ),
        ),
        (
            (VariationalAutoencoder, ContractiveAutoencoder),
            "contraction=0.001 needs an encoder of dense layers, but that of a Both has gaussian_code",
        ),
        (
            (ConvolutionalAutoencoder, ContractiveAutoencoder),
            "contraction=0.001 needs an encoder of dense layers, but that of a Both has conv2d",
        ),
    ],
)
def test_options_that_exclude_each_other_are_refused_in_any_order(variants, message, order):
    both = type("Both", tuple(variants[i] for i in order), {})
    for fit in (lambda model: model.fit(X), lambda model: model.partial_fit(X), lambda model: model.fit_batches([X])):
        with raises_exactly(ValueError, message):
            fit(both())


def test_variants_have_variants():
    model = Shallow(sparsity="topk", depth=3, max_epochs=1)
    assert (model.get_params()["k"], model.get_params()["depth"]) == (2, 3)
    assert inspect.signature(Shallow).parameters["k"].default == 2
    assert set((model.fit(X).transform(X) != 0).sum(axis=1)) == {2}
    with pytest.raises(ValueError, match="cannot save a Shallow"):
        to_bytes(model)


# Fitting.


@pytest.mark.parametrize("name", CASES)
def test_training_lowers_the_loss(name):
    model = clone(CASES[name]).set_params(max_epochs=40, learning_rate=0.01).fit(X)
    assert model.validation_curve_[-1] < 0.9 * model.validation_curve_[0]
    assert np.isfinite(model.score_samples(X)).all()


@pytest.mark.parametrize("name", CASES)
def test_the_number_of_threads_does_not_show(name):
    rows = np.tile(X, (4, 1)) + np.random.default_rng(1).normal(size=(1200, 6))
    settings = {"encoder_layer_sizes": (200, 40), "batch_size": 700, "max_epochs": 2}
    fitted = [clone(CASES[name]).set_params(n_threads=n, **settings).fit(rows) for n in (1, 2, 3)]
    for model in fitted[1:]:
        for a, b in zip([*model.coefs_, *model.intercepts_], [*fitted[0].coefs_, *fitted[0].intercepts_], strict=True):
            np.testing.assert_array_equal(a, b)
        assert model.loss_curve_ == fitted[0].loss_curve_
        assert model.best_loss_ == fitted[0].best_loss_
        np.testing.assert_array_equal(model.score_samples(rows), fitted[0].score_samples(rows))


@pytest.mark.parametrize("name", CASES)
def test_every_way_to_fit_works_and_repeats(name):
    for fit in (
        lambda model: model.fit(X, sample_weight=np.linspace(0, 2, 300)),
        lambda model: model.partial_fit(X).partial_fit(X[:50]),
        lambda model: model.fit_batches([X[:200], X[200:]]),
        lambda model: model.fit_batches(iter([X[:200], X[200:]])),
        lambda model: model.set_params(max_epochs=0).fit(X),
    ):
        first, second = fit(clone(CASES[name])), fit(clone(CASES[name]))
        np.testing.assert_array_equal(first.score_samples(X), second.score_samples(X))
        assert np.isfinite(first.score_samples(X)).all()


@pytest.mark.parametrize("name", CASES)
def test_a_warm_start_continues_training(name):
    model = clone(CASES[name]).set_params(warm_start=True, max_epochs=10, learning_rate=0.01).fit(X)
    before, rounding = model.reconstruct(X), 1e-5 * np.abs(X).max()
    model.set_params(max_epochs=0).fit(X)
    np.testing.assert_allclose(model.reconstruct(X), before, rtol=0, atol=rounding)
    model.set_params(max_epochs=10).fit(X)
    assert model.n_epochs_ == 20
    assert model.validation_curve_[10] < model.validation_curve_[0]


@pytest.mark.parametrize("name", CASES)
def test_few_and_equal_rows_train_finitely(name):
    for rows in (X[:1], X[:2], np.ones((5, 6)), X[:, :1], np.zeros((300, 2))):
        model = clone(CASES[name]).set_params(encoder_layer_sizes=(3, 2)).fit(rows)
        assert np.isfinite(model.score_samples(rows)).all()


# Copies and files.


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize(
    "duplicate",
    [lambda m: pickle.loads(pickle.dumps(m)), copy.deepcopy, lambda m: aefast.load(to_bytes(m))],
    ids=["pickle", "deepcopy", "model file"],
)
def test_copies_answer_as_the_original(name, duplicate):
    model = clone(CASES[name]).fit(FRAME)
    other = duplicate(model)
    assert type(other) is type(model)
    assert other.get_params() == model.get_params()
    assert other.network_ == model.network_
    for method in ("score_samples", "transform", "reconstruct", "feature_errors", "p_values", "predict"):
        np.testing.assert_array_equal(getattr(other, method)(FRAME), getattr(model, method)(FRAME))
    assert to_bytes(other) == to_bytes(model)
    # It has what it takes to train on.
    trained = other.set_params(warm_start=True).fit(FRAME).partial_fit(FRAME)
    assert trained.n_epochs_ > model.n_epochs_


def layer(index, **fields):
    def change(model, header):
        model["network"]["layers"][index].update(fields)

    return change


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("sparse, topk", layer(2, k=5)),
        ("sparse, topk", layer(2, k=0)),
        ("sparse, topk", layer(2, k="2")),
        ("sparse, topk", layer(2, units=5)),
        ("sparse, topk", layer(2, kind="gaussian_code")),
        ("sparse, topk", layer(2, kind="kl_sparsity")),
        ("sparse, topk", layer(2, kind="dense")),
        ("sparse, topk", layer(1, kind="top_k", k=1)),
        ("sparse, topk", lambda model, header: model["network"]["layers"].insert(0, model["network"]["layers"][2])),
        ("sparse, topk", lambda model, header: model["network"]["layers"].append(model["network"]["layers"][2])),
        ("sparse, topk", set_path("network", "n_encoder_layers", 5)),
        ("sparse, topk", set_path("parameters", "k", 0)),
        ("sparse, topk", set_path("parameters", "k", None)),
        ("sparse, kl", layer(2, target="x")),
        ("sparse, kl", layer(2, weight=None)),
        ("sparse, kl", layer(2, dropout=1.0)),
        ("sparse, kl, tied", layer(4, tied_to=1)),
        ("sparse, kl, tied", layer(4, tied_to=2)),
        ("sparse, kl, tied", layer(0, batch_norm=True)),
        ("variational", layer(2, units=8)),
        ("variational", layer(2, units=2)),
        ("variational", layer(1, activation="relu")),
        ("variational", set_path("parameters", "beta", "much")),
        ("variational", set_path("parameters", "beta", {"object": "LinearSchedule", "fields": {"initial": 0}})),
        ("variational", set_path("parameters", "tied_weights", True)),
        ("normalised", layer(0, batch_norm=False)),
        ("normalised", layer(0, batch_norm=1)),
        ("normalised", layer(3, batch_norm=True)),
        ("denoising", set_path("parameters", "noise", "pink")),
        ("denoising", set_path("class", "Autoencoder")),
        ("contractive", set_path("parameters", "contraction", -1)),
    ],
)
def test_forged_variants_are_refused(name, change):
    content = to_bytes(clone(CASES[name]).fit(X))
    with pytest.raises(aefast.ModelFileError):
        aefast.load(forged(content, change))


def test_a_file_names_the_class_and_its_layers():
    content = to_bytes(clone(CASES["variational"]).fit(X))
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    model = json.loads(header["__metadata__"]["model"])
    assert model["class"] == "VariationalAutoencoder"
    assert [each["kind"] for each in model["network"]["layers"]] == [
        "dense",
        "dense",
        "gaussian_code",
        "dense",
        "dense",
    ]


@pytest.mark.parametrize(
    ("variant", "method"),
    [
        (VariationalAutoencoder, "elbo"),
        (VariationalAutoencoder, "encode_distribution"),
        (VariationalAutoencoder, "sample"),
        (ContractiveAutoencoder, "jacobian_norm"),
    ],
)
def test_unfitted_use_is_not_fitted_error(variant, method):
    with pytest.raises(NotFittedError, match=f"This {variant.__name__} instance is not fitted yet"):
        getattr(variant(), method)(*([] if method == "sample" else [X]))


# The engine's penalties.


@pytest.mark.parametrize("n_rows", [1, 31, 256, 300])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_penalties_equal_the_terms_of_the_objective(n_rows, dtype):
    network = network_of(6, [dense(9), dense(4, "sigmoid")], [dense(6, "identity")])
    parameters, scaling = random_parameters(network, np.random.default_rng(0)), engine.identity_scaling(6)
    rows = X[:n_rows]
    plain = engine.trainer(network, parameters).gradient(rows, scaling)[0]
    for names in (("activity_l1",), ("activity_l2",), ("contraction",), ("activity_l1", "contraction")):
        objective = {"loss": "mse", **dict.fromkeys(names, 0.3)}
        penalties = engine.trainer(network, parameters, objective, dtype=dtype, n_threads=2).penalties(rows, scaling)
        assert penalties.shape == (n_rows,)
        assert penalties.dtype == dtype
        added = engine.trainer(network, parameters, objective).gradient(rows, scaling)[0] - plain
        assert penalties.mean() == pytest.approx(added, rel=1e-11 if dtype == "float64" else 1e-5)
        chosen = np.array([0, n_rows - 1], dtype=np.int64)
        some = engine.trainer(network, parameters, objective, dtype=dtype).penalties(rows, scaling, chosen)
        np.testing.assert_array_equal(some, penalties[chosen])


def test_the_penalty_on_mean_activations_is_that_of_the_batch():
    code = [dense(4, "sigmoid"), {"kind": "kl_sparsity", "target": 0.1, "weight": 0.5}]
    network = network_of(6, [dense(9), *code], [dense(6, "identity")])
    parameters, scaling = random_parameters(network, np.random.default_rng(0)), engine.identity_scaling(6)
    trainer = engine.trainer(network, parameters)
    m = engine.predictor(network, parameters, (np.zeros(6), np.ones(6), 1e6), "float64").encode(X[:200]).mean(axis=0)
    divergence = (0.1 * np.log(0.1 / m) + 0.9 * np.log(0.9 / (1 - m))).sum()
    np.testing.assert_allclose(trainer.penalties(X[:200], scaling), 0.5 * divergence, rtol=1e-12)


def test_the_loss_of_an_epoch_is_without_penalties():
    network = network_of(6, [dense(9), dense(4, "sigmoid")], [dense(6, "identity")])
    parameters, scaling = random_parameters(network, np.random.default_rng(0)), engine.identity_scaling(6)
    losses = [
        engine.trainer(network, parameters, {"loss": "mse", **penalty}).train_epoch(
            X, scaling, epoch=0, learning_rate=0.0, batch_size=100
        )
        for penalty in ({}, {"contraction": 1.0}, {"activity_l1": 1.0}, {"l2": 1.0})
    ]
    assert losses == [losses[0]] * 4
