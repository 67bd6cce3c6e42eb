"""A client's WebSocket: trio-websocket speaks the protocol, on a stream and under rules of ours.

As on the server's side, what goes out is not left to trio-websocket (0.12): frames are masked here
and appended to the stream's out-queue, so that sending neither waits nor can be cancelled halfway.
These are the edges that are blunted:

* An answer that is no upgrade makes it wait for the end of a body that may have none; here the
  status counts as soon as the head is there.
* A server that hangs up during the handshake leaves it waiting; here that fails at once.
* Its limit on messages counts characters, after they have come; ours counts bytes, across
  fragments, and refuses a frame by the size that its header announces.
* It waits for a silent peer without end when it closes; here every close has a deadline.
* An exception in its reader ends its nursery; here it ends this connection alone.
* It never notices that a peer is gone without a word; `last_received` tells when it was last heard.
"""

from __future__ import annotations

import os
import socket
import ssl
from typing import Final, Literal, cast

import trio
import trio_websocket

from exeunt.channels.client.address import Address
from exeunt.channels.client.bridge import Reader
from exeunt.channels.client.errors import ConnectFailed, Disconnected
from exeunt.channels.client.frames import masked_close, masked_frame
from exeunt.channels.errors import in_seconds
from exeunt.channels.stream import ByteStream
from exeunt.channels.wire import Encoded

__all__ = ["ClientWebSocket", "open_client_websocket"]

# Beyond what may wait of messages: for pongs, and the close frame.
_SLACK: Final = 64 * 1024


async def open_client_websocket(
    address: Address,
    target: str,
    nursery: trio.Nursery,
    *,
    subprotocols: list[str],
    headers: list[tuple[bytes, bytes]],
    ssl_context: ssl.SSLContext | None,
    max_message_size: int,
    max_queued: int,
    within: float,
) -> ClientWebSocket:
    """Connect; raise `ConnectFailed` if that does not succeed `within` so many seconds.

    The connection's tasks run in `nursery`, and end when it is closed or aborted.
    """
    stage = "TCP"
    stream: ByteStream | None = None
    try:
        with trio.move_on_after(within):
            stream = await _dial(address, max_queued + _SLACK)
            tls: trio.SSLStream[ByteStream] | None = None
            if address.secure:
                stage = "TLS"
                tls = await _start_tls(address, stream, ssl_context)
            stage = "WebSocket"
            ws = ClientWebSocket(nursery, stream, tls, max_message_size)
            await ws._open(address, target, subprotocols, headers)
            opened, stream = ws, None
            return opened
    finally:
        if stream is not None:
            stream.abort()
    raise ConnectFailed(
        address.url, f"the server has not completed the {stage} handshake in {in_seconds(within)}"
    )


async def _dial(address: Address, max_queued: int) -> ByteStream:
    try:
        found = await trio.open_tcp_stream(address.host, address.port)
    except socket.gaierror as error:
        detail = f"no address is known for the host {address.host!r} ({error.strerror})"
        raise ConnectFailed(address.url, detail) from None
    except OSError as error:
        cause = error.__cause__
        while isinstance(cause, BaseExceptionGroup):
            cause = cause.exceptions[0]
        if isinstance(cause or error, ConnectionRefusedError):
            detail = (
                f"nothing listens on port {address.port} of {address.host}; is the server running?"
            )
        else:
            detail = f"{cause or error}"
        raise ConnectFailed(address.url, detail) from error
    return ByteStream(socket.socket(fileno=found.socket.detach()), max_queued=max_queued)


async def _start_tls(
    address: Address, stream: ByteStream, context: ssl.SSLContext | None
) -> trio.SSLStream[ByteStream]:
    tls = trio.SSLStream(
        stream,
        context or ssl.create_default_context(),
        server_hostname=address.host,
        https_compatible=True,
    )
    try:
        await tls.do_handshake()
    except trio.BrokenResourceError as error:
        cause = error.__cause__
        if isinstance(cause, ssl.SSLCertVerificationError):
            detail = f"its certificate is not accepted: {cause.verify_message}"
        else:
            detail = f"the TLS handshake failed ({cause or error}); does it speak TLS on this port?"
        raise ConnectFailed(address.url, detail) from error
    return tls


