"""HTTP in front: what is answered, what is refused, and that no client holds or hurts anything."""

from __future__ import annotations

import base64
import re
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import hypothesis.strategies as st
import pytest
import trio
import trio.testing
from hypothesis import example, given, settings

from exeunt.channels.errors import RequestError
from exeunt.channels.http import (
    Limits,
    Request,
    Response,
    SwitchToWebSocket,
    Upgrade,
    parse_query,
    serve_requests,
    websocket_problem,
)
from exeunt.channels.http_messages import parse_target
from exeunt.channels.stream import ByteStream

from .sockets import Peer, stream_and_peer

Answer = Response | SwitchToWebSocket

UPGRADE_HEADERS = {
    "Host": "example.org",
    "Connection": "keep-alive, Upgrade",
    "Upgrade": "WebSocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
}


class Serving:
    """A connection that is being served: its peer, and what became of it."""

    def __init__(self, stream: ByteStream, peer: Peer) -> None:
        self.stream = stream
        self.peer = peer
        self.requests: list[Request] = []
        self.errors: list[Exception] = []
        self.upgrade: Upgrade | None = None
        self.done = trio.Event()

    async def answer(self) -> tuple[int, dict[str, str], bytes]:
        """Read one answer: its status, headers and body."""
        head = (await self.peer.receive_until_exactly(b"\r\n\r\n")).decode("latin-1")
        status_line, *lines = head[:-4].split("\r\n")
        headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
        body = await self.peer.receive_exactly(int(headers.get("content-length", 0)))
        return int(status_line.split()[1]), headers, body

    async def ask(self, head: str, body: bytes = b"") -> tuple[int, dict[str, str], bytes]:
        await self.peer.send(head.replace("\n", "\r\n").encode("latin-1") + body)
        return await self.answer()

    async def closed(self) -> bytes:
        """Wait until the server has closed, and return what it said before."""
        with trio.fail_after(2):
            rest = await self.peer.receive_all()
            self.peer.close()
            await self.done.wait()
        return rest


@asynccontextmanager
async def serving(
    respond: Callable[[Request], Awaitable[Answer]] | None = None, **limits: Any
) -> AsyncGenerator[Serving]:
    """Serve one connection; nothing but a cancellation may come out of the server."""
    limits = {"head_seconds": 0.2, "body_seconds": 0.2, "linger_seconds": 0.2} | limits
    async with stream_and_peer() as (stream, peer), trio.open_nursery() as nursery:
        case = Serving(stream, peer)

        async def default(request: Request) -> Answer:
            case.requests.append(request)
            if request.path == "/ws":
                return SwitchToWebSocket("context")
            if request.path == "/missing":
                return Response.text(404, "not found")
            return Response.text(200, f"{request.method} {request.path}")

        async def serve() -> None:
            case.upgrade = await serve_requests(
                stream, respond or default, limits=Limits(**limits), on_error=case.errors.append
            )
            assert case.upgrade is not None or stream.state == "closed"
            case.done.set()

        nursery.start_soon(serve)
        yield case
        nursery.cancel_scope.cancel()


def upgrade_request(path: str = "/ws", /, **changes: str | None) -> str:
    headers = UPGRADE_HEADERS | {name.replace("_", "-"): value for name, value in changes.items()}
    lines = [f"{name}: {value}" for name, value in headers.items() if value is not None]
    return "\n".join([f"GET {path} HTTP/1.1", *lines, "", ""])


# -- answering


async def test_a_request_is_answered_with_the_headers_that_belong_there() -> None:
    async with serving() as case:
        status, headers, body = await case.ask("GET /a%20b HTTP/1.1\nHost: x\n\n")
        assert (status, body) == (200, b"GET /a b")
        assert headers["content-length"] == "8"
        assert headers["content-type"] == "text/plain; charset=utf-8"
        assert headers["x-content-type-options"] == "nosniff"
        assert re.fullmatch(r"\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT", headers["date"])
        assert "server" not in headers
        assert "connection" not in headers


