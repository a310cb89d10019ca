"""Scores and fits DataFrames of Apache Spark, on the executors. Needs pyspark 4: ``pip install "aefast[spark]"``.

aefast must be installed on the executors too. The model is sent to them once, and every Python worker keeps it. A task
computes with one thread. The scores have the bits of those on one machine, if all processors compute with the same
instruction-set level (see ``isa_level`` in `score`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from aefast.distributed import sampling
from aefast.distributed.counts import SCHEMA, Counts
from aefast.distributed.isa import Level
from aefast.distributed.models import Held, SentModel, model_bytes
from aefast.distributed.tasks import ScoreTask, score_options
from aefast.model.false_discoveries import check_fdr
from aefast.scoring.scorer import Scorer
from aefast.tables.formats.base import TableError

__all__ = ["detect", "fit", "score"]

_PIN = "set spark.executorEnv.AEFAST_ISA for the session, or leave out isa_level="


def score(
    data: Any,
    model: Any,
    *,
    keep: Sequence[str] = (),
    top_features: int = 0,
    p_value_cutoff: float | None = None,
    precision: str = "float32",
    on_bad: str = "error",
    isa_level: str | None = None,
) -> Any:
    """Return the scores of the rows of a DataFrame, as a lazy DataFrame.

    Parameters
    ----------
    data : pyspark.sql.DataFrame
        Rows, which may be a stream (``spark.readStream``). It needs the model's columns, by name; others are not read.
        For a model that was fitted without names, the columns of numbers that are not in ``keep``.
    model : estimator, Model, bytes, str or path
        A fitted estimator, its ``model_``, the bytes of a model file, or its path on the driver.
    keep : sequence of str
        Columns to copy into the output, of any type. Messages name a row by its kept values, so keep a key.
    top_features : int, at least 0, default 0
        Number of reasons for each row; with 0 the output has no column ``top_features``.
    p_value_cutoff : float in [0, 1], optional
        Rows with a p-value up to this are anomalies. Default: rows whose error exceeds the model's threshold are.
    precision : {"float32", "bfloat16", "int8"}, default "float32"
        As in ``reconstruction_error``.
    on_bad : {"error", "null"}, default "error"
        What to do with rows that have an infinite value, or a missing one where the model needs a value: fail with a
        message that names the row's kept values, or write null scores. Null scores are counted with
        ``scored.filter("anomaly_score is null").count()``.
    isa_level : str, optional
        An instruction-set level (`aefast.config`), such as "v3", with which all executors compute. By default each
        computes with the best that its processor supports, and the last bits of scores may differ between unlike
        processors; the metadata of ``anomaly_score`` then says so. A level needs a classic session; with Spark Connect,
        set ``spark.executorEnv.AEFAST_ISA``.

    Returns
    -------
    pyspark.sql.DataFrame
        The kept columns, ``anomaly_score`` (double, higher is more abnormal), ``p_value`` (double), ``is_anomaly``
        (boolean) and, if asked for, ``top_features`` (array of structs).

    Raises
    ------
    ImportError
        If pyspark is not installed.
    TypeError, ValueError, TableError
        If data, model or options do not fit; see `aefast.Scorer`. Errors about values come from the action that
        computes the scores.

    Examples
    --------
    ::

        import numpy as np, pandas as pd, aefast
        from pyspark.sql import SparkSession

        spark = SparkSession.builder.getOrCreate()
        rng = np.random.default_rng(0)
        rows = pd.DataFrame({"id": range(900), "a": rng.normal(size=900), "b": rng.normal(size=900)})
        model = aefast.Autoencoder(max_epochs=2, random_state=0).fit(rows[["a", "b"]])
        data = spark.createDataFrame(rows)
        scored = aefast.spark.score(data, model, keep=["id"])
    """
    options = score_options(
        top_features=top_features, p_value_cutoff=p_value_cutoff, precision=precision, on_bad=on_bad
    )
    job = _Job(data, model, keep, options, isa_level)
    return job.run(job.task.score, job.result_type)


def detect(
    data: Any,
    model: Any,
    *,
    fdr: float,
    keep: Sequence[str] = (),
    top_features: int = 0,
    precision: str = "float32",
    on_bad: str = "error",
    isa_level: str | None = None,
) -> Any:
    """Return the anomalies of a DataFrame, with the false-discovery rate controlled over all of its rows.

    The rows are those that ``model.detect`` reports for the same table. The first pass runs now and brings only counts
    of p-values to the driver. The second pass is lazy; it scores again and keeps the anomalies. Both passes must see
    the same rows, so persist data that are not read from fixed files.

    Parameters
    ----------
    data : pyspark.sql.DataFrame
        As in `score`, but not a stream.
    fdr : float in (0, 1)
        The expected share of false alarms among the reported rows.
    model, keep, top_features, precision, on_bad, isa_level
        As in `score`. Bad rows with ``on_bad="null"`` are neither tested nor returned.

    Returns
    -------
    pyspark.sql.DataFrame
        The anomalies, with the columns of `score`.

    Raises
    ------
    ImportError, TypeError, ValueError, TableError
        As in `score`; also if ``fdr`` is out of range or ``data`` is a stream.
    pyspark.errors.PythonException
        If a row cannot be scored and ``on_bad`` is "error".

    Warns
    -----
    UserWarning
        If no row is reported and too few rows were held out to report one, if rows could not be scored, or if executors
        computed with unlike instruction-set levels.

    Examples
    --------
    ::

        found = aefast.spark.detect(data, model, fdr=0.2, keep=["id"])
    """
    check_fdr(fdr)
    options = score_options(top_features=top_features, precision=precision, on_bad=on_bad)
    job = _Job(data, model, keep, options, isa_level)
    if data.isStreaming:
        raise ValueError("detect needs all rows, but data is a stream; score it with p_value_cutoff= instead")
    parts = job.run(job.task.count, SCHEMA).groupBy("place", "isa_level").sum("rows")
    counted = parts.withColumnRenamed("sum(rows)", "rows").toArrow()
    cutoff = Counts.of(job.model, counted.to_batches()).cutoff(job.model, fdr)
    return job.run(job.task.with_options(p_value_cutoff=cutoff).anomalies, job.result_type)


def fit(data: Any, estimator: Any, *, rows: int | None = None, seed: int = 0) -> Any:
    """Fit an estimator on rows of a DataFrame, on the driver.

    Parameters
    ----------
    data : pyspark.sql.DataFrame
        Rows with the columns to learn; select them, or drop keys, beforehand.
    estimator : estimator of aefast
        Fitted in place, as by its ``fit``.
    rows : int, optional
        Fit on a random sample of so many rows, which Spark draws and the driver holds in memory. By default all rows
        are streamed, partition by partition, to a temporary file of the driver and fitted with ``fit_batches``, whose
        memory does not grow with the rows.
    seed : int, default 0
        Seed of the sample. The same rows in the same partitions give the same sample.

    Returns
    -------
    estimator

    Raises
    ------
    ImportError
        If pyspark is not installed.
    TypeError, ValueError, ConvergenceError
        If ``data`` is not a DataFrame or a stream, ``rows`` is not a positive number, or ``fit`` raises.

    Examples
    --------
    ::

        model = aefast.spark.fit(data.drop("id"), aefast.Autoencoder(max_epochs=2), rows=500)
    """
    _require(data)
    if data.isStreaming:
        raise TypeError("data is a stream, which has no end; fit on a table of past rows")
    if rows is None:
        return sampling.fit_stream(estimator, sampling.joined(_stream(data)))
    fraction = sampling.fraction_of(rows, lambda: data.count())
    own = int(sampling.generator(seed).integers(1 << 62))
    sample = data if fraction >= 1 else data.sample(withReplacement=False, fraction=fraction, seed=own)
    return sampling.fit_sample(estimator, sample.toArrow(), rows, seed)


@dataclass(frozen=True)
class _Named:
    """A function on batches, which gives their columns the names back."""

    function: Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]
    names: tuple[str, ...]

    def run(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Return what the function makes of the batches."""
        return self.function(pa.RecordBatch.from_arrays(batch.columns, names=self.names) for batch in batches)


