"""What "Talk to channels from Python" does not show: a server, and its listings at work."""

import io
import re
from contextlib import redirect_stdout
from typing import Any

import bot
import credentials
import presence
import push
import rejoins
import talk
import trio

from exeunt import Supervisor, exit, run, send
from exeunt.channels import (
    CastResult,
    Channel,
    ConnectInfo,
    Endpoint,
    Error,
    InResult,
    JoinResult,
    Ok,
    Params,
    Presence,
    PubSub,
    Socket,
)
from exeunt.channels.client import connect

URL = "ws://127.0.0.1:4000/socket"
tokens: list[object] = []
joins: list[Any] = []
channels: list[Any] = []


class RoomChannel(Channel):
    async def join(self, topic: str, params: Any) -> JoinResult:
        joins.append(params)
        channels.append(self.pid)
        self.assigns["name"] = params.get("name", "somebody")
        send(self.pid, "joined")
        return Ok({"joins": len(joins)})

    async def handle_info(self, message: Any) -> CastResult:
        self.push("presence_state", await Presence.list("presence", self))
        await Presence.track("presence", self, self.assigns["name"], {})
        return None

    async def handle_in(self, event: str, payload: Any) -> InResult:
        if event != "say":
            return Error({"reason": "nobody can"})
        self.broadcast("said", {"text": payload["text"], "number": len(joins)})
        return Ok({"said": payload["text"]})


class UserSocket(Socket):
    channels = {"room:*": RoomChannel}

    async def connect(self, params: Params, info: ConnectInfo) -> bool:
        tokens.append(params.get("token"))
        return True


async def for_a_moment(work: Any) -> str:
    """Run something that goes on for ever; return what it has printed."""
    said = io.StringIO()
    with redirect_stdout(said), trio.move_on_after(1):
        await work()
    return said.getvalue()


async def fetch_token() -> str:
    return "secret"


async def main() -> None:
    hub = PubSub()
    await Supervisor.start_link(
        [
            Presence.named("presence").child(hub),
            Endpoint.named("web").child({"/socket": UserSocket}, port=4000, hub=hub),
        ],
        strategy="rest_for_one",
    )
    said = await for_a_moment(talk.main)
    assert said.startswith("{'said': 'hi'}\n") and "said {'text': 'hi'" in said, said

    async with connect(URL) as socket:
        room = await socket.join("room:lobby")
        said = await for_a_moment(lambda: push.sing(room))
        assert said == "error {'reason': 'nobody can'}\n", said

    said = await for_a_moment(lambda: credentials.stay(URL, fetch_token))
    assert tokens[-1] == "secret" and joins[-1] == {"after": 0}

    async def crash_and_speak() -> None:
        await trio.sleep(0.1)
        exit(channels[-1], "kill")
        await trio.sleep(1.8)  # the client joins again after a second
        hub.broadcast("room:lobby", "said", {"text": "hello"})

    async with connect(URL) as socket, trio.open_nursery() as nursery:
        nursery.start_soon(crash_and_speak)
        out = io.StringIO()
        with redirect_stdout(out), trio.move_on_after(3):
            await rejoins.show(socket)
    assert re.fullmatch(r"joined again, and answered \{'joins': \d\}\nhello\n", out.getvalue())

    supervisor = await Supervisor.start_link([bot.bot_child(URL)])
    await trio.sleep(0.5)
    async with connect(URL) as socket:
        room = await socket.join("room:lobby")
        await room.push("say", {"text": "what time is it?"})
        with trio.fail_after(2):
            while (await room.receive()).payload.get("text") != "late":
                pass
        [info] = await Supervisor.which_children(supervisor)
        exit(info.pid, "shutdown")
        await room.leave()

        said = await for_a_moment(lambda: presence.greet(socket, 0.2))
        assert "welcome, ann" in said and said.endswith("['ann'] 1\n"), said


run(main)
