"""A server to be left: channels that are watched, and do what a test tells them to.

Every join is watched before it is decided, so whatever becomes of it is seen in `World.left`. What
a channel is to do is a function of the test's own, the *deed*, which any of its callbacks runs.
"""

from __future__ import annotations

import gc
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, fields
from functools import partial
from typing import Any, TypeAlias

import trio

from exeunt import (
    Call,
    Departure,
    Destination,
    Node,
    NoReply,
    Pid,
    Reason,
    Supervisor,
    Watcher,
    call,
    cast_to,
    is_alive,
    open_node,
    process_info,
    processes,
    self_pid,
    send,
    spawn,
    stop,
    trap_exit,
    wait_exit,
)
from exeunt.channels import (
    Channel,
    ConnectInfo,
    Endpoint,
    InResult,
    JoinResult,
    Limits,
    LongPoll,
    Mount,
    Ok,
    Pages,
    Params,
    PubSub,
    Socket,
)
from exeunt.channels.connection import run_connection
from exeunt.otp.watcher import Leaving

from .client import Client, open_files

Deed: TypeAlias = "Callable[[Witness], Awaitable[Any]]"

WATCHER = "leaves"
ROOM = "room:a"
OTHER_ROOM = "room:b"


@dataclass(frozen=True, slots=True)
class Left:
    """The watcher has run the leave function of a channel.

    `too_early`: code of that channel was still running when its leave function began.
    """

    pid: Pid
    reason: Reason
    who: str
    too_early: bool = False


@dataclass(frozen=True, slots=True)
class Terminated:
    """`terminate` was called in a channel."""

    who: str
    reason: Reason


