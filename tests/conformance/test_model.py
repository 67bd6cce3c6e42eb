"""Random scenarios of the family "signals" give what a plain model of the rules says."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeAlias

import pytest
from hypothesis import given, note, settings
from hypothesis import strategies as st

from tests.conformance.model import Model, trace_of
from tests.conformance.replay import compare, read, run_scenario
from tests.conformance.traces import Json, text

Op: TypeAlias = dict[str, Any]

NAMES = ("a", "b", "c")
REASONS = ("normal", "shutdown", ["shutdown", "x"], "kill", "killed", "noproc", "boom", ["oops", 1])
ENDS = ("exit", "raise", "return", "exit_signal")
# What a process does at one go, or by itself: often what makes and uses links.
ACTIONS = (
    *("link", "spawn") * 4,
    *("monitor", "send", "recv", "trap") * 2,
    *("unlink", "demonitor", "register", "unregister", "whereis", "alive"),
    *("send_after", "cancel_timer", "trapped_signal"),
)
STEPS = (*ACTIONS, *ENDS, *("exit", "exit_signal", "batch") * 3)


class Author:
    """Writes a scenario, operation by operation, and has the model say what comes of it.

    It keeps away from what has no one outcome: within a batch it sends no exit signal that ends
    anybody, but for the last operation; a step has one short timer at most; and it takes any
    message out of a mailbox only where it is certain which one is the first.
    """

    def __init__(self, draw: st.DrawFn) -> None:
        self.draw = draw
        count = draw(st.integers(2, 5))
        self.labels = [f"p{n}" for n in range(count)]
        self.procs = [{"p": label, "trap": draw(st.booleans())} for label in self.labels]
        self.model = Model(self.procs)
        self.monitors: list[str] = []
        self.timers: list[str] = []
        self.ops: list[Op] = []
        self.steps: list[Json] = []

    def write(self, length: int) -> None:
        """Add so many operations, as long as somebody lives."""
        for _ in range(length):
            self.may_start_timer = True
            alive = [label for label in self.labels if self.model.is_alive(label)]
            if not alive:
                return
            # Mostly somebody who lives: what the dead are to do is skipped.
            by = self.draw(st.sampled_from([*alive * 8, *self.labels]))
            kind = self.draw(st.sampled_from(STEPS))
            if kind == "batch":
                op = self.batch(by)
            else:
                op = self.action(by, kind, is_alone=True)
            if op["op"] not in ("whereis", "alive"):
                op["by"] = by
            self.ops.append(op)
            self.steps.append(self.model.step(op))

    def batch(self, by: str) -> Op:
        """Write what a process does at one go; the last of it may be its end."""
        ops = [
            self.action(by, kind, is_alone=False)
            for kind in self.draw(st.lists(st.sampled_from(ACTIONS), max_size=4))
        ]
        end = self.draw(st.sampled_from([None, *ENDS]))
        if end is not None:
            ops.append(self.action(by, end, is_alone=False))
        return {"op": "batch", "ops": ops}

    def action(self, by: str, kind: str, *, is_alone: bool) -> Op:
        """Write one operation of a process."""
        match kind:
            case "spawn":
                self.labels.append(f"p{len(self.labels)}")
                how = self.draw(st.sampled_from(["plain", "link", "link", "monitor"]))
                op = {"op": kind, "as": self.labels[-1], "how": how}
                return {**op, "ref": self.new(self.monitors, "m")} if how == "monitor" else op
            case "link":
                return {"op": kind, "to": self.label()}
            case "unlink":
                return {"op": kind, "to": self.draw(st.sampled_from(self.acquaintances(by)))}
            case "monitor":
                return {"op": kind, "to": self.to(), "ref": self.new(self.monitors, "m")}
            case "demonitor" if self.monitors:
                ref = self.draw(st.sampled_from(self.monitors))
                return {"op": kind, "ref": ref, "flush": self.draw(st.booleans())}
            case "trap":
                return {"op": kind, "on": self.draw(st.booleans())}
            case "exit_signal":
                return {"op": kind, "to": self.label(), "reason": self.reason()}
            case "trapped_signal":
                return self.trapped_signal(by)
            case "exit":
                return {"op": kind, "reason": self.reason()}
            case "raise":
                return {"op": kind, "kind": self.draw(st.sampled_from(["Boom", "Oops"]))}
            case "return":
                return {"op": kind}
            case "register":
                op = {"op": kind, "name": self.name()}
                return {**op, "pid": self.label()} if self.draw(st.booleans()) else op
            case "unregister" | "whereis":
                return {"op": kind, "name": self.name()}
            case "alive":
                return {"op": kind, "pid": self.label()}
            case "recv":
                return {"op": kind, "match": self.match(by, is_alone)}
            case "send_after":
                lengths = [60_000, 60_000, 5, 20] if self.may_start_timer else [60_000]
                milliseconds = self.draw(st.sampled_from(lengths))
                self.may_start_timer &= milliseconds == 60_000
                ref = self.new(self.timers, "t")
                what = {"to": self.to(), "msg": self.body(), "ms": milliseconds}
                return {"op": kind, **what, "ref": ref}
            case "cancel_timer" if self.timers:
                return {"op": kind, "ref": self.draw(st.sampled_from(self.timers))}
            case _:
                return {"op": "send", "to": self.to(), "msg": self.body()}

    def trapped_signal(self, by: str) -> Op:
        """Write an exit signal that is trapped for certain, so that more may come after it."""
        traps = [
            one.label
            for one in self.model.processes.values()
            if one.is_alive and one.traps and one.label != by
        ]
        if not traps:
            return {"op": "send", "to": self.to(), "msg": self.body()}
        reason = self.draw(st.sampled_from([one for one in REASONS if one != "kill"]))
        return {"op": "exit_signal", "to": self.draw(st.sampled_from(traps)), "reason": reason}

    def match(self, by: str, is_alone: bool) -> Json:
        """Write what to take out of a mailbox: often something that is there."""
        process = self.model.processes.get(by)
        mailbox = [] if process is None else process.mailbox
        matches: list[Json] = [["msg", self.label()], ["EXIT", self.label()]]
        matches += [message[: 3 if message[0] == "msg" else 2] for _, _, message in mailbox]
        oldest = [entry for entry in mailbox if entry[0] == mailbox[0][0]]
        if is_alone and len(oldest) == 1:
            matches.append("any")
        return self.draw(st.sampled_from(matches))

    def acquaintances(self, by: str) -> list[str]:
        """Return all processes, those linked to this one and those it has heard of many times."""
        process = self.model.processes.get(by)
        if process is None:
            return self.labels
        heard_of = [message[1] for _, _, message in process.mailbox if message[0] == "EXIT"]
        return [*self.labels, *sorted(process.links) * 4, *heard_of * 4]

    def new(self, labels: list[str], letter: str) -> str:
        """Make a label that is not used yet."""
        labels.append(f"{letter}{len(labels)}")
        return labels[-1]

    def label(self) -> str:
        """Choose a process."""
        return self.draw(st.sampled_from(self.labels))

    def name(self) -> str:
        """Choose a name."""
        return self.draw(st.sampled_from(NAMES))

    def to(self) -> Json:
        """Choose a destination: a process more often than a name."""
        return self.draw(st.sampled_from([*self.labels * 2, *({"name": name} for name in NAMES)]))

    def reason(self) -> Json:
        """Choose an exit reason."""
        return self.draw(st.sampled_from(REASONS))

    def body(self) -> int:
        """Choose what a message says."""
        return self.draw(st.integers(1, 3))


@st.composite
def scenarios(draw: st.DrawFn) -> tuple[dict[str, Any], list[Json]]:
    """Draw a scenario and the steps that the model expects."""
    author = Author(draw)
    author.write(draw(st.integers(5, 25)))
    scenario = {
        "family": "signals",
        "name": "random",
        "procs": author.procs,
        "ops": author.ops,
    }
    return scenario, author.steps


def test_the_model_gives_the_recorded_traces() -> None:
    golden = Path(__file__).parent / "golden"
    cases = [case for path in sorted(golden.glob("signals-*.jsonl")) for case in read(path)]
    assert len(cases) >= 300
    for case in cases:
        assert [str(one) for one in compare(case, trace_of(case.scenario))] == []


@pytest.mark.slow
@settings(max_examples=400, derandomize=True, database=None)
@given(scenarios())
def test_random_scenarios_give_what_the_model_says(
    drawn: tuple[dict[str, Any], list[Json]],
) -> None:
    scenario, expected = drawn
    got = run_scenario(scenario)
    for op, wanted, step in zip(scenario["ops"], expected, got, strict=True):
        if wanted != step:
            note(f"{text(op)}\n  model  {text(wanted)}\n  exeunt {text(step)}")
    assert got == expected
