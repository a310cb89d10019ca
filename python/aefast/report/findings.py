"""One pass over a table: its scores, its most anomalous rows, and the columns that explain them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from aefast.columns.contents import contents
from aefast.columns.times import in_microseconds
from aefast.columns.values import cells
from aefast.model.drift import Drift
from aefast.plots.drawing import on_time_axis
from aefast.scoring.labels import UNLABELLED, judgement
from aefast.scoring.scorer import Scorer
from aefast.scoring.sketch import ScoreSketch
from aefast.tables.groups import take

_PLAIN = (bool, int, float, str, type(None))


@dataclass
class Strange:
    """One of the most anomalous rows, with the values to show beside it and the reasons for its score.

    Parameters
    ----------
    row : int
        Position in the table.
    error : float
        Anomaly score.
    features : object
        The row as the scorer reads it; None for an example of a group.
    about : dict
        Values of the kept columns by name.
    label : bool, optional
        Whether the row is a known anomaly, if that is known.
    p_value : float
        P-value, in (0, 1].
    reasons : list of dict
        The columns with the largest shares of the score: ``feature``, ``value``, ``expected`` and ``share``.

    See Also
    --------
    examine : Finds the most anomalous rows.

    Examples
    --------
    >>> from aefast.report import Strange
    >>> Strange(3, 7.5, None, {"id": 10}, p_value=0.001).as_plain()["score"]
    7.5
    """

    row: int
    error: float
    features: Any  # the scorer's matrix of this one row; None for an example of a group
    about: dict[str, Any]
    label: bool | None = None
    p_value: float = float("nan")
    reasons: list[dict[str, Any]] = field(default_factory=list)

    def as_plain(self) -> dict[str, Any]:
        """Return what the page shows of the row, as plain data.

        Returns
        -------
        dict
            ``row``, ``columns``, ``score``, ``p_value``, ``reasons`` and, if known, ``label``.
        """
        about = {name: value if isinstance(value, _PLAIN) else str(value) for name, value in self.about.items()}
        score = {"row": self.row, "columns": about, "score": self.error, "p_value": self.p_value}
        return {**score, **({} if self.label is None else {"label": self.label}), "reasons": self.reasons}


@dataclass
class Group:
    """The rows above the threshold that have the same first reason: how many, and those with the highest scores."""

    feature: str
    n_rows: int
    examples: list[Strange]


@dataclass
class Findings:
    """The result of one pass over a table.

    Parameters
    ----------
    scorer : Scorer
        What scored the rows.
    errors, p_values : ndarray of shape (n,), float64
        Anomaly scores and p-values of all rows.
    labels : ndarray of shape (n,), optional
        1 for known anomalies, 0 for other rows, and -1 for rows without a label; None if no labels were asked for.
    strangest : list of Strange
        The most anomalous rows, highest score first.
    reasons : ndarray of shape (d,), int64
        For each column the number of rows above the threshold whose first reason it is.
    seconds : float
        Time of the pass.
    times : ndarray of shape (n,), datetime64, optional
        The time of each row, if the table has a complete column of times.
    groups : list
        The rows above the threshold by their first reason, with examples.
    sketch : ScoreSketch, optional
        Counts of scores and columns, from which ``drift`` comes.

    See Also
    --------
    examine : Makes the findings.
    render : Makes a page of them.

    Examples
    --------
    >>> import numpy as np, pyarrow as pa, aefast
    >>> from aefast import report
    >>> rng = np.random.default_rng(0)
    >>> table = pa.table({"a": rng.normal(size=500), "b": rng.normal(size=500)})
    >>> scorer = aefast.Scorer(aefast.Autoencoder(max_epochs=2, random_state=0).fit(table))
    >>> findings = report.examine(scorer, table.to_batches())
    >>> len(findings.errors), findings.n_flagged == int(findings.flagged.sum())
    (500, True)
    """

    scorer: Scorer
    errors: NDArray[np.float64]
    p_values: NDArray[np.float64]
    labels: NDArray[Any] | None
    strangest: list[Strange]
    reasons: NDArray[np.int64]
    seconds: float
    times: NDArray[np.datetime64] | None = None
    groups: list[Group] = field(default_factory=list)
    sketch: ScoreSketch | None = None

    @property
    def threshold(self) -> float:
        """The model's threshold."""
        return float(self.scorer.model.threshold)

    @cached_property
    def drift(self) -> Drift:
        """How the rows differ from the training rows, by column."""
        return (self.sketch or ScoreSketch(self.scorer.model)).drift()

    def shown(self) -> list[Strange]:
        """Return all rows that the page shows, a row of a group also if it is among the most anomalous ones.

        Returns
        -------
        list of Strange
            The most anomalous rows, then the examples of the groups.
        """
        return [*self.strangest, *(row for group in self.groups for row in group.examples)]

    def as_plain(self) -> dict[str, Any]:
        """Return what the page shows of rows and columns, as plain data for JSON.

        Returns
        -------
        dict
            ``drift``, ``first_reasons`` and ``most_anomalous``.
        """
        return {
            "drift": self.drift.as_plain(),
            "first_reasons": [
                {"feature": group.feature, "rows": group.n_rows, "examples": [row.as_plain() for row in group.examples]}
                for group in self.groups
            ],
            "most_anomalous": [row.as_plain() for row in self.strangest],
        }

    @property
    def is_timed(self) -> bool:
        """True if the rows can be drawn in the order of time."""
        return self.times is not None and on_time_axis(self.times)

    @property
    def flagged(self) -> NDArray[np.bool_]:
        """Mask of the rows above the threshold."""
        return self.errors > self.threshold

    @property
    def quality(self) -> dict[str, Any] | None:
        """Quality of the scores measured with the labels, or None without labels of both kinds."""
        return None if self.labels is None else judgement(self.labels, self.errors, self.threshold)

    @property
    def n_unlabelled(self) -> int:
        """Number of rows without a label; 0 if no labels were asked for."""
        return 0 if self.labels is None else int(np.count_nonzero(self.labels == UNLABELLED))

    @property
    def n_flagged(self) -> int:
        """Number of rows above the threshold."""
        return int(self.flagged.sum())


