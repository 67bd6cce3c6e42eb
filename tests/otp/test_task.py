"""Task: started by its owner, linked to it, awaited by it and by nobody else."""

from __future__ import annotations

import contextvars
from typing import Any

import pytest
import trio

from exeunt import (
    Call,
    CallCycle,
    CallFailed,
    Crash,
    Down,
    Exit,
    GenServer,
    Pid,
    ProcessExit,
    Reply,
    Shutdown,
    Supervisor,
    call,
    exit,
    is_alive,
    link,
    monitor,
    on_call,
    process_info,
    receive,
    self_pid,
    send,
    spawn,
    trap_exit,
    wait_exit,
)
from exeunt.otp import pending, task
from exeunt.otp.pending import Ok
from exeunt.otp.task import AlreadyAwaited, NotOwner, Task, TaskFailed
from exeunt.otp.task_process import callers
from tests.kernel.nodes import drain, idle, messages, node, settle
from tests.otp.examples import run_listings

pytestmark = pytest.mark.usefixtures("autojump_clock")


async def value_after(seconds: float, value: Any) -> Any:
    await trio.sleep(seconds)
    return value


async def fail_after(seconds: float) -> None:
    await trio.sleep(seconds)
    raise ValueError("it failed")


async def exit_with(reason: object) -> None:
    raise ProcessExit(reason)


def links() -> tuple[Pid, ...]:
    info = process_info(self_pid())
    assert info is not None
    return info.links


async def test_the_example_of_the_module_runs() -> None:
    async with node():
        await run_listings(task)


# -- async_ and await -----------------------------------------------------------------------------


async def test_a_task_gives_what_its_function_returns() -> None:
    async with node():
        one = Task.async_(value_after, 1, "done")
        assert one.owner is self_pid()
        assert links() == (one.pid,)
        started = trio.current_time()
        assert await one == "done"
        assert trio.current_time() == started + 1


async def test_nothing_is_left_of_a_task_that_was_awaited() -> None:
    async with node():
        one = Task.async_(value_after, 0, "done")
        assert await one == "done"
        assert not is_alive(one.pid)
        assert links() == ()
        assert drain() == []


async def test_a_task_that_has_ended_is_awaited_at_once() -> None:
    async with node():
        one = Task.async_(value_after, 0, "done")
        await trio.sleep(5)
        started = trio.current_time()
        assert await one == "done"
        assert trio.current_time() == started


async def test_a_task_that_fails_takes_its_owner_along_while_it_is_awaited() -> None:
    async with node() as stage:
        cleaned_up: list[str] = []

        async def owner() -> None:
            try:
                await Task.async_(fail_after, 1)
            finally:
                cleaned_up.append("owner")

        reason = await wait_exit(spawn(owner))
        assert isinstance(reason, Crash)
        assert isinstance(reason.exception, ValueError)
        assert cleaned_up == ["owner"]
        # The task's, and none of the owner, which has died of the signal.
        assert stage.crash().label == "fail_after"


async def test_a_task_that_fails_takes_its_owner_along_without_being_awaited() -> None:
    async with node() as stage:

        async def owner() -> None:
            Task.async_(fail_after, 1)
            await trio.sleep_forever()

        reason = await wait_exit(spawn(owner))
        assert isinstance(reason, Crash)
        stage.crash(ValueError)


async def test_an_owner_that_traps_gets_the_error_and_the_exit_as_well() -> None:
    async with node() as stage:
        trap_exit()
        one = Task.async_(fail_after, 1)
        with pytest.raises(TaskFailed, match=r"fail_after <.*> failed: ValueError") as caught:
            await one
        assert caught.value.pid is one.pid
        assert isinstance(caught.value.reason, Crash)
        assert isinstance(caught.value.__cause__, ValueError)
        assert drain() == [Exit(one.pid, caught.value.reason)]
        stage.crash(ValueError)


