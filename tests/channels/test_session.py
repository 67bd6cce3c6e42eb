"""A session: which channel a message is for, what is answered, in which order."""

from __future__ import annotations

import json
import math
from typing import Any

import hypothesis.strategies as st
import pytest
import trio
import trio.testing
from hypothesis import HealthCheck, given, settings

from exeunt import (
    Shutdown,
    is_alive,
    process_info,
    receive,
    send,
    trap_exit,
    wait_exit,
)
from exeunt import exit as exit_signal
from exeunt.channels import (
    Channel,
    Error,
    InResult,
    JoinResult,
    Ok,
    ProtocolError,
    Reply,
    Route,
    Socket,
    SocketRef,
    reply,
)
from exeunt.channels.channel_server import MISSED_BROADCASTS
from exeunt.channels.session import HELD_MESSAGES, JoinDecided
from tests.faults.world import until

from .memory import JSON_V1, Bench, open_bench

ROOM = "room:a"


class Echo(Channel):
    """Answers what it is sent, and does a few other things."""

    gates: dict[str, trio.Event] = {}
    refs: list[SocketRef] = []

    async def join(self, topic: str, params: Any) -> JoinResult:
        match params:
            case {"wait": str(name)}:
                await Echo.gates[name].wait()
            case {"refuse": response}:
                return Error(response)
            case {"crash": _}:
                raise RuntimeError("on purpose")
            case {"after": message}:
                send(self.pid, message)
            case _:
                pass
        return Ok({"params": params, "assigns": dict(self.assigns)})

    async def handle_in(self, event: str, payload: Any) -> InResult:
        match event:
            case "echo":
                return Ok(payload)
            case "status":
                return Reply(payload)
            case "nothing":
                return None
            case "push then reply":
                self.push("pushed", {"n": 1})
                self.push("pushed", {"n": 2})
                return Ok({"n": 3})
            case "shout":
                self.broadcast("shouted", payload)
                return Ok()
            case "assign":
                self.assigns["mine"] = payload
                return Ok(dict(self.assigns))
            case "wait":
                await Echo.gates[payload].wait()
                return Ok("waited")
            case "later":
                Echo.refs.append(self.socket_ref())
                return None
            case "crash":
                raise RuntimeError("on purpose")
            case "bytes":
                return Ok(payload)
        return Reply("unknown", event)

    async def handle_info(self, message: Any) -> Any:
        self.push("info", {"message": message})


class Other(Echo):
    """To see which route was taken."""

    async def join(self, topic: str, params: Any) -> JoinResult:
        return Ok("other")


class Rooms(Socket):
    channels = {
        "room:only": Other,
        "room:*": Echo,
        "lobby": Route(Echo, {"role": "guest", "user": "overridden"}),
        "phoenix": Other,
    }
    max_channels = 5

    def __init__(self) -> None:
        super().__init__()
        self.assigns["user"] = "ada"


@pytest.fixture(autouse=True)
def clean() -> None:
    Echo.gates = {}
    Echo.refs = []


async def join(bench: Bench, topic: str = ROOM, ref: object = "1", params: object = None) -> None:
    answer = await bench.ask(ref, ref, topic, "phx_join", params)
    assert answer[4]["status"] == "ok", answer


def ok(response: object) -> dict[str, object]:
    return {"status": "ok", "response": response}


def error(reason: str) -> dict[str, object]:
    return {"status": "error", "response": {"reason": reason}}


UNMATCHED = error("unmatched topic")

# -- what is for nobody


async def test_a_heartbeat_is_answered_with_a_join_ref_of_null() -> None:
    async with open_bench(Rooms()) as bench:
        assert await bench.ask("7", "8", "phoenix", "heartbeat", {"any": "thing"}) == [
            None,
            "8",
            "phoenix",
            "phx_reply",
            ok({}),
        ]


async def test_other_events_on_phoenix_are_unmatched_until_it_is_routed_and_joined() -> None:
    async with open_bench(Rooms()) as bench:
        assert await bench.ask("7", "8", "phoenix", "hello", {}) == [
            None,
            "8",
            "phoenix",
            "phx_reply",
            UNMATCHED,
        ]
        # It is an ordinary topic but for heartbeats.
        assert await bench.ask("7", "7", "phoenix", "phx_join", {}) == [
            "7",
            "7",
            "phoenix",
            "phx_reply",
            ok("other"),
        ]
        assert (await bench.ask("7", "8", "phoenix", "heartbeat", {}))[0] is None


