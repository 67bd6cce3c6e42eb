"""What an idle process takes.

Each contender has an interpreter of its own, in which nothing freed can be used again, and is
asked for its resident memory before and after. That counts what the allocator rounds up, which
tracing allocations would not, and with this many the rest does not matter.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable, Iterator

import trio

from benchmarks.harness import Benchmark, Line, Settings, settled
from benchmarks.interpreters import output_of
from benchmarks.meters import resident
from benchmarks.raw import in_scope, park
from benchmarks.rivals import is_missing, module
from exeunt import GenServer, open_node, receive, spawn

BATCH = 100


async def growth(count: int, start: Callable[[], Awaitable[object]]) -> float:
    """Start a hundred at a time; return the bytes that each takes, the first thousand not counted.

    `start` starts one; what it returns is kept.
    """
    kept: list[object] = []

    async def some(many: int) -> None:
        for _ in range(many // BATCH):
            kept.extend([await start() for _ in range(BATCH)])
            await settled()

    await some(1000)
    before = resident()
    await some(count)
    return (resident() - before) / count


async def _receive() -> None:
    await receive()


class Idle(GenServer):
    """A server that nobody asks anything."""


async def exeunt_processes(count: int) -> float:
    """Processes that wait for their first message."""
    async with open_node():

        async def start() -> None:
            spawn(_receive)

        return await growth(count, start)
    raise AssertionError("open_node does not swallow exceptions")


async def exeunt_servers(count: int) -> float:
    """GenServers without state."""
    async with open_node():
        return await growth(count, Idle.start)
    raise AssertionError("open_node does not swallow exceptions")


async def raw_tasks(count: int) -> float:
    """Parked tasks with a cancel scope each."""
    async with trio.open_nursery() as nursery:

        async def start() -> None:
            nursery.start_soon(in_scope, park)

        taken = await growth(count, start)
        nursery.cancel_scope.cancel()
    return taken


async def _asyncio_tasks(count: int) -> float:
    async def wait() -> None:
        await asyncio.get_running_loop().create_future()

    kept = [asyncio.create_task(wait()) for _ in range(1000)]
    await asyncio.sleep(0)
    before = resident()
    for _ in range(count // BATCH):
        kept += [asyncio.create_task(wait()) for _ in range(BATCH)]
        await asyncio.sleep(0)
    taken = (resident() - before) / count
    for task in kept:
        task.cancel()
    return taken


def pykka_actors(count: int) -> float:
    """Actors in threads."""
    actor = module("pykka").ThreadingActor

    class IdleActor(actor):  # type: ignore[misc,valid-type]
        pass

    kept = [IdleActor.start() for _ in range(100)]
    before = resident()
    kept += [IdleActor.start() for _ in range(count)]
    taken = (resident() - before) / count
    for one in kept:
        one.stop(block=False)
    return taken


CONTENDERS: dict[str, Callable[[int], float]] = {
    "process": lambda count: trio.run(exeunt_processes, count),
    "server": lambda count: trio.run(exeunt_servers, count),
    "raw": lambda count: trio.run(raw_tasks, count),
    "asyncio": lambda count: asyncio.run(_asyncio_tasks(count)),
    "pykka": pykka_actors,
}


def measured(contender: str, count: int) -> float:
    """Return the kB that one of a contender takes, as a fresh interpreter tells it."""
    return float(output_of("memory", contender, count)) / 1000


def run(settings: Settings) -> Iterator[Line]:
    """Measure idle processes."""
    count = settings.times(20_000)
    raw = measured("raw", count)
    process = measured("process", count)
    yield Line("memory of an idle process", process, "kB", raw)
    yield Line("memory of an idle GenServer", measured("server", count), "kB", raw)
    name = "memory of an idle process: against a task of asyncio"
    yield Line(name, process, "kB", measured("asyncio", count))
    name = "memory of an idle process: against an actor of pykka"
    if is_missing("pykka"):
        yield Line(name, None, "kB", note=is_missing("pykka"))
    else:
        yield Line(name, process, "kB", measured("pykka", 500))


BENCHMARKS = [Benchmark("memory", "resident memory of an idle process and an idle server", run)]

if __name__ == "__main__":
    print(CONTENDERS[sys.argv[1]](int(sys.argv[2])))
