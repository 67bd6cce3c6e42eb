"""The errors of the web room, grouped by whose fault they are.

*You used it wrongly* is a `TypeError` or `ValueError` raised where the mistake was made. *The peer
broke the protocol* carries the WebSocket close code or the HTTP status that goes back to it, and
is never an error of the process that noticed it. *The connection has ended* is no error at all: it
tells a reader of a connection in which way the peer left, because the exit reason of everything
that hangs on the connection depends on it.
"""

from __future__ import annotations

from typing import Literal, Self, TypeAlias

__all__ = [
    "Closed",
    "ConnectionEnded",
    "Lost",
    "LostHow",
    "PayloadError",
    "ProtocolError",
    "ProtocolViolation",
    "RequestError",
    "in_seconds",
]


def in_seconds(seconds: float) -> str:
    """Return a time as a message says it: "1 second", "0.5 seconds"."""
    shown = f"{seconds:g}"
    return "1 second" if shown == "1" else f"{shown} seconds"


class PayloadError(TypeError):
    """What was to be sent cannot be sent; the message names the path to the culprit.

    Raised in the process that calls push, reply or broadcast, so that the sender crashes and not
    the connection (Phoenix does the same: an encoding error belongs to the caller).
    """


class ProtocolError(Exception):
    """A peer sent a message that is none: bad JSON, a wrong shape, sizes that do not add up.

    `code` is the WebSocket close code that goes back, 1011 as Phoenix sends it. `is_layout` tells
    that bytes do not have the layout of a binary message; otherwise it is a text that is wrong.
    """

    def __init__(self, detail: str, *, code: int = 1011, is_layout: bool = False) -> None:
        super().__init__(detail)
        self.detail = detail
        self.code = code
        self.is_layout = is_layout


class RequestError(Exception):
    """A peer sent an HTTP request that is refused with `status` and, as its body, `detail`."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(f"{status}: {detail}")
        self.status = status
        self.detail = detail


class ConnectionEnded(Exception):
    """A connection has ended; the subclass says how. The base of the three below."""

    def again(self) -> Self:
        """Return the same to be raised anew, without a traceback."""
        other = type(self).__new__(type(self), *self.args)
        vars(other).update(vars(self))
        return other


class Closed(ConnectionEnded):
    """The closing handshake took place: a close frame was sent or received.

    `by` tells who began. `code` is then the code of the one who began, 1005 when a peer sent a
    close frame without a code; `reason` is its text, often empty.
    """

    def __init__(self, code: int, reason: str, by: Literal["peer", "local"]) -> None:
        super().__init__(f"closed by {by} with code {code}" + (f": {reason}" if reason else ""))
        self.code = code
        self.reason = reason
        self.by = by


LostHow: TypeAlias = Literal["eof", "reset", "overflow", "aborted", "failed"]
"""How a connection can be lost without a close frame.

`eof`: the peer ended its side of the TCP connection. `reset`: the connection broke. `overflow`:
the peer did not read what was sent to it, and more piled up than the bound allows. `aborted`: our
side cut it without ceremony. `failed`: the WebSocket library raised an error of its own.
"""


class Lost(ConnectionEnded):
    """The connection is gone and no close frame came; `error` is what broke it, if anything did."""

    def __init__(self, how: LostHow, error: BaseException | None = None) -> None:
        super().__init__(how if error is None else f"{how}: {error}")
        self.how: LostHow = how
        self.error = error


class ProtocolViolation(ConnectionEnded):
    """The peer broke RFC 6455 or a limit, and is being closed with `code`.

    1002 for a broken frame, 1007 for text that is not UTF-8, 1009 for a message that is too big.
    """

    def __init__(self, code: int, detail: str) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.detail = detail
