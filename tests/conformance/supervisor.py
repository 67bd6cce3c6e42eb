"""The family "supervisor": a supervision tree, and everything that happens in it, in order."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from typing import Any

import trio
from trio.testing import MockClock

import exeunt
from exeunt import (
    AlreadyStarted,
    CallFailed,
    ChildError,
    ChildSpec,
    Continue,
    DynamicSupervisor,
    Exit,
    GenServer,
    Ignore,
    MaxChildren,
    Node,
    Pid,
    ProcessExit,
    StartFailed,
    Stop,
    Supervisor,
)
from exeunt.kernel.events import Exited
from exeunt.otp.reports import SupervisorReport
from tests.conformance.terms import (
    ScenarioError,
    exception,
    reason_json,
    seconds,
    to_reason,
)
from tests.conformance.traces import Json
from tests.conformance.world import Op, Step, World

NO_PROCESS = "no_process"


@dataclass(frozen=True, slots=True)
class Happening:
    """An event of a trace; `parent` is the supervisor of the process that it is about."""

    event: list[Json]
    id: Json
    parent: str | None


class Tree(World):
    """The labels and the events of one supervision tree."""

    def __init__(self, node: Node, clock: MockClock) -> None:
        super().__init__(node, clock)
        self.happened: list[Happening] = []
        self.parents: dict[Pid, str | None] = {}
        self.types: dict[str, str] = {}
        self.starts: dict[str, int] = {}
        # Workers whose start failed or was ignored: their end is no event of its own.
        self.never_up: set[Pid] = set()
        # Workers that stop themselves as soon as they are up.
        self.dying: set[Pid] = set()
        node.events.subscribe(self.has_ended, Exited)
        node.events.subscribe(self.has_reported, SupervisorReport)

    def enter(self, id: str, parent: str | None) -> None:
        """Have the process that is running now be the newest one of this id."""
        pid = exeunt.self_pid()
        self.pids[id], self.labels[pid], self.parents[pid] = pid, id, parent

    def happen(self, *event: Json) -> None:
        """Note an event of the process that is running now."""
        pid = exeunt.self_pid()
        self.happened.append(Happening([*event], self.who(pid), self.parents.get(pid)))

    def has_ended(self, event: Exited) -> None:
        """Note the end of a process of the tree."""
        pid = event.pid
        if pid in self.parents and pid not in self.never_up:
            id = self.who(pid)
            what = ["exit", id, reason_json(event.reason)]
            self.happened.append(Happening(what, id, self.parents[pid]))

    def has_reported(self, event: SupervisorReport) -> None:
        """Note a report of a supervisor."""
        supervisor = self.who(event.supervisor)
        what = ["report", supervisor, event.context, event.id, reason_json(event.reason)]
        self.happened.append(Happening(what, event.id, supervisor))

    def take(self) -> list[Json]:
        """Return what has happened since the last time.

        What happens side by side is ordered by the id of the child: the ends of the children of one
        dynamic supervisor, or of one that was killed, and the errors that a dynamic one reports.
        """
        killed: set[str] = set()
        keyed: list[tuple[tuple[str, str | None] | None, Happening]] = []
        for one in self.happened:
            event, parent = one.event, one.parent
            is_dynamic = parent is not None and self.types[parent] == "dynamic"
            key: tuple[str, str | None] | None = None
            if event[0] in ("terminate", "exit") and (is_dynamic or parent in killed):
                key = ("end", parent)
            elif event[0] == "report" and event[2] == "shutdown_error" and is_dynamic:
                key = ("report", parent)
            if event[0] == "exit" and event[2] == "killed" and event[1] in self.types:
                killed.add(event[1])
            keyed.append((key, one))
        self.happened = []
        events: list[Json] = []
        for key, run in groupby(keyed, key=lambda entry: entry[0]):
            happenings = [one for _, one in run]
            if key is not None:
                happenings.sort(key=lambda one: str(one.id))
            events += [one.event for one in happenings]
        return events

    def child(self, spec: dict[str, Any], parent: str) -> ChildSpec:
        """Return the child specification that a scenario means."""
        made: ChildSpec
        match spec.get("type", "worker"):
            case "supervisor":
                made = Static.child(self, spec, parent)
            case "dynamic":
                made = Dynamic.child(self, spec, parent)
            case _:
                made = ChildSpec(id=spec["id"], start=partial(self.start_worker, spec, parent))
        made = made.replace(
            id=spec["id"],
            restart=spec.get("restart", "permanent"),
            significant=spec.get("significant", False),
        )
        match spec.get("shutdown"):
            case None:
                return made
            case int(milliseconds):
                return made.replace(shutdown=seconds(milliseconds))
            case choice:
                return made.replace(shutdown=choice)

    async def start_worker(self, spec: dict[str, Any], parent: str) -> Pid:
        """Start a worker; one that dies at once is dead when its supervisor hears of the start."""
        pid = await Worker.start_link(self, spec, parent)
        if pid in self.dying:
            await exeunt.wait_exit(pid)
        return pid


@dataclass(frozen=True, slots=True)
class Tell:
    """What a worker is told to do to itself."""

    act: Callable[[], Stop]


class Worker(GenServer):
    """A worker, which starts and terminates as the scenario says."""

    async def init(self, tree: Tree, spec: dict[str, Any], parent: str) -> Any:
        self.tree, self.spec, self.id = tree, spec, spec["id"]
        tree.enter(self.id, parent)
        exeunt.trap_exit(spec.get("trap", False))
        count = tree.starts[self.id] = tree.starts.get(self.id, 0) + 1
        starts = spec.get("starts", ["ok"])
        match starts[min(count, len(starts)) - 1]:
            case "ok":
                tree.happen("start", self.id, "ok")
                return None
            case "ignore":
                self.is_not_up("ignore")
                return Ignore()
            case ["error", reason]:
                self.is_not_up(["error", reason])
                return Stop(to_reason(reason))
            case ["raise", kind]:
                self.is_not_up(["error", ["error", kind]])
                raise exception(kind)
            case ["dies", reason]:
                tree.happen("start", self.id, "ok")
                tree.dying.add(self.pid)
                return Continue(reason)
            case start:
                raise ScenarioError(f"no way to start: {start}")

    def is_not_up(self, outcome: Json) -> None:
        """Note a start that comes to nothing."""
        self.tree.happen("start", self.id, outcome)
        self.tree.never_up.add(self.pid)

    async def handle_continue(self, argument: Json) -> Any:
        return Stop(to_reason(argument))

    async def handle_info(self, message: Any) -> Any:
        match message:
            case Tell(act):
                return act()
            case Exit():
                self.tree.happen("info", self.id, self.tree.message(message))
                return None
            case _:
                self.tree.happen("info", self.id, repr(message))
                return None

    async def terminate(self, reason: object) -> None:
        self.tree.happen("terminate", self.id, reason_json(reason))
        match self.spec.get("terminate", "ok"):
            case "ok":
                return
            case "hang":
                await trio.sleep_forever()
            case ["sleep", milliseconds]:
                await trio.sleep(seconds(milliseconds))
            case ["exit", how]:
                raise ProcessExit(to_reason(how))
            case ["raise", kind]:
                raise exception(kind)
            case how:
                raise ScenarioError(f"no way to terminate: {how}")


def limits(spec: dict[str, Any]) -> dict[str, Any]:
    """Return the restart intensity of a supervisor."""
    return {
        "max_restarts": spec.get("max_restarts", 3),
        "max_seconds": spec.get("max_seconds", 3600),
    }


class Static(Supervisor):
    """A supervisor that tells when it begins."""

    async def init(  # type: ignore[override]
        self, tree: Tree, spec: dict[str, Any], parent: str | None
    ) -> Any:
        id = spec["id"]
        tree.types[id] = "supervisor"
        tree.enter(id, parent)
        tree.happen("start", id)
        return await super().init(
            [tree.child(one, id) for one in spec.get("children", [])],
            strategy=spec.get("strategy", "one_for_one"),
            auto_shutdown=spec.get("auto_shutdown", "never"),
            **limits(spec),
        )


class Dynamic(DynamicSupervisor):
    """A dynamic supervisor that tells when it begins."""

    async def init(  # type: ignore[override]
        self, tree: Tree, spec: dict[str, Any], parent: str | None
    ) -> Any:
        id = spec["id"]
        tree.types[id] = "dynamic"
        tree.enter(id, parent)
        tree.happen("start", id)
        return await super().init(max_children=spec.get("max_children"), **limits(spec))


class SupervisorFamily:
    """Does the operations of the family "supervisor"."""

    def __init__(self, node: Node, clock: MockClock, scenario: dict[str, Any]) -> None:
        self.tree = Tree(node, clock)
        self.spec = scenario["tree"]

    async def begin(self) -> None:
        """Start those who act: the parent of the tree, somebody else, and who asks supervisors."""
        self.tree.drive("parent", traps=True)
        self.tree.drive("stranger")
        self.tree.drive("operator")
        await self.tree.settle()

    async def do(self, index: int, op: Op) -> Step:
        """Do one operation."""
        result = await self.perform(op)
        events = self.tree.take()
        return {"result": result, **({"events": events} if events else {})}

    async def perform(self, op: Op) -> Json:
        """Do one operation and return its result."""
        tree = self.tree
        match op:
            case {"op": "start"}:
                return await self.ask("parent", self.start_tree)
            case {"op": "exit_child", "child": id, "reason": reason}:
                return await self.tell(id, lambda: Stop(to_reason(reason)))
            case {"op": "raise_child", "child": id, "kind": kind}:

                def fail() -> Stop:
                    raise exception(kind)

                return await self.tell(id, fail)
            case {"op": "signal", "to": id, "reason": reason}:
                by = "parent" if op.get("from") == "parent" else "stranger"
                return await self.to_process(
                    by, id, lambda pid: exeunt.exit(pid, to_reason(reason))
                )
            case {"op": "wait", "ms": milliseconds}:
                await tree.let_pass(milliseconds / 1000)
                return "ok"
            case {"sup": id}:
                if id not in tree.types:
                    return NO_PROCESS
                return await self.ask("operator", lambda: self.supervise(op, id))
            case _:
                raise ScenarioError(f"not an operation of this family: {op}")

    async def ask(self, by: str, act: Callable[[], Awaitable[Json]]) -> Json:
        """Have one of those who act do something, and wait until nothing moves."""
        order = self.tree.order(by, "", act)
        await self.tree.settle()
        return "busy" if order is None else self.tree.collect(order)

    async def to_process(self, by: str, id: str, act: Callable[[Pid], None]) -> Json:
        """Do something to the newest process of an id, if it is alive."""
        pid = self.tree.pids.get(id)
        if pid is None or not exeunt.is_alive(pid):
            return NO_PROCESS

        async def perform() -> Json:
            act(pid)
            return "ok"

        return await self.ask(by, perform)

    async def tell(self, id: str, act: Callable[[], Stop]) -> Json:
        """Tell a worker to do something to itself."""
        return await self.to_process("stranger", id, lambda pid: exeunt.send(pid, Tell(act)))

    async def start_tree(self) -> Json:
        """Start the tree, in its parent."""
        kind = Dynamic if self.spec["type"] == "dynamic" else Static
        try:
            pid = await kind.start_link(self.tree, self.spec, None)
        except StartFailed as error:
            return ["error", reason_json(error.reason)]
        return ["ok", self.tree.who(pid)]

    async def supervise(self, op: Op, id: str) -> Json:
        """Ask a supervisor something, in the operator."""
        tree = self.tree
        supervisor = tree.pids[id]
        is_dynamic = tree.types[id] == "dynamic"
        kind = DynamicSupervisor if is_dynamic else Supervisor
        try:
            match op:
                case {"op": "terminate_child", "child": child}:
                    if is_dynamic:
                        # Of an id that never was there is no pid: then that of somebody else.
                        pid = tree.pids.get(child, tree.pids["stranger"])
                        await DynamicSupervisor.terminate_child(supervisor, pid)
                    else:
                        await Supervisor.terminate_child(supervisor, child)
                    return "ok"
                case {"op": "restart_child", "child": child}:
                    started = await Supervisor.restart_child(supervisor, child)
                    return ["ok", None if started is None else tree.who(started)]
                case {"op": "delete_child", "child": child}:
                    await Supervisor.delete_child(supervisor, child)
                    return "ok"
                case {"op": "start_child", "spec": spec}:
                    started = await kind.start_child(supervisor, tree.child(spec, id))
                    if started is None and is_dynamic:
                        return "ignore"
                    return ["ok", None if started is None else tree.who(started)]
                case {"op": "which_children"}:
                    children = await kind.which_children(supervisor)
                    found = [
                        [
                            self.id_of(one.id, one.pid, is_dynamic),
                            "running" if isinstance(one.pid, Pid) else one.pid,
                            one.type,
                        ]
                        for one in children
                    ]
                    return sorted(found, key=lambda one: [(key is not None, key) for key in one])
                case {"op": "count_children"}:
                    count = await kind.count_children(supervisor)
                    return {
                        "specs": count.specs,
                        "active": count.active,
                        "workers": count.workers,
                        "supervisors": count.supervisors,
                    }
                case {"op": "stop", "reason": reason}:
                    await exeunt.stop(supervisor, to_reason(reason))
                    return "ok"
                case _:
                    raise ScenarioError(f"not an operation of this family: {op}")
        except CallFailed as error:
            return ["exit", reason_json(error.reason)]
        except ChildError as error:
            return ["error", error.condition]
        except MaxChildren:
            return ["error", "max_children"]
        except AlreadyStarted as error:
            return ["error", ["already_started", tree.who(error.pid)]]
        except StartFailed as error:
            return ["error", reason_json(error.reason)]

    def id_of(self, id: object, pid: object, is_dynamic: bool) -> Json:
        """Return the id of a child; in a dynamic supervisor it is that of its process."""
        if not is_dynamic:
            return id
        return self.tree.who(pid) if isinstance(pid, Pid) else None
