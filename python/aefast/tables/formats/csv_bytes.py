"""The bytes of a CSV file: as UTF-8, a sample of them with its encoding, and finding a quote that is not closed.

Arrow's own streams read the bytes. Arrow would read a Python file object from other threads, which may run on after
the interpreter has ended.
"""

from __future__ import annotations

import re
from codecs import BOM_UTF16_BE, BOM_UTF16_LE
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pyarrow as pa

from aefast.tables.dialect import is_blank, mark_of, separator_pattern
from aefast.tables.formats.base import is_compressed

#: The first bytes of frequent letters, by the encodings of two bytes that are tried; Latin text has other pairs.
_FREQUENT = {
    "cp932": rb"[\x81-\x98]",
    "euc_kr": rb"[\xb0-\xc8\xa1]",
    "gb18030": rb"[\xb0-\xd7\xa1-\xa3]",
    "big5": rb"[\xa4-\xc8\xa1]",
}
#: The fewest bytes above 127 that show a script, and the share of frequent letters in it.
_LEAST_HIGH, _MOSTLY = 6, 0.9
#: Bytes of a file that are looked at for others than ASCII if the sample has none.
_MOST_READ = 1 << 24
_NOT_ASCII, _HIGH = re.compile(rb"[\x80-\xff]"), bytes(range(128, 256))
#: Bytes of a sample: at the start, and at each of some places further down.
_HEAD, _PART, _PARTS = 1 << 16, 1 << 13, 8


def uncompressed(path: Path) -> Any:
    """Return the stream of a file's bytes, decompressed."""
    codec = pa.Codec.detect(path.name.lower()).name if is_compressed(path) else None
    return pa.input_stream(str(path), compression=codec)


def in_utf8(path: Path, encoding: str, *changes: Callable[[Any], bytes]) -> Any:
    """Return the stream of a file's text in UTF-8, with ``changes`` made to its blocks of bytes one after the other."""
    stream = uncompressed(path)
    if encoding != "utf-8":
        stream = pa.transcoding_input_stream(stream, encoding, "utf-8")
    for change in changes:
        stream = pa.TransformInputStream(stream, change)
    return stream


class SingleMarks:
    """Replaces separators by the one byte that stands for them, in blocks of bytes.

    If blanks separate the cells, those at both ends of lines are dropped.
    """

    def __init__(self, delimiter: str) -> None:
        self._pattern, self._mark = re.compile(separator_pattern(delimiter).encode()), mark_of(delimiter).encode()
        self._is_blank = is_blank(delimiter)
        self._may_go_on = b" \t" if self._is_blank else delimiter.encode()
        self._held, self._at_start = b"", True

    def __call__(self, block: Any) -> bytes:
        """Return the text up to what may be part of a separator; an empty block is the end of the file."""
        text = self._held + bytes(block)
        kept = text.rstrip(self._may_go_on) if len(block) or self._is_blank else text
        self._held = text[len(kept) :]
        if self._is_blank and kept:
            kept = kept.lstrip(b" \t") if self._at_start else kept
            kept = re.sub(rb"[ \t]*([\r\n]+)[ \t]*", rb"\1", kept)
            self._at_start = kept.endswith((b"\r", b"\n"))
        return self._pattern.sub(self._mark, kept)


