"""The calibrated score in a program: distances of the numbers, gaps, and the evidence of columns of several kinds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aefast.export.columns import ReadColumn
from aefast.export.program import Program, Value
from aefast.model.distances import Distances
from aefast.model.evidence import Evidence, contexts_of, rarities
from aefast.model.gaps import ROUNDS, Gaps
from aefast.model.joined import GAP_ROUNDS
from aefast.model.model import Model
from aefast.model.scaling import clip_limit
from aefast.model.weekdays import LEAST_SHARE

Array = NDArray[Any]
#: Returns outputs and code, as doubles, from inputs in the scaled space.
Network = Callable[[Value], tuple[Value, Value]]

# Limits of the engine's calibrated score (`cpp/aefast/score/distances.cpp`): the least distance of which a logarithm is
# taken, the farthest that a value lies beyond its range, and the least J and P as shares of D and of the row itself.
_LEAST_DISTANCE, _LEAST_BEYOND, _FARTHEST = 1e-12, 1e-30, 1e30
_ROUNDING_OF_NEAR, _ROUNDING_OF_LOCAL = 1e-5, 1e-6
# Evidence of a value by itself fades out below this many nats, and that of pairs counts twice
# (`cpp/aefast/score/evidence.cpp`).
_FULL, _OF_FAMILY = 4.0, np.array([1.0, 1.0, 2.0, 1.0])
_HIGHEST = 1e300


def calibrated_score(
    program: Program, model: Model, columns: Sequence[ReadColumn], elements: Value, network: Network
) -> Value:
    """Return the calibrated score (a double) from the columns, and from the elements that the network reads."""
    known = program.add("is_known", elements)
    joint = None
    if model.distances is not None:
        joint = _score_of_numbers(program, model, model.distances, elements, known, network)
    if model.evidence is None:
        assert joint is not None
        score = joint
    else:
        some = known
        if model.distances is not None:
            some = program.reduce("sum", program.select(known, model.distances.elements))
        score = _joined(program, model.evidence, columns, joint, program.clip(some, 0.0, 1.0))
        score = _shifted(program, model.evidence, columns, score)
    if model.missing != "error":
        return score
    n_known = program.reduce("sum", known)
    is_whole = program.clip(program.affine(n_known, 1.0, 1.0 - known.width), 0.0, 1.0)
    return program.add("divide", program.add("multiply", score, is_whole), is_whole)


def expected_levels(program: Program, model: Model, columns: Sequence[ReadColumn]) -> dict[int, Value]:
    """Return the number of the level that the network reads if a column is missing, by the column's place."""
    if model.evidence is None or model.missing != "mask":
        return {}
    states = _states(program, model.evidence, columns, [each.context for each in model.evidence.expected])
    unknown = program.affine(columns[0].value, 0.0, -1.0)
    return {
        each.column: program.row_of(states.get(each.context, unknown), each.levels[:, None].astype(np.float64))
        for each in model.evidence.expected
    }


def _states(
    program: Program, evidence: Evidence, columns: Sequence[ReadColumn], numbers: Sequence[int]
) -> dict[int, Value]:
    """Return the states of some contexts, by their numbers; those below 0 are none."""
    of_number = iter(evidence.edges)
    edges = [next(of_number) if each.column.kind == "numeric" else np.empty(0) for each in columns]
    contexts = contexts_of([each.column for each in columns], evidence.edges)
    places = ((number, contexts[number].column) for number in sorted(set(numbers)) if number >= 0)
    return {number: columns[at].state(contexts[number], edges[at]) for number, at in places}


