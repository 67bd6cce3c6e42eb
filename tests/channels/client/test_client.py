"""The client against the contract server: what a program that uses it sees."""

from __future__ import annotations

import logging
import math
from collections.abc import AsyncGenerator
from typing import Any

import pytest
import trio

from exeunt.channels import PayloadError
from exeunt.channels.client import (
    Binary,
    ChannelClosed,
    ChannelCrashed,
    ClientSocket,
    ConnectFailed,
    Delays,
    Disconnected,
    Event,
    EventsLost,
    JoinRefused,
    JoinTimeout,
    NotJoined,
    PresenceView,
    PushTimeout,
    ReplyError,
    connect,
)
from tests.conformance.phoenix.client import ask
from tests.contract_server.app import open_server

from .servers import until

SOON = Delays(0.01, jitter=0)


@pytest.fixture
async def url() -> AsyncGenerator[str]:
    async with open_server() as url:
        yield url


@pytest.fixture
async def socket(url: str) -> AsyncGenerator[ClientSocket]:
    async with connect(f"{url}/socket", params={"user_id": "7"}, rejoin=SOON) as socket:
        yield socket


# -- join


async def test_a_join_returns_the_channel_and_what_the_server_said(socket: ClientSocket) -> None:
    room = await socket.join("echo:1", {"name": "ann"})
    assert room.response == {"topic": "echo:1", "params": {"name": "ann"}}
    assert (room.topic, room.state, room.is_joined, room.joins) == ("echo:1", "joined", True, 1)
    assert dict(socket.channels) == {"echo:1": room}


async def test_a_join_that_is_refused_raises_what_the_server_said(socket: ClientSocket) -> None:
    with pytest.raises(JoinRefused, match="unauthorized") as caught:
        await socket.join("room:forbidden")
    assert caught.value.response == {"reason": "unauthorized"}
    assert caught.value.topic == "room:forbidden"
    assert not socket.channels


@pytest.mark.parametrize(
    ("topic", "response"),
    [
        ("nowhere", {"reason": "unmatched topic"}),
        ("phoenix", {"reason": "unmatched topic"}),
        ("crash:join_raise", {"reason": "join crashed"}),
        ("crash:join_error_string", "just a string"),
        ("crash:join_error", {"reason": "denied", "code": 42}),
    ],
)
async def test_every_way_of_not_being_let_in_is_a_refusal(
    socket: ClientSocket, topic: str, response: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL)
    with pytest.raises(JoinRefused) as caught:
        await socket.join(topic)
    assert caught.value.response == response


async def test_a_topic_that_was_refused_can_be_joined_later(socket: ClientSocket) -> None:
    for _ in range(3):
        with pytest.raises(JoinRefused):
            await socket.join("auth:1", {"token": None})
    assert await (await socket.join("echo:1")).push("ok") == {}


async def test_a_topic_is_joined_once_on_a_socket(socket: ClientSocket) -> None:
    await socket.join("echo:1")
    with pytest.raises(ValueError, match="leave it first"):
        await socket.join("echo:1")


async def test_a_join_that_takes_too_long_is_taken_back(url: str, socket: ClientSocket) -> None:
    with pytest.raises(JoinTimeout, match=r"'slow:1'.*0\.05 seconds"):
        await socket.join("slow:1", {"delay_ms": 150, "watch": "slow"}, within=0.05)
    assert not socket.channels
    # The server lets it in all the same, and is then told that the client is gone.
    await until_down(url, "slow", {"class": "shutdown", "detail": "left"})
    room = await socket.join("slow:1")
    assert await room.push("ping") == {}


async def test_a_join_that_is_cancelled_is_taken_back(url: str, socket: ClientSocket) -> None:
    with trio.move_on_after(0.05):
        await socket.join("slow:1", {"delay_ms": 100, "watch": "cancelled"})
    assert not socket.channels
    await until_down(url, "cancelled", {"class": "shutdown", "detail": "left"})
    assert (await socket.join("slow:1")).is_joined


