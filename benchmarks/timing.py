"""Fair timing: all candidates take turns on the same CPUs, and the best round of each counts."""

import os
import time
from math import ceil

THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "NPROC",  # XLA's pool
)

SETTLING = 0.02  # seconds after which idle threads of the previous candidate have stopped spinning

clock = time.perf_counter


def use_cpu_clock():
    """Measure this process's CPU time instead of wall time: for one thread on a busy machine."""
    global clock
    clock = time.process_time


def limit_threads(n_threads):
    """Confine this process and its libraries to ``n_threads`` CPUs; call this before importing any of them."""
    available = sorted(os.sched_getaffinity(0))
    if n_threads > len(available):
        raise SystemExit(f"--threads {n_threads} needs {n_threads} CPUs, but only {len(available)} are available")
    os.sched_setaffinity(0, available[-n_threads:])
    for name in THREAD_VARIABLES:
        os.environ[name] = str(n_threads)
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"


def seconds_of(call):
    """Return the duration of one call."""
    begin = clock()
    call()
    return clock() - begin


def interleave(candidates, rounds=7, at_least=0.05):
    """Time ``candidates`` (name to callable) and return {name: (best, median)} in seconds per call.

    Each candidate is first called once without timing. In every round, each is then called repeatedly for ``at_least``
    seconds. Taking turns spreads slow moments of the machine over all candidates.
    """
    repeats = {}
    for name, call in candidates.items():
        call()
        repeats[name] = max(1, ceil(at_least / max(seconds_of(call), 1e-9)))
    seconds = {name: [] for name in candidates}
    for _ in range(rounds):
        for name, call in candidates.items():
            time.sleep(SETTLING)
            begin = clock()
            for _ in range(repeats[name]):
                call()
            seconds[name].append((clock() - begin) / repeats[name])
    return {name: (min(times), sorted(times)[len(times) // 2]) for name, times in seconds.items()}


def best_argument(call, arguments, rounds=2):
    """Return the argument for which ``call(argument)`` is fastest; this finds each candidate's best batch size."""
    arguments = list(arguments)
    if len(arguments) == 1:
        return arguments[0]
    for argument in arguments:
        call(argument)
    return min(arguments, key=lambda a: min(seconds_of(lambda: call(a)) for _ in range(rounds)))