async def test_a_join_without_a_route_is_unmatched_with_a_join_ref_of_null() -> None:
    async with open_bench(Rooms()) as bench:
        assert await bench.ask("1", "2", "nowhere", "phx_join", {}) == [
            None,
            "2",
            "nowhere",
            "phx_reply",
            UNMATCHED,
        ]
        assert bench.session.topics() == []


async def test_a_push_to_what_is_not_joined_is_unmatched_with_a_join_ref_of_null() -> None:
    async with open_bench(Rooms()) as bench:
        assert await bench.ask("1", "2", ROOM, "echo", {}) == [
            None,
            "2",
            ROOM,
            "phx_reply",
            UNMATCHED,
        ]


async def test_a_leave_of_what_is_not_joined_is_ok_with_the_join_ref_as_sent() -> None:
    async with open_bench(Rooms()) as bench:
        assert await bench.ask("1", "2", ROOM, "phx_leave", {}) == [
            "1",
            "2",
            ROOM,
            "phx_reply",
            ok({}),
        ]
        assert await bench.ask(None, 3, "nowhere", "phx_leave", {}) == [
            None,
            3,
            "nowhere",
            "phx_reply",
            ok({}),
        ]
        await bench.quiet()


@pytest.mark.parametrize("topic", [None, 7, 1.5, True, [], ["room:a"]], ids=repr)
@pytest.mark.parametrize("event", ["phx_join", "echo", "phx_leave", "heartbeat"])
async def test_a_topic_that_is_no_string_matches_nothing(topic: object, event: str) -> None:
    async with open_bench(Rooms()) as bench:
        expected = ["1", "2", topic, "phx_reply", ok({})]
        if event != "phx_leave":
            expected = [None, "2", topic, "phx_reply", UNMATCHED]
        assert await bench.ask("1", "2", topic, event, {}) == expected


async def test_a_join_of_an_object_is_no_message() -> None:
    async with open_bench(Rooms()) as bench:
        with pytest.raises(ProtocolError):
            await bench.say("1", "2", {"a": 1}, "phx_join", {})


@pytest.mark.parametrize(
    ("topic", "response"),
    [
        ("room:only", "other"),
        ("room:only2", {}),
        ("room:", {}),
        ("room:a:b", {}),
        ("room:*", {}),
        ("room:é😀", {}),
    ],
)
async def test_the_first_pattern_that_fits_is_taken(topic: str, response: object) -> None:
    async with open_bench(Rooms()) as bench:
        answer = await bench.ask("1", "1", topic, "phx_join", {})
        assert answer[2] == topic
        assert (answer[4]["response"] == "other") is (response == "other")


@pytest.mark.parametrize("topic", ["room", "ROOM:a", "lobby2", "xroom:a", "", "lobb", " room:a"])
async def test_what_no_pattern_fits_is_unmatched(topic: str) -> None:
    async with open_bench(Rooms()) as bench:
        assert (await bench.ask("1", "1", topic, "phx_join", {}))[4] == UNMATCHED


# -- refs


@pytest.mark.parametrize(
    "ref", ["1", 1, 0, -1, 1.5, None, True, False, "", [1], {"a": 1}, 2**70, "é" * 100], ids=repr
)
async def test_refs_come_back_with_their_json_type(ref: object) -> None:
    async with open_bench(Rooms()) as bench:
        answer = await bench.ask(ref, ref, ROOM, "phx_join", {})
        assert json.dumps(answer[:2]) == json.dumps([ref, ref])
        answer = await bench.ask(ref, ref, ROOM, "echo", {"x": 1})
        assert json.dumps(answer) == json.dumps([ref, ref, ROOM, "phx_reply", ok({"x": 1})])
        await bench.say(ref, ref, ROOM, "phx_leave", {})
        left, closed = await bench.take(2)
        assert json.dumps(left) == json.dumps([ref, ref, ROOM, "phx_reply", ok({})])
        assert json.dumps(closed) == json.dumps([ref, ref, ROOM, "phx_close", {}])


@pytest.mark.parametrize(
    ("joined", "sent"),
    [
        ("1", 1),
        (1, "1"),
        (1, 1.0),
        (1, True),
        (True, 1),
        (0, False),
        ("", None),
        ("1", "2"),
        ("1", ""),
        ("1", []),
    ],
    ids=repr,
)
async def test_what_carries_another_join_ref_is_stale_and_dropped_without_a_word(
    joined: object, sent: object
) -> None:
    async with open_bench(Rooms()) as bench:
        await join(bench, ref=joined)
        pid = bench.pid_of(ROOM)
        if sent is not None:
            await bench.say(sent, "2", ROOM, "echo", {})
            await bench.say(sent, "3", ROOM, "phx_leave", {})
            await bench.quiet()
        assert is_alive(pid)
        # With null instead it is for whatever join there is.
        assert (await bench.ask(None, "4", ROOM, "echo", 1))[4] == ok(1)


