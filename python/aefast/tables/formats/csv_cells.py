"""Converts cells of CSV files that Arrow's reader does not understand: marked numbers, other times, missing text."""

from __future__ import annotations

import re
from collections.abc import Collection
from math import inf
from typing import Any

import pyarrow as pa

from aefast.tables.dialect import (
    DURATION,
    EPOCHS,
    FRACTIONAL_CLOCK,
    MISSING_NUMBERS,
    MISSING_TEXTS,
    CellFormat,
    Dialect,
)
from aefast.tables.text import NUMBER

_ISO_TIME = r"^\d{4}-\d{2}-\d{2}([T ]\d{2}(:\d{2}(:\d{2}(\.\d+)?)?)?(Z|[+-]\d{2}:?\d{2})?)?$"
#: A format of times of the day.
_CLOCK = re.compile(r"%[HI]([:. ]?%[MSp])*")


class BadCellError(Exception):
    """A cell is not written in the format of its column; ``row`` counts from the start of the batch."""

    row: int
    cell: str

    def __init__(self, row: int, cell: str, what: str) -> None:
        super().__init__(f"{cell[:30]!r} is not {what}")
        self.row, self.cell = row, cell


#: The parts of a duration; the last two stand for hours and minutes, or minutes and seconds.
_DURATION = (
    r"^(?P<sign>[-+]?)(?:(?P<days>\d+) days?,? )?\+?"
    r"(?:(?P<hours>\d+):)?(?P<minutes>\d+):(?P<seconds>\d+(?:\.\d+)?)$"
)


def converted_type(of: CellFormat) -> pa.DataType:
    """Return the type that `read_cells` returns for a format."""
    if of.kind == "number":
        return pa.float64()
    if of.time_format == FRACTIONAL_CLOCK:
        return pa.time64("us")
    if _CLOCK.fullmatch(of.time_format):
        return pa.time32("s")
    return pa.timestamp("us", "UTC" if "%z" in of.time_format else None)


def read_cells(cells: pa.Array, of: CellFormat) -> pa.Array:
    """Return text as the numbers or times that it means; raise `BadCellError` for the first cell that is neither."""
    cells = _without_missing(cells, of)
    if of.time_format == DURATION:
        bare, what = cells, "a duration like 1:59:59"
    elif of.kind == "number":
        bare, what = _bare_numbers(cells, of), "a number"
    else:
        bare, what = cells, f"a time like {of.time_format or '2024-12-31 23:59'}"

    def parse(texts: pa.Array) -> pa.Array:
        return _parse(texts, of)

    try:
        return parse(bare)
    except pa.ArrowInvalid:
        # The first cell that does not parse ends the shortest failing beginning of the column.
        good, bad = 0, len(bare)
        while bad - good > 1:
            middle = (good + bad) // 2
            try:
                parse(bare.slice(good, middle - good))
                good = middle
            except pa.ArrowInvalid:
                bad = middle
        raise BadCellError(good, cells[good].as_py(), what) from None


def _parse(texts: pa.Array, of: CellFormat) -> pa.Array:
    """Return text as numbers or times; raise `pyarrow.ArrowInvalid` if a cell is neither."""
    import pyarrow.compute as pc

    if of.time_format == DURATION:
        found = _seconds(texts)
        if found.null_count > texts.null_count:
            raise pa.ArrowInvalid("not a duration")
        return found
    if of.time_format in EPOCHS:
        counts = pc.multiply(texts.cast(pa.float64()), 1_000_000 / EPOCHS[of.time_format])
        return pc.round(counts).cast(pa.int64()).cast(converted_type(of))
    if of.time_format == FRACTIONAL_CLOCK:
        return _on_first_day(texts).cast(pa.timestamp("us")).cast(pa.time64("us"))
    if of.time_format:
        return pc.strptime(texts, of.time_format, "us").cast(converted_type(of))
    if of.kind == "time" and of.decimal == ",":
        texts = pc.replace_substring(texts, ",", ".")
    return texts.cast(converted_type(of))


def _on_first_day(texts: pa.Array) -> pa.Array:
    """Return times of the day as times on 1 January 1970, both as text."""
    import pyarrow.compute as pc

    return pc.binary_join_element_wise(pa.scalar("1970-01-01", texts.type), texts, pa.scalar(" ", texts.type))


