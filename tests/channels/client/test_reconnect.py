"""The client when its server goes: it comes back, joins again, and says what happened meanwhile."""

from __future__ import annotations

import contextlib
import logging
import time
from itertools import pairwise
from typing import Any

import pytest
import trio

from exeunt.channels.client import (
    ChannelClosed,
    ChannelCrashed,
    ClientSocket,
    ConnectFailed,
    Delays,
    Disconnected,
    JoinRefused,
    JoinTimeout,
    NotJoined,
    PresenceView,
    PushTimeout,
    connect,
)
from tests.conformance.phoenix.client import ask
from tests.contract_server.app import open_server
from tests.e2e.proxy import SilentProxy

from .servers import Guest, open_restartable, open_scripted, until

SOON = Delays(0.01, jitter=0)
NEVER = Delays(60, jitter=0)


async def test_a_server_that_restarts_is_found_again_and_channels_are_joined_again() -> None:
    tokens: list[int] = []

    def params() -> dict[str, Any]:
        tokens.append(len(tokens))
        return {"n": tokens[-1]}

    async with (
        open_restartable() as server,
        connect(server.url, params=lambda: {"user_id": str(len(tokens))}, reconnect=SOON) as socket,
    ):
        one = await socket.join("echo:1", params, tell_rejoins=True)
        two = await socket.join("room:1")
        await one.push("push_many", {"n": 1})
        await server.stop()
        await until(lambda: not socket.is_connected)
        assert (one.state, socket.state) == ("away", "connecting")
        with pytest.raises(NotJoined, match="wait_joined"):
            await one.push("ok")
        assert isinstance(socket.error, (Disconnected, ConnectFailed))
        await server.start()
        with trio.fail_after(10):
            await one.wait_joined()
            await two.wait_joined()
        assert await one.push("params") == {"user_id": "1", "vsn": "2.0.0"}
        await one.push("push_many", {"n": 1})
        assert await two.push("shout", {"text": "hi"}) == {}
        assert tokens == [0, 1]
        assert (one.joins, socket.connections) == (2, 2)
        events = [await one.receive() for _ in range(3)]
        assert [event.event for event in events] == ["tick", "phx_join", "tick"]
        assert events[1].payload == {"topic": "echo:1", "params": {"n": 1}}
        assert events[0].join_ref != events[1].join_ref == events[2].join_ref
        assert (await two.receive()).event == "shout"


@pytest.mark.parametrize(
    ("path", "body", "code"),
    [("/control/disconnect", {"id": "user_socket:7"}, 1001), ("/control/drain", {}, 1012)],
)
async def test_a_client_that_is_sent_away_comes_back(path: str, body: object, code: int) -> None:
    async with (
        open_server() as url,
        connect(f"{url}/socket", params={"user_id": "7"}, reconnect=SOON) as socket,
    ):
        room = await socket.join("echo:1")

        async def push() -> None:
            with pytest.raises(Disconnected, match=str(code)) as caught:
                await room.push("noreply", within=30)
            assert (caught.value.code, caught.value.by) == (code, "server")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(push)
            await trio.sleep(0.02)
            await ask(url, "POST", path, body)
        assert isinstance(socket.error, Disconnected)
        assert socket.error.code == code
        await room.wait_joined()
        assert await room.push("ok") == {}


async def test_a_reset_fails_what_waits_at_once_and_is_mended() -> None:
    async def resets(guest: Guest) -> None:
        await guest.accept()
        await guest.let_join()
        await guest.message()
        guest.reset()

    async def stays(guest: Guest) -> None:
        await guest.accept()
        await guest.let_join({"back": True})
        await guest.answer(await guest.message())
        await guest.silence()

    async with (
        open_scripted(resets, stays) as server,
        connect(server.url, reconnect=SOON, close_within=0) as socket,
    ):
        room = await socket.join("a")
        with trio.fail_after(10), pytest.raises(Disconnected, match="lost") as caught:
            await room.push("x", within=30)
        assert (caught.value.code, caught.value.by) == (1006, None)
        assert await room.push("x", wait=True) == {}
        assert room.response == {"back": True}


async def test_a_server_that_hangs_up_without_a_word_is_told_from_one_that_closes() -> None:
    async def hangs_up(guest: Guest) -> None:
        await guest.accept()
        await guest.let_join()

    async def closes(guest: Guest) -> None:
        await guest.accept()
        await guest.let_join()
        await guest.close(4001, "over there")

    for script, code, words in (
        (hangs_up, 1006, "without a word"),
        (closes, 4001, "by the server with code 4001: over there"),
    ):
        async with open_scripted(script) as server:
            with pytest.raises(Disconnected, match=words) as caught:
                async with connect(server.url, reconnect=None) as socket:
                    room = await socket.join("a")
                    async for _ in room:
                        pass
            assert caught.value.code == code
            assert caught.value.reason == ("over there" if code == 4001 else "")


