"""A resumed scoring job writes the same bytes as one that was not ended, or raises with the reason why it cannot."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest

import aefast
from aefast.jobs.discoveries import recorded_cutoff
from aefast.jobs.journal import Journal, ResumeError
from aefast.jobs.score import ScoreJob
from aefast.scoring.scorer import Scorer
from aefast.tables.source import Source
from small_tables import run_command, small_model, small_table, write_table


@pytest.fixture
def table(tmp_path):
    return write_table(small_table(), tmp_path / "t.parquet")


@pytest.fixture
def ending_after(monkeypatch):
    """A function that raises ``error`` after so many batches are scored; it returns the list of the scored batches."""
    at_once = Scorer.judge

    def arm(n_batches: float, error: BaseException | None = None) -> list[int]:
        scored: list[int] = []

        def judge(self, batch, *, first_row=0):
            if len(scored) == n_batches:
                raise error or KeyboardInterrupt
            scored.append(first_row)
            return at_once(self, batch, first_row=first_row)

        monkeypatch.setattr(Scorer, "judge", judge)
        return scored

    return arm


def job(table: Path, output: Path, **options) -> ScoreJob:
    return ScoreJob(small_model(), Source([table]), output, **{"batch_rows": 40, **options})


@pytest.mark.parametrize("ending", [".parquet", ".csv", ".feather", ".npy"])
@pytest.mark.parametrize("n_batches", [0, 1, 4, 7])
def test_an_interrupted_job_continues_to_the_same_bytes(tmp_path, table, ending_after, ending, n_batches):
    whole, output = tmp_path / f"whole{ending}", tmp_path / f"out{ending}"
    expected = job(table, whole).run()
    ending_after(n_batches)
    with pytest.raises(KeyboardInterrupt):
        job(table, output).run()
    assert not output.exists()
    scored = ending_after(np.inf)
    summary = job(table, output, resume=True).run()
    # The writer may not have taken the last batch or two.
    assert scored == list(range(scored[0], 300, 40))
    assert summary["resumed_rows"] == scored[0] <= 40 * n_batches
    assert output.read_bytes() == whole.read_bytes()
    assert [summary[k] for k in ("rows", "anomalies")] == [expected[k] for k in ("rows", "anomalies")]
    assert sorted(os.listdir(tmp_path)) == sorted([table.name, whole.name, output.name])


@pytest.mark.parametrize("source", [".csv", ".feather", ".arrows", ".npy"])
def test_every_format_is_read_on_from_the_right_row(tmp_path, ending_after, source):
    table = write_table(small_table(), tmp_path / f"t{source}")
    model = small_model() if source != ".npy" else aefast.Autoencoder((2,), max_epochs=1).fit(np.eye(9)[:, :4])
    ScoreJob(model, Source([table]), tmp_path / "whole.csv", batch_rows=40).run()
    ending_after(4)
    with pytest.raises(KeyboardInterrupt):
        ScoreJob(model, Source([table]), tmp_path / "out.csv", batch_rows=40).run()
    scored = ending_after(np.inf)
    ScoreJob(model, Source([table]), tmp_path / "out.csv", batch_rows=40, resume=True).run()
    assert scored[0] > 0
    assert (tmp_path / "out.csv").read_bytes() == (tmp_path / "whole.csv").read_bytes()


@pytest.mark.parametrize("kinds", [(".parquet", ".parquet"), (".csv", ".parquet"), (".parquet", ".csv")])
def test_rows_of_many_files_are_read_on_in_the_right_one(tmp_path, kinds):
    paths = [write_table(small_table(n, seed=n), tmp_path / f"{n}{e}") for n, e in zip((50, 130), kinds, strict=True)]
    source = Source(paths)
    rows = np.concatenate([b.column("id").to_numpy() + i for i, b in enumerate(source.batches(["id"], 30))])
    for first_row in (0, 30, 50, 80, 170):
        batches = list(source.batches(["id"], 30, first_row=first_row))
        skipped = [0, 30, 50, 80, 110, 140, 170].index(first_row)
        read = np.concatenate([b.column("id").to_numpy() + skipped + i for i, b in enumerate(batches)])
        np.testing.assert_array_equal(read, rows[first_row:])


def test_a_second_interruption_is_survived_too(tmp_path, table, ending_after):
    job(table, tmp_path / "whole.parquet").run()
    for n_batches in (3, 2, 1):
        ending_after(n_batches)
        with pytest.raises(KeyboardInterrupt):
            job(table, tmp_path / "out.parquet", resume=True).run()
    ending_after(np.inf)
    assert job(table, tmp_path / "out.parquet", resume=True).run()["resumed_rows"] >= 120
    assert (tmp_path / "out.parquet").read_bytes() == (tmp_path / "whole.parquet").read_bytes()


@pytest.mark.parametrize("harm", ["cut", "flip", "zeros", "lost", "twice"])
def test_a_journal_that_lost_its_end_is_used_up_to_there(tmp_path, table, ending_after, harm):
    job(table, tmp_path / "whole.parquet").run()
    ending_after(5)
    with pytest.raises(KeyboardInterrupt):
        job(table, tmp_path / "out.parquet").run()
    journal = tmp_path / "out.parquet.partial"
    content = bytearray(journal.read_bytes())
    if harm == "cut":
        del content[-7:]
    elif harm == "flip":
        content[-200] ^= 1
    elif harm == "zeros":
        content[-300:] = bytes(300)
    else:  # a frame between others
        starts = [0]
        while starts[-1] < len(content):
            starts.append(starts[-1] + 12 + int.from_bytes(content[starts[-1] : starts[-1] + 8], "little"))
        begin, end = starts[2], starts[3]
        content[begin:end] = b"" if harm == "lost" else content[begin:end] * 2
    journal.write_bytes(content)
    ending_after(np.inf)
    assert job(table, tmp_path / "out.parquet", resume=True).run()["resumed_rows"] > 0
    assert (tmp_path / "out.parquet").read_bytes() == (tmp_path / "whole.parquet").read_bytes()


def test_progress_recorded_after_a_loss_is_used_too(tmp_path, table, ending_after):
    job(table, tmp_path / "whole.parquet").run()
    ending_after(4)
    with pytest.raises(KeyboardInterrupt):
        job(table, tmp_path / "out.parquet").run()
    journal = tmp_path / "out.parquet.partial"
    journal.write_bytes(journal.read_bytes()[:-7])
    ending_after(3)
    with pytest.raises(KeyboardInterrupt):
        job(table, tmp_path / "out.parquet", resume=True).run()
    ending_after(np.inf)
    assert job(table, tmp_path / "out.parquet", resume=True).run()["resumed_rows"] > 160
    assert (tmp_path / "out.parquet").read_bytes() == (tmp_path / "whole.parquet").read_bytes()


def test_without_resume_a_job_starts_anew(tmp_path, table, ending_after):
    ending_after(5)
    with pytest.raises(KeyboardInterrupt):
        job(table, tmp_path / "out.parquet").run()
    scored = ending_after(np.inf)
    assert job(table, tmp_path / "out.parquet").run()["resumed_rows"] == 0
    assert scored[0] == 0


def test_resuming_a_job_that_never_began_runs_it(tmp_path, table):
    assert job(table, tmp_path / "out.parquet", resume=True).run()["resumed_rows"] == 0


def test_judgements_over_all_rows_are_those_of_an_undisturbed_run(tmp_path, table, ending_after, monkeypatch):
    options = {"label": "label", "fdr": 0.3, "top_features": 2}
    expected = job(table, tmp_path / "whole.parquet", **options).run()
    ending_after(4)
    with pytest.raises(KeyboardInterrupt):
        job(table, tmp_path / "out.parquet", **options).run()
    ending_after(np.inf)
    resumed = job(table, tmp_path / "out.parquet", resume=True, **options)
    # The pass that counts p-values is not made again.
    monkeypatch.setattr("aefast.jobs.score.find_cutoff", None)
    assert resumed.run()["quality"] == expected["quality"]
    assert (tmp_path / "out.parquet").read_bytes() == (tmp_path / "whole.parquet").read_bytes()


def other_table(table):
    write_table(small_table(seed=5), table)


def later_table(table):
    os.utime(table, ns=(0, 0))


@pytest.mark.parametrize(
    ("change", "options", "said"),
    [
        (None, {"batch_rows": 50}, "with other options (batch_rows: 40, now 50)"),
        (None, {"keep": ["id"]}, "with other options (keep: ['id', 'name', 'label'], now ['id'])"),
        (None, {"top_features": 1}, "with other options (top_features: 0, now 1)"),
        (other_table, {}, "with other input"),
        (later_table, {}, "with other input"),
    ],
)
def test_another_job_is_not_gone_on_with(tmp_path, table, ending_after, change, options, said):
    ending_after(2)
    with pytest.raises(KeyboardInterrupt):
        job(table, tmp_path / "out.parquet").run()
    ending_after(np.inf)
    if change:
        change(table)
    with pytest.raises(ResumeError) as error:
        job(table, tmp_path / "out.parquet", resume=True, **options).run()
    assert said in str(error.value)
    assert "\n" not in str(error.value)
    # Nothing is lost by asking.
    assert (tmp_path / "out.parquet.partial").exists()


def test_another_model_is_not_gone_on_with_but_other_threads_are(tmp_path, table, ending_after):
    ending_after(2)
    with pytest.raises(KeyboardInterrupt):
        job(table, tmp_path / "out.parquet").run()
    ending_after(np.inf)
    source = Source([table])
    with pytest.raises(
        ResumeError, match=r"out\.parquet\.partial was begun with another model; repeat the same command"
    ):
        ScoreJob(small_model(random_state=1), source, tmp_path / "out.parquet", batch_rows=40, resume=True).run()
    same = small_model(n_threads=2)
    assert ScoreJob(same, source, tmp_path / "out.parquet", batch_rows=40, resume=True).run()["resumed_rows"] > 0


def test_two_runs_do_not_write_the_same_output(tmp_path, table):
    journal = Journal(tmp_path / "out.parquet.partial", {}, resume=False)
    with pytest.raises(ResumeError, match="is being written by another run"):
        job(table, tmp_path / "out.parquet").run()
    journal.close()
    job(table, tmp_path / "out.parquet").run()


@pytest.mark.parametrize("resume", [False, True])
@pytest.mark.parametrize("content", [b"x", b"precious\n", b"a,b\n" + b"1,2\n" * 99, bytes(99)])
def test_another_file_in_the_place_of_the_journal_is_kept(tmp_path, table, content, resume):
    theirs = tmp_path / "out.parquet.partial"
    theirs.write_bytes(content)
    with pytest.raises(
        ResumeError, match=r"out\.parquet\.partial is not a journal of aefast, .*; move it, or name another output"
    ):
        job(table, tmp_path / "out.parquet", resume=resume).run()
    assert theirs.read_bytes() == content
    assert not (tmp_path / "out.parquet").exists()


def test_an_empty_journal_is_begun_anew(tmp_path, table):
    (tmp_path / "out.parquet.partial").touch()
    assert job(table, tmp_path / "out.parquet", resume=True).run()["resumed_rows"] == 0


def test_a_full_disk_leaves_no_beginning_of_a_journal(tmp_path, table):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, limits[1]))
    try:
        with pytest.raises(OSError, match=r"File too large.*out\.parquet\.partial"):
            job(table, tmp_path / "out.parquet").run()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert os.listdir(tmp_path) == [table.name]
    job(table, tmp_path / "out.parquet").run()


def test_rows_that_cannot_be_scored_leave_nothing(tmp_path, table, ending_after):
    ending_after(4, ValueError("a bad row"))
    with pytest.raises(ValueError, match="a bad row"):
        job(table, tmp_path / "out.parquet").run()
    assert os.listdir(tmp_path) == [table.name]


def test_progress_is_kept_when_the_disk_is_full(tmp_path, table, monkeypatch):
    job(table, tmp_path / "whole.npy").run()
    written = []
    append = Journal.append

    def full(self, content):
        if len(written) == 5:
            raise OSError(28, "No space left on device", str(self.path))
        written.append(append(self, content))

    monkeypatch.setattr(Journal, "append", full)
    with pytest.raises(OSError, match="No space left"):
        job(table, tmp_path / "out.npy").run()
    assert not (tmp_path / "out.npy").exists()
    monkeypatch.setattr(Journal, "append", append)
    assert job(table, tmp_path / "out.npy", resume=True).run()["resumed_rows"] == 160
    assert (tmp_path / "out.npy").read_bytes() == (tmp_path / "whole.npy").read_bytes()


# Outputs that are whole.


@pytest.fixture
def extended_attributes(tmp_path):
    """Skips the test if the file system has no extended attributes, because then everything is scored again."""
    path = tmp_path / "probe"
    path.touch()
    try:
        os.setxattr(path, "user.probe", b"")
    except (OSError, AttributeError):
        pytest.skip("needs a file system with extended attributes")
    path.unlink()


@pytest.mark.parametrize("ending", [".parquet", ".csv", ".feather", ".npy"])
@pytest.mark.parametrize("options", [{}, {"fdr": 0.2}])
def test_an_output_that_is_whole_stays(
    tmp_path, table, ending_after, extended_attributes, ending, options, monkeypatch
):
    output = tmp_path / f"out{ending}"
    expected = job(table, output, **options).run()
    before = output.stat()
    scored = ending_after(np.inf)
    again = job(table, output, resume=True, **options)
    monkeypatch.setattr("aefast.jobs.score.find_cutoff", None)
    summary = again.run()
    assert scored == []
    assert (output.stat().st_ino, output.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert [summary[k] for k in ("rows", "anomalies")] == [expected[k] for k in ("rows", "anomalies")]
    assert (summary["resumed_rows"], summary["skipped_files"], expected["skipped_files"]) == (300, 1, 0)
    assert sorted(os.listdir(tmp_path)) == sorted([table.name, output.name])


def longer_output(output):
    with output.open("a") as file:
        file.write("more")


def same_size_output(output):
    output.write_bytes(output.read_bytes())
    os.utime(output, ns=(0, 0))


def lost_output(output):
    output.unlink()


@pytest.mark.parametrize(
    ("change", "options"),
    [
        (longer_output, {}), (same_size_output, {}), (lost_output, {}),
        (None, {"keep": ["id"]}), (None, {"batch_rows": 50}), (None, {"label": "label"}), (None, {"fdr": 0.3}),
        (None, {"resume": False}),
    ],
)  # fmt: skip
def test_an_output_of_another_job_or_that_was_touched_is_made_again(
    tmp_path, table, extended_attributes, change, options
):
    output = tmp_path / "out.csv"
    job(table, output).run()
    if change:
        change(output)
    summary = job(table, output, **{"resume": True, **options}).run()
    assert (summary["resumed_rows"], summary["skipped_files"]) == (0, 0)
    job(table, tmp_path / "whole.csv", **options).run()
    assert output.read_bytes() == (tmp_path / "whole.csv").read_bytes()


@pytest.mark.parametrize("change", [other_table, later_table])
def test_an_output_of_other_input_or_model_is_made_again(tmp_path, table, extended_attributes, change):
    output = tmp_path / "out.csv"
    job(table, output).run()
    change(table)
    assert job(table, output, resume=True).run()["skipped_files"] == 0
    other = ScoreJob(small_model(random_state=1), Source([table]), output, batch_rows=40, resume=True)
    assert other.run()["skipped_files"] == 0


@pytest.mark.parametrize("note", [b"", b"{}", b"[1]", b"\xff", b'{"job": 1, "file": 2}', b'"' + b"[" * 2000])
def test_provenance_that_nobody_wrote_is_none(tmp_path, table, extended_attributes, note):
    output = tmp_path / "out.csv"
    job(table, output).run()
    os.setxattr(output, "user.aefast", note)
    assert job(table, output, resume=True).run()["skipped_files"] == 0


def test_without_extended_attributes_everything_is_scored_again(tmp_path, table, monkeypatch):
    monkeypatch.delattr(os, "setxattr", raising=False)
    monkeypatch.delattr(os, "getxattr", raising=False)
    job(table, tmp_path / "out.csv").run()
    assert job(table, tmp_path / "out.csv", resume=True).run()["resumed_rows"] == 0


# Folders.


@pytest.fixture
def parts(tmp_path, monkeypatch):
    """A working folder with a model and the tables in/a, in/b and in/deeper/c."""
    monkeypatch.chdir(tmp_path)
    small_model().save("m.safetensors")
    (tmp_path / "in/deeper").mkdir(parents=True)
    for seed, name in enumerate(("a", "b", "deeper/c")):
        write_table(small_table(100, seed=seed), tmp_path / f"in/{name}.parquet")
    return tmp_path


def score(*options):
    result = run_command("score", "m.safetensors", *options, "--batch-rows", 30, "--json")
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


def refused(*options) -> str:
    result = run_command("score", "m.safetensors", *options, "--batch-rows", 30)
    assert result.exit_code in (1, 2)
    assert result.stderr.count("\n") == 1
    return result.stderr


@pytest.mark.parametrize("data", [["in"], ["in/**/*.parquet"], ["in/a.parquet", "in/b.parquet", "in/deeper"]])
def test_a_folder_gets_a_file_of_the_same_name_for_each(parts, data):
    summary = score(*data, "-o", "out")
    assert (summary["files"], summary["rows"]) == (3, 300)
    names = ["a.parquet", "b.parquet", "c.parquet" if len(data) == 3 else "deeper/c.parquet"]
    found = sorted(p.relative_to("out").as_posix() for p in Path("out").rglob("*") if p.is_file())
    assert found == sorted(names)
    for name in names:
        score(f"in/{name}" if Path("in", name).exists() else f"in/deeper/{name}", "-o", "alone.parquet")
        assert Path("out", name).read_bytes() == Path("alone.parquet").read_bytes()


def test_false_discoveries_are_controlled_over_all_files_of_a_folder(parts):
    score("in", "-o", "out", "--fdr", 0.2)
    score("in", "-o", "all.parquet", "--fdr", 0.2)
    flags = [pa.parquet.read_table(f"out/{n}.parquet")["is_anomaly"] for n in ("a", "b", "deeper/c")]
    assert pa.chunked_array([c for f in flags for c in f.chunks]).equals(
        pa.chunked_array(pa.parquet.read_table("all.parquet")["is_anomaly"].chunks)
    )


def test_resuming_a_folder_continues_with_its_unfinished_files(parts, ending_after):
    score("in", "-o", "whole")
    ending_after(6)
    with pytest.raises(KeyboardInterrupt):
        ScoreJob(
            aefast.load("m.safetensors"),
            Source(["in/a.parquet", "in/b.parquet", "in/deeper/c.parquet"]),
            [Path("out/a.parquet"), Path("out/b.parquet"), Path("out/deeper/c.parquet")],
            folder=Path("out"),
            batch_rows=30,
        ).run()
    files = {p.relative_to("out").as_posix() for p in Path("out").rglob("*") if p.is_file()}
    assert files == {"a.parquet", "b.parquet.partial", "aefast.partial"}
    before = Path("out/a.parquet").stat().st_mtime_ns
    scored = ending_after(np.inf)
    summary = score("in", "-o", "out", "--resume")
    assert 100 <= summary["resumed_rows"] < 200
    assert summary["rows"] == 300
    assert len(scored) < 10
    assert Path("out/a.parquet").stat().st_mtime_ns == before
    for path in (p for p in Path("whole").rglob("*") if p.is_file()):
        assert Path("out", path.relative_to("whole")).read_bytes() == path.read_bytes()
    assert not list(Path("out").rglob("*.partial"))


@pytest.mark.parametrize("options", [[], ["--fdr", 0.2]])
def test_of_a_folder_only_what_is_not_whole_is_scored(parts, extended_attributes, ending_after, options):
    score("in", "-o", "out", *options)
    scored = ending_after(np.inf)
    summary = score("in", "-o", "out", "--resume", *options)
    assert scored == []
    assert (summary["rows"], summary["resumed_rows"], summary["skipped_files"]) == (300, 300, 3)
    Path("out/b.parquet").unlink()
    summary = score("in", "-o", "out", "--resume", *options)
    assert (summary["rows"], summary["resumed_rows"], summary["skipped_files"]) == (300, 200, 2)
    assert pa.parquet.read_table("out/b.parquet").num_rows == 100
    printed = run_command("score", "m.safetensors", "in", "-o", "out", "--batch-rows", 30, "--resume", *options).stdout
    assert "300 rows were scored before; 3 of 3 files were finished" in printed


def test_a_damaged_file_of_a_folder_is_named_and_the_others_stay(parts):
    whole = Path("in/b.parquet").read_bytes()
    chunk = pa.parquet.ParquetFile("in/b.parquet").metadata.row_group(1).column(3)
    damaged = bytearray(whole)
    start = chunk.dictionary_page_offset or chunk.data_page_offset
    damaged[start : start + chunk.total_compressed_size] = bytes([255]) * chunk.total_compressed_size
    Path("in/b.parquet").write_bytes(damaged)
    assert f"in/b.parquet, row group 1, column {chunk.path_in_schema!r}" in refused("in", "-o", "out")
    assert {p.name for p in Path("out").iterdir()} == {"a.parquet", "deeper", "aefast.partial"}
    Path("in/b.parquet").write_bytes(whole)
    assert score("in", "-o", "out", "--resume")["resumed_rows"] == 200
    assert {p.name for p in Path("out").iterdir()} == {"a.parquet", "b.parquet", "deeper"}


def test_a_file_of_a_folder_that_has_changed_is_scored_again(parts, ending_after):
    sources = [Path("in/a.parquet"), Path("in/b.parquet")]
    ending_after(6)
    with pytest.raises(KeyboardInterrupt):
        ScoreJob(
            aefast.load("m.safetensors"), Source(sources), [Path("out") / p.name for p in sources],
            folder=Path("out"), batch_rows=30,
        ).run()  # fmt: skip
    ending_after(np.inf)
    write_table(small_table(50, seed=9), Path("in/a.parquet"))
    Path("out/b.parquet.partial").unlink()
    assert score("in/a.parquet", "in/b.parquet", "-o", "out", "--resume")["resumed_rows"] == 0
    assert pa.parquet.read_table("out/a.parquet").num_rows == 50


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (["in", "more/a.parquet"], "more than one input would be written to out/a.parquet"),
        (["in", "t.csv"], "files that end in .csv and .parquet cannot be scored into one folder"),
        (["t.tsv"], "out/t.tsv cannot be written: it must end in one of .parquet"),
    ],
)
def test_inputs_that_cannot_share_an_output_folder_are_refused(parts, data, said):
    Path("more").mkdir()
    write_table(small_table(20), Path("more/a.parquet"))
    for name, separator in (("t.csv", ","), ("t.tsv", "\t")):
        Path(name).write_text("a,b,c,d\n1,2,3,4\n".replace(",", separator))
    assert said in refused(*data, "-o", "out")
    assert not Path("out").exists()


def test_a_folder_is_not_written_over_its_own_input(parts):
    assert "is also the input" in refused("in", "-o", "in")


# Processes that are killed.

SLOWLY = """
import time, aefast.scoring.scorer
at_once = aefast.scoring.scorer.Scorer.judge
def slowly(self, batch, *, first_row=0):
    time.sleep(0.1)
    return at_once(self, batch, first_row=first_row)
