"""Supervisor: a process that starts others, and starts them again when they end.

    await Supervisor.start_link(
        [Store.child(), Server.child(port=4000)],
        strategy="rest_for_one",
    )

Children are started in order, each when the one before is up, and shut down in the reverse order.
When one ends, the strategy says whom that concerns and its restart type whether it is started
again; more than `max_restarts` restarts within `max_seconds` are too many: then the supervisor
shuts the others down and ends itself, which is for its own supervisor to deal with. A child whose
specification has a `backoff` is restarted after a delay that grows while it keeps on ending; those
that its end concerns are shut down at once, and started with it.

The rules are those of OTP's `supervisor`, the defaults those of Elixir's. A supervisor is itself a
GenServer, so it can be stopped, looked into, and be a child of another one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import trio

from exeunt.kernel.errors import AlreadyStarted, StartError, StartFailed
from exeunt.kernel.exits import SHUTDOWN, Exit, Reason
from exeunt.kernel.exits import Shutdown as ShutdownReason
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
    ChildState,
    shut_down_child,
    start_child,
    why,
)
from exeunt.otp.genserver import GenServer
from exeunt.otp.reports import report, report_giving_up, report_progress
from exeunt.otp.requests import on_call
from exeunt.otp.results import CastResult, InitResult, Refuse, Stop
from exeunt.otp.strategy import Intensity, concerned, is_reported, is_restarted
from exeunt.otp.supervision import (
    AutoShutdown,
    ChildSpec,
    FailedToStart,
    Strategy,
    check_child,
    check_children,
    check_flags,
)


class ChildError(StartError):
    """A supervisor cannot do that with this child; `condition` is OTP's word for why.

    `"not_found"`, `"running"`, `"restarting"`, or `"already_present"`.
    """

    def __init__(self, id: object, condition: str) -> None:
        super().__init__(id, condition)
        self.id = id
        self.condition = condition

    def __str__(self) -> str:
        return f"child {self.id!r}: {self.condition}"


class _Child:
    """A child that a supervisor knows of, whether it runs or not."""

    __slots__ = ("history", "pid", "spec", "timer", "waits_for")

    def __init__(self, spec: ChildSpec, pid: ChildState) -> None:
        self.spec = spec
        self.pid: ChildState = pid
        # For a child with a backoff: its restarts, and the timer while it waits for one.
        self.history = None if spec.backoff is None else RestartHistory()
        self.timer: Ref | None = None
        # The sibling whose backoff keeps this child down, which is to be started with it.
        self.waits_for: _Child | None = None

    def __repr__(self) -> str:
        return f"{self.spec.restart} {self.pid}"

    @property
    def tries_again(self) -> bool:
        """Whether its restart has failed, and is to be tried again at once."""
        return self.pid == "restarting" and self.timer is None and self.waits_for is None


@dataclass(frozen=True, slots=True)
class _TryAgain:
    """The message of a supervisor to itself after a restart that has failed."""

    id: object


@dataclass(frozen=True, slots=True)
class _StartAgain:
    """What the timer of a child says whose backoff is over."""

    id: object


class Supervisor(GenServer):
    """Starts children in order, restarts them by its strategy, shuts them down in reverse order."""

    # How long the node waits for one: as long as its children take.
    _shutdown: ClassVar[float | None] = float("inf")

    async def init(
        self,
        children: Sequence[ChildSpec] = (),
        *,
        strategy: Strategy = "one_for_one",
        max_restarts: int = 3,
        max_seconds: float = 5.0,
        auto_shutdown: AutoShutdown = "never",
    ) -> InitResult:
        """Start the children in order.

        If one does not start, those before it are shut down, and the start of the supervisor fails
        with `Shutdown(FailedToStart(id, reason))`. `max_restarts` restarts are allowed within
        `max_seconds`.
        """
        check_flags(strategy, max_restarts, max_seconds, auto_shutdown)
        check_children(children, auto_shutdown)
        trap_exit()
        self._strategy: Strategy = strategy
        self._auto_shutdown: AutoShutdown = auto_shutdown
        self._intensity = Intensity(max_restarts, max_seconds)
        # In order of start, whether they run or not.
        self._children: dict[object, _Child] = {spec.id: _Child(spec, None) for spec in children}
        # Those that run, by pid: the end of one costs the same among many as among few.
        self._running: dict[Pid, _Child] = {}
        failed = await self._start_all(list(self._children.values()))
        if failed is not None:
            one, reason = failed
            await self._shut_down_all(list(self._children.values()))
            return Stop(ShutdownReason(FailedToStart(one.spec.id, reason)))
        return None

    def _check_init(self) -> None:
        if "_children" not in vars(self):
            name = type(self).__qualname__
            raise TypeError(f"{name}.init has not called `await super().init([…])`")

    # -- what it can be asked ---------------------------------------------------------------------

    @on_call
    async def start_child(self, spec: ChildSpec) -> Pid | Refuse | None:
        """Start another child, the last in order; return its pid, or None if it is ignored.

        Raises `AlreadyStarted` or `ChildError("already_present")` if the id is known, `StartFailed`
        if it does not start: then nothing of it is kept.
        """
        try:
            check_child(spec, self._auto_shutdown)
        except ValueError as error:
            return Refuse(error)
        known = self._children.get(spec.id)
        if known is not None:
            if isinstance(known.pid, Pid):
                taken = (
                    f"the supervisor has a child with the id {spec.id!r} already, {known.pid}: "
                    "give this one another, with spec.replace(id=…)"
                )
                return Refuse(AlreadyStarted(spec.id, known.pid, taken))
            return Refuse(ChildError(spec.id, "already_present"))
        child = _Child(spec, None)
        try:
            pid = await start_child(spec)
        except (StartFailed, AlreadyStarted) as error:
            return Refuse(error)
        if pid is not None or spec.restart != "temporary":
            self._children[spec.id] = child
        if pid is not None:
            self._set_running(child, pid)
        return pid

    @on_call
    async def terminate_child(self, id: object) -> Refuse | None:
        """Shut a child down; it stays known, unless it is temporary, and is not restarted.

        Raises `ChildError("not_found")`. All else waits while a slow child ends.
        """
        child = self._find(id)
        if child is None:
            return Refuse(ChildError(id, "not_found"))
        waiting = [one for one in self._children.values() if one.waits_for is child]
        await self._shut_down(child)
        if child.spec.restart == "temporary":
            self._children.pop(id, None)
        for one in waiting:
            one.pid = one.waits_for = None
        await self._start_or_try_again(waiting)
        return None

    @on_call
    async def restart_child(self, id: object) -> Pid | Refuse | None:
        """Start a child that is known but does not run; None if it is ignored.

        That is not counted as a restart. Raises `ChildError` with `"running"`, `"restarting"` or
        `"not_found"`, and `StartFailed`.
        """
        problem = self._unless_stopped(id)
        if problem is not None:
            return problem
        child = self._children[id]
        try:
            pid = await start_child(child.spec)
        except (StartFailed, AlreadyStarted) as error:
            return Refuse(error)
        if pid is not None:
            self._set_running(child, pid)
        return pid

    @on_call
    async def delete_child(self, id: object) -> Refuse | None:
        """Forget a child that does not run; raises `ChildError` as `restart_child` does."""
        problem = self._unless_stopped(id)
        if problem is not None:
            return problem
        del self._children[id]
        return None

    @on_call
    async def which_children(self) -> list[ChildInfo]:
        """Return the children in order of start."""
        return [
            ChildInfo(child.spec.id, child.pid, child.spec.type)
            for child in self._children.values()
        ]

    @on_call
    async def count_children(self) -> ChildCount:
        """Count the children."""
        children = self._children.values()
        supervisors = sum(child.spec.type == "supervisor" for child in children)
        return ChildCount(
            specs=len(children),
            active=sum(isinstance(child.pid, Pid) and is_alive(child.pid) for child in children),
            supervisors=supervisors,
            workers=len(children) - supervisors,
        )

    # -- the end of a child -----------------------------------------------------------------------

    async def handle_info(self, message: Any) -> CastResult:
        """Deal with the end of a child, or with a restart that is to be tried again."""
        match message:
            case Exit(pid, reason):
                child = self._running.pop(pid, None)
                # The end of any other process is none of a supervisor's business.
                return None if child is None else await self._has_ended(child, pid, reason)
            case _TryAgain(id):
                child = self._children.get(id)
                if child is not None and child.tries_again:
                    return await self._restart(child)
                return None
            case Timeout(ref, _StartAgain(id)):
                child = self._children.get(id)
                if child is not None and child.timer is ref:
                    await self._start_again(child)
                return None
            case _:
                return await super().handle_info(message)

    async def terminate(self, reason: Reason) -> None:
        """Shut all children down, in the reverse order of their start."""
        await self._shut_down_all(list(self._children.values()))

    async def _has_ended(self, child: _Child, pid: Pid, reason: Reason) -> CastResult:
        spec = child.spec
        child.pid = None
        if is_reported(spec.restart, reason):
            report(self._process, "child_terminated", spec.id, pid, reason)
        if is_restarted(spec.restart, reason):
            return await self._restart(child)
        if spec.restart == "temporary":
            del self._children[spec.id]
        if spec.significant and self._ends_with_significant():
            return Stop(SHUTDOWN)
        return None

    def _ends_with_significant(self) -> bool:
        if self._auto_shutdown == "any_significant":
            return True
        return self._auto_shutdown == "all_significant" and not any(
            child.spec.significant and child.pid is not None for child in self._children.values()
        )

    async def _restart(self, child: _Child) -> CastResult:
        """Restart whom the end of `child` concerns, unless that would be once too often."""
        if not self._intensity.allows(trio.current_time()):
            child.pid = None
            report_giving_up(self._process, child.spec.id, self._intensity)
            return Stop(SHUTDOWN)
        if child.spec.backoff is None or child.history is None:
            await self._start_again(child)
            return None
        delay = child.history.next_delay(
            child.spec.backoff, trio.current_time(), self._process.node.random
        )
        # The others do not run on without it, as little as they would if it started at once.
        up = [one for one in self._children.values() if one is not child and one.pid is not None]
        for one in await self._shut_down_concerned(child):
            if one in up and one.spec.id in self._children:
                one.pid = "restarting"
                one.waits_for = child
        child.pid = "restarting"
        child.timer = start_timer(delay, self_pid(), _StartAgain(child.spec.id))
        return None

    async def _start_again(self, child: _Child) -> None:
        anew = await self._shut_down_concerned(child)
        # A temporary child among them is gone for good, and has left self._children.
        await self._start_or_try_again([one for one in anew if one.spec.id in self._children])

    async def _start_or_try_again(self, children: Sequence[_Child]) -> None:
        failed = await self._start_all(children)
        if failed is not None:
            # Behind what is in the mailbox, so that the supervisor can still be asked to stop.
            failed[0].pid = "restarting"
            send(self_pid(), _TryAgain(failed[0].spec.id))

    async def _shut_down_concerned(self, child: _Child) -> list[_Child]:
        """Shut down whom the end of `child` concerns; return them, `child` too, in order of start.

        One of them that waits for the end of its own backoff waits no longer.
        """
        children = list(self._children.values())
        anew = list(concerned(self._strategy, children, children.index(child)))
        child.pid = None
        await self._shut_down_all(anew)
        return anew

    # -- starting and shutting down ---------------------------------------------------------------

    @property
    def _process(self) -> Process:
        return self._loop.process

    def _set_running(self, child: _Child, pid: Pid) -> None:
        child.pid = pid
        self._running[pid] = child
        if child.history is not None:
            child.history.has_started(trio.current_time())
        report_progress(self._process, child.spec.id, pid)

    async def _start_all(self, children: Sequence[_Child]) -> tuple[_Child, Reason] | None:
        """Start children in order; return the first that fails, and why."""
        for child in children:
            try:
                pid = await start_child(child.spec)
            except (StartFailed, AlreadyStarted) as error:
                report(self._process, "start_error", child.spec.id, None, why(error))
                return child, why(error)
            if pid is not None:
                self._set_running(child, pid)
            elif child.spec.restart == "temporary":
                del self._children[child.spec.id]
        return None

    async def _shut_down_all(self, children: Sequence[_Child]) -> None:
        for child in reversed(children):
            was_up = child.pid is not None
            await self._shut_down(child)
            if was_up and child.spec.restart == "temporary":
                self._children.pop(child.spec.id, None)

    async def _shut_down(self, child: _Child) -> None:
        pid, child.pid = child.pid, None
        if child.timer is not None:
            cancel_timer(child.timer)
            child.timer = None
        child.waits_for = None
        if isinstance(pid, Pid):
            self._running.pop(pid, None)
            await shut_down_child(self._process, child.spec, pid)

    def _find(self, id: object) -> _Child | None:
        try:
            return self._children.get(id)
        except TypeError:
            return None  # it is not even hashable, so it is no child's

    def _unless_stopped(self, id: object) -> Refuse | None:
        child = self._find(id)
        if child is None:
            return Refuse(ChildError(id, "not_found"))
        if child.pid == "restarting":
            return Refuse(ChildError(id, "restarting"))
        if child.pid is not None:
            return Refuse(ChildError(id, "running"))
        return None


__all__ = ["ChildError", "Supervisor"]
