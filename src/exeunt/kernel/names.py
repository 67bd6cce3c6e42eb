"""Names of processes.

A process has one name at most, a name one process at most. Where a process is meant, its name can
be given instead of its pid, or anything with a `whereis` method (a `Via`), such as an entry of a
registry.
"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Protocol, TypeAlias, runtime_checkable

from exeunt.kernel.errors import AlreadyNamed, NameTaken, NoProcess, NotRegistered
from exeunt.kernel.ids import Pid

if TYPE_CHECKING:
    from exeunt.kernel.process import Process


@runtime_checkable
class Via(Protocol):
    """A name that something other than the node's own table looks after."""

    def whereis(self) -> Pid | None:
        """Return the process of this name, or None."""
        ...

    def register(self, pid: Pid) -> bool:
        """Give the name to a process; False if it is taken."""
        ...


Name: TypeAlias = "str | Via"
"""A registered name, or a `Via`."""

Destination: TypeAlias = "Pid | str | Via"
"""What can be sent to, called and monitored. To link, and to exit, it takes a pid."""


def no_destination(given: object) -> TypeError:
    """Return the error for something that is given in the place of a process, and is none."""
    hint = ""
    if inspect.iscoroutine(given):
        given.close()
        hint = ": is an `await` missing where it comes from?"
    elif given is None:
        hint = ": has `whereis` found nobody?"
    return TypeError(f"a process is given by its pid, its name, or a Via, not by {given!r}{hint}")


class NameTable:
    """Which process has which name.

    Invariant: an entry's process is not dead. One that is exiting keeps its name, so that nobody
    takes it while the old one still unwinds, but is not found by it any more.
    """

    __slots__ = ("_processes",)

    def __init__(self) -> None:
        self._processes: dict[str, Process] = {}

    def register(self, name: str, process: Process | None, pid: Pid) -> None:
        """Name a process.

        Raises `NameTaken`, `AlreadyNamed`, or `NoProcess` if it is dead.
        """
        given: object = name
        if not isinstance(given, str) or not given:
            raise ValueError(f"a process is registered under a non-empty string, not {given!r}")
        if process is None or process.status != "running":
            raise NoProcess(pid)
        if process.node.names is not self:
            raise ValueError(f"{pid} is a process of another node, and is registered there only")
        holder = self._processes.get(name)
        if holder is not None:
            raise NameTaken(name, holder.pid)
        if process.name is not None:
            raise AlreadyNamed(
                f"{pid} has the name {process.name!r} already: a process has one name at most"
            )
        self._processes[name] = process
        process.name = name

    def unregister(self, name: str) -> None:
        """Free a name; raises `NotRegistered` if nobody has it."""
        process = self._processes.pop(name, None)
        if process is None:
            raise NotRegistered(name)
        process.name = None

    def find(self, name: str) -> Process | None:
        """Return the process of that name, or None."""
        process = self._processes.get(name)
        return process if process is not None and process.status == "running" else None

    def holder(self, name: str) -> Process | None:
        """Return who has the name, be it exiting."""
        return self._processes.get(name)

    def free(self, process: Process) -> None:
        """Take the name from a process that has ended."""
        if process.name is not None:
            del self._processes[process.name]

    def all(self) -> list[str]:
        """Return all names, oldest first."""
        return list(self._processes)
