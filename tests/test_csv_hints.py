"""Text in CSV files that looks like numbers or dates gets a hint, and no other text does."""

from __future__ import annotations

import pytest

from aefast.jobs.csv_hints import csv_hints
from aefast.tables.source import Source
from small_tables import run_command

NUMBERS = [str(i / 4) for i in range(40)]


def hints(tmp_path, cells) -> list[str]:
    path = tmp_path / "t.csv"
    path.write_text("a,k\n" + "".join(f'{i},"{cell}"\n' for i, cell in enumerate(cells)))
    return list(csv_hints(Source([path]), ["k"]))


@pytest.mark.parametrize(
    ("cells", "looks"),
    [
        ([*NUMBERS[:17], *"pqrs", *NUMBERS], "numbers, all but 4 of 61 cells (row 17: 'p'); correct them"),
        ([*NUMBERS, "", "e", "f", "g", "x" * 99], "numbers, all but 4 of 44 cells (row 41: 'e'); correct them"),
        ([*NUMBERS, *(n.replace(".", ",") for n in NUMBERS)], "numbers, some of them with decimal commas (row 40"),
        ([f"{i % 12 + 1}/12/2024 08:30" for i in range(1, 30)], "dates (row 0: '2/12/2024 08:30'); give their form"),
    ],
)
def test_text_that_looks_like_something_else_is_named_with_an_example(tmp_path, cells, looks):
    [hint] = hints(tmp_path, cells)
    where = f"{tmp_path / 't.csv'}, column 'k'"
    assert hint.endswith("or give --kind-of k=categorical")
    assert hint.startswith(f"{where} is learned as categories, but looks like {looks}")


@pytest.mark.parametrize("cells", [["tcp", "udp"] * 20, [*NUMBERS[:20], *["high"] * 20], ["", "", ""], []])
def test_text_is_text(tmp_path, cells):
    assert hints(tmp_path, cells) == []


@pytest.mark.filterwarnings("always")
def test_fit_warns_unless_the_kind_was_given(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    hints(tmp_path, [*[str(i % 5) for i in range(60)], "oops", *"pqr"])
    command = ["fit", "t.csv", "-o", "m.safetensors", "--epochs", 1]
    result = run_command(*command)
    assert result.exit_code == 0
    [line] = [line for line in result.stderr.splitlines() if "oops" in line]
    assert line.startswith("aefast: t.csv, column 'k' is learned as categories, but looks like numbers")
    assert "looks like" not in run_command(*command, "--kind-of", "k=categorical").stderr
