"""The client in Python against the server of the contract, by the same tables as phoenix.js.

The server is a process of its own; how it saw what the client sees is asked of `/control/watch`.
"""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator, Generator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from typing import Any

import pytest
import trio

from exeunt.channels.client import (
    Binary,
    ChannelClosed,
    ChannelCrashed,
    ClientChannel,
    ClientSocket,
    ConnectFailed,
    Delays,
    Disconnected,
    JoinRefused,
    PresenceView,
    PushTimeout,
    ReplyError,
    connect,
)
from tests.contract_server.test_contract import CLOSED, ENDS, JOINS, end, fits
from tests.e2e.contract import (
    BYTES,
    ECHOES,
    NO_ROUTE,
    SILENCE,
    TOKENS,
    UNMATCHED,
    Contract,
    metas,
    open_contract,
)

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

SOON = Delays(0.02, jitter=0)
NEVER = Delays(3600, jitter=0)

versions = pytest.mark.parametrize("vsn", ["1.0.0", "2.0.0"])


@pytest.fixture(scope="module")
def contract() -> Generator[Contract]:
    with open_contract() as contract:
        yield contract


def opened(
    contract: Contract, mount: str = "/socket", **options: Any
) -> AbstractAsyncContextManager[ClientSocket]:
    """Connect a client that is not in the way with what it tries again."""
    options = {"rejoin": NEVER, "reconnect": NEVER, **options}
    return connect(f"{contract.url}{mount}", **options)


def sent(payload: Any) -> Any:
    return Binary(payload) if isinstance(payload, bytes) else payload


async def push(channel: ClientChannel, event: str, payload: Any = None) -> tuple[str, Any]:
    """Push; return the status and the response."""
    try:
        return "ok", await channel.push(event, sent(payload))
    except ReplyError as error:
        return error.status, error.response


async def refusal(socket: ClientSocket, topic: str, params: Any = None) -> Any:
    """Join what is not to be joined; return what the server says."""
    with pytest.raises(JoinRefused) as caught:
        await socket.join(topic, params)
    return caught.value.response


async def until(condition: Any) -> None:
    with trio.fail_after(10):
        while not condition():  # noqa: ASYNC110 - nobody tells of it
            await trio.sleep(0.005)


# -- messages


@versions
async def test_what_is_pushed_is_answered_and_pushed_as_the_table_says(
    contract: Contract, vsn: Any
) -> None:
    async with opened(contract, vsn=vsn) as socket:
        for case in ECHOES:
            channel = socket.channels.get(case.topic) or await socket.join(case.topic)
            if case.answer is None:
                with pytest.raises((PushTimeout, ChannelClosed)):
                    await channel.push(case.event, case.payload, within=SILENCE)
            else:
                assert await push(channel, case.event, case.payload) == case.answer, case
            for name, payload in case.pushes:
                event = await channel.receive()
                assert (event.event, event.payload) == (name, payload), case
            for one in socket.channels.values():
                with trio.move_on_after(0):
                    raise AssertionError(await one.receive())


@versions
async def test_what_the_server_knows_of_the_client(contract: Contract, vsn: Any) -> None:
    user = contract.name("user")
    params = {"user_id": user, "deep": {"a": "b"}}
    headers = {"X-Foo": "bar", "User-Agent": "a bot"}
    token = "s3cr3t+/=="
    async with opened(
        contract, vsn=vsn, params=params, headers=headers, auth_token=token
    ) as socket:
        room = await socket.join("echo:a", {"x": [1]})
        assert room.response == {"topic": "echo:a", "params": {"x": [1]}}
        whoami = await room.push("whoami")
        assert {**whoami, "ref": None} == {
            "id": f"user_socket:{user}",
            "topic": "echo:a",
            "join_ref": room.join_ref,
            "ref": None,
            "transport": "websocket",
            "joined": True,
            "user_id": user,
        }
        info = await room.push("connect_info")
        assert info["x_headers"]["x-foo"] == "bar"
        assert (info["user_agent"], info["auth_token"]) == ("a bot", token)
        assert (info["path"], info["peer"]) == ("/socket/websocket", "127.0.0.1")
        assert await room.push("params") == {**params, "vsn": vsn}


async def test_bytes_go_both_ways(contract: Contract) -> None:
    topic = f"binary:{contract.name('☂')}"
    async with opened(contract) as ada, opened(contract) as bob:
        here, there = await ada.join(topic), await bob.join(topic)
        for event, payload, answer, besides in BYTES:
            status, response = await push(here, event, payload)
            assert (status, response) == (answer[0], sent(answer[1])), event
            hearing = {"pushed": [here], "bcast": [here, there]}.get(besides or "", [])
            for one in hearing:
                got = await one.receive()
                assert (got.event, got.payload) == (besides, sent(payload))


