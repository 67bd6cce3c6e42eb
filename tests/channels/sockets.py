"""Sockets for the tests of this room: connected pairs, resets, and a peer that speaks raw bytes."""

from __future__ import annotations

import contextlib
import socket
import struct
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager

import trio

from exeunt.channels.stream import ByteStream


class Peer:
    """The other end of a connection, in the test's hands: raw bytes, and every way to leave."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.stream = trio.SocketStream(trio.socket.from_stdlib_socket(sock))

    async def send(self, data: bytes) -> None:
        await self.stream.send_all(data)

    async def receive(self, size: int = 65536, within: float = 5.0) -> bytes:
        """Receive what comes next; b"" at the end, also if that is a reset."""
        with trio.fail_after(within):
            try:
                return bytes(await self.stream.receive_some(size))
            except trio.BrokenResourceError:
                return b""

    async def receive_exactly(self, size: int, within: float = 5.0) -> bytes:
        data = b""
        with trio.fail_after(within):
            while len(data) < size:
                more = await self.stream.receive_some(min(65536, size - len(data)))
                assert more, f"the end came after {len(data)} of {size} bytes: {data[:200]!r}"
                data += more
        return data

    async def receive_until_exactly(self, mark: bytes, within: float = 5.0) -> bytes:
        """Receive up to `mark`, included, and not a byte more."""
        data = b""
        with trio.fail_after(within):
            while not data.endswith(mark):
                more = await self.stream.receive_some(1)
                assert more, f"the end came before {mark!r}: {data[:200]!r}"
                data += more
        return data

    async def receive_all(self, within: float = 5.0) -> bytes:
        data = b""
        with trio.fail_after(within):
            while more := await self.receive():
                data += more
        return data

    def fin(self) -> None:
        """End our side; the other can still send."""
        self.sock.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """Cut the connection with a RST."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close()

    def close(self) -> None:
        self.stream.socket.close()

    async def __aenter__(self) -> Peer:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()


async def connect(port: int, host: str = "127.0.0.1") -> Peer:
    stream = await trio.open_tcp_stream(host, port)
    return Peer(socket.socket(fileno=stream.socket.detach()))


@contextmanager
def tcp_pair(*, buffer: int | None = None) -> Generator[tuple[socket.socket, socket.socket]]:
    """Yield two connected TCP sockets; `buffer` bounds what the kernel holds in between."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(1)
        ours = socket.socket()
        if buffer is not None:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, buffer)
            ours.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        ours.connect(listener.getsockname())
        theirs, _ = listener.accept()
    with ours, theirs:
        yield theirs, ours


@asynccontextmanager
async def stream_and_peer(
    *, buffer: int | None = None, max_queued: int = 1024 * 1024
) -> AsyncGenerator[tuple[ByteStream, Peer]]:
    """Yield a ByteStream and the peer that it is connected to."""
    with tcp_pair(buffer=buffer) as (sock, other):
        stream = ByteStream(sock, max_queued=max_queued)
        peer = Peer(other)
        with contextlib.ExitStack() as stack:
            stack.callback(peer.close)
            stack.callback(stream.abort)
            yield stream, peer


# -- WebSocket, in raw bytes (RFC 6455, section 5.2)

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA


def client_frame(
    opcode: int,
    payload: bytes = b"",
    *,
    fin: bool = True,
    rsv: int = 0,
    mask: bytes | None = b"\x11\x22\x33\x44",
    length: int | None = None,
    width: int | None = None,
) -> bytes:
    """Build a frame as a client sends it, or one as it should not: with another `length` than the
    payload has, in `width` bytes, without a mask, with reserved bits."""
    size = len(payload) if length is None else length
    if width is None:
        width = 0 if size < 126 else 2 if size < 65536 else 8
    head = bytes(
        [
            (0x80 if fin else 0) | rsv << 4 | opcode,
            (0x80 if mask else 0) | (size if width == 0 else 126 if width == 2 else 127),
        ]
    )
    if width:
        head += size.to_bytes(width, "big")
    if mask is None:
        return head + payload
    repeated = mask * (len(payload) // 4 + 1)
    return head + mask + bytes(a ^ b for a, b in zip(payload, repeated, strict=False))


def client_close(code: int | None = None, reason: bytes = b"") -> bytes:
    payload = b"" if code is None else code.to_bytes(2, "big") + reason
    return client_frame(CLOSE, payload)


async def read_frame(peer: Peer) -> tuple[int, bytes]:
    """Read one whole frame of a server: its opcode and its payload."""
    first, second = await peer.receive_exactly(2)
    assert not second & 0x80, "a server does not mask"
    assert first & 0xF0 == 0x80, "a server sends whole frames without reserved bits"
    size = second
    if second == 126:
        size = int.from_bytes(await peer.receive_exactly(2), "big")
    elif second == 127:
        size = int.from_bytes(await peer.receive_exactly(8), "big")
    return first & 0x0F, await peer.receive_exactly(size)


async def read_close(peer: Peer) -> int:
    """Read up to the end of the connection, which must begin with a close frame; its code."""
    opcode, payload = await read_frame(peer)
    assert opcode == CLOSE, (opcode, payload[:100])
    assert len(payload) == 2, "close reasons are empty"
    assert await peer.receive_all() == b"", "nothing follows a close frame"
    return int.from_bytes(payload, "big")
