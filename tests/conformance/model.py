"""A plain model of the rules of signals: what a scenario of the family "signals" must give.

Dictionaries and loops, no trio, nothing of exeunt: processes here are entries in a table, and a
death takes effect on everybody at once. That is right for the scenarios that have one outcome,
which are those worth writing down. The rules are those of the Erlang reference manual, chapter
"Processes"; that they are told rightly here is shown by the recorded traces.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, TypeAlias

from tests.conformance.traces import Json, canonical, text

Op: TypeAlias = dict[str, Any]

SHORT = 1_000
"""Milliseconds below which a timer is part of the step that starts it."""


class Ended(Exception):
    """The acting process has ended in the middle of what it does."""


@dataclass(eq=False, slots=True)
class Process:
    """An entry of the process table."""

    label: str
    traps: bool = False
    name: str | None = None
    exit: Json = None
    is_alive: bool = True
    links: set[str] = field(default_factory=set[str])
    # Those that are active: the monitor's label, the process, and how it is shown.
    monitors: dict[str, tuple[str, Json]] = field(default_factory=dict[str, tuple[str, Json]])
    # Each message with the step in which it came, and whose it is.
    mailbox: list[tuple[int, str, Json]] = field(default_factory=list[tuple[int, str, Json]])


@dataclass(eq=False, slots=True)
class Timer:
    """A timer that has not come."""

    label: str
    to: Json
    body: Json
    milliseconds: float


class Model:
    """All processes of a scenario, and what each operation does to them."""

    def __init__(self, procs: list[dict[str, Any]]) -> None:
        self.processes: dict[str, Process] = {}
        self.names: dict[str, str] = {}
        self.timers: dict[str, Timer] = {}
        # Who made which monitor, and who started which timer, be they over or not.
        self.monitor_owners: dict[str, str] = {}
        self.started_timers: set[str] = set()
        self.step_number = -1
        self._shown: dict[str, dict[str, Json]] = {}
        for one in procs:
            self.add(one["p"], traps=one.get("trap", False))

    def add(self, label: str, traps: bool = False) -> Process:
        """Enter a new process into the table."""
        process = self.processes[label] = Process(label, traps)
        self._shown[label] = {"mailbox": [], "links": [], "monitors": []}
        return process

    # -- signals ----------------------------------------------------------------------------------

    def deliver(self, to: str, sender: str, message: Json) -> None:
        """Put a message into a mailbox; one for the dead is lost."""
        process = self.processes[to]
        if process.is_alive:
            process.mailbox.append((self.step_number, sender, message))

    def signal(self, to: str, sender: str, reason: Json, *, from_link: bool = False) -> None:
        """Let an exit signal arrive."""
        process = self.processes[to]
        if not process.is_alive:
            return
        if reason == "kill" and not from_link:
            self.end(to, "killed")
        elif process.traps:
            self.deliver(to, sender, ["EXIT", sender, reason])
        elif reason != "normal" or (sender == to and not from_link):
            self.end(to, reason)

    def end(self, label: str, reason: Json) -> None:
        """End a process, and all that ends with it."""
        process = self.processes[label]
        process.is_alive, process.exit = False, reason
        if process.name is not None:
            del self.names[process.name]
        for timer in [one for one in self.timers.values() if one.to == label]:
            del self.timers[timer.label]
        process.monitors.clear()
        linked, process.links = process.links, set()
        for other in linked:
            self.processes[other].links.discard(label)
        for watcher in self.processes.values():
            for ref, (target, shown) in list(watcher.monitors.items()):
                if target == label:
                    del watcher.monitors[ref]
                    self.deliver(watcher.label, label, ["DOWN", ref, shown, reason])
        for other in linked:
            self.signal(other, label, reason, from_link=True)

    def fire(self) -> None:
        """Let the short timers come, the shortest first."""
        for timer in sorted(self.timers.values(), key=lambda one: one.milliseconds):
            if timer.milliseconds < SHORT and timer.label in self.timers:
                del self.timers[timer.label]
                to = self.names.get(timer.to["name"]) if isinstance(timer.to, dict) else timer.to
                if to is not None:
                    self.deliver(to, timer.label, ["timer", timer.label, timer.body])

    # -- steps ------------------------------------------------------------------------------------

    def step(self, op: Op) -> dict[str, Json]:
        """Do an operation and return the step of the trace."""
        self.step_number += 1
        by = op.get("by")
        result: Json
        if by is not None and not self.is_alive(by):
            result = "skipped"
        else:
            try:
                if op["op"] == "batch":
                    result = [self.perform(by, one) for one in op["ops"]]
                else:
                    result = self.perform(by, op)
            except Ended:
                result = "died"
            self.fire()
            if by is not None and result != "skipped" and not self.is_alive(by):
                result = "died"
        changes = self.changes()
        return {"result": result, **({"changes": changes} if changes else {})}

    def is_alive(self, label: str) -> bool:
        """Tell whether there is such a process, alive."""
        return label in self.processes and self.processes[label].is_alive

    def changes(self) -> dict[str, Json]:
        """Return what is different from the last time."""
        changes: dict[str, Json] = {}
        for label, before in list(self._shown.items()):
            process = self.processes[label]
            if not process.is_alive:
                changes[label] = {"exit": process.exit}
                del self._shown[label]
                continue
            now: dict[str, Json] = {
                "mailbox": canonical(process.mailbox),
                "links": sorted(process.links),
                "monitors": sorted(
                    f"name:{shown['name']}" if isinstance(shown, dict) else target
                    for target, shown in process.monitors.values()
                ),
            }
            change = {key: value for key, value in now.items() if value != before[key]}
            if change:
                changes[label] = change
            self._shown[label] = now
        return changes

    # -- operations -------------------------------------------------------------------------------

    def resolve(self, to: Json) -> str | None:
        """Return the process that is meant, None for a name that nobody has."""
        if isinstance(to, dict):
            return self.names.get(to["name"])
        label: str = to
        return label

    def perform(self, by: str | None, op: Op) -> Json:
        """Do one operation; raise `Ended` if that ends the process that does it."""
        for key in ("to", "pid"):
            if isinstance(op.get(key), str) and op[key] not in self.processes:
                return "skipped"
        if op["op"] == "whereis":
            return self.names.get(op["name"])
        if op["op"] == "alive":
            return self.is_alive(op["pid"])
        assert by is not None
        result = self.act(by, op)
        if not self.is_alive(by):
            raise Ended
        return result

    def act(self, by: str, op: Op) -> Json:
        """Do an operation that a process does."""
        me = self.processes[by]
        match op["op"]:
            case "spawn":
                child = self.add(op["as"])
                if op.get("how") == "link":
                    me.links.add(child.label)
                    child.links.add(by)
                elif op.get("how") == "monitor":
                    self.monitor_owners[op["ref"]] = by
                    me.monitors[op["ref"]] = (child.label, child.label)
            case "link":
                return self.link(me, op["to"])
            case "unlink":
                me.links.discard(op["to"])
                self.processes[op["to"]].links.discard(by)
            case "monitor":
                self.monitor(me, op["ref"], op["to"])
            case "demonitor":
                if self.monitor_owners.get(op["ref"]) != by:
                    return "skipped"
                was_active = me.monitors.pop(op["ref"], None) is not None
                if op.get("flush"):
                    self.take(me, ["DOWN", op["ref"]])
                return was_active
            case "trap":
                before, me.traps = me.traps, op["on"]
                return before
            case "exit_signal":
                self.signal(op["to"], by, op["reason"])
            case "exit":
                self.end(by, op["reason"])
            case "raise":
                self.end(by, ["error", op["kind"]])
            case "return":
                self.end(by, "normal")
            case "send":
                to = self.resolve(op["to"])
                if to is None:
                    return ["raise", "badarg"]
                self.deliver(to, by, ["msg", by, op["msg"]])
            case "register":
                target = self.processes[op.get("pid", by)]
                if not target.is_alive or target.name is not None or op["name"] in self.names:
                    return ["raise", "badarg"]
                target.name = op["name"]
                self.names[op["name"]] = target.label
            case "unregister":
                if op["name"] not in self.names:
                    return ["raise", "badarg"]
                self.processes[self.names.pop(op["name"])].name = None
            case "recv":
                taken = self.take(me, op["match"])
                return "empty" if taken is None else taken
            case "send_after":
                self.started_timers.add(op["ref"])
                if isinstance(op["to"], dict) or self.is_alive(op["to"]):
                    self.timers[op["ref"]] = Timer(op["ref"], op["to"], op["msg"], op["ms"])
            case "cancel_timer":
                if op["ref"] not in self.started_timers:
                    return "skipped"
                return self.timers.pop(op["ref"], None) is not None
            case other:
                raise ValueError(f"not an operation: {other}")
        return "ok"

    def link(self, me: Process, to: str) -> Json:
        """Link a process to another."""
        if to == me.label:
            return "ok"
        if self.is_alive(to):
            me.links.add(to)
            self.processes[to].links.add(me.label)
        elif me.traps:
            self.deliver(me.label, to, ["EXIT", to, "noproc"])
        else:
            return ["raise", "noproc"]
        return "ok"

    def monitor(self, me: Process, ref: str, to: Json) -> None:
        """Have a process monitor another."""
        self.monitor_owners[ref] = me.label
        target = self.resolve(to)
        if target is None:
            self.deliver(me.label, to["name"], ["DOWN", ref, to, "noproc"])
        elif not self.is_alive(target):
            self.deliver(me.label, target, ["DOWN", ref, to, "noproc"])
        elif target != me.label:
            me.monitors[ref] = (target, to)

    def take(self, me: Process, match: Json) -> Json:
        """Take the first message that matches out of a mailbox; None if there is none."""
        for index, (_, _, message) in enumerate(me.mailbox):
            if match == "any" or text(message[: len(match)]) == text(match):
                del me.mailbox[index]
                return message
        return None


def trace_of(scenario: dict[str, Any]) -> list[dict[str, Json]]:
    """Return the steps of the trace that a scenario must give."""
    model = Model(scenario["procs"])
    return [model.step(op) for op in scenario["ops"]]
