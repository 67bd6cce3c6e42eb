"""The lines of the log: Phoenix's, at the levels that were chosen, and none that a client made."""

from __future__ import annotations

import logging
from collections.abc import Generator
from contextlib import contextmanager
from functools import partial
from typing import Any

import pytest

from exeunt.channels import Channel, Endpoint, Error, InResult, JoinResult, Ok, Socket
from exeunt.channels.events import (
    ChannelHandledIn,
    ChannelJoined,
    SocketConnected,
    SocketDisconnected,
)
from tests.faults.client import Client, Refusal

from .memory import Bench, open_bench
from .test_events import SECRET, User, open_site

ROOM = "room:a"
FORGED = "x\n2026-01-01 00:00:00 ERROR root: all is lost\r\x1b[2J\u2028y"


class Room(Channel):
    async def join(self, topic: str, params: Any) -> JoinResult:
        return Error() if topic == "room:refused" else Ok()

    async def handle_in(self, event: str, payload: Any) -> InResult:
        return Ok()


class Quiet(Room):
    log_join = False
    log_handle_in = False


class Loud(Room):
    log_join = "warning"
    log_handle_in = logging.INFO


class Rooms(Socket):
    channels = {"room:*": Room, "quiet:*": Quiet, "loud:*": Loud, "phoenix:*": Room}
    max_channels = 4

    def id(self) -> str:
        return "user:1"


@contextmanager
def everything(caplog: pytest.LogCaptureFixture) -> Generator[list[tuple[int, str]]]:
    """Gather the records of the channels, of all levels; but for who is sent away at the stop."""
    records: list[tuple[int, str]] = []
    with caplog.at_level(logging.DEBUG, "exeunt.channels"):
        yield records
        records += [
            (one.levelno, one.getMessage())
            for one in caplog.records
            if one.name == "exeunt.channels" and not one.getMessage().startswith("DRAINING")
        ]


async def join(bench: Bench, topic: str = ROOM, params: object = None) -> None:
    await bench.ask("1", "1", topic, "phx_join", params)


def shape(line: str) -> str:
    """Return a line without its duration."""
    return " ".join(
        "T" if word.rstrip("µms").isdigit() and word.endswith("s") else word
        for word in line.split(" ")
    )


