"""Processes through the public functions: starting, linking, monitoring, ending, looking."""

from __future__ import annotations

import gc
import logging
import weakref
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

import pytest
import trio

import exeunt
from exeunt import (
    Crash,
    Down,
    Exit,
    NoProcess,
    NotAProcess,
    Pid,
    ProcessExit,
    ProcessInfo,
    demonitor,
    is_alive,
    link,
    monitor,
    process_info,
    receive,
    self_pid,
    send,
    spawn,
    spawn_link,
    spawn_monitor,
    trap_exit,
    unlink,
    wait_exit,
)

from .nodes import Actor, check_tables, drain, idle, messages, node, settle, trapping

pytestmark = pytest.mark.usefixtures("autojump_clock")


def info_of(pid: Pid) -> ProcessInfo:
    info = process_info(pid)
    assert info is not None
    return info


async def end(pid: Pid, reason: object = "bye") -> object:
    exeunt.exit(pid, reason)
    return await wait_exit(pid)


async def slow_end(seconds: float = 5) -> None:
    try:
        await trio.sleep_forever()
    finally:
        with trio.CancelScope(shield=True):
            await trio.sleep(seconds)


# -- spawn


async def test_a_process_gets_its_arguments_and_runs_at_the_next_checkpoint() -> None:
    got: list[Any] = []

    async def body(*args: Any) -> None:
        got.append(args)

    async with node():
        pid = spawn(body, 1, "two", None)
        assert got == []
        await wait_exit(pid)
        assert got == [(1, "two", None)]


async def test_any_callable_that_gives_an_awaitable_is_a_body() -> None:
    class Body:
        async def __call__(self, number: int) -> None:
            got.append(number)

        async def method(self, number: int) -> None:
            got.append(number)

    async def static(number: int) -> None:
        got.append(number)

    got: list[int] = []
    async with node():
        for pid in (spawn(Body(), 1), spawn(Body().method, 2), spawn(lambda: static(3))):
            monitor(pid)
        for _ in range(3):
            assert (await receive(Down)).reason == "normal"
        assert sorted(got) == [1, 2, 3]


async def test_what_is_no_function_is_refused() -> None:
    async with node():
        with pytest.raises(TypeError, match="async function and its arguments"):
            spawn(5)  # type: ignore[arg-type]
        with pytest.raises(TypeError, match=r"without calling it, .*: spawn\(idle, …\)"):
            spawn(idle())  # type: ignore[arg-type]


async def test_a_function_that_is_not_async_is_a_crash_that_says_so() -> None:
    async with node() as stage:
        reason = await wait_exit(spawn(lambda: 5))  # type: ignore[arg-type, return-value]
        assert isinstance(reason, Crash)
        assert "await" in str(stage.crash(TypeError))


async def test_arguments_that_do_not_fit_are_a_crash() -> None:
    async with node() as stage:
        spawn_monitor(idle, "too many")  # type: ignore[call-arg]
        await receive(Down)
        stage.crash(TypeError)


async def test_spawn_needs_a_node() -> None:
    with pytest.raises(NotAProcess, match="open_node"):
        spawn(idle)


async def test_processes_lists_the_oldest_first_and_the_main_process_is_one() -> None:
    async with node():
        pids = [spawn(idle) for _ in range(5)]
        assert exeunt.processes() == [self_pid(), *pids]
        await end(pids[2])
        assert exeunt.processes() == [self_pid(), *pids[:2], *pids[3:]]


async def test_a_process_may_end_before_it_has_run() -> None:
    ran: list[bool] = []

    async def body() -> None:
        ran.append(True)

    async with node():
        pid, _ = spawn_monitor(body)
        exeunt.exit(pid, "too early")
        assert (await receive(Down)).reason == "too early"
        assert ran == []


async def test_a_process_inherits_the_context_of_who_spawned_it() -> None:
    colour: ContextVar[str] = ContextVar("colour", default="none")
    seen: list[str] = []

    async def body() -> None:
        seen.append(colour.get())
        colour.set("its own")

    async with node():
        colour.set("red")
        await wait_exit(spawn(body))
        assert seen == ["red"] and colour.get() == "red"


