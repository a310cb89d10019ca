"""Files that state what they do not hold are refused in one short line, and nothing is scored or lost in silence."""

from __future__ import annotations

import os
import re
import resource
from contextlib import contextmanager

import numpy as np
import pyarrow as pa
import pytest

import aefast
from aefast.tables.formats.base import TableError
from aefast.tables.sink import open_sink
from aefast.tables.source import Source
from small_tables import features_of, run_command, small_model, small_table, write_table

COMMANDS = (
    ("score", "m", "ROWS", "-o", "out.csv", "--threads", 1),
    ("score", "m", "ROWS", "-o", "out.csv", "--fdr", 0.1, "--threads", 1),
    ("fit", "ROWS", "-o", "new", "--epochs", 1, "--threads", 1),
    ("recalibrate", "m", "ROWS", "-o", "new", "--threads", 1),
    ("report", "m", "ROWS", "-o", "out.html", "--threads", 1),
)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    small_model().save("m")
    aefast.Autoencoder((3,), max_epochs=1, random_state=0, n_threads=1).fit(features_of(small_table())).save("nameless")
    return tmp_path


def refused(*words):
    """Return the one line of a command that fails; it is short and writes nothing."""
    before = sorted(os.listdir())
    result = run_command(*words)
    assert result.exit_code in (1, 2)
    assert (result.stderr.count("\n"), sorted(os.listdir())) == (1, before), result.stderr
    assert "bug" not in result.stderr
    assert len(result.stderr) < 280
    return result.stderr


