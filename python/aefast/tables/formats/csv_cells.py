"""Converts cells of CSV files that Arrow's reader does not understand: marked numbers, other times, missing text."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from math import inf
from typing import Any

import pyarrow as pa

from aefast.tables.arrow import is_time
from aefast.tables.cell_formats import ALWAYS_MISSING, MAX_WORDS, format_of_cells, others
from aefast.tables.dialect import (
    AGREEING,
    DURATION,
    EPOCHS,
    FRACTIONAL_CLOCK,
    MISSING_NUMBERS,
    MISSING_TEXTS,
    MULTIPLE,
    MULTIPLES,
    SPELLED,
    SPELLED_DURATION,
    CellFormat,
    Dialect,
    Reading,
)
from aefast.tables.formats.base import BAD_ROW
from aefast.tables.text import NUMBER
from aefast.tables.time_words import has_names, in_english, needs_python, parse_time

_ISO_TIME = r"^\d{4}-\d{2}-\d{2}([T ]\d{2}(:\d{2}(:\d{2}(\.\d+)?)?)?(Z|[+-]\d{2}:?\d{2})?)?$"
#: The part of a format that stands for fractions of seconds.
_FRACTION = re.compile(r"(.*)([.,:])%f(.*)")
#: A format of times of the day.
_CLOCK = re.compile(r"%[HI]([:. ]?%[MSp])*([.,:]%f)?")


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
_DURATIONS = {DURATION: _DURATION, SPELLED_DURATION: SPELLED}
_MULTIPLE = rf"^(?P<number>.*\d)\s?(?P<unit>{MULTIPLE})?$"


def converted_type(of: CellFormat) -> pa.DataType:
    """Return the type that `read_cells` returns for a format."""
    if of.kind == "number":
        return pa.float64()
    if "%f" in of.time_format and _CLOCK.fullmatch(of.time_format):
        return pa.time64("us")
    if _CLOCK.fullmatch(of.time_format):
        return pa.time32("s")
    return pa.timestamp("us", "UTC" if "%z" in of.time_format else None)


def read_cells(cells: pa.Array, of: CellFormat) -> pa.Array:
    """Return text as the numbers or times that it means; raise `BadCellError` for the first cell that is neither."""
    cells = _without_missing(cells, of)
    if of.time_format in _DURATIONS:
        bare, what = cells, "a duration like 1:59:59"
    elif of.kind == "number":
        bare, what = cells if of.multiples else _bare_numbers(cells, of), "a number"
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

    if of.time_format in _DURATIONS:
        found = _seconds(texts, _DURATIONS[of.time_format])
        if found.null_count > texts.null_count:
            raise pa.ArrowInvalid("not a duration")
        return found
    if of.time_format in EPOCHS:
        counts = pc.multiply(texts.cast(pa.float64()), 1_000_000 / EPOCHS[of.time_format])
        return pc.round(counts).cast(pa.int64()).cast(converted_type(of))
    if of.time_format == FRACTIONAL_CLOCK:
        return _on_first_day(texts).cast(pa.timestamp("us")).cast(pa.time64("us"))
    if of.time_format:
        return _times(texts, of.time_format, error_is_null=False).cast(converted_type(of))
    if of.multiples:
        numbers, factors = _multiples(texts)
        return pc.multiply(_bare_numbers(numbers, of).cast(pa.float64()), factors)
    if of.kind == "time" and of.decimal == ",":
        texts = pc.replace_substring(texts, ",", ".")
    return texts.cast(converted_type(of))


def _on_first_day(texts: pa.Array) -> pa.Array:
    """Return times of the day as times on 1 January 1970, both as text."""
    import pyarrow.compute as pc

    return pc.binary_join_element_wise(pa.scalar("1970-01-01", texts.type), texts, pa.scalar(" ", texts.type))


def _times(texts: pa.Array, time_format: str, *, error_is_null: bool) -> pa.Array:
    """Return text as times; raise `pyarrow.ArrowInvalid` for other text, or return null if ``error_is_null``."""
    import pyarrow.compute as pc

    if needs_python(time_format):
        return _each(texts, lambda text: parse_time(text, time_format), pa.timestamp("us"), error_is_null)
    fractions = None
    if (parts := _FRACTION.fullmatch(time_format)) and time_format != FRACTIONAL_CLOCK:
        time_format = parts[1] + parts[3]
        pattern = rf"^(?P<before>.*\d){re.escape(parts[2])}(?P<fraction>\d{{1,9}})(?P<after>\D*(?:[-+]\d\d:?\d\d\D*)?)$"
        found = pc.extract_regex(texts, pattern)
        before, fraction, after = (pc.struct_field(found, name) for name in ("before", "fraction", "after"))
        whole = pc.binary_join_element_wise(before, after, pa.scalar("", texts.type))
        digits = pc.binary_join_element_wise(pa.scalar("0.", texts.type), fraction, pa.scalar("", texts.type))
        microseconds = pc.floor(pc.multiply(digits.cast(pa.float64()), 1e6 + 1e-3)).cast(pa.int64())
        fractions = pc.fill_null(microseconds, 0)
        texts = pc.if_else(found.is_valid(), whole, texts)
    try:
        times = pc.strptime(texts, time_format, "us", error_is_null=error_is_null and not has_names(time_format))
    except pa.ArrowInvalid:
        if not has_names(time_format):
            raise
        texts = _each(texts, lambda text: in_english(text, time_format), texts.type, error_is_null)
        times = pc.strptime(texts, time_format, "us", error_is_null=error_is_null)
    return times if fractions is None else pc.add(times.cast(pa.int64()), fractions).cast(pa.timestamp("us"))


def _each(texts: pa.Array, function: Callable[[str], Any], kind: pa.DataType, error_is_null: bool) -> pa.Array:
    """Return what a function makes of each different text; raise `pyarrow.ArrowInvalid` if it raises `ValueError`."""
    encoded = texts.dictionary_encode()
    found = []
    for text in encoded.dictionary.to_pylist():
        try:
            found.append(function(text))
        except ValueError as error:
            if not error_is_null:
                raise pa.ArrowInvalid(str(error)) from error
            found.append(None)
    return pa.array(found, kind).take(encoded.indices)


def _multiples(texts: pa.Array) -> tuple[pa.Array, pa.Array]:
    """Return numbers without what multiplies them, and the factors."""
    import pyarrow.compute as pc

    parts = pc.extract_regex(texts, _MULTIPLE)
    units = pc.fill_null(pc.struct_field(parts, "unit"), "")
    place = pc.index_in(units, value_set=pa.array([*MULTIPLES], texts.type))
    factors = pc.fill_null(pa.array([*MULTIPLES.values()]).take(place), 1.0)
    return pc.if_else(parts.is_valid(), pc.struct_field(parts, "number"), texts), factors


def _seconds(texts: pa.Array, pattern: str) -> pa.Array:
    """Return durations as seconds, null for other text."""
    import pyarrow.compute as pc

    parts = pc.extract_regex(texts, pattern)
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
    if of.time_format in _DURATIONS:
        found = _seconds(cells, _DURATIONS[of.time_format])
        return pc.if_else(pc.and_(found.is_null(), cells.is_valid()), pa.scalar(inf), found)
    if of.time_format in EPOCHS:
        return _parse(
            pc.if_else(pc.match_substring_regex(cells, r"^\d{1,15}(\.\d+)?$"), cells, pa.scalar(None, cells.type)), of
        )
    if of.kind == "number":
        numbers, factors = _multiples(cells) if of.multiples else (cells, 1.0)
        bare = _bare_numbers(numbers, of)
        is_number = pc.match_substring_regex(bare, rf"^\s*{NUMBER}\s*$")
        return pc.multiply(pc.if_else(is_number, bare, pa.scalar("inf", cells.type)).cast(kind), factors)
    if of.time_format == FRACTIONAL_CLOCK:
        return _cast_what_can_be(_on_first_day(cells), pa.timestamp("us")).cast(kind)
    if of.time_format:
        return _times(cells, of.time_format, error_is_null=True).cast(kind)
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

    cells = pc.replace_substring(cells, "−", "-")
    if of.flags:
        cells = pc.replace_substring_regex(cells, rf"\s*(?:{'|'.join(map(re.escape, of.flags))})$", "")
    before, after = (rf"(?:{re.escape(part)})?" if part else "" for part in (of.before, of.after))
    blanks = r"[\s\x{a0}\x{202f}]*"
    if of.brackets:
        cells = pc.replace_substring_regex(cells, rf"^([^0-9(]*)\((.*)\){blanks}{after}$", r"-\1\2")
    cells = pc.replace_substring_regex(cells, rf"^(\d.*)-{blanks}{after}$", r"-\1")
    bare = pc.replace_substring_regex(cells, rf"^\+?(-?){blanks}{before}{blanks}(.*?){blanks}{after}$", r"\1\2")
    if of.thousands:
        bare = pc.replace_substring(bare, of.thousands, "")
    bare = pc.replace_substring(bare, ",", ".") if of.decimal == "," else bare
    return pc.replace_substring_regex(bare, r"^(.*[\d.])[dD]([-+]?\d+)$", r"\1e\2")


def without_marks(batch: pa.RecordBatch, marker: str) -> tuple[pa.RecordBatch, pa.Array]:
    """Return a batch with null where the marker is marked, and which rows these are."""
    import pyarrow.compute as pc

    index = batch.schema.get_field_index(marker)
    cells = batch.column(index)
    marks = pc.fill_null(pc.equal(cells, pa.scalar(BAD_ROW, cells.type)), fill_value=False)
    return batch.set_column(index, marker, pc.if_else(marks, pa.scalar(None, cells.type), cells)), marks


def type_of_guess(kind: pa.DataType) -> pa.DataType:
    """Return the type of a column for Arrow's guess: text, if its first cells are blank; times with fractions."""
    if pa.types.is_timestamp(kind) and kind.unit == "s":
        return pa.timestamp("us", kind.tz)
    return pa.string() if pa.types.is_null(kind) else kind


