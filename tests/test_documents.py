"""The Markdown files keep to the line length, their links lead somewhere, and the map of the code is true."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DOCUMENTS = sorted(
    path for pattern in ("*.md", "docs/*.md", "benchmarks/*.md", ".github/**/*.md") for path in ROOT.glob(pattern)
)
LINK = re.compile(r"\]\(([^)\s]+)\)")

pytestmark = pytest.mark.skipif(not DOCUMENTS, reason="the documents are not beside the tests")
each_document = pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))


def anchors(path):
    """Names that GitHub gives to the headings of a document."""
    headings = re.findall(r"^#+ (.*)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@each_document
def test_lines_are_at_most_120_characters_long(path):
    lines = path.read_text(encoding="utf-8").splitlines()
    assert [n for n, line in enumerate(lines, 1) if len(line) > 120 and not line.startswith("|")] == []


@each_document
def test_links_lead_to_files_and_headings(path):
    for link in LINK.findall(path.read_text(encoding="utf-8")):
        if link.startswith("https://"):
            continue
        name, _, anchor = link.partition("#")
        target = path.parent / name if name else path
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


@pytest.mark.skipif(not (ROOT / "docs").is_dir(), reason="the documents are not beside the tests")
def test_the_map_names_the_folders_that_exist():
    text = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
    picture = text[text.index("```") : text.index("## What is public")]
    for folder in ("python/aefast", "cpp/aefast"):
        part = picture[picture.index(folder) :].partition("\n\n")[0]
        folders = {path.name for path in (ROOT / folder).iterdir() if path.is_dir() and path.name[0] not in "._"}
        assert set(re.findall(r"\b(\w+)/(?= |$)", part.replace("tables/formats/", ""), re.MULTILINE)) == folders


@pytest.mark.skipif(not (ROOT / "docs").is_dir(), reason="the documents are not beside the tests")
def test_every_path_in_the_map_exists():
    text = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
    roots = [ROOT, ROOT / "python/aefast", ROOT / "cpp/aefast"]
    paths = set(re.findall(r"`([\w./]+(?:\.(?:py|hpp|cpp|def|txt)|/))`", text))
    assert len(paths) > 15
    assert [path for path in sorted(paths) if not any((root / path).exists() for root in roots)] == []
