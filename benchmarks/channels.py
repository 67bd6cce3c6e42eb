"""Channels over real sockets: what exeunt adds to a bare WebSocket, and to bare bytes.

The servers run in interpreters of their own, and the load here, on loopback: all servers on one
core and the load on another, where there are two. What counts is the servers' processor time;
latencies are told by the clock on the wall. Every server gets the same load by turns in one run.
*Bare* is trio-websocket, without JSON, names or processes; beside it stand, where they are
installed, a room on Starlette's WebSockets and python-socketio, both under uvicorn.

`benchmarks.servers`, `benchmarks.rival_servers` and `benchmarks.sockets` are the two sides.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from typing import Final, TypeAlias

from benchmarks.dialects import DIALECTS
from benchmarks.harness import Benchmark, Line, Rounds, Settings, Work, by_turns
from benchmarks.interpreters import Interpreter, cores
from benchmarks.meters import allow_many_files, now
from benchmarks.rivals import is_missing
from benchmarks.sockets import Crowd, client_frame, connect

RIVALS: Final = ("python-socketio", "Starlette")
SIZES: Final = (10, 100, 1000)
BARE: Final = ": against bare trio-websocket"


class Server:
    """A server that runs, and its clients."""

    def __init__(self, kind: str, core: int | None = None) -> None:
        module = "rival_servers" if kind in RIVALS else "servers"
        self.dialect = DIALECTS[kind]
        self.interpreter = Interpreter(module, kind, core=core)
        self.port = int(self.interpreter.answer())
        # Of each answer or broadcast: the seconds on the wall until a client had it.
        self.latencies: list[float] = []

    def connect(self, topics: Sequence[str], latencies: list[float] | None = None) -> Crowd:
        """Connect a client for each topic, and have it join."""
        return Crowd(connect(self.port, map(self.dialect.visit, topics), latencies))

    def time(self) -> float:
        """Return its processor time so far."""
        return self.interpreter.ask("time")

    def wait_until_idle(self) -> None:
        """Wait until it has nothing to do any more."""
        before = self.time()
        while True:
            time.sleep(0.1)
            now = self.time()
            if now - before < 0.01:
                return
            before = now


@contextmanager
def servers(*kinds: str) -> Generator[dict[str, Server]]:
    """Run servers for as long as the block."""
    allow_many_files()
    mine, theirs = cores()
    running: dict[str, Server] = {}
    try:
        if mine is not None:
            os.sched_setaffinity(0, {mine})
        for kind in kinds:
            running[kind] = Server(kind, theirs)
        yield running
    finally:
        for server in running.values():
            server.interpreter.end()
        if mine is not None and theirs is not None:
            os.sched_setaffinity(0, {mine, theirs})


def contenders() -> list[str]:
    """Return exeunt, the bare server, and the rivals that are installed."""
    return ["exeunt", "bare", *(rival for rival in RIVALS if not is_missing(rival))]


def numbered(topic: str, count: int) -> list[str]:
    """Return so many topics, all of one length."""
    return [f"{topic}:{number:05}" for number in range(count)]


def percentile(latencies: Sequence[float], percent: int) -> float:
    """Return what so many percent of the latencies do not exceed, in milliseconds."""
    in_order = sorted(latencies)
    return in_order[min(len(in_order) - 1, len(in_order) * percent // 100)] * 1000


Measure: TypeAlias = Callable[[Rounds, str, str], Line]


def shown(
    name: str, rounds: Rounds, running: dict[str, Server], measure: Measure, bare: str = ""
) -> Iterator[Line]:
    """Yield the lines of something that all servers have done: ours against each of the others'.

    First the processor time, then the latencies, of which half and 99 of 100 are no longer. The
    name of the line against the bare server ends in `bare`.
    """
    for kind in ("bare", *RIVALS):
        line_name = f"{name}{bare}" if kind == "bare" else f"{name}: against {kind}"
        if kind in running:
            yield measure(rounds, line_name, kind)
        else:
            yield Line(line_name, None, "", note=is_missing(kind))
    for percent in (50, 99):
        mine = percentile(running["exeunt"].latencies, percent)
        for kind, server in running.items():
            if kind == "exeunt":
                continue
            against = "" if kind == "bare" else f", against {kind}"
            its = percentile(server.latencies, percent)
            yield Line(f"{name}: latency p{percent}{against}", mine, "ms", its)


def rate(rounds: Rounds, name: str, other: str) -> Line:
    """Measure how many a second of processor time."""
    return rounds.rate(name, raw=other)


def cost(rounds: Rounds, name: str, other: str) -> Line:
    """Measure the microseconds of processor time of each."""
    return rounds.cost(name, raw=other)


def echoes(settings: Settings) -> Iterator[Line]:
    """Measure an echo with 100 sockets, one message under way on each."""
    topics = numbered("echo", 100)

    def echoing(server: Server) -> Work:
        crowd = server.connect(topics)
        frames = [client_frame(server.dialect.echo(topic)) for topic in topics]
        for sock, frame in zip(crowd.sockets, frames, strict=True):
            sock.send(frame)
        size = crowd.measure()

        def work(times: int) -> float:
            started = server.time()
            crowd.echo(frames, size, times, server.latencies)
            return server.time() - started

        return work

    with servers(*contenders()) as running:
        works = {kind: echoing(server) for kind, server in running.items()}
        rounds = by_turns(works, settings.times(4000), settings.rounds)
        yield from shown("echo, 100 sockets", rounds, running, rate)


def broadcasts(settings: Settings) -> Iterator[Line]:
    """Measure a broadcast by the server itself; the loop writes to the very same sockets."""
    with servers("exeunt") as running:
        server = running["exeunt"]
        for count in SIZES:
            yield _broadcast(settings, server, count)


def _broadcast(settings: Settings, server: Server, count: int) -> Line:
    topic = f"room:{count}"
    crowd = server.connect([topic] * count)
    server.interpreter.ask(f"broadcast {topic} 1")
    size = crowd.measure()

    def telling(order: str) -> Work:
        def work(times: int) -> float:
            at_once = max(1, times // count)
            server.interpreter.tell(f"{order} {topic} {at_once}")
            crowd.take(size * at_once)
            return float(server.interpreter.answer()) * times / (count * at_once)

        return work

    works = {"exeunt": telling("broadcast"), "raw": telling("write")}
    rounds = by_turns(works, settings.times(20) * 1000, settings.rounds)
    crowd.reset()
    return rounds.rate(f"broadcast to {count:,} sockets")


def fan_out(settings: Settings) -> Iterator[Line]:
    """Measure what one client shouts, and all members of its room are sent."""
    with servers(*contenders()) as running:
        for count in SIZES:
            topics = [f"room:of {count}"] * count
            crowds = {kind: server.connect(topics) for kind, server in running.items()}
            works = {kind: _shouting(running[kind], crowd) for kind, crowd in crowds.items()}
            rounds = by_turns(works, settings.times(8) * 1000, settings.rounds)
            for crowd in crowds.values():
                crowd.reset()
            yield from shown(f"fan-out to {count:,} sockets", rounds, running, rate)


def _shouting(server: Server, crowd: Crowd) -> Work:
    count = len(crowd.sockets)
    server.latencies.clear()
    frame = client_frame(server.dialect.shout(f"room:of {count}"))
    crowd.sockets[0].send(frame)
    size = crowd.measure()

    def work(times: int) -> float:
        shouts = max(1, times // count)
        started = server.time()
        crowd.shout(frame, size, shouts, server.latencies)
        return (server.time() - started) * times / (count * shouts)

    return work


def joins(settings: Settings) -> Iterator[Line]:
    """Measure clients that connect and join, fifty at a time; bare ones connect and get an echo."""

    def joining(server: Server) -> Work:
        def work(times: int) -> float:
            started = server.time()
            crowd = server.connect(numbered("echo", times), server.latencies)
            seconds = server.time() - started
            crowd.reset()
            # What their end costs is not to be in the next turn.
            server.wait_until_idle()
            return seconds

        return work

    with servers(*contenders()) as running:
        works = {kind: joining(server) for kind, server in running.items()}
        rounds = by_turns(works, settings.times(400), min(7, settings.rounds))
        yield from shown("connect and join", rounds, running, rate)


def idle(settings: Settings) -> Iterator[Line]:
    """Measure the memory of a client with one channel joined that does nothing."""
    count = settings.times(2000)
    taken: dict[str, float] = {}
    for kind in contenders():
        with servers(kind) as running:
            server = running[kind]
            first = server.connect(numbered("echo", 100))
            before = server.interpreter.ask("memory")
            crowd = server.connect(numbered("echo", count))
            taken[kind] = (server.interpreter.ask("memory") - before) / count / 1000
            crowd.reset()
            first.reset()
    name = "memory of an idle client"
    yield Line(name, taken["exeunt"], "kB")
    yield Line(f"{name}{BARE}", taken["exeunt"], "kB", taken["bare"])
    for rival in RIVALS:
        against = f"{name}: against {rival}"
        if rival in taken:
            yield Line(against, taken["exeunt"], "kB", taken[rival])
        else:
            yield Line(against, None, "kB", note=is_missing(rival))


def leaves(settings: Settings) -> Iterator[Line]:
    """Measure what it takes until the callbacks of 1,000 clients have run, all reset at once."""
    count = 1000

    def leaving(server: Server) -> Work:
        def work(times: int) -> float:
            crowd = server.connect(["watched:all"] * times)
            server.interpreter.tell(f"leaves {times}")
            if server.interpreter.answer() != "armed":
                raise RuntimeError("the server does not wait for the leaves")
            started = now()
            crowd.reset()
            report = json.loads(server.interpreter.answer())
            server.latencies += [left - started for left in report["times"]]
            return float(report["seconds"])

        return work

    with servers(*contenders()) as running:
        works = {kind: leaving(server) for kind, server in running.items()}
        rounds = by_turns(works, count, min(7, settings.rounds))
        name = f"{count:,} sockets reset at once"
        line = rounds.cost(name, raw="bare")
        yield Line(name, line.value, line.unit)
        yield from shown(name, rounds, running, cost, bare=BARE)


BENCHMARKS = [
    Benchmark("join", "clients that connect and join", joins),
    Benchmark("echo", "an echo through a channel, 100 sockets", echoes),
    Benchmark("broadcast", "a broadcast to 10, 100 and 1,000 sockets", broadcasts),
    Benchmark("fan-out", "a client's message to a room of 10, 100 and 1,000", fan_out),
    Benchmark("leave", "1,000 sockets reset at once", leaves),
    Benchmark("idle", "resident memory of a client with one channel joined", idle),
]
