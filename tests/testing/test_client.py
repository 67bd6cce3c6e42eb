"""The test kit for channels: what a client of it can do, and what it asserts."""

from __future__ import annotations

import traceback
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
import trio.testing

from exeunt import (
    Crash,
    Node,
    NotAProcess,
    ProcessExit,
    Shutdown,
    call,
    get_state,
    is_alive,
    open_node,
    process_info,
    processes,
    receive_nowait,
    send,
    spawn,
)
from exeunt import exit as exit_signal
from exeunt.channels import Binary, Channel, Ok, PayloadError, Presence, PubSub, Socket
from exeunt.kernel.events import Exited, Spawned
from exeunt.testing import (
    ANYTHING,
    ChannelCrashed,
    Client,
    ConnectRefused,
    JoinRefused,
    connect,
    containing,
    satisfying,
    start_supervised,
)

from .channels import Boom, Room, UserSocket

pytestmark = pytest.mark.usefixtures("autojump_clock")

ANN = {"name": "ann"}


@asynccontextmanager
async def stage() -> AsyncGenerator[Node]:
    """Open a node, and see that the kit leaves nothing behind in it."""
    async with open_node(signals=False) as node:
        yield node
        # Events would be made for nobody if a client had left its subscriptions.
        assert not node.events.wants(Spawned) and not node.events.wants(Exited)
        left = [process_info(pid) for pid in processes()[1:]]
        assert left == []
        with pytest.raises(trio.WouldBlock):
            receive_nowait()


# -- connecting


async def test_a_client_connects_with_parameters_and_the_socket_sees_them_as_in_a_url() -> None:
    async with stage():
        params: dict[str, Any] = {
            "name": "ann",
            "tags": ["a b", "ü&="],
            "user": {"id": "7", "x": {"y": "z"}},
        }
        headers = [("X-Real-IP", "10.0.0.1"), ("User-Agent", "kit")]
        async with connect(
            UserSocket, params, headers=headers, auth_token="t", peer=("10.0.0.9", 7)
        ) as ann:
            socket: Any = ann.socket
            assert socket.params == {**params, "vsn": "2.0.0"}
            assert socket.info.auth_token == "t"
            assert socket.info.peer == ("10.0.0.9", 7)
            assert socket.info.user_agent == "kit"
            assert socket.info.x_headers == (("x-real-ip", "10.0.0.1"),)
            assert socket.info.uri.path == "/socket/websocket"
            assert socket.assigns == {"name": "ann"}
            assert is_alive(ann.pid)


async def test_a_parameter_that_no_url_can_carry_is_refused_with_its_name() -> None:
    async with stage():
        with pytest.raises(TypeError, match=r"'user\[id\]' is 7"):
            async with connect(UserSocket, {"user": {"id": 7}}):  # type: ignore[dict-item]
                raise AssertionError("connected")


@pytest.mark.parametrize(
    ("params", "status", "body"), [({}, 403, b""), ({"name": "banned"}, 429, b"go away")]
)
async def test_a_refused_connection_raises_what_the_client_is_answered(
    params: dict[str, Any], status: int, body: bytes
) -> None:
    async with stage():
        with pytest.raises(ConnectRefused) as caught:
            async with connect(UserSocket, params):
                raise AssertionError("connected")
        assert (caught.value.status, caught.value.body) == (status, body)


async def test_what_connect_raises_is_raised_where_the_test_connects() -> None:
    async with stage():
        with pytest.raises(Boom, match="in connect"):
            async with connect(UserSocket, {"name": "broken"}):
                raise AssertionError("connected")


async def test_a_connect_that_takes_too_long_is_refused_with_503() -> None:
    async with stage():
        with pytest.raises(ConnectRefused) as caught:
            async with connect(UserSocket, {"name": "slow"}):
                raise AssertionError("connected")
        assert caught.value.status == 503


async def test_a_test_that_is_cancelled_while_it_connects_leaves_nothing() -> None:
    async with stage():
        with trio.move_on_after(1) as scope:
            async with connect(UserSocket, {"name": "slow"}):
                raise AssertionError("connected")
        assert scope.cancelled_caught


