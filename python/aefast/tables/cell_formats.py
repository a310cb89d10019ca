"""Finds how the cells of a column are written: numbers with marks and units, times in many forms, codes of digits."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from math import inf

from aefast.tables.dialect import (
    DURATION,
    EPOCHS,
    FRACTIONAL_CLOCK,
    MISSING_NUMBERS,
    MISSING_TEXTS,
    CellFormat,
    Reading,
)

ALWAYS_MISSING = frozenset((*MISSING_TEXTS, *MISSING_NUMBERS))
#: A column has a format if at least this share of its cells agrees.
AGREEING = 0.95
#: The most different words among the numbers or times of a column that are read as missing.
MAX_WORDS = 3

_CURRENCY = r"[$€£¥₹]|USD|EUR|GBP|CHF"
_AROUND = re.compile(rf"\(?[-+]?\s*({_CURRENCY})?\s?\(?[-+]?\d[\d.,'\s]*?\s?(%|{_CURRENCY}|[a-zA-Z°µ/²³]{{1,6}})?\)?")
#: What stands before the limit of detection, in place of a number beyond it.
_LIMITS = ("<", ">")
_BRACKETS = re.compile(r"\((.*)\)|(\D+)\((.*)\)")
_PLAIN = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?|[-+]?inf(inity)?", re.IGNORECASE)
_ISO_TIME = re.compile(r"\d{4}-\d{2}-\d{2}([T ]\d{2}:\d{2}(:\d{2}(\.\d+)?)?(Z|[-+]\d{2}(:?\d{2})?)?)?")
_SLASHED = re.compile(r"(\d{1,2})([./-])(\d{1,2})\2(\d{4}|\d{2})((,?[ T]+)\d{1,2}:\d{2}(:\d{2})?( ?)([AaPp][Mm])?)?")
_FRACTIONAL_CLOCK = re.compile(r"([01]\d|2[0-3]):[0-5]\d:[0-5]\d\.\d{1,6}")
_CLOCK = re.compile(r"(\d{1,2}):\d{2}(:\d{2})?( ?)([AaPp][Mm])?")
_HEXADECIMAL = re.compile(r"0[xX][0-9a-fA-F]+")
_FRACTIONAL_EPOCH = re.compile(r"1\d{9}\.\d+")
_DOTTED_CLOCK = re.compile(r"\d{2}\.\d{2}\.\d{2}")
_DURATION = re.compile(r"[-+]?(\d+ days?,? )?\+?(\d+:)?(\d+):\d{2}(\.\d+)?")
#: Names of columns whose large numbers are seconds or milliseconds since 1970.
_TIME_NAME = re.compile(r"time|date|epoch|stamp|(^|[^a-z])ts($|[^a-z])|[a-z](_a|A)t$", re.IGNORECASE)
#: Names of columns whose digits are no quantity.
_CODE_NAME = re.compile(r"(^|[^a-z])(zip|post|postal|phone|fax|mobile|tel)($|[^a-z]|_?code|_?no|number)", re.IGNORECASE)
#: Decimal mark and mark between thousands, in the order in which they are tried.
_MARKS = tuple((decimal, mark) for decimal, marks in ((".", ("", ",")), (",", ("", "."))) for mark in marks) + tuple(
    (decimal, mark) for mark in ("'", "’", " ", "\xa0", "\u202f") for decimal in ".,"
)
_TIME_FORMATS = (
    *("[%d/%b/%Y:%H:%M:%S %z]", "[%d/%b/%Y:%H:%M:%S]", "[%d/%b/%Y:%H:%M:%S", "%d/%b/%Y:%H:%M:%S %z"),
    *("%d/%b/%Y:%H:%M:%S", "%Y/%m/%d %H:%M:%S", "%Y/%m/%d %H:%M", "%Y/%m/%d", "%Y%m%dT%H%M%S", "%Y%m%dT%H%M%SZ"),
    *("%d-%b-%Y %H:%M:%S", "%d-%b-%Y %H:%M", "%d-%b-%Y", "%d-%b-%y", "%d %b %Y %H:%M:%S", "%d %b %Y", "%d %B %Y"),
    *("%b %d, %Y", "%b %d %Y", "%B %d, %Y", "%B %d %Y", "%b %d %H:%M:%S", "%a %b %d %H:%M:%S %Y"),
    "%a %b %d %H:%M:%S %z %Y",
    *(
        "%a, %d %b %Y %H:%M:%S %z",
        "%a, %d %b %Y %H:%M:%S GMT",
        "%Y-%m-%d %H:%M:%S %z",
        "%Y-%m-%d %H:%M:%S UTC",
        "%Y-%m-%d %H:%M UTC",
    ),
    *("%Y-%m-%d %I:%M:%S %p", "%Y-%m-%d %H", "%Y.%m.%d %H:%M:%S", "%Y.%m.%d", "%Y-%m", "%Y/%m", "%b %Y", "%b-%Y"),
    *("%B %Y", "%b-%y", "%d%b%Y"),
)
#: Times of digits alone, by their number.
_COMPACT = {8: "%Y%m%d", 10: "%Y%m%d%H", 12: "%Y%m%d%H%M", 14: "%Y%m%d%H%M%S"}
#: The fewest different numbers in a column of numbers that may have a word in many cells.
_MANY = 20
#: Cells of a column whose times are parsed in full; the others are of the same form if these are.
_TRIED = 200


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
            or _time_format(values, known)
        )
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
    if of.time_format == DURATION:
        return _DURATION.fullmatch(cell) is not None
    if of.time_format in EPOCHS or of.kind == "code":
        return cell.isdecimal() or _are_floats([cell])
    return _is_number(cell, of) if of.kind == "number" else _is_time(cell, of)


def bare_number(cell: str, of: CellFormat) -> str:
    """Return the cell as a number that Python reads, if it is one in this format.

    Examples
    --------
    >>> from aefast.tables.cell_formats import bare_number
    >>> from aefast.tables.dialect import CellFormat
    >>> bare_number("-$1,200.50", CellFormat("number", thousands=",", before="$"))
    '-1200.50'
    >>> bare_number("(1,200)", CellFormat("number", thousands=",", brackets=True))
    '-1200'
    """
    cell, sign = cell.strip(), ""
    if of.brackets and (inner := _BRACKETS.fullmatch(cell)):
        sign, cell = "-", inner[1] or f"{inner[2]}{inner[3]}"
    if cell[-1:] == "-" and cell[:1].isdigit():  # as SAP writes negative numbers
        sign, cell = "-", cell[:-1]
    if of.before and cell[:1] in ("-", "+"):
        sign, cell = cell[0], cell[1:].lstrip()
    cell = cell.removeprefix(of.before).removesuffix(of.after).strip()
    if of.thousands:
        cell = cell.replace(of.thousands, "")
    return sign + (cell.replace(",", ".") if of.decimal == "," else cell)


def decimal_mark(cells: Sequence[str], of: CellFormat) -> str:
    """Return the only decimal mark with which all cells are numbers; empty if both are possible, as in ``1,200``."""
    numbers = [cell for cell in map(str.strip, cells) if cell not in of.missing and cell not in ALWAYS_MISSING]

    def may_be(decimal: str, other: str) -> bool:
        candidates = [replace(of, decimal=decimal, thousands=mark) for mark in ("", other)]
        return any(all(_is_number(cell, each) for cell in numbers) for each in candidates)

    possible = [decimal for decimal, other in (".,", ",.") if may_be(decimal, other)]
    return possible[0] if len(possible) == 1 else ""


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
        if len(lengths) == 1 and (compact := _COMPACT.get(max(lengths))):
            candidate = CellFormat("time", time_format=compact, missing=missing)
            if all(1800 < int(cell[:4]) < 2100 and _is_time(cell, candidate) for cell in {*digits}):
                return candidate
        if has_time:
            for unit, factor in EPOCHS.items():
                if all(5e8 * factor <= int(cell) < 3e9 * factor for cell in digits):  # 1985 to 2065
                    return CellFormat("time", time_format=unit, missing=missing)
    if kind in (None, "categorical"):
        has_zeros = any(cell[0] == "0" and len(cell) > 1 for cell in digits)
        if (has_zeros and len(lengths) == 1 and max(lengths) > 2) or _CODE_NAME.search(name):
            return CellFormat("code")
    return None


def _number_format(cells: Sequence[str], known: Reading, delimiter: str) -> CellFormat | None:
    """Return how numbers are written in all cells but a few words; None if they are not numbers."""
    if known.decimal != "," and _are_floats(cells):
        return CellFormat("number")
    if sum(any(map(str.isdigit, cell)) for cell in cells[:50]) < min(len(cells), 50) / 2:
        return None
    marks = [pair for pair in _MARKS if known.decimal in (None, pair[0]) and known.thousands in (None, pair[1])] or [
        (known.decimal or ".", known.thousands or "")
    ]
    if delimiter == ";":  # such files have decimal commas, which need no quotes there
        marks.sort(key=lambda pair: pair == (".", ","))
    brackets = any("(" in cell for cell in cells)
    with_words = None
    limits = [(mark, "") for mark in _LIMITS if any(cell[0] == mark for cell in cells)]
    for before, after in dict.fromkeys((("", ""), _around(cells), *limits)):
        for decimal, thousands in marks:
            found = _but_for_words(cells, CellFormat("number", decimal, thousands, before, after, brackets=brackets))
            if found is not None and not found.missing:
                return found
            with_words = with_words or found
    return with_words


def _but_for_words(cells: Sequence[str], candidate: CellFormat) -> CellFormat | None:
    """Return the format with the other cells as missing if they are few enough, else None."""
    found = others(cells, candidate, MAX_WORDS)
    if found is None:
        return None
    n_others = sum(cell in found for cell in cells) if found else 0
    # Signs such as '!' stand for missing values at any share. So does one word beside many different numbers or times.
    are_signs = not any(re.search(r"\w", cell) for cell in found)
    is_one_word = len(found) == 1 and len({*cells}) > _MANY
    most = 0.5 if are_signs or is_one_word else 1 - AGREEING
    return replace(candidate, missing=tuple(sorted(found))) if n_others <= most * len(cells) else None


def _are_floats(cells: Iterable[str]) -> bool:
    try:
        return not any("_" in cell or float(cell) != float(cell) for cell in cells)
    except ValueError:
        return False


def _is_number(cell: str, of: CellFormat) -> bool:
    if of.thousands:
        digits = bare_number(cell, replace(of, thousands="", decimal="."))
        whole, _, fraction = digits.lstrip("+-").partition(of.decimal)
        groups = whole.split(of.thousands)
        if of.thousands in fraction or (len(groups) > 1 and not _are_groups(groups)):
            return False
    if of.decimal == "," and of.thousands != "." and "." in cell:
        return False
    return _PLAIN.fullmatch(bare_number(cell, of)) is not None


def _are_groups(groups: Sequence[str]) -> bool:
    """Whether groups of digits are thousands, or thousands and then hundreds, as in India."""
    first, *others, last = groups
    is_first = 0 < len(first) <= 3 and first[0] != "0"
    return is_first and len(last) == 3 and {*map(len, others)} in (set(), {2}, {3})


def _around(cells: Sequence[str]) -> tuple[str, str]:
    """Return what stands before and after the number in nearly all cells: a currency, a percent sign or a unit."""
    found = Counter((part[1] or "", part[2] or "") for part in map(_AROUND.fullmatch, cells[:500]) if part)
    (around, count), *_ = [*found.most_common(1), (("", ""), 0)]
    return (around[0].strip(), around[1].strip()) if count >= AGREEING * min(len(cells), 500) else ("", "")


def _time_format(cells: Sequence[str], known: Reading) -> CellFormat | None:
    """Return how times are written in all cells but a few words; None if they are no times, or if it is not clear."""
    tried = cells if len(cells) <= 2 * _TRIED else [*cells[:_TRIED], *cells[-_TRIED:]]
    if known.time_format:
        formats = [CellFormat("time", time_format=known.time_format)]
    else:
        formats = [CellFormat("time"), CellFormat("time", decimal=",")]
        formats += [CellFormat("time", time_format=each) for each in (*_TIME_FORMATS, *_slashed_formats(cells))]
        formats += _clock_formats(cells)
    # A title or a unit may be the first cell.
    samples = [cells[0], cells[len(cells) // 2], cells[-1]]
    for each in formats:
        if sum(_fits(cell, each) for cell in samples) >= 2 and (found := _but_for_words(tried, each)):
            return found
    return None


def _slashed_formats(cells: Sequence[str]) -> list[str]:
    """Return the format of dates such as 31/12/2024 in the only order of day and month that the cells allow, if any."""
    parts = [part for part in map(_SLASHED.fullmatch, cells) if part is not None]
    if not parts or len(parts) < AGREEING * len(cells):
        return []
    if any(int(part[1]) == 0 for part in parts):  # a time of the day
        return []
    _, mark, _, year, clock, between, seconds, blank, half = parts[0].groups()
    most_first, most_second = (max(int(part[group]) for part in parts) for group in (1, 3))
    tail = f"{mark}{'%Y' if len(year) == 4 else '%y'}"
    if clock:
        tail += f"{between}{'%I' if half else '%H'}:%M{':%S' if seconds else ''}{blank}{'%p' if half else ''}"
    by_day, by_month = f"%d{mark}%m{tail}", f"%m{mark}%d{tail}"
    days, months, years = ({part[group] for part in parts} for group in (1, 3, 4))
    if most_first > 12 >= most_second or (mark == "." and most_second <= 12):
        return [by_day]
    if most_second > 12 >= most_first:
        return [by_month]
    if len(years) > 1 and (len(days) == 1) != (len(months) == 1):  # a day of each month
        return [by_day if len(days) == 1 else by_month]
    return _sorted_order([part[0] for part in parts[:_TRIED]], [by_day, by_month])


def _sorted_order(cells: Sequence[str], formats: Sequence[str]) -> list[str]:
    """Return the format in which the times are sorted, the one in which they span less if there are two."""

    def span(time_format: str) -> float:
        """Return the seconds from the first time to the last, infinity if they are not sorted."""
        try:
            times = [datetime.strptime(cell, time_format) for cell in cells]
        except ValueError:
            return inf
        is_sorted = len(set(times)) > 2 and times in (sorted(times), sorted(times, reverse=True))
        return abs((times[-1] - times[0]).total_seconds()) if is_sorted else inf

    spans = {each: span(each) for each in formats}
    least = min(spans.values())
    return [each for each in formats if spans[each] == least < inf]


def _clock_formats(cells: Sequence[str]) -> list[CellFormat]:
    """Return the format of times of the day, such as 23:59:59, or of durations, such as 1:02:03, which are numbers."""
    if sum(_FRACTIONAL_CLOCK.fullmatch(cell) is not None for cell in cells) >= AGREEING * len(cells):
        return [CellFormat("time", time_format=FRACTIONAL_CLOCK)]
    durations = [part for part in map(_DURATION.fullmatch, cells) if part is not None]
    if len(durations) >= AGREEING * len(cells):
        first = [part[2] or part[3] for part in durations]
        hours = [int(each.rstrip(":")) for each in first]
        is_padded = all(len(each.rstrip(":")) > 1 for each in first)
        if max(hours) > 23 or any(part[1] or part[4] for part in durations) or (max(hours) < 10 and not is_padded):
            return [CellFormat("number", time_format=DURATION)]
    if sum(_DOTTED_CLOCK.fullmatch(cell) is not None for cell in cells) >= AGREEING * len(cells):
        return [CellFormat("time", time_format="%H.%M.%S")]
    parts = [part for part in map(_CLOCK.fullmatch, cells) if part is not None]
    if not parts or len(parts) < AGREEING * len(cells):
        return []
    _, seconds, blank, half = parts[0].groups()
    hours_and_minutes = f"{'%I' if half else '%H'}:%M{':%S' if seconds else ''}"
    return [CellFormat("time", time_format=hours_and_minutes + (f"{blank}%p" if half else ""))]


def _is_time(cell: str, of: CellFormat) -> bool:
    if not of.time_format:
        return _ISO_TIME.fullmatch(cell.replace(",", ".") if of.decimal == "," else cell) is not None
    try:
        datetime.strptime(cell, of.time_format)
    except ValueError:
        return False
    return True
