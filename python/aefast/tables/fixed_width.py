"""Tables of fixed width: columns stand at the same positions of each line, and no separator stands between them.

The lines are cut at these positions, and `MARK` then separates the cells.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Sequence
from itertools import groupby
from typing import Any

from aefast.tables.cell_formats import format_of_cells
from aefast.tables.dialect import MARK, NO_QUOTE, Reading, is_blank
from aefast.tables.separators import MOST_ABOVE, columns_of, even_starts, split_rows, usual_width

#: The fewest lines that show positions, and the most that are looked at.
_LEAST_LINES, _MOST_LINES = 10, 300
#: The share of lines that are blank at a position between columns.
_BLANK = 0.98
#: The shares of lines in which a column is filled up to the edge of its name, and the other one at most there.
_ALIGNED, _SELDOM = 0.95, 0.7
#: The share of the gaps between columns above which a line that has letters there is no row.
_CROSSED = 0.3
#: How lines below a table begin that are no rows.
_NOTE = re.compile(r"\s*(\(?\d+ (rows?|records?|zeilen|lignes)|(data )?source|notes?|quelle)\b", re.IGNORECASE)

#: How a number begins.
_NUMERIC = re.compile(r"\s*[-+$€]?\.?\d")
#: The share of rows of one width with which blanks separate cells, whatever their positions are.
_EVEN = 0.95


def find_starts(text: str) -> tuple[int, ...]:
    r"""Return the positions where columns begin, by the blanks that most lines share and by a header; or nothing.

    Examples
    --------
    >>> from aefast.tables.fixed_width import find_starts
    >>> find_starts("town         v\n" + "New York    12\nBern         3\nRio de Jan  45\n" * 4)
    (0, 10)
    """
    lines = [line.rstrip() for line in text.expandtabs().splitlines() if line.strip()][:_MOST_LINES]
    body = lines[len(lines) // 2 :]
    if len(body) < _LEAST_LINES // 2:
        return ()
    width = max(map(len, body))
    padded = [line.ljust(width) for line in body]
    n_filled = [sum(line[k] != " " for line in padded) for k in range(width)]
    is_gap = [count <= (1 - _BLANK) * len(body) for count in n_filled]
    gaps = [[*group] for empty, group in groupby(range(width), is_gap.__getitem__) if empty]
    gaps = [gap for gap in gaps if gap[0] > 0 and gap[-1] < width - 1]
    first = next((k for k in range(len(lines)) if all(_respects(line, gaps) for line in lines[k + 1 : k + 6])), 0)
    header = lines[first].ljust(width)
    ends = [gap[0] for gap in [*gaps[1:], [width]]] if gaps else []
    starts = [_start_in(gap, header, n_filled[gap[-1] + 1 : end]) for gap, end in zip(gaps, ends, strict=True)]
    glued = _within_names(header, [0, *starts, width], n_filled, len(body))
    found = sorted({*starts, *glued})
    if not any(map(_NUMERIC.match, header.split())):  # a column below no name is a part of the one before it
        found = [a for a, b in zip(found, [*found[1:], len(header)], strict=False) if header[a:b].strip()]
    return (0, *found) if found else ()


def fixed_starts(text: str, delimiter: str, quote: str) -> tuple[int, ...]:
    """Return where the columns of a table of fixed width begin; empty if a separator gives even rows, or no types."""
    head = "".join(text[: 1 << 15].splitlines(keepends=True)[:MOST_ABOVE])
    if (delimiter in head and not is_blank(delimiter)) or "\t" in head:
        return ()
    lines = [line.strip() for line in head.splitlines()[1:] if line.strip()]
    if not lines or format_of_cells(lines, Reading(), "").kind != "text":  # one column
        return ()
    rows = split_rows(head, delimiter, quote)
    width = usual_width(rows)
    in_body = [len(row.cells) == width for row in rows[len(rows) // 2 :]]
    is_even = sum(in_body) >= _EVEN * len(in_body) and delimiter in head
    first = next(even_starts(rows, width, _EVEN), 0)
    above = [k for k in range(first) if not rows[k].is_comment]
    if is_even and (not above or not any(_NUMERIC.match(cell) for cell in rows[first].cells)):
        return ()
    starts = find_starts(head)
    cut = split_rows(cut_lines(head, starts), MARK, NO_QUOTE) if starts else []
    columns = columns_of(cut[len(cut) // 2 :], len(starts))
    n_typed = sum(format_of_cells(column, Reading(), "").kind != "text" for column in columns)
    if not columns or n_typed < max(1, len(columns) / 3) or len(cut) != len(rows):
        return ()
    # A header may have other words than columns only if each column has a name.
    return () if is_even and (len(starts) != width or not all(map(str.strip, cut[above[-1]].cells))) else starts


def cut_lines(text: str, starts: Sequence[int]) -> str:
    """Return the text with its lines cut into cells."""
    return "\n".join(cut_line(line, starts) for line in text.split("\n"))


def cut_line(line: str, starts: Sequence[int]) -> str:
    """Return a line with its cells separated; one that is blank, or goes across the columns as a title, as it is."""
    bare = line.rstrip("\r\n")
    if not bare.strip():
        return line
    end, cells = line[len(bare) :], bare.expandtabs()
    crossed = [start for start in starts[1:] if cells[start - 1 : start].strip() and cells[start : start + 1].strip()]
    if _NOTE.match(bare):
        return line
    is_title = len(starts) > 2 and cells.lstrip()[:1].isalpha() and not re.search(r"\d|\S {2,}\S", cells)
    if is_title and len(crossed) > _CROSSED * (len(starts) - 1):
        return line
    bounds = [*starts, max(len(cells), starts[-1])]
    return MARK.join(cells[a:b].strip() for a, b in zip(bounds, bounds[1:], strict=False)) + end


class FixedColumns:
    """Cuts the lines of a file into cells, in blocks of bytes."""

    def __init__(self, starts: Sequence[int]) -> None:
        self._starts, self._rest = tuple(starts), b""

    def __call__(self, block: Any) -> bytes:
        """Return the lines that end in this block; an empty block is the end of the file."""
        whole, end, self._rest = (self._rest + bytes(block)).rpartition(b"\n")
        if not len(block):
            whole, end, self._rest = whole + end + self._rest, b"", b""
        return cut_lines((whole + end).decode(errors="surrogateescape"), self._starts).encode(errors="surrogateescape")


def _respects(line: str, gaps: Sequence[Sequence[int]]) -> bool:
    return not any(line[gap[0] : gap[-1] + 1].strip() for gap in gaps)


def _start_in(gap: Sequence[int], header: str, n_filled: Sequence[int]) -> int:
    """Return where the column after a gap begins, by the header and by the lines that are filled in the column.

    All its cells begin at its first position if they are aligned there: longer cells before it then fill the gap.
    """
    if not header[gap[0] : gap[-1] + 1].strip() and n_filled[0] == max(n_filled):
        return gap[-1] + 1
    return next((k for k in (*gap, gap[-1] + 1) if header[k] == " "), gap[0])


def _within_names(header: str, bounds: Sequence[int], n_filled: Sequence[int], n_lines: int) -> list[int]:
    """Return where columns begin whose cells touch in some lines: where the names of the header end, or begin."""
    found = []
    names = [(part.start(), part.end()) for part in re.finditer(r"\S+", header)]
    if any(re.fullmatch(r"[-+\d.,]+", header[a:b]) for a, b in names):
        return []
    for (_, end), (start, _) in zip(names, names[1:], strict=False):
        if bisect_right(bounds, end - 1) != bisect_right(bounds, start):
            continue
        # One column is filled up to its edge, and the other is seldom filled there.
        if max(end, start) >= len(n_filled):
            break
        if n_filled[end - 1] >= _ALIGNED * n_lines and n_filled[end] <= _SELDOM * n_lines:
            found.append(end)
        elif n_filled[start] >= _ALIGNED * n_lines and n_filled[start - 1] <= _SELDOM * n_lines:
            found.append(start)
    return found