class _Job:
    """A DataFrame, a model and options, checked before any row is read."""

    def __init__(self, data: Any, model: Any, keep: Any, options: dict[str, Any], isa_level: str | None) -> None:
        _require(data)
        self.model, content, digest = model_bytes(model)
        scorer = Scorer(self.model, keep=keep, **options)
        fields = {field.name: field for field in data.schema}
        schema = _arrow_schema(data.schema)
        needed = scorer.columns(schema)
        results = list(scorer.schema(schema))[len(scorer.keep) :]
        # Spark's mapInArrow takes no names with dots, so columns are sent under numbers.
        self._data = data.select(*(data[_quoted(name)].alias(f"c{place}") for place, name in enumerate(needed)))
        self._names, self._is_classic = tuple(needed), _is_classic(data)
        self._level = isa_level
        held = data.sparkSession.sparkContext.broadcast(content) if self._is_classic else Held(content)
        self.task = ScoreTask(SentModel(held, digest, Level(isa_level, _PIN)), tuple(keep), options, _partition)
        self.result_type = _result_type([fields[name] for name in keep], results, isa_level)

    def run(self, function: Callable[..., Iterator[pa.RecordBatch]], kind: Any) -> Any:
        """Return the lazy DataFrame of what ``function`` makes of the batches."""
        if isinstance(kind, pa.Schema):
            from pyspark.sql.pandas.types import from_arrow_schema

            kind = from_arrow_schema(kind)
        with self._pinned():
            try:
                return self._data.mapInArrow(_Named(function, self._names).run, kind)
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


def _require(data: Any) -> None:
    """Raise unless ``data`` is a DataFrame of Spark."""
    try:
        from pyspark.sql import DataFrame
    except ImportError as error:
        raise ImportError('aefast.spark needs pyspark; pip install "aefast[spark]"') from error
    if not isinstance(data, DataFrame):
        raise TypeError(f"data must be a DataFrame of Spark, got {type(data).__name__}")


def _is_classic(data: Any) -> bool:
    """Return whether the session is no session of Spark Connect, which has no broadcasts."""
    return not type(data).__module__.startswith("pyspark.sql.connect")


def _arrow_schema(schema: Any) -> pa.Schema:
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


def _result_type(kept: list[Any], results: list[pa.Field], isa_level: str | None) -> Any:
    from pyspark.sql.pandas.types import from_arrow_type
    from pyspark.sql.types import StructType

    level = isa_level or "not pinned: the last bits may differ between executors with unlike processors"
    found = StructType(list(kept))
    for field in results:
        metadata = {"aefast_isa_level": level} if field.name == "anomaly_score" else None
        found = found.add(field.name, from_arrow_type(field.type), True, metadata)
    return found


def _quoted(name: str) -> str:
    """Return a column's name for select, in which a dot would mean a field of a struct."""
    return "`" + name.replace("`", "``") + "`"


def _partition() -> str:
    from pyspark import TaskContext

    context = TaskContext.get()
    return "a partition" if context is None else f"partition {context.partitionId()}"


def _stream(data: Any) -> Iterator[pa.RecordBatch]:
    """Yield the batches of a DataFrame, holding one partition at a time."""
    for row in data.mapInArrow(sampling.packed, "batch binary").toLocalIterator():
        yield from sampling.unpacked(bytes(row.batch))
