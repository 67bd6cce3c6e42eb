"""DynamicSupervisor: a supervisor for children that come and go, any number of them.

It starts with none; `start_child` adds one. Children have no ids and no order: each is restarted by
itself, and all are shut down side by side. It is the place for one process per connection, per
room, per game.

The limit on restarts is the supervisor's own, and all its children share it: when four of a
thousand rooms crash once each within `max_seconds`, that is one restart too many, and all rooms end
with it. So make such children temporary, where whoever comes next starts them anew; or give them a
backoff; or choose `max_restarts` by how many there are.

The rules are those of Elixir's `DynamicSupervisor`.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, ClassVar

import trio

from exeunt.kernel.errors import AlreadyStarted, StartError, StartFailed
from exeunt.kernel.exits import SHUTDOWN, Exit, Reason
from exeunt.kernel.ids import Pid, Ref
from exeunt.kernel.primitives import (
    cancel_timer,
    is_alive,
    self_pid,
    send,
    start_timer,
    trap_exit,
)
from exeunt.kernel.process import Process
from exeunt.kernel.timers import Timeout
from exeunt.otp.backoff import RestartHistory
from exeunt.otp.children import (
    ChildCount,
    ChildInfo,
    finish_child,
    forget_children,
    shut_down_child,
    start_child,
    take_exits,
    why,
)
from exeunt.otp.genserver import GenServer
from exeunt.otp.reports import report, report_giving_up, report_progress
from exeunt.otp.requests import on_call
from exeunt.otp.results import CastResult, InitResult, Refuse, Stop
from exeunt.otp.strategy import (
    Intensity,
    is_dynamic_shutdown_error,
    is_reported,
    is_restarted,
)
from exeunt.otp.supervision import ChildSpec, check_child, check_flags
from exeunt.otp.supervisor import ChildError


class MaxChildren(StartError):
    """A dynamic supervisor has as many children as it may have."""

    def __init__(self, limit: int) -> None:
        super().__init__(limit)
        self.limit = limit

    def __str__(self) -> str:
        return f"the supervisor has {self.limit} children already, which is its max_children"


@dataclass(frozen=True, slots=True)
class _TryAgain:
    """The message of a supervisor to itself after a restart that has failed."""

    pid: Pid


@dataclass(frozen=True, slots=True)
class _StartAgain:
    """What the timer of a child says whose backoff is over."""

    pid: Pid


async def _never() -> Pid:
    raise AssertionError("a temporary child is not started again")


class DynamicSupervisor(GenServer):
    """Starts children on demand and restarts each by itself."""

    _shutdown: ClassVar[float | None] = float("inf")

    async def init(
        self,
        *,
        max_restarts: int = 3,
        max_seconds: float = 5.0,
        max_children: int | None = None,
        quiet: bool = False,
    ) -> InitResult:
        """Start without children. At most `max_children`, those being restarted included.

        With `quiet` the end of a temporary child is not reported by the supervisor, however it
        came: for children that tell of it themselves, or that strangers can end.
        """
        check_flags("one_for_one", max_restarts, max_seconds, "never")
        if max_children is not None and max_children < 0:
            raise ValueError(f"max_children is a number from 0 up, or None, not {max_children!r}")
        trap_exit()
        self._max_children = max_children
        self._quiet = quiet
        self._intensity = Intensity(max_restarts, max_seconds)
        self._children: dict[Pid, ChildSpec] = {}
        # Children that do not run, until their restart is tried (again), by their last pids; and
        # the timers of those that wait for the end of a backoff.
        self._restarting: dict[Pid, ChildSpec] = {}
        self._timers: dict[Pid, Ref] = {}
        # The restarts of children with a backoff, whether they run or not.
        self._histories: dict[Pid, RestartHistory] = {}
        return None

    def _check_init(self) -> None:
        if "_children" not in vars(self):
            name = type(self).__qualname__
            raise TypeError(f"{name}.init has not called `await super().init()`")

    @on_call
    async def start_child(self, spec: ChildSpec) -> Pid | Refuse | None:
        """Start a child; return its pid, or None if it asked not to be started.

        Raises `MaxChildren`, or `StartFailed` with the reason. The id of the specification is not
        looked at.
        """
        try:
            check_child(spec, "never")
        except ValueError as error:
            return Refuse(error)
        limit = self._max_children
        if limit is not None and len(self._children) + len(self._restarting) >= limit:
            return Refuse(MaxChildren(limit))
        try:
            pid = await start_child(spec)
        except (StartFailed, AlreadyStarted) as error:
            return Refuse(error)
        if pid is not None:
            self._set_running(spec, pid)
        return pid

    @on_call
    async def terminate_child(self, pid: Pid) -> Refuse | None:
        """Shut a child down and forget it; raises `ChildError("not_found")`.

        One that is about to be restarted goes by the pid that it had.
        """
        self._histories.pop(pid, None)
        if self._restarting.pop(pid, None) is not None:
            self._cancel_timer(pid)
            return None
        spec = self._children.pop(pid, None)
        if spec is None:
            return Refuse(ChildError(pid, "not_found"))
        await shut_down_child(self._process, spec, pid)
        return None

    @on_call
    async def which_children(self) -> list[ChildInfo]:
        """Return the children, oldest first; they have no ids."""
        infos = [ChildInfo(None, pid, spec.type) for pid, spec in self._children.items()]
        infos += [ChildInfo(None, "restarting", spec.type) for spec in self._restarting.values()]
        return infos

    @on_call
    async def count_children(self) -> ChildCount:
        """Count the children."""
        specs = [*self._children.values(), *self._restarting.values()]
        supervisors = sum(spec.type == "supervisor" for spec in specs)
        return ChildCount(
            specs=len(specs),
            active=sum(is_alive(pid) for pid in self._children),
            supervisors=supervisors,
            workers=len(specs) - supervisors,
        )

    async def handle_info(self, message: Any) -> CastResult:
        """Deal with the end of a child, or with a restart that is to be tried again."""
        match message:
            case Exit(pid, reason):
                spec = self._children.pop(pid, None)
                return None if spec is None else await self._has_ended(spec, pid, reason)
            case _TryAgain(pid):
                spec = self._restarting.pop(pid, None)
                return None if spec is None else await self._restart(spec, pid)
            case Timeout(ref, _StartAgain(pid)):
                if self._timers.get(pid) is not ref:
                    return None
                del self._timers[pid]
                await self._start_again(self._restarting.pop(pid), pid)
                return None
            case _:
                return await super().handle_info(message)

    async def terminate(self, reason: Reason) -> None:
        """Shut all children down side by side, each with its own budget."""
        children, self._children = self._children, {}
        self._restarting.clear()
        ended = take_exits(self._process, children.__contains__)
        reasons: dict[Pid, Reason] = {}

        async def finish(pid: Pid, spec: ChildSpec) -> None:
            reasons[pid] = await finish_child(self._process, spec, pid, ended)

        async with trio.open_nursery() as nursery:
            for pid, spec in children.items():
                nursery.start_soon(finish, pid, spec)
        forget_children(self._process, children)
        for pid, spec in children.items():
            if is_dynamic_shutdown_error(spec.restart, spec.budget == "brutal_kill", reasons[pid]):
                report(self._process, "shutdown_error", spec.id, pid, reasons[pid])

    @property
    def _process(self) -> Process:
        return self._loop.process

    def _set_running(self, spec: ChildSpec, pid: Pid) -> None:
        if spec.restart == "temporary":
            # As OTP does: it is never started again, so what it was started with need not stay.
            spec = dataclasses.replace(spec, start=_never)
        self._children[pid] = spec
        if spec.backoff is not None:
            self._histories.setdefault(pid, RestartHistory()).has_started(trio.current_time())
        report_progress(self._process, spec.id, pid)

    async def _has_ended(self, spec: ChildSpec, pid: Pid, reason: Reason) -> CastResult:
        is_told = not (self._quiet and spec.restart == "temporary")
        if is_told and is_reported(spec.restart, reason):
            report(self._process, "child_terminated", spec.id, pid, reason)
        if is_restarted(spec.restart, reason):
            return await self._restart(spec, pid)
        self._histories.pop(pid, None)
        return None

    async def _restart(self, spec: ChildSpec, ended: Pid) -> CastResult:
        if not self._intensity.allows(trio.current_time()):
            report_giving_up(self._process, spec.id, self._intensity)
            return Stop(SHUTDOWN)
        if spec.backoff is None:
            await self._start_again(spec, ended)
            return None
        history = self._histories.setdefault(ended, RestartHistory())
        delay = history.next_delay(spec.backoff, trio.current_time(), self._process.node.random)
        self._restarting[ended] = spec
        self._timers[ended] = start_timer(delay, self_pid(), _StartAgain(ended))
        return None

    async def _start_again(self, spec: ChildSpec, ended: Pid) -> None:
        try:
            pid = await start_child(spec)
        except (StartFailed, AlreadyStarted) as error:
            report(self._process, "start_error", spec.id, None, why(error))
            self._restarting[ended] = spec
            send(self_pid(), _TryAgain(ended))
            return
        history = self._histories.pop(ended, None)
        if pid is not None:
            if history is not None:
                self._histories[pid] = history
            self._set_running(spec, pid)

    def _cancel_timer(self, pid: Pid) -> None:
        ref = self._timers.pop(pid, None)
        if ref is not None:
            cancel_timer(ref)
