"""The oracle: a dense autoencoder in slow, plain float64 NumPy, with one function per formula.

It uses the same specifications as the engine (``aefast.engine.core``: network, objective, optimiser) and the same order
of parameters. Nothing is blocked, fused or reused for speed, so that readers can check each function against its
equation. A new kind of layer is one more entry in `LAYERS`.
"""

from dataclasses import dataclass, field

import numpy as np
from scipy.special import expit, ndtr

LEAKY_SLOPE = 0.01
SELU_ALPHA = 1.6732632423543772848170429916717
SELU_SCALE = 1.0507009873554804934193349852946

# Activations: the value and the derivative with respect to the pre-activation z.


def _softplus(z):
    return np.maximum(z, 0) + np.log1p(np.exp(-np.abs(z)))


def _normal_density(z):
    return np.exp(-0.5 * z * z) / np.sqrt(2 * np.pi)


def _exp_below_zero(z):
    return np.exp(np.minimum(z, 0))


ACTIVATIONS = {
    "identity": (lambda z: z, np.ones_like),
    "sigmoid": (expit, lambda z: expit(z) * expit(-z)),
    "tanh": (np.tanh, lambda z: 4 * expit(2 * z) * expit(-2 * z)),
    "relu": (lambda z: np.maximum(z, 0), lambda z: np.where(z > 0, 1.0, 0.0)),
    "leaky_relu": (lambda z: np.where(z > 0, z, LEAKY_SLOPE * z), lambda z: np.where(z > 0, 1.0, LEAKY_SLOPE)),
    "elu": (lambda z: np.where(z > 0, z, np.expm1(np.minimum(z, 0))), _exp_below_zero),
    "selu": (
        lambda z: SELU_SCALE * np.where(z > 0, z, SELU_ALPHA * np.expm1(np.minimum(z, 0))),
        lambda z: SELU_SCALE * np.where(z > 0, 1.0, SELU_ALPHA * _exp_below_zero(z)),
    ),
    "gelu": (lambda z: z * ndtr(z), lambda z: ndtr(z) + z * _normal_density(z)),
    "silu": (lambda z: z * expit(z), lambda z: expit(z) * (1 + z * expit(-z))),
    "softplus": (_softplus, expit),
}


def column_groups(network):
    """Return the ranges of columns that a softmax normalises together."""
    return network.get("groups") or [(0, network["n_features"])]


def softmax(z, groups):
    """Return the softmax of each group of columns."""
    p = np.empty_like(z)
    for begin, end in groups:
        e = np.exp(z[:, begin:end] - z[:, begin:end].max(axis=1, keepdims=True))
        p[:, begin:end] = e / e.sum(axis=1, keepdims=True)
    return p


def log_softmax(z, groups):
    """Return the logarithm of `softmax` without rounding any probability to zero."""
    log_p = np.empty_like(z)
    for begin, end in groups:
        shifted = z[:, begin:end] - z[:, begin:end].max(axis=1, keepdims=True)
        log_p[:, begin:end] = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return log_p


def softmax_pullback(p, dp, groups):
    """Return the gradient before a softmax from the gradient ``dp`` after it: p (dp - <p, dp>) in each group."""
    dz = np.empty_like(p)
    for begin, end in groups:
        q, dq = p[:, begin:end], dp[:, begin:end]
        dz[:, begin:end] = q * (dq - (q * dq).sum(axis=1, keepdims=True))
    return dz


# Losses: one value per element, and the derivative with respect to the output y; t is the target.

SMALLEST_PROBABILITY = 1e-12


def _probability(y):
    return np.clip(y, SMALLEST_PROBABILITY, 1 - SMALLEST_PROBABILITY)


def _mse(t, y):
    return (y - t) ** 2, 2 * (y - t)


def _mae(t, y):
    return np.abs(y - t), np.sign(y - t)


def _huber(t, y):
    r = y - t
    return np.where(np.abs(r) <= 1, r * r / 2, np.abs(r) - 0.5), np.clip(r, -1, 1)


def _split_target(t):
    """Return the target clipped to [0, 1] and its distance from [0, 1], which counts in full as error."""
    q = np.clip(t, 0, 1)
    return q, np.abs(t - q)


def _binary_crossentropy(t, y):
    p, (q, outside) = _probability(y), _split_target(t)
    return outside - q * np.log(p) - (1 - q) * np.log1p(-p), (p - q) / (p * (1 - p))


def _categorical_crossentropy(t, y):
    p, (q, outside) = _probability(y), _split_target(t)
    return outside - q * np.log(p), -q / p


