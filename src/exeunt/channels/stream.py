"""The byte stream beneath HTTP and WebSocket, with the out-queue of its connection.

Whoever has something to say to a client appends whole frames to the client's out-queue and goes
on: it never waits for the client, it cannot be cancelled halfway through a frame, and a client
that is slow or dead costs it nothing and hurts nobody else. The queue is bounded in bytes: a client
that lets it overflow is to be disconnected. A frame is tried on the socket at once; only what the
socket does not take is queued, so an idle connection has neither a queue nor a writer.

Phoenix: what waits for a client that does not read grows without end there. Here a connection has a
bound in bytes, and overflowing it is an end of its own: close code 1013, and the exit reason
`Shutdown("slow_consumer")`.

    stream = ByteStream(connected_socket)
    stream.start_writer = lambda: nursery.start_soon(stream.run_writer)
    stream.on_overflow = disconnect_the_client
    stream.put(frame)
"""

from __future__ import annotations

import select
import socket
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

import trio
from trio.lowlevel import ParkingLot

from exeunt.kernel.ids import Pid

__all__ = ["ByteStream", "StreamState", "StreamStatistics"]

StreamState: TypeAlias = Literal["open", "overflowed", "broken", "closed"]

_MAX_READ = 64 * 1024
_MAX_WRITE = 256 * 1024
_MAX_JOIN = 512  # buffers in one sendmsg; Linux takes 1,024


@dataclass(frozen=True, slots=True)
class StreamStatistics:
    """What a stream has done so far; sizes in bytes, `last_received` on trio's clock."""

    state: StreamState
    queued: int
    sent: int
    received: int
    dropped_puts: int
    last_received: float


