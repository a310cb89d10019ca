"""The fleet file: the model files of all groups in one file, with an index, so that one is read without the others.

It is a safetensors file, as a model file is, with three tensors of bytes and numbers:

- ``models``: the content of each group's model file, one after the other, the pooled model's last
- ``ends``: where each of them ends
- ``digests``: the SHA-256 digest of each

The document in the header has the groups. The header's digest is that of header, ``ends`` and ``digests``, so that no
byte of the file can change unnoticed, although opening it reads the index alone.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import stat
import struct
import weakref
from collections import ChainMap
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from aefast.engine import core
from aefast.exceptions import ModelFileError
from aefast.model import file
from aefast.model.container import DIGEST_PLACE, MAX_HEADER, Source, read_header, valid, without_doubles
from aefast.model.fleet import UNSEEN
from aefast.model.layer import integer
from aefast.model.model import Model
from aefast.model.variants import known_class
from aefast.tables.files import MISFITS, atomic_path, naming
from aefast.tables.groups import Key, key_label, plain_key

FORMAT_VERSION = 1
_DIGEST_BYTES = 32
_INDEX_BYTES = 8 + _DIGEST_BYTES  # of one model


@dataclass(frozen=True)
class FleetDocument:
    """What a fleet file says beside its models.

    Attributes
    ----------
    kind : str
        Class of the estimators.
    parameters : dict
        Their constructor parameters as plain data.
    by : tuple of str, or None
    one : bool
        As in `aefast.model.fleet.ModelFleet`.
    min_rows : int
    unseen : {"pooled", "error"}
    keys : list
        The groups with a model of their own.
    counts : dict
        Rows in training of each group, also of those without a model.
    has_pooled : bool
    version : str
        The version of aefast that wrote the file.
    """

    kind: str
    parameters: dict[str, Any]
    by: tuple[str, ...] | None
    one: bool
    min_rows: int
    unseen: str
    keys: list[Key]
    counts: dict[Key, int]
    has_pooled: bool
    version: str = core.__version__

    def plain(self) -> dict[str, Any]:
        """Return the document as JSON."""
        known = set(self.keys)
        others = [key for key in self.counts if key not in known]
        return {
            "class": self.kind,
            "library_version": self.version,
            "parameters": self.parameters,
            "by": None if self.by is None else list(self.by),
            "one": self.one,
            "min_rows": self.min_rows,
            "unseen": self.unseen,
            "groups": self.keys,
            "counts": [self.counts.get(key, 0) for key in self.keys],
            "other_groups": others,
            "other_counts": [self.counts[key] for key in others],
            "has_pooled": self.has_pooled,
        }

    @classmethod
    def of_plain(cls, document: dict[str, Any]) -> FleetDocument:
        """Return the document of a file after checking each value; raise one of `MISFITS` if one is not valid."""
        by, one = document["by"], document["one"]
        if by is not None and not (isinstance(by, list) and by and all(isinstance(name, str) for name in by)):
            raise ValueError("by must be names of columns")
        if type(one) is not bool or type(document["has_pooled"]) is not bool or document["unseen"] not in UNSEEN:
            raise ValueError("one, has_pooled or unseen is not valid")
        n_values = None if one else None if by is None else len(by)
        keys = [_key(key, one, n_values) for key in document["groups"]]
        others = [_key(key, one, n_values) for key in document["other_groups"]]
        if len({*keys, *others}) != len(keys) + len(others):
            raise ValueError("a group occurs twice")
        counts = [integer(count, 0, 1 << 62) for count in [*document["counts"], *document["other_counts"]]]
        return cls(
            kind=known_class(document["class"]),
            parameters=dict(document["parameters"]),
            by=None if by is None else tuple(by),
            one=one,
            min_rows=integer(document["min_rows"], 1, 1 << 62),
            unseen=document["unseen"],
            keys=keys,
            counts=dict(zip([*keys, *others], counts, strict=True)),
            has_pooled=document["has_pooled"],
            version=str(document["library_version"]),
        )


def _key(value: Any, one: bool, n_values: int | None) -> Key:
    if one:
        key: Key = _value(value)
        return key
    if not isinstance(value, list) or not value or len(value) != (n_values or len(value)):
        raise ValueError("a group has not a value for each column")
    return tuple(map(_value, value))


def _value(value: Any) -> Any:
    if plain_key("by", value) != value:
        raise ValueError(f"{value!r} is not a group")
    return value


def write(path: str | os.PathLike[str], document: FleetDocument, models: Iterable[bytes]) -> None:
    """Write a fleet file, whole or not at all, from the content of the model files, the pooled model's last."""
    n = len(document.keys) + document.has_pooled
    reserved = len(_header(document, n, (1 << 62) - 1))
    ends, digests, end = np.zeros(n, dtype="<i8"), io.BytesIO(), 0
    with atomic_path(path) as part, naming(path), part.open("wb") as stream:
        stream.write(b" " * reserved)
        for index, content in enumerate(models):
            stream.write(content)
            digests.write(hashlib.sha256(content).digest())
            end += len(content)
            ends[index] = end
        padding = b" " * (-end % 8)  # numbers begin at a multiple of eight
        tables = ends.tobytes() + digests.getvalue()
        stream.write(padding + tables)
        header = _header(document, n, end + len(padding), reserved)
        digest = hashlib.sha256(header + tables).hexdigest()
        stream.seek(0)
        stream.write(header.replace(DIGEST_PLACE.encode(), digest.encode(), 1))


