"""What a connection to a client looks like, whichever way it came.

Everything above knows a client by this contract alone: messages come in whole, one at a time;
messages go out without ever waiting; and the end of the connection is an exception that tells in
which way the peer left.
"""

from __future__ import annotations

from typing import Protocol

from exeunt.channels.wire import Encoded

__all__ = ["Transport"]


class Transport(Protocol):
    """An open connection to one client, owned by one task."""

    @property
    def last_received(self) -> float:
        """When the peer was last heard of, on trio's clock; any byte counts, a ping too."""
        ...

    @property
    def is_closing(self) -> bool:
        """Whether the end has begun, on either side: nothing that is sent now goes out."""
        ...

    async def receive(self) -> str | bytes:
        """Receive the next message: a `str` if it was text, `bytes` if it was binary.

        Only the owner receives. A cancelled `receive` loses no message.

        Raises `Closed`, `Lost` or `ProtocolViolation` (all `ConnectionEnded`) once the connection
        has ended and the messages that came before are consumed.
        """
        ...

    def send(self, message: Encoded) -> None:
        """Send a message, whole and in order; never wait and never raise, from any task.

        It is dropped once the connection is closing. A peer that does not read is cut off when
        more waits for it than the transport's bound; then `receive` raises `Lost("overflow")`.
        """
        ...

    async def close(self, code: int, reason: str = "", *, within: float = 5.0) -> None:
        """Close with `code`, behind what was sent before, and wait `within` seconds for the peer.

        Messages that still come are thrown away. The connection is gone when this returns,
        whatever the peer did; also when it is cancelled.
        """
        ...

    def abort(self) -> None:
        """Cut the connection at once, without a word to the peer."""
        ...
