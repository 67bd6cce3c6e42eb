"""Long-polling: a client without an open connection, of whom only its requests are seen.

What is sent to it waits here until it polls, and what it posts waits until it is received. Both
happen in the requests' own processes, which call `poll` and `deliver`; the client's process is the
one that receives. There are no bytes in this module, and no tokens.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final

import trio

from exeunt.channels.errors import Closed, ConnectionEnded, Lost, ProtocolError
from exeunt.channels.wire import Encoded

__all__ = ["PolledTransport"]

_SENT_AWAY: Final = 1012
"""The close code of a drain; one that polls is never told, but its requests end sooner."""

_PER_MESSAGE: Final = 64  # what a short message takes besides its bytes, roughly


class _Delivery:
    """A message of the client, from its request to the end of what it causes."""

    __slots__ = ("data", "is_binary", "settled", "was_handled", "was_taken")

    def __init__(self, data: bytes, is_binary: bool) -> None:
        self.data = data
        self.is_binary = is_binary
        self.was_taken = False
        self.was_handled = False
        self.settled = trio.Event()


class _Poll:
    """A poll that waits; `news` wakes it, and then it takes for itself."""

    __slots__ = ("news",)

    def __init__(self) -> None:
        self.news = trio.Event()


class PolledTransport:
    """A client that polls; it is owned by the one task that receives."""

    __slots__ = (
        "_arrived",
        "_end",
        "_handled_now",
        "_incoming",
        "_last_polled",
        "_outgoing",
        "_polls",
        "_queued",
        "last_received",
        "max_queued",
        "on_overflow",
    )

    def __init__(self, max_queued: int) -> None:
        """Let messages of `max_queued` bytes wait for the client.

        `on_overflow` is called, from within `send`, when more do; it must not raise.
        """
        self.max_queued = max_queued
        self.on_overflow: Callable[[], None] | None = None
        self.last_received = self._last_polled = trio.current_time()
        self._outgoing: list[Encoded] = []
        self._queued = 0
        # The latest last.
        self._polls: list[_Poll] = []
        # Bounded by the number of requests that can be open: each holds one at a time.
        self._incoming: deque[_Delivery] = deque()
        self._handled_now: _Delivery | None = None
        self._arrived: trio.Event | None = None
        self._end: ConnectionEnded | None = None

    def __repr__(self) -> str:
        return f"<PolledTransport {self._end or 'open'}, {self._queued} bytes queued>"

    @property
    def is_closing(self) -> bool:
        """Whether the end has come: nothing that is sent now reaches the client."""
        return self._end is not None

    @property
    def is_sent_away(self) -> bool:
        """Whether the end has come because all are to connect elsewhere: nobody waits for more."""
        return isinstance(self._end, Closed) and self._end.code == _SENT_AWAY

    @property
    def queued_bytes(self) -> int:
        """How many bytes wait for the client to poll, a little added for each message."""
        return self._queued

    @property
    def unpolled_since(self) -> float | None:
        """Since when the client has not been polling, on trio's clock; None while it is."""
        return None if self._polls else self._last_polled

    # -- for the client's process

    async def receive(self) -> str | bytes:
        """Receive the next message; to ask for it means that the one before has been dealt with.

        A cancelled `receive` loses no message. Raises `ProtocolError` for text that is not UTF-8,
        and what is a `ConnectionEnded` at the end.
        """
        await trio.lowlevel.checkpoint()
        if self._handled_now is not None:
            self._handled_now.was_handled = True
            self._settle()
        while self._end is None:
            if self._incoming:
                delivery = self._handled_now = self._incoming.popleft()
                delivery.was_taken = True
                if delivery.is_binary:
                    return delivery.data
                try:
                    return delivery.data.decode()
                except UnicodeDecodeError as error:
                    raise ProtocolError(f"a text message is not UTF-8: {error}") from None
            self._arrived = trio.Event()
            await self._arrived.wait()
        raise self._end.again()

    def send(self, message: Encoded) -> None:
        """Send a message; never wait and never raise. Dropped once the end has come."""
        if self._end is not None:
            return
        self._outgoing.append(message)
        self._queued += len(message.data) + _PER_MESSAGE
        if self._queued > self.max_queued:
            self._finish(Lost("overflow"))
            if self.on_overflow is not None:
                self.on_overflow()
        elif self._polls:
            self._polls[-1].news.set()

    async def close(self, code: int, reason: str = "", *, within: float = 5.0) -> None:
        """End it. There is nobody to wait for, and no way to tell the client the code."""
        self._finish(Closed(code, reason, "local"))
        await trio.lowlevel.checkpoint()

    def abort(self) -> None:
        """End it at once."""
        self._finish(Lost("aborted"))

    # -- for the requests

    async def poll(self, within: float, is_gone: Callable[[], bool]) -> list[Encoded]:
        """Take what waits for the client, in order; wait for it, at most `within` seconds.

        Nothing is taken where `is_gone` says, at the last moment, that nobody would get it; nor by
        a poll that is cancelled. Of several polls at a time the latest one gets the messages. At
        the end of the client nothing more comes, but a poll waits on, unless all are sent away.
        """
        self.last_received = trio.current_time()
        poll = _Poll()
        self._polls.append(poll)
        try:
            with trio.move_on_after(within):
                while not (self.is_sent_away or is_gone()):
                    if self._outgoing:
                        messages, self._outgoing = self._outgoing, []
                        self._queued = 0
                        return messages
                    await poll.news.wait()
                    poll.news = trio.Event()
            return []
        finally:
            self._polls.remove(poll)
            self._last_polled = trio.current_time()
            if self._outgoing and self._polls:
                # It was woken for them, but its client is gone.
                self._polls[-1].news.set()

    async def deliver(self, data: bytes, *, is_binary: bool = False) -> bool:
        """Hand a message of the client over, and wait until it has been dealt with.

        False if the end came before that. When this is cancelled, a message that has not been
        taken yet never will be.
        """
        self.last_received = trio.current_time()
        if self._end is not None:
            await trio.lowlevel.checkpoint()
            return False
        delivery = _Delivery(data, is_binary)
        self._incoming.append(delivery)
        if self._arrived is not None:
            self._arrived.set()
        try:
            await delivery.settled.wait()
        finally:
            if not delivery.was_taken and delivery in self._incoming:
                self._incoming.remove(delivery)
        return delivery.was_handled

    # ---------------------------------------------------------------------------------------------

    def _settle(self) -> None:
        if self._handled_now is not None:
            self._handled_now.settled.set()
            self._handled_now = None

    def _finish(self, end: ConnectionEnded) -> None:
        if self._end is not None:
            return
        self._end = end
        self._outgoing = []
        self._queued = 0
        self._settle()
        for delivery in self._incoming:
            delivery.settled.set()
        self._incoming.clear()
        for poll in self._polls:
            poll.news.set()
        if self._arrived is not None:
            self._arrived.set()