class ClientWebSocket:
    """An open WebSocket of a client; made by `open_client_websocket`. It has one receiver."""

    __slots__ = (
        "_closing",
        "_flushed",
        "_library",
        "_nursery",
        "_opening",
        "_pending",
        "_pending_bytes",
        "_reader",
        "_stream",
        "_tls",
        "_tls_writing",
        "_violation",
    )

    def __init__(
        self,
        nursery: trio.Nursery,
        stream: ByteStream,
        tls: trio.SSLStream[ByteStream] | None,
        max_message_size: int,
    ) -> None:
        self._nursery = nursery
        self._stream = stream
        self._tls = tls
        # What is to be encrypted, never for longer than a few steps, and how many bytes it has,
        # those included that are being encrypted.
        self._pending: list[bytes] = []
        self._pending_bytes = 0
        self._tls_writing = False
        self._flushed: trio.lowlevel.ParkingLot | None = None
        self._library: trio_websocket.WebSocketConnection | None = None
        self._opening: trio.CancelScope | None = None
        self._reader = Reader(self, stream if tls is None else tls, max_message_size)
        # Who sent a close frame first. From then on nothing is sent.
        self._closing: Literal["client", "server"] | None = None
        self._violation: Disconnected | None = None
        stream.start_writer = lambda: nursery.start_soon(stream.run_writer)
        stream.on_overflow = stream.abort

    @property
    def last_received(self) -> float:
        """When the server was last heard of, on trio's clock; any byte counts."""
        return self._stream.last_received

    @property
    def queued_bytes(self) -> int:
        """How many bytes wait for the server to read them."""
        return self._stream.queued_bytes + self._pending_bytes

    def send(self, message: Encoded) -> None:
        """Send a message; never wait and never raise. Dropped once the connection is closing."""
        if self._closing is None:
            self._put(masked_frame(message, os.urandom(4)))

    async def receive(self) -> str | bytes:
        """Receive the next message; a cancelled `receive` loses none.

        Raises `Disconnected` once the connection has ended and what came before is consumed.
        """
        assert self._library is not None
        try:
            return await self._library.get_message()
        except trio_websocket.ConnectionClosed as closed:
            reason = closed.reason
        raise self._ended(reason)

    async def close(self, code: int, reason: str = "", *, within: float) -> None:
        """Close, behind what was sent before, and wait `within` seconds for the server to answer.

        Messages that still come are thrown away. The socket is closed when this returns, also when
        it is cancelled: then without waiting.
        """
        try:
            self.say_goodbye(code, reason)
            with trio.move_on_after(within):
                if self._library is not None:
                    try:
                        while True:
                            await self._library.get_message()
                    except trio_websocket.ConnectionClosed:
                        pass
                await self._flush()
                await self._stream.close_after_drain(within)
        finally:
            self.abort()

    def say_goodbye(self, code: int, reason: str = "") -> None:
        """Send the close frame, unless one was sent already, and do not wait."""
        if self._closing is None:
            self._closing = "client"
            self._put(masked_close(code, reason, os.urandom(4)))

    def abort(self) -> None:
        """Cut the connection at once."""
        self._closing = self._closing or "client"
        self._pending.clear()
        self._stream.abort()

    # -- from here on: for this module

    async def _open(
        self,
        address: Address,
        target: str,
        subprotocols: list[str],
        headers: list[tuple[bytes, bytes]],
    ) -> None:
        with trio.CancelScope() as self._opening:
            self._library = await trio_websocket.wrap_client_stream(
                cast(trio.Nursery, self._reader),
                cast(trio.SocketStream, self._reader.bridge),
                address.host_header,
                target,
                subprotocols=subprotocols,
                extra_headers=headers,
                message_queue_size=16,
                # Never reached: the bridge refuses a message before it has that many bytes.
                max_message_size=self._reader.bridge.sizes.frame,
                receive_buffer_size=16 * 1024,
            )
        self._opening = None
        if self._library is None:
            raise self._reader.why_not_open(address)

    def _put(self, frame: bytes) -> None:
        if self._tls is None:
            self._stream.put(frame)
            return
        self._pending.append(frame)
        self._pending_bytes += len(frame)
        if not self._tls_writing:
            self._tls_writing = True
            self._nursery.start_soon(self._encrypt, self._tls)

    async def _encrypt(self, tls: trio.SSLStream[ByteStream]) -> None:
        # It never waits for the server: what is encrypted goes to the stream's out-queue.
        try:
            while self._pending:
                data = b"".join(self._pending)
                self._pending.clear()
                await tls.send_all(data)
                self._pending_bytes -= len(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            self._pending.clear()
        finally:
            self._tls_writing = False
            if self._flushed is not None:
                self._flushed.unpark_all()

    async def _flush(self) -> None:
        while self._tls_writing:
            if self._flushed is None:
                self._flushed = trio.lowlevel.ParkingLot()
            await self._flushed.park()

    def _ended(self, reason: trio_websocket.CloseReason | None) -> Disconnected:
        if self._violation is not None:
            return self._violation
        if reason is not None and reason.code != 1006:
            if self._closing is None:
                # It has not answered a close frame: it is a frame that it could not parse.
                self.say_goodbye(reason.code)
                detail = f"the server broke the WebSocket protocol: {reason.reason}"
                return Disconnected(reason.code, by="client", detail=detail)
            return Disconnected(reason.code, reason.reason or "", by=self._closing)
        if self._stream.state == "overflowed":
            return Disconnected(1006, by="client", detail="the server does not read")
        broken = self._stream.broken_by
        if broken is None and self._reader.bridge.has_ended:
            return Disconnected(1006, by=None, detail="the server hung up without a word")
        return Disconnected(1006, by=None, detail=str(broken or "it broke"))
