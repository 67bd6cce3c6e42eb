"""The application of the soak: rooms whose members talk, are watched, and are present.

Half of the rooms have a watcher that keeps its roll in memory, the others one with a file. A room
is a process that knows what was said last; the presences are with a tracker. Each of them may be
killed at any moment, and nothing here takes any precaution against it: what fails, fails.
"""

from __future__ import annotations

from collections import deque
from typing import Any, ClassVar, Final

import trio

from exeunt import Crash, Departure, GenServer, Reason, Shutdown, Watcher, on_call, send
from exeunt.channels import (
    CastResult,
    Channel,
    ConnectInfo,
    InResult,
    JoinResult,
    Ok,
    Params,
    Presence,
    Socket,
)

from .ledger import Ledger

MEMORY: Final = "watcher"
FILE: Final = "watcher with a file"
PRESENCE: Final = "presence"

FLOOD: Final = 1500
"""How many messages one client is sent that is to be cut off, of 4 kB each."""

_BIG: Final = "x" * 4000


def room_name(topic: str) -> str:
    """Return the name of the process of a room."""
    return topic.replace(":", " ")


async def has_left(departure: Departure, key: str) -> None:
    """Write down that somebody has left: the leave function."""
    Book.ledger.note("left", key, f"{reason_name(departure.reason)}\t{departure.attempt}")


def reason_name(reason: Reason) -> str:
    """Name an exit reason, without what is accidental."""
    match reason:
        case Crash(exception):
            return f"Crash({type(exception).__name__})"
        case Shutdown((str(kind), _)):
            return f"Shutdown(({kind}, …))"
        case Shutdown(detail):
            return f"Shutdown({detail})"
        case str():
            return reason
        case _:
            return type(reason).__name__


class Book:
    """Where the ledger of this process is."""

    ledger: ClassVar[Ledger]
    """Set before anything is started."""


class Room(GenServer):
    """Knows what was said last in one room."""

    async def init(self) -> None:
        """Begin with nothing."""
        self.said: deque[str] = deque(maxlen=10)

    @on_call
    async def history(self) -> list[str]:
        """Return what was said last."""
        return list(self.said)

    @on_call
    async def say(self, text: str) -> int:
        """Keep what is said."""
        self.said.append(text)
        return len(self.said)


class RoomChannel(Channel):
    """One client in one room."""

    async def join(self, topic: str, params: Any) -> JoinResult:
        """Be watched, and let in."""
        self.key = str(params["key"])
        watcher = FILE if int(topic.rpartition(":")[2]) % 2 else MEMORY
        Book.ledger.note("asked", self.key)
        await Watcher.watch(watcher, self.pid, has_left, self.key)
        Book.ledger.note("watched", self.key)
        if params.get("slowly"):
            await trio.sleep(self.pid.number % 10 / 30)
        history = await Room.history(room_name(topic))
        send(self.pid, "after_join")
        # Nothing is awaited from here until the client has its answer.
        Book.ledger.note("joined", self.key)
        return Ok({"history": history})

    async def handle_info(self, message: Any) -> CastResult:
        """Become present."""
        self.push("presence_state", await Presence.list(PRESENCE, self))
        await Presence.track(PRESENCE, self, self.key)
        return None

    async def handle_in(self, event: str, payload: Any) -> InResult:
        """Do what the client wants, be it to crash."""
        match event:
            case "say":
                await Room.say(room_name(self.topic), payload["text"])
                self.broadcast("said", payload)
                return Ok()
            case "flood":
                for number in range(FLOOD):
                    self.push("noise", {"n": number, "text": _BIG})
                return None
            case "crash":
                raise RuntimeError("the client wanted it so")
        return await super().handle_in(event, payload)


class UserSocket(Socket):
    """Anybody."""

    channels = {"room:*": RoomChannel}

    async def connect(self, params: Params, info: ConnectInfo) -> bool:
        """Let everybody in."""
        return True


def channel_label(label: str) -> bool:
    """Tell whether a process is that of a channel."""
    return label.startswith(f"{RoomChannel.__qualname__} ")


__all__ = [
    "FILE",
    "MEMORY",
    "PRESENCE",
    "Book",
    "Room",
    "UserSocket",
    "channel_label",
    "has_left",
    "room_name",
]
