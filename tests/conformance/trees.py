"""A plain model of supervision: what a scenario of the family "supervisor" must give.

No trio and nothing of exeunt: a tree of objects, each supervisor with a queue of what it is yet to
deal with, and everything in it one after the other. That is right for scenarios in which only one
process acts by itself. The rules are those of OTP's `supervisor` and Elixir's `DynamicSupervisor`;
that they are told rightly here is shown by the recorded traces.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any, TypeAlias

from tests.conformance.traces import Json

Op: TypeAlias = dict[str, Any]
Spec: TypeAlias = dict[str, Any]


class Failed(Exception):
    """A start has failed, for this reason."""

    def __init__(self, reason: Json) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(eq=False, slots=True)
class Child:
    """A child as its supervisor knows it: `actor` is None where it does not run."""

    spec: Spec
    actor: Worker | Static | Dynamic | None = None
    is_restarting: bool = False

    @property
    def id(self) -> str:
        """The id of the child."""
        return str(self.spec["id"])

    @property
    def restart(self) -> str:
        """When it is started again."""
        return str(self.spec.get("restart", "permanent"))

    @property
    def type(self) -> str:
        """What `which_children` calls it."""
        return "worker" if self.spec.get("type", "worker") == "worker" else "supervisor"


def is_orderly(reason: Json) -> bool:
    """Tell whether a reason is no reason to restart a transient child."""
    return reason in ("normal", "shutdown") or (
        isinstance(reason, list) and len(reason) == 2 and reason[0] == "shutdown"
    )


@dataclass(eq=False, slots=True)
class Worker:
    """A worker that is alive, or was."""

    forest: Forest
    spec: Spec
    parent: Static | Dynamic
    is_alive: bool = True

    @property
    def id(self) -> str:
        """The id of the worker."""
        return str(self.spec["id"])

    def end(self, reason: Json) -> None:
        """Be dead, and have the supervisor hear of it."""
        self.is_alive = False
        self.forest.happen("exit", self.id, reason, by=self)
        self.parent.queue.append((self, reason))

    def terminate(self, reason: Json, budget: float | None = None) -> None:
        """Run the callback and end; with a budget in milliseconds, be killed when it is over."""
        self.forest.happen("terminate", self.id, reason, by=self)
        match self.spec.get("terminate", "ok"):
            case ["exit", other]:
                self.end(other)
            case ["raise", kind]:
                self.end(["error", kind])
            case ["sleep", milliseconds] if budget is not None and milliseconds > budget:
                self.end("killed")
            case "hang":
                if budget is not None:
                    self.end("killed")
            case _:
                self.end(reason)

    def signal(self, sender: str, reason: Json) -> None:
        """Receive an exit signal of somebody who is not the supervisor."""
        if reason == "kill":
            self.end("killed")
        elif self.spec.get("trap"):
            self.forest.happen("info", self.id, ["EXIT", sender, reason], by=self)
        elif reason != "normal":
            self.end(reason)

    def lose_supervisor(self, reason: Json) -> None:
        """Receive the exit signal of the supervisor."""
        if self.spec.get("trap"):
            self.terminate(reason)
        else:
            self.end(reason)

    def shut_down(self) -> None:
        """Be told to end by the supervisor."""
        budget = self.spec.get("shutdown", 5000)
        if budget == "brutal_kill":
            self.end("killed")
        elif self.spec.get("trap"):
            self.terminate("shutdown", None if budget == "infinity" else budget)
        else:
            self.end("shutdown")


class Supervisor:
    """What both kinds of supervisors have in common."""

    kind = ""

    def __init__(self, forest: Forest, spec: Spec, parent: Supervisor | None) -> None:
        self.forest = forest
        self.spec = spec
        self.id: str = spec["id"]
        self.parent = parent
        self.is_alive = True
        self.children: list[Child] = []
        # What has come and is not dealt with: a child with its exit reason, or one to try again.
        self.queue: deque[tuple[Any, Json]] = deque()
        self.restarts: list[float] = []
        forest.newest[self.id] = self
        forest.kinds[self.id] = self.kind
        forest.happen("start", self.id, by=self)

    def report(self, context: str, id: str, reason: Json) -> None:
        """Log something."""
        self.forest.happen("report", self.id, context, id, reason, by=self, about=id)

    def may_restart(self) -> bool:
        """Count a restart; False if it is one too many."""
        now, period = self.forest.now // 1000, self.spec.get("max_seconds", 3600)
        self.restarts = [now, *(one for one in self.restarts if now - one <= period)]
        most: int = self.spec.get("max_restarts", 3)
        return len(self.restarts) <= most

    def stop(self, reason: Json) -> None:
        """End in order."""
        self.shut_all_down()
        self.end(reason)

    def shut_down(self) -> None:
        """Be told to end by the supervisor above."""
        self.stop("shutdown")

    def end(self, reason: Json) -> None:
        """Be dead, and have the supervisor above hear of it."""
        self.is_alive = False
        self.forest.happen("exit", self.id, reason, by=self)
        if self.parent is not None:
            self.parent.queue.append((self, reason))

    def lose_supervisor(self, reason: Json) -> None:
        """Receive the exit signal of the supervisor above."""
        self.stop(reason)

    def signal(self, sender: str, reason: Json) -> None:
        """Receive an exit signal: of others than the parent only `kill` counts."""
        if reason == "kill":
            self.end("killed")
            for child in self.children:
                if child.actor is not None:
                    child.actor.lose_supervisor("killed")
        elif sender == "parent":
            self.stop(reason)

    def work(self) -> bool:
        """Deal with the first thing in the queue; False if there is none."""
        if not self.queue or not self.is_alive:
            return False
        what, reason = self.queue.popleft()
        if isinstance(what, Child):
            if what.is_restarting and what in self.children:
                self.restart(what)
            return True
        for child in self.children:
            if child.actor is what:
                child.actor = None
                self.has_ended(child, reason)
                break
        return True

    def has_ended(self, child: Child, reason: Json) -> None:
        """Decide what becomes of a child that has ended by itself."""
        if child.restart == "permanent" or not is_orderly(reason):
            self.report("child_terminated", child.id, reason)
        if child.restart == "permanent" or (
            child.restart == "transient" and not is_orderly(reason)
        ):
            self.restart(child)
        else:
            self.is_over(child)

    def restart(self, child: Child) -> None:
        """Start a child again, and whom it concerns."""
        child.is_restarting = False
        if not self.may_restart():
            self.report("shutdown", child.id, "reached_max_restart_intensity")
            self.stop("shutdown")
            return
        failed = self.start_again(child)
        if failed is not None:
            failed.is_restarting = True
            self.queue.append((failed, None))

    def reason_of_end(self, actor: Worker | Supervisor) -> Json:
        """Take the end of a child out of the queue."""
        (entry,) = [one for one in self.queue if one[0] is actor]
        self.queue.remove(entry)
        return entry[1]

    def start_again(self, child: Child) -> Child | None:
        """Start what is to be started; return the child that fails, if one does."""
        raise NotImplementedError

    def is_over(self, child: Child) -> None:
        """Deal with a child that is not started again."""
        raise NotImplementedError

    def shut_all_down(self) -> None:
        """Shut all children down."""
        raise NotImplementedError


class Static(Supervisor):
    """OTP's supervisor."""

    kind = "supervisor"

    def start_all(self) -> None:
        """Start the first children; raise `Failed` if one does not start."""
        self.children = [Child(spec) for spec in self.spec.get("children", [])]
        failed = self.start_these(list(self.children))
        if failed is not None:
            child, reason = failed
            why = ["shutdown", ["failed_to_start_child", child.id, reason]]
            self.shut_all_down()
            self.end(why)
            if self.parent is not None:
                self.parent.reason_of_end(self)
            raise Failed(why)

    def start_these(self, children: list[Child]) -> tuple[Child, Json] | None:
        """Start children in order; return the first that fails, with the reason."""
        for child in children:
            try:
                child.actor = self.forest.start(child.spec, self)
            except Failed as error:
                self.report("start_error", child.id, error.reason)
                return child, error.reason
            if child.actor is None and child.restart == "temporary":
                self.children.remove(child)
        return None

    def start_again(self, child: Child) -> Child | None:
        strategy, place = self.spec.get("strategy", "one_for_one"), self.children.index(child)
        concerned = {
            "one_for_one": [child],
            "rest_for_one": self.children[place:],
            "one_for_all": self.children[:],
        }[strategy]
        for one in reversed(concerned):
            self.shut_child_down(one)
        failed = self.start_these([one for one in concerned if one in self.children])
        return None if failed is None else failed[0]

    def shut_child_down(self, child: Child) -> None:
        """Shut a child down, and forget it if it is temporary."""
        actor, child.actor = child.actor, None
        child.is_restarting = False
        if actor is not None:
            if actor.is_alive:
                actor.shut_down()
            reason = self.reason_of_end(actor)
            wanted = "killed" if child.spec.get("shutdown") == "brutal_kill" else "shutdown"
            if reason != wanted and (child.restart == "permanent" or not is_orderly(reason)):
                self.report("shutdown_error", child.id, reason)
        if child.restart == "temporary":
            self.children.remove(child)

    def shut_all_down(self) -> None:
        for child in reversed(self.children[:]):
            self.shut_child_down(child)

    def is_over(self, child: Child) -> None:
        if child.restart == "temporary":
            self.children.remove(child)
        how = self.spec.get("auto_shutdown", "never")
        if not child.spec.get("significant") or how == "never":
            return
        others = [one for one in self.children if one.spec.get("significant")]
        if how == "any_significant" or not any(one.actor or one.is_restarting for one in others):
            self.stop("shutdown")

    def find(self, id: str) -> Child | None:
        """Return the child of an id."""
        return next((one for one in self.children if one.id == id), None)

    def ask(self, op: Op) -> Json:
        """Answer a request."""
        if op["op"] == "start_child":
            return self.start_child(op["spec"])
        child = self.find(op["child"])
        if child is None:
            return ["error", "not_found"]
        if op["op"] == "terminate_child":
            self.shut_child_down(child)
            return "ok"
        if child.actor is not None:
            return ["error", "running"]
        if op["op"] == "delete_child":
            self.children.remove(child)
            return "ok"
        try:
            child.actor = self.forest.start(child.spec, self)
        except Failed as error:
            return ["error", error.reason]
        return ["ok", None if child.actor is None else child.id]

    def start_child(self, spec: Spec) -> Json:
        """Start another child."""
        known = self.find(spec["id"])
        if known is not None:
            if known.actor is not None:
                return ["error", ["already_started", known.id]]
            return ["error", "already_present"]
        child = Child(spec)
        try:
            child.actor = self.forest.start(spec, self)
        except Failed as error:
            return ["error", error.reason]
        if child.actor is not None or child.restart != "temporary":
            self.children.append(child)
        return ["ok", None if child.actor is None else child.id]


