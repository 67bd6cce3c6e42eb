"""The life of one process: one way in, one way out.

A process is one trio task with one cancel scope in the nursery of its node, and a mailbox. It ends
in `Process.finish`, whatever the way: its body returned or raised, it received an exit signal, it
was killed, its node is closing. The reason is that of the signal, if it was ended by one, and
otherwise the outcome of its body; it is never inferred from a cancellation.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextvars import ContextVar
from inspect import isawaitable
from threading import get_ident
from types import CoroutineType
from typing import TYPE_CHECKING, Any, Literal

import trio
from trio.lowlevel import Task, current_task

from exeunt.kernel.calls import Call
from exeunt.kernel.errors import CallFailed, NotAProcess, StartFailed
from exeunt.kernel.events import CrashReport, Dropped, Exited
from exeunt.kernel.exits import (
    KILLED,
    NORMAL,
    Crash,
    ProcessExit,
    Reason,
    is_orderly,
)
from exeunt.kernel.ids import Pid, Ref
from exeunt.kernel.mailbox import BoundedMailbox, Mailbox
from exeunt.kernel.signals import Peer, depart
from exeunt.kernel.trio_seam import leave_nurseries

if TYPE_CHECKING:
    from exeunt.kernel.node import Node
    from exeunt.kernel.timers import Timers

running_process: ContextVar[Process | None] = ContextVar("exeunt.running_process", default=None)


def current_process() -> Process:
    """Return the process that the running task belongs to; raise `NotAProcess` if there is none."""
    process = running_process.get()
    if process is None:
        raise NotAProcess(
            "no process is running here: do this in a program that is started with "
            "`exeunt.run(main)`, or within `async with open_node():`"
        )
    if process.status == "dead":
        raise NotAProcess(f"the process {process.pid}, for which this code runs, has ended")
    if process.node.thread != get_ident():
        raise another_thread()
    return process


def another_thread() -> NotAProcess:
    """Return the error for whoever touches processes from a thread that is not theirs."""
    return NotAProcess(
        "this is another thread than that of the processes: go back into theirs, with "
        "`trio.from_thread.run_sync(send, pid, message)`"
    )


class Process(Peer):
    """An entry in the process table. Not public: a process is addressed by its `Pid`."""

    __slots__ = (
        "_args",
        "_body",
        "at_exit",
        "calls",
        "describe",
        "ended_by",
        "exit_reason",
        "handling",
        "is_killed",
        "label",
        "mailbox",
        "name",
        "node",
        "parent",
        "reporting",
        "scope",
        "shutdown",
        "task",
        "timers",
        "waiting",
    )

    def __init__(
        self,
        node: Node,
        pid: Pid,
        parent: Pid | None,
        label: str,
        body: Callable[..., Awaitable[object]] | None,
        args: tuple[Any, ...],
    ) -> None:
        super().__init__(pid)
        self.node = node
        self.parent = parent
        self.label = label
        self.name: str | None = None
        self.mailbox = Mailbox()
        self.scope = trio.CancelScope()
        self.task: Task | None = None
        # The reason of the signal that ended the process, once it is exiting, and who sent it.
        self.exit_reason: Reason = None
        self.ended_by: Pid | None = None
        self.is_killed = False
        # Calls that this process has to answer; made when first needed, like those below.
        self.calls: dict[Call, None] | None = None
        # The call in which the process's own task is parked, and the one that it is handling:
        # together they show a cycle of calls.
        self.waiting: Call | None = None
        self.handling: Call | None = None
        # Timers that are to send to this process, and where they run.
        self.timers: dict[Ref, Timers] | None = None
        # Called with the pid when the process is dead, before anybody hears of it: whoever keeps a
        # table of processes (a registry, a topic's subscribers) forgets it here.
        self.at_exit: dict[object, Callable[[Pid], None]] | None = None
        # Whether its end makes a crash report: if that is its own error; in any case; or not at
        # all, because somebody else tells of it.
        self.reporting: Literal["errors", "always", "never"] = "errors"
        # What a behaviour adds to a crash report.
        self.describe: Callable[[], Mapping[str, object]] | None = None
        # How long the node waits for it when it closes, in seconds; None: the node's own budget.
        self.shutdown: float | None = None
        self._body = body
        self._args = args

    def __repr__(self) -> str:
        return f"{self.pid} {self.label}"

    # -- what reaches it ------------------------------------------------------------------------

    def deliver(self, message: object) -> None:
        """Put a message into the mailbox; one for a process that is ending is lost."""
        if self.status == "running":
            self.mailbox.put(message)
        elif self.node.events.wants(Dropped):
            self.node.events.emit(Dropped(self.pid, message, "the receiver is dead"))

    def bound_mailbox(self, mailbox: BoundedMailbox) -> None:
        """Use a bounded mailbox; before the process has run."""
        self.mailbox = mailbox

    def overflowed(self, message: object) -> None:
        """Account for a message that found the mailbox full."""
        mailbox = self.mailbox
        assert isinstance(mailbox, BoundedMailbox)
        if isinstance(message, Call) and message.is_pending:
            assert self.calls is not None
            del self.calls[message]
            message.fail("overflow")
        if self.node.events.wants(Dropped):
            self.node.events.emit(Dropped(self.pid, message, "the mailbox is full"))
        if mailbox.overflow == "exit":
            self.begin_exit("overflow", self.pid)

    def begin_exit(self, reason: Reason, by: Pid, *, is_kill: bool = False) -> None:
        """Record the signal and cancel the body; the rest happens in `finish`."""
        if self.status == "running":
            self.status = "exiting"
            self.exit_reason, self.ended_by = reason, by
            self.mailbox.budget = 0
            self.scope.cancel()
        elif self.status == "exiting" and is_kill:
            self.exit_reason, self.ended_by = reason, by
        if is_kill and not self.is_killed:
            self.is_killed = True
            self.node.expect_end(self)

    # -- its life -------------------------------------------------------------------------------

    async def live(self) -> None:
        """Run the body to its end: the whole of the process's trio task."""
        running_process.set(self)
        self.task = current_task()
        outcome: BaseException | None = None
        try:
            with self.scope:
                if self.status == "running":
                    assert self._body is not None
                    running = self._body(*self._args)
                    # What it was started with is the body's alone now, to keep or to let go.
                    self._body = None
                    self._args = ()
                    if type(running) is not CoroutineType and not isawaitable(running):
                        raise TypeError(
                            f"{self.label} is the body of a process, and awaited: it has returned "
                            f"{running!r}; write `async def`"
                        )
                    try:
                        await running
                    except BaseException as error:
                        if not self.task.child_nurseries:
                            raise
                        await leave_nurseries(error)
                    else:
                        if self.task.child_nurseries:
                            await leave_nurseries(None)
        except BaseException as error:
            # Not let out: what a process raises never enters the node's nursery. That holds for
            # trio.Cancelled too, which can only be the node's last resort when it is closing.
            outcome = error
        self.finish(outcome)
        # The traceback holds this frame, and the task's context this process: without this, what
        # has ended would be left for the garbage collector.
        del outcome
        self.task = None

    def finish(self, outcome: BaseException | None) -> None:
        """End the process: the one exit path, in one uninterrupted step.

        In this order: it is marked dead and leaves the tables, its name is free, those who keep
        lists of processes forget it, timers that would send to it are cancelled, the calls that
        wait for it fail, those linked to it get their signal, its monitors fire.
        """
        node = self.node
        if self.status == "dead":
            node.bury(self)
            return
        if outcome is None:
            own: Reason = NORMAL
        else:
            own = reason_of(outcome)
        was_signalled = self.status == "exiting"
        reason = self.exit_reason if was_signalled else own
        report = self._crash_report(own, was_signalled)
        self.status = "dead"
        self.exit_reason = reason
        node.forget(self)
        if self.at_exit is not None:
            for leave in tuple(self.at_exit.values()):
                leave(self.pid)
            self.at_exit = None
        if self.timers is not None:
            timers, self.timers = self.timers, None
            for ref, where in timers.items():
                where.cancel(ref)
        if self.calls is not None:
            calls, self.calls = self.calls, None
            for call in calls:
                call.fail(reason)
        if report is not None:
            node.events.emit(report)
        depart(self, reason)
        self.describe = self._body = None
        self._args = ()
        self.mailbox.messages.clear()
        if node.events.wants(Exited):
            node.events.emit(Exited(self.pid, self.label, reason))
        interruption = interruption_in(outcome)
        if interruption is not None:
            node.interrupt(interruption)

    def _crash_report(self, own: Reason, was_signalled: bool) -> CrashReport | None:
        """Make a report if the process ends for an error of its own.

        That is an exception that nobody caught and, in a behaviour, any reason but the orderly
        ones. A process that is ended by a signal reports nothing, unless its clean-up fails.
        """
        crash = own if isinstance(own, Crash) else None
        if self.reporting == "never":
            return None
        if was_signalled:
            if crash is None or self._tells_of_the_signal(crash.exception):
                return None
        elif self.reporting == "errors" and (
            is_orderly(own) or (crash is None and self.describe is None)
        ):
            return None
        if crash is not None and isinstance(crash.exception, _INTERRUPTIONS):
            return None
        if not self.node.events.wants(CrashReport):
            return None
        try:
            details = {} if self.describe is None else dict(self.describe())
        except Exception as error:
            details = {"details": f"could not be had: {error!r}"}
        return CrashReport(
            pid=self.pid,
            name=self.name,
            label=self.label,
            reason=own,
            exception=None if crash is None else crash.exception,
            ancestors=self.ancestors(),
            details=details,
            while_exiting=self.exit_reason if was_signalled else None,
        )

    def _tells_of_the_signal(self, error: BaseException) -> bool:
        """Whether an error says but what the signal said: a linked process that was called died."""
        if not isinstance(error, (CallFailed, StartFailed)):
            return False
        return error.reason is self.exit_reason or error.reason == self.exit_reason

    def ancestors(self) -> tuple[Pid, ...]:
        """Return who started this process, who started that, and so on, as far as they live."""
        pids: list[Pid] = []
        parent = self.parent
        while parent is not None:
            pids.append(parent)
            parent = None if parent._process is None else parent._process.parent
        return tuple(pids)


