"""A plain model of servers and their clients: what a scenario of the family "genserver" must give.

No trio and nothing of exeunt: processes are objects, a server has a queue, and one thing happens
after the other. That is right for scenarios that have one outcome. The rules are those of OTP's
`gen_server`; that they are told rightly here is shown by the recorded traces. The effect "call", a
server that waits for another one, is not modelled: `Unmodelled` is raised.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from math import inf
from typing import Any, Literal, TypeAlias

from tests.conformance.traces import Json, canonical

Op: TypeAlias = dict[str, Any]
Script: TypeAlias = dict[str, Any]

SHORT = 1_000
"""Milliseconds below which a time-out is part of the step that sets it."""

PENDING = "pending"


class Unmodelled(Exception):
    """The scenario does something that this model does not know."""


class Ended(Exception):
    """A callback has ended the server that runs it, for this reason."""

    def __init__(self, reason: Json, reply: Json = ...) -> None:
        super().__init__(reason)
        self.reason = reason
        # Sent when terminate is done; ... is none.
        self.reply = reply


@dataclass(eq=False, slots=True)
class Order:
    """An operation of a client that waits for something."""

    label: str
    client: Process
    kind: str
    # What it waits for: the end of this server, or what that does with the request.
    server: Process
    deadline: float = inf
    is_uncaught: bool = False
    reason: Json = None
    result: Json = PENDING


@dataclass(eq=False, slots=True)
class Message:
    """An entry of a server's queue."""

    kind: Literal["call", "cast", "info", "system", "EXIT", "other"]
    # Of a call, a cast and an info the script; of any other message how a trace shows it.
    body: Json = None
    order: Order | None = None
    value: Json = None


@dataclass(eq=False, slots=True)
class Process:
    """A client or a server."""

    label: str
    traps: bool = False
    exit: Json = ...
    name: str | None = None
    links: list[Process] = field(default_factory=list["Process"])
    # Of those who monitor it: who, the monitor's label, and how the process is shown.
    watchers: list[tuple[Process, str, Json]] = field(
        default_factory=list[tuple["Process", str, Json]]
    )
    # Of a client: its mailbox, with step and sender, and what it waits for.
    mailbox: list[tuple[int, str, Json]] = field(default_factory=list[tuple[int, str, Json]])
    waiting: Order | None = None
    # Of a server:
    spec: Json = None
    parent: Process | None = None
    state: int = 0
    queue: deque[Message] = field(default_factory=deque[Message])
    is_suspended: bool = False
    # Whether it is in a callback that never ends.
    hangs: bool = False
    timeout: float | None = None
    deadline: float = inf

    @property
    def is_alive(self) -> bool:
        """Whether it has not ended."""
        return self.exit is ...


