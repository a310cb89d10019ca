"""A program as one SQL query: each step of the program is one common table expression."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from aefast.export.decision import OUTPUTS
from aefast.export.program import LEAKY_SLOPE, SELU_ALPHA, SELU_SCALE, ExportError, Input, Program, Step

Array = NDArray[Any]

#: Most numbers that a query may hold; databases plan longer ones for minutes.
MOST_NUMBERS = 20_000


class Dialect(NamedTuple):
    """What databases write differently."""

    #: Type of doubles.
    double: str
    #: Seconds since 1970 of a time.
    epoch: str
    #: The columns of a row that was selected as one value.
    expand: str
    #: The error function, if there is one.
    erf: str | None


DIALECTS = {
    "duckdb": Dialect("DOUBLE", "epoch({})", "UNNEST(given)", None),
    "postgres": Dialect("DOUBLE PRECISION", "EXTRACT(EPOCH FROM {})", "(given).*", "erf({})"),
}
#: Operations of the calibrated score that only ONNX and C have.
_OF_CALIBRATED = ("expected", "tails", "row_of", "surprise", "asinh")
#: Operations that `_expressions` writes itself.
_OTHERS = ("cast", "join", "larger", "smaller")
_BINARY = {"add": "+", "subtract": "-", "multiply": "*", "divide": "/"}
_UNARY = {
    "abs": "ABS({})",
    "log": "LN({})",
    "sin": "SIN({})",
    "cos": "COS({})",
    "sqrt": "SQRT({})",
    "floor": "FLOOR({})",
    "square": "{0} * {0}",
}
# Postgres raises an error where exp overflows or underflows.
_EXP = "EXP(LEAST(GREATEST({}, -700), 700))"


def query(program: Program, dialect: str, table: str, description: dict[str, str]) -> str:
    """Return a query that selects all columns of ``table`` and the outputs of the program.

    Raises
    ------
    ExportError
        If the database has no such operation, or the query would be too long.
    """
    if dialect not in DIALECTS:
        raise ValueError(f"dialect must be one of {', '.join(DIALECTS)}, got {dialect!r}")
    of = DIALECTS[dialect]
    for step in program.steps:
        _require_form(step)
    n_numbers = sum(np.size(each) for step in program.steps for each in step.constants.values())
    if n_numbers > MOST_NUMBERS:
        raise ExportError(
            f"the query would hold {n_numbers:,} numbers, more than the {MOST_NUMBERS:,} that databases plan in "
            "reasonable time: export to ONNX or C, or fit a smaller network"
        )
    reads = [f"{_input(each, of)} AS {each.value.name}" for each in program.inputs]
    stages = [("row", f"SELECT given, {', '.join(reads)} FROM {table} AS given")]
    known = {each.value.name: [each.value.name] for each in program.inputs}
    for step in program.steps:
        found = _expressions(step, [known[value.name] for value in step.inputs], of)
        if step.op in ("select", "join", "cast"):  # names of columns that are there already
            known[step.output.name] = found
            continue
        names = known[step.output.name] = [f"{step.output.name}_{i}" for i in range(len(found))]
        selected = ", ".join(f"{each} AS {name}" for each, name in zip(found, names, strict=True))
        stages.append((step.output.name, f"SELECT *, {selected} FROM aefast_{stages[-1][0]}"))
    comments = [f"-- {key}: {value}".replace("\n", " ") for key, value in description.items()]
    score, p_value, flag = (known[program.outputs[name].name][0] for name in OUTPUTS)
    results = f"{score} AS anomaly_score, {p_value} AS p_value, {flag} > 0 AS is_anomaly"
    tables = ",\n".join(f"aefast_{name} AS MATERIALIZED ({text})" for name, text in stages)
    return "\n".join([*comments, f"WITH {tables}", f"SELECT {of.expand}, {results} FROM aefast_{stages[-1][0]}", ""])


def _require_form(step: Step) -> None:
    """Raise ExportError for an operation that SQL cannot express."""
    if step.op in _OF_CALIBRATED or len(step.constants.get("hashes", ())):
        kinds = "missing='mask'" if step.op == "expected" else "columns of several kinds"
        raise ExportError(
            f"the calibrated score with {kinds} has no form in SQL: export to ONNX or C, or fit with score_metric='mse'"
        )
    if not (step.op in _BINARY or step.op in _UNARY or step.op in _WRITERS or step.op in _OTHERS):
        raise ExportError(f"SQL has no form of the operation {step.op!r}: export to ONNX or C")


def _input(source: Input, of: Dialect) -> str:
    name = '"' + source.column.replace('"', '""') + '"'
    if source.value.kind == "text":
        return f"CAST(given.{name} AS VARCHAR)"
    return f"CAST({of.epoch.format(f'given.{name}') if source.is_time else f'given.{name}'} AS {of.double})"


def _expressions(step: Step, operands: list[list[str]], of: Dialect) -> list[str]:
    """Return the elements of a step's result as SQL expressions of the elements of its operands."""
    x, constants = operands[0], step.constants
    if step.op in ("cast", "join"):
        return [each for part in operands for each in part]
    if step.op in _BINARY:
        return [f"({a} {_BINARY[step.op]} {b})" for a, b in zip(*operands, strict=True)]
    if step.op in _UNARY:
        return [_UNARY[step.op].format(each) for each in x]
    if step.op in ("larger", "smaller"):
        return [f"{'GREATEST' if step.op == 'larger' else 'LEAST'}({a}, {b})" for a, b in zip(*operands, strict=True)]
    return _WRITERS[step.op](x, constants, of)


