"""The report is one self-contained page that shows the scores, the most anomalous rows and the reasons."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from functools import lru_cache
from html.parser import HTMLParser
from xml.etree import ElementTree

import numpy as np
import pyarrow as pa
import pytest
from matplotlib.image import imread
from sklearn.metrics import roc_auc_score

from aefast import Autoencoder, plots
from aefast.model.calibration import Calibration
from aefast.report import drift, examine, figure, render
from aefast.report.wording import number, unbroken
from aefast.scoring.evaluation import evaluate
from aefast.scoring.scorer import Scorer
from small_tables import FEATURES, done, small_model, small_table, write_table


def findings_of(table: pa.Table, *, labelled: bool = False, **options):
    def label(batch):
        return batch.column("label").to_numpy() == 1

    scorer = Scorer(small_model(), keep=["id"])
    return examine(scorer, table.to_batches(max_chunksize=70), label=label if labelled else None, **options)


@lru_cache
def page_of(n_rows: int = 300, **options) -> str:
    return render(
        findings_of(small_table(max(n_rows, 10)).slice(0, n_rows), labelled=True), title="Pumps in May", **options
    )


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


def test_all_rows_are_scored_and_the_most_anomalous_kept():
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


def test_the_reasons_of_an_anomalous_row_are_those_of_explain():
    table = small_table(300)
    strangest = findings_of(table).strangest[0]
    explained = small_model().explain(table.select(FEATURES).slice(strangest.row, 1))
    assert [r["feature"] for r in strangest.reasons] == list(explained["feature"])


def test_the_page_is_well_formed_and_loads_nothing():
    page = page_of()
    outline = Outline(page)
    assert outline.open == []
    assert not {"script", "link", "iframe", "object"} & {tag for tag, _ in outline.tags}
    for _, attributes in outline.tags:
        for name in ("src", "href", "xlink:href"):
            assert (attributes.get(name) or "#").startswith(("#", "data:"))
    assert not re.search(r"@import|url\((?!#)", page)


def test_the_page_shows_the_findings():
    table = small_table()
    findings = findings_of(table, labelled=True)
    page = render(findings, title="Pumps in May", subtitle="nightly")
    for text in (
        "Pumps in May", "nightly", "Scores over rows", "Drift since calibration", "Calibration", "Training",
        "Labels: ROC curve", "Columns that explain the anomalies", "Most anomalous rows and their reasons",
    ):  # fmt: skip
        assert text in page
    assert f"{findings.strangest[0].about['id']}" in page
    assert f"{roc_auc_score(findings.labels, findings.errors):.3f}" in page


def test_light_dark_and_paper_each_have_their_colours():
    page = page_of()
    assert "prefers-color-scheme: dark" in page
    assert "@media print" in page
    drawings = re.findall(r"<svg.*?</svg>", page, re.DOTALL)
    assert len(drawings) == 8 + len(FEATURES)
    assert all("currentColor" in drawing and "#101112" not in drawing for drawing in drawings)


def test_images_are_drawn_if_the_rows_are_images():
    assert "as images" not in page_of()
    assert "data:image/png;base64" in page_of(image_shape=(2, 2))


def test_markup_in_names_is_escaped():
    hostile = "<script>alert(1)</script> & $x_1$"
    table = small_table().rename_columns([hostile, *small_table().column_names[1:]])
    findings = examine(Scorer(small_model(), keep=[hostile]), table.to_batches())
    page = render(findings, title=hostile, subtitle=hostile)
    assert "<script" not in page
    assert "&lt;script&gt;" in page


@pytest.mark.parametrize("n_rows", [0, 1, 2])
def test_a_page_is_made_of_very_few_rows(n_rows):
    assert Outline(page_of(n_rows)).open == []


def test_the_page_says_when_no_row_is_above_the_threshold():
    calm = pa.table(dict.fromkeys(["id", *FEATURES, "label"], np.zeros(50)))
    findings = findings_of(calm)
    assert findings.n_flagged == 0
    assert "No row is above the threshold" in render(findings, title="calm")


def test_labels_of_one_kind_only_are_not_evaluated():
    findings = findings_of(small_table(20).slice(1, 1), labelled=True)
    assert findings.quality is None
    assert "Labels: " not in render(findings, title="calm")


def test_a_figure_is_an_image_with_a_name():
    svg = figure(lambda ax: ax.plot([0, 1], [0, 1], label="<b>"), 'a "caption"')
    root = ElementTree.fromstring(svg.replace("xlink:href", "href"))
    assert root.get("role") == "img"
    assert root.get("aria-label") == 'a "caption"'
    assert root.get("viewBox")


@pytest.mark.parametrize(
    ("value", "text"),
    [(1234, "1234"), (0.123456, "0.1235"), (12345.6, "12\u202f346"), (3e12, "3e+12"), (None, "–"), (float("nan"), "–"),
     (True, "True"), ("pump 7", "pump 7"), ("x" * 60, "x" * 60), ("x" * 61, "x" * 59 + "…")],
)  # fmt: skip
def test_values_are_formatted_for_reading(value, text):
    assert number(value) == text


def with_times(table: pa.Table, times) -> pa.Table:
    return table.append_column("at", times)


@pytest.mark.parametrize("kind", [pa.timestamp("s"), pa.timestamp("ns", "Europe/Berlin"), pa.date32()])
def test_scores_are_drawn_over_time_if_a_column_holds_times(kind):
    table = small_table(200)
    days = np.datetime64("2026-03-01") + np.arange(200) * np.timedelta64(1, "D")
    scorer = Scorer(small_model(), keep=["at"])
    findings = examine(scorer, with_times(table, pa.array(days).cast(kind)).to_batches(max_chunksize=70))
    np.testing.assert_array_equal(findings.times.astype("datetime64[D]"), days)
    page = render(findings, title="days")
    assert "Scores over time" in page
    assert "Score of each row in the order of time" in page


def test_rows_are_numbered_if_one_time_is_missing():
    times = pa.array([None if i == 7 else i for i in range(50)], pa.timestamp("s"))
    findings = examine(Scorer(small_model(), keep=["at"]), with_times(small_table(50), times).to_batches())
    assert findings.times is None
    assert "Scores over rows" in render(findings, title="gap")


@pytest.mark.parametrize("never", ["0001-01-01", "9999-12-31"])
def test_rows_are_numbered_if_a_time_cannot_be_drawn(never):
    days = np.append(np.datetime64("2026-03-01") + np.arange(49), np.datetime64(never))
    table = with_times(small_table(50), pa.array(days).cast(pa.timestamp("us")))
    findings = examine(Scorer(small_model(), keep=["at"]), table.to_batches())
    page = render(findings, title="for ever")
    assert "Scores over rows" in page
    assert "row (some times are out of range)" in page


def test_columns_beside_the_most_anomalous_rows_can_be_chosen():
    kept = ["id", "name", "label", "b", "a"]
    findings = examine(Scorer(small_model(), keep=kept), small_table(50).to_batches())
    heads = re.findall("<th>([^<]*)</th>", render(findings, title="all"))
    assert heads[: len(kept)] == kept
    assert heads[len(kept)] == "reasons"
    assert re.findall("<th>([^<]*)</th>", render(findings, title="few", about=["name"]))[:2] == ["name", "reasons"]


def changed_table(n_rows: int = 300) -> pa.Table:
    """Return a table in which another column is far off in each of three runs of rows."""
    table = small_table(n_rows)
    for j, name in enumerate(("a", "b", "d")):
        values = table[name].to_numpy().copy()
        values[50 * (j + 1) : 50 * (j + 1) + 30 - 10 * j] += 40
        table = table.set_column(table.column_names.index(name), name, pa.array(values))
    return table


def test_flagged_rows_are_grouped_by_their_first_reason():
    table = changed_table()
    findings = examine(Scorer(small_model(), keep=["id"]), table.to_batches(max_chunksize=70), n_examples=2)
    errors = small_model().reconstruction_error(table.select(FEATURES)).astype(float)
    first = small_model().feature_errors(table.select(FEATURES)).argmax(axis=1)
    flagged = np.flatnonzero(errors > small_model().threshold_)
    assert sum(group.n_rows for group in findings.groups) == len(flagged)
    assert [group.n_rows for group in findings.groups] == sorted(findings.reasons[findings.reasons > 0])[::-1]
    for group in findings.groups:
        rows = flagged[first[flagged] == FEATURES.index(group.feature)]
        assert group.n_rows == len(rows)
        highest = rows[np.argsort(-errors[rows], kind="stable")][:2]
        assert [row.row for row in group.examples] == highest.tolist()
        for row in group.examples:
            assert row.about == {"id": 1000 + row.row}
            assert row.error == errors[row.row]
            assert row.p_value == small_model().p_values_of(errors[[row.row]])[0]
            assert row.reasons[0]["feature"] == group.feature
    page = render(findings, title="groups")
    assert re.findall("<h3>([a-d]): ", page) == [group.feature for group in findings.groups]


def test_the_page_shows_drift_by_column():
    calm = small_table(300, seed=1)
    calm = calm.filter(pa.compute.equal(calm["label"], 0))
    scorer = Scorer(small_model(), keep=["id"])
    page = render(examine(scorer, calm.to_batches()), title="calm")
    assert "No drift in 291 rows." in page
    table = calm.set_column(3, "b", pa.array(100 * calm["b"].to_numpy()))
    findings = examine(scorer, table.to_batches(max_chunksize=70))
    assert [column.name for column in findings.drift.drifted] == ["b"]
    page = render(findings, title="drift")
    assert "Drift in 1 of 4 columns: &#39;b&#39; (" in page
    assert '<span class="dot">b</span>' in page
    drawings = re.findall(r'<svg class="bins".*?</svg>', page, re.DOTALL)
    assert len(drawings) == 4
    for drawing in drawings:
        ElementTree.fromstring(drawing)
    assert 'aria-label="Histogram of b: training and these rows"' in drawings[0]


def test_a_model_of_before_gives_a_page_without_histograms():
    model = small_model().model_.replace(reference=None)
    page = render(examine(Scorer(model), small_table().to_batches()), title="old")
    assert "Not compared: the model does not know" in page
    assert '<svg class="bins"' not in page


def test_wide_tables_list_some_columns_and_say_how_many_are_left():
    rng = np.random.default_rng(0)
    table = pa.table({f"c{j}": rng.normal(size=200) for j in range(40)})
    model = Autoencoder(max_epochs=1, random_state=0, n_threads=1).fit(table)
    page = render(examine(Scorer(model), table.to_batches()), title="wide")
    assert page.count('<svg class="bins"') == 15
    assert "25 further columns differ less." in page


def test_times_have_shares_and_no_histogram():
    times = pa.array(np.arange(200) * 3600, pa.timestamp("s"))
    table = pa.table({"at": times, "x": np.random.default_rng(0).normal(size=200)})
    model = Autoencoder(max_epochs=1, random_state=0, n_threads=1).fit(table)
    page = render(examine(Scorer(model), table.to_batches()), title="times")
    assert page.count('<svg class="bins"') == 1


def test_what_the_page_shows_is_plain_data_too():
    times = pa.array(np.arange(300) * 3600, pa.timestamp("s"))
    findings = examine(Scorer(small_model(), keep=["id", "at"]), with_times(changed_table(), times).to_batches())
    plain = json.loads(json.dumps(findings.as_plain(), allow_nan=False))
    assert set(plain) == {"drift", "first_reasons", "most_anomalous"}
    assert [group["rows"] for group in plain["first_reasons"]] == [group.n_rows for group in findings.groups]
    row = plain["most_anomalous"][0]
    assert set(row) == {"row", "columns", "score", "p_value", "reasons"}
    assert row["columns"]["id"] == 1000 + row["row"]
    assert row["columns"]["at"].startswith("1970-01-")
    assert len(findings.shown()) == 12 + sum(len(group.examples) for group in findings.groups)


def test_rows_have_their_numbers_in_the_file_if_others_cannot_be_scored(tmp_path):
    table = changed_table()
    values = table["c"].to_numpy().copy()
    values[::7] = np.nan
    path = write_table(table.set_column(4, "c", pa.array(values)), tmp_path / "t.parquet")
    small_model().save(tmp_path / "m")
    page = ("report", tmp_path / "m", path, "-o", tmp_path / "page.html", "--keep", "id", "--on-bad", "skip")
    plain = json.loads(done(*page, "--json"))
    rows = [*plain["most_anomalous"], *(row for group in plain["first_reasons"] for row in group["examples"])]
    assert len(rows) > 12
    assert all(row["columns"]["id"] == 1000 + row["row"] for row in rows)


@pytest.mark.parametrize("word", ["web-07", "910feae1-64cb-42a6", "7b0c1f5e-2f3d-4a57-9c1e-0d9f1f0a3b2c", "x" * 20])
def test_identifiers_are_not_broken_into_lines(word):
    assert unbroken(f"at {word}") == f'at <span class="whole">{word}</span>'


def test_long_words_may_be_broken_and_markup_is_escaped():
    assert unbroken("y" * 37) == "y" * 37
    assert unbroken("plain words <b>") == 'plain words <span class="whole">&lt;b&gt;</span>'
    assert unbroken(None) == '<span class="whole">–</span>'


@pytest.mark.parametrize("hours", [5, 24, 24 * 28, 24 * 900, 24 * 365 * 3000])
@pytest.mark.parametrize("width", [3.8, 9.6])
def test_labels_of_times_do_not_overlap(hours, width):
    from matplotlib.figure import Figure

    drawing = Figure(figsize=(width, 3), layout="constrained")
    ax = drawing.add_subplot()
    times = np.datetime64("2024-01-31") + np.arange(200) * np.timedelta64(hours * 18, "s")
    plots.scores_over_rows(np.arange(200.0), times=times, ax=ax)
    drawing.canvas.draw()
    boxes = [label.get_window_extent() for label in ax.get_xticklabels() if label.get_text()]
    assert len(boxes) >= 2
    assert all(a.x1 < b.x0 for a, b in zip(boxes, boxes[1:], strict=False))


def test_drift_is_described_with_size_and_direction():
    rng = np.random.default_rng(0)
    calibration = Calibration.of(rng.exponential(size=30_000))
    drawn = [drift(factor * rng.exponential(size=20_000), calibration) for factor in (1.0, 1.25, 0.7, 4.0)]
    assert drawn[0].startswith("No drift: the scores are distributed like those of the 30,000 calibration rows (")
    for text, size in zip(drawn[1:], ("slightly higher", "clearly lower", "much higher"), strict=True):
        assert text.startswith(f"Drift: the scores are {size} than those of the 30,000 calibration rows; ")
    assert "recalibrate" in drawn[1]
    assert drift(np.empty(0), calibration) == "There are no rows to compare."


@pytest.mark.parametrize("n_rows", [1, 3])
def test_too_few_rows_allow_no_test_for_drift(n_rows):
    calibration = Calibration.of(np.random.default_rng(0).exponential(size=500))
    text = drift(np.full(n_rows, 100.0), calibration)
    assert text.startswith(f"Too few rows to test for drift: with {n_rows} rows here and 500 calibration rows, ")
    assert drift(np.full(50, 100.0), calibration).startswith("Drift")


def test_scores_that_differ_no_more_than_days_of_training_are_no_drift():
    from aefast.model.drift import Drift

    rng = np.random.default_rng(0)
    calibration, errors = Calibration.of(rng.exponential(size=30_000)), 1.25 * rng.exponential(size=20_000)
    calm = Drift("no drift", 20_000, (), 0.08, scores=False)
    assert drift(errors, calibration, calm).startswith("No drift: the scores differ from those of the 30,000 ")
    assert drift(errors, calibration, Drift("drift", 20_000, (), 0.08, scores=True)).startswith("Drift: ")


def test_samples_of_one_distribution_are_rarely_called_drift():
    rng = np.random.default_rng(1)
    texts = [drift(rng.normal(size=80), Calibration.of(rng.normal(size=120))) for _ in range(500)]
    assert sum(text.startswith("Drift") for text in texts) <= 3


def test_the_page_names_the_thresholds():
    findings = findings_of(small_table(), labelled=True)
    page = render(findings, title="lines")
    best = findings.quality["best"]
    assert f"A threshold of {number(best['threshold'])} would give the largest F1, {best['f1']:.3f}." in page
    for name in ("threshold", "best F1"):
        assert f">{name}</text>" in page
    assert "p = 0.01" in page
    # A p-value of 0.01 needs 99 calibration rows.
    scorer = Scorer(small_model(score_metric="mse"))
    assert "p = 0.01" not in render(examine(scorer, small_table(20).to_batches()), title="lines")
    model = small_model(validation_fraction=0.5)
    assert "p = 0.01" in render(examine(Scorer(model), small_table(20).to_batches()), title="lines")


def test_counts_are_shown_at_the_threshold_and_at_the_best_one():
    findings = findings_of(small_table(), labelled=True)
    page = render(findings, title="counts")
    counts = page[page.index("Labels: confusion matrix") :]
    for name, at in (("model", findings.quality), ("best F1", findings.quality["best"])):
        (right_alone, wrong), (missed, found) = at["confusion_matrix"]
        row = counts[counts.index(f"<b>{name}</b>") :]
        cells = re.findall(r'data-name="[^"]*">([^<]*)<', row[: row.index("</tr>")])
        assert cells[1:5] == [str(n) for n in (found, missed, wrong, right_alone)]
        assert cells[-1] == f"{at['f1']:.3f}"
    for name in ("ROC curve", "Precision-recall curve"):
        drawing = page[page.index(f'aria-label="{name}"') :]
        assert ">best F1</text>" in drawing[: drawing.index("</svg>")]


def test_long_names_and_values_are_cut():
    name, value = "much " * 40, "word " * 1000
    table = small_table(40).rename_columns(["id", name, *small_table().column_names[2:]])
    table = table.set_column(1, name, pa.array([value] * 40))
    page = render(examine(Scorer(small_model(), keep=[name]), table.to_batches()), title="long")
    assert "word word" in page
    assert "much much" in page
    assert value[:80] not in page
    assert name[:80] not in page


def test_rows_without_a_label_are_left_out_of_the_evaluation():
    labels = small_table()["label"].to_numpy().astype(np.int8)
    labels[::3] = -1
    table = small_table().set_column(6, "label", pa.array(labels))
    scorer = Scorer(small_model(), keep=["id"])
    findings = examine(scorer, table.to_batches(), label=lambda batch: batch.column("label").to_numpy())
    known = labels >= 0
    assert findings.n_unlabelled == 100
    assert findings.quality == evaluate(labels[known], findings.errors[known], small_model().threshold_)
    assert all((row.label is None) == (row.row % 3 == 0) for row in findings.strangest)
    assert "100 rows without a label are left out" in render(findings, title="partly")


def test_small_screens_get_a_narrower_drawing_of_all_rows():
    wide, narrow = (page_of().split(f'<div class="{kind}"><svg')[1].split("</svg>")[0] for kind in ("wide", "narrow"))
    widths = [float(re.search(r'viewBox="0 0 ([\d.]+) ', drawing)[1]) for drawing in (wide, narrow)]
    assert widths[0] > 1.9 * widths[1]


# In a browser.


@pytest.fixture(scope="module")
def browse(tmp_path_factory):
    """Return a function that runs headless Chromium on the page and returns its standard output."""
    browser = shutil.which("chromium") or shutil.which("chromium-browser")
    if browser is None:
        pytest.skip("needs chromium, which is not installed here")
    folder = tmp_path_factory.mktemp("browser")
    (folder / "page.html").write_text(page_of(image_shape=(2, 2)), encoding="utf-8")
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]
    flags += ["--disable-component-update", "--disable-sync", f"--user-data-dir={folder / 'profile'}"]

    def run(*options: str) -> str:
        command = [browser, *flags, *options, (folder / "page.html").as_uri()]
        own = {name: value for name, value in os.environ.items() if name != "LD_PRELOAD"}  # a sanitizer's is for Python
        return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True, env=own).stdout

    return run


def test_a_browser_shows_the_whole_page(browse):
    shown = browse("--dump-dom")
    assert shown.count("<svg") == 9 + len(FEATURES)
    for text in ("Pumps in May</h1>", "Most anomalous rows as images", "Drift since calibration", "Made by aefast"):
        assert text in shown


def test_a_browser_shows_it_light_and_dark_and_on_paper(browse, tmp_path):
    brightness = {}
    for name, option in (("light", "false"), ("dark", "true")):
        picture = tmp_path / f"{name}.png"
        scheme = "--blink-settings=preferredColorScheme=" + ("0" if option == "true" else "1")
        browse(f"--screenshot={picture}", "--window-size=1100,2600", "--hide-scrollbars", scheme)
        pixels = imread(picture)[..., :3]
        brightness[name] = pixels.mean()
        # Text and curves are visible: a small share of the pixels differs strongly from the background.
        assert 0.005 < np.mean(np.abs(pixels.mean(axis=2) - np.median(pixels)) > 0.4) < 0.3
    assert brightness["light"] > 0.85
    assert brightness["dark"] < 0.25
    browse(f"--print-to-pdf={tmp_path / 'page.pdf'}", "--no-pdf-header-footer")
    assert (tmp_path / "page.pdf").read_bytes().count(b"/Type /Page\n") in range(2, 7)
