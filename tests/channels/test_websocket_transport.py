"""WebSockets over real sockets: every way to leave is told apart, and no peer can hold or hurt."""

from __future__ import annotations

import random
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import hypothesis.strategies as st
import pytest
import trio
import trio.testing
import trio_websocket
from hypothesis import given, settings

from exeunt.channels.errors import Closed, ConnectionEnded, Lost, ProtocolViolation
from exeunt.channels.http import Request, Response, SwitchToWebSocket, Upgrade, serve_requests
from exeunt.channels.listeners import accept, open_listeners
from exeunt.channels.stream import ByteStream
from exeunt.channels.transports.contract import Transport
from exeunt.channels.transports.trio_websocket import MessageSizes, WebSocket, open_websocket
from exeunt.channels.wire import JSON_V2, Encoded, binary_frame, text_frame

from .sockets import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    TEXT,
    Peer,
    client_close,
    client_frame,
    read_close,
    read_frame,
    stream_and_peer,
)

HEAD = (
    b"GET /socket/websocket?vsn=2.0.0 HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\n"
    b"Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)

Body = Callable[[WebSocket, "Case"], Awaitable[None]]


class Leave(BaseException):
    """What a handler may be left by that is no error."""


class Case:
    """A WebSocket that is being served: its peer, and what became of it."""

    def __init__(self, stream: ByteStream, peer: Peer) -> None:
        self.stream = stream
        self.peer = peer
        self.got: list[str | bytes] = []
        self.error: BaseException | None = None
        self.answer = b""
        self.opened = trio.Event()
        self.scope = trio.CancelScope()
        self.done = trio.Event()

    async def ended(self) -> BaseException | None:
        """Wait until the server's side is over, and return what came out of it."""
        with trio.fail_after(2):
            await self.done.wait()
        assert self.stream.state == "closed"
        return self.error


async def agree(request: Request) -> Response | SwitchToWebSocket:
    return SwitchToWebSocket()


async def collect(ws: WebSocket, case: Case) -> None:
    while True:
        case.got.append(await ws.receive())


async def echo(ws: WebSocket, case: Case | None = None) -> None:
    while True:
        message = await ws.receive()
        if isinstance(message, str):
            ws.send_frame(text_frame(message.encode()))
        else:
            ws.send(Encoded(message, binary=True))


@asynccontextmanager
async def websocket(
    body: Body = collect,
    *,
    head: bytes = HEAD,
    behind: bytes = b"",
    buffer: int | None = None,
    max_queued: int = 1024 * 1024,
    **options: Any,
) -> AsyncGenerator[Case]:
    """Serve one WebSocket with `body` (by default: collect what comes) and yield its peer."""
    async with (
        stream_and_peer(buffer=buffer, max_queued=max_queued) as (stream, peer),
        trio.open_nursery() as nursery,
    ):
        case = Case(stream, peer)

        async def serve() -> None:
            with case.scope:
                upgrade = await serve_requests(stream, agree)
                assert upgrade is not None
                try:
                    async with open_websocket(stream, upgrade, **options) as ws:
                        await body(ws, case)
                except (Exception, Leave) as error:
                    case.error = error
            case.done.set()

        nursery.start_soon(serve)
        await peer.send(head + b"\r\n" + behind)
        case.answer = await peer.receive_until_exactly(b"\r\n\r\n")
        assert case.answer.startswith(b"HTTP/1.1 101 ")
        case.opened.set()
        yield case
        nursery.cancel_scope.cancel()


def is_like(got: object, expected: ConnectionEnded) -> bool:
    """Tell whether two ends are alike; the errors and texts in them aside."""
    match got, expected:
        case Closed(), Closed():
            return (got.code, got.by) == (expected.code, expected.by)
        case Lost(), Lost():
            return got.how == expected.how
        case ProtocolViolation(), ProtocolViolation():
            return got.code == expected.code
        case _:
            return False


# -- speaking


async def test_messages_go_both_ways_whole_or_in_fragments() -> None:
    async with websocket(echo) as case:
        peer = case.peer
        for size in (0, 5, 125, 126, 65535, 65536, 200_000):
            await peer.send(client_frame(TEXT, b"x" * size))
            assert await read_frame(peer) == (TEXT, b"x" * size)
        await peer.send(client_frame(BINARY, b"\x00\xff"))
        assert await read_frame(peer) == (BINARY, b"\x00\xff")
        euro = "\u20ac".encode()
        await peer.send(client_frame(TEXT, b"a" + euro[:1], fin=False))
        await peer.send(client_frame(PING, b"between"))
        await peer.send(client_frame(CONTINUATION, euro[1:2], fin=False))
        await peer.send(client_frame(CONTINUATION, euro[2:] + b"z"))
        assert await read_frame(peer) == (PONG, b"between")
        assert await read_frame(peer) == (TEXT, b"a" + euro + b"z")


async def test_an_encoded_message_is_sent_as_the_frame_that_all_share() -> None:
    encoded = JSON_V2.encode_broadcast("room:1", "shout", {"body": "hi"})

    async def body(ws: WebSocket, case: Case) -> None:
        transport: Transport = ws
        transport.send(encoded)
        ws.send_frame(binary_frame(b"raw"))
        await ws.receive()

    async with websocket(body) as case:
        assert await read_frame(case.peer) == (TEXT, encoded.data)
        assert await read_frame(case.peer) == (BINARY, b"raw")


async def test_the_library_of_the_same_name_is_served_as_a_client() -> None:
    listeners = await open_listeners("127.0.0.1", 0)
    url = f"ws://127.0.0.1:{listeners[0].getsockname()[1]}/"
    ends: list[object] = []

    async def serve() -> None:
        stream = await accept(listeners[0])
        upgrade = await serve_requests(stream, agree)
        assert upgrade is not None
        try:
            async with open_websocket(stream, upgrade, subprotocol="phoenix") as ws:
                await echo(ws)
        except ConnectionEnded as end:
            ends.append(end)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve)
        async with trio_websocket.open_websocket_url(url, subprotocols=["phoenix"]) as client:
            assert client.subprotocol == "phoenix"
            await client.send_message("text \u20ac")
            assert await client.get_message() == "text \u20ac"
            await client.send_message(b"bytes")
            assert await client.get_message() == b"bytes"
            with trio.fail_after(1):
                await client.ping(b"alive")
            await client.aclose(4001, "bye")
    assert [(end.code, end.reason, end.by) for end in ends if isinstance(end, Closed)] == [
        (4001, "bye", "peer")
    ]
    listeners[0].close()


