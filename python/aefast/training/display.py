"""What a display of progress is: a context manager and a callback. This one shows nothing."""

from __future__ import annotations

from collections.abc import Callable
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

    def step(self, what: str) -> None:
        """Show a step of unknown length."""

    def epochs(self, max_epochs: int, n_rows: int | None = None) -> None:
        """Show training on ``n_rows`` rows (None if unknown)."""

    def passes(self, n_rows: int | None) -> Callable[[], Callable[[int], None]]:
        """Show training that reads all rows in every epoch, and some times before the first.

        Call the result at the beginning of every pass, and what that returns with each number of rows read.
        """
        return lambda: lambda rows: None
