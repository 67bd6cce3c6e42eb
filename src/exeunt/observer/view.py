"""What a viewer in Python keeps: the picture as it is now, the curves, and the tree as lines.

    view = View()
    view.begin(response)                 # what the join of `observer:node` was answered with
    view.take(payload)                   # each event `changed`

Plain data and functions.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Container, Mapping
from dataclasses import dataclass
from typing import Any, Final

from exeunt.observer.differences import applied

POINTS: Final = 240

_BLOCKS: Final = "▁▂▃▄▅▆▇█"


@dataclass(frozen=True, slots=True)
class Line:
    """A line of the tree: the lines to its left, and its row; or how many are left out."""

    key: str
    guides: str
    row: Mapping[str, Any] | None
    more: int = 0
    is_folded: bool = False


class View:
    """The picture of a node, as somebody sees it who watches."""

    def __init__(self) -> None:
        self.version = -1
        self.picture: dict[str, dict[str, dict[str, Any]]] = {}
        self.history: deque[list[float]] = deque(maxlen=POINTS)
        self.allows_kill = False

    @property
    def node(self) -> Mapping[str, Any]:
        """The row of the node as a whole."""
        return self.picture["node"]["node"]

    def begin(self, response: Mapping[str, Any]) -> None:
        """Take a whole picture."""
        self.version = response["version"]
        self.picture = response["picture"]
        self.history.clear()
        self.history.extend(response["history"])
        self.allows_kill = response["allow_kill"]

    def take(self, payload: Mapping[str, Any]) -> bool:
        """Take a change; False if one before it is missing, and a whole picture is needed."""
        version: int = payload["version"]
        if version <= self.version:
            return True
        if version != self.version + 1:
            return False
        self.version = version
        self.picture = applied(self.picture, payload["change"])
        node = self.node
        self.history.append([node["now"], node["processes"], node["messages"], node["lag"]])
        return True

    def curve(self, index: int) -> list[float]:
        """Return the points of a curve: 1 processes, 2 messages a second, 3 loop lag."""
        return [point[index] for point in self.history]

    def lines(self, folded: Container[str] = ()) -> list[Line]:
        """Return the tree, from the top down, without what is below the keys that are folded."""
        processes = self.picture["process"]
        found: list[Line] = []
        roots = self.node["roots"]
        # What is still to be written: the text before it, that before those below it, and its key.
        waiting: list[tuple[str, str, str, int]] = []
        if self.node["more_roots"]:
            waiting.append(("", "", "", self.node["more_roots"]))
        waiting += [("", "", key, 0) for key in reversed(roots)]
        while waiting:
            before, below, key, more = waiting.pop()
            row = processes.get(key)
            if row is None:
                if more:
                    found.append(Line(f"{below}/more", before, None, more))
                continue
            has_any = bool(row["children"] or row["more"])
            is_folded = has_any and key in folded
            found.append(Line(key, before, row, is_folded=is_folded))
            if is_folded:
                continue
            children = [(child, 0) for child in row["children"]]
            if row["more"]:
                children.append(("", row["more"]))
            for number, (child, count) in enumerate(reversed(children)):
                corner, line = ("└─ ", "   ") if number == 0 else ("├─ ", "│  ")
                waiting.append((below + corner, below + line, child, count))
        return found


def title_of(row: Mapping[str, Any]) -> str:
    """Return what a process is shown as.

    An id that is but the class of a label with a key, as in `Room 'hall'`, says less than that.
    """
    id: str = row["id"]
    label: str = row["label"]
    if id and label.startswith(f"{id} "):
        return label
    return id or row["name"] or label or "(not running)"


def sparkline(points: list[float], width: int, least: float) -> str:
    """Draw the last points as blocks of eight heights; what is highest fills the line's height."""
    shown = points[-width:]
    highest = max([least, *shown])
    return "".join(
        _BLOCKS[min(len(_BLOCKS) - 1, int(one / highest * len(_BLOCKS)))] for one in shown
    )


def short(value: float) -> str:
    """Write a number in at most six characters, below a thousand million."""
    for limit, unit, name in ((1000, 1, ""), (10_000, 1, ""), (1e6, 1e3, "k"), (1e9, 1e6, "M")):
        if value < limit:
            digits = 1 if limit in (1000, 1e9) else 0
            return f"{value / unit:.{digits}f}".removesuffix(".0") + name
    return f"{value:.0e}"


def duration(seconds: float) -> str:
    """Write a time in its largest unit."""
    for limit, unit, name in ((120, 1, "s"), (7200, 60, "min"), (172_800, 3600, "h")):
        if seconds < limit:
            return f"{int(seconds // unit)} {name}"
    return f"{int(seconds // 86_400)} d"


def age_of(row: Mapping[str, Any], now: float) -> str:
    """Write how long a process has been there; nothing if the child does not run."""
    if not row["pid"] or not row["since"]:
        return ""
    age = duration(max(0.0, now - row["since"]))
    return f"> {age}" if row["is_older"] else age


__all__ = ["Line", "View", "age_of", "duration", "short", "sparkline", "title_of"]
