"""The number of threads that the engine uses: what the caller asks for, else the CPUs that this process may use.

Nothing here changes a process-wide setting: `threads` holds for the calling context only, and each call of the engine
gets its number of threads as an argument.
"""

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from operator import index
from pathlib import Path
from typing import Any

from aefast.engine.cgroups import cgroup_quota

#: The largest number of threads accepted; a larger one is probably a mistake or a malicious file.
MOST_THREADS = 1024

_requested: ContextVar[int | None] = ContextVar("aefast_threads", default=None)


@contextmanager
def threads(n: int | None) -> Iterator[None]:
    """Use ``n`` threads wherever an estimator's ``n_threads`` is None, inside the ``with`` block.

    The setting belongs to the calling context (:mod:`contextvars`), not to the process: other threads and tasks keep
    theirs, and blocks can be nested. Results do not depend on the number of threads.

    Parameters
    ----------
    n : int or None
        Number of threads, at least 1; None returns to the default, the CPUs this process may use.

    Yields
    ------
    None
        The setting holds inside the block.

    Raises
    ------
    TypeError, ValueError
        If ``n`` is not an integer, or is less than 1.

    See Also
    --------
    config : Shows the number of threads and why.

    Examples
    --------
    >>> import aefast
    >>> with aefast.threads(1):
    ...     aefast.config()["threads"]
    1
    """
    token = _requested.set(None if n is None else _checked(n, "n"))
    try:
        yield
    finally:
        _requested.reset(token)


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Let NumPy's linear algebra use one thread: its results may depend on their number, and small products wait."""
    before = [(library, library.get_num_threads()) for library in _blas()]
    for library, _ in before:
        library.set_num_threads(1)
    try:
        yield
    finally:
        for library, n_threads in before:
            library.set_num_threads(n_threads)


@cache
def _blas() -> list[Any]:
    """Return what sets the number of threads of each library; threadpoolctl's ``limit`` describes all of them first."""
    from threadpoolctl import ThreadpoolController

    return list(ThreadpoolController().select(user_api="blas").lib_controllers)


def resolve_threads(n_threads: int | None = None) -> int:
    """The number of threads for one call: ``n_threads`` if given, else that of `threads`, else `default_threads`."""
    return explain_threads(n_threads)[0]


def explain_threads(n_threads: int | None = None) -> tuple[int, str]:
    """The number of threads for one call, as `resolve_threads`, and the reason for it in one line."""
    if n_threads is not None:
        return _checked(n_threads, "n_threads"), "n_threads"
    requested = _requested.get()
    if requested is not None:
        return requested, f"aefast.threads({requested})"
    return default_threads()


def default_threads(
    *, root: Path | None = None, environ: Mapping[str, str] | None = None, n_cpus: int | None = None
) -> tuple[int, str]:
    """The number of CPUs that this process may use, and in one line which limit decided.

    It is the smallest of three limits, and at least 1: the CPUs in the affinity mask, ``OMP_NUM_THREADS``, and the
    cgroup's CPU quota rounded down. With more threads than the quota allows, the kernel pauses some of them while the
    others wait.

    Parameters
    ----------
    root : Path, optional
        The folder that contains ``proc`` and the cgroup file systems. By default the machine's own, whose quota is
        read once per process.
    environ : mapping, optional
        Default ``os.environ``.
    n_cpus : int, optional
        CPUs in the affinity mask; default this process's.
    """
    number = _n_cpus_in_affinity() if n_cpus is None else n_cpus
    reason = f"CPUs this process may run on: {number}"

    quota = _machine_quota() if root is None else cgroup_quota(root)
    if quota is not None and max(1, int(quota[0])) < number:
        number = max(1, int(quota[0]))
        reason = f"cgroup quota of {quota[0]:.4g} CPUs in {quota[1]}"

    wanted = (os.environ if environ is None else environ).get("OMP_NUM_THREADS", "")
    # OpenMP takes a list with one number per nesting level; the first is that of the outermost level.
    outermost = wanted.split(",")[0].strip()
    if re.fullmatch("[0-9]{1,9}", outermost) and 1 <= int(outermost) < number:
        number = int(outermost)
        reason = f"OMP_NUM_THREADS={wanted}"
    return number, reason


def _checked(n: int, name: str) -> int:
    if isinstance(n, bool):
        raise TypeError(f"{name} must be an integer, not a bool")
    try:
        number = index(n)
    except TypeError:
        raise TypeError(f"{name} must be an integer, not {type(n).__name__}") from None
    if number < 1:
        raise ValueError(f"{name} must be at least 1, got {number}")
    return number


def _n_cpus_in_affinity() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@cache
def _machine_quota() -> tuple[float, str] | None:
    return cgroup_quota()
