"""Channels as their authors see them: what is known, what can be done, and what is refused."""

from __future__ import annotations

import logging
from typing import Any

import pytest
import trio.testing

from exeunt import (
    Bound,
    Call,
    CallFailed,
    Continue,
    Exit,
    NoReply,
    Pid,
    Reason,
    Shutdown,
    Stop,
    TimeoutAfter,
    call,
    cast_to,
    get_state,
    is_alive,
    receive,
    self_pid,
    send,
    send_after,
    spawn,
    stop,
    trap_exit,
)
from exeunt import Reply as CallReply
from exeunt import exit as exit_signal
from exeunt.channels import (
    Binary,
    Broadcast,
    Channel,
    Error,
    InResult,
    JoinResult,
    Ok,
    PayloadError,
    Reply,
    Socket,
)
from exeunt.channels.channel import NotJoined

from .memory import Bench, open_bench

ROOM = "room:a"


def ok(response: object) -> dict[str, object]:
    return {"status": "ok", "response": response}


def socket_of(kind: type[Channel], name: str | None = None) -> Socket:
    class Rooms(Socket):
        channels = {"room:*": kind}

        def id(self) -> str | None:
            return name

    return Rooms()


async def joined(bench: Bench, ref: str = "1", topic: str = ROOM, params: object = None) -> Pid:
    answer = await bench.ask(ref, ref, topic, "phx_join", params)
    assert answer[4]["status"] == "ok", answer
    return bench.pid_of(topic)


class Plain(Channel):
    async def join(self, topic: str, params: Any) -> JoinResult:
        return None


# -- what it knows


async def test_a_channel_knows_where_it_is() -> None:
    seen: dict[str, object] = {}

    class Room(Channel):
        async def join(self, topic: str, params: Any) -> JoinResult:
            seen["in join"] = (self.topic, self.ref, self.join_ref, self.is_joined, topic, params)
            assert self.pid is self_pid()
            return Ok()

        async def handle_in(self, event: str, payload: Any) -> InResult:
            seen["in handle_in"] = (self.ref, self.join_ref, self.is_joined, event, payload)
            seen["around"] = (self.socket_id, self.transport, self.transport_pid, self.hub)
            return None

        async def handle_info(self, message: Any) -> Any:
            seen["in handle_info"] = self.ref

    async with open_bench(socket_of(Room, "user:7")) as bench:
        pid = await joined(bench, params={"p": 1})
        await bench.say("1", 2, ROOM, "event", ["payload"])
        await bench.quiet()
        send(pid, "hello")
        await bench.quiet()
        assert seen == {
            "in join": (ROOM, None, "1", False, ROOM, {"p": 1}),
            "in handle_in": (2, "1", True, "event", ["payload"]),
            "around": ("user:7", "memory", self_pid(), bench.hub),
            "in handle_info": None,
        }


async def test_a_ref_is_there_for_its_message_only_even_when_that_crashed() -> None:
    refs: list[object] = []

    class Room(Plain):
        async def handle_in(self, event: str, payload: Any) -> InResult:
            refs.append(self.ref)
            return Continue(None)  # type: ignore[return-value]

        async def terminate(self, reason: Reason) -> None:
            refs.append(self.ref)

    async with open_bench(socket_of(Room)) as bench:
        await joined(bench)
        assert (await bench.ask("1", "2", ROOM, "event", {}))[3] == "phx_error"
        assert refs == ["2", None]


# -- before it has joined


@pytest.mark.parametrize("what", ["push", "broadcast", "broadcast_from"])
@pytest.mark.parametrize("where", ["join", "a message during join"])
async def test_nothing_can_be_sent_before_the_join_is_decided(what: str, where: str) -> None:
    caught: list[NotJoined] = []

    class Room(Channel):
        async def join(self, topic: str, params: Any) -> JoinResult:
            try:
                getattr(self, what)("event", {})
            except NotJoined as error:
                caught.append(error)
            if where == "join":
                return Ok()
            send(self.pid, "now")
            await trio.testing.wait_all_tasks_blocked()
            return Ok()

        async def handle_info(self, message: Any) -> Any:
            getattr(self, what)("event", {"message": message})

    async with open_bench(socket_of(Room)) as bench:
        await joined(bench)
        [error] = caught
        assert f"{what} is for a channel that has been joined" in str(error)
        assert "handle_info" in str(error)
        if where != "join" and what != "broadcast_from":
            [sent] = await bench.take()
            assert sent[3:] == ["event", {"message": "now"}]
        await bench.quiet()


