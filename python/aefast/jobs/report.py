"""Scores files and writes the report about them."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from aefast.jobs.clock import Clock, Progress, no_progress
from aefast.jobs.plan import located, plan_scoring
from aefast.scoring.labels import Labels
from aefast.tables.files import atomic_path, naming
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
    notes: Sequence[str] = (),
    progress: Progress = no_progress,
) -> dict[str, Any]:
    """Write the page of `report.render` about every row of ``source``; returns a summary as plain data."""
    from aefast.report import examine, render

    # The page has an axis of time, so times stay times.
    plan = plan_scoring(estimator, source, keep=keep, label=label, batch_rows=batch_rows, keeps_times=True)
    labels = None if label is None else Labels(plan.source, label)
    if labels is not None:
        labels.check()
    with closing(plan.batches(plan.source, Clock())) as batches, located(plan.source):
        findings = examine(plan.scorer, batches, label=labels, progress=progress)
    about = [name for name in plan.keep if name != label][:3] if keep is None else keep
    page = render(findings, title=title, subtitle=subtitle, image_shape=image_shape, notes=notes, about=about)
    with atomic_path(output) as part, naming(output):
        part.write_text(page, encoding="utf-8", errors="backslashreplace")
    return {
        "report": str(output),
        "rows": len(findings.errors),
        "anomalies": findings.n_flagged,
        "seconds": findings.seconds,
        "quality": findings.quality,
        **({} if findings.labels is None else {"unlabelled": findings.n_unlabelled}),
    }
