"""Timers: what they send, to whom, and with whom they end."""

from __future__ import annotations

import math
from typing import Any

import pytest
import trio

import exeunt
from exeunt import (
    Exit,
    Timeout,
    cancel_timer,
    exit_after,
    read_timer,
    receive,
    self_pid,
    send_after,
    send_interval,
    spawn,
    start_timer,
    wait_exit,
)

from .nodes import Actor, collect, drain, idle, node, settle, trapping

pytestmark = pytest.mark.usefixtures("autojump_clock")


async def times(count: int) -> list[tuple[float, Any]]:
    """Receive so many messages; return each with the time since the beginning."""
    start = trio.current_time()
    found: list[tuple[float, Any]] = []
    for _ in range(count):
        message = await receive()
        found.append((round(trio.current_time() - start, 6), message))
    return found


# -- send_after and start_timer


async def test_a_message_comes_after_its_delay() -> None:
    async with node():
        send_after(2.5, self_pid(), "message")
        assert await times(1) == [(2.5, "message")]


async def test_timers_fire_in_the_order_of_their_deadlines() -> None:
    async with node():
        for delay in (3, 1, 2):
            send_after(delay, self_pid(), delay)
        assert await times(3) == [(1, 1), (2, 2), (3, 3)]


async def test_timers_of_one_deadline_fire_in_the_order_in_which_they_were_started() -> None:
    async with node():
        for number in range(50):
            send_after(1, self_pid(), number)
        assert [message for _, message in await times(50)] == list(range(50))


async def test_a_delay_of_zero_or_less_is_due_at_once_but_sent_later() -> None:
    async with node():
        for delay in (0, -3, -math.inf):
            send_after(delay, self_pid(), delay)
        assert drain() == []
        assert await times(3) == [(0, 0), (0, -3), (0, -math.inf)]


async def test_an_earlier_timer_that_is_started_later_fires_first() -> None:
    async with node():
        send_after(10, self_pid(), "late")
        await trio.sleep(1)
        send_after(1, self_pid(), "early")
        assert await times(2) == [(1, "early"), (9, "late")]


async def test_start_timer_tells_its_reference() -> None:
    async with node():
        ref = start_timer(1, self_pid(), "message")
        assert await receive() == Timeout(ref, "message")


async def test_a_timer_to_a_name_is_delivered_to_who_has_it_when_it_fires() -> None:
    async with node():
        first: list[Any] = []
        second: list[Any] = []
        old = spawn(collect, first, name="store")
        send_after(5, "store", "message")
        exeunt.exit(old, "bye")
        await wait_exit(old)
        spawn(collect, second, name="store")
        await trio.sleep(6)
        assert (first, second) == ([], ["message"])


async def test_a_timer_to_a_name_that_nobody_has_does_nothing() -> None:
    async with node() as stage:
        send_after(1, "nobody", "message")
        assert len(stage.node.timers) == 1
        await trio.sleep(2)
        assert len(stage.node.timers) == 0


async def test_a_timer_outlives_who_started_it() -> None:
    async with node():
        main = self_pid()

        async def body() -> None:
            send_after(5, main, "from the dead")

        await wait_exit(spawn(body))
        assert await times(1) == [(5, "from the dead")]


async def test_a_timer_to_a_pid_ends_with_that_process() -> None:
    async with node() as stage:
        pid = spawn(idle)
        refs = [send_after(100, pid, "lost"), start_timer(100, pid, "x"), exit_after(100, pid, "x")]
        refs.append(send_interval(100, pid, "lost"))
        assert len(stage.node.timers) == 4
        exeunt.exit(pid, "bye")
        await wait_exit(pid)
        assert len(stage.node.timers) == 0
        for ref in refs:
            assert read_timer(ref) is None and cancel_timer(ref) is None


async def test_a_timer_to_the_dead_is_none() -> None:
    async with node() as stage:
        pid = spawn(idle)
        exeunt.exit(pid, "bye")
        await wait_exit(pid)
        for ref in (
            send_after(1, pid, "x"),
            start_timer(1, pid, "x"),
            send_interval(1, pid, "x"),
            exit_after(1, pid, "x"),
        ):
            assert read_timer(ref) is None
        assert len(stage.node.timers) == 0


async def test_a_timer_to_a_process_that_is_exiting_sends_nothing() -> None:
    async def slow_end() -> None:
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(10)

    async with node() as stage:
        dropped = stage.events(exeunt.kernel.events.Dropped)
        pid = spawn(slow_end)
        await settle()
        exeunt.exit(pid, "bye")
        send_after(1, pid, "lost")
        assert await wait_exit(pid) == "bye"
        assert len(stage.node.timers) == 0
        assert all(event.message == "lost" for event in dropped)


@pytest.mark.parametrize("start", [send_after, start_timer, exit_after])
async def test_a_delay_is_a_number(start: Any) -> None:
    async with node() as stage:
        pid = spawn(idle)
        with pytest.raises(ValueError, match="number of seconds, not nan"):
            start(math.nan, pid, "message")
        with pytest.raises(TypeError):
            start("1", pid, "message")
        assert len(stage.node.timers) == 0
        exeunt.exit(pid, "bye")
        assert await wait_exit(pid) == "bye"


async def test_a_timer_that_never_fires_holds_nothing_open() -> None:
    async with node():
        ref = send_after(math.inf, self_pid(), "never")
        assert read_timer(ref) == math.inf
        assert cancel_timer(ref) == math.inf


# -- cancel_timer and read_timer


