"""Starting a child and shutting it down: what all supervisors do alike."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass
from functools import partial
from math import inf
from typing import Any, Literal, Protocol, TypeAlias, TypeVarTuple, Unpack

import trio

from exeunt.kernel.calls import Call, wait_as
from exeunt.kernel.errors import AlreadyStarted, CallFailed, StartFailed, StartIgnored
from exeunt.kernel.exits import (
    KILL,
    NOPROC,
    SHUTDOWN,
    Crash,
    Exit,
    ProcessExit,
    Reason,
    is_reason,
)
from exeunt.kernel.ids import Pid
from exeunt.kernel.primitives import exit as exit_signal
from exeunt.kernel.primitives import spawn_process, unlink, wait_exit
from exeunt.kernel.process import Process, current_process
from exeunt.otp.genserver import STARTING
from exeunt.otp.reports import report
from exeunt.otp.strategy import is_shutdown_error
from exeunt.otp.supervision import ChildSpec, ChildType

Ts = TypeVarTuple("Ts")

ChildState: TypeAlias = "Pid | Literal['restarting'] | None"


@dataclass(frozen=True, slots=True)
class ChildInfo:
    """A child as `which_children` shows it; `pid` is None if it does not run."""

    id: object
    pid: ChildState
    type: ChildType


@dataclass(frozen=True, slots=True)
class ChildCount:
    """How many children there are: specified, alive, and of which type."""

    specs: int
    active: int
    supervisors: int
    workers: int


class TellsWhenItHasStarted(Protocol[*Ts]):
    """An async function that takes a `task_status`, as those for trio's `nursery.start` do."""

    def __call__(self, *args: *Ts, task_status: trio.TaskStatus[Any]) -> Awaitable[object]:
        """Run, and call `task_status.started()` on the way."""
        ...


def child(
    function: Callable[[Unpack[Ts]], Awaitable[object]] | TellsWhenItHasStarted[*Ts],
    *args: *Ts,
    id: object = None,
) -> ChildSpec:
    """Return the specification of a plain async function as a child.

    One with a parameter `task_status`, such as trio's `serve_tcp`, counts as started when it calls
    `task_status.started()`; if it ends before, the start has failed, with its exit reason. What it
    gives to `started` is not used. Any other counts as started as soon as it was spawned. `id` is
    by default the function's name.
    """
    given: object = function
    if inspect.iscoroutine(given):
        given.close()
        raise TypeError("child() takes the function and its arguments, without calling it")
    name = getattr(function, "__name__", repr(function))
    start = _start_function if _takes_task_status(function, args) else _spawn_function
    return ChildSpec(id=name if id is None else id, start=partial(start, function, args))


def _takes_task_status(function: Callable[..., object], args: tuple[Any, ...]) -> bool:
    try:
        signature = inspect.signature(function)
        given = signature.bind_partial(*args).arguments
    except (TypeError, ValueError):
        # It shows no signature, or the arguments do not fit, which the start will tell.
        return False
    if isinstance(function, partial) and "task_status" in function.keywords:
        return False
    parameter = signature.parameters.get("task_status")
    if parameter is None or "task_status" in given:
        return False
    return parameter.kind in (parameter.KEYWORD_ONLY, parameter.POSITIONAL_OR_KEYWORD)


async def _spawn_function(function: Callable[..., Awaitable[object]], args: tuple[Any, ...]) -> Pid:
    return spawn_process(function, args, linked=True).pid


class _TaskStatus:
    """What a function is given to tell that it has started."""

    __slots__ = ("_starting",)

    def __init__(self, starting: Call) -> None:
        self._starting: Call | None = starting

    def started(self, value: object = None) -> None:
        """Let the start succeed. When nobody waits for it any more, nothing happens."""
        starting, self._starting = self._starting, None
        if starting is None:
            raise RuntimeError("started() was called a second time: a child starts once")
        starting.reply(None)


