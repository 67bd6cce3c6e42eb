"""Watcher: a function for every process that ends, whatever the way, exactly once."""

from __future__ import annotations

import logging
import random
from typing import Any

import pytest
import trio

import exeunt
from exeunt import (
    Backoff,
    Crash,
    Departure,
    Down,
    NoProcess,
    Pid,
    ProcessExit,
    Shutdown,
    Supervisor,
    Watcher,
    child,
    is_alive,
    link,
    process_info,
    receive,
    self_pid,
    send,
    spawn,
    spawn_link,
    stop,
    wait_exit,
)
from exeunt.kernel.events import CrashReport, ZombieFound, ZombieGone
from exeunt.otp.reports import SupervisorReport
from exeunt.otp.watcher import LeaveFailed, LeavesNotRun
from tests.kernel.nodes import Actor, idle, node, settle

pytestmark = pytest.mark.usefixtures("autojump_clock")


class Left(list[Any]):
    """Who has left, as told to `leave`."""

    async def leave(self, departure: Departure, *args: Any) -> None:
        self.append((departure.pid, departure.reason, *args))

    async def slowly(self, departure: Departure, seconds: float) -> None:
        self.append((departure.pid, "begins"))
        await trio.sleep(seconds)
        self.append((departure.pid, "ends"))


async def raises(error: BaseException) -> None:
    await receive()
    raise error


# -- every way to leave


@pytest.mark.parametrize("reason", ["bye", "shutdown", Shutdown("x"), "kill", 17, None])
async def test_a_signal_is_a_way_to_leave(reason: object) -> None:
    async with node():
        left = Left()
        watcher = await Watcher.start_link()
        pid = spawn(idle)
        await Watcher.watch(watcher, pid, left.leave, "lobby", 7)
        exeunt.exit(pid, reason)
        await settle()
        assert left == [(pid, "killed" if reason == "kill" else reason, "lobby", 7)]
        assert await Watcher.watched(watcher) == []


@pytest.mark.parametrize("error", [ProcessExit("normal"), ProcessExit("bye"), ValueError("wrong")])
async def test_an_end_of_its_own_is_a_way_to_leave(error: BaseException) -> None:
    async with node() as stage:
        left = Left()
        watcher = await Watcher.start_link()
        pid = spawn(raises, error)
        await Watcher.watch(watcher, pid, left.leave)
        send(pid, "go")
        await settle()
        if isinstance(error, ProcessExit):
            assert left == [(pid, error.reason)]
        else:
            assert left == [(pid, Crash(error))]
            stage.crash(ValueError, pid)


async def test_the_end_of_a_linked_process_is_a_way_to_leave() -> None:
    async with node():
        left = Left()
        watcher = await Watcher.start_link()
        pid, other = spawn(idle), Actor()
        await other.do(lambda: link(pid))
        await Watcher.watch(watcher, pid, left.leave)
        exeunt.exit(other.pid, "bye")
        await settle()
        assert left == [(pid, "bye")]


async def test_a_process_that_traps_and_ends_in_order_has_left_too() -> None:
    async def traps() -> None:
        exeunt.trap_exit()
        await receive()

    async with node():
        left = Left()
        watcher = await Watcher.start_link()
        pid = spawn(traps)
        await Watcher.watch(watcher, pid, left.leave)
        await settle()
        exeunt.exit(pid, "go")
        await settle()
        assert left == [(pid, "normal")]


async def test_leave_runs_when_the_clean_up_is_over() -> None:
    async def slow_end() -> None:
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(5)
            left.append("cleaned up")

    async with node():
        left = Left()
        watcher = await Watcher.start_link()
        pid = spawn(slow_end)
        await settle()
        await Watcher.watch(watcher, pid, left.leave)
        exeunt.exit(pid, "bye")
        await trio.sleep(10)
        assert left == ["cleaned up", (pid, "bye")]


# -- watch


