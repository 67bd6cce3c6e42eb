"""The running of leave functions: the process of one, and what is told of it.

A watcher decides when a function runs, and whether again; how one runs to its end, and what is to
be seen of it meanwhile and afterwards, stands here.
"""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass
from typing import ClassVar, Final

import trio

from exeunt.kernel.events import Event, logged, shown
from exeunt.kernel.exits import KILL, Crash, ProcessExit, Reason, is_orderly
from exeunt.kernel.ids import Pid, Ref
from exeunt.kernel.node import KILL_GRACE
from exeunt.kernel.primitives import cancel_timer, send_after, spawn_process
from exeunt.kernel.primitives import exit as exit_signal
from exeunt.otp.roll import Departure, Entry, Roll, Standing

NODE_LOST: Final = "node_lost"
"""The reason of a departure that nobody saw, because the whole node was lost.

OTP: what is linked or monitored across nodes ends with `noconnection` then. There is another node
to hear of it there; here it is the next start of the same one.
"""


@logged
@dataclass(frozen=True, slots=True)
class LeaveFailed(Event):
    """A function that a watcher ran for a process that had ended did not come to its end.

    `again_in` is after how many seconds it is tried again; None if it is not.
    """

    watcher: Pid
    pid: Pid | None
    who: str
    watched_reason: Reason
    function: str
    reason: Reason
    attempt: int
    again_in: float | None

    level: ClassVar[int] = logging.ERROR

    def __str__(self) -> str:
        after = "" if self.again_in is None else f"; again in {self.again_in:.1f} s"
        return (
            f"{self.function}, run by the watcher {self.watcher} because {self.who} had ended "
            f"({shown(self.watched_reason)}), failed: {shown(self.reason)}{after}"
        )


@logged
@dataclass(frozen=True, slots=True)
class NodeWasLost(Event):
    """There were processes on the roll in a file when a watcher opened it."""

    watcher: Pid
    path: str
    number: int

    level: ClassVar[int] = logging.WARNING

    def __str__(self) -> str:
        return (
            f"{self.number} on the roll in {self.path} when their node was lost: "
            "their leave functions run now"
        )


@logged
@dataclass(frozen=True, slots=True)
class LeavesNotRun(Event):
    """A roll was given up with functions on it that have not run to their end."""

    name: str | None
    number: int
    path: str | None

    level: ClassVar[int] = logging.ERROR

    def __str__(self) -> str:
        name = "without a name" if self.name is None else repr(self.name)
        one = self.number == 1
        what = "1 leave function" if one else f"{self.number} leave functions"
        then = "" if self.path is None else f"{'it stands' if one else 'they stand'} in {self.path}"
        said = f"{what} of the watcher {name} {'has' if one else 'have'} not run"
        return f"{said}; {then} for the next start" if then else said


@dataclass(frozen=True, slots=True)
class Leaving:
    """A leave function that is to run or runs, for looking at; `seconds` it has stood there."""

    pid: Pid | None
    reason: Reason
    function: str
    standing: Standing
    attempts: int
    seconds: float
    task: Pid | None


def start_leave(roll: Roll, entry: Entry) -> None:
    """Have the function of an entry run, in a process of its own."""
    departure = Departure(entry.pid, entry.reason, entry.key, entry.attempts + 1)
    label = f"leave of {entry.who}: {entry.name}"
    roll.started(entry, spawn_process(run_leave, (entry, departure), label=label))


async def run_leave(entry: Entry, departure: Departure) -> None:
    """Run a leave function: the body of its process."""
    entry.has_run = entry.is_overdue = False
    try:
        await entry.leave(departure, *entry.args, **entry.kwargs)
    except ProcessExit as own:
        entry.has_run = is_orderly(own.reason)
        raise
    entry.has_run = True


@dataclass(frozen=True, slots=True)
class LookAgain:
    """The message of a timer to the watcher: see whether a function has taken too long."""


class Allowance:
    """Sees to it that no function takes longer than it may: `within` seconds, None for any time.

    All have the same time and are started in order, so one timer does for all of them.
    """

    def __init__(self, roll: Roll, watcher: Pid, within: float | None) -> None:
        self._roll = roll
        self._watcher = watcher
        self._within = within
        self._timer: Ref | None = None

    def look_later(self) -> None:
        """Have a timer for the function that has to be seen to next; none while none runs."""
        within, running = self._within, self._roll.running
        if self._timer is not None and not running:
            cancel_timer(self._timer)
            self._timer = None
        if within is None or self._timer is not None:
            return
        due = math.inf
        for entry in running.values():
            if not entry.is_overdue:
                due = min(due, entry.since + within)
                break  # those behind it have more time
            if entry.task is not None and not entry.task.is_killed:
                due = min(due, entry.since + within + KILL_GRACE)
        if due < math.inf:
            after = max(due - trio.current_time(), 0.0)
            self._timer = send_after(after, self._watcher, LookAgain())

    def look(self) -> None:
        """End functions that take too long, and kill those that shield themselves from that."""
        self._timer = None
        within, now = self._within, trio.current_time()
        assert within is not None
        for entry in tuple(self._roll.running.values()):
            assert entry.task is not None
            late = now - entry.since - within
            if late < 0:
                break
            if not entry.is_overdue:
                entry.is_overdue = True
                error = TimeoutError(f"{entry.name} took longer than {within} seconds")
                exit_signal(entry.task.pid, Crash(error))
            elif late >= KILL_GRACE:
                exit_signal(entry.task.pid, KILL)
        self.look_later()


__all__ = [
    "NODE_LOST",
    "Allowance",
    "LeaveFailed",
    "LeavesNotRun",
    "Leaving",
    "LookAgain",
    "NodeWasLost",
    "run_leave",
    "start_leave",
]
