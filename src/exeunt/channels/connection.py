"""The process of one TCP connection: plain requests, then perhaps a WebSocket.

It reads the client's frames and hands them to its session; it hears of the end of channels, of a
broadcast that disconnects it, and of the server's stop; and it ends with a reason that says how the
client left, which is the reason that every channel of the client ends with:

| how the connection ended | exit reason | close code |
| --- | --- | --- |
| the client sent a close frame | `Shutdown("local_closed")` | the client's is answered |
| TCP ended or was reset, without a close frame | `Shutdown("peer_closed")` | |
| nothing came for `timeout` seconds | `Shutdown("read_timeout")` | 1002 |
| `"disconnect"` was broadcast to the socket's id | `Shutdown("disconnected")` | 1001 |
| the server stops | `Shutdown("draining")` | 1012 |
| the client does not read what is sent to it | `Shutdown("slow_consumer")` | |
| a frame is malformed | `Crash(ProtocolError)` | 1011 |
| a frame is larger than `max_frame_size` | `Shutdown(("deserializing", detail))` | 1009 |
| text is not UTF-8 | `"received a text frame that is not UTF-8"` | 1007 |
| another rule of RFC 6455 is broken | `Shutdown(("deserializing", detail))` | 1002 |
| its process is killed | `"killed"` | |
"""

from __future__ import annotations

import base64
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

import trio

from exeunt.channels.errors import (
    Closed,
    ConnectionEnded,
    Lost,
    PayloadError,
    ProtocolError,
    ProtocolViolation,
)
from exeunt.channels.http import serve_requests
from exeunt.channels.http_messages import Limits, Request, Response, SwitchToWebSocket, Upgrade
from exeunt.channels.origin import OriginCheck, check_origins, is_origin_allowed
from exeunt.channels.pubsub import Broadcast, PubSub
from exeunt.channels.session import JoinDecided, Session
from exeunt.channels.socket import ConnectInfo, Refused, Socket
from exeunt.channels.stream import ByteStream
from exeunt.channels.transports.trio_websocket import WebSocket, open_websocket
from exeunt.channels.wire import Serializer, serializer_for
from exeunt.kernel.exits import Crash, Down, Exit, ProcessExit, Reason, Shutdown
from exeunt.kernel.ids import Ref
from exeunt.kernel.names import Destination
from exeunt.kernel.primitives import cancel_timer, receive, self_pid, send, send_after, trap_exit
from exeunt.kernel.process import current_process

logger = logging.getLogger("exeunt.channels")

Pages: TypeAlias = Callable[[Request], Awaitable[Response]]
"""What answers the requests that are for no socket: pages, files, whatever the application has."""


@dataclass(frozen=True, slots=True)
class Mount:
    """A socket at a path, with the limits of its connections.

    `socket` makes the socket of a new client: a class of sockets, or `partial(UserSocket, …)` for
    one that takes arguments.

    `auth_token`: take a token out of the header Sec-WebSocket-Protocol, as phoenix.js 1.8 sends
    its `authToken`, and give it to `connect`. `subprotocols`: those to agree on, best first.

    `connect_within`: seconds that the socket's `connect` may take. `timeout`: seconds without a
    byte from the client, after which it is gone. `max_frame_size`: bytes of one message.
    `close_within`: seconds that a client has to answer a close frame. `max_queued`: bytes that may
    wait for a client that does not read.
    """

    socket: Callable[[], Socket]
    timeout: float = 60.0
    max_frame_size: int = 8_000_000
    check_origin: OriginCheck = "conn"
    close_within: float = 1.0
    max_queued: int = 4 * 1024 * 1024
    connect_within: float = 10.0
    auth_token: bool = False
    subprotocols: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in ("timeout", "max_frame_size", "max_queued", "connect_within"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} of a mount is above 0, not {getattr(self, name)!r}")
        if not self.close_within >= 0:
            raise ValueError(f"close_within of a mount is 0 or more, not {self.close_within!r}")
        check_origins(self.check_origin)


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """What all connections of an endpoint share."""

    mounts: Mapping[str, Mount]
    hub: PubSub
    channels: Destination
    pages: Pages | None
    limits: Limits = field(default_factory=Limits)


@dataclass(frozen=True, slots=True)
class _Accepted:
    """A client that may connect: what goes with its upgrade."""

    mount: Mount
    socket: Socket
    serializer: Serializer
    subprotocol: str | None


@dataclass(frozen=True, slots=True)
class Drain:
    """A message to a connection: have the client go, and come back to whoever listens then."""


@dataclass(frozen=True, slots=True)
class _Ended:
    """The message of a connection to itself: it has ended."""


@dataclass(frozen=True, slots=True)
class _CheckIdle:
    """The message of a connection to itself: see whether the client has been silent."""