async def test_a_connect_that_ends_its_process_does_not_hang_the_test() -> None:
    class Leaver(Socket):
        async def connect(self, params: Any, info: Any) -> bool:
            raise ProcessExit(Shutdown("enough"))

    async with stage():
        with pytest.raises(RuntimeError, match=r"Shutdown\(detail='enough'\)"):
            async with connect(Leaver):
                raise AssertionError("connected")


async def test_what_connect_and_id_return_is_checked_as_by_the_server() -> None:
    class Odd(Socket):
        answer: object = "yes"

        async def connect(self, params: Any, info: Any) -> Any:
            return self.answer

        def id(self) -> Any:
            return 7

    async with stage():
        with pytest.raises(TypeError, match=r"Odd\.connect returned 'yes'"):
            async with connect(Odd):
                raise AssertionError("connected")
        Odd.answer = True
        with pytest.raises(ConnectRefused) as caught:
            async with connect(Odd):
                raise AssertionError("connected")
        assert caught.value.status == 403


async def test_with_assigns_connect_is_not_asked() -> None:
    async with stage():
        async with connect(UserSocket, assigns={"name": "eve", "level": 3}) as eve:
            room = await eve.join("room:a")
            assert room.response == {"got": {}, "name": "eve", "level": 3}
            eve.hub.broadcast("user:eve", "disconnect", {})
            await eve.assert_exit(Shutdown("disconnected"))
        with pytest.raises(TypeError, match="params are not taken"):
            async with connect(UserSocket, ANN, assigns={}):
                raise AssertionError("connected")


async def test_connect_outside_of_a_node_says_what_is_missing() -> None:
    with pytest.raises(NotAProcess, match="open_node"):
        async with connect(UserSocket, ANN):
            raise AssertionError("connected")


# -- joining


async def test_a_join_has_its_answer_and_its_process() -> None:
    async with stage(), connect(UserSocket, ANN) as ann:
        room = await ann.join("room:a", {"p": [1, None]})
        assert room.response == {"got": {"p": [1, None]}, "name": "ann"}
        assert (room.topic, room.join_ref) == ("room:a", "1")
        assert is_alive(room.pid)
        state = await get_state(room.pid)
        assert isinstance(state["channel"], Room)
        assert await call(room.pid, "ping") == "ping"
        admin = await ann.join("admin")
        assert admin.response["role"] == "admin"


@pytest.mark.parametrize(
    ("topic", "response"),
    [("room:secret", {"reason": "unauthorized"}), ("nowhere", {"reason": "unmatched topic"})],
)
async def test_a_refused_join_raises_the_response(topic: str, response: object) -> None:
    async with stage(), connect(UserSocket, ANN) as ann:
        with pytest.raises(JoinRefused) as caught:
            await ann.join(topic)
        assert caught.value.response == response
        assert caught.value.topic == topic


@pytest.mark.parametrize(("topic", "where"), [("room:broken", "join"), ("bad", "__init__")])
async def test_a_join_that_crashes_raises_what_the_channel_raised(topic: str, where: str) -> None:
    async with stage(), connect(UserSocket, ANN) as ann:
        with pytest.raises(ChannelCrashed, match=f"Boom: in {where}") as caught:
            await ann.join(topic)
        assert isinstance(caught.value.__cause__, Boom)
        where_it_was = traceback.extract_tb(caught.value.__cause__.__traceback__)
        assert where_it_was[-1].name == where


async def test_a_join_that_is_not_answered_in_time_fails() -> None:
    async with stage(), connect(UserSocket, ANN) as ann:
        with pytest.raises(AssertionError, match="the join of 'room:slow' was not answered within"):
            await ann.join("room:slow")
        assert (await ann.join("room:slow", within=20)).response == {"got": {}, "name": "ann"}


async def test_to_join_a_topic_anew_ends_the_older_channel() -> None:
    async with stage(), connect(UserSocket, ANN) as ann:
        old = await ann.join("room:a")
        new = await ann.join("room:a")
        assert await old.assert_exit() == Shutdown("duplicate_join")
        await old.assert_push("phx_close")
        new.push("push", {"n": 1})
        await new.assert_push("pushed", {"n": 1})
        await old.refute_push()
        assert old.pid is not new.pid


