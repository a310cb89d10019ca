"""The report is one page that stands alone and says what was found."""

from __future__ import annotations

import re
import shutil
import subprocess
from html.parser import HTMLParser
from xml.etree import ElementTree

import numpy as np
import pyarrow as pa
import pytest
from sklearn.metrics import roc_auc_score

from aefast.report import examine, figure, number, render
from aefast.scorer import Scorer
from small_tables import FEATURES, small_model, small_table


def findings_of(table: pa.Table, *, labelled: bool = False, **options):
    def label(batch):
        return batch.column("label").to_numpy() == 1

    scorer = Scorer(small_model(), keep=["id"])
    return examine(scorer, table.to_batches(max_chunksize=70), label=label if labelled else None, **options)


def page_of(table: pa.Table, **options) -> str:
    return render(findings_of(table, labelled=True), title="Pumps in May", **options)


class Outline(HTMLParser):
    """Tags with their attributes, and whether every opened one is closed."""

    VOID = ("meta", "link", "br", "img", "path", "use", "rect", "line", "circle")

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        if tag not in self.VOID:
            assert self.open.pop() == tag


def test_all_rows_are_examined_and_the_strangest_found():
    table = small_table(300)
    errors = small_model().reconstruction_error(table.select(FEATURES)).astype(float)
    findings = findings_of(table, n_strangest=5)
    np.testing.assert_array_equal(findings.errors, errors)
    order = np.argsort(-errors, kind="stable")[:5]
    assert [s.row for s in findings.strangest] == order.tolist()
    assert [s.about["id"] for s in findings.strangest] == [table["id"][int(i)].as_py() for i in order]
    np.testing.assert_array_equal([s.p_value for s in findings.strangest], small_model().p_values_of(errors[order]))
    assert findings.n_flagged == (errors > small_model().threshold_).sum()


def test_reasons_are_counted_over_the_flagged_rows():
    table = small_table(300)
    errors = small_model().reconstruction_error(table.select(FEATURES))
    shares = small_model().feature_errors(table.select(FEATURES))
    flagged = errors > small_model().threshold_
    expected = np.bincount(shares[flagged].argmax(axis=1), minlength=4)
    np.testing.assert_array_equal(findings_of(table).reasons, expected)


def test_the_reasons_of_a_strange_row_are_those_of_explain():
    table = small_table(300)
    strangest = findings_of(table).strangest[0]
    explained = small_model().explain(table.select(FEATURES).slice(strangest.row, 1))
    assert [r["feature"] for r in strangest.reasons] == list(explained["feature"])


def test_the_page_is_well_formed_and_needs_nothing_else():
    page = page_of(small_table())
    outline = Outline(page)
    assert outline.open == []
    assert not {"script", "link", "iframe", "object"} & {tag for tag, _ in outline.tags}
    for _, attributes in outline.tags:
        for name in ("src", "href", "xlink:href"):
            assert (attributes.get(name) or "#").startswith(("#", "data:"))
    assert not re.search(r"@import|url\((?!#)", page)


def test_the_page_says_what_was_found():
    table = small_table()
    findings = findings_of(table, labelled=True)
    page = render(findings, title="Pumps in May", subtitle="nightly")
    for text in ("Pumps in May", "nightly", "Scores over rows", "Calibration", "The strangest rows and why",
                 "Columns by how often they are the reason", "Against the labels", "Training"):  # fmt: skip
        assert text in page
    assert f"{findings.strangest[0].about['id']}" in page
    assert f"{roc_auc_score(findings.labels, findings.errors):.3f}" in page


def test_light_dark_and_paper_each_have_their_colours():
    page = page_of(small_table())
    assert "prefers-color-scheme: dark" in page
    assert "@media print" in page
    drawings = re.findall(r"<svg.*?</svg>", page, re.DOTALL)
    assert len(drawings) == 6
    assert all("currentColor" in drawing and "#101112" not in drawing for drawing in drawings)


def test_images_are_drawn_where_rows_are_images():
    assert "as images" not in page_of(small_table())
    assert "data:image/png;base64" in page_of(small_table(), image_shape=(2, 2))


def test_names_are_text_whatever_they_hold():
    hostile = "<script>alert(1)</script> & $x_1$"
    table = small_table().rename_columns([hostile, *small_table().column_names[1:]])
    findings = examine(Scorer(small_model(), keep=[hostile]), table.to_batches())
    page = render(findings, title=hostile, subtitle=hostile)
    assert "<script" not in page
    assert "&lt;script&gt;" in page


@pytest.mark.parametrize("n_rows", [0, 1, 2])
def test_hardly_any_rows_make_a_page_too(n_rows):
    assert Outline(page_of(small_table(10).slice(0, n_rows))).open == []


def test_a_table_without_strange_rows_says_so():
    calm = pa.table(dict.fromkeys(["id", *FEATURES, "label"], np.zeros(50)))
    findings = findings_of(calm)
    assert findings.n_flagged == 0
    assert "No row is above the threshold" in render(findings, title="calm")


def test_labels_of_one_kind_are_no_error():
    findings = findings_of(small_table(20).slice(1, 1), labelled=True)
    assert findings.quality is None
    assert "Against the labels" not in render(findings, title="calm")


def test_a_figure_is_an_image_with_a_name():
    svg = figure(lambda ax: ax.plot([0, 1], [0, 1], label="<b>"), 'a "caption"')
    root = ElementTree.fromstring(svg.replace("xlink:href", "href"))
    assert root.get("role") == "img"
    assert root.get("aria-label") == 'a "caption"'
    assert root.get("viewBox")


@pytest.mark.parametrize(
    ("value", "text"),
    [(1234, "1234"), (0.123456, "0.1235"), (12345.6, "12\u202f346"), (3e12, "3e+12"), (None, "–"), (float("nan"), "–"),
     (True, "True"), ("pump 7", "pump 7")],
)  # fmt: skip
def test_values_are_written_for_people(value, text):
    assert number(value) == text


def test_a_browser_shows_the_whole_page(tmp_path):
    browser = shutil.which("chromium") or shutil.which("chromium-browser")
    if browser is None:
        pytest.skip("needs chromium, which is not installed here")
    (tmp_path / "page.html").write_text(page_of(small_table(), image_shape=(2, 2)), encoding="utf-8")
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]
    flags += ["--disable-component-update", "--disable-sync", f"--user-data-dir={tmp_path / 'profile'}"]
    page = (tmp_path / "page.html").as_uri()
    shown = subprocess.run(
        [browser, *flags, "--dump-dom", page], capture_output=True, text=True, timeout=120, check=True
    )
    assert shown.stdout.count("<svg") == 7
    assert "Pumps in May</h1>" in shown.stdout
    subprocess.run(
        [browser, *flags, f"--screenshot={tmp_path / 'page.png'}", "--window-size=1100,2600", page],
        capture_output=True,
        timeout=120,
        check=True,
    )
    assert (tmp_path / "page.png").stat().st_size > 50_000
