"""What is remembered of crashes and restarts: what a child inherits, and how little is kept."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest
import trio

from exeunt import (
    Backoff,
    DynamicSupervisor,
    Node,
    Supervisor,
    child,
    exit,
    open_node,
    spawn,
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


async def test_a_kill_counts_as_the_last_crash_but_is_none() -> None:
    async with opened() as (_, ledger):
        await Supervisor.start_link([Worker.named("w").child()])
        pid = whereis("w")
        assert pid is not None
        exit(pid, "kill")
        await trio.sleep(1)
        assert record(ledger, "w") == Record(1, "killed")
        assert ledger.crash_count == 0


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
        for table in (ledger._records, ledger._ended, ledger._restarted):
            assert len(table) <= 20
