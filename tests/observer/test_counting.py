"""Messages are counted while somebody wants to know, and cost nothing otherwise."""

from __future__ import annotations

from typing import Any

import pytest
import trio
import trio.lowlevel

from exeunt import Bound, GenServer, Reply, call, open_node, receive, self_pid, send, spawn
from exeunt.kernel.events import Spawned
from exeunt.kernel.mailbox import BoundedMailbox, Mailbox
from exeunt.kernel.process import Process
from exeunt.observer.counting import Meter, meter_of

pytestmark = pytest.mark.usefixtures("autojump_clock")


async def take_all() -> None:
    while True:
        await receive()


def process_of(pid: Any) -> Process:
    process = pid._process
    assert isinstance(process, Process)
    return process


async def test_messages_are_counted_by_process() -> None:
    async with open_node(signals=False) as node:
        meter = meter_of(node)
        old = process_of(spawn(take_all))
        meter.start(node)
        meter.install(old)
        new = process_of(spawn(take_all))
        for _ in range(3):
            send(old.pid, "x")
        send(new.pid, "x")
        await trio.sleep(0.1)
        assert (meter.count_of(old), meter.count_of(new), meter.total) == (3, 1, 4)
        meter.stop()


async def test_a_bounded_mailbox_counts_and_stays_bounded() -> None:
    async with open_node(signals=False) as node:
        meter = Meter()
        meter.start(node)
        bound = Bound(2, "drop_newest")
        process = process_of(spawn(trio.sleep_forever, mailbox=bound))
        for number in range(5):
            send(process.pid, number)
        assert meter.count_of(process) == 5
        assert list(process.mailbox.messages) == [0, 1]
        assert isinstance(process.mailbox, BoundedMailbox)
        meter.stop()


async def test_calls_are_counted_at_the_server() -> None:
    class Echo(GenServer):
        async def handle_call(self, request: Any, caller: Any) -> Any:
            return Reply(request)

    async with open_node(signals=False) as node:
        meter = Meter()
        meter.start(node)
        server = await Echo.start_link()
        before = meter.count_of(process_of(server))
        for number in range(4):
            assert await call(server, number) == number
        assert meter.count_of(process_of(server)) == before + 4
        meter.stop()


async def test_afterwards_every_mailbox_is_a_plain_one_again_and_nobody_is_subscribed() -> None:
    async with open_node(signals=False) as node:
        meter = meter_of(node)
        meter.start(node)
        meter.start(node)
        process = process_of(spawn(take_all))
        send(process.pid, 1)
        meter.stop()
        assert type(process.mailbox) is not Mailbox
        assert node.events.wants(Spawned)
        meter.stop()
        assert not node.events.wants(Spawned)
        send(process.pid, 2)
        assert type(process.mailbox) is Mailbox
        assert meter.count_of(process) == 0
        assert type(process_of(spawn(take_all)).mailbox) is Mailbox


async def test_counts_of_the_dead_are_dropped() -> None:
    async with open_node(signals=False) as node:
        meter = meter_of(node)
        meter.start(node)
        for _ in range(1500):
            send(spawn(receive), 1)
            if len(node.processes) > 100:
                await trio.lowlevel.checkpoint()
        await trio.sleep(1)
        send(self_pid(), 1)
        meter.install(node.main)
        send(self_pid(), 1)
        meter.forget_ended(node)
        assert len(meter._counts) == 1
        assert meter.count_of(node.main) == 1
        meter.stop()
