"""The options about files of text, which every command that reads tables has."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from itertools import accumulate, chain
from typing import Annotated, Any

import typer

from aefast.cli.arguments import option, whole_number
from aefast.cli.errors import UsageError
from aefast.cli.options import names_in
from aefast.cli.outcome import signed
from aefast.tables.dialect import MOST_MARKS, NO_QUOTE, Reading, may_be_quote

#: No options about text files were given: everything is detected.
AS_FOUND: Reading = Reading()

_text = partial(option, "CSV files")
_BY_NAME = {"tab": "\t", "\\t": "\t", "blank": " ", "blanks": "  ", "space": " ", "comma": ",", "none": ""}


def _mark(most: int = 1) -> Callable[[Any], str]:
    """A parser of a mark; some have names, because a shell does not pass them on easily."""
    wanted = "one character" if most == 1 else f"1 to {most} characters"

    def read(text: Any) -> str:
        mark = _BY_NAME.get(text, text)
        is_mark = mark.isascii() and len(mark) <= most and not {'"', "\n", "\r"} & {*mark}
        if not is_mark or (not mark and text != "none"):
            raise typer.BadParameter(f"{text!r} is not {wanted}, nor one of {', '.join(_BY_NAME)}")
        return str(mark)

    return read


def _quote(text: Any) -> str:
    mark = {"none": NO_QUOTE, "double": '"', "single": "'"}.get(text, text)
    if not may_be_quote(mark):
        raise typer.BadParameter(f"{text!r} is not one character, nor one of double, single, none")
    return str(mark)


def _starts(widths: list[str] | None) -> tuple[int, ...]:
    """Return where columns of these widths begin."""
    texts = [text for given in widths or () for text in given.split(",")]
    try:
        numbers = [int(text) for text in texts]
    except ValueError:
        numbers = [0]
    if any(not 0 < width < 1 << 16 for width in numbers):
        raise UsageError(f"--widths {','.join(texts)}: give the characters of each column, such as 8,5,5")
    return tuple(accumulate([0, *numbers[:-1]])) if numbers else ()


def _decimal(text: Any) -> str:
    if text not in (".", ","):
        raise typer.BadParameter(f"{text!r} is neither . nor ,")
    return str(text)


def _options(
    delimiter: Annotated[
        str | None,
        _text(
            "C",
            "Cell separator: characters, tab, blank, or blanks for two or more.",
            default="detected",
            parser=_mark(MOST_MARKS),
        ),
    ] = None,
    widths: Annotated[
        list[str] | None, _text("8,5,5", "Characters of each column of a table of fixed width.", default="detected")
    ] = None,
    quote: Annotated[
        str | None,
        _text(
            "C", "Quote character around cells: a character, double, single or none.", default="detected", parser=_quote
        ),
    ] = None,
    decimal: Annotated[str | None, _text(".|,", "Decimal mark.", default="detected", parser=_decimal)] = None,
    thousands: Annotated[
        str | None, _text("C", "Thousands separator, or none or blank.", default="detected", parser=_mark())
    ] = None,
    no_header: Annotated[bool, _text(None, "The first line is data, not column names.", "--no-header")] = False,
    skip_rows: Annotated[
        int | None,
        _text(
            "N", "Lines above the header that are not part of the table.", default="detected", parser=whole_number(0)
        ),
    ] = None,
    names: Annotated[
        list[str] | None, _text("a,b", "Names of all columns of files without a header.", default="x0, x1, ...")
    ] = None,
    na: Annotated[
        list[str] | None, _text("?,-", "Further cells that mean a missing value.", default="detected")
    ] = None,
    time_format: Annotated[
        str | None, _text("%d/%m/%Y", "Format of times, as in Python's strptime.", default="detected")
    ] = None,
    encoding: Annotated[str | None, _text("latin-1", "Encoding of the text.", default="detected")] = None,
) -> Reading:
    """What the options say about files of text."""
    given = names_in(names)
    return Reading(
        delimiter,
        decimal,
        thousands,
        False if no_header or given else None,
        None if given is None else tuple(given),
        tuple(names_in(na) or ()),
        time_format,
        encoding,
        skip_rows=skip_rows,
        quote=quote,
        starts=_starts(widths),
    )


def reads_text(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options about files of text in place of its parameter ``reading``."""
    options = inspect.signature(_options, eval_str=True).parameters
    own = inspect.signature(command, eval_str=True).parameters

    def run(**values: Any) -> Any:
        return command(reading=_options(**{name: values.pop(name) for name in options}), **values)

    parameters = [list(options.values()) if name == "reading" else [parameter] for name, parameter in own.items()]
    return signed(run, command, chain.from_iterable(parameters))
