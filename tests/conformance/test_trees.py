"""Random scenarios of the family "supervisor" give what a plain model of supervision says."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeAlias

import pytest
from hypothesis import given, note, settings
from hypothesis import strategies as st

from tests.conformance.replay import compare, read, run_scenario
from tests.conformance.traces import Json, text
from tests.conformance.trees import Forest, trace_of

Spec: TypeAlias = dict[str, Any]
Op: TypeAlias = dict[str, Any]

REASONS = ("normal", "shutdown", ["shutdown", "x"], "killed", "noproc", "boom", ["oops", 1])
NOT_UP = ("ignore", ["error", "no"], ["error", ["shutdown", "x"]], ["raise", "Boom"])
ENDS = ("ok", ["sleep", 10], ["exit", "bad"], ["exit", "normal"], ["exit", ["shutdown", "x"]])
REQUESTS = ("terminate_child", "restart_child", "delete_child", "which_children", "count_children")
OPS = (*("exit_child", "signal", "start_child", "request") * 3, "raise_child", "stop", "parent")


class Author:
    """Writes a tree, and what is done to it.

    It keeps away from what has no one outcome: only the last process of the tree ends by itself; a
    supervisor is killed only if it is the only one; and a worker that hangs when it is to end has a
    supervisor that does not wait for it long, and is not told to stop itself.
    """

    def __init__(self, draw: st.DrawFn) -> None:
        self.draw = draw
        # What has been written so far, by id: workers, and supervisors of both types.
        self.workers: dict[str, Spec] = {}
        self.supervisors: dict[str, Spec] = {}
        self.tree = self.static("root", 2)
        last = self.tree
        while last.get("children"):
            last = last["children"][-1]
        if last["id"] in self.workers and last.get("terminate") != "hang":
            dies = [["dies", self.choose(*REASONS)]]
            last["starts"] = self.choose(last["starts"], dies, ["ok", *dies], [*dies, "ok"])

    def choose(self, *options: Any) -> Any:
        """Choose one of these."""
        return self.draw(st.sampled_from(options))

    def new(self) -> str:
        """Make an id."""
        return f"n{len(self.workers) + len(self.supervisors)}"

    def static(self, id: str, depth: int) -> Spec:
        """Write a supervisor with its children."""
        spec: Spec = {
            "id": id,
            "type": "supervisor",
            "strategy": self.choose("one_for_one", "one_for_all", "rest_for_one"),
            "max_restarts": self.draw(st.integers(0, 6)),
            "auto_shutdown": self.choose("never", "never", "any_significant", "all_significant"),
        }
        self.supervisors[id] = spec
        spec["children"] = [
            self.child(spec, depth) for _ in range(self.draw(st.integers(0 if depth < 2 else 1, 4)))
        ]
        return spec

    def child(self, supervisor: Spec, depth: int) -> Spec:
        """Write a child of a supervisor."""
        kind = self.choose("worker", "worker", "worker", "supervisor", "dynamic")
        if kind == "worker" or depth == 0:
            return self.worker(supervisor)
        id = self.new()
        if kind == "supervisor":
            spec = self.static(id, depth - 1)
        else:
            spec = {"id": id, "type": "dynamic", "max_restarts": self.draw(st.integers(0, 3))}
            if self.draw(st.booleans()):
                spec["max_children"] = self.draw(st.integers(0, 3))
            self.supervisors[id] = spec
        return self.restarting(spec, supervisor)

    def worker(self, supervisor: Spec) -> Spec:
        """Write a worker."""
        terminate = self.choose("ok", "hang", *ENDS, ["raise", "Oops"])
        spec: Spec = {
            "id": self.new(),
            "trap": self.draw(st.booleans()),
            "terminate": terminate,
            "starts": [self.choose(*["ok"] * 16, *NOT_UP)],
        }
        spec["starts"] += self.draw(st.lists(st.sampled_from(["ok", *NOT_UP]), max_size=3))
        shutdown = self.choose(30, "brutal_kill", *([] if terminate == "hang" else [None]))
        if shutdown is not None:
            spec["shutdown"] = shutdown
        self.workers[spec["id"]] = spec
        return self.restarting(spec, supervisor)

    def restarting(self, spec: Spec, supervisor: Spec) -> Spec:
        """Add when a child is started again, and whether its end is significant."""
        spec["restart"] = self.choose("permanent", "transient", "temporary")
        if supervisor.get("auto_shutdown", "never") != "never" and spec["restart"] != "permanent":
            spec["significant"] = self.draw(st.booleans())
        return spec

    def op(self) -> Op:
        """Write an operation."""
        kind = self.choose(*OPS)
        sup = self.choose(*self.supervisors)
        obedient = [id for id, one in self.workers.items() if one["terminate"] != "hang"]
        match kind:
            case "exit_child" if obedient:
                child = self.choose(*obedient)
                return {"op": kind, "child": child, "reason": self.choose(*REASONS)}
            case "raise_child" if obedient:
                return {"op": kind, "child": self.choose(*obedient), "kind": "Crash"}
            case "signal" if self.workers:
                to = self.choose(*self.workers, sup)
                may_die = to in self.workers or (len(self.supervisors) == 1 and self.is_obedient)
                reason = self.choose(*REASONS, *(["kill"] * 4 if may_die else []))
                return {"op": "signal", "to": to, "reason": reason}
            case "start_child":
                return {"op": kind, "sup": sup, "spec": self.addition(self.supervisors[sup])}
            case "stop":
                return {"op": kind, "sup": sup, "reason": self.choose(*REASONS)}
            case "parent":
                reason = self.choose(*REASONS)
                return {"op": "signal", "to": "root", "from": "parent", "reason": reason}
            case _:
                return self.request(sup)

    @property
    def is_obedient(self) -> bool:
        """Whether no worker hangs when it is to end."""
        return all(one["terminate"] != "hang" for one in self.workers.values())

    def addition(self, supervisor: Spec) -> Spec:
        """Write a child to be added to a supervisor; to a static one maybe one it has."""
        known = [one["id"] for one in supervisor.get("children", [])]
        if known and self.choose(True, False, False):
            return {"id": self.choose(*known)}
        return self.worker(supervisor)

    def request(self, sup: str) -> Op:
        """Write something that a supervisor is asked."""
        is_dynamic = self.supervisors[sup]["type"] == "dynamic"
        kind = self.choose(*REQUESTS)
        if kind in ("which_children", "count_children"):
            return {"op": kind, "sup": sup}
        # A dynamic supervisor knows processes: any of them, whose it may ever be.
        mine = [one["id"] for one in self.supervisors[sup].get("children", [])]
        child = self.choose(*mine * 4, *self.workers, "nobody")
        return {"op": "terminate_child" if is_dynamic else kind, "sup": sup, "child": child}


@st.composite
def scenarios(draw: st.DrawFn) -> tuple[dict[str, Any], list[Json]]:
    """Draw a scenario and the steps that the model expects; it goes on while the root lives."""
    author, forest = Author(draw), Forest()
    ops: list[Op] = [{"op": "start"}]
    steps: list[Json] = [forest.step(ops[0], author.tree)]
    for _ in range(draw(st.integers(1, 12))):
        ops.append(author.op())
        steps.append(forest.step(ops[-1], author.tree))
        if not forest.newest["root"].is_alive:
            break
    return {"family": "supervisor", "name": "random", "tree": author.tree, "ops": ops}, steps


def test_the_model_gives_the_recorded_traces() -> None:
    golden = Path(__file__).parent / "golden"
    cases = [case for path in sorted(golden.glob("supervisor-*.jsonl")) for case in read(path)]
    assert len(cases) >= 150
    for case in cases:
        assert [str(one) for one in compare(case, trace_of(case.scenario))] == []


@pytest.mark.slow
@settings(max_examples=250, derandomize=True, database=None)
@given(scenarios())
def test_random_trees_do_what_the_model_says(drawn: tuple[dict[str, Any], list[Json]]) -> None:
    scenario, expected = drawn
    got = run_scenario(scenario)
    for op, wanted, step in zip(scenario["ops"], expected, got, strict=True):
        if wanted != step:
            note(f"{text(op)}\n  model  {text(wanted)}\n  exeunt {text(step)}")
    assert got == expected
