"""The process of a client's connection: what serves a real one, on a transport in memory.

It asks the socket's `connect`, hands the client's messages to the session, and ends with the reason
for which the client has gone. Only the network, the HTTP in front of it and their limits are left
out.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeAlias
from urllib.parse import quote

from exeunt.channels.admission import Accepted, admit
from exeunt.channels.errors import ConnectionEnded
from exeunt.channels.http_messages import Request, Response, parse_query
from exeunt.channels.pubsub import Fastlane, PubSub
from exeunt.channels.serving import End, Serving
from exeunt.channels.site import Mount, Site
from exeunt.channels.socket import ConnectInfo, Params, Socket
from exeunt.channels.wire import JSON_V2, Encoded
from exeunt.kernel.calls import Call
from exeunt.kernel.exits import ProcessExit, Reason, Shutdown
from exeunt.kernel.ids import Pid
from exeunt.kernel.primitives import receive, reply, trap_exit
from exeunt.kernel.process import current_process
from exeunt.testing.transport import MemoryTransport

ParamValue: TypeAlias = "str | Sequence[ParamValue] | Mapping[str, ParamValue]"
"""What a parameter of a URL can be: a string, or lists and objects of strings."""


class ConnectRefused(Exception):
    """The socket did not let the client in: the status and the body of the answer.

    403 for False, what `Refused(…)` says, or 503 if `connect` took too long. When it is the `id` of
    the socket that is no good, the log says so.
    """

    def __init__(self, status: int, body: bytes = b"") -> None:
        super().__init__(status, body)
        self.status = status
        self.body = body

    def __str__(self) -> str:
        told = f": {self.body!r}" if self.body else ""
        return f"the connection was refused with the status {self.status}{told}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """What a client connects with. With `assigns`, the socket's `connect` is not asked."""

    mount: Mount
    request: Request
    assigns: Mapping[str, Any] | None
    auth_token: str | None
    transport: str


class Connection:
    """One client's connection: `run` is the body of its process, the rest is for the test."""

    def __init__(self, transport: MemoryTransport, site: Site, changed: Callable[[], None]) -> None:
        self.transport = transport
        self.site = site
        self.socket: Socket | None = None
        # Why there is no connection, if the client was not let in.
        self.refusal: Exception | None = None
        # There once the session is.
        self.serving: MemoryServing | None = None
        self._changed = changed

    async def run(self, opening: Opening) -> None:
        """Serve the client to its end."""
        # The test is told of every end, the unexpected ones by an exception.
        current_process().reporting = "never"
        try:
            accepted = await _accept(opening)
        except Exception as error:
            self.refusal = error
            return
        self.socket = accepted.socket
        trap_exit()
        serving = MemoryServing(accepted, self.transport, opening.transport, self.site, self._open)
        try:
            reason, _ = await serving.serve()
        finally:
            self.transport.abort()
        raise ProcessExit(reason)

    def _open(self, serving: MemoryServing) -> None:
        self.serving = serving
        self._changed()

    def close(self, reason: Reason) -> None:
        """Have the connection end for this reason, when it has read what came before."""
        if self.serving is not None and not self.transport.has_hung_up:
            self.serving.reason = reason
            self.transport.hang_up()

    def finish(self, reason: Reason) -> None:
        """End the connection for this reason, unless it has ended."""
        if self.serving is not None:
            self.serving.finish(reason)


class MemoryServing(Serving):
    """One client on a transport in memory."""

    def __init__(
        self,
        accepted: Accepted,
        transport: MemoryTransport,
        transport_name: str,
        site: Site,
        opened: Callable[[MemoryServing], None],
    ) -> None:
        super().__init__(accepted, transport, transport_name, site)
        self._opened = opened
        self.reason: Reason = Shutdown("closed")
        """Why the client closes, when it does."""

    def watch_for_overflow(self) -> None:
        """Tell that the session is there; a test takes everything that comes."""
        self._opened(self)

    def look(self) -> float:
        """Never look: a test is always there."""
        return math.inf

    def end_of(self, ended: ConnectionEnded) -> End:
        """Return what the end of the transport means: what the test says."""
        return self.reason, None

    def exit_came(self, reason: Reason) -> None:
        """Ignore it, as behind a WebSocket."""

    def process_of(self, topic: object) -> Pid | None:
        """Return the pid of the channel that has a topic, None if none has."""
        return next((one.pid for one in self._session.topics() if one.topic == topic), None)