async def test_when_watch_returns_the_process_is_watched() -> None:
    async with node():
        left = Left()
        watcher = await Watcher.named("rooms").start_link()
        pid = spawn(idle)
        await Watcher.watch("rooms", pid, left.leave)
        assert await Watcher.watched(watcher) == await Watcher.watched("rooms") == [pid]
        info = process_info(pid)
        assert info is not None and info.links == ()


async def test_a_process_that_is_dead_already_has_left_at_once_with_noproc() -> None:
    async with node():
        left = Left()
        watcher = await Watcher.start_link()
        pid = spawn(idle)
        exeunt.exit(pid, "bye")
        await wait_exit(pid)
        await Watcher.watch(watcher, pid, left.leave, "late")
        await settle()
        assert left == [(pid, "noproc", "late")]
        await Watcher.watch(watcher, pid, left.leave, "again")
        await settle()
        assert left[1:] == [(pid, "noproc", "again")]
        assert await Watcher.watched(watcher) == []


async def test_a_process_that_is_exiting_leaves_with_its_reason() -> None:
    async def slow_end() -> None:
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(5)

    async with node():
        left = Left()
        watcher = await Watcher.start_link()
        pid = spawn(slow_end)
        await settle()
        exeunt.exit(pid, "bye")
        await Watcher.watch(watcher, pid, left.leave)
        await settle()
        assert left == []
        await trio.sleep(10)
        assert left == [(pid, "bye")]


async def test_watching_twice_replaces() -> None:
    async with node():
        first, second = Left(), Left()
        watcher = await Watcher.start_link()
        pid = spawn(idle)
        await Watcher.watch(watcher, pid, first.leave, 1)
        await Watcher.watch(watcher, pid, second.leave, 2)
        assert await Watcher.watched(watcher) == [pid]
        exeunt.exit(pid, "bye")
        await settle()
        assert (first, second) == ([], [(pid, "bye", 2)])


async def test_a_process_may_have_several_watchers() -> None:
    async with node():
        left = Left()
        pid = spawn(idle)
        for number in range(3):
            watcher = await Watcher.start_link()
            await Watcher.watch(watcher, pid, left.leave, number)
        exeunt.exit(pid, "bye")
        await settle()
        assert sorted(number for *_, number in left) == [0, 1, 2]


async def test_watched_lists_who_is_watched_the_first_one_first() -> None:
    async with node():
        watcher = await Watcher.start_link()
        pids = [spawn(idle) for _ in range(5)]
        for pid in reversed(pids):
            await Watcher.watch(watcher, pid, Left().leave)
        assert await Watcher.watched(watcher) == pids[::-1]


async def test_wrong_arguments_are_refused_in_the_caller() -> None:
    async with node():
        watcher = await Watcher.start_link()
        with pytest.raises(TypeError, match="the pid of a process, not 'a name'"):
            await Watcher.watch(watcher, "a name", Left().leave)  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="an async function to run at the end, not 5"):
            await Watcher.watch(watcher, spawn(idle), 5)  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="room"):
            await Watcher.watch(watcher, spawn(idle), Left().leave, room="lobby")
        with pytest.raises(TypeError, match="positional"):
            await Watcher.watch(watcher, spawn(idle), lambda: None)  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="cannot watch itself"):
            await Watcher.watch(watcher, watcher, Left().leave)
        assert is_alive(watcher) and await Watcher.watched(watcher) == []


async def test_to_ask_a_watcher_that_is_dead_fails() -> None:
    async with node():
        watcher = await Watcher.start()
        await stop(watcher)
        for asking in (
            Watcher.watch(watcher, spawn(idle), Left().leave),
            Watcher.unwatch(watcher, spawn(idle)),
            Watcher.watched("nobody"),
        ):
            with pytest.raises(exeunt.CallFailed, match="noproc"):
                await asking


# -- unwatch


