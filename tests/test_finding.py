"""DATA stands for every matching table once, or an error names what cannot be read."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from aefast.tables.paths import find_files, named_files


def touch(*names: str) -> None:
    for name in names:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).touch()


def found(*sources: str) -> list[str]:
    return [path.as_posix() for path in find_files(sources)]


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_folders_and_patterns_give_sorted_tables_without_hidden_ones(tmp_path):
    for name in ("b.parquet", "a.csv", ".hidden.parquet", "_SUCCESS.csv", "notes.txt"):
        (tmp_path / name).touch()
    (tmp_path / "deeper").mkdir()
    (tmp_path / "deeper" / "c.npy").touch()
    names = [p.relative_to(tmp_path).as_posix() for p in find_files([tmp_path])]
    assert names == ["a.csv", "b.parquet", "deeper/c.npy"]
    assert [p.name for p in find_files([str(tmp_path / "*.parquet")])] == ["b.parquet"]


@pytest.mark.parametrize("missing", ["none.parquet", "none*.parquet"])
def test_files_that_are_not_there_are_named(tmp_path, missing):
    with pytest.raises(FileNotFoundError, match="none"):
        find_files([tmp_path / missing])


def test_a_folder_without_tables_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="no tables in the folder"):
        find_files([tmp_path])


def test_links_to_folders_are_followed_but_not_round_and_round():
    touch("d/t.csv", "d/x/t.csv")
    Path("d/y").symlink_to("x")
    Path("d/x/up").symlink_to("..")
    assert found("d") == ["d/t.csv", "d/x/t.csv", "d/y/t.csv"]


def test_a_folder_that_a_pattern_matches_is_taken_as_if_named():
    touch("hive/day=1/p.csv", "hive/day=2/p.csv", "hive/q.csv", "hive/day=2/notes.txt")
    assert found("hive/day*") == ["hive/day=1/p.csv", "hive/day=2/p.csv"]
    assert found("hive/*") == found("hive") == ["hive/day=1/p.csv", "hive/day=2/p.csv", "hive/q.csv"]
    assert found("hive/**/*.csv") == found("hive")
    assert [name.as_posix() for _, name in named_files(["hive/*"])] == ["day=1/p.csv", "day=2/p.csv", "q.csv"]


@pytest.mark.parametrize(
    ("pattern", "matches"),
    [
        ("d/*.csv", ["d/a.csv", "d/b.csv"]),
        ("d/[!a].csv", ["d/b.csv"]),
        ("d/?/c.csv", ["d/x/c.csv"]),
        ("*/x/*", ["d/x/c.csv", "d/x/y/e.csv"]),
        ("d/**/*.csv", ["d/a.csv", "d/b.csv", "d/x/c.csv", "d/x/y/e.csv"]),
        ("d/**/y/*.csv", ["d/x/y/e.csv"]),
        ("**/c.*", ["d/x/c.csv"]),
        ("d/**", ["d/a.csv", "d/b.csv", "d/x/c.csv", "d/x/y/e.csv"]),
        ("d/.*.csv", ["d/.hidden.csv"]),
        ("*[[]1].csv", ["t[1].csv"]),
        ("t[1].csv", ["t[1].csv"]),
    ],
)
def test_patterns_are_those_of_the_shell(pattern, matches):
    touch("d/a.csv", "d/b.csv", "d/x/c.csv", "d/x/y/e.csv", "d/.hidden.csv", "t[1].csv")
    Path("d/x/y/here").symlink_to(".")
    assert found(pattern) == matches
    assert found(str(Path.cwd() / pattern)) == [str(Path.cwd() / match) for match in matches]


@pytest.mark.parametrize("source", ["d", "d/*", "d/*/*.csv", "d/**/*.csv"])
def test_a_folder_that_cannot_be_read_is_an_error(source, monkeypatch):
    touch("d/t.csv", "d/x/t.csv")
    iterdir = Path.iterdir

    def refusing(path):
        if path.name == "x":
            raise PermissionError(13, "Permission denied", str(path))
        return iterdir(path)

    monkeypatch.setattr(Path, "iterdir", refusing)
    with pytest.raises(PermissionError, match="d/x"):
        find_files([source])


@pytest.mark.parametrize("source", ["d", "d/*"])
def test_a_table_in_a_folder_that_is_not_there_or_no_file_is_an_error(source):
    touch("d/t.csv")
    Path("d/gone.csv").symlink_to("nowhere")
    with pytest.raises(FileNotFoundError, match=r"there is no file or folder d/gone\.csv"):
        find_files([source])
    Path("d/gone.csv").unlink()
    os.mkfifo("d/pipe.csv")
    with pytest.raises(ValueError, match=r"d/pipe\.csv is not a regular file"):
        find_files([source])


@pytest.mark.parametrize("sources", [["t.csv", "./t.csv"], ["*.csv", "t.csv"], [".", "t.csv"], ["t*", "*.csv"]])
def test_a_file_that_is_named_twice_is_refused(sources):
    touch("t.csv", "u.csv")
    with pytest.raises(ValueError, match=r"t\.csv is named more than once; name each file once"):
        find_files(sources)


def test_an_empty_name_is_not_this_folder():
    touch("t.csv")
    with pytest.raises(ValueError, match="a name of DATA is empty"):
        find_files([""])
    assert found(".") == ["t.csv"]


def test_a_name_that_is_not_utf_8_is_refused():
    name = os.fsdecode(b"caf\xe9")
    touch(f"{name}.npy")
    assert found(".") == [f"{name}.npy"]
    touch(f"{name}.csv")
    with pytest.raises(ValueError, match="is not UTF-8, as that of a table must be; rename it"):
        find_files(["."])
