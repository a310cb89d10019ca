"""DataFrames of Spark on their way to the functions of aefast: checked columns, names, types, one broadcast."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from aefast.distributed import sampling
from aefast.distributed.isa import Level
from aefast.distributed.models import Held, SentModel, content_of, scorer_of
from aefast.distributed.tasks import ScoreTask
from aefast.tables.formats.base import TableError

_PIN = "set spark.executorEnv.AEFAST_ISA for the session, or leave out isa_level="


@dataclass(frozen=True)
class Named:
    """A function on batches, which gives their columns the names back."""

    function: Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]
    names: tuple[str, ...]

    def run(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Return what the function makes of the batches."""
        return self.function(pa.RecordBatch.from_arrays(batch.columns, names=self.names) for batch in batches)


@dataclass(frozen=True)
class OnTables:
    """A function on tables, which gives their columns the names back."""

    function: Callable[[pa.Table], pa.Table]
    names: tuple[str, ...]

    def batches(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Return what the function makes of each batch."""
        for batch in batches:
            yield from self.table(pa.Table.from_batches([batch])).to_batches()

    def table(self, table: pa.Table) -> pa.Table:
        """Return what the function makes of a table."""
        return self.function(table.rename_columns(list(self.names)))

    def of_group(self) -> Callable[[pa.Table], pa.Table]:
        """Return `table` as a function of one argument; Spark counts ``self`` as another one."""
        return lambda table: self.table(table)


class Job:
    """A DataFrame, a model and options, checked before any row is read."""

    def __init__(self, data: Any, model: Any, keep: Any, options: dict[str, Any], isa_level: str | None) -> None:
        require(data)
        found, content, digest = content_of(model)
        scorer = scorer_of(found, keep=keep, **options)
        fields = {field.name: field for field in data.schema}
        schema = arrow_schema(data.schema)
        needed = scorer.columns(schema)
        results = list(scorer.schema(schema))[len(scorer.keep) :]
        # Spark's mapInArrow takes no names with dots, so columns are sent under numbers.
        self._data = data.select(*(data[quoted(name)].alias(f"c{place}") for place, name in enumerate(needed)))
        self._names, self._is_classic = tuple(needed), is_classic(data)
        self._level = isa_level
        held = data.sparkSession.sparkContext.broadcast(content) if self._is_classic else Held(content)
        self.task: ScoreTask = ScoreTask(
            SentModel(held, digest, Level(isa_level, _PIN)), tuple(keep), options, partition
        )
        self.result_type: Any = result_type([fields[name] for name in keep], results, isa_level)

    def run(self, function: Callable[..., Iterator[pa.RecordBatch]], kind: Any) -> Any:
        """Return the lazy DataFrame of what ``function`` makes of the batches."""
        with self._pinned():
            try:
                return self._data.mapInArrow(Named(function, self._names).run, kind)
            except NotImplementedError as error:
                raise TableError(f"a kept column has a type that Spark cannot send to Python: {error}") from error

    @contextmanager
    def _pinned(self) -> Iterator[None]:
        """Let functions that are sent meanwhile run in Python workers with the instruction-set level asked for."""
        if self._level is None or not self._is_classic:
            yield
            return
        environment = self._data.sparkSession.sparkContext.environment
        before = environment.get("AEFAST_ISA")
        environment["AEFAST_ISA"] = self._level
        try:
            yield
        finally:
            del environment["AEFAST_ISA"]
            if before is not None:
                environment["AEFAST_ISA"] = before


def require(data: Any) -> None:
    """Raise unless ``data`` is a DataFrame of Spark."""
    try:
        from pyspark.sql import DataFrame
    except ImportError as error:
        raise ImportError('aefast.spark needs pyspark; pip install "aefast[spark]"') from error
    if not isinstance(data, DataFrame):
        raise TypeError(f"data must be a DataFrame of Spark, got {type(data).__name__}")


def is_classic(data: Any) -> bool:
    """Return whether the session is no session of Spark Connect, which has no broadcasts."""
    return not type(data).__module__.startswith("pyspark.sql.connect")


def arrow_schema(schema: Any) -> pa.Schema:
    """Return the types in which the executors see the columns; binary stands for all that no model can read."""
    from pyspark.sql import types

    known = {
        types.BooleanType: pa.bool_(),
        types.ByteType: pa.int8(),
        types.ShortType: pa.int16(),
        types.IntegerType: pa.int32(),
        types.LongType: pa.int64(),
        types.FloatType: pa.float32(),
        types.DoubleType: pa.float64(),
        types.DecimalType: pa.decimal128(38, 18),
        types.StringType: pa.string(),
        types.DateType: pa.date32(),
        types.TimestampType: pa.timestamp("us", "UTC"),
        types.TimestampNTZType: pa.timestamp("us"),
        types.DayTimeIntervalType: pa.duration("us"),
        types.NullType: pa.null(),
    }
    return pa.schema([(field.name, known.get(type(field.dataType), pa.binary())) for field in schema])


def result_type(kept: list[Any], results: list[pa.Field], isa_level: str | None) -> Any:
    """Return the kept fields and those of the results; the metadata of the score has the instruction-set level."""
    from pyspark.sql.pandas.types import from_arrow_type
    from pyspark.sql.types import StructType

    level = isa_level or "not pinned: the last bits may differ between executors with unlike processors"
    found = StructType(list(kept))
    for field in results:
        metadata = {"aefast_isa_level": level} if field.name == "anomaly_score" else None
        found = found.add(field.name, from_arrow_type(field.type), True, metadata)
    return found


def spark_type(schema: pa.Schema) -> Any:
    """Return Spark's type for the columns of a schema."""
    from pyspark.sql.pandas.types import from_arrow_schema

    return from_arrow_schema(schema)


def quoted(name: str) -> str:
    """Return a column's name for select, in which a dot would mean a field of a struct."""
    return "`" + name.replace("`", "``") + "`"


def partition() -> str:
    """Return what messages call the partition of the task that runs."""
    from pyspark import TaskContext

    context = TaskContext.get()
    return "a partition" if context is None else f"partition {context.partitionId()}"


def stream(data: Any) -> Iterator[pa.RecordBatch]:
    """Yield the batches of a DataFrame, holding one partition at a time."""
    for row in data.mapInArrow(sampling.packed, "batch binary").toLocalIterator():
        yield from sampling.unpacked(bytes(row.batch))
