"""Finds the dialect of a text file in a sample of its lines.

The method follows DuckDB's CSV sniffer: every candidate separator splits the sample, and the one whose rows agree best
in width and in the types of their cells wins. The types then distinguish the header from data.
"""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime

from aefast.tables.dialect import MISSING_NUMBERS, MISSING_TEXTS, CellFormat, Dialect, Reading

_ALWAYS_MISSING = frozenset((*MISSING_TEXTS, *MISSING_NUMBERS))
#: Separators that are tried, in the order that decides a tie; a blank stands for one or more blanks and tabs.
SEPARATORS = (",", ";", "\t", "|", " ")
#: A column has a format if at least this share of its cells agrees.
AGREEING = 0.95
#: The most different words among the numbers of a column that are read as missing.
MAX_WORDS = 3

_CURRENCY = r"[$€£¥₹]|USD|EUR|GBP|CHF"
_AROUND = re.compile(rf"[-+]?\s*({_CURRENCY})?\s?[-+]?\d[\d.,' ]*?\s?(%|{_CURRENCY}|[a-zA-Z°µ/²³]{{1,6}})?")
_PLAIN = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?|[-+]?inf(inity)?", re.IGNORECASE)
_ISO_TIME = re.compile(r"\d{4}-\d{2}-\d{2}([T ]\d{2}:\d{2}(:\d{2}(\.\d+)?)?(Z|[-+]\d{2}(:?\d{2})?)?)?")
_SLASHED = re.compile(r"(\d{1,2})([./-])(\d{1,2})\2(\d{4}|\d{2})(([ T]+)\d{1,2}:\d{2}(:\d{2})?( ?)([AaPp][Mm])?)?")
#: Decimal mark and mark between thousands, in the order in which they are tried.
_MARKS = ((".", ""), (".", ","), (",", ""), (",", "."), (".", "'"), (".", " "), (",", " "))
_TIME_FORMATS = (
    *("[%d/%b/%Y:%H:%M:%S %z]", "[%d/%b/%Y:%H:%M:%S]", "[%d/%b/%Y:%H:%M:%S", "%d/%b/%Y:%H:%M:%S %z"),
    *("%d/%b/%Y:%H:%M:%S", "%Y/%m/%d %H:%M:%S", "%Y/%m/%d %H:%M", "%Y/%m/%d", "%Y%m%dT%H%M%S", "%d-%b-%Y %H:%M:%S"),
    *("%d-%b-%Y", "%d-%b-%y", "%d %b %Y %H:%M:%S", "%d %b %Y", "%b %d, %Y", "%b %d %Y", "%b %d %H:%M:%S"),
    "%a %b %d %H:%M:%S %Y",
)
#: Cells of a column whose times are parsed in full; the others are of the same form if these are.
_TRIED = 200


def find_dialect(text: str, known: Reading | None = None, *, encoding: str = "utf-8", usual: str = ",") -> Dialect:
    """Return the dialect of a file, from sampled lines of it.

    Parameters
    ----------
    text : str
        The first lines of the file, then lines from anywhere in it.
    known : Reading, optional
    encoding : str
        The encoding that the text had.
    usual : str
        The separator that decides a tie.
    """
    known = known or Reading()
    learned = known.learned
    if learned is not None and learned.delimiter in text.partition("\n")[0]:
        usual = learned.delimiter
    delimiter = known.delimiter or _separator(text, usual)
    rows = split_rows(text, delimiter)
    if not rows:
        return Dialect(delimiter, encoding)
    width = Counter(map(len, rows)).most_common(1)[0][0]
    columns = _columns(rows[1:], width)
    formats = [_format_of(column, known, delimiter) for column in columns]
    has_header = known.has_header
    if has_header is None:
        has_header = known.names is None and (
            len(rows[0]) != width
            or (bool(known.columns) and set(known.columns) <= set(rows[0]))
            or (learned.has_header if learned else _is_header(rows[0], columns, formats))
        )
    names = known.names or tuple(rows[0])
    if not has_header:
        is_as_learned = learned is not None and not learned.has_header and len(learned.names) == width
        names = known.names or (learned.names if learned and is_as_learned else tuple(f"x{j}" for j in range(width)))
        formats = [_format_of(column, known, delimiter) for column in _columns(rows, width)]
    if any(each.decimal == "," and not each.thousands for each in formats):
        # A column such as 1,200 could be either.
        formats = [replace(each, decimal=",", thousands="") if each.thousands == "," else each for each in formats]
    found = {name: each for name, each in zip(names, formats, strict=False) if each.kind != "text" or each.missing}
    for name, each in (learned.formats if learned else {}).items():
        if name in names and each.kind != "text":
            found[name] = replace(each, missing=tuple(sorted({*each.missing, *found.get(name, each).missing})))
    return Dialect(delimiter, encoding, has_header, names, found, known.missing or (learned.na if learned else ()))


