"""Scores files and writes the report about them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from aefast.jobs.clock import Clock, Progress, no_progress
from aefast.jobs.plan import ScorePlan, located, plan_scoring
from aefast.scoring.bad_rows import bad_rows
from aefast.scoring.fleet_scorer import FleetScorer
from aefast.scoring.labels import Labels
from aefast.scoring.scorer import Scorer
from aefast.tables.arrow import arrow_array
from aefast.tables.files import write_whole
from aefast.tables.source import Source


def report_job(
    estimator: Any,
    source: Source,
    output: str | Path,
    *,
    title: str,
    keep: Sequence[str] | None = None,
    label: str | None = None,
    image_shape: tuple[int, ...] | None = None,
    batch_rows: int | None = None,
    subtitle: str = "",
    on_bad: str = "error",
    progress: Progress = no_progress,
) -> dict[str, Any]:
    """Write the page of `report.render` about every row of ``source``; returns a summary as plain data.

    Rows that cannot be scored are left out of the page and counted unless ``on_bad`` is "error".
    """
    from aefast.report import examine, render

    # The page has an axis of time, so times stay times.
    plan = plan_scoring(estimator, source, keep=keep, label=label, batch_rows=batch_rows, keeps_times=True)
    labels = None if label is None else Labels(plan.source, label)
    if labels is not None:
        labels.check()
    if isinstance(plan.scorer, FleetScorer):
        return _report_groups(plan, plan.scorer, output, title, keep, progress)
    with closing(plan.batches(plan.source, Clock())) as batches, located(plan.source):
        good = _GoodRows(plan.scorer, batches, on_bad)
        findings = examine(plan.scorer, good, label=labels, progress=progress)
    for strange in findings.shown():
        strange.row = good.row(strange.row)
    about = [name for name in plan.keep if name != label][:3] if keep is None else keep
    if hasattr(type(estimator), "drift_"):
        estimator.drift_ = findings.drift
    page = render(findings, title=title, subtitle=subtitle, image_shape=image_shape, about=about)
    write_whole(output, page.encode(errors="backslashreplace"))
    return {
        "report": str(output),
        "rows": good.n_rows + sum(file.n_dropped for file in plan.source.files),
        "bad_rows": good.n_rows - len(findings.errors) + sum(file.n_dropped for file in plan.source.files),
        **plan.source.other_rows,
        "anomalies": findings.n_flagged,
        "flagged": findings.n_flagged,
        "threshold": findings.threshold,
        "dialect": source.spoken_dialect,
        **findings.as_plain(),
        "seconds": findings.seconds,
        "quality": findings.quality,
        **({} if findings.labels is None else {"unlabelled": findings.n_unlabelled}),
    }


class _GoodRows:
    """The batches of a table without the rows that cannot be scored; it knows the numbers of the others."""

    def __init__(self, scorer: Scorer, batches: Iterable[pa.RecordBatch], on_bad: str) -> None:
        self._scorer, self._batches, self._on_bad = scorer, batches, on_bad
        self._rows: list[NDArray[np.intp]] = []
        self.n_rows = 0

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        for batch in self._batches:
            if self._on_bad == "error":
                yield batch
            else:
                good = ~bad_rows(self._scorer.model, self._scorer.matrix(batch))
                self._rows.append(self.n_rows + np.flatnonzero(good))
                yield batch.filter(arrow_array(good))
            self.n_rows += batch.num_rows

    def row(self, number: int) -> int:
        """Return the number, among all rows, of a row that was yielded."""
        return number if self._on_bad == "error" else int(np.concatenate(self._rows)[number])


def _report_groups(
    plan: ScorePlan, scorer: FleetScorer, output: str | Path, title: str, keep: Sequence[str] | None, progress: Progress
) -> dict[str, Any]:
    """Write the page of `report.render_groups`."""
    from aefast.report import examine_groups, render_groups

    with closing(plan.batches(plan.source, Clock())) as batches, located(plan.source):
        findings = examine_groups(scorer, batches, progress=progress)
    about = plan.keep[:3] if keep is None else keep
    write_whole(output, render_groups(findings, title=title, about=about).encode(errors="backslashreplace"))
    return {
        "report": str(output),
        "rows": findings.n_rows,
        "anomalies": findings.n_flagged,
        "groups": len(findings.groups),
        "odd_groups": [each.key for each in findings.groups if each.is_odd],
        "seconds": findings.seconds,
        "quality": None,
    }
