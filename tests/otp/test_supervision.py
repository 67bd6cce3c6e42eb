"""Child specifications and the options of supervisors: what makes sense, and what is refused."""

from __future__ import annotations

import math
from typing import Any

import pytest

import exeunt
from exeunt import (
    BadChildSpec,
    ChildSpec,
    DynamicSupervisor,
    GenServer,
    Pid,
    StartFailed,
    Supervisor,
    Watcher,
    child,
)
from tests.kernel.nodes import idle, node

pytestmark = pytest.mark.usefixtures("autojump_clock")


class Server(GenServer):
    async def init(self, port: int = 0) -> None:
        self.port = port


async def start() -> Pid:
    return exeunt.spawn_link(idle)


# -- ChildSpec


def test_the_defaults_are_those_of_otp() -> None:
    spec = ChildSpec(id="a", start=start)
    assert (spec.restart, spec.type, spec.significant) == ("permanent", "worker", False)
    assert spec.budget == 5.0
    assert spec.replace(type="supervisor").budget == "infinity"


def test_a_server_is_a_worker_named_after_its_class_and_a_supervisor_a_supervisor() -> None:
    assert Server.child(4).id == "Server" and Server.child().type == "worker"
    assert Watcher.child().type == "worker"
    assert Supervisor.child([]).type == "supervisor"
    assert DynamicSupervisor.child().type == "supervisor"
    assert Supervisor.named("top").child([]).id == "top"


def test_a_function_is_a_worker_named_after_itself() -> None:
    assert child(idle).id == "idle"
    assert child(idle, id=("pump", 3)).id == ("pump", 3)


def test_replace_changes_what_is_given_and_nothing_else() -> None:
    spec = Server.child(4)
    changed = spec.replace(id="b", restart="transient", shutdown="brutal_kill", significant=True)
    assert (changed.id, changed.restart, changed.shutdown) == ("b", "transient", "brutal_kill")
    assert changed.significant and changed.start is spec.start
    assert spec.id == "Server" and spec.restart == "permanent"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"restart": "always"}, "restart is one of 'permanent', 'transient', 'temporary', not 'al"),
        ({"type": "process"}, "type is one of 'worker', 'supervisor', not 'process'"),
        ({"shutdown": -1}, "a number of seconds, 'brutal_kill' or 'infinity', not -1"),
        ({"shutdown": math.nan}, "a number of seconds"),
        ({"shutdown": "5"}, "a number of seconds, 'brutal_kill' or 'infinity', not '5'"),
    ],
)
def test_nonsense_is_refused_where_it_is_written(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Server.child().replace(**changes)


@pytest.mark.parametrize("budget", [0, 0.5, 10, math.inf, "infinity", "brutal_kill"])
def test_budgets(budget: Any) -> None:
    assert Server.child().replace(shutdown=budget).budget == budget


def test_the_start_of_a_child_is_a_function() -> None:
    with pytest.raises(TypeError, match="the start of child 'a' is an async function, not 5"):
        ChildSpec(id="a", start=5)  # type: ignore[arg-type]


def test_a_function_is_given_without_being_called() -> None:
    with pytest.raises(TypeError, match="without calling it"):
        child(idle())  # type: ignore[arg-type]


# -- the options of a supervisor


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"strategy": "one_for_two"}, "'one_for_one', 'one_for_all', 'rest_for_one', not 'one_for"),
        (
            {"auto_shutdown": "always"},
            "'never', 'any_significant', 'all_significant', not 'always'",
        ),
        ({"max_restarts": -1}, "max_restarts is a whole number from 0 up, not -1"),
        ({"max_restarts": 1.5}, "max_restarts is a whole number"),
        ({"max_seconds": 0}, "max_seconds is a positive number of seconds, not 0"),
        ({"max_seconds": math.nan}, "max_seconds is a positive number"),
    ],
)
async def test_options_that_make_no_sense_fail_the_start(
    options: dict[str, Any], message: str
) -> None:
    async with node() as stage:
        with pytest.raises(StartFailed, match=message):
            await Supervisor.start([], **options)
        stage.crash(ValueError)


@pytest.mark.parametrize(
    "options", [{"max_restarts": -1}, {"max_seconds": 0}, {"max_children": -1}]
)
async def test_options_that_make_no_sense_fail_the_start_of_a_dynamic_one(
    options: dict[str, Any],
) -> None:
    async with node() as stage:
        with pytest.raises(StartFailed, match=next(iter(options))):
            await DynamicSupervisor.start(**options)
        stage.crash(ValueError)


# -- children that do not go together


@pytest.mark.parametrize(
    ("specs", "options", "message"),
    [
        ([child(idle), child(idle)], {}, "two children have the id 'idle': give one another"),
        ([child(idle).replace(significant=True, restart="temporary")], {}, "is significant, but"),
        (
            [child(idle).replace(significant=True)],
            {"auto_shutdown": "any_significant"},
            "must not be permanent",
        ),
        ([idle], {}, "a child is given as a ChildSpec"),
        ([Server], {}, "a child is given as a ChildSpec"),
    ],
)
async def test_children_that_do_not_go_together_fail_the_start(
    specs: list[Any], options: dict[str, Any], message: str
) -> None:
    async with node() as stage:
        with pytest.raises(StartFailed, match=message):
            await Supervisor.start(specs, **options)
        stage.crash(BadChildSpec)
        assert exeunt.processes() == [exeunt.self_pid()]


@pytest.mark.parametrize("kind", [Supervisor, DynamicSupervisor])
@pytest.mark.parametrize("spec", [idle, None, child(idle).replace(significant=True)])
async def test_a_child_that_makes_no_sense_is_the_callers_error(kind: Any, spec: Any) -> None:
    async with node():
        supervisor = await kind.start_link()
        with pytest.raises(BadChildSpec):
            await kind.start_child(supervisor, spec)
        assert exeunt.is_alive(supervisor)
