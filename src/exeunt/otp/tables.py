"""Tables that belong to a process, and that the whole node may read: what ETS is to OTP.

A registry would be slow if every look-up were a call to it. So its table stands here, under the
process that it belongs to: everyone on the node reads and changes it directly, which is safe where
all processes share one thread, and it is gone in the step in which its process ends.

A class whose instances stand for the name of such a process is a *handle*. `by_name` gives its
methods a second face, on the class itself, for those who have just the name at hand.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar, overload

from exeunt.kernel.ids import Pid
from exeunt.kernel.names import Destination
from exeunt.kernel.process import Process, current_process
from exeunt.otp.shown import show_as

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")


class Tables(Generic[T]):
    """Which process has which table of one kind. One for the whole program: pids are unique."""

    def __init__(self) -> None:
        # Invariant: a process in it is not dead.
        self._tables: dict[Pid, T] = {}

    def give(self, process: Process, table: T) -> None:
        """Let a table belong to a process, until its end."""
        self._tables[process.pid] = table
        run_at_exit(process, self, self._forget)

    def find(self, owner: Destination) -> T | None:
        """Return the table of a running process, or None."""
        process = current_process().node.find(owner)
        return None if process is None else self._tables.get(process.pid)

    def _forget(self, pid: Pid) -> None:
        del self._tables[pid]


def run_at_exit(process: Process, key: object, forget: Callable[[Pid], None]) -> None:
    """Have `forget` called with the pid when a process is dead, before anybody hears of it."""
    if process.at_exit is None:
        process.at_exit = {}
    process.at_exit[key] = forget


class by_name(Generic[P, R]):
    """Make a method of a handle callable on its class as well, with the name in front.

    `rooms.lookup("lobby")` is typed by the handle, a `Registry[str, int]`.
    `Registry.lookup("rooms", "lobby")` does the same, and knows nothing of the types.
    """

    def __init__(self, method: Callable[Concatenate[Any, P], R]) -> None:
        self._method = method
        self.__doc__ = method.__doc__
        self.__wrapped__ = method
        self._faces: dict[type, Callable[..., Any]] = {}

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    @overload
    def __get__(self, instance: None, owner: type[Any]) -> Callable[Concatenate[str, ...], Any]: ...
    @overload
    def __get__(self, instance: object, owner: type[Any]) -> Callable[P, R]: ...
    def __get__(self, instance: Any, owner: Any) -> Any:
        if instance is not None:
            return self._method.__get__(instance, owner)
        return self._faces.get(owner) or self._face_for(owner)

    def _face_for(self, owner: type[Any]) -> Callable[..., Any]:
        method = self._method

        def by_name(name: str, *args: Any, **kwargs: Any) -> Any:
            return method(owner(name), *args, **kwargs)

        self._faces[owner] = show_as(by_name, method, owner, self._name, "name")
        return by_name


__all__ = ["Tables", "by_name", "run_at_exit"]
