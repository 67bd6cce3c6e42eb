"""The server that the official client is tried on: a socket, a channel for rooms, and a watcher.

A test opens it in its own node with `open_stage`, and sees in `Stage.leaves` what the watcher has
heard. Where the server has to be stopped or restarted, it runs in a process of its own:
`python -m tests.e2e.stage PORT SECRET`, which prints its URL.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import trio

from exeunt import Departure, Reason, Supervisor, Watcher, open_node, send
from exeunt.channels import (
    Binary,
    Channel,
    ConnectInfo,
    Endpoint,
    Error,
    InResult,
    JoinResult,
    LongPoll,
    Mount,
    Ok,
    Params,
    PubSub,
    Socket,
    TokenError,
    Tokens,
)

SECRET = "a secret for nothing but tests"


@dataclass(frozen=True, slots=True)
class Left:
    """What the watcher has told about the end of one channel process."""

    name: str
    topic: str
    reason: Reason


@dataclass(slots=True, eq=False)
class Stage:
    """The server's side, as a test sees it."""

    hub: PubSub
    tokens: Tokens
    url: str = ""
    is_open: bool = True
    leaves: list[Left] = field(default_factory=list)
    joins: Counter[str] = field(default_factory=Counter)
    heard: dict[str, list[Any]] = field(default_factory=dict)
    """The numbers that each user has sent, in the order in which they came."""
    _news: trio.Event = field(default_factory=trio.Event)

    def token(self, name: str) -> str:
        return self.tokens.sign("user", name)

    async def has_left(self, name: str, *, times: int = 1) -> Left:
        """Wait until the watcher has told that somebody has left, so many times."""
        with trio.fail_after(10):
            while True:
                ends = [left for left in self.leaves if left.name == name]
                if len(ends) >= times:
                    return ends[-1]
                await self._news.wait()

    async def note(self, departure: Departure, topic: str, name: str) -> None:
        """Run by the watcher: note the end of a channel process, and tell the room."""
        self.leaves.append(Left(name, topic, departure.reason))
        self._news.set()
        self._news = trio.Event()
        self.hub.broadcast(topic, "left", {"name": name, "reason": str(departure.reason)})


class RoomChannel(Channel):
    """Does what a test's client asks for, in its join's parameters or in an event."""

    async def join(self, topic: str, params: Any) -> JoinResult:
        stage: Stage = self.assigns["stage"]
        name: str = self.assigns["name"]
        stage.joins[name] += 1
        if "refuse" in params:
            return Error(params["refuse"])
        if stage.joins[name] <= params.get("crashes", 0):
            raise RuntimeError(f"join number {stage.joins[name]} is to crash")
        await Watcher.watch("watcher", self.pid, stage.note, topic, name)
        send(self.pid, "joined")
        return Ok({"joins": stage.joins[name], "params": params})

    async def handle_info(self, message: Any) -> None:
        assert message == "joined", message
        self.push("welcome", {"name": self.assigns["name"]})
        self.broadcast_from("entered", {"name": self.assigns["name"]})

    async def handle_in(self, event: str, payload: Any) -> InResult:
        stage: Stage = self.assigns["stage"]
        match event, payload:
            case "echo", _:
                return Ok(payload)
            case "refuse", _:
                return Error({"reason": "as you wish", "got": payload})
            case "ignore", _:
                return None
            case "shout", _:
                self.broadcast("shout", payload)
                return Ok()
            case "whisper", _:
                self.broadcast_from("whisper", payload)
                return Ok()
            case "number", int(number):
                heard = stage.heard.setdefault(self.assigns["name"], [])
                heard.append(number)
                self.push("counted", {"number": number, "place": len(heard)})
                return Ok(number)
            case "turn", Binary(data):
                turned = Binary(data[::-1])
                self.push("turned", turned)
                self.broadcast_from("turned by another", turned)
                return Ok(turned)
            case "disconnect", {"name": str(name)}:
                self.hub.broadcast(f"user:{name}", "disconnect", {})
                return None
            case "crash", _:
                raise RuntimeError("as you wish")
            case _:
                return await super().handle_in(event, payload)


class UserSocket(Socket):
    """Lets in whoever has a token."""

    channels = {"room:*": RoomChannel}

    def __init__(self, stage: Stage) -> None:
        super().__init__()
        self.stage = stage

    async def connect(self, params: Params, info: ConnectInfo) -> bool:
        try:
            name = self.stage.tokens.verify("user", params.get("token"))
        except TokenError:
            return False
        self.assigns = {"name": name, "stage": self.stage}
        return self.stage.is_open

    def id(self) -> str:
        return f"user:{self.assigns['name']}"


@asynccontextmanager
async def open_stage(
    port: int = 0, secret: str = SECRET, *, signals: bool = False, websocket: bool = True
) -> AsyncGenerator[Stage]:
    """Run the server in a node of its own; on leaving the block it stops in order.

    Clients may poll, and without `websocket` they have to.
    """
    stage = Stage(PubSub(), Tokens(secret))
    socket = Mount(
        partial(UserSocket, stage),
        timeout=10.0,
        websocket=websocket,
        longpoll=LongPoll(window=1.0),
    )
    async with open_node(signals=signals):
        await Supervisor.start_link(
            [
                Watcher.named("watcher").child(),
                Endpoint.named("endpoint").child({"/socket": socket}, port=port, hub=stage.hub),
            ],
            strategy="rest_for_one",
        )
        stage.url = await Endpoint.url("endpoint")
        yield stage


async def main(port: int, secret: str) -> None:
    """Serve until a signal comes."""
    async with open_stage(port, secret, signals=True) as stage:
        print(stage.url, flush=True)
        await trio.sleep_forever()


if __name__ == "__main__":
    trio.run(main, int(sys.argv[1]), sys.argv[2])
