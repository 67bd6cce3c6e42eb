"""Watcher: runs a function of yours when a process has ended, whatever the way.

    await Watcher.named("rooms").start_link()
    await Watcher.watch("rooms", channel, say_goodbye, "lobby", "Ada")

    async def say_goodbye(departure: Departure, room: str, user: str) -> None:
        print(f"{user} has left {room}: {departure.reason}")

There is no way to leave that it does not hear of: a return, a crash, an exit signal, a kill. Each
function runs in a process of its own, so that one that is slow or crashes harms nobody; it may be
tried again, and is ended if it takes too long.

What the watcher knows stands on a roll that is not its own (`exeunt.otp.roll`). If a watcher with a
name dies, those whom it watched live on, and the next watcher of that name goes on where it
stopped: for every process on the roll the function runs, and runs once. A watcher without a name
has no successor; so it takes those whom it watches with it when it dies, as a link would, and no
process that is to be watched lives on unwatched.

With a *file* the roll outlives the node as well. After a crash of the whole program, be it by
`kill -9`, the next watcher with that file runs the functions of all who were still on the roll,
with the reason `NODE_LOST`, before it has started: what is started after it in a supervision tree
finds nobody left over. Across such a crash a function runs *at least once*: it may have run already
when the node was lost, and `departure.key` is the same both times.
"""

from __future__ import annotations

import inspect
import logging
import os
import uuid
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Concatenate, ParamSpec

import trio

from exeunt.kernel import signals
from exeunt.kernel.calls import Call
from exeunt.kernel.events import Event, Events
from exeunt.kernel.exits import SHUTDOWN, Exit, Reason
from exeunt.kernel.ids import Pid
from exeunt.kernel.names import Destination
from exeunt.kernel.primitives import exit as exit_signal
from exeunt.kernel.primitives import (
    receive,
    send_after,
    spawn_process,
    trap_exit,
    wait_exit,
)
from exeunt.otp.backoff import Backoff
from exeunt.otp.genserver import GenServer
from exeunt.otp.leaving import (
    NODE_LOST,
    Allowance,
    LeaveFailed,
    LeavesNotRun,
    Leaving,
    LookAgain,
    NodeWasLost,
    start_leave,
)
from exeunt.otp.requests import on_call
from exeunt.otp.results import CastResult, NoReply, Refuse
from exeunt.otp.roll import Departure, Entry, Leave, Roll, name_of, roll_of
from exeunt.otp.roll_file import (
    RollError,
    RollFile,
    Row,
    find_function,
    name_function,
    read_arguments,
    write_arguments,
)
from exeunt.otp.tables import run_at_exit

P = ParamSpec("P")

logger = logging.getLogger("exeunt")


@dataclass(frozen=True, slots=True)
class _News:
    """The message of the roll: there is something to do."""


@dataclass(frozen=True, slots=True)
class _Rested:
    """The message of a timer: it is time for another attempt."""

    key: str


