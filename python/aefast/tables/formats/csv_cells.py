"""Converts cells of CSV files that Arrow's reader does not understand: marked numbers, other times, missing text."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Any

import pyarrow as pa

from aefast.tables.dialect import MISSING_NUMBERS, MISSING_TEXTS, CellFormat


class BadCellError(Exception):
    """A cell is not written in the format of its column; ``row`` counts from the start of the batch."""

    def __init__(self, row: int, cell: str, what: str) -> None:
        super().__init__(f"{cell[:30]!r} is not {what}")
        self.row, self.cell = row, cell


def converted_type(of: CellFormat) -> pa.DataType:
    """Return the type that `read_cells` returns for a format."""
    if of.kind == "number":
        return pa.float64()
    return pa.timestamp("us", "UTC" if of.time_format.endswith(("%z", "%z]")) else None)


def read_cells(cells: pa.Array, of: CellFormat) -> pa.Array:
    """Return text as the numbers or times that it means; raise `BadCellError` for the first cell that is neither."""
    import pyarrow.compute as pc

    cells = without_tokens(pc.utf8_trim_whitespace(cells), {*MISSING_TEXTS, *MISSING_NUMBERS, *of.missing})
    if of.kind == "number":
        bare, what = _bare_numbers(cells, of), "a number"
    else:
        bare, what = cells, f"a time like {of.time_format or '2024-12-31 23:59'}"

    def parse(texts: pa.Array) -> pa.Array:
        if of.time_format:
            return pc.strptime(texts, of.time_format, "us")
        return texts.cast(converted_type(of))

    try:
        return parse(bare)
    except pa.ArrowInvalid:
        # The first cell that does not parse ends the shortest failing beginning of the column.
        good, bad = 0, len(bare)
        while bad - good > 1:
            middle = (good + bad) // 2
            try:
                parse(bare.slice(good, middle - good))
                good = middle
            except pa.ArrowInvalid:
                bad = middle
        raise BadCellError(good, cells[good].as_py(), what) from None


def without_tokens(cells: pa.Array, tokens: Collection[str]) -> pa.Array:
    """Return text with null in place of the cells that mean no value."""
    import pyarrow.compute as pc  # takes a tenth of the start of a command

    is_missing = pc.is_in(cells, value_set=pa.array(sorted(tokens), cells.type))
    return pc.if_else(is_missing, pa.scalar(None, cells.type), cells) if is_missing.true_count else cells


def _bare_numbers(cells: pa.Array, of: CellFormat) -> Any:
    """Return text of numbers with nothing but the digits, signs and a decimal point."""
    import pyarrow.compute as pc

    before, after = (rf"(?:{re.escape(part)})?" if part else "" for part in (of.before, of.after))
    bare = pc.replace_substring_regex(cells, rf"^\+?(-?)\s*{before}\s*(.*?)\s*{after}$", r"\1\2")
    if of.thousands:
        bare = pc.replace_substring(bare, of.thousands, "")
    return pc.replace_substring(bare, ",", ".") if of.decimal == "," else bare
