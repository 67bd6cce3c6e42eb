"""Processes that do not stop: they swallow the cancellation, hide in a shield or in a thread."""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Awaitable, Callable

import pytest
import trio

import exeunt
from exeunt import (
    Crash,
    Down,
    Exit,
    NotAProcess,
    Pid,
    is_alive,
    process_info,
    receive,
    self_pid,
    send,
    spawn,
    spawn_monitor,
    wait_exit,
)
from exeunt.kernel.events import Exited, ZombieFound, ZombieGone

from .nodes import Actor, idle, node, nothing_is_left, settle

pytestmark = pytest.mark.usefixtures("autojump_clock")


async def hangs_in_a_shield(seconds: float) -> None:
    with trio.CancelScope(shield=True):
        await trio.sleep(seconds)


# -- zombies


async def test_a_killed_process_that_does_not_stop_is_declared_dead_after_the_grace() -> None:
    async with node(kill_grace=3) as stage:
        found, gone = stage.events(ZombieFound), stage.events(ZombieGone)
        pid, ref = spawn_monitor(hangs_in_a_shield, 10, name="stubborn")
        await settle()
        start = trio.current_time()
        exeunt.exit(pid, "kill")
        assert await receive(Down) == Down(ref, pid, "killed")
        assert trio.current_time() - start == pytest.approx(3)
        assert process_info(pid) is None and not is_alive(pid)
        assert pid not in exeunt.processes() and exeunt.registered() == []
        assert list(stage.node.zombies) == [pid]
        [event] = found
        assert event.pid is pid and event.label == "hangs_in_a_shield"
        assert "hangs_in_a_shield" in event.stack and "trio.sleep(seconds)" in event.stack
        record = stage.logged("was killed but does not stop", logging.WARNING)
        assert f"{pid} (hangs_in_a_shield)" in record.getMessage()
        assert "trio.sleep(seconds)" in record.getMessage()
        await trio.sleep(10)
        assert [event.pid for event in gone] == [pid]
        assert stage.node.zombies == {}
        stage.logged(f"the zombie {pid}", logging.WARNING)


async def test_a_kill_that_is_heeded_within_the_grace_makes_no_zombie() -> None:
    async with node(kill_grace=3) as stage:
        pid = spawn(hangs_in_a_shield, 2)
        await settle()
        exeunt.exit(pid, "kill")
        assert await wait_exit(pid) == "killed"
        assert len(stage.node.timers) == 0
        await trio.sleep(10)


async def test_only_a_kill_makes_zombies() -> None:
    async with node(kill_grace=1):
        pid = spawn(hangs_in_a_shield, 100)
        await settle()
        start = trio.current_time()
        exeunt.exit(pid, "bye")
        assert await wait_exit(pid) == "bye"
        assert trio.current_time() - start == pytest.approx(100)


async def test_the_grace_is_counted_from_the_first_kill() -> None:
    async with node(kill_grace=3) as stage:
        pid = spawn(hangs_in_a_shield, 5)
        await settle()
        start = trio.current_time()
        for _ in range(3):
            exeunt.exit(pid, "kill")
            await trio.sleep(0.5)
        await wait_exit(pid)
        assert trio.current_time() - start == pytest.approx(3)
        stage.logged("does not stop")
        await trio.sleep(5)
        stage.logged("has stopped")


async def test_links_and_callers_hear_of_a_zombie_when_it_is_declared_dead() -> None:
    async with node(kill_grace=1) as stage:
        pid = spawn(hangs_in_a_shield, 5)
        await settle()
        trapper, caller = Actor(trap=True), Actor()
        await trapper.do(lambda: exeunt.link(pid))
        answer = caller.begin(lambda: exeunt.call(pid, "question"))
        await settle()
        exeunt.exit(pid, "kill")
        await answer.done.wait()
        assert isinstance(answer.error, exeunt.CallFailed) and answer.error.reason == "killed"
        assert trapper.messages == [Exit(pid, "killed")]
        stage.logged("does not stop")
        await trio.sleep(5)
        stage.logged("has stopped")


async def test_the_node_waits_for_the_code_of_a_zombie() -> None:
    ended: list[float] = []

    async def stubborn() -> None:
        with trio.CancelScope(shield=True):
            await trio.sleep(50)
        ended.append(trio.current_time())

    start = trio.current_time()
    async with node(shutdown=2, kill_grace=3) as stage:
        spawn(stubborn)
        await settle()
        stage.at_close("does not stop", "has stopped")
    assert ended == [pytest.approx(start + 50)]


async def test_what_a_zombie_still_does_reaches_nobody_by_links_or_monitors() -> None:
    tried: list[type[BaseException]] = []

    async def undead(other: Pid) -> None:
        with trio.CancelScope(shield=True):
            await trio.sleep(10)
        for use in (
            lambda: exeunt.link(other),
            lambda: exeunt.monitor(other),
            lambda: exeunt.register("undead"),
            lambda: spawn(idle),
            self_pid,
        ):
            try:
                use()
            except NotAProcess as error:
                tried.append(type(error))
        send(other, "a message by pid still arrives")

    async with node(kill_grace=1) as stage:
        other = Actor()
        pid = spawn(undead, other.pid)
        await settle()
        exeunt.exit(pid, "kill")
        await trio.sleep(20)
        assert tried == [NotAProcess] * 5
        info = process_info(other.pid)
        assert info is not None and info.links == () and info.monitored_by == ()
        assert other.messages == ["a message by pid still arrives"]
        stage.logged("does not stop")
        stage.logged("has stopped")


