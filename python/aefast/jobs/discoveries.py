"""Flags rows so that the share of false alarms among them is limited: the cutoff of p-values, found in a first pass."""

from __future__ import annotations

import json
from collections.abc import Iterable
from contextlib import closing
from typing import Any

import numpy as np

from aefast.jobs.plan import ScorePlan, located
from aefast.jobs.tally import Tally
from aefast.model.false_discoveries import reported_up_to, rows_flagged_together, summed_counts
from aefast.tables.source import Source


def find_cutoff(plan: ScorePlan, sources: Iterable[Source], fdr: float, tally: Tally) -> float | list[float]:
    """Return the largest p-value that is reported, see `reported_up_to`; takes a pass over all rows.

    If none is reported because too few rows were held out, return the least p-value in a list: rows with this one,
    whose scores are above those of all held-out rows, are flagged without regard to the rate. Sources that cannot be
    scored do not count.
    """
    levels, counts = np.empty(0), np.empty(0, dtype=np.int64)
    for source in sources:
        found = np.empty(0), np.empty(0, dtype=np.int64)
        n_rows = 0
        with tally.failing(source), closing(plan.batches(source, tally.reading)) as batches:
            for batch in batches:
                with tally.scoring, located(source):
                    found = summed_counts(found, plan.scorer.counted_p_values(batch, first_row=n_rows))
                n_rows += batch.num_rows
                tally.progress(batch.num_rows)
            levels, counts = summed_counts((levels, counts), found)
    reported = reported_up_to(levels, counts, fdr)
    least = plan.model.calibration.least
    # Groups of a fleet have least p-values of their own.
    if plan.fleet is None and reported == 0 and rows_flagged_together(least, int(counts.sum()), fdr) > 1:
        return [least]
    return reported


def recorded_cutoff(frame: bytes) -> tuple[float, bool]:
    """Return the cutoff of p-values in a frame of a journal, 0 if none is reported, and whether it keeps the rate."""
    found = json.loads(frame)
    (cutoff,) = found if isinstance(found, list) else (found,)
    if not -1 <= float(cutoff) <= 1:
        raise ValueError(f"the cutoff of p-values is {cutoff}")
    return max(float(cutoff), 0.0), not isinstance(found, list)


def resolution(plan: ScorePlan, fdr: float, tally: Tally) -> dict[str, Any]:
    """Return what the number of held-out rows means for a false-discovery rate, for the summary."""
    if plan.fleet is not None:
        return {"fdr": fdr, "fdr_kept": tally.keeps_fdr}
    calibration, n_good = plan.model.calibration, tally.n_rows - tally.n_bad
    found: dict[str, Any] = {
        "fdr": fdr,
        "fdr_kept": tally.keeps_fdr,
        "held_out_rows": calibration.n_rows,
        "least_p_value": calibration.least,
        "least_flagged": rows_flagged_together(calibration.least, n_good, fdr),
    }
    if not tally.keeps_fdr:
        highest = float(calibration.errors[-1])
        rule = f"score above {highest:.6g}, the largest of {calibration.n_rows:,} held-out rows"
        found |= {"rule": rule, "expected_false_alarms": n_good * calibration.least}
    return found
