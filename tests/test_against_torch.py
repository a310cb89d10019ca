"""One full-batch step of the engine agrees with PyTorch's autograd in float64, over random architectures."""

import numpy as np
import pytest

import engine
import reference

torch = pytest.importorskip("torch", reason="compares with PyTorch where it is installed")
functional = torch.nn.functional

N_ARCHITECTURES = 250
ACTIVATIONS = {
    "identity": lambda z: z,
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "relu": torch.relu,
    "leaky_relu": lambda z: functional.leaky_relu(z, 0.01),
    "elu": functional.elu,
    "selu": functional.selu,
    "gelu": functional.gelu,
    "silu": functional.silu,
    "softplus": lambda z: functional.softplus(z, threshold=700),  # PyTorch's default is linear from 20 on
    "softmax": lambda z: torch.softmax(z, dim=1),
}
LOSSES = {
    "mse": lambda z, y, t: functional.mse_loss(y, t),
    "mae": lambda z, y, t: functional.l1_loss(y, t),
    "huber": lambda z, y, t: functional.huber_loss(y, t),
    "binary_crossentropy": lambda z, y, t: functional.binary_cross_entropy_with_logits(z, t),
    "categorical_crossentropy": lambda z, y, t: -(t * torch.log_softmax(z, dim=1)).mean(),
}
NATURAL_OUTPUT = {"binary_crossentropy": "sigmoid", "categorical_crossentropy": "softmax"}


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    """Tiny tensors lose more than they gain from threads."""
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(n_threads)


def random_architecture(seed):
    """(network, objective, parameters, rows) of one to three layers a side and widths of 1 to 40."""
    rng = np.random.default_rng(seed)
    n_sides = rng.integers(1, 4)
    n_features, *hidden = (int(width) for width in rng.integers(1, 41, size=1 + 2 * n_sides - 1))
    loss = str(rng.choice(sorted(LOSSES)))
    output = NATURAL_OUTPUT.get(loss) or str(rng.choice(sorted(ACTIVATIONS)))
    network = reference.network_spec(
        (n_features, *hidden, n_features),
        str(rng.choice(sorted(reference.ACTIVATIONS))),
        str(rng.choice(sorted(reference.ACTIVATIONS))),
        output,
    )
    objective = {
        "loss": loss,
        "l1": float(rng.choice([0.0, 0.01])),
        "l2": float(rng.choice([0.0, 0.1])),
        "activity_l1": float(rng.choice([0.0, 0.02])),
        "activity_l2": float(rng.choice([0.0, 0.2])),
    }
    n_rows = int(rng.integers(1, 70))
    x = (
        rng.dirichlet(np.ones(n_features), size=n_rows)
        if loss in NATURAL_OUTPUT
        else rng.normal(size=(n_rows, n_features))
    )
    return network, objective, reference.random_parameters(network, rng), x


def torch_gradient(network, objective, parameters, x):
    """(objective, gradient) by autograd."""
    tensors = [torch.tensor(p, requires_grad=True) for p in parameters]
    h = t = torch.tensor(x)
    for index, layer in enumerate(network["layers"]):
        z = h @ tensors[2 * index] + tensors[2 * index + 1]
        h = ACTIVATIONS[layer["activation"]](z)
        if index == network["n_encoder_layers"] - 1:
            code = h
    value = LOSSES[objective["loss"]](z, h, t)
    for w in tensors[::2]:
        value = value + objective["l2"] / 2 * w.square().sum() + objective["l1"] * w.abs().sum()
    value = value + objective["activity_l2"] / 2 * code.square().sum() / len(x)
    value = value + objective["activity_l1"] * code.abs().sum() / len(x)
    value.backward()
    return value.item(), [tensor.grad.numpy() for tensor in tensors]


@pytest.mark.parametrize("seed", range(N_ARCHITECTURES))
def test_a_full_batch_step_of_gradient_descent_is_the_gradient_of_autograd(seed):
    network, objective, parameters, x = random_architecture(seed)
    value, gradient = torch_gradient(network, objective, parameters, x)
    trainer, scaling = engine.trainer(network, parameters, objective), engine.identity_scaling(x.shape[1])

    assert trainer.gradient(x, scaling)[0] == pytest.approx(value, rel=1e-10)
    trainer.train_epoch(x, scaling, epoch=0, learning_rate=1.0, batch_size=len(x), shuffle=False)
    for moved, p, g in zip(trainer.parameters(), parameters, gradient, strict=True):
        np.testing.assert_allclose(moved, p - g, rtol=0, atol=1e-10 * np.abs(p - g).max())
        # with a learning rate of 1 the move is the gradient, up to the rounding of the parameter it moved
        rounding = 2 * np.finfo(np.float64).eps * np.abs(p).max()
        np.testing.assert_allclose(p - moved, g, rtol=0, atol=1e-10 * np.abs(g).max() + rounding)