async def test_a_zombie_that_fails_in_the_end_is_only_gone() -> None:
    async def fails() -> None:
        with trio.CancelScope(shield=True):
            await trio.sleep(5)
        raise OSError("too late to matter")

    async with node(kill_grace=1) as stage:
        exits = stage.events(Exited)
        pid = spawn(fails)
        await settle()
        exeunt.exit(pid, "kill")
        await trio.sleep(10)
        assert [event.reason for event in exits] == ["killed"]
        stage.logged("does not stop")
        stage.logged("has stopped")


async def test_a_name_of_a_zombie_can_be_taken() -> None:
    async with node(kill_grace=1) as stage:
        pid = spawn(hangs_in_a_shield, 5, name="store")
        await settle()
        exeunt.exit(pid, "kill")
        with pytest.raises(exeunt.NameTaken):
            spawn(idle, name="store")
        await wait_exit(pid)
        successor = spawn(idle, name="store")
        await trio.sleep(10)
        assert exeunt.whereis("store") is successor
        stage.logged("does not stop")
        stage.logged("has stopped")


def test_a_process_that_sits_in_a_thread_is_a_zombie_until_the_thread_returns() -> None:
    release = threading.Event()

    async def in_a_thread() -> None:
        await trio.to_thread.run_sync(release.wait, 20)

    async def main() -> None:
        async with node(kill_grace=0.05, limit=math.inf) as stage:
            pid = spawn(in_a_thread)
            await settle()
            exeunt.exit(pid, "kill")
            assert await wait_exit(pid) == "killed"
            assert list(stage.node.zombies) == [pid]
            gone = trio.Event()
            stage.node.events.subscribe(lambda _: gone.set(), ZombieGone)
            assert "run_sync" in stage.logged("does not stop").getMessage()
            release.set()
            with trio.fail_after(10):
                await gone.wait()
            assert stage.node.zombies == {}
            stage.logged("has stopped")

    trio.run(main)


# -- processes that misbehave in other ways


async def test_a_process_that_swallows_its_cancellation_once_ends_at_the_next_checkpoint() -> None:
    seen: list[str] = []

    async def body() -> None:
        try:
            await trio.sleep_forever()
        except trio.Cancelled:
            seen.append("swallowed")
        await trio.sleep_forever()
        seen.append("went on")

    async with node():
        pid = spawn(body)
        await settle()
        exeunt.exit(pid, "bye")
        assert await wait_exit(pid) == "bye"
        assert seen == ["swallowed"]


async def test_a_process_that_swallows_every_cancellation_does_not_stop_the_others() -> None:
    stop = trio.Event()

    async def body() -> None:
        while not stop.is_set():
            try:
                await trio.sleep_forever()
            except trio.Cancelled:
                pass

    async with node(kill_grace=1) as stage:
        pid = spawn(body)
        await settle()
        exeunt.exit(pid, "bye")
        for _ in range(50):
            await trio.lowlevel.checkpoint()
        assert await exeunt.call(spawn(answer), 5) == 5
        stop.set()
        assert await wait_exit(pid) == "bye"
        assert stage.node.zombies == {}


async def answer() -> None:
    message = await receive(exeunt.Call)
    exeunt.reply(message, message.request)


async def test_a_process_that_turns_its_cancellation_into_an_error_is_reported() -> None:
    async def body() -> None:
        try:
            await trio.sleep_forever()
        except trio.Cancelled:
            raise OSError("instead") from None

    async with node() as stage:
        pid = spawn(body)
        await settle()
        exeunt.exit(pid, "bye")
        assert await wait_exit(pid) == "bye"
        assert stage.crash(OSError).while_exiting == "bye"


async def test_a_process_that_raises_a_base_exception_harms_nobody_else() -> None:
    class Odd(BaseException):
        pass

    async def body() -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise Odd

    async with node() as stage:
        other = spawn(idle)
        pid = spawn(body)
        await settle()
        exeunt.exit(pid, "bye")
        assert await wait_exit(pid) == "bye"
        assert is_alive(other)
        stage.crash(Odd)


async def test_a_process_that_raises_cancelled_itself_is_not_taken_for_a_signal() -> None:
    kept: list[trio.Cancelled] = []

    async def keeps() -> None:
        with trio.CancelScope() as scope:
            scope.cancel()
            try:
                await trio.lowlevel.checkpoint()
            except trio.Cancelled as cancelled:
                kept.append(cancelled)
                raise

    async def raises() -> None:
        raise kept[0]

    async with node():
        other = spawn(idle)
        await wait_exit(spawn(keeps))
        pid, _ = spawn_monitor(raises)
        assert (await receive(Down)).process is pid
        assert is_alive(other) and is_alive(self_pid())


