"""Drawing: a picture of boxes, lines and texts, written as SVG that is readable in light and dark.

Colours are those of Furo's variables, which follow its switch where the picture stands within a
page; by itself, in an `<img>`, a picture follows what the reader prefers.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final, Literal, TypeAlias
from xml.sax.saxutils import escape

SIZE: Final = 13
SMALL: Final = 12

Anchor: TypeAlias = Literal["start", "middle", "end"]
Point: TypeAlias = tuple[float, float]

# Advance widths of the printable ASCII characters, in thousandths of an em. They are those of
# DejaVu Sans, which is wider than what most readers have: so a text is never longer than thought.
# fmt: off
_WIDTHS: Final = (
    318, 401, 460, 838, 636, 950, 780, 275, 390, 390, 500, 838, 318, 361, 318, 337, 636, 636,
    636, 636, 636, 636, 636, 636, 636, 636, 337, 337, 838, 838, 838, 531, 1000, 684, 686, 698,
    770, 632, 575, 775, 752, 295, 295, 656, 557, 863, 748, 787, 603, 787, 695, 635, 611, 732,
    684, 989, 685, 611, 685, 390, 337, 390, 838, 500, 500, 613, 635, 550, 635, 615, 352, 635,
    634, 278, 278, 579, 278, 974, 634, 612, 635, 635, 411, 521, 392, 634, 592, 818, 592, 592,
    525, 636, 337, 636, 838,
)
# fmt: on
_CODE_WIDTH: Final = 602
# Code stands a little smaller than the text around it.
CODE_SCALE: Final = 0.92

STYLE: Final = """
.exeunt-diagram { --d-ground: #fcfcfd; --d-fill: #f3f4f7; --d-ink: #23262b; --d-soft: #5a5f68;
  --d-line: #8b9099; --d-border: #c3c7ce; --d-brand: #8c1c3a; --d-bad: #b3261e; --d-good: #26734a;
  font-family: var(--font-stack, -apple-system, "Segoe UI", Helvetica, Arial, sans-serif);
  font-size: 13px; }
