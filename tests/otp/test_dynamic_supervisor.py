"""DynamicSupervisor: children that come and go."""

from __future__ import annotations

from typing import Any

import pytest
import trio

import exeunt
from exeunt import (
    ChildCount,
    ChildError,
    ChildInfo,
    ChildSpec,
    Down,
    DynamicSupervisor,
    Exit,
    MaxChildren,
    Pid,
    ProcessExit,
    Shutdown,
    StartFailed,
    StartIgnored,
    Supervisor,
    child,
    is_alive,
    receive,
    spawn_link,
    stop,
    trap_exit,
)
from exeunt.otp.reports import Progress, SupervisorReport
from tests.kernel.nodes import Actor, idle, node, settle
from tests.otp.workers import Worker, end, worker

pytestmark = pytest.mark.usefixtures("autojump_clock")


async def add(supervisor: Pid, spec: ChildSpec) -> Pid:
    pid = await DynamicSupervisor.start_child(supervisor, spec)
    assert isinstance(pid, Pid)
    return pid


async def running(supervisor: Pid) -> list[Any]:
    return [info.pid for info in await DynamicSupervisor.which_children(supervisor)]


def contexts(reports: list[Any]) -> list[tuple[str, object, object]]:
    return [(report.context, report.id, report.reason) for report in reports]


# -- start_child


async def test_it_starts_without_children_and_takes_any_number() -> None:
    async with node() as stage:
        supervisor = await DynamicSupervisor.named("rooms").start_link()
        assert await running(supervisor) == []
        progress = stage.events(Progress)
        pids = [await add(supervisor, child(idle)) for _ in range(20)]
        assert await running(supervisor) == pids
        assert progress == [Progress(supervisor, "idle", pid) for pid in pids]
        assert await DynamicSupervisor.count_children("rooms") == ChildCount(20, 20, 0, 20)
        infos = await DynamicSupervisor.which_children("rooms")
        assert infos[0] == ChildInfo(None, pids[0], "worker"), "children have no ids"


async def test_children_may_be_supervisors() -> None:
    async with node():
        supervisor = await DynamicSupervisor.start_link()
        await add(supervisor, Supervisor.child([child(idle)]))
        await add(supervisor, child(idle))
        assert await DynamicSupervisor.count_children(supervisor) == ChildCount(2, 2, 1, 1)


async def test_a_start_that_fails_is_the_callers_error() -> None:
    async with node() as stage:
        supervisor = await DynamicSupervisor.start_link()
        with pytest.raises(StartFailed) as caught:
            await add(supervisor, worker("a", [], {"a": 1}))
        assert caught.value.reason == "a does not start"
        assert await running(supervisor) == []
        stage.crash()


@pytest.mark.parametrize("error", [OSError("no"), ProcessExit("no")])
async def test_a_start_function_that_fails_is_the_callers_error(error: BaseException) -> None:
    async def fails() -> Pid:
        raise error

    async with node():
        supervisor = await DynamicSupervisor.start_link()
        with pytest.raises(StartFailed, match="no"):
            await add(supervisor, ChildSpec(id="a", start=fails))
        assert is_alive(supervisor) and await running(supervisor) == []


async def test_a_start_that_ignores_gives_none_and_keeps_nothing() -> None:
    async def ignores() -> Pid:
        raise StartIgnored("x")

    async with node():
        supervisor = await DynamicSupervisor.start_link()
        spec = ChildSpec(id="a", start=ignores)
        assert await DynamicSupervisor.start_child(supervisor, spec) is None
        assert await DynamicSupervisor.count_children(supervisor) == ChildCount(0, 0, 0, 0)


async def test_a_start_that_is_given_up_may_still_succeed() -> None:
    # The caller's patience is over, but the supervisor has begun: as with any call.
    class Slow(Worker):
        async def init(self, *args: Any) -> None:
            await trio.sleep(5)
            await super().init(*args)

    async with node():
        supervisor = await DynamicSupervisor.start_link()
        with trio.move_on_after(1):
            await add(supervisor, Slow.child("a", []))
        await trio.sleep(10)
        assert len(await running(supervisor)) == 1


async def test_there_may_be_so_many_children_and_no_more() -> None:
    async with node():
        supervisor = await DynamicSupervisor.start_link(max_children=2)
        pids = [await add(supervisor, child(idle)) for _ in range(2)]
        with pytest.raises(MaxChildren, match="has 2 children already") as caught:
            await add(supervisor, child(idle))
        assert caught.value.limit == 2
        await DynamicSupervisor.terminate_child(supervisor, pids[0])
        await add(supervisor, child(idle))
        assert len(await running(supervisor)) == 2


