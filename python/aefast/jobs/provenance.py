"""Records in an output file which job made it, so that the same job need not run again.

The note is an extended attribute of the file, so the file's bytes do not depend on it, whatever the format. A note
counts only while the file is unchanged. File systems and copies without extended attributes lose it.
"""

from __future__ import annotations

import hashlib
import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

from aefast.tables.files import MISFITS

_NAME = "user.aefast"


def write_provenance(path: Path, job: dict[str, Any], counts: dict[str, int]) -> None:
    """Record in a finished file the job that made it and some counts, if the file system supports it."""
    note = {"job": _digest(job), "file": _stamp(path), **counts}
    with suppress(OSError, AttributeError):
        os.setxattr(path, _NAME, json.dumps(note).encode())


def read_provenance(path: Path, job: dict[str, Any]) -> dict[str, int] | None:
    """Return the counts recorded in a file; None unless this job made it and it has not changed since."""
    try:
        note = json.loads(os.getxattr(path, _NAME))
        if note.pop("job") != _digest(job) or note.pop("file") != _stamp(path):
            return None
        return {name: int(number) for name, number in note.items()}
    except (OSError, *MISFITS):
        return None


def _digest(job: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(job, sort_keys=True).encode()).hexdigest()


def _stamp(path: Path) -> list[int]:
    stat = path.stat()
    return [stat.st_size, stat.st_mtime_ns]