async def test_thousands_of_processes_come_and_go() -> None:
    async def body() -> None:
        pass

    async with node():
        for _ in range(3):
            pids = [spawn(body) for _ in range(500)]
            for pid in pids:
                await wait_exit(pid)
        assert exeunt.processes() == [self_pid()]


# -- who and where


async def test_each_process_knows_itself_and_its_node() -> None:
    found: list[Any] = []

    async def body() -> None:
        found.append((self_pid(), exeunt.current_node()))

    async with node() as stage:
        pid = spawn(body)
        await wait_exit(pid)
        assert found == [(pid, stage.node)]


async def test_a_task_of_a_nursery_within_a_process_is_that_process() -> None:
    found: list[Pid] = []

    async def task() -> None:
        found.append(self_pid())

    async def body() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(task)
            nursery.start_soon(task)

    async with node():
        pid = spawn(body)
        await wait_exit(pid)
        assert found == [pid, pid]


async def test_what_acts_for_a_dead_process_is_refused() -> None:
    # A task in somebody else's nursery, which still believes to be the process that put it there.
    nurseries: list[trio.Nursery] = []
    refused: list[bool] = []

    async def host() -> None:
        async with trio.open_nursery() as nursery:
            nurseries.append(nursery)
            await trio.sleep_forever()

    async def ghost(target: Pid) -> None:
        await trio.sleep(10)
        uses: list[Callable[[], object]] = [
            self_pid,
            lambda: link(target),
            lambda: monitor(target),
            lambda: spawn_link(idle),
            lambda: exeunt.register("ghost"),
            lambda: exeunt.send_after(1, target, "boo"),
            lambda: trap_exit(),
            receive,
        ]
        for use in uses:
            with pytest.raises((NotAProcess, NoProcess)):
                use()
            refused.append(True)

    async def leaves_a_task(target: Pid) -> None:
        nurseries[0].start_soon(ghost, target)

    async with node():
        home, target = spawn(host), spawn(idle)
        await settle()
        await wait_exit(spawn(leaves_a_task, target))
        await trio.sleep(20)
        assert len(refused) == 8
        assert info_of(target).links == () and info_of(target).monitored_by == ()
        assert is_alive(home)
        check_tables()


# -- is_alive and wait_exit


async def test_a_process_is_not_alive_from_the_moment_it_is_told_to_exit() -> None:
    async with node():
        pid = spawn(slow_end)
        await settle()
        assert is_alive(pid)
        exeunt.exit(pid, "bye")
        assert not is_alive(pid)
        assert info_of(pid).status == "exiting"
        await wait_exit(pid)
        assert process_info(pid) is None


async def test_wait_exit_waits_for_the_clean_up_and_gives_the_reason() -> None:
    async with node():
        pid = spawn(slow_end)
        await settle()
        start = trio.current_time()
        assert await end(pid) == "bye"
        assert trio.current_time() - start == pytest.approx(5)


async def test_wait_exit_of_the_dead_is_noproc_and_a_checkpoint() -> None:
    async with node():
        pid = spawn(idle)
        await end(pid)
        assert await wait_exit(pid) == "noproc"
        with trio.CancelScope() as scope:
            scope.cancel()
            await wait_exit(pid)
        assert scope.cancelled_caught


async def test_any_number_may_wait_for_an_exit_and_give_up() -> None:
    async with node():
        pid = spawn(idle)
        reasons: list[object] = []

        async def wait() -> None:
            reasons.append(await wait_exit(pid))

        async with trio.open_nursery() as nursery:
            for _ in range(5):
                nursery.start_soon(wait)
            with trio.move_on_after(1):
                await wait_exit(pid)
            exeunt.exit(pid, "bye")
        assert reasons == ["bye"] * 5


# -- exit signals


