"""Reasons: the features with the largest shares of a row's error, with their values and expected values."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.util import find_spec
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from aefast.columns.column import Column, input_starts, starts
from aefast.columns.decoding import as_objects, by_column, decode, shown, times_alike
from aefast.tables.groups import taken

Array = NDArray[Any]

#: Most reasons a row that come in one pass with the errors.
MOST_REASONS = 16


class Reasons(NamedTuple):
    """Errors of rows and, for each row, the features with the largest shares of its error.

    Attributes
    ----------
    errors : ndarray of shape (n,)
    columns : ndarray of shape (n, top), int32
        Column numbers, largest share first. If columns are of several kinds, -1 for one whose value is missing.
    shares : ndarray of shape (n, top)
        Share of the row's error, in [0, 1].
    expected : ndarray of shape (n, top), or (n, top, 4 or fewer) if columns are of several kinds
        Reconstructed values in input units. For columns of several kinds: a column's outputs, or the number of the most
        probable level.
    values : ndarray of shape (n, top), float64
        Values of the row; shape (0, top) if columns are of several kinds.
    """

    errors: Array
    columns: Array
    shares: Array
    expected: Array
    values: Array


def print_alike(values: Array, expected: Array) -> NDArray[np.bool_]:
    """Return which values are their expected values at the printed precision, six significant digits."""
    values, expected = np.asarray(values, dtype=np.float64), np.asarray(expected, dtype=np.float64)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        digits = 10.0 ** (5 - np.floor(np.log10(np.maximum(np.abs(values), np.abs(expected)))))
        alike: NDArray[np.bool_] = np.rint(values * digits) == np.rint(expected * digits)
    return np.asarray(alike | (values == expected))


def as_expected(values: Array, expected: Array, column: Column) -> NDArray[np.bool_]:
    """Return which values of a column are shown like the expected ones.

    Both have the shape (m, column.n_inputs): a number, the place of a level, or a time, as in encoded rows.
    """
    if column.kind == "numeric":
        return print_alike(values[:, 0], expected[:, 0])
    if column.kind == "categorical":
        return np.asarray(values[:, 0] == expected[:, 0])
    return times_alike(values, expected, column)


def all_as_expected(rows: Array, outputs: Array, columns: Sequence[Column] | None) -> NDArray[np.bool_]:
    """Return which values (n, C) of encoded rows are shown like the outputs (n, D) of the network."""
    if columns is None:
        return print_alike(rows, outputs)
    found = np.empty((len(rows), len(columns)), dtype=np.bool_)
    for index, (at, first, column) in enumerate(zip(input_starts(columns), starts(columns), columns, strict=True)):
        expected = outputs[:, first : first + column.width]
        if column.kind == "categorical":
            expected = expected.argmax(axis=1)[:, None]
        found[:, index] = as_expected(rows[:, at : at + column.n_inputs], expected, column)
    return found


def _tells_nothing(found: Reasons, rows: Array, columns: Sequence[Column] | None) -> NDArray[np.bool_]:
    """Return which reasons (n, top) have a value that was expected or is missing."""
    if columns is None:
        values, expected = found.values, found.expected
        # Hardly any are as near as that, and rounding is slow.
        difference, limit = values - expected, np.abs(values)
        limit *= 1.1e-5
        is_near: NDArray[np.bool_] = ~(np.abs(difference, out=difference) > limit)
        if is_near.any():
            is_near[is_near] = print_alike(values[is_near], expected[is_near]) | np.isnan(values[is_near])
        return is_near
    nothing = np.zeros(found.columns.shape, dtype=np.bool_)
    for number, (at, column) in enumerate(zip(input_starts(columns), columns, strict=True)):
        places = np.nonzero(found.columns == number)
        values = rows[places[0], at : at + column.n_inputs]
        nothing[places] = as_expected(values, found.expected[places][:, : column.n_inputs], column)
    return nothing


def telling(
    found: Reasons,
    rows: Array,
    columns: Sequence[Column] | None,
    top: int,
    more: Callable[[NDArray[np.intp]], Reasons],
) -> Reasons:
    """Return the reasons of encoded ``rows`` without those whose value was expected or is missing.

    The next ones take their place. ``more(rows)`` returns further reasons of some rows. Where too few are left, the
    last have NaN as their value or, if columns are of several kinds, -1 as their column.
    """
    tells_nothing = _tells_nothing(found, rows, columns)
    if not tells_nothing.any():
        return found
    which = np.flatnonzero(tells_nothing.any(axis=1))
    further = more(which)
    is_alike = _tells_nothing(further, rows[which], columns)
    order = np.argsort(is_alike, axis=1, kind="stable")[:, :top]
    is_alike = np.take_along_axis(is_alike, order, axis=1)
    parts = [part.copy() for part in found[1:]]
    for part, others in zip(parts, further[1:], strict=True):
        if part.size:
            part[which] = np.take_along_axis(others, order.reshape(*order.shape, *[1] * (others.ndim - 2)), axis=1)
    if columns is None:
        parts[3][which] = np.where(is_alike, np.nan, parts[3][which])
    else:
        parts[0][which] = np.where(is_alike, -1, parts[0][which])
    return Reasons(found.errors, *parts)


def explanation_of(reasons: Reasons, names: Sequence[str], columns: Sequence[Column] | None, table: Any) -> Array:
    """Return reasons as the structured array of `reasons_table`.

    ``columns`` and ``table`` are the kinds of the columns and the rows themselves; the first is None if all columns are
    numbers.
    """
    _, numbers, shares, expected, values = reasons
    if columns is None:
        return reasons_table(numbers, shares, values, expected, names, 0, ~np.isnan(values))
    is_known = numbers >= 0
    rows = np.nonzero(is_known)[0]
    cells = np.empty((2, len(rows)), dtype=object)
    for places, *parts in by_column(columns, numbers[is_known], rows, expected[is_known], table):
        for of_all, part in zip(cells, parts, strict=True):
            of_all[places] = as_objects(part)
    cells_of_all, outputs = np.empty((2, *numbers.shape), dtype=object)
    cells_of_all[is_known], outputs[is_known] = cells
    return reasons_table(numbers, shares, cells_of_all, outputs, names, 0, is_known)


def explanation_in_blocks(
    rows: Array,
    top: int,
    names: Sequence[str],
    columns: Sequence[Column] | None,
    table: Any,
    feature_errors: Callable[[Array, int], Array],
    reconstruct: Callable[[Array], Array],
) -> Array:
    """Return the same table for any number of features, from several passes over the rows.

    A value that is shown like the expected one is no reason.

    ``feature_errors(block, first_row)`` returns the errors (n, C) of a block's columns, ``reconstruct(block)`` its
    outputs (n, D).
    """
    # Blocks bound the memory: each has three arrays as wide as the input, of which a few columns are kept.
    n_rows_a_block = max(1, (1 << 20) // rows.shape[1])
    tables = []
    for begin in range(0, len(rows), n_rows_a_block):
        block = rows[begin : begin + n_rows_a_block]
        errors, expected = feature_errors(block, begin), reconstruct(block)
        values, is_missing, alike = block, np.isnan(block), all_as_expected(block, expected, columns)
        if columns is not None:
            part = taken(table, np.arange(begin, begin + len(block)))
            expected, values = decode(expected, columns), shown(part, columns)
            is_missing = is_missing[:, input_starts(columns)]
        tables.append(explanation_table(errors, values, expected, names, top, begin, is_missing | alike))
    explained: Array = np.concatenate(tables)
    return explained


def top_shares(
    feature_errors: Array, top: int, is_missing: Array | None = None
) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Return columns and shares (n, top) of the largest errors of each row, largest first.

    Of equal errors the first column comes first. A share is a feature's error divided by the row's; all shares of a row
    without error are 0. Features whose value is missing come last.

    Examples
    --------
    >>> import numpy as np
    >>> from aefast.model.reasons import top_shares
    >>> columns, shares = top_shares(np.array([[1.0, 3.0, 0.0]]), top=2)
    >>> columns.tolist(), shares.tolist()
    ([[1, 0]], [[0.75, 0.25]])
    """
    errors = np.asarray(feature_errors, dtype=np.float64)
    ranked = errors if is_missing is None else np.where(is_missing, -1.0, errors)
    columns = _largest(ranked, min(top, errors.shape[1]))
    totals = errors.sum(axis=1, keepdims=True)
    shares = at_columns(errors, columns) / np.where(totals > 0, totals, 1.0)
    return columns, shares