async def test_unwatch_ends_the_watch_and_the_link() -> None:
    async with node():
        left = Left()
        watcher = await Watcher.start_link()
        pid = spawn(idle)
        await Watcher.watch(watcher, pid, left.leave)
        assert await Watcher.unwatch(watcher, pid) is True
        assert await Watcher.unwatch(watcher, pid) is False
        info = process_info(pid)
        assert info is not None and info.links == ()
        exeunt.exit(pid, "bye")
        await settle()
        assert left == []


async def test_unwatch_after_the_end_but_before_leave_is_in_time() -> None:
    async with node():
        left = Left()
        watcher = await Watcher.start_link()
        pid = spawn(idle)
        await Watcher.watch(watcher, pid, left.leave)
        await exeunt.suspend(watcher)
        exeunt.exit(pid, "bye")
        await wait_exit(pid)
        await exeunt.resume(watcher)
        # The Exit stands in the mailbox before this request.
        assert await Watcher.unwatch(watcher, pid) is False
        await settle()
        assert left == [(pid, "bye")]


async def test_watch_unwatch_watch_runs_once() -> None:
    async with node():
        left = Left()
        watcher = await Watcher.start_link()
        pid = spawn(idle)
        for number in range(3):
            await Watcher.watch(watcher, pid, left.leave, number)
            await Watcher.unwatch(watcher, pid)
        await Watcher.watch(watcher, pid, left.leave, "last")
        exeunt.exit(pid, "bye")
        await settle()
        assert left == [(pid, "bye", "last")]


async def test_unwatch_does_not_stop_a_leave_that_runs() -> None:
    async with node():
        left = Left()
        watcher = await Watcher.start_link()
        pid = spawn(idle)
        await Watcher.watch(watcher, pid, left.slowly, 5)
        exeunt.exit(pid, "bye")
        await trio.sleep(1)
        assert await Watcher.unwatch(watcher, pid) is False
        await trio.sleep(10)
        assert left == [(pid, "begins"), (pid, "ends")]


# -- a leave that is slow, or fails


async def test_a_slow_leave_harms_nobody() -> None:
    async with node():
        left = Left()
        watcher = await Watcher.start_link(leave_within=None)
        slow, quick = spawn(idle), spawn(idle)
        await Watcher.watch(watcher, slow, left.slowly, 1_000)
        await Watcher.watch(watcher, quick, left.leave)
        start = trio.current_time()
        exeunt.exit(slow, "bye")
        exeunt.exit(quick, "bye")
        await settle()
        assert (quick, "bye") in left
        assert await Watcher.watched(watcher) == []
        assert trio.current_time() == start
        await trio.sleep(2_000)
        assert left[-1] == (slow, "ends")


async def crash(departure: Departure) -> None:
    raise ValueError("in leave")


async def exits(departure: Departure, own: object) -> None:
    raise ProcessExit(own)


async def test_a_crash_of_leave_is_logged_with_the_process_that_it_was_for() -> None:
    async with node() as stage:
        failed = stage.events(LeaveFailed)
        watcher = await Watcher.start_link()
        pid = spawn(idle)
        await Watcher.watch(watcher, pid, crash)
        exeunt.exit(pid, "bye")
        await settle()
        assert is_alive(watcher)
        assert f"leave of {pid}" in str(stage.crash(ValueError))
        record = stage.logged("in leave", logging.ERROR)
        assert f"because {pid} had ended (bye), failed: ValueError: in leave" in record.getMessage()
        [event] = failed
        assert (event.watcher, event.pid, event.watched_reason) == (watcher, pid, "bye")
        assert event.function == "crash" and isinstance(event.reason, Crash)


@pytest.mark.parametrize("own", ["normal", "shutdown", "bad"])
async def test_a_leave_may_exit_by_itself(own: str) -> None:
    async with node() as stage:
        watcher = await Watcher.start_link()
        pid = spawn(idle)
        await Watcher.watch(watcher, pid, exits, own)
        exeunt.exit(pid, "bye")
        await settle()
        if own == "bad":
            stage.logged("failed: bad")


