"""Renders the report: one self-contained HTML page with pictures and tables of a scored table."""

from __future__ import annotations

import html
import io
import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from aefast import plots
from aefast.engine.core import __version__
from aefast.model.model import Model
from aefast.model.network import layer_widths
from aefast.plots.drawing import BLUE, GREEN, GREY, ORANGE
from aefast.report.findings import Findings
from aefast.report.wording import count, drift, number, percent, short, unbroken
from aefast.scoring.labels import UNLABELLED

if TYPE_CHECKING:
    from jinja2 import Template
    from markupsafe import Markup
    from matplotlib.axes import Axes


#: Columns in lists of columns; the others are left out.
MOST_COLUMNS = 15
INK = "#101112"  # placeholder for the page's text colour in a drawing
_THEME = {
    INK: "currentColor",
    BLUE: "var(--blue)",
    ORANGE: "var(--orange)",
    GREEN: "var(--green)",
    GREY: "var(--grey)",
}


def render(
    findings: Findings,
    *,
    title: str,
    subtitle: str = "",
    image_shape: tuple[int, ...] | None = None,
    notes: Sequence[str] = (),
    about: Sequence[str] | None = None,
) -> str:
    """Render the findings as one self-contained HTML page: it loads no script, font or link.

    Parameters
    ----------
    findings : Findings
        What `examine` found.
    title, subtitle : str
        Heading of the page, and a line below it.
    image_shape : tuple of int, optional
        (height, width) or (height, width, channels). The most anomalous rows are then drawn as images, beside their
        reconstructions.
    notes : sequence of str
        Further lines below the title.
    about : sequence of str, optional
        Kept columns to show beside the most anomalous rows. Default: all kept columns.

    Returns
    -------
    str
        The HTML text.

    See Also
    --------
    examine : Makes the findings.

    Examples
    --------
    >>> import numpy as np, pyarrow as pa, aefast
    >>> from aefast import report
    >>> rng = np.random.default_rng(0)
    >>> table = pa.table({"a": rng.normal(size=500), "b": rng.normal(size=500)})
    >>> scorer = aefast.Scorer(aefast.Autoencoder(max_epochs=2, random_state=0).fit(table))
    >>> page = report.render(report.examine(scorer, table.to_batches()), title="Sensors")
    >>> "<title>Sensors" in page
    True
    """
    from markupsafe import Markup  # the pictures are drawn here; Matplotlib escapes the names in them

    model = findings.scorer.model
    names = findings.scorer.feature_names
    order = [j for j in np.argsort(-findings.reasons, kind="stable") if findings.reasons[j]][:MOST_COLUMNS]
    most = max((int(findings.reasons[j]) for j in order), default=1)
    compared = findings.drift
    changed = sorted(
        range(len(names)), key=lambda j: (not (column := compared.columns[j]).drifted, -column.index, -column.missing)
    )[:MOST_COLUMNS]
    quality, threshold = findings.quality, findings.threshold
    pictures = {
        "rows": _rows_figure(findings),
        "rows_narrow": _rows_figure(findings, ", narrow", width=3.8, columns=150),
        "histogram": _histogram_figure(findings),
    }

    def add(name: str, caption: str, draw: Callable[..., Any], *values: Any, **options: Any) -> None:
        pictures[name] = figure(lambda ax: draw(*values, ax=ax, **options), caption, height=3.2)

    if np.isfinite(findings.p_values).any():
        beside = "Distribution of the scores beside that of the calibration rows"
        add("drift", beside, plots.score_drift, findings.errors, model.calibration)
        add("calibration", "Share of rows by p-value", plots.calibration, findings.p_values)
    if model.loss_curve:
        add("loss", "Loss by epoch", plots.loss_curves, model)
    if quality is not None and findings.labels is not None:
        known = findings.labels != UNLABELLED
        judged = findings.labels[known], findings.errors[known]
        marked = {"threshold": threshold, "best F1": quality["best"]["threshold"]}
        add("roc", "ROC curve", plots.roc_curve, *judged, threshold=marked)
        add("precision", "Precision-recall curve", plots.precision_recall_curve, *judged, threshold=marked)
    if image_shape is not None and findings.strangest:
        shown = findings.strangest[:10]
        pictures["images"] = figure(
            lambda ax: plots.reconstruction_grid(
                model, np.concatenate([s.features for s in shown]), image_shape=image_shape, ax=ax
            ),
            "The most anomalous rows, their reconstructions and the differences",
            width=9.6,
            height=0.2 + 8.3 * (3 * image_shape[0] + 3) / (len(shown) * (image_shape[1] + 1)),
        )
    return template("report.html").render(
        title=title,
        n_tiles=4 if quality is None else 6,
        subtitle=subtitle,
        notes=list(notes),
        findings=findings,
        n_rows=len(findings.errors),
        model=describe(model),
        about=list(findings.scorer.keep if about is None else about),
        groups=findings.groups[:MOST_COLUMNS],
        compared=compared,
        by_column=[(compared.columns[j], bars(findings, j)) for j in changed],
        columns=[(names[j], int(findings.reasons[j]), findings.reasons[j] / most) for j in order],
        figures={name: Markup(svg) for name, svg in pictures.items()},
        quality=quality,
        drift=drift(findings.errors, model.calibration, compared),
    )


