"""Finds the files that a command's DATA names: files, folders with all tables in them, and patterns of both."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from fnmatch import fnmatchcase
from glob import has_magic
from pathlib import Path

from aefast.tables.formats.registry import format_of, readable_formats
from aefast.tables.text import repeated


def find_files(sources: Iterable[str | Path]) -> list[Path]:
    """Return the files that names stand for: a file, a folder (its tables at any depth) or a pattern; each sorted."""
    return [path for path, _ in named_files(sources)]


def named_files(sources: Iterable[str | Path]) -> list[tuple[Path, Path]]:
    """Return the files as `find_files` does, each with its path relative to the folder that was named.

    For a pattern, that is the folder that the pattern begins with. In a folder, hidden files and files that are not
    tables are left out.

    Raises
    ------
    OSError
        If a file does not exist or a folder cannot be read.
    ValueError
        If a name is not that of a regular file, or a file is named more than once.
    """
    files = [found for source in sources for found in _named_by(source)]
    twice = set(repeated(os.path.abspath(path) for path, _ in files))
    for path, _ in files:
        check_name(path)
        if os.path.abspath(path) in twice:
            raise ValueError(f"{path} is named more than once; name each file once")
    return files


def check_name(path: Path) -> None:
    """Raise ValueError if the format of a table cannot open its name."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        known = format_of(path)
        if known is None or not known.any_name:
            raise ValueError(f"the name of {path} is not UTF-8, as that of a table must be; rename it") from None


def _named_by(source: str | Path) -> list[tuple[Path, Path]]:
    path, name = Path(source), str(source)
    if not name:
        raise ValueError("a name of DATA is empty; name a file, or . for all tables of this folder")
    if name == "-":
        raise _not_regular(path)
    if has_magic(name) and not path.exists():
        root = next(parent for parent in path.parents if not has_magic(str(parent)))
        matches = list(_matches(root, path.relative_to(root).parts)) if root.is_dir() else []
        if not matches:
            raise FileNotFoundError(f"no file matches {name}")
        # A pattern may match both a folder and files in it.
        found = {file for match in matches for file in _files_at(match)}
    else:
        root, found = path if path.is_dir() else path.parent, set(_files_at(path))
    return [(file, file.relative_to(root)) for file in sorted(found)]


def _matches(folder: Path, parts: Sequence[str]) -> Iterator[Path]:
    """Yield the files and folders that the parts of a pattern match; ``**`` at the end is the folder itself.

    Patterns mean what they mean to `glob`, which however skips folders that it cannot read; here they raise.
    """
    first, rest = parts[0], parts[1:]
    if first == "**":
        for inner in _folders_in(folder) if rest else [folder]:
            yield from _matches(inner, rest) if rest else [inner]
        return
    candidates = [folder / first]
    if has_magic(first):
        may_hide = first.startswith(".")
        visible = (p for p in folder.iterdir() if may_hide or not p.name.startswith("."))
        candidates = [p for p in visible if fnmatchcase(p.name, first)]
    for path in filter(_is_there, candidates):
        if not rest:
            yield path
        elif path.is_dir():
            yield from _matches(path, rest)


def _is_there(path: Path) -> bool:
    """Whether a path exists; a link counts even if its target does not exist. Raise OSError if that cannot be known."""
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def _folders_in(folder: Path, above: frozenset[tuple[int, int]] = frozenset()) -> Iterator[Path]:
    """Yield the folder and the folders in it at any depth, except hidden ones.

    Links are followed, unless they lead back to a folder ``above``.
    """
    status = folder.stat()
    here = (status.st_dev, status.st_ino)
    if here not in above:
        yield folder
        for path in folder.iterdir():
            if path.is_dir() and not path.name.startswith((".", "_")):
                yield from _folders_in(path, above | {here})


def _files_at(path: Path) -> list[Path]:
    """Return a file, or the tables in a folder."""
    if path.is_dir():
        inside = (file for folder in _folders_in(path) for file in folder.iterdir() if _is_table(file))
        found = [file for path in inside for file in _files_at(path)]
        if not found:
            raise FileNotFoundError(f"no tables in the folder {path}; these can be read: {readable_formats()}")
        return found
    if not path.exists():
        raise FileNotFoundError(f"there is no file or folder {path}")
    if not path.is_file():
        raise _not_regular(path)
    return [path]


def _is_table(path: Path) -> bool:
    """Whether a file of a folder is a table; text files may hold anything, and are read only if they are named."""
    if ".txt" in path.suffixes[-2:]:
        return False
    return not path.name.startswith((".", "_")) and format_of(path) is not None and not path.is_dir()


def _not_regular(path: Path) -> ValueError:
    return ValueError(f"{path} is not a regular file; rows are read more than once, so save them to a file and name it")
