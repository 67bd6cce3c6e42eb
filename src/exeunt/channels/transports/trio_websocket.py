"""WebSockets: trio-websocket speaks the protocol, on a stream and under rules of ours.

trio-websocket (0.12) reads well: it is driven here for the opening handshake and for everything
that comes in. What goes out, and how a connection ends, is not left to it. Frames are appended to
the stream's out-queue without passing through it; of what it wants to send itself, pongs are
passed on, and its answer to a close frame becomes ours. These are the edges that are blunted:

* It is given a request head of ours instead of the client's, so that odd headers (a host that is
  no domain name, a key twice) never reach it, and no extension is ever agreed upon.
* Bytes that came behind the head in one packet are handed to it after it has answered.
* Its limit on messages counts characters, after they have come; ours counts bytes, across
  fragments, and refuses a frame by the size that its header announces.
* It answers broken frames by dropping the connection; the peer is told the code first.
* It takes a close code above 4999 for a broken frame; here it is the peer's goodbye, as in Phoenix.
* It waits for a silent peer without end when it closes, and with 1000 unless told otherwise; here
  every close has a code and a deadline.
* An exception in its reader ends its nursery; here it ends this connection alone.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import cast

import trio
import trio_websocket

from exeunt.channels.errors import Closed, ConnectionEnded, Lost, ProtocolViolation
from exeunt.channels.http_messages import Upgrade
from exeunt.channels.stream import ByteStream
from exeunt.channels.wire import Encoded, close_frame, ping_frame

__all__ = ["WebSocket", "open_websocket"]

_HANDSHAKE_SECONDS = 10.0
_LINGER_SECONDS = 1.0  # for a peer that has been told why, to read it before the socket closes
_CLOSE_OPCODE = 0x88
_LARGEST_CODE = 4999  # RFC 6455, section 7.4.2


@asynccontextmanager
async def open_websocket(
    stream: ByteStream,
    upgrade: Upgrade,
    *,
    subprotocol: str | None = None,
    max_frame_size: int = 8_000_000,
    max_message_size: int = 8_000_000,
    close_within: float = 5.0,
) -> AsyncGenerator[WebSocket, None]:
    """Answer `upgrade` with 101 and speak WebSocket on `stream` for as long as the block runs.

    `subprotocol` must be one that the client offered. `max_frame_size` bounds a frame with its
    header, and `max_message_size` a message that comes in fragments, both in bytes; a larger one
    ends the connection with 1009.

    When the block is left, the connection is closed: with 1001 in the ordinary way, with 1011 if
    by an exception, each within `close_within` seconds; at once and without a close frame if the
    block is cancelled, or left by an exception that is no `Exception`. Call `close` in the block
    for another code. Exceptions come out of the block as they are, not in a group, and the
    reader's own never do.
    """
    if subprotocol is not None and subprotocol not in upgrade.subprotocols:
        raise ValueError(
            f"the client offered the subprotocols {list(upgrade.subprotocols)}, not {subprotocol!r}"
        )
    ws = WebSocket(stream)
    sizes = MessageSizes(max_frame_size, max_message_size)
    bridge = _Bridge(ws, stream, _head(upgrade, subprotocol), sizes)
    del upgrade  # its request is not needed again, and takes 2 kB while the connection lasts
    error: BaseException | None = None
    async with trio.open_nursery() as nursery:
        stream.start_writer = lambda: nursery.start_soon(stream.run_writer)
        stream.on_overflow = ws.overflowed
        stream.last_words = close_frame(1013)
        try:
            await ws._open(nursery, bridge, subprotocol)
            yield ws
            if not ws._is_lost:
                await ws.close(1001, within=close_within)
        except Exception as raised:
            error = raised
            await ws.close(1011, within=close_within)
        except BaseException as raised:
            error = raised  # raised again below, where the nursery does not put it into a group
        finally:
            ws.abort()
            stream.start_writer = stream.on_overflow = None
            stream.last_words = b""
            # By way of the bridge it keeps this WebSocket: so neither waits for the other to go.
            ws._library = None
            if nursery.child_tasks:
                nursery.cancel_scope.cancel()
    if error is not None:
        raise error


class WebSocket:
    """An open WebSocket, the transport of one client; made by `open_websocket`."""

    __slots__ = ("_end", "_end_came", "_library", "_stream")

    def __init__(self, stream: ByteStream) -> None:
        self._stream = stream
        self._library: trio_websocket.WebSocketConnection | None = None
        # How the connection ended, set once, by whatever was first. From then on nothing is sent.
        self._end: ConnectionEnded | None = None
        self._end_came: trio.Event | None = None

    def __repr__(self) -> str:
        return f"<WebSocket {self._stream.peer} {self._end or 'open'}>"

    @property
    def stream(self) -> ByteStream:
        """The stream beneath, for its counters."""
        return self._stream

    @property
    def last_received(self) -> float:
        """When the peer was last heard of, on trio's clock; any byte counts, a ping too."""
        return self._stream.last_received

    @property
    def is_closing(self) -> bool:
        """Whether the end has begun, on either side: nothing that is sent now goes out."""
        return self._end is not None

    async def receive(self) -> str | bytes:
        """Receive the next message: `str` if it was a text message, `bytes` if a binary one.

        A cancelled `receive` loses no message. Raises `Closed`, `Lost` or `ProtocolViolation` once
        the connection has ended and the messages that came before are consumed; at once after a
        `close` of ours.
        """
        assert self._library is not None
        if self._end is not None and _is_local(self._end):
            raise self._ended()
        try:
            message = await self._library.get_message()
        except trio_websocket.ConnectionClosed:
            # The library tells its readers first, and only then what made it give up.
            await self._wait_for_end()
            raise self._ended() from None
        if self._end is not None and _is_local(self._end):
            raise self._ended()  # we closed while this waited: the message comes too late
        return message

    def send(self, message: Encoded) -> None:
        """Send a message; never wait and never raise. Dropped once the connection is closing."""
        if self._end is None:
            self._stream.put(message.frame)

    def send_frame(self, frame: bytes) -> None:
        """Send a whole data frame, made by `text_frame` or `binary_frame`, as `send` does."""
        if self._end is None:
            self._stream.put(frame)

    def ping(self, payload: bytes = b"") -> None:
        """Send a ping. Nobody waits for its pong, but `last_received` tells that one came."""
        if self._end is None:
            self._stream.put(ping_frame(payload))

    async def close(self, code: int, reason: str = "", *, within: float = 5.0) -> None:
        """Close with `code`, behind what was sent before, and wait `within` seconds for the peer.

        If the connection is ending already, only wait for that: at most a second for a peer that
        closed or broke the protocol, not at all if it is lost. Messages that still come are thrown
        away. The socket is closed when this returns, whatever the peer did, also when it
        is cancelled.

        Phoenix: a close frame there may wait for a peer without end, behind what that peer does
        not read. Here every close has a deadline, after which the connection is cut.

        Raises `ValueError` for a code that RFC 6455 (section 7.4) keeps off the wire. Phoenix.js
        before 1.8.16 never comes back after 1000: close with that only whom you do not want back.
        """
        if not (1000 <= code <= 1014 or 3000 <= code <= 4999) or code in (1004, 1005, 1006):
            raise ValueError(
                f"a close code is 1000 to 1003, 1007 to 1014, or 3000 to 4999, got {code}"
            )
        self._finish(Closed(code, reason, "local"), close_frame(code, reason))
        try:
            if self._is_lost:
                return  # there is nobody to wait for
            with trio.move_on_after(within):
                if self._library is not None:
                    await _until_closed(self._library)
                linger = isinstance(self._end, (Lost, ProtocolViolation))
                await self._stream.close_after_drain(min(within, _LINGER_SECONDS), linger=linger)
        finally:
            self.abort()

    def abort(self) -> None:
        """Cut the connection at once, without a close frame."""
        if self._end is None:
            self._finish(Lost("aborted"))
        self._stream.abort()

    # -- from here on: for this module

    @property
    def _is_lost(self) -> bool:
        """Whether there is nobody any more to whom a close frame could be sent."""
        return isinstance(self._end, Lost) and self._end.how != "overflow"

    async def _open(self, nursery: trio.Nursery, bridge: _Bridge, subprotocol: str | None) -> None:
        guard = cast(trio.Nursery, _ReaderGuard(self, nursery))
        with trio.move_on_after(_HANDSHAKE_SECONDS):
            request = await trio_websocket.wrap_server_stream(
                guard,
                bridge,
                # Never reached: the bridge refuses a message before it has that many bytes.
                max_message_size=bridge.max_message_size,
                receive_buffer_size=16 * 1024,
            )
            self._library = await request.accept(subprotocol=subprotocol)
        if self._library is None:
            raise Lost("failed", self._end)

    async def _wait_for_end(self) -> None:
        if self._end is None:
            self._end_came = self._end_came or trio.Event()
            await self._end_came.wait()

    def _ended(self) -> ConnectionEnded:
        # One that was raised holds the frames which hold this connection, so it is not kept.
        return (self._end or Lost("failed")).again()

    def _finish(self, end: ConnectionEnded, last_frame: bytes | None = None) -> None:
        if self._end is None:
            self._end = end
            if last_frame is not None:
                self._stream.put(last_frame)
            if self._end_came is not None:
                self._end_came.set()

    def overflowed(self) -> None:
        """Give up a peer that does not read: what the stream does when too much waits for it."""
        # The stream has said 1013 already, behind what it had begun to send; `close` sees to it.
        self._finish(Lost("overflow"))
        # Who waits for a message is told at once.
        self._stream.interrupt()

    def _peer_closed(self, frame: bytes) -> None:
        # The library answers with the peer's own code and reason, which so can be read from it.
        code = int.from_bytes(frame[2:4], "big") if len(frame) >= 4 else 1005
        reason = frame[4:].decode("utf-8", "replace")
        # Phoenix: Bandit answers 1000 to the codes that a client may use, and 1002 to others.
        answer = 1002 if 1012 <= code <= 2999 else 1000
        self._finish(Closed(code, reason, "peer"), close_frame(answer))

    def _library_gave_up(self, close_code: int | None) -> None:
        # It closes its stream either after a closing handshake, or upon a frame it cannot parse.
        if self._end is None:
            closed = self._library.closed if self._library is not None else None
            code, detail = (closed.code, closed.reason or "") if closed else (1002, "")
            if close_code is not None and close_code > _LARGEST_CODE and "CLOSE" in detail:
                # Phoenix: Bandit answers 1000 to all codes from 3000 on.
                self._finish(Closed(close_code, "", "peer"), close_frame(1000))
            else:
                self._finish(ProtocolViolation(code, detail), close_frame(code))