@pytest.mark.parametrize("reason", ["normal", "shutdown", Shutdown("soon"), "own"])
async def test_a_task_that_exits_has_no_result_whatever_the_reason(reason: object) -> None:
    async with node() as stage:
        trap_exit()
        one = Task.async_(exit_with, reason)
        with pytest.raises(TaskFailed) as caught:
            await one
        assert caught.value.reason == reason
        assert drain() == [Exit(one.pid, reason)]
        if reason == "own":
            assert stage.crash().reason == "own"


async def test_a_task_whose_exit_is_normal_does_not_harm_its_owner() -> None:
    async with node():
        with pytest.raises(TaskFailed) as caught:
            await Task.async_(exit_with, "normal")
        assert caught.value.reason == "normal"


async def test_a_task_ends_when_its_owner_fails() -> None:
    async with node() as stage:
        started: list[Pid] = []

        async def owner() -> None:
            started.append(Task.async_(idle).pid)
            raise ValueError

        await wait_exit(spawn(owner))
        assert isinstance(await wait_exit(started[0]), Crash | str)
        assert not is_alive(started[0])
        stage.crash(ValueError)


async def test_a_task_runs_on_when_its_owner_ends_in_order() -> None:
    async with node():
        started: list[Pid] = []

        async def owner() -> None:
            started.append(Task.async_(idle).pid)

        await wait_exit(spawn(owner))
        await settle()
        assert is_alive(started[0])


async def test_a_task_that_is_told_to_exit_and_returns_has_ended_of_the_signal() -> None:
    async with node():
        trap_exit()

        async def stubborn() -> str:
            try:
                await trio.sleep_forever()
            except trio.Cancelled:
                pass
            return "too late"

        one = Task.async_(stubborn)
        await settle()
        exit(one.pid, "enough")
        with pytest.raises(TaskFailed) as caught:
            await one
        assert caught.value.reason == "enough"


async def test_a_cancelled_await_leaves_the_task_as_it_is() -> None:
    async with node():
        one = Task.async_(value_after, 2, "done")
        with trio.move_on_after(1) as scope:
            await one
        assert scope.cancelled_caught
        assert is_alive(one.pid)
        assert await one == "done"


async def test_await_is_a_checkpoint_and_loses_nothing_when_it_is_cancelled() -> None:
    async with node():
        one = Task.async_(value_after, 0, "done")
        await trio.sleep(1)
        with trio.CancelScope() as scope:
            scope.cancel()
            await one
        assert scope.cancelled_caught
        assert await one == "done"


async def test_a_task_can_be_awaited_once() -> None:
    async with node():
        one = Task.async_(value_after, 0, "done")
        await one
        with pytest.raises(AlreadyAwaited, match="once is enough"):
            await one
        with pytest.raises(AlreadyAwaited):
            await one.yield_(0)
        with pytest.raises(AlreadyAwaited):
            await one.shutdown()
        with pytest.raises(AlreadyAwaited):
            one.ignore()


async def test_only_its_owner_may_ask_for_a_task() -> None:
    async with node() as stage:
        one = Task.async_(value_after, 1, "done")

        async def other() -> None:
            for ask in (one.yield_, one.shutdown, lambda: Task.await_many([one])):
                with pytest.raises(NotOwner, match=r"belongs to <.*> has asked for it"):
                    await ask()
            with pytest.raises(NotOwner):
                one.ignore()
            await one

        stage_pid = spawn(other)
        reason = await wait_exit(stage_pid)
        assert isinstance(reason, Crash)
        assert isinstance(reason.exception, NotOwner)
        stage.crash(NotOwner)
        assert await one == "done"


async def test_a_nursery_of_the_owner_may_await_its_tasks_but_not_one_twice() -> None:
    async with node():
        one, two = Task.async_(value_after, 1, 1), Task.async_(value_after, 1, 2)
        got: list[int] = []

        async def take(which: Task[int]) -> None:
            got.append(await which)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(take, one)
            nursery.start_soon(take, two)
            await settle()
            with pytest.raises(RuntimeError, match="waits for the same Task"):
                await one
        assert sorted(got) == [1, 2]


