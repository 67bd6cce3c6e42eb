"""Clients that take their time: each is cut off at its deadline, and its place is free again.

The places are counted: a server of `SLOW` + 1 connections is filled by clients that send a byte now
and then, and must serve the others meanwhile, refuse who is too many, and be free again afterwards.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest
import trio

from exeunt import open_node, stop, trap_exit
from exeunt.channels import Endpoint, Limits, LongPoll, Mount, Request, Response, Socket
from tests.channels.sockets import Peer, connect
from tests.faults.client import upgrade_request
from tests.faults.world import until

SLOW = 8
WITHIN = 0.4
"""Seconds for a head, and for a body."""

ASK = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"

DRIPS = {
    "a head": b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 1000,
    "empty lines": b"\r\n" * 1000,
    "the head of an upgrade": upgrade_request()[:-2] + b"X: " + b"a" * 1000,
    "a body": b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n" + b"a" * 999,
    "a chunked body": b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    + b"1\r\na\r\n" * 200,
    "a trailer": b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: "
    + b"a" * 1000,
    "the body of a poll": b"POST /socket/longpoll?vsn=2.0.0 HTTP/1.1\r\nHost: x\r\n"
    b"Content-Length: 1000\r\n\r\n" + b"a" * 999,
}


async def _page(request: Request) -> Response:
    return Response.text(200, "here you are")


@asynccontextmanager
async def open_site(max_connections: int) -> AsyncGenerator[int]:
    async with open_node(signals=False):
        trap_exit()
        endpoint = await Endpoint.start_link(
            {"/socket": Mount(Socket, longpoll=LongPoll())},
            port=0,
            pages=_page,
            limits=Limits(
                head_seconds=WITHIN, body_seconds=WITHIN, idle_seconds=WITHIN, linger_seconds=0.05
            ),
            max_connections=max_connections,
        )
        yield int((await Endpoint.url(endpoint)).rpartition(":")[2])
        await stop(endpoint, "shutdown")


async def ask(port: int) -> bytes:
    async with await connect(port) as peer:
        await peer.send(ASK)
        return await peer.receive_all()


async def drip(peer: Peer, data: bytes) -> None:
    """Send all but the last kilobyte at once, and of that a byte now and then."""
    start = max(0, len(data) - 990)
    try:
        await peer.send(data[:start])
        for place in range(start, len(data)):
            await peer.send(data[place : place + 1])
            await trio.sleep(0.03)
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        pass


@pytest.mark.slow
@pytest.mark.parametrize("what", DRIPS)
async def test_who_drips_is_cut_off_at_the_deadline_and_his_place_is_free(what: str) -> None:
    said: list[tuple[float, bytes]] = []

    async with open_site(SLOW + 1) as port, trio.open_nursery() as nursery:
        started = trio.current_time()

        async def slow() -> None:
            async with await connect(port) as peer, trio.open_nursery() as dripping:
                dripping.start_soon(drip, peer, DRIPS[what])
                answer = await peer.receive_all()
                said.append((trio.current_time() - started, answer))
                dripping.cancel_scope.cancel()

        for _ in range(SLOW):
            nursery.start_soon(slow)
        await trio.sleep(0.1)
        # There is one place left, and who takes it is served as if he were alone.
        before = trio.current_time()
        assert b" 200 OK" in await ask(port)
        assert trio.current_time() - before < 1
        await until(lambda: len(said) == SLOW, "all to be cut off")
        for seconds, answer in said:
            assert answer.startswith(b"HTTP/1.1 408 "), answer[:100]
            assert seconds >= WITHIN - 0.05
        assert max(seconds for seconds, _ in said) < WITHIN + 2
        # All the places are free again.
        for _ in range(SLOW + 1):
            assert b" 200 OK" in await ask(port)


@pytest.mark.slow
async def test_a_house_full_of_silent_clients_turns_others_away_until_their_time_is_over() -> None:
    async with open_site(SLOW) as port:
        silent = [await connect(port) for _ in range(SLOW)]
        await trio.sleep(0.05)
        refused = await ask(port)
        assert refused.startswith(b"HTTP/1.1 503 ")
        assert b"Retry-After: 5\r\n" in refused
        for peer in silent:
            assert await peer.receive_all() == b""
            peer.close()
        assert b" 200 OK" in await ask(port)
