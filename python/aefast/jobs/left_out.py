"""Finds columns that say nothing about a row: indexes, numbers that only grow, names of rows, and constants."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from aefast.columns.learner import LevelCounts
from aefast.tables.arrow import arrow_values, is_text
from aefast.tables.source import Source

#: Rows that are looked at.
_ROWS = 1 << 16
#: With fewer values, numbers may grow by chance and a column may be constant by chance; names differ at any number.
_LEAST_ROWS = 20
#: The share of missing values, and that of repeated ones, below which a column may be an index or an identifier.
_FEW = 0.1
#: The least median of numbers that may be identifiers without a name, and the fewest of them.
_LONG, _LEAST_LONG = 10**5, 100
#: Names of columns whose numbers name a row, if nearly all of them differ.
_ID = re.compile(
    r"(^|[^a-z])[Ii][Dd]$|[a-z]I[Dd]$|^ID|^row_?(id|names?|num(ber)?)$|([^a-zA-Z]|^)[Cc]ode$"
    r"|(name|user|customer|client|order|object|item|product|place|event|station|patient|account|member|person|player)id$",
    re.ASCII,
)
#: Columns that pandas writes for the index of a frame, and those that count rows.
_INDEX = re.compile(r"__index_level_\d+__|Unnamed: \d+||#|(?i:no\.|nr\.|(s|sr|sl|serial)[ ._]*(no|nr)\.?)")


def without_information(source: Source, columns: Sequence[str]) -> dict[str, str]:
    """Return which of the columns say nothing about a row, and why, by the first rows of the tables.

    A column is called constant only if these are all of the rows.
    """
    texts = [name for name in columns if is_text(source.type_of(name))]
    batch = next(source.read_as_text(texts).batches(columns, _ROWS), None)
    if batch is None:
        return {}
    is_all = len(source.files) == 1 and batch.num_rows < _ROWS
    formats = source.dialect.formats if source.dialect else {}
    codes = [name for name, each in formats.items() if each.kind == "code"]
    found = {name: _reason(name, batch.column(name), is_all) for name in columns}
    if source.dialect and not source.dialect.has_header and not found.get(first := source.dialect.names[0], "all"):
        found[first] = "an identifier" if _is_of_long_numbers(batch.column(first)) else ""
    differing = {name: _difference(batch.column(name), is_code=name in codes) for name in texts}
    found |= {name: difference for name, difference in differing.items() if difference}
    certain = ("nearly all values differ", "no values") if batch.num_rows < _LEAST_ROWS else {*found.values()} - {""}
    return {name: reason for name, reason in found.items() if reason in certain}


def _difference(column: pa.Array, *, is_code: bool) -> str:
    """Return that nearly all values of a column of text differ, as those of names and long codes do; else empty."""
    counts = LevelCounts()
    counts.add(column, of_levels=True)
    if counts.are_names or (is_code and counts.refusal()):
        return "nearly all values differ"
    return counts.odd_numbers


def _reason(name: str, column: pa.Array, is_all: bool) -> str:
    is_float = pa.types.is_floating(column.type)
    if column.null_count == len(column) or (is_float and np.isnan(arrow_values(column)).all()):
        return "no values" if is_all else ""
    if is_all and not is_text(column.type) and len(column) - column.null_count == 1:
        return "a single value"
    if pa.types.is_integer(column.type) and column.null_count < _FEW * len(column):
        values = arrow_values(column.drop_null())
        is_index = _INDEX.fullmatch(name) is not None
        if (values[1:] > values[:-1]).all():
            return "an index" if is_index else "it only grows"
        if (is_index or _ID.search(name)) and len(np.unique(values)) > (1 - _FEW) * len(values):
            return "an index" if is_index else "an identifier"
    if is_all and column.null_count == 0 and _is_constant(column):
        return "constant"
    return ""


def _is_of_long_numbers(column: pa.Array) -> bool:
    """Whether nearly all values are whole numbers of many digits that differ, as identifiers without a name are."""
    if not pa.types.is_integer(column.type) or len(column) - column.null_count < _LEAST_LONG:
        return False
    values = arrow_values(column.drop_null())
    return np.median(values) >= _LONG and len(np.unique(values)) > (1 - _FEW) * len(column)


def _is_constant(column: pa.Array) -> bool:
    """Whether all values are equal."""
    if is_text(column.type) or pa.types.is_boolean(column.type) or pa.types.is_temporal(column.type):
        return len(column.unique()) == 1
    if pa.types.is_integer(column.type) or pa.types.is_floating(column.type):
        values = arrow_values(column)
        return bool(np.all(values == values[0]))
    return False
