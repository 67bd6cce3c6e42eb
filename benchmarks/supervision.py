"""Supervisors and registries: restarts, a whole tree up and down, and a message to a thousand."""

from __future__ import annotations

import gc
from collections.abc import Iterator, Sequence

import trio

from benchmarks.harness import (
    Benchmark,
    Countdown,
    Line,
    Rounds,
    Settings,
    Work,
    by_turns,
    clock,
    on_trio,
    settled,
)
from benchmarks.raw import RawMailbox, in_scope, park
from exeunt import (
    Entry,
    GenServer,
    Pid,
    Registry,
    Supervisor,
    exit,
    open_node,
    receive,
    self_pid,
    send,
    spawn,
    stop,
)

WIDTH = 100


class Child(GenServer):
    """A child that tells somebody when it is up."""

    async def init(self, whom: Pid | None = None) -> None:
        """Tell it."""
        if whom is not None:
            send(whom, self.pid)


async def exeunt_restarts(times: int) -> float:
    """A supervisor whose child is ended, and ended again as soon as it is up."""
    async with open_node():
        children = [Child.child(self_pid())]
        await Supervisor.start_link(children, max_restarts=times + 1, max_seconds=1.0)
        child = await receive(Pid)
        started = clock()
        for _ in range(times):
            exit(child, "over")
            child = await receive(Pid)
        return clock() - started
    raise AssertionError("open_node does not swallow exceptions")


async def raw_restarts(times: int) -> float:
    """A task that starts another one anew when it was cancelled."""
    mailbox = RawMailbox()

    async def child(task_status: trio.TaskStatus[None]) -> None:
        with trio.CancelScope() as scope:
            mailbox.put(scope)
            task_status.started()
            await park()
        ended.put(None)

    ended = RawMailbox()

    async def supervise(nursery: trio.Nursery) -> None:
        while True:
            await nursery.start(child)
            await ended.get()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(supervise, nursery)
        scope = await mailbox.get()
        started = clock()
        for _ in range(times):
            scope.cancel()
            scope = await mailbox.get()
        seconds = clock() - started
        nursery.cancel_scope.cancel()
    return seconds


def restarts(settings: Settings) -> Iterator[Line]:
    """Measure restarts."""
    contenders: dict[str, Work] = {
        "exeunt": on_trio(exeunt_restarts),
        "raw": on_trio(raw_restarts),
    }
    rounds = by_turns(contenders, settings.times(1000), settings.rounds)
    yield rounds.rate("restarts by a supervisor")


async def exeunt_tree(times: int) -> tuple[float, float]:
    """A supervisor of supervisors of a hundred servers each; seconds to start and to stop it."""
    async with open_node():
        leaves = [Child.child().replace(id=number) for number in range(WIDTH)]
        branches = [Supervisor.child(leaves).replace(id=number) for number in range(times // WIDTH)]
        started = clock()
        root = await Supervisor.start_link(branches)
        up = clock()
        await stop(root)
        return up - started, clock() - up
    raise AssertionError("open_node does not swallow exceptions")


async def raw_tree(times: int) -> tuple[float, float]:
    """A nursery of nurseries of a hundred tasks each, started one after the other."""

    async def leaf(task_status: trio.TaskStatus[None]) -> None:
        with trio.CancelScope():
            task_status.started()
            await park()

    async def branch(task_status: trio.TaskStatus[None]) -> None:
        async with trio.open_nursery() as nursery:
            for _ in range(WIDTH):
                await nursery.start(leaf)
            task_status.started()

    started = up = clock()
    async with trio.open_nursery() as nursery:
        for _ in range(times // WIDTH):
            await nursery.start(branch)
        up = clock()
        nursery.cancel_scope.cancel()
    return up - started, clock() - up


def tree(settings: Settings) -> Iterator[Line]:
    """Measure a tree of ten thousand."""
    times = 2000 if settings.quick else 10_000

    contenders = {"exeunt": exeunt_tree, "raw": raw_tree}
    seconds: dict[str, list[float]] = {}
    for _ in range(min(5, settings.rounds)):
        for name, contender in contenders.items():
            gc.collect()
            up, down = trio.run(contender, times)
            seconds.setdefault(f"{name} started", []).append(up / times)
            seconds.setdefault(f"{name} stopped", []).append(down / times)
    rounds = Rounds(seconds)
    for what in ("started", "stopped"):
        yield rounds.cost(f"tree of {times:,} {what}", f"exeunt {what}", f"raw {what}")


async def raw_dispatch(times: int) -> float:
    """A list of a thousand deques, each with a parked task."""
    async with trio.open_nursery() as nursery:
        mailboxes = [RawMailbox() for _ in range(1000)]
        waiting = Countdown(0, lambda: None)

        async def member(mailbox: RawMailbox) -> None:
            while True:
                await mailbox.get()
                waiting.count()

        for mailbox in mailboxes:
            nursery.start_soon(in_scope, member, mailbox)
        await settled()
        started = clock()
        for _ in range(times // 1000):
            done = trio.Event()
            waiting.left, waiting.on_zero = 1000, done.set
            for mailbox in mailboxes:
                mailbox.put("news")
            await done.wait()
        seconds = clock() - started
        nursery.cancel_scope.cancel()
    return seconds


async def exeunt_dispatch(times: int) -> float:
    """A thousand processes under one key of a registry, each waiting for a message."""
    async with open_node():
        registry = Registry[str, None].named("members")
        await registry.start_link(keys="duplicate")
        waiting = Countdown(0, lambda: None)

        async def member() -> None:
            registry.register("topic", None)
            while True:
                await receive()
                waiting.count()

        def tell_all(entries: Sequence[Entry[str, None]]) -> None:
            for entry in entries:
                send(entry.pid, "news")

        for _ in range(1000):
            spawn(member)
        await settled()
        started = clock()
        for _ in range(times // 1000):
            done = trio.Event()
            waiting.left, waiting.on_zero = 1000, done.set
            registry.dispatch("topic", tell_all)
            await done.wait()
        return clock() - started
    raise AssertionError("open_node does not swallow exceptions")


def dispatch(settings: Settings) -> Iterator[Line]:
    """Measure a message to all who are registered under a key."""
    name = "registry dispatch to 1,000"
    contenders: dict[str, Work] = {
        "exeunt": on_trio(exeunt_dispatch),
        "raw": on_trio(raw_dispatch),
    }
    yield by_turns(contenders, settings.times(20) * 1000, settings.rounds).rate(name)


BENCHMARKS = [
    Benchmark("restarts", "restarts of a child by its supervisor", restarts),
    Benchmark("tree", "a tree of 10,000 servers, started and stopped", tree),
    Benchmark("registry", "a message to 1,000 registered under one key", dispatch),
]
