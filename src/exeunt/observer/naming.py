"""What a process is called, in a cell of the terminal: what tells it from others is cut last.

Of `RoomChannel 'room:lobby' <0.20>` it is the topic, and the class is cut before it. Rich would cut
at the end, where the key stands, and the pid.
"""

from __future__ import annotations

from typing import Final

from rich.cells import cell_len, set_cell_size
from rich.console import Console, ConsoleOptions, RenderResult
from rich.measure import Measurement
from rich.text import Text

_LEAST: Final = 3  # columns that are left of a class
_LABEL: Final = 20  # columns of a label for which a pid makes room, since others tell it too


class Name:
    """A cell: what stands before a name, the name, what more there is to it, and the pid."""

    def __init__(self, before: Text, title: str, style: str, label: str, pid: str) -> None:
        self._before = before
        self._title = title
        self._style = style
        self._label = label
        self._pid = pid

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Write it in as many columns as there are."""
        yield self.within(options.max_width)

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        """Ask for as many columns as it has."""
        return Measurement(1, max(1, min(options.max_width, self.within(10_000).cell_len)))

    def within(self, room: int) -> Text:
        """Return it in so many columns: the pid goes first, then the label, then the class."""
        text = self._before.copy()
        left = room - text.cell_len
        needed = cell_len(self._title) + min(_LABEL, cell_len(self._label) + 1)
        pid = f" {self._pid}" if self._pid else ""
        if needed + cell_len(pid) > left:
            pid = ""
        left -= cell_len(pid)
        text.append(title := fitted(self._title, left), style=self._style)
        left -= cell_len(title) + 1
        if self._label and left > _LEAST:
            text.append(f" {fitted(self._label, left)}", style="bright_black")
        text.append(pid, style="bright_black")
        text.no_wrap = True
        text.overflow = "ellipsis"
        return text


def fitted(name: str, room: int) -> str:
    """Return a name in `room` columns: of a class with a key the class is cut first."""
    if cell_len(name) <= room:
        return name
    kind, space, key = name.partition(" ")
    if not space or not kind.isprintable() or "'" in kind or '"' in kind:
        return _cut(name, room)
    left = max(_LEAST, room - cell_len(key) - 1)
    return _cut(f"{_cut(kind, left)} {key}", room)


def _cut(text: str, room: int) -> str:
    if cell_len(text) <= room:
        return text
    return f"{set_cell_size(text, room - 1).rstrip()}…" if room > 0 else ""


__all__ = ["Name", "fitted"]
