"""Mahalanobis distances of residuals and codes: shrunk, robust to anomalies, defined without an inverse too."""

import numpy as np
import pytest
from sklearn.covariance import LedoitWolf

import engine
import reference
from aefast import Autoencoder
from aefast.model.whitening import MAX_STEPS, joint_whitening, shrunk_covariance, turned_to_features


def correlated(n_rows=400, n_features=5, seed=0):
    rng = np.random.default_rng(seed)
    return (
        rng.normal(size=(n_rows, n_features)) @ rng.normal(size=(n_features, n_features)) * np.arange(1, n_features + 1)
    )


def distances(whitening, residuals, codes):
    return (((np.hstack([residuals, codes]) - whitening.centre) @ whitening.matrix.T) ** 2).sum(axis=1)


@pytest.mark.parametrize("shape", [(400, 5), (7, 5), (5, 30), (300, 1)])
def test_covariance_is_shrunk_as_by_scikit_learn(shape):
    X = np.random.default_rng(0).normal(size=shape) * np.linspace(1, 3, shape[1])
    expected = LedoitWolf(assume_centered=True).fit(X).covariance_
    np.testing.assert_allclose(shrunk_covariance(X), expected, rtol=1e-5, atol=1e-5)


def test_squared_lengths_are_mahalanobis_distances_of_residual_and_code():
    v = correlated()
    whitening = joint_whitening(v[:, :3], v[:, 3:], v[:, :3])
    found = distances(whitening, v[:, :3], v[:, 3:])
    # The rows with the smallest distances are those that mean and covariance came from.
    closest = np.argsort(found)[:320]
    S = shrunk_covariance(v[closest] - v[closest].mean(axis=0))
    away = v - v[closest].mean(axis=0)
    np.testing.assert_allclose(found, np.einsum("ni,ij,nj->n", away, np.linalg.inv(S), away), rtol=1e-8)


def test_anomalies_that_flock_do_not_hide_each_other():
    X, flock = correlated(450, seed=1), np.arange(50)
    X[flock] = X[flock] * 0.01 + [20, -20, 20, -20, 20]
    codes = np.random.default_rng(0).normal(size=(450, 1))
    found = distances(joint_whitening(X, codes, X), X, codes)
    assert found[flock].min() > found[50:].max()
    # By the mean and covariance of all rows, some anomalies are nearer than some normal rows.
    away = X - X.mean(axis=0)
    naive = np.einsum("ni,ij,nj->n", away, np.linalg.inv(np.cov(X.T)), away)
    assert naive[flock].min() < naive[50:].max()


def test_concentration_ends_before_the_last_step(monkeypatch):
    X = correlated(2000)
    ended = joint_whitening(X, X[:, :1] ** 2, X)
    monkeypatch.setattr("aefast.model.whitening.MAX_STEPS", 3 * MAX_STEPS)
    np.testing.assert_array_equal(joint_whitening(X, X[:, :1] ** 2, X).matrix, ended.matrix)


def test_each_component_stays_closest_to_its_own_element():
    v = correlated()
    centre, W, *_ = joint_whitening(v[:, :3], v[:, 3:], v[:, :3])
    correlations = np.corrcoef(v.T, ((v - centre) @ W.T).T)[:5, 5:]
    assert (np.abs(correlations).argmax(axis=1) == range(5)).all()


def test_the_order_of_the_features_does_not_matter():
    r, order = correlated(), [3, 0, 4, 2, 1]
    none = np.zeros((len(r), 1))
    W = joint_whitening(r, none, r).matrix[:5, :5]
    np.testing.assert_allclose(
        joint_whitening(r[:, order], none, r).matrix[:5, :5], W[np.ix_(order, order)], rtol=1e-8, atol=1e-8
    )


def test_usual_rows_are_those_that_count():
    rows = np.random.default_rng(0).normal(size=(1000, 3)) * [1, 2, 0] + [0, 5, 7]
    rows[:100] += 50
    whitening = joint_whitening(rows, np.zeros((1000, 1)), rows)
    np.testing.assert_allclose(whitening.usual, [0, 5, 7], atol=0.15)
    # The closest 80 % of a normal distribution vary less than all, and what does not vary counts as it is.
    np.testing.assert_allclose(whitening.deviation, [0.8, 1.6, 1], rtol=0.1)


