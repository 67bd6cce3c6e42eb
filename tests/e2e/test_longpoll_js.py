"""The official client in Node, where it polls: told to, or because nothing else goes."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from exeunt import Crash, Shutdown
from exeunt.channels import Tokens
from tests.contract_server.app import open_server
from tests.e2e.phoenix_js import open_client
from tests.e2e.programs import Program
from tests.e2e.stage import SECRET, Left, open_stage

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.needs("node", "phoenix")]

SOON = {"rejoinAfterMs": 20, "reconnectAfterMs": 20}
NEVER = {"rejoinAfterMs": 3_600_000, "reconnectAfterMs": 3_600_000}


@pytest.fixture
def node(part: Callable[[str], Path]) -> Path:
    return part("node")


# -- falling back


async def test_it_falls_back_by_itself_where_websockets_are_refused(node: Path) -> None:
    options = {**SOON, "longPollFallbackMs": 3000}
    async with open_stage(websocket=False) as stage, open_client(node) as js:
        ada = await js.connect(stage.url, options=options, token=stage.token("ada"))
        assert "404" in (await ada.next("error"))["message"]
        room = await ada.join("room:1")
        assert await room.event("welcome") == {"name": "ada"}
        assert await room.push("echo", {"n": 1}) == ("ok", {"n": 1})
        assert ada.left_over("close") == []


async def test_it_polls_on_after_it_has_fallen_back_and_was_sent_away(node: Path) -> None:
    options = {**SOON, "longPollFallbackMs": 3000}
    async with open_stage(websocket=False) as stage, open_client(node) as js:
        ada = await js.connect(stage.url, options=options, token=stage.token("ada"))
        room = await ada.join("room:1")
        await room.send("disconnect", {"name": "ada"})
        assert (await ada.next("close"))["code"] == 3410
        await ada.next("open")
        assert (await room.next("join"))["status"] == "ok"
        assert stage.joins["ada"] == 2


async def test_where_websockets_go_it_does_not_fall_back(node: Path) -> None:
    async with open_server() as url, open_client(node) as js:
        ada = await js.connect(url, options={"longPollFallbackMs": 3000})
        room = await ada.join("echo:a")
        assert (await room.push("whoami"))[1]["transport"] == "websocket"


# -- connecting


async def test_the_token_of_the_user_comes_through(node: Path) -> None:
    async with open_stage() as stage, open_client(node) as js:
        ada = await js.connect(stage.url, polls=True, token=stage.token("ada"))
        room = await ada.join("room:1", {"colour": "blue"})
        assert room.response == {"joins": 1, "params": {"colour": "blue"}}
        await ada.settle()


async def test_who_is_refused_is_told_so(node: Path) -> None:
    async with open_stage() as stage, open_client(node) as js:
        ada = await js.connect(stage.url, polls=True, opens=False, options=NEVER, token="forged")
        assert (await ada.next("error"))["message"] == "403"
        assert (await ada.next("close"))["code"] == 1008
        assert ada.left_over("open") == []


async def test_what_the_socket_is_told_of_a_client_that_polls(node: Path) -> None:
    async with open_server() as url, open_client(node) as js:
        ada = await js.connect(
            url, polls=True, options={"authToken": "s3cret+/tok"}, user_id="7", deep={"a": ["b"]}
        )
        room = await ada.join("echo:a")
        _, info = await room.push("connect_info")
        assert info["auth_token"] == "s3cret+/tok"
        assert info["path"] == "/socket/longpoll"
        assert info["peer"] == "127.0.0.1"
        assert info["user_agent"]
        _, whoami = await room.push("whoami")
        assert (whoami["transport"], whoami["id"]) == ("longpoll", "user_socket:7")
        _, params = await room.push("params")
        assert params["vsn"] == "2.0.0"
        assert params["deep"] == {"a": {"0": "b"}}


# -- messages


async def test_many_pushes_go_in_batches_and_are_answered_in_order(node: Path) -> None:
    async with open_stage() as stage, open_client(node) as js:
        ada = await js.connect(stage.url, polls=True, token=stage.token("ada"))
        room = await ada.join("room:1")
        numbers = range(1, 401)
        pushes = [await room.send("number", number) for number in numbers]
        for number, push in zip(numbers, pushes, strict=True):
            assert await room.reply(push) == ("ok", number)
        assert stage.heard["ada"] == list(numbers)
        counted = [frame[4] for frame in await ada.frames("counted")]
        assert counted == [{"number": number, "place": number} for number in numbers]


async def test_one_that_polls_and_one_that_does_not_are_in_the_same_room(node: Path) -> None:
    async with open_stage() as stage, open_client(node) as js:
        ada = await js.connect(stage.url, polls=True, token=stage.token("ada"))
        bob = await js.connect(stage.url, token=stage.token("bob"))
        events = ["entered", "shout", "whisper"]
        here = await ada.join("room:1", events=events)
        there = await bob.join("room:1", events=events)
        assert await here.event("entered") == {"name": "bob"}
        text = {"text": "Grüße, 世界 \U0001f30d \u2028"}
        assert await here.push("shout", text) == ("ok", {})
        assert await there.event("shout") == text
        assert await here.event("shout") == text
        assert await there.push("whisper", text) == ("ok", {})
        assert await here.event("whisper") == text
        for number in range(100):
            stage.hub.broadcast("room:1", "shout", {"n": number})
        assert [await here.event("shout") for _ in range(100)] == [
            {"n": number} for number in range(100)
        ]


async def test_bytes_can_be_pushed_but_not_answered(node: Path) -> None:
    async with open_server() as url, open_client(node) as js:
        ada = await js.connect(url, polls=True, options=SOON)
        room = await ada.join("binary:a")
        data = bytes(range(256))
        assert await room.push("info", data) == ("ok", {"size": 256, "sum": sum(data)})
        # As in Phoenix: it is told that this went wrong, and begins anew.
        await room.send("echo", data)
        assert (await ada.next("close"))["code"] == 1011
        await ada.next("open")
        assert (await room.next("join"))["status"] == "ok"
        assert await room.push("info", data) == ("ok", {"size": 256, "sum": sum(data)})


# -- ends


async def test_a_client_that_disconnects_has_left_when_it_has_not_polled(node: Path) -> None:
    async with open_stage() as stage, open_client(node) as js:
        ada = await js.connect(stage.url, polls=True, token=stage.token("ada"))
        bob = await js.connect(stage.url, token=stage.token("bob"))
        await ada.join("room:1")
        there = await bob.join("room:1")
        await ada.disconnect()
        assert await there.event("left") == {"name": "ada", "reason": "shutdown: inactive"}
        assert stage.leaves == [Left("ada", "room:1", Shutdown("inactive"))]


async def test_a_handler_that_crashes_ends_its_channel_only_and_the_client_rejoins(
    node: Path,
) -> None:
    async with open_stage() as stage, open_client(node) as js:
        ada = await js.connect(stage.url, polls=True, options=SOON, token=stage.token("ada"))
        room = await ada.join("room:1")
        other = await ada.join("room:2")
        await room.send("crash")
        error = await room.next("channel error")
        assert error["payload"] == {"reason": "channel_crash"}
        assert (await room.next("join"))["status"] == "ok"
        assert await room.push("echo", "again") == ("ok", "again")
        (left,) = stage.leaves
        assert isinstance(left.reason, Crash)
        assert other.left_over("channel error") == []
        assert ada.left_over("close") == []


async def test_a_restarted_server_is_found_again_and_the_rooms_with_it(node: Path) -> None:
    token = Tokens(SECRET).sign("user", "ada")
    async with open_client(node) as js:
        with Program("tests.e2e.stage", "0", SECRET) as server:
            url = server.line("http://.*")[0]
            port = url.rpartition(":")[2]
            ada = await js.connect(url, polls=True, options=SOON, token=token)
            room = await ada.join("room:1")
            ended = server.end(signal.SIGTERM)
            assert (ended.status, ended.stderr) == (128 + signal.SIGTERM, "")
            await ada.next("close")
        with Program("tests.e2e.stage", port, SECRET) as server:
            server.line("http://.*")
            await ada.next("open")
            again = await room.next("join")
            assert (again["status"], again["response"]["joins"]) == ("ok", 1)
            assert await room.push("echo", "back") == ("ok", "back")
