"""Training on files: rows in memory, sampled or streamed, by option or by the memory there is, and resumed training."""

import gzip
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

import aefast
from aefast.engine.memory import available_memory
from aefast.jobs.fit import fit_job
from aefast.jobs.training_rows import Blocks, fits_in_memory
from aefast.tables.formats.base import TableError
from aefast.tables.source import Source
from small_tables import FEATURES, features_of, run_command, small_table, write_table

OPTIONS = ["--exclude", "id,name,label", "--layers", "3", "--epochs", 3]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working folder with the table t.parquet."""
    monkeypatch.chdir(tmp_path)
    write_table(small_table(), tmp_path / "t.parquet")
    return tmp_path


def fit(*options):
    result = run_command("fit", "t.parquet", "-o", "m.safetensors", *OPTIONS, *options, "--json")
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout), aefast.load("m.safetensors")


def nothing(X, first_row):
    pass


def test_blocks_are_the_rows_and_can_be_gone_through_again(folder, monkeypatch):
    monkeypatch.setattr("aefast.tables.source.BATCH_BYTES", 0)
    blocks = Blocks(Source(["t.parquet"]), FEATURES, nothing)
    for _ in range(2):
        named = list(blocks)
        assert {block.names for block in named} == {tuple(FEATURES)}
        np.testing.assert_array_equal(np.concatenate([block.values for block in named]), features_of(small_table()))
    assert blocks.n_rows == 300


def test_a_sample_is_of_rows_in_their_order_and_the_same_for_a_seed(folder):
    blocks, X = Blocks(Source(["t.parquet"]), FEATURES, nothing), features_of(small_table())
    rows = blocks.sample(40, 3).values
    assert (rows.shape, blocks.n_rows) == ((40, 4), 300)
    places = [int(np.flatnonzero((row == X).all(axis=1))[0]) for row in rows]
    assert places == sorted(set(places))
    np.testing.assert_array_equal(rows, blocks.sample(40, 3).values)
    assert not np.array_equal(rows, blocks.sample(40, 4).values)
    np.testing.assert_array_equal(blocks.sample(1000, 3).values, X)


def test_a_sample_is_trained_on_and_the_output_states_that(folder):
    summary, model = fit("--sample", 100)
    assert (summary["how"], summary["rows"], summary["rows_there"]) == ("sampled", 100, 300)
    rows = Blocks(Source(["t.parquet"]), FEATURES, nothing).sample(100, 0)
    expected = aefast.Autoencoder((3,), max_epochs=3, random_state=0).fit(rows)
    np.testing.assert_array_equal(model.coefs_[0], expected.coefs_[0])
    printed = run_command("fit", "t.parquet", "-o", "m.safetensors", *OPTIONS, "--sample", 100).stdout
    assert "100 rows (a random sample of 300) of 4 columns" in printed


def test_streaming_learns_all_rows_block_by_block(folder):
    summary, model = fit("--stream")
    assert (summary["how"], summary["rows"]) == ("streamed", 300)
    expected = aefast.Autoencoder((3,), max_epochs=3, random_state=0).fit_batches([features_of(small_table())])
    np.testing.assert_array_equal(model.coefs_[0], expected.coefs_[0])
    assert model.threshold_ == expected.threshold_
    assert list(model.feature_names_in_) == FEATURES


def test_rows_that_do_not_fit_into_memory_are_streamed_by_default(folder, monkeypatch):
    assert fit()[0]["how"] == "in memory"
    monkeypatch.setattr("aefast.jobs.training_rows.available_memory", lambda: 2 * 300 * 4 * 8 - 1)
    assert not fits_in_memory(Source(["t.parquet"]), FEATURES)
    assert fit()[0]["how"] == "streamed"
    assert fit("--no-stream")[0]["how"] == "in memory"
    assert fit("--sample", 50)[0]["how"] == "sampled"
    monkeypatch.setattr("aefast.jobs.training_rows.available_memory", lambda: 2 * 300 * 4 * 8)
    assert fit()[0]["how"] == "in memory"


def test_the_memory_that_rows_take_is_reckoned_from_their_number_or_the_size_of_their_text(folder, monkeypatch):
    """Rows count as float64 and text by its size, ten times that if compressed; half of the free memory may be used."""
    X = features_of(small_table())
    np.save("t.npy", X)
    text = write_table(small_table(), folder / "t.csv").read_bytes()
    (folder / "t.csv.gz").write_bytes(gzip.compress(text))
    n_packed = (folder / "t.csv.gz").stat().st_size
    for names, columns, n_bytes in (
        (["t.parquet"], FEATURES, 300 * 4 * 8),
        (["t.parquet"], FEATURES[:3], 300 * 3 * 8),
        (["t.parquet", "t.parquet"], FEATURES, 2 * 300 * 4 * 8),
        (["t.npy"], None, 300 * 4 * 8),
        (["t.csv"], FEATURES, len(text)),
        (["t.csv", "t.parquet"], FEATURES, len(text) + (folder / "t.parquet").stat().st_size),
        (["t.csv.gz"], FEATURES, 10 * n_packed),
    ):
        for free, fits in ((2 * n_bytes, True), (2 * n_bytes - 1, False)):
            monkeypatch.setattr("aefast.jobs.training_rows.available_memory", lambda free=free: free)
            assert fits_in_memory(Source(names), columns) is fits, names


def test_streaming_holds_a_few_blocks_and_not_the_file(folder, monkeypatch):
    write_table(pa.concat_tables([small_table()] * 400), folder / "long.parquet")
    monkeypatch.setattr("aefast.tables.source.BATCH_BYTES", 0)
    held, before = [], pa.total_allocated_bytes()
    source = Source(["long.parquet"])

    class Watched(Blocks):
        def __iter__(self):
            for block in super().__iter__():
                held.append(pa.total_allocated_bytes() - before + block.values.nbytes)
                yield block

    monkeypatch.setattr("aefast.jobs.fit.Blocks", Watched)
    fit_job(aefast.Autoencoder((3,), max_epochs=2), source, "m.safetensors", columns=FEATURES, stream=True)
    assert len(held) == 3 * 118
    assert max(held) < 120_000 * 4 * 8 / 5


@pytest.mark.parametrize("how", [["--stream"], ["--sample", "50"], []])
def test_bad_values_are_placed_however_the_rows_are_read(folder, how):
    table = small_table()
    values = table["c"].to_pylist()
    values[123] = float("inf")
    write_table(table.set_column(4, "c", pa.array(values)), folder / "t.parquet")
    result = run_command("fit", "t.parquet", "-o", "m.safetensors", *OPTIONS, *how)
    assert result.exit_code == 1
    said = "the first (inf) in t.parquet, row 123 (the first is row 0), column 'c'; give --on-bad skip"
    assert said in result.stderr
    assert result.stderr.count("\n") == 1
    told = json.loads(run_command("fit", "t.parquet", "-o", "m", *OPTIONS, *how, "--on-bad", "skip", "--json").stdout)
    assert (told["rows"], told["rows_there"], told["bad_rows"]) == (50 if "50" in how else 299, 300, 1)


@pytest.mark.parametrize("how", [["--stream"], ["--sample", "250"], []])
@pytest.mark.parametrize("mixed", [False, True])
def test_missing_values_are_ignored_unless_something_else_is_asked_for(folder, how, mixed):
    table = small_table()
    values = table["c"].to_pylist()
    values[7] = values[123] = None
    table = table.set_column(4, "c", pa.array(values))
    words = ["even", None] * 150 if mixed else [0.5] * 300
    write_table(table.append_column("word", pa.array(words)), folder / "t.parquet")
    fit = ["fit", "t.parquet", "-o", "m", "--epochs", 1, "--exclude", "id,name,label", *how]
    told = json.loads(run_command(*fit, "--json").stdout)
    assert told["missing"] == aefast.load("m").missing == "mask"
    if "250" not in how:
        assert told["missing_values"] == {"c": 2} | ({"word": 150} if mixed else {})
    assert "--missing mask" in run_command(*fit).stdout
    assert run_command(*fit, "--missing", "error").exit_code == 1
    told = json.loads(run_command(*fit, "--missing", "error", "--on-bad", "skip", "--json").stdout)
    assert (told["missing"], told["bad_rows"]) == ("error", 150 if mixed else 2)
    write_table(small_table(), folder / "t.parquet")
    assert json.loads(run_command(*fit, "--json").stdout)["missing"] == "error"


@pytest.mark.parametrize("how", [{"stream": True}, {"sample": 5}, {}])
def test_no_rows_are_nothing_to_learn_from(folder, how):
    write_table(small_table(10).slice(0, 0), folder / "t.parquet")
    with pytest.raises(TableError, match=r"t\.parquet has no rows to learn from"):
        fit_job(aefast.Autoencoder(), Source(["t.parquet"]), "m.safetensors", columns=FEATURES, **how)


def test_a_sample_is_not_streamed(folder):
    result = run_command("fit", "t.parquet", "-o", "m.safetensors", *OPTIONS, "--sample", 5, "--stream")
    assert result.exit_code == 2
    assert "--sample and --stream exclude each other" in result.stderr


# Memory of a fake machine.

V2 = "31 24 0:27 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n"
V1 = "33 31 0:30 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"


@pytest.mark.parametrize(
    ("mounts", "group", "files", "expected"),
    [
        ("", "", {}, 1000 << 10),
        (V2, "0::/box", {"box/memory.max": "max", "box/memory.current": "5"}, 1000 << 10),
        (V2, "0::/box", {"box/memory.max": "5000", "box/memory.current": "2000"}, 3000),
        (
            V2,
            "0::/box",
            {"box/memory.max": "5000", "box/memory.current": "2000", "box/memory.stat": "anon 3\ninactive_file 500\n"},
            3500,
        ),
        (V2, "0::/box", {"memory.max": "700", "memory.current": "9000"}, 0),
        (
            V1,
            "4:memory:/box",
            {
                "memory/box/memory.limit_in_bytes": "6000",
                "memory/box/memory.usage_in_bytes": "1000",
                "memory/box/memory.stat": "inactive_file 9\ntotal_inactive_file 100\n",
            },
            5100,
        ),
    ],
)
def test_available_memory_follows_machine_and_cgroup(tmp_path, mounts, group, files, expected):
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/meminfo").write_text("MemTotal: 9000 kB\nMemAvailable:    1000 kB\n")
    (tmp_path / "proc/self/cgroup").write_text(group + "\n")
    (tmp_path / "proc/self/mountinfo").write_text(mounts)
    for name, text in files.items():
        path = tmp_path / "sys/fs/cgroup" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    assert available_memory(tmp_path) == expected


def test_a_machine_that_does_not_tell_is_not_doubted(tmp_path, monkeypatch, folder):
    assert available_memory(tmp_path / "nowhere") is None
    monkeypatch.setattr("aefast.jobs.training_rows.available_memory", lambda: None)
    assert fits_in_memory(Source(["t.parquet"]), FEATURES)


@pytest.mark.parametrize(("number", "how"), [(signal.SIGKILL, []), (signal.SIGTERM, ["--stream"])])
def test_a_killed_command_continues_from_its_checkpoint(folder, number, how):
    options = ["--exclude", "id,name,label", "--layers", "3", "--checkpoint", "saved", *how]
    command = ["fit", "t.parquet", "-o", "m.safetensors", *options, "--epochs"]
    package = str(Path(aefast.__file__).resolve().parents[1])
    # Without early stopping it would run for as long as it is let.
    code = (
        "import aefast.cli.fit as c; new = c.new_estimator; "
        "c.new_estimator = lambda *a, **k: new(*a, **k).set_params(early_stopping=False); "
        "from aefast.__main__ import main; main()"
    )
    environment = {**os.environ, "PYTHONPATH": package}
    saved = Path("saved")
    with subprocess.Popen(
        [sys.executable, "-c", code, *command, "1000000"], stderr=subprocess.PIPE, env=environment
    ) as p:
        try:
            while not saved.exists():
                assert p.poll() is None, p.stderr.read()
                time.sleep(0.02)
            time.sleep(0.2)
            p.send_signal(number)
            stderr = p.communicate(timeout=60)[1].decode()
        finally:
            p.kill()
    if number == signal.SIGTERM:
        after = "no model was written; repeat the command to continue from its checkpoint"
        assert stderr == f"aefast fit: ended by SIGTERM; {after}\n"
    assert sorted(p for p in os.listdir() if not p.endswith(".part")) == ["saved", "t.parquet"]
    from aefast.model.container import unpack

    n_epochs = len(unpack("saved", "checkpoint", 1)[1]["loss_curve"])
    run = [sys.executable, "-c", code, *command, str(n_epochs + 2), "--json"]
    summary = json.loads(subprocess.run(run, capture_output=True, check=True, env=environment).stdout)
    assert summary["epochs"] == n_epochs + 2
    assert not saved.exists()
    model = aefast.Autoencoder((3,), max_epochs=n_epochs + 2, early_stopping=False, random_state=0)
    X = features_of(small_table())
    expected = model.fit_batches([X]) if how else model.fit(X)
    np.testing.assert_array_equal(aefast.load("m.safetensors").coefs_[0], expected.coefs_[0])
    assert aefast.load("m.safetensors").loss_curve_ == expected.loss_curve_
