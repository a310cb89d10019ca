"""Tables with columns of several kinds as numbers for a network, and back.

A ``numeric`` column stays one number. A ``categorical`` one (text, booleans, categories) becomes one element for each
of its levels, 1 for a row's own and 0 for the others; the first layer's product with them adds a learned vector of the
level, an embedding (Guo and Berkhahn 2016), and the network gives back a probability for each. A ``timestamp`` becomes
two points on circles, its place in the day and in the week, so that Sunday night lies beside Monday morning; how long
ago it was is left out, because every row to come would be later than all training rows (``numeric`` gives just that,
in seconds since 1970).

Levels are known by their text, whatever type a table has for them: a whole number is the same with decimals and
without, and where all levels are true and false, so are yes and no, 1 and 0. Numbers or booleans in a column none of
whose levels can be one are refused by their type: every row would be strange, which says nothing of any.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate
from math import inf
from numbers import Real
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from aefast.cli.terminal import counted
from aefast.columns.times import seconds_since_1970
from aefast.tables.arrow import arrow_array, arrow_text, arrow_values, is_text, plain_array

if TYPE_CHECKING:
    from aefast.engine.core import NetworkSpec

Array = NDArray[Any]

KINDS = ("numeric", "categorical", "timestamp")
#: Levels of a column that are told apart, the most frequent ones; all others are unknown ones.
MAX_LEVELS = 64
#: What a level is called that training rows did not have, or too seldom.
UNKNOWN = "(unknown)"
MISSING = "(missing)"

#: How truth is spelled, in any case.
_TRUTHS = {
    spelling: truth
    for truth, spellings in {"true": ["t", "yes", "y", "on", "1"], "false": ["f", "no", "n", "off", "0"]}.items()
    for spelling in (truth, *spellings)
}
_WHOLE = re.compile(r"-?\d+\.0+")
_HELD = {"numeric": "numbers", "categorical": "categories", "timestamp": "times"}
_DAY, _WEEK = 86_400.0, 604_800.0
_MONDAY = 3 * _DAY  # from a Monday to the first of January 1970
_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")


@dataclass(frozen=True)
class Column:
    """A column of a table.

    ``levels`` are a categorical one's, most frequent first, None being the level of missing values. ``counts`` says how
    many training rows had each, and last how many had none of them.
    """

    name: str
    kind: str
    levels: tuple[str | None, ...] = ()
    counts: tuple[int, ...] = ()

    @property
    def width(self) -> int:
        """How many elements it becomes: of a categorical one a level each and one for unknown levels."""
        return {"numeric": 1, "timestamp": 4}.get(self.kind, len(self.levels) + 1)

    def places_of(self, names: Sequence[str]) -> list[int]:
        """Which of the levels each of these is, or how many there are where it is none.

        Numbers without a fraction are the same with decimals and without, and truth is the same in all its spellings.
        """
        known = [level for level in self.levels if level is not None]
        is_boolean = bool(known) and {level.lower() for level in known} <= {"true", "false"}

        def spelled(name: str) -> str:
            whole = name.partition(".")[0] if _WHOLE.fullmatch(name) else name
            return _TRUTHS.get(whole.strip().lower(), name) if is_boolean else whole

        places = {level: place for place, level in enumerate(self.levels) if level is not None}
        places = {spelled(level): place for level, place in places.items()} | places
        unknown = len(self.levels)
        return [places.get(name, places.get(spelled(name), unknown)) for name in names]

    def refusal(self, kind: Any, *, guessed: bool = False) -> str:
        """Why values of a type (of Arrow or pandas) cannot be levels of this column, whatever they are; empty where
        they can. A type that is ``guessed`` from text may be of codes that look like numbers."""
        known = [level for level in self.levels if level is not None]
        held = _numbers_or_truth(kind)
        if not known or held is None:
            return ""
        named = ["1", "0"] if held == "numbers" else ["True", "False"]
        named += [name.lower() for name in named] if guessed else []
        unknown = len(self.levels)
        if min(self.places_of(named)) < unknown or (held == "numbers" and any(_is_number(c, guessed) for c in known)):
            return ""
        shown = ", ".join(known[:4]) + (", ..." if len(known) > 4 else "")
        return (
            f"column {self.name!r} holds {held} (its type is {kind}), which none of its levels in training is "
            f"({shown}): give it as it was there, or fit again"
        )


def starts(columns: Sequence[Column]) -> list[int]:
    """Where the elements of each column begin."""
    return [0, *accumulate(column.width for column in columns)][:-1]


def encode(table: Any, columns: Sequence[Column], *, masks_missing: bool) -> Array:
    """The rows as numbers (n, D); missing values are NaN, of categorical columns only with ``masks_missing``.

    Raises
    ------
    ValueError
        If the values of a column are not of its kind, or of a type that cannot be its levels; the message names it.
    """
    parts = [_encoded(values, column, masks_missing) for values, column in zip(parts_of(table), columns, strict=True)]
    numbers = [part for column, part in zip(columns, parts, strict=True) if column.kind != "categorical"]
    rows = np.zeros((len(table), sum(column.width for column in columns)), np.result_type(np.float32, *numbers))
    for begin, column, part in zip(starts(columns), columns, parts, strict=True):
        if column.kind != "categorical":
            rows[:, begin : begin + column.width] = part.reshape(len(rows), -1)
            continue
        is_known = part >= 0
        rows[np.flatnonzero(is_known), begin + part[is_known]] = 1
        rows[~is_known, begin : begin + column.width] = np.nan
    return rows


def decode(rows: Array, columns: Sequence[Column]) -> Array:
    """Rows of numbers (n, D) as values of the columns (n, C), an array of objects.

    Numbers are floats, categories the most probable level, times a weekday and a time of day.
    """
    values = np.empty((len(rows), len(columns)), dtype=object)
    for index, (begin, column) in enumerate(zip(starts(columns), columns, strict=True)):
        part = rows[:, begin : begin + column.width]
        if column.kind == "numeric":
            values[:, index] = part[:, 0].astype(np.float64)
        elif column.kind == "categorical":
            values[:, index] = np.asarray(_level_names(column), dtype=object)[part.argmax(axis=1)]
        else:
            values[:, index] = as_objects(_times(part))
    return values


#: What reasons show of cells: numbers, or texts (a list, or an Arrow array) and for each cell which it is.
Shown = Array | tuple[Any, NDArray[np.int64]]


def by_column(
    columns: Sequence[Column], numbers: Array, rows: Array, expected: Array, table: Any
) -> Iterator[tuple[Array, Shown, Shown]]:
    """Of the columns that some reasons (m,) are, where these are, the cells of the table, and what is expected there.

    ``numbers`` and ``rows`` (m,) say which cell a reason is, ``expected`` (m, 4 or fewer) are outputs: the numbers of a
    column in input units, or the number of a level.
    """
    order = np.argsort(numbers.astype(np.min_scalar_type(len(columns))), kind="stable")
    ends = np.searchsorted(numbers[order], np.arange(len(columns)), side="right")
    for column, part, places in zip(columns, parts_of(table), np.split(order, ends[:-1]), strict=True):
        if len(places):
            found = part.iloc[rows[places]] if hasattr(part, "iloc") else part.take(arrow_array(rows[places]))
            yield places, _shown_cells(found, column), _shown_outputs(expected[places], column)


def shown(table: Any, columns: Sequence[Column]) -> Array:
    """The cells of a table as reasons show them (n, C), an array of objects: numbers as floats, else text."""
    values = np.empty((len(table), len(columns)), dtype=object)
    for index, (column, part) in enumerate(zip(columns, parts_of(table), strict=True)):
        values[:, index] = as_objects(_shown_cells(part, column))
    return values


def as_objects(part: Shown) -> Array:
    """Numbers, or the text of each cell."""
    if not isinstance(part, tuple):
        return part
    texts, which = part
    return np.asarray(texts if isinstance(texts, list) else texts.to_pylist(), dtype=object)[which]


def _shown_cells(values: Any, column: Column) -> Shown:
    if column.kind == "numeric":
        return _numbers(values).astype(np.float64)
    if column.kind == "categorical":
        codes, names = levels_of(values)
        return [*names, MISSING], codes
    return _time_texts(values), np.arange(len(values))


def _shown_outputs(outputs: Array, column: Column) -> Shown:
    if column.kind == "numeric":
        return outputs[:, 0].astype(np.float64)
    if column.kind == "categorical":
        return _level_names(column), outputs[:, 0].astype(np.int64)
    return _times(outputs)


def _time_texts(values: Any) -> Any:
    """Times as Python writes them, missing ones by their name: an Arrow array where Arrow writes the same, of whole
    seconds, else a list."""
    if hasattr(values, "iloc"):
        found, is_missing = values.tolist(), values.isna().to_numpy()
    else:
        import pyarrow as pa

        if not pa.types.is_timestamp(values.type) or values.type.tz is None:
            with suppress(pa.ArrowInvalid):  # there are parts of seconds
                whole = values.cast(pa.timestamp("s")) if pa.types.is_timestamp(values.type) else values
                texts = whole.cast(pa.string())
                if isinstance(texts, pa.ChunkedArray):
                    texts = pa.concat_arrays([arrow_text([]), *texts.chunks])
                return texts.fill_null(MISSING) if texts.null_count else texts
        found, is_missing = cells(values), arrow_values(values.is_null())
    return [MISSING if no else str(cell) for cell, no in zip(found, is_missing, strict=True)]


def _level_names(column: Column) -> list[str]:
    return [*(MISSING if level is None else level for level in column.levels), UNKNOWN]


def with_columns(network: NetworkSpec, columns: Sequence[Column], level_weight: float = 1.0) -> NetworkSpec:
    """The network with softmax over the levels of each categorical column, and every column counted once.

    ``level_weight`` is that of a categorical column beside a numeric one.
    """
    ends = [begin + column.width for begin, column in zip(starts(columns), columns, strict=True)]
    places = list(zip(starts(columns), ends, strict=True))
    weights = [level_weight if column.kind == "categorical" else 1.0 / column.width for column in columns]
    return {
        **network,
        "groups": [place for place, column in zip(places, columns, strict=True) if column.kind == "categorical"],
        "columns": [(*place, weight) for place, weight in zip(places, weights, strict=True)],
    }


def is_level(columns: Sequence[Column]) -> NDArray[np.bool_]:
    """Which elements (D,) are levels."""
    return np.repeat([column.kind == "categorical" for column in columns], [column.width for column in columns])


def level_biases(columns: Sequence[Column], biases: Array) -> Array:
    """Initial biases (D,) of the last layer: with them, levels are as probable as they are frequent.

    Half a row more is counted for each, so that one that no row had begins at a probability that is small and not 0.
    """
    biases = biases.copy()
    for begin, column in zip(starts(columns), columns, strict=True):
        if column.kind == "categorical":
            counts = np.asarray(column.counts) + 0.5
            biases[begin : begin + column.width] = np.log(counts / counts.sum())
    return biases


def unknown_levels(rows: Array, columns: Sequence[Column]) -> dict[str, int]:
    """Of each categorical column, how many rows of an `encode` have a level that is none of those told apart."""
    last = {
        c.name: begin + c.width - 1
        for begin, c in zip(starts(columns), columns, strict=True)
        if c.kind == "categorical"
    }
    return {name: int(np.count_nonzero(rows[:, element] == 1)) for name, element in last.items()}


def by_kind(columns: Sequence[Column], of: str = "") -> list[tuple[str, str]]:
    """Of each kind that there is, the columns that are of it; ``of`` says where levels come from."""
    found = []
    for kind in KINDS:
        levels = [
            f" ({counted(len(column.levels), 'levels')}{of})" if kind == "categorical" else "" for column in columns
        ]
        names = [column.name + text for column, text in zip(columns, levels, strict=True) if column.kind == kind]
        found += [(kind, ", ".join(names))] if names else []
    return found


def levels_of_each(columns: Sequence[Column], most: int = 8) -> list[tuple[str, str]]:
    """Of each categorical column, its first levels in words."""
    found = []
    for column in columns:
        if column.kind == "categorical":
            *levels, _ = _level_names(column)
            more = f" and {len(levels) - most} more" if len(levels) > most else ""
            found.append((f"levels of {column.name}", (", ".join(levels[:most]) or "none") + more))
    return found


def cells(values: Any) -> list[Any]:
    """Arrow values as Python's; what it has none for, such as times of unknown zones or bad text, as Arrow's text."""
    try:
        return list(values.to_pylist())
    except (ValueError, OverflowError):
        return [_cell(values.slice(index, 1)) for index in range(len(values))]


def _cell(value: Any) -> Any:
    """What is in an array of length 1."""
    import pyarrow as pa

    try:
        return value[0].as_py()
    except (ValueError, OverflowError):
        kind = value.type
    try:
        if pa.types.is_timestamp(kind):
            value = value.cast(pa.timestamp(kind.unit))
        elif pa.types.is_string(kind) or pa.types.is_large_string(kind):
            return value.cast(pa.binary())[0].as_py().decode(errors="replace")
        return value.cast(pa.string())[0].as_py()
    except (pa.ArrowException, ValueError):
        return f"({kind})"


def level_name(value: Any) -> str:
    """The text that stands for a level, the same whatever type of table it comes from."""
    if isinstance(value, bool | np.bool_):
        return str(bool(value))
    if isinstance(value, Real) and not isinstance(value, str):
        number = float(value)
        return str(int(number)) if number.is_integer() and abs(number) < inf else repr(number)
    return str(value)


# What pandas and Arrow each know of a column.


def infer_kind(values: Any) -> str | None:
    """The kind of a pandas or an Arrow column by its type, None for one that cannot be learned."""
    if not hasattr(values, "iloc"):
        return kind_of_type(values.type)
    kind = values.dtype.kind
    if kind in "iuf":
        return "numeric"
    if kind == "M":
        return "timestamp"
    if str(values.dtype) == "category" or kind == "b":
        return "categorical"
    if kind not in "OTUS":
        return None
    import pandas as pd

    found = pd.api.types.infer_dtype(values, skipna=True)
    if found in ("integer", "floating", "mixed-integer-float", "decimal", "empty"):
        return "numeric"
    if found in ("string", "boolean"):
        return "categorical"
    return "timestamp" if found in ("datetime", "datetime64", "date") else None


def kind_of_type(kind: Any) -> str | None:
    """The kind of an Arrow column by its type alone."""
    from pyarrow import types

    if types.is_dictionary(kind):
        return kind_of_type(kind.value_type) and "categorical"
    if types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind) or types.is_null(kind):
        return "numeric"
    if types.is_boolean(kind) or is_text(kind):
        return "categorical"
    return "timestamp" if types.is_timestamp(kind) or types.is_date(kind) else None


def _numbers_or_truth(kind: Any) -> str | None:
    """What values of an Arrow or pandas type, or of its categories, are, if one of these."""
    if hasattr(kind, "num_fields"):
        from pyarrow import types

        kind = kind.value_type if types.is_dictionary(kind) else kind
        is_number = types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind)
        is_truth = types.is_boolean(kind)
    else:
        kind = kind.categories.dtype if str(kind) == "category" else kind
        is_number, is_truth = kind.kind in "iuf", kind.kind == "b"
    return "numbers" if is_number else "booleans" if is_truth else None


def _is_number(level: str, as_text: bool) -> bool:
    """Whether a number has this name or, of a number that is text, may have."""
    try:
        number = float(level)
        return as_text or level_name(number) == level
    except (ValueError, OverflowError):
        return False


def names_of(table: Any) -> list[str]:
    """What the columns of a data frame or an Arrow table are called."""
    return [str(name) for name in (table.columns if hasattr(table, "iloc") else table.column_names)]


def parts_of(table: Any) -> list[Any]:
    """Its columns; those of a data frame that are of Arrow's types as Arrow has them."""
    if not hasattr(table, "iloc"):
        return list(table.columns)
    parts = [table.iloc[:, index] for index in range(table.shape[1])]
    return [
        plain_array(part.array.__arrow_array__()) if hasattr(part.dtype, "pyarrow_dtype") else part for part in parts
    ]


