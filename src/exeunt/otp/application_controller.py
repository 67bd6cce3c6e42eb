"""The process that starts and stops the applications of a node, and minds how they end."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any, ClassVar, Final

from exeunt.kernel.errors import AlreadyStarted, StartError, StartFailed
from exeunt.kernel.events import Event, logged
from exeunt.kernel.exits import NORMAL, Crash, Exit, Reason, is_reason
from exeunt.kernel.ids import Pid
from exeunt.kernel.node import Node, wait_until_dead
from exeunt.kernel.primitives import current_node, send, spawn_process, trap_exit
from exeunt.otp.application_process import Application, End, Started, run_application
from exeunt.otp.genserver import GenServer
from exeunt.otp.requests import on_call
from exeunt.otp.results import CastResult, InitResult, NoReply, Refuse
from exeunt.otp.supervision import RestartType
from exeunt.otp.tables import Tables

CONTROLLER: Final = "application_controller"
"""The name of the process."""


class NotStarted(StartError):
    """The application does not run, and has to for what was asked."""

    def __init__(self, name: str, needed_by: str | None = None) -> None:
        super().__init__(name, needed_by)
        self.name = name
        self.needed_by = needed_by

    def __str__(self) -> str:
        if self.needed_by is None:
            return f"the application {self.name!r} is not started"
        return (
            f"the application {self.needed_by!r} needs {self.name!r}, which is not started: start "
            "it first, or use ensure_all_started"
        )


class ApplicationEnded(Exception):
    """An application without which its node must not run has ended; raised by `open_node`."""

    def __init__(self, name: str, reason: Reason) -> None:
        super().__init__(name, reason)
        self.name = name
        self.reason = reason
        if isinstance(reason, Crash):
            self.__cause__ = reason.exception

    def __str__(self) -> str:
        return f"the application {self.name!r} has ended, and so has the node: {self.reason}"


@logged
@dataclass(frozen=True, slots=True)
class ApplicationExited(Event):
    """The tree of an application has ended by itself."""

    name: str
    restart: RestartType
    reason: Reason

    level: ClassVar[int] = logging.WARNING

    def __str__(self) -> str:
        return f"the {self.restart} application {self.name!r} has ended: {self.reason}"


class Controller(GenServer):
    """Starts and stops the applications of a node, and decides what comes of the end of one."""

    # How long the node waits for it: as long as its applications take.
    _shutdown: ClassVar[float | None] = float("inf")

    async def init(self) -> InitResult:
        """Begin without applications."""
        trap_exit()
        # In order of start.
        self._started: dict[str, Started] = {}
        tables.give(self._loop.process, self._started)
        return None

    @on_call
    async def begin(self, application: Application, restart: RestartType) -> Pid | NoReply | Refuse:
        """Start an application; answer with its top supervisor when it is up."""
        name = application.name
        known = self._started.get(name)
        if known is not None and known.info is not None:
            return Refuse(AlreadyStarted(name, known.info.pid))
        if known is not None:
            known.waiting.append(self.caller)
            return NoReply()
        for needed in application.applications:
            there = self._started.get(needed.name)
            if there is None or there.info is None or there.is_stopping:
                return Refuse(NotStarted(needed.name, needed_by=name))
        started = self._started[name] = Started(application, restart)
        started.waiting.append(self.caller)
        master = started.master = spawn_process(
            run_application, (self.pid, started), linked=True, label=f"application {name}"
        )
        # Its end is told to whoever starts it, or by ApplicationExited.
        master.reporting = "never"
        master.shutdown = self._shutdown
        return NoReply()

    @on_call
    async def end(self, name: str) -> NoReply | Refuse:
        """Stop an application; answer when it is gone."""
        started = self._started.get(name)
        if started is None or started.info is None:
            return Refuse(NotStarted(name))
        started.waiting.append(self.caller)
        self._tell_to_end(started)
        return NoReply()

    async def handle_info(self, message: Any) -> CastResult:
        """Deal with the end of an application."""
        match message:
            case Exit(pid, reason):
                for name, started in self._started.items():
                    if started.master.pid is pid:
                        del self._started[name]
                        self._has_ended(name, started, reason)
                        break
            case _:
                return await super().handle_info(message)
        return None

    async def terminate(self, reason: Reason) -> None:
        """Stop all applications, in the reverse order of their start."""
        for started in reversed(self._started.values()):
            if started.info is None:
                started.starting.cancel()
            else:
                self._tell_to_end(started)
            await wait_until_dead(started.master)

    def _tell_to_end(self, started: Started) -> None:
        started.is_stopping = True
        send(started.master.pid, End())

    def _has_ended(self, name: str, started: Started, reason: Reason) -> None:
        for call in started.waiting:
            if started.info is None:
                call.refuse(StartFailed(name, reason))
            else:
                call.reply(None)
        if started.info is None or started.is_stopping:
            return
        node = self._loop.process.node
        if node.events.wants(ApplicationExited):
            node.events.emit(ApplicationExited(name, started.restart, reason))
        if started.restart == "permanent" or (
            started.restart == "transient" and not is_reason(reason, NORMAL)
        ):
            _end_node(node, ApplicationEnded(name, reason))


tables: Final[Tables[dict[str, Started]]] = Tables()


def _end_node(node: Node, cause: ApplicationEnded) -> None:
    # Not if the node is ending as it is: to interrupt it again would be to tear it down.
    if not node.is_closing and not node.main.scope.cancel_called:
        node.interrupt(cause)


async def controller() -> Pid:
    """Return the controller of this node; start it if this is the first application."""
    node = current_node()
    found = node.names.find(CONTROLLER)
    if found is not None:
        return found.pid
    try:
        pid = await Controller.named(CONTROLLER).start()
    except AlreadyStarted as other:
        return other.pid
    process = pid._process
    if process is not None:
        # It belongs to the node, and not to who was the first to need it: the node shuts it down
        # in turn with what its main process has started.
        process.parent = node.main.pid
    return pid


__all__ = ["ApplicationEnded", "ApplicationExited", "Controller", "NotStarted", "controller"]
