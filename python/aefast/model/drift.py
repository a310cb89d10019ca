"""Drift by column: whether rows differ from the training rows by more than parts of these differ from each other.

The measures of a column are the shares of missing values, of levels that were not learned and of clipped values, and
the population stability index of its histogram (Lewis 1994; Yurdakul 2018), less its expectation without drift:

    sum over bins of (p - q) log(p / q) - (B - 1) (1 / n + 1 / m)

for the shares p and q of B bins among n training rows and m other rows. To each count is added half a row, or 0.5 % of
the rows if these are more than 100: an empty bin then counts the same among 100 rows and among 100,000.

A column has drifted in a measure if all of these hold:

- The measure is above a floor: an index of 0.1, a share of 0.02 above training's (of missing values, also below).
- It is above 1.5 times the largest one that parts of the training rows had (days if a column of times spans 14 days,
  else 20 runs of consecutive rows), and by three standard deviations of it for so few rows.
- Chance is excluded at the level of 0.001 for all columns and measures together: by the chi-squared test for the
  index, by the likelihood ratio of two binomial distributions for a share.

The scores have drifted if their Kolmogorov-Smirnov distance from those of the calibration rows is above 0.1 and above
1.5 times the largest distance among parts of the training rows, plus what chance explains at the level of 0.001.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aefast.model.reference import MEASURES, ColumnCounts, Reference
from aefast.tables.text import pluralise, quote_names

Array = NDArray[Any]

#: The least difference of a share, index and distance of scores that is drift, whatever the number of rows.
FLOORS = {"missing": 0.02, "unknown": 0.02, "clipped": 0.02, "index": 0.1}
LEAST_DISTANCE = 0.1
#: Differences above this multiple of the largest one among the training rows are drift.
MARGIN = 1.5
#: The probability that any column of rows without drift exceeds what chance explains.
LEVEL = 0.001
#: Fewer rows are not compared: a few unusual rows are anomalies, not drift.
LEAST_ROWS = 30
#: With a stability index above this, hardly any value lies where those of training did.
_FAR = 4.0
# What is added to the count of each bin: rows, and the share of the rows that this is at least.
_ADDED_ROWS, _ADDED_SHARE = 0.5, 0.005
# Histograms that are compared at once.
_MOST_AT_ONCE = 1 << 14
#: Bins with a smaller expected count are added up for the test, which allows one bin with less (Cochran 1954).
_LEAST_EXPECTED = 5

_WORDS = {
    "missing": "missing",
    "unknown": "with levels that were not learned",
    "clipped": "clipped at the limit of the scaler",
}


@dataclass(frozen=True)
class ColumnDrift:
    """One column of rows that were compared with the training rows.

    Attributes
    ----------
    name : str
    missing, unknown, clipped : float
        Shares of the rows without a value, with a level that was not learned, and with a number beyond the scaler's
        limit, where it is clipped.
    index : float
        Population stability index of the column's histogram, less its expectation without drift; 0 if negative.
    training : dict
        ``missing``, ``unknown`` and ``clipped`` of the training rows; empty if the model does not know them.
    drifted : tuple of str
        The measures by which the column has drifted: some of "missing", "unknown", "clipped" and "index".
    """

    name: str
    missing: float
    unknown: float
    clipped: float
    index: float
    training: dict[str, float]
    drifted: tuple[str, ...]

    def as_plain(self) -> dict[str, Any]:
        """Return the attributes as plain data, without the name."""
        found = {measure: getattr(self, measure) for measure in MEASURES}
        return {**found, "training": dict(self.training), "drifted": list(self.drifted)}

    def __str__(self) -> str:
        parts = [
            f"{_percent(getattr(self, measure))} {_WORDS[measure]}, {_percent(self.training[measure])} in training"
            for measure in self.drifted
            if measure in _WORDS
        ]
        if self.drifted and not parts:
            parts = [f"other values, stability index {self.index:.2g}"]
        return f"{quote_names([self.name])} ({'; '.join(parts)})" if parts else quote_names([self.name])


@dataclass(frozen=True)
class Drift:
    """How rows differ from the training rows, by column. Its text is one line.

    Attributes
    ----------
    verdict : {"drift", "no drift", "too few rows", "unknown"}
        "unknown" if the model was saved by a version that did not keep what the training columns held.
    n_rows : int
        Rows that were compared.
    columns : tuple of ColumnDrift
        All columns, in the model's order.
    distance : float or None
        Kolmogorov-Smirnov distance of the scores from those of the calibration rows; None if they were not compared.
    scores : bool
        True if the scores have drifted.
    is_lower : bool
        True if more than half of the scores are below the median of the calibration rows.
    """

    verdict: str
    n_rows: int
    columns: tuple[ColumnDrift, ...]
    distance: float | None = None
    scores: bool = False
    is_lower: bool = False

    def __bool__(self) -> bool:
        """True if there is drift."""
        return self.verdict == "drift"

    @property
    def drifted(self) -> tuple[ColumnDrift, ...]:
        """The columns that have drifted, those with the largest differences first."""
        found = [column for column in self.columns if column.drifted]
        return tuple(sorted(found, key=lambda c: -max(c.clipped, c.unknown, c.missing, min(c.index, 1.0))))

    def as_plain(self, most: int = 100) -> dict[str, Any]:
        """Return plain data for JSON: at most ``most`` columns, those that have drifted first."""
        shown = [*self.drifted, *(column for column in self.columns if not column.drifted)][:most]
        return {
            "verdict": self.verdict,
            "text": str(self),
            "rows": self.n_rows,
            "drifted": [column.name for column in self.drifted],
            "columns": {column.name: column.as_plain() for column in shown},
            "score_distance": self.distance,
            "scores_drifted": self.scores,
        }

    def __str__(self) -> str:
        rows = pluralise(self.n_rows, "rows")
        if self.verdict == "unknown":
            return f"not compared: the model does not know what its training columns held; fit again{self._saturated()}"
        if self.verdict == "too few rows":
            return f"not compared: fewer than {LEAST_ROWS} rows say nothing about drift"
        if self.verdict == "no drift":
            return f"no drift in {rows}"
        found = self.drifted
        if not found:
            how = "lower, as of rows that were learned" if self.is_lower else "higher"
            return f"drift in {rows}: the scores are {how} (distance {self.distance:.2f}), no column by itself"
        more = f" and {pluralise(len(found) - 3, 'columns')} more" if len(found) > 3 else ""
        of = f"{len(found):,} of {pluralise(len(self.columns), 'columns')}"
        return f"drift in {of}: {', '.join(map(str, found[:3]))}{more}"

    def _saturated(self) -> str:
        """Name the columns of an older model with many unknown or clipped values."""
        found = [column for column in self.columns if max(column.unknown, column.clipped) > LEAST_DISTANCE]
        shares = [f"{quote_names([c.name])} ({_percent(max(c.unknown, c.clipped))})" for c in found[:3]]
        return f"; unknown or clipped values in {', '.join(shares)}" if found else ""


def beyond_range(names: Sequence[str], counts: ColumnCounts, reference: Reference | None) -> str:
    """Return why a model cannot be recalibrated on rows, because most of them are beyond what it learned; else "".

    Most rows are if a column is clipped in more than half of them, or if most columns have next to no value in the
    bins of training. A threshold among such rows would flag nothing.
    """
    shares = counts.shares()
    far = np.flatnonzero(shares[:, 2] > 0.5)
    why = "values beyond the limit of the scaler"
    if len(far) == 0 and reference is not None and counts.n_rows:
        index, _ = stability_index(reference.counts.bins, counts.bins)
        others = np.flatnonzero(index > _FAR)
        far, why = (others, "values unlike all of training") if 2 * len(others) > len(index) else (far, why)
    if len(far) == 0:
        return ""
    shown = quote_names([names[int(j)] for j in far], 3)
    return (
        f"most of these rows are beyond the range that the model learned: {shown} "
        f"{'has' if len(far) == 1 else 'have'} {why}; fit a model on rows like them"
    )


def drift_of(
    names: Sequence[str],
    counts: ColumnCounts,
    reference: Reference | None,
    distance: float | None = None,
    critical: float = 0.0,
    is_lower: bool = False,
) -> Drift:
    """Compare counts of rows with those of the training rows.

    Parameters
    ----------
    names : sequence of C str
    counts : ColumnCounts
    reference : Reference or None
        None if the model does not know it.
    distance, critical : float
        Kolmogorov-Smirnov distance of the scores from those of the calibration rows, and what chance explains of it.
    is_lower : bool
        Whether more than half of the scores are below the median of the calibration rows.
    """
    shares = counts.shares().tolist()
    if reference is None:
        plain = [ColumnDrift(name, a, b, c, 0.0, {}, ()) for name, (a, b, c) in zip(names, shares, strict=True)]
        return Drift("unknown", counts.n_rows, tuple(plain), distance)
    values, exceeds, index = measured(reference.counts, counts)
    is_enough = counts.n_rows >= LEAST_ROWS
    drifted = exceeds & (values > _limits(reference, counts.n_rows)) & is_enough
    columns = []
    for j, before in enumerate(reference.counts.shares().tolist()):
        missing, unknown_levels, clipped = shares[j]
        which = tuple(measure for measure, is_so in zip(MEASURES, drifted[j], strict=True) if is_so)
        training = dict(zip(MEASURES, before, strict=False))
        columns.append(ColumnDrift(names[j], missing, unknown_levels, clipped, float(index[j]), training, which))
    largest = max(LEAST_DISTANCE, MARGIN * reference.distance + critical)
    scores = is_enough and distance is not None and distance > largest
    verdict = "drift" if scores or drifted.any() else "no drift" if is_enough else "too few rows"
    return Drift(verdict, counts.n_rows, tuple(columns), distance, scores, is_lower)


def _limits(reference: Reference, n_rows: int) -> NDArray[np.float64]:
    """Return the least measures (C, 4) that are drift: floors, and what parts of the training rows had.

    A part of so few rows may measure three standard deviations more than it would with many rows.
    """
    limits = MARGIN * reference.worst
    n = min(max(n_rows, 1), reference.counts.n_rows)
    shares = np.clip(reference.counts.shares() + limits[:, :3], 0, 1)
    noise = np.column_stack([np.sqrt(shares * (1 - shares)), 2 * np.sqrt(limits[:, 3])]) / np.sqrt(n)
    floors = np.array([FLOORS[measure] for measure in MEASURES])
    return np.asarray(np.maximum(floors, np.where(limits > 0, limits + 3 * noise, 0)))


def measured(
    reference: ColumnCounts, counts: ColumnCounts
) -> tuple[NDArray[np.float64], NDArray[np.bool_], NDArray[np.float64]]:
    """Return the measures (C, 4) of rows, whether chance does not explain them, and the stability index (C,)."""
    level = LEVEL / (len(MEASURES) * max(len(counts.missing), 1))
    differences = counts.shares() - reference.shares()
    differences[:, 0] = np.abs(differences[:, 0])
    index, beyond = stability_index(reference.bins, counts.bins, level)
    excluded = _likelihood_ratio(reference, counts) > -np.log(level)
    return np.column_stack([differences, index]), np.column_stack([excluded, beyond]), index


def stability_index(
    before: NDArray[np.int64], after: NDArray[np.int64], level: float = LEVEL
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return the stability index (C,) of histograms (C, B), and whether a chi-squared test excludes chance.

    Bins of small counts are added up. A column without values in one of the two has an index of 0.
    """
    bins, sizes = _joined_bins(before, after)
    (a, b), (n, m) = bins, sizes
    index, n_bins, is_known = _index(bins, sizes)
    with np.errstate(divide="ignore", invalid="ignore"):
        statistic = np.where(a + b > 0, (a * np.sqrt(m / n) - b * np.sqrt(n / m)) ** 2 / (a + b), 0).sum(axis=1)
        k = np.maximum(n_bins - 1, 1)
        # Wilson and Hilferty's approximation of the chi-squared distribution (1931).
        z = (np.cbrt(statistic / k) - (1 - 2 / (9 * k))) / np.sqrt(2 / (9 * k))
    return index, is_known & (z > NormalDist().inv_cdf(1 - level))


