"""Draining: in rounds, spread in time, and never longer than the stop of the server may take."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from itertools import pairwise
from typing import Any

import pytest
import trio

from exeunt import Down, monitor, open_node, receive, spawn, stop, trap_exit
from exeunt.channels import Channel, Endpoint, JoinResult, Socket
from exeunt.channels.draining import Draining, drain
from exeunt.channels.events import SocketsDrained
from exeunt.channels.serving import Drain
from tests.faults.client import Client, Closed


class Room(Channel):
    async def join(self, topic: str, params: Any) -> JoinResult:
        return None


class User(Socket):
    channels = {"room:*": Room}


class Site:
    """An endpoint with clients that have joined, and when each of them was told to go."""

    def __init__(self, endpoint: Any, port: int) -> None:
        self.endpoint = endpoint
        self.port = port
        self.told: list[float] = []
        self.events: list[SocketsDrained] = []

    async def run_client(self, task_status: trio.TaskStatus[None]) -> None:
        async with await Client.connect(self.port) as client:
            await client.join("room:a")
            task_status.started()
            assert await client.receive_until_end(within=10) == [Closed(1012)]
            self.told.append(trio.current_time())

    def rounds(self) -> list[tuple[int, int, int, int]]:
        return [(one.count, one.total, one.index, one.rounds) for one in self.events]


@asynccontextmanager
async def open_site(
    draining: Draining | Callable[[], Draining] | None, *, clients: int = 6
) -> AsyncGenerator[Site]:
    async with open_node(signals=False) as node, trio.open_nursery() as nursery:
        trap_exit()
        endpoint = await Endpoint.start_link({"/socket": User}, port=0, draining=draining)
        site = Site(endpoint, int((await Endpoint.url(endpoint)).rpartition(":")[2]))
        node.events.subscribe(site.events.append, SocketsDrained)
        for _ in range(clients):
            await nursery.start(site.run_client)
        yield site


async def test_a_stop_sends_clients_away_in_rounds() -> None:
    async with open_site(Draining(batch_size=2, interval=0.2, jitter=0.0)) as site:
        begun = trio.current_time()
        await stop(site.endpoint, "shutdown")
        assert trio.current_time() - begun < 2
    assert site.rounds() == [(2, 6, 1, 3), (2, 6, 2, 3), (2, 6, 3, 3)]
    pauses = [int((told - begun) / 0.2) for told in site.told]
    # Two of them at once, two after one interval, two after another; and none waits for the end.
    assert pauses == [0, 0, 1, 1, 2, 2]


async def test_what_is_not_told_in_time_is_told_in_the_end() -> None:
    async with open_site(Draining(batch_size=1, interval=30.0, within=0.1)) as site:
        begun = trio.current_time()
        await stop(site.endpoint, "shutdown")
        assert trio.current_time() - begun < 2
    assert site.rounds() == [(1, 6, 1, 6)]
    assert len(site.told) == 6


async def test_without_rounds_all_are_told_at_once() -> None:
    async with open_site(None) as site:
        begun = trio.current_time()
        await stop(site.endpoint, "shutdown")
        assert trio.current_time() - begun < 1
    assert site.rounds() == []
    assert len(site.told) == 6


async def test_a_drain_by_hand_takes_its_rounds_too_and_the_endpoint_goes_on() -> None:
    async with open_site(lambda: Draining(batch_size=4, interval=0.1, jitter=0.0)) as site:
        await Endpoint.drain(site.endpoint)
        assert site.rounds() == [(4, 6, 1, 2), (2, 6, 2, 2)]
        async with await Client.connect(site.port) as late:
            await late.join("room:a")
            assert await late.sync() == []
        await stop(site.endpoint, "shutdown")
    assert len(site.told) == 6


async def test_the_options_may_come_from_a_function_which_is_asked_once_at_the_start() -> None:
    asked: list[float] = []

    def options() -> Draining:
        asked.append(trio.current_time())
        return Draining()

    async with open_site(options, clients=1) as site:
        assert len(asked) == 1
        await Endpoint.drain(site.endpoint)
        await stop(site.endpoint, "shutdown")
    assert len(asked) == 1


async def test_rounds_do_not_keep_step(autojump_clock: trio.testing.MockClock) -> None:
    draining = Draining(batch_size=1, interval=10.0, jitter=0.5)
    async with open_node(signals=False, seed=1):
        told: list[float] = []

        async def client() -> None:
            await receive(Drain)
            told.append(trio.current_time())

        pids = [spawn(client) for _ in range(40)]
        await trio.testing.wait_all_tasks_blocked()
        for pid in pids:
            monitor(pid)
        await drain("User", pids, draining)
        for _ in pids:
            await receive(Down)
        pauses = [after - before for before, after in pairwise(told)]
        assert all(5.0 <= pause <= 15.0 for pause in pauses)
        assert min(pauses) < 7 and max(pauses) > 13
        assert len(set(pauses)) == len(pauses)


async def test_nobody_to_drain_is_no_round() -> None:
    async with open_site(Draining(), clients=0) as site:
        await Endpoint.drain(site.endpoint)
        await stop(site.endpoint, "shutdown")
        assert site.rounds() == []


@pytest.mark.parametrize(
    "options",
    [
        {"batch_size": 0},
        {"interval": -1.0},
        {"interval": float("inf")},
        {"jitter": 1.1},
        {"jitter": -0.1},
        {"within": -1.0},
        {"within": float("nan")},
    ],
    ids=repr,
)
def test_options_that_make_no_sense_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="not"):
        Draining(**options)