def format_of_type(kind: pa.DataType, dialect: Dialect) -> CellFormat | None:
    """Return how cells of a column of this type are written; None if any text fits it."""
    if pa.types.is_integer(kind) or pa.types.is_floating(kind):
        return CellFormat("number", decimal=dialect.decimal)
    return CellFormat("time") if is_time(kind) else None


def needs_conversion(cells: CellFormat, guess: pa.DataType) -> bool:
    """Return whether Arrow misreads numbers or times in a column of this guessed type."""
    is_text = cells.kind in ("text", "code")
    return not is_text and (not cells.is_plain or bool(pa.types.is_string(guess)))


def may_be_number(kind: pa.DataType) -> bool:
    """Whether cells of this type, as guessed from the first of them, can be read as numbers."""
    return not (pa.types.is_boolean(kind) or is_time(kind))


def widened_formats(
    block: pa.RecordBatch, formats: Mapping[str, CellFormat], known: Reading, delimiter: str
) -> dict[str, CellFormat]:
    """Return the formats of columns of numbers and times, changed if more cells of a block can be read then.

    Numbers may have marks between thousands, for instance. Words are missing values only if they occur twice. Numbers
    are text if many cells are other ones, and times if several other cells differ.
    """
    found = dict(formats)
    for name, of in formats.items():
        try:
            read_cells(block.column(name), of)
        except BadCellError:
            if of.kind == "time":
                if known.on_bad == "error" and not known.time_format and known.kinds.get(name) != "timestamp":
                    unread = read_what_can_be(block.column(name), of).is_null()
                    odd = _without_missing(block.column(name), of).filter(unread).drop_null().unique()
                    found[name] = CellFormat("text") if len(odd) > MAX_WORDS else of
                continue
            counts = Counter(map(str.strip, block.column(name).drop_null().to_pylist()))
            wider = format_of_cells([*counts.elements()], known, delimiter, name)
            least = 2 if known.on_bad == "error" else inf
            if wider.kind == "number" and all(counts[word] >= least for word in {*wider.missing} - {*of.missing}):
                found[name] = wider
            elif wider.kind == "text" and known.on_bad == "error" and known.kinds.get(name) != "numeric":
                filled = {cell: n for cell, n in counts.items() if cell not in {*ALWAYS_MISSING, *of.missing}}
                n_odd = sum(filled[cell] for cell in others(filled, of, 0) or ())
                found[name] = wider if n_odd > (1 - AGREEING) * sum(filled.values()) else of
    return found
