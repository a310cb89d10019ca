"""How a text file is written: separator, header, encoding, and the formats of numbers, times and missing cells.

Model files store it, so that later files are read alike. `aefast.tables.sniffer` finds it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from aefast.tables.text import list_names, pluralise

#: Cells that are missing in every column, also of text: those that pandas reads as missing, and that of MySQL.
MISSING_TEXTS = (
    *("", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN", "<NA>", "N/A", "NA"),
    *("NULL", "NaN", "None", "\\N", "n/a", "nan", "null"),
)
#: Further cells that are missing among numbers and times.
MISSING_NUMBERS = (
    *("?", "-", "--", "---", "*", "**", ".", "..", "...", "(null)", "N.A.", "n.a.", "na", "Na", "Null", "NAN", "NaT"),
    *("none", "NONE", "nil", "NIL", "missing", "Missing", "MISSING"),
    *("#DIV/0!", "#VALUE!", "#REF!", "#NUM!", "#NAME?", "#NULL!"),
)
#: The byte that stands for a separator of several characters while a file is read, and between cells of fixed width.
MARK = "\x1f"
#: The quote of files in which no character quotes cells: a byte that text does not have.
NO_QUOTE = "\x1e"
#: The most characters of a separator.
MOST_MARKS = 8
#: Formats of times that `datetime.datetime.strptime` does not know: counts since 1970, with the counts of a second ...
EPOCHS = {"epoch seconds": 1, "epoch milliseconds": 10**3, "epoch microseconds": 10**6, "epoch nanoseconds": 10**9}
#: ... and durations, which become numbers of seconds.
DURATION = "[h:]m:s"
SPELLED_DURATION = "[d] [h] [m] [s]"
#: The pattern of durations with letters, as in ``2h 05m`` and ``PT1H30M``.
SPELLED = (
    r"(?i)^(?P<sign>[-+]?)p?(?:(?P<days>\d+)\s*(?:days?|d|tage?)\s*)?,?\s*t?(?:(?P<hours>\d+)\s*(?:hours?|hrs?|h|std\.?)"
    r"\s*)?,?\s*(?:(?P<minutes>\d+)\s*(?:minutes?|mins?|m)\s*)?,?\s*"
    r"(?:(?P<seconds>\d+(?:\.\d+)?)\s*(?:seconds?|secs?|s)\s*)?$"
)
#: What numbers are multiplied by for what stands behind them.
MULTIPLES = (
    {"k": 1e3, "K": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "bn": 1e9, "Mio": 1e6, "Mio.": 1e6, "Mrd": 1e9, "Mrd.": 1e9}
    | {"B": 1.0, "kB": 1e3, "KB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12}
    | {"KiB": 2.0**10, "MiB": 2.0**20, "GiB": 2.0**30, "TiB": 2.0**40}
)
#: The pattern of a multiple: longer ones first.
MULTIPLE = "|".join(map(re.escape, sorted(MULTIPLES, key=len, reverse=True)))
#: A column has a format if at least this share of its cells agrees.
AGREEING = 0.95
#: The format of times of the day with fractions of seconds.
FRACTIONAL_CLOCK = "%H:%M:%S.%f"


@dataclass(frozen=True)
class CellFormat:
    """How the cells of one column are written.

    Attributes
    ----------
    kind : str
        "number", "time", "text", or "code" for digits that are text.
    decimal, thousands : str
        The marks in numbers. A time has a decimal comma if its fractions of seconds do.
    before, after : str
        What stands around each number, such as a currency.
    time_format : str
        As in `datetime.datetime.strptime`, or one of `EPOCHS`; empty for ISO 8601. Numbers may have `DURATION`.
    missing : tuple of str
        Cells of the sample that mean no value.
    brackets : bool
        Whether numbers in brackets are negative, as accountants write them.
    multiples : bool
        Whether some numbers are written with one of the `MULTIPLES`, such as 1.5K.
    flags : tuple of str
        Marks behind some numbers that do not change them.
    """

    kind: str
    decimal: str = "."
    thousands: str = ""
    before: str = ""
    after: str = ""
    time_format: str = ""
    missing: tuple[str, ...] = ()
    brackets: bool = False
    multiples: bool = False
    flags: tuple[str, ...] = ()

    @property
    def is_plain(self) -> bool:
        """Whether Arrow's reader understands the cells, apart from the decimal mark and missing cells."""
        marks = (self.thousands, self.before, self.after, self.time_format, self.flags)
        has_marks = any(marks) or self.brackets or self.multiples
        return not has_marks and (self.kind, self.decimal) != ("time", ",")


