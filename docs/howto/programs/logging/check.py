"""What the guide "Log, filter and count" does not show: that its listings do what it says."""

import io
import json
import logging
from typing import Any

import as_json
import chat
import covered
import events
import levels  # noqa: F401
import shown

from exeunt import run
from exeunt.channels import InResult, JoinResult, Ok
from exeunt.testing import connect


class Room(chat.RoomChannel):
    async def join(self, topic: str, params: Any) -> JoinResult:
        return Ok()

    async def handle_in(self, event: str, payload: Any) -> InResult:
        return Ok()


class Socket(chat.UserSocket):
    channels = {"room:*": Room}


async def main() -> None:
    events.count()
    assert logging.getLogger().level == logging.INFO
    text = io.StringIO()
    handler = logging.StreamHandler(text)
    handler.setFormatter(as_json.AsJSON())
    logger = logging.getLogger("exeunt.channels")
    logger.addHandler(handler)
    async with connect(Socket) as client:
        for level, lines in ((logging.INFO, 0), (logging.DEBUG, 1)):
            logger.setLevel(level)
            text.truncate(0)
            text.seek(0)
            room = await client.join("room:lobby")
            await room.assert_reply(room.push("say", {}), "ok")
            written = [json.loads(line) for line in text.getvalue().splitlines()]
            assert [line["event"] for line in written] == ["ChannelJoined"] * lines, written
            assert events.here["Room"] == 1
            await room.leave()
            assert events.here["Room"] == 0
    given = {"iban": "DE", "api_key": "x", "room": "lobby"}
    for socket, visible in (
        (covered.UserSocket(), {"room": "lobby"}),
        (shown.UserSocket(), {"room": "lobby"}),
        (chat.UserSocket(), {"room": "lobby", "iban": "DE"}),
    ):
        out = socket._filter.show(given, 500)
        for key, value in given.items():
            assert (f"'{key}': '{value}'" in out) == (key in visible), out


run(main)
