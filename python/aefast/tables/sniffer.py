"""Finds the dialect of a text file in a sample of its lines.

`aefast.tables.separators` splits the lines into rows, and `aefast.tables.layout` finds the table among them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from aefast.tables.cell_formats import ALWAYS_MISSING, format_of_cells
from aefast.tables.dialect import MARK, NO_QUOTE, CellFormat, Dialect, Reading
from aefast.tables.fixed_width import cut_lines, fixed_starts
from aefast.tables.footers import find_totals, first_filled
from aefast.tables.headers import fitting
from aefast.tables.layout import find_layout
from aefast.tables.number_formats import decimal_mark
from aefast.tables.separators import ENOUGH, Row, columns_of, find_quote, find_separator, split_rows, usual_width
from aefast.tables.text import unique_names


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
    repeated = repeated or (learned.repeated if learned else "")
    layout = find_layout(rows, known, delimiter)
    body = [row for row in rows[layout.body :] if any(row.cells)]
    is_whole = len(body) > 0 and rows[layout.body + len(body) - 1] is body[-1]
    # Separators alone are no rows at the end of a table; between rows, they are a row without values.
    has_empty = layout.width > 1 and is_whole and rows[-1] is not body[-1]
    totals = find_totals(body, delimiter) if layout.width > 1 else ()
    body = [row for row in body if first_filled(row) not in totals] if totals else body
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
        totals,
    )


def _without_repeated_header(rows: Sequence[Row], text: str, delimiter: str) -> tuple[list[Row], str]:
    """Return the rows without those that repeat the header, as in joined files, and the line that they repeat."""
    width = usual_width(rows)
    first = next((row for row in rows if len(row.cells) == width), rows[0])
    others_of_width = [row for row in rows if len(row.cells) == width and row.cells != first.cells]
    n_repeats = sum(row.cells == first.cells for row in rows) - 1
    if not n_repeats or len(others_of_width) < width:
        return list(rows), ""
    formats = [format_of_cells(column, Reading(), delimiter) for column in columns_of(others_of_width[:ENOUGH], width)]
    if any(fitting(first, formats)) or all(each.kind == "text" for each in formats):
        return list(rows), ""
    kept = [row for row in rows if row is first or row.cells != first.cells]
    return kept, text.splitlines()[first.end - 1]


def _is_uneven(body: Sequence[Row], width: int, text: str, quote: str) -> bool:
    """Whether a row has fewer or more cells. Parts of a sample after its head may begin inside of quotes."""
    n_lines = text.count("\n", 0, 1 << 16) if quote in text else len(text)
    return any(len(row.cells) != width for row in body if row.end <= n_lines)


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
    names = re.findall(r"""(?im)^@attribute\s+(?:'([^']*)'|"([^"]*)"|([^\s{]+))""", declared[0])
    n_lines = declared[0].count("\n")
    return replace(known, delimiter=",", names=tuple("".join(name) for name in names), skip_rows=n_lines)