class Dynamic(Supervisor):
    """Elixir's DynamicSupervisor."""

    kind = "dynamic"

    def start_again(self, child: Child) -> Child | None:
        try:
            child.actor = self.forest.start(child.spec, self)
        except Failed as error:
            self.report("start_error", child.id, error.reason)
            return child
        if child.actor is None:
            self.children.remove(child)
        return None

    def is_over(self, child: Child) -> None:
        self.children.remove(child)

    def shut_all_down(self) -> None:
        children, self.children = self.children, []
        errors = [self.shut_one_down(child) for child in children if child.actor is not None]
        for id, reason in filter(None, errors):
            self.report("shutdown_error", id, reason)

    def shut_one_down(self, child: Child) -> tuple[str, Json] | None:
        """Shut a child down; return what is to be reported."""
        actor = child.actor
        assert actor is not None
        if actor.is_alive:
            actor.shut_down()
        reason = self.reason_of_end(actor)
        if child.spec.get("shutdown") == "brutal_kill":
            is_right = reason == "killed"
        else:
            is_right = is_orderly(reason) and (reason, child.restart) != ("normal", "permanent")
        return None if is_right else (child.id, reason)

    def ask(self, op: Op) -> Json:
        """Answer a request."""
        if op["op"] == "terminate_child":
            actor = self.forest.newest.get(op["child"])
            for child in self.children:
                if child.actor is actor and actor is not None:
                    self.children.remove(child)
                    error = self.shut_one_down(child)
                    if error is not None:
                        self.report("shutdown_error", *error)
                    return "ok"
            return ["error", "not_found"]
        limit = self.spec.get("max_children")
        if limit is not None and len(self.children) >= limit:
            return ["error", "max_children"]
        child = Child(op["spec"])
        try:
            child.actor = self.forest.start(child.spec, self)
        except Failed as error:
            return ["error", error.reason]
        if child.actor is None:
            return "ignore"
        self.children.append(child)
        return ["ok", child.id]


