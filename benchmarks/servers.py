"""The servers of the channel benchmarks: `python -m benchmarks.servers exeunt|raw`.

Each listens on a port of its own, prints which, and then does what the lines of its standard input
say. It tells its own processor time: that of the load, on the other core, is not counted.
"""

from __future__ import annotations

import logging
import socket as stdlib_socket
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import trio
import trio_websocket

from benchmarks.harness import Countdown, clock
from benchmarks.memory import resident
from benchmarks.sockets import allow_many_files
from exeunt import Pid, Reason, Watcher, open_node
from exeunt.channels import Channel, Endpoint, JoinResult, Ok, PubSub, Reply, Socket
from exeunt.channels.wire import JSON_V2

NEWS: dict[str, Any] = {"seq": 12345, "body": "x" * 32}
ROOM = "room:all"

# What the leaves of a benchmark count down.
leaves = Countdown(0, lambda: None)


async def left(pid: Pid, reason: Reason, topic: str) -> None:
    """Note that a client has left: the callback of the watcher."""
    leaves.count()


class EchoChannel(Channel):
    """Answers each message with its payload."""

    async def join(self, topic: str, params: Any) -> JoinResult:
        """Let everybody in."""
        return Ok()

    async def handle_in(self, event: str, payload: Any) -> Reply:
        """Answer."""
        return Ok(payload)


class RoomChannel(EchoChannel):
    """A room whose members get the news."""

    sockets: list[stdlib_socket.socket] = []

    async def join(self, topic: str, params: Any) -> JoinResult:
        """Let everybody in, and keep the bare socket for the loop to compare with."""
        # Private names of exeunt: there is no public way to a client's bare socket.
        transport: Any = self._server.session.transport
        self.sockets.append(transport.stream._sock)
        return Ok()


class WatchedChannel(EchoChannel):
    """A room that is told who leaves."""

    async def join(self, topic: str, params: Any) -> JoinResult:
        """Let everybody in, and have the watcher look after them."""
        await Watcher.watch("leaves", self.pid, left, topic)
        return Ok()


class BenchmarkSocket(Socket):
    """Anybody may connect."""

    channels = {"echo:*": EchoChannel, "room:*": RoomChannel, "watched:*": WatchedChannel}


async def obey(orders: dict[str, Callable[[int], Awaitable[float]]]) -> None:
    """Carry out the orders that come on the standard input, and print what each returns."""
    while line := await trio.to_thread.run_sync(sys.stdin.readline):
        name, _, times = line.strip().partition(" ")
        print(await orders[name](int(times or 0)), flush=True)


async def tell_time(_: int) -> float:
    """Return the processor time of this process so far."""
    return clock()


async def tell_memory(_: int) -> float:
    """Return the resident memory of this process."""
    return resident()


async def expect_leaves(times: int) -> float:
    """Return the processor time that passes until so many clients have left."""
    done = trio.Event()
    leaves.left, leaves.on_zero = times, done.set
    started = clock()
    print("armed", flush=True)
    await done.wait()
    seconds = clock() - started
    await trio.sleep(0.2)
    if leaves.left:
        raise AssertionError(f"{-leaves.left} leaves too many")
    return seconds


async def serve_exeunt() -> None:
    """Serve channels."""
    hub = PubSub()
    async with open_node():
        await Watcher.named("leaves").start_link()
        endpoint = await Endpoint.start_link({"/socket": BenchmarkSocket}, port=0, hub=hub)
        url = await Endpoint.url(endpoint)

        async def broadcast(times: int) -> float:
            started = clock()
            for _ in range(times):
                hub.broadcast(ROOM, "news", NEWS)
            return clock() - started

        async def write(times: int) -> float:
            frame = JSON_V2.encode_broadcast(ROOM, "news", NEWS).frame
            sockets = RoomChannel.sockets
            started = clock()
            for _ in range(times):
                for sock in sockets:
                    sock.send(frame)
            return clock() - started

        print(url.rpartition(":")[2], flush=True)
        await obey(
            {
                "time": tell_time,
                "memory": tell_memory,
                "broadcast": broadcast,
                "write": write,
                "leaves": expect_leaves,
            }
        )


async def serve_raw() -> None:
    """Serve an echo on trio-websocket, and nothing else."""

    async def handle(request: trio_websocket.WebSocketRequest) -> None:
        connection = await request.accept()
        try:
            while True:
                await connection.send_message(await connection.get_message())
        except trio_websocket.ConnectionClosed:
            leaves.count()

    async with trio.open_nursery() as nursery:
        server: Any = await nursery.start(
            trio_websocket.serve_websocket, handle, "127.0.0.1", 0, None
        )
        print(server.port, flush=True)
        await obey({"time": tell_time, "memory": tell_memory, "leaves": expect_leaves})
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    allow_many_files()
    logging.getLogger("exeunt").setLevel(logging.CRITICAL)
    trio.run({"exeunt": serve_exeunt, "raw": serve_raw}[sys.argv[1]])