async def test_a_signal_ends_a_process_that_does_not_trap() -> None:
    async with node():
        assert await end(spawn(idle), "bye") == "bye"


async def test_normal_ends_nobody_else() -> None:
    async with node():
        pid = spawn(idle)
        exeunt.exit(pid, "normal")
        await settle()
        assert is_alive(pid)


async def test_normal_ends_oneself() -> None:
    async def body() -> None:
        exeunt.exit(self_pid(), "normal")
        raise AssertionError("went on")

    async with node():
        assert await wait_exit(spawn(body)) == "normal"


async def test_a_signal_to_oneself_has_arrived_when_exit_returns() -> None:
    async def body() -> None:
        trap_exit()
        for reason in ("normal", "bye"):
            exeunt.exit(self_pid(), reason)
            assert exeunt.receive_nowait() == Exit(self_pid(), reason)
        exeunt.exit(self_pid(), "kill")
        raise AssertionError("went on")

    async with node():
        assert await wait_exit(spawn(body)) == "killed"


async def test_exit_of_oneself_raises_so_that_nothing_more_runs() -> None:
    seen: list[str] = []

    async def body() -> None:
        try:
            exeunt.exit(self_pid(), "bye")
            seen.append("went on")
        finally:
            seen.append("cleaned up")

    async with node():
        assert await wait_exit(spawn(body)) == "bye"
        assert seen == ["cleaned up"]


async def test_a_task_within_a_process_that_exits_it_ends_all_its_tasks() -> None:
    seen: list[str] = []

    async def waits() -> None:
        try:
            await trio.sleep_forever()
        finally:
            seen.append("cancelled")

    async def exits() -> None:
        exeunt.exit(self_pid(), "bye")

    async def body() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(waits)
            await settle()
            nursery.start_soon(exits)

    async with node():
        assert await wait_exit(spawn(body)) == "bye"
        assert seen == ["cancelled"]


async def test_kill_cannot_be_trapped_and_becomes_killed() -> None:
    async with node():
        pid = spawn(trapping)
        await settle()
        assert await end(pid, "kill") == "killed"


async def test_killed_and_noproc_are_ordinary_when_sent_by_hand() -> None:
    async with node():
        actor = Actor(trap=True)
        await settle()
        for reason in ("killed", "noproc"):
            exeunt.exit(actor.pid, reason)
        assert actor.messages == [Exit(self_pid(), "killed"), Exit(self_pid(), "noproc")]
        assert await end(spawn(idle), "killed") == "killed"


async def test_killed_by_hand_gives_all_the_time_for_the_clean_up() -> None:
    async with node(kill_grace=1):
        pid = spawn(slow_end, 60)
        await settle()
        start = trio.current_time()
        assert await end(pid, "killed") == "killed"
        assert trio.current_time() - start == pytest.approx(60)


async def test_a_process_linked_to_a_killed_one_has_all_the_time_for_its_clean_up() -> None:
    async def links() -> None:
        send(main, spawn_link(slow_end, 60))
        await trio.sleep_forever()

    async with node(kill_grace=1):
        main = self_pid()
        parent = spawn(links)
        pid = await receive(Pid)
        await settle()
        start = trio.current_time()
        exeunt.exit(parent, "kill")
        assert await wait_exit(pid) == "killed"
        assert trio.current_time() - start == pytest.approx(60)


async def test_a_signal_to_the_dead_is_lost() -> None:
    async with node():
        pid = spawn(idle)
        await end(pid)
        exeunt.exit(pid, "again")
        exeunt.exit(pid, "kill")


async def test_whether_a_signal_is_trapped_is_decided_when_it_arrives() -> None:
    async with node():
        actor = Actor()
        assert await actor.do(lambda: trap_exit()) is False
        exeunt.exit(actor.pid, "trapped")
        assert await actor.do(lambda: trap_exit(False)) is True
        assert actor.messages == [Exit(self_pid(), "trapped")]
        assert await end(actor.pid, "not trapped") == "not trapped"


