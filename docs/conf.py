"""How Sphinx builds the documentation; `make docs` takes every warning for an error."""

import sys
from importlib.metadata import version as version_of
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

from docstrings import to_rst  # noqa: E402

from scripts import (  # noqa: E402
    close_codes,
    differences,
    event_tables,
    limit_tables,
    name_tables,
)

project = "exeunt"
author = "the exeunt authors"
copyright = f"2026, {author}"
version = release = version_of("exeunt")

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "diagrams.directive",
]
# What is taken in by another page is none itself.
exclude_patterns = ["_build", "reference/generated/limits.md"]

myst_enable_extensions = ["attrs_inline", "colon_fence", "deflist"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_default_options = {"members": True, "show-inheritance": True}

# Signatures are read, not parsed: without the module, which the heading names, and with a line for
# each parameter where one line is not enough.
add_module_names = False
python_maximum_signature_line_length = 120
python_trailing_comma_in_multi_line_signatures = False
python_use_unqualified_type_names = True
toc_object_entries_show_parents = "hide"

# For `make linkcheck`, which wants a network; links within the pages are tested with the rest.
linkcheck_ignore = [r"(https?|wss?)://(localhost|127\.0\.0\.1|.*example\.(com|org))"]
linkcheck_timeout = 20
linkcheck_retries = 2

html_theme = "furo"
html_title = "exeunt"
html_favicon = "_static/favicon.svg"
html_static_path = ["_static"]
html_css_files = ["docs.css"]
html_copy_source = False
html_show_sourcelink = False
html_show_sphinx = False
html_theme_options = {
    "navigation_with_keys": True,
    "top_of_page_buttons": [],
    "light_css_variables": {
        "color-brand-primary": "#8c1c3a",
        "color-brand-content": "#8c1c3a",
        "color-brand-visited": "#633089",
        "color-api-name": "#8c1c3a",
        "color-api-pre-name": "#6b5b60",
    },
    "dark_css_variables": {
        "color-brand-primary": "#ef93ad",
        "color-brand-content": "#ef93ad",
        "color-brand-visited": "#d9b8f0",
        "color-api-name": "#ef93ad",
        "color-api-pre-name": "#b3a2a6",
    },
}

# Written anew from the source each time, so that they cannot go stale.
for tables in (differences, event_tables, close_codes, limit_tables, name_tables):
    tables.main(HERE / "reference" / "generated")


def setup(app: Any) -> None:
    """Read docstrings as the Markdown that they are, and requests as they are called."""

    def convert(
        app: Any, what: str, name: str, obj: object, options: object, lines: list[str]
    ) -> None:
        lines[:] = to_rst(lines)

    def show_server(
        app: Any, what: str, name: str, obj: object, options: object, signature: str, returns: str
    ) -> tuple[str, str] | None:
        # Called on the class, with a server first: no `self` is left out there.
        shown = getattr(obj, "__signature__", None)
        if what != "method" or shown is None or next(iter(shown.parameters), None) != "server":
            return None
        rest = signature.removeprefix("(").removesuffix(")")
        return f"(server, {rest})" if rest else "(server)", returns

    app.connect("autodoc-process-docstring", convert)
    app.connect("autodoc-process-signature", show_server)