class _Gone(Exception):
    """Ends the library's reader where there is nobody left to tell.

    Leaving it by an exception of its own closes its messages, and so wakes `receive`, as much as
    its ways of giving up would, which first make a close frame for nobody and take two turns of
    the scheduler.
    """


class _Bridge(trio.abc.Stream):
    """The stream that trio-websocket sees: the peer's bytes, after a head of ours."""

    __slots__ = ("_answered", "_head", "_is_done", "_sizes", "_stream", "_ws")

    def __init__(self, ws: WebSocket, stream: ByteStream, head: bytes, sizes: MessageSizes) -> None:
        self._ws = ws
        self._stream = stream
        self._head = head
        self._answered: trio.Event | None = trio.Event()
        self._is_done = False
        self._sizes = sizes

    @property
    def max_message_size(self) -> int:
        return max(self._sizes.frame, self._sizes.message)

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        ws = self._ws
        if self._head:
            head, self._head = self._head, b""
            return head
        if self._answered is not None:
            await self._answered.wait()
            self._answered = None
        if self._is_done or (ws._end is not None and not _is_local(ws._end)):
            raise trio.ClosedResourceError
        try:
            data = await self._stream.receive_some(max_bytes)
        except trio.BrokenResourceError as error:
            ws._finish(Lost("reset", error.__cause__ or error))
            raise _Gone from None
        except trio.ClosedResourceError:
            ws._finish(Lost("aborted"))
            raise _Gone from None
        if not data:
            ws._finish(Lost("eof"))
            raise _Gone
        good = self._sizes.follow(data)
        if good < len(data):
            limits = f"{self._sizes.frame} bytes, or {self._sizes.message} in fragments"
            ws._finish(
                ProtocolViolation(1009, f"a message of more than {limits}"), close_frame(1009)
            )
            if not good:
                raise trio.ClosedResourceError
        return data[:good]

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        # No checkpoint: the library makes one, for its lock, right before this, and a
        # cancellation in here would lose the frame that it has already counted as sent.
        frame = bytes(data)
        if self._answered is not None and not self._answered.is_set():
            self._stream.put(frame)
            self._answered.set()
        elif frame[0] == _CLOSE_OPCODE:
            self._ws._peer_closed(frame)
        else:
            self._ws.send_frame(frame)

    async def wait_send_all_might_not_block(self) -> None:
        await trio.lowlevel.checkpoint()

    async def aclose(self) -> None:
        self._is_done = True
        self._ws._library_gave_up(self._sizes.close_code)
        await trio.lowlevel.checkpoint()


