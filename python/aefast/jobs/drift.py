"""Counts the rows of a job to say whether they have drifted from the training rows."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pyarrow as pa

from aefast.columns.contents import contents
from aefast.model.drift import Drift
from aefast.scoring.fleet_scorer import FleetScorer
from aefast.scoring.scorer import Scorer
from aefast.scoring.sketch import ScoreSketch
from aefast.tables.arrow import arrow_values
from aefast.tables.numbers import feature_columns
from aefast.tables.text import pluralise

#: Rows of a job that are all counted. Of a longer job a share is, evenly from its first row to its last.
_ALL, _SHARE = 1 << 18, 16


class DriftCounter:
    """Counts scored batches.

    Parameters
    ----------
    scorer : Scorer
        The one that scores the batches.
    """

    def __init__(self, scorer: Scorer) -> None:
        self._scorer = scorer
        self._whole, self._part = ScoreSketch(scorer.model), ScoreSketch(scorer.model)
        self._n_rows = self._n_batches = 0
        self._may_go_back = False

    def add(self, batch: pa.RecordBatch, judged: pa.RecordBatch) -> None:
        """Count a batch and what `Scorer.judge` has returned for it."""
        if self._may_go_back:  # these sketches stay as they are, and others are counted on
            self._whole, self._part, self._may_go_back = self._whole.merge(), self._part.merge(), False
        self._n_rows += batch.num_rows
        if self._n_rows <= _ALL:
            self._count(self._whole, batch, judged)
        n_rows = -(-batch.num_rows // _SHARE)
        begin = n_rows * (self._n_batches % _SHARE)  # another place in each batch
        self._n_batches += 1
        self._count(self._part, batch.slice(begin, n_rows), judged.slice(begin, n_rows))

    def _count(self, sketch: ScoreSketch, batch: pa.RecordBatch, judged: pa.RecordBatch) -> None:
        if batch.num_rows:
            scores = arrow_values(judged.column(0))
            if isinstance(self._scorer, FleetScorer):
                # The groups have scores of scales of their own, so that the columns alone are compared.
                scores = np.full(len(scores), np.nan)
            sketch.add(self._contents(batch), scores)

    @contextmanager
    def unless_failed(self) -> Iterator[None]:
        """Forget the batches that are counted inside if an error is raised."""
        before = self._whole, self._part, self._n_rows, self._n_batches
        self._may_go_back = True
        try:
            yield
        except BaseException:
            self._whole, self._part, self._n_rows, self._n_batches = before
            raise

    @property
    def sketch(self) -> ScoreSketch:
        """The counts of all rows, or of an even share of many."""
        return self._whole if self._n_rows <= _ALL else self._part

    def _contents(self, batch: pa.RecordBatch) -> Any:
        scorer, columns = self._scorer, self._scorer.model.columns
        if columns is not None:
            return contents(scorer.matrix(batch), columns)
        names = scorer.feature_names
        values = feature_columns(batch, names) if set(names) <= set(batch.schema.names) else None
        return scorer.matrix(batch) if values is None else values

    def drift(self) -> Drift:
        """Return how the rows differ from the training rows."""
        return self.sketch.drift()


def shares_in_training(drift: Drift) -> str:
    """Name the columns in which at least 1 % of the training rows have unknown, clipped or missing values."""
    found = []
    for column in sorted(drift.columns, key=lambda c: -max(c.unknown, c.clipped, c.missing)):
        shares = [(column.unknown, "not among its levels"), (column.clipped, "clipped"), (column.missing, "missing")]
        parts = [f"{100 * share:.3g} % {what}" for share, what in shares if share >= 0.01]
        found += [f"{column.name} ({', '.join(parts)})"] if parts else []
    more = f" and {pluralise(len(found) - 4, 'columns')} more" if len(found) > 4 else ""
    return ", ".join(found[:4]) + more


def drift_line(drift: dict[str, Any]) -> list[tuple[str, str]]:
    """Return the line of a summary about drift; none if no rows were compared."""
    return [("drift", drift["text"].removeprefix("drift in "))] if drift["rows"] else []
