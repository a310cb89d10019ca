"""The oracle for layers of images: each layer is written out as a list of products.

A convolution is a dense layer. Most of its weights are zero, and the others repeat the few numbers of the kernel.
`taps` lists these weights: (input feature, output feature, element of the kernel). The output, the gradients and their
rounding bounds follow from the list by the formulas of a dense layer. Features are ordered by (y, x, channel).
"""

import math
from dataclasses import dataclass

import numpy as np

from reference import ACTIVATIONS
from rounding import _activation_error, _delta_error
from variants import EPSILON

CONVOLUTIONS = ("conv2d", "conv2d_transpose")


def output_image(layer):
    """Return (height, width, channels) of a layer's output."""
    *sides, channels = layer["image"]
    factor, size = layer.get("factor", 1), layer.get("kernel_size")
    match layer["kind"]:
        case "conv2d" if layer["padding"] == "valid":
            sides = [(side - size) // layer.get("stride", 1) + 1 for side in sides]
        case "conv2d":
            sides = [math.ceil(side / layer.get("stride", 1)) for side in sides]
        case "conv2d_transpose" if layer["padding"] == "valid":
            sides = layer.get("output", [(side - 1) * factor + size for side in sides])
        case "conv2d_transpose" | "upsample2d":
            sides = layer.get("output", [side * factor for side in sides])
        case "max_pool2d":
            sides = [math.ceil(side / factor) for side in sides]
    return *sides, layer.get("channels", channels)


def n_outputs(layer):
    """Return the number of output features of any layer."""
    return layer["units"] if layer["kind"] == "dense" else int(np.prod(output_image(layer)))


def _feature(image, y, x, channel):
    return (y * image[1] + x) * image[2] + channel


def taps(layer):
    """Return arrays (input feature, output feature, row of the kernel, column of the kernel), one entry per product.

    The kernel of a convolution is (tap, channel in) x channel out, that of a transposed one (tap, channel out) x
    channel in. Output pixel o of a convolution meets input pixel i = o stride - before + tap, output pixel o of a
    transposed one i where o = i factor - before + tap.
    """
    image, out, size = layer["image"], output_image(layer), layer["kernel_size"]
    is_transposed = layer["kind"] == "conv2d_transpose"
    factor = layer["factor"] if is_transposed else layer.get("stride", 1)
    before = max(0, size - factor) // 2 if layer["padding"] == "same" else 0
    small, large = (image, out) if is_transposed else (out, image)
    c_small, c_large = (c.ravel() for c in np.indices((small[2], large[2])))
    entries = []
    for y, x, tap_y, tap_x in np.ndindex(*small[:2], size, size):
        large_y, large_x = y * factor - before + tap_y, x * factor - before + tap_x
        if 0 <= large_y < large[0] and 0 <= large_x < large[1]:
            ends = _feature(small, y, x, c_small), _feature(large, large_y, large_x, c_large)
            row = (tap_y * size + tap_x) * large[2] + c_large
            entries.append([*(ends if is_transposed else ends[::-1]), row, c_small])
    return np.concatenate(entries, axis=1)


def dense_matrix(layer, kernel):
    """Return the convolution as weights (n_in, n_out) of a dense layer."""
    source, target, row, column = taps(layer)
    matrix = np.zeros((int(np.prod(layer["image"])), n_outputs(layer)))
    matrix[source, target] = kernel[row, column]
    return matrix


def kernel_gradient(layer, kernel, by_matrix):
    """Return the gradient of the kernel: for each element, the sum over its uses in the dense weights."""
    source, target, row, column = taps(layer)
    gradient = np.zeros_like(kernel)
    np.add.at(gradient, (row, column), by_matrix[source, target])
    return gradient


def parameter_shapes(network):
    """Return the shapes in the order of the flat list."""
    shapes, n_in = [], network["n_features"]
    for layer in network["layers"]:
        kind = layer["kind"]
        if kind in CONVOLUTIONS:
            channels_in, channels = layer["image"][2], layer["channels"]
            over_taps, other = (channels, channels_in) if kind == "conv2d_transpose" else (channels_in, channels)
            shapes += [(layer["kernel_size"] ** 2 * over_taps, other), (channels,)]
        elif kind == "dense":
            shapes += [(n_in, layer["units"]), (layer["units"],)]
        if layer.get("batch_norm"):
            shapes += [shapes[-1]] * 4
        n_in = n_outputs(layer)
    return shapes


@dataclass
class Linear:
    """A layer's dense weights, its biases by output, and the positions of its parameters in the flat list.

    ``norm`` are gamma, beta, running mean and variance by channel, or None.
    """

    matrix: np.ndarray
    bias: np.ndarray
    position: int
    norm: list | None

    def normalised(self, x, *, training):
        """Return the pre-activations (n, n_out) and, with a normalisation, its standardised inputs and deviations."""
        z = x @ self.matrix + self.bias
        if self.norm is None:
            return z, None, None
        gamma, beta, mean, variance = self.norm
        pixels = z.reshape(-1, len(gamma))
        if training:
            mean, variance = pixels.mean(axis=0), pixels.var(axis=0)
        deviation = np.sqrt(variance + EPSILON)
        standardised = (pixels - mean) / deviation
        return (gamma * standardised + beta).reshape(z.shape), standardised, deviation

    def before_norm(self, x, dz):
        """Return the gradients by the normalisation's inputs, gamma and beta (Ioffe and Szegedy 2015, section 3)."""
        _, standardised, deviation = self.normalised(x, training=True)
        d = dz.reshape(standardised.shape)
        d_gamma, d_beta = (d * standardised).sum(axis=0), d.sum(axis=0)
        d_pixels = self.norm[0] / deviation * (d - d.mean(axis=0) - standardised * (d * standardised).mean(axis=0))
        return d_pixels.reshape(dz.shape), d_gamma, d_beta


def linear_layers(network, parameters):
    """Return a `Linear` for every dense layer and convolution, None for other layers."""
    layers, position = [], 0
    for layer in network["layers"]:
        kind = layer["kind"]
        if kind not in ("dense", *CONVOLUTIONS):
            layers.append(None)
            continue
        weights, bias = (np.asarray(p, dtype=np.float64) for p in parameters[position : position + 2])
        if kind in CONVOLUTIONS:
            weights, bias = dense_matrix(layer, weights), np.tile(bias, n_outputs(layer) // len(bias))
        position += 2
        norm = None
        if layer.get("batch_norm"):
            norm = [np.asarray(p, dtype=np.float64) for p in parameters[position : position + 4]]
            position += 4
        layers.append(Linear(weights, bias, position - (2 if norm is None else 6), norm))
    return layers


def _windows(layer, x):
    """Return the inputs of each pooled pixel: (n, height, width, channels, factor^2), line by line in a window.

    Pixels outside the image are -inf.
    """
    factor, (height, width, channels) = layer["factor"], output_image(layer)
    whole = np.full((len(x), height * factor, width * factor, channels), -np.inf)
    whole[:, : layer["image"][0], : layer["image"][1]] = x.reshape(-1, *layer["image"])
    squares = whole.reshape(len(x), height, factor, width, factor, channels)
    return squares.transpose(0, 1, 3, 5, 2, 4).reshape(len(x), height, width, channels, factor**2)


def _from_windows(layer, windows):
    """Return rows from the result of `_windows`."""
    factor, (height, width, channels) = layer["factor"], output_image(layer)
    squares = windows.reshape(-1, height, width, channels, factor, factor).transpose(0, 1, 4, 2, 5, 3)
    whole = squares.reshape(len(windows), height * factor, width * factor, channels)
    return whole[:, : layer["image"][0], : layer["image"][1]].reshape(len(windows), -1)


def _upsampled(layer, x):
    images = x.reshape(-1, *layer["image"])
    height, width, _ = output_image(layer)
    whole = images.repeat(layer["factor"], axis=1).repeat(layer["factor"], axis=2)
    return whole[:, :height, :width].reshape(len(x), -1)


def forward(network, parameters, x, *, training=False):
    """Return [(input, pre-activation, output)] for all layers; in training, batches are normalised by their moments."""
    records = []
    for layer, linear in zip(network["layers"], linear_layers(network, parameters), strict=True):
        if linear is not None:
            z, _, _ = linear.normalised(x, training=training)
            y = ACTIVATIONS[layer["activation"]][0](z)
        elif layer["kind"] == "max_pool2d":
            z = y = _windows(layer, x).max(axis=-1).reshape(len(x), -1)
        else:
            z = y = _upsampled(layer, x)
        records.append((x, z, y))
        x = y
    return records


def _spread(layer, dy, x):
    """Return the input's gradient for a layer without parameters; the first of equal maxima gets all of it."""
    if layer["kind"] == "max_pool2d":
        windows = _windows(layer, x)
        winners = np.eye(layer["factor"] ** 2)[windows.argmax(axis=-1)]
        return _from_windows(layer, winners * dy.reshape(*windows.shape[:-1], 1))
    (height, width, channels), factor, out = layer["image"], layer["factor"], output_image(layer)
    whole = np.zeros((len(dy), height * factor, width * factor, channels))
    whole[:, : out[0], : out[1]] = dy.reshape(-1, *out)
    return whole.reshape(-1, height, factor, width, factor, channels).sum(axis=(2, 4)).reshape(len(dy), -1)


def objective_and_gradient(network, parameters, x):
    """Return the squared error, averaged over rows and features, and its gradient, shaped like the parameters."""
    records, linear_of = forward(network, parameters, x, training=True), linear_layers(network, parameters)
    residual = records[-1][2] - x
    gradient = [np.zeros(shape) for shape in parameter_shapes(network)]
    dy = 2 * residual / residual.size
    for layer, linear, (before, z, _) in reversed(list(zip(network["layers"], linear_of, records, strict=True))):
        if linear is None:
            dy = _spread(layer, dy, before)
            continue
        dz = dy * ACTIVATIONS[layer["activation"]][1](z)
        if linear.norm is not None:
            dz, *gradient[linear.position + 2 : linear.position + 4] = linear.before_norm(before, dz)
        d_matrix, d_bias = before.T @ dz, dz.sum(axis=0)
        if layer["kind"] in CONVOLUTIONS:
            gradient[linear.position] = kernel_gradient(layer, parameters[linear.position], d_matrix)
            gradient[linear.position + 1] = d_bias.reshape(-1, layer["channels"]).sum(axis=0)
        else:
            gradient[linear.position], gradient[linear.position + 1] = d_matrix, d_bias
        dy = dz @ linear.matrix.T
    return float((residual**2).mean()), gradient


def bounds(network, parameters, x, unit):
    """Return bounds on the rounding errors of the last output and of the gradient, as in `rounding`.

    The network may not have batch normalisation. A sum of n products is off by at most n units of the sum of their
    magnitudes.
    """
    linear_of, records = linear_layers(network, parameters), forward(network, parameters, x)
    layers = network["layers"]
    errors = [(None, 4 * unit * np.abs(x))]  # of each layer's pre-activation and output
    for layer, linear, (before, z, y) in zip(layers, linear_of, records, strict=True):
        e_x = errors[-1][1]
        if linear is None:
            is_pool = layer["kind"] == "max_pool2d"
            e_z = e_y = _windows(layer, e_x).max(axis=-1).reshape(len(x), -1) if is_pool else _upsampled(layer, e_x)
        else:
            matrix, n_products = np.abs(linear.matrix), np.count_nonzero(linear.matrix, axis=0).max()
            e_z = e_x @ matrix + (n_products + 3) * unit * (np.abs(before) @ matrix + np.abs(linear.bias))
            e_y = _activation_error(layer, z, y, e_z, unit)
        errors.append((e_z, e_y))

    dy = 2 * (records[-1][2] - x) / x.size
    e_dy = 2 * (errors[-1][1] + errors[0][1]) / x.size + 4 * unit * np.abs(dy)
    bound = [np.zeros(shape) for shape in parameter_shapes(network)]
    for index in reversed(range(len(layers))):
        layer, linear, (before, z, _) = layers[index], linear_of[index], records[index]
        if linear is None:
            e_dy = _spread(layer, e_dy + layer["factor"] ** 2 * unit * np.abs(dy), before)
            dy = _spread(layer, dy, before)
            continue
        dz = dy * ACTIVATIONS[layer["activation"]][1](z)
        e_dz = _delta_error(layer["activation"], z, dy, e_dy, errors[index + 1][0], unit)
        is_convolution = layer["kind"] in CONVOLUTIONS
        n_uses = max(before.shape[1], z.shape[1]) if is_convolution else 1  # of a weight in a row, at most
        e_sum = e_dz + (len(x) * n_uses + 4) * unit * np.abs(dz)
        e_matrix = np.abs(before).T @ e_sum + errors[index][1].T @ np.abs(dz)
        e_bias = e_sum.sum(axis=0)
        if is_convolution:
            e_matrix = kernel_gradient(layer, parameters[linear.position], e_matrix)
            e_bias = e_bias.reshape(-1, layer["channels"]).sum(axis=0)
        bound[linear.position], bound[linear.position + 1] = e_matrix, e_bias
        n_products = np.count_nonzero(linear.matrix, axis=1).max()
        e_dy = (e_dz + (n_products + 4) * unit * np.abs(dz)) @ np.abs(linear.matrix).T
        dy = dz @ linear.matrix.T
    return errors[-1][1], bound


def random_parameters(network, rng):
    """Return weights that keep the variance of the activations, small biases, and variances around one."""
    parameters = [
        rng.normal(size=shape) / np.sqrt(shape[0]) if len(shape) == 2 else 0.3 * rng.normal(size=shape)
        for shape in parameter_shapes(network)
    ]
    for linear in linear_layers(network, parameters):
        if linear is not None and linear.norm is not None:
            for at in (2, 5):  # gamma and the running variance
                parameters[linear.position + at] = rng.uniform(0.5, 1.5, size=linear.norm[0].shape)
    return parameters
