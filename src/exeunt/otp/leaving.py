"""The running of leave functions: the process of one, and what is told of it.

A watcher decides when a function runs, and whether again; how one runs to its end, and what is to
be seen of it meanwhile and afterwards, stands here.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import ClassVar, Final

from exeunt.kernel.events import Event, logged, shown
from exeunt.kernel.exits import ProcessExit, Reason, is_orderly
from exeunt.kernel.ids import Pid
from exeunt.otp.roll import Departure, Entry, Standing

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
        then = "" if self.path is None else f"; they stand in {self.path} for the next start"
        return f"{self.number} leave functions of the watcher {name} have not run{then}"


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


async def run_leave(entry: Entry, departure: Departure) -> None:
    """Run a leave function: the body of its process."""
    entry.has_run = entry.is_overdue = False
    try:
        await entry.leave(departure, *entry.args, **entry.kwargs)
    except ProcessExit as own:
        entry.has_run = is_orderly(own.reason)
        raise
    entry.has_run = True


__all__ = ["NODE_LOST", "LeaveFailed", "LeavesNotRun", "Leaving", "NodeWasLost", "run_leave"]
