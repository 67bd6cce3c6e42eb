"""HTTP/1.1 in front: plain requests are answered here, and an upgrade is handed to the caller.

One port serves pages and WebSockets. h11 parses; this module adds what h11 leaves to its user:
deadlines and limits for every phase, the refusal of ambiguous heads, and that nothing a client
sends, and no exception of a handler, ever becomes an error of the task that serves it.

    async def respond(request: Request) -> Response | SwitchToWebSocket:
        if request.path == "/socket/websocket":
            return SwitchToWebSocket()
        return Response.text(404, "not found")

    upgrade = await serve_requests(stream, respond)
    if upgrade is not None:
        async with open_websocket(stream, upgrade) as ws:
            ...
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from email.utils import formatdate
from http import HTTPStatus
from typing import TypeAlias

import h11
import trio

from exeunt.channels.errors import RequestError
from exeunt.channels.http_messages import (
    Limits,
    Request,
    Response,
    SwitchToWebSocket,
    Upgrade,
    check_head,
    check_trailer,
    parse_query,
    parse_target,
    websocket_problem,
)
from exeunt.channels.stream import ByteStream

__all__ = [
    "Limits",
    "Request",
    "Responder",
    "Response",
    "SwitchToWebSocket",
    "Upgrade",
    "parse_query",
    "serve_requests",
    "websocket_problem",
]

Responder: TypeAlias = Callable[[Request], Awaitable[Response | SwitchToWebSocket]]

_END_OF_HEAD = b"\r\n\r\n"
_WRITE_BYTES = 64 * 1024
_NO_BODY = (204, 304)


async def serve_requests(
    stream: ByteStream,
    respond: Responder,
    *,
    limits: Limits | None = None,
    on_error: Callable[[Exception], None] | None = None,
) -> Upgrade | None:
    """Answer the requests that come on `stream`, until one becomes a WebSocket or it ends.

    `respond` is called with each request, its body read, and decides. If it answers
    `SwitchToWebSocket` and the request's headers allow it, the `Upgrade` is returned: the stream
    is then the caller's, nothing is written to it yet, and what came behind the request is still
    to be received. In every other case the stream is closed when this returns None.

    A client that is slow, sends what is no HTTP, or goes away is answered 4xx where it can be, and
    closed. When `respond` raises, or what it answers cannot be sent, the client gets an empty 500
    and `on_error` the exception. Nothing is raised but what comes from outside, like a
    cancellation; then the stream is closed too.
    """
    server = _Server(stream, respond, limits or Limits(), on_error)
    upgrade = None
    try:
        upgrade = await server.run()
    finally:
        if upgrade is None:
            stream.abort()
    return upgrade


class _Server:
    def __init__(
        self,
        stream: ByteStream,
        respond: Responder,
        limits: Limits,
        on_error: Callable[[Exception], None] | None,
    ) -> None:
        self.stream = stream
        self.respond = respond
        self.limits = limits
        self.on_error = on_error

    async def run(self) -> Upgrade | None:
        try:
            for number in range(1, self.limits.requests + 1):
                head = await self._read_head(is_first=number == 1)
                if head is None:
                    return None
                # A connection of h11 lives for one request: what it has read too much goes back
                # to the stream, which so is the only place where bytes wait.
                parser = h11.Connection(
                    h11.SERVER, max_incomplete_event_size=self.limits.head_bytes
                )
                request = await self._read_request(parser, head)
                answer = await self._answer(request)
                if isinstance(answer, SwitchToWebSocket):
                    problem = websocket_problem(request)
                    if problem is None:
                        return Upgrade(
                            request=request,
                            key=request.header("sec-websocket-key") or "",
                            subprotocols=request.tokens("sec-websocket-protocol"),
                            context=answer.context,
                        )
                    if answer.on_refusal is not None:
                        answer.on_refusal()
                    answer = problem
                is_last = number == self.limits.requests
                if not await self._write(parser, request.method, answer, close=is_last):
                    break
                if parser.our_state is not h11.DONE or parser.their_state is not h11.DONE:
                    break
            await self.stream.close_after_drain(self.limits.linger_seconds, linger=True)
        except RequestError as error:
            await self._refuse(error)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # the client is gone, or the connection was aborted: nobody is left to answer
        return None

    async def _read_head(self, *, is_first: bool) -> bytes | None:
        """Return the next head, or None if none came: the client is silent, or gone."""
        limits = self.limits
        head = b""
        skipped = 0
        with trio.move_on_after(limits.head_seconds if is_first else limits.idle_seconds) as scope:
            while True:
                data = await self.stream.receive_some()
                if not data:
                    return None
                if not head and not is_first:
                    scope.deadline = trio.current_time() + limits.head_seconds
                searched = max(0, len(head) - 3)
                head += data
                if not searched:
                    # RFC 9112, section 2.2: an empty line before a request is skipped.
                    while head.startswith(b"\r\n"):
                        head = head[2:]
                        skipped += 2
                    if head and (head[0] < 0x21 or head[0] > 0x7E) and head != b"\r":
                        raise RequestError(400, "this is no HTTP request")
                end = head.find(_END_OF_HEAD, searched)
                size = len(head) if end < 0 else end + len(_END_OF_HEAD)
                if size + skipped > limits.head_bytes:
                    raise RequestError(431, f"a request head has at most {limits.head_bytes} bytes")
                if end >= 0:
                    self.stream.unread(head[size:])
                    return head[:size]
        if head or skipped:
            raise RequestError(
                408, f"a request head must come within {limits.head_seconds} seconds"
            )
        return None

    async def _read_request(self, parser: h11.Connection, head: bytes) -> Request:
        check_head(head, self.limits)
        try:
            parser.receive_data(head)
            event = parser.next_event()
            if not isinstance(event, h11.Request):
                raise RequestError(400, "this is no HTTP request")
            target = event.target.decode("ascii")
            path, raw_query = parse_target(target)
            query = parse_query(raw_query)
            body = None
            with trio.move_on_after(self.limits.body_seconds):
                body = await self._read_body(parser, event)
        except h11.RemoteProtocolError as error:
            raise RequestError(error.error_status_hint, str(error)) from error
        if body is None:
            raise RequestError(
                408, f"a request body must come within {self.limits.body_seconds} seconds"
            )
        return Request(
            method=event.method.decode("ascii"),
            target=target,
            path=path,
            raw_query=raw_query,
            query=query,
            headers=tuple(
                (name.decode("ascii"), value.decode("latin-1")) for name, value in event.headers
            ),
            body=body,
            peer=self.stream.peer,
            http_version=event.http_version.decode("ascii"),
        )

    async def _read_body(self, parser: h11.Connection, request: h11.Request) -> bytes:
        limit = self.limits.body_bytes
        too_large = RequestError(413, f"a request body has at most {limit} bytes")
        for name, value in request.headers:
            if name == b"content-length" and int(value) > limit:
                raise too_large
        if parser.they_are_waiting_for_100_continue:
            go_on = h11.InformationalResponse(status_code=100, headers=[], reason=b"Continue")
            self.stream.put(parser.send(go_on) or b"")
        is_chunked = any(name == b"transfer-encoding" for name, _ in request.headers)
        tail = b""  # of the body as it came: what its trailer may have, and the CR LF before it
        body = bytearray()
        # A body in a million chunks of a byte would keep this task, and all others, busy.
        pieces_left = 1000 + limit // 128
        while True:
            event = parser.next_event()
            if event is h11.NEED_DATA:
                data = await self.stream.receive_some()
                tail = tail[-self.limits.head_bytes - 2 :] + data
                parser.receive_data(data)
            elif isinstance(event, h11.Data):
                body += event.data
                pieces_left -= 1
                if len(body) > limit:
                    raise too_large
                if not pieces_left:
                    raise RequestError(400, "the request body comes in too many small chunks")
            else:
                break
        rest = parser.trailing_data[0]
        if is_chunked and isinstance(event, h11.EndOfMessage):
            check_trailer(tail[: len(tail) - len(rest)], len(event.headers))
        self.stream.unread(rest)
        return bytes(body)

    async def _answer(self, request: Request) -> Response | SwitchToWebSocket:
        try:
            answer = await self.respond(request)
            if not isinstance(answer, (Response, SwitchToWebSocket)):
                raise TypeError(
                    f"respond must return a Response or SwitchToWebSocket, got {answer!r:.60}"
                )
            return answer
        except Exception as error:
            self._report(error)
            return Response(500)

    def _report(self, error: Exception) -> None:
        if self.on_error is not None:
            self.on_error(error)

    async def _write(
        self, parser: h11.Connection, method: str, answer: Response, *, close: bool
    ) -> bool:
        """Send an answer; tell whether it was sent whole."""
        try:
            data = _serialize(parser, method, answer, close)
        except Exception as error:  # a header that HTTP does not have, a body that is no bytes
            self._report(error)
            # The parser is of no more use; a fresh one says the rest.
            data = _serialize(h11.Connection(h11.SERVER), method, Response(500), True)
        with trio.move_on_after(self.limits.write_seconds):
            for start in range(0, len(data), _WRITE_BYTES):
                self.stream.put(data[start : start + _WRITE_BYTES])
                await self.stream.drain()
            return self.stream.state == "open"
        return False

    async def _refuse(self, error: RequestError) -> None:
        answer = Response.text(error.status, error.detail + "\n")
        await self._write(h11.Connection(h11.SERVER), "GET", answer, close=True)
        await self.stream.close_after_drain(self.limits.linger_seconds, linger=True)


def _serialize(parser: h11.Connection, method: str, answer: Response, close: bool) -> bytes:
    headers = [
        ("Date", formatdate(usegmt=True)),
        ("X-Content-Type-Options", "nosniff"),
        *answer.headers,
    ]
    if answer.status not in _NO_BODY:
        headers.append(("Content-Length", str(len(answer.body))))
    if close:
        headers.append(("Connection", "close"))
    try:
        reason = HTTPStatus(answer.status).phrase.encode("ascii")
    except ValueError:
        reason = b""
    event = h11.Response(status_code=answer.status, headers=headers, reason=reason)
    parts = [parser.send(event)]
    # To a HEAD no body goes out: only its length is told.
    if answer.body and answer.status not in _NO_BODY and method != "HEAD":
        parts.append(parser.send(h11.Data(data=answer.body)))
    parts.append(parser.send(h11.EndOfMessage()))
    return b"".join(part for part in parts if part)