async def test_the_parameters_of_a_join_may_come_from_a_function(socket: ClientSocket) -> None:
    calls: list[int] = []

    async def fresh() -> dict[str, int]:
        await trio.lowlevel.checkpoint()
        calls.append(len(calls))
        return {"n": len(calls)}

    room = await socket.join("echo:1", fresh)
    assert room.response["params"] == {"n": 1}
    other = await socket.join("echo:2", lambda: {"n": 9})
    assert other.response["params"] == {"n": 9}


async def test_what_a_function_for_parameters_raises_comes_out_of_the_join(
    socket: ClientSocket,
) -> None:
    def broken() -> dict[str, Any]:
        raise KeyError("token")

    with pytest.raises(KeyError, match="token"):
        await socket.join("echo:1", broken)
    assert not socket.channels


async def test_parameters_that_are_not_json_are_refused_with_the_path(socket: ClientSocket) -> None:
    with pytest.raises(PayloadError, match=r"payload\.who"):
        await socket.join("echo:1", {"who": {1, 2}})
    assert (await socket.join("echo:1")).is_joined


async def test_a_refused_join_is_tried_again_if_that_is_asked_for(url: str) -> None:
    tokens: list[str | None] = [None, "bad", None]
    asked: list[str | None] = []
    good = (await ask(url, "GET", "/control/token?user_id=7"))["token"]

    def token() -> dict[str, Any]:
        asked.append(tokens.pop(0) if tokens else good)
        return {"token": asked[-1]}

    async with connect(f"{url}/socket", rejoin=SOON, retry_refused=True) as socket:
        room = await socket.join("auth:1", token)
        assert room.response == {"user_id": "7"}
        assert asked == [None, "bad", None, good]
        with pytest.raises(JoinTimeout):
            await socket.join("room:forbidden", within=0.1)


# -- push


async def test_a_push_returns_the_response(socket: ClientSocket) -> None:
    room = await socket.join("echo:1")
    assert await room.push("echo", {"text": "hi"}) == {"text": "hi"}
    assert await room.push("echo", [1, None, "é"]) == [1, None, "é"]
    assert await room.push("echo") == {}
    assert await room.push("echo", {"x": "y" * 60_000}) == {"x": "y" * 60_000}


@pytest.mark.parametrize(("status", "response"), [("error", {"no": 1}), ("teapot", {"short": [2]})])
async def test_another_status_than_ok_is_an_error_with_the_response(
    socket: ClientSocket, status: str, response: Any
) -> None:
    room = await socket.join("echo:1")
    with pytest.raises(ReplyError, match=status) as caught:
        await room.push("echo_status", {"status": status, "response": response})
    assert (caught.value.status, caught.value.response) == (status, response)
    assert (caught.value.topic, caught.value.event) == ("echo:1", "echo_status")
    assert await room.push("ok") == {}


async def test_pushes_are_answered_each_its_own(socket: ClientSocket) -> None:
    room = await socket.join("echo:1")
    answers: dict[int, Any] = {}

    async def push(number: int) -> None:
        answers[number] = await room.push("echo", {"n": number})

    async with trio.open_nursery() as nursery:
        for number in range(200):
            nursery.start_soon(push, number)
    assert answers == {number: {"n": number} for number in range(200)}


async def test_an_answer_in_another_order_finds_its_push(socket: ClientSocket) -> None:
    room = await socket.join("echo:1")
    done: list[str] = []

    async def slow() -> None:
        late = {"delay_ms": 80, "status": "ok", "response": {"late": True}}
        assert await room.push("async_reply", late) == {"late": True}
        done.append("slow")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(slow)
        await trio.sleep(0.01)
        assert await room.push("ok") == {}
        done.append("quick")
    assert done == ["quick", "slow"]


async def test_a_push_that_is_not_answered_in_time(socket: ClientSocket) -> None:
    room = await socket.join("echo:1")
    with pytest.raises(PushTimeout, match=r"'noreply' on 'echo:1'.*0\.03 seconds"):
        await room.push("noreply", within=0.03)
    assert await room.push("ok", within=math.inf) == {}