async def test_a_join_ref_of_null_is_kept_as_null_while_the_channel_uses_the_ref() -> None:
    async with open_bench(Rooms()) as bench:
        answer = await bench.ask(None, "5", ROOM, "phx_join", {"after": "hello"})
        assert answer[:2] == [None, "5"]
        assert await bench.take() == [["5", None, ROOM, "info", {"message": "hello"}]]
        await bench.say("5", "6", ROOM, "echo", {})
        await bench.quiet()
        assert await bench.ask(None, "7", ROOM, "echo", {}) == [
            "5",
            "7",
            ROOM,
            "phx_reply",
            ok({}),
        ]
        await bench.say(None, "8", ROOM, "phx_leave", {})
        assert await bench.take(2) == [
            ["5", "8", ROOM, "phx_reply", ok({})],
            [None, None, ROOM, "phx_close", {}],
        ]


async def test_a_join_ref_of_null_and_a_crash() -> None:
    async with open_bench(Rooms()) as bench:
        await bench.ask(None, "5", ROOM, "phx_join", {})
        assert await bench.ask(None, "6", ROOM, "crash", {}) == [
            None,
            None,
            ROOM,
            "phx_error",
            {"reason": "channel_crash"},
        ]


# -- joining


@pytest.mark.parametrize("params", [None, 1, "text", [], {}, [1, {"a": None}]], ids=repr)
async def test_params_are_any_json(params: object) -> None:
    async with open_bench(Rooms()) as bench:
        answer = await bench.ask("1", "1", ROOM, "phx_join", params)
        assert answer[4]["response"]["params"] == params


@pytest.mark.parametrize("response", [None, 1, "no", [], {}, {"reason": "full"}], ids=repr)
async def test_a_refusal_says_what_the_channel_says(response: object) -> None:
    async with open_bench(Rooms()) as bench:
        answer = await bench.ask("1", "2", ROOM, "phx_join", {"refuse": response})
        assert answer == ["1", "2", ROOM, "phx_reply", {"status": "error", "response": response}]
        assert (await bench.ask("1", "3", ROOM, "echo", {}))[4] == UNMATCHED
        await bench.quiet()
        assert bench.session.topics() == []
        await join(bench)


async def test_a_join_that_crashes_leaves_the_topic_and_the_others_alone() -> None:
    async with open_bench(Rooms()) as bench:
        await join(bench, "lobby", "0")
        answer = await bench.ask("1", "2", ROOM, "phx_join", {"crash": 1})
        assert answer == ["1", "2", ROOM, "phx_reply", error("join crashed")]
        await bench.quiet()
        assert (await bench.ask("1", "3", ROOM, "echo", {}))[4] == UNMATCHED
        assert (await bench.ask("0", "4", "lobby", "echo", 1))[4] == ok(1)
        await join(bench)


async def test_a_channel_that_cannot_be_made_is_a_join_that_crashed() -> None:
    class Broken(Channel):
        def __init__(self) -> None:
            raise RuntimeError("on purpose")

    class Sockets(Socket):
        channels = {"*": Broken}

    async with open_bench(Sockets()) as bench:
        answer = await bench.ask("1", "2", "any", "phx_join", {})
        assert answer == ["1", "2", "any", "phx_reply", error("join crashed")]
        await bench.quiet()
        assert bench.session.topics() == []


async def test_a_class_without_join_is_a_join_that_crashed() -> None:
    class Empty(Channel):
        pass

    class Sockets(Socket):
        channels = {"*": Empty}

    async with open_bench(Sockets()) as bench:
        answer = await bench.ask("1", "2", "any", "phx_join", {})
        assert answer[4] == error("join crashed")


async def test_too_many_channels_are_refused_with_the_join_ref() -> None:
    async with open_bench(Rooms()) as bench:
        for number in range(5):
            await join(bench, f"room:{number}", f"{number}")
        answer = await bench.ask("9", "10", "room:9", "phx_join", {})
        assert answer == ["9", "10", "room:9", "phx_reply", error("too many channels joined")]
        # To join again what is joined is no further channel.
        await bench.say("8", "8", "room:0", "phx_join", {})
        replied, closed = await bench.take(2)
        assert replied[4]["status"] == "ok"
        assert closed == ["0", "0", "room:0", "phx_close", {}]
        await bench.say("1", "11", "room:1", "phx_leave", {})
        await bench.take(2)
        await join(bench, "room:9", "9")


