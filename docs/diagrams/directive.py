"""The directive that puts a diagram into a page: the SVG itself, so that it follows the theme.

    ```{diagram} life-of-a-process
    What becomes of a process.
    ```

What stands in it is the caption. On a narrow screen a picture shrinks a little, as long as it can
be read, and is scrolled from there on.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final

from docutils import nodes  # type: ignore[import-untyped, unused-ignore]
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

IMAGES: Final = Path(__file__).parents[1] / "images" / "diagrams"

SMALLEST: Final = 0.92
"""How far a picture may shrink: its smallest text, code of 11 pixels, then has 10."""

_FIGURE: Final = '<figure class="diagram" style="margin:1.25em 0 1.75em">'
_CAPTION: Final = "color:var(--color-foreground-secondary);font-size:var(--font-size--small)"
_SIZE: Final = re.compile(r' width="(\d+)" height="\d+"')


class Diagram(SphinxDirective):
    """Puts one of the pictures in docs/images/diagrams into the page."""

    required_arguments = 1
    has_content = True

    def run(self) -> list[nodes.Node]:
        """Read the picture; a name that there is no picture of is an error of the page."""
        path = IMAGES / f"{self.arguments[0]}.svg"
        if not path.is_file():
            raise self.error(
                f"there is no diagram {self.arguments[0]!r}; `make diagrams` draws them"
            )
        self.env.note_dependency(str(path))
        picture = inlined(path.read_text(encoding="utf-8"))
        if not self.content:
            return [_html(f"{_FIGURE}{picture}</figure>")]
        caption = nodes.Element()
        self.state.nested_parse(self.content, self.content_offset, caption)
        return [
            _html(f'{_FIGURE}{picture}<figcaption style="{_CAPTION}">'),
            *caption.children,
            _html("</figcaption></figure>"),
        ]


def _html(text: str) -> nodes.Node:
    return nodes.raw("", text, format="html")


def inlined(svg: str) -> str:
    """Return a picture as it stands within a page."""

    def fit(size: re.Match[str]) -> str:
        width = int(size[1])
        least = round(width * SMALLEST)
        return f' style="width:100%;max-width:{width}px;min-width:{least}px;height:auto"'

    # Whoever uses the keyboard can scroll it too.
    scroll = '<div tabindex="0" style="overflow-x:auto">'
    return f"{scroll}{_SIZE.sub(fit, svg, count=1)}</div>"


def setup(app: Sphinx) -> dict[str, Any]:
    """Make the directive known to Sphinx."""
    app.add_directive("diagram", Diagram)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