_INTERRUPTIONS = (KeyboardInterrupt, SystemExit)


def interruption_in(outcome: BaseException | None) -> BaseException | None:
    """Return the KeyboardInterrupt or SystemExit that is, or is within, an outcome."""
    while isinstance(outcome, BaseExceptionGroup):
        found = outcome.split(_INTERRUPTIONS)[0]
        outcome = None if found is None else found.exceptions[0]
    return outcome if isinstance(outcome, _INTERRUPTIONS) else None


def reason_of(exception: BaseException) -> Reason:
    """Return the exit reason of a process whose body ended with `exception`.

    An exception group whose members come down to a single one counts as that one: a nursery within
    a process does not hide what went wrong. Cancellations within a group are not counted; a body
    that ended with nothing but those, and without a signal, was ended by its closing node.
    """
    leaf = exception
    if isinstance(leaf, BaseExceptionGroup):
        rest = leaf.split(trio.Cancelled)[1]
        if rest is None:
            return KILLED
        leaf = rest
    if isinstance(leaf, trio.Cancelled):
        return KILLED
    while isinstance(leaf, BaseExceptionGroup) and len(leaf.exceptions) == 1:
        leaf = leaf.exceptions[0]
    if isinstance(leaf, ProcessExit):
        return leaf.reason
    return Crash(leaf)