async def test_assigns_are_copied_for_each_join() -> None:
    socket = Rooms()
    async with open_bench(socket) as bench:
        await join(bench, "room:a", "1")
        await join(bench, "room:b", "2")
        assert (await bench.ask("1", "3", "room:a", "assign", "a"))[4] == ok(
            {"user": "ada", "mine": "a"}
        )
        assert (await bench.ask("2", "4", "room:b", "assign", "b"))[4] == ok(
            {"user": "ada", "mine": "b"}
        )
        assert socket.assigns == {"user": "ada"}


async def test_the_assigns_of_a_route_go_over_those_of_the_socket() -> None:
    async with open_bench(Rooms()) as bench:
        answer = await bench.ask("1", "1", "lobby", "phx_join", {})
        assert answer[4]["response"]["assigns"] == {"user": "overridden", "role": "guest"}
        route = Rooms.channels["lobby"]
        assert isinstance(route, Route)
        assert route.assigns == {"role": "guest", "user": "overridden"}


# -- order


async def test_the_answer_of_a_join_comes_before_all_else_of_it() -> None:
    async with open_bench(Rooms()) as bench:
        await join(bench, ROOM, "0")
        for number in range(20):
            await bench.say(
                f"{number}", f"{number}", f"room:{number % 4}", "phx_join", {"after": "at once"}
            )
            bench.hub.broadcast(f"room:{number % 4}", "noise", {})
            await trio.lowlevel.checkpoint()
            bench.hub.broadcast(f"room:{number % 4}", "noise", {})
        await trio.testing.wait_all_tasks_blocked()
        joined: set[str] = set()
        for join_ref, _, topic, event, _ in bench.transport.sent:
            if event == "phx_reply":
                joined.add(topic)
            elif event in ("info", "noise"):
                assert topic in joined, (join_ref, event)


async def test_pushes_come_before_the_reply_that_follows_them() -> None:
    async with open_bench(Rooms()) as bench:
        await join(bench)
        await bench.say("1", "2", ROOM, "push then reply", {})
        assert await bench.take(3) == [
            ["1", None, ROOM, "pushed", {"n": 1}],
            ["1", None, ROOM, "pushed", {"n": 2}],
            ["1", "2", ROOM, "phx_reply", ok({"n": 3})],
        ]


async def test_the_sender_sees_its_broadcast_before_its_reply() -> None:
    async with open_bench(Rooms()) as bench:
        await join(bench)
        await bench.say("1", "2", ROOM, "shout", {"x": 1})
        assert await bench.take(2) == [
            [None, None, ROOM, "shouted", {"x": 1}],
            ["1", "2", ROOM, "phx_reply", ok({})],
        ]


async def test_one_after_the_other_is_answered_in_order() -> None:
    async with open_bench(Rooms()) as bench:
        await join(bench)
        for number in range(200):
            await bench.say("1", number, ROOM, "echo", number)
        assert await bench.take(200) == [
            ["1", number, ROOM, "phx_reply", ok(number)] for number in range(200)
        ]


async def test_a_message_that_wants_no_answer_gets_none() -> None:
    async with open_bench(Rooms()) as bench:
        await join(bench)
        await bench.say("1", "2", ROOM, "nothing", {})
        await bench.quiet()


@pytest.mark.parametrize("status", ["ok", "error", "teapot", "", "é"])
async def test_a_status_is_any_string(status: str) -> None:
    async with open_bench(Rooms()) as bench:
        await join(bench)
        answer = await bench.ask("1", "2", ROOM, "status", status)
        assert answer[4] == {"status": status, "response": {}}


@pytest.mark.parametrize("status", [None, 7, ["ok"]])
async def test_a_status_that_is_no_string_crashes_the_channel(status: object) -> None:
    async with open_bench(Rooms()) as bench:
        await join(bench)
        answer = await bench.ask("1", "2", ROOM, "status", status)
        assert answer == ["1", "1", ROOM, "phx_error", {"reason": "channel_crash"}]


# -- joining anew


