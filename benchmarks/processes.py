"""The life of processes: spawning them, and how their end is told along links and monitors."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

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
    settled,
)
from benchmarks.raw import RawMailbox, in_scope, park
from benchmarks.rivals import is_missing, module
from exeunt import Node, Pid, exit, link, monitor, open_node, receive, spawn, wait_exit

BATCH = 100


async def exeunt_spawns(times: int) -> float:
    """Processes whose body returns at once, a hundred at a time."""
    async with open_node():
        started = clock()
        for _ in range(times // BATCH):
            done = trio.Event()
            waiting = Countdown(BATCH, done.set)

            async def body(waiting: Countdown = waiting) -> None:
                waiting.count()

            for _ in range(BATCH):
                spawn(body)
            await done.wait()
        return clock() - started
    raise AssertionError("open_node does not swallow exceptions")


async def raw_spawns(times: int) -> float:
    """Tasks with a cancel scope each, in one nursery."""
    async with trio.open_nursery() as nursery:
        started = clock()
        for _ in range(times // BATCH):
            done = trio.Event()
            waiting = Countdown(BATCH, done.set)

            async def body(waiting: Countdown = waiting) -> None:
                waiting.count()

            for _ in range(BATCH):
                nursery.start_soon(in_scope, body)
            await done.wait()
        return clock() - started
    raise AssertionError("this nursery does not swallow exceptions")


async def _asyncio_spawns(times: int) -> float:
    started = clock()
    for _ in range(times // BATCH):
        done = asyncio.Event()
        waiting = Countdown(BATCH, done.set)

        async def body(waiting: Countdown = waiting) -> None:
            waiting.count()

        async with asyncio.TaskGroup() as group:
            for _ in range(BATCH):
                group.create_task(body())
            await done.wait()
    return clock() - started


def asyncio_spawns(times: int) -> float:
    """Tasks of asyncio in a task group."""
    return asyncio.run(_asyncio_spawns(times))


def pykka_spawns(times: int) -> float:
    """Actors in threads, started and stopped."""
    actor = module("pykka").ThreadingActor

    class IdleActor(actor):  # type: ignore[misc,valid-type]
        pass

    started = clock()
    for _ in range(times // BATCH):
        actors = [IdleActor.start() for _ in range(BATCH)]
        for one in actors:
            one.stop()
    return clock() - started


def spawns(settings: Settings) -> Iterator[Line]:
    """Measure spawn, run, exit."""
    contenders: dict[str, Work] = {
        "exeunt": on_trio(exeunt_spawns),
        "raw": on_trio(raw_spawns),
        "asyncio tasks": asyncio_spawns,
    }
    rounds = by_turns(contenders, settings.times(4000), settings.rounds)
    yield rounds.rate("spawn, run, exit")
    yield rounds.rate("spawn, run, exit: against asyncio tasks", raw="asyncio tasks")
    against_pykka = "spawn, run, exit: against pykka"
    if is_missing("pykka"):
        yield Line(against_pykka, None, "/s", note=is_missing("pykka"))
        return
    pair: dict[str, Work] = {"exeunt": on_trio(exeunt_spawns), "pykka": pykka_spawns}
    rounds = by_turns(pair, settings.times(800), min(5, settings.rounds))
    yield rounds.rate(against_pykka, raw="pykka")


async def _idle() -> None:
    await receive()


async def until_gone(node: Node, others: int) -> None:
    """Wait until so many processes are left, the main one included."""
    while len(node.processes) > others:
        await trio.lowlevel.checkpoint()


async def exeunt_chain(times: int) -> float:
    """So many processes, each linked to the one before; the first is told to exit."""
    async with open_node():

        async def linked_to(other: Pid) -> None:
            link(other)
            await receive()

        first = last = spawn(_idle)
        for _ in range(times - 1):
            last = spawn(linked_to, last)
        await settled()
        started = clock()
        exit(first, "over")
        await wait_exit(last)
        return clock() - started
    raise AssertionError("open_node does not swallow exceptions")


async def raw_chain(times: int) -> float:
    """So many parked tasks with a scope each; each that ends cancels the next one's scope."""
    async with trio.open_nursery() as nursery:
        scopes = [trio.CancelScope() for _ in range(times)]
        done = trio.Event()

        async def linked(number: int) -> None:
            with scopes[number]:
                await park()
            if number + 1 < times:
                scopes[number + 1].cancel()
            else:
                done.set()

        for number in range(times):
            nursery.start_soon(linked, number)
        await settled()
        started = clock()
        scopes[0].cancel()
        await done.wait()
        return clock() - started
    raise AssertionError("this nursery does not swallow exceptions")


