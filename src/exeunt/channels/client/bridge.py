"""What trio-websocket sees of a client's connection: a stream, and a nursery for its reader.

Both are ours, so that nothing it does can be halfway or without end: see `websocket`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final

import trio

from exeunt.channels.client.address import Address
from exeunt.channels.client.errors import ConnectFailed, Disconnected
from exeunt.channels.stream import ByteStream
from exeunt.channels.transports.trio_websocket import MessageSizes

if TYPE_CHECKING:
    from exeunt.channels.client.websocket import ClientWebSocket

__all__ = ["Bridge", "Reader"]

_MAX_HEAD: Final = 64 * 1024
_CLOSE_OPCODE: Final = 0x88

_HINTS = {
    400: "it takes this for no upgrade; is a proxy in between that does not pass it on?",
    401: "it wants to know who this is: see params, headers and auth_token",
    403: "its socket's connect has refused, or it does not accept the token, the origin or the "
    "version of the protocol",
    404: "there is no socket at this path; the URL is that of the mount, as in "
    "ws://host:port/socket",
    426: "it takes this for no upgrade; is a proxy in between that does not pass it on?",
    500: "the server has failed while it decided; its log says how",
    502: "the proxy in front of the server does not reach it",
    503: "it has no place for another connection at the moment, or is being stopped",
}


class Reader:
    """The nursery that trio-websocket sees: it starts its reader, and keeps its exceptions."""

    __slots__ = ("_failure", "_ws", "bridge")

    def __init__(
        self,
        ws: ClientWebSocket,
        under: ByteStream | trio.SSLStream[ByteStream],
        max_message_size: int,
    ) -> None:
        self._ws = ws
        self._failure: Exception | None = None
        self.bridge = Bridge(ws, under, max_message_size)

    def start_soon(self, reader: Callable[[], Awaitable[None]]) -> None:
        self._ws._nursery.start_soon(self._run, reader)

    async def _run(self, reader: Callable[[], Awaitable[None]]) -> None:
        try:
            await reader()
        except Exception as error:
            self._failure = error.with_traceback(None)
        finally:
            if self._ws._opening is not None:
                self._ws._opening.cancel()

    def why_not_open(self, address: Address) -> ConnectFailed:
        """Return what to say of a handshake that has come to its end without success."""
        status = self.bridge.status
        if status is not None and status != 101:
            hint = _HINTS.get(status, "that is no WebSocket of channels")
            detail = f"the server has answered with HTTP status {status}: {hint}"
            return ConnectFailed(address.url, detail, status=status, body=self.bridge.body)
        if status is None and self.bridge.has_ended:
            detail = "the server hung up without an answer"
        elif status is None and not self.bridge.is_http:
            detail = "what listens there does not speak HTTP"
            if not address.secure:
                detail += "; does it speak TLS (wss)?"
        else:
            detail = f"the WebSocket handshake failed ({self._failure or 'a broken answer'})"
        return ConnectFailed(address.url, detail)


class Bridge(trio.abc.Stream):
    """The stream that trio-websocket sees: it follows what comes, and is never sent to halfway."""

    __slots__ = (
        "_head",
        "_under",
        "_ws",
        "body",
        "has_ended",
        "is_http",
        "sizes",
        "status",
    )

    def __init__(
        self,
        ws: ClientWebSocket,
        under: ByteStream | trio.SSLStream[ByteStream],
        max_message_size: int,
    ) -> None:
        self._ws = ws
        self._under = under
        self._head: bytes | None = b""  # of the answer, as long as it is not whole
        # A message in one frame has a header besides.
        self.sizes = MessageSizes(max_message_size + 14, max_message_size)
        self.status: int | None = None
        self.body = b""
        self.has_ended = False
        self.is_http = True

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        if self._ws._violation is not None:
            raise trio.ClosedResourceError
        data = bytes(await self._under.receive_some(max_bytes))
        if not data:
            self.has_ended = True
            return data
        if self._head is not None:
            frames = self._follow_answer(data)
        else:
            frames = data
        good = self.sizes.follow(frames)
        if good < len(frames):
            ws = self._ws
            detail = f"a message of more than {self.sizes.message} bytes came"
            ws._violation = Disconnected(1009, by="client", detail=detail)
            ws.say_goodbye(1009)
            data = data[: len(data) - len(frames) + good]
            if not data:
                raise trio.ClosedResourceError
        return data

    def _follow_answer(self, data: bytes) -> bytes:
        # Returns those of the bytes that come behind the head of a 101.
        assert self._head is not None
        self._head += data
        while True:
            self.is_http = b"HTTP/1."[: len(self._head)] == self._head[:7]
            head, mark, rest = self._head.partition(b"\r\n\r\n")
            if not self.is_http or (not mark and len(head) > _MAX_HEAD):
                raise trio.ClosedResourceError
            if not mark:
                return b""
            status = head[9:12]
            if not status.isdigit():
                self.is_http = False
                raise trio.ClosedResourceError
            if status[:1] == b"1" and status != b"101":
                self._head = rest  # an early word; the answer is still to come
                continue
            self.status = int(status)
            if self.status == 101:
                self._head = None
                return rest
            self.body = rest
            raise trio.ClosedResourceError

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        # No checkpoint: the library makes one, for its lock, right before this, and a
        # cancellation in here would lose the frame that it has already counted as sent.
        frame = bytes(data)
        ws = self._ws
        if ws._closing is not None:
            return
        ws._put(frame)
        if frame[0] == _CLOSE_OPCODE:
            ws._closing = "server"  # this is the answer

    async def wait_send_all_might_not_block(self) -> None:
        await trio.lowlevel.checkpoint()

    async def aclose(self) -> None:
        # It does so only upon an answer to the handshake that it cannot parse.
        await trio.lowlevel.checkpoint()