class _ReaderGuard:
    """The nursery that trio-websocket sees: it starts the reader, and keeps its exceptions."""

    __slots__ = ("_nursery", "_ws")

    def __init__(self, ws: WebSocket, nursery: trio.Nursery) -> None:
        self._ws = ws
        self._nursery = nursery

    def start_soon(self, reader: Callable[[], Awaitable[None]]) -> None:
        self._nursery.start_soon(self._run, reader)

    async def _run(self, reader: Callable[[], Awaitable[None]]) -> None:
        failure: Exception | None = None
        try:
            await reader()
        except _Gone:
            return
        except Exception as error:
            failure = error
        self._ws._finish(Lost("failed", failure))  # as a rule the end has come before


class MessageSizes:
    """Follows the frames in a stream of bytes, and finds the message that grows too large.

    RFC 6455, section 5.2. Whether frames are well formed otherwise is the library's business.

    A frame is bounded with its header, and a message that comes in fragments by all its payloads
    together, as Bandit has it. `close_code` is that of the first close frame, None if none has
    come with a code.
    """

    __slots__ = ("_fragments", "_header", "_payload_left", "close_code", "frame", "message")

    def __init__(self, frame: int, message: int) -> None:
        if frame < 1 or message < 1:
            raise ValueError(f"the largest message has 1 byte or more, not {min(frame, message)}")
        self.frame = frame
        self.message = message
        self._header = b""  # of a frame whose header has come in part
        self._payload_left = 0
        self._fragments = 0  # payload bytes so far of a message that comes in fragments
        self.close_code: int | None = None

    def follow(self, data: bytes) -> int:
        """Take the next bytes; return how many of them come before a frame that is too large."""
        at = 0
        end = len(data)
        while True:
            if self._payload_left:
                step = min(self._payload_left, end - at)
                self._payload_left -= step
                at += step
            if at == end:
                return end
            start = at - len(self._header)
            header = self._header + data[at : at + 14]
            size = _header_size(header)
            is_close = _has_close_code(header)
            # The code of a close frame is waited for as if it were of the header.
            if len(header) < size + 2 * is_close:
                self._header = header
                return end
            self._header = b""
            at = start + size
            length = header[1] & 0x7F
            if length == 126:
                length = int.from_bytes(header[2:4], "big")
            elif length == 127:
                length = int.from_bytes(header[2:10], "big")
            if is_close:
                mask, masked = header[size - 4 : size - 2], header[size : size + 2]
                code = int.from_bytes(masked, "big") ^ int.from_bytes(mask, "big")
                self.close_code = code if self.close_code is None else self.close_code
                at, length = at + 2, length - 2
            self._payload_left = length
            if header[0] & 0x08:
                continue  # a control frame, which may stand between the fragments of a message
            is_last, is_first = header[0] & 0x80, header[0] & 0x0F
            # A fragment counts as one byte at least: the library keeps an entry for each.
            self._fragments += 0 if is_last and is_first else length or 1
            if size + length > self.frame or self._fragments > self.message:
                return max(start, 0)
            if is_last:
                self._fragments = 0


def _header_size(header: bytes) -> int:
    if len(header) < 2:
        return 2
    extended = {126: 2, 127: 8}.get(header[1] & 0x7F, 0)
    return 2 + extended + (4 if header[1] & 0x80 else 0)


def _has_close_code(header: bytes) -> bool:
    # A frame without a mask is none, and one with more than 125 bytes no control frame.
    return len(header) > 1 and header[0] == _CLOSE_OPCODE and 0x82 <= header[1] <= 0xFD


def _is_local(end: ConnectionEnded) -> bool:
    return isinstance(end, Closed) and end.by == "local"


async def _until_closed(library: trio_websocket.WebSocketConnection) -> None:
    try:
        while True:
            await library.get_message()
    except trio_websocket.ConnectionClosed:
        pass


def _head(upgrade: Upgrade, subprotocol: str | None) -> bytes:
    lines = [
        "GET / HTTP/1.1",
        "Host: localhost",
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        f"Sec-WebSocket-Key: {upgrade.key}",
    ]
    if subprotocol is not None:
        lines.append(f"Sec-WebSocket-Protocol: {subprotocol}")
    return "\r\n".join([*lines, "", ""]).encode("ascii")
