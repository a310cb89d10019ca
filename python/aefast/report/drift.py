"""Says in words whether scores are distributed like those of the rows that calibrated the model."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from aefast.model.calibration import RESOLUTION
from aefast.report.wording import percent

if TYPE_CHECKING:
    from aefast.model.calibration import Calibration


def drift(errors: NDArray[np.float64], calibration: Calibration) -> str:
    """Compare the distribution of scores with that of the calibration rows and describe the difference in words.

    The comparison is the two-sample Kolmogorov-Smirnov test at level 0.001 (Smirnov 1948).
    """
    if len(errors) == 0:
        return "There are no rows to compare."
    n, m = len(errors), calibration.n_rows
    distance = calibration.distance(errors)
    # 1.95 is the test's critical value at level 0.001; the calibration sketch may hide a distance of 1 / RESOLUTION.
    critical = 1.95 * float(np.sqrt((n + m) / (n * m))) + 1 / RESOLUTION
    if critical >= 1:
        return (
            f"Too few rows to test for drift: with {n:,} rows here and {m:,} calibration rows, chance alone could "
            "explain any difference."
        )
    figures = f"Kolmogorov-Smirnov distance {distance:.3f}; chance alone explains up to {critical:.3f}"
    if distance <= critical:
        return f"No drift: the scores are distributed like those of the {m:,} calibration rows ({figures})."
    above = float(np.mean(calibration.p_values(errors) <= 0.5))
    size = "slightly" if distance < 0.1 else "clearly" if distance < 0.3 else "much"
    how = f"{size} higher" if above >= 0.5 else f"{size} lower"
    return (
        f"Drift: the scores are {how} than those of the {m:,} calibration rows; {percent(above)} of them are above the "
        f"calibration median ({figures}). If this is the new normal, recalibrate the model or fit it again."
    )
