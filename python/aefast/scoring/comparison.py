"""Two models side by side: whether they rank and flag the same rows, and give the same reasons."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aefast.model.model import Model
from aefast.scoring.models import columns_for, model_of
from aefast.tables.collect import collected
from aefast.tables.groups import take

Array = NDArray[Any]


@dataclass(frozen=True)
class Comparison:
    """What two models say of the same rows.

    Attributes
    ----------
    n_rows : int
        Number of rows.
    rank_correlation : float
        Spearman's correlation of the scores; NaN if all scores of a model are equal.
    n_first, n_second, n_both : int
        Rows above the threshold of the first model, of the second one, and of both.
    only_first, only_second : ndarray of int64
        Numbers of the rows that one model flags and the other does not, by how much they disagree: the difference of
        the rows' ranks, largest first.
    n_other_reason : int
        Rows flagged by both whose first reason differs.
    other_reason : ndarray of int64
        Their numbers, highest scores of the second model first.
    reasons : dict
        Number of rows flagged by both, by their first reasons: (that of the first model, that of the second one).
    scores : tuple of two ndarray of shape (n,)
        The scores of the first and of the second model.
    """

    n_rows: int
    rank_correlation: float
    n_first: int
    n_second: int
    n_both: int
    only_first: NDArray[np.int64]
    only_second: NDArray[np.int64]
    n_other_reason: int
    other_reason: NDArray[np.int64]
    reasons: dict[tuple[str, str], int]
    scores: tuple[Array, Array] = field(repr=False)

    def as_plain(self) -> dict[str, Any]:
        """Return the numbers as plain data for JSON, without the rows."""
        changes = sorted(((n, a, b) for (a, b), n in self.reasons.items() if a != b), key=lambda each: (-each[0], each))
        return {
            "rows": self.n_rows,
            "rank_correlation": None if np.isnan(self.rank_correlation) else self.rank_correlation,
            "flagged_by_both": self.n_both,
            "flagged_by_first_only": self.n_first - self.n_both,
            "flagged_by_second_only": self.n_second - self.n_both,
            "other_first_reason": self.n_other_reason,
            "changed_reasons": [{"first": a, "second": b, "rows": n} for n, a, b in changes[:20]],
        }


def compare(first: Any, second: Any, X: Any, X_second: Any = None) -> Comparison:
    """Compare what two models say of the same rows.

    Parameters
    ----------
    first, second : estimator, Model, bytes, str or path
        As for `Scorer`. Their columns may differ.
    X : array-like of shape (n, d), data frame or Arrow table
        Rows as the first model reads them. Columns of a table are found by their names; it may have further ones.
    X_second : array-like of shape (n, d2), data frame or Arrow table, optional
        The same rows as the second model reads them. Default: ``X``.

    Returns
    -------
    Comparison
        Correlation of the scores, and the rows that one model alone flags or that have other reasons.

    Raises
    ------
    ValueError
        If the rows do not fit a model.

    See Also
    --------
    evaluate : Compares scores with labels.
    aefast.ScoreSketch : Compares rows with the training rows.

    Examples
    --------
    >>> import numpy as np, aefast
    >>> X = np.random.default_rng(0).normal(size=(1000, 4))
    >>> models = [aefast.Autoencoder(max_epochs=2, random_state=seed).fit(X) for seed in (0, 1)]
    >>> found = aefast.compare(*models, X)
    >>> found.n_rows, found.rank_correlation > 0.5
    (1000, True)
    """
    comparer = Comparer(model_of(first), model_of(second))
    X = collected(X)
    comparer.add(X, X if X_second is None else collected(X_second))
    return comparer.result()


class Comparer:
    """Compares two models on rows that come in blocks. It keeps the scores of all rows, and reasons of flagged ones."""

    def __init__(self, first: Model, second: Model) -> None:
        self.models: tuple[Model, Model] = first, second
        self._scores: tuple[list[Array], list[Array]] = ([], [])
        self._reasons: tuple[list[Array], list[Array]] = ([], [])

    def add(self, *parts: Any) -> None:
        """Add a block of rows, as each of the models reads it."""
        parts = tuple(columns_for(model, X) for model, X in zip(self.models, parts, strict=True))
        scores = [model.errors(X).astype(np.float64) for model, X in zip(self.models, parts, strict=True)]
        if len(scores[0]) != len(scores[1]):
            raise ValueError(f"the models got {len(scores[0])} and {len(scores[1])} rows, which must be the same rows")
        both = np.flatnonzero(np.all([s > m.threshold for m, s in zip(self.models, scores, strict=True)], axis=0))
        for index, (model, X) in enumerate(zip(self.models, parts, strict=True)):
            self._scores[index].append(scores[index])
            names = np.asarray(model.column_names, dtype=object)
            found = np.argmax(model.feature_errors(rows_of(X, both)), axis=1) if len(both) else both
            self._reasons[index].append(names[found])

    def result(self) -> Comparison:
        """Return the comparison of all rows so far."""
        a, b = (np.concatenate([np.empty(0), *parts]) for parts in self._scores)
        flags = [scores > model.threshold for model, scores in zip(self.models, (a, b), strict=True)]
        ranks = _ranks(a), _ranks(b)
        gap = ranks[0] - ranks[1]
        both = np.flatnonzero(flags[0] & flags[1])
        first, second = (np.concatenate([np.empty(0, dtype=object), *parts]) for parts in self._reasons)
        others = both[first != second]
        only = [np.flatnonzero(flags[0] & ~flags[1]), np.flatnonzero(flags[1] & ~flags[0])]
        return Comparison(
            n_rows=len(a),
            rank_correlation=_correlation(*ranks),
            n_first=int(flags[0].sum()),
            n_second=int(flags[1].sum()),
            n_both=len(both),
            only_first=only[0][np.argsort(-gap[only[0]], kind="stable")],
            only_second=only[1][np.argsort(gap[only[1]], kind="stable")],
            n_other_reason=len(others),
            other_reason=others[np.argsort(-b[others], kind="stable")],
            reasons=dict(Counter(zip(first.tolist(), second.tolist(), strict=True))),
            scores=(a, b),
        )


def rows_of(X: Any, numbers: NDArray[np.int64]) -> Any:
    """Return some rows of an array, a data frame or an Arrow table."""
    return take(X if hasattr(X, "iloc") or hasattr(type(X), "column_names") else np.asarray(X), numbers)


def _ranks(values: Array) -> NDArray[np.float64]:
    """Return the ranks of values, from 0; equal values have their mean rank."""
    _, which, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    mean: NDArray[np.float64] = (ends - (counts + 1) / 2)[which]
    return mean


def _correlation(a: Array, b: Array) -> float:
    a, b = a - a.mean() if len(a) else a, b - b.mean() if len(b) else b
    scale = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / scale if scale > 0 else float("nan")