async def exeunt_star(times: int) -> float:
    """So many processes, all linked to one, which is told to exit."""
    async with open_node() as node:
        hub = spawn(_idle)

        async def linked_to_hub() -> None:
            link(hub)
            await receive()

        for _ in range(times):
            spawn(linked_to_hub)
        await settled()
        started = clock()
        exit(hub, "over")
        await until_gone(node, 1)
        return clock() - started
    raise AssertionError("open_node does not swallow exceptions")


async def raw_star(times: int) -> float:
    """So many parked tasks with a scope each, which are all cancelled at once."""
    seconds = 0.0
    async with trio.open_nursery() as outer:
        scopes = [trio.CancelScope() for _ in range(times)]

        async def linked(scope: trio.CancelScope) -> None:
            with scope:
                await park()

        async with trio.open_nursery() as nursery:
            for scope in scopes:
                nursery.start_soon(linked, scope)
            await settled()
            started = clock()
            for scope in scopes:
                scope.cancel()
        seconds = clock() - started
        outer.cancel_scope.cancel()
    return seconds


def links(settings: Settings) -> Iterator[Line]:
    """Measure exit signals."""
    times = 2000 if settings.quick else 10_000
    rounds = min(5, settings.rounds)
    chain: dict[str, Work] = {"exeunt": on_trio(exeunt_chain), "raw": on_trio(raw_chain)}
    yield by_turns(chain, times, rounds).cost("exit signal along a chain of links")
    star: dict[str, Work] = {"exeunt": on_trio(exeunt_star), "raw": on_trio(raw_star)}
    yield by_turns(star, times, rounds).cost("exit signal to all who are linked to one")


async def exeunt_monitors(times: int) -> float:
    """So many monitors of one process, which ends; their messages are taken."""
    async with open_node():
        target = spawn(_idle)
        for _ in range(times):
            monitor(target)
        await settled()
        started = clock()
        exit(target, "over")
        for _ in range(times):
            await receive()
        return clock() - started
    raise AssertionError("open_node does not swallow exceptions")


async def raw_monitors(times: int) -> float:
    """A task that puts so many messages into a deque when it is cancelled; they are taken."""
    mailbox = RawMailbox()
    scope = trio.CancelScope()
    async with trio.open_nursery() as nursery:

        async def target() -> None:
            with scope:
                await park()
            for number in range(times):
                mailbox.put(("down", number, "over"))

        nursery.start_soon(target)
        await settled()
        started = clock()
        scope.cancel()
        for _ in range(times):
            await mailbox.get()
        return clock() - started
    raise AssertionError("this nursery does not swallow exceptions")


def monitors(settings: Settings) -> Iterator[Line]:
    """Measure monitors."""
    contenders: dict[str, Work] = {
        "exeunt": on_trio(exeunt_monitors),
        "raw": on_trio(raw_monitors),
    }
    rounds = by_turns(contenders, settings.times(10_000), settings.rounds)
    yield rounds.rate("monitors fired")


BENCHMARKS = [
    Benchmark("spawn", "spawn, run, exit", spawns),
    Benchmark("links", "exit signals through links, one after the other and all at once", links),
    Benchmark("monitors", "monitors fired, and their messages taken", monitors),
]