async def test_children_that_are_being_restarted_count() -> None:
    async with node() as stage:
        stage.gathers(SupervisorReport)
        is_shut = False

        async def start() -> Pid:
            if is_shut:
                await trio.lowlevel.checkpoint()
                raise OSError("shut")
            return spawn_link(idle)

        supervisor = await DynamicSupervisor.start(max_children=1, max_restarts=1_000_000)
        pid = await add(supervisor, ChildSpec(id="a", start=start))
        is_shut = True
        exeunt.exit(pid, "bad")
        for _ in range(20):
            await trio.lowlevel.checkpoint()
        assert await running(supervisor) == ["restarting"]
        assert await DynamicSupervisor.count_children(supervisor) == ChildCount(1, 0, 0, 1)
        with pytest.raises(MaxChildren):
            await add(supervisor, child(idle))
        is_shut = False
        await settle()
        [pid] = await running(supervisor)
        assert is_alive(pid)


# -- when a child ends


@pytest.mark.parametrize(
    ("restart", "reason", "is_restarted"),
    [
        ("permanent", "normal", True),
        ("permanent", "kill", True),
        ("transient", "normal", False),
        ("transient", "kill", True),
        ("temporary", "kill", False),
    ],
)
async def test_each_child_is_restarted_by_its_type_and_alone(
    restart: Any, reason: str, is_restarted: bool
) -> None:
    async with node() as stage:
        stage.gathers(SupervisorReport)
        log: list[Any] = []
        supervisor = await DynamicSupervisor.start_link()
        other = await add(supervisor, worker("other", log))
        pid = await add(supervisor, worker("a", log, restart=restart))
        await end(pid, reason)
        await settle()
        pids = await running(supervisor)
        assert pid not in pids and other in pids
        assert len(pids) == (2 if is_restarted else 1)
        assert log == [("start", "other"), ("start", "a"), *[("start", "a")] * is_restarted]


async def test_a_failed_restart_is_tried_again_and_counts() -> None:
    async with node() as stage:
        reports = stage.gathers(SupervisorReport)
        failures = {"a": 0}
        supervisor = await DynamicSupervisor.start(max_restarts=2)
        pid = await add(supervisor, worker("a", [], failures))
        failures["a"] = 1
        await end(pid, "kill")
        await settle()
        assert [context for context, *_ in contexts(reports)] == ["child_terminated", "start_error"]
        [pid] = await running(supervisor)
        exeunt.monitor(supervisor)
        await end(pid, "kill")
        assert (await receive(Down)).reason == "shutdown"
        stage.crash()


async def test_a_restart_that_ignores_drops_the_child() -> None:
    outcomes: list[Any] = [None, StartIgnored("x")]

    async def start() -> Pid:
        if (outcome := outcomes.pop(0)) is not None:
            raise outcome
        return spawn_link(idle)

    async with node() as stage:
        stage.gathers(SupervisorReport)
        supervisor = await DynamicSupervisor.start_link()
        exeunt.exit(await add(supervisor, ChildSpec(id="a", start=start)), "bad")
        await settle()
        assert await running(supervisor) == []


async def test_too_many_restarts_end_it_and_all_its_children() -> None:
    async with node() as stage:
        reports = stage.gathers(SupervisorReport)
        log: list[Any] = []
        supervisor = await DynamicSupervisor.start(max_restarts=1)
        pids = [await add(supervisor, worker(label, log)) for label in "abc"]
        exeunt.monitor(supervisor)
        for pid in pids[:2]:
            await end(pid, "kill")
        assert (await receive(Down)).reason == "shutdown"
        assert contexts(reports)[-1] == ("shutdown", "b", "reached_max_restart_intensity")
        assert sorted(log[4:]) == [("stop", "a", "shutdown"), ("stop", "c", "shutdown")]


async def test_the_end_of_others_is_none_of_its_business() -> None:
    async with node():
        supervisor = await DynamicSupervisor.start_link()
        pid = await add(supervisor, child(idle))
        actor = Actor()
        await actor.do(lambda: exeunt.exit(supervisor, "go away"))
        await settle()
        assert is_alive(supervisor) and is_alive(pid)


# -- terminate_child


