"""The picture of a life: its states from top to bottom, and every way out of each as a line.

What leads to the next state joins the arrow on the left; what leads elsewhere runs into a rail on
the right, which ends there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations
from typing import Final

from docs.diagrams.recorder import BEFORE, Data, Edge, Mismatch
from docs.diagrams.svg import Picture, width_of, without_backticks

_LEFT: Final = 14.0
_BOX: Final = (112.0, 40.0)
_IN, _OUT = 11.0, 29.0  # where lines come into a box and leave it, from its top
_ROW: Final = 21.0
_STEM: Final = 14.0
_GAP: Final = 22.0
_RAIL: Final = 13.0
_LONGEST_DETAIL: Final = 31


@dataclass(frozen=True, slots=True)
class Life:
    """The hand-made part of a picture of a life.

    `states`: each with what is written in its box, in order; `words`: for every edge what is
    written beside it, in order; `columns`: what is shown besides, with the heading of each.
    """

    name: str
    title: str
    states: Mapping[str, str]
    words: Mapping[tuple[str, str, str], str]
    columns: Mapping[str, str]
    heading: str = "what happens"


@dataclass(frozen=True, slots=True)
class _Row:
    edge: Edge
    words: str
    details: tuple[str, ...]


def draw_life(life: Life, data: Data) -> Picture:
    """Draw what was recorded; raise `Mismatch` unless exactly that has its place and its words."""
    rows = _rows(life, data)
    picture = Picture(life.name, life.title, _describe(life, rows))
    _Rails(life, rows, picture).draw()
    return picture


def _rows(life: Life, data: Data) -> list[_Row]:
    recorded = {Edge(one["from"], one["to"], one["way"]): one for one in data["edges"]}
    placed = [Edge(*one) for one in life.words]
    wrong = [f"{one} is recorded, but has no words" for one in recorded if one not in placed]
    wrong += [f"{one} has words, but is not recorded" for one in placed if one not in recorded]
    states = list(data["states"])
    wrong += [f"{one!r} is recorded, but has no place" for one in states if one not in life.states]
    wrong += [
        f"{one!r} has a place, but is not recorded" for one in life.states if one not in states
    ]
    if wrong:
        raise Mismatch("\n".join([f"the picture {life.name!r} is not what is recorded:", *wrong]))
    rows = []
    for edge, words in zip(placed, life.words.values(), strict=True):
        details = tuple(_shortened(recorded[edge].get(key, "")) for key in life.columns)
        rows.append(_Row(edge, words, details))
    return rows


def _shortened(detail: str) -> str:
    """Cut a long reason short at a word; a text keeps its quotation marks."""
    if len(detail) <= _LONGEST_DETAIL:
        return detail
    end = '"' if detail.endswith('"') else ""
    return detail[: _LONGEST_DETAIL - 2].rpartition(" ")[0] + " …" + end


def _describe(life: Life, rows: Sequence[_Row]) -> str:
    sentences = []
    for row in rows:
        source = life.states.get(row.edge.source, "the beginning")
        details = ", ".join(
            f"{heading} {detail}"
            for heading, detail in zip(life.columns.values(), row.details, strict=True)
            if detail
        )
        more = f" ({details})" if details else ""
        target = life.states[row.edge.target]
        sentences.append(f"From {source} to {target}: {without_backticks(row.words)}{more}.")
    return " ".join(sentences)


class _Rails:
    """Where everything comes to stand."""

    def __init__(self, life: Life, rows: Sequence[_Row], picture: Picture) -> None:
        self.life = life
        self.picture = picture
        self.order = list(life.states)
        self.beginning = [row for row in rows if row.edge.source == BEFORE]
        self.rows = [row for row in rows if row.edge.source != BEFORE]
        self.text_at = _LEFT + _BOX[0] + 2 * _STEM
        self.columns: list[float] = []
        # What has nothing to show besides may be longer, and run into the columns.
        at = self.text_at + max(width_of(row.words) for row in rows if any(row.details)) + 20
        for number, heading in enumerate(life.columns.values()):
            self.columns.append(at)
            widest = max(width_of(f"`{row.details[number]}`") for row in rows)
            at += max(widest, width_of(heading, 12)) + 18
        self.right = at
        # Where the line of a row to another state begins, and at which height, by that state.
        self.starts: dict[tuple[str, float], float] = {}
        self.ends: dict[str, list[float]] = {}
        self.tops: dict[str, float] = {}

    def _next(self, state: str) -> str | None:
        at = self.order.index(state) + 1
        return self.order[at] if at < len(self.order) else None

    def draw(self) -> None:
        middle = _LEFT + _BOX[0] / 2
        y = 24.0
        self.picture.text(self.text_at, y, self.life.heading, "small soft")
        for at, heading in zip(self.columns, self.life.columns.values(), strict=True):
            self.picture.text(at, y, heading, "small soft")
        y += 14
        for row in self.beginning:
            self._write(row, y + 10)
            self.picture.line([(self.text_at - 6, y + 6), (middle, y + 6)], "faint")
            self.picture.line([(middle, y - 6), (middle, y + 34)], arrow=True)
            y += 34
        for state in self.order:
            self.tops[state] = y
            self.picture.box(_LEFT, y, *_BOX)
            self.picture.text(middle, y + 25, self.life.states[state], "strong", anchor="middle")
            y = self._draw_ways(state, y)
        for number, target in enumerate(
            min(permutations(self.ends), key=lambda one: self._crossings(list(one)))
        ):
            self._draw_rail(target, self.right + number * _RAIL)

    def _crossings(self, targets: Sequence[str]) -> int:
        """Count how often lines would cross if the rails stood in this order from the left."""
        count = 0
        for number, outer in enumerate(targets):
            into = self.tops[outer] + _IN
            for inner in targets[:number]:
                heights = [*self.ends[inner], self.tops[inner] + _IN]
                count += sum(
                    min(heights) < height < max(heights) for height in (*self.ends[outer], into)
                )
        return count

    def _draw_rail(self, target: str, rail: float) -> None:
        """Draw a rail, from the rows that run into it to the state where it ends."""
        into, ends = self.tops[target] + _IN, self.ends[target]
        for end in ends:
            along = end + (8 if into > end else -8)
            self.picture.line([(self.starts[target, end], end), (rail, end), (rail, along)])
        box = _LEFT + _BOX[0]
        for part in ([one for one in ends if one < into], [one for one in ends if one > into]):
            if part:
                far = max(part, key=lambda one: abs(one - into))
                begin = far + (6 if far < into else -6)
                self.picture.line([(rail, begin), (rail, into), (box, into)], arrow=True)

    def _draw_ways(self, state: str, top: float) -> float:
        """Draw what leads out of a state, whose box is at `top`; return where the next begins."""
        mine = [row for row in self.rows if row.edge.source == state]
        side = [row for row in mine if row.edge.target != self._next(state)]
        down = [row for row in mine if row.edge.target == self._next(state)]
        edge, stem, start = _LEFT + _BOX[0], _LEFT + _BOX[0] + _STEM, self.text_at - 6
        y = top + _OUT
        for row in side:
            here = y
            self.picture.line([(edge, top + _OUT), (stem, top + _OUT), (stem, here), (start, here)])
            end = self._write(row, here + 4)
            self.ends.setdefault(row.edge.target, []).append(here)
            self.starts[row.edge.target, here] = end + 8
            y += _ROW
        bottom = max(top + _BOX[1], y - _ROW + 8 if side else 0)
        if not down:
            return bottom + _GAP + 4
        middle = _LEFT + _BOX[0] / 2
        y = bottom + 16
        for row in down:
            self._write(row, y + 4)
            self.picture.line([(self.text_at - 6, y), (middle, y)], "faint")
            y += _ROW
        below = y - _ROW + _GAP + 2
        self.picture.line([(middle, top + _BOX[1]), (middle, below)], arrow=True)
        return below

    def _write(self, row: _Row, y: float) -> float:
        """Write what happens, and what is shown of it; return where that ends."""
        end = self.picture.text(self.text_at, y, row.words)
        for at, detail in zip(self.columns, row.details, strict=True):
            if detail:
                end = self.picture.text(at, y, f"`{detail}`", "soft")
        return end