@pytest.mark.parametrize("count", [1, 2, 50])
async def test_frames_in_one_packet_with_the_upgrade_are_delivered(count: int) -> None:
    frames = b"".join(client_frame(TEXT, b"early %d" % number) for number in range(count))
    async with websocket(behind=frames + client_close(1000)) as case:
        assert is_like(await case.ended(), Closed(1000, "", "peer"))
        assert case.got == [f"early {number}" for number in range(count)]


async def test_half_a_frame_in_one_packet_with_the_upgrade_is_completed_later() -> None:
    frame = client_frame(TEXT, b"hello")
    async with websocket(echo, behind=frame[:3]) as case:
        await case.peer.send(frame[3:])
        assert await read_frame(case.peer) == (TEXT, b"hello")


async def test_headers_that_the_library_would_choke_on_do_not_reach_it() -> None:
    odd = (
        HEAD.replace(b"localhost", b"a..b:99999")
        + b"Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits, \xff\r\n"
        + b"Cookie: \xff\x01\r\nSec-WebSocket-Protocol: \xe9t\xe9, phoenix\r\n"
    )
    async with websocket(echo, head=odd, subprotocol="phoenix") as case:
        answer = case.answer.lower()
        assert b"sec-websocket-extensions" not in answer
        assert b"sec-websocket-protocol: phoenix\r\n" in answer
        assert b"sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo=\r\n" in answer
        await case.peer.send(client_frame(TEXT, b"x"))
        assert await read_frame(case.peer) == (TEXT, b"x")


async def test_a_subprotocol_that_was_not_offered_is_a_mistake_of_the_caller() -> None:
    async with stream_and_peer() as (stream, _):
        request = Request(method="GET", target="/", path="/", raw_query="", query={}, headers=())
        upgrade = Upgrade(request=request, key="x", subprotocols=("phoenix",))
        with pytest.raises(ValueError, match=r"\['phoenix'\], not 'other'"):
            async with open_websocket(stream, upgrade, subprotocol="other"):
                raise AssertionError("unreachable")
        for size in (0, -1):
            with pytest.raises(ValueError, match="1 byte or more"):
                async with open_websocket(stream, upgrade, max_frame_size=size):
                    raise AssertionError("unreachable")


