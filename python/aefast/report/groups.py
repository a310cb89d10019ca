"""The report of a table scored by a fleet: which groups are odd, and the most anomalous rows of all."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from aefast.columns.values import cells
from aefast.model.fleet import GroupScores, group_scores
from aefast.report.page import describe, template
from aefast.scoring.fleet_scorer import FleetScorer
from aefast.tables.arrow import arrow_values
from aefast.tables.groups import Key

#: Groups and rows that the page shows.
MOST_GROUPS, MOST_ROWS = 200, 20
FDR = 0.05


@dataclass
class OddRow:
    """One of the most anomalous rows: the smallest p-value first, then the furthest beyond its threshold."""

    row: int
    error: float
    threshold: float
    p_value: float
    about: dict[str, Any]
    reasons: list[dict[str, Any]] = field(default_factory=list)

    @property
    def rank(self) -> tuple[float, float]:
        """What rows are sorted by."""
        return self.p_value, self.threshold - self.error


@dataclass
class GroupFindings:
    """The result of one pass over a table.

    Parameters
    ----------
    scorer : FleetScorer
        What scored the rows.
    groups : list of GroupScores
        The smallest p-value first.
    rows : list of OddRow
        The most anomalous one first.
    n_rows, n_flagged : int
        Number of rows, and of those above the threshold of their group.
    seconds : float
        Time of the pass.

    See Also
    --------
    examine_groups : Makes the findings.

    Examples
    --------
    >>> import numpy as np, pandas as pd, pyarrow as pa, aefast
    >>> from aefast import report
    >>> rng = np.random.default_rng(0)
    >>> rows = pd.DataFrame({"machine": ["m-1", "m-2"] * 200, "a": rng.normal(size=400), "b": rng.normal(size=400)})
    >>> fleet = aefast.Fleet(aefast.Autoencoder(max_epochs=2, random_state=0), by="machine").fit(rows)
    >>> findings = report.examine_groups(fleet, pa.Table.from_pandas(rows).to_batches())
    >>> findings.n_rows, [group.key for group in sorted(findings.groups, key=lambda each: each.key)]
    (400, ['m-1', 'm-2'])
    """

    scorer: FleetScorer
    groups: list[GroupScores]
    rows: list[OddRow]
    n_rows: int
    n_flagged: int
    seconds: float

    @property
    def n_odd(self) -> int:
        """Number of odd groups."""
        return sum(each.is_odd for each in self.groups)


def examine_groups(
    scorer: Any, batches: Iterable[pa.RecordBatch], *, progress: Callable[[int], None] = lambda rows: None
) -> GroupFindings:
    """Score all batches by a fleet; errors are held in memory, rows are not.

    Parameters
    ----------
    scorer : Fleet, FleetScorer, bytes, str or path
        A fitted `aefast.Fleet` with ``by``, or the content or the path of its file.
    batches : iterable of pyarrow.RecordBatch
        The rows, with the columns that name groups.
    progress : callable, optional
        Called with the number of rows of each batch.

    Returns
    -------
    GroupFindings
        What was found, for `render_groups`.

    Raises
    ------
    ValueError
        As of `aefast.Scorer.score`; also if the fleet has no ``by``.

    See Also
    --------
    render_groups : Makes a page of the findings.
    examine : The same for a single model.

    Examples
    --------
    See `GroupFindings`.
    """
    scorer = scorer if isinstance(scorer, FleetScorer) else FleetScorer(scorer)
    begin = time.perf_counter()
    errors: dict[Key, list[NDArray[Any]]] = defaultdict(list)
    odd: list[tuple[OddRow, pa.RecordBatch]] = []
    n_rows = n_flagged = 0
    for batch in batches:
        if batch.num_rows == 0:
            continue
        judged = scorer.judge(batch, first_row=n_rows)
        found, p_values, flagged = (arrow_values(column) for column in judged.columns[:3])
        thresholds = np.empty(batch.num_rows)
        groups = scorer.groups(batch)
        for key, rows in groups:
            errors[key].append(found[rows])
            model = scorer.fleet.models.get(key)
            thresholds[rows] = scorer.model.threshold if model is None else model.threshold
        for place in np.lexsort([thresholds - found, p_values])[:MOST_ROWS].tolist():
            about = {name: cells(batch.column(name).slice(place, 1))[0] for name in [*scorer.by, *scorer.keep]}
            error, threshold, p_value = (float(values[place]) for values in (found, thresholds, p_values))
            row = OddRow(n_rows + place, error, threshold, p_value, about)
            odd.append((row, batch.slice(place, 1)))
        odd = sorted(odd, key=lambda each: each[0].rank)[:MOST_ROWS]
        n_rows, n_flagged = n_rows + batch.num_rows, n_flagged + int(np.count_nonzero(flagged))
        progress(batch.num_rows)
    reasoned = FleetScorer(scorer.fleet, keep=scorer.keep, top_features=3)
    for row, batch in odd:
        row.reasons = reasoned.judge(batch).column("top_features")[0].as_py()
    scores = group_scores(scorer.fleet, {key: np.concatenate(parts) for key, parts in errors.items()}, FDR)
    return GroupFindings(scorer, scores, [row for row, _ in odd], n_rows, n_flagged, time.perf_counter() - begin)


def render_groups(findings: GroupFindings, *, title: str, about: Sequence[str] = ()) -> str:
    """Render the findings as one self-contained HTML page: it loads no script, font or link.

    Parameters
    ----------
    findings : GroupFindings
        What `examine_groups` found.
    title : str
        Heading of the page.
    about : sequence of str
        Kept columns to show beside the most anomalous rows.

    Returns
    -------
    str
        The HTML text.

    See Also
    --------
    examine_groups : Makes the findings.

    Examples
    --------
    >>> import numpy as np, pandas as pd, pyarrow as pa, aefast
    >>> from aefast import report
    >>> rng = np.random.default_rng(0)
    >>> rows = pd.DataFrame({"machine": ["m-1", "m-2"] * 200, "a": rng.normal(size=400), "b": rng.normal(size=400)})
    >>> fleet = aefast.Fleet(aefast.Autoencoder(max_epochs=2, random_state=0), by="machine").fit(rows)
    >>> findings = report.examine_groups(fleet, pa.Table.from_pandas(rows).to_batches())
    >>> page = report.render_groups(findings, title="Pumps")
    >>> "<title>Pumps" in page
    True
    """
    by = findings.scorer.by
    shown = findings.groups[:MOST_GROUPS]
    return template("groups.html").render(
        title=title,
        n_tiles=4,
        findings=findings,
        shown=[(each.key if isinstance(each.key, tuple) else (each.key,), each) for each in shown],
        n_more=len(findings.groups) - len(shown),
        by=by,
        about=[*by, *(name for name in about if name not in by)],
        fdr=FDR,
        model=describe(findings.scorer.model),
    )
