"""A thousand clients in one room are cut at once: a thousand leaves, and nothing stays behind."""

from __future__ import annotations

import gc
from collections import Counter

import pytest
import trio

from exeunt import Shutdown

from .client import Client, raise_file_limit
from .world import ROOM, Options, World, open_world, until

CLIENTS = 1000


async def fill_room(world: World, number: int) -> list[Client]:
    """Have clients join the room, some at a time."""
    clients: list[Client] = []
    waiting = list(range(number))

    async def join_some() -> None:
        while waiting:
            clients.append(await world.join(f"user{waiting.pop()}", ROOM))

    async with trio.open_nursery() as nursery:
        for _ in range(20):
            nursery.start_soon(join_some)
    return clients


async def cut(world: World, number: int) -> None:
    """Fill the room, reset all of its connections in one step, and see every one leave once."""
    world.left.clear()
    world.terminated.clear()
    clients = await fill_room(world, number)
    assert len(world.hub.subscribers(ROOM)) == number + 1
    for client in clients:
        client.reset()
    await until(lambda: len(world.left) >= number, "all to leave", 20)
    everybody = Counter({f"user{one}": 1 for one in range(number)})
    assert Counter(one.who for one in world.left) == everybody
    assert Counter(one.who for one in world.terminated) == everybody
    assert all(one.reason == Shutdown("peer_closed") for one in world.left)
    world.watches.clear()
    world.channels.clear()
    world.connections.clear()


@pytest.mark.slow
async def test_a_thousand_clients_are_cut_at_once() -> None:
    # Both ends are in this process.
    assert raise_file_limit(2 * CLIENTS + 200), (
        f"this test opens {2 * CLIENTS} sockets: raise the hard limit of open files (ulimit -Hn)"
    )
    with trio.fail_after(60):
        async with (
            open_world(Options(max_connections=CLIENTS + 1, timeout=120)) as world,
            await world.join("bystander", ROOM) as bystander,
        ):
            before = await world.snapshot()
            await cut(world, 50)
            await world.settle(before)
            gc.collect()
            objects = len(gc.get_objects())
            await cut(world, CLIENTS)
            await world.settle(before, within=5)
            world.forget()
            gc.collect()
            # Not even one object for each client that has left.
            assert len(gc.get_objects()) < objects + CLIENTS
            assert await bystander.ask("1", ROOM, "echo", {}) == {"status": "ok", "response": {}}


@pytest.mark.slow
async def test_the_others_hear_of_each_leave_before_long() -> None:
    """Say goodbye to the room for each of 200 that are cut: the one who stays hears them all."""
    number = 200
    assert raise_file_limit(2 * number + 200)
    async with (
        open_world(Options(max_connections=number + 1, timeout=120)) as world,
        await world.join("bystander", ROOM) as bystander,
    ):

        async def say_goodbye(departure: object, who: str) -> None:
            world.hub.broadcast(ROOM, "left", {"who": who})

        world.has_left = say_goodbye  # type: ignore[method-assign]
        clients = await fill_room(world, number)
        for client in clients:
            client.reset()
        heard = Counter[str]()
        with trio.fail_after(10):
            while sum(heard.values()) < number:
                message = await bystander.receive()
                assert isinstance(message, list)
                assert message[:4] == [None, None, ROOM, "left"]
                heard[message[4]["who"]] += 1
        assert heard == Counter({f"user{one}": 1 for one in range(number)})
        assert await bystander.sync() == []