async def test_a_leave_that_is_not_async_is_logged() -> None:
    async with node() as stage:
        watcher = await Watcher.start_link()
        pid = spawn(idle)
        await Watcher.watch(watcher, pid, lambda departure: None)  # type: ignore[arg-type,return-value]
        exeunt.exit(pid, "bye")
        await settle()
        stage.crash(TypeError)
        stage.logged("failed: TypeError")
        assert is_alive(watcher)


async def test_many_that_crash_leave_the_watcher_as_it_was() -> None:
    async with node() as stage:
        stage.gathers(CrashReport)
        failed = stage.gathers(LeaveFailed)
        watcher = await Watcher.start_link()
        pids = [spawn(idle) for _ in range(50)]
        for pid in pids:
            await Watcher.watch(watcher, pid, crash)
        for pid in pids:
            exeunt.exit(pid, "bye")
        await settle()
        assert {event.pid for event in failed} == set(pids) and len(failed) == 50
        assert await Watcher.watched(watcher) == await Watcher.leaving(watcher) == []
        assert exeunt.processes() == [self_pid(), watcher]


async def test_a_leave_may_use_the_watcher() -> None:
    async def passes_on(departure: Departure, watcher: Pid, heir: Pid) -> None:
        await Watcher.watch(watcher, heir, left.leave, "inherited")

    async with node():
        left = Left()
        watcher = await Watcher.start_link()
        pid, heir = spawn(idle), spawn(idle)
        await Watcher.watch(watcher, pid, passes_on, watcher, heir)
        exeunt.exit(pid, "bye")
        await settle()
        exeunt.exit(heir, "bye")
        await settle()
        assert left == [(heir, "bye", "inherited")]


# -- when the watcher ends


@pytest.mark.parametrize("reason", ["kill", "stop"])
async def test_if_the_watcher_dies_those_that_it_watches_die_with_it(reason: str) -> None:
    async with node():
        left = Left()
        watcher = await Watcher.start()
        pids = [spawn(idle) for _ in range(3)]
        for pid in pids:
            await Watcher.watch(watcher, pid, left.leave)
            exeunt.monitor(pid)
        if reason == "kill":
            exeunt.exit(watcher, "kill")
        else:
            await stop(watcher, "shutdown")
        expected = "killed" if reason == "kill" else "shutdown"
        downs = [await receive(Down) for _ in pids]
        assert {down.process for down in downs} == set(pids)
        assert {down.reason for down in downs} == {expected}
        assert left == []


async def test_a_killed_watcher_leaves_running_leaves_alone() -> None:
    async with node():
        left = Left()
        watcher = await Watcher.start()
        pid = spawn(idle)
        await Watcher.watch(watcher, pid, left.slowly, 5)
        exeunt.exit(pid, "bye")
        await trio.sleep(1)
        exeunt.exit(watcher, "kill")
        await trio.sleep(10)
        assert left == [(pid, "begins"), (pid, "ends")]


async def test_a_watcher_that_is_stopped_waits_for_the_leaves_that_run() -> None:
    async with node():
        left = Left()
        watcher = await Watcher.start()
        pid = spawn(idle)
        await Watcher.watch(watcher, pid, left.slowly, 5)
        exeunt.exit(pid, "bye")
        await settle()
        start = trio.current_time()
        await stop(watcher)
        assert trio.current_time() - start == pytest.approx(5)
        assert left == [(pid, "begins"), (pid, "ends")]


async def test_a_watcher_that_is_stopped_runs_what_is_still_to_be_run() -> None:
    async with node() as stage:
        left = Left()
        watcher = await Watcher.start()
        pids = [spawn(idle) for _ in range(3)]
        await Watcher.watch(watcher, pids[0], left.leave)
        await Watcher.watch(watcher, pids[1], left.slowly, 2)
        await Watcher.watch(watcher, pids[2], crash)
        await exeunt.suspend(watcher)
        for pid in pids:
            exeunt.exit(pid, "bye")
            await wait_exit(pid)
        await stop(watcher)
        assert sorted(left) == [(pids[0], "bye"), (pids[1], "begins"), (pids[1], "ends")]
        stage.crash(ValueError)
        stage.logged(f"because {pids[2]} had ended")