def examine(
    scorer: Scorer,
    batches: Iterable[pa.RecordBatch],
    *,
    label: Callable[[pa.RecordBatch], NDArray[Any]] | None = None,
    n_strangest: int = 12,
    n_examples: int = 3,
    progress: Callable[[int], None] | None = None,
) -> Findings:
    """Score every row once; keep all scores, but only the most anomalous rows.

    Parameters
    ----------
    scorer : Scorer
        Its kept columns are shown beside the most anomalous rows.
    batches : iterable of pyarrow.RecordBatch
        The rows.
    label : callable, optional
        Takes a batch and returns one value per row: true for an anomaly, false for a normal row, or `UNLABELLED`.
    n_strangest : int
        Number of most anomalous rows to keep.
    n_examples : int
        Number of rows to keep of those with the same first reason.
    progress : callable, optional
        Called with the number of rows of each batch.

    Returns
    -------
    Findings
        What was found, for `render`.

    Raises
    ------
    ValueError
        As of `aefast.Scorer.score`.

    See Also
    --------
    render : Makes a page of the findings.

    Examples
    --------
    >>> import numpy as np, pyarrow as pa, aefast
    >>> from aefast import report
    >>> rng = np.random.default_rng(0)
    >>> table = pa.table({"id": range(500), "a": rng.normal(size=500), "b": rng.normal(size=500)})
    >>> model = aefast.Autoencoder(max_epochs=2, random_state=0).fit(table.select(["a", "b"]))
    >>> findings = report.examine(aefast.Scorer(model, keep=["id"]), table.to_batches(), n_strangest=5)
    >>> [len(findings.strangest), sorted(findings.strangest[0].about)]
    [5, ['id']]
    """
    begin = time.perf_counter()
    errors: list[NDArray[np.float64]] = []
    labels: list[NDArray[Any]] = []
    strangest: list[Strange] = []
    reasons = np.zeros(scorer.n_features, dtype=np.int64)
    times: list[NDArray[np.datetime64]] = []
    examples: dict[int, list[Strange]] = {}
    sketch = ScoreSketch(scorer.model)
    n_read = 0

    def strange(batch: pa.RecordBatch, X: Any, e: NDArray[np.float64], i: int, known: NDArray[Any] | None) -> Strange:
        about = {c: cells(batch.column(c).slice(i, 1))[0] for c in scorer.keep}
        label = None if known is None or known[i] == UNLABELLED else bool(known[i])
        return Strange(n_read + i, float(e[i]), X, about, label)

    for batch in batches:
        times.append(_times(batch))
        X = scorer.matrix(batch)
        e = scorer.errors(X, first_row=n_read)
        known = label(batch) if label is not None else None
        columns = scorer.model.columns
        sketch.add(X if columns is None else contents(X, columns), e)
        flagged = np.flatnonzero(e > scorer.model.threshold)
        if len(flagged):
            main = scorer.main_features(take(X, flagged))
            reasons += np.bincount(main, minlength=scorer.n_features)
            for place in _examples(main, e[flagged], examples, n_examples):
                i, feature = int(flagged[place]), int(main[place])
                row = strange(batch, take(X, np.array([i])), e, i, known)
                row.reasons = scorer.reasons(row.features, 3).to_pylist()[0]
                row.features = None
                kept = [*examples.get(feature, []), row]
                examples[feature] = sorted(kept, key=lambda s: (-s.error, s.row))[:n_examples]
        least = strangest[-1].error if len(strangest) == n_strangest else -np.inf
        over = np.flatnonzero(e > least)
        for i in over[np.argsort(-e[over], kind="stable")[:n_strangest]]:
            strangest.append(strange(batch, take(X, np.array([i])), e, int(i), known))
        strangest = sorted(strangest, key=lambda s: (-s.error, s.row))[:n_strangest]
        errors.append(e)
        if known is not None:
            labels.append(known)
        n_read += len(e)
        if progress is not None:
            progress(len(e))
    all_errors = np.concatenate(errors) if errors else np.empty(0)
    findings = Findings(
        scorer,
        all_errors,
        scorer.p_values(all_errors),
        (np.concatenate(labels) if labels else np.empty(0, dtype=bool)) if label is not None else None,
        strangest,
        reasons,
        time.perf_counter() - begin,
        groups=[
            Group(scorer.feature_names[feature], int(reasons[feature]), examples[feature])
            for feature in np.argsort(-reasons, kind="stable").tolist()
            if feature in examples
        ],
        sketch=sketch,
    )
    at = np.concatenate(times) if times else _times(pa.RecordBatch.from_pylist([]))
    if len(at) == len(all_errors) > 0 and not np.isnat(at).any():
        findings.times = at
    _give_reasons(findings)
    return findings


