"""Finds how the cells of a column are written: numbers with marks and units, times in many forms, codes of digits."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace

from aefast.tables.dialect import (
    AGREEING,
    DURATION,
    EPOCHS,
    MISSING_NUMBERS,
    MISSING_TEXTS,
    SPELLED_DURATION,
    CellFormat,
    Reading,
)
from aefast.tables.number_formats import are_floats, are_grouped_by_points, is_number, number_candidates
from aefast.tables.time_formats import (
    COMPACT,
    DURATION_CELL,
    TRIED,
    candidate_formats,
    is_spelled_duration,
    is_time,
)

ALWAYS_MISSING = frozenset((*MISSING_TEXTS, *MISSING_NUMBERS))
#: The most different words among the numbers or times of a column that are read as missing.
MAX_WORDS = 3

_HEXADECIMAL = re.compile(r"0[xX][0-9a-fA-F]+")
_FRACTIONAL_EPOCH = re.compile(r"1\d{9}\.\d+")
#: Names of columns whose large numbers are seconds or milliseconds since 1970.
_TIME_NAME = re.compile(
    r"time|date|epoch|stamp|created|modified|(^|[^a-z])(ts|utc)($|[^a-z])|[a-z](_a|A)t$", re.IGNORECASE
)
#: Names of columns whose six digits are dates, or times of the day.
_SHORT = re.compile(r"(date|datum|fecha)|(time|utc|zeit|uhr|heure|hora)", re.IGNORECASE)
#: Names of columns whose digits are no quantity.
_CODE_NAME = re.compile(
    r"(^|[^a-z])(zip|postal|phone|fax|mobile|tel|post(?=.?(code|no|num)))(.?(code|no|number))?[^a-z]*$", re.IGNORECASE
)
#: Names of columns in which a zero before one digit shows that it is no quantity, as it does before several.
_SHORT_CODE_NAME = re.compile(
    r"code|codice|c[oó]digo|schl(ü|ue)ssel|kennziffer|(^|[^a-z])(cod|fips|insee)($|[^a-z])", re.IGNORECASE
)
#: The fewest different numbers in a column of numbers that may have a word in many cells.
_MANY = 20


def format_of_cells(cells: Sequence[str], known: Reading, delimiter: str, name: str = "") -> CellFormat:
    """Return the format of a column's cells.

    Parameters
    ----------
    cells : sequence of str
    known : Reading
    delimiter : str
        The separator of the file, which makes some decimal marks more probable.
    name : str
        The column's name, which decides whether digits alone are numbers, times or codes.
    """
    tokens = ALWAYS_MISSING.union(known.missing)
    values = [cell for cell in map(str.strip, cells) if cell not in tokens]
    words = {*map(str.strip, cells)} & tokens - {""}
    found = None
    if values:
        found = (
            _digits_format(values, known.kinds.get(name), name)
            or _number_format(values, known, delimiter)
            or _time_format(values, known, name)
        )
    if found is not None and known.kinds.get(name) == "categorical" and not found.is_plain and found.kind != "code":
        found = None  # its levels are text, as they are written
    if found is None or found.kind == "code":
        # Only these are missing in text.
        missing = tuple(sorted(words & {*MISSING_TEXTS, *known.missing}))
        return CellFormat("text" if found is None else "code", missing=missing)
    return replace(found, missing=tuple(sorted({*found.missing, *words})))


def others(cells: Iterable[str], of: CellFormat, most: int) -> Collection[str] | None:
    """Return the different cells that are not written in a format; None if there are more than ``most``."""
    found = set()
    for cell in cells:
        if not _fits(cell, of):
            found.add(cell)
            if len(found) > most > 0:
                return None
    return found


def _fits(cell: str, of: CellFormat) -> bool:
    if of.time_format == SPELLED_DURATION:
        return is_spelled_duration(cell)
    if of.time_format == DURATION:
        return DURATION_CELL.fullmatch(cell) is not None
    if of.time_format in EPOCHS or of.kind == "code":
        return cell.isdecimal() or are_floats([cell])
    return is_number(cell, of) if of.kind == "number" else is_time(cell, of)


def _digits_format(cells: Sequence[str], kind: str | None, name: str) -> CellFormat | None:
    """Return the format of digits that are no quantity: times, or codes, such as those with zeros in front."""
    digits = [cell for cell in cells if cell.isdecimal()]
    has_time = kind in (None, "timestamp") and _TIME_NAME.search(name) is not None
    if has_time and all(map(_FRACTIONAL_EPOCH.fullmatch, cells)):
        return CellFormat("time", time_format="epoch seconds")
    if kind == "numeric" or len(digits) < AGREEING * len(cells):
        return CellFormat("code") if kind != "numeric" and all(map(_HEXADECIMAL.fullmatch, cells)) else None
    words = {*cells}.difference(digits)
    lengths = {*map(len, digits)}
    if len(words) > MAX_WORDS:
        return None
    if kind in (None, "timestamp"):
        missing = tuple(sorted(words))
        if len(lengths) == 1 and (compact := COMPACT.get(max(lengths))):
            candidate = CellFormat("time", time_format=compact, missing=missing)
            if all(1800 < int(cell[:4]) < 2100 and is_time(cell, candidate) for cell in {*digits}):
                return candidate
        if lengths == {6} and (short := _SHORT.search(name)):
            candidate = CellFormat("time", time_format="%y%m%d" if short[1] else "%H%M%S", missing=missing)
            if all(is_time(cell, candidate) for cell in {*digits}):
                return candidate
        if has_time:
            for unit, factor in EPOCHS.items():
                if all(5e8 * factor <= int(cell) < 3e9 * factor for cell in digits):  # 1985 to 2065
                    return CellFormat("time", time_format=unit, missing=missing)
    if kind in (None, "categorical"):
        has_zeros = any(cell[0] == "0" and len(cell) > 1 for cell in digits)
        is_long = max(lengths) > 2 or _SHORT_CODE_NAME.search(name) is not None
        if (has_zeros and len(lengths) == 1 and is_long) or _CODE_NAME.search(name):
            return CellFormat("code")
    return None


def _number_format(cells: Sequence[str], known: Reading, delimiter: str) -> CellFormat | None:
    """Return how numbers are written in all cells but a few words; None if they are not numbers."""
    if known.decimal != "," and are_floats(cells) and not are_grouped_by_points(cells, known, delimiter):
        return CellFormat("number")
    if sum(any(map(str.isdigit, cell)) for cell in cells[:50]) < min(len(cells), 50) / 2:
        return None
    with_words = None
    for candidate in number_candidates(cells, known, delimiter):
        found = _but_for_words(cells, candidate)
        if found is not None and not found.missing:
            return found
        if found is not None and (with_words is None or len(found.missing) < len(with_words.missing)):
            with_words = found
    return with_words


def _but_for_words(cells: Sequence[str], candidate: CellFormat) -> CellFormat | None:
    """Return the format with the other cells as missing if they are few enough, else None."""
    found = others(cells, candidate, MAX_WORDS)
    if found is None:
        return None
    n_others = sum(cell in found for cell in cells) if found else 0
    # Signs such as '!' stand for missing values at any share. So does one word beside many different numbers or times.
    are_signs = not any(re.search(r"\w", cell) for cell in found)
    is_one_word = len(found) == 1 and (len({*cells}) > _MANY or _is_word_among_decimals(found, cells))
    most = 0.5 if are_signs or is_one_word else 1 - AGREEING
    return replace(candidate, missing=tuple(sorted(found))) if n_others <= most * len(cells) else None


def _is_word_among_decimals(found: Collection[str], cells: Sequence[str]) -> bool:
    """Whether all but one word have decimals, and they are many or it is a letter, such as T for a trace of rain."""
    may_be = len(*found) == 1 or len({*cells}) > _MANY / 2
    return may_be and all(re.search(r"\d[.,]\d", cell) for cell in cells if cell not in found)


def _time_format(cells: Sequence[str], known: Reading, name: str) -> CellFormat | None:
    """Return how times are written in all cells but a few words; None if they are no times, or if it is not clear."""
    tried = cells if len(cells) <= 2 * TRIED else [*cells[:TRIED], *cells[-TRIED:]]
    if known.time_format:
        formats = [CellFormat("time", time_format=known.time_format)]
    else:
        formats = candidate_formats(cells, name)
    # A title or a unit may be the first cell.
    samples = [cells[0], cells[len(cells) // 2], cells[-1]]
    for each in formats:
        if sum(_fits(cell, each) for cell in samples) >= 2 and (found := _but_for_words(tried, each)):
            return found
    return None