async def test_terminate_of_a_refused_join_sees_the_assigns_of_before_and_cannot_push() -> None:
    seen: list[object] = []

    class Room(Channel):
        async def join(self, topic: str, params: Any) -> JoinResult:
            self.assigns["mine"] = 1
            return Error({"reason": "no"})

        async def terminate(self, reason: Reason) -> None:
            seen.extend([reason, dict(self.assigns), self.is_joined])

    socket = socket_of(Room)
    socket.assigns["user"] = "ada"
    async with open_bench(socket) as bench:
        answer = await bench.ask("1", "1", ROOM, "phx_join", {})
        assert answer[4] == {"status": "error", "response": {"reason": "no"}}
        await bench.quiet()
        assert seen == ["shutdown", {"user": "ada"}, False]


async def test_terminate_is_not_called_for_a_join_that_crashed() -> None:
    called: list[Reason] = []

    class Room(Channel):
        async def join(self, topic: str, params: Any) -> JoinResult:
            raise RuntimeError("on purpose")

        async def terminate(self, reason: Reason) -> None:
            called.append(reason)

    async with open_bench(socket_of(Room)) as bench:
        await bench.ask("1", "1", ROOM, "phx_join", {})
        await bench.quiet()
        assert called == []


@pytest.mark.parametrize("result", ["ok", True, ("ok", {}), Reply("teapot"), Stop("normal"), {}])
async def test_join_returns_ok_error_or_none(result: object) -> None:
    class Room(Channel):
        async def join(self, topic: str, params: Any) -> JoinResult:
            return result  # type: ignore[return-value]

    async with open_bench(socket_of(Room)) as bench:
        answer = await bench.ask("1", "1", ROOM, "phx_join", {})
        assert answer[4] == {"status": "error", "response": {"reason": "join crashed"}}


# -- socket_ref


@pytest.mark.parametrize("where", ["join", "handle_info", "terminate"])
async def test_there_is_no_socket_ref_without_a_message(where: str) -> None:
    caught: list[str] = []

    class Room(Channel):
        def attempt(self, here: str) -> None:
            if here == where:
                with pytest.raises(RuntimeError) as error:
                    self.socket_ref()
                caught.append(str(error.value))

        async def join(self, topic: str, params: Any) -> JoinResult:
            self.attempt("join")
            return None

        async def handle_info(self, message: Any) -> Any:
            self.attempt("handle_info")

        async def terminate(self, reason: Reason) -> None:
            self.attempt("terminate")

    async with open_bench(socket_of(Room)) as bench:
        pid = await joined(bench)
        send(pid, "hello")
        await bench.say("1", "2", ROOM, "phx_leave", {})
        await bench.take(2)
        await bench.quiet()
        assert caught == ["socket_ref is for a message that has a ref, while it is being handled"]


async def test_there_is_no_socket_ref_for_a_message_without_a_ref() -> None:
    class Room(Plain):
        async def handle_in(self, event: str, payload: Any) -> InResult:
            self.socket_ref()
            return None

    async with open_bench(socket_of(Room)) as bench:
        await joined(bench)
        assert (await bench.ask("1", None, ROOM, "event", {}))[3] == "phx_error"


@pytest.mark.parametrize("ref", [0, "", False, 0.0], ids=repr)
async def test_a_ref_that_is_false_in_python_is_a_ref(ref: object) -> None:
    class Room(Plain):
        async def handle_in(self, event: str, payload: Any) -> InResult:
            assert self.socket_ref().ref == ref
            return Ok()

    async with open_bench(socket_of(Room)) as bench:
        await joined(bench)
        assert (await bench.ask("1", ref, ROOM, "event", {}))[4] == ok({})


