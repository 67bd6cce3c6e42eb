"""Random scenarios of the family "genserver" give what a plain model of servers says."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeAlias

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.conformance.replay import Case, compare, read, replay
from tests.conformance.servers import Unmodelled, World, trace_of
from tests.conformance.traces import Json

Op: TypeAlias = dict[str, Any]
Script: TypeAlias = dict[str, Any]

NAMES = ("a", "b")
REASONS = ("normal", "shutdown", ["shutdown", "x"], "killed", "noproc", "boom", ["oops", 1])
OPS = (
    *("call", "cast", "info", "burst") * 4,
    *("start", "start"),
    *("stop", "signal", "reply", "suspend", "resume", "replace_state", "get_state") * 2,
    *("link", "monitor", "trap", "unlink", "exit", "whereis", "alive"),
)


class Author:
    """Writes a scenario, operation by operation, and has the model say what comes of it.

    It keeps away from what has no one outcome: a client with links lets no failed call end it, and
    whether a call is answered twice is only asked when it has been answered in an earlier step.
    """

    def __init__(self, draw: st.DrawFn) -> None:
        self.draw = draw
        self.labels = [f"c{n}" for n in range(draw(st.integers(1, 3)))]
        self.procs = [{"p": label, "trap": draw(st.booleans())} for label in self.labels]
        self.model = World(self.procs)
        self.servers: list[str] = []
        self.tags = 0
        self.calls = 0
        self.monitors = 0
        # Calls of earlier steps, which may be answered.
        self.answerable: list[str] = []
        self.ops: list[Op] = []
        self.steps: list[Json] = []

    def choose(self, *options: Any) -> Any:
        """Choose one of these."""
        return self.draw(st.sampled_from(options))

    def write(self, length: int) -> None:
        """Add so many operations, as long as some client can do something."""
        for _ in range(length):
            free = [
                label
                for label, client in self.model.clients.items()
                if client.is_alive and client.waiting is None
            ]
            if not free:
                return
            calls = self.calls
            op = self.op(self.choose(*free * 6, *self.labels), free)
            self.ops.append(op)
            self.steps.append(self.model.step(op))
            self.answerable += [f"k{n}" for n in range(calls, self.calls)]

    def op(self, by: str, free: list[str]) -> Op:
        """Write an operation."""
        kind = self.choose(*OPS)
        if not self.servers or kind == "start":
            return self.start(by)
        alive = [label for label in self.servers if self.model.is_alive(label)]
        if not alive and self.choose(True, True, True, False):
            return self.start(by)
        server = self.choose(*alive * 8, *self.servers)
        match kind:
            case "burst":
                return {"op": kind, "to": server, "msgs": self.messages(free)}
            case "call" | "cast" | "info":
                return self.message(kind, by, self.to(server))
            case "stop":
                op = {"op": kind, "by": by, "to": self.to(server), "reason": self.choose(*REASONS)}
                return op if self.choose(True, True, False) else {**op, "timeout": 100}
            case "signal":
                reason = self.choose(*REASONS, "kill", "kill")
                op = {"op": kind, "to": self.choose(*self.servers * 2, *self.labels)}
                return {**op, "reason": reason, **self.choose({}, {"by": by}, {"by": by})}
            case "reply" if self.answerable:
                return {"op": kind, "to": self.choose(*self.answerable), "value": self.number()}
            case "suspend" | "resume" | "get_state":
                return {"op": kind, "by": by, "to": server}
            case "replace_state":
                return {"op": kind, "by": by, "to": server, "value": self.number()}
            case "link" | "unlink":
                return {"op": kind, "by": by, "to": self.choose(*self.servers * 2, *self.labels)}
            case "monitor":
                self.monitors += 1
                return {"op": kind, "by": by, "to": self.to(server), "ref": f"m{self.monitors}"}
            case "trap":
                return {"op": kind, "by": by, "on": self.choose(True, False)}
            case "exit":
                return {"op": kind, "by": by, "reason": self.choose(*REASONS)}
            case "whereis":
                return {"op": kind, "name": self.choose(*NAMES)}
            case _:
                return {"op": "alive", "pid": server}

    def start(self, by: str) -> Op:
        """Write the start of a server."""
        init = self.effects()
        init["state"] = self.number()
        failures = ("stop", "raise", "exit", "bad", "hang", "ignore")
        end = self.choose(*["ok"] * 16, *["then"] * 5, *failures)
        op: Op = {"op": "start", "by": by, "as": f"s{len(self.servers)}"}
        match end:
            case "then":
                init["then"] = self.then(2)
            case "stop" | "exit":
                init[end] = self.choose(*REASONS)
            case "raise":
                init[end] = "Boom"
            case "bad":
                init["bad_return"] = "what"
            case "hang":
                init[end] = True
                op["timeout"] = 100
            case "ignore":
                init[end] = True
            case _:
                pass
        kinds = self.draw(st.sets(st.sampled_from(["timeout", "EXIT", "msg"]), max_size=2))
        on_info = {kind: self.reaction() for kind in sorted(kinds)}
        terminate = self.choose({}, {}, {}, {"raise": "Oops"}, {"exit": self.choose(*REASONS)})
        self.servers.append(op["as"])
        op["spec"] = {"init": init, "on_info": on_info, "terminate": terminate}
        if self.choose(True, False, False):
            op["name"] = self.choose(*NAMES)
        if self.choose(True, False, False):
            op["link"] = True
        return op

    def reaction(self) -> Script:
        """Write what a server does with a message that is no script: no time-out comes of it."""
        reaction: Script = self.choose(
            {"add": 1}, {"add": 2}, {}, {"stop": self.choose(*REASONS)}, {"raise": "Boom"}
        )
        return reaction

    def to(self, server: str) -> Json:
        """Choose how to address a server: sometimes some server, by a name."""
        return self.choose(server, server, {"name": self.choose(*NAMES)})

    def messages(self, free: list[str]) -> list[Op]:
        """Write the messages of a burst: a client that has made a call does nothing after it."""
        messages: list[Op] = []
        for _ in range(self.draw(st.integers(2, 4))):
            calling = [one["by"] for one in messages if one["op"] in ("call", "get_state")]
            others = [label for label in free if label not in calling]
            if not others:
                break
            by, kind = self.choose(*others), self.choose("cast", "info", "call", *["get_state"] * 2)
            if kind == "get_state":
                messages.append({"op": kind, "by": by})
            else:
                messages.append(self.message(kind, by, None))
                del messages[-1]["to"]
        return messages

    def message(self, kind: str, by: str, to: Json) -> Op:
        """Write something that a client sends to a server."""
        op: Op = {"op": kind, "by": by, "to": to}
        if kind == "info" and self.choose(True, False, False):
            return {**op, "msg": self.number()}
        op["do"] = self.script(2, is_call=kind == "call")
        if kind == "call":
            op["as"] = f"k{self.calls}"
            self.calls += 1
            if self.choose(True, False, False, False):
                op["timeout"] = self.choose(100, 60_000)
            if not self.model.clients[by].links and self.choose(True, False, False):
                op["uncaught"] = True
        return op

    def effects(self) -> Script:
        """Begin a script: what is added, and what is done before the callback ends."""
        self.tags += 1
        script: Script = {"tag": f"t{self.tags}", "add": self.choose(0, 0, self.number())}
        kinds = self.choose([], [], ["trap"], ["send_self"], ["cast_self", "trap"], ["reply_to"])
        effects: list[Json] = []
        for kind in kinds:
            if kind == "trap":
                effects.append([kind, self.choose(True, True, False)])
            elif kind != "reply_to":
                effects.append([kind, {"tag": f"{script['tag']}{kind[0]}", "add": self.number()}])
            elif self.answerable:
                effects.append([kind, self.choose(*self.answerable), self.number()])
        return {**script, "effects": effects}

    def script(self, depth: int, *, is_call: bool) -> Script:
        """Write what a callback does."""
        script = self.effects()
        end = self.choose(*["ok"] * 12, *["then"] * 6, "stop", "raise", "exit", "bad")
        match end:
            case "then":
                script["then"] = self.then(depth)
            case "stop" | "exit":
                script[end] = self.choose(*REASONS)
            case "raise":
                script[end] = self.choose("Boom", "Oops")
            case "bad":
                script["bad_return"] = "what"
            case _:
                pass
        if is_call and end in ("ok", "then", "stop") and self.choose(True, True, True, False):
            script["reply"] = self.choose("$state", None, self.number())
        return script

    def then(self, depth: int) -> Json:
        """Write what comes next."""
        if depth and self.choose(True, False, False):
            return ["continue", self.script(depth - 1, is_call=False)]
        return ["timeout", self.choose(0, 10, 10, 10, 60_000)]

    def number(self) -> int:
        """Choose a number."""
        return self.draw(st.integers(1, 9))


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """Draw a scenario with the trace that the model expects."""
    author = Author(draw)
    author.write(draw(st.integers(3, 16)))
    scenario = {
        "family": "genserver",
        "name": "random",
        "procs": author.procs,
        "ops": author.ops,
    }
    return Case("", scenario, {"steps": author.steps})


def test_the_model_gives_the_recorded_traces() -> None:
    unmodelled: list[str] = []
    modelled = 0
    golden = Path(__file__).parent / "golden"
    for case in [case for path in sorted(golden.glob("genserver-*.jsonl")) for case in read(path)]:
        try:
            steps = trace_of(case.scenario)
        except Unmodelled:
            unmodelled.append(case.name)
        else:
            modelled += 1
            assert [str(one) for one in compare(case, steps)] == []
    assert [name for name in unmodelled if not name.startswith("genserver_thin_")] == [
        "a_call_to_oneself_is_an_error",
        "a_failed_call_within_a_callback_ends_the_server",
    ]
    assert modelled >= 175


@pytest.mark.slow
@settings(max_examples=250, derandomize=True, database=None)
@given(cases())
def test_random_servers_do_what_the_model_says(case: Case) -> None:
    assert [str(one) for one in replay(case).divergences] == []