async def test_a_second_join_ends_the_first_and_tells_so_after_its_own_answer() -> None:
    async with open_bench(Rooms()) as bench:
        await join(bench)
        old = bench.pid_of(ROOM)
        await bench.say("2", "2", ROOM, "phx_join", {})
        replied, closed = await bench.take(2)
        assert replied[:4] == ["2", "2", ROOM, "phx_reply"]
        assert closed == ["1", "1", ROOM, "phx_close", {}]
        assert not is_alive(old)
        assert bench.hub.subscribers(ROOM) == [bench.pid_of(ROOM)]
        await bench.say("1", "3", ROOM, "echo", {})
        await bench.quiet()
        assert (await bench.ask("2", "4", ROOM, "echo", 1))[4] == ok(1)


async def test_what_comes_behind_a_second_join_is_for_the_second() -> None:
    async with open_bench(Rooms()) as bench:
        await join(bench)
        await bench.say("2", "2", ROOM, "phx_join", {})
        await bench.say("2", "3", ROOM, "echo", {"n": 1})
        await bench.say("1", "4", ROOM, "echo", {"n": 2})
        replied, closed, echoed = await bench.take(3)
        assert replied[1] == "2"
        assert closed[3] == "phx_close"
        assert echoed == ["2", "3", ROOM, "phx_reply", ok({"n": 1})]
        await bench.quiet()


async def test_leave_and_join_back_to_back_are_one_close_and_one_join() -> None:
    """As phoenix.js does before it joins a topic that it has open."""
    async with open_bench(Rooms()) as bench:
        for number in range(30):
            await join(bench, ROOM, f"{number}")
            await bench.say(f"{number}", "leave", ROOM, "phx_leave", {})
            await bench.say(f"{number}b", f"{number}b", ROOM, "phx_join", {})
            await trio.testing.wait_all_tasks_blocked()
            sent = await bench.take(len(bench.transport.sent))
            assert [one for one in sent if one[3] == "phx_close"] == [
                [f"{number}", f"{number}", ROOM, "phx_close", {}]
            ]
            assert [one[0] for one in sent if one[1] == f"{number}b"] == [f"{number}b"]
            await bench.say(None, "end", ROOM, "phx_leave", {})
            await bench.take(2)


async def test_many_joins_in_a_row_end_in_one_channel() -> None:
    async with open_bench(Rooms()) as bench:
        for number in range(50):
            await bench.say(number, number, ROOM, "phx_join", {})
        sent = await bench.take(99)
        await bench.quiet()
        replies = [one[0] for one in sent if one[3] == "phx_reply"]
        closes = [one[0] for one in sent if one[3] == "phx_close"]
        assert replies == list(range(50))
        assert closes == list(range(49))
        assert len(bench.hub.subscribers(ROOM)) == 1
        assert (await bench.ask(49, "x", ROOM, "echo", 1))[4] == ok(1)


async def test_the_old_channel_is_closed_even_if_the_new_join_crashes() -> None:
    async with open_bench(Rooms()) as bench:
        await join(bench)
        await bench.say("2", "2", ROOM, "phx_join", {"crash": 1})
        assert await bench.take(2) == [
            ["2", "2", ROOM, "phx_reply", error("join crashed")],
            ["1", "1", ROOM, "phx_close", {}],
        ]
        await bench.quiet()
        assert bench.session.topics() == []


async def test_a_stubborn_channel_holds_up_its_own_topic_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("exeunt.channels.session.DUPLICATE_PATIENCE", 0.3)

    class Stubborn(Echo):
        async def join(self, topic: str, params: Any) -> JoinResult:
            trap_exit()
            return await super().join(topic, params)

        async def handle_info(self, message: Any) -> Any:
            return None

    class Sockets(Socket):
        channels = {"*": Stubborn}

    async with open_bench(Sockets()) as bench:
        await join(bench)
        await join(bench, "b", "9")
        old = bench.pid_of(ROOM)
        await bench.say("2", "2", ROOM, "phx_join", {})
        assert (await bench.ask("9", "3", "b", "echo", 1))[4] == ok(1)
        assert is_alive(old)
        replied, closed = await bench.take(2)
        assert replied[:2] == ["2", "2"]
        assert closed == ["1", "1", ROOM, "phx_close", {}]
        assert await wait_exit(old) in ("killed", "noproc")


# -- while a join is not decided


async def test_what_comes_during_a_join_is_held_and_dealt_with_in_order() -> None:
    Echo.gates["a"] = trio.Event()
    async with open_bench(Rooms()) as bench:
        await bench.say("1", "1", ROOM, "phx_join", {"wait": "a"})
        await bench.say("1", "2", ROOM, "echo", 2)
        await bench.say("0", "3", ROOM, "echo", 3)
        await bench.say(None, "4", ROOM, "echo", 4)
        await bench.say("1", "5", ROOM, "phx_leave", {})
        await bench.say("1", "6", ROOM, "echo", 6)
        await bench.quiet()
        Echo.gates["a"].set()
        sent = await bench.take(5)
        assert [one[1] for one in sent][:5] == ["1", "2", "4", "5", "1"]
        assert sent[4][3] == "phx_close"
        await trio.testing.wait_all_tasks_blocked()
        # Behind a leave a push may find nobody, or be dropped with the channel that ends.
        assert bench.transport.sent in ([], [[None, "6", ROOM, "phx_reply", UNMATCHED]])


