"""Finds how the times of a column are written, by its cells."""

from __future__ import annotations

import re
from collections.abc import Sequence
from math import inf

from aefast.tables.dialect import AGREEING, DURATION, FRACTIONAL_CLOCK, SPELLED, SPELLED_DURATION, CellFormat
from aefast.tables.time_words import DAY_OF, MONTH_OF, WORD, parse_time, shape_of

#: The first cells, of which one must have a form that all but a few cells have.
_LOOKED_AT = 50
#: Cells of a column whose times are parsed in full; the others are of the same form if these are.
TRIED = 200

_ISO_TIME = re.compile(r"\d{4}-\d{2}-\d{2}([T ]\d{2}:\d{2}(:\d{2}(\.\d+)?)?(Z|[-+]\d{2}(:?\d{2})?)?)?")
_SLASHED = re.compile(
    r"(\d{1,2})([./-])(\d{1,2})\2(\d{4}|\d{2})"
    r"((,?[ T]+)\d{1,2}:\d{2}(:\d{2}([.,]\d{1,9})?)?( ?)([AaPp][Mm])?( (?:UTC|GMT))?)?"
)
_FRACTIONAL_CLOCK = re.compile(r"([01]\d|2[0-3]):[0-5]\d:[0-5]\d\.\d{1,6}")
_CLOCK = re.compile(r"(\d{1,2}):\d{2}(:\d{2})?( ?)([AaPp][Mm])?")
_DOTTED_CLOCK = re.compile(r"\d{2}\.\d{2}\.\d{2}")
DURATION_CELL = re.compile(r"[-+]?(\d+ days?,? )?\+?(\d+:)?(\d+):\d{2}(\.\d+)?")
_SPELLED = re.compile(SPELLED)
#: Names of columns whose hours, minutes and seconds are durations.
_DURATION_NAME = re.compile(
    r"durat|dauer|durée|elapsed|pace|runtime|uptime|length|time (on|spent)|session|avg|average|mean\b|durchschn|moyen"
    r"|laufzeit|wait|delay",
    re.IGNORECASE,
)
_TIME_FORMATS = (
    *("[%d/%b/%Y:%H:%M:%S %z]", "[%d/%b/%Y:%H:%M:%S]", "[%d/%b/%Y:%H:%M:%S", "%d/%b/%Y:%H:%M:%S %z"),
    *("%d/%b/%Y:%H:%M:%S", "%Y/%m/%d %H:%M:%S", "%Y/%m/%d %H:%M", "%Y/%m/%d", "%Y%m%dT%H%M%S", "%Y%m%dT%H%M%SZ"),
    *("%d-%b-%Y %H:%M:%S", "%d-%b-%Y %H:%M", "%d-%b-%Y", "%d-%b-%y", "%d %b %Y %H:%M:%S", "%d %b %Y", "%d %B %Y"),
    *("%b %d, %Y", "%b %d %Y", "%B %d, %Y", "%B %d %Y", "%b %d %H:%M:%S", "%a %b %d %H:%M:%S %Y"),
    "%a %b %d %H:%M:%S %z %Y",
    *("%a, %d %b %Y %H:%M:%S %z", "%a, %d %b %Y %H:%M:%S GMT", "%Y-%m-%d %H:%M:%S %z", "%Y-%m-%d %H:%M:%S UTC"),
    "%Y-%m-%d %H:%M UTC",
    *("%Y-%m-%d %I:%M:%S %p", "%Y-%m-%d %H", "%Y.%m.%d %H:%M:%S", "%Y.%m.%d", "%Y-%m", "%Y/%m", "%b %Y", "%b-%Y"),
    *("%B %Y", "%b-%y", "%d%b%Y", "%m/%Y", "%m-%Y", "%m.%Y"),
    *("%Y%m%d:%H%M", "%Y%m%d %H%M", "%Y%m%d %H:%M", "%Y%m%d %H:%M:%S", "%Y%m%d-%H%M%S", "%Y%m%d_%H%M%S"),
)
#: Quarters, weeks and months by their number.
_PERIODS = (
    *("%Y-Q%q", "%YQ%q", "%Y Q%q", "%Y.Q%q", "Q%q %Y", "Q%q-%Y", "Q%q/%Y", "%YK%q", "%YT%q", "%Y-T%q", "T%q %Y"),
    *("%q. Quartal %Y", "%q. Quarter %Y", "%q. Vierteljahr %Y", "%q. kvartal %Y"),
    *("%G-W%V", "%GW%V", "%G W%V", "W%V %G", "W%V-%G", "KW %V/%G", "KW%V/%G", "KW %V %G", "%G-KW%V", "%G/%V", "S%V %G"),
    *("%YM%m", "%Y-M%m", "%Y M%m"),
)
#: Formats that do not depend on the cells.
_FIXED = tuple(CellFormat("time", time_format=each) for each in (*_TIME_FORMATS, *_PERIODS))
#: Times of digits alone, by their number.
COMPACT = {8: "%Y%m%d", 10: "%Y%m%d%H", 12: "%Y%m%d%H%M", 14: "%Y%m%d%H%M%S"}
_CLOCK_PART = re.compile(
    r"(?<!\d)\d{1,2}:\d{2}(:\d{2}(?:([.,])\d{1,9}|(:)\d{3,9})?)?(?!\d)(?:( ?)[AaPp][Mm](?![a-zA-Z]))?"
)
_OFFSET = re.compile(r"(?<=%M|%S|%f|%p) ?[-+]\d{2}:?\d{2}(?=[ \])]|$)|(?<=GMT|UTC)[-+]\d{2}:?\d{2}(?= |$)")
#: The time of the day with points between its parts, as in databases of Oracle and, behind a hyphen, of IBM.
_DOTTED_PART = re.compile(r"(?<=[ -])\d{2}\.\d{2}\.\d{2}([.,])?(?:\d{1,9})?(?:( )[AaPp][Mm])?$")
#: A date of eight digits before a time of the day.
_COMPACT_PART = re.compile(r"(?<!\d)(19|20)\d{6}(?=[-_ T:]%[HI])")
#: A date without a year before a time of the day, as in the logs of Android.
_DAY_AND_MONTH = re.compile(r"(?<![\d%])\d{1,2}([-./])\d{1,2}(?=[ T_]%[HI])")


