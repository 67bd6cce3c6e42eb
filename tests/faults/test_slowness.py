"""Clients that do not read, channels that take their time: each is slow for itself alone."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import trio
import trio.testing

from exeunt import (
    Pid,
    Shutdown,
    Watcher,
    is_alive,
    open_node,
    process_info,
    stop,
    trap_exit,
)
from exeunt import exit as exit_signal
from exeunt.channels import Endpoint, Mount, Ok
from exeunt.channels.session import HELD_MESSAGES, UNHANDLED_MESSAGES

from .client import PING, Client, frame, text
from .world import ROOM, Options, User, Witness, World, open_world, until

BIG = "x" * 4000


def reply(ref: str, response: object, topic: str = ROOM, join_ref: str = "1") -> list[Any]:
    return [join_ref, ref, topic, "phx_reply", {"status": "ok", "response": response}]


# -- clients that do not read


@pytest.mark.slow
async def test_one_who_does_not_read_is_cut_off_and_the_room_is_served() -> None:
    options = Options(max_queued=64 * 1024)
    async with (
        open_world(options) as world,
        await world.join("reader", ROOM) as reader,
    ):
        before = await world.snapshot()
        async with await world.join("ada", ROOM, buffer=4096):
            number = 0
            with trio.fail_after(5):
                while not world.left:
                    world.hub.broadcast(ROOM, "news", {"n": number, "text": BIG})
                    assert await reader.receive() == [
                        None,
                        None,
                        ROOM,
                        "news",
                        {"n": number, "text": BIG},
                    ]
                    number += 1
            assert world.reasons_of("ada") == [Shutdown("slow_consumer")]
            assert world.terminated_of("ada") == [Shutdown("slow_consumer")]
        await world.settle(before)
        assert await reader.sync() == []
        assert world.reasons_of("reader") == []
        assert len(world.left) == 1


@pytest.mark.slow
async def test_each_mount_has_the_bound_that_it_was_given() -> None:
    """A mount with a small bound beside one with a large bound keeps its own."""
    async with open_node(signals=False) as node:
        trap_exit()
        world = World(node)
        world.watcher = await Watcher.start_link()
        world.endpoint = await Endpoint.start_link(
            {
                "/socket": Mount(partial(User, world), max_queued=16 * 1024),
                "/other": Mount(partial(User, world), max_queued=64 * 1024 * 1024),
            },
            port=0,
            hub=world.hub,
        )
        world.port = await world.find_port()
        async with (
            await world.join("ada", buffer=4096),
            await world.join("eve", path="/other/websocket", buffer=4096) as patient,
        ):
            # Far more than the kernel takes for a connection, and less than the large bound.
            for number in range(3000):
                world.hub.broadcast(ROOM, "news", {"n": number, "text": BIG})
            await world.until_left("ada")
            assert world.reasons_of("ada") == [Shutdown("slow_consumer")]
            for number in range(3000):
                message = await patient.receive()
                assert isinstance(message, list)
                assert message[4]["n"] == number
            assert world.reasons_of("eve") == []
        await stop(world.endpoint, "shutdown")


async def test_a_client_that_catches_up_is_not_cut_off() -> None:
    async with (
        open_world(Options(max_queued=4 * 1024 * 1024)) as world,
        await world.join("ada", ROOM, buffer=4096) as ada,
    ):
        for number in range(500):
            world.hub.broadcast(ROOM, "news", {"n": number, "text": BIG})
        await trio.testing.wait_all_tasks_blocked(0.01)
        for number in range(500):
            message = await ada.receive()
            assert isinstance(message, list)
            assert message[4]["n"] == number
        assert await ada.sync() == []
        assert world.left == []


@pytest.mark.slow
@pytest.mark.parametrize("what", ["pings", "heartbeats"])
async def test_a_flood_that_is_answered_and_not_read_is_cut_off(what: str) -> None:
    """What the server says by itself counts as well: the answers pile up to the bound only."""
    piece = text([None, "r" * 2000, "phoenix", "heartbeat", {}])
    if what == "pings":
        piece = frame(PING, b"p" * 125)
    async with open_world(Options(max_queued=64 * 1024)) as world:
        before = await world.snapshot()
        async with await world.join("ada", buffer=4096) as client:
            with trio.fail_after(20):
                try:
                    while is_alive(world.connections["ada"]):
                        await client.send(piece * 100)
                except OSError:
                    pass
            await world.until_left("ada")
            assert world.reasons_of("ada") == [Shutdown("slow_consumer")]
        await world.settle(before)


# -- channels that take their time


def answers_in_order(number: int) -> list[Any]:
    return [reply(f"e{n}", {"n": n}) for n in range(number)]


async def push_echoes(client: Client, number: int) -> None:
    """Push many messages, as fast as they are taken."""
    await client.send(b"".join(text(["1", f"e{n}", ROOM, "echo", {"n": n}]) for n in range(number)))


async def busy_channel(world: World, client: Client) -> Pid:
    """Have the client's channel be busy in `handle_in` until the gate is opened."""
    world.deed = world.hold
    await client.say("1", "busy", ROOM, "run", {})
    await world.busy.wait()
    return world.channels["ada"]


