"""The log of one client: what reached it, in order, and which of it the test has asserted.

As in ExUnit, an assertion takes the first thing that matches, wherever it stands; what an assertion
has taken is not there for the next one. When nothing matches, the log is what the failure shows.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

from exeunt.channels.client.frames import Incoming
from exeunt.kernel.exits import Reason
from exeunt.kernel.ids import Pid

Kind: TypeAlias = Literal["push", "reply", "broadcast"]

SHOWN: Final = 40
"""How many entries of the log, the latest, a failure shows."""

SHOWN_CHARACTERS: Final = 400


@dataclass(slots=True)
class Received:
    """A message that reached the client, or one of its subscriptions."""

    kind: Kind
    message: Incoming
    to: str = ""
    """The event that a reply answers."""
    is_taken: bool = False

    @property
    def payload(self) -> Any:
        """What came: the payload; of a reply, its response."""
        payload: Any = self.message.payload
        return payload["response"] if self.kind == "reply" else payload

    @property
    def status(self) -> str:
        """The status of a reply."""
        payload: Any = self.message.payload
        return str(payload["status"])

    def __str__(self) -> str:
        message = self.message
        what = f"{self.kind} {message.event!r}"
        if self.kind == "reply":
            what = f"reply {self.status!r} to {self.to!r} (ref {message.ref})"
        taken = "   [asserted]" if self.is_taken else ""
        return f"{what} on {message.topic!r}: {shortened(self.payload)}{taken}"


@dataclass(frozen=True, slots=True)
class Ended:
    """A process of the client has ended: a channel, or the connection."""

    pid: Pid
    label: str
    reason: Reason

    def __str__(self) -> str:
        return f"{self.label} {self.pid} ended: {shortened(self.reason)}"


class Log:
    """What reached a client, in order. It grows with the test, which wants to see all of it."""

    def __init__(self) -> None:
        self._entries: list[Received | Ended] = []

    def add(self, entry: Received | Ended) -> None:
        """Append an entry."""
        self._entries.append(entry)

    def received(self) -> list[Received]:
        """Return the messages, in order."""
        return [one for one in self._entries if isinstance(one, Received)]

    def find(self, wanted: Callable[[Received], bool]) -> Received | None:
        """Return the first message that no assertion has taken and that is wanted."""
        for entry in self._entries:
            if isinstance(entry, Received) and not entry.is_taken and wanted(entry):
                return entry
        return None

    def take(self, wanted: Callable[[Received], bool]) -> Received | None:
        """Find a message and take it."""
        found = self.find(wanted)
        if found is not None:
            found.is_taken = True
        return found

    def find_reply(self, ref: str) -> Received | None:
        """Return the reply to the message `ref` that no assertion has taken."""
        return self.find(lambda one: one.kind == "reply" and one.message.ref == ref)

    def end_of(self, pid: Pid) -> Ended | None:
        """Return how a process has ended, None while it has not."""
        for entry in self._entries:
            if isinstance(entry, Ended) and entry.pid is pid:
                return entry
        return None

    def describe(self) -> str:
        """Show the log, a line for each entry."""
        if not self._entries:
            return "nothing has come"
        left_out = len(self._entries) - SHOWN
        lines = [f"  ({left_out} before these)"] if left_out > 0 else []
        lines += [f"  {entry}" for entry in self._entries[-SHOWN:]]
        return "\n".join(["what has come, in order:", *lines])


def shortened(value: object) -> str:
    """Return a value as text, cut where it is too long to be read."""
    text = str(value) if isinstance(value, str) else repr(value)
    if len(text) <= SHOWN_CHARACTERS:
        return text
    return f"{text[:SHOWN_CHARACTERS]}… ({len(text)} characters)"


__all__ = ["Ended", "Kind", "Log", "Received"]
