"""The engine's objective and gradient agree with finite differences and with the oracle."""

import numpy as np
import pytest

import engine
import reference
import rounding

HIDDEN = sorted(reference.ACTIVATIONS)
LOSSES = sorted(reference.LOSSES)
OUTPUTS = [*HIDDEN, "softmax"]
OPTIONS = {
    "plain": {},
    "tied": {"tied": True},
    "l1": {"l1": 0.03},
    "l2": {"l2": 0.05},
    "activity_l1": {"activity_l1": 0.02},
    "activity_l2": {"activity_l2": 0.04},
    "everything": {
        "tied": True,
        "l1": 0.03,
        "l2": 0.05,
        "activity_l1": 0.02,
        "activity_l2": 0.04,
        "sample_weight": True,
    },
    "sample_weight": {"sample_weight": True},
    "target": {"target": True},
    "dropout": {"dropout": 0.3},
}
# Output activations whose natural loss differs from the squared error.
NATURAL_OUTPUT = {"binary_crossentropy": "sigmoid", "categorical_crossentropy": "softmax"}
# A bias that puts each output near the middle of (0, 1), where a crossentropy without its own activation is smooth.
MIDDLE_BIAS = {"identity": 0.5, "relu": 0.5, "leaky_relu": 0.5, "elu": 0.5, "selu": 0.5, "gelu": 0.7, "silu": 0.8}
MIDDLE_BIAS |= {"softplus": -0.5, "tanh": 0.5, "sigmoid": 0.0, "softmax": 0.0}

STEP = 1e-6
MARGIN = 20 * STEP  # from any kink, so that both ends of a difference lie on the same side


def is_smooth(network, parameters, loss, x, target):
    """Return True if no unit and no residual is near a kink."""
    records = reference.forward(network, parameters, x)
    kinked = {"relu", "leaky_relu", "selu"}
    for record, layer in zip(records, network["layers"], strict=True):
        if layer["activation"] in kinked and np.abs(record.z).min() < MARGIN:
            return False
    code = records[network["n_encoder_layers"] - 1]
    # A code of exactly zero (ReLU) stays zero and has no penalty.
    if np.abs(code.y[code.y != 0]).min(initial=1) < MARGIN:
        return False
    return loss != "mae" or np.abs(records[-1].y - target).min() > MARGIN


def make_case(loss, hidden, output, seed=0, widths=(5, 4, 3, 4, 5), n_rows=6, **options):
    """(network, parameters, objective, rows, {"sample_weight", "target"}) away from every kink."""
    network = reference.network_spec(
        widths, hidden, output_activation=output, tied=options.get("tied", False), dropout=options.get("dropout", 0.0)
    )
    objective = {"loss": loss, **{k: v for k, v in options.items() if k.split("_")[-1] in ("l1", "l2")}}
    for attempt in range(100):
        rng = np.random.default_rng([seed, attempt])
        parameters = reference.random_parameters(network, rng)
        if loss.endswith("crossentropy") and NATURAL_OUTPUT[loss] != output:
            parameters[-1] = MIDDLE_BIAS[output] + 0.1 * rng.uniform(-1, 1, size=widths[-1])
            parameters[-2 if network["layers"][-1]["tied_to"] < 0 else 0] *= 0.1
        x, target = (rng.dirichlet(np.ones(widths[0]), size=n_rows) for _ in range(2))
        arguments = {}
        if options.get("sample_weight"):
            arguments["sample_weight"] = rng.uniform(0.2, 2, size=n_rows)
        if options.get("target"):
            arguments["target"] = target
        if is_smooth(network, parameters, loss, x, arguments.get("target", x)):
            return network, parameters, objective, x, arguments
    raise AssertionError("no case away from the kinks")