def _joined_bins(before: NDArray[np.int64], after: NDArray[np.int64]) -> tuple[Array, Array]:
    """Return two histograms (2, C, B + 1), small counts of which are in the last bin, and their totals (2, C, 1)."""
    both = np.stack([before, after]).astype(np.float64)
    sizes = both.sum(axis=2, keepdims=True)
    with np.errstate(divide="ignore", invalid="ignore"):
        expected = both.sum(axis=0) * sizes.min(axis=0) / sizes.sum(axis=0)
    is_small = ~(expected >= _LEAST_EXPECTED)
    rest = np.where(is_small, expected, 0).sum(axis=1) >= 1
    n_columns, n_bins = expected.shape
    bins = np.zeros((2, n_columns, n_bins + 1))
    bins[:, :, :n_bins] = np.where(is_small, 0, both)
    # If they are few together too, they join the largest bin.
    largest = np.where(rest, n_bins, np.argmax(expected, axis=1))
    bins[:, np.arange(n_columns), largest] += np.where(is_small, both, 0).sum(axis=2)
    return bins, sizes


def _index(bins: Array, sizes: Array) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.bool_]]:
    """Return the stability index (C,) of `_joined_bins`, the numbers of bins with values, and whether it is known."""
    is_bin = bins.sum(axis=0) > 0
    n_bins = is_bin.sum(axis=1, keepdims=True)
    with np.errstate(divide="ignore", invalid="ignore"):
        p, q = _bin_shares(bins, sizes, n_bins)
        terms = np.where(is_bin, (p - q) * np.log(p / q), 0.0)
        index = terms.sum(axis=1, keepdims=True) - (n_bins - 1) * (1 / sizes).sum(axis=0)
    is_known = (sizes > 0).all(axis=0) & (n_bins > 1)
    return np.where(is_known, np.maximum(index, 0), 0.0)[:, 0], n_bins[:, 0], is_known[:, 0]