def _number(value: Any) -> str:
    """Return a number as a double, which is not a decimal literal."""
    text = repr(float(value))
    return f"({text})" if "e" in text else f"({text}e0)"


def _activate(x: list[str], constants: dict[str, Any], of: Dialect) -> list[str]:
    name = constants["name"]
    if name == "gelu" and of.erf is None:
        raise ExportError("activation='gelu' cannot be exported: the database has no error function")
    logistic = f"(1 / (1 + {_EXP.format('-{0}')}))"
    below = f"({_EXP.format('LEAST({0}, 0)')} - 1)"
    forms = {
        "sigmoid": logistic,
        "tanh": f"(2 / (1 + {_EXP.format('-2 * {0}')}) - 1)",
        "relu": "GREATEST({0}, 0)",
        "leaky_relu": f"CASE WHEN {{0}} > 0 THEN {{0}} ELSE {LEAKY_SLOPE!r} * {{0}} END",
        "elu": f"CASE WHEN {{0}} > 0 THEN {{0}} ELSE {below} END",
        "selu": f"{_number(SELU_SCALE)} * CASE WHEN {{0}} > 0 THEN {{0}} ELSE {_number(SELU_ALPHA)} * {below} END",
        "gelu": f"0.5 * {{0}} * (1 + {(of.erf or '').format('{0} * 0.70710678118654752e0')})",
        "silu": f"{{0}} * {logistic}",
        "softplus": f"(GREATEST({{0}}, 0) + LN(1 + {_EXP.format('-ABS({0})')}))",
    }
    return [forms[name].format(each) for each in x]


def _dense(x: list[str], constants: dict[str, Any], of: Dialect) -> list[str]:
    columns = zip(constants["weights"].T, constants["biases"], strict=True)
    return [
        " + ".join([_number(bias), *(f"{_number(w)} * {each}" for w, each in zip(weights, x, strict=True))])
        for weights, bias in columns
    ]


def _softmax(x: list[str], constants: dict[str, Any], of: Dialect, *, log: bool = False) -> list[str]:
    found = []
    for begin, end in constants["groups"]:
        away = [f"{each} - GREATEST({', '.join(x[begin:end])})" for each in x[begin:end]]
        powers = [_EXP.format(each) for each in away]
        total = " + ".join(powers)
        if log:
            found += [f"({each} - LN({total}))" for each in away]
        else:
            found += [f"{power} / ({total})" for power in powers]
    return found


