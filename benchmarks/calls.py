"""Requests and their answers: one client, and a hundred."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from functools import partial
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
from benchmarks.raw import RawMailbox, ask, serve
from benchmarks.rivals import is_missing, module
from exeunt import GenServer, on_call, open_node, spawn


class Echo(GenServer):
    """Answers each call with what was asked."""

    @on_call
    async def echo(self, number: int) -> int:
        """Return the number."""
        return number


async def handle(number: int) -> int:
    """Do in the other contenders what `Echo.echo` does."""
    return number


async def exeunt_calls(clients: int, times: int) -> float:
    """Processes that call a GenServer."""
    async with open_node():
        server = await Echo.start()
        done = trio.Event()
        waiting = Countdown(clients, done.set)

        async def client() -> None:
            for number in range(times // clients):
                assert await Echo.echo(server, number) == number
            waiting.count()

        started = clock()
        for _ in range(clients):
            spawn(client)
        await done.wait()
        return clock() - started
    raise AssertionError("open_node does not swallow exceptions")


async def raw_calls(clients: int, times: int) -> float:
    """Tasks that put a request into a deque, wake the server's task, and park."""
    async with trio.open_nursery() as nursery:
        mailbox = RawMailbox()
        nursery.start_soon(serve, mailbox, handle)
        done = trio.Event()
        waiting = Countdown(clients, done.set)

        async def client() -> None:
            for number in range(times // clients):
                assert await ask(mailbox, number) == number
            waiting.count()

        await trio.lowlevel.checkpoint()
        started = clock()
        for _ in range(clients):
            nursery.start_soon(client)
        await done.wait()
        seconds = clock() - started
        nursery.cancel_scope.cancel()
    return seconds


async def channel_calls(clients: int, times: int) -> float:
    """Tasks that send a request down a memory channel, and have one each for the answers."""
    async with trio.open_nursery() as nursery:
        to_server, requests = trio.open_memory_channel[tuple[Any, int]](100)

        async def server() -> None:
            async for answer, number in requests:
                answer.send_nowait(await handle(number))

        nursery.start_soon(server)
        done = trio.Event()
        waiting = Countdown(clients, done.set)

        async def client() -> None:
            to_me, answers = trio.open_memory_channel[int](1)
            for number in range(times // clients):
                await to_server.send((to_me, number))
                assert await answers.receive() == number
            waiting.count()

        await trio.lowlevel.checkpoint()
        started = clock()
        for _ in range(clients):
            nursery.start_soon(client)
        await done.wait()
        seconds = clock() - started
        nursery.cancel_scope.cancel()
    return seconds


async def _asyncio_calls(clients: int, times: int) -> float:
    requests: asyncio.Queue[tuple[asyncio.Future[int], int]] = asyncio.Queue()
    loop = asyncio.get_running_loop()

    async def server() -> None:
        while True:
            answer, number = await requests.get()
            answer.set_result(await handle(number))

    async def client() -> None:
        for number in range(times // clients):
            answer = loop.create_future()
            requests.put_nowait((answer, number))
            assert await answer == number

    running = asyncio.create_task(server())
    await asyncio.sleep(0)
    started = clock()
    await asyncio.gather(*(client() for _ in range(clients)))
    seconds = clock() - started
    running.cancel()
    return seconds


def asyncio_calls(clients: int, times: int) -> float:
    """Tasks of asyncio that put a request and a future into a queue."""
    return asyncio.run(_asyncio_calls(clients, times))


def pykka_calls(clients: int, times: int) -> float:
    """Threads that ask an actor in a thread."""
    actor = module("pykka").ThreadingActor

    class EchoActor(actor):  # type: ignore[misc,valid-type]
        def on_receive(self, message: int) -> int:
            return message

    server = EchoActor.start()

    def client() -> None:
        for number in range(times // clients):
            assert server.ask(number) == number

    threads = [threading.Thread(target=client) for _ in range(clients)]
    started = clock()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds = clock() - started
    server.stop()
    return seconds


def run(settings: Settings, clients: int) -> Iterator[Line]:
    """Measure calls by so many clients."""
    name = f"call, {clients} client{'s' if clients > 1 else ''}"
    contenders: dict[str, Work] = {
        "exeunt": on_trio(partial(exeunt_calls, clients)),
        "raw": on_trio(partial(raw_calls, clients)),
        "memory channels": on_trio(partial(channel_calls, clients)),
        "asyncio queue": partial(asyncio_calls, clients),
    }
    rounds = by_turns(contenders, settings.times(4000), settings.rounds)
    yield rounds.rate(name)
    yield rounds.rate(f"{name}: against memory channels", raw="memory channels")
    yield rounds.rate(f"{name}: against an asyncio queue", raw="asyncio queue")
    against_pykka = f"{name}: against pykka"
    if is_missing("pykka"):
        yield Line(against_pykka, None, "/s", note=is_missing("pykka"))
        return
    pair: dict[str, Work] = {
        "exeunt": contenders["exeunt"],
        "pykka": partial(pykka_calls, clients),
    }
    rounds = by_turns(pair, settings.times(2000), min(5, settings.rounds))
    yield rounds.rate(against_pykka, raw="pykka")


BENCHMARKS = [
    Benchmark("call-1", "calls of a GenServer, one client", partial(run, clients=1)),
    Benchmark("call-100", "calls of a GenServer, 100 clients", partial(run, clients=100)),
]
