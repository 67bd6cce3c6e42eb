"""How Sphinx builds the documentation; `make docs` takes every warning for an error."""

import sys
from importlib.metadata import version as version_of
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent / "scripts")]

import differences  # noqa: E402
from docstrings import to_rst  # noqa: E402

project = "exeunt"
author = "the exeunt authors"
copyright = f"2026, {author}"
version = release = version_of("exeunt")

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
]
exclude_patterns = ["_build"]

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_default_options = {"members": True, "show-inheritance": True}

html_theme = "furo"
html_title = "exeunt"
html_copy_source = False

# Written anew from the source each time, so that they cannot go stale.
differences.main(HERE / "reference" / "generated")


def setup(app: Any) -> None:
    """Read docstrings as the Markdown that they are."""

    def convert(
        app: Any, what: str, name: str, obj: object, options: object, lines: list[str]
    ) -> None:
        lines[:] = to_rst(lines)

    app.connect("autodoc-process-docstring", convert)
