"""A transport without a network: messages go from the test to the session and back in memory."""

from __future__ import annotations

import math
from collections.abc import Callable

import trio

from exeunt.channels.errors import Closed
from exeunt.channels.wire import Encoded

__all__ = ["MemoryTransport"]


class MemoryTransport:
    """The connection to one client, which is the test; it meets the contract of all transports."""

    def __init__(self, arrived: Callable[[Encoded], None]) -> None:
        self.is_closing = False
        self.has_hung_up = False
        """Whether the client sends nothing more."""
        self._arrived = arrived
        # Without a bound, as it holds what the test itself has pushed and the session not yet read.
        self._frames, self._reading = trio.open_memory_channel[str | bytes](math.inf)
        self._last_received = trio.current_time()

    @property
    def last_received(self) -> float:
        """When the client was last heard of, on trio's clock."""
        return self._last_received

    def put(self, message: Encoded) -> None:
        """Have the session receive a message of the client."""
        self._last_received = trio.current_time()
        self._frames.send_nowait(message.data if message.binary else message.data.decode())

    def hang_up(self) -> None:
        """End the client's side: `receive` raises `Closed` when all that was put is received."""
        self.has_hung_up = True
        self._frames.close()

    async def receive(self) -> str | bytes:
        """Receive the next frame; raise `Closed` when there are no more."""
        try:
            return await self._reading.receive()
        except trio.EndOfChannel:
            raise Closed(1000, "", "peer") from None

    def send(self, message: Encoded) -> None:
        """Hand a message to the client at once; it is dropped once the connection is closing."""
        if not self.is_closing:
            self._arrived(message)

    async def close(self, code: int, reason: str = "", *, within: float = 5.0) -> None:
        """Close; there is nobody to wait for."""
        self.abort()
        await trio.lowlevel.checkpoint()

    def abort(self) -> None:
        """Cut the connection at once."""
        self.is_closing = True
        self.hang_up()
