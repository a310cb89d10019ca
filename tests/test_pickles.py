"""Pickles of estimators that earlier versions made: other modules, and each fitted attribute by itself."""

import pickle

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

import aefast
from aefast.columns.column import Column
from aefast.model.calibration import Calibration
from aefast.model.variants import VARIANTS
from aefast.model.whitening import Whitening

X = np.random.default_rng(0).normal(size=(200, 6))
FRAME = pd.DataFrame({"k": ["a", "b"] * 100, "x": X[:, 0]})
IMAGES = X[:, :4].reshape(-1, 2, 2)
OPTIONS = {"max_epochs": 2, "random_state": 0, "score_metric": "mse"}
ATTRIBUTES = [
    "network_",
    "coefs_",
    "intercepts_",
    "norms_",
    "scaler_shift_",
    "scaler_scale_",
    "column_means_",
    "columns_",
    "n_features_in_",
    "score_metric_",
    "offset_",
    "calibration_",
    "best_loss_",
    "loss_curve_",
    "validation_curve_",
    "n_epochs_",
    "whitening_",
    "input_ranges_",
]
CASES = {
    "numbers": (aefast.Autoencoder(**OPTIONS), X),
    "names": (aefast.Autoencoder(optimizer=aefast.SGD(0.5), **OPTIONS), pd.DataFrame(X, columns=list("abcdef"))),
    "kinds": (aefast.Autoencoder(**OPTIONS), FRAME),
    "norms": (aefast.Autoencoder((8, 3), batch_norm=True, **OPTIONS), X),
    "variational": (aefast.VariationalAutoencoder(**OPTIONS), X),
    "images": (aefast.ConvolutionalAutoencoder(channels=(3,), **OPTIONS), IMAGES),
}


def state_as_it_was(model):
    """The state that a pickle of version 0.1.0 has."""
    state = model.get_params(deep=False) | {name: getattr(model, name) for name in ATTRIBUTES}
    for name in ("feature_names_in_", "image_shape_"):
        if hasattr(model, name):
            state[name] = getattr(model, name)
    held, continuation = model.model_, model.continuation_
    private = {"_scaler_kind": held.scaling.kind, "_loss_kind": held.loss, "_refusal": "", "_seed": continuation.seed}
    return state | private | {"_n_passes": continuation.n_passes, "_optimizer_state": continuation.optimizer}


@pytest.mark.parametrize(("model", "rows"), CASES.values(), ids=CASES)
def test_the_state_of_an_earlier_version_becomes_a_model(model, rows):
    model.fit(rows)
    again = type(model).__new__(type(model))
    again.__setstate__(state_as_it_was(model))
    assert again.model_.to_bytes() == model.model_.replace(best_epoch=None, reference=None).to_bytes()
    np.testing.assert_array_equal(again.reconstruction_error(rows), model.reconstruction_error(rows))
    assert again.get_params() == model.get_params()
    for each in (model, again):
        each.partial_fit(rows).partial_fit(rows)
    np.testing.assert_array_equal(again.reconstruction_error(rows), model.reconstruction_error(rows))


def test_an_estimator_without_a_fit_stays_without_one():
    again = aefast.Autoencoder.__new__(aefast.Autoencoder)
    again.__setstate__(aefast.Autoencoder(batch_size=7).get_params())
    assert (again.batch_size, hasattr(again, "model_")) == (7, False)


def test_the_state_of_a_scorer_of_an_earlier_version_becomes_one():
    model = aefast.Autoencoder(**OPTIONS).fit(FRAME)
    now = aefast.Scorer(model, top_features=1, keep=["k"])
    state = {name: value for name, value in vars(now).items() if name not in ("model", "on_bad")}
    again = aefast.Scorer.__new__(aefast.Scorer)
    again.__setstate__({**state, "estimator": model})
    scores, found = (pa.Table.from_batches(each.score(FRAME)) for each in (now, again))
    assert found.equals(scores)
    assert pa.Table.from_batches(pickle.loads(pickle.dumps(again)).score(FRAME)).equals(scores)


def named(module, name):
    """What a pickle finds under a name."""
    return pickle.loads(f"c{module}\n{name}\n.".encode())


def test_the_names_of_earlier_versions_are_found():
    for name, variant in VARIANTS.items():
        assert named(f"aefast.{variant.module}", name) is getattr(aefast, name)
    assert named("aefast.scorer", "Scorer") is aefast.Scorer
    assert named("aefast.thresholds", "Calibration") is Calibration
    assert named("aefast.whitening", "Whitening") is Whitening
    assert named("aefast.columns", "Column") is Column
    assert named("aefast.optimizers", "SGD") is aefast.SGD
    assert named("aefast.schedules", "CosineSchedule") is aefast.CosineSchedule
    assert named("aefast.checkpoints", "Checkpoint") is aefast.Checkpoint
    with pytest.raises(ModuleNotFoundError, match="aefast.nowhere"):
        named("aefast.nowhere", "Autoencoder")


def test_parameters_that_a_pickle_lacks_have_their_defaults():
    model = aefast.Autoencoder(**OPTIONS).fit(X)
    state = state_as_it_was(model)
    del state["n_init"]
    old = aefast.Autoencoder.__new__(aefast.Autoencoder)
    old.__setstate__(state)
    assert old.get_params() == model.get_params()
    assert repr(old) == repr(model)
    assert np.array_equal(old.partial_fit(X).score_samples(X), model.partial_fit(X).score_samples(X))
