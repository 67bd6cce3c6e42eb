"""Groups: named groups of processes, with news of who joins and who leaves.

    players = Groups[str].named("players")
    await players.start_link()

    ref, there = players.monitor("chess")
    players.join("chess")
    assert players.members("chess") == [self_pid()]
    assert there == []
    assert await receive() == Joined(ref, "chess", (self_pid(),))

A process may join any number of groups, each as often as it likes, and is a member as often.
Anybody may let any process join or leave. When a process dies it leaves all its groups in that
step, so a group never has a dead member, and one without members is no group. Whoever monitors a
group gets a `Joined` or a `Left` for each change; together with the members that `monitor` returns
they always give the group as it is.

Where a registry answers "who is that?", groups answer "who is in?": members are not asked, have no
value, and are not linked to anything.

A *scope* is a world of groups, and a process that has a name. `Groups[G].named(name)` is its
handle; `Groups.join("players", "chess")` does the same by the name alone. If the scope dies its
groups are gone, and its members live on. All but starting a scope are plain functions, which raise
`NotRegistered` if there is no scope of this name. The rules are those of OTP's `pg`, on one node.

OTP: a group may have a dead member for a moment, until its scope has got the `DOWN`, and the dead
may be let join. Here a dead process is never a member.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Generic

from exeunt.kernel.errors import NoProcess, NotRegistered
from exeunt.kernel.ids import Pid, Ref
from exeunt.kernel.process import Process, current_process
from exeunt.otp.genserver import GenServer
from exeunt.otp.results import InitResult
from exeunt.otp.supervision import ChildSpec
from exeunt.otp.tables import Tables, by_name, run_at_exit

if TYPE_CHECKING:
    # The groups of a scope whose type nobody has named are of any type.
    from typing_extensions import TypeVar

    G = TypeVar("G", bound=Hashable, default=Any)
else:
    from typing import TypeVar

    G = TypeVar("G")


@dataclass(frozen=True, slots=True)
class Joined:
    """The message of a monitor: these processes have joined the group."""

    ref: Ref
    group: Any
    pids: tuple[Pid, ...]


@dataclass(frozen=True, slots=True)
class Left:
    """The message of a monitor: these processes have left the group, or have died."""

    ref: Ref
    group: Any
    pids: tuple[Pid, ...]


class _Watch:
    """One monitor: of one group, or of all."""

    __slots__ = ("group", "is_of_all", "ref", "watcher")

    def __init__(self, ref: Ref, watcher: Process, group: Any, is_of_all: bool) -> None:
        self.ref = ref
        self.watcher = watcher
        self.group = group
        self.is_of_all = is_of_all


class _GroupTable:
    """The groups of one scope, and who monitors them."""

    def __init__(self) -> None:
        # Invariant: a membership stands in both, under the same number; no process in any of these
        # is dead; no dict or list within is empty. Numbers grow, so the newest come last.
        self._members: dict[Any, dict[int, Pid]] = {}
        self._memberships: dict[Pid, dict[Any, list[int]]] = {}
        self._numbers = 0
        self._watches: dict[Ref, _Watch] = {}
        self._of_group: dict[Any, dict[Ref, _Watch]] = {}
        self._of_all: dict[Ref, _Watch] = {}
        self._of_watcher: dict[Pid, dict[Ref, _Watch]] = {}

    # -- members --------------------------------------------------------------------------------

    def members(self, group: Any) -> list[Pid]:
        """Return the members of a group, the newest first."""
        members = self._members.get(group)
        return [] if members is None else list(reversed(members.values()))

    def groups(self) -> list[Any]:
        """Return the groups, the oldest first."""
        return list(self._members)

    def join(self, group: Any, pids: Sequence[Pid]) -> None:
        """Let processes join a group; raises `NoProcess`, and changes nothing, if one is dead."""
        hash(group)
        processes = [pid._process for pid in pids]
        for pid, process in zip(pids, processes, strict=True):
            if process is None or process.status != "running":
                raise NoProcess(pid)
        # The first of them is the newest, as in OTP.
        for process in reversed(processes):
            assert process is not None
            self._numbers += 1
            self._members.setdefault(group, {})[self._numbers] = process.pid
            mine = self._memberships.setdefault(process.pid, {})
            mine.setdefault(group, []).append(self._numbers)
            run_at_exit(process, self, self._forget)
        if pids:
            self._tell(Joined, group, tuple(pids))

    def leave(self, group: Any, pids: Sequence[Pid]) -> bool:
        """Let processes leave a group, each once; False if none of them was a member."""
        left = tuple(pid for pid in pids if self._leave(group, pid))
        for pid in left:
            self._let_go(pid)
        if left:
            self._tell(Left, group, left)
        return bool(left)

    def _leave(self, group: Any, pid: Pid) -> bool:
        mine = self._memberships.get(pid, {})
        numbers = mine.get(group)
        if numbers is None:
            return False
        members = self._members[group]
        del members[numbers.pop()]
        if not members:
            del self._members[group]
        if not numbers:
            del mine[group]
            if not mine:
                del self._memberships[pid]
        return True

    # -- monitors -------------------------------------------------------------------------------

    def watch(self, watcher: Process, group: Any, is_of_all: bool) -> Ref:
        """Let a process hear of the changes of a group, or of all."""
        hash(group)
        watch = _Watch(watcher.node.make_ref(), watcher, group, is_of_all)
        self._watches[watch.ref] = watch
        self._of_watcher.setdefault(watcher.pid, {})[watch.ref] = watch
        if is_of_all:
            self._of_all[watch.ref] = watch
        else:
            self._of_group.setdefault(group, {})[watch.ref] = watch
        run_at_exit(watcher, self, self._forget)
        return watch.ref

    def unwatch(self, watcher: Process, ref: Ref) -> bool:
        """Take a monitor of this process away, and its messages; False if it is none."""
        watch = self._watches.get(ref)
        if watch is None or watch.watcher is not watcher:
            return False
        self._remove_watch(watch)
        self._let_go(watcher.pid)
        watcher.mailbox.remove_if(lambda one: isinstance(one, Joined | Left) and one.ref is ref)
        return True

    def _remove_watch(self, watch: _Watch) -> None:
        del self._watches[watch.ref]
        mine = self._of_watcher[watch.watcher.pid]
        del mine[watch.ref]
        if not mine:
            del self._of_watcher[watch.watcher.pid]
        if watch.is_of_all:
            del self._of_all[watch.ref]
            return
        others = self._of_group[watch.group]
        del others[watch.ref]
        if not others:
            del self._of_group[watch.group]

    def _tell(
        self,
        kind: Callable[[Ref, Any, tuple[Pid, ...]], object],
        group: Any,
        pids: tuple[Pid, ...],
    ) -> None:
        for watch in (*self._of_group.get(group, {}).values(), *self._of_all.values()):
            watch.watcher.deliver(kind(watch.ref, group, pids))

    # -- ends -----------------------------------------------------------------------------------

    def release(self, _: Pid) -> None:
        """Let all processes go, as the scope is dead."""
        for pid in {**self._memberships, **self._of_watcher}:
            self._drop(pid)

    def _let_go(self, pid: Pid) -> None:
        if pid not in self._memberships and pid not in self._of_watcher:
            self._drop(pid)

    def _drop(self, pid: Pid) -> None:
        process = pid._process
        if process is not None and process.at_exit is not None:
            process.at_exit.pop(self, None)

    def _forget(self, pid: Pid) -> None:
        for watch in tuple(self._of_watcher.get(pid, {}).values()):
            self._remove_watch(watch)
        # As in pg, a Left for each membership, the newest first.
        memberships = sorted(
            (
                (number, group)
                for group, all in self._memberships.get(pid, {}).items()
                for number in all
            ),
            key=lambda one: one[0],
            reverse=True,
        )
        for _, group in memberships:
            self._leave(group, pid)
            self._tell(Left, group, (pid,))


_tables: Final[Tables[_GroupTable]] = Tables()


def _table_of(scope: str) -> _GroupTable:
    table = _tables.find(scope)
    if table is None:
        if current_process().node.find(scope) is not None:
            raise TypeError(f"the process that is named {scope!r} is no scope of groups")
        raise NotRegistered(scope)
    return table


class GroupsServer(GenServer):
    """The process of a scope."""

    async def init(self) -> InitResult:
        """Begin without groups."""
        process = self._loop.process
        table = _GroupTable()
        _tables.give(process, table)
        run_at_exit(process, table, table.release)
        return None


@dataclass(frozen=True, slots=True)
class Groups(Generic[G]):
    """A handle of the scope of this name, with the type of its groups."""

    name: str

    @classmethod
    def named(cls, name: str) -> Groups[G]:
        """Return the handle of a scope, be it running or not."""
        return cls(name)

    async def start_link(self) -> Pid:
        """Start the scope, linked to this process; raises `AlreadyStarted` if it runs."""
        return await GroupsServer.named(self.name).start_link()

    def child(self) -> ChildSpec:
        """Return the specification of the scope as a supervisor's child."""
        return GroupsServer.named(self.name).child()

    @by_name
    def join(self, group: G, pids: Pid | Sequence[Pid] | None = None) -> None:
        """Let a process, or several, join a group: by default this one.

        Of several, the first counts as the newest. Raises `NoProcess`, and nobody has joined, if
        one of them is dead.
        """
        _table_of(self.name).join(group, _several(pids))

    @by_name
    def leave(self, group: G, pids: Pid | Sequence[Pid] | None = None) -> bool:
        """Let a process, or several, leave a group, once; False if none of them was a member."""
        return _table_of(self.name).leave(group, _several(pids))

    @by_name
    def members(self, group: G) -> list[Pid]:
        """Return the members of a group, the newest first, each as often as it has joined."""
        return _table_of(self.name).members(group)

    @by_name
    def which_groups(self) -> list[G]:
        """Return the groups that have members, the oldest first."""
        return _table_of(self.name).groups()

    @by_name
    def monitor(self, group: G) -> tuple[Ref, list[Pid]]:
        """Have this process get a `Joined` or a `Left` for each change of a group.

        Returns the monitor's reference, and the members as they are now. It lasts until
        `demonitor`, or until this process or the scope ends; to hear of the end of the scope,
        monitor that too.
        """
        table = _table_of(self.name)
        return table.watch(current_process(), group, False), table.members(group)

    @by_name
    def monitor_scope(self) -> tuple[Ref, dict[G, list[Pid]]]:
        """Do the same for all groups of the scope."""
        table = _table_of(self.name)
        ref = table.watch(current_process(), None, True)
        return ref, {group: table.members(group) for group in table.groups()}

    @by_name
    def demonitor(self, ref: Ref) -> bool:
        """Take a monitor of this process away, and those of its messages that wait.

        False if there is no such monitor.
        """
        return _table_of(self.name).unwatch(current_process(), ref)


def _several(pids: Pid | Sequence[Pid] | None) -> Sequence[Pid]:
    if pids is None:
        return (current_process().pid,)
    return (pids,) if isinstance(pids, Pid) else tuple(pids)


__all__ = ["Groups", "Joined", "Left"]