async def test_a_process_that_ends_while_the_watcher_is_being_stopped_has_left_too() -> None:
    async with node():
        left = Left()
        watcher = await Watcher.start()
        slow, late = spawn(idle), spawn(idle)
        await Watcher.watch(watcher, slow, left.slowly, 5)
        await Watcher.watch(watcher, late, left.leave)
        exeunt.exit(slow, "bye")
        await settle()
        exeunt.exit_after(1, late, "in between")
        await stop(watcher)
        assert left == [(slow, "begins"), (late, "in between"), (slow, "ends")]


async def test_the_node_waits_for_leaves_when_it_closes() -> None:
    left = Left()
    async with node():
        watcher = await Watcher.start_link()
        # Started later, so ended earlier: the watcher is still there to act.
        pids = [spawn(idle) for _ in range(3)]
        for pid in pids:
            await Watcher.watch(watcher, pid, left.slowly, 2)
    assert sorted(left) == sorted((pid, what) for pid in pids for what in ("begins", "ends"))


async def test_a_leave_that_outlasts_the_watchers_budget_is_ended_with_the_node() -> None:
    left = Left()
    start = trio.current_time()
    async with node(shutdown=3):
        watcher = await Watcher.start_link()
        pid = spawn(idle)
        await Watcher.watch(watcher, pid, left.slowly, 1_000)
    assert left == [(pid, "begins")]
    assert trio.current_time() - start <= 6


async def test_the_next_watcher_of_the_name_goes_on() -> None:
    async with node() as stage:
        stage.gathers(SupervisorReport)
        left = Left()
        await Supervisor.start_link([Watcher.named("rooms").child()])
        stays, goes, killed = (spawn(idle) for _ in range(3))
        for pid in (stays, goes, killed):
            await Watcher.watch("rooms", pid, left.leave)
        old = exeunt.whereis("rooms")
        assert old is not None
        exeunt.exit(old, "kill")
        # Between the two: nobody is there to be told.
        exeunt.exit(goes, "in between")
        exeunt.exit(killed, "kill")
        await settle()
        assert is_alive(stays) and exeunt.whereis("rooms") not in (None, old)
        assert sorted(left) == [(goes, "in between"), (killed, "killed")]
        assert await Watcher.watched("rooms") == [stays]
        exeunt.exit(stays, "bye")
        await settle()
        assert left[2:] == [(stays, "bye")]


async def test_the_next_watcher_takes_running_leaves_over() -> None:
    async with node() as stage:
        stage.gathers(SupervisorReport)
        left = Left()
        await Supervisor.start_link([Watcher.named("rooms").child(max_running=1)])
        pids = [spawn(idle) for _ in range(3)]
        for pid in pids:
            await Watcher.watch("rooms", pid, left.slowly, 5)
            exeunt.exit(pid, "bye")
        for _ in range(3):
            await trio.sleep(1)
            watcher = exeunt.whereis("rooms")
            assert watcher is not None
            exeunt.exit(watcher, "kill")
            await settle()
        standing = [one.standing for one in await Watcher.leaving("rooms")]
        assert standing == ["running", "waiting", "waiting"]
        await trio.sleep(20)
        assert left == [(pid, what) for pid in pids for what in ("begins", "ends")]
        assert await Watcher.leaving("rooms") == []


