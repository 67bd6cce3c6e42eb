"""Scanning: one look in passing at every process of a node, however many there are.

It finds out who was spawned by whom and is supervised by nobody, which nothing but a look at all of
them can tell; on the way it has the messages of each counted. All else of a picture is made for
those alone that are shown.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from heapq import heappush, heappushpop
from typing import Final, TypeAlias

from exeunt.channels.endpoint import Endpoint
from exeunt.channels.pubsub import PubSub
from exeunt.kernel.ids import Pid
from exeunt.kernel.node import Node
from exeunt.kernel.process import Process
from exeunt.observer.births import Births
from exeunt.observer.counting import Meter
from exeunt.observer.ledger import Ledger
from exeunt.observer.looking import Family, Ids, family_of
from exeunt.observer.rows import Extent

STEP: Final = 250
"""After how many processes that are looked at in passing the others run."""

MANY_MESSAGES: Final = 10
"""From how many messages that wait a mailbox is a long one: a few come and go all the time."""

MOST_MAILBOXES: Final = 8
"""How many long mailboxes are listed."""

Rest: TypeAlias = Callable[[], Awaitable[None]]
"""What is awaited between two steps: trio's checkpoint."""


@dataclass(frozen=True, slots=True)
class Sources:
    """What a picture is made from, besides the node itself."""

    meter: Meter
    ledger: Ledger
    births: Births
    hubs: tuple[PubSub, ...] = ()
    own: Pid | None = None
    ids: Ids = field(default_factory=Ids)


class Spawned:
    """Who was spawned by whom and is supervised by nobody: how many, and the first of them.

    Kept in a few flat tables and not in a list for each: tens of thousands of lists, made twice
    a second, would have Python's garbage collector look through the whole program.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._counts: dict[Pid | None, int] = {}
        self._first: dict[Pid | None, Process] = {}
        self._last: dict[Pid | None, Process] = {}
        self._next: dict[Pid, Process] = {}

    def add(self, parent: Pid | None, process: Process) -> None:
        """Add a process below its parent, or below nobody."""
        count = self._counts[parent] = self._counts.get(parent, 0) + 1
        if count > self._most:
            return
        if count == 1:
            self._first[parent] = process
        else:
            self._next[self._last[parent].pid] = process
        self._last[parent] = process

    def count(self, parent: Pid | None) -> int:
        """Return how many there are below a process."""
        return self._counts.get(parent, 0)

    def first(self, parent: Pid | None, most: int) -> list[Process]:
        """Return the first of them."""
        found: list[Process] = []
        process = self._first.get(parent)
        while process is not None and len(found) < most:
            found.append(process)
            process = self._next.get(process.pid)
        return found


class Scan:
    """What one look in passing at every process has found."""

    def __init__(self, most: int) -> None:
        self.spawned = Spawned(most)
        self.families: dict[Pid, Family | None] = {}
        self.endpoints: list[Process] = []
        self.own: set[Pid] = set()
        self.count = 0
        # A heap of the longest mailboxes; of equal ones the older process comes first.
        self._mailboxes: list[tuple[int, int, Process]] = []

    def note_mailbox(self, process: Process) -> None:
        """Note a process if its mailbox is one of the longest."""
        length = len(process.mailbox.messages)
        if length < MANY_MESSAGES:
            return
        entry = (length, -process.pid.number, process)
        if len(self._mailboxes) < MOST_MAILBOXES:
            heappush(self._mailboxes, entry)
        else:
            heappushpop(self._mailboxes, entry)

    def longest_mailboxes(self) -> list[tuple[int, Process]]:
        """Return those with the longest mailboxes, the longest first."""
        return [(length, process) for length, _, process in sorted(self._mailboxes, reverse=True)]

    def family_of(self, process: Process) -> Family | None:
        """Return the children of a supervisor, looked up once."""
        try:
            return self.families[process.pid]
        except KeyError:
            family = self.families[process.pid] = family_of(process)
            if family is not None and isinstance(family.server, Endpoint):
                self.endpoints.append(process)
            return family

    def is_supervised(self, process: Process, parent: Process | None) -> bool:
        """Tell whether a process is shown as some supervisor's child."""
        if parent is not None:
            family = self.family_of(parent)
            if family is not None and process.pid in family:
                return True
        # A supervisor is linked to its children, wherever they were spawned.
        for number, peer in enumerate(process.links or ()):
            if number == 32:
                break
            if peer is not parent and isinstance(peer, Process):
                family = self.family_of(peer)
                if family is not None and process.pid in family:
                    return True
        return False


async def scan(node: Node, sources: Sources, extent: Extent, rest: Rest) -> Scan:
    """Look at all processes of a node, `STEP` of them at a time."""
    found = Scan(extent.children)
    everybody = [*node.processes.values(), *node.zombies.values()]
    for number, process in enumerate(everybody, start=1):
        if number % STEP == 0:
            await rest()
        if process.status == "dead" and process.pid not in node.zombies:
            continue
        parent = None if process.parent is None else process.parent._process
        if process.pid is sources.own or process.parent in found.own:
            found.own.add(process.pid)
        else:
            found.count += 1
            found.note_mailbox(process)
            sources.meter.install(process)
        if process is node.main or found.is_supervised(process, parent):
            continue
        found.spawned.add(None if parent is None else parent.pid, process)
    return found