async def test_an_answer_that_comes_late_vanishes(socket: ClientSocket) -> None:
    room = await socket.join("echo:1")
    late = {"delay_ms": 60, "status": "ok", "response": {"late": True}}
    with pytest.raises(PushTimeout):
        await room.push("async_reply", late, within=0.02)
    with trio.move_on_after(0.02):
        await room.push("async_reply", late)
    await trio.sleep(0.1)
    assert await room.push("echo", {"n": 1}) == {"n": 1}
    assert await room.push("double_reply") == {"n": 1}
    assert await room.push("echo", {"n": 2}) == {"n": 2}


async def test_a_push_in_a_cancelled_scope_sends_nothing(socket: ClientSocket) -> None:
    room = await socket.join("echo:1")
    with trio.CancelScope() as scope:
        scope.cancel()
        await room.push("set", {"key": "a", "value": 1})
    assert await room.push("get", {"key": "a"}) == {"value": None}


async def test_a_cast_sends_and_waits_for_nobody(socket: ClientSocket) -> None:
    room = await socket.join("echo:1")
    room.cast("set", {"key": "a", "value": 1})
    room.cast("push_many", {"n": 2})
    assert await room.push("get", {"key": "a"}) == {"value": 1}
    assert [(await room.receive()).payload for _ in range(2)] == [{"i": 1}, {"i": 2}]


async def test_raw_bytes_travel_both_ways(socket: ClientSocket) -> None:
    room = await socket.join("binary:1", Binary(b"hello"))
    assert await room.push("echo", Binary(b"\x00\xff" * 30_000)) == Binary(b"\x00\xff" * 30_000)
    assert await room.push("info", Binary(b"\x01\x02")) == {"size": 2, "sum": 3}
    with pytest.raises(ReplyError) as caught:
        await room.push("echo_error", Binary(b"no"))
    assert caught.value.response == Binary(b"no")
    await room.push("push", Binary(b"one"))
    await room.push("bcast", Binary(b""))
    one, two = await room.receive(), await room.receive()
    assert (one.event, one.payload) == ("pushed", Binary(b"one"))
    assert (two.event, two.payload) == ("bcast", Binary(b""))


async def test_bytes_are_to_be_wrapped(socket: ClientSocket) -> None:
    room = await socket.join("echo:1")
    with pytest.raises(PayloadError, match="Binary"):
        await room.push("echo", b"bytes")
    with pytest.raises(TypeError, match="event must be a string"):
        room.cast(7)  # type: ignore[arg-type]
    assert await room.push("ok") == {}


async def test_what_is_pushed_when_the_channel_crashes_fails_at_once(
    socket: ClientSocket, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL)
    room = await socket.join("crash:1")
    with trio.fail_after(10), pytest.raises(ChannelCrashed, match="crash:1"):
        await room.push("raise", within=30)
    with pytest.raises(NotJoined, match="crashed"):
        room.cast("ping")
    await room.wait_joined()
    assert await room.push("ping") == {"pong": True}
    assert room.joins == 2


async def test_a_push_may_wait_until_the_channel_is_joined_again(
    socket: ClientSocket, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL)
    room = await socket.join("crash:1")
    with pytest.raises(ChannelCrashed):
        await room.push("kill")
    assert await room.push("ping", wait=True) == {"pong": True}


async def test_a_channel_that_the_server_closes_is_closed_for_good(socket: ClientSocket) -> None:
    room = await socket.join("stop:1")
    with trio.fail_after(10), pytest.raises(ChannelClosed, match="by the server"):
        await room.push("stop", {"reason": "shutdown", "reply": None}, within=30)
    assert room.state == "closed"
    for _ in range(2):
        with pytest.raises(ChannelClosed):
            await room.push("ping")
        with pytest.raises(ChannelClosed):
            await room.receive()
        with pytest.raises(ChannelClosed):
            await room.wait_joined()
    assert not socket.channels
    again = await socket.join("stop:1")
    answer = {"reason": "normal", "reply": "ok", "response": {"bye": 1}}
    assert await again.push("stop", answer) == {"bye": 1}
    assert [event async for event in again] == []


# -- receive


async def test_events_come_in_order_with_their_payload(socket: ClientSocket) -> None:
    room = await socket.join("echo:1")
    await room.push("push_many", {"n": 5})
    events = [await room.receive() for _ in range(5)]
    assert events == [Event("echo:1", "tick", {"i": i}, room.join_ref or "") for i in range(1, 6)]