async def test_the_joins_of_two_topics_do_not_mix() -> None:
    async with stage(), connect(UserSocket, ANN) as ann:
        one, two = await ann.join("room:1"), await ann.join("room:2")
        one.push("push", {"in": 1})
        await two.refute_push("pushed")
        await one.assert_push("pushed", {"in": 1})


async def test_a_push_that_join_has_asked_for_is_asserted() -> None:
    async with stage(), connect(UserSocket, ANN) as ann:
        room = await ann.join("room:greeting")
        await room.assert_push("hello", {})


# -- pushes and replies


async def test_replies_belong_to_what_they_answer() -> None:
    async with stage(), connect(UserSocket, ANN) as ann:
        room = await ann.join("room:a")
        one, two = room.push("echo", {"n": 1}), room.push("echo", {"n": 2})
        assert await room.assert_reply(two, "ok", {"n": 2}) == {"n": 2}
        assert await room.assert_reply(one, "ok") == {"n": 1}
        with pytest.raises(AssertionError, match=r"no reply to 'echo' \(ref 2\) has come"):
            await room.assert_reply(one, "ok")


async def test_a_reply_of_another_status_or_response_fails_at_once_and_says_so() -> None:
    async with stage(), connect(UserSocket, ANN) as ann:
        room = await ann.join("room:a")
        ref = room.push("refuse")
        before = trio.current_time()
        with pytest.raises(
            AssertionError, match=r"the reply to 'refuse' \(ref 2\) is 'error', .*, not 'ok'"
        ):
            await room.assert_reply(ref, "ok", within=100)
        with pytest.raises(AssertionError, match=r"not 'error', {'reason': 'yes'}"):
            await room.assert_reply(ref, "error", {"reason": "yes"}, within=100)
        assert trio.current_time() == before
        # What has failed has taken nothing.
        await room.assert_reply(ref, "error", {"reason": "no"})


async def test_a_reply_that_comes_later_is_asserted() -> None:
    async with stage(), connect(UserSocket, ANN) as ann:
        room = await ann.join("room:a")
        await room.assert_reply(room.push("later"), "ok", {"late": True})


async def test_a_ref_that_push_did_not_return_is_refused() -> None:
    async with stage(), connect(UserSocket, ANN) as ann:
        room = await ann.join("room:a")
        with pytest.raises(ValueError, match="'99' is no ref of this client"):
            await room.assert_reply("99", "ok")


async def test_a_reply_can_be_refuted() -> None:
    async with stage(), connect(UserSocket, ANN) as ann:
        room = await ann.join("room:a")
        await room.refute_reply(room.push("push"))
        ref = room.push("echo", {"n": 1})
        await room.refute_reply(ref, "error")
        await room.refute_reply(ref, "ok", {"n": 2})
        with pytest.raises(AssertionError, match=r"a reply to 'echo' \(ref 3\) has come"):
            await room.refute_reply(ref)


async def test_an_assertion_takes_the_first_that_matches_and_leaves_the_others() -> None:
    async with stage(), connect(UserSocket, ANN) as ann:
        room = await ann.join("room:a")
        for number in (1, 2, 1):
            room.push("push", {"n": number})
        await room.assert_push("pushed", {"n": 2})
        await room.assert_push("pushed", {"n": 1})
        await room.assert_push("pushed", {"n": 1})
        await room.refute_push("pushed")
        assert room.pushed() == [("pushed", {"n": 1}), ("pushed", {"n": 2}), ("pushed", {"n": 1})]


async def test_a_failed_assertion_shows_what_has_come_in_order() -> None:
    async with stage(), connect(UserSocket, ANN) as ann:
        room = await ann.subscribe_and_join("room:a")
        room.push("shout", {"text": "hi"})
        await room.assert_push("shouted")
        room.push("push", {"n": 1})
        with pytest.raises(AssertionError) as caught:
            await room.assert_push("pushed", {"n": 2}, within=0.5)
        assert str(caught.value).splitlines() == [
            "no push 'pushed' with {'n': 2} has come on 'room:a' within 0.5 s; "
            "what has come, in order:",
            "  reply 'ok' to 'phx_join' (ref 1) on 'room:a': {'got': {}, 'name': 'ann'}"
            "   [asserted]",
            "  broadcast 'shouted' on 'room:a': {'text': 'hi'}",
            "  push 'shouted' on 'room:a': {'text': 'hi'}   [asserted]",
            "  push 'pushed' on 'room:a': {'n': 1}",
        ]


