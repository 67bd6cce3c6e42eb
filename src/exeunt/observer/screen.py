"""The observer's screen in a terminal, drawn with Rich: curves, the tree, and what went wrong last.

Rich is in the extra `observer`; only this module and what imports it need it.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, Final

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from exeunt.observer.naming import Name
from exeunt.observer.view import Line, View, age_of, short, sparkline, title_of

COLOURS: Final[Mapping[str, str]] = {
    "running": "blue",
    "waiting": "green",
    "suspended": "yellow",
    "restarting": "bright_red",
    "exiting": "bright_red",
    "stopped": "bright_black",
    "dead": "bright_black",
    "zombie": "magenta",
}

FLASH_SECONDS: Final = 2.0

NARROW: Final = 100
MEDIUM: Final = 120
WIDE: Final = 160
"""Columns from which more is shown of each process."""

_ABOVE = 4  # lines above the tree: the title, the curves, an empty one, the head of the table
_BELOW = 3  # lines below it


class Screen:
    """What is shown, which part of the tree, and which line is chosen."""

    def __init__(self) -> None:
        self.cursor = 0
        self.top = 0
        # The tree, or who is connected and what has crashed.
        self.shows_tree = True
        self.note = ""
        self.status = "connecting"
        self._pids: dict[str, str] = {}
        self._flashes: dict[str, float] = {}
        # Keys whose children are hidden, and those that were hidden or not as they came.
        self._folded: set[str] = set()
        self._known: set[str] = set()

    def begin(self) -> None:
        """Take what comes next for no news."""
        self._pids.clear()
        self._flashes.clear()

    def chosen(self, view: View) -> Line | None:
        """Return the line that the cursor is on."""
        lines = self._lines(view) if view.picture else []
        return lines[self.cursor] if self.cursor < len(lines) else None

    def move(self, view: View, steps: int) -> None:
        """Move the cursor, within the tree."""
        count = len(self._lines(view)) if view.picture else 1
        self.cursor = max(0, min(self.cursor + steps, count - 1))

    def fold(self, view: View, *, is_folded: bool) -> None:
        """Hide what is below the chosen line, or show it."""
        chosen = self.chosen(view)
        if chosen is not None and is_folded:
            self._folded.add(chosen.key)
        elif chosen is not None:
            self._folded.discard(chosen.key)

    def show(self, view: View, pid: str) -> bool:
        """Move the cursor to a process, unfolding what is above it; False if it has no line."""
        processes = view.picture["process"]
        above = {child: key for key, row in processes.items() for child in row["children"]}
        key = next((key for key, row in processes.items() if row["pid"] == pid), None)
        if key is None:
            return False
        self._lines(view)  # so that what comes folded is known, and can be unfolded
        parent = above.get(key)
        while parent is not None:
            self._folded.discard(parent)
            parent = above.get(parent)
        for index, line in enumerate(self._lines(view)):
            if line.key == key:
                self.cursor = index
                return True
        return False

    def draw(self, view: View, width: int, height: int) -> RenderableType:
        """Return the whole screen."""
        title = Text(" exeunt observer ", style="bold reverse")
        if not view.picture:
            return Group(title, Text(f" {self.status}"), Text(f" {self.note}", style="red"))
        self._note_restarts(view)
        title.append(f" node {view.node['number']}  {self.status}", style="not reverse not bold")
        if not self.shows_tree:
            room = height - _ABOVE - 1
            return Group(title, self._curves(view, width), *_clients(view, room))
        lines = self._lines(view)
        room = max(1, height - _ABOVE - _BELOW)
        self.cursor = min(self.cursor, len(lines) - 1)
        self.top = max(min(self.top, self.cursor), self.cursor - room + 1, 0)
        tree = self._tree(view, lines[self.top : self.top + room], width)
        return Group(title, self._curves(view, width), Text(), tree, *self._foot(view, lines, room))

    def draw_all(self, view: View, width: int) -> RenderableType:
        """Return everything there is, however long."""
        tree = self._tree(view, self._lines(view), width, None)
        return Group(self._curves(view, width), Text(), tree, *_clients(view, None))

    # ---------------------------------------------------------------------------------------------

    def _lines(self, view: View) -> list[Line]:
        # What belongs to the observer itself comes folded.
        for key, row in view.picture["process"].items():
            if key not in self._known and row["is_own"] and row["kind"] == "supervisor":
                self._folded.add(key)
        self._known = set(view.picture["process"])
        return view.lines(self._folded)

    def _note_restarts(self, view: View) -> None:
        now = time.monotonic()
        for key, row in view.picture["process"].items():
            before = self._pids.get(key)
            if before and row["pid"] and before != row["pid"]:
                self._flashes[key] = now + FLASH_SECONDS
            if row["pid"]:
                self._pids[key] = row["pid"]
        self._flashes = {key: until for key, until in self._flashes.items() if until > now}
        if len(self._pids) > 2 * len(view.picture["process"]) + 100:
            self._pids = {key: row["pid"] for key, row in view.picture["process"].items()}

    def _curves(self, view: View, width: int) -> Text:
        node = view.node
        each = max(8, width // 3 - 26)
        text = Text()
        for name, value, index, least in (
            ("processes", f"{node['processes']}", 1, 4.0),
            ("messages/s", f"{node['messages']:g}", 2, 4.0),
            ("lag", f"{node['lag'] * 1000:.1f} ms", 3, 0.005),
        ):
            text.append(f" {name} ", style="bright_black")
            text.append(f"{value} ", style="bold")
            text.append(sparkline(view.curve(index), each, least), style="cyan")
        text.truncate(width)
        return text

    def _tree(self, view: View, lines: list[Line], width: int, at: int | None = -1) -> Table:
        table = Table(box=None, padding=(0, 1, 0, 0), expand=True, header_style="dim")
        table.add_column(" process", ratio=3, no_wrap=True, overflow="ellipsis")
        table.add_column("state", width=10, no_wrap=True)
        for name, size in (("mbox", 6), ("msg/s", 6), *_peers(width), ("rest", 6)):
            table.add_column(name, justify="right", width=size, no_wrap=True)
        table.add_column("uptime", justify="right", width=9, no_wrap=True)
        if width >= MEDIUM:
            table.add_column("current line", ratio=2, no_wrap=True, overflow="ellipsis")
        if width >= WIDE:
            table.add_column("last crash", ratio=1, no_wrap=True, overflow="ellipsis")
        for number, line in enumerate(lines):
            is_chosen = at is not None and self.top + number == self.cursor
            cells = self._cells(line, view.node["now"], width)
            style = "reverse" if is_chosen else "on yellow" if line.key in self._flashes else ""
            table.add_row(*cells, style=style)
        return table

    def _cells(self, line: Line, now: float, width: int) -> list[RenderableType]:
        row = line.row
        if row is None:
            more = Text(" ").append(line.guides, style="bright_black")
            return [more.append(f"and {line.more:,} more", style="italic")]
        colour = COLOURS.get(row["status"], "white")
        process = Text(" ").append(line.guides, style="bright_black")
        process.append("■ " if row["kind"] == "supervisor" else "● ", style=colour)
        title = title_of(row)
        name = f"{title} ▸" if line.is_folded else title
        label = "" if row["label"] == title else row["label"]
        style = "dim" if row["is_own"] else "bold"
        cells: list[RenderableType] = [
            Name(process, name, style, label, row["pid"]),
            Text(row["status"], style=colour),
        ]
        peers = [name for name, _ in _peers(width)]
        counts = ["mailbox", "rate", *peers, "restarts"]
        counts = ["monitors" if name == "mon" else name for name in counts]
        cells += [Text(short(row[name]), style="" if row[name] else "dim") for name in counts]
        cells.append(Text(age_of(row, now)))
        if width >= MEDIUM:
            cells.append(Text(row["line"], style="dim"))
        if width >= WIDE:
            cells.append(Text(row["crash"], style="red"))
        return cells

    def _foot(self, view: View, lines: list[Line], room: int) -> list[Text]:
        node = view.node
        chosen = lines[self.cursor].row if lines else None
        about = ""
        if chosen is not None:
            crash = f"; last crash: {chosen['crash']}" if chosen["crash"] else ""
            peers = f"{_some(chosen['links'], 'link')}, {_some(chosen['monitors'], 'monitor')}"
            about = f"{chosen['pid']} {chosen['line']}; {peers}{crash}"
        sockets, topics = view.picture["socket"], view.picture["topic"]
        crashes: list[Mapping[str, Any]] = list(view.picture["crash"].values())
        last = f", the last: {_whose(crashes[-1])} {crashes[-1]['reason']}" if crashes else ""
        members = f" ({_members(topics)})" if topics else ""
        totals = (
            f"{_some(len(sockets), 'socket')}, {_some(node['topics'], 'topic')}{members}, "
            f"{_some(node['restarts'], 'restart')}, {_some(node['crashes'], 'crash', 'crashes')}"
            f"{last}"
        )
        keys = "arrows move and fold, / finds, tab: sockets, topics, crashes, "
        keys += "k kills, q ends" if view.allows_kill else "q ends"
        shown = f" {self.note or keys}"
        if len(lines) > room:
            shown += f"  {self.top + 1}-{min(self.top + room, len(lines))} of {len(lines)}"
        texts = [
            Text(f" {about}", style="dim"),
            Text(f" {totals}"),
            Text(shown, style="bold yellow" if self.note else "bright_black"),
        ]
        for text in texts:
            text.no_wrap = True
            text.overflow = "ellipsis"
        return texts


def _clients(view: View, room: int | None) -> list[Text]:
    """List sockets, topics with their members, and crashes; `room` lines are there for all."""
    sections: list[tuple[str, list[str]]] = [
        ("Sockets", [_socket(one) for one in view.picture["socket"].values()]),
        ("Topics", [_topic(one) for one in view.picture["topic"].values()]),
        ("Long mailboxes", [_mailbox(one) for one in _longest(view)]),
        ("Crashes", [_crash(one) for one in reversed(view.picture["crash"].values())]),
    ]
    lengths = [max(1, len(rows)) for _, rows in sections]
    shares = lengths if room is None else _shares(lengths, room - 2 * len(sections))
    texts: list[Text] = []
    for (name, rows), share in zip(sections, shares, strict=True):
        texts += [Text(), Text(f" {name} ({len(rows)})", style="bold")]
        left = len(rows) - share
        shown = rows if left <= 0 else [*rows[: share - 1], f"and {left + 1:,} more"]
        texts += [Text(f"   {row}") for row in shown or ["none"]]
    for text in texts:
        text.no_wrap = True
        text.overflow = "ellipsis"
    return texts


def _shares(lengths: list[int], room: int) -> list[int]:
    """Share lines out: nobody gets more than asked for, and who asks for little gets all of it."""
    shares = [0] * len(lengths)
    order = sorted(range(len(lengths)), key=lengths.__getitem__)
    for place, index in enumerate(order):
        fair = (room - sum(shares)) // (len(order) - place)
        shares[index] = max(1, min(lengths[index], fair))
    return shares


def _peers(width: int) -> tuple[tuple[str, int], ...]:
    """Return the columns that a narrow screen has no room for; its foot tells them of one row."""
    return () if width < NARROW else (("links", 6), ("mon", 6))


def _some(count: int, one: str, several: str = "") -> str:
    return f"{count:,} {one if count == 1 else several or one + 's'}"


def _whose(row: Mapping[str, Any]) -> str:
    name: str = row["name"] or row["label"]
    return name


def _longest(view: View) -> list[Mapping[str, Any]]:
    return sorted(view.picture.get("mailbox", {}).values(), key=lambda one: -one["mailbox"])


def _mailbox(row: Mapping[str, Any]) -> str:
    return f"{row['pid']} {_whose(row)}: {row['mailbox']:,}"


def _socket(row: Mapping[str, Any]) -> str:
    topics = ", ".join(row["topics"]) or "has joined nothing"
    return f"{row['pid']} {row['socket']} {row['id']} by {row['transport']}: {topics}"


def _topic(row: Mapping[str, Any]) -> str:
    members = ", ".join(f"{id or label} {pid}" for pid, label, id in row["members"])
    left = row["member_count"] - len(row["members"])
    more = f" and {left:,} more" if left else ""
    return f"{row['topic']} ({row['member_count']:,}): {members}{more}"


def _crash(row: Mapping[str, Any]) -> str:
    at = time.strftime("%H:%M:%S", time.localtime(row["at"]))
    where = f" in {row['where']}" if row["where"] else ""
    return f"{at} {row['pid']} {_whose(row)}: {row['reason']}{where}"


def _members(topics: Mapping[str, Mapping[str, Any]]) -> str:
    largest = sorted(topics.values(), key=lambda one: -one["member_count"])[:3]
    return ", ".join(f"{one['topic']} {one['member_count']}" for one in largest) or "none"


__all__ = ["Screen"]
