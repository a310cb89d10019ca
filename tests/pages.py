"""Runs the Python code of a page of the documentation, as it is written and in one go."""

import re
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[1] / "docs"


def run_page(name, folder, monkeypatch):
    """Run the blocks of ``docs/NAME.md`` in an empty folder, and return the names that they define."""
    path = DOCS / f"{name}.md"
    if not path.is_file():
        pytest.skip("the documents are not beside the tests")
    blocks = re.findall(r"^```python\n(.*?)^```", path.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    assert len(blocks) >= 2
    monkeypatch.chdir(folder)
    names = {"__name__": f"docs.{name}"}
    for block in blocks:
        exec(compile(block, path.name, "exec"), names)
    return names