async def test_a_failure_stays_readable_after_much_has_come() -> None:
    async with stage(), connect(UserSocket, ANN) as ann:
        room = await ann.join("room:a")
        for _ in range(100):
            room.push("push", {"text": "x" * 1000})
        with pytest.raises(AssertionError) as caught:
            await room.assert_push("nothing")
        lines = str(caught.value).splitlines()
        assert len(lines) == 42
        assert lines[1] == "  (61 before these)"
        assert max(map(len, lines)) < 600


async def test_a_push_is_refuted_by_event_by_payload_and_altogether() -> None:
    async with stage(), connect(UserSocket, ANN) as ann:
        room = await ann.join("room:a")
        room.push("push", {"n": 1})
        await room.refute_push("other")
        await room.refute_push("pushed", {"n": 2})
        for arguments in (("pushed",), ("pushed", {"n": 1}), ()):
            with pytest.raises(AssertionError, match=r"a push .*has come"):
                await room.refute_push(*arguments)
        await room.assert_push("pushed", {"n": 1})
        await room.refute_push()


async def test_a_refutation_lasts_as_long_as_it_says() -> None:
    async with stage(), connect(UserSocket, ANN) as ann:
        room = await ann.join("room:a")
        before = trio.current_time()
        await room.refute_push(within=7)
        assert trio.current_time() == before + 7
        async with trio.open_nursery() as nursery:

            async def push_later() -> None:
                await trio.sleep(3)
                room.push("push")

            nursery.start_soon(push_later)
            with pytest.raises(AssertionError, match="a push has come"):
                await room.refute_push(within=7)
        assert trio.current_time() == before + 10


async def test_what_comes_as_the_time_ends_has_come_in_time() -> None:
    async with stage(), connect(UserSocket, ANN) as ann:
        room = await ann.join("room:a")
        room.push("push")
        await trio.testing.wait_all_tasks_blocked()
        await room.assert_push("pushed", within=0)
        with pytest.raises(ValueError, match="within is a number of seconds"):
            await room.assert_push("pushed", within=-1)


# -- payloads


async def test_a_test_sees_payloads_as_a_client_would() -> None:
    async with stage(), connect(UserSocket, ANN) as ann:
        room = await ann.join("room:a")
        room.push("push_shapes")
        await room.assert_push("pushed", {"pair": [1, 2], "point": {"x": 3, "y": 4}})
        assert await room.assert_reply(room.push("echo", [1, (2,)]), "ok") == [1, [2]]


@pytest.mark.parametrize("event", ["push_date", "push_keys"])
async def test_a_payload_that_json_cannot_carry_crashes_the_channel_as_in_production(
    event: str,
) -> None:
    async with stage(), connect(UserSocket, ANN) as ann:
        room = await ann.join("room:a")
        room.push(event)
        with pytest.raises(ChannelCrashed) as caught:
            await room.assert_push("pushed")
        assert isinstance(caught.value.__cause__, PayloadError)


@pytest.mark.parametrize("payload", [{1: "one"}, {"at": object()}, float("nan"), {"x": "\ud800"}])
async def test_a_payload_that_a_client_could_not_send_is_refused_where_it_is_pushed(
    payload: object,
) -> None:
    async with stage(), connect(UserSocket, ANN) as ann:
        room = await ann.join("room:a")
        with pytest.raises(PayloadError, match="payload"):
            room.push("echo", payload)
        await room.assert_reply(room.push("echo"), "ok")


async def test_bytes_go_both_ways() -> None:
    async with stage(), connect(UserSocket, ANN) as ann:
        room = await ann.subscribe_and_join("room:a")
        await room.assert_reply(room.push("echo", Binary(b"\xfe")), "ok", Binary(b"\xfe"))
        room.push("push_bytes")
        await room.assert_push("pushed", Binary(b"\x00\xff"))
        await room.assert_reply(room.push("reply_bytes"), "ok", Binary(b"\x01"))
        room.push("shout", Binary(b"ah"))
        await room.assert_broadcast("shouted", Binary(b"ah"))
        await room.assert_push("shouted", Binary(b"ah"))