# -- definitions


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("handel_in", "handle_in"),
        ("handle_infos", "handle_info"),
        ("handleout", "handle_out"),
        ("terminat", "terminate"),
        ("on_join_handle_in", None),
        ("joined", None),
        ("handler", None),
    ],
)
def test_a_misspelt_callback_is_refused_when_the_class_is_made(
    name: str, meant: str | None
) -> None:
    async def method(self: object) -> None: ...

    if meant is None:
        type("Room", (Channel,), {name: method})
        return
    with pytest.raises(TypeError, match=f"did you mean '{meant}'"):
        type("Room", (Channel,), {name: method})


def test_intercepts_is_a_collection_and_not_one_string() -> None:
    with pytest.raises(TypeError, match="a tuple of events, not a string"):

        class Room(Channel):
            intercepts = "event"


@pytest.mark.parametrize("shutdown", [-1, float("nan"), "soon"])
def test_a_shutdown_that_makes_no_sense_is_refused_when_the_class_is_made(
    shutdown: object,
) -> None:
    with pytest.raises((TypeError, ValueError), match="shutdown"):
        type("Room", (Channel,), {"shutdown": shutdown})


@pytest.mark.parametrize("mailbox", [100, Bound(100, "drop_oldest"), Bound(100, "drop_newest")])
def test_a_mailbox_that_would_lose_messages_of_the_protocol_is_refused(mailbox: object) -> None:
    with pytest.raises(ValueError, match=r"Room\.mailbox is a Bound\(limit\), whose overflow is"):
        type("Room", (Channel,), {"mailbox": mailbox})


async def test_a_channel_may_bound_what_waits_for_it() -> None:
    class Room(Channel):
        mailbox = Bound(10)
        intercepts = ("news",)

        async def join(self, topic: str, params: Any) -> JoinResult:
            return Ok()

        async def handle_info(self, message: Any) -> None:
            await trio.sleep_forever()

    async with open_bench(socket_of(Room)) as bench:
        await joined(bench)
        pid = bench.pid_of(ROOM)
        send(pid, "stand still")
        await bench.quiet()
        for number in range(11):
            assert is_alive(pid)
            bench.hub.broadcast(ROOM, "news", {"number": number})
        assert not is_alive(pid)
        [sent] = await bench.take()
        assert sent[3] == "phx_error"
        # The client joins again, and finds an empty mailbox.
        await joined(bench)


# -- handle_in


