"""Registry: processes by key, with a value, and as names for servers.

    class Room(GenServer):
        async def init(self) -> None:
            self.lines: list[str] = []

        @on_call
        async def say(self, line: str) -> int:
            self.lines.append(line)
            return len(self.lines)

    rooms = Registry[str, None].named("rooms")
    await Supervisor.start_link([rooms.child(keys="unique")])

    await Room.named(rooms.via("lobby")).start_link()
    assert await Room.say(rooms.via("lobby"), "hello") == 1

In a *unique* registry a key belongs to one process, and `via` makes a key a name, for whatever
takes the name of a server. In a *duplicate* one a key has any number of entries, and `dispatch`
hands all of them to a function: that is a topic with its subscribers.

    topics = Registry[str, int].named("topics")
    await topics.start_link(keys="duplicate")
    topics.register("news", 1)

    def tell(entries: Sequence[Entry[str, int]]) -> None:
        for entry in entries:
            send(entry.pid, "extra")

    topics.dispatch("news", tell)
    assert await receive() == "extra"

A process registers itself, and an entry ends with its process, in the same step: no look-up ever
finds a dead one. Nothing here waits; only starting the registry does.

`Registry[K, V].named(name)` is a handle: a name with the types of keys and values, which costs
nothing and may be a constant of a module. Without one, `Registry.lookup("rooms", "lobby")` does the
same by the name alone.

The registry is a process, and those registered are linked to it: if it dies, they die. The rules
are those of Elixir's `Registry`.

OTP: there are no partitions, which divide a registry among the cores of a machine. A dead process
is never seen by a look-up; a process that was told to end and still unwinds keeps its keys
meanwhile, and is not found by `via`.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from inspect import iscoroutine
from typing import Any, Final, Generic

from exeunt.kernel.exits import Exit
from exeunt.kernel.ids import Pid
from exeunt.kernel.names import Via
from exeunt.kernel.primitives import trap_exit
from exeunt.kernel.process import current_process
from exeunt.otp.genserver import GenServer
from exeunt.otp.registry_table import (
    AlreadyRegistered,
    Entry,
    K,
    Registered,
    RegistryKeys,
    RegistryTable,
    RegistryVia,
    Unregistered,
    V,
    table_of,
    tables,
)
from exeunt.otp.results import CastResult, InitResult
from exeunt.otp.supervision import ChildSpec, check_choice
from exeunt.otp.tables import by_name, run_at_exit

# The value of an entry that was registered without one.
_NO_VALUE: Final[Any] = None


class RegistryServer(GenServer):
    """The process of a registry."""

    async def init(
        self,
        keys: RegistryKeys,
        listeners: Sequence[str] = (),
        meta: Mapping[Any, Any] | None = None,
    ) -> InitResult:
        """Begin without entries."""
        check_choice("keys", keys, RegistryKeys)
        if isinstance(listeners, str):
            raise TypeError(f"listeners is a list of names, not the one name {listeners!r}")
        trap_exit()
        process = self._loop.process
        self._table = RegistryTable(process, keys, listeners, dict(meta or {}))
        tables.give(process, self._table)
        run_at_exit(process, self._table, self._table.release)
        return None

    async def handle_info(self, message: Any) -> CastResult:
        """Pass over the ends of those registered: their entries are gone already."""
        if isinstance(message, Exit):
            return None
        return await super().handle_info(message)


@dataclass(frozen=True, slots=True)
class Registry(Generic[K, V]):
    """A handle of the registry of this name, with the types of its keys and values.

    All but starting it are plain functions. They raise `NotRegistered` if there is no registry of
    this name.
    """

    name: str

    @classmethod
    def named(cls, name: str) -> Registry[K, V]:
        """Return the handle of a registry, be it running or not."""
        return cls(name)

    async def start_link(
        self,
        *,
        keys: RegistryKeys,
        listeners: Sequence[str] = (),
        meta: Mapping[Any, Any] | None = None,
    ) -> Pid:
        """Start the registry, linked to this process; raises what `GenServer.start_link` raises.

        `listeners` are names of processes that get a `Registered` and an `Unregistered` message for
        each key; a name that nobody has then is passed over.
        """
        return await RegistryServer.named(self.name).start_link(keys, listeners, meta)

    def child(
        self,
        *,
        keys: RegistryKeys,
        listeners: Sequence[str] = (),
        meta: Mapping[Any, Any] | None = None,
    ) -> ChildSpec:
        """Return the specification of the registry as a supervisor's child."""
        check_choice("keys", keys, RegistryKeys)
        return RegistryServer.named(self.name).child(keys, listeners, meta)

    # -- one's own entries ----------------------------------------------------------------------

    @by_name
    def register(self, key: K, value: V = _NO_VALUE) -> None:
        """Register this process under a key.

        Raises `AlreadyRegistered` if the registry is unique and the key is taken, also if by this
        very process. In a duplicate one a process may have any number of entries under a key.
        """
        table_of(self.name).add(current_process().pid, key, value)

    @by_name
    def unregister(self, key: K) -> None:
        """Take away the entries of this process under a key; it need not have any."""
        table_of(self.name).remove(current_process().pid, key, None)

    @by_name
    def unregister_match(self, key: K, where: Callable[[V], bool]) -> None:
        """Take away those of them for whose value `where(value)` is true."""
        table_of(self.name).remove(current_process().pid, key, where)

    @by_name
    def update_value(self, key: K, change: Callable[[V], V]) -> tuple[V, V] | None:
        """Put `change(value)` in the place of the value of this process's unique key.

        Returns the new value and the old one, or None if this process does not have the key.
        """
        table = table_of(self.name)
        table.must_be_unique("update_value")
        return table.update(current_process().pid, key, change)

    # -- looking up -----------------------------------------------------------------------------

    @by_name
    def lookup(self, key: K) -> list[Entry[K, V]]:
        """Return the entries of a key, oldest first: one at most if the registry is unique."""
        return table_of(self.name).of_key(key)

    @by_name
    def dispatch(self, key: K, function: Callable[[Sequence[Entry[K, V]]], object]) -> None:
        """Call `function(entries)` with all entries of a key, in this process.

        It is not called if there are none. It is a plain function, and may change the registry.
        """
        entries = table_of(self.name).of_key(key)
        if entries and iscoroutine(result := function(entries)):
            result.close()
            raise TypeError(
                "dispatch takes a plain function: it runs here and now, and cannot wait"
            )

    @by_name
    def match(self, key: K, where: Callable[[V], bool]) -> list[Entry[K, V]]:
        """Return the entries of a key for whose value `where(value)` is true."""
        return [one for one in table_of(self.name).of_key(key) if where(one.value)]

    @by_name
    def select(self, where: Callable[[Entry[K, V]], bool] | None = None) -> list[Entry[K, V]]:
        """Return all entries for which `where(entry)` is true, or all.

        An `Entry` can be taken apart: `match entry: case Entry(("room", name), pid, value): …`.
        """
        entries = table_of(self.name).all()
        return entries if where is None else [one for one in entries if where(one)]

    @by_name
    def keys(self, pid: Pid | None = None) -> list[K]:
        """Return the keys of a process, by default of this one, as often as it has each."""
        pid = current_process().pid if pid is None else pid
        return [entry.key for entry in table_of(self.name).of_process(pid)]

    @by_name
    def values(self, key: K, pid: Pid | None = None) -> list[V]:
        """Return the values of a process, by default of this one, under a key."""
        pid = current_process().pid if pid is None else pid
        entries = table_of(self.name).of_process(pid)
        return [entry.value for entry in entries if entry.key == key]

    @by_name
    def count(self) -> int:
        """Count the entries."""
        return table_of(self.name).count()

    @by_name
    def via(self, key: K, value: V = _NO_VALUE) -> Via:
        """Return a key of a unique registry as a name, which is registered with `value`.

        It can be given wherever the name of a process can: to start a server, to send to it, call
        it, cast to it, stop it. One that nobody has is like any name that nobody has.
        """
        return RegistryVia(self.name, key, value)

    # -- about the registry itself ----------------------------------------------------------------

    @by_name
    def put_meta(self, key: Hashable, value: object) -> None:
        """Keep something with the registry, until it ends."""
        table_of(self.name).meta[key] = value

    @by_name
    def meta(self, key: Hashable, default: Any = None) -> Any:
        """Return what is kept with the registry under this key, or the default."""
        return table_of(self.name).meta.get(key, default)

    @by_name
    def delete_meta(self, key: Hashable) -> None:
        """Forget what is kept with the registry under this key."""
        table_of(self.name).meta.pop(key, None)


__all__ = [
    "AlreadyRegistered",
    "Entry",
    "Registered",
    "Registry",
    "RegistryKeys",
    "RegistryVia",
    "Unregistered",
]
