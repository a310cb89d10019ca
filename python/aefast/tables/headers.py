"""Tells rows that name columns from rows of data, and both from rows of units, by the types of the cells below."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise

from aefast.tables.cell_formats import ALWAYS_MISSING, others
from aefast.tables.dialect import CellFormat
from aefast.tables.separators import Row

#: The cells of a line that is drawn below the header.
_RULE = re.compile(r"[-=:+]{3,}")
#: What the columns of Orange's files are for.
_ROLES = {"class", "meta", "multi_class", "ignore", "weight"}
#: The fewest numbers that grow in a header.
_LEAST_VALUES = 6
#: The fewest numbers of a column that show that a year above them is none of them.
_MANY = 20


def fitting(row: Row, formats: Sequence[CellFormat]) -> list[bool]:
    """Return for each cell that is not missing, in a column with a format, whether it is written in it."""
    pairs = zip(map(str.strip, row.cells), formats, strict=False)
    return [
        not others([cell], each, 0)
        for cell, each in pairs
        if each.kind != "text" and cell not in ALWAYS_MISSING and cell not in each.missing
    ]


def is_plain_number(cell: str) -> bool:
    """Whether a cell is a number without marks around it."""
    return not others([cell.strip()], CellFormat("number"), 0)


def names_all(row: Row, first: int, n_columns: int, formats: Sequence[CellFormat]) -> bool:
    """Whether a row has a name for each column from ``first`` on: filled cells that differ and that are no data."""
    cells = [cell.strip() for cell in row.cells[first:n_columns]]
    return first < len({*cells} - {""}) == n_columns - first == len(cells) and not any(fitting(row, formats))


def is_data(row: Row, formats: Sequence[CellFormat]) -> bool:
    """Whether most cells of a row are written in the formats of their columns, or all are missing."""
    found = fitting(row, formats)
    return len(row.cells) == len(formats) and (not found or sum(found) > len(found) / 2)


def is_of_units(row: Row, formats: Sequence[CellFormat]) -> bool:
    """Whether no cell is written in the format of its column, as in a row of units or a rule below a header."""
    found = fitting(row, formats)
    cells = [cell for cell in map(str.strip, row.cells) if cell]
    is_rule = bool(cells) and all(map(_RULE.fullmatch, cells))
    n_formats = sum(each.kind != "text" for each in formats)
    return is_rule or (n_formats > 1 and len(found) > 0 and not any(found))


def is_of_roles(row: Row) -> bool:
    """Whether a row has the roles of columns, as the third one of files of Orange has below names and types."""
    return {*map(str.strip, row.cells)} - {""} <= _ROLES and any(map(str.strip, row.cells))


def may_name(row: Row, n_columns: int, width: int, least: int) -> bool:
    """Whether a row that is not as wide as the rows below it, or is a comment, may name at least so many columns."""
    names = without_blank_end(names_in(row, n_columns), n_columns)
    cells = [cell for cell in map(str.strip, names) if cell]
    numbers = [cell for cell in cells if is_plain_number(cell)]
    is_title = n_columns > len(cells) == 1 and " " in cells[0]
    is_note = row.is_comment and names[0].endswith(":")
    is_prose = len(cells) < n_columns - 1 and any(re.search(r"^\s|:|.{40}", name) for name in names)
    least = n_columns if row.is_comment else max(min(least, n_columns - 1), 1)
    if row.cells[0].lstrip().startswith("@"):
        return False
    if not least <= len(cells) <= len(names) <= max(width, len(cells)) or is_title or is_note or is_prose:
        return False
    return len(cells) <= width and (not numbers or (len(numbers) < len(cells) and _are_names(numbers)))


def names_in(row: Row, n_columns: int) -> list[str]:
    """Return the cells of a header without the sign that makes it a comment, or a label before them."""
    if not row.is_comment:
        is_labelled = len(row.cells) == n_columns + 1 and row.cells[0].rstrip().endswith(":")
        return row.cells[1:] if is_labelled else row.cells  # a label such as "Data:" names no column
    words = re.sub(r"(?i)^\W*fields:?\s+", "", row.cells[0]).split()
    if len(row.cells) == 1:  # blanks separate the names, whatever separates the cells
        return words if len(words) == n_columns and words != row.cells[0].split() else row.cells
    bare = re.sub(r"(?i)^\W*(fields:?(\s+|$))?", "", row.cells[0])
    if bare:
        return [bare, *row.cells[1:]]
    return row.cells if len(row.cells) == n_columns else row.cells[1:]


def without_blank_end(names: Sequence[str], n_columns: int) -> list[str]:
    """Return the names without blank ones behind those of the columns, as a separator at the end of a header makes."""
    n_names = len(names)
    while n_names > n_columns and not names[n_names - 1].strip():
        n_names -= 1
    return [*names[:n_names]]


def of_groups(names: Sequence[str], above: Sequence[str]) -> list[str]:
    """Return names with those of the groups above them: in place of blank ones, and before names that repeat.

    Examples
    --------
    >>> from aefast.tables.headers import of_groups
    >>> of_groups(["", "min", "max", "min", "max"], ["site", "wind", "", "rain", ""])
    ['site', 'wind min', 'wind max', 'rain min', 'rain max']
    """
    found = [name if name.strip() else group.strip() for name, group in zip(names, above, strict=True)]
    filled = [name for name in found if name.strip()]
    if len({*filled}) == len(filled):
        return found
    groups: list[str] = []
    for cell in map(str.strip, above):
        groups.append(cell or (groups[-1] if groups else ""))
    pairs = zip(groups, names, found, strict=True)
    whole = [f"{group} {name.strip()}" if group and name.strip() else whole for group, name, whole in pairs]
    return whole if len({*whole}) == len(whole) else found


def is_header(first: Sequence[str], columns: Sequence[Sequence[str]], formats: Sequence[CellFormat]) -> bool:
    """Whether the first row names the columns: its cells are not of the types of the rows below."""
    values, n_typed = [], sum(each.kind != "text" for each in formats)
    for cell, column, each in zip(map(str.strip, first), columns, formats, strict=False):
        if each.kind == "text":
            continue
        # A year above many numbers that are none is a name, too, if these are the only ones.
        is_alone = n_typed == 1 < len(first) and len(column) >= _MANY
        is_year = is_alone and _is_year(cell) and not any(_is_year(c.partition(".")[0]) for c in column)
        if cell in ALWAYS_MISSING or others([cell], each, 0) or is_year:
            if cell not in column:
                return True
        else:
            values.append(cell)
    if values:
        # Columns may be named by whole numbers, as by pandas, by years or by values, unless the rows below look alike.
        rows = [[cell for cell in map(str.strip, row) if cell] for row in zip(*columns, strict=True)]
        return any(alike(values) and not any(map(alike, rows)) for alike in (_are_names, _are_values))
    if not columns or not columns[0]:
        return True
    # If all columns are text, a row of data repeats values that occur below it.
    least = max(2, len(columns[0]) // 100)
    n_repeated = sum(column.count(cell) >= least for cell, column in zip(first, columns, strict=False))
    return n_repeated < len(first) / 2


def _is_year(cell: str) -> bool:
    return cell.isdecimal() and 1900 <= int(cell) < 2100


def _are_names(cells: Sequence[str]) -> bool:
    """Whether cells are consecutive whole numbers from 0, or from any number if there are several, or years."""
    if not all(cell.isdecimal() for cell in cells):
        return False
    numbers = [int(cell) for cell in cells]
    is_run = numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    return (is_run and (len(numbers) > 1 or numbers == [0])) or (
        len(set(numbers)) == len(numbers) > 1
        and all(1500 <= number < 2100 for number in numbers)
        and (min(numbers) >= 1900 or numbers == sorted(numbers))
    )


def _are_values(cells: Sequence[str]) -> bool:
    """Whether cells are numbers that grow, such as the wind speeds at which the rows have values."""
    if len(cells) < _LEAST_VALUES or not all(map(is_plain_number, cells[-_LEAST_VALUES:])):
        return False
    numbers = [float(cell) for cell in cells if is_plain_number(cell)]
    return all(before < after for before, after in pairwise(numbers))
