"""Measures the time that the steps of a job take, and reports the rows done so far."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterable
from typing import TypeVar

T = TypeVar("T")

#: Called with the number of rows of each batch that is done.
Progress = Callable[[int], None]


def no_progress(rows: int) -> None:
    """Show nothing."""


class Clock:
    """The seconds spent in ``with`` blocks and in iterators. Steps that run side by side need one clock each."""

    seconds: float = 0.0

    def __enter__(self) -> None:
        self._begin = time.perf_counter()

    def __exit__(self, *error: object) -> None:
        self.seconds += time.perf_counter() - self._begin

    def timed(self, items: Iterable[T]) -> Generator[T, None, None]:
        """Yield the same items; the time to make each one is counted."""
        iterator = iter(items)
        while True:
            with self:
                try:
                    item = next(iterator)
                except StopIteration:
                    return
            yield item
