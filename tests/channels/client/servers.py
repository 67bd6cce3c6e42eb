"""Servers for the tests of the client: a real one that can be stopped, and one that does as told.

A real server is the contract server in a node of its own. The scripted one speaks raw frames, so
that it can say what no server should, and be silent where every server answers.
"""

from __future__ import annotations

import base64
import hashlib
import json
import socket
import struct
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeAlias

import trio

from tests.contract_server.app import open_server

TEXT, BINARY, CLOSE, PING, PONG = 0x1, 0x2, 0x8, 0x9, 0xA
GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


def server_frame(opcode: int, payload: bytes = b"", *, length: int | None = None) -> bytes:
    """Build a frame of a server, which may announce another length than it has."""
    size = len(payload) if length is None else length
    if size < 126:
        head = bytes((0x80 | opcode, size))
    elif size < 65536:
        head = bytes((0x80 | opcode, 126)) + size.to_bytes(2, "big")
    else:
        head = bytes((0x80 | opcode, 127)) + size.to_bytes(8, "big")
    return head + payload


class Guest:
    """One client, as the scripted server sees it."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self.stream = stream
        self.target = ""
        self.headers: dict[str, str] = {}
        self._buffer = b""

    async def _exactly(self, size: int) -> bytes:
        while len(self._buffer) < size:
            data = await self.stream.receive_some(65536)
            if not data:
                raise EOFError
            self._buffer += data
        taken, self._buffer = self._buffer[:size], self._buffer[size:]
        return taken

    async def read_head(self) -> None:
        while b"\r\n\r\n" not in self._buffer:
            data = await self.stream.receive_some(65536)
            if not data:
                raise EOFError
            self._buffer += data
        head, _, self._buffer = self._buffer.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        self.target = first.split(" ")[1]
        for line in lines:
            name, _, value = line.partition(":")
            self.headers[name.lower()] = value.strip()

    async def accept(self, extra: str = "", behind: bytes = b"") -> None:
        """Answer the upgrade with 101, and in the same packet with what comes `behind`."""
        await self.read_head()
        digest = hashlib.sha1(self.headers["sec-websocket-key"].encode() + GUID).digest()
        answer = (
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Accept: {base64.b64encode(digest).decode()}\r\n{extra}\r\n"
        )
        await self.stream.send_all(answer.encode() + behind)

    async def frame(self) -> tuple[int, bytes]:
        """Read one frame, which must be masked and whole."""
        first, second = await self._exactly(2)
        assert first & 0xF0 == 0x80 and second & 0x80
        size = second & 0x7F
        if size >= 126:
            size = int.from_bytes(await self._exactly(2 if size == 126 else 8), "big")
        mask = await self._exactly(4)
        payload = await self._exactly(size)
        return first & 0x0F, bytes(one ^ mask[at % 4] for at, one in enumerate(payload))

    async def message(self) -> list[Any]:
        """Read one message of text."""
        opcode, payload = await self.frame()
        if opcode == CLOSE:
            raise EOFError
        assert opcode == TEXT, (opcode, payload)
        message: list[Any] = json.loads(payload)
        return message

    async def send(self, message: object) -> None:
        data = message if isinstance(message, str) else json.dumps(message)
        await self.stream.send_all(server_frame(TEXT, data.encode()))

    async def send_raw(self, data: bytes) -> None:
        await self.stream.send_all(data)

    async def answer(self, message: list[Any], status: str = "ok", response: Any = None) -> None:
        join_ref, ref, topic, _, _ = message
        body = {"status": status, "response": {} if response is None else response}
        await self.send([join_ref, ref, topic, "phx_reply", body])

    async def let_join(self, response: Any = None) -> list[Any]:
        """Read a join, and answer it."""
        message = await self.message()
        assert message[3] == "phx_join", message
        await self.answer(message, "ok", response)
        return message

    async def close(self, code: int = 1000, reason: str = "") -> None:
        """Send a close frame, and read the answer."""
        payload = code.to_bytes(2, "big") + reason.encode()
        await self.stream.send_all(server_frame(CLOSE, payload))
        while (await self.frame())[0] != CLOSE:
            pass

    async def until_close(self) -> int:
        """Read up to the close frame of the client; its code."""
        while True:
            opcode, payload = await self.frame()
            if opcode == CLOSE:
                return int.from_bytes(payload[:2], "big")

    def reset(self) -> None:
        """Cut the connection with a RST."""
        linger = struct.pack("ii", 1, 0)
        self.stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.stream.socket.close()

    async def silence(self) -> None:
        """Read no more, and say no more."""
        await trio.sleep_forever()


Script: TypeAlias = Callable[[Guest], Awaitable[None]]


class Scripted:
    """A server that runs a script for each client that connects; the last one is repeated."""

    def __init__(self, port: int) -> None:
        self.url = f"ws://127.0.0.1:{port}/socket"
        self.arrivals: list[float] = []


@asynccontextmanager
async def open_scripted(*scripts: Script) -> AsyncGenerator[Scripted]:
    """Run a scripted server. The end of a client is no error, whatever the script is at."""
    async with trio.open_nursery() as nursery:
        [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
        server = Scripted(int(listener.socket.getsockname()[1]))

        async def serve(stream: trio.SocketStream) -> None:
            server.arrivals.append(trio.current_time())
            script = scripts[min(len(server.arrivals), len(scripts)) - 1]
            async with stream:
                try:
                    await script(Guest(stream))
                except (EOFError, trio.BrokenResourceError, trio.ClosedResourceError):
                    pass

        nursery.start_soon(trio.serve_listeners, serve, [listener])
        yield server
        nursery.cancel_scope.cancel()


class Restartable:
    """A real server on a port of its own, which can be stopped and started again."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self._nursery = nursery
        self._stop: Callable[[], None] | None = None
        self._stopped = trio.Event()
        self.port = 0

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}/socket"

    async def start(self) -> None:
        self._stopped = trio.Event()
        await self._nursery.start(self._run)

    async def stop(self) -> None:
        assert self._stop is not None
        self._stop()
        await self._stopped.wait()

    async def _run(self, task_status: trio.TaskStatus[None]) -> None:
        with trio.CancelScope() as scope:
            self._stop = scope.cancel
            async with open_server(self.port) as url:
                self.port = int(url.rpartition(":")[2])
                task_status.started()
                await trio.sleep_forever()
        self._stopped.set()


@asynccontextmanager
async def open_restartable() -> AsyncGenerator[Restartable]:
    """Run a real server."""
    async with trio.open_nursery() as nursery:
        server = Restartable(nursery)
        await server.start()
        yield server
        await server.stop()


async def until(condition: Callable[[], bool], within: float = 10.0) -> None:
    """Wait for something that nobody tells."""
    with trio.fail_after(within):
        while not condition():  # noqa: ASYNC110
            await trio.sleep(0.005)
