"""What makes a picture readable, as far as that can be computed from its text."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations, pairwise
from typing import Final
from xml.etree import ElementTree

from docs.diagrams.svg import CODE_SCALE, SIZE, SMALL, STYLE, width_of_piece

_SVG: Final = "{http://www.w3.org/2000/svg}"
_BOLDER: Final = 1.1
_COLORS: Final = ("fill", "stroke", "color", "style")
_FIXED: Final = re.compile(r"#fff(?:fff)?\b|#000(?:000)?\b|\b(?:black|white)\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Area:
    """What a text or a box takes up."""

    left: float
    top: float
    right: float
    bottom: float
    what: str

    def overlaps(self, other: Area) -> bool:
        """Whether the two have some area in common."""
        return (
            self.left < other.right
            and other.left < self.right
            and self.top < other.bottom
            and other.top < self.bottom
        )

    def holds(self, other: Area) -> bool:
        """Whether the other one is within this one."""
        return (
            self.left <= other.left
            and other.right <= self.right
            and self.top <= other.top
            and other.bottom <= self.bottom
        )


def problems_of(svg: str) -> Iterator[str]:
    """Yield what is wrong with a picture; raise `ElementTree.ParseError` if it is no XML."""
    root = ElementTree.fromstring(svg)
    yield from _problems_of_frame(root)
    for element in root.iter():
        for name in _COLORS:
            if name in element.attrib:
                yield f"{element.tag} has a fixed {name}"
    style = root.findtext(f"{_SVG}style") or ""
    for color in _FIXED.findall(style):
        yield f"the style has the fixed color {color}"
    _, _, width, height = map(float, root.attrib["viewBox"].split())
    whole = Area(0, 0, width, height, "the picture")
    texts = [_area_of_text(one) for one in root.iter(f"{_SVG}text")]
    boxes = [_area_of_box(one) for one in root.iter(f"{_SVG}rect") if "x" in one.attrib]
    for text in texts:
        if not whole.holds(text):
            yield f"{text.what!r} leaves the picture"
        for box in boxes:
            if text.overlaps(box) and not box.holds(text):
                yield f"{text.what!r} crosses the edge of a box"
    for one, other in combinations(texts, 2):
        if one.overlaps(other):
            yield f"{one.what!r} and {other.what!r} overlap"
    for path in root.iter(f"{_SVG}path"):
        for segment in _segments_of(path.attrib["d"]):
            yield from (f"a line crosses {one.what!r}" for one in texts if segment.overlaps(one))


def _problems_of_frame(root: ElementTree.Element) -> Iterator[str]:
    for name in ("title", "desc"):
        found = root.find(f"{_SVG}{name}")
        if found is None or not (found.text or "").strip():
            yield f"it has no {name} for those who cannot see it"
        elif found.get("id") not in root.get("aria-labelledby", "").split():
            yield f"its {name} is not what it is labelled by"
    if root.get("role") != "img":
        yield "its role is not that of a picture"


def _area_of_text(text: ElementTree.Element) -> Area:
    kinds = text.get("class", "").split()
    size = SMALL if "small" in kinds else SIZE
    pieces = [(text.text or "", False)]
    for span in text:
        pieces += [(span.text or "", True), (span.tail or "", False)]
    width = sum(
        width_of_piece(piece, size * (CODE_SCALE if is_code else 1), is_code=is_code)
        for piece, is_code in pieces
    )
    width *= _BOLDER if "strong" in kinds else 1
    x, y = float(text.attrib["x"]), float(text.attrib["y"])
    left = x - width * {"start": 0.0, "middle": 0.5, "end": 1.0}[text.get("text-anchor", "start")]
    words = "".join(piece for piece, _ in pieces)
    return Area(left, y - 0.76 * size, left + width, y + 0.22 * size, words)


def _area_of_box(box: ElementTree.Element) -> Area:
    x, y, width, height = (float(box.attrib[name]) for name in ("x", "y", "width", "height"))
    return Area(x, y, x + width, y + height, "a box")


def _segments_of(path: str) -> Iterator[Area]:
    """Yield the straight parts of a path; those that are bent are taken for their corners."""
    numbers = [float(one) for one in re.findall(r"-?\d+(?:\.\d+)?", path)]
    points = list(zip(numbers[::2], numbers[1::2], strict=True))
    for (x1, y1), (x2, y2) in pairwise(points):
        yield Area(min(x1, x2), min(y1, y2), max(x1, x2) + 0.1, max(y1, y2) + 0.1, "a line")


# -- colours --------------------------------------------------------------------------------------


def contrasts() -> Iterator[tuple[str, str, float]]:
    """Yield, for light and dark, how each colour of texts contrasts with what is behind it."""
    light, dark = STYLE.split("@media", 1)
    for scheme, part in (("light", light), ("dark", dark)):
        colors = dict(re.findall(r"--d-(\w+): (#[0-9a-f]{6})", part))
        for name in ("ink", "soft", "brand", "bad", "good"):
            for behind in ("ground", "fill"):
                ratio = _contrast(colors[name], colors[behind])
                yield scheme, f"{name} on {behind}", ratio


def _contrast(one: str, other: str) -> float:
    """Return the contrast of two colours, as WCAG 2 has it."""
    low, high = sorted((_luminance(one), _luminance(other)))
    return (high + 0.05) / (low + 0.05)


def _luminance(color: str) -> float:
    parts = [int(color[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [one / 12.92 if one <= 0.04045 else ((one + 0.055) / 1.055) ** 2.4 for one in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
