"""``aefast score``: give every row of tables its anomaly score."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from aefast.cli.arguments import (
    BatchRows,
    Data,
    FailOn,
    Label,
    Model,
    OnBadRows,
    Precision,
    Threads,
    number,
    results,
    rows,
    running,
    whole_number,
    written,
)
from aefast.cli.errors import UsageError
from aefast.cli.log import LOG
from aefast.cli.options import as_usage, check_apart, check_columns, kept_in, load_model, names_in, source_of
from aefast.cli.outcome import Outcome, fail_on_in
from aefast.cli.reading import AS_FOUND, reads_text
from aefast.cli.terminal import describe_left_out, display, print_summary
from aefast.tables.dialect import Reading
from aefast.tables.formats.registry import ENDINGS
from aefast.tables.text import pluralise, printable


@reads_text
def score(
    model: Model,
    data: Data,
    output: Annotated[Path, written("OUT", f"File to write: {', '.join(ENDINGS)}. Or a folder: one output per input.")],
    keep: Annotated[
        list[str] | None,
        rows("id,ts", "Input columns to copy to the output.", default="all that the model does not use"),
    ] = None,
    label: Label = None,
    top_features: Annotated[
        int, results("K", "Add the K features with the largest shares of each row's score.", parser=whole_number(0))
    ] = 0,
    fdr: Annotated[
        float | None,
        results(
            "Q",
            "Limit the expected share of false alarms among flagged rows to Q. Reads DATA twice.",
            default="flag scores above the model's threshold",
            parser=number(float, "above 0 and below 1", lambda q: 0 < q < 1),
        ),
    ] = None,
    precision: Annotated[
        Precision, results("TYPE", "Arithmetic: float32, or bfloat16 and int8, which are faster and less exact.")
    ] = Precision.float32,
    only_anomalies: Annotated[bool, results(None, "Write the anomalies alone.", "--only-anomalies")] = False,
    sort: Annotated[
        bool, results(None, "Sort the anomalies by score, highest first; needs --only-anomalies.", "--sort")
    ] = False,
    on_bad: Annotated[
        OnBadRows,
        rows(None, "Rows that cannot be scored: error stops, null writes them with null scores, skip leaves them out."),
    ] = OnBadRows.error,
    reading: Reading = AS_FOUND,
    fail_on: FailOn = None,
    resume: Annotated[
        bool,
        running(None, "Continue an interrupted job. Finished outputs are kept unless --label is given.", "--resume"),
    ] = False,
    batch_rows: BatchRows = None,
    threads: Threads = None,
) -> Outcome:
    """Give every row of tables its anomaly score."""
    from aefast.jobs.plan import without_unfit
    from aefast.jobs.score import ScoreJob
    from aefast.tables.arrow import arrow_for
    from aefast.tables.formats.registry import writer_class
    from aefast.tables.paths import check_name, named_files
    from aefast.tables.sink import check_folder, check_writable, outputs_in

    fatal = fail_on_in(names_in(fail_on))
    if sort and not only_anomalies:
        raise UsageError("--sort needs --only-anomalies; all rows are written in the order of the input")
    folder = output if output.is_dir() or not output.suffix else None
    as_usage(lambda: check_writable(output, ENDINGS) if folder is None else check_folder(output))
    fitted = load_model(model, threads, to_score=True, takes_fleets=True)
    reading = replace(reading, on_bad=on_bad.value)
    failed: dict[str, str] = {}
    if folder is None:
        source, outputs = source_of(data, reading, fitted), [output]
    else:
        names = as_usage(lambda: dict(named_files(data)))
        outputs = as_usage(lambda: outputs_in(folder, list(names.values())))
        source = source_of(list(names), reading, fitted, failed if len(names) > 1 else None)
    for each in outputs:
        as_usage(partial(check_name, each))
    check_apart(outputs, {"input": source.paths, "model": [model]})
    kept = kept_in(keep, source)
    if folder is not None and len(outputs) > 1:
        source = without_unfit(fitted, source, kept, label, failed)
        outputs = [folder / names[path] for path in source.paths]
    if writer_class(outputs[0]).holds_one_column and (kept or top_features):
        suffix = outputs[0].suffix
        raise UsageError(f"{output}: {suffix} holds the scores alone; write .parquet to keep columns or reasons")
    check_columns(source, kept, label)
    for path, reason in failed.items():
        LOG.error("score: %s: %s", printable(path), printable(reason))
    job = ScoreJob(
        fitted,
        source,
        output if folder is None else outputs,
        folder=folder,
        failed=failed,
        keep=kept,
        label=label,
        top_features=top_features,
        batch_rows=batch_rows,
        precision=precision.value,
        fdr=fdr,
        resume=resume,
        on_bad=on_bad.value,
        only_anomalies=only_anomalies,
        sort=sort,
    )
    with arrow_for(threads), display() as bars:
        summary = job.run(bars.rows("scoring", job.about_rows))
    return Outcome(summary, lambda: print_summary(f"Scores of {model.name}", _lines(summary, label)), fatal)


def _lines(summary: dict[str, Any], label: str | None) -> list[tuple[str, str]]:
    from aefast.jobs.drift import drift_line

    steps = [f"{step} {summary[f'{step}_seconds']:.2f} s" for step in ("reading", "scoring", "writing")]
    share = 100 * summary["anomalies"] / max(summary["rows"], 1)
    lines = [
        ("rows", f"{summary['rows']:,} in {summary['seconds']:.2f} s: {summary['rows_per_second']:,.0f} rows a second"),
        ("steps", f"{', '.join(steps)}; they overlap"),
        ("anomalies", f"{summary['anomalies']:,} ({share:.3g} %), {summary['rule']}"),
    ]
    if summary["bad_rows"]:
        done = "written with null scores" if summary["on_bad"] == "null" else "left out"
        lines.append(("bad rows", f"{summary['bad_rows']:,} with missing, infinite or unreadable values, {done}"))
    if summary["resumed_rows"]:
        rows = pluralise(summary["resumed_rows"], "rows")
        files = f"{summary['skipped_files']:,} of {pluralise(summary['files'], 'files')}"
        lines.append(("resumed", f"{rows} were scored before; {files} were finished"))
    if summary.get("pooled_rows"):
        rows, groups = pluralise(summary["pooled_rows"], "rows"), pluralise(summary["pooled_groups"], "groups")
        lines.append(("pooled", f"{rows} of {groups} without a model of their own"))
    if failed := summary.get("failed"):
        lines.append(("failed", f"{len(failed):,} of {pluralise(summary['files'], 'files')}"))
    lines += drift_line(summary["drift"]) + describe_left_out(summary["left_out"])
    if label is not None and summary["rows"]:
        lines += _quality(summary["quality"], label, summary["unlabelled"])
    if not summary.get("fdr_kept", True):
        lines.append(("remark", _why_not_kept(summary)))
    return [*lines, ("written to", summary["output"])]


def _why_not_kept(summary: dict[str, Any]) -> str:
    """Why the rate of ``--fdr`` was not kept, what was done, and what would help."""
    n_good, together = summary["rows"] - summary["bad_rows"], summary["least_flagged"]
    asked = f"--fdr {summary['fdr']:g}"
    few = f"only {summary['held_out_rows']:,} rows were held out, so no p-value is below {summary['least_p_value']:.3g}"
    if together > n_good:
        why = f"{asked} is out of reach: {few}, and no row alone or with all others can be flagged"
    else:
        why = f"{asked} is out of reach: {few}, and at least {together:,} of {n_good:,} rows would have to be flagged"
    by_chance = f"about {summary['expected_false_alarms']:,.2g} rows are above it by chance"
    return f"{why}; flagged are the scores above all held-out rows, {by_chance}; fit or recalibrate on more rows"


def _quality(quality: dict[str, Any] | None, label: str, n_unlabelled: int) -> list[tuple[str, str]]:
    """The lines about how well the scores find the labelled anomalies."""
    lines = [("unlabelled", f"{pluralise(n_unlabelled, 'rows')} without a {label}, not judged")] if n_unlabelled else []
    if quality is None:
        return [*lines, ("labels", f"all of one kind in column {label}, so the scores cannot be judged")]
    best = quality["best"]
    lines += [("AUC", f"{quality['aucroc']:.4f}, average precision {quality['average_precision']:.4f}")]
    for name, at, rule in (("flagged", quality, ""), ("at best", best, f", score above {best['threshold']:.6g}")):
        (_, wrong), (missed, right) = at["confusion_matrix"]
        counts = f"{right:,} of {right + missed:,} anomalies and {wrong:,} other rows"
        shares = f"precision {at['precision']:.4f}, recall {at['recall']:.4f}, F1 {at['f1']:.4f}"
        lines.append((name, f"{counts}: {shares}{rule}"))
    return lines
