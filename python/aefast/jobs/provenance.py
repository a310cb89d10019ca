"""What an output was made from, noted with the file, so that the same job need not make it again.

The note is an extended attribute: the file's bytes are as they would be without, whatever the format. It holds for as
long as the file is what was written, and is lost where a file system or a copy keeps no such attributes.
"""

from __future__ import annotations

import hashlib
import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

from aefast.tables.files import MISFITS

__all__ = ["leave_receipt", "read_receipt"]

_NAME = "user.aefast"


def leave_receipt(path: Path, job: dict[str, Any], about: dict[str, int]) -> None:
    """Note with a file that is whole which job it is of, and a few numbers ``about`` it, where that can be."""
    note = {"job": _digest(job), "file": _stamp(path), **about}
    with suppress(OSError, AttributeError):
        os.setxattr(path, _NAME, json.dumps(note).encode())


def read_receipt(path: Path, job: dict[str, Any]) -> dict[str, int] | None:
    """What was noted about a file, if it is of this very job and was not touched since."""
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