async def test_a_request_carries_everything_that_came() -> None:
    async with serving() as case:
        await case.ask(
            "POST /form?user[name]=ann&x=%C3%A9+1 HTTP/1.1\nHost: x\nX-Odd: one\n"
            "x-odd: t\xfcw\nContent-Length: 5\n\n",
            b"\x00body",
        )
        [request] = case.requests
        assert request.method == "POST"
        assert request.target == "/form?user[name]=ann&x=%C3%A9+1"
        assert (request.path, request.raw_query) == ("/form", "user[name]=ann&x=%C3%A9+1")
        assert request.query == {"user": {"name": "ann"}, "x": "é 1"}
        assert request.headers[:2] == (("host", "x"), ("x-odd", "one"))
        assert request.header("X-Odd") == "one, t\xfcw"
        assert request.tokens("x-odd") == ("one", "t\xfcw")
        assert request.header("absent") is None
        assert request.body == b"\x00body"
        assert request.peer == case.stream.peer
        assert request.http_version == "1.1"


async def test_requests_follow_each_other_on_one_connection_even_in_one_packet() -> None:
    async with serving() as case:
        for path in ("/1", "/2"):
            assert (await case.ask(f"GET {path} HTTP/1.1\nHost: x\n\n"))[
                2
            ] == b"GET " + path.encode()
        request = b"POST /p HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc"
        await case.peer.send(request * 5)
        for _ in range(5):
            assert (await case.answer())[2] == b"POST /p"
        assert [request.body for request in case.requests[2:]] == [b"abc"] * 5


async def test_a_request_may_come_byte_by_byte() -> None:
    async with serving() as case:
        for byte in b"\r\nPOST /slow HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi":
            await case.peer.send(bytes([byte]))
            await trio.testing.wait_all_tasks_blocked()
        assert (await case.answer())[0] == 200
        assert case.requests[0].body == b"hi"


async def test_a_chunked_body_is_put_together() -> None:
    async with serving() as case:
        head = "POST / HTTP/1.1\nHost: x\nTransfer-Encoding: chunked\n\n"
        status, _, _ = await case.ask(head, b"3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nTrailer: t\r\n\r\n")
        assert status == 200
        assert case.requests[0].body == b"abcde"
        assert (await case.ask("GET / HTTP/1.1\nHost: x\n\n"))[0] == 200


async def test_head_gets_the_headers_of_get_and_no_body() -> None:
    async with serving() as case:
        await case.peer.send(b"HEAD /page HTTP/1.1\r\nHost: x\r\n\r\n")
        head = await case.peer.receive_until_exactly(b"\r\n\r\n")
        assert b"Content-Length: 10\r\n" in head
        status, _, body = await case.ask("GET / HTTP/1.1\nHost: x\n\n")
        assert (status, body) == (200, b"GET /")


@pytest.mark.parametrize("status", [204, 304])
async def test_a_status_without_a_body_gets_none(status: int) -> None:
    async def respond(request: Request) -> Answer:
        return Response(status, b"ignored", (("ETag", '"1"'),))

    async with serving(respond) as case:
        for _ in range(2):
            got, headers, _ = await case.ask("GET / HTTP/1.1\nHost: x\n\n")
            assert got == status
            assert "content-length" not in headers


@pytest.mark.parametrize(
    "head",
    ["GET / HTTP/1.1\nHost: x\nConnection: close\n\n", "GET / HTTP/1.0\n\n"],
    ids=["asked", "http/1.0"],
)
async def test_the_connection_is_closed_behind_the_answer_when_the_client_wants_it(
    head: str,
) -> None:
    async with serving() as case:
        status, headers, _ = await case.ask(head)
        assert (status, headers["connection"]) == (200, "close")
        assert await case.closed() == b""


async def test_a_connection_serves_a_limited_number_of_requests() -> None:
    async with serving(requests=2) as case:
        assert "connection" not in (await case.ask("GET / HTTP/1.1\nHost: x\n\n"))[1]
        assert (await case.ask("GET / HTTP/1.1\nHost: x\n\n"))[1]["connection"] == "close"
        assert await case.closed() == b""


async def test_a_client_that_sends_more_than_is_served_still_gets_its_answer() -> None:
    async with serving(requests=1) as case:
        await case.peer.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" * 10_000)
        await trio.testing.wait_all_tasks_blocked(0.02)
        assert (await case.answer())[0] == 200
        assert await case.closed() == b""


async def test_a_client_that_ends_its_side_after_asking_still_gets_its_answer() -> None:
    async with serving() as case:
        await case.peer.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        case.peer.fin()
        assert (await case.answer())[0] == 200
        assert await case.closed() == b""