async def test_payloads_are_matched_in_part() -> None:
    async with stage(), connect(UserSocket, ANN) as ann:
        room = await ann.join("room:a")
        room.push("push", {"user": {"name": "ann", "id": 7}, "at": 1.5})
        await room.refute_push("pushed", containing({"user": containing({"name": "bob"})}))
        await room.refute_push("pushed", {"user": ANYTHING})
        found = await room.assert_push(
            "pushed",
            {"user": containing({"name": "ann"}), "at": satisfying(lambda at: at > 1)},
        )
        assert found["user"]["id"] == 7
        with pytest.raises(TypeError, match="satisfying"):
            await room.assert_push("pushed", lambda payload: True)


# -- broadcasts


async def test_a_broadcast_comes_to_those_who_have_subscribed_and_to_all_clients() -> None:
    async with stage(), connect(UserSocket, ANN) as ann, connect(UserSocket, assigns={}) as bob:
        with_ann = await ann.subscribe_and_join("room:a")
        with_bob = await bob.join("room:a")
        with_ann.push("shout", {"text": "hi"})
        await with_ann.assert_broadcast("shouted", {"text": "hi"})
        await with_ann.assert_push("shouted", {"text": "hi"})
        await with_bob.assert_push("shouted", {"text": "hi"})
        with pytest.raises(RuntimeError, match="subscribe_and_join"):
            await with_bob.assert_broadcast("shouted")


async def test_a_broadcast_from_a_channel_is_not_pushed_to_its_own_client() -> None:
    async with stage(), connect(UserSocket, ANN) as ann, connect(UserSocket, assigns={}) as bob:
        with_ann = await ann.subscribe_and_join("room:a")
        with_bob = await bob.join("room:a")
        with_ann.push("tell_others", {})
        await with_bob.assert_push("told")
        await with_ann.assert_broadcast("told")
        await with_ann.refute_push()
        with pytest.raises(AssertionError, match="a broadcast has come"):
            with_bob.push("tell_others", {})
            await with_ann.refute_broadcast()


async def test_an_intercepted_broadcast_goes_through_handle_out() -> None:
    async with stage(), connect(UserSocket, ANN) as ann:
        room = await ann.subscribe_and_join("room:a")
        ann.hub.broadcast("room:a", "whispered", {"text": "psst"})
        await room.assert_broadcast("whispered", {"text": "psst"})
        await room.assert_push("whispered", {"heard": {"text": "psst"}})
        await room.refute_broadcast()
        ann.hub.broadcast("room:a", "whispered", {"stop": True})
        await room.assert_exit(Shutdown("heard"))
        await room.assert_push("phx_close")


async def test_any_topic_can_be_subscribed_to() -> None:
    async with stage(), connect(UserSocket, ANN) as ann:
        await ann.subscribe("ends")
        await ann.subscribe("ends")
        await (await ann.join("room:a")).leave()
        await ann.assert_broadcast("ends", "ended", {"reason": "shutdown: left"})
        await ann.refute_broadcast("ends")


async def test_clients_share_a_hub_unless_they_are_given_another() -> None:
    async with stage():
        hub = PubSub()
        async with (
            connect(UserSocket, ANN) as ann,
            connect(UserSocket, {"name": "bob"}) as bob,
            connect(UserSocket, {"name": "eve"}, hub=hub) as eve,
        ):
            assert ann.hub is bob.hub and eve.hub is hub and ann.hub is not hub
        assert ann.hub.topics() == hub.topics() == []