@dataclass(frozen=True, slots=True)
class Ties:
    """What a process holds of others, and they of it; counted."""

    label: str
    links: int
    monitors: int
    monitored_by: int
    messages: int
    at_exit: int
    calls: int


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What a server holds: everything that somebody who has left must not leave behind."""

    processes: int
    ties: tuple[Ties, ...]
    names: tuple[str, ...]
    topics: tuple[tuple[str, int], ...]
    timers: int
    watched: int
    leaving: int
    zombies: int
    tasks: int
    files: int


class World:
    """The node, its endpoint, and what the watcher has seen."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self.hub = PubSub()
        self.left: list[Left] = []
        self.terminated: list[Terminated] = []
        self.deed: Deed | None = None
        self.join_deed: Deed | None = None
        # Every watch that has succeeded, in order: to each of them belongs one leave.
        self.watches: list[tuple[Pid, str]] = []
        # Channels whose code is running now, once for each callback.
        self.inside: list[Pid] = []
        # Seconds that ada's code takes to clean up after itself.
        self.slow_to_unwind = 0.0
        # Where somebody of this name is held until the gate is opened, and what is done then.
        self.held_at: tuple[str, str] | None = None
        self.then: Callable[[], Any] | None = None
        # Of whom has joined, or tried to: the channel, and the connection.
        self.channels: dict[str, Pid] = {}
        self.connections: dict[str, Pid] = {}
        # For deeds that are to last: one sets `busy` and waits for `gate`.
        self.busy = trio.Event()
        self.gate = trio.Event()
        # A pid, or the name under which it comes back when it was killed.
        self.watcher: Destination
        self.supervisor: Pid
        self.endpoint: Pid
        self.port = 0

    async def has_left(self, departure: Departure, who: str) -> None:
        """Note who has left: the function that the watcher runs."""
        pid = departure.pid
        assert pid is not None
        self.left.append(Left(pid, departure.reason, who, pid in self.inside or is_alive(pid)))
        await self.pass_by("leave", who)

    async def pass_by(self, place: str, who: str) -> Any:
        """Be held here, if that was arranged; then do what was arranged for afterwards."""
        if self.held_at != (place, who):
            return None
        self.busy.set()
        await self.gate.wait()
        return None if self.then is None else self.then()

    def reasons_of(self, who: str) -> list[Reason]:
        """Return the reasons with which somebody has left so far."""
        return [one.reason for one in self.left if one.who == who]

    def terminated_of(self, who: str) -> list[Reason]:
        """Return what `terminate` was called with in somebody's channels."""
        return [one.reason for one in self.terminated if one.who == who]

    async def until_left(self, who: str, times: int = 1, within: float = 5.0) -> None:
        """Wait until the watcher has seen somebody leave."""
        await until(lambda: len(self.reasons_of(who)) >= times, f"{who} to leave", within)

    async def connect(self, who: str = "ada", **options: Any) -> Client:
        """Connect a client; its socket's id is `user:` and its name."""
        return await Client.connect(self.port, who=who, **options)

    async def join(
        self, who: str = "ada", topic: str = ROOM, params: object = None, **options: Any
    ) -> Client:
        """Connect a client that joins a topic with the join ref "1"."""
        client = await self.connect(who, **options)
        try:
            await client.join(topic, params)
        except BaseException:
            client.close()
            raise
        return client

    async def hold(self, channel: Witness) -> None:
        """Be busy until the gate is opened: a deed."""
        self.busy.set()
        await self.gate.wait()

    def tell(self, who: str) -> None:
        """Have somebody's channel do the deed in `handle_info`."""
        send(self.channels[who], "run")

    def served(self) -> list[str]:
        """Return the processes of connections and channels."""
        kinds = (run_connection.__qualname__, f"{Witness.__qualname__} ")
        return [repr(one) for one in self.node.processes.values() if one.label.startswith(kinds)]

    async def find_port(self) -> int:
        """Return the port of the endpoint: another one, where its listener was restarted."""
        return int((await Endpoint.url(self.endpoint)).rpartition(":")[2])

    async def snapshot(self) -> Snapshot:
        """Look at what the server holds now."""
        watched: list[Pid] = []
        leaving: list[Leaving] = []
        if self.node.find(self.watcher) is not None:
            watched = await Watcher.watched(self.watcher)
            leaving = await Watcher.leaving(self.watcher)
        # Timers that were cancelled stay in a heap for a while; those are not counted.
        return Snapshot(
            processes=len(processes()),
            ties=self._ties(),
            names=tuple(self.node.names.all()),
            topics=tuple((one, len(self.hub.subscribers(one))) for one in self.hub.topics()),
            timers=len(self.node.timers),
            watched=len(watched),
            leaving=len(leaving),
            zombies=len(self.node.zombies),
            tasks=trio.lowlevel.current_statistics().tasks_living,
            files=len(open_files()),
        )

    def _ties(self) -> tuple[Ties, ...]:
        """Return what hangs on each process but this one; sorted, as one may be restarted."""
        own, found = self_pid(), list[Ties]()
        for process in self.node.processes.values():
            info = process_info(process.pid)
            if info is None or process.pid is own:
                continue
            held = (info.links, info.monitors, info.monitored_by, info.messages)
            more = (process.at_exit, process.calls)
            found.append(Ties(info.label, *map(len, held), *(len(one or ()) for one in more)))
        return tuple(sorted(found, key=repr))

    async def settle(self, expected: Snapshot, within: float = 3.0) -> None:
        """Wait until the server holds no more than it did."""
        with trio.move_on_after(within):
            while await self.snapshot() != expected:  # noqa: ASYNC110 - nobody tells of it
                await trio.sleep(0.005)
            return
        found = await self.snapshot()
        differences = [
            f"{one.name}: {getattr(expected, one.name)} before, {getattr(found, one.name)} now"
            for one in fields(Snapshot)
            if getattr(expected, one.name) != getattr(found, one.name)
        ]
        shown = "\n".join(map(repr, self.node.processes.values()))
        raise AssertionError("\n".join([*differences, "processes:", shown]))

    async def check_untouched(self) -> None:
        """See that a newcomer is served as ever."""
        async with await self.join("newcomer", "room:new") as newcomer:
            assert await newcomer.ask("1", "room:new", "echo", {"n": 1}) == {
                "status": "ok",
                "response": {"n": 1},
            }
        await self.until_left("newcomer")
        self.left = [one for one in self.left if one.who != "newcomer"]
        self.watches = [one for one in self.watches if one[1] != "newcomer"]

    def forget(self) -> None:
        """Drop what was noted: reasons hold tracebacks, and those hold whatever was there."""
        self.left.clear()
        self.terminated.clear()
        self.watches.clear()
        self.channels.clear()
        self.connections.clear()
        self.deed = self.join_deed = self.then = None


class Witness(Channel):
    """A channel that is watched, and does what the world tells it to."""

    intercepts = ("run",)

    async def join(self, topic: str, params: Any) -> JoinResult:
        world: World = self.assigns["world"]
        params = params if isinstance(params, dict) else {}
        self.world = world
        self.who: str = params.get("who", self.assigns["who"])
        world.channels[self.who] = self.pid
        world.connections[self.who] = self.transport_pid
        if params.get("traps"):
            trap_exit()
        async with self._inside():
            await world.pass_by("join, before watch", self.who)
            await Watcher.watch(world.watcher, self.pid, world.has_left, self.who)
            world.watches.append((self.pid, self.who))
            if params.get("run"):
                assert world.join_deed is not None
                result: JoinResult = await world.join_deed(self)
                return result
            await world.pass_by("join", self.who)
        return None

    async def handle_in(self, event: str, payload: Any) -> InResult:
        match event:
            case "echo":
                return Ok(payload)
            case "run":
                result: InResult = await self._run()
                return result
            case "shout":
                self.broadcast("shout", payload)
                return None
            case "say":
                self.push("said", payload)
                return None
        return await super().handle_in(event, payload)

    async def handle_out(self, event: str, payload: Any) -> Any:
        return await self._run()

    async def handle_info(self, message: Any) -> Any:
        if message == "run":
            return await self._run()
        return None

    async def handle_cast(self, request: Any) -> Any:
        return await self._run()

    async def handle_call(self, request: Any, caller: Call) -> Any:
        result = await self._run()
        return NoReply() if result is None else result

    async def handle_continue(self, argument: Any) -> Any:
        return await self._run()

    async def terminate(self, reason: Reason) -> None:
        self.world.terminated.append(Terminated(self.who, reason))
        async with self._inside(is_slow=False):
            await self.world.pass_by("terminate", self.who)

    async def _run(self) -> Any:
        async with self._inside():
            if self.world.deed is None:
                return await self.world.pass_by("handle_in", self.who)
            return await self.world.deed(self)

    @asynccontextmanager
    async def _inside(self, *, is_slow: bool = True) -> AsyncGenerator[None]:
        """Note that code of this channel is running, until it has come out of it."""
        self.world.inside.append(self.pid)
        try:
            yield
        finally:
            if self.world.slow_to_unwind and is_slow and self.who == "ada":
                # A clean-up that takes its time, be the channel killed or not.
                with trio.CancelScope(shield=True):
                    await trio.sleep(self.world.slow_to_unwind)
            self.world.inside.remove(self.pid)


