"""The rows of a picture: what is told of a process, and of the node as a whole.

Plain data that JSON can carry; `record` writes a row as JSON has it.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from exeunt.observer.clients import MOST_SOCKETS, MOST_TOPICS
from exeunt.otp.supervision import ChildType, RestartType
from exeunt.otp.tree import BranchStatus

MOST_CHILDREN: Final = 50
"""How many are shown below one process, unless told otherwise."""

MOST_PROCESSES: Final = 1500
"""How many are shown in all, unless told otherwise."""

Record: TypeAlias = "dict[str, Any]"
"""A row as JSON has it: its fields by their names."""


@dataclass(frozen=True, slots=True)
class Extent:
    """How much of a node is shown."""

    children: int = MOST_CHILDREN
    processes: int = MOST_PROCESSES
    sockets: int = MOST_SOCKETS
    topics: int = MOST_TOPICS

    def __post_init__(self) -> None:
        for name in ("children", "processes", "sockets", "topics"):
            if getattr(self, name) < 1:
                raise ValueError(f"an observer shows at least one of the {name}")


@dataclass(frozen=True, slots=True)
class ProcessRow:
    """A process, or a child that does not run, in the tree.

    `children` are the keys of those below it that are shown, `more` says how many are not. The key
    of a supervisor's child is made of its id, and stays when it is restarted. `rate` is in messages
    a second; `since` in seconds of the node's clock, and `is_older` says that it was there before
    anybody looked.
    """

    pid: str
    id: str
    name: str
    label: str
    kind: ChildType
    restart: RestartType | None
    status: BranchStatus
    is_own: bool
    mailbox: int
    rate: float
    links: int
    monitors: int
    restarts: int
    crash: str
    line: str
    since: float
    is_older: bool
    children: tuple[str, ...]
    more: int


@dataclass(frozen=True, slots=True)
class MailboxRow:
    """A process with many messages waiting, shown in the tree or not."""

    pid: str
    name: str
    label: str
    mailbox: int


@dataclass(frozen=True, slots=True)
class NodeRow:
    """The node as a whole, at the time `now` of its clock.

    The processes of the observer are not counted. `connections` are those of TCP, whether a client
    was let in or not. `lag` is the longest time, in seconds, by which something ran too late.
    """

    number: int
    now: float
    processes: int
    zombies: int
    messages: float
    lag: float
    connections: int
    topics: int
    crashes: int
    restarts: int
    roots: tuple[str, ...]
    more_roots: int


def record(row: object) -> Record:
    """Return a row as JSON has it."""
    return {one: _plain(getattr(row, one)) for one in _fields(type(row))}


def _plain(value: Any) -> Any:
    return [_plain(one) for one in value] if isinstance(value, tuple) else value


_names: dict[type, tuple[str, ...]] = {}


def _fields(kind: Any) -> tuple[str, ...]:
    if kind not in _names:
        _names[kind] = tuple(one.name for one in dataclasses.fields(kind))
    return _names[kind]