async def test_presence_is_seen_as_by_a_client() -> None:
    class Here(Channel):
        async def join(self, topic: str, params: Any) -> Any:
            send(self.pid, "after_join")
            return Ok()

        async def handle_info(self, message: Any) -> Any:
            self.push("presence_state", await Presence.list("presence", self))
            await Presence.track("presence", self, self.assigns["name"])

    class HereSocket(Socket):
        channels = {"here": Here}

    async with open_node(signals=False):
        hub = PubSub()
        await start_supervised(Presence.named("presence").child(hub))
        async with connect(HereSocket, assigns={"name": "ann"}, hub=hub) as ann:
            here = await ann.join("here")
            await here.assert_push("presence_state", {})
            await here.assert_push("presence_diff", containing({"leaves": {}}))
            async with connect(HereSocket, assigns={"name": "bob"}, hub=hub) as bob:
                await (await bob.join("here")).assert_push(
                    "presence_state", {"ann": {"metas": [containing({})]}}
                )
                await here.assert_push(
                    "presence_diff", containing({"joins": containing({"bob": ANYTHING})})
                )
                await bob.close(Shutdown("peer_closed"))
                await here.assert_push(
                    "presence_diff", containing({"leaves": containing({"bob": ANYTHING})})
                )


# -- leaving and closing


async def test_a_leave_is_answered_and_ends_the_channel() -> None:
    async with stage(), connect(UserSocket, ANN) as ann:
        room = await ann.join("room:a")
        await room.leave()
        assert not is_alive(room.pid)
        await room.assert_exit(Shutdown("left"))
        await room.assert_push("phx_close")
        ref = room.push("echo")
        await room.assert_reply(ref, "error", {"reason": "unmatched topic"})
        await room.leave()


async def test_a_leave_that_is_not_answered_fails() -> None:
    async with stage(), connect(UserSocket, ANN) as ann:
        room = await ann.join("room:a")
        room.push("hang")
        with pytest.raises(AssertionError, match="no reply to 'phx_leave'"):
            await room.leave()


async def test_a_client_closes_in_any_way() -> None:
    async with stage(), connect(UserSocket, ANN) as ann:
        await ann.subscribe("ends")
        room = await ann.join("room:a")
        await ann.close(Shutdown("peer_closed"))
        await ann.close()
        await room.assert_exit(Shutdown("peer_closed"))
        await ann.assert_exit(Shutdown("peer_closed"))
        with pytest.raises(RuntimeError, match="the connection has ended"):
            room.push("echo")
        with pytest.raises(RuntimeError, match="the connection has ended"):
            await ann.subscribe("ends")
        with pytest.raises(RuntimeError, match="the connection has ended"):
            await ann.join("room:b")


async def test_what_was_pushed_before_a_close_is_handled() -> None:
    async with stage(), connect(UserSocket, ANN) as ann:
        room = await ann.subscribe_and_join("room:a")
        for number in range(2000):
            room.push("shout", {"n": number})
        await ann.close()
        await room.assert_broadcast("shouted", {"n": 1999})


async def test_a_client_that_is_not_read_any_more_closes_all_the_same() -> None:
    async with stage(), connect(UserSocket, ANN) as ann:
        room = await ann.join("room:a")
        room.push("hang")
        for number in range(3000):
            room.push("push", {"n": number})
        with pytest.raises(ChannelCrashed, match="killed"):
            await ann.close(Shutdown("peer_closed"))
        await ann.assert_exit(Shutdown("peer_closed"))


async def test_leaving_the_block_closes_the_client() -> None:
    async with stage():
        async with connect(UserSocket, ANN) as ann:
            room = await ann.join("room:a")
        await room.assert_exit(Shutdown("closed"))
        await ann.assert_exit(Shutdown("closed"))


async def test_a_channel_that_hangs_when_its_client_closes_is_killed_and_shown() -> None:
    async with stage(), connect(UserSocket, ANN) as ann:
        room = await ann.join("room:a")
        room.push("assign", {"hang_at_the_end": True})
        with pytest.raises(ChannelCrashed, match="killed") as caught:
            await ann.close(within=0.5)
        [note] = caught.value.__notes__
        assert "0.5 s after" in note and "in terminate" in note and "sleep_forever" in note
        await room.assert_exit("killed")


async def test_a_channel_that_is_busy_when_the_block_ends_is_shut_down() -> None:
    async with stage():
        async with connect(UserSocket, ANN) as ann:
            room = await ann.join("room:a")
            room.push("hang")
        assert await room.assert_exit() == "shutdown"


