"""The page on events is made of the code: of every event, of every field, of every line logged."""

from __future__ import annotations

import dataclasses
import logging
from typing import Any, get_args

import pytest
import trio

from exeunt import open_node
from exeunt.channels import Channel, Endpoint, Error, JoinResult, Ok, Socket
from exeunt.channels.client import ConnectFailed, JoinRefused, connect
from exeunt.channels.events import JoinRefused as NotLetIn
from exeunt.channels.events import SocketRefused, WhyNotJoined, WhyRefused
from exeunt.kernel.events import LOGGED, Event
from exeunt.otp.reports import Context, SupervisorReport
from scripts import event_meanings, event_tables


def test_every_event_of_the_library_is_on_the_page() -> None:
    page = event_tables.page()
    kinds = event_tables.event_types()
    assert len(kinds) > 20
    for kind in kinds:
        assert f"### {kind.__name__}\n" in page
        for field in dataclasses.fields(kind):
            assert event_tables.meaning(kind, field.name)


def test_a_new_event_makes_the_page_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_tables, "SAMPLES", event_meanings.SAMPLES[1:])
    with pytest.raises(LookupError, match="Spawned"):
        event_tables.page()


def test_nothing_is_said_of_what_there_is_not() -> None:
    fields = {kind: {one.name for one in dataclasses.fields(kind)} for kind in event_meanings.WHEN}
    assert set(fields) == set(event_tables.event_types())
    assert all(name in fields[kind] for kind, name in event_meanings.OWN_FIELDS)
    everywhere = set().union(*fields.values())
    assert set(event_meanings.FIELDS) <= everywhere


def test_a_reason_for_a_refusal_is_on_the_page_if_the_code_has_it() -> None:
    for kind, field, choices in (
        (SocketRefused, "why", WhyRefused),
        (NotLetIn, "why", WhyNotJoined),
        (SupervisorReport, "context", Context),
    ):
        said = event_tables.meaning(kind, field)
        assert all(f'"{one}"' in said for one in get_args(choices))


def test_the_listing_runs() -> None:
    assert f"```python\n{event_tables.LISTING}```" in event_tables.page()
    namespace: dict[str, Any] = {}
    exec(compile(event_tables.LISTING, "listing", "exec"), namespace)
    assert trio.run(namespace["main"]) == {"Spawned": 3, "Exited": 3}


# -- what is logged


class Room(Channel):
    async def join(self, topic: str, params: Any) -> JoinResult:
        return Error({}) if topic == "room:closed" else Ok()

    async def handle_in(self, event: str, payload: Any) -> None:
        return None


class Door(Socket):
    channels = {"room:*": Room}

    async def connect(self, params: Any, info: Any) -> bool:
        return "key" in params


async def test_channels_log_what_the_page_says_and_at_that_level(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG, logger="exeunt.channels")
    async with open_node():
        endpoint = await Endpoint.start_link({"/socket": Door}, port=0)
        url = f"{await Endpoint.url(endpoint)}/socket"
        with pytest.raises(ConnectFailed):
            async with connect(url):
                pass
        async with connect(url, params={"key": "1"}) as socket:
            room = await socket.join("room:open")
            room.cast("hello", {})
            with pytest.raises(JoinRefused):
                await socket.join("room:closed")
            await room.leave()
    seen = {
        type(event): record.levelname.lower()
        for record in caplog.records
        if isinstance(event := getattr(record, "event", None), Event)
    }
    for kind, level in seen.items():
        told = event_tables.how_logged(kind)
        assert told is not None, kind
        assert told[1] == level
    assert seen.keys() >= event_tables.CHOSEN.keys()


def test_what_every_node_logs_is_on_the_page() -> None:
    page = event_tables.page()
    for kind in LOGGED:
        if not kind.__module__.startswith("exeunt."):
            continue
        level = logging.getLevelName(kind.level).lower()
        anchor = f"#event-{kind.__name__.lower()}"
        assert f"({anchor}) | {kind.__module__.split('.')[1]} | {level} | `exeunt` |" in page


def test_a_line_of_the_log_is_found_wherever_it_is_written() -> None:
    lines = event_tables.log_lines()
    texts = {one.text for one in lines}
    assert "Ignoring unmatched topic %s in %s" in texts
    assert "a handler of %s failed and is removed" in texts
    assert {one.level for one in lines} <= {"debug", "info", "warning", "error", "critical"}
