"""All pictures: what is recorded for them, what is kept of it, and how each is drawn."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from docs.diagrams import connections, joins, links, polling, processes, rooms, strategies, trees
from docs.diagrams.lives import LIVES
from docs.diagrams.rails import draw_life
from docs.diagrams.recorder import Data
from docs.diagrams.small import LINK_TITLES, draw_links, draw_rooms, draw_strategies
from docs.diagrams.svg import Picture
from docs.diagrams.tree_picture import TREES, draw_tree

RECORDED: Final = Path(__file__).parent / "recorded.json"
IMAGES: Final = Path(__file__).parents[1] / "images" / "diagrams"

RECORDERS: Final[dict[str, Callable[[], Data]]] = {
    "process": processes.record,
    "connection": connections.record,
    "polling": polling.record,
    "join": joins.record,
    "trees": trees.record,
    "strategies": strategies.record,
    "links": links.record,
    "rooms": rooms.record,
}


def record() -> Data:
    """Record everything anew."""
    return {name: recorder() for name, recorder in RECORDERS.items()}


def kept() -> Data:
    """Return what was recorded when the pictures were drawn."""
    data: Data = json.loads(RECORDED.read_text(encoding="utf-8"))
    return data


def pictures(data: Data) -> Iterator[Picture]:
    """Draw every picture from what was recorded."""
    for name, life in LIVES.items():
        yield draw_life(life, data[name])
    for name in TREES:
        yield draw_tree(name, data["trees"])
    yield draw_strategies(data["strategies"])
    for name in LINK_TITLES:
        yield draw_links(name, data["links"])
    yield draw_rooms(data["rooms"])


def write(data: Data) -> list[Path]:
    """Draw every picture, then keep them and what they are drawn from; return the files."""
    drawn = {IMAGES / f"{one.name}.svg": one.render() for one in pictures(data)}
    IMAGES.mkdir(parents=True, exist_ok=True)
    for path in IMAGES.glob("*.svg"):
        if path not in drawn:
            path.unlink()
    for path, text in drawn.items():
        path.write_text(text, encoding="utf-8")
    lines = json.dumps(data, indent=1, ensure_ascii=False, sort_keys=True)
    RECORDED.write_text(lines + "\n", encoding="utf-8")
    return [*drawn]
