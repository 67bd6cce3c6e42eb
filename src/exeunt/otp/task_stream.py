"""The results of a function for many items, so many at a time: what `async_stream` gives.

    async def double(number: int) -> int:
        await trio.sleep(number)
        return 2 * number

    async with Task.async_stream([3, 1, 2], double, max_concurrency=2) as results:
        async for result in results:
            match result:
                case Ok(value):
                    print(value)
                case Exit(pid, reason):
                    print(f"{pid} failed: {reason}")

That prints 6, 2 and 4: the order of the items, unless `ordered=False` asks for the order in which
the tasks end. Each item has a task of its own. At most `max_concurrency` of them run at a time,
nothing runs before the first result is asked for, and an item is taken only when its task can
start: so the items may be an endless generator. When the block is left, by a `break` or an
exception too, the tasks that still run are killed, and are dead before what follows it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from types import TracebackType
from typing import Any, Final, Generic, Literal, TypeAlias, TypeVar, cast

import trio
from trio.lowlevel import Abort, RaiseCancelT, Task, current_task, reschedule, wait_task_rescheduled

from exeunt.kernel import signals
from exeunt.kernel.exits import KILL, Exit
from exeunt.kernel.ids import Pid, Ref
from exeunt.kernel.process import Process, current_process
from exeunt.otp.pending import Outcome, Pending, wait_settled
from exeunt.otp.supervision import check_choice

A = TypeVar("A")
R_co = TypeVar("R_co", covariant=True)

OnTimeout: TypeAlias = Literal["exit", "kill_task"]
"""What a task that takes too long comes to, besides being killed: an error, or an outcome."""

TIMEOUT: Final = "timeout"

_NOTHING: Final = object()


class TaskStream(Generic[R_co]):
    """An async iterator of outcomes, within its `async with` block.

    Each outcome is `Ok(value)`, or `Exit(pid, reason)` of a task that failed. A task that takes
    more than `timeout` seconds is killed; then the iteration raises `trio.TooSlowError`, or with
    `on_timeout="kill_task"` the outcome is `Exit(pid, "timeout")`.

    OTP: there is no default time-out, and no default `max_concurrency`: it is for the processor's
    cores in Elixir, and what a task waits for here is mostly something else.

    OTP: ordered results that wait for their turn behind a slow one are at most `max_concurrency`,
    and no more tasks are started then; Elixir keeps any number.
    """

    def __init__(
        self,
        items: Iterable[A],
        start: Callable[[Process, A, bool], Awaitable[Pending]],
        max_concurrency: int,
        ordered: bool,
        timeout: float,
        on_timeout: OnTimeout,
        *,
        links: bool = True,
        forget: Callable[[Process, list[Pid]], None] | None = None,
    ) -> None:
        check_choice("on_timeout", on_timeout, OnTimeout)
        if max_concurrency < 1:
            raise ValueError(f"max_concurrency is a number from 1 up, not {max_concurrency!r}")
        if not timeout > 0:
            raise ValueError(f"timeout is a positive number of seconds, not {timeout!r}")
        self._items = iter(items)
        self._start: Callable[[Process, Any, bool], Awaitable[Pending]] = start
        self._max_concurrency = max_concurrency
        self._is_ordered = ordered
        self._timeout = timeout
        self._on_timeout: OnTimeout = on_timeout
        self._links = links
        self._forget = forget
        self._owner: Process | None = None
        self._is_closed = False
        # An item that was taken, and whose task has not started.
        self._item: object = _NOTHING
        self._has_items = True
        # Tasks that run, with their timers; a task leaves in the step in which it ends.
        self._running: dict[Pending, Ref | None] = {}
        # Tasks whose outcome has not been given yet: in the order of the items those that run as
        # well, otherwise in the order of their ends. Bounded by `_may_start`.
        self._due: deque[Pending] = deque()
        self._timed_out: set[Pending] = set()
        # The trio task that waits for the next outcome.
        self._parked: Task | None = None

    async def __aenter__(self) -> AsyncIterator[Outcome[R_co]]:
        owner = current_process()
        if self._owner is not None:
            raise RuntimeError("a stream of tasks is gone through once: make another one")
        self._owner = owner
        # OTP: a task is linked to the stream's own process, which traps exits if its owner does.
        # Here it is linked to the owner; one that traps would find an Exit of every task in its
        # mailbox, so its tasks are not linked. They end with the block, and so with the owner.
        self._links = self._links and not owner.traps
        if owner.at_exit is None:
            owner.at_exit = {}
        owner.at_exit[self] = self._owner_has_ended
        await trio.lowlevel.checkpoint()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._is_closed = True
        owner = self._owner
        assert owner is not None
        if owner.at_exit is not None:
            owner.at_exit.pop(self, None)
        running = list(self._running)
        self._kill(running)
        # However long they take: who is killed and does not end is declared dead by the node.
        with trio.CancelScope(shield=True):
            for pending in running:
                pending.observer = None
            await wait_settled(running)

    def __aiter__(self) -> AsyncIterator[Outcome[R_co]]:
        return self

    async def __anext__(self) -> Outcome[R_co]:
        """Give the next outcome; start tasks as far as there is room."""
        owner = self._check_use()
        await self._fill(owner)
        has_waited = False
        while not self._is_ready():
            if not self._running:
                await trio.lowlevel.checkpoint()
                raise StopAsyncIteration
            self._parked = current_task()
            await wait_task_rescheduled(self._abort)
            has_waited = True
            if owner.status != "running":
                # A linked task has failed and ended the owner: it is to unwind for that reason.
                await trio.lowlevel.checkpoint_if_cancelled()
            if not self._is_ready():
                await self._fill(owner)
        if not has_waited:
            await trio.lowlevel.checkpoint()
        return self._outcome_of(self._due.popleft())

    def settled(self, pending: Pending) -> None:
        """Take note of the end of a task."""
        timer = self._running.pop(pending, None)
        assert self._owner is not None
        if timer is not None:
            self._owner.node.timers.cancel(timer)
        if not self._is_ordered:
            self._due.append(pending)
        task, self._parked = self._parked, None
        if task is not None:
            reschedule(task)

    # -- within ---------------------------------------------------------------------------------

    def _check_use(self) -> Process:
        owner = self._owner
        if owner is None or self._is_closed:
            raise RuntimeError("a stream of tasks is gone through within its `async with` block")
        if current_process() is not owner:
            raise RuntimeError(f"this stream of tasks belongs to {owner.pid}")
        if self._parked is not None:
            raise RuntimeError("another task of this process waits for this stream already")
        return owner

    def _may_start(self) -> bool:
        """Tell whether there is room for another task, and an item for it."""
        running = len(self._running)
        if running >= self._max_concurrency:
            return False
        if self._is_ordered:
            has_room = len(self._due) < 2 * self._max_concurrency
        else:
            has_room = running + len(self._due) < self._max_concurrency
        if not has_room:
            return False
        if self._item is _NOTHING and self._has_items:
            self._item = next(self._items, _NOTHING)
            self._has_items = self._item is not _NOTHING
        return self._item is not _NOTHING

    def _is_ready(self) -> bool:
        """Tell whether the outcome that is to be given next is there."""
        return bool(self._due) and self._due[0].outcome is not None

    async def _fill(self, owner: Process) -> None:
        """Start tasks as far as there is room."""
        while self._may_start():
            await self._start_next(owner)

    async def _start_next(self, owner: Process) -> None:
        pending = await self._start(owner, self._item, self._links)
        self._item = _NOTHING
        timer: Ref | None = None
        if self._timeout != float("inf"):
            timer = owner.node.make_ref()
            owner.node.timers.start(timer, self._timeout, lambda _: self._has_timed_out(pending))
        if self._is_ordered:
            self._due.append(pending)
        self._running[pending] = timer
        pending.observer = self
        if pending.outcome is not None:
            # It has ended while the supervisor's answer was on its way.
            self.settled(pending)

    def _outcome_of(self, pending: Pending) -> Outcome[R_co]:
        outcome = pending.outcome
        if pending in self._timed_out:
            self._timed_out.discard(pending)
            if isinstance(outcome, Exit):
                if self._on_timeout == "exit":
                    raise trio.TooSlowError(
                        f"the task {pending.label} {pending.pid} took more than "
                        f"{self._timeout} seconds"
                    )
                outcome = Exit(pending.pid, TIMEOUT)
        return cast("Outcome[R_co]", outcome)

    def _has_timed_out(self, pending: Pending) -> None:
        self._timed_out.add(pending)
        self._kill([pending])

    def _owner_has_ended(self, pid: Pid) -> None:
        self._kill(list(self._running))

    def _kill(self, pendings: list[Pending]) -> None:
        assert self._owner is not None
        if self._forget is not None:
            self._forget(self._owner, [pending.pid for pending in pendings])
        for pending in pendings:
            timer = self._running.get(pending)
            if timer is not None:
                self._owner.node.timers.cancel(timer)
            signals.unlink(self._owner, pending.server)
            signals.signal(pending.server, self._owner.pid, KILL)

    def _abort(self, _: RaiseCancelT) -> Abort:
        self._parked = None
        return Abort.SUCCEEDED


__all__ = ["OnTimeout", "TaskStream"]
