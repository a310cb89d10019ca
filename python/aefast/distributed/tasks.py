"""What a task does with its batches on a worker: score them, count their p-values, keep the anomalies."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import pyarrow as pa

from aefast.distributed.counts import count_batch
from aefast.distributed.models import SentModel, scorer_of
from aefast.exceptions import AefastError
from aefast.scoring.errors import BadValueError, MisfitError
from aefast.scoring.scorer import Scorer
from aefast.tables.formats.base import TableError


class BadRowError(AefastError, ValueError):
    """A row that cannot be scored; the message names its key. Unlike `BadValueError`, it can be pickled."""


def no_place() -> str:
    """Return the place of a task whose engine does not number them."""
    return "a partition"


@dataclass(frozen=True)
class ScoreTask:
    """Scores the batches of a partition. It is small enough to be sent with each task.

    Attributes
    ----------
    model : SentModel
    keep : tuple of str
        Columns that are copied to the output, and the key of a row in messages.
    options : mapping
        Further options of `Scorer`.
    place : callable
        Returns which partition this is, for messages about rows without a key. Called on the worker.
    """

    model: SentModel
    keep: tuple[str, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    place: Callable[[], str] = no_place

    def with_content(self, content: bytes) -> ScoreTask:
        """Return the task with the bytes of its model."""
        return replace(self, model=self.model.with_content(content))

    def with_options(self, **options: Any) -> ScoreTask:
        """Return the task with other options of `Scorer`."""
        return replace(self, options={**self.options, **options})

    def scorer(self) -> Scorer:
        """Return a scorer for one partition."""
        return scorer_of(self.model.load(), keep=self.keep, **self.options)

    def score(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Yield one scored batch for each batch."""
        scorer = self.scorer()
        for batch in batches:
            with naming_row(partial(self.key, batch)):
                scored = scorer.score_batch(batch)
            yield scored

    def anomalies(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Yield the scored anomalies of each batch."""
        for scored in self.score(batches):
            yield scored.filter(scored.column("is_anomaly"))

    def count(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Yield for each batch how many of its rows have each p-value; see `count_batch`."""
        scorer = self.scorer()
        for batch in batches:
            with naming_row(partial(self.key, batch)):
                counted = count_batch(scorer, batch)
            yield counted

    def key(self, batch: pa.RecordBatch, row: int) -> str:
        """Return what messages call a row: by its kept values, or else by its place in the partition."""
        if not self.keep:
            return f"row {row} of a batch of {self.place()} (name it with keep=, a list of key columns)"
        return "the row with " + key_text({name: batch.column(name)[row].as_py() for name in self.keep})


def score_options(**options: Any) -> dict[str, Any]:
    """Return options of `Scorer` for a partition, whose rows cannot be skipped unseen."""
    if options["on_bad"] not in ("error", "null"):
        raise ValueError(f"on_bad must be one of 'error', 'null', got {options['on_bad']!r}")
    return options


def key_text(values: Mapping[Any, Any]) -> str:
    """Return the values of a row that name it: the first six, each cut to 60 characters."""
    texts = {name: repr(value) if isinstance(value, str | bytes) else str(value) for name, value in values.items()}
    shown = [f"{name}={text if len(text) <= 60 else text[:57] + '...'}" for name, text in texts.items()]
    return ", ".join(shown[:6]) + (", ..." if len(shown) > 6 else "")


@contextmanager
def naming_row(key: Callable[[int], str]) -> Iterator[None]:
    """Raise errors about a batch as errors that name the row's key and can be pickled.

    ``key`` returns what a message calls the row with a number in the batch.
    """
    try:
        yield
    except BadValueError as error:
        raise BadRowError(error.of_row(key(error.row))) from None
    except MisfitError as error:
        raise TableError(error.reason) from None
