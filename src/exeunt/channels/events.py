"""What the channels tell of themselves: who connects, joins, says something, leaves, and why.

    node.events.subscribe(count, ChannelJoined, ChannelLeft)

These are events like those of `exeunt.kernel.events`: a subscriber is called, in the process that
causes the event, with each event of the types that it asked for, and an event that nobody wants is
not made. Their text is the line that is written to the log, if one is.

| event | when | log |
| --- | --- | --- |
| `SocketConnected` | a client was let in | `Socket.log` |
| `SocketRefused` | a client was not | `Socket.log`, or a line of its own |
| `SocketDisconnected` | the connection of a client that was let in has ended | |
| `SlowConsumerDropped` | a client is cut off that does not read | a warning |
| `SocketsDrained` | clients were told to go, and come back elsewhere | at information |
| `ChannelJoined` | a join has succeeded | `Channel.log_join` |
| `JoinRefused` | a join has failed | `Channel.log_join`, or a line of its own |
| `ChannelHandledIn` | `handle_in` has returned; not when it raises | `Channel.log_handle_in` |
| `ChannelLeft` | the process of a channel that was joined has ended | |

A `SocketConnected` is followed by one `SocketDisconnected`, and a `ChannelJoined` by one
`ChannelLeft`, whatever happens: so a count of them is how many there are.

Durations are seconds on trio's clock. `socket` and `channel` are the names of classes; `params` are
what the client sent, with secrets covered and cut to a bounded size (`exeunt.channels.filtering`).
A topic, an event or an id is the client's text as it came.

After Phoenix's telemetry, whose names these are where it has any. Phoenix: an event there holds the
socket and the parameters as they are; here it holds nothing that must not be shown.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, TypeAlias

from exeunt.channels.filtering import OPEN, plain, quoted
from exeunt.kernel.events import Event
from exeunt.kernel.exits import Reason
from exeunt.kernel.ids import Pid

WhyRefused: TypeAlias = Literal["connect", "id", "version", "timeout", "crashed"]
"""Why a client was not let in: `connect` said so; `id` returned no name; it asked for a version of
the protocol that there is none of; `connect` took longer than it may; or it, or `id`, raised.