def sample_text(path: Path, encoding: str | None) -> tuple[str, str]:
    """Return the first lines of a file and some from its middle and end, and the encoding, which is found if None.

    Only the start of a compressed file, or of one in UTF-16, is read.
    """
    with uncompressed(path) as stream:
        head = bytes(stream.read(_HEAD))
        encoding = encoding or _marked_encoding(head)
        end = b"\n" if b"\n" in head else b"\r"
        n_bytes = 0 if is_compressed(path) or encoding else stream.size()
        parts = [head]
        for index in range(1, _PARTS + 1) if n_bytes > _HEAD + _PARTS * _PART else ():
            stream.seek(_HEAD + (n_bytes - _HEAD - _PART) * index // _PARTS)
            parts.append(bytes(stream.read(_PART)).partition(end)[2])
        if 0 < n_bytes <= _HEAD + _PARTS * _PART:
            parts[0] += bytes(stream.read())
    if encoding and encoding.startswith("utf-16"):
        return head.decode(encoding, errors="ignore").rpartition("\n")[0] or head.decode(encoding, "ignore"), encoding
    whole = parts[0] if n_bytes == len(parts[0]) or len(head) < _HEAD else parts[0].rpartition(end)[0]
    text = end.join([whole, *(part.rpartition(end)[0] for part in parts[1:])])
    text = text if end == b"\n" else text.replace(b"\r", b"\n")
    encoding = encoding or _encoding_of(text if not text.isascii() else _bytes_of_others(path) or text)
    return text.decode("utf-8-sig" if encoding == "utf-8" else encoding, errors="replace"), encoding


def _bytes_of_others(path: Path) -> bytes:
    """Return the lines around the first byte that is not ASCII, for a file of ASCII in the sample; empty if none is."""
    with uncompressed(path) as stream:
        n_read = 0
        while n_read < _MOST_READ and (block := bytes(stream.read(1 << 20))):
            if not block.isascii() and (found := _NOT_ASCII.search(block)):
                return block[max(0, found.start() - _PART) : found.start() + _PART].strip(_HIGH)
            n_read += len(block)
    return b""


def _marked_encoding(head: bytes) -> str | None:
    """Return the encoding that the first bytes show: UTF-16 has a mark, or every second byte of its ASCII is zero."""
    if head[:2] in (BOM_UTF16_LE, BOM_UTF16_BE):
        return "utf-16"
    for zeros, others, name in ((head[1::2], head[::2], "utf-16-le"), (head[::2], head[1::2], "utf-16-be")):
        if len(zeros) > 2 and zeros.count(0) > 0.9 * len(zeros) and others.count(0) == 0:
            return name
    return None


def _encoding_of(text: bytes) -> str:
    """Return the encoding of bytes: UTF-8, one of another script, or Latin-1 or its Windows variant."""
    try:
        text.decode()
        return "utf-8"
    except UnicodeDecodeError:
        pass
    if found := _other_script(text):
        return found
    if re.search(rb"[\x00-\x08\x0e-\x1f\x7f\x81\x8d\x8f\x90\x9d]", text):
        return "utf-8"  # it is not text, and the reader says so
    return "cp1252" if re.search(rb"[\x80-\x9f]", text) else "latin-1"


def _other_script(text: bytes) -> str | None:
    """Return the encoding of text in Japanese, Korean, Chinese or Cyrillic letters; None for others.

    Their letters are bytes above 127 that follow each other, which Latin letters with accents seldom do.
    """
    runs = re.findall(rb"[\x80-\xff]+", text)
    n_high = sum(map(len, runs))
    n_wrong = text.decode(errors="replace").count("\ufffd")
    if n_high < _LEAST_HIGH or n_wrong < 0.05 * n_high or sum(len(run) for run in runs if len(run) > 1) < 0.5 * n_high:
        return None
    for encoding, first_bytes in _FREQUENT.items():
        with suppress(UnicodeDecodeError):
            letters = [letter.encode(encoding) for letter in re.findall(r"[^\x00-\x7f]", text.decode(encoding))]
            if sum(re.match(first_bytes, letter) is not None for letter in letters) >= _MOSTLY * len(letters):
                return encoding
    if sum(len(run) for run in runs if len(run) > 2) < 0.5 * n_high:
        return None
    # In KOI8-R, the small letters stand where Windows-1251 has the capitals.
    lower, upper = (sum(map(len, re.findall(form, text))) for form in (rb"[\xe0-\xff]+", rb"[\xc0-\xdf]+"))
    if lower + upper < _MOSTLY * n_high:
        return None
    return "cp1251" if lower >= upper and text.count(b"\xe0") > 0.02 * n_high else "koi8-r" if upper > lower else None


def ends_with_cell(
    path: Path, cell: bytes, encoding: str = "utf-8", quote: str = '"', *changes: Callable[[Any], bytes]
) -> bool:
    """Whether the last cell extends to the last byte of the file, line ends included.

    Then its quote is not closed; Arrow takes the end of the file for the closing quote. ``changes``: as in `in_utf8`.
    """
    if b"\n" not in cell and b"\r" not in cell:
        return False
    written = cell.replace(quote.encode(), 2 * quote.encode())
    end = b""
    with in_utf8(path, encoding, *changes) as stream:
        if not changes and not is_compressed(path) and encoding == "utf-8":
            stream.seek(max(0, stream.size() - len(written)))
        while block := stream.read(1 << 20):
            end = (end + block)[-len(written) :]
    return end == written
