"""How a C99 header writes the operations of programs, with the constants they need."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from aefast.export.c_evidence import WRITERS
from aefast.export.c_writer import Writer
from aefast.export.program import GEOMETRY, LEAKY_SLOPE, SELU_ALPHA, SELU_SCALE, Step

#: Each element of a result; a name in braces is a constant, an array or a number.
_ELEMENTWISE = {
    "add": "a[i] + b[i]",
    "subtract": "a[i] - b[i]",
    "multiply": "a[i] * b[i]",
    "divide": "a[i] / b[i]",
    "larger": "a[i] > b[i] || a[i] != a[i] ? a[i] : b[i]",
    "smaller": "a[i] < b[i] || a[i] != a[i] ? a[i] : b[i]",
    "square": "a[i] * a[i]",
    "sqrt": "sqrt(a[i])",
    "abs": "fabs(a[i])",
    "floor": "floor(a[i])",
    "asinh": "asinh(a[i])",
    "choose": "a[i] > 0 ? b[i] : c[i]",
    "exp": "exp(a[i])",
    "log": "log(a[i])",
    "sin": "sin(a[i])",
    "cos": "cos(a[i])",
    "cast": "a[i]",
    "is_known": "a[i] == a[i]",
    "select": "a[{elements}[i]]",
    "scale": "(a[i] - {shift}[i]) / {scale}[i]",
    "affine": "a[i] * {factor}[i] + {offset}[i]",
    "clip": "a[i] < {low} ? {low} : a[i] > {high} ? {high} : a[i]",
    "fill": "a[i] == a[i] ? a[i] : {values}[i]",
}
_ACTIVATIONS = {
    "sigmoid": "1 / (1 + exp(-a[i]))",
    "tanh": "tanh(a[i])",
    "relu": "a[i] > 0 ? a[i] : 0",
    "leaky_relu": f"a[i] > 0 ? a[i] : {LEAKY_SLOPE!r} * a[i]",
    "elu": "a[i] > 0 ? a[i] : expm1(a[i])",
    "selu": f"{SELU_SCALE!r} * (a[i] > 0 ? a[i] : {SELU_ALPHA!r} * expm1(a[i]))",
    "gelu": "0.5 * a[i] * (1 + erf(a[i] * 0.70710678118654752))",
    "silu": "a[i] / (1 + exp(-a[i]))",
    "softplus": "(a[i] > 0 ? a[i] : 0) + log1p(exp(-fabs(a[i])))",
}


def write_step(w: Writer, step: Step) -> None:
    """Add the statements of a step."""
    place = w.places[step.output.name] = w.scratch(step.output.width)
    operands = [] if step.op == "join" else [w.places[value.name] for value in step.inputs]
    declared = [f"const double *{name} = {at};" for name, at in zip("abcd", operands, strict=False)]
    if step.op == "level":
        declared = [f"const char *a = {operands[0]};"]
    element = _ACTIVATIONS[step.constants["name"]] if step.op == "activate" else _ELEMENTWISE.get(step.op)
    if element is None:
        code = _WRITERS[step.op](w, step)
    else:
        constants = {name: _constant(w, value) for name, value in step.constants.items() if f"{{{name}}}" in element}
        code = f"for (int i = 0; i < {step.output.width}; ++i) to[i] = {element.format(**constants)};"
    w.body.append(f"  {{ /* {step.op} */\n    double *to = {place};")
    w.body += [f"    {line}" for line in [*declared, *code.split("\n")]]
    w.body.append("  }")


def _constant(w: Writer, value: Any) -> str:
    """Return an array by its name, and a number as it is."""
    if np.ndim(value) == 0:
        return repr(float(value))
    return w.constant(value, "int" if np.asarray(value).dtype.kind == "i" else "double")


def _join(w: Writer, step: Step) -> str:
    lines, begin = [], 0
    for part in step.inputs:
        lines.append(f"memcpy(to + {begin}, {w.places[part.name]}, {part.width} * sizeof(double));")
        begin += part.width
    return "\n".join(lines)


def _dense(w: Writer, step: Step) -> str:
    weights, biases = w.constant(step.constants["weights"]), w.constant(step.constants["biases"])
    n_in, n_out = step.inputs[0].width, step.output.width
    return (
        f"for (int o = 0; o < {n_out}; ++o) to[o] = {biases}[o];\n"
        f"for (int i = 0; i < {n_in}; ++i)\n"
        f"  for (int o = 0; o < {n_out}; ++o) to[o] += a[i] * {weights}[i * {n_out} + o];"
    )


def _convolution(w: Writer, step: Step, *, is_transposed: bool = False) -> str:
    """Add up over the pixels (y, x) of the smaller image and the taps (r, s) of the kernel."""
    kernel, image, factor, before, shape = (step.constants[name] for name in GEOMETRY)
    size, c_in, c_out, name = len(kernel), image[2], shape[2], w.constant(kernel)
    small, large, tap = (image, shape, f"o * {c_in} + i") if is_transposed else (shape, image, f"i * {c_out} + o")
    of_small, of_large = f"y * {small[1]} + x", f"v * {large[1]} + u"
    to, at = (of_large, of_small) if is_transposed else (of_small, of_large)
    return f"""memset(to, 0, {step.output.width} * sizeof(double));