@media (prefers-color-scheme: dark) { .exeunt-diagram { --d-ground: #16181b; --d-fill: #212429;
  --d-ink: #d3d6da; --d-soft: #a0a6ae; --d-line: #7d838c; --d-border: #454a52; --d-brand: #ef93ad;
  --d-bad: #ff7b72; --d-good: #4fc27d; } }
.exeunt-diagram .ground { fill: var(--color-background-primary, var(--d-ground)); }
.exeunt-diagram text { fill: var(--color-foreground-primary, var(--d-ink)); }
.exeunt-diagram .small { font-size: 12px; }
.exeunt-diagram .strong { font-weight: 600; }
.exeunt-diagram .soft { fill: var(--color-foreground-secondary, var(--d-soft)); }
.exeunt-diagram .code { font-size: 0.92em;
  font-family: var(--font-stack--monospace, ui-monospace, Menlo, Consolas, monospace); }
.exeunt-diagram text.brand { fill: var(--color-brand-content, var(--d-brand)); }
.exeunt-diagram text.bad { fill: var(--color-problematic, var(--d-bad)); }
.exeunt-diagram text.good { fill: var(--color-api-added, var(--d-good)); }
.exeunt-diagram .box { fill: var(--color-background-secondary, var(--d-fill));
  stroke: var(--color-foreground-border, var(--d-border)); stroke-width: 1; }
.exeunt-diagram .box.hollow { fill: none; }
.exeunt-diagram .box.dashed { stroke-dasharray: 4 3; }
.exeunt-diagram .box.heavy { stroke: var(--color-foreground-primary, var(--d-ink));
  stroke-width: 1.5; }
.exeunt-diagram .box.bad { stroke: var(--color-problematic, var(--d-bad)); stroke-width: 1.5; }
.exeunt-diagram .box.good { stroke: var(--color-api-added, var(--d-good)); stroke-width: 1.5; }
.exeunt-diagram .line { fill: none; stroke: var(--color-foreground-muted, var(--d-line));
  stroke-width: 1.25; }
.exeunt-diagram .line.faint { stroke-width: 1; opacity: 0.55; }
.exeunt-diagram .line.dashed { stroke-dasharray: 4 3; }
.exeunt-diagram .line.bad { stroke: var(--color-problematic, var(--d-bad)); }
.exeunt-diagram .tip { fill: var(--color-foreground-muted, var(--d-line)); }
.exeunt-diagram .tip.bad { fill: var(--color-problematic, var(--d-bad)); }
"""


def pieces_of(text: str) -> list[tuple[str, bool]]:
    """Take a text apart into words and `code`; the flag tells which is code."""
    pieces = [(piece, number % 2 == 1) for number, piece in enumerate(text.split("`"))]
    return [(piece, is_code) for piece, is_code in pieces if piece]


def width_of(text: str, size: float = SIZE) -> float:
    """Return how wide a text is at most, in pixels; what stands in backticks is code."""
    total = 0.0
    for piece, is_code in pieces_of(text):
        total += width_of_piece(piece, size * CODE_SCALE if is_code else size, is_code=is_code)
    return total


def width_of_piece(piece: str, size: float, *, is_code: bool) -> float:
    """Return how wide a piece of one font is at most."""
    if is_code:
        return len(piece) * _CODE_WIDTH * size / 1000
    widths = (_WIDTHS[ord(one) - 32] if 32 <= ord(one) < 127 else 1000 for one in piece)
    return sum(widths) * size / 1000


class Picture:
    """A picture that is being drawn; its size is what is drawn, and a margin."""

    def __init__(self, name: str, title: str, description: str, *, margin: float = 14) -> None:
        self.name = name
        self._title = title
        self._description = description
        self._margin = margin
        self._right = self._bottom = 0.0
        self._lines: list[str] = []
        self._boxes: list[str] = []
        self._texts: list[str] = []

    def _grow(self, x: float, y: float) -> None:
        self._right = max(self._right, x)
        self._bottom = max(self._bottom, y)

    def text(
        self, x: float, y: float, text: str, kind: str = "", *, anchor: Anchor = "start"
    ) -> float:
        """Write a text whose baseline is at `y`; return where it ends on the right."""
        size = SMALL if "small" in kind.split() else SIZE
        width = width_of(text, size)
        left = x - {"start": 0.0, "middle": width / 2, "end": width}[anchor]
        inner = "".join(
            f'<tspan class="code">{escape(piece)}</tspan>' if is_code else escape(piece)
            for piece, is_code in pieces_of(text)
        )
        attributes = f' class="{kind}"' if kind else ""
        if anchor != "start":
            attributes += f' text-anchor="{anchor}"'
        self._texts.append(f'<text x="{_n(x)}" y="{_n(y)}"{attributes}>{inner}</text>')
        self._grow(left + width, y + 4)
        return left + width

    def box(
        self, x: float, y: float, width: float, height: float, kind: str = "", *, radius: float = 6
    ) -> None:
        """Draw a box."""
        self._boxes.append(
            f'<rect class="{f"box {kind}".strip()}" x="{_n(x)}" y="{_n(y)}" '
            f'width="{_n(width)}" height="{_n(height)}" rx="{_n(radius)}"/>'
        )
        self._grow(x + width, y + height)

    def line(
        self, points: Sequence[Point], kind: str = "", *, arrow: bool = False, radius: float = 6
    ) -> None:
        """Draw a line through these points, its corners rounded; with an arrow at its end."""
        ends = list(points)
        if arrow:
            self._tip(ends[-2], ends[-1], kind)
            ends[-1] = _toward(ends[-1], ends[-2], 5)
        path = [f"M{_p(ends[0])}"]
        for before, corner, after in zip(ends, ends[1:], ends[2:], strict=False):
            bend = min(radius, _distance(before, corner) / 2, _distance(corner, after) / 2)
            path.append(f"L{_p(_toward(corner, before, bend))}")
            path.append(f"Q{_p(corner)} {_p(_toward(corner, after, bend))}")
        path.append(f"L{_p(ends[-1])}")
        self._lines.append(f'<path class="{f"line {kind}".strip()}" d="{" ".join(path)}"/>')
        for x, y in points:
            self._grow(x, y)

    def _tip(self, before: Point, end: Point, kind: str) -> None:
        color = " bad" if "bad" in kind.split() else ""
        back = _toward(end, before, 7)
        across = ((end[1] - back[1]) / 2, (back[0] - end[0]) / 2)
        one = (back[0] + across[0], back[1] + across[1])
        other = (back[0] - across[0], back[1] - across[1])
        self._boxes.append(f'<path class="tip{color}" d="M{_p(one)} L{_p(end)} L{_p(other)} Z"/>')

    def render(self) -> str:
        """Write the picture as SVG."""
        width, height = round(self._right + self._margin), round(self._bottom + self._margin)
        name = f"diagram-{self.name}"
        return "\n".join(
            [
                f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
                f'width="{width}" height="{height}" class="exeunt-diagram" role="img" '
                f'aria-labelledby="{name}-title {name}-desc">',
                f'<title id="{name}-title">{escape(self._title)}</title>',
                f'<desc id="{name}-desc">{escape(self._description)}</desc>',
                f"<style>{STYLE}</style>",
                f'<rect class="ground" width="{width}" height="{height}" rx="8"/>',
                *self._lines,
                *self._boxes,
                *self._texts,
                "</svg>",
                "",
            ]
        )


def without_backticks(text: str) -> str:
    """Return a text as it is read aloud."""
    return re.sub("`", "", text)


def _n(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")


def _p(point: Point) -> str:
    return f"{_n(point[0])},{_n(point[1])}"


def _distance(one: Point, other: Point) -> float:
    return float(((one[0] - other[0]) ** 2 + (one[1] - other[1]) ** 2) ** 0.5)


def _toward(start: Point, end: Point, far: float) -> Point:
    whole = _distance(start, end)
    if whole == 0:
        return start
    share = far / whole
    return (start[0] + (end[0] - start[0]) * share, start[1] + (end[1] - start[1]) * share)
