"""What a channel receives: events, in a queue with a bound.

A connection is read whether or not anybody takes the events of its channels, since heartbeats and
replies come over it too. So each channel keeps the events that wait to be received, up to a bound,
and an `EventOverflow` says what happens beyond it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Literal, TypeAlias, get_args

import trio
from trio.lowlevel import ParkingLot

from exeunt.channels.client.errors import EventsLost
from exeunt.channels.client.frames import Event

__all__ = ["EventOverflow", "EventQueue"]

EventOverflow: TypeAlias = Literal["raise", "drop_oldest", "drop_newest"]
"""What gives way in a full queue of events.

`raise`: the oldest event goes, and the next `receive` raises `EventsLost`, once, with their number.
`drop_oldest` and `drop_newest`: that event goes, and only the channel's `lost_events` tells.
"""


class EventQueue:
    """Events that wait to be received: any number of receivers, each event for one of them."""

    __slots__ = ("_end", "_events", "_limit", "_missed", "_overflow", "_receivers", "lost")

    def __init__(self, limit: int, overflow: EventOverflow) -> None:
        given: object = limit
        if not isinstance(given, (int, float)) or not given >= 1:
            raise ValueError(f"max_events must be at least 1, got {limit!r}")
        if overflow not in get_args(EventOverflow):
            raise ValueError(f"on_overflow is one of {get_args(EventOverflow)}, got {overflow!r}")
        self._limit = limit
        self._overflow: EventOverflow = overflow
        self._events: deque[Event] = deque()
        self._receivers: ParkingLot | None = None
        # Makes what is raised once the queue is empty; set when nothing more will come.
        self._end: Callable[[], Exception] | None = None
        self._missed = 0  # of which no receiver has been told yet
        self.lost = 0

    def __len__(self) -> int:
        return len(self._events)

    def put(self, event: Event) -> None:
        """Append an event, or let one go."""
        if self._end is not None:
            return
        if len(self._events) >= self._limit:
            self.lost += 1
            if self._overflow == "raise":
                self._missed += 1
            if self._overflow == "drop_newest":
                return
            self._events.popleft()
        self._events.append(event)
        if self._receivers is not None:
            self._receivers.unpark()

    def end(self, error: Callable[[], Exception]) -> None:
        """Let receivers have what is queued, and from then on raise what `error` returns."""
        if self._end is None:
            self._end = error
            if self._receivers is not None:
                self._receivers.unpark_all()

    async def receive(self, topic: str) -> Event:
        """Take the next event. A cancelled receiver takes none."""
        await trio.lowlevel.checkpoint_if_cancelled()
        waited = False
        while True:
            if self._missed:
                count, self._missed = self._missed, 0
                raise EventsLost(topic, count)
            if self._events:
                event = self._events.popleft()
                if not waited:
                    await trio.lowlevel.cancel_shielded_checkpoint()
                return event
            if self._end is not None:
                raise self._end()
            if self._receivers is None:
                self._receivers = ParkingLot()
            await self._receivers.park()
            waited = True
