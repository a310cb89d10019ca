"""Writes a job file with comments for the tables of a folder."""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from aefast.cli.options import as_usage, source_of
from aefast.jobs.fit import training_columns
from aefast.jobs.nights import unfinished
from aefast.tables.dialect import Reading
from aefast.tables.paths import find_files
from aefast.tables.source import Source
from aefast.tables.text import list_names, quote_names, shorten

#: How dates are written in names of files, and the form in the job file.
_DATES = ((r"\d{4}-\d{2}-\d{2}", "%Y-%m-%d", "{date}"), (r"\d{8}", "%Y%m%d", "{date:%Y%m%d}"))
#: Files that are opened.
_MOST = 20


def job_text(job: Path, data: Sequence[str]) -> str:
    """Return the text of a job file that stands at ``job``, for the tables that ``data`` names."""
    files = as_usage(lambda: find_files(data))
    patterns = list(dict.fromkeys(_pattern(os.path.relpath(path, job.parent)) for path in files))
    is_dated = "{date" in patterns[0]
    shown = patterns if len(patterns) <= 3 else [os.path.relpath(each, job.parent) for each in data]
    source, failed = _readable(files[:_MOST])
    history = [re.sub(r"\{date[^{}]*\}", "*", pattern) for pattern in shown]
    if failed:
        history = [os.path.relpath(path, job.parent) for path in source.paths]
    day = "{date}" if is_dated else f"{job.stem}-{{date}}"
    return _TEXT.format(
        name=job.name,
        input=_toml(shown),
        dated="" if is_dated else "\n# Write {date} where the names of your files have a date.",
        history=_toml(history),
        stem=job.stem,
        day=day,
        dialect=f"# Read as: {source.spoken_dialect}.\n" if source.spoken_dialect else "",
        columns=_columns(source) + "".join(f"# No input: {shorten(why, 100)}\n" for why in failed.values()),
        final_lines='    "accept text files without a final line end",\n'
        if _end_without_line_end(files[:_MOST])
        else "",
    )


def _end_without_line_end(files: Sequence[Path]) -> bool:
    """Whether most files have no final line end; a single one may be half-written."""
    return sum(bool(unfinished([path])) for path in files) > len(files) / 2


def _readable(files: Sequence[Path]) -> tuple[Source, dict[str, str]]:
    """Return the tables that can be learned together, and why the other files cannot.

    These are the tables that have all columns of the most frequent set of columns.
    """
    failed: dict[str, str] = {}
    source = source_of(files, Reading(on_bad="skip"), failed=failed)
    usual, _ = Counter(frozenset(file.schema.names) for file in source.files).most_common(1)[0]
    for file in source.files:
        if lacking := sorted(usual.difference(file.schema.names)):
            failed[str(file.path)] = f"{file.path} lacks column {quote_names(lacking, 3)}"
    good = [file for file in source.files if str(file.path) not in failed]
    return (Source(good) if len(good) < len(source.files) else source), failed


def _pattern(path: str) -> str:
    """Return a path with ``{date}`` in the place of its last date."""
    for pattern, form, placeholder in _DATES:
        for found in reversed(list(re.finditer(rf"(?<!\d){pattern}(?!\d)", path))):
            try:
                datetime.strptime(found[0], form)
            except ValueError:
                continue
            head, tail = path[: found.start()], path[found.end() :]
            return head.replace(found[0], placeholder) + placeholder + tail
    return path


def _columns(source: Source) -> str:
    """Return the lines about the columns that are learned."""
    if source.is_matrix:
        return "# All columns are learned; arrays have no names.\n"
    names, left_out = training_columns(source, None, [])
    lines = [f"# Learned: {list_names(names or [])}."]
    lines += [f"# Left out: {name} ({why})." for name, why in list(left_out.items())[:8]]
    return "\n".join(lines) + f"\nexclude = {_toml(list(left_out))}\n"


def _toml(value: object) -> str:
    """Return a text, a list of texts or a truth value as TOML, which writes them as JSON does."""
    return json.dumps(value, ensure_ascii=False)


_TEXT = """\
# A nightly job. Run it with:  aefast run {name}
# See what it would do:        aefast run {name} --print
# Another date:                aefast run {name} --date 2026-03-01
#
# Paths begin at the folder of this file. {{date}} stands for the date, {{date:%Y%m%d}} for another form of it.
# Running it twice for a date changes nothing. Unknown keys are refused.

[job]{dated}
input = {input}
model = "{stem}.safetensors"
output = "scores/{day}.parquet"
report = "reports/{day}.html"
days-back = 0              # 1: the date is yesterday unless --date is given
catch-up-days = 3          # try dates again whose files were late or refused
# When the model is renewed, and which scores are refused. Clean days are those whose scores were accepted. The
# output of a refused date is kept in the folder "refused". Sentences that are left out do not apply.
policy = [
    "recalibrate weekly on the last 28 clean days",
    # "refit monthly on the last 90 clean days",
    "refuse if more than 5 % of the rows are flagged",
    "refuse if more than 5 % of the rows are bad",
    "refuse if fewer than 50 % of the usual rows arrive",
    # "refuse if the rows have drifted",
{final_lines}]
# fail-on = ["anomalies", "drift", "bad"]   # exit status 3, 4 or 5
# log-file = "{stem}.log"

# Options of every command: threads, batch-rows, on-bad, delimiter, na, ...
[all]
{dialect}# threads = 2

# The model is fitted first on these rows. Further keys are options of aefast fit.
[fit]
input = {history}
{columns}# kind-of = {{ port = "categorical" }}
contamination = 0.01       # share of rows above the threshold
on-bad = "skip"            # rows that cannot be read are left out

# Options of aefast score.
[score]
top-features = 3
on-bad = "null"            # error, null or skip

[report]
on-bad = "null"

[notify]
summary = "summaries/{day}.json"
# command = ["mail", "-s", "aefast", "you@example.org"]   # gets the summary on standard input
# when = "problems"        # only if the exit status is not 0; "always" runs the command after every night
"""
