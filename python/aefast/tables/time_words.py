"""Parts of times that `datetime.datetime.strptime` does not know: names in other languages, quarters and ISO weeks."""

from __future__ import annotations

import re
from datetime import datetime
from functools import lru_cache

#: Directives that `strptime` lacks, or reads only with others: quarters, and weeks of ISO 8601.
_QUARTER, _WEEK = "%q", "%V"

_MONTHS = {
    1: "january januar janvier enero gennaio januari janeiro janv ene gen jän jänner styczeń ocak",
    2: "february februar février febrero febbraio februari fevereiro févr feb fev fév fevr luty şubat",
    3: "march märz mars marzo maart março mar mär mrz mrt maerz marzec mart",
    4: "april avril abril aprile apr avr abr kwiecień nisan",
    5: "may mai mayo maggio mei maio mag maj mayıs",
    6: "june juni juin junio giugno junho jun giu czerwiec haziran",
    7: "july juli juillet julio luglio julho jul juil lug lipiec temmuz",
    8: "august août agosto augustus aug ago aoû aout sierpień ağustos",
    9: "september septembre septiembre settembre setembro sep sept set wrzesień eylül",
    10: "october oktober octobre octubre ottobre outubro oct okt ott out październik ekim",
    11: "november novembre noviembre novembro nov listopad kasım",
    12: "december dezember décembre diciembre dicembre dezembro dec dez déc dic desember grudzień aralık",
}
_ENGLISH = (
    *("January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
)
_WEEKDAYS = {
    0: "monday mon montag mo lundi lun lunes lunedì maandag ma segunda",
    1: "tuesday tue tues dienstag di mardi mar martes martedì dinsdag terça",
    2: "wednesday wed mittwoch mi mercredi mer miércoles mercoledì woensdag wo quarta",
    3: "thursday thu thur thurs donnerstag do jeudi jeu jueves giovedì donderdag quinta",
    4: "friday fri freitag fr vendredi ven viernes venerdì vrijdag vr sexta",
    5: "saturday sat samstag sa sonnabend samedi sam sábado sabato zaterdag za",
    6: "sunday sun sonntag so dimanche dim domingo domenica zondag zo",
}
_ENGLISH_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
#: The English name of a month for its names, and that of a day of the week.
MONTH_OF = {name[:3].lower(): name for name in _ENGLISH} | {
    word: _ENGLISH[number - 1] for number, words in _MONTHS.items() for word in words.split()
}
DAY_OF = {word: _ENGLISH_DAYS[number] for number, words in _WEEKDAYS.items() for word in words.split()}
_NAMES = re.compile(r"%([aAbB])")
#: What directives of formats match at most.
_SHAPES = (
    dict.fromkeys(("%a", "%A", "%b", "%B"), r"[^\W\d_]+\.?")
    | dict.fromkeys(("%Y", "%G"), r"\d{4}")
    | dict.fromkeys(("%d", "%H", "%I", "%m", "%M", "%S", "%y", "%V"), r" ?\d{1,2}")
    | {"%q": "[1-4]", "%f": r"\d{1,6}", "%p": "[ap]m", "%z": r"(?:z|[-+]\d{2}.*)"}
)
#: A directive that gives the year.
_YEAR = re.compile("%[YyGcDx]")
#: A word, with the full stop that shortens it.
WORD = re.compile(r"[^\W\d_]+\.?")


def has_names(time_format: str) -> bool:
    """Whether times in a format contain names of months or days."""
    return _NAMES.search(time_format) is not None


def needs_python(time_format: str) -> bool:
    """Whether only `parse_time` reads times in a format, one by one."""
    return _QUARTER in time_format or _WEEK in time_format


def in_english(cell: str, time_format: str) -> str:
    """Return a time with its months and days of the week in English, without the full stop that shortens them."""
    wanted = _NAMES.findall(time_format)

    def translated(word: re.Match[str]) -> str:
        names = MONTH_OF if wanted and wanted[0] in "bB" else DAY_OF
        name = names.get(word[0].rstrip(".").lower()) if wanted else None
        return word[0] if name is None else name[: None if wanted.pop(0) in "AB" else 3]

    return WORD.sub(translated, cell)


@lru_cache(256)
def shape_of(time_format: str) -> re.Pattern[str] | None:
    """Return a pattern that all times in a format match, and few others; None if it has other directives.

    It is asked before `parse_time`, because `strptime` keeps the patterns of five formats only.
    """
    parts = re.split(r"(%.|\s+)", time_format)
    if any(part.startswith("%") and part not in _SHAPES for part in parts):
        return None
    shapes = (r"\s+" if part.isspace() else _SHAPES.get(part, re.escape(part)) for part in parts)
    return re.compile("".join(shapes), re.IGNORECASE)


def parse_time(cell: str, time_format: str) -> datetime:
    """Return the time that a cell means; raise `ValueError` if it is none in this format.

    Examples
    --------
    >>> from aefast.tables.time_words import parse_time
    >>> parse_time("2024-Q2", "%Y-Q%q").date()
    datetime.date(2024, 4, 1)
    >>> parse_time("2024-W05", "%G-W%V").date()
    datetime.date(2024, 1, 29)
    >>> parse_time("3. Mai 2024", "%d. %B %Y").date()
    datetime.date(2024, 5, 3)
    """
    if _QUARTER in time_format:
        before, after = map(re.escape, time_format.replace("%Y", "\n").split(_QUARTER, 1))
        pattern = rf"{before}(?P<quarter>[1-4]){after}".replace(r"\ ", " ").replace("\\\n", "\n")
        part = re.fullmatch(pattern.replace("\n", r"(?P<year>\d{4})"), cell)
        if part is None:
            raise ValueError(f"{cell!r} is not a quarter")
        return datetime(int(part["year"]), 3 * int(part["quarter"]) - 2, 1)
    if _WEEK in time_format:
        return datetime.strptime(f"{cell} 1", f"{time_format} %u")
    if "%d" in time_format and not _YEAR.search(time_format):
        # Python warns of days without a year. 1904 has a 29 February.
        cell, time_format = f"1904 {cell}", f"%Y {time_format}"
    try:
        return datetime.strptime(cell, time_format)
    except ValueError:
        if not has_names(time_format):
            raise
    return datetime.strptime(in_english(cell, time_format), time_format)
