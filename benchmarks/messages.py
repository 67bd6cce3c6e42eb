"""Messages that wait in a full mailbox: how fast they are taken out."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import trio

from benchmarks.harness import (
    Benchmark,
    Countdown,
    Line,
    Settings,
    Work,
    by_turns,
    clock,
    on_trio,
)
from benchmarks.raw import RawMailbox
from benchmarks.rivals import is_missing, module
from exeunt import GenServer, on_cast, open_node, receive, self_pid, send


async def exeunt_drain(times: int) -> float:
    """A process that receives what it has sent to itself."""
    async with open_node():
        me = self_pid()
        for number in range(times):
            send(me, number)
        started = clock()
        for number in range(times):
            assert await receive() == number
        return clock() - started
    raise AssertionError("open_node does not swallow exceptions")


async def raw_drain(times: int) -> float:
    """A task that takes what is in a deque, and would park if nothing were."""
    mailbox = RawMailbox()
    for number in range(times):
        mailbox.put(number)
    started = clock()
    for number in range(times):
        assert await mailbox.get() == number
    return clock() - started


async def channel_drain(times: int) -> float:
    """A memory channel without a bound."""
    to_me, mine = trio.open_memory_channel[int](float("inf"))
    for number in range(times):
        to_me.send_nowait(number)
    started = clock()
    for number in range(times):
        assert await mine.receive() == number
    return clock() - started


async def _asyncio_drain(times: int) -> float:
    queue: asyncio.Queue[int] = asyncio.Queue()
    for number in range(times):
        queue.put_nowait(number)
    started = clock()
    for number in range(times):
        assert await queue.get() == number
    return clock() - started


def asyncio_drain(times: int) -> float:
    """A queue of asyncio without a bound."""
    return asyncio.run(_asyncio_drain(times))


class Counter(GenServer):
    """Counts what it is cast."""

    async def init(self, waiting: Countdown) -> None:
        """Take what to count down."""
        self.waiting = waiting

    @on_cast
    async def add(self, number: int) -> None:
        """Count one."""
        self.waiting.count()


async def exeunt_casts(times: int) -> float:
    """A GenServer with so many casts in its mailbox."""
    async with open_node():
        done = trio.Event()
        server = await Counter.start(Countdown(times, done.set))
        for number in range(times):
            Counter.add(server, number)
        started = clock()
        await done.wait()
        return clock() - started
    raise AssertionError("open_node does not swallow exceptions")


async def raw_casts(times: int) -> float:
    """A task that awaits a handler for each message in its deque."""
    mailbox = RawMailbox()
    done = trio.Event()
    waiting = Countdown(times, done.set)

    async def handle(number: int) -> None:
        waiting.count()

    async def server() -> None:
        while True:
            await handle(await mailbox.get())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(server)
        await trio.lowlevel.checkpoint()
        for number in range(times):
            mailbox.put(number)
        started = clock()
        await done.wait()
        seconds = clock() - started
        nursery.cancel_scope.cancel()
    return seconds


def pykka_casts(times: int) -> float:
    """An actor in a thread with so many messages in its inbox."""
    actor = module("pykka").ThreadingActor
    gate, done = threading.Event(), threading.Event()
    waiting = Countdown(times, done.set)

    class CountingActor(actor):  # type: ignore[misc,valid-type]
        def on_receive(self, message: Any) -> None:
            if message is gate:
                gate.wait()
            else:
                waiting.count()

    server = CountingActor.start()
    server.tell(gate)
    for number in range(times):
        server.tell(number)
    started = clock()
    gate.set()
    done.wait()
    seconds = clock() - started
    server.stop()
    return seconds


def drain(settings: Settings) -> Iterator[Line]:
    """Measure plain messages."""
    contenders: dict[str, Work] = {
        "exeunt": on_trio(exeunt_drain),
        "raw": on_trio(raw_drain),
        "memory channels": on_trio(channel_drain),
        "asyncio queue": asyncio_drain,
    }
    rounds = by_turns(contenders, settings.times(20_000), settings.rounds)
    yield rounds.rate("messages drained")
    yield rounds.rate("messages drained: against memory channels", raw="memory channels")
    yield rounds.rate("messages drained: against an asyncio queue", raw="asyncio queue")


def casts(settings: Settings) -> Iterator[Line]:
    """Measure casts."""
    contenders: dict[str, Work] = {"exeunt": on_trio(exeunt_casts), "raw": on_trio(raw_casts)}
    missing = is_missing("pykka")
    if not missing:
        contenders["pykka"] = pykka_casts
    rounds = by_turns(contenders, settings.times(10_000), settings.rounds)
    yield rounds.rate("casts drained")
    against_pykka = "casts drained: against pykka"
    if missing:
        yield Line(against_pykka, None, "/s", note=missing)
    else:
        yield rounds.rate(against_pykka, raw="pykka")


BENCHMARKS = [
    Benchmark("drain", "plain messages taken from a full mailbox", drain),
    Benchmark("casts", "casts handled by a GenServer from a full mailbox", casts),
]
