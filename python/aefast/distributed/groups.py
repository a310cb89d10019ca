"""Fits one model for each group of rows: workers count, choose and fit rows, the driver makes a Fleet of the models."""

from __future__ import annotations

import json
import pickle
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pyarrow as pa

from aefast.engine.threads import threads
from aefast.estimators.fleet import Fleet
from aefast.estimators.group_fits import GroupRows, most_of_each, pooled_choice, seed_of
from aefast.estimators.recipe import settings_of
from aefast.exceptions import ConvergenceError
from aefast.model.model import Model
from aefast.tables.formats.base import TableError
from aefast.tables.groups import Key, groups_by, key_columns, split_off, take

#: The column by which the rows of a group come into the order of the table.
POSITION = "__aefast_position"
COUNTS = pa.schema([("key", pa.string()), ("rows", pa.int64())])
#: ``model`` is the content of a model file, ``reason`` why there is none, ``pooled`` the rows for the pooled model.
FITS = pa.schema([("key", pa.string()), ("model", pa.binary()), ("reason", pa.string()), ("pooled", pa.binary())])


@dataclass(frozen=True)
class GroupTask:
    """Counts and fits the groups of a table on a worker.

    Attributes
    ----------
    estimator : estimator
        As the fleet has it, not fitted.
    by : tuple of str
    one : bool
        As in `aefast.model.fleet.ModelFleet`.
    min_rows : int
    seed : int
        The seed of the pooled model's rows.
    most : int or None
        The largest number of rows of a group that the pooled model learns; None if there is none.
    numbers : mapping
        The number of each key with more rows, among all keys in order.
    """

    estimator: Any
    by: tuple[str, ...]
    one: bool
    min_rows: int
    seed: int = 0
    most: int | None = None
    numbers: Mapping[str, int] = field(default_factory=dict)

    def count(self, table: Any) -> pa.Table:
        """Return the number of rows of each key of a table."""
        counts = groups_by(split_off(table, self.by)[0], one=self.one).counts if len(table) else {}
        return pa.table([list(map(_text, counts)), list(counts.values())], schema=COUNTS)

    def fit(self, table: Any) -> pa.Table:
        """Return models and rows for the pooled model of the groups of a table, which has all their rows.

        Its rows may be in any order; the column ``POSITION`` has the order in which they are learned.
        """
        if len(table) == 0:
            return FITS.empty_table()
        is_frame = hasattr(table, "iloc")
        order = np.argsort(np.asarray(table[POSITION]), kind="stable")
        table = take(table.drop(columns=POSITION) if is_frame else table.drop_columns([POSITION]), order)
        columns, rows = split_off(table, self.by)
        found = [self._fit(_text(key), take(rows, own)) for key, own in groups_by(columns, one=self.one)]
        return pa.Table.from_pylist(found, schema=FITS)

    def _fit(self, key: str, rows: Any) -> dict[str, Any]:
        result: dict[str, Any] = {"key": key, "model": None, "reason": None, "pooled": None}
        if self.most is not None:
            chosen = pooled_choice(self.seed, self.numbers.get(key, 0), len(rows), self.most)
            result["pooled"] = pickle.dumps(take(rows, chosen), pickle.HIGHEST_PROTOCOL)
        if len(rows) >= self.min_rows:
            try:
                result["model"] = fitted(self.estimator, rows).to_bytes()
            except (ValueError, ConvergenceError) as error:
                result["reason"] = str(error)
        return result


class GroupFit:
    """Fits a fleet on workers.

    Parameters
    ----------
    estimator, by, min_rows, unseen
        As of `Fleet`.
    """

    def __init__(self, estimator: Any, by: Any, min_rows: int, unseen: str) -> None:
        self._fleet = Fleet(estimator, by, min_rows=min_rows, unseen=unseen)
        self._fleet.check_parameters()
        if by is None:
            raise ValueError("by must name the columns whose values are the groups, got None")
        self.by: tuple[str, ...] = (str(by),) if isinstance(by, str) else tuple(map(str, by))
        self.one: bool = isinstance(by, str)
        self.task: GroupTask = GroupTask(estimator, self.by, self.one, min_rows)
        self._counts: dict[Key, int] = {}

    def require_columns(self, names: Iterable[str]) -> None:
        """Raise `TableError` unless the columns that name groups are among those of a table."""
        known = set(names)
        lacking = [name for name in self.by if name not in known]
        if lacking:
            raise TableError(f"data lacks columns that name groups: {', '.join(map(repr, lacking))}")

    def with_counts(self, parts: Iterable[Any]) -> GroupTask:
        """Return the task that fits, from what `GroupTask.count` returned for all parts of the rows."""
        counts: Counter[str] = Counter()
        for part in parts:
            for key, n_rows in zip(part["key"].to_pylist(), part["rows"].to_pylist(), strict=True):
                counts[key] += n_rows
        if not counts:
            raise ValueError("data has no rows to fit on")
        known = [_key(text, self.one) for text in counts]
        names = key_columns(known, None, one=self.one)
        ordered = groups_by({name: _objects(values) for name, values in names.items()}, one=self.one).keys
        self._counts = {key: counts[_text(key)] for key in ordered}
        self._fleet.check_sizes(self._counts)
        if self._fleet.unseen == "error":
            return self.task
        most = most_of_each(list(self._counts.values()))
        numbers = {_text(key): number for number, (key, n) in enumerate(self._counts.items()) if n > most}
        return replace(self.task, seed=seed_of(self._fleet.estimator), most=most, numbers=numbers)

    def fleet_of(self, parts: Iterable[Any]) -> Any:
        """Return the fleet, from what `GroupTask.fit` returned for all groups."""
        found = {_key(row["key"], self.one): row for part in parts for row in part.to_pylist()}
        models = {key: Model.load(found[key]["model"]) for key in self._counts if found[key]["model"]}
        reasons = {key: found[key]["reason"] for key in self._counts if found[key]["reason"]}
        pooled = None
        if self._fleet.unseen == "pooled":
            pooled = fitted(
                self._fleet.estimator, _joined([pickle.loads(found[key]["pooled"]) for key in self._counts])
            )
        return self._fleet.take_fitted(models, reasons, pooled, self._counts)


def fitted(estimator: Any, rows: Any) -> Model:
    """Return the model of rows, to the bits of ``estimator.fit``, computed with one thread on a worker."""
    with threads(1):
        data = GroupRows.of(estimator, rows)
        return data.fit(np.arange(len(rows)), settings_of(estimator), 1)


def _joined(tables: list[Any]) -> Any:
    if hasattr(tables[0], "iloc"):
        import pandas as pd

        return pd.concat(tables)
    return pa.concat_tables(tables, promote_options="permissive")


def _objects(values: list[Any]) -> Any:
    found = np.empty(len(values), dtype=object)
    found[:] = values
    return found


def _text(key: Key) -> str:
    return json.dumps(list(key) if isinstance(key, tuple) else key)


def _key(text: str, one: bool) -> Key:
    value = json.loads(text)
    key: Key = value if one else tuple(value)
    return key
