"""Reasons of scored rows as Arrow arrays: for each row a list of features with value, expected value and share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from aefast.columns.column import Column
from aefast.columns.decoding import Shown, by_column
from aefast.model.reasons import Reasons
from aefast.tables.arrow import arrow_array, arrow_text, arrow_values, number_text

Array = NDArray[Any]


def reasons_type(*, is_mixed: bool) -> pa.DataType:
    """Return the type of a row's reasons; values are text if columns are of several kinds."""
    value = pa.string() if is_mixed else pa.float64()
    fields = [("feature", pa.string()), ("value", value), ("expected", value), ("share", pa.float64())]
    return pa.list_(pa.struct(fields))


def arrow_reasons(reasons: Reasons, names: Sequence[str], columns: Sequence[Column] | None, X: Any) -> pa.Array:
    """Return reasons as lists.

    Parameters
    ----------
    reasons : Reasons
    names : sequence of str
        Names of the columns.
    columns : sequence of Column, or None
        Their kinds; None if all columns are numbers.
    X : Arrow table
        The rows; used only if columns are of several kinds.
    """
    _, numbers, shares, expected, values = reasons
    is_known = numbers >= 0 if columns is not None else ~np.isnan(values)
    all_known = bool(is_known.all())
    counts = np.full(len(numbers), numbers.shape[1]) if all_known else is_known.sum(axis=1)

    def flat(part: Array) -> Array:
        return part.reshape(-1, *part.shape[2:]) if all_known else part[is_known]

    numbers, shares, expected = map(flat, (numbers, shares, expected))
    features = arrow_text(names).take(arrow_array(numbers))
    if columns is None:
        cells, outputs = arrow_array(flat(values)), arrow_array(expected.astype(np.float64, copy=False))
        return _lists(features, cells, outputs, shares, counts)
    order: list[Array] = []
    texts: tuple[list[pa.Array], list[pa.Array]] = ([arrow_text([])], [arrow_text([])])
    for places, *parts in by_column(columns, numbers, np.nonzero(is_known)[0], expected, X):
        order.append(places)
        for found, part in zip(texts, parts, strict=True):
            found.append(_text(part))
    back = np.empty(len(numbers), dtype=np.int64)
    back[np.concatenate([*order, np.empty(0, np.int64)])] = np.arange(len(numbers))
    cells, outputs = (pa.concat_arrays(found).take(arrow_array(back)) for found in texts)
    return _lists(features, cells, outputs, shares, counts)


def explained_reasons(table: Any, n_rows: int, *, is_mixed: bool) -> pa.Array:
    """Return the rows of a `Model.explanation` of ``n_rows`` rows as lists."""
    counts = np.bincount(table["row"], minlength=n_rows)
    values, expected = (_cells(table[name], is_mixed=is_mixed) for name in ("value", "expected"))
    return _lists(arrow_text(table["feature"]), values, expected, table["share"], counts)


def with_text_values(reasons: pa.Array) -> pa.Array:
    """Return reasons with their values as text, so that the results of all models have the same types."""
    features, values, expected, shares = (reasons.flatten().field(i) for i in range(4))
    if pa.types.is_string(values.type):
        return reasons
    kind = reasons_type(is_mixed=True)
    fields = [features, number_text(arrow_values(values)), number_text(arrow_values(expected)), shares]
    structs = pa.StructArray.from_arrays(fields, fields=list(kind.value_type))
    return pa.ListArray.from_arrays(reasons.offsets, structs)


def reasons_as_text(reasons: pa.Array) -> pa.Array:
    """Return each row's reasons as one text, for formats without nested values."""
    import pyarrow.compute as pc  # takes a tenth of the command's start, so only here

    names, *cells, shares = (reasons.flatten().field(name) for name in ("feature", "value", "expected", "share"))
    values, expected = (c if pa.types.is_string(c.type) else number_text(arrow_values(c)) for c in cells)
    percent = arrow_text([f"{p}%" for p in range(101)]).take(
        arrow_array(np.rint(100 * arrow_values(shares)).astype(np.int64))
    )
    text = pc.binary_join_element_wise(names, "=", values, " (expected ", expected, ", ", percent, ")", "")
    return pc.binary_join(pa.ListArray.from_arrays(reasons.offsets, text), "; ")


def _lists(names: pa.Array, values: pa.Array, expected: pa.Array, shares: Array, counts: Array) -> pa.Array:
    """Return consecutive reasons as lists; row i has the next ``counts[i]`` of them."""
    kind = reasons_type(is_mixed=pa.types.is_string(values.type))
    fields = [names, values, expected, arrow_array(shares.astype(np.float64))]
    structs = pa.StructArray.from_arrays(fields, fields=list(kind.value_type))
    return pa.ListArray.from_arrays(arrow_array(np.append(0, counts.cumsum()).astype(np.int32)), structs)


def _text(part: Shown) -> pa.Array:
    if not isinstance(part, tuple):
        return number_text(part)
    texts, which = part
    return (arrow_text(texts) if isinstance(texts, list) else texts).take(arrow_array(which))


def _cells(values: Array, *, is_mixed: bool) -> pa.Array:
    if is_mixed:
        return arrow_text([value if isinstance(value, str) else f"{value:.6g}" for value in values])
    return arrow_array(values.astype(np.float64))
