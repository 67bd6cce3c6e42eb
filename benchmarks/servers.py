"""The servers of the channel benchmarks: `python -m benchmarks.servers exeunt|bare`.

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

from benchmarks.dialects import BODY
from benchmarks.meters import allow_many_files, clock, leaves, resident
from exeunt import Watcher, open_node
from exeunt.channels import Channel, Endpoint, JoinResult, Mount, Ok, PubSub, Reply, Socket
from exeunt.channels.wire import JSON_V2

NEWS: dict[str, Any] = {"seq": 12345, "body": BODY}


# -- exeunt ---------------------------------------------------------------------------------------


async def left(*_: object) -> None:
    """Note that a client has left: the callback of the watcher."""
    leaves.count()


class EchoChannel(Channel):
    """Answers each message with its payload."""

    async def join(self, topic: str, params: Any) -> JoinResult:
        """Let everybody in."""
        return Ok()

    async def handle_in(self, event: str, payload: Any) -> Reply | None:
        """Answer."""
        return Ok(payload)


class RoomChannel(EchoChannel):
    """A room whose members get the news, and what one of them shouts."""

    sockets: dict[str, list[stdlib_socket.socket]] = {}

    async def join(self, topic: str, params: Any) -> JoinResult:
        """Let everybody in, and keep the bare socket for the loop to compare with."""
        # Private names of exeunt: there is no public way to a client's bare socket.
        transport: Any = self._server.session.transport
        self.sockets.setdefault(topic, []).append(transport.stream._sock)
        return Ok()

    async def handle_in(self, event: str, payload: Any) -> Reply | None:
        """Pass on to everybody what was shouted."""
        self.broadcast("shout", payload)
        return None


class WatchedChannel(EchoChannel):
    """A room that is told who leaves."""

    async def join(self, topic: str, params: Any) -> JoinResult:
        """Let everybody in, and have the watcher look after them."""
        await Watcher.watch("leaves", self.pid, left, topic)
        return Ok()


class BenchmarkSocket(Socket):
    """Anybody may connect."""

    channels = {"echo:*": EchoChannel, "room:*": RoomChannel, "watched:*": WatchedChannel}


Order = Callable[[str], Awaitable[object]]


async def obey(orders: dict[str, Order]) -> None:
    """Carry out the orders that come on the standard input, and print what each returns."""
    while line := await trio.to_thread.run_sync(sys.stdin.readline):
        name, _, rest = line.strip().partition(" ")
        print(await orders[name](rest), flush=True)


async def tell_time(_: str) -> float:
    """Return the processor time of this process so far."""
    return clock()


async def tell_memory(_: str) -> float:
    """Return the resident memory of this process."""
    return resident()


async def expect_leaves(count: str) -> str:
    """Return the processor time that passes until so many clients have left, and when each did."""
    done = trio.Event()
    leaves.expect(int(count), done.set)
    print("armed", flush=True)
    await done.wait()
    seconds = leaves.seconds()
    await trio.sleep(0.2)
    return leaves.report(seconds)


ORDERS: dict[str, Order] = {
    "time": tell_time,
    "memory": tell_memory,
    "leaves": expect_leaves,
}


async def serve_exeunt() -> None:
    """Serve channels."""
    hub = PubSub()
    async with open_node():
        await Watcher.named("leaves").start_link()
        # Clients that only listen are not to be dropped while others have their turn.
        mount = Mount(BenchmarkSocket, timeout=3600.0)
        endpoint = await Endpoint.start_link({"/socket": mount}, port=0, hub=hub)
        url = await Endpoint.url(endpoint)

        async def broadcast(rest: str) -> float:
            topic, _, times = rest.partition(" ")
            started = clock()
            for _ in range(int(times)):
                hub.broadcast(topic, "news", NEWS)
            return clock() - started

        async def write(rest: str) -> float:
            topic, _, times = rest.partition(" ")
            frame = JSON_V2.encode_broadcast(topic, "news", NEWS).frame
            sockets = RoomChannel.sockets[topic]
            started = clock()
            for _ in range(int(times)):
                for sock in sockets:
                    sock.send(frame)
            return clock() - started

        print(url.rpartition(":")[2], flush=True)
        await obey({**ORDERS, "broadcast": broadcast, "write": write})


# -- bare trio-websocket --------------------------------------------------------------------------


async def serve_bare() -> None:
    """Serve an echo and a room on trio-websocket, and nothing else."""
    members: dict[trio_websocket.WebSocketConnection, None] = {}

    async def echo(connection: trio_websocket.WebSocketConnection) -> None:
        while True:
            await connection.send_message(await connection.get_message())

    async def room(connection: trio_websocket.WebSocketConnection) -> None:
        await connection.send_message(await connection.get_message())
        members[connection] = None
        try:
            while True:
                message = await connection.get_message()
                for member in tuple(members):
                    try:
                        await member.send_message(message)
                    except trio_websocket.ConnectionClosed:
                        pass
        finally:
            del members[connection]

    async def handle(request: trio_websocket.WebSocketRequest) -> None:
        connection = await request.accept()
        try:
            await (room if request.path == "/room" else echo)(connection)
        except trio_websocket.ConnectionClosed:
            leaves.count()

    async with trio.open_nursery() as nursery:
        server: Any = await nursery.start(
            trio_websocket.serve_websocket, handle, "127.0.0.1", 0, None
        )
        print(server.port, flush=True)
        await obey(ORDERS)
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    allow_many_files()
    logging.getLogger("exeunt").setLevel(logging.CRITICAL)
    trio.run({"exeunt": serve_exeunt, "bare": serve_bare}[sys.argv[1]])
