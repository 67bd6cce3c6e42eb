"""The node: the tables of processes and names, their one nursery, and how all of it ends.

    async with open_node():
        ...

The block is itself a process, the *main* process: it has a pid and a mailbox, can be linked to, and
is the parent of what it starts. When the block is left, for whatever reason, the node is shut down
in order, and when `open_node` returns, nothing that it started is alive.

OTP: nodes connect to each other, and a pid of one can be sent to from another. Here a node is
within one program, and knows of no other; to open it needs no name and no port.

OTP: processes are preempted, and run on all processors. Here they share one thread, and each runs
until it awaits something: between two awaits nothing changes that it does not change itself, and
one that computes for long holds up all others. The watchdog tells which, and at which line.

OTP: `kill` ends a process in the middle of whatever it does. Here it is cancelled, and ends at the
next `await`; one that has not ended `kill_grace` seconds later, because it shields itself, is
declared dead, and its code is listed as a zombie until it stops.
"""

from __future__ import annotations

import inspect
import random
import signal
import threading
import traceback
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextlib import asynccontextmanager, contextmanager, nullcontext
from itertools import count
from types import FrameType
from typing import Any, Final, TypeVar

import trio
from trio.lowlevel import current_task

from exeunt.kernel.calls import Call
from exeunt.kernel.errors import CallFailed, MainExited, NotRegistered
from exeunt.kernel.events import (
    LOGGED,
    Events,
    Spawned,
    ZombieFound,
    ZombieGone,
    log_event,
)
from exeunt.kernel.exits import KILL, SHUTDOWN, ProcessExit, Reason
from exeunt.kernel.ids import Pid, Ref
from exeunt.kernel.names import Destination, NameTable, no_destination
from exeunt.kernel.process import Process, running_process
from exeunt.kernel.signals import signal as send_signal
from exeunt.kernel.timers import Timers
from exeunt.kernel.trio_seam import repeat_from
from exeunt.kernel.watchdog import watching

T = TypeVar("T")

# Nodes of one program are numbered, so that their pids are told apart. Pids are <NODE.NUMBER>.
_node_numbers = count()

KILL_GRACE: Final = 5.0
"""Seconds that a killed process has to unwind before it is declared dead: what a zombie is."""

SHUTDOWN_BUDGET: Final = 5.0
"""Seconds that a process has to end when the node closes, unless it has its own budget."""


