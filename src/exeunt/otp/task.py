"""Task: a function that runs in a process of its own, and whose result is awaited.

    async def fetch(page: int) -> str:
        await trio.sleep(1)
        return f"page {page}"

    first = Task.async_(fetch, 1)
    second = Task.async_(fetch, 2)
    assert await first == "page 1"
    assert await Task.await_many([Task.async_(fetch, 3), second]) == ["page 3", "page 2"]

A nursery within a process does as much, and is the better choice where all of it fails together
and in one place. A task is a process: it can be linked to, monitored, put under a supervisor of its
own, told to exit, and it has a mailbox.

The process that starts a task is its *owner*, and linked to it. A task that fails takes its owner
along, whether it is awaited or not, and an owner that fails ends its tasks. An owner that traps
exits gets an `Exit` instead, of every task that ends, and `await` raises `TaskFailed`. For a task
that may fail alone there is `TaskSupervisor.async_nolink`. Only the owner may await a task, yield
to it, shut it down or ignore it, and only until one of these has handed over the outcome.

In Elixir the function is called `async`, which is a word of Python's own; it keeps its name here
with the underscore that Python puts behind such words, and so does `yield_`.

The rules are those of Elixir's `Task`.

OTP: `await` has no time-out of its own; put trio's around it (`with trio.fail_after(5): …`). An
`await` that is cancelled leaves the task as it is: it runs on, and can be awaited again.

OTP: a task sends its result, and ends a moment later. Here it hands over its result by ending.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator, Iterable
from functools import partial
from math import inf
from typing import Any, Generic, TypeVar, TypeVarTuple, Unpack, cast

import trio
from trio.lowlevel import current_task

from exeunt.kernel.calls import find_cycle
from exeunt.kernel.exits import KILL, SHUTDOWN, Crash, Exit, Reason, is_reason
from exeunt.kernel.ids import Pid
from exeunt.kernel.primitives import exit as exit_signal
from exeunt.kernel.primitives import unlink
from exeunt.kernel.process import Process, current_process
from exeunt.otp.pending import Ok, Outcome, Pending, wait_settled
from exeunt.otp.supervision import ChildSpec, Shutdown
from exeunt.otp.task_process import check_function, start_task
from exeunt.otp.task_stream import OnTimeout, TaskStream

A = TypeVar("A")
R = TypeVar("R")
T_co = TypeVar("T_co", covariant=True)
Ts = TypeVarTuple("Ts")


class TaskFailed(Exception):
    """A task has ended without a result; `reason` is its exit reason.

    `pid` is its process, `label` its function.
    """

    def __init__(self, label: str, pid: Pid, reason: Reason) -> None:
        super().__init__(label, pid, reason)
        self.label = label
        self.pid = pid
        self.reason = reason
        if isinstance(reason, Crash):
            self.__cause__ = reason.exception

    def __str__(self) -> str:
        return f"the task {self.label} {self.pid} failed: {self.reason}"


class NotOwner(ValueError):
    """A task belongs to the process that started it, and another one has asked for it."""

    def __init__(self, task: object, owner: Pid, pid: Pid) -> None:
        super().__init__(
            f"{task} belongs to {owner}, and {pid} has asked for it: have the owner wait for it, "
            "and send on what it gives"
        )
        self.owner = owner
        self.pid = pid


class AlreadyAwaited(ValueError):
    """The outcome of a task was handed over before, or the task was ignored."""


class Task(Generic[T_co]):
    """A function that runs in a process of its own: `await` it for what it returns.

    `pid` is its process, `owner` the process that may await it.
    """

    __slots__ = ("_pending", "owner", "pid")

    def __init__(self, pending: Pending) -> None:
        assert pending.caller is not None
        self.pid = pending.pid
        self.owner = pending.caller
        # None once the outcome has been handed over.
        self._pending: Pending | None = pending

    def __repr__(self) -> str:
        label = "" if self._pending is None else f" {self._pending.label}"
        return f"<Task {self.pid}{label}, owner {self.owner}>"

    # -- starting -------------------------------------------------------------------------------

    @staticmethod
    def async_(function: Callable[[Unpack[Ts]], Awaitable[R]], *args: *Ts) -> Task[R]:
        """Run `await function(*args)` in a process linked to this one, which is its owner."""
        owner = current_process()
        pending = Pending(check_function(function), owner.pid)
        start_task(owner.pid, function, args, linked=True, pending=pending)
        return Task(pending)

    @staticmethod
    def start(function: Callable[[Unpack[Ts]], Awaitable[object]], *args: *Ts) -> Pid:
        """Run a function for its side effects: nobody awaits it, and no link is made."""
        return start_task(current_process().pid, function, args, linked=False).pid

    @staticmethod
    def start_link(function: Callable[[Unpack[Ts]], Awaitable[object]], *args: *Ts) -> Pid:
        """Run a function for its side effects, in a process linked to this one."""
        return start_task(current_process().pid, function, args, linked=True).pid

    @staticmethod
    def child(
        function: Callable[[Unpack[Ts]], Awaitable[object]], *args: *Ts, id: object = None
    ) -> ChildSpec:
        """Return the specification of a task as a supervisor's child; it is temporary.

        `id` is by default the function's name.
        """
        label = check_function(function)
        return ChildSpec(
            id=label if id is None else id,
            start=partial(_start_child, function, args),
            restart="temporary",
        )

    # -- the outcome ----------------------------------------------------------------------------

    def __await__(self) -> Generator[Any, Any, T_co]:
        """Wait for the end of the task, and give what its function returned.

        Raises `TaskFailed` with the exit reason if it ended without a result, also for the reason
        `"normal"`, and with a `CallCycle` if the task waits for its owner in a call, which could
        then never end. A call that a task makes to an owner that awaits it fails likewise.
        """
        return self._result().__await__()

    async def yield_(self, within: float = inf) -> Outcome[T_co] | None:
        """Wait for `within` seconds at most: `Ok(value)`, `Exit(pid, reason)`, or None.

        None means that the task runs still; it can be asked again.
        """
        pending = self._of_owner()
        with trio.move_on_after(within):
            await _wait([pending])
        return None if pending.outcome is None else self._hand_over(pending)

    async def shutdown(self, budget: Shutdown = 5.0) -> Outcome[T_co] | None:
        """Unlink the task, tell it to end, and wait until it is dead.

        It is killed if it is not dead in `budget` seconds, or with `"brutal_kill"` at once. Returns
        `Ok(value)` if its function had returned, or returned on being told; None if it was shut
        down; and `Exit(pid, reason)` if it ended for any other reason, that of being killed when
        the budget was over among them. If the caller is cancelled, the task is killed.
        """
        pending = self._of_owner()
        is_brutal = budget == "brutal_kill"
        unlink(self.pid)
        exit_signal(self.pid, KILL if is_brutal else SHUTDOWN)
        try:
            with trio.move_on_after(inf if isinstance(budget, str) else budget):
                await _wait([pending])
            if pending.outcome is None:
                exit_signal(self.pid, KILL)
                await _wait([pending])
        except trio.Cancelled:
            exit_signal(self.pid, KILL)
            raise
        outcome = self._hand_over(pending)
        if isinstance(outcome, Exit):
            reason = outcome.reason
            if is_reason(reason, "killed") if is_brutal else is_reason(reason, "shutdown"):
                return None
        return outcome

    def ignore(self) -> Outcome[T_co] | None:
        """Unlink the task and let it run on unawaited; return its outcome if it has one already."""
        pending = self._of_owner()
        if pending.outcome is not None:
            return self._hand_over(pending)
        unlink(self.pid)
        pending.detach()
        self._pending = None
        return None

    @staticmethod
    async def await_many(tasks: Iterable[Task[R]]) -> list[R]:
        """Wait for several tasks; return their results in the order of the tasks.

        Raises `TaskFailed` as soon as one of them fails; the others are left as they are.
        """
        given = list(tasks)
        pendings = _of_one_owner(given)
        await _wait(pendings, or_first_failure=True)
        for task, pending in zip(given, pendings, strict=True):
            if isinstance(pending.outcome, Exit):
                task._hand_over(pending)
                raise _failure(pending, pending.outcome)
        outcomes = [task._hand_over(one) for task, one in zip(given, pendings, strict=True)]
        return [outcome.value for outcome in outcomes if isinstance(outcome, Ok)]

    @staticmethod
    async def yield_many(
        tasks: Iterable[Task[R]], within: float = inf
    ) -> list[tuple[Task[R], Outcome[R] | None]]:
        """Wait for several tasks, for `within` seconds at most.

        Returns each task, in order, with what `yield_` gives of it.
        """
        given = list(tasks)
        pendings = _of_one_owner(given)
        with trio.move_on_after(within):
            await _wait(pendings)
        return [
            (task, None if pending.outcome is None else task._hand_over(pending))
            for task, pending in zip(given, pendings, strict=True)
        ]

    @staticmethod
    def async_stream(
        items: Iterable[A],
        function: Callable[[A], Awaitable[R]],
        *,
        max_concurrency: int,
        ordered: bool = True,
        timeout: float = inf,
        on_timeout: OnTimeout = "exit",
    ) -> TaskStream[R]:
        """Run a function for each of some items, so many at a time; see `TaskStream`.

        The tasks are linked to this process: one that fails takes it along, unless it traps exits.
        """
        label = check_function(function)

        async def start(owner: Process, item: A, linked: bool) -> Pending:
            pending = Pending(label, owner.pid)
            start_task(owner.pid, function, (item,), linked=linked, pending=pending)
            return pending

        return TaskStream(items, start, max_concurrency, ordered, timeout, on_timeout)

    # -- within ---------------------------------------------------------------------------------

    async def _result(self) -> T_co:
        pending = self._of_owner()
        owner = current_process()
        task = None if pending.outcome is not None else pending.server
        if task is None or owner.task is not current_task():
            await _wait([pending])
        else:
            if task.waiting is not None:
                cycle = find_cycle(owner, task)
                if cycle is not None:
                    await trio.lowlevel.checkpoint()
                    raise TaskFailed(pending.label, self.pid, cycle)
            owner.waiting = pending
            try:
                await _wait([pending])
            finally:
                owner.waiting = None
        outcome = self._hand_over(pending)
        if isinstance(outcome, Exit):
            raise _failure(pending, outcome)
        return outcome.value

    def _of_owner(self) -> Pending:
        """Return what there is to wait for, if the caller is the owner and it is there still."""
        pid = current_process().pid
        if pid is not self.owner:
            raise NotOwner(self, self.owner, pid)
        if self._pending is None:
            raise AlreadyAwaited(f"{self} was awaited, shut down or ignored before: once is enough")
        return self._pending

    def _hand_over(self, pending: Pending) -> Outcome[T_co]:
        self._pending = None
        outcome = pending.outcome
        assert outcome is not None
        return cast("Outcome[T_co]", outcome)


async def _start_child(function: Callable[..., Awaitable[object]], args: tuple[Any, ...]) -> Pid:
    return start_task(current_process().pid, function, args, linked=True).pid


async def _wait(pendings: list[Pending], *, or_first_failure: bool = False) -> None:
    await wait_settled(pendings, or_first_failure=or_first_failure)
    if current_process().status != "running":
        # The failure of a linked task has ended this process, which does not trap exits: it is to
        # unwind for that reason, and not to raise an error of its own on the way.
        await trio.lowlevel.checkpoint_if_cancelled()


def _of_one_owner(tasks: list[Task[R]]) -> list[Pending]:
    pendings = [task._of_owner() for task in tasks]
    if len(set(pendings)) != len(pendings):
        raise ValueError("the same task is there twice: a task can be awaited once")
    return pendings


def _failure(pending: Pending, outcome: Exit) -> TaskFailed:
    return TaskFailed(pending.label, outcome.pid, outcome.reason)


__all__ = [
    "AlreadyAwaited",
    "NotOwner",
    "Ok",
    "Outcome",
    "Task",
    "TaskFailed",
]
