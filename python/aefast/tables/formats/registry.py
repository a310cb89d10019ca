"""The table formats, one line each. File suffixes, help texts and the lists in error messages follow from these lines.

A new format needs a file in this folder with its reader and writer (see `aefast.tables.formats.base`) and a line here.
The file is imported when a table of its format is opened: most of them import a part of pyarrow.
"""

from __future__ import annotations

import re
from codecs import BOM_UTF16_BE, BOM_UTF16_LE
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

from aefast.tables.dialect import Reading
from aefast.tables.files import MISFITS
from aefast.tables.formats.base import COMPRESSED, TableError, TableFile, Writer, is_compressed


@dataclass(frozen=True)
class Format:
    """A table format.

    Attributes
    ----------
    name : str
    reader, writer : str
        The classes, as ``module.Class`` in this folder.
    reads, writes : tuple of str
        The suffixes of files that can be read and written, in lower case.
    start : bytes
        The first four bytes of a file, by which standard input is recognised; empty for text.
    compressed : bool
        Whether compressed files can be read.
    any_name : bool
        Whether file names need not be UTF-8. Arrow opens only names in UTF-8.
    """

    name: str
    reader: str
    writer: str
    reads: tuple[str, ...]
    writes: tuple[str, ...]
    start: bytes = b""
    compressed: bool = False
    any_name: bool = False


FORMATS = (
    Format(
        "Parquet", "parquet.ParquetTable", "parquet.ParquetWriter", (".parquet", ".pq"), (".parquet", ".pq"), b"PAR1"
    ),
    Format("CSV", "csv.CsvTable", "csv_writer.CsvWriter", (".csv", ".tsv", ".txt"), (".csv",), compressed=True),
    Format(
        "Arrow IPC",
        "ipc.IpcTable",
        "ipc.IpcWriter",
        (".arrow", ".feather", ".arrows", ".ipc"),
        (".feather", ".arrow", ".ipc"),
        b"ARRO",
    ),
    Format("NumPy", "npy.NpyTable", "npy.NpyWriter", (".npy",), (".npy",), b"\x93NUM", any_name=True),
)
#: The names of the formats, for help texts.
FORMAT_NAMES = ", ".join(known.name for known in FORMATS)
#: The suffixes of files that can be written.
ENDINGS = tuple(suffix for known in FORMATS for suffix in known.writes)


def readable_formats() -> str:
    """Return the names and suffixes of the formats that can be read, in words."""
    *others, last = (
        f"{known.name} ({', '.join(known.reads)}{'; also ' + ', '.join(COMPRESSED) if known.compressed else ''})"
        for known in FORMATS
    )
    return f"{', '.join(others)} and {last}"


def format_of(path: Path) -> Format | None:
    """Return the format of a file by its suffix, or None if no table has that suffix."""
    suffixes = [suffix.lower() for suffix in path.suffixes]
    packed = is_compressed(path)
    if packed:
        suffixes.pop()
    found = (known for known in FORMATS if suffixes and suffixes[-1] in known.reads)
    return next((known for known in found if known.compressed or not packed), None)


def suffix_of(start: bytes) -> str:
    """Return the suffix of files with these first four bytes; that of CSV if no format is known by them."""
    return next((known.reads[0] for known in FORMATS if known.start and known.start == start), ".csv")


def open_table(path: str | Path, reading: Reading | None = None) -> TableFile:
    """Open the table in a file; ``reading`` has what is known about a file of text.

    The suffix of the file decides its format. Text with any other suffix, or none, is read as CSV.
    """
    path = Path(path)
    known = format_of(path)
    try:
        if known is None and not _is_text(path):
            raise TableError(
                f"{path} has neither the suffix of a table nor rows of text; these can be read: {readable_formats()}"
            )
        reader = "csv.CsvTable" if known is None else known.reader
        table: TableFile = _class(reader).read_by(path, reading)
        table.schema.names  # noqa: B018
    except UnicodeDecodeError as error:
        raise TableError(f"{path} cannot be read: the name of a column is not UTF-8 ({error})") from error
    except TableError:
        raise
    except MISFITS as error:
        raise TableFile(path).unreadable(error) from error
    return table


def _is_text(path: Path) -> bool:
    """Whether a file begins with rows of text, and not with a document such as XML or JSON."""
    from aefast.tables.formats.csv_bytes import uncompressed

    if not path.is_file():
        return False
    with uncompressed(path) as stream:
        head = bytes(stream.read(1 << 12))
    is_text = b"\0" not in head or head[:2] in (BOM_UTF16_LE, BOM_UTF16_BE)
    is_document = re.match(rb"(\xef\xbb\xbf)?\s*([<{]|\[\s*[\[{]|%PDF)", head) is not None
    return bool(head.strip()) and is_text and not is_document


def writer_class(path: Path) -> type[Writer]:
    """Return the class that writes a file with this suffix; raise `TableError` if there is none."""
    for known in FORMATS:
        if path.suffix.lower() in known.writes:
            writer: type[Writer] = _class(known.writer)
            return writer
    raise TableError(f"{path} must end in one of {', '.join(ENDINGS)}")


@cache
def _class(name: str) -> Any:
    module, _, class_name = name.partition(".")
    return getattr(import_module(f"aefast.tables.formats.{module}"), class_name)