async def test_cancelling_gives_what_was_left() -> None:
    async with node():
        ref = send_after(10, self_pid(), "message")
        await trio.sleep(4)
        assert read_timer(ref) == pytest.approx(6)
        assert cancel_timer(ref) == pytest.approx(6)
        assert cancel_timer(ref) is None and read_timer(ref) is None
        await trio.sleep(20)
        assert drain() == []


async def test_a_timer_that_has_fired_is_gone_though_its_message_waits() -> None:
    async with node():
        ref = send_after(1, self_pid(), "message")
        await trio.sleep(2)
        assert cancel_timer(ref) is None
        assert drain() == ["message"]


async def test_anyone_may_cancel_a_timer() -> None:
    async with node():
        ref = send_after(5, self_pid(), "message")
        assert await Actor().do(lambda: cancel_timer(ref)) == pytest.approx(5)


async def test_what_is_no_timer_cannot_be_cancelled() -> None:
    async with node():
        assert cancel_timer(exeunt.monitor(spawn(idle))) is None


async def test_cancelled_timers_are_not_hoarded() -> None:
    async with node() as stage:
        kept = [send_after(1_000 + number, self_pid(), number) for number in range(10)]
        for _ in range(5_000):
            cancel_timer(send_after(500, self_pid(), "x"))
        assert len(stage.node.timers) == 10
        assert len(stage.node.timers._heap) < 200
        for ref in kept:
            assert cancel_timer(ref) is not None


async def test_many_timers_some_cancelled_fire_once_each() -> None:
    async with node():
        refs = {number: send_after(number % 17, self_pid(), number) for number in range(400)}
        gone = set(range(0, 400, 3))
        for number in gone:
            assert cancel_timer(refs[number]) is not None
        await trio.sleep(20)
        got = drain()
        assert sorted(got) == sorted(set(refs) - gone)
        assert got == sorted(got, key=lambda number: (number % 17, number))


# -- send_interval


async def test_an_interval_sends_again_and_again_without_drift() -> None:
    async with node():
        ref = send_interval(2, self_pid(), "tick")
        assert await times(4) == [(2, "tick"), (4, "tick"), (6, "tick"), (8, "tick")]
        assert cancel_timer(ref) == pytest.approx(2)
        await trio.sleep(10)
        assert drain() == []


async def test_an_interval_may_be_cancelled_by_its_own_message() -> None:
    async with node():
        got: list[Any] = []
        refs: list[exeunt.Ref] = []

        async def body() -> None:
            refs.append(send_interval(1, self_pid(), "tick"))
            while True:
                got.append(await receive())
                cancel_timer(refs[0])

        spawn(body)
        await trio.sleep(10)
        assert got == ["tick"]


async def test_an_interval_to_a_name_goes_on_without_anybody() -> None:
    async with node():
        ref = send_interval(1, "store", "tick")
        await trio.sleep(3.5)
        got: list[Any] = []
        spawn(collect, got, name="store")
        await trio.sleep(2)
        assert got == ["tick", "tick"]
        assert cancel_timer(ref) is not None


@pytest.mark.parametrize("interval", [0, -1, math.inf, math.nan, 1e-300])
async def test_an_interval_is_a_positive_number_that_a_clock_can_measure(interval: float) -> None:
    async with node() as stage:
        with pytest.raises(ValueError, match="interval is a number of seconds"):
            send_interval(interval, self_pid(), "tick")
        assert len(stage.node.timers) == 0


def test_beats_that_were_missed_are_left_out_and_the_rhythm_is_kept() -> None:
    clock = trio.testing.MockClock(autojump_threshold=math.inf)

    async def main() -> None:
        async with node(limit=math.inf):
            send_interval(1, self_pid(), "tick")
            await trio.testing.wait_all_tasks_blocked()
            clock.jump(10.5)
            await trio.testing.wait_all_tasks_blocked()
            assert drain() == ["tick"], "the beats 1 to 10, of which one is told"
            clock.jump(0.4)
            await trio.testing.wait_all_tasks_blocked()
            assert drain() == []
            clock.jump(0.2)
            await trio.testing.wait_all_tasks_blocked()
            assert drain() == ["tick"], "the beat 11, in its place"

    trio.run(main, clock=clock)


# -- exit_after


async def test_exit_after_sends_an_exit_signal() -> None:
    async with node():
        pid, trapper = spawn(idle), spawn(trapping)
        got: list[Any] = []

        async def trap_and_collect() -> None:
            exeunt.trap_exit()
            await collect(got)

        listener = spawn(trap_and_collect)
        start = trio.current_time()
        exit_after(3, pid, "bye")
        exit_after(1, listener, "hello")
        exit_after(4, trapper, "kill")
        assert await wait_exit(pid) == "bye"
        assert trio.current_time() - start == pytest.approx(3)
        assert got == [Exit(self_pid(), "hello")]
        assert await wait_exit(trapper) == "killed"
        assert trio.current_time() - start == pytest.approx(4)


async def test_exit_after_can_be_cancelled() -> None:
    async with node():
        pid = spawn(idle)
        assert cancel_timer(exit_after(3, pid, "bye")) == pytest.approx(3)
        await trio.sleep(5)
        assert exeunt.is_alive(pid)


# -- cost


async def test_any_number_of_timers_cost_one_task() -> None:
    async with node():
        before = trio.lowlevel.current_statistics().tasks_living
        refs = [send_after(1_000, self_pid(), number) for number in range(5_000)]
        assert trio.lowlevel.current_statistics().tasks_living == before
        for ref in refs:
            cancel_timer(ref)