async def test_a_ping_is_answered_and_every_byte_counts_as_a_sign_of_life() -> None:
    async def body(ws: WebSocket, case: Case) -> None:
        servers.append(ws)
        await collect(ws, case)

    servers: list[WebSocket] = []
    async with websocket(body) as case:
        await trio.testing.wait_all_tasks_blocked(0.01)
        [server] = servers
        for data in (client_frame(PING, b"x"), client_frame(PONG), client_frame(TEXT, b"ab")[:3]):
            before = server.last_received
            await trio.sleep(0.01)
            await case.peer.send(data)
            await trio.sleep(0.01)
            assert server.last_received > before
        before = server.last_received
        server.ping(b"are you there")
        server.send_frame(text_frame(b"x"))
        await trio.sleep(0.01)
        assert server.last_received == before
        assert [await read_frame(case.peer) for _ in range(3)] == [
            (PONG, b"x"),
            (PING, b"are you there"),
            (TEXT, b"x"),
        ]
        assert server.stream is case.stream
        assert "open" in repr(server)
        with pytest.raises(ValueError, match="125"):
            server.ping(b"x" * 126)


# -- the peer leaves


@pytest.mark.parametrize("code", [1000, 1001, 1002, 1003, 1007, 1008, 1010, 1011, 3000, 4001, 4999])
async def test_a_close_frame_of_the_peer_is_answered_with_1000(code: int) -> None:
    async with websocket() as case:
        await case.peer.send(client_frame(TEXT, b"before") + client_close(code, b"why"))
        assert await read_close(case.peer) == 1000
        end = await case.ended()
        assert isinstance(end, Closed)
        assert (end.code, end.reason, end.by) == (code, "why", "peer")
        assert case.got == ["before"]


async def test_a_close_frame_without_a_code_is_answered_with_1000_and_told_as_1005() -> None:
    async with websocket() as case:
        await case.peer.send(client_close())
        assert await read_close(case.peer) == 1000
        assert is_like(await case.ended(), Closed(1005, "", "peer"))


@pytest.mark.parametrize("code", [5000, 65535])
@pytest.mark.parametrize("reason", [b"", b"why"])
async def test_a_close_code_that_nobody_has_given_out_is_answered_with_1000(
    code: int, reason: bytes
) -> None:
    async with websocket() as case:
        frames = client_frame(TEXT, b"before") + client_close(code, reason)
        for at in range(len(frames)):
            await case.peer.send(frames[at : at + 1])
            await trio.sleep(0.002)
        assert await read_close(case.peer) == 1000
        assert is_like(await case.ended(), Closed(code, "", "peer"))
        assert case.got == ["before"]


@pytest.mark.parametrize(
    "frames",
    [
        client_close(999) + client_close(5000),
        client_frame(CLOSE, (5000).to_bytes(2, "big"), mask=None),
        client_frame(CLOSE, (5000).to_bytes(2, "big"), fin=False),
        client_frame(CLOSE, (5000).to_bytes(2, "big"), rsv=2),
        client_frame(CLOSE, (5000).to_bytes(2, "big") + b"x" * 124),
    ],
)
async def test_a_close_code_counts_for_nothing_where_its_frame_is_not_the_first_or_is_broken(
    frames: bytes,
) -> None:
    async with websocket(close_within=0.1) as case:
        await case.peer.send(frames)
        assert await read_close(case.peer) == 1002
        assert is_like(await case.ended(), ProtocolViolation(1002, ""))


@pytest.mark.parametrize("code", [1012, 1013])
async def test_a_close_code_that_is_not_for_clients_is_answered_with_1002(code: int) -> None:
    async with websocket() as case:
        await case.peer.send(client_close(code))
        assert await read_close(case.peer) == 1002
        assert is_like(await case.ended(), Closed(code, "", "peer"))


@pytest.mark.parametrize(
    "payload",
    [code.to_bytes(2, "big") for code in (0, 999, 1004, 1005, 1006, 1014, 1015, 1016, 2999)]
    + [b"\x03"],
)
async def test_a_close_frame_that_is_none_is_a_violation(payload: bytes) -> None:
    async with websocket(close_within=0.1) as case:
        await case.peer.send(client_frame(CLOSE, payload))
        assert await read_close(case.peer) == 1002
        assert is_like(await case.ended(), ProtocolViolation(1002, ""))