async def test_a_terminated_child_is_shut_down_and_forgotten() -> None:
    async with node():
        log: list[Any] = []
        supervisor = await DynamicSupervisor.start_link()
        pid = await add(supervisor, worker("a", log))
        await DynamicSupervisor.terminate_child(supervisor, pid)
        assert not is_alive(pid)
        assert log == [("start", "a"), ("stop", "a", "shutdown")]
        assert await running(supervisor) == []
        with pytest.raises(ChildError) as caught:
            await DynamicSupervisor.terminate_child(supervisor, pid)
        assert caught.value.condition == "not_found"


async def test_only_its_own_children_can_be_terminated() -> None:
    async with node():
        supervisor = await DynamicSupervisor.start_link()
        stranger = exeunt.spawn(idle)
        with pytest.raises(ChildError, match="not_found"):
            await DynamicSupervisor.terminate_child(supervisor, stranger)
        assert is_alive(stranger)


# -- shutting down


async def test_children_are_shut_down_side_by_side() -> None:
    async with node():
        log: list[Any] = []
        supervisor = await DynamicSupervisor.start()
        for number in range(10):
            await add(supervisor, worker(str(number), log, None, 3))
        start = trio.current_time()
        await stop(supervisor)
        assert trio.current_time() - start == pytest.approx(3)
        assert len(log) == 20


async def stubborn() -> None:
    trap_exit()
    await trio.sleep_forever()


async def test_each_has_its_own_budget() -> None:
    async with node() as stage:
        reports = stage.gathers(SupervisorReport)
        supervisor = await DynamicSupervisor.start()
        for budget in (1, 4, "brutal_kill"):
            await add(supervisor, child(stubborn, id=budget).replace(shutdown=budget))
        await settle()
        start = trio.current_time()
        await stop(supervisor)
        assert trio.current_time() - start == pytest.approx(4)
        assert contexts(reports) == [
            ("shutdown_error", 1, "killed"),
            ("shutdown_error", 4, "killed"),
        ]


async def test_an_end_other_than_the_one_asked_for_is_reported() -> None:
    async def answers(reason: object) -> None:
        trap_exit()
        await receive(Exit)
        raise ProcessExit(reason)

    async with node() as stage:
        reports = stage.gathers(SupervisorReport)
        supervisor = await DynamicSupervisor.start()
        for reason in ("shutdown", Shutdown("x"), "normal", "bad"):
            await add(supervisor, child(answers, reason, id=reason))
        await settle()
        await stop(supervisor)
        assert contexts(reports) == [
            ("shutdown_error", "normal", "normal"),
            ("shutdown_error", "bad", "bad"),
        ]


async def test_a_child_found_dead_already_is_not_restarted_for_it() -> None:
    async with node() as stage:
        reports = stage.gathers(SupervisorReport)
        log: list[Any] = []
        supervisor = await DynamicSupervisor.start()
        pid = await add(supervisor, worker("a", log))
        await exeunt.suspend(supervisor)
        await end(pid, "kill")
        await stop(supervisor)
        assert log == [("start", "a")]
        assert contexts(reports) == [("shutdown_error", "a", "killed")]


async def test_killed_it_takes_its_children_along() -> None:
    async with node():
        supervisor = await DynamicSupervisor.start()
        pids = [await add(supervisor, child(idle)) for _ in range(3)]
        exeunt.exit(supervisor, "kill")
        for pid in pids:
            await exeunt.wait_exit(pid)
        await settle()
        assert exeunt.processes() == [exeunt.self_pid()]


async def test_it_can_be_a_child_itself() -> None:
    async with node() as stage:
        stage.gathers(SupervisorReport)
        spec = DynamicSupervisor.named("rooms").child(max_children=3)
        await Supervisor.start_link([spec, child(idle)])
        old = exeunt.whereis("rooms")
        assert old is not None
        await add(old, child(idle))
        exeunt.exit(old, "kill")
        await settle()
        new = exeunt.whereis("rooms")
        assert new is not None and new is not old
        assert await running(new) == []


async def test_many_children_end_at_once() -> None:
    async with node():
        supervisor = await DynamicSupervisor.start_link()
        pids = [await add(supervisor, child(idle).replace(restart="temporary")) for _ in range(300)]
        for pid in pids:
            exeunt.exit(pid, "normal")
            exeunt.exit(pid, "shutdown")
        await settle()
        assert await running(supervisor) == []
