"""Counting the messages of processes, at no cost while nobody wants to know.

A mailbox does not count what is put into it, and must not: that is the busiest line of the kernel.
So while somebody watches, each mailbox is made one of a class that counts, and that is otherwise
the same. When nobody watches any more, a mailbox goes back to its own class with the next message.

What is counted are the messages that reach a mailbox: casts, calls, plain ones, those of links and
monitors. The answer to a call goes to the task that waits for it, and is none.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from exeunt.kernel.events import Spawned
from exeunt.kernel.mailbox import BoundedMailbox, Mailbox
from exeunt.kernel.node import Node
from exeunt.kernel.process import Process

if TYPE_CHECKING:
    from typing import Any


class Meter:
    """The counts of one node, for all who watch it."""

    def __init__(self) -> None:
        self.total = 0
        # By mailbox; those of processes that have ended go when there are too many of them.
        self._counts: dict[Mailbox, int] = {}
        self._users = 0
        self._unsubscribe: Callable[[], None] | None = None
        self._kinds: dict[type[Mailbox], type[Mailbox]] = {}
        for kind in (Mailbox, BoundedMailbox):
            self._kinds[kind] = _counting(kind, self)

    @property
    def is_on(self) -> bool:
        """Whether anybody wants to know."""
        return self._users > 0

    def start(self, node: Node) -> None:
        """Count from now on; processes that run already once they are given to `install`."""
        self._users += 1
        if self._users == 1:
            self._unsubscribe = node.events.subscribe(self._spawned, Spawned)

    def stop(self) -> None:
        """Count no more, unless somebody else still wants to know."""
        self._users -= 1
        if self._users == 0 and self._unsubscribe is not None:
            self._unsubscribe()
            self._unsubscribe = None
            self._counts.clear()

    def install(self, process: Process) -> None:
        """Have the messages of a process counted; nothing happens if they are already."""
        mailbox = process.mailbox
        kind = self._kinds.get(type(mailbox))
        if kind is not None:
            _become(mailbox, kind)

    def count_of(self, process: Process) -> int:
        """Return how many messages have come to a process since they are counted."""
        return self._counts.get(process.mailbox, 0)

    def note(self, mailbox: Mailbox) -> None:
        """Count a message."""
        self.total += 1
        self._counts[mailbox] = self._counts.get(mailbox, 0) + 1

    def forget_ended(self, node: Node) -> None:
        """Drop the counts of processes that have ended, if they are the larger part."""
        if len(self._counts) > 1000 + 2 * len(node.processes):
            alive = {process.mailbox for process in node.processes.values()}
            for mailbox in [one for one in self._counts if one not in alive]:
                del self._counts[mailbox]

    def _spawned(self, event: Spawned) -> None:
        process = event.pid._process
        if process is not None:
            self.install(process)


def _become(mailbox: Mailbox, kind: type[Mailbox]) -> None:
    mailbox.__class__ = kind


def _counting(kind: type[Mailbox], meter: Meter) -> type[Mailbox]:
    """Make the class of mailboxes that count; it has the same slots, so that one can become it."""
    plain_put: Callable[[Mailbox, object], None] = kind.put

    def put(self: Mailbox, message: object) -> None:
        if meter.is_on:
            meter.note(self)
        else:
            _become(self, kind)
        plain_put(self, message)

    members: dict[str, Any] = {"__slots__": (), "put": put, "__doc__": kind.__doc__}
    return type(f"Counting{kind.__name__}", (kind,), members)


_meters: WeakKeyDictionary[Node, Meter] = WeakKeyDictionary()


def meter_of(node: Node) -> Meter:
    """Return the meter of a node."""
    meter = _meters.get(node)
    if meter is None:
        meter = _meters[node] = Meter()
    return meter