async def test_what_was_held_for_a_join_that_is_refused_is_unmatched() -> None:
    Echo.gates["a"] = trio.Event()

    class Refusing(Echo):
        async def join(self, topic: str, params: Any) -> JoinResult:
            await Echo.gates["a"].wait()
            return Error({"reason": "no"})

    class Sockets(Socket):
        channels = {"*": Refusing}

    async with open_bench(Sockets()) as bench:
        await bench.say("1", "1", ROOM, "phx_join", {})
        await bench.say("1", "2", ROOM, "echo", 2)
        await bench.say("1", "3", ROOM, "phx_leave", {})
        await bench.say("4", "4", ROOM, "phx_join", {})
        Echo.gates["a"].set()
        assert await bench.take(4) == [
            ["1", "1", ROOM, "phx_reply", error("no")],
            [None, "2", ROOM, "phx_reply", UNMATCHED],
            ["1", "3", ROOM, "phx_reply", ok({})],
            ["4", "4", ROOM, "phx_reply", error("no")],
        ]
        await bench.quiet()
        assert bench.session.topics() == []


async def test_the_message_that_fills_up_what_is_held_does_not_stop_the_reading_for_ever() -> None:
    """It may come when the join is decided already, but what was held is not dealt with yet."""
    Echo.gates["a"] = trio.Event()
    async with open_bench(Rooms(), pumps=False) as bench:
        await bench.say("1", "1", ROOM, "phx_join", {"wait": "a"})
        await trio.testing.wait_all_tasks_blocked()
        # All of an earlier join: none of them will ever be handled by the channel.
        for number in range(HELD_MESSAGES - 1):
            await bench.say("0", number, ROOM, "echo", {})
        Echo.gates["a"].set()
        await bench.take()
        decided = await receive(JoinDecided)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(bench.say, "0", "last", ROOM, "echo", {})
            await trio.testing.wait_all_tasks_blocked()
            bench.session.release(decided)
            await until(lambda: not nursery.child_tasks, "the session to read on", 0.5)


async def test_what_is_held_is_bounded() -> None:
    Echo.gates["a"] = trio.Event()
    async with open_bench(Rooms()) as bench, trio.open_nursery() as nursery:
        taken: list[int] = []

        async def flood() -> None:
            for number in range(HELD_MESSAGES * 3):
                await bench.say("1", number, ROOM, "echo", number)
                taken.append(number)

        await bench.say("1", "1", ROOM, "phx_join", {"wait": "a"})
        nursery.start_soon(flood)
        await trio.testing.wait_all_tasks_blocked()
        assert len(taken) < HELD_MESSAGES
        Echo.gates["a"].set()
        await bench.take()
        answers = await bench.take(HELD_MESSAGES * 3)
        assert [one[1] for one in answers] == list(range(HELD_MESSAGES * 3))


async def test_what_is_broadcast_during_a_join_follows_its_answer_in_order() -> None:
    Echo.gates["a"] = trio.Event()
    async with open_bench(Rooms()) as bench:
        await bench.say("1", "1", ROOM, "phx_join", {"wait": "a"})
        await bench.quiet()
        for number in range(5):
            bench.hub.broadcast(ROOM, "news", {"n": number})
        bench.hub.broadcast("room:b", "news", {})
        await bench.quiet()
        Echo.gates["a"].set()
        joined, *news = await bench.take(6)
        assert joined[3] == "phx_reply"
        assert news == [[None, None, ROOM, "news", {"n": number}] for number in range(5)]
        bench.hub.broadcast(ROOM, "news", {"n": 5})
        assert await bench.take() == [[None, None, ROOM, "news", {"n": 5}]]
        assert len(bench.hub.subscribers(ROOM)) == 1


