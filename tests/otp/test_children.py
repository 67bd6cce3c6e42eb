"""Plain async functions as children: those that are up at once, and those that say when."""

from __future__ import annotations

from functools import partial, wraps
from typing import Any

import pytest
import trio

from exeunt import (
    CallCycle,
    CallFailed,
    ChildSpec,
    Crash,
    DynamicSupervisor,
    FailedToStart,
    Pid,
    ProcessExit,
    Shutdown,
    StartFailed,
    Supervisor,
    call,
    child,
    exit,
    is_alive,
    processes,
    receive_nowait,
    self_pid,
    spawn,
    stop,
    trap_exit,
    wait_exit,
    whereis,
)
from tests.kernel.nodes import Stage, idle, node, settle

pytestmark = pytest.mark.usefixtures("autojump_clock")


async def slow(
    seconds: float, *, task_status: trio.TaskStatus[object] = trio.TASK_STATUS_IGNORED
) -> None:
    """Take a while to start."""
    await trio.sleep(seconds)
    task_status.started()
    await trio.sleep_forever()


async def never(reason: object, *, task_status: trio.TaskStatus[object]) -> None:
    """End without having started, after a while."""
    await trio.sleep(1)
    if isinstance(reason, Exception):
        raise reason
    if reason != "normal":
        raise ProcessExit(reason)


async def pid_of(supervisor: Pid, id: object) -> Pid:
    for info in await Supervisor.which_children(supervisor):
        if info.id == id:
            assert isinstance(info.pid, Pid)
            return info.pid
    raise AssertionError(f"no child {id!r}")


def forgive_start_error(stage: Stage) -> None:
    stage.logged("could not be started")


# -- functions that are up at once ----------------------------------------------------------------


async def test_a_function_counts_as_started_as_soon_as_it_was_spawned() -> None:
    async with node():
        began = trio.current_time()
        supervisor = await Supervisor.start_link([child(trio.sleep, 100.0)])
        assert trio.current_time() == began
        assert is_alive(await pid_of(supervisor, "sleep"))


async def test_a_child_is_called_by_its_function_unless_it_has_an_id() -> None:
    assert child(idle).id == "idle"
    assert child(idle, id="other").id == "other"
    assert child(slow, 1.0).id == "slow"


def test_a_call_instead_of_a_function_is_refused() -> None:
    with pytest.raises(TypeError, match="without calling it"):
        child(idle())  # type: ignore[arg-type]


# -- functions that say when they are up ----------------------------------------------------------


async def test_a_function_with_a_task_status_is_started_when_it_says_so() -> None:
    async with node():
        began = trio.current_time()
        supervisor = await Supervisor.start_link([child(slow, 2.0), child(idle)])
        assert trio.current_time() == began + 2.0
        assert is_alive(await pid_of(supervisor, "slow"))
        assert await Supervisor.start_child(supervisor, child(slow, 3.0, id="more")) is not None
        assert trio.current_time() == began + 5.0


async def test_the_next_child_waits_for_it() -> None:
    order: list[str] = []

    async def first(*, task_status: trio.TaskStatus[None]) -> None:
        await trio.sleep(1)
        order.append("first is up")
        task_status.started()
        await trio.sleep_forever()

    async def second() -> None:
        order.append("second")
        await trio.sleep_forever()

    async with node():
        await Supervisor.start_link([child(first), child(second)])
        await settle()
        assert order == ["first is up", "second"]


async def test_functions_of_trio_are_children_like_others() -> None:
    async def serve(stream: trio.SocketStream) -> None:
        await stream.send_all(b"hello")

    async with node():
        supervisor = await Supervisor.start_link(
            [child(partial(trio.serve_tcp, host="127.0.0.1"), serve, 0, id="tcp")]
        )
        assert is_alive(await pid_of(supervisor, "tcp"))
        await stop(supervisor)


@pytest.mark.parametrize("reason", ["normal", "shutdown", "kaput"])
async def test_one_that_ends_before_it_is_up_has_failed_to_start(reason: str) -> None:
    async with node() as stage:
        supervisor = await Supervisor.start_link([])
        with pytest.raises(StartFailed) as failed:
            await Supervisor.start_child(supervisor, child(never, reason))
        assert failed.value.reason == reason
        assert failed.value.label == "never"
        assert await Supervisor.which_children(supervisor) == []
        # The supervisor has no message of it left.
        await settle()
        assert is_alive(supervisor)
        assert stage.log.texts() == []


async def test_a_starter_that_traps_exits_gets_the_error_and_no_exit_message() -> None:
    async with node():
        trap_exit()
        with pytest.raises(StartFailed):
            await child(never, "shutdown").start()
        with pytest.raises(trio.WouldBlock):
            receive_nowait()


