"""A client in raw frames: sends what a transcript says, and keeps all that comes back."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, TypeAlias
from urllib.parse import urlsplit

import trio

from tests.channels.sockets import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    TEXT,
    Peer,
    client_close,
    client_frame,
    connect,
    read_frame,
)

Headers: TypeAlias = "dict[str, str]"

UPGRADE: Headers = {
    "connection": "Upgrade",
    "upgrade": "websocket",
    "sec-websocket-version": "13",
    "sec-websocket-key": "c2l4dGVlbiBieXRlcy4uLg==",
}


@dataclass(frozen=True, slots=True)
class Answer:
    """The head of an HTTP answer, and its body unless it is a 101."""

    status: int
    headers: Headers
    body: str


@dataclass(frozen=True, slots=True)
class Closed:
    """The end of a connection; `code` is None if no close frame came."""

    code: int | None


Received: TypeAlias = "tuple[str, Any] | Closed"
"""`("json", value)`, `("bin", fields)`, or the end."""


async def request(
    url: str, method: str, target: str, headers: Headers, body: bytes = b""
) -> tuple[Answer, Peer]:
    """Send a request on a connection of its own; return the answer, and the connection."""
    parts = urlsplit(url)
    assert parts.hostname is not None and parts.port is not None
    peer = await connect(parts.port, parts.hostname)
    lines = [f"{method} {target} HTTP/1.1", f"Host: {parts.netloc}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    if body:
        lines.append(f"Content-Length: {len(body)}")
    try:
        await peer.send("\r\n".join([*lines, "", ""]).encode("latin-1") + body)
        head = (await peer.receive_until_exactly(b"\r\n\r\n")).decode("latin-1")
        first, *rest = head.removesuffix("\r\n\r\n").split("\r\n")
        status = int(first.split(" ")[1])
        found = {
            name.lower(): value.strip() for name, _, value in (one.partition(":") for one in rest)
        }
        content = b""
        if status != 101:
            content = await peer.receive_exactly(int(found.get("content-length", "0")))
    except BaseException:
        peer.close()
        raise
    return Answer(status, found, content.decode()), peer


async def ask(url: str, method: str, target: str, value: object = None) -> Any:
    """Send a request to the control part of the server; return the JSON that it answers."""
    body = b"" if value is None else json.dumps(value).encode()
    answer, peer = await request(url, method, target, {"connection": "close"}, body)
    peer.close()
    if answer.status != 200:
        raise RuntimeError(f"{method} {target} was answered {answer.status}: {answer.body}")
    return json.loads(answer.body)


class Connection:
    """One WebSocket, read by a task that keeps what comes until it is asked for."""

    def __init__(self, peer: Peer, nursery: trio.Nursery) -> None:
        self._peer = peer
        self._has_closed = False
        # Without a bound: a transcript says all that may come, and it is short.
        self._send, self._receive = trio.open_memory_channel[Received](1_000_000)
        nursery.start_soon(self._read)

    async def send_text(self, text: str) -> None:
        """Send a text frame."""
        await self._deliver(client_frame(TEXT, text.encode()))

    async def send_binary(self, data: bytes) -> None:
        """Send a binary frame."""
        await self._deliver(client_frame(BINARY, data))

    async def send_fragments(self, *parts: str) -> None:
        """Send a text message in several frames."""
        for number, part in enumerate(parts):
            opcode = TEXT if number == 0 else CONTINUATION
            await self._deliver(client_frame(opcode, part.encode(), fin=number == len(parts) - 1))

    async def send_raw(self, data: bytes) -> None:
        """Send bytes as they are."""
        await self._deliver(data)

    async def send_close(self, code: int) -> None:
        """Send a close frame."""
        self._has_closed = True
        await self._deliver(client_close(code))

    async def receive(self, within: float) -> Received | None:
        """Return what comes next; None if nothing comes in so many seconds."""
        with trio.move_on_after(within):
            return await self._receive.receive()
        return None

    def close(self) -> None:
        """Cut the connection."""
        self._peer.close()

    async def _deliver(self, data: bytes) -> None:
        try:
            await self._peer.send(data)
        except trio.BrokenResourceError:
            pass  # the server has closed; its last words are there to be read

    async def _read(self) -> None:
        end = Closed(None)
        try:
            while self._peer.sock.fileno() >= 0:
                # A frame may be long in coming; once it has begun it is whole within seconds.
                await trio.lowlevel.wait_readable(self._peer.sock)
                opcode, payload = await read_frame(self._peer)
                if opcode == CLOSE:
                    end = Closed(int.from_bytes(payload[:2], "big") if payload else 1005)
                    if not self._has_closed:
                        await self.send_close(1000)
                    break
                if opcode == PING:
                    await self._peer.send(client_frame(PONG, payload))
                elif opcode == TEXT:
                    await self._send.send(("json", json.loads(payload)))
                elif opcode == BINARY:
                    await self._send.send(("bin", unpacked(payload)))
        except (AssertionError, trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # the end came without a close frame
        await self._send.send(end)


def packed(fields: dict[str, Any]) -> bytes:
    """Return a binary frame of a client, as a transcript describes it."""
    if fields["kind"] == "junk":
        return bytes.fromhex(fields["hex"])
    assert fields["kind"] == "client_push", fields
    parts = [fields[name].encode() for name in ("join_ref", "ref", "topic", "event")]
    sizes = bytes(map(len, parts))
    return b"\x00" + sizes + b"".join(parts) + bytes.fromhex(fields["data"])


_LAYOUTS = {
    0: ("push", ("join_ref", "topic", "event")),
    1: ("reply", ("join_ref", "ref", "topic", "status")),
    2: ("broadcast", ("topic", "event")),
}


def unpacked(data: bytes) -> dict[str, Any]:
    """Describe a binary frame of a server as a transcript does."""
    kind, names = _LAYOUTS[data[0]]
    fields: dict[str, Any] = {"kind": kind}
    start = 1 + len(names)
    for name, size in zip(names, data[1:start], strict=True):
        fields[name] = data[start : start + size].decode()
        start += size
    fields["data"] = data[start:].hex()
    return fields
