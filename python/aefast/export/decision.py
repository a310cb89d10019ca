"""The whole decision of a model as a `Program`: from the columns of a table to score, p-value and flag."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from aefast.columns.column import Column
from aefast.export.program import Program, Value
from aefast.model.distances import Distances
from aefast.model.image_layers import output_image
from aefast.model.model import Model
from aefast.model.parameters import inference_network
from aefast.model.scaling import clip_limit

Array = NDArray[Any]

#: The outputs of every export.
OUTPUTS = ("anomaly_score", "p_value", "is_anomaly")
_DAY, _MONDAY = 86_400.0, 3 * 86_400.0
_SMALLEST_PROBABILITY = 1e-12
# Limits of the engine's calibrated score (`cpp/aefast/score/distances.cpp`): the least distance of which a logarithm is
# taken, the farthest that a value lies beyond its range, and the least J and P as shares of D and of the row itself.
_LEAST_DISTANCE, _LEAST_BEYOND, _FARTHEST = 1e-12, 1e-30, 1e30
_ROUNDING_OF_NEAR, _ROUNDING_OF_LOCAL = 1e-5, 1e-6


class ExportError(ValueError):
    """Part of a model cannot be written in the format asked for."""


def program_of(model: Model) -> Program:
    """Return the decision of a model as a program.

    Raises
    ------
    ExportError
        If the model has a part that programs cannot express; the message names it.
    """
    program = Program()
    columns = model.columns or tuple(Column(name, "numeric") for name in model.column_names)
    masks = model.missing == "mask"
    elements = program.join(*(_elements(program, column, masks_missing=masks) for column in columns))
    known = None
    if masks:
        known = program.add("is_known", elements)
        elements = program.add("fill", elements, values=model.scaling.shift)
    elif model.missing == "mean":
        elements = program.add("fill", elements, values=model.scaling.means)
    y = program.add("scale", elements, shift=model.scaling.shift, scale=model.scaling.scale)
    limit = clip_limit(model.scaling.kind)
    inputs = program.clip(y, -limit, limit)
    network, parameters = inference_network(model.network, model.coefs, model.intercepts, model.dtype)
    logits, outputs, code = _layers(program, network, parameters, program.cast(inputs, _single(model)))
    score = _score(program, model, network, elements, inputs, known, logits, outputs, code)
    program.outputs["anomaly_score"] = score
    calibration = model.calibration
    program.outputs["p_value"] = program.add(
        "look_up", score, steps=calibration.errors.astype(np.float64), answers=calibration.levels()
    )
    program.outputs["is_anomaly"] = program.add("above", score, threshold=model.threshold)
    return program


def _single(model: Model) -> str:
    return "float" if model.dtype == "float32" else "double"


def _elements(program: Program, column: Column, *, masks_missing: bool) -> Value:
    """Return the elements of a column that the network reads."""
    if column.kind == "categorical":
        levels = _spellings(column)
        missing = column.levels.index(None) if None in column.levels else len(column.levels)
        levels[""] = column.width if masks_missing else missing
        return program.add(
            "one_hot",
            program.read(column.name, "text"),
            width=column.width,
            kind="double",
            levels=levels,
            n=column.width,
        )
    number = program.read(column.name, "double", is_time=column.kind == "timestamp")
    if column.kind == "numeric":
        return number
    angles = [
        program.affine(number, 2 * np.pi / length, 2 * np.pi * start / length)
        for length, start in ((_DAY, 0.0), (7 * _DAY, _MONDAY))
    ]
    return program.join(*(program.add(op, angle) for angle in angles for op in ("sin", "cos")))


def _spellings(column: Column) -> dict[str, int]:
    """Return the place of each level by its text; of truth values in the usual spellings."""
    names = [level for level in column.levels if level is not None]
    spellings = ["true", "false", "True", "False", "TRUE", "FALSE", "yes", "no", "1", "0"]
    names += [name for name in spellings if column.places_of([name])[0] < len(column.levels)]
    return dict(zip(names, column.places_of(names), strict=True))


def _layers(program: Program, network: Any, parameters: list[Array], x: Value) -> tuple[Value, Value, Value]:
    """Return the inputs and outputs of the last activation, and the code."""
    code = logits = x
    remaining = iter(parameters)
    groups = [tuple(group) for group in network["groups"]] or [(0, network["n_features"])]
    for index, layer in enumerate(network["layers"]):
        kind, is_last = layer["kind"], index == len(network["layers"]) - 1
        if kind in ("dense", "conv2d", "conv2d_transpose"):
            weights, biases = next(remaining), next(remaining)
            logits = x = _weighted(program, layer, weights, biases, x)
            if is_last and network.get("columns"):
                x = _activate_columns(program, network, layer["activation"], x)
            elif layer["activation"] == "softmax":
                x = program.add("softmax", x, groups=groups)
            elif layer["activation"] != "identity":
                x = program.add("activate", x, name=layer["activation"])
        elif kind == "top_k":
            x = program.add("top_k", x, k=layer["k"])
        elif kind in ("max_pool2d", "upsample2d"):
            op = "max_pool" if kind == "max_pool2d" else "upsample"
            geometry = {"image": tuple(layer["image"]), "factor": layer["factor"], "shape": output_image(layer)}
            x = program.add(op, x, width=layer["units"], **geometry)
        else:
            raise ExportError(f"a layer of kind {kind!r} cannot be exported")
        if index + 1 == network["n_encoder_layers"]:
            code = x
    return logits, x, code


def _weighted(program: Program, layer: Any, weights: Array, biases: Array, x: Value) -> Value:
    """Return the products of a layer with its weights, with biases."""
    if layer["kind"] == "dense":
        return program.add("dense", x, width=layer["units"], weights=weights, biases=biases)
    image, size, shape = tuple(layer["image"]), layer["kernel_size"], output_image(layer)
    is_transposed = layer["kind"] == "conv2d_transpose"
    factor = layer["factor"] if is_transposed else layer.get("stride", 1)
    before = max(0, size - factor) // 2 if layer["padding"] == "same" else 0
    kernel = weights.reshape(size, size, -1, weights.shape[-1])
    geometry: dict[str, Any] = {"kernel": kernel, "image": image, "factor": factor, "before": before, "shape": shape}
    found = program.add("transposed" if is_transposed else "convolution", x, width=layer["units"], **geometry)
    return program.affine(found, 1.0, np.tile(biases, layer["units"] // len(biases)))


def _activate_columns(program: Program, network: Any, activation: str, x: Value) -> Value:
    """Return the outputs of a network whose features stand for columns: a softmax for each group of levels."""
    parts = []
    for begin, end, _ in network["columns"]:
        part = program.select(x, np.arange(begin, end))
        if (begin, end) in {tuple(group) for group in network["groups"]}:
            part = program.add("softmax", part, groups=[(0, end - begin)])
        elif activation != "identity":
            part = program.add("activate", part, name=activation)
        parts.append(part)
    return program.join(*parts)


def _score(
    program: Program,
    model: Model,
    network: Any,
    elements: Value,
    inputs: Value,
    known: Value | None,
    logits: Value,
    outputs: Value,
    code: Value,
) -> Value:
    """Return the anomaly score (a double)."""
    metric, activation = model.score_metric, network["layers"][-1]["activation"]
    if metric == "calibrated":
        if model.columns is not None or model.missing == "mask":
            reason = "columns of several kinds" if model.columns is not None else "missing='mask'"
            raise ExportError(f"the calibrated score with {reason} cannot be exported: fit with score_metric='mse'")
        assert model.distances is not None
        cast = (program.cast(each, "double") for each in (inputs, outputs, code))
        return _calibrated(program, model.distances, elements, *cast)
    inputs, logits, outputs, code = (program.cast(each, "double") for each in (inputs, logits, outputs, code))
    residual = program.add("subtract", inputs, outputs)
    if known is not None:
        residual = program.add("multiply", residual, known)
    if metric == "mahalanobis":
        assert model.whitening is not None
        joint = program.join(residual, code)
        centre, matrix = model.whitening.centre, model.whitening.matrix
        away = program.add("dense", program.affine(joint, 1.0, -centre), weights=matrix.T, biases=np.zeros(len(centre)))
        total = program.reduce("sum", program.add("square", away))
        n_code = code.width
        return _mean(program, total, known, residual.width, n_code)
    if metric not in ("mse", "mae", "max", "huber", "binary_crossentropy", "categorical_crossentropy"):
        raise ExportError(f"the metric {metric!r} cannot be exported")
    if network.get("columns"):
        parts = []
        for begin, end, weight in network["columns"]:
            here = np.arange(begin, end)
            is_level = (begin, end) in {tuple(group) for group in network["groups"]}
            of = "categorical_crossentropy" if is_level else "mae" if metric == "max" else metric
            part = _losses(
                program, of, activation, *(program.select(each, here) for each in (inputs, residual, logits, outputs))
            )
            parts.append(program.affine(part, weight))
        losses = program.join(*parts)
        if known is not None:
            losses = program.add("multiply", losses, known)
            known = program.select(known, [begin for begin, _, _ in network["columns"]])
        return _mean(program, program.reduce("sum", losses), known, len(network["columns"]))
    if metric == "max":
        return program.reduce("largest", program.add("abs", residual))
    losses = _losses(program, metric, activation, inputs, residual, logits, outputs)
    if known is not None:
        losses = program.add("multiply", losses, known)
    return _mean(program, program.reduce("sum", losses), known, losses.width)


def _calibrated(
    program: Program, distances: Distances, elements: Value, inputs: Value, outputs: Value, code: Value
) -> Value:
    """Return the calibrated score, as `aefast.model.distances.Distances` describes it."""
    residual = program.add("subtract", inputs, outputs)
    n_joint = len(distances.centre)
    joint = program.join(residual, code) if n_joint > residual.width else residual
    away = program.affine(joint, 1.0, -distances.centre)
    w = program.add(
        "dense", away, width=len(distances.matrix), weights=distances.matrix.T, biases=np.zeros(len(distances.matrix))
    )
    total = program.reduce("sum", program.add("square", w))
    if len(distances.rest):
        cut, rest = w, program.affine(away, distances.rest)
        total = program.add("subtract", program.reduce("sum", program.add("square", rest)), total)
        turned = program.add(
            "dense",
            program.affine(cut, distances.back),
            width=n_joint,
            weights=distances.matrix / distances.rest,
            biases=np.zeros(n_joint),
        )
        w = program.add("subtract", rest, turned)
    z = program.affine(inputs, 1 / distances.span)
    from_middle = program.affine(z, 1.0, -distances.means.mean(axis=0))
    least = (
        program.affine(total, 0.0),
        program.affine(total, _ROUNDING_OF_NEAR),
        program.affine(program.reduce("sum", program.add("square", from_middle)), _ROUNDING_OF_LOCAL),
    )
    parts = (
        total,
        program.add("nearest", w, width=1, centres=distances.centres, offsets=np.zeros(len(distances.centres)), k=3),
        program.add("nearest", z, width=1, centres=distances.means, offsets=distances.spreads, k=1),
    )
    score = None
    for part, floor, (median, spread), n in zip(parts, least, distances.calibration, (n_joint, 1, 1), strict=True):
        distance = program.clip(program.add("larger", part, floor), _LEAST_DISTANCE, _FARTHEST)
        standard = program.affine(program.add("log", distance), 1 / spread, -(median + np.log(n)) / spread)
        score = standard if score is None else program.add("larger", score, standard)
    assert score is not None
    below = program.affine(elements, -1 / distances.unit, distances.low / distances.unit)
    above = program.affine(elements, 1 / distances.unit, -distances.high / distances.unit)
    beyond = program.clip(program.reduce("largest", program.join(below, above)), 0.0, _FARTHEST)
    doubled = program.clip(program.affine(beyond, 2.0), _LEAST_BEYOND, 2 * _FARTHEST)
    guard = program.affine(program.add("log", doubled), 2.0, float(distances.top[0]))
    return program.add("add", program.add("larger", score, guard), program.add("log", program.affine(beyond, 1.0, 1.0)))


def _mean(program: Program, total: Value, known: Value | None, n: int, more: int = 0) -> Value:
    """Return a sum over the known of ``n`` terms, and ``more``, divided by their number; 0 if none is known."""
    if known is None:
        return program.affine(total, 1.0 / (n + more))
    n_known = program.reduce("sum", known)
    total = program.add("multiply", total, program.clip(n_known, 0.0, 1.0))
    return program.add("divide", total, program.clip(program.affine(n_known, 1.0, more), 1.0, n + more))


def _losses(
    program: Program, loss: str, activation: str, target: Value, residual: Value, logits: Value, outputs: Value
) -> Value:
    """Return the loss of each element."""
    if loss == "mse":
        return program.add("square", residual)
    if loss == "mae":
        return program.add("abs", residual)
    if loss == "huber":  # r^2 / 2 up to 1, then |r| - 1 / 2: m (|r| - m / 2) with m = min(|r|, 1)
        size = program.add("abs", residual)
        inner = program.clip(size, 0.0, 1.0)
        rest = program.add("subtract", size, program.affine(inner, 0.5))
        return program.add("multiply", inner, rest)
    inside = program.clip(target, 0.0, 1.0)
    outside = program.add("abs", program.add("subtract", target, inside))
    if loss == "categorical_crossentropy":
        log_p = program.add("log_softmax", logits, groups=[(0, logits.width)])
        return program.add("subtract", outside, program.add("multiply", inside, log_p))
    if activation == "sigmoid":  # from z: log(1 + exp z) - q z
        likelihood = program.add("multiply", inside, logits)
        missed = program.add("subtract", program.add("activate", logits, name="softplus"), likelihood)
        return program.add("add", outside, missed)
    p = program.clip(outputs, _SMALLEST_PROBABILITY, 1 - _SMALLEST_PROBABILITY)
    likely = program.add("multiply", inside, program.add("log", p))
    unlikely = program.add(
        "multiply", program.affine(inside, -1.0, 1.0), program.add("log", program.affine(p, -1.0, 1.0))
    )
    return program.add("subtract", outside, program.add("add", likely, unlikely))
