"""Measures the limits of this machine: multiply-adds per second, and bytes read from memory per second.

The roofline of a network (Williams, Waterman and Patterson 2009) is the lower of the speeds that the two allow.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypedDict

import numpy as np

from aefast.engine import core

N_ROUNDS = 2_000_000
N_FLOATS = 32 * 2**20  # 128 MB, beyond any cache


class Limits(TypedDict):
    """Floating-point operations (two per multiply-add) and bytes read per second, by all threads together."""

    flops: float
    bytes: float


class Probes:
    """One measurement of each limit, which can alternate with other measurements, and the work that it does."""

    def __init__(self, n_threads: int) -> None:
        self._memory = np.ones((n_threads, N_FLOATS // n_threads), dtype=np.float32)
        self._rounds = [N_ROUNDS] * n_threads
        self._pool = ThreadPoolExecutor(n_threads)  # its threads end with this object
        self.operations: float = sum(self._rounds) * core.multiply_adds(1)
        self.bytes: int = self._memory.nbytes

    def multiply_adds(self) -> None:
        """Do ``operations`` floating-point operations on registers, with all threads."""
        list(self._pool.map(core.multiply_adds, self._rounds))

    def read_memory(self) -> None:
        """Read ``bytes`` bytes, each thread its part."""
        list(self._pool.map(core.read_memory, self._memory))

    def limits(self, of_products: float, of_reading: float) -> Limits:
        """The limits, from the seconds that one call of `multiply_adds` and one of `read_memory` took."""
        return {"flops": self.operations / of_products, "bytes": self.bytes / of_reading}


def measure(n_threads: int, seconds: float = 1.0) -> Limits:
    """The best of repeated measurements, about ``seconds`` for each limit."""
    probes = Probes(n_threads)
    return probes.limits(best_seconds(probes.multiply_adds, seconds), best_seconds(probes.read_memory, seconds))


def rows_per_second(limits: Limits, flops_per_row: float, bytes_per_row: float) -> float:
    """The rows per second that the machine allows."""
    return min(limits["flops"] / flops_per_row, limits["bytes"] / bytes_per_row)


def best_seconds(call: Callable[[], object], seconds: float) -> float:
    """The shortest time of a call within about ``seconds``: one call to warm up, then at least two."""
    call()
    best, n_calls, begin = float("inf"), 0, time.perf_counter()
    while n_calls < 2 or time.perf_counter() - begin < seconds:
        start = time.perf_counter()
        call()
        best = min(best, time.perf_counter() - start)
        n_calls += 1
    return best