async def run_connection(stream: ByteStream, site: Site) -> None:
    """Serve one client to its end: the body of the connection's process."""
    try:
        upgrade = await serve_requests(
            stream, _Responder(site).respond, limits=site.limits, on_error=_log_failed_request
        )
        if upgrade is not None:
            serving = _serve_websocket(stream, upgrade, site)
            # The head of the request is some kilobytes that an idle client need not cost.
            del upgrade
            await serving
    finally:
        stream.abort()


def _log_failed_request(error: Exception) -> None:
    logger.error("a request could not be answered", exc_info=error)


class _Responder:
    """Decides what becomes of a request."""

    def __init__(self, site: Site) -> None:
        self._site = site

    async def respond(self, request: Request) -> Response | SwitchToWebSocket:
        path, _, last = request.path.rpartition("/")
        mount = self._site.mounts.get(path) if last == "websocket" else None
        if mount is not None:
            return await self._connect(mount, request)
        if request.path == "/health":
            if request.method not in ("GET", "HEAD"):
                return Response.text(405, "method not allowed\n", (("Allow", "GET, HEAD"),))
            return Response.text(200, "ok\n", (("Cache-Control", "no-store"),))
        if self._site.pages is None:
            return Response.text(404, "not found\n")
        return await self._site.pages(request)

    async def _connect(self, mount: Mount, request: Request) -> Response | SwitchToWebSocket:
        """Check a request for a socket, in the order of Phoenix's WebSocket transport."""
        if request.method != "GET":
            return Response(400)
        socket = mount.socket()
        name = type(socket).__qualname__
        if not is_origin_allowed(mount.check_origin, request):
            logger.error("refused the origin %.200r for %s", request.header("origin"), name)
            return Response(403)
        token, subprotocol = _subprotocols(mount, request)
        if subprotocol == "":
            logger.error("no subprotocol of %s was offered for %s", mount.subprotocols, name)
            return Response(403)
        serializer = serializer_for(request.query.get("vsn", "1.0.0"))
        if serializer is None:
            logger.warning("no protocol version %.200r for %s", request.query.get("vsn"), name)
            return Response(403)
        decision: object = None
        with trio.move_on_after(mount.connect_within) as patience:
            decision = await socket.connect(dict(request.query), ConnectInfo(request, token))
        if patience.cancelled_caught:
            logger.error("%s.connect took longer than %s seconds", name, mount.connect_within)
            return Response(503)
        if isinstance(decision, Refused):
            return Response(decision.status, decision.body)
        if not isinstance(decision, bool):
            raise TypeError(f"{name}.connect returned {decision!r}: expected a bool or Refused(…)")
        if not decision:
            return Response(403)
        id: object = socket.id()
        if id is not None and not isinstance(id, str):
            logger.warning("%s.id returned %r: expected a string or None", name, id)
            return Response(403)
        return SwitchToWebSocket(_Accepted(mount, socket, serializer, subprotocol))


_TOKEN_PREFIX = "base64url.bearer.phx."


def _subprotocols(mount: Mount, request: Request) -> tuple[str | None, str | None]:
    """Return the token and the subprotocol of a request; `""` if it offers none that will do.

    The token is standard base64 without padding, whatever its prefix says. Raises `ValueError` if
    it is not.
    """
    offered = list(request.tokens("sec-websocket-protocol"))
    token = None
    if mount.auth_token:
        for one in [one for one in offered if one.startswith(_TOKEN_PREFIX)]:
            offered.remove(one)
            encoded = one.removeprefix(_TOKEN_PREFIX)
            padding = "=" * (-len(encoded) % 4)
            token = base64.b64decode(encoded + padding, validate=True).decode("latin-1")
    allowed = (*(("phoenix",) if mount.auth_token else ()), *mount.subprotocols)
    if not allowed or not offered:
        return token, None
    return token, next((one for one in allowed if one in offered), "")


async def _serve_websocket(stream: ByteStream, upgrade: Upgrade, site: Site) -> None:
    accepted = upgrade.context
    assert isinstance(accepted, _Accepted)
    mount = accepted.mount
    stream.max_queued = mount.max_queued
    # Only a kill, and its supervisor, end a connection from here on.
    trap_exit()
    opened = open_websocket(
        stream,
        upgrade,
        subprotocol=accepted.subprotocol,
        max_message_size=mount.max_frame_size,
        close_within=mount.close_within,
    )
    del upgrade
    async with opened as websocket:
        connection = _Connection(accepted, websocket, site)
        reason, code = await connection.serve()
        if code is not None:
            await websocket.close(code, within=mount.close_within)
        else:
            websocket.abort()
    # Told already, where there is something to tell.
    current_process().reporting = "never"
    raise ProcessExit(reason)