LOSSES = {
    "mse": _mse,
    "mae": _mae,
    "huber": _huber,
    "binary_crossentropy": _binary_crossentropy,
    "categorical_crossentropy": _categorical_crossentropy,
}


# Losses that are computed from the pre-activation of their own output activation.
PAIRS = {("binary_crossentropy", "sigmoid"), ("categorical_crossentropy", "softmax")}


def element_loss(loss, network, target, z, y):
    """Loss of each element (n, d) and its derivative with respect to the last pre-activation ``z``, where ``y`` is
    the output. Crossentropies of their own output activation are taken from z, so that no logarithm meets a zero.
    A target of NaN is not known: it has no loss and passes nothing back."""
    if network.get("columns"):
        parts = [
            tuple(weight * part for part in element_loss(of, stage, *(a[:, b:e] for a in (target, z, y))))
            for (b, e, weight), stage, of in column_stages(network, loss)
        ]
        return tuple(np.hstack(each) for each in zip(*parts, strict=True))
    known, target = ~np.isnan(target), np.nan_to_num(target)
    output_activation, groups = network["layers"][-1]["activation"], column_groups(network)
    if (loss, output_activation) == ("binary_crossentropy", "sigmoid"):
        q, outside = _split_target(target)
        return known * (_softplus(z) - q * z + outside), known * (expit(z) - q)
    if (loss, output_activation) == ("categorical_crossentropy", "softmax"):
        q, outside = _split_target(target)
        totals = np.concatenate([np.repeat(q[:, b:e].sum(1, keepdims=True), e - b, axis=1) for b, e in groups], axis=1)
        return outside - q * log_softmax(z, groups), y * totals - q
    value, dy = (known * each for each in LOSSES[loss](target, y))
    if output_activation == "softmax":
        return value, softmax_pullback(y, dy, groups)
    return value, dy * ACTIVATIONS[output_activation][1](z)


def column_stages(network, loss="mse"):
    """Yield each column of a table: its place, its weight, its output activation and its loss."""
    for b, e, weight in network["columns"]:
        is_category = (b, e) in network["groups"]
        activation = "softmax" if is_category else network["layers"][-1]["activation"]
        stage = {"n_features": e - b, "layers": [{"activation": activation}], "groups": []}
        yield (b, e, weight), stage, "categorical_crossentropy" if is_category else loss


def n_terms(network):
    """Return the number of terms that a row's loss averages: features, or columns of a table."""
    return len(network.get("columns", [])) or network["n_features"]


# Layers: the forward pass stores what the backward pass needs in a Record.


@dataclass
class Record:
    """The input of a layer, its pre-activation, its output (after dropout), and the dropout factors."""

    x: np.ndarray
    z: np.ndarray
    y: np.ndarray
    factors: np.ndarray | float = 1.0


def dense_forward(layer, network, weights, bias, x, mask=None):
    """Return y = f(x W + b); elements with ``mask`` 0 are dropped and the others multiplied by 1 / (1 - rate)."""
    z = x @ weights + bias
    if network.get("columns") and layer is network["layers"][-1]:
        stages = column_stages(network)
        y = np.hstack([dense_forward(s["layers"][0], s, np.eye(e - b), 0, z[:, b:e]).y for (b, e, _), s, _ in stages])
    elif layer["activation"] == "softmax":
        y = softmax(z, column_groups(network))
    else:
        y = ACTIVATIONS[layer["activation"]][0](z)
    factors = 1.0 if mask is None else mask / (1 - layer["dropout"])
    return Record(x, z, y * factors, factors)


def dense_backward(layer, weights, record, dy=None, dz=None):
    """Return the gradients (weights, bias, input) from the gradient of the output ``dy`` or pre-activation ``dz``."""
    if dz is None:
        dz = dy * record.factors * ACTIVATIONS[layer["activation"]][1](record.z)
    return record.x.T @ dz, dz.sum(axis=0), dz @ weights.T


LAYERS = {"dense": (dense_forward, dense_backward)}


def tied_to(layer):
    """Return the index of the layer that owns this layer's weights, or -1."""
    return layer.get("tied_to", -1)


def parameter_shapes(network):
    """Return the shapes in the order of the flat list: a layer's own weights, then its biases."""
    shapes, n_in = [], network["n_features"]
    for layer in network["layers"]:
        if tied_to(layer) < 0:
            shapes.append((n_in, layer["units"]))
        shapes.append((layer["units"],))
        n_in = layer["units"]
    return shapes


def parameter_positions(network):
    """Return the positions of each layer's weights and biases in the flat list; a tied layer uses its owner's."""
    positions, next_free = [], 0
    for layer in network["layers"]:
        if tied_to(layer) < 0:
            positions.append((next_free, next_free + 1))
            next_free += 2
        else:
            positions.append((positions[tied_to(layer)][0], next_free))
            next_free += 1
    return positions


