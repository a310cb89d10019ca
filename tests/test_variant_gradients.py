"""Objective and gradient of every variant agree with an oracle, finite differences and PyTorch's autograd."""

from functools import partial

import numpy as np
import pytest

import engine
import reference
from variants import (
    Backend,
    corrupted,
    dense,
    drawn_code,
    network_of,
    objective_of,
    random_parameters,
    running_statistics,
)

SMOOTH = ("identity", "sigmoid", "tanh", "gelu", "silu", "softplus")
ALL = (*SMOOTH, "relu", "leaky_relu", "elu", "selu")
KINDS = ("plain", "tied", "batch_norm", "kl", "topk", "threshold", "contraction", "variational", "noise", "dropout")
SMOOTH_LOSSES = (("mse", "identity"), ("binary_crossentropy", "sigmoid"), ("huber", "softplus"))
LOSSES = (*SMOOTH_LOSSES, ("mae", "tanh"), ("categorical_crossentropy", "softmax"))
N_ARCHITECTURES = 15  # of each kind
SEED, EPOCH = 7, 3
NOISES = {"gaussian": {"noise_level": 0.5}, "masking": {"noise_level": 0.3}, "salt_pepper": {"noise_level": 0.4}}


def random_case(kind, index, activations=ALL):
    """(network, parameters, objective, rows, arguments) of one to three layers a side."""
    rng = np.random.default_rng([KINDS.index(kind), index])
    d, n_rows = int(rng.integers(2, 25)), int(rng.integers(2, 70))
    hidden, activation = rng.integers(1, 21, size=rng.integers(0, 3)).tolist(), str(rng.choice(activations))
    code, code_activation = int(rng.integers(2, 30)), str(rng.choice(activations))
    norm = kind == "batch_norm" or (kind not in ("tied", "contraction") and rng.random() < 0.2)
    rate = float(rng.uniform(0.1, 0.6)) if kind == "dropout" else 0.0
    is_smooth = activations is SMOOTH
    losses = SMOOTH_LOSSES if is_smooth else LOSSES[:-1] if kind == "threshold" else LOSSES
    loss, output = losses[rng.integers(len(losses))]

    encoder = [dense(units, activation, batch_norm=norm, dropout=rate) for units in hidden]
    last = dense(code, code_activation, batch_norm=norm, dropout=rate)
    decoder = [dense(units, activation, batch_norm=norm, dropout=rate) for units in hidden[::-1]]
    decoder.append(dense(d, output))
    penalties = {"l2": 0.1, "activity_l2": 0.2, **({} if is_smooth else {"l1": 0.05, "activity_l1": 0.1})}
    objective = {"loss": loss, **{name: float(rng.choice([0, weight])) for name, weight in penalties.items()}}
    arguments = {}
    if kind == "tied":
        for layer, owner in zip(decoder, range(len(hidden), -1, -1), strict=True):
            layer["tied_to"] = owner
        objective["contraction"] = float(rng.choice([0, 0.1]))
    elif kind == "kl":
        last["activation"] = "sigmoid"
        last = [last, {"kind": "kl_sparsity", "target": float(rng.uniform(0.02, 0.5)), "weight": 0.3}]
    elif kind == "topk":
        last = [last, {"kind": "top_k", "k": int(rng.integers(1, code + 1))}]
    elif kind == "threshold":
        objective["threshold"] = float(rng.uniform(0.05, 0.5))
    elif kind == "contraction":
        objective["contraction"] = 0.1
    elif kind == "variational":
        last = [dense(2 * code, "identity"), {"kind": "gaussian_code"}]
        objective["scale"] = 0.5 if loss == "mse" else 1.0
        arguments["beta"] = float(rng.uniform(0, 2))
    elif kind == "noise":
        noise = str(rng.choice(list(NOISES)))
        objective.update(NOISES[noise], noise=noise, noise_lowest=[-2.0] * d, noise_highest=[3.0] * d)
    encoder += last if isinstance(last, list) else [last]
    network = network_of(d, encoder, decoder)
    draw = {"binary_crossentropy": rng.uniform, "categorical_crossentropy": partial(rng.dirichlet, np.ones(d))}
    x = draw.get(loss, rng.normal)(size=n_rows if loss == "categorical_crossentropy" else (n_rows, d))
    if kind != "batch_norm" and rng.random() < 0.5:
        arguments["sample_weight"] = rng.uniform(0.2, 2, size=n_rows)
    return network, random_parameters(network, rng), objective, x, arguments


