"""Explains what is wrong with a CSV file: where, by an example, and with the option that helps."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from aefast.tables.text import option_of, shorten

#: What is wrong with a file whose last cell has the rest of its lines.
UNCLOSED = "a quote is not closed"
#: How Arrow begins the message about a cell that does not fit the type of its column.
_CELL = re.compile(r"In CSV column #(\d+): (?:Row #(\d+): )?")
_VALUE = re.compile(r"invalid value '(.*)'")
_CLOSE = f"{UNCLOSED}: close it, or give --quote none"
_TOO_WIDE = "give --on-bad null or skip, or give another --delimiter"
_UNFINISHED = "the file ends in it: write it again, or give --on-bad skip"
#: The most characters of a cell that may be a word for a missing value.
_LONGEST_WORD = 12


def is_about_cell(error: BaseException) -> bool:
    """Whether Arrow says that one cell does not fit the type of its column."""
    return _CELL.search(str(error)) is not None


def remedy_of(column: str, cell: str) -> str:
    """Return what to do about a cell that is not of its column's type."""
    missing = f", --na {option_of([cell])}" if len(cell) <= _LONGEST_WORD else ""
    return f"mend it, or give --on-bad skip{missing} or --kind-of {option_of([column], '=categorical')}"


def explained(
    error: BaseException, columns: Sequence[str], first: int, n_rows: int, invalid: Sequence[Any], encoding: str
) -> tuple[int | None, str | None, str]:
    """Return the row of an error of Arrow, the column, and what is wrong with an example and the option that helps.

    Parameters
    ----------
    error : Exception
    columns : sequence of str
        The names of all columns of the file.
    first : int
        The number that Arrow gives to the first row of data.
    n_rows : int
        The rows that could be read.
    invalid : sequence
        The rows of another width, as Arrow shows them.
    encoding : str
    """
    text = "there are no rows below its header" if "Could not skip" in str(error) else str(error)
    if in_cell := _CELL.search(text):
        column = next(iter(columns[int(in_cell[1]) :]), "")
        row = int(in_cell[2]) - first if in_cell[2] else None
        text = text.replace(in_cell[0], "")
        if bad := _VALUE.search(text):
            text = f"invalid value {shorten(bad[1], 30)!r}; {remedy_of(column, bad[1])}"
        return row, column, _in_encoding(text, encoding)
    if invalid:
        wrong = invalid[0]
        is_short = wrong.actual_columns < wrong.expected_columns
        text = f"Expected {wrong.expected_columns} columns, got {wrong.actual_columns}: {shorten(wrong.text, 40)}; "
        if "\n" in text:
            return wrong.number - first, None, f"{text}{_CLOSE}"
        return wrong.number - first, None, text + (_UNFINISHED if is_short else _TOO_WIDE)
    if text == UNCLOSED:  # Arrow takes the rest of the file for the last cell of the last row
        return n_rows - 1, None, _CLOSE
    if "straddling object" in text:
        return n_rows, None, f"a row is too long, or {_CLOSE}"
    return None, None, _in_encoding(text, encoding)


def _in_encoding(text: str, encoding: str) -> str:
    if "invalid UTF8" not in text:
        return text
    return f"it is not {encoding.upper()}; give its encoding, with --encoding latin-1 for instance"
