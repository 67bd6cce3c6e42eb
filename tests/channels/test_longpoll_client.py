"""The process of a client that polls: in which ways it ends, and what then becomes of the rest."""

from __future__ import annotations

import json
from functools import partial
from typing import Any

import pytest
import trio

from exeunt import Crash, DynamicSupervisor, Pid, Shutdown, Supervisor, is_alive, stop, wait_exit
from exeunt import exit as exit_signal
from exeunt.channels import Endpoint, LongPoll, Mount, ProtocolError
from tests.channels.polling import (
    NDJSON,
    WINDOW,
    Poller,
    ask,
    join,
    open_polled,
    open_poller,
    request,
)
from tests.faults.client import Client, Closed
from tests.faults.world import User, Witness, World, complaints, until


async def connections_of(world: World) -> int:
    """Return how many processes the endpoint has for clients and their connections."""
    [supervisor] = [
        one.pid
        for one in await Supervisor.which_children(world.endpoint)
        if one.id == "connections"
    ]
    assert isinstance(supervisor, Pid)
    return (await DynamicSupervisor.count_children(supervisor)).active


# -- inactivity


@pytest.mark.slow
async def test_who_does_not_poll_for_one_and_a_half_windows_is_inactive() -> None:
    async with open_polled(LongPoll(window=WINDOW)) as world:
        ada = await join(world)
        polled = trio.current_time()
        await world.until_left("ada")
        silent = trio.current_time() - polled
        assert 1.5 * WINDOW - 0.05 <= silent < 3 * WINDOW
        assert world.reasons_of("ada") == [Shutdown("inactive")]
        assert world.terminated_of("ada") == [Shutdown("inactive")]
        assert await ada.post(["1", "2", "room:a", "echo", {}]) == 410
        # To poll is to connect anew, with a token of its own.
        again = await ada.poll_raw()
        assert again["status"] == 410
        assert again["token"] not in (None, ada.token)


@pytest.mark.slow
async def test_one_that_never_polls_again_after_it_was_let_in_is_inactive_too() -> None:
    async with open_polled(LongPoll(window=WINDOW)) as world:
        before = await world.snapshot()
        ada = await open_poller(world)
        [connection] = world.hub.subscribers("user:ada")
        assert await wait_exit(connection) == Shutdown("inactive")
        assert not await ada.is_known()
        await world.settle(before)


@pytest.mark.slow
async def test_polls_keep_a_client_and_posts_do_not() -> None:
    window = 2 * WINDOW
    async with open_polled(LongPoll(window=window)) as world:
        ada, bob = await join(world, "ada"), await join(world, "bob")
        began = trio.current_time()
        async with trio.open_nursery() as nursery:

            async def keep_posting() -> None:
                beat = [None, "beat", "phoenix", "heartbeat", {}]
                while await bob.post(beat) == 200:  # noqa: ASYNC110 - nobody tells of it
                    await trio.sleep(0.01)
                # The last one may have come as bob ended, and be answered 408 for that.
                assert await bob.post(beat) == 410

            nursery.start_soon(keep_posting)
            # For longer than anybody stays who does not poll.
            while trio.current_time() - began < 2 * window or not world.reasons_of("bob"):
                assert await ada.poll() == []
        assert world.reasons_of("bob") == [Shutdown("inactive")]
        assert world.reasons_of("ada") == []
        assert await ada.post(["1", "2", "room:a", "echo", {"n": 1}]) == 200
        assert (await ada.receive())[4] == {"status": "ok", "response": {"n": 1}}


# -- sent away


@pytest.mark.slow
async def test_disconnect_on_the_id_ends_it_and_its_poll_waits_for_the_end_of_its_window() -> None:
    async with open_polled(LongPoll(window=WINDOW)) as world:
        ada, bob = await join(world, "ada"), await join(world, "bob")
        answers: list[Any] = []
        started = trio.current_time()

        async def poll() -> None:
            answers.append(await ada.poll_raw())

        async with trio.open_nursery() as nursery:
            nursery.start_soon(poll)
            await trio.sleep(0.05)
            world.hub.broadcast("user:ada", "other", {})
            world.hub.broadcast("user:ada", "disconnect", {})
            await world.until_left("ada")
            assert answers == []
            assert await bob.is_known()
        assert answers == [{"status": 204, "token": ada.token, "messages": []}]
        assert trio.current_time() - started >= WINDOW
        assert world.reasons_of("ada") == [Shutdown("disconnected")]
        assert world.terminated_of("ada") == [Shutdown("disconnected")]
        assert (await ada.poll_raw())["status"] == 410


async def test_a_drain_answers_at_once_who_waits() -> None:
    async with open_polled() as world:
        ada = await join(world)
        answers: list[Any] = []

        async def poll() -> None:
            answers.append(await ada.poll_raw())

        with trio.fail_after(5):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(poll)
                await trio.sleep(0.05)
                await Endpoint.drain(world.endpoint)
        assert answers == [{"status": 204, "token": ada.token, "messages": []}]
        assert (await ada.poll_raw())["status"] == 410


