"""A decision as a short program of vector operations, which each export format writes in its own language.

A `Program` takes one row. Its values are vectors of a fixed width; "double" values are computed in double precision,
"float" values in single precision, "text" values are strings. `evaluate` runs a program with NumPy and defines what
each operation means.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import erf, sqrt
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from aefast.columns.column import hash_of
from aefast.model.gaps import conditional_means
from aefast.model.tail import Tail

Array = NDArray[Any]

LEAKY_SLOPE = 0.01
SELU_ALPHA, SELU_SCALE = 1.6732632423543772, 1.0507009873554805


#: The constants of a convolution and of its transpose.
GEOMETRY = ("kernel", "image", "factor", "before", "shape")


class ExportError(ValueError):
    """Part of a model cannot be written in the format asked for; the message names it and says what to do instead.

    See Also
    --------
    aefast.export.c : The format that takes everything.

    Examples
    --------
    >>> import numpy as np, aefast, aefast.export
    >>> X = np.random.default_rng(0).normal(size=(300, 4))
    >>> model = aefast.SparseAutoencoder((8,), sparsity="topk", k=2, max_epochs=2, random_state=0).fit(X)
    >>> try:
    ...     aefast.export.sql(model)
    ... except aefast.export.ExportError as error:
    ...     print("SQL" in str(error))
    True
    """


class Value(NamedTuple):
    """The result of a step: its name, its number of elements, and "double", "float" or "text"."""

    name: str
    width: int
    kind: str = "float"


class Step(NamedTuple):
    """One operation. ``constants`` are arrays, numbers and words that belong to it."""

    op: str
    inputs: tuple[Value, ...]
    output: Value
    constants: dict[str, Any]


class Input(NamedTuple):
    """A column of the table that the program reads; times are read as seconds since 1970 on the clock of a zone."""

    value: Value
    column: str
    is_time: bool = False
    zone: str | None = None

    @property
    def unit(self) -> str:
        """What the numbers of a column of times are; empty for other columns."""
        return (f"seconds since 1970 on the clock of {self.zone or 'the table'}") if self.is_time else ""


@dataclass
class Program:
    """Steps in order, with the columns they read and the values they return by name."""

    inputs: list[Input] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    outputs: dict[str, Value] = field(default_factory=dict)

    def read(self, column: str, kind: str, *, is_time: bool = False, zone: str | None = None) -> Value:
        """Add an input column."""
        value = Value(f"column_{len(self.inputs)}", 1, kind)
        self.inputs.append(Input(value, column, is_time, zone))
        return value

    def add(
        self, op: str, *inputs: Value, width: int | None = None, kind: str | None = None, **constants: Any
    ) -> Value:
        """Add a step; width and kind are those of the first input unless given."""
        first = inputs[0]
        name = f"{op}_{len(self.steps)}"
        output = Value(name, first.width if width is None else width, first.kind if kind is None else kind)
        self.steps.append(Step(op, inputs, output, constants))
        return output

    # Short forms of operations that are used often.

    def cast(self, x: Value, kind: str) -> Value:
        """Convert to "float" or "double"."""
        return x if x.kind == kind else self.add("cast", x, kind=kind)

    def clip(self, x: Value, low: float, high: float) -> Value:
        """Limit to [low, high]."""
        return self.add("clip", x, low=low, high=high)

    def affine(self, x: Value, factor: Any, offset: Any = 0.0) -> Value:
        """Return x * factor + offset, element by element."""
        factor, offset = (np.broadcast_to(np.asarray(each, dtype=np.float64), (x.width,)) for each in (factor, offset))
        return self.add("affine", x, factor=factor, offset=offset)

    def modulo(self, x: Value, period: float) -> Value:
        """Return what is left of numbers after whole periods."""
        n_periods = self.add("floor", self.add("scale", x, shift=np.zeros(x.width), scale=np.full(x.width, period)))
        return self.add("subtract", x, self.affine(n_periods, period))

    def row_of(self, x: Value, table: Array) -> Value:
        """Return the row of a table whose number x is; the last one for NaN and numbers below 0."""
        return self.add("row_of", x, width=table.shape[1], table=np.asarray(table, dtype=np.float64))

    def tails(self, x: Value, tails: Sequence[Tail]) -> Value:
        """Return the evidence of each element by its own tail."""
        n = max(len(tail.knots) for tail in tails)
        knots, nats = (
            np.array([np.pad(getattr(tail, name), (0, n - len(tail.knots)), mode="edge") for tail in tails])
            for name in ("knots", "nats")
        )
        return self.add("tails", x, knots=knots, nats=nats, slopes=np.array([tail.slope for tail in tails]))

    def reduce(self, how: str, x: Value) -> Value:
        """Return the sum, the largest or the least of the elements."""
        return self.add(how, x, width=1)

    def select(self, x: Value, elements: Any) -> Value:
        """Return some elements in a new order."""
        indices = np.asarray(elements, dtype=np.int64)
        return (
            x
            if np.array_equal(indices, np.arange(x.width))
            else self.add("select", x, width=len(indices), elements=indices)
        )

    def join(self, *parts: Value) -> Value:
        """Return all elements of several values as one value."""
        return parts[0] if len(parts) == 1 else self.add("join", *parts, width=sum(part.width for part in parts))


def _softmax(x: Array, groups: Any, *, log: bool = False) -> Array:
    found = np.empty_like(x)
    for begin, end in groups:
        away = x[:, begin:end] - x[:, begin:end].max(axis=1, keepdims=True)
        total = np.exp(away).sum(axis=1, keepdims=True)
        found[:, begin:end] = away - np.log(total) if log else np.exp(away) / total
    return found


def _top_k(x: Array, k: int) -> Array:
    order = np.argsort(-x, axis=1, kind="stable")[:, :k]
    found = np.zeros_like(x)
    np.put_along_axis(found, order, np.take_along_axis(x, order, axis=1), axis=1)
    return found


def _sigmoid(x: Array) -> Array:
    return np.asarray(1 / (1 + np.exp(-x)))


def _gelu(x: Array) -> Array:
    return np.asarray(x * np.vectorize(lambda z: 0.5 * (1 + erf(z / sqrt(2))), otypes=[x.dtype])(x))


#: The value of each activation (Hendrycks and Gimpel 2016 for gelu and silu, Klambauer et al. 2017 for selu).
ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "identity": lambda x: x,
    "sigmoid": _sigmoid,
    "tanh": np.tanh,
    "relu": lambda x: np.maximum(x, 0),
    "leaky_relu": lambda x: np.where(x > 0, x, LEAKY_SLOPE * x),
    "elu": lambda x: np.where(x > 0, x, np.expm1(np.minimum(x, 0))),
    "selu": lambda x: SELU_SCALE * np.where(x > 0, x, SELU_ALPHA * np.expm1(np.minimum(x, 0))),
    "gelu": _gelu,
    "silu": lambda x: x * _sigmoid(x),
    "softplus": lambda x: np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x))),
}


def _nearest(x: Array, centres: Array, offsets: Array, k: int) -> Array:
    squares = ((x[:, None, :] - centres) ** 2).sum(axis=2) + offsets
    return np.asarray(np.sort(squares, axis=1)[:, :k].mean(axis=1, keepdims=True))


def _convolution(x: Array, kernel: Array, image: Any, factor: int, before: int, shape: Any) -> Array:
    """Sum over the taps of a kernel (height, width, channels in, channels out) whose stride is the factor."""
    height, width, channels = shape
    pixels = x.reshape(len(x), *image)
    size = len(kernel)
    padded = np.zeros((len(x), height * factor + size, width * factor + size, image[2]), x.dtype)
    padded[:, before : before + image[0], before : before + image[1]] = pixels[
        :, : padded.shape[1] - before, : padded.shape[2] - before
    ]
    found = np.zeros((len(x), height, width, channels), x.dtype)
    for row, column in np.ndindex(size, size):
        rows = slice(row, row + height * factor, factor)
        found += padded[:, rows, column : column + width * factor : factor] @ kernel[row, column]
    return found.reshape(len(x), -1)


def _transposed(x: Array, kernel: Array, image: Any, factor: int, before: int, shape: Any) -> Array:
    """Add each pixel times a kernel (height, width, channels out, channels in) where the pixel was taken from."""
    height, width, channels = shape
    size = len(kernel)
    pixels = x.reshape(len(x), *image)
    whole = np.zeros((len(x), image[0] * factor + size, image[1] * factor + size, channels), x.dtype)
    for row, column in np.ndindex(size, size):
        rows = slice(row, row + image[0] * factor, factor)
        whole[:, rows, column : column + image[1] * factor : factor] += pixels @ kernel[row, column].T
    return whole[:, before : before + height, before : before + width].reshape(len(x), -1)


def _max_pool(x: Array, image: Any, factor: int, shape: Any) -> Array:
    found = x.reshape(len(x), *image)
    for axis, n in ((1, shape[0]), (2, shape[1])):
        found = np.maximum.reduceat(found, np.arange(n) * factor, axis=axis)
    return found.reshape(len(x), -1)


def _upsample(x: Array, image: Any, factor: int, shape: Any) -> Array:
    pixels = x.reshape(len(x), *image)
    whole = pixels.repeat(factor, axis=1).repeat(factor, axis=2)
    return whole[:, : shape[0], : shape[1]].reshape(len(x), -1)


def _level(x: Array, levels: dict[str, int], missing: float, unseen: int, hashes: Array, places: Array) -> Array:
    """Return the number of each text: of a level by its name, of a rare value by its hash, or of one never seen."""
    rare = dict(zip(hashes.tolist(), places.tolist(), strict=True))
    known = {name: levels.get(name, rare.get(hash_of(name), unseen)) for name in map(str, x[:, 0])} | {"": missing}
    return np.array([[known[str(name)]] for name in x[:, 0]], dtype=np.float64)


def _one_hot(x: Array, n: int) -> Array:
    """Return 1 at the number of each row, larger ones being the last; NaN at all places for NaN."""
    table = np.vstack([np.eye(n), np.full(n, np.nan)])
    return np.asarray(table[np.where(np.isnan(x), n, np.minimum(x, n - 1)).astype(np.int64)[:, 0]])


def _look_up(x: Array, steps: Array, answers: Array) -> Array:
    found = answers[np.searchsorted(steps, x)]
    return np.where(np.isnan(x), np.nan, found)


def _row_of(x: Array, table: Array) -> Array:
    """Return the row of a table whose number x is; the last one for NaN and numbers below 0."""
    return np.asarray(table[np.where(x >= 0, x, len(table) - 1).astype(np.int64)[:, 0]])


def _tails(x: Array, knots: Array, nats: Array, slopes: Array) -> Array:
    """Return the evidence of each element by its own `Tail`; unused knots repeat the last one."""
    found = np.empty_like(x)
    for j, (own, of_own) in enumerate(zip(knots, nats, strict=True)):
        own, first = np.unique(own, return_index=True)
        found[:, j] = Tail(own, of_own[first], slopes[j])(x[:, j])
    return found


def _surprise(state: Array, *parents: Array, margin: Array, is_ordered: bool, **tables: Array) -> Array:
    """Return the evidence of states given others (see `aefast.model.evidence.Target`); 0 if one or all is unknown."""
    p = np.tile(margin, (len(state), 1))
    for parent, table in zip(parents, tables.values(), strict=True):
        p *= _row_of(parent, np.vstack([table, np.ones(len(margin))]))
    own = np.take_along_axis(p, np.where(state >= 0, state, 0).astype(np.int64), axis=1)
    if is_ordered:
        up_to, from_own = np.arange(len(margin)) <= state, np.arange(len(margin)) >= state
        lower, upper = ((p * part).sum(axis=1, keepdims=True) for part in (up_to, from_own))
        below = 2 * np.minimum(lower, upper)
    else:
        below = np.minimum(p, own).sum(axis=1, keepdims=True)
    found = np.log(p.sum(axis=1, keepdims=True) / below)
    is_known = (state >= 0) & np.any([parent >= 0 for parent in parents], axis=0)
    return np.where(is_known, np.maximum(found, 0), 0)


#: What each operation computes of arrays (n, width). All but "cast" keep the precision of their first input.
OPERATIONS: dict[str, Callable[..., Array]] = {
    "join": lambda *parts: np.hstack(parts),
    "select": lambda x, elements: x[:, elements],
    "scale": lambda x, shift, scale: (x - shift) / scale,
    "affine": lambda x, factor, offset: x * factor.astype(x.dtype) + offset.astype(x.dtype),
    "clip": lambda x, low, high: np.clip(x, low, high),
    "fill": lambda x, values: np.where(np.isnan(x), values.astype(x.dtype), x),
    "is_known": lambda x: (~np.isnan(x)).astype(x.dtype),
    "dense": lambda x, weights, biases: x @ weights.astype(x.dtype) + biases.astype(x.dtype),
    "convolution": _convolution,
    "transposed": _transposed,
    "max_pool": _max_pool,
    "upsample": _upsample,
    "softmax": _softmax,
    "top_k": _top_k,
    "level": _level,
    "one_hot": _one_hot,
    "nearest": _nearest,
    "look_up": _look_up,
    "row_of": _row_of,
    "tails": _tails,
    "surprise": _surprise,
    "expected": lambda x, known, mean, precision: conditional_means(np.where(known > 0, x, np.nan), mean, precision),
    "choose": lambda known, x, otherwise: np.asarray(np.where(known > 0, x, otherwise)),
    "above": lambda x, threshold: (x > threshold).astype(x.dtype),
    "add": np.add,
    "subtract": np.subtract,
    "multiply": np.multiply,
    "divide": np.divide,
    "larger": np.maximum,
    "smaller": np.minimum,
    "sum": lambda x: x.sum(axis=1, keepdims=True),
    "largest": lambda x: x.max(axis=1, keepdims=True),
    "square": np.square,
    "sqrt": np.sqrt,
    "abs": np.abs,
    "floor": np.floor,
    "asinh": np.arcsinh,
    "exp": np.exp,
    "log": np.log,
    "sin": np.sin,
    "cos": np.cos,
    "activate": lambda x, name: ACTIVATIONS[name](x),
    "log_softmax": lambda x, groups: _softmax(x, groups, log=True),
}


def evaluate(program: Program, columns: dict[str, Array]) -> dict[str, Array]:
    """Run a program with NumPy.

    Parameters
    ----------
    columns : dict
        Arrays (n,) by column name: numbers as float64, text as objects.

    Returns
    -------
    dict
        The outputs (n,) by name.
    """
    values: dict[str, Array] = {}
    for source in program.inputs:
        values[source.value.name] = np.asarray(columns[source.column]).reshape(-1, 1)
    kinds = {"double": np.float64, "float": np.float32}
    for step in program.steps:
        inputs = [values[each.name] for each in step.inputs]
        with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
            if step.op == "cast":
                found = inputs[0].astype(kinds[step.output.kind])
            else:
                found = OPERATIONS[step.op](*inputs, **step.constants)
        values[step.output.name] = found.astype(kinds[step.output.kind], copy=False)
    return {name: values[value.name][:, 0] for name, value in program.outputs.items()}
