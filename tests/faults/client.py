"""A WebSocket client of raw bytes, which can leave in every way that a client can.

A library would not send a frame without a mask, break off in the middle of one, stop reading, or
reset the connection. This client does what it is told, and shows every frame that came.
"""

from __future__ import annotations

import base64
import json
import os
import socket
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias
from urllib.parse import urlencode

import trio

TEXT, BINARY, CLOSE, PING, PONG = 0x1, 0x2, 0x8, 0x9, 0xA

KEY = base64.b64encode(b"sixteen bytes...").decode()


@dataclass(frozen=True, slots=True)
class Closed:
    """The server has sent a close frame; `code` is None if it held none."""

    code: int | None


@dataclass(frozen=True, slots=True)
class Gone:
    """TCP has ended without a close frame: `"eof"` or `"reset"`."""

    how: Literal["eof", "reset"]


Frame: TypeAlias = "list[Any] | bytes | Closed | Gone"
"""A message of text is shown as its JSON, a binary one as its bytes."""


class Refusal(Exception):
    """The server has not answered an upgrade with 101; `head` is what it answered."""

    def __init__(self, status: int, head: str, body: bytes) -> None:
        super().__init__(f"{status}: {head}")
        self.status = status
        self.head = head
        self.body = body


def frame(
    opcode: int, payload: bytes = b"", *, fin: bool = True, mask: bool = True, rsv: int = 0
) -> bytes:
    """Return one frame, as a client sends it unless told to break the rules."""
    first = (0x80 if fin else 0) | rsv << 4 | opcode
    size = len(payload)
    bit = 0x80 if mask else 0
    if size < 126:
        head = bytes((first, bit | size))
    elif size < 65536:
        head = bytes((first, bit | 126)) + size.to_bytes(2, "big")
    else:
        head = bytes((first, bit | 127)) + size.to_bytes(8, "big")
    if not mask:
        return head + payload
    key = b"\x37\xfa\x21\x3d"
    repeated = key * (size // 4 + 1)
    masked = int.from_bytes(payload, "big") ^ int.from_bytes(repeated[:size], "big")
    return head + key + masked.to_bytes(size, "big")


def text(message: object) -> bytes:
    """Return a message as a text frame; a string goes as it is."""
    data = message if isinstance(message, str) else json.dumps(message)
    return frame(TEXT, data.encode())


def close_frame(code: int | None) -> bytes:
    """Return a close frame of a client."""
    return frame(CLOSE, b"" if code is None else code.to_bytes(2, "big"))


def upgrade_request(
    path: str = "/socket/websocket", headers: Sequence[tuple[str, str]] = (), **params: str
) -> bytes:
    """Return the request head of a client that connects."""
    query = urlencode({"vsn": "2.0.0", **params})
    lines = [
        f"GET {path}?{query} HTTP/1.1",
        "Host: 127.0.0.1",
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        f"Sec-WebSocket-Key: {KEY}",
        *(f"{name}: {value}" for name, value in headers),
    ]
    return "\r\n".join([*lines, "", ""]).encode()


class Client:
    """One connection, from its first byte to whichever end the test chooses."""

    def __init__(self, sock: trio.socket.SocketType) -> None:
        self.sock = sock
        self._unread = b""
        self._refs = 0

    # -- connecting

    @staticmethod
    async def dial(port: int, host: str = "127.0.0.1", *, buffer: int | None = None) -> Client:
        """Connect and say nothing; `buffer` bounds what the kernel holds for this client."""
        sock = trio.socket.socket()
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if buffer is not None:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
            with trio.fail_after(5):
                await sock.connect((host, port))
        except BaseException:
            sock.close()
            raise
        return Client(sock)

    @staticmethod
    async def connect(
        port: int,
        host: str = "127.0.0.1",
        *,
        path: str = "/socket/websocket",
        headers: Sequence[tuple[str, str]] = (),
        buffer: int | None = None,
        **params: str,
    ) -> Client:
        """Connect and open a WebSocket; raises `Refusal` if that is not to be had."""
        client = await Client.dial(port, host, buffer=buffer)
        try:
            await client.upgrade(path, headers, **params)
        except BaseException:
            client.close()
            raise
        return client

    async def upgrade(
        self,
        path: str = "/socket/websocket",
        headers: Sequence[tuple[str, str]] = (),
        **params: str,
    ) -> None:
        """Open a WebSocket on this connection; raises `Refusal` if that is not to be had."""
        await self.send(upgrade_request(path, headers, **params))
        status, head, body = await self.response()
        if status != 101:
            raise Refusal(status, head, body)

    async def response(self, within: float = 5.0) -> tuple[int, str, bytes]:
        """Read a response of HTTP: its status, its head and its body."""
        with trio.fail_after(within):
            while b"\r\n\r\n" not in self._unread:
                await self._read_more()
            raw, _, self._unread = self._unread.partition(b"\r\n\r\n")
            head = raw.decode("latin-1")
            size = 0
            for line in head.split("\r\n")[1:]:
                name, _, value = line.partition(":")
                if name.lower() == "content-length":
                    size = int(value)
            while len(self._unread) < size:
                await self._read_more()
        body, self._unread = self._unread[:size], self._unread[size:]
        return int(head.split(" ", 2)[1]), head, body

    async def _read_more(self) -> None:
        data = await self.sock.recv(65536)
        if not data:
            raise EOFError(f"the server ended the connection after {self._unread!r}")
        self._unread += data

    # -- sending

    async def send(self, data: bytes) -> None:
        """Send bytes as they are."""
        view = memoryview(data)
        while view:
            view = view[await self.sock.send(view) :]

    def send_now(self, data: bytes) -> None:
        """Send bytes as they are, in this very step: the kernel has to have room for them."""
        sent = os.write(self.sock.fileno(), data)
        assert sent == len(data), f"{sent} of {len(data)} bytes were taken"

    async def say(self, *message: object) -> None:
        """Send a message of version 2: join_ref, ref, topic, event, payload."""
        await self.send(text(list(message)))

    def new_ref(self) -> str:
        """Return a ref that was not used before."""
        self._refs += 1
        return f"r{self._refs}"

    # -- receiving

    async def receive(self, within: float = 5.0) -> Frame:
        """Return the next frame; of control frames only a close is shown."""
        with trio.fail_after(within):
            while True:
                try:
                    opcode, payload = await self._receive_frame()
                except EOFError:
                    return Gone("eof")
                except OSError:
                    return Gone("reset")
                if opcode == TEXT:
                    message: list[Any] = json.loads(payload)
                    return message
                if opcode == BINARY:
                    return payload
                if opcode == CLOSE:
                    return Closed(int.from_bytes(payload[:2], "big") if payload else None)
                if opcode == PONG:
                    continue
                raise AssertionError(f"the server sent opcode {opcode}: {payload!r}")

    async def _receive_frame(self) -> tuple[int, bytes]:
        head = await self._take(2)
        assert head[0] & 0xF0 == 0x80, f"a server sends whole frames, without RSV bits: {head!r}"
        size = head[1]
        assert size < 128, "a server does not mask its frames"
        if size == 126:
            size = int.from_bytes(await self._take(2), "big")
        elif size == 127:
            size = int.from_bytes(await self._take(8), "big")
        return head[0] & 0x0F, await self._take(size)

    async def _take(self, size: int) -> bytes:
        while len(self._unread) < size:
            await self._read_more()
        taken, self._unread = self._unread[:size], self._unread[size:]
        return taken

    async def receive_until_end(self, within: float = 5.0) -> list[Frame]:
        """Return all frames up to the end of the connection, the end included.

        The end is a close frame, or that of TCP. A close frame is answered, as clients do, and then
        TCP has to end too.
        """
        frames: list[Frame] = []
        with trio.fail_after(within):
            while True:
                frames.append(await self.receive())
                if isinstance(frames[-1], Gone):
                    break
                if isinstance(frames[-1], Closed):
                    await self._answer_close()
                    after = await self.receive()
                    assert isinstance(after, Gone), f"{after!r} came behind the close frame"
                    break
        return frames

    async def _answer_close(self) -> None:
        try:
            await self.send(close_frame(1000))
        except OSError:
            pass  # the server has not waited for it

    async def sync(self) -> list[Frame]:
        """Send a heartbeat; return the frames that came before its answer."""
        ref = self.new_ref()
        await self.say(None, ref, "phoenix", "heartbeat", {})
        frames: list[Frame] = []
        while True:
            one = await self.receive()
            if one == [None, ref, "phoenix", "phx_reply", {"status": "ok", "response": {}}]:
                return frames
            assert not isinstance(one, (Closed, Gone)), f"{one} after {frames}"
            frames.append(one)

    async def ask(self, join_ref: object, topic: str, event: str, payload: object = None) -> Any:
        """Send a message and return the payload of its answer; it has to be what comes next."""
        ref = self.new_ref()
        await self.say(join_ref, ref, topic, event, {} if payload is None else payload)
        answer = await self.receive()
        assert isinstance(answer, list), answer
        assert answer[1:4] == [ref, topic, "phx_reply"], answer
        return answer[4]

    async def join(self, topic: str, params: object = None, *, join_ref: str = "1") -> Any:
        """Join a topic; return the response, or fail if the join does."""
        await self.say(join_ref, join_ref, topic, "phx_join", {} if params is None else params)
        answer = await self.receive()
        assert isinstance(answer, list), answer
        assert answer[:4] == [join_ref, join_ref, topic, "phx_reply"], answer
        assert answer[4]["status"] == "ok", answer
        return answer[4]["response"]

    # -- leaving

    def fin(self) -> None:
        """End our side of TCP, without a close frame."""
        self.sock.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """Cut the connection with a RST."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def close(self) -> None:
        """Close the socket; may be called twice."""
        self.sock.close()

    async def __aenter__(self) -> Client:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()


def raise_file_limit(wanted: int) -> bool:
    """Have this process open `wanted` files; tell whether it may."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return True
    if hard != resource.RLIM_INFINITY and hard < wanted:
        return False
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return True


def open_files() -> list[str]:
    """Return what this process has open, each as its number and what it is."""
    found: list[str] = []
    for number in os.listdir("/proc/self/fd"):
        try:
            found.append(f"{number} {os.readlink(f'/proc/self/fd/{number}')}")
        except OSError:
            pass  # that of the listing itself
    return found


__all__ = [
    "Client",
    "Closed",
    "Frame",
    "Gone",
    "Refusal",
    "close_frame",
    "frame",
    "open_files",
    "raise_file_limit",
    "text",
    "upgrade_request",
]
