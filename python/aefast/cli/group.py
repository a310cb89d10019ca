"""The group of commands: builds the command that runs, and ends every error in one line and an exit status."""

from __future__ import annotations

import re
import signal
import sys
import threading
import traceback
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from importlib import import_module
from typing import Any, ClassVar

import typer
import typer.main
from typer.core import TyperCommand, TyperGroup

from aefast.cli.arguments import RUNNING
from aefast.cli.errors import Stopped, UsageError, describe_failure
from aefast.cli.log import LOG, stop_log
from aefast.cli.outcome import concluding
from aefast.tables.text import printable, shorten

#: Settings of the group and of every command.
SETTINGS: dict[str, Any] = {
    "pretty_exceptions_enable": False,
    "rich_markup_mode": "rich",
    "context_settings": {"help_option_names": ["-h", "--help"]},
}

#: The most letters of an error line, without the command and a path.
_MOST_LETTERS = 300


class _InPanels:
    """A command whose options all belong to a panel of ``--help``, those of typer itself too; flags show no type."""

    def get_params(self, ctx: Any) -> list[Any]:
        found: list[Any] = super().get_params(ctx)  # type: ignore[misc]
        for each in found:
            if getattr(each, "rich_help_panel", None) is None:
                each.rich_help_panel = RUNNING
            if getattr(each, "is_flag", False):
                each.metavar = ""
        return found


class _Command(_InPanels, TyperCommand):
    """One command."""


class Commands(_InPanels, TyperGroup):
    """Commands that are imported when they run. Errors are one line; ``--debug`` adds a traceback.

    Attributes
    ----------
    panels : dict
        The panel of ``--help`` for each command. Command ``name`` is the function ``name`` of ``aefast.cli.name``.
    """

    panels: ClassVar[Mapping[str, str]] = {}

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.commands: Any = dict.fromkeys(self.panels)  # the names; `get_command` makes the commands

    def list_commands(self, ctx: Any) -> list[str]:
        """The names of the commands, as ``--help`` lists them."""
        return list(self.panels)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command of that name, or None."""
        if cmd_name not in self.panels:
            return None
        function = concluding(cmd_name, getattr(import_module(f"aefast.cli.{cmd_name}"), cmd_name))
        only = typer.Typer(add_completion=False, **SETTINGS)
        only.command(cmd_name, cls=_Command, rich_help_panel=self.panels[cmd_name])(function)
        return typer.main.get_command(only)

    def main(self, args: Sequence[str] | None = None, standalone_mode: bool = True, **extra: Any) -> Any:  # type: ignore[override]
        """Run the command that ``args`` name and exit with its status."""
        given = list(sys.argv[1:] if args is None else args)
        debug = "--debug" in given
        given = [a for a in given if a != "--debug"]
        try:
            with warnings.catch_warnings():
                for category in (RuntimeWarning, FutureWarning, DeprecationWarning):  # those of other libraries
                    warnings.simplefilter("ignore", category)
                warnings.showwarning = _show_warning
                code = super().main(args=given, standalone_mode=False, **{"prog_name": "aefast", **extra})
        except BaseException as error:
            if debug:
                traceback.print_exc()
            code = self._report_error(error, given)
        finally:
            stop_log()
        if not standalone_mode:
            return code
        sys.exit(code if isinstance(code, int) else 0)

    def invoke(self, ctx: Any) -> Any:
        """Run with signals that end a process turned into an exception, so that half-written files are removed."""
        with _stoppable():
            try:
                return super().invoke(ctx)
            except KeyboardInterrupt as error:
                raise Stopped("interrupted") from error

    def _report_error(self, error: BaseException, args: Sequence[str]) -> int:
        """Print the error as one line on standard error; returns the exit status."""
        if isinstance(error, SystemExit):
            return error.code if isinstance(error.code, int) else 1
        command = next((arg for arg in args if not arg.startswith("-")), "")
        where = f"aefast {command}" if command in self.panels else "aefast"
        code = 1
        if hasattr(error, "format_message"):  # every error of typer about usage, whatever parser it is built on
            code = int(getattr(error, "exit_code", 2))
            message = str(error.format_message()).replace("Value error, ", "")  # a prefix of pydantic
            message = f"{message.rstrip('. ')}; see {where} --help"
        elif isinstance(error, UsageError):
            code, message = 2, str(error)
        else:
            message = describe_failure(error, command, args)
        LOG.error("%s: %s", command or "aefast", _one_line(message))
        with suppress(OSError):  # standard error may be closed
            sys.stderr.write(f"{where}: {shorten(_one_line(message), _MOST_LETTERS)}\n")
            sys.stderr.flush()
        return code


def _show_warning(message: Warning | str, *others: Any, **more: Any) -> None:
    LOG.warning("%s", _one_line(str(message)))
    sys.stderr.write(f"aefast: {_one_line(str(message))}\n")


def _one_line(text: str) -> str:
    return printable(re.sub(r"\s*[\r\n]+\s*", " ", text.strip()))  # blanks may belong to names


@contextmanager
def _stoppable() -> Iterator[None]:
    """Raise `Stopped` on signals to end, except those that are ignored, as under nohup."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    ends = [n for n in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(n) != signal.SIG_IGN]

    def stop(number: int, frame: Any) -> None:
        for each in ends:
            signal.signal(each, signal.SIG_IGN)  # a second signal must not interrupt the cleaning up
        raise Stopped(f"ended by {signal.Signals(number).name}")

    before = {number: signal.signal(number, stop) for number in ends}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
