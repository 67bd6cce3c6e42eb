"""Session: the state of one client's connection, whichever way it came.

It takes the client's messages and decides which channel each one is for; it starts a channel
process for each join, and tells the client when one ends. It waits for none of them, so a slow
join or a slow handler delays its own topic only.

The rules are those of Phoenix.Socket. Phoenix: there, a join is awaited by the connection, and
heartbeats and other topics with it; here the messages of that topic are held until the join is
decided, and the rest goes on.

Phoenix: a channel's mailbox takes whatever its client sends, without end. Here a client that has
sent a thousand messages which its channel has not handled is not read until it has, and hears
nothing meanwhile, not even the answer to a heartbeat.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

import trio

from exeunt.channels.channel_server import ChannelServer, ConnectionGone, Incoming, Leave
from exeunt.channels.errors import ProtocolError
from exeunt.channels.events import JoinRefused, WhyNotJoined
from exeunt.channels.filtering import plain, quoted
from exeunt.channels.log import logger
from exeunt.channels.pubsub import PubSub
from exeunt.channels.socket import Route, Socket
from exeunt.channels.transports.contract import Transport
from exeunt.channels.wire import Encoded, Message, Serializer, same_ref
from exeunt.kernel.exits import KILL, Reason, Shutdown
from exeunt.kernel.ids import Pid, Ref
from exeunt.kernel.names import Destination
from exeunt.kernel.primitives import current_node, demonitor, monitor, self_pid, send, wait_exit
from exeunt.kernel.primitives import exit as exit_signal
from exeunt.otp.dynamic_supervisor import DynamicSupervisor

EntryStatus: TypeAlias = Literal["joining", "joined", "leaving", "over"]

HELD_MESSAGES: Final = 64
"""How many messages of a topic are held while its join is not decided. At one more the session
reads nothing from this client until it is: a client pushes before it has joined only by mistake."""

UNHANDLED_MESSAGES: Final = 1000
"""How many messages a channel may have waiting from its client. At that many the session reads
nothing from this client until some are handled."""

JOIN_PATIENCE: Final = 0.05
"""Seconds that a session waits for the decision on a join before it reads on. So what is answered
at once is answered in the order in which it was asked for, as in Phoenix, and a join that takes
longer delays nobody else by more than this."""

DUPLICATE_PATIENCE: Final = 5.0
"""Seconds that a channel has to end when its client joins the topic anew, before it is killed."""

_UNMATCHED: Final = {"reason": "unmatched topic"}


class Entry:
    """One join of a topic."""

    __slots__ = (
        "assigns",
        "channel",
        "held",
        "join_ref",
        "monitor",
        "pid",
        "ref",
        "replaces",
        "room",
        "since",
        "status",
        "topic",
        "unhandled",
    )

    def __init__(
        self, topic: str, message: Message, assigns: Mapping[str, Any], channel: str
    ) -> None:
        self.topic = topic
        self.channel = channel
        self.ref = message.ref
        # As the client sent it, null included: that is what its later messages are compared with.
        self.join_ref = message.join_ref
        self.assigns = assigns
        self.status: EntryStatus = "joining"
        self.pid: Pid | None = None
        self.monitor: Ref | None = None
        # Messages that came before the join was decided, until the session has dealt with them.
        self.held: list[Message] | None = None
        # What an older join of the topic is told when this one has its answer.
        self.replaces: Encoded | None = None
        # When the join was asked for, then when it succeeded.
        self.since = trio.current_time()
        self.unhandled = 0
        # Set when there is room again for the client's messages; only while there is none.
        self.room: trio.Event | None = None

    def make_room(self) -> None:
        """Let the session read on."""
        if self.room is not None:
            self.room.set()
            self.room = None


@dataclass(frozen=True, slots=True)
class JoinedTopic:
    """A topic that a session has joined, for looking at."""

    topic: str
    pid: Pid | None
    status: EntryStatus


@dataclass(frozen=True, slots=True)
class JoinDecided:
    """A message to the connection: a join is decided for which messages are held."""

    entry: Entry


_CLOSED: Final = Shutdown("closed")


class Session:
    """The joins of one connection.

    `receive`, `release`, `channel_down` and `end` are for the process of the connection; the
    methods that tell of a channel are called in the channel's own process.
    """

    __slots__ = (
        "_by_monitor",
        "_entries",
        "_nursery",
        "_supervisor",
        "end_reason",
        "events",
        "filter",
        "hub",
        "pid",
        "serializer",
        "socket",
        "socket_id",
        "transport",
        "transport_name",
    )

    def __init__(
        self,
        socket: Socket,
        transport: Transport,
        transport_name: str,
        serializer: Serializer,
        hub: PubSub,
        supervisor: Destination,
        nursery: trio.Nursery,
    ) -> None:
        self.socket = socket
        self.socket_id = socket.id()
        self.transport = transport
        self.transport_name = transport_name
        self.serializer = serializer
        self.hub = hub
        # What may be shown of what the client sends.
        self.filter = socket._filter
        self.events = current_node().events
        self.pid = self_pid()
        self.end_reason: Reason = _CLOSED
        self._supervisor = supervisor
        self._nursery = nursery
        # Invariant: an entry is in `_entries` until the client has been told of its end, and in
        # `_by_monitor` until its process is dead, or a newer join has taken its place.
        self._entries: dict[str, Entry] = {}
        self._by_monitor: dict[Ref, Entry] = {}

    def topics(self) -> list[JoinedTopic]:
        """Return the topics of this session."""
        return [JoinedTopic(one.topic, one.pid, one.status) for one in self._entries.values()]

    # -- from the client --------------------------------------------------------------------------

    async def receive(self, data: str | bytes) -> None:
        """Take a frame of the client.

        Waits only while one topic has too many messages waiting. Raises `ProtocolError` if the
        frame is none, and `PayloadError` if it has a ref that cannot be sent back.
        """
        message = self.serializer.decode(data)
        for ref in (message.ref, message.join_ref):
            if isinstance(ref, (list, dict)):
                # Whatever it is will be sent back: find out now whether it can be.
                self.serializer.encode_heartbeat(ref)
        held_up = self._take(message)
        if held_up is None:
            return
        held_up.room = trio.Event()
        if held_up.status == "joining" and held_up.held is None:
            with trio.move_on_after(JOIN_PATIENCE):
                await held_up.room.wait()
        else:
            await held_up.room.wait()

    def _take(self, message: Message) -> Entry | None:
        """Deal with a message; return the entry that the next one has to wait for, if so.

        It has no room for more, or its join has just begun.
        """
        topic, event = message.topic, message.event
        if topic == "phoenix" and event == "heartbeat":
            self.transport.send(self.serializer.encode_heartbeat(message.ref))
            return None
        entry = self._entries.get(topic) if isinstance(topic, str) else None
        if entry is not None and (entry.status == "joining" or entry.held is not None):
            if entry.held is None:
                entry.held = []
            entry.held.append(message)
            return entry if len(entry.held) >= HELD_MESSAGES else None
        if event == "phx_join":
            return self._join(message, entry)
        if entry is None:
            if event == "phx_leave":
                self._reply(message.join_ref, message.ref, topic, "ok", {})
            else:
                self._unmatched(message)
            return None
        if message.join_ref is not None and not same_ref(message.join_ref, entry.join_ref):
            return None  # of an earlier join of this topic: stale, and dropped without a word
        assert entry.pid is not None
        if event == "phx_leave":
            entry.status = "leaving"
            send(entry.pid, Leave(message.ref))
            return None
        entry.unhandled += 1
        send(entry.pid, Incoming(message, self.filter))
        return entry if entry.unhandled >= UNHANDLED_MESSAGES else None

    def _unmatched(self, message: Message) -> None:
        why = self.socket._why_unmatched(message.topic)
        logger.warning(
            "Ignoring unmatched topic %s in %s", self._topic(message), self._name() + why
        )
        if message.event == "phx_join":
            self._tell_refused("unmatched", message.topic, message.payload)
        self._reply(None, message.ref, message.topic, "error", _UNMATCHED)

    def _join(self, message: Message, old: Entry | None) -> Entry | None:
        topic = message.topic
        if isinstance(topic, dict):
            raise ProtocolError("the topic of a join is a string, got an object")
        route = self.socket.route(topic)
        if route is None or not isinstance(topic, str):
            self._unmatched(message)
            return None
        if old is None and len(self._entries) >= self.socket.max_channels:
            logger.error(
                "Reached max channels per transport limit of %d for socket %s of %s",
                self.socket.max_channels,
                quoted(self.socket_id),
                self._name(),
            )
            self._tell_refused("too many", topic, message.payload, route.channel.__qualname__)
            too_many = {"reason": "too many channels joined"}
            self._reply(message.join_ref, message.ref, topic, "error", too_many)
            return None
        assigns = {**self.socket.assigns, **route.assigns}
        entry = Entry(topic, message, assigns, route.channel.__qualname__)
        self._entries[topic] = entry
        # In a task of its own, because an older process of the topic may take its time to end.
        self._nursery.start_soon(self._start, route, entry, message, old)
        return entry

    async def _start(self, route: Route, entry: Entry, message: Message, old: Entry | None) -> None:
        if old is not None:
            entry.replaces = self.serializer.encode_close(old.join_ref, old.topic)
            if old.status != "over":
                logger.debug(
                    "Duplicate channel join for topic %s in %s. "
                    "Closing existing channel for new join.",
                    quoted(old.topic),
                    self._name(),
                )
            await self._end_older(old)
        try:
            spec = ChannelServer.spec(route.channel, self, entry, message)
            entry.pid = await DynamicSupervisor.start_child(self._supervisor, spec)
        except Exception as error:
            logger.error("%s could not start a channel: %s", self._name(), plain(str(error), 1000))
        if entry.pid is None:
            self._join_crashed(entry)
            return
        entry.monitor = monitor(entry.pid)
        self._by_monitor[entry.monitor] = entry

    async def _end_older(self, old: Entry) -> None:
        """End the process of an older join of the same topic, and wait for its end."""
        old.make_room()
        if old.monitor is not None:
            self._by_monitor.pop(old.monitor, None)
            demonitor(old.monitor, flush=True)
        if old.pid is None:
            return
        exit_signal(old.pid, Shutdown("duplicate_join"))
        with trio.move_on_after(DUPLICATE_PATIENCE) as patience:
            await wait_exit(old.pid)
        if patience.cancelled_caught:
            exit_signal(old.pid, KILL)
            await wait_exit(old.pid)

    # -- from the channels ------------------------------------------------------------------------

    def joined(self, entry: Entry) -> None:
        """Note that a join has succeeded, and that its reply is sent."""
        entry.status = "joined"
        entry.since = trio.current_time()
        self._decided(entry)

    def join_refused(self, entry: Entry, response: Any) -> None:
        """Tell the client that the channel has refused its join."""
        self._reply(entry.join_ref, entry.ref, entry.topic, "error", response)
        self._over(entry)

    def handled(self, entry: Entry) -> None:
        """Note that a channel has handled a message of the client."""
        entry.unhandled -= 1
        if entry.unhandled <= UNHANDLED_MESSAGES // 2:
            entry.make_room()

    def channel_closed(self, entry: Entry) -> None:
        """Tell the client that a channel ends in order; its process is about to."""
        if self._entries.get(entry.topic) is entry and entry.status != "over":
            self.transport.send(self.serializer.encode_close(entry.join_ref, entry.topic))
            self._over(entry)

    # -- from the connection ----------------------------------------------------------------------

    def channel_down(self, ref: Ref) -> bool:
        """Note that a monitored process has ended; tell the client, unless it knows.

        False if the monitor is none of the session's.
        """
        entry = self._by_monitor.pop(ref, None)
        if entry is None:
            return False
        if self._entries.get(entry.topic) is entry and entry.status != "over":
            if entry.status == "joining":
                self._join_crashed(entry)
            else:
                self.transport.send(self.serializer.encode_error(entry.join_ref, entry.topic))
                self._over(entry)
        return True

    def release(self, decided: JoinDecided) -> None:
        """Deal with the messages that came while a join was not decided."""
        entry = decided.entry
        held, entry.held = entry.held or [], None
        # There may be none since the join was decided: messages were held until now.
        entry.make_room()
        if entry.status == "over":
            self._drop(entry)
        for message in held:
            self._take(message)

    def end(self, reason: Reason) -> None:
        """Tell the channels that the connection ends for this reason, and that they are to as well.

        Their own monitors tell them too, once the connection's process is dead; but that may still
        have to see a slow client off.
        """
        self.end_reason = reason
        for entry in tuple(self._by_monitor.values()):
            assert entry.pid is not None
            send(entry.pid, ConnectionGone(reason))

    # ---------------------------------------------------------------------------------------------

    def _topic(self, message: Message) -> str:
        """Return a topic for the log; what is no string may hold anything."""
        topic = message.topic
        return quoted(topic) if isinstance(topic, str) else self.filter.show(topic, 200)

    def _tell_refused(
        self,
        why: WhyNotJoined,
        topic: object,
        params: object,
        channel: str | None = None,
        *,
        pid: Pid | None = None,
        duration: float = 0.0,
    ) -> None:
        if self.events.wants(JoinRefused):
            shown = topic if isinstance(topic, str) else self.filter(topic)
            self.events.emit(
                JoinRefused(pid or self.pid, channel, shown, why, self.filter(params), duration)
            )

    def _join_crashed(self, entry: Entry) -> None:
        # The crash itself is in the log already, as the process's own report.
        lasted = trio.current_time() - entry.since
        self._tell_refused(
            "crashed", entry.topic, None, entry.channel, pid=entry.pid, duration=lasted
        )
        self._reply(entry.join_ref, entry.ref, entry.topic, "error", {"reason": "join crashed"})
        self._over(entry)

    def _over(self, entry: Entry) -> None:
        entry.status = "over"
        self._decided(entry)
        if entry.held is None:
            self._drop(entry)

    def _decided(self, entry: Entry) -> None:
        if entry.replaces is not None:
            self.transport.send(entry.replaces)
            entry.replaces = None
        entry.make_room()
        if entry.held is not None:
            # By a message, since this may run in the channel's process: whatever the session starts
            # or monitors has to be the connection's.
            send(self.pid, JoinDecided(entry))

    def _drop(self, entry: Entry) -> None:
        entry.make_room()
        if self._entries.get(entry.topic) is entry:
            del self._entries[entry.topic]

    def _reply(
        self, join_ref: object, ref: object, topic: object, status: str, response: object
    ) -> None:
        self.transport.send(self.serializer.encode_reply(join_ref, ref, topic, status, response))

    def _name(self) -> str:
        return type(self.socket).__qualname__
