"""One run of a nightly job: the commands that it starts, and the outcome of each day."""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date as Date
from datetime import timedelta
from pathlib import Path
from typing import Any

from aefast.cli.errors import UsageError, describe_failure
from aefast.cli.jobfile import Job
from aefast.cli.log import LOG
from aefast.cli.outcome import collecting
from aefast.jobs.nights import FAILED, MISSING, REFUSED, SCORED, Nights, Policy, unfinished
from aefast.tables.files import stamp_of
from aefast.tables.paths import find_files
from aefast.tables.text import pluralise

#: Runs a command with arguments and returns its exit status.
Runner = Callable[[str, Sequence[str]], Any]


@dataclass
class Night:
    """Works off the days of a job.

    Parameters
    ----------
    job : Job
    nights : Nights
        The record of the job, which is saved after every step.
    run : callable
    again : bool
        Score days again that were scored before.
    """

    job: Job
    nights: Nights
    run: Runner
    again: bool = False
    commands: list[list[str]] = field(default_factory=list)

    def days(self, last: Date) -> Iterator[Date]:
        """Yield the dates to work off: those of the last days that are not scored yet, and the last one."""
        for back in range(self.job.catch_up_days, 0, -1):
            day = last - timedelta(days=back)
            record = self.nights.days.get(str(day))
            if record is not None and record["outcome"] != SCORED:
                yield day
        yield last

    def policy(self, day: Date) -> list[str]:
        """Return the sentences of the job's policy, with the date from which a renewal of the model is due."""
        lines = []
        for sentence in self.job.policies.sentences():
            verb = sentence.partition(" ")[0]
            what = {"refit": "trained", "recalibrate": "recalibrated"}.get(verb)
            if what is not None:
                policy = getattr(self.job.policies, verb)
                due, n_days = self.nights.due(what, policy), len(self.nights.clean_days(day, policy.last_days))
                when = "after the first fit" if due is None else f"due from {due}"
                sentence += f": {when}, {pluralise(n_days, 'clean days')} so far"
            lines.append(sentence)
        return lines

    def commands_for(self, day: Date) -> list[list[str]]:
        """Return the commands that a run for this date would start; none if the date was scored before."""
        job, output = self.job, self.job.path(self.job.output, day)
        if self.nights.days.get(str(day), {}).get("outcome") == SCORED and output.exists() and not self.again:
            return []
        step = self._model_step(day)
        found = [] if step is None else [step[1]]
        found.append(self._score(day, job.inputs(day), output))
        if job.report is not None:
            found.append(self._report(day, job.inputs(day)))
        return found

    def work_off(self, day: Date) -> dict[str, Any]:
        """Score the rows of a date unless that is done; returns its record with ``date`` and ``done_before``."""
        record, output = self.nights.days.get(str(day), {}), self.job.path(self.job.output, day)
        if record.get("outcome") == SCORED:
            self._place(day, record, output)  # a run before may have been ended between its last two steps
            if output.exists() and not self.again:
                return {"date": str(day), "done_before": True, **record, **self._changes(record)}
        record = self._scored(day, output)
        if record is self.nights.days.get(str(day)):
            return {"date": str(day), "done_before": True, **record}
        self.nights.days[str(day)] = record
        self.nights.save()
        self._place(day, record, output)
        if self.job.report is not None and record["outcome"] == SCORED:
            record |= self._reported(day, record)
            self.nights.save()
        LOG.info("run: %s %s%s", day, record["outcome"], f": {record['reason']}" if record["reason"] else "")
        return {"date": str(day), "done_before": False, **record}

    def _scored(self, day: Date, output: Path) -> dict[str, Any]:
        """Return the record of a date; its output is held back and not at its place yet."""
        try:
            files = find_files(self.job.inputs(day))
        except (OSError, ValueError) as error:
            return _record(MISSING, str(error))
        record = _record(FAILED, "", input=self._stamps(files))
        if self.job.policies.accept.whole_lines and (reason := unfinished(files)):
            return record | {"reason": reason}
        held = self._held(day)
        try:
            record["remark"] = self._keep_model(day)
            record["made_with"] = self._made_with(day)
            before = self.nights.days.get(str(day), {})
            is_same = all(before.get(name) == record[name] for name in ("input", "made_with"))
            if before.get("outcome") == REFUSED and is_same and not self.again:
                return before
            output.parent.mkdir(parents=True, exist_ok=True)
            summary = self._summary(self._score(day, [str(file) for file in files], held))
        except Exception as error:
            return record | {"reason": describe_failure(error, "score", ())}
        record |= {name: summary[name] for name in ("rows", "flagged", "bad_rows", "threshold", "drift")}
        if failed := summary.get("failed"):
            return record | {"reason": f"{len(failed):,} of {len(files):,} files: {next(iter(failed.values()))}"}
        reason = self.job.policies.accept.objection(summary, self.nights.usual_rows(day))
        if reason:
            _replace(held, held.parent / "refused" / output.name)
            return record | {"outcome": REFUSED, "reason": reason}
        return record | {"outcome": SCORED, "output": str(output), "placed": False}

    def _place(self, day: Date, record: dict[str, Any], output: Path) -> None:
        """Move the accepted output of a date to its place."""
        if record.get("placed") is False:
            if self._held(day).exists():
                _replace(self._held(day), output)
            record["placed"] = True
            self.nights.save()

    def _made_with(self, day: Date) -> str:
        """Return a digest of what decides, besides the input, whether the output of a date is accepted."""
        job, model = self.job, self.job.path(self.job.model, day)
        parts = [self._stamps([model]), job.options["score"], str(job.policies.accept)]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]

    def _keep_model(self, day: Date) -> str:
        """Fit or recalibrate the model if the job's policy says so; returns what failed if the old model is kept."""
        step = self._model_step(day)
        if step is None:
            return ""
        what, arguments = step
        model = self.job.path(self.job.model, day)
        model.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._summary(arguments)
        except Exception as error:
            if not model.exists():
                raise
            remark = f"the old model is kept: {describe_failure(error, arguments[0], ())}"
            LOG.error("run: %s %s", day, remark)
            return remark
        LOG.info("run: %s the model is %s", day, what)
        self.nights.model[what] = str(day)
        self.nights.save()
        return ""

    def _model_step(self, day: Date) -> tuple[str, list[str]] | None:
        """Return what is due for the model (``trained`` or ``recalibrated``), and its command."""
        job, model = self.job, self.job.path(self.job.model, day)
        if not model.exists():
            if not job.fit_input:
                raise UsageError(f"there is no model {model}; set input in [fit], or make it with aefast fit")
            data = [str(job.path(pattern, day)) for pattern in job.fit_input]
            return "trained", ["fit", *data, "-o", str(model), *job.options["fit"]]
        self.nights.model.setdefault("trained", str(day))
        for what, policy, command in (
            ("trained", job.policies.refit, "fit"),
            ("recalibrated", job.policies.recalibrate, "recalibrate"),
        ):
            if self.nights.is_due(what, day, policy) and (data := self._clean_files(day, policy)):
                before = [] if command == "fit" else [str(model)]
                return what, [command, *before, *data, "-o", str(model), *job.options[command]]
        return None

    def _clean_files(self, day: Date, policy: Policy) -> list[str]:
        """Return the input of the last clean days, as far as it is still there."""
        days = self.nights.clean_days(day, policy.last_days)
        files = [self.job.folder / path for each in days for path in self.nights.days[str(each)]["input"]]
        return [str(path) for path in files if path.exists()]

    def _score(self, day: Date, data: Sequence[str], held: Path) -> list[str]:
        model = str(self.job.path(self.job.model, day))
        return ["score", model, *data, "-o", str(held), "--resume", *self.job.options["score"]]

    def _report(self, day: Date, data: Sequence[str]) -> list[str]:
        page, model = self.job.path(self.job.report or "", day), str(self.job.path(self.job.model, day))
        return ["report", model, *data, "-o", str(page), *self.job.options["report"]]

    def _reported(self, day: Date, record: dict[str, Any]) -> dict[str, Any]:
        """Write the report of a date; an error is recorded and does not undo the scores."""
        page = self.job.path(self.job.report or "", day)
        try:
            page.parent.mkdir(parents=True, exist_ok=True)
            self._summary(self._report(day, [str(self.job.folder / path) for path in record["input"]]))
        except Exception as error:
            return {"reason": f"the report failed: {describe_failure(error, 'report', ())}"}
        return {"report": str(page)}

    def _summary(self, arguments: list[str]) -> dict[str, Any]:
        """Run a command; returns its summary."""
        self.commands.append(arguments)
        with collecting() as summaries:
            self.run(arguments[0], arguments[1:])
        return summaries[-1]

    def _held(self, day: Date) -> Path:
        """The output until it is accepted: a hidden file or folder beside it."""
        output = self.job.path(self.job.output, day)
        return output.with_name(f".unchecked-{output.name}")

    def _stamps(self, files: Sequence[Path]) -> dict[str, list[int]]:
        """Return size and time of files by their paths from the job's folder, which do not depend on where it runs."""
        return {os.path.relpath(path, self.job.folder): stamp_of(path) for path in files}

    def _changes(self, record: dict[str, Any]) -> dict[str, Any]:
        """Say that the input of a scored date has changed, if it has."""
        there = self._stamps([path for each in record["input"] if (path := self.job.folder / each).exists()])
        changed = [path for path, stamp in there.items() if record["input"][path] != stamp]
        return {"reason": f"{changed[0]} has changed since it was scored; give --again"} if changed else {}


def notify(job: Job, summary: dict[str, Any], text: str) -> str:
    """Run the job's command with the summary on its standard input; returns what failed, or an empty text."""
    command = job.notify.get("command")
    if not command or (job.notify.get("when", "problems") == "problems" and summary["status"] == 0):
        return ""
    arguments = shlex.split(command) if isinstance(command, str) else [str(part) for part in command]
    about = {"AEFAST_STATUS": str(summary["status"]), "AEFAST_DATE": summary["date"], "AEFAST_TEXT": text}
    try:
        subprocess.run(
            arguments, input=json.dumps(summary), text=True, cwd=job.folder, env={**os.environ, **about}, check=True,
            stdout=subprocess.DEVNULL, timeout=600,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError) as error:
        return f"the command of [notify] failed: {error}"
    return ""


def _record(outcome: str, reason: str, **more: Any) -> dict[str, Any]:
    counts: dict[str, Any] = dict.fromkeys(("rows", "flagged", "bad_rows", "threshold", "drift"))
    return {"outcome": outcome, "reason": reason, "input": {}, **counts, **more}


def _replace(path: Path, target: Path) -> None:
    """Move a file or folder to a place, where an earlier one may be."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.is_dir():
        shutil.rmtree(target)
    os.replace(path, target)