async def _accept(opening: Opening) -> Accepted:
    """Ask the socket whether the client may connect.

    Raises `ConnectRefused`, or what the socket's `connect` raises.
    """
    mount = opening.mount
    if opening.assigns is not None:
        mount = replace(mount, socket=partial(_make_with, mount.socket, opening.assigns))
    info = ConnectInfo(opening.request, opening.auth_token)
    admitted = await admit(mount, dict(opening.request.query), info, opening.transport)
    if isinstance(admitted, Response):
        raise ConnectRefused(admitted.status, admitted.body)
    return admitted


def _make_with(make: Callable[[], Socket], assigns: Mapping[str, Any]) -> Socket:
    """Make a socket that lets everybody in, with these assigns."""

    async def let_in(params: Params, info: ConnectInfo) -> bool:
        return True

    socket = make()
    socket.assigns.update(assigns)
    socket.connect = let_in  # type: ignore[method-assign]
    return socket


@dataclass(frozen=True, slots=True)
class Subscribe:
    """A request to the listener: hear the broadcasts on a topic."""

    topic: str


@dataclass(frozen=True, slots=True)
class _Subscriber:
    heard: Callable[[Encoded], None]

    def send(self, message: Encoded) -> None:
        self.heard(message)


async def listen(hub: PubSub, heard: Callable[[Encoded], None]) -> None:
    """Hear the broadcasts on topics that are asked for: the body of a process.

    By a fastlane, so that a broadcast is encoded, or refused, as for any client.
    """
    topics: set[str] = set()
    while True:
        match await receive():
            case Call(request=Subscribe(topic)) as asked:
                if topic not in topics:
                    topics.add(topic)
                    hub.subscribe(topic, metadata=Fastlane(_Subscriber(heard), JSON_V2))
                reply(asked, None)
            case _:
                pass


def make_request(
    params: Mapping[str, ParamValue],
    headers: tuple[tuple[str, str], ...],
    peer: tuple[str, int] | None,
    path: str,
) -> Request:
    """Return the request with which a client with these parameters would come.

    Raises `TypeError` for a parameter that is no string: a URL has nothing else.
    """
    pairs = [pair for name, value in params.items() for pair in _pairs(name, value)]
    pairs.append(("vsn", JSON_V2.version))
    query = "&".join(f"{quote(name, safe='[]')}={quote(text, safe='')}" for name, text in pairs)
    return Request(
        method="GET",
        target=f"{path}?{query}",
        path=path,
        raw_query=query,
        query=parse_query(query),
        headers=tuple((name.lower(), value) for name, value in headers),
        peer=peer,
    )


def _pairs(name: str, value: object) -> list[tuple[str, str]]:
    """Flatten a parameter: `{"user": {"name": "ann"}}` is `user[name]=ann`."""
    if isinstance(value, str):
        return [(name, value)]
    if isinstance(value, Mapping):
        return [pair for key, item in value.items() for pair in _pairs(f"{name}[{key}]", item)]
    if isinstance(value, (list, tuple)):
        return [pair for item in value for pair in _pairs(f"{name}[]", item)]
    raise TypeError(
        f"the parameter {name!r} is {value!r}: those of a URL are strings, and lists and objects "
        "of strings"
    )


__all__ = [
    "ConnectRefused",
    "Connection",
    "Opening",
    "ParamValue",
    "Subscribe",
    "listen",
    "make_request",
]