def _score_of_numbers(
    program: Program, model: Model, distances: Distances, elements: Value, known: Value, network: Network
) -> Value:
    """Return the score of the numbers; with gaps, on the scale of rows without any."""
    scaling, at, gaps = model.scaling, distances.elements, model.gaps
    shift, scale, limit = scaling.shift, scaling.scale, clip_limit(scaling.kind)

    def scaled(x: Value) -> Value:
        return program.clip(program.add("scale", x, shift=shift, scale=scale), -limit, limit)

    filled = elements
    if model.missing != "error":
        filled = program.add("fill", elements, values=scaling.means if model.missing == "mean" else shift)
    known = program.select(known, at)
    numbers = program.select(filled, at)
    if gaps is not None:
        y = program.select(scaled(filled), at)
        expected = program.add("expected", y, known, mean=gaps.mean, precision=gaps.precision)

        def with_expected(expected: Value) -> tuple[Value, Value]:
            """Return the elements, and those of them that are scored, with expected values."""
            low, high = (program.affine(known, 0.0, each) for each in distances.limits)
            of_gaps = program.add("larger", program.affine(expected, scale[at], shift[at]), low)
            of_gaps = program.add("smaller", of_gaps, high)
            numbers = program.add("choose", known, program.select(filled, at), of_gaps)
            places = len(at) + np.arange(filled.width)
            places[at] = np.arange(len(at))
            return program.select(program.join(numbers, filled), places), numbers

        for _ in range(GAP_ROUNDS if model.evidence is not None else ROUNDS):
            outputs, _ = network(scaled(with_expected(expected)[0]))
            expected = program.add("choose", known, y, outputs)
        filled, numbers = with_expected(expected)
    inputs = scaled(filled)
    outputs, code = network(inputs)
    inputs = program.select(inputs, at)
    if gaps is None and model.missing == "mask":
        # Wide tables: a gap is 0 in the scaled space, and has no residual.
        outputs = program.add("choose", known, outputs, inputs)
        middle = program.affine(known, 0.0, (distances.low + distances.high) / 2)
        numbers = program.add("choose", known, numbers, middle)
    score = _distance_score(program, distances, numbers, inputs, outputs, code)
    return score if gaps is None else _on_scale_of_whole_rows(program, gaps, score, known)


def _on_scale_of_whole_rows(program: Program, gaps: Gaps, score: Value, known: Value) -> Value:
    """Return scores as `aefast.model.gaps.Gaps.calibrated` does."""
    centre, spread = gaps.whole
    missing = program.affine(known, -1.0, 1.0)
    counts = np.arange(missing.width + 1)
    level = np.log2(np.maximum(counts, 1))
    columns = [np.interp(level, np.log2(gaps.counts), each) for each in gaps.remainders.T]
    table = np.column_stack([*columns, 1 / np.sqrt(np.maximum(counts, 1))])
    table[0, :2] = gaps.whole
    moment = program.row_of(program.reduce("sum", missing), table)
    center_of_n, spread_of_n, inverse_root = (program.select(moment, [i]) for i in range(3))
    shifts, ratios = (
        program.add("dense", missing, width=1, weights=each[:, None], biases=np.zeros(1))
        for each in (gaps.shifts, gaps.ratios)
    )
    away = program.add("subtract", program.affine(score, 1.0, -centre), shifts)
    away = program.add("divide", away, program.add("exp", program.add("multiply", ratios, inverse_root)))
    away = program.add("subtract", program.affine(away, 1.0, centre), center_of_n)
    return program.affine(program.add("divide", away, spread_of_n), spread, centre)


def _joined(
    program: Program, evidence: Evidence, columns: Sequence[ReadColumn], joint: Value | None, has_numbers: Value
) -> Value:
    """Return the joined evidence, as `aefast::Evidence` computes it."""
    families = (
        _of_levels(program, evidence, columns),
        _of_numbers(program, evidence, columns),
        _of_pairs(program, evidence, columns),
        joint,
    )
    powers, factors = [], []
    for family, (statistic, tail, factor) in enumerate(zip(families, evidence.tails, _OF_FAMILY, strict=True)):
        if statistic is None or tail is None:
            continue
        nats = program.tails(statistic, [tail])
        counts = has_numbers if statistic is joint else program.add("above", statistic, threshold=0.0)
        nats = program.add("multiply", nats, counts)
        if family < 2:
            share = program.clip(program.affine(nats, 1 / _FULL), 0.0, 1.0)
            nats = program.add("multiply", nats, program.add("square", program.add("square", share)))
        powers.append(program.add("square", program.add("square", nats)))
        factors.append(factor)
    if not powers:
        return program.affine(has_numbers, 0.0)
    total = program.reduce("sum", program.affine(program.join(*powers), factors))
    return program.add("sqrt", program.add("sqrt", total))


