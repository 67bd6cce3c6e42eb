"""The channels: what one tab is joined to. Each join is a process, and its end is how one leaves.

    lobby        which rooms are open
    room:NAME    a room
    user:ID      one's own private messages

A handler takes what a page sends apart with `match`. What fits no pattern gets an error as its
reply; what a room declines, too. So nothing that a page can send makes a handler crash, but for the
button that does just that.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import trio

from examples.chat.farewell import watch_over
from examples.chat.inboxes import Inbox, open_inbox, tell
from examples.chat.limits import Declined, Rate, id_from, name_from, text_from
from examples.chat.lobby import Lobby
from examples.chat.people import Person
from examples.chat.rooms import Member, Room, ThrownOut, open_room
from exeunt import (
    CallFailed,
    Down,
    Pid,
    Ref,
    Shutdown,
    Stop,
    cancel_timer,
    monitor,
    send,
    send_after,
    wait_exit,
)
from exeunt.channels import CastResult, Channel, Error, InResult, JoinResult, Ok, Presence, Reply

TYPING_FOR: Final = 8.0
"""Seconds after which somebody types no longer whose page has not said so again."""


@dataclass(frozen=True, slots=True)
class Rates:
    """How often one person may do what, in all their tabs together."""

    messages: Rate = field(default_factory=lambda: Rate(10, 2.0))
    typing: Rate = field(default_factory=lambda: Rate(10, 2.0))
    joins: Rate = field(default_factory=lambda: Rate(30, 2.0))


def declined(error: Declined) -> Reply:
    """Return the answer to what cannot be; `wait` is in milliseconds."""
    return Error({"reason": str(error), "why": error.why, "wait": round(error.wait * 1000)})


def seen_by(params: Any) -> tuple[object, object]:
    """Return what a page says it has seen: an epoch, and the number of an entry."""
    return (params.get("epoch"), params.get("seen")) if isinstance(params, Mapping) else (None, 0)


class ChatChannel(Channel):
    """What the channels have in common: somebody, and limits."""

    @property
    def person(self) -> Person:
        """Who has joined."""
        person: Person = self.assigns["person"]
        return person

    @property
    def rates(self) -> Rates:
        """The limits of the whole chat."""
        rates: Rates = self.assigns["rates"]
        return rates

    async def join(self, topic: str, params: Any) -> JoinResult:
        """Let somebody in, unless they come too often."""
        try:
            self.rates.joins.check(self.person.id, trio.current_time())
            return Ok(await self.enter(topic, params))
        except Declined as error:
            return declined(error)

    async def enter(self, topic: str, params: Any) -> Mapping[str, Any]:
        """Let somebody in; return what they are to know. May raise `Declined`."""
        raise NotImplementedError

    async def handle_in(self, event: str, payload: Any) -> InResult:
        """Do what a page asks for."""
        try:
            return await self.take(event, payload)
        except Declined as error:
            return declined(error)

    async def take(self, event: str, payload: Any) -> InResult:
        """Do what a page asks for. May raise `Declined`."""
        raise Declined(f"This server does not understand {event[:64]!r}.")


class LobbyChannel(ChatChannel):
    """Tells which rooms are open; the changes come as broadcasts, which need no code here."""

    async def enter(self, topic: str, params: Any) -> Mapping[str, Any]:
        """Return the list."""
        return {"rooms": await Lobby.rooms("lobby")}


class RoomChannel(ChatChannel):
    """One tab in one room."""

    async def enter(self, topic: str, params: Any) -> Mapping[str, Any]:
        """Enter the room. Before that, see to it that everybody hears of the end."""
        name = name_from(topic.removeprefix("room:"), "room")
        if topic != f"room:{name}":
            raise Declined("The name of a room has no spaces around it.")
        self.typing: Ref | None = None
        member = Member(self.pid, self.person.id, self.person.name)
        await watch_over(member, name)
        self.room, welcome = await self._enter(name, member, params)
        # If the room crashes, those in it go as well, and their pages join the new one. A monitor
        # and no link: a link would tell the room of each end, which is the watcher's business.
        monitor(self.room)
        send(self.pid, "after join")
        return welcome

    async def _enter(self, name: str, member: Member, params: Any) -> tuple[Pid, Mapping[str, Any]]:
        for _ in range(3):
            room = await open_room(name, self.hub)
            try:
                return room, await Room.enter(room, member, *seen_by(params))
            except CallFailed:
                await wait_exit(room)  # it was about to end: open another one
        raise Declined("This room cannot be opened at the moment.", why="later", wait=1.0)

    async def handle_info(self, message: Any) -> CastResult:
        """Hear from the room, and from timers."""
        match message:
            case "after join":
                meta = {"name": self.person.name, "typing": False, "bot": False}
                self.push("presence_state", await Presence.list("presence", self))
                await Presence.track("presence", self, self.person.id, meta)
            case "typed long ago":
                await self._types(False)
            case ThrownOut(by, seconds) as reason:
                # Tell the page why, then end. The reason is the watcher's to tell the others.
                self.push("thrown_out", {"by": by, "seconds": seconds})
                return Stop(Shutdown(reason))
            case Down(process=pid) if pid is self.room:
                self.push("room_ended", {})
                return Stop("the room has ended")
            case _:
                pass
        return None

    async def take(self, event: str, payload: Any) -> InResult:
        """Do what the page asks for."""
        now = trio.current_time()
        match event, payload:
            case "say", {"text": text, "id": id}:
                text, id = text_from(text), id_from(id)
                self.rates.messages.check(self.person.id, now)
                number = await Room.say(self.room, self.pid, text, id)
                await self._types(False)
                return Ok({"number": number})
            case "typing", {"on": bool(on)}:
                self.rates.typing.check(self.person.id, now)
                await self._types(on)
                return Ok()
            case "throw_out", {"user": user}:
                self.rates.messages.check(self.person.id, now)
                await Room.throw_out(self.room, self.pid, id_from(user))
                return Ok()
            case "crash", {"what": "room"}:
                self.rates.messages.check(self.person.id, now)
                Room.crash(self.room)
                return Ok()
            case "crash", _:
                self.rates.messages.check(self.person.id, now)
                raise RuntimeError("the crash button was pressed")
            case _:
                return await super().take(event, payload)

    async def _types(self, on: bool) -> None:
        """Show that somebody types, or does not any more.

        It is told as a part of the presence. So it needs no code to vanish with the tab: what the
        tracker knew of a process goes when the process ends.
        """
        was_on = self.typing is not None
        if self.typing is not None:
            cancel_timer(self.typing)
        self.typing = send_after(TYPING_FOR, self.pid, "typed long ago") if on else None
        if on != was_on:
            who = self.person.id
            await Presence.update("presence", self, who, lambda meta: {**meta, "typing": on})


class UserChannel(ChatChannel):
    """One tab's share of the private messages of the person whose tab it is."""

    async def enter(self, topic: str, params: Any) -> Mapping[str, Any]:
        """Open the inbox: of nobody else."""
        if topic != f"user:{self.person.id}":
            raise Declined("These messages are not for you.")
        for _ in range(3):
            self.inbox = await open_inbox(self.person, self.hub)
            try:
                welcome = await Inbox.open(self.inbox, self.pid, *seen_by(params))
            except CallFailed:
                await wait_exit(self.inbox)
                continue
            monitor(self.inbox)
            return welcome
        raise Declined("There are no private messages at the moment.", why="later", wait=1.0)

    async def handle_info(self, message: Any) -> CastResult:
        """End when the inbox has ended."""
        match message:
            case Down(process=pid) if pid is self.inbox:
                return Stop("the inbox has ended")
            case _:
                pass
        return None

    async def take(self, event: str, payload: Any) -> InResult:
        """Send a private message."""
        match event, payload:
            case "tell", {"to": to, "text": text, "id": id}:
                to, text, id = id_from(to), text_from(text), id_from(id)
                self.rates.messages.check(self.person.id, trio.current_time())
                await tell(self.person, to, text, id)
                return Ok()
            case _:
                return await super().take(event, payload)
