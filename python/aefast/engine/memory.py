"""The memory that is still available to this process: what is free, and what its cgroups allow."""

from collections.abc import Iterator
from pathlib import Path

from aefast.engine.cgroups import cgroup_folders


def available_memory(root: Path = Path("/")) -> int | None:
    """Available bytes, None if unknown. ``root`` is the folder that contains ``proc`` and the cgroup file systems."""
    return min((free for free in (_of_machine(root), *_of_cgroups(root)) if free is not None), default=None)


def _of_machine(root: Path) -> int | None:
    kilobytes = _table(root / "proc/meminfo").get("MemAvailable:")
    return None if kilobytes is None else kilobytes << 10


def _of_cgroups(root: Path) -> Iterator[int]:
    for shown, is_v2 in cgroup_folders(root, "memory"):
        folder = root / shown.relative_to("/")
        names = ("memory.max", "memory.current") if is_v2 else ("memory.limit_in_bytes", "memory.usage_in_bytes")
        limit, used = (_count(folder / name) for name in names)
        if limit is not None and used is not None:
            # Cached file pages count as used although the kernel frees them when memory is needed.
            statistics = _table(folder / "memory.stat")
            idle = statistics.get("inactive_file" if is_v2 else "total_inactive_file", 0)
            yield max(0, limit - used + idle)


def _count(path: Path) -> int | None:
    """The number in a file; None if there is none, for example if a limit is "max"."""
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return None


def _table(path: Path) -> dict[str, int]:
    """The names and numbers of a file that has one pair per line."""
    try:
        lines = [line.split() for line in path.read_text().splitlines()]
    except OSError:
        return {}
    return {words[0]: int(words[1]) for words in lines if len(words) > 1 and words[1].isdigit()}