async def test_of_too_much_that_is_broadcast_during_a_join_the_latest_is_kept() -> None:
    Echo.gates["a"] = trio.Event()
    async with open_bench(Rooms()) as bench:
        await bench.say("1", "1", ROOM, "phx_join", {"wait": "a"})
        await bench.quiet()
        for number in range(MISSED_BROADCASTS + 7):
            bench.hub.broadcast(ROOM, "news", {"n": number})
        Echo.gates["a"].set()
        joined, *news = await bench.take(MISSED_BROADCASTS + 1)
        assert joined[3] == "phx_reply"
        assert [one[4]["n"] for one in news] == list(range(7, MISSED_BROADCASTS + 7))
        await bench.quiet()


@pytest.mark.parametrize("how", ["refuse", "crash", "kill"])
async def test_what_is_broadcast_during_a_join_that_fails_is_for_nobody(how: str) -> None:
    Echo.gates["a"] = trio.Event()

    class Failing(Echo):
        async def join(self, topic: str, params: Any) -> JoinResult:
            await super().join(topic, params)
            if how == "crash":
                raise RuntimeError("on purpose")
            return Error({"reason": "no"})

    class Sockets(Socket):
        channels = {"*": Failing}

    async with open_bench(Sockets()) as bench:
        await bench.say("1", "1", ROOM, "phx_join", {"wait": "a"})
        await bench.quiet()
        bench.hub.broadcast(ROOM, "news", {"n": 1})
        if how == "kill":
            exit_signal(bench.pid_of(ROOM), "kill")
        Echo.gates["a"].set()
        [answer] = await bench.take()
        assert answer[4]["status"] == "error"
        bench.hub.broadcast(ROOM, "news", {"n": 2})
        await bench.quiet()
        assert bench.hub.topics() == []


# -- the end of channels


async def test_a_crash_is_one_error_and_the_topic_is_free() -> None:
    async with open_bench(Rooms()) as bench:
        await join(bench)
        assert await bench.ask("1", "2", ROOM, "crash", {}) == [
            "1",
            "1",
            ROOM,
            "phx_error",
            {"reason": "channel_crash"},
        ]
        await bench.quiet()
        assert bench.session.topics() == []
        assert bench.hub.topics() == []
        await join(bench, ref="3")


async def test_an_answer_after_the_end_still_reaches_the_client() -> None:
    async with open_bench(Rooms()) as bench:
        await join(bench)
        await bench.say("1", "2", ROOM, "later", {})
        await bench.quiet()
        [to] = Echo.refs
        reply(to, Ok({"n": 1}))
        await bench.say("1", "3", ROOM, "phx_leave", {})
        assert [one[1] for one in await bench.take(3)] == ["2", "3", "1"]
        reply(to, Reply("late", {"n": 2}))
        assert await bench.take() == [
            ["1", "2", ROOM, "phx_reply", {"status": "late", "response": {"n": 2}}]
        ]


async def test_an_exit_signal_is_one_error() -> None:
    async with open_bench(Rooms()) as bench:
        await join(bench)
        exit_signal(bench.pid_of(ROOM), "shutdown")
        assert await bench.take() == [["1", "1", ROOM, "phx_error", {"reason": "channel_crash"}]]


async def test_the_end_of_the_session_ends_its_channels_with_its_reason() -> None:
    async with open_bench(Rooms()) as bench:
        topics = [f"room:{number}" for number in range(4)]
        for number, topic in enumerate(topics):
            await join(bench, topic, f"{number}")
        pids = [bench.pid_of(topic) for topic in topics]
        bench.transport.is_closing = True
        async with trio.open_nursery() as nursery:
            reasons: list[object] = []

            async def note(pid: Any) -> None:
                reasons.append(await wait_exit(pid))

            for pid in pids:
                nursery.start_soon(note, pid)
            await trio.testing.wait_all_tasks_blocked()
            bench.session.end(Shutdown("peer_closed"))
        assert reasons == [Shutdown("peer_closed")] * 4
        assert bench.transport.sent == []


async def test_the_topics_can_be_looked_at() -> None:
    Echo.gates["a"] = trio.Event()
    async with open_bench(Rooms()) as bench:
        await join(bench, "room:b", "1")
        await bench.say("2", "2", ROOM, "phx_join", {"wait": "a"})
        await trio.testing.wait_all_tasks_blocked()
        shown = {one.topic: one.status for one in bench.session.topics()}
        assert shown == {"room:b": "joined", ROOM: "joining"}


# -- other forms of the protocol


