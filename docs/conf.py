"""How Sphinx builds the documentation; `make docs` takes every warning for an error."""

from importlib.metadata import version as version_of

project = "exeunt"
author = "the exeunt authors"
copyright = f"2026, {author}"
version = release = version_of("exeunt")

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
]
exclude_patterns = ["_build"]
nitpicky = True

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "description"

html_theme = "furo"
html_title = "exeunt"
html_copy_source = False