async def test_an_end_without_a_close_frame_is_a_loss() -> None:
    for leave in (Peer.fin, Peer.close):
        async with websocket() as case:
            await case.peer.send(client_frame(TEXT, b"before"))
            leave(case.peer)
            assert is_like(await case.ended(), Lost("eof"))
            assert case.got == ["before"]


async def test_an_end_in_the_middle_of_a_frame_is_a_loss() -> None:
    async with websocket() as case:
        await case.peer.send(client_frame(TEXT, b"x" * 1000)[:500])
        case.peer.fin()
        assert is_like(await case.ended(), Lost("eof"))
        assert case.got == []


async def test_a_reset_is_a_loss_that_carries_the_error() -> None:
    async with websocket() as case:
        case.peer.reset()
        end = await case.ended()
        assert is_like(end, Lost("reset"))
        assert isinstance(end, Lost)
        assert isinstance(end.error, ConnectionResetError)


async def test_a_reset_that_is_met_while_sending_is_the_same_loss() -> None:
    async def body(ws: WebSocket, case: Case) -> None:
        await case.opened.wait()
        case.peer.reset()
        while case.stream.state == "open":
            ws.send_frame(text_frame(b"x"))
        await ws.receive()

    async with websocket(body) as case:
        assert is_like(await case.ended(), Lost("reset"))


async def test_a_close_frame_right_before_the_end_of_the_connection_is_still_a_close() -> None:
    async with websocket() as case:
        await case.peer.send(client_close(1001))
        case.peer.fin()
        assert is_like(await case.ended(), Closed(1001, "", "peer"))


async def test_a_closed_connection_is_told_at_once_whatever_the_peer_does_then() -> None:
    # The peer neither reads the answer nor ends its side.
    async with websocket(close_within=5.0) as case:
        start = trio.current_time()
        await case.peer.send(client_close(1000))
        await case.ended()
        assert trio.current_time() - start < 0.5


# -- the peer breaks the rules


BROKEN: dict[str, tuple[bytes, int]] = {
    "unmasked": (client_frame(TEXT, b"x", mask=None), 1002),
    "reserved bit 1": (client_frame(TEXT, b"x", rsv=4), 1002),
    "reserved bit 3": (client_frame(TEXT, b"x", rsv=1), 1002),
    "reserved opcode": (client_frame(0x3, b"x"), 1002),
    "reserved control opcode": (client_frame(0xB, b"x"), 1002),
    "stray continuation": (client_frame(CONTINUATION, b"x"), 1002),
    "message in a message": (
        client_frame(TEXT, b"x", fin=False) + client_frame(TEXT, b"y"),
        1002,
    ),
    "fragmented ping": (client_frame(PING, b"x", fin=False), 1002),
    "large ping": (client_frame(PING, b"x" * 126), 1002),
    "wasteful length": (client_frame(TEXT, b"x", width=2), 1002),
    "more wasteful length": (client_frame(TEXT, b"x", width=8), 1002),
    "bad text": (client_frame(TEXT, b"a\xff"), 1007),
    "overlong text": (client_frame(TEXT, b"\xc0\x80"), 1007),
    "surrogate": (client_frame(TEXT, b"\xed\xa0\x80"), 1007),
    "cut text": (client_frame(TEXT, b"\xe2\x82"), 1007),
    "bad text in a fragment": (
        client_frame(TEXT, b"a\xe2", fin=False) + client_frame(CONTINUATION, b"a"),
        1007,
    ),
    "bad close reason": (client_close(1000, b"\xff"), 1007),
}


@pytest.mark.parametrize("name", BROKEN)
async def test_a_broken_frame_is_answered_with_its_code_and_is_a_violation(name: str) -> None:
    data, code = BROKEN[name]
    async with websocket(close_within=0.1) as case:
        await case.peer.send(client_frame(TEXT, b"before") + data + client_frame(TEXT, b"after"))
        assert await read_close(case.peer) == code
        end = await case.ended()
        assert is_like(end, ProtocolViolation(code, ""))
        assert case.got == ["before"]