@dataclass(frozen=True)
class Dialect:
    """How a text file is written.

    Attributes
    ----------
    delimiter, encoding : str
        The separator is as in `separator_pattern`.
    has_header : bool
    names : tuple of str
    formats : mapping of str to CellFormat
        Of the columns of numbers and times, and of those with missing cells.
    na : tuple of str
        Cells that the user says are missing in every column.
    n_above : int
        Lines above the header, or above the first row if there is none, that are no part of the table.
    n_skipped : int
        Lines above the first row, if the reader cannot take the names from the file itself, else 0.
    n_below : int
        Lines with units or types between the header and the first row.
    n_surplus : int
        Columns at the end without name and cells: each row ends with separators.
    is_uneven : bool
        Whether rows have fewer or more cells than there are columns. Those with more are left out.
    quote : str
        The character around cells that contain separators.
    starts : tuple of int
        The positions where columns of fixed width begin; empty for others.
    repeated : str
        The line of the header, if it stands between the rows, too, as in joined files; those are left out.
    has_empty : bool
        Whether lines of separators alone end the table; such lines are left out.
    totals : tuple of str
        The first cells of rows that sum up others, which are left out.
    """

    delimiter: str = ","
    encoding: str = "utf-8"
    has_header: bool = True
    names: tuple[str, ...] = ()
    formats: Mapping[str, CellFormat] = field(default_factory=dict)
    na: tuple[str, ...] = ()
    n_above: int = 0
    n_skipped: int = 0
    n_below: int = 0
    n_surplus: int = 0
    is_uneven: bool = False
    quote: str = '"'
    repeated: str = ""
    starts: tuple[int, ...] = ()
    has_empty: bool = False
    totals: tuple[str, ...] = ()

    @property
    def mark(self) -> str:
        """The character that separates the cells when `separator_pattern` was replaced by it."""
        return mark_of(self.delimiter)

    @property
    def has_left_out(self) -> bool:
        """Whether some lines between the rows are left out."""
        return bool(self.repeated) or self.has_empty or len(self.totals) > 0

    @property
    def decimal(self) -> str:
        """The decimal mark of the file: a comma if one column needs it."""
        return "," if any(each.kind == "number" and each.decimal == "," for each in self.formats.values()) else "."

    @property
    def missing(self) -> list[str]:
        """The cells that mean no value in some column, without the empty one."""
        return sorted({*self.na, *(token for each in self.formats.values() for token in each.missing)} - {""})

    def describe(self) -> str:
        r"""Return on one line what differs from plain CSV; empty if nothing does.

        Examples
        --------
        >>> from aefast.tables.sniffer import find_dialect
        >>> find_dialect("t;v\n0;21,4\n1;22,8\n2;20,5\n").describe()
        "separated by ';', decimal comma"
        """
        formats, parts = self.formats.values(), []
        if self.starts:
            parts.append(f"columns at the positions {list_names([*map(str, self.starts)], 8)}")
        elif self.delimiter != ",":
            parts.append(f"separated by {_spoken(self.delimiter)}")
        if self.quote == NO_QUOTE and not self.starts:
            parts.append("no quotes")
        elif self.quote not in ('"', NO_QUOTE):
            parts.append(f"quotes {self.quote}")
        if not self.has_header:
            parts.append(f"no header (columns {list_names(self.names, 3)})")
        if self.n_above:
            parts.append(f"{pluralise(self.n_above, 'lines')} above the {'header' if self.has_header else 'first row'}")
        if self.n_below:
            parts.append(f"{pluralise(self.n_below, 'lines')} below the header")
        if self.n_surplus:
            parts.append("separators at the end of rows")
        if self.repeated:
            parts.append("the header again between rows")
        if self.totals:
            parts.append(f"rows of totals ({list_names(self.totals, 3)})")
        if self.is_uneven:
            parts.append("rows with fewer or more cells")
        if self.encoding != "utf-8":
            parts.append(f"encoding {self.encoding}")
        if self.decimal == ",":
            parts.append("decimal comma")
        if marks := sorted({each.thousands for each in formats} - {""}):
            parts.append(f"{' and '.join(map(_spoken, marks))} between thousands")
        if around := sorted({mark for each in formats for mark in (each.before, each.after)} - {""}):
            parts.append(f"{', '.join(around)} beside numbers")
        if any(each.multiples for each in formats):
            parts.append("multiples such as K and M behind numbers")
        if flags := sorted({flag for each in formats for flag in each.flags}):
            parts.append(f"flags {', '.join(flags)} behind numbers")
        if any(each.brackets for each in formats):
            parts.append("brackets around negative numbers")
        if codes := [name for name, each in self.formats.items() if each.kind == "code"]:
            parts.append(f"codes in {list_names(codes, 3)}")
        if self.missing:
            parts.append(f"missing: {', '.join(map(repr, self.missing))}")
        if times := sorted({each.time_format for each in formats} - {""}):
            parts.append(f"times as {', '.join(times)}")
        if any(each.kind == "time" and each.decimal == "," for each in formats):
            parts.append("decimal comma in times")
        return ", ".join(parts)

    def as_plain(self) -> dict[str, Any]:
        """Return the dialect as JSON-like data, for the model file."""
        return {**asdict(self), "formats": {name: asdict(each) for name, each in self.formats.items()}}

    @classmethod
    def from_plain(cls, data: Mapping[str, Any]) -> Dialect:
        """Return the dialect from `as_plain`; raise ValueError, TypeError, KeyError, ... for anything else."""
        formats: dict[Any, CellFormat] = {}
        for name, each in data["formats"].items():
            tuples = {key: tuple(each.get(key, ())) for key in ("missing", "flags")}
            formats[name] = cells = CellFormat(**{**each, **tuples})
            texts = asdict(cells)
            if not all(isinstance(texts.pop(flag), bool) for flag in ("brackets", "multiples")):
                raise ValueError(f"the format of column {name!r} is not valid")
            _check_texts([name, *texts.pop("missing"), *texts.pop("flags"), *texts.values()])
            if cells.kind not in ("number", "time", "text", "code") or cells.decimal not in (".", ","):
                raise ValueError(f"the format of column {name!r} is not valid")
        names, na = tuple(data["names"]), tuple(data["na"])
        repeated, totals = data.get("repeated", ""), tuple(data.get("totals", ()))
        quote, starts = data.get("quote", '"'), tuple(data.get("starts", ()))
        _check_texts([data["delimiter"], data["encoding"], *names, *na, *totals, repeated, quote])
        counts = {name: data.get(name, 0) for name in ("n_above", "n_skipped", "n_below", "n_surplus")}
        flags = {"has_header": data["has_header"], "is_uneven": data.get("is_uneven", False)}
        flags["has_empty"] = data.get("has_empty", False)
        are_places = all(type(start) is int and 0 <= start < 1 << 20 for start in starts)
        if not are_places or list(starts) != sorted(starts):
            raise ValueError("the dialect is not valid")
        if (
            not 1 <= len(data["delimiter"]) <= MOST_MARKS
            or not may_be_quote(quote)
            or {type(flag) for flag in flags.values()} != {bool}
        ):
            raise ValueError("the dialect is not valid")
        if any(type(count) is not int or count < 0 for count in counts.values()):
            raise ValueError("the dialect is not valid")
        plain = {"names": names, "formats": formats, "na": na, "quote": quote, "repeated": repeated, "starts": starts}
        plain["totals"] = totals
        return cls(data["delimiter"], data["encoding"], **plain, **counts, **flags)


