"""The official client from npm, unmodified, in Node, against the server of the contract.

What it sees is in the tables that the other clients are held to as well; how the server saw the
same is asked of `/control/watch`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import pytest
import trio

from tests.contract_server.test_contract import CLOSED, CRASHED, ENDS, JOINS, end, fits
from tests.e2e.contract import (
    BYTES,
    CHANNEL_CRASHED,
    ECHOES,
    NO_ROUTE,
    SILENCE,
    TOKENS,
    UNMATCHED,
    Contract,
    metas,
    open_contract,
)
from tests.e2e.phoenix_js import JsChannel, JsSocket, open_client

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.needs("node", "phoenix")]

# The client waits a second before it joins again; its patience is not what is tested here.
SOON = {"rejoinAfterMs": 20, "reconnectAfterMs": 20}
NEVER = {"rejoinAfterMs": 3_600_000, "reconnectAfterMs": 3_600_000}

WEBSOCKET: dict[str, Any] = {}
POLLING: dict[str, Any] = {"polls": True}
VERSION_1: dict[str, Any] = {"v1": True}

# What a channel is told when its connection goes; one that polls hears of an answer first.
CLOSED_UNDER_IT = {"source": "transport", "reason": "connection_closed"}
POLLED_IN_VAIN = {"source": "transport", "reason": "connection_error"}

every = pytest.mark.parametrize(
    "way", [WEBSOCKET, POLLING, VERSION_1], ids=["websocket", "polling", "version 1"]
)


Act: TypeAlias = Callable[["dict[str, Any]"], Awaitable[None]]


async def in_both_ways(act: Act, *more: dict[str, Any]) -> None:
    """Do the same with a client of a WebSocket and with one that polls, side by side."""
    async with trio.open_nursery() as nursery:
        for way in (WEBSOCKET, POLLING, *more):
            nursery.start_soon(act, way)


@pytest.fixture(scope="module")
def contract() -> Generator[Contract]:
    with open_contract() as contract:
        yield contract


@pytest.fixture
def node(part: Callable[[str], Path]) -> Path:
    return part("node")


# -- messages


@every
async def test_what_is_pushed_is_answered_and_pushed_as_the_table_says(
    contract: Contract, node: Path, way: dict[str, Any]
) -> None:
    async with open_client(node) as js:
        ada = await js.connect(contract.url, options=NEVER, **way)
        channels: dict[str, JsChannel] = {}
        events = ["e", "tick", "info", "bye"]
        for case in ECHOES:
            if case.topic not in channels:
                channels[case.topic] = await ada.join(case.topic, events=events)
            channel = channels[case.topic]
            patience = {"patience": int(SILENCE * 1000)} if case.answer is None else {}
            answer = await channel.push(case.event, case.payload, statuses=["teapot"], **patience)
            assert answer == (case.answer or ("timeout", {})), case
            for name, payload in case.pushes:
                assert await channel.event(name) == payload, case
        await ada.settle()
        assert js.left_over("event") == []
        assert ada.left_over("close") == []


async def test_what_the_server_knows_of_the_client(contract: Contract, node: Path) -> None:
    async with open_client(node) as js:

        async def ask_it(way: dict[str, Any]) -> None:
            user = contract.name("user")
            options = {**NEVER, "authToken": "s3cr3t+/==é"}
            deep = {"a": ["b"]}
            ada = await js.connect(contract.url, options=options, user_id=user, deep=deep, **way)
            room = await ada.join("echo:a", {"x": [1]})
            assert room.response == {"topic": "echo:a", "params": {"x": [1]}}
            _, whoami = await room.push("whoami")
            transport = "longpoll" if way == POLLING else "websocket"
            [join, answer] = await ada.frames(topic="echo:a")
            assert whoami == {
                "id": f"user_socket:{user}",
                "topic": "echo:a",
                "join_ref": join[0],
                "ref": answer[1],
                "transport": transport,
                "joined": True,
                "user_id": user,
            }
            _, info = await room.push("connect_info")
            assert info["auth_token"] == "s3cr3t+/==é"
            assert info["path"] == f"/socket/{transport}"
            assert info["peer"] == "127.0.0.1"
            _, params = await room.push("params")
            assert (params["vsn"], params["deep"]) == ("2.0.0", {"a": {"0": "b"}})

        await in_both_ways(ask_it)


async def test_bytes_go_both_ways(contract: Contract, node: Path) -> None:
    async with open_client(node) as js:
        ada = await js.connect(contract.url, options=NEVER)
        bob = await js.connect(contract.url, options=NEVER)
        topic = f"binary:{contract.name('☂')}"
        events = ["pushed", "bcast"]
        here, there = await ada.join(topic, events=events), await bob.join(topic, events=events)
        for event, payload, answer, besides in BYTES:
            assert await here.push(event, payload) == answer, event
            if besides is not None:
                assert await here.event(besides) == payload
            if besides == "bcast":
                assert await there.event(besides) == payload
        await bob.settle()
        assert js.left_over("event") == []


# -- joins


async def test_who_is_not_let_in_is_told_why(contract: Contract, node: Path) -> None:
    async with open_client(node) as js:

        async def be_refused(way: dict[str, Any]) -> None:
            ada = await js.connect(contract.url, options=NEVER, **way)
            for topic, exit, response in JOINS:
                watch = contract.name()
                channel = await ada.join(topic, {"watch": watch}, expect="error")
                assert channel.response == response, topic
                seen, terminate = await contract.ended(watch)
                assert fits(exit, seen) and terminate is None, (topic, seen, terminate)
            for topic in NO_ROUTE:
                assert (await ada.join(topic, expect="error")).response == UNMATCHED, topic
            left = 0
            for query, params, expect, response in TOKENS:
                token = {} if query is None else await contract.get(f"token?{query}")
                channel = await ada.join("auth:a", {**token, **params}, expect=expect)
                assert channel.response == response, (query, params)
                if expect == "ok":
                    await channel.leave()
                    left += 1
                    # The client says so at once. One of version 1 takes the server's phx_close for
                    # that of whichever channel it has on the topic when it comes.
                    with trio.fail_after(10):
                        while len(await ada.frames("phx_close", topic="auth:")) < left:
                            pass  # each look is a way there and back
            # The socket is none the worse for it.
            assert await (await ada.join("exact")).push("ping") == ("ok", {})
            assert ada.left_over("close") == []

        await in_both_ways(be_refused, VERSION_1)


async def test_a_join_that_fails_is_tried_again_until_it_succeeds(
    contract: Contract, node: Path
) -> None:
    async with open_client(node) as js:
        ada = await js.connect(contract.url, mount="/socket_limited", options=SOON)
        three = [await ada.join(f"echo:{number}") for number in range(3)]
        fourth = await ada.join("echo:3", expect="error")
        assert fourth.response == {"reason": "too many channels joined"}
        assert (await fourth.next("join"))["status"] == "error"
        await three[0].leave()
        while (await fourth.next("join"))["status"] != "ok":
            pass
        assert await fourth.push("ok") == ("ok", {})


async def test_a_second_channel_for_a_topic_takes_the_place_of_the_first(
    contract: Contract, node: Path
) -> None:
    async with open_client(node) as js:

        async def join_twice(way: dict[str, Any]) -> None:
            ada = await js.connect(contract.url, options=SOON, **way)
            watches = [contract.name(), contract.name()]
            first, second = [await ada.join("echo:a", {"watch": watch}) for watch in watches]
            assert second.response["params"] == {"watch": watches[1]}
            await first.next("channel close")
            # The client sends a leave and a join back to back: either may win.
            seen = await contract.ended(watches[0])
            left, replaced = end("shutdown", "left"), end("shutdown", "duplicate_join")
            assert seen in [(left, left), (replaced, None)]
            assert await second.push("ok") == ("ok", {})
            assert await contract.is_alive(watches[1])
            assert second.left_over("channel close") == second.left_over("channel error") == []

        await in_both_ways(join_twice)


async def test_a_topic_is_left_and_joined_again(contract: Contract, node: Path) -> None:
    async with open_client(node) as js:

        async def leave_twice(way: dict[str, Any]) -> None:
            ada = await js.connect(contract.url, options=SOON, **way)
            for _ in range(2):
                watch = contract.name()
                room = await ada.join("slow:a", {"watch": watch, "terminate_ms": 50})
                await room.leave()
                left = end("shutdown", "left")
                assert await contract.ended(watch) == (left, left)
            assert await ada.frames("phx_error", topic="slow:") == []

        await in_both_ways(leave_twice)


async def test_a_slow_join_and_a_slow_handler_hold_up_their_own_topic_only(
    contract: Contract, node: Path
) -> None:
    async with open_client(node) as js:

        async def wait_for_both(way: dict[str, Any]) -> None:
            ada = await js.connect(contract.url, options=NEVER, **way)
            echo, slow = await ada.join("echo:a"), await ada.join("slow:a")
            order: list[str] = []
            async with trio.open_nursery() as nursery:

                async def note(what: str, push: Awaitable[Any]) -> None:
                    await push
                    order.append(what)

                await slow.send("sleep", {"ms": 400})
                nursery.start_soon(note, "join", ada.join("slow:b", {"delay_ms": 400}))
                nursery.start_soon(note, "handler", slow.push("ping"))
                await trio.sleep(0.05)
                await note("echo", echo.push("ok"))
                await note("heartbeat", ada.settle())
            assert order[:2] == ["echo", "heartbeat"]
            assert sorted(order[2:]) == ["handler", "join"]

        await in_both_ways(wait_for_both)


# -- how channels end


@every
async def test_how_a_channel_ends(contract: Contract, node: Path, way: dict[str, Any]) -> None:
    async with open_client(node) as js:
        ada = await js.connect(contract.url, options=NEVER, **way)
        for number, (topic, event, payload, last, exit, terminate) in enumerate(ENDS):
            watch = contract.name()
            row = (topic, event, payload)
            kind = topic.partition(":")[0]
            channel = await ada.join(f"{kind}:{number}", {"watch": watch}, events=["bye"])
            assert await contract.is_alive(watch)
            if event == "phx_leave":
                await channel.leave()
            else:
                await channel.send(event, payload, patience=100)
                if last == CLOSED:
                    await channel.next("channel close")
                else:
                    error = await channel.next("channel error")
                    # A client of version 1 cannot tell it from one of an earlier join, but gets it.
                    assert error["payload"] == CHANNEL_CRASHED, row
            seen = await contract.ended(watch)
            assert fits(exit, seen[0]) and fits(terminate, seen[1]), (row, seen)
        await ada.settle()
        assert ada.left_over("close") == []


async def test_a_channel_that_crashes_is_joined_again_and_one_that_stops_is_not(
    contract: Contract, node: Path
) -> None:
    async with open_client(node) as js:

        async def crash_and_stop(way: dict[str, Any]) -> None:
            ada = await js.connect(contract.url, options=SOON, **way)
            crash, stop = await ada.join("crash:a"), await ada.join("stop:a")
            for event in ("raise", "kill", "badreturn"):
                await crash.send(event)
                await crash.next("channel error")
                assert (await crash.next("join"))["status"] == "ok"
                assert await crash.push("ping") == ("ok", {"pong": True})
            await stop.send("stop", {"reason": "normal"})
            await stop.next("channel close")
            # What is pushed meanwhile waits for the new join.
            await crash.send("exit", {"reason": "normal"})
            await crash.next("channel error")
            assert await crash.push("ping") == ("ok", {"pong": True})
            await ada.settle()
            assert stop.left_over("join") == stop.left_over("channel error") == []

        await in_both_ways(crash_and_stop)


async def test_a_channel_that_is_ended_from_outside(contract: Contract, node: Path) -> None:
    closed = end("shutdown", "closed")
    async with open_client(node) as js:

        async def be_ended(way: dict[str, Any]) -> None:
            ada = await js.connect(contract.url, options=NEVER, **way)
            for reason, seen in [
                ("kill", (end("killed"), None)),
                ("shutdown", (end("shutdown"), None)),
                ("boom", (end("other", ":boom"), None)),
                ("close", (closed, closed)),
            ]:
                watch = contract.name()
                channel = await ada.join(f"echo:{reason}", {"watch": watch})
                await contract.post("kill_channel", watch=watch, reason="normal")
                assert await channel.push("ok") == ("ok", {})
                if reason == "close":
                    await contract.post("cast", watch=watch, msg="close")
                else:
                    await contract.post("kill_channel", watch=watch, reason=reason)
                assert (await channel.next("channel error"))["payload"] == CHANNEL_CRASHED
                assert await contract.ended(watch) == seen
            watch = contract.name()
            nohooks = await ada.join("nohooks:a", {"watch": watch, "stray": True})
            await nohooks.send("anything")
            await nohooks.next("channel error")
            exit, terminate = await contract.ended(watch)
            assert exit is not None and exit["class"] == "other"
            assert exit["detail"].startswith("{:undef, ")
            assert terminate is None

        await in_both_ways(be_ended)


# -- how connections end


@pytest.mark.parametrize("how", ["disconnect", "sent away", "drain", "kill", "too large"])
async def test_how_a_connection_ends(contract: Contract, node: Path, how: str) -> None:
    async with open_client(node) as js:
        both_joined = [trio.Event(), trio.Event()]

        async def leave(way: dict[str, Any]) -> None:
            polls = way == POLLING
            user, watch = contract.name("user"), contract.name()
            # Its rejoins are not to be taken for the join that is watched.
            ada = await js.connect(contract.url, options=NEVER, user_id=user, **way)
            room = await ada.join("echo:a", {"watch": watch})
            both_joined[polls].set()
            code = 3410 if polls else 0
            match how:
                case "disconnect":
                    await ada.disconnect()
                    reason = end("shutdown", "inactive" if polls else "local_closed")
                case "sent away":
                    await contract.post("disconnect", id=f"user_socket:{user}")
                    code, reason = code or 1001, end("shutdown", "disconnected")
                case "drain":
                    for joined in both_joined:
                        await joined.wait()
                    await contract.post("drain")
                    code, reason = code or 1012, end("shutdown", "draining")
                case "kill":
                    await contract.post("crash_transport", watch=watch, reason="kill")
                    code, reason = code or 1006, end("killed")
                case _:
                    answer = await room.send("echo", {"text": "x" * 70_000})
                    if polls:
                        # The limit is one of frames, of which there are none.
                        assert (await room.reply(answer))[0] == "ok"
                        return
                    code = 1009
                    reason = end("shutdown", "{:deserializing, :max_frame_size_exceeded}")
            if how != "disconnect":
                error = POLLED_IN_VAIN if polls else CLOSED_UNDER_IT
                assert (await room.next("channel error"))["payload"] == error
                assert (await ada.next("close"))["code"] == code
            assert await contract.ended(watch) == (reason, reason)

        await in_both_ways(leave)


async def test_who_is_sent_away_comes_back_with_all_topics(contract: Contract, node: Path) -> None:
    async with open_client(node) as js:

        async def come_back(way: dict[str, Any]) -> None:
            user = contract.name("user")
            ada = await js.connect(contract.url, options=SOON, user_id=user, **way)
            rooms = [await ada.join(f"echo:{number}") for number in range(3)]
            await contract.post("disconnect", id=f"user_socket:{user}")
            await ada.next("close")
            await ada.next("open")
            for room in rooms:
                assert (await room.next("join"))["status"] == "ok"
                assert await room.push("ok") == ("ok", {})

        await in_both_ways(come_back)


async def test_a_client_whose_process_is_killed_has_left_without_a_word(
    contract: Contract, node: Path
) -> None:
    watches = [contract.name(), contract.name()]
    async with open_client(node) as js:
        for watch, way in zip(watches, (WEBSOCKET, POLLING), strict=True):
            ada = await js.connect(contract.url, options=NEVER, **way)
            await ada.join("echo:a", {"watch": watch})
        js.process.kill()
        gone, inactive = end("shutdown", "peer_closed"), end("shutdown", "inactive")
        assert await contract.ended(watches[0]) == (gone, gone)
        assert await contract.ended(watches[1]) == (inactive, inactive)


async def test_who_is_silent_is_closed_and_heartbeats_keep_it(
    contract: Contract, node: Path
) -> None:
    async with open_client(node) as js:
        connect = partial(js.connect, contract.url, mount="/socket_idle")
        beats = await connect(options={**NEVER, "heartbeatIntervalMs": 150})
        silent = await connect(options=NEVER)
        await beats.join("echo:a")
        await silent.join("echo:a", {"watch": (watch := contract.name())})
        assert (await silent.next("close"))["code"] == 1002
        timed_out = end("shutdown", "read_timeout")
        assert await contract.ended(watch) == (timed_out, timed_out)
        assert beats.left_over("close") == []


async def test_who_is_not_let_in_at_all_is_told_so(contract: Contract, node: Path) -> None:
    async with open_client(node) as js:

        async def be_refused(way: dict[str, Any]) -> None:
            connect = partial(js.connect, contract.url, opens=False, options=NEVER, **way)
            for reject, status, polled in [
                ("error", "403", 1008),
                ("reason", "403", 1008),
                ("raise", "500", 1011),
            ]:
                ada = await connect(reject=reject)
                assert status in (await ada.next("error"))["message"]
                assert (await ada.next("close"))["code"] == (polled if way == POLLING else 1006)
                assert ada.left_over("open") == []

        await in_both_ways(be_refused)


# -- rooms


@pytest.mark.parametrize("ways", [(WEBSOCKET, POLLING), (POLLING, WEBSOCKET)], ids=["ws", "polls"])
async def test_what_is_said_in_a_room(
    contract: Contract, node: Path, ways: tuple[dict[str, Any], dict[str, Any]]
) -> None:
    async with open_client(node) as js:
        sockets = [await js.connect(contract.url, options=NEVER, **way) for way in ways]
        events = ["shout", "joined", "intercepted", "external"]
        topic = f"room:{contract.name()}"
        ada = await sockets[0].join(topic, {"name": "ada"}, events=events)
        bob = await sockets[1].join(topic, {"name": "bob", "announce": True}, events=events)
        eve = await sockets[1].join(f"{topic}-2", {"name": "eve"}, events=events)
        assert await ada.event("joined") == {"name": "bob"}

        assert await ada.push("shout", {"n": 1}) == ("ok", {})
        assert [await one.event("shout") for one in (ada, bob)] == [{"n": 1}] * 2
        assert await ada.push("shout_from", {"n": 2}) == ("ok", {})
        assert await bob.event("shout") == {"n": 2}
        await ada.send("shout_noreply", {"n": 3}, patience=100)
        assert [await one.event("shout") for one in (ada, bob)] == [{"n": 3}] * 2
        assert await bob.push("shout_many", {"n": 50}) == ("ok", {})
        for one in (ada, bob):
            assert [await one.event("shout") for _ in range(50)] == [
                {"i": number} for number in range(1, 51)
            ]

        assert await ada.push("intercepted", {"n": 1}) == ("ok", {})
        assert await ada.event("intercepted") == {"n": 1, "seen_by": "ada"}
        assert await bob.event("intercepted") == {"n": 1, "seen_by": "bob"}
        assert await ada.push("intercepted", {"skip": "bob"}) == ("ok", {})
        assert await ada.event("intercepted") == {"skip": "bob", "seen_by": "ada"}

        elsewhere = {"topic": eve.topic, "event": "external", "payload": {"from": "ada"}}
        assert await ada.push("external", elsewhere) == ("ok", {})
        assert await eve.event("external") == {"from": "ada"}
        await contract.post("broadcast", topic=topic, event="external", payload={"from": "outside"})
        assert [await one.event("external") for one in (ada, bob)] == [{"from": "outside"}] * 2

        for socket in sockets:
            await socket.settle()
        assert js.left_over("event") == []
        # A handler of what goes out ends the channel of the one whom it is for.
        assert await ada.push("stop_out", {"who": "bob"}) == ("ok", {})
        await bob.next("channel close")
        await ada.send("raise_out", {"who": "ada"})
        assert (await ada.next("channel error"))["payload"] == CHANNEL_CRASHED
        assert eve.left_over("channel error") == eve.left_over("channel close") == []


# -- presence


def by_ref(state: Any) -> Any:
    """Sort the metas of each key: the client puts one that is updated behind the others."""
    return {
        key: {**one, "metas": sorted(one["metas"], key=lambda meta: str(meta["phx_ref"]))}
        for key, one in state.items()
    }


def has_tabs(number: int) -> Callable[[Any], bool]:
    return lambda state: len(metas(state).get("ada", ())) == number


def has_meta(meta: dict[str, Any]) -> Callable[[Any], bool]:
    return lambda state: meta in metas(state)["ada"]


async def tabs(topic: str, sockets: list[JsSocket], **params: Any) -> list[JsChannel]:
    """Have each of some sockets join a topic, and see all of them there."""
    found: list[JsChannel] = []
    for number, socket in enumerate(sockets, 1):
        found.append(await socket.join(topic, {"track": "ada", **params}, presence=True))
        for one in found:
            await one.sees(has_tabs(number))
    return found


@pytest.mark.parametrize("ways", [(WEBSOCKET, POLLING), (POLLING, WEBSOCKET)], ids=["ws", "polls"])
async def test_the_clients_presence_shows_who_is_there(
    contract: Contract, node: Path, ways: tuple[dict[str, Any], dict[str, Any]]
) -> None:
    async with open_client(node) as js:
        sockets = [await js.connect(contract.url, options=NEVER, **way) for way in ways]
        topic = f"room:{contract.name()}"
        one, other = await tabs(topic, sockets, name="ann")
        for mood in ({"mood": "good"}, {"mood": "bad"}):
            status, answer = await one.push("update", {"key": "ada", "meta": mood})
            assert status == "ok"
            for tab in (one, other):
                state = await tab.sees(has_meta(mood))
                assert metas(state) == {"ada": [{"name": "ann"}, mood]}
                refs = [meta["phx_ref"] for meta in state["ada"]["metas"]]
                assert refs[1] == answer["phx_ref"] != refs[0]

        # One channel may stand for several keys, but for each only once.
        status, answer = await one.push("track", {"key": "bot", "meta": {"kind": "bot"}})
        assert status == "ok"
        state = await other.sees(lambda state: "bot" in state)
        assert state["bot"]["metas"] == [{"kind": "bot", "phx_ref": answer["phx_ref"]}]
        status, answer = await one.push("track", {"key": "bot", "meta": {}})
        assert status == "error"
        assert answer["reason"].startswith("{:already_tracked, #PID<")
        status, answer = await one.push("update", {"key": "nobody", "meta": {}})
        assert (status, answer) == ("error", {"reason": ":nopresence"})

        # What the server lists is what the clients show.
        shown = (await other.push("list"))[1]
        assert by_ref(shown) == by_ref(state)
        assert (await contract.get(f"presence?topic={topic}")) == {"presence": shown}
        found = {"presence": shown["bot"]}
        assert await other.push("get_by_key", {"key": "bot"}) == ("ok", found)
        assert await other.push("get_by_key", {"key": "nobody"}) == ("ok", {"presence": []})

        assert await one.push("untrack", {"key": "bot"}) == ("ok", {})
        for tab in (one, other):
            await tab.sees(lambda state: "bot" not in state)
        await one.leave()
        assert metas(await other.sees(has_tabs(1))) == {"ada": [{"name": "ann"}]}


async def test_presence_is_right_again_after_a_crash_and_says_what_fetch_adds(
    contract: Contract, node: Path
) -> None:
    async with open_client(node) as js:
        sockets = [await js.connect(contract.url, options=SOON) for _ in range(2)]
        topic = f"presence_fetch:{contract.name()}"
        one, other = await tabs(topic, sockets)
        status, listed = await other.push("list")
        assert (status, listed["ada"]["user"]) == ("ok", {"id": "ada"})
        # It has no clause for this, and is joined again; the others see it go and come.
        await one.send("no such event")
        await one.next("channel error")
        assert (await one.next("join"))["status"] == "ok"
        for tab in (one, other):
            state = await tab.sees(has_tabs(2))
            assert state["ada"]["user"] == {"id": "ada"}
        status, listed = await other.push("list")
        assert metas(listed) == {"ada": [{"name": "anon"}] * 2}
        assert CRASHED in [frame[3] for frame in await sockets[0].frames(topic=topic)]
