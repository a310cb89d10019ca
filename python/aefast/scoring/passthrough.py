"""Columns that are handed on beside scores: of one type each, also where several files become one."""

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
        """The same with the file in which it was met, at a row, and another in which the type is not the same."""
        here = source.file_of(row)
        other = _another(source, here.path, self.column)
        return TableError(
            f"{here.path}: {self}, unlike in {other}; leave it out with --keep, or score the files into a folder"
        )


def value_type(kind: pa.DataType) -> pa.DataType:
    """Dictionaries differ from batch to batch, which not every format can write, and few can views; their values
    always can."""
    kind = plain_type(kind)
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def as_type(array: pa.Array, field: pa.Field) -> pa.Array:
    """The values as those of a field: the same numbers, points in time or text; TypeClashError where they cannot be."""
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
    """The columns with types that hold what is in them in every file.

    Columns without a value take any type, numbers or times the wider one, times of two zones that of UTC; what is of
    different kinds becomes text.

    Raises
    ------
    TableError
        Where there is no such type, with the names of two files.
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
    """The first file with values of another type in the column than that one has."""
    types = {file.path: value_type(file.schema.field(column).type) for file in source.files}
    others = [p for p, kind in types.items() if not kind.equals(types[path]) and not pa.types.is_null(kind)]
    return next(iter(others), path)


#: What has a time zone and what has none.
_CLOCKS = {"instant", "time"}
_AS_TEXT = {*_CLOCKS, "date", "number", "decimal", "truth", "text"}


def _kind(kind: pa.DataType) -> str:
    types = pa.types
    if types.is_timestamp(kind):
        return "time" if kind.tz is None else "instant"
    if types.is_integer(kind) or types.is_floating(kind):
        return "number"
    told = [("date", types.is_date), ("decimal", types.is_decimal), ("truth", types.is_boolean), ("text", is_text)]
    return next((name for name, is_kind in told if is_kind(kind)), "other")


def _common(types: Sequence[pa.DataType]) -> pa.DataType | None:
    """The type that all of them turn into, or None."""
    told = [kind for kind in types if not pa.types.is_null(kind)]
    kinds = {_kind(kind) for kind in told}
    if len(kinds) > 1:
        return pa.string() if kinds <= _AS_TEXT and not kinds >= _CLOCKS else None
    if kinds == {"instant"} and len({kind.tz for kind in told}) > 1:
        told = [pa.timestamp(kind.unit, "UTC") for kind in told]
    try:
        schemas = [pa.schema([("", kind)]) for kind in told or [pa.null()]]
        return pa.unify_schemas(schemas, promote_options="permissive").field(0).type
    except pa.ArrowException:
        return None
