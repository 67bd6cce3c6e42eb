"""Watcher: runs a function of yours when a process has ended, whatever the way.

    watcher = await Watcher.named("rooms").start_link()
    await Watcher.watch("rooms", channel, say_goodbye, "lobby", "Ada")

    async def say_goodbye(pid: Pid, reason: Reason, room: str, user: str) -> None:
        ...

The watcher traps exits and links itself to what it watches, so that there is no way to leave that
it does not hear of: a return, a crash, an exit signal, a kill. Each function runs in a process of
its own, so that one that is slow or crashes harms nobody, and a crash is logged with the process
that the function was for.

A link works both ways: if the watcher dies, what it watches dies with it. That is on purpose: no
process that is to be watched lives on unwatched.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Concatenate, ParamSpec, TypeAlias

from exeunt.kernel.events import Event, logged, shown
from exeunt.kernel.exits import NOPROC, Down, Exit, Reason, is_orderly
from exeunt.kernel.ids import Pid, Ref
from exeunt.kernel.names import Destination
from exeunt.kernel.primitives import (
    is_alive,
    link,
    monitor,
    receive,
    spawn_process,
    trap_exit,
    unlink,
)
from exeunt.otp.genserver import GenServer, on_call
from exeunt.otp.results import CastResult, Refuse

P = ParamSpec("P")

Leave: TypeAlias = Callable[..., Awaitable[object]]
"""An async function of the pid that has ended, the reason, and the arguments given to `watch`."""


@logged
@dataclass(frozen=True, slots=True)
class LeaveFailed(Event):
    """A function that a watcher ran for a process that had ended did not come to its end."""

    watcher: Pid
    pid: Pid
    watched_reason: Reason
    function: str
    reason: Reason

    level: ClassVar[int] = logging.ERROR

    def __str__(self) -> str:
        return (
            f"{self.function}, run by the watcher {self.watcher} because {self.pid} had ended "
            f"({shown(self.watched_reason)}), failed: {shown(self.reason)}"
        )


class Watcher(GenServer):
    """Links itself to processes and runs a function for each one that ends, exactly once."""

    async def init(self) -> None:
        """Watch nobody yet."""
        trap_exit()
        self._watched: dict[Pid, tuple[Leave, tuple[Any, ...]]] = {}
        # Functions that run now, by their monitors.
        self._running: dict[Ref, tuple[Pid, Reason, str]] = {}

    @on_call
    async def _watch(self, pid: Pid, leave: Leave, args: tuple[Any, ...]) -> Refuse | None:
        if pid is self.pid:
            return Refuse(ValueError("a watcher cannot watch itself: nobody would be left to act"))
        if pid in self._watched:
            self._watched[pid] = (leave, args)
            return None
        # To link to the dead puts an Exit with "noproc" into the mailbox, as this process traps
        # exits: from there on it is as if the process had died a moment later.
        self._watched[pid] = (leave, args)
        link(pid)
        return None

    @on_call
    async def unwatch(self, pid: Pid) -> bool:
        """Stop watching; True if the process was watched.

        Its function does not run any more, unless it runs already.
        """
        if self._watched.pop(pid, None) is None:
            return False
        if pid is not self._loop.parent:
            unlink(pid)
        return True

    @on_call
    async def watched(self) -> list[Pid]:
        """Return the processes that are watched, in the order in which that began."""
        return list(self._watched)

    @staticmethod
    async def watch(
        server: Destination,
        pid: Pid,
        leave: Callable[Concatenate[Pid, Reason, P], Awaitable[object]],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> None:
        """Have `await leave(pid, reason, *args, **kwargs)` run when the process `pid` has ended.

        When this returns, the process is watched. If it is dead already, `leave` runs at once with
        the reason `"noproc"`. To watch a process again replaces its function.
        """
        if not isinstance(pid, Pid):
            raise TypeError(f"watch takes the pid of a process, not {pid!r}")
        if not callable(leave):
            raise TypeError(f"watch takes an async function to run at the end, not {leave!r}")
        # Now, and not when somebody has left and nobody is there to be told of the mistake.
        inspect.signature(leave).bind(pid, "normal", *args, **kwargs)
        function: Leave = partial(leave, **kwargs) if kwargs else leave
        await Watcher._watch(server, pid, function, args)

    async def handle_info(self, message: Any) -> CastResult:
        """Run the function of a process that has ended, and log those that fail."""
        match message:
            case Exit(pid, reason):
                self._has_left(pid, reason)
            case Down(ref, _, reason) if ref in self._running:
                self._has_run(ref, reason)
            case _:
                return await super().handle_info(message)
        return None

    async def terminate(self, reason: Reason) -> None:
        """Run what is still to be run for those that have ended, and wait for it.

        For as long as the supervisor waits for the watcher.
        """
        waiting: list[Exit] = []

        def is_exit(message: object) -> bool:
            if isinstance(message, Exit):
                waiting.append(message)
                return True
            return False

        self._loop.process.mailbox.remove_if(is_exit)
        for message in waiting:
            self._has_left(message.pid, message.reason)
        parent = self._loop.parent
        if parent in self._watched and not is_alive(parent):
            # The exit of the parent ends a server without coming to handle_info.
            self._has_left(parent, reason)
        while self._running:
            # Some may leave only now.
            end: Any = await receive(object, _is_end)
            if isinstance(end, Exit):
                self._has_left(end.pid, end.reason)
            elif end.ref in self._running:
                self._has_run(end.ref, end.reason)

    def _has_left(self, pid: Pid, reason: Reason) -> None:
        # OTP: an exit signal that somebody sends by hand cannot be told from his end. Here it can:
        # who is alive has not left.
        entry = None if is_alive(pid) else self._watched.pop(pid, None)
        if entry is None:
            return
        leave, args = entry
        named = leave.func if isinstance(leave, partial) else leave
        name = getattr(named, "__qualname__", repr(named))
        task = spawn_process(leave, (pid, reason, *args), label=f"leave of {pid}: {name}").pid
        self._running[monitor(task)] = (pid, reason, name)

    def _has_run(self, ref: Ref, reason: Reason) -> None:
        pid, watched_reason, name = self._running.pop(ref)
        # A crash has its own report, with the traceback; this one says whom it was for.
        if not is_orderly(reason) and reason != NOPROC:
            node = self._loop.process.node
            node.events.emit(LeaveFailed(self.pid, pid, watched_reason, name, reason))


def _is_end(message: object) -> bool:
    return isinstance(message, (Exit, Down))


__all__ = ["Leave", "LeaveFailed", "Watcher"]
