"""The container of model files and checkpoints: safetensors with JSON metadata, data only, checked when read.

The file is the length of the header (8 bytes, little-endian), the header (JSON) and the tensors, as safetensors
prescribes. In the header, ``__metadata__`` holds the format's name and version, a SHA-256 digest of the whole file
(computed with zeros in the digest's place, so that no byte can change unnoticed) and a document as JSON.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import stat
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from math import prod
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from aefast.engine import core
from aefast.exceptions import ModelFileError
from aefast.tables.files import MISFITS

Array = NDArray[Any]

Source = str | os.PathLike[str] | bytes | bytearray | memoryview

#: What stands in place of a digest while it is computed.
DIGEST_PLACE = "0" * 64
_MOST_ELEMENTS = 1 << 60  # NumPy can count the bytes of that many
_DTYPES: dict[str, np.dtype[Any]] = {"F32": np.dtype("<f4"), "F64": np.dtype("<f8")}
#: Largest header. JSON in memory takes tens of times its size as text. The limit suffices for a million column names of
#: 60 letters.
MAX_HEADER = 1 << 26


def pack(kind: str, version: int, document: dict[str, Any], tensors: dict[str, Array]) -> bytes:
    """Return the content of a file with a document and its tensors (float32 or float64).

    Raises
    ------
    ValueError
        If the document is longer than `unpack` reads.
    """
    metadata = {
        "format": f"aefast-{kind}",
        "format_version": str(version),
        "digest": DIGEST_PLACE,
        kind: json.dumps(document, allow_nan=False, separators=(",", ":")),
    }
    header: dict[str, Any] = {"__metadata__": metadata}
    begin = 0
    for name, tensor in tensors.items():
        dtype = "F32" if tensor.dtype == np.float32 else "F64"
        header[name] = {"dtype": dtype, "shape": list(tensor.shape), "data_offsets": [begin, begin + tensor.nbytes]}
        begin += tensor.nbytes
    text = json.dumps(header, separators=(",", ":")).encode()
    # Tensors begin at a multiple of eight.
    text += b" " * (-len(text) % 8)
    if len(text) > MAX_HEADER:
        raise ValueError(
            f"the {kind} takes a header of {len(text):,} bytes, and a file can have {MAX_HEADER:,}: give the columns "
            "shorter names, or fewer levels"
        )
    data = b"".join(tensor.astype(tensor.dtype.newbyteorder("<"), copy=False).tobytes() for tensor in tensors.values())
    content = struct.pack("<Q", len(text)) + text + data
    digest = hashlib.sha256(content).hexdigest()
    place = content.index(DIGEST_PLACE.encode())
    return content[:place] + digest.encode() + content[place + len(digest) :]


def unpack(source: Source, kind: str, newest: int) -> tuple[dict[str, Any], dict[str, Array], str]:
    """Return document, tensors and name of a file, which is given by its path or its content.

    Sizes are checked before anything is allocated, nothing in the file is run, and memory stays in proportion to it.

    Raises
    ------
    ModelFileError
        If it is truncated, altered, newer than version ``newest``, or not of this kind; the message says which.
    OSError
        If there is no such file, or it cannot be read.
    """
    if isinstance(source, bytes | bytearray | memoryview):
        name = f"the {kind}"
        return *_read(io.BytesIO(source), len(source), name, kind, newest), name
    name = os.fspath(source)
    if not stat.S_ISREG(os.stat(name).st_mode):
        raise ModelFileError(f"{name} is not an aefast {kind}: it is not a regular file")
    with open(name, "rb") as stream:
        return *_read(stream, os.fstat(stream.fileno()).st_size, name, kind, newest), name


def _read(stream: IO[bytes], size: int, name: str, kind: str, newest: int) -> tuple[dict[str, Any], dict[str, Array]]:
    header, header_bytes = read_header(stream, size, name, kind, newest)
    extents = _extents(header, size - len(header_bytes), name)
    data = stream.read(size - len(header_bytes))
    if len(data) != size - len(header_bytes):
        raise ModelFileError(f"{name} is truncated: it became shorter while it was read")

    digest = header["__metadata__"]["digest"].encode()
    whole = hashlib.sha256(header_bytes.replace(digest, DIGEST_PLACE.encode(), 1))
    whole.update(data)
    if whole.hexdigest().encode() != digest:
        raise ModelFileError(f"{name} is altered: its digest does not match what is in it")

    tensors = {
        key: np.frombuffer(data, dtype, prod(shape), begin).reshape(shape).astype(dtype.newbyteorder("="))
        for key, (dtype, shape, begin) in extents.items()
    }
    with valid(name, kind):
        document = json.loads(header["__metadata__"][kind], object_pairs_hook=without_doubles)
    return document, tensors


@contextmanager
def valid(name: object, kind: str) -> Iterator[None]:
    """Raise ModelFileError if a ``with`` block finds that a value of a file is not valid."""
    try:
        yield
    except MISFITS as error:
        if isinstance(error, ModelFileError):
            raise
        raise ModelFileError(f"{name} is not a valid {kind}: {type(error).__name__}: {error}") from error


def read_header(stream: IO[bytes], size: int, name: str, kind: str, newest: int) -> tuple[dict[str, Any], bytes]:
    """Return the header of a file of this kind, and its bytes with the eight bytes before it; errors as of `unpack`."""
    magic = f'{{"__metadata__":{{"format":"aefast-{kind}","format_version":"'.encode()
    beginning = stream.read(8 + len(magic))
    if len(beginning) <= 8 or not magic.startswith(beginning[8:]):
        few = f"it has only {size} bytes" if size <= 8 else "its header is not one of aefast's"
        raise ModelFileError(f"{name} is not an aefast {kind}, or truncated: {few}")
    (length,) = struct.unpack("<Q", beginning[:8])
    if length > size - 8:
        raise ModelFileError(f"{name} is truncated: its header has {length} bytes, but only {size - 8} are there")
    if not len(magic) < length <= MAX_HEADER:
        raise ModelFileError(f"{name} is altered: its header cannot have {length} bytes")
    header_bytes = beginning + stream.read(8 + length - len(beginning))
    try:
        header = json.loads(header_bytes[8:].decode(), object_pairs_hook=without_doubles)
        metadata = header["__metadata__"]
        version = int(metadata["format_version"])
        digest, document = metadata["digest"], metadata[kind]
        complete = isinstance(digest, str) and len(digest) == 64 and isinstance(document, str)
    except MISFITS as error:
        raise ModelFileError(
            f"{name} is altered: its header cannot be read ({type(error).__name__}: {error})"
        ) from error
    if version > newest:
        raise ModelFileError(
            f"{name} has format version {version}, but aefast {core.__version__} reads up to {newest}: upgrade aefast"
        )
    if version < 1 or not complete:
        raise ModelFileError(f"{name} is altered: its header lacks the digest or the {kind}")
    return header, header_bytes


def without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return the object of these JSON pairs; ValueError if a key occurs twice."""
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("a key occurs twice")
    return result