class Watcher(GenServer):
    """Runs a function for each process that it watches, when that has ended."""

    async def init(
        self,
        *,
        file: str | os.PathLike[str] | None = None,
        attempts: int = 1,
        backoff: Backoff | None = None,
        leave_within: float | None = 60.0,
        max_running: int = 100,
    ) -> None:
        """Take the roll over, or begin one.

        `file`: where the roll is kept for the next start of the program; the watcher needs a name
        then, functions are given as those at the top of a module, and arguments as JSON knows them.
        Raises `RollError` if the file is damaged, foreign, or in use.

        A function that raises is tried `attempts` times, with the delays of `backoff` in between;
        `leave_within` is the seconds that one attempt may take. At most `max_running` run at a
        time; the others wait, in order.
        """
        if attempts < 1:
            raise ValueError(f"attempts of a watcher is 1 or more, not {attempts!r}")
        if max_running < 1:
            raise ValueError(f"max_running of a watcher is 1 or more, not {max_running!r}")
        if leave_within is not None and not leave_within > 0:
            raise ValueError(f"leave_within of a watcher is above 0, not {leave_within!r}")
        trap_exit()
        self._attempts = attempts
        self._backoff = Backoff() if backoff is None else backoff
        self._max_running = max_running
        self._has_news = False
        self._is_ending = False
        self._writer: Pid | None = None
        process = self._loop.process
        name, node = process.name, process.node
        self._name = name
        if name is None:
            if file is not None:
                raise ValueError(
                    "a watcher with a file needs a name, under which the next one finds the roll: "
                    'Watcher.named("rooms").child(file=…)'
                )
            self._roll = Roll(str(self.pid))
        else:
            run = str(self.pid) if file is None else uuid.uuid4().hex
            self._roll = roll_of(node, name, run)
            run_at_exit(node.main, ("roll", name), _node_ends(name, self._roll, node.events))
        run_at_exit(process, self._roll, self._let_go)
        self._roll.on_news = self._tell
        self._allowance = Allowance(self._roll, self.pid, leave_within)
        self._allowance.look_later()
        # The timers of another attempt went with the watcher before this one.
        for key in tuple(self._roll.resting):
            self._roll.rested(key)
        if file is not None:
            try:
                await self._open(Path(file))
            except RollError:
                # Whoever starts the watcher is told, and needs no traceback for it.
                process.reporting = "never"
                raise
        self._tell()

    async def _open(self, path: Path) -> None:
        roll = self._roll
        if roll.file is None:
            file = RollFile(path)
            rows = await file.open()
            # From here on it is the roll's, and closed with the node.
            roll.file = file
            self._write()
            lost = [entry for entry in map(self._restored, rows) if entry is not None]
            if lost:
                self._emit(NodeWasLost(self.pid, str(path), len(lost)))
            for entry in lost:
                roll.add_lost(entry, NODE_LOST)
        elif roll.file.path != path:
            raise RollError(f"the roll of this watcher is in {roll.file.path}, not in {path}")
        else:
            self._write()
        self._work()
        while any(entry.pid is None for entry in (*roll.waiting, *roll.running.values())):
            await self._wait_for_news()

    def _restored(self, row: Row) -> Entry | None:
        try:
            leave = find_function(row.function)
            args, kwargs = read_arguments(row.arguments)
        except Exception as error:
            logger.error(
                "%s is on the roll in %s, but its leave function cannot be run: %s. It stays there",
                row.who,
                self._roll.file.path,
                error,
            )
            return None
        entry = Entry(row.key, None, leave, args, kwargs)
        entry.written_as = row.who
        return entry

    # -- what others may ask --------------------------------------------------------------------

    @staticmethod
    async def watch(
        server: Destination,
        pid: Pid,
        leave: Callable[Concatenate[Departure, P], Awaitable[object]],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> None:
        """Have `await leave(departure, *args, **kwargs)` run when the process `pid` has ended.

        When this returns, the process is watched; with a file, that is written down. If it is dead
        already, `leave` runs at once with the reason `"noproc"`. To watch a process again replaces
        its function. Raises `RollError` if the watcher has a file, and this cannot be written.
        """
        if not isinstance(pid, Pid):
            raise TypeError(f"watch takes the pid of a process, not {pid!r}")
        if not callable(leave):
            raise TypeError(f"watch takes an async function to run at the end, not {leave!r}")
        # Now, and not when somebody has left and nobody is there to be told of the mistake.
        try:
            inspect.signature(leave).bind(None, *args, **kwargs)
        except TypeError as error:
            name = name_of(leave)
            raise TypeError(
                f"{name} is run as {name}(departure, …), with what is given to watch: {error}"
            ) from None
        await Watcher._watch(server, pid, leave, args, kwargs)

    @on_call
    async def _watch(
        self, pid: Pid, leave: Leave, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Refuse | NoReply | None:
        if pid is self.pid:
            return Refuse(ValueError("a watcher cannot watch itself: nobody would be left to act"))
        roll = self._roll
        file: RollFile | None = roll.file
        entry = Entry(roll.next_key(), pid, leave, args, kwargs)
        if file is None:
            self._remove(pid)
            roll.enter(entry, pid._process)
            return None
        try:
            function, arguments = name_function(leave), write_arguments(args, kwargs)
        except RollError as error:
            return Refuse(error)
        # As they will be if they are read from the file.
        entry.args, entry.kwargs = read_arguments(arguments)
        entry.standing = "entering"
        entry.older = roll.watched.get(pid)
        roll.remove(pid)
        roll.enter(entry, pid._process)
        row = Row(entry.key, function, arguments, str(pid))
        replaces = tuple(one.key for one in entry.replaced())
        file.add(row, _written(roll, file, entry, self.caller), replaces=replaces)
        return NoReply()

    @on_call
    async def unwatch(self, pid: Pid) -> bool:
        """Stop watching; True if the process was watched.

        Its function does not run any more, unless the process has ended already.
        """
        return self._remove(pid)

    @on_call
    async def watched(self) -> list[Pid]:
        """Return the processes that are watched, in the order in which that began."""
        return list(self._roll.watched)

    @on_call
    async def leaving(self) -> list[Leaving]:
        """Return the leave functions that run, wait for their turn, or for another attempt."""
        roll, now = self._roll, trio.current_time()
        return [
            Leaving(
                entry.pid,
                entry.reason,
                entry.name,
                entry.standing,
                entry.attempts,
                now - entry.since,
                None if entry.task is None else entry.task.pid,
            )
            for entry in (*roll.running.values(), *roll.waiting, *roll.resting.values())
        ]

    def format_status(self, state: dict[str, Any]) -> Mapping[str, Any]:
        """Show how many there are, and not all of them."""
        roll: Roll | None = state.get("_roll")
        if roll is None:
            return {}
        return {
            "watched": len(roll.watched),
            "waiting": len(roll.waiting),
            "running": len(roll.running),
            "resting": len(roll.resting),
            "file": None if roll.file is None else str(roll.file.path),
        }

    # -- work -----------------------------------------------------------------------------------

    async def handle_info(self, message: Any) -> CastResult:
        """Run the functions of those who have left."""
        match message:
            case _News():
                self._has_news = False
                self._work()
            case _Rested(key):
                self._roll.rested(key)
            case LookAgain():
                self._allowance.look()
            case Exit(pid, _) if pid is self._writer:
                self._write()
            case Exit(_, _):
                # A signal that somebody sent by hand, or the end of a process that was linked.
                pass
            case _:
                return await super().handle_info(message)
        return None

    async def terminate(self, reason: Reason) -> None:
        """Run what is still to be run for those who have ended, and wait for it.

        For as long as the supervisor waits for the watcher. What rests is tried once more.
        """
        roll = self._roll
        self._is_ending = True
        for key in tuple(roll.resting):
            roll.rested(key)
        self._work()
        while roll.is_busy:
            await self._wait_for_news()
        if self._writer is not None:
            exit_signal(self._writer, SHUTDOWN)
            await wait_exit(self._writer)
            await roll.file.write_once()

    async def _wait_for_news(self) -> None:
        if isinstance(await receive(object, _is_own), LookAgain):
            self._allowance.look()
        else:
            self._has_news = False
            self._work()

    def _tell(self) -> None:
        if not self._has_news:
            self._has_news = True
            self._loop.process.deliver(_News())

    def _work(self) -> None:
        roll = self._roll
        while roll.ended:
            self._has_ended(*roll.ended.popleft())
        while roll.waiting and len(roll.running) < self._max_running:
            start_leave(roll, roll.waiting.popleft())
        self._allowance.look_later()

    def _has_ended(self, entry: Entry, reason: Reason) -> None:
        if entry.has_run:
            self._is_over(entry)
            return
        again_in: float | None = None
        if entry.attempts < self._attempts and not self._is_ending:
            random = self._loop.process.node.random
            again_in = self._backoff.delay(entry.attempts - 1, random)
        # A crash has its own report, with the traceback; this one says whom it was for.
        self._emit(
            LeaveFailed(
                self.pid,
                entry.pid,
                entry.who,
                entry.reason,
                entry.name,
                reason,
                entry.attempts,
                again_in,
            )
        )
        if again_in is not None:
            self._roll.rest(entry)
            send_after(again_in, self.pid, _Rested(entry.key))
        elif entry.attempts >= self._attempts:
            self._is_over(entry)
        else:
            # The watcher is about to end: what is left of the attempts is for the next one.
            self._roll.rest(entry)

    def _is_over(self, entry: Entry) -> None:
        entry.stands("over")
        if self._roll.file is not None:
            self._roll.file.remove(entry.key)

    def _remove(self, pid: Pid) -> bool:
        entry = self._roll.remove(pid)
        if entry is not None and self._roll.file is not None:
            for one in (entry, *entry.replaced()):
                self._roll.file.remove(one.key)
        return entry is not None

    def _write(self) -> None:
        file: RollFile = self._roll.file
        self._writer = spawn_process(
            file.write, (), linked=True, label=f"writer of the roll in {file.path}"
        ).pid

    def _emit(self, event: Event) -> None:
        self._loop.process.node.events.emit(event)

    # -- ends -----------------------------------------------------------------------------------

    def _let_go(self, _: Pid) -> None:
        """Leave the roll to the next watcher, or take those who are watched along."""
        process, roll = self._loop.process, self._roll
        roll.on_news = None
        if self._name is not None:
            return
        if not_run := len(roll.waiting) + len(roll.resting):
            self._emit(LeavesNotRun(None, not_run, None))
        for entry in tuple(roll.watched.values()):
            watched = entry.process
            assert entry.pid is not None
            roll.remove(entry.pid)
            signals.signal(watched, process.pid, process.exit_reason, from_link=True)


def _node_ends(name: str, roll: Roll, events: Events) -> Callable[[Pid], None]:
    """Return what is to happen when the node ends: nobody comes to take the roll over."""

    def end(_: Pid) -> None:
        file: RollFile | None = roll.file
        not_run = len(roll.waiting) + len(roll.resting) + len(roll.running)
        not_run += sum(not entry.has_run for entry, _ in roll.ended)
        if not_run:
            path = None if file is None else str(file.path)
            events.emit(LeavesNotRun(name, not_run, path))
        if file is not None:
            file.close()

    return end


def _is_own(message: object) -> bool:
    return isinstance(message, (_News, LookAgain))


def _written(
    roll: Roll, file: RollFile, entry: Entry, caller: Call
) -> Callable[[RollError | None], None]:
    """Return what is to happen when an entry is written, or could not be."""

    def settled(error: RollError | None) -> None:
        if error is not None:
            roll.take_back(entry)
            caller.refuse(error)
        elif caller.reply(None) or any(one.is_written for one in entry.replaced()):
            entry.is_written = True
            entry.older = None
            roll.admit(entry)
        else:
            # Whoever has asked for it has gone.
            roll.take_back(entry)
            file.remove(entry.key)

    return settled


__all__ = [
    "NODE_LOST",
    "Departure",
    "Leave",
    "LeaveFailed",
    "LeavesNotRun",
    "Leaving",
    "NodeWasLost",
    "RollError",
    "Watcher",
]
