"""Channels over real sockets: what exeunt adds to a bare WebSocket, and to bare bytes.

The servers run in interpreters of their own, and the load here, on loopback; what counts is the
servers' processor time. `benchmarks.servers` and `benchmarks.sockets` are the two sides.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager

from benchmarks.harness import Benchmark, Line, Settings, Work, by_turns
from benchmarks.interpreters import Interpreter
from benchmarks.servers import NEWS, ROOM
from benchmarks.sockets import allow_many_files, client_frame, connect, echo, reset, take
from exeunt.channels.wire import JSON_V2

PATH = {"exeunt": "/socket/websocket?vsn=2.0.0", "raw": "/"}
BODY = '{"n":12345,"body":"' + "x" * 32 + '"}'


class Server:
    """A server that runs, and its clients."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.interpreter = Interpreter("servers", kind)
        self.port = int(self.interpreter.answer())

    def hello(self, topic: str) -> tuple[bytes, int]:
        """Return what a client says first, and the size of its answer: a join, where there is one.

        The bare server sends it back.
        """
        join = f'["1","1","{topic}","phx_join",{{}}]'
        if self.kind == "raw":
            return client_frame(join), 2 + len(join)
        return client_frame(join), len(JSON_V2.encode_reply("1", "1", topic, "ok", {}).frame)

    def connect(self, topics: list[str]) -> list[socket.socket]:
        """Connect a client for each topic, and have it join."""
        return connect(self.port, PATH[self.kind], [self.hello(topic) for topic in topics])

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
    running = {kind: Server(kind) for kind in kinds}
    try:
        yield running
    finally:
        for server in running.values():
            server.interpreter.end()


def numbered(topic: str, count: int) -> list[str]:
    """Return so many topics, all of one length."""
    return [f"{topic}:{number:05}" for number in range(count)]


def echoes(settings: Settings) -> Iterator[Line]:
    """Measure an echo with 100 sockets, one message under way on each."""
    topics = numbered("echo", 100)

    def echoing(server: Server) -> Work:
        clients: list[tuple[socket.socket, bytes, int]] = []
        for topic, sock in zip(topics, server.connect(topics), strict=True):
            message = f'["1","12345","{topic}","echo",{BODY}]'
            size = 2 + len(message)
            if server.kind == "exeunt":
                decoded = JSON_V2.decode(message)
                payload = decoded.payload
                size = len(JSON_V2.encode_reply("1", "12345", topic, "ok", payload).frame)
            clients.append((sock, client_frame(message), size))

        def work(times: int) -> float:
            started = server.time()
            echo(clients, times)
            return server.time() - started

        return work

    with servers("exeunt", "raw") as running:
        contenders = {kind: echoing(server) for kind, server in running.items()}
        yield by_turns(contenders, settings.times(4000), settings.rounds).rate("echo, 100 sockets")


def broadcasts(settings: Settings) -> Iterator[Line]:
    """Measure a broadcast to 1,000 sockets; the loop writes to the very same ones."""
    count = 1000
    size = len(JSON_V2.encode_broadcast(ROOM, "news", NEWS).frame)
    with servers("exeunt") as running:
        server = running["exeunt"]
        clients = server.connect([ROOM] * count)

        def telling(order: str) -> Work:
            def work(times: int) -> float:
                at_once = max(1, times // count)
                server.interpreter.tell(f"{order} {at_once}")
                take(clients, size * at_once)
                return float(server.interpreter.answer()) * times / (count * at_once)

            return work

        contenders = {"exeunt": telling("broadcast"), "raw": telling("write")}
        rounds = by_turns(contenders, settings.times(20) * count, settings.rounds)
        yield rounds.rate("broadcast to 1,000 sockets")


def joins(settings: Settings) -> Iterator[Line]:
    """Measure clients that connect and join, fifty at a time; bare ones connect and get an echo."""

    def joining(server: Server) -> Work:
        def work(times: int) -> float:
            started = server.time()
            clients = server.connect(numbered("echo", times))
            seconds = server.time() - started
            reset(clients)
            # What their end costs is not to be in the next turn.
            server.wait_until_idle()
            return seconds

        return work

    with servers("exeunt", "raw") as running:
        contenders = {kind: joining(server) for kind, server in running.items()}
        rounds = by_turns(contenders, settings.times(400), min(7, settings.rounds))
        yield rounds.rate("connect and join")


def idle(settings: Settings) -> Iterator[Line]:
    """Measure the memory of a client with one channel joined that does nothing."""
    count = settings.times(2000)
    taken: dict[str, float] = {}
    for kind in ("exeunt", "raw"):
        with servers(kind) as running:
            server = running[kind]
            clients = server.connect(numbered("echo", 100))
            before = server.interpreter.ask("memory")
            clients += server.connect(numbered("echo", count))
            taken[kind] = (server.interpreter.ask("memory") - before) / count / 1000
            reset(clients)
    name = "memory of an idle client"
    yield Line(name, taken["exeunt"], "kB")
    yield Line(f"{name}: against bare trio-websocket", taken["exeunt"], "kB", taken["raw"])


def leaves(settings: Settings) -> Iterator[Line]:
    """Measure what it takes until the callbacks of 1,000 clients have run, all reset at once."""
    count = 1000

    def leaving(server: Server) -> Work:
        def work(times: int) -> float:
            clients = server.connect(["watched:all"] * times)
            server.interpreter.tell(f"leaves {times}")
            if server.interpreter.answer() != "armed":
                raise RuntimeError("the server does not wait for the leaves")
            reset(clients)
            return float(server.interpreter.answer())

        return work

    with servers("exeunt", "raw") as running:
        contenders = {kind: leaving(server) for kind, server in running.items()}
        rounds = by_turns(contenders, count, min(7, settings.rounds))
        name = f"{count:,} sockets reset at once"
        line = rounds.cost(f"{name}: against bare trio-websocket")
        yield Line(name, line.value, line.unit)
        yield line


BENCHMARKS = [
    Benchmark("echo", "an echo through a channel, 100 sockets", echoes),
    Benchmark("broadcast", "a broadcast to 1,000 sockets", broadcasts),
    Benchmark("join", "clients that connect and join", joins),
    Benchmark("idle", "resident memory of a client with one channel joined", idle),
    Benchmark("leave", "1,000 sockets reset at once", leaves),
]
