"""Rows that a fit accepted can be trained on again, also those that it held out."""

import numpy as np
import pytest

from aefast import Autoencoder

X = np.random.default_rng(0).normal(size=(300, 5)) ** 3


@pytest.mark.parametrize("activation", ["sigmoid", "softmax"])
def test_rows_held_out_by_fit_lie_in_the_range_of_minmax(activation):
    loss = {"loss": "binary_crossentropy", "output_activation": activation, "scaler": "minmax"}
    for seed in range(5):
        model = Autoencoder((3,), max_epochs=2, random_state=seed, **loss).fit(X)
        assert model.partial_fit(X).n_epochs_ == 3
        np.testing.assert_array_equal(model.model_.scaling.shift, X.min(axis=0))
        np.testing.assert_array_equal(model.model_.scaling.scale, X.max(axis=0) - X.min(axis=0))
        model.set_params(warm_start=True, validation_fraction=0.3).fit(X)
    with pytest.raises(ValueError, match="it was fitted to earlier rows"):
        model.partial_fit(X * 2)


def test_codes_are_no_metadata_for_scikit_learn():
    model = Autoencoder()
    assert not hasattr(model, "set_inverse_transform_request")
    assert hasattr(model, "set_fit_request")