async def test_a_loop_over_a_channel_ends_when_it_is_left(socket: ClientSocket) -> None:
    room = await socket.join("room:1")
    seen: list[int] = []

    async def listen() -> None:
        async for event in room:
            seen.append(event.payload["i"])

    async with trio.open_nursery() as nursery:
        nursery.start_soon(listen)
        await room.push("shout_many", {"n": 20})
        await room.leave()
    assert seen == list(range(1, 21))
    assert room.state == "closed"


async def test_a_receiver_that_is_cancelled_loses_nothing(socket: ClientSocket) -> None:
    room = await socket.join("echo:1")
    seen: list[int] = []
    room.cast("push_many", {"n": 300})
    while len(seen) < 300:
        with trio.move_on_after(0.001):
            while True:
                seen.append((await room.receive()).payload["i"])
    assert seen == list(range(1, 301))


async def test_two_clients_hear_each_other(url: str) -> None:
    async with connect(f"{url}/socket") as one, connect(f"{url}/socket") as two:
        ann, bob = await one.join("room:1", {"name": "ann"}), await two.join("room:1")
        await ann.push("shout_from", {"text": "hi"})
        await bob.push("shout_from", {"text": "ho"})
        assert (await bob.receive()).payload == {"text": "hi"}
        assert (await ann.receive()).payload == {"text": "ho"}


async def test_what_nobody_receives_is_bounded_and_told_once(socket: ClientSocket) -> None:
    room = await socket.join("echo:1", max_events=10)
    await room.push("push_many", {"n": 25})
    with pytest.raises(EventsLost, match="15 events") as caught:
        await room.receive()
    assert (caught.value.count, room.lost_events) == (15, 15)
    assert [(await room.receive()).payload["i"] for _ in range(10)] == list(range(16, 26))
    await room.push("push_many", {"n": 1})
    assert (await room.receive()).payload == {"i": 1}


@pytest.mark.parametrize(
    ("overflow", "kept"), [("drop_oldest", range(16, 26)), ("drop_newest", range(1, 11))]
)
async def test_events_may_be_dropped_without_a_word(
    socket: ClientSocket, overflow: Any, kept: range
) -> None:
    room = await socket.join("echo:1", max_events=10, on_overflow=overflow)
    await room.push("push_many", {"n": 25})
    assert [(await room.receive()).payload["i"] for _ in range(10)] == list(kept)
    assert room.lost_events == 15


async def test_options_that_make_no_sense_are_refused(url: str, socket: ClientSocket) -> None:
    with pytest.raises(ValueError, match="max_events"):
        await socket.join("echo:1", max_events=0)
    with pytest.raises(ValueError, match="drop_oldest"):
        await socket.join("echo:1", on_overflow="block")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="topic"):
        await socket.join(7)  # type: ignore[arg-type]
    for bad in (
        {"heartbeat": 0},
        {"answer_within": -1},
        {"max_queued": 0},
        {"vsn": "3.0.0"},
        {"close_within": math.inf},
        {"headers": {"Host": "elsewhere"}},
        {"headers": {"X-A": "a\r\nX-B: b"}},
        {"wait_for_server": True, "reconnect": None},
    ):
        with pytest.raises(ValueError):
            async with connect(url, **bad):
                pass
    for address in ("ftp://x/socket", "ws:///socket", "not a url", "ws://u:p@x/socket"):
        with pytest.raises(ValueError, match="URL"):
            async with connect(address):
                pass


# -- leave, and the end of the block


async def test_leaving_is_awaited_and_seen_by_the_server(url: str, socket: ClientSocket) -> None:
    room = await socket.join("echo:1", {"watch": "leaver"})
    await room.leave()
    await room.leave()
    assert room.state == "closed"
    with pytest.raises(ChannelClosed, match="by the client"):
        await room.push("ok")
    await until_down(url, "leaver", {"class": "shutdown", "detail": "left"})
    assert (await socket.join("echo:1")).is_joined


async def test_a_channel_as_a_block_is_left_at_its_end(url: str, socket: ClientSocket) -> None:
    with pytest.raises(RuntimeError, match="mine"):
        async with await socket.join("echo:1", {"watch": "block"}) as room:
            raise RuntimeError("mine")
    assert room.state == "closed"
    await until_down(url, "block", {"class": "shutdown", "detail": "left"})


