"""TaskSupervisor: tasks in the supervision tree, linked to their owner or not."""

from __future__ import annotations

import contextvars
from typing import Any

import pytest
import trio

from exeunt import (
    CallFailed,
    ChildError,
    Crash,
    Exit,
    MaxChildren,
    NoProcess,
    Pid,
    ProcessExit,
    Supervisor,
    exit,
    is_alive,
    process_info,
    resume,
    self_pid,
    send,
    spawn,
    stop,
    suspend,
    trap_exit,
    wait_exit,
)
from exeunt.kernel.exits import Reason
from exeunt.otp import pending, task_supervisor
from exeunt.otp.children import child
from exeunt.otp.dynamic_supervisor import DynamicSupervisor
from exeunt.otp.pending import Ok
from exeunt.otp.task import TaskFailed
from exeunt.otp.task_process import callers
from exeunt.otp.task_supervisor import TaskSupervisor
from tests.kernel.nodes import Actor, drain, idle, node, settle, trapping
from tests.otp.examples import run_listings

pytestmark = pytest.mark.usefixtures("autojump_clock")


async def value_after(seconds: float, value: Any) -> Any:
    await trio.sleep(seconds)
    return value


async def exit_after(seconds: float, reason: object) -> None:
    await trio.sleep(seconds)
    raise ProcessExit(reason)


async def jobs(**options: Any) -> Pid:
    return await TaskSupervisor.named("jobs").start_link(**options)


async def test_the_example_of_the_module_runs() -> None:
    async with node():
        await run_listings(task_supervisor, pending, Task=Any)


async def test_a_supervised_task_gives_what_its_function_returns() -> None:
    async with node():
        supervisor = await jobs()
        one = await TaskSupervisor.async_("jobs", value_after, 1, "done")
        info = process_info(one.pid)
        assert info is not None
        assert set(info.links) == {self_pid(), supervisor}
        assert info.parent is supervisor
        assert (await TaskSupervisor.count_children("jobs")).active == 1
        assert await one == "done"
        await settle()
        assert await TaskSupervisor.which_children("jobs") == []
        assert drain() == []


async def test_a_linked_task_that_fails_takes_its_owner_along_and_not_the_supervisor() -> None:
    async with node() as stage:
        supervisor = await jobs()

        async def owner() -> None:
            await (await TaskSupervisor.async_("jobs", exit_after, 1, "own"))

        assert await wait_exit(spawn(owner)) == "own"
        assert is_alive(supervisor)
        assert stage.crash().label == "exit_after"
        stage.logged("ended: own")


async def test_a_linked_task_ends_when_its_owner_fails() -> None:
    async with node():
        await jobs()
        started: list[Pid] = []

        async def owner() -> None:
            started.append((await TaskSupervisor.async_("jobs", idle)).pid)
            await trio.sleep_forever()

        pid = spawn(owner)
        await settle()
        exit(pid, "shutdown")
        await wait_exit(pid)
        await settle()
        assert not is_alive(started[0])


async def test_a_task_without_a_link_fails_alone() -> None:
    async with node() as stage:
        await jobs()
        one = await TaskSupervisor.async_nolink("jobs", exit_after, 1, "own")
        with pytest.raises(TaskFailed) as caught:
            await one
        assert caught.value.reason == "own"
        assert drain() == []
        stage.crash()
        await settle()
        stage.logged("ended: own")


async def test_a_task_without_a_link_runs_on_when_its_owner_dies() -> None:
    async with node():
        await jobs()
        started: list[Pid] = []

        async def owner() -> None:
            started.append((await TaskSupervisor.async_nolink("jobs", idle)).pid)
            raise ProcessExit("shutdown")

        await wait_exit(spawn(owner))
        await settle()
        assert is_alive(started[0])


@pytest.mark.parametrize("reason", ["normal", "shutdown"])
async def test_an_orderly_exit_is_not_reported(reason: str) -> None:
    async with node():
        await jobs()
        one = await TaskSupervisor.async_nolink("jobs", exit_after, 0, reason)
        assert await one.yield_() == Exit(one.pid, reason)


