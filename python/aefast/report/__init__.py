"""The HTML report of a scored table: its scores, the reasons for the highest ones, and drift since calibration."""

from aefast.report.findings import Findings, Strange, examine
from aefast.report.groups import GroupFindings, examine_groups, render_groups
from aefast.report.page import figure, render
from aefast.report.wording import drift

__all__ = [
    "Findings",
    "GroupFindings",
    "Strange",
    "drift",
    "examine",
    "examine_groups",
    "figure",
    "render",
    "render_groups",
]