def at_columns(values: Array, columns: Array) -> Array:
    """Return the values (n, top) at some columns: ``np.take_along_axis(values, columns, axis=1)`` in a fifth of its
    time.
    """
    n, d = values.shape
    rows = np.arange(n)[:, None]
    if values.flags.f_contiguous:
        chosen: Array = values.T.reshape(-1).take(columns * np.int64(n) + rows)
    else:
        chosen = values.reshape(-1).take(columns + rows * d)
    return chosen


def _largest(errors: NDArray[np.float64], top: int) -> NDArray[np.intp]:
    if top > 16:
        return np.argsort(-errors, axis=1, kind="stable")[:, :top]
    # A few passes for the largest errors are several times as fast as sorting whole rows.
    left, rows = errors.copy(), np.arange(len(errors))
    columns = np.empty((len(errors), top), dtype=np.intp)
    for rank in range(top):
        columns[:, rank] = left.argmax(axis=1)
        left[rows, columns[:, rank]] = -np.inf
    return columns


def explanation_table(
    feature_errors: Array,
    values: Array,
    expected: Array,
    names: Sequence[str],
    top: int,
    first_row: int = 0,
    is_missing: Array | None = None,
) -> Array:
    """Return the ``top`` features of each row as a structured array of row, feature, value, expected and share.

    Features whose value is missing are not reasons, so that a row may have fewer.

    Parameters
    ----------
    feature_errors, values, expected : ndarray of shape (n, d)
        Each feature's share of the error, the row, and its reconstruction; the last two in input units.
    names : sequence of d str
        Names of the columns.
    top : int
        Number of features for each row, at most d.
    first_row : int
        Number of the first row.
    is_missing : ndarray of shape (n, d), bool, optional
        Which values are missing.
    """
    columns, shares = top_shares(feature_errors, top, is_missing)
    values, expected = (at_columns(array, columns) for array in (values, expected))
    is_known = None if is_missing is None else ~at_columns(is_missing, columns)
    return reasons_table(columns, shares, values, expected, names, first_row, is_known)


