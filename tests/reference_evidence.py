"""A slow, clear oracle of the evidence of columns of several kinds, one row at a time and in double precision."""

from math import asinh, exp, inf, isnan, log

import numpy as np

from aefast.columns.column import hours_and_days
from aefast.model.evidence import OwnEvidence, contexts_of


def tail(of, x):
    """The evidence of a value of a statistic."""
    if x > of.knots[-1]:
        return of.nats[-1] + of.slope * (x - of.knots[-1])
    if x <= of.knots[0]:
        return of.nats[0] * exp(x - of.knots[0])
    return float(np.interp(x, of.knots, of.nats))


def state(row, context, edges):
    """The state of a context in a row, -1 if it is missing or was never seen."""
    _, kind, at, n = context
    if isnan(row[at]):
        return -1
    if kind == "level":
        return -1 if row[at] == n - 1 else min(int(row[at]), n - 1)
    if kind == "number":
        return sum(edge <= row[at] for edge in edges)
    return int(hours_and_days(row[None, at : at + 4])[kind == "day"][0])


def own(row, columns, evidence, masks_missing):
    """The evidence of each column's value by itself, that of a time being its hour's."""
    found, of_number, of_time, at = [], iter(evidence.margins), iter(evidence.hours), 0
    for column in columns:
        value, nats = row[at], 0.0
        if column.kind == "categorical" and not isnan(value):
            nats = OwnEvidence.of(column, masks_missing=masks_missing).of_value[int(value)]
        elif column.kind == "numeric":
            margin = next(of_number)
            if margin is not None and not isnan(value):
                z = asinh((value - margin.centre) / margin.scale)
                nats = max(0.0, max(tail(margin.above, z), tail(margin.below, -z)) - log(2))
        elif column.kind == "timestamp":
            counts = next(of_time, np.zeros(24))
            if counts.any() and not isnan(value):
                hour = int(hours_and_days(row[None, at : at + 4])[0][0])
                nats = -log((counts[counts <= counts[hour]].sum() + 0.5) / (counts.sum() + 1))
        found.append(nats)
        at += column.n_inputs
    return found


def surprise(target, states, contexts, without=-1):
    """-log of the probability of a state at most as likely, near ties in part, and all probabilities.

    Of a number it is twice the probability of one at least as far up or down.
    """
    p, n_parents = target.margin.astype(float), 0
    for parent, table in zip(target.parents, target.tables, strict=True):
        if states[parent] >= 0 and contexts[parent].column != without:
            p, n_parents = p * table[states[parent]].astype(float), n_parents + 1
    at = states[target.context]
    if at < 0 or n_parents == 0:
        return 0.0, p
    if contexts[target.context].kind == "number":
        return max(0.0, -log(2 * min(p[: at + 1].sum(), p[at:].sum()) / p.sum())), p
    return max(0.0, -log(np.minimum(p, p[at]).sum() / p.sum())), p


def pair(target, nats):
    """The evidence of a surprise."""
    return min(nats, tail(target.tail, nats)) if nats > 0 else 0.0


def judged(row, columns, evidence, joint, shares, masks_missing):
    """The score of a row, each column's part of it, and the most probable state of each column."""
    contexts = contexts_of(columns, evidence.edges)
    edges = iter(evidence.edges)
    states = [state(row, context, next(edges) if context.kind == "number" else None) for context in contexts]
    by_itself = own(row, columns, evidence, masks_missing)
    is_level = [column.kind != "numeric" for column in columns]
    parts = [
        [nats * (level == (family == 0)) for nats, level in zip(by_itself, is_level, strict=True)] for family in (0, 1)
    ]
    pairs, of_pairs, likely = [0.0], [0.0] * len(columns), [-1] * len(columns)
    for target in evidence.targets:
        nats, p = surprise(target, states, contexts)
        pairs.append(pair(target, nats))
        context = contexts[target.context]
        likely[context.column] = int(p[: len(p) - (context.kind == "level")].argmax())
        of_pairs[context.column] += pairs[-1]
        if pairs[-1] > 0:
            for parent in target.parents:
                less = pair(target, surprise(target, states, contexts, contexts[parent].column)[0])
                of_pairs[contexts[parent].column] += max(0.0, pairs[-1] - less)
    statistics = [max(parts[0]), max(parts[1]), max(pairs), joint]
    powers = []
    for family, (of, value) in enumerate(zip(evidence.tails, statistics, strict=True)):
        is_none = of is None or value is None or isnan(value) or (family < 3 and value == 0)
        nats = 0.0 if is_none else tail(of, value)
        powers.append((2 if family == 2 else 1) * (nats * min(1.0, nats / 4) ** 4 if family < 2 else nats) ** 4)
    error, total = sum(powers) ** 0.25, sum(powers) or inf
    of_columns = np.zeros(len(columns))
    for power, each in zip(powers, (*parts, of_pairs), strict=False):
        weights = np.array(each) ** 4
        if weights.sum() > 0:
            of_columns += error * power / total * weights / weights.sum()
    if shares is not None:
        of_columns += error * powers[3] / total * shares
    return error, of_columns, likely, statistics[:3]
