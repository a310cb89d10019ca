"""Groups of rows: the key of each row by one or more columns, and the rows of each key in their order."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aefast.tables.arrow import arrow_array, arrow_values, plain_array

Array = NDArray[Any]
Key = Hashable

_PLAIN = "text, numbers or truth values"


@dataclass(frozen=True)
class Groups:
    """The rows of a table by group.

    Attributes
    ----------
    keys : list
        The key of each group, ascending: a missing value first, then numbers, then text.
    order : ndarray of shape (n,), int64
        Row numbers, group after group; within a group ascending.
    ends : ndarray of shape (len(keys),), int64
        Where each group ends in ``order``.
    """

    keys: list[Key]
    order: NDArray[np.int64]
    ends: NDArray[np.int64]

    @property
    def counts(self) -> dict[Key, int]:
        """Number of rows of each group."""
        return dict(zip(self.keys, np.diff(self.ends, prepend=0).tolist(), strict=True))

    @property
    def rows(self) -> dict[Key, NDArray[np.int64]]:
        """Row numbers of each group."""
        return {key: numbers for key, numbers in self}  # noqa: C416

    def __iter__(self) -> Iterator[tuple[Key, NDArray[np.int64]]]:
        """Yield each key with its row numbers."""
        begin = 0
        for key, end in zip(self.keys, self.ends.tolist(), strict=True):
            yield key, self.order[begin:end]
            begin = end


def groups_by(columns: Mapping[str, Any], *, one: bool) -> Groups:
    """Return the rows by the values of columns.

    Parameters
    ----------
    columns : mapping of str to column
        At least one pandas column, Arrow column or array (n,), each with its name for messages.
    one : bool
        True for keys that are the values of the only column; else keys are tuples.

    Raises
    ------
    ValueError
        If a column has values that are neither text nor numbers nor truth values, or that are infinite.
    """
    coded = [_coded(name, values) for name, values in columns.items()]
    codes, distinct = coded[0]
    keys: list[Any] = list(distinct) if one else [(value,) for value in distinct]
    for more, values in coded[1:]:
        pairs, codes = np.unique(codes * len(values) + more, return_inverse=True)
        keys = [(*keys[pair // len(values)], values[pair % len(values)]) for pair in pairs.tolist()]
    ranked = sorted(range(len(keys)), key=lambda code: _rank(keys[code]))
    places = np.empty(len(keys), dtype=np.int64)
    places[ranked] = np.arange(len(keys))
    # NumPy sorts numbers of 16 bits by counting.
    ranks = places.astype(np.uint16 if len(keys) <= 1 << 16 else np.int64)[codes]
    ends = np.cumsum(np.bincount(ranks, minlength=len(keys)))
    return Groups([keys[code] for code in ranked], np.argsort(ranks, kind="stable"), ends)


def _rank(key: Any) -> Any:
    """Return what keys of different types are compared by."""
    if isinstance(key, tuple):
        return tuple(map(_rank, key))
    return (0, 0) if key is None else (2, key) if isinstance(key, str) else (1, key)


def _coded(name: str, values: Any) -> tuple[NDArray[np.int64], list[Any]]:
    """Return a code for each value, and the plain value that each code stands for."""
    codes, distinct = _distinct(values)
    plain = [plain_key(name, value) for value in distinct]
    places: dict[Any, int] = {}
    # Different objects can be the same key: 7 and 7.0, None and NaN.
    recoded = np.array([places.setdefault(value, len(places)) for value in plain], dtype=np.int64)
    return recoded[codes], list(places)


def _distinct(values: Any) -> tuple[NDArray[np.int64], list[Any]]:
    if hasattr(values, "iloc"):
        codes, distinct = values.factorize(use_na_sentinel=False)
        return np.asarray(codes, dtype=np.int64), list(distinct)
    if hasattr(values, "dictionary_encode"):
        return _distinct_of_arrow(values)
    array = np.asarray(values)
    if array.dtype.kind in "biufSU":
        distinct_values, codes = np.unique(array, return_inverse=True)
        return codes.reshape(-1).astype(np.int64), distinct_values.tolist()
    places: dict[Any, int] = {}
    # NaN differs from itself, so that each would be a key of its own.
    cells = [None if isinstance(cell, float) and cell != cell else cell for cell in array.tolist()]
    return np.array([places.setdefault(cell, len(places)) for cell in cells], dtype=np.int64), list(places)


def _distinct_of_arrow(values: Any) -> tuple[NDArray[np.int64], list[Any]]:
    import pyarrow as pa

    column = plain_array(values)
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
    if isinstance(column, pa.ChunkedArray):  # older versions leave several chunks, or none
        column = pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    coded = column.dictionary_encode(null_encoding="encode")
    return arrow_values(coded.indices).astype(np.int64), coded.dictionary.to_pylist()


def plain_key(name: str, value: Any) -> Any:
    """Return a key as text, bool, int, float or, for a missing value, None; whole floats become int.

    Raises
    ------
    ValueError
        If it is anything else; ``name`` is the column in the message.
    """
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        if value != value:
            return None
        if isfinite(value):
            return int(value) if value.is_integer() else value
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    if str(value) in ("<NA>", "NaT"):
        return None
    raise ValueError(
        f"groups must be {_PLAIN}, but column {name!r} has {value!r} ({type(value).__name__}): convert it to text"
    )


def split_off(table: Any, by: Sequence[str]) -> tuple[dict[str, Any], Any]:
    """Return the columns ``by`` of a data frame or an Arrow table, and the table without them.

    Raises
    ------
    ValueError
        If the table lacks a column, or has two of that name.
    """
    is_frame = hasattr(table, "iloc")
    labels = list(table.columns) if is_frame else list(table.column_names)
    places = {}
    for name in by:
        found = [place for place, label in enumerate(labels) if str(label) == name]
        if len(found) != 1:
            what = "has no column" if not found else f"has {len(found)} columns"
            raise ValueError(f"X {what} {name!r}, which by names; its columns are {', '.join(map(str, labels))}")
        places[name] = found[0]
    others = [place for place in range(len(labels)) if place not in places.values()]
    if is_frame:
        return {name: table.iloc[:, place] for name, place in places.items()}, table.iloc[:, others]
    return {name: table.column(place) for name, place in places.items()}, table.select(others)


def take(X: Any, rows: NDArray[np.int64]) -> Any:
    """Return a copy of some rows of an array, or of a data frame or an Arrow table or one of its columns."""
    if hasattr(X, "iloc"):
        return X.iloc[rows]
    return X[rows] if isinstance(X, np.ndarray) else X.take(arrow_array(rows))


def taken(X: Any, rows: NDArray[np.int64]) -> Any:
    """Return some rows of an array, a data frame or an Arrow table; adjacent rows as a view."""
    begin, n = (int(rows[0]), len(rows)) if len(rows) else (0, 0)
    is_adjacent = n == 0 or int(rows[-1]) - begin + 1 == n
    if is_adjacent and (n < 2 or bool((np.diff(rows) == 1).all())):
        if hasattr(X, "iloc"):
            return X.iloc[begin : begin + n]
        return X.slice(begin, n) if hasattr(X, "slice") else X[begin : begin + n]
    return take(X, rows)


def key_columns(keys: Sequence[Key], names: Sequence[str] | None, *, one: bool) -> dict[str, list[Any]]:
    """Return the values of keys as columns; without ``names`` they are numbered."""
    rows = [(key,) if one else key for key in keys]
    columns: list[list[Any]] = [list(values) for values in zip(*rows, strict=True)]
    names = [f"group_{i}" for i in range(len(columns))] if names is None else names
    return dict(zip(names, columns, strict=True))


def key_label(key: Key) -> str:
    """Return a key as a person is shown it."""
    return ", ".join(map(repr, key)) if isinstance(key, tuple) else repr(key)