async def test_leaving_takes_no_longer_than_it_may(socket: ClientSocket) -> None:
    room = await socket.join("slow:1")
    room.cast("sleep", {"ms": 3000})
    began = trio.current_time()
    await room.leave(within=0.05)
    assert trio.current_time() - began < 2
    assert room.state == "closed"


async def test_leaving_when_cancelled_still_closes(url: str, socket: ClientSocket) -> None:
    room = await socket.join("slow:1", {"watch": "hasty"})
    room.cast("sleep", {"ms": 50})
    with trio.move_on_after(0.01):
        await room.leave()
    assert room.state == "closed"
    await until_down(url, "hasty", {"class": "shutdown", "detail": "left"})


async def test_the_end_of_the_block_is_an_orderly_close(url: str) -> None:
    async with connect(f"{url}/socket") as socket:
        room = await socket.join("echo:1", {"watch": "orderly"})
    assert (socket.state, room.state) == ("closed", "closed")
    await until_down(url, "orderly", {"class": "shutdown", "detail": "local_closed"})
    with pytest.raises(ChannelClosed):
        await room.push("ok")
    with pytest.raises(Disconnected):
        await socket.join("echo:1")


async def test_a_block_that_is_cancelled_says_goodbye_without_waiting(url: str) -> None:
    with trio.move_on_after(0.1) as scope:
        async with connect(f"{url}/socket") as socket:
            await socket.join("echo:1", {"watch": "cancelled"})
            await trio.sleep_forever()
    assert scope.cancelled_caught
    await until_down(url, "cancelled", {"class": "shutdown", "detail": "local_closed"})


async def test_what_is_raised_in_the_block_comes_out_alone(url: str) -> None:
    error = RuntimeError("mine")
    with pytest.raises(RuntimeError) as caught:
        async with connect(f"{url}/socket") as socket:
            await socket.join("echo:1")
            raise error
    assert caught.value is error


async def test_a_socket_can_be_closed_within_the_block(url: str) -> None:
    async with connect(f"{url}/socket") as socket:
        room = await socket.join("echo:1", {"watch": "closed"})
        with pytest.raises(ValueError, match="3000"):
            await socket.disconnect(1006)
        await socket.disconnect(3001, "enough")
        assert socket.state == "closed"
        assert [event async for event in room] == []
        with pytest.raises(Disconnected, match=r"by the client with code 3001: enough"):
            await socket.join("echo:1")
        await socket.disconnect()
    await until_down(url, "closed", {"class": "shutdown", "detail": "local_closed"})


async def until_down(url: str, name: str, end: dict[str, Any]) -> None:
    with trio.fail_after(10):
        while True:
            found = await ask(url, "GET", f"/control/watch?id={name}")
            if found["status"] == "down":
                break
            await trio.sleep(0.01)
    assert found["exit"] == end


# -- connecting


async def test_what_the_server_is_told_of_a_client(url: str) -> None:
    params = {"user": {"id": 1, "tags": ["a", "b c"]}, "x&y": "=", "on": True}
    async with connect(
        f"{url}/socket?z=0", params=params, auth_token="tok/+é", headers={"X-Who": "me"}
    ) as socket:
        room = await socket.join("echo:1")
        assert await room.push("params") == {
            "z": "0",
            "user": {"id": "1", "tags": ["a", "b c"]},
            "x&y": "=",
            "on": "true",
            "vsn": "2.0.0",
        }
        info = await room.push("connect_info")
        assert (info["auth_token"], info["x_headers"]) == ("tok/+é", {"x-who": "me"})


async def test_parameters_and_token_may_come_from_functions(url: str) -> None:
    async def token() -> str:
        await trio.lowlevel.checkpoint()
        return "fresh"

    async with connect(
        f"{url}/socket", params=lambda: {"user_id": "8"}, auth_token=token
    ) as socket:
        room = await socket.join("echo:1")
        assert (await room.push("whoami"))["id"] == "user_socket:8"
        assert (await room.push("connect_info"))["auth_token"] == "fresh"