async def test_an_expectation_is_met_before_the_body_is_read() -> None:
    async with serving() as case:
        await case.peer.send(
            b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n"
        )
        assert (
            await case.peer.receive_until_exactly(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        )
        assert (await case.ask("", b"hi"))[0] == 200


async def test_an_answer_larger_than_every_buffer_arrives_whole() -> None:
    async def respond(request: Request) -> Answer:
        return Response(200, b"x" * 3_000_000)

    async with serving(respond) as case:
        assert len((await case.ask("GET / HTTP/1.1\nHost: x\n\n"))[2]) == 3_000_000


async def test_a_crashing_handler_is_a_500_for_its_client_and_an_error_for_its_owner() -> None:
    async def respond(request: Request) -> Answer:
        if request.path == "/wrong":
            return "no response"  # type: ignore[return-value]
        if request.path == "/header":
            return Response(200, headers=(("X-Bad", "a\r\nSet-Cookie: b"),))
        if request.path == "/unicode":
            return Response(200, headers=(("X-Bad", "\u20ac"),))
        if request.path == "/body":
            return Response(200, "text")  # type: ignore[arg-type]
        raise LookupError("boom")

    for path, kind in [
        ("/", LookupError),
        ("/wrong", TypeError),
        ("/header", Exception),
        ("/unicode", UnicodeError),
        ("/body", TypeError),
    ]:
        async with serving(respond) as case:
            status, _, body = await case.ask(f"GET {path} HTTP/1.1\nHost: x\n\n")
            assert (status, body) == (500, b"")
            assert len(case.errors) == 1
            assert isinstance(case.errors[0], kind)


async def test_a_response_that_sets_what_the_server_sets_is_refused_where_it_is_made() -> None:
    for name in ("Content-Length", "transfer-encoding", "Date"):
        with pytest.raises(ValueError, match="set by the server"):
            Response(200, headers=((name, "1"),))
    with pytest.raises(ValueError, match="from 200 to 599"):
        Response(101)


# -- refusing


BAD_HEADS: dict[str, tuple[bytes, int]] = {
    "no http": (b"hello\r\n\r\n", 400),
    "tls": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
    "binary": (b"\xff\xfe\xfd", 400),
    "leading space": (b" GET / HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "http/2 preface": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
    "http/3": (b"GET / HTTP/3.0\r\nHost: x\r\n\r\n", 505),
    "odd version": (b"GET / HTTP/1.10\r\nHost: x\r\n\r\n", 400),
    "no version": (b"GET /\r\n\r\n", 400),
    "two spaces": (b"GET  / HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "no host": (b"GET / HTTP/1.1\r\n\r\n", 400),
    "two hosts": (b"GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n", 400),
    "space before colon": (b"GET / HTTP/1.1\r\nHost: x\r\nA : b\r\n\r\n", 400),
    "no colon": (b"GET / HTTP/1.1\r\nHost: x\r\nA\r\n\r\n", 400),
    "folded line": (b"GET / HTTP/1.1\r\nHost: x\r\nA: b\r\n c\r\n\r\n", 400),
    "folded first line": (b"GET / HTTP/1.1\r\n Host: x\r\n\r\n", 400),
    "bare LF": (b"GET / HTTP/1.1\nHost: x\r\n\r\n", 400),
    "bare LF in a value": (b"GET / HTTP/1.1\r\nHost: x\r\nA: b\nC: d\r\n\r\n", 400),
    "bare CR": (b"GET / HTTP/1.1\r\nHost: x\r\nA: b\rC: d\r\n\r\n", 400),
    "NUL in a value": (b"GET / HTTP/1.1\r\nHost: x\r\nA: \0\r\n\r\n", 400),
    "NUL in the target": (b"GET /\0 HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "control in the target": (b"GET /\x07 HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "non-ASCII target": (b"GET /\xff HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "two lengths": (
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        400,
    ),
    "the same length twice": (
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\na",
        400,
    ),
    "a list of lengths": (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1, 1\r\n\r\na", 400),
    "a signed length": (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: +1\r\n\r\na", 400),
    "a negative length": (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\na", 400),
    "a hex length": (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0x1\r\n\r\na", 400),
    "an empty length": (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length:\r\n\r\na", 400),
    "length and encoding": (
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        400,
    ),
    "encoding and length": (
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n"
        b"Content-Length: 5\r\n\r\n0\r\n\r\n",
        400,
    ),
    "encoding in HTTP/1.0": (
        b"POST / HTTP/1.0\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        400,
    ),
    "unknown encoding": (b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\n", 501),
    "two encodings": (
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        501,
    ),
    "hidden encoding": (
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
        400,
    ),
    "bad chunk": (b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400),
    "bad chunk end": (
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nabc\r\n",
        400,
    ),
    "no path": (b"GET example.org HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "connect": (b"CONNECT example.org:443 HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "fragment": (b"GET /#top HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "bad percent": (b"GET /%zz HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "short percent": (b"GET /a%2 HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "NUL in percent": (b"GET /%00 HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "path not UTF-8": (b"GET /%ff HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "query not UTF-8": (b"GET /?a=%ff HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "large head": (b"GET / HTTP/1.1\r\nHost: x\r\nA: " + b"a" * 20_000 + b"\r\n\r\n", 431),
    "endless head": (b"GET / HTTP/1.1\r\nHost: x\r\nA: " + b"a" * 20_000, 431),
    "endless line": (b"G" * 20_000, 431),
    "endless empty lines": (b"\r\n" * 20_000, 431),
    "many headers": (b"GET / HTTP/1.1\r\nHost: x\r\n" + b"A: b\r\n" * 200 + b"\r\n", 431),
    "large body": (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2000000\r\n\r\n", 413),
    "huge length": (
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: " + b"9" * 30 + b"\r\n\r\n",
        400,
    ),
    "large chunk": (
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nfffffff\r\n"
        + b"a" * 1_200_000,
        413,
    ),
    "large body, expecting": (
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2000000\r\nExpect: 100-continue\r\n\r\n",
        413,
    ),
    "tiny chunks": (
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
        + b"1\r\na\r\n" * 20_000,
        400,
    ),
    "large trailer": (
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nA: " + b"a" * 20_000,
        431,
    ),
}


@pytest.mark.parametrize("name", BAD_HEADS)
async def test_a_bad_request_is_refused_and_the_connection_closed(name: str) -> None:
    data, expected = BAD_HEADS[name]
    async with serving() as case, trio.open_nursery() as nursery:

        async def send() -> None:
            try:
                await case.peer.send(data)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                pass  # refused and closed before all of it was sent

        nursery.start_soon(send)
        status, headers, body = await case.answer()
        assert status == expected
        assert headers["connection"] == "close"
        assert headers["content-type"].startswith("text/plain")
        assert body
        assert await case.closed() == b""
        assert case.requests == []
        assert case.errors == []


async def test_what_follows_a_refused_request_is_not_looked_at() -> None:
    async with serving() as case:
        smuggled = b"GET /admin HTTP/1.1\r\nHost: x\r\n\r\n"
        await case.peer.send(
            b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n"
            b"0\r\n\r\n" + smuggled
        )
        assert (await case.answer())[0] == 400
        assert await case.closed() == b""
        assert case.requests == []


async def test_an_unread_rest_of_a_body_never_becomes_a_request() -> None:
    async with serving() as case:
        inner = b"GET /inner HTTP/1.1\r\nHost: x\r\n\r\n"
        head = b"POST /outer HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(inner)
        await case.peer.send(head + inner)
        await case.answer()
        await case.ask("GET /last HTTP/1.1\nHost: x\n\n")
        assert [request.path for request in case.requests] == ["/outer", "/last"]


# -- time


async def test_connect_and_wait_is_closed_without_a_word_at_the_deadline() -> None:
    async with serving(head_seconds=0.1) as case:
        start = trio.current_time()
        assert await case.closed() == b""
        assert 0.09 <= trio.current_time() - start < 1


async def test_connect_and_close_is_over_at_once() -> None:
    for leave in (Peer.fin, Peer.close, Peer.reset):
        async with serving(head_seconds=60) as case:
            leave(case.peer)
            with trio.fail_after(1):
                await case.done.wait()


async def test_a_half_written_head_is_answered_408_at_the_deadline() -> None:
    async with serving(head_seconds=0.1) as case:
        start = trio.current_time()
        assert (await case.ask("GET / HTTP/1.1\nHos"))[0] == 408
        assert await case.closed() == b""
        assert 0.09 <= trio.current_time() - start < 1


async def test_a_head_that_drips_is_held_to_one_deadline_for_all_of_it() -> None:
    async with serving(head_seconds=0.1) as case, trio.open_nursery() as nursery:

        async def drip() -> None:
            try:
                while True:
                    await case.peer.send(b"A")
                    await trio.sleep(0.02)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                pass

        start = trio.current_time()
        nursery.start_soon(drip)
        assert (await case.answer())[0] == 408
        assert trio.current_time() - start < 1
        await case.closed()


async def test_an_idle_connection_is_closed_and_a_later_head_has_its_own_deadline() -> None:
    async with serving(head_seconds=0.1, idle_seconds=0.2) as case:
        await case.ask("GET / HTTP/1.1\nHost: x\n\n")
        await trio.sleep(0.13)
        assert (await case.ask("GET / HTTP/1.1\nHost: x\n\n"))[0] == 200
        assert (await case.ask("GET / HT"))[0] == 408
    async with serving(head_seconds=0.05, idle_seconds=5) as case:
        await case.ask("GET / HTTP/1.1\nHost: x\n\n")
        start = trio.current_time()
        assert (await case.ask("GET / HT"))[0] == 408
        assert trio.current_time() - start < 1
    async with serving(idle_seconds=0.1) as case:
        await case.ask("GET / HTTP/1.1\nHost: x\n\n")
        assert await case.closed() == b""


@pytest.mark.parametrize("framing", ["Content-Length: 10", "Transfer-Encoding: chunked"])
async def test_a_body_that_does_not_come_is_answered_408(framing: str) -> None:
    async with serving(body_seconds=0.1) as case:
        status, _, _ = await case.ask(f"POST / HTTP/1.1\nHost: x\n{framing}\n\n", b"1")
        assert status == 408
        assert await case.closed() == b""


async def test_a_body_that_stops_halfway_is_no_request() -> None:
    async with serving() as case:
        await case.peer.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nhalf")
        case.peer.fin()
        assert (await case.answer())[0] == 400
        await case.closed()
        assert case.requests == []


async def test_a_client_that_does_not_read_its_answer_is_dropped_at_the_deadline() -> None:
    async def respond(request: Request) -> Answer:
        return Response(200, b"x" * 30_000_000)

    async with serving(respond, write_seconds=0.1) as case:
        await case.peer.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        with trio.fail_after(2):
            await case.done.wait()


async def test_a_client_that_leaves_during_its_request_harms_nobody() -> None:
    entered = trio.Event()
    left = trio.Event()

    async def respond(request: Request) -> Answer:
        entered.set()
        await left.wait()
        return Response(200, b"x" * 3_000_000)

    for leave in (Peer.close, Peer.reset):
        entered, left = trio.Event(), trio.Event()
        async with serving(respond) as case:
            await case.peer.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            await entered.wait()
            leave(case.peer)
            left.set()
            with trio.fail_after(2):
                await case.done.wait()
            assert case.errors == []


async def test_a_cancelled_server_closes_its_connection() -> None:
    async with stream_and_peer() as (stream, peer):

        async def respond(request: Request) -> Answer:
            raise AssertionError("never asked")

        with trio.move_on_after(0.02) as scope:
            await serve_requests(stream, respond)
        assert scope.cancelled_caught
        assert stream.state == "closed"
        assert await peer.receive() == b""


# -- upgrades


async def test_an_upgrade_is_handed_over_with_nothing_said_and_nothing_lost() -> None:
    async with serving() as case:
        request = upgrade_request("/ws?vsn=2.0.0", Sec_WebSocket_Protocol="phoenix, other")
        await case.peer.send(request.replace("\n", "\r\n").encode() + b"behind the head")
        await case.done.wait()
        assert case.upgrade is not None
        assert case.upgrade.request.query == {"vsn": "2.0.0"}
        assert case.upgrade.key == UPGRADE_HEADERS["Sec-WebSocket-Key"]
        assert case.upgrade.subprotocols == ("phoenix", "other")
        assert case.upgrade.context == "context"
        assert await case.stream.receive_some() == b"behind the head"
        assert case.stream.statistics().sent == 0


async def test_a_request_may_precede_an_upgrade_on_the_same_connection() -> None:
    async with serving() as case:
        await case.ask("GET / HTTP/1.1\nHost: x\n\n")
        await case.peer.send(upgrade_request().replace("\n", "\r\n").encode())
        await case.done.wait()
        assert case.upgrade is not None


async def test_the_caller_decides_before_the_upgrade() -> None:
    async with serving() as case:
        status, _, body = await case.ask(upgrade_request("/missing"))
        assert (status, body) == (404, b"not found")
        assert (await case.ask(upgrade_request("/page")))[0] == 200


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"Upgrade": None}, "'upgrade' header must contain 'websocket', got []"),
        ({"Upgrade": "h2c"}, """'upgrade' header must contain 'websocket', got ["h2c"]"""),
        (
            {"Connection": "keep-alive"},
            """'connection' header must contain 'upgrade', got ["keep-alive"]""",
        ),
        ({"Connection": None}, "'connection' header must contain 'upgrade', got []"),
        (
            {"Sec_WebSocket_Version": "8"},
            """'sec-websocket-version' header must equal '13', got ["8"]""",
        ),
        (
            {"Sec_WebSocket_Version": "13, 8"},
            """'sec-websocket-version' header must equal '13', got ["13, 8"]""",
        ),
        (
            {"Sec_WebSocket_Version": None},
            "'sec-websocket-version' header must equal '13', got []",
        ),
        ({"Sec_WebSocket_Key": None}, "'sec-websocket-key' header is absent"),
        (
            {"Sec_WebSocket_Key": "short"},
            """'sec-websocket-key' header must be 16 bytes in base64, got ["short"]""",
        ),
        ({"Sec_WebSocket_Key": base64.b64encode(b"x" * 17).decode()}, "16 bytes"),
        ({"Sec_WebSocket_Key": "*" * 22 + "=="}, "16 bytes"),
        ({"Sec_WebSocket_Key": "\xe9" * 24}, "16 bytes"),
        # Of several things that are wrong, the first that is looked at.
        ({"Connection": None, "Upgrade": None}, "'connection' header"),
        ({"Upgrade": None, "Sec_WebSocket_Key": None}, "'upgrade' header"),
        ({"Sec_WebSocket_Key": None, "Sec_WebSocket_Version": None}, "'sec-websocket-key' header"),
    ],
)
async def test_an_upgrade_with_wrong_headers_is_refused_with_what_was_expected(
    changes: dict[str, str | None], text: str
) -> None:
    async with serving() as case:
        got, headers, body = await case.ask(upgrade_request(**changes))
        assert got == 400
        assert text in body.decode()
        if "sec-websocket-version" in text:
            assert headers["sec-websocket-version"] == "13"
        assert case.upgrade is None
        # It is an answer like any other: the connection goes on.
        assert (await case.ask("GET / HTTP/1.1\nHost: x\n\n"))[0] == 200


async def test_an_upgrade_must_be_a_get_of_http_1_1_without_a_body_or_a_second_key() -> None:
    post = upgrade_request(Content_Length="0").replace("GET", "POST", 1)
    old = upgrade_request().replace("HTTP/1.1", "HTTP/1.0", 1)
    second = upgrade_request(sec_websocket_key=UPGRADE_HEADERS["Sec-WebSocket-Key"])
    for head, text in [
        (post, "HTTP method POST unsupported"),
        (old, "HTTP version HTTP/1.0 unsupported"),
        (second, "16 bytes in base64"),
    ]:
        async with serving() as case:
            status, _, body = await case.ask(head)
            assert (status, text in body.decode()) == (400, True), body
    async with serving() as case:
        status, _, body = await case.ask(upgrade_request(Content_Length="2"), b"hi")
        assert (status, body) == (400, b"the body must be empty, got 2 bytes")


def test_the_judgement_of_an_upgrade_can_be_asked_for_beforehand() -> None:
    headers = tuple((name.lower(), value) for name, value in UPGRADE_HEADERS.items())
    request = Request(method="GET", target="/", path="/", raw_query="", query={}, headers=headers)
    assert websocket_problem(request) is None


# -- any bytes at all


tokens = st.sampled_from(
    [
        b"GET ", b"POST ", b"HEAD ", b"/", b"/ws", b"?a[b]=c", b"*", b" HTTP/1.1", b" HTTP/1.0",
        b"\r\n", b"\r\n\r\n", b"\n", b"\r", b"\0", b" ", b"\t", b":", b"Host: x\r\n",
        b"Content-Length: 3\r\n", b"Content-Length: 99999\r\n", b"Transfer-Encoding: chunked\r\n",
        b"Connection: close\r\n", b"Connection: Upgrade\r\n", b"Upgrade: websocket\r\n",
        b"Expect: 100-continue\r\n", b"Sec-WebSocket-Version: 13\r\n", b"0\r\n\r\n",
        b"3\r\nabc\r\n", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"%", b"%00", b"\xff", b"abc",
    ]
)  # fmt: skip
soups = st.lists(tokens | st.binary(max_size=8), max_size=25).map(b"".join) | st.binary(
    max_size=200
)


@given(soups, st.booleans())
@example(b"", False)
@example(b"\r", False)
@example(b"\r\n\r", True)
@settings(max_examples=120)
async def test_any_bytes_get_an_answer_or_a_close_and_never_an_error(
    soup: bytes, ends: bool
) -> None:
    async with serving(head_seconds=0.03, body_seconds=0.03, idle_seconds=0.03) as case:
        await case.peer.send(soup)
        if ends:
            case.peer.fin()
        said = await case.closed() if b"websocket" not in soup else b""
        assert said == b"" or said.startswith(b"HTTP/1.1 ")
        assert case.errors == []


# -- targets and queries


@pytest.mark.parametrize(
    ("target", "path", "query"),
    [
        ("/", "/", ""),
        ("/a/b?c=d?e", "/a/b", "c=d?e"),
        ("/a%2Fb", "/a/b", ""),
        ("/%C3%A9", "/é", ""),
        ("//evil.example/x", "//evil.example/x", ""),
        ("http://example.org/x?y", "/x", "y"),
        ("HTTPS://example.org", "/", ""),
        ("*", "*", ""),
        ("/a+b", "/a+b", ""),
    ],
)
def test_a_target_is_taken_apart(target: str, path: str, query: str) -> None:
    assert parse_target(target) == (path, query)


@pytest.mark.parametrize(
    ("raw", "query"),
    [
        ("", {}),
        ("a=1", {"a": "1"}),
        ("a", {"a": ""}),
        ("a=", {"a": ""}),
        ("=1", {"": "1"}),
        ("a=1&a=2", {"a": "2"}),
        ("a=b=c", {"a": "b=c"}),
        ("&&a=1&", {"a": "1"}),
        ("a+b=c+d%2B", {"a b": "c d+"}),
        ("%61=%C3%A9", {"a": "é"}),
        ("user[id]=1", {"user": {"id": "1"}}),
        ("user%5Bid%5D=1&user[name]=ann", {"user": {"id": "1", "name": "ann"}}),
        ("a[b][c][d]=1", {"a": {"b": {"c": {"d": "1"}}}}),
        ("tags[]=a&tags[]=b", {"tags": ["a", "b"]}),
        ("tags[0]=a&tags[1]=b", {"tags": {"0": "a", "1": "b"}}),
        ("a[][b]=1&a[][b]=2", {"a": [{"b": "1"}, {"b": "2"}]}),
        ("a[b][]=1", {"a": {"b": ["1"]}}),
        ("a[]", {"a": [""]}),
        ("vsn[]=2", {"vsn": ["2"]}),
        # Values that exclude each other: the last wins.
        ("a=1&a[b]=2", {"a": {"b": "2"}}),
        ("a[b]=2&a=1", {"a": "1"}),
        ("a[]=1&a[b]=2", {"a": {"b": "2"}}),
        ("a[b]=1&a[]=2", {"a": ["2"]}),
        # Brackets that do not match: the name as it stands.
        ("a[b=1", {"a[b": "1"}),
        ("a]=1", {"a]": "1"}),
        ("[a]=1", {"[a]": "1"}),
        ("a[b]c=1", {"a[b]c": "1"}),
        ("a[[b]]=1", {"a[[b]]": "1"}),
    ],
)
def test_a_query_is_decoded_as_phoenix_decodes_it(raw: str, query: dict[str, Any]) -> None:
    assert parse_query(raw) == query


@pytest.mark.parametrize(
    "raw",
    ["%", "%4", "%zz=1", "a=%ff", "%ff=a", "a=%ed%a0%80", "a&" * 1001, "a" + "[b]" * 40 + "=1"],
)
def test_a_bad_query_is_a_bad_request(raw: str) -> None:
    with pytest.raises(RequestError) as caught:
        parse_query(raw)
    assert caught.value.status == 400


@given(st.text(alphabet="ab[]=&%+1\u00e9") | st.text())
def test_any_query_is_decoded_or_a_bad_request(raw: str) -> None:
    try:
        query = parse_query(raw)
    except RequestError:
        return
    assert all(isinstance(name, str) for name in query)
