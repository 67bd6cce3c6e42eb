"""An application, and the process that stands for it while it runs.

That process starts the tree, is linked to it, and sees it off. All that is started in it, and by
what is started in it, belongs to the application, whether it is in the tree or not.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import trio

from exeunt.kernel import signals
from exeunt.kernel.calls import Call
from exeunt.kernel.exits import KILL, NORMAL, SHUTDOWN, Exit, ProcessExit
from exeunt.kernel.ids import Pid
from exeunt.kernel.node import Node, wait_until_dead
from exeunt.kernel.primitives import exit as exit_signal
from exeunt.kernel.primitives import link, receive, trap_exit, wait_exit
from exeunt.kernel.process import Process, current_process
from exeunt.otp.callbacks import refuse_misspelt
from exeunt.otp.results import BadReturnValue
from exeunt.otp.supervision import RestartType

logger = logging.getLogger("exeunt")

# The process that stands for the application that a process belongs to: what the group leader is
# to OTP. A process has it from the one that has started it.
_leader: ContextVar[Pid | None] = ContextVar("exeunt.application", default=None)


class Application:
    """The base of all applications: `start` is needed, the others where there is something to do.

    An application is known by its `name`, by default that of its class: of one name only one runs
    on a node. `applications` are those that have to run before it does.
    """

    name: str = "Application"
    applications: Sequence[Application] = ()

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "name" not in vars(cls):
            cls.name = cls.__name__
        refuse_misspelt(cls, ("start", "prep_stop", "stop"))

    async def start(self) -> Pid:
        """Start the tree of the application, and return the pid of its top supervisor."""
        raise NotImplementedError(f"{type(self).__name__} has no `start`")

    async def prep_stop(self) -> object:
        """Do what is to be done before the tree is shut down; called also when it has ended."""
        return None

    async def stop(self) -> object:
        """Clean up when the tree has ended."""
        return None


@dataclass(frozen=True, slots=True)
class ApplicationInfo:
    """An application that runs; `pid` is its top supervisor."""

    name: str
    restart: RestartType
    pid: Pid


class End:
    """The message that ends an application."""


class Started:
    """An application that runs, or is on its way."""

    __slots__ = (
        "application",
        "info",
        "is_stopping",
        "master",
        "restart",
        "starting",
        "waiting",
    )

    master: Process

    def __init__(self, application: Application, restart: RestartType) -> None:
        self.application = application
        self.restart: RestartType = restart
        # Around the callback `start`, to end it in the middle.
        self.starting = trio.CancelScope()
        # None while it starts.
        self.info: ApplicationInfo | None = None
        self.is_stopping = False
        # The calls that wait for it to be up, or to be gone.
        self.waiting: list[Call] = []

    def is_up(self, top: Pid) -> None:
        """Take note that it runs, and tell who waits for that."""
        self.info = ApplicationInfo(self.application.name, self.restart, top)
        waiting, self.waiting = self.waiting, []
        for call in waiting:
            call.reply(top)


async def run_application(controller: Pid, started: Started) -> None:
    """Start the tree, stay with it, and see it off."""
    process, application = current_process(), started.application
    trap_exit()
    _leader.set(process.pid)
    top: object = None
    try:
        with started.starting:
            top = await application.start()
        if started.starting.cancelled_caught:
            raise ProcessExit(SHUTDOWN)
        if not isinstance(top, Pid):
            callback = f"{type(application).__name__}.start"
            raise BadReturnValue(callback, top, "the pid of a supervisor")
    except BaseException:
        if process.status == "running":
            await _end_tree(process, None)
            await _kill_leftovers(process.node, process.pid)
        raise
    link(top)
    started.is_up(top)
    ended = await _wait_for_end(controller, top)
    await _run_callback(application.prep_stop)
    await _end_tree(process, top)
    await _run_callback(application.stop)
    await _kill_leftovers(process.node, process.pid)
    raise ProcessExit(NORMAL if ended is None else ended.reason)


async def _wait_for_end(controller: Pid, top: Pid) -> Exit | None:
    """Wait until the tree has ended; None if it is to be ended."""
    while True:
        match await receive():
            case Exit(pid) as ended if pid is top:
                return ended
            case Exit(pid) if pid is controller:
                return None
            case End():
                return None
            case _:
                # Whoever else ends, or sends something, is none of its business.
                pass


async def _end_tree(process: Process, top: Pid | None) -> None:
    """Shut the tree down, however long that takes.

    That is the top supervisor, and what else of the application is linked to this process.
    """

    def is_of_tree(one: Process | None) -> bool:
        if one is None:
            return False
        return one.pid is top or one.parent is process.pid or _belongs_to(one, process.pid)

    while linked := [one.pid for one in process.links or () if is_of_tree(one.pid._process)]:
        exit_signal(linked[-1], SHUTDOWN)
        await wait_exit(linked[-1])


async def _run_callback(callback: Callable[[], Awaitable[object]]) -> None:
    """Run `prep_stop` or `stop`; what it raises is logged, and changes nothing."""
    try:
        await callback()
    except (Exception, ProcessExit):
        logger.exception("%s failed", getattr(callback, "__qualname__", callback))


async def _kill_leftovers(node: Node, leader: Pid) -> None:
    """Kill all processes that belong to an application but were not in its tree."""
    # Let those begin that were started just now: only then can they be told apart.
    await trio.lowlevel.checkpoint()
    while True:
        left = [
            process
            for process in node.processes.values()
            if process.pid is not leader and _belongs_to(process, leader)
        ]
        if not left:
            return
        for process in left:
            signals.signal(process, leader, KILL)
        for process in left:
            await wait_until_dead(process)


def _belongs_to(process: Process, leader: Pid) -> bool:
    return process.task is not None and process.task.context.get(_leader) is leader


__all__ = ["Application", "ApplicationInfo", "End", "Started", "run_application"]
