"""Hostile saved progress: checkpoints of training and journals of scoring, and what resuming from them may do.

`tests/test_hostile.py` makes some of them from fixed seeds; the fuzzers in `tests/fuzz/` search for more.
"""

from __future__ import annotations

import json
import os
import random
import struct
import zlib
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

import aefast
from aefast.callbacks import Checkpoint, CheckpointError
from aefast.jobs.journal import ResumeError, batch_from
from aefast.jobs.score import ScoreJob
from aefast.tables.arrow import batch_to_bytes
from aefast.tables.source import Source
from hostile import VALUES, change_json, forged
from small_tables import small_model, small_table, write_table

X = np.random.default_rng(0).normal(size=(60, 4))
KINDS = (b"checkpoint", b"journal one", b"journal fdr", b"journal many")
_HEAD = struct.Struct("<QI")


class Cut(BaseException):
    """Ends a run like a kill."""


def _estimator(path: Path, *callbacks: Any) -> aefast.Autoencoder:
    saving = [Checkpoint(path), *callbacks]
    return aefast.Autoencoder((3, 2), max_epochs=4, random_state=0, n_threads=1, callbacks=saving)


def _job(kind: bytes, folder: Path, *, resume: bool) -> ScoreJob:
    model, path = small_model(), folder / "rows.feather"
    if not path.exists():
        write_table(small_table(90), path)
    options: dict[str, Any] = {"batch_rows": 20, "resume": resume, "fdr": 0.2 if kind == KINDS[2] else None}
    if kind == KINDS[3]:
        return ScoreJob(model, Source([path]), [folder / "out" / "rows.feather"], folder=folder / "out", **options)
    return ScoreJob(model, Source([path]), folder / "out.feather", **options)


def _journals(kind: bytes, folder: Path) -> list[Path]:
    return [folder / "out" / "aefast.partial"] if kind == KINDS[3] else [folder / "out.feather.partial"]


@lru_cache
def seeds(folder: Path) -> tuple[bytes, ...]:
    """Return what an interrupted run of each of `KINDS` leaves, after the name of the kind.

    Journals come without their first frame, which holds the paths of the files.
    """

    def cut(info: Any) -> None:
        if info.epoch == 2:
            raise Cut

    path = folder / "checkpoint"
    with suppress(Cut):
        _estimator(path, cut).fit(X)
    found = [KINDS[0] + b"\n" + path.read_bytes()]
    for kind in KINDS[1:]:
        n_rows = 0

        def progress(rows: int) -> None:
            nonlocal n_rows
            n_rows += rows
            if n_rows > (150 if kind == KINDS[2] else 50):  # noqa: B023
                raise Cut

        with suppress(Cut):
            _job(kind, folder, resume=False).run(progress if kind != KINDS[3] else lambda rows: None)
        if kind == KINDS[3]:
            record = {"output": str(folder / "out" / "rows.feather"), "input": {}, "rows": 90, "anomalies": 3}
            found.append(kind + b"\n" + framed([json.dumps(record).encode()]))
        else:
            found.append(kind + b"\n" + framed(frames(_journals(kind, folder)[0].read_bytes())[1:]))
    return tuple(found)


def frames(content: bytes) -> list[bytes]:
    """Return the contents of the frames."""
    found = []
    while len(content) >= _HEAD.size:
        length, _ = _HEAD.unpack(content[: _HEAD.size])
        found.append(content[_HEAD.size : _HEAD.size + length])
        content = content[_HEAD.size + length :]
    return found


def framed(parts: list[bytes]) -> bytes:
    """Return frames with correct checksums."""
    content, checksum = b"", 0
    for part in parts:
        checksum = zlib.crc32(part, checksum)
        content += _HEAD.pack(len(part), checksum) + part
    return content


def changed(content: bytes, rng: random.Random) -> bytes:
    """Return changed content with correct checksums and digests."""
    kind, _, rest = content.partition(b"\n")
    if kind == KINDS[0]:
        return kind + b"\n" + forged(rest, rng, "checkpoint")
    parts = frames(rest)
    for _ in range(rng.randint(1, 2)):
        if not parts:
            break
        with suppress(ValueError, OSError, StopIteration, pa.ArrowException):  # of what an earlier change has left
            _change_frame(parts, rng.randrange(len(parts)), rng)
    return kind + b"\n" + framed(parts)


def _change_frame(parts: list[bytes], at: int, rng: random.Random) -> None:
    which = rng.random()
    is_text = parts[at][:1] in b"{[0123456789-"
    if which < 0.2:
        parts.insert(rng.randrange(len(parts) + 1), parts[at])
    elif which < 0.3:
        del parts[at]
    elif which < 0.5:
        parts[at] = json.dumps(rng.choice(VALUES)).encode()
    elif which < 0.75 and is_text:
        tree = [json.loads(parts[at])]
        change_json(tree, rng)
        parts[at] = json.dumps(tree[0] if tree else None).encode()
    elif which < 0.75:
        batch = batch_from(parts[at])
        columns = {name: batch.column(name) for name in batch.schema.names}
        columns[rng.choice([*columns, "new"])] = pa.array([rng.choice(("x", 1, None))] * batch.num_rows)
        parts[at] = batch_to_bytes(pa.record_batch(columns)).to_pybytes()
    else:
        body = bytearray(parts[at] or b"x")
        body[rng.randrange(len(body))] ^= 1 << rng.randrange(8)
        parts[at] = bytes(body[: rng.choice((len(body), len(body) // 2))])


def check(content: bytes, folder: Path) -> bool:
    """Return True if work resumes from it and ends; otherwise the error must name the file."""
    kind, _, rest = content.partition(b"\n")
    if kind == KINDS[0]:
        path = folder / "checkpoint"
        path.write_bytes(rest)
        try:
            _estimator(path).fit(X)
        except (aefast.ModelFileError, CheckpointError) as error:
            return _refused(path, error)
        except aefast.ConvergenceError:
            return False
        return True
    if kind not in KINDS:
        return False
    for output in (folder / "out.feather", folder / "out" / "rows.feather"):
        if output.exists():
            os.utime(output, ns=(0, 0))  # so that its provenance does not stand in for the journal
    fresh = _job(kind, folder, resume=True)
    path = _journals(kind, folder)[0]
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(framed([json.dumps(_identity(fresh, kind)).encode(), *frames(rest)]))
    try:
        fresh.run()
    except ResumeError as error:
        return _refused(path, error)
    return True


def _refused(path: Path, error: Exception) -> bool:
    assert str(path) in str(error)
    return False


def _identity(job: ScoreJob, kind: bytes) -> dict[str, Any]:
    """Return the first frame of a journal of the job."""
    from aefast.jobs.provenance import stamps_of

    return {**job._identity, "input": None if kind == KINDS[3] else stamps_of(job.plan.source)}
