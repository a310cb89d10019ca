"""Finds how the numbers of a column are written: marks, currencies, units, brackets, flags and multiples such as K."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from aefast.tables.dialect import AGREEING, MULTIPLE, CellFormat, Reading

_CURRENCY = r"(?:R|US|A|C|NZ|HK|S)?\$|[€£¥₹₽₩₺₪]|USD|EUR|GBP|CHF|INR|JPY|Rs\.?|zł|kr\.?|Kč|Ft"
_AROUND = re.compile(
    rf"\(?[-+−]?\s*({_CURRENCY})?\s?\(?[-+−]?\d[\d.,'\s]*?\)?\s?(%|{_CURRENCY}|[a-zA-Z°µ/²³]{{1,6}})?\)?"
)
#: What stands before the limit of detection, in place of a number beyond it.
_LIMITS = ("<", ">", "< ", "> ")
_BRACKETS = re.compile(r"\((.*)\)|(\D+)\((.*)\)")
_PLAIN = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?|[-+]?inf(inity)?", re.IGNORECASE)
#: The letter of an exponent in double precision, as Fortran writes it.
_FORTRAN = re.compile(r"(?<=[\d.])[dD](?=[-+]?\d+$)")
#: A number and what follows it.
_NUMBER_AND_REST = re.compile(r"([-+−]?\s?\d[\d.,'’\s]*)(?<![.,\s])(.*)")
#: Marks behind some numbers, such as `*` or, after a blank or a decimal, letters.
_FLAG = re.compile(r"[*†‡^#!]{1,3}|\s+[a-zA-Z*]{1,2}|\s*\([a-z]{1,2}\)")
_MULTIPLE = re.compile(rf"(.*\d)\s?({MULTIPLE})")
#: What stands behind marks; other parts behind a slash are those of dates.
_OUT_OF = ("/5", "/10", "/20", "/100")
#: The most characters behind all numbers of a column.
_LONGEST_END = 20
#: The most different flags, and the share of numbers that need none.
_MOST_FLAGS, _LEAST_BARE = 6, 0.3
#: Decimal mark and mark between thousands, in the order in which they are tried.
_MARKS = tuple((decimal, mark) for decimal, marks in ((".", ("", ",")), (",", ("", "."))) for mark in marks) + tuple(
    (decimal, mark) for mark in ("'", "’", " ", "\xa0", "\u202f") for decimal in ".,"
)


def number_candidates(cells: Sequence[str], known: Reading, delimiter: str) -> Iterator[CellFormat]:
    """Yield the formats that the numbers of a column may have, in the order in which they are tried."""
    marks = [pair for pair in _MARKS if known.decimal in (None, pair[0]) and known.thousands in (None, pair[1])] or [
        (known.decimal or ".", known.thousands or "")
    ]
    if delimiter == ";":  # such files have decimal commas, which need no quotes there
        marks.sort(key=lambda pair: pair == (".", ","))
    if are_grouped_by_points(cells, known, delimiter):
        yield CellFormat("number", ",", ".")
    brackets = any("(" in cell for cell in cells)
    begins = {cell[:2] for cell in cells}
    limits = [(mark, "") for mark in _LIMITS if any(begin.startswith(mark) for begin in begins)]
    limits += [(mark, after) for mark, _ in limits if (after := _around(cells, 0.5)[1])]
    plain = CellFormat("number", brackets=brackets)
    around = [("", ""), _around(cells), ("", _common_end(cells)), *limits]
    forms = [replace(plain, before=before, after=after) for before, after in dict.fromkeys(around)]
    if flags := _flags(cells):
        forms.append(replace(plain, flags=flags))
    if any(map(_MULTIPLE.fullmatch, cells)):
        forms.append(replace(plain, multiples=True))
        forms += [replace(plain, before=before, multiples=True) for before in {_before(cells)} - {""}]
    for form in forms:
        for decimal, thousands in marks:
            yield replace(form, decimal=decimal, thousands=thousands)


def bare_number(cell: str, of: CellFormat) -> str:
    """Return the cell as a number that Python reads, if it is one in this format; without its multiple.

    Examples
    --------
    >>> from aefast.tables.dialect import CellFormat
    >>> from aefast.tables.number_formats import bare_number
    >>> bare_number("-$1,200.50", CellFormat("number", thousands=",", before="$"))
    '-1200.50'
    >>> bare_number("(1,200)", CellFormat("number", thousands=",", brackets=True))
    '-1200'
    >>> bare_number("12.5 *", CellFormat("number", flags=("*",)))
    '12.5'
    """
    cell, sign = cell.strip().replace("−", "-"), ""
    for flag in of.flags:
        if cell.endswith(flag):
            cell = cell.removesuffix(flag).rstrip()
            break
    if of.multiples and (parts := _MULTIPLE.fullmatch(cell)):
        cell = parts[1]
    cell = cell.removesuffix(of.after).rstrip()
    if of.brackets and (inner := _BRACKETS.fullmatch(cell)):
        sign, cell = "-", inner[1] or f"{inner[2]}{inner[3]}"
    if cell[-1:] == "-" and cell[:1].isdigit():  # as SAP writes negative numbers
        sign, cell = "-", cell[:-1]
    if of.before and cell[:1] in ("-", "+"):
        sign, cell = cell[0], cell[1:].lstrip()
    cell = cell.removeprefix(of.before).removesuffix(of.after).strip()
    if of.thousands:
        cell = cell.replace(of.thousands, "")
    cell = _FORTRAN.sub("e", cell)
    return sign + (cell.replace(",", ".") if of.decimal == "," else cell)


def decimal_mark(cells: Sequence[str], of: CellFormat) -> str:
    """Return the only decimal mark with which all numbers can be read; empty if both are possible, as in ``1,200``."""

    def may_be(decimal: str, other: str) -> bool:
        candidates = [replace(of, decimal=decimal, thousands=mark) for mark in ("", other)]
        return any(all(is_number(cell, each) for cell in cells) for each in candidates)

    possible = [decimal for decimal, other in (".,", ",.") if may_be(decimal, other)]
    return possible[0] if len(possible) == 1 else ""


def are_floats(cells: Iterable[str]) -> bool:
    """Whether Python reads all cells as numbers other than NaN."""
    try:
        return not any("_" in cell or float(cell) != float(cell) for cell in cells)
    except ValueError:
        return False


def is_number(cell: str, of: CellFormat) -> bool:
    """Whether a cell is a number in this format."""
    if of.thousands:
        digits = bare_number(cell, replace(of, thousands="", decimal="."))
        whole, _, fraction = digits.lstrip("+-").partition(of.decimal)
        groups = whole.split(of.thousands)
        if of.thousands in fraction or (len(groups) > 1 and not _are_groups(groups)):
            return False
    if of.decimal == "," and of.thousands != "." and "." in cell.removesuffix(of.after).removeprefix(of.before):
        return False
    return _PLAIN.fullmatch(bare_number(cell, of)) is not None


def _are_groups(groups: Sequence[str]) -> bool:
    """Whether groups of digits are thousands, or thousands and then hundreds, as in India."""
    first, *others, last = groups
    is_first = 0 < len(first) <= 3 and first[0] != "0"
    return is_first and len(last) == 3 and {*map(len, others)} in (set(), {2}, {3})


def are_grouped_by_points(cells: Sequence[str], known: Reading, delimiter: str) -> bool:
    """Whether points stand between thousands, as in ``12.345`` beside ``845``: decimals would have as many digits."""
    if known.decimal or known.thousands is not None or delimiter != ";" or not any("." in cell for cell in cells):
        return False
    has_whole = any(cell.isdecimal() for cell in cells)
    return has_whole and all(re.fullmatch(r"-?([1-9]\d{0,2}(\.\d{3})*|0)", cell) for cell in cells)


def _around(cells: Sequence[str], least: float = AGREEING) -> tuple[str, str]:
    """Return what stands before and after the number in nearly all cells: a currency, a percent sign or a unit."""
    found = Counter((part[1] or "", part[2] or "") for part in map(_AROUND.fullmatch, cells[:500]) if part)
    (around, count), *_ = [*found.most_common(1), (("", ""), 0)]
    return (around[0].strip(), around[1].strip()) if count >= least * min(len(cells), 500) else ("", "")


def _before(cells: Sequence[str]) -> str:
    """Return the currency before the numbers of all cells."""
    found = {part[0] if part else "" for part in (re.match(_CURRENCY, cell) for cell in cells)}
    return found.pop() if len(found) == 1 else ""


def _common_end(cells: Sequence[str]) -> str:
    """Return the words that stand behind all numbers, such as ``out of 5``."""
    first = _NUMBER_AND_REST.fullmatch(cells[0])
    is_end = first is not None and (first[2][:1] in (" ", "°") or first[2] in _OUT_OF) and '"' not in first[2]
    end = first[2].strip() if first and is_end else ""
    return end if end and len(end) <= _LONGEST_END and all(cell.endswith(end) for cell in cells) else ""


def _flags(cells: Sequence[str]) -> tuple[str, ...]:
    """Return the marks that stand behind some numbers; none if these are units, or letters of a code."""
    parts = [part for part in map(_NUMBER_AND_REST.fullmatch, cells) if part is not None]
    rests = Counter(part[2] for part in parts if part[2].strip())
    has_decimals = all(re.search(r"\d[.,]\d", part[1]) for part in parts)
    letters = [rest for rest in rests if rest.isalpha() and len(rest) <= 2]
    are_flags = all(_FLAG.fullmatch(rest) or (has_decimals and rest in letters) for rest in rests)
    are_few = len(rests) <= _MOST_FLAGS and sum(rests.values()) <= (1 - _LEAST_BARE) * len(parts)
    if not rests or not are_flags or not are_few or len(parts) < _LEAST_BARE * len(cells):
        return ()
    return tuple(sorted({rest.strip() for rest in rests}, key=lambda flag: (-len(flag), flag)))