async def test_max_children_is_raised_to_who_asked() -> None:
    async with node():
        await jobs(max_children=1)
        one = await TaskSupervisor.async_("jobs", value_after, 1, "done")
        with pytest.raises(MaxChildren):
            await TaskSupervisor.async_("jobs", idle)
        with pytest.raises(MaxChildren):
            await TaskSupervisor.async_nolink("jobs", idle)
        with pytest.raises(MaxChildren):
            await TaskSupervisor.start_child("jobs", idle)
        assert await one == "done"
        await settle()
        assert await (await TaskSupervisor.async_("jobs", value_after, 0, 2)) == 2


async def test_a_supervisor_that_is_not_there_is_a_failed_call() -> None:
    async with node():
        with pytest.raises(CallFailed) as caught:
            await TaskSupervisor.async_("nobody", idle)
        assert caught.value.reason == "noproc"


async def test_a_supervisor_of_another_kind_refuses_tasks() -> None:
    async with node():
        other = await DynamicSupervisor.start_link()
        with pytest.raises(TypeError, match="is no TaskSupervisor"):
            await TaskSupervisor.async_(other, idle)
        assert is_alive(other)


async def test_no_task_is_started_for_an_owner_that_gave_up_meanwhile() -> None:
    async with node():
        supervisor = await jobs()
        await suspend(supervisor)
        started: list[str] = []

        async def note() -> None:
            started.append("started")

        with trio.move_on_after(1):
            await TaskSupervisor.async_nolink("jobs", note)
        await resume(supervisor)
        await settle()
        assert started == []


async def test_no_linked_task_is_started_for_an_owner_that_is_ending() -> None:
    async with node():
        supervisor = await jobs()
        found: list[BaseException] = []

        async def owner() -> None:
            try:
                await trio.sleep_forever()
            finally:
                with trio.CancelScope(shield=True):
                    try:
                        await TaskSupervisor.async_("jobs", idle)
                    except NoProcess as error:
                        found.append(error)

        pid = spawn(owner)
        await settle()
        exit(pid, "shutdown")
        await wait_exit(pid)
        assert len(found) == 1
        assert await TaskSupervisor.which_children(supervisor) == []


# -- in the tree ----------------------------------------------------------------------------------


async def test_tasks_are_shut_down_with_their_supervisor() -> None:
    async with node() as stage:
        trap_exit()
        supervisor = await jobs()
        gentle = await TaskSupervisor.async_nolink("jobs", idle)
        stubborn = await TaskSupervisor.async_nolink("jobs", trapping)
        await settle()
        started = trio.current_time()
        await stop(supervisor)
        assert trio.current_time() == started + 5
        assert await gentle.yield_() == Exit(gentle.pid, "shutdown")
        assert await stubborn.yield_() == Exit(stubborn.pid, "killed")
        stage.logged("did not shut down in order: killed")


async def test_a_task_can_be_terminated_through_its_supervisor() -> None:
    async with node():
        await jobs()
        one = await TaskSupervisor.async_nolink("jobs", idle)
        await TaskSupervisor.terminate_child("jobs", one.pid)
        assert await one.yield_() == Exit(one.pid, "shutdown")
        with pytest.raises(ChildError, match="not_found"):
            await TaskSupervisor.terminate_child("jobs", one.pid)


async def test_a_supervisor_of_tasks_is_a_child_like_any_other() -> None:
    async with node():
        spec = TaskSupervisor.named("jobs").child(max_children=3)
        assert (spec.id, spec.type) == ("jobs", "supervisor")
        await Supervisor.start_link([spec])
        assert await (await TaskSupervisor.async_("jobs", value_after, 0, 1)) == 1


# -- start_child ----------------------------------------------------------------------------------


async def test_start_child_runs_a_function_that_nobody_awaits() -> None:
    async with node():
        await jobs()
        actor = Actor()
        pid = await TaskSupervisor.start_child("jobs", exit_and_tell, actor.pid)
        await wait_exit(pid)
        assert actor.messages == [("done", pid)]
        assert drain() == []