async def test_a_peer_is_told_of_its_violation_even_while_the_handler_is_busy() -> None:
    released = trio.Event()

    async def body(ws: WebSocket, case: Case) -> None:
        await released.wait()
        await collect(ws, case)

    async with websocket(body) as case:
        await case.peer.send(client_frame(TEXT, b"\xff"))
        assert await read_frame(case.peer) == (CLOSE, (1007).to_bytes(2, "big"))
        released.set()
        case.peer.fin()
        assert is_like(await case.ended(), ProtocolViolation(1007, ""))


@pytest.mark.parametrize(
    "frames",
    [
        client_frame(TEXT, b"x" * 101),
        client_frame(BINARY, b"x" * 101),
        client_frame(TEXT, "é".encode() * 51),
        client_frame(TEXT, "\U0001f600".encode() * 26),
        client_frame(TEXT, b"x" * 60, fin=False) + client_frame(CONTINUATION, b"x" * 41),
        client_frame(TEXT, b"x" * 60, fin=False)
        + client_frame(PING, b"x" * 100)
        + client_frame(CONTINUATION, b"x" * 40, fin=False)
        + client_frame(CONTINUATION, b"x"),
        # What is announced counts: the bytes need not come.
        client_frame(TEXT, b"x" * 10, length=101),
        client_frame(BINARY, b"", length=1 << 40),
    ],
    ids=range(8),
)
async def test_a_message_larger_than_allowed_in_bytes_is_refused_with_1009(frames: bytes) -> None:
    async with websocket(max_frame_size=106, max_message_size=100, close_within=0.1) as case:
        await case.peer.send(client_frame(TEXT, b"before") + frames)
        opcode, payload = await read_frame(case.peer)
        if opcode == PONG:
            opcode, payload = await read_frame(case.peer)
        assert (opcode, payload) == (CLOSE, (1009).to_bytes(2, "big"))
        assert await case.peer.receive() == b""
        end = await case.ended()
        assert is_like(end, ProtocolViolation(1009, ""))
        assert "106 bytes, or 100 in fragments" in str(end)
        assert case.got == ["before"]


async def test_messages_up_to_the_limit_pass_and_the_count_begins_anew_with_each() -> None:
    messages = ["x" * 100, "é" * 50, "", "\U0001f600" * 25]
    async with websocket(max_frame_size=106, max_message_size=100) as case:
        for message in messages:
            await case.peer.send(client_frame(TEXT, message.encode()))
        for _ in range(3):
            await case.peer.send(client_frame(BINARY, b"y" * 50, fin=False))
            await case.peer.send(client_frame(PING, b"z" * 125))
            await case.peer.send(client_frame(CONTINUATION, b"y" * 50))
        await case.peer.send(client_close(1000))
        assert is_like(await case.ended(), Closed(1000, "", "peer"))
        assert case.got == [*messages, *[b"y" * 100] * 3]


async def test_a_silent_peer_is_dropped_soon_after_1009() -> None:
    async with websocket(max_frame_size=106, max_message_size=100, close_within=0.1) as case:
        start = trio.current_time()
        await case.peer.send(client_frame(TEXT, b"x" * 101))
        assert is_like(await case.ended(), ProtocolViolation(1009, ""))
        assert trio.current_time() - start < 1


async def test_a_peer_in_the_middle_of_a_huge_message_can_read_why_it_is_closed() -> None:
    async with websocket(max_frame_size=100_000) as case, trio.open_nursery() as nursery:

        async def flood() -> None:
            try:
                await case.peer.send(client_frame(BINARY, b"x" * 3_000_000))
                case.peer.fin()
            except trio.BrokenResourceError:
                pytest.fail("reset before the close frame could be read")

        nursery.start_soon(flood)
        assert await read_close(case.peer) == 1009
        assert is_like(await case.ended(), ProtocolViolation(1009, ""))


async def test_a_peer_that_does_not_read_is_cut_off_when_too_much_waits_for_it() -> None:
    async def body(ws: WebSocket, case: Case) -> None:
        for _ in range(100):
            ws.send_frame(binary_frame(b"x" * 10_000))
            await trio.lowlevel.checkpoint()
        assert ws.is_closing
        await ws.receive()

    async with websocket(body, buffer=4096, max_queued=50_000) as case:
        assert is_like(await case.ended(), Lost("overflow"))


