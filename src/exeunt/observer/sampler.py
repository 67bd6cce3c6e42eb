"""Sampler: the process that looks at its node, as long as somebody watches.

It has viewers, which are processes: the channels of those who have the page open. The first one
makes it begin and the last one that ends makes it stop; in between it takes a picture about twice a
second and broadcasts what has changed. A node so large that a picture takes long is looked at less
often, so that at most a twentieth of the time goes into it.

While nobody watches it does two things: it notes once a second which process is the newest, and it
keeps the ledger of crashes and restarts.
"""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass
from typing import Any, Final

import trio

from exeunt.channels.pubsub import PubSub
from exeunt.kernel.exits import SHUTDOWN, Down
from exeunt.kernel.ids import Pid, Ref
from exeunt.kernel.node import Node
from exeunt.kernel.primitives import (
    cancel_timer,
    monitor,
    self_pid,
    send_after,
    send_interval,
    spawn_link,
    unlink,
)
from exeunt.kernel.primitives import exit as exit_signal
from exeunt.kernel.process import Process, current_process
from exeunt.observer.births import Births
from exeunt.observer.counting import Meter, meter_of
from exeunt.observer.differences import difference_of
from exeunt.observer.ledger import Ledger
from exeunt.observer.rows import Extent
from exeunt.observer.sampling import Picture, Rates, history_point, sample
from exeunt.observer.scanning import Sources
from exeunt.otp.genserver import GenServer
from exeunt.otp.requests import on_call
from exeunt.otp.results import CastResult
from exeunt.otp.tables import run_at_exit

TOPIC: Final = "observer:node"
"""The topic on which changes are broadcast, as the event `"changed"`."""

INTERVAL: Final = 0.5
"""Seconds from one picture to the next, unless told otherwise."""

SHARE: Final = 0.05
"""The part of the time that may go into making pictures."""

HISTORY: Final = 240
"""How many points of the curves are kept for who comes later."""

_PULSE: Final = 0.05  # seconds from one look at how late the loop is to the next
_NOTE: Final = 1.0  # seconds from one note of the newest process to the next


@dataclass(frozen=True, slots=True)
class _Note:
    """Message to itself: note the newest process."""


@dataclass(frozen=True, slots=True)
class _Look:
    """Message to itself: take a picture."""


class Pace:
    """Lets the others run between two steps, and knows how long the steps have taken."""

    def __init__(self) -> None:
        self.busy = 0.0
        self.longest = 0.0
        self._since = time.perf_counter()

    async def rest(self) -> None:
        """Let the others run."""
        self.stop()
        await trio.lowlevel.checkpoint()
        self._since = time.perf_counter()

    def stop(self) -> None:
        """Count the time since the last rest."""
        step = time.perf_counter() - self._since
        self.busy += step
        self.longest = max(self.longest, step)


class Sampler(GenServer):
    """Takes pictures of its node while it has viewers."""

    async def init(
        self,
        hub: PubSub,
        *,
        own: Pid | None = None,
        hubs: tuple[PubSub, ...] = (),
        extent: Extent | None = None,
        interval: float = INTERVAL,
    ) -> None:
        """Broadcast on `hub`; the processes below `own` count as the observer's."""
        process = current_process()
        self._node: Node = process.node
        self._hub = hub
        self._extent = Extent() if extent is None else extent
        self._interval = interval
        self._ledger = Ledger()
        self._births = Births()
        self._meter: Meter = meter_of(self._node)
        self._sources = Sources(self._meter, self._ledger, self._births, hubs, own)
        self._viewers: dict[Ref, Pid] = {}
        self._rates = Rates()
        self._history: deque[list[float]] = deque(maxlen=HISTORY)
        self._picture: Picture | None = None
        self._version = 0
        self._lag = 0.0
        self._pulse: Pid | None = None
        self._look: Ref | None = None
        # So that a sampler which is killed leaves nothing behind that would cost anything.
        run_at_exit(process, self, lambda _: self._let_go())
        self._ledger.open(self._node)
        self._note()
        send_interval(_NOTE, self.pid, _Note())

    def _let_go(self) -> None:
        self._ledger.close()
        if self._viewers:
            self._viewers.clear()
            self._meter.stop()

    def format_status(self, state: dict[str, Any]) -> dict[str, Any]:
        """Show how many watch, and not the picture of everything."""
        return {"viewers": len(self._viewers), "version": self._version}

    # -- what it is asked -------------------------------------------------------------------------

    @on_call
    async def watch(self, viewer: Pid) -> dict[str, Any]:
        """Take a viewer, until it ends; return the picture that the next change is one of."""
        is_first = not self._viewers
        self._viewers[monitor(viewer)] = viewer
        if is_first:
            await self._begin()
        assert self._picture is not None
        return {
            "version": self._version,
            "picture": self._picture,
            "history": list(self._history),
            "interval": self._interval,
        }

    @on_call
    async def viewers(self) -> int:
        """Count those who watch."""
        return len(self._viewers)

    @on_call
    async def sources(self) -> Sources:
        """Return what pictures are made from."""
        return self._sources

    # -- its life ---------------------------------------------------------------------------------

    async def handle_info(self, message: Any) -> CastResult:
        """Take a picture when it is time; hear of the end of viewers."""
        match message:
            case _Note():
                self._note()
            case _Look() if self._viewers:
                await self._sample()
            case _Look():
                pass
            case Down(ref, _, _) if ref in self._viewers:
                del self._viewers[ref]
                if not self._viewers:
                    self._end()
            case _:
                return await super().handle_info(message)
        return None

    async def _begin(self) -> None:
        self._meter.start(self._node)
        self._rates = Rates()
        self._lag = 0.0
        self._pulse = spawn_link(self._measure_lag)
        await self._sample()

    def _end(self) -> None:
        self._meter.stop()
        if self._look is not None:
            cancel_timer(self._look)
            self._look = None
        if self._pulse is not None:
            unlink(self._pulse)
            exit_signal(self._pulse, SHUTDOWN)
            self._pulse = None
        self._picture = None
        self._sources.ids.forget()
        self._history.clear()

    def _note(self) -> None:
        newest: Process = next(reversed(self._node.processes.values()))
        self._births.note(newest.pid.number, trio.current_time())

    async def _sample(self) -> None:
        self._note()
        pace = Pace()
        lag, self._lag = self._lag, 0.0
        picture = await sample(
            self._node,
            self._sources,
            now=trio.current_time(),
            rest=pace.rest,
            rates=self._rates,
            lag=lag,
            extent=self._extent,
        )
        self._history.append(history_point(picture))
        if self._picture is not None:
            await pace.rest()
            change = difference_of(self._picture, picture)
            self._version += 1
            self._hub.broadcast(TOPIC, "changed", {"version": self._version, "change": change})
        self._picture = picture
        pace.stop()
        pause = max(self._interval, pace.busy / SHARE - pace.busy)
        self._look = send_after(pause, self_pid(), _Look())

    async def _measure_lag(self) -> None:
        """Note by how much a task that wants to run now and then comes too late."""
        while True:
            due = trio.current_time() + _PULSE
            await trio.sleep_until(due)
            self._lag = max(self._lag, trio.current_time() - due)
