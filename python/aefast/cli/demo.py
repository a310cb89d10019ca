"""``aefast demo``: train, score and report on scikit-learn's handwritten digits."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from aefast.cli.arguments import written
from aefast.cli.errors import UsageError
from aefast.cli.outcome import Outcome
from aefast.cli.terminal import display, echo, print_summary
from aefast.tables.text import pluralise


def demo(output: Annotated[Path, written("DIR", "Folder to write to.")] = Path("aefast-demo")) -> Outcome:
    """Train, score and report on scikit-learn's handwritten digits. Needs no data of yours."""
    from aefast.jobs.demo import run_demo

    if output.exists() and not output.is_dir():
        raise UsageError(f"{output} is a file; name a folder with -o")
    with display() as bars:
        bars.rows("training and scoring handwritten digits", None)
        summary = run_demo(output)
    return Outcome(summary, lambda: _print(summary, output))


def _print(summary: dict[str, Any], output: Path) -> None:
    digit, strangers = summary["held_out"], f"{summary['held_out']}s"
    on = pluralise(summary["threads"], "threads")
    print_summary(
        f"Handwritten digits: a model that has never seen a {digit}",
        [
            ("trained on", f"{summary['training_rows']:,} digits of {summary['n_features']} pixels, no {strangers}"),
            ("training", f"{pluralise(summary['epochs'], 'epochs')} in {summary['training_seconds']:.2f} s"),
            ("scored", f"{summary['test_rows']:,} other digits, {summary['anomalies']} of them {strangers}"),
            ("AUC", f"{summary['aucroc']:.3f} (1 ranks every {digit} above every other digit, 0.5 is chance)"),
            ("speed", f"{summary['rows_per_second']:,.0f} rows a second in memory, on {on}"),
            ("written", ", ".join(str(output / name) for name in summary["files"])),
        ],
    )
    model, table = output / "digits.safetensors", output / "test.parquet"
    echo(f"\nOpen {output / 'report.html'} in a browser. What to try next:")
    echo(f"  aefast info {model}")
    echo(f"  aefast score {model} {table} -o scores.csv --keep id,digit --top-features 3")
    echo("  aefast fit YOUR.parquet --exclude id -o your.safetensors")
    echo("  aefast score your.safetensors YOUR.parquet --keep id -o scores.parquet")