async def test_version_1_gets_objects_without_join_refs() -> None:
    async with open_bench(Rooms(), serializer=JSON_V1) as bench:

        async def ask(**message: object) -> Any:
            await bench.session.receive(json.dumps(message))
            [answer] = await bench.take()
            return answer

        joined = await ask(topic=ROOM, event="phx_join", payload={}, ref="1")
        assert joined["topic"] == ROOM
        assert joined["ref"] == "1"
        assert "join_ref" not in joined
        assert await ask(topic=ROOM, event="echo", payload={"x": 1}, ref="2") == {
            "topic": ROOM,
            "event": "phx_reply",
            "ref": "2",
            "payload": ok({"x": 1}),
        }
        crashed = await ask(topic=ROOM, event="crash", payload={}, ref="3")
        assert crashed == {
            "topic": ROOM,
            "event": "phx_error",
            "ref": None,
            "payload": {"reason": "channel_crash"},
        }


async def test_a_binary_message_reaches_the_channel_as_bytes() -> None:
    async with open_bench(Rooms()) as bench:
        await join(bench)
        await bench.session.receive(b"\x00\x01\x01\x06\x0512room:abytes\x00\xff")
        [answer] = await bench.take()
        assert answer == b"\x01\x01\x01\x06\x0212room:aok\x00\xff"


async def test_a_binary_message_with_an_empty_join_ref_is_stale() -> None:
    async with open_bench(Rooms()) as bench:
        await join(bench)
        await bench.session.receive(b"\x00\x00\x01\x06\x052room:abytes\x00\xff")
        await bench.quiet()


async def test_a_join_and_a_heartbeat_may_be_binary() -> None:
    async with open_bench(Rooms()) as bench:
        topic, event = b"room:only", b"phx_join"
        head = bytes((0, 1, 1, len(topic), len(event)))
        await bench.session.receive(head + b"77" + topic + event + b"raw")
        assert await bench.take() == [["7", "7", "room:only", "phx_reply", ok("other")]]
        topic, event = b"phoenix", b"heartbeat"
        head = bytes((0, 0, 1, len(topic), len(event)))
        await bench.session.receive(head + b"8" + topic + event)
        assert await bench.take() == [[None, "8", "phoenix", "phx_reply", ok({})]]


@pytest.mark.slow
async def test_the_memory_of_a_session_does_not_grow_with_what_it_has_served() -> None:
    async with open_bench(Rooms()) as bench:
        for number in range(300):
            await join(bench, ROOM, f"{number}")
            if number % 3 == 0:
                await bench.say(f"{number}", "x", ROOM, "phx_leave", {})
                await bench.take(2)
            elif number % 3 == 1:
                await bench.ask(f"{number}", "x", ROOM, "crash", {})
            else:
                exit_signal(bench.pid_of(ROOM), "kill")
                await bench.take()
            await trio.testing.wait_all_tasks_blocked()
        assert bench.session._entries == {}
        assert bench.session._by_monitor == {}
        info = process_info(bench.session.pid)
        assert info is not None
        assert info.monitors == ()


# -- anything at all

refs = st.none() | st.integers() | st.text(max_size=3) | st.sampled_from(["1", "2"])
topics = (
    st.sampled_from([ROOM, "room:b", "lobby", "phoenix", "nowhere"]) | st.none() | st.integers()
)
events = st.sampled_from(["phx_join", "phx_leave", "echo", "crash", "heartbeat", "shout", "what"])
payloads: st.SearchStrategy[Any] = st.sampled_from(
    [{}, None, {"refuse": {}}, {"crash": 1}, {"x": [1]}]
)


@pytest.mark.slow
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(refs, refs, topics, events, payloads), max_size=25))
def test_whatever_is_sent_each_join_has_one_answer_and_at_most_one_end(
    messages: list[tuple[Any, ...]],
) -> None:
    async def run() -> None:
        async with open_bench(Rooms()) as bench:
            joins = 0
            for number, (join_ref, _, topic, event, payload) in enumerate(messages):
                if event == "phx_join":
                    joins += 1
                    await bench.say(number, number, topic, event, payload)
                else:
                    await bench.say(join_ref, f"r{number}", topic, event, payload)
            await trio.testing.wait_all_tasks_blocked(0.001)
            sent = bench.transport.sent
            answers = [one for one in sent if one[3] == "phx_reply" and type(one[1]) is int]
            assert len(answers) == joins
            assert len({one[1] for one in answers}) == joins
            joined = {one[0] for one in answers if one[4]["status"] == "ok"}
            ends = [one[0] for one in sent if one[3] in ("phx_close", "phx_error")]
            assert len(ends) == len(set(ends))
            assert set(ends) <= joined
            alive = {one.topic for one in bench.session.topics()}
            assert len(alive) == len(joined) - len(ends)
            assert all(math.isfinite(one) for one in ends)

    trio.run(run)