async def test_a_coroutine_is_refused_where_the_mistake_was_made() -> None:
    async with node():
        given: Any = value_after(1, 2)
        with pytest.raises(TypeError, match="without calling it"):
            Task.async_(given)
        nothing: Any = None
        with pytest.raises(TypeError, match="not None"):
            Task.start(nothing)
        with pytest.raises(TypeError, match="not None"):
            Task.child(nothing)


async def test_a_task_sees_the_context_of_its_owner() -> None:
    request: contextvars.ContextVar[str] = contextvars.ContextVar("request")

    async def look() -> str:
        return request.get()

    async with node():
        request.set("number 7")
        assert await Task.async_(look) == "number 7"


async def test_a_monitor_tells_by_a_message_that_the_outcome_is_there() -> None:
    async with node():
        one = Task.async_(value_after, 1, "done")
        ref = monitor(one.pid)
        assert await receive(Down) == Down(ref, one.pid, "normal")
        assert await one.yield_(0) == Ok("done")


async def test_a_crash_is_reported_with_who_started_the_task() -> None:
    async with node() as stage:
        trap_exit()
        one = Task.async_(fail_after, 0.5)
        await one.yield_()
        report = stage.crash(ValueError)
        assert report.details == {
            "started from": repr(self_pid()),
            "function": "fail_after",
            "arguments": "(0.5,)",
        }
        assert report.ancestors == (self_pid(),)


# -- cycles ---------------------------------------------------------------------------------------


class Waiting(GenServer):
    """Awaits a task that asks it something."""

    async def init(self, pause: float) -> None:
        trap_exit()
        self.pause = pause

    @on_call
    async def ask_oneself(self) -> object:
        one = Task.async_(self._ask, self.pid, self.pause)
        await trio.sleep(1 - self.pause)
        try:
            return await one
        except TaskFailed as failed:
            await one.shutdown("brutal_kill")
            return failed.reason

    async def handle_call(self, request: object, caller: Call) -> Reply[str]:
        return Reply("too late")

    async def handle_info(self, message: object) -> None:
        assert isinstance(message, Exit)

    @staticmethod
    async def _ask(server: Pid, pause: float) -> object:
        await trio.sleep(pause)
        try:
            return await call(server, "anything")
        except CallFailed as failed:
            return failed.reason


@pytest.mark.parametrize("pause", [0.0, 1.0])
async def test_a_task_that_calls_the_server_which_awaits_it_is_found_at_once(pause: float) -> None:
    # The call comes first, or the await does.
    async with node():
        server = await Waiting.start_link(pause)
        with trio.fail_after(10):
            reason = await Waiting.ask_oneself(server)
        assert isinstance(reason, CallCycle)
        assert server in reason.pids and len(reason.pids) == 2


# -- yield ----------------------------------------------------------------------------------------


async def test_yield_gives_none_when_the_time_is_over_and_may_be_asked_again() -> None:
    async with node():
        one = Task.async_(value_after, 2, "done")
        assert await one.yield_(1) is None
        assert await one.yield_(0) is None
        assert await one.yield_(2) == Ok("done")


async def test_yield_gives_the_reason_of_a_task_that_failed() -> None:
    async with node() as stage:
        trap_exit()
        one = Task.async_(exit_with, "own")
        assert await one.yield_() == Exit(one.pid, "own")
        assert await Task.async_(exit_with, "normal").yield_() is not None
        stage.crash()


async def test_the_time_of_yield_is_not_that_of_the_scope_around_it() -> None:
    async with node():
        one = Task.async_(idle)
        with trio.move_on_after(1) as scope:
            await one.yield_(5)
        assert scope.cancelled_caught


# -- shutdown -------------------------------------------------------------------------------------


