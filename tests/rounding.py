"""First-order rounding bounds: how much two correct implementations of `reference` may differ.

A sum of n products is off by at most n units of the sum of their magnitudes, in any order (Higham 2002, eq. 3.5). A
layer multiplies errors by the magnitudes of its weights and the steepest slope of its activation. ``unit`` is half the
machine epsilon of the arithmetic under test.
"""

import numpy as np

import reference
from reference import (
    ACTIVATIONS,
    LOSSES,
    PAIRS,
    column_groups,
    element_loss,
    forward,
    layer_parameters,
    parameter_positions,
    parameter_shapes,
    tied_to,
)

# The largest |f'| and |f''| of activations for which they are not 1 and 0.
STEEPEST = {"sigmoid": 0.25, "selu": 1.7581, "gelu": 1.1290, "silu": 1.0999}
CURVATURE = {"sigmoid": 0.0963, "tanh": 0.7699, "elu": 1, "selu": 1.7581, "gelu": 0.7979, "silu": 0.5, "softplus": 0.25}
FUNCTION_UNITS = 16  # an activation or logarithm is trusted to eight ulp, 16 units


def unit_of(dtype):
    """Return half the distance from 1 to the next number."""
    return float(np.finfo(dtype).eps) / 2


def _activation_error(layer, z, y, e_z, unit):
    rounding = FUNCTION_UNITS * unit * (np.abs(y) + np.minimum(np.abs(z), 1))
    if layer["activation"] == "softmax":
        return 2 * y * e_z.max(axis=1, keepdims=True) + rounding * (1 + np.abs(z))
    return STEEPEST.get(layer["activation"], 1.0) * e_z + rounding


def layer_errors(network, parameters, x, unit, first=0, last=None):
    """Return [(bound of the pre-activation, bound of the output)] for each layer, each (n, units)."""
    e_x, bounds = 4 * unit * np.abs(x), []
    pairs = layer_parameters(network, parameters)
    records = forward(network, parameters, x, first=first, last=last)
    for index, record in enumerate(records, start=first):
        weights, bias = np.abs(pairs[index][0]), np.abs(pairs[index][1])
        units = (len(weights) + 3) * unit  # the products, the bias, and the parameters' own rounding
        e_z = e_x @ weights + units * (np.abs(record.x) @ weights + bias)
        bounds.append((e_z, _activation_error(network["layers"][index], record.z, record.y, e_z, unit)))
        e_x = bounds[-1][1]
    return bounds


def feature_error_bound(network, parameters, x, metric, unit, whitening=None):
    """Return bounds (n, d) of the features' shares of a row's error; their sum bounds the row's error."""
    records, layer_bounds = forward(network, parameters, x), layer_errors(network, parameters, x, unit)
    record, (e_z, e_y) = records[-1], layer_bounds[-1]
    e_x, n_features = 4 * unit * np.abs(x), network["n_features"]
    output_activation = network["layers"][-1]["activation"]
    if metric == "binary_crossentropy" and output_activation == "sigmoid":
        terms = np.abs(ACTIVATIONS["softplus"][0](record.z)) + np.abs(x * record.z)
        return (
            (1 + np.abs(x)) * e_z + np.abs(record.z) * e_x + (FUNCTION_UNITS + n_features) * unit * terms
        ) / n_features
    if metric == "categorical_crossentropy" and output_activation == "softmax":
        log_p = np.abs(reference.log_softmax(record.z, column_groups(network)))
        largest = np.abs(record.z).max(axis=1, keepdims=True) + 1
        e_log = 2 * e_z.max(axis=1, keepdims=True) + (FUNCTION_UNITS + n_features) * unit * largest
        return (np.abs(x) * e_log + e_x * log_p + (n_features + 4) * unit * np.abs(x) * log_p) / n_features
    if metric.endswith("crossentropy"):
        p = np.clip(record.y, 1e-6, 1 - 1e-6)
        terms = np.abs(np.log(p)) + np.abs(np.log1p(-p))
        slopes = (1 + np.abs(x)) * (1 / p + 1 / (1 - p))
        return (slopes * (e_y + unit) + terms * (e_x + (FUNCTION_UNITS + n_features) * unit)) / n_features
    residual = np.abs(record.y - x)
    e_r = e_y + e_x + unit * residual
    if whitening is not None:
        centre, matrix, usual, deviation = whitening
        code, n_joint = network["n_encoder_layers"] - 1, len(centre)
        size = np.hstack([residual, np.abs(records[code].y)]) + np.abs(centre)
        size, e_size = size @ np.abs(matrix).T, np.hstack([e_r, layer_bounds[code][1]]) @ np.abs(matrix).T
        e_size += (n_joint + 4) * unit * size
        bounds = 2 * size * e_size + e_size**2 + (2 * n_joint + 8) * unit * size**2
        squares = (size**2)[:, n_features:].sum(axis=1, keepdims=True)
        away = ((x - usual) / deviation) ** 2 + 1e-6
        part = away / away.sum(axis=1, keepdims=True)
        e_distance = (e_x + unit * (np.abs(x) + 2 * np.abs(usual))) / deviation + 4 * unit * np.abs(
            x - usual
        ) / deviation
        e_away = 2 * np.abs(x - usual) / deviation * e_distance + e_distance**2 + 2 * unit * away
        e_part = (e_away + part * e_away.sum(axis=1, keepdims=True)) / away.sum(axis=1, keepdims=True)
        e_part += (n_features + 4) * unit * part
        of_code = bounds[:, n_features:].sum(axis=1, keepdims=True)
        return (bounds[:, :n_features] + of_code * part + (squares + of_code) * e_part) / n_joint
    summing = (n_features + 8) * unit
    if metric == "max":
        return e_r + unit * residual
    slope = {"mse": 2 * residual + e_r, "mae": 1.0, "huber": np.minimum(residual + e_r, 1)}[metric]
    size = {"mse": residual**2, "mae": residual, "huber": np.minimum(residual**2, residual)}[metric]
    return (slope * e_r + summing * size) / n_features


