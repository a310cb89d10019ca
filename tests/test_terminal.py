"""Output is safe on any terminal, works in every encoding, and closed streams are no error."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pyarrow as pa
import pytest

import aefast
from aefast.cli.terminal import echo, print_summary
from aefast.tables.text import list_names, printable
from small_tables import run_command, small_model, small_table, write_table

ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(aefast.__file__).resolve().parents[1])}
EVIL = "\x1b[2J\x1b]0;owned\x07a\nb\x9b\u202e"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    small_model().save("m.aef")
    write_table(small_table(), tmp_path / "t.parquet")
    return tmp_path


def run(command: str, **environment: str) -> subprocess.CompletedProcess[bytes]:
    """Runs a shell command, in which ``$AEFAST`` is the command line under test."""
    ours = f"{sys.executable} -m aefast"
    return subprocess.run(["sh", "-c", command], capture_output=True, env=ENVIRONMENT | {"AEFAST": ours} | environment)


def test_printed_text_has_its_control_characters_escaped():
    assert printable("pump 7 – Zürich 水") == "pump 7 – Zürich 水"
    assert printable(EVIL) == r"\x1b[2J\x1b]0;owned\x07a\nb\x9b\u202e"
    assert printable(os.fsdecode(b"caf\xe9")) == r"caf\udce9"


def test_summaries_are_a_line_each(capsys):
    print_summary(EVIL, [(EVIL, EVIL)])
    echo(f"one\n{EVIL[:4]}")
    out = capsys.readouterr().out
    assert out.count("\n") == 4
    assert "\x1b" not in out


def test_a_name_without_letters_is_seen():
    assert list_names(["", "a"]) == '"", a'


def test_names_of_columns_in_untrusted_files_are_shown_as_text(folder):
    table = small_table().select(["a", "b", "name"]).rename_columns(["a", EVIL, EVIL + "2"])
    write_table(table, folder / "evil.parquet")
    results = [
        run_command("fit", "evil.parquet", "-o", "evil.aef", "--epochs", 0, "--columns", f"a,{EVIL},{EVIL}2"),
        run_command("fit", "evil.parquet", "-o", "evil.aef", "--epochs", 0, "--kind-of", f"{EVIL}2=categorical"),
        run_command("info", "evil.aef"),
        run_command("score", "evil.aef", "t.parquet", "-o", "s.csv"),
    ]
    assert [result.exit_code for result in results] == [1, 0, 0, 1]
    for result in results:
        shown = result.stdout + result.stderr
        assert r"\x1b[2J" in shown
        assert "\x1b" not in shown
        assert "\x07" not in shown


def test_names_of_columns_on_a_terminal_are_no_markup(folder):
    names = ["[/red]", "[bold]b"]
    table = small_table().select(["a", "b"]).rename_columns(names)
    table = pa.table({name: pa.array(["x", "y"] * 150) for name in table.column_names})
    write_table(table, folder / "markup.parquet")
    assert run_command("fit", "markup.parquet", "-o", "markup.aef", "--epochs", 0).exit_code == 0
    reader, writer = pty.openpty()
    ours = [sys.executable, "-m", "aefast", "info", "markup.aef"]
    assert subprocess.run(ours, stdout=writer, stderr=writer, stdin=writer, env=ENVIRONMENT).returncode == 0
    os.close(writer)
    assert b"levels of [/red]" in os.read(reader, 1 << 16)
    os.close(reader)


@pytest.mark.parametrize("command", ["fit t.parquet -o x.aef --epochs 2", "score m.aef t.parquet -o s.csv"])
def test_progress_is_one_line_that_is_removed_at_the_end(folder, command):
    reader, writer = pty.openpty()
    ours = [sys.executable, "-m", "aefast", *command.split()]
    environment = ENVIRONMENT | {"COLUMNS": "80", "TERM": "xterm"}
    done = subprocess.run(ours, stdout=subprocess.PIPE, stderr=writer, stdin=writer, env=environment)
    os.close(writer)
    shown = b""
    with suppress(OSError):  # the end
        while part := os.read(reader, 1 << 16):
            shown += part
    os.close(reader)
    assert done.returncode == 0
    assert (b"calibrating" in shown) == command.startswith("fit")
    assert shown.count(b"\x1b[1A") == 1  # up to the line, which is then cleared
    assert b"\x1b" not in done.stdout
    assert run(f"$AEFAST {command}").stderr == b""


@pytest.mark.parametrize("encoding", ["latin-1", "ascii"])
def test_an_encoding_without_some_letters_is_no_error(folder, encoding):
    for command in ("fit t.parquet --exclude id,name -o x.aef --epochs 1", "--help"):
        done = run(f"$AEFAST {command}", PYTHONIOENCODING=encoding)
        assert (done.returncode, done.stderr) == (0, b"")
    assert b"Autoencoder 4?8?2?8?4" in run("$AEFAST info m.aef", PYTHONIOENCODING=encoding).stdout


@pytest.mark.parametrize("closed", ["2>&-", ">&-", "<&- >&- 2>&-"])
def test_closed_streams_are_no_error(folder, closed):
    for command in ("fit t.parquet --exclude id,name -o x.aef --epochs 1", "score m.aef t.parquet -o s.csv"):
        done = run(f"$AEFAST {command} {closed}")
        assert (done.returncode, done.stderr) == (0, b"")
    assert (folder / "s.csv").read_text().count("\n") == 301
    assert run(f"$AEFAST info none.aef {closed}").returncode == 2