def reasons_table(
    columns: Array,
    shares: Array,
    values: Array,
    expected: Array,
    names: Sequence[str],
    first_row: int = 0,
    is_known: Array | None = None,
) -> Array:
    """Return reasons, given as arrays of shape (n, top), as the structured array of `explanation_table`.

    Reasons for which ``is_known`` is False are left out.
    """
    width = max(1, *(len(name) for name in names))
    kind = "O" if values.dtype == object else "f8"
    chosen = np.nonzero(np.ones(columns.shape, dtype=bool) if is_known is None else is_known)
    table = np.empty(
        len(chosen[0]),
        dtype=[("row", "i8"), ("feature", f"U{width}"), ("value", kind), ("expected", kind), ("share", "f8")],
    )
    table["row"] = chosen[0] + first_row
    table["feature"] = np.asarray(names, dtype=f"U{width}")[columns[chosen]]
    table["value"], table["expected"], table["share"] = values[chosen], expected[chosen], shares[chosen]
    return table


def as_frame(table: Array) -> Any:
    """Return a structured array as a ``pandas.DataFrame`` if pandas is installed, else the array itself."""
    if find_spec("pandas") is None:
        return table
    import pandas as pd

    names = table.dtype.names or ()
    return pd.DataFrame({name: table[name].astype(object) if name == "feature" else table[name] for name in names})
