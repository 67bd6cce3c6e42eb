"""The end of a task, as its owner waits for it: a value, or the reason why there is none.

A `Pending` is a pending call to a task that nobody has to answer: it settles in the one exit path
of the task's process, with what the function returned or with the exit reason. So the end of a task
is known in the same step in which links and monitors hear of it, and it takes no way through a
mailbox, where it could wait behind other messages, be dropped, or be left behind.

OTP: a task sends its result to its owner as a message, and a monitor tells of its end; whoever
never awaits finds both in the mailbox. Here the mailbox stays as it is. An owner that wants a
message monitors the task (`monitor(task.pid)`), and has the result from `await task` when the
`Down` is there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, Protocol, TypeAlias, TypeVar

import trio
from trio.lowlevel import Abort, RaiseCancelT, Task, current_task, reschedule, wait_task_rescheduled

from exeunt.kernel.calls import Call
from exeunt.kernel.exits import Exit, Reason
from exeunt.kernel.ids import Pid
from exeunt.kernel.process import Process

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


@dataclass(frozen=True, slots=True)
class Ok(Generic[T_co]):
    """What a task came to, if its function returned."""

    value: T_co


Outcome: TypeAlias = "Ok[T_co] | Exit"
"""How a task has ended: with a value, or with an exit reason and without one."""


class Observer(Protocol):
    """Who is told when a pending task settles."""

    def settled(self, pending: Pending) -> None:
        """Take note; called within the exit of the task, so it must be quick and not raise."""
        ...


class Pending(Call):
    """A task that has not ended, or how it has."""

    __slots__ = ("_result", "observer", "outcome")

    def __init__(self, label: str, owner: Pid) -> None:
        super().__init__(label, owner, None)
        # Made when the function has returned, before the process ends.
        self._result: Ok[object] | None = None
        self.outcome: Ok[object] | Exit | None = None
        self.observer: Observer | None = None

    def __repr__(self) -> str:
        return f"Pending({self.target} {self.request})"

    @property
    def pid(self) -> Pid:
        """The process of the task."""
        assert isinstance(self.target, Pid)
        return self.target

    @property
    def label(self) -> str:
        """The name of the task's function."""
        return str(self.request)

    def follow(self, process: Process) -> None:
        """Settle with the end of this process, which has not run yet."""
        self.target = process.pid
        self.attach(process)

    def has_returned(self, value: object) -> None:
        """Keep what the function returned: it counts when the process ends, in the same step."""
        self._result = Ok(value)

    def fail(self, reason: Reason) -> None:
        """Settle: the process of the task has ended."""
        self._server = None
        self.outcome = self._result or Exit(self.pid, reason)
        self._result = None
        observer, self.observer = self.observer, None
        if observer is not None:
            observer.settled(self)

    def detach(self) -> None:
        """Do not wait for the end any more."""
        server, self._server = self._server, None
        if server is not None:
            assert server.calls is not None
            del server.calls[self]


class _Waiter:
    """A trio task that is parked until some tasks have settled, or the first of them has failed."""

    __slots__ = ("is_woken_by_failure", "left", "task")

    def __init__(self, left: int, is_woken_by_failure: bool) -> None:
        self.left = left
        self.is_woken_by_failure = is_woken_by_failure
        self.task: Task | None = None

    def settled(self, pending: Pending) -> None:
        self.left -= 1
        has_failed = self.is_woken_by_failure and isinstance(pending.outcome, Exit)
        if (self.left == 0 or has_failed) and self.task is not None:
            task, self.task = self.task, None
            reschedule(task)

    async def park(self) -> None:
        self.task = current_task()
        await wait_task_rescheduled(self._abort)

    def _abort(self, _: RaiseCancelT) -> Abort:
        self.task = None
        return Abort.SUCCEEDED


async def wait_settled(pendings: list[Pending], *, or_first_failure: bool = False) -> None:
    """Wait until all have settled, or, if that is asked for, one of them without a value.

    A checkpoint in any case. Raises `RuntimeError` if somebody waits for one of them already.
    """
    open_ones = [one for one in pendings if one.outcome is None]
    has_failed = or_first_failure and any(isinstance(one.outcome, Exit) for one in pendings)
    if has_failed or not open_ones:
        await trio.lowlevel.checkpoint()
        return
    waiter = _Waiter(len(open_ones), or_first_failure)
    if any(one.observer is not None for one in open_ones):
        raise RuntimeError("another task of this process waits for the same Task already")
    for one in open_ones:
        one.observer = waiter
    try:
        await waiter.park()
    finally:
        for one in open_ones:
            one.observer = None


__all__ = ["Ok", "Outcome", "Pending", "wait_settled"]
