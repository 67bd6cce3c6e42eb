"""Processes that are ended before they have run a single step: they leave nothing behind either."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import trio

from exeunt import Pid, Shutdown, is_alive, stop
from exeunt import exit as exit_signal
from exeunt.channels import LongPoll
from exeunt.channels.connection import run_connection
from exeunt.channels.longpoll_client import run_polled_client
from exeunt.kernel.events import Spawned

from .client import Client, Gone, upgrade_request
from .world import ROOM, Options, World, open_world, until


def at_birth(world: World, label: str, act: Callable[[Pid], None]) -> Callable[[], None]:
    """Have something done to the next process of this label when it has just been made."""

    def spawned(event: Spawned) -> None:
        if event.label.startswith(label):
            undo()
            act(event.pid)

    undo = world.node.events.subscribe(spawned, Spawned)
    return undo


@pytest.mark.parametrize("reason", ["kill", "shutdown", Shutdown("detail")], ids=str)
async def test_a_connection_that_is_ended_at_birth_is_closed(reason: object) -> None:
    async with open_world() as world, await world.join("bystander") as bystander:
        before = await world.snapshot()
        at_birth(world, run_connection.__qualname__, lambda pid: exit_signal(pid, reason))
        async with await Client.dial(world.port) as client:
            # Nobody answers, and nobody keeps the socket: the client is told so by TCP.
            await client.send(upgrade_request(who="ada"))
            assert isinstance(await client.receive(), Gone)
        # Not by chance, when the next one comes and its socket is forgotten.
        await world.settle(before)
        assert await bystander.sync() == []
        await world.check_untouched()
        await world.settle(before)


async def test_a_server_that_stops_at_the_birth_of_a_connection_closes_it() -> None:
    async with open_world() as world, trio.open_nursery() as nursery:
        at_birth(
            world,
            run_connection.__qualname__,
            lambda _: nursery.start_soon(stop, world.endpoint, "shutdown"),
        )
        async with await Client.dial(world.port) as client:
            assert isinstance(await client.receive(), Gone)
        await until(lambda: not is_alive(world.endpoint), "the endpoint to end")


async def test_a_polling_client_that_is_killed_at_birth_is_answered_503() -> None:
    async with open_world(Options(longpoll=LongPoll(window=0.3))) as world:
        before = await world.snapshot()
        at_birth(world, run_polled_client.__qualname__, lambda pid: exit_signal(pid, "kill"))
        async with await Client.dial(world.port) as client:
            target = "/socket/longpoll?vsn=2.0.0&who=ada"
            await client.send(f"GET {target} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            status, _, _ = await client.response()
            assert status == 503
        await world.settle(before)


async def test_a_channel_that_is_killed_at_birth_is_a_join_that_crashed() -> None:
    async with open_world() as world, await world.connect() as client:
        before = await world.snapshot()
        at_birth(world, "ChannelServer", lambda pid: exit_signal(pid, "kill"))
        await client.say("1", "1", ROOM, "phx_join", {})
        crashed = {"status": "error", "response": {"reason": "join crashed"}}
        assert await client.receive() == ["1", "1", ROOM, "phx_reply", crashed]
        await world.settle(before)
        assert world.left == []
        await client.join(ROOM, join_ref="2")
        client.reset()
        await world.until_left("ada")
        assert world.reasons_of("ada") == [Shutdown("peer_closed")]
