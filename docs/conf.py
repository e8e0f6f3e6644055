"""Settings of Sphinx for the documentation site. `make docs` builds it into docs/_build."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

import rankprobe
from docs._ext.api import literal_marks
from docs._ext.pages import site_links, write_pages

project = "rankprobe"
copyright = "the authors of rankprobe. Apache License 2.0"
version = release = rankprobe.__version__

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.autosummary", "sphinx.ext.napoleon"]
root_doc = "index"
exclude_patterns = ["_build", "_ext", "README.md"]  # README.md: the index for readers of the repository

# Markdown. Headings get the anchors that GitHub gives them, so links hold in both places.
myst_heading_anchors = 4
myst_enable_extensions: list[str] = []

# Notebooks: executed anew at each build; an error in one ends it.
nb_execution_mode = "force"
nb_execution_timeout = 300
nb_execution_raise_on_error = True
nb_execution_show_tb = True
nb_merge_streams = True
nb_ipywidgets_js: dict[str, Any] = {}  # would be fetched from the network by every reader

# Docstrings.
default_role = "code"
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autosummary_generate = False
napoleon_numpy_docstring = False
napoleon_use_ivar = True
napoleon_use_rtype = False
add_module_names = False
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 88

# The look.
html_theme = "pydata_sphinx_theme"
html_title = "rankprobe"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_sourcelink = False
html_copy_source = False
html_sidebars = {"index": []}
html_theme_options = {
    "logo": {"text": "rankprobe"},
    "header_links_before_dropdown": 6,
    "navbar_end": ["theme-switcher"],
    "show_toc_level": 2,
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": [],
    "back_to_top_button": False,
    "pygments_light_style": "a11y-high-contrast-light",
    "pygments_dark_style": "a11y-high-contrast-dark",
}


def _on_the_site(app: Any, name: str, source: list[str]) -> None:
    """Point the links of a page of docs/ to pages of the site."""
    place = Path(app.env.doc2path(name)).relative_to(app.srcdir).as_posix()
    if place.endswith(".md"):
        source[0] = site_links(source[0], f"docs/{place}", place)


def _literal_marks(app: Any, what: str, name: str, value: Any, options: Any, lines: list[str]) -> None:
    """Keep * and | of formulas in docstrings literal: in reStructuredText they are markup."""
    lines[:] = [literal_marks(line) for line in lines]


def setup(app: Any) -> dict[str, bool]:
    """Write the pages that are made from code, before Sphinx looks for pages."""
    app.connect("config-inited", lambda *_: write_pages())
    app.connect("source-read", _on_the_site)
    app.connect("autodoc-process-docstring", _literal_marks, priority=100)  # before napoleon adds markup
    return {"parallel_read_safe": True, "parallel_write_safe": True}
