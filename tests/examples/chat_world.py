"""The chat in the node of a test, and clients that speak to it in plain frames."""

from __future__ import annotations

import base64
import itertools
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import trio
from trio_websocket import WebSocketConnection, wrap_client_stream

from examples.chat.people import Person, sign_in
from examples.chat.tree import children
from exeunt import Supervisor, open_node
from exeunt.channels import Endpoint, Tokens

SECRET = "a secret for nothing but tests"
TOKENS = Tokens(SECRET)

WITHIN = 10.0


@asynccontextmanager
async def open_chat(history: str | None = None) -> AsyncGenerator[str]:
    """Run a chat in a node of its own; give its URL."""
    async with open_node():
        await Supervisor.named("chat").start_link(
            children(TOKENS, port=0, history=history), strategy="one_for_one"
        )
        yield await Endpoint.url("endpoint")


@dataclass(slots=True, eq=False)
class Tab:
    """One connection of somebody: frames are `[join_ref, ref, topic, event, payload]`."""

    socket: WebSocketConnection
    person: Person
    _refs: itertools.count[int] = field(default_factory=lambda: itertools.count(1))
    _joins: dict[str, str] = field(default_factory=dict[str, str])
    _kept: list[list[Any]] = field(default_factory=list[list[Any]])

    async def send(self, topic: str, event: str, payload: Any) -> str:
        ref = str(next(self._refs))
        if event == "phx_join":
            self._joins[topic] = ref
        frame = [self._joins.get(topic), ref, topic, event, payload]
        await self.socket.send_message(json.dumps(frame))
        return ref

    async def ask(self, topic: str, event: str, payload: Any) -> tuple[str, Any]:
        """Push, and wait for the reply: its status and response."""
        ref = await self.send(topic, event, payload)
        frame = await self._find(lambda frame: frame[1] == ref and frame[3] == "phx_reply")
        return frame[4]["status"], frame[4]["response"]

    async def join(self, topic: str, params: Any = None) -> Any:
        status, response = await self.ask(topic, "phx_join", {} if params is None else params)
        assert status == "ok", response
        return response

    async def next(self, topic: str, event: str) -> Any:
        """Wait for the next push or broadcast of an event; return its payload."""
        frame = await self._find(lambda frame: frame[2] == topic and frame[3] == event)
        return frame[4]

    async def _find(self, fits: Any) -> list[Any]:
        with trio.fail_after(WITHIN):
            for index, frame in enumerate(self._kept):
                if fits(frame):
                    return self._kept.pop(index)
            while True:
                frame = json.loads(await self.socket.get_message())
                if fits(frame):
                    return frame
                self._kept.append(frame)

    async def say(self, topic: str, text: str, id: str) -> tuple[str, Any]:
        return await self.ask(topic, "say", {"text": text, "id": id})


@asynccontextmanager
async def open_tab(url: str, name: str, token: str | None = None) -> AsyncGenerator[Tab]:
    """Sign somebody in, by an earlier token as the same person, and connect."""
    person, token = sign_in(TOKENS, name, token)
    encoded = base64.b64encode(token.encode()).decode().rstrip("=")
    offered = ["phoenix", f"base64url.bearer.phx.{encoded}"]
    _, _, host = url.rpartition("/")
    stream = await trio.open_tcp_stream("127.0.0.1", int(host.rpartition(":")[2]))
    # trio-websocket leaves a stream open whose other side has closed it first.
    async with stream, trio.open_nursery() as nursery:
        socket = await wrap_client_stream(
            nursery, stream, host, "/socket/websocket?vsn=2.0.0", subprotocols=offered
        )
        async with socket:
            yield Tab(socket, person)