async def test_messages_of_a_sender_come_before_its_exit() -> None:
    async def body(to: Pid) -> None:
        link(to)
        for number in range(3):
            send(to, number)
        raise ProcessExit("bye")

    async with node():
        actor = Actor(trap=True)
        await settle()
        pid = spawn(body, actor.pid)
        await wait_exit(pid)
        assert actor.messages == [0, 1, 2, Exit(pid, "bye")]


async def test_a_kill_hastens_nothing_but_changes_the_reason_of_an_exit_under_way() -> None:
    async with node(kill_grace=60):
        pid = spawn(slow_end, 5)
        await settle()
        exeunt.exit(pid, "bye")
        exeunt.exit(pid, "again")
        await trio.sleep(1)
        assert await end(pid, "kill") == "killed"


async def test_killing_again_and_again_makes_no_pile_of_timers() -> None:
    async with node() as stage:
        pid = spawn(slow_end, 1)
        await settle()
        for _ in range(50):
            exeunt.exit(pid, "kill")
        assert len(stage.node.timers) == 1
        assert await wait_exit(pid) == "killed"


# -- links


async def test_the_end_of_a_linked_process_is_a_signal() -> None:
    async with node():
        one, other, trapper = Actor(), Actor(), Actor(trap=True)
        await one.do(lambda: link(other.pid))
        await one.do(lambda: link(trapper.pid))
        assert set(info_of(one.pid).links) == {other.pid, trapper.pid}
        exeunt.exit(one.pid, "bye")
        assert await wait_exit(other.pid) == "bye"
        assert trapper.messages == [Exit(one.pid, "bye")]


async def test_normal_along_a_link_ends_nobody_but_is_told_to_those_who_trap() -> None:
    async def short(*others: Pid) -> None:
        for other in others:
            link(other)

    async with node():
        plain, trapper = Actor(), Actor(trap=True)
        await settle()
        pid = spawn(short, plain.pid, trapper.pid)
        await wait_exit(pid)
        assert is_alive(plain.pid) and trapper.messages == [Exit(pid, "normal")]


async def test_an_exit_reason_goes_along_a_chain_of_links() -> None:
    async def chain(depth: int) -> None:
        if depth:
            spawn_link(chain, depth - 1)
        else:
            send(main, self_pid())
        await trio.sleep_forever()

    async with node():
        main = self_pid()
        first, _ = spawn_monitor(chain, 100)
        last = await receive(Pid)
        assert len(exeunt.processes()) == 102
        exeunt.exit(last, "bye")
        assert (await receive(Down)).reason == "bye"
        assert not is_alive(first) and exeunt.processes() == [main]


async def test_a_crash_goes_along_links_as_the_same_exception_and_is_reported_once() -> None:
    error = ValueError("wrong")

    async def crash() -> None:
        await receive()
        raise error

    async with node() as stage:
        one = spawn(crash)
        others = [Actor() for _ in range(3)]
        for other in others:
            await other.do(lambda: link(one))
            monitor(other.pid)
        send(one, "go")
        for _ in others:
            reason = (await receive(Down)).reason
            assert isinstance(reason, Crash) and reason.exception is error
        stage.crash(ValueError, one)


async def test_unlink_takes_a_link_away_from_both_sides() -> None:
    async with node():
        one, other = Actor(), Actor()
        await one.do(lambda: link(other.pid))
        await other.do(lambda: unlink(one.pid))
        await end(one.pid)
        await settle()
        assert is_alive(other.pid)


async def test_unlink_keeps_an_exit_message_that_has_come() -> None:
    async with node():
        actor, other = Actor(trap=True), Actor()
        await actor.do(lambda: link(other.pid))
        await end(other.pid)
        await actor.do(lambda: unlink(other.pid))
        assert actor.messages == [Exit(other.pid, "bye")]


