"""Who is connected: the sockets of a node's endpoints, the topics, and who is on them.

A connection does not keep a list of what it is for others to read. But its process stands in
`Serving.serve`, or it is none of a client that was let in: there its session is found.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from exeunt.channels.channel_server import ChannelServer
from exeunt.channels.endpoint import Endpoint
from exeunt.channels.pubsub import PubSub
from exeunt.channels.serving import Serving
from exeunt.channels.session import Session
from exeunt.kernel.ids import Pid
from exeunt.kernel.process import Process
from exeunt.observer.looking import Family, cut, family_of, local_of, server_of

MOST_SOCKETS: Final = 200
"""How many sockets are listed."""

MOST_TOPICS: Final = 200
"""How many topics are listed."""

MOST_MEMBERS: Final = 20
"""How many members of a topic are listed, and how many topics of a socket."""


@dataclass(frozen=True, slots=True)
class SocketRow:
    """A client that is connected; `topics` are the first of those that it has joined."""

    pid: str
    socket: str
    id: str
    transport: str
    topics: tuple[str, ...]
    topic_count: int


@dataclass(frozen=True, slots=True)
class TopicRow:
    """A topic that has subscribers; `members` are the first of them: pid, what it is, socket id."""

    topic: str
    members: tuple[tuple[str, str, str], ...]
    member_count: int


def connections_of(endpoint: Process) -> Family | None:
    """Return the processes of an endpoint's connections, plain HTTP included."""
    server = server_of(endpoint)
    if not isinstance(server, Endpoint):
        return None
    pid = Family(server).pid_of("connections")
    process = None if pid is None else pid._process
    return None if process is None else family_of(process)


def sockets_of(connections: Family, most: int) -> Iterator[SocketRow]:
    """Yield the clients among the first connections of an endpoint."""
    for _, pid in connections.first(most):
        process = pid._process if isinstance(pid, Pid) else None
        if process is None:
            continue
        serving = local_of(process, Serving.serve.__code__, "self")
        session = getattr(serving, "_session", None)
        if isinstance(session, Session):
            yield _socket_row(process, session)


def _socket_row(process: Process, session: Session) -> SocketRow:
    topics = session.topics()
    return SocketRow(
        pid=repr(process.pid),
        socket=cut(type(session.socket).__qualname__),
        id=cut(session.socket_id or ""),
        transport=session.transport_name,
        topics=tuple(cut(one.topic) for one in topics[:MOST_MEMBERS]),
        topic_count=len(topics),
    )


def topic_row(hub: PubSub, topic: str) -> TopicRow | None:
    """Return a topic with its members; None if it has none."""
    subscribers = hub.subscribers(topic)
    if not subscribers:
        return None
    return TopicRow(
        topic=cut(topic),
        members=tuple(_member(pid) for pid in subscribers[:MOST_MEMBERS]),
        member_count=len(subscribers),
    )


def _member(pid: Pid) -> tuple[str, str, str]:
    process = pid._process
    if process is None:
        return repr(pid), "", ""
    return repr(pid), cut(process.name or process.label), cut(socket_id_of(process))


def socket_id_of(process: Process) -> str:
    """Return the id of the socket that a channel belongs to; empty if the process is none."""
    server = getattr(process.describe, "__self__", None)
    return (server.session.socket_id or "") if isinstance(server, ChannelServer) else ""


def hubs_of(endpoints: Iterable[Process], known: Iterable[PubSub]) -> list[PubSub]:
    """Return the hubs that are known, and those of endpoints, each once."""
    found = dict.fromkeys(known)
    for process in endpoints:
        server = server_of(process)
        # One whose init has not begun has none yet.
        hub = getattr(server, "_hub", None)
        if isinstance(server, Endpoint) and isinstance(hub, PubSub):
            found[hub] = None
    return list(found)