# -- joins


@versions
async def test_who_is_not_let_in_is_told_why(contract: Contract, vsn: Any) -> None:
    async with opened(contract, vsn=vsn) as socket:
        for topic, exit, response in JOINS:
            watch = contract.name()
            assert await refusal(socket, topic, {"watch": watch}) == response, topic
            seen, terminate = await contract.ended(watch)
            assert fits(exit, seen) and terminate is None, (topic, seen, terminate)
        for topic in NO_ROUTE:
            assert await refusal(socket, topic) == UNMATCHED, topic
        for query, params, expect, response in TOKENS:
            token = {} if query is None else await contract.get(f"token?{query}")
            given = {**token, **params}
            if expect == "ok":
                async with await socket.join("auth:a", given) as channel:
                    assert channel.response == response
            else:
                assert await refusal(socket, "auth:a", given) == response, (query, params)
        assert await (await socket.join("exact")).push("ping") == {}


async def test_as_many_topics_as_a_mount_allows(contract: Contract) -> None:
    async with opened(contract, "/socket_limited") as socket:
        three = [await socket.join(f"echo:{number}") for number in range(3)]
        assert await refusal(socket, "echo:3") == {"reason": "too many channels joined"}
        await three[0].leave()
        assert await (await socket.join("echo:3")).push("ok") == {}


@versions
async def test_a_topic_is_left_and_joined_again(contract: Contract, vsn: Any) -> None:
    async with opened(contract, vsn=vsn) as socket:
        left = end("shutdown", "left")
        for _ in range(2):
            watch = contract.name()
            room = await socket.join("slow:a", {"watch": watch, "terminate_ms": 50})
            await room.leave()
            with pytest.raises(ChannelClosed, match="by the client"):
                await room.push("ping")
            assert await contract.ended(watch) == (left, left)


async def test_a_slow_join_and_a_slow_handler_hold_up_their_own_topic_only(
    contract: Contract,
) -> None:
    async with opened(contract) as socket:
        echo, slow = await socket.join("echo:a"), await socket.join("slow:a")
        order: list[str] = []
        async with trio.open_nursery() as nursery:

            async def note(what: str, act: Any) -> None:
                await act()
                order.append(what)

            nursery.start_soon(note, "handler", partial(slow.push, "sleep", {"ms": 400}))
            nursery.start_soon(note, "join", partial(socket.join, "slow:b", {"delay_ms": 400}))
            await trio.sleep(0.05)
            await note("echo", partial(echo.push, "ok"))
            await note("heartbeat", socket.ping)
        assert order[:2] == ["echo", "heartbeat"]
        assert sorted(order[2:]) == ["handler", "join"]


# -- how channels end


@versions
async def test_how_a_channel_ends(contract: Contract, vsn: Any) -> None:
    async with opened(contract, vsn=vsn) as socket:
        for number, (topic, event, payload, last, exit, terminate) in enumerate(ENDS):
            watch, row = contract.name(), (topic, event, payload)
            kind = topic.partition(":")[0]
            channel = await socket.join(f"{kind}:{number}", {"watch": watch})
            assert await contract.is_alive(watch)
            if event == "phx_leave":
                await channel.leave()
            else:
                channel.cast(event, payload)
                await until(lambda channel=channel: not channel.is_joined)
            assert channel.state == ("closed" if last == CLOSED else "away"), row
            seen = await contract.ended(watch)
            assert fits(exit, seen[0]) and fits(terminate, seen[1]), (row, seen)
        assert socket.connections == 1


async def test_a_push_hears_at_once_how_its_channel_has_ended(contract: Contract) -> None:
    async with opened(contract) as socket:
        crash, stop = await socket.join("crash:a"), await socket.join("stop:a")
        with pytest.raises(ChannelCrashed):
            await crash.push("raise", within=math.inf)
        with pytest.raises(ChannelClosed, match="by the server"):
            await stop.push("stop", {"reason": "normal"}, within=math.inf)
        for status in ("ok", "error"):
            stop = await socket.join("stop:b")
            answer = {"reason": "shutdown", "reply": status, "response": {"last": "word"}}
            assert await push(stop, "stop", answer) == (status, {"last": "word"})
            await until(lambda stop=stop: stop.state == "closed")


@versions
async def test_a_channel_that_crashes_is_joined_again_and_one_that_stops_is_not(
    contract: Contract, vsn: Any
) -> None:
    async with opened(contract, vsn=vsn, rejoin=SOON) as socket:
        crash, stop = await socket.join("crash:a"), await socket.join("stop:a")
        for joins, event in enumerate(("raise", "kill", "badreturn"), 2):
            with pytest.raises(ChannelCrashed):
                await crash.push(event)
            assert await crash.push("ping", wait=True) == {"pong": True}
            assert crash.joins == joins
        stop.cast("stop", {"reason": "normal"})
        await until(lambda: stop.state == "closed")
        assert (await socket.ping(), stop.joins)[1] == 1