def _examples(
    main: NDArray[np.intp], errors: NDArray[np.float64], known: dict[int, list[Strange]], most: int
) -> list[int]:
    """Return the places of flagged rows that belong among the ``most`` highest of their first reason."""
    found: list[int] = []
    for feature in np.unique(main).tolist() if most else []:
        kept = known.get(feature, [])
        least = kept[-1].error if len(kept) == most else -np.inf
        of_feature = np.flatnonzero((main == feature) & (errors > least))
        found += of_feature[np.argsort(-errors[of_feature], kind="stable")[:most]].tolist()
    return found


def _times(batch: pa.RecordBatch) -> NDArray[np.datetime64]:
    """Return the first column of dates or timestamps, or an empty array if there is none."""
    for column in batch.columns:
        if pa.types.is_timestamp(column.type) or pa.types.is_date(column.type):
            return in_microseconds(np.asarray(column.to_numpy(zero_copy_only=False)))
    return np.empty(0, dtype="datetime64[us]")


def _give_reasons(findings: Findings) -> None:
    """Set the p-values of all rows that are shown, and the reasons of the most anomalous ones."""
    if not findings.strangest:
        return
    scorer = findings.scorer
    for group in findings.groups:
        p_values = scorer.p_values(np.array([row.error for row in group.examples]))
        for row, p in zip(group.examples, p_values, strict=True):
            row.p_value = float(p)
    X = scorer.join([s.features for s in findings.strangest])
    for strange, p, reasons in zip(
        findings.strangest,
        scorer.p_values(np.array([s.error for s in findings.strangest])),
        scorer.reasons(X, 3).to_pylist(),
        strict=True,
    ):
        strange.p_value, strange.reasons = float(p), reasons
