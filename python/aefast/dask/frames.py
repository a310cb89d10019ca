"""Data frames of Dask on their way to the functions of aefast: checked columns, the index, one key for the model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from aefast.distributed.counts import count_batch
from aefast.distributed.isa import Level
from aefast.distributed.models import SentModel, content_of, scorer_of
from aefast.distributed.tasks import ScoreTask, key_text, naming_row
from aefast.scoring.scorer import Scorer

_PIN = (
    "start the workers with the environment variable AEFAST_ISA (in Dask's configuration: "
    "distributed.nanny.pre-spawn-environ), or leave out isa_level="
)


@dataclass(frozen=True)
class FrameTask:
    """A `ScoreTask` on data frames. Kept columns stay as they are, index and types included.

    ``labels`` are the labels of the columns that are read, whose text are the names in the model.
    """

    task: ScoreTask
    labels: tuple[Any, ...]
    keep: tuple[Any, ...]

    def with_cutoff(self, cutoff: float) -> FrameTask:
        """Return the task with another cutoff of p-values."""
        return FrameTask(self.task.with_options(p_value_cutoff=cutoff), self.labels, self.keep)

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


class Job:
    """A data frame, a model and options, checked before any row is read."""

    def __init__(self, data: Any, model: Any, keep: Any, options: dict[str, Any], isa_level: str | None) -> None:
        require(data)
        import dask

        found, content, digest = content_of(model)
        scorer = scorer_of(found, keep=keep, **options)
        schema = as_batch(data._meta_nonempty).schema
        features = scorer.columns(schema)[: scorer.n_features]
        read = list(dict.fromkeys([*features, *getattr(scorer, "by", ())]))
        results = pa.schema(list(scorer.schema(schema))[len(scorer.keep) :])
        labels = {str(label): label for label in data.columns}
        task = ScoreTask(SentModel(None, digest, Level(isa_level, _PIN)), (), {**options, "columns": features})
        self.task: FrameTask = FrameTask(
            task, tuple(labels[name] for name in read), tuple(labels[name] for name in keep)
        )
        self.meta: Any = self.task.result(data._meta, pa.RecordBatch.from_pylist([], results))
        self._data, self._content = data, dask.delayed(content, name=f"aefast-model-{digest}", traverse=False)

    def run(self, function: Callable[[Any, bytes], Any], meta: Any) -> Any:
        """Return the lazy data frame of what ``function`` makes of the partitions."""
        return self._data.map_partitions(function, self._content, meta=meta)


def as_frame(frame: Any, function: Callable[[Any], pa.Table]) -> Any:
    """Return as a data frame what a function makes of a partition."""
    return function(frame).to_pandas()


def numbered(frame: Any, part: int) -> Any:
    """Return a partition with the positions of its rows in the whole."""
    from aefast.distributed.groups import POSITION

    return frame.assign(**{POSITION: np.arange(len(frame), dtype=np.int64) + (part << 40)})


def as_batch(frame: Any) -> pa.RecordBatch:
    """Return a data frame, without its index, as a record batch."""
    return pa.RecordBatch.from_pandas(frame, preserve_index=False, nthreads=1)


def require(data: Any) -> None:
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