async def test_a_disconnect_of_the_socket_by_its_id_ends_it() -> None:
    async with stage(), connect(UserSocket, ANN) as ann:
        room = await ann.join("room:a")
        ann.hub.broadcast("user:ann", "disconnect", {})
        await ann.assert_exit(Shutdown("disconnected"))
        await room.assert_exit(Shutdown("disconnected"))


async def test_a_channel_that_stops_answers_first_and_then_closes() -> None:
    async with stage(), connect(UserSocket, ANN) as ann:
        room = await ann.join("room:a")
        await room.assert_reply(room.push("stop"), "ok", {"bye": True})
        await room.assert_push("phx_close")
        await room.assert_exit("normal")
        again = await ann.join("room:a")
        send(again.pid, "stop")
        await again.assert_push("stopping")
        await again.assert_exit("shutdown")


# -- crashes


async def test_a_crash_is_raised_at_the_line_that_awaits_with_its_cause() -> None:
    async with stage(), connect(UserSocket, ANN) as ann:
        room = await ann.join("room:a")
        before = trio.current_time()
        ref = room.push("crash")
        with pytest.raises(ChannelCrashed, match=r"Room 'room:a' <.*> ended: Boom") as caught:
            await room.assert_reply(ref, "ok", within=100)
        assert trio.current_time() == before
        assert isinstance(caught.value.__cause__, Boom)
        assert caught.value.pid is room.pid
        assert isinstance(caught.value.reason, Crash)
        assert caught.traceback[-1].frame.f_locals["__tracebackhide__"]
        # Once is enough.
        await room.refute_push()


WAITS: dict[str, Any] = {
    "assert_push": lambda client, room: room.assert_push("never"),
    "refute_push": lambda client, room: room.refute_push("never"),
    "assert_broadcast": lambda client, room: room.assert_broadcast("never"),
    "refute_broadcast": lambda client, room: room.refute_broadcast("never"),
    "join": lambda client, room: client.join("room:slow"),
    "close": lambda client, room: client.close(),
    "assert_exit": lambda client, room: room.assert_exit(),
    "leave": lambda client, room: room.leave(),
}


@pytest.mark.parametrize("wait", WAITS)
@pytest.mark.parametrize("when", ["before", "while"])
async def test_every_await_of_any_client_raises_a_crash(wait: str, when: str) -> None:
    async with stage(), connect(UserSocket, ANN) as ann, connect(UserSocket, assigns={}) as bob:
        with_ann = await ann.join("room:a")
        with_bob = await bob.subscribe_and_join("room:b")
        with_ann.push("crash")
        if when == "before":
            await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(ChannelCrashed, match="in handle_in"):
            await WAITS[wait](bob, with_bob)


async def test_a_crash_that_is_asserted_is_not_raised() -> None:
    async with stage(), connect(UserSocket, ANN) as ann:
        room = await ann.join("room:a")
        room.push("crash")
        reason = await room.assert_exit(Boom)
        assert isinstance(reason, Crash)
        await room.assert_push("phx_error", {"reason": "channel_crash"})
        again = await ann.join("room:a")
        assert again.pid is not room.pid


async def test_an_end_other_than_the_one_asserted_fails_with_the_crash_as_its_cause() -> None:
    async with stage(), connect(UserSocket, ANN) as ann:
        room = await ann.join("room:a")
        room.push("crash")
        with pytest.raises(AssertionError, match=r"has ended for .*, not for Shutdown") as caught:
            await room.assert_exit(Shutdown("left"))
        assert isinstance(caught.value.__cause__, ChannelCrashed)
        other = await ann.join("room:b")
        with pytest.raises(AssertionError, match="'room:b' has not ended within 1 s"):
            await other.assert_exit()
        other.push("stop_for", "my reason")
        with pytest.raises(AssertionError, match="not for Boom"):
            await other.assert_exit(Boom)


async def test_an_end_for_a_reason_that_is_no_orderly_one_is_a_crash() -> None:
    async with stage(), connect(UserSocket, ANN) as ann:
        room = await ann.join("room:a")
        exit_signal(room.pid, "kill")
        await room.assert_exit("killed")
        other = await ann.join("room:b")
        other.push("stop_for", {"my": "reason"})
        with pytest.raises(ChannelCrashed) as caught:
            await other.assert_push("anything")
        assert caught.value.reason == {"my": "reason"}
        assert caught.value.__cause__ is None


