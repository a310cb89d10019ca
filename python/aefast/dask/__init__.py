"""Scores and fits data frames of Dask, on its workers. Needs dask 2025.7: ``pip install "aefast[dask]"``.

aefast must be installed on the workers too. The model is one key of the graph, sent to each worker once, which keeps
it. A task computes with one thread. The scores have the bits of those on one machine, if all processors compute with
the same instruction-set level (see ``isa_level`` in `score`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from aefast.distributed import sampling
from aefast.distributed.counts import SCHEMA, Counts, count_batch
from aefast.distributed.isa import Level
from aefast.distributed.models import SentModel, model_bytes
from aefast.distributed.tasks import ScoreTask, key_text, naming_row, score_options
from aefast.model.false_discoveries import check_fdr
from aefast.scoring.scorer import Scorer

__all__ = ["detect", "fit", "score"]

_PIN = (
    "start the workers with the environment variable AEFAST_ISA (in Dask's configuration: "
    "distributed.nanny.pre-spawn-environ), or leave out isa_level="
)


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
    """Return the scores of the rows of a data frame, as a lazy data frame with the same index and partitions.

    Parameters
    ----------
    data : dask.dataframe.DataFrame
        Rows with the model's columns, by name; others are not read. For a model that was fitted without names, the
        columns of numbers that are not in ``keep``.
    model : estimator, Model, bytes, str or path
        A fitted estimator, its ``model_``, the bytes of a model file, or its path on the client.
    keep : sequence of str
        Columns to copy into the output, of any type. Messages name a row by its index and its kept values.
    top_features : int, at least 0, default 0
        Number of reasons for each row; with 0 the output has no column ``top_features``.
    p_value_cutoff : float in [0, 1], optional
        Rows with a p-value up to this are anomalies. Default: rows whose error exceeds the model's threshold are.
    precision : {"float32", "bfloat16", "int8"}, default "float32"
        As in ``reconstruction_error``.
    on_bad : {"error", "null"}, default "error"
        What to do with rows that have an infinite value, or a missing one where the model needs a value: fail with a
        message that names the row, or give missing scores. These are counted with
        ``scored.anomaly_score.isna().sum().compute()``.
    isa_level : str, optional
        An instruction-set level (`aefast.config`), such as "v3"; workers that compute with another raise an error. They
        get it from the environment variable ``AEFAST_ISA``. By default each worker computes with the best that its
        processor supports, and the last bits of scores may differ between unlike processors; workers whose level is
        not that of the client then warn in their log.

    Returns
    -------
    dask.dataframe.DataFrame
        The kept columns, ``anomaly_score`` (float64, higher is more abnormal), ``p_value`` (float64), ``is_anomaly``
        (bool, or "boolean" with ``on_bad="null"``) and, if asked for, ``top_features`` (Arrow lists of structs).

    Raises
    ------
    ImportError
        If dask is not installed.
    TypeError, ValueError, TableError
        If data, model or options do not fit; see `aefast.Scorer`. Errors about values come from ``compute``.

    Examples
    --------
    ::

        import numpy as np, pandas as pd, aefast
        import dask.dataframe as dd

        rng = np.random.default_rng(0)
        rows = pd.DataFrame({"id": range(900), "a": rng.normal(size=900), "b": rng.normal(size=900)})
        model = aefast.Autoencoder(max_epochs=2, random_state=0).fit(rows[["a", "b"]])
        data = dd.from_pandas(rows, npartitions=4)
        scored = aefast.dask.score(data, model, keep=["id"])
    """
    options = score_options(
        top_features=top_features, p_value_cutoff=p_value_cutoff, precision=precision, on_bad=on_bad
    )
    job = _Job(data, model, keep, options, isa_level)
    return job.run(job.task.scores, job.meta)


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
    """Return the anomalies of a data frame, with the false-discovery rate controlled over all of its rows.

    The rows are those that ``model.detect`` reports for the same table. The first pass runs now and brings only counts
    of p-values to the client. The second pass is lazy; it scores again and keeps the anomalies. Both passes must see
    the same rows.

    Parameters
    ----------
    data : dask.dataframe.DataFrame
        As in `score`.
    fdr : float in (0, 1)
        The expected share of false alarms among the reported rows.
    model, keep, top_features, precision, on_bad, isa_level
        As in `score`. Bad rows with ``on_bad="null"`` are neither tested nor returned.

    Returns
    -------
    dask.dataframe.DataFrame
        The anomalies, with the columns of `score`.

    Raises
    ------
    ImportError, TypeError, ValueError, TableError
        As in `score`; also if ``fdr`` is out of range.
    BadRowError
        A ValueError, if a row cannot be scored and ``on_bad`` is "error".

    Warns
    -----
    UserWarning
        If no row is reported and too few rows were held out to report one, if rows could not be scored, or if workers
        computed with unlike instruction-set levels.

    Examples
    --------
    ::

        found = aefast.dask.detect(data, model, fdr=0.2, keep=["id"])
    """
    check_fdr(fdr)
    job = _Job(
        data, model, keep, score_options(top_features=top_features, precision=precision, on_bad=on_bad), isa_level
    )
    counted = job.run(job.task.counts, SCHEMA.empty_table().to_pandas()).compute()
    parts = pa.Table.from_pandas(counted, SCHEMA, preserve_index=False).to_batches()
    cutoff = Counts.of(job.model, parts).cutoff(job.model, fdr)
    return job.run(job.task.with_cutoff(cutoff).anomalies, job.meta)


def fit(data: Any, estimator: Any, *, rows: int | None = None, seed: int = 0) -> Any:
    """Fit an estimator on rows of a data frame, on the client.

    Parameters
    ----------
    data : dask.dataframe.DataFrame
        Rows with the columns to learn; select them, or drop keys, beforehand.
    estimator : estimator of aefast
        Fitted in place, as by its ``fit``.
    rows : int, optional
        Fit on a random sample of so many rows, which the workers draw and the client holds in memory. By default all
        rows are streamed, partition by partition, to a temporary file of the client and fitted with ``fit_batches``,
        whose memory does not grow with the rows.
    seed : int, default 0
        Seed of the sample. The same rows in the same partitions give the same sample.

    Returns
    -------
    estimator

    Raises
    ------
    ImportError
        If dask is not installed.
    TypeError, ValueError, ConvergenceError
        If ``data`` is not a data frame of Dask, ``rows`` is not a positive number, or ``fit`` raises.

    Examples
    --------
    ::

        model = aefast.dask.fit(data.drop(columns="id"), aefast.Autoencoder(max_epochs=2), rows=500)
    """
    _require(data)
    import dask
    import pandas as pd

    parts = data.to_delayed()
    if rows is None:
        return sampling.fit_stream(estimator, (part.compute() for part in parts))
    fraction = sampling.fraction_of(rows, lambda: len(data))
    draw = dask.delayed(sampling.drawn, pure=True)
    sample = pd.concat(dask.compute(*(draw(part, fraction, seed, index) for index, part in enumerate(parts))))
    return sampling.fit_sample(estimator, sample, rows, seed)


@dataclass(frozen=True)
class _FrameTask:
    """A `ScoreTask` on data frames. Kept columns stay as they are, index and types included.

    ``labels`` are the labels of the features in the data frame, whose text are the names in the model.
    """

    task: ScoreTask
    labels: tuple[Any, ...]
    keep: tuple[Any, ...]

    def with_cutoff(self, cutoff: float) -> _FrameTask:
        """Return the task with another cutoff of p-values."""
        return _FrameTask(self.task.with_options(p_value_cutoff=cutoff), self.labels, self.keep)

    def scores(self, frame: Any, content: bytes) -> Any:
        """Return the scores of a partition."""
        return self.result(frame, self._run(frame, content, Scorer.score_batch))

    def anomalies(self, frame: Any, content: bytes) -> Any:
        """Return the scored anomalies of a partition."""
        scored = self.scores(frame, content)
        return scored[scored["is_anomaly"].fillna(False).astype(bool)]

    def counts(self, frame: Any, content: bytes) -> Any:
        """Return how many rows of a partition have each p-value."""
        return self._run(frame, content, count_batch).to_pandas()

    def _run(self, frame: Any, content: bytes, function: Callable[[Scorer, pa.RecordBatch], pa.RecordBatch]) -> Any:
        scorer = self.task.with_content(content).scorer()
        with naming_row(lambda row: self._key(frame, row)):
            return function(scorer, as_batch(frame[list(self.labels)]))

    def _key(self, frame: Any, row: int) -> str:
        values = frame.iloc[row]
        return "the row with " + key_text({"index": frame.index[row], **{name: values[name] for name in self.keep}})

    def result(self, frame: Any, scored: pa.RecordBatch) -> Any:
        """Return the kept columns of a partition beside its scores."""
        import pandas as pd

        found = frame[list(self.keep)].copy()
        for name, column in zip(scored.schema.names, scored.columns, strict=True):
            if name == "is_anomaly" and self.task.options["on_bad"] == "null":
                found[name] = pd.array(column.to_pylist(), "boolean")
            elif name == "top_features":
                found[name] = pd.array(column, pd.ArrowDtype(column.type))
            else:
                found[name] = column.to_numpy(zero_copy_only=False)
        return found


class _Job:
    """A data frame, a model and options, checked before any row is read."""

    def __init__(self, data: Any, model: Any, keep: Any, options: dict[str, Any], isa_level: str | None) -> None:
        _require(data)
        import dask

        self.model, content, digest = model_bytes(model)
        scorer = Scorer(self.model, keep=keep, **options)
        schema = as_batch(data._meta_nonempty).schema
        features = scorer.columns(schema)[: scorer.n_features]
        results = pa.schema(list(scorer.schema(schema))[len(scorer.keep) :])
        labels = {str(label): label for label in data.columns}
        task = ScoreTask(SentModel(None, digest, Level(isa_level, _PIN)), (), {**options, "columns": features})
        self.task = _FrameTask(task, tuple(labels[name] for name in features), tuple(labels[name] for name in keep))
        self.meta = self.task.result(data._meta, pa.RecordBatch.from_pylist([], results))
        self._data, self._content = data, dask.delayed(content, name=f"aefast-model-{digest}", traverse=False)

    def run(self, function: Callable[[Any, bytes], Any], meta: Any) -> Any:
        """Return the lazy data frame of what ``function`` makes of the partitions."""
        return self._data.map_partitions(function, self._content, meta=meta)


def as_batch(frame: Any) -> pa.RecordBatch:
    """Return a data frame, without its index, as a record batch."""
    return pa.RecordBatch.from_pandas(frame, preserve_index=False, nthreads=1)


def _require(data: Any) -> None:
    """Raise unless ``data`` is a data frame of Dask."""
    try:
        import dask.dataframe as dd
    except ImportError as error:
        raise ImportError('aefast.dask needs dask; pip install "aefast[dask]"') from error
    if not isinstance(data, dd.DataFrame):
        raise TypeError(
            f"data must be a data frame of dask.dataframe, got {type(data).__name__}; dask.dataframe.from_dask_array "
            "makes one of an array"
        )