async def test_shutdown_of_a_running_task_gives_none_and_it_is_dead() -> None:
    async with node():
        one = Task.async_(idle)
        assert await one.shutdown() is None
        assert not is_alive(one.pid)
        assert links() == ()
        assert drain() == []


async def test_shutdown_gives_the_result_that_was_there() -> None:
    async with node():
        one = Task.async_(value_after, 0, "done")
        await trio.sleep(1)
        assert await one.shutdown() == Ok("done")


async def test_shutdown_gives_the_result_of_a_task_that_traps_and_returns() -> None:
    async with node():

        async def orderly() -> str:
            trap_exit()
            assert (await receive(Exit)).reason == "shutdown"
            return "as far as I got"

        one = Task.async_(orderly)
        await settle()
        assert await one.shutdown() == Ok("as far as I got")


async def test_shutdown_gives_the_reason_of_a_task_that_had_failed() -> None:
    async with node() as stage:
        trap_exit()
        one = Task.async_(exit_with, "own")
        await settle()
        assert await one.shutdown() == Exit(one.pid, "own")
        stage.crash()


async def test_shutdown_of_a_task_that_ended_of_shutdown_gives_none() -> None:
    async with node():
        trap_exit()
        one = Task.async_(exit_with, "shutdown")
        await settle()
        assert await one.shutdown() is None


async def ignoring() -> None:
    trap_exit()
    await trio.sleep_forever()


async def test_a_task_that_does_not_shut_down_in_time_is_killed() -> None:
    async with node():
        one = Task.async_(ignoring)
        await settle()
        started = trio.current_time()
        assert await one.shutdown(2) == Exit(one.pid, "killed")
        assert trio.current_time() == started + 2


async def test_brutal_kill_gives_none_at_once() -> None:
    async with node():
        one = Task.async_(ignoring)
        await settle()
        started = trio.current_time()
        assert await one.shutdown("brutal_kill") is None
        assert trio.current_time() == started


async def test_a_task_is_killed_if_its_shutdown_is_cancelled() -> None:
    async with node():
        one = Task.async_(ignoring)
        await settle()
        with trio.move_on_after(1):
            await one.shutdown("infinity")
        assert not is_alive(one.pid)
        assert await one.yield_() == Exit(one.pid, "killed")


# -- ignore ---------------------------------------------------------------------------------------


async def test_a_task_that_is_ignored_runs_on_and_harms_nobody() -> None:
    async with node() as stage:
        one = Task.async_(fail_after, 1)
        assert one.ignore() is None
        assert links() == ()
        await trio.sleep(2)
        assert not is_alive(one.pid)
        stage.crash(ValueError)


async def test_ignore_gives_the_outcome_that_is_there() -> None:
    async with node():
        trap_exit()
        one, two = Task.async_(value_after, 0, "done"), Task.async_(exit_with, "shutdown")
        await trio.sleep(1)
        assert one.ignore() == Ok("done")
        assert two.ignore() == Exit(two.pid, "shutdown")


# -- many -----------------------------------------------------------------------------------------


async def test_await_many_gives_the_results_in_the_order_of_the_tasks() -> None:
    async with node():
        started = trio.current_time()
        tasks = [Task.async_(value_after, seconds, seconds) for seconds in (3, 1, 2)]
        assert await Task.await_many(tasks) == [3, 1, 2]
        assert trio.current_time() == started + 3
        assert await Task.await_many([]) == []


async def test_await_many_fails_with_the_first_that_fails_and_leaves_the_others() -> None:
    async with node() as stage:
        trap_exit()
        slow, bad = Task.async_(value_after, 3, "done"), Task.async_(fail_after, 1)
        started = trio.current_time()
        with pytest.raises(TaskFailed, match="fail_after"):
            await Task.await_many([slow, bad])
        assert trio.current_time() == started + 1
        assert await slow == "done"
        with pytest.raises(AlreadyAwaited):
            await bad
        stage.crash(ValueError)