async def test_without_reconnecting_the_loss_ends_the_block_wherever_it_is() -> None:
    async with open_restartable() as server:
        reached = False
        with trio.fail_after(10), pytest.raises(Disconnected):
            async with connect(server.url, reconnect=None) as socket:
                room = await socket.join("echo:1")
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(server.stop)
                    await trio.sleep(5)
                    reached = True
        assert not reached
        assert (room.state, socket.state) == ("closed", "closed")
        with pytest.raises(Disconnected):
            await room.push("ok")
        with pytest.raises(Disconnected):
            await room.receive()
        await server.start()


async def test_a_body_that_has_caught_the_loss_may_end_in_peace() -> None:
    async def hangs_up(guest: Guest) -> None:
        await guest.accept()
        await guest.let_join()
        await guest.message()

    caught = False
    async with open_scripted(hangs_up) as server, connect(server.url, reconnect=None) as socket:
        room = await socket.join("a")
        try:
            await room.push("x")
        except Disconnected:
            caught = True
    assert caught


async def test_a_server_that_refuses_the_client_when_it_comes_back_ends_the_block() -> None:
    async def once(guest: Guest) -> None:
        await guest.accept()
        await guest.let_join()

    async def refuses(guest: Guest) -> None:
        await guest.read_head()
        await guest.send_raw(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 4\r\n\r\nnope")

    async with open_scripted(once, refuses) as server:
        with trio.fail_after(10), pytest.raises(ConnectFailed) as caught:
            async with connect(server.url, reconnect=SOON) as socket:
                room = await socket.join("a")
                await trio.sleep_forever()
        assert (caught.value.status, caught.value.body) == (403, b"nope")
        assert len(server.arrivals) == 2
        with pytest.raises(ConnectFailed):
            await room.receive()


async def test_refused_connections_are_tried_again_if_that_is_asked_for() -> None:
    async def refuses(guest: Guest) -> None:
        await guest.read_head()
        await guest.send_raw(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")

    async def accepts(guest: Guest) -> None:
        await guest.accept()
        await guest.let_join()
        await guest.silence()

    async with (
        open_scripted(refuses, refuses, accepts) as server,
        connect(
            server.url, reconnect=SOON, retry_refused=True, wait_for_server=True, close_within=0
        ) as socket,
    ):
        await socket.join("a")
        assert len(server.arrivals) == 3


async def test_other_statuses_are_for_a_while() -> None:
    async def once(guest: Guest) -> None:
        await guest.accept()
        await guest.let_join()

    def answers(status: int) -> Any:
        async def script(guest: Guest) -> None:
            await guest.read_head()
            await guest.send_raw(f"HTTP/1.1 {status} No\r\nContent-Length: 0\r\n\r\n".encode())

        return script

    async def stays(guest: Guest) -> None:
        await guest.accept()
        await guest.let_join()
        await guest.silence()

    async with (
        open_scripted(once, answers(503), answers(404), answers(502), stays) as server,
        connect(server.url, reconnect=SOON, close_within=0) as socket,
    ):
        room = await socket.join("a")
        await until(lambda: room.joins == 2)
        assert len(server.arrivals) == 5


async def test_a_server_that_is_not_there_yet_can_be_waited_for() -> None:
    async with open_restartable() as server:
        await server.stop()
        async with trio.open_nursery() as nursery:

            async def later() -> None:
                await trio.sleep(0.1)
                await server.start()

            nursery.start_soon(later)
            async with connect(server.url, reconnect=SOON, wait_for_server=True) as socket:
                assert (await socket.join("echo:1")).is_joined


async def test_a_server_that_throws_its_clients_out_is_not_hammered() -> None:
    async def throws_out(guest: Guest) -> None:
        await guest.accept()
        await guest.close(1013)

    delays = (0.01, 0.03, 0.06, 0.09)
    async with open_scripted(throws_out) as server:
        async with connect(server.url, reconnect=Delays(*delays, jitter=0)):
            await until(lambda: len(server.arrivals) == 5)
        gaps = [b - a for a, b in pairwise(server.arrivals)]
        assert all(gap >= delay for gap, delay in zip(gaps, delays, strict=True))


async def test_a_rejoin_that_is_refused_closes_the_channel_alone(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.CRITICAL)
    topics = iter([{"token": None}])
    async with open_server() as url, connect(f"{url}/socket", rejoin=SOON) as socket:
        good = (await ask(url, "GET", "/control/token?user_id=7"))["token"]
        given = iter([{"token": good, "watch": "w"}, *topics])
        room = await socket.join("auth:1", lambda: next(given))
        other = await socket.join("echo:1")
        await ask(url, "POST", "/control/kill_channel", {"watch": "w", "reason": "boom"})
        with pytest.raises(JoinRefused, match="missing"):
            async for _ in room:
                pass
        assert room.state == "closed"
        with pytest.raises(JoinRefused, match="missing"):
            await room.push("x")
        assert await other.push("ok") == {}
        assert set(socket.channels) == {"echo:1"}


async def test_a_channel_that_crashes_is_joined_again_after_a_delay_that_grows() -> None:
    joins: list[float] = []

    async def crashes(guest: Guest) -> None:
        await guest.accept()
        for _ in range(5):
            message = await guest.message()
            joins.append(trio.current_time())
            if message[3] == "phx_join" and len(joins) in (1, 5):
                await guest.answer(message)
            if len(joins) < 5:
                await guest.send([message[0], message[0], "a", "phx_error", {}])
        await guest.silence()

    delays = (0.02, 0.05, 0.08, 0.11)
    async with (
        open_scripted(crashes) as server,
        connect(server.url, rejoin=Delays(*delays, jitter=0), close_within=0) as socket,
    ):
        room = await socket.join("a")
        await until(lambda: room.joins == 2)
        gaps = [b - a for a, b in pairwise(joins)]
        assert all(gap >= delay for gap, delay in zip(gaps, delays, strict=True))


async def test_a_rejoin_that_is_not_answered_is_taken_back_and_tried_again() -> None:
    seen: list[list[Any]] = []

    async def script(guest: Guest) -> None:
        await guest.accept()
        first = await guest.let_join()
        await guest.send([first[0], first[0], "a", "phx_error", {}])
        silent, left, again = await guest.message(), await guest.message(), await guest.message()
        seen.extend([silent, left, again])
        await guest.answer(silent)  # too late: of an earlier join
        await guest.answer(left)
        await guest.send([silent[0], None, "a", "old", {}])
        await guest.answer(again, "ok", {"third": True})
        await guest.send([again[0], None, "a", "new", {}])
        await guest.silence()

    async with (
        open_scripted(script) as server,
        connect(server.url, rejoin=SOON, answer_within=0.3, close_within=0) as socket,
    ):
        room = await socket.join("a", tell_rejoins=True)
        events = [await room.receive() for _ in range(2)]
        assert [event.event for event in events] == ["phx_join", "new"]
        assert room.response == {"third": True}
        silent, left, again = seen
        assert (silent[3], left[3], again[3]) == ("phx_join", "phx_leave", "phx_join")
        assert silent[0] == silent[1] == left[0] != again[0]


async def test_what_is_left_while_away_is_not_joined_again() -> None:
    async with open_restartable() as server, connect(server.url, reconnect=SOON) as socket:
        one, two = await socket.join("echo:1"), await socket.join("echo:2")
        await server.stop()
        await until(lambda: one.state == "away")
        await one.leave()
        await server.start()
        await two.wait_joined()
        await trio.sleep(0.05)
        assert (one.state, one.joins) == ("closed", 1)
        assert set(socket.channels) == {"echo:2"}


async def test_who_waits_for_a_channel_hears_that_it_was_left(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.CRITICAL)
    async with open_server() as url, connect(f"{url}/socket", rejoin=NEVER) as socket:
        room = await socket.join("crash:1")
        with pytest.raises(ChannelCrashed):
            await room.push("raise")

        async def wait() -> None:
            with pytest.raises(ChannelClosed):
                await room.wait_joined()

        async def push() -> None:
            with pytest.raises(ChannelClosed):
                await room.push("ping", wait=True)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait)
            nursery.start_soon(push)
            await trio.sleep(0.02)
            with pytest.raises(PushTimeout):
                await room.push("ping", wait=True, within=0.02)
            await room.leave()


async def test_a_join_while_the_server_is_away_waits_for_it() -> None:
    async with open_restartable() as server, connect(server.url, reconnect=SOON) as socket:
        await server.stop()
        await until(lambda: not socket.is_connected)
        with pytest.raises(JoinTimeout) as caught:
            await socket.join("echo:1", within=0.05)
        assert isinstance(caught.value.__cause__, (Disconnected, ConnectFailed))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(server.start)
            assert (await socket.join("echo:1")).joins == 1


async def test_a_join_that_the_server_does_not_survive_is_made_on_the_next_connection() -> None:
    async def dies(guest: Guest) -> None:
        await guest.accept()
        await guest.message()
        guest.reset()

    async def stays(guest: Guest) -> None:
        await guest.accept()
        await guest.let_join()
        await guest.silence()

    async with (
        open_scripted(dies, stays) as server,
        connect(server.url, reconnect=SOON, close_within=0) as socket,
    ):
        assert (await socket.join("a")).joins == 1
    async with open_scripted(dies) as server:
        with pytest.raises(Disconnected):
            async with connect(server.url, reconnect=None) as socket:
                await socket.join("a")


async def test_what_a_function_for_a_later_join_raises_ends_the_block_alone() -> None:
    given = [{"n": 1}]

    async with open_restartable() as server:
        with trio.fail_after(10), pytest.raises(IndexError):
            async with connect(server.url, reconnect=SOON) as socket:
                await socket.join("echo:1", lambda: given.pop())
                await server.stop()
                await server.start()
                await trio.sleep_forever()


async def test_a_server_that_falls_silent_is_noticed_by_its_heartbeats() -> None:
    async with open_server() as url:
        with SilentProxy(int(url.rpartition(":")[2])) as proxy:
            await _fall_silent(proxy)


async def _fall_silent(proxy: SilentProxy) -> None:
    async with connect(
        f"ws://127.0.0.1:{proxy.port}/socket",
        heartbeat=0.2,
        heartbeat_within=0.2,
        reconnect=SOON,
        connect_within=0.3,
        close_within=0.1,
    ) as socket:
        room = await socket.join("echo:1")
        await trio.sleep(0.7)
        assert socket.connections == 1
        proxy.go_silent()
        with trio.fail_after(10), pytest.raises(Disconnected, match="nothing came") as caught:
            await room.push("echo", within=30)
        assert caught.value.by is None
        await until(lambda: isinstance(socket.error, ConnectFailed))  # nothing gets through
        assert not socket.is_connected
        proxy.speak()
        assert await room.push("echo", {"n": 1}, wait=True) == {"n": 1}


async def test_a_server_that_speaks_is_not_taken_for_dead() -> None:
    beats: list[list[Any]] = []

    async def talks(guest: Guest) -> None:
        await guest.accept()
        await guest.let_join()
        async with trio.open_nursery() as nursery:

            async def listen() -> None:
                with contextlib.suppress(EOFError):
                    while True:
                        beats.append(await guest.message())
                nursery.cancel_scope.cancel()

            nursery.start_soon(listen)
            while True:
                await guest.send([None, None, "a", "tick", {}])
                await trio.sleep(0.02)

    async with (
        open_scripted(talks) as server,
        connect(server.url, heartbeat=0.06, heartbeat_within=0.04, close_within=0) as socket,
    ):
        await socket.join("a")
        await until(lambda: len(beats) >= 5)
        assert socket.connections == 1
        assert all(beat[2:] == ["phoenix", "heartbeat", {}] for beat in beats)


async def test_a_program_that_was_busy_does_not_take_its_server_for_dead() -> None:
    async with (
        open_server() as url,
        connect(f"{url}/socket", heartbeat=0.05, heartbeat_within=0.05) as socket,
    ):
        room = await socket.join("echo:1")
        for _ in range(4):
            await trio.sleep(0.06)
            time.sleep(0.2)  # noqa: ASYNC251
        assert await room.push("ok") == {}
        assert socket.connections == 1


async def test_a_presence_is_right_again_after_a_reconnection() -> None:
    here = PresenceView()
    async with open_restartable() as server:

        async def join(socket: ClientSocket, name: str) -> None:
            view = here if name == "ann" else None
            await socket.join("room:1", {"name": name, "track": name}, presence=view)

        async with connect(server.url, reconnect=SOON) as one:
            await join(one, "ann")
            async with connect(server.url, reconnect=None) as two:
                await join(two, "bob")
                await until(lambda: sorted(here) == ["ann", "bob"])
                await two.disconnect()
            await until(lambda: list(here) == ["ann"])
            before = here["ann"]["metas"][0]["phx_ref"]
            await server.stop()
            await server.start()
            await until(lambda: "ann" in here and here["ann"]["metas"][0]["phx_ref"] != before)
            assert len(here["ann"]["metas"]) == 1
            async with connect(server.url) as three:
                await join(three, "cyd")
                await until(lambda: sorted(here) == ["ann", "cyd"])
