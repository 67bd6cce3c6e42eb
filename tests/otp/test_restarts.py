"""Random crashes and orders to supervisors, against a plain model of the restart rules.

The model knows the rules of OTP in a few dozen lines and nothing of processes. Both are given the
same steps; after each, the children, what was started and stopped in which order, the reports, and
whether the supervisor has given up must be the same.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import hypothesis
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

import exeunt
from exeunt import (
    AlreadyStarted,
    ChildError,
    DynamicSupervisor,
    MaxChildren,
    Pid,
    Shutdown,
    StartFailed,
    Supervisor,
    is_alive,
    is_orderly,
)
from exeunt.kernel.events import CrashReport, Exited
from exeunt.otp.reports import SupervisorReport
from tests.kernel.nodes import node, run_on_virtual_clock, settle
from tests.otp.workers import Worker, end, worker

pytestmark = pytest.mark.slow

IDS = "abcde"
REASONS = ["normal", "shutdown", Shutdown("x"), "bad", "kill"]
RESTARTS = ["permanent", "permanent", "transient", "temporary"]


# -- the model


@dataclass
class Child:
    id: str
    restart: str
    significant: bool = False
    state: str = "down"


@dataclass
class Model:
    """What a supervisor does, by the rules."""

    strategy: str
    auto_shutdown: str
    max_restarts: int
    max_seconds: int
    children: list[Child]
    failures: dict[str, int] = field(default_factory=dict[str, int])
    log: list[Any] = field(default_factory=list[Any])
    reports: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    restarts: list[int] = field(default_factory=list[int])
    has_ended: bool = False

    def find(self, id: str) -> Child | None:
        return next((child for child in self.children if child.id == id), None)

    def start(self, child: Child) -> bool:
        self.log.append(("start", child.id))
        if self.failures.get(child.id, 0):
            self.failures[child.id] -= 1
            return False
        child.state = "up"
        return True

    def start_all(self, children: list[Child]) -> Child | None:
        for child in children:
            if not self.start(child):
                self.reports.append(("start_error", child.id))
                return child
        return None

    def stop(self, child: Child) -> None:
        if child.state == "up":
            self.log.append(("stop", child.id, "shutdown"))
        was_there, child.state = child.state != "down", "down"
        if was_there and child.restart == "temporary":
            self.children.remove(child)

    def stop_all(self, children: list[Child]) -> None:
        for child in reversed(children):
            self.stop(child)

    def ends(self) -> None:
        self.stop_all(list(self.children))
        self.has_ended = True

    def child_ended(self, child: Child, reason: object, now: float) -> None:
        child.state = "down"
        is_bad = not is_orderly(reason)
        if is_bad or child.restart == "permanent":
            self.reports.append(("child_terminated", child.id))
        if child.restart == "permanent" or (child.restart == "transient" and is_bad):
            self.restart(child, now)
            return
        if child.restart == "temporary":
            self.children.remove(child)
        if child.significant:
            others = [one for one in self.children if one.significant and one.state != "down"]
            if self.auto_shutdown == "any_significant" or not others:
                self.ends()

    def restart(self, child: Child, now: float) -> None:
        while True:
            child.state = "down"
            second = math.floor(now)
            self.restarts = [one for one in self.restarts if one >= second - self.max_seconds]
            self.restarts.append(second)
            if len(self.restarts) > self.max_restarts:
                self.reports.append(("shutdown", child.id))
                self.ends()
                return
            place = self.children.index(child)
            match self.strategy:
                case "one_for_one":
                    anew = [child]
                case "rest_for_one":
                    anew = self.children[place:]
                case _:
                    anew = list(self.children)
            self.stop_all(anew)
            failed = self.start_all([one for one in anew if one in self.children])
            if failed is None:
                return
            child = failed


# -- the steps

SPEC = st.tuples(st.sampled_from(RESTARTS), st.booleans())
ID = st.sampled_from(IDS)
STEP = st.one_of(
    st.tuples(st.just("end"), ID, st.sampled_from(REASONS)),
    st.tuples(st.just("end"), ID, st.sampled_from(REASONS)),
    st.tuples(st.just("end"), ID, st.sampled_from(REASONS)),
    st.tuples(st.just("fail"), ID, st.integers(1, 3)),
    st.tuples(st.just("wait"), st.just(""), st.sampled_from([0.4, 1, 3, 10])),
    st.tuples(st.just("start_child"), ID, SPEC),
    st.tuples(st.just("terminate_child"), ID, st.none()),
    st.tuples(st.just("restart_child"), ID, st.none()),
    st.tuples(st.just("delete_child"), ID, st.none()),
)


def significant_if(is_wanted: bool, restart: str, auto_shutdown: str) -> bool:
    return is_wanted and restart != "permanent" and auto_shutdown != "never"


@hypothesis.settings(max_examples=150, deadline=None)
@given(
    strategy=st.sampled_from(["one_for_one", "one_for_all", "rest_for_one"]),
    auto_shutdown=st.sampled_from(["never", "never", "any_significant", "all_significant"]),
    max_restarts=st.integers(0, 5),
    max_seconds=st.integers(1, 5),
    specs=st.lists(SPEC, min_size=1, max_size=4),
    steps=st.lists(STEP, max_size=20),
)
def test_a_supervisor_does_what_the_rules_say(
    strategy: Any,
    auto_shutdown: Any,
    max_restarts: int,
    max_seconds: int,
    specs: list[tuple[Any, bool]],
    steps: list[tuple[str, str, Any]],
) -> None:
    children = [
        Child(id, restart, significant_if(is_wanted, restart, auto_shutdown))
        for id, (restart, is_wanted) in zip(IDS, specs, strict=False)
    ]
    model = Model(strategy, auto_shutdown, max_restarts, max_seconds, children)
    log: list[Any] = []
    failures: dict[str, int] = {}

    def spec_of(child: Child) -> exeunt.ChildSpec:
        return worker(child.id, log, failures, restart=child.restart, significant=child.significant)

    async def main() -> None:
        async with node() as stage:
            stage.gathers(CrashReport)
            reports = stage.gathers(SupervisorReport)
            exits = stage.events(Exited)
            supervisor = await Supervisor.start(
                [spec_of(child) for child in children],
                strategy=strategy,
                auto_shutdown=auto_shutdown,
                max_restarts=max_restarts,
                max_seconds=max_seconds,
            )
            model.start_all(list(children))
            for step in steps:
                await take(step, supervisor)
                await settle()
                assert log == model.log
                assert [(one.context, one.id) for one in reports] == model.reports
                assert failures == model.failures
                if model.has_ended:
                    assert not is_alive(supervisor)
                    assert [one.reason for one in exits if one.pid is supervisor] == ["shutdown"]
                    assert exeunt.processes() == [exeunt.self_pid()]
                    return
                assert await shown(supervisor) == [(one.id, one.state) for one in model.children]

    async def shown(supervisor: Pid) -> list[tuple[object, str]]:
        found: list[tuple[object, str]] = []
        for info in await Supervisor.which_children(supervisor):
            assert info.pid is None or (isinstance(info.pid, Pid) and is_alive(info.pid))
            found.append((info.id, "down" if info.pid is None else "up"))
        return found

    async def take(step: tuple[str, str, Any], supervisor: Pid) -> None:
        what, id, detail = step
        child = model.find(id)
        match what:
            case "wait":
                await trio.sleep(detail)
            case "fail":
                failures[id] = model.failures[id] = detail
            case "end":
                pids = {one.id: one.pid for one in await Supervisor.which_children(supervisor)}
                if child is not None and child.state == "up":
                    pid = pids[id]
                    assert isinstance(pid, Pid)
                    now = trio.current_time()
                    await end(pid, detail)
                    model.child_ended(child, "killed" if detail == "kill" else detail, now)
            case "start_child":
                restart, is_wanted = detail
                new = Child(id, restart, significant_if(is_wanted, restart, auto_shutdown))
                if child is None:
                    if model.start(new):
                        model.children.append(new)
                        expected: Any = None
                    else:
                        expected = StartFailed
                else:
                    expected = AlreadyStarted if child.state == "up" else "already_present"
                await asks(Supervisor.start_child(supervisor, spec_of(new)), expected)
            case "terminate_child":
                if child is not None:
                    model.stop(child)
                expected = "not_found" if child is None else None
                await asks(Supervisor.terminate_child(supervisor, id), expected)
            case "restart_child":
                expected = None
                if child is None:
                    expected = "not_found"
                elif child.state == "up":
                    expected = "running"
                elif not model.start(child):
                    expected = StartFailed
                await asks(Supervisor.restart_child(supervisor, id), expected)
            case "delete_child":
                expected = None
                if child is None:
                    expected = "not_found"
                elif child.state == "up":
                    expected = "running"
                else:
                    model.children.remove(child)
                await asks(Supervisor.delete_child(supervisor, id), expected)

    run_on_virtual_clock(main)


async def asks(asking: Any, expected: Any) -> Any:
    """Ask, and expect an answer (None), a class of errors, or the condition of a `ChildError`."""
    try:
        answer = await asking
    except ChildError as error:
        assert error.condition == expected
    except exeunt.StartError as error:
        assert expected is not None and not isinstance(expected, str)
        assert isinstance(error, expected)
    else:
        assert expected is None
        return answer
    return None


# -- dynamic supervisors

DYNAMIC_STEP = st.one_of(
    st.tuples(st.just("start"), ID, st.sampled_from(RESTARTS)),
    st.tuples(st.just("start"), ID, st.sampled_from(RESTARTS)),
    st.tuples(st.just("end"), st.integers(0, 9), st.sampled_from(REASONS)),
    st.tuples(st.just("end"), st.integers(0, 9), st.sampled_from(REASONS)),
    st.tuples(st.just("fail"), ID, st.integers(1, 3)),
    st.tuples(st.just("wait"), st.just(""), st.sampled_from([0.4, 1, 3, 10])),
    st.tuples(st.just("terminate"), st.integers(0, 9), st.none()),
)


@hypothesis.settings(max_examples=100, deadline=None)
@given(
    max_restarts=st.integers(0, 5),
    max_seconds=st.integers(1, 5),
    max_children=st.sampled_from([None, 0, 2, 4]),
    steps=st.lists(DYNAMIC_STEP, max_size=20),
)
def test_a_dynamic_supervisor_does_what_the_rules_say(
    max_restarts: int, max_seconds: int, max_children: int | None, steps: list[tuple[str, Any, Any]]
) -> None:
    # One child of the model for each that runs; one_for_one is the only strategy.
    model = Model("one_for_one", "never", max_restarts, max_seconds, [])
    log: list[Any] = []
    failures: dict[str, int] = {}

    async def main() -> None:
        async with node() as stage:
            stage.gathers(CrashReport)
            reports = stage.gathers(SupervisorReport)
            supervisor = await DynamicSupervisor.start(
                max_restarts=max_restarts, max_seconds=max_seconds, max_children=max_children
            )
            for what, which, detail in steps:
                await take(supervisor, what, which, detail)
                await settle()
                assert sorted(log) == sorted(model.log)
                assert [(one.context, one.id) for one in reports] == model.reports
                if model.has_ended:
                    assert not is_alive(supervisor)
                    assert exeunt.processes() == [exeunt.self_pid()]
                    return
                running = [info.pid for info in await DynamicSupervisor.which_children(supervisor)]
                assert all(isinstance(pid, Pid) and is_alive(pid) for pid in running)
                assert len(running) == len(model.children)

    async def take(supervisor: Pid, what: str, which: Any, detail: Any) -> None:
        match what:
            case "wait":
                await trio.sleep(detail)
            case "fail":
                for restart in RESTARTS:
                    label = f"{which} {restart}"
                    failures[label] = model.failures[label] = detail
            case "start":
                new = Child(f"{which} {detail}", detail)
                expected: Any = None
                if max_children is not None and len(model.children) >= max_children:
                    expected = MaxChildren
                elif not model.start(new):
                    expected = StartFailed
                else:
                    model.children.append(new)
                spec = worker(new.id, log, failures, restart=detail)
                await asks(DynamicSupervisor.start_child(supervisor, spec), expected)
            case _ if model.children:
                infos = await DynamicSupervisor.which_children(supervisor)
                pid = infos[which % len(infos)].pid
                assert isinstance(pid, Pid)
                child = model.find(await Worker.who(pid))
                assert child is not None
                if what == "terminate":
                    await DynamicSupervisor.terminate_child(supervisor, pid)
                    model.stop(child)
                    if child in model.children:
                        model.children.remove(child)
                    return
                now = trio.current_time()
                await end(pid, detail)
                model.child_ended(child, "killed" if detail == "kill" else detail, now)
                if child.state == "down" and child in model.children:
                    # Without ids nothing is kept of a child that does not run.
                    model.children.remove(child)

    run_on_virtual_clock(main)