def type_of(values: Any) -> Any:
    """The type of a column in the words of pandas or Arrow."""
    return values.dtype if hasattr(values, "iloc") else values.type


def has_values(values: Any) -> bool:
    """Whether some values of a column are not missing."""
    return bool(values.notna().any() if hasattr(values, "iloc") else values.null_count < len(values))


def _nulls(n: int) -> Any:
    import pyarrow as pa

    return pa.chunked_array([pa.nulls(n)])


def _encoded(values: Any, column: Column, masks_missing: bool) -> Array:
    """Numbers (n,), points on circles (n, 4), or of a categorical column the number of each row's level, -1 where it is
    masked."""
    try:
        if column.kind == "numeric":
            return _numbers(values)
        if column.kind == "timestamp":
            return _circles(seconds_since_1970(values))
        codes, names = levels_of(values)
    except (ValueError, TypeError, OverflowError, NotImplementedError) as error:
        if not has_values(values):  # of whatever type
            return _encoded(_nulls(len(values)), column, masks_missing)
        raise ValueError(
            f"column {column.name!r} does not hold {_HELD[column.kind]} (its type is {type_of(values)}): "
            f"{' '.join(str(error).split())}"
        ) from error
    refusal = column.refusal(type_of(values)) if names else ""
    if refusal:
        raise ValueError(refusal)
    missing = column.levels.index(None) if None in column.levels else len(column.levels)
    return np.asarray([*column.places_of(names), -1 if masks_missing else missing], dtype=np.int64)[codes]