def gradient_of(network, parameters, objective, x, arguments):
    trainer = engine.trainer(network, parameters, objective, seed=SEED, n_threads=2)
    return trainer.gradient(x, engine.identity_scaling(x.shape[1]), epoch=EPOCH, **arguments)


def oracle_arguments(network, objective, x, arguments):
    """The same case for the oracle: what the engine draws is given to it."""
    known = dict(arguments)
    if any(layer["kind"] == "gaussian_code" for layer in network["layers"]):
        position = [layer["kind"] for layer in network["layers"]].index("gaussian_code")
        known["draw"] = drawn_code(len(x), network["layers"][position - 1]["units"] // 2, SEED, EPOCH)
    noise = {name: value for name, value in objective.items() if name.startswith("noise")}
    if noise:
        return corrupted(x, noise, SEED, EPOCH), {**known, "target": x}
    return x, known


@pytest.mark.parametrize("index", range(N_ARCHITECTURES))
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "dropout"])
def test_the_objective_is_that_of_the_oracle(kind, index):
    network, parameters, objective, x, arguments = random_case(kind, index)
    rows, known = oracle_arguments(network, objective, x, arguments)
    expected = objective_of(network, parameters, objective, rows, **known)
    assert gradient_of(network, parameters, objective, x, arguments)[0] == pytest.approx(float(expected), rel=1e-10)


def directional_derivatives(network, parameters, objective, x, arguments, directions, step=1e-5):
    """Central differences of the engine's own objective; the same epoch has the same draws."""
    trainer, scaling = engine.trainer(network, parameters, objective, seed=SEED), engine.identity_scaling(x.shape[1])
    for direction in directions:
        ends = []
        for sign in (1, -1):
            trainer.set_parameters([p + sign * step * v for p, v in zip(parameters, direction, strict=True)])
            ends.append(trainer.gradient(x, scaling, epoch=EPOCH, **arguments)[0])
        yield (ends[0] - ends[1]) / (2 * step)


@pytest.mark.parametrize("index", range(N_ARCHITECTURES))
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "threshold"])
def test_the_gradient_is_the_slope_of_the_objective(kind, index):
    network, parameters, objective, x, arguments = random_case(kind, index, SMOOTH)
    _, gradient = gradient_of(network, parameters, objective, x, arguments)
    rng = np.random.default_rng(index)
    directions = [[rng.normal(size=p.shape) for p in parameters] for _ in range(2)]
    for at in range(len(parameters)):  # and one for every array alone
        directions.append([rng.normal(size=p.shape) * (i == at) for i, p in enumerate(parameters)])
    slopes = directional_derivatives(network, parameters, objective, x, arguments, directions)
    size = np.sqrt(sum((g**2).sum() for g in gradient))
    for slope, direction in zip(slopes, directions, strict=True):
        along = sum((g * v).sum() for g, v in zip(gradient, direction, strict=True))
        assert along == pytest.approx(slope, rel=1e-6, abs=1e-6 * size)


@pytest.mark.parametrize("index", range(N_ARCHITECTURES))
def test_running_statistics_have_no_gradient(index):
    network, parameters, objective, x, arguments = random_case("batch_norm", index)
    _, gradient = gradient_of(network, parameters, objective, x, arguments)
    positions = running_statistics(network)
    assert positions
    for position in positions:
        assert not gradient[position].any()


def test_errors_within_the_threshold_pass_nothing_back():
    d = 4
    network = network_of(d, [dense(d, "identity")], [dense(d, "identity")])
    parameters = [np.eye(d), np.zeros(d), np.eye(d), np.array([0.1, -0.1, 0.3, -0.3])]
    x = np.random.default_rng(0).normal(size=(5, d))
    for loss, slopes in (("mse", [0, 0, 0.6, -0.6]), ("mae", [0, 0, 1, -1])):
        _, gradient = gradient_of(network, parameters, {"loss": loss, "threshold": 0.2}, x, {})
        np.testing.assert_allclose(gradient[-1], np.array(slopes) / d, atol=1e-15)


