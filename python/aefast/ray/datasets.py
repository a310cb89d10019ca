"""Datasets of Ray on their way to the functions of aefast: checked columns, tables, one stored model."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from aefast.distributed.isa import Level
from aefast.distributed.models import SentModel, content_of, scorer_of
from aefast.distributed.tasks import ScoreTask
from aefast.tables.arrow import arrow_array

_PIN = "Ray starts such workers itself unless the environment of the job forbids it; leave out isa_level="


@dataclass(frozen=True)
class Stored:
    """The bytes of a model in Ray's store."""

    reference: Any

    @property
    def value(self) -> bytes:
        import ray

        content: bytes = ray.get(self.reference)
        return content


@dataclass(frozen=True)
class OnTables:
    """What a method of `ScoreTask` makes of a table."""

    function: Callable[[Iterable[pa.RecordBatch]], Iterator[pa.RecordBatch]]

    def __call__(self, table: pa.Table) -> pa.Table:
        batches = table.to_batches() or [pa.RecordBatch.from_pylist([], table.schema)]
        return pa.Table.from_batches(list(self.function(batches)))


class Job:
    """A dataset, a model and options, checked before any row is read as far as the schema is known."""

    def __init__(self, data: Any, model: Any, keep: Any, options: dict[str, Any], isa_level: str | None) -> None:
        require(data)
        import ray

        found, content, digest = content_of(model)
        scorer = scorer_of(found, keep=keep, **options)
        known = data.schema(fetch_if_missing=False)
        if known is not None and isinstance(known.base_schema, pa.Schema):
            needed = scorer.columns(known.base_schema)
            scorer.schema(known.base_schema)  # names kept columns that are not there
            data = data.select_columns(needed)
        self._data = data
        self._settings = {} if isa_level is None else {"runtime_env": {"env_vars": {"AEFAST_ISA": isa_level}}}
        sent = SentModel(Stored(ray.put(content)), digest, Level(isa_level, _PIN))
        self.task: ScoreTask = ScoreTask(sent, tuple(scorer.keep), options)

    def run(self, function: Callable[[Iterable[pa.RecordBatch]], Iterator[pa.RecordBatch]]) -> Any:
        """Return the lazy dataset of what ``function`` makes of the batches."""
        return self._data.map_batches(
            OnTables(function), batch_format="pyarrow", batch_size=None, zero_copy_batch=True, **self._settings
        )


def in_order(data: Any, batch_size: int | None = None) -> Iterator[pa.Table]:
    """Yield the tables of a dataset in its order, so that fitting repeats."""
    with _keeping_order(data):
        yield from data.iter_batches(batch_format="pyarrow", batch_size=batch_size)


def numbered(data: Any, column: str) -> Any:
    """Return a dataset with a further column, the place of each row in its order."""
    import ray

    def number(table: pa.Table, part: int) -> pa.Table:
        places = np.arange(table.num_rows, dtype=np.int64) + (part << 40)
        return table.append_column(column, arrow_array(places))

    with _keeping_order(data):
        parts = data.to_arrow_refs()
    task = ray.remote(number)
    return ray.data.from_arrow_refs([task.remote(part, index) for index, part in enumerate(parts)])


@contextmanager
def _keeping_order(data: Any) -> Iterator[None]:
    options = data.context.execution_options
    before, options.preserve_order = options.preserve_order, True
    try:
        yield
    finally:
        options.preserve_order = before


def require(data: Any) -> None:
    """Raise unless ``data`` is a dataset of Ray."""
    try:
        import ray.data
    except ImportError as error:
        raise ImportError('aefast.ray needs ray; pip install "aefast[ray]"') from error
    if not isinstance(data, ray.data.Dataset):
        raise TypeError(f"data must be a dataset of ray.data, got {type(data).__name__}")