def split_rows(text: str, delimiter: str) -> list[list[str]]:
    """Return the cells of each line that is not blank."""
    if delimiter == " ":
        return [line.split() for line in text.splitlines() if line.strip()]
    rows: list[list[str]] = []
    with suppress(csv.Error):  # raised for a cell that is too long, because a quote is not closed
        rows.extend(row for row in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter) if row)
    return rows


def _columns(rows: Iterable[Sequence[str]], width: int) -> list[tuple[str, ...]]:
    return list(zip(*(row for row in rows if len(row) == width), strict=True)) or [()] * width


def _separator(text: str, usual: str) -> str:
    """Return the separator whose rows agree best, first in width and then in the types of their cells."""
    head = "\n".join(text[: 1 << 15].splitlines()[:100])
    best, best_score = usual, (0.0, 0.0, False)
    for separator in SEPARATORS:
        rows = split_rows(head, separator)
        if not rows:
            continue
        width, count = max(Counter(map(len, rows)).items(), key=lambda item: (item[1], item[0]))
        agreeing = count / len(rows)
        is_blank = separator == " "
        if width < 2 or len(rows[0]) != width or agreeing < (1 if is_blank else 0.8):
            continue
        typed = [
            _format_of(column, Reading(), separator).kind != "text" for column in _columns(rows[1:] or rows, width)
        ]
        share = sum(typed) / width
        # Words are separated by blanks, too, and so are date and time.
        if is_blank and (share <= 0.5 or any(map(_ISO_TIME.fullmatch, head.splitlines()[-1:]))):
            continue
        # Widths count in tenths, so that one ragged line does not decide against better types.
        score = (round(agreeing, 1), share, separator == usual)
        if score > best_score:
            best, best_score = separator, score
    return best