async def exit_and_tell(to: Pid) -> None:
    send(to, ("done", self_pid()))


async def test_a_task_of_start_child_is_restarted_only_if_that_is_asked_for() -> None:
    async with node() as stage:
        await jobs()
        runs: list[str] = []

        async def twice(which: str) -> None:
            runs.append(which)
            await trio.sleep(1)
            if runs.count(which) < 2:
                raise ProcessExit("again")

        await TaskSupervisor.start_child("jobs", twice, "temporary")
        await TaskSupervisor.start_child("jobs", twice, "transient", restart="transient")
        await trio.sleep(10)
        assert runs == ["temporary", "transient", "transient"]
        stage.crashes(2)
        stage.logged("ended: again")
        stage.logged("ended: again")
        assert await TaskSupervisor.which_children("jobs") == []


async def test_the_functions_of_a_dynamic_supervisor_serve_it_too() -> None:
    async with node():
        supervisor = await jobs()
        pid = await DynamicSupervisor.start_child(supervisor, child(idle))
        assert [one.pid for one in await DynamicSupervisor.which_children(supervisor)] == [pid]


# -- callers and context --------------------------------------------------------------------------


async def test_a_supervised_task_knows_its_callers_and_sees_their_context() -> None:
    request: contextvars.ContextVar[str] = contextvars.ContextVar("request", default="none")
    found: dict[str, tuple[Any, ...]] = {}

    async def note(name: str) -> None:
        found[name] = (callers(), request.get())

    async def outer() -> Pid:
        await (await TaskSupervisor.async_("jobs", note, "inner"))
        return self_pid()

    async with node():
        await jobs()
        request.set("number 7")
        outer_pid = await (await TaskSupervisor.async_nolink("jobs", outer))
        await wait_exit(await TaskSupervisor.start_child("jobs", note, "child"))
        main = self_pid()
        assert found == {
            "inner": ((outer_pid, main), "number 7"),
            "child": ((main,), "number 7"),
        }


async def test_a_task_that_was_restarted_keeps_its_callers_and_context() -> None:
    request: contextvars.ContextVar[str] = contextvars.ContextVar("request", default="none")
    found: list[tuple[Any, ...]] = []

    async def note() -> None:
        found.append((callers(), request.get()))
        if len(found) < 3:
            raise ProcessExit("again")

    async with node() as stage:
        await jobs()
        request.set("number 7")
        await TaskSupervisor.start_child("jobs", note, restart="transient")
        await settle()
        assert found == [((self_pid(),), "number 7")] * 3
        stage.crashes(2)
        for _ in range(2):
            stage.logged("ended: again")


async def test_the_crash_report_names_the_owner_and_the_tree() -> None:
    async with node() as stage:
        supervisor = await jobs()
        await (await TaskSupervisor.async_nolink("jobs", exit_after, 0, "own")).yield_()
        report = stage.crash()
        assert report.details["started from"] == repr(self_pid())
        assert report.ancestors[0] is supervisor
        await settle()
        stage.logged("child 'exit_after'")


async def test_ok_is_what_a_yield_gives() -> None:
    async with node():
        await jobs()
        one = await TaskSupervisor.async_nolink("jobs", value_after, 1, "done")
        assert await one.yield_(0.5) is None
        assert await one.yield_() == Ok("done")


async def test_the_reason_of_a_crash_is_that_of_the_task() -> None:
    async def fail() -> None:
        raise ValueError("it failed")

    async with node() as stage:
        await jobs()
        one = await TaskSupervisor.async_nolink("jobs", fail)
        outcome = await one.yield_()
        assert isinstance(outcome, Exit)
        reason: Reason = outcome.reason
        assert isinstance(reason, Crash) and isinstance(reason.exception, ValueError)
        stage.crash(ValueError)
        await settle()
        stage.logged("ended: ValueError")