def _seconds(texts: pa.Array) -> pa.Array:
    """Return durations as seconds, null for other text."""
    import pyarrow.compute as pc

    parts = pc.extract_regex(texts, _DURATION)
    sign, *numbers = (pc.struct_field(parts, name) for name in ("sign", "days", "hours", "minutes", "seconds"))
    days, hours, minutes, seconds = (
        pc.if_else(pc.equal(each, ""), pa.scalar("0", each.type), each).cast(pa.float64()) for each in numbers
    )
    found = pc.add(pc.multiply(pc.add(pc.multiply(pc.add(pc.multiply(days, 24), hours), 60), minutes), 60), seconds)
    return pc.if_else(pc.equal(sign, "-"), pc.negate(found), found)


def read_what_can_be(cells: pa.Array, of: CellFormat) -> pa.Array:
    """Return text as the numbers or times that it means; other cells are infinite numbers or missing times."""
    import pyarrow.compute as pc

    cells = _without_missing(cells, of)
    kind = converted_type(of)
    if of.time_format == DURATION:
        found = _seconds(cells)
        return pc.if_else(pc.and_(found.is_null(), cells.is_valid()), pa.scalar(inf), found)
    if of.time_format in EPOCHS:
        return _parse(
            pc.if_else(pc.match_substring_regex(cells, r"^\d{1,15}(\.\d+)?$"), cells, pa.scalar(None, cells.type)), of
        )
    if of.kind == "number":
        bare = _bare_numbers(cells, of)
        is_number = pc.match_substring_regex(bare, rf"^\s*{NUMBER}\s*$")
        return pc.if_else(is_number, bare, pa.scalar("inf", cells.type)).cast(kind)
    if of.time_format == FRACTIONAL_CLOCK:
        return _cast_what_can_be(_on_first_day(cells), pa.timestamp("us")).cast(kind)
    if of.time_format:
        return pc.strptime(cells, of.time_format, "us", error_is_null=True).cast(kind)
    cells = pc.replace_substring(cells, ",", ".") if of.decimal == "," else cells
    cells = pc.if_else(pc.match_substring_regex(cells, _ISO_TIME), cells, pa.scalar(None, cells.type))
    return _cast_what_can_be(cells, kind)


def _cast_what_can_be(cells: pa.Array, kind: pa.DataType) -> pa.Array:
    """Return text as times, halved until only the cells are null that are no time."""
    try:
        return cells.cast(kind)
    except pa.ArrowInvalid:
        half = len(cells) // 2
        parts = [cells.slice(0, half), cells.slice(half)] if half else []
        return pa.concat_arrays([_cast_what_can_be(part, kind) for part in parts]) if parts else pa.nulls(1, kind)


def _without_missing(cells: pa.Array, of: CellFormat) -> Any:
    """Return text without blanks around it, with null in place of the cells that mean no value."""
    import pyarrow.compute as pc

    return without_tokens(pc.utf8_trim_whitespace(cells), {*MISSING_TEXTS, *MISSING_NUMBERS, *of.missing})


def with_separators(cells: pa.Array, dialect: Dialect) -> pa.Array:
    """Return text in which separators between quotes are written as in the file, and not as their mark."""
    import pyarrow.compute as pc

    return pc.replace_substring(cells, dialect.mark, dialect.delimiter)


def without_tokens(cells: pa.Array, tokens: Collection[str]) -> pa.Array:
    """Return text with null in place of the cells that mean no value."""
    import pyarrow.compute as pc  # takes a tenth of the start of a command

    is_missing = pc.is_in(cells, value_set=pa.array(sorted(tokens), cells.type))
    return pc.if_else(is_missing, pa.scalar(None, cells.type), cells) if is_missing.true_count else cells


def _bare_numbers(cells: pa.Array, of: CellFormat) -> Any:
    """Return text of numbers with nothing but the digits, signs and a decimal point."""
    import pyarrow.compute as pc

    if of.brackets:
        cells = pc.replace_substring_regex(cells, r"^([^0-9(]*)\((.*)\)$", r"-\1\2")
    cells = pc.replace_substring_regex(cells, r"^(\d.*)-$", r"-\1")
    before, after = (rf"(?:{re.escape(part)})?" if part else "" for part in (of.before, of.after))
    blanks = r"[\s\x{a0}\x{202f}]*"
    bare = pc.replace_substring_regex(cells, rf"^\+?(-?){blanks}{before}{blanks}(.*?){blanks}{after}$", r"\1\2")
    if of.thousands:
        bare = pc.replace_substring(bare, of.thousands, "")
    return pc.replace_substring(bare, ",", ".") if of.decimal == "," else bare
