"""One self-contained HTML page about how a model sees a table: what is strange, how strange, and why."""

from __future__ import annotations

import html
import io
import re
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from importlib import resources
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from aefast import plots
from aefast.columns.values import cells
from aefast.model.calibration import RESOLUTION
from aefast.model.network import layer_widths
from aefast.plots.drawing import BLUE, GREEN, GREY, ORANGE, on_time_axis
from aefast.scoring.labels import UNLABELLED, judgement
from aefast.scoring.scorer import Scorer, nameless

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from aefast.model.calibration import Calibration

__all__ = ["Findings", "Strange", "drift", "examine", "figure", "render"]

LONGEST = 60  # letters of a name or a value that are shown
INK = "#101112"  # stands for the page's text colour in a drawing
_THEME = {
    INK: "currentColor",
    BLUE: "var(--blue)",
    ORANGE: "var(--orange)",
    GREEN: "var(--green)",
    GREY: "var(--grey)",
}


@dataclass
class Strange:
    """A row with one of the largest errors."""

    row: int
    error: float
    features: Any  # a matrix of the scorer's with the one row
    about: dict[str, Any]
    label: bool | None = None
    p_value: float = float("nan")
    reasons: list[dict[str, Any]] = field(default_factory=list)


@dataclass
class Findings:
    """What one pass over a table found. ``reasons`` counts, for each feature, the flagged rows it explains most;
    ``times`` says when each row was, where a column does."""

    scorer: Scorer
    errors: NDArray[np.float64]
    p_values: NDArray[np.float64]
    labels: NDArray[Any] | None
    strangest: list[Strange]
    reasons: NDArray[np.int64]
    seconds: float
    times: NDArray[np.datetime64] | None = None

    @property
    def threshold(self) -> float:
        return float(self.scorer.estimator.threshold_)

    @property
    def is_timed(self) -> bool:
        """Whether rows can be shown in the order of time."""
        return self.times is not None and on_time_axis(self.times)

    @property
    def flagged(self) -> NDArray[np.bool_]:
        return self.errors > self.threshold

    @property
    def quality(self) -> dict[str, Any] | None:
        """How well the errors find labelled anomalies, where there are some."""
        return None if self.labels is None else judgement(self.labels, self.errors, self.threshold)

    @property
    def n_unlabelled(self) -> int:
        """How many rows have no label, where others may have one."""
        return 0 if self.labels is None else int(np.count_nonzero(self.labels == UNLABELLED))

    @property
    def n_flagged(self) -> int:
        return int(self.flagged.sum())


def examine(
    scorer: Scorer,
    batches: Iterable[pa.RecordBatch],
    *,
    label: Callable[[pa.RecordBatch], NDArray[Any]] | None = None,
    n_strangest: int = 12,
    progress: Callable[[int], None] | None = None,
) -> Findings:
    """Score every row once. The errors are held, of the rows only the strangest.

    Parameters
    ----------
    scorer : Scorer
        Its kept columns are shown beside the strangest rows.
    batches : iterable of pyarrow.RecordBatch
    label : callable, optional
        Takes a batch, gives for each of its rows whether it is known to be an anomaly, or `UNLABELLED`.
    n_strangest : int
    progress : callable, optional
        Called with the number of rows of each batch.

    Returns
    -------
    Findings
    """
    begin = time.perf_counter()
    errors: list[NDArray[np.float64]] = []
    labels: list[NDArray[Any]] = []
    strangest: list[Strange] = []
    reasons = np.zeros(scorer.n_features, dtype=np.int64)
    times: list[NDArray[np.datetime64]] = []
    n_read = 0
    for batch in batches:
        times.append(_times(batch))
        X = scorer.matrix(batch)
        e = scorer.errors(X, first_row=n_read)
        known = label(batch) if label is not None else None
        flagged = np.flatnonzero(e > scorer.estimator.threshold_)
        if len(flagged):
            reasons += np.bincount(scorer.main_features(scorer.take(X, flagged)), minlength=scorer.n_features)
        least = strangest[-1].error if len(strangest) == n_strangest else -np.inf
        over = np.flatnonzero(e > least)
        for i in over[np.argsort(-e[over], kind="stable")[:n_strangest]]:
            about = {c: cells(batch.column(c).slice(int(i), 1))[0] for c in scorer.keep}
            strangest.append(
                Strange(
                    n_read + int(i),
                    float(e[i]),
                    scorer.take(X, np.array([i])),
                    about,
                    None if known is None or known[i] == UNLABELLED else bool(known[i]),
                )
            )
        strangest = sorted(strangest, key=lambda s: (-s.error, s.row))[:n_strangest]
        errors.append(e)
        if known is not None:
            labels.append(known)
        n_read += len(e)
        if progress is not None:
            progress(len(e))
    all_errors = np.concatenate(errors) if errors else np.empty(0)
    findings = Findings(
        scorer,
        all_errors,
        scorer.p_values(all_errors),
        (np.concatenate(labels) if labels else np.empty(0, dtype=bool)) if label is not None else None,
        strangest,
        reasons,
        time.perf_counter() - begin,
    )
    at = np.concatenate(times) if times else _times(pa.RecordBatch.from_pylist([]))
    if len(at) == len(all_errors) > 0 and not np.isnat(at).any():
        findings.times = at
    _give_reasons(findings)
    return findings


