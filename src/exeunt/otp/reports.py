"""What supervisors tell of themselves, as events.

OTP: these reports are logged as errors, and each start of a child as information. Here the crash
itself is the error in the log, and what the supervisor says of it a warning; `Progress` is not
logged unless somebody subscribes to it.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import ClassVar, Literal, TypeAlias

from exeunt.kernel.events import Event, logged, shown
from exeunt.kernel.exits import Reason, is_orderly
from exeunt.kernel.ids import Pid
from exeunt.kernel.process import Process

Context: TypeAlias = Literal["child_terminated", "start_error", "shutdown_error", "shutdown"]
"""A child has ended by itself; it did not start; it did not shut down as told; the supervisor
itself gives up."""


@dataclass(frozen=True, slots=True)
class Progress(Event):
    """A supervisor has started a child."""

    supervisor: Pid
    id: object
    pid: Pid


@logged
@dataclass(frozen=True, slots=True)
class SupervisorReport(Event):
    """Something went wrong with a child. `detail` says more of the reason, to be read by people."""

    supervisor: Pid
    name: str | None
    context: Context
    id: object
    pid: Pid | None
    reason: Reason
    detail: str = ""

    level: ClassVar[int] = logging.WARNING

    def __str__(self) -> str:
        who = f"{self.supervisor} {self.name!r}" if self.name else f"{self.supervisor}"
        child = (
            f"child {shown(self.id)!r}"
            if self.pid is None
            else f"child {shown(self.id)!r} {self.pid}"
        )
        match self.context:
            case "child_terminated":
                again = (
                    "; it is permanent, so it is started again" if is_orderly(self.reason) else ""
                )
                return f"supervisor {who}: {child} ended: {shown(self.reason)}{again}"
            case "start_error":
                return f"supervisor {who}: {child} could not be started: {shown(self.reason)}"
            case "shutdown_error":
                return f"supervisor {who}: {child} did not shut down in order: {shown(self.reason)}"
            case "shutdown":
                reason = ", ".join(filter(None, (shown(self.reason), self.detail)))
                return f"supervisor {who} gives up because of {child}: {reason}"


def report(
    process: Process,
    context: Context,
    id: object,
    pid: Pid | None,
    reason: Reason,
    detail: str = "",
) -> None:
    """Emit a report of the supervisor `process`."""
    events = process.node.events
    if events.wants(SupervisorReport):
        events.emit(SupervisorReport(process.pid, process.name, context, id, pid, reason, detail))


def report_giving_up(process: Process, id: object, limit: object) -> None:
    """Emit the report of a supervisor that would restart a child once too often."""
    detail = f"more than {limit}, of all its children together"
    report(process, "shutdown", id, None, "reached_max_restart_intensity", detail)


def report_progress(process: Process, id: object, pid: Pid) -> None:
    """Tell that the supervisor `process` has started a child."""
    if process.node.events.wants(Progress):
        process.node.events.emit(Progress(process.pid, id, pid))