class _Connection:
    """One client on an open WebSocket, until something ends it."""

    def __init__(self, accepted: _Accepted, websocket: WebSocket, site: Site) -> None:
        self._accepted = accepted
        self._websocket = websocket
        self._site = site
        # The first end is the one that counts: its reason, and the close code to send, if any.
        self._end: tuple[Reason, int | None] | None = None
        self._pid = self_pid()
        # When the client was read from last, on trio's clock; None while it is not being read,
        # because one of its channels has more to do than it can.
        self._reading_since: float | None = trio.current_time()

    async def serve(self) -> tuple[Reason, int | None]:
        """Serve the client; return why that is over, and how to close."""
        parent = current_process().parent
        async with trio.open_nursery() as nursery:
            session = Session(
                self._accepted.socket,
                self._websocket,
                "websocket",
                self._accepted.serializer,
                self._site.hub,
                self._site.channels,
                nursery,
            )
            if session.socket_id is not None:
                self._site.hub.subscribe(session.socket_id)
            self._watch_for_overflow(session)
            nursery.start_soon(self._read, session)
            idle = send_after(self._accepted.mount.timeout, self_pid(), _CheckIdle())
            try:
                while self._end is None:
                    match await receive():
                        case Down(ref, _, _) if session.channel_down(ref):
                            pass
                        case JoinDecided() as decided:
                            session.release(decided)
                        case Broadcast(topic, "disconnect", _) if topic == session.socket_id:
                            self._finish(session, Shutdown("disconnected"), 1001)
                        case Drain() if session.topics():
                            self._finish(session, Shutdown("draining"), 1012)
                        case _CheckIdle():
                            idle = self._check_idle(session)
                        case Exit(pid, _) if pid is parent:
                            self._finish(session, Shutdown("draining"), 1012)
                        case _:
                            # As in Phoenix, whatever else is sent to a connection is ignored.
                            pass
            finally:
                cancel_timer(idle)
            if nursery.child_tasks:
                nursery.cancel_scope.cancel()
        assert self._end is not None
        return self._end

    async def _read(self, session: Session) -> None:
        """Hand the client's frames to the session, until there are no more."""
        try:
            while True:
                data = await self._websocket.receive()
                self._reading_since = None
                await session.receive(data)
                self._reading_since = trio.current_time()
        except PayloadError as error:
            # What the client sent cannot be sent back, such as a ref that nests too deeply.
            self._finish(session, Crash(error), 1011)
        except ProtocolError as error:
            logger.warning("closing %s for a malformed frame: %s", self._websocket, error)
            self._finish(session, Crash(error), error.code)
        except ConnectionEnded as ended:
            self._finish(session, *_reason_of(ended))

    def _check_idle(self, session: Session) -> Ref:
        timeout = self._accepted.mount.timeout
        silent = 0.0
        if self._reading_since is None:
            # It may well have sent something that waits to be read; but it may also be gone.
            if self._websocket.stream.has_hung_up:
                self._finish(session, Shutdown("peer_closed"), None)
        else:
            heard = max(self._websocket.last_received, self._reading_since)
            silent = trio.current_time() - heard
            if silent >= timeout:
                self._finish(session, Shutdown("read_timeout"), 1002)
        return send_after(max(timeout - silent, 0.001), self_pid(), _CheckIdle())

    def _watch_for_overflow(self, session: Session) -> None:
        """Have an out-queue that is too full end the connection at once, be it read or not."""
        stream = self._websocket.stream
        close = stream.on_overflow

        def overflowed() -> None:
            if close is not None:
                close()
            self._finish(session, Shutdown("slow_consumer"), None)

        stream.on_overflow = overflowed

    def _finish(self, session: Session, reason: Reason, code: int | None) -> None:
        if self._end is None:
            self._end = (reason, code)
            session.end(reason)
            # Wakes the process if it waits for a message, which costs less than to cancel it.
            send(self._pid, _Ended())


def _reason_of(ended: ConnectionEnded) -> tuple[Reason, int | None]:
    """Return the exit reason for the end of a WebSocket, and the close code to send, if any."""
    match ended:
        case Closed(code=code):
            return Shutdown("local_closed"), code if ended.by == "local" else 1000
        case Lost(how="overflow"):
            return Shutdown("slow_consumer"), None
        case Lost():
            return Shutdown("peer_closed"), None
        case ProtocolViolation(code=1009):
            return Shutdown(("deserializing", "max_frame_size_exceeded")), 1009
        case ProtocolViolation(code=1007):
            return "received a text frame that is not UTF-8", 1007
        case ProtocolViolation(code=1002, detail=detail) if "CLOSE" in detail:
            # A close frame all the same, only with a code that must not be sent.
            return Shutdown("local_closed"), 1002
        case ProtocolViolation(code=code, detail=detail):
            return Shutdown(("deserializing", detail)), code
        case _:
            return Shutdown("peer_closed"), None