async def test_a_drain_sends_away_who_has_joined() -> None:
    async with open_polled() as world:
        ada, bob = await join(world, "ada"), await open_poller(world, "bob")
        await Endpoint.drain(world.endpoint)
        await world.until_left("ada")
        assert world.reasons_of("ada") == [Shutdown("draining")]
        assert not await ada.is_known()
        assert await bob.is_known()
        assert await (await open_poller(world, "ada")).join("room:a") == {}


async def test_when_the_server_stops_all_leave_draining(caplog: pytest.LogCaptureFixture) -> None:
    async with open_polled() as world:
        ada = await join(world, "ada")
        await join(world, "bob")
        async with await Client.dial(world.port) as polling:
            await polling.send(request("GET", ada.target()))
            await trio.sleep(0.02)
            started = trio.current_time()
            await stop(world.endpoint, "shutdown")
            assert trio.current_time() - started < 2
        await until(lambda: len(world.left) == 2, "all to leave")
        assert {one.reason for one in world.left} == {Shutdown("draining")}
        assert complaints(caplog.records) == []


# -- its own end


@pytest.mark.parametrize(
    ("signal", "reason"),
    [("kill", "killed"), ("boom", "boom"), (Shutdown("x"), Shutdown("x")), ("shutdown",) * 2],
)
async def test_an_exit_signal_ends_it_with_that_reason(signal: Any, reason: Any) -> None:
    async with open_polled() as world:
        ada = await join(world)
        async with trio.open_nursery() as nursery:

            async def poll() -> None:
                await ada.poll_raw()
                raise AssertionError("its window is not over")

            nursery.start_soon(poll)
            await trio.sleep(0.05)
            exit_signal(world.connections["ada"], "normal")
            exit_signal(world.connections["ada"], signal)
            await world.until_left("ada")
            assert world.reasons_of("ada") == [reason]
            assert world.terminated_of("ada") == [reason]
            assert not await ada.is_known()
            nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    "body",
    [
        b"[nope",
        b"[]",
        b'["1","2","room:a","echo"]',
        b"[\xff]",
        b"",
        b"\n",
        b"AAAA",
        b'[null,"1",{"a":1},"phx_join",{}]',
        b"[" * 100_000,
    ],
)
async def test_a_malformed_message_ends_it_and_its_post_waits(
    body: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_polled() as world:
        ada, bob = await join(world, "ada"), await join(world, "bob")
        async with trio.open_nursery() as nursery:

            async def post() -> None:
                await ada.post_raw(body)
                raise AssertionError("its window is not over")

            nursery.start_soon(post)
            await world.until_left("ada")
            [reason] = world.reasons_of("ada")
            assert isinstance(reason, Crash)
            assert isinstance(reason.exception, ProtocolError)
            assert world.terminated_of("ada") == [reason]
            assert await ada.post_raw(body) == 410
            assert (await ada.poll_raw())["status"] == 410
            assert await bob.is_known()
            nursery.cancel_scope.cancel()
        [complaint] = complaints(caplog.records)
        assert "malformed" in complaint


@pytest.mark.slow
async def test_when_its_window_is_over_a_malformed_message_is_answered_408() -> None:
    async with open_polled(LongPoll(window=WINDOW)) as world:
        ada = await join(world)
        started = trio.current_time()
        assert await ada.post_raw(b"[nope") == 408
        assert WINDOW <= trio.current_time() - started < 3 * WINDOW
        assert await ada.post_raw(b"[nope") == 410


async def test_a_post_whose_client_has_ended_is_given_up_when_it_hangs_up() -> None:
    async with open_polled() as world:
        ada = await join(world)
        async with await Client.dial(world.port) as client:
            await client.send(request("POST", ada.target(), b"[nope", NDJSON))
            await world.until_left("ada")
            await until_connections(world, 1)
        await until_connections(world, 0)


async def test_requests_of_one_that_has_ended_do_not_hold_up_the_stop_of_the_server() -> None:
    async with open_polled() as world:
        ada, bob = await join(world, "ada"), await join(world, "bob")
        async with (
            await Client.dial(world.port) as posting,
            await Client.dial(world.port) as polling,
        ):
            await polling.send(request("GET", bob.target()))
            await posting.send(request("POST", ada.target(), b"[nope", NDJSON))
            await world.until_left("ada")
            exit_signal(world.connections["bob"], "boom")
            await world.until_left("bob")
            with trio.fail_after(2):
                await stop(world.endpoint, "shutdown")


async def test_messages_that_nobody_fetches_end_it_when_they_are_too_many() -> None:
    async with open_polled(max_queued=10_000) as world:
        await join(world, "ada")
        bob = await join(world, "bob")
        heard = 0
        while not world.reasons_of("ada"):
            world.hub.broadcast("room:a", "news", {"text": "x" * 500})
            heard += len(await bob.poll())
            assert heard < 100
        assert world.reasons_of("ada") == [Shutdown("slow_consumer")]
        assert await bob.is_known()
        assert world.reasons_of("bob") == []


async def test_a_channel_that_crashes_does_not_end_it() -> None:
    async def crash(channel: Witness) -> None:
        raise RuntimeError("on purpose")

    async with open_polled() as world:
        world.deed = crash
        ada = await join(world)
        assert await ada.post(["1", "2", "room:a", "run", {}]) == 200
        error = await ada.receive()
        assert error == ["1", "1", "room:a", "phx_error", {"reason": "channel_crash"}]
        await world.until_left("ada")
        assert await ada.join("room:a", join_ref="3") == {}


async def test_a_client_that_leaves_is_told_and_stays_connected() -> None:
    async with open_polled() as world:
        ada = await join(world)
        assert await ada.post(["1", "2", "room:a", "phx_leave", {}]) == 200
        assert await ada.receive() == [
            "1",
            "2",
            "room:a",
            "phx_reply",
            {"status": "ok", "response": {}},
        ]
        assert await ada.receive() == ["1", "1", "room:a", "phx_close", {}]
        assert world.reasons_of("ada") == [Shutdown("left")]
        assert await ada.is_known()


# -- what it is part of


async def test_it_counts_as_a_connection_and_one_too_many_is_503() -> None:
    async with open_polled(max_connections=3) as world:
        ada, bob = await open_poller(world, "ada"), await open_poller(world, "bob")
        await until_connections(world, 2)
        # Its request has the last place: there is none for the client.
        answer = await ask(world.port, "GET", Poller(world.port, who="eve").target())
        assert (answer.status, answer.body) == (503, b"")
        assert answer.header("retry-after") == "5"
        assert answer.header("access-control-allow-origin") == "*"
        for client in (ada, bob):
            await until_connections(world, 2)
            assert await client.is_known()
        await until_connections(world, 2)
        exit_signal(world.hub.subscribers("user:bob")[0], "kill")
        await until_connections(world, 1)
        await open_poller(world, "eve")


async def until_connections(world: World, number: int) -> None:
    with trio.fail_after(5):
        while await connections_of(world) != number:  # noqa: ASYNC110 - nobody tells of it
            await trio.sleep(0.005)


@pytest.mark.parametrize("how", ["a restart", "another one"])
async def test_a_token_is_good_for_one_endpoint(how: str) -> None:
    async with open_polled() as world:
        ada = await join(world)
        if how == "a restart":
            await stop(world.endpoint, "shutdown")
        mount = Mount(partial(User, world), longpoll=LongPoll())
        second = await Endpoint.start_link({"/socket": mount}, port=0)
        elsewhere = Poller(int((await Endpoint.url(second)).rpartition(":")[2]), who="ada")
        elsewhere.token = ada.token
        assert not await elsewhere.is_known()
        assert (await elsewhere.poll_raw())["status"] == 410
        await stop(second, "shutdown")


@pytest.mark.slow
async def test_a_hundred_clients_that_vanish_leave_nothing_behind() -> None:
    async with open_polled(LongPoll(window=0.6), max_connections=300) as world:
        before = await world.snapshot()
        few_at_a_time = trio.CapacityLimiter(4)

        async def come_and_vanish(who: str) -> None:
            async with few_at_a_time:
                await join(world, who)

        async with trio.open_nursery() as nursery:
            for number in range(100):
                nursery.start_soon(come_and_vanish, f"user{number}")
        await until(lambda: len(world.left) == 100, "all to leave")
        assert {one.reason for one in world.left} == {Shutdown("inactive")}
        assert len({one.who for one in world.left}) == 100
        await world.settle(before)


async def test_it_meets_clients_of_websockets_in_the_same_rooms() -> None:
    async with open_polled() as world:
        ada = await join(world, "ada")
        async with await world.join("bob") as bob:
            assert await ada.post(["1", "2", "room:a", "shout", {"text": "hi"}]) == 200
            shout = [None, None, "room:a", "shout", {"text": "hi"}]
            assert await ada.receive() == shout
            assert await bob.receive() == shout
            await Endpoint.drain(world.endpoint)
            assert await bob.receive_until_end() == [Closed(1012)]
        await until(lambda: len(world.left) == 2, "both to leave")
        assert {one.reason for one in world.left} == {Shutdown("draining")}


async def test_a_client_of_version_1_polls_too() -> None:
    async with open_polled() as world:
        ada = await open_poller(world, vsn="1.0.0")
        ask_join = {"topic": "room:a", "event": "phx_join", "payload": {}, "ref": "1"}
        assert await ada.post_raw(json.dumps(ask_join).encode(), {}) == 200
        assert await ada.receive() == {
            "topic": "room:a",
            "event": "phx_reply",
            "payload": {"status": "ok", "response": {}},
            "ref": "1",
        }


async def test_the_process_of_a_client_that_is_refused_is_gone_at_once() -> None:
    async with open_polled() as world:
        before = await world.snapshot()
        answer = await ask(world.port, "GET", "/socket/longpoll?vsn=2.0.0")
        assert answer.json == {"status": 403}
        await world.settle(before, within=1.0)
        assert is_alive(world.endpoint)