async def test_a_process_whose_nursery_fails_while_it_exits_keeps_the_signals_reason() -> None:
    async def fails_when_cancelled() -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise OSError("child")

    async def body() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(fails_when_cancelled)
            nursery.start_soon(idle)

    async with node() as stage:
        pid = spawn(body)
        await settle()
        exeunt.exit(pid, "bye")
        assert await wait_exit(pid) == "bye"
        report = stage.crash(OSError)
        assert report.while_exiting == "bye" and isinstance(report.reason, Crash)


async def test_a_process_may_spawn_from_within_its_nursery() -> None:
    seen: list[Pid | None] = []

    async def task() -> None:
        pid = exeunt.spawn_link(idle)
        info = process_info(pid)
        assert info is not None
        seen.append(info.parent)
        exeunt.exit(pid, "kill")
        await trio.sleep_forever()

    async def body() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(task)

    async with node():
        pid = spawn(body)
        assert await wait_exit(pid) == "killed"
        assert seen == [pid]


async def test_a_cleanly_closed_node_has_no_zombies() -> None:
    async with exeunt.open_node(signals=False) as opened:
        spawn(hangs_in_a_shield, 1)
        await settle()
    nothing_is_left(opened)


# -- nurseries that are not left


async def enters(child: Callable[[], Awaitable[object]]) -> None:
    """Enter a nursery by hand, as one whose end is never reached does."""
    nursery = await trio.open_nursery().__aenter__()
    nursery.start_soon(child)


async def forgets(how: str) -> None:
    """End in some way within two nurseries."""
    await enters(idle)
    await enters(idle)
    match how:
        case "return":
            return
        case "raise":
            raise OSError("on purpose")
        case _:
            await trio.sleep_forever()


@pytest.mark.parametrize(
    ("how", "reason"),
    [("return", "normal"), ("raise", OSError), ("bye", "bye"), ("kill", "killed")],
)
async def test_a_nursery_that_is_not_left_ends_with_its_process(how: str, reason: object) -> None:
    async with node() as stage:
        other = spawn(idle)
        before = trio.lowlevel.current_statistics().tasks_living
        pid, _ = spawn_monitor(forgets, how)
        await settle()
        if how in ("bye", "kill"):
            assert trio.lowlevel.current_statistics().tasks_living == before + 3
            exeunt.exit(pid, how)
        down = await receive(Down)
        if reason is OSError:
            assert isinstance(down.reason, Crash) and isinstance(down.reason.exception, OSError)
            stage.crash(OSError)
        else:
            assert down.reason == reason
        # What ran in them has stopped before anybody heard of the end.
        assert trio.lowlevel.current_statistics().tasks_living <= before + 1
        await settle()
        assert trio.lowlevel.current_statistics().tasks_living == before
        assert is_alive(other)


async def test_what_fails_in_a_nursery_that_is_not_left_is_the_crash_of_its_process() -> None:
    async def fails() -> None:
        raise OSError("child")

    async def body() -> None:
        await enters(fails)
        await trio.sleep_forever()

    async with node() as stage:
        other = spawn(idle)
        _, _ = spawn_monitor(body)
        reason = (await receive(Down)).reason
        assert isinstance(reason, Crash) and isinstance(reason.exception, OSError)
        stage.crash(OSError)
        assert is_alive(other)


async def test_a_cancel_scope_that_is_not_left_is_a_crash_of_its_process_alone() -> None:
    async def body() -> None:
        trio.CancelScope().__enter__()

    async with node() as stage:
        other = spawn(idle)
        _, _ = spawn_monitor(body)
        reason = (await receive(Down)).reason
        assert isinstance(reason, Crash) and "corrupted" in str(reason.exception)
        stage.crash(RuntimeError)
        await settle()
        assert is_alive(other)


async def test_a_scope_within_a_nursery_and_neither_is_left() -> None:
    async def body() -> None:
        await enters(idle)
        trio.CancelScope().__enter__()

    async with node() as stage:
        other = spawn(idle)
        _, _ = spawn_monitor(body)
        reason = (await receive(Down)).reason
        assert isinstance(reason, Crash) and "corrupted" in str(reason.exception)
        stage.crash(RuntimeError)
        await settle()
        assert is_alive(other)


async def test_a_child_of_such_a_nursery_that_shields_itself_makes_a_zombie_of_its_process() -> (
    None
):
    gate = trio.Event()

    async def hides() -> None:
        with trio.CancelScope(shield=True):
            await gate.wait()

    async def body() -> None:
        await enters(hides)
        await trio.sleep_forever()

    async with node(kill_grace=1) as stage:
        pid, _ = spawn_monitor(body)
        await settle()
        exeunt.exit(pid, "kill")
        assert (await receive(Down)).reason == "killed"
        stage.logged("does not stop")
        gate.set()
        await settle()
        stage.logged("has stopped")
