"""The oracle of the variants: every kind of layer in training and the whole objective of a batch, slow and plain.

The formulas use a `Backend`, so that they give values in NumPy and gradients in PyTorch. Random numbers are arguments;
`drawn_code` and `corrupted` find the engine's random numbers.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

import engine
import reference

EPSILON = 1e-5  # of batch normalisation


@dataclass
class Backend:
    """Functions that the formulas need besides the operators that NumPy's arrays and PyTorch's tensors share."""

    activate: Any  # (name, z) -> f(z)
    slope: Any  # (name, z) -> f'(z)
    exp: Any
    log: Any
    values: Any  # an array without its history
    element_loss: Any  # (loss, output activation, z, target) -> (n, d)


def activated(name, z):
    """Return the output of a layer, in NumPy."""
    return reference.softmax(z, [(0, z.shape[1])]) if name == "softmax" else reference.ACTIVATIONS[name][0](z)


NUMPY = Backend(
    activate=activated,
    slope=lambda name, z: reference.ACTIVATIONS[name][1](z),
    exp=np.exp,
    log=np.log,
    values=np.asarray,
    element_loss=lambda loss, output, z, t: reference.element_loss(
        loss, {"layers": [{"activation": output}], "n_features": z.shape[1]}, t, z, activated(output, z)
    )[0],
)


# Networks. A layer is a dict in the engine's form.


def dense(units, activation="tanh", **options):
    """Return a dense layer."""
    return {"kind": "dense", "units": units, "activation": activation, **options}


def network_of(n_features, encoder, decoder):
    """Return a `NetworkSpec`."""
    layers = [*encoder, *decoder]
    return {"n_features": n_features, "layers": layers, "n_encoder_layers": len(encoder), "groups": []}


def random_parameters(network, rng):
    """Return parameters like `reference.random_parameters`, with gammas and variances around one."""
    parameters, n = [], network["n_features"]
    for layer in network["layers"]:
        if layer["kind"] == "dense":
            if layer.get("tied_to", -1) < 0:
                parameters.append(rng.normal(size=(n, layer["units"])) / np.sqrt(n))
            n = layer["units"]
            parameters.append(0.3 * rng.normal(size=n))
            if layer.get("batch_norm"):
                gamma = rng.uniform(0.5, 1.5, size=n) * rng.choice([-1, 1], size=n)
                parameters += [gamma, 0.3 * rng.normal(size=n), rng.normal(size=n), rng.uniform(0.5, 2, size=n)]
        elif layer["kind"] == "gaussian_code":
            n //= 2
    return parameters


def running_statistics(network):
    """Return the positions of running means and variances in the flat list; training does not depend on them."""
    positions, at = set(), 0
    for layer in network["layers"]:
        if layer["kind"] == "dense":
            at += 1 + (layer.get("tied_to", -1) < 0)
            if layer.get("batch_norm"):
                positions |= {at + 2, at + 3}
                at += 4
    return positions


# Layers.


def batch_norm(z, gamma, beta, mean, variance, *, training):
    """Batch normalisation (Ioffe and Szegedy 2015, algorithm 1); outside training with the running statistics."""
    if training:
        mean = z.mean(axis=0)
        variance = ((z - mean) ** 2).mean(axis=0)
    return gamma * (z - mean) / (variance + EPSILON) ** 0.5 + beta


def kept_by_top_k(h, k):
    """Return 1 for the k largest elements of each row, ties to the first, else 0."""
    mask = np.zeros(h.shape)
    for row, values in enumerate(h):
        mask[row, sorted(range(len(values)), key=lambda j: (-values[j], j))[:k]] = 1
    return mask


def kl_sparsity(h, target, backend):
    """KL(target || mean activation), summed over units (Ng 2011)."""
    m = h.mean(axis=0)
    return (target * backend.log(target / m) + (1 - target) * backend.log((1 - target) / (1 - m))).sum()


def divergence(mean, log_variance, backend):
    """KL(N(mean, variance) || N(0, 1)) of each row (Kingma and Welling 2014, appendix B)."""
    return 0.5 * (mean**2 + backend.exp(log_variance) - log_variance - 1).sum(axis=1)


@dataclass
class Passed:
    """The result of a forward pass: last pre-activation, code, penalties of rows and of the batch.

    For dense encoder layers it also has (weights, slopes), which give the Jacobian.
    """

    z: Any
    code: Any
    row_penalty: Any
    batch_penalty: Any
    chain: list


def forward(network, parameters, x, *, training=True, draw=None, beta=1.0, backend=NUMPY):
    """Run a forward pass over all rows as one batch; ``draw`` (n, q) is the noise of a random code."""
    remaining = iter(parameters)
    weights_of, chain = {}, []
    h, row_penalty, batch_penalty, code = x, 0 * x[:, 0], 0.0, None
    for index, layer in enumerate(network["layers"]):
        kind, is_last = layer["kind"], index == len(network["layers"]) - 1
        if kind == "dense":
            owner = layer.get("tied_to", -1)
            weights = weights_of[index] = next(remaining) if owner < 0 else weights_of[owner].T
            z = h @ weights + next(remaining)
            if layer.get("batch_norm"):
                z = batch_norm(z, *(next(remaining) for _ in range(4)), training=training)
            chain.append((weights, backend.slope(layer["activation"], z) if index < network["n_encoder_layers"] else 0))
            h = z if is_last else backend.activate(layer["activation"], z)
        elif kind == "top_k":
            mask = kept_by_top_k(np.asarray(backend.values(h)), layer["k"])
            h = h * (mask if backend is NUMPY else h.new_tensor(mask))
        elif kind == "kl_sparsity":
            batch_penalty = batch_penalty + layer["weight"] * kl_sparsity(h, layer["target"], backend)
        elif kind == "gaussian_code":
            q = h.shape[1] // 2
            mean, log_variance = h[:, :q], h[:, q:]
            row_penalty = row_penalty + beta * divergence(mean, log_variance, backend)
            h = mean if draw is None else mean + backend.exp(log_variance / 2) * draw
        if index + 1 == network["n_encoder_layers"]:
            code = h
    return Passed(z, code, row_penalty, batch_penalty, chain[: network["n_encoder_layers"]])


def squared_jacobian_norm(chain):
    """Return each row's sum of squares of d code / d input, by the chain rule written out."""
    rows = None
    for weights, slopes in chain:
        rows = weights if rows is None else rows @ weights
        rows = rows * slopes[:, None, :]
    return (rows**2).sum(axis=2).sum(axis=1)


