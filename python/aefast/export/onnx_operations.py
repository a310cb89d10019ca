"""How an ONNX graph writes the operations of programs."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from aefast.export.onnx_evidence import WRITERS
from aefast.export.onnx_nodes import DTYPES, FLOAT, INT64, TYPES, Graph
from aefast.export.program import GEOMETRY, LEAKY_SLOPE, SELU_ALPHA, SELU_SCALE, Step

if TYPE_CHECKING:
    import onnx

#: Operations that ONNX has under another name, without constants.
_SAME = {
    "add": "Add",
    "subtract": "Sub",
    "multiply": "Mul",
    "divide": "Div",
    "larger": "Max",
    "smaller": "Min",
    "abs": "Abs",
    "exp": "Exp",
    "log": "Log",
    "sin": "Sin",
    "sqrt": "Sqrt",
    "floor": "Floor",
    "cos": "Cos",
}


def write_step(graph: Graph, step: Step, *inputs: str) -> str:
    """Add the nodes of a step and return the name of its result."""
    op = _SAME.get(step.op)
    return graph.node(op, *inputs) if op else _WRITERS[step.op](graph, step, *inputs)


def _node(op: str, inputs: list[str], outputs: list[str], **attributes: Any) -> onnx.NodeProto:
    from onnx import helper

    return helper.make_node(op, inputs, outputs, **attributes)


def _dtype(step: Step) -> Any:
    return DTYPES[step.output.kind]


def _cast(graph: Graph, step: Step, x: str) -> str:
    return graph.node("Cast", x, to=TYPES[step.output.kind])


def _scale(graph: Graph, step: Step, x: str) -> str:
    shift, scale = (graph.constant(step.constants[name], _dtype(step)) for name in ("shift", "scale"))
    return graph.node("Div", graph.node("Sub", x, shift), scale)


def _affine(graph: Graph, step: Step, x: str) -> str:
    factor, offset = step.constants["factor"], step.constants["offset"]
    if (factor != 1).any():
        x = graph.node("Mul", x, graph.constant(factor, _dtype(step)))
    return graph.node("Add", x, graph.constant(offset, _dtype(step))) if (offset != 0).any() else x


def _clip(graph: Graph, step: Step, x: str) -> str:
    return graph.node("Clip", x, *(graph.constant(step.constants[end], _dtype(step)) for end in ("low", "high")))


def _fill(graph: Graph, step: Step, x: str) -> str:
    return graph.node("Where", graph.node("IsNaN", x), graph.constant(step.constants["values"], _dtype(step)), x)


def _is_known(graph: Graph, step: Step, x: str) -> str:
    return graph.node("Cast", graph.node("Not", graph.node("IsNaN", x)), to=TYPES[step.output.kind])


def _dense(graph: Graph, step: Step, x: str) -> str:
    weights, biases = (graph.constant(step.constants[name], _dtype(step)) for name in ("weights", "biases"))
    return graph.node("Gemm", x, weights, biases)


def _pixels(graph: Graph, x: str, image: Any) -> str:
    """Return rows (n, H W C) as images (n, C, H, W)."""
    return graph.node("Transpose", graph.node("Reshape", x, graph.constant([-1, *image], np.int64)), perm=[0, 3, 1, 2])


def _rows(graph: Graph, x: str, width: int) -> str:
    """Return images (n, C, H, W) as rows."""
    return graph.node("Reshape", graph.node("Transpose", x, perm=[0, 2, 3, 1]), graph.constant([-1, width], np.int64))


def _convolution(graph: Graph, step: Step, x: str, *, is_transposed: bool = False) -> str:
    kernel, image, factor, before, shape = (step.constants[name] for name in GEOMETRY)
    small, large = (image, shape) if is_transposed else (shape, image)
    after = [(n - 1) * factor + len(kernel) - before - of for n, of in zip(small[:2], large[:2], strict=True)]
    cut_off: dict[str, Any] = {"output_padding": [max(0, -end) for end in after]} if is_transposed else {}
    found = graph.node(
        "ConvTranspose" if is_transposed else "Conv",
        _single(graph, _pixels(graph, x, image)),
        graph.constant(kernel.transpose(3, 2, 0, 1), np.float32),
        strides=[factor, factor],
        pads=[before, before, *(max(0, end) for end in after)],
        **cut_off,
    )
    return _cast(graph, step, _rows(graph, found, step.output.width))


def _max_pool(graph: Graph, step: Step, x: str) -> str:
    image, factor, shape = (step.constants[name] for name in ("image", "factor", "shape"))
    beyond = [out * factor - into for out, into in zip(shape[:2], image[:2], strict=True)]
    sides = [factor, factor]
    found = graph.node("MaxPool", _pixels(graph, x, image), kernel_shape=sides, strides=sides, pads=[0, 0, *beyond])
    return _rows(graph, found, step.output.width)


def _upsample(graph: Graph, step: Step, x: str) -> str:
    (height, width, channels), factor, out = (step.constants[name] for name in ("image", "factor", "shape"))
    single = graph.node("Reshape", x, graph.constant([-1, height, 1, width, 1, channels], np.int64))
    found = graph.node("Expand", single, graph.constant([1, height, factor, width, factor, channels], np.int64))
    whole = [height * factor, width * factor]
    if list(out[:2]) != whole:
        found = graph.node("Reshape", found, graph.constant([-1, *whole, channels], np.int64))
        ranges = [graph.constant(each, np.int64) for each in ([0, 0], out[:2], [1, 2])]
        found = graph.node("Slice", found, *ranges)
    return graph.node("Reshape", found, graph.constant([-1, step.output.width], np.int64))


def _softmax(graph: Graph, step: Step, x: str, op: str = "Softmax") -> str:
    groups = step.constants["groups"]
    parts = [
        graph.node(op, graph.node("Gather", x, graph.constant(np.arange(*group)), axis=1), axis=1) for group in groups
    ]
    return graph.node("Concat", *parts, axis=1)


def _top_k(graph: Graph, step: Step, x: str) -> str:
    values, places = graph.name("values"), graph.name("places")
    k = graph.constant([step.constants["k"]], np.int64)
    graph.nodes.append(_node("TopK", [x, k], [values, places], axis=1))
    nothing = graph.node("Mul", x, graph.constant(0, _dtype(step)))
    return graph.node("ScatterElements", nothing, places, values, axis=1)


def _nearest(graph: Graph, step: Step, x: str) -> str:
    centres, offsets, k = (step.constants[name] for name in ("centres", "offsets", "k"))
    sums = graph.constant((centres**2).sum(axis=1) + offsets, _dtype(step))
    products = graph.node("Gemm", x, graph.constant(-2 * centres.T, _dtype(step)), sums)
    own = graph.node("ReduceSum", graph.node("Mul", x, x), graph.constant([1], np.int64), keepdims=1)
    squares = graph.node("Add", products, own)
    least = graph.name("least")
    inputs = [squares, graph.constant([k], np.int64)]
    graph.nodes.append(_node("TopK", inputs, [least, graph.name("which")], axis=1, largest=0))
    floor = graph.constant(offsets.min(), _dtype(step))
    return graph.node("Max", graph.node("ReduceMean", least, axes=[1], keepdims=1), floor)


def _look_up(graph: Graph, step: Step, x: str) -> str:
    above = graph.node("Cast", graph.node("Greater", x, graph.constant(step.constants["steps"])), to=INT64)
    place = graph.node("ReduceSum", above, graph.constant([1], np.int64), keepdims=1)
    found = graph.node("Gather", graph.constant(step.constants["answers"], np.float64), place)
    return graph.node("Where", graph.node("IsNaN", x), graph.constant(np.nan, np.float64), found)


def _above(graph: Graph, step: Step, x: str) -> str:
    flag = graph.node("Greater", x, graph.constant(step.constants["threshold"], np.float64))
    return graph.node("Cast", flag, to=TYPES[step.output.kind])


def _activate(graph: Graph, step: Step, x: str) -> str:
    """Return an activation. ONNX Runtime has operators for it in single precision only."""
    name = step.constants["name"]
    if step.output.kind == "double" and name in _IN_DOUBLE:
        return _IN_DOUBLE[name](graph, x)
    single = _single(graph, x)
    if name == "gelu":
        half = graph.node("Mul", single, graph.constant(np.float32(0.5**0.5)))
        normal = graph.node("Add", graph.node("Erf", half), graph.constant(np.float32(1)))
        found = graph.node("Mul", graph.node("Mul", single, graph.constant(np.float32(0.5))), normal)
    elif name == "silu":
        found = graph.node("Mul", single, graph.node("Sigmoid", single))
    else:
        op, attributes = _ACTIVATIONS[name]
        found = graph.node(op, single, **attributes)
    return _cast(graph, step, found)


def _logistic(graph: Graph, x: str) -> str:
    one = graph.constant(1.0)
    return graph.node("Div", one, graph.node("Add", one, graph.node("Exp", graph.node("Neg", x))))


def _tanh(graph: Graph, x: str) -> str:
    doubled = _logistic(graph, graph.node("Add", x, x))
    return graph.node("Sub", graph.node("Add", doubled, doubled), graph.constant(1.0))


def _softplus(graph: Graph, x: str) -> str:
    power = graph.node("Exp", graph.node("Neg", graph.node("Abs", x)))
    rest = graph.node("Log", graph.node("Add", graph.constant(1.0), power))
    return graph.node("Add", graph.node("Max", x, graph.constant(0.0)), rest)


def _two_sides(graph: Graph, x: str, slope: float, *, scale: float = 1.0, is_exponential: bool) -> str:
    """Return scale x above 0, and below it scale slope x or scale slope (exp x - 1)."""
    zero = graph.constant(0.0)
    above, below = graph.node("Max", x, zero), graph.node("Min", x, zero)
    if is_exponential:
        below = graph.node("Sub", graph.node("Exp", below), graph.constant(1.0))
    found = graph.node("Add", above, graph.node("Mul", below, graph.constant(slope)))
    return graph.node("Mul", found, graph.constant(scale))


def _single(graph: Graph, x: str) -> str:
    return graph.node("Cast", x, to=FLOAT)


_ACTIVATIONS: dict[str, tuple[str, dict[str, Any]]] = {
    "sigmoid": ("Sigmoid", {}),
    "tanh": ("Tanh", {}),
    "relu": ("Relu", {}),
    "leaky_relu": ("LeakyRelu", {"alpha": LEAKY_SLOPE}),
    "elu": ("Elu", {"alpha": 1.0}),
    "selu": ("Selu", {"alpha": SELU_ALPHA, "gamma": SELU_SCALE}),
    "softplus": ("Softplus", {}),
}
_IN_DOUBLE: dict[str, Callable[[Graph, str], str]] = {
    "sigmoid": _logistic,
    "tanh": _tanh,
    "silu": lambda graph, x: graph.node("Mul", x, _logistic(graph, x)),
    "softplus": _softplus,
    "relu": lambda graph, x: graph.node("Max", x, graph.constant(0.0)),
    "leaky_relu": lambda graph, x: _two_sides(graph, x, LEAKY_SLOPE, is_exponential=False),
    "elu": lambda graph, x: _two_sides(graph, x, 1.0, is_exponential=True),
    "selu": lambda graph, x: _two_sides(graph, x, SELU_ALPHA, scale=SELU_SCALE, is_exponential=True),
}
_WRITERS: dict[str, Callable[..., str]] = {
    **WRITERS,
    "cast": _cast,
    "join": lambda graph, step, *parts: graph.node("Concat", *parts, axis=1),
    "select": lambda graph, step, x: graph.node("Gather", x, graph.constant(step.constants["elements"]), axis=1),
    "scale": _scale,
    "affine": _affine,
    "clip": _clip,
    "fill": _fill,
    "is_known": _is_known,
    "dense": _dense,
    "convolution": _convolution,
    "transposed": partial(_convolution, is_transposed=True),
    "max_pool": _max_pool,
    "upsample": _upsample,
    "softmax": _softmax,
    "log_softmax": partial(_softmax, op="LogSoftmax"),
    "top_k": _top_k,
    "nearest": _nearest,
    "look_up": _look_up,
    "above": _above,
    "sum": lambda graph, step, x: graph.node("ReduceSum", x, graph.constant([1], np.int64), keepdims=1),
    "largest": lambda graph, step, x: graph.node("ReduceMax", x, axes=[1], keepdims=1),
    "square": lambda graph, step, x: graph.node("Mul", x, x),
    "activate": _activate,
}
