"""Runtime events: who is told of what, and that telling harms nobody."""

from __future__ import annotations

import logging
from typing import Any

import pytest

import exeunt
from exeunt import Down, ProcessExit, receive, self_pid, send, spawn, spawn_monitor, wait_exit
from exeunt.kernel.events import CrashReport, Dropped, Event, Events, Exited, Spawned

from .nodes import idle, node, records, settle

pytestmark = pytest.mark.usefixtures("autojump_clock")


async def crash() -> None:
    raise ValueError("wrong")


# -- what is told


async def test_the_life_of_a_process_is_told_in_order() -> None:
    async with node() as stage:
        seen = stage.events(Spawned, Exited)
        pid = spawn(idle)
        exeunt.exit(pid, "bye")
        await wait_exit(pid)
        assert seen == [Spawned(pid, self_pid(), "idle"), Exited(pid, "idle", "bye")]


async def test_every_process_that_was_spawned_is_told_to_have_ended() -> None:
    alive: set[exeunt.Pid] = set()

    def spawned(event: Spawned) -> None:
        assert event.pid not in alive
        alive.add(event.pid)

    def exited(event: Exited) -> None:
        alive.discard(event.pid)

    async with node() as stage:
        stage.node.events.subscribe(spawned, Spawned)
        stage.node.events.subscribe(exited, Exited)
        spawn(idle, name="taken")
        with pytest.raises(exeunt.NameTaken):
            spawn(idle, name="taken")
        for _ in range(5):
            spawn(idle)
        assert len(alive) == 6
    assert alive == set()


async def test_a_crash_is_told_before_links_and_monitors_hear_of_it() -> None:
    order: list[str] = []
    async with node() as stage:
        stage.node.events.subscribe(lambda _: order.append("report"), CrashReport)
        stage.node.events.subscribe(lambda _: order.append("exited"), Exited)
        spawn_monitor(crash)
        await receive(Down)
        order.append("down")
        assert order == ["report", "exited", "down"]
        stage.crash(ValueError)


async def test_a_dropped_message_is_told() -> None:
    async with node() as stage:
        dropped = stage.events(Dropped)
        pid = spawn(idle)
        exeunt.exit(pid, "kill")
        send(pid, "while it is exiting")
        await wait_exit(pid)
        send(pid, "when it is dead")
        assert [event.message for event in dropped] == ["while it is exiting", "when it is dead"]
        assert all(event.to is pid for event in dropped)


# -- subscribing


async def test_a_handler_is_told_of_exactly_the_types_it_asked_for() -> None:
    async with node() as stage:
        spawned, both = stage.events(Spawned), stage.events(Spawned, Exited)
        everything = stage.events(Event)
        pid = spawn(idle)
        exeunt.exit(pid, "bye")
        await wait_exit(pid)
        assert [type(event) for event in spawned] == [Spawned]
        assert [type(event) for event in both] == [Spawned, Exited]
        assert everything == []


async def test_a_subscription_can_be_undone() -> None:
    async with node() as stage:
        seen: list[Any] = []
        undo = stage.node.events.subscribe(seen.append, Spawned)
        spawn(idle)
        undo()
        spawn(idle)
        undo()
        assert len(seen) == 1
        assert not stage.node.events.wants(Spawned)


async def test_handlers_are_told_in_the_order_of_their_subscription() -> None:
    async with node() as stage:
        seen: list[int] = []
        for number in range(5):
            stage.node.events.subscribe(lambda _, number=number: seen.append(number), Spawned)
        spawn(idle)
        assert seen == [0, 1, 2, 3, 4]


async def test_a_handler_may_subscribe_and_unsubscribe_while_it_is_told() -> None:
    async with node() as stage:
        seen: list[str] = []
        undo: list[Any] = []

        def once(_: Spawned) -> None:
            seen.append("once")
            undo[0]()
            stage.node.events.subscribe(lambda _: seen.append("later"), Spawned)

        undo.append(stage.node.events.subscribe(once, Spawned))
        spawn(idle)
        spawn(idle)
        assert seen == ["once", "later"]


def test_a_subscription_names_its_types() -> None:
    with pytest.raises(TypeError, match="at least one type of event"):
        Events().subscribe(print)


# -- what nobody asked for