def assert_gradient_is_the_slope(network, parameters, objective, x, arguments):
    """Compare every partial derivative with a central difference, whose error is of order step^2 and eps / step."""
    trainer, scaling = engine.trainer(network, parameters, objective), engine.identity_scaling(x.shape[1])
    _, gradient = trainer.gradient(x, scaling, **arguments)
    moved = [p.copy() for p in parameters]

    def objective_now():
        trainer.set_parameters(moved)
        return trainer.gradient(x, scaling, **arguments)[0]

    size = max(np.abs(g).max() for g in gradient)
    assert size > 1e-6
    for p, g in zip(moved, gradient, strict=True):
        assert p.shape == g.shape
        for index in np.ndindex(p.shape):
            kept = p[index]
            p[index] = kept + STEP
            above = objective_now()
            p[index] = kept - STEP
            below = objective_now()
            p[index] = kept
            assert g[index] == pytest.approx((above - below) / (2 * STEP), rel=1e-6, abs=1e-6 * max(size, 1e-2))


@pytest.mark.parametrize("option", OPTIONS)
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("hidden", HIDDEN)
def test_gradient_is_the_slope_for_every_activation_loss_and_option(hidden, loss, option):
    case = make_case(loss, hidden, NATURAL_OUTPUT.get(loss, "identity"), **OPTIONS[option])
    assert_gradient_is_the_slope(*case)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("output", OUTPUTS)
def test_gradient_is_the_slope_for_every_output_activation(output, loss):
    assert_gradient_is_the_slope(*make_case(loss, "tanh", output))


@pytest.mark.parametrize("output", ["softmax", "identity"])
@pytest.mark.parametrize("loss", ["categorical_crossentropy", "mse"])
def test_gradient_is_the_slope_for_softmax_with_groups(loss, output):
    network, parameters, objective, x, arguments = make_case(loss, "silu", output)
    network["groups"] = [(0, 2), (2, 5)]
    x = np.concatenate([x[:, :2] / x[:, :2].sum(1, keepdims=True), x[:, 2:] / x[:, 2:].sum(1, keepdims=True)], axis=1)
    assert_gradient_is_the_slope(network, parameters, objective, x, arguments)


@pytest.mark.parametrize("output", ["sigmoid", "softmax"])
@pytest.mark.parametrize("loss", NATURAL_OUTPUT)
def test_gradient_is_the_slope_for_targets_outside_zero_and_one(loss, output):
    network, parameters, objective, x, _ = make_case(loss, "tanh", output)
    x[0, 0], x[1, 2], x[2] = 1.5, -0.5, 3.0
    assert_gradient_is_the_slope(network, parameters, objective, x, {})


def assert_equals_oracle(case, dtype, values=None):
    """Compare objective and gradient with the oracle, within rounding."""
    network, parameters, objective, x, arguments = case
    parameters = [p.astype(dtype).astype(np.float64) for p in parameters]
    values = values or reference.no_scaling(x.shape[1])
    x = x.astype(dtype)
    scaled = reference.scale_rows(x, values)
    on_scaled = dict(arguments)
    if "target" in arguments:
        arguments = {**arguments, "target": arguments["target"].astype(dtype)}
        on_scaled["target"] = reference.scale_rows(arguments["target"], values)
    trainer = engine.trainer(network, parameters, objective, dtype=dtype)
    value, gradient = trainer.gradient(x, engine.scaling(values), **arguments)
    _, expected_value, expected = reference.objective_and_gradient(network, parameters, objective, scaled, **on_scaled)
    unit = 2 * rounding.unit_of(dtype)  # the oracle rounds as well
    bounds = rounding.gradient_bound(network, parameters, objective, scaled, unit, **on_scaled)
    # Rounding the parameters changes the objective by the gradient along the change; each addition rounds once.
    along = sum(np.abs(g * p).sum() for g, p in zip(expected, parameters, strict=True))
    assert value == pytest.approx(expected_value, rel=unit * (64 + scaled.size), abs=unit * 64 * along)
    for g, e, bound in zip(gradient, expected, bounds, strict=True):
        assert g.dtype == np.dtype(dtype)
        assert (np.abs(g - e) <= bound).all(), (
            f"off by {np.abs(g - e).max():.3g} of {np.abs(e).max():.3g}, {bound.max():.3g} allowed"
        )


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("hidden", HIDDEN)
def test_gradient_equals_the_oracle(hidden, loss, dtype):
    for index, option in enumerate(name for name in OPTIONS if name != "dropout"):
        output = NATURAL_OUTPUT.get(loss, "identity")
        assert_equals_oracle(make_case(loss, hidden, output, seed=index, **OPTIONS[option]), dtype)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("n_rows", [1, 2, 15, 16, 17, 31, 33, 63, 64, 65, 97, 130])
