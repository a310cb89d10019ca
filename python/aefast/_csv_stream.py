"""The bytes of a CSV file as Arrow's reader takes them, with an end that it cannot overlook."""

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


class EndRow:
    """A row with a cell too many, which stands after all others.

    Arrow hands it over as a wrong one, unless it is in a cell itself: where a quote is not closed, which Arrow takes
    to close where the file ends.
    """

    def __init__(self, delimiter: str, n_columns: int) -> None:
        self.text = "\x04" + delimiter * n_columns
        self.seen = False

    def __call__(self, row: Any) -> str:
        """What to do with a wrong row."""
        if row.text != self.text:
            return "error"
        self.seen = True
        return "skip"


class CsvStream:
    """What Arrow reads of a file-like object: the bytes of a CSV file, and after them an end row."""

    def __init__(self, path: Path, end: EndRow | None = None) -> None:
        self._file = unpacked(path)
        self._rest = b"" if end is None else f"\n{end.text}\n".encode()
        self.closed = False

    def read(self, n_bytes: int) -> Any:
        block = self._file.read_buffer(n_bytes)
        if not len(block):
            block, self._rest = self._rest, b""
        return block

    def close(self) -> None:
        self._file.close()
        self.closed = True

    def readable(self) -> bool:
        return True
