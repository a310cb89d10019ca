"""``aefast report``: write a page about the scores of tables."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

from aefast.cli.arguments import BatchRows, Data, FailOn, Label, Model, OnBad, OnBadRows, Threads, rows, written
from aefast.cli.errors import UsageError
from aefast.cli.options import (
    as_usage,
    check_apart,
    check_columns,
    image_shape,
    kept_in,
    load_model,
    names_in,
    source_of,
)
from aefast.cli.outcome import Outcome, fail_on_in
from aefast.cli.reading import AS_FOUND, reads_text
from aefast.cli.terminal import display, echo
from aefast.tables.dialect import Reading
from aefast.tables.text import pluralise


@reads_text
def report(
    model: Model,
    data: Data,
    output: Annotated[Path, written("HTML", "Page to write.")] = Path("report.html"),
    keep: Annotated[
        list[str] | None,
        rows("id,ts", "Columns to show beside the rows with the highest scores.", default="the first three"),
    ] = None,
    label: Label = None,
    image: Annotated[str | None, rows("8x8", "Draw rows as images of this height and width.")] = None,
    reading: Reading = AS_FOUND,
    batch_rows: BatchRows = None,
    on_bad: OnBad = OnBadRows.error,
    fail_on: FailOn = None,
    threads: Threads = None,
) -> Outcome:
    """Write one HTML page of charts and tables about the scores of tables."""
    from aefast.jobs.report import report_job
    from aefast.tables.arrow import arrow_for
    from aefast.tables.sink import check_writable

    fatal = fail_on_in(names_in(fail_on))
    as_usage(lambda: check_writable(output, (".html", ".htm")))
    estimator = load_model(model, threads, takes_fleets=True)
    source = source_of(data, replace(reading, on_bad=on_bad.value), estimator)
    check_apart([output], {"input": source.paths, "model": [model]})
    kept = kept_in(keep, source)
    check_columns(source, kept, label)
    if image and not hasattr(estimator, "columns_"):
        raise UsageError("--image needs one model, not a fleet")
    shape = image_shape(image, estimator) if image else None
    with arrow_for(threads), display() as bars:
        summary = report_job(
            estimator,
            source,
            output,
            title=f"{model.name} on {source.title}",
            keep=kept,
            label=label,
            image_shape=shape,
            batch_rows=batch_rows,
            on_bad=on_bad.value,
            progress=bars.rows("scoring", source.about_rows),
        )
    odd = f"{pluralise(len(summary['odd_groups']), 'odd groups')}, " if "odd_groups" in summary else ""
    line = f"{pluralise(summary['rows'], 'rows')}, {odd}{summary['anomalies']:,} above the threshold; open {output}"
    return Outcome(summary, lambda: echo(line), fatal)