What is refused before the socket is asked, such as a foreign origin, is only logged."""

WhyNotJoined: TypeAlias = Literal["refused", "crashed", "unmatched", "too many"]
"""Why a join has failed: `join` said so; it raised, or ended otherwise without an answer; the
socket has no channel for the topic; or the client has joined as many as it may."""


@dataclass(frozen=True, slots=True)
class SocketConnected(Event):
    """A client was let in; `duration` is how long the socket's `connect` took.

    `pid` is the process of its connection, `id` what the socket's `id` returned.
    """

    pid: Pid
    socket: str
    id: str | None
    transport: str
    version: str
    serializer: str
    params: Any
    duration: float

    def __str__(self) -> str:
        return _connection("CONNECTED TO", self)


@dataclass(frozen=True, slots=True)
class SocketRefused(Event):
    """A client was not let in; `duration` is how long it took to see so."""

    pid: Pid
    socket: str
    why: WhyRefused
    transport: str
    version: str
    serializer: str | None
    params: Any
    duration: float

    def __str__(self) -> str:
        return _connection("REFUSED CONNECTION TO", self)


@dataclass(frozen=True, slots=True)
class SocketDisconnected(Event):
    """A connection has ended, for this reason: `exeunt.channels.connection` lists them.

    Where the socket let a client in whose request then was for no WebSocket, it ends at once, with
    `Shutdown("not_upgraded")`; the TCP connection may go on.

    `code` is the close code that was sent to the client, None if there was none to send; `duration`
    how long the client was connected.
    """

    pid: Pid
    socket: str
    id: str | None
    transport: str
    reason: Reason
    code: int | None
    duration: float

    def __str__(self) -> str:
        return (
            f"DISCONNECTED FROM {self.socket} after {took(self.duration)}"
            f"\n  Transport: {self.transport}"
            f"\n  Reason: {OPEN.show(self.reason, 500)}"
            f"\n  Code: {self.code}"
        )


@dataclass(frozen=True, slots=True)
class SlowConsumerDropped(Event):
    """A client is cut off because it does not read: more than `limit` bytes would wait for it."""

    pid: Pid
    socket: str
    id: str | None
    transport: str
    limit: int

    level: ClassVar[int] = logging.WARNING

    def __str__(self) -> str:
        who = "" if self.id is None else f" {quoted(self.id)}"
        return (
            f"DROPPED SLOW CONSUMER{who} OF {self.socket}: "
            f"more than {self.limit} bytes would wait for it"
        )


@dataclass(frozen=True, slots=True)
class SocketsDrained(Event):
    """`count` of `total` clients of a socket were told to go: round `index` of `rounds`.

    There are `interval` seconds between two rounds.
    """

    socket: str
    count: int
    total: int
    index: int
    rounds: int
    interval: float

    def __str__(self) -> str:
        return (
            f"DRAINING {self.count} of {self.total} total connection(s) for socket {self.socket} "
            f"every {int(self.interval * 1000)}ms - round {self.index} of {self.rounds}"
        )


@dataclass(frozen=True, slots=True)
class ChannelJoined(Event):
    """A client has joined; `duration` is how long the channel's `join` took.

    `pid` is the channel's process, `connection` that of its client's connection.
    """

    pid: Pid
    connection: Pid
    channel: str
    topic: str
    params: Any
    duration: float

    def __str__(self) -> str:
        return (
            f"JOINED {plain(self.topic)} in {took(self.duration)}"
            f"\n  Parameters: {OPEN.show(self.params)}"
        )


@dataclass(frozen=True, slots=True)
class JoinRefused(Event):
    """A client has not joined; `duration` is how long it took to see so.

    `pid` is the process of the channel, or of the connection if there is none; `channel` is None if
    the topic leads to none. The topic may be any JSON value. After a crash `params` is None: what
    the crash report shows is enough.
    """

    pid: Pid
    channel: str | None
    topic: Any
    why: WhyNotJoined
    params: Any
    duration: float

    def __str__(self) -> str:
        topic = plain(self.topic) if isinstance(self.topic, str) else quoted(self.topic)
        return (
            f"REFUSED JOIN {topic} in {took(self.duration)}\n  Parameters: {OPEN.show(self.params)}"
        )


@dataclass(frozen=True, slots=True)
class ChannelHandledIn(Event):
    """A channel has handled a message of its client; `duration` is how long `handle_in` took.

    `status` is that of its reply, None if there was none at once; `ref` is the client's.
    """

    pid: Pid
    channel: str
    topic: str
    event: str
    ref: Any
    params: Any
    status: str | None
    duration: float

    level: ClassVar[int] = logging.DEBUG

    def __str__(self) -> str:
        return (
            f"HANDLED {plain(self.event)} INCOMING ON {plain(self.topic)} ({self.channel}) "
            f"in {took(self.duration)}\n  Parameters: {OPEN.show(self.params)}"
        )


@dataclass(frozen=True, slots=True)
class ChannelLeft(Event):
    """The process of a channel has ended, and its client has left the topic, for this reason.

    `duration` is how long the client was there.
    """

    pid: Pid
    channel: str
    topic: str
    reason: Reason
    duration: float

    def __str__(self) -> str:
        return (
            f"LEFT {plain(self.topic)} ({self.channel}) after {took(self.duration)}"
            f"\n  Reason: {OPEN.show(self.reason, 500)}"
        )


def took(duration: float) -> str:
    """Write a duration as Phoenix does: whole microseconds, or milliseconds above a thousand."""
    microseconds = max(round(duration * 1_000_000), 0)
    return f"{microseconds // 1000}ms" if microseconds > 1000 else f"{microseconds}µs"


def _connection(what: str, event: SocketConnected | SocketRefused) -> str:
    return (
        f"{what} {event.socket} in {took(event.duration)}"
        f"\n  Transport: {event.transport}"
        f"\n  Serializer: {event.serializer}"
        f"\n  Parameters: {OPEN.show(event.params)}"
    )


__all__ = [
    "ChannelHandledIn",
    "ChannelJoined",
    "ChannelLeft",
    "JoinRefused",
    "SlowConsumerDropped",
    "SocketConnected",
    "SocketDisconnected",
    "SocketRefused",
    "SocketsDrained",
    "WhyNotJoined",
    "WhyRefused",
]
