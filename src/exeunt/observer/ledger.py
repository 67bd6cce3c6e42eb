"""The ledger: what has gone wrong in a node since it is observed. Crashes, and restarts.

It is written from the events of the node: reports of crashes and of supervisors, which are made
anyway since they are logged, and the starts of children. A start that nobody has asked for is a
restart; the process that is started so inherits the record of the one before.

All of it is bounded: of the processes that crashed or were restarted the latest are known.
"""

from __future__ import annotations

import time
import traceback
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from exeunt.kernel.events import CrashReport, shown
from exeunt.kernel.ids import Pid
from exeunt.kernel.node import Node
from exeunt.observer.looking import cut, family_of, place, shown_id
from exeunt.otp.reports import Progress, SupervisorReport

MOST_CRASHES: Final = 50
"""How many crashes are listed."""

MOST_RECORDS: Final = 4096
"""Of how many processes it is known that they crashed, or were restarted."""

MOST_REASON: Final = 300
"""Characters of a reason that are shown."""


@dataclass(frozen=True, slots=True)
class CrashNote:
    """A process that ended for an error: `where` is the line that raised it, `at` the time.

    In seconds since the epoch. There is neither the state of the process nor its last message.
    """

    number: int
    pid: str
    name: str
    label: str
    reason: str
    where: str
    at: float


@dataclass(frozen=True, slots=True)
class Record:
    """What is known of a process's forerunners: how often it was restarted, and the last end."""

    restarts: int = 0
    crash: str = ""


_NOTHING: Final = Record()


class Ledger:
    """Crashes and restarts of one node, from `open` to `close`."""

    def __init__(self) -> None:
        self.crashes: deque[CrashNote] = deque(maxlen=MOST_CRASHES)
        self.crash_count = 0
        self.restart_count = 0
        self._records: OrderedDict[Pid, Record] = OrderedDict()
        # Who has ended last as which child, until somebody takes its place.
        self._ended: OrderedDict[tuple[Pid, str], deque[Pid]] = OrderedDict()
        # Who was restarted last as which child of a supervisor whose children have ids.
        self._restarted: OrderedDict[tuple[Pid, str], Pid] = OrderedDict()
        self._unsubscribe: list[Callable[[], None]] = []

    def open(self, node: Node) -> None:
        """Begin to write."""
        self._unsubscribe = [
            node.events.subscribe(self.crashed, CrashReport),
            node.events.subscribe(self.reported, SupervisorReport),
            node.events.subscribe(self.started, Progress),
        ]

    def close(self) -> None:
        """Write no more."""
        for unsubscribe in self._unsubscribe:
            unsubscribe()
        self._unsubscribe = []

    def record_of(self, pid: Pid) -> Record:
        """Return what is known of a process."""
        return self._records.get(pid, _NOTHING)

    # -- events -----------------------------------------------------------------------------------

    def crashed(self, report: CrashReport) -> None:
        """Note a crash."""
        self.crash_count += 1
        reason = cut(shown(report.reason, MOST_REASON), MOST_REASON)
        note = CrashNote(
            number=self.crash_count,
            pid=repr(report.pid),
            name=cut(report.name or ""),
            label=cut(report.label),
            reason=reason,
            where=_raised_at(report.exception),
            at=round(time.time(), 3),
        )
        self.crashes.append(note)
        self._keep(report.pid, Record(self.record_of(report.pid).restarts, reason))

    def reported(self, report: SupervisorReport) -> None:
        """Note whose place is free."""
        if report.context != "child_terminated" or report.pid is None:
            return
        before = self.record_of(report.pid)
        if not before.crash:
            reason = cut(shown(report.reason, MOST_REASON), MOST_REASON)
            self._keep(report.pid, Record(before.restarts, reason))
        where = (report.supervisor, shown_id(report.id))
        ended = self._ended.setdefault(where, deque(maxlen=100))
        ended.append(report.pid)
        self._ended.move_to_end(where)
        if len(self._ended) > MOST_RECORDS:
            self._ended.popitem(last=False)

    def started(self, event: Progress) -> None:
        """Note a restart."""
        supervisor = event.supervisor._process
        # The first start is part of the supervisor's own, and any other that is no restart was
        # asked for: either way the supervisor handles a call.
        if supervisor is None or supervisor.handling is not None:
            return
        self.restart_count += 1
        where = (event.supervisor, shown_id(event.id))
        ended = self._ended.get(where)
        # Without a report it was shut down because a sibling had ended.
        former = ended.pop() if ended else self._restarted.get(where)
        if not ended:
            self._ended.pop(where, None)
        before = _NOTHING if former is None else self._records.pop(former, _NOTHING)
        self._keep(event.pid, Record(before.restarts + 1, before.crash))
        family = family_of(supervisor)
        if family is not None and not family.is_dynamic:
            self._restarted[where] = event.pid
            self._restarted.move_to_end(where)
            if len(self._restarted) > MOST_RECORDS:
                self._restarted.popitem(last=False)

    def _keep(self, pid: Pid, record: Record) -> None:
        self._records[pid] = record
        self._records.move_to_end(pid)
        if len(self._records) > MOST_RECORDS:
            self._records.popitem(last=False)


def _raised_at(error: BaseException | None) -> str:
    """Return the line that raised an exception."""
    if error is None or error.__traceback__ is None:
        return ""
    frame, number = list(traceback.walk_tb(error.__traceback__))[-1]
    return place(frame.f_globals.get("__name__", "?"), number, frame.f_code.co_qualname)