def template(name: str) -> Template:
    """Return a page of this folder, which extends `base.html`."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("aefast.report", ""),
        undefined=jinja2.StrictUndefined,
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"number": number, "count": count, "percent": percent, "short": short, "unbroken": unbroken}
    environment.globals["version"] = __version__
    return environment.get_template(name)


def bars(findings: Findings, column: int) -> Markup:
    """Draw the histogram of a column as a small inline SVG: bars of the training rows, a line of these rows."""
    from markupsafe import Markup

    sketch, reference = findings.sketch, findings.scorer.model.reference
    columns = findings.scorer.model.columns
    if sketch is None or reference is None or (columns is not None and columns[column].kind == "timestamp"):
        return Markup()
    shares = [each.bins[column] / max(each.bins[column].sum(), 1) for each in (reference.counts, sketch.columns)]
    heights = [30 * each / max(float(np.max(shares)), 1e-9) for each in shares]
    filled = "".join(f"M{8 * k + 1},31v-{h:.1f}h6v{h:.1f}z" for k, h in enumerate(heights[0]) if h > 0.05)
    steps = "".join(f"V{31 - h:.1f}H{8 * k + 8}" for k, h in enumerate(heights[1]))
    caption = html.escape(f"Histogram of {short(findings.scorer.feature_names[column])}: training and these rows")
    return Markup(
        f'<svg class="bins" role="img" aria-label="{caption}" viewBox="0 0 128 32">'
        f'<path d="{filled}" fill="currentColor" opacity=".3"/>'
        f'<path d="M0,31{steps}V31" fill="none" stroke="var(--blue)" stroke-width="1.5"/></svg>'
    )


def _rows_figure(findings: Findings, more: str = "", *, width: float = 9.6, columns: int = 600) -> str:
    """Draw the score of each row; ``more`` is added to the caption."""

    def draw(ax: Axes) -> None:
        plots.scores_over_rows(
            findings.errors, threshold=findings.threshold, times=findings.times, columns=columns, ax=ax
        )
        if width < 9:
            ax.legend(frameon=False, ncols=2, loc="lower right", bbox_to_anchor=(1, 1))

    order = "time" if findings.is_timed else "rows"
    return figure(draw, f"Score of each row in the order of {order}{more}", width=width)


def _histogram_figure(findings: Findings) -> str:
    """Draw the histogram of scores with the threshold, the score of p-value 0.01 and the score of the largest F1."""
    lines = {"threshold": findings.threshold}
    calibration = findings.scorer.model.calibration
    rare = np.flatnonzero(calibration.levels() <= 0.01)
    if len(rare):
        lines["p = 0.01"] = float(calibration.errors[rare[0] - 1])
    if findings.quality is not None:
        lines["best F1"] = findings.quality["best"]["threshold"]
    return figure(
        lambda ax: plots.error_histogram(
            findings.errors, threshold=lines, labels=None if findings.n_unlabelled else findings.labels, ax=ax
        ),
        "Histogram of the scores",
        height=3.2,
    )


def figure(draw: Callable[[Axes], Any], caption: str, *, width: float = 4.7, height: float = 3.0) -> str:
    """Return a drawing as an inline SVG in the page's colours and fonts.

    Parameters
    ----------
    draw : callable
        Draws into the axes that it gets.
    caption : str
        Describes the picture to those who do not see it.
    width, height : float
        Size in inches.

    Returns
    -------
    str
        The SVG element.

    See Also
    --------
    aefast.plots.error_histogram : One of the pictures that can be drawn.

    Examples
    --------
    >>> from aefast import report
    >>> report.figure(lambda ax: ax.plot([1, 2]), "A line")[:27]
    '<svg role="img" aria-label='
    """
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


def describe(model: Model) -> dict[str, Any]:
    """Summarise a model for the footer: its class, layer widths, activation and loss."""
    return {
        "kind": model.kind,
        "layers": "–".join(map(str, layer_widths(model.network))),
        "activation": str(model.parameters.get("activation", "")),
        "loss": model.loss,
        "epochs": len(model.loss_curve),
        "n_parameters": int(sum(np.size(a) for a in (*model.coefs, *model.intercepts))),
    }
