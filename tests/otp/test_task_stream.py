"""async_stream: bounded, ordered, lazy, and over when its block is left."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
import trio

from exeunt import (
    Crash,
    Exit,
    MaxChildren,
    Pid,
    ProcessExit,
    exit,
    is_alive,
    processes,
    self_pid,
    spawn,
    trap_exit,
    wait_exit,
)
from exeunt.otp import task_stream
from exeunt.otp.dynamic_supervisor import DynamicSupervisor
from exeunt.otp.pending import Ok
from exeunt.otp.task import Task
from exeunt.otp.task_stream import TaskStream
from exeunt.otp.task_supervisor import TaskSupervisor
from tests.kernel.nodes import Stage, drain, node, settle
from tests.otp.examples import run_listings

pytestmark = pytest.mark.usefixtures("autojump_clock")

StreamOf = Callable[..., TaskStream[Any]]
"""`async_stream` without its first argument."""


class Work:
    """Sleeps for each item, and keeps account of what runs."""

    def __init__(self) -> None:
        self.running: list[float] = []
        self.started: list[float] = []
        self.most = 0
        self.pids: dict[float, Pid] = {}

    async def __call__(self, seconds: float) -> float:
        self.started.append(seconds)
        self.running.append(seconds)
        self.most = max(self.most, len(self.running))
        self.pids[seconds] = self_pid()
        try:
            await trio.sleep(abs(seconds))
            if seconds < 0:
                raise ProcessExit("negative")
            return seconds
        finally:
            self.running.remove(seconds)


async def gather(stream: TaskStream[Any]) -> list[Any]:
    async with stream as results:
        return [result async for result in results]


async def supervised() -> StreamOf:
    await TaskSupervisor.named("jobs").start_link()
    return partial(TaskSupervisor.async_stream, "jobs")


async def unsupervised() -> StreamOf:
    return Task.async_stream


both = pytest.mark.parametrize("opener", [unsupervised, supervised])


async def test_the_example_of_the_module_runs(capsys: pytest.CaptureFixture[str]) -> None:
    async with node():
        await run_listings(task_stream, Task=Task, Ok=Ok)
    assert capsys.readouterr().out.split() == ["6", "2", "4"]


# -- order and number -----------------------------------------------------------------------------


@both
async def test_results_come_in_the_order_of_the_items(opener: Any) -> None:
    async with node():
        work = Work()
        stream = (await opener())([3, 1, 2, 5, 4], work, max_concurrency=2)
        assert await gather(stream) == [Ok(3), Ok(1), Ok(2), Ok(5), Ok(4)]
        assert work.most == 2


@both
async def test_unordered_results_come_in_the_order_in_which_tasks_end(opener: Any) -> None:
    async with node():
        work = Work()
        stream = (await opener())([3, 1, 2.5, 0.5], work, max_concurrency=3, ordered=False)
        assert await gather(stream) == [Ok(1), Ok(0.5), Ok(2.5), Ok(3)]
        assert work.most == 3


@both
async def test_nothing_is_left_of_a_stream_that_was_gone_through(opener: Any) -> None:
    async with node():
        stream_of = await opener()
        before = processes()
        trap_exit()
        assert await gather(stream_of(range(50), Work(), max_concurrency=7)) == [
            Ok(number) for number in range(50)
        ]
        await settle()
        assert processes() == before
        assert drain() == []


@both
async def test_an_empty_stream_ends_at_once(opener: Any) -> None:
    async with node():
        assert await gather((await opener())([], Work(), max_concurrency=1)) == []


@pytest.mark.parametrize("ordered", [True, False])
async def test_tasks_may_end_before_it_is_known_that_they_have_started(ordered: bool) -> None:
    async def at_once(number: int) -> int:
        return number

    async with node():
        await TaskSupervisor.named("jobs").start_link()
        stream = TaskSupervisor.async_stream_nolink(
            "jobs", range(200), at_once, max_concurrency=5, ordered=ordered, timeout=1
        )
        results = await gather(stream)
        assert sorted(one.value for one in results) == list(range(200))


async def test_a_concurrency_of_one_is_one_after_the_other() -> None:
    async with node():
        work = Work()
        started = trio.current_time()
        assert len(await gather(Task.async_stream([1, 2, 3], work, max_concurrency=1))) == 3
        assert work.most == 1
        assert trio.current_time() == started + 6


async def test_the_next_task_starts_when_one_ends_while_a_result_is_waited_for() -> None:
    async with node():
        work = Work()
        async with Task.async_stream([10, 1, 2, 3], work, max_concurrency=2) as results:
            started = trio.current_time()
            assert await anext(results) == Ok(10)
            # 1, 2 and 3 have run behind the slow one, one after the other.
            assert trio.current_time() == started + 10
            assert [await anext(results) for _ in range(3)] == [Ok(1), Ok(2), Ok(3)]
            assert trio.current_time() == started + 10


async def test_results_that_wait_behind_a_slow_one_are_bounded() -> None:
    async with node():
        work = Work()
        taken: list[int] = []

        def items() -> Iterator[float]:
            for number in range(1, 1_000_000):
                taken.append(number)
                yield 1000 if number == 1 else 0.001

        async with Task.async_stream(items(), work, max_concurrency=3) as results:
            with trio.move_on_after(500):
                await anext(results)
            assert len(taken) <= 7
            assert len(work.started) == 6
            assert await anext(results) == Ok(1000)


# -- laziness -------------------------------------------------------------------------------------


@both
async def test_nothing_runs_before_a_result_is_asked_for(opener: Any) -> None:
    async with node():
        work = Work()
        taken: list[int] = []

        def items() -> Iterator[int]:
            for number in range(1, 100):
                taken.append(number)
                yield number

        async with (await opener())(items(), work, max_concurrency=2) as results:
            await trio.sleep(5)
            assert work.started == [] and taken == []
            assert await anext(results) == Ok(1)
            assert sorted(work.started) == [1, 2]


@both
async def test_a_break_ends_the_tasks_that_run_before_what_follows(opener: Any) -> None:
    async with node():
        work = Work()
        cleaned_up: list[float] = []

        async def careful(seconds: float) -> float:
            try:
                return await work(seconds)
            finally:
                with trio.CancelScope(shield=True):
                    await trio.sleep(1)
                cleaned_up.append(seconds)

        async with (await opener())([1, 50, 60, 70], careful, max_concurrency=3) as results:
            async for result in results:
                assert result == Ok(1)
                break
        assert work.running == []
        assert sorted(cleaned_up) == [1, 50, 60]
        assert not any(is_alive(pid) for pid in work.pids.values())
        assert drain() == []


@both
async def test_an_exception_in_the_block_ends_the_tasks_that_run(opener: Any) -> None:
    async with node():
        work = Work()
        with pytest.raises(KeyError):
            async with (await opener())([1, 50], work, max_concurrency=2) as results:
                await anext(results)
                raise KeyError
        assert work.running == []


@both
async def test_a_cancellation_ends_the_tasks_that_run(opener: Any) -> None:
    async with node():
        work = Work()
        with trio.move_on_after(2):
            await gather((await opener())([100, 200], work, max_concurrency=2))
        assert len(work.started) == 2 and work.running == []


async def test_a_cancelled_wait_loses_no_result_and_no_item() -> None:
    async with node():
        got: list[Any] = []
        async with Task.async_stream([3, 1, 2], Work(), max_concurrency=2) as results:
            while True:
                with trio.move_on_after(0.7):
                    try:
                        got.append(await anext(results))
                    except StopAsyncIteration:
                        break
        assert got == [Ok(3), Ok(1), Ok(2)]


@both
async def test_the_tasks_end_when_their_owner_does(opener: Any) -> None:
    async with node():
        work = Work()
        stream_of = await opener()

        async def owner() -> None:
            await gather(stream_of([100, 100], work, max_concurrency=2))

        pid = spawn(owner)
        await settle()
        assert len(work.running) == 2
        exit(pid, "enough")
        await wait_exit(pid)
        assert work.running == []


async def test_the_tasks_of_an_owner_that_hangs_end_when_it_is_declared_dead() -> None:
    async with node(kill_grace=3) as stage:
        work = Work()
        release = trio.Event()

        async def owner() -> None:
            trap_exit()
            async with Task.async_stream([100, 100], work, max_concurrency=2) as results:
                with trio.move_on_after(1):
                    await anext(results)
                with trio.CancelScope(shield=True):
                    await release.wait()

        pid = spawn(owner)
        await trio.sleep(2)
        assert len(work.running) == 2
        exit(pid, "kill")
        await wait_exit(pid)
        await settle()
        assert work.running == []
        stage.logged("was killed but does not stop")
        release.set()
        await settle()
        stage.logged("has stopped")


# -- failures -------------------------------------------------------------------------------------


def claim_exits(stage: Stage, count: int) -> None:
    for _ in range(count):
        stage.crash()


@both
async def test_a_task_that_fails_takes_the_owner_along(opener: Any) -> None:
    async with node() as stage:
        work = Work()
        stream_of = await opener()

        async def owner() -> None:
            await gather(stream_of([5, -1, 5], work, max_concurrency=2))

        assert await wait_exit(spawn(owner)) == "negative"
        await settle()
        assert work.running == []
        claim_exits(stage, 1)
        if opener is supervised:
            await settle()
            stage.logged("ended: negative")


@both
async def test_an_owner_that_traps_gets_the_failure_as_an_outcome(opener: Any) -> None:
    async with node() as stage:
        trap_exit()
        work = Work()
        stream = (await opener())([2, -1, 3], work, max_concurrency=2)
        results = await gather(stream)
        assert results == [Ok(2), Exit(work.pids[-1], "negative"), Ok(3)]
        assert drain() == []
        claim_exits(stage, 1)
        if opener is supervised:
            await settle()
            stage.logged("ended: negative")


async def test_without_links_a_failure_is_an_outcome() -> None:
    async with node() as stage:
        await TaskSupervisor.named("jobs").start_link()
        work = Work()
        stream = TaskSupervisor.async_stream_nolink("jobs", [2, -1, 3], work, max_concurrency=2)
        results = await gather(stream)
        assert results == [Ok(2), Exit(work.pids[-1], "negative"), Ok(3)]
        claim_exits(stage, 1)
        await settle()
        stage.logged("ended: negative")


async def test_items_that_raise_end_the_stream_with_their_exception() -> None:
    async with node():
        work = Work()

        def items() -> Iterator[int]:
            yield 50
            raise KeyError("no more")

        with pytest.raises(KeyError, match="no more"):
            await gather(Task.async_stream(items(), work, max_concurrency=2))
        assert work.running == []


async def test_a_supervisor_without_room_ends_the_stream_with_an_error() -> None:
    async with node():
        await TaskSupervisor.named("jobs").start_link(max_children=1)
        work = Work()
        with pytest.raises(MaxChildren):
            await gather(TaskSupervisor.async_stream("jobs", [1, 1], work, max_concurrency=2))
        assert work.running == []
        assert (await DynamicSupervisor.count_children("jobs")).active == 0


async def test_a_supervisor_hears_nothing_of_tasks_that_the_stream_ends() -> None:
    async with node():
        await TaskSupervisor.named("jobs").start_link()
        work = Work()
        stream = TaskSupervisor.async_stream("jobs", [1, 50, 60], work, max_concurrency=3)
        async with stream as results:
            await anext(results)
        count = await TaskSupervisor.count_children("jobs")
        assert (count.specs, count.active) == (0, 0)


# -- time-outs ------------------------------------------------------------------------------------


@both
async def test_a_task_that_takes_too_long_is_an_error(opener: Any) -> None:
    async with node():
        work = Work()
        stream = (await opener())([1, 10, 2], work, max_concurrency=2, timeout=3)
        async with stream as results:
            assert await anext(results) == Ok(1)
            with pytest.raises(trio.TooSlowError, match="took more than 3 seconds"):
                await anext(results)
        assert work.running == []


@both
async def test_a_task_that_takes_too_long_may_be_an_outcome(opener: Any) -> None:
    async with node():
        work = Work()
        stream = (await opener())(
            [10, 1, 2, 20], work, max_concurrency=2, timeout=3, on_timeout="kill_task"
        )
        started = trio.current_time()
        results = await gather(stream)
        assert results == [
            Exit(work.pids[10], "timeout"),
            Ok(1),
            Ok(2),
            Exit(work.pids[20], "timeout"),
        ]
        assert trio.current_time() == started + 6
        assert drain() == []


async def test_a_timeout_counts_while_nobody_asks_for_a_result() -> None:
    async with node():
        work = Work()
        stream = Task.async_stream(
            [1, 10], work, max_concurrency=2, timeout=3, on_timeout="kill_task"
        )
        async with stream as results:
            assert await anext(results) == Ok(1)
            await trio.sleep(5)
            assert work.running == []
            assert await anext(results) == Exit(work.pids[10], "timeout")


# -- use ------------------------------------------------------------------------------------------


async def test_wrong_options_are_refused_where_they_are_given() -> None:
    async with node():
        with pytest.raises(ValueError, match="from 1 up, not 0"):
            Task.async_stream([1], Work(), max_concurrency=0)
        with pytest.raises(ValueError, match="positive number of seconds"):
            Task.async_stream([1], Work(), max_concurrency=1, timeout=0)
        wrong: Any = "kill"
        with pytest.raises(ValueError, match="'exit', 'kill_task', not 'kill'"):
            Task.async_stream([1], Work(), max_concurrency=1, on_timeout=wrong)
        nothing: Any = None
        with pytest.raises(TypeError, match="not None"):
            Task.async_stream([1], nothing, max_concurrency=1)


async def test_a_stream_is_used_in_its_block_by_its_process_and_by_one_task_of_it() -> None:
    async with node() as stage:
        stream = Task.async_stream([1, 1, 1], Work(), max_concurrency=1)
        with pytest.raises(RuntimeError, match="within its `async with` block"):
            await anext(stream)
        async with stream as results:
            with pytest.raises(RuntimeError, match="gone through once"):
                await stream.__aenter__()

            async def other() -> None:
                await anext(results)

            reason = await wait_exit(spawn(other))
            assert isinstance(reason, Crash) and "belongs to" in str(reason.exception)
            stage.crash(RuntimeError)

            async with trio.open_nursery() as nursery:
                nursery.start_soon(anext, results)
                await settle()
                with pytest.raises(RuntimeError, match="waits for this stream already"):
                    await anext(results)
        with pytest.raises(RuntimeError, match="within its `async with` block"):
            await anext(results)
