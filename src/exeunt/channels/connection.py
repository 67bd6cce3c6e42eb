"""The process of one TCP connection: requests one after the other, then perhaps a WebSocket.

A client whose connection becomes a WebSocket is served in this process, and ends in the ways that
`exeunt.channels.serving` lists, or in one of these:

| how the connection ended | exit reason | close code |
| --- | --- | --- |
| the client sent a close frame | `Shutdown("local_closed")` | the client's is answered |
| TCP ended or was reset, without a close frame | `Shutdown("peer_closed")` | |
| nothing came for `timeout` seconds | `Shutdown("read_timeout")` | 1002 |
| a frame or message is too large | `Shutdown(("deserializing", detail))` | 1009 |
| text is not UTF-8 | `"received a text frame that is not UTF-8"` | 1007 |
| another rule of RFC 6455 is broken | `Shutdown(("deserializing", detail))` | 1002 |

One that polls has a process of its own, as it may come by any connection: see
`exeunt.channels.longpoll_client`.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Mapping
from dataclasses import dataclass

import trio

from exeunt.channels.admission import (
    Accepted,
    admit,
    note_unread_token,
    offered_token,
    passes_origin,
)
from exeunt.channels.errors import Closed, ConnectionEnded, Lost, ProtocolViolation
from exeunt.channels.http import serve_requests
from exeunt.channels.http_messages import Request, Response, SwitchToWebSocket, Upgrade
from exeunt.channels.longpoll import answer_longpoll
from exeunt.channels.serving import End, Serving
from exeunt.channels.site import Mount, Site
from exeunt.channels.socket import ConnectInfo
from exeunt.channels.stream import ByteStream
from exeunt.channels.transports.trio_websocket import WebSocket, open_websocket
from exeunt.kernel.exits import ProcessExit, Reason, Shutdown
from exeunt.kernel.primitives import trap_exit
from exeunt.kernel.process import current_process

__all__ = ["run_connection"]

logger = logging.getLogger("exeunt.channels")


@dataclass(frozen=True, slots=True)
class _Accepted:
    """What goes with the upgrade of a client that may connect."""

    client: Accepted
    subprotocol: str | None


async def run_connection(stream: ByteStream, site: Site) -> None:
    """Serve one connection to its end: the body of its process."""
    try:
        respond = _Responder(stream, site).respond
        upgrade = await serve_requests(
            stream, respond, limits=site.limits, on_error=_log_failed_request
        )
        if upgrade is not None:
            serving = _serve_websocket(stream, upgrade, site)
            # The head of the request is some kilobytes that an idle client need not cost.
            del upgrade, respond
            await serving
    finally:
        stream.abort()


def _log_failed_request(error: Exception) -> None:
    logger.error("a request could not be answered", exc_info=error)


class _Responder:
    """Decides what becomes of a request."""

    def __init__(self, stream: ByteStream, site: Site) -> None:
        self._stream = stream
        self._site = site

    async def respond(self, request: Request) -> Response | SwitchToWebSocket:
        found = self._site.paths.find(request.path)
        if found is not None and found.transport == "websocket":
            note_unread_token(self._site, found.at, request)
            return await _connect(self._site.mounts[found.at], request, found.params)
        if found is not None:
            return await answer_longpoll(self._site, found, request, self._stream)
        if request.path == "/health":
            if request.method not in ("GET", "HEAD"):
                return Response.text(405, "method not allowed\n", (("Allow", "GET, HEAD"),))
            return Response.text(200, "ok\n", (("Cache-Control", "no-store"),))
        if self._site.pages is None:
            return Response.text(404, "not found\n")
        answer: object = self._site.pages(request)
        if not isinstance(answer, Awaitable):
            raise TypeError(
                f"pages returned {answer!r:.60} without being awaited: write it as `async def`"
            )
        response: object = await answer
        if not isinstance(response, (Response, SwitchToWebSocket)):
            raise TypeError(f"pages returned {response!r:.60}: expected a Response")
        return response


async def _connect(
    mount: Mount, request: Request, variables: Mapping[str, str]
) -> Response | SwitchToWebSocket:
    """Check a request for a WebSocket, in the order of Phoenix's WebSocket transport."""
    if request.method != "GET":
        return Response(400)
    if not passes_origin(mount, request):
        return Response(403)
    try:
        token, subprotocol = offered_token(mount, request)
    except ValueError:
        # In a line of its own and without a traceback, which a stranger could have by the thousand.
        name = type(mount.socket()).__qualname__
        logger.error("a client of %s handed over a token that is not base64", name)
        return Response(500)
    if subprotocol == "":
        return Response(403)
    admitted = await admit(
        mount, {**request.query, **variables}, ConnectInfo(request, token), "websocket"
    )
    if isinstance(admitted, Response):
        return admitted
    return SwitchToWebSocket(_Accepted(admitted, subprotocol), admitted.visit.turn_away)


async def _serve_websocket(stream: ByteStream, upgrade: Upgrade, site: Site) -> None:
    accepted = upgrade.context
    assert isinstance(accepted, _Accepted)
    mount = accepted.client.mount
    stream.max_queued = mount.max_queued
    # Only a kill, and its supervisor, end a connection from here on.
    trap_exit()
    opened = open_websocket(
        stream,
        upgrade,
        subprotocol=accepted.subprotocol,
        max_frame_size=mount.max_frame_size,
        max_message_size=mount.max_message_size,
        close_within=mount.close_within,
    )
    del upgrade
    async with opened as websocket:
        reason, code = await _WebSocketServing(accepted.client, websocket, site).serve()
        if code is not None:
            await websocket.close(code, within=mount.close_within)
        else:
            websocket.abort()
    # Told already, where there is something to tell.
    current_process().reporting = "never"
    raise ProcessExit(reason)


class _WebSocketServing(Serving):
    """One client on an open WebSocket."""

    __slots__ = ("_websocket",)

    def __init__(self, accepted: Accepted, websocket: WebSocket, site: Site) -> None:
        super().__init__(accepted, websocket, "websocket", site)
        self._websocket = websocket

    def watch_for_overflow(self) -> None:
        """Have an out-queue that is too full end the connection at once, be it read or not."""
        self._websocket.stream.on_overflow = self._overflowed

    def _overflowed(self) -> None:
        self._websocket.overflowed()
        self.finish(Shutdown("slow_consumer"), 1013)

    def look(self) -> float:
        """See whether the client has been silent for too long."""
        timeout = self._accepted.mount.timeout
        silent = 0.0
        if self._reading_since is None:
            # It may well have sent something that waits to be read; but it may also be gone.
            if self._websocket.stream.has_hung_up:
                self.finish(Shutdown("peer_closed"))
        else:
            heard = max(self._websocket.last_received, self._reading_since)
            silent = trio.current_time() - heard
            if silent >= timeout:
                self.finish(Shutdown("read_timeout"), 1002)
        return max(timeout - silent, 0.001)

    def end_of(self, ended: ConnectionEnded) -> End:
        """Return the exit reason for the end of a WebSocket, and the close code to send, if any."""
        match ended:
            case Closed(code=code):
                return Shutdown("local_closed"), code if ended.by == "local" else 1000
            case Lost(how="overflow"):
                return Shutdown("slow_consumer"), 1013
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

    def exit_came(self, reason: Reason) -> None:
        """Ignore it, as Bandit does."""