@pytest.mark.parametrize("seed", range(20))
async def test_watchers_killed_at_random_lose_no_leave_and_run_none_twice(seed: int) -> None:
    randomly = random.Random(seed)
    async with node() as stage:
        stage.gathers(SupervisorReport)
        left = Left()
        child = Watcher.named("rooms").child(max_running=3)
        await Supervisor.start_link([child], max_restarts=1_000)
        entered: list[Pid] = []
        alive: list[Pid] = []

        async def enter() -> None:
            pid = spawn(idle)
            try:
                await Watcher.watch("rooms", pid, left.leave)
            except exeunt.CallFailed:
                exeunt.exit(pid, "not watched")
            else:
                entered.append(pid)
                alive.append(pid)

        async with trio.open_nursery() as nursery:
            for _ in range(400):
                match randomly.randrange(5):
                    case 0 | 1:
                        nursery.start_soon(enter)
                    case 2 if alive:
                        exeunt.exit(alive.pop(randomly.randrange(len(alive))), "bye")
                    case 3 if (watcher := exeunt.whereis("rooms")) is not None:
                        exeunt.exit(watcher, "kill")
                    case _:
                        for _ in range(randomly.randrange(6)):
                            await trio.lowlevel.checkpoint()
        for pid in alive:
            exeunt.exit(pid, "bye")
        await settle()
        assert sorted(left) == sorted((pid, "bye") for pid in entered)
        assert len(entered) > 20
        assert await Watcher.watched("rooms") == await Watcher.leaving("rooms") == []


async def test_a_watcher_that_nobody_succeeds_is_told_of_at_the_end() -> None:
    async with node() as stage:
        not_run = stage.gathers(LeavesNotRun)
        left = Left()
        watcher = await Watcher.named("rooms").start()
        pids = [spawn(idle) for _ in range(3)]
        for pid in pids:
            await Watcher.watch("rooms", pid, left.leave)
        await stop(watcher)
        for pid in pids:
            exeunt.exit(pid, "bye")
        await settle()
        assert left == [] and not_run == []
    assert [(one.name, one.number) for one in not_run] == [("rooms", 3)]


# -- attempts, and bounds


async def test_a_leave_that_fails_is_tried_again() -> None:
    attempts: list[tuple[int, float, str]] = []

    async def stubborn(departure: Departure) -> None:
        attempts.append((departure.attempt, trio.current_time(), departure.key))
        if len(attempts) < 4:
            raise ValueError("not yet")

    async with node() as stage:
        stage.gathers(CrashReport)
        failed = stage.gathers(LeaveFailed)
        watcher = await Watcher.start_link(
            attempts=10, backoff=Backoff(initial=1, factor=2, jitter=0)
        )
        pid = spawn(idle)
        await Watcher.watch(watcher, pid, stubborn)
        start = trio.current_time()
        exeunt.exit(pid, "bye")
        await trio.sleep(0.5)
        [resting] = await Watcher.leaving(watcher)
        assert (resting.standing, resting.attempts, resting.reason) == ("resting", 1, "bye")
        await trio.sleep(100)
        assert [number for number, _, _ in attempts] == [1, 2, 3, 4]
        assert [round(when - start) for _, when, _ in attempts] == [0, 1, 3, 7]
        assert len({key for _, _, key in attempts}) == 1
        assert [one.again_in for one in failed] == [1, 2, 4]
        assert await Watcher.leaving(watcher) == []


async def test_a_leave_is_given_up_after_its_last_attempt() -> None:
    async with node() as stage:
        stage.gathers(CrashReport)
        failed = stage.gathers(LeaveFailed)
        watcher = await Watcher.start_link(attempts=3)
        pid = spawn(idle)
        await Watcher.watch(watcher, pid, crash)
        exeunt.exit(pid, "bye")
        await trio.sleep(100)
        assert [one.attempt for one in failed] == [1, 2, 3] and failed[-1].again_in is None
        assert await Watcher.leaving(watcher) == []


async def test_what_rests_is_tried_once_more_when_the_watcher_is_stopped() -> None:
    async with node() as stage:
        stage.gathers(CrashReport)
        failed = stage.gathers(LeaveFailed)
        watcher = await Watcher.start_link(attempts=10, backoff=Backoff(initial=30))
        pid = spawn(idle)
        await Watcher.watch(watcher, pid, crash)
        exeunt.exit(pid, "bye")
        await settle()
        start = trio.current_time()
        not_run = stage.gathers(LeavesNotRun)
        await stop(watcher)
        assert trio.current_time() == start
        assert [one.attempt for one in failed] == [1, 2]
        # It has no name, so there is no successor who could try again; and that is said.
        assert [one.number for one in not_run] == [1]


