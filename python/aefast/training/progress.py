"""Shows the progress of training and of commands: nothing, a line per epoch, or bars on a terminal."""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib.util import find_spec
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from aefast.training.callbacks import EpochInfo


class Silence:
    """Shows nothing. Its methods are those of every display.

    A display is a context manager and a callback: called with the `EpochInfo` of each epoch.
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

    def epochs(self, max_epochs: int) -> None:
        """Show a step over epochs."""


class Lines(Silence):
    """Writes one plain line per epoch to standard output."""

    def __call__(self, info: EpochInfo) -> None:
        sys.stdout.write(f"{info}\n")
        sys.stdout.flush()


class Bars(Silence):
    """Draws progress bars on standard error, with rich.

    Parameters
    ----------
    transient : bool
        Remove the bars at the end.
    """

    def __init__(self, *, transient: bool = False) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

        self._bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[done]}"),
            TimeElapsedColumn(),
            console=Console(stderr=True, highlight=False),
            transient=transient,
        )

    def __enter__(self) -> Bars:
        self._bars.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._bars.stop()

    def __call__(self, info: EpochInfo) -> None:
        validation = "" if info.validation_loss is None else f"  validation {info.validation_loss:.5g}"
        done = f"{info.epoch}/{info.max_epochs}  loss {info.loss:.5g}{validation}"
        self._bars.update(self._training, completed=info.epoch, done=done)
        for task in self._bars.tasks:  # end the step before; streamed rows have none
            if task.id != self._training and not task.finished:
                self._bars.update(task.id, total=task.completed, visible=task.completed > 0)

    def epochs(self, max_epochs: int) -> None:
        """Show a bar of epochs."""
        self._training = self._bars.add_task("training", total=max_epochs, done=f"0/{max_epochs}")

    def rows(self, what: str, n_rows: int | None) -> Callable[[int], None]:
        """Show a bar of rows. Its length pulses if ``n_rows`` is None."""
        task = self._bars.add_task(what, total=n_rows, done="")
        n_done = 0

        def advance(rows: int) -> None:
            nonlocal n_done
            n_done += rows
            self._bars.update(task, completed=n_done, done=f"{n_done:,} rows")

        return advance


def progress(verbose: int, max_epochs: int) -> Silence:
    """The display of a training: silence, bars if there is a terminal and rich, else lines."""
    if not verbose or max_epochs == 0:
        return Silence()
    if sys.stderr.isatty() and find_spec("rich") is not None:
        bars = Bars()
        bars.epochs(max_epochs)
        return bars
    return Lines()
