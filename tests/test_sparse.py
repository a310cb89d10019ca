"""SparseAutoencoder: each kind of sparsity has the effect on the code that its source describes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import aefast
import engine
from aefast import SparseAutoencoder
from messages import raises_exactly
from variants import dense, forward, kept_by_top_k, network_of, random_parameters

RNG = np.random.default_rng(0)
X = RNG.normal(size=(600, 4)) @ RNG.normal(size=(4, 8)) + 0.1 * RNG.normal(size=(600, 8))
LONG = {"max_epochs": 150, "learning_rate": 0.01, "batch_size": 64, "random_state": 0}


def scaled_by(model):
    return (X - model.scaler_shift_) / model.scaler_scale_


def codes(**parameters):
    return SparseAutoencoder((20,), **{**LONG, **parameters}).fit(X).transform(X)


def test_kl_brings_the_mean_of_every_unit_to_its_target():
    for target in (0.05, 0.2):
        h = codes(sparsity="kl", sparsity_target=target, sparsity_weight=1.0)
        assert (h > 0).all()
        assert (h < 1).all()
        np.testing.assert_allclose(h.mean(axis=0), target, atol=0.3 * target)


def test_l1_makes_most_outputs_zero():
    active = [(codes(sparsity="l1", sparsity_weight=weight) != 0).mean() for weight in (0.0, 0.02, 0.2)]
    assert active[0] > active[1] > active[2]
    assert active[2] < 0.5 * active[0]


def test_l1_adds_to_activity_l1():
    both, one = (
        SparseAutoencoder((3,), sparsity="l1", max_epochs=2, random_state=0, **weights).fit(X)
        for weights in ({"sparsity_weight": 0.25, "activity_l1": 0.5}, {"sparsity_weight": 0.75})
    )
    np.testing.assert_array_equal(both.coefs_[0], one.coefs_[0])


@pytest.mark.parametrize("k", [1, 3, 20])
def test_topk_keeps_exactly_k(k):
    model = SparseAutoencoder((20,), sparsity="topk", k=k, max_epochs=3, random_state=0).fit(X)
    h = model.transform(X)
    assert set((h != 0).sum(axis=1)) == {k}
    # What scoring reconstructs from is the sparse code.
    np.testing.assert_allclose(model.inverse_transform(h), model.reconstruct(X), rtol=1e-5, atol=1e-5)


def test_alpha_gives_wider_codes_and_the_same_errors():
    common = {"sparsity": "topk", "k": 3, "max_epochs": 3, "random_state": 0}
    model, wide = (SparseAutoencoder((20,), **common, **alpha).fit(X) for alpha in ({}, {"alpha": 2.5}))
    h, h_wide = model.transform(X), wide.transform(X)
    assert set((h_wide != 0).sum(axis=1)) == {8}
    np.testing.assert_array_equal(h_wide[h != 0], h[h != 0])
    sums = scaled_by(model) @ model.coefs_[0] + model.intercepts_[0]
    np.testing.assert_array_equal(h_wide != 0, kept_by_top_k(sums, 8))
    np.testing.assert_array_equal(wide.reconstruction_error(X), model.reconstruction_error(X))
    np.testing.assert_array_equal(model.set_params(alpha=2.5).transform(X), h_wide)


def test_alpha_survives_a_file(tmp_path):
    model = SparseAutoencoder((20,), sparsity="topk", k=3, alpha=2, max_epochs=1, random_state=0).fit(X)
    model.save(tmp_path / "model.safetensors")
    np.testing.assert_array_equal(aefast.load(tmp_path / "model.safetensors").transform(X), model.transform(X))


def test_alpha_of_more_than_the_code_is_refused():
    message = "alpha=7 makes 21 outputs of k=3, more than the code's 20: it must be at most 6.66667"
    model = SparseAutoencoder((20,), sparsity="topk", k=3, max_epochs=1, random_state=0).fit(X)
    with raises_exactly(ValueError, message):
        model.set_params(alpha=7).transform(X)
    with raises_exactly(ValueError, message):
        model.fit(X)


@given(st.integers(1, 40), st.integers(1, 90), st.integers(0, 4), st.data())
def test_topk_keeps_the_largest_and_of_equals_the_first(n_units, n_rows, n_levels, data):
    k = data.draw(st.integers(1, n_units))
    rng = np.random.default_rng([n_units, n_rows, n_levels, k])
    h = (
        rng.integers(-n_levels, n_levels + 1, size=(n_rows, n_units)) / 2
        if n_levels
        else rng.normal(size=(n_rows, n_units))
    )
    network = network_of(n_units, [dense(n_units, "identity"), {"kind": "top_k", "k": k}], [dense(n_units, "identity")])
    parameters = [np.eye(n_units), np.zeros(n_units), np.eye(n_units), np.zeros(n_units)]
    scaling = (np.zeros(n_units), np.ones(n_units), 1e6)
    for dtype in ("float32", "float64"):
        kept = engine.predictor(network, parameters, scaling, dtype).encode(h)
        np.testing.assert_array_equal(kept, (h * kept_by_top_k(h, k)).astype(dtype))


def test_topk_is_the_same_in_training_and_scoring():
    rng = np.random.default_rng(0)
    network = network_of(8, [dense(16, "identity"), {"kind": "top_k", "k": 3}], [dense(8, "identity")])
    parameters = random_parameters(network, rng)
    trainer = engine.trainer(network, parameters)
    trained = trainer.gradient(X, engine.identity_scaling(8))[0]
    assert trained == pytest.approx(trainer.evaluate(X, engine.identity_scaling(8)), rel=1e-12)
    assert trained == pytest.approx(((forward(network, parameters, X).z - X) ** 2).mean(), rel=1e-12)


def test_errors_below_the_threshold_are_left_alone():
    for threshold in (0.3, 1.0):
        model = SparseAutoencoder(
            (20,), sparsity="threshold", error_threshold=threshold, scaler=None, early_stopping=False, **LONG
        ).fit(X)
        free = SparseAutoencoder(
            (20,), sparsity="threshold", error_threshold=0.0, scaler=None, early_stopping=False, **LONG
        ).fit(X)
        residual = np.abs(model.reconstruct(X) - X)
        # Most errors end where they are no longer fought, and no further.
        assert np.median(residual) > 3 * np.median(np.abs(free.reconstruct(X) - X))
        assert np.quantile(residual, 0.9) < 1.2 * threshold


def test_a_threshold_above_all_errors_trains_nothing():
    model = SparseAutoencoder((4,), sparsity="threshold", error_threshold=1e9, max_epochs=3, random_state=0).fit(X)
    start = SparseAutoencoder((4,), sparsity="threshold", max_epochs=0, random_state=0).fit(X)
    for a, b in zip(model.coefs_, start.coefs_, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("sparsity", ["kl", "l1", "topk", "threshold"])
def test_overcomplete_codes_train_and_score(sparsity):
    model = SparseAutoencoder((16, 50), sparsity=sparsity, k=6, max_epochs=20, random_state=0).fit(X)
    assert model.transform(X).shape == (600, 50)
    assert model.validation_curve_[-1] < 0.8 * model.validation_curve_[0]


@pytest.mark.parametrize("sparsity", ["kl", "topk"])
def test_sparse_codes_go_with_ties_dropout_and_normalisation(sparsity):
    common = {"sparsity": sparsity, "k": 3, "max_epochs": 5, "random_state": 0}
    tied = SparseAutoencoder((16, 10), tied_weights=True, dropout=0.1, **common).fit(X)
    np.testing.assert_array_equal(tied.coefs_[2], tied.coefs_[1].T)
    normal = SparseAutoencoder((16, 10), batch_norm=True, **common).fit(X)
    for model in (tied, normal):
        assert model.validation_curve_[-1] < model.validation_curve_[0]


def test_early_stopping_weighs_the_penalty_too():
    # Without it the best held-out loss would be that of the first epochs, before the penalty has done anything.
    h = codes(sparsity="l1", sparsity_weight=0.3)
    unpenalised = codes(sparsity="l1", sparsity_weight=0.0)
    assert np.abs(h).mean() < 0.2 * np.abs(unpenalised).mean()


@pytest.mark.parametrize(
    ("sparsity", "activation"), [("kl", "sigmoid"), ("l1", "relu"), ("topk", "identity"), ("threshold", "relu")]
)
def test_the_code_activation_follows_the_means_unless_it_is_given(sparsity, activation):
    model = SparseAutoencoder((16, 5), sparsity=sparsity, k=2, max_epochs=0, random_state=0).fit(X)
    assert [layer.get("activation") for layer in model.network_["layers"][:2]] == ["silu", activation]
    if sparsity != "kl":
        model.set_params(code_activation="tanh").fit(X)
        assert model.network_["layers"][1]["activation"] == "tanh"


WRONG = {
    "k above the code": (
        lambda: SparseAutoencoder((16, 5), sparsity="topk", k=6).fit(X),
        "k=6 is more than the code has: it must be at most 5, the code's width",
    ),
    "no k": (
        lambda: SparseAutoencoder((16, 5), sparsity="topk").fit(X),
        "sparsity='topk' needs k, how many outputs of the code to keep in each row, got None",
    ),
    "a code that is no share": (
        lambda: SparseAutoencoder(code_activation="relu").fit(X),
        "sparsity='kl' needs code_activation='sigmoid', whose mean is a share, got 'relu'",
    ),
    "a threshold on softmax": (
        lambda: SparseAutoencoder(sparsity="threshold", output_activation="softmax").fit(X),
        "sparsity='threshold' does not go with output_activation='softmax', whose errors are not of one feature",
    ),
    "a target of one": (
        lambda: SparseAutoencoder(sparsity_target=1.0).fit(X),
        (
            "The 'sparsity_target' parameter of SparseAutoencoder must be a float in the range (0.0, 1.0). Got 1.0 "
            "instead."
        ),
    ),
    "unknown means": (
        lambda: SparseAutoencoder(sparsity="l0").fit(X),
        (
            "The 'sparsity' parameter of SparseAutoencoder must be a str among {'kl', 'l1', 'topk', 'threshold'}. Got "
            "'l0' instead."
        ),
    ),
}


@pytest.mark.parametrize("use", WRONG)
def test_wrong_uses_are_answered_in_one_line(use):
    do, message = WRONG[use]
    with raises_exactly(ValueError, message):
        do()
