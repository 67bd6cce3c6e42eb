"""The contract server does what the contract says: over real sockets, with raw frames.

How each channel ended is asked of `/control/watch`, so that what the client saw and what the
watcher heard are compared in one place.
"""

from __future__ import annotations

import json
import signal
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio

from tests.channels.polling import Poller
from tests.conformance.phoenix.client import UPGRADE, Closed, Connection, ask, packed, request
from tests.contract_server.app import open_server
from tests.contract_server.records import described, inspect
from tests.e2e.programs import Program

CRASHED = "phx_error"
CLOSED = "phx_close"
NOT_CALLED = None


def end(kind: str, detail: str | None = None) -> dict[str, Any]:
    return {"class": kind, "detail": detail}


class Server:
    """The server, and clients of it."""

    def __init__(self, url: str, nursery: trio.Nursery) -> None:
        self.url = url
        self._nursery = nursery
        self._clients: list[Client] = []

    async def open(self, target: str = "/socket/websocket?vsn=2.0.0", **headers: str) -> Client:
        answer, peer = await request(self.url, "GET", target, {**UPGRADE, **headers})
        assert answer.status == 101, answer
        client = Client(Connection(peer, self._nursery))
        self._clients.append(client)
        return client

    def cut(self) -> None:
        """Cut what connections there are."""
        for client in self._clients:
            client.connection.close()

    async def status(self, target: str, **headers: str) -> int:
        answer, peer = await request(self.url, "GET", target, {**UPGRADE, **headers})
        peer.close()
        return answer.status

    async def get(self, target: str) -> Any:
        return await ask(self.url, "GET", f"/control/{target}")

    async def post(self, target: str, **value: Any) -> Any:
        return await ask(self.url, "POST", f"/control/{target}", value)

    async def ended(self, name: str, within: float = 3.0) -> tuple[Any, Any]:
        """Wait until a channel has ended; return its reason as watcher and terminate saw it."""
        with trio.fail_after(within):
            while True:
                seen = await self.get(f"watch?id={name}")
                if seen["status"] == "down":
                    return seen["exit"], seen["terminate"]
                assert seen["status"] == "alive", seen
                await trio.sleep(0.01)