def objective_of(
    network, parameters, objective, x, *, target=None, sample_weight=None, draw=None, beta=1.0, backend=NUMPY
):
    """Return the objective of all rows as one batch, as the estimators define it."""
    target = x if target is None else target
    passed = forward(network, parameters, x, draw=draw, beta=beta, backend=backend)
    output = network["layers"][-1]["activation"]
    terms = backend.element_loss(objective["loss"], output, passed.z, target)
    if objective.get("threshold"):
        y = backend.activate(output, passed.z)
        mask = np.abs(np.asarray(backend.values(y - target))) > objective["threshold"]
        mask = mask * 1.0 if backend is NUMPY else terms.new_tensor(mask * 1.0)
        # The value covers all elements, the gradient only the masked ones.
        terms = terms * mask + backend.values(terms) * (1 - mask)
    rows = terms.sum(axis=1) * objective.get("scale", 1 / network["n_features"]) + passed.row_penalty
    if objective.get("contraction"):
        rows = rows + objective["contraction"] * squared_jacobian_norm(passed.chain)
    h = passed.code
    rows = rows + (objective.get("activity_l2", 0) / 2 * h**2 + objective.get("activity_l1", 0) * abs(h)).sum(axis=1)
    weights = [p for p in parameters if p.ndim == 2]
    penalty = sum((objective.get("l2", 0) / 2 * w**2 + objective.get("l1", 0) * abs(w)).sum() for w in weights)
    if sample_weight is not None:
        rows = rows * sample_weight
    return rows.mean() + passed.batch_penalty + penalty


# The engine's random numbers follow from gradients: with one row of weight n and an identity network, the gradient by
# the last bias is 2 (y - t) / d.


def _outputs(network, parameters, objective, x, seed, epoch):
    trainer = engine.trainer(network, parameters, objective, seed=seed)
    rows = []
    for row in range(len(x)):
        weight = np.zeros(len(x))
        weight[row] = len(x)
        _, gradient = trainer.gradient(x, engine.identity_scaling(x.shape[1]), sample_weight=weight, epoch=epoch)
        rows.append(x[row] + gradient[-1] / 2 * x.shape[1])
    return np.array(rows)


def drawn_code(n_rows, n_codes, seed, epoch):
    """Return the standard normal numbers (n, q) that a Gaussian code uses."""
    network = network_of(
        n_codes, [dense(2 * n_codes, "identity"), {"kind": "gaussian_code"}], [dense(n_codes, "identity")]
    )
    parameters = [np.zeros((n_codes, 2 * n_codes)), np.zeros(2 * n_codes), np.eye(n_codes), np.zeros(n_codes)]
    return _outputs(network, parameters, {"loss": "mse"}, np.zeros((n_rows, n_codes)), seed, epoch)


def corrupted(x, noise, seed, epoch):
    """Return the rows with the engine's noise; ``noise`` has the fields of an `ObjectiveSpec`."""
    d = x.shape[1]
    network = network_of(d, [dense(d, "identity")], [dense(d, "identity")])
    parameters = [np.eye(d), np.zeros(d), np.eye(d), np.zeros(d)]
    return _outputs(network, parameters, {"loss": "mse", **noise}, x, seed, epoch)
