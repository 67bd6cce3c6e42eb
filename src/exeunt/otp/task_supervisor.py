"""TaskSupervisor: a supervisor for tasks, which start on demand and are never restarted.

    await TaskSupervisor.named("jobs").start_link()

    async def halve(number: int) -> int:
        if number % 2:
            raise ValueError("an odd number")
        return number // 2

    task = await TaskSupervisor.async_nolink("jobs", halve, 42)
    assert await task == 21

A task without a supervisor ends when its owner fails, and with the node, but in no order. Tasks
under a supervisor are part of the tree: they are shut down where their supervisor stands in it, can
be counted and limited, and with `async_nolink` they may fail without harm to who waits for them. It
is the way for a server to have something done that takes long, or may go wrong, while it serves on:
it monitors the task, and finds a `Down` among its messages.

    class Halver(GenServer):
        async def init(self) -> None:
            self.waiting: dict[Ref, tuple[Task[int], Call]] = {}

        @on_call
        async def halve(self, number: int) -> int | NoReply:
            task = await TaskSupervisor.async_nolink("jobs", halve, number)
            self.waiting[monitor(task.pid)] = (task, self.caller)
            return NoReply()

        async def handle_info(self, message: object) -> None:
            match message:
                case Down(ref):
                    task, caller = self.waiting.pop(ref)
                    match await task.yield_():
                        case Ok(number):
                            reply(caller, number)
                        case Exit(_, reason):
                            reply(caller, None)

    halver = await Halver.start_link()
    assert await Halver.halve(halver, 42) == 21

It is a `DynamicSupervisor`, whose functions serve it as well; its children are temporary, and have
five seconds to shut down. The rules are those of Elixir's `Task.Supervisor`.

OTP: a task that nobody is linked to exits when its owner dies before it has handed over the work.
Here the work is handed over in the step in which the task is started.

A task runs in a copy of the context of the process that asked for it: it sees the context variables
that a task of a nursery would see there.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Iterable
from contextvars import Context, copy_context
from functools import partial
from math import inf
from typing import Any, ClassVar, Protocol, TypeVar, TypeVarTuple, Unpack, cast, overload

from exeunt.kernel import signals
from exeunt.kernel.errors import NoProcess
from exeunt.kernel.ids import Pid
from exeunt.kernel.names import Destination
from exeunt.kernel.process import Process, current_process, running_process
from exeunt.otp.dynamic_supervisor import DynamicSupervisor, MaxChildren
from exeunt.otp.pending import Pending
from exeunt.otp.requests import on_call, on_cast
from exeunt.otp.results import Refuse
from exeunt.otp.server_loop import Cast, MethodRequest
from exeunt.otp.supervision import ChildSpec, RestartType
from exeunt.otp.task import Task
from exeunt.otp.task_process import check_function, start_task
from exeunt.otp.task_stream import OnTimeout, TaskStream

A = TypeVar("A")
R = TypeVar("R")
Ts = TypeVarTuple("Ts")


class _StartsTask(Protocol):
    def __call__(
        self,
        supervisor: Destination,
        function: Callable[[Unpack[Ts]], Awaitable[object]],
        *args: *Ts,
        restart: RestartType = "temporary",
    ) -> Coroutine[Any, Any, Pid]: ...


class _StartChild(on_call[[ChildSpec], "Pid | None"]):
    """`start_child` with another face on the class, for a task; on `self` it is the base's."""

    def __init__(self) -> None:
        super().__init__(vars(DynamicSupervisor)["start_child"].__wrapped__)

    @overload  # type: ignore[override]
    def __get__(self, instance: None, owner: type[Any]) -> _StartsTask: ...
    @overload
    def __get__(
        self, instance: object, owner: type[Any]
    ) -> Callable[[ChildSpec], Coroutine[Any, Any, Pid | None]]: ...
    def __get__(self, instance: Any, owner: Any) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        return _start_child if instance is None else super().__get__(instance, owner)


