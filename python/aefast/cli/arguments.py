"""How options are declared: their panels, parsers and choices, and the options that several commands share."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from enum import Enum
from functools import partial
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from aefast.engine.threads import MOST_THREADS
from aefast.model.metrics import MISSING, PRECISIONS

T = TypeVar("T", int, float)

#: The panel of the options that do not change what a command finds, ``--help`` among them.
RUNNING = "Running"


def option(
    panel: str, metavar: str | None, help: str, *names: str, default: str | bool = True, parser: Any = None
) -> Any:
    """An option in a panel of ``--help``; ``default`` describes the default if its value does not."""
    if isinstance(default, str):
        help, default = f"{help} [dim]\\[default: {default}][/dim]", False
    return typer.Option(*names, metavar=metavar, help=help, show_default=default, parser=parser, rich_help_panel=panel)


def argument(metavar: str, help: str) -> Any:
    """An argument in the panel of the input."""
    return typer.Argument(metavar=metavar, help=help, rich_help_panel="Input")


def written(metavar: str, help: str) -> Any:
    """The option ``--output``."""
    return option("Output", metavar, help, "-o", "--output")


rows: partial[Any] = partial(option, "Rows and columns")
network: partial[Any] = partial(option, "Network and training")
results: partial[Any] = partial(option, "Output")
running: partial[Any] = partial(option, RUNNING)


def choices(name: str, values: Iterable[str]) -> Any:
    """The type of an option that has one of these values."""
    return Enum(name, {value: value for value in values}, type=str)


Precision: Any = choices("Precision", PRECISIONS)
Missing: Any = choices("Missing", MISSING)
OnBadRows: Any = choices("OnBadRows", ("error", "null", "skip"))


def number(kind: Callable[[Any], T], wanted: str, accepts: Callable[[T], bool]) -> Callable[[Any], T]:
    """A parser of numbers whose range does not appear in ``--help``; ``wanted`` describes them in messages."""

    def read(text: Any) -> T:
        with suppress(ValueError):
            value = kind(text)
            if accepts(value):
                return value
        raise typer.BadParameter(f"{text} is not {wanted}")

    return read


def whole_number(least: int, most: int = 1 << 62) -> Callable[[Any], int]:
    """A parser of whole numbers in a range."""

    def accepts(value: int) -> bool:
        if value > most:
            raise typer.BadParameter(f"{value} is above the limit of {most:,}")
        return value >= least

    return number(int, f"a whole number of at least {least}", accepts)


def outlier_share(text: Any) -> float:
    """Parse a share of rows to call anomalies."""
    return number(float, "above 0 and at most 0.5", lambda share: 0 < share <= 0.5)(text)


Data = Annotated[
    list[str], argument("DATA...", "Tables: files, folders, patterns or -. Parquet, CSV, Arrow IPC or .npy.")
]
Model = Annotated[Path, argument("MODEL", "A model file that aefast fit wrote.")]
FailOn = Annotated[
    list[str] | None,
    running(
        "WHAT", "anomalies, drift, bad: end with status 3, 4 or 5 if there are any.", "--fail-on", default="status 0"
    ),
]
OnBad = Annotated[OnBadRows, rows(None, "Rows that cannot be scored: error stops, null and skip leave them out.")]
Json = Annotated[bool, running(None, "Print the summary as JSON.", "--json")]
Threads = Annotated[
    int | None,
    running("N", "CPUs to use.", default="all that this process may use", parser=whole_number(1, MOST_THREADS)),
]
BatchRows = Annotated[
    int | None,
    running("N", "Rows held in memory at a time.", default="64 MB, at most 131,072 rows", parser=whole_number(1)),
]
Label = Annotated[str | None, rows("COLUMN", "Column that is 1 for known anomalies and 0 for other rows.")]