async def test_version_1_of_the_protocol_works_too(
    url: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL)
    async with connect(f"{url}/socket", vsn="1.0.0", rejoin=SOON) as socket:
        room = await socket.join("room:1")
        await room.push("shout", {"text": "hi"})
        assert (await room.receive()).payload == {"text": "hi"}
        crash = await socket.join("crash:1")
        with pytest.raises(ChannelCrashed):
            await crash.push("raise")
        await crash.wait_joined()
        stop = await socket.join("stop:1")
        with pytest.raises(ChannelClosed):
            await stop.push("stop", {"reason": "normal"})
        with pytest.raises(PayloadError, match="version 1"):
            room.cast("x", Binary(b""))
        await room.leave()


@pytest.mark.parametrize(
    ("path", "status", "hint"),
    [
        ("/nowhere", 404, "no socket at this path"),
        ("/socket?reject=error", 403, "has refused"),
        ("/socket?reject=reason", 403, "has refused"),
        ("/socket?reject=raise", 500, "HTTP status 500"),
    ],
)
async def test_a_refusal_says_what_may_be_wrong(
    url: str, path: str, status: int, hint: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL)
    with pytest.raises(ConnectFailed, match=hint) as caught:
        async with connect(url + path):
            pytest.fail("it connected")
    assert caught.value.status == status
    assert caught.value.is_refusal is (status == 403)
    assert url + path in str(caught.value)


async def test_where_nothing_listens_the_error_says_so() -> None:
    [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listener.socket.getsockname()[1]
    await listener.aclose()
    with pytest.raises(ConnectFailed, match="is the server running") as caught:
        async with connect(f"ws://127.0.0.1:{port}/socket"):
            pytest.fail("it connected")
    assert caught.value.status is None


async def test_ping_tells_how_long_a_heartbeat_took(socket: ClientSocket) -> None:
    assert 0 < await socket.ping() < 1


async def test_what_things_look_like(url: str) -> None:
    async with connect(f"{url}/socket") as socket:
        room = await socket.join("echo:1")
        assert repr(room) == "<ClientChannel 'echo:1' joined>"
        assert repr(socket) == f"<ClientSocket {url}/socket open, 1 channels>"
        assert socket.error is None
        assert socket.is_connected


# -- presence


async def test_a_presence_is_kept_up_to_date(url: str) -> None:
    said: list[tuple[str, str]] = []
    here = PresenceView(
        on_join=lambda key, before, joined: said.append(
            ("join" if before is None else "more", key)
        ),
        on_leave=lambda key, rest, left: said.append(
            ("leave" if not rest["metas"] else "less", key)
        ),
    )
    async with connect(f"{url}/socket") as one, connect(f"{url}/socket") as two:
        room = await one.join("room:1", {"name": "ann", "track": "ann"}, presence=here)
        await until(lambda: "ann" in here)
        other = await two.join("room:1", {"name": "bob", "track": "bob"})
        await until(lambda: "bob" in here)
        assert here["bob"]["metas"][0]["name"] == "bob"
        await other.push("update", {"key": "bob", "meta": {"name": "Bob"}})
        await until(lambda: here["bob"]["metas"][0]["name"] == "Bob")
        assert len(here["bob"]["metas"]) == 1
        assert "phx_ref_prev" in here["bob"]["metas"][0]
        await other.leave()
        await until(lambda: "bob" not in here)
        assert here.list(lambda key, one: key) == ["ann"]
        assert said == [
            ("join", "ann"),
            ("join", "bob"),
            ("more", "bob"),
            ("less", "bob"),
            ("leave", "bob"),
        ]
        await room.push("shout", {"text": "hi"})
        assert (await room.receive()).event == "shout"  # presence does not come out of the channel


async def test_what_a_callback_of_a_presence_raises_ends_the_block_alone(url: str) -> None:
    def broken(key: str, before: Any, joined: Any) -> None:
        raise LookupError(key)

    with trio.fail_after(10), pytest.raises(LookupError, match="ann"):
        async with connect(f"{url}/socket") as socket:
            await socket.join("room:1", {"track": "ann"}, presence=PresenceView(on_join=broken))
            await trio.sleep_forever()
