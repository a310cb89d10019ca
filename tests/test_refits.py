"""Fitting again: what stays of the previous model, and that a refused fit changes nothing."""

import numpy as np
import pandas as pd
import pytest

import aefast
from aefast import Autoencoder, CheckpointError
from aefast.callbacks import Checkpoint

OPTIONS = {"max_epochs": 3, "random_state": 0}


def frame(n_rows, often, seed=0):
    """Two columns, in the first of which one of three levels is ``often`` there."""
    rng = np.random.default_rng(seed)
    levels = ["a", "b", "c"]
    shares = [0.7 if level == often else 0.15 for level in levels]
    return pd.DataFrame({"level": rng.choice(levels, p=shares, size=n_rows), "x": rng.normal(size=n_rows)})


FIRST, OTHER = frame(400, "a"), frame(400, "c", seed=1)
IDS = FIRST.assign(level=[f"id {i}" for i in range(400)])


@pytest.fixture
def model():
    return Autoencoder((8, 2), **OPTIONS).fit(FIRST)


def again(model):
    return model.set_params(warm_start=True, max_epochs=0)


@pytest.mark.parametrize(
    "fit",
    [
        lambda model, rows: again(model).fit(rows),
        lambda model, rows: again(model).fit_batches([rows[:150], rows[150:]]),
        lambda model, rows: again(model).fit_batches(iter([rows])),
        lambda model, rows: model.set_params(learning_rate=1e-12).partial_fit(rows),
    ],
    ids=["fit", "blocks", "iterator", "partial_fit"],
)
def test_a_warm_start_keeps_the_levels_that_its_weights_know(fit, model):
    columns, errors = model.columns_, model.reconstruction_error(OTHER, metric="mse")
    fit(model, OTHER)
    assert model.columns_ == columns
    np.testing.assert_allclose(model.reconstruction_error(OTHER, metric="mse"), errors, rtol=1e-4)


def test_a_warm_start_counts_rows_with_other_levels(model):
    rows = OTHER.assign(level=["z"] * 30 + ["a"] * 370)
    for fit in (lambda: again(model).fit(rows), lambda: again(model).fit_batches([rows[:10], rows[10:]])):
        with pytest.warns(UserWarning, match=r"of 400 later rows, .* in 'level' \(30\).*; let these have all") as told:
            fit()
        assert told[0].filename == __file__


def test_without_a_warm_start_levels_are_learned_anew(model):
    assert model.columns_[0].levels[0] == "a"
    assert model.fit(OTHER).columns_[0].levels[0] == "c"


REFUSED = {
    "rows without names": (lambda model: model.fit(np.ones((9, 2)) * np.inf), ValueError, "infinity"),
    "names of rows": (lambda model: model.fit(IDS), ValueError, "nearly all differ"),
    "weights": (lambda model: model.fit(OTHER, sample_weight=np.zeros(400)), ValueError, "zero for every row"),
    "layers": (lambda model: model.set_params(encoder_layer_sizes=(0,)).fit(OTHER), ValueError, "at least 1"),
    "NaN": (lambda model: model.fit(OTHER.assign(x=np.nan)), ValueError, "NaN"),
    "a bad block": (lambda model: model.fit_batches([OTHER, OTHER.assign(x=np.inf)]), ValueError, "infinity"),
    "no blocks": (lambda model: model.fit_batches([]), ValueError, "at least one block"),
    "other columns": (lambda model: model.partial_fit(OTHER[["x"]]), ValueError, "level"),
    "NaN in a warm start": (lambda model: again(model).fit(OTHER.assign(x=np.nan)), ValueError, "NaN"),
}


@pytest.mark.parametrize(("fit", "kind", "said"), REFUSED.values(), ids=REFUSED)
def test_a_fit_that_is_refused_leaves_the_model_as_it_was(fit, kind, said, model):
    before, scores = dict(vars(model)), model.score_samples(FIRST)
    with pytest.raises(kind, match=said):
        fit(model)
    changed = {name for name, value in vars(model).items() if before.get(name) is not value}
    assert changed <= {"encoder_layer_sizes", "warm_start", "max_epochs"}
    np.testing.assert_array_equal(model.score_samples(FIRST), scores)


def test_a_checkpoint_of_other_training_leaves_the_model_as_it_was(tmp_path, model):
    keep = Checkpoint(tmp_path / "training", keep=True)
    Autoencoder((8, 2), **OPTIONS, callbacks=[keep]).fit(OTHER)
    scores = model.score_samples(FIRST)
    with pytest.raises(CheckpointError):
        model.set_params(callbacks=[keep]).fit(FIRST.assign(x=FIRST["x"] * 9))
    np.testing.assert_array_equal(model.score_samples(FIRST), scores)


@pytest.mark.parametrize("fit", ["fit", "partial_fit"])
def test_a_first_fit_that_is_refused_leaves_nothing(fit):
    model = Autoencoder((4,), **OPTIONS)
    for _ in range(2):
        with pytest.raises(ValueError, match="nearly all differ"):
            getattr(model, fit)(IDS)
    assert not hasattr(model, "n_features_in_")
    assert model.partial_fit(np.random.default_rng(0).normal(size=(50, 7))).n_features_in_ == 7


def test_images_of_another_shape_are_refused_without_a_trace():
    images = np.random.default_rng(0).random((60, 4, 4))
    model = aefast.ConvolutionalAutoencoder(channels=(4, 2), **OPTIONS).fit(images)
    scores = model.score_samples(images)
    with pytest.raises(ValueError, match="pool=2 does not fit"):
        model.fit(np.ones((60, 2, 2)))
    assert model.image_shape_ == (4, 4, 1)
    np.testing.assert_array_equal(model.score_samples(images), scores)
