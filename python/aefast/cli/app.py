"""The command line: ``aefast demo``, ``fit``, ``score``, ``recalibrate``, ``report``, ``info`` and ``bench``.

Commands read options, call the rooms that do the work and print what came out.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from aefast.cli.group import OneLine, UsageError
from aefast.cli.options import (
    KINDS,
    as_usage,
    check_apart,
    check_columns,
    check_contamination,
    image_shape,
    kept_in,
    kinds_of,
    load_model,
    names_in,
    new_estimator,
    source_of,
)
from aefast.cli.terminal import counted, facts, listed, print_json, progress, rows_and_columns, say, status
from aefast.engine.threads import MOST_THREADS
from aefast.tables.arrow import arrow_for

app = typer.Typer(
    cls=OneLine,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    help="Train autoencoders on tables and find the rows that do not fit.",
    epilog="Start with: [bold]aefast demo[/bold]",
    context_settings={"help_option_names": ["-h", "--help"]},
)

#: How `fit` says where the rows it learned from were.
_HOW = {"in memory": "", "sampled": " (a random choice of {:,})", "streamed": " (read anew for every epoch)"}

Data = Annotated[
    list[str], typer.Argument(metavar="DATA...", help="Parquet, CSV, Arrow IPC or .npy: files, folders or patterns.")
]
Model = Annotated[Path, typer.Argument(metavar="MODEL", help="A model file that fit wrote.")]
Json = Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")]
Threads = Annotated[
    int | None, typer.Option("--threads", min=1, max=MOST_THREADS, help="CPUs to use. Default: all this process may.")
]
BatchRows = Annotated[
    int | None,
    typer.Option(
        "--batch-rows",
        min=1,
        max=1 << 62,
        metavar="N",
        help="Rows held at a time; memory follows this. Default: 64 MB of them, 131,072 at most.",
    ),
]


@app.callback(invoke_without_command=True)
def _aefast(
    ctx: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks; may stand anywhere.")] = False,
) -> None:
    if version:
        import aefast

        say(f"aefast {aefast.__version__}")
        raise typer.Exit
    if ctx.invoked_subcommand is None:
        say(ctx.get_help())


@app.command()
def demo(
    output: Annotated[Path, typer.Option("-o", "--output", metavar="DIR", help="Folder to write to.")] = Path(
        "aefast-demo"
    ),
    as_json: Json = False,
) -> None:
    """Train, score and report on real rows that come with a dependency; no input needed."""
    from aefast.jobs.demo import run_demo

    if output.exists() and not output.is_dir():
        raise UsageError(f"{output} is a file; name a folder with -o")
    with status("training and scoring handwritten digits"):
        summary = run_demo(output)
    if as_json:
        print_json(summary)
        return
    digit, strangers = summary["held_out"], f"{summary['held_out']}s"
    on = counted(summary["threads"], "threads")
    facts(
        f"Handwritten digits: a model that has never seen a {digit}",
        [
            ("trained on", f"{summary['training_rows']:,} digits of {summary['n_features']} pixels, no {strangers}"),
            ("training", f"{counted(summary['epochs'], 'epochs')} in {summary['training_seconds']:.2f} s"),
            ("scored", f"{summary['test_rows']:,} other digits, {summary['anomalies']} of them {strangers}"),
            ("AUC", f"{summary['aucroc']:.3f} (1 ranks every {digit} above every other digit, 0.5 is chance)"),
            ("speed", f"{summary['rows_per_second']:,.0f} rows a second in memory, on {on}"),
            ("written", ", ".join(str(output / name) for name in summary["files"])),
        ],
    )
    model, table = output / "digits.safetensors", output / "test.parquet"
    say("\nOpen " + str(output / "report.html") + " in a browser. What to try next:")
    say(f"  aefast info {model}")
    say(f"  aefast score {model} {table} -o scores.csv --keep id,digit --top-features 3")
    say("  aefast fit YOUR.parquet --exclude id -o your.safetensors")
    say("  aefast score your.safetensors YOUR.parquet --keep id -o scores.parquet")


@app.command()
def fit(
    data: Data,
    output: Annotated[Path, typer.Option("-o", "--output", metavar="MODEL", help="Model file to write.")],
    kind: Annotated[str, typer.Option(help=f"Which autoencoder: {', '.join(KINDS)}.")] = "plain",
    layers: Annotated[
        str | None, typer.Option(metavar="64,32", help="Widths after the input; the last is the code.")
    ] = None,
    columns: Annotated[
        list[str] | None, typer.Option(metavar="a,b", help="Columns to learn. Default: all of them.")
    ] = None,
    exclude: Annotated[list[str] | None, typer.Option(metavar="id", help="Columns not to learn.")] = None,
    epochs: Annotated[int | None, typer.Option(min=0, help="Passes over the rows, at most.")] = None,
    contamination: Annotated[
        float | None, typer.Option(help="Share of the training rows to call anomalies, in (0, 0.5].")
    ] = None,
    missing: Annotated[
        str, typer.Option(help="Missing values: error refuses them, mask leaves them out, mean puts the mean there.")
    ] = "error",
    kind_of: Annotated[
        list[str] | None,
        typer.Option(
            "--kind-of",
            metavar="port=categorical",
            help="Kinds of columns: numeric, categorical or timestamp. Default: what their types say.",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, max=(1 << 32) - 1, help="Fixes everything random.")] = 0,
    sample: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Learn from a random choice of N rows.")
    ] = None,
    stream: Annotated[
        bool | None,
        typer.Option(help="Read the files anew for every epoch. Default: where the rows do not fit into memory."),
    ] = None,
    checkpoint: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Save training there after every epoch; after a kill, go on from there."),
    ] = None,
    threads: Threads = None,
    as_json: Json = False,
) -> None:
    """Train an autoencoder on the rows of a table and write it to a file."""
    from aefast.columns.column import by_kind
    from aefast.jobs.plan import fit_job, training_columns
    from aefast.tables.sink import check_writable

    estimator = new_estimator(kind, layers, epochs, contamination, missing, seed, threads)
    as_usage(lambda: check_writable(output))
    if checkpoint is not None:
        as_usage(lambda: check_writable(checkpoint))
    if sample is not None and stream:
        raise UsageError("--sample and --stream exclude each other: a sample is held in memory")
    source = source_of(data)
    check_apart([output], {"input": source.paths, "checkpoint": [checkpoint] if checkpoint else []})
    check_apart([checkpoint] if checkpoint else [], {"input": source.paths})
    chosen, excluded, kinds = names_in(columns), names_in(exclude) or [], kinds_of(kind_of)
    if source.is_matrix and (chosen or excluded or kinds):
        raise UsageError("--columns, --exclude and --kind-of need named columns, which .npy files do not have")
    as_usage(lambda: source.require([*(chosen or []), *kinds], "column"))
    as_usage(lambda: source.require_in_some(excluded))
    estimator.set_params(column_kinds=kinds or None)
    names, left_out = training_columns(source, chosen, excluded)
    for name in set(kinds) & set(left_out):
        raise UsageError(f"--kind-of {name}={kinds[name]}: {name!r} is not learned ({left_out[name]}); leave it out")
    with arrow_for(threads), progress("reading", source.n_rows) as advance:
        summary = fit_job(
            estimator,
            source,
            output,
            columns=names,
            sample=sample,
            stream=stream,
            checkpoint=checkpoint,
            progress=advance,
            verbose=int(sys.stderr.isatty()),
        )
    summary["excluded"] = left_out
    if as_json:
        print_json(summary)
        return
    loss = "not trained" if summary["loss"] is None else f"{summary['loss']:.5g}"
    if summary["validation_loss"] is not None:
        loss += f", {summary['validation_loss']:.5g} on rows held out"
    times = f"{summary['training_seconds']:.2f} s, after {summary['reading_seconds']:.2f} s reading"
    share = f"{100 * summary['contamination']:.3g} %"
    by = f"the {counted(summary['threshold_rows'], 'rows')} held out" if summary["how"] == "streamed" else "these rows"
    facts(
        f"{summary['kind']} {'–'.join(map(str, summary['layers']))}",
        [
            (
                "learned from",
                f"{counted(summary['rows'], 'rows')}{_HOW[summary['how']].format(summary['rows_there'])} of "
                f"{counted(summary['n_features'], 'columns')}" + _these(names),
            ),
            *by_kind(estimator.columns_ or ()),
            *_left_out(left_out),
            ("epochs", f"{summary['epochs']} in {times}"),
            ("loss", loss),
            ("threshold", f"{summary['threshold']:.6g}: {share} of {by} are above it"),
            ("written to", str(output)),
        ],
    )


@app.command()
def score(
    model: Model,
    data: Data,
    output: Annotated[
        Path,
        typer.Option(
            "-o",
            "--output",
            metavar="OUT",
            help=".parquet, .csv, .feather, .arrow, .ipc or .npy; or a folder, for one file of the same name each.",
        ),
    ],
    keep: Annotated[
        list[str] | None,
        typer.Option(metavar="id,ts", help="Input columns to hand on. Default: all that the model does not use."),
    ] = None,
    top_features: Annotated[int, typer.Option(min=0, metavar="K", help="Give each row's K main reasons.")] = 0,
    batch_rows: BatchRows = None,
    threads: Threads = None,
    precision: Annotated[str, typer.Option(help="float32, bfloat16 or int8.")] = "float32",
    fdr: Annotated[
        float | None,
        typer.Option(metavar="Q", help="Flag so that at most this share of the flagged is wrong; reads DATA twice."),
    ] = None,
    label: Annotated[
        str | None, typer.Option(metavar="COLUMN", help="Column that is 1 for known anomalies: prints AUC and more.")
    ] = None,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume", help="Go on where this command was ended. Outputs it has finished stay, but with --label."
        ),
    ] = False,
    as_json: Json = False,
) -> None:
    """Give every row of a table its anomaly score."""
    from aefast.jobs.score import ScoreJob
    from aefast.model.calibration import too_few_held_out
    from aefast.tables.paths import check_name, named_files
    from aefast.tables.sink import ENDINGS, check_folder, check_writable, outputs_in

    if precision not in ("float32", "bfloat16", "int8"):
        raise UsageError(f"--precision must be float32, bfloat16 or int8, got {precision!r}")
    if fdr is not None and not 0 < fdr < 1:
        raise UsageError(f"--fdr must be between 0 and 1, got {fdr:g}")
    folder = output if output.is_dir() or not output.suffix else None
    as_usage(lambda: check_writable(output, ENDINGS) if folder is None else check_folder(output))
    source = source_of(data)
    outputs = [output] if folder is None else as_usage(lambda: outputs_in(folder, [n for _, n in named_files(data)]))
    for each in outputs:
        as_usage(lambda each=each: check_name(each))  # type: ignore[misc]
    check_apart(outputs, {"input": source.paths, "model": [model]})
    kept = kept_in(keep, source)
    if outputs[0].suffix.lower() == ".npy" and (kept or top_features):
        raise UsageError(f"{output}: .npy holds the scores alone; write .parquet to keep columns or reasons")
    check_columns(source, kept, label)
    estimator = load_model(model, threads, to_score=True)
    job = ScoreJob(
        estimator,
        source,
        output if folder is None else outputs,
        folder=folder,
        keep=kept,
        label=label,
        top_features=top_features,
        batch_rows=batch_rows,
        precision=precision,
        fdr=fdr,
        resume=resume,
    )
    with arrow_for(threads), progress("scoring", job.n_rows_to_read) as advance:
        summary = job.run(advance)
    if as_json:
        print_json(summary)
        return
    parts = [f"{k} {summary[f'{k}_seconds']:.2f} s" for k in ("reading", "scoring", "writing")]
    share = 100 * summary["anomalies"] / max(summary["rows"], 1)
    rows = [
        ("rows", f"{summary['rows']:,} in {summary['seconds']:.2f} s: {summary['rows_per_second']:,.0f} rows a second"),
        ("of which", f"{', '.join(parts)}, side by side"),
        ("anomalies", f"{summary['anomalies']:,} ({share:.3g} %), {summary['rule']}"),
    ]
    if summary["resumed_rows"]:
        there = f"{counted(summary['resumed_rows'], 'rows')} from before"
        rows.append(
            ("resumed", f"{there}, {summary['skipped_files']:,} of {counted(summary['files'], 'files')} as they were")
        )
    rows += _left_out(summary["left_out"])
    if label is not None and summary["rows"]:
        rows += _judged(summary["quality"], label, summary["unlabelled"])
    if fdr is not None and not summary["anomalies"]:
        remark = too_few_held_out(summary["least_p_value"], summary["rows"], fdr)
        rows += [("remark", remark)] if remark else []
    rows.append(("written to", str(output)))
    facts(f"Scores of {model.name}", rows)


@app.command()
def recalibrate(
    model: Model,
    data: Data,
    output: Annotated[Path, typer.Option("-o", "--output", metavar="MODEL2", help="Model file to write.")],
    contamination: Annotated[
        float | None, typer.Option(help="Share of these rows to call anomalies, in (0, 0.5]. Default: as in fit.")
    ] = None,
    batch_rows: BatchRows = None,
    threads: Threads = None,
    as_json: Json = False,
) -> None:
    """Set threshold and p-values of a model by the rows of a table, without training again."""
    from aefast.jobs.plan import recalibrate_job
    from aefast.tables.sink import check_writable

    check_contamination(contamination)
    as_usage(lambda: check_writable(output))
    source = source_of(data)
    check_apart([output], {"input": source.paths})
    estimator = load_model(model, threads)
    if contamination is not None:
        estimator.set_params(contamination=contamination)
    with arrow_for(threads), progress("scoring", source.n_rows) as advance:
        summary = recalibrate_job(estimator, source, output, batch_rows=batch_rows, progress=advance)
    if as_json:
        print_json(summary)
        return
    share = f"{100 * summary['contamination']:.3g} %"
    above = f"{summary['above_before']:,} of these rows ({100 * summary['above_before'] / summary['rows']:.3g} %)"
    facts(
        f"{model.name} recalibrated",
        [
            ("rows", f"{summary['rows']:,} in {summary['seconds']:.2f} s"),
            ("threshold", f"{summary['threshold']:.6g}: {share} of these rows are above it"),
            ("before", f"{summary['threshold_before']:.6g}: {above} were above it"),
            ("written to", str(output)),
        ],
    )


@app.command()
def report(
    model: Model,
    data: Data,
    output: Annotated[Path, typer.Option("-o", "--output", metavar="HTML", help="Page to write.")] = Path(
        "report.html"
    ),
    keep: Annotated[
        list[str] | None, typer.Option(metavar="id,ts", help="Columns shown beside the strangest rows. Default: three.")
    ] = None,
    label: Annotated[str | None, typer.Option(metavar="COLUMN", help="Column that is 1 for known anomalies.")] = None,
    image: Annotated[
        str | None, typer.Option(metavar="8x8", help="Rows are images of this height and width; draws them.")
    ] = None,
    batch_rows: BatchRows = None,
    threads: Threads = None,
    as_json: Json = False,
) -> None:
    """Write one HTML page of pictures and tables about a table's scores."""
    from aefast.jobs.plan import report_job
    from aefast.tables.sink import check_writable

    as_usage(lambda: check_writable(output, (".html", ".htm")))
    source = source_of(data)
    check_apart([output], {"input": source.paths, "model": [model]})
    kept = kept_in(keep, source)
    check_columns(source, kept, label)
    estimator = load_model(model, threads)
    shape = image_shape(image, estimator) if image else None
    with arrow_for(threads), progress("scoring", source.n_rows) as advance:
        summary = report_job(
            estimator,
            source,
            output,
            title=f"{model.name} on {source.title}",
            keep=kept,
            label=label,
            image_shape=shape,
            batch_rows=batch_rows,
            progress=advance,
        )
    if as_json:
        print_json(summary)
    else:
        say(f"{counted(summary['rows'], 'rows')}, {summary['anomalies']:,} above the threshold; open {output}")


