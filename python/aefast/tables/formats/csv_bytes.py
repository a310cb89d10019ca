"""The bytes of a CSV file: whether they are compressed, in UTF-16, or end within quotes.

They are read by streams of Arrow's own. It would read an object of Python's from other threads, which may find Python
gone when the process ends.
"""

from __future__ import annotations

from codecs import BOM_UTF16_BE, BOM_UTF16_LE
from pathlib import Path
from typing import Any

import pyarrow as pa

_COMPRESSED = (".gz", ".bz2", ".zst", ".lz4")


def is_compressed(path: Path) -> bool:
    """Whether the ending says so, in any case."""
    return path.suffix.lower() in _COMPRESSED


def unpacked(path: Path) -> Any:
    """The stream of a file's bytes, as they were before compression."""
    codec = pa.Codec.detect(path.name.lower()).name if is_compressed(path) else None
    return pa.input_stream(str(path), compression=codec)


def is_utf16(path: Path) -> bool:
    """Whether a file begins with the mark of UTF-16."""
    with unpacked(path) as stream:
        return bytes(stream.read(2)) in (BOM_UTF16_LE, BOM_UTF16_BE)


def goes_to_the_end(path: Path, cell: bytes) -> bool:
    """Whether the last cell of a CSV file goes to the very end, line ends and all, as one whose quote is not closed:
    Arrow takes it to close there."""
    if b"\n" not in cell and b"\r" not in cell:
        return False
    written = cell.replace(b'"', b'""')
    end = b""
    with unpacked(path) as stream:
        if not is_compressed(path):
            stream.seek(max(0, stream.size() - len(written)))
        while block := stream.read(1 << 20):
            end = (end + block)[-len(written) :]
    return end == written
