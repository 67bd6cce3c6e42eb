"""The chat on the wire: a socket, a channel, a token, and who is here."""

from functools import partial
from typing import Any

import trio
from chapter08 import Room
from chapter11 import open_house, open_room, say_goodbye

from exeunt import Watcher, run, send
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
    TokenError,
    Tokens,
)
from exeunt.channels.client import ClientChannel, PresenceView, connect


class RoomChannel(Channel):
    """A member of a room who is somewhere else: a process, from the join to the end."""

    async def join(self, topic: str, params: Any) -> JoinResult:
        self.room = topic.removeprefix("room:")
        self.who = str(self.assigns["who"])
        await Room.enter(self.room, self.who, self.pid)
        await Watcher.watch("watcher", self.pid, say_goodbye, self.who)
        send(self.pid, "joined")
        return Ok()

    async def handle_info(self, message: Any) -> CastResult:
        match message:
            case "joined":
                self.push("presence_state", await Presence.list("presence", self))
                await Presence.track("presence", self, self.who, {})
            case str(line):
                self.push("line", {"text": line})
        return None

    async def handle_in(self, event: str, payload: Any) -> InResult:
        match event, payload:
            case "say", {"text": str(text)}:
                Room.say(self.room, self.who, text)
                return Ok()
            case "sing", _:
                raise NotImplementedError(f"{self.who} cannot sing")
            case _:
                return Error({"reason": f"this room knows nothing of {event!r}"})


class UserSocket(Socket):
    """One connection; it belongs to whoever has signed in."""

    channels = {"room:lobby": RoomChannel, "room:garden": RoomChannel}

    def __init__(self, tokens: Tokens) -> None:
        super().__init__()
        self.tokens = tokens

    async def connect(self, params: Params, info: ConnectInfo) -> bool:
        try:
            self.assigns["who"] = self.tokens.verify("user", params.get("token"), max_age=3600)
        except TokenError:
            return False
        return True


async def serve(tokens: Tokens, socket: type[UserSocket] = UserSocket) -> str:
    """Open the house to the outside; return its address."""
    hub = PubSub()
    await open_house(
        Presence.named("presence").child(hub),
        Endpoint.named("endpoint").child({"/socket": partial(socket, tokens)}, port=0, hub=hub),
    )
    return (await Endpoint.url("endpoint")) + "/socket"


async def read(room: ClientChannel, who: str) -> None:
    async for event in room:
        print(f"{who} reads: {event.payload['text']}")


async def main() -> None:
    tokens = Tokens("a secret of twenty letters or more")
    url = await serve(tokens)
    await open_room("lobby")
    here = PresenceView()
    async with (
        connect(url, params={"token": tokens.sign("user", "ann")}) as ann,
        trio.open_nursery() as nursery,
    ):
        room = await ann.join("room:lobby", presence=here)
        nursery.start_soon(read, room, "ann")
        async with connect(url, params={"token": tokens.sign("user", "bob")}) as bob:
            other = await bob.join("room:lobby")
            await other.push("say", {"text": "hello"})
            await trio.sleep(0.2)
            print(f"-- here now: {', '.join(here)}")
        await trio.sleep(0.2)
        print(f"-- here now: {', '.join(here)}")
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    run(main, seed=1)