async def test_joins_and_messages_are_written_as_phoenix_does(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with everything(caplog) as records:
        async with open_bench(Rooms()) as bench:
            await join(bench, params={"foo": "bar", "password": SECRET})
            await bench.ask("1", "2", ROOM, "shout", {"token": SECRET, "n": [1, None]})
            await join(bench, "room:refused", {"foo": "bar"})
    assert [(level, shape(text.replace("\n", " \n"))) for level, text in records] == [
        (
            logging.INFO,
            "JOINED room:a in T \n  Parameters: {'foo': 'bar', 'password': '[FILTERED]'}",
        ),
        (
            logging.DEBUG,
            "HANDLED shout INCOMING ON room:a (Room) in T "
            "\n  Parameters: {'token': '[FILTERED]', 'n': [1, None]}",
        ),
        (logging.INFO, "REFUSED JOIN room:refused in T \n  Parameters: {'foo': 'bar'}"),
    ]


async def test_a_record_carries_its_event(caplog: pytest.LogCaptureFixture) -> None:
    with everything(caplog):
        async with open_bench(Rooms()) as bench:
            await join(bench)
            await bench.ask("1", "2", ROOM, "shout", {})
    events = [getattr(one, "event", None) for one in caplog.records]
    assert [type(one) for one in events] == [ChannelJoined, ChannelHandledIn]


async def test_a_channel_chooses_its_levels(caplog: pytest.LogCaptureFixture) -> None:
    with everything(caplog) as records:
        async with open_bench(Rooms()) as bench:
            for topic in ("quiet:1", "loud:1"):
                await join(bench, topic)
                await bench.ask("1", "2", topic, "shout", {})
    assert [(level, text.split(" in ")[0]) for level, text in records] == [
        (logging.WARNING, "JOINED loud:1"),
        (logging.INFO, "HANDLED shout INCOMING ON loud:1 (Loud)"),
    ]


async def test_topics_of_the_protocol_itself_are_not_written(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with everything(caplog) as records:
        async with open_bench(Rooms()) as bench:
            await join(bench, "phoenix:live_reload")
            await bench.ask("1", "2", "phoenix:live_reload", "shout", {})
            await bench.ask(None, "3", "phoenix", "heartbeat", {})
    assert records == []


@pytest.mark.parametrize("level", [True, "loud", 0, -1, None, 1.5])
def test_what_is_no_level_is_refused(level: object) -> None:
    for name in ("log_join", "log_handle_in"):
        with pytest.raises(ValueError, match=f"Wrong.{name} is False, one of 'debug'"):
            type("Wrong", (Channel,), {name: level})
    with pytest.raises(ValueError, match=r"Wrong\.log is False, one of 'debug'"):
        type("Wrong", (Socket,), {"log": level})


# -- other lines


async def test_what_else_phoenix_warns_of_is_told_in_its_words(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with everything(caplog) as records:
        async with open_bench(Rooms()) as bench:
            await bench.ask("1", "1", "nowhere", "phx_join", {})
            await bench.ask("1", "1", "nowhere", "shout", {})
            await bench.ask("1", "1", {"token": SECRET}, "shout", {})
            for number in range(5):
                await join(bench, f"quiet:{number}")
            await bench.say("2", "2", "quiet:1", "phx_join", {})
            await bench.take(2)
    unmatched = (
        logging.WARNING,
        'Ignoring unmatched topic "nowhere" in Rooms, '
        "which has 'room:*', 'quiet:*', 'loud:*', 'phoenix:*'",
    )
    assert records == [
        unmatched,
        unmatched,
        (logging.WARNING, "Ignoring unmatched topic {'token': '[FILTERED]'} in Rooms"),
        (
            logging.ERROR,
            'Reached max channels per transport limit of 4 for socket "user:1" of Rooms',
        ),
        (
            logging.DEBUG,
            'Duplicate channel join for topic "quiet:1" in Rooms. '
            "Closing existing channel for new join.",
        ),
    ]


async def test_a_join_that_crashes_is_told_by_its_crash_report_alone(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Crashing(Room):
        async def join(self, topic: str, params: Any) -> JoinResult:
            raise RuntimeError("boom")

    class Sockets(Socket):
        channels = {"room:*": Crashing}

    with everything(caplog) as records:
        async with open_bench(Sockets()) as bench:
            await join(bench)
    assert records == []
    errors = [one for one in caplog.records if one.levelno >= logging.ERROR]
    assert [one.getMessage().partition("\n")[0][-18:] for one in errors] == ["RuntimeError: boom"]


# -- connections


async def test_a_connection_is_written_as_phoenix_does(caplog: pytest.LogCaptureFixture) -> None:
    with everything(caplog) as records:
        async with open_site() as site:
            async with await Client.connect(site.port, name="joe", password=SECRET):
                pass
            with pytest.raises(Refusal):
                await Client.connect(site.port, do="no", token=SECRET)
    assert [(level, shape(text.replace("\n", " \n"))) for level, text in records] == [
        (
            logging.INFO,
            "CONNECTED TO User in T \n  Transport: websocket \n  Serializer: JSONSerializerV2 "
            "\n  Parameters: {'vsn': '2.0.0', 'name': 'joe', 'password': '[FILTERED]'}",
        ),
        (
            logging.INFO,
            "REFUSED CONNECTION TO User in T \n  Transport: websocket "
            "\n  Serializer: JSONSerializerV2 "
            "\n  Parameters: {'vsn': '2.0.0', 'do': 'no', 'token': '[FILTERED]'}",
        ),
    ]


class Silent(User):
    log = False


class Strict(User):
    log = "error"


@pytest.mark.parametrize(
    ("kind", "levels"), [(Silent, []), (Strict, [logging.ERROR, logging.ERROR])]
)
async def test_a_socket_chooses_its_level(
    kind: type[Socket], levels: list[int], caplog: pytest.LogCaptureFixture
) -> None:
    with everything(caplog) as records:
        async with open_site(kind) as site:
            async with await Client.connect(site.port):
                pass
            with pytest.raises(Refusal):
                await Client.connect(site.port, do="no")
    assert [level for level, _ in records] == levels


@pytest.mark.parametrize(
    ("vsn", "text"),
    [
        (
            "2.1.0",
            'The client\'s requested transport version "2.1.0" does not match '
            "the server's version requirements of ~> 1.0.0 and ~> 2.0.0 of User",
        ),
        ("bogus", 'Client sent invalid transport version "bogus" to User'),
        (FORGED, 'Client sent invalid transport version "x\\n2026-01-01'),
    ],
)
async def test_a_wrong_version_is_told_once(
    vsn: str, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    with everything(caplog) as records:
        async with open_site() as site:
            with pytest.raises(Refusal):
                await Client.connect(site.port, vsn=vsn)
    [(level, line)] = records
    assert level == logging.WARNING
    assert line.startswith(text)
    assert line.isprintable()


async def test_a_foreign_origin_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    with everything(caplog) as records:
        async with open_site(check_origin=["//good.example"]) as site:
            with pytest.raises(Refusal):
                await Client.connect(
                    site.port, headers=[("Origin", "http://evil.example"), ("X-A", "b")]
                )
    assert records == [
        (
            logging.ERROR,
            "Could not check origin for Phoenix.Socket transport.\n"
            '  Origin of the request: "http://evil.example"\n  Socket: User',
        )
    ]


async def test_a_drain_is_written_as_phoenix_does(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "exeunt.channels"):
        async with open_site(Silent) as site, await Client.connect(site.port) as client:
            async with await Client.connect(site.port):
                # Only who has joined a topic is told to go.
                await client.join(ROOM)
                await Endpoint.drain(site.endpoint)
            [record] = [one for one in caplog.records if "DRAINING" in one.getMessage()]
            assert record.levelno == logging.INFO
            assert record.getMessage() == (
                "DRAINING 1 of 1 total connection(s) for socket Silent every 0ms - round 1 of 1"
            )


# -- what a client cannot do


@pytest.mark.parametrize("where", ["topic", "event", "params", "key", "number"])
async def test_no_client_can_forge_a_line(where: str, caplog: pytest.LogCaptureFixture) -> None:
    topic = f"room:{FORGED}" if where == "topic" else ROOM
    event = FORGED if where == "event" else "shout"
    payload: Any = {
        "params": {"a": [FORGED]},
        "key": {FORGED: 1},
        "number": {"n": 10**4000, "x": [[FORGED]] * 3},
    }.get(where, {})
    with everything(caplog) as records:
        async with open_bench(Rooms()) as bench:
            await join(bench, topic, payload)
            await bench.ask("1", "2", topic, event, payload)
            await bench.ask("1", "2", FORGED, event, payload)
    assert len(records) == 3
    for _, text in records:
        lines = text.split("\n")
        assert all(line.isprintable() for line in lines)
        assert all(line.startswith("  Parameters: ") for line in lines[1:])
        assert len(lines) <= 2


async def test_no_client_can_forge_a_line_by_a_crash(caplog: pytest.LogCaptureFixture) -> None:
    class Plain(Channel):
        async def join(self, topic: str, params: Any) -> JoinResult:
            return Ok()

    class Plains(Socket):
        channels = {"room:*": Plain}

    topic = f"room:{FORGED}"
    with caplog.at_level(logging.DEBUG):
        async with open_bench(Plains()) as bench:
            for event in (FORGED, {FORGED: FORGED}, FORGED * 10_000):
                await join(bench, topic, {FORGED: FORGED})
                await bench.ask("1", "2", topic, event, {FORGED: [FORGED]})
    assert "all is lost" in caplog.text
    assert len(caplog.text) < 50_000
    assert [line for line in caplog.text.splitlines() if line.startswith("2026-01-01")] == []
    assert "\x1b" not in caplog.text


async def test_a_huge_message_makes_a_line_of_bounded_length(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with everything(caplog) as records:
        async with open_bench(Rooms()) as bench:
            await join(bench, "room:" + "x" * 100_000, {"a": "b" * 100_000})
            payload = {f"{number}": ["c" * 1000] * 10 for number in range(100)}
            await join(bench)
            await bench.ask("1", "2", ROOM, "e" * 100_000, payload)
    assert [len(text) < 12_000 for _, text in records] == [True, True, True]


async def test_a_logging_handler_that_fails_harms_nobody(
    capsys: pytest.CaptureFixture[str],
) -> None:
    class Broken(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            raise RuntimeError("disk full")

    logger = logging.getLogger("exeunt.channels")
    handler = Broken()
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    try:
        async with open_bench(Rooms()) as bench:
            await join(bench)
            assert (await bench.ask("1", "2", ROOM, "shout", {}))[4]["status"] == "ok"
    finally:
        logger.removeHandler(handler)
        logger.setLevel(logging.NOTSET)
    assert "JOINED room:a" in capsys.readouterr().err


def test_the_text_of_an_event_is_the_line_also_for_who_subscribes() -> None:
    from exeunt.kernel.ids import Pid

    pid = Pid(0, 7)
    event = partial(SocketDisconnected, pid, "User", None, "websocket")
    assert str(event("killed", 1001, 1.5)) == (
        "DISCONNECTED FROM User after 1500ms\n"
        "  Transport: websocket\n  Reason: 'killed'\n  Code: 1001"
    )
    connected = SocketConnected(pid, "User", None, "websocket", "2.0.0", "V2", {}, 0.000036)
    assert str(connected).startswith("CONNECTED TO User in 36µs\n")