async def test_an_event_without_a_handler_crashes_and_names_itself(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with open_bench(socket_of(Plain)) as bench:
        await joined(bench)
        assert (await bench.ask("1", "2", ROOM, "what", {}))[3] == "phx_error"
        assert "Plain got the event 'what', but does not handle it" in caplog.text


async def test_handle_in_may_wait_for_a_while_and_then_hear_of_it() -> None:
    class Room(Plain):
        async def handle_in(self, event: str, payload: Any) -> InResult:
            return TimeoutAfter(payload)

        async def handle_info(self, message: Any) -> Any:
            self.push("heard", {"message": message})

    async with open_bench(socket_of(Room)) as bench:
        await joined(bench)
        assert await bench.ask("1", "2", ROOM, "event", 0.01) == [
            "1",
            None,
            ROOM,
            "heard",
            {"message": "timeout"},
        ]


async def test_an_answer_of_any_json() -> None:
    class Room(Plain):
        async def handle_in(self, event: str, payload: Any) -> InResult:
            return Error(payload) if event == "no" else Ok(payload)

    async with open_bench(socket_of(Room)) as bench:
        await joined(bench)
        values: tuple[Any, ...] = ({}, [], "text", 7, False, [None, {"a": [1.5]}], "é😀")
        for value in values:
            assert (await bench.ask("1", "2", ROOM, "yes", value))[4] == ok(value)
            assert (await bench.ask("1", "2", ROOM, "no", value))[4]["response"] == value
        # None is null; the empty object is what an answer without a response has.
        assert (await bench.ask("1", "2", ROOM, "yes", None))[4] == ok(None)


@pytest.mark.parametrize(
    "result",
    [
        "ok",
        7,
        True,
        {},
        Stop("normal", reply="ok"),
        Stop("normal", reply=None),
        CallReply(1),
        NoReply(),
        Continue(1),
    ],
    ids=repr,
)
async def test_what_handle_in_must_not_return_crashes_and_says_what_it_may(
    result: object, caplog: pytest.LogCaptureFixture
) -> None:
    class Room(Plain):
        async def handle_in(self, event: str, payload: Any) -> InResult:
            return result  # type: ignore[return-value]

    async with open_bench(socket_of(Room)) as bench:
        await joined(bench)
        assert (await bench.ask("1", "2", ROOM, "event", {}))[3] == "phx_error"
        assert "expected None, Ok(…), Error(…), Reply(status, …) or Stop(reason)" in caplog.text


# -- handle_info, handle_call, handle_cast, handle_continue


async def test_a_message_without_a_handler_is_logged_and_harmless(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with open_bench(socket_of(Plain)) as bench:
        pid = await joined(bench)
        send(pid, ("strange", 1))
        await bench.quiet()
        assert is_alive(pid)
        [record] = [one for one in caplog.records if one.levelno == logging.WARNING]
        assert "Plain 'room:a' got a message that it has no handle_info for: ('strange', 1)" in (
            record.getMessage()
        )


async def test_it_is_a_server_that_can_be_called_cast_and_looked_into() -> None:
    class Room(Plain):
        count = 0

        async def handle_call(self, request: Any, caller: Call) -> Any:
            return CallReply(("answered", request))

        async def handle_cast(self, request: Any) -> Any:
            self.count += request
            return Continue("go on")

        async def handle_continue(self, argument: Any) -> Any:
            self.push("continued", {"argument": argument, "count": self.count})

    async with open_bench(socket_of(Room)) as bench:
        pid = await joined(bench)
        assert await call(pid, 7) == ("answered", 7)
        cast_to(pid, 5)
        assert await bench.take() == [
            ["1", None, ROOM, "continued", {"argument": "go on", "count": 5}]
        ]
        assert (await get_state(pid))["topic"] == ROOM
        assert "room:a" in repr((await get_state(pid))["channel"]._server)


async def test_a_call_without_a_handler_crashes_and_the_caller_hears_of_it() -> None:
    async with open_bench(socket_of(Plain)) as bench:
        pid = await joined(bench)
        with pytest.raises(CallFailed):
            await call(pid, "what")
        assert (await bench.take())[0][3] == "phx_error"


async def test_it_can_be_stopped_like_any_server() -> None:
    """As Phoenix.Channel.Server.close: an end that no callback has asked for is an error."""
    ends: list[Reason] = []

    class Room(Plain):
        async def terminate(self, reason: Reason) -> None:
            ends.append(reason)

    async with open_bench(socket_of(Room)) as bench:
        pid = await joined(bench)
        await stop(pid, Shutdown("closed"))
        assert await bench.take() == [["1", "1", ROOM, "phx_error", {"reason": "channel_crash"}]]
        assert ends == [Shutdown("closed")]


async def test_timers_and_exits_arrive_as_with_any_process() -> None:
    class Room(Plain):
        async def join(self, topic: str, params: Any) -> JoinResult:
            trap_exit()
            send_after(0.005, self.pid, "tick")
            return None

        async def handle_info(self, message: Any) -> Any:
            self.push("heard", {"what": type(message).__name__})

    async with open_bench(socket_of(Room)) as bench:
        pid = await joined(bench)
        exit_signal(pid, "boom")
        assert (await bench.take())[0][4] == {"what": Exit.__name__}
        assert (await bench.take())[0][4] == {"what": "str"}


# -- broadcasts


async def test_broadcast_reaches_all_and_broadcast_from_all_others() -> None:
    class Room(Plain):
        async def handle_in(self, event: str, payload: Any) -> InResult:
            if event == "all":
                self.broadcast("shouted", payload)
            else:
                self.broadcast_from("shouted", payload)
            return None

    async with open_bench(socket_of(Room)) as bench:
        await joined(bench)
        heard: list[Broadcast] = []

        async def listen() -> None:
            bench.hub.subscribe(ROOM)
            while True:
                heard.append(await receive())

        spawn(listen)
        await trio.testing.wait_all_tasks_blocked()
        assert await bench.ask("1", "2", ROOM, "all", {"n": 1}) == [
            None,
            None,
            ROOM,
            "shouted",
            {"n": 1},
        ]
        await bench.say("1", "3", ROOM, "others", {"n": 2})
        await bench.quiet()
        assert heard == [
            Broadcast(ROOM, "shouted", {"n": 1}),
            Broadcast(ROOM, "shouted", {"n": 2}),
        ]


async def test_intercepted_events_pass_through_handle_out_with_the_join_ref() -> None:
    class Room(Plain):
        intercepts = ("secret", "dropped", "default")

        async def handle_out(self, event: str, payload: Any) -> Any:
            if event == "secret":
                self.push("secret", {**payload, "seen": True})
            elif event == "default":
                return await super().handle_out(event, payload)
            return None

    async with open_bench(socket_of(Room)) as bench:
        await joined(bench)
        bench.hub.broadcast(ROOM, "secret", {"n": 1})
        bench.hub.broadcast(ROOM, "dropped", {"n": 2})
        bench.hub.broadcast(ROOM, "default", {"n": 3})
        assert await bench.take(2) == [
            ["1", None, ROOM, "secret", {"n": 1, "seen": True}],
            ["1", None, ROOM, "default", {"n": 3}],
        ]
        bench.hub.broadcast(ROOM, "open", {"n": 4})
        assert await bench.take() == [[None, None, ROOM, "open", {"n": 4}]]


async def test_a_topic_subscribed_to_by_hand_comes_to_handle_info() -> None:
    class Room(Plain):
        intercepts = ("news",)

        async def join(self, topic: str, params: Any) -> JoinResult:
            self.hub.subscribe("elsewhere")
            return None

        async def handle_info(self, message: Any) -> Any:
            assert isinstance(message, Broadcast)
            self.push("heard", {"topic": message.topic, "payload": message.payload})

    async with open_bench(socket_of(Room)) as bench:
        await joined(bench)
        bench.hub.broadcast("elsewhere", "news", {"n": 1})
        assert (await bench.take())[0][4] == {"topic": "elsewhere", "payload": {"n": 1}}


async def test_what_cannot_be_broadcast_crashes_the_sender_alone() -> None:
    class Room(Plain):
        async def handle_in(self, event: str, payload: Any) -> InResult:
            self.broadcast("shouted", {"bad": object()})
            return None

    async with open_bench(socket_of(Room)) as bench:
        await joined(bench, "1", "room:a")
        other = await joined(bench, "2", "room:b")
        assert (await bench.ask("1", "3", "room:a", "event", {}))[3] == "phx_error"
        await bench.quiet()
        assert is_alive(other)


async def test_a_mistake_in_a_push_can_be_caught() -> None:
    class Room(Plain):
        async def handle_in(self, event: str, payload: Any) -> InResult:
            with pytest.raises(PayloadError, match="payload"):
                self.push("pushed", ["no object"])
            self.push("pushed", Binary(b"\x00\x01"))
            return Ok()

    async with open_bench(socket_of(Room)) as bench:
        await joined(bench)
        await bench.say("1", "2", ROOM, "event", {})
        assert await bench.take(2) == [
            b"\x00\x01\x06\x061room:apushed\x00\x01",
            ["1", "2", ROOM, "phx_reply", ok({})],
        ]
