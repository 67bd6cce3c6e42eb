"""The ledger: what has gone wrong in a node since it is observed. Crashes, and restarts.

It is written from the events of the node: reports of crashes and of supervisors, which are made
anyway since they are logged, and the starts of children. A start that nobody has asked for is a
restart; the process that is started so inherits the record of the one before.

A child that ends otherwise than in order, and not by an error of its own, is listed with the
crashes: who is killed often takes others along, whose crashes say nothing of the cause. That end is
known from the supervisor, and the others may have crashed before it has told of it; so what is told
within a moment of them is put before them.

All of it is bounded: of the processes that crashed or were restarted the latest are known.
"""

from __future__ import annotations

import dataclasses
import time
import traceback
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, NamedTuple, TypeVar

from exeunt.kernel.events import CrashReport, shown
from exeunt.kernel.exits import is_orderly
from exeunt.kernel.ids import Pid
from exeunt.kernel.node import Node
from exeunt.observer.looking import cut, place, server_of, shown_id
from exeunt.otp.dynamic_supervisor import DynamicSupervisor
from exeunt.otp.reports import Progress, SupervisorReport

K = TypeVar("K")
V = TypeVar("V")

MOST_CRASHES: Final = 50
"""How many crashes are listed."""

MOST_RECORDS: Final = 4096
"""Of how many processes it is known that they crashed, or were restarted."""

MOST_REASON: Final = 300
"""Characters of a reason that are shown."""

MOMENT: Final = 0.05
"""Seconds within which a crash may be the consequence of an end that is told of after it."""


@dataclass(frozen=True, slots=True)
class CrashNote:
    """A process that ended for an error: `where` is the line that raised it, `at` the time.

    In seconds since the epoch. If it is no `is_crash`, the process was ended by a signal: it was
    killed, say. There is neither the state of the process nor its last message.
    """

    number: int
    pid: str
    name: str
    label: str
    reason: str
    where: str
    at: float
    is_crash: bool


class Record(NamedTuple):
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
        # These are written at every restart, so they are kept simple. By the supervisor and the id
        # of the child: who has ended last, until its place is taken; and, where an id names one
        # child only, who has taken it last.
        self._records: OrderedDict[Pid, tuple[int, str]] = OrderedDict()
        self._ended: OrderedDict[tuple[Pid, object], Pid] = OrderedDict()
        self._restarted: OrderedDict[tuple[Pid, object], Pid] = OrderedDict()
        # Whose crash is noted, and whose supervisor has not told of it yet: it is nothing new.
        self._crashed: OrderedDict[Pid, None] = OrderedDict()
        # What children are called that have a key, which their supervisor does not know.
        self._labels: OrderedDict[Pid, str] = OrderedDict()
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
        known = self._records.get(pid)
        return _NOTHING if known is None else Record(*known)

    # -- events -----------------------------------------------------------------------------------

    def crashed(self, report: CrashReport) -> None:
        """Note a crash."""
        reason = cut(shown(report.reason, MOST_REASON), MOST_REASON)
        where = _raised_at(report.exception)
        self.crashes.append(self._note(report.pid, report.name, report.label, reason, where))
        _put(self._crashed, report.pid, None)
        self._keep(report.pid, self.record_of(report.pid).restarts, reason)

    def reported(self, report: SupervisorReport) -> None:
        """Note whose place is free, and an end that was no crash and not in order."""
        pid = report.pid
        if report.context != "child_terminated" or pid is None:
            return
        label = self._labels.pop(pid, "")
        if pid in self._crashed:
            del self._crashed[pid]
        else:
            known = self._records.get(pid)
            reason = report.reason
            # Most often a word: then there is nothing to be made of it.
            if not (type(reason) is str and len(reason) < 40 and reason.isprintable()):
                reason = cut(shown(reason, MOST_REASON), MOST_REASON)
            self._keep(pid, 0 if known is None else known[0], reason)
            if not is_orderly(report.reason):
                self._insert(self._note(pid, None, label or shown_id(report.id), reason, None))
        _put(self._ended, (report.supervisor, report.id), pid)

    def started(self, event: Progress) -> None:
        """Note a restart, and what a child with a key is called."""
        process = event.pid._process
        if process is not None and " " in process.label:
            _put(self._labels, event.pid, process.label)
        supervisor = event.supervisor._process
        # The first start is part of the supervisor's own, and any other that is no restart was
        # asked for: either way the supervisor handles a call.
        if supervisor is None or supervisor.handling is not None:
            return
        self.restart_count += 1
        where = (event.supervisor, event.id)
        former = self._ended.pop(where, None)
        if former is None:
            # It was shut down since a sibling had ended.
            former = self._restarted.get(where)
        known = None if former is None else self._records.pop(former, None)
        if known is None:
            self._keep(event.pid, 1, "")
        else:
            self._keep(event.pid, known[0] + 1, known[1])
        server = server_of(supervisor)
        if not isinstance(server, DynamicSupervisor):
            _put(self._restarted, where, event.pid)

    # -- the list ---------------------------------------------------------------------------------

    def _note(
        self, pid: Pid, name: str | None, label: str, reason: str, where: str | None
    ) -> CrashNote:
        self.crash_count += 1
        return CrashNote(
            number=self.crash_count,
            pid=repr(pid),
            name=cut(name or ""),
            label=cut(label),
            reason=reason,
            where=where or "",
            at=round(time.time(), 3),
            is_crash=where is not None,
        )

    def _insert(self, note: CrashNote) -> None:
        """Add an end that was no crash: before the crashes of this moment, but for its own cause.

        That is one with the same reason, which came along a link.
        """
        later: list[CrashNote] = []
        while self.crashes:
            last = self.crashes[-1]
            is_of_now = last.is_crash and 0 <= note.at - last.at <= MOMENT
            if not is_of_now or last.reason == note.reason:
                break
            later.append(self.crashes.pop())
        if not later:
            self.crashes.append(note)
            return
        later.append(note)
        first = note.number - len(later) + 1
        for number, one in enumerate(reversed(later), start=first):
            self.crashes.append(dataclasses.replace(one, number=number))

    def _keep(self, pid: Pid, restarts: int, crash: str) -> None:
        _put(self._records, pid, (restarts, crash))


def _put(table: OrderedDict[K, V], key: K, value: V) -> None:
    table[key] = value
    if len(table) > MOST_RECORDS:
        table.popitem(last=False)


def _raised_at(error: BaseException | None) -> str:
    """Return the line that raised an exception."""
    if error is None or error.__traceback__ is None:
        return ""
    frame, number = list(traceback.walk_tb(error.__traceback__))[-1]
    return place(frame.f_globals.get("__name__", "?"), number, frame.f_code.co_qualname)
