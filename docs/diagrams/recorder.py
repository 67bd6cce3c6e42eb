"""What is noted of a life: the states that it went through, and what led from each to the next.

A *way* is what somebody did. The step that follows is put down to it; the steps after that one
happen of themselves, and have no way.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Hashable, Iterable
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import trio

from exeunt import Crash, Reason, Shutdown
from exeunt.kernel.ids import Pid

BEFORE: Final = ""
"""Where a life comes from: the state before the first one."""

BY_ITSELF: Final = ""
"""The way of a step that nobody caused at that moment."""

Data: TypeAlias = dict[str, Any]


class Mismatch(Exception):
    """What is recorded is not what is expected; the message lists the differences."""


@dataclass(frozen=True, slots=True, order=True)
class Edge:
    """A step from one state to another, and the way that caused it."""

    source: str
    target: str
    way: str


class Recorder:
    """Notes the steps of those who are followed."""

    def __init__(self) -> None:
        self.edges: dict[Edge, dict[str, str]] = {}
        self._at: dict[Hashable, str] = {}
        self._last: dict[Hashable, Edge] = {}
        # The ways that have begun, by the state from which they lead; None: from any.
        self._ways: dict[str | None, str] = {}
        # What was wrong, noted where an exception would be lost.
        self._wrong: list[str] = []

    def begin(self, way: str, *, at: str | None = None) -> None:
        """Put the next step of anybody down to this way; with `at`, the next from that state."""
        self._ways[at] = way

    def check_seen(self) -> None:
        """Raise `Mismatch` if a way has begun and nobody has taken a step since."""
        if self._ways:
            raise Mismatch(f"{list(self._ways.values())} led to no step")

    async def until_seen(self) -> None:
        """Wait until a step was put down to every way that has begun."""
        await eventually(lambda: not self._ways)

    def enter(self, who: Hashable, state: str, **shown: str) -> None:
        """Note that somebody is in another state now."""
        source = self._at.get(who, BEFORE)
        way = self._ways.pop(source, None) or self._ways.pop(None, BY_ITSELF)
        edge = Edge(source, state, way)
        self._at[who] = state
        self.edges.setdefault(edge, {})
        if way != BY_ITSELF:
            self._last[who] = edge
            self.add(who, **shown)

    def add(self, who: Hashable, **shown: str) -> None:
        """Note more of the last step of somebody that had a way."""
        edge = self._last.get(who)
        if edge is None:
            return
        for key, value in shown.items():
            before = self.edges[edge].setdefault(key, value)
            if before != value:
                self._wrong.append(f"{edge} shows {key} as {before!r}, and then as {value!r}")

    def state_of(self, who: Hashable) -> str:
        """Return where somebody is now."""
        return self._at.get(who, BEFORE)

    async def until(self, who: Hashable, *states: str) -> None:
        """Wait until somebody is in one of these states."""
        await eventually(lambda: self._at.get(who) in states)

    def data(self, states: Iterable[str]) -> Data:
        """Return what was noted.

        Raises `Mismatch` if it was in other states than these, or one step was seen in two ways.
        """
        if self._wrong:
            raise Mismatch("\n".join(self._wrong))
        expected = list(states)
        seen = {one.source for one in self.edges} | {one.target for one in self.edges}
        if seen - {BEFORE} != set(expected):
            raise Mismatch(f"the states are {expected}, but {sorted(seen - {BEFORE})} were seen")
        edges = [
            {"from": one.source, "to": one.target, "way": one.way, **self.edges[one]}
            for one in sorted(self.edges)
        ]
        return {"states": expected, "edges": edges}


async def eventually(is_so: Callable[[], bool]) -> None:
    """Wait until something is so; not for ever."""
    with trio.fail_after(15):
        while not is_so():  # noqa: ASYNC110 - nobody tells of it
            await trio.sleep(0.001)


@contextmanager
def replaced(owner: object, **attributes: object) -> Generator[None]:
    """Have other attributes in a class or module, for as long as the block runs."""
    before = {name: vars(owner)[name] for name in attributes}
    for name, value in attributes.items():
        setattr(owner, name, value)
    try:
        yield
    finally:
        for name, value in before.items():
            setattr(owner, name, value)


@contextmanager
def watched_slot(kind: type[Any], name: str, note: Callable[[Any, Any], None]) -> Generator[None]:
    """Have `note(instance, value)` called whenever this slot of a class has been set."""
    slot = vars(kind)[name]

    def put(instance: Any, value: Any) -> None:
        slot.__set__(instance, value)
        note(instance, value)

    with replaced(kind, **{name: property(slot.__get__, put)}):
        yield


def shown_reason(reason: Reason) -> str:
    """Write an exit reason as it is written in code, without what differs from run to run."""
    match reason:
        case Crash(exception=error):
            return f"Crash({type(error).__name__})"
        case Shutdown(detail=(str(what), _)) | Shutdown(detail=str(what)):
            return (
                f'Shutdown("{what}")'
                if isinstance(reason.detail, str)
                else f"Shutdown(({what!r}, …))".replace("'", '"')
            )
        case str(text):
            return f'"{text}"'
        case Pid():
            raise TypeError("a pid differs from run to run")
        case _:
            return repr(reason)