async def test_an_event_that_nobody_asked_for_is_never_made(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with node() as stage:
        made: list[str] = []
        for module, kind in (("node", Spawned), ("process", Exited), ("process", Dropped)):

            def note(*args: Any, kind: type = kind) -> Any:
                made.append(kind.__name__)
                return kind(*args)

            target = getattr(exeunt.kernel, module)
            monkeypatch.setattr(target, kind.__name__, note)
        assert not any(stage.node.events.wants(kind) for kind in (Spawned, Exited, Dropped))
        pid = spawn(idle)
        exeunt.exit(pid, "bye")
        send(pid, "lost")
        await wait_exit(pid)
        assert made == []


# -- handlers that fail


async def test_a_handler_that_raises_is_removed_and_that_is_logged() -> None:
    async with node() as stage:
        calls: list[Event] = []

        def broken(event: Spawned) -> None:
            calls.append(event)
            raise OSError("full")

        others = stage.events(Spawned)
        stage.node.events.subscribe(broken, Spawned)
        after = stage.events(Spawned)
        spawn(idle)
        spawn(idle)
        assert len(calls) == 1
        assert len(others) == len(after) == 2
        record = stage.logged("a handler of Spawned failed and is removed", logging.ERROR)
        assert record.exc_info is not None and record.exc_info[0] is OSError


@pytest.mark.parametrize("error", [ProcessExit("x"), GeneratorExit(), SystemExit(3)])
async def test_a_handler_that_raises_no_exception_harms_nobody_either(error: BaseException) -> None:
    async with node() as stage:

        def broken(event: Exited) -> None:
            raise error

        stage.node.events.subscribe(broken, Exited)
        pid, _ = spawn_monitor(idle)
        exeunt.exit(pid, "bye")
        assert (await receive(Down)).reason == "bye"
        stage.logged("a handler of Exited failed and is removed")


async def test_a_handler_of_the_logging_that_raises_harms_nobody(
    capsys: pytest.CaptureFixture[str],
) -> None:
    class Full(logging.Handler):
        is_broken = True

        def emit(self, record: logging.LogRecord) -> None:
            if self.is_broken:
                raise OSError("the disk is full")
            seen.append(record.getMessage())

    seen: list[str] = []
    full = Full()
    logger = logging.getLogger("exeunt")
    logger.addHandler(full)
    try:
        # Not the records of `node`: whether that handler comes before the broken one is not told.
        async with exeunt.open_node(signals=False):
            for _ in range(2):
                pid, _ = spawn_monitor(crash)
                down = await receive(Down)
                assert down.process is pid and isinstance(down.reason, exeunt.Crash)
            full.is_broken = False
            spawn_monitor(crash)
            await receive(Down)
    finally:
        logger.removeHandler(full)
    assert len(seen) == 1 and "ValueError: wrong" in seen[0]
    assert capsys.readouterr().err.count("the disk is full") == 2


async def test_a_filter_of_the_logging_that_raises_harms_nobody(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def broken(record: logging.LogRecord) -> bool:
        raise KeyError("filter")

    logger = logging.getLogger("exeunt")
    logger.addFilter(broken)
    try:
        async with exeunt.open_node(signals=False):
            spawn_monitor(crash)
            await receive(Down)
    finally:
        logger.removeFilter(broken)
    assert "KeyError('filter')" in capsys.readouterr().err


async def test_a_handler_may_send_and_start_processes() -> None:
    async with node() as stage:
        main = self_pid()
        helpers: list[exeunt.Pid] = []

        def forward(event: Exited) -> None:
            # It runs in the process that has ended, so it cannot do more in its name.
            send(main, event.reason)

        def accompany(event: Spawned) -> None:
            undo()
            helpers.append(spawn(idle))

        undo = stage.node.events.subscribe(accompany, Spawned)
        stage.node.events.subscribe(forward, Exited)
        pid = spawn(idle)
        assert exeunt.is_alive(helpers[0])
        exeunt.exit(pid, "bye")
        assert await receive() == "bye"


# -- the standard logging


async def test_logging_is_the_only_subscriber_at_first() -> None:
    async with node() as stage:
        assert stage.node.events.wants(CrashReport)
        assert not stage.node.events.wants(Spawned)


async def test_each_crash_is_one_record_that_carries_its_event() -> None:
    async with node() as stage:
        for _ in range(3):
            spawn_monitor(crash)
        for _ in range(3):
            await receive(Down)
        await settle()
        assert len(stage.log.unclaimed) == 3
        reports = stage.crashes(3, ValueError)
        assert len({report.pid for report in reports}) == 3


async def test_without_its_logger_a_node_runs_all_the_same() -> None:
    logger = logging.getLogger("exeunt")
    logger.disabled = True
    try:
        with records() as log:
            async with exeunt.open_node(signals=False):
                spawn_monitor(crash)
                await receive(Down)
            assert log.texts() == []
    finally:
        logger.disabled = False