def _header(document: FleetDocument, n: int, n_bytes: int, length: int = 0) -> bytes:
    """Return the header and its length, padded with blanks to ``length`` bytes, or to a multiple of eight."""
    metadata = {
        "format": "aefast-fleet",
        "format_version": str(FORMAT_VERSION),
        "digest": DIGEST_PLACE,
        "fleet": json.dumps(document.plain(), allow_nan=False, separators=(",", ":")),
    }
    text = json.dumps({"__metadata__": metadata, **_tensors(n_bytes, n)}, separators=(",", ":")).encode()
    text += b" " * (length - 8 - len(text) if length else -len(text) % 8)
    if len(text) > MAX_HEADER:
        raise ValueError(
            f"the fleet takes a header of {len(text):,} bytes, and a file can have {MAX_HEADER:,}: give the groups "
            "shorter names, or save fewer of them in a file"
        )
    return struct.pack("<Q", len(text)) + text


def _tensors(n_bytes: int, n: int) -> dict[str, Any]:
    """Return the entries of a header: ``n`` models in ``n_bytes`` bytes, and the end and the digest of each."""
    first, second = n_bytes + 8 * n, n_bytes + _INDEX_BYTES * n
    return {
        "models": {"dtype": "U8", "shape": [n_bytes], "data_offsets": [0, n_bytes]},
        "ends": {"dtype": "I64", "shape": [n], "data_offsets": [n_bytes, first]},
        "digests": {"dtype": "U8", "shape": [n, _DIGEST_BYTES], "data_offsets": [first, second]},
    }


@dataclass(eq=False)
class StoredModels(Mapping[Key, Model]):
    """The models of a fleet file by group. Each is read when it is first needed, and kept.

    Attributes
    ----------
    name : str
        The file's name, for messages.
    document : FleetDocument
    digest : str
        The digest of the whole file.
    n_threads : int or None
        Replaces the models' own, unless it is None.
    """

    name: str
    document: FleetDocument
    _read: Callable[[int, int], bytes]
    _start: int
    _ends: NDArray[np.int64]
    _digests: bytes
    digest: str
    n_threads: int | None = None
    _places: dict[Key, int] = field(init=False)
    _kept: dict[int, Model] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        self._places = {key: place for place, key in enumerate(self.document.keys)}

    def __getitem__(self, key: Key) -> Model:
        return self._model(self._places[key], f"group {key_label(key)}")

    def __contains__(self, key: object) -> bool:
        return key in self._places

    def __iter__(self) -> Iterator[Key]:
        return iter(self.document.keys)

    def __len__(self) -> int:
        return len(self.document.keys)

    @property
    def pooled(self) -> Model | None:
        """The model of all other groups."""
        place = len(self.document.keys)
        return self._model(place, "the pooled model") if self.document.has_pooled else None

    def content(self, key: Key) -> bytes:
        """Return the content of a group's model file; ModelFileError if it is damaged."""
        return self._content(self._places[key], f"group {key_label(key)}")

    def _model(self, place: int, what: str) -> Model:
        model = self._kept.get(place)
        if model is None:
            content = self._content(place, what)
            try:
                model = Model.load(content)
            except ModelFileError as error:
                raise ModelFileError(f"{self.name}: {what}: {error}") from error
            if model.kind != self.document.kind:
                raise ModelFileError(f"{self.name}: {what} is a {model.kind} among models of {self.document.kind}")
            if self.n_threads is not None:
                model = model.replace(n_threads=self.n_threads)
            self._kept[place] = model
        return model

    def _content(self, place: int, what: str) -> bytes:
        begin = int(self._ends[place - 1]) if place else 0
        n_bytes = int(self._ends[place]) - begin
        content = self._read(n_bytes, self._start + begin)
        if len(content) != n_bytes:
            raise ModelFileError(f"{self.name} is truncated: it became shorter after it was opened")
        digest = self._digests[_DIGEST_BYTES * place : _DIGEST_BYTES * (place + 1)]
        if hashlib.sha256(content).digest() != digest:
            raise ModelFileError(f"{self.name} is altered: {what} does not match its digest")
        return content