class TaskSupervisor(DynamicSupervisor):
    """Starts tasks; its options are those of `DynamicSupervisor`."""

    start_child: ClassVar[_StartChild] = _StartChild()  # type: ignore[assignment]
    """Run a function for its side effects; return the pid of its process.

    `TaskSupervisor.start_child(supervisor, function, *args, restart="temporary")`. Raises
    `MaxChildren`. With another `restart` the task is run anew as a supervisor's children are.
    """

    @staticmethod
    async def async_(
        supervisor: Destination, function: Callable[[Unpack[Ts]], Awaitable[R]], *args: *Ts
    ) -> Task[R]:
        """Run a function in a process linked to this one, which is its owner, and supervised.

        Raises `MaxChildren` if the supervisor has as many children as it may have.
        """
        return Task(await _start_awaited(supervisor, function, args, linked=True))

    @staticmethod
    async def async_nolink(
        supervisor: Destination, function: Callable[[Unpack[Ts]], Awaitable[R]], *args: *Ts
    ) -> Task[R]:
        """Like `async_`, without the link: neither takes the other along.

        If the task fails, `await` raises `TaskFailed`; if its owner dies, it runs on.
        """
        return Task(await _start_awaited(supervisor, function, args, linked=False))

    @staticmethod
    def async_stream(
        supervisor: Destination,
        items: Iterable[A],
        function: Callable[[A], Awaitable[R]],
        *,
        max_concurrency: int,
        ordered: bool = True,
        timeout: float = inf,
        on_timeout: OnTimeout = "exit",
    ) -> TaskStream[R]:
        """Run a function for each of some items, so many at a time; see `TaskStream`.

        The tasks are supervised, and linked to this process: one that fails takes it along, unless
        it traps exits. The iteration raises `MaxChildren` if there is no room in the supervisor:
        leave it as many children as `max_concurrency`.
        """
        start = partial(_start_for_stream, supervisor, function, check_function(function))
        forget = partial(_forget, supervisor)
        return TaskStream(
            items, start, max_concurrency, ordered, timeout, on_timeout, forget=forget
        )

    @staticmethod
    def async_stream_nolink(
        supervisor: Destination,
        items: Iterable[A],
        function: Callable[[A], Awaitable[R]],
        *,
        max_concurrency: int,
        ordered: bool = True,
        timeout: float = inf,
        on_timeout: OnTimeout = "exit",
    ) -> TaskStream[R]:
        """Like `async_stream`, without links: the outcome of a task that fails is its `Exit`."""
        start = partial(_start_for_stream, supervisor, function, check_function(function))
        forget = partial(_forget, supervisor)
        return TaskStream(
            items,
            start,
            max_concurrency,
            ordered,
            timeout,
            on_timeout,
            links=False,
            forget=forget,
        )

    @on_call
    async def _start_task(
        self,
        owner: Process,
        function: Callable[..., Awaitable[object]],
        args: tuple[Any, ...],
        linked: bool,
        context: Context,
        pending: Pending,
    ) -> Refuse | None:
        limit = self._max_children
        if limit is not None and len(self._children) + len(self._restarting) >= limit:
            return Refuse(MaxChildren(limit))
        if linked and owner.status != "running":
            return Refuse(NoProcess(owner.pid))
        process = _start_in(context, owner.pid, function, args, pending)
        if linked:
            signals.link(owner, process, process.pid)
        spec = ChildSpec(id=pending.label, start=_never, restart="temporary")
        self._set_running(spec, process.pid)
        return None

    @on_cast
    async def _forget(self, pids: list[Pid]) -> None:
        """Expect the end of these tasks: whoever kills them knows why."""
        for pid in pids:
            self._children.pop(pid, None)


async def _start_child(
    supervisor: Destination,
    function: Callable[..., Awaitable[object]],
    *args: Any,
    restart: RestartType = "temporary",
) -> Pid:
    spec = ChildSpec(
        id=check_function(function),
        start=partial(_start_again, copy_context(), current_process().pid, function, args),
        restart=restart,
    )
    return cast("Pid", await DynamicSupervisor.start_child(supervisor, spec))


async def _start_again(
    context: Context, owner: Pid, function: Callable[..., Awaitable[object]], args: tuple[Any, ...]
) -> Pid:
    return _start_in(context, owner, function, args, None).pid


async def _start_awaited(
    supervisor: Destination,
    function: Callable[..., Awaitable[object]],
    args: tuple[Any, ...],
    *,
    linked: bool,
) -> Pending:
    owner = current_process()
    pending = Pending(check_function(function), owner.pid)
    await TaskSupervisor._start_task(
        supervisor, owner, function, args, linked, copy_context(), pending
    )
    return pending


async def _start_for_stream(
    supervisor: Destination,
    function: Callable[[A], Awaitable[object]],
    label: str,
    owner: Process,
    item: A,
    linked: bool,
) -> Pending:
    pending = Pending(label, owner.pid)
    await TaskSupervisor._start_task(
        supervisor, owner, function, (item,), linked, copy_context(), pending
    )
    return pending


def _start_in(
    context: Context,
    owner: Pid,
    function: Callable[..., Awaitable[object]],
    args: tuple[Any, ...],
    pending: Pending | None,
) -> Process:
    """Start a task as a child of the current process, in a context of its owner's."""
    context.run(running_process.set, current_process())
    return context.run(partial(start_task, owner, function, args, linked=True, pending=pending))


async def _never() -> Pid:
    raise AssertionError("a temporary child is not restarted")


def _forget(supervisor: Destination, owner: Process, pids: list[Pid]) -> None:
    process = owner.node.find(supervisor)
    if process is not None:
        process.deliver(Cast(MethodRequest(TaskSupervisor, "_forget", (pids,), {})))


__all__ = ["TaskSupervisor"]
