"""Shows the progress of training and of commands: nothing, a line per epoch, or a bar on a terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING

from aefast.training.display import Silence

if TYPE_CHECKING:
    from aefast.training.callbacks import EpochInfo


class Lines(Silence):
    """Writes one plain line per epoch to standard output."""

    def __call__(self, info: EpochInfo) -> None:
        sys.stdout.write(f"{info}\n")
        sys.stdout.flush()


def progress(verbose: int, max_epochs: int) -> Silence:
    """The display of a training: silence, bars if there is a terminal and rich, else lines."""
    if not verbose or max_epochs == 0:
        return Silence()
    bars = _bars(transient=False)
    if bars is None:
        return Lines()
    bars.epochs(max_epochs)
    return bars


@contextmanager
def calibrating(verbose: int, callbacks: Iterable[object]) -> Iterator[None]:
    """Show during the block that training has ended and the model is calibrated, on the displays among the callbacks.

    If training is ``verbose`` on a terminal, a line of its own shows it and is removed at the end.
    """
    for each in callbacks:
        if isinstance(each, Silence):
            each.step("calibrating")
    with (_bars(transient=True) if verbose else None) or Silence() as line:
        line.step("calibrating")
        yield


def _bars(*, transient: bool) -> Silence | None:
    """Return bars, or None without a terminal or rich."""
    if not sys.stderr.isatty() or find_spec("rich") is None:
        return None
    from aefast.training.bars import Bars

    return Bars(transient=transient)
