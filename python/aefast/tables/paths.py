"""The files that a command's DATA means: files, folders with all tables in them, and patterns of both."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from fnmatch import fnmatchcase
from glob import has_magic
from pathlib import Path

from aefast.tables.formats.registry import FORMATS, repeated, table_class

__all__ = ["check_name", "find_files", "named_files"]


def find_files(sources: Iterable[str | Path]) -> list[Path]:
    """Files for names that may be files, folders (their tables at any depth) or patterns; sorted within each."""
    return [path for path, _ in named_files(sources)]


def named_files(sources: Iterable[str | Path]) -> list[tuple[Path, Path]]:
    """What `find_files` finds, each with its name for another folder: relative to the folder that was named or
    that the pattern begins with.

    Nothing is left out in silence but what is hidden in a folder or no table there: OSError for what is not there or
    cannot be looked into, ValueError for what is no file, and for a file that is named more than once.
    """
    files = [found for source in sources for found in _named_by(source)]
    twice = set(repeated(os.path.abspath(path) for path, _ in files))
    for path, _ in files:
        check_name(path)
        if os.path.abspath(path) in twice:
            raise ValueError(f"{path} is named more than once; name each file once")
    return files


def check_name(path: Path) -> None:
    """Raise ValueError for a table with a name that Arrow cannot open, which NumPy can."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        if path.suffix.lower() == ".npy":
            return
        raise ValueError(f"the name of {path} is not UTF-8, as that of a table must be; rename it") from None


def _named_by(source: str | Path) -> list[tuple[Path, Path]]:
    path, name = Path(source), str(source)
    if not name:
        raise ValueError("a name of DATA is empty; name a file, or . for all tables of this folder")
    if name == "-":
        raise _no_file(path)
    if has_magic(name) and not path.exists():
        root = next(parent for parent in path.parents if not has_magic(str(parent)))
        matches = list(_matches(root, path.relative_to(root).parts)) if root.is_dir() else []
        if not matches:
            raise FileNotFoundError(f"no file matches {name}")
        # A folder and what is in it may both match.
        found = {file for match in matches for file in _files_at(match)}
    else:
        root, found = path if path.is_dir() else path.parent, set(_files_at(path))
    return [(file, file.relative_to(root)) for file in sorted(found)]


def _matches(folder: Path, parts: Sequence[str]) -> Iterator[Path]:
    """Files and folders that the parts of a pattern match in a folder, as for `glob`, which however passes over folders
    that cannot be read; ``**`` at the end is the folder itself."""
    first, rest = parts[0], parts[1:]
    if first == "**":
        for inner in _folders_in(folder) if rest else [folder]:
            yield from _matches(inner, rest) if rest else [inner]
        return
    candidates = [folder / first]
    if has_magic(first):
        may_hide = first.startswith(".")
        listed = (p for p in folder.iterdir() if may_hide or not p.name.startswith("."))
        candidates = [p for p in listed if fnmatchcase(p.name, first)]
    for path in filter(_is_there, candidates):
        if not rest:
            yield path
        elif path.is_dir():
            yield from _matches(path, rest)


def _is_there(path: Path) -> bool:
    """Whether there is something, be it a link to nothing; OSError where that cannot be known."""
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def _folders_in(folder: Path, above: frozenset[tuple[int, int]] = frozenset()) -> Iterator[Path]:
    """The folder and those in it at any depth that are not hidden, also behind links, unless these lead back to one
    ``above``."""
    status = folder.stat()
    here = (status.st_dev, status.st_ino)
    if here not in above:
        yield folder
        for path in folder.iterdir():
            if path.is_dir() and not path.name.startswith((".", "_")):
                yield from _folders_in(path, above | {here})


def _files_at(path: Path) -> list[Path]:
    """A file, or the tables in a folder."""
    if path.is_dir():
        inside = (file for folder in _folders_in(path) for file in folder.iterdir() if _is_table(file))
        found = [file for path in inside for file in _files_at(path)]
        if not found:
            raise FileNotFoundError(f"no tables in the folder {path}; these can be read: {FORMATS}")
        return found
    if not path.exists():
        raise FileNotFoundError(f"there is no file or folder {path}")
    if not path.is_file():
        raise _no_file(path)
    return [path]


def _is_table(path: Path) -> bool:
    return not path.name.startswith((".", "_")) and table_class(path) is not None and not path.is_dir()


def _no_file(path: Path) -> ValueError:
    return ValueError(f"{path} is no file; rows are read more than once, so save them to a file and name it")
