"""Fits the evidence of columns: how far out a value lies by itself, and which columns tell what it should be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from aefast.columns.column import Column
from aefast.engine import core
from aefast.model.evidence import FAMILIES, HOURS, Context, Evidence, Margin, Target, contexts_of, states_of
from aefast.model.expected_levels import ExpectedLevel
from aefast.model.tail import Tail

Array = NDArray[Any]
States = NDArray[np.int32]

#: Number of bins of a number as a context.
BINS = 16
#: Most rows that pairs of columns are counted on, that tails are fitted on, and that parents are chosen on.
COUNTED, TAIL_ROWS, CHOSEN_ON = 1 << 17, 8192, 4096
#: Most parents of a target, contexts that are tried after the first parent, and the least gain of each, in nats a row.
#: With a third parent, what training has seen of numbers fits its own rows more closely than fresh ones.
PARENTS, OF_NUMBERS, TRIED, LEAST_GAIN = 3, 2, 6, 0.01
#: Most numbers that are targets, contexts that may be parents of each, and rows that choose both.
NUMBERS, CANDIDATES, LOOKED_AT = 32, 16, 1024
#: Weights of a parent, and how many rows of the margin are added to each row of its table: as many as fit best.
WEIGHTS = (0.25, 0.5, 0.75, 1.0)
PRIORS = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0, 10000.0)
#: Share of rows without a column from which on the network knows such rows.
LEAST_MISSING = 0.01
_NO_TAIL = Tail(np.zeros(1), np.zeros(1), 1.0)


def fit_evidence(
    rows: Array, columns: Sequence[Column], *, masks_missing: bool, rng: np.random.Generator, n_threads: int
) -> Evidence:
    """Return the evidence of columns, still without the tail of the numbers' joint score.

    Parameters
    ----------
    rows : ndarray of shape (n, m)
        Encoded training rows and held-out rows, whose values ``columns`` have counted.
    columns : sequence of Column
    masks_missing : bool
    rng : Generator
    n_threads : int
    """
    rows = rows if len(rows) <= COUNTED else rows[np.sort(rng.permutation(len(rows))[:COUNTED])]
    numbers = [at for _, kind, at, _ in contexts_of(columns, _no_edges(columns)) if kind == "number"]
    values = [part[np.isfinite(part)] for part in (rows[:, at].astype(np.float64) for at in numbers)]
    edges = tuple(map(_edges, values))
    margins = tuple(Margin.of(part) if len(part) else None for part in values)
    contexts = contexts_of(columns, edges)
    states = states_of(rows, contexts, edges)
    evidence = Evidence(edges, margins, tuple(_targets(states, contexts, columns, rng)))
    evidence = replace(evidence, hours=_hours(states, contexts, columns))
    judged = rows if len(rows) <= TAIL_ROWS else rows[np.sort(rng.permutation(len(rows))[:TAIL_ROWS])]

    def engine(evidence: Evidence) -> core.Evidence:
        return evidence.for_engine(columns, masks_missing=masks_missing, n_threads=n_threads, leaves_out=True)

    surprises = engine(evidence).surprises(judged, True)
    targets = []
    for target, surprise in zip(evidence.targets, surprises.T, strict=True):
        # If a column cannot be predicted from the others, its usual values are surprises too, and no evidence.
        targets.append(target._replace(tail=Tail.of(surprise, steepest=1.0)))
    evidence = replace(evidence, targets=tuple(targets))
    largest = engine(evidence).families(judged, True)
    is_counted = any(column.kind == "categorical" for column in columns) or evidence.hours.any()
    exists = (is_counted, any(margins), bool(targets))
    tails = [Tail.of(part) if there else None for part, there in zip(largest.T, exists, strict=True)]
    return replace(evidence, tails=(*tails, *[None] * (len(FAMILIES) - len(tails))))


def expected_levels(rows: Array, columns: Sequence[Column], evidence: Evidence) -> tuple[ExpectedLevel, ...]:
    """Return expected levels for the columns of text that fewer than 1 % of the encoded rows (n, m) lack.

    The network has hardly read rows without them, and would reconstruct the numbers of such rows badly.
    """
    contexts = contexts_of(columns, evidence.edges)
    states = states_of(rows, contexts, evidence.edges)
    targets, found = {target.context: target for target in evidence.targets}, []
    for number, context in enumerate(contexts):
        if context.kind != "level" or context.n < 2 or np.isnan(rows[:, context.input]).mean() >= LEAST_MISSING:
            continue
        # The last state is that of rare values, which are no level.
        own = states[:, number]
        most = np.bincount(own[(own >= 0) & (own < context.n - 1)], minlength=context.n - 1).argmax()
        target = targets.get(number)
        if target is None:
            found.append(ExpectedLevel(context.column, -1, np.array([most])))
        else:
            likely = (target.margin * target.tables[0])[:, :-1].argmax(axis=1)
            found.append(ExpectedLevel(context.column, target.parents[0], np.append(likely, most)))
    return tuple(found)


def _no_edges(columns: Sequence[Column]) -> list[Array]:
    return [np.empty(0)] * sum(column.kind == "numeric" for column in columns)


def _edges(values: Array) -> NDArray[np.float64]:
    """Return the edges between at most 16 bins of about equally many values."""
    if len(values) == 0:
        return np.empty(0)
    edges = np.unique(np.quantile(values, np.arange(1, BINS) / BINS))
    # The least value is in the first bin.
    found: NDArray[np.float64] = edges[edges > values.min()]
    return found


def _hours(states: States, contexts: Sequence[Context], columns: Sequence[Column]) -> NDArray[np.float64]:
    """Return the rows in each hour of each column of times, 0 for those whose hours are not known."""
    found = [
        np.bincount(of_rows[of_rows >= 0] if columns[context.column].knows_day else [], minlength=context.n)
        for context, of_rows in zip(contexts, states.T, strict=True)
        if context.kind == "hour"
    ]
    return np.array(found, dtype=np.float64).reshape(-1, HOURS)


def _candidates(states: States, contexts: Sequence[Context]) -> dict[int, list[int]]:
    """Return the numbers that are targets, each with the contexts that may be its parents.

    They are those whose states explain most of the variance of its bin's number (the correlation ratio, Pearson 1905),
    less what chance explains.
    """
    numbers = [k for k, context in enumerate(contexts) if context.kind == "number" and context.n > 1]
    if not numbers or len(states) < 2:
        return {}
    bins, is_known = states[:, numbers].astype(np.float64), states[:, numbers] >= 0
    bins = np.where(is_known, bins - (bins * is_known).sum(axis=0) / np.maximum(is_known.sum(axis=0), 1), 0)
    variance, explained = np.maximum(np.square(bins).sum(axis=0), 1e-9), np.zeros((len(contexts), len(numbers)))
    for k, context in enumerate(contexts):
        order = np.argsort(states[:, k], kind="stable")
        _, first, n = np.unique(states[order, k], return_index=True, return_counts=True)
        sums = np.add.reduceat(bins[order], first, axis=0)
        explained[k] = (np.square(sums) / n[:, None]).sum(axis=0) / variance - (len(n) - 1) / (len(states) - 1)
        explained[k, [contexts[number].column == context.column for number in numbers]] = -np.inf
    most = np.sort(np.argsort(-explained.max(axis=0), kind="stable")[:NUMBERS])
    ranked = np.argsort(-explained, axis=0, kind="stable")[:CANDIDATES]
    return {numbers[j]: [k for k in ranked[:, j].tolist() if np.isfinite(explained[k, j])] for j in most}


def _targets(
    states: States, contexts: Sequence[Context], columns: Sequence[Column], rng: np.random.Generator
) -> list[Target]:
    """Return the levels, hours and numbers that other columns tell something about."""
    chosen = np.sort(rng.permutation(len(states))[:CHOSEN_ON])
    of_numbers = _candidates(states[chosen[:: 1 + (len(chosen) - 1) // LOOKED_AT]], contexts)
    found = []
    for number, context in enumerate(contexts):
        is_known = context.kind == "level" or (context.kind == "hour" and columns[context.column].knows_day)
        if not is_known and number not in of_numbers:
            continue
        margin = np.bincount(states[states[:, number] >= 0, number], minlength=context.n)
        others = [k for k, other in enumerate(contexts) if other.column != context.column]
        others = of_numbers.get(number, others)
        pairs = [pair for pair in (_pair(states, contexts, margin, number, k) for k in others) if pair is not None]
        n_most = OF_NUMBERS if context.kind == "number" else PARENTS
        parents = _choose(states[chosen], number, margin, pairs, n_most)
        if parents:
            tables, left_tables = (
                tuple(np.exp(np.float32(weight) * pair[part]) for pair, weight in parents) for part in (1, 2)
            )
            found.append(
                Target(
                    number,
                    np.exp(_log_margin(margin)),
                    tuple(pair.context for pair, _ in parents),
                    tables,
                    _NO_TAIL,
                    np.exp(_left_margin(margin)),
                    left_tables,
                )
            )
    return found


def _log_margin(counts: Array) -> NDArray[np.float32]:
    """Return the logs of the probabilities of states with these counts, half a row added to each."""
    found: NDArray[np.float32] = np.log((counts + 0.5) / (counts + 0.5).sum()).astype(np.float32)
    return found


def _left_margin(counts: Array) -> NDArray[np.float32]:
    """Return the change of `_log_margin` for the own state of a row that is left out."""
    found: NDArray[np.float32] = np.log((np.maximum(counts - 1, 0) + 0.5) / (counts + 0.5)).astype(np.float32)
    return found


class _Pair(NamedTuple):
    """A target given one context: the log of conditional probabilities over the margin, and the change of a row's own
    if it is left out."""

    context: int
    log_ratio: NDArray[np.float32]
    left_out: NDArray[np.float32]


def _pair(states: States, contexts: Sequence[Context], margin: Array, target: int, context: int) -> _Pair | None:
    """Count a pair of contexts; None if they are unrelated.

    Each row of counts gets k rows of the margin, for the k that makes the counts most probable if the rows'
    probabilities have a Dirichlet distribution around the margin (Good 1965).
    """
    from scipy.special import gammaln

    n, n_states = contexts[target].n, contexts[context].n
    is_known = (states[:, target] >= 0) & (states[:, context] >= 0)
    cells = states[is_known, context].astype(np.int64) * n + states[is_known, target]
    counts = np.bincount(cells, minlength=n * n_states).reshape(n_states, n).astype(np.float64)
    p = (margin + 0.5) / (margin + 0.5).sum()
    filled, totals = np.nonzero(counts), counts.sum(axis=1)
    of_cells, p_of_cells = counts[filled], p[filled[1]]
    likelihoods = [
        (gammaln(k) - gammaln(totals + k)).sum() + (gammaln(of_cells + k * p_of_cells) - gammaln(k * p_of_cells)).sum()
        for k in PRIORS
    ]
    best = int(np.argmax(likelihoods))
    if best == len(PRIORS) - 1:
        return None
    k = PRIORS[best]
    log_ratio = np.log((counts + k * p) / ((totals + k)[:, None] * p))
    # Without a row, its own state is rarer in the margin as well.
    less = p * np.exp(_left_margin(margin).astype(np.float64))
    left_out = np.log((np.maximum(counts - 1, 0) + k * less) / (counts + k * p) * (p / less))
    return _Pair(context, log_ratio.astype(np.float32), left_out.astype(np.float32))


def _choose(
    states: States, target: int, margin: Array, pairs: Sequence[_Pair], n_most: int
) -> list[tuple[_Pair, float]]:
    """Choose parents and their weights one after the other, by the likelihood of rows that are left out.

    The probabilities given several contexts are pooled log-linearly (Genest and Zidek 1986).
    """
    states = states[states[:, target] >= 0]
    if len(states) == 0 or not pairs:
        return []
    own, rows = states[:, target], np.arange(len(states))
    logits = np.broadcast_to(_log_margin(margin), (len(states), len(margin)))
    change = _left_margin(margin)[own]

    def terms(pair: _Pair) -> tuple[Array, Array]:
        at = states[:, pair.context]
        is_known, at = at >= 0, np.maximum(at, 0)
        return np.where(is_known[:, None], pair.log_ratio[at], 0), np.where(is_known, pair.left_out[at, own], 0)

    def likelihood(logits: Array, change: Array) -> float:
        p = np.exp(logits - logits.max(axis=1, keepdims=True))
        left = p[rows, own] * np.exp(change)
        return float(np.log(left / (p.sum(axis=1) - p[rows, own] + left)).mean())

    best, left = likelihood(logits, change), list(pairs)
    parents: list[tuple[_Pair, float]] = []
    while left and len(parents) < n_most:
        tried = []
        for pair in left:
            of_logits, of_change = terms(pair)
            for weight in WEIGHTS if parents else (1.0,):
                w = np.float32(weight)
                tried.append((likelihood(logits + w * of_logits, change + w * of_change), weight, pair))
        tried.sort(key=lambda each: -each[0])
        score, weight, pair = tried[0]
        if score < best + LEAST_GAIN:
            break
        best, (of_logits, of_change) = score, terms(pair)
        logits, change = logits + np.float32(weight) * of_logits, change + np.float32(weight) * of_change
        left = [each for *_, each in tried if each is not pair][:TRIED] if not parents else left
        left = [each for each in left if each is not pair]
        parents.append((pair, weight))
    return parents
