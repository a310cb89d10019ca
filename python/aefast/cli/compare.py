"""``aefast compare``: what two models say of the same tables."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from aefast.cli.arguments import BatchRows, Data, Threads, argument, results, rows, whole_number
from aefast.cli.options import check_columns, kept_in, load_model, source_of
from aefast.cli.outcome import Outcome
from aefast.cli.reading import AS_FOUND, reads_text
from aefast.cli.terminal import display, print_summary
from aefast.tables.dialect import Reading
from aefast.tables.text import pluralise

_First = Annotated[Path, argument("FIRST", "A model file that aefast fit wrote.")]
_Second = Annotated[Path, argument("SECOND", "Another one; its columns may differ.")]


@reads_text
def compare(
    first: _First,
    second: _Second,
    data: Data,
    keep: Annotated[
        list[str] | None,
        rows("id,ts", "Columns to show beside the examples.", default="the first three that no model reads"),
    ] = None,
    examples: Annotated[int, results("N", "Examples of each kind of disagreement.", parser=whole_number(0, 1000))] = 3,
    reading: Reading = AS_FOUND,
    batch_rows: BatchRows = None,
    threads: Threads = None,
) -> Outcome:
    """Compare two models on the rows of tables: ranks, rows flagged by one alone, reasons that changed."""
    from aefast.jobs.compare import compare_job
    from aefast.tables.arrow import arrow_for

    models = [load_model(path, threads, to_score=True) for path in (first, second)]
    source = source_of(data, reading, models[0])
    kept = kept_in(keep, source)
    check_columns(source, kept, None)
    with arrow_for(threads), display() as bars:
        advance = bars.rows("scoring", source.about_rows)
        summary = compare_job(
            models[0], models[1], source, keep=kept, n_examples=examples, batch_rows=batch_rows, progress=advance
        )
    for which, path in (("first", first), ("second", second)):
        summary[which] = {"model": str(path), **summary[which]}
    return Outcome(summary, lambda: print_summary(f"{first} and {second}", _lines(summary)))


def _lines(summary: dict[str, Any]) -> list[tuple[str, str]]:
    correlation = summary["rank_correlation"]
    lines = [
        ("rows", f"{summary['rows']:,}"),
        ("rank correlation", "none: all scores are equal" if correlation is None else f"{correlation:.4f}"),
    ]
    for which in ("first", "second"):
        said = summary[which]
        lines.append((which, f"{said['model']}: {said['flagged']:,} above its threshold of {said['threshold']:.6g}"))
    lines.append(("flagged by both", f"{summary['flagged_by_both']:,}"))
    for which in ("first", "second"):
        lines.append((f"{which} only", pluralise(summary[f"flagged_by_{which}_only"], "rows")))
        lines += [("", _example(each)) for each in summary["examples"][f"{which}_only"]]
    others = f"{summary['other_first_reason']:,} of {pluralise(summary['flagged_by_both'], 'rows')} flagged by both"
    changes = [f"{each['first']} to {each['second']} ({each['rows']:,})" for each in summary["changed_reasons"][:5]]
    lines.append(("other reason", others + (f": {', '.join(changes)}" if changes else "")))
    lines += [("", _example(each, with_second=True)) for each in summary["examples"]["other_reason"]]
    return lines


def _example(row: dict[str, Any], *, with_second: bool = False) -> str:
    """One row: its number and columns, its p-values, and its first reason (of both models)."""
    about = ", ".join(f"{name}={value}" for name, value in row["columns"].items())
    p_values = f"p = {row['first']['p_value']:.3g} and {row['second']['p_value']:.3g}"
    likely = min(("first", "second"), key=lambda which: row[which]["p_value"])
    which = ("first", "second") if with_second else (likely,)
    reasons = [_reason(row[each]["reasons"]) for each in which]
    return f"row {row['row']:,}{f' ({about})' if about else ''}: {p_values}; {' / '.join(reasons)}"


def _reason(reasons: list[dict[str, Any]]) -> str:
    if not reasons:
        return "no reason"
    first = reasons[0]
    value, expected = (f"{v:.4g}" if isinstance(v, float) else str(v) for v in (first["value"], first["expected"]))
    return f"{first['feature']} = {value} (expected {expected})"
