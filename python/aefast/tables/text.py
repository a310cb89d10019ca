"""Text for messages: plurals, lists of names, text that is safe to print. Also the patterns of numbers in text."""

from __future__ import annotations

import os
import re
import shlex
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TypeVar

T = TypeVar("T")

#: A number as text.
NUMBER = r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?"
#: A cell that holds a number, with or without blanks around it.
NUMBER_CELL = re.compile(rf"\s*{NUMBER}\s*")


def printable(text: str) -> str:
    """Return the text with control characters and line ends escaped, so that untrusted text cannot move the cursor."""
    return text if text.isprintable() else "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def one_line(error: BaseException) -> str:
    """Return the message of an error on one line, or the name of its type if it has no message."""
    return re.sub(r"\s*[\r\n]+\s*", " ", str(error).strip()) or type(error).__name__


def option_of(names: Sequence[str], after: str = "") -> str:
    """Return names as the value of an option that can be pasted into a shell; ``after`` is added to each."""
    return shlex.quote(joined_names(names, after))


def joined_names(names: Sequence[str], after: str = "") -> str:
    """Return names as the value of an option: separated by commas, in quotes if need be."""
    quoted = [
        '"' + name.replace('"', '""') + '"' if not name or name.strip() != name or set(name) & {",", '"'} else name
        for name in names
    ]
    return ",".join(name + after for name in quoted)


def shorten(text: str, most: int) -> str:
    """Return about ``most`` letters of a message: its beginning, with file and place, and the advice that ends it.

    The longest path in it does not count. Advice follows the last semicolon.

    Examples
    --------
    >>> from aefast.tables.text import shorten
    >>> shorten("t.csv, row 3, cannot be read: got 2: aaaa bbbb cccc dddd; write it again", 60)
    't.csv, row 3, cannot be read: got 2: aaaa … ; write it again'
    """
    most += min(max((len(word) for word in text.split() if os.sep in word), default=0), most)
    if len(text) <= most:
        return text
    advice = text[text.rfind("; ") :] if "; " in text else ""
    end = f" {advice}" if 0 < len(advice) <= most * 2 // 3 else ""
    return f"{text[: most - len(end) - 2]} …{end}"


def pluralise(number: int, things: str) -> str:
    """Return a count with its noun, whose plural ends in s: ``1 row``, ``1,234 rows``."""
    return f"{number:,} {things.removesuffix('s') if number == 1 else things}"


def list_names(names: Sequence[str], most: int = 8) -> str:
    """Return the first names and the last one, separated by commas; an empty name is shown as two quotes."""
    shown = [name or '""' for name in names]
    return ", ".join(shown[:most]) + (f" … {shown[-1]}" if len(shown) > most else "")


def quote_names(names: Sequence[str], most: int = 8) -> str:
    """Return the first names in quotes, long ones cut, and how many more there are."""
    shown = ", ".join(repr(name if len(name) < 60 else f"{name[:58]}…") for name in names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"


def repeated(names: Iterable[T]) -> list[T]:
    """Return the names that occur more than once."""
    return [name for name, count in Counter(names).items() if count > 1]


def unique_names(names: Sequence[str]) -> tuple[str, ...]:
    """Return names that differ: a repeated name gets a number, as in pandas, and a further blank one its position."""
    found: dict[str, None] = {}
    if all(name.startswith(" ") for name in names[1:]):  # a blank follows each separator
        names = [name.strip() for name in names]
    for j, name in enumerate(names):
        candidates = (f"{name}.{k}" if name.strip() else f"x{j + k - 1}" for k in range(1, len(names) + 1))
        found[name if name not in found else next(each for each in candidates if each not in {*found, *names})] = None
    return tuple(found)
