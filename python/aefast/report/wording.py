"""Words of the report: formatted numbers and texts, and a sentence about drift."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from aefast.model.calibration import Calibration
from aefast.model.drift import Drift

LONGEST = 60  # characters of a name or a value that are shown
LONGEST_WORD = 36  # characters of a word that is kept in one line: as many as a UUID has


def number(value: Any) -> str:
    """Format a value: four digits of a float, a dash for a missing value, the text of anything else."""
    if value is None:
        return "–"
    if isinstance(value, bool) or not isinstance(value, (int, float, np.integer, np.floating)):
        return short(value)
    if isinstance(value, (int, np.integer)):
        return str(value)
    if not np.isfinite(value):
        return "–"
    return count(float(value)) if 1e4 <= abs(value) < 1e9 else f"{value:.4g}"


def short(value: Any) -> str:
    """Format a value as text, cut to `LONGEST` characters."""
    text = str(value)
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"


def unbroken(value: Any) -> Any:
    """Format a value; words of up to `LONGEST_WORD` characters, such as identifiers, are not broken into lines."""
    from markupsafe import Markup, escape

    whole = Markup('<span class="whole">{}</span>')
    return Markup(" ").join(
        escape(word) if len(word) > LONGEST_WORD or (word.isalnum() and len(word) < 12) else whole.format(word)
        for word in number(value).split(" ")
    )


def count(value: float) -> str:
    """Format a count, with a thin space between thousands."""
    return f"{value:,.0f}".replace(",", "\u202f")


def percent(value: float) -> str:
    """Format a share as a percentage of three digits."""
    return f"{100 * value:.3g}\u202f%"


def drift(errors: NDArray[np.float64], calibration: Calibration, found: Drift | None = None) -> str:
    """Compare the distribution of scores with that of the calibration rows and describe the difference in words.

    The comparison is the two-sample Kolmogorov-Smirnov test at level 0.001 (Smirnov 1948).

    Parameters
    ----------
    errors : ndarray of shape (n,), float64
        Anomaly scores.
    calibration : aefast.model.calibration.Calibration
        ``calibration_`` of a fitted estimator.
    found : Drift, optional
        The drift by column of the same rows. It also knows how much the scores of the training rows differ from day to
        day, and then decides whether the difference is drift.

    Returns
    -------
    str
        One sentence, or two.

    See Also
    --------
    aefast.plots.score_drift : Draws both distributions.

    Examples
    --------
    >>> import numpy as np, aefast
    >>> from aefast import report
    >>> X = np.random.default_rng(0).normal(size=(2000, 4))
    >>> model = aefast.Autoencoder(max_epochs=2, random_state=0).fit(X[:1000])
    >>> report.drift(model.reconstruction_error(X[1000:]), model.calibration_).partition(":")[0]
    'No drift'
    """
    if len(errors) == 0:
        return "There are no rows to compare."
    n, m = len(errors), calibration.n_rows
    distance = calibration.distance(errors)
    critical = calibration.chance_distance(n)
    if critical >= 1:
        return (
            f"Too few rows to test for drift: with {n:,} rows here and {m:,} calibration rows, chance alone could "
            "explain any difference."
        )
    figures = f"Kolmogorov-Smirnov distance {distance:.3f}; chance alone explains up to {critical:.3f}"
    if distance <= critical:
        return f"No drift: the scores are distributed like those of the {m:,} calibration rows ({figures})."
    if found is not None and not found.scores and found.verdict in ("drift", "no drift"):
        return (
            f"No drift: the scores differ from those of the {m:,} calibration rows no more than those of parts of the "
            f"training rows do ({figures})."
        )
    above = float(np.mean(calibration.p_values(errors) <= 0.5))
    size = "slightly" if distance < 0.1 else "clearly" if distance < 0.3 else "much"
    how = f"{size} higher" if above >= 0.5 else f"{size} lower"
    return (
        f"Drift: the scores are {how} than those of the {m:,} calibration rows; {percent(above)} of them are above the "
        f"calibration median ({figures}). If this is the new normal, recalibrate the model or fit it again."
    )