def _bin_shares(counts: Array, n_rows: Array, n_bins: Array) -> Array:
    """Return the shares (C, B) of the bins, none of which is 0."""
    added = np.maximum(_ADDED_ROWS, _ADDED_SHARE * n_rows)
    shares: Array = (counts + added) / (n_rows + added * n_bins)
    return shares


def _likelihood_ratio(first: ColumnCounts, second: ColumnCounts) -> NDArray[np.float64]:
    """Return the logarithms (C, 3) of the likelihood ratios of two different shares to a common one."""
    n, m = max(first.n_rows, 1), max(second.n_rows, 1)
    p, q = first.shares(), second.shares()
    common = (n * p + m * q) / (n + m)
    return n * _divergence(p, common) + m * _divergence(q, common)


def _divergence(p: NDArray[np.float64], q: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return Kullback and Leibler's divergence of two binomial distributions, in nats."""
    with np.errstate(divide="ignore", invalid="ignore"):
        terms = np.where(p > 0, p * np.log(p / q), 0) + np.where(p < 1, (1 - p) * np.log((1 - p) / (1 - q)), 0)
    return np.asarray(terms, dtype=np.float64)


def structural(reference: ColumnCounts, parts: Sequence[ColumnCounts]) -> NDArray[np.float64]:
    """Return the largest measures (C, 4) of parts of the training rows, less a standard deviation of chance."""
    n_columns = len(reference.missing)
    worst = np.zeros((n_columns, len(MEASURES)))
    share, n_bins = reference.shares(), np.count_nonzero(reference.bins, axis=1)
    at_once = max(1, _MOST_AT_ONCE // max(n_columns, 1))
    for first in range(0, len(parts), at_once):
        some = parts[first : first + at_once]
        n = np.array([[max(each.n_rows, 1)] for each in some])
        counts = np.array([(each.missing, each.unknown, each.clipped) for each in some])
        differences = counts.transpose(0, 2, 1) / n[:, :, None] - share
        differences[:, :, 0] = np.abs(differences[:, :, 0])
        differences -= np.sqrt(share * (1 - share) / n[:, :, None])
        before, after = np.tile(reference.bins, (len(some), 1)), np.concatenate([each.bins for each in some])
        index = _index(*_joined_bins(before, after))[0].reshape(len(some), n_columns)
        index = index - np.sqrt(2 * np.maximum(n_bins - 1, 0)) / n
        worst = np.maximum(worst, np.dstack([differences, index]).max(axis=0))
    return worst


def _percent(share: float) -> str:
    """Format a share: never 0 % or 100 % if it is not."""
    shown = f"{100 * share:.3g}"
    if 0 < share < 0.001:
        return "less than 0.1 %"
    return "more than 99.9 %" if shown == "100" and share < 1 else f"{shown} %"
