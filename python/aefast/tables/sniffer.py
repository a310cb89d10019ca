"""Finds the dialect of a text file in a sample of its lines.

`aefast.tables.separators` splits the lines into rows. The types of their cells then distinguish the header from data,
and from lines above it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import takewhile

from aefast.tables.cell_formats import ALWAYS_MISSING, format_of_cells, others
from aefast.tables.dialect import MARK, NO_QUOTE, CellFormat, Dialect, Reading
from aefast.tables.fixed_width import cut_lines, fixed_starts
from aefast.tables.number_formats import decimal_mark
from aefast.tables.separators import (
    MOST_ABOVE,
    Row,
    columns_of,
    even_starts,
    find_quote,
    find_separator,
    split_rows,
    usual_width,
)
from aefast.tables.text import unique_names

#: Rows whose cells show the formats of columns well enough to find the header.
_ENOUGH = 300
#: The share of rows with few cells below which such a row above the others is a title.
_FEW = 0.1
#: The cells of a line that is drawn below the header.
_RULE = re.compile(r"[-=:+]{3,}")
#: Rows of data that follow each other where a table begins.
_STEADY = 3
#: The fewest numbers of a column that show that a year above them is none of them.
_MANY = 20
#: Rows below the header that may have units or types.
_MOST_BELOW = 8


@dataclass(frozen=True)
class Layout:
    """Where the table stands among the rows of a file.

    ``first`` is the row of the header, or the first row of data if there is no header. ``names`` are those of the
    header, as they are written. ``width`` counts the cells of a row, of which the last ``n_surplus`` are empty.
    ``n_below`` rows between the header and the first row of data have units or types.
    """

    first: int
    has_header: bool
    names: tuple[str, ...]
    width: int
    n_surplus: int = 0
    n_below: int = 0

    @property
    def body(self) -> int:
        """The first row of data."""
        return self.first + self.has_header + self.n_below


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
    known = _of_arff(text, known or Reading())
    learned = known.learned
    if learned is not None and learned.delimiter in text:
        usual = learned.delimiter
    is_quote = learned is not None and (learned.quote == NO_QUOTE or learned.quote in text)
    quote = known.quote or (learned.quote if learned is not None and is_quote else find_quote(text[: 1 << 15]))
    delimiter = known.delimiter or find_separator(text, usual, quote)
    starts = known.starts or (
        () if known.delimiter else learned.starts if learned else fixed_starts(text, delimiter, quote)
    )
    if starts:
        text, delimiter, quote = cut_lines(text, starts), MARK, NO_QUOTE
    rows = [row for row in split_rows(text, delimiter, quote) if row.end > (known.skip_rows or 0)]
    if not rows:
        return Dialect(delimiter, encoding)
    rows, repeated = _without_repeated_header(rows, text, delimiter)
    layout = _layout(rows, known, delimiter)
    body = [row for row in rows[layout.body :] if any(row.cells)]
    columns, width = columns_of(body, layout.width) or [()] * layout.width, layout.width - layout.n_surplus
    if layout.has_header:
        names = unique_names(layout.names)
    elif known.names is None and learned is not None and not learned.has_header and len(learned.names) == width:
        names = learned.names
    else:
        names = tuple(f"x{j}" for j in range(width))
    names = known.names or names
    formats = _formats(columns, names, known, delimiter)
    found = {name: each for name, each in zip(names, formats, strict=False) if each.kind != "text" or each.missing}
    for name, each in (learned.formats if learned else {}).items():
        if name in names and each.kind != "text":
            found[name] = replace(each, missing=tuple(sorted({*each.missing, *found.get(name, each).missing})))
    n_above, header = rows[layout.first - 1].end if layout.first else known.skip_rows or 0, rows[layout.first]
    is_changed = layout.n_surplus or layout.n_below or repeated or (layout.has_header and names != tuple(header.cells))
    # A model that was fitted on even rows has rows with more cells refused.
    is_uneven = bool(learned and learned.is_uneven) if known.columns else _is_uneven(body, layout.width, text, quote)
    # Separators alone are no rows at the end of a table; between rows, they are a row without values.
    is_whole = len(body) > 0 and rows[layout.body + len(body) - 1] is body[-1]
    has_empty = layout.width > 1 and is_whole and rows[-1] is not body[-1]
    return Dialect(
        delimiter,
        encoding,
        layout.has_header,
        names,
        found,
        known.missing or (learned.na if learned else ()),
        n_above,
        (rows[layout.body - 1].end if layout.body else n_above) if n_above or is_changed else 0,
        layout.n_below,
        layout.n_surplus,
        is_uneven,
        quote,
        repeated,
        starts,
        has_empty,
    )


def _without_repeated_header(rows: Sequence[Row], text: str, delimiter: str) -> tuple[list[Row], str]:
    """Return the rows without those that repeat the header, as in joined files, and the line that they repeat."""
    width = usual_width(rows)
    first = next((row for row in rows if len(row.cells) == width), rows[0])
    others_of_width = [row for row in rows if len(row.cells) == width and row.cells != first.cells]
    n_repeats = sum(row.cells == first.cells for row in rows) - 1
    if not n_repeats or len(others_of_width) < width:
        return list(rows), ""
    formats = [format_of_cells(column, Reading(), delimiter) for column in columns_of(others_of_width[:_ENOUGH], width)]
    if any(_fitting(first, formats)) or all(each.kind == "text" for each in formats):
        return list(rows), ""
    kept = [row for row in rows if row is first or row.cells != first.cells]
    return kept, text.splitlines()[first.end - 1]


def _is_uneven(body: Sequence[Row], width: int, text: str, quote: str) -> bool:
    """Whether a row has fewer or more cells. Parts of a sample after its head may begin inside of quotes."""
    n_lines = text.count("\n", 0, 1 << 16) if quote in text else len(text)
    return any(len(row.cells) != width for row in body if row.end <= n_lines)


def _layout(rows: Sequence[Row], known: Reading, delimiter: str) -> Layout:
    """Return where the table stands, by what is known, by the widths of the rows and by the types of their cells."""
    width = _width(rows, delimiter)
    of_width = [row for row in rows if len(row.cells) == width]
    in_body = of_width[len(of_width) // 2 :]
    n_filled = max((k + 1 for row in in_body for k, cell in enumerate(row.cells) if cell.strip()), default=width)
    n_surplus = width - max(n_filled, 2) if width > 2 else 0
    formats = [format_of_cells(column, Reading(), delimiter) for column in columns_of(in_body[:_ENOUGH], width)]
    formats = [replace(each, brackets=each.kind == "number") for each in formats]  # the first rows may have brackets
    start = 0 if known.skip_rows is not None else _start(rows, in_body, width)
    found = _with_header(rows, known, start, formats, n_surplus)
    if found is None:
        found = Layout(start, False, (), width, n_surplus)
    else:
        found = replace(found, n_below=_n_below(rows[found.first + 1 : found.first + 1 + _MOST_BELOW], formats))
    # The last columns may have cells in the first half of the rows alone.
    body = [row.cells for row in rows[found.body :] if len(row.cells) == found.width]
    n_columns = found.width - found.n_surplus
    filled = [j for j in range(n_columns, found.width) if sum(bool(cells[j].strip()) for cells in body) > 1]
    if not filled:
        return found
    names = (*found.names, *(f"x{j}" for j in range(n_columns, filled[-1] + 1))) if found.has_header else ()
    return replace(found, names=names, n_surplus=found.width - filled[-1] - 1)


def _width(rows: Sequence[Row], delimiter: str) -> int:
    """Return the most common width of rows, or that of the rows above them if these have the same data and more."""
    width = usual_width(rows)
    above = rows[: next(even_starts(rows, width), 0)]
    widths = {len(row.cells) for row in above}
    if len(above) <= _STEADY or len(widths) > 1 or min(widths) < width:
        return width
    below = rows[len(above) :][:_ENOUGH]
    formats = [format_of_cells(column, Reading(), delimiter) for column in columns_of(below, width)]
    is_data = all(_is_data(row._replace(cells=row.cells[:width]), formats) for row in above[1:])
    return max(widths) if is_data else width


def _n_below(rows: Sequence[Row], formats: Sequence[CellFormat]) -> int:
    """Return how many rows below the header are no data: those of units or types, and those between them."""
    above_data = [*takewhile(lambda row: not _is_data(row, formats) or _is_of_units(row, formats), rows)]
    return max((k + 1 for k, row in enumerate(above_data) if _is_of_units(row, formats)), default=0)


def _with_header(
    rows: Sequence[Row], known: Reading, start: int, formats: Sequence[CellFormat], n_surplus: int
) -> Layout | None:
    """Return the layout of a table with a header, which is the row ``start`` or near it; None if it has no header."""
    learned, width = known.learned, len(formats)
    if known.has_header is False or known.names is not None or (learned is not None and not learned.has_header):
        return None
    wanted = {*(known.columns or (learned.names if learned else ()))}
    named = (k for k, row in enumerate(rows[:MOST_ABOVE]) if wanted and wanted <= {*unique_names(row.cells)})
    if (first := next(named, None)) is not None:
        return _named_layout(rows, first, width, n_surplus)
    has_types = any(each.kind != "text" for each in formats)
    candidates = range(start, min(start + MOST_ABOVE, len(rows)))
    are_data = [has_types and _is_data(rows[k], formats) for k in candidates]
    # One row of metadata may look like data.
    steady = (k for k in range(len(are_data)) if all(are_data[k : k + _STEADY]))
    found = next(steady, are_data.index(True) if True in are_data else None)
    data = None if found is None else start + found
    if data is not None and data > start:
        blanks = [k for k in range(start, data) if rows[k].after_blank]
        first = blanks[-1] if blanks else start
        whole = [k for k in range(first, data) if _names_all(rows[k], 0, width - n_surplus, formats)]
        whole = whole or [k for k in range(first, data) if _names_all(rows[k], 1, width - n_surplus, formats)]
        # Names and values of metadata may stand above the names of the columns.
        of_values = max((k for k in range(first, data) if any(map(_is_plain_number, rows[k].cells))), default=first - 1)
        header = next((k for k in whole if k > of_values), next(iter(whole), first))
        return _named_layout(rows, header, width, n_surplus)
    above = start - 1 if known.skip_rows is None and data is not None else -1
    n_columns = width - n_surplus
    while above > 0 and rows[above - 1].is_comment and _may_name(rows[above - 1], n_columns, width):
        above -= 1
    if above >= 0 and _may_name(rows[above], n_columns, width):
        return _named_layout(rows, above, width, n_surplus)
    if learned is not None or _is_header(rows[start].cells, columns_of(rows[start + 1 :], width), formats):
        return _named_layout(rows, start, width, n_surplus)
    return None


def _start(rows: Sequence[Row], in_body: Sequence[Row], width: int) -> int:
    """Return the first row that is as wide as most rows below it and neither a comment nor a title."""
    may_comment = not any(row.is_comment for row in in_body)
    may_be_title = width > 1 and sum(row.is_sparse for row in in_body) < _FEW * len(in_body)

    def belongs(row: Row) -> bool:
        return not (may_be_title and row.is_sparse) and not (may_comment and row.is_comment)

    return next((k for k in even_starts(rows, width) if belongs(rows[k])), 0)


def _fitting(row: Row, formats: Sequence[CellFormat]) -> list[bool]:
    """Return for each cell that is not missing, in a column with a format, whether it is written in it."""
    pairs = zip(map(str.strip, row.cells), formats, strict=False)
    return [
        not others([cell], each, 0)
        for cell, each in pairs
        if each.kind != "text" and cell not in ALWAYS_MISSING and cell not in each.missing
    ]


def _is_plain_number(cell: str) -> bool:
    return not others([cell.strip()], CellFormat("number"), 0)


def _names_all(row: Row, first: int, n_columns: int, formats: Sequence[CellFormat]) -> bool:
    """Whether a row has a name for each column from ``first`` on: filled cells that differ and that are no data."""
    cells = [cell.strip() for cell in row.cells[first:n_columns]]
    return first < len({*cells} - {""}) == n_columns - first == len(cells) and not any(_fitting(row, formats))


def _is_data(row: Row, formats: Sequence[CellFormat]) -> bool:
    """Whether most cells of a row are written in the formats of their columns, or all are missing."""
    found = _fitting(row, formats)
    return len(row.cells) == len(formats) and (not found or sum(found) > len(found) / 2)


def _is_of_units(row: Row, formats: Sequence[CellFormat]) -> bool:
    """Whether no cell is written in the format of its column, as in a row of units or a rule below a header."""
    found = _fitting(row, formats)
    cells = [cell for cell in map(str.strip, row.cells) if cell]
    is_rule = bool(cells) and all(map(_RULE.fullmatch, cells))
    n_formats = sum(each.kind != "text" for each in formats)
    return is_rule or (n_formats > 1 and len(found) > 0 and not any(found))


def _may_name(row: Row, n_columns: int, width: int) -> bool:
    """Whether a row that is not as wide as the rows below it, or is a comment, may name their columns."""
    names = _names_in(row, n_columns)
    cells = [cell for cell in map(str.strip, names) if cell]
    numbers = [cell for cell in cells if _is_plain_number(cell)]
    is_title = n_columns > len(cells) == 1 and " " in cells[0]
    is_note = row.is_comment and names[0].endswith(":")
    least = n_columns if row.is_comment else max(n_columns - 1, 1)  # R does not name the column of row names
    if row.cells[0].lstrip().startswith("@"):
        return False
    if not least <= len(cells) <= len(names) <= max(width, len(cells)) or is_title or is_note:
        return False
    return len(cells) <= width and (not numbers or (len(numbers) < len(cells) and _are_names(numbers)))


def _names_in(row: Row, n_columns: int) -> list[str]:
    """Return the cells of a header without the sign that makes it a comment."""
    if not row.is_comment:
        return row.cells
    words = re.sub(r"(?i)^\W*fields:?\s+", "", row.cells[0]).split()
    if len(row.cells) == 1:  # blanks separate the names, whatever separates the cells
        return words if len(words) == n_columns and words != row.cells[0].split() else row.cells
    bare = re.sub(r"(?i)^\W*(fields:?(\s+|$))?", "", row.cells[0])
    if bare:
        return [bare, *row.cells[1:]]
    return row.cells if len(row.cells) == n_columns else row.cells[1:]


def _named_layout(rows: Sequence[Row], first: int, width: int, n_surplus: int) -> Layout:
    """Return the layout with a header, whose width may differ from that of the rows."""
    n_columns = width - n_surplus
    names = _names_in(rows[first], n_columns)
    while len(names) > n_columns and not names[-1].strip():
        names = names[:-1]
    if n_columns < len(names) <= width:
        n_surplus = width - len(names)
    elif len(names) == n_columns - 1:
        names = ["", *names]  # R does not name the column of row names
    names = [*names, *(f"x{j}" for j in range(len(names), n_columns))]
    return Layout(first, True, tuple(names), max(width, len(names)), n_surplus)


def _formats(
    columns: Sequence[Sequence[str]], names: Sequence[str], known: Reading, delimiter: str
) -> list[CellFormat]:
    """Return the formats of the columns, with the same decimal mark in all of them if they allow it."""

    def formats(known: Reading) -> list[CellFormat]:
        pairs = zip(columns, names, strict=False)
        return [format_of_cells(column, known, delimiter, name) for column, name in pairs]

    found = formats(known)
    numbers = [(column, each) for column, each in zip(columns, found, strict=False) if each.kind == "number"]
    if known.decimal or not any(each.decimal == "," or each.thousands in (".", ",") for _, each in numbers):
        return found
    marks = {
        decimal_mark([c for c in map(str.strip, column) if c not in {*each.missing, *ALWAYS_MISSING}], each)
        for column, each in numbers
    } - {""}
    has_commas = any(each.decimal == "," and not each.thousands for _, each in numbers)
    # A column such as 1,200 could be either. Who writes 31.12.2024 has a decimal comma.
    if not marks and (has_commas or any(each.time_format.startswith("%d.%m.") for each in found)):
        marks = {","}
    return formats(replace(known, decimal=marks.pop())) if len(marks) == 1 else found


def _of_arff(text: str, known: Reading) -> Reading:
    """Return ``known`` with the separator, the names and the lines to skip of an ARFF file; of others as it is."""
    declared = re.match(r"(?s)\s*(?:%[^\n]*\n\s*)*@relation\b.*?^@data[^\n]*\n", text, re.IGNORECASE | re.MULTILINE)
    if declared is None:
        return known
    names = re.findall(r"""(?im)^@attribute\s+(?:'([^']*)'|"([^"]*)"|(\S+))""", declared[0])
    n_lines = declared[0].count("\n")
    return replace(known, delimiter=",", names=tuple("".join(name) for name in names), skip_rows=n_lines)


def _is_header(first: Sequence[str], columns: Sequence[Sequence[str]], formats: Sequence[CellFormat]) -> bool:
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
        # Columns may be named by whole numbers, as by pandas, or by years, unless the rows below look alike.
        return _are_names(values) and not any(map(_are_names, zip(*columns, strict=True)))
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