async def test_heartbeats_and_other_topics_go_on_while_a_channel_is_busy() -> None:
    async with open_world() as world, await world.join() as client:
        await client.join("room:other", {"who": "ada there"}, join_ref="2")
        await busy_channel(world, client)
        await client.say("1", "e0", ROOM, "echo", {"n": 0})
        assert await client.sync() == []
        assert (await client.ask("2", "room:other", "echo", {"n": 1}))["response"] == {"n": 1}
        world.gate.set()
        assert await client.receive() == reply("e0", {"n": 0})


async def test_heartbeats_and_other_topics_go_on_while_a_join_takes_its_time() -> None:
    async with open_world() as world, await world.connect() as client:
        await client.join("room:other", {"who": "ada there"}, join_ref="2")
        world.join_deed = world.hold
        await client.say("1", "1", ROOM, "phx_join", {"run": True})
        await world.busy.wait()
        assert await client.sync() == []
        assert (await client.ask("2", "room:other", "echo", {"n": 1}))["response"] == {"n": 1}
        await client.join("room:third", {"who": "ada elsewhere"}, join_ref="3")
        world.gate.set()
        assert await client.receive() == reply("1", {})


@pytest.mark.parametrize("number", [1, 10, HELD_MESSAGES, HELD_MESSAGES + 1, 500])
async def test_what_is_pushed_during_a_slow_join_is_answered_in_order_after_it(number: int) -> None:
    async with open_world() as world, await world.connect() as client:
        world.join_deed = world.hold
        await client.say("1", "1", ROOM, "phx_join", {"run": True})
        await world.busy.wait()
        await push_echoes(client, number)
        await trio.testing.wait_all_tasks_blocked(0.01)
        world.gate.set()
        assert await client.receive() == reply("1", {})
        for answer in answers_in_order(number):
            assert await client.receive() == answer
        assert await client.sync() == []


async def test_a_leave_during_a_slow_join_comes_after_it() -> None:
    async with open_world() as world, await world.connect() as client:
        world.join_deed = world.hold
        await client.say("1", "1", ROOM, "phx_join", {"run": True})
        await world.busy.wait()
        await client.say("1", "2", ROOM, "phx_leave", {})
        await client.say("3", "3", ROOM, "phx_join", {"who": "ada again"})
        await client.say("3", "4", ROOM, "echo", {"n": 1})
        assert await client.sync() == []
        world.gate.set()
        frames = [await client.receive()]
        while frames[-1] != reply("4", {"n": 1}, join_ref="3"):
            frames.append(await client.receive())
        assert frames[0] == reply("1", {})
        # A leave and a join behind each other: either the leave was first, or the new join.
        assert ["1", "1", ROOM, "phx_close", {}] in frames
        assert reply("3", {}, join_ref="3") in frames
        await world.until_left("ada")
        [reason] = world.reasons_of("ada")
        assert reason in (Shutdown("left"), Shutdown("duplicate_join"))
        # A leave that came too late is not answered.
        assert (reply("2", {}) in frames) is (reason == Shutdown("left"))
        assert len(frames) == (5 if reason == Shutdown("left") else 4)


@pytest.mark.slow
async def test_a_flood_for_a_busy_channel_stops_being_read_and_is_read_on() -> None:
    number = UNHANDLED_MESSAGES * 5
    async with open_world() as world, await world.join() as client, trio.open_nursery() as nursery:
        channel = await busy_channel(world, client)
        nursery.start_soon(push_echoes, client, number)

        def waiting() -> int:
            info = process_info(channel)
            return 0 if info is None else info.message_queue_len

        await until(lambda: waiting() >= UNHANDLED_MESSAGES - 1, "the channel's mailbox to fill")
        await trio.testing.wait_all_tasks_blocked(0.05)
        assert waiting() <= UNHANDLED_MESSAGES
        world.gate.set()
        for answer in answers_in_order(number):
            assert await client.receive() == answer
        assert await client.sync() == []
        assert waiting() == 0


