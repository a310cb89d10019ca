"""How a command ends: its summary as text or JSON, a line in the log, and the exit status."""

from __future__ import annotations

import inspect
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Annotated, Any

from aefast.cli.arguments import Json, running
from aefast.cli.errors import UsageError, describe_error
from aefast.cli.log import LOG, start_log
from aefast.cli.terminal import print_json
from aefast.tables.text import printable, shorten

#: Version of the JSON summary. It grows by one when a field is removed or changes its meaning, not for new fields.
SCHEMA = 1
#: What ``--fail-on`` names, and the exit status. If several apply, the largest counts.
STATUS = {"anomalies": 3, "drift": 4, "bad": 5}
#: Fields that every summary has; null if they mean nothing for a command.
COMMON = ("rows", "flagged", "bad_rows", "short_rows", "other_lines", "threshold", "dialect", "drift")

_collected: list[dict[str, Any]] | None = None


@dataclass(frozen=True)
class Outcome:
    """What a command returns.

    Attributes
    ----------
    summary : dict
        Plain data. Its keys are documented in ``docs/commands.md``.
    show : callable
        Prints the summary for a person.
    fail_on : sequence of str
        Names of `STATUS` that end the command with that status.
    """

    summary: dict[str, Any]
    show: Callable[[], None]
    fail_on: Sequence[str] = ()

    @property
    def status(self) -> int:
        """The exit status: 1 if some files failed, and else what ``fail_on`` asks for."""
        if self.summary.get("failed"):
            return 1
        drift = self.summary.get("drift") or {}
        found = {
            "anomalies": bool(self.summary.get("flagged")),
            "drift": drift.get("verdict") == "drift",
            "bad": bool(self.summary.get("bad_rows")),
        }
        return max((STATUS[name] for name in self.fail_on if found[name]), default=0)


LogFile = Annotated[Path | None, running("FILE", "Append one line to FILE for each event.", "--log-file")]


def concluding(name: str, command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command that returns an `Outcome` the options ``--json`` and ``--log-file``; it then returns the status.

    A command that returns anything else ends as it is.
    """

    def run(*, as_json: bool = False, log_file: Path | None = None, **values: Any) -> Any:
        begin = time.time()
        if log_file is not None:
            try:
                start_log(log_file)
            except OSError as error:
                raise UsageError(f"--log-file: {describe_error(error)}") from error
        LOG.info("%s: begins", name)
        outcome = command(**values)
        if not isinstance(outcome, Outcome):
            return outcome
        summary = complete(name, outcome, begin)
        LOG.info("%s: %s", name, _in_one_line(summary))
        if summary.get("failed") and _collected is None:
            _say_failures(name, summary["failed"])
        if _collected is not None:
            _collected.append(summary)
        elif as_json:
            print_json(summary)
        else:
            outcome.show()
        return outcome.status

    own = list(inspect.signature(command, eval_str=True).parameters.values())
    more = [inspect.Parameter("log_file", inspect.Parameter.KEYWORD_ONLY, default=None, annotation=LogFile)]
    if all(parameter.name != "as_json" for parameter in own):
        more.append(inspect.Parameter("as_json", inspect.Parameter.KEYWORD_ONLY, default=False, annotation=Json))
    return signed(run, command, [*own, *more])


def signed(
    run: Callable[..., Any], command: Callable[..., Any], parameters: Iterable[inspect.Parameter]
) -> Callable[..., Any]:
    """Return ``run`` with the name and the documentation of ``command`` and with these parameters."""
    named = [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in parameters]
    run.__name__, run.__doc__, run.__module__ = command.__name__, command.__doc__, command.__module__
    run.__annotations__ = {each.name: each.annotation for each in named}
    run.__signature__ = inspect.Signature(named)  # type: ignore[attr-defined]
    return run


@contextmanager
def collecting() -> Iterator[list[dict[str, Any]]]:
    """Collect the summaries of the commands that run in the block, which then print nothing."""
    global _collected
    before, _collected = _collected, []
    try:
        yield _collected
    finally:
        _collected = before


def fail_on_in(names: Sequence[str] | None) -> tuple[str, ...]:
    """The names of ``--fail-on``."""
    for name in names or ():
        if name not in STATUS:
            raise UsageError(f"--fail-on must be some of {', '.join(STATUS)}, got {name!r}")
    return tuple(names or ())


def complete(name: str, outcome: Outcome, begin: float) -> dict[str, Any]:
    """Return a summary with the fields that all commands have first."""
    from aefast.engine.core import __version__, isa_level

    versions = {package: getattr(sys.modules.get(package), "__version__", None) for package in ("numpy", "pyarrow")}
    first = {
        "schema": SCHEMA,
        "command": name,
        "status": outcome.status,
        "started": datetime.fromtimestamp(begin, timezone.utc).isoformat(timespec="seconds"),
        "seconds": time.time() - begin,
        "versions": {"aefast": __version__, "engine": isa_level, "python": sys.version.split()[0], **versions},
        **dict.fromkeys(COMMON),
    }
    return first | outcome.summary


def _say_failures(name: str, failed: dict[str, str]) -> None:
    """Print one line about what failed on standard error."""
    first = next(iter(failed.values()))
    text = first if len(failed) == 1 else f"{len(failed):,} files failed, the first: {first}"
    with suppress(OSError):
        sys.stderr.write(f"aefast {name}: {shorten(printable(text), 300)}\n")
        sys.stderr.flush()


def _in_one_line(summary: dict[str, Any]) -> str:
    known = {key: summary[key] for key in ("rows", "flagged", "bad_rows", "status") if summary[key] is not None}
    where = next((summary[key] for key in ("output", "report", "model") if isinstance(summary.get(key), str)), None)
    text = ", ".join(f"{key} {value:,}" for key, value in known.items())
    return f"{text}, {summary['seconds']:.2f} s" + ("" if where is None else printable(f", wrote {where}"))
