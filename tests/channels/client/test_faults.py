"""The client against servers that no server should be: each fault ends in one clear error."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
import trio

from exeunt.channels.client import (
    Binary,
    ChannelClosed,
    ChannelCrashed,
    ConnectFailed,
    Delays,
    Disconnected,
    JoinRefused,
    JoinTimeout,
    PushTimeout,
    ReplyError,
    SendQueueFull,
    connect,
)

from .servers import BINARY, PING, PONG, TEXT, Guest, open_scripted, server_frame, until

SOON = Delays(0.01, jitter=0)


def says(data: bytes) -> Callable[[Guest], Any]:
    """Return a script that lets a client join, and then sends these bytes."""

    async def script(guest: Guest) -> None:
        await guest.accept()
        await guest.let_join()
        await guest.send_raw(data)
        while True:
            await guest.frame()

    return script


def text(message: object) -> bytes:
    return server_frame(TEXT, json.dumps(message).encode())


# -- the handshake


@pytest.mark.parametrize(
    ("answer", "hint"),
    [
        (b"", "hung up without an answer"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "does not speak HTTP"),
        (b"\x15\x03\x01\x00\x02\x02\x46", r"does it speak TLS \(wss\)"),
        (b"HTTP/1.1 abc\r\n\r\n", "does not speak HTTP"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", "status 200: that is no WebSocket"),
        (b"HTTP/1.1 503 No\r\nTransfer-Encoding: chunked\r\n\r\n", "no place for another"),
        (b"HTTP/1.1 502 Bad\r\n\r\nnever ends", "proxy in front"),
        (b"HTTP/1.1 101 Go\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n", "handshake"),
        (b"HTTP/1.1 101 Go\r\nUpgrade: tea\r\nConnection: Upgrade\r\n\r\n", "handshake"),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 404 No\r\n\r\n", "no socket at this path"),
    ],
)
async def test_what_is_no_websocket_says_what_it_is(answer: bytes, hint: str) -> None:
    async def script(guest: Guest) -> None:
        await guest.read_head()
        await guest.send_raw(answer)
        if answer:
            await guest.silence()

    async with open_scripted(script) as server:
        with trio.fail_after(10), pytest.raises(ConnectFailed, match=hint):
            async with connect(server.url):
                pytest.fail("it connected")


async def test_a_head_without_end_is_not_read_for_ever() -> None:
    async def script(guest: Guest) -> None:
        await guest.read_head()
        await guest.send_raw(b"HTTP/1.1 101 Go\r\n")
        while True:
            await guest.send_raw(b"X-A: " + b"a" * 1000 + b"\r\n")

    async with open_scripted(script) as server:
        with trio.fail_after(10), pytest.raises(ConnectFailed):
            async with connect(server.url):
                pytest.fail("it connected")


async def test_a_handshake_that_is_not_answered_is_given_up() -> None:
    async def script(guest: Guest) -> None:
        await guest.silence()

    async with open_scripted(script) as server:
        with (
            trio.fail_after(10),
            pytest.raises(ConnectFailed, match=r"WebSocket handshake in 0\.05"),
        ):
            async with connect(server.url, connect_within=0.05):
                pytest.fail("it connected")


async def test_what_comes_in_one_packet_with_the_handshake_is_not_lost() -> None:
    async def script(guest: Guest) -> None:
        await guest.accept(behind=server_frame(PING, b"early") + text([None, None, "a", "x", {}]))
        assert await guest.frame() == (PONG, b"early")
        await guest.let_join()
        await guest.silence()

    async with open_scripted(script) as server, connect(server.url, close_within=0) as socket:
        assert (await socket.join("a")).is_joined


# -- messages


MALFORMED = {
    "no json": server_frame(TEXT, b"[1,2"),
    "an object": text({"topic": "a"}),
    "too short": text([None, None, "a", "x"]),
    "a topic that is no string": text([None, None, 7, "x", {}]),
    "an event that is no string": text([None, None, "a", None, {}]),
    "a reply without a status": text(["1", "9", "a", "phx_reply", {"response": {}}]),
    "a reply that is no object": text(["1", "9", "a", "phx_reply", [1]]),
    "NaN": server_frame(TEXT, b'[null,null,"a","x",NaN]'),
    "deep nesting": server_frame(TEXT, b"[" * 50_000),
    "an empty binary message": server_frame(BINARY, b""),
    "an unknown kind": server_frame(BINARY, b"\x07abc"),
    "a binary message that is cut": server_frame(BINARY, b"\x00\x01\x05\x01a"),
    "bad UTF-8 within a binary message": server_frame(BINARY, b"\x02\x01\x01\xff\xffdata"),
    "a frame with reserved bits": b"\xf1\x02{}",
    "bad UTF-8": server_frame(TEXT, b"\xff\xfe"),
    "a masked frame": b"\x81\x82\x00\x00\x00\x00{}",
    "a ping that is too long": server_frame(PING, b"p" * 126),
    "a continuation of nothing": server_frame(0, b"x"),
}


@pytest.mark.parametrize("data", MALFORMED.values(), ids=MALFORMED)
async def test_a_broken_message_ends_the_connection_with_a_word_and_it_is_made_anew(
    data: bytes,
) -> None:
    codes: list[int] = []

    async def broken(guest: Guest) -> None:
        await guest.accept()
        await guest.let_join()
        await guest.send_raw(data)
        codes.append(await guest.until_close())

    async def whole(guest: Guest) -> None:
        await guest.accept()
        await guest.let_join()
        await guest.answer(await guest.message())
        await guest.silence()

    async with (
        open_scripted(broken, whole) as server,
        connect(server.url, reconnect=SOON, close_within=0) as socket,
    ):
        room = await socket.join("a")
        with trio.fail_after(10):
            await until(lambda: socket.connections == 2)
            assert await room.push("x", wait=True) == {}
        assert isinstance(socket.error, Disconnected)
        assert (socket.error.by, socket.error.code) == ("client", codes[0])
        assert codes[0] in (1002, 1007)


@pytest.mark.parametrize("binary", [False, True])
@pytest.mark.parametrize("announced", [5_000, 10**12, 2**63 - 1])
async def test_a_message_that_is_too_large_is_refused_by_its_header(
    binary: bool, announced: int
) -> None:
    codes: list[int] = []

    async def huge(guest: Guest) -> None:
        await guest.accept()
        await guest.let_join()
        await guest.send_raw(server_frame(BINARY if binary else TEXT, b"x", length=announced))
        codes.append(await guest.until_close())

    async with open_scripted(huge) as server:
        with (
            trio.fail_after(10),
            pytest.raises(Disconnected, match="more than 4000 bytes") as caught,
        ):
            async with connect(server.url, reconnect=None, max_message_size=4000) as socket:
                await (await socket.join("a")).receive()
        assert (caught.value.code, caught.value.by) == (1009, "client")
        await until(lambda: codes == [1009])


async def test_a_message_that_grows_by_fragments_is_refused_too() -> None:
    fragments = b"\x01\x7e\x03\xe8" + b"x" * 1000 + (b"\x00\x7e\x03\xe8" + b"x" * 1000) * 5
    async with open_scripted(says(fragments)) as server:
        with trio.fail_after(10), pytest.raises(Disconnected, match="more than 4000 bytes"):
            async with connect(server.url, reconnect=None, max_message_size=4000) as socket:
                await (await socket.join("a")).receive()


async def test_messages_that_concern_nobody_are_passed_over() -> None:
    messages: list[list[Any]] = [
        [None, None, "elsewhere", "x", {}],
        ["99", None, "a", "of another join", {}],
        [1, None, "a", "of a join with another type", {}],
        [None, "77", "a", "phx_reply", {"status": "ok", "response": {}}],
        [None, 1, "a", "phx_reply", {"status": "ok", "response": {}}],
        [None, None, "phoenix", "phx_reply", {"status": "ok"}],
        ["1", "1", "a", "phx_reply", {"status": "ok", "response": {"twice": True}}],
        ["99", "99", "a", "phx_close", {}],
        ["99", "99", "a", "phx_error", {}],
        ["", None, "a", "mine", {"n": 1}, "and more"],
    ]
    data = b"".join(map(text, messages))
    data += server_frame(BINARY, b"\x00\x01\x01\x041amineraw")
    async with open_scripted(says(data)) as server, connect(server.url, close_within=0) as socket:
        room = await socket.join("a")
        one, two = await room.receive(), await room.receive()
        assert (one.event, one.payload) == ("mine", {"n": 1})
        assert (two.event, two.payload) == ("mine", Binary(b"raw"))
        assert (room.response, room.joins) == ({}, 1)


# -- joins and pushes


async def test_a_join_that_is_never_answered() -> None:
    seen: list[list[Any]] = []

    async def script(guest: Guest) -> None:
        await guest.accept()
        while True:
            seen.append(await guest.message())

    async with open_scripted(script) as server, connect(server.url, close_within=0) as socket:
        with pytest.raises(JoinTimeout):
            await socket.join("a", within=0.05)
        await until(lambda: len(seen) == 2)
        assert [message[3] for message in seen] == ["phx_join", "phx_leave"]
        assert seen[0][0] == seen[1][0]


async def test_a_join_that_ends_in_an_error_or_a_close_fails_at_once() -> None:
    async def script(guest: Guest) -> None:
        await guest.accept()
        for event in ("phx_error", "phx_close"):
            message = await guest.message()
            await guest.send([message[0], message[0], "a", event, {}])
        await guest.answer(await guest.message(), "teapot", "short")
        await guest.silence()

    async with open_scripted(script) as server, connect(server.url, close_within=0) as socket:
        with trio.fail_after(10):
            with pytest.raises(ChannelCrashed):
                await socket.join("a")
            with pytest.raises(ChannelClosed):
                await socket.join("a")
            with pytest.raises(JoinRefused) as caught:
                await socket.join("a")
            assert caught.value.response == "short"


async def test_a_late_reply_to_a_push_that_timed_out_does_not_answer_another() -> None:
    async def script(guest: Guest) -> None:
        await guest.accept()
        await guest.let_join()
        first = await guest.message()
        second = await guest.message()
        await guest.answer(first, "ok", {"n": 1})
        await guest.answer(first, "error", {"n": 1})
        await guest.answer(second, "ok", {"n": 2})
        await guest.silence()

    async with open_scripted(script) as server, connect(server.url, close_within=0) as socket:
        room = await socket.join("a")
        with pytest.raises(PushTimeout):
            await room.push("x", within=0.03)
        assert await room.push("y") == {"n": 2}


async def test_a_close_while_pushes_wait_fails_them_all_at_once() -> None:
    async def script(guest: Guest) -> None:
        await guest.accept()
        joined = await guest.let_join()
        await guest.answer([await guest.message() for _ in range(3)][-1])
        await guest.send([joined[0], joined[0], "a", "phx_close", {}])
        await guest.silence()

    outcomes: list[str] = []

    async with open_scripted(script) as server, connect(server.url, close_within=0) as socket:
        room = await socket.join("a")

        async def push() -> None:
            try:
                await room.push("x", within=30)
                outcomes.append("kept")
            except ChannelClosed:
                outcomes.append("closed")

        with trio.fail_after(10):
            async with trio.open_nursery() as nursery:
                for _ in range(3):
                    nursery.start_soon(push)
    assert sorted(outcomes) == ["closed", "closed", "kept"]


async def test_a_crash_while_leaving_is_a_leave() -> None:
    async def script(guest: Guest) -> None:
        await guest.accept()
        joined = await guest.let_join()
        await guest.message()
        await guest.send([joined[0], joined[0], "a", "phx_error", {}])
        await guest.silence()

    async with (
        open_scripted(script) as server,
        connect(server.url, rejoin=SOON, close_within=0) as socket,
    ):
        room = await socket.join("a")
        with trio.fail_after(10):
            await room.leave(within=30)
        await trio.sleep(0.05)
        assert (room.state, room.joins) == ("closed", 1)


async def test_a_topic_that_the_server_has_forgotten() -> None:
    async def script(guest: Guest) -> None:
        await guest.accept()
        await guest.let_join()
        message = await guest.message()
        body = {"status": "error", "response": {"reason": "unmatched topic"}}
        await guest.send([None, message[1], "a", "phx_reply", body])
        await guest.silence()

    async with open_scripted(script) as server, connect(server.url, close_within=0) as socket:
        room = await socket.join("a")
        with pytest.raises(ReplyError, match="unmatched topic"):
            await room.push("x")


# -- sending


async def test_a_server_that_does_not_read_fails_pushes_and_nothing_else() -> None:
    go_on = trio.Event()
    got: list[int] = []

    async def script(guest: Guest) -> None:
        await guest.accept()
        await guest.let_join()
        await go_on.wait()
        while True:
            got.append((await guest.message())[4]["n"])

    async with (
        open_scripted(script) as server,
        connect(server.url, max_queued=300_000, close_within=0) as socket,
    ):
        room = await socket.join("a")
        sent = 0
        with pytest.raises(SendQueueFull, match="max_queued is 300000"):
            for number in range(2_000):
                room.cast("x", {"n": number, "pad": "p" * 10_000})
                sent += 1
        assert sent > 20
        with pytest.raises(SendQueueFull):
            await room.push("x", {"n": -1, "pad": "p" * 10_000})
        with pytest.raises(SendQueueFull, match="400"):
            room.cast("x", "p" * 400_000)
        assert socket.is_connected
        go_on.set()
        await until(lambda: len(got) == sent)
        assert got == [*range(sent)]
        room.cast("x", {"n": sent})
        await until(lambda: len(got) == sent + 1)


async def test_closing_does_not_wait_for_a_server_that_does_not_answer() -> None:
    async def script(guest: Guest) -> None:
        await guest.accept()
        await guest.let_join()
        await guest.silence()

    async with open_scripted(script) as server:
        began = trio.current_time()
        with trio.fail_after(10):
            async with connect(server.url, close_within=0.1) as socket:
                await socket.join("a")
        assert trio.current_time() - began >= 0.1


async def test_a_push_cancelled_at_any_moment_leaves_the_stream_whole() -> None:
    got: list[int] = []

    async def script(guest: Guest) -> None:
        await guest.accept()
        await guest.let_join()
        while True:
            message = await guest.message()
            got.append(message[4]["n"])
            await guest.answer(message, "ok", message[4]["n"])

    async with open_scripted(script) as server, connect(server.url, close_within=0) as socket:
        room = await socket.join("a")
        for number in range(200):
            with trio.move_on_after(0.00002 * (number % 40)):
                await room.push("x", {"n": number, "pad": "p" * (number % 7) * 300})
        assert await room.push("x", {"n": -1}) == -1
        assert got == [*sorted(got[:-1]), -1]
        assert socket.connections == 1


async def test_a_cancelled_connect_leaves_nothing() -> None:
    async def script(guest: Guest) -> None:
        await guest.silence()

    async with open_scripted(script) as server:
        with trio.move_on_after(0.05) as scope:
            async with connect(server.url):
                pytest.fail("it connected")
        assert scope.cancelled_caught
