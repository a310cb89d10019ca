"""How an ONNX graph writes levels of text, evidence of columns of several kinds, and expected values."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from aefast.export.onnx_nodes import BOOL, DTYPES, INT64, Graph
from aefast.export.program import ExportError, Step
from aefast.tables.text import pluralise

#: Most numbers that may be missing: a graph has some nodes for each.
MOST_NUMBERS = 64


def _level(graph: Graph, step: Step, x: str) -> str:
    levels, unseen = step.constants["levels"], step.constants["unseen"]
    n_hidden = len(step.constants["hashes"])
    if n_hidden:
        raise ExportError(
            f"ONNX cannot compute the hashes by which the model knows {pluralise(n_hidden, 'rare values')} of a text "
            "column: give all training rows as values (--values DATA), or export to C"
        )
    # The texts' numbers are places of an array, whose last number is that of a missing text.
    numbers = np.array([*range(max([unseen, *levels.values()]) + 1), step.constants["missing"]])
    place = graph.node(
        "LabelEncoder",
        x,
        domain="ai.onnx.ml",
        keys_strings=[*levels, ""],
        values_int64s=[*(int(each) for each in levels.values()), len(numbers) - 1],
        default_int64=unseen,
    )
    return graph.node("Gather", graph.constant(numbers, DTYPES[step.output.kind]), place)


def _one_hot(graph: Graph, step: Step, x: str) -> str:
    n = step.constants["n"]
    least = graph.node("Min", x, graph.constant(n - 1.0))
    place = graph.node("Where", graph.node("IsNaN", x), graph.constant(float(n)), least)
    return _gathered(graph, np.vstack([np.eye(n), np.full(n, np.nan)]), place)


def _row_of(graph: Graph, step: Step, x: str) -> str:
    table = step.constants["table"]
    return _gathered(graph, table, _where_known(graph, x, len(table) - 1.0))


def _where_known(graph: Graph, x: str, otherwise: float) -> str:
    """Return x, or a number in place of NaN and of numbers below 0."""
    return graph.node("Where", _is_state(graph, x), x, graph.constant(otherwise))


def _is_state(graph: Graph, x: str) -> str:
    return graph.node("GreaterOrEqual", x, graph.constant(0.0))


def _gathered(graph: Graph, table: np.ndarray, place: str) -> str:
    """Return the rows (n, k) of a table at places (n, 1)."""
    found = graph.node("Gather", graph.constant(table), graph.node("Cast", place, to=INT64), axis=0)
    return graph.node("Reshape", found, graph.constant([-1, table.shape[1]], np.int64))


def _tails(graph: Graph, step: Step, x: str) -> str:
    """Add up the parts of all segments: that below the first knot, those between knots, and that beyond the last."""
    knots, nats, slopes = (step.constants[name] for name in ("knots", "nats", "slopes"))
    first, last, zero = (graph.constant(each) for each in (knots[:, 0], knots[:, -1], 0.0))
    below = graph.node("Exp", graph.node("Min", graph.node("Sub", x, first), zero))
    beyond = graph.node("Max", graph.node("Sub", x, last), zero)
    found = graph.node(
        "Add", graph.node("Mul", below, graph.constant(nats[:, 0])), graph.node("Mul", beyond, graph.constant(slopes))
    )
    if knots.shape[1] == 1:
        return found
    widths = np.diff(knots, axis=1)
    each = graph.node("Unsqueeze", x, graph.constant([2], np.int64))
    share = graph.node("Sub", each, graph.constant(knots[:, :-1]))
    share = graph.node("Div", share, graph.constant(np.where(widths > 0, widths, 1.0)))
    share = graph.node("Clip", share, zero, graph.constant(1.0))
    parts = graph.node("Mul", share, graph.constant(np.diff(nats, axis=1)))
    return graph.node("Add", found, graph.node("ReduceSum", parts, graph.constant([2], np.int64), keepdims=0))


def _surprise(graph: Graph, step: Step, state: str, *parents: str) -> str:
    margin, one, zero = step.constants["margin"], graph.constant([1], np.int64), graph.constant(0.0)
    p, knows = graph.constant(margin[None, :]), zero
    for i, parent in enumerate(parents):
        table = np.vstack([step.constants[f"table_{i}"], np.ones(len(margin))])
        p = graph.node("Mul", p, _gathered(graph, table, _where_known(graph, parent, len(table) - 1.0)))
        knows = graph.node("Or", knows, _is_state(graph, parent)) if i else _is_state(graph, parent)
    own = _where_known(graph, state, 0.0)
    total = graph.node("ReduceSum", p, one, keepdims=1)
    if step.constants["is_ordered"]:
        numbers = graph.constant(np.arange(len(margin), dtype=np.float64)[None, :])
        either = [graph.node(op, numbers, own) for op in ("LessOrEqual", "GreaterOrEqual")]
        sides = [graph.node("ReduceSum", graph.node("Where", each, p, zero), one, keepdims=1) for each in either]
        least = graph.node("Mul", graph.node("Min", *sides), graph.constant(2.0))
    else:
        at = graph.node("Cast", own, to=INT64)
        below = graph.node("Min", p, graph.node("GatherElements", p, at, axis=1))
        least = graph.node("ReduceSum", below, one, keepdims=1)
    nats = graph.node("Max", graph.node("Log", graph.node("Div", total, least)), zero)
    return graph.node("Where", graph.node("And", _is_state(graph, state), knows), nats, zero)


def _expected(graph: Graph, step: Step, x: str, known: str) -> str:
    """Solve for the missing elements by elimination, in a matrix that is the identity for the others."""
    mean, precision = step.constants["mean"], step.constants["precision"]
    d = len(mean)
    if d > MOST_NUMBERS:
        raise ExportError(
            f"missing='mask' with {d} numbers cannot be exported to ONNX, where {MOST_NUMBERS} can be missing: export "
            "to C, or fit with score_metric='mse'"
        )
    zero, centre = graph.constant(0.0), graph.constant(mean)
    is_known = graph.node("Cast", known, to=BOOL)
    away = graph.node("Where", is_known, graph.node("Sub", x, centre), zero)
    pull = graph.node("Neg", graph.node("MatMul", away, graph.constant(precision)))
    right = graph.node("Unsqueeze", graph.node("Where", is_known, zero, pull), graph.constant([2], np.int64))
    row, column = (graph.node("Unsqueeze", is_known, graph.constant([axis], np.int64)) for axis in (2, 1))
    either = graph.node("Or", row, column)
    matrix = graph.node("Where", either, graph.constant(np.eye(d)), graph.constant(precision))
    matrix = graph.node("Concat", matrix, right, axis=2)
    for k in range(d):
        at = graph.constant([k], np.int64)
        pivot = graph.node("Gather", matrix, at, axis=1)
        pivot = graph.node("Div", pivot, graph.node("Gather", pivot, at, axis=2))
        factors = graph.node("Gather", matrix, at, axis=2)
        factors = graph.node("Sub", factors, graph.constant(np.eye(d)[:, k : k + 1]))
        matrix = graph.node("Sub", matrix, graph.node("Mul", factors, pivot))
    found = graph.node("Gather", matrix, graph.constant(d, np.int64), axis=2)
    return graph.node("Where", is_known, x, graph.node("Add", found, centre))


def _choose(graph: Graph, step: Step, known: str, x: str, otherwise: str) -> str:
    return graph.node("Where", graph.node("Cast", known, to=BOOL), x, otherwise)


def _asinh(graph: Graph, step: Step, x: str) -> str:
    """Return sign(x) (log a + log(1 + sqrt(1 + 1 / a^2))) for a = |x| above 1, which no square overflows."""
    size, one = graph.node("Abs", x), graph.constant(1.0)
    small, large = graph.node("Min", size, one), graph.node("Max", size, one)

    def root(square: str) -> str:
        return graph.node("Sqrt", graph.node("Add", one, square))

    of_small = graph.node("Log", graph.node("Add", small, root(graph.node("Mul", small, small))))
    inverse = graph.node("Div", one, large)
    of_large = graph.node("Log", graph.node("Add", one, root(graph.node("Mul", inverse, inverse))))
    of_large = graph.node("Add", graph.node("Log", large), of_large)
    found = graph.node("Where", graph.node("Greater", size, one), of_large, of_small)
    return graph.node("Mul", graph.node("Sign", x), found)


WRITERS: dict[str, Callable[..., str]] = {
    "level": _level,
    "one_hot": _one_hot,
    "row_of": _row_of,
    "tails": _tails,
    "surprise": _surprise,
    "expected": _expected,
    "choose": _choose,
    "asinh": _asinh,
}
