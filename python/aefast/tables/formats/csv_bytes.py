"""The bytes of a CSV file: reading them uncompressed, and finding UTF-16 and a quote that is not closed.

Arrow's own streams read the bytes. Arrow would read a Python file object from other threads, which may run on after
the interpreter has ended.
"""

from __future__ import annotations

from codecs import BOM_UTF16_BE, BOM_UTF16_LE
from pathlib import Path
from typing import Any

import pyarrow as pa

from aefast.tables.formats.base import is_compressed


def uncompressed(path: Path) -> Any:
    """Return the stream of a file's bytes, decompressed."""
    codec = pa.Codec.detect(path.name.lower()).name if is_compressed(path) else None
    return pa.input_stream(str(path), compression=codec)


def is_utf16(path: Path) -> bool:
    """Whether a file begins with the byte order mark of UTF-16."""
    with uncompressed(path) as stream:
        return bytes(stream.read(2)) in (BOM_UTF16_LE, BOM_UTF16_BE)


def ends_with_cell(path: Path, cell: bytes) -> bool:
    """Whether the last cell extends to the last byte of the file, line ends included.

    Then its quote is not closed; Arrow takes the end of the file for the closing quote.
    """
    if b"\n" not in cell and b"\r" not in cell:
        return False
    written = cell.replace(b'"', b'""')
    end = b""
    with uncompressed(path) as stream:
        if not is_compressed(path):
            stream.seek(max(0, stream.size() - len(written)))
        while block := stream.read(1 << 20):
            end = (end + block)[-len(written) :]
    return end == written
