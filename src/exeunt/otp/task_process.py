"""The process in which the function of a task runs, and how it is started.

It is a plain process: its body is the function, and its end is the end of the task. What makes it a
task is that it knows who has asked for it, hands what the function returns to the owner's
`Pending`, and has a crash report that says all of that.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Mapping
from contextvars import ContextVar
from functools import partial
from typing import Any

from exeunt.kernel.ids import Pid
from exeunt.kernel.primitives import spawn_process
from exeunt.kernel.process import Process, current_process
from exeunt.otp.pending import Pending

# The process of a task, and its callers. The pid is there because a context is inherited: a server
# started by a task is no task.
_callers: ContextVar[tuple[Pid, tuple[Pid, ...]] | None] = ContextVar(
    "exeunt.callers", default=None
)


def check_function(function: object) -> str:
    """Return the name of the function that a task is to run; raise TypeError if it is none."""
    if inspect.iscoroutine(function):
        function.close()
        raise TypeError("a task takes the async function and its arguments, without calling it")
    if not callable(function):
        raise TypeError(f"a task takes an async function and its arguments, not {function!r}")
    return getattr(function, "__qualname__", None) or repr(function)


def start_task(
    owner: Pid,
    function: Callable[..., Awaitable[object]],
    args: tuple[Any, ...],
    *,
    linked: bool,
    pending: Pending | None = None,
) -> Process:
    """Start a task that `owner` has asked for, as a child of the current process.

    With `linked`, linked to the current process.
    """
    label = check_function(function)
    body_args = (pending, _callers_of(owner), function, args)
    process = spawn_process(_run, body_args, label=label, linked=linked)
    process.describe = partial(_describe, owner, label, args)
    if pending is not None:
        pending.follow(process)
    return process


async def _run(
    pending: Pending | None,
    callers: tuple[Pid, ...],
    function: Callable[..., Awaitable[object]],
    args: tuple[Any, ...],
) -> None:
    process = current_process()
    _callers.set((process.pid, callers))
    value = await function(*args)
    # A task that is told to exit and returns nevertheless has ended of the signal.
    if pending is not None and process.status == "running":
        pending.has_returned(value)


def _callers_of(owner: Pid) -> tuple[Pid, ...]:
    found = _callers.get()
    if found is None or found[0] is not owner:
        return (owner,)
    return (owner, *found[1])


def _describe(owner: Pid, label: str, args: tuple[Any, ...]) -> Mapping[str, object]:
    return {"started from": repr(owner), "function": label, "arguments": repr(args)}


def callers() -> tuple[Pid, ...]:
    """Return who started this task, who started that one if it is a task, and so on.

    Of a task under a supervisor it is the process that asked for it, not the supervisor. Empty in
    a process that is no task.
    """
    found = _callers.get()
    if found is None or found[0] is not current_process().pid:
        return ()
    return found[1]


__all__ = ["callers", "check_function", "start_task"]