class ByteStream(trio.abc.Stream):
    """A connected TCP socket: reading with push-back, and writing through a bounded queue.

    There is one reader at a time, and any number of putters. `max_queued` bounds the bytes that
    may wait for the socket, beyond those that the kernel's own buffer takes.

    `start_writer` is called, from within `put`, when something had to be queued and nobody is
    writing; it has to see to it that `run_writer` is run soon, and must not raise. Without it the
    queue is written by whoever awaits `drain`. `on_overflow` is called once, from within `put`,
    when the queue has gone over its bound; it must not raise.
    """

    __slots__ = (
        "_broken_by",
        "_dropped",
        "_eof",
        "_is_drained",
        "_queue",
        "_queued",
        "_received",
        "_sent",
        "_sock",
        "_state",
        "_unread",
        "_waiters",
        "_writing",
        "last_received",
        "last_words",
        "max_queued",
        "on_overflow",
        "peer",
        "start_writer",
    )

    def __init__(self, sock: socket.socket, *, max_queued: int = 1024 * 1024) -> None:
        """Take over a connected socket; it becomes non-blocking, without Nagle's delay."""
        if max_queued < 1:
            raise ValueError(f"max_queued must be at least 1 byte, got {max_queued}")
        self._sock = sock
        sock.setblocking(False)
        self.peer: tuple[str, int] | None = None
        if sock.family in (socket.AF_INET, socket.AF_INET6):
            try:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self.peer = sock.getpeername()[:2]
            except OSError:
                pass  # reset before it was accepted: the first read will tell
        self.max_queued = max_queued
        self.last_received = trio.current_time()
        self.start_writer: Callable[[], None] | None = None
        self.on_overflow: Callable[[], None] | None = None
        # What takes the place of all that was queued, when that has become too much.
        self.last_words = b""
        self._state: StreamState = "open"
        self._eof = False
        self._broken_by: OSError | None = None
        self._unread = b""
        self._is_drained = False
        # None whenever nothing waits: an empty deque takes 600 bytes.
        self._queue: deque[bytes | memoryview] | None = None
        self._queued = 0
        self._writing = False
        self._waiters: ParkingLot | None = None
        self._sent = self._received = self._dropped = 0

    def __repr__(self) -> str:
        return f"<ByteStream {self.peer} {self._state}, {self._queued} bytes queued>"

    @property
    def state(self) -> StreamState:
        """Tell how the stream stands.

        `overflowed`: nothing more is taken, and what was queued is lost, but for the rest of a
        frame that was begun and the `last_words`; without these, abort it. `broken`: the peer is
        gone.
        """
        return self._state

    @property
    def queued_bytes(self) -> int:
        """Tell how many bytes wait for the socket."""
        return self._queued

    @property
    def has_ended(self) -> bool:
        """Tell whether the peer has ended its side (FIN); it may still read."""
        return self._eof

    @property
    def broken_by(self) -> OSError | None:
        """Return the error that broke the connection, if one did."""
        return self._broken_by

    def statistics(self) -> StreamStatistics:
        """Return the stream's counters as they stand."""
        return StreamStatistics(
            self._state,
            self._queued,
            self._sent,
            self._received,
            self._dropped,
            self.last_received,
        )

    @property
    def has_hung_up(self) -> bool:
        """Whether the peer has ended or broken the connection, be there unread bytes or not.

        For an owner that does not read at the moment, and so would not learn of it. Where the
        system cannot tell (it lacks POLLRDHUP), False.
        """
        if self._state == "closed":
            return True
        watched = getattr(select, "POLLRDHUP", 0)
        poll = select.poll()
        poll.register(self._sock, watched)
        return bool(poll.poll(0))

    # -- reading

    def unread(self, data: bytes) -> None:
        """Push `data` back, to be received once more, before everything else."""
        self._unread = data + self._unread

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Receive at least one byte, or b"" at the end.

        At most `max_bytes` come, and never more than 64 KiB. Notes the time in `last_received`
        whenever bytes come from the network.

        Raises `trio.BrokenResourceError` when the connection broke (a reset), and
        `trio.ClosedResourceError` when the stream was closed on this side, before or meanwhile.
        """
        limit = _MAX_READ if max_bytes is None else min(max_bytes, _MAX_READ)
        if limit < 1:
            raise ValueError(f"max_bytes must be at least 1, got {max_bytes}")
        await trio.lowlevel.checkpoint_if_cancelled()
        if self._unread:
            await trio.lowlevel.cancel_shielded_checkpoint()
            replayed, self._unread = self._unread[:limit], self._unread[limit:]
            return replayed
        # A read that did not fill its buffer has most likely emptied the socket: then the next
        # one waits at once, and spares a system call that would fail.
        data = None if self._is_drained else self._receive_now(limit)
        waited = data is None
        while data is None:
            self._check_not_closed()
            await trio.lowlevel.wait_readable(self._sock)
            data = self._receive_now(limit)
        self._is_drained = len(data) < limit
        if data:
            self.last_received = trio.current_time()
            self._received += len(data)
        else:
            self._eof = True
            if self._broken_by is not None:
                # A put met the reset first, which then reads as an ordinary end.
                raise trio.BrokenResourceError(f"the connection broke: {self._broken_by}")
        if not waited:
            await trio.lowlevel.cancel_shielded_checkpoint()
        return data

    def _receive_now(self, limit: int) -> bytes | None:
        self._check_not_closed()
        try:
            return self._sock.recv(limit)
        except (BlockingIOError, InterruptedError):
            return None
        except OSError as error:
            self._break(error)
            raise trio.BrokenResourceError(f"the connection broke: {error}") from error

    def _check_not_closed(self) -> None:
        if self._state == "closed":
            raise trio.ClosedResourceError("this stream was closed on this side")

    # -- writing

    def put(self, frame: bytes) -> None:
        """Send `frame`, whole and in order; never wait and never raise.

        The socket is tried at once if nothing is queued before; what it does not take is queued.
        Dropped if the stream is closed, broken or overflowed. A frame that takes the queue over
        `max_queued` overflows the stream: the queue gives way to the `last_words`, and
        `on_overflow` is called.
        """
        if self._state != "open":
            self._dropped += 1
            return
        size = len(frame)
        if self._queue is None:
            if not size:
                return
            try:
                done = self._sock.send(frame)
            except (BlockingIOError, InterruptedError):
                done = 0
            except OSError as error:
                self._break(error)
                return
            self._sent += done
            if done == size:
                return
            self._queue = deque((memoryview(frame)[done:] if done else frame,))
            self._queued = size - done
        else:
            self._queue.append(frame)
            self._queued += size
        if self._queued > self.max_queued:
            self._state = "overflowed"
            begun = self._queue[0]
            self._drop_queue()
            if self.last_words:
                self._queue = deque((self.last_words,))
                if isinstance(begun, memoryview):
                    self._queue.appendleft(begun)
                self._queued = sum(map(len, self._queue))
                self._ensure_writer()
            if self.on_overflow is not None:
                self.on_overflow()
        else:
            self._ensure_writer()

    def _ensure_writer(self) -> None:
        if not self._writing and self.start_writer is not None:
            self._writing = True
            self.start_writer()

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Append `data` to the queue whole, and return without waiting for the peer.

        It is never cut halfway: a cancellation comes before it or not at all. Raises
        `trio.ClosedResourceError` or `trio.BrokenResourceError`.
        """
        await trio.lowlevel.checkpoint()
        self.put(bytes(data))
        self._check_not_closed()
        if self._state != "open":
            raise trio.BrokenResourceError(f"this stream is {self._state}")

    async def wait_send_all_might_not_block(self) -> None:
        """Return at once: `send_all` never blocks."""
        await trio.lowlevel.checkpoint()

    async def drain(self) -> None:
        """Wait until everything put so far is with the kernel, or can never be.

        Writes the queue itself if no writer runs. As long as the peer does not read, it waits: the
        caller sets the deadline.
        """
        await trio.lowlevel.checkpoint()
        while self._queue is not None:
            if self._writing:
                if self._waiters is None:
                    self._waiters = ParkingLot()
                await self._waiters.park()
            else:
                await self.run_writer()

    async def run_writer(self) -> None:
        """Write the queue to the socket until it is empty, or the stream is no longer open.

        There is one at a time. Each write joins what has gathered. A writer that is cancelled
        leaves the queue whole; the next put, or a waiting `drain`, takes over.
        """
        self._writing = True
        try:
            while self._queue is not None:
                await trio.lowlevel.wait_writable(self._sock)
                self._write()
        except trio.ClosedResourceError:
            pass  # closed on this side meanwhile: there is nothing left to write
        finally:
            self._writing = False
            if self._waiters is not None:
                self._waiters.unpark_all()

    def _write(self) -> None:
        queue = self._queue
        if queue is None:
            return
        batch: list[bytes | memoryview] = []
        size = 0
        for buffer in queue:
            batch.append(buffer)
            size += len(buffer)
            if size >= _MAX_WRITE or len(batch) == _MAX_JOIN:
                break
        try:
            done = self._sock.sendmsg(batch)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            self._break(error)
            return
        self._sent += done
        self._queued -= done
        while queue and done >= len(queue[0]):
            done -= len(queue.popleft())
        if done:
            queue[0] = memoryview(queue[0])[done:]
        elif not queue:
            self._drop_queue()

    def _drop_queue(self) -> None:
        # A writer that waits for the socket sees the missing queue when it wakes.
        self._queue = None
        self._queued = 0
        if self._waiters is not None:
            self._waiters.unpark_all()

    def _break(self, error: OSError) -> None:
        if self._state == "open":
            self._state = "broken"
            # Without its traceback, whose frames would keep this stream, and it them.
            self._broken_by = error.with_traceback(None)
        self._drop_queue()

    # -- closing

    def abort(self) -> None:
        """Close the socket at once; what is queued is lost. May be called twice, and by anyone.

        A reader or writer that waits on the socket wakes with `trio.ClosedResourceError`.
        """
        if self._state == "closed":
            return
        self._state = "closed"
        self._drop_queue()
        self._unread = b""
        trio.lowlevel.notify_closing(self._sock)
        self._sock.close()

    def abort_with(self, process: Pid) -> None:
        """Close the socket because the process that it belongs to has ended."""
        self.abort()

    def interrupt(self) -> None:
        """Wake a reader or writer that waits, with `trio.ClosedResourceError`; close nothing."""
        if self._state != "closed":
            trio.lowlevel.notify_closing(self._sock)

    async def aclose(self) -> None:
        """Close the socket at once, as `abort` does, and be a checkpoint."""
        self.abort()
        await trio.lowlevel.checkpoint()

    async def close_after_drain(self, within: float, *, linger: bool = False) -> None:
        """Let the queue drain, end our side, then close the socket: all `within` so many seconds.

        With `linger` the rest of what the peer sends is read and thrown away, until it ends its
        side too. Without that a peer that is still sending may be reset before it has read what
        was said to it last (RFC 9112, section 9.6). Nobody else may be reading then.

        The socket is closed when this returns, whatever happened, a cancellation included.
        """
        try:
            with trio.move_on_after(within):
                await self.drain()
                if self._state in ("open", "overflowed"):
                    self._sock.shutdown(socket.SHUT_WR)
                    while linger and not self._eof and await self.receive_some():
                        pass
        except (OSError, trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        finally:
            self.abort()
