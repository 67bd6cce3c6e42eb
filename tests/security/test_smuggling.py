"""Two readers of one request: what a front server could read differently hides no request here.

Each case is sent in one packet with a request for `/admin` behind it, to a whole server. The answer
is one refusal, the connection is closed, and `/admin` is never asked for.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest
import trio

from exeunt import open_node, stop, trap_exit
from exeunt.channels import Endpoint, Limits, Request, Response, Socket
from exeunt.channels.errors import RequestError
from exeunt.channels.http_messages import check_trailer
from tests.channels.sockets import Peer, connect

HIDDEN = b"GET /admin HTTP/1.1\r\nHost: x\r\n\r\n"
CHUNKED = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"


class Site:
    """A server of pages, which notes what it was asked for."""

    def __init__(self) -> None:
        self.port = 0
        self.asked: list[tuple[str, str, bytes]] = []

    async def pages(self, request: Request) -> Response:
        self.asked.append((request.method, request.path, request.body))
        return Response.text(200, f"this is {request.path}")

    async def tell(self, data: bytes) -> bytes:
        """Send bytes, end the sending side, and return all that the server answers."""
        async with await connect(self.port) as peer:
            await peer.send(data)
            peer.fin()
            return await peer.receive_all()


@asynccontextmanager
async def open_site(limits: Limits | None = None) -> AsyncGenerator[Site]:
    async with open_node(signals=False):
        trap_exit()
        site = Site()
        endpoint = await Endpoint.start_link(
            {"/socket": Socket},
            port=0,
            pages=site.pages,
            limits=limits or Limits(head_seconds=2, linger_seconds=0.2),
        )
        site.port = int((await Endpoint.url(endpoint)).rpartition(":")[2])
        yield site
        await stop(endpoint, "shutdown")


def post(*headers: bytes, body: bytes = b"") -> bytes:
    return b"\r\n".join([b"POST / HTTP/1.1", b"Host: x", *headers, b"", body])


AMBIGUOUS = {
    "two lengths": post(b"Content-Length: 0", b"Content-Length: 35"),
    "the same length twice": post(b"Content-Length: 0", b"content-length: 0"),
    "a list of lengths": post(b"Content-Length: 0, 35"),
    "a length with a sign": post(b"Content-Length: +0"),
    "a length with an underscore": post(b"Content-Length: 0_0"),
    "a length in other digits": post(b"Content-Length: \xd9\xa0"),
    "length and encoding": post(
        b"Content-Length: 5", b"Transfer-Encoding: chunked", body=b"0\r\n\r\n"
    ),
    "encoding and length": post(
        b"Transfer-Encoding: chunked", b"Content-Length: 5", body=b"0\r\n\r\n"
    ),
    "a space behind the name": post(b"Content-Length : 5", body=b"12345"),
    "a tab before the name": post(b"\tContent-Length: 5", body=b"12345"),
    "an encoding in two words": post(b"Transfer-Encoding: xchunked", body=b"0\r\n\r\n"),
    "an encoding behind a vertical tab": post(b"Transfer-Encoding: \x0bchunked", body=b"0\r\n\r\n"),
    "two encodings": post(
        b"Transfer-Encoding: chunked", b"Transfer-Encoding: identity", body=b"0\r\n\r\n"
    ),
    "an encoding of HTTP/1.0": CHUNKED.replace(b"1.1", b"1.0") + b"0\r\n\r\n",
    "a folded length": post(b"Content-Length:", b" 0"),
    "a folded encoding": post(b"Transfer-Encoding:", b"\tchunked", body=b"0\r\n\r\n"),
    "a NUL in a value": post(b"Content-Length: 0\x00"),
    "a NUL in a name": post(b"Content\x00-Length: 0"),
    "a bare LF behind a header": b"POST / HTTP/1.1\r\nHost: x\nContent-Length: 0\r\n\r\n",
    "a head of bare LFs": b"POST / HTTP/1.1\nHost: x\n\n",
    "a bare CR in a value": post(b"A: b\rContent-Length: 35"),
    "a chunk size with a sign": CHUNKED + b"+0\r\n\r\n",
    "a chunk size as Python has it": CHUNKED + b"0x0\r\n\r\n",
    "a chunk size before a bare LF": CHUNKED + b"0\n\r\n",
    "a bare LF in a chunk extension": CHUNKED + b"1;a\nb\r\nx\r\n0\r\n\r\n",
    "a chunk longer than it says": CHUNKED + b"1\r\nxyz0\r\n\r\n",
    "a trailer that ends in a bare LF": CHUNKED + b"0\r\n\n",
    "a body and a trailer that ends in a bare LF": CHUNKED + b"2\r\n\r\n\r\n0\r\n\n",
    "a trailer of bare LFs": CHUNKED + b"0\r\nX: a\n\n",
    "a trailer with a bare LF": CHUNKED + b"0\r\nX: a\nY: b\r\n\r\n",
    "a trailer with a bare LF at its end": CHUNKED + b"0\r\nX: a\r\n\n",
    "a folded trailer": CHUNKED + b"0\r\nX: a\r\n b\r\n\r\n",
    "a NUL in a trailer": CHUNKED + b"0\r\nX: \x00\r\n\r\n",
}


@pytest.mark.parametrize("name", AMBIGUOUS)
async def test_nothing_hides_behind_a_request_that_can_be_read_in_two_ways(name: str) -> None:
    async with open_site() as site:
        said = await site.tell(AMBIGUOUS[name] + HIDDEN)
        assert said.startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 501 ")), said[:200]
        assert said.count(b"HTTP/1.1 ") == 1
        assert site.asked == []
        # And the next one is served.
        assert b"this is /admin" in await site.tell(HIDDEN)


@pytest.mark.parametrize("size", [1, 2, 7], ids=lambda size: f"in pieces of {size}")
async def test_a_trailer_that_comes_in_pieces_is_judged_as_a_whole(size: int) -> None:
    async with open_site() as site:
        for trailer, asked in (
            (b"0\r\nX: abc\r\nY: d\r\n\r\n", 2),
            (b"0\r\nX: abc\nY: d\r\n\r\n", 0),
        ):
            site.asked.clear()
            async with await connect(site.port) as peer:
                data = CHUNKED + b"3\r\n\r\n\n\r\n" + trailer
                for start in range(0, len(data), size):
                    await peer.send(data[start : start + size])
                    await trio.lowlevel.checkpoint()
                await _send_if_open(peer, HIDDEN)
                said = await peer.receive_all() if not asked else b""
                if asked:
                    for _ in range(2):
                        said += await peer.receive_until_exactly(b"this is /")
                assert said.count(b"HTTP/1.1 ") == max(asked, 1)
            assert len(site.asked) == asked
            if asked:
                assert site.asked[0] == ("POST", "/", b"\r\n\n")


async def _send_if_open(peer: Peer, data: bytes) -> None:
    try:
        await peer.send(data)
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        pass


@pytest.mark.parametrize("tail", [b"", b"\n", b"0\r\n\n", b"\r\n", b"0\r\n", b"\r\n\n\r\n"])
def test_an_end_that_is_none_is_refused_wherever_it_was_cut(tail: bytes) -> None:
    with pytest.raises(RequestError, match="CR LF"):
        check_trailer(tail, 0)
    with pytest.raises(RequestError, match="CR LF"):
        check_trailer(tail, 1)


async def test_two_honest_requests_in_one_packet_are_two() -> None:
    async with open_site() as site:
        chunks = CHUNKED + b"5\r\nGET /\r\n0\r\nX: a\r\n\r\n"
        said = await site.tell(chunks + post(b"Content-Length: 5", body=b"GET /") + HIDDEN)
        assert said.count(b"HTTP/1.1 200 ") == 3
        assert site.asked == [
            ("POST", "/", b"GET /"),
            ("POST", "/", b"GET /"),
            ("GET", "/admin", b""),
        ]


async def test_a_request_hidden_behind_a_refused_upgrade_is_one_of_its_own() -> None:
    """A front server that takes the upgrade for granted would pass on what follows unseen.

    Here nothing is read as a WebSocket unless the upgrade was answered 101; it is a 400 otherwise,
    as that server can see, and what follows is a request like any other.
    """
    async with open_site() as site:
        upgrade = (
            b"GET /socket/websocket?vsn=2.0.0 HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\n"
            b"Upgrade: websocket\r\nSec-WebSocket-Version: 99\r\n"
            b"Sec-WebSocket-Key: c2l4dGVlbiBieXRlcy4uLg==\r\n\r\n"
        )
        said = await site.tell(upgrade + HIDDEN)
        assert said.startswith(b"HTTP/1.1 400 ")
        assert b"HTTP/1.1 101 " not in said
        assert site.asked == [("GET", "/admin", b"")]