aefast.scoring.scorer.Scorer.judge = slowly
from aefast.__main__ import main
main()
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_killed_command_leaves_no_output_and_resumes_to_the_same_bytes(parts, number):
    command = ["score", "m.safetensors", "in/a.parquet", "-o", "out.parquet", "--batch-rows", "3"]
    run_command(*command)
    whole = Path("out.parquet").read_bytes()
    Path("out.parquet").unlink()
    package = str(Path(aefast.__file__).resolve().parents[1])
    arguments = [sys.executable, "-c", SLOWLY, *command]
    journal = Path("out.parquet.partial")
    with subprocess.Popen(arguments, stderr=subprocess.PIPE, env={**os.environ, "PYTHONPATH": package}) as process:
        try:
            while not (journal.exists() and journal.stat().st_size > 5000):
                assert process.poll() is None, process.stderr.read()
                time.sleep(0.02)
            process.send_signal(number)
            process.communicate(timeout=60)
        finally:
            process.kill()
    assert not Path("out.parquet").exists()
    summary = json.loads(run_command(*command, "--resume", "--json").stdout)
    assert 0 < summary["resumed_rows"] < 100
    assert Path("out.parquet").read_bytes() == whole
    assert sorted(os.listdir()) == ["in", "m.safetensors", "out.parquet"]


@pytest.mark.parametrize("content", [b"7.0", b"-2", b"NaN", b'"x"'])
def test_a_recorded_cutoff_that_is_no_p_value_is_refused(content):
    assert (recorded_cutoff(b"0.25"), recorded_cutoff(b"-1")) == ((0.25, True), (0.0, True))
    with pytest.raises(ValueError, match="cutoff of p-values is|could not convert"):
        recorded_cutoff(content)