class Client:
    """One WebSocket of version 2."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection

    async def say(self, *message: object) -> None:
        await self.connection.send_text(json.dumps(message))

    async def take(self, within: float = 3.0) -> Any:
        received = await self.connection.receive(within)
        assert received is not None, "nothing came"
        return received if isinstance(received, Closed) else received[1]

    async def ask(self, *message: object) -> Any:
        await self.say(*message)
        return await self.take()

    async def join(self, topic: str, **params: Any) -> Any:
        """Join with the join ref "1"; return the response."""
        answer = await self.ask("1", "1", topic, "phx_join", params)
        assert answer[:4] == ["1", "1", topic, "phx_reply"]
        assert answer[4]["status"] == "ok", answer
        return answer[4]["response"]

    async def call(self, topic: str, event: str, payload: Any = None) -> tuple[str, Any]:
        """Push; return the status and the response."""
        answer = await self.ask("1", "9", topic, event, {} if payload is None else payload)
        assert answer[:4] == ["1", "9", topic, "phx_reply"], answer
        return answer[4]["status"], answer[4]["response"]

    async def fence(self) -> None:
        """See that nothing comes before the answer to a heartbeat."""
        answer = await self.ask(None, "fence", "phoenix", "heartbeat", {})
        assert answer[1] == "fence", answer


@asynccontextmanager
async def open_contract() -> AsyncGenerator[Server]:
    async with open_server() as url, trio.open_nursery() as nursery:
        server = Server(url, nursery)
        try:
            yield server
        finally:
            server.cut()
            nursery.cancel_scope.cancel()


BAD_RETURN = end("other", "{:bad_return_value, :boom}")
SOME_ERROR = end("error", "…")
NO_CLAUSE = end("other", "{:function_clause, …")
NO_FUNCTION = end("other", "{:undef, …")

ENDS = [
    # topic, event, payload, the last frame, what the watcher sees, what terminate was called with
    ("crash:x", "raise", {}, CRASHED, end("error", "boom"), end("error", "boom")),
    ("crash:x", "throw", {}, CRASHED, BAD_RETURN, BAD_RETURN),
    ("crash:x", "exit", {"reason": "normal"}, CRASHED, end("normal"), end("normal")),
    ("crash:x", "exit", {"reason": "shutdown"}, CRASHED, end("shutdown"), end("shutdown")),
    ("crash:x", "exit", {"reason": "boom"}, CRASHED, end("other", ":boom"), end("other", ":boom")),
    (
        "crash:x",
        "exit",
        {"reason": "shutdown_x"},
        CRASHED,
        end("shutdown", "x"),
        end("shutdown", "x"),
    ),
    ("crash:x", "kill", {}, CRASHED, end("killed"), NOT_CALLED),
    ("crash:x", "badreturn", {}, CRASHED, SOME_ERROR, SOME_ERROR),
    ("crash:x", "bad_reply", {}, CRASHED, SOME_ERROR, SOME_ERROR),
    ("crash:x", "info_raise", {}, CRASHED, end("error", "info boom"), end("error", "info boom")),
    ("crash:x", "link_crash", {}, CRASHED, end("other", ":linked_boom"), NOT_CALLED),
    ("crash:x", "unencodable_reply", {}, CRASHED, SOME_ERROR, SOME_ERROR),
    ("crash:x", "unencodable_broadcast", {}, CRASHED, SOME_ERROR, SOME_ERROR),
    ("crash:x", "no such event", {}, CRASHED, NO_CLAUSE, NO_CLAUSE),
    ("echo:plain", "bad_push", {}, CRASHED, SOME_ERROR, SOME_ERROR),
    ("echo:plain", "phx_close", {}, CRASHED, NO_CLAUSE, NO_CLAUSE),
    ("nohooks:x", "any", {}, CRASHED, NO_FUNCTION, NOT_CALLED),
    ("stop:x", "stop", {"reason": "normal", "reply": None}, CLOSED, end("normal"), end("normal")),
    (
        "stop:x",
        "stop",
        {"reason": "shutdown", "reply": "ok", "response": {}},
        CLOSED,
        end("shutdown"),
        end("shutdown"),
    ),
    (
        "stop:x",
        "stop",
        {"reason": "shutdown_x", "reply": None},
        CLOSED,
        end("shutdown", "x"),
        end("shutdown", "x"),
    ),
    (
        "stop:x",
        "stop",
        {"reason": "other", "reply": "ok", "response": {}},
        CRASHED,
        end("other", ":other"),
        end("other", ":other"),
    ),
    ("stop:x", "info_stop", {"reason": "normal"}, CLOSED, end("normal"), end("normal")),
    (
        "stop:x",
        "info_stop",
        {"reason": "other"},
        CRASHED,
        end("other", ":other"),
        end("other", ":other"),
    ),
    ("stop:x", "push_stop", {"reason": "shutdown"}, CLOSED, end("shutdown"), end("shutdown")),
    ("room:x", "stop_out", {"who": "anon"}, CLOSED, end("normal"), end("normal")),
    (
        "room:x",
        "raise_out",
        {"who": "anon"},
        CRASHED,
        end("error", "raise_out"),
        end("error", "raise_out"),
    ),
    ("echo:plain", "phx_leave", {}, CLOSED, end("shutdown", "left"), end("shutdown", "left")),
    (
        "slow:x",
        "phx_leave",
        {},
        CLOSED,
        end("shutdown", "left"),
        end("shutdown", "left"),
    ),
]


def fits(expected: Any, got: Any) -> bool:
    """Compare two ends; a detail that is cut off with "…" stands for all that begin so."""
    if expected is None or got is None or not str(expected["detail"]).endswith("…"):
        return bool(expected == got)
    begins = (got["detail"] or "").startswith(expected["detail"].removesuffix("…"))
    return bool(got["class"] == expected["class"] and got["detail"] and begins)


@pytest.mark.parametrize(("topic", "event", "payload", "last", "exit", "terminate"), ENDS)
@pytest.mark.parametrize("traps", [False, True])
async def test_how_a_channel_ends(
    topic: str, event: str, payload: Any, last: str, exit: Any, terminate: Any, traps: bool
) -> None:
    if traps and event == "link_crash":
        exit = terminate = NO_CLAUSE  # the Exit is a message that this channel has no clause for
    async with open_contract() as server:
        client = await server.open()
        await client.join(topic, watch="w", trap=traps)
        assert (await server.get("watch?id=w"))["status"] == "alive"
        frame = await client.ask("1", "2", topic, event, payload)
        while frame[3] not in (CRASHED, CLOSED):
            frame = await client.take()
        assert frame == [
            "1",
            "1",
            topic,
            last,
            {"reason": "channel_crash"} if last == CRASHED else {},
        ]
        seen = await server.ended("w")
        assert fits(exit, seen[0]) and fits(terminate, seen[1]), seen
        await client.fence()


JOINS = [
    ("crash:join_raise", end("error", "boom"), {"reason": "join crashed"}),
    ("crash:join_exit", end("other", ":boom"), {"reason": "join crashed"}),
    ("crash:join_normal", end("normal"), {"reason": "join crashed"}),
    ("crash:join_throw", BAD_RETURN, {"reason": "join crashed"}),
    ("crash:join_badreturn", SOME_ERROR, {"reason": "join crashed"}),
    ("crash:join_error", end("shutdown"), {"reason": "denied", "code": 42}),
    ("crash:join_error_string", end("shutdown"), "just a string"),
    ("room:forbidden", end("shutdown"), {"reason": "unauthorized"}),
    ("auth:x", end("shutdown"), {"reason": "missing"}),
]


@pytest.mark.parametrize(("topic", "exit", "response"), JOINS)
async def test_how_a_join_fails(topic: str, exit: Any, response: Any) -> None:
    async with open_contract() as server:
        client = await server.open()
        answer = await client.ask("1", "2", topic, "phx_join", {"watch": "w"})
        assert answer == ["1", "2", topic, "phx_reply", {"status": "error", "response": response}]
        seen, terminate = await server.ended("w")
        assert fits(exit, seen), seen
        # What a join that has failed has put into its assigns is lost, the name of the watch too.
        assert terminate is None
        answer = await client.ask("1", "3", topic, "ping", {})
        assert answer[4]["response"] == {"reason": "unmatched topic"}


async def test_signals_to_a_channel() -> None:
    async with open_contract() as server:
        client = await server.open()
        for reason, seen in [
            ("kill", end("killed")),
            ("shutdown", end("shutdown")),
            ("boom", end("other", ":boom")),
        ]:
            await client.join("exact", watch=reason)
            await server.post("kill_channel", watch=reason, reason="normal")
            assert await client.call("exact", "ping") == ("ok", {})
            await server.post("kill_channel", watch=reason, reason=reason)
            assert (await client.take())[3] == CRASHED
            assert await server.ended(reason) == (seen, None)
        await client.join("exact", watch="traps", trap=True)
        await server.post("kill_channel", watch="traps", reason="boom")
        assert await client.call("exact", "ping") == ("ok", {})


async def test_a_channel_that_is_closed_from_outside() -> None:
    async with open_contract() as server:
        client = await server.open()
        await client.join("exact", watch="w")
        await server.post("cast", watch="w", msg="close")
        assert (await client.take())[3] == CRASHED
        assert await server.ended("w") == (end("shutdown", "closed"), end("shutdown", "closed"))


@pytest.mark.parametrize(
    ("leave", "code", "reason"),
    [
        ("close", 1000, end("shutdown", "local_closed")),
        ("cut", None, end("shutdown", "peer_closed")),
        ("disconnect", 1001, end("shutdown", "disconnected")),
        ("kill", None, end("killed")),
        ("malformed", 1011, SOME_ERROR),
        ("empty", 1011, NO_CLAUSE),
        ("sizes beyond", 1011, NO_CLAUSE),
        ("bytes that are no text", 1011, SOME_ERROR),
        ("too large", 1009, end("shutdown", "{:deserializing, :max_frame_size_exceeded}")),
        ("not UTF-8", 1007, end("other", "…")),
        ("unmasked", 1002, end("shutdown", "…")),
    ],
)
@pytest.mark.parametrize("traps", [False, True])
async def test_how_a_connection_ends(
    leave: str, code: int | None, reason: Any, traps: bool
) -> None:
    async with open_contract() as server:
        client = await server.open("/socket/websocket?vsn=2.0.0&user_id=u")
        await client.join("echo:x", watch="w", trap=traps)
        await server.post("crash_transport", watch="w", reason="boom")
        await client.fence()
        match leave:
            case "close":
                await client.connection.send_close(1000)
            case "cut":
                client.connection.close()
            case "disconnect":
                await server.post("broadcast", topic="user_socket:u", event="other", payload={})
                await client.fence()
                await server.post("disconnect", id="user_socket:u")
            case "kill":
                await server.post("crash_transport", watch="w", reason="kill")
            case "malformed":
                await client.connection.send_text("{nope")
            case "empty":
                await client.connection.send_binary(b"")
            case "sizes beyond":
                await client.connection.send_binary(b"\x00\x01\x01\xff\x01abc")
            case "bytes that are no text":
                await client.connection.send_binary(b"\x00\x00\x00\x01\x00\xff")
            case "too large":
                await client.connection.send_text("x" * 70_000)
            case "not UTF-8":
                await client.connection.send_raw(b"\x81\x82\0\0\0\0\xff\xff")
            case "unmasked":
                await client.connection.send_raw(b"\x81\x02{}")
        if leave != "cut":
            assert await client.take() == Closed(code)
        seen = await server.ended("w")
        assert fits(reason, seen[0]) and fits(reason, seen[1]), seen


@pytest.mark.slow
@pytest.mark.parametrize(
    ("leave", "reason"),
    [
        ("inactive", end("shutdown", "inactive")),
        ("disconnect", end("shutdown", "disconnected")),
        ("drain", end("shutdown", "draining")),
        ("kill", end("killed")),
        ("boom", end("other", ":boom")),
        ("malformed", SOME_ERROR),
    ],
)
@pytest.mark.parametrize("traps", [False, True])
async def test_how_a_client_that_polls_ends(leave: str, reason: Any, traps: bool) -> None:
    async with open_contract() as server:
        port = int(server.url.rpartition(":")[2])
        client = await Poller(port, user_id="u").open()
        await client.join("echo:x", {"watch": "w", "trap": traps})
        match leave:
            case "inactive":
                pass
            case "disconnect":
                await server.post("disconnect", id="user_socket:u")
            case "drain":
                await server.post("drain")
            case "malformed":
                assert await client.post("[nope") == 408
            case _:
                await server.post("crash_transport", watch="w", reason=leave)
        # A window is a second long here.
        seen = await server.ended("w", within=4.0)
        assert fits(reason, seen[0]) and fits(reason, seen[1]), seen
        assert not await client.is_known()
        assert (await client.poll_raw())["status"] == 410


@pytest.mark.slow
async def test_a_client_that_is_silent_is_gone() -> None:
    async with open_contract() as server:
        client = await server.open("/socket_idle/websocket?vsn=2.0.0")
        await client.join("echo:x", watch="w")
        await trio.sleep(0.4)
        await client.fence()
        await trio.sleep(0.4)
        await client.fence()
        assert await client.take() == Closed(1002)
        assert (await server.ended("w"))[0] == end("shutdown", "read_timeout")


async def test_a_close_while_join_runs_lets_it_come_to_its_end() -> None:
    async with open_contract() as server:
        client = await server.open()
        await client.say("1", "1", "slow:x", "phx_join", {"watch": "w", "delay_ms": 150})
        await client.fence()
        await client.connection.send_close(1000)
        gone = end("shutdown", "local_closed")
        assert await server.ended("w") == (gone, gone)


async def test_a_leave_is_answered_before_terminate_has_run() -> None:
    async with open_contract() as server:
        client = await server.open()
        await client.join("slow:x", watch="w", terminate_ms=300)
        assert (await client.call("slow:x", "phx_leave"))[0] == "ok"
        assert (await client.take())[3] == CLOSED
        assert (await server.get("watch?id=w"))["status"] == "alive"
        await client.join("slow:x", watch="v")
        left = end("shutdown", "left")
        assert await server.ended("w") == (left, left)
        assert (await server.get("watch?id=v"))["status"] == "alive"


@pytest.mark.slow
async def test_a_trapping_channel_that_is_joined_anew_is_killed_after_five_seconds() -> None:
    async with open_contract() as server:
        client = await server.open()
        await client.join("slow:x", watch="w", trap=True)
        started = trio.current_time()
        await client.say("2", "2", "slow:x", "phx_join", {})
        await client.fence()
        answer = await client.take(within=8)
        assert answer[:2] == ["2", "2"]
        assert 4.9 < trio.current_time() - started < 7
        assert await client.take() == ["1", "1", "slow:x", CLOSED, {}]
        assert await server.ended("w") == (end("killed"), None)


async def test_limits_routes_and_origins() -> None:
    async with open_contract() as server:
        limited = await server.open("/socket_limited/websocket?vsn=2.0.0")
        for number in range(3):
            await limited.join(f"echo:{number}")
        answer = await limited.ask("1", "1", "echo:3", "phx_join", {})
        assert answer[4] == {
            "status": "error",
            "response": {"reason": "too many channels joined"},
        }
        client = await server.open()
        await client.join("opts:x")
        assert await client.call("opts:x", "role") == ("ok", {"role": "guest"})
        answer = await client.ask("1", "1", "exact:1", "phx_join", {})
        assert answer[4]["response"] == {"reason": "unmatched topic"}
        await client.join("nohooks:x", stray=True)
        await client.say("1", "2", "nohooks:x", "any", {})
        assert (await client.take())[3] == CRASHED
        target = "/socket_origin/websocket?vsn=2.0.0"
        assert await server.status(target, origin="https://allowed.example:99") == 101
        assert await server.status(target, origin="https://other.example") == 403
        assert await server.status(target) == 101
        for reject, status in [("error", 403), ("reason", 403), ("raise", 500), ("x", 101)]:
            assert await server.status(f"/socket/websocket?vsn=2.0.0&reject={reject}") == status
        assert await server.status("/socket_idle/longpoll?vsn=2.0.0") == 404


async def test_what_is_known_of_a_client_is_for_the_mount_that_asks_for_it() -> None:
    async with open_contract() as server:
        about = {"user-agent": "a test", "x-one": "1"}
        client = await server.open(**about)
        await client.join("echo:plain")
        _, known = await client.call("echo:plain", "connect_info")
        assert known == {
            "user_agent": "a test",
            "auth_token": None,
            "x_headers": {"x-one": "1"},
            "trace": {},
            "path": "/socket/websocket",
            "peer": "127.0.0.1",
        }
        for mount in ("/socket_plain", "/socket_idle", "/socket_limited", "/socket_origin"):
            client = await server.open(f"{mount}/websocket?vsn=2.0.0", **about)
            await client.join("echo:plain")
            _, unknown = await client.call("echo:plain", "connect_info")
            assert unknown == dict.fromkeys(known)


async def test_a_user_id_that_is_no_string_is_the_end_of_id() -> None:
    async with open_contract() as server:
        for query, status in [("user_id[]=a", 500), ("user_id[a]=b", 500), ("user_id=", 101)]:
            assert await server.status(f"/socket/websocket?vsn=2.0.0&{query}") == status


async def test_tokens() -> None:
    async with open_contract() as server:
        client = await server.open()

        async def join(token: Any, **more: Any) -> Any:
            answer = await client.ask("1", "1", "auth:x", "phx_join", {"token": token, **more})
            if answer[4]["status"] == "ok":
                assert (await client.call("auth:x", "phx_leave"))[0] == "ok"
                assert (await client.take())[3] == CLOSED
            return answer[4]["response"]

        fresh = (await server.get("token?user_id=ada"))["token"]
        old = (await server.get("token?user_id=ada&age=100"))["token"]
        other = (await server.get("token?user_id=ada&salt=other"))["token"]
        assert await join(fresh) == {"user_id": "ada"}
        assert await join(old) == {"user_id": "ada"}
        assert await join(old, max_age=50) == {"reason": "expired"}
        assert await join(fresh, max_age=0) == {"reason": "expired"}
        assert await join(other) == {"reason": "invalid"}
        assert await join("nonsense") == {"reason": "invalid"}
        assert await join(None) == {"reason": "missing"}


async def test_presence_and_its_errors() -> None:
    async with open_contract() as server:
        client = await server.open()
        await client.join("room:p")
        status, error = await client.call("room:p", "update", {"key": "k", "meta": {}})
        assert (status, error) == ("error", {"reason": ":nopresence"})
        await client.say("1", "2", "room:p", "track", {"key": "k", "meta": {"a": 1}})
        # Which of the two comes first is not said.
        answers = [await client.take(), await client.take()]
        [diff] = [one for one in answers if one[3] == "presence_diff"]
        [answer] = [one for one in answers if one[:4] == ["1", "2", "room:p", "phx_reply"]]
        assert answer[4]["status"] == "ok"
        meta = {"a": 1, "phx_ref": answer[4]["response"]["phx_ref"]}
        assert diff[4] == {"joins": {"k": {"metas": [meta]}}, "leaves": {}}
        status, error = await client.call("room:p", "track", {"key": "k", "meta": {}})
        assert status == "error"
        assert error["reason"].startswith("{:already_tracked, #PID<")
        assert error["reason"].endswith('>, "room:p", "k"}')
        listed = {"k": {"metas": [meta]}}
        assert (await server.get("presence?topic=room:p")) == {"presence": listed}
        assert await client.call("room:p", "list") == ("ok", listed)


async def test_only_null_and_false_give_way_to_what_is_meant_without_them() -> None:
    async with open_contract() as server:
        client = await server.open()
        names = [("", ""), (0, 0), ([], []), (None, "anon"), (False, "anon")]
        for number, (name, seen_by) in enumerate(names):
            topic = f"room:{number}"
            await client.join(topic, name=name)
            await client.say("1", "2", topic, "intercepted", {})
            answers = [await client.take(), await client.take()]
            [pushed] = [one for one in answers if one[3] == "intercepted"]
            assert pushed[4] == {"seen_by": seen_by}
        for track in (None, False):
            await client.join(f"room:{track}", track=track)
            await client.fence()
        await client.join("room:tracked", track="")
        assert (await client.take())[3:] == ["presence_state", {}]
        diff = (await client.take())[4]
        assert diff["joins"].keys() == {""}
        slept = await client.join("slow:x", delay_ms=None, terminate_ms=False, watch="w")
        assert slept == {"slept": 0}
        client.connection.close()
        gone = end("shutdown", "peer_closed")
        assert await server.ended("w") == (gone, gone)


async def test_who_has_left_in_a_run() -> None:
    async with open_contract() as server:
        client = await server.open()
        await client.join("room:seen")
        for user in range(3):
            other = await server.open()
            await other.join("room:load", leave="run", user=user)
            other.connection.close()
        rows: Any = []
        with trio.fail_after(3):
            while len(rows) < 3:
                _, dump = await client.call("room:seen", "leave_dump", {"run": "run"})
                rows = dump["rows"]
        assert sorted(user for user, _ in rows) == [0, 1, 2]
        _, stats = await client.call("room:seen", "leave_stats", {"run": "run"})
        times = [microseconds for _, microseconds in rows]
        assert stats == {"n": 3, "uniq": 3, "first_us": min(times), "last_us": max(times)}
        assert await client.call("room:seen", "leave_clear", {"run": "run"}) == ("ok", {})
        _, stats = await client.call("room:seen", "leave_stats", {"run": "run"})
        assert stats == {"n": 0, "uniq": 0, "first_us": None, "last_us": None}


async def test_binary_payloads() -> None:
    async with open_contract() as server:
        client = await server.open()
        await client.join("binary:x")

        async def push(event: str, data: str) -> Any:
            fields = {"kind": "client_push", "join_ref": "1", "ref": "2", "topic": "binary:x"}
            await client.connection.send_binary(packed({**fields, "event": event, "data": data}))
            return await client.take()

        answer = await push("info", "0102ff")
        assert answer[4] == {"status": "ok", "response": {"size": 3, "sum": 258}}
        assert await push("bcast", "0102") == {
            "kind": "broadcast",
            "topic": "binary:x",
            "event": "bcast",
            "data": "0102",
        }
        assert (await client.take())[4] == {"status": "ok", "response": {}}
        assert await client.call("binary:x", "echo", {"a": 1}) == ("ok", {"a": 1})


async def test_broadcasts_from_outside_and_control_requests_that_are_wrong() -> None:
    async with open_contract() as server:
        client = await server.open()
        await client.join("room:x")
        await server.post("broadcast", topic="room:x", event="news", payload={"a": 1})
        assert await client.take() == [None, None, "room:x", "news", {"a": 1}]
        assert (await server.get("ping"))["ok"] is True
        assert (await server.get("watch?id=nobody"))["status"] == "unknown"
        for target, body, status in [
            ("/control/broadcast", b"{nope", 400),
            ("/control/broadcast", b"[1]", 400),
            ("/control/broadcast", b"{}", 400),
            ("/control/telemetry", b"{}", 404),
            ("/elsewhere", b"{}", 404),
        ]:
            headers = {"connection": "close"}
            answer, peer = await request(server.url, "POST", target, headers, body)
            peer.close()
            assert answer.status == status, target


async def test_a_drain_sends_those_away_who_have_joined_and_the_server_goes_on() -> None:
    async with open_contract() as server:
        client, idle = await server.open(), await server.open()
        await client.join("echo:x", watch="w")
        await server.post("drain")
        assert await client.take() == Closed(1012)
        gone = end("shutdown", "draining")
        assert await server.ended("w") == (gone, gone)
        await idle.fence()
        await (await server.open()).join("echo:x")


async def test_a_version_1_client_and_a_binary_broadcast() -> None:
    async with open_contract() as server:
        old = await server.open("/socket/websocket?vsn=1.0.0")
        join = {"topic": "binary:x", "event": "phx_join", "payload": {}, "ref": "1"}
        await old.connection.send_text(json.dumps(join))
        assert (await old.take())["payload"] == {"status": "ok", "response": {}}
        client = await server.open()
        await client.join("binary:x", watch="w")
        fields = {"join_ref": "1", "ref": "2", "topic": "binary:x", "event": "bcast", "data": "01"}
        await client.connection.send_binary(packed({"kind": "client_push", **fields}))
        # It cannot be encoded for one of the subscribers: the broadcaster crashes.
        assert (await client.take())[3] == CRASHED
        assert (await server.ended("w"))[0]["class"] == "error"
        beat = {"topic": "phoenix", "event": "heartbeat", "payload": {}, "ref": "fence"}
        await old.connection.send_text(json.dumps(beat))
        assert (await old.take())["ref"] == "fence"


async def test_a_slow_join_or_handler_delays_its_own_topic_only() -> None:
    async with open_contract() as server:
        client = await server.open()
        await client.say("1", "1", "slow:x", "phx_join", {"delay_ms": 200})
        await client.join("echo:plain")
        await client.fence()
        answer = await client.take()
        assert answer == [
            "1",
            "1",
            "slow:x",
            "phx_reply",
            {"status": "ok", "response": answer[4]["response"]},
        ]
        await client.say("1", "2", "slow:x", "sleep", {"ms": 200})
        await client.say("1", "3", "slow:x", "ping", {})
        assert await client.call("echo:plain", "ok") == ("ok", {})
        assert [(await client.take())[1] for _ in range(2)] == ["2", "3"]


async def test_what_a_client_may_send_by_mistake() -> None:
    async with open_contract() as server:
        client = await server.open()
        await client.join("echo:plain")
        await client.say("0", "2", "echo:plain", "ok", {})  # of an earlier join: dropped
        await client.say("0", "3", "echo:plain", "phx_leave", {})
        await client.fence()
        assert await client.ask("5", "4", "echo:other", "phx_leave", {}) == [
            "5",
            "4",
            "echo:other",
            "phx_reply",
            {"status": "ok", "response": {}},
        ]
        await client.say("1", "5", "echo:plain", {"no": "string"}, {})
        assert (await client.take())[3] == CRASHED
        await client.say("1", "6", {"no": "string"}, "phx_join", {})
        assert await client.take() == Closed(1011)


def test_reasons_are_written_as_elixir_does() -> None:
    assert described("normal") == end("normal")
    assert described(("a", 1)) == end("other", "{:a, 1}")
    assert described("some text") == end("other", '"some text"')
    assert inspect("boom") == ":boom"


@pytest.mark.e2e
@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_program_serves_until_it_is_told_to_end(number: signal.Signals) -> None:
    with Program("tests.contract_server", "--port", "0") as program:
        url = program.line(r"ready at (http://127\.0\.0\.1:\d+)")[1]
        assert trio.run(ask, url, "GET", "/control/ping")["ok"] is True
        program.tell(number)
        ended = program.wait()
        assert ended.status in (0, 128 + number, -number), ended
        assert "Traceback" not in ended.stderr


@pytest.mark.e2e
@pytest.mark.slow
def test_the_program_logs_to_its_output_if_it_is_asked_to() -> None:
    async def talk(url: str) -> None:
        async with trio.open_nursery() as nursery:
            client = await Server(url, nursery).open()
            await client.join("echo:plain")
            await client.call("echo:plain", "ok")
            client.connection.close()
            nursery.cancel_scope.cancel()

    with Program("tests.contract_server", "--port", "0", "--log", "debug") as program:
        url = program.line(r"ready at (http://127\.0\.0\.1:\d+)")[1]
        trio.run(talk, url)
        for line in ("CONNECTED TO UserSocket", "JOINED .?echo:plain", "HANDLED .?ok"):
            program.line(line)
        assert program.stderr() == ""
