"""Clients on the wire, as cheap as they can be made: thousands of them share one core.

A frame is masked with zeros, which is a mask like any other, and written as it is. Of what comes,
only the first bytes of a broadcast are looked at; everything that is for this client alone is read
as JSON. A rule of the protocol that the server breaks is a `Violation`, which ends the soak; that a
connection ends is no violation, but the day's work here: `Gone`.
"""

from __future__ import annotations

import json
import socket
import struct
from typing import Any, Final
from urllib.parse import urlencode

import trio

PATIENCE: Final = 90.0
"""Seconds after which what the server owes a client counts as never done.

Long, since the machine may be busy with other things: this is to find what hangs, not what is slow.
"""


class Gone(Exception):
    """The connection has ended, or could not be made; the argument tells how."""


class Violation(Exception):
    """The server has done what no server may do."""


_UPGRADE = (
    b"GET /socket/websocket?vsn=2.0.0 HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\n"
    b"Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)

# What a broadcast begins with: it has neither a join_ref nor a ref.
_TO_ALL = b"[null,null,"

_TEXT, _CLOSE = 0x81, 0x88


def frame(first: int, data: bytes) -> bytes:
    """Return one frame of a client; `first` is its first byte."""
    if len(data) < 126:
        return bytes((first, 0x80 | len(data))) + bytes(4) + data
    return bytes((first, 0x80 | 126)) + struct.pack("!H", len(data)) + bytes(4) + data


async def dial(port: int, *, buffer: int | None = None) -> trio.socket.SocketType:
    """Connect; `buffer` bounds what the kernel holds for this client."""
    sock = trio.socket.socket()
    try:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if buffer is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        with trio.move_on_after(10):
            await sock.connect(("127.0.0.1", port))
            return sock
        raise Gone("connecting took too long")
    except OSError as error:
        sock.close()
        raise Gone(type(error).__name__) from None
    except BaseException:
        sock.close()
        raise


class Connection:
    """A socket, and what has come by it."""

    def __init__(self, sock: trio.socket.SocketType) -> None:
        self.sock = sock
        self.unread = b""

    async def read(self) -> None:
        """Wait for more bytes."""
        try:
            data = await self.sock.recv(65536)
        except OSError as error:
            raise Gone(type(error).__name__) from None
        if not data:
            raise Gone("eof")
        self.unread += data

    async def send(self, data: bytes) -> None:
        """Send bytes as they are."""
        try:
            while data:
                data = data[await self.sock.send(data) :]
        except OSError as error:
            raise Gone(type(error).__name__) from None

    async def response(self) -> tuple[int, bytes]:
        """Read a response of HTTP; return its status and body."""
        while b"\r\n\r\n" not in self.unread:
            await self.read()
        head, _, self.unread = self.unread.partition(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        size = 0
        for line in lines[1:]:
            name, _, value = line.partition(":")
            if name.lower() == "content-length":
                size = int(value)
        while len(self.unread) < size:
            await self.read()
        body, self.unread = self.unread[:size], self.unread[size:]
        try:
            return int(lines[0].split(" ")[1]), body
        except (IndexError, ValueError):
            raise Violation(f"that is no answer of HTTP: {lines[0]!r}") from None

    def fin(self) -> None:
        """End our side of TCP."""
        try:
            self.sock.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # the server was faster

    def reset(self) -> None:
        """Cut the connection with a RST."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def close(self) -> None:
        """Close the socket; may be called twice."""
        self.sock.close()

    async def until_end(self) -> None:
        """Read and throw away until the server has ended the connection."""
        with trio.move_on_after(PATIENCE):
            try:
                while True:
                    self.unread = b""
                    await self.read()
            except Gone:
                return
        raise Violation(f"the server has not ended a connection within {PATIENCE:.0f} s")


class WebSocket(Connection):
    """A connection that speaks version 2 of the protocol over a WebSocket."""

    broadcasts = 0
    """How many broadcasts have come, on all of them."""

    @classmethod
    async def open(cls, port: int, *, buffer: int | None = None) -> WebSocket:
        """Connect and upgrade; raises `Gone` if there is nobody, or no place."""
        found = cls(await dial(port, buffer=buffer))
        try:
            with trio.move_on_after(20):
                await found.send(_UPGRADE)
                status, _ = await found.response()
                if status == 101:
                    return found
                if status != 503:
                    raise Violation(f"an upgrade was answered with {status}")
                raise Gone("503")
            raise Gone("the upgrade took too long")
        except BaseException:
            found.close()
            raise

    async def say(self, *message: object) -> None:
        """Send a message: join_ref, ref, topic, event, payload."""
        await self.send(frame(_TEXT, json.dumps(message).encode()))

    async def bid_farewell(self, code: int) -> None:
        """Send a close frame."""
        await self.send(frame(_CLOSE, struct.pack("!H", code)))

    async def receive(self, *, wants_all: bool = False) -> list[Any]:
        """Return the next message that is for this client alone, or any if `wants_all`.

        May be cancelled at any time, and called again. Raises `Gone` at the end.
        """
        while True:
            payload = self._frame()
            if payload is None:
                await self.read()
            elif not wants_all and payload.startswith(_TO_ALL):
                WebSocket.broadcasts += 1
            else:
                try:
                    message = json.loads(payload)
                except ValueError:
                    raise Violation(f"that is no JSON: {payload[:200]!r}") from None
                if not isinstance(message, list) or len(message) != 5:
                    raise Violation(f"that is no message: {payload[:200]!r}")
                return message

    def _frame(self) -> bytes | None:
        """Take a frame of text out of what has come; None if there is no whole one."""
        unread = self.unread
        if len(unread) < 2:
            return None
        first, size, start = unread[0], unread[1], 2
        if size == 126:
            if len(unread) < 4:
                return None
            size, start = int.from_bytes(unread[2:4], "big"), 4
        elif size == 127:
            if len(unread) < 10:
                return None
            size, start = int.from_bytes(unread[2:10], "big"), 10
        elif size > 127:
            raise Violation("a server does not mask its frames")
        end = start + size
        if len(unread) < end:
            return None
        payload, self.unread = unread[start:end], unread[end:]
        if first == _CLOSE:
            raise Gone(f"closed with {int.from_bytes(payload[:2], 'big')}")
        if first != _TEXT:
            raise Violation(f"a frame begins with {first:#x}: {payload[:100]!r}")
        return payload


class Poller:
    """A client that polls, with a connection for each request."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._token: str | None = None

    def _target(self) -> str:
        token = {} if self._token is None else {"token": self._token}
        return "/socket/longpoll?" + urlencode({"vsn": "2.0.0", **token})

    async def _ask(self, method: str, body: bytes = b"") -> dict[str, Any]:
        connection = Connection(await dial(self._port))
        try:
            length = f"Content-Length: {len(body)}\r\n" if body else ""
            head = f"{method} {self._target()} HTTP/1.1\r\nHost: 127.0.0.1\r\n{length}\r\n"
            await connection.send(head.encode() + body)
            with trio.move_on_after(PATIENCE):
                status, answer = await connection.response()
                if status == 503:
                    raise Gone("503")
                if status != 200:
                    raise Violation(f"a long poll was answered with {status}: {answer[:200]!r}")
                found: dict[str, Any] = json.loads(answer)
                return found
            raise Violation(f"a request of a long poll was not answered within {PATIENCE:.0f} s")
        finally:
            connection.close()

    async def open(self) -> None:
        """Become a client."""
        answer = await self._ask("GET")
        if answer["status"] != 410:
            raise Violation(f"a new client that polls was told {answer}")
        self._token = answer["token"]

    async def say(self, *message: object) -> None:
        """Send a message."""
        answer = await self._ask("POST", json.dumps(message).encode())
        if answer["status"] in (408, 410):
            raise Gone(str(answer["status"]))
        if answer["status"] != 200:
            raise Violation(f"a message that was posted was answered {answer}")

    async def poll(self) -> list[list[Any]]:
        """Wait for messages; return those that have come, which may be none."""
        answer = await self._ask("GET")
        if answer["status"] == 410:
            raise Gone("410")
        if answer["status"] not in (200, 204):
            raise Violation(f"a poll was answered {answer['status']}")
        return [json.loads(one) for one in answer["messages"]]

    async def break_off(self, after: float) -> None:
        """Begin to poll, and cut the connection after so many seconds."""
        connection = Connection(await dial(self._port))
        head = f"GET {self._target()} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
        try:
            await connection.send(head.encode())
            await trio.sleep(after)
        finally:
            connection.reset()


__all__ = ["PATIENCE", "Connection", "Gone", "Poller", "Violation", "WebSocket", "dial", "frame"]
