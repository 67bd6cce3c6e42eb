"""What the observer costs a node while nobody watches: the same work with it and without."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from functools import partial

from benchmarks.calls import Echo
from benchmarks.harness import Benchmark, Line, Settings, Work, by_turns, clock, on_trio
from benchmarks.supervision import Child
from exeunt import Pid, Supervisor, exit, open_node, receive, self_pid, spawn, wait_exit
from exeunt.observer import observe


@asynccontextmanager
async def node(is_observed: bool) -> AsyncGenerator[None, None]:
    """Open a node, with an observer that nobody looks at, or without."""
    async with open_node() as opened:
        if is_observed:
            async with observe(opened, port=0):
                yield
        else:
            yield


async def calls(is_observed: bool, times: int) -> float:
    """Call a server."""
    async with node(is_observed):
        server = await Echo.start()
        started = clock()
        for number in range(times):
            await Echo.echo(server, number)
        return clock() - started
    raise AssertionError("open_node does not swallow exceptions")


async def spawns(is_observed: bool, times: int) -> float:
    """Spawn processes that return at once."""

    async def nothing() -> None:
        pass

    async with node(is_observed):
        started = clock()
        for _ in range(times):
            await wait_exit(spawn(nothing))
        return clock() - started
    raise AssertionError("open_node does not swallow exceptions")


async def restarts(is_observed: bool, times: int) -> float:
    """End a supervised child, again and again."""
    async with node(is_observed):
        children = [Child.child(self_pid())]
        await Supervisor.start_link(children, max_restarts=times + 1, max_seconds=1.0)
        child = await receive(Pid)
        started = clock()
        for _ in range(times):
            exit(child, "over")
            child = await receive(Pid)
        return clock() - started
    raise AssertionError("open_node does not swallow exceptions")


def run(settings: Settings) -> Iterator[Line]:
    """Measure with and without an observer: the ratio is what it leaves."""
    for name, work, times in (
        ("calls", calls, 4000),
        ("spawn, run, exit", spawns, 2000),
        ("restarts", restarts, 1000),
    ):
        contenders: dict[str, Work] = {
            "exeunt": on_trio(partial(work, True)),
            "raw": on_trio(partial(work, False)),
        }
        rounds = by_turns(contenders, settings.times(times), settings.rounds)
        yield rounds.rate(f"with an idle observer, beside none: {name}")


BENCHMARKS = [Benchmark("observer", "what an observer costs that nobody looks at", run)]
"""Its `raw` is the same work on a node without an observer."""
