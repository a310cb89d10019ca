"""`aefast run`: the job file, what a run does and prints, and what it leaves behind however it ends."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
from datetime import date as Date
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pyarrow.parquet import read_table

import aefast
from aefast.cli.app import COMMANDS
from aefast.cli.jobfile import read_job
from aefast.jobs.nights import Nights
from small_tables import FEATURES, done, run_command, write_table

JOB = """
[job]
input = "in/{date}.csv"
model = "model.safetensors"
output = "scores/{date}.parquet"
catch-up-days = 3
policy = [
    "refit every 2 weeks on the last 12 clean days",
    "recalibrate weekly on the last 6 days",
    "refuse if more than 30 % of the rows are flagged",
    "refuse if more than 20 % of the rows are bad",
    "refuse if fewer than 50 % of the usual rows arrive",
]

[fit]
input = "history/*.csv"
exclude = ["id"]
layers = [6, 2]
epochs = 3
missing = "error"
contamination = 0.02

[score]
keep = ["id"]

[all]
threads = 1
on-bad = "null"
"""
FIRST = Date(2026, 3, 1)
N_ROWS = 200


def day_table(seed: int, shift: float = 0.0) -> pa.Table:
    """Return the rows of a day: four correlated features, and two rows that break the correlation."""
    rng = np.random.default_rng(seed)
    a, b = rng.normal(size=(2, N_ROWS))
    features = {"a": a, "b": b, "c": a - b, "d": 2 * a + b}
    features = {name: values + 0.05 * rng.normal(size=N_ROWS) + shift for name, values in features.items()}
    features["c"][[5, 100]] += 9
    ids = rng.permutation(10_000)[:N_ROWS]
    return pa.table({"id": ids} | {name: np.round(values, 6) for name, values in features.items()})


def write_day(day: Date, table: pa.Table | None = None) -> Path:
    return write_table(day_table(day.toordinal()) if table is None else table, Path(f"in/{day}.csv"))


def job_folder(folder: Path, monkeypatch: Any, job: str = JOB) -> Path:
    monkeypatch.chdir(folder)
    for name in ("in", "history"):
        Path(name).mkdir()
    for seed in range(3):
        write_table(day_table(seed), Path(f"history/{seed}.csv"))
    Path("job.toml").write_text(job)
    return folder


@pytest.fixture
def folder(tmp_path, monkeypatch):
    return job_folder(tmp_path, monkeypatch)


def night(day: Date, *options: object) -> tuple[int, dict[str, Any]]:
    """Run the job for a date; return the exit status and the summary."""
    result = run_command("run", "job.toml", "--date", day, *options, "--json")
    assert (result.stderr != "") == (result.exit_code == 1)
    return result.exit_code, json.loads(result.stdout)


def record_of(day: Date) -> dict[str, Any]:
    return json.loads(Path("scores/job.state.json").read_text())["days"][str(day)]


def scores_are_right(day: Date, model: bytes) -> None:
    """Fail unless the output of a date has the scores of its rows by this model, and null for rows with a gap."""
    table, found = pa.csv.read_csv(f"in/{day}.csv"), read_table(f"scores/{day}.parquet")
    assert found["id"].to_pylist() == [str(each) for each in table["id"].to_pylist()]
    X = np.column_stack([table[name].to_numpy() for name in FEATURES])
    good = np.isfinite(X).all(axis=1)
    expected = aefast.load(model).model_.errors(pa.table(dict(zip(FEATURES, X[good].T, strict=True))))
    scores = found["anomaly_score"].to_numpy()
    np.testing.assert_array_equal(np.isnan(scores), ~good)
    np.testing.assert_array_equal(scores[good], expected.astype(np.float64))


def test_thirty_nights_with_faults(folder):
    late, half, renamed, shifted = (FIRST + timedelta(days=n) for n in (3, 7, 11, 14))
    outage, gaps, twice, killed = (FIRST + timedelta(days=n) for n in (17, 18, 22, 24))
    models, scored, modelled = {}, [], {}
    for day in (FIRST + timedelta(days=n) for n in range(30)):
        if day == half:
            path = write_day(day)
            whole = path.read_bytes()
            path.write_bytes(whole[: len(whole) * 2 // 3])
        elif day == renamed:
            write_day(day, day_table(1).rename_columns(["id", "a", "b", "sea", "d"]))
        elif day == shifted:
            write_day(day, day_table(2, shift=40.0))
        elif day in (outage, gaps):
            table = day_table(3).to_pydict()
            for row in range(0, N_ROWS, 2 if day == outage else 20):
                table["d"][row] = None
            write_day(day, pa.table(table))
        elif day != late:
            write_day(day)
        if day == late + timedelta(days=2):
            write_day(late)
        if day == half + timedelta(days=1):
            (folder / f"in/{half}.csv").write_bytes(whole)
        if day == killed:
            kill_at_random(day)
        status, summary = night(day)
        for command in map(shlex.split, summary["commands"]):
            if command[1] in ("fit", "recalibrate"):
                modelled[day] = command[1]
                assert len([part for part in command if part.endswith(".csv")]) == (
                    1 if not models else 12 if command[1] == "fit" else 6
                )
        model = Path("model.safetensors").read_bytes()
        for each in summary["days"]:
            if each["outcome"] == "scored" and not each["done_before"]:
                scored.append(each["date"])
        for path in Path("scores").glob("*.parquet"):
            models.setdefault(path.stem, model)
        assert status == (0 if all(each["outcome"] == "scored" for each in summary["days"]) else 1)
        if day == twice:
            before = Path(f"scores/{day}.parquet").stat()
            again_status, again = night(day)
            assert (again_status, again["commands"], again["days"][0]["done_before"]) == (0, [], True)
            assert Path(f"scores/{day}.parquet").stat().st_mtime_ns == before.st_mtime_ns
    days = [str(FIRST + timedelta(days=n)) for n in range(30)]
    absent = {str(renamed): ("failed", "lacks columns the model was fitted on: 'c'"),
              str(shifted): ("refused", "are flagged, more than 30 %"),
              str(outage): ("refused", "100 of 200 rows are bad, more than 20 %")}  # fmt: skip
    assert sorted(path.stem for path in Path("scores").glob("*.parquet")) == [d for d in days if d not in absent]
    assert sorted(path.stem for path in Path("scores/refused").iterdir()) == [str(shifted), str(outage)]
    for day, (outcome, reason) in absent.items():
        assert record_of(day)["outcome"] == outcome
        assert reason in record_of(day)["reason"]
    for day in (d for d in days if d not in absent):
        scores_are_right(day, models[day])
        assert record_of(day)["rows"] == N_ROWS
    assert sorted(scored + ([str(killed)] if str(killed) not in scored else [])) == [d for d in days if d not in absent]
    assert scored.index(str(late)) == scored.index(str(late + timedelta(days=2))) - 1
    assert record_of(gaps)["bad_rows"] == 10
    # Fitted at first, and then every 14 days; recalibrated 7 days after either. The file of that day was late once.
    wanted = {0: "fit", 8: "recalibrate", 14: "fit", 21: "recalibrate", 28: "fit"}
    assert modelled == {FIRST + timedelta(days=n): what for n, what in wanted.items()}


def kill_at_random(day: Date) -> None:
    """Start the job for a date in other processes, and kill these at random times."""
    rng = np.random.default_rng(0)
    command = [sys.executable, "-m", "aefast", "run", "job.toml", "--date", str(day)]
    for seconds in rng.uniform(0.5, 2.5, 3):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()


class Killed(BaseException):
    """Stands for the end of the process at one place."""


def test_a_kill_before_any_write_or_move_leaves_a_night_that_can_be_done(folder, monkeypatch):
    write_day(FIRST)
    done("fit", "history", "-o", "kept", "--exclude", "id", "--epochs", 1, "--threads", 1)
    model = Path("kept").read_bytes()
    replace, n_done = os.replace, 0
    for last in range(1, 20):
        for name in ("scores/job.state.json", f"scores/{FIRST}.parquet"):
            Path(name).unlink(missing_ok=True)
        Path("model.safetensors").write_bytes(model)
        n_moves = 0

        def move(source: Any, target: Any) -> None:
            nonlocal n_moves
            n_moves += 1
            if n_moves == last:  # noqa: B023
                raise Killed
            replace(source, target)

        monkeypatch.setattr(os, "replace", move)
        try:
            result = run_command("run", "job.toml", "--date", FIRST)
            n_done += result.exit_code == 0
        except Killed:
            pass
        monkeypatch.setattr(os, "replace", replace)
        status, summary = night(FIRST)
        assert (status, summary["days"][0]["outcome"]) == (0, "scored")
        scores_are_right(FIRST, model)
        assert [path.name for path in Path("scores").glob(".*")] == []
        if n_done:
            break
    assert (last, n_done) == (5, 1)


def test_an_interrupted_score_is_resumed_and_not_begun_anew(folder, monkeypatch):
    write_day(FIRST)
    done("fit", "history", "-o", "model.safetensors", "--exclude", "id", "--epochs", 1)
    Path("job.toml").write_text(JOB.replace("[score]", "[score]\nbatch-rows = 50"))
    write = pa.parquet.ParquetWriter.write_table

    def fail(self, *arguments, **more):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pyarrow.parquet.ParquetWriter.write_table", fail)
    status, summary = night(FIRST)
    assert (status, summary["days"][0]["outcome"]) == (1, "failed")
    assert "No space left" in summary["failed"][str(FIRST)]
    assert not Path(f"scores/{FIRST}.parquet").exists()
    monkeypatch.setattr("pyarrow.parquet.ParquetWriter.write_table", write)
    log = ["--log-file", "night.log"]
    assert night(FIRST, *log)[0] == 0
    scores_are_right(FIRST, Path("model.safetensors").read_bytes())


def test_only_one_run_at_a_time(folder):
    import fcntl

    write_day(FIRST)
    Path("scores").mkdir()
    with Path("scores/job.state.lock").open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        result = run_command("run", "job.toml", "--date", FIRST)
    assert result.exit_code == 1
    assert "another run holds scores/job.state.lock; wait for it to end" in result.stderr
    assert night(FIRST)[0] == 0


def test_it_does_not_matter_where_it_is_started(folder, monkeypatch):
    write_day(FIRST)
    assert night(FIRST)[0] == 0
    monkeypatch.chdir("/")
    told = json.loads(done("run", folder / "job.toml", "--date", FIRST, "--json"))
    assert told["days"][0]["done_before"]
    assert told["days"][0]["reason"] == ""


def test_changed_input_is_said_and_scored_again_if_asked_for(folder):
    write_day(FIRST)
    assert night(FIRST)[0] == 0
    write_day(FIRST, day_table(77))
    status, summary = night(FIRST)
    assert status == 1
    assert f"in/{FIRST}.csv has changed since it was scored; give --again" in summary["failed"][str(FIRST)]
    assert night(FIRST, "--again")[0] == 0
    scores_are_right(FIRST, Path("model.safetensors").read_bytes())
    assert night(FIRST)[0] == 0


def test_a_deleted_output_is_made_again(folder):
    write_day(FIRST)
    night(FIRST)
    Path(f"scores/{FIRST}.parquet").unlink()
    assert night(FIRST)[0] == 0
    scores_are_right(FIRST, Path("model.safetensors").read_bytes())


def test_refused_days_are_judged_again_only_if_something_changed(folder):
    write_day(FIRST, day_table(5, shift=40.0))
    assert night(FIRST)[1]["commands"] != []
    status, summary = night(FIRST)
    assert (status, summary["commands"], summary["days"][0]["outcome"]) == (1, [], "refused")
    Path("job.toml").write_text(JOB.replace("than 30 %", "than 100 %"))
    assert night(FIRST)[0] == 0


def test_the_printed_commands_do_what_the_run_does(folder):
    write_day(FIRST)
    policy = [
        "# refit every 14 days on the last 12 clean days: after the first fit, 0 clean days so far",
        "# recalibrate weekly on the last 6 clean days: after the first fit, 0 clean days so far",
        "# refuse if more than 30 % of the rows are flagged",
        "# refuse if more than 20 % of the rows are bad",
        "# refuse if fewer than 50 % of the usual rows arrive",
    ]
    lines = done("run", "job.toml", "--date", FIRST, "--print").splitlines()
    assert lines[:5] == policy
    lines = lines[5:]
    assert [shlex.split(line)[:2] for line in lines] == [["aefast", "fit"], ["aefast", "score"]]
    assert sorted(os.listdir()) == ["history", "in", "job.toml"]
    Path("scores").mkdir()
    for line in lines:
        done(*shlex.split(line)[1:])
    by_hand = read_table(f"scores/{FIRST}.parquet")
    for name in (f"scores/{FIRST}.parquet", "model.safetensors"):
        Path(name).unlink()
    assert night(FIRST)[0] == 0
    assert read_table(f"scores/{FIRST}.parquet").equals(by_hand)
    policy[0] = "# refit every 14 days on the last 12 clean days: due from 2026-03-15, 0 clean days so far"
    policy[1] = "# recalibrate weekly on the last 6 clean days: due from 2026-03-08, 0 clean days so far"
    printed = done("run", "job.toml", "--date", FIRST, "--print").splitlines()
    assert printed == [*policy, f"# nothing: {FIRST} was scored before"]


def test_the_command_of_notify_gets_the_summary_and_its_failure_is_said(folder):
    write_day(FIRST)
    code = "import os, sys; open('told', 'w').write(os.environ['AEFAST_STATUS'] + sys.stdin.read())"
    notify = f"\n[notify]\ncommand = {json.dumps([sys.executable, '-c', code])}\nsummary = 'told/{{date}}.json'\n"
    Path("job.toml").write_text(JOB + notify.replace("told/", "summaries/"))
    assert night(FIRST)[0] == 0
    assert not Path("told").exists()
    assert json.loads(Path(f"summaries/{FIRST}.json").read_text())["days"][0]["outcome"] == "scored"
    missing = FIRST + timedelta(days=9)
    assert night(missing)[0] == 1
    told = Path("told").read_text()
    assert told[0] == "1"
    assert json.loads(told[1:])["failed"] == {str(missing): f"there is no file or folder in/{missing}.csv"}
    Path("job.toml").write_text(JOB + '\n[notify]\ncommand = "false"\nwhen = "always"\n')
    status, summary = night(FIRST)
    assert (status, "the command of [notify] failed" in summary["failed"]["notify"]) == (1, True)


@pytest.mark.parametrize(
    ("names", "status"), [("[]", 0), ("['anomalies']", 3), ("['bad', 'anomalies']", 5), ("'drift'", 0)]
)
def test_exit_statuses_are_those_of_the_day_each_time(folder, names, status):
    table = day_table(1).to_pydict()
    table["a"][3] = None
    write_day(FIRST, pa.table(table))
    Path("job.toml").write_text(JOB.replace("catch-up-days", f"fail-on = {names}\ncatch-up-days"))
    assert [night(FIRST)[0] for _ in range(2)] == [status, status]


def test_several_files_of_a_day_go_into_a_folder_or_into_one_file(folder):
    day = Path(f"in/{FIRST}")
    day.mkdir()
    for hour in range(3):
        write_table(day_table(hour), day / f"{hour}.csv")
    job = JOB.replace("in/{date}.csv", "in/{date}")
    Path("job.toml").write_text(job)
    assert night(FIRST)[1]["rows"] == 3 * N_ROWS
    assert read_table(f"scores/{FIRST}.parquet").num_rows == 3 * N_ROWS
    Path("job.toml").write_text(job.replace("scores/{date}.parquet", "by-hour/{date}"))
    assert night(FIRST)[0] == 0
    assert sorted(path.name for path in Path(f"by-hour/{FIRST}").iterdir()) == ["0.csv", "1.csv", "2.csv"]


def test_a_failed_retraining_keeps_the_old_model_and_is_said(folder):
    for n in range(15):
        write_day(FIRST + timedelta(days=n))
        if n < 14:
            assert night(FIRST + timedelta(days=n))[0] == 0
    model = Path("model.safetensors").read_bytes()
    Path(f"in/{FIRST + timedelta(days=9)}.csv").write_text("a,b\n1,2\n")
    status, summary = night(FIRST + timedelta(days=14))
    assert (status, summary["days"][-1]["outcome"]) == (1, "scored")
    assert "the old model is kept" in summary["failed"][str(FIRST + timedelta(days=14))]
    assert Path("model.safetensors").read_bytes() == model


def test_the_report_is_written_and_its_failure_does_not_undo_the_scores(folder):
    write_day(FIRST)
    Path("job.toml").write_text(JOB.replace("[fit]", 'report = "pages/{date:%Y/%m-%d}.html"\n[fit]'))
    assert night(FIRST)[0] == 0
    assert Path("pages/2026/03-01.html").exists()
    second = FIRST + timedelta(days=1)
    write_day(second)
    Path("job.toml").write_text(JOB.replace("[fit]", 'report = "pages/{date}.html"\n[report]\nlabel = "none"\n[fit]'))
    status, summary = night(second)
    assert (status, summary["days"][-1]["outcome"]) == (1, "scored")
    assert "the report failed" in summary["failed"][str(second)]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("keep =", "kep ="), r"\[score\] has no key 'kep'; did you mean keep?"),
        (("[score]", "[scroe]"), "there is no table 'scroe'; did you mean score?"),
        (("[score]", "[recalibrate]\nlast-days = 5\nevery-days = 7\n[score]"), (r"\[recalibrate\] every-days is no key "
         r'any more; leave it out, and write in \[job\] policy = \["recalibrate weekly on the last 5 clean days"\]')),
        (("contamination", "every-days = 0\ncontamination"), r"\[fit\] every-days is no key any more; leave it out$"),
        (("[score]", "[accept]\nmost-bad = 0.125\nleast-rows = 9\nno-drift = true\nwhole-lines = false\n[score]"),
         (r'policy = \["refuse if more than 12.5 % of the rows are bad", "refuse if fewer than 9 rows arrive", '
         r'"refuse if the rows have drifted", "accept text files without a final line end"\]')),
        (("[score]", "[accept]\nleast-rows = -1\n[score]"), r"\[accept\] least-rows is no key .*; write a policy in"),
        (("threads = 1", "thread = 1"), r"\[all\] has no key 'thread'; did you mean threads?"),
        (("weekly on", "biweekly on"), r"'recalibrate biweekly on the last 6 days': 'biweekly' is not understood"),
        (("policy = [", "policy = 3\nx = ["), r"\[job\] has no key 'x'"),
        (("catch-up-days", "policy = 3\ncatch-up"), "is not TOML"),
        (("epochs = 3", "epochs = -3"), r"\[fit\]: .*-3 is not a whole number of at least 0"),
        (("'null'", "'nul'"), r"\[(fit|score)\]: .*'nul'"),
        (('model = "model.safetensors"', ""), r"\[job\] lacks model; aefast run job.toml --init DATA writes"),
        (("[all]", "[all"), "job.toml is not TOML: "),
        (("threads = 1", "threads = true"), r"\[fit\] threads must be text, a number or a list, got True"),
        (('layers = [6, 2]', "stream = 'yes'"), r"\[fit\] stream must be true or false, got 'yes'"),
        (("catch-up-days = 3", "fail-on = 'odd'"), "--fail-on must be some of anomalies, drift, bad, got 'odd'"),
    ],
)  # fmt: skip
def test_wrong_job_files_are_refused_with_what_is_right(folder, change, said):
    import re

    Path("job.toml").write_text(JOB.replace('"null"', "'null'").replace(*change))
    result = run_command("run", "job.toml", "--date", FIRST)
    assert result.exit_code == 2
    assert re.search(said, result.stderr), result.stderr


def test_wrong_arguments_are_refused(folder):
    for arguments, said in (
        (["none.toml"], "there is no job file none.toml; aefast run none.toml --init DATA writes one"),
        (["job.toml", "--date", "yesterday"], "--date must be a date such as 2026-03-01, got 'yesterday'"),
        (["job.toml", "history"], "DATA is only for --init, got 'history'"),
        (["job.toml", "--init", "history"], "job.toml exists already"),
        (["new.toml", "--init"], "--init needs DATA"),
    ):
        result = run_command("run", *arguments)
        assert (result.exit_code, said in result.stderr) == (2, True), result.stderr


def test_every_option_of_the_commands_can_stand_in_the_file(folder):
    import typer.main

    from aefast.cli.app import app

    group = typer.main.get_command(app)
    seen = []
    for command in ("fit", "recalibrate", "score", "report"):
        for option in group.get_command(None, command).params:
            name = max(option.opts, key=len).removeprefix("--")
            if option.param_type_name != "option" or name in ("output", "json", "log-file", "resume", "fail-on"):
                continue
            seen.append(name)
            if option.is_flag:
                lines = f"{name} = true\n"
            else:
                special = {"fdr": 0.1, "contamination": 0.1, "decimal": ",", "delimiter": ";", "thousands": "none",
                           "quote": "'", "layers": "4,2", "kind-of": "a=numeric", "image": "2x2", "precision": "int8",
                           "on-bad": "skip", "missing": "mask", "kind": "sparse"}  # fmt: skip
                value = special.get(name, 3 if option.metavar in ("N", "K") else "x")
                lines = f"{name} = {json.dumps(value)}\n"
            Path("one.toml").write_text(f"[job]\ninput='x'\nmodel='m'\noutput='o.parquet'\n[{command}]\n{lines}")
            job = read_job(Path("one.toml"), lambda each: group.get_command(None, each))
            assert f"--{name}" in [part.partition("=")[0] for part in job.options[command]]
    assert {"delimiter", "top-features", "missing", "label", "threads", "na", "checkpoint"} <= set(seen)


def test_init_writes_a_job_that_runs(folder):
    for n in range(3):
        write_day(FIRST + timedelta(days=n))
    Path("job.toml").unlink()
    printed = done("run", "job.toml", "--init", "in")
    assert "aefast run job.toml --print" in printed
    text = Path("job.toml").read_text()
    assert 'input = ["in/{date}.csv"]' in text
    assert "# Learned: a, b, c, d" in text or "# Learned: id, a, b, c, d" in text
    Path("job.toml").write_text(text.replace('report = "', '# report = "'))
    assert night(FIRST)[0] == 0
    assert read_table(f"scores/{FIRST}.parquet").column_names[-1] == "top_features"
    assert Path(f"summaries/{FIRST}.json").exists()


@pytest.mark.filterwarnings("ignore:.*cut off by the end of the file")
def test_init_leaves_out_files_that_cannot_be_learned_with_the_others(folder):
    rows = [f"{i},{i / 4},{i % 7}" for i in range(40)]
    Path("data").mkdir()
    for n in range(1, 6):
        Path(f"data/2026-03-0{n}.csv").write_text("\n".join(["t,v,n", *rows]) + "\n")
    Path("data/2026-03-02.csv").write_text("\n".join(["t,w,n", *rows]) + "\n")
    Path("data/2026-03-03.csv").write_text("\n".join(["t,v,n", *rows]))
    Path("data/2026-03-04.csv").write_text("\n".join(["t,v,n", *rows, "7,1"]))
    Path("data/2026-03-05.csv").write_bytes(b"\0\1")
    done("run", "new.toml", "--init", "data")
    text = Path("new.toml").read_text()
    assert 'input = ["data/2026-03-01.csv", "data/2026-03-03.csv", "data/2026-03-04.csv"]' in text
    assert "# No input: data/2026-03-02.csv lacks column 'v'" in text
    assert "# No input: data/2026-03-05.csv" in text
    assert "without a final line end" in text  # most of them
    assert run_command("fit", *read_inputs(text), "-o", "m", "--epochs", 1, "--on-bad", "skip").exit_code == 0


def read_inputs(text):
    """Return the inputs of the first fit of a job file."""
    return json.loads(text.split("[fit]\ninput = ")[1].split("\n")[0])


@pytest.mark.parametrize(
    ("names", "pattern"),
    [
        (["log_20260301.csv", "log_20260302.csv"], "log_{date:%Y%m%d}.csv"),
        (["2026-03-01/a.csv", "2026-03-02/a.csv"], "{date}/a.csv"),
        (["2026-03-01/x-2026-03-01.csv"], "{date}/x-{date}.csv"),
        (["x-99999999.csv"], "x-99999999.csv"),
    ],
)
def test_init_finds_the_dates_in_names(folder, names, pattern):
    for name in names:
        Path("data", name).parent.mkdir(parents=True, exist_ok=True)
        write_table(day_table(1), Path("data", name))
    done("run", "new.toml", "--init", "data")
    assert f'input = ["data/{pattern}"]' in Path("new.toml").read_text()


def test_a_file_that_is_no_record_is_refused(folder):
    write_day(FIRST)
    Path("scores").mkdir()
    Path("scores/job.state.json").write_text('{"days": 3}')
    result = run_command("run", "job.toml", "--date", FIRST)
    assert (result.exit_code, "is not the record of a job" in result.stderr) == (1, True)


def test_dates_default_to_today_less_days_back(folder):
    Path("job.toml").write_text(JOB.replace("catch-up-days = 3", "days-back = 1"))
    result = run_command("run", "job.toml", "--json")
    assert json.loads(result.stdout)["date"] in {str(Date.today() - timedelta(days=n)) for n in (1, 2)}


def test_the_record_survives_its_file(tmp_path):
    nights = Nights(tmp_path / "n.json", {"2026-03-01": {"outcome": "scored", "rows": 3}}, {"trained": "2026-03-01"})
    nights.save()
    assert Nights.load(tmp_path / "n.json") == nights
    assert "run" in COMMANDS
