"""The code of the documentation's pages runs as it is written: the blocks marked ``python``, page by page.

Blocks marked ``py`` are of other libraries, or need what the page does not define.
"""

import re
import warnings
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[1] / "docs"
#: Pages that need libraries, which not everybody has.
NEEDS = {"optuna": ["optuna"], "tracking": ["skops", "mlflow", "sqlalchemy"]}
#: Pages whose code other tests run.
ELSEWHERE = {"spark", "dask", "ray", "streams", "fleets"}
PAGES = [path for path in sorted(DOCS.rglob("*.md")) if path.stem not in ELSEWHERE]
BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)

pytestmark = pytest.mark.skipif(not PAGES, reason="the pages are not beside the tests")


def code_of(path):
    """Return the page with everything but its code blanked, so that line numbers are those of the page."""
    text = path.read_text(encoding="utf-8")
    kept = [""] * (text.count("\n") + 1)
    for block in BLOCK.finditer(text):
        begin = text.count("\n", 0, block.start(1))
        for k, line in enumerate(block.group(1).splitlines()):
            kept[begin + k] = line
    return "\n".join(kept)


@pytest.mark.parametrize("path", [path for path in PAGES if code_of(path).strip()], ids=lambda path: path.stem)
def test_the_code_of_a_page_runs(path, tmp_path, monkeypatch):
    for name in NEEDS.get(path.stem, ()):
        pytest.importorskip(name, reason=f"the page needs {name}")
    monkeypatch.chdir(tmp_path)
    with warnings.catch_warnings():
        if path.stem in NEEDS:
            warnings.simplefilter("default")  # of these libraries' own modules
        exec(compile(code_of(path), str(path), "exec"), {"__name__": "__main__"})
