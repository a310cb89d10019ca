"""``aefast recalibrate``: set the threshold and the p-values of a model from other rows."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

from aefast.cli.arguments import BatchRows, Data, Model, OnBad, OnBadRows, Threads, outlier_share, results, written
from aefast.cli.options import as_usage, check_apart, load_model, source_of
from aefast.cli.outcome import Outcome
from aefast.cli.reading import AS_FOUND, reads_text
from aefast.cli.terminal import display, print_summary
from aefast.tables.dialect import Reading


@reads_text
def recalibrate(
    model: Model,
    data: Data,
    output: Annotated[Path, written("MODEL2", "Model file to write.")],
    contamination: Annotated[
        float | None,
        results(
            "P", "Share of these rows above the threshold, at most 0.5.", default="as in fit", parser=outlier_share
        ),
    ] = None,
    on_bad: OnBad = OnBadRows.error,
    reading: Reading = AS_FOUND,
    batch_rows: BatchRows = None,
    threads: Threads = None,
) -> Outcome:
    """Set the threshold and the p-values of a model from the rows of tables, without training."""
    from aefast.jobs.recalibrate import recalibrate_job
    from aefast.tables.arrow import arrow_for
    from aefast.tables.sink import check_writable

    as_usage(lambda: check_writable(output))
    estimator = load_model(model, threads)
    source = source_of(data, replace(reading, on_bad=on_bad.value), estimator)
    check_apart([output], {"input": source.paths})
    if contamination is not None:
        estimator.set_params(contamination=contamination)
    with arrow_for(threads), display() as bars:
        rows = bars.rows("scoring", source.about_rows)
        summary = recalibrate_job(estimator, source, output, batch_rows=batch_rows, on_bad=on_bad.value, progress=rows)
    return Outcome(summary, lambda: _print(summary, model))


def _print(summary: dict[str, Any], model: Path) -> None:
    from aefast.jobs.drift import drift_line

    percent = f"{100 * summary['contamination']:.3g} %"
    n_good = summary["rows"] - summary["bad_rows"]
    above = f"{summary['above_before']:,} of these rows ({100 * summary['above_before'] / n_good:.3g} %)"
    left_out = f", {summary['bad_rows']:,} of them bad and left out" if summary["bad_rows"] else ""
    print_summary(
        f"{model.name} recalibrated",
        [
            ("rows", f"{summary['rows']:,} in {summary['seconds']:.2f} s{left_out}"),
            ("threshold", f"{summary['threshold']:.6g}: {percent} of these rows are above it"),
            *drift_line(summary["drift"]),
            ("before", f"{summary['threshold_before']:.6g}: {above} were above it"),
            ("written to", summary["model"]),
        ],
    )
