"""The chat on the wire: a socket, a channel, a token, and who is here."""

from functools import partial
from typing import Any

import trio

from exeunt import Departure, Supervisor, Watcher, run, send
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
from exeunt.channels.client import PresenceView, connect


class RoomChannel(Channel):
    """One client in one room: a process, from the join to the end."""

    async def join(self, topic: str, params: Any) -> JoinResult:
        await Watcher.watch("watcher", self.pid, self.assigns["goodbye"], topic, self.who)
        send(self.pid, "joined")
        return Ok()

    @property
    def who(self) -> str:
        return str(self.assigns["who"])

    async def handle_info(self, message: Any) -> CastResult:
        if message == "joined":
            self.push("presence_state", await Presence.list("presence", self))
            await Presence.track("presence", self, self.who, {})
        return None

    async def handle_in(self, event: str, payload: Any) -> InResult:
        match event, payload:
            case "say", {"text": str(text)}:
                self.broadcast("said", {"who": self.who, "text": text})
                return Ok()
            case "sing", _:
                raise NotImplementedError(f"{self.who} cannot sing")
            case _:
                return Error({"reason": f"this room knows nothing of {event!r}"})


class UserSocket(Socket):
    """One connection; it belongs to whoever has signed in."""

    channels = {"room:*": RoomChannel}

    def __init__(self, tokens: Tokens, hub: PubSub) -> None:
        super().__init__()
        self.tokens = tokens
        self.hub = hub

    async def connect(self, params: Params, info: ConnectInfo) -> bool:
        try:
            who = self.tokens.verify("user", params.get("token"), max_age=3600)
        except TokenError:
            return False
        self.assigns = {"who": who, "goodbye": partial(say_goodbye, self.hub)}
        return True


async def say_goodbye(hub: PubSub, departure: Departure, topic: str, who: str) -> None:
    """Run by the watcher, whatever has ended the client."""
    print(f"  the server knows: {who} has left, {departure.reason}")
    hub.broadcast(topic, "left", {"who": who})


async def serve(tokens: Tokens) -> str:
    """Start the chat; return its address."""
    hub = PubSub()
    await Supervisor.named("chat").start_link(
        [
            Watcher.named("watcher").child(),
            Presence.named("presence").child(hub),
            Endpoint.named("endpoint").child(
                {"/socket": partial(UserSocket, tokens, hub)}, port=0, hub=hub
            ),
        ],
        strategy="rest_for_one",
    )
    return (await Endpoint.url("endpoint")) + "/socket"


async def main() -> None:
    tokens = Tokens("a secret of twenty letters or more")
    url = await serve(tokens)
    here = PresenceView()
    async with connect(url, params={"token": tokens.sign("user", "ann")}) as ann:
        room = await ann.join("room:lobby", presence=here)
        async with connect(url, params={"token": tokens.sign("user", "bob")}) as bob:
            other = await bob.join("room:lobby")
            await trio.sleep(0.2)
            print(f"ann sees: {', '.join(here)}")
            await other.push("say", {"text": "hello"})
            print(f"ann reads: {(await anext(room)).payload}")
        await trio.sleep(0.2)
        print(f"ann reads: {(await anext(room)).payload}, and sees: {', '.join(here)}")


if __name__ == "__main__":
    run(main, seed=1)