class _OpenFile:
    """Reads places of a file, from several threads at once. It stays open as long as this object is in use."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._descriptor = os.dup(stream.fileno())
        weakref.finalize(self, os.close, self._descriptor)

    def read(self, n_bytes: int, begin: int) -> bytes:
        """Return the bytes from ``begin`` on; fewer at the end of the file."""
        return os.pread(self._descriptor, n_bytes, begin)


def is_fleet(source: Source) -> bool:
    """Return whether a file, or its content, begins as a fleet file does; OSError if it cannot be read."""
    magic = b'{"__metadata__":{"format":"aefast-fleet"'
    if isinstance(source, bytes | bytearray | memoryview):
        return bytes(source[8 : 8 + len(magic)]) == magic
    if not stat.S_ISREG(os.stat(source).st_mode):
        return False
    with open(source, "rb") as stream:
        return stream.read(8 + len(magic))[8:] == magic


def opened(source: Source, n_threads: int | None = None) -> StoredModels:
    """Return the models of a fleet file. Only the index is read now; ``n_threads`` replaces that of the models.

    The file stays open as long as the result is in use, so that it may be replaced meanwhile.

    Raises
    ------
    ModelFileError
        If the file is truncated, altered, of a newer format, or not a fleet; the message says which. A group's model is
        checked when it is read.
    OSError
        If there is no such file, or it cannot be read.
    """
    if isinstance(source, bytes | bytearray | memoryview):
        content = bytes(source)
        return _opened(
            io.BytesIO(content), len(content), "the fleet", lambda n, begin: content[begin : begin + n], n_threads
        )
    name = os.fspath(source)
    if not stat.S_ISREG(os.stat(name).st_mode):
        raise ModelFileError(f"{name} is not an aefast fleet: it is not a regular file")
    with open(name, "rb") as stream:
        return _opened(stream, os.fstat(stream.fileno()).st_size, name, _OpenFile(stream).read, n_threads)


def _opened(
    stream: IO[bytes], size: int, name: str, read: Callable[[int, int], bytes], n_threads: int | None
) -> StoredModels:
    header, header_bytes = read_header(stream, size, name, "fleet", FORMAT_VERSION)
    n_bytes, n = _extents(header, size - len(header_bytes), name)
    stream.seek(len(header_bytes) + n_bytes)
    tables = stream.read(_INDEX_BYTES * n)
    digest = header["__metadata__"]["digest"].encode()
    zeroed = header_bytes.replace(digest, DIGEST_PLACE.encode(), 1)
    if len(tables) != _INDEX_BYTES * n or hashlib.sha256(zeroed + tables).hexdigest().encode() != digest:
        raise ModelFileError(f"{name} is altered: its digest does not match its index")
    ends = np.frombuffer(tables, "<i8", n).astype(np.int64)
    with valid(name, "fleet"):
        plain = json.loads(header["__metadata__"]["fleet"], object_pairs_hook=without_doubles)
        document = FleetDocument.of_plain(plain)
        if len(document.keys) + document.has_pooled != n or n == 0:
            raise ValueError("there is not a model for each group")
        if (np.diff(ends, prepend=0) <= 0).any() or not 0 <= n_bytes - int(ends[-1]) < 8:
            raise ValueError("the models do not fill their place")
        stream.seek(len(header_bytes) + int(ends[-1]))
        if stream.read(n_bytes - int(ends[-1])).strip(b" "):
            raise ValueError("bytes stand between the models and the index")
    return StoredModels(name, document, read, len(header_bytes), ends, tables[8 * n :], digest.decode(), n_threads)


def _extents(header: dict[str, Any], n_bytes: int, name: str) -> tuple[int, int]:
    """Return the bytes of all models and their number; the tensors must fill the file after its header."""
    try:
        entries = {key: entry for key, entry in header.items() if key != "__metadata__"}
        size, n = entries["models"]["shape"][0], entries["ends"]["shape"][0]
        if type(size) is not int or type(n) is not int or size < 0 or n < 0:
            raise ValueError("a size is not a count")
        if entries != _tensors(size, n):
            raise ValueError("the tensors are not those of a fleet")
    except MISFITS as error:
        raise ModelFileError(f"{name} is altered: {type(error).__name__}: {error}") from error
    total = size + _INDEX_BYTES * n
    if total != n_bytes:
        word = "truncated" if total > n_bytes else "altered"
        raise ModelFileError(f"{name} is {word}: its tensors have {total} bytes, but {n_bytes} are there")
    return size, n


def stored_content(models: Mapping[Key, Model], key: Key) -> bytes | None:
    """Return the content of a group's model file if it is in a fleet file; None if the model is in memory."""
    if isinstance(models, ChainMap):
        return next((stored_content(each, key) for each in models.maps if key in each), None)
    return models.content(key) if isinstance(models, StoredModels) else None


def model_content(model: Model) -> bytes:
    """Return the content of a model file for a model that was trained or loaded, and is therefore valid."""
    return file.packed(*file.describe(model))