async def test_what_fails_while_a_watcher_is_stopped_is_tried_again_by_the_next_one() -> None:
    tried: list[int] = []

    async def fails_twice(departure: Departure) -> None:
        tried.append(departure.attempt)
        await trio.sleep(1)
        if len(tried) < 3:
            raise ValueError("not now")

    async with node() as stage:
        stage.gathers(CrashReport)
        stage.gathers(LeaveFailed)
        await Watcher.named("rooms").start(attempts=5, backoff=Backoff(initial=30))
        pid = spawn(idle)
        await Watcher.watch("rooms", pid, fails_twice)
        exeunt.exit(pid, "bye")
        await settle()
        await stop("rooms")
        assert tried == [1]
        await Watcher.named("rooms").start(attempts=5, backoff=Backoff(initial=30))
        await trio.sleep(100)
        assert tried == [1, 2, 3]
        assert await Watcher.leaving("rooms") == []


@pytest.mark.parametrize("stubborn", [False, True])
async def test_a_leave_that_takes_too_long_is_ended(stubborn: bool) -> None:
    async def hangs(departure: Departure) -> None:
        with trio.CancelScope(shield=stubborn):
            await trio.sleep(1_000)

    async with node() as stage:
        for kind in (CrashReport, ZombieFound, ZombieGone):
            stage.gathers(kind)
        failed = stage.gathers(LeaveFailed)
        watcher = await Watcher.start_link(leave_within=10)
        pid = spawn(idle)
        await Watcher.watch(watcher, pid, hangs)
        exeunt.exit(pid, "bye")
        await trio.sleep(9)
        assert failed == []
        await trio.sleep(20)
        [one] = failed
        if stubborn:
            assert one.reason == "killed"
        else:
            assert "hangs took longer than 10 seconds" in str(one.reason)
        await trio.sleep(2_000)


async def test_no_more_than_so_many_run_at_a_time() -> None:
    running, most = 0, 0

    async def leave(departure: Departure) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await trio.sleep(1)
        running -= 1
        left.append(departure.pid)

    async with node():
        left: list[Pid | None] = []
        watcher = await Watcher.start_link(max_running=4)
        pids = [spawn(idle) for _ in range(20)]
        for pid in pids:
            await Watcher.watch(watcher, pid, leave)
        for pid in pids:
            exeunt.exit(pid, "bye")
        await trio.sleep(0.5)
        standing = [one.standing for one in await Watcher.leaving(watcher)]
        assert standing == ["running"] * 4 + ["waiting"] * 16
        await trio.sleep(10)
        assert most == 4 and sorted(map(str, left)) == sorted(map(str, pids))


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"attempts": 0}, "attempts"),
        ({"max_running": 0}, "max_running"),
        ({"leave_within": 0}, "leave_within"),
        ({"file": "roll.db"}, "needs a name"),
    ],
)
async def test_options_that_make_no_sense_are_refused(options: dict[str, Any], says: str) -> None:
    async with node() as stage:
        stage.gathers(CrashReport)
        exeunt.trap_exit()
        with pytest.raises(exeunt.StartFailed, match=says):
            await Watcher.start_link(**options)


# -- the watcher's own parent


async def test_a_watcher_may_watch_its_own_parent() -> None:
    async def connection(reason: str) -> None:
        watcher = await Watcher.start_link()
        await Watcher.watch(watcher, self_pid(), left.leave, "parent")
        raise ProcessExit(reason)

    async with node() as stage:
        for reason in ("normal", "shutdown", "bad"):
            left = Left()
            pid = spawn(connection, reason)
            await wait_exit(pid)
            await settle()
            assert left == [(pid, reason, "parent")]
            assert exeunt.processes() == [self_pid()]
            if reason == "bad":
                stage.crash()