def _times(batch: pa.RecordBatch) -> NDArray[np.datetime64]:
    """The first column of points in time, or nothing."""
    for column in batch.columns:
        if pa.types.is_timestamp(column.type) or pa.types.is_date(column.type):
            return np.asarray(column.to_numpy(zero_copy_only=False), dtype="datetime64[us]")
    return np.empty(0, dtype="datetime64[us]")


def _give_reasons(findings: Findings, top: int = 3) -> None:
    if not findings.strangest:
        return
    scorer = findings.scorer
    X = scorer.join([s.features for s in findings.strangest])
    for strange, p, reasons in zip(
        findings.strangest,
        scorer.p_values(np.array([s.error for s in findings.strangest])),
        scorer.reasons(X, top).to_pylist(),
        strict=True,
    ):
        strange.p_value, strange.reasons = float(p), reasons


def render(
    findings: Findings,
    *,
    title: str,
    subtitle: str = "",
    image_shape: tuple[int, ...] | None = None,
    notes: Sequence[str] = (),
    about: Sequence[str] | None = None,
) -> str:
    """The findings as one HTML page that needs nothing else: no script, no font, no link is loaded.

    Parameters
    ----------
    findings : Findings
    title, subtitle : str
    image_shape : tuple of int, optional
        Draws the strangest rows as images, with what the model makes of them.
    notes : sequence of str
        Further lines below the title.
    about : sequence of str, optional
        Those of the kept columns that stand beside the strangest rows. Default: all of them.

    Returns
    -------
    str
    """
    import jinja2

    estimator = findings.scorer.estimator
    names = findings.scorer.feature_names
    order = [j for j in np.argsort(-findings.reasons, kind="stable") if findings.reasons[j]][:15]
    most = max((int(findings.reasons[j]) for j in order), default=1)
    quality, threshold = findings.quality, findings.threshold
    pictures = {
        "rows": _rows_figure(findings),
        "rows_narrow": _rows_figure(findings, ", narrow", width=4.7, columns=200),
        "histogram": _histogram_figure(findings),
    }
    if np.isfinite(findings.p_values).any():
        pictures["drift"] = figure(
            lambda ax: plots.score_drift(findings.errors, estimator.calibration_, ax=ax),
            "How errors are spread beside those of calibration",
            height=3.2,
        )
        pictures["calibration"] = figure(
            lambda ax: plots.calibration(findings.p_values, ax=ax), "Share of rows by p-value", height=3.2
        )
    if len(getattr(estimator, "loss_curve_", ())):
        pictures["loss"] = figure(lambda ax: plots.loss_curves(estimator, ax=ax), "Loss by epoch", height=3.2)
    if quality is not None and findings.labels is not None:
        known = findings.labels != UNLABELLED
        labels, judged = findings.labels[known], findings.errors[known]
        marked = {"threshold": threshold, "best F1": quality["best"]["threshold"]}
        pictures["roc"] = figure(
            lambda ax: plots.roc_curve(labels, judged, threshold=marked, ax=ax), "ROC curve", height=3.2
        )
        pictures["precision"] = figure(
            lambda ax: plots.precision_recall_curve(labels, judged, threshold=marked, ax=ax),
            "Precision by recall",
            height=3.2,
        )
    if image_shape is not None and findings.strangest:
        shown = findings.strangest[:10]
        pictures["images"] = figure(
            lambda ax: plots.reconstruction_grid(
                estimator, np.concatenate([s.features for s in shown]), image_shape=image_shape, ax=ax
            ),
            "The strangest rows, their reconstructions and the differences",
            width=9.6,
            height=0.2 + 8.3 * (3 * image_shape[0] + 3) / (len(shown) * (image_shape[1] + 1)),
        )
    source = resources.files("aefast.report").joinpath("report.html").read_text(encoding="utf-8")
    options: dict[str, Any] = {"autoescape": True, "trim_blocks": True, "lstrip_blocks": True}
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined, **options)
    environment.filters |= {"number": number, "count": _count, "percent": _percent, "short": short}
    return environment.from_string(source).render(
        title=title,
        subtitle=subtitle,
        notes=list(notes),
        findings=findings,
        n_rows=len(findings.errors),
        model=describe(estimator),
        about=list(findings.scorer.keep if about is None else about),
        columns=[(names[j], int(findings.reasons[j]), findings.reasons[j] / most) for j in order],
        figures={k: _safe(v) for k, v in pictures.items()},
        quality=quality,
        drift=drift(findings.errors, estimator.calibration_),
        version=_version(),
    )


