"""Clients that stop reading while their room is busy: cut off at their bound, unnoticed."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from statistics import median, quantiles

import pytest
import trio

from exeunt import Shutdown, is_alive
from exeunt.channels.events import SlowConsumerDropped
from exeunt.channels.stream import ByteStream

from .client import Client, Closed, Gone
from .lines import SMALL, go_on, open_line, pause
from .scene import BIG, Bystander
from .world import ROOM, Options, Witness, World, open_world, until

BOUND = 256 * 1024


async def stream_of(world: World, who: str) -> ByteStream:
    """Return the stream of somebody who has joined, to look at its out-queue."""
    found: list[ByteStream] = []

    async def look(channel: Witness) -> None:
        assert channel._server is not None
        found.append(channel._server.session.transport.stream)  # type: ignore[attr-defined]

    world.deed = look
    world.tell(who)
    await until(lambda: bool(found), "the stream")
    return found[0]


class BusyRoom:
    """A room in which much is said, one message at a time, with one who hears all of it."""

    def __init__(self, world: World, reader: Bystander) -> None:
        self.reader = reader
        self.said = 0
        self._world = world

    async def say(self) -> None:
        """Say something, and wait until it was heard."""
        self.said += 1
        talk = {"n": self.said, "at": trio.current_time(), "text": BIG}
        self._world.hub.broadcast(ROOM, "tick", talk)
        while self.reader.last != self.said and self.reader.is_there:
            await trio.lowlevel.checkpoint()

    def delays(self) -> list[float]:
        """Return how long the messages have taken since this was asked last."""
        delays, self.reader.delays = self.reader.delays, []
        self.reader.came.clear()
        return delays


@asynccontextmanager
async def open_room(world: World) -> AsyncGenerator[BusyRoom]:
    """Have somebody sit in the room and read."""
    async with (
        trio.open_nursery() as nursery,
        await Client.connect(world.port, path="/calm/websocket", who="reader") as client,
    ):
        reader = Bystander(client, "reader")
        nursery.start_soon(reader.read)
        await client.say("1", "1", ROOM, "phx_join", {})
        await until(lambda: reader.has_joined, "the reader to join")
        room = BusyRoom(world, reader)
        yield room
        assert reader.troubles == []
        assert world.reasons_of("reader") == []
        nursery.cancel_scope.cancel()


@pytest.mark.slow
async def test_who_does_not_read_is_cut_off_at_the_bound_and_nobody_else_waits() -> None:
    """Ten clients with a window of zero: their queues, the memory, and the time of the others."""
    number = 10
    names = [f"user{one}" for one in range(number)]
    async with open_world(Options(max_queued=BOUND)) as world, open_room(world) as room:
        dropped: list[SlowConsumerDropped] = []
        world.node.events.subscribe(dropped.append, SlowConsumerDropped)
        before = await world.snapshot()
        with trio.fail_after(10):
            for _ in range(200):
                await room.say()
        alone = room.delays()
        clients = [await world.join(who, buffer=SMALL) for who in names]
        streams = {who: await stream_of(world, who) for who in names}
        world.deed = None
        queued = {who: [0] for who in names}
        with trio.fail_after(20):
            while len(dropped) < number:
                await room.say()
                for who in names:
                    if streams[who].state == "open":
                        queued[who].append(streams[who].queued_bytes)
        together = room.delays()

        # At the bound: never above it, and not before the next message would have been.
        for waiting in queued.values():
            assert max(waiting) <= BOUND
            assert waiting[-1] + 1.1 * len(BIG) > BOUND
            # And nothing was taken any more: the window was zero.
            assert sorted(waiting) == waiting
        assert {one.limit for one in dropped} == {BOUND}

        # The others hear everything as soon as before.
        assert median(together) < median(alone) + 0.003
        assert quantiles(together, n=20)[-1] < quantiles(alone, n=20)[-1] + 0.05

        await until(lambda: len(world.left) == number, "all of them to leave")
        assert sorted(one.who for one in world.left) == sorted(names)
        assert {one.reason for one in world.left} == {Shutdown("slow_consumer")}
        for client in clients:
            client.close()
        streams.clear()
        await world.settle(before)


@pytest.mark.slow
async def test_the_memory_for_those_who_do_not_read_is_that_of_one() -> None:
    """A message waits as the same bytes in all queues; and all goes with the last of them."""
    number = 10
    async with open_world(Options(max_queued=BOUND)) as world, open_room(world) as room:
        await room.say()
        clients = [await world.join(f"user{one}", buffer=SMALL) for one in range(number)]
        gc.collect()
        tracemalloc.start()
        try:
            base, _ = tracemalloc.get_traced_memory()
            with trio.fail_after(30):
                while len(world.left) < number:
                    await room.say()
            _, peak = tracemalloc.get_traced_memory()
            world.forget()
            room.delays()
            for client in clients:
                client.close()
            await until(lambda: len(world.served()) == 2, "their connections to end")
            gc.collect()
            after, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        # Ten bounds would be 2.5 MB.
        assert peak - base < 2 * BOUND + 256 * 1024
        assert after - base < 64 * 1024


@pytest.mark.slow
async def test_who_reads_less_than_is_said_is_cut_off_as_well() -> None:
    """A client that takes a little now and then is no better off than its queue."""
    taken = 0

    async def trickle(client: Client) -> None:
        nonlocal taken
        try:
            while data := await client.sock.recv(512):
                taken += len(data)
                await trio.sleep(0.002)
        except OSError:
            pass

    async with (
        open_world(Options(max_queued=BOUND)) as world,
        open_room(world) as room,
        await world.join(buffer=SMALL) as client,
        trio.open_nursery() as nursery,
    ):
        stream = await stream_of(world, "ada")
        nursery.start_soon(trickle, client)
        most = 0
        with trio.fail_after(20):
            while not world.left:
                await room.say()
                most = max(most, stream.queued_bytes)
        assert most <= BOUND
        assert taken > 512
        assert world.reasons_of("ada") == [Shutdown("slow_consumer")]
        nursery.cancel_scope.cancel()


@pytest.mark.slow
async def test_a_program_that_is_stopped_is_cut_off_and_told_1013_when_it_goes_on() -> None:
    """A client whose machine sleeps: it reads nothing, and its kernel takes no more."""
    async with (
        open_world(Options(max_queued=BOUND, close_within=10)) as world,
        open_room(world) as room,
        open_line("program", world.port) as line,
    ):
        assert line.program is not None
        client = line.client
        await client.upgrade(who="ada")
        await client.join(ROOM)
        pause(line.program)
        with trio.fail_after(20):
            while not world.left:
                await room.say()
            # All have been told that it is gone, long before it is seen off.
            assert world.reasons_of("ada") == [Shutdown("slow_consumer")]
            go_on(line.program)
            # Whole messages only, then why there are no more.
            numbers: list[int] = []
            while isinstance(one := await client.receive(), list):
                assert one[3] == "tick"
                numbers.append(one[4]["n"])
        assert numbers == list(range(1, len(numbers) + 1))
        assert len(numbers) < room.said
        assert one == Closed(1013)
        assert isinstance(await client.receive(), Gone)
        await until(lambda: not is_alive(world.connections["ada"]), "the connection to end")