async def test_a_peer_that_pings_and_never_reads_the_pongs_is_cut_off() -> None:
    async with websocket(buffer=4096, max_queued=20_000) as case, trio.open_nursery() as nursery:

        async def flood() -> None:
            with pytest.raises(trio.BrokenResourceError):
                while True:
                    await case.peer.send(client_frame(PING, b"x" * 125) * 50)

        nursery.start_soon(flood)
        assert is_like(await case.ended(), Lost("overflow"))


async def test_a_slow_peer_gets_everything_in_the_end() -> None:
    async def body(ws: WebSocket, case: Case) -> None:
        for number in range(300):
            ws.send_frame(binary_frame(b"%03d" % number + b"x" * 1000))
        await ws.close(4000)

    async with websocket(body, buffer=4096) as case:
        for number in range(300):
            opcode, payload = await read_frame(case.peer)
            assert (opcode, payload[:3], len(payload)) == (BINARY, b"%03d" % number, 1003)
        assert (await read_frame(case.peer))[1] == (4000).to_bytes(2, "big")
        await case.peer.send(client_close(4000))
        assert await case.ended() is None


# -- we leave


async def test_closing_sends_the_code_behind_what_was_queued_and_waits_for_the_peer() -> None:
    async def body(ws: WebSocket, case: Case) -> None:
        ws.send_frame(text_frame(b"last"))
        await ws.close(1012, within=1)
        ws.send_frame(text_frame(b"never"))
        ws.ping()
        with pytest.raises(Closed) as caught:
            await ws.receive()
        assert (caught.value.code, caught.value.by) == (1012, "local")
        await ws.close(4000)  # a second close changes nothing
        assert case.stream.state == "closed"

    async with websocket(body) as case:
        assert await read_frame(case.peer) == (TEXT, b"last")
        assert await read_frame(case.peer) == (CLOSE, (1012).to_bytes(2, "big"))
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert not case.done.is_set()
        await case.peer.send(client_close(1012))
        assert await case.peer.receive_all() == b""
        assert await case.ended() is None


@pytest.mark.parametrize("sends", [b"", client_frame(PING, b"x"), client_frame(TEXT, b"\xff")])
async def test_a_peer_that_does_not_answer_a_close_is_dropped_at_the_deadline(
    sends: bytes,
) -> None:
    async def body(ws: WebSocket, case: Case) -> None:
        start = trio.current_time()
        await ws.close(1001, within=0.1)
        took.append(trio.current_time() - start)

    took: list[float] = []
    async with websocket(body) as case:
        opcode, payload = await read_frame(case.peer)
        assert (opcode, payload) == (CLOSE, (1001).to_bytes(2, "big"))
        await case.peer.send(sends)
        assert await case.ended() is None
        assert took[0] < 1
        assert await case.peer.receive() == b""


async def test_a_peer_that_goes_on_sending_is_closed_all_the_same() -> None:
    async def body(ws: WebSocket, case: Case) -> None:
        await ws.close(1001, within=0.1)

    async with websocket(body) as case, trio.open_nursery() as nursery:

        async def flood() -> None:
            try:
                while True:
                    await case.peer.send(client_frame(TEXT, b"x" * 1000) + client_frame(PING))
            except trio.BrokenResourceError:
                pass

        nursery.start_soon(flood)
        assert await case.ended() is None


async def test_a_peer_that_does_not_read_cannot_hold_up_a_close() -> None:
    async def body(ws: WebSocket, case: Case) -> None:
        while not case.stream.queued_bytes:
            ws.send_frame(binary_frame(b"x" * 1000))
        await ws.close(1001, within=0.1)

    async with websocket(body, buffer=4096) as case:
        start = trio.current_time()
        assert await case.ended() is None
        assert trio.current_time() - start < 1


async def test_the_reason_of_a_close_can_be_told() -> None:
    async with websocket(lambda ws, _: ws.close(4000, "bye", within=0.1)) as case:
        assert await read_frame(case.peer) == (CLOSE, (4000).to_bytes(2, "big") + b"bye")


@pytest.mark.parametrize("code", [0, 999, 1004, 1005, 1006, 1015, 2000, 2999, 5000, -1])
async def test_a_code_that_may_not_be_sent_is_a_mistake_of_the_caller(code: int) -> None:
    async with websocket(lambda ws, _: ws.close(code)) as case:
        assert await read_frame(case.peer) == (CLOSE, (1011).to_bytes(2, "big"))
        await case.peer.send(client_close(1011))
        assert isinstance(await case.ended(), ValueError)


