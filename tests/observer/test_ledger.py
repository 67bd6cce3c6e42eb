"""What is remembered of crashes and restarts: what a child inherits, and how little is kept."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio

from exeunt import (
    Backoff,
    DynamicSupervisor,
    GenServer,
    Node,
    Pid,
    Registry,
    Shutdown,
    Stop,
    Supervisor,
    child,
    exit,
    link,
    monitor,
    open_node,
    receive,
    resume,
    spawn,
    stop,
    suspend,
    whereis,
)
from exeunt.kernel.events import CrashReport, Exited
from exeunt.observer.ledger import MOST_CRASHES, Ledger, Record
from exeunt.otp.reports import Progress

from .nodes import Worker, quiet

pytestmark = pytest.mark.usefixtures("autojump_clock")


@asynccontextmanager
async def opened() -> AsyncGenerator[tuple[Node, Ledger]]:
    ledger = Ledger()
    with quiet():
        async with open_node(signals=False) as node:
            ledger.open(node)
            yield node, ledger
            ledger.close()
            assert not node.events.wants(Progress)


def record(ledger: Ledger, name: str) -> Record:
    pid = whereis(name)
    assert pid is not None
    return ledger.record_of(pid)


async def test_a_child_inherits_the_restarts_and_the_last_crash() -> None:
    async with opened() as (_, ledger):
        await Supervisor.start_link([Worker.named("w").child(), Worker.named("other").child()])
        assert record(ledger, "w") == Record(0, "")
        for times in (1, 2, 3):
            Worker.crash("w", f"crash {times}")
            await trio.sleep(1)
            assert record(ledger, "w") == Record(times, f"RuntimeError: crash {times}")
        assert record(ledger, "other") == Record()
        assert (ledger.restart_count, ledger.crash_count) == (3, 3)


async def test_a_kill_is_listed_with_the_crashes_but_has_no_line() -> None:
    async with opened() as (_, ledger):
        await Supervisor.start_link([Worker.named("w").child()])
        pid = whereis("w")
        assert pid is not None
        exit(pid, "kill")
        await trio.sleep(1)
        assert record(ledger, "w") == Record(1, "killed")
        [note] = ledger.crashes
        assert (note.pid, note.label, note.reason) == (repr(pid), "w", "killed")
        assert (note.where, note.is_crash, ledger.crash_count) == ("", False, 1)


async def test_what_is_ended_with_an_error_of_another_is_listed_after_it() -> None:
    async def follow(name: str) -> None:
        pid = whereis(name)
        assert pid is not None
        link(pid)
        await receive()

    async with opened() as (_, ledger):
        await Worker.named("w").start()
        follower = child(follow, "w", id="follower").replace(restart="temporary")
        await Supervisor.start_link([follower])
        await trio.sleep(1)
        Worker.crash("w")
        await trio.sleep(1)
        told = [(one.number, one.name or one.label, one.is_crash) for one in ledger.crashes]
        assert told == [(1, "w", True), (2, "follower", False)]


@pytest.mark.parametrize("reason", ["normal", "shutdown", Shutdown("enough")])
async def test_an_orderly_end_is_not_listed(reason: Any) -> None:
    async with opened() as (_, ledger):
        await Supervisor.start_link([Worker.named("w").child()])
        await stop("w", reason)
        await trio.sleep(1)
        assert not ledger.crashes
        # It is reported all the same, since it is permanent and started again.
        assert record(ledger, "w").restarts == 1


async def test_crashes_at_one_time_are_listed_once_each() -> None:
    async with opened() as (_, ledger):
        specs = [Worker.named(name).child() for name in "abc"]
        await Supervisor.start_link(specs)
        for name in "abc":
            Worker.crash(name)
        await trio.sleep(1)
        assert sorted(one.name for one in ledger.crashes) == ["a", "b", "c"]
        assert not ledger._crashed


class Guest(GenServer):
    """Ends with an error when the host does."""

    async def init(self, host: Pid) -> None:
        monitor(host)

    async def handle_info(self, message: Any) -> Stop:
        return Stop("the host has gone")


async def test_a_kill_stands_before_the_crashes_that_come_of_it() -> None:
    rooms = Registry[str, None].named("keys")
    async with opened() as (_, ledger):
        await rooms.start_link(keys="unique")
        await DynamicSupervisor.named("many").start_link()
        await spawn_and_crash()
        await trio.sleep(1)
        # Long ago: it has nothing to do with what comes, and stays where it is.
        ledger.crashes[0] = dataclasses.replace(ledger.crashes[0], at=time.time() - 10)
        spec = Worker.named(rooms.via("hall")).child().replace(restart="temporary")
        hall = await DynamicSupervisor.start_child("many", spec)
        assert hall is not None
        for _ in range(5):
            await Guest.start(hall)
        many = whereis("many")
        assert many is not None
        # Its supervisor is busy, and tells of the kill when the guests have crashed long since.
        await suspend(many)
        exit(hall, "kill")
        await trio.sleep(1)
        await resume(many)
        await trio.sleep(1)
        told = [(one.label, one.reason) for one in ledger.crashes]
        assert told[1:] == [("Worker 'hall'", "killed"), *[("Guest", "the host has gone")] * 5]
        assert [one.number for one in ledger.crashes] == [1, 2, 3, 4, 5, 6, 7]


async def spawn_and_crash() -> None:
    await Worker.named("before").start()
    Worker.crash("before")


async def test_siblings_that_are_restarted_too_are_counted_and_did_not_crash() -> None:
    async with opened() as (_, ledger):
        specs = [Worker.named("a").child(), Worker.named("b").child()]
        await Supervisor.start_link(specs, strategy="one_for_all")
        Worker.crash("b", "first")
        await trio.sleep(1)
        Worker.crash("a", "second")
        await trio.sleep(1)
        assert record(ledger, "a") == Record(2, "RuntimeError: second")
        assert record(ledger, "b") == Record(2, "RuntimeError: first")


async def test_children_of_a_dynamic_supervisor_each_have_their_own_record() -> None:
    async with opened() as (_, ledger):
        await DynamicSupervisor.named("many").start_link()
        for name in "abc":
            await DynamicSupervisor.start_child("many", Worker.named(name).child())
        for _ in range(2):
            Worker.crash("b")
            await trio.sleep(1)
        assert [record(ledger, name).restarts for name in "abc"] == [0, 2, 0]


async def test_what_is_started_because_somebody_asked_is_no_restart() -> None:
    async with opened() as (_, ledger):
        top = await Supervisor.start_link([Worker.named("w").child()])
        await Supervisor.terminate_child(top, "w")
        await Supervisor.restart_child(top, "w")
        await Supervisor.start_child(top, Worker.named("more").child())
        assert ledger.restart_count == 0
        assert record(ledger, "w") == Record()


async def test_a_restart_after_a_backoff_is_one() -> None:
    async with opened() as (_, ledger):
        spec = Worker.named("w").child().replace(backoff=Backoff(initial=5.0))
        await Supervisor.start_link([spec])
        Worker.crash("w")
        await trio.sleep(60)
        assert record(ledger, "w") == Record(1, "RuntimeError: boom")


async def test_a_supervisor_that_is_restarted_has_children_that_were_not() -> None:
    async with opened() as (_, ledger):
        inner = Supervisor.named("inner").child([Worker.named("w").child()])
        await Supervisor.start_link([inner])
        pid = whereis("inner")
        assert pid is not None
        exit(pid, "kill")
        await trio.sleep(1)
        assert record(ledger, "inner").restarts == 1
        assert record(ledger, "w").restarts == 0


async def test_a_temporary_child_that_crashed_leaves_nothing_to_inherit() -> None:
    async with opened() as (_, ledger):
        await DynamicSupervisor.named("many").start_link()
        spec = Worker.named("w").child().replace(restart="temporary")
        await DynamicSupervisor.start_child("many", spec)
        Worker.crash("w")
        await trio.sleep(1)
        await DynamicSupervisor.start_child("many", spec)
        assert record(ledger, "w") == Record()


async def test_a_crash_is_listed_with_the_line_and_without_the_state() -> None:
    async with opened() as (_, ledger):
        await Worker.named("w").start("hunter2")
        Worker.crash("w", "a" * 1000)
        await trio.sleep(1)
        [note] = ledger.crashes
        assert note.name == "w"
        assert note.label == "Worker"
        assert note.where.startswith("Worker.crash at tests.observer.nodes:")
        assert len(note.reason) <= 300
        assert "hunter2" not in repr(note)


async def test_only_the_latest_crashes_are_kept() -> None:
    async def fail() -> None:
        raise ValueError

    async with opened() as (node, ledger):
        for _ in range(MOST_CRASHES + 10):
            spawn(fail)
        await trio.sleep(1)
        assert len(ledger.crashes) == MOST_CRASHES
        assert ledger.crash_count == MOST_CRASHES + 10
        assert node.events.wants(CrashReport)
        assert not node.events.wants(Exited)


async def test_it_stays_bounded_when_many_children_crash(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("exeunt.observer.ledger.MOST_RECORDS", 20)

    async def fail() -> None:
        raise ValueError

    async with opened() as (_, ledger):
        specs = [child(fail, id=number).replace(restart="temporary") for number in range(50)]
        await Supervisor.start_link(specs)
        permanent = [
            Worker.named(f"w{number}").child().replace(id=f"w{number}") for number in range(50)
        ]
        await Supervisor.start_link(permanent, max_restarts=1000)
        for number in range(50):
            Worker.crash(f"w{number}")
        await trio.sleep(1)
        many = await DynamicSupervisor.start_link(max_restarts=1000)
        rooms = Registry[int, None].named("keys")
        await rooms.start_link(keys="unique")
        for number in range(50):
            spec = Worker.named(rooms.via(number)).child().replace(restart="temporary")
            pid = await DynamicSupervisor.start_child(many, spec)
            assert pid is not None
            spawn(fail)
            if number % 2:
                exit(pid, "kill")
        await trio.sleep(1)
        assert ledger._labels and ledger._crashed
        tables = (ledger._records, ledger._ended, ledger._restarted)
        for table in (*tables, ledger._labels, ledger._crashed):
            assert len(table) <= 20
        assert len(ledger.crashes) == MOST_CRASHES
        assert ledger.crashes[-1].number == ledger.crash_count >= 175