def test_reasons_of_a_distance_are_the_features_that_were_changed():
    rng = np.random.default_rng(0)
    model = Autoencoder(score_metric="mahalanobis", random_state=0).fit(rng.normal(loc=100, scale=5, size=(600, 6)))
    rows, changed = rng.normal(loc=100, scale=5, size=(200, 6)), rng.integers(6, size=200)
    rows[np.arange(200), changed] += 200
    assert (model.feature_errors(rows).argmax(axis=1) == changed).mean() > 0.95


@pytest.mark.parametrize(("n_columns", "least"), [(3, 0.95), (6, 0.95), (10, 0.95)])
def test_one_wrong_value_is_the_reason_however_the_columns_are_related(n_columns, least):
    rng = np.random.default_rng(0)
    mixing = rng.normal(size=(max(1, n_columns // 4), n_columns))

    def rows(n):
        return np.tanh(rng.normal(size=(n, len(mixing))) @ mixing) + 0.1 * rng.normal(size=(n, n_columns))

    X = rows(2000)
    model = Autoencoder(score_metric="mahalanobis", random_state=0).fit(X)
    wrong, changed = rows(300), rng.integers(n_columns, size=300)
    wrong[np.arange(300), changed] += 4 * X.std(axis=0)[changed] * rng.choice([-1, 1], size=300)
    assert (model.feature_errors(wrong).argmax(axis=1) == changed).mean() > least
    residuals = np.abs((wrong - model.reconstruct(wrong)) / model.scaler_scale_)
    assert (residuals.argmax(axis=1) == changed).mean() < least - 0.03


def test_turning_changes_no_distance():
    v = correlated()
    whitening = joint_whitening(v[:, :3], v[:, 3:], v[:, :3])
    turned = turned_to_features(whitening, np.random.default_rng(0).normal(size=(3, 5)))
    np.testing.assert_allclose(
        distances(turned, v[:, :3], v[:, 3:]), distances(whitening, v[:, :3], v[:, 3:]), rtol=1e-9
    )
    assert not np.allclose(turned.matrix, whitening.matrix)


def test_reasons_of_a_linear_network_do_not_depend_on_the_split_into_residual_and_code():
    X = correlated()
    covariance = shrunk_covariance(X - X.mean(axis=0))
    parts = []
    for code in (np.eye(5)[:, :1], np.random.default_rng(0).normal(size=(5, 2))):
        effects = np.hstack([np.eye(5) - code @ np.linalg.pinv(code), code])
        map_back = np.linalg.pinv(effects)
        root = np.linalg.cholesky(np.linalg.inv(covariance)).T
        whitening = joint_whitening(X, X[:, : code.shape[1]], X)._replace(
            centre=np.zeros(effects.shape[1]), matrix=np.vstack([root @ map_back.T, np.zeros(code.T.shape) @ effects])
        )
        parts.append(np.square(X @ effects @ turned_to_features(whitening, effects).matrix.T)[:, :5])
    np.testing.assert_allclose(parts[0], parts[1], rtol=1e-8)
    scale = np.sqrt(np.diag(np.linalg.inv(covariance)))
    values, vectors = np.linalg.eigh(np.linalg.inv(covariance) / np.outer(scale, scale))
    np.testing.assert_allclose(parts[0], np.square(X * scale @ (vectors * np.sqrt(values)) @ vectors.T), rtol=1e-8)


def test_a_feature_that_moves_nothing_counts_as_its_own_residual():
    v = correlated()
    whitening = joint_whitening(v[:, :3], v[:, 3:], v[:, :3])
    effects = np.hstack([np.eye(3), np.zeros((3, 2))])
    without = effects * [[0], [1], [1]]
    np.testing.assert_array_equal(
        turned_to_features(whitening, without).matrix, turned_to_features(whitening, effects).matrix
    )


@pytest.mark.parametrize(
    "residuals",
    [
        np.zeros((10, 3)),
        np.ones((1, 3)),
        np.ones((2, 3)) * [[1], [2]],
        np.random.default_rng(0).normal(size=(50, 1)),
        np.eye(3)[:, [0, 0, 1]] * 1e-12,
    ],
    ids=["none", "one row", "two rows", "one feature", "repeated features"],
)
def test_degenerate_residuals_give_a_finite_map(residuals):
    d = residuals.shape[1]
    for codes in [np.zeros((len(residuals), 2)), residuals]:
        centre, W, usual, deviation = joint_whitening(residuals, codes, residuals)
        p = d + codes.shape[1]
        assert (centre.shape, W.shape, usual.shape, deviation.shape) == ((p,), (p, p), (d,), (d,))
        assert np.isfinite(centre).all()
        assert np.isfinite(W).all()
        assert np.isfinite(usual).all()
        assert (deviation > 0).all()


def test_rows_that_overflow_are_left_out():
    v = correlated()
    wild = v.copy()
    wild[0], wild[1, 0], wild[2, 1] = np.inf, np.nan, 1e300
    got = joint_whitening(wild[:, :3], wild[:, 3:], v[:, :3])
    for array, expected in zip(got, joint_whitening(v[3:, :3], v[3:, 3:], v[3:, :3]), strict=True):
        np.testing.assert_array_equal(array, expected)
    nothing = joint_whitening(wild[:1, :3], wild[:1, 3:], v[:1, :3])
    assert (nothing.matrix == np.eye(5)).all()
    assert all(np.isfinite(array).all() for array in nothing)


def test_the_metric_sees_a_broken_correlation_that_the_mean_square_does_not():
    rng = np.random.default_rng(0)
    t = rng.normal(size=(2000, 1))
    X = np.hstack([t, t, rng.normal(size=(2000, 1))]) + 0.05 * rng.normal(size=(2000, 3))
    # The network knows only the mean: its residuals are the centred rows and have their correlations.
    model = Autoencoder((1,), max_epochs=0, scaler=None, score_metric="mahalanobis", random_state=0).fit(X)
    model.coefs_ = [np.zeros_like(w) for w in model.coefs_]
    model.set_params(warm_start=True).fit(X)
    together, apart = [[1.0, 1.0, 0.0]], [[1.0, -1.0, 0.0]]
    assert model.reconstruction_error(together, metric="mse") == model.reconstruction_error(apart, metric="mse")
    assert model.reconstruction_error(apart) > 20 * model.reconstruction_error(together)


def test_the_metric_detects_rows_that_are_extreme_along_learnt_directions():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(2000, 1)) * [[1.0, 2.0, -1.0]] + 0.1 * rng.normal(size=(2000, 3))
    model = Autoencoder((1,), activation="identity", score_metric="mahalanobis", random_state=0).fit(X)
    usual, far = [[1.0, 2.0, -1.0]], [[8.0, 16.0, -8.0]]
    assert model.reconstruction_error(far) > 10 * model.reconstruction_error(usual)
    direct = np.einsum("ni,ij,nj->n", X, np.linalg.inv(np.cov(X.T)), X)
    assert np.corrcoef(model.reconstruction_error(X), direct)[0, 1] > 0.98


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("n_rows", [1, 33, 300])
def test_one_pass_gives_residuals_and_codes(n_rows, dtype):
    rng = np.random.default_rng(5)
    network = reference.network_spec((5, 7, 2, 7, 5), "silu", output_activation="sigmoid")
    parameters, values = reference.random_parameters(network, rng), reference.random_scaling(5, rng)
    predictor, X = engine.predictor(network, parameters, values, dtype), rng.normal(size=(n_rows, 5))
    scaled = rng.normal(size=(n_rows, 5))
    both = predictor.residuals_and_codes(X, scaled)
    np.testing.assert_array_equal(both[:, :5], scaled - predictor.reconstruct(X, scaled=True))
    np.testing.assert_array_equal(both[:, 5:], predictor.encode(X))
    for wrong in (scaled[1:], scaled[:, 1:]):
        with pytest.raises(ValueError, match="a row for each"):
            predictor.residuals_and_codes(X, wrong)
