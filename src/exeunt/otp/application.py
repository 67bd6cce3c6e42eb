"""Application: a part of a program that is started and stopped as a whole, with what it needs.

    class Store(Application):
        async def start(self) -> Pid:
            return await Supervisor.start_link([Agent.named("store").child(dict[str, str])])

    class Chat(Application):
        applications = (Store(),)

        async def start(self) -> Pid:
            return await Supervisor.start_link([Agent.named("rooms").child(list[str])])

    assert await ensure_all_started(Chat()) == ["Store", "Chat"]
    assert [one.name for one in which_applications()] == ["Store", "Chat"]
    await stop_application("Chat")

`start` starts a supervisor, and returns its pid: that is the top of the application's tree. It runs
in a process of the application's own, which the tree is linked to, and which stays to see it off.
An application is stopped from the top: `prep_stop` runs, the tree is shut down however long that
takes, `stop` runs, and what the application has started outside of its tree is killed. When the
node closes, its applications are stopped in the reverse order of their start.

What comes of the end of a tree that nobody has stopped is said where the application is started.
The end of a *permanent* application ends the whole node, and so does that of a *transient* one
unless its reason is `"normal"`: `open_node` then raises `ApplicationEnded`. That of a *temporary*
one is logged.

A program with one tree needs none of this: it starts its supervisor and is done. An application is
for parts that others take into their programs, each with its own tree, and that need each other.
The rules are those of OTP's `application`; its configuration is the arguments of your class.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, ClassVar, Final

import trio

from exeunt.kernel import signals
from exeunt.kernel.calls import Call
from exeunt.kernel.errors import AlreadyStarted, StartError, StartFailed
from exeunt.kernel.events import Event, logged
from exeunt.kernel.exits import KILL, NORMAL, SHUTDOWN, Crash, Exit, ProcessExit, Reason, is_reason
from exeunt.kernel.ids import Pid
from exeunt.kernel.node import Node, wait_until_dead
from exeunt.kernel.primitives import current_node, link, receive, send, spawn_process, trap_exit
from exeunt.kernel.primitives import exit as exit_signal
from exeunt.kernel.process import current_process
from exeunt.otp.callbacks import refuse_misspelt
from exeunt.otp.genserver import GenServer, on_call
from exeunt.otp.results import BadReturnValue, CastResult, InitResult, NoReply, Refuse
from exeunt.otp.supervision import RestartType, check_choice
from exeunt.otp.tables import Tables

logger = logging.getLogger("exeunt")

CONTROLLER: Final = "application_controller"
"""The name of the process that starts and stops the applications of a node."""

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


class NotStarted(StartError):
    """The application does not run, and has to for what was asked."""

    def __init__(self, name: str, needed_by: str | None = None) -> None:
        super().__init__(name, needed_by)
        self.name = name
        self.needed_by = needed_by

    def __str__(self) -> str:
        if self.needed_by is None:
            return f"the application {self.name!r} is not started"
        return (
            f"the application {self.needed_by!r} needs {self.name!r}, which is not started: start "
            "it first, or use ensure_all_started"
        )


class ApplicationEnded(Exception):
    """An application without which its node must not run has ended; raised by `open_node`."""

    def __init__(self, name: str, reason: Reason) -> None:
        super().__init__(name, reason)
        self.name = name
        self.reason = reason
        if isinstance(reason, Crash):
            self.__cause__ = reason.exception

    def __str__(self) -> str:
        return f"the application {self.name!r} has ended, and so has the node: {self.reason}"


@logged
@dataclass(frozen=True, slots=True)
class ApplicationExited(Event):
    """The tree of an application has ended by itself."""

    name: str
    restart: RestartType
    reason: Reason

    level: ClassVar[int] = logging.WARNING

    def __str__(self) -> str:
        return f"the {self.restart} application {self.name!r} has ended: {self.reason}"


# -- starting and stopping ------------------------------------------------------------------------


async def start_application(application: Application, restart: RestartType = "temporary") -> Pid:
    """Start an application; return the pid of its top supervisor.

    Raises `NotStarted` if one that it needs does not run, `AlreadyStarted` if it runs itself, and
    `StartFailed` with the reason if its `start` fails. It goes on to start if the caller gives up.
    """
    check_choice("restart", restart, RestartType)
    return await _Controller.begin(await _controller(), application, restart)


async def ensure_all_started(
    application: Application, restart: RestartType = "temporary"
) -> list[str]:
    """Start an application and all that it needs, those first; return the names of what was started.

    What runs already is left as it is. If one does not start, those that were started for it are
    stopped again.
    """
    started: list[str] = []
    try:
        for one in _in_order(application):
            try:
                await start_application(one, restart)
            except AlreadyStarted:
                continue
            started.append(one.name)
    except StartError:
        for name in reversed(started):
            await stop_application(name)
        raise
    return started


async def stop_application(application: Application | str) -> None:
    """Stop an application, given itself or by its name, and wait for the end of all of it.

    Those that need it are left as they are. Raises `NotStarted`.
    """
    name = application if isinstance(application, str) else application.name
    await _Controller.end(await _controller(), name)


def which_applications() -> list[ApplicationInfo]:
    """Return the applications that run, in the order of their start."""
    table = _tables.find(CONTROLLER)
    return [] if table is None else [one.info for one in table.values() if one.info is not None]


def _in_order(application: Application) -> list[Application]:
    """Return an application and all that it needs, each after what it needs itself."""
    ordered: dict[str, Application] = {}
    path: dict[str, None] = {}

    def visit(one: Application) -> None:
        if one.name in path:
            names = list(path)
            cycle = [*names[names.index(one.name) :], one.name]
            raise ValueError(f"the applications need each other: {' -> '.join(cycle)}")
        if one.name in ordered:
            return
        path[one.name] = None
        for needed in one.applications:
            visit(needed)
        del path[one.name]
        ordered[one.name] = one

    visit(application)
    return list(ordered.values())


# -- the controller -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _IsUp:
    name: str
    top: Pid


@dataclass(frozen=True, slots=True)
class _End:
    pass


class _Started:
    """An application that runs, or is on its way."""

    __slots__ = ("application", "info", "is_stopping", "master", "restart", "waiting")

    def __init__(self, application: Application, restart: RestartType, master: Pid) -> None:
        self.application = application
        self.restart = restart
        self.master = master
        # None while it starts.
        self.info: ApplicationInfo | None = None
        self.is_stopping = False
        # The calls that wait for it to be up, or to be gone.
        self.waiting: list[Call] = []


class _Controller(GenServer):
    """Starts and stops the applications of a node, and decides what comes of the end of one."""

    # How long the node waits for it: as long as its applications take.
    _shutdown: ClassVar[float | None] = float("inf")

    async def init(self) -> InitResult:
        trap_exit()
        # In order of start.
        self._started: dict[str, _Started] = {}
        _tables.give(self._loop.process, self._started)
        return None

    @on_call
    async def begin(self, application: Application, restart: RestartType) -> Pid | NoReply | Refuse:
        name = application.name
        known = self._started.get(name)
        if known is not None and known.info is not None:
            return Refuse(AlreadyStarted(name, known.info.pid))
        if known is not None:
            known.waiting.append(self.caller)
            return NoReply()
        for needed in application.applications:
            there = self._started.get(needed.name)
            if there is None or there.info is None or there.is_stopping:
                return Refuse(NotStarted(needed.name, needed_by=name))
        master = spawn_process(
            _run_application, (self.pid, application), linked=True, label=f"application {name}"
        )
        # Its end is told to whoever starts it, or by ApplicationExited.
        master.reporting = "never"
        master.shutdown = self._shutdown
        started = self._started[name] = _Started(application, restart, master.pid)
        started.waiting.append(self.caller)
        return NoReply()

    @on_call
    async def end(self, name: str) -> None | NoReply | Refuse:
        started = self._started.get(name)
        if started is None or started.info is None:
            return Refuse(NotStarted(name))
        started.waiting.append(self.caller)
        self._tell_to_end(started)
        return NoReply()

    async def handle_info(self, message: Any) -> CastResult:
        match message:
            case _IsUp(name, top):
                started = self._started[name]
                started.info = ApplicationInfo(name, started.restart, top)
                waiting, started.waiting = started.waiting, []
                for call in waiting:
                    call.reply(top)
            case Exit(pid, reason):
                for name, started in self._started.items():
                    if started.master is pid:
                        del self._started[name]
                        self._has_ended(name, started, reason)
                        break
            case _:
                return await super().handle_info(message)
        return None

    async def terminate(self, reason: Reason) -> None:
        """Stop all applications, in the reverse order of their start."""
        for started in reversed(self._started.values()):
            if started.info is None:
                # In the middle of its start there is nobody yet who would listen.
                exit_signal(started.master, KILL)
            else:
                self._tell_to_end(started)
            master = started.master._process
            if master is not None:
                await wait_until_dead(master)

    def _tell_to_end(self, started: _Started) -> None:
        started.is_stopping = True
        send(started.master, _End())

    def _has_ended(self, name: str, started: _Started, reason: Reason) -> None:
        for call in started.waiting:
            if started.info is None:
                call.refuse(StartFailed(name, reason))
            else:
                call.reply(None)
        if started.info is None or started.is_stopping:
            return
        node = self._loop.process.node
        if node.events.wants(ApplicationExited):
            node.events.emit(ApplicationExited(name, started.restart, reason))
        if started.restart == "permanent" or (
            started.restart == "transient" and not is_reason(reason, NORMAL)
        ):
            _end_node(node, ApplicationEnded(name, reason))


_tables: Final[Tables[dict[str, _Started]]] = Tables()


def _end_node(node: Node, cause: ApplicationEnded) -> None:
    # Not if the node is ending as it is: to interrupt it again would be to tear it down.
    if not node.is_closing and not node.main.scope.cancel_called:
        node.interrupt(cause)


async def _controller() -> Pid:
    """Return the controller of this node; start it if this is the first application."""
    node = current_node()
    found = node.names.find(CONTROLLER)
    if found is not None:
        return found.pid
    try:
        pid = await _Controller.named(CONTROLLER).start()
    except AlreadyStarted as other:
        return other.pid
    process = pid._process
    if process is not None:
        # It belongs to the node, and not to who was the first to need it: the node shuts it down
        # in turn with what its main process has started.
        process.parent = node.main.pid
    return pid


# -- the process of an application ----------------------------------------------------------------


async def _run_application(controller: Pid, application: Application) -> None:
    """Start the tree, stay with it, and see it off."""
    process = current_process()
    trap_exit()
    _leader.set(process.pid)
    try:
        top: object = await application.start()
        if not isinstance(top, Pid):
            raise BadReturnValue(
                f"{type(application).__name__}.start", top, "the pid of a supervisor"
            )
        link(top)
        send(controller, _IsUp(application.name, top))
        reason = await _wait_for_end(controller, top)
        await _run_callback(application.prep_stop)
        if reason is None:
            top_process = top._process
            exit_signal(top, SHUTDOWN)
            if top_process is not None:
                await wait_until_dead(top_process)
        await _run_callback(application.stop)
    finally:
        await _kill_leftovers(process.node, process.pid)
    raise ProcessExit(NORMAL if reason is None else reason)


async def _wait_for_end(controller: Pid, top: Pid) -> Reason | None:
    """Wait until the tree has ended, and return why; None if it is to be ended."""
    while True:
        match await receive():
            case Exit(pid, reason) if pid is top:
                return reason
            case Exit(pid) if pid is controller:
                return None
            case _End():
                return None
            case _:
                # Whoever else ends, or sends something, is none of its business.
                pass


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
            if process.pid is not leader
            and process.task is not None
            and process.task.context.get(_leader) is leader
        ]
        if not left:
            return
        for process in left:
            signals.signal(process, leader, KILL)
        for process in left:
            await wait_until_dead(process)


__all__ = [
    "Application",
    "ApplicationEnded",
    "ApplicationExited",
    "ApplicationInfo",
    "NotStarted",
    "ensure_all_started",
    "start_application",
    "stop_application",
    "which_applications",
]
