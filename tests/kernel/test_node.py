"""The node: its block, its end whatever the way, and the order in which everything goes."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import AsyncIterator
from typing import Any

import pytest
import trio
import trio.testing

import exeunt
from exeunt import (
    Crash,
    Down,
    Exit,
    GenServer,
    MainExited,
    Node,
    Pid,
    ProcessExit,
    Supervisor,
    child,
    is_alive,
    link,
    receive,
    self_pid,
    send,
    spawn,
    spawn_link,
    spawn_monitor,
    trap_exit,
    wait_exit,
)
from exeunt.kernel.events import Exited
from exeunt.kernel.timers import Timers

from .nodes import Actor, drain, echo, idle, node, nothing_is_left, settle, trapping

pytestmark = pytest.mark.usefixtures("autojump_clock")


class Log(list[Any]):
    """What happened, in order; `enter` makes a body that notes its own end."""

    def body(self, label: str, seconds: float = 0) -> Any:
        async def noting() -> None:
            try:
                await trio.sleep_forever()
            finally:
                with trio.CancelScope(shield=True):
                    await trio.sleep(seconds)
                self.append(label)

        return noting


# -- the block


async def test_the_block_is_a_process() -> None:
    async with exeunt.open_node(signals=False) as opened:
        assert isinstance(opened, Node)
        assert exeunt.current_node() is opened
        assert exeunt.processes() == [self_pid()]
        send(self_pid(), "message")
        assert await receive() == "message"
        info = exeunt.process_info(self_pid())
        assert info is not None and info.label == "main" and info.parent is None
    with pytest.raises(exeunt.NotAProcess):
        self_pid()
    nothing_is_left(opened)


async def test_what_the_block_did_is_gone_after_it() -> None:
    async with exeunt.open_node(signals=False) as opened:
        pid = spawn(idle, name="worker")
        exeunt.register("main")
        exeunt.send_after(100, pid, "x")
        exeunt.send_after(100, self_pid(), "x")
        exeunt.monitor(pid)
        link(pid)
    nothing_is_left(opened)
    assert not is_alive(pid) and await wait_exit(pid) == "noproc"


async def test_a_node_can_be_opened_in_a_scope_that_is_cancelled_already() -> None:
    seen: list[str] = []
    with trio.CancelScope() as scope:
        scope.cancel()
        async with exeunt.open_node(signals=False) as opened:
            pid = spawn(idle)
            seen.append("entered")
            await trio.sleep(1)
            seen.append("went on")
    assert scope.cancelled_caught
    assert seen == ["entered"]
    assert not is_alive(pid)
    nothing_is_left(opened)


async def test_a_seed_makes_the_same_choices() -> None:
    async def draw(seed: int | None) -> list[int]:
        async with exeunt.open_node(seed=seed, signals=False) as opened:
            return [opened.random.randrange(10**9) for _ in range(5)]

    assert await draw(7) == await draw(7)
    assert await draw(7) != await draw(8)
    assert await draw(None) != await draw(None)


@pytest.mark.slow
def test_the_same_seed_gives_the_same_events_in_fresh_interpreters() -> None:
    program = """
import trio, exeunt
from exeunt.kernel.events import Exited, Spawned

told = []

async def chatter(number, peers):
    random = exeunt.current_node().random
    for _ in range(20):
        await trio.sleep(0)
        exeunt.send(random.choice(peers), (number, random.random()))
        try:
            told.append((number, exeunt.receive_nowait()))
        except trio.WouldBlock:
            pass
    if random.random() < 0.3:
        raise exeunt.ProcessExit("enough")

async def main():
    note = lambda event: told.append((type(event).__name__, event.pid, event.label))
    exeunt.current_node().events.subscribe(note, Spawned, Exited)
    peers = [exeunt.self_pid()]
    for number in range(30):
        peers.append(exeunt.spawn(chatter, number, peers))
    await trio.sleep(5)

