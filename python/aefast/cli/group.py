"""A group of commands that ends every error in one line: 2 for wrong usage, 1 for what failed, 0 otherwise."""

from __future__ import annotations

import errno
import signal
import sys
import threading
import traceback
import warnings
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from typer.core import TyperGroup

from aefast.cli.terminal import missing_extra, printable
from aefast.exceptions import AefastError

__all__ = ["OneLine", "UsageError", "told"]


class UsageError(Exception):
    """The command as typed cannot be meant; what can be seen without looking into the data."""


class Stopped(BaseException):
    """Ctrl-C or a signal to end; not an `Exception`, so that nothing on the way takes it for a failure of its own."""


class OneLine(TyperGroup):
    """A command group whose errors are one line on standard error, with a traceback only where ``--debug`` asks."""

    def main(self, args: Sequence[str] | None = None, standalone_mode: bool = True, **extra: Any) -> Any:  # type: ignore[override]
        """Run the command ``args`` name and leave with its exit code."""
        given = list(sys.argv[1:] if args is None else args)
        debug = "--debug" in given
        given = [a for a in given if a != "--debug"]
        try:
            with warnings.catch_warnings():
                warnings.showwarning = _remark
                code = super().main(args=given, standalone_mode=False, **extra)
        except BaseException as error:
            if debug:
                traceback.print_exc()
            code = _complain(error, given, self.commands)
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


def _remark(message: Warning | str, *others: Any, **more: Any) -> None:
    sys.stderr.write(f"aefast: {_one_line(str(message))}\n")


def _one_line(text: str) -> str:
    return printable(" ".join(text.split()))


def told(error: OSError) -> str:
    """The error with the file it is about, where it says that."""
    return f"{error.filename}: {error.strerror}" if error.strerror and error.filename else str(error)


def _complain(error: BaseException, args: Sequence[str], commands: Collection[str]) -> int:
    command = next((a for a in args if not a.startswith("-")), "")
    where = f"aefast {command}" if command in commands else "aefast"
    if hasattr(error, "format_message"):  # what typer raises for wrong usage, whoever it gets its parser from
        message, code = str(error.format_message()), int(getattr(error, "exit_code", 2))
        message = message.rstrip(". ") + f"; {where} --help tells more"
    elif isinstance(error, SystemExit):
        return error.code if isinstance(error.code, int) else 1
    elif isinstance(error, UsageError):
        message, code = str(error), 2
    elif isinstance(error, Stopped):
        message, code = f"{error}; {_after(command, args)}", 1
    elif isinstance(error, ModuleNotFoundError) and missing_extra(error):
        where, message, code = "aefast", str(missing_extra(error)), 1
    elif isinstance(error, MemoryError):
        remedy = (
            "narrower --layers, fewer columns or a --sample" if command == "fit" else "fewer --batch-rows or columns"
        )
        message, code = f"out of memory; give {remedy}", 1
    elif isinstance(error, OSError) and error.strerror and error.filename:
        message, code = told(error), 1
        if command == "score" and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            message += "; make room, and the same command with --resume goes on"
    elif isinstance(error, (AefastError, ValueError, OSError, ImportError, NotImplementedError, RuntimeError)):
        message, code = str(error) or type(error).__name__, 1
    else:
        message, code = f"{type(error).__name__}: {error} (an error in aefast; --debug shows where)", 1
    with suppress(OSError):  # there may be nobody left to hear it, who has hung up
        sys.stderr.write(f"{where}: {_one_line(message)}\n")
        sys.stderr.flush()
    return code


def _after(command: str, args: Sequence[str]) -> str:
    """What a command that was stopped leaves."""
    if command == "score":
        return "no output is half-written, and the same command with --resume goes on"
    if command == "fit" and any(arg.startswith("--checkpoint") for arg in args):
        return "no model was written, and the same command goes on from its checkpoint"
    return "nothing was written"


@contextmanager
def _stoppable() -> Iterator[None]:
    # Not where nohup, for one, has them ignored.
    ends = [n for n in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(n) != signal.SIG_IGN]

    def stop(number: int, frame: Any) -> None:
        for each in ends:
            signal.signal(each, signal.SIG_IGN)  # once is enough; cleaning up must not be cut short
        raise Stopped(f"ended by {signal.Signals(number).name}")

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, stop) for number in ends}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
