"""The family "genserver": servers that do what their requests tell them, and their clients."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from math import inf
from typing import Any

import trio
from trio.testing import MockClock, wait_all_tasks_blocked

import exeunt
from exeunt import (
    AlreadyStarted,
    Call,
    CallFailed,
    Continue,
    Down,
    Exit,
    GenServer,
    Ignore,
    Node,
    NoReply,
    NotRegistered,
    Pid,
    ProcessExit,
    Reply,
    StartFailed,
    StartIgnored,
    Stop,
    TimeoutAfter,
)
from exeunt.kernel.events import CrashReport, Exited
from tests.conformance.signals import BADARG, Signals
from tests.conformance.terms import (
    Null,
    Plain,
    ScenarioError,
    exception,
    reason_json,
    seconds,
    to_reason,
    to_value,
    value_json,
)
from tests.conformance.traces import Json
from tests.conformance.world import PENDING, SKIPPED, Op, Order, Step

Script = dict[str, Any]

# What a client does as it does in the family "signals".
PLAIN_OPS = ("exit", "trap", "link", "unlink", "monitor", "whereis", "alive")


@dataclass(frozen=True, slots=True)
class Request:
    """What a server is asked: a script, and the label of the call if it is one."""

    script: Script
    call: str | None = None


class Server(GenServer):
    """A server whose callbacks do what a script says."""

    async def init(self, family: GenServers, label: str, spec: dict[str, Any]) -> Any:
        self.family, self.label, self.spec = family, label, spec
        family.world.add(label, self.pid)
        script = spec.get("init", {})
        self.state: int = script.get("state", 0)
        result = await self.follow("init", script.get("tag"), script)
        if result is None or isinstance(result, (Continue, TimeoutAfter)):
            family.up.add(label)
        return result

    async def handle_call(self, request: Request, caller: Call) -> Any:
        await self.family.passage(self.label)
        if request.call is not None:
            self.family.calls[request.call] = caller
        return await self.follow("handle_call", request.script.get("tag"), request.script, caller)

    async def handle_cast(self, request: Request) -> Any:
        await self.family.passage(self.label)
        return await self.follow("handle_cast", request.script.get("tag"), request.script)

    async def handle_continue(self, argument: Request) -> Any:
        return await self.follow("handle_continue", argument.script.get("tag"), argument.script)

    async def handle_info(self, message: Any) -> Any:
        await self.family.passage(self.label)
        shown: Json
        match message:
            case Request(script):
                return await self.follow("handle_info", script.get("tag"), script)
            case "timeout":
                kind = shown = "timeout"
            case Exit() | Down() | Plain():
                shown = self.family.world.message(message)
                kind = shown[0]
            case _:
                kind, shown = "foreign", repr(message)
        script = self.spec.get("on_info", {}).get(kind, {})
        return await self.follow("handle_info", shown, script)

    async def terminate(self, reason: object) -> None:
        self.family.happen(self.label, "terminate", reason_json(reason), self.state)
        match self.spec.get("terminate", {}):
            case {"raise": kind}:
                raise exception(kind)
            case {"exit": how}:
                raise ProcessExit(to_reason(how))
            case {"hang": True}:
                await trio.sleep_forever()
            case _:
                return

    async def follow(
        self, callback: str, shown: Json, script: Script, caller: Call | None = None
    ) -> Any:
        """Do what a script says.

        What it adds counts only if the callback comes to an end: it is part of what that returns.
        """
        self.family.happen(self.label, callback, shown, self.state)
        state = self.state + script.get("add", 0)

        def answer(value: Json) -> Json:
            return state if value == "$state" else value

        for effect in script.get("effects", []):
            match effect:
                case ["reply", value]:
                    if caller is not None:
                        exeunt.reply(caller, answer(value))
                case ["reply_to", call, value]:
                    if call in self.family.calls:
                        exeunt.reply(self.family.calls[call], answer(value))
                case ["send_self", inner]:
                    exeunt.send(self.pid, Request(inner))
                case ["cast_self", inner]:
                    exeunt.cast_to(self.pid, Request(inner))
                case ["trap", on]:
                    exeunt.trap_exit(on)
                case ["call", "self", *_]:
                    await exeunt.call(self.pid, Request({}))
                case ["call", server, inner]:
                    if server in self.family.world.pids:
                        await exeunt.call(self.family.world.pids[server], Request(inner))
                case _:
                    raise ScenarioError(f"not an effect: {effect}")
        if "raise" in script:
            raise exception(script["raise"])
        if "exit" in script:
            raise ProcessExit(to_reason(script["exit"]))
        if script.get("hang"):
            await trio.sleep_forever()
        if script.get("ignore"):
            return Ignore()
        if "bad_return" in script:
            value = to_value(script["bad_return"])
            return Null() if value is None else value
        self.state = state
        is_call = callback == "handle_call"
        if "stop" in script:
            reason = to_reason(script["stop"])
            if is_call and "reply" in script:
                return Stop(reason, answer(script["reply"]))
            return Stop(reason)
        then = what_next(script.get("then"))
        if not is_call:
            return then
        return Reply(answer(script["reply"]), then) if "reply" in script else NoReply(then)


def what_next(then: Json) -> Continue | TimeoutAfter | None:
    """Return what a callback returns to say what comes next."""
    match then:
        case None | "hibernate":
            return None
        case ["continue", script]:
            return Continue(Request(script))
        case ["timeout", milliseconds]:
            return TimeoutAfter(seconds(milliseconds))
        case _:
            raise ScenarioError(f"nothing that can come next: {then}")


class GenServers:
    """Does the operations of the family "genserver"."""

    def __init__(self, node: Node, clock: MockClock, scenario: dict[str, Any]) -> None:
        self.signals = Signals(node, clock, scenario)
        self.world = self.signals.world
        # Whether requests are made by helpers, which go on waiting when the client has given up.
        self.keeps_requests: bool = scenario.get("keeps_requests", False)
        # The calls that a server has had, and the servers that are up, by label.
        self.calls: dict[str, Call] = {}
        self.up: set[str] = set()
        self.events: dict[str, list[Json]] = {}
        self.pending: list[Order] = []
        self.gates: dict[str, trio.Event] = {}
        node.events.subscribe(self.has_crashed, CrashReport)
        node.events.subscribe(self.has_exited, Exited)

    async def begin(self) -> None:
        """Start the clients."""
        await self.signals.begin()

    # -- what happens -----------------------------------------------------------------------------

    def happen(self, server: str, *event: Json) -> None:
        """Note an event of a server."""
        self.events.setdefault(server, []).append([*event])

    def has_crashed(self, event: CrashReport) -> None:
        """Note the report of a server that ends for an error.

        Not that of one whose init has failed: a trace has the reports of a server that runs.
        """
        label = self.world.who(event.pid)
        if label in self.up:
            self.happen(label, "report", reason_json(event.reason))

    def has_exited(self, event: Exited) -> None:
        """Note the end of a server."""
        label = self.world.who(event.pid)
        if label in self.world.pids and label not in self.world.driven:
            self.happen(label, "exit", reason_json(event.reason))

    async def passage(self, server: str) -> None:
        """Hold a server that has taken a message until all of a burst are in its mailbox."""
        if server in self.gates:
            await self.gates[server].wait()

    # -- steps ------------------------------------------------------------------------------------

    async def do(self, index: int, op: Op) -> Step:
        """Do one operation."""
        self.world.step = index
        before, self.pending = self.pending, []
        result = await (self.burst(op) if op["op"] == "burst" else self.one(index, op))
        step: Step = {"result": result}
        done: dict[str, Json] = {}
        for order in before:
            outcome = self.world.collect(order)
            if outcome == PENDING:
                self.pending.append(order)
            else:
                done[order.label] = outcome
        for key, value in (
            ("changes", self.world.look("mailbox")),
            ("done", done),
            ("events", self.events),
        ):
            if value:
                step[key] = value
        self.events = {}
        return step

    async def one(self, index: int, op: Op) -> Json:
        """Do one operation that is no burst."""
        by = op.get("by")
        if by is None:
            result = await self.act("controller", op)
            await self.world.settle()
            return result
        order = self.order(by, str(index), op)
        await self.world.settle()
        return SKIPPED if order is None else self.outcome(order)

    def order(self, by: str, index: str, op: Op) -> Order | None:
        """Have a client do something, unless that is to be skipped."""
        if "to" in op and not self.world.knows(op["to"]):
            return None
        label = op.get("as", f"op{index}")
        return self.world.order(by, label, lambda: self.act(by, op, label))

    def outcome(self, order: Order) -> Json:
        """Return what has come of an order, and keep it in mind if that is still to come."""
        result = self.world.collect(order)
        if result == PENDING:
            self.pending.append(order)
        return result

    async def burst(self, op: Op) -> Json:
        """Have several messages in the mailbox of a server before it handles the first."""
        server = op["to"]
        if not self.world.knows(server):
            return SKIPPED
        if not all(self.world.is_free(message["by"]) for message in op["msgs"]):
            return SKIPPED
        gate = self.gates[server] = trio.Event()
        orders: list[Order | None] = []
        for number, message in enumerate(op["msgs"]):
            order = self.order(message["by"], f"{number}", {**message, "to": server})
            orders.append(order)
            await wait_all_tasks_blocked()
            if order is not None and order.is_done:
                self.world.collect(order)
        del self.gates[server]
        gate.set()
        await self.world.settle()
        return [SKIPPED if order is None else self.outcome(order) for order in orders]

    # -- operations -------------------------------------------------------------------------------

    async def act(self, by: str, op: Op, label: str = "") -> Json:
        """Do one operation in the process that is running now, which is that of the label `by`."""
        world = self.world
        if op["op"] in PLAIN_OPS:
            return self.signals.perform(by, op)
        if "to" in op and op["op"] != "reply" and not world.knows(op["to"]):
            return SKIPPED
        match op:
            case {"op": "start", "as": server, "spec": spec}:
                return await self.start(server, spec, op)
            case {"op": "call", "to": to, "do": script}:
                request = Request(script, label)
                return await self.ask(op, lambda: exeunt.call(world.find(to), request), value_json)
            case {"op": "cast", "to": to, "do": script}:
                exeunt.cast_to(world.find(to), Request(script))
            case {"op": "info", "to": to}:
                message = Plain(by, op["msg"]) if "msg" in op else Request(op["do"])
                try:
                    exeunt.send(world.find(to), message)
                except NotRegistered:
                    return BADARG
            case {"op": "reply", "to": call, "value": value}:
                if call not in self.calls:
                    return SKIPPED
                exeunt.reply(self.calls[call], value)
            case {"op": "stop", "to": to}:
                reason = to_reason(op.get("reason", "normal"))
                return await self.ask(op, lambda: exeunt.stop(world.find(to), reason))
            case {"op": "signal", "to": to, "reason": reason}:
                exeunt.exit(world.pids[to], to_reason(reason))
            case {"op": "suspend", "to": to}:
                return await self.ask(op, lambda: exeunt.suspend(world.find(to)))
            case {"op": "resume", "to": to}:
                return await self.ask(op, lambda: exeunt.resume(world.find(to)))
            case {"op": "get_state", "to": to}:
                return await self.ask(op, lambda: exeunt.get_state(world.find(to)), state_of)
            case {"op": "replace_state", "to": to, "value": value}:

                def change(state: dict[str, Any]) -> dict[str, Any]:
                    return {**state, "state": value}

                return await self.ask(
                    op, lambda: exeunt.replace_state(world.find(to), change), state_of
                )
            case _:
                raise ScenarioError(f"not an operation of this family: {op}")
        return "ok"

    async def start(self, label: str, spec: dict[str, Any], op: Op) -> Json:
        """Start a server."""
        starter = Server if op.get("name") is None else Server.named(op["name"])
        start = starter.start_link if op.get("link") else starter.start
        pid: Pid
        try:
            with trio.fail_after(time_out(op)):
                pid = await start(self, label, spec)
        except StartIgnored:
            return "ignore"
        except StartFailed as error:
            return ["error", reason_json(error.reason)]
        except AlreadyStarted as error:
            return ["error", ["already_started", self.world.who(error.pid)]]
        except trio.TooSlowError:
            return ["error", "timeout"]
        return ["ok", self.world.who(pid)]

    async def ask(
        self,
        op: Op,
        request: Callable[[], Awaitable[Any]],
        shown: Callable[[Any], Json] | None = None,
    ) -> Json:
        """Ask a server something; an answer is shown by `shown`, or else not at all."""
        try:
            with trio.fail_after(time_out(op)):
                answer = await (by_helper(request) if self.keeps_requests else request())
        except CallFailed as error:
            if op.get("uncaught"):
                raise
            return ["exit", reason_json(error.reason)]
        except trio.TooSlowError:
            if op.get("uncaught"):
                raise
            return ["exit", "timeout"]
        return "ok" if shown is None else ["ok", shown(answer)]


async def by_helper(request: Callable[[], Awaitable[Any]]) -> Any:
    """Make a request in a process of its own, and wait for what comes of it."""
    outcomes: list[Any] = []
    is_there = trio.Event()

    async def help() -> None:
        try:
            outcomes.append(await request())
        except CallFailed as error:
            outcomes.append(error)
        is_there.set()

    exeunt.spawn(help)
    await is_there.wait()
    if isinstance(outcomes[0], CallFailed):
        raise outcomes[0]
    return outcomes[0]


def time_out(op: Op) -> float:
    """Return the time-out of an operation in seconds."""
    return seconds(op["timeout"]) if "timeout" in op else inf


def state_of(attributes: dict[str, Any]) -> Json:
    """Return the state that a scenario means, of all attributes of a server."""
    return value_json(attributes["state"])