@pytest.mark.parametrize("activation", ALL)
@pytest.mark.parametrize("depth", [1, 2, 3])
def test_the_contractive_penalty_is_the_jacobian_seen_by_differences(activation, depth):
    rng = np.random.default_rng(depth)
    widths = [(5,), (6, 3), (6, 4, 3)][depth - 1]
    network = network_of(4, [dense(units, activation) for units in widths], [dense(4, "identity")])
    parameters, x, step = random_parameters(network, rng), rng.normal(size=(9, 4)), 1e-6
    encoder = {**network, "n_features": 4}

    def code(rows):
        return reference.forward(encoder, parameters, rows, last=depth)[-1].y

    norm = sum((((code(x + step * e) - code(x - step * e)) / (2 * step)) ** 2).sum() for e in np.eye(4)) / len(x)
    plain, with_penalty = (
        gradient_of(network, parameters, {"loss": "mse", "contraction": weight}, x, {})[0] for weight in (0.0, 2.0)
    )
    assert with_penalty - plain == pytest.approx(2 * norm, rel=1e-6)


@pytest.fixture(scope="module")
def autograd():
    """The oracle's formulas over tensors."""
    torch = pytest.importorskip("torch", reason="compares with PyTorch where it is installed")
    functional = torch.nn.functional
    activations = {
        "identity": lambda z: z,
        "leaky_relu": lambda z: functional.leaky_relu(z, 0.01),
        "softplus": lambda z: functional.softplus(z, threshold=700),  # the default is linear from 20 on
        **{name: getattr(torch, name) for name in ("sigmoid", "tanh", "relu")},
        "softmax": lambda z: torch.softmax(z, dim=1),
        **{name: getattr(functional, name) for name in ("elu", "selu", "gelu", "silu")},
    }
    losses = {
        "mse": lambda z, y, t: (y - t) ** 2,
        "mae": lambda z, y, t: (y - t).abs(),
        "huber": lambda z, y, t: functional.huber_loss(y, t, reduction="none"),
        "binary_crossentropy": lambda z, y, t: functional.binary_cross_entropy_with_logits(z, t, reduction="none"),
        "categorical_crossentropy": lambda z, y, t: -t * torch.log_softmax(z, dim=1),
    }

    def slope(name, z):
        if name == "identity":
            return torch.ones_like(z)
        (slopes,) = torch.autograd.grad(activations[name](z).sum(), z, create_graph=True)
        return slopes

    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield Backend(
        activate=lambda name, z: activations[name](z),
        slope=slope,
        exp=torch.exp,
        log=torch.log,
        values=lambda z: z.detach(),
        element_loss=lambda loss, output, z, t: losses[loss](z, activations[output](z), t),
    )
    torch.set_num_threads(n_threads)


@pytest.mark.parametrize("index", range(N_ARCHITECTURES))
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "dropout"])
def test_the_gradient_is_that_of_autograd(autograd, kind, index):
    import torch

    network, parameters, objective, x, arguments = random_case(kind, index)
    rows, known = oracle_arguments(network, objective, x, arguments)
    tensors = [torch.tensor(p, requires_grad=True) for p in parameters]
    known = {name: torch.tensor(value) if np.ndim(value) else value for name, value in known.items()}
    value = objective_of(network, tensors, objective, torch.tensor(rows), **known, backend=autograd)
    value.backward()

    got, gradient = gradient_of(network, parameters, objective, x, arguments)
    assert got == pytest.approx(value.item(), rel=1e-10)
    size = max(np.abs(g).max() for g in gradient)
    for g, tensor in zip(gradient, tensors, strict=True):
        expected = np.zeros_like(g) if tensor.grad is None else tensor.grad.numpy()
        np.testing.assert_allclose(g, expected, rtol=0, atol=1e-10 * size)
