"""The family "signals": processes as such."""

from __future__ import annotations

from typing import Any

import trio
from trio.testing import MockClock

import exeunt
from exeunt import (
    AlreadyNamed,
    Down,
    Exit,
    NameTaken,
    Node,
    NoProcess,
    NotRegistered,
    Pid,
    ProcessExit,
    Ref,
)
from tests.conformance.terms import (
    Fired,
    Plain,
    ScenarioError,
    exception,
    seconds,
    to_reason,
)
from tests.conformance.traces import Json, text
from tests.conformance.world import SKIPPED, Op, Return, Step, World

NOPROC = ["raise", "noproc"]
BADARG = ["raise", "badarg"]


class Signals:
    """Does the operations of the family "signals"."""

    def __init__(self, node: Node, clock: MockClock, scenario: dict[str, Any]) -> None:
        self.world = World(node, clock)
        self.procs = scenario["procs"]
        self.timers: dict[str, Ref] = {}

    async def begin(self) -> None:
        """Start the processes."""
        for one in self.procs:
            self.world.drive(one["p"], traps=one.get("trap", False))
        await self.world.settle()

    async def do(self, index: int, op: Op) -> Step:
        """Do one operation."""
        world = self.world
        world.step = index
        by = op.get("by")
        if by is None:
            result = self.perform("controller", op)
            await world.settle()
        else:

            async def act() -> Json:
                if op["op"] == "batch":
                    return [self.perform(by, one) for one in op["ops"]]
                return self.perform(by, op)

            order = world.order(by, "", act)
            await world.settle()
            result = SKIPPED if order is None else world.collect(order)
        changes = world.look("mailbox", "links", "monitors")
        return {"result": result, **({"changes": changes} if changes else {})}

    def perform(self, by: str, op: Op) -> Json:
        """Do one operation in the process that is running now, which is that of the label `by`."""
        world = self.world
        for key in ("to", "pid"):
            if key in op and not world.knows(op[key]):
                return SKIPPED
        match op:
            case {"op": "spawn", "as": label}:
                return self.spawn(by, label, op)
            case {"op": "link", "to": to}:
                try:
                    exeunt.link(world.pids[to])
                except NoProcess:
                    return NOPROC
            case {"op": "unlink", "to": to}:
                exeunt.unlink(world.pids[to])
            case {"op": "monitor", "to": to, "ref": ref}:
                world.monitor(by, ref, to)
            case {"op": "demonitor", "ref": ref}:
                owner, monitor = world.monitors.get(ref, (None, None))
                if monitor is None or owner != by:
                    return SKIPPED
                return exeunt.demonitor(monitor, flush=op.get("flush", False))
            case {"op": "trap", "on": on}:
                return exeunt.trap_exit(on)
            case {"op": "exit_signal", "to": to, "reason": reason}:
                exeunt.exit(world.pids[to], to_reason(reason))
            case {"op": "exit", "reason": reason}:
                raise ProcessExit(to_reason(reason))
            case {"op": "raise", "kind": kind}:
                raise exception(kind)
            case {"op": "return"}:
                raise Return
            case {"op": "send", "to": to, "msg": body}:
                try:
                    exeunt.send(world.find(to), Plain(by, body))
                except NotRegistered:
                    return BADARG
            case {"op": "register", "name": name}:
                pid = world.pids[op["pid"]] if "pid" in op else None
                try:
                    exeunt.register(name, pid)
                except (NameTaken, AlreadyNamed, NoProcess):
                    return BADARG
            case {"op": "unregister", "name": name}:
                try:
                    exeunt.unregister(name)
                except NotRegistered:
                    return BADARG
            case {"op": "whereis", "name": name}:
                holder = exeunt.whereis(name)
                return None if holder is None else world.who(holder)
            case {"op": "alive", "pid": label}:
                return exeunt.is_alive(world.pids[label])
            case {"op": "recv", "match": match}:
                return self.receive(match)
            case {"op": "send_after", "to": to, "msg": body, "ms": ms, "ref": ref}:
                self.timers[ref] = exeunt.send_after(seconds(ms), world.find(to), Fired(ref, body))
            case {"op": "cancel_timer", "ref": ref}:
                if ref not in self.timers:
                    return SKIPPED
                return exeunt.cancel_timer(self.timers[ref]) is not None
            case _:
                raise ScenarioError(f"not an operation of this family: {op}")
        return "ok"

    def spawn(self, by: str, label: str, op: Op) -> Json:
        """Spawn another driven process."""
        world = self.world
        match op.get("how", "plain"):
            case "plain":
                world.drive(label)
            case "link":
                world.drive(label, exeunt.spawn_link)
            case "monitor":
                refs: list[Ref] = []

                def spawn(body: Any, *args: Any) -> Pid:
                    pid, ref = exeunt.spawn_monitor(body, *args)
                    refs.append(ref)
                    return pid

                world.drive(label, spawn)
                world.note_monitor(by, op["ref"], refs[0])
            case how:
                raise ScenarioError(f"no way to spawn: {how}")
        return "ok"

    def receive(self, match: Json) -> Json:
        """Take the first message that matches out of the mailbox of the running process."""
        world = self.world
        message: object
        try:
            match match:
                case "any":
                    message = exeunt.receive_nowait()
                case ["msg", sender]:
                    message = exeunt.receive_nowait(Plain, lambda one: one.sender == sender)
                case ["msg", sender, body]:
                    # As text: to Python, but to no JSON, 1 and true are the same.
                    wanted = (sender, text(body))
                    message = exeunt.receive_nowait(
                        Plain, lambda one: (one.sender, text(one.body)) == wanted
                    )
                case ["EXIT", who]:
                    message = exeunt.receive_nowait(Exit, lambda one: world.who(one.pid) == who)
                case ["DOWN", ref]:
                    message = exeunt.receive_nowait(Down, lambda one: world.which(one.ref) == ref)
                case ["timer", ref]:
                    message = exeunt.receive_nowait(Fired, lambda one: one.timer == ref)
                case _:
                    raise ScenarioError(f"nothing to match with: {match}")
        except trio.WouldBlock:
            return "empty"
        return world.message(message)
