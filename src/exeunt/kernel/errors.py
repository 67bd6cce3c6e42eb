"""The kernel's errors, by whose fault they are.

*You used it wrongly*: `NameTaken`, `AlreadyNamed`, `NotRegistered`, `NoProcess`, `NotAProcess`.
*A start failed*: `StartError` and its kinds. *A call cannot be answered*: `CallFailed`. *The
program was ended from below*: `MainExited`.
"""

from __future__ import annotations

from dataclasses import dataclass

from exeunt.kernel.exits import NOPROC, Crash, Reason, is_reason
from exeunt.kernel.ids import Pid


class NameTaken(ValueError):
    """The name belongs to another process."""

    def __init__(self, name: str, pid: Pid) -> None:
        super().__init__(f"the name {name!r} is taken by {pid}: choose another, or unregister it")
        self.name = name
        self.pid = pid


class AlreadyNamed(ValueError):
    """The process has a name already, and a process has one name at most."""


class NotRegistered(LookupError):
    """No process has this name."""

    def __init__(self, name: object, detail: str = "") -> None:
        super().__init__(detail or f"no process is registered as {name!r}")
        self.name = name


class NoProcess(LookupError):
    """The process is dead; raised by `link` in a process that does not trap exits."""

    def __init__(self, pid: Pid) -> None:
        super().__init__(f"there is no process {pid}: it is dead")
        self.pid = pid


class NotAProcess(RuntimeError):
    """The function needs a process to act for, and none is running here."""


class CallFailed(Exception):
    """A call cannot be answered: the server is dead, or died meanwhile.

    `server` is what was called, `request` what was asked, `reason` the server's exit reason:
    `"noproc"` if there was no such process, or a `CallCycle`.
    """

    def __init__(self, server: object, request: object, reason: Reason) -> None:
        super().__init__(server, request, reason)
        self.server = server
        self.request = request
        self.reason = reason
        if isinstance(reason, Crash):
            self.__cause__ = reason.exception

    def __str__(self) -> str:
        why = str(self.reason)
        if is_reason(self.reason, NOPROC):
            why = "noproc: there is no process " + (
                "any more" if isinstance(self.server, Pid) else "of that name"
            )
        server = repr(self.server) if isinstance(self.server, str) else self.server
        return f"call to {server} failed ({why}); the request was {self.request!r}"


@dataclass(frozen=True, slots=True)
class CallCycle:
    """The reason of a call that could never be answered: its servers wait for each other.

    `pids` are the processes in the order in which each calls the next, the first one being the
    caller that was refused; a single one has called itself.
    """

    pids: tuple[Pid, ...]

    def __str__(self) -> str:
        path = " -> ".join(repr(pid) for pid in (*self.pids, self.pids[0]))
        if len(self.pids) == 1:
            return (
                f"the process calls itself: {path}; within a server `self.method(…)` is the plain "
                "method"
            )
        return f"the calls form a cycle: {path}"


class StartError(Exception):
    """A process could not be started."""


class StartFailed(StartError):
    """The new process ended before it was up; `reason` is its exit reason."""

    def __init__(self, label: str, reason: Reason) -> None:
        super().__init__(label, reason)
        self.label = label
        self.reason = reason
        if isinstance(reason, Crash):
            self.__cause__ = reason.exception

    def __str__(self) -> str:
        return f"{self.label} did not start: {self.reason}"


class AlreadyStarted(StartError):
    """The name is taken by a running process, `pid`; nothing was started."""

    def __init__(self, name: object, pid: Pid, detail: str = "") -> None:
        super().__init__(name, pid, detail)
        self.name = name
        self.pid = pid
        self.detail = detail

    def __str__(self) -> str:
        return self.detail or f"{self.name!r} is already started, as {self.pid}"


class StartIgnored(StartError):
    """The new process asked not to be started: its `init` returned `Ignore()`."""

    def __init__(self, label: str) -> None:
        super().__init__(label)
        self.label = label

    def __str__(self) -> str:
        return f"{self.label} asked not to be started"


class MainExited(Exception):
    """The main process of a node, the block of `open_node`, was ended by an exit signal.

    Most often something linked to it crashed: the root of the program is gone, so the program ends.
    `by` is the process that the signal came from; None if the block has ended itself.
    """

    def __init__(self, reason: Reason, by: Pid | None = None) -> None:
        super().__init__(reason, by)
        self.reason = reason
        self.by = by
        if isinstance(reason, Crash):
            self.__cause__ = reason.exception

    def __str__(self) -> str:
        of = "" if self.by is None else f" of {self.by}"
        return f"the main process was ended by an exit signal{of}: {self.reason}"
