"""Roll: who is watched, with the function to run for each, and how far that has come.

A watcher may be killed at any moment, so what it knows is not its own. The roll belongs to the
node, under the watcher's name: a watcher that is started again takes it over as it stands, between
two steps of anything. No code of a user runs here, and nothing here waits.

The roll hears of an end from the kernel, in the very step in which a process ends, whether a
watcher lives at that moment or not. So nobody leaves unnoticed between two watchers, the reason is
the real one, and the end of a watcher is no end for those whom it watched.

An entry goes one way: *entering* (a file has to have it first), *watched*, *waiting* for its
function to run, *running*, perhaps *resting* before another attempt, and off the roll.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias
from weakref import WeakKeyDictionary

import trio

from exeunt.kernel.exits import NOPROC, Reason
from exeunt.kernel.ids import Pid
from exeunt.kernel.node import Node
from exeunt.kernel.process import Process
from exeunt.otp.tables import run_at_exit

Leave: TypeAlias = Callable[..., Awaitable[object]]
"""An async function of the `Departure`, and of the arguments that were given to `watch`."""

Standing: TypeAlias = Literal["entering", "watched", "waiting", "running", "resting", "over"]


@dataclass(frozen=True, slots=True)
class Departure:
    """What a leave function is told: who has left, and why.

    `pid` is None if the process was one of a node that was lost (reason `NODE_LOST`). `attempt`
    counts from 1. `key` is the same in every attempt, also in one that the next start of the
    program makes: a function whose effect must not happen twice keeps it.
    """

    pid: Pid | None
    reason: Reason
    key: str
    attempt: int


# Shared by all entries that have none.
_NO_KWARGS: Final[dict[str, Any]] = {}


class Entry:
    """One watched process, and its function."""

    __slots__ = (
        "args",
        "attempts",
        "has_run",
        "is_overdue",
        "is_written",
        "key",
        "kwargs",
        "leave",
        "name",
        "older",
        "pid",
        "process",
        "reason",
        "since",
        "standing",
        "task",
        "written_as",
    )

    def __init__(
        self,
        key: str,
        pid: Pid | None,
        leave: Leave,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> None:
        self.key = key
        self.pid = pid
        # What the process was called, where only that is left of it.
        self.written_as: str | None = None
        self.leave = leave
        self.args = args
        self.kwargs = kwargs or _NO_KWARGS
        self.name = name_of(leave)
        self.standing: Standing = "watched"
        self.attempts = 0
        # The entry that this one replaces, for as long as it is not certain that it does: both are
        # to be written down. Whether that has been done.
        self.older: Entry | None = None
        self.is_written = False
        # When it came to stand where it stands, on trio's clock.
        self.since = 0.0
        # The watched process, while it lives; its reason afterwards.
        self.process: Process | None = None
        self.reason: Reason = None
        # Whether the function has come to its end, in the last attempt.
        self.has_run = False
        # Whether that attempt takes longer than it may, and has been told so.
        self.is_overdue = False
        # The process in which the function runs, while it does.
        self.task: Process | None = None

    @property
    def who(self) -> str:
        """How the process is named in the log."""
        return str(self.pid) if self.written_as is None else self.written_as

    def replaced(self) -> Iterator[Entry]:
        """Go through the entries that this one replaces, the latest first."""
        older = self.older
        while older is not None:
            yield older
            older = older.older

    def stands(self, standing: Standing) -> None:
        """Note how far it has come."""
        self.standing = standing
        self.since = trio.current_time()


class Roll:
    """All entries of one watcher. The methods are one step each."""

    def __init__(self, run: str) -> None:
        # Invariant: every entry that is not over is in exactly one of these.
        self.watched: dict[Pid, Entry] = {}
        self.waiting: deque[Entry] = deque()
        self.running: dict[Pid, Entry] = {}
        self.resting: dict[str, Entry] = {}
        # Functions that have ended, and for which reason, until a watcher has heard of it.
        self.ended: deque[tuple[Entry, Reason]] = deque()
        # Told that there is something in `waiting` or `ended`; None while no watcher lives.
        self.on_news: Callable[[], None] | None = None
        # What keeps it beyond the life of the node, if anything: see `roll_file`.
        self.file: Any = None
        self._run = run
        self._entries = 0
        # One for all, and not a bound method for each.
        self._on_end = self._process_has_ended

    @property
    def is_busy(self) -> bool:
        """Whether there is a function to run, or one that runs."""
        return bool(self.waiting or self.running or self.ended)

    def next_key(self) -> str:
        """Return a key that no other entry has, of this run of the program or another."""
        self._entries += 1
        return f"{self._run}-{self._entries}"

    # -- the watched ----------------------------------------------------------------------------

    def enter(self, entry: Entry, process: Process | None) -> None:
        """Take an entry in; if its process is dead already, its function is to run now.

        `entry.standing` is "watched", or "entering" if `admit` is to follow.
        """
        assert entry.pid is not None
        self.watched[entry.pid] = entry
        if process is None or process.status == "dead":
            self._has_ended(entry, NOPROC)
            return
        entry.process = process
        run_at_exit(process, self, self._on_end)

    def admit(self, entry: Entry) -> None:
        """Let an entry that was entering stand as watched; it may have ended meanwhile."""
        if entry.standing != "entering":
            return
        entry.stands("watched")
        if entry.process is None:
            self._has_ended(entry, entry.reason)

    def remove(self, pid: Pid) -> Entry | None:
        """Cross off who is watched: nothing runs at its end. None if nobody is watched there."""
        entry = self.watched.pop(pid, None)
        if entry is None:
            return None
        if entry.process is not None and entry.process.at_exit is not None:
            entry.process.at_exit.pop(self, None)
        entry.process = None
        entry.stands("over")
        return entry

    def take_back(self, entry: Entry) -> None:
        """Cross off an entry that could not be admitted.

        The latest one that is written down, of those that it was to replace, stands again.
        """
        if entry.standing != "entering" or entry.pid is None:
            return
        process, reason = entry.process, entry.reason
        self.remove(entry.pid)
        for older in entry.replaced():
            if older.is_written:
                older.stands("watched")
                self.enter(older, process)
                if process is None:
                    older.reason = reason
                return

    def add_lost(self, entry: Entry, reason: Reason) -> None:
        """Take in somebody of whom only this roll is left; the function is to run now."""
        entry.reason = reason
        self._is_to_run(entry)

    def _process_has_ended(self, pid: Pid) -> None:
        entry = self.watched.get(pid)
        if entry is not None and entry.process is not None:
            self._has_ended(entry, entry.process.exit_reason)

    def _has_ended(self, entry: Entry, reason: Reason) -> None:
        entry.process = None
        entry.reason = reason
        if entry.standing == "watched":
            assert entry.pid is not None
            del self.watched[entry.pid]
            self._is_to_run(entry)

    # -- their functions ------------------------------------------------------------------------

    def started(self, entry: Entry, task: Process) -> None:
        """Note in which process the function of an entry runs."""
        entry.attempts += 1
        entry.task = task
        entry.stands("running")
        self.running[task.pid] = entry
        run_at_exit(task, self, self._task_has_ended)

    def rest(self, entry: Entry) -> None:
        """Keep an entry for another attempt."""
        entry.stands("resting")
        self.resting[entry.key] = entry

    def rested(self, key: str) -> None:
        """Have another attempt made."""
        entry = self.resting.pop(key, None)
        if entry is not None:
            self._is_to_run(entry)

    def _task_has_ended(self, pid: Pid) -> None:
        entry = self.running.pop(pid)
        assert entry.task is not None
        self.ended.append((entry, entry.task.exit_reason))
        entry.task = None
        self._tell()

    def _is_to_run(self, entry: Entry) -> None:
        entry.stands("waiting")
        self.waiting.append(entry)
        self._tell()

    def _tell(self) -> None:
        if self.on_news is not None:
            self.on_news()


_rolls: WeakKeyDictionary[Node, dict[str, Roll]] = WeakKeyDictionary()


def roll_of(node: Node, name: str, run: str) -> Roll:
    """Return the roll of this name, which is made if there is none."""
    rolls = _rolls.setdefault(node, {})
    roll = rolls.get(name)
    if roll is None:
        roll = rolls[name] = Roll(run)
    return roll


def name_of(leave: Leave) -> str:
    """Return what a leave function is called in the log."""
    return getattr(leave, "__qualname__", None) or repr(leave)


__all__ = ["Departure", "Entry", "Leave", "Roll", "Standing", "name_of", "roll_of"]