@pytest.mark.parametrize("is_exiting", [True, False])
async def test_a_link_to_what_does_not_live(is_exiting: bool) -> None:
    async with node():
        pid = spawn(slow_end)
        await settle()
        exeunt.exit(pid, "bye")
        if not is_exiting:
            await wait_exit(pid)
        trapper, plain = Actor(trap=True), Actor()
        await trapper.do(lambda: link(pid))
        assert trapper.messages == [Exit(pid, "noproc")]
        with pytest.raises(NoProcess, match=str(pid)):
            await plain.do(lambda: link(pid))
        assert is_alive(plain.pid)


async def test_spawn_link_is_in_place_before_the_child_can_end() -> None:
    async def short() -> None:
        raise ProcessExit("at once")

    async with node():
        actor = Actor(trap=True)
        pid = await actor.do(lambda: spawn_link(short))
        await wait_exit(pid)
        assert actor.messages == [Exit(pid, "at once")]


async def test_a_link_made_in_the_clean_up_still_counts() -> None:
    async def body(other: Pid) -> None:
        try:
            await trio.sleep_forever()
        finally:
            link(other)

    async with node():
        actor = Actor(trap=True)
        await settle()
        pid = spawn(body, actor.pid)
        await settle()
        await end(pid)
        assert actor.messages == [Exit(pid, "bye")]


# -- monitors


async def test_a_monitor_fires_once_for_every_reason() -> None:
    async def ends(reason: object) -> None:
        raise ProcessExit(reason)

    async with node():
        for reason in ("normal", "shutdown", "bye", 17):
            pid, ref = spawn_monitor(ends, reason)
            assert await receive(Down) == Down(ref, pid, reason)
        assert drain() == []


async def test_monitors_stack_and_can_be_taken_away_one_by_one() -> None:
    async with node():
        pid = spawn(idle)
        refs = [monitor(pid) for _ in range(3)]
        assert info_of(self_pid()).monitors == (pid, pid, pid)
        assert info_of(pid).monitored_by == (self_pid(),) * 3
        assert demonitor(refs[1])
        await end(pid)
        assert drain() == [Down(refs[0], pid, "bye"), Down(refs[2], pid, "bye")]


async def test_a_monitor_is_one_way_and_its_watcher_need_not_trap() -> None:
    async with node():
        watcher, target = Actor(), Actor()
        await watcher.do(lambda: monitor(target.pid))
        await end(watcher.pid)
        assert is_alive(target.pid)
        assert info_of(target.pid).monitored_by == ()


@pytest.mark.parametrize("target", ["pid", "name"])
async def test_a_monitor_of_nobody_fires_at_once_with_noproc(target: str) -> None:
    async with node():
        pid = spawn(idle)
        await end(pid)
        to: Any = pid if target == "pid" else "nobody"
        ref = monitor(to)
        assert exeunt.receive_nowait() == Down(ref, to, "noproc")


async def test_a_monitor_of_an_exiting_process_fires_with_noproc_when_it_is_dead() -> None:
    async with node():
        pid = spawn(slow_end)
        await settle()
        exeunt.exit(pid, "bye")
        ref = monitor(pid)
        assert drain() == []
        await wait_exit(pid)
        assert drain() == [Down(ref, pid, "noproc")]


async def test_a_monitor_by_name_tells_the_name_and_stays_with_the_process() -> None:
    async with node():
        pid = spawn(idle, name="store")
        ref = monitor("store")
        assert info_of(self_pid()).monitors == ("store",)
        exeunt.unregister("store")
        exeunt.register("store", spawn(idle))
        await end(pid)
        assert drain() == [Down(ref, "store", "bye")]


async def test_a_monitor_of_oneself_never_fires() -> None:
    async with node():
        actor = Actor()
        await actor.do(lambda: monitor(actor.pid))
        info = info_of(actor.pid)
        assert info.monitors == () and info.monitored_by == ()


async def test_demonitor_flushes_what_has_come_if_asked() -> None:
    async with node():
        pid = spawn(idle)
        kept, flushed = monitor(pid), monitor(pid)
        send(self_pid(), "between")
        await end(pid)
        assert not demonitor(kept)
        assert not demonitor(flushed, flush=True)
        assert drain() == ["between", Down(kept, pid, "bye")]
        assert not demonitor(flushed)