def _shifted(program: Program, evidence: Evidence, columns: Sequence[ReadColumn], score: Value) -> Value:
    """Return the scores with what `aefast.model.weekdays` adds to those of a row's weekday."""
    if not len(evidence.shifts):
        return score
    times = next(each for each in columns if each.column.kind == "timestamp" and each.column.knows_week)
    shift = program.row_of(times.weekday(), np.append(evidence.shifts, 0.0)[:, None])
    return program.add("larger", program.add("add", score, shift), program.affine(score, LEAST_SHARE))


def _of_levels(program: Program, evidence: Evidence, columns: Sequence[ReadColumn]) -> Value | None:
    """Return the largest evidence of a level or an hour by itself."""
    found = [program.row_of(c.value, c.evidence[:, None]) for c in columns if c.column.kind == "categorical"]
    times = (each for each in columns if each.column.kind == "timestamp")
    for each, counts in zip(times, evidence.hours, strict=False):
        if counts.any():
            found.append(program.row_of(each.hour(), np.append(rarities(counts)[0], 0.0)[:, None]))
    return program.reduce("largest", program.join(*found)) if found else None


def _of_numbers(program: Program, evidence: Evidence, columns: Sequence[ReadColumn]) -> Value | None:
    """Return the largest evidence of a number by itself."""
    numbers = [column.value for column in columns if column.column.kind == "numeric"]
    judged = [(x, margin) for x, margin in zip(numbers, evidence.margins, strict=True) if margin is not None]
    if not judged:
        return None
    x, margins = program.join(*(x for x, _ in judged)), [margin for _, margin in judged]
    centres = np.array([margin.centre for margin in margins])
    away = program.add(
        "scale",
        program.add("fill", x, values=centres),
        shift=centres,
        scale=np.array([margin.scale for margin in margins]),
    )
    at = program.add("asinh", away)
    above = program.tails(at, [margin.above for margin in margins])
    below = program.tails(program.affine(at, -1.0), [margin.below for margin in margins])
    # Either side is one of two.
    nats = program.clip(program.affine(program.add("larger", above, below), 1.0, -np.log(2.0)), 0.0, _HIGHEST)
    return program.reduce("largest", program.add("multiply", nats, program.add("is_known", x)))


def _of_pairs(program: Program, evidence: Evidence, columns: Sequence[ReadColumn]) -> Value | None:
    """Return the largest evidence of a state given others."""
    contexts = contexts_of([each.column for each in columns], evidence.edges)
    of_targets = [at for target in evidence.targets for at in (target.context, *target.parents)]
    states, found = _states(program, evidence, columns, of_targets), []
    for target in evidence.targets:
        tables: dict[str, Any] = {f"table_{i}": table.astype(np.float64) for i, table in enumerate(target.tables)}
        given = (states[parent] for parent in target.parents)
        margin, is_ordered = target.margin.astype(np.float64), contexts[target.context].kind == "number"
        state = states[target.context]
        found.append(program.add("surprise", state, *given, margin=margin, is_ordered=is_ordered, **tables))
    if not found:
        return None
    nats = program.join(*found)
    tails = program.tails(nats, [target.tail for target in evidence.targets])
    return program.reduce("largest", program.add("smaller", nats, tails))


def _distance_score(
    program: Program, distances: Distances, numbers: Value, inputs: Value, outputs: Value, code: Value
) -> Value:
    """Return the score of numbers, as `aefast.model.distances.Distances` describes it."""
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
    below = program.affine(numbers, -1 / distances.unit, distances.low / distances.unit)
    above = program.affine(numbers, 1 / distances.unit, -distances.high / distances.unit)
    beyond = program.clip(program.reduce("largest", program.join(below, above)), 0.0, _FARTHEST)
    doubled = program.clip(program.affine(beyond, 2.0), _LEAST_BEYOND, 2 * _FARTHEST)
    guard = program.affine(program.add("log", doubled), float(distances.slope[0]), float(distances.top[0]))
    return program.add("add", program.add("larger", score, guard), program.add("log", program.affine(beyond, 1.0, 1.0)))