def levels_of(values: Any) -> tuple[NDArray[np.int64], list[str]]:
    """For each row the number of its level (that of a missing value is the number of levels), and the levels' names."""
    if hasattr(values, "iloc"):
        codes, uniques = values.factorize()
        names = [level_name(level) for level in uniques]
    else:
        import pyarrow as pa

        encoded = values if pa.types.is_dictionary(values.type) else values.dictionary_encode()
        encoded = encoded.unify_dictionaries().combine_chunks() if isinstance(encoded, pa.ChunkedArray) else encoded
        if isinstance(encoded, pa.ChunkedArray):  # older versions of Arrow leave one chunk, or none
            encoded = encoded.chunk(0) if encoded.num_chunks else pa.array([], encoded.type)
        names = [level_name(level) for level in cells(encoded.dictionary)]
        codes = np.nan_to_num(arrow_values(encoded.indices), nan=-1)
    codes = codes.astype(np.int64)
    return np.where(codes < 0, len(names), codes), names


def _numbers(values: Any) -> Array:
    if hasattr(values, "iloc"):
        if values.dtype.kind == "M":
            return seconds_since_1970(values)
        if values.dtype == np.float32:
            return np.asarray(values)
        numbers: Array = (
            values.astype("object").astype("float64").to_numpy()
            if _is_object(values)
            else values.to_numpy(dtype=np.float64, na_value=np.nan)
        )
        return numbers
    import pyarrow as pa

    if pa.types.is_timestamp(values.type) or pa.types.is_date(values.type):
        return seconds_since_1970(values)
    keeps = pa.types.is_float32(values.type) or pa.types.is_float16(values.type)
    if pa.types.is_boolean(values.type):
        values = values.cast(pa.uint8())
    return arrow_values(values if keeps else values.cast(pa.float64(), safe=False))


def _is_object(values: Any) -> bool:
    return bool(values.dtype.kind in "OTUS")


def _circles(seconds: NDArray[np.float64]) -> NDArray[np.float64]:
    day, week = (2 * np.pi * seconds / _DAY) % (2 * np.pi), (2 * np.pi * (seconds + _MONDAY) / _WEEK) % (2 * np.pi)
    return np.column_stack([np.sin(day), np.cos(day), np.sin(week), np.cos(week)])


def _times(points: Array) -> Shown:
    """Points on the circles of the day and the week (n, 4) as a weekday and a time."""
    of_day = np.arctan2(points[:, 0], points[:, 1]) / (2 * np.pi) % 1
    of_week = np.arctan2(points[:, 2], points[:, 3]) / (2 * np.pi) % 1
    minutes = np.round(of_day * 1440).astype(np.int64) % 1440
    # The weekday in which this time is closest to that place in the week.
    days = np.round(of_week * 7 - minutes / 1440).astype(np.int64) % 7
    return _minutes_of_the_week(), days * 1440 + minutes


@lru_cache(maxsize=1)
def _minutes_of_the_week() -> list[str]:
    return [f"{day} {hour:02d}:{minute:02d}" for day in _DAYS for hour in range(24) for minute in range(60)]
