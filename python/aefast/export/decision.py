"""The whole decision of a model as a `Program`: from the columns of a table to score, p-value and flag."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aefast.columns.column import Column
from aefast.export.calibrated import calibrated_score, expected_levels
from aefast.export.columns import ReadColumn
from aefast.export.program import ExportError, Program, Value
from aefast.model.image_layers import output_image
from aefast.model.model import Model
from aefast.model.parameters import inference_network
from aefast.model.scaling import clip_limit

Array = NDArray[Any]

#: The outputs of every export.
OUTPUTS = ("anomaly_score", "p_value", "is_anomaly")
#: Largest difference of scores from the model's, as a share of the larger of 1 and the score.
TOLERANCE = 1e-5
_SMALLEST_PROBABILITY = 1e-12


def program_of(model: Model, texts: Mapping[str, Sequence[str]] | None = None) -> Program:
    """Return the decision of a model as a program.

    Parameters
    ----------
    model : Model
    texts : mapping of str to sequences of str, optional
        Texts by column that may be among its rare values, for formats that cannot hash them.

    Raises
    ------
    ExportError
        If the model has a part that programs cannot express; the message names it.
    """
    program, metric, missing = Program(), model.score_metric, model.missing
    is_joined = metric == "calibrated" and model.columns is not None
    if is_joined and model.evidence is None:
        raise ExportError("the calibrated score of an earlier version cannot be exported: fit again")
    columns = [
        ReadColumn(
            program,
            column,
            masks_missing=missing != "mean",
            is_joined=is_joined,
            texts=(texts or {}).get(column.name, ()),
        )
        for column in model.columns or tuple(Column(name, "numeric") for name in model.column_names)
    ]
    network, parameters = inference_network(model.network, model.coefs, model.intercepts, model.dtype)
    if metric == "calibrated":
        if model.distances is None:
            elements = program.join(*(each.value for each in columns))
        else:
            expected = expected_levels(program, model, columns)
            elements = program.join(*(each.elements(expected.get(at)) for at, each in enumerate(columns)))
            network, parameters = _only_outputs(network, parameters, model.distances.elements)

        # Small residuals are differences of larger numbers; convolutions are single in ONNX anyway.
        kind = "double" if {layer["kind"] for layer in network["layers"]} <= {"dense", "top_k"} else _single(model)

        def run(inputs: Value) -> tuple[Value, Value]:
            _, outputs, code = _layers(program, network, parameters, program.cast(inputs, kind))
            return program.cast(outputs, "double"), program.cast(code, "double")

        score = calibrated_score(program, model, columns, elements, run)
    else:
        elements, known = program.join(*(each.elements() for each in columns)), None
        scaling, limit = model.scaling, clip_limit(model.scaling.kind)
        if missing == "mask":
            known = program.add("is_known", elements)
        if missing != "error":
            elements = program.add("fill", elements, values=scaling.shift if missing == "mask" else scaling.means)
        y = program.add("scale", elements, shift=scaling.shift, scale=scaling.scale)
        inputs = program.clip(y, -limit, limit)
        found = _layers(program, network, parameters, program.cast(inputs, _single(model)))
        values = (program.cast(each, "double") for each in (inputs, *found))
        score = _score(program, model, network, known, *values)
    program.outputs["anomaly_score"] = score
    calibration = model.calibration
    program.outputs["p_value"] = program.add(
        "look_up", score, steps=calibration.errors.astype(np.float64), answers=calibration.levels()
    )
    program.outputs["is_anomaly"] = program.add("above", score, threshold=model.threshold)
    return program


def _only_outputs(network: Any, parameters: list[Array], elements: Array) -> tuple[Any, list[Array]]:
    """Return a network and its parameters with some of its outputs."""
    last = network["layers"][-1]
    if last["units"] == len(elements):
        return network, parameters
    layers = [*network["layers"][:-1], {**last, "units": len(elements)}]
    network = {**network, "layers": layers, "groups": [], "columns": []}
    return network, [*parameters[:-2], parameters[-2][:, elements], parameters[-1][elements]]


def _single(model: Model) -> str:
    return "float" if model.dtype == "float32" else "double"


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
    known: Value | None,
    inputs: Value,
    logits: Value,
    outputs: Value,
    code: Value,
) -> Value:
    """Return the score of a metric other than the calibrated one (a double)."""
    metric, activation = model.score_metric, network["layers"][-1]["activation"]
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