@app.command()
def info(model: Model, as_json: Json = False) -> None:
    """Say what a model is."""
    from aefast.columns.column import by_kind, levels_of_each
    from aefast.model.network import layer_widths

    estimator = load_model(model, None)
    names = getattr(estimator, "feature_names_in_", None)
    parameters = {k: v for k, v in estimator.get_params(deep=False).items() if k != "callbacks"}
    plain = (bool, int, float, str, type(None))
    summary: dict[str, Any] = {
        "model": str(model),
        "bytes": model.stat().st_size,
        "kind": type(estimator).__name__,
        "layers": layer_widths(estimator.network_),
        "n_parameters": int(sum(np.size(a) for a in (*estimator.coefs_, *estimator.intercepts_))),
        "n_features": int(estimator.n_features_in_),
        "features": None if names is None else [str(n) for n in names],
        "kinds": None if estimator.columns_ is None else {c.name: c.kind for c in estimator.columns_},
        "levels": {c.name: list(c.levels) for c in estimator.columns_ or () if c.kind == "categorical"},
        "threshold": float(estimator.threshold_),
        "calibration_rows": estimator.calibration_.n_rows,
        "least_p_value": estimator.calibration_.least,
        "epochs": int(estimator.n_epochs_),
        "parameters": {k: v if isinstance(v, plain) else repr(v) for k, v in parameters.items()},
    }
    if as_json:
        print_json(summary)
        return
    defaults = type(estimator)().get_params(deep=False)
    changed = [f"{k}={v!r}" for k, v in parameters.items() if repr(v) != repr(defaults[k])]
    facts(
        f"{summary['kind']} {'–'.join(map(str, summary['layers']))}",
        [
            ("file", f"{model}, {summary['bytes']:,} bytes"),
            ("features", f"{summary['n_features']}{_these(summary['features'])}"),
            *by_kind(estimator.columns_ or ()),
            *levels_of_each(estimator.columns_ or ()),
            ("network", f"{estimator.activation}, loss {estimator.loss}, {summary['n_parameters']:,} parameters"),
            (
                "trained",
                f"{counted(summary['epochs'], 'epochs')}, optimizer {estimator.optimizer}, scaler {estimator.scaler}",
            ),
            ("threshold", f"{summary['threshold']:.6g} ({estimator.score_metric_})"),
            ("p-values", f"from {summary['calibration_rows']:,} rows, so none is below {summary['least_p_value']:.3g}"),
            ("not default", ", ".join(changed) or "nothing"),
        ],
    )


