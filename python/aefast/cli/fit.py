"""``aefast fit``: train an autoencoder on the rows of tables."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from aefast.cli.arguments import (
    Data,
    Missing,
    OnBadRows,
    Threads,
    network,
    outlier_share,
    rows,
    running,
    whole_number,
    written,
)
from aefast.cli.errors import UsageError
from aefast.cli.fleet import print_fleet
from aefast.cli.options import Kind, as_usage, check_apart, kinds_of, layers_in, names_in, new_estimator, source_of
from aefast.cli.outcome import Outcome
from aefast.cli.reading import AS_FOUND, reads_text
from aefast.cli.terminal import describe_left_out, display, print_summary
from aefast.model.variants import KINDS
from aefast.tables.dialect import Reading
from aefast.tables.text import list_names, pluralise


@reads_text
def fit(
    data: Data,
    output: Annotated[Path, written("MODEL", "Model file to write.")],
    columns: Annotated[list[str] | None, rows("a,b", "Columns to learn.", default="all that can be learned")] = None,
    exclude: Annotated[list[str] | None, rows("id", "Columns not to learn.")] = None,
    kind_of: Annotated[
        list[str] | None,
        rows(
            "port=categorical", "Kinds of columns: numeric, categorical or timestamp.", default="by the column's type"
        ),
    ] = None,
    missing: Annotated[
        Missing | None,
        rows(
            None,
            "Missing values: error refuses them, mask ignores them, mean replaces them by the column's mean.",
            default="mask if there are any",
        ),
    ] = None,
    by: Annotated[
        list[str] | None, rows("machine", "Fit one model for each group of rows with the same values in these columns.")
    ] = None,
    min_rows: Annotated[
        int | None,
        rows("N", "With --by: groups with fewer rows use a model of all groups.", default="50", parser=whole_number(1)),
    ] = None,
    sample: Annotated[int | None, rows("N", "Learn from a random sample of N rows.", parser=whole_number(1))] = None,
    stream: Annotated[
        bool | None,
        rows(None, "Read the files again in every epoch, or hold all rows in memory.", default="by available memory"),
    ] = None,
    on_bad: Annotated[
        OnBadRows, rows(None, "Rows with infinite or unreadable values: error stops, null and skip leave them out.")
    ] = OnBadRows.error,
    reading: Reading = AS_FOUND,
    kind: Annotated[Kind, network("KIND", f"Variant of autoencoder: {', '.join(KINDS)}.")] = Kind["plain"],
    layers: Annotated[
        str | None,
        network("64,32", "Widths of the encoder's layers; the last is the code.", default="by the number of columns"),
    ] = None,
    epochs: Annotated[
        int | None,
        network("N", "Maximum number of epochs; training may stop early.", default="100", parser=whole_number(0)),
    ] = None,
    contamination: Annotated[
        float | None,
        network("P", "Share of rows above the threshold, at most 0.5.", default="0.1", parser=outlier_share),
    ] = None,
    seed: Annotated[int, network("N", "Random seed.", parser=whole_number(0, (1 << 32) - 1))] = 0,
    checkpoint: Annotated[
        Path | None,
        running(
            "FILE", "Save training to FILE after every epoch. If it is killed, the same command continues from FILE."
        ),
    ] = None,
    threads: Threads = None,
) -> Outcome:
    """Train an autoencoder on the rows of tables and write it to a file."""
    from aefast.jobs.fit import fit_job, training_columns
    from aefast.jobs.fleet import fit_fleet_job
    from aefast.tables.arrow import arrow_for
    from aefast.tables.sink import check_writable

    estimator = new_estimator(
        kind.value,
        encoder_layer_sizes=None if layers is None else layers_in(layers),
        max_epochs=epochs,
        contamination=contamination,
        missing=None if missing is None else missing.value,
        random_state=seed,
        n_threads=threads,
    )
    for path in (output, checkpoint):
        if path is not None:
            as_usage(partial(check_writable, path))
    if sample is not None and stream:
        raise UsageError("--sample and --stream exclude each other: a sample is held in memory")
    groups = names_in(by)
    if groups and (sample is not None or stream or checkpoint is not None):
        raise UsageError(
            "--by holds all rows in memory and fits many models; leave --sample, --stream, --checkpoint out"
        )
    if min_rows is not None and not groups:
        raise UsageError("--min-rows goes with --by, which names the columns of the groups")
    kinds = kinds_of(kind_of)
    read_as = kinds | dict.fromkeys(groups or [], "categorical")
    source = source_of(data, replace(reading, on_bad=on_bad.value, kinds=read_as))
    check_apart([output], {"input": source.paths, "checkpoint": [checkpoint] if checkpoint else []})
    check_apart([checkpoint] if checkpoint else [], {"input": source.paths})
    chosen, excluded = names_in(columns), names_in(exclude) or []
    if source.is_matrix and (chosen or excluded or kinds):
        raise UsageError("--columns, --exclude and --kind-of need named columns, which .npy files do not have")
    if source.is_matrix and groups:
        raise UsageError("--by needs named columns, which .npy files do not have")
    as_usage(lambda: source.require(groups or [], "column"))
    excluded += [name for name in groups or [] if name not in excluded]
    as_usage(lambda: source.require([*(chosen or []), *kinds], "column"))
    as_usage(lambda: source.require_in_some(excluded))
    estimator.set_params(column_kinds=kinds or None)
    names, left_out = training_columns(source, chosen, excluded, kinds)
    for name in set(kinds) & set(left_out):
        raise UsageError(f"--kind-of {name}={kinds[name]}: {name!r} is not learned ({left_out[name]}); leave it out")
    with arrow_for(threads), display() as bars:
        if groups:
            summary = fit_fleet_job(
                estimator,
                source,
                output,
                by=groups,
                columns=names or [],
                min_rows=min_rows or 50,
                finds_missing=missing is None,
                on_bad=on_bad.value,
                display=bars,
            )
        else:
            summary = fit_job(
                estimator,
                source,
                output,
                columns=names,
                sample=sample,
                stream=stream,
                checkpoint=checkpoint,
                finds_missing=missing is None,
                on_bad=on_bad.value,
                display=bars,
            )
    summary["excluded"] = left_out | dict.fromkeys(groups or [], "--by")
    return Outcome(summary, lambda: print_fleet(summary) if groups else _print(summary, estimator.columns_ or ()))


def _print(summary: dict[str, Any], columns: Any) -> None:
    from aefast.columns.column import by_kind

    loss = "not trained" if summary["loss"] is None else f"{summary['loss']:.5g}"
    if summary["validation_loss"] is not None:
        loss += f", {summary['validation_loss']:.5g} on held-out rows"
    is_streamed = summary["how"] == "streamed"
    how = {
        "in memory": "",
        "sampled": f" (a random sample of {summary['rows_there']:,})",
        "streamed": " (read again in every epoch)",
    }[summary["how"]]
    reading = f"{summary['reading_seconds']:.2f} s"
    share = f"{100 * summary['contamination']:.3g} %"
    judged = f"rows like the {summary['threshold_rows']:,} that were kept" if is_streamed else "rows like these"
    names = f": {list_names(summary['columns'])}" if summary["columns"] else ""
    print_summary(
        f"{summary['kind']} {'–'.join(map(str, summary['layers']))}",
        [
            (
                "learned from",
                f"{pluralise(summary['rows'], 'rows')}{how} of {pluralise(summary['n_features'], 'columns')}{names}",
            ),
            *([("read as", summary["dialect"])] if summary["dialect"] else []),
            *by_kind(columns),
            *([("remark", summary["in_training"])] if summary["in_training"] else []),
            *describe_left_out(summary["excluded"]),
            *_gaps(summary),
            ("epochs", f"{summary['epochs']} in {summary['training_seconds']:.2f} s, after {reading} of reading"),
            ("loss", loss),
            ("threshold", f"{summary['threshold']:.6g}: {share} of {judged} are above it"),
            ("written to", summary["model"]),
        ],
    )


def _gaps(summary: dict[str, Any]) -> list[tuple[str, str]]:
    """The lines about missing values and bad rows."""
    lines = []
    n_missing = summary["missing_values"]
    if n_missing:
        worst = sorted(n_missing, key=lambda name: -n_missing[name])
        shares = [f"{name} ({100 * n_missing[name] / summary['rows']:.2g} %)" for name in worst[:3]]
        more = f" and {pluralise(len(worst) - 3, 'columns')} more" if len(worst) > 3 else ""
        what = {"mask": "ignored", "mean": "replaced by the mean"}[summary["missing"]]
        lines.append(("missing", f"{', '.join(shares)}{more}: {what} (--missing {summary['missing']})"))
    if summary["bad_rows"]:
        lines.append(("bad rows", f"{summary['bad_rows']:,} with infinite or unreadable values, left out"))
    return lines