async def test_one_that_raises_before_it_is_up_has_failed_with_what_it_raised() -> None:
    async with node() as stage:
        trap_exit()
        error = ValueError("kaput")
        with pytest.raises(StartFailed) as failed:
            await Supervisor.start_link([child(idle), child(never, error)])
        assert failed.value.reason == Shutdown(FailedToStart("never", Crash(error)))
        stage.crash(ValueError)
        forgive_start_error(stage)


async def test_once_it_is_up_it_is_restarted_like_any_other() -> None:
    async with node() as stage:
        supervisor = await Supervisor.start_link([child(slow, 1.0)])
        first = await pid_of(supervisor, "slow")
        exit(first, "gone")
        await wait_exit(first)
        began = trio.current_time()
        second = await pid_of(supervisor, "slow")
        assert second is not first
        assert trio.current_time() == began + 1.0
        stage.logged("ended: gone")


async def test_what_it_does_afterwards_is_no_failure_of_the_start() -> None:
    async def brief(*, task_status: trio.TaskStatus[None]) -> None:
        task_status.started()

    async with node() as stage:
        supervisor = await Supervisor.start_link([child(brief).replace(restart="transient")])
        await settle()
        (info,) = await Supervisor.which_children(supervisor)
        assert info.pid is None
        assert stage.log.texts() == []


async def test_a_value_may_be_given_and_started_is_called_once() -> None:
    caught: list[RuntimeError] = []

    async def twice(*, task_status: trio.TaskStatus[str]) -> None:
        task_status.started("value")
        try:
            task_status.started("again")
        except RuntimeError as error:
            caught.append(error)
        await trio.sleep_forever()

    async with node():
        await Supervisor.start_link([child(twice)])
        await settle()
        assert "a second time" in str(caught[0])


async def test_started_may_be_called_by_a_task_of_the_child() -> None:
    async def nested(*, task_status: trio.TaskStatus[object]) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(partial(slow, 1.0, task_status=task_status))

    async with node():
        began = trio.current_time()
        await Supervisor.start_link([child(nested)])
        assert trio.current_time() == began + 1.0


async def test_a_supervisor_that_is_killed_meanwhile_takes_it_along() -> None:
    started: list[Pid] = []

    async def hangs(*, task_status: trio.TaskStatus[None]) -> None:
        started.append(self_pid())
        await trio.sleep_forever()

    async def parent() -> None:
        with pytest.raises(StartFailed):
            await Supervisor.named("above").start([child(hangs)])

    async with node():
        spawn(parent)
        await settle()
        assert is_alive(started[0])
        above = whereis("above")
        assert above is not None
        exit(above, "kill")
        assert await wait_exit(started[0]) == "killed"


async def test_a_starter_that_gives_up_ends_it() -> None:
    async with node():
        before = processes()
        with trio.move_on_after(1):
            await child(slow, 10.0).start()
        await settle()
        assert processes() == before
        await trio.sleep(20)


async def test_one_that_calls_the_supervisor_that_waits_for_it_is_told_so() -> None:
    told: list[object] = []

    async def circular(supervisor: Pid, *, task_status: trio.TaskStatus[None]) -> None:
        try:
            await call(supervisor, "anything")
        except CallFailed as failed:
            told.append(failed.reason)
        task_status.started()
        await trio.sleep_forever()

    async with node():
        supervisor = await DynamicSupervisor.start_link()
        pid = await DynamicSupervisor.start_child(supervisor, child(circular, supervisor))
        assert isinstance(pid, Pid)
        assert told == [CallCycle((pid, supervisor))]


# -- which functions those are --------------------------------------------------------------------


def waits(spec: ChildSpec) -> bool:
    start: Any = spec.start
    return bool(start.func.__name__ == "_start_function")


async def _positional(seconds: float, task_status: Any = trio.TASK_STATUS_IGNORED) -> None: ...


async def _only_positional(task_status: Any, /) -> None: ...


async def _any(**options: Any) -> None: ...


@wraps(slow)
async def _wrapped(*args: Any, **kwargs: Any) -> None:
    await slow(*args, **kwargs)


class _Callable:
    async def __call__(self, *, task_status: Any) -> None: ...

    async def method(self, *, task_status: Any) -> None: ...


def test_a_parameter_called_task_status_is_what_counts() -> None:
    given: Any = partial(slow, task_status=trio.TASK_STATUS_IGNORED)
    positional: Any = _positional
    only_positional: Any = _only_positional
    waiting = [
        child(slow, 1.0),
        child(positional, 1.0),
        child(partial(slow, 1.0), id="x"),
        child(_wrapped, 1.0),
        child(_Callable(), id="x"),
        child(_Callable().method),
    ]
    assert all(waits(spec) for spec in waiting)
    at_once = [
        child(idle),
        child(trio.sleep, 1.0),
        child(given, 1.0, id="x"),
        child(positional, 1.0, trio.TASK_STATUS_IGNORED),
        child(only_positional, None),
        child(_any),
    ]
    assert not any(waits(spec) for spec in at_once)