def _level(x: list[str], constants: dict[str, Any], of: Dialect) -> list[str]:
    if len(constants["hashes"]):
        raise ExportError(
            "SQL has no hash for the rare values of a text column: export to C, or use score_metric='mse'"
        )
    names: dict[int, list[str]] = {}
    for level, place in constants["levels"].items():
        names.setdefault(int(place), []).append("'" + level.replace("'", "''") + "'")
    missing = "NULL" if np.isnan(constants["missing"]) else _number(constants["missing"])
    cases = [f"WHEN {x[0]} IN ({', '.join(texts)}) THEN {_number(place)}" for place, texts in names.items()]
    return [
        f"CASE WHEN COALESCE({x[0]}, '') = '' THEN {missing} {' '.join(cases)} ELSE {_number(constants['unseen'])} END"
    ]


def _one_hot(x: list[str], constants: dict[str, Any], of: Dialect) -> list[str]:
    n = constants["n"]
    places = [f"{x[0]} = {place}" for place in range(n - 1)] + [f"{x[0]} >= {n - 1}"]
    return [f"CASE WHEN {x[0]} IS NULL THEN NULL WHEN {each} THEN 1e0 ELSE 0e0 END" for each in places]


def _nearest(x: list[str], constants: dict[str, Any], of: Dialect) -> list[str]:
    squares = [
        " + ".join([_number(offset), *(f"POWER({each} - {_number(c)}, 2)" for each, c in zip(x, centre, strict=True))])
        for centre, offset in zip(constants["centres"], constants["offsets"], strict=True)
    ]
    k = constants["k"]
    if k == 1:
        return [f"LEAST({', '.join(squares)})"]
    values = ", ".join(f"({each})" for each in squares)
    return [f"(SELECT AVG(v) FROM (SELECT v FROM (VALUES {values}) AS every(v) ORDER BY v LIMIT {k}) AS nearest)"]


def _look_up(x: list[str], constants: dict[str, Any], of: Dialect) -> list[str]:
    steps, answers = constants["steps"], constants["answers"]
    rows = ", ".join(f"({_number(step)}, {_number(answer)})" for step, answer in zip(steps, answers[1:], strict=True))
    found = f"(SELECT MIN(answer) FROM (VALUES {rows}) AS levels(step, answer) WHERE step < {x[0]})"
    return [f"CASE WHEN {x[0]} IS NULL THEN NULL ELSE COALESCE({found}, {_number(answers[0])}) END"]


_WRITERS: dict[str, Callable[[list[str], dict[str, Any], Dialect], list[str]]] = {
    "select": lambda x, constants, of: [x[i] for i in constants["elements"]],
    "scale": lambda x, constants, of: [
        f"({each} - {_number(a)}) / {_number(b)}"
        for each, a, b in zip(x, constants["shift"], constants["scale"], strict=True)
    ],
    "affine": lambda x, constants, of: [
        f"({each} * {_number(a)} + {_number(b)})"
        for each, a, b in zip(x, constants["factor"], constants["offset"], strict=True)
    ],
    "clip": lambda x, constants, of: [
        f"CASE WHEN {e} < {_number(constants['low'])} THEN {_number(constants['low'])} "
        f"WHEN {e} > {_number(constants['high'])} THEN {_number(constants['high'])} ELSE {e} END"
        for e in x
    ],
    "fill": lambda x, constants, of: [
        f"COALESCE({each}, {_number(value)})" for each, value in zip(x, constants["values"], strict=True)
    ],
    "is_known": lambda x, constants, of: [f"CASE WHEN {each} IS NULL THEN 0e0 ELSE 1e0 END" for each in x],
    "exp": lambda x, constants, of: [_EXP.format(each) for each in x],
    "sum": lambda x, constants, of: ["(" + " + ".join(x) + ")"],
    "largest": lambda x, constants, of: [f"GREATEST({', '.join(x)})"],
    "above": lambda x, constants, of: [f"CASE WHEN {x[0]} > {_number(constants['threshold'])} THEN 1 ELSE 0 END"],
    "activate": _activate,
    "dense": _dense,
    "softmax": _softmax,
    "log_softmax": partial(_softmax, log=True),
    "level": _level,
    "one_hot": _one_hot,
    "nearest": _nearest,
    "look_up": _look_up,
}
