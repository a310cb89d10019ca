"""What commands print: plain text in a pipe; tables, colours and progress on a terminal."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

from aefast.tables.text import list_names as listed
from aefast.tables.text import pluralise as counted
from aefast.tables.text import printable

__all__ = [
    "counted",
    "facts",
    "listed",
    "missing_extra",
    "print_json",
    "printable",
    "progress",
    "rows_and_columns",
    "say",
    "status",
]

EXTRA = ("typer", "rich", "pyarrow", "matplotlib", "jinja2")


def missing_extra(error: ModuleNotFoundError) -> str | None:
    """What to install, where it is something of the extra ``cli`` that was not found."""
    name = (error.name or "").partition(".")[0]
    return f'the command line needs {name}; pip install "aefast[cli]"' if name in EXTRA else None


def say(text: str) -> None:
    """One line or more on standard output."""
    try:
        sys.stdout.write("\n".join(map(printable, text.split("\n"))) + "\n")
        sys.stdout.flush()
    except OSError as error:
        # What is still in the buffer would fail once more when Python ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise OSError(error.errno, error.strerror, "standard output") from error


def print_json(summary: Any) -> None:
    """Plain data as JSON on standard output."""
    say(json.dumps(summary, indent=2, allow_nan=False))


def facts(title: str, lines: Sequence[tuple[str, str]]) -> None:
    """A title and named values below it."""
    title, lines = printable(title), [(printable(name), printable(value)) for name, value in lines]
    if not sys.stdout.isatty():
        width = max(len(name) for name, _ in lines)
        say("\n".join([title, *(f"  {name:<{width}}  {value}" for name, value in lines)]))
        return
    from rich.table import Table
    from rich.text import Text

    heading = Text(title, style="bold")
    table = Table(title=heading, title_justify="left", box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(style="cyan", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in lines:
        table.add_row(Text(name), Text(value))
    _console().print(table)


def rows_and_columns(title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table; all columns but the first are aligned to the right."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(title=Text(title, style="bold"), title_justify="left", box=box.SIMPLE_HEAD, header_style="cyan")
    for i, name in enumerate(header):
        table.add_column(name, justify="right" if i else "left", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    _console().print(table)


def _console(stderr: bool = False) -> Any:
    from rich.console import Console

    return Console(stderr=stderr, highlight=False)


@contextmanager
def progress(what: str, n_rows: int | None) -> Iterator[Callable[[int], None]]:
    """A bar of rows done so far on a terminal, nothing elsewhere; gives the function to call with each number more."""
    if not sys.stderr.isatty():
        yield lambda rows: None
        return
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = [TextColumn(what), BarColumn(), TextColumn("{task.completed:,.0f} rows"), TimeElapsedColumn()]
    with Progress(*columns, console=_console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=n_rows)
        yield lambda rows: bar.advance(task, rows)


def status(what: str) -> Any:
    """A turning wheel on a terminal while the block runs, nothing elsewhere."""
    return _console(stderr=True).status(what) if sys.stderr.isatty() else nullcontext()
