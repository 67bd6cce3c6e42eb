"""The official client from npm, unmodified, in Node: what it asks for, and what it survives.

Whatever it sends, and whatever it makes of the answers, is what an application would see:
`driver.mjs` only passes orders and callbacks on.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import trio

from exeunt import Crash, Shutdown
from exeunt.channels import Tokens
from tests.e2e.phoenix_js import open_client
from tests.e2e.programs import Program
from tests.e2e.stage import SECRET, Left, open_stage

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.needs("node", "phoenix")]

# The client waits a second before it joins again; its patience is not what is tested here.
SOON = {"rejoinAfterMs": 20, "reconnectAfterMs": 20}
NEVER = {"rejoinAfterMs": 3_600_000, "reconnectAfterMs": 3_600_000}


@pytest.fixture
def node(part: Callable[[str], Path]) -> Path:
    return part("node")


# -- connecting


async def test_it_connects_with_a_token_and_joins(node: Path) -> None:
    async with open_stage() as stage, open_client(node) as js:
        ada = await js.connect(stage.url, token=stage.token("ada"))
        room = await ada.join("room:1", {"colour": "blue"})
        assert room.response == {"joins": 1, "params": {"colour": "blue"}}
        assert await room.event("welcome") == {"name": "ada"}
        answer, welcome = await ada.frames()
        assert answer[2:4] == ["room:1", "phx_reply"]
        assert answer[4]["status"] == "ok"
        assert welcome == [answer[0], None, "room:1", "welcome", {"name": "ada"}]
        assert stage.leaves == []


@pytest.mark.parametrize("kind", ["missing", "forged", "of another salt", "expired", "empty"])
async def test_it_is_refused_without_a_valid_token(node: Path, kind: str) -> None:
    async with open_stage() as stage, open_client(node) as js:
        given = {
            "missing": {},
            "forged": {"token": Tokens("another secret, long enough").sign("user", "ada")},
            "of another salt": {"token": stage.tokens.sign("guest", "ada")},
            "expired": {
                "token": stage.tokens.sign("user", "ada", signed_at=time.time() - 90_000),
            },
            "empty": {"token": ""},
        }[kind]
        ada = await js.connect(stage.url, opens=False, options=NEVER, **given)
        assert "403" in (await ada.next("error"))["message"]
        assert (await ada.next("close"))["code"] == 1006
        assert ada.left_over("open") == []
        # The listener has taken no harm.
        await js.connect(stage.url, token=stage.token("ada"))


async def test_it_keeps_trying_until_it_is_let_in(node: Path) -> None:
    async with open_stage() as stage, open_client(node) as js:
        stage.is_open = False
        ada = await js.connect(stage.url, opens=False, options=SOON, token=stage.token("ada"))
        for _ in range(3):
            assert "403" in (await ada.next("error"))["message"]
        stage.is_open = True
        await ada.next("open")
        assert (await ada.join("room:1")).response["joins"] == 1


async def test_its_heartbeats_are_answered(node: Path) -> None:
    async with open_stage() as stage, open_client(node) as js:
        options = {"heartbeatIntervalMs": 50}
        ada = await js.connect(stage.url, options=options, token=stage.token("ada"))
        await ada.join("room:1")
        with trio.fail_after(10):
            while len(beats := await ada.frames(topic="phoenix")) < 5:
                await js.changed()
        for join_ref, ref, _, event, payload in beats:
            assert join_ref is None
            assert isinstance(ref, str)
            assert (event, payload) == ("phx_reply", {"status": "ok", "response": {}})
        assert ada.left_over("close") == []
        assert stage.leaves == []


# -- joining


async def test_a_refused_join_gets_the_reason(node: Path) -> None:
    async with open_stage() as stage, open_client(node) as js:
        ada = await js.connect(stage.url, options=NEVER, token=stage.token("ada"))
        room = await ada.join("room:1", {"refuse": {"reason": "full"}}, expect="error")
        assert room.response == {"reason": "full"}
        # Another topic of the same socket is none the worse for it.
        other = await ada.join("room:2")
        assert await other.push("echo", 1) == ("ok", 1)


async def test_a_join_that_crashes_is_tried_again(node: Path) -> None:
    async with open_stage() as stage, open_client(node) as js:
        ada = await js.connect(stage.url, options=SOON, token=stage.token("ada"))
        room = await ada.join("room:1", {"crashes": 2}, expect="error")
        assert room.response == {"reason": "join crashed"}
        assert (await room.next("join"))["response"] == {"reason": "join crashed"}
        again = await room.next("join")
        assert again["status"] == "ok"
        assert again["response"]["joins"] == 3
        assert await room.push("echo", "here") == ("ok", "here")
        assert stage.leaves == []


async def test_a_topic_without_a_channel_is_unmatched(node: Path) -> None:
    async with open_stage() as stage, open_client(node) as js:
        ada = await js.connect(stage.url, options=NEVER, token=stage.token("ada"))
        nowhere = await ada.join("nowhere:1", expect="error")
        assert nowhere.response == {"reason": "unmatched topic"}


async def test_a_second_channel_for_a_topic_replaces_the_first(node: Path) -> None:
    async with open_stage() as stage, open_client(node) as js:
        ada = await js.connect(stage.url, options=SOON, token=stage.token("ada"))
        first = await ada.join("room:1", {"which": 1})
        second = await ada.join("room:1", {"which": 2})
        assert second.response["params"] == {"which": 2}
        await first.next("channel close")
        assert await second.push("echo", 2) == ("ok", 2)
        left = await stage.has_left("ada")
        # The client sends a leave and a join back to back: either may win.
        assert left.reason in (Shutdown("left"), Shutdown("duplicate_join"))
        await ada.settle()
        assert second.left_over("channel error") == []
        assert second.left_over("channel close") == []
        assert len(stage.leaves) == 1
        assert stage.joins["ada"] == 2


# -- messages


async def test_a_push_is_answered_ok_or_error_or_not_at_all(node: Path) -> None:
    async with open_stage() as stage, open_client(node) as js:
        ada = await js.connect(stage.url, token=stage.token("ada"))
        room = await ada.join("room:1")
        value = {"text": "Grüße, 世界 \U0001f30d", "list": [1, 2.5, None, True], "empty": {}}
        assert await room.push("echo", value) == ("ok", value)
        assert await room.push("refuse", value) == (
            "error",
            {"reason": "as you wish", "got": value},
        )
        assert await room.push("ignore", value, patience=50) == ("timeout", {})
        # And after a time-out all goes on.
        assert await room.push("echo", "still here") == ("ok", "still here")


async def test_a_large_push_and_its_reply_pass(node: Path) -> None:
    async with open_stage() as stage, open_client(node) as js:
        ada = await js.connect(stage.url, token=stage.token("ada"))
        room = await ada.join("room:1")
        value = {"text": "0123456789" * 200_000}
        assert await room.push("echo", value) == ("ok", value)


async def test_a_push_before_the_join_is_answered_after_it(node: Path) -> None:
    async with open_stage() as stage, open_client(node) as js:
        ada = await js.connect(stage.url, options=SOON, token=stage.token("ada"))
        room = await ada.join("room:1", {"crashes": 1}, expect="error")
        assert await room.push("echo", "early") == ("ok", "early")
        assert stage.joins["ada"] == 2


async def test_many_pushes_are_handled_and_answered_in_order(node: Path) -> None:
    async with open_stage() as stage, open_client(node) as js:
        ada = await js.connect(stage.url, token=stage.token("ada"))
        bob = await js.connect(stage.url, token=stage.token("bob"))
        room = await ada.join("room:1")
        watching = await bob.join("room:1", events=["shout"])
        # More than the server lets wait for a channel, so that it also has to stop reading.
        count = 2500
        numbers = range(1, count + 1)
        pushes = [await room.send("number", number) for number in numbers]
        for number, push in zip(numbers, pushes, strict=True):
            assert await room.reply(push) == ("ok", number)
        assert stage.heard["ada"] == list(numbers)
        counted = [frame[4] for frame in await ada.frames("counted")]
        assert counted == [{"number": number, "place": number} for number in numbers]

        shouts = [await room.send("shout", {"number": number}) for number in range(100)]
        for push in shouts:
            assert await room.reply(push) == ("ok", {})
        heard = [await watching.event("shout") for _ in shouts]
        assert heard == [{"number": number} for number in range(100)]


async def test_a_broadcast_reaches_everybody_and_broadcast_from_everybody_else(node: Path) -> None:
    async with open_stage() as stage, open_client(node) as js:
        ada = await js.connect(stage.url, token=stage.token("ada"))
        bob = await js.connect(stage.url, token=stage.token("bob"))
        events = ["entered", "shout", "whisper"]
        here = await ada.join("room:1", events=events)
        there = await bob.join("room:1", events=events)
        elsewhere = await bob.join("room:2", events=events)
        assert await here.event("entered") == {"name": "bob"}

        assert await here.push("shout", {"text": "all"}) == ("ok", {})
        assert await there.event("shout") == {"text": "all"}
        assert await here.event("shout") == {"text": "all"}
        # Whoever broadcasts sees it before the reply.
        order = [frame[3] for frame in await ada.frames("shout", "phx_reply")]
        assert order == ["phx_reply", "shout", "phx_reply"]

        assert await there.push("whisper", {"text": "others"}) == ("ok", {})
        assert await here.event("whisper") == {"text": "others"}

        # From outside of any channel.
        stage.hub.broadcast("room:2", "shout", {"text": "from the server"})
        assert await elsewhere.event("shout") == {"text": "from the server"}
        await ada.settle()
        await bob.settle()
        for channel in (here, there, elsewhere):
            for event in ("shout", "whisper"):
                assert channel.left_over("event", event=event) == []


async def test_bytes_are_pushed_answered_and_broadcast_as_bytes(node: Path) -> None:
    async with open_stage() as stage, open_client(node) as js:
        ada = await js.connect(stage.url, token=stage.token("ada"))
        bob = await js.connect(stage.url, token=stage.token("bob"))
        events = ["turned", "turned by another"]
        here = await ada.join("room:bytes ☂", events=events)
        there = await bob.join("room:bytes ☂", events=events)
        for data in (bytes(range(256)), b"", b"\0" * 100_000 + b"\1"):
            assert await here.push("turn", data) == ("ok", data[::-1])
            assert await here.event("turned") == data[::-1]
            assert await there.event("turned by another") == data[::-1]
        # Text goes on working beside it.
        assert await here.push("echo", {"bytes?": False}) == ("ok", {"bytes?": False})


# -- leaving


async def test_a_leave_is_answered_and_the_others_hear_of_it(node: Path) -> None:
    async with open_stage() as stage, open_client(node) as js:
        ada = await js.connect(stage.url, token=stage.token("ada"))
        bob = await js.connect(stage.url, token=stage.token("bob"))
        room = await ada.join("room:1")
        there = await bob.join("room:1")
        await room.leave()
        assert await there.event("left") == {"name": "ada", "reason": "shutdown: left"}
        await ada.settle()
        join, leave = await ada.frames("phx_reply")
        assert leave[0] == join[0]
        assert leave[2:] == ["room:1", "phx_reply", {"status": "ok", "response": {}}]
        assert await ada.frames("phx_close") == [[join[0], join[0], "room:1", "phx_close", {}]]
        assert await ada.frames("phx_error") == []
        assert stage.leaves == [Left("ada", "room:1", Shutdown("left"))]

        # The topic can be joined again on the same socket.
        again = await ada.join("room:1")
        assert await there.event("entered") == {"name": "ada"}
        assert await again.push("echo", "back") == ("ok", "back")


async def test_disconnect_closes_every_channel_of_the_socket(node: Path) -> None:
    async with open_stage() as stage, open_client(node) as js:
        ada = await js.connect(stage.url, options=SOON, token=stage.token("ada"))
        await ada.join("room:1")
        await ada.join("room:2")
        await ada.disconnect()
        await stage.has_left("ada", times=2)
        assert sorted(stage.leaves, key=lambda left: left.topic) == [
            Left("ada", "room:1", Shutdown("local_closed")),
            Left("ada", "room:2", Shutdown("local_closed")),
        ]
        # The client's own close is final.
        assert len(ada.left_over("open")) == 0


async def test_a_handler_that_crashes_ends_its_channel_only_and_the_client_rejoins(
    node: Path,
) -> None:
    async with open_stage() as stage, open_client(node) as js:
        ada = await js.connect(stage.url, options=SOON, token=stage.token("ada"))
        bob = await js.connect(stage.url, token=stage.token("bob"))
        room = await ada.join("room:1")
        other = await ada.join("room:2")
        there = await bob.join("room:1")
        await room.send("crash")
        error = await room.next("channel error")
        assert error["payload"] == {"reason": "channel_crash"}
        assert await there.event("left") == {"name": "ada", "reason": "RuntimeError: as you wish"}
        assert await there.event("entered") == {"name": "ada"}
        assert (await room.next("join"))["status"] == "ok"
        assert await room.push("echo", "again") == ("ok", "again")

        (left,) = stage.leaves
        assert isinstance(left.reason, Crash)
        assert isinstance(left.reason.exception, RuntimeError)
        (failed,) = await ada.frames("phx_error")
        assert failed[0] == failed[1]
        assert failed[2] == "room:1"
        await ada.settle()
        assert other.left_over("channel error") == []
        assert ada.left_over("close") == []
        assert await other.push("echo", "untouched") == ("ok", "untouched")


async def test_a_killed_client_has_left_without_a_word(node: Path) -> None:
    async with open_stage() as stage, open_client(node) as victim, open_client(node) as js:
        ada = await victim.connect(stage.url, token=stage.token("ada"))
        bob = await js.connect(stage.url, token=stage.token("bob"))
        await ada.join("room:1")
        there = await bob.join("room:1")
        victim.process.kill()
        expected = {"name": "ada", "reason": "shutdown: peer_closed"}
        assert await there.event("left") == expected
        assert stage.leaves == [Left("ada", "room:1", Shutdown("peer_closed"))]


async def test_two_tabs_of_one_user_come_and_go_each_for_itself(node: Path) -> None:
    async with open_stage() as stage, open_client(node) as js:
        tabs = [await js.connect(stage.url, token=stage.token("ada")) for _ in range(2)]
        first = await tabs[0].join("room:1", events=["shout"])
        second = await tabs[1].join("room:1", events=["shout"])
        await first.push("shout", {"from": "the first"})
        assert await second.event("shout") == {"from": "the first"}
        await tabs[0].disconnect()
        await stage.has_left("ada")
        assert await second.push("shout", {"from": "the second"}) == ("ok", {})
        assert await second.event("shout") == {"from": "the second"}
        assert stage.leaves == [Left("ada", "room:1", Shutdown("local_closed"))]


async def test_disconnect_by_id_closes_all_tabs_of_a_user_and_they_come_back(node: Path) -> None:
    async with open_stage() as stage, open_client(node) as js:
        token = stage.token("ada")
        tabs = [await js.connect(stage.url, options=SOON, token=token) for _ in range(2)]
        rooms = [await tab.join("room:1") for tab in tabs]
        bob = await js.connect(stage.url, token=stage.token("bob"))
        there = await bob.join("room:1")
        await there.send("disconnect", {"name": "ada"})
        for tab, room in zip(tabs, rooms, strict=True):
            assert (await tab.next("close"))["code"] == 1001
            assert (await room.next("channel error"))["payload"] == {
                "source": "transport",
                "reason": "connection_closed",
            }
            await tab.next("open")
            assert (await room.next("join"))["status"] == "ok"
        await stage.has_left("ada", times=2)
        assert stage.leaves == [Left("ada", "room:1", Shutdown("disconnected"))] * 2
        assert bob.left_over("close") == []
        assert stage.joins["ada"] == 4


# -- servers that go away


async def test_a_restarted_server_is_found_again_and_the_rooms_with_it(node: Path) -> None:
    ada_token, bob_token = (Tokens(SECRET).sign("user", name) for name in ("ada", "bob"))
    async with open_client(node) as js:
        with Program("tests.e2e.stage", "0", SECRET) as server:
            url = server.line("http://.*")[0]
            port = url.rpartition(":")[2]
            ada = await js.connect(url, options=SOON, token=ada_token)
            bob = await js.connect(url, options=SOON, token=bob_token)
            rooms = [await one.join("room:1", events=["shout"]) for one in (ada, bob)]
            ended = server.end(signal.SIGTERM)
            assert ended.status == 128 + signal.SIGTERM
            assert ended.stderr == ""
            for socket in (ada, bob):
                assert (await socket.next("close"))["code"] == 1012
            # While there is nobody, they try and fail.
            await ada.next("error")
        with Program("tests.e2e.stage", port, SECRET) as server:
            server.line("http://.*")
            for socket, room in zip((ada, bob), rooms, strict=True):
                await socket.next("open")
                again = await room.next("join")
                assert again["status"] == "ok"
                # The new server has never seen either.
                assert again["response"]["joins"] == 1
            assert await rooms[0].push("shout", {"text": "we are back"}) == ("ok", {})
            assert await rooms[1].event("shout") == {"text": "we are back"}
            assert len(await ada.frames("shout")) == 1


async def test_a_server_that_hangs_is_given_up_and_found_again_when_it_goes_on(
    node: Path,
) -> None:
    tokens = Tokens(SECRET)
    async with open_client(node) as js:
        with Program("tests.e2e.stage", "0", SECRET) as server:
            url = server.line("http://.*")[0]
            # Ada notices by her heartbeats that the server hangs; Bob has more patience.
            options = {**SOON, "heartbeatIntervalMs": 500}
            ada = await js.connect(url, options=options, token=tokens.sign("user", "ada"))
            bob = await js.connect(url, token=tokens.sign("user", "bob"))
            room = await ada.join("room:1")
            there = await bob.join("room:1")
            server.tell(signal.SIGSTOP)
            error = await room.next("channel error")
            assert error["payload"] == {"source": "transport", "reason": "heartbeat_timeout"}
            server.tell(signal.SIGCONT)
            await ada.next("open")
            assert (await room.next("join"))["status"] == "ok"
            # She has gone in order: her client closed the connection that it gave up.
            assert await there.event("left") == {"name": "ada", "reason": "shutdown: local_closed"}
            assert await room.push("echo", "again") == ("ok", "again")
            await bob.settle()
            assert there.left_over("event", event="left") == []
            assert bob.left_over("close") == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_signal_ends_the_chat_with_all_its_clients_within_a_second(
    node: Path, number: signal.Signals
) -> None:
    tokens = Tokens(SECRET)
    async with open_client(node) as js:
        with Program("examples.chat", "--port", "0", "--secret", SECRET) as chat:
            url = chat.line(r"Chat rooms are open at (\S+)")[1]
            sockets = [
                await js.connect(
                    url,
                    options={
                        **NEVER,
                        "authToken": tokens.sign("person", {"id": str(one), "name": f"no. {one}"}),
                    },
                )
                for one in range(20)
            ]
            for one, socket in enumerate(sockets):
                await socket.join(f"room:{one % 3}")
            ended = await trio.to_thread.run_sync(chat.end, number)
        assert ended.seconds < 1
        assert ended.status == (0 if number == signal.SIGINT else 143)
        assert ended.stderr == ""
        for socket in sockets:
            assert (await socket.next("close"))["code"] == 1012
