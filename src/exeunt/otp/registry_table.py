"""What a registry holds: entries by key and by process, each of which ends with its process.

Plain tables and the rules about them; who may ask for what is in `exeunt.otp.registry`.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Generic, Literal, TypeAlias

from exeunt.kernel import signals
from exeunt.kernel.errors import NoProcess, NotRegistered
from exeunt.kernel.ids import Pid
from exeunt.kernel.process import Process, current_process
from exeunt.otp.tables import Tables, run_at_exit

if TYPE_CHECKING:
    # A registry whose types nobody has named has keys and values of any type.
    from typing_extensions import TypeVar

    K = TypeVar("K", bound=Hashable, default=Any)
    V = TypeVar("V", default=Any)
else:
    from typing import TypeVar

    K = TypeVar("K")
    V = TypeVar("V")

RegistryKeys: TypeAlias = Literal["unique", "duplicate"]
"""Whether a key has one entry at most, or any number."""


@dataclass(frozen=True, slots=True)
class Entry(Generic[K, V]):
    """One registration: this process, under this key, with this value."""

    key: K
    pid: Pid
    value: V


@dataclass(frozen=True, slots=True)
class Registered:
    """The message to a listener when a process has registered a key."""

    registry: str
    key: Any
    pid: Pid
    value: Any


@dataclass(frozen=True, slots=True)
class Unregistered:
    """The message to a listener when a process has given up a key; not sent when it has died."""

    registry: str
    key: Any
    pid: Pid


class AlreadyRegistered(ValueError):
    """The key of a unique registry belongs to a process, perhaps to the very one that asked."""

    def __init__(self, registry: str, key: object, pid: Pid) -> None:
        super().__init__(f"the key {key!r} of the registry {registry!r} belongs to {pid}")
        self.registry = registry
        self.key = key
        self.pid = pid


@dataclass(frozen=True, slots=True)
class RegistryVia:
    """A key of a unique registry as the name of a process: what `Registry.via` gives."""

    registry: str
    key: Any
    value: Any = field(default=None, compare=False)

    def __str__(self) -> str:
        return f"{self.key!r} in the registry {self.registry!r}"

    def whereis(self) -> Pid | None:
        """Return the process that has the key; None as well if there is no such registry."""
        table = tables.find(self.registry)
        if table is None:
            return None
        table.must_be_unique("via")
        entry = table.holder(self.key)
        if entry is None or not _is_running(entry.pid):
            return None
        return entry.pid

    def holder(self) -> Pid | None:
        """Return the process that has the key, be it about to end."""
        table = tables.find(self.registry)
        entry = None if table is None else table.holder(self.key)
        return None if entry is None else entry.pid

    def register(self, pid: Pid) -> bool:
        """Register a process; False if the key is taken."""
        table = table_of(self.registry)
        table.must_be_unique("via")
        try:
            table.add(pid, self.key, self.value)
        except AlreadyRegistered:
            return False
        return True


class RegistryTable:
    """The entries of one registry. Its process is linked to those that it holds."""

    def __init__(
        self, process: Process, keys: RegistryKeys, listeners: Sequence[str], meta: dict[Any, Any]
    ) -> None:
        self.process = process
        self.keys: RegistryKeys = keys
        self.listeners = tuple(listeners)
        self.meta = meta
        # Invariant: an entry stands in both, under the same number; none of a dead process; no
        # dict within is empty. Numbers grow, so both are in order of registration.
        self._by_key: dict[Any, dict[int, Entry[Any, Any]]] = {}
        self._by_pid: dict[Pid, dict[int, Entry[Any, Any]]] = {}
        self._numbers = 0
        # Whom the registry has linked itself to: only such a link does it take away.
        self._linked: set[Pid] = set()

    @property
    def name(self) -> str:
        """The name of the registry."""
        return self.process.name or ""

    def must_be_unique(self, what: str) -> None:
        """Raise ValueError if the keys are duplicate."""
        if self.keys != "unique":
            raise ValueError(f"{what} is for unique registries, and {self.name!r} is duplicate")

    def holder(self, key: object) -> Entry[Any, Any] | None:
        """Return the entry of a unique key."""
        for entry in self._by_key.get(key, {}).values():
            return entry
        return None

    def of_key(self, key: object) -> list[Entry[Any, Any]]:
        """Return the entries of a key, oldest first."""
        entries = self._by_key.get(key)
        return [] if entries is None else list(entries.values())

    def of_process(self, pid: Pid) -> list[Entry[Any, Any]]:
        """Return the entries of a process, oldest first."""
        entries = self._by_pid.get(pid)
        return [] if entries is None else list(entries.values())

    def all(self) -> list[Entry[Any, Any]]:
        """Return all entries, key by key."""
        return [entry for entries in self._by_key.values() for entry in entries.values()]

    def count(self) -> int:
        """Count the entries."""
        return sum(map(len, self._by_key.values()))

    def add(self, pid: Pid, key: Hashable, value: object) -> None:
        """Register a process; raises `AlreadyRegistered`, or `NoProcess` if it is dead."""
        process = pid._process
        if process is None or process.status != "running":
            raise NoProcess(pid)
        entries = self._by_key.get(key)
        if entries is None:
            entries = {}
        elif self.keys == "unique":
            raise AlreadyRegistered(self.name, key, next(iter(entries.values())).pid)
        mine = self._by_pid.get(pid)
        if mine is None:
            mine = self._by_pid[pid] = {}
            self._hold(process)
        self._by_key[key] = entries
        self._numbers += 1
        entries[self._numbers] = mine[self._numbers] = Entry(key, pid, value)
        if self.listeners:
            self._tell(Registered(self.name, key, pid, value))

    def remove(self, pid: Pid, key: object, where: Callable[[Any], bool] | None) -> None:
        """Take away the entries of a process under a key for whose values `where` holds."""
        mine = self._by_pid.get(pid)
        if mine is None:
            return
        entries = self._by_key.get(key, {})
        # Whichever are fewer: all of the key, or all of the process.
        if len(entries) < len(mine):
            own = [number for number, entry in entries.items() if entry.pid is pid]
        else:
            own = [number for number in mine if number in entries]
        numbers = [one for one in own if where is None or where(mine[one].value)]
        for number in numbers:
            del entries[number], mine[number]
        if not numbers:
            return
        if not entries:
            del self._by_key[key]
        if not mine:
            del self._by_pid[pid]
            self._let_go(pid)
        if self.listeners:
            self._tell(Unregistered(self.name, key, pid))

    def update(self, pid: Pid, key: object, change: Callable[[Any], Any]) -> tuple[Any, Any] | None:
        """Change the value of a process's own key; return the new one and the old one."""
        entry = self.holder(key)
        if entry is None or entry.pid is not pid:
            return None
        value = change(entry.value)
        for number, now in self._by_key.get(key, {}).items():
            if now is entry:
                changed = Entry(key, pid, value)
                self._by_key[key][number] = self._by_pid[pid][number] = changed
                return value, entry.value
        # `change` itself has given the key up.
        return None

    def release(self, pid: Pid) -> None:
        """Let those registered go, as the registry is dead: it has no part in their end."""
        for one in self._by_pid:
            process = one._process
            if process is not None and process.at_exit is not None:
                process.at_exit.pop(self, None)

    def _hold(self, process: Process) -> None:
        run_at_exit(process, self, self._forget)
        if process is not self.process and process not in (self.process.links or {}):
            signals.link(self.process, process, process.pid)
            self._linked.add(process.pid)

    def _let_go(self, pid: Pid) -> None:
        process = pid._process
        if process is not None and process.at_exit is not None:
            process.at_exit.pop(self, None)
        if pid in self._linked:
            self._linked.discard(pid)
            signals.unlink(self.process, process)

    def _forget(self, pid: Pid) -> None:
        self._linked.discard(pid)
        for number, entry in self._by_pid.pop(pid).items():
            entries = self._by_key[entry.key]
            del entries[number]
            if not entries:
                del self._by_key[entry.key]

    def _tell(self, message: Registered | Unregistered) -> None:
        for name in self.listeners:
            listener = self.process.node.names.find(name)
            if listener is not None:
                listener.deliver(message)


tables: Final[Tables[RegistryTable]] = Tables()


def table_of(name: str) -> RegistryTable:
    table = tables.find(name)
    if table is None:
        if current_process().node.find(name) is not None:
            raise TypeError(f"the process that is named {name!r} is no registry")
        raise NotRegistered(
            name, f"there is no registry {name!r}: start it before those that use it"
        )
    return table


def _is_running(pid: Pid) -> bool:
    process = pid._process
    return process is not None and process.status == "running"
