"""Files that appear whole or not at all, and errors that name their file."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

#: The exceptions that decoding raises if the data have an unexpected structure.
MISFITS = (
    ValueError,
    TypeError,
    KeyError,
    IndexError,
    AttributeError,
    OverflowError,
    RecursionError,
    NotImplementedError,
)


def stamp_of(path: Path) -> list[int]:
    """Return the size and the modification time of a file, one of which differs once the file has changed."""
    stat = path.stat()
    return [stat.st_size, stat.st_mtime_ns]


@contextmanager
def naming(path: str | os.PathLike[str]) -> Iterator[None]:
    """Add ``path`` to an OSError that names no file."""
    try:
        yield
    except OSError as error:
        if error.filename is not None:
            raise
        if error.errno is None:
            raise OSError(f"{os.fspath(path)}: {error}") from error
        raise OSError(error.errno, os.strerror(error.errno), os.fspath(path)) from error


@contextmanager
def atomic_path(path: str | os.PathLike[str], *, sync_folder: bool = True) -> Iterator[Path]:
    """Yield the name of a temporary file beside ``path``, for the block to write.

    When the block ends, the file is flushed to the disk and renamed to ``path``. If the block raises, the file is
    removed and whatever was at ``path`` stays. A link at ``path`` is kept: the file that it points to is replaced.
    Without ``sync_folder``, the file is whole or absent after a crash of the system, but it may be absent.
    """
    with _part_of(path, sync_folder) as part:
        yield part
        with naming(path), part.open("rb+") as file:
            os.fsync(file.fileno())


@contextmanager
def _part_of(path: str | os.PathLike[str], sync_folder: bool) -> Iterator[Path]:
    """Yield the name of a temporary file beside ``path``, for the block to write and to flush to the disk."""
    target = os.path.realpath(path) if os.path.islink(path) else os.fspath(path)
    folder, name = os.path.split(target)
    part = Path(os.path.join(folder, f".{name}.{os.getpid()}-{secrets.token_hex(4)}.part"))
    try:
        yield part
        os.replace(part, target)
    except BaseException as error:
        with suppress(FileNotFoundError, NotADirectoryError):
            part.unlink()
        if isinstance(error, OSError) and error.filename is not None and os.fspath(error.filename) == str(part):
            error.filename = str(target)
        raise
    if sync_folder:
        _sync_folder(part.parent)


def write_whole(path: str | os.PathLike[str], content: Any, *, sync_folder: bool = True) -> None:
    """Write a file, bytes or a buffer, whole or not at all, as `atomic_path` does; an OSError names it."""
    with _part_of(path, sync_folder) as part, naming(path), part.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    """Make a rename survive a crash, on systems that can open folders."""
    if hasattr(os, "O_DIRECTORY"):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
