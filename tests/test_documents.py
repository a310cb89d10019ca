"""The Markdown files keep to the line length, their links lead somewhere, and the map of the code is true."""

import re
from pathlib import Path

import pytest

import aefast

ROOT = Path(__file__).parents[1]
DOCUMENTS = sorted(
    path
    for pattern in ("*.md", "docs/*.md", "docs/guide/*.md", "docs/how/*.md", "benchmarks/*.md", ".github/**/*.md")
    for path in ROOT.glob(pattern)
)
LINK = re.compile(r"\]\(([^)\s]+)\)|^\[[^\]]+\]: (\S+)$", re.MULTILINE)
# Addresses of this repository, as the README has them: the package index shows it without the files beside it.
OWN = re.compile(r"https://(?:raw\.githubusercontent\.com/aefast/aefast/main|github\.com/aefast/aefast/blob/main)/(.*)")

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
    for link in ("".join(groups) for groups in LINK.findall(path.read_text(encoding="utf-8"))):
        own = OWN.fullmatch(link)
        if link.startswith("https://") and not own:
            continue
        name, _, anchor = (own[1] if own else link).partition("#")
        target = (ROOT if own else path.parent) / name if name else path
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


@pytest.mark.skipif(not (ROOT / "README.md").exists(), reason="the documents are not beside the tests")
def test_links_and_pictures_of_the_readme_are_absolute():
    links = ["".join(groups) for groups in LINK.findall((ROOT / "README.md").read_text(encoding="utf-8"))]
    assert links
    assert [link for link in links if not link.startswith("https://")] == []


@pytest.mark.skipif(not (ROOT / "README.md").exists(), reason="the documents are not beside the tests")
def test_references_of_the_readme_are_defined_once_and_used():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    defined = re.findall(r"^\[([^\]]+)\]: \S+$", text, re.MULTILINE)
    used = re.findall(r"\]\[([^\]]+)\]|\[([^\]]+)\](?![\[:(])", re.sub(r"```.*?```|`[^`]*`", "", text, flags=re.DOTALL))
    assert len(re.findall(r"\]: https", text)) == len(set(defined)) == len(defined)
    assert set(defined) == {name for pair in used for name in pair if name}


@pytest.mark.skipif(not (ROOT / "docs").is_dir(), reason="the documents are not beside the tests")
def test_fields_of_summaries_are_listed_once():
    text = (ROOT / "docs/commands.md").read_text(encoding="utf-8")
    fields = re.findall(r"^\| (\w+) \| `(\w+)` \|", text, re.MULTILINE)
    assert len(fields) > 50
    assert sorted(set(fields)) == sorted(fields)


@pytest.mark.skipif(not (ROOT / "docs/api").is_dir(), reason="the documents are not beside the tests")
def test_every_object_has_one_place_in_the_reference():
    text = (ROOT / "docs/api/index.md").read_text(encoding="utf-8")
    modules = re.split(r"^\.\. currentmodule:: ([\w.]+)$", text, flags=re.MULTILINE)
    pairs = zip(modules[1::2], modules[2::2], strict=True)
    listed = [f"{module}.{name}" for module, part in pairs for name in re.findall(r"^   ([\w.]+)$", part, re.MULTILINE)]
    assert sorted(set(listed)) == sorted(listed)


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


@pytest.mark.skipif(not (ROOT / "docs").is_dir(), reason="the documents are not beside the tests")
def test_every_instruction_set_level_is_in_the_documents():
    table = (ROOT / "cpp/levels.def").read_text(encoding="utf-8")
    levels = re.findall(r"^AEFAST_(?:X86|ARM)_LEVEL\((\w+), ", table, re.MULTILINE)
    assert len(levels) > 5
    for name in ("docs/install.md", "docs/architecture.md"):
        text = (ROOT / name).read_text(encoding="utf-8")
        assert [level for level in levels if f"`{level}`" not in text] == []


@pytest.mark.skipif(not (ROOT / "docs/api").is_dir(), reason="the documents are not beside the tests")
def test_every_public_name_has_a_page_of_the_reference():
    text = (ROOT / "docs/api/index.md").read_text(encoding="utf-8")
    listed = set(re.findall(r"^   ([\w.]+)$", text, re.MULTILINE))
    assert set(aefast.__all__) - {"__version__"} - listed == set()
    for module in (aefast.plots, aefast.pyod, aefast.report):
        assert set(module.__all__) - listed == set()
