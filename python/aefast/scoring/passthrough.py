"""Columns that are copied beside the scores. Each has one type, also if several files are joined."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

from aefast.tables.arrow import is_text, plain_array, plain_type
from aefast.tables.formats.base import TableError

if TYPE_CHECKING:
    from aefast.tables.source import Source


class TypeClashError(TableError):
    """A column whose values do not fit the type that it has in other rows. ``column`` names it."""

    def __init__(self, column: str, reason: str) -> None:
        self.column = column
        super().__init__(f"column {column!r} {reason}")

    def among(self, source: Source, row: int) -> TableError:
        """Return the error with the file of ``row`` and another file, in which the column has another type."""
        here = source.file_of(row)
        other = _another(source, here.path, self.column)
        return TableError(
            f"{here.path}: {self}, unlike in {other}; leave it out with --keep, or score the files into a folder"
        )


def value_type(kind: pa.DataType) -> pa.DataType:
    """Return the type in which a column is written: that of a dictionary's values, and a plain type for a view.

    Dictionaries differ between batches. Not every format can write these, and few can write views.
    """
    kind = plain_type(kind)
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def as_type(array: pa.Array, field: pa.Field) -> pa.Array:
    """Return the values in the type of a field; raise TypeClashError if they do not convert."""
    if array.type.equals(field.type):
        return array
    array = plain_array(array)
    kinds = {_kind(value_type(array.type)), _kind(field.type)}
    try:
        if kinds == _CLOCKS:
            raise pa.ArrowInvalid("one has a time zone and the other none")
        return array.cast(field.type)
    except pa.ArrowException as error:
        raise TypeClashError(
            field.name, f"is {array.type}, which does not convert to the {field.type} of other rows ({error})"
        ) from error


def kept_schema(source: Source, columns: Sequence[str]) -> pa.Schema:
    """Return a schema that has, for each column, a type that holds its values in every file.

    A column without values takes any type. Numbers and times take the wider type, times of two zones become UTC, and
    values of different kinds become text.

    Raises
    ------
    TableError
        If there is no such type; the message names two files.
    """
    return pa.schema([(column, _common_type(source, column)) for column in columns])


def _common_type(source: Source, column: str) -> pa.DataType:
    first: dict[pa.DataType, Path] = {}
    for file in source.files:
        first.setdefault(value_type(file.schema.field(column).type), file.path)
    found = _common(list(first))
    if found is None:
        pairs = combinations(first, 2)
        one, other = next(pair for pair in pairs if _common(pair) is None)
        raise TableError(
            f"column {column!r} is {one} in {first[one]} and {other} in {first[other]}, and no type holds both; leave "
            "it out with --keep, or score the files into a folder"
        )
    return found


def _another(source: Source, path: Path, column: str) -> Path:
    """Return the first file whose column has another type than in ``path``; ``path`` if there is none."""
    types = {file.path: value_type(file.schema.field(column).type) for file in source.files}
    others = [p for p, kind in types.items() if not kind.equals(types[path]) and not pa.types.is_null(kind)]
    return next(iter(others), path)


#: The kinds of timestamps: with a time zone and without.
_CLOCKS = {"instant", "time"}
_AS_TEXT = {*_CLOCKS, "date", "number", "decimal", "truth", "text"}


def _kind(kind: pa.DataType) -> str:
    types = pa.types
    if types.is_timestamp(kind):
        return "time" if kind.tz is None else "instant"
    if types.is_integer(kind) or types.is_floating(kind):
        return "number"
    tests = [("date", types.is_date), ("decimal", types.is_decimal), ("truth", types.is_boolean), ("text", is_text)]
    return next((name for name, is_kind in tests if is_kind(kind)), "other")


def _common(types: Sequence[pa.DataType]) -> pa.DataType | None:
    """Return a type to which all of the types convert, or None."""
    known = [kind for kind in types if not pa.types.is_null(kind)]
    kinds = {_kind(kind) for kind in known}
    if len(kinds) > 1:
        return pa.string() if kinds <= _AS_TEXT and not kinds >= _CLOCKS else None
    if kinds == {"instant"} and len({kind.tz for kind in known}) > 1:
        known = [pa.timestamp(kind.unit, "UTC") for kind in known]
    try:
        schemas = [pa.schema([("", kind)]) for kind in known or [pa.null()]]
        return pa.unify_schemas(schemas, promote_options="permissive").field(0).type
    except pa.ArrowException:
        return None
