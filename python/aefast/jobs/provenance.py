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

from aefast.tables.files import MISFITS, stamp_of
from aefast.tables.formats.base import TableError
from aefast.tables.source import Source

_NAME = "user.aefast"


def write_provenance(path: Path, job: dict[str, Any], counts: dict[str, int]) -> None:
    """Record in a finished file the job that made it and some counts, if the file system supports it."""
    note = {"job": _digest(job), "file": stamp_of(path), **counts}
    with suppress(OSError, AttributeError):
        os.setxattr(path, _NAME, json.dumps(note).encode())


def read_provenance(path: Path, job: dict[str, Any]) -> dict[str, int] | None:
    """Return the counts recorded in a file; None unless this job made it and it has not changed since."""
    try:
        note = json.loads(os.getxattr(path, _NAME))
        if note.pop("job") != _digest(job) or note.pop("file") != stamp_of(path):
            return None
        return {name: int(number) for name, number in note.items()}
    except (OSError, *MISFITS):
        return None


def _digest(job: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(job, sort_keys=True).encode()).hexdigest()


def stamps_of(source: Source) -> dict[str, list[int]]:
    """The `stamp_of` each file by its absolute path."""
    return {str(file.path.absolute()): stamp_of(file.path) for file in source.files}


def check_unchanged(source: Source, stamps: dict[str, list[int]], n_rows: int) -> None:
    """Raise `TableError` if a file changed after ``stamps`` were taken, or if not every row was scored."""
    for path, stamp in stamps_of(source).items():
        if stamp != stamps[path]:
            raise TableError(f"{path} changed while it was read; score it again when it is complete")
    if source.n_rows not in (None, n_rows):
        raise TableError(f"{source.title} has {source.n_rows:,} rows, but {n_rows:,} were scored; leave out --resume")


def to_record(output: Path, job: dict[str, Any], counts: dict[str, int]) -> bytes:
    """The record of a finished output in the folder's journal."""
    return json.dumps({"output": str(output), "input": job["input"], **counts}).encode()


def from_record(frame: bytes) -> dict[str, Any]:
    """A finished output, as the folder's journal records it."""
    record = json.loads(frame)
    return {
        "output": str(record["output"]),
        "input": record["input"],
        "rows": int(record["rows"]),
        "anomalies": int(record["anomalies"]),
        "bad": int(record.get("bad", 0)),
        "beyond_fdr": int(record.get("beyond_fdr", 0)),
    }