def row_error_bound(network, parameters, x, metric, unit, whitening=None):
    """Return bounds (n,) of `reference.errors`."""
    shares = feature_error_bound(network, parameters, x, metric, unit, whitening)
    return shares.max(axis=1) if metric == "max" else shares.sum(axis=1)


def _last_delta_error(network, loss, record, target, e_z, e_y, unit):
    """Return bounds (n, d) of the loss's derivative by the last pre-activation, before division by n and d."""
    y, groups = record.y, column_groups(network)
    output = network["layers"][-1]["activation"]
    e_t = 4 * unit * np.abs(target)
    if (loss, output) in PAIRS:  # y - t, or y sum(t) - t
        total = np.abs(target).sum(axis=1, keepdims=True) if output == "softmax" else 1.0
        return e_y * total + e_t * (1 + y) + FUNCTION_UNITS * unit * (y * total + np.abs(target))

    dy = np.abs(LOSSES[loss](target, y)[1])
    if loss.endswith("crossentropy"):
        distance = np.minimum(y, 1 - y)  # to where the derivative's denominator vanishes
        e_dy = (dy + 1 / distance) / distance * (e_y + e_t + unit) + FUNCTION_UNITS * unit * dy
    else:
        slope = {"mse": 2.0, "huber": 1.0, "mae": 0.0}[loss]
        e_dy = slope * (e_y + e_t) + 4 * unit * dy
    if output != "softmax":
        return _delta_error(output, record.z, dy, e_dy, e_z, unit)
    error = np.empty_like(y)
    for begin, end in groups:
        group = slice(begin, end)
        p, e_p, q, e_q = y[:, group], e_y[:, group], dy[:, group], e_dy[:, group]
        size = q + (p * q).sum(axis=1, keepdims=True)
        e_mean = (e_p * q + p * e_q).sum(axis=1, keepdims=True)
        error[:, group] = e_p * size + p * (e_q + e_mean) + (FUNCTION_UNITS + end - begin) * unit * p * size
    return error


def _delta_error(activation, z, dy, e_dy, e_z, unit):
    """Return bounds of dy f'(z)."""
    slope = np.abs(ACTIVATIONS[activation][1](z))
    # The derivative itself is rounded to a few units of the terms of its formula, which are at most about 1.
    return slope * e_dy + np.abs(dy) * (CURVATURE.get(activation, 0.0) * e_z + FUNCTION_UNITS * unit * (1 + slope))


def gradient_bound(network, parameters, objective, x, unit, sample_weight=None, target=None):
    """Return bounds of the gradient of `reference.objective_and_gradient`, shaped like the parameters."""
    target = x if target is None else target
    pairs, positions = layer_parameters(network, parameters), parameter_positions(network)
    records = forward(network, parameters, x)
    bounds = layer_errors(network, parameters, x, unit)
    shares = reference.row_shares(len(x), sample_weight)[:, np.newaxis]
    e_inputs = [4 * unit * np.abs(x), *(e_y for _, e_y in bounds)]

    share = shares / network["n_features"]
    loss = objective["loss"]
    dz = share * element_loss(loss, network, target, records[-1].z, records[-1].y)[1]
    e_dz = share * _last_delta_error(network, loss, records[-1], target, *bounds[-1], unit) + 4 * unit * np.abs(dz)

    bound = [np.zeros(shape) for shape in parameter_shapes(network)]
    for index in reversed(range(len(records))):
        layer, (weights, _), (w, b) = network["layers"][index], pairs[index], positions[index]
        inputs, e_x = np.abs(records[index].x), e_inputs[index]
        summing = (len(x) + 4) * unit
        d_weights = inputs.T @ (e_dz + summing * np.abs(dz)) + e_x.T @ np.abs(dz)
        bound[w] += d_weights if tied_to(layer) < 0 else d_weights.T
        bound[b] += (e_dz + summing * np.abs(dz)).sum(axis=0)
        if index == 0:
            break
        dy = dz @ weights.T
        e_dy = (e_dz + (layer["units"] + 4) * unit * np.abs(dz)) @ np.abs(weights).T
        z, y, (e_z, e_y) = records[index - 1].z, records[index - 1].y, bounds[index - 1]
        if index == network["n_encoder_layers"]:
            l1, l2 = objective.get("activity_l1", 0.0), objective.get("activity_l2", 0.0)
            at_code = shares * (l2 * y + l1 * np.sign(y))
            dy = dy + at_code
            e_dy = e_dy + shares * l2 * e_y + 4 * unit * (np.abs(at_code) + np.abs(dy))
        activation = network["layers"][index - 1]["activation"]
        dz, e_dz = dy * ACTIVATIONS[activation][1](z), _delta_error(activation, z, dy, e_dy, e_z, unit)
    for at, p in zip(bound, parameters, strict=True):
        if np.ndim(p) > 1:
            at += 4 * unit * (objective.get("l2", 0.0) * np.abs(p) + objective.get("l1", 0.0))
    return bound
