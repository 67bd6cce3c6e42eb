"""The picture of a supervision tree: a line for each process, with those below it further right."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from docs.diagrams.recorder import Data, Mismatch
from docs.diagrams.svg import Picture, width_of, without_backticks

TREES: Final = {
    "chat": "The supervision tree of the chat, with one person in its lobby",
    "endpoint": "What an endpoint starts: two connections, two topics joined, a client that polls",
    "chapter11": "The tree of the house, with two rooms and two visitors",
    "chapter12": "The tree of the chat on the wire, with two people in its lobby",
    "chapter13": "The tree of the chat that is broken on purpose, with one person in its lobby",
    "project": "The tree of a new project, with one visitor",
}
"""Every tree that is recorded, with its title."""

_ROW: Final = 33.0
_BOX: Final = 25.0
_STEP: Final = 26.0
_LEFT: Final = 14.0


@dataclass(frozen=True, slots=True)
class _Kind:
    box: str
    words: str
    radius: float = 12.5


_SUPERVISOR = _Kind("heavy", "a supervisor", radius=4)
_WORKER = _Kind("", "restarted")
_TEMPORARY = _Kind("dashed", "not restarted")
_FREE = _Kind("hollow", "not supervised")
_KINDS = (_SUPERVISOR, _WORKER, _TEMPORARY, _FREE)


def draw_tree(name: str, data: Data) -> Picture:
    """Draw a tree as it was recorded; raise `Mismatch` if others were recorded than are drawn."""
    if set(data) != set(TREES):
        raise Mismatch(f"there are titles for {sorted(TREES)}, but {sorted(data)} are recorded")
    picture = Picture(f"tree-{name}", TREES[name], _describe(data[name]))
    drawing = _Drawing(picture)
    drawing.branch(data[name], depth=0)
    drawing.legend()
    return picture


class _Drawing:
    """Goes down the tree, from line to line."""

    def __init__(self, picture: Picture) -> None:
        self.picture = picture
        self.y = 14.0
        self.kinds: list[_Kind] = []

    def branch(self, branch: dict[str, Any], depth: int) -> float:
        """Draw a process and all below it; return the middle of its line."""
        x, middle = _LEFT + depth * _STEP, self.y + _BOX / 2
        kind, (own, what) = _kind_of(branch), _names_of(branch)
        self.kinds.append(kind)
        width = width_of(own) + (6 + width_of(what, 12) if what else 0) + 24
        self.picture.box(x, self.y, width, _BOX, kind.box, radius=kind.radius)
        end = self.picture.text(x + 12, middle + 4.5, own)
        if what:
            self.picture.text(end + 6, middle + 4.5, what, "small soft")
        if "strategy" in branch:
            self.picture.text(x + width + 9, middle + 4.5, f"`{branch['strategy']}`", "small brand")
        self.y += _ROW
        stem = x + 13
        for child in branch.get("children", ()):
            top = middle + _BOX / 2
            here = self.branch(child, depth + 1)
            self.picture.line([(stem, top), (stem, here), (x + _STEP, here)])
        return middle

    def legend(self) -> None:
        """Say what the shapes mean, as far as they are there."""
        x, middle = _LEFT, self.y + _BOX / 2 + 2
        for kind in _KINDS:
            if kind in self.kinds:
                width = 22.0 + 6 + width_of(kind.words, 12)
                if x + width > 372:
                    x, middle = _LEFT, middle + 22
                self.picture.box(x, middle - 6.5, 22, 13, kind.box, radius=min(kind.radius, 6.5))
                x = 18 + self.picture.text(x + 28, middle + 4, kind.words, "small soft")


def _kind_of(branch: dict[str, Any]) -> _Kind:
    if branch["type"] == "supervisor":
        return _SUPERVISOR
    if "restart" not in branch:
        return _FREE
    return _TEMPORARY if branch["restart"] == "temporary" else _WORKER


def _names_of(branch: dict[str, Any]) -> tuple[str, str]:
    """Return what a process is called, and what it is, where that is not the same."""
    label = branch["label"].replace("_accept", "accept")
    own = branch.get("id", branch.get("name"))
    if own is None:
        return (f"`{label}`", "")
    # Where a key is a part of the label, it is said already.
    label = label.removesuffix(f" {own}")
    return (own, f"`{label}`" if label.lower() != own.lower() else "")


def _describe(branch: dict[str, Any]) -> str:
    own, what = map(without_backticks, _names_of(branch))
    words = own + (f", {what}" if what else "")
    if "strategy" in branch:
        words += f", {branch['strategy']}"
    below = [_describe(child) for child in branch.get("children", ())]
    return f"{words} [{'; '.join(below)}]" if below else words
