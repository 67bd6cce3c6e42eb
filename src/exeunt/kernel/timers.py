"""Timers: one heap and one task for a whole node.

A timer belongs to nobody: it fires though the process that started it is dead. One that is to send
to a pid ends with that process; one that is to send to a name looks it up when it fires.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from dataclasses import dataclass
from heapq import heapify, heappop, heappush
from typing import TYPE_CHECKING

import trio

from exeunt.kernel.ids import Ref

if TYPE_CHECKING:
    from exeunt.kernel.process import Process

logger = logging.getLogger("exeunt")


@dataclass(frozen=True, slots=True)
class Timeout:
    """The message of `start_timer`: which timer it was, and what it was to say."""

    ref: Ref
    message: object


class Timer:
    """One timer that has not fired. `action` is None once it was cancelled."""

    __slots__ = ("action", "deadline", "interval", "ref", "target")

    def __init__(
        self,
        ref: Ref,
        deadline: float,
        action: Callable[[Ref], None],
        interval: float | None,
        target: Process | None,
    ) -> None:
        self.ref = ref
        self.deadline = deadline
        self.action: Callable[[Ref], None] | None = action
        self.interval = interval
        self.target = target

    def leave_target(self) -> None:
        """Be none of the target's timers any more."""
        if self.target is not None and self.target.timers is not None:
            self.target.timers.pop(self.ref, None)


class Timers:
    """All timers of a node. Deadlines are on trio's clock, in seconds."""

    __slots__ = ("_cancelled", "_heap", "_number", "_scope", "_timers")

    def __init__(self) -> None:
        # Cancelled timers stay in the heap until they come up, or until they are the larger part.
        self._heap: list[tuple[float, int, Timer]] = []
        self._timers: dict[Ref, Timer] = {}
        self._number = 0
        self._cancelled = 0
        self._scope: trio.CancelScope | None = None

    def __len__(self) -> int:
        return len(self._timers)

    def start(
        self,
        ref: Ref,
        delay: float,
        action: Callable[[Ref], None],
        *,
        interval: float | None = None,
        target: Process | None = None,
    ) -> None:
        """Call `action` in `delay` seconds, and every `interval` seconds after that if it is given.

        With `target`, the timer ends with that process, among whose `timers` it is until then.
        """
        if math.isnan(delay):
            raise ValueError("the delay of a timer is a number of seconds, not nan")
        timer = Timer(ref, trio.current_time() + max(0.0, delay), action, interval, target)
        self._timers[ref] = timer
        if target is not None:
            if target.timers is None:
                target.timers = {}
            target.timers[ref] = self
        self._push(timer)

    def cancel(self, ref: Ref) -> float | None:
        """Stop a timer; return the seconds that were left, None if it has fired or is unknown."""
        timer = self._timers.pop(ref, None)
        if timer is None:
            return None
        timer.action = None
        timer.leave_target()
        # It may stay in the heap for long; whom it was for, and all that hangs on that, does not.
        timer.target = None
        self._cancelled += 1
        if self._cancelled > 64 and self._cancelled * 2 > len(self._heap):
            self._heap = [entry for entry in self._heap if entry[2].action is not None]
            heapify(self._heap)
            self._cancelled = 0
        return max(0.0, timer.deadline - trio.current_time())

    def left(self, ref: Ref) -> float | None:
        """Return the seconds until a timer fires, None if it has fired or is unknown."""
        timer = self._timers.get(ref)
        return None if timer is None else max(0.0, timer.deadline - trio.current_time())

    async def run(self) -> None:
        """Fire what is due, for ever."""
        while True:
            with trio.CancelScope(deadline=self._heap[0][0] if self._heap else math.inf) as scope:
                self._scope = scope
                await trio.sleep_forever()
            self._fire()

    def _push(self, timer: Timer) -> None:
        self._number += 1
        heappush(self._heap, (timer.deadline, self._number, timer))
        if self._scope is not None and timer.deadline < self._scope.deadline:
            self._scope.deadline = timer.deadline

    def _fire(self) -> None:
        """Fire what is due now, each timer once."""
        now = trio.current_time()
        due: list[Timer] = []
        while self._heap and self._heap[0][0] <= now:
            due.append(heappop(self._heap)[2])
        for timer in due:
            action = timer.action
            if action is None:
                self._cancelled -= 1
                continue
            if timer.interval is None:
                del self._timers[timer.ref]
                timer.leave_target()
            else:
                # Counted from when this beat was due, so that an interval does not drift; beats
                # that were missed altogether are left out.
                missed = math.floor((now - timer.deadline) / timer.interval)
                timer.deadline += (missed + 1) * timer.interval
                self._push(timer)
            try:
                action(timer.ref)
            except BaseException:
                # Such as a Via that fails when it is asked: no reason to end all other timers.
                logger.exception("a timer could not send")
