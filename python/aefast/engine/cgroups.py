"""The Linux control groups (cgroups) of this process: their folders, and the CPU quota that they set.

``root`` is the folder that contains ``proc`` and the cgroup file systems; tests pass another than "/".
"""

import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath


def cgroup_quota(root: Path = Path("/")) -> tuple[float, str] | None:
    """The number of CPUs that the cgroups of this process allow, and the file that sets it; None without a limit.

    A group is bound by its own quota and by the quotas of its ancestors, so the smallest one counts. Both cgroup
    version 2 (``cpu.max``) and version 1 (``cpu.cfs_quota_us``) are read.
    """
    limits: list[tuple[float, str]] = []
    for folder, is_v2 in cgroup_folders(root, "cpu"):
        cpus, name = _quota_of(root / folder.relative_to("/"), is_v2)
        if cpus is not None:
            limits.append((cpus, str(folder / name)))
    return min(limits, default=None)


def cgroup_folders(root: Path, controller: str) -> Iterator[tuple[PurePosixPath, bool]]:
    """Folders of this process's groups and their ancestors that can limit ``controller``; True with version 2."""
    groups = _groups_of_this_process(root, controller)
    for mount_root, mount_point, is_v2 in _cgroup_mounts(root, controller):
        group = groups.get(is_v2)
        if group is None:
            continue
        # A container may see its group under the host's name or as "/..", although the mount shows only its own part.
        visible = group.is_relative_to(mount_root) and ".." not in group.parts
        inside = group.relative_to(mount_root) if visible else PurePosixPath()
        for part in (inside, *inside.parents):
            yield mount_point / part, is_v2


def _read(path: Path) -> str:
    """The text of a file; empty if it cannot be read."""
    try:
        return path.read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return ""


def _groups_of_this_process(root: Path, controller: str) -> dict[bool, PurePosixPath]:
    """The groups in the hierarchies that can limit ``controller``: key True for version 2, False for version 1."""
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
    """Each cgroup mount that can limit ``controller``: the group at its root, its mount point, True with version 2."""
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
    """The quota of one group in CPUs, None without a limit, and the name of the file that sets it."""
    if is_v2:
        name = "cpu.max"
        words = _read(folder / name).split()
    else:
        name = "cpu.cfs_quota_us"
        words = [_read(folder / name).strip(), _read(folder / "cpu.cfs_period_us").strip()]
    # "No limit" is "max" in version 2 and -1 in version 1; a missing file has no words.
    if len(words) == 2 and all(re.fullmatch("[0-9]+", word) for word in words) and int(words[1]) > 0:
        return int(words[0]) / int(words[1]), name
    return None, name