@app.command()
def bench(
    threads: Threads = None,
    seconds: Annotated[float, typer.Option(min=0.01, help="Time given to each figure.")] = 0.3,
    as_json: Json = False,
) -> None:
    """Rows a second here, training and scoring, beside NumPy."""
    from aefast.jobs.bench import measure

    with status("measuring"):
        results = measure(seconds=seconds, n_threads=threads)
    if as_json:
        print_json(results)
        return
    say(f"aefast {results['version']}, {results['isa_level']}, {counted(results['threads'], 'threads')}, float32")
    for work, title in (("scoring", "Million rows scored a second"), ("training", "Million rows trained on a second")):
        rows = [
            [
                network["network"],
                f"{network[work]['rows_per_second'] / 1e6:.2f}",
                f"{network[work]['numpy'] / 1e6:.2f}",
                f"{network[work]['rows_per_second'] / network[work]['numpy']:.1f} ×",
                f"{100 * network[work]['share_of_limit']:.0f} %",
            ]
            for network in results["networks"]
        ]
        rows_and_columns(title, ["network", "aefast", "NumPy", "ratio", "of the limit"], rows)
    limits = f"{results['limit_gflops']:.0f} GFLOP/s and {results['limit_gbytes']:.0f} GB/s"
    say(f"Trained in batches of {results['batch_size']} with Adam. The limit is what multiply-adds on registers alone,")
    say(f"and reading memory once, reach here: {limits}.")


