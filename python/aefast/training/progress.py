"""Shows the progress of training and of commands: nothing, a line per epoch, or a bar on a terminal."""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib.util import find_spec
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from aefast.training.callbacks import EpochInfo


class Silence:
    """Shows nothing. Its methods are those of every display.

    A display is a context manager and a callback: called with the `EpochInfo` of each epoch. It shows one step at a
    time; each method begins a step.
    """

    def __enter__(self) -> Silence:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def __call__(self, info: EpochInfo) -> None:
        pass

    def rows(self, what: str, n_rows: int | None) -> Callable[[int], None]:
        """Show a step over ``n_rows`` rows (None if unknown). Call the result with each number of rows done."""
        return lambda rows: None

    def epochs(self, max_epochs: int, n_rows: int | None = None) -> None:
        """Show training on ``n_rows`` rows (None if unknown)."""

    def passes(self, n_rows: int | None) -> Callable[[], Callable[[int], None]]:
        """Show training that reads all rows in every epoch, and some times before the first.

        Call the result at the beginning of every pass, and what that returns with each number of rows read.
        """
        return lambda: lambda rows: None


class Lines(Silence):
    """Writes one plain line per epoch to standard output."""

    def __call__(self, info: EpochInfo) -> None:
        sys.stdout.write(f"{info}\n")
        sys.stdout.flush()


def progress(verbose: int, max_epochs: int) -> Silence:
    """The display of a training: silence, bars if there is a terminal and rich, else lines."""
    if not verbose or max_epochs == 0:
        return Silence()
    if sys.stderr.isatty() and find_spec("rich") is not None:
        from aefast.training.bars import Bars

        bars = Bars()
        bars.epochs(max_epochs)
        return bars
    return Lines()