def _extents(header: dict[str, Any], n_bytes: int, name: str) -> dict[str, tuple[np.dtype[Any], tuple[int, ...], int]]:
    """Return dtype, shape and place of each tensor; together they must fill the file after its header."""
    extents: dict[str, tuple[np.dtype[Any], tuple[int, ...], int]] = {}
    end = 0
    for key, entry in header.items():
        if key == "__metadata__":
            continue
        try:
            dtype, shape, (begin, stop) = _DTYPES[entry["dtype"]], entry["shape"], entry["data_offsets"]
            counts = [*shape, begin, stop]
            sound = len(shape) <= 4 and all(type(count) is int and count >= 0 for count in counts)
            sound = sound and prod(filter(None, shape)) < _MOST_ELEMENTS  # a side of 0 would hide the others
            if not sound or begin != end or stop - begin != prod(shape) * dtype.itemsize:
                raise ValueError(f"shape {shape} and place {begin}:{stop} do not fit")
        except MISFITS as error:
            raise ModelFileError(f"{name} is altered: tensor {key!r} ({type(error).__name__}: {error})") from error
        extents[key], end = (dtype, tuple(shape), begin), stop
    if end > n_bytes:
        raise ModelFileError(f"{name} is truncated: its tensors have {end} bytes, but only {n_bytes} are there")
    if end < n_bytes:
        raise ModelFileError(f"{name} is altered: {n_bytes - end} bytes stand after its last tensor")
    return extents