async def test_a_receive_that_waits_ends_when_another_task_closes() -> None:
    async def body(ws: WebSocket, case: Case) -> None:
        async def wait() -> None:
            with pytest.raises(Closed) as caught:
                await ws.receive()
            ends.append(caught.value)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait)
            await trio.testing.wait_all_tasks_blocked()
            await ws.close(4000, within=1)

    ends: list[Closed] = []
    async with websocket(body) as case:
        await read_frame(case.peer)
        await case.peer.send(client_frame(TEXT, b"too late") + client_close(4000))
        assert await case.ended() is None
        assert [(end.code, end.by) for end in ends] == [(4000, "local")]


async def test_leaving_the_block_closes_with_1001_and_never_with_1000() -> None:
    async def body(ws: WebSocket, case: Case) -> None:
        await ws.receive()

    async with websocket(body) as case:
        await case.peer.send(client_frame(TEXT, b"done"))
        assert await read_frame(case.peer) == (CLOSE, (1001).to_bytes(2, "big"))
        await case.peer.send(client_close(1001))
        assert await case.ended() is None


async def test_an_exception_closes_with_1011_and_comes_out_as_it_is() -> None:
    async def body(ws: WebSocket, case: Case) -> None:
        raise LookupError("boom")

    async with websocket(body) as case:
        assert await read_frame(case.peer) == (CLOSE, (1011).to_bytes(2, "big"))
        await case.peer.send(client_close(1011))
        error = await case.ended()
        assert type(error) is LookupError
        assert error.__context__ is None


async def test_what_is_no_error_cuts_the_connection_and_comes_out_as_it_is() -> None:
    async def body(ws: WebSocket, case: Case) -> None:
        raise Leave

    async with websocket(body) as case:
        assert await case.peer.receive_all() == b""
        assert type(await case.ended()) is Leave


async def test_a_cancelled_block_cuts_the_connection_without_a_close_frame() -> None:
    async with websocket() as case:
        await trio.testing.wait_all_tasks_blocked()
        case.scope.cancel()
        assert await case.ended() is None
        assert case.scope.cancelled_caught
        assert await case.peer.receive_all() == b""


async def test_a_close_that_is_cancelled_closes_the_socket_all_the_same() -> None:
    async def body(ws: WebSocket, case: Case) -> None:
        with trio.move_on_after(0.02) as scope:
            await ws.close(1001, within=60)
        assert scope.cancelled_caught
        assert case.stream.state == "closed"

    async with websocket(body) as case:
        assert await read_close(case.peer) == 1001
        assert await case.ended() is None


async def test_an_abort_is_immediate_and_silent() -> None:
    async def body(ws: WebSocket, case: Case) -> None:
        ws.abort()
        ws.send_frame(text_frame(b"never"))
        await ws.receive()

    async with websocket(body) as case:
        assert await case.peer.receive_all() == b""
        assert is_like(await case.ended(), Lost("aborted"))


async def test_nothing_is_written_behind_a_close_frame_by_anybody() -> None:
    async def body(ws: WebSocket, case: Case) -> None:
        async with trio.open_nursery() as nursery:

            async def chatter() -> None:
                while True:
                    ws.send_frame(text_frame(b"chatter"))
                    ws.ping()
                    await trio.lowlevel.checkpoint()

            nursery.start_soon(chatter)
            try:
                await collect(ws, case)
            finally:
                await trio.sleep(0.02)
                nursery.cancel_scope.cancel()

    async with websocket(body) as case:
        await case.peer.send(client_close(1000) + client_frame(PING, b"late"))
        opcode, payload = await read_frame(case.peer)
        while opcode != CLOSE:
            opcode, payload = await read_frame(case.peer)
        assert payload == (1000).to_bytes(2, "big")
        assert await case.peer.receive_all() == b""


# -- cancellation and failures


async def test_cancelled_receives_lose_and_repeat_no_message() -> None:
    dice = random.Random(3)

    async def body(ws: WebSocket, case: Case) -> None:
        while True:
            with trio.move_on_after(dice.random() * 0.0005):
                case.got.append(await ws.receive())

    async with websocket(body) as case:
        for number in range(300):
            await case.peer.send(client_frame(TEXT, b"%d" % number))
            if dice.random() < 0.1:
                await trio.sleep(0.001)
        await case.peer.send(client_close(1000))
        await case.ended()
        assert case.got == [str(number) for number in range(300)]