class Node:
    """One Erlang-like node: a world of processes within one trio program.

    `events` tells what happens in it; `random` is its one source of randomness, seeded by
    `open_node(seed=…)`.
    """

    def __init__(self, seed: int | None, kill_grace: float, shutdown: float) -> None:
        self.number = next(_node_numbers)
        # Processes are changed by this thread and no other.
        self.thread = threading.get_ident()
        self.events = Events()
        self.events.subscribe(log_event, *LOGGED)
        self.random = random.Random(seed)
        self.names = NameTable()
        self.timers = Timers()
        self.processes: dict[int, Process] = {}
        # Killed processes whose code has not stopped: dead to everybody else.
        self.zombies: dict[Pid, Process] = {}
        self.main: Process
        self._kill_grace = kill_grace
        self._shutdown = shutdown
        self._pid_numbers = count(1)
        self._ref_numbers = count(1)
        self._nursery: trio.Nursery | None = None
        self._interruption: BaseException | None = None
        self._closing = trio.Event()
        self._is_closed = False

    def __repr__(self) -> str:
        return f"<node {self.number}: {len(self.processes)} processes>"

    # -- processes ------------------------------------------------------------------------------

    def make_ref(self) -> Ref:
        """Return a reference that is unique within the node."""
        return Ref(self.number, next(self._ref_numbers))

    def find(self, to: Destination) -> Process | None:
        """Return the running process that is meant, or None; raise TypeError for no destination."""
        if isinstance(to, Pid):
            process = to._process
            return process if process is not None and process.status == "running" else None
        if isinstance(to, str):
            return self.names.find(to)
        if not hasattr(to, "whereis"):
            raise no_destination(to)
        pid = to.whereis()
        return None if pid is None else self.find(pid)

    def find_or_raise(self, to: Destination) -> Process | None:
        """Like `find`, but raise `NotRegistered` for a name that nobody has."""
        process = self.find(to)
        if process is None and not isinstance(to, Pid):
            raise NotRegistered(to)
        return process

    def new_process(
        self,
        body: Callable[..., Awaitable[object]],
        args: tuple[Any, ...],
        label: str,
        parent: Process | None,
    ) -> Process:
        """Make a process that does not run yet; `launch` has it run."""
        if self._nursery is None or self._is_closed:
            raise RuntimeError("the node is closed: no process can be started in it any more")
        pid = Pid(self.number, next(self._pid_numbers))
        process = Process(self, pid, None if parent is None else parent.pid, label, body, args)
        pid._process = process
        self.processes[pid.number] = process
        return process

    def launch(self, process: Process) -> None:
        """Start the trio task of a new process."""
        assert self._nursery is not None
        if self.events.wants(Spawned):
            self.events.emit(Spawned(process.pid, process.parent, process.label))
        self._nursery.start_soon(process.live, name=process.label)

    def forget(self, process: Process) -> None:
        """Take a process that has ended out of the tables."""
        self.processes.pop(process.pid.number, None)
        self.names.free(process)
        process.pid._process = None

    # -- what does not stop ---------------------------------------------------------------------

    def expect_end(self, process: Process) -> None:
        """Declare a killed process dead if it has not ended when the grace is over."""
        self.timers.start(
            self.make_ref(),
            self._kill_grace,
            lambda _: self._declare_dead(process),
            target=process,
        )

    def _declare_dead(self, process: Process) -> None:
        if process.status != "exiting":
            return
        stack = stack_of(process)
        self.zombies[process.pid] = process
        process.finish(None)
        self.events.emit(ZombieFound(process.pid, process.label, stack))

    def bury(self, process: Process) -> None:
        """Forget a zombie whose code has ended."""
        if self.zombies.pop(process.pid, None) is not None:
            self.events.emit(ZombieGone(process.pid, process.label))

    # -- its own life ---------------------------------------------------------------------------

    def interrupt(self, cause: BaseException) -> None:
        """Begin an ordered shutdown, at the end of which `open_node` raises `cause`.

        A second interruption stops everything at once.
        """
        if self._interruption is None:
            self._interruption = cause
            self.main.scope.cancel()
        elif self._nursery is not None:
            self._nursery.cancel_scope.cancel()

    async def host(
        self, catch_signals: bool, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Run the node until `close`, then shut it down in order.

        In a shield: whatever cancels the program around the node ends the block of `open_node`, and
        so begins the shutdown, but does not tear through it.
        """
        with (
            self._catching() if catch_signals else nullcontext(),
            trio.CancelScope(shield=True),
        ):
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                nursery.start_soon(self.timers.run)
                task_status.started()
                await self._closing.wait()
                await self._shut_down()
                nursery.cancel_scope.cancel()

    def close(self) -> None:
        """Begin the shutdown."""
        self._closing.set()

    @property
    def is_closing(self) -> bool:
        """Whether the shutdown has begun."""
        return self._closing.is_set()

    @contextmanager
    def _catching(self) -> Generator[None]:
        """Have SIGINT and SIGTERM shut the node down in order, and a second one at once.

        If the program has not even taken notice of the one before, because some process keeps the
        processor to itself, the next one is what it would be without a node: a KeyboardInterrupt
        there.
        """
        token = trio.lowlevel.current_trio_token()
        before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
        is_unseen = False

        def take(number: int) -> None:
            nonlocal is_unseen
            is_unseen = False
            is_sigint = number == signal.SIGINT
            self.interrupt(KeyboardInterrupt() if is_sigint else SystemExit(128 + number))

        def catch(number: int, frame: FrameType | None) -> None:
            nonlocal is_unseen
            if is_unseen:
                interrupt = before[signal.SIGINT]
                if not callable(interrupt):
                    interrupt = signal.default_int_handler
                interrupt(signal.SIGINT, frame)
                return
            is_unseen = True
            token.run_sync_soon(take, number)

        for number in before:
            signal.signal(number, catch)
        try:
            yield
        finally:
            for number, handler in before.items():
                if signal.getsignal(number) is catch:
                    signal.signal(number, handler)

    async def _shut_down(self) -> None:
        """End all processes: those started by the block first, the newest of them first.

        Each is told `shutdown` and has its budget before it is killed; a supervisor among them ends
        its own children in that time. What is left then belongs to no tree, and goes together.
        """
        main = self.main
        for process in reversed(self._others(main.pid)):
            await self._stop([process])
        if orphans := self._others(None):
            await self._stop(orphans)
        # What those have started while they ended goes too, and cannot start more.
        self._is_closed = True
        while self._others(None):
            await self._stop(self._others(None))

    def _others(self, parent: Pid | None) -> list[Process]:
        """Return the processes besides the main one; of one parent, if that is given."""
        return [
            process
            for process in self.processes.values()
            if process is not self.main and (parent is None or process.parent is parent)
        ]

    async def _stop(self, processes: list[Process]) -> None:
        budget = max(
            self._shutdown if process.shutdown is None else process.shutdown
            for process in processes
        )
        for process in processes:
            send_signal(process, self.main.pid, SHUTDOWN)
        with trio.move_on_after(budget):
            for process in processes:
                await wait_until_dead(process)
            return
        for process in processes:
            send_signal(process, self.main.pid, KILL)
        for process in processes:
            await wait_until_dead(process)

    def end_main(self, outcome: BaseException | None) -> None:
        """End the main process, when everything else has ended."""
        # What the block raised is raised by open_node, and so not reported as well.
        self.main.reporting = "never"
        self.main.finish(None if self.main.status == "exiting" else outcome)

    def raise_outcome(self, outcome: BaseException | None, was_signalled: bool) -> None:
        """Raise what the block of `open_node` has to raise."""
        if self._interruption is not None:
            raise self._interruption
        if was_signalled and (outcome is None or isinstance(outcome, ProcessExit)):
            exited = MainExited(self.main.exit_reason, self.main.ended_by)
            # Not in the context of the cancellation by which the signal has ended the block.
            raise exited from exited.__cause__
        if isinstance(outcome, ProcessExit):
            exited = MainExited(outcome.reason)
            raise exited from exited.__cause__
        if outcome is not None:
            raise outcome


async def wait_until_dead(process: Process) -> Reason:
    """Wait for the end of a process and return its exit reason."""
    if process.status == "dead":
        await trio.lowlevel.checkpoint()
        return process.exit_reason
    waiter = Call(None, None, process.pid)
    waiter.attach(process)
    waiter.was_taken = True
    try:
        await waiter.wait()
    except CallFailed as ended:
        return ended.reason
    raise AssertionError("nobody has this call, so nobody can answer it")


def stack_of(process: Process) -> str:
    """Show where the code of a process stands, innermost call last."""
    if process.task is None:
        return "  (it has not begun)"
    lines: list[str] = []
    for frame, number in process.task.iter_await_frames():
        lines += traceback.format_list(
            traceback.StackSummary.extract(iter([(frame, number)]), lookup_lines=True)
        )
    return "".join(lines).rstrip() or "  (nowhere)"


@asynccontextmanager
async def open_node(
    *,
    seed: int | None = None,
    signals: bool = True,
    kill_grace: float = KILL_GRACE,
    shutdown: float = SHUTDOWN_BUDGET,
    watchdog: float | None = None,
) -> AsyncGenerator[Node, None]:
    """Open a node; the block is its main process.

    On leaving the block, by its end, an exception, or a cancellation from outside, and on SIGINT
    and SIGTERM (with `signals`, in the main thread), the node is shut down in order: the processes
    that the block started, newest first, each told `shutdown` and given its budget (`shutdown`
    seconds where it has none of its own), then whatever is left. A second SIGINT or SIGTERM cancels
    everything at once. A killed process that does not unwind within `kill_grace` seconds is
    declared dead and listed as a zombie; the node still waits for its code to end.

    `watchdog`: seconds for which one process may keep all others from running before the log names
    it, and the line at which it stands; None for no such watch.

    `seed` seeds `node.random`. Raises what the block raises; `KeyboardInterrupt` after SIGINT,
    `SystemExit` after SIGTERM; and `MainExited` if the block was ended by an exit signal, for
    instance because something that it is linked to has crashed.
    """
    node = Node(seed, kill_grace, shutdown)
    main = Process(node, Pid(node.number, 0), None, "main", None, ())
    main.pid._process = main
    main.task = current_task()
    node.main = main
    node.processes[0] = main
    token = running_process.set(main)
    outcome: BaseException | None = None
    was_signalled = False
    catch_signals = signals and threading.current_thread() is threading.main_thread()
    try:
        async with trio.open_nursery() as nursery:
            with trio.CancelScope(shield=True):
                # Up to here it cannot be shut down, so it must come up, be it to end at once.
                await nursery.start(node.host, catch_signals)
            try:
                with watching(watchdog, node.events), main.scope:
                    yield node
            except BaseException as error:
                # Kept, and raised when the shutdown is over.
                outcome = error
            if main.status == "exiting":
                was_signalled = True
            else:
                # From here on no signal ends it: it is about to see the others off.
                main.traps = True
            node.close()
    except BaseException as error:
        # What tore the node down, if anything did, rather than that the block was cancelled for it.
        if outcome is None or (_is_cancellation(outcome) and not _is_cancellation(error)):
            outcome = error
    finally:
        node.end_main(outcome)
        running_process.reset(token)
    node.raise_outcome(_unwrapped(outcome), was_signalled)


def _is_cancellation(error: BaseException) -> bool:
    if isinstance(error, BaseExceptionGroup):
        return error.split(trio.Cancelled)[1] is None
    return isinstance(error, trio.Cancelled)


def _unwrapped(outcome: BaseException | None) -> BaseException | None:
    while (
        isinstance(outcome, BaseExceptionGroup)
        and _is_cancellation(outcome)
        and len(outcome.exceptions) == 1
    ):
        outcome = outcome.exceptions[0]
    return outcome


def run(
    main: Callable[..., Awaitable[T]],
    *args: Any,
    seed: int | None = None,
    clock: trio.abc.Clock | None = None,
    watchdog: float | None = 1.0,
) -> T:
    """Run an async function as the main process of a new node, within a new `trio.run`.

    Returns what it returns and raises what `open_node` raises. With a `seed` two runs do the same
    in the same order, as far as it is the program that decides: it seeds `node.random` and the
    order in which trio runs its tasks. With `clock=trio.testing.MockClock(autojump_threshold=0)`
    time does not pass by itself either. `watchdog` is that of `open_node`.
    """
    given: object = main
    if inspect.iscoroutine(given):
        given.close()
        raise TypeError(f"run takes the async function without calling it: run({given.__name__})")
    if trio.lowlevel.in_trio_run():
        raise RuntimeError(
            "a program runs on trio here already: `async with open_node():` is a node within it"
        )
    if seed is not None:
        repeat_from(seed)

    async def program() -> T:
        async with open_node(seed=seed, watchdog=watchdog):
            return await main(*args)
        raise AssertionError("open_node does not swallow exceptions")

    return trio.run(program, clock=clock)


__all__ = ["KILL_GRACE", "SHUTDOWN_BUDGET", "Node", "open_node", "run"]
