"""Tables of fixed width: columns stand at the same positions of each line, and no separator stands between them.

The lines are cut at these positions, and `MARK` then separates the cells.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Sequence
from itertools import groupby
from typing import Any

from aefast.tables.dialect import MARK

#: The fewest lines that show positions, and the most that are looked at.
_LEAST_LINES, _MOST_LINES = 10, 300
#: The share of lines that are blank at a position between columns.
_BLANK = 0.98
#: The share of lines in which a column ends, or begins, where its name does.
_ALIGNED = 0.95
#: The share of the gaps between columns above which a line that has letters there is no row.
_CROSSED = 0.3
#: How lines below a table begin that are no rows.
_NOTE = re.compile(r"\s*(\(?\d+ (rows?|records?|zeilen|lignes)|(data )?source|notes?|quelle)\b", re.IGNORECASE)


def find_starts(text: str) -> tuple[int, ...]:
    r"""Return the positions where columns begin, by the blanks that most lines share and by a header; or nothing.

    Examples
    --------
    >>> from aefast.tables.fixed_width import find_starts
    >>> find_starts("town         v\\n" + "New York    12\\nBern         3\\nRio de Jan  45\\n" * 4)
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
    starts = [next((k for k in (*gap, gap[-1] + 1) if header[k] == " "), gap[0]) for gap in gaps]
    glued = _within_names(header, [0, *starts, width], n_filled, len(body))
    return (0, *sorted({*starts, *glued})) if starts or glued else ()


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


def _within_names(header: str, bounds: Sequence[int], n_filled: Sequence[int], n_lines: int) -> list[int]:
    """Return where columns begin whose cells touch in some lines: where the names of the header end, or begin."""
    found = []
    names = [(part.start(), part.end()) for part in re.finditer(r"\S+", header)]
    if any(re.fullmatch(r"[-+\d.,]+", header[a:b]) for a, b in names):
        return []
    for (_, end), (start, _) in zip(names, names[1:], strict=False):
        if bisect_right(bounds, end - 1) != bisect_right(bounds, start):
            continue
        if n_filled[end - 1] >= _ALIGNED * n_lines:
            found.append(end)
        elif n_filled[start] >= _ALIGNED * n_lines:
            found.append(start)
    return found