def layer_parameters(network, parameters):
    """Return (weights, biases) of every layer; a tied layer has the transposed weights of its owner."""
    pairs = []
    for layer, (w, b) in zip(network["layers"], parameter_positions(network), strict=True):
        weights = np.asarray(parameters[w], dtype=np.float64)
        pairs.append((weights if tied_to(layer) < 0 else weights.T, np.asarray(parameters[b], dtype=np.float64)))
    return pairs


def forward(network, parameters, x, masks=None, first=0, last=None):
    """Return the records of layers ``first`` to ``last`` for scaled rows ``x``; ``masks`` has one entry per layer."""
    records, pairs = [], layer_parameters(network, parameters)
    for index in range(first, len(pairs) if last is None else last):
        layer, (weights, bias) = network["layers"][index], pairs[index]
        run = LAYERS[layer.get("kind", "dense")][0]
        records.append(run(layer, network, weights, bias, x, None if masks is None else masks[index]))
        x = records[-1].y
    return records


def backward(network, parameters, records, dz_last, dy_code=0.0):
    """Return every parameter's gradient from that of the last pre-activation; ``dy_code`` is added at the code."""
    gradient = [np.zeros(shape) for shape in parameter_shapes(network)]
    positions, pairs = parameter_positions(network), layer_parameters(network, parameters)
    dy = None
    for index in reversed(range(len(records))):
        layer, (weights, _), (w, b) = network["layers"][index], pairs[index], positions[index]
        if index == network["n_encoder_layers"] - 1 and dy is not None:
            dy = dy + dy_code
        run = LAYERS[layer.get("kind", "dense")][1]
        d_weights, d_bias, dy = run(layer, weights, records[index], dy=dy, dz=dz_last if dy is None else None)
        gradient[w] += d_weights if tied_to(layer) < 0 else d_weights.T
        gradient[b] += d_bias
    return gradient


# The objective of one batch.


def row_shares(n_rows, sample_weight):
    """Return each row's weight in the average over rows; sample weights multiply it and are not normalised here."""
    return (np.ones(n_rows) if sample_weight is None else np.asarray(sample_weight, dtype=np.float64)) / n_rows


def row_factors(target, network=None):
    """Return the factor (n, 1) that scales a row's sum over known features to all features; 0 if none is known.

    If features stand for columns of a table, columns are counted.
    """
    if network is not None and network.get("columns"):
        target = target[:, [begin for begin, _, _ in network["columns"]]]
    n_known = (~np.isnan(target)).sum(axis=1, keepdims=True)
    return np.where(n_known > 0, target.shape[1] / np.maximum(n_known, 1), 0.0)


def objective_and_gradient(network, parameters, objective, x, sample_weight=None, target=None, masks=None):
    """Return (data loss, whole objective, gradient) of scaled rows ``x``.

    The data loss is the average over rows and known features; the network is given 0 for NaN. The objective adds
    l2/2 sum w^2 + l1 sum |w| over weights, tied ones once, and the row average of activity_l2/2 sum h^2 + activity_l1
    sum |h| over the code's outputs h.
    """
    target = x if target is None else target
    shares = row_shares(len(x), sample_weight)[:, np.newaxis]
    factors = row_factors(target, network) / n_terms(network)
    records = forward(network, parameters, np.nan_to_num(x), masks)
    value, dz = element_loss(objective["loss"], network, target, records[-1].z, records[-1].y)
    data_loss = float((shares * factors * value).sum())

    code = records[network["n_encoder_layers"] - 1].y
    l1, l2 = objective.get("l1", 0.0), objective.get("l2", 0.0)
    activity_l1, activity_l2 = objective.get("activity_l1", 0.0), objective.get("activity_l2", 0.0)
    weights = [np.asarray(p, dtype=np.float64) for p in parameters if np.ndim(p) > 1]
    penalty = sum(l2 / 2 * (w * w).sum() + l1 * np.abs(w).sum() for w in weights)
    activity = float((shares * (activity_l2 / 2 * code * code + activity_l1 * np.abs(code))).sum())

    dy_code = shares * (activity_l2 * code + activity_l1 * np.sign(code))
    gradient = backward(network, parameters, records, shares * factors * dz, dy_code)
    for g, p in zip(gradient, parameters, strict=True):
        if np.ndim(p) > 1:
            g += l2 * p + l1 * np.sign(p)
    return data_loss, data_loss + penalty + activity, gradient


