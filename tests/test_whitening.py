"""Whitening of residuals: Mahalanobis distances of the shrunk covariance, also where there is nothing to invert."""

import numpy as np
import pytest
from sklearn.covariance import LedoitWolf

from aefast import Autoencoder
from aefast.whitening import residual_whitening


def correlated(n_rows=400, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n_rows, 5)) @ rng.normal(size=(5, 5)) * [1, 10, 0.1, 1, 3]


def test_squared_lengths_are_mahalanobis_distances():
    r = correlated()
    S = LedoitWolf(assume_centered=True).fit(r).covariance_
    distances = np.einsum("ni,ij,nj->n", r, np.linalg.inv(S), r)
    np.testing.assert_allclose(((r @ residual_whitening(r).T) ** 2).sum(axis=1), distances, rtol=1e-5)


def test_each_component_stays_closest_to_its_own_feature():
    r = correlated()
    W = residual_whitening(r)
    correlations = np.corrcoef(r.T, (r @ W.T).T)[:5, 5:]
    assert (np.abs(correlations).argmax(axis=1) == range(5)).all()


def test_the_order_of_the_features_does_not_matter():
    r, order = correlated(), [3, 0, 4, 2, 1]
    W = residual_whitening(r)
    np.testing.assert_allclose(residual_whitening(r[:, order]), W[np.ix_(order, order)], rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize(
    "residuals",
    [
        np.zeros((10, 3)),
        np.ones((1, 3)),
        np.random.default_rng(0).normal(size=(50, 1)),
        np.eye(3)[:, [0, 0, 1]] * 1e-12,
    ],
    ids=["none", "one row", "one feature", "repeated features"],
)
def test_degenerate_residuals_give_a_finite_map(residuals):
    W = residual_whitening(residuals)
    assert W.shape == (residuals.shape[1],) * 2
    assert np.isfinite(W).all()


def test_the_metric_sees_a_broken_correlation_that_the_mean_square_does_not():
    rng = np.random.default_rng(0)
    t = rng.normal(size=(2000, 1))
    X = np.hstack([t, t, rng.normal(size=(2000, 1))]) + 0.05 * rng.normal(size=(2000, 3))
    # A network that knows only the mean: its residuals are the rows, and correlate as they do.
    model = Autoencoder((1,), max_epochs=0, scaler=None, score_metric="mahalanobis", random_state=0).fit(X)
    model.coefs_ = [np.zeros_like(w) for w in model.coefs_]
    model.set_params(warm_start=True).fit(X)
    together, apart = [[1.0, 1.0, 0.0]], [[1.0, -1.0, 0.0]]
    assert model.reconstruction_error(together, metric="mse") == model.reconstruction_error(apart, metric="mse")
    assert model.reconstruction_error(apart) > 20 * model.reconstruction_error(together)
    S = LedoitWolf(assume_centered=True).fit(X).covariance_
    direct = np.einsum("ni,ij,nj->n", X, np.linalg.inv(S), X) / 3
    # Held-out rows are no part of the estimate, so it is only near to the one from all rows.
    np.testing.assert_allclose(model.reconstruction_error(X), direct, rtol=0.2)