async def test_a_channel_that_is_ended_from_outside(contract: Contract) -> None:
    closed = end("shutdown", "closed")
    async with opened(contract) as socket:
        for reason, seen in [
            ("kill", (end("killed"), None)),
            ("shutdown", (end("shutdown"), None)),
            ("boom", (end("other", ":boom"), None)),
            ("close", (closed, closed)),
        ]:
            watch = contract.name()
            channel = await socket.join(f"echo:{reason}", {"watch": watch})
            await contract.post("kill_channel", watch=watch, reason="normal")
            assert await channel.push("ok") == {}
            if reason == "close":
                await contract.post("cast", watch=watch, msg="close")
            else:
                await contract.post("kill_channel", watch=watch, reason=reason)
            await until(lambda channel=channel: channel.state == "away")
            assert await contract.ended(watch) == seen


# -- how connections end


@pytest.mark.parametrize("how", ["end", "sent away", "drain", "kill", "too large"])
async def test_how_a_connection_ends(contract: Contract, how: str) -> None:
    user, watch = contract.name("user"), contract.name()
    code, reason = 1000, end("shutdown", "local_closed")
    async with opened(contract, params={"user_id": user}) as socket:
        room = await socket.join("echo:a", {"watch": watch})
        match how:
            case "end":
                await socket.disconnect()
            case "sent away":
                await contract.post("disconnect", id=f"user_socket:{user}")
                code, reason = 1001, end("shutdown", "disconnected")
            case "drain":
                await contract.post("drain")
                code, reason = 1012, end("shutdown", "draining")
            case "kill":
                await contract.post("crash_transport", watch=watch, reason="kill")
                code, reason = 1006, end("killed")
            case _:
                with pytest.raises(Disconnected):
                    await room.push("echo", {"text": "x" * 70_000})
                code = 1009
                reason = end("shutdown", "{:deserializing, :max_frame_size_exceeded}")
        await until(lambda: not socket.is_connected)
        if how != "end":
            assert isinstance(socket.error, Disconnected)
            assert socket.error.code == code
    assert await contract.ended(watch) == (reason, reason)


async def test_who_is_sent_away_comes_back_with_all_topics(contract: Contract) -> None:
    user = contract.name("user")
    async with opened(contract, params={"user_id": user}, reconnect=SOON, rejoin=SOON) as socket:
        rooms = [await socket.join(f"echo:{number}", tell_rejoins=True) for number in range(3)]
        await contract.post("disconnect", id=f"user_socket:{user}")
        for room in rooms:
            assert (await room.receive()).event == "phx_join"
            assert await room.push("ok") == {}
        assert socket.connections == 2


async def test_who_is_silent_is_closed_and_heartbeats_keep_it(contract: Contract) -> None:
    watch = contract.name()
    async with (
        opened(contract, "/socket_idle", heartbeat=0.15) as beats,
        opened(contract, "/socket_idle") as silent,
    ):
        await silent.join("echo:a", {"watch": watch})
        await until(lambda: not silent.is_connected)
        assert isinstance(silent.error, Disconnected)
        assert silent.error.code == 1002
        assert (beats.is_connected, beats.connections) == (True, 1)
    timed_out = end("shutdown", "read_timeout")
    assert await contract.ended(watch) == (timed_out, timed_out)


@pytest.mark.parametrize(("reject", "status"), [("error", 403), ("reason", 403), ("raise", 500)])
async def test_who_is_not_let_in_at_all_is_told_so(
    contract: Contract, reject: str, status: int
) -> None:
    with pytest.raises(ConnectFailed) as failed:
        async with opened(contract, params={"reject": reject}):
            raise AssertionError("it was let in")
    assert failed.value.status == status


async def test_which_pages_may_connect(contract: Contract) -> None:
    for origin, status in [
        ("https://allowed.example", None),
        ("http://allowed.example:99", None),
        ("https://evil.example", 403),
        ("null", 403),
    ]:
        try:
            async with opened(contract, "/socket_origin", headers={"Origin": origin}) as socket:
                assert await (await socket.join("exact")).push("ping") == {}
                got = None
        except ConnectFailed as failed:
            got = failed.status
        assert got == status, origin


# -- rooms


