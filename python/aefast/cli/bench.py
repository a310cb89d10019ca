"""``aefast bench``: measure the speed of training and scoring on this machine."""

from __future__ import annotations

from typing import Annotated, Any

from aefast.cli.arguments import Threads, number, running
from aefast.cli.outcome import Outcome
from aefast.cli.terminal import display, echo, print_table
from aefast.tables.text import pluralise


def bench(
    seconds: Annotated[
        float, running("S", "Time for each figure.", parser=number(float, "at least 0.01", lambda s: s >= 0.01))
    ] = 0.3,
    threads: Threads = None,
) -> Outcome:
    """Measure the rows per second of training and scoring here, beside NumPy."""
    from aefast.jobs.bench import measure

    with display() as bars:
        bars.rows("measuring", None)
        results = measure(seconds=seconds, n_threads=threads)
    return Outcome(results, lambda: _print(results))


def _print(results: dict[str, Any]) -> None:
    echo(f"aefast {results['version']}, {results['isa_level']}, {pluralise(results['threads'], 'threads')}, float32")
    for work, title in (("scoring", "Million rows scored a second"), ("training", "Million rows trained on a second")):
        lines = [
            [
                network["network"],
                f"{network[work]['rows_per_second'] / 1e6:.2f}",
                f"{network[work]['numpy'] / 1e6:.2f}",
                f"{network[work]['rows_per_second'] / network[work]['numpy']:.1f} ×",
                f"{100 * network[work]['share_of_limit']:.0f} %",
            ]
            for network in results["networks"]
        ]
        print_table(title, ["network", "aefast", "NumPy", "ratio", "of the limit"], lines)
    limits = f"{results['limit_gflops']:.0f} GFLOP/s and {results['limit_gbytes']:.0f} GB/s"
    echo(f"Training uses Adam and minibatches of {results['batch_size']} rows. The limit is what this machine reaches")
    echo(f"with multiply-adds on registers alone and with reading memory once: {limits}.")
