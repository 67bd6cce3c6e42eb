"""Requests that wait for an answer.

A pending call is a monitor: it stands with the server until it is answered, and fails the moment
the server dies, with the server's exit reason. The answer goes straight to the task that waits, not
through a mailbox, so a late or second answer has nowhere to go and vanishes.

There is no time-out of its own: the caller uses trio's (`with trio.fail_after(5): …`), and a caller
that is cancelled withdraws its request.

OTP: `gen_server:call` has a time-out of five seconds unless told otherwise, and leaves the request
of a caller that gives up in the queue. Here a call waits for as long as its caller's scopes allow,
and such a request is taken back (the replay of recorded traces knows this as "withdrawn requests").
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

import trio
from trio.lowlevel import Abort, RaiseCancelT, Task, current_task, reschedule, wait_task_rescheduled

from exeunt.kernel.errors import CallCycle, CallFailed
from exeunt.kernel.exits import NOPROC, Reason
from exeunt.kernel.ids import Pid

if TYPE_CHECKING:
    from exeunt.kernel.process import Process


R_co = TypeVar("R_co", covariant=True)


class Request(Generic[R_co]):
    """The base of requests whose answer has a type: `class Press(Request[bool])`.

    `call` with such a request is known to give that type; the process that answers is trusted.
    """

    __slots__ = ()


# Trio calls `unwrap` on the outcome that it is given, and nothing else. One of the package outcome
# takes as long to make and to open as all the rest that is done to wake a task.
wake: Final[Callable[[Task, Any], None]] = reschedule


class Call:
    """A request in a mailbox, and the way back to who asked.

    `request` is what was asked, `caller` the pid of the process that asks (None: a task outside of
    all processes). Keep the call and `reply` to it whenever the answer is there, from any process.
    """

    __slots__ = (
        "_error",
        "_server",
        "_task",
        "_value",
        "caller",
        "is_withdrawn",
        "request",
        "target",
        "was_taken",
    )

    def __init__(self, request: object, caller: Pid | None, target: object) -> None:
        self.request = request
        self.caller = caller
        self.target = target
        # Whether the server has taken it out of its mailbox, and whether the caller has taken it
        # back before that.
        self.was_taken = False
        self.is_withdrawn = False
        # Invariant: while the call is pending, `_server` is who has to answer, the call is in
        # `_server.calls`, and `_task` is parked, or about to. Otherwise `_server` is None; once it
        # is settled, the answer is `_value`, or `_error` if there is one.
        self._server: Process | None = None
        self._task: Task | None = None
        self._value: object = None
        self._error: BaseException | None = None

    def __repr__(self) -> str:
        return f"Call({self.request!r}, caller={self.caller})"

    @property
    def is_pending(self) -> bool:
        """Whether somebody still waits for the answer."""
        return self._server is not None

    @property
    def server(self) -> Process | None:
        """The process that has to answer; None when nobody waits any more."""
        return self._server

    def attach(self, server: Process) -> None:
        """Make the call pending at `server`."""
        self._server = server
        if server.calls is None:
            server.calls = {}
        server.calls[self] = None

    def fail(self, reason: Reason) -> None:
        """End a pending call with the exit reason of its server."""
        self._settle(CallFailed(self.target, self.request, reason))

    def reply(self, value: object) -> bool:
        """Answer; False if nobody waits (any more)."""
        server = self._server
        if server is None:
            return False
        assert server.calls is not None
        del server.calls[self]
        # As _settle does; this is the way of every call that goes well.
        self._server = None
        self._value = value
        task, self._task = self._task, None
        if task is not None:
            wake(task, self)
        return True

    def refuse(self, error: BaseException) -> bool:
        """Have `error` raised in the caller; False if nobody waits (any more)."""
        server = self._server
        if server is None:
            return False
        assert server.calls is not None
        del server.calls[self]
        self._settle(error)
        return True

    def _settle(self, error: BaseException) -> None:
        self._server = None
        self._error = error
        task, self._task = self._task, None
        if task is not None:
            wake(task, self)

    def unwrap(self) -> Any:
        """Return the answer or raise the error, once: what trio asks of an outcome."""
        error, self._error = self._error, None
        if error is None:
            return self._value
        try:
            raise error
        finally:
            # The error's traceback has this frame.
            del error

    async def wait(self) -> Any:
        """Park until the answer is there."""
        if self._server is None:
            await trio.lowlevel.checkpoint()
            return self.unwrap()
        self._task = current_task()
        return await wait_task_rescheduled(self._abort)

    def _abort(self, _: RaiseCancelT) -> Abort:
        server, self._server, self._task = self._server, None, None
        if server is not None:
            assert server.calls is not None
            del server.calls[self]
            caller = None if self.caller is None else self.caller._process
            has_died = self.caller is not None and (caller is None or caller.status != "running")
            # A caller that gives up takes its request back. One that dies does not: as in OTP, it
            # is served, and the answer lost.
            if not self.was_taken and not has_died:
                self.is_withdrawn = True
                server.mailbox.note_withdrawn()
        return Abort.SUCCEEDED


async def call_process(
    target: object, server: Process | None, request: object, caller: Process | None
) -> Any:
    """Ask `server` (None: there is no such process) and wait for its answer.

    Raises `CallFailed` with the server's exit reason if it is dead or dies meanwhile; with a
    `CallCycle` if the answer could never come, because the server waits for this very caller.
    """
    if server is None or server.status != "running":
        await trio.lowlevel.checkpoint()
        raise CallFailed(target, request, NOPROC)
    task = current_task()
    pending = Call(request, None if caller is None else caller.pid, target)
    if caller is None or caller.task is not task:
        pending.attach(server)
        server.mailbox.put(pending)
        return await pending.wait()
    # Only in a call of its own task does a process take no messages, and so can be in a cycle.
    if server is caller or server.waiting is not None:
        cycle = find_cycle(caller, server)
        if cycle is not None:
            await trio.lowlevel.checkpoint()
            raise CallFailed(target, request, cycle)
    pending._server = server
    if server.calls is None:
        server.calls = {}
    server.calls[pending] = None
    server.mailbox.put(pending)
    caller.waiting = pending
    try:
        if not pending.is_pending:
            # A full mailbox has turned it away.
            return await pending.wait()
        pending._task = task
        return await wait_task_rescheduled(pending._abort)
    finally:
        caller.waiting = None


# For whoever forgets the `await`: Python says then "coroutine 'call' was never awaited".
call_process.__qualname__ = "call"


async def wait_as(caller: Process | None, pending: Call) -> Any:
    """Wait for the answer to a call in a process's own task, so that cycles through it are seen."""
    if caller is None:
        return await pending.wait()
    caller.waiting = pending
    try:
        return await pending.wait()
    finally:
        caller.waiting = None


def find_cycle(caller: Process, server: Process) -> CallCycle | None:
    """Follow who waits for whom, from `server` on; None unless that leads back to `caller`.

    A process counts as waiting if its own task is in a call that its server has not begun to
    handle, or is handling now. A call that a server has put aside to answer later may be answered
    by anybody, so it closes no cycle.
    """
    path = [caller.pid]
    step = server
    while step is not caller:
        path.append(step.pid)
        waiting = step.waiting
        following = None if waiting is None else waiting.server
        if following is None or waiting is None:
            return None
        if waiting.was_taken and following.handling is not waiting:
            return None
        step = following
    return CallCycle(tuple(path))