async def test_what_came_before_a_crash_can_still_be_asserted() -> None:
    async with stage(), connect(UserSocket, ANN) as ann:
        room = await ann.join("room:a")
        room.push("push_then_crash")
        await trio.testing.wait_all_tasks_blocked()
        await room.assert_push("pushed")
        with pytest.raises(ChannelCrashed):
            await room.assert_push("pushed")


async def test_a_crash_that_no_await_has_met_is_raised_at_the_end_of_the_block() -> None:
    async with stage():
        with pytest.raises(ChannelCrashed, match="in handle_in"):
            async with connect(UserSocket, ANN) as ann:
                (await ann.join("room:a")).push("crash")
                await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(ChannelCrashed, match="in terminate"):
            async with connect(UserSocket, ANN) as ann:
                (await ann.join("room:a")).push("assign", {"crash_at_the_end": True})
                await trio.testing.wait_all_tasks_blocked()


async def test_a_test_that_fails_otherwise_is_told_of_a_crash_besides() -> None:
    async with stage():
        with pytest.raises(KeyError) as caught:
            async with connect(UserSocket, ANN) as ann:
                (await ann.join("room:a")).push("crash")
                await trio.testing.wait_all_tasks_blocked()
                raise KeyError("of the test")
        assert "Boom: in handle_in" in caught.value.__notes__[0]
        # It is not raised a second time.
        async with connect(UserSocket, ANN):
            pass


async def test_a_terminate_that_crashes_shows_at_the_leave() -> None:
    async with stage(), connect(UserSocket, ANN) as ann:
        room = await ann.join("room:a")
        room.push("assign", {"crash_at_the_end": True})
        with pytest.raises(ChannelCrashed, match="in terminate"):
            await room.leave()


async def test_a_connection_that_is_killed_is_a_crash_of_it_and_of_its_channels() -> None:
    async with stage(), connect(UserSocket, ANN) as ann:
        room = await ann.join("room:a")
        exit_signal(ann.pid, "kill")
        await ann.assert_exit("killed")
        await room.assert_exit("killed")


# -- under cancellation


async def test_a_wait_that_is_cancelled_loses_nothing() -> None:
    async with stage(), connect(UserSocket, ANN) as ann:
        room = await ann.join("room:a")
        with trio.move_on_after(1) as scope:
            await room.assert_push("pushed", within=10)
        assert scope.cancelled_caught
        room.push("push")
        await trio.testing.wait_all_tasks_blocked()
        with trio.CancelScope() as scope:
            scope.cancel()
            await room.assert_push("pushed")
        assert scope.cancelled_caught
        await room.assert_push("pushed")


async def test_a_cancelled_test_leaves_nothing_behind() -> None:
    clients: list[Client] = []
    async with stage():
        with trio.move_on_after(1):
            async with connect(UserSocket, ANN) as ann:
                clients.append(ann)
                room = await ann.join("room:a")
                room.push("hang")
                await room.assert_push("never", within=100)
        assert not is_alive(clients[0].pid)


async def test_two_tasks_may_wait_at_a_time() -> None:
    async with stage(), connect(UserSocket, ANN) as ann:
        room = await ann.join("room:a")
        found: list[object] = []

        async def wait_for(number: int) -> None:
            found.append(await room.assert_push("pushed", {"n": number}))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait_for, 1)
            nursery.start_soon(wait_for, 2)
            await trio.testing.wait_all_tasks_blocked()
            room.push("push", {"n": 2})
            room.push("push", {"n": 1})
        # Each has what it waits for; in which order trio runs the two is not for the kit to say.
        assert sorted(map(str, found)) == ["{'n': 1}", "{'n': 2}"]


async def test_a_node_that_closes_around_a_client_drains_it() -> None:
    seen: list[object] = []

    async def visitor() -> None:
        async with connect(UserSocket, ANN) as ann:
            room = await ann.join("room:a")
            seen.append(room)
            await trio.sleep_forever()

    async with open_node(signals=False) as node:
        spawn(visitor)
        await trio.testing.wait_all_tasks_blocked()
        assert seen
    assert len(node.processes) == 0
