"""The dashboard's sensors and channel; its page has a test in tests/e2e."""

from __future__ import annotations

import socket
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio

from examples.dashboard import __main__ as dashboard
from examples.dashboard.sensors import AWAY, EVERY, PLACES, TOPIC
from examples.dashboard.web import DashboardSocket, pages
from exeunt import Node, Supervisor, open_node, whereis
from exeunt.channels import Endpoint, PubSub, Request
from exeunt.testing import ANYTHING, JoinedChannel, connect, satisfying
from tests.examples.programs import complaint_of, help_of, interrupt

MODULE = "examples.dashboard"
NAMES = [place.name for place in PLACES]


@asynccontextmanager
async def open_page(wear: float = 0.0) -> AsyncGenerator[JoinedChannel]:
    """Run the dashboard, and open a page of it."""
    await Supervisor.start_link(dashboard.children(0, wear), strategy="rest_for_one")
    hub: PubSub = await Endpoint.hub("endpoint")
    async with connect(DashboardSocket, hub=hub) as client:
        page = await client.join(TOPIC)
        yield page


def joins(*names: str) -> Any:
    return satisfying(lambda diff: sorted(diff["joins"]) == sorted(names))


def leaves(*names: str) -> Any:
    return satisfying(lambda diff: sorted(diff["leaves"]) == sorted(names))


async def test_a_page_is_told_who_could_be_there_and_who_is(
    node: Node, autojump_clock: object
) -> None:
    async with open_page() as page:
        assert [one["name"] for one in page.response["sensors"]] == NAMES
        state = await page.assert_push("presence_state")
        assert sorted(state) == sorted(NAMES)


async def test_a_page_gets_a_reading_of_each_sensor_again_and_again(
    node: Node, autojump_clock: object
) -> None:
    async with open_page() as page:
        await trio.sleep(10 * EVERY + EVERY / 2)
        readings = [payload for event, payload in page.pushed() if event == "reading"]
    assert len(readings) == 10 * len(PLACES)
    for place in PLACES:
        values = [one["value"] for one in readings if one["sensor"] == place.name]
        assert values == pytest.approx([place.usual] * 10, rel=0.2)
        assert len(set(values)) > 1


@pytest.mark.parametrize(
    ("event", "how"), [("crash", "Failed: somebody pressed the button"), ("kill", "killed")]
)
async def test_a_sensor_that_ends_is_away_for_a_while(
    event: str, how: str, node: Node, autojump_clock: object
) -> None:
    async with open_page() as page:
        before = whereis("sensor river")
        began = trio.current_time()
        await page.assert_reply(page.push(event, {"sensor": "river"}), "ok")
        await page.assert_push("ended", {"sensor": "river", "how": how})
        await page.assert_push("presence_diff", leaves("river"))
        assert whereis("sensor river") is None
        await page.assert_reply(
            page.push("kill", {"sensor": "river"}),
            "error",
            {"reason": "there is no river at the moment"},
        )
        await page.assert_push("presence_diff", joins("river"), within=10)
        assert AWAY.initial * 0.9 <= trio.current_time() - began <= AWAY.initial + 0.1
        assert whereis("sensor river") not in (None, before)


@pytest.mark.parametrize(
    ("event", "payload"),
    [("crash", {}), ("crash", []), ("kill", {"sensor": 7}), ("paint", {"sensor": "river"})],
)
async def test_what_makes_no_sense_is_answered_so(
    event: str, payload: object, node: Node, autojump_clock: object
) -> None:
    async with open_page() as page:
        await page.assert_reply(
            page.push(event, payload), "error", {"reason": "crash or kill a sensor"}
        )


async def test_a_page_cannot_end_what_is_no_sensor(node: Node, autojump_clock: object) -> None:
    async with open_page() as page:
        await page.assert_reply(page.push("kill", {"sensor": "presence"}), "error", ANYTHING)
        assert whereis("presence") is not None


async def test_the_readings_stay_near_what_is_usual(node: Node, autojump_clock: object) -> None:
    usual = {place.name: place.usual for place in PLACES}
    async with open_page() as page:
        await trio.sleep(600)
        for event, payload in page.pushed():
            if event == "reading":
                assert payload["value"] == pytest.approx(usual[payload["sensor"]], rel=0.1)


async def test_ten_minutes_of_wear(autojump_clock: object) -> None:
    """Whoever ends comes back; what the presences say is who is there."""
    async with open_node(seed=1):
        async with open_page(wear=0.05) as page:
            await trio.sleep(600)
            here: set[str] = set()
            ends = dict.fromkeys(NAMES, 0)
            ways = Counter[str]()
            for event, payload in page.pushed():
                match event:
                    case "presence_state":
                        here = set(payload)
                    case "presence_diff":
                        here = (here | set(payload["joins"])) - set(payload["leaves"])
                    case "ended":
                        ends[payload["sensor"]] += 1
                        ways[payload["how"]] += 1
                    case _:
                        pass
            assert here == {name for name in NAMES if whereis(f"sensor {name}") is not None}
        assert min(ends.values()) > 10
        assert sorted(ways) == ["Failed: the battery is empty", "killed"]
        assert min(ways.values()) > 30
        assert whereis("sensors") is not None


async def test_pages(node: Node) -> None:
    async def get(path: str) -> Any:
        return await pages(
            Request(method="GET", target=path, path=path, raw_query="", query={}, headers=())
        )

    index = await get("/")
    assert b"dashboard.js" in index.body
    assert "default-src 'self'" in dict(index.headers)["Content-Security-Policy"]
    assert (await get("/vendor/phoenix-1.8.16/phoenix.min.js")).status == 200
    assert (await get("/vendor/../chat.js")).status == 404
    assert (await get("/sensors.py")).status == 404


@pytest.mark.slow
def test_it_runs_until_ctrl_c() -> None:
    ended = interrupt(MODULE, "--port", "0", after=r"The dashboard is at http://127\.0\.0\.1:\d+")
    assert ended.status == 0
    assert ended.stdout.endswith("The dashboard is closed.\n")
    assert ended.stderr == ""


@pytest.mark.slow
def test_it_says_what_it_is() -> None:
    assert "which sensors are alive" in help_of(MODULE)


@pytest.mark.slow
def test_a_port_that_is_taken_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert "Address already in use" in complaint_of(MODULE, "--port", str(port))


@pytest.mark.parametrize("wear", ["-1", "7", "nan"])
def test_it_refuses_what_is_no_chance(wear: str) -> None:
    assert "--wear is a number from 0 to 1" in complaint_of(MODULE, f"--wear={wear}")
