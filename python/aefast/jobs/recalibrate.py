"""Sets the threshold and the p-values of a model from the rows of files, without training."""

from __future__ import annotations

import time
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aefast.jobs.clock import Clock, Progress, no_progress
from aefast.jobs.drift import DriftCounter
from aefast.jobs.plan import located, plan_scoring
from aefast.tables.arrow import arrow_values
from aefast.tables.formats.base import TableError
from aefast.tables.source import Source


def recalibrate_job(
    estimator: Any,
    source: Source,
    output: str | Path,
    *,
    batch_rows: int | None = None,
    on_bad: str = "error",
    progress: Progress = no_progress,
) -> dict[str, Any]:
    """Recalibrate the estimator on every row of ``source`` and save it; returns a summary as plain data.

    Rows that cannot be scored are left out and counted unless ``on_bad`` is "error".
    """
    begin = time.perf_counter()
    plan = plan_scoring(estimator, source, keep=[], batch_rows=batch_rows, on_bad=on_bad)
    parts: list[NDArray[Any]] = []
    n_read, drift = 0, DriftCounter(plan.scorer)
    with closing(plan.batches(plan.source, Clock())) as batches, located(plan.source):
        for batch in batches:
            judged = plan.scorer.judge(batch, first_row=n_read)
            drift.add(batch, judged)
            parts.append(arrow_values(judged.column(0)).astype(estimator.dtype))
            n_read += batch.num_rows
            progress(batch.num_rows)
    if n_read == 0:
        raise TableError(f"{source.title} has no rows to calibrate with")
    errors, before = np.concatenate(parts), float(estimator.threshold_)
    if on_bad != "error":
        errors = errors[~np.isnan(errors)]
    n_dropped = sum(file.n_dropped for file in plan.source.files)
    n_bad = n_read - len(errors) + n_dropped
    if len(errors) == 0:
        raise TableError(f"{source.title} has no rows to calibrate with: none can be scored")
    n_above = int(np.count_nonzero(errors > before))
    try:
        drift.sketch.require_in_range()
        estimator.drift_ = drift.drift()
        estimator.model_ = estimator.model_.with_calibration(errors, estimator.contamination)
    except ValueError as error:
        raise TableError(f"{source.title}: {error}") from error
    estimator.save(output)
    return {
        "model": str(output),
        "rows": n_read + n_dropped,
        "bad_rows": n_bad,
        **plan.source.other_rows,
        "dialect": source.spoken_dialect,
        "contamination": float(estimator.contamination),
        "threshold_before": before,
        "above_before": n_above,
        "threshold": float(estimator.threshold_),
        "drift": estimator.drift_.as_plain(),
        "seconds": time.perf_counter() - begin,
    }