async def test_to_unwatch_the_parent_keeps_the_link_to_it() -> None:
    async with node():
        parent = Actor()
        watcher = await parent.do(lambda: Watcher.start_link())
        await Watcher.watch(watcher, parent.pid, Left().leave)
        await Watcher.unwatch(watcher, parent.pid)
        info = process_info(watcher)
        assert info is not None and info.links == (parent.pid,)


# -- exactly once


async def test_a_thousand_that_leave_at_once_leave_once_each_and_nothing_is_left() -> None:
    async with node():
        left = Left()
        watcher = await Watcher.start_link()
        pids = [spawn(idle) for _ in range(1_000)]
        for pid in pids:
            await Watcher.watch(watcher, pid, left.leave)
        for pid in pids:
            exeunt.exit(pid, "reset")
        await settle()
        assert sorted(pid for pid, _ in left) == pids
        assert exeunt.processes() == [self_pid(), watcher]
        info = process_info(watcher)
        assert info is not None and info.monitors == () and info.message_queue_len == 0


async def test_messages_of_others_are_logged_and_harm_nobody() -> None:
    async with node() as stage:
        left = Left()
        watcher = await Watcher.start_link()
        pid = spawn(idle)
        await Watcher.watch(watcher, pid, left.leave)
        send(watcher, "hello")
        ref = stage.node.make_ref()
        send(watcher, Down(ref, pid, "forged"))
        await settle()
        stage.logged("no handle_info for: 'hello'")
        stage.logged("forged")
        exeunt.exit(pid, "bye")
        await settle()
        assert left == [(pid, "bye")]


async def test_an_exit_signal_by_hand_is_not_the_end_of_its_sender() -> None:
    async with node():
        left = Left()
        watcher = await Watcher.start_link()
        actor = Actor()
        await Watcher.watch(watcher, actor.pid, left.leave)
        await actor.do(lambda: exeunt.exit(watcher, "I am not dead"))
        await settle()
        assert is_alive(actor.pid)
        assert left == []
        exeunt.exit(actor.pid, "bye")
        await settle()
        assert left == [(actor.pid, "bye")]


async def test_a_process_that_links_and_unlinks_the_watcher_is_still_watched() -> None:
    async with node():
        left = Left()
        watcher = await Watcher.start_link()
        actor = Actor()
        await Watcher.watch(watcher, actor.pid, left.leave)
        await actor.do(lambda: exeunt.link(watcher))
        await actor.do(lambda: exeunt.unlink(watcher))
        exeunt.exit(actor.pid, "bye")
        await settle()
        assert left == [(actor.pid, "bye")]


async def test_the_example_of_the_documentation() -> None:
    async with node():
        said: list[str] = []

        async def say_goodbye(departure: Departure, room: str, user: str) -> None:
            said.append(f"{user} has left {room}: {departure.reason}")

        await Watcher.named("rooms").start_link()
        channel = spawn(idle)
        await Watcher.watch("rooms", channel, say_goodbye, "lobby", "Ada")
        exeunt.exit(channel, "closed the tab")
        await settle()
        assert said == ["Ada has left lobby: closed the tab"]


async def test_a_link_to_a_process_that_left_is_refused_as_ever() -> None:
    async with node():
        watcher = await Watcher.start_link()
        pid = spawn_link(idle)
        exeunt.unlink(pid)
        await Watcher.watch(watcher, pid, Left().leave)
        exeunt.exit(pid, "bye")
        await settle()
        with pytest.raises(NoProcess):
            link(pid)


async def test_a_plain_child_can_be_watched() -> None:
    async with node() as stage:
        stage.gathers(SupervisorReport)
        left = Left()
        watcher = await Watcher.start_link()
        supervisor = await Supervisor.start_link([child(idle)])
        [info] = await Supervisor.which_children(supervisor)
        assert isinstance(info.pid, Pid)
        await Watcher.watch(watcher, info.pid, left.leave)
        await Supervisor.terminate_child(supervisor, "idle")
        await settle()
        assert left == [(info.pid, "shutdown")]
