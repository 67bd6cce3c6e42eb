"""The load of the channel benchmarks: sockets that speak just enough WebSocket, without a loop.

It is the same for all servers, and has to be much cheaper than any of them: frames are written as
they were made once, and answers are counted in bytes, after the first of a kind has been measured.
Its frames are masked with zeros, which is a mask like any other. It offers no extension, so nobody
compresses.
"""

from __future__ import annotations

import select
import socket
import struct
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from benchmarks.meters import now

TIMEOUT: Final = 60.0
AT_A_TIME: Final = 50

_UPGRADE = (
    "GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


@dataclass(frozen=True, slots=True)
class Step:
    """Something that a client says, if anything, and the number of frames that answer it."""

    says: str | None
    frames: int = 1


@dataclass(frozen=True, slots=True)
class Visit:
    """What a client does to come in: it connects to a path, then takes the steps."""

    path: str
    steps: tuple[Step, ...]


def client_frame(text: str) -> bytes:
    """Return a text as a client's frame."""
    data = text.encode()
    if len(data) < 126:
        return bytes((0x81, 0x80 | len(data))) + bytes(4) + data
    return bytes((0x81, 0x80 | 126)) + struct.pack("!H", len(data)) + bytes(4) + data


def frame_size(data: bytes) -> int | None:
    """Return the size of the server's frame that `data` begins with; None if it is not whole."""
    if len(data) < 4:
        # The smallest frame of all has two bytes, and no payload.
        return 2 if len(data) >= 2 and not data[1] else None
    size = data[1]
    head = 2
    if size == 126:
        size, head = int.from_bytes(data[2:4], "big"), 4
    elif size == 127:
        size, head = int.from_bytes(data[2:10], "big"), 10
    return head + size if len(data) >= head + size else None


def _receive(sock: socket.socket) -> bytes:
    data = sock.recv(65536)
    if not data:
        raise ConnectionError("the server has closed a connection")
    return data


class _Newcomer:
    """A client on its way in."""

    def __init__(self, port: int, visit: Visit) -> None:
        self.started = now()
        self.sock = socket.create_connection(("127.0.0.1", port), TIMEOUT)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock.setblocking(False)
        self.sock.send(_UPGRADE.format(path=visit.path).encode())
        self._steps = iter(visit.steps)
        self._left = 0
        self._data = b""
        self._is_upgraded = False

    def receive(self) -> bool:
        """Take what has come; True if that was the last of it."""
        self._data += _receive(self.sock)
        if not self._is_upgraded:
            head, end, rest = self._data.partition(b"\r\n\r\n")
            if not end:
                return False
            if not head.startswith(b"HTTP/1.1 101"):
                raise ConnectionError(f"the server refused an upgrade: {head!r}")
            self._is_upgraded = True
            self._data = rest
            if not self._go_on():
                return True
        while (size := frame_size(self._data)) is not None:
            self._data = self._data[size:]
            self._left -= 1
            if not self._left and not self._go_on():
                return True
        return False

    def _go_on(self) -> bool:
        step = next(self._steps, None)
        if step is None:
            return False
        self._left = step.frames
        if step.says is not None:
            self.sock.send(client_frame(step.says))
        return True


def connect(
    port: int, visits: Iterable[Visit], latencies: list[float] | None = None
) -> list[socket.socket]:
    """Have clients come in, fifty at a time; return their sockets, in the order of the visits.

    Adds to `latencies` the seconds that each took, from its first packet until it was in.
    """
    waiting = deque(enumerate(visits))
    connected: list[socket.socket | None] = [None] * len(waiting)
    coming: dict[int, tuple[int, _Newcomer]] = {}
    with select.epoll() as poll:
        while waiting or coming:
            while waiting and len(coming) < AT_A_TIME:
                number, visit = waiting.popleft()
                newcomer = _Newcomer(port, visit)
                coming[newcomer.sock.fileno()] = (number, newcomer)
                poll.register(newcomer.sock, select.EPOLLIN)
            for file in _ready(poll, "clients do not get in"):
                number, newcomer = coming[file]
                if newcomer.receive():
                    if latencies is not None:
                        latencies.append(now() - newcomer.started)
                    poll.unregister(file)
                    del coming[file]
                    connected[number] = newcomer.sock
    return [sock for sock in connected if sock is not None]


def _ready(poll: select.epoll, trouble: str) -> Iterator[int]:
    ready = poll.poll(TIMEOUT)
    if not ready:
        raise TimeoutError(f"{trouble}, after {TIMEOUT:.0f} seconds")
    for file, _ in ready:
        yield file


class Crowd:
    """Clients that are in, and all take part in the same thing."""

    def __init__(self, sockets: Sequence[socket.socket]) -> None:
        self.sockets = sockets
        self._by_file = {sock.fileno(): sock for sock in sockets}
        self._poll = select.epoll()
        for sock in sockets:
            self._poll.register(sock, select.EPOLLIN)

    def measure(self) -> int:
        """Take one frame on every socket; return its size, which is the same on all of them."""
        whole: dict[int, int] = {}
        come = dict.fromkeys(self._by_file, b"")
        while len(whole) < len(come):
            for file in _ready(self._poll, "frames are missing"):
                data = come[file] = come[file] + _receive(self._by_file[file])
                size = frame_size(data)
                if size is not None:
                    if size != len(data):
                        raise RuntimeError(f"more has come than one frame: {data[size:]!r}")
                    whole[file] = size
        sizes = set(whole.values())
        if len(sizes) != 1:
            raise RuntimeError(f"the frames differ in size: {sorted(sizes)}")
        return sizes.pop()

    def take(self, size: int, latencies: list[float] | None = None) -> None:
        """Receive so many bytes on every socket.

        Adds to `latencies` the seconds that this took for each.
        """
        started = now()
        by_file = self._by_file
        left = dict.fromkeys(by_file, size)
        to_come = len(left)
        while to_come:
            for file in _ready(self._poll, "sockets have not got all"):
                left[file] -= len(_receive(by_file[file]))
                if not left[file]:
                    to_come -= 1
                    if latencies is not None:
                        latencies.append(now() - started)

    def shout(self, frame: bytes, size: int, times: int, latencies: list[float]) -> None:
        """Have the first client send a frame to which everybody gets one, again and again.

        Each time all have got the last one before.
        """
        first = self.sockets[0]
        for _ in range(times):
            first.send(frame)
            self.take(size, latencies)

    def echo(
        self, frames: Sequence[bytes], size: int, times: int, latencies: list[float] | None = None
    ) -> None:
        """Send a frame on each socket, and again when its answer is there, `times` times in all.

        Adds to `latencies` the seconds that each answer took.
        """
        by_file = self._by_file
        frame_of = dict(zip(by_file, frames, strict=True))
        left = dict.fromkeys(by_file, size)
        sent: dict[int, float] = {}
        to_come = times
        to_send = times
        for file, sock in by_file.items():
            if to_send:
                to_send -= 1
                sent[file] = now()
                sock.send(frame_of[file])
        while to_come:
            for file in _ready(self._poll, "answers are missing"):
                sock = by_file[file]
                left[file] -= len(_receive(sock))
                if left[file] <= 0:
                    left[file] += size
                    to_come -= 1
                    if latencies is not None:
                        latencies.append(now() - sent[file])
                    if to_send:
                        to_send -= 1
                        sent[file] = now()
                        sock.send(frame_of[file])

    def reset(self) -> None:
        """Cut the connections, all at once, without a word."""
        self._poll.close()
        for sock in self.sockets:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        for sock in self.sockets:
            sock.close()
