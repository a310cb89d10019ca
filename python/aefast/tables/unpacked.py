"""Copies tables that are not files of their own, on standard input or in a zip archive, to temporary files.

Rows are read more than once, so a stream alone does not do.
"""

from __future__ import annotations

import atexit
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any
from zipfile import BadZipFile, ZipFile

from aefast.tables.formats.base import TableError
from aefast.tables.formats.registry import format_of, suffix_of


def unpacked(path: Path) -> Path:
    """Return the file to read for a path: a copy of standard input for ``-``, or of the table in a zip archive."""
    if str(path) == "-":
        stream = sys.stdin.buffer
        start = stream.read(4)
        return _copy(f"stdin{suffix_of(start)}", stream, start)
    return _from_zip(path) if path.suffix.lower() == ".zip" else path


def _from_zip(path: Path) -> Path:
    try:
        with ZipFile(path) as archive:
            files = [name for name in archive.namelist() if not name.startswith("__MACOSX") and not name.endswith("/")]
            tables = files if len(files) == 1 else [name for name in files if format_of(Path(name))]
            if len(tables) != 1:
                raise TableError(f"{path} holds {len(tables)} tables and must hold one; unpack it and name its files")
            with archive.open(tables[0]) as stream:
                return _copy(Path(tables[0]).name, stream)
    except (BadZipFile, NotImplementedError, RuntimeError) as error:  # also for methods and passwords
        raise TableError(f"{path} cannot be unpacked: {error}") from error


def _copy(name: str, stream: Any, start: bytes = b"") -> Path:
    folder = tempfile.TemporaryDirectory(prefix="aefast-")
    atexit.register(folder.cleanup)
    path = Path(folder.name, name)
    with path.open("wb") as copy:
        copy.write(start)
        shutil.copyfileobj(stream, copy, 1 << 20)
    return path