def _rows_figure(findings: Findings, more: str = "", *, width: float = 9.6, columns: int = 600) -> str:
    def draw(ax: Axes) -> None:
        plots.scores_over_rows(
            findings.errors, threshold=findings.threshold, times=findings.times, columns=columns, ax=ax
        )
        if width < 9:
            ax.legend(frameon=False, ncols=2, loc="lower right", bbox_to_anchor=(1, 1))

    order = "time" if findings.is_timed else "rows"
    return figure(draw, f"Error of each row in the order of {order}{more}", width=width)


def _histogram_figure(findings: Findings) -> str:
    lines = {"threshold": findings.threshold}
    calibration = findings.scorer.estimator.calibration_
    rare = np.flatnonzero(calibration.levels() <= 0.01)
    if len(rare):
        lines["p = 0.01"] = float(calibration.errors[rare[0] - 1])
    if findings.quality is not None:
        lines["best F1"] = findings.quality["best"]["threshold"]
    return figure(
        lambda ax: plots.error_histogram(
            findings.errors, threshold=lines, labels=None if findings.n_unlabelled else findings.labels, ax=ax
        ),
        "How often each error occurs",
        height=3.2,
    )


def figure(draw: Callable[[Axes], Any], caption: str, *, width: float = 4.7, height: float = 3.0) -> str:
    """What ``draw`` draws, as an inline SVG in the page's own colours and fonts; sizes in inches."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    settings: Any = {
        "svg.fonttype": "none",
        "svg.hashsalt": caption,
        "font.size": 10,
        **dict.fromkeys(("text.color", "axes.labelcolor", "xtick.color", "ytick.color", "axes.edgecolor"), INK),
        "legend.fontsize": 9,
    }
    with mpl.rc_context(settings):
        drawing = Figure(figsize=(width, height), layout="constrained")
        drawing.patch.set_alpha(0)
        ax = drawing.add_subplot()
        ax.patch.set_alpha(0)
        with nameless():
            draw(ax)
        text = io.StringIO()
        drawing.savefig(text, format="svg", dpi=150, metadata={"Date": None})
    svg = text.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r"font: ([\d.]+px) [^;\"]*", r"font-size: \1; font-family: inherit", svg)
    for colour, name in _THEME.items():
        svg = svg.replace(colour, name)
    return svg.replace("<svg", f'<svg role="img" aria-label="{html.escape(caption)}"', 1)


def describe(estimator: Any) -> dict[str, Any]:
    """A model in a few words: its class, layer widths, activations and loss."""
    return {
        "kind": type(estimator).__name__,
        "layers": "–".join(map(str, layer_widths(estimator.network_))),
        "activation": str(estimator.activation),
        "loss": str(estimator.loss),
        "epochs": int(getattr(estimator, "n_epochs_", 0)),
        "n_parameters": int(sum(np.size(a) for a in (*estimator.coefs_, *estimator.intercepts_))),
    }


def drift(errors: NDArray[np.float64], calibration: Calibration) -> str:
    """In words, whether errors are spread as those of the rows that the model was calibrated on."""
    if len(errors) == 0:
        return "There are no rows to compare."
    n, m = len(errors), calibration.n_rows
    distance = calibration.distance(errors)
    # The distance that one in a thousand pairs of samples from one distribution exceeds (Smirnov 1948), and what the
    # sketch hides.
    chance = 1.95 * float(np.sqrt((n + m) / (n * m))) + 1 / RESOLUTION
    if chance >= 1:
        return (
            f"Too few rows to tell drift: with {n:,} here and {m:,} that the model was calibrated on, chance alone "
            "explains any difference."
        )
    figures = f"Kolmogorov-Smirnov distance {distance:.3f}, where chance alone explains {chance:.3f}"
    if distance <= chance:
        return f"No drift: these rows score like the {m:,} that the model was calibrated on ({figures})."
    above = float(np.mean(calibration.p_values(errors) <= 0.5))
    size = "slightly" if distance < 0.1 else "clearly" if distance < 0.3 else "much"
    how = f"{size} higher" if above >= 0.5 else f"{size} lower"
    return (
        f"Drift: these rows score {how} than the {m:,} that the model was calibrated on; {_percent(above)} are above "
        f"the median there ({figures}). If this is the new normal, recalibrate the model, or fit it anew."
    )


def number(value: Any) -> str:
    """A value for people: four digits of a float, thousands apart, nothing for what is missing."""
    if value is None:
        return "–"
    if isinstance(value, bool) or not isinstance(value, (int, float, np.integer, np.floating)):
        return short(value)
    if isinstance(value, (int, np.integer)):
        return str(value)
    if not np.isfinite(value):
        return "–"
    return _count(float(value)) if 1e4 <= abs(value) < 1e9 else f"{value:.4g}"


def short(value: Any) -> str:
    """A text for people: of a long one the beginning."""
    text = str(value)
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"


def _count(value: float) -> str:
    return f"{value:,.0f}".replace(",", "\u202f")


def _percent(value: float) -> str:
    return f"{100 * value:.3g}\u202f%"


def _safe(text: str) -> Any:
    from markupsafe import Markup

    return Markup(text)  # drawn here from numbers; Matplotlib escapes the names in it


def _version() -> str:
    import aefast

    return str(aefast.__version__)