async def test_cancelled_senders_never_leave_half_a_frame() -> None:
    dice = random.Random(5)
    sent: list[int] = []

    async def body(ws: WebSocket, case: Case) -> None:
        for _ in range(150):
            with trio.move_on_after(dice.random() * 0.0005):
                while True:
                    size = dice.randrange(1, 5000)
                    ws.send_frame(binary_frame(b"x" * size))
                    sent.append(size)
                    await trio.lowlevel.checkpoint()
                    if len(sent) > 2000:
                        break
        await ws.close(4000)

    async with websocket(body, max_queued=100_000_000) as case:
        sizes: list[int] = []
        while True:
            opcode, payload = await read_frame(case.peer)
            if opcode == CLOSE:
                break
            sizes.append(len(payload))
        assert sizes == sent


async def test_an_error_inside_the_library_ends_this_connection_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def events(connection: object) -> Any:
        raise RuntimeError("a bug in the library")

    async with websocket(echo) as other, websocket() as case:
        monkeypatch.setattr("wsproto.connection.Connection.events", events)
        await case.peer.send(client_frame(TEXT, b"x"))
        end = await case.ended()
        assert is_like(end, Lost("failed"))
        assert isinstance(end, Lost)
        assert str(end.error) == "a bug in the library"
        monkeypatch.undo()
        await other.peer.send(client_frame(TEXT, b"still here"))
        assert await read_frame(other.peer) == (TEXT, b"still here")


async def test_a_crashing_handler_leaves_the_other_connections_alone() -> None:
    async def crash(ws: WebSocket, case: Case) -> None:
        await ws.receive()
        raise ZeroDivisionError

    async with websocket(echo) as other, websocket(crash, close_within=0.05) as case:
        await case.peer.send(client_frame(TEXT, b"x"))
        assert isinstance(await case.ended(), ZeroDivisionError)
        await other.peer.send(client_frame(TEXT, b"still here"))
        assert await read_frame(other.peer) == (TEXT, b"still here")


frames = st.builds(
    client_frame,
    st.integers(0, 15),
    st.binary(max_size=140),
    fin=st.booleans(),
    rsv=st.sampled_from([0, 0, 0, 1]),
    mask=st.sampled_from([b"\0\0\0\0", b"abcd", None]),
    length=st.none() | st.sampled_from([0, 5, 125, 300, 1 << 62]),
    width=st.just(None),
)


@given(st.lists(frames | st.binary(max_size=20), max_size=8).map(b"".join))
@settings(max_examples=80)
async def test_any_bytes_end_in_a_close_a_loss_or_a_violation(data: bytes) -> None:
    async with websocket(max_frame_size=200, max_message_size=200, close_within=0.05) as case:
        await case.peer.send(data)
        case.peer.fin()
        end = await case.ended()
        assert isinstance(end, ConnectionEnded)
        assert not is_like(end, Lost("failed"))


# -- the sizes of messages, without a socket


@given(
    st.lists(st.tuples(st.integers(0, 40), st.booleans(), st.booleans()), max_size=8),
    st.integers(1, 60),
    st.integers(1, 60),
    st.randoms(use_true_random=False),
)
def test_sizes_are_followed_however_the_bytes_are_cut(
    messages: list[tuple[int, bool, bool]], frame: int, message: int, dice: random.Random
) -> None:
    data = bytearray()
    fragments = 0
    is_within = False
    good: int | None = None
    for size, fin, control in messages:
        width = dice.choice([0, 2, 8])
        opcode = PING if control else CONTINUATION if is_within else BINARY
        encoded = client_frame(opcode, b"x" * size, fin=fin or control, width=width)
        if not control:
            if is_within or not fin:
                # An empty fragment counts for something too.
                fragments += max(size, 1)
            if (len(encoded) > frame or fragments > message) and good is None:
                good = len(data)
            is_within = not fin
            fragments = fragments if is_within else 0
        data += encoded
    sizes = MessageSizes(frame, message)
    at = 0
    while at < len(data):
        step = dice.randrange(1, 20)
        piece = bytes(data[at : at + step])
        followed = sizes.follow(piece)
        if followed < len(piece):
            # The header of the frame may have come in part with the pieces before.
            assert good is not None
            assert good <= at + followed < good + 14
            assert followed == max(0, good - at)
            return
        at += len(piece)
    assert good is None
