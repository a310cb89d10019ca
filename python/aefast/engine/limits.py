"""What this machine can do at most, measured: multiply-adds a second, and bytes read from memory a second.

The roofline of a network (Williams, Waterman and Patterson 2009) is the lower of what each allows.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypedDict

import numpy as np

from aefast.engine import core

__all__ = ["Limits", "Probes", "measure", "rows_per_second"]

N_ROUNDS = 2_000_000
N_FLOATS = 32 * 2**20  # 128 MB, beyond any cache


class Limits(TypedDict):
    """Operations of multiply-adds, two each, and bytes read, a second, all threads together."""

    flops: float
    bytes: float


class Probes:
    """A measurement of each limit, which can take turns with others, and how much it does."""

    def __init__(self, n_threads: int) -> None:
        self._memory = np.ones((n_threads, N_FLOATS // n_threads), dtype=np.float32)
        self._rounds = [N_ROUNDS] * n_threads
        self._pool = ThreadPoolExecutor(n_threads)  # its threads end with it
        self.operations = sum(self._rounds) * core.multiply_adds(1)
        self.bytes = self._memory.nbytes

    def multiply_adds(self) -> None:
        """On registers, by all threads: ``operations``."""
        list(self._pool.map(core.multiply_adds, self._rounds))

    def read_memory(self) -> None:
        """A part of ``bytes`` by each thread."""
        list(self._pool.map(core.read_memory, self._memory))

    def limits(self, of_products: float, of_reading: float) -> Limits:
        """From the seconds that a call of either takes."""
        return {"flops": self.operations / of_products, "bytes": self.bytes / of_reading}


def measure(n_threads: int, seconds: float = 1.0) -> Limits:
    """The best of as many measurements as take about ``seconds`` for each limit."""
    probes = Probes(n_threads)
    return probes.limits(_best(probes.multiply_adds, seconds), _best(probes.read_memory, seconds))


def rows_per_second(limits: Limits, flops_per_row: float, bytes_per_row: float) -> float:
    """What the machine allows."""
    return min(limits["flops"] / flops_per_row, limits["bytes"] / bytes_per_row)


def _best(call: Callable[[], object], seconds: float) -> float:
    best, begin = float("inf"), time.perf_counter()
    while best == float("inf") or time.perf_counter() - begin < seconds:
        start = time.perf_counter()
        call()
        best = min(best, time.perf_counter() - start)
    return best
