"""What this machine can do at most, measured: multiply-adds a second, and bytes read from memory a second.

The roofline of a network (Williams, Waterman and Patterson 2009) is the lower of what each allows.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypedDict

import numpy as np

from aefast import _core

__all__ = ["Limits", "measure", "rows_per_second"]

N_ROUNDS = 2_000_000
N_FLOATS = 32 * 2**20  # 128 MB, beyond any cache


class Limits(TypedDict):
    """Operations of multiply-adds, two each, and bytes read, a second, all threads together."""

    flops: float
    bytes: float


def measure(n_threads: int, seconds: float = 1.0) -> Limits:
    """The best of as many measurements as take about ``seconds`` for each limit."""
    memory = np.ones((n_threads, N_FLOATS // n_threads), dtype=np.float32)
    n_operations = n_threads * N_ROUNDS * _core.multiply_adds(1)
    with ThreadPoolExecutor(n_threads) as pool:
        of_products = _best(lambda: list(pool.map(_core.multiply_adds, [N_ROUNDS] * n_threads)), seconds)
        of_reading = _best(lambda: list(pool.map(_core.read_memory, memory)), seconds)
    return {"flops": n_operations / of_products, "bytes": memory.nbytes / of_reading}


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
