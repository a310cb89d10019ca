"""How a C99 header writes levels of text, evidence of columns of several kinds, and expected values."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from aefast.export.c_writer import Writer
from aefast.export.program import Step

# Looks a text up by name, by name without zero decimals, and by its hash (CRC-32).
_LEVEL = """\
static double NAME(const char *text, int n, const char *const *names, const int *places, int n_rare,
    const uint32_t *hashes, const int *rare, double missing, double unseen) {
  size_t length = text ? strlen(text) : 0, digits = text && *text == '-', zeros;
  uint32_t hash = 0xffffffffu;
  if (length == 0) return missing;
  for (int i = 0; i < n; ++i) if (!strcmp(text, names[i])) return places[i];
  while (text[digits] >= '0' && text[digits] <= '9') ++digits;
  zeros = digits + strspn(text + digits + (text[digits] == '.'), "0") + 1;
  if (digits > (*text == '-') && text[digits] == '.' && zeros == length && zeros > digits + 1) length = digits;
  for (int i = 0; i < n; ++i) if (strlen(names[i]) == length && !memcmp(text, names[i], length)) return places[i];
  for (size_t i = 0; i < length; ++i) {
    hash ^= (unsigned char)text[i];
    for (int bit = 0; bit < 8; ++bit) hash = hash & 1 ? hash >> 1 ^ 0xedb88320u : hash >> 1;
  }
  hash = ~hash;
  for (int low = 0, high = n_rare; low < high;) {
    const int middle = low + (high - low) / 2;
    if (hashes[middle] == hash) return rare[middle];
    if (hashes[middle] < hash) low = middle + 1; else high = middle;
  }
  return unseen;
}"""


def _level(w: Writer, step: Step) -> str:
    levels, hashes = step.constants["levels"], step.constants["hashes"]
    # C has no arrays without elements.
    names, places = w.constant(list(levels) or [""], "text"), w.constant(list(levels.values()) or [0], "int")
    rare = w.constant(step.constants["places"] if len(hashes) else [0], "int")
    known = w.constant(hashes if len(hashes) else [0], "uint32_t")
    missing, unseen = step.constants["missing"], step.constants["unseen"]
    name, absent = w.function("level", _LEVEL), "NAN" if np.isnan(missing) else repr(float(missing))
    return f"to[0] = {name}(a, {len(levels)}, {names}, {places}, {len(hashes)}, {known}, {rare}, {absent}, {unseen});"


def _one_hot(w: Writer, step: Step) -> str:
    n = step.constants["n"]
    return f"for (int i = 0; i < {n}; ++i) to[i] = *a == *a ? i == (*a < {n - 1} ? (int)*a : {n - 1}) : NAN;"


def _row_of(w: Writer, step: Step) -> str:
    table, n = step.constants["table"], step.output.width
    at = f"(*a >= 0 ? (int)*a : {len(table) - 1})"
    return f"for (int i = 0; i < {n}; ++i) to[i] = {w.constant(table)}[{at} * {n} + i];"


def _tails(w: Writer, step: Step) -> str:
    knots, nats, slopes = (w.constant(step.constants[name]) for name in ("knots", "nats", "slopes"))
    last = step.constants["knots"].shape[1] - 1
    return f"""for (int i = 0; i < {step.output.width}; ++i) {{
  const double x = a[i];
  const int first = i * {last + 1}, last = first + {last};
  int k = first;
  while (k < last && {knots}[k] < x) ++k;
  if (x > {knots}[last]) to[i] = {nats}[last] + {slopes}[i] * (x - {knots}[last]);
  else if (k == first) to[i] = {nats}[first] * exp(x - {knots}[first]);
  else to[i] = {nats}[k - 1]
      + (x - {knots}[k - 1]) / ((double){knots}[k] - {knots}[k - 1]) * ({nats}[k] - {nats}[k - 1]);
}}"""


def _surprise(w: Writer, step: Step) -> str:
    n, names, margin = (
        len(step.constants["margin"]),
        "bcd"[: len(step.inputs) - 1],
        w.constant(step.constants["margin"]),
    )
    tables = [w.constant(step.constants[f"table_{i}"]) for i in range(len(names))]
    p = w.scratch(n)
    lines = [
        f"double *p = {p}, total = 0, below = 0;",
        f"for (int i = 0; i < {n}; ++i) p[i] = {margin}[i];",
        *(
            f"if (*{name} >= 0) for (int i = 0; i < {n}; ++i) p[i] *= {table}[(int)*{name} * {n} + i];"
            for name, table in zip(names, tables, strict=True)
        ),
        "to[0] = 0;",
        f"if (*a >= 0 && ({' || '.join(f'*{name} >= 0' for name in names)})) {{",
        "  const double own = p[(int)*a];",
        *_below(n, step.constants["is_ordered"]),
        "  if (total > below) to[0] = log(total / below);",
        "}",
    ]
    return "\n".join(lines)


def _below(n: int, is_ordered: bool) -> list[str]:
    """Add up the probabilities of all states and of those that are at most as likely, or of the shorter side."""
    if not is_ordered:
        return [f"  for (int i = 0; i < {n}; ++i) total += p[i], below += p[i] < own ? p[i] : own;"]
    return [
        "  double lower = own, upper = own;",
        "  for (int i = 0; i < (int)*a; ++i) lower += p[i];",
        f"  for (int i = (int)*a + 1; i < {n}; ++i) upper += p[i];",
        "  total = lower + upper - own, below = 2 * (lower < upper ? lower : upper);",
    ]


def _expected(w: Writer, step: Step) -> str:
    """Solve for the missing elements by a Cholesky decomposition of their part of the precision."""
    m = step.output.width
    mean, precision = w.constant(step.constants["mean"]), w.constant(step.constants["precision"])
    return f"""double *l = {w.scratch(m * m)}, *y = {w.scratch(m)};
int missing[{m}], n = 0;
for (int i = 0; i < {m}; ++i) {{
  to[i] = b[i] > 0 ? a[i] - {mean}[i] : 0;
  if (!(b[i] > 0)) missing[n++] = i;
}}
for (int i = 0; i < n; ++i) {{
  y[i] = 0;
  for (int j = 0; j < {m}; ++j) y[i] -= {precision}[missing[i] * {m} + j] * to[j];
  for (int j = 0; j <= i; ++j) {{
    double sum = {precision}[missing[i] * {m} + missing[j]];
    for (int k = 0; k < j; ++k) sum -= l[i * n + k] * l[j * n + k];
    l[i * n + j] = j < i ? sum / l[j * n + j] : sqrt(sum);
  }}
  for (int j = 0; j < i; ++j) y[i] -= l[i * n + j] * y[j];
  y[i] /= l[i * n + i];
}}
for (int i = n - 1; i >= 0; --i) {{
  for (int j = i + 1; j < n; ++j) y[i] -= l[j * n + i] * y[j];
  y[i] /= l[i * n + i];
  to[missing[i]] = y[i];
}}
for (int i = 0; i < {m}; ++i) to[i] = b[i] > 0 ? a[i] : to[i] + {mean}[i];"""


WRITERS: dict[str, Callable[[Writer, Step], str]] = {
    "level": _level,
    "one_hot": _one_hot,
    "row_of": _row_of,
    "tails": _tails,
    "surprise": _surprise,
    "expected": _expected,
}
