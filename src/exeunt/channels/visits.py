"""Visits: one client, from when it asks to be let in until its process has ended, told as events.

Whoever decides on a client makes a `Visit` first, so that the time is taken, and calls `refuse` or
`accept`; whoever then serves it calls `begin`, and `leave` when that is over, in whatever way. A
client that was let in and is never served is told to have gone as well.
"""

from __future__ import annotations

from collections.abc import Mapping

import trio

from exeunt.channels.events import (
    SlowConsumerDropped,
    SocketConnected,
    SocketDisconnected,
    SocketRefused,
    SocketsDrained,
    WhyRefused,
)
from exeunt.channels.filtering import OPEN
from exeunt.channels.log import is_told, tell
from exeunt.channels.socket import Socket
from exeunt.channels.wire import Serializer
from exeunt.kernel.exits import Reason, Shutdown
from exeunt.kernel.ids import Pid
from exeunt.kernel.process import current_process
from exeunt.otp.tables import run_at_exit

__all__ = ["Visit", "report_drain"]


class Visit:
    """One client of a socket; made and used in the process that is the client's."""

    __slots__ = ("_id", "_process", "_since", "_socket", "_transport", "code")

    def __init__(self, socket: Socket, transport: str) -> None:
        self._process = current_process()
        self._socket = socket
        self._transport = transport
        self._id: str | None = None
        self._since = trio.current_time()
        self.code: int | None = None
        """The close code that the client is sent in the end, if any."""

    def refuse(
        self, why: WhyRefused, serializer: Serializer | None, params: Mapping[str, object]
    ) -> None:
        """Tell that the client is not let in."""
        events = self._process.node.events
        # The others have a line of their own, which says more.
        level = self._socket.log if why == "connect" else False
        if is_told(events, SocketRefused, level):
            refused = SocketRefused(
                pid=self._process.pid,
                socket=self._name(),
                why=why,
                transport=self._transport,
                version=_version(params),
                serializer=None if serializer is None else type(serializer).__qualname__,
                params=self._socket._filter(params),
                duration=trio.current_time() - self._since,
            )
            tell(events, refused, level)

    def accept(self, id: str | None, serializer: Serializer, params: Mapping[str, object]) -> None:
        """Tell that the client is let in.

        Should its process end before the visit begins, that is told too.
        """
        self._id = id
        now = trio.current_time()
        if is_told(self._process.node.events, SocketConnected, self._socket.log):
            connected = SocketConnected(
                pid=self._process.pid,
                socket=self._name(),
                id=id,
                transport=self._transport,
                version=_version(params),
                serializer=type(serializer).__qualname__,
                params=self._socket._filter(params),
                duration=now - self._since,
            )
            tell(self._process.node.events, connected, self._socket.log)
        self._since = now
        run_at_exit(self._process, self, self._end)

    def turn_away(self) -> None:
        """Tell that the client is gone: it was let in, but its request was for no WebSocket."""
        self._forget_end()
        self._tell_end(Shutdown("not_upgraded"))

    def begin(self) -> None:
        """Note that the client is served from now on; whoever does it sees to `leave`."""
        self._since = trio.current_time()
        # What a process is to do at its end costs memory all the time.
        self._forget_end()

    def leave(self) -> None:
        """Tell, when the client's process has come to its end, that it was connected until then.

        Not before, since only then the reason is known.
        """
        run_at_exit(self._process, self, self._end)

    def drop(self, limit: int) -> None:
        """Tell that the client is cut off because it does not read."""
        if is_told(self._process.node.events, SlowConsumerDropped, "warning"):
            dropped = SlowConsumerDropped(
                self._process.pid, self._name(), self._id, self._transport, limit
            )
            tell(self._process.node.events, dropped, "warning")

    def _forget_end(self) -> None:
        at_exit = self._process.at_exit
        assert at_exit is not None
        del at_exit[self]

    def _end(self, _: Pid) -> None:
        self._tell_end(self._process.exit_reason)

    def _tell_end(self, reason: Reason) -> None:
        events = self._process.node.events
        if events.wants(SocketDisconnected):
            events.emit(
                SocketDisconnected(
                    pid=self._process.pid,
                    socket=self._name(),
                    id=self._id,
                    transport=self._transport,
                    reason=reason,
                    code=self.code,
                    duration=trio.current_time() - self._since,
                )
            )

    def _name(self) -> str:
        return type(self._socket).__qualname__


def report_drain(
    socket: str, count: int, total: int, *, index: int = 1, rounds: int = 1, interval: float = 0.0
) -> None:
    """Tell that clients are told to go; in the process that does it."""
    events = current_process().node.events
    if is_told(events, SocketsDrained, "info"):
        tell(events, SocketsDrained(socket, count, total, index, rounds, interval), "info")


def _version(params: Mapping[str, object]) -> str:
    version = params.get("vsn", "1.0.0")
    return version[:100] if isinstance(version, str) else OPEN.show(version, 100)
