"""The oracle agrees with finite differences."""

import numpy as np
import pytest

import reference

LOSS_OUTPUTS = [
    ("mse", "identity"),
    ("mse", "softmax"),
    ("mae", "tanh"),
    ("huber", "softplus"),
    ("binary_crossentropy", "sigmoid"),
    ("binary_crossentropy", "softmax"),
    ("categorical_crossentropy", "softmax"),
    ("categorical_crossentropy", "sigmoid"),
]


def central_differences(function, parameters, step=1e-6):
    """The gradient of a scalar function of a list of arrays."""
    gradient = []
    for p in parameters:
        g = np.empty(p.shape)
        for index in np.ndindex(p.shape):
            kept = p[index]
            p[index] = kept + step
            above = function(parameters)
            p[index] = kept - step
            g[index] = (above - function(parameters)) / (2 * step)
            p[index] = kept
        gradient.append(g)
    return gradient


@pytest.mark.parametrize(("loss", "output_activation"), LOSS_OUTPUTS)
@pytest.mark.parametrize("tied", [False, True])
def test_gradient_is_the_slope_of_the_objective(loss, output_activation, tied):
    rng = np.random.default_rng(3)
    network = reference.network_spec(
        (5, 4, 2, 4, 5), "gelu", "silu", output_activation, tied=tied, dropout=0.25, groups=[(0, 2), (2, 5)]
    )
    parameters = reference.random_parameters(network, rng)
    objective = {"loss": loss, "l1": 0.01, "l2": 0.02, "activity_l1": 0.03, "activity_l2": 0.04}
    x = rng.dirichlet(np.ones(5), size=7)
    masks = [rng.random((7, layer["units"])) > 0.25 if layer["dropout"] else None for layer in network["layers"]]
    arguments = {"sample_weight": rng.uniform(0.5, 2, size=7), "masks": masks}

    slopes = central_differences(
        lambda p: reference.objective_and_gradient(network, p, objective, x, **arguments)[1], parameters
    )
    gradient = reference.objective_and_gradient(network, parameters, objective, x, **arguments)[2]
    for g, slope in zip(gradient, slopes, strict=True):
        np.testing.assert_allclose(g, slope, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("name", sorted(reference.ACTIVATIONS))
def test_activation_derivative_is_the_slope(name):
    value, derivative = reference.ACTIVATIONS[name]
    z = np.random.default_rng(0).uniform(-30, 30, size=2000)
    slope = (value(z + 1e-5) - value(z - 1e-5)) / 2e-5
    np.testing.assert_allclose(derivative(z), slope, rtol=1e-6, atol=1e-9)


def test_metrics_are_row_sums_of_feature_errors_written_out():
    rng = np.random.default_rng(1)
    network = reference.network_spec((4, 3, 4), "tanh", output_activation="identity")
    parameters = reference.random_parameters(network, rng)
    scaling = reference.random_scaling(4, rng)
    X, centre, W = rng.normal(size=(6, 4)), rng.normal(size=7), rng.normal(size=(7, 7))
    usual, deviation = rng.normal(size=4), rng.uniform(1, 2, size=4)
    (w_1, b_1, w_2, b_2), (shift, scale, _) = parameters, scaling
    for row in X:
        s = (row - shift) / scale
        h = np.tanh(s @ w_1 + b_1)
        r = s - (h @ w_2 + b_2)
        expected = {
            "mse": np.mean(r**2),
            "mae": np.mean(np.abs(r)),
            "max": np.max(np.abs(r)),
            "huber": np.mean([v * v / 2 if abs(v) <= 1 else abs(v) - 0.5 for v in r]),
        }
        for metric, value in expected.items():
            assert reference.errors(network, parameters, scaling, row[np.newaxis], metric) == pytest.approx(value)
        model, squares = (network, parameters, scaling), (W @ (np.append(r, h) - centre)) ** 2
        whitened = reference.errors(*model, row[np.newaxis], "mahalanobis", (centre, W, usual, deviation))
        assert whitened == pytest.approx(np.mean(squares))
        shares = reference.feature_errors(*model, row[np.newaxis], "mahalanobis", (centre, W, usual, deviation))
        away = ((s - usual) / deviation) ** 2 + 1e-6
        assert shares[0, 1] == pytest.approx((squares[1] + squares[4:].sum() * away[1] / away.sum()) / 7)