@dataclass(frozen=True, slots=True)
class Event:
    """An event of a trace, of a child of the supervisor `parent`."""

    what: list[Json]
    about: str
    parent: str | None


@dataclass(eq=False, slots=True)
class Forest:
    """All that has been started in one scenario."""

    newest: dict[str, Worker | Supervisor] = field(default_factory=dict[str, "Worker | Supervisor"])
    kinds: dict[str, str] = field(default_factory=dict[str, str])
    starts: dict[str, int] = field(default_factory=dict[str, int])
    events: list[Event] = field(default_factory=list[Event])
    now: float = 0.0

    def happen(self, *what: Json, by: Worker | Supervisor, about: str | None = None) -> None:
        """Note an event; `about` is the child that a report of `by` is about."""
        parent = by if about is not None else by.parent
        self.events.append(
            Event([*what], about or by.id, parent.id if isinstance(parent, Supervisor) else None)
        )

    def start(self, spec: Spec, parent: Any) -> Any:
        """Start a child; None if it ignores; raise `Failed` if it does not start."""
        kind = spec.get("type", "worker")
        if kind == "dynamic":
            return Dynamic(self, spec, parent)
        if kind == "supervisor":
            supervisor = Static(self, spec, parent)
            supervisor.start_all()
            return supervisor
        id = spec["id"]
        count = self.starts[id] = self.starts.get(id, 0) + 1
        starts = spec.get("starts", ["ok"])
        outcome = starts[min(count, len(starts)) - 1]
        worker = Worker(self, spec, parent)
        match outcome:
            case "ok" | ["dies", _]:
                self.newest[id] = worker
                self.happen("start", id, "ok", by=worker)
                if outcome != "ok":
                    worker.terminate(outcome[1])
                return worker
            case "ignore":
                self.happen("start", id, "ignore", by=worker)
                self.note_failure(worker)
                return None
            case ["error", reason]:
                why = reason
            case _:
                why = ["error", outcome[1]]
        self.happen("start", id, ["error", why], by=worker)
        self.note_failure(worker)
        raise Failed(why)

    def note_failure(self, worker: Worker) -> None:
        """Have a worker that did not come up be the newest of its id all the same."""
        worker.is_alive = False
        self.newest[worker.id] = worker

    def step(self, op: Op, tree: Spec) -> dict[str, Json]:
        """Do an operation and return the step of the trace."""
        self.events = []
        result = self.perform(op, tree)
        while any(one.work() for one in list(self.newest.values()) if isinstance(one, Supervisor)):
            pass
        if op["op"] == "start" and result == ["ok", "root"]:
            result = ["ok", tree["id"]]
        events = self.in_order()
        return {"result": result, **({"events": events} if events else {})}

    def perform(self, op: Op, tree: Spec) -> Json:
        """Do an operation."""
        match op:
            case {"op": "start"}:
                try:
                    self.start(tree, None)
                except Failed as error:
                    return ["error", error.reason]
                return ["ok", tree["id"]]
            case {"op": "wait", "ms": milliseconds}:
                self.now += milliseconds
                return "ok"
            case {"sup": id}:
                supervisor = self.newest.get(id)
                if supervisor is None:
                    return "no_process"
                if not supervisor.is_alive:
                    return ["exit", "noproc"]
                assert isinstance(supervisor, (Static, Dynamic))
                return self.ask(supervisor, op)
            case _:
                actor = self.newest.get(op["to"] if op["op"] == "signal" else op["child"])
                if actor is None or not actor.is_alive:
                    return "no_process"
                if op["op"] == "signal":
                    actor.signal(op.get("from", "stranger"), op["reason"])
                else:
                    assert isinstance(actor, Worker)
                    actor.terminate(
                        op["reason"] if op["op"] == "exit_child" else ["error", op["kind"]]
                    )
                return "ok"

    def ask(self, supervisor: Static | Dynamic, op: Op) -> Json:
        """Have a supervisor answer a request."""
        match op["op"]:
            case "stop":
                supervisor.stop(op["reason"])
                return "ok"
            case "which_children":
                return sorted(
                    [child.id, None if child.actor is None else "running", child.type]
                    for child in supervisor.children
                )
            case "count_children":
                supervisors = sum(one.type == "supervisor" for one in supervisor.children)
                return {
                    "specs": len(supervisor.children),
                    "active": sum(one.actor is not None for one in supervisor.children),
                    "supervisors": supervisors,
                    "workers": len(supervisor.children) - supervisors,
                }
            case _:
                return supervisor.ask(op)

    def in_order(self) -> list[Json]:
        """Return the events; what happens side by side is ordered by the child's id."""
        killed: set[str] = set()
        keyed: list[tuple[Json, Event]] = []
        for event in self.events:
            is_dynamic = event.parent is not None and self.kinds[event.parent] == "dynamic"
            key: Json = None
            if event.what[0] in ("terminate", "exit") and (is_dynamic or event.parent in killed):
                key = ("end", event.parent)
            elif event.what[0] == "report" and event.what[2] == "shutdown_error" and is_dynamic:
                key = ("report", event.parent)
            if event.what[0] == "exit" and event.what[2] == "killed" and event.about in self.kinds:
                killed.add(event.about)
            keyed.append((key, event))
        events: list[Json] = []
        for key, run in groupby(keyed, key=lambda one: one[0]):
            group = [event for _, event in run]
            if key is not None:
                group.sort(key=lambda event: event.about)
            events += [event.what for event in group]
        return events


def trace_of(scenario: dict[str, Any]) -> list[dict[str, Json]]:
    """Return the steps of the trace that a scenario must give."""
    forest = Forest()
    return [forest.step(op, scenario["tree"]) for op in scenario["ops"]]