exeunt.run(main, seed=%d, clock=trio.testing.MockClock(autojump_threshold=0))
print(told)
"""

    def play(seed: int, hash_seed: str) -> str:
        source = "import trio.testing\n" + program % seed
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
        return subprocess.check_output([sys.executable, "-c", source], env=environment, text=True)

    first = play(7, "0")
    assert len(first) > 10_000
    assert play(7, "1") == first
    assert play(8, "0") != first


# -- run


def test_run_returns_what_the_function_returns() -> None:
    async def main(number: int) -> int:
        assert self_pid().number == 0
        return number + 1

    assert exeunt.run(main, 41) == 42


def test_run_raises_what_the_function_raises() -> None:
    async def main() -> None:
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        exeunt.run(main)


def test_run_takes_a_seed_and_a_clock() -> None:
    async def main() -> float:
        await trio.sleep(10_000)
        return exeunt.current_node().random.random()

    def go() -> float:
        return exeunt.run(main, seed=1, clock=trio.testing.MockClock(autojump_threshold=0))

    assert go() == go()


def test_run_in_another_thread_leaves_signals_alone() -> None:
    async def main() -> int:
        return await exeunt.call(spawn(echo), 5)

    results: list[int] = []
    thread = threading.Thread(target=lambda: results.append(exeunt.run(main)))
    thread.start()
    thread.join(20)
    assert results == [5]


# -- the order of the end


async def test_processes_end_in_the_reverse_order_of_their_start() -> None:
    log = Log()
    async with node():
        for label in "abc":
            spawn(log.body(label, 1))
        await settle()
    assert log == ["c", "b", "a"]


async def test_each_is_dead_before_the_next_is_told() -> None:
    log: list[tuple[str, float]] = []

    async def body(label: str, seconds: float) -> None:
        try:
            await trio.sleep_forever()
        finally:
            log.append((f"{label} told", trio.current_time() - start))
            with trio.CancelScope(shield=True):
                await trio.sleep(seconds)
            log.append((f"{label} ends", trio.current_time() - start))

    async with node():
        spawn(body, "a", 1)
        spawn(body, "b", 2)
        await settle()
        start = trio.current_time()
    assert log == [("b told", 0), ("b ends", 2), ("a told", 2), ("a ends", 3)]


async def test_everything_is_told_shutdown() -> None:
    async with node() as stage:
        exits = stage.events(Exited)
        pid = spawn(idle)
        await settle()
    assert [event.reason for event in exits if event.pid is pid] == ["shutdown"]


async def test_a_process_that_traps_is_told_by_a_message_of_the_main_process() -> None:
    got: list[Any] = []

    async def body() -> None:
        trap_exit()
        got.append(await receive())

    async with node():
        main = self_pid()
        spawn(body)
        await settle()
    assert got == [Exit(main, "shutdown")]


async def test_a_process_that_does_not_heed_is_killed_when_its_budget_is_over() -> None:
    start = trio.current_time()
    async with node(shutdown=7) as stage:
        exits = stage.events(Exited)
        pid = spawn(trapping)
        await settle()
    assert trio.current_time() - start == pytest.approx(7)
    assert [event.reason for event in exits if event.pid is pid] == ["killed"]


async def test_the_budget_is_five_seconds_by_default() -> None:
    start = trio.current_time()
    async with node():
        spawn(trapping)
        await settle()
    assert trio.current_time() - start == pytest.approx(5)


async def test_processes_of_processes_end_after_those_of_the_block_all_together() -> None:
    log = Log()

    async def parent() -> None:
        for label in ("child 1", "child 2"):
            spawn(log.body(label, 1))
        await log.body("parent")()

    async with node():
        spawn(parent)
        spawn(log.body("sibling"))
        await settle()
        start = trio.current_time()
    assert log[:2] == ["sibling", "parent"]
    assert sorted(log[2:]) == ["child 1", "child 2"]
    assert trio.current_time() - start == pytest.approx(1)


async def test_an_orphan_that_does_not_heed_is_killed() -> None:
    async def parent() -> None:
        spawn(trapping)

    async with node(shutdown=3):
        await wait_exit(spawn(parent))
        await settle()
        start = trio.current_time()
    assert trio.current_time() - start == pytest.approx(3)


async def test_a_process_may_end_what_it_has_started_in_its_clean_up() -> None:
    log = Log()

    async def parent() -> None:
        pid = spawn(log.body("child"))
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                exeunt.exit(pid, "shutdown")
                await wait_exit(pid)
            log.append("parent")

    async with node():
        spawn(parent)
        await settle()
    assert log == ["child", "parent"]


async def test_processes_may_talk_while_the_node_closes() -> None:
    answers: list[Any] = []

    async def client(server: Pid) -> None:
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                answers.append(await exeunt.call(server, "still there?"))

    async with node():
        spawn(client, spawn(echo))
        await settle()
    assert answers == ["still there?"]


async def test_timers_fire_while_the_node_closes() -> None:
    log: list[float] = []

    async def body() -> None:
        trap_exit()
        await receive(Exit)
        exeunt.send_after(2, self_pid(), "tick")
        await receive(str)
        log.append(trio.current_time() - start)

    async with node():
        spawn(body)
        await settle()
        start = trio.current_time()
    assert log == [pytest.approx(2)]


async def test_what_is_started_while_the_node_closes_is_ended_too() -> None:
    log = Log()

    async def last_will() -> None:
        spawn(log.body("late"))
        with trio.CancelScope(shield=True):
            await trio.sleep(1)

    async def body() -> None:
        try:
            await trio.sleep_forever()
        finally:
            await last_will()

    async with node():
        spawn(body)
        await settle()
    assert log == ["late"]


async def test_processes_that_start_others_as_they_end_cannot_keep_the_node_open() -> None:
    started: list[int] = []
    refused: list[RuntimeError] = []

    async def again() -> None:
        started.append(len(started))
        try:
            await trio.sleep_forever()
        finally:
            try:
                spawn(again)
            except RuntimeError as error:
                refused.append(error)
            with trio.CancelScope(shield=True):
                await trio.sleep(1)

    async with node():
        spawn(again)
        await settle()
    assert len(started) < 10
    assert "the node is closed" in str(refused[0])


async def test_a_crash_in_the_clean_up_is_reported_and_stops_nothing() -> None:
    log = Log()

    async def fails() -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise OSError("clean-up")

    async with node() as stage:
        spawn(log.body("first"))
        spawn(fails)
        await settle()
        stage.at_close("failed to clean up while it ended for shutdown: OSError: clean-up")
    assert log == ["first"]


async def test_a_thousand_processes_end() -> None:
    async with node():
        for _ in range(500):
            spawn(idle)
        await settle()


# -- after the end


async def test_nothing_can_be_started_when_the_node_is_closed() -> None:
    results: list[Any] = []

    async def late(opened: Node) -> None:
        # A task of an outer nursery, started within the block: it still believes to be in there.
        await closed.wait()
        for use in (lambda: spawn(idle), self_pid, lambda: receive(), lambda: drain()):
            try:
                results.append(use())
            except (RuntimeError, exeunt.NotAProcess) as error:
                results.append(type(error))

    closed = trio.Event()
    async with trio.open_nursery() as nursery:
        async with exeunt.open_node(signals=False) as opened:
            nursery.start_soon(late, opened)
            await settle()
        closed.set()
    assert results == [exeunt.NotAProcess] * 4


# -- leaving by an exception


async def test_an_exception_of_the_block_is_raised_when_all_has_ended() -> None:
    log = Log()
    with pytest.raises(KeyError, match="mine") as caught:
        async with exeunt.open_node(signals=False):
            spawn(log.body("child", 1))
            await settle()
            raise KeyError("mine")
    assert log == ["child"]
    assert not isinstance(caught.value, BaseExceptionGroup)


async def test_an_exception_of_the_block_is_not_logged_as_a_crash() -> None:
    with pytest.raises(KeyError):
        async with node():
            raise KeyError("mine")


async def test_an_exception_group_of_the_block_stays_one() -> None:
    with pytest.RaisesGroup(KeyError):
        async with exeunt.open_node(signals=False), trio.open_nursery():
            raise KeyError("mine")


async def test_the_end_of_the_block_is_a_reason_to_those_outside() -> None:
    async with node() as stage:
        downs: list[Down] = []

        async def inner() -> None:
            async with exeunt.open_node(signals=False):
                watched.append(self_pid())
                started.set()
                await trio.sleep(1)
                raise KeyError("mine")

        async def outer() -> None:
            with pytest.raises(KeyError):
                await inner()

        watched: list[Pid] = []
        started = trio.Event()
        pid = spawn(outer)
        await started.wait()
        exeunt.monitor(watched[0])
        downs.append(await receive(Down))
        assert isinstance(downs[0].reason, Crash)
        assert await wait_exit(pid) in ("normal", "noproc")
        assert stage.log.texts() == []


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(3)])
async def test_an_interruption_that_the_block_raises_is_raised(error: BaseException) -> None:
    log = Log()
    with pytest.raises(type(error)):
        async with exeunt.open_node(signals=False):
            spawn(log.body("child"))
            await settle()
            raise error
    assert log == ["child"]


async def test_an_error_in_the_nodes_own_tasks_is_raised_and_not_just_a_cancellation(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def breaks(_: Timers) -> None:
        raise OSError("a bug in the node itself")

    monkeypatch.setattr(Timers, "_fire", breaks)
    with pytest.RaisesGroup(OSError, allow_unwrapped=True, flatten_subgroups=True):
        async with exeunt.open_node(signals=False):
            exeunt.send_after(1, self_pid(), "never")
            await trio.sleep_forever()


# -- leaving by cancellation


async def test_a_cancellation_from_outside_is_an_ordered_shutdown() -> None:
    log = Log()
    with trio.move_on_after(5) as scope:
        async with exeunt.open_node(signals=False) as opened:
            for label in "abc":
                spawn(log.body(label, 1))
            await trio.sleep_forever()
    assert scope.cancelled_caught
    assert log == ["c", "b", "a"]
    assert trio.current_time() == pytest.approx(8, abs=0.1)
    nothing_is_left(opened)


async def test_a_cancellation_during_the_shutdown_does_not_tear_through_it() -> None:
    log = Log()
    with trio.CancelScope() as scope:
        async with exeunt.open_node(signals=False):
            for label in "abc":
                spawn(log.body(label, 2))
            await settle()
            scope.deadline = trio.current_time() + 3
    assert log == ["c", "b", "a"]


async def test_a_block_in_a_nursery_whose_sibling_fails_is_shut_down_in_order() -> None:
    log = Log()

    async def program() -> None:
        async with exeunt.open_node(signals=False):
            for label in "ab":
                spawn(log.body(label, 1))
            await trio.sleep_forever()

    async def fails() -> None:
        await trio.sleep(1)
        raise OSError("elsewhere")

    with pytest.RaisesGroup(OSError):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(program)
            nursery.start_soon(fails)
    assert log == ["b", "a"]


# -- leaving by an exit signal


async def test_the_crash_of_a_linked_process_ends_the_block() -> None:
    error = ValueError("wrong")
    log = Log()

    async def crash() -> None:
        await receive()
        raise error

    with pytest.raises(MainExited) as caught:
        async with node() as stage:
            spawn(log.body("other"))
            send(spawn_link(crash), "go")
            try:
                await trio.sleep_forever()
            finally:
                log.append("block")
                stage.crash(ValueError)
    assert caught.value.reason == Crash(error)
    assert caught.value.__cause__ is error
    assert "ValueError: wrong" in str(caught.value)
    assert log == ["block", "other"]


@pytest.mark.parametrize("reason", ["bye", "shutdown", "kill"])
async def test_an_exit_signal_to_the_main_process_ends_the_block(reason: str) -> None:
    async def exits(main: Pid) -> None:
        exeunt.exit(main, reason)

    with pytest.raises(MainExited) as caught:
        async with exeunt.open_node(signals=False) as opened:
            spawn(exits, self_pid())
            await trio.sleep_forever()
    assert caught.value.reason == ("killed" if reason == "kill" else reason)
    nothing_is_left(opened)


async def test_a_block_that_swallows_the_signal_has_exited_all_the_same() -> None:
    async def exits(main: Pid) -> None:
        exeunt.exit(main, "bye")

    with pytest.raises(MainExited, match="bye"):
        async with exeunt.open_node(signals=False):
            spawn(exits, self_pid())
            try:
                await trio.sleep_forever()
            except trio.Cancelled:
                pass


@pytest.mark.parametrize("reason", ["bye", "normal"])
async def test_a_block_that_exits_itself(reason: str) -> None:
    with pytest.raises(MainExited) as caught:
        async with exeunt.open_node(signals=False):
            exeunt.exit(self_pid(), reason)
    assert caught.value.reason == reason


async def test_a_main_process_that_traps_gets_messages_instead() -> None:
    async def crash() -> None:
        raise ValueError

    async with node() as stage:
        trap_exit()
        pid = spawn_link(crash)
        message = await receive(Exit)
        assert message.pid is pid and isinstance(message.reason, Crash)
        stage.crash(ValueError)


async def test_a_linked_process_that_fails_during_the_shutdown_changes_nothing() -> None:
    async def fails() -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise ProcessExit("in its clean-up")

    async with node():
        spawn_link(fails)
        spawn_link(idle)
        await settle()


# -- interruptions from within


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(3)])
async def test_an_interruption_in_a_process_ends_the_program_in_order(error: BaseException) -> None:
    log = Log()

    async def interrupts() -> None:
        raise error

    with pytest.raises(type(error)) as caught:
        async with node() as stage:
            exits = stage.events(Exited)
            spawn(log.body("other", 1))
            await settle()
            pid = spawn(interrupts)
            await trio.sleep_forever()
    assert caught.value is error
    assert log == ["other"]
    [event] = [event for event in exits if event.pid is pid]
    assert event.reason == Crash(error)


async def test_an_interruption_in_a_nursery_of_a_process_counts_beside_other_failures() -> None:
    async def interrupts() -> None:
        raise KeyboardInterrupt

    async def fails() -> None:
        raise ValueError("beside it")

    async def body() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(interrupts)
            nursery.start_soon(fails)

    with pytest.raises(KeyboardInterrupt):
        async with exeunt.open_node(signals=False):
            spawn(body)
            await trio.sleep_forever()


async def test_a_second_interruption_ends_everything_at_once() -> None:
    async def stubborn() -> None:
        trap_exit()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            nursery.start_soon(trio.sleep_forever)

    first, second = KeyboardInterrupt(), KeyboardInterrupt()
    start = trio.current_time()

    async def interrupt(opened: Node) -> None:
        await trio.sleep(1)
        opened.interrupt(first)
        await trio.sleep(1)
        opened.interrupt(second)

    with pytest.raises(KeyboardInterrupt) as caught:
        async with node(shutdown=100) as stage:
            spawn(stubborn)
            exits = stage.events(Exited)
            trio.lowlevel.spawn_system_task(interrupt, stage.node)
            await trio.sleep_forever()
    assert caught.value is first
    assert trio.current_time() - start == pytest.approx(2)
    assert [event.reason for event in exits if event.label.endswith("stubborn")] == ["killed"]
    assert stage.log.texts() == []


async def test_a_failure_of_the_blocks_own_clean_up_is_not_lost_over_an_interruption() -> None:
    with pytest.raises(KeyboardInterrupt) as caught:
        async with exeunt.open_node(signals=False) as opened:
            try:
                opened.interrupt(KeyboardInterrupt())
                await trio.sleep_forever()
            finally:
                raise ValueError("clean-up")
    assert isinstance(caught.value.__context__, ValueError)


# -- servers and supervisors when the node closes


class Noting(GenServer):
    async def init(self, log: list[str], label: str, seconds: float = 0) -> None:
        trap_exit()
        self.log, self.label, self.seconds = log, label, seconds

    async def terminate(self, reason: object) -> None:
        await trio.sleep(self.seconds)
        self.log.append(f"{self.label} {reason}")


async def test_a_server_that_traps_is_terminated_in_order() -> None:
    log: list[str] = []
    async with node():
        for label in "abc":
            await Noting.start_link(log, label)
    assert log == ["c shutdown", "b shutdown", "a shutdown"]


async def test_a_server_without_a_link_is_terminated_too() -> None:
    log: list[str] = []
    start = trio.current_time()
    async with node():
        await Noting.start(log, "unlinked")
    assert log == ["unlinked shutdown"]
    assert trio.current_time() == start


async def test_a_suspended_server_is_terminated_too() -> None:
    log: list[str] = []
    async with node():
        for start in (Noting.start, Noting.start_link):
            await exeunt.suspend(await start(log, "suspended"))
    assert log == ["suspended shutdown"] * 2


async def test_a_tree_is_shut_down_in_the_reverse_order_of_its_start() -> None:
    log: list[str] = []
    async with node():
        inner = Supervisor.child(
            [Noting.child(log, "b").replace(id="b"), Noting.child(log, "c").replace(id="c")]
        )
        await Supervisor.start_link(
            [Noting.child(log, "a").replace(id="a"), inner, Noting.child(log, "d").replace(id="d")]
        )
    assert log == ["d shutdown", "c shutdown", "b shutdown", "a shutdown"]


async def test_a_supervisor_has_all_the_time_that_its_children_need() -> None:
    log: list[str] = []
    start = trio.current_time()
    async with node(shutdown=1):
        slow = Noting.child(log, "slow", 60).replace(shutdown="infinity")
        await Supervisor.start_link([slow])
    assert log == ["slow shutdown"]
    assert trio.current_time() - start == pytest.approx(60)


@pytest.mark.parametrize("kind", [Supervisor, exeunt.DynamicSupervisor])
async def test_an_unlinked_supervisor_does_not_hold_the_node_open(kind: Any) -> None:
    start = trio.current_time()
    async with node():
        await kind.start()
    assert trio.current_time() == start


async def test_a_supervisor_that_hangs_in_a_start_can_be_left_by_a_cancellation() -> None:
    class Hangs(GenServer):
        async def init(self) -> None:
            await trio.sleep_forever()

    with trio.move_on_after(10) as scope:
        async with node():
            await Supervisor.start_link([child(idle), Hangs.child()])
    assert scope.cancelled_caught
    assert trio.current_time() == pytest.approx(10, abs=0.1)


async def test_a_program_that_is_idle_closes_at_once() -> None:
    start = trio.current_time()
    async with node():
        await Supervisor.start_link([child(idle), child(echo), Noting.child([], "x")])
        await exeunt.DynamicSupervisor.start_link()
        await exeunt.Watcher.start_link()
        spawn(idle)
    assert trio.current_time() == start


# -- several nodes


async def test_nodes_can_be_nested() -> None:
    log = Log()
    async with node() as outer:
        spawn(log.body("outer"))
        outer_main = self_pid()
        async with exeunt.open_node(signals=False) as inner:
            assert exeunt.current_node() is inner
            assert inner.number != outer.node.number
            spawn(log.body("inner"))
            await settle()
            send(outer_main, "across")
        assert self_pid() is outer_main and exeunt.current_node() is outer.node
        assert log == ["inner"]
        assert await receive() == "across"
    assert log == ["inner", "outer"]


async def test_an_outer_node_that_ends_ends_the_inner_one_first_in_order() -> None:
    log = Log()

    async def program() -> None:
        async with exeunt.open_node(signals=False):
            for label in "ab":
                spawn(log.body(f"inner {label}", 1))
            await trio.sleep_forever()

    async with node(shutdown=60):
        spawn(log.body("outer"))
        spawn(program)
        await settle()
    assert log == ["inner b", "inner a", "outer"]


async def test_nodes_can_stand_side_by_side() -> None:
    answers: list[Any] = []

    async def program(number: int) -> None:
        async with exeunt.open_node(signals=False):
            pid = spawn(echo, name="echo")
            await trio.sleep(number)
            answers.append((number, await exeunt.call("echo", number)))
            assert exeunt.whereis("echo") is pid

    async with trio.open_nursery() as nursery:
        for number in range(5):
            nursery.start_soon(program, number)
    assert answers == [(number, number) for number in range(5)]


# -- as a fixture of pytest-trio


@pytest.fixture
async def opened() -> AsyncIterator[Node]:
    async with exeunt.open_node(signals=False) as the_node:
        yield the_node
    nothing_is_left(the_node)


@pytest.fixture
async def server(opened: Node) -> Pid:
    return spawn(echo, name="echo")


async def test_a_node_can_be_a_fixture(opened: Node, server: Pid) -> None:
    assert exeunt.current_node() is opened
    assert await exeunt.call("echo", "question") == "question"
    assert exeunt.whereis("echo") is server
    pid, _ = spawn_monitor(idle)
    exeunt.exit(pid, "bye")
    assert (await receive(Down)).reason == "bye"


async def test_a_node_in_a_fixture_may_be_left_with_processes_in_it(opened: Node) -> None:
    for _ in range(10):
        spawn(idle)
    actor = Actor()
    assert await actor.do(self_pid) is actor.pid
