"""How Sphinx builds the documentation site: `pip install ".[docs]" && nox -s docs`."""

from pathlib import Path

import aefast

project = "aefast"
author = "the aefast developers"
version = release = aefast.__version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "numpydoc",
    "myst_parser",
    "sphinx_copybutton",
    "sphinx_design",
    "sphinx_gallery.gen_gallery",
    "matplotlib.sphinxext.plot_directive",
]
exclude_patterns = ["_build"]
templates_path = ["_templates"]
default_role = "py:obj"  # a name in single backticks in a docstring is a link

toc_object_entries_show_parents = "hide"
autodoc_typehints = "none"  # the docstrings state the types
numpydoc_show_class_members = False
myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True

plot_formats = [("png", 160)]
plot_html_show_formats = plot_html_show_source_link = False
plot_include_source = True
plot_rcparams = {"figure.figsize": (7, 3.4), "figure.constrained_layout.use": True, "font.size": 10}
sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "gallery",
    "filename_pattern": r"\.py$",
    "ignore_pattern": r"_job\.py$",  # scripts for other engines
    "backreferences_dir": None,
    "subsection_order": ["../examples/tables", "../examples/images", "../examples/other_libraries"],
    "within_subsection_order": "FileNameSortKey",
    "show_memory": False,
    "write_computation_times": False,
    "image_srcset": ["2x"],
    "abort_on_example_error": True,
}

html_theme = "pydata_sphinx_theme"
html_title = "aefast"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_search_scorer = str(Path(__file__).parent / "_static" / "scorer.js")
html_copy_source = html_show_sourcelink = False
html_sidebars = {"getting_started": [], "install": [], "faq": []}  # these have no pages beside them
html_theme_options = {
    "header_links_before_dropdown": 7,
    "navigation_with_keys": True,
    "show_prev_next": True,
    "show_toc_level": 2,
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": ["theme-version"],
}

# Documents that the site shows and that lie elsewhere in the repository, by their links in other documents.
ELSEWHERE = {
    "(../benchmarks/RESULTS.md": "(/benchmarks/results.md",
    "(../benchmarks/README.md": "(/benchmarks/index.md",
    "(../docs/": "(/",
    "(docs/": "(/",
    "(README.md": "(/benchmarks/index.md",
    "(RESULTS.md": "(/benchmarks/results.md",
    "(ANALYSIS.md": "(/benchmarks/analysis.md",
}


def show_elsewhere(app, *arguments):
    """Let links to documents elsewhere in the repository lead to their pages."""
    content = arguments[-1]
    for link, page in ELSEWHERE.items():
        content[0] = content[0].replace(link, page)


def skip_foreign(app, what, name, member, skip, options):
    """Leave out scikit-learn's own members, attributes that the class describes, and the steps that `Scorer` takes."""
    is_attribute = name.endswith("_") and not name.endswith("__")
    function = getattr(member, "fget", member)
    is_foreign = str(getattr(function, "__module__", "")).startswith("sklearn.")
    is_step = str(getattr(function, "__qualname__", "")).startswith("ScoringSteps.")
    return True if is_attribute or is_foreign or is_step else None


def setup(app):
    app.connect("source-read", show_elsewhere)
    app.connect("include-read", show_elsewhere)
    app.connect("autodoc-skip-member", skip_foreign)
