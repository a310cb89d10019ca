"""What a job has done so far, in a file beside its output, so that the same command can go on after a kill.

A journal is a row of frames: length, checksum of this frame's bytes and of those before it, bytes.
A frame that was cut short, damaged or moved ends it, so that whatever killed the writer, the frames before hold. The
first one says what the job is: the same journal is not continued with another model, other options or other input.
"""

from __future__ import annotations

import fcntl
import json
import os
import struct
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, TypeVar

import pyarrow as pa

from aefast.exceptions import AefastError
from aefast.tables.files import MISFITS, naming

__all__ = ["Journal", "ResumeError", "batch_from", "batch_to_bytes", "journal_path"]

T = TypeVar("T")
_HEAD = struct.Struct("<QI")


class ResumeError(AefastError, ValueError):
    """A journal that belongs to another job, or to one that is running."""


def journal_path(output: Path) -> Path:
    """Where the journal of a job with this output is."""
    return output.with_name(output.name + ".partial")


class Journal:
    """The frames of a job at ``path``.

    Parameters
    ----------
    path : Path
    identity : dict
        Plain data that names the job: model, options, input. Compared key by key.
    resume : bool
        Go on with the frames that are there; otherwise they are dropped.

    Attributes
    ----------
    found : bool
        Whether there was something to go on with.

    Raises
    ------
    ResumeError
        Where the journal's identity is another, another process writes it, or the file is no journal.
    """

    def __init__(self, path: Path, identity: dict[str, Any], *, resume: bool) -> None:
        self.path = path
        self._file: IO[bytes] = path.open("ab+")
        self.found = False
        self._checksum = 0
        try:
            self._begin(identity, resume)
        except BaseException:
            self.close()
            raise

    def _begin(self, identity: dict[str, Any], resume: bool) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ResumeError(f"{self.path} is being written by another run; wait for it to end") from error
        self._refuse_foreign()
        first = next(self._frames(), None) if resume else None
        if first is None:
            self._file.truncate(0)
            try:
                self.append(json.dumps(identity).encode())
            except OSError:
                self.remove()  # what is less than a frame would be nobody's
                raise
        else:
            self._compare(self.read(_identity, first), json.loads(json.dumps(identity)))
            self.found = True

    def _refuse_foreign(self) -> None:
        """Raise `ResumeError` for a file that does not begin as every journal does: it is somebody's."""
        self._file.seek(0)
        beginning = self._file.read(_HEAD.size + 1)
        self._file.seek(0)
        # An identity is a JSON object, and short.
        if beginning and (beginning[3:8] != bytes(5) or beginning[_HEAD.size :] != b"{"):
            raise ResumeError(
                f"{self.path} is in the way: progress is recorded there, and it holds something else; move it, or name "
                "another output"
            )

    def read(self, make: Callable[[bytes], T], frame: bytes) -> T:
        """What ``make`` makes of a frame; ResumeError where its checksum is right and what it says is not."""
        try:
            return make(frame)
        except (pa.ArrowException, OSError, StopIteration, *MISFITS) as error:
            raise self.unfit(f"{type(error).__name__}: {error}") from error

    def unfit(self, what: str) -> ResumeError:
        """The error for frames that are whole but not what the job writes."""
        return ResumeError(
            f"cannot resume: {self.path} holds what no run wrote ({what}); leave out --resume to start anew"
        )

    def _compare(self, theirs: dict[str, Any], ours: dict[str, Any]) -> None:
        for what in ours:
            if theirs.get(what) != ours[what]:
                raise ResumeError(
                    f"cannot resume: {self.path} was begun with {_difference(what, theirs.get(what), ours[what])}; "
                    "give the same command again, or leave out --resume to start anew"
                )

    def replay(self) -> Iterator[bytes]:
        """The frames after the first; what follows the last whole one is cut off. To be gone through before
        anything is appended."""
        yield from self._frames()
        self._file.truncate()

    def _frames(self) -> Iterator[bytes]:
        size = os.fstat(self._file.fileno()).st_size
        while True:
            start = self._file.tell()
            head = self._file.read(_HEAD.size)
            if len(head) == _HEAD.size:
                length, checksum = _HEAD.unpack(head)
                if length <= size - start - _HEAD.size:
                    content = self._file.read(length)
                    if zlib.crc32(content, self._checksum) == checksum:
                        self._checksum = checksum
                        yield content
                        continue
            self._file.seek(start)
            return

    def append(self, content: Any) -> None:
        """Add a frame: bytes, or what gives them as a buffer."""
        view = memoryview(content)
        self._checksum = zlib.crc32(view, self._checksum)
        with naming(self.path):
            self._file.write(_HEAD.pack(view.nbytes, self._checksum))
            self._file.write(view)
            self._file.flush()

    def close(self) -> None:
        """Leave it, so that the job can be resumed."""
        with suppress(OSError):  # of a frame that there was no room for
            self._file.close()

    def remove(self) -> None:
        """The job is done, or is not worth resuming."""
        self.path.unlink(missing_ok=True)
        self.close()


def batch_to_bytes(batch: pa.RecordBatch) -> pa.Buffer:
    """A batch as a frame: a stream of its own, in which dictionaries have their place too."""
    stream = pa.BufferOutputStream()
    with pa.ipc.new_stream(stream, batch.schema) as writer:
        writer.write_batch(batch)
    return stream.getvalue()


def batch_from(content: Any, schema: pa.Schema | None = None) -> pa.RecordBatch:
    """The batch in a frame, without a copy; ValueError where it is not of ``schema``."""
    batch = pa.ipc.open_stream(content).read_next_batch()
    batch.validate(full=True)
    if schema is not None and not batch.schema.equals(schema):
        raise ValueError("the columns are others")
    return batch


def _identity(frame: bytes) -> dict[str, Any]:
    return dict(json.loads(frame).items())


def _difference(what: str, theirs: Any, ours: Any) -> str:
    """In words: what differs."""
    if isinstance(theirs, dict) and isinstance(ours, dict):
        for name in ours:
            if theirs.get(name) != ours[name]:
                return f"other {what} ({name}: {theirs.get(name)}, now {ours[name]})"
    return f"another {what}"
