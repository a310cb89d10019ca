"""Fair timing: every candidate in turn, round after round, the best of its rounds, on the same CPUs."""

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

SETTLING = 0.02  # seconds in which threads that wait for more work, spinning, go to sleep

clock = time.perf_counter


def use_cpu_clock():
    """Count this process's CPU time instead of the wall's: for one thread on a machine that others use as well."""
    global clock
    clock = time.process_time


def limit_threads(n_threads):
    """Confine this process to ``n_threads`` CPUs and tell every library so; call it before importing any of them."""
    available = sorted(os.sched_getaffinity(0))
    if n_threads > len(available):
        raise SystemExit(f"{n_threads} threads asked for, {len(available)} CPUs available")
    os.sched_setaffinity(0, available[-n_threads:])
    for name in THREAD_VARIABLES:
        os.environ[name] = str(n_threads)
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"


def seconds_of(call):
    """Time of one call."""
    begin = clock()
    call()
    return clock() - begin


def interleave(candidates, rounds=7, at_least=0.05):
    """Seconds a call for each of ``candidates`` (name to callable): {name: (best, median)}.

    Each candidate is called once unmeasured, then in every round as often as fills ``at_least`` seconds, all taking
    turns, so that a slow moment of the machine hits them alike.
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
    """The argument with which ``call(argument)`` is quickest: how each candidate gets its own best batch size."""
    arguments = list(arguments)
    if len(arguments) == 1:
        return arguments[0]
    for argument in arguments:
        call(argument)
    return min(arguments, key=lambda a: min(seconds_of(lambda: call(a)) for _ in range(rounds)))
