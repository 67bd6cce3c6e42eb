"""How a page looks, as far as a program can tell: what it complains of, too wide, too faint.

A page is asked for facts, which the tests then judge; nothing here waits or fails by itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

from playwright.sync_api import ConsoleMessage, Page, Request, Response

Scheme: TypeAlias = Literal["light", "dark"]

SCHEMES: Final[tuple[Scheme, ...]] = ("light", "dark")

PHONE: Final = 390
TABLET: Final = 800
DESK: Final = 1280


class Complaints:
    """What a page complains of from now on: errors, warnings, and requests that fail."""

    def __init__(self, page: Page) -> None:
        self.found: list[str] = []
        page.on("pageerror", lambda error: self.found.append(f"uncaught: {error}"))
        page.on("console", self._note)
        page.on("requestfailed", self._failed)
        page.on("response", self._answered)

    def _note(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.found.append(f"{message.type}: {message.text}")

    def _failed(self, request: Request) -> None:
        # A page that is left breaks off what it still fetched.
        if "ERR_ABORTED" not in str(request.failure):
            self.found.append(f"{request.url}: {request.failure}")

    def _answered(self, response: Response) -> None:
        if response.status >= 400:
            self.found.append(f"{response.url}: {response.status}")


def too_wide(page: Page) -> int:
    """Return by how many pixels the page can be scrolled sideways."""
    return int(
        page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    )


def broken_images(page: Page) -> list[str]:
    """Return the images that are not there, or have no text in their place."""
    return list(
        page.evaluate(
            """() => [...document.images]
              .filter((one) => !(one.complete && one.naturalWidth > 0 && one.alt.trim()))
              .map((one) => one.src)"""
        )
    )


@dataclass(frozen=True, slots=True)
class Faint:
    """A text that is hard to read."""

    text: str
    contrast: float
    size: float


# The contrast of WCAG 2, section 1.4.3, of every text that is seen to what is behind it.
_CONTRASTS: Final = """(root) => {
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = 1;
  const pen = canvas.getContext("2d", {willReadFrequently: true});
  const parse = (colour) => {
    pen.clearRect(0, 0, 1, 1);
    pen.fillStyle = colour;
    pen.fillRect(0, 0, 1, 1);
    const [r, g, b, a] = pen.getImageData(0, 0, 1, 1).data;
    return [r, g, b, a / 255];
  };
  const over = (top, below) =>
    [0, 1, 2].map((at) => top[at] * top[3] + below[at] * (1 - top[3])).concat(1);
  const behind = (element) => {
    const layers = [];
    for (let at = element; at; at = at.parentElement) {
      const colour = parse(getComputedStyle(at).backgroundColor);
      if (colour[3] > 0) layers.push(colour);
      if (colour[3] === 1) break;
    }
    return layers.reverse().reduce((below, top) => over(top, below), [255, 255, 255, 1]);
  };
  const light = (colour) => {
    const [r, g, b] = colour.map((one) => {
      const part = one / 255;
      return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const found = [];
  const walker = document.createTreeWalker(
    document.querySelector(root) ?? document.body, NodeFilter.SHOW_TEXT,
  );
  while (walker.nextNode()) {
    const text = walker.currentNode.data.trim();
    const element = walker.currentNode.parentElement;
    if (!text || !element.checkVisibility({visibilityProperty: true})) continue;
    if (element.closest("script, style, noscript, svg, [disabled], [aria-hidden=true]")) continue;
    const style = getComputedStyle(element);
    const below = behind(element);
    let opacity = 1;
    for (let at = element; at; at = at.parentElement) opacity *= getComputedStyle(at).opacity;
    const colour = parse(style.color);
    const above = over([...colour.slice(0, 3), colour[3] * opacity], below);
    const [a, b] = [light(above), light(below)].sort((one, other) => other - one);
    found.push([text.slice(0, 40), (a + 0.05) / (b + 0.05), parseFloat(style.fontSize)]);
  }
  return found;
}"""


def faint_texts(page: Page, root: str = "body", *, least: float = 4.5) -> list[Faint]:
    """Return the texts within `root` whose contrast is below `least`; of large type, below 3."""
    found: list[Any] = page.evaluate(_CONTRASTS, root)
    assert found, f"there is no text in {root}"
    texts = [Faint(str(text), round(contrast, 2), size) for text, contrast, size in found]
    return [one for one in texts if one.contrast < (3.0 if one.size >= 24 else least)]
