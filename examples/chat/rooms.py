"""The rooms: one process each, which knows who is in and remembers what was said last."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass
from typing import Any, Final

from exeunt import (
    AlreadyStarted,
    CallFailed,
    Crash,
    DynamicSupervisor,
    GenServer,
    Pid,
    Reason,
    Refuse,
    Reply,
    Shutdown,
    Stop,
    TimeoutAfter,
    on_call,
    whereis,
)
from exeunt.channels import PubSub

REMEMBERED: Final = 50
"""How many messages a room shows to whoever comes in."""

EMPTY_FOR: Final = 600.0
"""Seconds after which an empty room is closed, and what was said in it forgotten."""

MOST_MEMBERS: Final = 5000


@dataclass(frozen=True, slots=True)
class Member:
    """Somebody in a room: the channel's process, and the id of its socket."""

    id: int
    name: str
    channel: Pid
    socket: str


class RoomIsFull(Exception):
    """There is no place left in the room."""


class Room(GenServer):
    """One room."""

    async def init(self, name: str, hub: PubSub) -> TimeoutAfter:
        """Open the room, with nobody in it."""
        self.topic = f"room:{name}"
        self.hub = hub
        self.members: dict[int, Member] = {}
        self.history: deque[dict[str, Any]] = deque(maxlen=REMEMBERED)
        return TimeoutAfter(EMPTY_FOR)

    @on_call
    async def enter(self, member: Member) -> dict[str, Any] | Refuse:
        """Let somebody in; return who is here and what was said."""
        if len(self.members) >= MOST_MEMBERS:
            return Refuse(RoomIsFull("This room is full."))
        self.members[member.id] = member
        joined = {"id": member.id, "name": member.name, "at": now()}
        self.hub.broadcast_from(member.channel, self.topic, "joined", joined)
        return {
            "id": member.id,
            "name": member.name,
            "members": [{"id": one.id, "name": one.name} for one in self.members.values()],
            "history": list(self.history),
        }

    @on_call
    async def say(self, id: int, text: str) -> None:
        """Tell everybody what a member says."""
        if id not in self.members:
            return
        said = {"id": id, "name": self.members[id].name, "text": text, "at": now()}
        self.history.append({"kind": "said", **said})
        self.hub.broadcast(self.topic, "said", said)

    @on_call
    async def leave(self, id: int, how: str) -> Reply[None] | None:
        """Tell everybody that a member has left, and how; close an empty room after a while."""
        member = self.members.pop(id, None)
        if member is not None:
            left = {"id": id, "name": member.name, "how": how, "at": now()}
            self.hub.broadcast(self.topic, "left", left)
        return None if self.members else Reply(None, TimeoutAfter(EMPTY_FOR))

    @on_call
    async def find(self, id: int) -> Member | None:
        """Return a member, or None."""
        return self.members.get(id)

    async def handle_info(self, message: Any) -> Stop | None:
        """Close when nobody has come for a long time."""
        return Stop() if message == "timeout" and not self.members else None


async def find_room(name: str, hub: PubSub) -> Pid:
    """Return the process of a room, which is started if there is none."""
    room = whereis(f"room:{name}")
    if room is not None:
        return room
    spec = Room.named(f"room:{name}").child(name, hub).replace(restart="transient")
    try:
        started = await DynamicSupervisor.start_child("rooms", spec)
    except AlreadyStarted as race:
        return race.pid
    assert started is not None
    return started


async def say_goodbye(pid: Pid, reason: Reason, room: str, id: int) -> None:
    """Run by the watcher when the channel of a member has ended, whatever the way."""
    try:
        await Room.leave(f"room:{room}", id, how_it_ended(reason))
    except CallFailed:
        pass  # the room has closed, so nobody is left to be told


def how_it_ended(reason: Reason) -> str:
    """Say in words for people why somebody is gone."""
    match reason:
        case Shutdown("left"):
            return "left"
        case Shutdown("local_closed"):
            return "closed the tab"
        case Shutdown("peer_closed" | "read_timeout"):
            return "connection lost"
        case Shutdown(("deserializing", _)):
            return "sent too much at once"
        case "killed":
            return "killed"
        case Shutdown("slow_consumer"):
            return "connection lost: too slow"
        case Shutdown("disconnected"):
            return "disconnected by the server"
        case Shutdown("duplicate_join"):
            return "joined anew"
        case Shutdown("draining") | "shutdown":
            return "the server restarts"
        case Crash(error):
            return f"crashed: {type(error).__name__}: {error}"
        case _:
            return f"ended: {reason}"


def now() -> int:
    """Return the time in milliseconds since the epoch, as pages want it."""
    return int(time.time() * 1000)
