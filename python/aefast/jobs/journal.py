"""The journal of a job: a file beside the output that records progress, so that a killed job can be resumed.

A journal is a sequence of frames. Each has a length, a checksum over the bytes of this and all earlier frames, and
its bytes. Reading stops at the first frame that is cut short, damaged or moved, so the frames before it are valid
however the writer was killed. The first frame identifies the job: a journal is not continued with another model, other
options or other input.
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
from aefast.tables.arrow import batch_to_bytes
from aefast.tables.files import MISFITS, naming

T = TypeVar("T")
_HEAD = struct.Struct("<QI")


class ResumeError(AefastError, ValueError):
    """The journal belongs to another job, or to a job that is running."""


def journal_path(output: Path) -> Path:
    """The path of the journal of a job with this output."""
    return output.with_name(output.name + ".partial")


class Journal:
    """The frames of a job at ``path``.

    Parameters
    ----------
    path : Path
    identity : dict
        Plain data that names the job: model, options, input. Compared key by key.
    resume : bool
        Continue after the frames that are there. False drops them.

    Attributes
    ----------
    found : bool
        True if there are frames to continue from.
    has_more : bool
        Set it if the job ends and leaves something to do for another run.

    Raises
    ------
    ResumeError
        If the journal has another identity, if another process is writing it, or if the file is not a journal.
    """

    def __init__(self, path: Path, identity: dict[str, Any], *, resume: bool) -> None:
        self.path = path
        self._file: IO[bytes] = path.open("ab+")
        self.found: bool = False
        self.has_more: bool = False
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
                self.remove()  # part of a frame would identify no job
                raise
        else:
            self._compare(self.read(_identity, first), json.loads(json.dumps(identity)))
            self.found = True

    def _refuse_foreign(self) -> None:
        """Raise `ResumeError` for a file that does not begin as a journal does, and so belongs to somebody else."""
        self._file.seek(0)
        beginning = self._file.read(_HEAD.size + 1)
        self._file.seek(0)
        # A journal begins with a short JSON object: its length fits into three bytes.
        if beginning and (beginning[3:8] != bytes(5) or beginning[_HEAD.size :] != b"{"):
            raise ResumeError(
                f"{self.path} is not a journal of aefast, but progress would be recorded there; move it, or name "
                "another output"
            )

    def read(self, make: Callable[[bytes], T], frame: bytes) -> T:
        """``make(frame)``; raises `ResumeError` if the frame has a valid checksum but invalid content."""
        try:
            return make(frame)
        except (pa.ArrowException, OSError, StopIteration, *MISFITS) as error:
            raise self.unfit(f"{type(error).__name__}: {error}") from error

    def unfit(self, what: str) -> ResumeError:
        """The error for frames with valid checksums that this job cannot have written."""
        return ResumeError(f"cannot resume: {self.path} has invalid content ({what}); leave out --resume to start over")

    def _compare(self, theirs: dict[str, Any], ours: dict[str, Any]) -> None:
        for what in ours:
            if theirs.get(what) != ours[what]:
                raise ResumeError(
                    f"cannot resume: {self.path} was begun with {_difference(what, theirs.get(what), ours[what])}; "
                    "repeat the same command, or leave out --resume to start over"
                )

    def replay(self) -> Iterator[bytes]:
        """Yield the frames after the first, then cut off what follows the last valid one.

        Must be exhausted before anything is appended."""
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
        """Add a frame: bytes or a buffer."""
        view = memoryview(content)
        self._checksum = zlib.crc32(view, self._checksum)
        with naming(self.path):
            self._file.write(_HEAD.pack(view.nbytes, self._checksum))
            self._file.write(view)
            self._file.flush()

    def append_batch(self, batch: pa.RecordBatch) -> None:
        """Add a frame with a batch."""
        self.append(batch_to_bytes(batch))

    def close(self) -> None:
        """Close the file and leave it, so that the job can be resumed."""
        with suppress(OSError):  # from the unwritten rest of a frame on a full disk
            self._file.close()

    def remove(self) -> None:
        """Delete the file: the job is done, or resuming cannot help."""
        self.path.unlink(missing_ok=True)
        self.close()


def batch_from(content: Any, schema: pa.Schema | None = None) -> pa.RecordBatch:
    """The batch in a frame, without a copy; raises ValueError if its schema is not ``schema``."""
    batch = pa.ipc.open_stream(content).read_next_batch()
    batch.validate(full=True)
    if schema is not None and not batch.schema.equals(schema):
        raise ValueError("its columns differ")
    return batch


def _identity(frame: bytes) -> dict[str, Any]:
    return dict(json.loads(frame).items())


def _difference(what: str, theirs: Any, ours: Any) -> str:
    """Describes the difference between two values of the identity."""
    if isinstance(theirs, dict) and isinstance(ours, dict):
        for name in ours:
            if theirs.get(name) != ours[name]:
                return f"other {what} ({name}: {theirs.get(name)}, now {ours[name]})"
    return f"another {what}"
