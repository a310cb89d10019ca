"""Shows the progress of training and of commands: nothing, a line per epoch, or a bar on a terminal."""

from __future__ import annotations

import sys
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
    if sys.stderr.isatty() and find_spec("rich") is not None:
        from aefast.training.bars import Bars

        bars = Bars()
        bars.epochs(max_epochs)
        return bars
    return Lines()