class User(Socket):
    """Whoever connects with a name."""

    channels = {"room:*": Witness}

    def __init__(self, world: World) -> None:
        super().__init__()
        self.assigns["world"] = world

    async def connect(self, params: Params, info: ConnectInfo) -> bool:
        who = params.get("who")
        if not isinstance(who, str):
            return False
        self.assigns["who"] = who
        await self.assigns["world"].pass_by("connect", who)
        return True

    def id(self) -> str:
        return f"user:{self.assigns['who']}"


@dataclass(frozen=True, slots=True)
class Options:
    """How the server is set up."""

    timeout: float = 30.0
    max_frame_size: int = 4096
    close_within: float = 0.15
    max_queued: int = 256 * 1024
    max_connections: int = 100
    kind: Callable[[World], Socket] = User
    pages: Pages | None = None
    limits: Limits = field(default_factory=Limits)
    host: str = "127.0.0.1"
    watcher_restarts: int = 100
    longpoll: LongPoll | None = None


@asynccontextmanager
async def open_world(options: Options | None = None) -> AsyncGenerator[World]:
    """Run a server; see to it that nothing of it is left when it has stopped."""
    options = Options() if options is None else options
    files, tasks = open_files(), trio.lowlevel.current_statistics().tasks_living
    async with open_node(signals=False) as node:
        # The block sees what it has started end, and goes on.
        trap_exit()
        world = World(node)
        world.watcher = WATCHER
        watcher = Watcher.named(WATCHER).child()
        world.supervisor = await Supervisor.start_link(
            [watcher], max_restarts=options.watcher_restarts
        )
        mount = Mount(
            partial(options.kind, world),
            timeout=options.timeout,
            max_frame_size=options.max_frame_size,
            max_message_size=options.max_frame_size,
            close_within=options.close_within,
            max_queued=options.max_queued,
            longpoll=options.longpoll,
        )
        world.endpoint = await Endpoint.start_link(
            # The second is for those to whom nothing must happen, be it for want of a sign of life.
            {"/socket": mount, "/calm": Mount(partial(options.kind, world), timeout=120.0)},
            host=options.host,
            port=0,
            hub=world.hub,
            pages=options.pages,
            limits=options.limits,
            max_connections=options.max_connections,
        )
        world.port = await world.find_port()
        yield world
        world.gate.set()
        if is_alive(world.endpoint):
            await stop(world.endpoint, "shutdown")
        else:
            # It was killed by the test: then what was below it ends by itself.
            await wait_exit(world.endpoint)
            await until(lambda: not world.served(), "connections and channels to end")
        assert world.served() == []
        assert world.hub.topics() == []
        # The watcher's own is cancelled when it has heard that no leave function runs any more.
        await until(lambda: len(node.timers) == 0, "the last timer to be cancelled")
    assert trio.lowlevel.current_statistics().tasks_living == tasks
    left_open = [one for one in open_files() if one not in files]
    if left_open:
        gc.collect()  # so that the ResourceWarning tells which
    assert left_open == []


async def until(condition: Callable[[], bool], what: str, within: float = 5.0) -> None:
    """Wait for something that the test cannot be told of."""
    with trio.move_on_after(within):
        while not condition():  # noqa: ASYNC110 - nobody tells of it
            await trio.sleep(0.002)
        return
    raise AssertionError(f"waited {within} seconds in vain for {what}")


def complaints(records: Iterable[logging.LogRecord]) -> list[str]:
    """Return what was logged as a warning or worse."""
    return [one.getMessage() for one in records if one.levelno >= logging.WARNING]


def quiet() -> None:
    """Keep the log to oneself: for a program that shows something else."""
    logging.getLogger("exeunt").setLevel(logging.CRITICAL + 1)


__all__ = [
    "OTHER_ROOM",
    "ROOM",
    "Deed",
    "Left",
    "Options",
    "Snapshot",
    "Supervisor",
    "Terminated",
    "User",
    "Witness",
    "World",
    "call",
    "cast_to",
    "complaints",
    "open_world",
    "quiet",
    "spawn",
    "until",
]
