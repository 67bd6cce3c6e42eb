"""The watchdog: it names who blocks the loop, and where; and is silent otherwise."""

from __future__ import annotations

import logging
import threading
import time

import pytest
import trio

import exeunt
from exeunt import open_node, spawn, wait_exit
from exeunt.kernel.events import Event
from exeunt.kernel.watchdog import LoopBlocked


def sleeps_here(seconds: float) -> None:
    time.sleep(seconds)


async def blocks(seconds: float) -> None:
    await trio.lowlevel.checkpoint()
    sleeps_here(seconds)


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [one.getMessage() for one in caplog.records if one.name == "exeunt"]


async def test_it_names_the_process_and_the_line(caplog: pytest.LogCaptureFixture) -> None:
    events: list[Event] = []
    async with open_node(signals=False, watchdog=0.1) as node:
        node.events.subscribe(events.append, LoopBlocked)
        pid = spawn(blocks, 0.4)
        await wait_exit(pid)
        await trio.sleep(0.05)
    while_it_blocks, afterwards = told(caplog)
    assert f"process {pid} blocks has not let anything else run for" in while_it_blocks
    assert "time.sleep(seconds)" in while_it_blocks and "to_thread" in while_it_blocks
    assert "in blocks" in while_it_blocks
    assert "process.py" not in while_it_blocks
    [event] = events
    assert isinstance(event, LoopBlocked) and event.pid is pid
    assert event.seconds == pytest.approx(0.4, abs=0.2)
    assert event.where.endswith("in sleeps_here") and "test_watchdog.py:" in event.where
    assert "has blocked the loop for 0." in afterwards


async def test_it_names_one_that_computes(caplog: pytest.LogCaptureFixture) -> None:
    async def computes() -> None:
        end = time.perf_counter() + 0.4
        while time.perf_counter() < end:
            pass

    async with open_node(signals=False, watchdog=0.1):
        pid = spawn(computes)
        await wait_exit(pid)
    assert f"process {pid}" in told(caplog)[0] and "in computes" in told(caplog)[0]


async def test_each_time_is_told_of_once(caplog: pytest.LogCaptureFixture) -> None:
    async with open_node(signals=False, watchdog=0.05):
        for _ in range(3):
            await wait_exit(spawn(blocks, 0.2))
            await trio.sleep(0.02)
    assert len([one for one in told(caplog) if "has not let anything" in one]) == 3
    assert len([one for one in told(caplog) if "has blocked" in one]) == 3


async def test_a_task_in_a_nursery_is_told_of_too(caplog: pytest.LogCaptureFixture) -> None:
    async with open_node(signals=False, watchdog=0.05):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(blocks, 0.2)
        await trio.sleep(0.02)
    assert "the main process, or a nursery's task, has not let" in told(caplog)[0]
    assert "in blocks" in told(caplog)[0]


async def test_a_busy_loop_that_comes_round_is_in_order(caplog: pytest.LogCaptureFixture) -> None:
    async def busy() -> None:
        end = time.perf_counter() + 0.4
        while time.perf_counter() < end:
            await trio.lowlevel.checkpoint()

    async with open_node(signals=False, watchdog=0.1):
        await wait_exit(spawn(busy))
        await trio.sleep(0.3)
    assert told(caplog) == []


async def test_what_happens_in_a_thread_is_in_order(caplog: pytest.LogCaptureFixture) -> None:
    async def in_a_thread() -> None:
        await trio.to_thread.run_sync(sleeps_here, 0.3)

    async with open_node(signals=False, watchdog=0.1):
        await wait_exit(spawn(in_a_thread))
    assert told(caplog) == []


async def test_it_goes_with_the_node() -> None:
    before = threading.active_count()
    async with open_node(signals=False, watchdog=0.1):
        assert threading.active_count() == before + 1
    assert threading.active_count() == before


async def test_a_limit_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="above 0 seconds"):
        async with open_node(signals=False, watchdog=0):
            pass


def test_a_program_that_is_run_has_one(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        with caplog.at_level(logging.WARNING):
            await blocks(0.3)

    exeunt.run(main, watchdog=0.1)
    assert "the main process" in told(caplog)[0] and "in main" in told(caplog)[0]
