"""Check the built site in headless Chromium: links, search, code copy, dark mode and the width of a phone.

    python docs/check_site.py FOLDER [--pictures FOLDER]

FOLDER holds the built HTML. ``--pictures`` writes a screenshot of every page, on a desktop and on a phone. The browser
is the system's (`chromium`, `chromium-browser` or `google-chrome`).
"""

import argparse
import http.server
import shutil
import sys
import threading
from functools import partial
from pathlib import Path
from urllib.parse import quote_plus, unquote, urldefrag, urljoin, urlparse

from playwright.sync_api import sync_playwright

#: What a newcomer asks, and a page that answers it and must be among the first results.
QUESTIONS = {
    "why is everything flagged today": ("guide/drift.html", "faq.html"),
    "how do I choose the threshold": ("guide/thresholds.html", "faq.html"),
    "can I trust a p-value of .01": ("guide/thresholds.html", "faq.html", "gallery/tables/calibrated_p_values.html"),
    "what does the first reason mean": ("guide/reasons.html", "faq.html"),
    "how do I score in Spark": ("spark.html", "faq.html"),
    "is it reproducible": ("guide/reproducibility.html", "faq.html"),
    "what is different from PyOD's AutoEncoder": ("guide/from_pyod.html", "faq.html"),
    "how large may a table be": ("guide/big_files.html", "faq.html"),
}
#: The place that one of its pages must have.
N_RESULTS = 3
#: Pages, and how many pictures the build draws for them.
PICTURES = {"guide/thresholds.html": 3, "guide/drift.html": 1, "guide/reasons.html": 1, "gallery/tables/gaps.html": 1}
PHONE = {"width": 390, "height": 844}
DESKTOP = {"width": 1300, "height": 900}


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Serves files without a log."""

    def log_message(self, *arguments):
        """Print nothing."""


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--pictures", type=Path, help="folder to write screenshots to")
    options = parser.parse_args()
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if chromium is None:
        print("the site was built, but not checked: no chromium is installed")
        return
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=options.folder))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    root = f"http://127.0.0.1:{server.server_port}/"
    pages = sorted(
        str(path.relative_to(options.folder))
        for path in options.folder.rglob("*.html")
        if not path.name.startswith(("search", "genindex", "py-modindex")) and "_static" not in path.parts
    )
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        context = browser.new_context(viewport=DESKTOP)
        context.set_default_timeout(120_000)  # milliseconds; a busy machine takes its time
        context.grant_permissions(["clipboard-read", "clipboard-write"])
        page = context.new_page()
        faults = check_pages(page, root, pages, options.pictures)
        for check in (check_search, check_copy, check_dark_mode):
            faults += check(page, root)
        browser.close()
    server.shutdown()
    for fault in faults:
        print(fault)
    print(f"{len(pages)} pages checked, {len(faults)} faults")
    sys.exit(bool(faults))


def check_pages(page, root, pages, pictures):
    """Open every page on a desktop and on a phone; return faults of links, pictures, scripts and widths."""
    faults, links, anchors = [], {}, {}
    page.on("pageerror", lambda error: faults.append(f"{page.url}: {error}"))
    for name in pages:
        page.set_viewport_size(DESKTOP)
        page.goto(root + name)
        anchors[root + name] = set(page.eval_on_selector_all("[id]", "all => all.map(each => each.id)"))
        links[root + name] = page.eval_on_selector_all("a[href]", "all => all.map(each => each.getAttribute('href'))")
        broken = page.eval_on_selector_all(
            "img", "all => all.filter(each => each.complete && !each.naturalWidth).map(each => each.src)"
        )
        faults += [f"{name}: picture {source} is missing" for source in broken]
        if page.locator("article img").count() < PICTURES.get(name, 0):
            faults.append(f"{name}: fewer than {PICTURES[name]} pictures")
        if pictures:
            shoot(page, pictures / "desktop" / name)
        page.set_viewport_size(PHONE)
        excess = page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
        if excess > 0:
            faults.append(f"{name}: {excess} pixels wider than a phone")
        if pictures:
            shoot(page, pictures / "phone" / name)
    for source, targets in links.items():
        for target in {urljoin(source, each) for each in targets}:
            address, anchor = urldefrag(target)
            if not address.startswith(root):
                continue
            if address.endswith("/"):
                address += "index.html"
            if address in anchors:
                if anchor and unquote(anchor) not in anchors[address]:
                    faults.append(f"{source}: no {anchor} in {address}")
            elif page.request.get(address).status != 200:
                faults.append(f"{source}: {urlparse(address).path} does not exist")
    return faults


def shoot(page, path):
    """Write a screenshot of the whole page."""
    path.parent.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=path.with_suffix(".png"), full_page=True)


def check_search(page, root):
    """Search for each question, and print the place of its first page, which must be among the first results."""
    page.set_viewport_size(DESKTOP)
    faults = []
    for question, answers in QUESTIONS.items():
        page.goto(f"{root}search.html?q={quote_plus(question)}")
        page.wait_for_selector("#search-results .search-summary, #search-results p.search-summary")
        page.wait_for_timeout(1500)
        found = page.eval_on_selector_all("#search-results ul.search li > a", "all => all.map(each => each.href)")
        pages = list(dict.fromkeys(urlparse(urldefrag(address)[0]).path.lstrip("/") for address in found))
        places = [pages.index(answer) + 1 for answer in answers if answer in pages]
        print(f"search for {question!r}: place {min(places, default=None)} of {len(pages)}")
        if min(places, default=len(pages)) > N_RESULTS:
            faults.append(f"search for {question!r} finds {pages[:N_RESULTS]}, not {answers}")
    return faults


def check_copy(page, root):
    """Copy a block of code and compare the clipboard with it."""
    page.goto(f"{root}getting_started.html")
    block = page.locator("div.highlight-python").first
    block.hover()
    block.locator("button.copybtn").click()
    copied = page.evaluate("navigator.clipboard.readText()")
    text = block.locator("pre").inner_text()
    return [] if copied.strip() == text.strip() else [f"the copied code is {copied!r}"]


def check_dark_mode(page, root):
    """Switch to dark mode; the background must become dark and the text light."""
    page.goto(f"{root}getting_started.html")
    page.evaluate("document.documentElement.dataset.theme = 'dark'")
    page.wait_for_timeout(300)
    colours = page.evaluate(
        "[getComputedStyle(document.body).backgroundColor, getComputedStyle(document.querySelector('article p')).color]"
    )
    lightness = [sum(map(int, "".join(c if c.isdigit() else " " for c in each).split()[:3])) for each in colours]
    return [] if lightness[0] < 150 and lightness[1] > 450 else [f"dark mode has the colours {colours}"]


if __name__ == "__main__":
    main()
