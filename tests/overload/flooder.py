"""One client that floods: `python -m tests.overload.flooder PORT KIND SECONDS`.

A program of its own, so that what it costs to flood is not taken from those who are measured. It
joins a room, then sends the same bytes over and over, as fast as they are taken, and reads and
throws away what comes. It prints how much it has sent, and comes back when it is cut off.
"""

from __future__ import annotations

import base64
import json
import socket
import sys
import threading
import time
from collections.abc import Callable
from typing import Final

KEY: Final = base64.b64encode(b"sixteen bytes...").decode()


def frame(first: int, data: bytes) -> bytes:
    """Return one frame, masked with zeros; `first` is its first byte."""
    size = len(data)
    if size < 126:
        return bytes((first, 0x80 | size)) + bytes(4) + data
    if size < 65536:
        return bytes((first, 0xFE)) + size.to_bytes(2, "big") + bytes(4) + data
    return bytes((first, 0xFF)) + size.to_bytes(8, "big") + bytes(4) + data


def message(*parts: object) -> bytes:
    """Return a message of version 2 as a frame."""
    return frame(0x81, json.dumps(parts).encode())


def joins(round: int) -> bytes:
    """Return joins of many topics, all of them let in."""
    return b"".join(
        message(f"{round}.{n}", f"{round}.{n}", f"room:{n % 50}", "phx_join", {})
        for n in range(200)
    )


def refused_joins(round: int) -> bytes:
    """Return joins of topics that there are none of."""
    return b"".join(message(f"{n}", f"{n}", f"void:{n}", "phx_join", {}) for n in range(200))


def pushes(round: int) -> bytes:
    """Return messages for a channel, each of which is answered."""
    return message("1", "2", "room:flood", "echo", {"text": "x" * 50}) * 400


def beats(round: int) -> bytes:
    """Return heartbeats."""
    return message(None, "b", "phoenix", "heartbeat", {}) * 400


def tiny_frames(round: int) -> bytes:
    """Return pings without a payload, which are six bytes each."""
    return frame(0x89, b"") * 4000


def fragments(round: int) -> bytes:
    """Return a message of frames of a byte each."""
    data = json.dumps([None, "b", "phoenix", "heartbeat", {}]).encode()
    first = frame(0x01, data[:1])
    rest = b"".join(frame(0x00, data[n : n + 1]) for n in range(1, len(data) - 1))
    return (first + rest + frame(0x80, data[-1:])) * 100


def large_messages(round: int) -> bytes:
    """Return messages that are as large as they may be."""
    return message("1", "2", "room:flood", "echo", {"text": "x" * 60_000}) * 4


def oversized(round: int) -> bytes:
    """Return a message that is larger than it may be: the connection is cut for it."""
    return message("1", "2", "room:flood", "echo", {"text": "x" * 200_000})


def garbage(round: int) -> bytes:
    """Return what is no message: the connection is cut for it."""
    return frame(0x81, b"[" * 30_000)


KINDS: Final[dict[str, Callable[[int], bytes]]] = {
    one.__name__.replace("_", " "): one
    for one in (
        joins,
        refused_joins,
        pushes,
        beats,
        tiny_frames,
        fragments,
        large_messages,
        oversized,
        garbage,
    )
}


def connect(port: int) -> socket.socket:
    """Open a WebSocket, and join a room."""
    sock = socket.create_connection(("127.0.0.1", port), 10)
    sock.sendall(
        f"GET /socket/websocket?vsn=2.0.0 HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\n"
        f"Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n\r\n"
        "".encode()
    )
    if b" 101 " not in sock.recv(65536):
        raise OSError("there was no place")
    sock.sendall(message("1", "1", "room:flood", "phx_join", {}))
    threading.Thread(target=read, args=(sock,), daemon=True).start()
    return sock


def read(sock: socket.socket) -> None:
    """Throw away what comes, until it ends."""
    try:
        while sock.recv(1 << 20):
            pass
    except OSError:
        pass


def flood(port: int, kind: str, seconds: float) -> tuple[int, int]:
    """Flood for so long; return how many bytes went out, and how often it was cut off."""
    sent = cuts = 0
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with connect(port) as sock:
            print("flooding", flush=True)
            # While the server does not read, which is its right, there is a look at the time.
            sock.settimeout(0.2)
            data, round = b"", 0
            try:
                while time.monotonic() < end:
                    if not data:
                        round += 1
                        data = KINDS[kind](round)
                    try:
                        taken = sock.send(data)
                    except TimeoutError:
                        continue
                    sent += taken
                    data = data[taken:]
            except OSError:
                cuts += 1
    return sent, cuts


if __name__ == "__main__":
    sent, cuts = flood(int(sys.argv[1]), sys.argv[2], float(sys.argv[3]))
    print(f"sent {sent}, cut off {cuts} times")