def _judged(quality: dict[str, Any] | None, label: str, n_unlabelled: int) -> list[tuple[str, str]]:
    rows = [("unlabelled", f"{counted(n_unlabelled, 'rows')} without a {label}, not judged")] if n_unlabelled else []
    if quality is None:
        return [*rows, ("labels", f"all of one kind in column {label}, so that there is nothing to judge by")]
    best = quality["best"]
    rows += [("AUC", f"{quality['aucroc']:.4f}, average precision {quality['average_precision']:.4f}")]
    for name, at, rule in (("flagged", quality, ""), ("at best", best, f", score above {best['threshold']:.6g}")):
        (_, wrong), (missed, right) = at["confusion_matrix"]
        counts = f"{right:,} of {right + missed:,} anomalies and {wrong:,} other rows"
        shares = f"precision {at['precision']:.4f}, recall {at['recall']:.4f}, F1 {at['f1']:.4f}"
        rows.append((name, f"{counts}: {shares}{rule}"))
    return rows


def _left_out(columns: dict[str, str]) -> list[tuple[str, str]]:
    return [("left out", ", ".join(f"{listed([name])} ({why})" for name, why in columns.items()))] if columns else []


def _these(names: Sequence[str] | None) -> str:
    return f": {listed(names)}" if names else ""
