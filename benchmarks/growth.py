"""What the same thing costs in a larger crowd: it must not cost more.

Three nodes, each in an interpreter of its own, hold 100, 10,000 and 100,000 processes that wait for
a message. Each of these has a name, a link with the one before it, and a timer that will send to
it. Then the three do the same work by turns, beside their crowd.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Awaitable, Callable, Iterator

import trio

from benchmarks.calls import Echo
from benchmarks.harness import (
    Benchmark,
    Countdown,
    Line,
    Settings,
    Work,
    by_turns,
    clock,
    settled,
)
from benchmarks.interpreters import Interpreter
from exeunt import (
    Node,
    Pid,
    cancel_timer,
    link,
    open_node,
    receive,
    register,
    self_pid,
    send,
    send_after,
    spawn,
)

CROWDS = (100, 10_000, 100_000)
BATCH = 100
AN_HOUR = 3600.0


async def _member(before: Pid | None) -> None:
    if before is not None:
        link(before)
    await receive()


async def gather(count: int) -> None:
    """Start a crowd: processes with names, links and timers."""
    before: Pid | None = None
    for number in range(count):
        pid = spawn(_member, before)
        register(f"member {number}", pid)
        send_after(AN_HOUR, pid, "late")
        before = pid
        if number % BATCH == 0:
            await settled()
    await settled()


async def calls(node: Node, times: int) -> float:
    """Call a GenServer."""
    server = await Echo.start()
    started = clock()
    for number in range(times):
        assert await Echo.echo(server, number) == number
    return clock() - started


async def spawns(node: Node, times: int) -> float:
    """Spawn processes that return at once."""
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


class Crash(Exception):
    """What a process is told to die of."""


async def _crash_when_told() -> None:
    await receive()
    raise Crash


async def crashes(node: Node, times: int) -> float:
    """Crash one of a linked pair, and wait until the other has died of it."""
    others = len(node.processes)
    doomed = [spawn(_crash_when_told) for _ in range(times)]
    for pid in doomed:
        spawn(_member, pid)
    await settled()
    started = clock()
    for pid in doomed:
        send(pid, "now")
    while len(node.processes) > others:
        await trio.lowlevel.checkpoint()
    return clock() - started


async def timers(node: Node, times: int) -> float:
    """Set a timer and cancel it."""
    me = self_pid()
    started = clock()
    for _ in range(times):
        cancel_timer(send_after(60.0, me, "never"))
    return clock() - started


WORKS: dict[str, tuple[Callable[[Node, int], Awaitable[float]], int]] = {
    "call": (calls, 2000),
    "spawn and exit": (spawns, 1000),
    "crash of a linked pair": (crashes, 500),
    "timer set and cancelled": (timers, 2000),
}


async def serve(count: int) -> None:
    """Gather a crowd, then do what the lines of the standard input say."""
    async with open_node() as node:
        await gather(count)
        print("ready", flush=True)
        # Nothing else is to happen meanwhile, so this may well block.
        while line := sys.stdin.readline():
            name, _, times = line.strip().rpartition(" ")
            work, _ = WORKS[name]
            print(await work(node, int(times)), flush=True)


def working(crowd: Interpreter, name: str) -> Work:
    """Return work that is done in an interpreter, beside its crowd."""

    def work(times: int) -> float:
        at_once = max(BATCH, times)
        return crowd.ask(f"{name} {at_once}") * times / at_once

    return work


def run(settings: Settings) -> Iterator[Line]:
    """Measure four things in three crowds."""
    crowds = {f"{count:,}": Interpreter("growth", count) for count in CROWDS}
    few, *more = crowds
    try:
        for crowd in crowds.values():
            crowd.answer()
        for name, (_, times) in WORKS.items():
            contenders = {count: working(crowd, name) for count, crowd in crowds.items()}
            rounds = by_turns(contenders, settings.times(times), settings.rounds)
            for count in more:
                line = rounds.cost(f"{name} among {count}", ours=count, raw=few)
                if count == more[0]:
                    yield Line(f"{name} among {few}", line.raw, line.unit)
                yield line
    finally:
        for crowd in crowds.values():
            crowd.end()


BENCHMARKS = [
    Benchmark("growth", "the same among 100, 10,000 and 100,000 processes, names, timers", run)
]

if __name__ == "__main__":
    logging.getLogger("exeunt").setLevel(logging.CRITICAL)
    trio.run(serve, int(sys.argv[1]))