@dataclass(frozen=True)
class Reading:
    """What is known about files before they are read; None leaves it to the sample. Most of it is about files of text.

    Attributes
    ----------
    learned : Dialect or None
        How the files were written that the model was fitted on. Its names and formats of columns hold again.
    columns : tuple of str
        Columns that the model reads: a first line that names them all is a header.
    kinds : mapping of str to str
        The kinds of columns that are known.
    skip_rows : int or None
        Lines above the header.
    on_bad : {"error", "null", "skip"}
        What to do with cells that are no number or time in columns of these: raise, or read a number as infinite and a
        time as missing, so that its row is bad. Rows with more cells are then bad, too.
    meanings : mapping of str to CellFormat, or None
        The columns of an earlier file with types that are times or codes.
    quote : str or None
        The character around cells, `NO_QUOTE` for none.
    starts : tuple of int
        Where columns of fixed width begin.
    """

    delimiter: str | None = None
    decimal: str | None = None
    thousands: str | None = None
    has_header: bool | None = None
    names: tuple[str, ...] | None = None
    missing: tuple[str, ...] = ()
    time_format: str | None = None
    encoding: str | None = None
    learned: Dialect | None = None
    columns: tuple[str, ...] = ()
    kinds: Mapping[str, str] = field(default_factory=dict)
    skip_rows: int | None = None
    on_bad: str = "error"
    meanings: Mapping[str, CellFormat] | None = None
    quote: str | None = None
    starts: tuple[int, ...] = ()


def may_be_quote(mark: str) -> bool:
    """Whether a character can stand around cells."""
    return len(mark) == 1 and (mark == NO_QUOTE or (mark.isascii() and mark.isprintable() and not mark.isalnum()))


def separator_pattern(delimiter: str) -> str:
    """Return the regular expression of a separator: blanks stand for at least so many blanks and tabs.

    Two blanks separate columns whose texts contain single ones, as in tables of fixed width. A blank after another
    character stands for any number of them.
    """
    if is_blank(delimiter):
        return rf"[ \t]{{{len(delimiter)},}}|\t"
    found = re.escape(delimiter.rstrip(" "))
    return f"{found} *" if delimiter.endswith(" ") else found


def is_blank(delimiter: str) -> bool:
    """Whether a separator is blanks alone; those at both ends of a line then separate nothing."""
    return not delimiter.strip(" ")


def mark_of(delimiter: str) -> str:
    """Return the single character that stands for a separator."""
    return delimiter if len(delimiter) == 1 else MARK


def _spoken(mark: str) -> str:
    return {"\t": "tabs", " ": "blanks", "  ": "two or more blanks"}.get(mark, repr(mark))


def _check_texts(values: Iterable[Any]) -> None:
    for value in values:
        if not isinstance(value, str):
            raise TypeError(f"{value!r} is not text")
