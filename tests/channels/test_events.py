"""What the channels tell of themselves: each thing once, with how long it took, without secrets."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio

from exeunt import Crash, Node, Pid, Shutdown, Stop, get_status, open_node, send, stop, trap_exit
from exeunt import exit as exit_signal
from exeunt.channels import (
    Channel,
    ConnectInfo,
    Endpoint,
    Error,
    InResult,
    JoinResult,
    LongPoll,
    Mount,
    Ok,
    Params,
    Refused,
    Reply,
    Socket,
)
from exeunt.channels.events import (
    ChannelHandledIn,
    ChannelJoined,
    ChannelLeft,
    JoinRefused,
    SlowConsumerDropped,
    SocketConnected,
    SocketDisconnected,
    SocketRefused,
    SocketsDrained,
    took,
)
from exeunt.kernel.events import Event
from tests.faults.client import Client, Closed, Refusal, upgrade_request

from .memory import Bench, open_bench

ROOM = "room:a"
SECRET = "hush-hush"
ALL: tuple[type[Event], ...] = (
    SocketConnected,
    SocketRefused,
    SocketDisconnected,
    SlowConsumerDropped,
    SocketsDrained,
    ChannelJoined,
    JoinRefused,
    ChannelHandledIn,
    ChannelLeft,
)


def noting(node: Node, *kinds: type[Event]) -> list[Any]:
    """Have events noted, of all types unless told otherwise."""
    seen: list[Event] = []
    node.events.subscribe(seen.append, *(kinds or ALL))
    return seen


class Room(Channel):
    async def join(self, topic: str, params: Any) -> JoinResult:
        match topic.removeprefix("room:"):
            case "refused":
                return Error({"reason": "no"})
            case "crash":
                raise RuntimeError("boom")
            case "slow":
                await trio.sleep(0.25)
        return Ok()

    async def handle_in(self, event: str, payload: Any) -> InResult:
        match event:
            case "slow":
                await trio.sleep(1.5)
                return Ok()
            case "error":
                return Error()
            case "teapot":
                return Reply("teapot")
            case "quiet":
                return None
            case "stop":
                return Stop("shutdown", reply=Ok())
            case "raise":
                raise RuntimeError("boom")
        return Ok()


class Rooms(Socket):
    channels = {"room:*": Room, "phoenix:*": Room}
    max_channels = 2


async def joined(bench: Bench, topic: str = ROOM, params: object = None) -> Pid:
    answer = await bench.ask("1", "1", topic, "phx_join", params)
    assert answer[4]["status"] == "ok", answer
    return bench.pid_of(topic)


# -- channels


async def test_a_join_is_told_with_how_long_it_took(autojump_clock: trio.abc.Clock) -> None:
    async with open_bench(Rooms()) as bench:
        seen = noting(bench.node)
        pid = await joined(bench, "room:slow", {"name": "joe", "token": SECRET})
        [event] = seen
        params = {"name": "joe", "token": "[FILTERED]"}
        assert event == ChannelJoined(
            pid, bench.session.pid, "Room", "room:slow", params, event.duration
        )
        assert event.duration == pytest.approx(0.25)


@pytest.mark.parametrize(
    ("topic", "why", "channel"),
    [
        ("room:refused", "refused", "Room"),
        ("room:crash", "crashed", "Room"),
        ("nowhere", "unmatched", None),
        (["a"], "unmatched", None),
    ],
)
async def test_a_failed_join_is_told_once(topic: object, why: str, channel: str | None) -> None:
    async with open_bench(Rooms()) as bench:
        seen = noting(bench.node)
        await bench.ask("1", "1", topic, "phx_join", {"password": SECRET})
        await bench.quiet()
        [event] = seen
        assert isinstance(event, JoinRefused)
        assert (event.topic, event.why, event.channel) == (topic, why, channel)
        assert event.params == (None if why == "crashed" else {"password": "[FILTERED]"})
        assert 0 <= event.duration < 1


async def test_a_join_too_many_is_told() -> None:
    async with open_bench(Rooms()) as bench:
        await joined(bench, "room:1")
        await joined(bench, "room:2")
        seen = noting(bench.node)
        await bench.ask("3", "3", "room:3", "phx_join", {})
        assert [(one.topic, one.why) for one in seen] == [("room:3", "too many")]


@pytest.mark.parametrize(
    ("event", "status"),
    [("ok", "ok"), ("error", "error"), ("teapot", "teapot"), ("quiet", None), ("stop", "ok")],
)
async def test_a_handled_message_is_told_with_the_status_of_its_reply(
    event: str, status: str | None
) -> None:
    async with open_bench(Rooms()) as bench:
        pid = await joined(bench)
        seen = noting(bench.node, ChannelHandledIn)
        await bench.say("1", "7", ROOM, event, {"secret": SECRET, "n": 1})
        await trio.testing.wait_all_tasks_blocked(0.001)
        [told] = seen
        params = {"secret": "[FILTERED]", "n": 1}
        assert told == ChannelHandledIn(
            pid, "Room", ROOM, event, "7", params, status, told.duration
        )


async def test_a_slow_handler_is_measured(autojump_clock: trio.abc.Clock) -> None:
    async with open_bench(Rooms()) as bench:
        await joined(bench)
        seen = noting(bench.node, ChannelHandledIn)
        await bench.ask("1", "7", ROOM, "slow", {})
        assert seen[0].duration == pytest.approx(1.5)


async def test_a_message_whose_handler_raises_is_not_handled_nor_is_a_leave() -> None:
    async with open_bench(Rooms()) as bench:
        seen = noting(bench.node, ChannelHandledIn)
        await joined(bench)
        await bench.ask("1", "7", ROOM, "raise", {})
        await joined(bench)
        await bench.say("1", "8", ROOM, "phx_leave", {})
        await bench.take(2)
        assert seen == []


@pytest.mark.parametrize("way", ["leave", "stop", "raise", "kill", "rejoin", "end"])
async def test_every_way_to_leave_is_told_once_with_the_reason(way: str) -> None:
    expected: dict[str, object] = {
        "leave": Shutdown("left"),
        "stop": "shutdown",
        "kill": "killed",
        "rejoin": Shutdown("duplicate_join"),
        "end": Shutdown("local_closed"),
    }
    async with open_bench(Rooms()) as bench:
        pid = await joined(bench)
        await bench.quiet()
        seen = noting(bench.node, ChannelLeft)
        match way:
            case "leave":
                await bench.say("1", "2", ROOM, "phx_leave", {})
            case "stop" | "raise":
                await bench.say("1", "2", ROOM, way, {})
            case "kill":
                exit_signal(pid, "kill")
            case "rejoin":
                await bench.say("2", "2", ROOM, "phx_join", {})
            case _:
                bench.session.end(Shutdown("local_closed"))
        await until(seen, 1)
        await trio.sleep(0.01)
        [event] = seen
        assert (event.pid, event.channel, event.topic) == (pid, "Room", ROOM)
        assert 0 <= event.duration < 2
        if way == "raise":
            assert isinstance(event.reason, Crash)
        else:
            assert event.reason == expected[way]


@pytest.mark.parametrize("topic", ["room:refused", "room:crash"])
async def test_who_has_not_joined_does_not_leave(topic: str) -> None:
    async with open_bench(Rooms()) as bench:
        seen = noting(bench.node, ChannelLeft)
        await bench.ask("1", "1", topic, "phx_join", {})
        await trio.sleep(0.01)
        assert seen == []


async def test_a_subscriber_that_raises_harms_nobody(caplog: pytest.LogCaptureFixture) -> None:
    def bad(event: Event) -> None:
        raise RuntimeError("bad subscriber")

    async with open_bench(Rooms()) as bench:
        bench.node.events.subscribe(bad, ChannelJoined, ChannelHandledIn, ChannelLeft)
        await joined(bench)
        assert (await bench.ask("1", "2", ROOM, "ok", {}))[4]["status"] == "ok"
        assert "a handler of ChannelJoined failed" in caplog.text


async def test_nothing_is_made_that_nobody_wants(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise AssertionError("an event was made")

    for kind in ALL:
        monkeypatch.setattr(kind, "__init__", fail)
    logging.getLogger("exeunt.channels").setLevel(logging.WARNING)
    try:
        async with open_bench(Rooms()) as bench:
            await joined(bench)
            assert (await bench.ask("1", "2", ROOM, "ok", {}))[4]["status"] == "ok"
            await bench.say("1", "3", ROOM, "phx_leave", {})
            await bench.take(2)
            await bench.ask("1", "4", "room:refused", "phx_join", {})
    finally:
        logging.getLogger("exeunt.channels").setLevel(logging.NOTSET)


# -- secrets


async def test_no_secret_is_in_a_crash_report_nor_in_what_a_channel_shows(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Keeper(Room):
        async def join(self, topic: str, params: Any) -> JoinResult:
            self.assigns["params"] = params
            self.token = SECRET
            return Ok()

        async def handle_info(self, message: Any) -> None:
            raise RuntimeError("boom")

    class Keepers(Socket):
        channels = {"room:*": Keeper}

    async with open_bench(Keepers()) as bench:
        pid = await joined(bench, params={"authorization": SECRET, "name": "joe"})
        status = await get_status(pid)
        assert SECRET not in f"{status}"
        assert status.state["assigns"]["params"]["name"] == "joe"
        await bench.ask("1", "2", ROOM, "ok", {"password": SECRET, "name": "ann"})
        assert SECRET not in f"{await get_status(pid)}"
        assert "'ann'" in f"{await get_status(pid)}"
        await bench.ask("1", "3", ROOM, "raise", {"password": SECRET, "name": "sue"})
        assert "'sue'" in caplog.text
        pid = await joined(bench, params={"authorization": SECRET})
        send(pid, {"token": SECRET, "name": "eve"})
        await bench.take()
        assert "'eve'" in caplog.text
        assert SECRET not in caplog.text


async def test_no_secret_is_in_what_a_bad_return_is_told_with(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Echo(Room):
        async def handle_in(self, event: str, payload: Any) -> InResult:
            return payload  # type: ignore[no-any-return]

    class Echoes(Socket):
        channels = {"room:*": Echo}

    async with open_bench(Echoes()) as bench:
        await joined(bench)
        await bench.ask("1", "2", ROOM, "say", {"password": SECRET, "name": "joe"})
        assert "'name': 'joe'" in caplog.text
        assert SECRET not in caplog.text


async def test_a_join_that_crashes_shows_its_parameters_without_secrets(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with open_bench(Rooms()) as bench:
        await bench.ask("1", "1", "room:crash", "phx_join", {"password": SECRET, "name": "joe"})
        [record] = [one for one in caplog.records if one.levelno == logging.ERROR]
        assert "join({'password': '[FILTERED]', 'name': 'joe'})" in record.getMessage()
        assert SECRET not in caplog.text


async def test_a_socket_says_what_is_covered() -> None:
    class Mine(Rooms):
        filter_parameters = ("keep", ["name"])

    async with open_bench(Mine()) as bench:
        seen = noting(bench.node)
        pid = await joined(bench, params={"name": "joe", "age": 7})
        assert seen[0].params == {"name": "joe", "age": "[FILTERED]"}
        status = await get_status(pid)
        assert (status.state["topic"], status.state["is_joined"]) == (ROOM, True)
    with pytest.raises(TypeError, match="expected words"):
        type("Wrong", (Rooms,), {"filter_parameters": "password"})


# -- connections


class User(Socket):
    channels = {"room:*": Room}

    async def connect(self, params: Params, info: ConnectInfo) -> bool | Refused:
        match params.get("do"):
            case "no":
                return False
            case "refuse":
                return Refused(401)
            case "raise":
                raise RuntimeError("boom")
            case "sleep":
                await trio.sleep_forever()
        self.name = params.get("name")
        return True

    def id(self) -> Any:
        return 7 if self.name == "bad" else f"user:{self.name}"


class Site:
    def __init__(self, node: Node, endpoint: Pid, port: int) -> None:
        self.node = node
        self.endpoint = endpoint
        self.port = port


@asynccontextmanager
async def open_site(kind: type[Socket] = User, **options: Any) -> AsyncGenerator[Site]:
    async with open_node(signals=False) as node:
        trap_exit()
        mount = Mount(kind, **{"close_within": 0.2, "check_origin": False, **options})
        endpoint = await Endpoint.start_link({"/socket": mount}, port=0)
        port = int((await Endpoint.url(endpoint)).rpartition(":")[2])
        yield Site(node, endpoint, port)
        await stop(endpoint, "shutdown")


async def until(seen: list[Any], number: int) -> None:
    with trio.fail_after(3):
        while True:
            if len(seen) >= number:
                return
            await trio.sleep(0.002)


async def test_a_connection_is_told_from_its_beginning_to_its_end() -> None:
    async with open_site() as site:
        seen = noting(site.node, SocketConnected, SocketDisconnected)
        async with await Client.connect(site.port, name="joe", token=SECRET) as client:
            await client.join(ROOM)
            [connected] = seen
            assert connected == SocketConnected(
                pid=connected.pid,
                socket="User",
                id="user:joe",
                transport="websocket",
                version="2.0.0",
                serializer="JSONSerializerV2",
                params={"vsn": "2.0.0", "name": "joe", "token": "[FILTERED]"},
                duration=connected.duration,
            )
            assert 0 <= connected.duration < 1
            await trio.sleep(0.02)
        await until(seen, 2)
        ended = seen[1]
        assert ended.pid is connected.pid
        assert (ended.socket, ended.id, ended.transport) == ("User", "user:joe", "websocket")
        assert (ended.reason, ended.code) == (Shutdown("peer_closed"), None)
        assert 0.02 <= ended.duration < 2
        await trio.sleep(0.02)
        assert len(seen) == 2


@pytest.mark.parametrize(
    ("query", "vsn", "why", "status"),
    [
        ("do=no", "2.0.0", "connect", 403),
        ("do=refuse", "2.0.0", "connect", 401),
        ("do=raise", "2.0.0", "crashed", 500),
        ("do=sleep", "2.0.0", "timeout", 503),
        ("name=bad", "2.0.0", "id", 403),
        ("name=joe", "9.0.0", "version", 403),
    ],
)
async def test_a_refusal_is_told_with_why(query: str, vsn: str, why: str, status: int) -> None:
    async with open_site(connect_within=0.05) as site:
        seen = noting(site.node)
        key, _, value = query.partition("=")
        with pytest.raises(Refusal) as refused:
            await Client.connect(site.port, **{key: value, "vsn": vsn, "password": SECRET})
        assert refused.value.status == status
        [event] = seen
        assert isinstance(event, SocketRefused)
        assert (event.why, event.socket, event.version) == (why, "User", vsn)
        assert event.params["password"] == "[FILTERED]"
        assert (event.serializer is None) == (why == "version")


async def test_the_close_code_is_told() -> None:
    async with open_site() as site:
        seen = noting(site.node, SocketDisconnected, SocketsDrained)
        async with await Client.connect(site.port, name="joe") as client:
            await client.join(ROOM)
            await Endpoint.drain(site.endpoint)
            assert await client.receive_until_end() == [Closed(1012)]
        await until(seen, 2)
        assert seen[0] == SocketsDrained("User", 1, 1, index=1, rounds=1, interval=0.0)
        assert (seen[1].reason, seen[1].code) == (Shutdown("draining"), 1012)


async def test_a_connection_that_is_killed_is_told() -> None:
    async with open_site() as site:
        seen = noting(site.node, SocketConnected, SocketDisconnected)
        async with await Client.connect(site.port, name="joe"):
            await until(seen, 1)
            exit_signal(seen[0].pid, "kill")
            await until(seen, 2)
            assert (seen[1].reason, seen[1].code) == ("killed", None)


async def test_a_request_without_an_upgrade_is_told_from_its_beginning_to_its_end() -> None:
    async with open_site() as site:
        seen = noting(site.node)
        async with await Client.dial(site.port) as client:
            target = "/socket/websocket?vsn=2.0.0&name=joe"
            for number in range(3):
                await client.send(f"GET {target} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
                assert (await client.response())[0] == 400
                connected, ended = seen[2 * number :]
                assert isinstance(connected, SocketConnected)
                assert isinstance(ended, SocketDisconnected)
                assert (connected.pid, connected.id) == (ended.pid, ended.id)
                assert (ended.reason, ended.code) == (Shutdown("not_upgraded"), None)
        await trio.sleep(0.01)
        assert len(seen) == 6


async def test_a_client_that_is_let_in_and_killed_before_it_is_served_is_told_to_have_gone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with open_site() as site:
        seen = noting(site.node)

        async def never(*_: object) -> None:
            await trio.sleep_forever()

        monkeypatch.setattr("exeunt.channels.connection._serve_websocket", never)
        async with await Client.dial(site.port) as client:
            await client.send(upgrade_request(name="joe"))
            await until(seen, 1)
            exit_signal(seen[0].pid, "kill")
            await until(seen, 2)
        connected, ended = seen
        assert isinstance(connected, SocketConnected)
        assert isinstance(ended, SocketDisconnected)
        assert (ended.pid, ended.reason, ended.code) == (connected.pid, "killed", None)


class Flood(Room):
    async def handle_in(self, event: str, payload: Any) -> InResult:
        for _ in range(2_000):
            self.push("x", {"x": "y" * 10_000})
        return None


class Floods(User):
    channels = {"room:*": Flood}


async def test_a_slow_consumer_is_told_to_be_dropped(caplog: pytest.LogCaptureFixture) -> None:
    async with open_site(Floods, max_queued=10_000) as site:
        seen = noting(site.node, SlowConsumerDropped, SocketDisconnected)
        async with await Client.connect(site.port, name="joe", buffer=4096) as client:
            await client.join(ROOM)
            await client.say("1", "2", ROOM, "flood", {})
            await until(seen, 2)
        dropped, ended = seen
        assert dropped == SlowConsumerDropped(ended.pid, "Floods", "user:joe", "websocket", 10_000)
        assert ended.reason == Shutdown("slow_consumer")
        [record] = [one for one in caplog.records if "SLOW" in one.getMessage()]
        assert record.levelno == logging.WARNING


async def test_a_client_that_polls_is_told_too() -> None:
    async with open_site(longpoll=LongPoll(window=0.1)) as site:
        seen = noting(site.node)
        async with await Client.dial(site.port) as client:
            target = "/socket/longpoll?vsn=2.0.0&name=joe"
            await client.send(f"GET {target} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
            assert (await client.response())[0] == 200
        await until(seen, 2)
        connected, ended = seen
        assert isinstance(connected, SocketConnected)
        assert (connected.transport, connected.id) == ("longpoll", "user:joe")
        assert ended.reason == Shutdown("inactive")


# -- durations


@pytest.mark.parametrize(
    ("seconds", "written"),
    [
        (-0.1, "0µs"),
        (0.0, "0µs"),
        (0.000036, "36µs"),
        (0.001, "1000µs"),
        (0.0012, "1ms"),
        (12.3456, "12345ms"),
    ],
)
def test_a_duration_is_written_as_phoenix_does(seconds: float, written: str) -> None:
    assert took(seconds) == written
