"""The load of the channel benchmarks: sockets that speak just enough WebSocket, without a loop.

It has to be much cheaper than the server that it loads, so it knows beforehand what will come:
frames are written as they were made once, and answers are counted in bytes. Its frames are masked
with zeros, which is a mask like any other.
"""

from __future__ import annotations

import resource
import select
import socket
import struct
from collections.abc import Sequence

TIMEOUT = 60.0
AT_A_TIME = 50

_UPGRADE = (
    "GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


def allow_many_files() -> None:
    """Have as many sockets as this process may ever have."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def client_frame(text: str) -> bytes:
    """Return a text as a client's frame."""
    data = text.encode()
    if len(data) < 126:
        return bytes((0x81, 0x80 | len(data))) + bytes(4) + data
    return bytes((0x81, 0x80 | 126)) + struct.pack("!H", len(data)) + bytes(4) + data


def _receive(sock: socket.socket, size: int) -> None:
    while size > 0:
        data = sock.recv(size)
        if not data:
            raise ConnectionError("the server has closed a connection")
        size -= len(data)


def _receive_head(sock: socket.socket) -> None:
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        data = sock.recv(1)
        if not data:
            raise ConnectionError(f"the server has closed a connection: {head!r}")
        head += data
    if not head.startswith(b"HTTP/1.1 101"):
        raise ConnectionError(f"the server refused an upgrade: {head!r}")


def connect(port: int, path: str, hellos: Sequence[tuple[bytes, int]]) -> list[socket.socket]:
    """Connect once for each hello, fifty at a time.

    A hello is a frame that the client sends when it is connected, and the size of the answer,
    which is waited for.
    """
    connected: list[socket.socket] = []
    upgrade = _UPGRADE.format(path=path).encode()
    for first in range(0, len(hellos), AT_A_TIME):
        some = hellos[first : first + AT_A_TIME]
        sockets = [socket.create_connection(("127.0.0.1", port), TIMEOUT) for _ in some]
        for sock in sockets:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.sendall(upgrade)
        for sock in sockets:
            _receive_head(sock)
        for sock, (frame, _) in zip(sockets, some, strict=True):
            sock.sendall(frame)
        for sock, (_, size) in zip(sockets, some, strict=True):
            _receive(sock, size)
        connected += sockets
    return connected


def echo(sockets: Sequence[tuple[socket.socket, bytes, int]], times: int) -> None:
    """Send a frame on each socket, and again when its answer is there, `times` times in all.

    Each comes with its frame, and the size of the answer.
    """
    by_number = {sock.fileno(): (sock, frame, size) for sock, frame, size in sockets}
    left = {number: size for number, (_, _, size) in by_number.items()}
    with select.epoll() as poll:
        for number in by_number:
            poll.register(number, select.EPOLLIN)
        for sock, frame, _ in sockets:
            sock.send(frame)
        to_send = times - len(sockets)
        to_come = times
        while to_come > 0:
            ready = poll.poll(TIMEOUT)
            if not ready:
                raise TimeoutError(f"{to_come} answers are missing")
            for number, _ in ready:
                sock, frame, size = by_number[number]
                data = sock.recv(65536)
                if not data:
                    raise ConnectionError("the server has closed a connection")
                left[number] -= len(data)
                if left[number] <= 0:
                    left[number] += size
                    to_come -= 1
                    if to_send > 0:
                        to_send -= 1
                        sock.send(frame)


def take(sockets: Sequence[socket.socket], size: int) -> None:
    """Receive so many bytes on every one of the sockets."""
    by_number = {sock.fileno(): sock for sock in sockets}
    left = dict.fromkeys(by_number, size)
    to_come = len(left)
    with select.epoll() as poll:
        for number in by_number:
            poll.register(number, select.EPOLLIN)
        while to_come:
            ready = poll.poll(TIMEOUT)
            if not ready:
                raise TimeoutError(f"{to_come} sockets have not got all")
            for number, _ in ready:
                data = by_number[number].recv(65536)
                if not data:
                    raise ConnectionError("the server has closed a connection")
                left[number] -= len(data)
                if not left[number]:
                    to_come -= 1


def reset(sockets: Sequence[socket.socket]) -> None:
    """Cut connections, all at once, without a word."""
    for sock in sockets:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    for sock in sockets:
        sock.close()
