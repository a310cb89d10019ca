"""Splits lines of text into rows of cells, and finds the separator and the quote.

Every candidate separator splits the lines, and the one whose rows agree best in width and in the types of their cells
wins, as in DuckDB's CSV sniffer.
"""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import dropwhile
from typing import NamedTuple

from aefast.tables.cell_formats import format_of_cells
from aefast.tables.dialect import Reading, is_blank, mark_of, separator_pattern

#: Separators that are tried, in the order that decides a tie; see `aefast.tables.dialect.separator_pattern`.
SEPARATORS = (",", ";", "\t", "||", "|", " ", "  ", "::", "^", "~", "\x01", ":")
#: Lines among which the first rows of a table are looked for.
MOST_ABOVE = 300
#: Rows whose cells show the formats of columns well enough to find the header.
ENOUGH = 300
#: The signs that begin a comment above the table.
_COMMENT = re.compile(r"\s*(#|%|//|@( |$|TYPE$))")
#: The least share of lines with cells in single quotes, for these to be the quotes of the file.
_LEAST_QUOTED = 0.2
#: The least share of the rows below the header that are as wide as most, for a separator.
_LEAST_EVEN = 0.8
#: The same share for blanks, which also stand between words.
_LEAST_EVEN_OF_WORDS = 0.95
#: Rows in whose cells several blanks are looked for.
_TRIED = 20
#: What the share of columns with a type must be higher by, for blanks to be preferred to another separator.
_BLANK_COSTS = 0.2


class Row(NamedTuple):
    """The cells of a row, the lines of the file up to its end, and whether the line before it is blank."""

    cells: list[str]
    end: int
    after_blank: bool

    @property
    def is_comment(self) -> bool:
        """Whether the row is a comment, if it stands above the table."""
        return _COMMENT.match(self.cells[0]) is not None

    @property
    def is_sparse(self) -> bool:
        """Whether most cells are empty, as in titles that a spreadsheet pads."""
        n_filled = sum(bool(cell.strip()) for cell in self.cells)
        return n_filled < max(len(self.cells) / 2, 1) or (len(self.cells) == 2 and not self.cells[1].strip())


def split_rows(text: str, delimiter: str, quote: str = '"') -> list[Row]:
    """Return the rows of the lines that are not blank."""
    lines: Iterable[str] = io.StringIO(text, newline="")
    mark = mark_of(delimiter)
    if is_blank(delimiter):
        lines = (re.sub(r"[ \t]+(?=[\r\n]|$)", "", line.lstrip(" \t")) for line in lines)
    if delimiter != mark or is_blank(delimiter):
        pattern = re.compile(separator_pattern(delimiter))
        lines = (pattern.sub(mark, line) for line in lines)
    rows: list[Row] = []
    after_blank = False
    with suppress(csv.Error):  # raised for a cell that is too long, because a quote is not closed
        reader = csv.reader(lines, delimiter=mark, quotechar=quote)
        for cells in reader:
            is_blank_line = len(cells) < 2 and not "".join(cells).strip()
            if not is_blank_line:
                rows.append(Row(cells, reader.line_num, after_blank))
            after_blank = is_blank_line
    return rows