@pytest.mark.parametrize("widths", [(1, 1, 1), (7, 17, 7), (33, 15, 1, 16, 33), (65, 64, 63, 65), (130, 3, 130)])
def test_gradient_equals_the_oracle_for_odd_sizes(widths, n_rows, dtype):
    rng = np.random.default_rng(n_rows)
    network = reference.network_spec(widths, "gelu", "tanh", tied=widths == widths[::-1])
    case = (
        network,
        reference.random_parameters(network, rng),
        {"loss": "mse", "l2": 0.1},
        rng.normal(size=(n_rows, widths[0])),
    )
    assert_equals_oracle((*case, {}), dtype, reference.random_scaling(widths[0], rng))


def test_penalties_count_tied_weights_once_and_biases_never():
    network = reference.network_spec((3, 2, 3), "tanh", tied=True)
    parameters = [np.full((3, 2), 0.5), np.full(2, 7.0), np.full(3, 9.0)]
    x, scaling = np.zeros((1, 3)), engine.identity_scaling(3)
    plain = engine.trainer(network, parameters).gradient(x, scaling)[0]
    ridge = engine.trainer(network, parameters, {"loss": "mse", "l2": 2.0}).gradient(x, scaling)[0]
    lasso = engine.trainer(network, parameters, {"loss": "mse", "l1": 2.0}).gradient(x, scaling)[0]
    assert ridge - plain == pytest.approx(6 * 0.5**2)
    assert lasso - plain == pytest.approx(2 * 6 * 0.5)


def test_evaluate_is_the_data_loss_without_penalties_and_dropout():
    network, parameters, objective, x, arguments = make_case("mse", "tanh", "identity", **OPTIONS["everything"])
    for layer in network["layers"][:-1]:
        layer["dropout"] = 0.5
    got = engine.trainer(network, parameters, objective).evaluate(x, engine.identity_scaling(5), **arguments)
    assert got == pytest.approx(reference.objective_and_gradient(network, parameters, objective, x, **arguments)[0])


@pytest.mark.parametrize("loss", LOSSES)
def test_chosen_rows_are_the_only_ones_that_count(loss):
    network, parameters, objective, x, _ = make_case(loss, "tanh", NATURAL_OUTPUT.get(loss, "identity"), n_rows=12)
    rows, weights = np.array([7, 2, 9], dtype=np.int64), np.linspace(0.1, 2, 12)
    trainer = engine.trainer(network, parameters, objective)
    got = trainer.evaluate(x, engine.identity_scaling(5), rows=rows, sample_weight=weights)
    expected = reference.objective_and_gradient(network, parameters, objective, x[rows], weights[rows])[0]
    assert got == pytest.approx(expected)


@pytest.mark.parametrize("extreme", [0.0, 1.0])
@pytest.mark.parametrize(
    ("loss", "output"), [(loss, output) for loss in NATURAL_OUTPUT for output in ("sigmoid", "softmax")]
)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_crossentropies_stay_finite_if_outputs_reach_zero_and_one(loss, output, extreme, dtype):
    network = reference.network_spec((3, 2, 3), "identity", output_activation=output)
    parameters = [np.zeros((3, 2)), np.zeros(2), np.zeros((2, 3)), np.array([1e4, -1e4, 0.0])]
    value, gradient = engine.trainer(network, parameters, {"loss": loss}, dtype=dtype).gradient(
        np.full((2, 3), extreme), engine.identity_scaling(3)
    )
    assert np.isfinite(value)
    assert all(np.isfinite(g).all() for g in gradient)
