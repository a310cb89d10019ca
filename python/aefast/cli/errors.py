"""The errors that end a command, and the line that describes each of them."""

from __future__ import annotations

import errno
from collections.abc import Sequence

from aefast.cli.terminal import missing_extra
from aefast.exceptions import AefastError


class UsageError(Exception):
    """The command as typed is wrong. Found without reading rows; the exit status is 2."""


class Stopped(BaseException):
    """Ctrl-C or a signal ends the command. Not an `Exception`, so no handler of failures catches it."""


def describe_error(error: OSError) -> str:
    """The message of the error, with its file if it names one."""
    return f"{error.filename}: {error.strerror}" if error.strerror and error.filename else str(error)


def describe_failure(error: BaseException, command: str, args: Sequence[str]) -> str:
    """What failed while the command ran, and what to do next."""
    if isinstance(error, Stopped):
        return f"{error}; {_what_remains(command, args)}"
    if isinstance(error, ModuleNotFoundError) and (extra := missing_extra(error)):
        return extra
    if hasattr(error, "format_message"):
        return str(error.format_message())
    if isinstance(error, MemoryError):
        remedy = (
            "narrower --layers, fewer columns or a --sample" if command == "fit" else "fewer --batch-rows or columns"
        )
        return f"out of memory; try {remedy}"
    if isinstance(error, OSError) and error.strerror and error.filename:
        is_full = command == "score" and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        return describe_error(error) + ("; make room and repeat the command with --resume" if is_full else "")
    if isinstance(
        error, (UsageError, AefastError, ValueError, OSError, ImportError, NotImplementedError, RuntimeError)
    ):
        return str(error) or type(error).__name__
    return f"{type(error).__name__}: {error} (a bug in aefast; repeat the command with --debug to see where)"


def _what_remains(command: str, args: Sequence[str]) -> str:
    """What a command that was stopped leaves behind, and how to continue it."""
    if command == "score":
        return "no output is half-written; repeat the command with --resume to continue"
    if command == "fit" and any(arg.startswith("--checkpoint") for arg in args):
        return "no model was written; repeat the command to continue from its checkpoint"
    return "nothing was written"