@contextmanager
def room_for(n_bytes):
    """No file may become longer, as on a full disk."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


@pytest.mark.parametrize("stated", [b"\x80\x00", b"\xd6\x04"], ids=["0 rows", "299 rows"])
@pytest.mark.parametrize("command", COMMANDS, ids=lambda words: words[0])
def test_a_parquet_file_whose_row_counts_disagree_is_refused(folder, command, stated):
    content = write_table(small_table(), folder / "rows.parquet").read_bytes()
    number = b"\x16\xd8\x04\x19"  # a field of 64 bits, 300, the list of row groups
    assert content.count(number) == 1
    (folder / "rows.parquet").write_bytes(content.replace(number, b"\x16" + stated + b"\x19"))
    line = refused(*["rows.parquet" if word == "ROWS" else word for word in command])
    assert f"rows.parquet states {0 if stated[1] == 0 else 299} rows, but its row groups 300" in line


def test_fewer_rows_than_a_file_states_are_never_passed_on(folder):
    [file] = Source([write_table(small_table(), folder / "rows.parquet")]).files
    file.n_rows += 1
    with pytest.raises(TableError, match=r"rows\.parquet states 301 rows, but 300 can be read"):
        list(Source([file]).batches(["a"], 50))
    assert sum(batch.num_rows for batch in Source([file]).batches(["a"], 50, first_row=301)) == 0


def test_rows_after_the_end_of_an_array_or_stream_are_not_lost_in_silence(folder):
    for ending in (".npy", ".arrows", ".feather", ".parquet"):
        path = write_table(small_table(), folder / f"rows{ending}")
        path.write_bytes(2 * path.read_bytes())
        assert re.search(r"rows\.\w+ (has .* bytes|holds one .*) after ", refused("score", "m", path, "-o", "out.npy"))


def test_an_archive_named_as_an_array_is_refused_by_name(folder):
    np.savez("rows.npz", features_of(small_table()))
    os.rename("rows.npz", "rows.npy")
    assert "rows.npy holds a .npz archive; save one of" in refused("score", "nameless", "rows.npy", "-o", "out.npy")


@pytest.mark.parametrize("command", [words for words in COMMANDS if words[0] != "fit"], ids=lambda words: words[0])
def test_a_later_file_without_the_columns_of_the_first_is_refused_by_name(folder, command):
    """Also by a model that was fitted on an array, and so has no names of columns."""
    (folder / "a.csv").write_text("p,q,r,s\n1,2,3,4\n")
    (folder / "b.csv").write_text("x,y,r,s\n1,2,3,4\n")
    words = [command[0], "nameless", "a.csv", "b.csv", *command[3:]]
    assert "b.csv lacks columns of the first file: 'p', 'q'" in refused(*words)


def test_a_file_that_changes_while_it_is_scored_is_refused(folder, monkeypatch):
    path = write_table(small_table(), folder / "rows.csv")
    write = aefast.tables.sink.Sink.write

    def appending(sink, *batches):
        with path.open("a") as file:
            file.write("1,x,0,0,0,0,0\n")
        write(sink, *batches)

    monkeypatch.setattr("aefast.tables.sink.Sink.write", appending)
    assert "rows.csv changed while it was read; score it again" in refused("score", "m", path, "-o", "out.csv")


@pytest.mark.parametrize("command", ["score", "fit"])
def test_a_line_of_an_error_does_not_repeat_the_file(folder, command):
    name = "n" * 3000
    write_table(small_table().rename_columns(["id", "name", "a", name, "c", "d", "label"]), folder / "rows.parquet")
    (folder / "rows.csv").write_text("a,b,c,d\n1,2,3,4\n" + ",".join(["123456789"] * 500) + "\n")
    for file in ("rows.parquet", "rows.csv"):
        options = ["m", file] if command == "score" else [file, "--columns", f"a,b,{name}x"]
        line = refused(command, *options, "-o", "out.csv" if command == "score" else "new")
        assert file in line
    assert "row 1 (the first is row 0), cannot be read: Expected 4 columns, got 500: 123" in refused(
        "score", "m", "rows.csv", "-o", "out.csv"
    )


def test_a_full_disk_is_named_by_its_file(folder):
    schema = pa.schema([("anomaly_score", pa.float64())])
    for ending in (".csv", ".feather", ".parquet"):
        path = folder / f"out{ending}"
        with room_for(3), pytest.raises(OSError) as caught, open_sink(path, schema):  # noqa: PT011
            pass
        assert caught.value.filename == str(path)
    for n_bytes, file in ((1000, "train.parquet"), (70_000, "digits.safetensors"), (150_000, "report.html")):
        with room_for(n_bytes):
            result = run_command("demo", "-o", f"demo{n_bytes}")
        assert result.exit_code == 1
        assert file in result.stderr
        assert result.stderr.endswith(": File too large\n")
    with room_for(100), pytest.raises(OSError) as caught:  # noqa: PT011
        small_model().save("new")
    assert caught.value.filename == "new"


@pytest.mark.parametrize("codec", ["snappy", "gzip", "zstd"])
def test_a_page_that_claims_far_more_than_its_file_is_refused(folder, codec):
    """Arrow would allocate 2 GB for a file of a few hundred bytes."""
    table = pa.table({name: np.arange(100.0) for name in "abcd"})
    options = {"compression": codec, "use_dictionary": False, "write_statistics": False}
    pa.parquet.write_table(table, "rows.parquet", **options)
    content = (folder / "rows.parquet").read_bytes()
    # The first page begins after four bytes: its kind (0), then both sizes, two bytes each.
    assert content[4:7] == b"\x15\x00\x15"
    assert content[9:10] == b"\x15"
    forged = content[:7] + b"\xfe\xff\xff\xff\x0f" + content[9:]
    end = 4 + pa.parquet.ParquetFile("rows.parquet").metadata.row_group(0).column(0).total_compressed_size
    (folder / "rows.parquet").write_bytes(forged[:end] + forged[end + 3 :])
    assert "but one of its pages claims 2,147,483,647" in refused("score", "m", "rows.parquet", "-o", "out.csv")


def test_a_page_of_a_constant_column_is_read(folder):
    """A page may claim 128 MB or more if its file is large enough; smaller claims are never looked at."""
    table = pa.table({name: np.zeros(1 << 18) for name in "abcd"})
    options = {"compression": "gzip", "use_dictionary": False, "data_page_size": 1 << 30}
    pa.parquet.write_table(table, "rows.parquet", **options)
    assert sum(batch.num_rows for batch in Source(["rows.parquet"]).batches(["a"])) == 1 << 18
