"""How many threads the engine uses: what the caller asked for, else the CPUs this process may use.

Nothing here changes a process-wide setting: `threads` holds for the calling context alone, and the engine is given
the number with each call.
"""

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from operator import index
from pathlib import Path, PurePosixPath

#: More are more likely a mistake, or a file that means no good, than a machine.
MOST_THREADS = 1024

_requested: ContextVar[int | None] = ContextVar("aefast_threads", default=None)


@contextmanager
def threads(n: int | None) -> Iterator[None]:
    """Use ``n`` threads wherever an estimator's ``n_threads`` is None, inside the ``with`` block.

    The setting belongs to the calling context (:mod:`contextvars`), not to the process: other threads and tasks keep
    theirs, and blocks nest. Results do not depend on the number of threads.

    Parameters
    ----------
    n : int or None
        Number of threads, at least 1; None returns to the default, the CPUs this process may use.

    Raises
    ------
    TypeError, ValueError
        If ``n`` is not an integer, or is less than 1.

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


def resolve_threads(n_threads: int | None = None) -> int:
    """Threads for one call: ``n_threads`` where given, else what `threads` set, else `default_threads`."""
    return explain_threads(n_threads)[0]


def explain_threads(n_threads: int | None = None) -> tuple[int, str]:
    """Threads for one call, as `resolve_threads`, and in one line why that many."""
    if n_threads is not None:
        return _checked(n_threads, "n_threads"), "n_threads"
    requested = _requested.get()
    if requested is not None:
        return requested, f"aefast.threads({requested})"
    return default_threads()


def default_threads(
    *, root: Path | None = None, environ: Mapping[str, str] | None = None, n_cpus: int | None = None
) -> tuple[int, str]:
    """CPUs this process may use, and in one line which limit decided.

    The least of: the CPUs in the affinity mask, the cgroup's CPU quota rounded down (threads beyond it are stopped in
    turn, and the others wait for them), and ``OMP_NUM_THREADS``; at least 1.

    Parameters
    ----------
    root : Path, optional
        Where ``proc`` and the cgroup file systems are; default the machine's own, whose quota is read once a process.
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
    # OpenMP takes a list, one number a nesting level; only the first is about us.
    outermost = wanted.split(",")[0].strip()
    if re.fullmatch("[0-9]{1,9}", outermost) and 1 <= int(outermost) < number:
        number = int(outermost)
        reason = f"OMP_NUM_THREADS={wanted}"
    return number, reason


def cgroup_quota(root: Path = Path("/")) -> tuple[float, str] | None:
    """CPUs the cgroups of this process allow, and the file that says so; None where there is no limit.

    A group is bound by its own quota and by those of all groups around it, so the least on the way up to the mount
    point counts. Both hierarchies are read: version 2 (``cpu.max``) and version 1 (``cpu.cfs_quota_us``).
    """
    limits: list[tuple[float, str]] = []
    for folder, is_v2 in cgroup_folders(root, "cpu"):
        cpus, name = _quota_of(root / folder.relative_to("/"), is_v2)
        if cpus is not None:
            limits.append((cpus, str(folder / name)))
    return min(limits, default=None)


def cgroup_folders(root: Path, controller: str) -> Iterator[tuple[PurePosixPath, bool]]:
    """The folders of the groups of this process and of those around them that can limit ``controller``, and whether
    they are of version 2."""
    groups = _groups_of_this_process(root, controller)
    for mount_root, mount_point, is_v2 in _cgroup_mounts(root, controller):
        group = groups.get(is_v2)
        if group is None:
            continue
        # A container may see its group under the host's name, or as "/..", while the mount shows only its own part.
        visible = group.is_relative_to(mount_root) and ".." not in group.parts
        inside = group.relative_to(mount_root) if visible else PurePosixPath()
        for part in (inside, *inside.parents):
            yield mount_point / part, is_v2


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


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return ""


def _groups_of_this_process(root: Path, controller: str) -> dict[bool, PurePosixPath]:
    """The groups of the hierarchies that can limit ``controller``: key True for version 2, False for version 1."""
    groups = {}
    for line in _read(root / "proc/self/cgroup").splitlines():
        controllers, _, path = line.partition(":")[2].partition(":")
        if not path:
            continue
        if controllers == "":
            groups[True] = PurePosixPath(path)
        elif controller in controllers.split(","):
            groups[False] = PurePosixPath(path)
    return groups


def _cgroup_mounts(root: Path, controller: str) -> Iterator[tuple[PurePosixPath, PurePosixPath, bool]]:
    """Each cgroup mount that can limit ``controller``: the group at its root, where it is mounted, if version 2."""
    for line in _read(root / "proc/self/mountinfo").splitlines():
        fields, _, after = line.partition(" - ")
        mount, file_system = fields.split(), after.split()
        if len(mount) < 5 or len(file_system) < 3:
            continue
        mount_root, mount_point = (PurePosixPath(_unescaped(field)) for field in mount[3:5])
        if file_system[0] == "cgroup2":
            yield mount_root, mount_point, True
        elif file_system[0] == "cgroup" and controller in file_system[2].split(","):
            yield mount_root, mount_point, False


def _unescaped(field: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), field)


def _quota_of(folder: Path, is_v2: bool) -> tuple[float | None, str]:
    if is_v2:
        name = "cpu.max"
        words = _read(folder / name).split()
    else:
        name = "cpu.cfs_quota_us"
        words = [_read(folder / name).strip(), _read(folder / "cpu.cfs_period_us").strip()]
    # No limit is "max" in version 2 and -1 in version 1, and a missing file reads as no words.
    if len(words) == 2 and all(re.fullmatch("[0-9]+", word) for word in words) and int(words[1]) > 0:
        return int(words[0]) / int(words[1]), name
    return None, name