class World:
    """All processes of a scenario, and what each operation does to them."""

    def __init__(self, procs: list[dict[str, Any]]) -> None:
        self.now = 0.0
        self.index = -1
        self.clients = {one["p"]: Process(one["p"], one.get("trap", False)) for one in procs}
        self.processes: dict[str, Process] = dict(self.clients)
        self.names: dict[str, Process] = {}
        self.calls: dict[str, Order] = {}
        self.pending: list[Order] = []
        self.events: dict[str, list[Json]] = {}
        self.shown: dict[str, list[Json]] = {label: [] for label in self.clients}
        self.told: set[str] = set()

    # -- processes --------------------------------------------------------------------------------

    def happen(self, server: Process, *event: Json) -> None:
        """Note an event of a server."""
        self.events.setdefault(server.label, []).append([*event])

    def find(self, to: Json) -> Process | None:
        """Return the living process that is meant."""
        process = self.names.get(to["name"]) if isinstance(to, dict) else self.processes[to]
        return process if process is not None and process.is_alive else None

    def is_alive(self, label: str) -> bool:
        """Tell whether there is such a process, alive."""
        return label in self.processes and self.processes[label].is_alive

    def deliver(self, to: Process, sender: str, message: Json) -> None:
        """Have a process find a message."""
        if not to.is_alive:
            return
        if to.label in self.clients:
            to.mailbox.append((self.index, sender, message))
        else:
            kind: Literal["EXIT", "other"] = "EXIT" if message[0] == "EXIT" else "other"
            to.queue.append(Message(kind, message))

    def signal(self, to: Process, sender: str, reason: Json, *, from_link: bool = False) -> None:
        """Let an exit signal arrive."""
        if not to.is_alive:
            return
        if reason == "kill" and not from_link:
            self.end(to, "killed")
        elif to.traps:
            self.deliver(to, sender, ["EXIT", sender, reason])
        elif reason != "normal" or (sender == to.label and not from_link):
            self.end(to, reason)

    def link(self, one: Process, other: Process) -> None:
        """Link two processes."""
        if other not in one.links and one is not other:
            one.links.append(other)
            other.links.append(one)

    def unlink(self, one: Process, other: Process) -> None:
        """Take a link away."""
        if other in one.links:
            one.links.remove(other)
            other.links.remove(one)

    def end(self, process: Process, reason: Json) -> None:
        """End a process, and all that ends with it."""
        process.exit = reason
        if process.label not in self.clients:
            self.happen(process, "exit", reason)
        if process.name is not None:
            del self.names[process.name]
        process.queue.clear()
        process.deadline = inf
        if process.waiting is not None:
            process.waiting.result = "died"
            process.waiting = None
        links, process.links = process.links, []
        for other in links:
            other.links.remove(process)
        failing = [
            client.waiting
            for client in self.clients.values()
            if client.waiting is not None and client.waiting.server is process
        ]
        for order in failing:
            self.fail(order, reason)
        for other in links:
            self.signal(other, process.label, reason, from_link=True)
        for watcher, ref, shown in process.watchers:
            self.deliver(watcher, process.label, ["DOWN", ref, shown, reason])

    def finish(self, order: Order, result: Json) -> None:
        """Give an order its result, if somebody waits for it."""
        if order.client.waiting is order:
            order.result = result
            order.client.waiting = None

    def fail(self, order: Order, reason: Json) -> None:
        """Have an order fail, because its server has ended or its time is over."""
        match order.kind:
            case "start":
                self.finish(order, ["error", reason])
            case "stop" if reason == order.reason:
                self.finish(order, "ok")
            case _:
                if order.is_uncaught:
                    self.end(order.client, ["in_call", reason])
                else:
                    self.finish(order, ["exit", reason])

    # -- servers ----------------------------------------------------------------------------------

    def run(self) -> None:
        """Let everything happen that does, short time-outs included."""
        while True:
            servers = [one for one in self.processes.values() if one.label not in self.clients]
            if any(self.serve(server) for server in servers):
                continue
            orders = [one.waiting for one in self.clients.values() if one.waiting is not None]
            deadlines = [*(one.deadline for one in servers), *(one.deadline for one in orders)]
            soonest = min(deadlines, default=inf)
            if soonest - self.now >= SHORT:
                return
            self.now = soonest
            for order in orders:
                if order.deadline == soonest:
                    self.is_late(order)
            for server in servers:
                if server.deadline == soonest:
                    self.time_out(server)

    def is_late(self, order: Order) -> None:
        """Have an order fail because its time is over."""
        if order.kind == "start":
            self.unlink(order.client, order.server)
            self.finish(order, ["error", "timeout"])
            self.signal(order.server, order.client.label, "kill")
        else:
            order.deadline = inf
            order.reason = ...
            self.fail(order, "timeout")

    def time_out(self, server: Process) -> None:
        """Have a server handle that no message has come."""
        server.deadline, server.timeout = inf, None
        script = server.spec.get("on_info", {}).get("timeout", {})
        self.call_back(server, "handle_info", "timeout", script)

    def serve(self, server: Process) -> bool:
        """Have a server take a message and handle it; False if it does not."""
        if not server.is_alive or server.hangs:
            return False
        for message in list(server.queue):
            is_parents = (
                message.kind == "EXIT"
                and server.parent is not None
                and message.body[1] == server.parent.label
            )
            if not server.is_suspended or message.kind == "system" or is_parents:
                server.queue.remove(message)
                server.deadline = inf
                if is_parents:
                    self.terminate(server, message.body[2])
                elif message.kind == "system":
                    self.serve_system(server, message)
                else:
                    server.timeout = None
                    self.handle(server, message)
                return True
        return False

    def handle(self, server: Process, message: Message) -> None:
        """Have a callback handle a message."""
        body = message.body
        match message.kind:
            case "call":
                assert message.order is not None
                self.calls[message.order.label] = message.order
                self.call_back(server, "handle_call", body.get("tag"), body, message.order)
            case "cast":
                self.call_back(server, "handle_cast", body.get("tag"), body)
            case "info":
                self.call_back(server, "handle_info", body.get("tag"), body)
            case _:
                script = server.spec.get("on_info", {}).get(body[0], {})
                self.call_back(server, "handle_info", body, script)

    def serve_system(self, server: Process, message: Message) -> None:
        """Serve a request that is none for a callback; a time-out starts anew."""
        order = message.order
        assert order is not None
        match order.kind:
            case "stop":
                self.terminate(server, message.value)
                return
            case "suspend":
                server.is_suspended = True
                self.finish(order, "ok")
            case "resume":
                server.is_suspended = False
                self.finish(order, "ok")
            case "replace_state":
                server.state = message.value
                self.finish(order, ["ok", server.state])
            case _:
                self.finish(order, ["ok", server.state])
        self.arm(server)

    def arm(self, server: Process) -> None:
        """Start the time-out of a server, if it has one."""
        if server.timeout is not None and not server.is_suspended:
            server.deadline = self.now + server.timeout

    def call_back(
        self, server: Process, callback: str, shown: Json, script: Script, call: Order | None = None
    ) -> None:
        """Run a callback, and those that it wants to come next."""
        try:
            then = self.follow(server, callback, shown, script, call)
            while isinstance(then, list) and then[0] == "continue":
                script = then[1]
                then = self.follow(server, "handle_continue", script.get("tag"), script)
        except Ended as ended:
            # Its own exit signal may have ended it; nothing else can in the middle of a callback.
            self.terminate(server, ended.reason, call, ended.reply)
            return
        server.timeout = then[1] if isinstance(then, list) else None
        self.arm(server)

    def follow(
        self,
        server: Process,
        callback: str,
        shown: Json,
        script: Script,
        call: Order | None = None,
    ) -> Json:
        """Do what a script says; return what is to come next. Raise `Ended` if it is the end."""
        self.happen(server, callback, shown, server.state)
        state = server.state + script.get("add", 0)

        def answer(order: Order | None, value: Json) -> None:
            if order is not None:
                self.finish(order, ["ok", state if value == "$state" else value])

        for effect in script.get("effects", []):
            match effect:
                case ["reply", value]:
                    answer(call, value)
                case ["reply_to", other, value]:
                    answer(self.calls.get(other), value)
                case ["send_self", inner]:
                    server.queue.append(Message("info", inner))
                case ["cast_self", inner]:
                    server.queue.append(Message("cast", inner))
                case ["trap", on]:
                    server.traps = on
                case _:
                    raise Unmodelled(effect)
        if "raise" in script:
            raise Ended(["error", script["raise"]])
        if "exit" in script:
            raise Ended(script["exit"])
        if script.get("hang"):
            server.hangs = True
            return None
        if "bad_return" in script:
            raise Ended(["bad_return_value", script["bad_return"]])
        server.state = state
        if "stop" in script:
            reply = script.get("reply", ...)
            raise Ended(script["stop"], state if reply == "$state" else reply)
        if callback == "handle_call" and "reply" in script:
            answer(call, script["reply"])
        return script.get("then")

    def terminate(
        self, server: Process, reason: Json, call: Order | None = None, reply: Json = ...
    ) -> None:
        """End a server in order."""
        self.happen(server, "terminate", reason, server.state)
        how = server.spec.get("terminate", {})
        if how.get("hang"):
            server.hangs = True
            return
        final = ["error", how["raise"]] if "raise" in how else how.get("exit", reason)
        is_orderly = final in ("normal", "shutdown") or (
            isinstance(final, list) and len(final) == 2 and final[0] == "shutdown"
        )
        if not is_orderly or how:
            self.happen(server, "report", final)
        if call is not None and reply is not ...:
            self.finish(call, ["ok", reply])
        self.end(server, final)

    # -- steps ------------------------------------------------------------------------------------

    def step(self, op: Op) -> dict[str, Json]:
        """Do an operation and return the step of the trace."""
        self.index += 1
        self.events = {}
        before, self.pending = self.pending, []
        result = self.burst(op) if op["op"] == "burst" else self.one(op)
        done: dict[str, Json] = {}
        for order in before:
            if order.result == PENDING:
                self.pending.append(order)
            else:
                done[order.label] = order.result if order.client.is_alive else "died"
        step: dict[str, Json] = {"result": result}
        for key, value in (
            ("changes", self.changes()),
            ("done", done),
            ("events", self.events),
        ):
            if value:
                step[key] = value
        return step

    def one(self, op: Op) -> Json:
        """Do an operation that is no burst."""
        by = op.get("by")
        if not self.is_possible(by, op):
            return "skipped"
        result = self.perform(by, op, str(self.index))
        self.run()
        return self.outcome(by, result)

    def burst(self, op: Op) -> Json:
        """Put several messages into a queue before the first is handled."""
        possible = all(self.is_possible(one["by"], {"to": op["to"]}) for one in op["msgs"])
        if not possible or op["to"] not in self.processes:
            return "skipped"
        results = [
            self.perform(one["by"], {**one, "to": op["to"]}, str(number))
            for number, one in enumerate(op["msgs"])
        ]
        self.run()
        return [
            self.outcome(one["by"], result) for one, result in zip(op["msgs"], results, strict=True)
        ]

    def is_possible(self, by: str | None, op: Op) -> bool:
        """Tell whether an operation is not to be skipped."""
        if by is not None:
            client = self.clients[by]
            if not client.is_alive or client.waiting is not None:
                return False
        if op.get("op") == "reply":
            return op["to"] in self.calls
        named = [op[key] for key in ("to", "pid") if isinstance(op.get(key), str)]
        return all(label in self.processes for label in named)

    def outcome(self, by: str | None, result: Json) -> Json:
        """Return the result of an operation at the end of the step."""
        if by is not None and not self.clients[by].is_alive:
            return "died"
        if not isinstance(result, Order):
            return result
        if result.result == PENDING:
            self.pending.append(result)
        return result.result

    def changes(self) -> dict[str, Json]:
        """Return what is different for the clients."""
        changes: dict[str, Json] = {}
        for label, client in self.clients.items():
            if not client.is_alive:
                if label not in self.told:
                    changes[label] = {"exit": client.exit}
                    self.told.add(label)
                continue
            mailbox = canonical(client.mailbox)
            if mailbox != self.shown[label]:
                changes[label] = {"mailbox": mailbox}
                self.shown[label] = mailbox
        return changes

    # -- operations -------------------------------------------------------------------------------

    def perform(self, by: str | None, op: Op, index: str) -> Json:
        """Do an operation; an order is returned where there is something to wait for."""
        match op["op"]:
            case "whereis":
                holder = self.names.get(op["name"])
                return None if holder is None else holder.label
            case "alive":
                return self.processes[op["pid"]].is_alive
            case "reply":
                self.finish(self.calls[op["to"]], ["ok", op["value"]])
                return "ok"
            case "signal":
                self.signal(self.processes[op["to"]], by or "controller", op["reason"])
                return "ok"
            case _:
                assert by is not None
                return self.act(self.clients[by], op, op.get("as", f"op{index}"))

    def act(self, me: Process, op: Op, label: str) -> Json:
        """Do an operation of a client."""
        acts: dict[str, Callable[[Process, Op], Json]] = {
            "link": self.make_link,
            "monitor": self.make_monitor,
            "cast": self.send,
            "info": self.send,
        }
        match op["op"]:
            case "start":
                return self.start(me, op, label)
            case "exit":
                self.end(me, op["reason"])
                return None
            case "trap":
                before, me.traps = me.traps, op["on"]
                return before
            case "unlink":
                self.unlink(me, self.processes[op["to"]])
                return "ok"
            case "link" | "monitor" | "cast" | "info":
                return acts[op["op"]](me, op)
            case _:
                return self.ask(me, op, label)

    def make_link(self, me: Process, op: Op) -> Json:
        """Link a client to another process."""
        other = self.processes[op["to"]]
        if other.is_alive:
            self.link(me, other)
        elif me.traps:
            self.deliver(me, other.label, ["EXIT", other.label, "noproc"])
        else:
            return ["raise", "noproc"]
        return "ok"

    def make_monitor(self, me: Process, op: Op) -> Json:
        """Have a client monitor another process."""
        target = self.find(op["to"])
        if target is None:
            sender = op["to"]["name"] if isinstance(op["to"], dict) else op["to"]
            self.deliver(me, sender, ["DOWN", op["ref"], op["to"], "noproc"])
        elif target is not me:
            target.watchers.append((me, op["ref"], op["to"]))
        return "ok"

    def send(self, me: Process, op: Op) -> Json:
        """Send a message to a server."""
        server = self.find(op["to"])
        if server is None:
            is_error = op["op"] == "info" and isinstance(op["to"], dict)
            return ["raise", "badarg"] if is_error else "ok"
        if "msg" in op:
            self.deliver(server, me.label, ["msg", me.label, op["msg"]])
        else:
            server.queue.append(Message(op["op"], op["do"]))
        return "ok"

    def ask(self, me: Process, op: Op, label: str) -> Json:
        """Have a client ask a server something."""
        server = self.find(op["to"])
        reason = op.get("reason", "normal")
        order = Order(
            label,
            me,
            op["op"],
            me if server is None else server,
            self.now + op["timeout"] if "timeout" in op else inf,
            op.get("uncaught", False),
            reason,
        )
        me.waiting = order
        if server is None:
            # Whatever was asked for, this is no end of the server.
            order.reason = ...
            self.fail(order, "noproc")
        elif op["op"] == "call":
            server.queue.append(Message("call", op["do"], order))
        else:
            value = reason if op["op"] == "stop" else op.get("value")
            server.queue.append(Message("system", None, order, value))
        return order

    def start(self, me: Process, op: Op, label: str) -> Json:
        """Have a client start a server."""
        name = op.get("name")
        if name in self.names:
            return ["error", ["already_started", self.names[name].label]]
        server = self.processes[op["as"]] = Process(op["as"], name=name, spec=op["spec"])
        if name is not None:
            self.names[name] = server
        if op.get("link"):
            self.link(me, server)
            server.parent = me
        deadline = self.now + op["timeout"] if "timeout" in op else inf
        order = me.waiting = Order(label, me, "start", server, deadline)
        script = op["spec"].get("init", {})
        server.state = script.get("state", 0)
        try:
            then = self.follow(server, "init", script.get("tag"), script)
        except Ended as ended:
            self.fail_to_start(order, ended.reason)
            return order
        if script.get("ignore"):
            self.finish(order, "ignore")
            self.fail_to_start(order, "normal")
        elif not server.hangs:
            self.finish(order, ["ok", server.label])
            if isinstance(then, list) and then[0] == "continue":
                self.call_back(server, "handle_continue", then[1].get("tag"), then[1])
            else:
                server.timeout = then[1] if isinstance(then, list) else None
                self.arm(server)
        return order

    def fail_to_start(self, order: Order, reason: Json) -> None:
        """End a server that is not up. As since OTP 26, a starter that traps gets no message."""
        if order.client.traps:
            self.unlink(order.client, order.server)
        self.end(order.server, reason)


def trace_of(scenario: dict[str, Any]) -> list[dict[str, Json]]:
    """Return the steps of the trace that a scenario must give."""
    world = World(scenario["procs"])
    return [world.step(op) for op in scenario["ops"]]
