"""Scoring with a fleet as a stream: each row by the model of its group, whose threshold and p-values decide."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from aefast.model import fleet_file
from aefast.model.fleet import ModelFleet, Part, judged, scored, split_rows
from aefast.model.model import Model
from aefast.scoring.bad_rows import bad_rows, marked_rows, spread
from aefast.scoring.errors import BadValueError
from aefast.scoring.scorer import Scorer
from aefast.tables.arrow import arrow_array, arrow_values
from aefast.tables.formats.base import TableError
from aefast.tables.groups import Groups, Key, taken


class FleetScorer(Scorer):
    """Scores record batches by a fleet, row by row and in order; see `Scorer`.

    Parameters
    ----------
    fleet : Fleet, ModelFleet, bytes, str or path
        A fitted fleet with ``by``, or a fleet file.
    columns, keep, top_features, precision, p_value_cutoff, flat, on_bad
        As in `Scorer`. Without ``p_value_cutoff``, rows whose error exceeds the threshold of their group are anomalies.

    Raises
    ------
    ValueError, TableError, TypeError
        As of `Scorer`; also if the fleet has no ``by``.
    """

    def __init__(self, fleet: Any, **options: Any) -> None:
        self.fleet: ModelFleet = fleet_of(fleet)
        if self.fleet.by is None:
            raise ValueError(
                "a fleet with by=None has groups beside the rows, but tables need columns that name groups"
            )
        self.by: tuple[str, ...] = self.fleet.by
        #: Rows that the pooled model has scored so far, by group.
        self.pooled_rows: Counter[Key] = Counter()
        super().__init__(self.fleet.template, **options)

    def columns(self, schema: pa.Schema) -> list[str]:
        """Return the columns that `score` reads: features, kept columns, and those that name groups."""
        found = super().columns(schema)
        self._check_groups(schema)
        return found + [name for name in self.by if name not in found]

    @property
    def judged_schema(self) -> pa.Schema:
        """Schema of the batches that `judge` returns."""
        kind = pa.from_numpy_dtype(self.model.dtype)
        decided = [("error", kind), ("p_value", pa.float64()), ("is_anomaly", pa.bool_())]
        return pa.schema([*decided, *self._reasons_fields])

    def judge(self, batch: pa.RecordBatch, *, first_row: int = 0) -> pa.RecordBatch:
        """Return errors, p-values, decisions and reasons of a batch, from which `results` makes the output.

        It has all rows of the batch; those that cannot be scored are null unless ``on_bad`` is "error".
        """
        self._check_groups(batch.schema)
        if batch.num_rows == 0:
            self._features(batch.schema)
            return pa.RecordBatch.from_pylist([], schema=self.judged_schema)
        return pa.record_batch(self._judged(batch, first_row, self.top_features), schema=self.judged_schema)

    def _judged(self, batch: pa.RecordBatch, first_row: int, top: int) -> list[pa.Array]:
        empty = pa.RecordBatch.from_pylist([], schema=self.judged_schema).columns[: None if top else self._N_JUDGED]
        if (marked := marked_rows(batch)) is not None:
            good = batch.filter(arrow_array(~marked))
            return spread(empty if marked.all() else self._judged(good, first_row, top), marked)
        groups = self.groups(batch)
        X, parts = self.matrix(batch), self.fleet.parts(groups)
        try:
            errors, more = self._reasoned(X, parts, first_row) if top else (self._errors(X, parts, first_row), [])
        except BadValueError:
            if self.on_bad == "error":
                raise
            bad = bad_rows(self.model, X)
            good = arrow_array(np.flatnonzero(~bad))
            return spread(empty if bad.all() else self._judged(batch.take(good), first_row, top), bad)
        self.pooled_rows.update({key: n for key, n in groups.counts.items() if key not in self.fleet.models})
        p_values = judged(errors, parts, Model.p_values_of, np.float64)
        flagged = judged(errors, parts, lambda model, own: own.astype(np.float64) > model.threshold, np.bool_)
        return [*(arrow_array(values) for values in (errors, p_values, flagged)), *more]

    _N_JUDGED = 3

    def _decisions(self, judged: pa.RecordBatch) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
        errors, p_values, flagged = map(arrow_values, judged.columns[:3])
        if self.p_value_cutoff is not None:
            flagged = p_values <= self.p_value_cutoff
        return errors.astype(np.float64), p_values, flagged.astype(np.bool_)

    def counted_p_values(self, batch: pa.RecordBatch, *, first_row: int = 0) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return the different p-values of a batch, descending, and the number of good rows with each."""
        before = self.pooled_rows.copy()
        p_values = arrow_values(self._judged(batch, first_row, 0)[1]) if batch.num_rows else np.empty(0)
        self.pooled_rows = before
        found, counts = np.unique(p_values[~np.isnan(p_values)], return_counts=True)
        return found[::-1], counts[::-1]

    def batch_errors(self, batch: pa.RecordBatch, *, first_row: int = 0) -> NDArray[Any]:
        """Return the errors of a batch in the models' dtype; see `Scorer`."""
        before = self.pooled_rows.copy()
        errors = arrow_values(self._judged(batch, first_row, 0)[0])
        self.pooled_rows = before
        return errors.astype(self.model.dtype)

    def groups(self, batch: pa.RecordBatch) -> Groups:
        """Return the groups of a batch's rows. Numbers written as text are the groups of these numbers."""
        self._check_groups(batch.schema)
        named = pa.Table.from_batches([batch.select(list(self.by))])
        found, known = split_rows(named, None, self.by, one=self.fleet.one)[1], self.fleet.models
        keys = [key if key in known else self._by_spelling.get(spelling(key), key) for key in found.keys]
        return replace(found, keys=keys)

    @cached_property
    def _by_spelling(self) -> dict[Key, Key]:
        return {spelling(key): key for key in self.fleet.models}

    def parts(self, batch: pa.RecordBatch) -> list[Part]:
        """Return which model scores which rows of a batch; `UnknownGroupError` as of `ModelFleet.parts`."""
        return self.fleet.parts(self.groups(batch))

    def _errors(self, X: Any, parts: Sequence[Part], first_row: int) -> NDArray[Any]:
        n_rows = sum(len(part.rows) for part in parts)

        def errors(model: Model, own: Any) -> NDArray[Any]:
            return model.errors(own, precision=self.precision)

        try:
            return scored(X, parts, errors, n_rows, self.model.dtype)
        except ValueError:
            self.judge_matrix(X, first_row, 0)  # names the row of a value that is not finite
            raise

    def _reasoned(self, X: Any, parts: Sequence[Part], first_row: int) -> tuple[NDArray[Any], list[pa.Array]]:
        found: list[tuple[NDArray[Any], pa.Array]] = []
        try:
            for part in parts:
                own = Scorer(part.model, columns=self._columns, precision=self.precision)
                found.append(own.judge_matrix(taken(X, part.rows), 0, self.top_features))
        except ValueError:
            self.judge_matrix(X, first_row, 0)
            raise
        back = np.argsort(np.concatenate([part.rows for part in parts]), kind="stable")
        errors, reasons = zip(*found, strict=True)
        together = pa.concat_arrays(list(reasons)).take(arrow_array(back))
        return np.concatenate(errors)[back], [self._as_written(together)]

    def _check_groups(self, schema: pa.Schema) -> None:
        lacking = [name for name in self.by if name not in schema.names]
        if lacking:
            raise TableError(f"the table lacks columns that name groups: {', '.join(map(repr, lacking))}")