def clip_global_norm(gradient, clip_norm):
    """Return the gradient, shortened to ``clip_norm`` if its norm over all parameters is larger (0: never)."""
    norm = np.sqrt(sum((g * g).sum() for g in gradient))
    return [g * (clip_norm / norm) for g in gradient] if clip_norm and norm > clip_norm else gradient


# Optimisers: one step changes every parameter and advances time once.


@dataclass
class Optimizer:
    """SGD in PyTorch's convention (velocity = momentum velocity + g, no dampening; Nesterov looks ahead by
    g + momentum velocity), RMSprop (Hinton 2012) with PyTorch's momentum of the scaled gradient, Adam (Kingma and
    Ba 2015, algorithm 1), AdamW (Loshchilov and Hutter 2019, algorithm 2: weights, not biases, shrink by learning
    rate times decay, beside the adaptive step)."""

    spec: dict
    n_steps: int = 0
    slots: list = field(default_factory=list)

    def step(self, parameters, gradient, learning_rate):
        """Return the parameters after a step."""
        move = {"sgd": self._sgd, "rmsprop": self._rmsprop, "adam": self._adam, "adamw": self._adam}[self.spec["kind"]]
        if not self.slots:
            self.slots = [[np.zeros(np.shape(p)) for p in parameters] for _ in range(2)]
        self.n_steps += 1
        decay = self.spec.get("weight_decay", 0.0) if self.spec["kind"] == "adamw" else 0.0
        moved = []
        for index, (p, g) in enumerate(zip(parameters, gradient, strict=True)):
            shrunk = p * (1 - learning_rate * decay) if np.ndim(p) > 1 else p
            moved.append(shrunk - learning_rate * move(index, g))
        return moved

    def _sgd(self, index, g):
        momentum = self.spec.get("momentum", 0.0)
        velocity = self.slots[0][index] = momentum * self.slots[0][index] + g
        return g + momentum * velocity if self.spec.get("nesterov", False) else velocity

    def _rmsprop(self, index, g):
        rho, momentum = self.spec.get("rho", 0.99), self.spec.get("momentum", 0.0)
        square = self.slots[1][index] = rho * self.slots[1][index] + (1 - rho) * g * g
        step = g / (np.sqrt(square) + self.spec.get("epsilon", 1e-8))
        velocity = self.slots[0][index] = momentum * self.slots[0][index] + step
        return velocity

    def _adam(self, index, g):
        beta_1, beta_2 = self.spec.get("beta_1", 0.9), self.spec.get("beta_2", 0.999)
        mean = self.slots[0][index] = beta_1 * self.slots[0][index] + (1 - beta_1) * g
        square = self.slots[1][index] = beta_2 * self.slots[1][index] + (1 - beta_2) * g * g
        mean_hat = mean / (1 - beta_1**self.n_steps)
        square_hat = square / (1 - beta_2**self.n_steps)
        return mean_hat / (np.sqrt(square_hat) + self.spec.get("epsilon", 1e-8))


def train(network, parameters, objective, optimizer, batches, learning_rate):
    """Return the parameters after one step for each (scaled rows, sample weights or None) of ``batches``."""
    parameters = [np.array(p, dtype=np.float64) for p in parameters]
    for x, sample_weight in batches:
        _, _, gradient = objective_and_gradient(network, parameters, objective, x, sample_weight)
        gradient = clip_global_norm(gradient, objective.get("clip_norm", 0.0))
        parameters = optimizer.step(parameters, gradient, learning_rate)
    return parameters


def initializer_distribution(name, n_in, n_out):
    """Return ("uniform", bound) or ("normal", standard deviation).

    Glorot and Bengio 2010 (eq. 16), He et al. 2015 (eq. 10), LeCun et al. 1998 (eq. 16).
    """
    family, kind = name.rsplit("_", 1)
    variance = {"glorot": 2 / (n_in + n_out), "he": 2 / n_in, "lecun": 1 / n_in}[family]
    return (kind, np.sqrt(3 * variance)) if kind == "uniform" else (kind, np.sqrt(variance))


# Scoring with a trained network. A scaling is a tuple (shift, scale, limit).


def scale_rows(X, scaling):
    """Return the scaled rows: clip((x - shift) / scale, -limit, limit)."""
    shift, scale, limit = scaling
    return np.clip((np.asarray(X, dtype=np.float64) - shift) / scale, -limit, limit)


def encode(network, parameters, scaling, X):
    """Return the codes (n, q)."""
    return forward(network, parameters, scale_rows(X, scaling), last=network["n_encoder_layers"])[-1].y


