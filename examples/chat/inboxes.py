"""Private messages: an inbox for each person, which is a process, like a room.

A message between two people is in the inboxes of both, so that all tabs of both show it. An inbox
is told to its owner's tabs alone: they listen on the topic `user:ID`, and `UserChannel` lets nobody
join it who has not the token of that id.
"""

from __future__ import annotations

import logging
from typing import Any, Final

from examples.chat.archive import Archive, NotKept, record
from examples.chat.limits import Declined
from examples.chat.people import Person
from exeunt import (
    AlreadyStarted,
    CallFailed,
    Down,
    DynamicSupervisor,
    GenServer,
    MaxChildren,
    Pid,
    Ref,
    Refuse,
    Registry,
    Stop,
    monitor,
    on_call,
    send_after,
)
from exeunt.channels import PubSub

logger = logging.getLogger("chat")

INBOXES: Final = Registry[str, None].named("inboxes")
"""The inboxes that there are, by the ids of their owners."""

KEPT_FOR: Final = 600.0
"""Seconds that an inbox takes messages for somebody whose tabs are all gone."""


class Inbox(GenServer):
    """The private messages of one person, both ways."""

    async def init(self, owner: Person, hub: PubSub) -> None:
        """Begin with what the archive has of this person."""
        self.owner = owner
        self.topic = f"user:{owner.id}"
        self.hub = hub
        self.log = await Archive.recall("archive", self.topic, self.pid)
        # The tabs are monitored, not watched: their end is nobody else's business here.
        self.tabs: dict[Ref, Pid] = {}
        send_after(KEPT_FOR, self.pid, "close if empty")

    @on_call
    async def open(self, tab: Pid, epoch: object = None, seen: object = None) -> dict[str, Any]:
        """Let a tab of the owner in; return what it has missed since entry `seen` of `epoch`."""
        self.tabs[monitor(tab)] = tab
        return self.log.since(epoch, seen)

    @on_call
    async def about(self) -> Person:
        """Return whose inbox this is."""
        return self.owner

    @on_call
    async def add(self, sender: Person, to: Person, text: str, id: str) -> Refuse | None:
        """Take a message in, unless it is there already, and show it to the owner's tabs."""
        if self.log.find(sender.id, id) is not None:
            return None
        entry = self.log.draft(
            "said", sender.id, sender.name, text, id=id, to=to.id, to_name=to.name
        )
        try:
            await record(self.topic, self.log, entry)
        except NotKept as error:
            logger.error("%s: the archive cannot be written: %s", self.topic, error)
            problem = "The server cannot keep messages at the moment."
            return Refuse(Declined(problem, why="later", wait=5.0))
        self.hub.broadcast(self.topic, "told", entry.shown())
        return None

    async def handle_info(self, message: Any) -> Stop | None:
        """Close some time after the last tab has gone."""
        match message:
            case Down(ref=ref):
                del self.tabs[ref]
                if not self.tabs:
                    send_after(KEPT_FOR, self.pid, "close if empty")
            case "close if empty" if not self.tabs:
                try:
                    await Archive.forget("archive", self.topic)
                except NotKept as error:
                    logger.error("%s cannot be forgotten: %s", self.topic, error)
                return Stop()
            case _:
                pass
        return None


async def open_inbox(owner: Person, hub: PubSub) -> Pid:
    """Return the process of somebody's inbox, which is started if there is none."""
    inbox = INBOXES.via(owner.id).whereis()
    if inbox is not None:
        return inbox
    spec = Inbox.named(INBOXES.via(owner.id)).child(owner, hub).replace(restart="temporary")
    try:
        started = await DynamicSupervisor.start_child("inbox supervisor", spec)
    except AlreadyStarted as race:
        return race.pid
    except MaxChildren:
        raise Declined("There are too many people here already.", why="later", wait=60) from None
    assert started is not None, "the init of an inbox never ignores"
    return started


async def tell(sender: Person, to: str, text: str, id: str) -> None:
    """Send a private message; raises `Declined` if there is nobody of that id.

    First to the other's inbox, then to the sender's own. If this is cut off in between, the page
    sends the message again, and each inbox takes it once.
    """
    if to == sender.id:
        raise Declined("That is you.")
    try:
        recipient = await Inbox.about(INBOXES.via(to))
        await Inbox.add(INBOXES.via(to), sender, recipient, text, id)
        await Inbox.add(INBOXES.via(sender.id), sender, recipient, text, id)
    except CallFailed:
        raise Declined("There is nobody here any more to read that.") from None