async def test_await_many_refuses_the_same_task_twice() -> None:
    async with node():
        one = Task.async_(value_after, 1, "done")
        with pytest.raises(ValueError, match="there twice"):
            await Task.await_many([one, one])
        assert await one == "done"


async def test_yield_many_has_one_time_for_all_and_can_be_asked_again() -> None:
    async with node() as stage:
        trap_exit()
        quick, slow, bad = (
            Task.async_(value_after, 1, "quick"),
            Task.async_(value_after, 3, "slow"),
            Task.async_(fail_after, 1),
        )
        found = await Task.yield_many([quick, slow, bad], 2)
        assert [one for one, _ in found] == [quick, slow, bad]
        assert [found[0][1], found[1][1]] == [Ok("quick"), None]
        assert isinstance(found[2][1], Exit)
        assert await Task.yield_many([slow]) == [(slow, Ok("slow"))]
        stage.crash(ValueError)


# -- start, child, callers ------------------------------------------------------------------------


async def test_start_runs_a_function_that_nobody_is_linked_to() -> None:
    async with node() as stage:
        pid = Task.start(fail_after, 1)
        assert links() == ()
        assert isinstance(await wait_exit(pid), Crash)
        assert stage.crash().details["function"] == "fail_after"


async def test_start_link_runs_a_function_that_takes_its_starter_along() -> None:
    async with node() as stage:

        async def starter() -> None:
            Task.start_link(fail_after, 1)
            await trio.sleep_forever()

        assert isinstance(await wait_exit(spawn(starter)), Crash)
        stage.crash(ValueError)


async def test_a_task_as_a_child_is_temporary() -> None:
    async with node() as stage:
        seen: list[str] = []

        async def note(what: str) -> None:
            seen.append(what)
            await trio.sleep(1)
            raise ValueError

        spec = Task.child(note, "once")
        assert spec.restart == "temporary"
        assert spec.id == note.__qualname__
        tree = await Supervisor.start_link([spec])
        await trio.sleep(5)
        assert seen == ["once"]
        assert await Supervisor.which_children(tree) == []
        stage.crash(ValueError)
        stage.logged("ended: ValueError")


async def test_a_task_knows_its_callers() -> None:
    async with node():
        found: dict[str, tuple[Pid, ...]] = {}

        async def inner() -> Pid:
            found["inner"] = callers()
            return self_pid()

        async def outer() -> Pid:
            found["outer"] = callers()
            await Task.async_(inner)
            # A process that is no task has no callers, though it inherits the context.
            child = spawn(not_a_task)
            await wait_exit(child)
            return self_pid()

        async def not_a_task() -> None:
            found["not a task"] = callers()

        assert callers() == ()
        outer_pid = await Task.async_(outer)
        assert found == {
            "outer": (self_pid(),),
            "inner": (outer_pid, self_pid()),
            "not a task": (),
        }


async def test_a_process_may_link_to_a_task_of_another_as_to_any() -> None:
    async with node() as stage:
        one = Task.async_(fail_after, 1)

        async def friend() -> None:
            link(one.pid)
            await trio.sleep_forever()

        pid = spawn(friend)
        one.ignore()
        assert isinstance(await wait_exit(pid), Crash)
        stage.crash(ValueError)


async def test_hundreds_of_tasks_are_awaited_and_nothing_is_left() -> None:
    async with node() as stage:

        async def number(which: int) -> int:
            return which

        tasks = [Task.async_(number, which) for which in range(300)]
        assert await Task.await_many(tasks) == list(range(300))
        assert len(stage.node.processes) == 1
        assert messages(self_pid()) == []


async def test_a_message_to_a_task_is_received_by_it() -> None:
    async with node():

        async def listen() -> object:
            return await receive()

        one = Task.async_(listen)
        send(one.pid, "hello")
        assert await one == "hello"


def test_the_module_of_outcomes_says_how_they_differ_from_messages() -> None:
    assert "monitor(task.pid)" in (pending.__doc__ or "")
