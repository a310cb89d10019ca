"""``aefast run``: run the nightly job that a job file describes."""

from __future__ import annotations

import json
import shlex
import time
from collections.abc import Sequence
from datetime import date as Date
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any

import typer

from aefast.cli.arguments import argument, running
from aefast.cli.errors import UsageError, describe_error
from aefast.cli.jobfile import Job, read_job
from aefast.cli.log import start_log
from aefast.cli.outcome import Outcome, complete, fail_on_in
from aefast.cli.terminal import echo
from aefast.jobs.nights import SCORED
from aefast.tables.text import pluralise


def run(
    ctx: typer.Context,
    job: Annotated[Path, argument("JOB.toml", "The job file.")],
    data: Annotated[list[str] | None, argument("[DATA...]", "Tables; only with --init.")] = None,
    date: Annotated[
        str | None, running("D", "Date of the input, as 2026-03-01.", "--date", default="today minus days-back")
    ] = None,
    init: Annotated[bool, running(None, "Write a job file with comments for DATA.", "--init")] = False,
    show: Annotated[
        bool, running(None, "Print the commands that would run now without running them.", "--print")
    ] = False,
    again: Annotated[bool, running(None, "Score the date again if it was scored before.", "--again")] = False,
) -> Outcome:
    """Run the nightly job of a job file: keep the model up to date, score, check and report. It may be repeated."""
    from aefast.cli.night import Night, notify
    from aefast.jobs.nights import Nights, locked

    begin = time.time()
    if init:
        return _written(job, data or [])
    if data:
        raise UsageError(f"DATA is only for --init, got {data[0]!r}; the job file names the input")
    group: Any = ctx.parent.command if ctx.parent else None

    def start(name: str, arguments: Sequence[str]) -> Any:
        return group.get_command(ctx, name).main(list(arguments), standalone_mode=False)

    found = read_job(job, lambda name: group.get_command(ctx, name))
    last = _date_in(date) if date is not None else Date.today() - timedelta(days=found.days_back)
    fatal = fail_on_in(found.fail_on)
    night = Night(found, Nights(found.state_path), start, again=again)
    if show:
        night.nights = Nights.load(found.state_path)
        lines = [shlex.join(["aefast", *each]) for day in night.days(last) for each in night.commands_for(day)]
        policy = night.policy(last)
        shown = [*(f"# {each}" for each in policy), *(lines or [f"# nothing: {last} was scored before"])]
        printed = {"job": str(job), "date": str(last), "commands": lines, "policy": policy}
        return Outcome(printed, lambda: echo("\n".join(shown)))
    if found.log_file is not None:
        try:
            start_log(found.folder / found.log_file)
        except OSError as error:
            raise UsageError(f"{job}: [job] log-file: {describe_error(error)}") from error
    found.state_path.parent.mkdir(parents=True, exist_ok=True)
    with locked(found.state_path.with_suffix(".lock")):
        night.nights = Nights.load(found.state_path)
        days = [night.work_off(day) for day in night.days(last)]
        summary = _summary(job, last, days, night)
        outcome = Outcome(summary, lambda: echo("\n".join(_lines(summary))), fatal)
        if problem := notify(found, complete("run", outcome, begin), "; ".join(_lines(summary))):
            summary["failed"]["notify"] = problem
        if "summary" in found.notify:
            _write_summary(found, last, complete("run", outcome, begin))
    return outcome


def _summary(job: Path, last: Date, days: list[dict[str, Any]], night: Any) -> dict[str, Any]:
    problems = {
        day["date"]: "; ".join(filter(None, (day["reason"], day.get("remark"))))
        for day in days
        if day["outcome"] != SCORED or day.get("remark") or day["reason"]
    }
    counts = {name: sum(day[name] or 0 for day in days) for name in ("rows", "flagged", "bad_rows")}
    return {
        "job": str(job),
        "date": str(last),
        **counts,
        "threshold": days[-1]["threshold"],
        "drift": days[-1]["drift"],
        "days": [{name: value for name, value in day.items() if name not in ("input", "made_with")} for day in days],
        "model": dict(night.nights.model),
        "commands": [shlex.join(["aefast", *each]) for each in night.commands],
        "failed": problems,
    }


def _lines(summary: dict[str, Any]) -> list[str]:
    lines = []
    for day in summary["days"]:
        if day["outcome"] == SCORED:
            bad = f", {day['bad_rows']:,} bad" if day["bad_rows"] else ""
            before = " (done before)" if day["done_before"] else ""
            told = f"{pluralise(day['rows'], 'rows')}, {day['flagged']:,} flagged{bad}, in {day['output']}{before}"
            told += f"; {day['reason']}" if day["reason"] else ""
        else:
            told = day["reason"]
        lines.append(f"{day['date']}  {day['outcome']}: {told}" + (f"; {day['remark']}" if day.get("remark") else ""))
    return lines + [f"{name}: {problem}" for name, problem in summary["failed"].items() if name == "notify"]


def _write_summary(job: Job, day: Date, summary: dict[str, Any]) -> None:
    from aefast.tables.files import write_whole

    path = job.path(job.notify["summary"], day)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, (json.dumps(summary, indent=2) + "\n").encode())


def _written(job: Path, data: list[str]) -> Outcome:
    """Write a job file for the tables that ``data`` names."""
    from aefast.cli.job_template import job_text
    from aefast.tables.files import write_whole

    if not data:
        raise UsageError(f"--init needs DATA: aefast run {job} --init DATA")
    if job.exists():
        raise UsageError(f"{job} exists already; name another, or remove it")
    text = job_text(job, data)
    write_whole(job, text.encode())
    return Outcome(
        {"job": str(job), "date": None, "commands": []},
        lambda: echo(f"Wrote {job}. Read it, and see what it would do: aefast run {job} --print"),
    )


def _date_in(text: str) -> Date:
    try:
        return Date.fromisoformat(text)
    except ValueError:
        raise UsageError(f"--date must be a date such as 2026-03-01, got {text!r}") from None