def spelling(key: Key) -> Key:
    """Return a key with numbers as text: files of text have no numbers, and others may have."""
    if isinstance(key, tuple):
        return tuple(map(spelling, key))
    return str(key) if isinstance(key, int | float) and not isinstance(key, bool) else key


def is_fleet(model: Any) -> bool:
    """Return whether `fleet_of` takes this: a fleet, or the path or content of a fleet file."""
    if isinstance(model, (bytes, bytearray, memoryview, str, Path)):
        return fleet_file.is_fleet(model)
    return isinstance(model, ModelFleet) or hasattr(type(model), "model_fleet")


def fleet_of(fleet: Any) -> ModelFleet:
    """Return the models of a `Fleet`, or of a fleet file given by its content or its path."""
    if isinstance(fleet, ModelFleet):
        return fleet
    if isinstance(fleet, (bytes, bytearray, memoryview, str, Path)):
        return load_fleet(fleet)
    if not hasattr(type(fleet), "model_fleet"):
        raise TypeError(f"fleet must be an aefast.Fleet, or the path or bytes of a fleet file, got {fleet!r}")
    found: ModelFleet = fleet.model_fleet()
    return found


def load_fleet(source: str | Path | bytes | bytearray | memoryview, n_threads: int | None = None) -> ModelFleet:
    """Return the models of a fleet file, each read when it is first needed; ``n_threads`` replaces theirs."""
    models = fleet_file.opened(source, n_threads)
    return ModelFleet(models.document.by, models.document.one, models, models.pooled)
