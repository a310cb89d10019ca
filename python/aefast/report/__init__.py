"""The HTML report: scores, reasons and drift of a table on one page."""

from aefast.report.page import Findings, Strange, drift, examine, figure, render

__all__ = ["Findings", "Strange", "drift", "examine", "figure", "render"]
