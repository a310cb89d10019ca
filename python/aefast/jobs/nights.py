"""What a nightly job has done: its days, its model's age, and what it may accept. Kept in one small JSON file."""

from __future__ import annotations

import fcntl
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date as Date
from datetime import timedelta
from pathlib import Path
from statistics import median
from typing import Any

from aefast.exceptions import AefastError
from aefast.tables.files import MISFITS, naming, write_whole
from aefast.tables.formats.base import is_compressed
from aefast.tables.formats.registry import format_of

#: Outcomes of a day. A day that is "scored" is final; the others are tried again.
SCORED, REFUSED, FAILED, MISSING = "scored", "refused", "failed", "missing"


class BusyError(AefastError):
    """Another run of the same job is at work."""


@dataclass
class Nights:
    """The record of a job.

    Attributes
    ----------
    days : dict
        For each date (ISO) what came of it: ``outcome``, ``reason``, ``rows``, ``flagged``, ``bad_rows``, ``input``.
    model : dict
        ``trained`` and ``recalibrated``: the dates (ISO) for which the model was last fitted and recalibrated.
    """

    path: Path
    days: dict[str, dict[str, Any]] = field(default_factory=dict)
    model: dict[str, str] = field(default_factory=dict)

    @classmethod
    def load(cls, path: Path) -> Nights:
        """Return the record in a file, or an empty one; raise `AefastError` for anything else."""
        if not path.exists():
            return cls(path)
        try:
            with naming(path):
                plain = json.loads(path.read_bytes())
            days = {str(day): dict(record) for day, record in plain["days"].items()}
            model = {str(name): str(day) for name, day in plain["model"].items()}
            for day in (*days, *model.values()):
                Date.fromisoformat(day)
        except MISFITS as error:
            raise AefastError(f"{path} is not the record of a job; move it away, or name another with state") from error
        return cls(path, days, model)

    def save(self) -> None:
        """Write the file, whole or not at all."""
        plain = {"schema": 1, "model": self.model, "days": dict(sorted(self.days.items()))}
        write_whole(self.path, (json.dumps(plain, indent=1) + "\n").encode())

    def clean_days(self, before: Date, most: int) -> list[Date]:
        """Return the last dates, at most ``most``, before a date whose rows were scored and accepted."""
        found = [Date.fromisoformat(day) for day, record in self.days.items() if record["outcome"] == SCORED]
        return sorted(day for day in found if day < before)[-most:]

    def due(self, what: str, policy: Policy) -> Date | None:
        """Return from which date on the model is to be ``trained`` or ``recalibrated``; None if never."""
        since = max((self.model[name] for name in ("trained", what) if name in self.model), default=None)
        if policy.every_days == 0 or since is None:
            return None
        return Date.fromisoformat(since) + timedelta(days=policy.every_days)

    def is_due(self, what: str, day: Date, policy: Policy) -> bool:
        """Whether the model is to be ``trained`` or ``recalibrated`` before ``day`` is scored."""
        due = self.due(what, policy)
        if due is None or day < due:
            return False
        return len(self.clean_days(day, policy.last_days)) >= min(policy.every_days, policy.last_days)

    def usual_rows(self, before: Date) -> float | None:
        """Return the median number of rows of the last clean days, or None if there are none."""
        counts = [self.days[str(day)]["rows"] for day in self.clean_days(before, 28)]
        return median(counts) if counts else None


@dataclass(frozen=True)
class Policy:
    """How often, in days, a model is fitted again or recalibrated, and on how many clean days; 0 is never."""

    every_days: int = 0
    last_days: int = 28


@dataclass(frozen=True)
class Acceptance:
    """What the rows of a day must be like for its output to appear; see ``docs/commands.md``."""

    most_flagged: float = 1.0
    most_bad: float = 1.0
    least_rows: int = 1
    least_usual_rows: float = 0.0
    no_drift: bool = False
    whole_lines: bool = True

    def objection(self, summary: dict[str, Any], usual_rows: float | None) -> str:
        """Return why scores with this summary are refused; empty if they are accepted."""
        n_rows, n_bad = summary["rows"], summary["bad_rows"] or 0
        if n_rows < self.least_rows:
            return f"{n_rows:,} rows, fewer than {self.least_rows:,}"
        if usual_rows and n_rows < self.least_usual_rows * usual_rows:
            return (
                f"{n_rows:,} rows, fewer than {_percent(self.least_usual_rows)} of the usual {usual_rows:,.0f}; "
                "is the file complete?"
            )
        if n_bad > self.most_bad * n_rows:
            return f"{n_bad:,} of {n_rows:,} rows are bad, more than {_percent(self.most_bad)}"
        flagged = summary["flagged"]
        if flagged > self.most_flagged * max(n_rows - n_bad, 1):
            share = flagged / max(n_rows - n_bad, 1)
            return f"{flagged:,} rows ({_percent(share)}) are flagged, more than {_percent(self.most_flagged)}"
        drift = summary.get("drift") or {}
        if self.no_drift and drift.get("verdict") == "drift":
            return str(drift.get("text") or "the rows have drifted")
        return ""


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"


def unfinished(files: Sequence[Path]) -> str:
    """Return which text file does not end with a line end, so that it may be half-written; empty if none is."""
    for path in files:
        known = format_of(path)
        is_plain = not known.start if known else path.suffix.lower() != ".zip"
        if not is_plain or is_compressed(path) or path.stat().st_size == 0:
            continue
        with path.open("rb") as file:
            file.seek(-1, 2)
            if file.read(1) not in (b"\n", b"\r"):
                return f"{path} does not end with a line end, so it may be half-written"
    return ""


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock of a job, which ends with the process, however it ends; raise `BusyError` if it is held."""
    with naming(path), path.open("ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise BusyError(f"another run holds {path}; wait for it to end") from error
        yield
