"""Supervisor: starting, restarting and shutting down children, by hand and by itself."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio

import exeunt
from exeunt import (
    AlreadyStarted,
    BadChildSpec,
    ChildCount,
    ChildError,
    ChildInfo,
    ChildSpec,
    Crash,
    Down,
    Exit,
    FailedToStart,
    GenServer,
    Ignore,
    Pid,
    ProcessExit,
    Shutdown,
    StartFailed,
    StartIgnored,
    Supervisor,
    call,
    child,
    is_alive,
    process_info,
    receive,
    self_pid,
    send,
    spawn,
    spawn_link,
    stop,
    trap_exit,
    wait_exit,
)
from exeunt.otp.reports import Progress, SupervisorReport
from tests.kernel.nodes import Actor, idle, node, settle
from tests.otp.workers import Worker, child_of, children_of, end, worker

pytestmark = pytest.mark.usefixtures("autojump_clock")


def contexts(reports: list[Any]) -> list[tuple[str, object, object]]:
    return [(report.context, report.id, report.reason) for report in reports]


def flaky(body: Callable[[], Awaitable[Pid]], outcomes: list[Any]) -> Callable[[], Awaitable[Pid]]:
    """Return a start function that raises or returns one outcome after the other, then starts."""

    async def start() -> Pid:
        if outcomes:
            outcome = outcomes.pop(0)
            if isinstance(outcome, BaseException):
                raise outcome
            if outcome is not None:
                return outcome
        return await body()

    return start


async def start_idle() -> Pid:
    return spawn_link(idle)


# -- start


async def test_children_are_started_in_order_each_when_the_one_before_is_up() -> None:
    log: list[Any] = []

    class Slow(Worker):
        async def init(self, *args: Any) -> None:
            await super().init(*args)
            await trio.sleep(1)
            log.append(("up", self.label))

    async with node():
        specs = [Slow.child(label, log).replace(id=label) for label in "abc"]
        supervisor = await Supervisor.start_link(specs)
        assert log == [(what, label) for label in "abc" for what in ("start", "up")]
        assert list(await children_of(supervisor)) == ["a", "b", "c"]


async def test_a_supervisor_needs_no_children() -> None:
    async with node():
        supervisor = await Supervisor.start_link()
        assert await Supervisor.which_children(supervisor) == []
        assert await Supervisor.count_children(supervisor) == ChildCount(0, 0, 0, 0)


async def test_each_child_that_is_up_is_told_as_progress() -> None:
    async with node() as stage:
        progress = stage.events(Progress)
        supervisor = await Supervisor.start_link([child(idle, id="a"), child(idle, id="b")])
        pids = await children_of(supervisor)
        assert progress == [Progress(supervisor, id, pids[id]) for id in "ab"]


async def test_children_may_be_servers_supervisors_and_plain_functions() -> None:
    async with node():
        log: list[Any] = []
        inner = Supervisor.child([worker("inner", log)])
        supervisor = await Supervisor.start_link([worker("server", log), inner, child(idle)])
        infos = await Supervisor.which_children(supervisor)
        assert [(info.id, info.type) for info in infos] == [
            ("server", "worker"),
            ("Supervisor", "supervisor"),
            ("idle", "worker"),
        ]
        assert all(isinstance(info.pid, Pid) for info in infos)
        assert await Supervisor.count_children(supervisor) == ChildCount(3, 3, 1, 2)
        links = process_info(supervisor)
        assert links is not None and len(links.links) == 4


async def test_a_failed_start_undoes_the_earlier_ones_in_reverse() -> None:
    async with node() as stage:
        reports = stage.gathers(SupervisorReport)
        log: list[Any] = []
        specs = [worker(label, log, {"c": 1}) for label in "abcd"]
        with pytest.raises(StartFailed) as caught:
            await Supervisor.start(specs)
        detail = FailedToStart("c", "c does not start")
        assert caught.value.reason == Shutdown(detail)
        assert str(detail) == "child 'c' did not start: c does not start"
        assert log == [
            *[("start", label) for label in "abc"],
            ("stop", "b", "shutdown"),
            ("stop", "a", "shutdown"),
        ]
        assert contexts(reports) == [("start_error", "c", "c does not start")]
        assert exeunt.processes() == [self_pid()]
        stage.crash()


async def test_a_failed_start_of_an_inner_supervisor_is_nested() -> None:
    async with node() as stage:
        stage.gathers(SupervisorReport)
        log: list[Any] = []
        inner = Supervisor.child([worker("bad", log, {"bad": 1})]).replace(id="inner")
        with pytest.raises(StartFailed) as caught:
            await Supervisor.start([worker("a", log), inner])
        innermost = Shutdown(FailedToStart("bad", "bad does not start"))
        assert caught.value.reason == Shutdown(FailedToStart("inner", innermost))
        assert log[-1] == ("stop", "a", "shutdown")
        stage.crash()


@pytest.mark.parametrize(
    "outcome", [OSError("no"), StartFailed("x", "no"), 5, "pid", ProcessExit("no")]
)
async def test_a_start_that_fails_in_any_way_fails_the_supervisor(outcome: Any) -> None:
    async with node() as stage:
        reports = stage.gathers(SupervisorReport)
        log: list[Any] = []
        bad = ChildSpec(id="bad", start=flaky(start_idle, [outcome]))
        with pytest.raises(StartFailed) as caught:
            await Supervisor.start([worker("a", log), bad])
        assert isinstance(caught.value.reason, Shutdown)
        detail = caught.value.reason.detail
        assert isinstance(detail, FailedToStart) and detail.id == "bad"
        if isinstance(outcome, StartFailed | ProcessExit):
            assert detail.reason == "no"
        else:
            assert isinstance(detail.reason, Crash)
        assert log == [("start", "a"), ("stop", "a", "shutdown")]
        assert [report.context for report in reports] == ["start_error"]


async def test_a_child_may_ignore() -> None:
    async with node():
        ignored = [
            ChildSpec(id=id, start=flaky(start_idle, [StartIgnored("x")] * 9), restart=restart)
            for id, restart in (("kept", "permanent"), ("too", "transient"), ("gone", "temporary"))
        ]
        supervisor = await Supervisor.start_link([*ignored, child(idle)])
        pids = await children_of(supervisor)
        assert {id: pid for id, pid in pids.items() if id != "idle"} == {"kept": None, "too": None}
        assert await Supervisor.count_children(supervisor) == ChildCount(3, 1, 0, 3)


async def test_a_server_that_ignores_is_a_child_that_ignores() -> None:
    class Shy(GenServer):
        async def init(self) -> Ignore:
            return Ignore()

    async with node():
        supervisor = await Supervisor.start_link([Shy.child()])
        assert await children_of(supervisor) == {"Shy": None}


# -- when a child ends: one_for_one


@pytest.mark.parametrize("reason", ["normal", "shutdown", Shutdown("x"), "bad", "kill"])
async def test_permanent_is_always_restarted(reason: object) -> None:
    async with node() as stage:
        reports = stage.gathers(SupervisorReport)
        log: list[Any] = []
        supervisor = await Supervisor.start_link([worker(label, log) for label in "abc"])
        before = await children_of(supervisor)
        await end(before["b"], reason)
        await settle()
        after = await children_of(supervisor)
        assert after["b"] is not before["b"] and is_alive(after["b"])
        assert (after["a"], after["c"]) == (before["a"], before["c"])
        assert log[3:] == [("start", "b")]
        told = "killed" if reason == "kill" else reason
        assert contexts(reports) == [("child_terminated", "b", told)]
        assert reports[0].pid is before["b"] and reports[0].supervisor is supervisor
        if reason == "bad":
            stage.crash()


@pytest.mark.parametrize("reason", ["normal", "shutdown", Shutdown("x"), "bad", "kill"])
async def test_transient_is_restarted_only_after_a_failure(reason: object) -> None:
    async with node() as stage:
        reports = stage.gathers(SupervisorReport)
        log: list[Any] = []
        supervisor = await Supervisor.start_link([worker("a", log, restart="transient")])
        await end(await child_of(supervisor, "a"), reason)
        await settle()
        is_bad = reason in ("bad", "kill")
        assert isinstance((await children_of(supervisor))["a"], Pid) == is_bad
        assert len(reports) == is_bad
        if reason == "bad":
            stage.crash()


@pytest.mark.parametrize("reason", ["normal", "bad", "kill"])
async def test_temporary_is_never_restarted_and_its_spec_goes(reason: object) -> None:
    async with node() as stage:
        reports = stage.gathers(SupervisorReport)
        supervisor = await Supervisor.start_link([worker("a", [], restart="temporary")])
        await end(await child_of(supervisor, "a"), reason)
        await settle()
        assert await children_of(supervisor) == {}
        assert len(reports) == (reason != "normal")
        if reason == "bad":
            stage.crash()


async def test_a_crash_of_a_child_is_one_crash_report_and_one_of_the_supervisor() -> None:
    async with node() as stage:
        supervisor = await Supervisor.named("top").start_link([worker("a", [])])
        pid = await child_of(supervisor, "a")
        send(pid, ValueError("wrong"))
        await wait_exit(pid)
        await settle()
        assert len(stage.log.unclaimed) == 2
        stage.crash(ValueError, pid)
        record = stage.logged("supervisor", logging.WARNING)
        text = record.getMessage()
        assert text == f"supervisor {supervisor} 'top': child 'a' {pid} ended: ValueError: wrong"


async def test_a_reason_that_cannot_be_shown_does_not_spoil_the_report() -> None:
    class Unprintable:
        def __repr__(self) -> str:
            raise RuntimeError("no")

    async with node() as stage:
        supervisor = await Supervisor.start_link([worker("a", [], restart="transient")])
        await end(await child_of(supervisor, "a"), Unprintable())
        await settle()
        assert "str() failed" in stage.logged("child 'a'").getMessage()
        stage.crash()


async def test_a_child_that_ends_at_once_is_restarted_as_any_other() -> None:
    async def short() -> None:
        runs.append(1)
        if len(runs) < 3:
            raise ProcessExit("again")
        await trio.sleep_forever()

    runs: list[int] = []
    async with node() as stage:
        stage.gathers(SupervisorReport)
        supervisor = await Supervisor.start_link([child(short)])
        await settle()
        assert len(runs) == 3 and is_alive(await child_of(supervisor, "short"))


async def test_the_end_of_others_is_none_of_a_supervisors_business() -> None:
    async with node():
        supervisor = await Supervisor.start_link([child(idle)])
        actor = Actor()
        await actor.do(lambda: exeunt.link(supervisor))
        exeunt.exit(actor.pid, "bye")
        await wait_exit(actor.pid)
        stranger = Actor()
        await stranger.do(lambda: exeunt.exit(supervisor, "go away"))
        await settle()
        assert is_alive(supervisor) and is_alive(await child_of(supervisor, "idle"))


async def test_other_messages_are_logged() -> None:
    async with node() as stage:
        supervisor = await Supervisor.start_link()
        send(supervisor, "hello")
        await settle()
        stage.logged("no handle_info for: 'hello'", logging.ERROR)
        assert is_alive(supervisor)


# -- one_for_all and rest_for_one


async def test_one_for_all_stops_all_in_reverse_and_starts_all_in_order() -> None:
    async with node() as stage:
        stage.gathers(SupervisorReport)
        log: list[Any] = []
        supervisor = await Supervisor.start_link(
            [worker(label, log) for label in "abc"], strategy="one_for_all"
        )
        before = await children_of(supervisor)
        log.clear()
        await end(before["b"], "normal")
        await settle()
        assert log == [
            ("stop", "c", "shutdown"),
            ("stop", "a", "shutdown"),
            *[("start", label) for label in "abc"],
        ]
        after = await children_of(supervisor)
        assert list(after) == ["a", "b", "c"]
        assert not set(after.values()) & set(before.values())


async def test_rest_for_one_restarts_the_later_ones() -> None:
    async with node() as stage:
        stage.gathers(SupervisorReport)
        log: list[Any] = []
        supervisor = await Supervisor.start_link(
            [worker(label, log) for label in "abcd"], strategy="rest_for_one"
        )
        before = await children_of(supervisor)
        log.clear()
        await end(before["b"], "normal")
        await settle()
        assert log == [
            ("stop", "d", "shutdown"),
            ("stop", "c", "shutdown"),
            *[("start", label) for label in "bcd"],
        ]
        assert (await children_of(supervisor))["a"] is before["a"]


@pytest.mark.parametrize("strategy", ["one_for_all", "rest_for_one"])
async def test_temporary_siblings_are_gone_for_good(strategy: Any) -> None:
    async with node() as stage:
        stage.gathers(SupervisorReport)
        log: list[Any] = []
        supervisor = await Supervisor.start_link(
            [worker("a", log), worker("b", log, restart="temporary"), worker("c", log)],
            strategy=strategy,
        )
        log.clear()
        await end(await child_of(supervisor, "a"), "normal")
        await settle()
        assert log == [
            ("stop", "c", "shutdown"),
            ("stop", "b", "shutdown"),
            ("start", "a"),
            ("start", "c"),
        ]
        assert list(await children_of(supervisor)) == ["a", "c"]


async def test_a_child_that_does_not_run_is_started_with_the_others() -> None:
    async with node() as stage:
        stage.gathers(SupervisorReport)
        log: list[Any] = []
        supervisor = await Supervisor.start_link(
            [worker("a", log), worker("b", log, restart="transient")], strategy="one_for_all"
        )
        await end(await child_of(supervisor, "b"), "normal")
        await settle()
        log.clear()
        await end(await child_of(supervisor, "a"), "normal")
        await settle()
        assert log == [("start", "a"), ("start", "b")]


async def test_a_sibling_that_dies_while_others_are_stopped_counts_once() -> None:
    async with node() as stage:
        reports = stage.gathers(SupervisorReport)
        log: list[Any] = []
        supervisor = await Supervisor.start_link(
            [worker("a", log), worker("b", log), worker("c", log, None, 2)],
            strategy="one_for_all",
            max_restarts=1,
        )
        pids = await children_of(supervisor)
        await end(pids["a"], "normal")
        await settle()
        # c takes two seconds to stop; meanwhile b dies by itself.
        await end(pids["b"], "kill")
        await trio.sleep(3)
        after = await children_of(supervisor)
        assert all(is_alive(pid) for pid in after.values())
        assert ("shutdown_error", "b", "killed") in contexts(reports)


# -- restarts that fail


async def test_a_failed_restart_is_tried_again_and_counts() -> None:
    async with node() as stage:
        reports = stage.gathers(SupervisorReport)
        log: list[Any] = []
        failures = {"a": 0}
        supervisor = await Supervisor.start_link([worker("a", log, failures)], max_restarts=3)
        failures["a"] = 2
        await end(await child_of(supervisor, "a"), "normal")
        await settle()
        assert log == [("start", "a")] * 4
        assert [context for context, *_ in contexts(reports)] == [
            "child_terminated",
            "start_error",
            "start_error",
        ]
        assert is_alive(await child_of(supervisor, "a"))
        stage.crashes(2)
        exeunt.monitor(supervisor)
        exeunt.unlink(supervisor)
        await end(await child_of(supervisor, "a"), "normal")
        assert (await receive(Down)).reason == "shutdown", "the fourth restart is too many"


async def test_a_restart_that_never_succeeds_ends_the_supervisor() -> None:
    async with node() as stage:
        reports = stage.gathers(SupervisorReport)
        log: list[Any] = []
        failures = {"b": 0}
        supervisor = await Supervisor.start([worker("a", log), worker("b", log, failures)])
        failures["b"] = 100
        exeunt.monitor(supervisor)
        await end(await child_of(supervisor, "b"), "bad")
        assert (await receive(Down)).reason == "shutdown"
        assert log[2:] == [("start", "b")] * 3 + [("stop", "a", "shutdown")]
        assert contexts(reports)[-1] == ("shutdown", "b", "reached_max_restart_intensity")
        stage.crashes(4)


async def test_a_failed_restart_of_all_is_tried_again_with_all() -> None:
    async with node() as stage:
        stage.gathers(SupervisorReport)
        log: list[Any] = []
        failures = {"c": 0}
        supervisor = await Supervisor.start_link(
            [worker(label, log, failures) for label in "abcd"], strategy="one_for_all"
        )
        log.clear()
        failures["c"] = 1
        await end(await child_of(supervisor, "a"), "normal")
        await settle()
        assert log == [
            *[("stop", label, "shutdown") for label in "dcb"],
            *[("start", label) for label in "abc"],
            *[("stop", label, "shutdown") for label in "ba"],
            *[("start", label) for label in "abcd"],
        ]
        stage.crash()


async def test_a_failed_restart_of_the_rest_goes_on_from_the_failed_one() -> None:
    async with node() as stage:
        stage.gathers(SupervisorReport)
        log: list[Any] = []
        failures = {"c": 0}
        supervisor = await Supervisor.start_link(
            [worker(label, log, failures) for label in "abcd"], strategy="rest_for_one"
        )
        log.clear()
        failures["c"] = 1
        await end(await child_of(supervisor, "a"), "normal")
        await settle()
        assert log == [
            *[("stop", label, "shutdown") for label in "dcb"],
            *[("start", label) for label in "abc"],
            *[("start", label) for label in "cd"],
        ]
        stage.crash()


async def test_a_restart_that_ignores_succeeds_without_a_pid() -> None:
    async with node() as stage:
        stage.gathers(SupervisorReport)
        outcomes: list[Any] = [None, StartIgnored("x")]
        spec = ChildSpec(id="a", start=flaky(start_idle, outcomes))
        supervisor = await Supervisor.start_link([spec])
        exeunt.exit(await child_of(supervisor, "a"), "bad")
        await settle()
        assert await children_of(supervisor) == {"a": None}
        assert isinstance(await Supervisor.restart_child(supervisor, "a"), Pid)


@pytest.mark.parametrize("outcome", [OSError("no"), ProcessExit("no"), 5])
async def test_a_restart_that_fails_in_any_way_is_tried_again(outcome: Any) -> None:
    async with node() as stage:
        reports = stage.gathers(SupervisorReport)
        spec = ChildSpec(id="a", start=flaky(start_idle, [None, outcome]))
        supervisor = await Supervisor.start_link([spec])
        exeunt.exit(await child_of(supervisor, "a"), "bad")
        await settle()
        assert is_alive(await child_of(supervisor, "a"))
        assert [context for context, *_ in contexts(reports)] == ["child_terminated", "start_error"]


class Gate:
    """A start that fails while it is shut, and lets others take their turn meanwhile."""

    def __init__(self) -> None:
        self.is_shut = False
        self.tries = 0

    async def start(self) -> Pid:
        self.tries += 1
        if self.is_shut:
            await trio.lowlevel.checkpoint()
            raise OSError("shut")
        return spawn_link(idle)


async def test_a_child_that_is_being_restarted_shows_as_such_and_can_be_ended() -> None:
    async with node() as stage:
        stage.gathers(SupervisorReport)
        gate = Gate()
        supervisor = await Supervisor.start_link(
            [ChildSpec(id="a", start=gate.start)], max_restarts=1_000_000
        )
        gate.is_shut = True
        exeunt.exit(await child_of(supervisor, "a"), "bad")
        while gate.tries < 5:
            await trio.lowlevel.checkpoint()
        assert await children_of(supervisor) == {"a": "restarting"}
        count = await Supervisor.count_children(supervisor)
        assert (count.specs, count.active) == (1, 0)
        for ask in (Supervisor.restart_child, Supervisor.delete_child):
            with pytest.raises(ChildError) as caught:
                await ask(supervisor, "a")
            assert caught.value.condition == "restarting"
        with pytest.raises(ChildError, match="already_present"):
            await Supervisor.start_child(supervisor, child(idle, id="a"))
        await Supervisor.terminate_child(supervisor, "a")
        assert await children_of(supervisor) == {"a": None}
        tries = gate.tries
        await settle()
        assert gate.tries == tries
        gate.is_shut = False
        assert isinstance(await Supervisor.restart_child(supervisor, "a"), Pid)


async def test_a_supervisor_that_restarts_for_ever_lets_others_run_and_can_be_stopped() -> None:
    async with node() as stage:
        stage.gathers(SupervisorReport)

        async def fails_at_once() -> Pid:
            if is_shut:
                raise OSError("shut")
            return spawn_link(idle)

        is_shut = False
        supervisor = await Supervisor.start(
            [ChildSpec(id="a", start=fails_at_once)], max_restarts=1_000_000
        )
        pid = await child_of(supervisor, "a")
        is_shut = True
        exeunt.exit(pid, "bad")
        for _ in range(10):
            await trio.lowlevel.checkpoint()
        await stop(supervisor, "shutdown")


# -- intensity


async def test_too_many_restarts_end_the_supervisor_and_what_is_left_of_its_children() -> None:
    async with node() as stage:
        reports = stage.gathers(SupervisorReport)
        log: list[Any] = []
        trap_exit()
        supervisor = await Supervisor.start_link(
            [worker(label, log) for label in "abc"], max_restarts=2, max_seconds=5
        )
        for _ in range(3):
            await end(await child_of(supervisor, "b"), "kill")
            if is_alive(supervisor):
                await settle()
        assert await receive(Exit) == Exit(supervisor, "shutdown")
        assert log[-2:] == [("stop", "c", "shutdown"), ("stop", "a", "shutdown")]
        assert contexts(reports)[-2:] == [
            ("child_terminated", "b", "killed"),
            ("shutdown", "b", "reached_max_restart_intensity"),
        ]


async def test_restarts_of_all_children_count_together() -> None:
    async with node() as stage:
        stage.gathers(SupervisorReport)
        supervisor = await Supervisor.start(
            [worker(label, []) for label in "abc"], max_restarts=2, max_seconds=5
        )
        pids = await children_of(supervisor)
        for label in "abc":
            await end(pids[label], "kill")
        await settle()
        assert not is_alive(supervisor)


async def test_how_many_siblings_are_restarted_does_not_count() -> None:
    async with node() as stage:
        stage.gathers(SupervisorReport)
        supervisor = await Supervisor.start_link(
            [worker(label, []) for label in "abcdef"], strategy="one_for_all", max_restarts=1
        )
        await end(await child_of(supervisor, "c"), "kill")
        await settle()
        assert is_alive(supervisor)


async def test_old_restarts_are_forgotten() -> None:
    async with node() as stage:
        stage.gathers(SupervisorReport)
        supervisor = await Supervisor.start_link([worker("a", [])], max_restarts=1, max_seconds=5)
        for _ in range(5):
            await end(await child_of(supervisor, "a"), "kill")
            await settle()
            await trio.sleep(6)
        assert is_alive(await child_of(supervisor, "a"))


async def test_with_no_restarts_allowed_the_first_end_is_the_end() -> None:
    async with node() as stage:
        stage.gathers(SupervisorReport)
        supervisor = await Supervisor.start([worker("a", [])], max_restarts=0)
        exeunt.monitor(supervisor)
        await end(await child_of(supervisor, "a"), "normal")
        assert (await receive(Down)).reason == "shutdown"


async def test_an_end_that_is_not_restarted_does_not_count() -> None:
    async with node() as stage:
        stage.gathers(SupervisorReport)
        specs = [worker(label, [], restart="temporary") for label in "abc"]
        supervisor = await Supervisor.start_link(specs, max_restarts=0)
        for pid in (await children_of(supervisor)).values():
            await end(pid, "kill")
        await settle()
        assert is_alive(supervisor)


async def test_a_supervisor_that_gave_up_is_restarted_by_its_own_if_permanent() -> None:
    async with node() as stage:
        reports = stage.gathers(SupervisorReport)
        log: list[Any] = []
        inner = Supervisor.child([worker("a", log), worker("b", log)], max_restarts=0)
        outer = await Supervisor.start_link([inner, worker("c", log)])
        before = await children_of(outer)
        log.clear()
        await end(await child_of(before["Supervisor"], "a"), "kill")
        await settle()
        after = await children_of(outer)
        assert after["Supervisor"] is not before["Supervisor"]
        assert log == [("stop", "b", "shutdown"), ("start", "a"), ("start", "b")]
        assert [context for context, *_ in contexts(reports)] == [
            "child_terminated",
            "shutdown",
            "child_terminated",
        ]


async def test_a_transient_supervisor_that_gave_up_is_not_restarted() -> None:
    async with node() as stage:
        stage.gathers(SupervisorReport)
        inner = Supervisor.child([worker("a", [])], max_restarts=0).replace(restart="transient")
        outer = await Supervisor.start_link([inner])
        await end(await child_of(await child_of(outer, "Supervisor"), "a"), "kill")
        await settle()
        assert await children_of(outer) == {"Supervisor": None}


# -- shutting down


async def test_children_are_shut_down_in_reverse_order_one_at_a_time() -> None:
    async with node():
        log: list[Any] = []
        supervisor = await Supervisor.start([worker(label, log, None, 1) for label in "abc"])
        start = trio.current_time()
        await stop(supervisor)
        assert log[3:] == [("stop", label, "shutdown") for label in "cba"]
        assert trio.current_time() - start == pytest.approx(3)


async def stubborn() -> None:
    trap_exit()
    await trio.sleep_forever()


@pytest.mark.parametrize(
    ("budget", "seconds", "reason"),
    [(2, 2, "killed"), (0, 0, "killed"), ("brutal_kill", 0, "killed"), (None, 5, "killed")],
)
async def test_a_child_that_does_not_stop_is_killed_when_its_budget_is_over(
    budget: Any, seconds: float, reason: str
) -> None:
    async with node() as stage:
        reports = stage.gathers(SupervisorReport)
        supervisor = await Supervisor.start([child(stubborn).replace(shutdown=budget)])
        pid = await child_of(supervisor, "stubborn")
        await settle()
        start = trio.current_time()
        await stop(supervisor)
        assert trio.current_time() - start == pytest.approx(seconds)
        assert not is_alive(pid)
        expected = [] if budget == "brutal_kill" else [("shutdown_error", "stubborn", reason)]
        assert contexts(reports) == expected


async def test_infinity_waits_however_long_it_takes() -> None:
    async with node():
        log: list[Any] = []
        spec = worker("a", log, None, 1_000, shutdown="infinity")
        supervisor = await Supervisor.start([spec])
        start = trio.current_time()
        await stop(supervisor)
        assert trio.current_time() - start == pytest.approx(1_000)
        assert log[-1] == ("stop", "a", "shutdown")


@pytest.mark.parametrize(
    ("restart", "reason", "is_error"),
    [
        ("permanent", "shutdown", False),
        ("permanent", "normal", True),
        ("permanent", Shutdown("x"), True),
        ("transient", "normal", False),
        ("temporary", Shutdown("x"), False),
        ("temporary", "bad", True),
    ],
)
async def test_an_end_other_than_the_one_asked_for_is_reported(
    restart: Any, reason: object, is_error: bool
) -> None:
    async def answers() -> None:
        trap_exit()
        await receive(Exit)
        raise ProcessExit(reason)

    async with node() as stage:
        reports = stage.gathers(SupervisorReport)
        supervisor = await Supervisor.start([child(answers).replace(restart=restart)])
        await settle()
        await stop(supervisor)
        expected = [("shutdown_error", "answers", reason)] if is_error else []
        assert contexts(reports) == expected


async def test_a_child_found_dead_already_is_not_restarted_for_it() -> None:
    async with node() as stage:
        reports = stage.gathers(SupervisorReport)
        log: list[Any] = []
        supervisor = await Supervisor.start([worker("a", log), worker("b", log)])
        pid = await child_of(supervisor, "a")
        await exeunt.suspend(supervisor)
        await end(pid, "kill")
        await stop(supervisor)
        assert log == [("start", "a"), ("start", "b"), ("stop", "b", "shutdown")]
        assert contexts(reports) == [("shutdown_error", "a", "killed")]


async def test_a_supervisor_that_is_killed_takes_its_children_along_by_their_links() -> None:
    async with node() as stage:
        log: list[Any] = []
        supervisor = await Supervisor.start([worker("a", log), child(idle), worker("b", log)])
        pids = await children_of(supervisor)
        for pid in pids.values():
            exeunt.monitor(pid)
        exeunt.exit(supervisor, "kill")
        reasons = {}
        for _ in pids:
            down = await receive(Down)
            reasons[down.process] = down.reason
        assert set(reasons.values()) == {"killed"}
        assert sorted(log[2:]) == [("stop", "a", "killed"), ("stop", "b", "killed")]
        stage.crash(pid=pids["a"])
        stage.crash(pid=pids["b"])


@pytest.mark.parametrize("reason", ["normal", "shutdown", "bad"])
async def test_an_exit_of_the_parent_shuts_all_down_whatever_the_reason(reason: str) -> None:
    async with node() as stage:
        log: list[Any] = []
        parent = Actor()
        supervisor = await parent.do(lambda: Supervisor.start_link([worker("a", log)]))
        exeunt.monitor(supervisor)
        await parent.do(lambda: exeunt.exit(supervisor, reason))
        assert (await receive(Down)).reason == reason
        assert log == [("start", "a"), ("stop", "a", "shutdown")]
        if reason == "bad":
            stage.crash(pid=supervisor)


async def test_stopped_with_a_reason_it_ends_with_that_and_is_any_child_to_its_supervisor() -> None:
    async with node() as stage:
        reports = stage.gathers(SupervisorReport)
        log: list[Any] = []
        outer = await Supervisor.start_link([Supervisor.child([worker("a", log)])])
        inner = await child_of(outer, "Supervisor")
        await stop(inner, "bad")
        await settle()
        assert contexts(reports) == [("child_terminated", "Supervisor", "bad")]
        assert log == [("start", "a"), ("stop", "a", "shutdown"), ("start", "a")]
        stage.crash(pid=inner)


# -- significant children


@pytest.mark.parametrize("restart", ["transient", "temporary"])
async def test_any_significant_child_that_ends_by_itself_ends_the_supervisor(restart: Any) -> None:
    async with node():
        log: list[Any] = []
        supervisor = await Supervisor.start(
            [
                worker("a", log),
                worker("b", log, restart=restart, significant=True),
                worker("c", log, restart=restart, significant=True),
            ],
            auto_shutdown="any_significant",
        )
        exeunt.monitor(supervisor)
        await end(await child_of(supervisor, "b"), "normal")
        assert (await receive(Down)).reason == "shutdown"
        assert log[3:] == [("stop", "c", "shutdown"), ("stop", "a", "shutdown")]


async def test_all_significant_waits_for_the_last_one() -> None:
    async with node():
        supervisor = await Supervisor.start(
            [
                worker("a", []),
                worker("b", [], restart="transient", significant=True),
                worker("c", [], restart="temporary", significant=True),
            ],
            auto_shutdown="all_significant",
        )
        exeunt.monitor(supervisor)
        await end(await child_of(supervisor, "c"), "normal")
        await settle()
        assert is_alive(supervisor)
        await end(await child_of(supervisor, "b"), "normal")
        assert (await receive(Down)).reason == "shutdown"


async def test_a_significant_child_that_is_restarted_ends_nothing() -> None:
    async with node() as stage:
        stage.gathers(SupervisorReport)
        supervisor = await Supervisor.start_link(
            [worker("a", [], restart="transient", significant=True)],
            auto_shutdown="any_significant",
        )
        await end(await child_of(supervisor, "a"), "kill")
        await settle()
        assert is_alive(await child_of(supervisor, "a"))


async def test_a_significant_child_that_was_terminated_ends_nothing() -> None:
    async with node() as stage:
        stage.gathers(SupervisorReport)
        specs = [
            worker("a", []),
            worker("b", [], restart="temporary", significant=True),
            worker("c", [], restart="transient", significant=True),
        ]
        supervisor = await Supervisor.start_link(
            specs, strategy="one_for_all", auto_shutdown="any_significant"
        )
        await Supervisor.terminate_child(supervisor, "c")
        await settle()
        assert is_alive(supervisor)
        # Nor does one that is ended by a sibling's restart.
        await end(await child_of(supervisor, "a"), "kill")
        await settle()
        assert is_alive(supervisor) and list(await children_of(supervisor)) == ["a", "c"]


# -- start_child


async def test_a_child_that_is_started_later_is_the_last_in_order() -> None:
    async with node():
        log: list[Any] = []
        supervisor = await Supervisor.start([worker("a", log)])
        pid = await Supervisor.start_child(supervisor, worker("b", log))
        assert await children_of(supervisor) == {"a": await child_of(supervisor, "a"), "b": pid}
        await stop(supervisor)
        assert log[2:] == [("stop", "b", "shutdown"), ("stop", "a", "shutdown")]


async def test_a_known_id_cannot_be_started() -> None:
    async with node():
        supervisor = await Supervisor.start_link([worker("a", [])])
        pid = await child_of(supervisor, "a")
        with pytest.raises(AlreadyStarted) as started:
            await Supervisor.start_child(supervisor, worker("a", []))
        assert started.value.pid is pid
        await Supervisor.terminate_child(supervisor, "a")
        with pytest.raises(ChildError) as present:
            await Supervisor.start_child(supervisor, worker("a", []))
        assert present.value.condition == "already_present"
        assert str(present.value) == "child 'a': already_present"


async def test_of_a_start_that_fails_nothing_is_kept() -> None:
    async with node() as stage:
        supervisor = await Supervisor.start_link([])
        with pytest.raises(StartFailed) as caught:
            await Supervisor.start_child(supervisor, worker("a", [], {"a": 1}))
        assert caught.value.reason == "a does not start"
        assert await children_of(supervisor) == {}
        stage.crash()


@pytest.mark.parametrize("outcome", [OSError("no"), ProcessExit("no"), 5])
async def test_a_start_that_fails_in_any_way_is_the_callers_error(outcome: Any) -> None:
    async with node():
        supervisor = await Supervisor.start_link([worker("a", [])])
        spec = ChildSpec(id="bad", start=flaky(start_idle, [outcome]))
        with pytest.raises(StartFailed):
            await Supervisor.start_child(supervisor, spec)
        assert list(await children_of(supervisor)) == ["a"]


async def test_a_start_that_ignores_gives_none_and_keeps_the_spec_unless_temporary() -> None:
    async with node():
        supervisor = await Supervisor.start_link([])
        for id, restart in (("a", "permanent"), ("b", "temporary")):
            start = flaky(start_idle, [StartIgnored("x")])
            spec = ChildSpec(id=id, start=start, restart=restart)  # type: ignore[arg-type]
            assert await Supervisor.start_child(supervisor, spec) is None
        assert await children_of(supervisor) == {"a": None}


# -- terminate_child, restart_child, delete_child


async def test_a_terminated_child_stays_known_and_can_be_restarted() -> None:
    async with node():
        log: list[Any] = []
        supervisor = await Supervisor.start_link([worker(label, log) for label in "ab"])
        before = await children_of(supervisor)
        await Supervisor.terminate_child(supervisor, "a")
        assert not is_alive(before["a"])
        assert await children_of(supervisor) == {"a": None, "b": before["b"]}
        await Supervisor.terminate_child(supervisor, "a")
        pid = await Supervisor.restart_child(supervisor, "a")
        assert await children_of(supervisor) == {"a": pid, "b": before["b"]}
        with pytest.raises(ChildError, match="running"):
            await Supervisor.restart_child(supervisor, "a")


async def test_a_terminated_temporary_child_is_forgotten() -> None:
    async with node():
        supervisor = await Supervisor.start_link([worker("a", [], restart="temporary")])
        await Supervisor.terminate_child(supervisor, "a")
        assert await children_of(supervisor) == {}


async def test_a_restart_by_hand_does_not_count_and_its_failure_is_the_callers() -> None:
    async with node() as stage:
        failures = {"a": 0}
        supervisor = await Supervisor.start_link([worker("a", [], failures)], max_restarts=0)
        for _ in range(5):
            await Supervisor.terminate_child(supervisor, "a")
            await Supervisor.restart_child(supervisor, "a")
        await Supervisor.terminate_child(supervisor, "a")
        failures["a"] = 1
        with pytest.raises(StartFailed):
            await Supervisor.restart_child(supervisor, "a")
        assert await children_of(supervisor) == {"a": None}
        stage.crash()


async def test_a_child_can_be_deleted_when_it_does_not_run() -> None:
    async with node():
        supervisor = await Supervisor.start_link([worker("a", [])])
        with pytest.raises(ChildError, match="running"):
            await Supervisor.delete_child(supervisor, "a")
        await Supervisor.terminate_child(supervisor, "a")
        await Supervisor.delete_child(supervisor, "a")
        assert await children_of(supervisor) == {}
        assert isinstance(await Supervisor.start_child(supervisor, worker("a", [])), Pid)


@pytest.mark.parametrize("name", ["terminate_child", "restart_child", "delete_child"])
async def test_a_child_that_nobody_knows_is_not_found(name: str) -> None:
    async with node():
        supervisor = await Supervisor.start_link([])
        with pytest.raises(ChildError) as caught:
            await getattr(Supervisor, name)(supervisor, "nobody")
        assert caught.value.condition == "not_found" and caught.value.id == "nobody"


async def test_everything_waits_while_a_slow_child_is_shut_down() -> None:
    async with node():
        supervisor = await Supervisor.start_link([worker("a", [], None, 3)])
        actor = Actor()
        ending = actor.begin(lambda: Supervisor.terminate_child(supervisor, "a"))
        await settle()
        start = trio.current_time()
        assert await Supervisor.which_children(supervisor) == [ChildInfo("a", None, "worker")]
        assert trio.current_time() - start == pytest.approx(3)
        await settle()
        assert ending.done.is_set()


async def test_a_caller_that_gives_up_does_not_stop_a_shutdown_under_way() -> None:
    async with node():
        supervisor = await Supervisor.start_link([worker("a", [], None, 3)])
        with trio.move_on_after(1) as scope:
            await Supervisor.terminate_child(supervisor, "a")
        assert scope.cancelled_caught
        assert await children_of(supervisor) == {"a": None}


async def test_ids_may_be_anything_that_can_be_a_key() -> None:
    async with node():
        ids: list[object] = ["a", 1, None, ("room", 5), frozenset()]
        supervisor = await Supervisor.start_link([child(idle, id="x")])
        for id in ids:
            await Supervisor.start_child(supervisor, child(idle).replace(id=id))
        assert list(await children_of(supervisor)) == ["x", *ids]
        for id in ids:
            await Supervisor.terminate_child(supervisor, id)
            await Supervisor.delete_child(supervisor, id)
        assert list(await children_of(supervisor)) == ["x"]


async def test_a_child_that_asks_its_supervisor_in_init_is_told_of_the_cycle() -> None:
    class Curious(GenServer):
        async def init(self) -> None:
            await Supervisor.which_children("top")

    async with node() as stage:
        stage.gathers(SupervisorReport)
        with trio.fail_after(60), pytest.raises(StartFailed, match="cycle"):
            await Supervisor.named("top").start([Curious.child()])
        stage.crash()


# -- being a GenServer


async def test_a_supervisor_can_be_named_and_looked_into() -> None:
    async with node():
        await Supervisor.named("top").start_link([child(idle)])
        assert list(await children_of("top")) == ["idle"]
        assert "_children" in await exeunt.get_state("top")


async def test_a_request_that_a_supervisor_does_not_know_ends_it() -> None:
    async with node() as stage:
        supervisor = await Supervisor.start([child(idle)])
        pid = await child_of(supervisor, "idle")
        with pytest.raises(exeunt.CallFailed):
            await call(supervisor, "question")
        assert not is_alive(pid)
        stage.crash()


async def test_a_supervisor_can_be_derived_from() -> None:
    class Rooms(Supervisor):
        async def init(self, log: list[Any]) -> Any:  # type: ignore[override]
            return await super().init([worker("a", log), worker("b", log)], strategy="one_for_all")

    async with node():
        log: list[Any] = []
        rooms = await Rooms.start_link(log)
        assert list(await children_of(rooms)) == ["a", "b"]
        spec = Rooms.child(log)
        assert spec.id == "Rooms" and spec.type == "supervisor"


async def test_a_supervisor_of_many_children_finds_the_one_that_ended() -> None:
    async with node() as stage:
        stage.gathers(SupervisorReport)
        supervisor = await Supervisor.start_link([child(idle, id=number) for number in range(300)])
        pid = await child_of(supervisor, 150)
        exeunt.exit(pid, "bad")
        await settle()
        assert is_alive(await child_of(supervisor, 150))


async def test_spawned_processes_of_a_child_are_not_children() -> None:
    async def parent() -> None:
        spawn(idle)
        await trio.sleep_forever()

    async with node():
        supervisor = await Supervisor.start_link([child(parent)])
        await settle()
        assert (await Supervisor.count_children(supervisor)).active == 1


@pytest.mark.parametrize("ask", ["terminate_child", "restart_child", "delete_child"])
async def test_an_id_that_cannot_be_looked_up_is_not_found(ask: str) -> None:
    async with node():
        supervisor = await Supervisor.start_link([])
        with pytest.raises(ChildError) as refused:
            await getattr(Supervisor, ask)(supervisor, ["no", "id"])
        assert refused.value.condition == "not_found"
        assert is_alive(supervisor)


async def test_a_child_with_an_id_that_cannot_be_looked_up_is_refused() -> None:
    async with node():
        supervisor = await Supervisor.start_link([])
        with pytest.raises(BadChildSpec, match="hashable"):
            await Supervisor.start_child(
                supervisor, ChildSpec(id=["no", "id"], start=trio.sleep_forever)
            )
        assert is_alive(supervisor)
