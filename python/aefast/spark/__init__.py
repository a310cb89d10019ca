"""Scores and fits DataFrames of Apache Spark, on the executors. Needs pyspark 4: ``pip install "aefast[spark]"``.

aefast must be installed on the executors too. The model is sent to them once, and every Python worker keeps it. A task
computes with one thread. The scores have the bits of those on one machine, if all processors compute with the same
instruction-set level (see ``isa_level`` in `score`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from aefast.distributed import sampling
from aefast.distributed.counts import SCHEMA, Counts
from aefast.distributed.models import require_fleet
from aefast.distributed.tasks import score_options
from aefast.model.false_discoveries import check_fdr
from aefast.spark.frames import Job, OnTables, quoted, require, spark_type, stream

__all__ = ["detect", "fit", "fit_groups", "score", "score_groups"]


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
    model : estimator, Model, Fleet, bytes, str or path
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
    TypeError, ValueError
        If data, model or options do not fit; see `aefast.Scorer`. Errors about values come from the action that
        computes the scores.

    See Also
    --------
    detect : Limits the share of false alarms.
    aefast.Scorer : The same on one machine.

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
    job = Job(data, model, keep, options, isa_level)
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
    model : estimator, Model, Fleet, bytes, str or path
        As in `score`.
    fdr : float in (0, 1)
        The expected share of false alarms among the reported rows.
    keep, top_features, precision, on_bad, isa_level : optional
        As in `score`. Bad rows with ``on_bad="null"`` are neither tested nor returned.

    Returns
    -------
    pyspark.sql.DataFrame
        The anomalies, with the columns of `score`.

    Raises
    ------
    ImportError, TypeError, ValueError
        As in `score`; also if ``fdr`` is out of range or ``data`` is a stream.
    pyspark.errors.PythonException
        If a row cannot be scored and ``on_bad`` is "error".

    Warns
    -----
    UserWarning
        If no row is reported and too few rows were held out to report one, if rows could not be scored, or if executors
        computed with unlike instruction-set levels.

    See Also
    --------
    score : Returns all rows, with their scores.
    aefast.Autoencoder.detect : The same on one machine.

    Examples
    --------
    ::

        found = aefast.spark.detect(data, model, fdr=0.2, keep=["id"])
    """
    check_fdr(fdr)
    options = score_options(top_features=top_features, precision=precision, on_bad=on_bad)
    job = Job(data, model, keep, options, isa_level)
    if data.isStreaming:
        raise ValueError("detect needs all rows, but data is a stream; score it with p_value_cutoff= instead")
    parts = job.run(job.task.count, spark_type(SCHEMA)).groupBy("p_value", "isa_level").sum("rows")
    counted = parts.selectExpr("p_value", "`sum(rows)` as rows", "isa_level").toArrow()
    cutoff = Counts.of(counted.to_batches()).cutoff(fdr)
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
        Fit on a random sample of this many rows, which Spark draws and the driver holds in memory. By default all rows
        are streamed, partition by partition, to a temporary file of the driver and fitted with ``fit_batches``, whose
        memory does not grow with the rows.
    seed : int, default 0
        Seed of the sample. The same rows in the same partitions give the same sample.

    Returns
    -------
    estimator
        The fitted ``estimator``.

    Raises
    ------
    ImportError
        If pyspark is not installed.
    TypeError, ValueError, ConvergenceError
        If ``data`` is not a DataFrame or a stream, ``rows`` is not a positive number, or ``fit`` raises.

    See Also
    --------
    fit_groups : One model for each group of rows.
    aefast.Autoencoder.fit_batches : The training of streamed rows.

    Examples
    --------
    ::

        model = aefast.spark.fit(data.drop("id"), aefast.Autoencoder(max_epochs=2), rows=500)
    """
    require(data)
    if data.isStreaming:
        raise TypeError("data is a stream, which has no end; fit on a table of past rows")
    if rows is None:
        return sampling.fit_stream(estimator, sampling.joined(stream(data)))
    fraction = sampling.fraction_of(rows, lambda: data.count())
    own = int(sampling.generator(seed).integers(1 << 62))
    sample = data if fraction >= 1 else data.sample(withReplacement=False, fraction=fraction, seed=own)
    return sampling.fit_sample(estimator, sample.toArrow(), rows, seed)


def fit_groups(data: Any, estimator: Any, by: Any, *, min_rows: int = 50, unseen: str = "pooled") -> Any:
    """Fit one model for each group of rows on the executors, and return them as a Fleet.

    The models have the bits of ``aefast.Fleet(estimator, by).fit`` on the same rows in the same order. Rows are counted
    first and then moved, so that each group is on one executor, which fits it with one thread. All models come to the
    driver.

    Parameters
    ----------
    data : pyspark.sql.DataFrame
        Rows with the columns ``by`` and the columns to learn; drop keys beforehand.
    estimator : estimator of aefast
        The one to copy for each group; it stays as it is.
    by : str or list of str
        The columns whose values are a row's group: text, numbers or truth values.
    min_rows : int, at least 1, default 50
        Groups with fewer rows get no model of their own.
    unseen : {"pooled", "error"}, default "pooled"
        What happens to rows of groups without a model, as in `aefast.Fleet`. The pooled model is fitted on the driver.

    Returns
    -------
    Fleet
        The fitted fleet, as `aefast.Fleet.fit` returns it.

    Raises
    ------
    ImportError, TypeError
        If pyspark is not installed, or ``data`` is not a DataFrame.
    ValueError
        As of ``Fleet.fit``.

    Warns
    -----
    UserWarning
        If groups cannot be learned.

    See Also
    --------
    score_groups : Scores rows with the fleet.
    aefast.Fleet : The same on one machine.

    Examples
    --------
    ::

        data = data.selectExpr("*", "concat('m-', id % 3) as machine")
        fleet = aefast.spark.fit_groups(data.drop("id"), aefast.Autoencoder(random_state=0), by="machine")
    """
    require(data)
    from pyspark.sql import functions as F

    from aefast.distributed.groups import COUNTS, FITS, POSITION, GroupFit

    if data.isStreaming:
        raise TypeError("data is a stream, which has no end; fit on a table of past rows")
    job, names = GroupFit(estimator, by, min_rows, unseen), (*data.columns, POSITION)
    job.require_columns(data.columns)
    columns = [data[quoted(name)].alias(f"c{place}") for place, name in enumerate(data.columns)]
    rows = data.select(*columns, F.monotonically_increasing_id().alias(f"c{len(columns)}"))
    groups = [f"c{data.columns.index(name)}" for name in job.by]
    counting = OnTables(job.task.count, names[:-1])
    counted = data.select(*columns).mapInArrow(counting.batches, spark_type(COUNTS))
    counted = counted.groupBy("key").sum("rows").withColumnRenamed("sum(rows)", "rows").toArrow()
    fitting = OnTables(job.with_counts([counted]).fit, names)
    return job.fleet_of([rows.groupBy(*groups).applyInArrow(fitting.of_group(), spark_type(FITS)).toArrow()])


def score_groups(data: Any, fleet: Any, **parameters: Any) -> Any:
    """Return the scores of rows, each by the model of its group, as `score` does.

    `score` and `detect` accept a fleet too; the false-discovery rate is then controlled over the rows of all groups.

    Parameters
    ----------
    data : pyspark.sql.DataFrame
        Rows with the columns that name groups and the columns of the models.
    fleet : Fleet, bytes, str or path
        A fitted `aefast.Fleet`, or the content or the path of its file. It is sent once. An executor loads the models
        whose groups occur in its rows.
    **parameters
        Further parameters of `score`. Without ``p_value_cutoff``, the threshold of its group decides about a row.

    Returns
    -------
    pyspark.sql.DataFrame
        The columns of `score`.

    Raises
    ------
    ImportError, TypeError, ValueError
        As in `score`; also if rows belong to groups without a model and the fleet has ``unseen="error"``, when the
        scores are computed.

    See Also
    --------
    fit_groups : Fits the fleet.
    score : The columns of the result.

    Examples
    --------
    ::

        scored = aefast.spark.score_groups(data, fleet, keep=["id"])
    """
    return score(data, require_fleet(fleet), **parameters)