async def _start_function(function: Callable[..., Awaitable[object]], args: tuple[Any, ...]) -> Pid:
    parent = current_process()
    label = getattr(function, "__qualname__", None) or repr(function)
    starting = Call(STARTING, parent.pid, label)
    body = partial(function, task_status=_TaskStatus(starting))
    process = spawn_process(body, args, linked=True, label=label)
    starting.attach(process)
    starting.was_taken = True
    # So that a call to the starter is seen to lead in a circle.
    process.handling = starting
    try:
        await wait_as(parent if parent.task is trio.lowlevel.current_task() else None, starting)
    except CallFailed as failed:
        # As with a server: who traps exits gets the error, and not the Exit as well.
        take_exits(parent, lambda one: one is process.pid)
        raise StartFailed(label, failed.reason) from failed.__cause__
    except trio.Cancelled:
        # A starter that gives up ends the new process; one that dies leaves that to the link.
        if parent.status == "running":
            unlink(process.pid)
            exit_signal(process.pid, KILL)
        raise
    return process.pid


async def start_child(spec: ChildSpec) -> Pid | None:
    """Start a child of the current process; None if it asked not to be started.

    Raises `AlreadyStarted` if somebody has its name, and `StartFailed` with the reason, whatever
    else went wrong.
    """
    try:
        pid: object = await spec.start()
    except StartIgnored:
        return None
    except (StartFailed, AlreadyStarted):
        raise
    except ProcessExit as error:
        if current_process().status != "running":
            raise
        raise StartFailed(str(spec.id), error.reason) from error
    except Exception as error:
        raise StartFailed(str(spec.id), Crash(error)) from error
    if not isinstance(pid, Pid):
        mistake = TypeError(f"the start of child {spec.id!r} returned {pid!r}, which is no pid")
        raise StartFailed(str(spec.id), Crash(mistake)) from mistake
    return pid


async def shut_down_child(supervisor: Process, spec: ChildSpec, pid: Pid) -> None:
    """Tell a child to end and wait until it is dead; it is killed when its budget is over.

    An end other than the one asked for is reported.
    """
    ended = take_exits(supervisor, lambda one: one is pid)
    reason = await finish_child(supervisor, spec, pid, ended)
    forget_children(supervisor, [pid])
    if is_shutdown_error(spec.restart, spec.budget == "brutal_kill", reason):
        report(supervisor, "shutdown_error", spec.id, pid, reason)


async def finish_child(
    supervisor: Process, spec: ChildSpec, pid: Pid, ended: dict[Pid, Reason]
) -> Reason:
    """Do the same for one of several and return its reason, without a report.

    `ended` has those that had ended before they were told to: such a child's reason is its own,
    and it is not restarted. Call `forget_children` afterwards.
    """
    budget = spec.budget
    if pid in ended:
        reason = ended[pid]
    elif budget == "brutal_kill":
        exit_signal(pid, KILL)
        reason = await wait_exit(pid)
    else:
        exit_signal(pid, SHUTDOWN)
        reason = NOPROC
        with trio.move_on_after(inf if isinstance(budget, str) else budget) as scope:
            reason = await wait_exit(pid)
        if scope.cancelled_caught:
            exit_signal(pid, KILL)
            reason = await wait_exit(pid)
    if is_reason(reason, NOPROC):
        # It ended between the look into the mailbox and the wait: its Exit has the reason.
        reason = take_exits(supervisor, lambda one: one is pid).get(pid, NOPROC)
    return reason


def why(error: StartFailed | AlreadyStarted) -> Reason:
    """Return the reason of a start that has failed, as reports and results show it."""
    return error.reason if isinstance(error, StartFailed) else Crash(error)


def forget_children(supervisor: Process, pids: Collection[Pid]) -> None:
    """Take away the links to children that were shut down, and their `Exit` messages."""
    for pid in pids:
        unlink(pid)
    take_exits(supervisor, frozenset(pids).__contains__)


def take_exits(supervisor: Process, wanted: Callable[[Pid], bool]) -> dict[Pid, Reason]:
    """Take the `Exit` messages of some children out of the mailbox; return their reasons."""
    taken: dict[Pid, Reason] = {}

    def is_wanted(message: object) -> bool:
        if not (isinstance(message, Exit) and wanted(message.pid)):
            return False
        taken[message.pid] = message.reason
        return True

    supervisor.mailbox.remove_if(is_wanted)
    return taken


__all__ = [
    "ChildCount",
    "ChildInfo",
    "ChildState",
    "child",
    "finish_child",
    "forget_children",
    "shut_down_child",
    "start_child",
    "take_exits",
    "why",
]
