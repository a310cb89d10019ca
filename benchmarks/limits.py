"""This machine's limits, measured in the same run: multiply-adds a second and bytes read a second.

`limits.cpp` is compiled for the level under test with the compiler at hand; without one the limits are left out.
"""

import ctypes
import shutil
import subprocess
import tempfile
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

import numpy as np

from shapes import aligned
from timing import seconds_of

ARCHITECTURES = {"v2": "x86-64-v2", "v3": "x86-64-v3", "v4": "x86-64-v4", "v4_bf16": "x86-64-v4"}
N_STEPS = 2_000_000
N_FLOATS = 32 * 2**20  # 128 MB, beyond any cache


@cache
def _probes(isa):
    compiler = shutil.which("c++") or shutil.which("g++") or shutil.which("clang++")
    if compiler is None:
        return None
    with tempfile.TemporaryDirectory() as folder:
        library = Path(folder) / "limits.so"
        target = f"-march={ARCHITECTURES.get(isa, 'native')}"
        flags = ["-O3", "-std=c++20", "-shared", "-fPIC", "-ffp-contract=fast", target]
        subprocess.run([compiler, *flags, "-o", library, Path(__file__).with_suffix(".cpp")], check=True)
        probes = ctypes.CDLL(str(library))
    probes.multiply_adds.restype = ctypes.c_double
    probes.multiply_adds.argtypes = [ctypes.c_int64, ctypes.c_void_p]
    probes.read_memory.argtypes = [ctypes.c_void_p, ctypes.c_int64, ctypes.c_void_p]
    return probes


def measure(isa, n_threads, rounds=40):
    """{"flops": multiply-add operations a second, "bytes": bytes read a second}, all threads together, or None."""
    probes = _probes(isa)
    if probes is None:
        return None
    results = np.zeros((n_threads, 16), dtype=np.float32)
    memory = aligned((n_threads, N_FLOATS // n_threads))
    memory[:] = 1.0
    operations = probes.multiply_adds(1, results[0].ctypes.data) * N_STEPS

    def multiply(thread):
        probes.multiply_adds(N_STEPS, results[thread].ctypes.data)

    def read(thread):
        probes.read_memory(memory[thread].ctypes.data, memory.shape[1], results[thread].ctypes.data)

    with ThreadPoolExecutor(n_threads) as pool:
        on_all = {
            name: lambda call=call: list(pool.map(call, range(n_threads)))
            for name, call in {"flops": multiply, "bytes": read}.items()
        }
        for call in on_all.values():
            call()
        best = {name: min(seconds_of(call) for _ in range(rounds)) for name, call in on_all.items()}
    return {"flops": operations * n_threads / best["flops"], "bytes": memory.nbytes / best["bytes"]}


def rows_per_second(limits, flops_per_row, bytes_per_row):
    """What the machine allows: the lower of arithmetic and memory (Williams, Waterman and Patterson 2009)."""
    return min(limits["flops"] / flops_per_row, limits["bytes"] / bytes_per_row)
