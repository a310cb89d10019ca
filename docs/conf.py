"""How Sphinx builds the documentation site: `pip install ".[docs]" && nox -s docs`."""

import aefast

project = "aefast"
author = "the aefast developers"
version = release = aefast.__version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.mathjax",
    "numpydoc",
    "myst_parser",
    "sphinx_copybutton",
    "sphinx_design",
    "sphinx_gallery.gen_gallery",
    "matplotlib.sphinxext.plot_directive",
]
exclude_patterns = ["_build", "gallery/**/*.py.md5"]
templates_path = ["_templates"]
default_role = "py:obj"  # a name in single backticks in a docstring is a link

autodoc_typehints = "none"  # the docstrings state the types
numpydoc_show_class_members = False
numpydoc_xref_param_type = False
myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
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
    "ignore_pattern": r"helpers\.py$",
    "doc_module": ("aefast",),
    "reference_url": {"aefast": None},
    "backreferences_dir": "gallery/used",
    "subsection_order": ["../examples/tables", "../examples/images", "../examples/other_libraries"],
    "within_subsection_order": "FileNameSortKey",
    "show_memory": False,
    "image_srcset": ["2x"],
    "abort_on_example_error": True,
}

html_theme = "pydata_sphinx_theme"
html_title = "aefast"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = html_show_sourcelink = False
html_theme_options = {
    "header_links_before_dropdown": 6,
    "navigation_with_keys": True,
    "show_prev_next": True,
    "show_toc_level": 2,
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": ["theme-version"],
}
