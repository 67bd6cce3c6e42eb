"""The rooms: one process each, which knows who is in it and remembers what was said last.

A room is started by the first who comes, under a supervisor for any number of children, and is
found by its name in a registry. It is the only one that writes its log, so what happens in a room
has one order, the same for everybody. Who is shown as present, and who is typing, is Presence's
business; the room itself has to know who may speak, and who may throw somebody out.

The supervisor does not restart a room that has crashed: the channels in it end with it, the pages
join again, and the first of them starts it anew, with the log that the archive has kept. What only
the process knew is gone: who was the host, and who must stay outside for a minute.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from math import ceil
from typing import Any, Final

import trio

from examples.chat.archive import Archive, NotKept, record
from examples.chat.limits import MOST_CHANNELS_IN_A_ROOM, Declined
from examples.chat.lobby import Lobby
from examples.chat.log import Kind
from exeunt import (
    AlreadyStarted,
    DynamicSupervisor,
    GenServer,
    MaxChildren,
    Pid,
    Ref,
    Refuse,
    Registry,
    Stop,
    cancel_timer,
    on_call,
    on_cast,
    send,
    send_after,
)
from exeunt.channels import PubSub

logger = logging.getLogger("chat")

ROOMS: Final = Registry[str, None].named("rooms")
"""The rooms that there are, by name: `ROOMS.via("lobby")` can be called like a process."""

EMPTY_FOR: Final = 600.0
"""Seconds after which an empty room is closed, and what was said in it forgotten."""

OUTSIDE_FOR: Final = 60.0
"""Seconds that somebody who was thrown out has to stay outside."""

PLACE_KEPT_FOR: Final = 60.0
"""Seconds that a room remembers since when somebody was there who has gone."""


@dataclass(frozen=True, slots=True)
class Member:
    """A process that is in a room for somebody: the channel of one tab, or a bot."""

    channel: Pid
    user: str
    name: str
    is_bot: bool = False


@dataclass(frozen=True, slots=True)
class ThrownOut:
    """The message to a channel that has to leave, and the detail of the reason it ends with."""

    by: str
    seconds: int


@dataclass(slots=True)
class _Present:
    """Somebody who is in a room, with one tab or more. Whoever has the lowest place is the host."""

    name: str
    is_bot: bool
    place: int
    channels: dict[Pid, None] = field(default_factory=dict[Pid, None])


class Room(GenServer):
    """One room."""

    async def init(self, name: str, hub: PubSub) -> None:
        """Open the room: with nobody in it, but with the log of the one that was there before."""
        self.name = name
        self.topic = f"room:{name}"
        self.hub = hub
        self.log = await Archive.recall("archive", self.topic, self.pid)
        self.present: dict[str, _Present] = {}
        self.user_of: dict[Pid, str] = {}
        self.people = 0
        self.host: str | None = None
        self.places = 0
        # Who has gone lately: their place and when; and until when somebody must stay outside.
        self.gone: dict[str, tuple[int, float]] = {}
        self.outside: dict[str, float] = {}
        self.closing: Ref | None = None
        self._close_later()

    # -- coming and going -------------------------------------------------------------------------

    @on_call
    async def enter(
        self, member: Member, epoch: object = None, seen: object = None
    ) -> dict[str, Any] | Refuse:
        """Let a tab in; return what it has missed since entry `seen` of `epoch`.

        Raises `Declined` if the room is full, or this person has to stay outside.
        """
        wait = self.outside.get(member.user, 0.0) - trio.current_time()
        if wait > 0:
            seconds = ceil(wait)
            return Refuse(
                Declined(f"You can come back in {seconds} s.", why="outside", wait=seconds)
            )
        if len(self.user_of) >= MOST_CHANNELS_IN_A_ROOM:
            return Refuse(Declined("This room is full."))
        person = self.present.get(member.user)
        if person is None:
            person = _Present(member.name, member.is_bot, self._place_of(member.user))
            self.present[member.user] = person
            await self._record("joined", member.user)
            self._has_come(member.user, person)
        person.channels[member.channel] = None
        self.user_of[member.channel] = member.user
        return {"user": member.user, "host": self.host, **self.log.since(epoch, seen)}

    @on_call
    async def leave(self, channel: Pid, how: str) -> None:
        """Note that a tab has ended. With somebody's last tab, everybody hears how they left."""
        user = self.user_of.pop(channel, None)
        if user is None:
            return  # it never came in, or was let in by a room that has crashed since
        person = self.present[user]
        del person.channels[channel]
        if not person.channels:
            await self._record("left", user, how)
            del self.present[user]
            self.gone[user] = (person.place, trio.current_time())
            self._has_gone(user, person)

    # -- talking ----------------------------------------------------------------------------------

    @on_call
    async def say(self, channel: Pid, text: str, id: str) -> int | Refuse:
        """Tell everybody what somebody says; return the number of the message.

        A message that the room has already, by its `id`, is not said again.
        """
        user = self.user_of.get(channel)
        if user is None:
            return Refuse(Declined("You are not in this room."))
        known = self.log.find(user, id) if id else None
        if known is not None:
            return known
        if not await self._record("said", user, text, id):
            problem = "The server cannot keep messages at the moment."
            return Refuse(Declined(problem, why="later", wait=5.0))
        return self.log.last

    async def _record(self, kind: Kind, user: str, text: str = "", id: str = "") -> bool:
        """Note what happens and tell everybody; False if that is impossible."""
        entry = self.log.draft(kind, user, self.present[user].name, text, id=id)
        try:
            await record(self.topic, self.log, entry)
        except NotKept as error:
            logger.error("%s: the archive cannot be written: %s", self.topic, error)
            return False
        self.hub.broadcast(self.topic, kind, entry.shown())
        return True

    # -- the host ---------------------------------------------------------------------------------

    @on_call
    async def throw_out(self, by: Pid, user: str) -> Refuse | None:
        """End all tabs of somebody in this room, and keep them outside for a while."""
        host = self.user_of.get(by)
        if host is None or host != self.host:
            return Refuse(Declined("Only the host can throw somebody out: who is here longest."))
        person = self.present.get(user)
        if person is None:
            return Refuse(Declined("There is nobody of that name any more."))
        if person.is_bot or user == host:
            return Refuse(Declined(f"{person.name} cannot be thrown out."))
        now = trio.current_time()
        self.outside = {who: until for who, until in self.outside.items() if until > now}
        self.outside[user] = now + OUTSIDE_FOR
        for channel in person.channels:
            # Nobody is removed here. The channel ends, for this reason; the rest is the watcher's.
            send(channel, ThrownOut(self.present[host].name, round(OUTSIDE_FOR)))
        return None

    def _place_of(self, user: str) -> int:
        """Return the place of somebody who comes: a new one, or that of a moment ago."""
        oldest = trio.current_time() - PLACE_KEPT_FOR
        while self.gone and next(iter(self.gone.values()))[1] < oldest:
            del self.gone[next(iter(self.gone))]
        self.places += 1
        place, _ = self.gone.pop(user, (self.places, 0.0))
        return place

    # -- the room itself --------------------------------------------------------------------------

    def _has_come(self, user: str, person: _Present) -> None:
        if person.is_bot:
            return
        self.people += 1
        Lobby.count("lobby", self.name, self.people)
        if self.host is None or person.place < self.present[self.host].place:
            self._set_host(user)
        if self.closing is not None:
            cancel_timer(self.closing)
            self.closing = None

    def _has_gone(self, user: str, person: _Present) -> None:
        if person.is_bot:
            return
        self.people -= 1
        Lobby.count("lobby", self.name, self.people)
        if user == self.host:
            places = {who: one.place for who, one in self.present.items() if not one.is_bot}
            self._set_host(min(places, key=places.__getitem__, default=None))
        if self.people == 0:
            self._close_later()

    def _set_host(self, user: str | None) -> None:
        self.host = user
        self.hub.broadcast(self.topic, "host", {"user": user})

    def _close_later(self) -> None:
        self.closing = send_after(EMPTY_FOR, self.pid, "close if empty")

    async def handle_info(self, message: Any) -> Stop | None:
        """Close when nobody has come for a long time."""
        if message != "close if empty" or self.people > 0:
            return None
        try:
            await Archive.forget("archive", self.topic)
        except NotKept as error:
            logger.error("%s cannot be forgotten: %s", self.topic, error)
        return Stop()

    @on_cast
    async def crash(self) -> None:
        """Show what becomes of a room whose code has a fault."""
        raise RuntimeError("the room was told to crash")


async def open_room(name: str, hub: PubSub) -> Pid:
    """Return the process of a room, which is started if there is none."""
    room = ROOMS.via(name).whereis()
    if room is not None:
        return room
    spec = Room.named(ROOMS.via(name)).child(name, hub).replace(restart="temporary")
    try:
        started = await DynamicSupervisor.start_child("room supervisor", spec)
    except AlreadyStarted as race:
        return race.pid  # somebody else was faster
    except MaxChildren:
        raise Declined("There are too many rooms already.") from None
    assert started is not None, "the init of a room never ignores"
    return started
