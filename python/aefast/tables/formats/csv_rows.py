"""Gives the rows of a CSV file the same number of cells, for Arrow, which reads no others."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Collection, Sequence
from contextlib import suppress
from typing import Any

import numpy as np

from aefast.tables.text import pluralise

#: Bytes after which an open quote is taken for text: the reader then names its row.
_MOST_OPEN = 1 << 20
#: How lines below a table begin that are no rows.
_NOTE = re.compile(
    rb"[\s\"]*([-+=|:*_\s\"]{3,}$|#|%|//|\(?\d+ (rows?|records?|zeilen|lignes)\b"
    rb"|\W*(data source|source|notes?|footnotes?|last updated|copyright|quelle|fuente)\b)",
    re.IGNORECASE,
)
#: A cell of several words of which the first begins with a letter, or one that a colon ends.
_WORDS = re.compile(rb"[\s\"]*[^\W\d]\S*(\s.*|:[\s\"]*)")


class EvenRows:
    """Adds missing cells at the end of rows, in blocks of bytes, and leaves out lines that are no rows.

    A line without a separator that holds words, such as a source below the table, is no row, nor is one that repeats
    the ``header`` or whose first filled cell is one of the ``totals``. A row with more cells loses those at its end
    that are empty. If it has still more, it is left out or, unless ``drops_long``, left as it is. If there are ``bad``
    columns, it has ``bad_cell`` in these instead, so that it is a bad row, and loses further cells.
    If the first column ``begins_with_digits``, a line with fewer cells that begins with words is no row, either.
    The last line stays as it is if nothing ends it, because it may be half of a row; ``drops_cut`` leaves it out then
    if it has fewer cells.

    Attributes
    ----------
    n_short, n_long, n_cut, n_bad, n_notes, n_repeats, n_totals : int
        Rows that got cells, those left out for their length and at the end, bad rows, lines that are no rows, lines
        that repeat the header or have separators alone, and rows of totals.
    """

    n_bad: int
    n_cut: int
    n_short: int
    n_long: int
    n_notes: int
    n_repeats: int
    n_totals: int

    def __init__(
        self,
        delimiter: str,
        width: int,
        n_skipped: int,
        *,
        quote: str = '"',
        drops_long: bool,
        drops_cut: bool = False,
        bad: Collection[int] = (),
        bad_cell: str = "inf",
        header: str = "",
        has_empty: bool = False,
        begins_with_digits: bool = False,
        totals: Sequence[str] = (),
    ) -> None:
        self._mark, self._width, self._n_skipped, self._drops_long = delimiter.encode(), width, n_skipped, drops_long
        self._begins_with_digits = begins_with_digits
        self._quote, self._bad, self._bad_cell, self._drops_cut = quote.encode(), bad, bad_cell, drops_cut
        mark, q = re.escape(self._mark), self._quote
        self._quoted = re.compile(rb"(?<![^%b])%b(?:[^%b]|%b%b)*%b" % (mark, q, q, q, q, q))
        self._open = re.compile(rb"(?<![^%b])%b" % (mark, q))
        lines = [re.escape(header.encode())] * bool(header) + [rb"(?:%b)+" % mark] * has_empty
        begins = [rb"(?:%b)*%b?%b%b?%b[^\r\n]*" % (mark, q, re.escape(each.encode()), q, mark) for each in totals]
        self._repeats, self._totals = _any_line(lines), _any_line(begins)
        self._rest = self._row = b""
        self.n_short = self.n_long = self.n_cut = self.n_bad = self.n_notes = self.n_repeats = self.n_totals = 0

    def __call__(self, block: Any) -> bytes:
        """Return the rows that end in this block; an empty block is the end of the file."""
        text = self._rest + bytes(block)
        end = b"" if len(block) else b"\n"  # nothing may end the last line
        text, n_repeats = self._without(text + end, self._repeats)
        text, n_totals = self._without(text, self._totals)
        text = text.removesuffix(end)
        self.n_repeats, self.n_totals = self.n_repeats + n_repeats, self.n_totals + n_totals
        if len(block) and not (self._row or self._n_skipped) and (regular := self._regular(text)) is not None:
            return regular
        lines = text.splitlines(keepends=True)
        self._rest = b""
        # A carriage return may be followed by a line feed.
        if len(block) and lines and not lines[-1].endswith(b"\n"):
            self._rest = lines.pop()
        found = [row for line in lines for row in self._rows(line)]
        if not len(block):
            found.append(self._row)
            self._row = b""
        return b"".join(found)

    def describe(self) -> str:
        """Return what was done, in words; empty if all rows had the same width."""
        short = f"fewer cells than columns; {'its' if self.n_short == 1 else 'their'} last cells are missing"
        found = [
            (self.n_short, "rows", short),
            (self.n_long, "rows", "more cells than columns, left out"),
            (self.n_cut, "rows", "cells cut off by the end of the file, left out"),
            (self.n_bad, "rows", "more cells than columns, which are bad"),
            (self.n_notes, "lines", "no separator, left out as no rows"),
            (self.n_repeats, "lines", "the header again or without cells, left out"),
            (self.n_totals, "rows", "totals, left out"),
        ]
        return ", and ".join(f"{pluralise(count, things)} with {what}" for count, things, what in found if count)

    def _without(self, text: bytes, line: re.Pattern[bytes] | None) -> tuple[bytes, int]:
        """Return a text without some lines below those above the table, and their number."""
        if line is None:
            return text, 0
        parts = text.split(b"\n", self._n_skipped)
        if len(parts) <= self._n_skipped:
            return text, 0
        parts[-1], n_left_out = line.subn(b"", parts[-1])
        return b"\n".join(parts), n_left_out

    def _regular(self, text: bytes) -> bytes | None:
        """Return the rows that end in a text, in which only those of other widths are looked at.

        None if a quote stands within a cell, or if no row ends: then each line is looked at.
        """
        values = np.frombuffer(text, np.uint8)
        is_mark, is_end = values == ord(self._mark), values == ord("\n")
        is_quote = values == ord(self._quote)
        quotes = np.flatnonzero(is_quote)
        if len(quotes):
            is_inside = (np.cumsum(is_quote, dtype=np.uint32) & 1).astype(bool)
            is_edge = np.concatenate([[True], is_mark | is_end | is_quote | (values == ord("\r")), [True]])
            if not (is_edge[quotes[::2]].all() and is_edge[quotes[1::2] + 2].all()):
                return None
            is_mark, is_end = is_mark & ~is_inside, is_end & ~is_inside
        ends = np.flatnonzero(is_end)
        if not len(ends) or len(text) - ends[-1] > _MOST_OPEN:
            return None
        n_marks = np.diff(np.searchsorted(np.flatnonzero(is_mark), ends), prepend=0)
        found, begin = [], 0
        for k in np.flatnonzero(n_marks != self._width - 1).tolist():
            start, end = int(ends[k - 1]) + 1 if k else 0, int(ends[k]) + 1
            found += [
                text[begin:start],
                *(row for line in text[start:end].splitlines(True) for row in self._rows(line)),
            ]
            begin = end
        self._rest = text[int(ends[-1]) + 1 :]
        return b"".join([*found, text[begin : int(ends[-1]) + 1]])

    def _rows(self, line: bytes) -> list[bytes]:
        """Return the row that ends with a line, none if its quote is open or if it is left out."""
        if self._n_skipped:
            self._n_skipped -= 1
            return [line]
        may_close, line = not self._row or self._quote in line, self._row + line
        bare, self._row = line, b""
        if self._quote in line:
            bare = self._quoted.sub(b"", line) if may_close else line
            if not may_close or self._open.search(bare):
                if len(line) >= _MOST_OPEN:
                    return [line]
                self._row = line
                return []
        n_cells = bare.count(self._mark) + 1
        cells = line.rstrip(b"\r\n")
        end = line[len(cells) :]
        if n_cells == self._width or not cells.strip():
            return [line if n_cells == self._width else end]  # Arrow leaves out lines that are empty
        return self._evened(cells, n_cells, end)

    def _evened(self, cells: bytes, n_cells: int, end: bytes) -> list[bytes]:
        is_note = n_cells == 1 and re.search(rb"[A-Za-z\x80-\xff]", cells) is not None
        first = cells.partition(self._mark)[0]
        is_word = self._mark == b" " and first[:1].isalpha()  # blanks separate words, too
        is_said = self._begins_with_digits and (is_word or _WORDS.fullmatch(first) is not None)
        is_no_row = n_cells < self._width and (is_said or _NOTE.match(cells) is not None)
        if (is_note and (end or b" " in cells.strip())) or is_no_row:
            self.n_notes += 1
            return []
        if n_cells < self._width and not end and self._drops_cut:
            self.n_cut += 1
            return []
        if n_cells < self._width:
            self.n_short += bool(end)
            return [cells + self._mark * (self._width - n_cells) * bool(end) + end]
        while n_cells > self._width and cells.endswith(self._mark):
            cells, n_cells = cells[: -len(self._mark)], n_cells - 1
        if n_cells > self._width and self._bad:
            self.n_bad += 1
            return [self._as_bad(cells) + end]
        if n_cells > self._width and self._drops_long:
            self.n_long += 1
            return []
        return [cells + end]

    def _as_bad(self, row: bytes) -> bytes:
        """Return a row without its further cells and with the cell in the columns that makes it a bad one."""
        form: Any = {"delimiter": self._mark.decode(), "quotechar": self._quote.decode()}
        cells: list[str] = []
        with suppress(csv.Error):  # raised for a cell that is too long, and for a line end without quotes
            cells = next(csv.reader([row.decode(errors="replace")], **form))
        cells += [""] * (self._width - len(cells))
        text = io.StringIO()
        kept = [self._bad_cell if index in self._bad else cell for index, cell in enumerate(cells[: self._width])]
        csv.writer(text, lineterminator="", **form).writerow(kept)
        return text.getvalue().encode()


def _any_line(patterns: Sequence[bytes]) -> re.Pattern[bytes] | None:
    return re.compile(rb"^(?:%b)\r?\n" % b"|".join(patterns), re.MULTILINE) if patterns else None
