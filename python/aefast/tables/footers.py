"""Finds the rows of a table that sum up others, which are no rows of data."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from math import fsum, isclose

from aefast.tables.cell_formats import format_of_cells
from aefast.tables.dialect import Reading
from aefast.tables.number_formats import bare_number, is_number
from aefast.tables.separators import ENOUGH, Row

#: What begins a row of totals, whatever else the first column has.
_SURE = re.compile(
    r"(sub|grand|overall|state|national)[ -]?totals?\b.{0,40}|(total|gesamt|zwischen)summe:?|(zwischen|end)summe:?",
    re.IGNORECASE,
)
#: What begins one at the end of a table, if no other row begins so.
_TOTAL = re.compile(
    r"totals?|totale|total g[eé]n[eé]ral|sum|somme|suma|summe|(ins)?gesamt|итого|合計|总计", re.IGNORECASE
)
#: What begins a row that sums up others, if the first column has numbers or times.
_SUMMARY = re.compile(
    rf"({_TOTAL.pattern})\b.{{0,40}}|average|avg\.?|mean|median|min(imum)?|max(imum)?|std\.?( ?dev\.?)?|count"
    r"|mittelwert|mittel|moyenne|media",
    re.IGNORECASE,
)
#: The share of rows up to which rows sum up others, and the fewest rows.
_FEW, _LEAST_ROWS = 0.2, 20


def find_totals(body: Sequence[Row], delimiter: str) -> tuple[str, ...]:
    """Return the first cells of the rows below the header that sum up others, as they are written."""
    if len(body) < _LEAST_ROWS:
        return ()
    cells = Counter(map(first_filled, body))
    words = {cell: bare for cell in cells if not (bare := cell.strip().rstrip(": "))[:1].isdigit()}
    found = {cell for cell, bare in words.items() if _SURE.fullmatch(bare)}
    last = first_filled(body[-1])
    if cells[last] == 1 and last in words and _TOTAL.fullmatch(words[last]):
        found.add(last)
    summaries = {cell for cell, bare in words.items() if _SUMMARY.fullmatch(bare)} - found
    if summaries:
        others = [row.cells[0] for row in body[:ENOUGH] if row.cells[0] not in summaries]
        found |= summaries if format_of_cells(others, Reading(), delimiter).kind != "text" else set()
    if cells[last] == 1 and last not in words and _has_sums(body):
        found.add(last)
    return tuple(sorted(found)) if sum(cells[cell] for cell in found) <= _FEW * len(body) else ()


def first_filled(row: Row) -> str:
    """Return the first cell of a row that is not blank."""
    return next((cell for cell in row.cells if cell.strip()), "")


def _has_sums(body: Sequence[Row]) -> bool:
    """Whether the last row has the sum of a column, nothing but numbers, and no first cell, which all others have."""
    *rows, last = body
    if last.cells[0].strip() or not all(row.cells[0].strip() for row in rows):
        return False
    is_sum = []
    for j, cell in enumerate(last.cells):
        if cell.strip():
            cells = [row.cells[j].strip() for row in rows if j < len(row.cells) and row.cells[j].strip()]
            of = format_of_cells([*cells, cell.strip()], Reading(), "")
            numbers = [float(bare_number(each, of)) for each in [*cells, cell] if is_number(each, of)]
            if of.kind != "number" or not numbers:
                return False
            is_sum.append(isclose(numbers[-1], fsum(numbers[:-1]), rel_tol=1e-6) and numbers[-1] != 0)
    return any(is_sum)