def candidate_formats(cells: Sequence[str], name: str) -> list[CellFormat]:
    """Return the formats that the times of a column may have, in the order in which they are tried."""
    found = [CellFormat("time", time_format=each) for each in (*_slashed_formats(cells), *_formats_by_parts(cells))]
    return [CellFormat("time"), CellFormat("time", decimal=","), *_clock_formats(cells, name), *_FIXED, *found]


def is_time(cell: str, of: CellFormat) -> bool:
    """Whether a cell is a time in this format."""
    if not of.time_format:
        return _ISO_TIME.fullmatch(cell.replace(",", ".") if of.decimal == "," else cell) is not None
    shape = shape_of(of.time_format)
    if shape is not None and shape.fullmatch(cell) is None:
        return False
    try:
        parse_time(cell, of.time_format)
    except ValueError:
        return False
    return True


def is_spelled_duration(cell: str) -> bool:
    """Whether a cell is a duration such as 2h 05m or PT1H30M."""
    return cell[-1:].isalpha() and any(map(str.isdigit, cell)) and _SPELLED.fullmatch(cell) is not None


def _formats_by_parts(cells: Sequence[str]) -> list[str]:
    """Return the formats that the parts of a cell show: names of months, the time of the day, a year of four digits."""
    cell = cells[len(cells) // 2]
    if not any(map(str.isdigit, cell)) or len(cell) > 48 or "%" in cell:
        return []
    clock = _CLOCK_PART.search(cell)
    if clock is not None:
        seconds, point, colon, blank = clock.groups()
        mark = point or colon
        hours = "%H" if blank is None else "%I"
        found = f"{hours}:%M{'' if seconds is None else ':%S'}{f'{mark}%f' if mark else ''}"
        found += "" if blank is None else f"{blank}%p"
        cell = f"{cell[: clock.start()]}{found}{cell[clock.end() :]}"
    elif (clock := _DOTTED_PART.search(cell)) is not None:
        mark, blank = clock.groups()
        found = f"{'%H' if blank is None else '%I'}.%M.%S{f'{mark}%f' if mark else ''}"
        cell = cell[: clock.start()] + found + ("" if blank is None else " %p")
    cell = _OFFSET.sub(lambda part: part[0][: part[0].startswith(" ")] + "%z", cell)

    def named(word: re.Match[str]) -> str:
        bare = word[0].rstrip(".").lower()
        if cell[word.start() - 1 : word.start()] == "%" or (bare not in MONTH_OF and bare not in DAY_OF):
            return word[0]
        is_month = bare in MONTH_OF and not (bare in DAY_OF and any(map(_is_month, WORD.findall(cell[word.end() :]))))
        is_whole = len(bare) > 4 or (MONTH_OF if is_month else DAY_OF)[bare].lower() == bare
        return ("%B" if is_whole else "%b") if is_month else ("%A" if is_whole else "%a")

    cell = WORD.sub(named, cell)
    cell = re.sub(r"(?<![\d%])(19|20)\d{2}(?!\d)", "%Y", _COMPACT_PART.sub("%Y%m%d", cell), count=1)
    if "%b" in cell or "%B" in cell:
        cell = re.sub(r"(?<![\d%])\d{1,2}(?!\d)", "%d", cell, count=1)
        cell = cell if "%Y" in cell else re.sub(r"(?<![\d%])'?\d{2}(?!\d)", "%y", cell, count=1)
    elif "%Y" not in cell and (date := _DAY_AND_MONTH.search(cell)):
        orders = [f"%m{date[1]}%d", f"%d{date[1]}%m"]
        found_both = [cell[: date.start()] + order + cell[date.end() :] for order in orders]
        return found_both[::-1] if date[1] == "." else found_both
    elif cell.lstrip(" [(").startswith("%Y"):
        cell = re.sub(r"(?<![\d%])\d{1,2}(?!\d)", "%m", cell, count=1)
        cell = re.sub(r"(?<![\d%])\d{1,2}(?!\d)", "%d", cell, count=1)
    has_date = any(part in cell for part in ("%Y", "%y"))
    is_span = "%z" in cell and not has_date  # 09:00-09:15 has no offset
    return [cell] if (has_date or clock is not None) and not is_span and not re.search(r"\d", cell) else []


def _is_month(word: str) -> bool:
    return word.rstrip(".").lower() in MONTH_OF


def _slashed_formats(cells: Sequence[str]) -> list[str]:
    """Return the format of dates such as 31/12/2024 in the only order of day and month that the cells allow, if any."""
    parts = [part for part in map(_SLASHED.fullmatch, cells) if part is not None]
    if not parts or len(parts) < AGREEING * len(cells):
        return []
    if any(int(part[1]) == 0 for part in parts):  # a time of the day
        return []
    _, mark, _, year, clock, between, seconds, fraction, blank, half, zone = parts[0].groups()
    most_first, most_second = (max(int(part[group]) for part in parts) for group in (1, 3))
    tail = f"{mark}{'%Y' if len(year) == 4 else '%y'}"
    if clock:
        tail += f"{between}{'%I' if half else '%H'}:%M{':%S' if seconds else ''}"
        tail += f"{fraction[0] + '%f' if fraction else ''}{blank}{'%p' if half else ''}{zone or ''}"
    by_day, by_month = f"%d{mark}%m{tail}", f"%m{mark}%d{tail}"
    days, months, years = ({part[group] for part in parts} for group in (1, 3, 4))
    if most_first > 12 >= most_second or (mark == "." and most_second <= 12):
        return [by_day]
    if most_second > 12 >= most_first:
        return [by_month]
    if len(years) > 1 and (len(days) == 1) != (len(months) == 1):  # a day of each month
        return [by_day if len(days) == 1 else by_month]
    return _sorted_order([part[0] for part in parts[:TRIED]], [by_day, by_month])


def _sorted_order(cells: Sequence[str], formats: Sequence[str]) -> list[str]:
    """Return the format in which the times are sorted, the one in which they span less if there are two."""

    def span(time_format: str) -> float:
        """Return the seconds from the first time to the last, infinity if they are not sorted."""
        try:
            times = [parse_time(cell, time_format) for cell in cells]
        except ValueError:
            return inf
        is_sorted = len(set(times)) > 2 and times in (sorted(times), sorted(times, reverse=True))
        return abs((times[-1] - times[0]).total_seconds()) if is_sorted else inf

    spans = {each: span(each) for each in formats}
    least = min(spans.values())
    return [each for each in formats if spans[each] == least < inf]


def _clock_formats(cells: Sequence[str], name: str) -> list[CellFormat]:
    """Return the format of times of the day, such as 23:59:59, or of durations, such as 1:02:03, which are numbers."""
    least = AGREEING * len(cells)

    def agree(form: re.Pattern[str]) -> bool:
        # Most columns have no cell of the form among the first ones.
        return any(map(form.fullmatch, cells[:_LOOKED_AT])) and sum(map(bool, map(form.fullmatch, cells))) >= least

    if any(map(is_spelled_duration, cells[:_LOOKED_AT])) and sum(map(is_spelled_duration, cells)) >= least:
        return [CellFormat("number", time_format=SPELLED_DURATION)]
    if _DURATION_NAME.search(name) and agree(DURATION_CELL):
        return [CellFormat("number", time_format=DURATION)]
    if agree(_FRACTIONAL_CLOCK):
        return [CellFormat("time", time_format=FRACTIONAL_CLOCK)]
    if agree(DURATION_CELL):
        durations = [part for part in map(DURATION_CELL.fullmatch, cells) if part is not None]
        first = [part[2] or part[3] for part in durations]
        hours = [int(each.rstrip(":")) for each in first]
        is_padded = all(len(each.rstrip(":")) > 1 for each in first)
        is_marked = max(hours) > 23 or any(part[1] or part[4] for part in durations)
        # The first hour of a day would be sorted.
        is_short = max(hours) == 0 and all(part[2] for part in durations) and list(cells) != sorted(cells)
        if is_marked or is_short or (max(hours) < 10 and not is_padded):
            return [CellFormat("number", time_format=DURATION)]
    if agree(_DOTTED_CLOCK):
        return [CellFormat("time", time_format="%H.%M.%S")]
    if not agree(_CLOCK):
        return []
    _, seconds, blank, half = next(filter(None, map(_CLOCK.fullmatch, cells))).groups()
    hours_and_minutes = f"{'%I' if half else '%H'}:%M{':%S' if seconds else ''}"
    return [CellFormat("time", time_format=hours_and_minutes + (f"{blank}%p" if half else ""))]
