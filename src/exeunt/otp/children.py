"""Starting a child and shutting it down: what all supervisors do alike."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass
from functools import partial
from math import inf
from typing import Any, Literal, TypeAlias, TypeVarTuple, Unpack

import trio

from exeunt.kernel.errors import StartFailed, StartIgnored
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


def child(
    function: Callable[[Unpack[Ts]], Awaitable[object]], *args: *Ts, id: object = None
) -> ChildSpec:
    """Return the specification of a plain async function as a child.

    It counts as started as soon as it was spawned. `id` is by default the function's name.
    """
    given: object = function
    if inspect.iscoroutine(given):
        given.close()
        raise TypeError("child() takes the function and its arguments, without calling it")
    name = getattr(function, "__name__", repr(function))
    return ChildSpec(id=name if id is None else id, start=partial(_spawn_linked, function, args))


async def _spawn_linked(function: Callable[..., Awaitable[object]], args: tuple[Any, ...]) -> Pid:
    return spawn_process(function, args, linked=True).pid


async def start_child(spec: ChildSpec) -> Pid | None:
    """Start a child of the current process; None if it asked not to be started.

    Raises `StartFailed` with the reason, whatever went wrong.
    """
    try:
        pid: object = await spec.start()
    except StartIgnored:
        return None
    except StartFailed:
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
]
