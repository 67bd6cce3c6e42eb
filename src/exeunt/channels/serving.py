"""Serving: the process of one client, from when it is let in until something ends it.

It hands the client's messages to the session, whichever transport they come by; it hears of the end
of channels, of a broadcast that disconnects it, and of the server's stop. It ends with a reason
that says how the client left, which is the reason that every channel of the client ends with. These
are the same for all clients, with the close code for those who have a connection to close:

| what ended it | exit reason | close code |
| --- | --- | --- |
| `"disconnect"` was broadcast to the socket's id | `Shutdown("disconnected")` | 1001 |
| the server stops | `Shutdown("draining")` | 1012 |
| the client does not take what is sent to it | `Shutdown("slow_consumer")` | 1013 |
| a message is malformed | `Crash(ProtocolError)` | 1011 |
| its process is killed | `"killed"` | |
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TypeAlias

import trio

from exeunt.channels.admission import Accepted
from exeunt.channels.errors import ConnectionEnded, PayloadError, ProtocolError
from exeunt.channels.filtering import plain
from exeunt.channels.log import logger
from exeunt.channels.pubsub import Broadcast
from exeunt.channels.session import JoinDecided, Session
from exeunt.channels.site import Site
from exeunt.channels.transports.contract import Transport
from exeunt.kernel.exits import NORMAL, Crash, Down, Exit, Reason, Shutdown, is_reason
from exeunt.kernel.primitives import cancel_timer, receive, self_pid, send, send_after
from exeunt.kernel.process import current_process

__all__ = ["Drain", "End", "Serving"]

End: TypeAlias = tuple[Reason, int | None]
"""Why a client is not served any more, and the close code to send, if any."""


@dataclass(frozen=True, slots=True)
class Drain:
    """A message to a client's process: have it go, and come back to whoever listens then."""


@dataclass(frozen=True, slots=True)
class _Ended:
    """The message of a process to itself: it has ended."""


@dataclass(frozen=True, slots=True)
class _Look:
    """The message of a process to itself: see whether the client is still there."""


class Serving(ABC):
    """One client, in the process that is its own; there is a class for each transport."""

    __slots__ = (
        "_accepted",
        "_end",
        "_pid",
        "_reading_since",
        "_session",
        "_site",
        "_transport",
        "_transport_name",
    )

    _session: Session

    def __init__(
        self, accepted: Accepted, transport: Transport, transport_name: str, site: Site
    ) -> None:
        self._accepted = accepted
        self._transport = transport
        self._transport_name = transport_name
        self._site = site
        # The first end is the one that counts.
        self._end: End | None = None
        self._pid = self_pid()
        # When the client was read from last, on trio's clock; None while it is not being read,
        # because one of its channels has more to do than it can.
        self._reading_since: float | None = trio.current_time()

    @abstractmethod
    def watch_for_overflow(self) -> None:
        """Have an out-queue that is too full end it at once, be it read or not."""

    @abstractmethod
    def look(self) -> float:
        """See whether the client is still there, and `finish` if not; return when to look again.

        In seconds from now.
        """

    @abstractmethod
    def end_of(self, ended: ConnectionEnded) -> End:
        """Return what the end of the transport means."""

    @abstractmethod
    def exit_came(self, reason: Reason) -> None:
        """Deal with an exit signal that is neither the supervisor's nor `"normal"`."""

    def finish(self, reason: Reason, code: int | None = None) -> None:
        """End it, unless it has ended; may be called from any process."""
        if self._end is None:
            self._end = (reason, code)
            visit = self._accepted.visit
            visit.code = code
            if isinstance(reason, Shutdown) and reason.detail == "slow_consumer":
                visit.drop(self._accepted.mount.max_queued)
            self._session.end(reason)
            # Wakes the process if it waits for a message, which costs less than to cancel it.
            send(self._pid, _Ended())

    async def serve(self) -> End:
        """Serve the client; return why that is over."""
        parent = current_process().parent
        async with trio.open_nursery() as nursery:
            session = self._session = Session(
                self._accepted.socket,
                self._transport,
                self._transport_name,
                self._accepted.serializer,
                self._site.hub,
                self._site.channels,
                nursery,
            )
            if session.socket_id is not None:
                self._site.hub.subscribe(session.socket_id)
            self.watch_for_overflow()
            nursery.start_soon(self._read, session)
            timer = send_after(self.look(), self._pid, _Look())
            visit = self._accepted.visit
            visit.begin()
            self._site.served[self._pid] = session
            try:
                while self._end is None:
                    match await receive():
                        case Down(ref, _, _) if session.channel_down(ref):
                            pass
                        case JoinDecided() as decided:
                            session.release(decided)
                        case Broadcast(topic, "disconnect", _) if topic == session.socket_id:
                            self.finish(Shutdown("disconnected"), 1001)
                        case Drain() if session.topics():
                            self.finish(Shutdown("draining"), 1012)
                        case _Look():
                            timer = send_after(self.look(), self._pid, _Look())
                        case Exit(pid, _) if pid is parent:
                            self.finish(Shutdown("draining"), 1012)
                        case Exit(_, reason) if not is_reason(reason, NORMAL):
                            self.exit_came(reason)
                        case _:
                            # As in Phoenix, whatever else is sent to a connection is ignored.
                            pass
            finally:
                visit.leave()
                self._site.served.pop(self._pid, None)
                cancel_timer(timer)
            if nursery.child_tasks:
                nursery.cancel_scope.cancel()
        assert self._end is not None
        return self._end

    async def _read(self, session: Session) -> None:
        """Hand the client's messages to the session, until there are no more."""
        try:
            while True:
                data = await self._transport.receive()
                self._reading_since = None
                await session.receive(data)
                self._reading_since = trio.current_time()
        except PayloadError as error:
            # What the client sent cannot be sent back, such as a ref that nests too deeply.
            self.finish(Crash(error), 1011)
        except ProtocolError as error:
            detail = plain(str(error), 500)
            logger.warning("closing %s for a malformed frame: %s", self._transport, detail)
            self.finish(Crash(error), error.code)
        except ConnectionEnded as ended:
            self.finish(*self.end_of(ended))
