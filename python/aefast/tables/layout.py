"""Finds where the table stands among the rows of a file: its header, its first row of data and its width."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import takewhile

from aefast.tables.cell_formats import format_of_cells
from aefast.tables.dialect import CellFormat, Reading, is_blank
from aefast.tables.headers import (
    fitting,
    is_data,
    is_header,
    is_of_roles,
    is_of_units,
    is_plain_number,
    may_name,
    names_all,
    names_in,
    of_groups,
    without_blank_end,
)
from aefast.tables.separators import ENOUGH, MOST_ABOVE, Row, columns_of, even_starts, usual_width
from aefast.tables.text import unique_names

#: The share of rows with few cells below which such a row above the others is a title.
_FEW = 0.1
#: Rows of data that follow each other where a table begins.
_STEADY = 3
#: Names of a first column with names or times of rows.
_OF_ROWS = re.compile(r"^(id|no|nr|index|key|name)$|time|date|stamp|year|datum", re.IGNORECASE)
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


def find_layout(rows: Sequence[Row], known: Reading, delimiter: str) -> Layout:
    """Return where the table stands, by what is known, by the widths of the rows and by the types of their cells."""
    width = _width(rows, delimiter)
    of_width = [row for row in rows if len(row.cells) == width]
    in_body = of_width[len(of_width) // 2 :]
    n_filled = max((k + 1 for row in in_body for k, cell in enumerate(row.cells) if cell.strip()), default=width)
    n_surplus = width - max(n_filled, 2) if width > 2 else 0
    formats = [format_of_cells(column, Reading(), delimiter) for column in columns_of(in_body[:ENOUGH], width)]
    formats = [replace(each, brackets=each.kind == "number") for each in formats]  # the first rows may have brackets
    start = 0 if known.skip_rows is not None else _start(rows, in_body, width)
    found = _with_header(rows, known, start, formats, n_surplus, delimiter)
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
    below = rows[len(above) :][:ENOUGH]
    formats = [format_of_cells(column, Reading(), delimiter) for column in columns_of(below, width)]
    are_data = all(is_data(row._replace(cells=row.cells[:width]), formats) for row in above[1:])
    return max(widths) if are_data else width


def _n_below(rows: Sequence[Row], formats: Sequence[CellFormat]) -> int:
    """Return how many rows below the header are no data: those of units or types, and those between them."""
    if len(rows) > 1 and is_of_roles(rows[1]):
        return 2
    above_data = [*takewhile(lambda row: not is_data(row, formats) or is_of_units(row, formats), rows)]
    n_below = max((k + 1 for k, row in enumerate(above_data) if is_of_units(row, formats)), default=0)
    is_blank_below = 0 < n_below < len(rows) and not any(map(str.strip, rows[n_below].cells))
    return n_below + is_blank_below


def _with_header(
    rows: Sequence[Row], known: Reading, start: int, formats: Sequence[CellFormat], n_surplus: int, delimiter: str
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
    are_data = [has_types and is_data(rows[k], formats) for k in candidates]
    # One row of metadata may look like data.
    steady = (k for k in range(len(are_data)) if all(are_data[k : k + _STEADY]))
    found = next(steady, are_data.index(True) if True in are_data else None)
    data = None if found is None else start + found
    if data is not None and data > start:
        blanks = [k for k in range(start, data) if rows[k].after_blank]
        first = blanks[-1] if blanks else start
        whole = [k for k in range(first, data) if names_all(rows[k], 0, width - n_surplus, formats)]
        whole = whole or [k for k in range(first, data) if names_all(rows[k], 1, width - n_surplus, formats)]
        whole = whole or [k for k in range(first + 1, data) if _names_with_groups(rows, k, width - n_surplus, formats)]
        # Names and values of metadata may stand above the names of the columns.
        of_values = max((k for k in range(first, data) if any(map(is_plain_number, rows[k].cells))), default=first - 1)
        header = next((k for k in whole if k > of_values), next(iter(whole), first))
        return _with_groups(_named_layout(rows, header, width, n_surplus), rows, first)
    above = start - 1 if known.skip_rows is None and data is not None else -1
    n_columns = width - n_surplus
    while above > 0 and rows[above - 1].is_comment and may_name(rows[above - 1], n_columns, width, n_columns):
        above -= 1
    # R does not name the column of row names. The first line may name fewer columns, unless blanks separate words.
    least = 2 if above == 0 and not is_blank(delimiter) else n_columns - 1
    if above >= 0 and may_name(rows[above], n_columns, width, least):
        return _named_layout(rows, above, width, n_surplus)
    if learned is not None or is_header(rows[start].cells, columns_of(rows[start + 1 :], width), formats):
        return _named_layout(rows, start, width, n_surplus)
    return None


def _start(rows: Sequence[Row], in_body: Sequence[Row], width: int) -> int:
    """Return the first row that is as wide as most rows below it and neither a comment nor a title."""
    may_comment = not any(row.is_comment for row in in_body)
    may_be_title = width > 1 and sum(row.is_sparse for row in in_body) < _FEW * len(in_body)

    def belongs(row: Row) -> bool:
        return not (may_be_title and row.is_sparse) and not (may_comment and row.is_comment)

    return next((k for k in even_starts(rows, width) if belongs(rows[k])), 0)


def _names_with_groups(rows: Sequence[Row], k: int, n_columns: int, formats: Sequence[CellFormat]) -> bool:
    """Whether a row names each column together with the row above, as in ``2019,2019,2020`` above ``a,b,a``."""
    names, above = rows[k].cells[:n_columns], rows[k - 1].cells[:n_columns]
    if any(fitting(rows[k], formats)) or not len(names) == len(above) == n_columns:
        return False
    found = of_groups(names, above)
    return all(map(str.strip, names[1:])) and len({*found}) == n_columns


def _with_groups(layout: Layout, rows: Sequence[Row], first: int) -> Layout:
    """Return the layout with the names of groups in the row above the header, of the rows from ``first`` on."""
    above = rows[layout.first - 1].cells[: len(layout.names)] if layout.first > first else []
    if len(above) != len(layout.names) or rows[layout.first].after_blank:
        return layout
    return replace(layout, names=tuple(of_groups(layout.names, above)))


def _has_row_names(below: Sequence[Row], width: int, name: str) -> bool:
    """Whether the first column has names of rows, for which R writes no name, rather than the last one none."""
    cells = next(iter(columns_of(below[:ENOUGH], width)), ())
    return len({*cells}) == len(cells) and _OF_ROWS.search(name) is None


def _named_layout(rows: Sequence[Row], first: int, width: int, n_surplus: int) -> Layout:
    """Return the layout with a header, whose width may differ from that of the rows."""
    n_columns = width - n_surplus
    names = without_blank_end(names_in(rows[first], n_columns), n_columns)
    if n_columns < len(names) <= width:
        n_surplus = width - len(names)
    elif len(names) == n_columns - 1 and _has_row_names(rows[first + 1 :], width, names[0]):
        names = ["", *names]
    names = [*names, *(f"x{j}" for j in range(len(names), n_columns))]
    return Layout(first, True, tuple(names), max(width, len(names)), n_surplus)
