"""Prints the output of commands: plain text in a pipe; tables, colours and progress bars on a terminal."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from aefast.tables.text import list_names, printable

if TYPE_CHECKING:
    from aefast.training.display import Silence

EXTRA = ("typer", "rich", "pyarrow", "matplotlib", "jinja2", "tomli")


def missing_extra(error: ModuleNotFoundError) -> str | None:
    """The message if a package of the extra ``cli`` is not installed; None for other modules."""
    name = (error.name or "").partition(".")[0]
    return f'the command line needs {name}; run: pip install "aefast[cli]"' if name in EXTRA else None


def echo(text: str) -> None:
    """Print one line or more on standard output."""
    try:
        sys.stdout.write("\n".join(map(printable, text.split("\n"))) + "\n")
        sys.stdout.flush()
    except OSError as error:
        # Python would flush the buffer once more at its end, and fail again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise OSError(error.errno, error.strerror, "standard output") from error


def print_json(summary: Any) -> None:
    """Print plain data as JSON on standard output."""
    echo(json.dumps(summary, indent=2, allow_nan=False))


def describe_left_out(columns: Mapping[str, str]) -> list[tuple[str, str]]:
    """The line of a summary about the columns that are left out, by their reasons; no line if there are none."""
    reasons = {why: [name for name in columns if columns[name] == why] for why in columns.values()}
    names = ", ".join(f"{list_names(names)} ({why})" for why, names in reasons.items())
    return [("left out", names)] if names else []


def print_summary(title: str, lines: Sequence[tuple[str, str]]) -> None:
    """Print a title and named values below it."""
    title, lines = printable(title), [(printable(name), printable(value)) for name, value in lines]
    if not sys.stdout.isatty():
        width = max(len(name) for name, _ in lines)
        echo("\n".join([title, *(f"  {name:<{width}}  {value}" for name, value in lines)]))
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(
        title=Text(title, style="bold"), title_justify="left", box=None, show_header=False, padding=(0, 2, 0, 0)
    )
    table.add_column(style="cyan", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in lines:
        table.add_row(Text(name), Text(value))
    Console(highlight=False).print(table)


def print_table(title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table. The first column is aligned to the left, the others to the right."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(title=Text(title, style="bold"), title_justify="left", box=box.SIMPLE_HEAD, header_style="cyan")
    for i, name in enumerate(header):
        table.add_column(name, justify="right" if i else "left", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    Console(highlight=False).print(table)


def display() -> Silence:
    """The display of a command's progress: a line if standard error is a terminal, else nothing."""
    from aefast.training.display import Silence

    if not sys.stderr.isatty():
        return Silence()
    from aefast.training.bars import Bars

    return Bars(transient=True)
