"""The arguments and options that several commands share, and the types of options."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from aefast.engine.threads import MOST_THREADS

__all__ = [
    "ROWS",
    "RUNNING",
    "BatchRows",
    "Data",
    "Json",
    "Missing",
    "Model",
    "Precision",
    "Threads",
    "number",
    "outlier_share",
    "whole_number",
]

T = TypeVar("T", int, float)

#: Panels of ``--help``.
ROWS, RUNNING = "Rows and columns", "Running"


class Precision(str, Enum):
    """The values of ``--precision``."""

    float32 = "float32"
    bfloat16 = "bfloat16"
    int8 = "int8"


class Missing(str, Enum):
    """The values of ``--missing``."""

    error = "error"
    mask = "mask"
    mean = "mean"


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
    list[str],
    typer.Argument(
        metavar="DATA...", help="Tables to read: files, folders or patterns. Parquet, CSV, Arrow IPC or .npy."
    ),
]
Model = Annotated[Path, typer.Argument(metavar="MODEL", help="A model file that aefast fit wrote.")]
Json = Annotated[bool, typer.Option("--json", help="Print the summary as JSON.", rich_help_panel=RUNNING)]
Threads = Annotated[
    int | None,
    typer.Option(
        "--threads",
        parser=whole_number(1, MOST_THREADS),
        metavar="N",
        help="CPUs to use.",
        show_default="all that this process may use",
        rich_help_panel=RUNNING,
    ),
]
BatchRows = Annotated[
    int | None,
    typer.Option(
        "--batch-rows",
        parser=whole_number(1),
        metavar="N",
        help="Rows held in memory at a time.",
        show_default="64 MB of rows, at most 131,072",
        rich_help_panel=RUNNING,
    ),
]