@versions
async def test_what_is_said_in_a_room(contract: Contract, vsn: Any) -> None:
    topic = f"room:{contract.name()}"
    async with opened(contract, vsn=vsn) as one, opened(contract) as other:
        ada = await one.join(topic, {"name": "ada"})
        bob = await other.join(topic, {"name": "bob", "announce": True})

        async def heard(*channels: ClientChannel) -> list[tuple[str, Any]]:
            events = [await channel.receive() for channel in channels]
            return [(event.event, event.payload) for event in events]

        assert await heard(ada) == [("joined", {"name": "bob"})]
        assert await ada.push("shout", {"n": 1}) == {}
        assert await heard(ada, bob) == [("shout", {"n": 1})] * 2
        assert await ada.push("shout_from", {"n": 2}) == {}
        assert await heard(bob) == [("shout", {"n": 2})]
        ada.cast("shout_noreply", {"n": 3})
        assert await heard(ada, bob) == [("shout", {"n": 3})] * 2
        assert await bob.push("shout_many", {"n": 50}) == {}
        for channel in (ada, bob):
            assert await heard(*[channel] * 50) == [("shout", {"i": i}) for i in range(1, 51)]
        assert await ada.push("intercepted", {"skip": "bob"}) == {}
        assert await bob.push("intercepted", {"skip": ""}) == {}
        assert await heard(ada, ada) == [
            ("intercepted", {"skip": skip, "seen_by": "ada"}) for skip in ("bob", "")
        ]
        assert await heard(bob) == [("intercepted", {"skip": "", "seen_by": "bob"})]
        external = {"topic": topic, "event": "external", "payload": {"from": "ada"}}
        assert await ada.push("external", external) == {}
        await contract.post("broadcast", topic=topic, event="external", payload={"from": "outside"})
        for channel in (ada, bob):
            assert await heard(channel, channel) == [
                ("external", {"from": "ada"}),
                ("external", {"from": "outside"}),
            ]
        assert await ada.push("stop_out", {"who": "bob"}) == {}
        await until(lambda: bob.state == "closed")
        ada.cast("raise_out", {"who": "ada"})
        await until(lambda: ada.state == "away")


# -- presence


@asynccontextmanager
async def tab(
    contract: Contract, topic: str, **options: Any
) -> AsyncGenerator[tuple[ClientChannel, PresenceView]]:
    """Connect and join with a presence."""
    here = PresenceView()
    async with opened(contract, **options) as socket:
        yield await socket.join(topic, {"track": "ada", "name": "ann"}, presence=here), here


@versions
async def test_the_clients_presence_shows_who_is_there(contract: Contract, vsn: Any) -> None:
    topic = f"room:{contract.name()}"
    async with tab(contract, topic) as (one, mine), tab(contract, topic, vsn=vsn) as (two, yours):
        views = (mine, yours)
        for view in views:
            await until(lambda view=view: metas(view) == {"ada": [{"name": "ann"}] * 2})
        status, answer = await push(one, "update", {"key": "ada", "meta": {"mood": "good"}})
        assert status == "ok"
        for view in views:
            await until(
                lambda view=view: metas(view) == {"ada": [{"name": "ann"}, {"mood": "good"}]}
            )
            assert view["ada"]["metas"][1]["phx_ref"] == answer["phx_ref"]
        assert (await push(one, "track", {"key": "bot", "meta": {}}))[0] == "ok"
        for view in views:
            await until(lambda view=view: "bot" in view)
        status, answer = await push(one, "track", {"key": "bot", "meta": {}})
        assert (status, answer["reason"][:24]) == ("error", "{:already_tracked, #PID<")
        nobody = {"key": "nobody", "meta": {}}
        assert await push(one, "update", nobody) == ("error", {"reason": ":nopresence"})
        listed = await two.push("list")
        assert {key: refs(value) for key, value in listed.items()} == {
            key: refs(value) for key, value in yours.items()
        }
        assert (await contract.get(f"presence?topic={topic}")) == {"presence": listed}
        assert await one.push("untrack", {"key": "bot"}) == {}
        await one.leave()
        await until(lambda: metas(yours) == {"ada": [{"name": "ann"}]})


def refs(one: Any) -> set[str]:
    return {meta["phx_ref"] for meta in one["metas"]}


async def test_presence_is_right_again_after_a_crash_and_says_what_fetch_adds(
    contract: Contract,
) -> None:
    topic = f"presence_fetch:{contract.name()}"
    async with (
        tab(contract, topic, rejoin=SOON) as (one, mine),
        tab(contract, topic) as (two, yours),
    ):
        for _ in range(2):
            for view in (mine, yours):
                await until(lambda view=view: metas(view) == {"ada": [{"name": "ann"}] * 2})
                assert view["ada"]["user"] == {"id": "ada"}
            before = refs(yours["ada"])
            with pytest.raises(ChannelCrashed):
                await one.push("no such event")
            await one.wait_joined()
            # One of the two is another one now.
            await until(
                lambda before=before: len(refs(yours.get("ada", {"metas": []})) & before) == 1
            )
        await until(lambda: metas(yours) == metas(mine) == {"ada": [{"name": "ann"}] * 2})
        assert metas(await two.push("list")) == metas(yours)