async def test_a_monitor_belongs_to_who_made_it() -> None:
    async with node():
        ref = monitor(spawn(idle))
        assert not await Actor().do(lambda: demonitor(ref))
        assert demonitor(ref)


# -- process_info


async def test_process_info_shows_a_process_from_outside() -> None:
    async with node():
        actor = Actor(trap=True, name="worker")
        friend, target = spawn(idle), spawn(idle)
        await actor.do(lambda: link(friend))
        await actor.do(lambda: monitor(target))
        monitor(actor.pid)
        send(actor.pid, "message")
        assert process_info(actor.pid) == ProcessInfo(
            pid=actor.pid,
            name="worker",
            label="Actor._live",
            status="running",
            parent=self_pid(),
            traps_exits=True,
            links=(friend,),
            monitors=(target,),
            monitored_by=(self_pid(),),
            messages=("message",),
        )
        assert info_of(actor.pid).message_queue_len == 1


async def test_process_info_tells_who_waits_for_a_message() -> None:
    async def waits() -> None:
        await receive()

    async with node():
        waiting, busy = spawn(waits), spawn(idle)
        await settle()
        assert info_of(waiting).status == "waiting"
        assert info_of(busy).status == "running"
        assert info_of(self_pid()).parent is None


async def test_process_info_of_the_dead_is_none() -> None:
    async with node():
        pid = spawn(idle)
        await end(pid)
        assert process_info(pid) is None


async def test_process_info_is_a_snapshot() -> None:
    async with node():
        pid = spawn(idle)
        before = info_of(pid)
        send(pid, "later")
        assert before.messages == () and messages(pid) == ["later"]


# -- what is left of the dead


async def test_nothing_holds_what_a_dead_process_had(monkeypatch: pytest.MonkeyPatch) -> None:
    # The record of a crash holds its traceback, and so what the process had.
    monkeypatch.setattr(logging.getLogger("exeunt"), "disabled", True)

    class Thing:
        pass

    things: dict[str, weakref.ref[Thing]] = {}

    def make(label: str) -> Thing:
        thing = Thing()
        things[label] = weakref.ref(thing)
        return thing

    async def holds(_: Thing, error: BaseException | None = None) -> None:
        await receive()
        if error is not None:
            raise error

    async with node():
        for label, error in (
            ("returned", None),
            ("crashed", ValueError()),
            ("left", ProcessExit()),
        ):
            pid = spawn(holds, make(label), error)
            await settle()
            send(pid, "go")
            await wait_exit(pid)
        del error
        pid = spawn(idle)
        await settle()
        send(pid, make("unread message"))
        exeunt.send_after(100, pid, make("timer"))
        with trio.move_on_after(1):
            await exeunt.call(pid, make("withdrawn request"))
        await end(pid, "kill")
        gc.collect()
        assert [label for label, thing in things.items() if thing() is not None] == []


# -- several nodes


async def test_processes_of_two_nodes_can_be_linked_and_monitored() -> None:
    async with node():
        actor = Actor(trap=True)
        async with exeunt.open_node(signals=False):
            inner = spawn(idle)
            await settle()
            await actor.do(lambda: link(inner))
            ref = await actor.do(lambda: monitor(inner))
        assert actor.messages == [Exit(inner, "shutdown"), Down(ref, inner, "shutdown")]


async def test_to_link_again_with_a_process_that_is_exiting_does_nothing() -> None:
    async with node():

        async def slow() -> None:
            try:
                await trio.sleep_forever()
            finally:
                with trio.CancelScope(shield=True):
                    await trio.sleep(1)

        trap_exit()
        pid = spawn_link(slow)
        await settle()
        exeunt.exit(pid, "why")
        link(pid)
        assert await receive() == Exit(pid, "why")
        with pytest.raises(trio.WouldBlock):
            exeunt.receive_nowait()