def _is_header(first: Sequence[str], columns: Sequence[Sequence[str]], formats: Sequence[CellFormat]) -> bool:
    """Whether the first row names the columns: its cells are not of the types of the rows below."""
    values = []
    for cell, column, each in zip(map(str.strip, first), columns, formats, strict=False):
        if each.kind == "text":
            continue
        if cell in _ALWAYS_MISSING or _others([cell], each, 0):
            if cell not in column:
                return True
        else:
            values.append(cell)
    if values:
        # Columns may be named by whole numbers, as by pandas, or by years, unless the rows below look alike.
        return _are_names(values) and not any(map(_are_names, zip(*columns, strict=True)))
    if not columns[0]:
        return True
    # If all columns are text, a row of data repeats values that occur below it.
    least = max(2, len(columns[0]) // 100)
    n_repeated = sum(column.count(cell) >= least for cell, column in zip(first, columns, strict=False))
    return n_repeated <= len(first) / 2


def _are_names(cells: Sequence[str]) -> bool:
    """Whether cells are consecutive whole numbers from 0, or from any number if there are several, or years."""
    if not all(cell.isdecimal() for cell in cells):
        return False
    numbers = [int(cell) for cell in cells]
    is_run = numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    return (is_run and (len(numbers) > 1 or numbers == [0])) or (
        len(set(numbers)) == len(numbers) > 1 and all(1900 <= number < 2100 for number in numbers)
    )


def bare_number(cell: str, of: CellFormat) -> str:
    """Return the cell as a number that Python reads, if it is one in this format.

    Examples
    --------
    >>> from aefast.tables.dialect import CellFormat
    >>> from aefast.tables.sniffer import bare_number
    >>> bare_number("-$1,200.50", CellFormat("number", thousands=",", before="$"))
    '-1200.50'
    """
    cell, sign = cell.strip(), ""
    if of.before and cell[:1] in ("-", "+"):
        sign, cell = cell[0], cell[1:].lstrip()
    cell = cell.removeprefix(of.before).removesuffix(of.after).strip()
    if of.thousands:
        cell = cell.replace(of.thousands, "")
    return sign + (cell.replace(",", ".") if of.decimal == "," else cell)


def _format_of(cells: Sequence[str], known: Reading, delimiter: str) -> CellFormat:
    """Return the format of a column's cells."""
    tokens = _ALWAYS_MISSING.union(known.missing)
    values = [cell for cell in map(str.strip, cells) if cell not in tokens]
    words = {*map(str.strip, cells)} & tokens - {""}
    found = (_number_format(values, known, delimiter) or _time_format(values, known)) if values else None
    if found is None:
        # Only these are missing in text.
        return CellFormat("text", missing=tuple(sorted(words & {*MISSING_TEXTS, *known.missing})))
    return replace(found, missing=tuple(sorted({*found.missing, *words})))


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
    for before, after in dict.fromkeys((("", ""), _around(cells))):
        for decimal, thousands in marks:
            candidate = CellFormat("number", decimal, thousands, before, after)
            others = _others(cells, candidate, MAX_WORDS)
            if others is None:
                continue
            n_others = sum(cell in others for cell in cells) if others else 0
            # Signs such as '!' stand for missing numbers at any share, words only if they are few.
            are_signs = not any(re.search(r"\w", cell) for cell in others)
            if n_others <= (0.5 if are_signs else 1 - AGREEING) * len(cells):
                return replace(candidate, missing=tuple(sorted(others)))
    return None


def _are_floats(cells: Iterable[str]) -> bool:
    try:
        return not any("_" in cell or float(cell) != float(cell) for cell in cells)
    except ValueError:
        return False


def _others(cells: Iterable[str], of: CellFormat, most: int) -> Collection[str] | None:
    """Return the different cells that are not written in a format; None if there are more than ``most``."""
    others = set()
    for cell in cells:
        if not (_is_number(cell, of) if of.kind == "number" else _is_time(cell, of.time_format)):
            others.add(cell)
            if len(others) > most > 0:
                return None
    return others


def _is_number(cell: str, of: CellFormat) -> bool:
    if of.thousands:
        digits = bare_number(cell, replace(of, thousands="", decimal="."))
        whole, _, fraction = digits.lstrip("+-").partition(of.decimal)
        groups = whole.split(of.thousands)
        if of.thousands in fraction or (
            len(groups) > 1
            and not (0 < len(groups[0]) <= 3 and groups[0][0] != "0" and all(len(group) == 3 for group in groups[1:]))
        ):
            return False
    if of.decimal == "," and of.thousands != "." and "." in cell:
        return False
    return _PLAIN.fullmatch(bare_number(cell, of)) is not None


def _around(cells: Sequence[str]) -> tuple[str, str]:
    """Return what stands before and after the number in nearly all cells: a currency, a percent sign or a unit."""
    found = Counter((part[1] or "", part[2] or "") for part in map(_AROUND.fullmatch, cells[:500]) if part)
    (around, count), *_ = [*found.most_common(1), (("", ""), 0)]
    return (around[0].strip(), around[1].strip()) if count >= AGREEING * min(len(cells), 500) else ("", "")


def _time_format(cells: Sequence[str], known: Reading) -> CellFormat | None:
    """Return how times are written in all cells; None if they are no times, or if day and month could be either."""
    if all(map(_ISO_TIME.fullmatch, cells)):
        return CellFormat("time")
    tried = [*cells[:_TRIED], *cells[-_TRIED:]]
    formats = [known.time_format] if known.time_format else [*_TIME_FORMATS, *_slashed_formats(cells)]
    found = (each for each in formats if _is_time(tried[0], each) and all(_is_time(cell, each) for cell in tried))
    time_format = next(found, None)
    return None if time_format is None else CellFormat("time", time_format=time_format)


def _slashed_formats(cells: Sequence[str]) -> list[str]:
    """Return the format of dates such as 31/12/2024 in the only order of day and month that the cells allow, if any."""
    parts = [part for part in map(_SLASHED.fullmatch, cells) if part is not None]
    if len(parts) < len(cells):
        return []
    _, mark, _, year, clock, between, seconds, blank, half = parts[0].groups()
    most_first, most_second = (max(int(part[group]) for part in parts) for group in (1, 3))
    if most_first > 12 >= most_second or (mark == "." and most_second <= 12):
        order = f"%d{mark}%m"
    elif most_second > 12 >= most_first:
        order = f"%m{mark}%d"
    else:
        return []
    hours = f"{between}{'%I' if half else '%H'}:%M{':%S' if seconds else ''}{blank}{'%p' if half else ''}"
    return [f"{order}{mark}{'%Y' if len(year) == 4 else '%y'}{hours if clock else ''}"]


def _is_time(cell: str, time_format: str) -> bool:
    if not time_format:
        return _ISO_TIME.fullmatch(cell) is not None
    try:
        datetime.strptime(cell, time_format)
    except ValueError:
        return False
    return True