for (int y = 0; y < {small[0]}; ++y) for (int x = 0; x < {small[1]}; ++x)
  for (int r = 0; r < {size}; ++r) for (int s = 0; s < {size}; ++s) {{
    const int v = y * {factor} - {before} + r, u = x * {factor} - {before} + s;
    if (v < 0 || v >= {large[0]} || u < 0 || u >= {large[1]}) continue;
    for (int i = 0; i < {c_in}; ++i) for (int o = 0; o < {c_out}; ++o)
      to[({to}) * {c_out} + o] += a[({at}) * {c_in} + i] * {name}[(r * {size} + s) * {c_in * c_out} + {tap}];
  }}"""


def _max_pool(w: Writer, step: Step) -> str:
    (height, width, channels), factor, shape = (step.constants[name] for name in ("image", "factor", "shape"))
    return f"""for (int y = 0; y < {shape[0]}; ++y) for (int x = 0; x < {shape[1]}; ++x)
  for (int c = 0; c < {channels}; ++c) {{
    double most = a[(y * {factor} * {width} + x * {factor}) * {channels} + c];
    for (int v = y * {factor}; v < (y + 1) * {factor} && v < {height}; ++v)
    for (int u = x * {factor}; u < (x + 1) * {factor} && u < {width}; ++u) {{
      const double each = a[(v * {width} + u) * {channels} + c];
      if (each > most || each != each) most = each;
    }}
    to[(y * {shape[1]} + x) * {channels} + c] = most;
  }}"""


def _upsample(w: Writer, step: Step) -> str:
    (_, width, channels), factor, shape = (step.constants[name] for name in ("image", "factor", "shape"))
    return f"""for (int y = 0; y < {shape[0]}; ++y) for (int x = 0; x < {shape[1]}; ++x)
  for (int c = 0; c < {channels}; ++c)
    to[(y * {shape[1]} + x) * {channels} + c] = a[(y / {factor} * {width} + x / {factor}) * {channels} + c];"""


def _softmax(w: Writer, step: Step) -> str:
    value = "a[i] - most - log(total)" if step.op == "log_softmax" else "exp(a[i] - most) / total"
    lines = []
    for begin, end in step.constants["groups"]:
        over = f"for (int i = {begin}; i < {end}; ++i)"
        lines.append(
            f"{{ double most = a[{begin}], total = 0;\n  {over} if (a[i] > most) most = a[i];\n"
            f"  {over} total += exp(a[i] - most);\n  {over} to[i] = {value}; }}"
        )
    return "\n".join(lines)


def _top_k(w: Writer, step: Step) -> str:
    n = step.output.width
    return f"""for (int i = 0; i < {n}; ++i) {{
  int n_before = 0; /* elements that are kept rather than this one */
  for (int j = 0; j < {n}; ++j) n_before += a[j] > a[i] || (a[j] == a[i] && j < i);
  to[i] = n_before < {step.constants["k"]} ? a[i] : 0;
}}"""


def _nearest(w: Writer, step: Step) -> str:
    centres, k = step.constants["centres"], step.constants["k"]
    name, offsets = w.constant(centres), w.constant(step.constants["offsets"])
    return f"""double least[{k}];
for (int j = 0; j < {k}; ++j) least[j] = INFINITY;
for (int c = 0; c < {len(centres)}; ++c) {{
  double square = {offsets}[c];
  for (int i = 0; i < {centres.shape[1]}; ++i) {{
    const double away = a[i] - {name}[c * {centres.shape[1]} + i];
    square += away * away;
  }}
  for (int j = 0; j < {k}; ++j) if (square < least[j]) {{
    const double next = least[j]; least[j] = square; square = next;
  }}
}}
to[0] = 0;
for (int j = 0; j < {k}; ++j) to[0] += least[j] / {k};"""


def _look_up(w: Writer, step: Step) -> str:
    steps, answers = w.constant(step.constants["steps"]), w.constant(step.constants["answers"])
    return f"""int low = 0, high = {len(step.constants["steps"])};
while (low < high) {{
  const int middle = (low + high) / 2;
  if ({steps}[middle] < *a) low = middle + 1; else high = middle;
}}
to[0] = *a == *a ? {answers}[low] : *a;"""


def _above(w: Writer, step: Step) -> str:
    threshold = step.constants["threshold"]
    return f"to[0] = *a > {'INFINITY' if np.isinf(threshold) else repr(float(threshold))};"


def _sum(w: Writer, step: Step) -> str:
    return f"to[0] = 0;\nfor (int i = 0; i < {step.inputs[0].width}; ++i) to[0] += a[i];"


def _largest(w: Writer, step: Step) -> str:
    return (
        f"to[0] = a[0];\nfor (int i = 1; i < {step.inputs[0].width}; ++i) "
        "if (a[i] > to[0] || a[i] != a[i]) to[0] = a[i];"
    )


_WRITERS: dict[str, Callable[[Writer, Step], str]] = {
    **WRITERS,
    "join": _join,
    "dense": _dense,
    "convolution": _convolution,
    "transposed": partial(_convolution, is_transposed=True),
    "max_pool": _max_pool,
    "upsample": _upsample,
    "softmax": _softmax,
    "log_softmax": _softmax,
    "top_k": _top_k,
    "nearest": _nearest,
    "look_up": _look_up,
    "above": _above,
    "sum": _sum,
    "largest": _largest,
}