def usual_width(rows: Sequence[Row]) -> int:
    """Return the most common width of rows, without comments above them and then half, where a title may stand."""
    below = [*dropwhile(lambda row: row.is_comment, rows)] or rows
    return Counter(len(row.cells) for row in below[len(below) // 2 :]).most_common(1)[0][0]


def columns_of(rows: Iterable[Row], width: int) -> list[tuple[str, ...]]:
    """Return the columns of the rows of a width."""
    return list(zip(*(row.cells for row in rows if len(row.cells) == width), strict=True))


def even_starts(rows: Sequence[Row], width: int, least: float = _LEAST_EVEN) -> Iterator[int]:
    """Yield the rows of a width below which at least so large a share of the rows is as wide."""
    n_agreeing = sum(len(row.cells) == width for row in rows)
    for k, row in enumerate(rows):
        if len(row.cells) == width:
            if n_agreeing >= least * (len(rows) - k):
                yield k
            n_agreeing -= 1


def find_quote(text: str) -> str:
    """Return the quote of the cells: a single one if many cells stand in them, and none begins with one otherwise."""
    edge = "[" + "".join(re.escape(each) for each in SEPARATORS if len(each) == 1 and each != " ") + r"\r\n]|^|$"
    if re.search(rf'(?:{edge})[ ]*"', text):
        return '"'
    n_cells = len(re.findall(rf"(?:{edge})[ ]*'(?:[^'\r\n]|'')*'[ ]*(?={edge})", text))
    n_begun = len(re.findall(rf"(?:{edge})[ ]*'", text))
    return "'" if n_cells and n_cells == n_begun and n_cells >= _LEAST_QUOTED * text.count("\n") else '"'


def find_separator(text: str, usual: str, quote: str = '"') -> str:
    """Return the separator whose rows agree best, first in width and then in the types of their cells."""
    head = "".join(text[: 1 << 15].splitlines(keepends=True)[:MOST_ABOVE])
    best, best_score = usual, (0.0, False, 0.0, 0, False)
    has_even_words = False
    has_blanks = re.search(rf"[^,], +{quote}", head) is not None  # the quote would be part of the cell
    for candidate in SEPARATORS:
        separator = ", " if candidate == "," and has_blanks else candidate
        # Colons separate hours and minutes in files with another separator.
        if candidate not in head or (separator == "  " and has_even_words) or (separator == ":" and any(best_score)):
            continue
        rows = split_rows(head, separator, quote)
        width = usual_width(rows) if rows else 0
        if width < 2:
            continue
        of_words = is_blank(separator)
        start = next(even_starts(rows, width, _LEAST_EVEN_OF_WORDS if of_words else _LEAST_EVEN), len(rows))
        below = rows[start:]
        if len(below) < min(len(rows), 3):
            continue
        n_agreeing = sum(len(row.cells) == width for row in below)
        columns = [column for column in columns_of(below[1:] or below, width) if any(map(str.strip, column))]
        n_typed = sum(format_of_cells(column, Reading(), separator).kind != "text" for column in columns)
        share = n_typed / max(len(columns), 1)
        # Words are separated by blanks, too, and so are date and time; a number may have a decimal comma.
        if of_words and share < 0.5 and not (share and width > 2 and n_agreeing == len(rows)):
            continue
        has_even_words |= separator == " " and n_agreeing == len(rows)
        if separator == ":" and n_agreeing < len(rows):
            continue
        if (of_words or separator == ":" or (start and width == 2)) and _is_one_cell(below[1:], separator):
            continue
        # Widths count in tenths, so that one ragged line does not decide against better types. Dates and times with
        # blanks have a type in parts, too.
        share = max(share - _BLANK_COSTS, 0.01) if of_words else share
        # Marks that stand in all rows and in the header are no part of the text, unless tabs and blanks do alike.
        has_gaps = separator == "\t" and any("  " in cell.strip() for row in rows[:_TRIED] for cell in row.cells)
        is_whole = not of_words and not has_gaps and n_agreeing == len(rows)
        score = (round(n_agreeing / len(rows), 1), is_whole, share, -start, candidate == usual)
        if score > best_score:
            best, best_score = separator, score
    return " " if best == "\t" and _has_double_tabs(head, quote) else best


def _has_double_tabs(text: str, quote: str) -> bool:
    """Whether the rows have the same width if several tabs are taken for one, and else some have more cells."""
    widths, of_blanks = ([len(row.cells) for row in split_rows(text, mark, quote)] for mark in ("\t", " "))
    return len({*of_blanks}) == 1 and max(widths) > min(widths) == of_blanks[0]


def _is_one_cell(rows: Sequence[Row], separator: str) -> bool:
    """Whether whole lines are numbers or times."""
    lines = [separator.join(row.cells) for row in rows]
    return bool(lines) and format_of_cells(lines, Reading(), "").kind != "text"