def decode(network, parameters, scaling, Z):
    """Return rows (n, d) in input units from codes (n, q)."""
    shift, scale, _ = scaling
    Z = np.asarray(Z, dtype=np.float64)
    return forward(network, parameters, Z, first=network["n_encoder_layers"])[-1].y * scale + shift


def reconstruct(network, parameters, scaling, X, scaled=False):
    """Return the reconstructed rows (n, d), in input units or in the scaled space."""
    shift, scale, _ = scaling
    y = forward(network, parameters, scale_rows(X, scaling))[-1].y
    return y if scaled else y * scale + shift


def feature_errors(network, parameters, scaling, X, metric, whitening=None):
    """Return each feature's share (n, d) of its row's error.

    With ``whitening`` m, W, u and s the error is the mean of the squares of W (v - m) for v = [r; h], residual and
    code: feature j has the j-th of them, and of the code's the part that ((x_j - u_j) / s_j)^2 + 1e-6 has in the sum
    of these. NaN marks what is not known: its residual is 0, and it is not counted.
    """
    x = scale_rows(X, scaling)
    records = forward(network, parameters, np.nan_to_num(x))
    last, d = records[-1], network["n_features"]
    n_all = n_terms(network) if whitening is None else d
    n_known = n_all / row_factors(x, network).clip(1e-300)
    if network.get("columns") and metric != "mahalanobis":
        return element_loss("mae" if metric == "max" else metric, network, x, last.z, last.y)[0] / n_known
    if metric in ("binary_crossentropy", "categorical_crossentropy"):
        return element_loss(metric, network, x, last.z, last.y)[0] / n_known
    residual = np.where(np.isnan(x), 0, last.y - x)
    if whitening is not None:
        centre, matrix, usual, deviation = whitening
        code = records[network["n_encoder_layers"] - 1].y
        squares = ((np.hstack([-residual, code]) - centre) @ matrix.T) ** 2
        away = ((np.nan_to_num(x) - usual) / deviation) ** 2 + 1e-6
        of_code = squares[:, d:].sum(axis=1, keepdims=True) * away / away.sum(axis=1, keepdims=True)
        return (squares[:, :d] + of_code) / (n_known + code.shape[1])
    if metric == "max":
        shares = np.zeros_like(residual)
        largest = np.abs(residual).argmax(axis=1)
        shares[np.arange(len(x)), largest] = np.abs(residual).max(axis=1)
        return shares
    return LOSSES[metric](np.zeros_like(residual), residual)[0] / n_known


def errors(network, parameters, scaling, X, metric, whitening=None, masks_missing=False):
    """Return one error per row (n,); NaN for a row with NaN or infinity, unless NaN marks missing values."""
    finite = np.isfinite(np.asarray(X, dtype=np.float64)).all(axis=1) | masks_missing
    result = np.full(len(X), np.nan)
    result[finite] = feature_errors(network, parameters, scaling, X[finite], metric, whitening).sum(axis=1)
    return result


# Networks and rows for tests.


def network_spec(widths, activation="relu", code_activation=None, output_activation="identity", **options):
    """Return a `NetworkSpec` from all widths, input to output, such as (5, 4, 2, 4, 5).

    Options: n_encoder_layers (default: half), tied, dropout (of the hidden layers), groups.
    """
    n_layers = len(widths) - 1
    n_encoder_layers = options.get("n_encoder_layers", (n_layers + 1) // 2)
    layers = []
    for index, units in enumerate(widths[1:]):
        tied = options.get("tied", False) and index >= n_encoder_layers
        layer = {"kind": "dense", "units": units, "activation": activation, "dropout": options.get("dropout", 0.0)}
        layers.append({**layer, "tied_to": n_layers - 1 - index if tied else -1})
    layers[n_encoder_layers - 1]["activation"] = code_activation or activation
    layers[-1].update(activation=output_activation, dropout=0.0)
    return {
        "n_features": widths[0],
        "layers": layers,
        "n_encoder_layers": n_encoder_layers,
        "groups": list(options.get("groups", [])),
    }


def random_parameters(network, rng):
    """Return weights of variance 1 / inputs and biases around zero, in float64."""
    return [
        rng.normal(size=shape) / np.sqrt(shape[0]) if len(shape) > 1 else 0.3 * rng.normal(size=shape)
        for shape in parameter_shapes(network)
    ]


def random_scaling(n_features, rng):
    """Return a (shift, scale, limit) that does not clip ordinary rows."""
    return rng.normal(size=n_features), rng.uniform(0.5, 2.0, size=n_features), 1e6


def no_scaling(n_features):
    """Return a (shift, scale, limit) that changes nothing below the limit."""
    return np.zeros(n_features), np.ones(n_features), 1e6
