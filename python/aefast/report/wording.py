"""Formats numbers and texts for the report."""

from __future__ import annotations

from typing import Any

import numpy as np

LONGEST = 60  # characters of a name or a value that are shown


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


def count(value: float) -> str:
    """Format a count, with a thin space between thousands."""
    return f"{value:,.0f}".replace(",", "\u202f")


def percent(value: float) -> str:
    """Format a share as a percentage of three digits."""
    return f"{100 * value:.3g}\u202f%"