@pytest.mark.slow
async def test_a_client_that_the_server_does_not_read_is_not_called_silent() -> None:
    """While the server itself does not read, it cannot know that its client is silent."""
    async with open_world(Options(timeout=0.3)) as world, await world.join() as client:
        await busy_channel(world, client)
        await push_echoes(client, UNHANDLED_MESSAGES + 10)
        with trio.move_on_after(0.7):
            while True:
                await client.say(None, "beat", "phoenix", "heartbeat", {})
                await trio.sleep(0.05)
        assert world.left == []
        assert is_alive(world.connections["ada"])
        world.gate.set()
        assert await client.receive() == reply("e0", {"n": 0})


@pytest.mark.slow
async def test_the_end_of_a_channel_lets_a_flood_for_it_go_on() -> None:
    """A channel that dies with a full mailbox does not leave its client unread."""
    async with open_world() as world, await world.join() as client, trio.open_nursery() as nursery:
        channel = await busy_channel(world, client)
        nursery.start_soon(push_echoes, client, UNHANDLED_MESSAGES * 2)
        await trio.sleep(0.05)
        exit_signal(channel, "kill")
        await world.until_left("ada")
        assert await client.receive() == ["1", "1", ROOM, "phx_error", {"reason": "channel_crash"}]
        # What came afterwards finds nobody; what came before is lost.
        with trio.fail_after(15):
            while True:
                message = await client.receive()
                assert isinstance(message, list)
                assert message[4]["response"] == {"reason": "unmatched topic"}
                if message[1] == f"e{UNHANDLED_MESSAGES * 2 - 1}":
                    break
        assert await client.sync() == []


async def test_one_who_floods_and_does_not_read_is_cut_off_at_once() -> None:
    """The queue overflows while the server does not read: still the connection ends."""
    options = Options(max_queued=32 * 1024, timeout=30)
    async with open_world(options) as world, await world.join(buffer=4096) as client:
        await busy_channel(world, client)
        await push_echoes(client, UNHANDLED_MESSAGES + 100)
        await trio.testing.wait_all_tasks_blocked(0.02)
        for _ in range(3000):
            world.hub.broadcast(ROOM, "news", {"text": BIG})
        connection = world.connections["ada"]
        await until(lambda: not is_alive(connection), "the connection to end", 5)
        world.gate.set()
        await world.until_left("ada")
        assert world.reasons_of("ada") == [Shutdown("slow_consumer")]


@pytest.mark.slow
async def test_one_who_floods_and_goes_is_found_within_the_idle_timeout() -> None:
    """Its end stands behind what the server does not read yet."""
    async with open_world(Options(timeout=0.4)) as world, await world.join() as client:
        await busy_channel(world, client)
        await push_echoes(client, UNHANDLED_MESSAGES + 100)
        await trio.testing.wait_all_tasks_blocked(0.02)
        connection = world.connections["ada"]
        client.reset()
        await until(lambda: not is_alive(connection), "the connection to end", 5)
        world.gate.set()
        await world.until_left("ada")
        assert world.reasons_of("ada") in (
            [Shutdown("read_timeout")],
            [Shutdown("peer_closed")],
        )


async def test_a_slow_terminate_delays_neither_the_close_nor_the_next_join() -> None:
    async with open_world() as world, await world.join() as client:

        async def deed(channel: Witness) -> object:
            async def slow(reason: object) -> None:
                world.busy.set()
                await world.gate.wait()
                channel.push("farewell", {})

            channel.terminate = slow  # type: ignore[method-assign]
            return Ok("set")

        world.deed = deed
        assert (await client.ask("1", ROOM, "run"))["response"] == "set"
        await client.say("1", "2", ROOM, "phx_leave", {})
        assert await client.receive() == reply("2", {})
        assert await client.receive() == ["1", "1", ROOM, "phx_close", {}]
        await world.busy.wait()
        await client.join(ROOM, {"who": "ada again"}, join_ref="3")
        assert (await client.ask("3", ROOM, "echo", 1))["response"] == 1
        assert world.left == []
        world.gate.set()
        assert await client.receive() == ["1", None, ROOM, "farewell", {}]
        await world.until_left("ada")
        assert world.reasons_of("ada") == [Shutdown("left")]
        assert (await client.ask("3", ROOM, "echo", 2))["response"] == 2
